"""Every "no" Daybook can say. A `Refusal` is a business answer and is kept; the others are about asking and storing.

Codes are published and never change. A refusal's fields are public, in minor units and ids.
"""

from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

import msgspec


@dataclass(eq=False)
class Refusal(Exception):
    """The command was understood and is refused; the answer is kept under its key for ever."""

    code: ClassVar[str]
    transient: ClassVar[bool] = False
    """Whether a new attempt, under a new key, may succeed without anybody changing the request."""

    def details(self) -> dict[str, Any]:
        """The fields as JSON-ready values, as they are stored."""
        return {f.name: msgspec.to_builtins(getattr(self, f.name)) for f in fields(self)}


@dataclass(eq=False)
class BookNotFound(Refusal):
    """No book has that name."""

    code = "book_not_found"
    book_id: UUID


@dataclass(eq=False)
class BookCodeTaken(Refusal):
    """A book with that code exists already."""

    code = "book_code_taken"
    book_id: UUID


@dataclass(eq=False)
class AccountNotFound(Refusal):
    """The book has no such account."""

    code = "account_not_found"
    account_id: UUID


@dataclass(eq=False)
class AccountCodeTaken(Refusal):
    """An account with that code exists already in the book; a code is given once for ever."""

    code = "account_code_taken"
    account_id: UUID


@dataclass(eq=False)
class AccountCodeReserved(Refusal):
    """Accounts whose codes begin `clearing:`, `suspense:`, `settlement:`, `fees:` or `escrow:` are Daybook's own."""

    code = "account_code_reserved"
    account_id: UUID


@dataclass(eq=False)
class AccountHoldsEscrows(Refusal):
    """The account holds what escrows set apart: it is posted to by what happens to them, and never by hand."""

    code = "account_holds_escrows"
    account_id: UUID


@dataclass(eq=False)
class AccountIsFrozen(Refusal):
    """The account is frozen: nothing is posted to it until it is unfrozen."""

    code = "account_frozen"
    transient = True
    account_id: UUID


@dataclass(eq=False)
class AccountIsNotFrozen(Refusal):
    """The account is not frozen, so it cannot be unfrozen."""

    code = "account_not_frozen"
    account_id: UUID


@dataclass(eq=False)
class AccountIsClosed(Refusal):
    """The account is closed, which is for ever."""

    code = "account_closed"
    account_id: UUID


@dataclass(eq=False)
class AccountNotEmpty(Refusal):
    """Only an account with a zero balance and nothing pending can be closed."""

    code = "account_not_empty"
    transient = True
    account_id: UUID
    currency: str
    balance: int
    pending_debits: int
    pending_credits: int


@dataclass(eq=False)
class LimitsContradict(Refusal):
    """The lowest balance the limits allow is above the ceiling."""

    code = "limits_contradict"
    lowest: int
    ceiling: int


@dataclass(eq=False)
class LimitsInPast(Refusal):
    """Limits take effect now or later, not in the past."""

    code = "limits_in_past"
    account_id: UUID
    effective_at: datetime


@dataclass(eq=False)
class CurrencyMismatch(Refusal):
    """The posting is in another currency than its account."""

    code = "currency_mismatch"
    account_id: UUID
    currency: str
    account_currency: str


@dataclass(eq=False)
class EntryUnbalanced(Refusal):
    """Debits and credits differ in a currency."""

    code = "entry_unbalanced"
    currency: str
    debits: int
    credits: int


@dataclass(eq=False)
class InsufficientFunds(Refusal):
    """The available balance does not cover what the entry takes from the account."""

    code = "insufficient_funds"
    transient = True
    account_id: UUID
    currency: str
    requested: int
    available: int
    """What could be taken now: the available balance less the lowest one allowed."""
    limit: str
    """`overdraft_limit` or `floor`: the one that stands in the way."""
    limit_value: int


@dataclass(eq=False)
class CeilingExceeded(Refusal):
    """The entry would lift the account above its ceiling."""

    code = "ceiling_exceeded"
    transient = True
    account_id: UUID
    currency: str
    requested: int
    room: int
    """What could be added now: the ceiling less the balance, incoming holds counted."""
    ceiling: int


@dataclass(eq=False)
class TotalTooLarge(Refusal):
    """The account's total of debits or credits would not fit into 63 bits."""

    code = "total_too_large"
    account_id: UUID


@dataclass(eq=False)
class AmountTooLarge(Refusal):
    """An amount that the command comes to is larger than one posting may be."""

    code = "amount_too_large"
    currency: str
    maximum: int


