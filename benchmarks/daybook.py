"""Daybook under load: its accounts made, a load run, and the read models waited for; how far they fell behind."""

import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx2
from msgspec import structs

from adapters.postgres import builds
from adapters.postgres.datastore import connect
from benchmarks import inside, load
from benchmarks.figures import Figures, Ran, figures
from benchmarks.load import BOOK, posting, wallet
from benchmarks.processes import Meter, Server, call, until
from commands.journal import POSTINGS_MAX

GIVEN = 1_000_000_000
"""What each account begins with, in minor units."""
LOOK_EVERY_S = 0.05


def prepare(server: Server, *, accounts: int) -> None:
    """A book, its accounts, and enough on each of them."""
    with _asking(server) as post:
        post("/v1/books", {"code": BOOK})
        equity = {"book": BOOK, "code": "equity", "type": "equity", "currency": "EUR", "overdraft_limit": None}
        post("/v1/accounts", equity)
        for first in range(0, accounts, 500):
            codes = [wallet(number) for number in range(first, min(first + 500, accounts))]
            opened = [{"book": BOOK, "code": code, "type": "liability", "currency": "EUR"} for code in codes]
            commands = [{"command": "open_account", "arguments": arguments} for arguments in opened]
            post("/v1/batches", {"book": BOOK, "mode": "atomic", "commands": commands})
            lines = [posting(code, "credit", GIVEN) for code in codes]
            whole = posting("equity", "debit", len(codes) * GIVEN)
            post("/v1/journal-entries", {"book": BOOK, "postings": [*lines, whole]})


def touch(server: Server, *, accounts: int) -> None:
    """Have every account in use: what is known of it is in the server's memory from then on."""
    with _asking(server) as post:
        for first in range(0, accounts, POSTINGS_MAX):
            codes = [wallet(number) for number in range(first, min(first + POSTINGS_MAX, accounts))]
            pairs = zip(codes[::2], codes[1::2], strict=False)
            lines = [line for a, b in pairs for line in (posting(a, "debit", 1), posting(b, "credit", 1))]
            post("/v1/journal-entries", {"book": BOOK, "postings": lines})


@contextmanager
def _asking(server: Server) -> Iterator[Callable[[str, object], None]]:
    """What asks for a command that must succeed."""
    with httpx2.Client(base_url=server.url, headers={"Daybook-Actor": "benchmark"}, timeout=60) as client:

        def post(path: str, body: object) -> None:
            client.post(path, json=body, headers={"Idempotency-Key": uuid.uuid4().hex}).raise_for_status()

        yield post


def over_http(server: Server, meter: Meter, job: load.Job) -> Figures:
    """A load over HTTP; `job` without its port."""
    ask = structs.replace(job, port=server.port)
    writes = job.what not in ("balance", "empty")
    return measured(meter, lambda: call("load", ask, Ran, seconds=job.seconds), writes=writes)


def in_process(dsn: str, meter: Meter, *, callers: int, seconds: float) -> Figures:
    """A load upon a desk in a process of its own; the server goes on to keep the read models up."""
    job = inside.Job(dsn, callers, seconds)
    return measured(meter, lambda: call("inside", job, Ran, seconds=seconds), writes=True)


def measured(meter: Meter, run: Callable[[], Ran], *, writes: bool) -> Figures:
    """Run it; of what writes, the time and cost until the read models are current counts as well."""
    before = meter.read()
    with watched(meter.dsn) as lags_s:
        done = run()
        began = time.perf_counter()
        if writes:
            caught_up(meter.dsn)
        behind_s = time.perf_counter() - began
    seconds = done.seconds + (behind_s if behind_s > LOOK_EVERY_S else 0)
    return figures(done, before, meter.read(), seconds=seconds, lags_s=lags_s if writes else ())


@contextmanager
def watched(dsn: str) -> Iterator[list[float]]:
    """How old the first event is that a read model lacks, in seconds, looked at all the time meanwhile."""
    lags_s: list[float] = []
    ended = threading.Event()

    def watch() -> None:
        with connect(dsn, long=True) as connection:
            while not ended.wait(LOOK_EVERY_S):
                lags_s.append(max((one.lag_s for one in builds.standings(connection)), default=0.0))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield lags_s
    finally:
        ended.set()
        thread.join()


def caught_up(dsn: str, *, seconds: float = 600) -> None:
    """Wait until every read model is at the log's end."""
    with connect(dsn, long=True) as connection:

        def is_current() -> bool:
            found = [one for one in builds.standings(connection) if one.build.live]
            return bool(found) and all(one.position >= one.head for one in found)

        until(is_current, seconds=seconds, every_s=0.01)
