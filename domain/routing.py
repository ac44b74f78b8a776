"""Which way a payment takes: the routes that could, why the others could not, and which of them does best.

What is known of routes is data, and so are the rules. A decision is worked out from arguments alone, the draw included,
and records all it rests on, so that it can be worked out again at any time.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from hashlib import sha256
from typing import Final
from uuid import UUID

from msgspec import Struct
from msgspec.structs import replace

from domain.breaker import Breaker, Permit, allow, allow_all, in_force, key, keys, retry_at
from domain.hours import Hours, opens_again
from domain.money import AMOUNT_MAX
from domain.rail import Card, Method, Rail
from domain.traffic import Traffic, statistics
from domain.watch import Watched

WHOLE: Final = 1_000_000
"""Scores and rates are in millionths, whole numbers: the same on every machine."""

PRIOR: Final = (1, 1)
"""Approved and refused that every route is taken to have had before (Beta(1, 1)): a route that nobody knows is worth a
half, and one success of one is not yet better than 95 of 100."""


class Strategy(StrEnum):
    COST = "cost"
    """The lowest fee for this amount."""
    SPEED = "speed"
    """The lowest median latency of the window, or the typical one where there is none."""
    RELIABILITY = "reliability"
    """The highest rate of approvals in the window, with a little exploration."""
    BALANCED = "balanced"
    """The best of all three by weight, with a little exploration."""
    VOLUME = "volume"
    """Each route its own share of the payments."""


EXPLORING: Final = frozenset({Strategy.RELIABILITY, Strategy.BALANCED})
"""These learn from what they chose, and would never learn again of a route that they do not choose."""


class Why(StrEnum):
    """Why a route cannot be taken."""

    METHOD = "method"
    CURRENCY = "currency"
    AMOUNT = "amount"
    COUNTRY = "country"
    CUT_OFF = "cut_off"
    BREAKER = "breaker"
    TRIED = "tried"
    FORBIDDEN = "forbidden"
    RULE = "rule"


PASSING: Final = frozenset({Why.CUT_OFF, Why.BREAKER})
"""Time alone takes these away."""


class Terms(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """What a route takes in one currency and what it costs. All in minor units, but `fee_bp`: basis points."""

    fee_fixed: int = 0
    fee_bp: int = 0
    amount_min: int = 1
    amount_max: int = AMOUNT_MAX


class Route(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """One way to reach a rail: an acquirer, a bank.

    Args:
        methods: As `method_name` gives them: `card:visa`, or `card` for every brand.
        terms: By currency; a currency that is not in it is not taken.
        countries: ISO 3166-1, two letters; empty for all.
        latency_ms: What is typical, until it has been measured.
        share: Percent of the volume, among the routes that can be taken; for the strategy of that name.
        priority: The lower one goes first among equals, and after that the name decides.
        hours: When it takes payments; always, without any.
    """

    name: str
    rail: Rail
    methods: tuple[str, ...]
    terms: dict[str, Terms]
    countries: tuple[str, ...] = ()
    latency_ms: int = 1000
    share: int = 0
    priority: int = 0
    hours: Hours | None = None


class Request(Struct, frozen=True, kw_only=True):
    """What is to be paid.

    Args:
        amount: Minor units of `currency`, at least 1.
        method: As `method_name` gives it.
        country: Where the method is from; empty where that is not known.
        tried: Routes that said no to this payment and are not to be asked again: see `retry.tried`.
        forbidden: Routes that whoever asks does not want.
    """

    amount: int
    currency: str
    method: str
    country: str = ""
    metadata: dict[str, str] = {}
    tried: tuple[str, ...] = ()
    forbidden: tuple[str, ...] = ()


class Health(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What was known of a route at the time.

    Args:
        breakers: What those of its rail and of itself let through, and why if it is not everything.
        again_at: When a closed breaker or a passed cut-off may be over; None where that cannot be said.
        closed: Why the route takes nothing now, such as a cut-off; empty while it does.
        approved, refused, latency_ms: Of the window; the last is its median.
    """

    breakers: Permit = Permit.YES
    why: str = ""
    again_at: datetime | None = None
    closed: str = ""
    approved: int = 0
    refused: int = 0
    latency_ms: int | None = None


