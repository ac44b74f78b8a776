"""Holds, read."""

from typing import Any, Final
from uuid import UUID

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from domain import ids
from domain.errors import HoldNotFound
from domain.hold import Status
from projections import accounts, holds
from projections.api import csv
from projections.api.accounts import must_exist
from projections.api.answering import Answer, answer, one
from projections.api.listing import Listing, found, shown
from projections.api.parameters import EVENTUAL, AccountId, BookName, HoldId, Page, Read, asked


class HoldList(Page[HoldId]):
    """Holds, newest first: of a book, or of the account on which funds are set aside, or all."""

    book: BookName | None = None
    account: AccountId | None = None
    status: Status | None = None


class HoldRead(Read):
    """One hold."""

    hold: HoldId


async def list_holds(request: Request) -> Response:
    page = asked(request, HoldList)
    wanted = {"book": page.book, "account": page.account, "status": page.status}
    first = await found(request, page, LISTING, wanted)
    if not first.rows:
        await must_exist(request, book=page.book, account=page.account)
        if cursor := page.cursor:
            await _find_hold(request, EVENTUAL, cursor)
    return shown(request, page, LISTING, wanted, first)


async def read_hold(request: Request) -> Response:
    read = asked(request, HoldRead)
    answered = await _find_hold(request, read, read.hold)
    return one(resource(answered.rows[0]), answered.position)


async def _find_hold(request: Request, read: Read, hold_id: UUID) -> Answer:
    answered = await answer(request, "hold", read, {"hold": hold_id}, of=[accounts, holds], key="hold_id")
    if not answered.rows:
        raise HoldNotFound(hold_id)
    return answered


def resource(row: dict[str, Any]) -> dict[str, Any]:
    """Amounts in minor units; `position` is of the last event of the hold, `recorded_at` of the first."""
    return {
        "object": "hold",
        "id": ids.show(ids.HOLD, row["hold_id"]),
        "book_id": ids.show(ids.BOOK, row["book_id"]),
        "account_id": ids.show(ids.ACCOUNT, row["account_id"]),
        "account_code": row["account_code"],
        "destination_id": ids.show(ids.ACCOUNT, row["destination_id"]),
        "destination_code": row["destination_code"],
        "status": row["status"],
        "amount": row["amount"],
        "captured": row["captured"],
        "remaining": row["remaining"],
        "currency": row["currency"],
        "expires_at": row["expires_at"],
        "description": row["description"] or "",
        "reference": row["reference"] or "",
        "metadata": row["metadata"] or {},
        "version": row["version"],
        "actor": row["actor"],
        "recorded_at": row["recorded_at"],
        "position": row["changed"],
    }


LISTING: Final = Listing(
    "holds",
    of=[accounts, holds],
    cursor="hold_id",
    resource=resource,
    columns=(
        "position",
        "recorded_at",
        "id",
        "book_id",
        "account_id",
        "account_code",
        "destination_id",
        "destination_code",
        "status",
        *(f"{name}{form}" for name in ("amount", "captured", "remaining") for form in ("", csv.DECIMAL)),
        "currency",
        "expires_at",
        "description",
        "reference",
        "metadata",
        "version",
        "actor",
    ),
)

routes: Final = [
    Route("/v1/holds", list_holds, methods=["GET"]),
    Route("/v1/holds/{hold}", read_hold, methods=["GET"]),
]
