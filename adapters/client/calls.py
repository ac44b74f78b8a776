"""Every route of the API as a function that says what to ask and how to read the answer, and asks nobody.

A client has a method of the same name and arguments for each. Of the arguments, what is left out is left to Daybook.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from functools import cache
from typing import Any, Generic, Literal, NotRequired, TypedDict, TypeVar
from urllib.parse import quote

import msgspec
from msgspec import Struct
from typing_extensions import Unpack

from adapters.client import resources
from adapters.client.errors import ProblemError, problem_from
from adapters.client.resources import (
    Account,
    AccountStatus,
    AccountType,
    AuditRecord,
    Balance,
    BalanceSheet,
    Book,
    ChangedAccount,
    ChangedEscrow,
    ChangedHold,
    ChangedPayment,
    Checkout,
    CircuitBreaker,
    CreatedPayment,
    Dispute,
    DisputeState,
    Entry,
    ErrorCatalogue,
    Escrow,
    EscrowStatus,
    EscrowStory,
    EventCatalogue,
    Hold,
    HoldStatus,
    IncomeStatement,
    LogEvent,
    OpenedBook,
    Operation,
    Page,
    Payment,
    PaymentPolicy,
    PaymentStatus,
    PaymentStory,
    PostedEntry,
    Posting,
    RailHealth,
    ReadinessState,
    Resource,
    RollUp,
    RouteDecision,
    Settlement,
    SettlementStory,
    Side,
    TrialBalance,
    UpiAddress,
    Validation,
    Validator,
)

T = TypeVar("T")


class Call(Struct, Generic[T], frozen=True, kw_only=True):
    """What to ask. `command` is its name in a batch, `arguments` what it is given there."""

    method: Literal["GET", "POST"]
    path: str
    decode: Callable[[bytes], T]
    params: Mapping[str, str] = {}
    body: Mapping[str, Any] | None = None
    key: str | None = None
    command: str = ""
    arguments: Mapping[str, Any] = {}
    headers: Mapping[str, str] = {}
    waits: bool = False
    """Whether it is a read that takes `min_position`."""
    accepts: tuple[int, ...] = ()
    """Statuses that are answers too, although they say that something is wrong."""

    @property
    def is_command(self) -> bool:
        return self.method == "POST"


class Listing(Struct, Generic[T], frozen=True, kw_only=True):
    """A list, page by page. With `ending_before` it runs backwards from there, else forwards."""

    call: Call[Page[T]]
    cursor: Callable[[T], str]

    @property
    def _backwards(self) -> bool:
        return "ending_before" in self.call.params

    def items(self, page: Page[T]) -> Iterable[T]:
        """The page's items in the direction of the reading."""
        return reversed(page.data) if self._backwards else page.data

    def after(self, page: Page[T]) -> "Listing[T] | None":
        """What to ask next, if there is more."""
        if not page.has_more or not page.data:
            return None
        last = page.data[0] if self._backwards else page.data[-1]
        name = "ending_before" if self._backwards else "starting_after"
        params = {**self.call.params, name: self.cursor(last)}
        return Listing(call=msgspec.structs.replace(self.call, params=params), cursor=self.cursor)


class Asking(TypedDict, total=False):
    """Of every command. Without a `key` it gets one of its own, and cannot be asked again by another process.

    `dry_run`: decided and answered as it would be now, and nothing is kept.
    """

    key: str
    dry_run: bool


class Reading(TypedDict, total=False):
    """Of every read. `min_position`: it sees that position of the log at least, such as that of one's own command."""

    consistency: Literal["current", "eventual"]
    min_position: int


class Paging(Reading, total=False):
    """Of every list. `limit`: items in one answer. A cursor is an item's id, or its number or position."""

    limit: int
    starting_after: str | int
    ending_before: str | int


class Moment(Reading, total=False):
    """As it was known at a position of the log, or at a time."""

    position: int
    at: datetime


class ValueDates(TypedDict, total=False):
    """Of days that count, both inclusive."""

    value_date_from: date
    value_date_to: date


class Recorded(TypedDict, total=False):
    """Of times when it was recorded, both inclusive."""

    recorded_at_from: datetime
    recorded_at_to: datetime


class AccountFilter(Paging, total=False):
    """Which accounts. `metadata`: a key and its value. `expand`: each with its `balance`."""

    metadata: tuple[str, str]
    opened_on_from: date
    opened_on_to: date
    expand: Literal["balance"]

    book: str
    code: str
    code_prefix: str
    type: AccountType
    status: AccountStatus
    currency: str


class BalanceFilter(Paging, Moment, total=False):
    """Which balances, and of when."""

    book: str


class PostingFilter(Paging, ValueDates, Recorded, total=False):
    """Which postings of an account. Amounts in minor units, inclusive. `expand`: each with its whole `entry`."""

    side: Side
    amount_min: int
    amount_max: int
    pending: bool
    expand: Literal["entry"]


class EntryFilter(Paging, ValueDates, Recorded, total=False):
    """Which journal entries. What is asked of postings is asked of one and the same. Amounts in minor units.

    `metadata`: a key and its value. `expand`: each posting with its `account`.
    """

    account_code_prefix: str
    side: Side
    amount_min: int
    amount_max: int
    currency: str
    reference: str
    description_prefix: str
    metadata: tuple[str, str]
    actor: str
    kind: Literal["plain", "reversal", "reversed", "capture"]
    expand: Literal["accounts"]

    book: str
    account: str


class HoldFilter(Paging, total=False):
    """Which holds."""

    book: str
    account: str
    status: HoldStatus


class EscrowFilter(Paging, total=False):
    """Which escrows. `expires_before`, `waits_for_condition` and `waits_for_approver` are of open ones."""

    book: str
    depositor: str
    beneficiary: str
    status: EscrowStatus
    reference: str
    expires_before: datetime
    waits_for_condition: str
    waits_for_approver: str


