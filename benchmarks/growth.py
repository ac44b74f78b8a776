"""How cost grows with the log: one store, seeded to more and more entries, the same figures at each size.

The store stays in its home, so that what was seeded need not be seeded again and a run that was broken off goes on.
"""

import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from random import Random
from statistics import median
from typing import Any, Final, Literal

import httpx2
import msgspec
import psycopg
from msgspec import Struct

from adapters.embedded_postgres import running
from adapters.postgres.log import PostgresLog
from adapters.postgres.migrate import migrate
from benchmarks import daybook
from benchmarks.figures import percentile
from benchmarks.load import BOOK, Job, wallet
from benchmarks.machine import machine, settings
from benchmarks.processes import Failed, Meter, Server, command, rss_bytes, served, sizes
from benchmarks.seeding import DAYS, count, seed
from domain import ids
from domain.audit import GENESIS, seal_hash
from domain.events import AccountOpened, EntryPosted

SIZES: Final = (10_000, 100_000, 1_000_000, 10_000_000)

Kind = Literal["rate", "ms", "bytes"]


class Measured(Struct, frozen=True):
    """What is measured at each size: its key, what to call it, and what kind of number it is."""

    key: str
    label: str
    kind: Kind


WRITES: Final = "writes"
SINGLES: Final = "singles"
READS: Final = "reads"
SEED: Final = "seed"
CATCH_UP: Final = "catch_up"
REBUILD: Final = "rebuild"
VERIFY: Final = "verify"
HASHES: Final = "hashes"
BALANCE: Final = "balance"
BALANCE_THEN: Final = "balance_then"
BALANCE_BOTH: Final = "balance_both"
BALANCE_BOTH_COLD: Final = "balance_both_cold"
TRIAL: Final = "trial"
TRIAL_THEN: Final = "trial_then"
LISTED: Final = "listed"
STATEMENT: Final = "statement"
STATEMENT_DEEP: Final = "statement_deep"
COLD_START: Final = "cold_start"
LOG_BYTES: Final = "log_bytes"
READ_BYTES: Final = "read_bytes"
MEMORY: Final = "memory"

MEASURED: Final = (
    Measured(WRITES, "transfers/s, batches of 1,000", "rate"),
    Measured(SINGLES, "transfers/s, 64 connections", "rate"),
    Measured(READS, "balance reads/s, 64 connections", "rate"),
    Measured(SEED, "entries/s seeded", "rate"),
    Measured(CATCH_UP, "events/s, read models catching up", "rate"),
    Measured(REBUILD, "events/s, all read models rebuilt", "rate"),
    Measured(VERIFY, "events/s verified, all derivations", "rate"),
    Measured(HASHES, "events/s verified, hashes alone", "rate"),
    Measured(BALANCE, "balance now, p99", "ms"),
    Measured(BALANCE_THEN, "balance at a position, p99", "ms"),
    Measured(BALANCE_BOTH, "balance at a position and before a day, p99", "ms"),
    Measured(BALANCE_BOTH_COLD, "the same, first after start", "ms"),
    Measured(TRIAL, "trial balance now", "ms"),
    Measured(TRIAL_THEN, "trial balance at a position and before a day", "ms"),
    Measured(LISTED, "page of entries with filters, p99", "ms"),
    Measured(STATEMENT, "page of the longest account, p99", "ms"),
    Measured(STATEMENT_DEEP, "page in its middle, p99", "ms"),
    Measured(COLD_START, "start until ready", "ms"),
    Measured(LOG_BYTES, "bytes of log per entry", "bytes"),
    Measured(READ_BYTES, "bytes of read models per entry", "bytes"),
    Measured(MEMORY, "memory of the server", "bytes"),
)


class Standing(Struct, frozen=True):
    """A store of so many entries, and figures by the keys of `MEASURED`: per second, milliseconds or bytes."""

    entries: int
    accounts: int
    figures: dict[str, float]


class Grown(Struct, frozen=True):
    """What growth came to: where, and at each size."""

    machine: dict[str, str]
    settings: dict[str, str]
    standings: list[Standing]


def grow(home: Path, *, until: int, accounts: int, seconds: float, keep: Callable[[Grown], None]) -> None:
    """Seed and measure at every size up to `until` entries.

    Args:
        home: Where the store is kept, and what was measured of it.
        seconds: Of each load.
        keep: Told of all sizes done so far, those of earlier runs among them.
    """
    done = _done(home)
    with running(home) as postgres:
        migrate(postgres.dsn)
        for size in [size for size in SIZES if size < until] + [until]:
            if any(one.entries == size and one.accounts == accounts for one in done):
                continue
            done = [*done, _at(postgres.dsn, lambda: postgres.pid, size, accounts, seconds)]
            (home / "standings.json").write_bytes(msgspec.json.encode(done))
        keep(Grown(machine(), settings(postgres.superuser_dsn), done))


def _done(home: Path) -> list[Standing]:
    found = home / "standings.json"
    return msgspec.json.decode(found.read_bytes(), type=list[Standing]) if found.exists() else []


def _at(dsn: str, postgres_pid: Callable[[], int], entries: int, accounts: int, seconds: float) -> Standing:
    found: dict[str, float] = {}
    before = _head(dsn)
    added, took_s = _timed(lambda: seed(dsn, entries=entries, accounts=accounts))
    _tell(entries, f"{added:,} entries seeded in {took_s:.0f} s")
    if added:
        _, project_s = _timed(lambda: command("project", dsn, "--once"))
        found |= {SEED: added / took_s, CATCH_UP: (_head(dsn) - before) / project_s}
    _settle(dsn)
    with served(dsn) as server:
        daybook.caught_up(dsn)
        found |= measure(dsn, server).figures
        # Last, since they add to the log.
        found |= _loads(dsn, server, Meter(dsn, postgres_pid, server.pid), accounts, seconds)
        found[MEMORY] = rss_bytes(server.pid)
    for one in MEASURED:
        if one.key in found:
            _tell(entries, f"{one.label}: {found[one.key]:,.1f}")
    return Standing(entries, accounts, found)


