"""Daybook and its peers in turn, round by round, on one Postgres: same accounts, same mix, same settings."""

import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import cached_property, partial
from pathlib import Path
from statistics import median
from typing import Final

from msgspec import Struct

from adapters.embedded_postgres import Server as Postgres
from adapters.embedded_postgres import running
from benchmarks import daybook, growth, load, payments, peers
from benchmarks.figures import Figures, Ran, Skipped, figures, middle
from benchmarks.growth import Standing
from benchmarks.load import Job
from benchmarks.machine import machine, settings
from benchmarks.payments import Shop
from benchmarks.processes import Failed, Meter, Server, call, database, served, simulated

ACCOUNTS: Final = peers.ACCOUNTS
PACE: Final = 0.7

TPCB: Final = "pgbench TPC-B-like, scale 10, 32 clients"
BY_HAND_BATCH: Final = "hand-written SQL, batches of 1,000, 1 client"
PGLEDGER: Final = "pgledger"
HTTP_1: Final = "Daybook HTTP, 1 connection"
HTTP_64: Final = "Daybook HTTP, 64 connections"
HTTP_500: Final = "Daybook HTTP, 500 connections"
HTTP_HOT: Final = "Daybook HTTP, hot, 64 connections"
HTTP_PACED: Final = "Daybook HTTP, 64 connections, at 70 % of their rate"
BATCHES: Final = "Daybook HTTP, batches of 1,000, 2 connections"
BATCHES_ATOMIC: Final = "Daybook HTTP, atomic batches of 1,000, 2 connections"
INSIDE: Final = "Daybook's desk in process, 1,000 callers"
PAID_8: Final = "Daybook payments by card, each awaited, 8 connections"
PAID_64: Final = "Daybook payments by card, each awaited, 64 connections"
PAID_LATER: Final = "Daybook payments by card, acknowledged, 64 connections"
PAID_IN_ALL: Final = "Daybook payments by card, until all of these succeeded"
RAILS: Final = "the simulated card rail alone, 64 at once"
BALANCE: Final = "Daybook HTTP, reads of a balance, 64 connections"
EMPTY: Final = "Daybook HTTP, GET /livez, 64 connections"


def by_hand(clients: int, *, hot: bool = False) -> str:
    """The name of the hand-written transfer, which the others are held against."""
    return f"hand-written SQL, {'hot, ' if hot else ''}{clients} client{'s' if clients > 1 else ''}"


def library(threads: int) -> str:
    """The name of the `eventsourcing` library's example."""
    return f"eventsourcing's bank accounts, {threads} thread{'s' if threads > 1 else ''}"


def hordak(threads: int) -> str:
    """The name of django-hordak's transfer."""
    return f"django-hordak, {threads} thread{'s' if threads > 1 else ''}"


class Contender(Struct, frozen=True):
    """One row of the table, and the row it is a ratio to."""

    name: str
    against: str | None
    measure: Callable[[], Figures]


class Results(Struct, frozen=True):
    """A run: where, with what, and the medians by the contenders' names; `standing`: Daybook's store at its end."""

    machine: dict[str, str]
    settings: dict[str, str]
    rounds: int
    seconds: float
    found: dict[str, Figures | Skipped]
    against: dict[str, str | None]
    standing: Standing | None = None


def run(*, rounds: int, seconds: float, only: Sequence[str] = ()) -> Results:
    """Measure everything, or what has one of the words of `only` in its name.

    Args:
        seconds: Of each measurement.
    """
    here = machine()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="daybook-bench-")))
        postgres = stack.enter_context(running(folder / "home"))
        bench = Bench(postgres, folder, seconds, stack)
        wanted = [one for one in contenders(bench) if not only or any(word in one.name for word in only)]
        found = measure_all(wanted, rounds=rounds)
        if not only:
            found[PGLEDGER] = Skipped("comes from no package registry")
        standing = growth.measure(bench.daybook_dsn, bench.server) if not only else None
        against = {one.name: one.against for one in wanted}
        return Results(here, settings(postgres.superuser_dsn), rounds, seconds, found, against, standing)


