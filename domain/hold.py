"""A hold: funds set aside on one account for another, as pending postings, until captured, voided or expired.

It has exactly one end. What is captured becomes a journal entry in the same commit.
"""

from collections.abc import Iterable, Mapping
from datetime import date, datetime
from enum import StrEnum
from uuid import UUID

from msgspec import Struct
from msgspec.structs import replace

from domain.account import ESCROW, Account, must_allow, must_be_open
from domain.errors import (
    AccountHoldsEscrows,
    AccountNotFound,
    AmountTooLarge,
    CaptureExceedsHold,
    CurrencyMismatch,
    HoldEnded,
    HoldExpiresInPast,
    HoldIsExpired,
    HoldIsNotDue,
    HoldToSameAccount,
)
from domain.events import (
    EntryPosted,
    Event,
    HoldCaptured,
    HoldExpired,
    HoldIncreased,
    HoldPlaced,
    HoldVoided,
)
from domain.money import AMOUNT_MAX
from domain.posting import ZERO, Line, Posting, Side, Totals, held, posted, released


class Status(StrEnum):
    HELD = "held"
    CAPTURED = "captured"
    VOIDED = "voided"
    EXPIRED = "expired"


class Hold(Struct, frozen=True):
    """Amounts in minor units. `amount` is all that was ever set aside, `remaining` what still is."""

    id: UUID
    version: int
    placed: HoldPlaced
    status: Status
    amount: int
    captured: int
    remaining: int

    @property
    def currency(self) -> str:
        return self.placed.postings[0].currency

    def of(self, amount: int) -> tuple[Posting, Posting]:
        """The hold's postings, with that amount."""
        source, destination = self.placed.postings
        return replace(source, amount=amount), replace(destination, amount=amount)


def place(
    accounts: Mapping[UUID, Account],
    totals: Mapping[UUID, Totals],
    *,
    book_id: UUID,
    account_id: UUID,
    destination_id: UUID,
    amount: int,
    currency: str,
    expires_at: datetime | None,
    now: datetime,
    description: str,
    reference: str,
    metadata: dict[str, str],
    payment_id: UUID | None = None,
    side: Side | None = None,
) -> HoldPlaced:
    """Set funds aside on `account_id`, to be captured for `destination_id`.

    Args:
        amount: At least 1, in the currency of both accounts.
        expires_at: Aware, after `now`; None for a hold that stays until it is captured or voided.
        payment_id: The payment that it belongs to, which alone may touch it.
        side: Of `account_id`; None for the one on which its balance falls.

    Raises:
        HoldToSameAccount, HoldExpiresInPast, AccountNotFound, AccountHoldsEscrows, CurrencyMismatch, AccountIsFrozen,
        AccountIsClosed.
        TotalTooLarge, InsufficientFunds, CeilingExceeded: A limit, with the hold counted.
    """
    if account_id == destination_id:
        raise HoldToSameAccount(account_id)
    if expires_at is not None and expires_at <= now:
        raise HoldExpiresInPast(expires_at)
    for name in (account_id, destination_id):
        account = accounts.get(name)
        if account is None or account.book_id != book_id:
            raise AccountNotFound(name)
        if account.code.startswith(ESCROW):
            raise AccountHoldsEscrows(account.id)
        if account.currency != currency:
            raise CurrencyMismatch(account.id, currency, account.currency)
    side = side or accounts[account_id].type.normal_side.other
    postings = (
        Posting(account_id, side, amount, currency),
        Posting(destination_id, side.other, amount, currency),
    )
    _must_be_allowed(accounts, totals, held(postings), now)
    return HoldPlaced(
        book_id=book_id,
        postings=postings,
        expires_at=expires_at,
        description=description,
        reference=reference,
        metadata=metadata,
        payment_id=payment_id,
    )


def increase(
    hold: Hold, accounts: Mapping[UUID, Account], totals: Mapping[UUID, Totals], *, amount: int, now: datetime
) -> HoldIncreased:
    """Set more aside.

    Raises:
        HoldEnded, HoldIsExpired: It is no longer held.
        AmountTooLarge: It would be more than one posting may be, and could not be captured at once.
        What `place` raises of accounts and limits.
    """
    must_be_held(hold, now)
    if hold.amount + amount > AMOUNT_MAX:
        raise AmountTooLarge(hold.currency, AMOUNT_MAX)
    postings = hold.of(amount)
    _must_be_allowed(accounts, totals, held(postings), now)
    return HoldIncreased(book_id=hold.placed.book_id, postings=postings)