@dataclass(eq=False)
class EntryNotFound(Refusal):
    """No journal entry has that id."""

    code = "entry_not_found"
    entry_id: UUID


@dataclass(eq=False)
class EntryAlreadyReversed(Refusal):
    """The journal entry was reversed before; an entry is reversed once."""

    code = "entry_already_reversed"
    entry_id: UUID
    reversed_by_entry_id: UUID


@dataclass(eq=False)
class EntryIsReversal(Refusal):
    """A reversal is not reversed; post the entry anew."""

    code = "entry_is_reversal"
    entry_id: UUID


@dataclass(eq=False)
class HoldNotFound(Refusal):
    """No hold has that id."""

    code = "hold_not_found"
    hold_id: UUID


@dataclass(eq=False)
class HoldEnded(Refusal):
    """The hold has ended: it was captured in full or for good, voided, or it expired."""

    code = "hold_ended"
    hold_id: UUID
    ended: str
    """`captured`, `voided` or `expired`."""


@dataclass(eq=False)
class HoldIsExpired(Refusal):
    """The hold's time has come; nothing more is done with it."""

    code = "hold_expired"
    hold_id: UUID
    expires_at: datetime


@dataclass(eq=False)
class HoldIsNotDue(Refusal):
    """The hold's time has not come yet."""

    code = "hold_not_due"
    transient = True
    hold_id: UUID
    expires_at: datetime | None


@dataclass(eq=False)
class HoldExpiresInPast(Refusal):
    """The hold would expire before it begins."""

    code = "hold_expires_in_past"
    expires_at: datetime


@dataclass(eq=False)
class HoldToSameAccount(Refusal):
    """A hold is from one account to another."""

    code = "hold_to_same_account"
    account_id: UUID


@dataclass(eq=False)
class CaptureExceedsHold(Refusal):
    """More is asked for than the hold has left."""

    code = "capture_exceeds_hold"
    hold_id: UUID
    currency: str
    requested: int
    remaining: int


@dataclass(eq=False)
class HoldOfPayment(Refusal):
    """The hold belongs to a payment; it changes with the payment, and not by itself."""

    code = "hold_of_payment"
    hold_id: UUID
    payment_id: UUID


@dataclass(eq=False)
class ConditionFailed(Refusal):
    """A condition that the command set on an account does not hold."""

    code = "condition_failed"
    transient = True
    account_id: UUID
    condition: str
    """`if_available_at_least`, in minor units, or `if_version`."""
    expected: int
    actual: int


@dataclass(eq=False)
class SourcesInsufficient(Refusal):
    """The sources together, each up to its maximum and its limits, do not come to the amount."""

    code = "sources_insufficient"
    transient = True
    currency: str
    requested: int
    available: int


@dataclass(eq=False)
class SourcesDiffer(Refusal):
    """The sources do not all fall on the same side, so they cannot give to the same destinations."""

    code = "sources_differ"
    account_ids: list[UUID]


@dataclass(eq=False)
class SplitImpossible(Refusal):
    """The destinations cannot be given that amount: the fixed amounts exceed it, or something would be left over."""

    code = "split_impossible"
    currency: str
    amount: int
    assigned: int


@dataclass(eq=False)
class ExchangeWithinCurrency(Refusal):
    """An exchange is from one currency to another."""

    code = "exchange_within_currency"
    currency: str


@dataclass(eq=False)
class ConversionTooSmall(Refusal):
    """The amount comes to nothing in the other currency."""

    code = "conversion_too_small"
    currency: str
    amount: int
    rate: str


@dataclass(eq=False)
class PaymentNotFound(Refusal):
    """No payment has that id."""

    code = "payment_not_found"
    payment_id: UUID


@dataclass(eq=False)
class PaymentExpiresInPast(Refusal):
    """The payment would expire before it begins."""

    code = "payment_expires_in_past"
    expires_at: datetime


@dataclass(eq=False)
class PaymentStatusForbids(Refusal):
    """That cannot be done to a payment of this status, or whose time has come."""

    code = "payment_status_forbids"
    payment_id: UUID
    payment_status: str
    operation: str


@dataclass(eq=False)
class PaymentMethodUnfit(Refusal):
    """Money does not move that way by this method's rail."""

    code = "payment_method_unfit"
    payment_id: UUID
    rail: str
    direction: str


@dataclass(eq=False)
class PaymentOutcomeIsUnknown(Refusal):
    """A rail has not said what became of an earlier request; until that is known nothing more is asked of any."""

    code = "payment_outcome_unknown"
    transient = True
    payment_id: UUID


