"""A cheap HTTP load generator, in a process of its own: keep-alive connections, latencies kept, answers hardly read.

`python -m benchmarks.load` takes a `Job` as JSON on stdin and writes a `Ran`. Bodies are made before the clock starts;
then only the key of each request is filled in.
"""

import asyncio
import gc
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from random import Random
from typing import Any, Final, Literal, cast

import msgspec
import uvloop
from msgspec import Struct

from benchmarks.figures import Ran, ran
from domain import ids

BOOK: Final = "bench"
BATCH: Final = 1_000
"""Transfers of one batch."""
_POOLS: Final = {
    "transfer": 4_096,
    "atomic": 16,
    "independent": 16,
    "payment": 1_024,
    "awaited": 1_024,
    "balance": 1_024,
    "empty": 1,
}
PATIENCE_S: Final = 30.0
"""How long after the end an answer may come."""
_LANDED: Final = {"atomic": b'"status":201', "independent": b'"status":201', "awaited": b'"status":"succeeded"'}
"""What an answer has in it for each thing of the request that landed, where its own status does not say it."""
_CARD: Final = {"type": "card", "token": "tok_visa", "brand": "visa", "last4": "4242", "expires": "2030-12"}
_WAIT: Final = f"Prefer: wait={PATIENCE_S:.0f}\r\n"


What = Literal["transfer", "atomic", "independent", "payment", "awaited", "balance", "empty"]
"""`payment`: by card, captured by itself, answered as soon as it is acknowledged; `awaited`: once it has succeeded."""


class Job(Struct, frozen=True):
    """What to ask of the server on a port of 127.0.0.1, for how many seconds.

    Args:
        hot: Every transfer is from one account.
        accounts: How many there are to choose from.
        rate: Requests a second, over all connections; as many as are answered, without one.
    """

    port: int
    what: What
    connections: int
    seconds: float
    hot: bool = False
    accounts: int = 1_000
    rate: float | None = None

    @property
    def each(self) -> int:
        """How many things one request does."""
        return BATCH if self.what in ("atomic", "independent") else 1


def wallet(number: int) -> str:
    """The code of an account that transfers are between."""
    return f"wallets:{number}"


def posting(account: str, side: str, amount: int) -> dict[str, object]:
    """A posting as the API takes it."""
    return {"account": account, "side": side, "amount": amount, "currency": "EUR"}


def post(port: int, path: str, body: object, *, head: str = "") -> tuple[bytes, bytes]:
    """A POST request before and after its key; `head`: lines of its head besides."""
    content = msgspec.json.encode(body)
    before = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
        f"Daybook-Actor: benchmark\r\n{head}Idempotency-Key: "
    )
    return before.encode(), f"\r\nContent-Length: {len(content)}\r\n\r\n".encode() + content


def requests(job: Job) -> Callable[[], bytes]:
    """What gives the bytes of one request after the other, no two POSTs with the same key."""
    random = Random(uuid.uuid4().int)
    pool = [_request(job, random) for _ in range(_POOLS[job.what])]
    run, numbers, length = uuid.uuid4().hex[:12].encode(), count(), len(pool)

    def keyed() -> bytes:
        number = next(numbers)
        before, after = pool[number % length]
        return b"%b%b%010x%b" % (before, run, number, after)

    def bare() -> bytes:
        return pool[next(numbers) % length][0]

    return bare if job.what in ("balance", "empty") else keyed


def _request(job: Job, random: Random) -> tuple[bytes, bytes]:
    match job.what:
        case "transfer":
            return post(job.port, "/v1/journal-entries", _transfer(job, random))
        case "atomic" | "independent":
            commands = [{"command": "post_entry", "arguments": _transfer(job, random)} for _ in range(BATCH)]
            return post(job.port, "/v1/batches", {"book": BOOK, "mode": job.what, "commands": commands})
        case "payment" | "awaited":
            return post(job.port, "/v1/payments", _payment(job, random), head=_WAIT if job.what == "awaited" else "")
        case "balance":
            account = ids.show(ids.ACCOUNT, ids.account_id(ids.book_id(BOOK), wallet(random.randrange(job.accounts))))
            return get(job.port, f"/v1/accounts/{account}/balance"), b""
        case "empty":
            return get(job.port, "/livez"), b""


def get(port: int, path: str) -> bytes:
    """A GET request."""
    return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode()


def _transfer(job: Job, random: Random) -> dict[str, object]:
    source, target = pair(random, job.accounts, hot=job.hot)
    postings = [posting(wallet(source), "debit", 10), posting(wallet(target), "credit", 10)]
    return {"book": BOOK, "description": "transfer", "postings": postings}


def _payment(job: Job, random: Random) -> dict[str, object]:
    account, amount = wallet(random.randrange(job.accounts)), random.randrange(100, 4_000)
    paid = {"book": BOOK, "account": account, "amount": amount, "currency": "EUR"}
    return {**paid, "method": _CARD, "confirm": True}


