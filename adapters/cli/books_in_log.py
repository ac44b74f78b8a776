"""Books as the log has them, looked at where it is stored: no server and no read model between."""

from collections.abc import Iterable
from datetime import date, datetime
from uuid import UUID

from adapters.cli import showing
from adapters.cli.books import Entry, EntryPosting, Line, account_id, book_id, entry_named
from adapters.cli.failing import NO, Failed
from adapters.postgres.log import PostgresLog
from domain import account as account_rules
from domain import ids
from domain.account import Account
from domain.events import (
    AccountClosed,
    AccountFrozen,
    AccountLimitsChanged,
    AccountOpened,
    AccountUnfrozen,
    BookOpened,
    CommandRefused,
    EntryPosted,
    EntryReversed,
    RawEvent,
    Recorded,
    recorded,
)
from domain.posting import ZERO, Totals
from replay.point_in_time import Moment, PositionBeyondLog, moment

_OF_ACCOUNTS = [
    cls.name for cls in (AccountOpened, AccountLimitsChanged, AccountFrozen, AccountUnfrozen, AccountClosed)
]


class BooksInLog:
    """`Books` of an open log."""

    def __init__(self, log: PostgresLog) -> None:
        self._log = log

    def accounts(self, book: str) -> list[Account]:
        return list(self._accounts(book_here(self._log, book)).values())

    def balances(
        self, book: str, account: str | None, *, before: date | None, at: datetime | None, position: int | None
    ) -> tuple[Moment, list[Line]]:
        """The numbers come from the postings."""
        then = moment_of(self._log, before=before, at=at, position=position)
        found = self._accounts(book_here(self._log, book), account, until=then.position)
        until = then.position if at is not None or position is not None else None
        return then, with_totals(found, self._log.totals(list(found), until=until, before=before))

    def entry(self, entry_id: str) -> Entry:
        return self._entry(entry_named(entry_id))

    def referenced(self, book: str, reference: str) -> list[Entry]:
        return [self._entry(stream) for stream in self._referenced(book_here(self._log, book), reference)]

    def _accounts(self, book: UUID, name: str | None = None, *, until: int | None = None) -> dict[UUID, Account]:
        """The book's accounts as of a position, or the one of that name."""
        if name is None:
            events: Iterable[RawEvent] = self._log.named(_OF_ACCOUNTS)
        else:
            events = self._log.stream(account_id(book, name))
        found: dict[UUID, Account] = {}
        for event in map(recorded, events):
            if until is not None and event.position > until:
                break
            if isinstance(event.event, AccountOpened):
                if event.event.book_id == book:
                    found[event.stream_id] = account_rules.opened(event.stream_id, event.event)
            elif event.stream_id in found:
                found[event.stream_id] = account_rules.evolve(found[event.stream_id], event.event)
        if name is not None and not found:
            raise Failed(f"the book has no account {name}, or had none then", exit_code=NO)
        return found

    def _referenced(self, book: UUID, reference: str) -> Iterable[UUID]:
        for event in map(recorded, self._log.mentioning(EntryPosted.name, "reference", reference)):
            posted = event.event
            if isinstance(posted, EntryPosted) and posted.book_id == book and posted.reference == reference:
                yield event.stream_id

    def _entry(self, stream: UUID) -> Entry:
        events: list[Recorded] = [recorded(raw) for raw in self._log.stream(stream)]
        name = ids.show(ids.ENTRY, stream)
        if events and isinstance(events[0].event, CommandRefused):
            raise Failed(f"{name} was refused: {events[0].event.code}", exit_code=NO)
        if not events or not isinstance(events[0].event, EntryPosted):
            raise Failed(f"there is no entry {name}", exit_code=NO)
        first, posted = events[0], events[0].event
        reversals = [event.event.reversed_by for event in events if isinstance(event.event, EntryReversed)]
        return Entry(
            id=name,
            book_id=ids.show(ids.BOOK, posted.book_id),
            position=first.position,
            recorded_at=showing.instant(first.recorded_at),
            value_date=posted.value_date.isoformat(),
            description=posted.description,
            reference=posted.reference,
            metadata=posted.metadata,
            actor=first.metadata.actor,
            reverses=ids.show(ids.ENTRY, posted.reverses) if posted.reverses is not None else None,
            reversed_by=ids.show(ids.ENTRY, reversals[0]) if reversals else None,
            captures=ids.show(ids.HOLD, posted.captures) if posted.captures is not None else None,
            recipe=posted.recipe,
            postings=[
                EntryPosting(
                    account=self._code(posting.account_id),
                    account_id=ids.show(ids.ACCOUNT, posting.account_id),
                    side=posting.side.value,
                    amount=posting.amount,
                    currency=posting.currency,
                )
                for posting in posted.postings
            ],
        )

    def _code(self, account: UUID) -> str:
        first = recorded(self._log.stream(account)[0]).event
        return first.code if isinstance(first, AccountOpened) else ids.show(ids.ACCOUNT, account)


def book_here(log: PostgresLog, name: str) -> UUID:
    """The id of the book of that code or id; raises Failed if there is none."""
    book = book_id(name)
    if not any(event.name == BookOpened.name for event in log.stream(book)):
        raise Failed(f"there is no book {name} here yet", exit_code=NO)
    return book


def moment_of(log: PostgresLog, *, before: date | None, at: datetime | None, position: int | None) -> Moment:
    """What is being asked for; Failed if the log has not come to it."""
    try:
        return moment(log, position=position, at=at, before=before)
    except PositionBeyondLog as error:
        raise Failed(str(error)) from error


def with_totals(accounts: dict[UUID, Account], totals: dict[UUID, Totals]) -> list[Line]:
    """Each account with its totals."""
    return [
        Line(account.id, account.code, account.type, account.currency, totals.get(account.id, ZERO))
        for account in accounts.values()
    ]
