"""Applies the log to a projection's tables: a batch of events, their changes and the new position in one commit.

A projection's tracking row is locked before the log is read, so whoever works at one build takes turns and no event is
applied twice; under that lock the build is looked up, so nobody writes to tables that other code has made. An event
that cannot be applied parks the build: where and why is kept in the database, for every process to see.
"""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, Protocol

import psycopg
from eventsourcing.persistence import Tracking
from eventsourcing.postgres import PostgresTrackingRecorder
from msgspec import Struct
from psycopg import Connection, Cursor
from psycopg.rows import TupleRow, dict_row
from psycopg.sql import SQL, Identifier

from adapters.postgres.builds import READ_SCHEMA, Build
from adapters.postgres.changing import Changes
from adapters.postgres.datastore import Datastore, Watchdog, connect, cut, first_line
from adapters.postgres.window import Window, read
from domain.errors import Unavailable
from projections.projection import Projection, digest, tracked_as

BATCH: Final = 2000
"""Events in one commit at most."""
PATIENCE_S: Final = 10.0
"""How long one batch may take before its connection is cut, as when the server is frozen."""
LONG_PATIENCE_S: Final = 120.0
"""The same where nobody waits for the read models but who has asked for just that."""
LEASE_S: Final = 10
"""A leader that is not heard of for so long, as when its process is frozen, loses its session and so the lead."""

_BUILD: Final = """
SELECT version, digest, parked_position,
       ARRAY(SELECT position FROM daybook.skips
             WHERE projection = b.name AND digest = b.digest AND position > %(after)s)
FROM daybook_read.builds AS b
WHERE name = %(name)s AND CASE WHEN %(id)s::bigint IS NULL THEN live ELSE id = %(id)s AND NOT live END
"""
_PARK: Final = """
UPDATE daybook_read.builds SET
    parked_at = CASE WHEN parked_position = %(position)s THEN parked_at ELSE clock_timestamp() END,
    parked_position = %(position)s, parked_error = %(error)s
WHERE name = %(name)s AND digest = %(digest)s AND CASE WHEN %(id)s::bigint IS NULL THEN live ELSE id = %(id)s END
"""
_UNPARK: Final = """
UPDATE daybook_read.builds SET parked_at = NULL, parked_position = NULL, parked_error = NULL
WHERE name = %(name)s AND CASE WHEN %(id)s::bigint IS NULL THEN live ELSE id = %(id)s END
"""
_LOOK: Final = SQL("""
SELECT reached, daybook.head(), coalesce(
           (SELECT extract(epoch FROM clock_timestamp() - recorded_at)::float8 FROM daybook.events
            WHERE position = reached + 1), 0),
       parked_position, parked_error
FROM (SELECT coalesce(
          (SELECT notification_id FROM {} WHERE application_name = %(tracked_as)s), 0) AS reached) AS tracked
LEFT JOIN daybook_read.builds ON name = %(name)s AND digest = %(digest)s AND parked_position IS NOT NULL
ORDER BY live LIMIT 1
""")

_TIME_IS_OVER: Final = psycopg.errors.IdleInTransactionSessionTimeout | psycopg.errors.TransactionTimeout
"""Internal errors to psycopg, though they end a session that was too slow."""


class OnEvent(Protocol):
    """Takes one log line: a name and fields."""

    def __call__(self, event: str, /, **fields: Any) -> Any: ...


def silent(event: str, /, **fields: Any) -> None:
    """Logs nothing."""


class ProjectionFailed(Exception):
    """An event cannot be applied; every event before it has been."""

    def __init__(self, name: str, position: int, error: BaseException) -> None:
        super().__init__(f"{name} cannot apply the event at {position}: {type(error).__name__}: {first_line(error)}")
        self.name = name
        self.position = position


class Superseded(Exception):
    """The tables to work at are not those that this code makes. `version` is theirs, None when there are none."""

    def __init__(self, name: str, version: int | None) -> None:
        found = f"are made by other code, of version {version}" if version is not None else "are gone"
        super().__init__(f"the tables of {name} {found}")
        self.version = version


class Standing(Struct, frozen=True):
    """How a build stands, for all to see. `lag_s` is the age of the first event not applied, 0 without any."""

    position: int
    head: int
    lag_s: float
    parked_position: int | None
    parked_error: str | None


