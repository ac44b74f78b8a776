"""The library's own recorder cases, as it publishes them, against our recorders, and what ours promise beyond them."""

import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from types import ModuleType
from typing import Any
from uuid import uuid4

import pytest
from eventsourcing.persistence import IntegrityError, StoredEvent

from adapters.postgres.datastore import Datastore
from adapters.postgres.projecting import TrackingRecorder
from adapters.postgres.recorder import LogRecorder
from adapters.postgres.store import PostgresEventStore
from tests.support import books_of


def _library_cases() -> Any:
    """The module of cases wants a cipher library that Daybook does not use; none of these cases touches it."""
    name = "eventsourcing.cipher"
    stand_in = ModuleType(name)
    stand_in.AESCipher = object  # type: ignore[attr-defined]
    real = sys.modules.get(name)
    sys.modules[name] = stand_in
    try:
        from eventsourcing.tests import persistence
    finally:
        del sys.modules[name]
        if real is not None:
            sys.modules[name] = real
    return persistence


cases = _library_cases()


class _OnOurDatabase:
    """Gives a case its database."""

    @pytest.fixture(autouse=True)
    def _on(self, database: str) -> Iterator[None]:
        self.datastore = Datastore(database, pool_size=4, max_overflow=16)
        yield
        self.datastore.close()

    def create_recorder(self) -> LogRecorder:
        return LogRecorder(self.datastore)


class TestApplicationRecorder(_OnOurDatabase, cases.ApplicationRecorderTestCase):  # type: ignore[misc, name-defined]
    """Inserting, selecting, notifications, concurrency."""

    def test_insert_subscribe(self) -> None:
        self.optional_test_insert_subscribe()


class TestNotificationIds(_OnOurDatabase, cases.NonInterleavingNotificationIDsBaseCase):  # type: ignore[misc, name-defined]
    """Two batches at once do not interleave."""


class TestTracking(cases.TrackingRecorderTestCase):  # type: ignore[misc, name-defined]
    """How far a projection has come."""

    @pytest.fixture(autouse=True)
    def _on(self, database: str) -> None:
        self.dsn = database

    def create_recorder(self) -> TrackingRecorder:
        recorder = TrackingRecorder(self.dsn)
        self.addCleanup(recorder.datastore.close)
        return recorder


@pytest.fixture
def recorder(database: str) -> Iterator[LogRecorder]:
    with Datastore(database) as datastore:
        yield LogRecorder(datastore)


def stored(version: int = 1, topic: str = "library.said.v1") -> StoredEvent:
    return StoredEvent(originator_id=uuid4(), originator_version=version, topic=topic, state=b'{"a":1}')


def test_what_the_library_appends_is_sealed(recorder: LogRecorder, database: str) -> None:
    """
    Whatever way events come in, positions go on without gaps and every batch has its seal in the chain.
    """
    assert recorder.insert_events([stored(), stored()]) == [1, 2]
    assert recorder.insert_events([]) == []
    assert recorder.insert_events([stored()]) == [3]

    books = books_of(database)
    books.check()
    assert [(seal.first, seal.last) for seal in books.seals] == [(1, 2), (3, 3)]
    assert [event.payload for event in books.events] == [b'{"a":1}'] * 3


def test_a_batch_that_conflicts_leaves_nothing(recorder: LogRecorder, database: str) -> None:
    """
    The position of a batch that was refused is the next batch's: no gap, no half.
    """
    taken = stored()
    recorder.insert_events([taken])

    with pytest.raises(IntegrityError):
        recorder.insert_events([stored(), taken])

    assert recorder.insert_events([stored()]) == [2]
    books_of(database).check()


def test_names_streams_by_uuid_alone(recorder: LogRecorder) -> None:
    """
    The library also allows text for a stream's name; Daybook does not.
    """
    with pytest.raises(IntegrityError):
        recorder.insert_events([StoredEvent("a stream", 1, "library.said.v1", b"{}")])


def test_the_library_and_the_store_read_one_log(recorder: LogRecorder, database: str) -> None:
    """
    What the recorder wrote the event store reads, with the time it was written.
    """
    recorder.insert_events([stored()])

    store = PostgresEventStore(database)
    with store.writing() as writing:
        events = list(writing.events_after(0))
        assert writing.head.position == 1
    store.close()

    assert [event.name for event in events] == ["library.said.v1"]
    assert abs((datetime.now(UTC) - events[0].recorded_at).total_seconds()) < 60
    assert [event.id for event in recorder.select_notifications(start=None, limit=10)] == [1]
    assert recorder.max_notification_id() == 1
