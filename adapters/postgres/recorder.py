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
from psycopg import Connection
from psycopg.rows import TupleRow, tuple_row

from adapters.postgres.datastore import Datastore
from adapters.postgres.packing import INT4, INT8, call, day, fixed, moment, nullable, prepare, varied
from domain.audit import GENESIS, Seal, seal_hash
from domain.events import RawEvent
from domain.ledger import Batch, Head
from domain.posting import Side

COLUMNS: Final = "position, stream, version, name, recorded_at, metadata, payload, command"
"""Of daybook.events, in the order of `RawEvent`'s fields."""

HEAD: Final = """
SELECT s.last, s.recorded_at, s.hash, clock_timestamp()
FROM (VALUES (1)) AS one LEFT JOIN (SELECT * FROM daybook.seals ORDER BY first DESC LIMIT 1) AS s ON true
"""


def raw_event(row: TupleRow) -> RawEvent:
    """An event from a row of `COLUMNS`."""
    return RawEvent(*row)


def head_from(row: Sequence[Any]) -> Head:
    """The log's head from a row of `HEAD`."""
    last, recorded_at, seal, now = row
    return Head(last, recorded_at, seal, now) if last is not None else Head(0, now, GENESIS, now)


class Appender:
    """Adds batches to the log over one connection, each in one round trip, within the caller's db transaction.

    Args:
        statement: The name its prepared statement has there; "" where others may use the connection meanwhile.
    """

    def __init__(self, connection: Connection[Any], statement: str = "daybook.append()") -> None:
        self._connection = connection
        self._statement = statement
        self._prepared = False

    def append(self, after: int, batch: Batch) -> None:
        """Add the batch right after position `after`; raises psycopg.Error."""
        if not self._prepared:
            prepare(self._connection, self._statement, _APPEND, _TYPES)
            self._prepared = True
        events, postings = batch.events, batch.postings
        totals = [row.totals for row in postings]
        call(
            self._connection,
            self._statement,
            (
                INT8(after),
                moment(batch.seal.recorded_at),
                batch.seal.hash,
                fixed(_UUID, [event.stream_id.bytes for event in events]),
                fixed(_INT4, [INT4(event.version) for event in events]),
                varied(_TEXT, [event.name.encode() for event in events]),
                varied(_BYTEA, [event.metadata for event in events]),
                varied(_BYTEA, [event.payload for event in events]),
                nullable(_UUID, [event.command_id for event in events]),
                fixed(_UUID, [row.account_id.bytes for row in postings]),
                fixed(_INT8, [INT8(after_it.number) for after_it in totals]),
                fixed(_INT8, [INT8(row.position) for row in postings]),
                fixed(_INT8, [INT8(row.amount) for row in postings]),
                fixed(_INT8, [INT8(after_it.debits) for after_it in totals]),
                fixed(_INT8, [INT8(after_it.credits) for after_it in totals]),
                fixed(_INT8, [INT8(after_it.pending_debits) for after_it in totals]),
                fixed(_INT8, [INT8(after_it.pending_credits) for after_it in totals]),
                fixed(_DATE, [day(row.value_date) for row in postings]),
                fixed(_CHAR, [b"D" if row.side is Side.DEBIT else b"C" for row in postings]),
                fixed(_BOOL, [b"\1" if row.pending else b"\0" for row in postings]),
            ),
        )


_BOOL, _BYTEA, _CHAR, _INT8, _INT4, _TEXT, _DATE, _TIMESTAMPTZ, _UUID = 16, 17, 18, 20, 23, 25, 1082, 1184, 2950
_BOOLS, _BYTEAS, _CHARS, _INT8S, _INT4S, _TEXTS, _DATES, _UUIDS = 1000, 1001, 1002, 1016, 1007, 1009, 1182, 2951
_TYPES: Final = (
    *(_INT8, _TIMESTAMPTZ, _BYTEA, _UUIDS, _INT4S, _TEXTS, _BYTEAS, _BYTEAS, _UUIDS, _UUIDS),
    *(_INT8S,) * 7,
    *(_DATES, _CHARS, _BOOLS),
)
"""The oids of daybook.append's parameters. Source: PostgreSQL, pg_type.dat."""
_APPEND: Final = f"SELECT daybook.append({', '.join(f'${number}' for number in range(1, len(_TYPES) + 1))})"


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
                Appender(connection, statement="").append(head.position, Batch(events, [], seal))
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
