"""Journal entries: postings that balance per currency, recorded together or not at all, undone by a mirror entry."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any
from uuid import UUID

from msgspec import Struct

from domain.account import ESCROW, Account, balance, must_allow, must_be_open
from domain.errors import (
    AccountHoldsEscrows,
    AccountNotFound,
    ConditionFailed,
    CurrencyMismatch,
    EntryAlreadyReversed,
    EntryIsReversal,
    EntryUnbalanced,
)
from domain.events import EntryPosted, EntryReversed
from domain.posting import ZERO, Posting, Totals, posted, sums


class Entry(Struct, frozen=True):
    """An entry as later commands see it."""

    id: UUID
    version: int
    posted: EntryPosted
    reversed_by: UUID | None


class Condition(Struct, frozen=True):
    """What must be so of an account before an entry; None asks for nothing.

    `available_at_least` is in minor units on the normal side; `version` is the number of the account's last posting.
    """

    account_id: UUID
    available_at_least: int | None = None
    version: int | None = None

    def must_hold(self, accounts: Mapping[UUID, Account], totals: Mapping[UUID, Totals]) -> None:
        """Raises ConditionFailed, or AccountNotFound."""
        account, found = accounts.get(self.account_id), totals.get(self.account_id, ZERO)
        if account is None:
            raise AccountNotFound(self.account_id)
        if self.version is not None and found.number != self.version:
            raise ConditionFailed(self.account_id, "if_version", self.version, found.number)
        available = balance(account.type, found).available
        if self.available_at_least is not None and available < self.available_at_least:
            raise ConditionFailed(self.account_id, "if_available_at_least", self.available_at_least, available)


def post(
    accounts: Mapping[UUID, Account],
    totals: Mapping[UUID, Totals],
    *,
    book_id: UUID,
    postings: Sequence[Posting],
    value_date: date,
    description: str,
    reference: str,
    metadata: dict[str, str],
    now: datetime,
    conditions: Sequence[Condition] = (),
    recipe: dict[str, Any] | None = None,
    reverses: UUID | None = None,
    by_escrow: bool = False,
) -> EntryPosted:
    """Record postings together.

    Args:
        accounts, totals: What is known of every account among the postings; one that is absent does not exist.
        postings: At least one, amounts of at least 1; any number of accounts and currencies, an account more than once.
        value_date: The day it counts for; may lie in the past or the future.
        now: When it is decided, for limits that change with time.
        conditions: What must be so before it.
        recipe: What the postings were worked out from, kept beside them.
        by_escrow: Whether it is what happens to an escrow, which alone moves what escrows set apart.

    Raises:
        EntryUnbalanced: Debits and credits differ in a currency.
        AccountNotFound: An account does not exist in this book.
        AccountHoldsEscrows: An account is not to be posted to by hand.
        ConditionFailed: A condition does not hold.
        CurrencyMismatch: A posting is in another currency than its account.
        AccountIsFrozen, AccountIsClosed: An account takes no postings.
        TotalTooLarge, InsufficientFunds, CeilingExceeded: A limit, looked at after all postings of the entry.
    """
    for currency, (debits, credits) in sums(postings).items():
        if debits != credits:
            raise EntryUnbalanced(currency, debits, credits)
    for posting in postings:
        account = accounts.get(posting.account_id)
        if account is None or account.book_id != book_id:
            raise AccountNotFound(posting.account_id)
        if account.code.startswith(ESCROW) and not by_escrow:
            raise AccountHoldsEscrows(account.id)
        if posting.currency != account.currency:
            raise CurrencyMismatch(account.id, posting.currency, account.currency)
        must_be_open(account)
    for condition in conditions:
        condition.must_hold(accounts, totals)
    after: dict[UUID, Totals] = {}
    for line in posted(postings):
        before = after.get(line.account_id) or totals.get(line.account_id, ZERO)
        after[line.account_id] = line.onto(before)
    for account_id, then in after.items():
        must_allow(accounts[account_id], totals.get(account_id, ZERO), then, now)
    return EntryPosted(
        book_id=book_id,
        value_date=value_date,
        postings=tuple(postings),
        description=description,
        reference=reference,
        metadata=metadata,
        reverses=reverses,
        recipe=recipe,
    )


def reverse(
    entry: Entry,
    accounts: Mapping[UUID, Account],
    totals: Mapping[UUID, Totals],
    *,
    reversal_id: UUID,
    value_date: date,
    now: datetime,
    description: str,
    metadata: dict[str, str],
) -> tuple[EntryPosted, EntryReversed]:
    """Undo a whole entry by its mirror, once; the two are linked both ways.

    The mirror obeys the accounts' state and limits like any entry.

    Raises:
        EntryIsReversal: It is a reversal itself.
        EntryAlreadyReversed: It was reversed before.
        What `post` raises.
    """
    if entry.posted.reverses is not None:
        raise EntryIsReversal(entry.id)
    if entry.reversed_by is not None:
        raise EntryAlreadyReversed(entry.id, entry.reversed_by)
    mirrored = [Posting(p.account_id, p.side.other, p.amount, p.currency) for p in entry.posted.postings]
    mirror = post(
        accounts,
        totals,
        book_id=entry.posted.book_id,
        postings=mirrored,
        value_date=value_date,
        description=description,
        reference="",
        metadata=metadata,
        now=now,
        reverses=entry.id,
    )
    return mirror, EntryReversed(book_id=entry.posted.book_id, reversed_by=reversal_id)
