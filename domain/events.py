"""What happened. Each event has a stored name, `noun.verb_phrase.vN`, given by hand and never reused.

A new optional field keeps the version; any other change is a new version and a step in `upcasts.py`. An event of a
name or with a field that this code does not know was written by a newer Daybook and is refused, never half read.
"""

from datetime import date, datetime
from typing import Any, ClassVar, Final
from uuid import UUID

import msgspec
from msgspec import Struct

from domain.errors import EventMalformed, EventTooNew
from domain.policy import Policy
from domain.posting import Line, Posting, held, posted, released, sums
from domain.rail import Method
from domain.upcasts import UPCASTS


class Event(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A fact, as it is stored. `name` is the stored name."""

    name: ClassVar[str]


class BookOpened(Event, frozen=True, kw_only=True):
    """A book: accounts and entries that belong together and never mix with another book's."""

    name: ClassVar[str] = "book.opened.v1"
    code: str
    title: str = ""
    metadata: dict[str, str] = {}


class BookPaymentPolicySet(Event, frozen=True, kw_only=True):
    """From here on the book's payments are decided by this policy, which replaces the one before whole."""

    name: ClassVar[str] = "book.payment_policy_set.v1"
    policy: Policy


class AccountOpened(Event, frozen=True, kw_only=True):
    """An account of one currency. Limits are in minor units, on the account's normal side; None is no limit."""

    name: ClassVar[str] = "account.opened.v1"
    book_id: UUID
    code: str
    type: str
    currency: str
    overdraft_limit: int | None
    floor: int | None = None
    ceiling: int | None = None
    title: str = ""
    opened_on: date
    metadata: dict[str, str] = {}


class AccountFrozen(Event, frozen=True, kw_only=True):
    """Nothing is posted to the account until it is unfrozen."""

    name: ClassVar[str] = "account.frozen.v1"
    reason: str = ""


class AccountUnfrozen(Event, frozen=True, kw_only=True):
    """The account takes postings again."""

    name: ClassVar[str] = "account.unfrozen.v1"
    reason: str = ""


class AccountClosed(Event, frozen=True, kw_only=True):
    """The account, empty, takes no posting ever again."""

    name: ClassVar[str] = "account.closed.v1"
    reason: str = ""


class EntryPosted(Event, frozen=True, kw_only=True):
    """A whole journal entry: half of one cannot be stored, nor one that does not balance.

    Raises:
        ValueError: There are no postings, an amount is not positive, or debits and credits differ in a currency.
    """

    name: ClassVar[str] = "journal_entry.posted.v1"
    book_id: UUID
    value_date: date
    postings: tuple[Posting, ...]
    description: str = ""
    reference: str = ""
    metadata: dict[str, str] = {}
    reverses: UUID | None = None
    captures: UUID | None = None
    """The hold it was captured from."""
    recipe: dict[str, Any] | None = None
    """What the client asked for, where the postings were worked out here: a split or a conversion, with its rate."""

    def __post_init__(self) -> None:
        _must_balance(self.postings)


def _must_balance(postings: tuple[Posting, ...]) -> None:
    if not postings or min([posting.amount for posting in postings]) < 1:
        raise ValueError("there are postings, each of a positive amount")
    for debits, credits in sums(postings).values():
        if debits != credits:
            raise ValueError("debits and credits differ")


class EntryReversed(Event, frozen=True, kw_only=True):
    """The entry was undone by a mirror entry."""

    name: ClassVar[str] = "journal_entry.reversed.v1"
    book_id: UUID
    reversed_by: UUID


class AccountLimitsChanged(Event, frozen=True, kw_only=True):
    """From `effective_at` on, all three limits are these; None is no limit."""

    name: ClassVar[str] = "account.limits_changed.v1"
    overdraft_limit: int | None
    floor: int | None
    ceiling: int | None
    effective_at: datetime
    reason: str = ""


class HoldPlaced(Event, frozen=True, kw_only=True):
    """Funds set aside on the first posting's account for the second's: the available balance falls, the ledger's not.

    Raises:
        ValueError: The postings are not two of a positive amount that balance.
    """

    name: ClassVar[str] = "hold.placed.v1"
    book_id: UUID
    postings: tuple[Posting, Posting]
    expires_at: datetime | None = None
    description: str = ""
    reference: str = ""
    metadata: dict[str, str] = {}
    payment_id: UUID | None = None
    """The payment it belongs to."""

    def __post_init__(self) -> None:
        _must_balance(self.postings)


class HoldIncreased(Event, frozen=True, kw_only=True):
    """That much more is set aside."""

    name: ClassVar[str] = "hold.increased.v1"
    book_id: UUID
    postings: tuple[Posting, Posting]

    def __post_init__(self) -> None:
        _must_balance(self.postings)


class HoldCaptured(Event, frozen=True, kw_only=True):
    """`amount` of the hold, in minor units, became the entry; `released` is no longer set aside.

    That is the amount, and with a final capture all the rest.
    """

    name: ClassVar[str] = "hold.captured.v1"
    book_id: UUID
    entry_id: UUID
    amount: int
    released: tuple[Posting, Posting]
    final: bool

    def __post_init__(self) -> None:
        _must_balance(self.released)


class HoldVoided(Event, frozen=True, kw_only=True):
    """What was left of the hold was given up."""

    name: ClassVar[str] = "hold.voided.v1"
    book_id: UUID
    released: tuple[Posting, Posting]
    reason: str = ""

    def __post_init__(self) -> None:
        _must_balance(self.released)


class HoldExpired(Event, frozen=True, kw_only=True):
    """The hold's time had come; what was left of it is no longer set aside."""

    name: ClassVar[str] = "hold.expired.v1"
    book_id: UUID
    released: tuple[Posting, Posting]

    def __post_init__(self) -> None:
        _must_balance(self.released)


class PaymentEvent(Event, frozen=True, kw_only=True):
    """One of a payment's own."""


class PaymentIntentCreated(PaymentEvent, frozen=True, kw_only=True):
    """A payment is wanted: `amount`, in minor units, for or from `account_id`.

    `direction` is `in`, from a payer to that account, or `out`, a payout from it. With `capture` `manual` what is
    authorized waits for a capture of its own. `approvals` many others than its makers must approve it, of `approvers`
    if any are named. At `lapses_at` it expires if no rail is to be asked by then; with an `expires_at`, which its
    client chose, there is none.
    """

    name: ClassVar[str] = "payment.intent_created.v1"
    book_id: UUID
    account_id: UUID
    direction: str
    amount: int
    currency: str
    capture: str = "automatic"
    approvals: int = 0
    approvers: tuple[str, ...] = ()
    expires_at: datetime | None = None
    description: str = ""
    reference: str = ""
    descriptor: str = ""
    metadata: dict[str, str] = {}
    lapses_at: datetime | None = None
    validated: bool = False
    """Whether no attempt starts before validators have passed it; those created before there were any were not."""


class PaymentMethodAttached(PaymentEvent, frozen=True, kw_only=True):
    """What it is to be paid with, or to."""

    name: ClassVar[str] = "payment.method_attached.v1"
    method: Method


class PaymentConfirmed(PaymentEvent, frozen=True, kw_only=True):
    """It is to be done; how is settled."""

    name: ClassVar[str] = "payment.confirmed.v1"


class PaymentValidated(PaymentEvent, frozen=True, kw_only=True):
    """What each validator said, and what the rule makes of it and why.

    Each vote: validator, verdict, reason, details it was decided on, and whether the validator is a placeholder.
    """

    name: ClassVar[str] = "payment.validated.v1"
    rule: dict[str, Any]
    votes: list[dict[str, Any]]
    passed: bool
    why: str = ""


class PaymentApproved(PaymentEvent, frozen=True, kw_only=True):
    """One approver's yes. The approver is the event's actor too."""

    name: ClassVar[str] = "payment.approved.v1"
    approver: str


class PaymentAttemptStarted(PaymentEvent, frozen=True, kw_only=True):
    """A rail is about to be asked for the money: the first thing of an attempt, known by its request id for ever.

    `decision` is how the route was chosen.
    """

    name: ClassVar[str] = "payment.attempt_started.v1"
    request_id: str
    operation: str
    rail: str
    route: str
    amount: int
    decision: dict[str, Any] = {}


class PaymentOperationRequested(PaymentEvent, frozen=True, kw_only=True):
    """The attempt's rail is about to be asked for something more, `upon` an earlier request of this payment."""

    name: ClassVar[str] = "payment.operation_requested.v1"
    request_id: str
    operation: str
    upon: str
    amount: int
    final: bool = False
    reason: str = ""
    dispute_id: UUID | None = None
    """The dispute that it answers, with that evidence by name."""
    evidence: dict[str, str] = {}


class PaymentActionRequired(PaymentEvent, frozen=True, kw_only=True):
    """The payer has something to do first: what, and where."""

    name: ClassVar[str] = "payment.action_required.v1"
    request_id: str
    action: dict[str, str]


class PaymentOperationAccepted(PaymentEvent, frozen=True, kw_only=True):
    """The rail has taken it, and will say later whether it was done."""

    name: ClassVar[str] = "payment.operation_accepted.v1"
    request_id: str
    reference: str
    code: str


class PaymentOutcomeUnknown(PaymentEvent, frozen=True, kw_only=True):
    """Nobody knows whether it was done. Nothing more is asked of any rail until that is known."""

    name: ClassVar[str] = "payment.outcome_unknown.v1"
    request_id: str
    why: str


class PaymentOperationFailed(PaymentEvent, frozen=True, kw_only=True):
    """It was not done, and will not be. `code` is the rail's own, `reason` ours; `retry`: never, later or elsewhere."""

    name: ClassVar[str] = "payment.operation_failed.v1"
    request_id: str
    operation: str
    code: str
    reason: str
    message: str
    retry: str


class PaymentHurried(PaymentEvent, frozen=True, kw_only=True):
    """The next attempt is not waited for any longer."""

    name: ClassVar[str] = "payment.hurried.v1"


class PaymentFailed(PaymentEvent, frozen=True, kw_only=True):
    """No further attempt is made with this method."""

    name: ClassVar[str] = "payment.failed.v1"
    reason: str


class PaymentAnswerContradicted(PaymentEvent, frozen=True, kw_only=True):
    """The rail has said the opposite of what it had said, which was `known`. Somebody has to look into it."""

    name: ClassVar[str] = "payment.answer_contradicted.v1"
    request_id: str
    known: str
    said: dict[str, Any]


class PaymentOperationDone(PaymentEvent, frozen=True, kw_only=True):
    """The rail did it. `hold_id` or `entry_id` is what became of it in the ledger, in the same commit."""

    name: ClassVar[str] = "payment.operation_done.v1"
    request_id: str
    operation: str
    amount: int
    reference: str
    code: str
    authorization: str = ""
    settles_on: str = ""
    hold_id: UUID | None = None
    entry_id: UUID | None = None


class PaymentCanceled(PaymentEvent, frozen=True, kw_only=True):
    """It is no longer wanted. What was authorized is given up by the rail first."""

    name: ClassVar[str] = "payment.canceled.v1"
    reason: str = ""


class PaymentExpired(PaymentEvent, frozen=True, kw_only=True):
    """Its time had come before it was done."""

    name: ClassVar[str] = "payment.expired.v1"


class PaymentOutcomeResolved(PaymentEvent, frozen=True, kw_only=True):
    """Somebody has found out what became of a request that its rail says nothing of: `done` or `failed`."""

    name: ClassVar[str] = "payment.outcome_resolved.v1"
    request_id: str
    outcome: str
    reason: str


class PaymentSettled(PaymentEvent, frozen=True, kw_only=True):
    """The money of what was done moved between the institutions on that day; the rail kept the fee.

    Amounts in minor units; a fee below zero was given back.
    """

    name: ClassVar[str] = "payment.settled.v1"
    settlement_id: UUID
    request_id: str
    operation: str
    amount: int
    fee: int = 0
    day: date
    reference: str = ""


class PaymentReturned(PaymentEvent, frozen=True, kw_only=True):
    """What was done was undone by the rail, in part or whole. `code` is the rail's own, `reason` ours."""

    name: ClassVar[str] = "payment.returned.v1"
    settlement_id: UUID
    request_id: str
    operation: str
    amount: int
    fee: int = 0
    reference: str = ""
    code: str = ""
    reason: str = ""
    message: str = ""
    entry_id: UUID | None = None


class PaymentDisputed(PaymentEvent, frozen=True, kw_only=True):
    """The payer disputes what was taken, and the rail has taken that much back until it is closed.

    It can be answered until `respond_by`.
    """

    name: ClassVar[str] = "payment.disputed.v1"
    dispute_id: UUID
    settlement_id: UUID
    request_id: str
    amount: int
    fee: int = 0
    reference: str
    code: str = ""
    reason: str = ""
    message: str = ""
    respond_by: datetime | None = None
    entry_id: UUID | None = None


class PaymentDisputeClosed(PaymentEvent, frozen=True, kw_only=True):
    """The dispute ended: `won`, and the rail has given back what it took; `lost`; or `accepted`, not contested."""

    name: ClassVar[str] = "payment.dispute_closed.v1"
    dispute_id: UUID
    request_id: str
    outcome: str
    amount: int
    fee: int = 0
    settlement_id: UUID | None = None
    """Where the rail said so."""
    entry_id: UUID | None = None


class Break(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A line of a rail's report that fits nothing, as the rail says it, and why it does not.

    `moved` is what came in by it, below zero what went out, in minor units: it is booked on suspense.
    """

    why: str
    said: str
    payment_id: UUID | None = None
    request_id: str
    operation: str
    amount: int
    moved: int
    fee: int = 0
    reference: str = ""
    code: str = ""
    reason: str = ""
    message: str = ""
    respond_by: datetime | None = None


class SettlementRecorded(Event, frozen=True, kw_only=True):
    """What a rail reports of one route's day in one currency, or a part of that, and the entry of the money that moved.

    `lines` counts those that fit, by what they say; each is an event of its payment, right after this one. Amounts in
    minor units: `incoming` and `outgoing` are those lines' in all, `fees` those of all lines, and `net` is what the
    rail has paid in the end, below zero what it took.
    """

    name: ClassVar[str] = "settlement.recorded.v1"
    book_id: UUID
    rail: str
    route: str
    day: date
    part: int
    currency: str
    reference: str = ""
    lines: dict[str, int] = {}
    incoming: int = 0
    outgoing: int = 0
    fees: int = 0
    net: int = 0
    breaks: tuple[Break, ...] = ()
    entry_id: UUID | None = None


class EscrowCondition(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Something that somebody in `by` has to say is so; with nobody there, anybody but who funded the escrow."""

    name: str
    by: tuple[str, ...] = ()


class EscrowTerms(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """All of the conditions met, and so many approvals given by different approvers."""

    conditions: tuple[str, ...] = ()
    approvals: int = 0
    approvers: tuple[str, ...] = ()


class EscrowPart(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Part of an escrow, in minor units, and on what terms it is released."""

    name: str
    amount: int
    release: EscrowTerms


class EscrowEvent(Event, frozen=True, kw_only=True):
    """One of an escrow's own."""


class EscrowFunded(EscrowEvent, frozen=True, kw_only=True):
    """Money of the depositor was set apart for the beneficiary: the entry is what it did, in the same commit.

    What is left when its time comes goes where `on_expiry` says: `return` to the depositor, `release` to the
    beneficiary. Without terms of its own a return asks for the approvals that a release does.
    """

    name: ClassVar[str] = "escrow.funded.v1"
    book_id: UUID
    depositor_id: UUID
    beneficiary_id: UUID
    amount: int
    currency: str
    expires_at: datetime
    on_expiry: str = "return"
    conditions: tuple[EscrowCondition, ...] = ()
    parts: tuple[EscrowPart, ...]
    return_terms: EscrowTerms | None = None
    entry_id: UUID
    description: str = ""
    reference: str = ""
    metadata: dict[str, str] = {}


class EscrowConditionMet(EscrowEvent, frozen=True, kw_only=True):
    """Somebody who may has said that it is so. The attester is the event's actor too."""

    name: ClassVar[str] = "escrow.condition_met.v1"
    condition: str
    attester: str
    evidence: str = ""


class EscrowReleaseApproved(EscrowEvent, frozen=True, kw_only=True):
    """One approver's yes to the release of a part. The approver is the event's actor too."""

    name: ClassVar[str] = "escrow.release_approved.v1"
    part: str
    approver: str


class EscrowReleased(EscrowEvent, frozen=True, kw_only=True):
    """`amount` of the part, in minor units, went to the beneficiary by the entry; on suspense if it could not."""

    name: ClassVar[str] = "escrow.released.v1"
    part: str
    amount: int
    entry_id: UUID
    suspended: bool = False


class EscrowReleaseRefused(EscrowEvent, frozen=True, kw_only=True):
    """The part is ready, and the beneficiary's account could not take it; `reason` is the refusal's code."""

    name: ClassVar[str] = "escrow.release_refused.v1"
    part: str
    reason: str


class EscrowReturnApproved(EscrowEvent, frozen=True, kw_only=True):
    """One approver's yes to a return: of an amount of a part, of all that is left of it, or of all that is left.

    It takes the place of what the same approver agreed to before.
    """

    name: ClassVar[str] = "escrow.return_approved.v1"
    approver: str
    part: str | None = None
    amount: int | None = None
    reason: str = ""


class EscrowReturned(EscrowEvent, frozen=True, kw_only=True):
    """`amount` of the part, in minor units, went back to the depositor by the entry; on suspense if it could not."""

    name: ClassVar[str] = "escrow.returned.v1"
    part: str
    amount: int
    entry_id: UUID
    suspended: bool = False


class EscrowExpired(EscrowEvent, frozen=True, kw_only=True):
    """Its time had come. What was left goes where it has to, right after this, in the same commit."""

    name: ClassVar[str] = "escrow.expired.v1"


class BatchPosted(Event, frozen=True, kw_only=True):
    """Commands that were asked together; what they did follows right after it, each under its own key."""

    name: ClassVar[str] = "batch.posted.v1"
    book_id: UUID
    """Whose keys the batch's own is one of."""
    mode: str
    commands: int


class CommandRefused(Event, frozen=True, kw_only=True):
    """The kept "no" to a command, on the stream its key names. `scope` is the book or thing it was asked of."""

    name: ClassVar[str] = "command.refused.v1"
    command: str
    scope: UUID
    code: str
    details: dict[str, Any] = {}


class Metadata(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Who asked, and what for. `request_hash` is over the command as understood."""

    actor: str
    request_id: str = ""
    correlation_id: str = ""
    causation_id: str = ""
    idempotency_key: str = ""
    request_hash: str = ""


class RawEvent(Struct, frozen=True):
    """An event as stored: the bytes of `metadata` and `payload` are what was hashed.

    `command_id` names the command of an event that stands on the stream of something else than its key names.
    """

    position: int
    stream_id: UUID
    version: int
    name: str
    recorded_at: datetime
    metadata: bytes
    payload: bytes
    command_id: UUID | None = None


class Recorded(Struct, frozen=True):
    """An event as understood, with its place in the log."""

    position: int
    stream_id: UUID
    version: int
    recorded_at: datetime
    event: Event
    metadata: Metadata
    command_id: UUID | None = None


EVENTS: Final[dict[str, type[Event]]] = {
    cls.name: cls
    for cls in [*Event.__subclasses__(), *PaymentEvent.__subclasses__(), *EscrowEvent.__subclasses__()]
    if cls not in (PaymentEvent, EscrowEvent)
}


def lines(event: Event) -> list[Line]:
    """What the event does to accounts; nothing, for most."""
    match event:
        case EntryPosted(postings=postings):
            return posted(postings)
        case HoldPlaced(postings=postings) | HoldIncreased(postings=postings):
            return held(postings)
        case HoldCaptured(released=given) | HoldVoided(released=given) | HoldExpired(released=given):
            return released(given)
        case _:
            return []


def value_date_of(event: Event, recorded_on: date) -> date:
    """The day the event's lines count for: what is only set aside counts from when that was recorded."""
    return event.value_date if isinstance(event, EntryPosted) else recorded_on


# Without dashes: an entry of two postings is three UUIDs, and they are stored for ever. Both forms are read.
_encode = msgspec.json.Encoder(uuid_format="hex").encode
_decoders = {name: msgspec.json.Decoder(cls) for name, cls in EVENTS.items()}
_metadata = msgspec.json.Decoder(Metadata)


def encode(value: Event | Metadata) -> bytes:
    """The bytes that are stored and hashed."""
    return _encode(value)


def decode(name: str, payload: bytes) -> Event:
    """The event of that stored name, brought up to the newest shape.

    Raises:
        EventTooNew: The name, or a field, is not known here.
        EventMalformed: The bytes are not what the name promises.
    """
    try:
        decoder = _decoders.get(name)
        return decoder.decode(payload) if decoder else _upcast(name, msgspec.json.decode(payload))
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _not_understood(name, error) from error


def _not_understood(what: str, error: Exception) -> EventTooNew | EventMalformed:
    if "unknown field" in str(error):
        return EventTooNew(f"{what} has a field this Daybook does not know: {error}")
    return EventMalformed(f"{what}: {error}")


def _upcast(name: str, shape: dict[str, Any]) -> Event:
    while name not in EVENTS:
        if name not in UPCASTS:
            raise EventTooNew(f"this Daybook does not know events named {name}")
        name, step = UPCASTS[name]
        shape = step(shape)
    return msgspec.convert(shape, EVENTS[name])


def recorded(raw: RawEvent) -> Recorded:
    """A stored event, decoded; raises as `decode` does."""
    try:
        metadata = _metadata.decode(raw.metadata)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _not_understood(f"metadata at {raw.position}", error) from error
    event = decode(raw.name, raw.payload)
    return Recorded(raw.position, raw.stream_id, raw.version, raw.recorded_at, event, metadata, raw.command_id)