@dataclass(eq=False)
class PaymentBusy(Refusal):
    """A rail is being asked something else for this payment."""

    code = "payment_busy"
    transient = True
    payment_id: UUID
    operation: str


@dataclass(eq=False)
class PaymentAmountExceeded(Refusal):
    """More is asked for than is left of what was authorized, or captured."""

    code = "payment_amount_exceeded"
    payment_id: UUID
    of: str
    """`authorized` or `captured`."""
    requested: int
    left: int


@dataclass(eq=False)
class PaymentApproverIsMaker(Refusal):
    """Whoever created a payment, attached its method or confirmed it does not approve it."""

    code = "payment_approver_is_maker"
    payment_id: UUID
    approver: str


@dataclass(eq=False)
class PaymentApprovalNotWanted(Refusal):
    """That approver has approved the payment before."""

    code = "payment_approval_not_wanted"
    payment_id: UUID
    approver: str


@dataclass(eq=False)
class PaymentApproverNotNamed(Refusal):
    """The policy names others to approve the payment."""

    code = "payment_approver_not_named"
    payment_id: UUID
    approver: str


@dataclass(eq=False)
class PaymentApproversTooFew(Refusal):
    """More approvals are asked for than the policy names approvers for such a payment."""

    code = "payment_approvers_too_few"
    approvals: int
    approvers: int


@dataclass(eq=False)
class PaymentUndecided(Refusal):
    """A validator was not heard whose word the payment depends on; it is asked again."""

    code = "payment_undecided"
    transient = True
    payment_id: UUID
    validators: list[str]


@dataclass(eq=False)
class PaymentNotDue(Refusal):
    """The payment's time has not come yet."""

    code = "payment_not_due"
    transient = True
    payment_id: UUID
    expires_at: datetime | None


@dataclass(eq=False)
class PaymentHasNoSuchRequest(Refusal):
    """The payment has no such request to a rail, or not one that this can be done upon."""

    code = "payment_request_not_found"
    payment_id: UUID
    rail_request_id: str


@dataclass(eq=False)
class OperationNotFound(Refusal):
    """No rail was asked for such a thing under that request id."""

    code = "operation_not_found"
    rail_request_id: str


@dataclass(eq=False)
class PaymentAnswerKnown(Refusal):
    """The rail's answer says nothing that is not known already."""

    code = "payment_answer_known"
    payment_id: UUID
    rail_request_id: str
    state: str


@dataclass(eq=False)
class PaymentOutcomeNotOpen(Refusal):
    """The request's rail has said what became of it, or was not asked yet: there is nothing to resolve."""

    code = "payment_outcome_not_open"
    payment_id: UUID
    rail_request_id: str
    request_state: str


@dataclass(eq=False)
class DisputeNotFound(Refusal):
    """No dispute has that id, or not one of this payment."""

    code = "dispute_not_found"
    dispute_id: UUID


@dataclass(eq=False)
class DisputeStateForbids(Refusal):
    """The dispute has been answered, or is closed."""

    code = "dispute_state_forbids"
    dispute_id: UUID
    dispute_state: str
    operation: str


@dataclass(eq=False)
class DisputeAnswerIsLate(Refusal):
    """The time in which the dispute could be contested is over."""

    code = "dispute_answer_late"
    dispute_id: UUID
    respond_by: datetime


@dataclass(eq=False)
class SettlementNotFound(Refusal):
    """No settlement has that id."""

    code = "settlement_not_found"
    settlement_id: UUID


@dataclass(eq=False)
class SettlementRecordedAlready(Refusal):
    """That part of the route's day was recorded before."""

    code = "settlement_recorded_already"
    settlement_id: UUID


@dataclass(eq=False)
class EscrowNotFound(Refusal):
    """No escrow has that id."""

    code = "escrow_not_found"
    escrow_id: UUID


@dataclass(eq=False)
class EscrowEnded(Refusal):
    """The escrow has ended: all of it was released or returned, or it expired."""

    code = "escrow_ended"
    escrow_id: UUID
    ended: str
    """`released`, `returned`, `divided` or `expired`."""


@dataclass(eq=False)
class EscrowIsExpired(Refusal):
    """The escrow's time has come; what is left of it goes where it was agreed, and nothing more is done with it."""

    code = "escrow_expired"
    escrow_id: UUID
    expires_at: datetime


@dataclass(eq=False)
class EscrowIsNotDue(Refusal):
    """The escrow's time has not come yet."""

    code = "escrow_not_due"
    transient = True
    escrow_id: UUID
    expires_at: datetime