class PaymentFilter(Paging, total=False):
    """Which payments. `request_state`: with a request in that state, which a rail has still to answer.

    `reference` is the client's own, `rail_reference` a rail's; `created_from` and `created_to` are inclusive.
    """

    book: str
    account: str
    status: PaymentStatus
    direction: Literal["in", "out"]
    rail: Literal["card", "ach", "wire", "upi"]
    route: str
    method: Literal["card", "bank_account", "iban", "upi"]
    last4: str
    declined: str
    needs_attention: Literal[True]
    unknown_for_s: int
    request_state: Literal["requested", "unknown", "accepted"]
    contradicted: bool
    reference: str
    rail_reference: str
    maker: str
    currency: str
    amount_min: int
    amount_max: int
    created_from: datetime
    created_to: datetime


class SettlementFilter(Paging, total=False):
    """Which settlements: days are inclusive. `broken`: those with lines that fitted nothing."""

    book: str
    rail: Literal["card", "ach", "wire", "upi"]
    route: str
    currency: str
    day_from: date
    day_to: date
    broken: bool


class OperationFilter(Paging, total=False):
    """Which operations. `declined` is our reason of a no, `reference` the rail's own; times are inclusive."""

    book: str
    account: str
    rail: Literal["card", "ach", "wire", "upi"]
    route: str
    state: Literal["requested", "unknown", "accepted", "done", "failed"]
    declined: str
    reference: str
    created_from: datetime
    created_to: datetime


class DisputeFilter(Paging, total=False):
    """Which disputes. `respond_before`: those that can be answered until before that time."""

    book: str
    account: str
    rail: Literal["card", "ach", "wire", "upi"]
    state: DisputeState
    respond_before: datetime


class AuditFilter(Paging, Recorded, total=False):
    """Which records of the audit trail. `refusal` is the code of one."""

    refusal: str
    command: str
    event: str
    kind: str
    request_id: str
    correlation_id: str
    idempotency_key: str
    position_from: int
    position_to: int

    book: str
    actor: str
    stream: str
    refused: bool


class ReportChoice(Moment, total=False):
    """Of when; and in which currency it is valued, by `rates`: what one whole unit of each currency is worth."""

    rates: Mapping[str, Decimal | str]
    valued_in: str


class DatedReport(ReportChoice, total=False):
    """Only entries with a value date before that day."""

    before: date


class RollUpChoice(DatedReport, total=False):
    """Where to begin in the tree of codes and how deep to go; or `by` `type` or `metadata.<key>`."""

    prefix: str
    depth: int
    by: str


class IncomeChoice(ReportChoice, ValueDates, total=False):
    """Of which value dates, both inclusive."""


class EventChoice(TypedDict, total=False):
    """Which events: of a stored name, or of those that begin with a `kind`; of those that touch an account."""

    book: str
    account: str
    actor: str
    event: str
    kind: str


class EventFilter(Paging, EventChoice, total=False):
    """Which events of the log, as a list."""


class OnAccount(TypedDict):
    """An account by its code or id, and what must be so of it before the entry."""

    account: str
    if_available_at_least: NotRequired[int]
    if_version: NotRequired[int]


class PostingGiven(OnAccount):
    """One account, one side, one amount in minor units."""

    side: Side
    amount: int
    currency: str


class SourceGiven(OnAccount):
    """What gives, up to `maximum` minor units."""

    maximum: NotRequired[int]


class DestinationGiven(OnAccount):
    """What receives: an `amount`, a `share` such as `1/3` or `33.3%`, or what remains."""

    amount: NotRequired[int]
    share: NotRequired[str]


class SplitGiven(TypedDict):
    """An amount from several sources in order to several destinations."""

    amount: int
    currency: str
    sources: Sequence[SourceGiven]
    destinations: Sequence[DestinationGiven]


class EndGiven(OnAccount):
    """One end of an exchange."""

    position_account: str


class ExchangeGiven(TypedDict):
    """`amount` minor units leave the source; the destination receives it at `rate`."""

    source: EndGiven
    destination: EndGiven
    amount: int
    rate: str
    rate_source: NotRequired[str]


class ConditionGiven(TypedDict):
    """What one of `by` has to say is so; with nobody named, anybody but who funded the escrow."""

    name: str
    by: NotRequired[Sequence[str]]


class ReturnTermsGiven(TypedDict):
    """So many of these have to agree."""

    approvals: int
    approvers: Sequence[str]


class ReleaseTermsGiven(TypedDict, total=False):
    """All of these conditions, and so many approvals of these."""

    conditions: Sequence[str]
    approvals: int
    approvers: Sequence[str]


class PartGiven(TypedDict):
    """A part of an escrow, and on what terms it is released. `amount` is in minor units."""

    name: str
    amount: int
    release: ReleaseTermsGiven


class CardGiven(TypedDict):
    """A card, by a token of the vault; `expires` as `2030-12`."""

    type: Literal["card"]
    token: str
    brand: str
    last4: str
    expires: str


class BankAccountGiven(TypedDict):
    """An account at a bank of the United States."""

    type: Literal["bank_account"]
    routing_number: str
    account_number: str
    holder: str
    savings: NotRequired[bool]
    company: NotRequired[bool]


class IbanGiven(TypedDict):
    """An account at a bank that takes ISO 20022 messages."""

    type: Literal["iban"]
    iban: str
    bic: str
    holder: str
    country: str


class UpiGiven(TypedDict):
    """A virtual payment address; `flow` is how the payer is asked: who opens a link or reads a QR code needs none."""

    type: Literal["upi"]
    vpa: NotRequired[str]
    holder: NotRequired[str]
    flow: NotRequired[Literal["collect", "intent", "qr"]]


