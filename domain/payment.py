"""A payment: an intent, the attempts to carry it out on a rail, and what is asked of the rail afterwards.

`TRANSITIONS` is its whole life; nothing else moves a status. What a rail is asked is an operation with a request id of
its own, decided and recorded before the rail hears of it. Of each operation the outcome is one of few: done, failed,
accepted for later, or unknown, and while one is unknown nothing more is asked.

Sources: the payment intents of Stripe and hyperswitch (statuses, a failed attempt returning the intent to where a new
one can start), Mojaloop's transfer states (what was prepared is known before it is sent).
"""

from collections.abc import Iterable, Mapping
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Any, Final
from uuid import UUID, uuid5

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from domain import dispute, ids
from domain.dispute import Dispute
from domain.errors import (
    AmountTooLarge,
    DisputeAnswerIsLate,
    DisputeNotFound,
    DisputeStateForbids,
    PaymentAmountExceeded,
    PaymentAnswerKnown,
    PaymentApprovalNotWanted,
    PaymentApproverIsMaker,
    PaymentApproverNotNamed,
    PaymentApproversTooFew,
    PaymentBusy,
    PaymentExpiresInPast,
    PaymentHasNoSuchRequest,
    PaymentMethodUnfit,
    PaymentNotDue,
    PaymentOutcomeIsUnknown,
    PaymentOutcomeNotOpen,
    PaymentStatusForbids,
)
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
    PaymentExpired,
    PaymentFailed,
    PaymentHurried,
    PaymentIntentCreated,
    PaymentMethodAttached,
    PaymentOperationAccepted,
    PaymentOperationDone,
    PaymentOperationFailed,
    PaymentOperationRequested,
    PaymentOutcomeResolved,
    PaymentOutcomeUnknown,
    PaymentReturned,
    PaymentSettled,
    PaymentValidated,
    Recorded,
)
from domain.money import AMOUNT_MAX
from domain.policy import Policy, tier_of
from domain.rail import RAIL_OF, Accepted, Approved, Declined, Method, Operation, Rail, Retry, Unknown


class Status(StrEnum):
    REQUIRES_PAYMENT_METHOD = "requires_payment_method"
    REQUIRES_CONFIRMATION = "requires_confirmation"
    REQUIRES_APPROVAL = "requires_approval"
    REQUIRES_ACTION = "requires_action"
    PROCESSING = "processing"
    REQUIRES_CAPTURE = "requires_capture"
    SUCCEEDED = "succeeded"
    PARTIALLY_CAPTURED = "partially_captured"
    CANCELED = "canceled"
    EXPIRED = "expired"


class Trigger(StrEnum):
    """What happens to a payment, as far as its status is concerned."""

    METHOD = "a method is attached"
    CONFIRMED = "confirmed"
    APPROVAL_WANTED = "confirmed, and others must approve"
    APPROVED = "the last approval is given"
    REJECTED = "a validator forbids it"
    ATTEMPT = "an attempt is started"
    ACTION = "the payer has to act"
    ATTEMPT_FAILED = "the attempt failed, and another may not"
    FAILED = "it failed for good"
    AUTHORIZED = "authorized"
    CAPTURED_PART = "captured in part"
    CAPTURED_WHOLE = "captured whole"
    CAPTURE_ENDED = "captured in part, for good"
    DONE = "done in one step"
    VOIDED = "voided, nothing captured"
    CANCELED = "canceled"
    EXPIRED = "its time has come"


_S, _T = Status, Trigger

TRANSITIONS: Final[Mapping[tuple[Status, Trigger], Status]] = {
    (_S.REQUIRES_PAYMENT_METHOD, _T.METHOD): _S.REQUIRES_CONFIRMATION,
    (_S.REQUIRES_PAYMENT_METHOD, _T.CANCELED): _S.CANCELED,
    (_S.REQUIRES_PAYMENT_METHOD, _T.EXPIRED): _S.EXPIRED,
    (_S.REQUIRES_CONFIRMATION, _T.METHOD): _S.REQUIRES_CONFIRMATION,
    (_S.REQUIRES_CONFIRMATION, _T.CONFIRMED): _S.PROCESSING,
    (_S.REQUIRES_CONFIRMATION, _T.APPROVAL_WANTED): _S.REQUIRES_APPROVAL,
    (_S.REQUIRES_CONFIRMATION, _T.CANCELED): _S.CANCELED,
    (_S.REQUIRES_CONFIRMATION, _T.EXPIRED): _S.EXPIRED,
    (_S.REQUIRES_APPROVAL, _T.APPROVED): _S.PROCESSING,
    (_S.REQUIRES_APPROVAL, _T.CANCELED): _S.CANCELED,
    (_S.REQUIRES_APPROVAL, _T.EXPIRED): _S.EXPIRED,
    (_S.PROCESSING, _T.REJECTED): _S.REQUIRES_PAYMENT_METHOD,
    (_S.PROCESSING, _T.ATTEMPT): _S.PROCESSING,
    (_S.PROCESSING, _T.ACTION): _S.REQUIRES_ACTION,
    (_S.PROCESSING, _T.ATTEMPT_FAILED): _S.PROCESSING,
    (_S.PROCESSING, _T.FAILED): _S.REQUIRES_PAYMENT_METHOD,
    (_S.PROCESSING, _T.AUTHORIZED): _S.REQUIRES_CAPTURE,
    (_S.PROCESSING, _T.DONE): _S.SUCCEEDED,
    (_S.PROCESSING, _T.CANCELED): _S.CANCELED,
    (_S.PROCESSING, _T.EXPIRED): _S.EXPIRED,
    (_S.REQUIRES_ACTION, _T.ATTEMPT_FAILED): _S.PROCESSING,
    (_S.REQUIRES_ACTION, _T.FAILED): _S.REQUIRES_PAYMENT_METHOD,
    (_S.REQUIRES_ACTION, _T.AUTHORIZED): _S.REQUIRES_CAPTURE,
    (_S.REQUIRES_ACTION, _T.DONE): _S.SUCCEEDED,
    (_S.REQUIRES_CAPTURE, _T.CAPTURED_PART): _S.REQUIRES_CAPTURE,
    (_S.REQUIRES_CAPTURE, _T.CAPTURED_WHOLE): _S.SUCCEEDED,
    (_S.REQUIRES_CAPTURE, _T.CAPTURE_ENDED): _S.PARTIALLY_CAPTURED,
    (_S.REQUIRES_CAPTURE, _T.VOIDED): _S.CANCELED,
    (_S.REQUIRES_CAPTURE, _T.EXPIRED): _S.EXPIRED,
}
"""From a status by a trigger to a status; what is not in it cannot happen. Of a cancelled or expired authorization the
rail is asked to give it up first, so that both end the payment only when it has."""

