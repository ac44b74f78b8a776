"""For whoever runs Daybook: the rails that payments go by from here, how they do, and an operator's word over them.

Which way a payment would take can be asked without paying: the decision with all that it rests on.

An operator's word over a breaker is shared by all processes. It is no command of the ledger: nothing of it is booked,
and setting it twice is the same as once, so that it needs no Idempotency-Key.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from itertools import groupby
from typing import Annotated, Any, Final, Literal, Self

import msgspec
import orjson
from msgspec import Struct
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator
from pydantic_core import InitErrorDetails
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route as Served

from adapters.web.problem import BadRequest
from commands.api.asking import instant
from commands.command import Amount, Currency, Instant, MetadataMap, Text
from domain.breaker import Breaker, Override, Permit, State, in_force, key
from domain.errors import Unavailable
from domain.next_step import Routing
from domain.ports import Breakers
from domain.rail import Rail
from domain.routing import WHOLE, Decision, Health, Route, closed, decide, health_of, healths
from domain.routing import Request as Payable
from domain.watch import Watched

LOOK_S: Final = 2.0
"""How often the breakers are looked at for the metrics."""


class OverrideBreaker(BaseModel):
    """Open or close a breaker by hand, whatever its calls come to, until a time or until it is released.

    Either a `state`, with or without `until`, or `release`: true, after which the breaker goes on from the state that
    its calls have brought it to meanwhile. All processes go by it within a second or two. This is no command of the
    ledger: it needs no Idempotency-Key, and after a 503 is to be set again.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    state: Literal["open", "closed"] | None = None
    reason: Annotated[Text, StringConstraints(min_length=1)]
    until: Instant | None = None
    release: bool = False

    @model_validator(mode="after")
    def _is_one_of_both(self) -> Self:
        if (self.state is None) is not self.release:
            raise ValueError("either a state or release, and not both")
        if self.release and self.until is not None:
            raise ValueError("until goes with a state")
        return self


class DecideRoute(BaseModel):
    """What would be paid, to see which way it would take; nothing is.

    `method` is `card`, with or without a brand as in `card:visa`, `bank_account`, `iban` or `upi`. `draw` is the chance
    in the decision, in millionths: below a rule's `explore_percent` another route than the best may be tried.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    amount: Amount
    currency: Currency
    method: Annotated[str, StringConstraints(pattern=r"^(card(:[a-z_]{1,20})?|bank_account|iban|upi)$")]
    country: Annotated[str, StringConstraints(pattern=r"^([A-Z]{2})?$")] = ""
    metadata: MetadataMap = Field(default_factory=dict)
    draw: Annotated[int, Field(ge=0, lt=WHOLE)] = WHOLE // 2


class Rails:
    """The routes of this process and what is known of them.

    Args:
        breakers: None where there are no routes.
    """

    def __init__(self, routing: Routing, breakers: Breakers | None, now: Callable[[], datetime]) -> None:
        assert breakers is not None or not routing.routes
        self._routing = routing
        self._routes = sorted(routing.routes, key=lambda route: (route.rail, route.priority, route.name))
        self._breakers = breakers
        self._now = now
        self._seen: Mapping[str, Watched] = {}

    async def watch(self) -> None:
        """Look at the breakers now and then, until it is cancelled; what was seen last stands while they are away."""
        assert self._breakers is not None
        while True:
            try:
                self._seen = await self._breakers.look()
            except Unavailable:
                pass  # Whoever pays has its say about that.
            await asyncio.sleep(LOOK_S)

    def states(self) -> dict[tuple[str, str], str]:
        """Of each breaker as it was last seen, by rail and route; by a rail and nothing the whole rail's."""
        names = {(route.rail, name) for route in self._routes for name in ("", route.name)}
        now = self._now()
        return {(rail.value, route): _state(self._known(rail, route).breaker, now).value for rail, route in names}

    async def look(self) -> list[dict[str, Any]]:
        """Every rail with its routes; raises Unavailable."""
        if self._breakers is None:
            return []
        self._seen = await self._breakers.look()
        now = self._now()
        health = healths(self._routes, self._seen, now, closed=closed(self._routes, now))
        return [
            self._rail(rail, list(routes), health, now)
            for rail, routes in groupby(self._routes, lambda route: route.rail)
        ]

    async def decide(self, wanted: DecideRoute) -> Decision:
        """The way a payment would take now; nothing is asked, counted or kept. Raises Unavailable."""
        seen = {} if self._breakers is None else await self._breakers.look()
        now = self._now()
        asked = Payable(
            amount=wanted.amount,
            currency=wanted.currency,
            method=wanted.method,
            country=wanted.country,
            metadata=wanted.metadata,
        )
        routes, draw = self._routing.routes, wanted.draw / WHOLE
        health = healths(routes, seen, now, closed=closed(routes, now))
        return decide(asked, routes, self._routing.rules, health, draw, now)

    async def override(self, rail: str, route: str, wanted: OverrideBreaker, *, actor: str) -> dict[str, Any]:
        """The breaker of the rail, or of that route of it, as what was wanted leaves it.

        Raises:
            BadRequest: This process has no such rail or route, or the time is over already.
            Unavailable: It may have been set, and is to be set again.
        """
        named = self._named(rail, route)
        assert self._breakers is not None
        now = self._now()
        if wanted.until is not None and wanted.until <= now:
            raise BadRequest("override_ends_in_past", "An override ends in the time to come.", status=422)
        if wanted.state is None:
            left = await self._breakers.release(key(named, route), reason=wanted.reason, actor=actor)
        else:
            left = await self._breakers.force(
                key(named, route), State(wanted.state), reason=wanted.reason, actor=actor, until=wanted.until
            )
        return _breaker(named, route, left, self._now())

    def _named(self, rail: str, route: str) -> Rail:
        routes = [one for one in self._routes if one.rail.value == rail]
        if not routes:
            raise BadRequest("rail_not_found", "Payments go by no such rail from here.", status=404)
        if route and route not in {one.name for one in routes}:
            raise BadRequest("route_not_found", "The rail has no such route.", status=404)
        return routes[0].rail

    def _known(self, rail: Rail, route: str) -> Watched:
        return self._seen.get(key(rail, route), Watched())

    def _rail(self, rail: Rail, routes: Sequence[Route], health: Mapping[str, Health], now: datetime) -> dict[str, Any]:
        known = self._known(rail, "")
        return {
            "object": "rail",
            "rail": rail.value,
            "takes_payments": any(_takes(health[route.name]) for route in routes),
            "breaker": _breaker(rail, "", known.breaker, now),
            "window": _window(health_of([known.breaker], known.traffic, now)),
            "routes": [self._route(route, health[route.name], now) for route in routes],
        }

    def _route(self, route: Route, health: Health, now: datetime) -> dict[str, Any]:
        return {
            "object": "route",
            "name": route.name,
            "rail": route.rail.value,
            "methods": list(route.methods),
            "terms": {
                currency: {name: getattr(terms, name) for name in terms.__struct_fields__}
                for currency, terms in route.terms.items()
            },
            "countries": list(route.countries),
            "priority": route.priority,
            "share": route.share,
            "takes_payments": _takes(health),
            "why": "; ".join(filter(None, (health.closed, health.why))),
            "again_at": _at(health.again_at),
            "hours": _whole(route.hours),
            "breaker": _breaker(route.rail, route.name, self._known(route.rail, route.name).breaker, now),
            "window": _window(health),
        }


