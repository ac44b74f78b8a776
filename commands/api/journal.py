"""POST /v1/journal-entries, and the reversal of one."""

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from commands.api.asking import asked, created, instant, path_id
from commands.desk import Outcome
from commands.journal import PostEntry, ReverseEntry
from domain import ids
from domain.errors import EntryNotFound
from domain.events import EntryPosted
from domain.posting import Posting


def entry(outcome: Outcome) -> dict[str, Any]:
    """The entry as it was posted; amounts in minor units."""
    recorded = outcome.recorded[0]
    posted = recorded.event
    assert isinstance(posted, EntryPosted), posted
    return {
        "object": "journal_entry",
        "id": ids.show(ids.ENTRY, recorded.stream_id),
        "book_id": ids.show(ids.BOOK, posted.book_id),
        "value_date": posted.value_date.isoformat(),
        "recorded_at": instant(recorded.recorded_at),
        "position": recorded.position,
        "description": posted.description,
        "reference": posted.reference,
        "metadata": posted.metadata,
        "postings": [_posting(posting) for posting in posted.postings],
        "reverses": None if posted.reverses is None else ids.show(ids.ENTRY, posted.reverses),
        "captures": None if posted.captures is None else ids.show(ids.HOLD, posted.captures),
        "recipe": posted.recipe,
    }


def _posting(posting: Posting) -> dict[str, Any]:
    return {
        "account_id": ids.show(ids.ACCOUNT, posting.account_id),
        "side": posting.side,
        "amount": posting.amount,
        "currency": posting.currency,
    }


async def post_entry(request: Request) -> Response:
    return _posted(await asked(request, PostEntry))


async def post_reversal(request: Request) -> Response:
    entry_id = path_id(request, "entry", ids.ENTRY, EntryNotFound)
    return _posted(await asked(request, ReverseEntry, {"entry_id": entry_id}))


def _posted(outcome: Outcome) -> Response:
    posted = entry(outcome)
    return created(posted, location=f"/v1/journal-entries/{posted['id']}")


routes = [
    Route("/v1/journal-entries", post_entry, methods=["POST"]),
    Route("/v1/journal-entries/{entry}/reverse", post_reversal, methods=["POST"]),
]
