"""POST /v1/books."""

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from commands.api.asking import asked, created, instant
from commands.book import OpenBook
from commands.desk import Outcome
from domain import ids
from domain.events import BookOpened


def book(outcome: Outcome) -> dict[str, Any]:
    recorded = outcome.recorded[0]
    event = recorded.event
    assert isinstance(event, BookOpened), event
    return {
        "object": "book",
        "id": ids.show(ids.BOOK, recorded.stream_id),
        "code": event.code,
        "title": event.title,
        "metadata": event.metadata,
        "recorded_at": instant(recorded.recorded_at),
        "position": recorded.position,
    }


async def post_book(request: Request) -> Response:
    opened = book(await asked(request, OpenBook))
    return created(opened, location=f"/v1/books/{opened['id']}")


routes = [Route("/v1/books", post_book, methods=["POST"])]
