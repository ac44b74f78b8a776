"""An exported log into an empty store, equal to the byte; killed at any moment, the same import goes on.

The events are taken as they are, the postings they make are worked out anew, by the domain, as when they were written.
"""

from collections.abc import Callable, Iterable, Iterator
from datetime import UTC
from typing import Final
from uuid import UUID

from adapters.postgres.copying import PostgresCopy
from domain import posting
from domain.audit import Seal
from domain.errors import EventMalformed, EventTooNew
from domain.events import AccountOpened, Event, RawEvent, lines, recorded, value_date_of
from domain.ledger import Batch, Head
from domain.posting import PostingRow, Totals
from replay.export import BadLine, Sealed

COMMIT_EVENTS: Final = 2_000
"""Events put into one db transaction, if the commits they come from are smaller."""

Watch = Callable[[int, int], None]
"""Told after each commit of the file, with its last position and where it ends in the file, in bytes."""


class NotTheSameLog(Exception):
    """The store is not empty, and what is in it is not how the file begins."""


def load(copy: PostgresCopy, exported: Iterable[Sealed], *, watch: Watch) -> Seal | None:
    """Put the file's commits into the store, but for those that are there; the last seal of the file.

    Raises:
        BadLine: Nothing from that line's commit on was put.
        NotTheSameLog: Nothing was put.
        EventTooNew: The file was written by a newer Daybook.
        HeadMoved, ConflictInStore, Unavailable: As `PostgresCopy.put`.
    """
    head = copy.head()
    books = _Books()
    waiting: list[Batch] = []
    last: Seal | None = None
    for sealed in exported:
        last = sealed.seal
        batch = Batch(sealed.events, list(books.rows(sealed)), last)
        if not _is_there(last, head):
            waiting.append(batch)
        if sum(len(one.events) for one in waiting) >= COMMIT_EVENTS:
            _put(copy, waiting)
        watch(last.last, sealed.end)
    if head.position > (last.last if last is not None else 0):
        raise NotTheSameLog(f"the store is at position {head.position}, past the file's end")
    _put(copy, waiting)
    return last


def _put(copy: PostgresCopy, waiting: list[Batch]) -> None:
    if waiting:
        copy.put(waiting)
        waiting.clear()


def _is_there(seal: Seal, head: Head) -> bool:
    """Whether the store holds that commit; where it ends, the seals, chained to all before, must be the same."""
    if seal.first > head.position:
        return False
    if seal.last > head.position or (seal.last == head.position and seal.hash != head.hash):
        raise NotTheSameLog(f"the store holds other events than the file up to position {head.position}")
    return True


class _Books:
    """What is needed of the past to work out postings: every account's totals."""

    def __init__(self) -> None:
        self._totals: dict[UUID, Totals] = {}

    def rows(self, sealed: Sealed) -> Iterator[PostingRow]:
        """The postings of one commit.

        Raises:
            BadLine: An event cannot be understood, or posts where nothing can be posted.
        """
        for line, raw in enumerate(sealed.events, sealed.line):
            event = _understood(line, raw)
            if isinstance(event, AccountOpened):
                self._totals[raw.stream_id] = posting.ZERO
            touched = lines(event)
            for one in touched:
                if one.account_id not in self._totals:
                    raise BadLine(line, f"posts to the account {one.account_id}, which was not opened before it")
            day = value_date_of(event, raw.recorded_at.astimezone(UTC).date())
            yield from posting.rows(touched, position=raw.position, value_date=day, totals=self._totals)


def _understood(line: int, raw: RawEvent) -> Event:
    try:
        return recorded(raw).event
    except EventMalformed as error:
        raise BadLine(line, f"cannot be understood: {error}") from error
    except EventTooNew as error:
        raise EventTooNew(f"line {line}: {error}") from error
