"""The event store: decisions are made under the log's lock, on the log's head, and land in one commit."""

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import Any, Final
from uuid import UUID

import psycopg
from psycopg import Connection, Cursor
from psycopg.pq import TransactionStatus

from adapters.postgres.datastore import Watchdog, connect, cut, first_line
from adapters.postgres.packing import simple
from adapters.postgres.recorder import COLUMNS, Appender, head_from, raw_event
from domain.audit import Seal
from domain.errors import ConflictInStore, HeadMoved, OutcomeUnknown, Unavailable
from domain.events import RawEvent
from domain.ledger import Batch, Head
from domain.posting import Totals

_TOTALS: Final = """
SELECT account, number, debits, credits, pending_debits, pending_credits
FROM unnest(%s::uuid[]) AS wanted (id)
CROSS JOIN LATERAL (SELECT * FROM daybook.postings WHERE account = id ORDER BY number DESC LIMIT 1) AS last
"""

_HEAD: Final = """
last, (extract(epoch FROM recorded_at) * 1000000)::bigint, encode(hash, 'hex'),
(extract(epoch FROM now) * 1000000)::bigint, answered
"""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

_HASH_AT: Final = """
SELECT hash FROM (SELECT last, hash FROM daybook.seals WHERE first <= %s ORDER BY first DESC LIMIT 1) AS before
WHERE last = %s
"""


