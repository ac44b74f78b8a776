"""Commands upon journal entries."""

import re
from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from typing import Annotated, Any, ClassVar, Literal, Self
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, WithJsonSchema, model_validator

from commands.account import BookName
from commands.command import (
    Amount,
    Command,
    Currency,
    Day,
    Decided,
    EntryId,
    Limit,
    MetadataMap,
    Name,
    Text,
    account_named,
    book_named,
    known_accounts,
    once,
)
from domain import fx, journal, split
from domain.errors import EntryNotFound
from domain.journal import Condition
from domain.ledger import Draft
from domain.money import AMOUNT_MAX
from domain.posting import Posting, Side

POSTINGS_MAX = 1000
"""Postings of one entry."""

_SHARE = re.compile(r"(\d{1,9})/([1-9]\d{0,8})|(\d{1,3}(?:\.\d{1,9})?)%", re.ASCII)
_SHARE_SHOWN = WithJsonSchema(
    {
        "type": "string",
        "maxLength": 20,
        "pattern": r"^([0-9]{1,9}/[1-9][0-9]{0,8}|[0-9]{1,3}(\.[0-9]{1,9})?%)$",
    }
)


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class _OnAccount(_Part):
    """An account, by its code or id, and what must be so of it before the entry.

    `if_available_at_least` is in minor units; `if_version` is the number of the account's last posting.
    """

    account: Name
    if_available_at_least: Limit | None = None
    if_version: Annotated[int, Field(ge=0, le=AMOUNT_MAX)] | None = None

    def condition(self, book: UUID) -> Condition | None:
        if self.if_available_at_least is None and self.if_version is None:
            return None
        return Condition(account_named(book, self.account), self.if_available_at_least, self.if_version)


class PostingAsked(_OnAccount):
    """One account, one side, one amount in minor units of the account's currency."""

    side: Annotated[Side, Field(strict=False)]
    amount: Amount
    currency: Currency


class SourceAsked(_OnAccount):
    """What gives, up to `maximum` minor units and to what its limits allow."""

    maximum: Amount | None = None


def _share(text: str) -> str:
    if not Fraction(0) < share_of(text) <= 1:
        raise ValueError("a share is more than nothing and no more than the whole")
    return text


def share_of(text: str) -> Fraction:
    """The part of a whole in `1/3` or `33.3%`; ValueError if it is neither."""
    match = _SHARE.fullmatch(text)
    if match is None:
        raise ValueError("a share is written 1/3 or 33.3%")
    return Fraction(int(match[1]), int(match[2])) if match[1] else Fraction(match[3]) / 100


class DestinationAsked(_OnAccount):
    """What receives: a fixed `amount` in minor units, a `share` of the whole, or, with neither, what remains."""

    amount: Amount | None = None
    share: Annotated[str, StringConstraints(max_length=20), AfterValidator(_share), _SHARE_SHOWN] | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if self.amount is not None and self.share is not None:
            raise ValueError("a destination has an amount or a share, not both")
        return self


class SplitAsked(_Part):
    """An amount from several sources in order to several destinations."""

    amount: Amount
    currency: Currency
    sources: Annotated[tuple[SourceAsked, ...], Field(min_length=1, max_length=100, strict=False)]
    destinations: Annotated[tuple[DestinationAsked, ...], Field(min_length=1, max_length=500, strict=False)]

    @model_validator(mode="after")
    def _one_remainder(self) -> Self:
        if sum(one.amount is None and one.share is None for one in self.destinations) > 1:
            raise ValueError("at most one destination takes what remains")
        return self

    def postings(self, draft: Draft, book: UUID) -> list[Posting]:
        sources = [split.Source(account_named(book, one.account), one.maximum) for one in self.sources]
        destinations = [
            split.Destination(account_named(book, one.account), one.amount, share_of(one.share) if one.share else None)
            for one in self.destinations
        ]
        return split.split(
            known_accounts(
                draft, [*(one.account_id for one in sources), *(one.account_id for one in destinations)], book
            ),
            draft.totals,
            amount=self.amount,
            currency=self.currency,
            sources=sources,
            destinations=destinations,
            now=draft.now,
        )


def _rate(text: str) -> str:
    if Decimal(text) <= 0:
        raise ValueError("a rate is more than 0")
    return text


class ExchangeEnd(_OnAccount):
    """One end of an exchange, and the account that holds the book's position in its currency."""

    position_account: Name


