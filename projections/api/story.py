"""The whole story of one aggregate, as its own read tells it: what happened to it, and what it did to the ledger."""

from typing import Any
from uuid import UUID

import msgspec
from starlette.requests import Request

from projections import accounts, journal
from projections.api import events
from projections.api import journal as journal_api
from projections.api.answering import answer
from projections.api.parameters import Read


async def story(request: Request, stream: UUID, position: int) -> dict[str, Any]:
    """Its events up to a position, and the entries that these name, as of there or later."""
    at = Read(min_position=position)
    happened = await answer(request, "story", at, {"stream": stream, "until": position}, of=[], key="position")
    payloads = [msgspec.json.decode(event["payload"]) for event in happened.rows]
    named = {"entries": [UUID(payload["entry_id"]) for payload in payloads if payload.get("entry_id")]}
    posted = await answer(request, "entries_of", at, named, of=[accounts, journal], key="entry_id")
    return {
        "entries": [journal_api.resource(entry) for entry in posted.rows],
        "timeline": [events.resource(event) for event in happened.rows],
    }