class Weights(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How much each counts in a balanced decision: whole numbers, not all 0."""

    cost: int = 1
    speed: int = 1
    reliability: int = 2

    def __post_init__(self) -> None:
        if min(self.cost, self.speed, self.reliability) < 0 or not self.cost + self.speed + self.reliability:
            raise ValueError("weights are whole numbers from 0, and not all 0")


class When(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """What a payment must be for a rule to apply; what is empty asks nothing.

    Args:
        amount_min, amount_max: Minor units, so that they say something only beside `currencies`.
        metadata: Every one of these must be there, with that value.
    """

    amount_min: int | None = None
    amount_max: int | None = None
    currencies: tuple[str, ...] = ()
    countries: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    metadata: dict[str, str] = {}

    def __post_init__(self) -> None:
        if (self.amount_min is not None or self.amount_max is not None) and not self.currencies:
            raise ValueError("amounts mean something only beside currencies")


class Rule(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """How the route of some payments is chosen. The first rule that applies does.

    Args:
        only: Routes it may choose from; empty for all.
        split: Percent of the payments by route, 100 together. What a route cannot take, the others of the split take in
            their proportions; if none can, the strategy decides, which also orders the fallbacks.
        explore_percent: Of the payments that go to another route than the best, if the strategy learns (EXPLORING) and
            there is no split.
    """

    name: str
    when: When = When()
    strategy: Strategy = Strategy.BALANCED
    weights: Weights = Weights()
    only: tuple[str, ...] = ()
    split: dict[str, int] = {}
    explore_percent: int = 2

    def __post_init__(self) -> None:
        if self.split and (min(self.split.values()) < 0 or sum(self.split.values()) != 100):
            raise ValueError("a split is 100 percent together")
        if not 0 <= self.explore_percent <= 100:
            raise ValueError("explore_percent is from 0 to 100")


DEFAULT: Final = Rule(name="default")
"""Where no rule applies."""


class Obstacle(Struct, frozen=True):
    """One reason why a route cannot be taken, with what was asked and what there is."""

    why: Why
    detail: str


class Score(Struct, frozen=True, kw_only=True):
    """In millionths, 0 for the worst of those that can be taken and WHOLE for the best; `total`: by the weights."""

    cost: int
    speed: int
    reliability: int
    total: int


class Candidate(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A route as it was looked at, whether it can be taken or not.

    Args:
        fee: Minor units of the payment's currency; None where the route does not take that.
        latency_ms: The one that counted, measured or typical.
        rate: Of approvals, in millionths, with the prior.
        score: None where there are obstacles.
    """

    route: str
    rail: Rail
    obstacles: tuple[Obstacle, ...] = ()
    fee: int | None = None
    latency_ms: int
    rate: int
    share: int = 0
    priority: int = 0
    health: Health = Health()
    score: Score | None = None


class How(StrEnum):
    """How the choice came about."""

    NONE = "none"
    BEST = "best"
    SPLIT = "split"
    EXPLORED = "explored"


class Decision(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The route to take, with all that it rests on.

    Args:
        chosen: None where no route can be taken.
        fallbacks: The others that can be, in the order in which they would be.
        probe: The chosen route's breaker lets a probe through and nothing else. It is to be taken from those who share
            the breaker before the rail is asked; if another has it, decide anew.
        again_at: If there is none: when one may be there that only time stands against; None for never.
        rule: As it was, with the strategy.
        draw: From 0 to below 1.
    """

    chosen: str | None
    how: How
    fallbacks: tuple[str, ...] = ()
    probe: bool = False
    again_at: datetime | None = None
    rule: Rule
    draw: float
    at: datetime
    candidates: tuple[Candidate, ...]


def method_name(method: Method) -> str:
    """`card:visa`, `bank_account`, `iban`, `upi`."""
    kind = str(method.__struct_config__.tag)
    return f"{kind}:{method.brand}" if isinstance(method, Card) else kind


def draw_of(payment_id: UUID, attempt: int) -> float:
    """From 0 to below 1, evenly; the same for the same attempt for ever."""
    drawn = sha256(payment_id.bytes + attempt.to_bytes(4)).digest()
    return float(int.from_bytes(drawn[:8]) >> 11) / float(1 << 53)  # As many bits as a float keeps exactly.


def fee_of(terms: Terms, amount: int) -> int:
    """Minor units: the fixed part, and the basis points of the amount rounded half even to a whole unit."""
    whole, rest = divmod(amount * terms.fee_bp, 10_000)
    return terms.fee_fixed + whole + (rest > 5_000 or (rest == 5_000 and whole % 2 == 1))


def health_of(
    breakers: Iterable[Breaker], traffic: Traffic, now: datetime, *, closed: str = "", opens_at: datetime | None = None
) -> Health:
    """What is known of a route now.

    Args:
        breakers: That of its rail and its own.
        closed, opens_at: From the rail's calendar: why nothing is taken now, and until when.
    """
    breakers = list(breakers)
    permit = allow_all(breakers, now)
    shut = [breaker for breaker in breakers if allow(breaker, now) is Permit.NO]
    waits = [retry_at(breaker, now) for breaker in shut] + ([opens_at] if closed else [])
    known = [at for at in waits if at is not None]
    seen = statistics(traffic, now)
    return Health(
        breakers=permit,
        why="; ".join(_why(breaker, now) for breaker in breakers if allow(breaker, now) is not Permit.YES),
        again_at=max(known) if known and len(known) == len(waits) else None,
        closed=closed,
        approved=seen.approved,
        refused=seen.refused,
        latency_ms=seen.latency_ms,
    )


def healths(
    routes: Iterable[Route],
    shared: Mapping[str, Watched],
    now: datetime,
    *,
    closed: Mapping[str, tuple[str, datetime | None]],
) -> dict[str, Health]:
    """What is known of each route now, by its name.

    Args:
        shared: By the names of breakers; of what is not in it nothing is known yet.
        closed: By route, those whose calendar says that nothing is taken now: why, and until when.
    """
    known: dict[str, Health] = {}
    for route in routes:
        breakers = [shared[name].breaker for name in keys(route.rail, route.name) if name in shared]
        own = shared.get(key(route.rail, route.name), Watched())
        why, opens_at = closed.get(route.name, ("", None))
        known[route.name] = health_of(breakers, own.traffic, now, closed=why, opens_at=opens_at)
    return known


def closed(routes: Iterable[Route], now: datetime) -> dict[str, tuple[str, datetime | None]]:
    """By name, those that take nothing at this hour: why, and until when."""
    hours = {route.name: route.hours for route in routes if route.hours is not None}
    again = {name: opens_again(one, now) for name, one in hours.items()}
    return {name: (f"it takes payments from {hours[name]}", at) for name, at in again.items() if at is not None}


def _why(breaker: Breaker, now: datetime) -> str:
    decided = in_force(breaker, now)
    if decided is not None:
        return f"forced {decided.state} by {decided.actor}: {decided.reason}"
    return f"{breaker.state}: {breaker.history[-1].reason}" if breaker.history else str(breaker.state)


def decide(
    request: Request,
    routes: Sequence[Route],
    rules: Sequence[Rule],
    health: Mapping[str, Health],
    draw: float,
    now: datetime,
) -> Decision:
    """Choose.

    Args:
        routes: Under different names.
        health: By name of the route; one that is not in it is taken to be well and unknown.
        draw: From 0 to below 1, such as `draw_of` gives: the only chance there is in it.
    """
    assert 0 <= draw < 1, draw
    assert len({route.name for route in routes}) == len(routes), routes
    rule = next((rule for rule in rules if applies(rule.when, request)), DEFAULT)
    candidates = [_candidate(request, route, rule, health.get(route.name, Health())) for route in routes]
    return _chosen(candidates, rule, draw, now)


def replay(decision: Decision) -> Decision:
    """The decision worked out again from what was recorded of the routes: the same, unless one of the two is wrong."""
    bare = [replace(candidate, score=None) for candidate in decision.candidates]
    return _chosen(bare, decision.rule, decision.draw, decision.at)


def health_in(decision: Decision) -> dict[str, Health]:
    """What was known of the routes: with request, routes and rules of the time, `decide` gives the decision again."""
    return {candidate.route: candidate.health for candidate in decision.candidates}


def applies(when: When, request: Request) -> bool:
    """Whether the payment is what the rule is for."""
    return (
        (when.amount_min is None or request.amount >= when.amount_min)
        and (when.amount_max is None or request.amount <= when.amount_max)
        and (not when.currencies or request.currency in when.currencies)
        and (not when.countries or request.country in when.countries)
        and (not when.methods or _covers(when.methods, request.method))
        and all(request.metadata.get(name) == value for name, value in when.metadata.items())
    )


def _covers(methods: Sequence[str], method: str) -> bool:
    return method in methods or method.partition(":")[0] in methods


def obstacles(request: Request, route: Route, rule: Rule, health: Health) -> Iterator[Obstacle]:
    """Every reason why the route cannot be taken, not the first alone."""
    terms = route.terms.get(request.currency)
    if not _covers(route.methods, request.method):
        yield Obstacle(Why.METHOD, f"{request.method} is not among {', '.join(route.methods)}")
    if terms is None:
        yield Obstacle(Why.CURRENCY, f"{request.currency} is not among {', '.join(sorted(route.terms))}")
    elif not terms.amount_min <= request.amount <= terms.amount_max:
        yield Obstacle(Why.AMOUNT, f"{request.amount} is not from {terms.amount_min} to {terms.amount_max}")
    if route.countries and request.country not in route.countries:
        yield Obstacle(Why.COUNTRY, f"{request.country or 'unknown'} is not among {', '.join(route.countries)}")
    if health.closed:
        yield Obstacle(Why.CUT_OFF, health.closed)
    if health.breakers is Permit.NO:
        yield Obstacle(Why.BREAKER, health.why)
    if route.name in request.tried:
        yield Obstacle(Why.TRIED, "it has said no to this payment")
    if route.name in request.forbidden:
        yield Obstacle(Why.FORBIDDEN, "it is not wanted for this payment")
    if rule.only and route.name not in rule.only:
        yield Obstacle(Why.RULE, f"rule {rule.name} allows only {', '.join(rule.only)}")


def _candidate(request: Request, route: Route, rule: Rule, health: Health) -> Candidate:
    terms = route.terms.get(request.currency)
    approved, refused = health.approved + PRIOR[0], health.refused + PRIOR[1]
    return Candidate(
        route=route.name,
        rail=route.rail,
        obstacles=tuple(obstacles(request, route, rule, health)),
        fee=None if terms is None else fee_of(terms, request.amount),
        latency_ms=route.latency_ms if health.latency_ms is None else health.latency_ms,
        rate=WHOLE * approved // (approved + refused),
        share=route.share,
        priority=route.priority,
        health=health,
    )


def _chosen(candidates: Sequence[Candidate], rule: Rule, draw: float, now: datetime) -> Decision:
    able = [candidate for candidate in candidates if not candidate.obstacles]
    scored = {candidate.route: candidate for candidate in _scored(able, rule.weights)}
    ranked = sorted(scored.values(), key=lambda candidate: _rank(candidate, rule.strategy))
    names = [candidate.route for candidate in ranked]
    chosen, how = _drawn(ranked, rule, draw)
    return Decision(
        chosen=chosen,
        how=how,
        fallbacks=tuple(name for name in names if name != chosen),
        probe=chosen is not None and scored[chosen].health.breakers is Permit.PROBE,
        again_at=None if able else _again_at(candidates),
        rule=rule,
        draw=draw,
        at=now,
        candidates=tuple(scored.get(candidate.route, candidate) for candidate in candidates),
    )


def _rank(candidate: Candidate, strategy: Strategy) -> tuple[int | str, ...]:
    """The lowest goes first. Of equal totals the one goes first that is better at something and worse at nothing."""
    assert candidate.score is not None and candidate.fee is not None, candidate
    last = (candidate.priority, candidate.route)
    match strategy:
        case Strategy.COST:
            return candidate.fee, *last
        case Strategy.SPEED:
            return candidate.latency_ms, *last
        case Strategy.RELIABILITY:
            return -candidate.rate, *last
        case Strategy.BALANCED:
            return -candidate.score.total, candidate.fee, candidate.latency_ms, -candidate.rate, *last
        case Strategy.VOLUME:
            return -candidate.share, *last


def _scored(able: Sequence[Candidate], weights: Weights) -> Iterator[Candidate]:
    """Each beside the best and the worst of those that can be taken."""
    costs = _placed([-(candidate.fee or 0) for candidate in able])
    speeds = _placed([-candidate.latency_ms for candidate in able])
    rates = _placed([candidate.rate for candidate in able])
    whole = weights.cost + weights.speed + weights.reliability
    for candidate, cost, speed, reliability in zip(able, costs, speeds, rates, strict=True):
        total = (weights.cost * cost + weights.speed * speed + weights.reliability * reliability) // whole
        yield replace(candidate, score=Score(cost=cost, speed=speed, reliability=reliability, total=total))


def _placed(values: Sequence[int]) -> list[int]:
    """Where each is between the lowest, 0, and the highest, WHOLE; WHOLE where all are the same."""
    lowest, highest = min(values, default=0), max(values, default=0)
    if lowest == highest:
        return [WHOLE] * len(values)
    return [WHOLE * (value - lowest) // (highest - lowest) for value in values]


def _drawn(ranked: Sequence[Candidate], rule: Rule, draw: float) -> tuple[str | None, How]:
    if not ranked:
        return None, How.NONE
    shares = rule.split or ({c.route: c.share for c in ranked} if rule.strategy is Strategy.VOLUME else {})
    able = {candidate.route for candidate in ranked}
    fit = [(name, share) for name, share in sorted(shares.items()) if share and name in able]
    if fit:
        return _by_share(fit, draw), How.SPLIT
    explored = rule.explore_percent / 100 if rule.strategy in EXPLORING else 0.0
    if draw < explored and len(ranked) > 1:
        # What is below the bound is again spread evenly, and so is good for a second choice.
        place = min(int(draw / explored * (len(ranked) - 1)), len(ranked) - 2)
        return ranked[1 + place].route, How.EXPLORED
    return ranked[0].route, How.BEST


def _by_share(shares: Sequence[tuple[str, int]], draw: float) -> str:
    """The route in whose part of the whole the draw falls."""
    point = draw * sum(share for _, share in shares)
    for name, share in shares:
        point -= share
        if point < 0:
            return name
    return shares[-1][0]  # Only if rounding took the point to the very end.


def _again_at(candidates: Sequence[Candidate]) -> datetime | None:
    """The first moment at which a route may be there that time alone stands against."""
    waiting = [
        candidate.health.again_at
        for candidate in candidates
        if candidate.health.again_at is not None and {obstacle.why for obstacle in candidate.obstacles} <= PASSING
    ]
    return min(waiting, default=None)
