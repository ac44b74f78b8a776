"""Holds as they stand: what was set aside, what became entries of it, and what still is set aside."""

from collections.abc import Iterator
from typing import Final

from domain.events import HoldCaptured, HoldExpired, HoldIncreased, HoldPlaced, HoldVoided, Recorded
from domain.hold import Status
from projections.projection import Change

NAME: Final = "holds"
VERSION: Final = 1
CHANGES: Final = ("place_holds", "change_holds")


def project(recorded: Recorded) -> Iterator[Change]:
    """What the event changes."""
    match recorded.event:
        case HoldPlaced(postings=(source, destination)) as placed:
            yield Change(
                "place_holds",
                {
                    "hold_id": recorded.stream_id,
                    "book_id": placed.book_id,
                    "account_id": source.account_id,
                    "destination_id": destination.account_id,
                    "position": recorded.position,
                    "recorded_at": recorded.recorded_at,
                    "status": Status.HELD,
                    "amount": source.amount,
                    "captured": 0,
                    "remaining": source.amount,
                    "currency": source.currency,
                    "expires_at": placed.expires_at,
                    "actor": recorded.metadata.actor,
                    "description": placed.description or None,
                    "reference": placed.reference or None,
                    "metadata": placed.metadata or None,
                    "version": recorded.version,
                    "changed": recorded.position,
                },
            )
        case HoldIncreased(postings=(source, _)):
            yield _changed(recorded, more=source.amount)
        case HoldCaptured(amount=amount, released=(source, _), final=final):
            yield _changed(recorded, captured=amount, released=source.amount, status=Status.CAPTURED if final else None)
        case HoldVoided(released=(source, _)):
            yield _changed(recorded, released=source.amount, status=Status.VOIDED)
        case HoldExpired(released=(source, _)):
            yield _changed(recorded, released=source.amount, status=Status.EXPIRED)


def _changed(
    recorded: Recorded, *, more: int = 0, captured: int = 0, released: int = 0, status: Status | None = None
) -> Change:
    """By how much, in minor units; None leaves the status as it is."""
    return Change(
        "change_holds",
        {
            "hold_id": recorded.stream_id,
            "more": more,
            "captured": captured,
            "released": released,
            "status": status,
            "version": recorded.version,
            "position": recorded.position,
        },
    )
