"""The audit trail, read: every event and every refused command, newest first."""

from typing import Any, Final, Literal
from uuid import UUID

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from domain import ids
from projections import audit_trail
from projections.api.listing import Listing, found, shown
from projections.api.parameters import BookName, EventKind, Key, Page, Position, RecordedRange, Text, ThingId, asked

_KIND_OF_NOUN: Final = {
    "account": ids.ACCOUNT,
    "book": ids.BOOK,
    "escrow": ids.ESCROW,
    "hold": ids.HOLD,
    "journal_entry": ids.ENTRY,
    "payment": ids.PAYMENT,
    "settlement": ids.SETTLEMENT,
}


class AuditList(Page[Position], RecordedRange):
    """Records, newest first; the cursors are positions.

    `stream`: what happened to one account, journal entry, hold, payment, settlement or book, refused commands upon it
    included.
    `refused`: only refused commands, or only what was done.
    """

    book: BookName | None = None
    actor: Key | None = None
    stream: ThingId | None = None
    refused: Literal["true", "false"] | None = None
    refusal: Text | None = None
    command: Text | None = None
    event: Text | None = None
    kind: EventKind | None = None
    request_id: Text | None = None
    correlation_id: Text | None = None
    idempotency_key: Key | None = None
    position_from: Position | None = None
    position_to: Position | None = None

    @property
    def filters(self) -> dict[str, Any]:
        return {
            **self.model_dump(exclude={*Page.model_fields, "refused"}),
            "refused": None if self.refused is None else self.refused == "true",
        }


async def list_records(request: Request) -> Response:
    page = asked(request, AuditList)
    first = await found(request, page, LISTING, page.filters)
    return shown(request, page, LISTING, page.filters, first)


def resource(row: dict[str, Any]) -> dict[str, Any]:
    """`subject` is what it happened to, or was to happen to."""
    refused = row["refusal"] is not None
    name, subject = (row["scope_opened"], row["scope"]) if refused else (row["event"], row["stream"])
    return {
        "object": "audit_record",
        "position": row["position"],
        "recorded_at": row["recorded_at"],
        "event": row["event"],
        "subject": _shown(name, subject),
        "book_id": None if row["book_id"] is None else ids.show(ids.BOOK, row["book_id"]),
        "actor": row["actor"],
        "request_id": row["request_id"],
        "correlation_id": row["correlation_id"],
        "causation_id": row["causation_id"],
        "idempotency_key": row["idempotency_key"],
        "refusal": _refusal(row) if refused else None,
    }


def _shown(event_name: str | None, thing: UUID) -> str:
    """A TypeID; the bare UUID of something that was asked for and is not there."""
    kind = _KIND_OF_NOUN.get((event_name or "").partition(".")[0])
    return str(thing) if kind is None else ids.show(kind, thing)


def _refusal(row: dict[str, Any]) -> dict[str, Any]:
    details = {name: _detail(name, value) for name, value in (row["details"] or {}).items()}
    return {"command": row["command"], "code": row["refusal"], "details": details}


def _detail(field: str, value: Any) -> Any:
    """Ids are kept bare, and shown as everywhere else."""
    for name, kind in ids.PREFIX_OF_FIELD.items():
        if isinstance(value, str) and field.endswith(name):
            return ids.show(kind, UUID(value))
    return value


LISTING: Final = Listing(
    "audit_trail",
    of=[audit_trail],
    cursor="position",
    resource=resource,
    columns=(
        "position",
        "recorded_at",
        "event",
        "subject",
        "book_id",
        "actor",
        "request_id",
        "correlation_id",
        "causation_id",
        "idempotency_key",
        "refusal.command",
        "refusal.code",
        "refusal.details",
    ),
)

routes: Final = [Route("/v1/audit-trail", list_records, methods=["GET"])]
