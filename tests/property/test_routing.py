"""Decisions hold whatever the routes, the rules, the draw: against an oracle that looks at every route by itself."""

from collections import Counter
from datetime import timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from fractions import Fraction
from uuid import UUID

import hypothesis.strategies as st
import msgspec
from hypothesis import given

from domain.breaker import Permit
from domain.rail import Declined, Rail, Retry, Unknown
from domain.retry import Resolve, Retries, Stop, Try, Wait, after
from domain.routing import (
    EXPLORING,
    WHOLE,
    Health,
    How,
    Request,
    Route,
    Rule,
    Strategy,
    Terms,
    Weights,
    When,
    decide,
    draw_of,
    health_in,
    replay,
)
from tests.support import NOW

NAMES = ["a", "b", "c", "d", "e"]
METHODS = ["card:visa", "card:amex", "iban", "upi"]
CURRENCIES = ["EUR", "JPY"]
COUNTRIES = ["FR", "DE"]

draws = st.floats(0, 1, exclude_max=True)
terms = st.builds(
    Terms,
    fee_fixed=st.integers(0, 50),
    fee_bp=st.integers(0, 400),
    amount_min=st.integers(1, 50),
    amount_max=st.integers(50, 20_000),
)
routes = st.lists(
    st.builds(
        Route,
        name=st.sampled_from(NAMES),
        rail=st.sampled_from(Rail),
        methods=st.lists(st.sampled_from([*METHODS, "card"]), min_size=1, unique=True).map(tuple),
        terms=st.dictionaries(st.sampled_from(CURRENCIES), terms, min_size=1),
        countries=st.sampled_from([(), (), ("FR",), ("FR", "DE")]),
        latency_ms=st.integers(1, 2000),
        share=st.integers(0, 100),
        priority=st.integers(0, 2),
    ),
    max_size=5,
    unique_by=lambda route: route.name,
)
healths = st.dictionaries(
    st.sampled_from(NAMES),
    st.builds(
        Health,
        breakers=st.sampled_from([*Permit, Permit.YES]),
        why=st.just("why"),
        again_at=st.none() | st.integers(0, 9).map(lambda seconds: NOW + timedelta(seconds=seconds)),
        closed=st.sampled_from(["", "", "", "night"]),
        approved=st.integers(0, 100),
        refused=st.integers(0, 100),
        latency_ms=st.none() | st.integers(1, 2000),
    ),
)
some_names = st.lists(st.sampled_from(NAMES), max_size=2, unique=True).map(tuple)
requests = st.builds(
    Request,
    amount=st.integers(1, 25_000),
    currency=st.sampled_from(CURRENCIES),
    method=st.sampled_from(METHODS),
    country=st.sampled_from(["", *COUNTRIES]),
    metadata=st.dictionaries(st.sampled_from("xy"), st.sampled_from("12")),
    tried=some_names,
    forbidden=some_names,
)
whens = st.builds(
    When,
    amount_min=st.none() | st.integers(1, 25_000),
    amount_max=st.none() | st.integers(1, 25_000),
    currencies=st.lists(st.sampled_from(CURRENCIES), min_size=1, unique=True).map(tuple),
    countries=st.lists(st.sampled_from(COUNTRIES), unique=True).map(tuple),
    methods=st.lists(st.sampled_from([*METHODS, "card"]), unique=True).map(tuple),
    metadata=st.dictionaries(st.sampled_from("xy"), st.sampled_from("12"), max_size=1),
)
weights = st.integers(0, 5)


@st.composite
def splits(draw: st.DrawFn) -> dict[str, int]:
    """100 percent over some of the names."""
    names = draw(st.lists(st.sampled_from(NAMES), max_size=3, unique=True))
    cuts = (
        sorted(draw(st.lists(st.integers(0, 100), min_size=len(names) - 1, max_size=len(names) - 1))) if names else []
    )
    return {name: high - low for name, low, high in zip(names, [0, *cuts], [*cuts, 100], strict=True)} if names else {}


rule_lists = st.lists(
    st.builds(
        Rule,
        name=st.sampled_from(["r1", "r2"]),
        when=st.just(When()) | whens,
        strategy=st.sampled_from(Strategy),
        weights=st.builds(Weights, cost=weights, speed=weights, reliability=st.integers(1, 5)),
        only=st.just(()) | some_names,
        split=st.just({}) | splits(),
        explore_percent=st.integers(0, 100),
    ),
    max_size=3,
)


