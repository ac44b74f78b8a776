"""Keeps the read models up with the log: a batch of events, their changes and the new tracking position in one commit.

A projection's tracking row is locked before the log is read, so two runners of one projection take turns and no event
is applied twice. A store that cannot be reached is waited for; an event that cannot be applied stops its projection,
loudly, and no other.
"""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, Protocol

import msgspec
import psycopg
from eventsourcing.persistence import Tracking
from eventsourcing.postgres import PostgresTrackingRecorder
from msgspec import Struct, structs
from psycopg import Connection, Cursor
from psycopg.rows import TupleRow, dict_row
from psycopg.sql import SQL, Identifier

from adapters.postgres.datastore import Datastore, Watchdog, connect, cut, first_line
from adapters.postgres.recorder import COLUMNS, raw_event
from domain.errors import Unavailable
from domain.events import RawEvent, recorded
from projections.catalogue import ALL
from projections.projection import ROWS, Projection, statements, tracked_as

READ_SCHEMA: Final = "daybook_read"
BATCH: Final = 2000
"""Events in one commit at most."""

PACE_S: Final = 0.01
"""Shortest time from one small batch to the next: under load a commit for every few events would cost a core."""
COALESCE_S: Final = 0.002
"""How long nudges are gathered after one has been passed on."""
POLL_S: Final = 1.0
"""How long a nudge may be missed before the log is looked at anyway."""
RETRY_S: Final = 10.0
"""How long a failed projection rests before it is tried again: what stopped it may have been mended in the database."""
BACKOFF_S: Final = (0.05, 2.0)
"""The first and the longest wait before an unreachable store is asked again."""
PATIENCE_S: Final = 10.0
"""How long one batch may take before its connection is cut, as when the server is frozen."""

_EVENTS: Final = f"SELECT {COLUMNS} FROM daybook.events WHERE position > %s ORDER BY position LIMIT %s"
_LOOK: Final = """
SELECT daybook.head(),
       coalesce((SELECT extract(epoch FROM clock_timestamp() - recorded_at)::float8 FROM daybook.events
                 WHERE position = %s), 0)
"""


class OnEvent(Protocol):
    """Takes one log line: a name and fields."""

    def __call__(self, event: str, /, **fields: Any) -> Any: ...


def silent(event: str, /, **fields: Any) -> None:
    """Logs nothing."""


class Status(Struct, frozen=True):
    """How a projection stands. `lag_s` is the age of the oldest event it has not applied, 0 without any.

    `error` is set while it is stopped; `failed_at` is the position it cannot get past, None when it is the store that
    cannot be reached. `head` and the lags are at most a second or two old.
    """

    name: str
    version: int
    running: bool
    position: int
    head: int
    lag_events: int
    lag_s: float
    error: str | None
    failed_at: int | None


class ProjectionFailed(Exception):
    """An event cannot be applied; every event before it has been."""

    def __init__(self, name: str, position: int, error: BaseException) -> None:
        super().__init__(f"{name} cannot apply the event at {position}: {type(error).__name__}: {first_line(error)}")
        self.name = name
        self.position = position


class OtherVersion(Exception):
    """The tables were built by another version of the projection and have to be built anew."""


