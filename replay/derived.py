"""What follows from the events: accounts, holds, payments and escrows as they stand, and each event's posting rows.

Written apart from `domain.ledger` and `domain.posting.rows`, which wrote what is checked here.
"""

import struct
from collections.abc import Sequence
from datetime import date, datetime
from typing import Final
from uuid import UUID

import msgspec
from msgspec import Struct

from domain import ids
from domain.events import (
    AccountClosed,
    AccountFrozen,
    AccountLimitsChanged,
    AccountOpened,
    AccountUnfrozen,
    BatchPosted,
    BookOpened,
    BookPaymentPolicySet,
    CommandRefused,
    EntryPosted,
    EntryReversed,
    EscrowEvent,
    EscrowFunded,
    HoldCaptured,
    HoldExpired,
    HoldIncreased,
    HoldPlaced,
    HoldVoided,
    PaymentEvent,
    PaymentIntentCreated,
    Recorded,
    SettlementRecorded,
)
from domain.policy import Policy
from domain.posting import Posting
from replay.escrows import ACCOUNTS as OF_ESCROWS
from replay.escrows import Escrows, EscrowThen
from replay.holds import Holds, HoldThen
from replay.logged import Entry, understood_id
from replay.payments import Payments, PaymentThen, Stream
from replay.report import Tally
from replay.rows import INT2, INT4, Layout, day, jsonb, layout
from replay.settlements import Settlements


class BookThen(Struct):
    code: str
    title: str
    metadata: dict[str, str]
    opened_at: datetime
    position: int


class PolicyThen(Struct):
    policy: Policy
    set_at: datetime
    set_by: str
    position: int


class AccountThen(Struct):
    """`position` is of the last event that changed the account itself, not its balance."""

    book_id: UUID
    code: str
    type: str
    currency: str
    title: str
    status: str
    opened_on: date
    opened_at: datetime
    metadata: dict[str, str]
    version: int
    opened_position: int
    position: int


class LimitsThen(Struct):
    """In minor units on the normal side. `effective_at` is None for those of the opening."""

    effective_at: datetime | None
    overdraft_limit: int | None
    floor: int | None
    ceiling: int | None
    position: int


class TotalsThen(Struct):
    """`position` is that of the last posting.

    What verification asks of the account with every posting is beside them: nothing of an account never opened.
    """

    account_id: UUID
    packed: bytes
    """How the account's posting rows begin."""
    hex: str
    account: AccountThen | None = None
    book: bytes = b""
    currency: str = ""
    """As JSON."""
    number: int = 0
    debits: int = 0
    credits: int = 0
    pending_debits: int = 0
    pending_credits: int = 0
    position: int = 0


class Posted(Struct, frozen=True, gc=False):
    """A posting an event makes: its row, and what sums by value date take. `day` is a field, amounts in minor units."""

    totals: TotalsThen
    row: bytes
    day: bytes
    debit: int
    credit: int
    number: int


POSTINGS: Final[Layout] = layout(
    "daybook.postings",
    "account:uuid side:char pending:bool value_date:date position amount number"
    " debits credits pending_debits pending_credits",
)
_ROW: Final = struct.Struct(">22s10s8siqiqiqiqiqiqiq").pack
_DEBIT, _CREDIT, _HELD_DEBIT, _HELD_CREDIT = (
    INT4(1) + side + INT4(1) + pending for pending in (b"\x00", b"\x01") for side in (b"D", b"C")
)
"""The fields of a posting's side and of whether it is pending."""