UNBEGUN: Final = frozenset({_S.REQUIRES_PAYMENT_METHOD, _S.REQUIRES_CONFIRMATION, _S.REQUIRES_APPROVAL})
"""Nobody has had it done yet; an intent that is left in one of these lapses."""

ENDED: Final = frozenset({_S.SUCCEEDED, _S.PARTIALLY_CAPTURED, _S.CANCELED, _S.EXPIRED})
"""Nothing more is authorized or captured. What was captured can be refunded."""


PAYER_IS_TOLD: Final = frozenset(
    {
        *("account_closed", "authentication_required", "card_not_active", "declined_by_payer", "expired"),
        *("expired_card", "incorrect_cvc", "incorrect_pin", "insufficient_funds", "invalid_account"),
        *("invalid_address", "invalid_card", "issuer_unavailable", "limit_exceeded", "try_again"),
    }
)
"""Reasons of a no that help a payer, and help a thief with nothing; of any other they are told that it was declined."""


class State(StrEnum):
    """Of one operation."""

    REQUESTED = "requested"
    UNKNOWN = "unknown"
    ACCEPTED = "accepted"
    DONE = "done"
    FAILED = "failed"


BEGINS: Final = frozenset({Operation.AUTHORIZE, Operation.COLLECT, Operation.PAYOUT})
"""What an attempt begins with; everything else is upon one of these, or upon a capture."""

FIRST: Final[Mapping[tuple[str, Rail], Operation]] = {
    ("in", Rail.CARD): Operation.AUTHORIZE,
    ("in", Rail.ACH): Operation.COLLECT,
    ("in", Rail.UPI): Operation.COLLECT,
    ("out", Rail.ACH): Operation.PAYOUT,
    ("out", Rail.WIRE): Operation.PAYOUT,
    ("out", Rail.UPI): Operation.PAYOUT,
}
"""How money comes in and goes out by each rail; where there is nothing, it does not."""


class Request(Struct, frozen=True, kw_only=True):
    """One operation: what a rail was, or is about to be, asked. Amounts in minor units.

    `reference` is the rail's own, once it has given one. `upon` is the request id of what it is upon.
    """

    id: str
    operation: Operation
    rail: Rail
    route: str
    amount: int
    state: State
    requested_at: datetime
    upon: str = ""
    final: bool = False
    reason: str = ""
    reference: str = ""
    declined: str = ""
    """Why it failed, in our words, and what may be done about it: `never`, `later` or `elsewhere`."""
    retry: str = ""
    answered_at: datetime | None = None
    taken_back: int = 0
    """What refunds and a reversal were requested of it, less those that failed or came back; what was returned of it,
    and disputes of it that are not won. What the rail does by itself may make it more than the amount."""
    returned: int = 0
    returns: frozenset[str] = frozenset()
    """What was returned of it, and the rail's references of that."""
    settlement_id: UUID | None = None
    settled_on: date | None = None
    fee: int = 0
    """Where and when its money moved between the institutions, and what the rail kept for it, and for its return."""
    dispute_id: UUID | None = None
    evidence: Mapping[str, str] = {}
    """The dispute that it answers, and with what."""
    contradicted: bool = False
    """Whether the rail has said the opposite since. That is for people to look into."""
    hold_id: UUID | None = None
    entry_id: UUID | None = None

    @property
    def is_open(self) -> bool:
        """Whether its outcome is still to come."""
        return self.state in (State.REQUESTED, State.UNKNOWN, State.ACCEPTED)


