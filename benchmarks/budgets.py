"""The budgets as data: what is asked, what was measured, and by how much it is met or missed.

Ratios are of one run. Two dozen numbers are not worth more machinery than a list.
"""

from collections.abc import Callable, Sequence
from typing import Final, Literal

from msgspec import Struct

from benchmarks import growth, suite
from benchmarks.figures import Figures
from benchmarks.growth import Standing
from benchmarks.suite import Results, by_hand

Unit = Literal["x", "ms", "s", "/s", "bytes", "GiB"]


class Unmeasured(Exception):
    """The run has not what it takes."""


class Budget(Struct, frozen=True):
    """`bound` is the least that `measured` may be, or the most."""

    what: str
    bound: float
    unit: Unit
    at_least: bool
    measured: Callable[["Run"], float]


class Verdict(Struct, frozen=True):
    """A budget held against a run; `measured` is None for what it did not measure. `margin` over 1 is met."""

    what: str
    bound: float
    unit: str
    at_least: bool
    measured: float | None
    margin: float | None

    @property
    def met(self) -> bool | None:
        return None if self.margin is None else self.margin >= 1


class Run:
    """What was measured, asked for by name."""

    def __init__(self, results: Results | None, standings: Sequence[Standing]) -> None:
        self._results = results
        self._standings = standings

    def of(self, name: str) -> Figures:
        found = self._results.found.get(name) if self._results is not None else None
        if not isinstance(found, Figures):
            raise Unmeasured(name)
        return found

    def ratio(self, name: str, base: str) -> float:
        return self.of(name).per_second / self.of(base).per_second

    def best(self, *names: str) -> float:
        """The most per second that any of them came to."""
        return max(self.of(name).per_second for name in names)

    def lag_ms(self) -> float:
        found = self.of(suite.HTTP_PACED).lag_ms
        if found is None:
            raise Unmeasured("lag")
        return found

    def standing(self, key: str, *, entries: int = 0, accounts: int = 0) -> float:
        """A figure of the largest store that was measured, if that is large enough."""
        own = [self._results.standing] if self._results is not None and self._results.standing else []
        large = [one for one in (*own, *self._standings) if one.entries >= entries and one.accounts >= accounts]
        if not any(key in one.figures for one in large):
            raise Unmeasured(key)
        return max((one for one in large if key in one.figures), key=lambda one: one.entries).figures[key]


_TEN_MILLION: Final = 10_000_000
_BASE: Final = by_hand(32)
_PAID: Final = (suite.PAID_64, suite.PAID_IN_ALL)


def _least(what: str, bound: float, unit: Unit, measured: Callable[[Run], float]) -> Budget:
    return Budget(what, bound, unit, True, measured)


def _most(what: str, bound: float, unit: Unit, measured: Callable[[Run], float]) -> Budget:
    return Budget(what, bound, unit, False, measured)


BUDGETS: Final = (
    _least("batches of 1,000 over HTTP to hand-written SQL", 5, "x", lambda r: r.ratio(suite.BATCHES, _BASE)),
    _least("the same to its set-based batches", 0.7, "x", lambda r: r.ratio(suite.BATCHES, suite.BY_HAND_BATCH)),
    _least("one a request, 64 connections, to hand-written SQL", 2, "x", lambda r: r.ratio(suite.HTTP_64, _BASE)),
    _least("the same on one hot account", 8, "x", lambda r: r.ratio(suite.HTTP_HOT, by_hand(32, hot=True))),
    _most("p50 of 1 connection to that", 2, "x", lambda r: r.of(suite.HTTP_1).p50_ms / r.of(by_hand(1)).p50_ms),
    _most("p50 at 64 connections, saturated", 15, "ms", lambda r: r.of(suite.HTTP_64).p50_ms),
    _most("p95", 40, "ms", lambda r: r.of(suite.HTTP_64).p95_ms),
    _most("p99", 100, "ms", lambda r: r.of(suite.HTTP_64).p99_ms),
    _least("one a request to pgledger", 5, "x", lambda r: r.ratio(suite.HTTP_64, suite.PGLEDGER)),
    _least(
        "to eventsourcing as is", 10, "x", lambda r: r.best(suite.HTTP_64) / r.best(suite.library(1), suite.library(8))
    ),
    _least("to django-hordak", 20, "x", lambda r: r.best(suite.HTTP_64) / r.best(suite.hordak(1), suite.hordak(8))),
    _most("lag of the read models at 70 % of the rate, p99", 250, "ms", Run.lag_ms),
    _least(
        "rebuild of all read models to the write rate, 64 connections",
        3,
        "x",
        lambda r: r.standing(growth.REBUILD) / r.of(suite.HTTP_64).per_second,
    ),
    _most("payment by card, awaited, p50 at 64 connections", 300, "ms", lambda r: r.of(suite.PAID_64).p50_ms),
    _most("p95", 800, "ms", lambda r: r.of(suite.PAID_64).p95_ms),
    _least("payments by card, to the figure to reach for", 10_000, "/s", lambda r: r.best(*_PAID)),
    _least("balance reads to the empty endpoint", 0.5, "x", lambda r: r.ratio(suite.BALANCE, suite.EMPTY)),
    _most("one account at any (E, K), 10 million, p99", 50, "ms", lambda r: _large(r, growth.BALANCE_BOTH)),
    _most("the same from cold", 200, "ms", lambda r: _large(r, growth.BALANCE_BOTH_COLD)),
    _most("whole trial balance at any (E, K), 10 million", 2, "s", lambda r: _large(r, growth.TRIAL_THEN) / 1000),
    _least("verify, hashes", 200_000, "/s", lambda r: r.standing(growth.HASHES)),
    _least("verify, all derivations", 100_000, "/s", lambda r: r.standing(growth.VERIFY)),
    _least("rebuild of all read models", 50_000, "/s", lambda r: r.standing(growth.REBUILD)),
    _most("cold start until ready, 10 million", 3, "s", lambda r: _large(r, growth.COLD_START) / 1000),
    _most("events, postings, seals, per transfer", 1_000, "bytes", lambda r: r.of(suite.HTTP_64).log_bytes),
    _most("with all read models", 1_800, "bytes", lambda r: _bytes(r.of(suite.HTTP_64))),
    _most(
        "memory of the server, 1 million accounts",
        1.5,
        "GiB",
        lambda r: r.standing(growth.MEMORY, accounts=1_000_000) / 2**30,
    ),
)


def _large(run: Run, key: str) -> float:
    return run.standing(key, entries=_TEN_MILLION)


def _bytes(found: Figures) -> float:
    return found.log_bytes + found.read_bytes


def verdicts(results: Results | None, standings: Sequence[Standing]) -> list[Verdict]:
    """Every budget, met or not, or not measured."""
    run = Run(results, standings)
    return [_verdict(budget, run) for budget in BUDGETS]


def _verdict(budget: Budget, run: Run) -> Verdict:
    try:
        measured = budget.measured(run)
        margin = measured / budget.bound if budget.at_least else budget.bound / measured
    except (Unmeasured, ZeroDivisionError):
        return Verdict(budget.what, budget.bound, budget.unit, budget.at_least, None, None)
    return Verdict(budget.what, budget.bound, budget.unit, budget.at_least, measured, margin)
