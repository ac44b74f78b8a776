"""What processes share of rails and routes: fed by the same calls, asked for leave, and read by routing."""

from datetime import timedelta

from domain.breaker import (
    OF_RAIL,
    OF_ROUTE,
    Breaker,
    Outcome,
    Permit,
    State,
    Thresholds,
    allow,
    force,
    key,
    keys,
    observe,
    usual,
)
from domain.rail import Rail
from domain.routing import Health, Route, Terms, healths
from domain.traffic import Observation, Span, Statistics, Traffic, add, statistics
from domain.watch import Watched, settled, take_probe, watch
from tests.support import NOW

FAILED = Observation(outcome=Outcome.FAILURE, latency_ms=5, approved=False)
WELL = Observation(outcome=Outcome.SUCCESS, latency_ms=5, approved=True)
ONE = Thresholds(failures_in_row=1, open_s=30, probes=1)
SHUT = Watched(breaker=observe(Breaker(thresholds=ONE), Outcome.FAILURE, 5, NOW))
OPENS = NOW + timedelta(seconds=30)


def test_breaker_and_traffic_see_the_same_calls() -> None:
    """
    What opens the one is counted by the other.
    """
    after = watch(Watched(), [WELL, *[FAILED] * 5], NOW)

    assert after.breaker.state is State.OPEN
    assert statistics(after.traffic, NOW) == Statistics(approved=1, refused=5, latency_ms=5)


def test_nothing_seen_changes_nothing() -> None:
    """
    No calls, no counts.
    """
    assert watch(Watched(), [], NOW).breaker == Breaker()
    assert statistics(watch(Watched(), [], NOW).traffic, NOW) == Statistics()


def test_a_probe_is_taken_once() -> None:
    """
    Of a rail and its route, whichever asks for one; the next to ask gets none.
    """
    well = Watched()

    taken = take_probe([well, SHUT], OPENS)

    assert taken is not None
    assert [each.breaker.state for each in taken] == [State.CLOSED, State.HALF_OPEN]
    assert take_probe(taken, OPENS) is None
    assert take_probe([well, SHUT], NOW) is None
    assert take_probe([well, well], NOW) == [well, well]


def test_a_route_that_fails_does_not_close_its_rail() -> None:
    """
    The route's breaker opens by the fifth failure in a row; by then its rail has not given up.
    """
    rail, route = (
        Watched(breaker=Breaker(thresholds=usual("card"))),
        Watched(breaker=Breaker(thresholds=usual("card/a"))),
    )
    calls = 0
    while allow(route.breaker, NOW) is Permit.YES:
        rail, route, calls = watch(rail, [FAILED], NOW), watch(route, [FAILED], NOW), calls + 1

    assert calls == 5
    assert allow(rail.breaker, NOW) is Permit.YES
    assert (usual(key(Rail.ACH)), usual(key(Rail.ACH, "bank"))) == (OF_RAIL, OF_ROUTE)


def test_settings_may_change_under_what_is_shared() -> None:
    """
    Other thresholds and another span hold from now on; what was counted stays where it can.
    """
    known = watch(Watched(), [WELL], NOW)

    after = settled(known, Thresholds(calls_min=1), Span(buckets=5))

    assert after.breaker.thresholds.calls_min == 1
    assert after.breaker.window == known.breaker.window
    assert (after.traffic.span.buckets, after.traffic.tallies) == (5, known.traffic.tallies)


def route(name: str, rail: Rail) -> Route:
    return Route(name=name, rail=rail, methods=("card",), terms={"EUR": Terms()}, latency_ms=9)


def test_routing_reads_what_is_shared() -> None:
    """
    A route is under its own breaker and its rail's; its numbers are its own; what nobody saw is taken to be well.
    """
    traffic = add(Traffic(), [WELL], NOW)
    forced = force(Breaker(), State.OPEN, reason="moving", actor="ann", until=None, now=NOW)
    shared = {
        key(Rail.CARD): SHUT,
        key(Rail.CARD, "a"): Watched(traffic=traffic),
        key(Rail.ACH): Watched(traffic=traffic),
        key(Rail.ACH, "a"): Watched(breaker=forced),
    }
    routes = [route("a", Rail.CARD), route("b", Rail.UPI), route("c", Rail.ACH)]
    same_name = [route("a", Rail.ACH)]

    found = healths(routes, shared, NOW, closed={"c": ("after the cut-off", OPENS)})

    assert found == {
        "a": Health(
            breakers=Permit.NO,
            why="open: 1 failures in a row; open for 30 s",
            again_at=OPENS,
            approved=1,
            latency_ms=5,
        ),
        "b": Health(),
        "c": Health(closed="after the cut-off", again_at=OPENS),
    }
    assert healths(same_name, shared, NOW, closed={})["a"].why == "forced open by ann: moving"
    assert keys(Rail.CARD, "a") == ("card", "card/a")


def test_a_probe_that_succeeds_closes_what_is_shared() -> None:
    """
    That it was one is told by when it was sent; what was sent before says nothing.
    """
    taken = take_probe([SHUT], OPENS)
    assert taken is not None
    sent_before = Observation(outcome=Outcome.SUCCESS, latency_ms=2000, approved=True)
    now = OPENS + timedelta(seconds=1)

    assert watch(taken[0], [sent_before, WELL], now).breaker.state is State.CLOSED
    assert watch(taken[0], [sent_before, sent_before], now).breaker.state is State.HALF_OPEN
