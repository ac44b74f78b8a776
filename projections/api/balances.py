"""Balances: of one account or of all, now, at a position or as known at a time. The numbers come from the postings."""

from typing import Any, Final
from uuid import UUID

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from domain import account, ids
from domain.account import Type
from domain.posting import Totals
from projections import accounts
from projections.api import csv
from projections.api.accounts import must_exist, opening
from projections.api.answering import answer, one
from projections.api.listing import Listing, found, shown
from projections.api.parameters import AccountId, BookName, Page, Past, asked


class BalanceRead(Past):
    """One account's balance."""

    account: AccountId


class BalanceList(Page[AccountId], Past):
    """Balances of all accounts by book and code, all at one position; the cursors are accounts."""

    book: BookName | None = None


async def read_balance(request: Request) -> Response:
    read = asked(request, BalanceRead)
    wanted = {"account": read.account, "position": read.position, "at": read.at}
    query = "balance_then" if read.is_past else "balance"
    answered = await answer(request, query, read, wanted, of=[], key="opened_name")
    opened = opening(read.account, answered)
    balance = resource(read.account, opened.code, Type(opened.type), opened.currency, answered.rows[0])
    return one(balance, answered.position)


async def list_balances(request: Request) -> Response:
    page = asked(request, BalanceList)
    wanted = {"book": page.book, "position": page.position, "at": page.at}
    first = await found(request, page, LISTING, wanted)
    if not first.rows:
        await must_exist(request, book=page.book, account=page.cursor)
    return shown(request, page, LISTING, wanted, first)


def resource(account_id: UUID, code: str, type: Type, currency: str, row: dict[str, Any]) -> dict[str, Any]:
    totals = Totals(
        row["number"] or 0,
        row["debits"] or 0,
        row["credits"] or 0,
        row["pending_debits"] or 0,
        row["pending_credits"] or 0,
    )
    balance = account.balance(type, totals)
    return {
        "object": "balance",
        "account_id": ids.show(ids.ACCOUNT, account_id),
        "code": code,
        "type": type,
        "currency": currency,
        "balance": balance.posted,
        "available": balance.available,
        "debits": totals.debits,
        "credits": totals.credits,
        "pending_debits": totals.pending_debits,
        "pending_credits": totals.pending_credits,
        "position": row["position_read"],
    }


def _of_list(row: dict[str, Any]) -> dict[str, Any]:
    return resource(row["account_id"], row["code"], Type(row["type"]), row["currency"], row)


_AMOUNTS: Final = ("balance", "available", "debits", "credits", "pending_debits", "pending_credits")
LISTING: Final = Listing(
    "balances",
    of=[accounts],
    cursor="account_id",
    resource=_of_list,
    columns=(
        "account_id",
        "code",
        "type",
        "currency",
        *(f"{name}{form}" for name in _AMOUNTS for form in ("", csv.DECIMAL)),
        "position",
    ),
)

routes: Final = [
    Route("/v1/accounts/{account}/balance", read_balance, methods=["GET"]),
    Route("/v1/balances", list_balances, methods=["GET"]),
]
