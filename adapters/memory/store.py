"""An event store in memory, with the same unique keys and the same lock as the one in Postgres."""

import threading
from collections.abc import Callable, Collection, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from uuid import UUID

from domain.audit import GENESIS, Seal
from domain.errors import ConflictInStore, HeadMoved
from domain.events import RawEvent
from domain.ledger import Batch, Head
from domain.posting import PostingRow, Totals


class MemoryEventStore:
    """`domain.ports.EventStore`; any number of desks may share one.

    Args:
        now: The time, aware; asked at each taking of the lock.
    """

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._lock = threading.Lock()
        self.events: list[RawEvent] = []
        self.postings: list[PostingRow] = []
        self.seals: list[Seal] = []

    @contextmanager
    def writing(self, command_ids: Collection[UUID] = ()) -> Iterator["MemoryWriting"]:
        with self._lock:
            yield MemoryWriting(self, self._now(), command_ids)

    def resolve(self, seal: Seal) -> bool:
        with self._lock:
            return seal in self.seals

    def close(self) -> None:
        """Nothing is held."""


class MemoryWriting:
    """`domain.ports.Writing`, while the store's lock is held."""

    def __init__(self, store: MemoryEventStore, now: datetime, command_ids: Collection[UUID]) -> None:
        self._store = store
        last = store.seals[-1] if store.seals else Seal(0, 0, now, GENESIS)
        self.head = Head(last.last, last.recorded_at, last.hash, now)
        self.answered: Mapping[UUID, RawEvent] = {
            name: event for event in reversed(store.events) if (name := _command(event)) in command_ids
        }

    def hash_at(self, position: int) -> bytes | None:
        return next((seal.hash for seal in reversed(self._store.seals) if seal.last == position), None)

    def events_after(self, position: int) -> Iterator[RawEvent]:
        return iter(self._store.events[position:])

    def streams(self, stream_ids: Collection[UUID]) -> Mapping[UUID, Sequence[RawEvent]]:
        found: dict[UUID, list[RawEvent]] = {}
        for event in self._store.events:
            if event.stream_id in stream_ids:
                found.setdefault(event.stream_id, []).append(event)
        return found

    def totals(self, account_ids: Collection[UUID]) -> Mapping[UUID, Totals]:
        return {row.account_id: row.totals for row in self._store.postings if row.account_id in account_ids}

    def append(self, batch: Batch) -> None:
        store = self._store
        if batch.seal.first != len(store.events) + 1:
            raise HeadMoved(f"the log is at {len(store.events)}")
        events, postings = store.events + batch.events, store.postings + batch.postings
        _must_be_unique([(event.stream_id, event.version) for event in events])
        _must_be_unique([event.command_id for event in events if event.command_id])
        _must_be_unique([(row.account_id, row.totals.number) for row in postings])
        store.events.extend(batch.events)
        store.postings.extend(batch.postings)
        store.seals.append(batch.seal)


def _command(event: RawEvent) -> UUID:
    """The command an event answers: named beside it, or by its stream."""
    return event.command_id or event.stream_id


def _must_be_unique(keys: Sequence[Hashable]) -> None:
    if len(set(keys)) < len(keys):
        raise ConflictInStore("a unique key is taken")
