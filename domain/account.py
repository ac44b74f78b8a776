"""An account: its type and normal side, one currency, its limits, and whether it is open, frozen or closed.

Its totals are kept apart (`domain.posting.Totals`): they change with every posting, the account hardly ever.
"""

from collections.abc import Iterable
from datetime import date, datetime
from enum import StrEnum
from typing import Final
from uuid import UUID

from msgspec import Struct
from msgspec.structs import replace

from domain.book import Book
from domain.errors import (
    AccountCodeReserved,
    AccountCodeTaken,
    AccountIsClosed,
    AccountIsFrozen,
    AccountIsNotFrozen,
    AccountNotEmpty,
    BookNotFound,
    CeilingExceeded,
    InsufficientFunds,
    LimitsContradict,
    LimitsInPast,
    TotalTooLarge,
)
from domain.events import AccountClosed, AccountFrozen, AccountLimitsChanged, AccountOpened, AccountUnfrozen, Event
from domain.money import TOTAL_MAX
from domain.posting import Side, Totals


class Type(StrEnum):
    ASSET = "asset"
    LIABILITY = "liability"
    EQUITY = "equity"
    REVENUE = "revenue"
    EXPENSE = "expense"

    @property
    def normal_side(self) -> Side:
        """The side on which an account of this type grows."""
        return Side.DEBIT if self is Type.ASSET or self is Type.EXPENSE else Side.CREDIT


class Status(StrEnum):
    OPEN = "open"
    FROZEN = "frozen"
    CLOSED = "closed"


class Limits(Struct, frozen=True):
    """On the normal side, in minor units; None is no limit."""

    effective_at: datetime | None
    """None: since the account was opened."""
    overdraft_limit: int | None
    floor: int | None
    ceiling: int | None

    @property
    def lowest(self) -> tuple[str, int, int] | None:
        """The limit that binds from below: its name, its value, and the lowest available balance it allows."""
        overdraft, floor = self.overdraft_limit, self.floor
        if overdraft is None or (floor is not None and floor > -overdraft):
            return None if floor is None else ("floor", floor, floor)
        return "overdraft_limit", overdraft, -overdraft


class Account(Struct, frozen=True):
    """`version` counts the account's own events; `limits` are in the order in which they were decided."""

    id: UUID
    version: int
    book_id: UUID
    code: str
    type: Type
    currency: str
    limits: tuple[Limits, ...]
    title: str
    opened_on: date
    metadata: dict[str, str]
    status: Status

    def limits_at(self, now: datetime) -> Limits:
        """Those with the latest effective time that has come; of two with the same, the one decided last."""
        if len(self.limits) == 1:
            return self.limits[0]
        found, *changes = self.limits
        for limits in changes:
            at = limits.effective_at
            assert at is not None, limits
            if at <= now and (found.effective_at is None or found.effective_at <= at):
                found = limits
        return found


ESCROW: Final = "escrow:"
"""How the codes of accounts begin that hold what escrows set apart, which moves with them alone."""
RESERVED: Final = ("clearing:", "suspense:", "settlement:", "fees:", ESCROW)
"""How the codes of accounts begin that Daybook opens itself and must always be able to post to."""


def must_not_be_reserved(account_id: UUID, code: str) -> None:
    """Raises AccountCodeReserved."""
    if code.startswith(RESERVED):
        raise AccountCodeReserved(account_id)


class Balance(Struct, frozen=True):
    """On the normal side, in minor units. `highest` is what it comes to if all incoming holds are captured."""

    posted: int
    available: int
    highest: int


def balance(type: Type, totals: Totals) -> Balance:
    """Posted, less outgoing holds (available), plus incoming ones (highest)."""
    if type.normal_side is Side.DEBIT:
        posted = totals.debits - totals.credits
        return Balance(posted, posted - totals.pending_credits, posted + totals.pending_debits)
    posted = totals.credits - totals.debits
    return Balance(posted, posted - totals.pending_debits, posted + totals.pending_credits)


def open_account(
    existing: Account | None,
    book: Book | None,
    *,
    book_id: UUID,
    account_id: UUID,
    code: str,
    type: Type,
    currency: str,
    overdraft_limit: int | None,
    floor: int | None,
    ceiling: int | None,
    title: str,
    opened_on: date,
    metadata: dict[str, str],
) -> AccountOpened:
    """Open an account with nothing on it.

    Raises:
        BookNotFound: There is no such book.
        AccountCodeReserved: Accounts of that code are opened by Daybook alone.
        AccountCodeTaken: The book has, or had, an account of that code.
        LimitsContradict: No balance could satisfy the limits.
    """
    if book is None:
        raise BookNotFound(book_id)
    must_not_be_reserved(account_id, code)
    if existing is not None:
        raise AccountCodeTaken(account_id)
    event = AccountOpened(
        book_id=book_id,
        code=code,
        type=type.value,
        currency=currency,
        overdraft_limit=overdraft_limit,
        floor=floor,
        ceiling=ceiling,
        title=title,
        opened_on=opened_on,
        metadata=metadata,
    )
    _must_agree(Limits(None, overdraft_limit, floor, ceiling))
    return event


