"""A circuit breaker: whether a rail, or one route of it, is asked at all after what its last calls came to.

A breaker is a value and its states are a table: closed lets all through, open nothing, and once its time is over one
call at a time, a probe, whose end closes it or opens it again for longer. What an operator decides lies above that.
It counts calls, not payments: a decline is a rail that works. Its JSON is how all processes share it.
"""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from domain.rail import Rail

HISTORY: Final = 20
"""So many of the last transitions are kept with a breaker."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class State(StrEnum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Permit(StrEnum):
    """Whether a call may go out now. A probe is one only for whoever has taken it with `probe`."""

    YES = "yes"
    PROBE = "probe"
    NO = "no"


class Outcome(StrEnum):
    """What a call came to, as far as the rail's health goes."""

    SUCCESS = "success"
    FAILURE = "failure"
    TIMEOUT = "timeout"


class Cause(StrEnum):
    TRIPPED = "tripped"
    PROBED = "probed"
    PROBE_FAILED = "probe_failed"
    RECOVERED = "recovered"
    FORCED = "forced"
    RELEASED = "released"


TRANSITIONS: Final[dict[tuple[State, Cause], State]] = {
    (State.CLOSED, Cause.TRIPPED): State.OPEN,
    (State.OPEN, Cause.PROBED): State.HALF_OPEN,
    (State.HALF_OPEN, Cause.PROBED): State.HALF_OPEN,
    (State.HALF_OPEN, Cause.PROBE_FAILED): State.OPEN,
    (State.HALF_OPEN, Cause.RECOVERED): State.CLOSED,
    # An operator's word covers the state and leaves it as it is.
    **{(state, cause): state for state in State for cause in (Cause.FORCED, Cause.RELEASED)},
}