def _takes(health: Health) -> bool:
    """A route whose breaker lets a probe through takes a payment as that."""
    return health.breakers is not Permit.NO and not health.closed


def _state(breaker: Breaker, now: datetime) -> State:
    decided = in_force(breaker, now)
    return breaker.state if decided is None else decided.state


def _breaker(rail: Rail, route: str, breaker: Breaker, now: datetime) -> dict[str, Any]:
    known = health_of([breaker], Watched().traffic, now)
    return {
        "object": "breaker",
        "rail": rail.value,
        "route": route or None,
        "state": _state(breaker, now).value,
        "state_by_calls": breaker.state.value,
        "lets_through": known.breakers.value,
        "why": known.why,
        "since": _at(breaker.since),
        "probe_due_at": _at(breaker.until if breaker.state is State.OPEN else breaker.probe_until),
        "override": _override(in_force(breaker, now)),
        "transitions": [
            {**msgspec.to_builtins(one), "at": instant(one.at), "before": one.before.value, "after": one.after.value}
            for one in breaker.history
        ],
    }


def _override(decided: Override | None) -> dict[str, Any] | None:
    if decided is None:
        return None
    return {
        "state": decided.state.value,
        "reason": decided.reason,
        "actor": decided.actor,
        "at": instant(decided.at),
        "until": _at(decided.until),
    }


def _window(health: Health) -> dict[str, Any]:
    return {"approved": health.approved, "refused": health.refused, "latency_ms": health.latency_ms}


def _at(moment: datetime | None) -> str | None:
    return None if moment is None else instant(moment)


def _whole(value: Any) -> Any:
    """For JSON, with the fields that are as they are by default."""
    match value:
        case Struct():
            return {name: _whole(getattr(value, name)) for name in value.__struct_fields__}
        case tuple():
            return [_whole(one) for one in value]
        case datetime():
            return instant(value)
        case _:
            return msgspec.to_builtins(value)


async def list_rails(request: Request) -> Response:
    must_have_no_query(request)
    return _json({"object": "list", "data": await request.state.rails.look(), "has_more": False})


async def decide_route(request: Request) -> Response:
    must_have_no_query(request)
    decision = await request.state.rails.decide(DecideRoute.model_validate(request.state.body))
    return _json({"object": "route_decision", **_whole(decision)})


async def override_rail(request: Request) -> Response:
    return await _override_asked(request, route="")


async def override_route(request: Request) -> Response:
    return await _override_asked(request, route=request.path_params["route"])


async def _override_asked(request: Request, *, route: str) -> Response:
    must_have_no_query(request)
    state = request.state
    wanted = OverrideBreaker.model_validate(state.body)
    rail = request.path_params["rail"]
    return _json(await state.rails.override(rail, route, wanted, actor=state.context["actor"]))


def must_have_no_query(request: Request) -> None:
    """Who asks for a dry run of what has none is not to get the thing itself."""
    if request.scope["query_string"]:
        faults = [InitErrorDetails(type="extra_forbidden", loc=(name,), input=None) for name in request.query_params]
        raise ValidationError.from_exception_data("query", faults)


def _json(resource: Mapping[str, Any]) -> Response:
    return Response(orjson.dumps(resource), media_type="application/json")


reads: Final = [Served("/v1/rails", list_rails, methods=["GET"])]
decisions: Final = [Served("/v1/routes/decide", decide_route, methods=["POST"])]
overrides: Final = [
    Served("/v1/rails/{rail}/breaker", override_rail, methods=["POST"]),
    Served("/v1/rails/{rail}/routes/{route}/breaker", override_route, methods=["POST"]),
]