def measure(dsn: str, server: Server) -> Standing:
    """What can be told of a store without adding to it, its server having just been started."""
    entries = count(dsn, EntryPosted.name)
    log_bytes, read_bytes = sizes(dsn)
    figures = {
        COLD_START: 1000 * server.ready_s,
        **_reads(server, _head(dsn)),
        **_replays(dsn),
        LOG_BYTES: log_bytes / max(entries, 1),
        READ_BYTES: read_bytes / max(entries, 1),
        MEMORY: rss_bytes(server.pid),
    }
    return Standing(entries, count(dsn, AccountOpened.name) - 1, figures)  # Less the equity.


def _loads(dsn: str, server: Server, meter: Meter, accounts: int, seconds: float) -> dict[str, float]:
    def per_second(job: Job) -> float:
        return daybook.over_http(server, meter, job).per_second

    return {
        READS: per_second(Job(0, "balance", 64, seconds, accounts=accounts)),
        SINGLES: per_second(Job(0, "transfer", 64, seconds, accounts=accounts)),
        WRITES: per_second(Job(0, "independent", 2, seconds, accounts=accounts)),
    }


def _reads(server: Server, head: int) -> dict[str, float]:
    """How long single questions take, asked one after the other."""
    random = Random(head)
    day = (datetime.now(UTC) - timedelta(days=DAYS // 2)).date().isoformat()
    with httpx2.Client(base_url=server.url, timeout=120) as client:

        def ms(path: str, **asked: Any) -> float:
            response, took_s = _timed(lambda: client.get(path, params=asked))
            if response.status_code != 200:
                raise Failed(f"{path}: {response.status_code} {response.text[:200]}")
            return 1000 * took_s

        def account() -> str:
            return _typeid(random.randrange(1_000))

        def then() -> int:
            return random.randint(head // 4, head)

        def p99(times: int, ask: Callable[[], float]) -> float:
            return percentile(sorted(ask() for _ in range(times)), 0.99)

        def both(number: int) -> float:
            """One account's, as known at a position and of value dates before a day."""
            return ms("/v1/reports/roll-up", book=BOOK, prefix=wallet(number), position=then(), before=day)

        first, hot = both(0), _typeid(0)
        postings = client.get(f"/v1/accounts/{hot}/postings", params={"limit": 1}).json()["data"]
        middle = max(postings[0]["number"] // 2, 1) if postings else 1
        return {
            BALANCE_BOTH_COLD: first,
            BALANCE: p99(100, lambda: ms(f"/v1/accounts/{account()}/balance")),
            BALANCE_THEN: p99(100, lambda: ms(f"/v1/accounts/{account()}/balance", position=then())),
            BALANCE_BOTH: max(both(0), p99(100, lambda: both(random.randrange(1_000)))),
            TRIAL: median(ms("/v1/reports/trial-balance", book=BOOK) for _ in range(3)),
            TRIAL_THEN: median(
                ms("/v1/reports/trial-balance", book=BOOK, position=then(), before=day) for _ in range(3)
            ),
            LISTED: p99(30, lambda: ms("/v1/journal-entries", book=BOOK, account=account(), amount_min=50, limit=50)),
            STATEMENT: p99(30, lambda: ms(f"/v1/accounts/{hot}/postings", limit=50)),
            STATEMENT_DEEP: p99(30, lambda: ms(f"/v1/accounts/{hot}/postings", limit=50, starting_after=middle)),
        }


def _replays(dsn: str) -> dict[str, float]:
    """Events a second through everything that reads the whole log, with the start of the command that does it."""
    head = _head(dsn)
    _, verify_s = _timed(lambda: command("verify", dsn))
    _, rebuild_s = _timed(lambda: command("rebuild", dsn, "--all"))
    with PostgresLog(dsn) as log:
        _, hashes_s = _timed(lambda: _hash(log))
    return {VERIFY: head / verify_s, HASHES: head / hashes_s, REBUILD: head / rebuild_s}


def _hash(log: PostgresLog) -> None:
    events, previous = log.events(), GENESIS
    for seal in log.seals():
        previous = seal_hash(previous, islice(events, seal.last - seal.first + 1))
        if previous != seal.hash:
            raise Failed(f"the seal at {seal.first} does not hold")


def _typeid(number: int) -> str:
    return ids.show(ids.ACCOUNT, ids.account_id(ids.book_id(BOOK), wallet(number)))


def _head(dsn: str) -> int:
    with psycopg.connect(dsn) as connection:
        row = connection.execute("SELECT daybook.head()").fetchone()
        assert row is not None
        return int(row[0])


def _settle(dsn: str) -> None:
    """What Postgres would do by itself some time: it is not to fall into the next measurement."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        for (table,) in connection.execute(
            "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables WHERE schemaname LIKE 'daybook%'"
        ).fetchall():
            connection.execute(f"VACUUM (ANALYZE) {table}".encode())


def _timed(do: Callable[[], Any]) -> tuple[Any, float]:
    began = time.perf_counter()
    return do(), time.perf_counter() - began


def _tell(entries: int, what: str) -> None:
    print(f"{entries:,} entries: {what}", file=sys.stderr)
