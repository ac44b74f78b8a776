"""Payments as they stand, what rails were asked for each, what was answered and settled, and the disputes over them."""

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from domain import dispute
from domain.events import (
    Event,
    PaymentActionRequired,
    PaymentAnswerContradicted,
    PaymentApproved,
    PaymentAttemptStarted,
    PaymentCanceled,
    PaymentConfirmed,
    PaymentDisputeClosed,
    PaymentDisputed,
    PaymentEvent,
    PaymentExpired,
    PaymentFailed,
    PaymentIntentCreated,
    PaymentMethodAttached,
    PaymentOperationAccepted,
    PaymentOperationDone,
    PaymentOperationFailed,
    PaymentOperationRequested,
    PaymentOutcomeUnknown,
    PaymentReturned,
    PaymentSettled,
    PaymentValidated,
    Recorded,
)
from domain.payment import BEGINS, GIVES_BACK, State, Status
from domain.rail import RAIL_OF, Method, Operation, Retry
from projections.projection import Change

NAME: Final = "payments"
VERSION: Final = 2
CHANGES: Final = (
    *("create_payments", "start_attempts", "request_operations", "answer_requests", "change_payments"),
    *("open_disputes", "change_disputes"),
)

CONFIRMED, APPROVED, CAPTURED, VOIDED = "confirmed", "approved", "captured", "voided"
"""Steps to a status that follows from what the payment is by then: the SQL knows."""

_AMOUNTS: Final = {
    Operation.AUTHORIZE: "authorized",
    Operation.INCREMENT: "authorized",
    Operation.CAPTURE: "captured",
    Operation.COLLECT: "captured",
    Operation.REFUND: "refunded",
    Operation.REVERSE: "reversed",
}
"""What of a payment grows by an operation that is done."""

_DONE: Final = {
    Operation.AUTHORIZE: Status.REQUIRES_CAPTURE,
    Operation.CAPTURE: CAPTURED,
    Operation.VOID: VOIDED,
    Operation.COLLECT: Status.SUCCEEDED,
    Operation.PAYOUT: Status.SUCCEEDED,
}


def project(recorded: Recorded) -> Iterator[Change]:
    """What the event changes: a payment or one of its requests, or both."""
    event = recorded.event
    if not isinstance(event, PaymentEvent):
        return
    if isinstance(event, PaymentIntentCreated):
        yield _created(recorded, event)
        return
    if isinstance(event, PaymentAttemptStarted):
        yield Change("start_attempts", _request(recorded, event) | {"rail": event.rail, "route": event.route,
                                                                    "decision": event.decision or None})  # fmt: skip
    elif isinstance(event, PaymentOperationRequested):
        asked = {"upon": event.upon, "final": event.final, "reason": event.reason or None}
        asked |= {"dispute_id": event.dispute_id}
        yield Change("request_operations", _request(recorded, event) | asked)
    else:
        answered = _answer(event)
        if answered:
            yield Change("answer_requests", {"payment_id": recorded.stream_id, **_told(recorded, event), **answered})
    yield Change(
        "change_payments",
        {
            "payment_id": recorded.stream_id,
            "version": recorded.version,
            "position": recorded.position,
            "changed_at": recorded.recorded_at,
            **_changed(recorded),
        },
    )
    yield from _of_disputes(recorded)


def _of_disputes(recorded: Recorded) -> Iterator[Change]:
    """What becomes of a dispute; one that was contested is known by the request for it."""
    event = recorded.event
    of = {"payment_id": recorded.stream_id, "position": recorded.position, "changed_at": recorded.recorded_at}
    match event:
        case PaymentDisputed():
            yield Change(
                "open_disputes",
                {
                    **of,
                    "dispute_id": event.dispute_id,
                    "request_id": event.request_id,
                    "settlement_id": event.settlement_id,
                    "amount": event.amount,
                    "fee": event.fee,
                    "state": dispute.State.NEEDS_RESPONSE,
                    "reference": event.reference or None,
                    "code": event.code or None,
                    "reason": event.reason or None,
                    "message": event.message or None,
                    "respond_by": event.respond_by,
                    "entry_id": event.entry_id,
                    "disputed_at": recorded.recorded_at,
                    "changed": recorded.position,
                },
            )
        case PaymentOperationDone(operation=Operation.CONTEST, request_id=request_id):
            yield Change("change_disputes", {**of, "request_id": request_id})
        case PaymentDisputeClosed():
            closing = {"dispute_id": event.dispute_id, "outcome": event.outcome, "fee": event.fee}
            yield Change("change_disputes", {**of, **closing, "closing_entry_id": event.entry_id})


def _created(recorded: Recorded, intent: PaymentIntentCreated) -> Change:
    return Change(
        "create_payments",
        {
            "payment_id": recorded.stream_id,
            "book_id": intent.book_id,
            "account_id": intent.account_id,
            "position": recorded.position,
            "created_at": recorded.recorded_at,
            "status": Status.REQUIRES_PAYMENT_METHOD,
            "direction": intent.direction,
            "amount": intent.amount,
            "currency": intent.currency,
            "authorized": 0,
            "captured": 0,
            "refunded": 0,
            "reversed": 0,
            "returned": 0,
            "disputed": 0,
            "capture": intent.capture,
            "approvals": intent.approvals,
            "approvers": list(intent.approvers) or None,
            "approved": 0,
            "contradicted": False,
            "expires_at": intent.expires_at,
            "lapses_at": intent.lapses_at,
            "maker": recorded.metadata.actor,
            "description": intent.description or None,
            "reference": intent.reference or None,
            "descriptor": intent.descriptor or None,
            "metadata": intent.metadata or None,
            "version": recorded.version,
            "changed": recorded.position,
            "changed_at": recorded.recorded_at,
        },
    )


