"""Books as a running server answers for them, over HTTP."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime
from uuid import UUID

from adapters.cli import showing
from adapters.cli.books import Entry, EntryPosting, Line, account_id, book_id, entry_named
from adapters.cli.failing import NO, Failed
from adapters.cli.server import head, server
from adapters.client import Client, NotFound, calls
from adapters.client import resources as answered
from domain import ids
from domain.account import Account, Limits, Status, Type
from domain.posting import Totals
from replay.point_in_time import Moment

PAGE = 1000
"""Items asked for at once."""


@contextmanager
def books_on_server(url: str) -> Iterator["BooksOnServer"]:
    """The books of the server at that URL."""
    with server(url, actor="daybook") as client:
        yield BooksOnServer(client)


class BooksOnServer:
    """`Books` of a server."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def accounts(self, book: str) -> list[Account]:
        self._must_be_here(book)
        return [_account(account) for account in self._client.list_accounts(book=book, limit=PAGE)]

    def balances(
        self, book: str, account: str | None, *, before: date | None, at: datetime | None, position: int | None
    ) -> tuple[Moment, list[Line]]:
        """All at one position, however many pages they come in."""
        self._must_be_here(book)
        until = self._position(book, at=at, position=position)
        found = [self._one(book, account, until)] if account is not None else self._all(book, until)
        then = Moment(until, self._recorded_at(until), before)
        return then, found if before is None else self._before(book, before, until, found)

    def entry(self, entry_id: str) -> Entry:
        entry_named(entry_id)
        try:
            return _entry(self._client.read_entry(entry_id))
        except NotFound as error:
            for record in self._client.list_records(stream=entry_id, refused=True, limit=1):
                if record.refusal is not None:
                    raise Failed(f"{entry_id} was refused: {record.refusal.code}", exit_code=NO) from error
            raise Failed(f"there is no entry {entry_id}", exit_code=NO) from error

    def referenced(self, book: str, reference: str) -> list[Entry]:
        self._must_be_here(book)
        found = self._client.list_entries(book=book, reference=reference, limit=PAGE)
        return [_entry(entry) for entry in found][::-1]

    def _must_be_here(self, book: str) -> None:
        book_id(book)
        try:
            self._client.read_book(book)
        except NotFound as error:
            raise Failed(f"there is no book {book} here yet", exit_code=NO) from error

    def _position(self, book: str, *, at: datetime | None, position: int | None) -> int:
        """The position that is asked about, by whatever it is named."""
        if at is not None:
            answer = self._client.answer(calls.list_balances(book=book, at=at, limit=1).call)
            assert answer.position is not None, "every read says its position"
            return answer.position
        end = head(self._client)
        if position is not None and position > end:
            raise Failed(f"position {position} is not in the log, which ends at {end}")
        return end if position is None else position

    def _recorded_at(self, position: int) -> datetime | None:
        if position == 0:
            return None
        return next(self._client.list_events(starting_after=position - 1, limit=1)).recorded_at

    def _one(self, book: str, name: str, position: int) -> Line:
        account = ids.show(ids.ACCOUNT, account_id(book_id(book), name))
        try:
            balance = self._client.read_balance(account, position=position)
            if self._client.read_account(account).book_id == ids.show(ids.BOOK, book_id(book)):
                return _line(balance)
        except NotFound:
            pass
        raise Failed(f"the book has no account {name}, or had none then", exit_code=NO)

    def _all(self, book: str, position: int) -> list[Line]:
        return [_line(balance) for balance in self._client.list_balances(book=book, position=position, limit=PAGE)]

    def _before(self, book: str, before: date, position: int, found: list[Line]) -> list[Line]:
        """The lines with what was posted before a day. What holds had set aside by then a server does not tell."""
        if next(self._client.list_holds(book=book, limit=1), None) is not None:
            raise Failed(
                f"book {book} has holds, of which a server does not tell by --before; without --server it goes"
            )
        report = self._client.read_trial_balance(book, before=before, position=position)
        posted = {line.code: Totals(0, line.debits, line.credits, 0, 0) for line in report.lines}
        nothing = Totals(0, 0, 0, 0, 0)
        return [
            Line(line.account_id, line.code, line.type, line.currency, posted.get(line.code, nothing)) for line in found
        ]


def _account(account: answered.Account) -> Account:
    """With the limits in force as its only ones."""
    limits = Limits(None, account.overdraft_limit, account.floor, account.ceiling)
    return Account(
        id=ids.parse(ids.ACCOUNT, account.id),
        version=account.version,
        book_id=ids.parse(ids.BOOK, account.book_id),
        code=account.code,
        type=Type(account.type),
        currency=account.currency,
        limits=(limits,),
        title=account.title,
        opened_on=account.opened_on,
        metadata=account.metadata,
        status=Status(account.status),
    )


def _line(balance: answered.Balance) -> Line:
    """Without the number of postings, which is nowhere shown."""
    totals = Totals(0, balance.debits, balance.credits, balance.pending_debits, balance.pending_credits)
    account: UUID = ids.parse(ids.ACCOUNT, balance.account_id)
    return Line(account, balance.code, Type(balance.type), balance.currency, totals)


def _entry(entry: answered.Entry) -> Entry:
    return Entry(
        id=entry.id,
        book_id=entry.book_id,
        position=entry.position,
        recorded_at=showing.instant(entry.recorded_at),
        value_date=entry.value_date.isoformat(),
        description=entry.description,
        reference=entry.reference,
        metadata=entry.metadata,
        actor=entry.actor,
        reverses=entry.reverses,
        reversed_by=entry.reversed_by,
        captures=entry.captures,
        recipe=entry.recipe,
        postings=[
            EntryPosting(
                account=posting.account_code,
                account_id=posting.account_id,
                side=posting.side,
                amount=posting.amount,
                currency=posting.currency,
            )
            for posting in entry.postings
        ],
    )