def change_limits(
    account: Account,
    *,
    overdraft_limit: int | None,
    floor: int | None,
    ceiling: int | None,
    effective_at: datetime | None,
    now: datetime,
    reason: str,
) -> AccountLimitsChanged:
    """Set all three limits anew.

    Args:
        effective_at: Aware, not before `now`; None for at once.

    Raises:
        AccountCodeReserved: It is one of Daybook's own, which has no limits.
        AccountIsClosed: There is nothing left to limit.
        LimitsInPast: What was decided then stays decided.
        LimitsContradict: No balance could satisfy the limits.
    """
    must_not_be_reserved(account.id, account.code)
    if account.status is Status.CLOSED:
        raise AccountIsClosed(account.id)
    if effective_at is not None and effective_at < now:
        raise LimitsInPast(account.id, effective_at)
    _must_agree(Limits(None, overdraft_limit, floor, ceiling))
    return AccountLimitsChanged(
        overdraft_limit=overdraft_limit,
        floor=floor,
        ceiling=ceiling,
        effective_at=effective_at or now,
        reason=reason,
    )


def _must_agree(limits: Limits) -> None:
    lowest = limits.lowest
    if lowest is not None and limits.ceiling is not None and lowest[2] > limits.ceiling:
        raise LimitsContradict(lowest[2], limits.ceiling)


def freeze(account: Account, *, reason: str) -> AccountFrozen:
    """Stop all postings.

    Raises:
        AccountCodeReserved: It is one of Daybook's own, and what a rail has done must be booked.
        AccountIsClosed, AccountIsFrozen: It is not open.
    """
    must_not_be_reserved(account.id, account.code)
    must_be_open(account)
    return AccountFrozen(reason=reason)


def unfreeze(account: Account, *, reason: str) -> AccountUnfrozen:
    """Let postings through again.

    Raises:
        AccountIsClosed, AccountIsNotFrozen: It is not frozen.
    """
    if account.status is Status.CLOSED:
        raise AccountIsClosed(account.id)
    if account.status is Status.OPEN:
        raise AccountIsNotFrozen(account.id)
    return AccountUnfrozen(reason=reason)


def close(account: Account, totals: Totals, *, reason: str) -> AccountClosed:
    """End the account, open or frozen.

    Raises:
        AccountCodeReserved: It is one of Daybook's own.
        AccountIsClosed: It is closed already.
        AccountNotEmpty: Its balance is not zero, or something is pending.
    """
    must_not_be_reserved(account.id, account.code)
    if account.status is Status.CLOSED:
        raise AccountIsClosed(account.id)
    posted = balance(account.type, totals).posted
    if posted or totals.pending_debits or totals.pending_credits:
        raise AccountNotEmpty(account.id, account.currency, posted, totals.pending_debits, totals.pending_credits)
    return AccountClosed(reason=reason)


def must_be_open(account: Account) -> None:
    if account.status is Status.CLOSED:
        raise AccountIsClosed(account.id)
    if account.status is Status.FROZEN:
        raise AccountIsFrozen(account.id)


def must_allow(account: Account, before: Totals, after: Totals, now: datetime) -> None:
    """Check the limits in force on what a command does to the account in all.

    One that does not make matters worse is let through, so that an account beyond its limits can be brought back.

    Raises:
        TotalTooLarge, InsufficientFunds, CeilingExceeded.
    """
    if max(after.debits + after.pending_debits, after.credits + after.pending_credits) > TOTAL_MAX:
        raise TotalTooLarge(account.id)
    limits = account.limits_at(now)
    lowest, ceiling, is_ = limits.lowest, limits.ceiling, balance(account.type, after)
    below = lowest is not None and is_.available < lowest[2]
    above = ceiling is not None and is_.highest > ceiling
    if not below and not above:
        return
    was = balance(account.type, before)
    if lowest is not None and below and is_.available < was.available:
        raise InsufficientFunds(
            account.id,
            account.currency,
            requested=was.available - is_.available,
            available=max(was.available - lowest[2], 0),
            limit=lowest[0],
            limit_value=lowest[1],
        )
    if ceiling is not None and above and is_.highest > was.highest:
        raise CeilingExceeded(
            account.id,
            account.currency,
            requested=is_.highest - was.highest,
            room=max(ceiling - was.highest, 0),
            ceiling=ceiling,
        )


def opened(account_id: UUID, event: AccountOpened) -> Account:
    return Account(
        id=account_id,
        version=1,
        book_id=event.book_id,
        code=event.code,
        type=Type(event.type),
        currency=event.currency,
        limits=(Limits(None, event.overdraft_limit, event.floor, event.ceiling),),
        title=event.title,
        opened_on=event.opened_on,
        metadata=event.metadata,
        status=Status.OPEN,
    )


_STATUS_AFTER = {
    AccountFrozen: Status.FROZEN,
    AccountUnfrozen: Status.OPEN,
    AccountClosed: Status.CLOSED,
}


def evolve(account: Account, event: Event) -> Account:
    """The account after one more of its events; never refuses."""
    if isinstance(event, AccountLimitsChanged):
        limits = Limits(event.effective_at, event.overdraft_limit, event.floor, event.ceiling)
        return replace(account, version=account.version + 1, limits=(*account.limits, limits))
    return replace(account, version=account.version + 1, status=_STATUS_AFTER[type(event)])


def fold(account_id: UUID, events: Iterable[Event]) -> Account | None:
    """The account after those events of its stream; None if that is no account's stream, as a stranger may ask for."""
    account = None
    for event in events:
        if isinstance(event, AccountOpened):
            account = opened(account_id, event)
        elif account is not None:
            account = evolve(account, event)
    return account
