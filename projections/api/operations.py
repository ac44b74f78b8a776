"""What rails were asked, read across all payments: attempts, captures, refunds, payouts and reversals."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Any, Final, Literal
from uuid import UUID

from msgspec import Struct
from pydantic import StringConstraints
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from domain import ids
from domain.errors import OperationNotFound
from domain.payment import BEGINS
from domain.rail import Operation, Rail
from projections import accounts, payments
from projections.api import csv
from projections.api.accounts import must_exist
from projections.api.answering import Answer, answer, one
from projections.api.listing import Listing, found, shown
from projections.api.parameters import EVENTUAL, AccountId, BookName, Page, Read, Text, Time, asked
from projections.api.payments import request_shown

RequestId = Annotated[str, StringConstraints(pattern=r"^[0-9A-Za-z]{22}$")]


class Kind(Struct, frozen=True):
    """A list: what it is called, what one of it is called, and the operations in it."""

    name: str
    single: str
    operations: frozenset[Operation]


KINDS: Final = (
    Kind("attempts", "attempt", BEGINS),
    Kind("captures", "capture", frozenset({Operation.CAPTURE})),
    Kind("refunds", "refund", frozenset({Operation.REFUND})),
    Kind("payouts", "payout", frozenset({Operation.PAYOUT})),
    Kind("reversals", "reversal", frozenset({Operation.REVERSE})),
)
"""An attempt is what begins with a payment's method: an authorization, a collection or a payout."""


class OperationList(Page[RequestId]):
    """What rails were asked for payments, newest first: of a book, an account, a rail, a route, or all.

    `declined` is our reason of a no, `reference` the rail's own. Asked from a time on up to a time, both inclusive.
    """

    book: BookName | None = None
    account: AccountId | None = None
    rail: Rail | None = None
    route: Text | None = None
    state: Literal["requested", "unknown", "accepted", "done", "failed"] | None = None
    declined: Text | None = None
    reference: Text | None = None
    created_from: Time | None = None
    created_to: Time | None = None

    @property
    def filters(self) -> dict[str, Any]:
        return self.model_dump(exclude={*Page.model_fields})


class OperationRead(Read):
    """What a rail was asked under one request id, and what became of it."""

    request: RequestId


def listing(kind: Kind) -> Callable[[Request], Awaitable[Response]]:
    """The route that lists them."""
    operations = {"operations": sorted(kind.operations)}

    async def list_operations(request: Request) -> Response:
        page = asked(request, OperationList)
        wanted = page.filters | operations
        first = await found(request, page, LISTING, wanted)
        if not first.rows:
            await must_exist(request, book=page.book, account=page.account)
            if cursor := page.cursor:
                await _find(request, EVENTUAL, kind, cursor)
        return shown(request, page, LISTING, wanted, first)

    return list_operations


def reading(kind: Kind) -> Callable[[Request], Awaitable[Response]]:
    """The route that reads one of them."""

    async def read_operation(request: Request) -> Response:
        read = asked(request, OperationRead)
        answered = await _find(request, read, kind, read.request)
        return one(resource(answered.rows[0]), answered.position)

    return read_operation


async def _find(request: Request, read: Read, kind: Kind, request_id: str) -> Answer:
    wanted = {"request": request_id, "operations": sorted(kind.operations)}
    answered = await answer(request, "operation", read, wanted, of=[accounts, payments], key="request_id")
    if not answered.rows:
        raise OperationNotFound(request_id)
    return answered


def resource(row: Mapping[str, Any]) -> dict[str, Any]:
    """As within its payment, with whose it is; `since` it is in its state, `until` when its payer may act."""
    request = request_shown(row["request"])
    return {
        "object": "operation",
        "payment_id": ids.show(ids.PAYMENT, UUID(row["request"]["payment_id"])),
        "book_id": ids.show(ids.BOOK, UUID(row["request"]["book_id"])),
        "account_id": ids.show(ids.ACCOUNT, UUID(row["request"]["account_id"])),
        "account_code": row["account_code"],
        **request,
        "currency": row["currency"],
        "since": request["answered_at"] or request["requested_at"],
        "until": row["until"] if request["state"] == "accepted" and request["upon"] is None else None,
    }


LISTING: Final = Listing(
    "operations",
    of=[accounts, payments],
    cursor="request_id",
    resource=resource,
    columns=(
        "position",
        "requested_at",
        "answered_at",
        "id",
        "payment_id",
        "book_id",
        "account_id",
        "account_code",
        "operation",
        "rail",
        "route",
        "state",
        "since",
        "until",
        *(f"{name}{form}" for name in ("amount", "returned", "fee") for form in ("", csv.DECIMAL)),
        "currency",
        "upon",
        "final",
        "reason",
        "reference",
        "code",
        "declined",
        "retry",
        "settles_on",
        "settled_on",
        "contradicted",
    ),
)

routes: Final = [
    route
    for kind in KINDS
    for route in (
        Route(f"/v1/{kind.name}", listing(kind), methods=["GET"]),
        Route(f"/v1/{kind.name}/{{request}}", reading(kind), methods=["GET"]),
    )
]
