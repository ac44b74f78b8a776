"""Numbers for Prometheus, one registry for each app, so that several may live in one process.

Labels hold only what Daybook itself named (routes, kinds, codes): a stranger cannot make new series.
"""

from bisect import bisect_left
from collections import Counter as Counts
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from itertools import accumulate
from typing import Final, Protocol

from msgspec import Struct, field
from prometheus_client import CollectorRegistry, Counter, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from adapters.observe.handled import Handled
from commands.desk import SIZES, Desk, Outcome, Tally

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_METHODS: Final = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"})
_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class ProjectorStatus(Protocol):
    """How a projector stands: see `adapters.postgres.projecting.Status`."""

    @property
    def name(self) -> str: ...
    @property
    def running(self) -> bool: ...
    @property
    def position(self) -> int: ...
    @property
    def head(self) -> int: ...
    @property
    def lag_events(self) -> int: ...
    @property
    def lag_s(self) -> float: ...
    @property
    def error(self) -> str | None: ...
    @property
    def failed_at(self) -> int | None: ...
    @property
    def state(self) -> str: ...
    @property
    def applied(self) -> int: ...
    @property
    def rate(self) -> float: ...
    @property
    def restarts(self) -> int: ...
    @property
    def building_at(self) -> int | None: ...


class Timed(Struct):
    """How often, and how long it took: by the bucket its seconds fall in, and in all."""

    buckets: list[int] = field(default_factory=lambda: [0] * (len(_BUCKETS) + 1))
    seconds: float = 0.0

    def take(self, seconds: float) -> None:
        self.buckets[bisect_left(_BUCKETS, seconds)] += 1
        self.seconds += seconds

    @property
    def count(self) -> int:
        return sum(self.buckets)

    def __iadd__(self, other: "Timed") -> "Timed":
        self.buckets = [one + more for one, more in zip(self.buckets, other.buckets, strict=True)]
        self.seconds += other.seconds
        return self


_Kind = tuple[str, str, int, str, str, str]
"""Of a request: method, route, status, command, the command's outcome, the problem's code."""


class Metrics:
    """What is counted as requests are handled, and what is looked up when somebody asks.

    A request is counted once, by all that it is told apart by; what is shown is added up from that when it is asked
    for. Of the library's own counters a request would take several, each by labels that are looked up anew.
    """

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._handled: defaultdict[_Kind, Timed] = defaultdict(Timed)
        self._registry.register(_Handled(self._handled))
        self._paid: defaultdict[tuple[str, str], Timed] = defaultdict(Timed)
        self._registry.register(_Paid(self._paid))
        self._settled: Counts[tuple[str, ...]] = Counts()
        self._settled_days: dict[tuple[str, str], float] = {}
        self._registry.register(_Settled(self._settled, self._settled_days))
        self._faults = Counter(
            "daybook_faults", "What should not happen, by event.", ["event"], registry=self._registry
        )
        self._votes = Counter(
            "daybook_votes",
            "Votes of validators outside; one that abstains was not heard.",
            ["validator", "verdict"],
            registry=self._registry,
        )

        self._ended = Counter(
            "daybook_expired",
            "Holds and escrows ended by this process at their time, and whether any of it is on suspense.",
            ["kind", "suspended"],
            registry=self._registry,
        )

    def handled(self, request: Handled) -> None:
        method = request.method if request.method in _METHODS else "other"
        outcome = request.outcome if request.command else ""
        kind = (method, request.route or "none", request.status, request.command, outcome, request.code)
        self._handled[kind].take(request.seconds)

    def paid(self, method: str, status: str, seconds: float) -> None:
        """A payment was carried through by this process to where rails have nothing more to say for now."""
        self._paid[method, status].take(seconds)

    def ended(self, outcome: Outcome) -> None:
        """A hold's or an escrow's time has come, and this process has ended it."""
        suspended = any(getattr(one.event, "suspended", False) for one in outcome.recorded)
        self._ended.labels("hold" if outcome.escrow is None else "escrow", str(suspended).lower()).inc()

    def settled(self, rail: str, said: str, lines: int) -> None:
        """Lines of a rail's report were booked by this process; `break` where they fit nothing."""
        self._settled[rail, said] += lines

    def settled_day(self, rail: str, route: str, day: date) -> None:
        """All of a route's day is booked, as this process knows."""
        self._settled_days[rail, route] = datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()

    def voted(self, validator: str, verdict: str) -> None:
        """A validator outside said so, or, abstaining, was not heard."""
        self._votes.labels(validator, verdict).inc()

    def fault(self, event: str) -> None:
        self._faults.labels(event).inc()

    def watch(self, desk: Desk, projectors: Callable[[], Iterable[ProjectorStatus]]) -> None:
        """Look these up whenever the metrics are read."""
        self._registry.register(_Watched(desk, projectors))

    def watch_breakers(self, breakers: Callable[[], Mapping[tuple[str, str], str]]) -> None:
        """Look up the states of circuit breakers, by rail and route, whenever the metrics are read."""
        self._registry.register(_Breakers(breakers))

    def text(self) -> bytes:
        return generate_latest(self._registry)