class TrackingRecorder(PostgresTrackingRecorder):
    """The library's tracking upon the read models' own table, within our db transactions."""

    def __init__(self, dsn: str, schema: str = READ_SCHEMA) -> None:
        datastore = Datastore(dsn)
        datastore.schema = schema
        super().__init__(datastore, tracking_table_name="tracking")
        self._table = Identifier(schema, self.tracking_table_name)

    def create_table(self) -> None:
        """The table comes from the migrations."""

    def lock(self, cursor: Cursor[TupleRow], name: str) -> int | None:
        """The position reached, if any; nobody else goes on from there until this db transaction ends."""
        query = SQL("SELECT notification_id FROM {} WHERE application_name = %s FOR UPDATE").format(self._table)
        row = cursor.execute(query, (name,), prepare=True).fetchone()
        return row[0] if row is not None else None

    def begin(self, cursor: Cursor[TupleRow], name: str) -> int:
        """Begin at 0, locked. A row that somebody else adds just now is waited for, and is locked all the same."""
        begin = SQL(
            "INSERT INTO {} AS t VALUES (%s, 0) ON CONFLICT (application_name)"
            " DO UPDATE SET notification_id = t.notification_id RETURNING notification_id"
        ).format(self._table)
        row = cursor.execute(begin, (name,)).fetchone()
        assert row is not None
        return int(row[0])

    def advance(self, cursor: Cursor[TupleRow], name: str, position: int) -> None:
        """Set the position reached, by the library's own statement."""
        with cursor.connection.cursor(row_factory=dict_row) as library_cursor:
            self._insert_tracking(library_cursor, Tracking(name, position))