class Payment(Struct, frozen=True, kw_only=True):
    """Amounts in minor units of the intent's currency.

    `authorized` is what a rail promised, `captured` what was claimed of it or collected. `refunded` is what went back
    of that, and `reversed` what was undone, of a payout too: each less what came back of it. `returned` is what the
    rail took back of it by itself, or of a payout gave back; `disputed` what it took back for disputes not won.
    """

    id: UUID
    version: int
    intent: PaymentIntentCreated
    maker: str
    makers: frozenset[str]
    """Whoever created it, attached its present method or confirmed it: none of them approves it."""
    status: Status
    method: Method | None = None
    before_method: int = 0
    """How many requests there were when the method was attached: they were made with another."""
    hurried: int | None = None
    """How many there were when somebody would wait no longer for the next attempt."""
    requests: Mapping[str, Request] = {}
    approvers: frozenset[str] = frozenset()
    is_validated: bool = False
    """Whether validators have passed it since it was confirmed."""
    authorized: int = 0
    captured: int = 0
    refunded: int = 0
    reversed: int = 0
    returned: int = 0
    disputed: int = 0
    disputes: Mapping[UUID, Dispute] = {}
    action: Mapping[str, str] = {}
    """What the payer has to do, and where, for as long as it waits for that."""
    expiring: bool = False
    """A void is under way because its time had come, not because somebody canceled it."""

    @property
    def attempt(self) -> Request | None:
        """The latest attempt."""
        begun = [request for request in self.requests.values() if request.operation in BEGINS]
        return begun[-1] if begun else None

    @property
    def is_hurried(self) -> bool:
        """Whether the next attempt is not to be waited for."""
        return self.hurried == len(self.requests)

    @property
    def open(self) -> list[Request]:
        """What a rail has still to answer."""
        return [request for request in self.requests.values() if request.is_open]

    def is_inwards(self, request: Request) -> bool:
        """Whether by that operation, done, money comes in."""
        if request.operation is Operation.REVERSE:
            return not self.is_inwards(self.requests[request.upon])
        return request.operation in TAKES

    def next_request_id(self) -> str:
        """Of the next operation: the same for everyone who decides it."""
        return ids.request_id(uuid5(self.id, f"request:{len(self.requests) + 1}"))


def create(
    policy: Policy,
    *,
    book_id: UUID,
    account_id: UUID,
    direction: str,
    amount: int,
    currency: str,
    capture: str,
    approvals: int,
    expires_at: datetime | None,
    now: datetime,
    life: timedelta | None = None,
    description: str = "",
    reference: str = "",
    descriptor: str = "",
    metadata: dict[str, str] | None = None,
) -> PaymentIntentCreated:
    """An intent without a method.

    Args:
        policy: The book's: as many must approve as the amount needs by it, if that is more than `approvals`.
        life: How long it is left for somebody to have it done, where no time is given; None for ever.

    Raises:
        PaymentExpiresInPast: It would be over before it begins.
        PaymentApproversTooFew: More are to approve it than the policy names for that.
    """
    if expires_at is not None and expires_at <= now:
        raise PaymentExpiresInPast(expires_at)
    tier = tier_of(policy, direction=direction, amount=amount, currency=currency)
    if tier is not None:
        approvals = max(approvals, tier.approvals)
        if tier.approvers and len(tier.approvers) < approvals:
            raise PaymentApproversTooFew(approvals, len(tier.approvers))
    return PaymentIntentCreated(
        book_id=book_id,
        account_id=account_id,
        direction=direction,
        amount=amount,
        currency=currency,
        capture=capture,
        approvals=approvals,
        approvers=() if tier is None else tier.approvers,
        expires_at=expires_at,
        description=description,
        reference=reference,
        descriptor=descriptor,
        metadata=metadata or {},
        lapses_at=now + life if life is not None and expires_at is None else None,
        validated=True,
    )


def attach(payment: Payment, *, method: Method) -> PaymentMethodAttached:
    """Say what it is paid with.

    Raises:
        PaymentStatusForbids: It is confirmed, or over.
        PaymentMethodUnfit: Money does not come in, or go out, that way.
    """
    _must_allow(payment, Trigger.METHOD, "attach_method")
    rail = RAIL_OF[type(method)]
    if (payment.intent.direction, rail) not in FIRST:
        raise PaymentMethodUnfit(payment.id, rail.value, payment.intent.direction)
    return PaymentMethodAttached(method=method)


def confirm(payment: Payment, *, now: datetime) -> PaymentConfirmed:
    """Have it done; where others must approve it, it waits for them.

    Raises:
        PaymentStatusForbids: It has no method yet, is confirmed, or over; or its time has come.
    """
    _must_allow(payment, Trigger.CONFIRMED, "confirm", now)
    return PaymentConfirmed()


def checkout(payment: Payment, *, method: Method, now: datetime) -> list[Event]:
    """Say what it is paid with and have it done, in one step.

    Raises:
        What `attach` and `confirm` raise.
    """
    attached = attach(payment, method=method)
    return [attached, confirm(evolve(payment, attached, now), now=now)]


def approve(payment: Payment, *, approver: str, now: datetime) -> PaymentApproved:
    """One yes of those it waits for.

    Raises:
        PaymentStatusForbids: It waits for none; or its time has come.
        PaymentApproverIsMaker: Whoever created it, attached its method or confirmed it does not approve it.
        PaymentApproverNotNamed: Others are to approve it.
        PaymentApprovalNotWanted: That one has approved it.
    """
    _must_allow(payment, Trigger.APPROVED, "approve", now)
    if approver in payment.makers:
        raise PaymentApproverIsMaker(payment.id, approver)
    if payment.intent.approvers and approver not in payment.intent.approvers:
        raise PaymentApproverNotNamed(payment.id, approver)
    if approver in payment.approvers:
        raise PaymentApprovalNotWanted(payment.id, approver)
    return PaymentApproved(approver=approver)


