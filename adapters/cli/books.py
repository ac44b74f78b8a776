"""What the asking commands want to know of a book, whoever answers: the log itself, or a server."""

from datetime import date, datetime
from typing import Any, Protocol
from uuid import UUID

import msgspec
from msgspec import Struct

from adapters.cli.failing import Failed
from commands.command import account_named, book_named
from domain import account as account_rules
from domain import ids
from domain.account import Account, Type
from domain.posting import Side, Totals
from replay.point_in_time import Moment


class Line(Struct, frozen=True):
    """An account with its totals at the moment asked for."""

    account_id: UUID
    code: str
    type: Type
    currency: str
    totals: Totals

    @property
    def net(self) -> int:
        """Debit positive, in minor units."""
        return self.totals.debits - self.totals.credits

    @property
    def available(self) -> int:
        """What holds have left of it; debit positive, in minor units."""
        available = account_rules.balance(self.type, self.totals).available
        return available if self.type.normal_side is Side.DEBIT else -available


class EntryPosting(Struct, frozen=True, kw_only=True):
    """`account` is its code; `amount` in minor units."""

    account: str
    account_id: str
    side: str
    amount: int
    currency: str


class Entry(Struct, frozen=True, kw_only=True):
    """A journal entry as it is shown: ids as TypeIDs, times and days as text."""

    id: str
    book_id: str
    position: int
    recorded_at: str
    value_date: str
    description: str
    reference: str
    metadata: dict[str, str]
    actor: str
    reverses: str | None
    reversed_by: str | None
    captures: str | None
    recipe: dict[str, Any] | None
    postings: list[EntryPosting]

    def json(self) -> dict[str, Any]:
        """Whatever the order in which a store keeps the keys of metadata."""
        shown: dict[str, Any] = msgspec.to_builtins(self, order="deterministic")
        return shown


class Books(Protocol):
    """Books are named by code or id, accounts too.

    Raises, from every method:
        Failed: There is no such thing, or it cannot be asked for.
    """

    def accounts(self, book: str) -> list[Account]:
        """All of the book, as they are now."""
        ...

    def balances(
        self, book: str, account: str | None, *, before: date | None, at: datetime | None, position: int | None
    ) -> tuple[Moment, list[Line]]:
        """Of one account or of all that the book had then, all at one moment."""
        ...

    def entry(self, entry_id: str) -> Entry:
        """The one of that `je_` id."""
        ...

    def referenced(self, book: str, reference: str) -> list[Entry]:
        """Those of the book with that reference, oldest first."""
        ...


def book_id(name: str) -> UUID:
    """The id of the book of that code or id, be there one or not; Failed if it is malformed."""
    try:
        return book_named(name)
    except ValueError as error:
        raise Failed(f"{name}: {error}") from error


def account_id(book: UUID, name: str) -> UUID:
    """The id of the account of that code or id, be there one or not; Failed if it is malformed."""
    try:
        return account_named(book, name)
    except ValueError as error:
        raise Failed(f"{name}: {error}") from error


def entry_named(name: str) -> UUID:
    """What a `je_` id stands for, be there such an entry or not; Failed if it is malformed."""
    try:
        return ids.parse(ids.ENTRY, name)
    except ValueError as error:
        raise Failed(f"{name}: {error}") from error
