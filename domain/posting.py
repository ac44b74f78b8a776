"""A posting: one account, one positive amount, one side. An account's totals are the sums of its postings."""

from collections.abc import Iterable, Iterator
from datetime import date
from enum import StrEnum
from typing import Final
from uuid import UUID

from msgspec import Struct


class Side(StrEnum):
    DEBIT = "debit"
    CREDIT = "credit"

    @property
    def other(self) -> "Side":
        return Side.CREDIT if self is Side.DEBIT else Side.DEBIT


class Posting(Struct, frozen=True, forbid_unknown_fields=True):
    """`amount` is in minor units of `currency`, at least 1."""

    account_id: UUID
    side: Side
    amount: int
    currency: str


class Totals(Struct, frozen=True):
    """What an account's postings add up to, in minor units, and how many they are."""

    number: int
    debits: int
    credits: int
    pending_debits: int
    pending_credits: int

    def after(self, side: Side, amount: int) -> "Totals":
        """With one more posting, posted at once."""
        if side is Side.DEBIT:
            return Totals(
                self.number + 1, self.debits + amount, self.credits, self.pending_debits, self.pending_credits
            )
        return Totals(self.number + 1, self.debits, self.credits + amount, self.pending_debits, self.pending_credits)


ZERO: Final = Totals(0, 0, 0, 0, 0)


class PostingRow(Struct, frozen=True):
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
    postings: Iterable[Posting], *, position: int, value_date: date, totals: dict[UUID, Totals]
) -> Iterator[PostingRow]:
    """The ledger rows of one entry, in its order; brings `totals` (by account) up to date as it goes."""
    for posting in postings:
        after = totals.get(posting.account_id, ZERO).after(posting.side, posting.amount)
        totals[posting.account_id] = after
        yield PostingRow(posting.account_id, position, posting.side, posting.amount, False, value_date, after)
