"""Commands upon books."""

from collections.abc import Iterator
from typing import ClassVar
from uuid import UUID

from pydantic import Field

from commands.command import Code, Command, Decided, MetadataMap, Text
from domain import book, ids
from domain.ledger import Draft


class OpenBook(Command):
    """Begin a book. Its code names it for ever."""

    kind: ClassVar[str] = "open_book"
    code: Code
    title: Text = ""
    metadata: MetadataMap = Field(default_factory=dict)

    @property
    def scope(self) -> UUID:
        return ids.book_id(self.code)

    def sees(self, draft: Draft) -> Iterator[tuple[str, UUID]]:
        yield "book", self.scope

    def decide(self, draft: Draft, command_id: UUID) -> Decided:
        book_id = self.scope
        event = book.open_book(
            draft.books[book_id], book_id=book_id, code=self.code, title=self.title, metadata=self.metadata
        )
        return [(book_id, 1, event)]
