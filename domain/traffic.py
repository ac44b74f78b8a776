"""What became of the payments that lately went over a route: approvals and latencies in a sliding window.

Counts in buckets of time that are added to, so that any number of processes can share one window.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from domain.breaker import Outcome
from domain.rail import Accepted, Answer, Approved, Declined, NotFound, Retry, Unknown

BOUNDS_MS: Final = (
    *(5, 10, 20, 30, 50, 75, 100, 150, 200, 300, 500, 750),
    *(1000, 1500, 2000, 3000, 5000, 7500, 10_000, 15_000, 20_000, 30_000, 60_000),
)
"""Latencies are counted up to each of these, and kept no finer. Longer ones count as the last."""

RAIL_FAULTS: Final = frozenset({"rail_error", "rail_unavailable", "system_malfunction"})
"""Reasons of declines that are the rail's own failing, in the words of all rails. A bank behind it is another thing."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Observation(Struct, frozen=True, kw_only=True):
    """How a call ended.

    Args:
        latency_ms: From question to answer, or to where patience ended.
        approved: Whether it is to be said for or against the route; None where the answer was about the payer.
    """

    outcome: Outcome
    latency_ms: int
    approved: bool | None = None


def observation(answer: Answer, latency_ms: int) -> Observation:
    """What an answer says about the rail and the route that gave it.

    A decline is a rail that works, unless its reason is the rail's own failing. It speaks against the route only where
    another route may do better: an empty account is as empty over any of them.
    """
    outcome, approved = _said(answer)
    return Observation(outcome=outcome, latency_ms=latency_ms, approved=approved)


def _said(answer: Answer) -> tuple[Outcome, bool | None]:
    match answer:
        case Approved() | Accepted():
            return Outcome.SUCCESS, True
        case Declined(reason=reason) if reason in RAIL_FAULTS:
            return Outcome.FAILURE, False
        case Declined(retry=Retry.ELSEWHERE):
            return Outcome.SUCCESS, False
        case Declined() | NotFound():
            return Outcome.SUCCESS, None
        case Unknown():
            return Outcome.TIMEOUT, False


class Span(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How far back is looked: so many buckets of so many seconds, the one under way included."""

    bucket_s: int = 60
    buckets: int = 30


class Tally(Struct, frozen=True, array_like=True):
    """Counts of one stretch of time. `number`: whole bucket lengths since 1970; `latencies`: by place in BOUNDS_MS."""

    number: int
    approved: int = 0
    refused: int = 0
    latencies: dict[int, int] = {}


class Traffic(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Of one route, or a whole rail."""

    span: Span = Span()
    tallies: tuple[Tally, ...] = ()


class Statistics(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Of the whole window. `latency_ms`: the median, as one of BOUNDS_MS; None without a single call."""

    approved: int = 0
    refused: int = 0
    latency_ms: int | None = None


def add(traffic: Traffic, seen: Sequence[Observation], now: datetime) -> Traffic:
    """The window with more calls, less what has fallen out of it."""
    number = _number(traffic.span, now)
    newest = max(number, traffic.tallies[-1].number if traffic.tallies else number)
    live = {tally.number: tally for tally in traffic.tallies if tally.number > newest - traffic.span.buckets}
    if number > newest - traffic.span.buckets:
        live[number] = _plus(live.get(number, Tally(number)), seen)
    return replace(traffic, tallies=tuple(live[number] for number in sorted(live)))


def over(traffic: Traffic, span: Span) -> Traffic:
    """The traffic with a span that may be new. Counts of buckets of another length cannot be kept."""
    same = span.bucket_s == traffic.span.bucket_s
    return replace(traffic, span=span, tallies=traffic.tallies if same else ())


def statistics(traffic: Traffic, now: datetime) -> Statistics:
    """What is in the window now."""
    oldest = _number(traffic.span, now) - traffic.span.buckets
    live = [tally for tally in traffic.tallies if tally.number > oldest]
    latencies: Counter[int] = Counter()
    for tally in live:
        latencies.update(tally.latencies)
    return Statistics(
        approved=sum(tally.approved for tally in live),
        refused=sum(tally.refused for tally in live),
        latency_ms=_median(latencies),
    )


def _plus(tally: Tally, seen: Sequence[Observation]) -> Tally:
    last = len(BOUNDS_MS) - 1
    latencies = Counter(tally.latencies)
    latencies.update(min(bisect_left(BOUNDS_MS, one.latency_ms), last) for one in seen)
    return Tally(
        tally.number,
        tally.approved + sum(one.approved is True for one in seen),
        tally.refused + sum(one.approved is False for one in seen),
        dict(latencies),
    )


def _median(latencies: Counter[int]) -> int | None:
    """The bound under which at least half of them are."""
    half, below = latencies.total(), 0
    for place in sorted(latencies):
        below += latencies[place]
        if below * 2 >= half:
            return BOUNDS_MS[place]
    return None


def _number(span: Span, now: datetime) -> int:
    return (now - _EPOCH) // timedelta(seconds=span.bucket_s)