class TrackingRecorder(PostgresTrackingRecorder):
    """The library's tracking upon the read models' own table, within our db transactions."""

    def __init__(self, dsn: str, schema: str = READ_SCHEMA) -> None:
        datastore = Datastore(dsn)
        datastore.schema = schema
        super().__init__(datastore, tracking_table_name="tracking")
        self._table = Identifier(schema, self.tracking_table_name)

    def create_table(self) -> None:
        """The table comes from the migrations."""

    def lock(self, cursor: Cursor[TupleRow], projection: Projection) -> int:
        """The position reached; nobody else goes on from there until this db transaction ends."""
        name = tracked_as(projection)
        query = SQL("SELECT notification_id FROM {} WHERE application_name = %s FOR UPDATE").format(self._table)
        row = cursor.execute(query, (name,), prepare=True).fetchone()
        return row[0] if row is not None else self._begin(cursor, projection, name)

    def _begin(self, cursor: Cursor[TupleRow], projection: Projection, name: str) -> int:
        others = SQL("SELECT application_name FROM {} WHERE starts_with(application_name, %s)").format(self._table)
        for (other,) in cursor.execute(others, (f"{projection.NAME}.v",)).fetchall():
            if other != name:
                raise OtherVersion(f"the tables are those of {other}, this Daybook makes {name}")
        # A row that somebody else adds just now is waited for, and is locked all the same.
        begin = SQL(
            "INSERT INTO {} AS t VALUES (%s, 0) ON CONFLICT (application_name)"
            " DO UPDATE SET notification_id = t.notification_id RETURNING notification_id"
        ).format(self._table)
        row = cursor.execute(begin, (name,)).fetchone()
        assert row is not None
        return int(row[0])

    def advance(self, cursor: Cursor[TupleRow], projection: Projection, position: int) -> None:
        """Set the position reached, by the library's own statement."""
        with cursor.connection.cursor(row_factory=dict_row) as library_cursor:
            self._insert_tracking(library_cursor, Tracking(tracked_as(projection), position))


class Applier:
    """Applies the log to one projection's read models, over one connection, for one thread.

    `position` is the one reached, as far as it is known.
    """

    def __init__(
        self, dsn: str, projection: Projection, *, schema: str = READ_SCHEMA, on_event: OnEvent = silent
    ) -> None:
        self.projection = projection
        self.position = 0
        self._dsn = dsn
        self._schema = schema
        self._on_event = on_event
        self._sql = {name: statements(projection.NAME)[name].encode() for name in projection.CHANGES}
        self._tracking = TrackingRecorder(dsn, schema)
        self._connection: Connection[TupleRow] | None = None
        self._watchdog = Watchdog(time.monotonic)

    def apply(self) -> int:
        """Apply the next events, at most `BATCH`; returns how many there were.

        Raises:
            ProjectionFailed: One of them cannot be applied.
            Unavailable, psycopg.OperationalError: The store cannot be reached.
        """
        try:
            return self._apply(BATCH)
        except Exception as error:
            if out_of_reach(error):
                raise
            # One by one, so that all before the event at fault are applied and its position is known.
            name = self.projection.NAME
            self._on_event("projection.batch_failed", projection=name, after=self.position, error=first_line(error))
            return self._apply_singly()

    def look(self) -> tuple[int, float]:
        """The log's head, and the age in seconds of the first event that is not applied, 0 without any."""
        with self._session() as connection:
            row = connection.execute(_LOOK, (self.position + 1,), prepare=True).fetchone()
            assert row is not None
            return row[0], max(0.0, row[1])

    def drop(self) -> None:
        """Give the connection up without waiting for a server that may not answer."""
        if self._connection is not None:
            cut(self._connection)
            self._connection.close()
            self._connection = None

    def close(self) -> None:
        self.drop()
        self._watchdog.close()

    def _apply_singly(self) -> int:
        for count in range(BATCH):
            try:
                if self._apply(1) == 0:
                    return count
            except Exception as error:
                if out_of_reach(error):
                    raise
                raise ProjectionFailed(self.projection.NAME, self.position + 1, error) from error
        return BATCH

    def _apply(self, limit: int) -> int:
        with self._session() as connection, connection.transaction(), connection.cursor() as cursor:
            self.position = self._tracking.lock(cursor, self.projection)
            events = cursor.execute(_EVENTS, (self.position, limit), prepare=True, binary=True).fetchall()
            if not events:
                return 0
            for name, rows in self._rows(map(raw_event, events)).items():
                if rows:
                    cursor.execute(self._sql[name], {ROWS: msgspec.json.encode(rows).decode()}, prepare=True)
            self._tracking.advance(cursor, self.projection, events[-1][0])
        self.position = events[-1][0]
        return len(events)

    def _rows(self, events: Iterator[RawEvent]) -> dict[str, list[dict[str, Any]]]:
        rows: dict[str, list[dict[str, Any]]] = {name: [] for name in self.projection.CHANGES}
        project = self.projection.project
        for event in events:
            for change in project(recorded(event)):
                rows[change.name].append(change.row)
        return rows

    @contextmanager
    def _session(self) -> Iterator[Connection[TupleRow]]:
        """Our connection, made if need be; waiting on it is bounded, also when the server is frozen."""
        if self._connection is not None:
            with self._watchdog.guarding(self._connection, PATIENCE_S):
                yield self._connection
            return
        connection = self._connection = connect(self._dsn)
        with self._watchdog.guarding(connection, PATIENCE_S):
            # A crash of Postgres may forget the last commits, changes and tracking together; they are then made again.
            connection.execute("SET synchronous_commit = off")
            connection.execute(SQL("SET search_path = {}").format(Identifier(self._schema)))
            yield connection