def must_be_to_come(payment: Payment, now: datetime) -> None:
    """It has a method, and no rail is being asked for it.

    Raises:
        PaymentStatusForbids: It has none, or is past that; or its time has come.
        PaymentOutcomeIsUnknown, PaymentBusy: An attempt is under way.
    """
    to_come = (Status.REQUIRES_CONFIRMATION, Status.REQUIRES_APPROVAL, Status.PROCESSING)
    if payment.status not in to_come or is_due(payment, now):
        raise PaymentStatusForbids(payment.id, payment.status, "validate")
    _must_be_settled(payment)


def must_start(payment: Payment, now: datetime) -> None:
    """An attempt can be begun, once validators have passed it.

    Raises:
        PaymentStatusForbids: It is not confirmed and approved; or its time has come.
        PaymentOutcomeIsUnknown, PaymentBusy: An attempt is under way.
    """
    _must_allow(payment, Trigger.ATTEMPT, "start_attempt", now)
    _must_be_settled(payment)


def start(payment: Payment, *, route: str, decision: dict[str, Any], now: datetime) -> PaymentAttemptStarted:
    """Begin an attempt on a route of the method's rail; raises what `must_start` does."""
    must_start(payment, now)
    assert payment.method is not None and payment.is_validated, payment
    rail = RAIL_OF[type(payment.method)]
    return PaymentAttemptStarted(
        request_id=payment.next_request_id(),
        operation=FIRST[payment.intent.direction, rail],
        rail=rail,
        route=route,
        amount=payment.intent.amount,
        decision=decision,
    )


def retry(payment: Payment, *, now: datetime) -> list[Event]:
    """Try again with the method it has: at once what waits for a later attempt; anew what has failed for good.

    Raises:
        PaymentStatusForbids: No attempt failed with that method, or one is about to be made; or its time has come.
        PaymentOutcomeIsUnknown, PaymentBusy: An attempt is under way.
    """
    if payment.status is Status.REQUIRES_PAYMENT_METHOD and payment.method is not None:
        return checkout(payment, method=payment.method, now=now)
    _must_allow(payment, Trigger.ATTEMPT, "retry", now)
    _must_be_settled(payment)
    if len(payment.requests) == payment.before_method or payment.is_hurried:
        raise PaymentStatusForbids(payment.id, payment.status, "retry")
    return [PaymentHurried()]


def increase(payment: Payment, *, amount: int, now: datetime) -> PaymentOperationRequested:
    """Have more promised upon the authorization.

    Raises:
        PaymentStatusForbids, PaymentOutcomeIsUnknown, PaymentBusy: As `capture`.
        AmountTooLarge: It could not be captured at once any more.
    """
    authorization = _authorization(payment, "increase", now)
    if payment.authorized + amount > AMOUNT_MAX:
        raise AmountTooLarge(payment.intent.currency, AMOUNT_MAX)
    return _requested(payment, Operation.INCREMENT, authorization, amount)


def capture(payment: Payment, *, amount: int | None, final: bool, now: datetime) -> PaymentOperationRequested:
    """Claim some or all of what is authorized and not captured; None for all of it, which is final in any case.

    Raises:
        PaymentStatusForbids: There is no authorization to capture; or its time has come.
        PaymentOutcomeIsUnknown, PaymentBusy: Something else was asked upon it.
        PaymentAmountExceeded: More than is left.
    """
    authorization = _authorization(payment, "capture", now)
    left = payment.authorized - payment.captured
    taken = left if amount is None else amount
    if taken > left:
        raise PaymentAmountExceeded(payment.id, "authorized", taken, left)
    return _requested(payment, Operation.CAPTURE, authorization, taken, final=final or taken == left)


def cancel(payment: Payment, *, reason: str) -> PaymentCanceled | PaymentOperationRequested:
    """No longer wanted: at once, or, where something is authorized, once the rail has given it up.

    Raises:
        PaymentStatusForbids: It is over, or the payer is about to pay.
        PaymentOutcomeIsUnknown, PaymentBusy: A rail was asked, and has to answer first.
    """
    if payment.status is Status.REQUIRES_CAPTURE:
        return _requested_void(payment, reason)
    _must_allow(payment, Trigger.CANCELED, "cancel")
    _must_be_settled(payment)
    return PaymentCanceled(reason=reason)


def expire(payment: Payment, *, now: datetime) -> PaymentExpired | PaymentOperationRequested:
    """End what was not done in time, as `cancel` does.

    Raises:
        PaymentNotDue: Its time has not come, or it has none.
        What `cancel` raises.
    """
    if not is_due(payment, now):
        raise PaymentNotDue(payment.id, due_at(payment))
    if payment.status is Status.REQUIRES_CAPTURE:
        return _requested_void(payment, EXPIRY)
    _must_allow(payment, Trigger.EXPIRED, "expire")
    _must_be_settled(payment)
    return PaymentExpired()


EXPIRY: Final = "expired"
"""The reason of a void whose payment's time had come."""


