"""What Daybook answers with: the one place where every resource's shape is written down.

The OpenAPI document is made from these, and a test holds real answers against them. Amounts are whole numbers of minor
units of the currency beside them; times are UTC. Reading takes no offence at fields that a newer Daybook adds.
"""

from datetime import date, datetime, time
from typing import Annotated, Any, Generic, Literal, TypeVar

from msgspec import UNSET, Meta, Struct, UnsetType


def _typeid(kind: str) -> Meta:
    return Meta(pattern=f"^{kind}_[0-7][0-9a-hjkmnp-tv-z]{{25}}$")


AccountId = Annotated[str, _typeid("acc")]
BookId = Annotated[str, _typeid("book")]
EntryId = Annotated[str, _typeid("je")]
EscrowId = Annotated[str, _typeid("esc")]
HoldId = Annotated[str, _typeid("hold")]
PaymentId = Annotated[str, _typeid("pay")]
SettlementId = Annotated[str, _typeid("set")]
DisputeId = Annotated[str, _typeid("dp")]
Position = Annotated[int, Meta(ge=0, description="A place in the log.")]
Minor = Annotated[int, Meta(description="In minor units.")]
Currency = Annotated[str, Meta(pattern="^[A-Z]{3}$", description="ISO 4217.")]
Side = Literal["debit", "credit"]
AccountType = Literal["asset", "liability", "equity", "revenue", "expense"]
AccountStatus = Literal["open", "frozen", "closed"]
HoldStatus = Literal["held", "captured", "voided", "expired"]
EscrowStatus = Literal["funded", "partially_released", "released", "returned", "divided", "expired"]
PaymentStatus = Literal[
    "requires_payment_method",
    "requires_confirmation",
    "requires_approval",
    "requires_action",
    "processing",
    "requires_capture",
    "succeeded",
    "partially_captured",
    "canceled",
    "expired",
]
Last4 = Annotated[str, Meta(max_length=4, description="The number's end; the rest is not told.")]


class Resource(Struct, frozen=True, kw_only=True):
    """Of everything that is answered."""


class _Book(Resource, frozen=True, kw_only=True):
    object: Literal["book"]
    id: BookId
    code: str
    title: str
    metadata: dict[str, str]


class OpenedBook(_Book, frozen=True, kw_only=True):
    """A book, as it was opened."""

    recorded_at: datetime
    position: Position


class Book(_Book, frozen=True, kw_only=True):
    """A book: accounts and entries that belong together."""

    opened_at: datetime


class ApprovalTier(Struct, frozen=True, kw_only=True):
    """Above `above` so many must approve, of those named; of none named, anybody who did not make the payment."""

    currency: Currency
    direction: Literal["in", "out"] | None
    above: Minor
    approvals: int
    approvers: list[str]


class PaymentLimit(Struct, frozen=True, kw_only=True):
    """How much one payment may be; null is no limit, or, of direction and method, any."""

    currency: Currency
    direction: Literal["in", "out"] | None
    method: Literal["card", "bank_account", "iban", "upi"] | None
    amount_min: Minor | None
    amount_max: Minor | None


Validator = Literal["approval", "funds", "limits", "mandate", "risk", "sanctions"]