class LineGiven(TypedDict):
    """A line of a rail's report. `payment_id`: whose the request is, if that is known. Amounts in minor units."""

    said: Literal["settled", "returned", "disputed", "dispute_won", "dispute_lost"]
    payment_id: NotRequired[str | None]
    request_id: str
    operation: Literal["capture", "collect", "refund", "payout", "reverse"]
    amount: int
    fee: NotRequired[int]
    reference: NotRequired[str]
    code: NotRequired[str]
    reason: NotRequired[str]
    message: NotRequired[str]
    respond_by: NotRequired[str]


class TierGiven(TypedDict):
    """Above `above` minor units so many must approve; of no `approvers` named, anybody who did not make the payment."""

    currency: str
    direction: NotRequired[Literal["in", "out"] | None]
    above: int
    approvals: int
    approvers: NotRequired[Sequence[str]]


class LimitGiven(TypedDict):
    """How much one payment may be, in minor units."""

    currency: str
    direction: NotRequired[Literal["in", "out"] | None]
    method: NotRequired[Literal["card", "bank_account", "iban", "upi"] | None]
    amount_min: NotRequired[int | None]
    amount_max: NotRequired[int | None]


class AllGiven(TypedDict):
    """Every validator must allow."""

    mode: Literal["all"]
    required: NotRequired[Sequence[Validator]]


class AtLeastGiven(TypedDict):
    """So many must allow."""

    mode: Literal["at_least"]
    count: int
    required: NotRequired[Sequence[Validator]]


class WeightedGiven(TypedDict):
    """Those who allow must come to the threshold together."""

    mode: Literal["weighted"]
    weights: Mapping[Validator, int]
    threshold: int
    required: NotRequired[Sequence[Validator]]


MethodGiven = CardGiven | BankAccountGiven | IbanGiven | UpiGiven


def debit(account: str, amount: int, currency: str) -> PostingGiven:
    """A posting of that many minor units to the debit side of the account of that code or id."""
    return {"account": account, "side": "debit", "amount": amount, "currency": currency}


def credit(account: str, amount: int, currency: str) -> PostingGiven:
    """A posting of that many minor units to the credit side of the account of that code or id."""
    return {"account": account, "side": "credit", "amount": amount, "currency": currency}


def open_book(
    code: str, *, title: str = "", metadata: Mapping[str, str] | None = None, **asking: Unpack[Asking]
) -> Call[OpenedBook]:
    """Begin a book."""
    body = {"code": code, "title": title, "metadata": metadata}
    return _command("open_book", "/v1/books", OpenedBook, body, asking)


def set_payment_policy(
    book: str,
    *,
    approvals: Sequence[TierGiven] = (),
    limits: Sequence[LimitGiven] = (),
    rule: AllGiven | AtLeastGiven | WeightedGiven | None = None,
    **asking: Unpack[Asking],
) -> Call[PaymentPolicy]:
    """Replace the whole policy for the payments of the book of that code or id."""
    body = {"approvals": list(approvals), "limits": list(limits), "rule": rule}
    path = f"/v1/books/{_step(book)}/payment-policy"
    return _command("set_payment_policy", path, PaymentPolicy, body, asking, named={"book": book})


def open_account(
    book: str,
    code: str,
    type: AccountType,
    currency: str,
    *,
    overdraft_limit: int | None = 0,
    floor: int | None = None,
    ceiling: int | None = None,
    title: str = "",
    opened_on: date | None = None,
    metadata: Mapping[str, str] | None = None,
    **asking: Unpack[Asking],
) -> Call[ChangedAccount]:
    """Open an account. Limits are in minor units on its normal side; an `overdraft_limit` of None is no limit."""
    body = {
        "book": book,
        "code": code,
        "type": type,
        "currency": currency,
        "floor": floor,
        "ceiling": ceiling,
        "title": title,
        "opened_on": opened_on,
        "metadata": metadata,
    }
    limit = {"overdraft_limit": overdraft_limit}
    return _command("open_account", "/v1/accounts", ChangedAccount, body, asking, said=limit)


def freeze_account(account: str, *, reason: str = "", **asking: Unpack[Asking]) -> Call[ChangedAccount]:
    """Let nothing be posted to the account of that id until it is unfrozen."""
    return _of_account("freeze_account", "freeze", account, {"reason": reason}, asking)


def unfreeze_account(account: str, *, reason: str = "", **asking: Unpack[Asking]) -> Call[ChangedAccount]:
    """Let a frozen account take postings again."""
    return _of_account("unfreeze_account", "unfreeze", account, {"reason": reason}, asking)


def change_limits(
    account: str,
    *,
    overdraft_limit: int | None,
    floor: int | None = None,
    ceiling: int | None = None,
    effective_at: datetime | None = None,
    reason: str = "",
    **asking: Unpack[Asking],
) -> Call[ChangedAccount]:
    """Set all three limits anew, now or from a time to come; None is no limit."""
    body = {"floor": floor, "ceiling": ceiling, "effective_at": effective_at, "reason": reason}
    limit = {"overdraft_limit": overdraft_limit}
    return _of_account("change_limits", "limits", account, body, asking, said=limit)


def close_account(account: str, *, reason: str = "", **asking: Unpack[Asking]) -> Call[ChangedAccount]:
    """Close an empty account for ever."""
    return _of_account("close_account", "close", account, {"reason": reason}, asking)


def post_entry(
    book: str,
    postings: Sequence[PostingGiven] | None = None,
    *,
    split: SplitGiven | None = None,
    exchange: ExchangeGiven | None = None,
    description: str = "",
    reference: str = "",
    value_date: date | None = None,
    metadata: Mapping[str, str] | None = None,
    **asking: Unpack[Asking],
) -> Call[PostedEntry]:
    """Record a journal entry, given as one of `postings`, `split` and `exchange`."""
    body = {
        "book": book,
        "postings": postings,
        "split": split,
        "exchange": exchange,
        "description": description,
        "reference": reference,
        "value_date": value_date,
        "metadata": metadata,
    }
    return _command("post_entry", "/v1/journal-entries", PostedEntry, body, asking)


