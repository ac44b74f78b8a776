"""Disputes at a simulated rail: who paid wants it back some days later, and the rail takes it back at once.

What is to be disputed says so in its detail (`disputes`: the reason's code). The dispute begins DISPUTED_AFTER days
after it settled, for what is then left of it, and can be answered for RESPOND_WITHIN days. Evidence in which any text
has the word `winning` wins; other evidence, or none, loses. It is closed on the day after the answer, or on the last.

Schemes let acquirers answer disputes through portals and interfaces of their own and publish none, so this desk is our
own rendering; the other side of it is `adapters.rails.desk`:

    POST /{rail}/disputes?route=               {"request_id", "dispute", "amount", "currency", "evidence": {...}}: 200
                                               and what came of it; 409 where that id was asked something else
    GET  /{rail}/disputes/{request_id}?route=  the same, or 404
"""

from collections.abc import Callable, Sequence
from datetime import date, datetime, timedelta
from typing import Any, Final

import msgspec
from msgspec import structs
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from adapters.rails.desk import Evidence, Heard
from adapters.rails.simulator.books import Books, Effect
from adapters.rails.simulator.clock import Clock
from adapters.rails.simulator.faults import Faults, Plan
from adapters.rails.simulator.reply import Reply, carried_out
from adapters.rails.simulator.server import replying

DISPUTED, WON, LOST = "disputed", "dispute_won", "dispute_lost"
"""The rail's own operations, as its files name them."""
CONTEST: Final = "contest"
DISPUTED_AFTER: Final = timedelta(days=2)
RESPOND_WITHIN: Final = timedelta(days=20)
WINNING: Final = "winning"
APPROVED: Final = "received"
ONE_DAY: Final = timedelta(days=1)


