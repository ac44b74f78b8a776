"""Commands upon holds."""

from collections.abc import Iterator
from typing import ClassVar, Self
from uuid import UUID

from pydantic import Field, model_validator

from commands.account import BookName
from commands.command import (
    Amount,
    Command,
    Currency,
    Day,
    Decided,
    HoldId,
    Instant,
    MetadataMap,
    Name,
    Text,
    account_named,
    book_named,
    known_accounts,
)
from domain import hold
from domain.account import Account
from domain.errors import HoldNotFound, HoldOfPayment
from domain.hold import Hold
from domain.ledger import Draft


class PlaceHold(Command):
    """Set funds aside on `account`, to be captured for `destination`.

    The available balance of `account` falls at once, the ledger balance with a capture. Without `expires_at` the hold
    stays until it is captured or voided.
    """

    kind: ClassVar[str] = "place_hold"
    names_stream: ClassVar[bool] = True
    book: BookName
    account: Name
    destination: Name
    amount: Amount
    currency: Currency
    expires_at: Instant | None = None
    description: Text = ""
    reference: Text = ""
    metadata: MetadataMap = Field(default_factory=dict)

    @model_validator(mode="after")
    def _names_accounts(self) -> Self:
        for name in (self.account, self.destination):
            account_named(self.scope, name)
        return self

    @property
    def scope(self) -> UUID:
        return book_named(self.book)

    def sees(self, draft: Draft) -> Iterator[tuple[str, UUID]]:
        yield "account", account_named(self.scope, self.account)
        yield "account", account_named(self.scope, self.destination)

    def decide(self, draft: Draft, command_id: UUID) -> Decided:
        book_id = self.scope
        account_id, destination_id = (account_named(book_id, name) for name in (self.account, self.destination))
        placed = hold.place(
            known_accounts(draft, [account_id, destination_id], book_id),
            draft.totals,
            book_id=book_id,
            account_id=account_id,
            destination_id=destination_id,
            amount=self.amount,
            currency=self.currency,
            expires_at=self.expires_at,
            now=draft.now,
            description=self.description,
            reference=self.reference,
            metadata=self.metadata,
        )
        return [(command_id, 1, placed)]


class _OfHold(Command):
    """A command upon a hold that exists."""

    hold_id: HoldId

    @property
    def scope(self) -> UUID:
        return self.hold_id

    def sees(self, draft: Draft) -> Iterator[tuple[str, UUID]]:
        yield "hold", self.hold_id
        known = draft.holds.get(self.hold_id)
        if known is not None:
            for posting in known.placed.postings:
                yield "account", posting.account_id

    def known(self, draft: Draft) -> Hold:
        found = draft.holds[self.hold_id]
        if found is None:
            raise HoldNotFound(self.hold_id)
        if found.placed.payment_id is not None:
            raise HoldOfPayment(found.id, found.placed.payment_id)
        return found


class IncreaseHold(_OfHold):
    """Set more aside."""

    kind: ClassVar[str] = "increase_hold"
    amount: Amount

    def decide(self, draft: Draft, command_id: UUID) -> Decided:
        known = self.known(draft)
        event = hold.increase(known, _accounts_of(draft, known), draft.totals, amount=self.amount, now=draft.now)
        return [(known.id, known.version + 1, event)]


class CaptureHold(_OfHold):
    """Make some or all of what is held a journal entry.

    Without `amount`, all that remains. `final` gives the rest up.
    """

    kind: ClassVar[str] = "capture_hold"
    names_stream: ClassVar[bool] = True
    amount: Amount | None = None
    final: bool = False
    description: Text = ""
    value_date: Day | None = None
    metadata: MetadataMap = Field(default_factory=dict)

    def decide(self, draft: Draft, command_id: UUID) -> Decided:
        known = self.known(draft)
        entry, captured = hold.capture(
            known,
            _accounts_of(draft, known),
            draft.totals,
            entry_id=command_id,
            amount=self.amount,
            final=self.final,
            now=draft.now,
            value_date=self.value_date or draft.now.date(),
            description=self.description,
            metadata=self.metadata,
        )
        # What is set aside is given back before the entry takes it, so that no position counts it twice.
        return [(known.id, known.version + 1, captured), (command_id, 1, entry)]


class VoidHold(_OfHold):
    """Give up what was not captured."""

    kind: ClassVar[str] = "void_hold"
    reason: Text = ""

    def decide(self, draft: Draft, command_id: UUID) -> Decided:
        known = self.known(draft)
        return [(known.id, known.version + 1, hold.void(known, now=draft.now, reason=self.reason))]


class ExpireHold(_OfHold):
    """End a hold whose time has come. Daybook gives this itself; giving it again changes nothing."""

    kind: ClassVar[str] = "expire_hold"

    def decide(self, draft: Draft, command_id: UUID) -> Decided:
        known = self.known(draft)
        return [(known.id, known.version + 1, hold.expire(known, now=draft.now))]


def _accounts_of(draft: Draft, known: Hold) -> dict[UUID, Account]:
    return known_accounts(draft, [posting.account_id for posting in known.placed.postings], known.placed.book_id)