def reverse_entry(
    entry: str,
    *,
    value_date: Literal["today", "original"] = "today",
    description: str = "",
    metadata: Mapping[str, str] | None = None,
    **asking: Unpack[Asking],
) -> Call[PostedEntry]:
    """Undo a journal entry by its mirror, once."""
    path = f"/v1/journal-entries/{_step(entry)}/reverse"
    body = {"value_date": value_date, "description": description, "metadata": metadata}
    return _command("reverse_entry", path, PostedEntry, body, asking, named={"entry_id": entry})


def place_hold(
    book: str,
    account: str,
    destination: str,
    amount: int,
    currency: str,
    *,
    expires_at: datetime | None = None,
    description: str = "",
    reference: str = "",
    metadata: Mapping[str, str] | None = None,
    **asking: Unpack[Asking],
) -> Call[ChangedHold]:
    """Set minor units aside on `account`, to be captured for `destination`."""
    body = {
        "book": book,
        "account": account,
        "destination": destination,
        "amount": amount,
        "currency": currency,
        "expires_at": expires_at,
        "description": description,
        "reference": reference,
        "metadata": metadata,
    }
    return _command("place_hold", "/v1/holds", ChangedHold, body, asking)


def increase_hold(hold: str, amount: int, **asking: Unpack[Asking]) -> Call[ChangedHold]:
    """Set more aside."""
    return _of_hold("increase_hold", "increase", ChangedHold, hold, {"amount": amount}, asking)


def capture_hold(
    hold: str,
    amount: int | None = None,
    *,
    final: bool = False,
    description: str = "",
    value_date: date | None = None,
    metadata: Mapping[str, str] | None = None,
    **asking: Unpack[Asking],
) -> Call[PostedEntry]:
    """Make some of what is held a journal entry; all that remains, without an amount. `final` gives the rest up."""
    body = {
        "amount": amount,
        "final": final or None,
        "description": description,
        "value_date": value_date,
        "metadata": metadata,
    }
    return _of_hold("capture_hold", "capture", PostedEntry, hold, body, asking)


def void_hold(hold: str, *, reason: str = "", **asking: Unpack[Asking]) -> Call[ChangedHold]:
    """Give up what was not captured."""
    return _of_hold("void_hold", "void", ChangedHold, hold, {"reason": reason}, asking)


def expire_hold(hold: str, **asking: Unpack[Asking]) -> Call[ChangedHold]:
    """End a hold whose time has come."""
    return _of_hold("expire_hold", "expire", ChangedHold, hold, {}, asking)


def fund_escrow(
    book: str,
    depositor: str,
    beneficiary: str,
    amount: int,
    currency: str,
    *,
    expires_at: datetime,
    parts: Sequence[PartGiven],
    conditions: Sequence[ConditionGiven] = (),
    on_expiry: Literal["return", "release"] = "return",
    return_terms: ReturnTermsGiven | None = None,
    description: str = "",
    reference: str = "",
    metadata: Mapping[str, str] | None = None,
    **asking: Unpack[Asking],
) -> Call[ChangedEscrow]:
    """Set minor units of the account `depositor` apart for `beneficiary`, in parts that are released by their terms."""
    body = {
        "book": book,
        "depositor": depositor,
        "beneficiary": beneficiary,
        "amount": amount,
        "currency": currency,
        "expires_at": expires_at,
        "on_expiry": on_expiry,
        "conditions": conditions or None,
        "parts": parts,
        "return_terms": return_terms,
        "description": description,
        "reference": reference,
        "metadata": metadata,
    }
    return _command("fund_escrow", "/v1/escrows", ChangedEscrow, body, asking)


def meet_condition(escrow: str, condition: str, *, evidence: str = "", **asking: Unpack[Asking]) -> Call[ChangedEscrow]:
    """Say, as this client's actor, that a condition is met. It cannot be part of a batch."""
    return _of_escrow("", "conditions", escrow, {"condition": condition, "evidence": evidence}, asking)


def approve_release(escrow: str, part: str, **asking: Unpack[Asking]) -> Call[ChangedEscrow]:
    """Approve, as this client's actor, the release of a part. It cannot be part of a batch."""
    return _of_escrow("", "approve", escrow, {"part": part}, asking)


def release_escrow(
    escrow: str, part: str | None = None, amount: int | None = None, **asking: Unpack[Asking]
) -> Call[ChangedEscrow]:
    """Release what is ready and could not be released when it became so."""
    return _of_escrow("release_escrow", "release", escrow, {"part": part, "amount": amount}, asking)


def return_escrow(
    escrow: str, part: str | None = None, amount: int | None = None, *, reason: str = "", **asking: Unpack[Asking]
) -> Call[ChangedEscrow]:
    """Agree, as this client's actor, that some or all of it goes back. It cannot be part of a batch."""
    return _of_escrow("", "return", escrow, {"part": part, "amount": amount, "reason": reason}, asking)


def expire_escrow(escrow: str, **asking: Unpack[Asking]) -> Call[ChangedEscrow]:
    """End an escrow whose time has come."""
    return _of_escrow("expire_escrow", "expire", escrow, {}, asking)


def create_payment(
    book: str,
    account: str,
    amount: int,
    currency: str,
    *,
    direction: Literal["in", "out"] = "in",
    method: MethodGiven | None = None,
    confirm: bool = False,
    capture: Literal["automatic", "manual"] = "automatic",
    approvals: int = 0,
    expires_at: datetime | None = None,
    description: str = "",
    reference: str = "",
    descriptor: str = "",
    metadata: Mapping[str, str] | None = None,
    **asking: Unpack[Asking],
) -> Call[CreatedPayment]:
    """Say that minor units are wanted for `account`, or, a payout, from it; `confirm` has it done at once."""
    body = {
        "book": book,
        "account": account,
        "direction": direction,
        "amount": amount,
        "currency": currency,
        "method": method,
        "confirm": confirm or None,
        "capture": capture,
        "approvals": approvals,
        "expires_at": expires_at,
        "description": description,
        "reference": reference,
        "descriptor": descriptor,
        "metadata": metadata,
    }
    return _command("create_payment", "/v1/payments", CreatedPayment, body, asking)