def _request(recorded: Recorded, event: PaymentAttemptStarted | PaymentOperationRequested) -> dict[str, Any]:
    return {
        "payment_id": recorded.stream_id,
        "request_id": event.request_id,
        "position": recorded.position,
        "operation": event.operation,
        "amount": event.amount,
        "state": State.REQUESTED,
        "final": False,
        "contradicted": False,
        "returned": 0,
        "fee": 0,
        "requested_at": recorded.recorded_at,
        "changed": recorded.position,
    }


def _told(recorded: Recorded, event: Any) -> dict[str, Any]:
    return {"request_id": event.request_id, "position": recorded.position, "at": recorded.recorded_at}


def _answer(event: Event) -> dict[str, Any]:
    """What a request becomes by what the rail said, or did not say; nothing of an event that is no such thing."""
    match event:
        case PaymentOperationAccepted(reference=reference, code=code):
            return {"state": State.ACCEPTED, "reference": reference or None, "code": code or None}
        case PaymentOutcomeUnknown():
            return {"state": State.UNKNOWN}
        case PaymentOperationFailed(code=code, reason=reason, retry=retry):
            return {"state": State.FAILED, "code": code or None, "declined": reason or None, "retry": retry}
        case PaymentOperationDone() as done:
            return {
                "state": State.DONE,
                "reference": done.reference or None,
                "code": done.code or None,
                "settles_on": done.settles_on or None,
                "hold_id": done.hold_id,
                "entry_id": done.entry_id,
            }
        case PaymentAnswerContradicted():
            return {"contradicted": True}
        case PaymentSettled() as settled:
            return {"settlement_id": settled.settlement_id, "settled_on": settled.day, "fee": settled.fee}
        case PaymentReturned(amount=amount, fee=fee):
            return {"returned": amount, "fee": fee}
        case _:
            return {}


def _changed(recorded: Recorded) -> dict[str, Any]:
    """What the payment becomes; amounts by how much they grow, in minor units."""
    event = recorded.event
    match event:
        case PaymentMethodAttached(method=method):
            rail = RAIL_OF[type(method)]
            return {"step": Status.REQUIRES_CONFIRMATION, "method": shown(method), "rail": rail}
        case PaymentConfirmed():
            return {"step": CONFIRMED}
        case PaymentValidated():
            told = {name: getattr(event, name) for name in ("rule", "votes", "passed", "why")}
            told |= {"at": recorded.recorded_at.isoformat()}
            return {"validation": told} | ({} if event.passed else {"step": Status.REQUIRES_PAYMENT_METHOD})
        case PaymentApproved():
            return {"step": APPROVED, "approved": 1}
        case PaymentAttemptStarted(rail=rail, route=route):
            return {"step": Status.PROCESSING, "rail": rail, "route": route}
        case PaymentActionRequired(action=action):
            return {"step": Status.REQUIRES_ACTION, "action": action}
        case PaymentOperationFailed(operation=operation, reason=reason, retry=retry) if operation in BEGINS:
            step = Status.REQUIRES_PAYMENT_METHOD if retry == Retry.NEVER else Status.PROCESSING
            return {"step": step, "declined": reason or None}
        case PaymentOperationDone(operation=operation, amount=amount, request_id=request_id):
            done = Operation(operation)
            grown = {_AMOUNTS[done]: amount} if done in _AMOUNTS else {}
            return {"step": _DONE[done], "request_id": request_id, **grown} if done in _DONE else grown
        case PaymentAnswerContradicted():
            return {"contradicted": True}
        case PaymentReturned(operation=operation, amount=amount):
            given_back = _AMOUNTS[Operation(operation)] if operation in GIVES_BACK else None
            return {given_back: -amount} if given_back is not None else {"returned": amount}
        case PaymentDisputed(amount=amount):
            return {"disputed": amount}
        case PaymentDisputeClosed(outcome=dispute.State.WON, amount=amount):
            return {"disputed": -amount}
        case PaymentFailed():
            return {"step": Status.REQUIRES_PAYMENT_METHOD}
        case PaymentCanceled():
            return {"step": Status.CANCELED}
        case PaymentExpired():
            return {"step": Status.EXPIRED}
        case _:
            return {}


NUMBERS: Final = ("account_number", "iban")
"""Account numbers: of each the last four characters are shown."""


def shown(method: Method) -> dict[str, Any]:
    """What it is paid with, for people to know it by."""
    return masked(msgspec.to_builtins(method))


def masked(method: dict[str, Any]) -> dict[str, Any]:
    """The same of a method as it is stored."""
    told = dict(method)
    for name in NUMBERS:
        if name in told:
            told["last4"] = told.pop(name)[-4:]
    return told
