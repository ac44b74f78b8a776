"""Daybook without HTTP: callers in one process, each asking the desk for one transfer after the other.

`python -m benchmarks.inside` takes a `Job` as JSON on stdin and writes a `Ran`. A command is made, checked and decided
within the time; nothing of it beforehand.
"""

import asyncio
import sys
import time
import uuid
from random import Random

import msgspec
import uvloop
from msgspec import Struct

from adapters.postgres.store import PostgresEventStore
from benchmarks.figures import Ran, ran
from benchmarks.load import BOOK, pair, posting, wallet
from commands.command import ask
from commands.desk import Desk
from commands.journal import PostEntry


class Job(Struct, frozen=True):
    """So many callers for so many seconds, each transfer between two of the accounts."""

    dsn: str
    callers: int
    seconds: float
    accounts: int = 1_000


async def run(job: Job) -> Ran:
    """Do the job."""
    random, latencies_s, failed = Random(uuid.uuid4().int), list[float](), 0
    desk = Desk(PostgresEventStore(job.dsn), report=lambda event, error: print(event, error, file=sys.stderr))
    desk.start()
    began, cpu_began = time.perf_counter(), time.process_time()

    async def caller() -> None:
        nonlocal failed
        while (asked := time.perf_counter()) < began + job.seconds:
            source, target = pair(random, job.accounts, hot=False)
            postings = [posting(wallet(source), "debit", 10), posting(wallet(target), "credit", 10)]
            command = PostEntry.model_validate({"book": BOOK, "postings": postings, "description": "transfer"})
            outcome = await desk.submit(ask(command, actor="benchmark", key=uuid.uuid4().hex))
            if outcome.refusal is None:
                latencies_s.append(time.perf_counter() - asked)
            else:
                failed += 1

    await asyncio.gather(*(caller() for _ in range(job.callers)))
    seconds, cpu_s = time.perf_counter() - began, time.process_time() - cpu_began
    await desk.stop()
    return ran(latencies_s, done=len(latencies_s), seconds=seconds, failed=failed, cpu_s=cpu_s)


def main() -> None:
    job = msgspec.json.decode(sys.stdin.buffer.read(), type=Job)
    sys.stdout.buffer.write(msgspec.json.encode(uvloop.run(run(job))))


if __name__ == "__main__":
    main()