def attach_method(payment: str, method: MethodGiven, **asking: Unpack[Asking]) -> Call[ChangedPayment]:
    """Say what the payment of that id is paid with, or to."""
    return _of_payment("attach_method", "method", payment, {"method": method}, asking)


def confirm_payment(payment: str, **asking: Unpack[Asking]) -> Call[ChangedPayment]:
    """Have it done."""
    return _of_payment("confirm_payment", "confirm", payment, {}, asking)


def checkout_payment(payment: str, secret: str, method: MethodGiven, **asking: Unpack[Asking]) -> Call[Checkout]:
    """Pay, as the payer: `secret` is the payment's `client_secret`. It cannot be part of a batch."""
    call = _command("", f"/v1/payments/{_step(payment)}/checkout", Checkout, {"method": method}, asking)
    return msgspec.structs.replace(call, headers={"Daybook-Client-Secret": secret})


def retry_payment(payment: str, **asking: Unpack[Asking]) -> Call[ChangedPayment]:
    """Try again with the method it has: at once what waits for another attempt, anew what came back without one."""
    return _of_payment("retry_payment", "retry", payment, {}, asking)


def approve_payment(payment: str, **asking: Unpack[Asking]) -> Call[ChangedPayment]:
    """Give, as this client's actor, one of the approvals it waits for. It cannot be part of a batch."""
    return _command("", f"/v1/payments/{_step(payment)}/approve", ChangedPayment, {}, asking)


def increase_authorization(payment: str, amount: int, **asking: Unpack[Asking]) -> Call[ChangedPayment]:
    """Have more authorized."""
    return _of_payment("increase_authorization", "increase", payment, {"amount": amount}, asking)


def capture_payment(
    payment: str, amount: int | None = None, *, final: bool = False, **asking: Unpack[Asking]
) -> Call[ChangedPayment]:
    """Claim some of what is authorized; all of it, without an amount. `final` gives the rest up."""
    return _of_payment("capture_payment", "capture", payment, {"amount": amount, "final": final or None}, asking)


def cancel_payment(payment: str, *, reason: str = "", **asking: Unpack[Asking]) -> Call[ChangedPayment]:
    """No longer wanted. What is authorized is given up by the rail first."""
    return _of_payment("cancel_payment", "cancel", payment, {"reason": reason}, asking)


def refund_payment(
    payment: str,
    amount: int | None = None,
    *,
    capture: str | None = None,
    reason: str = "",
    **asking: Unpack[Asking],
) -> Call[ChangedPayment]:
    """Give some of what was captured back; all of it, without an amount. `capture`: the id of the request for it."""
    body = {"amount": amount, "capture": capture, "reason": reason}
    return _of_payment("refund_payment", "refund", payment, body, asking)


def reverse_payment(
    payment: str, *, request: str | None = None, reason: str = "", **asking: Unpack[Asking]
) -> Call[ChangedPayment]:
    """Undo a whole capture, collection or payout; `request` is the id of the request for it."""
    return _of_payment("reverse_payment", "reverse", payment, {"request": request, "reason": reason}, asking)


def contest_dispute(
    payment: str, dispute: str, evidence: Mapping[str, str], **asking: Unpack[Asking]
) -> Call[ChangedPayment]:
    """Answer a dispute with evidence, texts by name."""
    verb, named = f"disputes/{_step(dispute)}/contest", {"dispute_id": dispute}
    return _of_payment("contest_dispute", verb, payment, {"evidence": evidence}, asking, named)


def accept_dispute(payment: str, dispute: str, **asking: Unpack[Asking]) -> Call[ChangedPayment]:
    """Let a dispute stand."""
    verb, named = f"disputes/{_step(dispute)}/accept", {"dispute_id": dispute}
    return _of_payment("accept_dispute", verb, payment, {}, asking, named)


def resolve_outcome(
    payment: str,
    request: str,
    outcome: Literal["done", "failed"],
    reason: str,
    *,
    reference: str = "",
    **asking: Unpack[Asking],
) -> Call[ChangedPayment]:
    """Say what became of a request that its rail says nothing of."""
    verb, named = f"requests/{_step(request)}/resolve", {"request_id": request}
    body = {"outcome": outcome, "reference": reference, "reason": reason}
    return _of_payment("resolve_outcome", verb, payment, body, asking, named)


def record_settlement(
    book: str,
    rail: Literal["card", "ach", "wire", "upi"],
    route: str,
    day: date,
    currency: str,
    lines: Sequence[LineGiven],
    *,
    part: int = 1,
    reference: str = "",
    **asking: Unpack[Asking],
) -> Call[Settlement]:
    """Book what a rail reports of a day that is over: at most 200 lines in a part."""
    of_day = {"rail": rail, "route": route, "day": day.isoformat(), "part": part, "currency": currency}
    body = {"book": book, **of_day, "reference": reference, "lines": lines}
    return _command("record_settlement", "/v1/settlements", Settlement, body, asking)


class Answered(Struct, frozen=True):
    """What a batch came to: for each call, in order, its resource or its problem."""

    position: int
    answers: list[Resource | ProblemError]
    replayed: list[bool]

    @property
    def problems(self) -> list[ProblemError]:
        """Of an independent batch: what was refused or failed."""
        return [answer for answer in self.answers if isinstance(answer, ProblemError)]


