"""All that the processes share about one rail or one route: its breaker and its traffic, fed by the same calls."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import groupby

from msgspec import Struct
from msgspec.structs import replace

from domain.breaker import Breaker, Permit, State, Thresholds, allow, allow_all, observe, probe, under, went_well
from domain.traffic import Observation, Span, Traffic, add, over


class Watched(Struct, frozen=True, kw_only=True):
    """Of one rail or one route."""

    breaker: Breaker = Breaker()
    traffic: Traffic = Traffic()


def settled(known: Watched, thresholds: Thresholds, span: Span) -> Watched:
    """What was shared, under settings that may be new."""
    return Watched(breaker=under(known.breaker, thresholds), traffic=over(known.traffic, span))


def watch(known: Watched, seen: Sequence[Observation], now: datetime) -> Watched:
    """After more calls, in the order in which they ended: as if each had been told by itself."""
    before = breaker = known.breaker
    for plain, group in groupby(seen, lambda one: went_well(before, one.outcome, one.latency_ms)):
        breaker = _told(breaker, list(group), now, plain=plain)
    return Watched(breaker=breaker, traffic=add(known.traffic, seen, now))


def _told(breaker: Breaker, seen: Sequence[Observation], now: datetime, *, plain: bool) -> Breaker:
    if plain and breaker.state is not State.HALF_OPEN:  # By far the most, and to the breaker they are all the same.
        return observe(breaker, seen[0].outcome, seen[0].latency_ms, now, times=len(seen))
    for one in seen:
        breaker = observe(breaker, one.outcome, one.latency_ms, now)
    return breaker


def take_probe(known: Iterable[Watched], now: datetime) -> list[Watched] | None:
    """Leave for one call that is under all of these, with what they are then; None where one of them lets none through.

    Where none of them asks for a probe any more, nothing is taken and the call may go out all the same.
    """
    known = list(known)
    if allow_all([each.breaker for each in known], now) is Permit.NO:
        return None
    return [
        replace(each, breaker=probe(each.breaker, now)) if allow(each.breaker, now) is Permit.PROBE else each
        for each in known
    ]