def out_of_reach(error: BaseException) -> bool:
    """Whether it is the store that failed, and not the event."""
    return isinstance(error, Unavailable | psycopg.OperationalError | psycopg.InterfaceError)


class Runner:
    """Follows the log for one projection, in the thread that calls `run`.

    Args:
        on_event: Takes log lines; `projection.failed` is the one to wake somebody for.
    """

    def __init__(
        self, dsn: str, projection: Projection, *, schema: str = READ_SCHEMA, on_event: OnEvent = silent
    ) -> None:
        self.nudge = threading.Event()
        """To be set by whoever hears that the log has grown, and after `stop`."""
        self._applier = Applier(dsn, projection, schema=schema, on_event=on_event)
        self._on_event = on_event
        self._looked_at = 0.0
        self._backoff = BACKOFF_S[0]
        self._status = Status(projection.NAME, projection.VERSION, False, 0, 0, 0, 0.0, None, None)

    def status(self) -> Status:
        """How it stands, without asking the store."""
        return self._status

    def run(self, stop: threading.Event) -> None:
        """Follow the log until `stop` is set."""
        self._know(running=True)
        try:
            while not stop.is_set():
                try:
                    self._follow(stop)
                except Exception as error:
                    self._applier.drop()
                    if out_of_reach(error):
                        self._know(error=self._told("projection.store_unreachable", error), failed_at=None)
                        stop.wait(self._backoff)
                        self._backoff = min(2 * self._backoff, BACKOFF_S[1])
                    else:
                        failed_at = error.position if isinstance(error, ProjectionFailed) else None
                        self._know(
                            error=self._told("projection.failed", error, position=failed_at), failed_at=failed_at
                        )
                        self._rest(stop)
        finally:
            self._applier.close()
            self._know(running=False)

    def _follow(self, stop: threading.Event) -> None:
        """Apply what there is, and wait for more."""
        while not stop.is_set():
            began = time.monotonic()
            self.nudge.clear()  # Before the log is read: who is nudged while it is read reads it again.
            count = self._applier.apply()
            self._applied()
            if count < BATCH:
                stop.wait(max(0.0, began + PACE_S - time.monotonic()))
                self.nudge.wait(POLL_S)

    def _applied(self) -> None:
        if self._status.error is not None:
            self._on_event("projection.recovered", projection=self._status.name, position=self._applier.position)
        self._know(error=None, failed_at=None)
        self._backoff = BACKOFF_S[0]
        if time.monotonic() - self._looked_at >= POLL_S:
            self._look()

    def _rest(self, stop: threading.Event) -> None:
        """Leave a failed projection alone for a while, keeping an eye on how far it falls behind."""
        until = time.monotonic() + RETRY_S
        while time.monotonic() < until and not stop.wait(POLL_S):
            try:
                self._look()
            except Exception:  # Whatever it is, the next try will meet it and say so.
                self._applier.drop()

    def _look(self) -> None:
        head, lag_s = self._applier.look()
        self._looked_at = time.monotonic()
        self._know(head=head, lag_s=lag_s)

    def _told(self, event: str, error: Exception, **fields: Any) -> str:
        """The error as text, logged unless the last thing that was logged said the same."""
        text = first_line(error)
        if text != self._status.error:
            self._on_event(event, projection=self._status.name, error=text, **fields)
        return text

    def _know(self, **known: Any) -> None:
        then = structs.replace(self._status, position=self._applier.position, **known)
        head = max(then.head, then.position)
        lag_s = then.lag_s if head > then.position else 0.0
        self._status = structs.replace(then, head=head, lag_events=head - then.position, lag_s=lag_s)


