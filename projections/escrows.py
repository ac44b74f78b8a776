"""Escrows as they stand, and of each part what was released and returned of it, and who has approved."""

from collections.abc import Iterator
from typing import Any, Final

from domain.escrow import Status
from domain.events import (
    EscrowConditionMet,
    EscrowEvent,
    EscrowExpired,
    EscrowFunded,
    EscrowReleaseApproved,
    EscrowReleased,
    EscrowReleaseRefused,
    EscrowReturnApproved,
    EscrowReturned,
    Recorded,
)
from projections.projection import Change

NAME: Final = "escrows"
VERSION: Final = 1
CHANGES: Final = ("fund_escrows", "add_parts", "change_parts", "change_escrows")


def project(recorded: Recorded) -> Iterator[Change]:
    """What the event changes: an escrow, and one of its parts where it says of which."""
    event = recorded.event
    if not isinstance(event, EscrowEvent):
        return
    if isinstance(event, EscrowFunded):
        yield _funded(recorded, event)
        yield from _parts(recorded, event)
        return
    part = _part(event)
    if part:
        yield Change("change_parts", {"escrow_id": recorded.stream_id, "position": recorded.position, **part})
    yield Change(
        "change_escrows",
        {
            "escrow_id": recorded.stream_id,
            "version": recorded.version,
            "position": recorded.position,
            "changed_at": recorded.recorded_at,
            **_changed(event),
        },
    )


def _funded(recorded: Recorded, event: EscrowFunded) -> Change:
    return Change(
        "fund_escrows",
        {
            "escrow_id": recorded.stream_id,
            "book_id": event.book_id,
            "depositor_id": event.depositor_id,
            "beneficiary_id": event.beneficiary_id,
            "position": recorded.position,
            "created_at": recorded.recorded_at,
            "status": Status.FUNDED,
            "amount": event.amount,
            "released": 0,
            "returned": 0,
            "suspended": 0,
            "currency": event.currency,
            "expires_at": event.expires_at,
            "on_expiry": event.on_expiry,
            "conditions": [{"name": one.name, "by": list(one.by)} for one in event.conditions],
            "met": {},
            "return_terms": _terms(event),
            "returns": {},
            "maker": recorded.metadata.actor,
            "description": event.description or None,
            "reference": event.reference or None,
            "metadata": event.metadata or None,
            "version": recorded.version,
            "changed": recorded.position,
            "changed_at": recorded.recorded_at,
        },
    )


def _terms(event: EscrowFunded) -> dict[str, Any] | None:
    terms = event.return_terms
    return None if terms is None else {"approvals": terms.approvals, "approvers": list(terms.approvers)}


def _parts(recorded: Recorded, event: EscrowFunded) -> Iterator[Change]:
    for number, part in enumerate(event.parts, 1):
        yield Change(
            "add_parts",
            {
                "escrow_id": recorded.stream_id,
                "number": number,
                "position": recorded.position,
                "name": part.name,
                "amount": part.amount,
                "released": 0,
                "returned": 0,
                "conditions": list(part.release.conditions),
                "approvals": part.release.approvals,
                "approvers": list(part.release.approvers),
                "approved": [],
                "changed": recorded.position,
            },
        )


def _part(event: EscrowEvent) -> dict[str, Any]:
    """What a part becomes; amounts by how much they grow, in minor units."""
    match event:
        case EscrowReleaseApproved(part=name, approver=approver):
            return {"name": name, "approver": approver}
        case EscrowReleased(part=name, amount=amount):
            return {"name": name, "released": amount, "blocked": ""}
        case EscrowReleaseRefused(part=name, reason=reason):
            return {"name": name, "blocked": reason}
        case EscrowReturned(part=name, amount=amount):
            return {"name": name, "returned": amount}
        case _:
            return {}


def _changed(event: EscrowEvent) -> dict[str, Any]:
    """What the escrow becomes; amounts by how much they grow, in minor units."""
    match event:
        case EscrowConditionMet(condition=condition, attester=attester):
            return {"met": condition, "by": attester}
        case EscrowReleased(amount=amount, suspended=suspended):
            return {"released": amount, "suspended": amount if suspended else 0}
        case EscrowReturned(amount=amount, suspended=suspended):
            return {"returned": amount, "suspended": amount if suspended else 0}
        case EscrowReturnApproved(approver=approver, part=part, amount=amount):
            return {"approver": approver, "agreed": {"part": part, "amount": amount}}
        case EscrowExpired():
            return {"expired": True}
        case _:
            return {}
