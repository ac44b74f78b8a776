"""The log as `eventsourcing` sees it: its Postgres application recorder upon our tables.

What is ours: appends go under the log's advisory lock (the library locks the table, which stands in the way of VACUUM
and CREATE INDEX CONCURRENTLY, or with its db functions not at all, so that readers skip events); positions are
head + 1, head + 2, ... without gaps; nothing is retried, since a COMMIT whose reply was lost may have happened.
"""

from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

from eventsourcing.persistence import ApplicationRecorder, IntegrityError, Notification, StoredEvent, Subscription
from eventsourcing.postgres import PostgresApplicationRecorder, PostgresSubscription
from psycopg import Cursor
from psycopg.rows import TupleRow, tuple_row

from adapters.postgres.datastore import Datastore
from domain.audit import GENESIS, Seal, seal_hash
from domain.events import RawEvent
from domain.ledger import Batch, Head
from domain.posting import PostingRow, Side

COLUMNS: Final = "position, stream, version, name, recorded_at, metadata, payload, command"
"""Of daybook.events, in the order of `RawEvent`'s fields."""

HEAD: Final = """
SELECT s.last, s.recorded_at, s.hash, clock_timestamp()
FROM (VALUES (1)) AS one LEFT JOIN (SELECT * FROM daybook.seals ORDER BY first DESC LIMIT 1) AS s ON true
"""


def raw_event(row: TupleRow) -> RawEvent:
    """An event from a row of `COLUMNS`."""
    return RawEvent(*row)


def head_from(row: TupleRow) -> Head:
    """The log's head from a row of `HEAD`."""
    last, recorded_at, seal, now = row
    return Head(last, recorded_at, seal, now) if last is not None else Head(0, now, GENESIS, now)


def append(cursor: Cursor[Any], after: int, batch: Batch) -> None:
    """Add the batch in one round trip, within the caller's db transaction."""
    events, postings = batch.events, batch.postings
    totals = [row.totals for row in postings]
    cursor.execute(
        _APPEND_TYPED,
        (
            after,
            batch.seal.recorded_at,
            batch.seal.hash,
            [event.stream_id for event in events],
            [event.version for event in events],
            [event.name for event in events],
            [event.metadata for event in events],
            [event.payload for event in events],
            [event.command_id for event in events],
            [row.account_id for row in postings],
            [after_it.number for after_it in totals],
            [row.position for row in postings],
            [row.amount for row in postings],
            [after_it.debits for after_it in totals],
            [after_it.credits for after_it in totals],
            [after_it.pending_debits for after_it in totals],
            [after_it.pending_credits for after_it in totals],
            [row.value_date for row in postings],
            [_letter(row) for row in postings],
            [row.pending for row in postings],
        ),
        prepare=True,
        binary=True,
    )


def _letter(row: PostingRow) -> str:
    return "D" if row.side is Side.DEBIT else "C"


_TYPES: Final = (
    ["bigint", "timestamptz", "bytea", "uuid[]", "integer[]", "text[]", "bytea[]", "bytea[]", "uuid[]", "uuid[]"]
    + ["bigint[]"] * 7
    + ["date[]", '"char"[]', "boolean[]"]
)
_APPEND_TYPED: Final = f"SELECT daybook.append({', '.join(f'%s::{t}' for t in _TYPES)})"


class LogRecorder(PostgresApplicationRecorder):
    """The library's recorder interface upon the log. Daybook itself appends through `PostgresEventStore`."""

    datastore: Datastore

    def __init__(self, datastore: Datastore) -> None:
        super().__init__(datastore, events_table_name="events")
        self.channel_name = "daybook_log"

    def create_table(self) -> None:
        """Tables come from the migrations."""

    def insert_events(self, stored_events: Sequence[StoredEvent], **_: Any) -> Sequence[int] | None:
        """Append events of the library's own making, without postings, as one sealed batch; returns their positions."""
        if not stored_events:
            return []
        with self.datastore.get_connection() as connection, connection.transaction():
            with connection.cursor(row_factory=tuple_row) as cursor:
                cursor.execute("SELECT daybook.lock_log()")
                row = cursor.execute(HEAD).fetchone()
                assert row is not None
                head = head_from(row)
                events = [
                    _from_library(event, position, head)
                    for position, event in enumerate(stored_events, head.position + 1)
                ]
                seal = Seal(head.position + 1, head.position + len(events), head.next_at, seal_hash(head.hash, events))
                append(cursor, head.position, Batch(events, [], seal))
        return [event.position for event in events]

    def select_events(
        self,
        originator_id: UUID | str,
        *,
        gt: int | None = None,
        lte: int | None = None,
        desc: bool = False,
        limit: int | None = None,
    ) -> Sequence[StoredEvent]:
        with self.datastore.get_connection() as connection, connection.cursor(row_factory=tuple_row) as cursor:
            cursor.execute(
                "SELECT stream, version, name, payload FROM daybook.events WHERE stream = %s"
                " AND (%s::int IS NULL OR version > %s) AND (%s::int IS NULL OR version <= %s)"
                f" ORDER BY version {'DESC' if desc else 'ASC'} LIMIT %s",
                (originator_id, gt, gt, lte, lte, limit),
            )
            return [StoredEvent(*row) for row in cursor]

    def select_notifications(
        self,
        start: int | None,
        limit: int,
        stop: int | None = None,
        topics: Sequence[str] = (),
        *,
        inclusive_of_start: bool = True,
    ) -> Sequence[Notification]:
        after = (start or 0) - (1 if inclusive_of_start else 0)
        with self.datastore.get_connection() as connection, connection.cursor(row_factory=tuple_row) as cursor:
            cursor.execute(
                "SELECT stream, version, name, payload, position FROM daybook.events WHERE position > %s"
                " AND (%s::bigint IS NULL OR position <= %s) AND (%s::text[] = '{}' OR name = ANY(%s::text[]))"
                " ORDER BY position LIMIT %s",
                (after, stop, stop, list(topics), list(topics), limit),
            )
            return [Notification(*row) for row in cursor]

    def max_notification_id(self) -> int | None:
        with self.datastore.get_connection() as connection, connection.cursor(row_factory=tuple_row) as cursor:
            row = cursor.execute("SELECT nullif(daybook.head(), 0)").fetchone()
            assert row is not None
            return row[0]  # type: ignore[no-any-return]

    def subscribe(self, gt: int | None = None, topics: Sequence[str] = ()) -> Subscription[ApplicationRecorder]:
        return PostgresSubscription(recorder=self, gt=gt, topics=topics)


def _from_library(event: StoredEvent, position: int, head: Head) -> RawEvent:
    if isinstance(event.originator_id, str):
        raise IntegrityError("streams are UUIDs")
    return RawEvent(
        position, event.originator_id, event.originator_version, event.topic, head.next_at, b"{}", event.state
    )