def contenders(bench: "Bench") -> list[Contender]:
    """Every row, in the table's order."""
    base, hot_base = by_hand(32), by_hand(32, hot=True)
    return [
        Contender(TPCB, base, bench.tpcb),
        *(Contender(by_hand(n), base, partial(bench.by_hand, n, hot=False)) for n in (1, 8, 32)),
        *(Contender(by_hand(n, hot=True), hot_base, partial(bench.by_hand, n, hot=True)) for n in (1, 8, 32)),
        Contender(BY_HAND_BATCH, base, partial(bench.peer, "batch", "by_hand", clients=1)),
        *(Contender(library(n), base, partial(bench.peer, "eventsourcing", "library", clients=n)) for n in (1, 8)),
        *(Contender(hordak(n), base, partial(bench.peer, "hordak", "hordak", clients=n)) for n in (1, 8)),
        Contender(HTTP_1, by_hand(1), partial(bench.http, "transfer", connections=1)),
        Contender(HTTP_64, base, bench.saturated),
        Contender(HTTP_PACED, HTTP_64, bench.paced),
        Contender(HTTP_500, base, partial(bench.http, "transfer", connections=500)),
        Contender(HTTP_HOT, hot_base, partial(bench.http, "transfer", connections=64, hot=True)),
        Contender(BATCHES, base, partial(bench.http, "independent", connections=2)),
        Contender(BATCHES_ATOMIC, base, partial(bench.http, "atomic", connections=2)),
        Contender(INSIDE, base, bench.inside),
        Contender(PAID_8, PAID_64, partial(bench.paid, connections=8)),
        Contender(PAID_64, HTTP_64, partial(bench.paid, connections=64)),
        Contender(PAID_LATER, PAID_IN_ALL, bench.paid_later),
        Contender(PAID_IN_ALL, PAID_64, bench.paid_in_all),
        Contender(RAILS, PAID_64, bench.rails_alone),
        Contender(BALANCE, EMPTY, partial(bench.http, "balance", connections=64)),
        Contender(EMPTY, None, partial(bench.http, "empty", connections=64)),
    ]


def measure_all(wanted: Sequence[Contender], *, rounds: int) -> dict[str, Figures | Skipped]:
    """Each in turn, round by round, so that a slow minute of the machine falls on all; medians."""
    every: dict[str, list[Figures]] = {one.name: [] for one in wanted}
    skipped: dict[str, Skipped] = {}
    for number in range(rounds):
        for one in wanted:
            if one.name not in skipped:
                try:
                    every[one.name].append(one.measure())
                except Failed as error:
                    skipped[one.name] = Skipped(str(error))
                    print(f"{one.name}: {error}", file=sys.stderr)
                else:
                    print(f"round {number + 1}: {one.name}: {every[one.name][-1].per_second:,.0f}/s", file=sys.stderr)
    return {name: skipped.get(name) or middle(found) for name, found in every.items()}


