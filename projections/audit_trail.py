"""Who did what, when, because of what and in whose name: every event and every refused command."""

from collections.abc import Iterator
from typing import Any, Final

from domain.events import (
    AccountOpened,
    BatchPosted,
    BookOpened,
    BookPaymentPolicySet,
    CommandRefused,
    EntryPosted,
    EntryReversed,
    EscrowFunded,
    HoldCaptured,
    HoldExpired,
    HoldIncreased,
    HoldPlaced,
    HoldVoided,
    PaymentIntentCreated,
    Recorded,
    SettlementRecorded,
)
from projections.projection import Change

NAME: Final = "audit_trail"
VERSION: Final = 1
CHANGES: Final = ("add_records", "add_records_of")


def project(recorded: Recorded) -> Iterator[Change]:
    """One record. `subject` is whose book is its book, where the event does not name the book itself."""
    event, metadata = recorded.event, recorded.metadata
    row: dict[str, Any] = {
        "position": recorded.position,
        "recorded_at": recorded.recorded_at,
        "stream": recorded.stream_id,
        "book_id": None,
        "scope": None,
        "event": event.name,
        "actor": metadata.actor,
        "request_id": metadata.request_id or None,
        "correlation_id": metadata.correlation_id or None,
        "causation_id": metadata.causation_id or None,
        "idempotency_key": metadata.idempotency_key or None,
        "command": None,
        "refusal": None,
        "details": None,
    }
    match event:
        case (AccountOpened() | EntryPosted() | EntryReversed()) | (
            HoldPlaced() | HoldIncreased() | HoldCaptured() | HoldVoided() | HoldExpired()
        ):
            row["book_id"] = event.book_id
        case BatchPosted() | PaymentIntentCreated() | SettlementRecorded() | EscrowFunded():
            row["book_id"] = event.book_id
        case BookOpened() | BookPaymentPolicySet():
            row["book_id"] = recorded.stream_id
        case CommandRefused(command=command, scope=scope, code=code, details=details):
            row |= {"subject": scope, "scope": scope, "command": command, "refusal": code, "details": details or None}
        case _:
            row["subject"] = recorded.stream_id
    yield Change("add_records" if "subject" not in row else "add_records_of", row)
