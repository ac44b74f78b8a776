"""The sliding window of a route's payments: what counts, for how long, and what the median is."""

from datetime import datetime, timedelta

import msgspec
import pytest

from adapters.rails.card import declines
from adapters.rails.wire import codes
from domain.breaker import Outcome
from domain.rail import Accepted, Answer, Approved, Declined, NotFound, Retry, Unknown
from domain.traffic import (
    BOUNDS_MS,
    RAIL_FAULTS,
    Observation,
    Span,
    Statistics,
    Traffic,
    add,
    observation,
    over,
    statistics,
)
from tests.support import NOW

SPAN = Span(bucket_s=10, buckets=3)


def at(second: int) -> datetime:
    return NOW + timedelta(seconds=second)


def seen(latency_ms: int, approved: bool | None = True) -> Observation:
    return Observation(outcome=Outcome.SUCCESS, latency_ms=latency_ms, approved=approved)


def declined(reason: str, retry: Retry) -> Declined:
    return Declined(code="x", reason=reason, message="", retry=retry)


@pytest.mark.parametrize(
    ("answer", "outcome", "approved"),
    [
        (Approved(reference="r", amount=1, currency="EUR", code="00"), Outcome.SUCCESS, True),
        (Accepted(reference="r", code="00"), Outcome.SUCCESS, True),
        (declined("insufficient_funds", Retry.LATER), Outcome.SUCCESS, None),
        (declined("lost_card", Retry.NEVER), Outcome.SUCCESS, None),
        (declined("not_permitted_here", Retry.ELSEWHERE), Outcome.SUCCESS, False),
        (declined("system_malfunction", Retry.ELSEWHERE), Outcome.FAILURE, False),
        (declined("rail_unavailable", Retry.LATER), Outcome.FAILURE, False),
        (Unknown(why="no answer"), Outcome.TIMEOUT, False),
        (NotFound(), Outcome.SUCCESS, None),
    ],
)
def test_what_an_answer_says_of_rail_and_route(answer: Answer, outcome: Outcome, approved: bool | None) -> None:
    """
    A decline is a rail that works, and one about the payer says nothing of the route.
    """
    said = observation(answer, 70)

    assert said == Observation(outcome=outcome, latency_ms=70, approved=approved)


def test_a_window_slides() -> None:
    """
    Three buckets of ten seconds: what was counted is gone when its bucket is the fourth from the end.
    """
    traffic = Traffic(span=SPAN)
    for second, one in [(0, seen(10)), (9, seen(10, False)), (10, seen(10, None)), (29, seen(10))]:
        traffic = add(traffic, [one], at(second))

    assert [
        (now, found.approved, found.refused) for now in (29, 30, 59, 60) for found in [statistics(traffic, at(now))]
    ] == [
        (29, 2, 1),
        (30, 1, 0),
        (59, 0, 0),
        (60, 0, 0),
    ]
    assert len(add(traffic, [seen(1)], at(1000)).tallies) == 1


def test_a_clock_that_is_behind_takes_nothing_away() -> None:
    """
    What another process counted under a later time stays; what is older than the window is not counted.
    """
    traffic = add(Traffic(span=SPAN), [seen(10)], at(100))

    assert statistics(add(traffic, [seen(10)], at(85)), at(100)).approved == 2
    assert add(traffic, [seen(10)], at(0)) == traffic


@pytest.mark.parametrize(
    ("latencies", "median"),
    [([], None), ([7], 10), ([5], 5), ([1, 1, 900], 5), ([1, 900, 900], 1000), ([1, 900], 5), ([10**6], 60_000)],
)
def test_a_median_is_the_bound_above_it(latencies: list[int], median: int | None) -> None:
    """
    Latencies are kept as counts up to bounds, so the median is one of those.
    """
    traffic = add(Traffic(), [seen(latency_ms) for latency_ms in latencies], NOW)

    assert statistics(traffic, NOW).latency_ms == median
    assert median is None or median in BOUNDS_MS


def test_traffic_is_read_as_it_was_written() -> None:
    """
    Its JSON holds all of it, and nothing is little.
    """
    traffic = add(add(Traffic(span=SPAN), [seen(70)], at(0)), [seen(3000, False)], at(20))

    assert msgspec.json.decode(msgspec.json.encode(traffic), type=Traffic) == traffic
    assert msgspec.json.encode(Traffic()) == b"{}"
    assert statistics(traffic, at(20)) == Statistics(approved=1, refused=1, latency_ms=75)


def test_another_span_keeps_what_can_be_kept() -> None:
    """
    Counts of buckets of another length have to go.
    """
    traffic = add(Traffic(span=SPAN), [seen(10)], NOW)

    assert over(traffic, Span(bucket_s=10, buckets=9)).tallies == traffic.tallies
    assert over(traffic, Span(bucket_s=20, buckets=3)).tallies == ()


def test_rails_say_what_is_their_own_failing() -> None:
    """
    The words are those that the rails' tables of declines use.
    """
    said = {row.reason for row in declines.DECLINES} | {row.reason for row in codes.REASONS.values()}

    assert said >= RAIL_FAULTS