def refund(payment: Payment, *, amount: int | None, upon: str | None, reason: str) -> PaymentOperationRequested:
    """Give back some or all of what was captured; None for all that is left.

    Args:
        upon: The request id of the capture; None for the latest one of which so much is left.

    Raises:
        PaymentStatusForbids: Nothing was captured.
        PaymentOutcomeIsUnknown: Something else has to be known first.
        PaymentHasNoSuchRequest: That is no capture of this payment.
        PaymentAmountExceeded: More than is left, refunds under way counted.
    """
    _must_be_known(payment)
    taken = _done_of(payment, TAKES)
    if not taken or payment.intent.direction != "in":
        raise PaymentStatusForbids(payment.id, payment.status, "refund")
    if upon is not None and upon not in {one.id for one in taken}:
        raise PaymentHasNoSuchRequest(payment.id, upon)
    wanted = [one for one in taken if upon in (None, one.id)]
    left = {one.id: max(one.amount - one.taken_back, 0) for one in wanted}
    most = max(left.values())
    asked = most if amount is None else amount
    fit = [one for one in wanted if left[one.id] >= max(asked, 1)]
    if not fit:
        raise PaymentAmountExceeded(payment.id, "captured", asked, most)
    return _requested(payment, Operation.REFUND, fit[-1], asked, reason=reason)


def reverse(payment: Payment, *, upon: str | None, reason: str) -> PaymentOperationRequested:
    """Have something undone that should not have been: all of it, of which nothing has gone back yet.

    Args:
        upon: The request id of the capture, collection or payout; None for the latest one that can be.

    Raises:
        PaymentStatusForbids: Nothing was captured, collected or paid out.
        PaymentOutcomeIsUnknown: Something else has to be known first.
        PaymentHasNoSuchRequest: That is none of these.
        PaymentAmountExceeded: Some of it was taken back, or is about to be.
    """
    _must_be_known(payment)
    done = _done_of(payment, TAKES | {Operation.PAYOUT})
    if not done:
        raise PaymentStatusForbids(payment.id, payment.status, "reverse")
    wanted = [one for one in done if upon in (None, one.id)]
    if not wanted:
        raise PaymentHasNoSuchRequest(payment.id, upon or "")
    whole = [one for one in wanted if not one.taken_back]
    if not whole:
        last = wanted[-1]
        of = "captured" if last.operation in TAKES else "paid_out"
        raise PaymentAmountExceeded(payment.id, of, last.amount, max(last.amount - last.taken_back, 0))
    return _requested(payment, Operation.REVERSE, whole[-1], whole[-1].amount, reason=reason)


def contest(
    payment: Payment, *, dispute_id: UUID, evidence: Mapping[str, str], now: datetime
) -> PaymentOperationRequested:
    """Answer a dispute with evidence.

    Raises:
        DisputeNotFound, DisputeStateForbids: There is none that needs an answer.
        DisputeAnswerIsLate: Its time is over.
        PaymentOutcomeIsUnknown, PaymentBusy: Something else has to be known first, an earlier answer above all.
    """
    found = _unanswered(payment, dispute_id, "contest")
    if found.respond_by is not None and found.respond_by <= now:
        raise DisputeAnswerIsLate(dispute_id, found.respond_by)
    _must_be_known(payment)
    asked = _requested(payment, Operation.CONTEST, payment.requests[found.request_id], found.amount)
    return replace(asked, dispute_id=dispute_id, evidence=dict(evidence))


def accept(payment: Payment, *, dispute_id: UUID) -> PaymentDisputeClosed:
    """Let a dispute stand, and the money be gone.

    Raises:
        DisputeNotFound, DisputeStateForbids: There is none that needs an answer.
        PaymentBusy: It is being contested.
    """
    found = _unanswered(payment, dispute_id, "accept")
    return PaymentDisputeClosed(
        dispute_id=dispute_id, request_id=found.request_id, outcome=dispute.State.ACCEPTED, amount=found.amount
    )


def _unanswered(payment: Payment, dispute_id: UUID, operation: str) -> Dispute:
    found = payment.disputes.get(dispute_id)
    if found is None:
        raise DisputeNotFound(dispute_id)
    if found.state is not dispute.State.NEEDS_RESPONSE:
        raise DisputeStateForbids(dispute_id, found.state, operation)
    if any(request.dispute_id == dispute_id for request in payment.open):
        raise PaymentBusy(payment.id, Operation.CONTEST)
    return found


TAKES: Final = frozenset({Operation.CAPTURE, Operation.COLLECT})
"""By what money is taken from the payer."""


def give_up(payment: Payment, *, reason: str) -> PaymentFailed:
    """Make no further attempt with this method.

    Raises:
        PaymentStatusForbids: It is not being tried.
        PaymentOutcomeIsUnknown, PaymentBusy: An attempt is under way.
    """
    _must_allow(payment, Trigger.FAILED, "give_up")
    _must_be_settled(payment)
    return PaymentFailed(reason=reason)