def can_take(route: Route, request: Request, rule: Rule, health: Health) -> bool:
    """The oracle: said once more, in one breath."""
    brandless = request.method.split(":")[0]
    return (
        bool({request.method, brandless} & {*route.methods})
        and request.currency in route.terms
        and route.terms[request.currency].amount_min <= request.amount <= route.terms[request.currency].amount_max
        and (request.country in route.countries if route.countries else True)
        and not health.closed
        and health.breakers != "no"
        and route.name not in {*request.tried, *request.forbidden}
        and (route.name in rule.only if rule.only else True)
    )


def fee(terms: Terms, amount: int) -> int:
    exact = Decimal(amount) * terms.fee_bp / 10_000
    return terms.fee_fixed + int(exact.quantize(Decimal(1), rounding=ROUND_HALF_EVEN))


def better(one: Route, health: Health, request: Request) -> tuple[Fraction, Fraction, Fraction]:
    """Cost, speed, reliability, each the higher the better."""
    return (
        Fraction(-fee(one.terms[request.currency], request.amount)),
        Fraction(-one.latency_ms if health.latency_ms is None else -health.latency_ms),
        Fraction(health.approved + 1, health.approved + health.refused + 2),
    )


@given(requests, routes, rule_lists, healths, draws)
def test_a_decision_is_one_of_the_routes_that_can_be_taken(
    request: Request, routes: list[Route], rules: list[Rule], health: dict[str, Health], draw: float
) -> None:
    """
    All that can be taken are in it, once, and nothing else is; what cannot says why; none is chosen only if none can.
    """
    decision = decide(request, routes, rules, health, draw, NOW)
    able = [r for r in routes if can_take(r, request, decision.rule, health.get(r.name, Health()))]

    listed = [decision.chosen, *decision.fallbacks] if decision.chosen else []
    assert sorted(filter(None, listed)) == sorted(route.name for route in able)
    assert [candidate.route for candidate in decision.candidates] == [route.name for route in routes]
    for candidate in decision.candidates:
        assert bool(candidate.obstacles) is (candidate.route not in listed)
        assert (candidate.score is None) is bool(candidate.obstacles)
    assert decision.how is How.NONE or decision.chosen
    assert decision.rule.name == next((r.name for r in rules if r == decision.rule), "default")


@given(requests, routes, rule_lists, healths, draws)
def test_the_same_is_decided_again(
    request: Request, routes: list[Route], rules: list[Rule], health: dict[str, Health], draw: float
) -> None:
    """
    From the same arguments, from the record, through JSON, and with the routes listed in another order.
    """
    decision = decide(request, routes, rules, health, draw, NOW)
    stored = msgspec.json.decode(msgspec.json.encode(decision), type=type(decision))

    assert decide(request, routes, rules, health, draw, NOW) == decision
    assert stored == decision
    assert replay(stored) == decision
    assert decide(request, routes, rules, health_in(stored), stored.draw, stored.at) == decision
    other = decide(request, routes[::-1], rules, health, draw, NOW)
    assert (other.chosen, other.fallbacks, other.how) == (decision.chosen, decision.fallbacks, decision.how)


@given(requests, routes, rule_lists, healths, draws)
def test_the_best_is_best(
    request: Request, routes: list[Route], rules: list[Rule], health: dict[str, Health], draw: float
) -> None:
    """
    By its strategy, beside every other that can be taken; and a balanced choice is nowhere worse and somewhere behind.
    """
    decision = decide(request, routes, rules, health, draw, NOW)
    able = {r.name: r for r in routes if can_take(r, request, decision.rule, health.get(r.name, Health()))}
    known = {name: better(route, health.get(name, Health()), request) for name, route in able.items()}
    if decision.how is not How.BEST:
        return
    assert decision.chosen is not None
    chosen = known[decision.chosen]
    match decision.rule.strategy:
        case Strategy.COST:
            assert chosen[0] == max(cost for cost, _, _ in known.values())
        case Strategy.SPEED:
            assert chosen[1] == max(speed for _, speed, _ in known.values())
        case Strategy.RELIABILITY:
            assert chosen[2] >= max(rate for _, _, rate in known.values()) - Fraction(1, WHOLE)
        case Strategy.BALANCED:
            assert not any(
                all(theirs >= ours for theirs, ours in zip(other, chosen, strict=True)) and other[:2] > chosen[:2]
                for other in known.values()
            )
        case Strategy.VOLUME:
            most = max(route.share for route in able.values())
            assert able[decision.chosen].share == most
            assert decision.rule.split or not most, "without a split, shares are what is drawn by"