class ExchangeAsked(_Part):
    """`amount` minor units leave the source; the destination receives it at `rate`, rounded half even once.

    `rate` is how much of the destination's currency one of the source's is, in whole units: 1.0842 for EUR into USD.
    """

    source: ExchangeEnd
    destination: ExchangeEnd
    amount: Amount
    rate: Annotated[str, StringConstraints(pattern=r"^[0-9]{1,12}(\.[0-9]{1,12})?$"), AfterValidator(_rate)]
    rate_source: Text = ""

    def postings(self, draft: Draft, book: UUID) -> tuple[list[Posting], dict[str, Any]]:
        source, source_position = (account_named(book, n) for n in (self.source.account, self.source.position_account))
        destination, destination_position = (
            account_named(book, n) for n in (self.destination.account, self.destination.position_account)
        )
        return fx.exchange(
            known_accounts(draft, [source, source_position, destination, destination_position], book),
            source_id=source,
            source_position_id=source_position,
            destination_id=destination,
            destination_position_id=destination_position,
            amount=self.amount,
            rate=Decimal(self.rate),
            rate_source=self.rate_source,
        )


class PostEntry(Command):
    """Record a journal entry: postings that balance per currency, all or none.

    The postings are given, or worked out from a `split` or an `exchange`. `value_date` is the day it counts for, today
    unless said otherwise; it may lie in the past.
    """

    kind: ClassVar[str] = "post_entry"
    names_stream: ClassVar[bool] = True
    book: BookName
    postings: Annotated[tuple[PostingAsked, ...], Field(min_length=2, max_length=POSTINGS_MAX, strict=False)] | None = (
        None
    )
    split: SplitAsked | None = None
    exchange: ExchangeAsked | None = None
    description: Text = ""
    reference: Text = ""
    value_date: Day | None = None
    metadata: MetadataMap = Field(default_factory=dict)

    @model_validator(mode="after")
    def _is_well_formed(self) -> Self:
        if sum(form is not None for form in (self.postings, self.split, self.exchange)) != 1:
            raise ValueError("an entry is given as one of postings, split and exchange")
        _ = self.account_ids
        return self

    @once
    def scope(self) -> UUID:
        return book_named(self.book)

    @once
    def account_ids(self) -> tuple[UUID, ...]:
        """Of every account named, in the order of their naming; ValueError for a malformed id."""
        book_id = self.scope
        return tuple([account_named(book_id, name) for name in self._accounts()])

    def _parts(self) -> Iterator[_OnAccount]:
        if self.postings is not None:
            yield from self.postings
        if self.split is not None:
            yield from self.split.sources
            yield from self.split.destinations
        if self.exchange is not None:
            yield from (self.exchange.source, self.exchange.destination)

    def _accounts(self) -> Iterator[str]:
        for part in self._parts():
            yield part.account
            if isinstance(part, ExchangeEnd):
                yield part.position_account

    def sees(self, draft: Draft) -> Iterator[tuple[str, UUID]]:
        for account_id in self.account_ids:
            yield "account", account_id

    def decide(self, draft: Draft, command_id: UUID) -> Decided:
        book_id = self.scope
        postings, recipe = self._worked_out(draft, book_id)
        posted = journal.post(
            known_accounts(draft, self.account_ids, book_id),
            draft.totals,
            book_id=book_id,
            postings=postings,
            value_date=self.value_date or draft.now.date(),
            now=draft.now,
            conditions=[found for part in self._parts() if (found := part.condition(book_id)) is not None],
            description=self.description,
            reference=self.reference,
            metadata=self.metadata,
            recipe=recipe,
        )
        return [(command_id, 1, posted)]

    def _worked_out(self, draft: Draft, book: UUID) -> tuple[list[Posting], dict[str, Any] | None]:
        if self.split is not None:
            recipe = self.split.model_dump(mode="json", exclude_defaults=True)
            return self.split.postings(draft, book), {"split": recipe}
        if self.exchange is not None:
            return self.exchange.postings(draft, book)
        assert self.postings is not None
        named = zip(self.account_ids, self.postings, strict=True)
        return [Posting(account_id, p.side, p.amount, p.currency) for account_id, p in named], None


class ReverseEntry(Command):
    """Undo a journal entry by its mirror, once, at today's value date or the original one."""

    kind: ClassVar[str] = "reverse_entry"
    names_stream: ClassVar[bool] = True
    entry_id: EntryId
    value_date: Literal["today", "original"] = "today"
    description: Text = ""
    metadata: MetadataMap = Field(default_factory=dict)

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
            known_accounts(draft, [posting.account_id for posting in original.postings], original.book_id),
            draft.totals,
            reversal_id=command_id,
            value_date=original.value_date if self.value_date == "original" else draft.now.date(),
            now=draft.now,
            description=self.description or f"Reversal: {original.description}",
            metadata=self.metadata,
        )
        return [(command_id, 1, posted), (entry.id, entry.version + 1, reversed_)]