def answer(payment: Payment, *, request_id: str, answer: Approved | Declined | Accepted | Unknown) -> Event:
    """What a rail's answer to a request comes to, whenever and however often it comes.

    A no that says that no rail was asked counts only until somebody else may have asked one: whoever takes a request
    over notes first that its outcome is unknown.

    Raises:
        PaymentHasNoSuchRequest: It was never asked.
        PaymentAnswerKnown: It says nothing new, and changes nothing.
    """
    request = payment.requests.get(request_id)
    if request is None:
        raise PaymentHasNoSuchRequest(payment.id, request_id)
    if isinstance(answer, Declined) and answer.unasked and request.state is not State.REQUESTED:
        raise PaymentAnswerKnown(payment.id, request_id, request.state)
    match answer:
        case Approved():
            said, is_as_asked = (
                State.DONE,
                (answer.amount, answer.currency) == (request.amount, payment.intent.currency),
            )
        case Declined():
            said, is_as_asked = State.FAILED, True
        case Accepted():
            said, is_as_asked = State.ACCEPTED, True
        case Unknown():
            said, is_as_asked = State.UNKNOWN, True
    if not request.is_open:
        is_news = said in (State.DONE, State.FAILED) and (said is not request.state or not is_as_asked)
        if not is_news or request.contradicted:
            raise PaymentAnswerKnown(payment.id, request_id, request.state)
        return PaymentAnswerContradicted(request_id=request_id, known=request.state, said=msgspec.to_builtins(answer))
    if not is_as_asked:
        assert isinstance(answer, Approved)
        return _misunderstood(payment, request, f"the rail speaks of {answer.amount} {answer.currency}")
    match answer:
        case Approved():
            return PaymentOperationDone(
                request_id=request_id,
                operation=request.operation,
                amount=answer.amount,
                reference=answer.reference,
                code=answer.code,
                authorization=answer.authorization,
                settles_on=answer.settles_on,
            )
        case Declined():
            return PaymentOperationFailed(
                request_id=request_id,
                operation=request.operation,
                code=answer.code,
                reason=answer.reason,
                message=answer.message,
                retry=answer.retry,
            )
        case Accepted():
            if request.state is State.ACCEPTED:
                raise PaymentAnswerKnown(payment.id, request_id, request.state)
            return PaymentOperationAccepted(request_id=request_id, reference=answer.reference, code=answer.code)
        case Unknown(why=why):
            return _unknown(payment, request, why)


def action(payment: Payment, *, request_id: str, answer: Accepted) -> PaymentActionRequired | None:
    """What the payer has to do before the rail does what it has just taken; None for nothing, or nothing new."""
    begins = payment.requests[request_id].operation in BEGINS
    if not answer.action or not begins or (payment.status, Trigger.ACTION) not in TRANSITIONS:
        return None
    return PaymentActionRequired(request_id=request_id, action=answer.action)


RESOLVED: Final = "resolved"
"""The code of an outcome that no rail said, but somebody who has found out."""


def resolve(
    payment: Payment, *, request_id: str, outcome: str, reference: str, reason: str
) -> tuple[PaymentOutcomeResolved, PaymentOperationDone | PaymentOperationFailed]:
    """Say what became of a request that its rail says nothing of, or nothing more.

    What the rail says later is held against it, as against an answer of its own.

    Args:
        outcome: `done` or `failed`; after a failure nothing is attempted again by itself.
        reference: The rail's own, where it is known.

    Raises:
        PaymentHasNoSuchRequest: It was never asked.
        PaymentOutcomeNotOpen: What became of it is known, or no rail was asked yet.
    """
    request = payment.requests.get(request_id)
    if request is None:
        raise PaymentHasNoSuchRequest(payment.id, request_id)
    if request.state not in (State.UNKNOWN, State.ACCEPTED):
        raise PaymentOutcomeNotOpen(payment.id, request_id, request.state)
    resolved = PaymentOutcomeResolved(request_id=request_id, outcome=outcome, reason=reason)
    if outcome == State.DONE:
        return resolved, PaymentOperationDone(
            request_id=request_id,
            operation=request.operation,
            amount=request.amount,
            reference=reference or request.reference,
            code=RESOLVED,
        )
    return resolved, PaymentOperationFailed(
        request_id=request_id,
        operation=request.operation,
        code=RESOLVED,
        reason=RESOLVED,
        message=reason,
        retry=Retry.NEVER,
    )


def _unknown(payment: Payment, request: Request, why: str) -> PaymentOutcomeUnknown:
    """Once a rail has said that it has taken it, that it says nothing for a while is no news."""
    if request.state is not State.REQUESTED:
        raise PaymentAnswerKnown(payment.id, request.id, request.state)
    return PaymentOutcomeUnknown(request_id=request.id, why=why)


def _misunderstood(payment: Payment, request: Request, why: str) -> PaymentOutcomeUnknown:
    """That something else was done than was asked is news, even of what was taken; not twice."""
    if request.state is State.UNKNOWN:
        raise PaymentAnswerKnown(payment.id, request.id, request.state)
    return PaymentOutcomeUnknown(request_id=request.id, why=why)


def told_to_payer(declined: str) -> str:
    """The reason of a no as its payer may read it; empty for none."""
    return declined if not declined or declined in PAYER_IS_TOLD else "declined"


def is_due(payment: Payment, now: datetime) -> bool:
    """Whether its time has come."""
    at = due_at(payment)
    return at is not None and at <= now


def due_at(payment: Payment) -> datetime | None:
    """When its time comes, as it is now: the client's, or that at which an intent that nobody had done lapses."""
    intent = payment.intent
    return intent.expires_at or (intent.lapses_at if payment.status in UNBEGUN else None)


def _must_allow(payment: Payment, trigger: Trigger, operation: str, now: datetime | None = None) -> None:
    if (payment.status, trigger) not in TRANSITIONS or (now is not None and is_due(payment, now)):
        raise PaymentStatusForbids(payment.id, payment.status, operation)


def _must_be_settled(payment: Payment) -> None:
    """Nothing is being asked of a rail: what is unknown is said first."""
    for request in payment.open:
        if request.state is State.UNKNOWN:
            raise PaymentOutcomeIsUnknown(payment.id)
    if payment.open:
        raise PaymentBusy(payment.id, payment.open[0].operation)