class _Handled(Collector):
    def __init__(self, handled: Mapping[_Kind, Timed]) -> None:
        self._handled = handled

    def collect(self) -> Iterable[Metric]:
        commands: Counts[tuple[str, ...]] = Counts()
        problems: Counts[tuple[str, ...]] = Counts()
        latency: defaultdict[tuple[str, ...], Timed] = defaultdict(Timed)
        requests: defaultdict[tuple[str, ...], Timed] = defaultdict(Timed)
        for (method, route, status, command, outcome, code), timed in dict(self._handled).items():
            requests[method, route, str(status)] += timed
            if command:
                commands[command, outcome] += timed.count
                latency[(command,)] += timed
            if code:
                problems[code, str(status)] += timed.count
        yield _counted("daybook_commands", "Commands by kind and outcome.", ["kind", "outcome"], commands)
        yield _timed(
            "daybook_command_seconds",
            "Time from a command's arrival to the end of its answer, by kind.",
            ["kind"],
            latency,
        )
        yield _counted("daybook_problems", "Answers that said no, by code.", ["code", "status"], problems)
        yield _timed(
            "daybook_request_seconds",
            "Time from a request's head to the end of its answer.",
            ["method", "route", "status"],
            requests,
        )


class _Paid(Collector):
    def __init__(self, paid: Mapping[tuple[str, str], Timed]) -> None:
        self._paid = paid

    def collect(self) -> Iterable[Metric]:
        processed: Counts[tuple[str, ...]] = Counts()
        durations: defaultdict[tuple[str, ...], Timed] = defaultdict(Timed)
        for (method, status), timed in dict(self._paid).items():
            processed[method, status] += timed.count
            durations[(method,)] += timed
        yield _counted(
            "payments_processed", "Payments carried through, by method and status.", ["method", "status"], processed
        )
        yield _timed(
            "payment_processing_duration_seconds",
            "Time from the first thing asked of a rail to what became of it.",
            ["method"],
            durations,
        )


class _Settled(Collector):
    def __init__(self, settled: Mapping[tuple[str, ...], int], days: Mapping[tuple[str, str], float]) -> None:
        self._settled = settled
        self._days = days

    def collect(self) -> Iterable[Metric]:
        lines = dict(self._settled)
        yield _counted("settlement_lines", "Lines of rails' reports booked, by what they say.", ["rail", "said"], lines)
        day = GaugeMetricFamily(
            "settlement_day_seconds", "When the last day began that is booked whole.", labels=["rail", "route"]
        )
        for (rail, route), began in sorted(dict(self._days).items()):
            day.add_metric([rail, route], began)
        yield day


_BREAKER_STATES: Final = {"closed": 0.0, "half_open": 1.0, "open": 2.0}


class _Breakers(Collector):
    def __init__(self, breakers: Callable[[], Mapping[tuple[str, str], str]]) -> None:
        self._breakers = breakers

    def collect(self) -> Iterable[Metric]:
        state = GaugeMetricFamily(
            "circuit_breaker_state",
            "0 closed, 1 half open, 2 open; a method is a rail, and without a route all of it.",
            labels=["method", "route"],
        )
        for (rail, route), found in sorted(self._breakers().items()):
            state.add_metric([rail, route], _BREAKER_STATES[found])
        yield state


def _counted(name: str, words: str, labels: Sequence[str], counts: Mapping[tuple[str, ...], int]) -> Metric:
    family = CounterMetricFamily(name, words, labels=labels)
    for values, count in sorted(counts.items()):
        family.add_metric(values, count)
    return family


