"""Payments, read: lists for whoever looks after them, and of each its whole story in one call."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Final, Literal
from uuid import UUID

from pydantic import BeforeValidator, Field, StringConstraints
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from domain import clearing, ids
from domain.dispute import State
from domain.errors import PaymentNotFound
from domain.payment import ENDED, Status
from domain.rail import Rail
from projections import accounts, holds, payments
from projections.api import csv
from projections.api import holds as hold_api
from projections.api.accounts import must_exist
from projections.api.answering import Answer, answer, one
from projections.api.listing import Listing, found, shown
from projections.api.parameters import (
    EVENTUAL,
    AccountId,
    Amount,
    BookName,
    Currency,
    Key,
    Page,
    PaymentId,
    Read,
    Text,
    Time,
    asked,
    digits,
)
from projections.api.story import story

OPEN: Final = ("requested", "unknown", "accepted")
"""States of a request that its rail has still to answer."""


class PaymentList(Page[PaymentId]):
    """Payments, newest first: of a book, an account, a rail, or all.

    `declined`: why the latest attempt that failed did. `needs_attention`: those that a rail has contradicted, and those
    of which it is not known for `unknown_for_s` seconds what became of something asked.

    `request_state`: those with a request in that state, which a rail has still to answer. `contradicted`: those of
    which a rail has said the opposite of what it had said, for somebody to look into. `reference` is the client's own,
    `rail_reference` a rail's. Created from a time on up to a time, both inclusive.
    """

    book: BookName | None = None
    account: AccountId | None = None
    status: Status | None = None
    direction: Literal["in", "out"] | None = None
    rail: Rail | None = None
    route: Text | None = None
    method: Literal["card", "bank_account", "iban", "upi"] | None = None
    last4: Annotated[str, StringConstraints(pattern="^[0-9A-Za-z-]{1,4}$")] | None = None
    declined: Text | None = None
    needs_attention: Literal["true"] | None = None
    unknown_for_s: Annotated[int, BeforeValidator(digits), Field(ge=0, le=10_000_000)] = 60
    request_state: Literal["requested", "unknown", "accepted"] | None = None
    contradicted: Literal["true", "false"] | None = None
    reference: Text | None = None
    rail_reference: Text | None = None
    maker: Key | None = None
    currency: Currency | None = None
    amount_min: Amount | None = None
    amount_max: Amount | None = None
    created_from: Time | None = None
    created_to: Time | None = None

    @property
    def filters(self) -> dict[str, Any]:
        return {
            **self.model_dump(exclude={*Page.model_fields, "contradicted", "needs_attention"}),
            "needs_attention": None if self.needs_attention is None else True,
            "contradicted": None if self.contradicted is None else self.contradicted == "true",
        }


class PaymentRead(Read):
    """One payment, with all that was asked for it, all it did to the ledger, and all that happened to it."""

    payment: PaymentId


async def list_payments(request: Request) -> Response:
    page = asked(request, PaymentList)
    first = await found(request, page, LISTING, page.filters)
    if not first.rows:
        await must_exist(request, book=page.book, account=page.account)
        if cursor := page.cursor:
            await _find_payment(request, EVENTUAL, cursor)
    return shown(request, page, LISTING, page.filters, first)


async def read_payment(request: Request) -> Response:
    """The payment as of one position, its events up to there; its holds and entries as of there or later."""
    read = asked(request, PaymentRead)
    answered = await _find_payment(request, read, read.payment)
    row, at = answered.rows[0], Read(min_position=answered.position)
    of_holds = {"holds": _holds_of(row)}
    found_holds = await answer(request, "holds_of", at, of_holds, of=[accounts, holds], key="hold_id")
    whole = {
        **await _with_rest(request, read.payment, resource(row)),
        "holds": [hold_api.resource(hold) for hold in found_holds.rows],
        **await story(request, read.payment, answered.position),
    }
    return one(whole, answered.position)


async def _with_rest(request: Request, payment_id: UUID, payment: dict[str, Any]) -> dict[str, Any]:
    """Of one that is Daybook's to go on with: until when it rests, as who drives payments here has it."""
    paying, waits_for = getattr(request.state, "paying", None), payment["waits_for"]
    if paying is None or waits_for is None or waits_for["whom"] != "daybook":
        return payment
    rest = await paying.rest(payment_id)
    if rest is None:
        return payment
    return {**payment, "waits_for": {**waits_for, "until": rest.until, "why": rest.why}}