def _must_be_known(payment: Payment) -> None:
    """What is under way may be; what may or may not have been done may not."""
    if any(request.state is State.UNKNOWN for request in payment.requests.values()):
        raise PaymentOutcomeIsUnknown(payment.id)


def _done_of(payment: Payment, operations: frozenset[Operation]) -> list[Request]:
    return [one for one in payment.requests.values() if one.operation in operations and one.state is State.DONE]


def _authorization(payment: Payment, operation: str, now: datetime | None = None) -> Request:
    if payment.status is not Status.REQUIRES_CAPTURE or (now is not None and is_due(payment, now)):
        raise PaymentStatusForbids(payment.id, payment.status, operation)
    _must_be_settled(payment)
    attempt = payment.attempt
    assert attempt is not None and attempt.operation is Operation.AUTHORIZE, payment
    return attempt


def _requested_void(payment: Payment, reason: str) -> PaymentOperationRequested:
    authorization = _authorization(payment, "cancel")
    return _requested(
        payment, Operation.VOID, authorization, payment.authorized - payment.captured, final=True, reason=reason
    )


def _requested(
    payment: Payment, operation: Operation, upon: Request, amount: int, *, final: bool = False, reason: str = ""
) -> PaymentOperationRequested:
    return PaymentOperationRequested(
        request_id=payment.next_request_id(),
        operation=operation,
        upon=upon.id,
        amount=amount,
        final=final,
        reason=reason,
    )


def fold(payment_id: UUID, events: Iterable[Recorded]) -> Payment | None:
    """The payment after those events of its stream; None where there is none, which a kept refusal does not change."""
    payment = None
    for recorded in events:
        if isinstance(recorded.event, PaymentIntentCreated):
            payment = created(payment_id, recorded.event, recorded.metadata.actor)
        elif payment is not None:
            payment = evolve(payment, recorded.event, recorded.recorded_at, recorded.metadata.actor)
    return payment


def created(payment_id: UUID, event: PaymentIntentCreated, maker: str) -> Payment:
    return Payment(
        id=payment_id,
        version=1,
        intent=event,
        maker=maker,
        makers=frozenset({maker}),
        status=Status.REQUIRES_PAYMENT_METHOD,
    )


def evolve(payment: Payment, event: Event, at: datetime, actor: str = "") -> Payment:
    """The payment after one more of its events, recorded at that time, of that actor if it is known; never refuses."""
    payment = replace(payment, version=payment.version + 1)
    match event:
        case PaymentMethodAttached(method=method):
            makers = frozenset({payment.maker, actor})
            payment = replace(payment, method=method, before_method=len(payment.requests), makers=makers)
            return _by(payment, Trigger.METHOD)
        case PaymentConfirmed():
            # What others approved before was another method, and perhaps another payee.
            makers = payment.makers | {actor}
            payment = replace(payment, approvers=frozenset(), makers=makers, is_validated=False)
            return _by(payment, Trigger.APPROVAL_WANTED if payment.intent.approvals else Trigger.CONFIRMED)
        case PaymentValidated(passed=passed):
            payment = replace(payment, is_validated=passed)
            return payment if passed else _by(payment, Trigger.REJECTED)
        case PaymentApproved(approver=approver):
            payment = replace(payment, approvers=payment.approvers | {approver})
            return _by(payment, Trigger.APPROVED) if len(payment.approvers) >= payment.intent.approvals else payment
        case PaymentAttemptStarted():
            begun = Request(
                id=event.request_id,
                operation=Operation(event.operation),
                rail=Rail(event.rail),
                route=event.route,
                amount=event.amount,
                state=State.REQUESTED,
                requested_at=at,
            )
            return _by(_with(payment, begun), Trigger.ATTEMPT)
        case PaymentOperationRequested():
            return _asked(payment, event, at)
        case PaymentActionRequired(action=action):
            return replace(_by(payment, Trigger.ACTION), action=action)
        case PaymentOperationAccepted(request_id=request_id, reference=reference):
            return _now(payment, request_id, State.ACCEPTED, reference=reference)
        case PaymentOutcomeUnknown(request_id=request_id):
            return _now(payment, request_id, State.UNKNOWN)
        case PaymentOperationFailed():
            return _failed(payment, event, at)
        case PaymentOperationDone():
            return _done(payment, event)
        case PaymentAnswerContradicted(request_id=request_id):
            return _with(payment, replace(payment.requests[request_id], contradicted=True))
        case PaymentHurried():
            return replace(payment, hurried=len(payment.requests))
        case PaymentOutcomeResolved():
            return payment
        case PaymentSettled(request_id=request_id):
            request = payment.requests[request_id]
            fee = request.fee + event.fee
            return _with(payment, replace(request, settlement_id=event.settlement_id, settled_on=event.day, fee=fee))
        case PaymentReturned():
            return _returned(payment, event)
        case PaymentDisputed(request_id=request_id, amount=amount):
            payment = _taken_back(payment, request_id, amount)
            disputes = {**payment.disputes, event.dispute_id: dispute.opened(event)}
            return replace(payment, disputed=payment.disputed + amount, disputes=disputes)
        case PaymentDisputeClosed():
            return _closed(payment, event)
        case PaymentFailed():
            return _by(payment, Trigger.FAILED)
        case PaymentCanceled():
            return _by(payment, Trigger.CANCELED)
        case PaymentExpired():
            return _by(payment, Trigger.EXPIRED)
        case _:
            raise AssertionError(event)


