"""A posting: one account, one positive amount, one side. An account's totals are the sums of its postings."""

from collections.abc import Iterable, MutableMapping
from datetime import date
from enum import StrEnum
from typing import Final
from uuid import UUID

from msgspec import Struct

# gc=False: these are made by the million, refer to no container, and so cannot be part of a cycle.


class Side(StrEnum):
    DEBIT = "debit"
    CREDIT = "credit"

    @property
    def other(self) -> "Side":
        return Side.CREDIT if self is Side.DEBIT else Side.DEBIT


class Posting(Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """`amount` is in minor units of `currency`, at least 1."""

    account_id: UUID
    side: Side
    amount: int
    currency: str


class Totals(Struct, frozen=True, gc=False):
    """What an account's postings add up to, in minor units, and how many they are."""

    number: int
    debits: int
    credits: int
    pending_debits: int
    pending_credits: int

    def after(self, side: Side, amount: int, *, pending: bool = False) -> "Totals":
        """With one more posting, posted at once or set aside; a `pending` amount below zero takes that back."""
        number = self.number + 1
        if pending:
            if side is Side.DEBIT:
                return Totals(number, self.debits, self.credits, self.pending_debits + amount, self.pending_credits)
            return Totals(number, self.debits, self.credits, self.pending_debits, self.pending_credits + amount)
        if side is Side.DEBIT:
            return Totals(number, self.debits + amount, self.credits, self.pending_debits, self.pending_credits)
        return Totals(number, self.debits, self.credits + amount, self.pending_debits, self.pending_credits)


class Line(Struct, frozen=True, gc=False):
    """What an event does to one account, in minor units: posted for good, or pending until its hold ends.

    A pending amount is taken back by a line with the same amount below zero.
    """

    account_id: UUID
    side: Side
    amount: int
    pending: bool

    def onto(self, totals: Totals) -> Totals:
        """The account's totals with it."""
        return totals.after(self.side, self.amount, pending=self.pending)


def posted(postings: Iterable[Posting]) -> list[Line]:
    """The lines of postings that stand."""
    return [Line(posting.account_id, posting.side, posting.amount, False) for posting in postings]


def held(postings: Iterable[Posting]) -> list[Line]:
    """The lines of postings that are set aside."""
    return [Line(posting.account_id, posting.side, posting.amount, True) for posting in postings]


def released(postings: Iterable[Posting]) -> list[Line]:
    """The lines that take back what was set aside."""
    return [Line(posting.account_id, posting.side, -posting.amount, True) for posting in postings]


ZERO: Final = Totals(0, 0, 0, 0, 0)


class PostingRow(Struct, frozen=True, gc=False):
    """A posting as the ledger keeps it: the account's posting number, and its totals after it."""

    account_id: UUID
    position: int
    side: Side
    amount: int
    pending: bool
    value_date: date
    totals: Totals


def sums(postings: Iterable[Posting]) -> dict[str, tuple[int, int]]:
    """Debits and credits by currency, in minor units."""
    totals: dict[str, tuple[int, int]] = {}
    for posting in postings:
        debits, credits = totals.get(posting.currency, (0, 0))
        if posting.side is Side.DEBIT:
            totals[posting.currency] = (debits + posting.amount, credits)
        else:
            totals[posting.currency] = (debits, credits + posting.amount)
    return totals


def rows(
    lines: Iterable[Line], *, position: int, value_date: date, totals: MutableMapping[UUID, Totals]
) -> list[PostingRow]:
    """The ledger rows of one event, in its order; brings `totals` (by account, all there) up to date as it goes."""
    made = []
    for line in lines:
        after = totals[line.account_id] = line.onto(totals[line.account_id])
        made.append(PostingRow(line.account_id, position, line.side, line.amount, line.pending, value_date, after))
    return made
