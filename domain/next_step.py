"""What comes next for a payment of itself, worked out from what it is: whoever comes back after a crash goes on there.

Nobody but Daybook takes these steps. Each is a command or a question to a rail, and taking one twice does nothing more:
a rail does one thing at most for a request id, and a command has one effect under its key.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from msgspec import Struct

from domain import payment as payment_rules
from domain import retry, routing
from domain.payment import BEGINS, Payment, Request, State, Status
from domain.rail import Declined, Instruction, Operation, Retry
from domain.retry import Retries
from domain.routing import Decision, Health, Route, Rule

PATIENCE: Final = timedelta(minutes=5)
"""How long a payer is kept waiting for another attempt with the same method, who might have another one."""


EXPIRE_AGAIN: Final = timedelta(hours=1)


class Routing(Struct, frozen=True, kw_only=True):
    """How routes are chosen: all of it data."""

    routes: Sequence[Route]
    rules: Sequence[Rule] = ()
    retries: Retries = retry.USUAL


class Ask(Struct, frozen=True):
    """Put the request to its rail; `again`: ask first what became of it."""

    request: Request
    again: bool


class Attempt(Struct, frozen=True):
    """Begin an attempt on the decision's route."""

    decision: Decision


class GiveUp(Struct, frozen=True):
    """Make no further attempt."""

    why: str


class Expire(Struct, frozen=True):
    """Its time has come."""


class Rest(Struct, frozen=True):
    """Nothing, until then; None: until somebody does something."""

    until: datetime | None
    why: str


Step = Ask | Attempt | GiveUp | Expire | Rest


def takes_route(payment: Payment) -> bool:
    """Whether what comes next rests on what is known of the routes."""
    return payment.status is Status.PROCESSING and not payment.open


def next_steps(payment: Payment, how: Routing, health: Mapping[str, Health], now: datetime) -> list[Step]:
    """At least one; several only where several refunds wait for their rail.

    Args:
        health: Of the routes, by name; asked for nothing but by a payment that `takes_route`.
    """
    if payment.open:
        return [Ask(request, again=request.state is not State.REQUESTED) for request in payment.open]
    if payment.status in payment_rules.ENDED:
        return [Rest(None, "it is over")]
    if payment_rules.is_due(payment, now):
        return [_expire(payment, now)]
    if payment.status is not Status.PROCESSING:
        return [Rest(payment_rules.due_at(payment), payment.status.value)]
    return [_attempt(payment, how, health, now)]


def _expire(payment: Payment, now: datetime) -> Step:
    """A rail that would not give an authorization up is asked again, and not all the time."""
    last = list(payment.requests.values())[-1] if payment.requests else None
    if last is None or last.operation is not Operation.VOID or last.answered_at is None:
        return Expire()
    again = last.answered_at + EXPIRE_AGAIN
    return Rest(again, f"it is not given up: {last.declined}") if again > now else Expire()


def _attempt(payment: Payment, how: Routing, health: Mapping[str, Health], now: datetime) -> Step:
    failed = attempts_failed(payment)
    decision = decide(payment, how, health, now)
    if not failed:
        return _on(decision)
    last = failed[-1]
    declined = Declined(code="", reason=last.declined, message="", retry=Retry(last.retry))
    assert last.answered_at is not None, last
    step = retry.after(
        declined,
        decision=decision,
        attempts=len(failed),
        retries=how.retries,
        draw=decision.draw,
        now=last.answered_at,
    )
    match step:
        case retry.Try():
            return Attempt(decision)
        case retry.Wait() if payment.is_hurried:
            return _on(decision)
        case retry.Wait(until=until, why=why) if until - last.answered_at > PATIENCE:
            return GiveUp(f"{why}: not worth waiting for")
        case retry.Wait(until=until, why=why):
            return Rest(until, why) if until > now else _on(decision)
        case retry.Stop(why=why):
            return GiveUp(why)
        case retry.Resolve():
            raise AssertionError(step)


def _on(decision: Decision) -> Step:
    if decision.chosen is not None:
        return Attempt(decision)
    if decision.again_at is not None:
        return Rest(decision.again_at, "no route can be taken now")
    return GiveUp("no route takes it")


def attempts_failed(payment: Payment) -> list[Request]:
    """Those made with the present method."""
    made = list(payment.requests.values())[payment.before_method :]
    return [request for request in made if request.operation in BEGINS and request.state is State.FAILED]


def decide(payment: Payment, how: Routing, health: Mapping[str, Health], now: datetime) -> Decision:
    """The route of the next attempt: the same for whoever works it out from the same."""
    assert payment.method is not None, payment
    failed = attempts_failed(payment)
    return routing.decide(
        routing.Request(
            amount=payment.intent.amount,
            currency=payment.intent.currency,
            method=routing.method_name(payment.method),
            metadata=payment.intent.metadata,
            tried=retry.tried((request.route, Retry(request.retry)) for request in failed),
        ),
        how.routes,
        how.rules,
        health,
        routing.draw_of(payment.id, len(payment.requests)),
        now,
    )


def instruction(payment: Payment, request: Request) -> Instruction:
    """What the rail is asked: the same, byte for byte, whenever it is asked again."""
    assert payment.method is not None, payment
    upon = payment.requests[request.upon] if request.upon else None
    original = upon.reference if upon is not None else ""
    if request.dispute_id is not None:
        original = payment.disputes[request.dispute_id].reference
    return Instruction(
        request_id=request.id,
        operation=request.operation,
        rail=request.rail,
        route=request.route,
        amount=request.amount,
        currency=payment.intent.currency,
        method=payment.method,
        sent_at=request.requested_at,
        original=original,
        original_request_id=upon.id if upon is not None else "",
        descriptor=payment.intent.descriptor,
        final=request.final or request.operation is Operation.VOID,
        evidence=dict(request.evidence),
    )
