"""Escrows, read: lists for whoever has a part in them, and of each its whole story in one call."""

from collections.abc import Mapping
from typing import Any, Final
from uuid import UUID

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from domain import ids
from domain.errors import EscrowNotFound
from domain.escrow import OPEN, PartStatus, Status
from projections import accounts, escrows
from projections.api import csv
from projections.api.accounts import must_exist
from projections.api.answering import Answer, answer, one
from projections.api.listing import Listing, found, shown
from projections.api.parameters import (
    EVENTUAL,
    AccountId,
    BookName,
    EscrowId,
    Key,
    Page,
    Read,
    Text,
    Time,
    asked,
)
from projections.api.story import story


class EscrowList(Page[EscrowId]):
    """Escrows, newest first: of a book, of the account of a depositor or a beneficiary, or all.

    `expires_before`: open ones whose time comes before that. `waits_for_condition`: open ones with a part that waits
    for the condition of that name; `waits_for_approver`: with a part that waits for approvals, of which that one may
    give the next.
    """

    book: BookName | None = None
    depositor: AccountId | None = None
    beneficiary: AccountId | None = None
    status: Status | None = None
    reference: Text | None = None
    expires_before: Time | None = None
    waits_for_condition: Text | None = None
    waits_for_approver: Key | None = None

    @property
    def filters(self) -> dict[str, Any]:
        return self.model_dump(exclude={*Page.model_fields})


class EscrowRead(Read):
    """One escrow, with its parts and what they wait for, all it did to the ledger, and all that happened to it."""

    escrow: EscrowId


async def list_escrows(request: Request) -> Response:
    page = asked(request, EscrowList)
    first = await found(request, page, LISTING, page.filters)
    if not first.rows:
        await must_exist(request, book=page.book, account=page.depositor)
        await must_exist(request, book=page.book, account=page.beneficiary)
        if cursor := page.cursor:
            await _find_escrow(request, EVENTUAL, cursor)
    return shown(request, page, LISTING, page.filters, first)


async def read_escrow(request: Request) -> Response:
    """The escrow as of one position, its events up to there; its entries as of there or later."""
    read = asked(request, EscrowRead)
    answered = await _find_escrow(request, read, read.escrow)
    told = await story(request, read.escrow, answered.position)
    return one({**resource(answered.rows[0]), **told}, answered.position)


async def _find_escrow(request: Request, read: Read, escrow_id: UUID) -> Answer:
    wanted = {"escrow": escrow_id}
    answered = await answer(request, "escrow", read, wanted, of=[accounts, escrows], key="escrow_id")
    if not answered.rows:
        raise EscrowNotFound(escrow_id)
    return answered


def resource(row: Mapping[str, Any]) -> dict[str, Any]:
    """Amounts in minor units; `position` is of the last event of the escrow."""
    return {
        "object": "escrow",
        "id": ids.show(ids.ESCROW, row["escrow_id"]),
        "book_id": ids.show(ids.BOOK, row["book_id"]),
        "depositor_id": ids.show(ids.ACCOUNT, row["depositor_id"]),
        "depositor_code": row["depositor_code"],
        "beneficiary_id": ids.show(ids.ACCOUNT, row["beneficiary_id"]),
        "beneficiary_code": row["beneficiary_code"],
        "status": row["status"],
        "amount": row["amount"],
        "released": row["released"],
        "returned": row["returned"],
        "held": row["amount"] - row["released"] - row["returned"],
        "suspended": row["suspended"],
        "currency": row["currency"],
        "expires_at": row["expires_at"],
        "on_expiry": row["on_expiry"],
        "conditions": [{**condition, "met_by": row["met"].get(condition["name"])} for condition in row["conditions"]],
        "parts": [_part(row, part) for part in row["parts"]],
        "return_terms": row["return_terms"],
        "returns": [{"approver": approver, **agreed} for approver, agreed in row["returns"].items()],
        "maker": row["maker"],
        "description": row["description"] or "",
        "reference": row["reference"] or "",
        "metadata": row["metadata"] or {},
        "created_at": row["created_at"],
        "changed_at": row["changed_at"],
        "version": row["version"],
        "position": row["changed"],
    }


def _part(row: Mapping[str, Any], part: Mapping[str, Any]) -> dict[str, Any]:
    """`blocked` is why it could not be released when it became ready."""
    left = part["amount"] - part["released"] - part["returned"]
    conditions = [name for name in part["conditions"] if name not in row["met"]]
    approvals = max(part["approvals"] - len(part["approved"]), 0)
    waits_for = None
    if left and row["status"] in OPEN and (conditions or approvals):
        may = [name for name in part["approvers"] if name not in (*part["approved"], row["maker"])]
        waits_for = {"conditions": conditions, "approvals": approvals, "approvers": may if approvals else []}
    return {
        "name": part["name"],
        "amount": part["amount"],
        "released": part["released"],
        "returned": part["returned"],
        "status": _status(part, left, ready=not conditions and not approvals),
        "waits_for": waits_for,
        "conditions": part["conditions"],
        "approvals": part["approvals"],
        "approvers": part["approvers"],
        "approved_by": part["approved"],
        "blocked": part["blocked"],
    }


def _status(part: Mapping[str, Any], left: int, *, ready: bool) -> PartStatus:
    if left:
        return PartStatus.READY if ready else PartStatus.WAITING
    if not part["returned"]:
        return PartStatus.RELEASED
    return PartStatus.DIVIDED if part["released"] else PartStatus.RETURNED


AMOUNTS: Final = ("amount", "released", "returned", "held", "suspended")

LISTING: Final = Listing(
    "escrows",
    of=[accounts, escrows],
    cursor="escrow_id",
    resource=resource,
    columns=(
        "position",
        "created_at",
        "changed_at",
        "id",
        "book_id",
        "depositor_id",
        "depositor_code",
        "beneficiary_id",
        "beneficiary_code",
        "status",
        *(f"{name}{form}" for name in AMOUNTS for form in ("", csv.DECIMAL)),
        "currency",
        "expires_at",
        "on_expiry",
        "parts",
        "description",
        "reference",
        "metadata",
        "maker",
        "version",
    ),
)

routes: Final = [
    Route("/v1/escrows", list_escrows, methods=["GET"]),
    Route("/v1/escrows/{escrow}", read_escrow, methods=["GET"]),
]
