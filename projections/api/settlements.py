"""Settlements, read: what rails reported day by day, and what of it fitted nothing."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, Literal
from uuid import UUID

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from domain import ids
from domain.errors import SettlementNotFound
from domain.rail import Rail
from projections import accounts, journal, settlements
from projections.api import csv
from projections.api import journal as journal_api
from projections.api.accounts import must_exist
from projections.api.answering import Answer, answer, one
from projections.api.listing import Listing, found, shown
from projections.api.parameters import EVENTUAL, BookName, Currency, Date, Page, Read, SettlementId, Text, asked


class SettlementList(Page[SettlementId]):
    """Settlements, newest first: of a book, a rail, a route, a currency, or all.

    Of days from one on up to another, both inclusive. `broken`: those with lines that fitted nothing.
    """

    book: BookName | None = None
    rail: Rail | None = None
    route: Text | None = None
    currency: Currency | None = None
    day_from: Date | None = None
    day_to: Date | None = None
    broken: Literal["true", "false"] | None = None

    @property
    def filters(self) -> dict[str, Any]:
        return {
            **self.model_dump(exclude={*Page.model_fields, "broken"}),
            "broken": None if self.broken is None else self.broken == "true",
        }


class SettlementRead(Read):
    """One settlement, with its journal entry."""

    settlement: SettlementId


async def list_settlements(request: Request) -> Response:
    page = asked(request, SettlementList)
    first = await found(request, page, LISTING, page.filters)
    if not first.rows:
        await must_exist(request, book=page.book)
        if cursor := page.cursor:
            await _find_settlement(request, EVENTUAL, cursor)
    return shown(request, page, LISTING, page.filters, first)


async def read_settlement(request: Request) -> Response:
    read = asked(request, SettlementRead)
    answered = await _find_settlement(request, read, read.settlement)
    row = answered.rows[0]
    at = Read(min_position=answered.position)
    of_it = {"entries": [row["entry_id"]] if row["entry_id"] is not None else []}
    entries = await answer(request, "entries_of", at, of_it, of=[accounts, journal], key="entry_id")
    entry = next((journal_api.resource(entry) for entry in entries.rows), None)
    return one({**resource(row), "entry": entry}, answered.position)


async def _find_settlement(request: Request, read: Read, settlement_id: UUID) -> Answer:
    wanted = {"settlement": settlement_id}
    answered = await answer(request, "settlement", read, wanted, of=[settlements], key="settlement_id")
    if not answered.rows:
        raise SettlementNotFound(settlement_id)
    return answered


def resource(row: Mapping[str, Any]) -> dict[str, Any]:
    """Amounts in minor units."""
    return {
        "object": "settlement",
        "id": ids.show(ids.SETTLEMENT, row["settlement_id"]),
        "book_id": ids.show(ids.BOOK, row["book_id"]),
        **{name: row[name] for name in ("rail", "route", "day", "part", "currency")},
        "reference": row["reference"] or "",
        **{name: row[name] for name in ("lines", "incoming", "outgoing", "fees", "net")},
        "breaks": [_break(one) for one in row["breaks"]],
        "entry_id": None if row["entry_id"] is None else ids.show(ids.ENTRY, row["entry_id"]),
        "actor": row["actor"],
        "recorded_at": row["recorded_at"],
        "position": row["position"],
    }


def _break(row: Mapping[str, Any]) -> dict[str, Any]:
    """What was left out of it as it was stored has its default."""
    payment_id, respond_by = row.get("payment_id"), row.get("respond_by")
    return {
        **{name: row[name] for name in ("why", "said", "request_id", "operation", "amount", "moved")},
        **{name: row.get(name, "") for name in ("reference", "code", "reason", "message")},
        "fee": row.get("fee", 0),
        "payment_id": None if payment_id is None else ids.show(ids.PAYMENT, UUID(payment_id)),
        "respond_by": None if respond_by is None else datetime.fromisoformat(respond_by),
    }


LISTING: Final = Listing(
    "settlements",
    of=[settlements],
    cursor="settlement_id",
    resource=resource,
    columns=(
        "position",
        "recorded_at",
        "id",
        "book_id",
        "rail",
        "route",
        "day",
        "part",
        *(f"{name}{form}" for name in ("incoming", "outgoing", "fees", "net") for form in ("", csv.DECIMAL)),
        "currency",
        "reference",
        "entry_id",
        "actor",
    ),
)

routes: Final = [
    Route("/v1/settlements", list_settlements, methods=["GET"]),
    Route("/v1/settlements/{settlement}", read_settlement, methods=["GET"]),
]
