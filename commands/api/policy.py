"""POST /v1/books/{book}/payment-policy."""

from typing import Any, Final

from pydantic import TypeAdapter, ValidationError
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from commands.account import BookName
from commands.api.asking import NoSuchId, asked, changed, instant
from commands.desk import Outcome
from commands.policy import SetPaymentPolicy
from domain import ids
from domain.errors import BookNotFound
from domain.events import BookPaymentPolicySet
from domain.policy import shown


def policy(outcome: Outcome) -> dict[str, Any]:
    """The policy as it was set; `version` is that of the book's stream."""
    recorded = outcome.recorded[0]
    event = recorded.event
    assert isinstance(event, BookPaymentPolicySet), event
    return {
        "object": "payment_policy",
        "book_id": ids.show(ids.BOOK, recorded.stream_id),
        **shown(event.policy),
        "set_at": instant(recorded.recorded_at),
        "set_by": recorded.metadata.actor,
        "version": recorded.version,
        "position": recorded.position,
    }


async def post_policy(request: Request) -> Response:
    named = {"book": _book(request)}
    return changed(policy(await asked(request, SetPaymentPolicy, named)))


def _book(request: Request) -> str:
    """As the path names it; raises NoSuchId."""
    try:
        return _name.validate_python(request.path_params["book"])
    except ValidationError as error:
        raise NoSuchId(BookNotFound) from error


_name: Final = TypeAdapter[str](BookName)


routes = [Route("/v1/books/{book}/payment-policy", post_policy, methods=["POST"])]
