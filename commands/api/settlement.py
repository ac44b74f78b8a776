"""POST /v1/settlements."""

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from commands.api.asking import asked, created, instant
from commands.desk import Outcome
from commands.settlement import RecordSettlement
from domain import ids
from domain.events import Break, SettlementRecorded


def settlement(outcome: Outcome) -> dict[str, Any]:
    """What was recorded; amounts in minor units."""
    recorded = outcome.recorded[0]
    event = recorded.event
    assert isinstance(event, SettlementRecorded), event
    return {
        "object": "settlement",
        "id": ids.show(ids.SETTLEMENT, recorded.stream_id),
        "book_id": ids.show(ids.BOOK, event.book_id),
        "rail": event.rail,
        "route": event.route,
        "day": event.day.isoformat(),
        "part": event.part,
        "currency": event.currency,
        "reference": event.reference,
        "lines": event.lines,
        "incoming": event.incoming,
        "outgoing": event.outgoing,
        "fees": event.fees,
        "net": event.net,
        "breaks": [_break(one) for one in event.breaks],
        "entry_id": None if event.entry_id is None else ids.show(ids.ENTRY, event.entry_id),
        "actor": recorded.metadata.actor,
        "recorded_at": instant(recorded.recorded_at),
        "position": recorded.position,
    }


def _break(one: Break) -> dict[str, Any]:
    texts = ("why", "said", "request_id", "operation", "reference", "code", "reason", "message")
    return {
        **{name: getattr(one, name) for name in texts},
        "payment_id": None if one.payment_id is None else ids.show(ids.PAYMENT, one.payment_id),
        "amount": one.amount,
        "moved": one.moved,
        "fee": one.fee,
        "respond_by": None if one.respond_by is None else instant(one.respond_by),
    }


async def post_settlement(request: Request) -> Response:
    recorded = settlement(await asked(request, RecordSettlement))
    return created(recorded, location=f"/v1/settlements/{recorded['id']}")


routes = [Route("/v1/settlements", post_settlement, methods=["POST"])]