def _timed(name: str, words: str, labels: Sequence[str], times: Mapping[tuple[str, ...], Timed]) -> Metric:
    family = HistogramMetricFamily(name, words, labels=labels)
    for values, timed in sorted(times.items()):
        family.add_metric(values, _cumulative(_BUCKETS, timed.buckets), timed.seconds)
    return family


def _cumulative(bounds: Iterable[float], counts: Iterable[int]) -> list[tuple[str, float]]:
    """Buckets as Prometheus has them: how many were up to each bound."""
    return list(zip([*map(str, map(float, bounds)), "+Inf"], accumulate(counts), strict=True))


class _Watched(Collector):
    def __init__(self, desk: Desk, projectors: Callable[[], Iterable[ProjectorStatus]]) -> None:
        self._desk = desk
        self._projectors = projectors

    def collect(self) -> Iterable[Metric]:
        yield from self._of_desk()
        yield from self._of_projectors()

    def _of_desk(self) -> Iterable[Metric]:
        tally = self._desk.tally
        yield GaugeMetricFamily("daybook_desk_queued", "Commands that wait to be taken up.", value=self._desk.queued)
        yield GaugeMetricFamily("daybook_desk_alive", "1 while commands are decided.", value=float(self._desk.alive))
        yield CounterMetricFamily("daybook_desk_batches", "Batches decided.", value=tally.batches)
        yield CounterMetricFamily("daybook_desk_commits", "Batches committed.", value=tally.commits)
        yield CounterMetricFamily("daybook_desk_events", "Events committed.", value=tally.events)
        yield _sizes(tally)
        refusals = CounterMetricFamily("daybook_refusals", "Commands refused, by code.", labels=["code"])
        for code, count in sorted(dict(tally.refusals).items()):  # A copy: the desk's thread goes on counting.
            refusals.add_metric([code], count)
        yield refusals
        decided = CounterMetricFamily("daybook_desk_commands", "Commands the desk answered.", labels=["outcome"])
        decided.add_metric(["applied"], tally.landed)
        decided.add_metric(["refused"], tally.refused)
        decided.add_metric(["replayed"], tally.replayed)
        decided.add_metric(["failed"], tally.failed)
        yield decided

    def _of_projectors(self) -> Iterable[Metric]:
        position = GaugeMetricFamily("daybook_projector_position", "Last event applied.", labels=["projector"])
        events = GaugeMetricFamily("daybook_projector_lag_events", "Events not applied yet.", labels=["projector"])
        seconds = GaugeMetricFamily(
            "daybook_projector_lag_seconds", "Age of the oldest event not applied.", labels=["projector"]
        )
        failed = GaugeMetricFamily("daybook_projector_failed", "1 while it stands still.", labels=["projector"])
        parked = GaugeMetricFamily(
            "daybook_projection_parked", "1 while it cannot get past an event.", labels=["projection"]
        )
        parked_at = GaugeMetricFamily(
            "daybook_projection_parked_position", "The event it cannot get past, 0 without.", labels=["projection"]
        )
        applied = CounterMetricFamily(
            "daybook_projector_events", "Events applied by this process.", labels=["projector"]
        )
        rate = GaugeMetricFamily(
            "daybook_projector_rate", "Events applied by this process in a second.", labels=["projector"]
        )
        restarts = CounterMetricFamily(
            "daybook_projector_restarts", "Times it died and was started again.", labels=["projector"]
        )
        for status in self._projectors():
            parked.add_metric([status.name], float(status.failed_at is not None))
            parked_at.add_metric([status.name], status.failed_at or 0)
            applied.add_metric([status.name], status.applied)
            rate.add_metric([status.name], status.rate)
            restarts.add_metric([status.name], status.restarts)
            position.add_metric([status.name], status.position)
            events.add_metric([status.name], status.lag_events)
            seconds.add_metric([status.name], status.lag_s)
            failed.add_metric([status.name], float(status.error is not None or not status.running))
        yield from (position, events, seconds, failed, parked, parked_at, applied, rate, restarts)


def _sizes(tally: Tally) -> Metric:
    """How many commands were decided together: what one commit, and one fsync, was shared by."""
    return HistogramMetricFamily(
        "daybook_desk_batch_size",
        "Commands in a batch.",
        buckets=_cumulative(SIZES, tally.sizes),
        sum_value=tally.taken,
    )