class Derived:
    """Everything known after the events applied so far: per book, account, hold, payment and escrow, nothing per entry.

    Args:
        stream: What is read again of a payment that was over, and was let go, when more happens to it.
    """

    def __init__(self, tally: Tally, stream: Stream) -> None:
        self.books: dict[UUID, BookThen] = {}
        self.policies: dict[tuple[UUID, int], PolicyThen] = {}
        """Those for payments, by book and its version."""
        self._in_force: dict[UUID, Policy] = {}
        self.accounts: dict[UUID, AccountThen] = {}
        self.limits: dict[tuple[UUID, int], LimitsThen] = {}
        """By account and its version."""
        self.totals: dict[UUID, TotalsThen] = {}
        """Of accounts with postings."""
        self._known: dict[UUID | str, TotalsThen] = {}
        """Of those and of open ones; also by their ids as payloads have them, once they had."""
        self._holds = Holds(self._contradicts)
        self.holds = self._holds.known
        """Those that live."""
        self._payments = Payments(self._contradicts, self.holds, stream, self._in_force)
        self.payments = self._payments.known
        """Those that are not over."""
        self._settlements = Settlements(self._contradicts, self.payments)
        self._escrows = Escrows(self._contradicts)
        self.escrows = self._escrows.known
        """Those that live."""
        self._unlinked: dict[UUID, UUID] = {}
        """Entries whose mirror was posted, with that mirror, until they are marked reversed."""
        self._tally = tally

    @property
    def ended(self) -> tuple[UUID, HoldThen] | None:
        """The hold that ended with the last event."""
        return self._holds.ended

    @property
    def over(self) -> PaymentThen | None:
        """The payment that was over with the last event."""
        return self._payments.over

    @property
    def escrow_over(self) -> EscrowThen | None:
        """The escrow that ended with the last event."""
        return self._escrows.over

    def finish(self) -> None:
        """No more events: what the last ones promised is still owed."""
        self._payments.finish()
        self._settlements.finish()
        self._escrows.finish()

    def apply(self, recorded: Recorded) -> Sequence[Posted]:
        """One more event; the postings it makes."""
        event = recorded.event
        self._payments.take(recorded)
        self._escrows.take(recorded)
        self._holds.take(recorded)
        self._settlements.take(recorded)
        match event:
            case EntryPosted():
                if event.reverses is not None:
                    self._unlinked[event.reverses] = recorded.stream_id
                return self._rows(recorded, event.book_id, event.postings, event.value_date)
            case HoldPlaced() | HoldIncreased():
                return self._rows(recorded, event.book_id, event.postings, None)
            case HoldCaptured() | HoldVoided() | HoldExpired():
                return self._rows(recorded, event.book_id, event.released, None, back=True)
            case AccountLimitsChanged():
                self._change_limits(recorded, event)
            case PaymentIntentCreated():
                self._must_be_there(recorded, event.account_id, event.book_id, event.currency)
            case EscrowFunded():
                for account_id in (event.depositor_id, event.beneficiary_id):
                    self._must_be_there(recorded, account_id, event.book_id, event.currency)
            case CommandRefused() | BatchPosted() | PaymentEvent() | SettlementRecorded() | EscrowEvent():
                pass
            case AccountOpened():
                self._open_account(recorded, event)
            case BookOpened():
                self._open_book(recorded, event)
            case BookPaymentPolicySet():
                self._set_policy(recorded, event)
            case EntryReversed():
                mirror = self._unlinked.pop(recorded.stream_id, None)
                if mirror != event.reversed_by:
                    entry = ids.show(ids.ENTRY, event.reversed_by)
                    self._contradicts(recorded, f"a mirror entry {entry} just before", "another or none")
            case AccountFrozen() | AccountUnfrozen() | AccountClosed():
                self._set_status(recorded, event)
            case _:
                raise AssertionError(event)
        return ()

    def _must_be_there(self, recorded: Recorded, account_id: UUID, book_id: UUID, currency: str) -> None:
        account = self.accounts.get(account_id)
        if account is None or (account.book_id, account.currency) != (book_id, currency):
            name = ids.show(ids.ACCOUNT, account_id)
            self._contradicts(recorded, f"account {name} in its book and currency", "none such")

    def post(self, entry: Entry) -> Sequence[Posted] | None:
        """One more event, which is such an entry; None, and nothing done, if `apply` has more to say of it."""
        if self._holds.waits or self._payments.waits or self._settlements.waits or self._escrows.waits:
            return None
        legs = []
        for posting in entry.postings:
            totals = self._known.get(posting.account_id) or self._found(posting.account_id)
            account = totals.account if totals is not None else None
            if (
                totals is None
                or account is None
                or totals.book != entry.book
                or account.currency != posting.currency
                or account.status != "open"
            ):
                return None
            legs.append((totals, posting.side, posting.amount))
        on, position = day(entry.value_date), entry.position
        return [self._row(totals, position, side, amount, False, on) for totals, side, amount in legs]

    def _found(self, text: str) -> TotalsThen | None:
        """Of the account whose id a payload has in that form; remembered if it is one of the two that are written."""
        try:
            account_id = understood_id(text)
        except msgspec.ValidationError:
            return None
        totals = self._known.get(account_id)
        if totals is not None and text in (account_id.hex, str(account_id)):
            self._known[text] = totals
        return totals

    def _rows(
        self,
        recorded: Recorded,
        book_id: UUID,
        postings: tuple[Posting, ...],
        value_date: date | None,
        *,
        back: bool = False,
    ) -> list[Posted]:
        """Without a value date they are pending, or taken `back`, and count from the day they were recorded."""
        pending, rows = value_date is None, []
        on = day(recorded.recorded_at.date() if value_date is None else value_date)
        for posting in postings:
            account_id, side, amount = posting.account_id, posting.side, -posting.amount if back else posting.amount
            account = self.accounts.get(account_id)
            if account is None or account.book_id != book_id or account.currency != posting.currency:
                name = ids.show(ids.ACCOUNT, account_id)
                self._contradicts(recorded, f"account {name} open in the event's book and currency", "none such")
            elif account.status != "open" and not back:
                self._contradicts(recorded, f"account {account.code} open", account.status)
            rows.append(self._row(self._meet(account_id), recorded.position, side, amount, pending, on))
        return rows

    def _row(self, totals: TotalsThen, position: int, side: str, amount: int, pending: bool, on: bytes) -> Posted:
        """One more posting; what is taken back is below zero."""
        number = totals.number = totals.number + 1
        if number == 1:
            self.totals[totals.account_id] = totals
        debit = credit = 0
        if not pending and side == "debit":
            kind, debit = _DEBIT, amount
            totals.debits += amount
        elif not pending:
            kind, credit = _CREDIT, amount
            totals.credits += amount
        elif side == "debit":
            kind = _HELD_DEBIT
            totals.pending_debits += amount
        else:
            kind = _HELD_CREDIT
            totals.pending_credits += amount
        totals.position = position
        try:
            row = _ROW(
                totals.packed, kind, on, 8, position, 8, amount, 8, number,
                8, totals.debits, 8, totals.credits, 8, totals.pending_debits, 8, totals.pending_credits,
            )  # fmt: skip
        except struct.error:  # Larger than any number that is stored.
            row = _large(totals, kind, on, amount)
        return Posted(totals, row, on, debit, credit, number)

    def _meet(self, account_id: UUID) -> TotalsThen:
        totals = self._known.get(account_id)
        if totals is None:
            packed = INT2(len(POSTINGS.columns)) + INT4(16) + account_id.bytes
            totals = self._known[account_id] = TotalsThen(account_id, packed, account_id.hex)
        return totals

    def _open_book(self, recorded: Recorded, event: BookOpened) -> None:
        if recorded.stream_id in self.books or recorded.stream_id != ids.book_id(event.code):
            self._contradicts(recorded, f"book {event.code} under its own id, once", "another id, or again")
        self.books[recorded.stream_id] = BookThen(
            event.code, event.title, event.metadata, recorded.recorded_at, recorded.position
        )

    def _set_policy(self, recorded: Recorded, event: BookPaymentPolicySet) -> None:
        if recorded.stream_id not in self.books:
            self._contradicts(recorded, "a book opened before", "none")
        self._in_force[recorded.stream_id] = event.policy
        self.policies[recorded.stream_id, recorded.version] = PolicyThen(
            event.policy, recorded.recorded_at, recorded.metadata.actor, recorded.position
        )

    def _open_account(self, recorded: Recorded, event: AccountOpened) -> None:
        if recorded.stream_id in self.accounts or recorded.stream_id != ids.account_id(event.book_id, event.code):
            self._contradicts(recorded, f"account {event.code} under its own id, once", "another id, or again")
        if event.book_id not in self.books:
            self._contradicts(recorded, "the account's book opened before it", "no such book")
        account = self.accounts[recorded.stream_id] = AccountThen(
            book_id=event.book_id,
            code=event.code,
            type=event.type,
            currency=event.currency,
            title=event.title,
            status="open",
            opened_on=event.opened_on,
            opened_at=recorded.recorded_at,
            metadata=event.metadata,
            version=recorded.version,
            opened_position=recorded.position,
            position=recorded.position,
        )
        totals = self._meet(recorded.stream_id)
        totals.account, totals.currency = account, jsonb(event.currency)[1:].decode()
        if not event.code.startswith(OF_ESCROWS):  # Of what moves those there is always more to say.
            totals.book = event.book_id.bytes
        self._note_limits(recorded, event, None)

    def _change_limits(self, recorded: Recorded, event: AccountLimitsChanged) -> None:
        self._note_limits(recorded, event, event.effective_at)
        if event.effective_at < recorded.recorded_at:
            self._contradicts(recorded, "limits from now on, or later", f"from {event.effective_at.isoformat()}")
        self._changed(recorded)

    def _note_limits(
        self, recorded: Recorded, event: AccountOpened | AccountLimitsChanged, effective_at: datetime | None
    ) -> None:
        self.limits[recorded.stream_id, recorded.version] = LimitsThen(
            effective_at, event.overdraft_limit, event.floor, event.ceiling, recorded.position
        )

    def _set_status(self, recorded: Recorded, event: AccountFrozen | AccountUnfrozen | AccountClosed) -> None:
        account = self._changed(recorded)
        if account is not None:
            account.status = (
                "frozen"
                if isinstance(event, AccountFrozen)
                else "open"
                if isinstance(event, AccountUnfrozen)
                else "closed"
            )

    def _changed(self, recorded: Recorded) -> AccountThen | None:
        """The account, which has one more event."""
        account = self.accounts.get(recorded.stream_id)
        if account is None:
            self._contradicts(recorded, "an account opened before", "none")
            return None
        account.version = recorded.version
        account.position = recorded.position
        return account

    def _contradicts(self, recorded: Recorded, expected: str, found: str) -> None:
        self._tally.problem("event_contradicts", recorded.position, recorded.event.name, expected, found)


def _large(totals: TotalsThen, kind: bytes, on: bytes, amount: int) -> bytes:
    amounts = (totals.debits, totals.credits, totals.pending_debits, totals.pending_credits)
    tail = layout("", "position amount number debits credits pending_debits pending_credits")
    return totals.packed + kind + on + tail.pack((totals.position, amount, totals.number, *amounts))[2:]
