"""A card rail without Daybook: so many at once, each authorized, captured, and the next one.

`python -m benchmarks.asking` takes a `Job` as JSON on stdin and writes a `Ran`. The rails' own pace is known by it.
"""

import asyncio
import sys
import time
from datetime import UTC, datetime
from uuid import uuid4

import msgspec
import uvloop
from msgspec import Struct
from msgspec.structs import replace

from adapters.rails.wiring import connected, simulated
from benchmarks.figures import Ran, ran
from domain import ids
from domain.rail import Approved, Card, Instruction, Operation, Rail

ROUTE = "card-a"


class Job(Struct, frozen=True):
    """Payments by the rails of that simulator, for so many seconds."""

    url: str
    at_once: int
    seconds: float


async def run(job: Job) -> Ran:
    """Do the job."""
    latencies_s, failed = list[float](), 0
    async with connected(simulated(job.url)) as rails:
        rail = rails[Rail.CARD]
        began, cpu_began = time.perf_counter(), time.process_time()

        async def payer() -> None:
            nonlocal failed
            while (asked := time.perf_counter()) < began + job.seconds:
                begun = _authorization()
                said = await rail.send(begun)
                if isinstance(said, Approved):
                    said = await rail.send(_capture(begun, said))
                if isinstance(said, Approved):
                    latencies_s.append(time.perf_counter() - asked)
                else:
                    failed += 1

        await asyncio.gather(*(payer() for _ in range(job.at_once)))
        seconds, cpu_s = time.perf_counter() - began, time.process_time() - cpu_began
    return ran(latencies_s, done=len(latencies_s), seconds=seconds, failed=failed, cpu_s=cpu_s)


def _authorization() -> Instruction:
    return Instruction(
        request_id=ids.request_id(uuid4()),
        operation=Operation.AUTHORIZE,
        rail=Rail.CARD,
        route=ROUTE,
        amount=1_000,
        currency="EUR",
        method=Card(token="tok_visa", brand="visa", last4="4242", expires="2030-12"),
        sent_at=datetime.now(UTC),
    )


def _capture(begun: Instruction, said: Approved) -> Instruction:
    return replace(
        begun,
        request_id=ids.request_id(uuid4()),
        operation=Operation.CAPTURE,
        sent_at=datetime.now(UTC),
        original=said.reference,
        original_request_id=begun.request_id,
        final=True,
    )


def main() -> None:
    job = msgspec.json.decode(sys.stdin.buffer.read(), type=Job)
    sys.stdout.buffer.write(msgspec.json.encode(uvloop.run(run(job))))


if __name__ == "__main__":
    main()