class Bench:
    """What is measured, each in a database of its own, which is made when it is first asked for."""

    def __init__(self, postgres: Postgres, folder: Path, seconds: float, stack: ExitStack) -> None:
        self._postgres = postgres
        self._folder = folder
        self._seconds = seconds
        self._stack = stack
        self._saturated: list[float] = []
        self._in_all: Figures | None = None

    def postgres_pid(self) -> int:
        return self._postgres.pid

    def _database(self, name: str) -> str:
        return self._stack.enter_context(database(self._postgres.superuser_dsn, self._postgres.dsn, name))

    @cached_property
    def _tpcb_dsn(self) -> str:
        dsn = self._database("tpcb")
        peers.make_tpcb(dsn)
        return dsn

    @cached_property
    def _dsns(self) -> Mapping[str, str]:
        """Of those peers that are processes of Python, and of the hand-written SQL."""
        dsns = {name: self._database(name) for name in ("by_hand", "library", "hordak")}
        peers.make_by_hand(dsns["by_hand"])
        return dsns

    @cached_property
    def _made(self) -> set[str]:
        """Peers whose accounts have been made."""
        return {"batch"}

    @cached_property
    def daybook_dsn(self) -> str:
        return self._database("measured")

    @cached_property
    def server(self) -> Server:
        server = self._stack.enter_context(served(self.daybook_dsn))
        daybook.prepare(server, accounts=ACCOUNTS)
        return server

    @cached_property
    def _shop(self) -> Shop:
        rails = self._stack.enter_context(simulated(self._folder / "shop.jsonl"))
        dsn = self._database("paid")
        server = self._stack.enter_context(served(dsn, "--rails", rails.url))
        daybook.prepare(server, accounts=ACCOUNTS)
        return Shop(dsn, server, rails, Meter(dsn, self.postgres_pid, server.pid, rails.pid))

    @property
    def _meter(self) -> Meter:
        return Meter(self.daybook_dsn, self.postgres_pid, self.server.pid)

    def tpcb(self) -> Figures:
        dsn = self._tpcb_dsn
        return self._held(dsn, lambda: peers.tpcb(dsn, self._folder, clients=32, seconds=self._seconds))

    def by_hand(self, clients: int, *, hot: bool) -> Figures:
        dsn = self._dsns["by_hand"]
        return self._held(
            dsn, lambda: peers.by_hand(dsn, self._folder, clients=clients, hot=hot, seconds=self._seconds)
        )

    def peer(self, peer: peers.Peer, of: str, *, clients: int) -> Figures:
        dsn = self._dsns[of]
        if peer not in self._made:
            call("peers", peers.Job(peer, dsn, 0, 0), Ran, seconds=60)
            self._made.add(peer)
        job = peers.Job(peer, dsn, clients, self._seconds)
        return self._held(dsn, lambda: call("peers", job, Ran, seconds=self._seconds))

    def _held(self, dsn: str, run: Callable[[], Ran]) -> Figures:
        meter = Meter(dsn, self.postgres_pid)
        before = meter.read()
        done = run()
        return figures(done, before, meter.read(), seconds=done.seconds)

    def http(self, what: load.What, *, connections: int, hot: bool = False, rate: float | None = None) -> Figures:
        server = self.server
        return daybook.over_http(server, self._meter, Job(0, what, connections, self._seconds, hot, ACCOUNTS, rate))

    def saturated(self) -> Figures:
        found = self.http("transfer", connections=64)
        self._saturated.append(found.per_second)
        return found

    def paced(self) -> Figures:
        """As `saturated`, but at a rate it can keep up: what an answer takes then, and how current reads are."""
        if not self._saturated:
            self.saturated()
        return self.http("transfer", connections=64, rate=PACE * median(self._saturated))

    def inside(self) -> Figures:
        assert self.server
        return daybook.in_process(self.daybook_dsn, self._meter, callers=1_000, seconds=self._seconds)

    def paid(self, *, connections: int) -> Figures:
        return payments.awaited(self._shop, connections=connections, seconds=self._seconds, accounts=ACCOUNTS)

    def paid_later(self) -> Figures:
        """What it takes until these have succeeded is kept for `paid_in_all`."""
        found, self._in_all = payments.acknowledged(
            self._shop, connections=64, seconds=self._seconds, accounts=ACCOUNTS
        )
        return found

    def paid_in_all(self) -> Figures:
        if self._in_all is None:
            self.paid_later()
        assert self._in_all is not None
        found, self._in_all = self._in_all, None
        return found

    def rails_alone(self) -> Figures:
        """In a process that has no part in payments, so that its books are held against nobody's."""
        with simulated(self._folder / "alone.jsonl") as rails:
            return payments.rails_alone(rails, at_once=64, seconds=self._seconds)