@given(requests, routes, rule_lists, healths, draws)
def test_exploring_is_bounded(
    request: Request, routes: list[Route], rules: list[Rule], health: dict[str, Health], draw: float
) -> None:
    """
    Only by strategies that learn, only where the draw is below the bound, and never of a route that cannot be taken.
    """
    decision = decide(request, routes, rules, health, draw, NOW)

    bound = decision.rule.explore_percent / 100 if decision.rule.strategy in EXPLORING else 0
    if decision.how is How.EXPLORED:
        assert draw < bound
        assert decision.chosen in {c.route for c in decision.candidates if not c.obstacles}
    elif decision.how is How.BEST and decision.fallbacks:
        assert draw >= bound


@given(requests, routes, rule_lists, healths, draws, st.sampled_from(NAMES))
def test_more_success_is_never_worse(
    request: Request, routes: list[Route], rules: list[Rule], health: dict[str, Health], draw: float, name: str
) -> None:
    """
    By reliability, a route that was chosen is chosen still when more of what went over it was approved.
    """
    rules = [Rule(name="r", strategy=Strategy.RELIABILITY, explore_percent=0)]
    was = health.get(name, Health())
    improved = msgspec.structs.replace(was, approved=was.approved + 10)

    before = decide(request, routes, rules, health, draw, NOW)
    then = decide(request, routes, rules, {**health, name: improved}, draw, NOW)

    assert before.chosen != name or then.chosen == name
    if name in (listed := [before.chosen, *before.fallbacks]):
        assert [then.chosen, *then.fallbacks].index(name) <= listed.index(name)


def counted(rule: Rule, health: dict[str, Health] | None = None, payments: int = 20_000) -> Counter[str | None]:
    """The routes of so many payments, each with the draw of its own id."""
    four = [
        Route(name=name, rail=Rail.CARD, methods=("card",), terms={"EUR": Terms(fee_fixed=n)}, share=share)
        for n, (name, share) in enumerate([("a", 10), ("b", 20), ("c", 70), ("d", 0)])
    ]
    request = Request(amount=100, currency="EUR", method="card:visa")
    draws = (draw_of(UUID(int=n), 1) for n in range(payments))
    return Counter(decide(request, four, [rule], health or {}, draw, NOW).chosen for draw in draws)


def test_splits_converge() -> None:
    """
    Of twenty thousand payments each route gets its percent, give or take one (the standard deviation is 0.35 at most).
    """
    by_rule = counted(Rule(name="r", strategy=Strategy.COST, split={"a": 50, "b": 30, "d": 20}))
    by_share = counted(Rule(name="r", strategy=Strategy.VOLUME))
    without_c = counted(Rule(name="r", strategy=Strategy.VOLUME), {"c": Health(breakers=Permit.NO)})

    expected: list[tuple[Counter[str | None], dict[str, float]]] = [
        (by_rule, {"a": 50, "b": 30, "c": 0, "d": 20}),
        (by_share, {"a": 10, "b": 20, "c": 70, "d": 0}),
        (without_c, {"a": 33.3, "b": 66.7, "c": 0, "d": 0}),
    ]
    for found, wanted in expected:
        for name, percent in wanted.items():
            assert abs(found[name] / 200 - percent) < (1 if percent else 0.001), (name, found)


def test_exploration_converges_and_is_even() -> None:
    """
    Of twenty thousand payments six percent go elsewhere, a third of them to each of the other three.
    """
    seen = {"c": Health(approved=99, refused=1)}

    found = counted(Rule(name="r", strategy=Strategy.RELIABILITY, explore_percent=6), seen)

    assert abs(found["c"] / 200 - 94) < 0.7
    for name in "abd":
        assert abs(found[name] / 200 - 2) < 0.4, found


@given(
    st.builds(Declined, code=st.just("x"), reason=st.just("r"), message=st.just(""), retry=st.sampled_from(Retry))
    | st.builds(Unknown, why=st.just("silence")),
    requests,
    routes,
    healths,
    draws,
    st.integers(1, 6),
)
def test_a_payment_is_never_asked_for_twice_in_doubt_nor_for_ever(
    answer: Declined | Unknown, request: Request, routes: list[Route], health: dict[str, Health], draw: float, n: int
) -> None:
    """
    Silence is only resolved; a no for good ends it; nothing goes on past the most attempts; what is tried can be taken.
    """
    decision = decide(request, routes, [], health, draw, NOW)

    step = after(answer, decision=decision, attempts=n, retries=Retries(attempts_max=4), draw=draw, now=NOW)

    assert isinstance(step, Resolve) is isinstance(answer, Unknown)
    if isinstance(answer, Declined):
        assert isinstance(step, Stop) or (answer.retry is not Retry.NEVER and n < 4)
        assert not isinstance(step, Try) or (step.route == decision.chosen and answer.retry is Retry.ELSEWHERE)
        assert not isinstance(step, Wait) or step.until >= NOW
