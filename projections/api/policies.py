"""A book's policy for payments, read."""

from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from domain import ids
from domain.errors import BookNotFound
from domain.policy import NONE, shown
from projections import accounts
from projections.api.answering import answer, one
from projections.api.parameters import BookName, Read, asked


class PaymentPolicyRead(Read):
    """The policy for a book's payments that is in force, and since when."""

    book: BookName


async def read_policy(request: Request) -> Response:
    read = asked(request, PaymentPolicyRead)
    answered = await answer(request, "payment_policy", read, {"book": read.book}, of=[accounts], key="book_id")
    if not answered.rows:
        raise BookNotFound(read.book)
    return one(resource(answered.rows[0]), answered.position)


def resource(row: dict[str, Any]) -> dict[str, Any]:
    """What is null was never set: then nobody need approve, nothing is limited, and every validator must allow."""
    return {
        "object": "payment_policy",
        "book_id": ids.show(ids.BOOK, row["book_id"]),
        **(row["policy"] or shown(NONE)),
        "set_at": row["set_at"],
        "set_by": row["set_by"],
        "version": row["version"],
        "position": row["position"],
    }


routes: Final = [Route("/v1/books/{book}/payment-policy", read_policy, methods=["GET"])]