class Bell:
    """Listens for commits to the log and nudges the runners; deaf, it costs them `POLL_S` and nothing else."""

    def __init__(self, dsn: str, nudges: Sequence[threading.Event], *, on_event: OnEvent = silent) -> None:
        self._dsn = dsn
        self._nudges = nudges
        self._on_event = on_event
        self._connection: Connection[TupleRow] | None = None

    def run(self, stop: threading.Event) -> None:
        """Listen until `stop` is set; `hush` ends the waiting at once."""
        backoff, told = BACKOFF_S[0], ""
        while not stop.is_set():
            try:
                self._connection = connect(self._dsn)
                with self._connection as connection:
                    connection.execute("LISTEN daybook_log")
                    backoff, told = BACKOFF_S[0], ""
                    self._ring()  # For what was committed while nobody listened.
                    while not stop.is_set():
                        for _ in connection.notifies(timeout=POLL_S, stop_after=1):
                            self._ring()
                        stop.wait(COALESCE_S)
            except (Unavailable, psycopg.Error) as error:
                if not stop.is_set() and first_line(error) != told:
                    told = first_line(error)
                    self._on_event("projections.not_listening", error=told)
                stop.wait(backoff)
                backoff = min(2 * backoff, BACKOFF_S[1])

    def hush(self) -> None:
        """End the waiting, from another thread, once `stop` is set."""
        if self._connection is not None:
            cut(self._connection)

    def _ring(self) -> None:
        for nudge in self._nudges:
            nudge.set()


class Projections:
    """All the projections, each followed in a thread of its own."""

    def __init__(
        self,
        dsn: str,
        *,
        projections: Sequence[Projection] = ALL,
        schema: str = READ_SCHEMA,
        on_event: OnEvent = silent,
    ) -> None:
        self._stop = threading.Event()
        self._runners = [Runner(dsn, projection, schema=schema, on_event=on_event) for projection in projections]
        self._bell = Bell(dsn, [runner.nudge for runner in self._runners], on_event=on_event)
        self._threads = [
            threading.Thread(target=runner.run, args=(self._stop,), name=f"projection-{projection.NAME}", daemon=True)
            for runner, projection in zip(self._runners, projections, strict=True)
        ]
        self._threads.append(threading.Thread(target=self._bell.run, args=(self._stop,), name="bell", daemon=True))

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Finish the batches under way and end; returns when all threads have."""
        self._stop.set()
        self._bell.hush()
        for runner in self._runners:
            runner.nudge.set()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join()

    def status(self) -> list[Status]:
        """How each stands, without asking the store."""
        return [runner.status() for runner in self._runners]


def catch_up(
    dsn: str,
    *,
    projections: Sequence[Projection] = ALL,
    schema: str = READ_SCHEMA,
    on_progress: Callable[[str, int, int], None] | None = None,
) -> None:
    """Bring the read models to the log's head, one after another.

    Args:
        on_progress: Called after each batch with a projection's name, its position and the log's head.

    Raises:
        ProjectionFailed: An event cannot be applied.
        Unavailable, psycopg.OperationalError: The store cannot be reached.
    """
    for projection in projections:
        applier = Applier(dsn, projection, schema=schema)
        try:
            head, _ = applier.look()
            while applier.apply():
                if on_progress is not None:
                    on_progress(projection.NAME, applier.position, max(head, applier.position))
        finally:
            applier.close()