def post_batch(
    book: str, calls: Sequence[Call[Any]], *, mode: Literal["atomic", "independent"], **asking: Unpack[Asking]
) -> Call[Answered]:
    """Many commands at once, each a call of this module; a key of its own goes along, `dry_run` does not.

    Atomic: all or none, and `batch_refused` if none. Independent: each on its own.
    """
    assert all(call.command and not call.params for call in calls), "only what a batch takes, and no dry run"
    commands = [
        {"command": call.command, "arguments": call.arguments, **({"idempotency_key": call.key} if call.key else {})}
        for call in calls
    ]

    def decode(content: bytes) -> Answered:
        batch = _decoder(resources.Batch)(content)
        answers = [_of_batch(call, answer) for call, answer in zip(calls, batch.answers, strict=True)]
        return Answered(batch.position, answers, [bool(answer.replayed) for answer in batch.answers])

    body = {"book": book, "mode": mode, "commands": commands}
    return _decoded("post_batch", "/v1/batches", decode, body, asking)


def _of_batch(call: Call[Any], answer: resources.BatchAnswer) -> Resource | ProblemError:
    if answer.status >= 300:
        return problem_from(answer.body, key=call.key)
    made: Resource = call.decode(msgspec.json.encode(answer.body))
    return made


def read_book(book: str, **reading: Unpack[Reading]) -> Call[Book]:
    """The book of that code or id."""
    return _read(f"/v1/books/{_step(book)}", Book, reading)


def read_payment_policy(book: str, **reading: Unpack[Reading]) -> Call[PaymentPolicy]:
    """The policy for the payments of the book of that code or id."""
    return _read(f"/v1/books/{_step(book)}/payment-policy", PaymentPolicy, reading)


def list_books(**paging: Unpack[Paging]) -> Listing[Book]:
    """Books by code."""
    return _list("/v1/books", Page[Book], lambda book: book.id, paging)


def read_account(account: str, **reading: Unpack[Reading]) -> Call[Account]:
    """The account of that id."""
    return _read(f"/v1/accounts/{_step(account)}", Account, reading)


def list_accounts(**filters: Unpack[AccountFilter]) -> Listing[Account]:
    """Accounts by book and code."""
    return _list("/v1/accounts", Page[Account], lambda account: account.id, filters)


def list_postings(account: str, **filters: Unpack[PostingFilter]) -> Listing[Posting]:
    """An account's postings, newest first; the cursors are their numbers."""
    path = f"/v1/accounts/{_step(account)}/postings"
    return _list(path, Page[Posting], lambda posting: str(posting.number), filters)


def read_balance(account: str, **moment: Unpack[Moment]) -> Call[Balance]:
    """An account's balance: now, at a position of the log, or as known at a time."""
    return _read(f"/v1/accounts/{_step(account)}/balance", Balance, moment)


def list_balances(**filters: Unpack[BalanceFilter]) -> Listing[Balance]:
    """Balances by book and code; the cursors are accounts."""
    return _list("/v1/balances", Page[Balance], lambda balance: balance.account_id, filters)


def read_entry(entry: str, **reading: Unpack[Reading]) -> Call[Entry]:
    """The journal entry of that id."""
    return _read(f"/v1/journal-entries/{_step(entry)}", Entry, reading)


def list_entries(**filters: Unpack[EntryFilter]) -> Listing[Entry]:
    """Journal entries, newest first."""
    return _list("/v1/journal-entries", Page[Entry], lambda entry: entry.id, filters)


def read_hold(hold: str, **reading: Unpack[Reading]) -> Call[Hold]:
    """The hold of that id."""
    return _read(f"/v1/holds/{_step(hold)}", Hold, reading)


def list_holds(**filters: Unpack[HoldFilter]) -> Listing[Hold]:
    """Holds, newest first."""
    return _list("/v1/holds", Page[Hold], lambda hold: hold.id, filters)


def read_escrow(escrow: str, **reading: Unpack[Reading]) -> Call[EscrowStory]:
    """The escrow of that id, with what its parts wait for, its journal entries and all that happened to it."""
    return _read(f"/v1/escrows/{_step(escrow)}", EscrowStory, reading)


def list_escrows(**filters: Unpack[EscrowFilter]) -> Listing[Escrow]:
    """Escrows, newest first."""
    return _list("/v1/escrows", Page[Escrow], lambda escrow: escrow.id, filters)


def read_payment(payment: str, **reading: Unpack[Reading]) -> Call[PaymentStory]:
    """The payment of that id, with its requests, holds, journal entries and all that happened to it."""
    return _read(f"/v1/payments/{_step(payment)}", PaymentStory, reading)


def read_checkout(payment: str, secret: str, **reading: Unpack[Reading]) -> Call[Checkout]:
    """The payment as its payer may see it: `secret` is its `client_secret`."""
    call = _read(f"/v1/payments/{_step(payment)}/checkout", Checkout, reading)
    return msgspec.structs.replace(call, headers={"Daybook-Client-Secret": secret})


def list_attempts(**filters: Unpack[OperationFilter]) -> Listing[Operation]:
    """Attempts of all payments, newest first."""
    return _operations("attempts", filters)


def read_attempt(request: str, **reading: Unpack[Reading]) -> Call[Operation]:
    """The attempt of that request id."""
    return _read(f"/v1/attempts/{_step(request)}", Operation, reading)


def list_captures(**filters: Unpack[OperationFilter]) -> Listing[Operation]:
    """Captures of all payments, newest first."""
    return _operations("captures", filters)


def read_capture(request: str, **reading: Unpack[Reading]) -> Call[Operation]:
    """The capture of that request id."""
    return _read(f"/v1/captures/{_step(request)}", Operation, reading)


def list_refunds(**filters: Unpack[OperationFilter]) -> Listing[Operation]:
    """Refunds of all payments, newest first."""
    return _operations("refunds", filters)


