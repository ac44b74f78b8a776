"""Books, accounts as they stand, and what their postings add up to."""

from collections.abc import Iterator
from typing import Final

from domain.account import Status
from domain.events import (
    AccountClosed,
    AccountFrozen,
    AccountOpened,
    AccountUnfrozen,
    BookOpened,
    EntryPosted,
    Event,
    Recorded,
)
from domain.posting import Side
from projections.projection import Change

NAME: Final = "accounts"
VERSION: Final = 1
CHANGES: Final = ("open_books", "open_accounts", "set_statuses", "add_postings")

_STATUS_AFTER: Final[dict[type[Event], Status]] = {
    AccountFrozen: Status.FROZEN,
    AccountUnfrozen: Status.OPEN,
    AccountClosed: Status.CLOSED,
}


def project(recorded: Recorded) -> Iterator[Change]:
    """What the event changes; pending totals stay 0 until there are holds."""
    match recorded.event:
        case EntryPosted(postings=postings):
            for posting in postings:
                debit = posting.side is Side.DEBIT
                yield Change(
                    "add_postings",
                    {
                        "account_id": posting.account_id,
                        "debit": posting.amount if debit else 0,
                        "credit": 0 if debit else posting.amount,
                        "position": recorded.position,
                    },
                )
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
                    "overdraft_limit": opened.overdraft_limit,
                    "floor": opened.floor,
                    "ceiling": opened.ceiling,
                    "status": Status.OPEN,
                    "opened_on": opened.opened_on,
                    "opened_at": recorded.recorded_at,
                    "metadata": opened.metadata or None,
                    "version": recorded.version,
                    "position": recorded.position,
                },
            )
        case AccountFrozen() | AccountUnfrozen() | AccountClosed() as event:
            yield Change(
                "set_statuses",
                {
                    "account_id": recorded.stream_id,
                    "status": _STATUS_AFTER[type(event)],
                    "version": recorded.version,
                    "position": recorded.position,
                },
            )
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