def pair(random: Random, accounts: int, *, hot: bool) -> tuple[int, int]:
    """The numbers of two accounts, of which the first gives: always the same, if it is hot."""
    source = 0 if hot else random.randrange(accounts)
    return source, (source + random.randrange(1, accounts)) % accounts


class _Connection(asyncio.Protocol):
    """Sends the next request as soon as an answer is whole, or when its time has come.

    Args:
        request: Gives the next request.
        each: How many things one request does.
        landed: What its answer has in it for each of them that landed; nothing where the answer's status says it.
        times: When requests are due, in the loop's time; None: as soon as may be. A latency is from then on, so that a
            server that stands still is not asked fewer questions.
    """

    def __init__(
        self,
        request: Callable[[], bytes],
        each: int,
        until: float,
        *,
        landed: bytes = b"",
        times: Iterator[float] | None = None,
    ) -> None:
        self._request = request
        self._each = each
        self._until = until
        self._landed = landed
        self._times = times
        self._loop = asyncio.get_running_loop()
        self.done: asyncio.Future[None] = self._loop.create_future()
        self._answer: list[bytes] = []
        self._missing = 0
        self.latencies_s: list[float] = []
        self.landed = 0
        self.failed = 0
        self.ended = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are not of its classes.
        self._next()

    def _next(self) -> None:
        if self._times is None:
            self._send(time.perf_counter())
            return
        due, now = next(self._times), time.perf_counter()
        if due <= now:
            self._send(due)
        else:
            self._loop.call_later(due - now, self._send, due)

    def _send(self, due: float) -> None:
        self._asked = due
        if due >= self._until or self._transport.is_closing():
            self.ended = time.perf_counter()
            self._transport.close()
        else:
            self._transport.write(self._request())

    def data_received(self, data: bytes) -> None:
        if self._missing:
            self._answer.append(data)
            self._missing -= len(data)
        else:
            self._begin(b"".join(self._answer) + data if self._answer else data)
        if self._missing == 0 and self._answer and self._whole:
            self._finish()

    def _begin(self, data: bytes) -> None:
        """Find out how long the answer is, once its head is there."""
        self._answer = [data]
        end = data.find(b"\r\n\r\n")
        self._whole = end >= 0
        if self._whole:
            start = data[:end].lower().index(b"content-length:") + len(b"content-length:")
            length = int(data[start : end if (stop := data.find(b"\r", start)) < 0 else stop])
            self._missing = end + 4 + length - len(data)

    def _finish(self) -> None:
        now = time.perf_counter()
        first = self._answer[0]
        if first[9:12] not in (b"200", b"201"):
            self.failed += self._each
        else:
            self.latencies_s.append(now - self._asked)
            landed = b"".join(self._answer).count(self._landed) if self._landed else self._each
            self.landed += landed
            self.failed += self._each - landed
        self._answer.clear()
        self._next()

    def give_up(self) -> None:
        """An answer that has not come is a failure; a mistake of ours is raised."""
        if self.done.done():
            self.done.result()
        else:
            self.connection_lost(None)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            if not self.ended:
                self.failed += self._each
                self.ended = min(time.perf_counter(), self._until)
            self.done.set_result(None)


def _times(job: Job, number: int, began: float) -> Iterator[float] | None:
    if job.rate is None:
        return None
    every = job.connections / job.rate
    return (began + every * (number / job.connections + n) for n in count())


async def run(job: Job) -> Ran:
    """Do the job."""
    request = requests(job)
    gc.collect()
    gc.freeze()
    gc.disable()
    loop = asyncio.get_running_loop()
    began, cpu_began = time.perf_counter(), time.process_time()
    made: list[_Connection] = []

    def fail(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """A mistake here is not to look like a server that does not answer."""
        for connection in made:
            if not connection.done.done():
                connection.done.set_exception(context.get("exception") or RuntimeError(context["message"]))

    loop.set_exception_handler(fail)
    for number in range(job.connections):
        connection = _Connection(
            request,
            job.each,
            began + job.seconds,
            landed=_LANDED.get(job.what, b""),
            times=_times(job, number, began),
        )
        made.append(connection)
        await loop.create_connection(lambda c=connection: c, "127.0.0.1", job.port)  # type: ignore[misc]
    await asyncio.wait([connection.done for connection in made], timeout=job.seconds + PATIENCE_S)
    for connection in made:
        connection.give_up()
    return summed(made, began, time.process_time() - cpu_began)


def summed(made: Sequence[_Connection], began: float, cpu_s: float) -> Ran:
    """What all connections came to, until the last answer."""
    return ran(
        [latency for connection in made for latency in connection.latencies_s],
        done=sum(connection.landed for connection in made),
        seconds=max(connection.ended for connection in made) - began,
        failed=sum(connection.failed for connection in made),
        cpu_s=cpu_s,
    )


def main() -> None:
    job = msgspec.json.decode(sys.stdin.buffer.read(), type=Job)
    sys.stdout.buffer.write(msgspec.json.encode(uvloop.run(run(job))))


if __name__ == "__main__":
    main()
