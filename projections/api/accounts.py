"""Accounts, read: as they stand, and their postings."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final, Literal
from uuid import UUID

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from domain import ids
from domain.account import Status, Type, balance
from domain.errors import AccountNotFound
from domain.events import AccountOpened, EntryPosted, HoldPlaced, decode
from domain.posting import Side, Totals
from projections import accounts
from projections.api import csv
from projections.api.answering import Answer, answer, one
from projections.api.books import find_book
from projections.api.listing import Listing, found, shown
from projections.api.parameters import (
    EVENTUAL,
    RANGES,
    AccountId,
    Amount,
    BookName,
    Currency,
    Date,
    Page,
    Pair,
    Position,
    Read,
    RecordedRange,
    Text,
    ValueDateRange,
    as_json,
    asked,
)


class AccountList(Page[AccountId]):
    """Accounts by book and code. `opened_on_from`, `opened_on_to`: days, both inclusive.

    `expand=balance`: each with its `balance`, all of the position that the list is for.
    """

    book: BookName | None = None
    code: Text | None = None
    code_prefix: Text | None = None
    type: Type | None = None
    status: Status | None = None
    currency: Currency | None = None
    metadata: Pair | None = None
    opened_on_from: Date | None = None
    opened_on_to: Date | None = None
    expand: Literal["balance"] | None = None

    @property
    def filters(self) -> dict[str, Any]:
        named = {"book", "code", "code_prefix", "type", "status", "currency", "opened_on_from", "opened_on_to"}
        return {
            **self.model_dump(include=named),
            "metadata": as_json(self.metadata),
            "balances": self.expand == "balance",
        }


class AccountRead(Read):
    """One account."""

    account: AccountId


class PostingList(Page[Position], RecordedRange, ValueDateRange):
    """An account's postings, newest first; the cursors are posting numbers.

    Amounts in minor units, both inclusive, whatever the sign. `expand=entry`: each with the whole `entry`.
    """

    account: AccountId
    side: Side | None = None
    amount_min: Amount | None = None
    amount_max: Amount | None = None
    pending: Literal["true", "false"] | None = None
    expand: Literal["entry"] | None = None

    @property
    def filters(self) -> dict[str, Any]:
        return {
            **self.model_dump(include={"account", "side", "amount_min", "amount_max", *RANGES}),
            "pending": None if self.pending is None else self.pending == "true",
        }


COLUMNS: Final = (
    "id",
    "book_id",
    "code",
    "type",
    "currency",
    "title",
    "status",
    "overdraft_limit",
    "overdraft_limit_decimal",
    "floor",
    "floor_decimal",
    "ceiling",
    "ceiling_decimal",
    "opened_on",
    "opened_at",
    "metadata",
    "version",
)
BALANCE_COLUMNS: Final = tuple(
    f"{name}{form}" for name in ("balance", "available", "debits", "credits") for form in ("", csv.DECIMAL)
)
POSTING_COLUMNS: Final = (
    "number",
    "position",
    "recorded_at",
    "value_date",
    "side",
    "amount",
    "amount_decimal",
    "currency",
    "balance",
    "balance_decimal",
    "available",
    "available_decimal",
    "pending",
    "entry_id",
    "hold_id",
    "description",
    "account_id",
)


async def list_accounts(request: Request) -> Response:
    page = asked(request, AccountList)
    first = await found(request, page, WITH_BALANCES if page.expand else LISTING, page.filters)
    if not first.rows:
        await must_exist(request, book=page.book, account=page.cursor)
    return shown(request, page, WITH_BALANCES if page.expand else LISTING, page.filters, first)


async def read_account(request: Request) -> Response:
    read = asked(request, AccountRead)
    answered = await find_account(request, read, read.account)
    return one(resource(answered.rows[0]), answered.position)


async def list_postings(request: Request) -> Response:
    page = asked(request, PostingList)
    opened = opening(page.account, await answer(request, "opening", EVENTUAL, page.filters, of=[], key="opened_name"))

    def shown_posting(row: dict[str, Any]) -> dict[str, Any]:
        return posting_resource(page.account, opened, row, whole=page.expand == "entry")

    query = "postings" if not page.is_dated else "postings_dated"
    listing = Listing(query, of=[], cursor="number", resource=shown_posting, columns=POSTING_COLUMNS)
    first = await found(request, page, listing, page.filters)
    return shown(request, page, listing, page.filters, first)


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
    answered = await answer(request, "account", read, {"account": account_id}, of=[accounts], key="account_id")
    if not answered.rows:
        raise AccountNotFound(account_id)
    return answered


def opening(account_id: UUID, answered: Answer) -> AccountOpened:
    """How the account was opened, from the log's own event in the rows of a query.

    Raises:
        AccountNotFound: It was not, or is the id of something else.
    """
    if answered.rows:
        event = decode(answered.rows[0]["opened_name"], answered.rows[0]["opened_payload"])
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


def with_balance(row: dict[str, Any]) -> dict[str, Any]:
    return {**resource(row), "balance": balance_resource(row)}


def balance_resource(row: dict[str, Any]) -> dict[str, Any]:
    """As `/v1/balances` has it, without what the account says itself."""
    totals = Totals(
        row["number"] or 0,
        row["debits"] or 0,
        row["credits"] or 0,
        row["pending_debits"] or 0,
        row["pending_credits"] or 0,
    )
    now = balance(Type(row["type"]), totals)
    return {
        "balance": now.posted,
        "available": now.available,
        "debits": totals.debits,
        "credits": totals.credits,
        "pending_debits": totals.pending_debits,
        "pending_credits": totals.pending_credits,
        "position": row["as_of"],
    }


def _flat(resource: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
    """The line of an account with its balance."""
    return ({**resource, **{name: resource["balance"][name] for name in resource["balance"] if name != "position"}},)


LISTING: Final = Listing("accounts", of=[accounts], cursor="account_id", resource=resource, columns=COLUMNS)
WITH_BALANCES: Final = Listing(
    "accounts",
    of=[accounts],
    cursor="account_id",
    resource=with_balance,
    columns=(*COLUMNS, *BALANCE_COLUMNS),
    lines=_flat,
)


def posting_resource(
    account_id: UUID, opened: AccountOpened, row: dict[str, Any], *, whole: bool = False
) -> dict[str, Any]:
    """`balance` is the account's after this posting; a `pending` one is a hold's, below zero where it takes back."""
    totals = Totals(row["number"], row["debits"], row["credits"], row["pending_debits"], row["pending_credits"])
    after = balance(Type(opened.type), totals)
    event = decode(row["posted_name"], row["posted_payload"])
    shown = {
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
    if whole:
        shown["entry"] = entry_resource(row["stream"], event) if isinstance(event, EntryPosted) else None
    return shown


def entry_resource(entry_id: UUID, entry: EntryPosted) -> dict[str, Any]:
    """The entry as it was posted, from the log's own event; what was done with it later is not in it."""
    return {
        "id": ids.show(ids.ENTRY, entry_id),
        "value_date": entry.value_date,
        "description": entry.description,
        "reference": entry.reference,
        "metadata": entry.metadata,
        "postings": [
            {
                "account_id": ids.show(ids.ACCOUNT, posting.account_id),
                "side": posting.side,
                "amount": posting.amount,
                "currency": posting.currency,
            }
            for posting in entry.postings
        ],
    }


routes: Final = [
    Route("/v1/accounts", list_accounts, methods=["GET"]),
    Route("/v1/accounts/{account}", read_account, methods=["GET"]),
    Route("/v1/accounts/{account}/postings", list_postings, methods=["GET"]),
]