def _holds_of(row: Mapping[str, Any]) -> list[UUID]:
    """Those its requests made, named by what is done and known by their ids before."""
    made = [one["request_id"] for one in row["requests"] if one["operation"] in clearing.HOLDS]
    return [clearing.hold_id(row["payment_id"], request_id) for request_id in made]


async def _find_payment(request: Request, read: Read, payment_id: UUID) -> Answer:
    wanted = {"payment": payment_id}
    answered = await answer(request, "payment", read, wanted, of=[accounts, payments], key="payment_id")
    if not answered.rows:
        raise PaymentNotFound(payment_id)
    return answered


def resource(row: Mapping[str, Any]) -> dict[str, Any]:
    """Amounts in minor units; `position` is of the last event of the payment."""
    requests = [request_shown(request) for request in row["requests"]]
    waits_for = _waits_for(row, requests)
    return {
        "object": "payment",
        "id": ids.show(ids.PAYMENT, row["payment_id"]),
        "book_id": ids.show(ids.BOOK, row["book_id"]),
        "account_id": ids.show(ids.ACCOUNT, row["account_id"]),
        "account_code": row["account_code"],
        "direction": row["direction"],
        "status": row["status"],
        "waits_for": waits_for and {**waits_for, "why": ""},
        "action": row["action"],
        "declined": row["declined"] or "",
        "amount": row["amount"],
        "currency": row["currency"],
        "authorized": row["authorized"],
        "captured": row["captured"],
        "refunded": row["refunded"],
        "reversed": row["reversed"],
        "returned": row["returned"],
        "disputed": row["disputed"],
        "capture": row["capture"],
        "rail": row["rail"],
        "route": row["route"],
        "method": row["method"],
        "requests": requests,
        "disputes": [_dispute(dispute) for dispute in row["disputes"]],
        "contradicted": row["contradicted"],
        "approvals_required": row["approvals"],
        "approvals_given": row["approved"],
        "approvers": row["approvers"] or [],
        "validation": _validation(row["validation"]),
        "expires_at": row["expires_at"],
        "lapses_at": row["lapses_at"],
        "description": row["description"] or "",
        "reference": row["reference"] or "",
        "descriptor": row["descriptor"] or "",
        "metadata": row["metadata"] or {},
        "maker": row["maker"],
        "created_at": row["created_at"],
        "changed_at": row["changed_at"],
        "version": row["version"],
        "position": row["changed"],
    }


