"""POST /v1/holds, and what is done with one."""

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from commands.api.asking import asked, changed, created, instant, path_id
from commands.api.journal import entry
from commands.command import Command
from commands.desk import Outcome
from commands.hold import CaptureHold, ExpireHold, IncreaseHold, PlaceHold, VoidHold
from domain import ids
from domain.errors import HoldNotFound


def hold(outcome: Outcome) -> dict[str, Any]:
    """The hold as the command left it; amounts in minor units."""
    known = outcome.hold
    assert known is not None, outcome
    source, destination = known.placed.postings
    expires_at = known.placed.expires_at
    return {
        "object": "hold",
        "id": ids.show(ids.HOLD, known.id),
        "book_id": ids.show(ids.BOOK, known.placed.book_id),
        "account_id": ids.show(ids.ACCOUNT, source.account_id),
        "destination_id": ids.show(ids.ACCOUNT, destination.account_id),
        "status": known.status.value,
        "amount": known.amount,
        "captured": known.captured,
        "remaining": known.remaining,
        "currency": known.currency,
        "expires_at": None if expires_at is None else instant(expires_at),
        "description": known.placed.description,
        "reference": known.placed.reference,
        "metadata": known.placed.metadata,
        "version": known.version,
        "position": outcome.position,
    }


async def post_hold(request: Request) -> Response:
    placed = hold(await asked(request, PlaceHold))
    return created(placed, location=f"/v1/holds/{placed['id']}")


async def post_increase(request: Request) -> Response:
    return await _upon_hold(request, IncreaseHold)


async def post_capture(request: Request) -> Response:
    """Answered with the journal entry that the capture became."""
    hold_id = path_id(request, "hold", ids.HOLD, HoldNotFound)
    captured = entry(await asked(request, CaptureHold, {"hold_id": hold_id}))
    return created(captured, location=f"/v1/journal-entries/{captured['id']}")


async def post_void(request: Request) -> Response:
    return await _upon_hold(request, VoidHold)


async def post_expire(request: Request) -> Response:
    return await _upon_hold(request, ExpireHold)


async def _upon_hold(request: Request, model: type[Command]) -> Response:
    hold_id = path_id(request, "hold", ids.HOLD, HoldNotFound)
    return changed(hold(await asked(request, model, {"hold_id": hold_id})))


routes = [
    Route("/v1/holds", post_hold, methods=["POST"]),
    Route("/v1/holds/{hold}/increase", post_increase, methods=["POST"]),
    Route("/v1/holds/{hold}/capture", post_capture, methods=["POST"]),
    Route("/v1/holds/{hold}/void", post_void, methods=["POST"]),
    Route("/v1/holds/{hold}/expire", post_expire, methods=["POST"]),
]
