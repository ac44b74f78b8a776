"""Disputes, read: what has to be answered, until when, and how it ended."""

from collections.abc import Mapping
from typing import Any, Final
from uuid import UUID

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from domain import ids
from domain.dispute import State
from domain.errors import DisputeNotFound
from domain.rail import Rail
from projections import accounts, payments
from projections.api import csv
from projections.api.accounts import must_exist
from projections.api.answering import Answer, answer, one
from projections.api.listing import Listing, found, shown
from projections.api.parameters import EVENTUAL, AccountId, BookName, DisputeId, Page, Read, Time, asked


class DisputeList(Page[DisputeId]):
    """Disputes, newest first: of a book, an account, a rail, or all.

    `respond_before`: those that can be answered until before that time.
    """

    book: BookName | None = None
    account: AccountId | None = None
    rail: Rail | None = None
    state: State | None = None
    respond_before: Time | None = None

    @property
    def filters(self) -> dict[str, Any]:
        return self.model_dump(exclude={*Page.model_fields})


class DisputeRead(Read):
    """One dispute."""

    dispute: DisputeId


async def list_disputes(request: Request) -> Response:
    page = asked(request, DisputeList)
    first = await found(request, page, LISTING, page.filters)
    if not first.rows:
        await must_exist(request, book=page.book, account=page.account)
        if cursor := page.cursor:
            await _find_dispute(request, EVENTUAL, cursor)
    return shown(request, page, LISTING, page.filters, first)


async def read_dispute(request: Request) -> Response:
    read = asked(request, DisputeRead)
    answered = await _find_dispute(request, read, read.dispute)
    return one(resource(answered.rows[0]), answered.position)


async def _find_dispute(request: Request, read: Read, dispute_id: UUID) -> Answer:
    wanted = {"dispute": dispute_id}
    answered = await answer(request, "dispute", read, wanted, of=[accounts, payments], key="dispute_id")
    if not answered.rows:
        raise DisputeNotFound(dispute_id)
    return answered


def resource(row: Mapping[str, Any]) -> dict[str, Any]:
    """Amounts in minor units; `position` is of the last change."""
    return {
        "object": "dispute",
        "id": ids.show(ids.DISPUTE, row["dispute_id"]),
        "payment_id": ids.show(ids.PAYMENT, row["payment_id"]),
        "request_id": row["request_id"],
        "book_id": ids.show(ids.BOOK, row["book_id"]),
        "account_id": ids.show(ids.ACCOUNT, row["account_id"]),
        "account_code": row["account_code"],
        **{name: row[name] for name in ("rail", "route", "state", "amount", "currency", "fee")},
        **{name: row[name] or "" for name in ("reference", "code", "reason", "message")},
        "respond_by": row["respond_by"],
        "settlement_id": ids.show(ids.SETTLEMENT, row["settlement_id"]),
        "entry_id": _entry(row["entry_id"]),
        "closing_entry_id": _entry(row["closing_entry_id"]),
        "disputed_at": row["disputed_at"],
        "changed_at": row["changed_at"],
        "position": row["changed"],
    }


def _entry(entry_id: UUID | None) -> str | None:
    return None if entry_id is None else ids.show(ids.ENTRY, entry_id)


LISTING: Final = Listing(
    "disputes",
    of=[accounts, payments],
    cursor="dispute_id",
    resource=resource,
    columns=(
        "position",
        "disputed_at",
        "changed_at",
        "id",
        "payment_id",
        "request_id",
        "book_id",
        "account_id",
        "account_code",
        "rail",
        "route",
        "state",
        *(f"{name}{form}" for name in ("amount", "fee") for form in ("", csv.DECIMAL)),
        "currency",
        "reference",
        "code",
        "reason",
        "message",
        "respond_by",
        "settlement_id",
        "entry_id",
        "closing_entry_id",
    ),
)

routes: Final = [
    Route("/v1/disputes", list_disputes, methods=["GET"]),
    Route("/v1/disputes/{dispute}", read_dispute, methods=["GET"]),
]
