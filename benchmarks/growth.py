"""How cost grows with the log: one store, seeded to more and more entries, the same figures at each size.

The store stays in its home, so that what was seeded need not be seeded again and a run that was broken off goes on.
"""

import sys
import time
from collections.abc import Callable, Mapping
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
    Measured(MEMORY, "memory of the server, all accounts in use", "bytes"),
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
    _tell(f"{entries:,} entries: {added:,} seeded in {took_s:.0f} s")
    if added:
        _, project_s = _timed(lambda: command("project", dsn, "--once"))
        found |= {SEED: added / took_s, CATCH_UP: (_head(dsn) - before) / project_s}
    _settle(dsn)
    with served(dsn) as server:
        daybook.caught_up(dsn)
        found |= {COLD_START: 1000 * server.ready_s, **measure(dsn, server).figures}
        _settle(dsn)  # The read models are new ones now.
        # Last, since they add to the log.
        found |= _loads(server, Meter(dsn, postgres_pid, server.pid), accounts, seconds)
        daybook.touch(server, accounts=accounts)
        found[MEMORY] = rss_bytes(server.pid)
    for one in MEASURED:
        if one.key in found:
            _tell(f"{entries:,} entries: {one.label}: {found[one.key]:,.1f}")
    return Standing(entries, accounts, found)


def measure(dsn: str, server: Server) -> Standing:
    """What can be told of a store without adding to it. What fails is told and left out."""
    entries, accounts = count(dsn, EntryPosted.name), count(dsn, AccountOpened.name) - 1  # Less the equity.
    log_bytes, read_bytes = sizes(dsn)
    figures = {
        **_reads(server, _head(dsn), accounts),
        **_replays(dsn),
        LOG_BYTES: log_bytes / max(entries, 1),
        READ_BYTES: read_bytes / max(entries, 1),
    }
    return Standing(entries, accounts, figures)


def _loads(server: Server, meter: Meter, accounts: int, seconds: float) -> dict[str, float]:
    def per_second(job: Job) -> float:
        return daybook.over_http(server, meter, job).per_second

    return _each(
        {
            READS: lambda: per_second(Job(0, "balance", 64, seconds, accounts=accounts)),
            SINGLES: lambda: per_second(Job(0, "transfer", 64, seconds, accounts=accounts)),
            WRITES: lambda: per_second(Job(0, "independent", 2, seconds, accounts=accounts)),
        }
    )


class _Asking:
    """Single questions, one after the other; each takes milliseconds."""

    def __init__(self, client: httpx2.Client, head: int, accounts: int) -> None:
        self._client = client
        self._head = head
        self._accounts = accounts
        self._random = Random(head)
        self._day = (datetime.now(UTC) - timedelta(days=DAYS // 2)).date().isoformat()

    def __call__(self, path: str, **asked: Any) -> float:
        try:
            response, took_s = _timed(lambda: self._client.get(path, params=asked))
        except httpx2.HTTPError as error:
            raise Failed(f"{path}: {error}") from error
        if response.status_code != 200:
            raise Failed(f"{path}: {response.status_code} {response.text[:200]}")
        return 1000 * took_s

    def number(self) -> int:
        """Of any account."""
        return self._random.randrange(self._accounts)

    def position(self) -> int:
        """Some time ago."""
        return self._random.randint(self._head // 4, self._head)

    def both(self, number: int) -> float:
        """One account's balance, as known at a position and of value dates before a day."""
        return self("/v1/reports/roll-up", book=BOOK, prefix=wallet(number), position=self.position(), before=self._day)

    def now(self) -> float:
        return self(f"/v1/accounts/{_typeid(self.number())}/balance")

    def then(self) -> float:
        return self(f"/v1/accounts/{_typeid(self.number())}/balance", position=self.position())

    def trial(self) -> float:
        return self("/v1/reports/trial-balance", book=BOOK)

    def trial_then(self) -> float:
        return self("/v1/reports/trial-balance", book=BOOK, position=self.position(), before=self._day)

    def listed(self) -> float:
        return self("/v1/journal-entries", book=BOOK, account=_typeid(self.number()), amount_min=50, limit=50)

    def statement(self) -> float:
        return self(f"/v1/accounts/{_typeid(0)}/postings", limit=50)

    def statement_deep(self) -> float:
        """From the middle of its history."""
        found = self._client.get(f"/v1/accounts/{_typeid(0)}/postings", params={"limit": 1}).json()["data"]
        return self(f"/v1/accounts/{_typeid(0)}/postings", limit=50, starting_after=max(found[0]["number"] // 2, 2))


def _reads(server: Server, head: int, accounts: int) -> dict[str, float]:
    with httpx2.Client(base_url=server.url, timeout=120) as client:
        ask = _Asking(client, head, accounts)
        return _each(
            {
                BALANCE_BOTH_COLD: lambda: ask.both(0),
                BALANCE: lambda: _p99(100, ask.now),
                BALANCE_THEN: lambda: _p99(100, ask.then),
                BALANCE_BOTH: lambda: max(ask.both(0), _p99(100, lambda: ask.both(ask.number()))),
                TRIAL: lambda: median(ask.trial() for _ in range(3)),
                TRIAL_THEN: lambda: median(ask.trial_then() for _ in range(3)),
                LISTED: lambda: _p99(30, ask.listed),
                STATEMENT: lambda: _p99(30, ask.statement),
                STATEMENT_DEEP: lambda: _p99(30, ask.statement_deep),
            }
        )


def _p99(times: int, ask: Callable[[], float]) -> float:
    return percentile(sorted(ask() for _ in range(times)), 0.99)


def _each(wanted: Mapping[str, Callable[[], float]]) -> dict[str, float]:
    """What each comes to; what fails is told and left out."""
    found = {}
    for key, measured in wanted.items():
        try:
            found[key] = measured()
        except Failed as error:
            _tell(f"{key}: {error}")
    return found


def _replays(dsn: str) -> dict[str, float]:
    """Events a second through everything that reads the whole log, with the start of the command that does it."""
    head = _head(dsn)

    def rate(do: Callable[[], None]) -> float:
        return head / _timed(do)[1]

    return _each(
        {
            VERIFY: lambda: rate(lambda: command("verify", dsn)),
            HASHES: lambda: rate(lambda: _hash(dsn)),
            REBUILD: lambda: rate(lambda: command("rebuild", dsn, "--all")),
        }
    )


def _hash(dsn: str) -> None:
    with PostgresLog(dsn) as log:
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


def _tell(what: str) -> None:
    print(what, file=sys.stderr)
