"""Commands upon journal entries."""

from collections.abc import Iterator
from typing import Annotated, ClassVar, Literal, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, model_validator

from commands.account import BookName
from commands.command import (
    Amount,
    Command,
    Currency,
    Day,
    Decided,
    MetadataMap,
    Name,
    Text,
    account_named,
    book_named,
)
from domain import journal
from domain.account import Account
from domain.errors import EntryNotFound
from domain.ledger import Draft
from domain.posting import Posting, Side

POSTINGS_MAX = 1000
"""Postings of one entry."""


class PostingAsked(BaseModel):
    """One account, by its code or id, one side, one amount in minor units of the account's currency."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    account: Name
    side: Annotated[Side, Field(strict=False)]
    amount: Amount
    currency: Currency


class PostEntry(Command):
    """Record a journal entry: postings that balance per currency, all or none.

    `value_date` is the day it counts for, today unless said otherwise; it may lie in the past.
    """

    kind: ClassVar[str] = "post_entry"
    names_stream: ClassVar[bool] = True
    book: BookName
    postings: Annotated[tuple[PostingAsked, ...], Field(min_length=2, max_length=POSTINGS_MAX, strict=False)]
    description: Text = ""
    reference: Text = ""
    value_date: Day | None = None
    metadata: MetadataMap = {}

    @model_validator(mode="after")
    def _names_are_well_formed(self) -> Self:
        for posting in self.postings:
            account_named(self.scope, posting.account)
        return self

    @property
    def scope(self) -> UUID:
        return book_named(self.book)

    def sees(self, draft: Draft) -> Iterator[tuple[str, UUID]]:
        book_id = self.scope
        for posting in self.postings:
            yield "account", account_named(book_id, posting.account)

    def decide(self, draft: Draft, command_id: UUID) -> Decided:
        book_id = self.scope
        postings = [Posting(account_named(book_id, p.account), p.side, p.amount, p.currency) for p in self.postings]
        posted = journal.post(
            _known(draft, postings),
            draft.totals,
            book_id=book_id,
            postings=postings,
            value_date=self.value_date or draft.now.date(),
            description=self.description,
            reference=self.reference,
            metadata=self.metadata,
        )
        return [(command_id, 1, posted)]


class ReverseEntry(Command):
    """Undo a journal entry by its mirror, once, at today's value date or the original one."""

    kind: ClassVar[str] = "reverse_entry"
    names_stream: ClassVar[bool] = True
    entry_id: Annotated[UUID, Field(strict=False)]
    value_date: Literal["today", "original"] = "today"
    description: Text = ""
    metadata: MetadataMap = {}

    @property
    def scope(self) -> UUID:
        return self.entry_id

    def sees(self, draft: Draft) -> Iterator[tuple[str, UUID]]:
        yield "entry", self.entry_id
        entry = draft.entries.get(self.entry_id)
        if entry is not None:
            for posting in entry.posted.postings:
                yield "account", posting.account_id

    def decide(self, draft: Draft, command_id: UUID) -> Decided:
        entry = draft.entries[self.entry_id]
        if entry is None:
            raise EntryNotFound(self.entry_id)
        original = entry.posted
        posted, reversed_ = journal.reverse(
            entry,
            _known(draft, original.postings),
            draft.totals,
            reversal_id=command_id,
            value_date=original.value_date if self.value_date == "original" else draft.now.date(),
            description=self.description or f"Reversal: {original.description}",
            metadata=self.metadata,
        )
        return [(command_id, 1, posted), (entry.id, entry.version + 1, reversed_)]


def _known(draft: Draft, postings: "list[Posting] | tuple[Posting, ...]") -> dict[UUID, Account]:
    found = {p.account_id: draft.accounts[p.account_id] for p in postings}
    return {account_id: account for account_id, account in found.items() if account is not None}