class Applier:
    """Applies the log to one build of a projection, over one connection, for one thread.

    Args:
        build: The build to work at; without, the live one, or tables that the caller has made in another `schema`,
            with a tracking table beside them.
        window: Shared with others who apply the same events, so that they are read and understood once.
        patient: A batch may take as long as it takes on a busy machine, and is not cut up before that.

    `position` is the one reached, as far as it is known; `applied` counts the events applied here.
    """

    def __init__(
        self,
        dsn: str,
        projection: Projection,
        *,
        schema: str = READ_SCHEMA,
        build: Build | None = None,
        window: Window | None = None,
        patient: bool = False,
        on_event: OnEvent = silent,
    ) -> None:
        self.projection = projection
        self.position = 0
        self.applied = 0
        self._dsn = dsn
        self._schema = build.schema if build is not None else schema
        self._ours_alone = schema != READ_SCHEMA
        self._on_event = on_event
        self._patient = patient
        self._patience_s = LONG_PATIENCE_S if patient else PATIENCE_S
        self._at_once = BATCH
        self._changes = Changes(projection)
        self._window = window
        self._server: object = None
        self._tracking = TrackingRecorder(dsn, schema)
        self._look = _LOOK.format(Identifier(schema, "tracking"))
        self._which: Mapping[str, Any] = {
            "name": projection.NAME,
            "digest": digest(projection),
            "id": build.id if build is not None else None,
            "tracked_as": build.tracked_as if build is not None else tracked_as(projection),
        }
        self._connection: Connection[TupleRow] | None = None
        self._leading = False
        self._watchdog = Watchdog(time.monotonic)

    def lead(self) -> bool:
        """Whether this is the one of all processes with this code that is to work; for as long as we are connected."""
        with self._session() as connection:
            if not self._leading:
                key = f"daybook.projector.{self._which['name']}.{self._which['digest']}"
                row = connection.execute("SELECT pg_try_advisory_lock(hashtextextended(%s, 0))", (key,)).fetchone()
                assert row is not None
                self._leading = row[0]
                if self._leading:
                    connection.execute(f"SET idle_session_timeout = '{LEASE_S}s'".encode())
            return self._leading

    def apply(self) -> int:
        """Apply the next events, at most `BATCH`; returns how many there were.

        After the store has failed fewer go into one commit, then twice as many with each call: a batch that is too much
        for the time it has would be so for ever.

        Raises:
            ProjectionFailed: One of them cannot be applied. The build is parked there.
            Superseded: The build is no longer there, or the live one is not of this code.
            Unavailable, psycopg.OperationalError: The store cannot be reached.
        """
        try:
            return self._apply_in_parts()
        except Exception as error:
            if out_of_reach(error):
                self._at_once = max(1, self._at_once // 8)
                raise
            if isinstance(error, Superseded):
                raise
            # One by one, so that all before the event at fault are applied and its position is known.
            name = self.projection.NAME
            self._on_event("projection.batch_failed", projection=name, after=self.position, error=first_line(error))
            return self._apply_singly()

    def apply_within(self, connection: Connection[Any]) -> None:
        """Apply the next events in a db transaction of the caller's, which ends up with our search path."""
        with connection.cursor() as cursor:
            cursor.execute(SQL("SET LOCAL search_path = {}").format(Identifier(self._schema)))
            self._apply_on(cursor, BATCH, None)

    def look(self) -> Standing:
        """How the build stands, whoever works at it."""
        with self._session() as connection:
            row = connection.execute(self._look, self._which, prepare=True).fetchone()
            assert row is not None
            standing = Standing(row[0], row[1], max(0.0, row[2]), row[3], row[4])
            self.position = standing.position
            return standing

    def drop(self) -> None:
        """Give the connection up, and the lead with it, without waiting for a server that may not answer."""
        self._leading = False
        if self._window is not None:
            self._window.leave(self)
        if self._connection is not None:
            cut(self._connection)
            self._connection.close()
            self._connection = None

    def close(self) -> None:
        self.drop()
        self._watchdog.close()

    def _apply_in_parts(self) -> int:
        count = 0
        while count < BATCH:
            wanted = min(self._at_once, BATCH - count)
            applied = self._apply(wanted)
            count += applied
            if applied < wanted:
                break
        self._at_once = min(2 * self._at_once, BATCH)
        return count

    def _apply_singly(self) -> int:
        for count in range(BATCH):
            try:
                if self._apply(1) == 0:
                    return count
            except Exception as error:
                if out_of_reach(error) or isinstance(error, Superseded):
                    raise
                failed = ProjectionFailed(self.projection.NAME, self.position + 1, error)
                self._park(failed, error)
                raise failed from error
        return BATCH

    def _park(self, failed: ProjectionFailed, error: Exception) -> None:
        if not self._ours_alone:
            words = f"{type(error).__name__}: {first_line(error)}"
            with self._session() as connection:
                connection.execute(_PARK, {**self._which, "position": failed.position, "error": words})

    def _apply(self, limit: int) -> int:
        with self._session() as connection, connection.transaction(), connection.cursor() as cursor:
            count, position = self._apply_on(cursor, limit, self._window)
            if (self.applied + count).bit_length() > self.applied.bit_length():
                # Plans are kept as long as a session: one made while a table was small would go on walking all of it.
                cursor.execute("DISCARD PLANS")
        self.position = position
        self.applied += count
        if self._window is not None:
            self._window.pace(self, position)
        return count

    def _apply_on(self, cursor: Cursor[TupleRow], limit: int, window: Window | None) -> tuple[int, int]:
        """How many events were applied, and the position reached once that is committed."""
        name = self._which["tracked_as"]
        reached = self._tracking.lock(cursor, name)
        # Asked after the lock is had, in a statement of its own, so that what happened while it was waited for is seen.
        parked, skipped = (False, set[int]()) if self._ours_alone else self._stand(cursor, reached or 0)
        self.position = reached if reached is not None else self._tracking.begin(cursor, name)
        if window is None:
            count, last, events = read(cursor, self.position, limit, skipped)
        else:
            count, last, events = window.read(cursor, self.position, limit, server=self._server, without=skipped)
        if count == 0:
            return 0, self.position
        self._changes.apply(cursor, events)
        self._tracking.advance(cursor, name, last)
        if parked:
            cursor.execute(_UNPARK, self._which)
        return count, last

    def _stand(self, cursor: Cursor[TupleRow], reached: int) -> tuple[bool, set[int]]:
        """Whether the build is parked, and the events to leave out."""
        row = cursor.execute(_BUILD, {**self._which, "after": reached}, prepare=True).fetchone()
        if row is None or (row[0], row[1]) != (self.projection.VERSION, self._which["digest"]):
            raise Superseded(self.projection.NAME, row[0] if row is not None else None)
        return row[2] is not None, set(row[3])

    @contextmanager
    def _session(self) -> Iterator[Connection[TupleRow]]:
        """Our connection, made if need be; waiting on it is bounded, also when the server is frozen."""
        if self._connection is not None:
            with self._watchdog.guarding(self._connection, self._patience_s):
                yield self._connection
            return
        connection = self._connection = connect(self._dsn, long=self._patient)
        with self._watchdog.guarding(connection, self._patience_s):
            # A crash of Postgres may forget the last commits, changes and tracking together; they are then made again.
            connection.execute("SET synchronous_commit = off")
            # A host that is gone without a word is noticed by the server, whose session would keep the lead.
            connection.execute(
                "SET tcp_keepalives_idle = 5; SET tcp_keepalives_interval = 2; SET tcp_keepalives_count = 2"
            )
            connection.execute(SQL("SET search_path = {}").format(Identifier(self._schema)))
            self._server = connection.execute("SELECT pg_postmaster_start_time()").fetchone()
            yield connection


def out_of_reach(error: BaseException) -> bool:
    """Whether it is the store that failed, or our time there was over, and not the event."""
    return isinstance(error, Unavailable | psycopg.OperationalError | psycopg.InterfaceError | _TIME_IS_OVER)
