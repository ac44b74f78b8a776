"""A book: whose accounts and entries belong together. Books never mix in one entry."""

from collections.abc import Iterable
from uuid import UUID

from msgspec import Struct
from msgspec.structs import replace

from domain.errors import BookCodeTaken, BookNotFound
from domain.events import BookOpened, BookPaymentPolicySet, Event
from domain.policy import NONE, Policy


class Book(Struct, frozen=True):
    id: UUID
    version: int
    code: str
    title: str
    metadata: dict[str, str]
    policy: Policy
    """That for its payments."""


def open_book(existing: Book | None, *, book_id: UUID, code: str, title: str, metadata: dict[str, str]) -> BookOpened:
    """Begin a book.

    Raises:
        BookCodeTaken: The code names a book already.
    """
    if existing is not None:
        raise BookCodeTaken(book_id)
    return BookOpened(code=code, title=title, metadata=metadata)


def set_payment_policy(book: Book | None, *, book_id: UUID, policy: Policy) -> BookPaymentPolicySet:
    """Replace the whole policy for its payments.

    Raises:
        BookNotFound: There is no such book.
    """
    if book is None:
        raise BookNotFound(book_id)
    return BookPaymentPolicySet(policy=policy)


def opened(book_id: UUID, event: BookOpened) -> Book:
    return Book(book_id, 1, event.code, event.title, event.metadata, NONE)


def evolve(book: Book, event: BookPaymentPolicySet) -> Book:
    """The book after one more of its events; never refuses."""
    return replace(book, version=book.version + 1, policy=event.policy)


def fold(book_id: UUID, events: Iterable[Event]) -> Book | None:
    """The book after those events of its stream; None if that is no book's stream, as a stranger may ask for."""
    book = None
    for event in events:
        if isinstance(event, BookOpened):
            book = opened(book_id, event)
        elif book is not None and isinstance(event, BookPaymentPolicySet):
            book = evolve(book, event)
    return book