def read_refund(request: str, **reading: Unpack[Reading]) -> Call[Operation]:
    """The refund of that request id."""
    return _read(f"/v1/refunds/{_step(request)}", Operation, reading)


def list_payouts(**filters: Unpack[OperationFilter]) -> Listing[Operation]:
    """Payouts of all payments, newest first."""
    return _operations("payouts", filters)


def read_payout(request: str, **reading: Unpack[Reading]) -> Call[Operation]:
    """The payout of that request id."""
    return _read(f"/v1/payouts/{_step(request)}", Operation, reading)


def list_reversals(**filters: Unpack[OperationFilter]) -> Listing[Operation]:
    """Reversals of all payments, newest first."""
    return _operations("reversals", filters)


def read_reversal(request: str, **reading: Unpack[Reading]) -> Call[Operation]:
    """The reversal of that request id."""
    return _read(f"/v1/reversals/{_step(request)}", Operation, reading)


def read_qr(payment: str, **reading: Unpack[Reading]) -> Call[str]:
    """The link that its payer has to open, as a QR code in SVG."""
    return _picture(f"/v1/payments/{_step(payment)}/qr.svg", reading)


def read_checkout_qr(payment: str, secret: str, **reading: Unpack[Reading]) -> Call[str]:
    """The same, for the payer: `secret` is the payment's `client_secret`."""
    call = _picture(f"/v1/payments/{_step(payment)}/checkout/qr.svg", reading)
    return msgspec.structs.replace(call, headers={"Daybook-Client-Secret": secret})


def list_payments(**filters: Unpack[PaymentFilter]) -> Listing[Payment]:
    """Payments, newest first."""
    return _list("/v1/payments", Page[Payment], lambda payment: payment.id, filters)


def read_settlement(settlement: str, **reading: Unpack[Reading]) -> Call[SettlementStory]:
    """The settlement of that id, with its journal entry."""
    return _read(f"/v1/settlements/{_step(settlement)}", SettlementStory, reading)


def list_settlements(**filters: Unpack[SettlementFilter]) -> Listing[Settlement]:
    """Settlements, newest first."""
    return _list("/v1/settlements", Page[Settlement], lambda settlement: settlement.id, filters)


def read_dispute(dispute: str, **reading: Unpack[Reading]) -> Call[Dispute]:
    """The dispute of that id."""
    return _read(f"/v1/disputes/{_step(dispute)}", Dispute, reading)


def list_disputes(**filters: Unpack[DisputeFilter]) -> Listing[Dispute]:
    """Disputes, newest first."""
    return _list("/v1/disputes", Page[Dispute], lambda dispute: dispute.id, filters)


def list_records(**filters: Unpack[AuditFilter]) -> Listing[AuditRecord]:
    """The audit trail, newest first; the cursors are positions."""
    return _list("/v1/audit-trail", Page[AuditRecord], lambda record: str(record.position), filters)


def read_roll_up(book: str, **choice: Unpack[RollUpChoice]) -> Call[RollUp]:
    """What accounts add up to at each node of the tree of their codes, or by type or metadata."""
    return _read("/v1/reports/roll-up", RollUp, {"book": book, **choice})


def read_trial_balance(book: str, **choice: Unpack[DatedReport]) -> Call[TrialBalance]:
    """Every account that was posted to, its balance on the side it is on."""
    return _read("/v1/reports/trial-balance", TrialBalance, {"book": book, **choice})


def read_balance_sheet(book: str, **choice: Unpack[DatedReport]) -> Call[BalanceSheet]:
    """Assets = liabilities + equity + result."""
    return _read("/v1/reports/balance-sheet", BalanceSheet, {"book": book, **choice})


def read_income_statement(book: str, **choice: Unpack[IncomeChoice]) -> Call[IncomeStatement]:
    """Revenue less expenses."""
    return _read("/v1/reports/income-statement", IncomeStatement, {"book": book, **choice})


def list_events(**filters: Unpack[EventFilter]) -> Listing[LogEvent]:
    """The log, from its beginning; the cursors are positions."""
    return _list("/v1/events", Page[LogEvent], lambda event: str(event.position), filters)


class Follow(Struct, frozen=True, kw_only=True):
    """A stream of events after a position, without end."""

    path: str
    params: Mapping[str, str]
    after: int


def follow_events(after: int = 0, **choice: Unpack[EventChoice]) -> Follow:
    """Every event after that position and every one to come, each once and in order; 0 is the log's beginning.

    A stream that breaks off is taken up where it was. To go on another day, keep the last event's position.
    """
    return Follow(path="/v1/events", params=_params(choice), after=after)


def read_event_catalogue() -> Call[EventCatalogue]:
    """Every event that Daybook stores."""
    return Call(method="GET", path="/v1/catalogue/events", decode=_decoder(EventCatalogue))


def read_error_catalogue() -> Call[ErrorCatalogue]:
    """Every error code that Daybook answers with."""
    return Call(method="GET", path="/v1/catalogue/errors", decode=_decoder(ErrorCatalogue))


def list_rails() -> Listing[RailHealth]:
    """The rails and routes that payments go by from there, and how they do."""
    call = Call(method="GET", path="/v1/rails", decode=_decoder(Page[RailHealth]))
    return Listing(call=call, cursor=lambda rail: rail.rail)


def read_upi_address(address: str) -> Call[UpiAddress]:
    """Whose a UPI address is; whoever pays them sees the name first."""
    return Call(method="GET", path=f"/v1/upi/addresses/{_step(address)}", decode=_decoder(UpiAddress))


def decide_route(
    amount: int,
    currency: str,
    method: str,
    *,
    country: str = "",
    metadata: Mapping[str, str] | None = None,
    draw: int | None = None,
) -> Call[RouteDecision]:
    """Which way a payment would take, and why; nothing is paid.

    Args:
        method: `card`, or with its brand `card:visa`, `bank_account`, `iban`, `upi`.
        draw: The chance in it, in millionths.
    """
    given = {"country": country or None, "metadata": metadata, "draw": draw}
    body = {"amount": amount, "currency": currency, "method": method}
    body |= {name: value for name, value in given.items() if value is not None}
    return Call(method="POST", path="/v1/routes/decide", decode=_decoder(RouteDecision), body=body)


