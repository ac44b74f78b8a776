"""Everything verification reads: the log, and what was derived from it and is stored beside it."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, Protocol
from uuid import UUID

from domain.events import RawEvent
from domain.ports import Log
from replay.rows import Layout, layout

VERSIONS: Final[Layout] = layout("daybook.events", "stream:uuid version:int4")


class Stored(Log, Protocol):
    """One consistent view of the log, the postings and the read models; streams may run beside each other.

    Raises:
        Unavailable: From any method: a table is not there, is of another shape, or cannot be read.
    """

    def stream(self, stream_id: UUID) -> Sequence[RawEvent]:
        """All events of one stream, in order."""

    def logged(self) -> Iterator[bytes]:
        """Every event in order, as a row of `replay.logged.EVENTS`."""

    def versions(self) -> Iterator[bytes]:
        """Of every event a row of `VERSIONS`, stream by stream, in order of version."""

    def postings(self) -> Iterator[bytes]:
        """Every posting as a row of `replay.derived.POSTINGS`, in any order; the log's is the cheapest to check."""

    def tracked(self) -> Mapping[str, int]:
        """The position each projection has reached, by its name; a projection that never ran is absent."""

    def read_model(self, table: str, columns: Sequence[str]) -> Iterator[tuple[Any, ...]]:
        """Rows of a table of the read models, as values, in any order."""

    def read_model_rows(self, rows: Layout, *, order: str | None = None) -> Iterator[bytes]:
        """Rows of a table of the read models, as bytes; by `order` if one is named."""
