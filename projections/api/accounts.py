"""Accounts, read: as they stand, and their postings."""

from datetime import datetime
from typing import Annotated, Any, Final
from uuid import UUID

from pydantic import StringConstraints
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from domain import ids
from domain.account import Status, Type, balance
from domain.errors import AccountNotFound
from domain.events import AccountOpened, EntryPosted, HoldPlaced, decode
from domain.posting import Totals
from projections import accounts
from projections.api.answering import Answer, answer, listed, one
from projections.api.books import find_book
from projections.api.parameters import EVENTUAL, AccountId, BookName, Page, Position, Read, Text, asked


class AccountList(Page[AccountId]):
    """Accounts by book and code."""

    book: BookName | None = None
    code: Text | None = None
    code_prefix: Text | None = None
    type: Type | None = None
    status: Status | None = None
    currency: Annotated[str, StringConstraints(pattern="^[A-Z]{3}$")] | None = None


class AccountRead(Read):
    """One account."""

    account: AccountId


class PostingList(Page[Position]):
    """An account's postings, newest first; the cursors are posting numbers."""

    account: AccountId


async def list_accounts(request: Request) -> Response:
    page = asked(request, AccountList)
    filters = page.model_dump(include={"book", "code", "code_prefix", "type", "status", "currency"})
    found = await answer(request, "accounts", page, {**filters, **page.window}, of=[accounts], key="account_id")
    if not found.rows:
        await must_exist(request, book=page.book, account=page.cursor)
    return listed(page, found, resource)


async def read_account(request: Request) -> Response:
    read = asked(request, AccountRead)
    found = await find_account(request, read, read.account)
    return one(resource(found.rows[0]), found.position)


async def list_postings(request: Request) -> Response:
    page = asked(request, PostingList)
    found = await answer(request, "postings", page, {"account": page.account, **page.window}, of=[], key="opened_name")
    opened = opening(page.account, found)
    postings = Answer([row for row in found.rows if row["number"] is not None], found.position)
    return listed(page, postings, lambda row: posting_resource(page.account, opened, row))


async def must_exist(request: Request, *, book: UUID | None = None, account: UUID | None = None) -> None:
    """An empty list may be empty because of a slip in what it was asked for.

    Raises:
        BookNotFound, AccountNotFound: There is no such thing.
    """
    if book is not None:
        await find_book(request, EVENTUAL, book)
    if account is not None:
        await find_account(request, EVENTUAL, account)


async def find_account(request: Request, read: Read, account_id: UUID) -> Answer:
    """The account with that id.

    Raises:
        AccountNotFound: There is none.
    """
    found = await answer(request, "account", read, {"account": account_id}, of=[accounts], key="account_id")
    if not found.rows:
        raise AccountNotFound(account_id)
    return found


def opening(account_id: UUID, found: Answer) -> AccountOpened:
    """How the account was opened, from the log's own event in the rows of a query.

    Raises:
        AccountNotFound: It was not, or is the id of something else.
    """
    if found.rows:
        event = decode(found.rows[0]["opened_name"], found.rows[0]["opened_payload"])
        if isinstance(event, AccountOpened):
            return event
    raise AccountNotFound(account_id)


def resource(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "object": "account",
        "id": ids.show(ids.ACCOUNT, row["account_id"]),
        "book_id": ids.show(ids.BOOK, row["book_id"]),
        "code": row["code"],
        "type": row["type"],
        "currency": row["currency"],
        "title": row["title"] or "",
        "overdraft_limit": row["overdraft_limit"],
        "floor": row["floor"],
        "ceiling": row["ceiling"],
        "limits_to_come": [_limits(limits) for limits in row["limits_to_come"]],
        "status": row["status"],
        "opened_on": row["opened_on"],
        "opened_at": row["opened_at"],
        "metadata": row["metadata"] or {},
        "version": row["version"],
    }


def _limits(limits: dict[str, Any]) -> dict[str, Any]:
    return {**limits, "effective_at": datetime.fromisoformat(limits["effective_at"])}


def posting_resource(account_id: UUID, opened: AccountOpened, row: dict[str, Any]) -> dict[str, Any]:
    """`balance` is the account's after this posting; a `pending` one is a hold's, below zero where it takes back."""
    totals = Totals(row["number"], row["debits"], row["credits"], row["pending_debits"], row["pending_credits"])
    after = balance(Type(opened.type), totals)
    event = decode(row["posted_name"], row["posted_payload"])
    return {
        "object": "posting",
        "account_id": ids.show(ids.ACCOUNT, account_id),
        "number": row["number"],
        "side": row["side"],
        "amount": row["amount"],
        "currency": opened.currency,
        "balance": after.posted,
        "available": after.available,
        "pending": row["pending"],
        "value_date": row["value_date"],
        "entry_id": None if row["pending"] else ids.show(ids.ENTRY, row["stream"]),
        "hold_id": ids.show(ids.HOLD, row["stream"]) if row["pending"] else None,
        "description": event.description if isinstance(event, EntryPosted | HoldPlaced) else "",
        "recorded_at": row["recorded_at"],
        "position": row["position"],
    }


routes: Final = [
    Route("/v1/accounts", list_accounts, methods=["GET"]),
    Route("/v1/accounts/{account}", read_account, methods=["GET"]),
    Route("/v1/accounts/{account}/postings", list_postings, methods=["GET"]),
]
