"""Which route a payment takes: routes and payments as tables, the choice and every reason against the others."""

from collections.abc import Iterator
from datetime import UTC, datetime, time, timedelta
from typing import Any
from uuid import UUID

import msgspec
import pytest
from msgspec.structs import replace

from domain.breaker import Breaker, Outcome, Permit, State, Thresholds, force, observe
from domain.hours import Hours
from domain.rail import BankAccount, Card, Iban, Method, Rail, UpiAddress
from domain.routing import (
    DEFAULT,
    WHOLE,
    Decision,
    Health,
    How,
    Obstacle,
    Request,
    Route,
    Rule,
    Strategy,
    Terms,
    Weights,
    When,
    Why,
    applies,
    closed,
    decide,
    draw_of,
    fee_of,
    health_in,
    health_of,
    healths,
    method_name,
    replay,
)
from domain.traffic import Observation, Traffic, add
from tests.support import NOW, cells

LATER = NOW + timedelta(minutes=5)
SEVENTY = Request(amount=7000, currency="EUR", method="card:visa", country="FR")


def routes(table: str) -> list[Route]:
    """Card routes in EUR from rows of `name | fixed fee + basis points | latency | share or priority`."""
    return list(_routes(table))


def _routes(table: str) -> Iterator[Route]:
    for name, fee, latency, *rest in cells(table):
        fixed, _, points = fee.partition("+")
        terms = {"EUR": Terms(fee_fixed=int(fixed), fee_bp=int(points))}
        said: dict[str, Any] = {word.partition("=")[0]: int(word.partition("=")[2]) for word in rest}
        yield Route(name=name, rail=Rail.CARD, methods=("card",), terms=terms, latency_ms=int(latency), **said)


THREE = routes("""
    cheap  | 0  + 100 | 900 | share=0
    fast   | 30 + 150 | 100 | share=25
    steady | 10 + 200 | 500 | share=75
""")
SEEN = {
    "cheap": Health(approved=50, refused=50),
    "fast": Health(approved=80, refused=20),
    "steady": Health(approved=98, refused=2),
}


def decided(
    strategy: Strategy = Strategy.COST, *, draw: float = 0.5, request: Request = SEVENTY, **rule: Any
) -> Decision:
    return decide(request, THREE, [Rule(name="r", strategy=strategy, **rule)], SEEN, draw, NOW)


@pytest.mark.parametrize(
    ("amount", "fixed", "bp", "fee"),
    [
        (7000, 30, 150, 135),
        (1, 0, 0, 0),
        (50, 0, 100, 0),  # 0.5 is between 0 and 1, and 0 is even.
        (150, 0, 100, 2),  # 1.5 is between 1 and 2, and 2 is even.
        (250, 0, 100, 2),
        (251, 0, 100, 3),
        (149, 0, 100, 1),
        (2**53 - 1, 7, 9999, 9006298534815517 + 7),
    ],
)
def test_a_fee_is_rounded_half_even(amount: int, fixed: int, bp: int, fee: int) -> None:
    """
    Basis points of the amount, rounded once to a whole minor unit, and the fixed part.
    """
    assert fee_of(Terms(fee_fixed=fixed, fee_bp=bp), amount) == fee


@pytest.mark.parametrize(
    ("strategy", "order"),
    [
        (Strategy.COST, ["cheap", "fast", "steady"]),
        (Strategy.SPEED, ["fast", "steady", "cheap"]),
        (Strategy.RELIABILITY, ["steady", "fast", "cheap"]),
        (Strategy.BALANCED, ["steady", "fast", "cheap"]),
    ],
)
def test_each_strategy_has_its_order(strategy: Strategy, order: list[str]) -> None:
    """
    The best goes first, the others are fallbacks in the same order.
    """
    decision = decided(strategy)

    assert [decision.chosen, *decision.fallbacks] == order
    assert decision.how is How.BEST