class ValidationRule(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How votes decide: `all`, `at_least` with `count`, or `weighted` with `weights` and `threshold`.

    The no of who is `required` is a veto in any mode, and so is that of approval and funds.
    """

    mode: Literal["all", "at_least", "weighted"]
    required: list[Validator]
    count: int | None = None
    weights: dict[str, int] | None = None
    threshold: int | None = None


class PaymentPolicy(Resource, frozen=True, kw_only=True):
    """The policy for a book's payments; what says when it was set, and by whom, is null where none was ever set."""

    object: Literal["payment_policy"]
    book_id: BookId
    approvals: list[ApprovalTier]
    limits: list[PaymentLimit]
    rule: ValidationRule
    set_at: datetime | None
    set_by: str | None
    version: int | None
    position: Position | None


class Vote(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one validator said. `reason` is a stable code, `details` the values it was decided on.

    `placeholder`: it is not looked at in earnest yet.
    """

    validator: Validator
    verdict: Literal["allow", "deny", "abstain"]
    reason: str
    details: dict[str, Any] = {}
    placeholder: bool = False


class Validation(Resource, frozen=True, kw_only=True):
    """What validators would make of a payment now; `payment` is null of one that is only thought of."""

    object: Literal["validation"]
    payment: PaymentId | None
    rule: ValidationRule
    votes: list[Vote]
    passed: bool
    why: str


class PaymentValidation(Struct, frozen=True, kw_only=True):
    """What validators made of a payment since it was confirmed. One that they did not pass waits for another method."""

    rule: ValidationRule
    votes: list[Vote]
    passed: bool
    why: str
    at: datetime


class LimitsToCome(Struct, frozen=True, kw_only=True):
    """Limits that take effect at a time to come; null is no limit."""

    effective_at: datetime
    overdraft_limit: Minor | None
    floor: Minor | None
    ceiling: Minor | None


class _Account(Resource, frozen=True, kw_only=True):
    object: Literal["account"]
    id: AccountId
    book_id: BookId
    code: str
    type: AccountType
    currency: Currency
    overdraft_limit: Minor | None
    floor: Minor | None
    ceiling: Minor | None
    title: str
    opened_on: date
    metadata: dict[str, str]
    status: AccountStatus
    version: int
    limits_to_come: list[LimitsToCome]


class ChangedAccount(_Account, frozen=True, kw_only=True):
    """An account as a command left it. Limits are on its normal side; null is no limit."""

    normal_side: Side
    position: Position


class BalanceOfAccount(Struct, frozen=True, kw_only=True):
    """An account's balance at `position`, on its normal side."""

    balance: Minor
    available: Minor
    debits: Minor
    credits: Minor
    pending_debits: Minor
    pending_credits: Minor
    position: Position


class Account(_Account, frozen=True, kw_only=True):
    """A ledger account of one currency. Limits are on its normal side; null is no limit.

    `balance` is there with `expand=balance`.
    """

    opened_at: datetime
    balance: BalanceOfAccount | UnsetType = UNSET


class PostingMade(Struct, frozen=True, kw_only=True):
    """One account, one side, one amount."""

    account_id: AccountId
    side: Side
    amount: Minor
    currency: Currency


class AccountOfPosting(Struct, frozen=True, kw_only=True):
    """What does not change of an account, and its status now."""

    id: AccountId
    code: str
    type: AccountType
    currency: Currency
    title: str
    status: AccountStatus
    metadata: dict[str, str]


class EntryPosting(PostingMade, frozen=True, kw_only=True):
    """One account, one side, one amount, of a journal entry; `account` is there with `expand=accounts`."""

    account_code: str
    account: AccountOfPosting | UnsetType = UNSET


class _Entry(Resource, frozen=True, kw_only=True):
    object: Literal["journal_entry"]
    id: EntryId
    book_id: BookId
    value_date: date
    recorded_at: datetime
    position: Position
    description: str
    reference: str
    metadata: dict[str, str]
    reverses: EntryId | None
    captures: HoldId | None
    recipe: dict[str, Any] | None


class PostedEntry(_Entry, frozen=True, kw_only=True):
    """A journal entry as it was posted. `recipe` is the split or exchange that its postings were worked out from."""

    postings: list[PostingMade]


class Entry(_Entry, frozen=True, kw_only=True):
    """A journal entry: postings that balance per currency, recorded together."""

    postings: list[EntryPosting]
    reversed_by: EntryId | None
    actor: str


class EntryOfPosting(Struct, frozen=True, kw_only=True):
    """A journal entry as it was posted."""

    id: EntryId
    value_date: date
    description: str
    reference: str
    metadata: dict[str, str]
    postings: list[PostingMade]


class Posting(Resource, frozen=True, kw_only=True):
    """A posting to an account; `balance` and `available` are the account's after it, on its normal side.

    A `pending` one is a hold's, its amount below zero where something is no longer set aside. `entry` is there with
    `expand=entry`; null for a hold's.
    """

    object: Literal["posting"]
    account_id: AccountId
    number: int
    side: Side
    amount: Minor
    currency: Currency
    balance: Minor
    available: Minor
    pending: bool
    value_date: date
    entry_id: EntryId | None
    hold_id: HoldId | None
    description: str
    recorded_at: datetime
    position: Position
    entry: EntryOfPosting | UnsetType | None = UNSET


class Balance(Resource, frozen=True, kw_only=True):
    """An account's balance at `position`: posted, and available, which is that less what is held; normal side."""

    object: Literal["balance"]
    account_id: AccountId
    code: str
    type: AccountType
    currency: Currency
    balance: Minor
    available: Minor
    debits: Minor
    credits: Minor
    pending_debits: Minor
    pending_credits: Minor
    position: Position


class _Hold(Resource, frozen=True, kw_only=True):
    object: Literal["hold"]
    id: HoldId
    book_id: BookId
    account_id: AccountId
    destination_id: AccountId
    status: HoldStatus
    amount: Minor
    captured: Minor
    remaining: Minor
    currency: Currency
    expires_at: datetime | None
    description: str
    reference: str
    metadata: dict[str, str]
    version: int
    position: Position


class ChangedHold(_Hold, frozen=True, kw_only=True):
    """Funds set aside on `account_id` for `destination_id`, as a command left them."""


class Hold(_Hold, frozen=True, kw_only=True):
    """Funds set aside on `account_id` for `destination_id`; `position` is that of the last change."""

    account_code: str
    destination_code: str
    actor: str
    recorded_at: datetime


class EscrowCondition(Struct, frozen=True, kw_only=True):
    """What one of `by` has to say is so, and who has; with nobody there, anybody but who funded the escrow may."""

    name: str
    by: list[str]
    met_by: str | None


class ReturnTerms(Struct, frozen=True, kw_only=True):
    """So many of these have to agree to a return."""

    approvals: int
    approvers: list[str]


class ReturnAgreed(Struct, frozen=True, kw_only=True):
    """What an approver has agreed to have returned; all that is left, of that part or at all, where there is null."""

    approver: str
    part: str | None
    amount: Minor | None


class EscrowPartWaitsFor(Struct, frozen=True, kw_only=True):
    """The conditions that are not met, how many approvals are not given, and who may give them."""

    conditions: list[str]
    approvals: int
    approvers: list[str]


class EscrowPartMade(Struct, frozen=True, kw_only=True):
    """A part of an escrow and what it waits for. Of one that is ready `blocked` is why it was not released at once."""

    name: str
    amount: Minor
    released: Minor
    returned: Minor
    status: Literal["waiting", "ready", "released", "returned", "divided"]
    conditions: list[str]
    approvals: int
    approvers: list[str]
    approved_by: list[str]
    blocked: str | None


class EscrowPart(EscrowPartMade, frozen=True, kw_only=True):
    """A part of an escrow; `waits_for` is null of one that is ready or over."""

    waits_for: EscrowPartWaitsFor | None


class _Escrow(Resource, frozen=True, kw_only=True):
    object: Literal["escrow"]
    id: EscrowId
    book_id: BookId
    depositor_id: AccountId
    beneficiary_id: AccountId
    status: EscrowStatus
    amount: Minor
    released: Minor
    returned: Minor
    held: Minor
    currency: Currency
    expires_at: datetime
    on_expiry: Literal["return", "release"]
    conditions: list[EscrowCondition]
    return_terms: ReturnTerms | None
    returns: list[ReturnAgreed]
    maker: str
    description: str
    reference: str
    metadata: dict[str, str]
    version: int
    position: Position


class ChangedEscrow(_Escrow, frozen=True, kw_only=True):
    """Money of `depositor_id` set apart for `beneficiary_id`, as a command left it; `maker` is who funded it."""

    parts: list[EscrowPartMade]


class Escrow(_Escrow, frozen=True, kw_only=True):
    """Money of `depositor_id` set apart for `beneficiary_id`; `position` is that of the last change.

    `suspended` is how much of what was released or returned at the end no account could take, and is on suspense.
    """

    depositor_code: str
    beneficiary_code: str
    suspended: Minor
    parts: list[EscrowPart]
    created_at: datetime
    changed_at: datetime


class CardMethod(Struct, frozen=True, kw_only=True, tag="card", tag_field="type"):
    """A card, known by its token; it expires with that month."""

    token: str
    brand: str
    last4: Last4
    expires: str


class BankAccountMethod(Struct, frozen=True, kw_only=True, tag="bank_account", tag_field="type"):
    """An account at a bank of the United States."""

    routing_number: str
    last4: Last4
    holder: str
    savings: bool
    company: bool


class IbanMethod(Struct, frozen=True, kw_only=True, tag="iban", tag_field="type"):
    """An account at a bank that takes ISO 20022 messages."""

    bic: str
    last4: Last4
    holder: str
    country: str


class UpiMethod(Struct, frozen=True, kw_only=True, tag="upi", tag_field="type"):
    """A virtual payment address; `flow` is how the payer is asked."""

    vpa: str
    holder: str
    flow: Literal["collect", "intent", "qr"]


class _PaymentRequest(Struct, frozen=True, kw_only=True):
    id: str
    operation: Literal["authorize", "increment", "capture", "void", "collect", "refund", "payout", "reverse", "contest"]
    rail: Literal["card", "ach", "wire", "upi"]
    route: str
    amount: Minor
    state: Literal["requested", "unknown", "accepted", "done", "failed"]
    reference: str
    upon: str | None
    reason: str
    settlement_id: SettlementId | None
    settled_on: date | None
    returned: Minor
    fee: Minor
    dispute_id: DisputeId | None


class PaymentRequestMade(_PaymentRequest, frozen=True, kw_only=True):
    """One operation that a rail was, or is about to be, asked, by the id the rail knows it by.

    `reference` is the rail's own, once it has given one; `upon` the id of the request that it is upon. `settled_on` is
    when its money moved between the institutions, `returned` what came back of it by itself since, and `fee` what the
    rail kept for both.
    """


class PaymentRequest(_PaymentRequest, frozen=True, kw_only=True):
    """One operation that a rail was, or is about to be, asked, and what became of it.

    `reason` is why it was asked, `declined` why it was not done and `code` the rail's own word for either; `retry` what
    may be done after a no. `contradicted`: the rail has said the opposite since. `decision`: of an attempt, how its
    route was chosen. `settles_on`: the day the money moves, where the rail says it.
    """

    final: bool
    code: str
    declined: str
    retry: Literal["", "never", "later", "elsewhere"]
    settles_on: str
    contradicted: bool
    hold_id: HoldId | None
    entry_id: EntryId | None
    requested_at: datetime
    answered_at: datetime | None
    position: Position
    decision: dict[str, Any] | None


class Operation(PaymentRequest, frozen=True, kw_only=True):
    """One operation with whose payment it is of; `since` it is in its state, `until` when its payer may act."""

    object: Literal["operation"]
    payment_id: PaymentId
    book_id: BookId
    account_id: AccountId
    account_code: str
    currency: Currency
    since: datetime
    until: datetime | None


DisputeState = Literal["needs_response", "under_review", "won", "lost", "accepted"]


class DisputeMade(Struct, frozen=True, kw_only=True):
    """A dispute over what was taken by the request of that id. It can be contested until `respond_by`."""

    id: DisputeId
    request_id: str
    state: DisputeState
    amount: Minor
    reference: str
    respond_by: datetime | None


class _Dispute(Resource, frozen=True, kw_only=True):
    """`code` and `message` are the rail's own, `reason` ours of all rails, and `fee` what it kept for it.

    By `entry_id` the rail took the amount back; by `closing_entry_id` it gave it back, if the dispute was won.
    """

    id: DisputeId
    request_id: str
    state: DisputeState
    amount: Minor
    fee: Minor
    reference: str
    code: str
    reason: str
    message: str
    respond_by: datetime | None
    settlement_id: SettlementId
    entry_id: EntryId | None
    closing_entry_id: EntryId | None
    disputed_at: datetime


class PaymentDispute(_Dispute, frozen=True, kw_only=True):
    """A dispute over a payment: the payer says that something taken should not have been.

    `needs_response` until it is contested or accepted; `under_review` once the rail has the evidence. How it ends the
    rail alone says.
    """


class Dispute(_Dispute, frozen=True, kw_only=True):
    """A dispute, with whose payment it is upon; `position` is that of the last change."""

    object: Literal["dispute"]
    payment_id: PaymentId
    book_id: BookId
    account_id: AccountId
    account_code: str
    rail: Literal["card", "ach", "wire", "upi"]
    route: str
    currency: Currency
    changed_at: datetime
    position: Position


class SettlementBreak(Struct, frozen=True, kw_only=True):
    """A line of a rail's report that fits nothing, as the rail says it, and why it does not.

    `moved` is what came in by it, below zero what went out: it is booked on suspense.
    """

    why: str
    said: Literal["settled", "returned", "disputed", "dispute_won", "dispute_lost"]
    payment_id: PaymentId | None
    request_id: str
    operation: str
    amount: Minor
    moved: Minor
    fee: Minor
    reference: str
    code: str
    reason: str
    message: str
    respond_by: datetime | None


class Settlement(Resource, frozen=True, kw_only=True):
    """What a rail reports of one route's day in one currency, or a part of that.

    `lines` counts those that fit, by what they say; `incoming` and `outgoing` is what moved by them. `fees` are those
    of all lines. `net` is what the rail has paid in the end, below zero what it took.
    """

    object: Literal["settlement"]
    id: SettlementId
    book_id: BookId
    rail: Literal["card", "ach", "wire", "upi"]
    route: str
    day: date
    part: int
    currency: Currency
    reference: str
    lines: dict[str, int]
    incoming: Minor
    outgoing: Minor
    fees: Minor
    net: Minor
    breaks: list[SettlementBreak]
    entry_id: EntryId | None
    actor: str
    recorded_at: datetime
    position: Position


class WaitsFor(Struct, frozen=True, kw_only=True):
    """Who has the next step, which one (a rail: its operation, in which `state`), since when, and until when.

    Of one payment read by itself, `why` says why Daybook rests before it takes the next one, as over a cut-off.
    """

    whom: Literal["client", "approver", "payer", "rail", "daybook"]
    what: str
    state: Literal["requested", "unknown", "accepted"] | None
    since: datetime
    until: datetime | None
    why: str


class _Payment(Resource, frozen=True, kw_only=True):
    object: Literal["payment"]
    id: PaymentId
    book_id: BookId
    account_id: AccountId
    direction: Literal["in", "out"]
    status: PaymentStatus
    action: dict[str, str] | None
    amount: Minor
    currency: Currency
    authorized: Minor
    captured: Minor
    refunded: Minor
    reversed: Minor
    returned: Minor
    disputed: Minor
    capture: Literal["automatic", "manual"]
    method: CardMethod | BankAccountMethod | IbanMethod | UpiMethod | None
    approvals_required: int
    approvals_given: int
    approvers: list[str]
    expires_at: datetime | None
    lapses_at: datetime | None
    description: str
    reference: str
    descriptor: str
    metadata: dict[str, str]
    version: int
    position: Position


class ChangedPayment(_Payment, frozen=True, kw_only=True):
    """A payment for `account_id`, or, a payout, from it, as a command left it.

    `authorized` is what a rail promised, `captured` what was claimed of it or collected. `refunded` went back of it;
    `reversed` was undone, `returned` taken back by the rail itself, `disputed` is what it keeps for disputes.
    `lapses_at`: when it expires if nobody has had it done by then. `action`: what its payer has to do first, by `type`.
    """

    requests: list[PaymentRequestMade]
    disputes: list[DisputeMade]


class CreatedPayment(ChangedPayment, frozen=True, kw_only=True):
    """A payment as it was created, with the secret by which its payer may see and pay it; null of a payout."""

    client_secret: str | None


class Checkout(Resource, frozen=True, kw_only=True):
    """A payment as its payer may see it; `declined` is why the last attempt was, in a word."""

    object: Literal["checkout"]
    id: PaymentId
    status: PaymentStatus
    amount: Minor
    currency: Currency
    description: str
    action: dict[str, str] | None
    declined: str
    expires_at: datetime | None


class Payment(_Payment, frozen=True, kw_only=True):
    """A payment for `account_id`, or, a payout, from it; `position` is that of the last change.

    `authorized` is what a rail promised, `captured` what was claimed of it or collected. `refunded` went back of it;
    `reversed` was undone, `returned` taken back by the rail itself, `disputed` is what it keeps for disputes.
    `lapses_at`: when it expires if nobody has had it done by then. `action`: what its payer has to do first, by `type`.
    `approvers` are who may approve it; of none named, anybody who did not make it. `validation` is null until
    validators were asked. `waits_for` is null of one that is over. `contradicted`: of one of its requests a rail has
    said the opposite of what it had said.
    """

    account_code: str
    requests: list[PaymentRequest]
    disputes: list[PaymentDispute]
    waits_for: WaitsFor | None
    rail: Literal["card", "ach", "wire", "upi"] | None
    route: str | None
    declined: str
    contradicted: bool
    validation: PaymentValidation | None
    maker: str
    created_at: datetime
    changed_at: datetime


class KeptRefusal(Struct, frozen=True, kw_only=True):
    """Why a command was refused."""

    command: str
    code: str
    details: dict[str, Any]


class AuditRecord(Resource, frozen=True, kw_only=True):
    """One event or refused command. `subject` is the id of what it happened to, or was to happen to."""

    object: Literal["audit_record"]
    position: Position
    recorded_at: datetime
    event: str
    subject: str
    book_id: BookId | None
    actor: str
    request_id: str | None
    correlation_id: str | None
    causation_id: str | None
    idempotency_key: str | None
    refusal: KeptRefusal | None


class Valued(Struct, frozen=True, kw_only=True):
    """In one currency, by rates; what the rounded values of the parts miss of the rounded whole is beside it."""

    value: Minor
    rounding_difference: Minor


class Sums(Struct, frozen=True, kw_only=True):
    """Of one currency; `net` is debits less credits."""

    currency: Currency
    debits: Minor
    credits: Minor
    net: Minor


class RollUpNode(Struct, frozen=True, kw_only=True):
    """A node of the tree of codes, or a group; `own` are accounts at it, or below all nodes shown."""

    name: str
    depth: int
    accounts: int
    sums: list[Sums]
    own: list[Sums]
    valued: Valued | None


class _Report(Resource, frozen=True, kw_only=True):
    book_id: BookId
    position: Position
    valued_in: Currency | None
    rates: dict[str, str] | None


class RollUp(_Report, frozen=True, kw_only=True):
    """What accounts add up to at each node."""

    object: Literal["roll_up"]
    by: str
    nodes: list[RollUpNode]


class TrialLine(Struct, frozen=True, kw_only=True):
    """An account, its balance on the side it is on."""

    code: str
    type: AccountType
    currency: Currency
    debits: Minor
    credits: Minor
    debit_balance: Minor
    credit_balance: Minor
    value: Minor | None


class TrialTotal(Struct, frozen=True, kw_only=True):
    """Of one currency; both sides are equal if it is balanced."""

    currency: Currency
    debits: Minor
    credits: Minor
    debit_balance: Minor
    credit_balance: Minor


class TrialBalance(_Report, frozen=True, kw_only=True):
    """Every account that was posted to. Unless it is balanced, the books were tampered with."""

    object: Literal["trial_balance"]
    lines: list[TrialLine]
    totals: list[TrialTotal]
    balanced: bool
    valued: Valued | None


class StatementLine(Struct, frozen=True, kw_only=True):
    """An account, on the normal side of its section."""

    code: str
    currency: Currency
    amount: Minor
    value: Minor | None


class AmountOf(Struct, frozen=True, kw_only=True):
    """An amount of one currency."""

    currency: Currency
    amount: Minor


class StatementResult(Struct, frozen=True, kw_only=True):
    """Revenue less expenses."""

    totals: list[AmountOf]
    valued: Valued | None


class StatementSection(StatementResult, frozen=True, kw_only=True):
    """Accounts of one type, and what they come to."""

    lines: list[StatementLine]


class BalanceSheet(_Report, frozen=True, kw_only=True):
    """Assets = liabilities + equity + result; `differences` are where not, in books tampered with."""

    object: Literal["balance_sheet"]
    before: date | None
    assets: StatementSection
    liabilities: StatementSection
    equity: StatementSection
    result: StatementResult
    balanced: bool
    differences: list[AmountOf]
    rounding_difference: Minor | None


class IncomeStatement(_Report, frozen=True, kw_only=True):
    """Revenue less expenses, of value dates from one day up to another, both inclusive."""

    object: Literal["income_statement"]
    value_date_from: date | None
    value_date_to: date | None
    revenue: StatementSection
    expenses: StatementSection
    result: StatementResult


BreakerState = Literal["closed", "open", "half_open"]


class RouteWindow(Struct, frozen=True, kw_only=True):
    """How the calls of the last half hour went.

    `refused` leaves out declines that are about the payer alone. `latency_ms` is the median; null without a call.
    """

    approved: int
    refused: int
    latency_ms: int | None


class BreakerOverride(Struct, frozen=True, kw_only=True):
    """What an operator decided, who and why; `until` is null where it lasts until it is released."""

    state: Literal["open", "closed"]
    reason: str
    actor: str
    at: datetime
    until: datetime | None


class BreakerTransition(Struct, frozen=True, kw_only=True):
    """`number` counts a breaker's transitions from 1. An override leaves the state by calls as it is."""

    number: int
    at: datetime
    before: BreakerState
    after: BreakerState
    cause: Literal["tripped", "probed", "probe_failed", "recovered", "forced", "released"]
    reason: str


class CircuitBreaker(Resource, frozen=True, kw_only=True):
    """The circuit breaker of a rail, or with `route` of one route of it.

    `state` is what holds, an operator's word before all; `state_by_calls` is what its calls have come to. `since` is
    when that came about, null where there never was another. While that is open or half open, `probe_due_at` is when
    the next probe may go out; null while half open and none is waited for, so that one may go out now. `why` is empty
    while all calls are let through. Of the transitions the last 20 are kept.
    """

    object: Literal["breaker"]
    rail: str
    route: str | None
    state: BreakerState
    state_by_calls: BreakerState
    lets_through: Annotated[Literal["yes", "probe", "no"], Meta(description="`probe`: one call at a time.")]
    why: str
    since: datetime | None
    probe_due_at: datetime | None
    override: BreakerOverride | None
    transitions: list[BreakerTransition]


class RouteTerms(Struct, frozen=True, kw_only=True):
    """What a route takes in one currency, and what it costs: minor units, but `fee_bp`, which is basis points."""

    fee_fixed: int
    fee_bp: int
    amount_min: int
    amount_max: int


Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]


class RouteHours(Struct, frozen=True, kw_only=True):
    """From `opens` on, and no longer at `closes`, local times; on whose `holidays` it does not open."""

    zone: str
    opens: time
    closes: time
    days: list[Weekday]
    holidays: Literal["fed", "target", "none"]


class RouteHealth(Resource, frozen=True, kw_only=True):
    """One way to reach a rail, and how it does.

    `why` and `again_at` say what keeps payments from it, by its hours, its own breaker or its rail's, and until when,
    if that is known. `terms` are by currency; without `countries` it takes all, without `hours` at any time.
    """

    object: Literal["route"]
    name: str
    rail: str
    methods: list[str]
    terms: dict[str, RouteTerms]
    countries: list[str]
    priority: int
    share: int
    takes_payments: bool
    why: str
    again_at: datetime | None
    hours: RouteHours | None
    breaker: CircuitBreaker
    window: RouteWindow


class RouteObstacle(Struct, frozen=True, kw_only=True):
    """One reason why a route cannot be taken, with what was asked and what there is."""

    why: Literal["method", "currency", "amount", "country", "cut_off", "breaker", "tried", "forbidden", "rule"]
    detail: str


class RouteScore(Struct, frozen=True, kw_only=True):
    """In millionths, 0 for the worst of those that can be taken and 1,000,000 for the best; `total`: by the weights."""

    cost: int
    speed: int
    reliability: int
    total: int


class RouteKnown(Struct, frozen=True, kw_only=True):
    """What was known of a route at the time."""

    breakers: Literal["yes", "probe", "no"]
    why: str
    again_at: datetime | None
    closed: str
    approved: int
    refused: int
    latency_ms: int | None


class RouteCandidate(Struct, frozen=True, kw_only=True):
    """A route as it was looked at; `score` is null where there are obstacles, `rate` of approvals in millionths."""

    route: str
    rail: str
    obstacles: list[RouteObstacle]
    fee: int | None
    latency_ms: int
    rate: int
    share: int
    priority: int
    health: RouteKnown
    score: RouteScore | None


class RouteWeights(Struct, frozen=True, kw_only=True):
    """How much each counts in a balanced decision."""

    cost: int
    speed: int
    reliability: int


class RouteRuleWhen(Struct, frozen=True, kw_only=True):
    """What a payment must be for a rule to apply; what is empty asks nothing."""

    amount_min: int | None
    amount_max: int | None
    currencies: list[str]
    countries: list[str]
    methods: list[str]
    metadata: dict[str, str]


class RouteRule(Struct, frozen=True, kw_only=True):
    """The rule that was gone by; `default` where none applied."""

    name: str
    when: RouteRuleWhen
    strategy: Literal["cost", "speed", "reliability", "balanced", "volume"]
    weights: RouteWeights
    only: list[str]
    split: dict[str, int]
    explore_percent: int


class RouteDecision(Resource, frozen=True, kw_only=True):
    """The way a payment would take, with all that the choice rests on; a payment's own is in its requests.

    `chosen` is null where no route can be taken, and `again_at` then is when one may be.
    """

    object: Literal["route_decision"]
    chosen: str | None
    how: Literal["none", "best", "split", "explored"]
    fallbacks: list[str]
    probe: bool
    again_at: datetime | None
    rule: RouteRule
    draw: float
    at: datetime
    candidates: list[RouteCandidate]


class RailHealth(Resource, frozen=True, kw_only=True):
    """A rail that payments go by from this process. It takes payments while any of its routes does."""

    object: Literal["rail"]
    rail: str
    takes_payments: bool
    breaker: CircuitBreaker
    window: RouteWindow
    routes: list[RouteHealth]


class UpiAddress(Resource, frozen=True, kw_only=True):
    """Whose a UPI address is, as its bank says. `account`: `savings`, `current`, or what else the bank calls it."""

    object: Literal["upi_address"]
    address: str
    name: str
    merchant: bool
    account: str


class LogEvent(Resource, frozen=True, kw_only=True):
    """An event of the log. `stream` is the id of what it happened to.

    `payload` is as the catalogue of events has it, with ids as everywhere else.
    """

    object: Literal["event"]
    position: Position
    recorded_at: datetime
    name: str
    stream: str
    version: int
    actor: str
    request_id: str | None
    correlation_id: str | None
    causation_id: str | None
    idempotency_key: str | None
    payload: dict[str, Any]


class PaymentStory(Payment, frozen=True, kw_only=True):
    """A payment with the holds and journal entries it made, and all that happened to it, in order.

    The holds and entries are as of the answer's position or later.
    """

    holds: list[Hold]
    entries: list[Entry]
    timeline: list[LogEvent]


class SettlementStory(Settlement, frozen=True, kw_only=True):
    """A settlement with its journal entry: null where nothing moved."""

    entry: Entry | None


class EscrowStory(Escrow, frozen=True, kw_only=True):
    """An escrow with the journal entries it made, and all that happened to it, in order.

    The entries are as of the answer's position or later.
    """

    entries: list[Entry]
    timeline: list[LogEvent]


class BatchAnswer(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one command of a batch is answered with: the status and body it would have by itself."""

    status: int
    body: dict[str, Any]
    replayed: bool | None = None


class Batch(Resource, frozen=True, kw_only=True):
    """The answers to a batch's commands, in order; `position` is that of the last one that was applied."""

    object: Literal["batch"]
    mode: Literal["atomic", "independent"]
    position: Position
    answers: list[BatchAnswer]


R = TypeVar("R")


class Page(Resource, Generic[R], frozen=True, kw_only=True):
    """A page of a list."""

    object: Literal["list"]
    data: list[R]
    has_more: bool


class Fault(Struct, frozen=True, kw_only=True):
    """A field that is not as it should be. Source: RFC 6901, section 3, for `field`."""

    field: str
    code: str
    message: str


class Problem(Struct, frozen=True, kw_only=True):
    """Why not. Source: RFC 9457.

    `code` is published and never changes. `transient`: whether asking again may help: a refusal that was kept, under a
    new Idempotency-Key; anything else, under the same. Other members are the code's own: see the catalogue of errors.
    """

    type: str
    title: str
    status: int
    code: str
    transient: bool
    request_id: str
    detail: str = ""
    errors: list[Fault] = []


class ErrorInfo(Struct, frozen=True, kw_only=True):
    """An error code. `members` are the problem's own members, by name, with their JSON Schemas."""

    code: str
    status: int
    kind: Literal["refusal", "request", "server"]
    transient: bool
    title: str
    meaning: str
    members: dict[str, Any]


class ErrorCatalogue(Resource, frozen=True, kw_only=True):
    """Every error code that Daybook answers with."""

    object: Literal["error_catalogue"]
    data: list[ErrorInfo]


class EventInfo(Struct, frozen=True, kw_only=True):
    """An event's stored name, what it says, the JSON Schema of its payload, and one as it is stored."""

    name: str
    description: str
    json_schema: dict[str, Any]
    example: dict[str, Any]


class EventCatalogue(Resource, frozen=True, kw_only=True):
    """Every event that Daybook stores."""

    object: Literal["event_catalogue"]
    data: list[EventInfo]


class Liveness(Resource, frozen=True, kw_only=True):
    """The process is up."""

    status: Literal["up"]


class DeskState(Struct, frozen=True, kw_only=True):
    """What takes commands."""

    alive: bool
    queued: int


class DatabaseState(Struct, frozen=True, kw_only=True):
    """`position` is the log's head; null when the database cannot be reached."""

    reachable: bool
    position: int | None


class ReadinessState(Resource, frozen=True, kw_only=True):
    """Whether commands can be decided and kept, and how far the read models are."""

    status: Literal["ready", "degraded", "unavailable"]
    desk: DeskState
    database: DatabaseState
    projectors: list[dict[str, Any]]
    parked: list[dict[str, Any]]