def capture(
    hold: Hold,
    accounts: Mapping[UUID, Account],
    totals: Mapping[UUID, Totals],
    *,
    entry_id: UUID,
    amount: int | None,
    final: bool,
    now: datetime,
    value_date: date,
    description: str,
    metadata: dict[str, str],
) -> tuple[EntryPosted, HoldCaptured]:
    """Make some or all of what is held a journal entry.

    Args:
        amount: At least 1; None for all that remains.
        final: Whether what then remains is given up. A capture of all that remains is final in any case.

    Raises:
        HoldEnded, HoldIsExpired: It is no longer held.
        CaptureExceedsHold: More than remains.
        What `place` raises of accounts and limits.
    """
    must_be_held(hold, now)
    taken = hold.remaining if amount is None else amount
    if taken > hold.remaining:
        raise CaptureExceedsHold(hold.id, hold.currency, taken, hold.remaining)
    final = final or taken == hold.remaining
    postings, given_up = hold.of(taken), hold.of(hold.remaining if final else taken)
    _must_be_allowed(accounts, totals, [*released(given_up), *posted(postings)], now)
    entry = EntryPosted(
        book_id=hold.placed.book_id,
        value_date=value_date,
        postings=postings,
        description=description or hold.placed.description,
        reference=hold.placed.reference,
        metadata=metadata,
        captures=hold.id,
    )
    captured = HoldCaptured(
        book_id=hold.placed.book_id, entry_id=entry_id, amount=taken, released=given_up, final=final
    )
    return entry, captured


def void(hold: Hold, *, now: datetime, reason: str) -> HoldVoided:
    """Give up what was not captured.

    Raises:
        HoldEnded, HoldIsExpired: It is no longer held.
    """
    must_be_held(hold, now)
    return HoldVoided(book_id=hold.placed.book_id, released=hold.of(hold.remaining), reason=reason)


def expire(hold: Hold, *, now: datetime) -> HoldExpired:
    """End a hold whose time has come.

    Raises:
        HoldEnded: It has ended otherwise.
        HoldIsNotDue: Its time has not come, or it has none.
    """
    if hold.status is not Status.HELD:
        raise HoldEnded(hold.id, hold.status)
    if not is_due(hold, now):
        raise HoldIsNotDue(hold.id, hold.placed.expires_at)
    return HoldExpired(book_id=hold.placed.book_id, released=hold.of(hold.remaining))


def is_due(hold: Hold, now: datetime) -> bool:
    """Whether its time has come."""
    return hold.placed.expires_at is not None and hold.placed.expires_at <= now


def must_be_held(hold: Hold, now: datetime) -> None:
    if hold.status is not Status.HELD:
        raise HoldEnded(hold.id, hold.status)
    if is_due(hold, now):
        assert hold.placed.expires_at is not None
        raise HoldIsExpired(hold.id, hold.placed.expires_at)


def _must_be_allowed(
    accounts: Mapping[UUID, Account], totals: Mapping[UUID, Totals], lines: list[Line], now: datetime
) -> None:
    after: dict[UUID, Totals] = {}
    for line in lines:
        must_be_open(accounts[line.account_id])
        before = after.get(line.account_id) or totals.get(line.account_id, ZERO)
        after[line.account_id] = line.onto(before)
    for account_id, then in after.items():
        must_allow(accounts[account_id], totals.get(account_id, ZERO), then, now)


def placed(hold_id: UUID, event: HoldPlaced) -> Hold:
    amount = event.postings[0].amount
    return Hold(hold_id, 1, event, Status.HELD, amount, 0, amount)


def fold(hold_id: UUID, events: Iterable[Event]) -> Hold | None:
    """The hold after those events of its stream; None where there is none, which a kept refusal does not change."""
    hold = None
    for event in events:
        if isinstance(event, HoldPlaced):
            hold = placed(hold_id, event)
        elif hold is not None:
            hold = evolve(hold, event)
    return hold


def evolve(hold: Hold, event: Event) -> Hold:
    """The hold after one more of its events; never refuses."""
    version = hold.version + 1
    match event:
        case HoldIncreased(postings=postings):
            more = postings[0].amount
            return replace(hold, version=version, amount=hold.amount + more, remaining=hold.remaining + more)
        case HoldCaptured(amount=amount, released=given_up, final=final):
            return replace(
                hold,
                version=version,
                status=Status.CAPTURED if final else Status.HELD,
                captured=hold.captured + amount,
                remaining=hold.remaining - given_up[0].amount,
            )
        case HoldVoided():
            return replace(hold, version=version, status=Status.VOIDED, remaining=0)
        case HoldExpired():
            return replace(hold, version=version, status=Status.EXPIRED, remaining=0)
        case _:
            raise AssertionError(event)