def _by(payment: Payment, trigger: Trigger) -> Payment:
    return replace(payment, status=TRANSITIONS[payment.status, trigger], action={})


def _with(payment: Payment, request: Request) -> Payment:
    return replace(payment, requests={**payment.requests, request.id: request})


def _now(payment: Payment, request_id: str, state: State, **changed: Any) -> Payment:
    return _with(payment, replace(payment.requests[request_id], state=state, **changed))


def _asked(payment: Payment, event: PaymentOperationRequested, at: datetime) -> Payment:
    upon, operation = payment.requests[event.upon], Operation(event.operation)
    if operation in GIVES_BACK:
        payment = _taken_back(payment, upon.id, event.amount)
    asked = Request(
        id=event.request_id,
        operation=operation,
        rail=upon.rail,
        route=upon.route,
        amount=event.amount,
        state=State.REQUESTED,
        requested_at=at,
        upon=event.upon,
        final=event.final,
        reason=event.reason,
        dispute_id=event.dispute_id,
        evidence=event.evidence,
    )
    if operation is Operation.VOID:
        # Whoever cancels may give that reason too, before the time has come.
        payment = replace(payment, expiring=event.reason == EXPIRY and is_due(payment, at))
    return _with(payment, asked)


def _failed(payment: Payment, event: PaymentOperationFailed, at: datetime) -> Payment:
    request = payment.requests[event.request_id]
    payment = _now(payment, request.id, State.FAILED, declined=event.reason, retry=event.retry, answered_at=at)
    match request.operation:
        case Operation.AUTHORIZE | Operation.COLLECT | Operation.PAYOUT:
            return _by(payment, Trigger.FAILED if event.retry == Retry.NEVER else Trigger.ATTEMPT_FAILED)
        case Operation.REFUND | Operation.REVERSE:
            return _taken_back(payment, request.upon, -request.amount)
        case Operation.VOID:
            return replace(payment, expiring=False)
        case _:
            return payment


def _done(payment: Payment, event: PaymentOperationDone) -> Payment:
    request = payment.requests[event.request_id]
    payment = _now(
        payment, request.id, State.DONE, reference=event.reference, hold_id=event.hold_id, entry_id=event.entry_id
    )
    match request.operation:
        case Operation.AUTHORIZE:
            return _by(replace(payment, authorized=request.amount), Trigger.AUTHORIZED)
        case Operation.INCREMENT:
            return replace(payment, authorized=payment.authorized + request.amount)
        case Operation.CAPTURE:
            payment = replace(payment, captured=payment.captured + request.amount)
            if payment.captured == payment.authorized:
                return _by(payment, Trigger.CAPTURED_WHOLE)
            return _by(payment, Trigger.CAPTURE_ENDED if request.final else Trigger.CAPTURED_PART)
        case Operation.VOID:
            if payment.captured:
                return _by(payment, Trigger.CAPTURE_ENDED)
            return _by(payment, Trigger.EXPIRED if payment.expiring else Trigger.VOIDED)
        case Operation.COLLECT | Operation.PAYOUT:
            captured = request.amount if request.operation is Operation.COLLECT else 0
            return _by(replace(payment, captured=captured), Trigger.DONE)
        case Operation.REFUND:
            return replace(payment, refunded=payment.refunded + request.amount)
        case Operation.REVERSE:
            return replace(payment, reversed=payment.reversed + request.amount)
        case Operation.CONTEST:
            assert request.dispute_id is not None, request
            return _in_state(payment, request.dispute_id, dispute.State.UNDER_REVIEW, (dispute.State.NEEDS_RESPONSE,))


GIVES_BACK: Final = frozenset({Operation.REFUND, Operation.REVERSE})
"""What is asked to be given back of something done."""


def _taken_back(payment: Payment, request_id: str, amount: int) -> Payment:
    request = payment.requests[request_id]
    return _with(payment, replace(request, taken_back=request.taken_back + amount))


def _returned(payment: Payment, event: PaymentReturned) -> Payment:
    """What gave back, and has come back itself, has given that much less back."""
    request, amount = payment.requests[event.request_id], event.amount
    returns = request.returns | {event.reference}
    request = replace(request, returned=request.returned + amount, returns=returns, fee=request.fee + event.fee)
    payment = _with(payment, request)
    match request.operation:
        case Operation.REFUND:
            return _taken_back(replace(payment, refunded=payment.refunded - amount), request.upon, -amount)
        case Operation.REVERSE:
            return _taken_back(replace(payment, reversed=payment.reversed - amount), request.upon, -amount)
        case _:
            return _taken_back(replace(payment, returned=payment.returned + amount), request.id, amount)


def _closed(payment: Payment, event: PaymentDisputeClosed) -> Payment:
    payment = _in_state(payment, event.dispute_id, dispute.State(event.outcome))
    if event.outcome != dispute.State.WON:
        return payment
    return _taken_back(replace(payment, disputed=payment.disputed - event.amount), event.request_id, -event.amount)


def _in_state(
    payment: Payment, dispute_id: UUID, state: dispute.State, only_of: Iterable[dispute.State] = dispute.State
) -> Payment:
    known = payment.disputes[dispute_id]
    if known.state not in only_of:
        return payment
    return replace(payment, disputes={**payment.disputes, dispute_id: replace(known, state=state)})
