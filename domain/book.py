"""A book: whose accounts and entries belong together. Books never mix in one entry."""

from uuid import UUID

from msgspec import Struct

from domain.errors import BookCodeTaken
from domain.events import BookOpened


class Book(Struct, frozen=True):
    id: UUID
    code: str
    title: str
    metadata: dict[str, str]


def open_book(existing: Book | None, *, book_id: UUID, code: str, title: str, metadata: dict[str, str]) -> BookOpened:
    """Begin a book.

    Raises:
        BookCodeTaken: The code names a book already.
    """
    if existing is not None:
        raise BookCodeTaken(book_id)
    return BookOpened(code=code, title=title, metadata=metadata)


def opened(book_id: UUID, event: BookOpened) -> Book:
    return Book(book_id, event.code, event.title, event.metadata)