class Thresholds(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When a breaker opens and how it closes again.

    Args:
        bucket_s, buckets: The window is so many buckets of so many seconds, the one under way included.
        calls_min: With fewer calls in the window, shares of them mean nothing.
        failures_in_row: So many failures without a success between them open it, however few calls there are.
        failure_percent, slow_percent: Of the calls in the window. Slow is a call of `slow_ms` or more, or a timeout.
        open_s, open_s_max: How long it stays open at first; each failed probe doubles that, up to the most.
        probes: Successful probes in a row that close it.
        probe_patience_s: After that long without an answer, another probe may go out.
    """

    bucket_s: int = 10
    buckets: int = 6
    calls_min: int = 20
    failures_in_row: int = 5
    failure_percent: int = 50
    slow_percent: int = 80
    slow_ms: int = 5000
    open_s: int = 30
    open_s_max: int = 600
    probes: int = 3
    probe_patience_s: int = 60


OF_ROUTE: Final = Thresholds()
OF_RAIL: Final = Thresholds(calls_min=40, failures_in_row=15, failure_percent=80)
"""Slower to open than its routes: one that fails closes itself before the rail is taken for broken."""


class Bucket(Struct, frozen=True, array_like=True):
    """Counts of one stretch of time. `number`: whole bucket lengths since 1970. Failures include timeouts."""

    number: int
    calls: int = 0
    failures: int = 0
    slow: int = 0


class Transition(Struct, frozen=True, kw_only=True):
    """`number` counts them from 1, so that one who has seen some knows which are new."""

    number: int
    at: datetime
    before: State
    after: State
    cause: Cause
    reason: str


class Override(Struct, frozen=True, kw_only=True):
    """What an operator decided. `state`: open or closed; `until`: None for until it is released."""

    state: State
    reason: str
    actor: str
    at: datetime
    until: datetime | None = None


class Breaker(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Of one rail or one route.

    Args:
        since: When it came into its state; None where it never was in another.
        until: While open: when the first probe may go out.
        openings: How often it opened since it last was closed.
        failures_in_row: Failures since the last success.
        probe_until: While half-open: until when the probe that is out is waited for.
        probes_passed: While half-open: successful probes so far.
    """

    thresholds: Thresholds = Thresholds()
    state: State = State.CLOSED
    since: datetime | None = None
    until: datetime | None = None
    openings: int = 0
    failures_in_row: int = 0
    window: tuple[Bucket, ...] = ()
    probe_until: datetime | None = None
    probes_passed: int = 0
    override: Override | None = None
    history: tuple[Transition, ...] = ()


def key(rail: Rail, route: str = "") -> str:
    """The name of a breaker: of the route, or with none of the whole rail."""
    return f"{rail}/{route}" if route else str(rail)


def keys(rail: Rail, route: str) -> tuple[str, str]:
    """Of the breakers that a call is under: its rail's and its route's."""
    return key(rail), key(rail, route)


def usual(of: str) -> Thresholds:
    """For a breaker of that name, unless others are given."""
    return OF_ROUTE if "/" in of else OF_RAIL


def allow(breaker: Breaker, now: datetime) -> Permit:
    """Whether a call may go out; changes nothing. Whoever is told `PROBE` takes it with `probe` first."""
    decided = in_force(breaker, now)
    if decided is not None:
        return Permit.YES if decided.state is State.CLOSED else Permit.NO
    if breaker.state is State.CLOSED:
        return Permit.YES
    waits_until = breaker.until if breaker.state is State.OPEN else breaker.probe_until
    return Permit.NO if waits_until is not None and now < waits_until else Permit.PROBE


def allow_all(breakers: Iterable[Breaker], now: datetime) -> Permit:
    """Whether a call that is under all of them may go out: the strictest of them decides."""
    permits = {allow(breaker, now) for breaker in breakers}
    return next((permit for permit in (Permit.NO, Permit.PROBE) if permit in permits), Permit.YES)


def retry_at(breaker: Breaker, now: datetime) -> datetime | None:
    """When one that lets nothing through now may let a call through again; None where it does, or only a person can."""
    decided = in_force(breaker, now)
    if decided is not None:
        return decided.until if decided.state is State.OPEN else None
    if allow(breaker, now) is not Permit.NO:
        return None
    return breaker.until if breaker.state is State.OPEN else breaker.probe_until


def in_force(breaker: Breaker, now: datetime) -> Override | None:
    """What an operator decided, if it holds now."""
    decided = breaker.override
    return decided if decided is not None and (decided.until is None or now < decided.until) else None


def probe(breaker: Breaker, now: datetime) -> Breaker:
    """Take the one call that may go out; to be done by one process alone, under a lock."""
    assert allow(breaker, now) is Permit.PROBE, breaker
    began = replace(
        breaker,
        until=None,
        probe_until=now + timedelta(seconds=breaker.thresholds.probe_patience_s),
        probes_passed=breaker.probes_passed if breaker.state is State.HALF_OPEN else 0,
    )
    return began if breaker.state is State.HALF_OPEN else _after(began, Cause.PROBED, "its time was over", now)


def observe(breaker: Breaker, outcome: Outcome, latency_ms: int, now: datetime, *, times: int = 1) -> Breaker:
    """The breaker after a call's end. It never opens upon a call that went well, only upon one that failed or was slow.

    Args:
        latency_ms: From question to answer, or to where patience ended. While it is half-open, this tells a probe from
            calls that were sent before it opened, and say nothing about now: nobody has to remember which it was.
        times: So many calls that all went well (`went_well`) are counted at once; not while it is half-open.
    """
    failed, slow = outcome is not Outcome.SUCCESS, _is_slow(breaker, outcome, latency_ms)
    assert times == 1 or not (failed or slow or breaker.state is State.HALF_OPEN), (outcome, latency_ms, times)
    counted = replace(
        breaker,
        window=_counted(breaker, now, Bucket(0, times, int(failed), int(slow))),
        failures_in_row=breaker.failures_in_row + 1 if failed else 0,
    )
    if breaker.state is State.CLOSED and (failed or slow):
        reason = _trips(counted, now)
        return _opened(counted, Cause.TRIPPED, reason, now) if reason else counted
    if breaker.state is State.HALF_OPEN and breaker.since is not None and now - _ms(latency_ms) >= breaker.since:
        return _probed(counted, outcome, now, slow=slow, latency_ms=latency_ms)
    return counted


def went_well(breaker: Breaker, outcome: Outcome, latency_ms: int) -> bool:
    """Neither failed nor slow."""
    return outcome is Outcome.SUCCESS and not _is_slow(breaker, outcome, latency_ms)


def _is_slow(breaker: Breaker, outcome: Outcome, latency_ms: int) -> bool:
    return outcome is Outcome.TIMEOUT or latency_ms >= breaker.thresholds.slow_ms


def force(breaker: Breaker, state: State, *, reason: str, actor: str, until: datetime | None, now: datetime) -> Breaker:
    """An operator's decision: open or closed whatever is observed, until then or until it is released."""
    assert state is not State.HALF_OPEN and reason and actor, (state, reason, actor)
    decided = Override(state=state, reason=reason, actor=actor, at=now, until=until)
    ends = f" until {until.isoformat()}" if until else ""
    return _after(replace(breaker, override=decided), Cause.FORCED, f"{state} by {actor}{ends}: {reason}", now)


def release(breaker: Breaker, *, reason: str, actor: str, now: datetime) -> Breaker:
    """The end of an operator's decision: the breaker goes on from the state it is in."""
    return _after(replace(breaker, override=None), Cause.RELEASED, f"by {actor}: {reason}", now)


def under(breaker: Breaker, thresholds: Thresholds) -> Breaker:
    """The breaker with thresholds that may be new. Counts of buckets of another length cannot be kept."""
    same = thresholds.bucket_s == breaker.thresholds.bucket_s
    return replace(breaker, thresholds=thresholds, window=breaker.window if same else ())


def counts(breaker: Breaker, now: datetime) -> Bucket:
    """What is in the window now, summed; under the number of the bucket under way."""
    current = _bucket_number(breaker, now)
    live = [bucket for bucket in breaker.window if bucket.number > current - breaker.thresholds.buckets]
    return Bucket(current, sum(b.calls for b in live), sum(b.failures for b in live), sum(b.slow for b in live))


def transitions_since(breaker: Breaker, number: int) -> tuple[Transition, ...]:
    """Those after the one of that number, as far as they are kept."""
    return tuple(transition for transition in breaker.history if transition.number > number)


def _trips(breaker: Breaker, now: datetime) -> str:
    """Why it opens; empty if it does not."""
    limits, seen = breaker.thresholds, counts(breaker, now)
    window_s = limits.bucket_s * limits.buckets
    if breaker.failures_in_row >= limits.failures_in_row:
        return f"{breaker.failures_in_row} failures in a row"
    if seen.calls < limits.calls_min:
        return ""
    if seen.failures * 100 >= limits.failure_percent * seen.calls:
        return f"{seen.failures} of {seen.calls} calls in {window_s} s failed"
    if seen.slow * 100 >= limits.slow_percent * seen.calls:
        return f"{seen.slow} of {seen.calls} calls in {window_s} s took {limits.slow_ms} ms or more"
    return ""


def _probed(breaker: Breaker, outcome: Outcome, now: datetime, *, slow: bool, latency_ms: int) -> Breaker:
    if outcome is not Outcome.SUCCESS:
        return _opened(breaker, Cause.PROBE_FAILED, f"the probe ended in a {outcome}", now)
    if slow:
        return _opened(breaker, Cause.PROBE_FAILED, f"the probe took {latency_ms} ms", now)
    passed = breaker.probes_passed + 1
    if passed < breaker.thresholds.probes:
        return replace(breaker, probe_until=None, probes_passed=passed)
    # What was counted belongs to the trouble that is over.
    fresh = replace(breaker, openings=0, failures_in_row=0, window=(), probe_until=None, probes_passed=0)
    return _after(fresh, Cause.RECOVERED, f"{passed} probes in a row succeeded", now)


def _opened(breaker: Breaker, cause: Cause, reason: str, now: datetime) -> Breaker:
    limits = breaker.thresholds
    # The power is bounded as well: after a year of outage it is not to be a number of a thousand digits.
    open_s = min(limits.open_s * 2 ** min(breaker.openings, 30), limits.open_s_max)
    opened = replace(
        breaker,
        openings=breaker.openings + 1,
        until=now + timedelta(seconds=open_s),
        probe_until=None,
        probes_passed=0,
    )
    return _after(opened, cause, f"{reason}; open for {open_s} s", now)


def _after(breaker: Breaker, cause: Cause, reason: str, now: datetime) -> Breaker:
    """In the state that the table says, the transition noted."""
    after = TRANSITIONS[breaker.state, cause]
    number = breaker.history[-1].number + 1 if breaker.history else 1
    noted = Transition(number=number, at=now, before=breaker.state, after=after, cause=cause, reason=reason)
    since = breaker.since if after is breaker.state else now
    return replace(breaker, state=after, since=since, history=(*breaker.history, noted)[-HISTORY:])


def _counted(breaker: Breaker, now: datetime, more: Bucket) -> tuple[Bucket, ...]:
    """The window with more calls, less what has fallen out of it. A clock that went back adds to an older bucket."""
    number = _bucket_number(breaker, now)
    newest = max(number, breaker.window[-1].number if breaker.window else number)
    live = {b.number: b for b in breaker.window if b.number > newest - breaker.thresholds.buckets}
    if number > newest - breaker.thresholds.buckets:
        was = live.get(number, Bucket(number))
        live[number] = Bucket(number, was.calls + more.calls, was.failures + more.failures, was.slow + more.slow)
    return tuple(live[number] for number in sorted(live))


def _ms(count: int) -> timedelta:
    return timedelta(milliseconds=count)


def _bucket_number(breaker: Breaker, now: datetime) -> int:
    return (now - _EPOCH) // timedelta(seconds=breaker.thresholds.bucket_s)
