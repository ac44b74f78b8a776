"""Everything verification reads: the log, and what was derived from it and is stored beside it."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol
from uuid import UUID

from domain.events import RawEvent
from domain.ports import Log
from domain.posting import PostingRow


class Stored(Log, Protocol):
    """One consistent view of the log, the postings and the read models; streams may run beside each other."""

    def stream(self, stream_id: UUID) -> Sequence[RawEvent]:
        """All events of one stream, in order."""

    def versions(self) -> Iterator[tuple[UUID, int]]:
        """Every event's stream and version, stream by stream, in order of version."""

    def postings(self) -> Iterator[PostingRow]:
        """Every posting as stored, in any order; about that of the log is the cheapest to check."""

    def tracked(self) -> Mapping[str, int]:
        """The position each projection has reached, by its name; a projection that never ran is absent."""

    def read_model(self, table: str, columns: Sequence[str], *, order: str | None = None) -> Iterator[tuple[Any, ...]]:
        """Rows of a table of the read models; by `order` if one is named.

        Raises:
            Unavailable: There is no such table, or it cannot be read.
        """