def override_rail(
    rail: str,
    reason: str,
    *,
    state: Literal["open", "closed"] | None = None,
    until: datetime | None = None,
    release: bool = False,
) -> Call[CircuitBreaker]:
    """A rail's circuit breaker by hand: a state, until a time or until it is released, or its release."""
    return _override(f"/v1/rails/{_step(rail)}/breaker", reason, state, until, release=release)


def override_route(
    rail: str,
    route: str,
    reason: str,
    *,
    state: Literal["open", "closed"] | None = None,
    until: datetime | None = None,
    release: bool = False,
) -> Call[CircuitBreaker]:
    """A route's circuit breaker by hand: see `override_rail`."""
    return _override(f"/v1/rails/{_step(rail)}/routes/{_step(route)}/breaker", reason, state, until, release=release)


def _override(
    path: str, reason: str, state: str | None, until: datetime | None, *, release: bool
) -> Call[CircuitBreaker]:
    given = {"state": state, "reason": reason, "until": until, "release": release or None}
    body = {name: value for name, value in given.items() if value is not None}
    return Call(method="POST", path=path, decode=_decoder(CircuitBreaker), body=body)


def validate_payment(payment: str | Call[ChangedPayment]) -> Call[Validation]:
    """What validators would make now of the payment of that id, or of one as `create_payment` would create it."""
    body = {"payment": payment} if isinstance(payment, str) else payment.body
    return Call(method="POST", path="/v1/consensus/validate", decode=_decoder(Validation), body=body)


def readyz() -> Call[ReadinessState]:
    """Whether commands can be decided and kept, and how far the read models are."""
    return Call(method="GET", path="/readyz", decode=_decoder(ReadinessState), accepts=(503,))


def _of_account(
    command: str,
    verb: str,
    account: str,
    body: Mapping[str, Any],
    asking: Asking,
    said: Mapping[str, Any] | None = None,
) -> Call[ChangedAccount]:
    path = f"/v1/accounts/{_step(account)}/{verb}"
    return _command(command, path, ChangedAccount, body, asking, named={"account_id": account}, said=said or {})


def _of_hold(command: str, verb: str, of: type[T], hold: str, body: Mapping[str, Any], asking: Asking) -> Call[T]:
    return _command(command, f"/v1/holds/{_step(hold)}/{verb}", of, body, asking, named={"hold_id": hold})


def _of_escrow(command: str, verb: str, escrow: str, body: Mapping[str, Any], asking: Asking) -> Call[ChangedEscrow]:
    path = f"/v1/escrows/{_step(escrow)}/{verb}"
    return _command(command, path, ChangedEscrow, body, asking, named={"escrow_id": escrow})


def _of_payment(
    command: str,
    verb: str,
    payment: str,
    body: Mapping[str, Any],
    asking: Asking,
    named: Mapping[str, str] | None = None,
) -> Call[ChangedPayment]:
    path = f"/v1/payments/{_step(payment)}/{verb}"
    return _command(command, path, ChangedPayment, body, asking, named={"payment_id": payment, **(named or {})})


def _command(
    command: str,
    path: str,
    of: type[T],
    body: Mapping[str, Any],
    asking: Asking,
    *,
    named: Mapping[str, str] | None = None,
    said: Mapping[str, Any] | None = None,
) -> Call[T]:
    return _decoded(command, path, _decoder(of), body, asking, named=named or {}, said=said or {})


def _decoded(
    command: str,
    path: str,
    decode: Callable[[bytes], T],
    body: Mapping[str, Any],
    asking: Asking,
    *,
    named: Mapping[str, str] | None = None,
    said: Mapping[str, Any] | None = None,
) -> Call[T]:
    """A command; `named` is what its path says, `said` what is said even if it is None."""
    given = {name: value for name, value in body.items() if value not in (None, "")} | dict(said or {})
    return Call(
        method="POST",
        path=path,
        decode=decode,
        params={"dry_run": "true"} if asking.get("dry_run") else {},
        body=given,
        key=asking.get("key"),
        command=command,
        arguments={**(named or {}), **given},
    )


def _read(path: str, of: type[T], reading: Mapping[str, Any]) -> Call[T]:
    return Call(method="GET", path=path, decode=_decoder(of), params=_params(reading), waits=True)


def _operations(name: str, filters: Mapping[str, Any]) -> Listing[Operation]:
    return _list(f"/v1/{name}", Page[Operation], lambda operation: operation.id, filters)


def _picture(path: str, reading: Mapping[str, Any]) -> Call[str]:
    return Call(method="GET", path=path, decode=bytes.decode, params=_params(reading), waits=True)


def _list(path: str, of: type[Page[T]], cursor: Callable[[T], str], paging: Mapping[str, Any]) -> Listing[T]:
    return Listing(call=_read(path, of, paging), cursor=cursor)


def _params(given: Mapping[str, Any]) -> dict[str, str]:
    return {name: _written(value) for name, value in given.items() if value is not None}


def _written(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return "=".join(value)
    if isinstance(value, Mapping):
        return ",".join(f"{name}:{rate}" for name, rate in value.items())
    return value.isoformat() if isinstance(value, date) else str(value)


def _step(name: str) -> str:
    """A step of a path, whatever is in it."""
    return quote(name, safe=":")


def _decoder(of: type[T]) -> Callable[[bytes], T]:
    return _decoders(of)  # type: ignore[arg-type] # A generic struct's alias is as hashable as a class.


@cache
def _decoders(of: Any) -> Callable[[bytes], Any]:
    return msgspec.json.Decoder(of).decode
