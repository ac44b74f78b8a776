"""Books, read."""

from typing import Any, Final
from uuid import UUID

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from domain import ids
from domain.errors import BookNotFound
from projections import accounts
from projections.api.answering import Answer, answer, one
from projections.api.listing import Listing, found, shown
from projections.api.parameters import EVENTUAL, BookId, BookName, Page, Read, asked


class BookList(Page[BookId]):
    """Books by code."""


class BookRead(Read):
    """One book."""

    book: BookName


async def list_books(request: Request) -> Response:
    page = asked(request, BookList)
    first = await found(request, page, LISTING, {})
    if not first.rows and (cursor := page.cursor):
        await find_book(request, EVENTUAL, cursor)
    return shown(request, page, LISTING, {}, first)


async def read_book(request: Request) -> Response:
    read = asked(request, BookRead)
    answered = await find_book(request, read, read.book)
    return one(resource(answered.rows[0]), answered.position)


async def find_book(request: Request, read: Read, book_id: UUID) -> Answer:
    """The book with that id.

    Raises:
        BookNotFound: There is none.
    """
    answered = await answer(request, "book", read, {"book": book_id}, of=[accounts], key="book_id")
    if not answered.rows:
        raise BookNotFound(book_id)
    return answered


def resource(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "object": "book",
        "id": ids.show(ids.BOOK, row["book_id"]),
        "code": row["code"],
        "title": row["title"] or "",
        "metadata": row["metadata"] or {},
        "opened_at": row["opened_at"],
    }


LISTING: Final = Listing(
    "books",
    of=[accounts],
    cursor="book_id",
    resource=resource,
    columns=("id", "code", "title", "metadata", "opened_at"),
)

routes: Final = [
    Route("/v1/books", list_books, methods=["GET"]),
    Route("/v1/books/{book}", read_book, methods=["GET"]),
]
