"""What follows from the events: every account and hold as it stands, and the posting rows of each event.

Written apart from `domain.ledger` and `domain.posting.rows`, which wrote what is checked here.
"""

from collections.abc import Sequence
from datetime import date, datetime
from uuid import UUID

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
    CommandRefused,
    EntryPosted,
    EntryReversed,
    HoldCaptured,
    HoldExpired,
    HoldIncreased,
    HoldPlaced,
    HoldVoided,
    Recorded,
)
from domain.posting import Posting, PostingRow, Side, Totals
from replay.holds import Holds, HoldThen
from replay.report import Tally


class BookThen(Struct):
    code: str
    title: str
    metadata: dict[str, str]
    opened_at: datetime
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
    """`position` is that of the last posting."""

    number: int = 0
    debits: int = 0
    credits: int = 0
    pending_debits: int = 0
    pending_credits: int = 0
    position: int = 0


class Derived:
    """Everything known after the events applied so far: per book, account and hold, nothing per entry."""

    def __init__(self, tally: Tally) -> None:
        self.books: dict[UUID, BookThen] = {}
        self.accounts: dict[UUID, AccountThen] = {}
        self.limits: dict[tuple[UUID, int], LimitsThen] = {}
        """By account and its version."""
        self.totals: dict[UUID, TotalsThen] = {}
        self._holds = Holds(self._contradicts)
        self.holds = self._holds.known
        """Those that live."""
        self._unlinked: dict[UUID, UUID] = {}
        """Entries whose mirror was posted, with that mirror, until they are marked reversed."""
        self._tally = tally

    @property
    def ended(self) -> tuple[UUID, HoldThen] | None:
        """The hold that ended with the last event."""
        return self._holds.ended

    def apply(self, recorded: Recorded) -> Sequence[PostingRow]:
        """One more event; the posting rows it makes."""
        event = recorded.event
        self._holds.take(recorded)
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
            case CommandRefused() | BatchPosted():
                pass
            case AccountOpened():
                self._open_account(recorded, event)
            case BookOpened():
                self._open_book(recorded, event)
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

    def _rows(
        self,
        recorded: Recorded,
        book_id: UUID,
        postings: tuple[Posting, ...],
        value_date: date | None,
        *,
        back: bool = False,
    ) -> list[PostingRow]:
        """Without a value date they are pending, or taken `back`, and count from the day they were recorded."""
        pending, rows = value_date is None, []
        for posting in postings:
            account_id, side, amount = posting.account_id, posting.side, -posting.amount if back else posting.amount
            account = self.accounts.get(account_id)
            if account is None or account.book_id != book_id or account.currency != posting.currency:
                name = ids.show(ids.ACCOUNT, account_id)
                self._contradicts(recorded, f"account {name} open in the event's book and currency", "none such")
            elif account.status != "open" and not back:
                self._contradicts(recorded, f"account {account.code} open", account.status)
            totals = self.totals.get(account_id)
            if totals is None:
                totals = self.totals[account_id] = TotalsThen()
            _add(totals, side, amount, pending)
            totals.position = recorded.position
            day = recorded.recorded_at.date() if value_date is None else value_date
            after = Totals(totals.number, totals.debits, totals.credits, totals.pending_debits, totals.pending_credits)
            rows.append(PostingRow(account_id, recorded.position, side, amount, pending, day, after))
        return rows

    def _open_book(self, recorded: Recorded, event: BookOpened) -> None:
        if recorded.stream_id in self.books or recorded.stream_id != ids.book_id(event.code):
            self._contradicts(recorded, f"book {event.code} under its own id, once", "another id, or again")
        self.books[recorded.stream_id] = BookThen(
            event.code, event.title, event.metadata, recorded.recorded_at, recorded.position
        )

    def _open_account(self, recorded: Recorded, event: AccountOpened) -> None:
        if recorded.stream_id in self.accounts or recorded.stream_id != ids.account_id(event.book_id, event.code):
            self._contradicts(recorded, f"account {event.code} under its own id, once", "another id, or again")
        if event.book_id not in self.books:
            self._contradicts(recorded, "the account's book opened before it", "no such book")
        self.accounts[recorded.stream_id] = AccountThen(
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


def _add(totals: TotalsThen, side: Side, amount: int, pending: bool) -> None:
    """One more posting; what is taken back is below zero."""
    totals.number += 1
    if pending and side is Side.DEBIT:
        totals.pending_debits += amount
    elif pending:
        totals.pending_credits += amount
    elif side is Side.DEBIT:
        totals.debits += amount
    else:
        totals.credits += amount