def test_weights_move_a_balanced_decision() -> None:
    """
    Where only one of the three counts, it is that strategy.
    """
    chosen = [
        decided(Strategy.BALANCED, weights=Weights(cost=cost, speed=speed, reliability=reliability)).chosen
        for cost, speed, reliability in [(1, 0, 0), (0, 1, 0), (0, 0, 1)]
    ]

    assert chosen == ["cheap", "fast", "steady"]


def test_scores_are_between_the_worst_and_the_best() -> None:
    """
    In millionths, each part by itself and the total by the weights.
    """
    scores = {candidate.route: candidate.score for candidate in decided(Strategy.BALANCED).candidates}

    shown = {name: (s.cost, s.speed, s.reliability, s.total) for name, s in scores.items() if s is not None}
    assert shown == {
        "cheap": (WHOLE, 0, 0, WHOLE // 4),
        "fast": (187_500, WHOLE, 624_998, (187_500 + WHOLE + 2 * 624_998) // 4),
        "steady": (0, 500_000, WHOLE, 2_500_000 // 4),
    }


def test_the_larger_amount_is_cheaper_elsewhere() -> None:
    """
    Fees are compared for this amount: a fixed part weighs on small ones.
    """
    two = routes("flat | 100 + 0 | 1 \n share | 0 + 100 | 1")

    chosen = [decide(replace(SEVENTY, amount=amount), two, [COST], {}, 0.5, NOW).chosen for amount in (9_900, 10_100)]

    assert chosen == ["share", "flat"]


COST = Rule(name="cost", strategy=Strategy.COST)


def test_among_equals_priority_decides_and_then_the_name() -> None:
    """
    The order in which routes are listed plays no part.
    """
    four = routes(
        "d | 1+1 | 9 | priority=2 \n c | 1+1 | 9 | priority=1 \n b | 1+1 | 9 | priority=1 \n a | 1+1 | 9 | priority=3"
    )

    for rule in (COST, Rule(name="r", strategy=Strategy.BALANCED), Rule(name="r", strategy=Strategy.VOLUME)):
        for listed in (four, four[::-1]):
            decision = decide(SEVENTY, listed, [rule], {}, 0.5, NOW)
            assert [decision.chosen, *decision.fallbacks] == ["b", "c", "d", "a"]


OBSTACLES = [
    ({"method": "iban"}, {}, {}, "method: iban is not among card:visa, upi"),
    ({"method": "card:amex"}, {}, {}, "method: card:amex is not among card:visa, upi"),
    ({"currency": "USD"}, {}, {}, "currency: USD is not among EUR, JPY"),
    ({"amount": 9}, {}, {}, "amount: 9 is not from 10 to 100"),
    ({"amount": 101}, {}, {}, "amount: 101 is not from 10 to 100"),
    ({"country": "DE"}, {}, {}, "country: DE is not among FR, IT"),
    ({"country": ""}, {}, {}, "country: unknown is not among FR, IT"),
    ({"tried": ("x", "route")}, {}, {}, "tried: it has said no to this payment"),
    ({"forbidden": ("route",)}, {}, {}, "forbidden: it is not wanted for this payment"),
    ({}, {"closed": "after 16:45 New York"}, {}, "cut_off: after 16:45 New York"),
    ({}, {"breakers": Permit.NO, "why": "open: 5 failures"}, {}, "breaker: open: 5 failures"),
    ({}, {}, {"only": ("a", "b")}, "rule: rule r allows only a, b"),
]
ROUTE = Route(
    name="route",
    rail=Rail.CARD,
    methods=("card:visa", "upi"),
    terms={"JPY": Terms(), "EUR": Terms(amount_min=10, amount_max=100)},
    countries=("FR", "IT"),
)
FITTING = Request(amount=100, currency="EUR", method="card:visa", country="IT")


@pytest.mark.parametrize(("asked", "known", "ruled", "said"), OBSTACLES)
def test_a_route_that_cannot_be_taken_says_why(
    asked: dict[str, Any], known: dict[str, Any], ruled: dict[str, Any], said: str
) -> None:
    """
    Each reason alone is enough, and names what was asked and what there is.
    """
    decision = decide(
        replace(FITTING, **asked), [ROUTE], [Rule(name="r", **ruled)], {"route": Health(**known)}, 0.5, NOW
    )

    assert [f"{obstacle.why}: {obstacle.detail}" for obstacle in decision.candidates[0].obstacles] == [said]
    assert (decision.chosen, decision.how, decision.fallbacks) == (None, How.NONE, ())


def test_a_route_that_fits_exactly_is_taken() -> None:
    """
    Both ends of a range belong to it.
    """
    for amount in (10, 100):
        assert decide(replace(FITTING, amount=amount), [ROUTE], [], {}, 0.5, NOW).chosen == "route"


def test_no_reason_is_hidden_by_another() -> None:
    """
    All that stands against a route is listed, not the first alone.
    """
    asked = Request(amount=1, currency="EUR", method="iban", country="DE", tried=("route",), forbidden=("route",))
    known = Health(closed="night", breakers=Permit.NO, why="open")

    decision = decide(asked, [ROUTE], [Rule(name="r", only=("a",))], {"route": known}, 0.5, NOW)

    assert [str(obstacle.why) for obstacle in decision.candidates[0].obstacles] == [
        *("method", "amount", "country", "cut_off", "breaker", "tried", "forbidden", "rule"),
    ]


def test_no_route_at_all_is_a_decision_too() -> None:
    """
    Nothing to choose from: nothing chosen, and never will be.
    """
    decision = decide(FITTING, [], [], {}, 0.5, NOW)

    assert (decision.chosen, decision.again_at, decision.rule) == (None, None, DEFAULT)


@pytest.mark.parametrize(
    ("first", "second", "again_at"),
    [
        ({"breakers": Permit.NO, "again_at": LATER}, {"closed": "night", "again_at": NOW}, NOW),
        ({"breakers": Permit.NO, "again_at": LATER}, {"breakers": Permit.NO}, LATER),
        ({"breakers": Permit.NO}, {"breakers": Permit.NO}, None),
    ],
)
def test_what_time_alone_stands_against_may_be_there_later(
    first: dict[str, Any], second: dict[str, Any], again_at: Any
) -> None:
    """
    With no route to take, the decision says when to decide anew: as soon as the first may be there.
    """
    health = {"cheap": Health(**first), "fast": Health(**second)}

    assert decide(SEVENTY, THREE[:2], [], health, 0.5, NOW).again_at == again_at


def test_a_route_that_never_fits_is_not_waited_for() -> None:
    """
    When its breaker closes, the amount is still too small.
    """
    health = {"route": Health(breakers=Permit.NO, again_at=LATER)}

    assert decide(replace(FITTING, amount=1), [ROUTE], [], health, 0.5, NOW).again_at is None


@pytest.mark.parametrize(
    ("when", "fits"),
    [
        (When(), True),
        (When(currencies=("USD", "EUR")), True),
        (When(currencies=("USD",)), False),
        (When(currencies=("EUR",), amount_min=7000, amount_max=7000), True),
        (When(currencies=("EUR",), amount_min=7001), False),
        (When(currencies=("EUR",), amount_max=6999), False),
        (When(countries=("FR",)), True),
        (When(countries=("DE",)), False),
        (When(methods=("card",)), True),
        (When(methods=("card:visa",)), True),
        (When(methods=("card:amex", "upi")), False),
        (When(metadata={"tier": "gold"}), True),
        (When(metadata={"tier": "gold", "shop": "9"}), False),
        (When(metadata={"tier": ""}), False),
    ],
)
def test_a_rule_applies_where_all_it_asks_is_so(when: When, fits: bool) -> None:
    """
    What it leaves empty asks nothing.
    """
    assert applies(when, replace(SEVENTY, metadata={"tier": "gold"})) is fits


def test_the_first_rule_that_applies_decides() -> None:
    """
    Later rules are not looked at, and where none applies there is a default.
    """
    rules = [
        Rule(name="dollars", when=When(currencies=("USD",)), strategy=Strategy.SPEED),
        Rule(name="visa", when=When(methods=("card:visa",)), strategy=Strategy.COST),
        Rule(name="all", strategy=Strategy.SPEED),
    ]

    assert decide(SEVENTY, THREE, rules, SEEN, 0.5, NOW).rule.name == "visa"
    assert decide(replace(SEVENTY, method="card:mc"), THREE, rules, SEEN, 0.5, NOW).rule.name == "all"
    assert decide(SEVENTY, THREE, rules[:1], SEEN, 0.5, NOW).rule == DEFAULT


@pytest.mark.parametrize(
    "rule",
    [
        '{"name": "r", "split": {"a": 50, "b": 49}}',
        '{"name": "r", "split": {"a": 150, "b": -50}}',
        '{"name": "r", "explore_percent": 101}',
        '{"name": "r", "weights": {"cost": 0, "speed": 0, "reliability": 0}}',
        '{"name": "r", "weights": {"cost": -1}}',
        '{"name": "r", "when": {"amount_min": 5}}',
        '{"name": "r", "whne": {}}',
    ],
)
def test_a_rule_that_makes_no_sense_is_refused(rule: str) -> None:
    """
    Where rules come in as JSON, they say what is wrong.
    """
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(rule, type=Rule)


@pytest.mark.parametrize(
    ("draw", "chosen"),
    [(0.0, "cheap"), (0.19, "cheap"), (0.2, "fast"), (0.49, "fast"), (0.5, "steady"), (0.999999, "steady")],
)
def test_a_split_is_by_the_draw(draw: float, chosen: str) -> None:
    """
    Each route has a part of the way from 0 to 1; the strategy orders the fallbacks alone.
    """
    decision = decided(draw=draw, split={"steady": 50, "fast": 30, "cheap": 20})

    assert (decision.chosen, decision.how) == (chosen, How.SPLIT)
    assert decision.fallbacks == tuple(name for name in ("cheap", "fast", "steady") if name != chosen)


def test_what_a_route_cannot_take_the_others_of_the_split_do() -> None:
    """
    In their proportions; with none of them left, the strategy decides.
    """
    split = {"fast": 30, "cheap": 20, "gone": 50}

    chosen = [decided(draw=draw, split=split).chosen for draw in (0.39, 0.41)]
    without = decided(split=split, request=replace(SEVENTY, tried=("fast", "cheap")))

    assert chosen == ["cheap", "fast"]
    assert (without.chosen, without.how) == ("steady", How.BEST)


def test_volume_is_by_the_routes_own_shares() -> None:
    """
    A route without a share gets nothing but what the others cannot take.
    """
    chosen = [decided(Strategy.VOLUME, draw=draw).chosen for draw in (0.0, 0.24, 0.26, 0.99)]
    last = decided(Strategy.VOLUME, request=replace(SEVENTY, tried=("fast", "steady")))

    assert chosen == ["fast", "fast", "steady", "steady"]
    assert (last.chosen, last.how) == ("cheap", How.BEST)
    assert decided(Strategy.VOLUME, draw=0.0).fallbacks == ("steady", "cheap")


def test_a_split_of_which_no_route_is_left_goes_to_the_largest_share() -> None:
    """
    Where the strategy is volume, whatever the draw: that was of the split.
    """
    decisions = [decided(Strategy.VOLUME, draw=draw, split={"gone": 100}) for draw in (0.0, 0.99)]

    assert [(one.chosen, one.how) for one in decisions] == [("steady", How.BEST)] * 2


def test_of_equal_totals_the_one_goes_first_that_is_worse_at_nothing() -> None:
    """
    What has no weight still tells two apart, before their priority does.
    """
    two = routes("a | 5 + 0 | 9 | priority=1 \n b | 3 + 0 | 9 | priority=2")
    rule = Rule(name="r", weights=Weights(cost=0, speed=0, reliability=1))

    assert decide(SEVENTY, two, [rule], {}, 0.5, NOW).chosen == "b"


def test_a_little_goes_elsewhere_to_learn() -> None:
    """
    Below the bound the draw chooses evenly among all but the best; above it the best is taken.
    """
    drawn = [decided(Strategy.RELIABILITY, draw=draw, explore_percent=10) for draw in (0.0, 0.049, 0.051, 0.099, 0.1)]

    assert [decision.chosen for decision in drawn] == ["fast", "fast", "cheap", "cheap", "steady"]
    assert [decision.how for decision in drawn] == [How.EXPLORED] * 4 + [How.BEST]
    assert drawn[0].fallbacks == ("steady", "cheap")


@pytest.mark.parametrize("strategy", [Strategy.COST, Strategy.SPEED])
def test_who_has_nothing_to_learn_does_not_explore(strategy: Strategy) -> None:
    """
    The cheapest is the cheapest.
    """
    assert decided(strategy, draw=0.0, explore_percent=100).how is How.BEST


def test_one_route_alone_cannot_be_explored() -> None:
    """
    It is taken, whatever the draw.
    """
    assert decide(SEVENTY, THREE[:1], [Rule(name="r", explore_percent=100)], {}, 0.0, NOW).chosen == "cheap"


def test_little_known_is_not_best() -> None:
    """
    One success of one is not yet better than 95 of 100, and a route nobody knows is worth a half.
    """
    seen = {"cheap": Health(approved=1), "fast": Health(approved=95, refused=5)}

    decision = decide(SEVENTY, THREE, [Rule(name="r", strategy=Strategy.RELIABILITY)], seen, 0.5, NOW)

    assert [decision.chosen, *decision.fallbacks] == ["fast", "cheap", "steady"]
    assert {candidate.route: candidate.rate for candidate in decision.candidates} == {
        "cheap": 666_666,
        "fast": 941_176,
        "steady": 500_000,
    }


def test_what_was_measured_goes_before_what_is_typical() -> None:
    """
    A fast route that has become slow is no longer the fastest.
    """
    seen = {"fast": Health(latency_ms=3000)}

    assert decide(SEVENTY, THREE, [Rule(name="r", strategy=Strategy.SPEED)], seen, 0.5, NOW).chosen == "steady"


def test_a_probe_is_said_to_be_one() -> None:
    """
    A route that is half-open may be taken, by whoever takes the probe.
    """
    seen = {"cheap": Health(breakers=Permit.PROBE)}

    assert decide(SEVENTY, THREE, [COST], seen, 0.5, NOW).probe
    assert not decide(SEVENTY, THREE, [Rule(name="r", strategy=Strategy.SPEED)], seen, 0.5, NOW).probe


def test_a_decision_is_read_as_it_was_stored_and_worked_out_again() -> None:
    """
    Its JSON holds all that it rests on: from the record alone, and from what was known of the routes.
    """
    seen = {**SEEN, "fast": Health(breakers=Permit.NO, why="open", again_at=LATER)}
    rules = [Rule(name="r", when=When(methods=("card",)), strategy=Strategy.RELIABILITY, explore_percent=50)]
    decision = decide(SEVENTY, THREE, rules, seen, 0.1, NOW)

    stored = msgspec.json.decode(msgspec.json.encode(msgspec.to_builtins(decision)), type=Decision)

    assert stored == decision
    assert replay(stored) == decision
    assert decide(SEVENTY, THREE, rules, health_in(stored), stored.draw, stored.at) == decision


def test_a_decision_that_was_tampered_with_is_noticed() -> None:
    """
    Another route, another draw, another fee: it no longer comes out as it is recorded.
    """
    decision = decided(Strategy.BALANCED)
    cheap = replace(decision.candidates[0], fee=1)

    for false in (
        replace(decision, chosen="fast"),
        replace(decision, fallbacks=()),
        replace(decision, draw=0.0),
        replace(decision, candidates=(cheap, *decision.candidates[1:])),
    ):
        assert replay(false) != false


def test_health_is_put_together_from_what_is_shared() -> None:
    """
    The strictest breaker, every reason, the latest time, and the window's counts.
    """
    thresholds = Thresholds(failures_in_row=1, open_s=60)
    rail = observe(Breaker(thresholds=thresholds), Outcome.FAILURE, 5, NOW)
    route = force(Breaker(), State.OPEN, reason="moving", actor="ann", until=LATER, now=NOW)
    traffic = add(Traffic(), [Observation(outcome=Outcome.SUCCESS, latency_ms=70, approved=True)], NOW)

    assert health_of([rail, route], traffic, NOW) == Health(
        breakers=Permit.NO,
        why="open: 1 failures in a row; open for 60 s; forced open by ann: moving",
        again_at=LATER,
        approved=1,
        latency_ms=75,
    )
    assert health_of([Breaker()], Traffic(), NOW) == Health()
    assert health_of([rail], Traffic(), NOW, closed="night", opens_at=None).again_at is None
    assert health_of([rail], Traffic(), NOW, closed="night", opens_at=NOW).again_at == NOW + timedelta(seconds=60)


@pytest.mark.parametrize(
    ("method", "name"),
    [
        (Card(token="t", brand="visa", last4="4242", expires="2030-12"), "card:visa"),
        (BankAccount(routing_number="021000021", account_number="1", holder="h"), "bank_account"),
        (Iban(iban="DE1", bic="B", holder="h", country="DE"), "iban"),
        (UpiAddress(vpa="a@b"), "upi"),
    ],
)
def test_a_method_has_a_name(method: Method, name: str) -> None:
    """
    Of a card, its brand as well.
    """
    assert method_name(method) == name


def test_a_draw_is_the_same_for_ever() -> None:
    """
    Decisions that are stored rest on it; another attempt of the same payment has another.
    """
    payment = UUID("018f3a6e-2b1c-7d4e-9f00-0123456789ab")

    assert draw_of(payment, 1) == 0.9125824135953091
    assert draw_of(payment, 2) != 0.9125824135953091


def test_the_hours_of_a_route_stand_against_it() -> None:
    """
    Past its cut-off a route cannot be taken until it opens again, and the others can.
    """
    hours = Hours(zone="UTC", opens=time(8), closes=time(16))
    routes = [Route(name=name, rail=Rail.CARD, methods=("card",), terms={"EUR": Terms()}) for name in ("a", "b")]
    routes[0] = replace(routes[0], hours=hours)
    evening, morning = datetime(2026, 11, 27, 16, tzinfo=UTC), datetime(2026, 11, 30, 8, tzinfo=UTC)
    wanted = Request(amount=100, currency="EUR", method="card")

    found = {at: healths(routes, {}, at, closed=closed(routes, at)) for at in (evening, morning)}
    both = decide(wanted, routes, [], found[evening], 0.5, evening)
    alone = decide(wanted, routes[:1], [], found[evening], 0.5, evening)

    assert found[morning] == {"a": Health(), "b": Health()}
    assert (both.chosen, both.again_at) == ("b", None)
    assert both.candidates[0].obstacles == (Obstacle(Why.CUT_OFF, f"it takes payments from {hours}"),)
    assert (alone.chosen, alone.again_at) == (None, morning)
    assert decide(wanted, routes[:1], [], found[morning], 0.5, morning).chosen == "a"