class Disputes:
    """Those of one rail.

    Args:
        left: What there is left of an effect to dispute, in minor units.
        settles: The day on which what happens on a day settles.
        begins: When a day begins at the rail, UTC.
    """

    def __init__(
        self,
        rail: str,
        books: Books,
        faults: Faults,
        clock: Clock,
        *,
        left: Callable[[Effect], int],
        settles: Callable[[date], date],
        begins: Callable[[date], datetime],
    ) -> None:
        self._rail = rail
        self._books = books
        self._faults = faults
        self._clock = clock
        self._left = left
        self._settles = settles
        self._begins = begins
        self._next: dict[str, date] = {}
        """Of what is to be disputed, and of open disputes: the day on which something happens to it by itself."""
        for effect in books.effects(rail):
            self.learn(effect)

    def learn(self, effect: Effect) -> None:
        """Know what is to happen because of it."""
        if effect.outcome != "approved":
            return
        if "disputes" in effect.detail:
            self._next[effect.request_id] = self._settles(effect.day + DISPUTED_AFTER)
        elif effect.operation == DISPUTED:
            self._next.pop(effect.detail["of"], None)
            self._next[effect.request_id] = self._settles(_respond_by(effect))
        elif effect.operation == CONTEST:
            self._next[effect.detail["of"]] = self._settles(effect.day)
        elif effect.operation in (WON, LOST):
            self._next.pop(effect.detail["dispute"], None)

    def go_on(self) -> None:
        """Begin and close what is due by the clock, each on its own day whenever that is looked at."""
        now = self._clock.now()
        while due := [(day, name) for name, day in self._next.items() if self._begins(day) <= now]:
            day, name = min(due)
            effect = self._books.find(self._rail, name)
            assert effect is not None, name
            if effect.operation == DISPUTED:
                self._close(effect, day)
            else:
                self._begin(effect, day)

    def is_won(self, dispute: Effect) -> bool:
        return any(each.operation == WON for each in self._books.upon(self._rail, dispute.reference))

    def routes(self) -> Sequence[BaseRoute]:
        return (
            Route(f"/{self._rail}/disputes", self._post, methods=["POST"]),
            Route(f"/{self._rail}/disputes/{{request_id}}", self._get),
        )

    def contest(self, message: bytes, route: str) -> Reply:
        """Take evidence, once for each request id."""
        try:
            evidence = msgspec.json.decode(message, type=Evidence)
        except msgspec.DecodeError as error:
            return Reply(body=str(error).encode(), status=400)
        plan = self._faults.plan(self._rail, route)
        return _answered(carried_out(plan, lambda: self._contest(evidence, plan)), otherwise=409)

    def contested(self, request_id: str, route: str) -> Reply:
        """What came of it."""
        plan = self._faults.plan(self._rail, route)
        reply = carried_out(plan, lambda: self._said(self._books.find(self._rail, request_id), plan))
        return _answered(reply, otherwise=404)

    async def _post(self, request: Request) -> Response:
        route = request.query_params.get("route", "")
        response: Response = await replying(lambda message: self.contest(message, route))(request)
        return response

    async def _get(self, request: Request) -> Response:
        request_id, route = str(request.path_params["request_id"]), request.query_params.get("route", "")
        response: Response = await replying(lambda _: self.contested(request_id, route))(request)
        return response

    def _begin(self, effect: Effect, day: date) -> None:
        """What was given back before, or undone, is not disputed."""
        left = self._left(effect)
        if left < 1:
            self._next.pop(effect.request_id)
            return
        self._keep(
            effect,
            request_id=f"{effect.request_id}-dispute",
            operation=DISPUTED,
            amount=left,
            code=effect.detail["disputes"],
            reference=f"D{effect.reference}",
            original=effect.reference,
            day=day,
            at=self._begins(day),
            detail={"of": effect.request_id, "operation": effect.operation},
        )

    def _close(self, dispute: Effect, day: date) -> None:
        upon = self._upon(dispute)
        won = any((each.operation, each.outcome, each.code) == (CONTEST, "approved", WINNING) for each in upon)
        self._keep(
            dispute,
            request_id=f"{dispute.request_id}-closed",
            operation=WON if won else LOST,
            reference=f"{dispute.reference}-closed",
            original=dispute.reference,
            day=day,
            at=self._begins(day),
            detail={**dispute.detail, "dispute": dispute.request_id},
        )

    def _contest(self, evidence: Evidence, plan: Plan) -> bytes:
        """Nothing where the id was asked something else."""
        self.go_on()
        asked = msgspec.json.encode(evidence, order="deterministic").decode()
        effect = self._books.find(self._rail, evidence.request_id)
        if effect is None:
            effect = self._decide(evidence, asked, plan)
        elif effect.operation != CONTEST or effect.detail["asked"] != asked:
            return b""
        return self._said(effect, plan)

    def _decide(self, evidence: Evidence, asked: str, plan: Plan) -> Effect:
        dispute = self._books.by_reference(self._rail, evidence.dispute)
        code = self._objection(evidence, dispute, plan)
        wins = any(WINNING in text.lower() for text in evidence.evidence.values())
        now = self._clock.now()
        effect = Effect(
            rail=self._rail,
            request_id=evidence.request_id,
            operation=CONTEST,
            amount=evidence.amount,
            currency=evidence.currency,
            outcome="declined" if code else "approved",
            code=code or (WINNING if wins else APPROVED),
            reference=f"E{evidence.request_id}",
            at=now,
            day=self._tomorrow(now),
            original="" if dispute is None else dispute.reference,
            route="" if dispute is None else dispute.route,
            detail={"asked": asked, "of": "" if dispute is None else dispute.request_id},
        )
        self._books.record(effect)
        self.learn(effect)
        return effect

    def _objection(self, evidence: Evidence, dispute: Effect | None, plan: Plan) -> str:
        if dispute is None or dispute.operation != DISPUTED:
            return "unknown_dispute"
        if (evidence.amount, evidence.currency) != (dispute.amount, dispute.currency):
            return "wrong_amount"
        if dispute.request_id not in self._next:
            return "closed"
        if self._clock.now() >= respond_by(dispute, self._begins):
            return "too_late"
        if any(each.operation == CONTEST and each.outcome == "approved" for each in self._upon(dispute)):
            return "answered"
        return (plan.decline_code or "declined") if plan.decline else ""

    def _upon(self, dispute: Effect) -> list[Effect]:
        return self._books.upon(self._rail, dispute.reference)

    def _said(self, effect: Effect | None, plan: Plan) -> bytes:
        """Nothing of what is not known."""
        if effect is None or effect.operation != CONTEST:
            return b""
        heard = Heard(
            request_id=effect.request_id,
            accepted=effect.outcome == "approved",
            code=effect.code if effect.outcome == "declined" else APPROVED,
            reference=effect.reference,
            amount=effect.amount + plan.wrong_amount,
            currency=effect.currency,
        )
        return msgspec.json.encode(heard)

    def _tomorrow(self, now: datetime) -> date:
        """The first day that begins after now."""
        day = now.date() - ONE_DAY
        while self._begins(day) <= now:
            day += ONE_DAY
        return day

    def _keep(self, upon: Effect, **said: Any) -> None:
        effect = structs.replace(upon, outcome="approved", **said)
        self._books.record(effect)
        self.learn(effect)


def _answered(reply: Reply, *, otherwise: int) -> Reply:
    """With its status; of an empty answer, the other one."""
    return reply if reply.body is None else structs.replace(reply, status=200 if reply.body else otherwise)


def respond_by(dispute: Effect, begins: Callable[[date], datetime]) -> datetime:
    """Until when it can be answered."""
    return begins(_respond_by(dispute))


def _respond_by(dispute: Effect) -> date:
    return dispute.day + RESPOND_WITHIN