class PostgresEventStore:
    """`domain.ports.EventStore` on one connection, for one thread; it reconnects by itself."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._connection: Connection[Any] | None = None
        self._appender: Appender
        self._watchdog = Watchdog(time.monotonic)

    @contextmanager
    def writing(self, command_ids: Collection[UUID] = ()) -> Iterator["PostgresWriting"]:
        writing = self._begin(command_ids)
        try:
            with self._watchdog.guarding(writing.connection):
                yield writing
                writing.abandon()
        except psycopg.Error as error:
            self._drop()
            raise Unavailable(f"Postgres failed: {first_line(error)}") from error
        except BaseException:
            self._drop()
            raise

    def resolve(self, seal: Seal) -> bool:
        self._drop()
        with self.writing() as writing:
            row = writing.connection.execute(
                "SELECT hash FROM daybook.seals WHERE first = %s", (seal.first,)
            ).fetchone()
            return row is not None and row[0] == seal.hash

    def close(self) -> None:
        self._drop()
        self._watchdog.close()

    def _begin(self, command_ids: Collection[UUID]) -> "PostgresWriting":
        """A connection that sat idle may have died unnoticed: that costs one reconnect, not an answer."""
        if self._connection is not None:
            try:
                return self._begin_on(self._connection, command_ids)
            except psycopg.Error as error:
                worth_another = self._connection.broken and not self._watchdog.fired
                self._drop()
                if not worth_another:
                    raise Unavailable(f"Postgres failed: {first_line(error)}") from error
        self._connection = connect(self._dsn)
        try:
            self._settle(self._connection)
            return self._begin_on(self._connection, command_ids)
        except psycopg.Error as error:
            self._drop()
            raise Unavailable(f"Postgres failed: {first_line(error)}") from error

    def _settle(self, connection: Connection[Any]) -> None:
        """Plans are kept as long as a session: one made while the log was small would go on walking all of it."""
        with self._watchdog.guarding(connection):
            connection.execute("SET enable_seqscan = off")
        self._appender = Appender(connection)

    def _begin_on(self, connection: Connection[Any], command_ids: Collection[UUID]) -> "PostgresWriting":
        with self._watchdog.guarding(connection):
            return PostgresWriting(connection, self._appender, command_ids)

    def _drop(self) -> None:
        """Give the connection up without waiting for a server that may not answer."""
        if self._connection is not None:
            cut(self._connection)
            self._connection.close()
            self._connection = None


class PostgresWriting:
    """`domain.ports.Writing`: a db transaction that holds the log's lock."""

    head: Head
    answered: Mapping[UUID, RawEvent]

    def __init__(self, connection: Connection[Any], appender: Appender, command_ids: Collection[UUID]) -> None:
        self.connection = connection
        self._appender = appender
        self._cursor: Cursor[Any] = connection.cursor()
        ids = _array(command_ids)
        begun = simple(connection, f"BEGIN; SELECT {_HEAD} FROM daybook.begin_writing({ids})")
        *head, answered = (begun.get_value(0, column) for column in range(begun.nfields))
        self.head = head_from(
            [None if value is None else read(value) for read, value in zip(_READERS, head, strict=True)]
        )
        found = map(raw_event, self._cursor.execute(_answers(ids).encode())) if answered == b"t" else ()
        self.answered = {event.command_id or event.stream_id: event for event in found}

    def hash_at(self, position: int) -> bytes | None:
        row = self._cursor.execute(_HASH_AT, (position, position)).fetchone()
        return row[0] if row is not None else None

    def events_after(self, position: int) -> Iterator[RawEvent]:
        self._cursor.execute(f"SELECT {COLUMNS} FROM daybook.events WHERE position > %s ORDER BY position", (position,))
        return map(raw_event, self._cursor)

    def streams(self, stream_ids: Collection[UUID]) -> Mapping[UUID, Sequence[RawEvent]]:
        self._cursor.execute(
            f"SELECT {COLUMNS} FROM daybook.events WHERE stream = ANY(%s) ORDER BY stream, version", (list(stream_ids),)
        )
        events = map(raw_event, self._cursor)
        return {stream: list(of_stream) for stream, of_stream in groupby(events, lambda event: event.stream_id)}

    def totals(self, account_ids: Collection[UUID]) -> Mapping[UUID, Totals]:
        self._cursor.execute(_TOTALS, (list(account_ids),))
        return {account: Totals(*totals) for account, *totals in self._cursor}

    def append(self, batch: Batch) -> None:
        try:
            self._appender.append(self.head.position, batch)
        except psycopg.IntegrityError as error:
            raise ConflictInStore(first_line(error)) from error
        except psycopg.Error as error:
            if error.sqlstate == "DB001":
                raise HeadMoved(first_line(error)) from error
            if self.connection.broken or isinstance(error, psycopg.OperationalError):
                raise Unavailable(f"Postgres failed: {first_line(error)}") from error
            raise ConflictInStore(first_line(error)) from error
        try:
            done = simple(self.connection, "COMMIT").command_status
        except psycopg.Error as error:
            raise OutcomeUnknown(f"the reply to COMMIT was lost: {first_line(error)}") from error
        if done != b"COMMIT":
            raise ConflictInStore(f"COMMIT was answered with {done!r}")

    def abandon(self) -> None:
        """End the db transaction, if it is not committed, and with it the lock; a lost connection has ended it."""
        if self.connection.info.transaction_status in (TransactionStatus.INTRANS, TransactionStatus.INERROR):
            simple(self.connection, "ROLLBACK")  # psycopg's own would give up all prepared statements with it.


def _array(command_ids: Collection[UUID]) -> str:
    return "'{" + ",".join([command_id.hex for command_id in command_ids]) + "}'::uuid[]"


def _answers(ids: str) -> str:
    """What those commands left: on the streams they name, or marked with their id elsewhere."""
    return (
        f"SELECT {COLUMNS} FROM daybook.events WHERE stream = ANY({ids}) AND version = 1 AND command IS NULL"
        f" UNION ALL SELECT {COLUMNS} FROM daybook.events WHERE command = ANY({ids})"
    )


def _moment(micros: bytes) -> datetime:
    return _EPOCH + timedelta(microseconds=int(micros))


_READERS: Final[tuple[Callable[[bytes], Any], ...]] = (
    int,
    _moment,
    lambda hexed: bytes.fromhex(hexed.decode()),
    _moment,
)
"""Of what `_HEAD` gives, but for the last."""