def _validation(row: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """What validators made of it since it was last confirmed; nothing where that was not asked."""
    return None if row is None else {**row, "at": _time(row["at"])}


def request_shown(row: Mapping[str, Any]) -> dict[str, Any]:
    """`reason` is why it was asked, `declined` why it was not done; `code` and `reference` are the rail's own."""
    texts = ("reason", "reference", "code", "declined", "retry", "settles_on")
    return {
        "id": row["request_id"],
        **{name: row[name] for name in ("operation", "rail", "route", "amount", "state", "upon", "final")},
        **{name: row[name] or "" for name in texts},
        "contradicted": row["contradicted"],
        "hold_id": _shown(ids.HOLD, row["hold_id"]),
        "entry_id": _shown(ids.ENTRY, row["entry_id"]),
        "settlement_id": _shown(ids.SETTLEMENT, row["settlement_id"]),
        "settled_on": row["settled_on"],
        "returned": row["returned"],
        "fee": row["fee"],
        "dispute_id": _shown(ids.DISPUTE, row["dispute_id"]),
        "requested_at": _time(row["requested_at"]),
        "answered_at": _time(row["answered_at"]),
        "position": row["changed"],
        "decision": row["decision"],
    }


def _dispute(row: Mapping[str, Any]) -> dict[str, Any]:
    """`settlement_id` is where the rail said so, `entry_id` by what it was taken back."""
    return {
        "id": ids.show(ids.DISPUTE, UUID(row["dispute_id"])),
        **{name: row[name] for name in ("request_id", "state", "amount", "fee")},
        **{name: row[name] or "" for name in ("reference", "code", "reason", "message")},
        "respond_by": _time(row["respond_by"]),
        "settlement_id": ids.show(ids.SETTLEMENT, UUID(row["settlement_id"])),
        "entry_id": _shown(ids.ENTRY, row["entry_id"]),
        "closing_entry_id": _shown(ids.ENTRY, row["closing_entry_id"]),
        "disputed_at": _time(row["disputed_at"]),
    }


_WAITS_FOR: Final = {
    Status.REQUIRES_PAYMENT_METHOD: ("client", "attach_method"),
    Status.REQUIRES_CONFIRMATION: ("client", "confirm_payment"),
    Status.REQUIRES_APPROVAL: ("approver", "approve_payment"),
    Status.REQUIRES_ACTION: ("payer", "action"),
    Status.PROCESSING: ("daybook", "start_attempt"),
    Status.REQUIRES_CAPTURE: ("client", "capture_payment"),
}
"""Who has the next step, and which, where no rail has still to answer."""


def _waits_for(row: Mapping[str, Any], requests: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Who is to do what, since when that is so and until when; nothing where all is over."""
    if row["action"] is not None and requests[-1]["state"] == "accepted":
        action = row["action"]
        payer = {"whom": "payer", "what": action["type"], "state": "accepted"}
        return {**payer, "since": row["changed_at"], "until": action.get("expires_at")}
    for asked_first in requests:
        if asked_first["state"] in OPEN:
            since = asked_first["answered_at"] or asked_first["requested_at"]
            rail = {"whom": "rail", "what": asked_first["operation"], "state": asked_first["state"]}
            return {**rail, "since": since, "until": None}
    unanswered = [one for one in row["disputes"] if one["state"] == State.NEEDS_RESPONSE]
    if unanswered:
        first = min(unanswered, key=lambda one: (one["respond_by"] is None, _time(one["respond_by"])))
        since, until = _time(first["disputed_at"]), _time(first["respond_by"])
        return {"whom": "client", "what": "answer_dispute", "state": None, "since": since, "until": until}
    if row["status"] in ENDED:
        return None
    whom, what = _WAITS_FOR[Status(row["status"])]
    return {"whom": whom, "what": what, "state": None, "since": row["changed_at"], "until": row["expires_at"]}


def _shown(kind: str, thing: str | None) -> str | None:
    return None if thing is None else ids.show(kind, UUID(thing))


def _time(at: str | None) -> datetime | None:
    """Out of a document of Postgres's."""
    return None if at is None else datetime.fromisoformat(at)


_AMOUNTS: Final = ("amount", "authorized", "captured", "refunded", "reversed", "returned", "disputed")

LISTING: Final = Listing(
    "payments",
    of=[accounts, payments],
    cursor="payment_id",
    resource=resource,
    columns=(
        "position",
        "created_at",
        "changed_at",
        "id",
        "book_id",
        "account_id",
        "account_code",
        "direction",
        "status",
        "waits_for.whom",
        "waits_for.what",
        "waits_for.since",
        "waits_for.until",
        *(f"{name}{form}" for name in _AMOUNTS for form in ("", csv.DECIMAL)),
        "currency",
        "rail",
        "route",
        "method.type",
        "method.last4",
        "declined",
        "contradicted",
        "expires_at",
        "lapses_at",
        "description",
        "reference",
        "metadata",
        "maker",
        "version",
    ),
)

routes: Final = [
    Route("/v1/payments", list_payments, methods=["GET"]),
    Route("/v1/payments/{payment}", read_payment, methods=["GET"]),
]
