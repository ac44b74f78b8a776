"""Books, their policies for payments, accounts as they stand, their limits over time, what their postings add up to."""

from collections.abc import Iterator
from datetime import datetime
from typing import Final

from domain.account import Status
from domain.events import (
    AccountClosed,
    AccountFrozen,
    AccountLimitsChanged,
    AccountOpened,
    AccountUnfrozen,
    BookOpened,
    BookPaymentPolicySet,
    Event,
    Recorded,
    lines,
)
from domain.policy import shown
from domain.posting import Side
from projections.projection import Change

NAME: Final = "accounts"
VERSION: Final = 2
CHANGES: Final = (
    "open_books",
    "set_payment_policies",
    "open_accounts",
    "add_limits",
    "change_accounts",
    "add_postings",
)

_STATUS_AFTER: Final[dict[type[Event], Status]] = {
    AccountFrozen: Status.FROZEN,
    AccountUnfrozen: Status.OPEN,
    AccountClosed: Status.CLOSED,
}


def project(recorded: Recorded) -> Iterator[Change]:
    """What the event changes."""
    yield from _postings(recorded)
    match recorded.event:
        case AccountOpened() as opened:
            yield Change(
                "open_accounts",
                {
                    "account_id": recorded.stream_id,
                    "book_id": opened.book_id,
                    "code": opened.code,
                    "type": opened.type,
                    "currency": opened.currency,
                    "title": opened.title or None,
                    "status": Status.OPEN,
                    "opened_on": opened.opened_on,
                    "opened_at": recorded.recorded_at,
                    "metadata": opened.metadata or None,
                    "version": recorded.version,
                    "position": recorded.position,
                },
            )
            yield _limits(recorded, opened, effective_at=None)
        case AccountLimitsChanged(effective_at=effective_at) as changed:
            yield _limits(recorded, changed, effective_at=effective_at)
            yield _changed(recorded, status=None)
        case AccountFrozen() | AccountUnfrozen() | AccountClosed() as event:
            yield _changed(recorded, status=_STATUS_AFTER[type(event)])
        case BookOpened() as opened_book:
            yield Change(
                "open_books",
                {
                    "book_id": recorded.stream_id,
                    "code": opened_book.code,
                    "title": opened_book.title or None,
                    "metadata": opened_book.metadata or None,
                    "opened_at": recorded.recorded_at,
                    "position": recorded.position,
                },
            )

        case BookPaymentPolicySet(policy=policy):
            yield Change(
                "set_payment_policies",
                {
                    "book_id": recorded.stream_id,
                    "version": recorded.version,
                    "policy": shown(policy),
                    "set_at": recorded.recorded_at,
                    "set_by": recorded.metadata.actor,
                    "position": recorded.position,
                },
            )


def _postings(recorded: Recorded) -> Iterator[Change]:
    """Every line is one posting; an amount that is no longer set aside is below zero.

    A row names none but the total that its amount adds to: these are most of what the projection writes, and half as
    long they are read in two thirds of the time.
    """
    for line in lines(recorded.event):
        if line.side is Side.DEBIT:
            total = "pending_debit" if line.pending else "debit"
        else:
            total = "pending_credit" if line.pending else "credit"
        row = {"account_id": line.account_id, total: line.amount, "position": recorded.position}
        yield Change("add_postings", row)


def _limits(
    recorded: Recorded, limits: AccountOpened | AccountLimitsChanged, *, effective_at: datetime | None
) -> Change:
    return Change(
        "add_limits",
        {
            "account_id": recorded.stream_id,
            "version": recorded.version,
            "effective_at": effective_at,
            "overdraft_limit": limits.overdraft_limit,
            "floor": limits.floor,
            "ceiling": limits.ceiling,
            "position": recorded.position,
        },
    )


def _changed(recorded: Recorded, *, status: Status | None) -> Change:
    """The account has one more event; None leaves its status as it is."""
    return Change(
        "change_accounts",
        {
            "account_id": recorded.stream_id,
            "status": status,
            "version": recorded.version,
            "position": recorded.position,
        },
    )
