"""What follows from the events: every account as it stands, and the posting rows of each entry.

Written apart from `domain.ledger` and `domain.posting.rows`, which wrote what is checked here.
"""

from collections.abc import Iterable
from datetime import date, datetime
from uuid import UUID

from msgspec import Struct

from domain import ids
from domain.events import (
    AccountClosed,
    AccountFrozen,
    AccountOpened,
    AccountUnfrozen,
    BatchPosted,
    BookOpened,
    CommandRefused,
    EntryPosted,
    EntryReversed,
    Recorded,
)
from domain.posting import PostingRow, Side, Totals
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
    overdraft_limit: int | None
    floor: int | None
    ceiling: int | None
    status: str
    opened_on: date
    opened_at: datetime
    metadata: dict[str, str]
    version: int
    opened_position: int
    position: int


class TotalsThen(Struct):
    """`position` is that of the last posting."""

    number: int = 0
    debits: int = 0
    credits: int = 0
    position: int = 0


class Derived:
    """Everything known after the events applied so far: per book and account, nothing per entry."""

    def __init__(self, tally: Tally) -> None:
        self.books: dict[UUID, BookThen] = {}
        self.accounts: dict[UUID, AccountThen] = {}
        self.totals: dict[UUID, TotalsThen] = {}
        self._unlinked: dict[UUID, UUID] = {}
        """Entries whose mirror was posted, with that mirror, until they are marked reversed."""
        self._tally = tally

    def apply(self, recorded: Recorded) -> Iterable[PostingRow]:
        """One more event; the posting rows it makes."""
        event = recorded.event
        match event:
            case EntryPosted():
                return self._post(recorded, event)
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

    def _post(self, recorded: Recorded, event: EntryPosted) -> list[PostingRow]:
        position, value_date = recorded.position, event.value_date
        rows = []
        for posting in event.postings:
            account_id, side, amount = posting.account_id, posting.side, posting.amount
            account = self.accounts.get(account_id)
            if account is None or account.book_id != event.book_id or account.currency != posting.currency:
                name = ids.show(ids.ACCOUNT, account_id)
                self._contradicts(recorded, f"account {name} open in the entry's book and currency", "none such")
            elif account.status != "open":
                self._contradicts(recorded, f"account {account.code} open", account.status)
            totals = self.totals.get(account_id)
            if totals is None:
                totals = self.totals[account_id] = TotalsThen()
            totals.number += 1
            if side is Side.DEBIT:
                totals.debits += amount
            else:
                totals.credits += amount
            totals.position = position
            after = Totals(totals.number, totals.debits, totals.credits, 0, 0)
            rows.append(PostingRow(account_id, position, side, amount, False, value_date, after))
        if event.reverses is not None:
            self._unlinked[event.reverses] = recorded.stream_id
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
            overdraft_limit=event.overdraft_limit,
            floor=event.floor,
            ceiling=event.ceiling,
            status="open",
            opened_on=event.opened_on,
            opened_at=recorded.recorded_at,
            metadata=event.metadata,
            version=recorded.version,
            opened_position=recorded.position,
            position=recorded.position,
        )

    def _set_status(self, recorded: Recorded, event: AccountFrozen | AccountUnfrozen | AccountClosed) -> None:
        account = self.accounts.get(recorded.stream_id)
        if account is None:
            self._contradicts(recorded, "an account opened before", "none")
            return
        account.status = (
            "frozen" if isinstance(event, AccountFrozen) else "open" if isinstance(event, AccountUnfrozen) else "closed"
        )
        account.version = recorded.version
        account.position = recorded.position

    def _contradicts(self, recorded: Recorded, expected: str, found: str) -> None:
        self._tally.problem("event_contradicts", recorded.position, recorded.event.name, expected, found)
