"""Commands upon accounts."""

from abc import abstractmethod
from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, ClassVar
from uuid import UUID

from pydantic import AfterValidator, Field

from commands.command import (
    AccountId,
    Code,
    Command,
    Currency,
    Day,
    Decided,
    Instant,
    Limit,
    MetadataMap,
    Name,
    Text,
    book_named,
)
from domain import account, ids
from domain.account import Account, Type
from domain.errors import AccountNotFound
from domain.events import Event
from domain.ledger import Draft
from domain.money import AMOUNT_MAX
from domain.posting import Totals


def _book(name: str) -> str:
    book_named(name)
    return name


BookName = Annotated[Name, AfterValidator(_book)]


class OpenAccount(Command):
    """Open an account of one currency, with its place in the chart of accounts.

    Limits are in minor units on the account's normal side. `overdraft_limit` is how far below zero the balance may go:
    0 unless said otherwise, null for no limit. `floor` and `ceiling` are the lowest and highest balance.
    """

    kind: ClassVar[str] = "open_account"
    book: BookName
    code: Code
    type: Annotated[Type, Field(strict=False)]
    currency: Currency
    overdraft_limit: Annotated[int, Field(ge=0, le=AMOUNT_MAX)] | None = 0
    floor: Limit | None = None
    ceiling: Limit | None = None
    title: Text = ""
    opened_on: Day | None = None
    metadata: MetadataMap = Field(default_factory=dict)

    @property
    def scope(self) -> UUID:
        return book_named(self.book)

    def sees(self, draft: Draft) -> Iterator[tuple[str, UUID]]:
        yield "book", self.scope
        yield "account", ids.account_id(self.scope, self.code)

    def decide(self, draft: Draft, command_id: UUID) -> Decided:
        book_id = self.scope
        account_id = ids.account_id(book_id, self.code)
        event = account.open_account(
            draft.accounts[account_id],
            draft.books[book_id],
            book_id=book_id,
            account_id=account_id,
            code=self.code,
            type=self.type,
            currency=self.currency,
            overdraft_limit=self.overdraft_limit,
            floor=self.floor,
            ceiling=self.ceiling,
            title=self.title,
            opened_on=self.opened_on or draft.now.date(),
            metadata=self.metadata,
        )
        return [(account_id, 1, event)]


class _OfAccount(Command):
    """A command upon an account that exists."""

    account_id: AccountId
    reason: Text = ""

    @property
    def scope(self) -> UUID:
        return self.account_id

    def sees(self, draft: Draft) -> Iterator[tuple[str, UUID]]:
        yield "account", self.account_id

    def decide(self, draft: Draft, command_id: UUID) -> Decided:
        known = draft.accounts[self.account_id]
        if known is None:
            raise AccountNotFound(self.account_id)
        event = self.upon(known, draft.totals[self.account_id], draft.now)
        return [(self.account_id, known.version + 1, event)]

    @abstractmethod
    def upon(self, known: Account, totals: Totals, now: datetime) -> Event:
        """What is decided of the account as it is."""


class FreezeAccount(_OfAccount):
    """Let nothing be posted to the account until it is unfrozen."""

    kind: ClassVar[str] = "freeze_account"

    def upon(self, known: Account, totals: Totals, now: datetime) -> Event:
        return account.freeze(known, reason=self.reason)


class UnfreezeAccount(_OfAccount):
    """Let a frozen account take postings again."""

    kind: ClassVar[str] = "unfreeze_account"

    def upon(self, known: Account, totals: Totals, now: datetime) -> Event:
        return account.unfreeze(known, reason=self.reason)


class ChangeLimits(_OfAccount):
    """Set all three limits anew, at once or from a time to come; a limit left out is none."""

    kind: ClassVar[str] = "change_limits"
    overdraft_limit: Annotated[int, Field(ge=0, le=AMOUNT_MAX)] | None
    floor: Limit | None = None
    ceiling: Limit | None = None
    effective_at: Instant | None = None

    def upon(self, known: Account, totals: Totals, now: datetime) -> Event:
        return account.change_limits(
            known,
            overdraft_limit=self.overdraft_limit,
            floor=self.floor,
            ceiling=self.ceiling,
            effective_at=self.effective_at,
            now=now,
            reason=self.reason,
        )


class CloseAccount(_OfAccount):
    """Close an empty account for ever."""

    kind: ClassVar[str] = "close_account"

    def upon(self, known: Account, totals: Totals, now: datetime) -> Event:
        return account.close(known, totals, reason=self.reason)