@dataclass(eq=False)
class EscrowExpiresInPast(Refusal):
    """The escrow would expire before it begins."""

    code = "escrow_expires_in_past"
    expires_at: datetime


@dataclass(eq=False)
class EscrowToSameAccount(Refusal):
    """An escrow is from one account for another."""

    code = "escrow_to_same_account"
    account_id: UUID


@dataclass(eq=False)
class EscrowPartNotFound(Refusal):
    """The escrow has no part of that name."""

    code = "escrow_part_not_found"
    escrow_id: UUID
    part: str


@dataclass(eq=False)
class EscrowPartEnded(Refusal):
    """Nothing is left of that part: it was released or returned."""

    code = "escrow_part_ended"
    escrow_id: UUID
    part: str


@dataclass(eq=False)
class EscrowNotReady(Refusal):
    """What is to be released still waits for a condition or an approval."""

    code = "escrow_not_ready"
    transient = True
    escrow_id: UUID
    parts: list[str]


@dataclass(eq=False)
class EscrowAmountExceeded(Refusal):
    """More is asked for than is left of the part."""

    code = "escrow_amount_exceeded"
    escrow_id: UUID
    part: str
    currency: str
    requested: int
    left: int


@dataclass(eq=False)
class EscrowConditionNotFound(Refusal):
    """The escrow has no condition of that name."""

    code = "escrow_condition_not_found"
    escrow_id: UUID
    condition: str


@dataclass(eq=False)
class EscrowConditionIsMet(Refusal):
    """The condition has been met before."""

    code = "escrow_condition_met"
    escrow_id: UUID
    condition: str


@dataclass(eq=False)
class EscrowAttesterUnfit(Refusal):
    """That the condition is met is for others to say."""

    code = "escrow_attester_unfit"
    escrow_id: UUID
    condition: str
    attester: str


@dataclass(eq=False)
class EscrowApproverUnfit(Refusal):
    """That is for others to approve."""

    code = "escrow_approver_unfit"
    escrow_id: UUID
    approver: str


@dataclass(eq=False)
class EscrowApproverIsMaker(Refusal):
    """Whoever funded an escrow does not approve what becomes of it."""

    code = "escrow_approver_is_maker"
    escrow_id: UUID
    approver: str


@dataclass(eq=False)
class EscrowApprovedBefore(Refusal):
    """That approver has approved the same before."""

    code = "escrow_approved_before"
    escrow_id: UUID
    approver: str


@dataclass(eq=False)
class BatchRefused(Refusal):
    """One command of an atomic batch was refused, and so nothing of it was applied."""

    code = "batch_refused"
    index: int
    """Of the command in the batch, from 0."""
    refusal: str
    """Its own code."""
    because: dict[str, Any]
    """Its own fields, as they are stored."""

    @property
    def cause(self) -> Refusal:
        """The refusal of that command."""
        return refusal_from(self.refusal, self.because)


REFUSALS: dict[str, type[Refusal]] = {cls.code: cls for cls in Refusal.__subclasses__()}


def refusal_from(code: str, details: dict[str, Any]) -> Refusal:
    """The refusal as it was first raised, from its stored code and details.

    Raises:
        EventTooNew: A newer Daybook refused it, for a reason or with details that are not known here.
    """
    cls = REFUSALS.get(code)
    if cls is None or details.keys() != {f.name for f in fields(cls)}:
        raise EventTooNew(f"this Daybook does not know refusals {code} with {sorted(details)}")
    return cls(**{f.name: msgspec.convert(details[f.name], f.type) for f in fields(cls)})


class ClientSecretWrong(Exception):
    """The Daybook-Client-Secret is missing, or is not this payment's."""


class KeyInFlight(Exception):
    """A command with this Idempotency-Key is being decided right now."""


class KeyReused(Exception):
    """This Idempotency-Key was used for another request."""


class Overloaded(Exception):
    """The queue is full or the wait was too long; the command was not looked at and its key is unused."""


class Stopping(Exception):
    """The desk is closing; the command was not looked at and its key is unused."""


class Unavailable(Exception):
    """The store or a bank cannot be reached or did not answer in time; nothing was applied and the key is unused."""


class OutcomeUnknown(Exception):
    """The store did not say whether the command was applied; ask again with the same key."""


class HeadMoved(Exception):
    """The log is no longer where the batch was decided: somebody appended without the log's lock."""


class ConflictInStore(Exception):
    """One of the store's unique keys refused the batch; nothing of it was applied."""


class EventTooNew(Exception):
    """A stored event was written by a newer Daybook; this one must not guess at its meaning."""


class EventMalformed(Exception):
    """A stored event does not decode as what its name says."""
