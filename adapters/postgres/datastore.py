"""Connections to Postgres: the library's datastore, from a DSN, with every wait bounded."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import psycopg
from eventsourcing.postgres import PostgresDatastore
from psycopg import Connection
from psycopg.conninfo import conninfo_to_dict

from domain.errors import Unavailable

PATIENCE_S: Final = 6.0
"""How long one db transaction of the write path may take before its connection is cut; callers are answered by 10 s."""

SCHEMA: Final = "daybook"

# A commit that is answered is on disk, whatever the database or the role has as its default.
_SESSION: Final = """
SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off';
SET timezone = 'UTC';
SET default_transaction_isolation = 'read committed';
SET statement_timeout = '5s';
SET lock_timeout = '4s';
SET idle_in_transaction_session_timeout = '5s';
"""
_LONG_SESSION: Final = """
SET timezone = 'UTC';
SET default_transaction_isolation = 'read committed';
SET statement_timeout = 0;
SET lock_timeout = '60s';
SET idle_in_transaction_session_timeout = '60s';
"""
_TCP: Final = {
    "connect_timeout": 3,
    "keepalives": 1,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 5000,
}


def parameters(dsn: str) -> dict[str, Any]:
    """The DSN (URL or keywords) as connection parameters, with bounds on connecting and on a silent network."""
    return {**_TCP, "application_name": "daybook", **conninfo_to_dict(dsn)}


def connect(dsn: str, *, long: bool = False) -> Connection[Any]:
    """One connection of its own, in autocommit; `long` for migrations, replay and other work without a caller waiting.

    Raises:
        Unavailable: Postgres cannot be reached.
    """
    try:
        connection: Connection[Any] = psycopg.connect(autocommit=True, **parameters(dsn))
        connection.execute(_LONG_SESSION if long else _SESSION)
    except psycopg.Error as error:
        raise Unavailable(f"cannot connect to Postgres: {first_line(error)}") from error
    return connection


class Datastore(PostgresDatastore):
    """The library's datastore with all of a DSN's parameters, in schema `daybook`, every statement bounded in time."""

    def __init__(self, dsn: str, *, pool_size: int = 1, max_overflow: int = 4) -> None:
        wanted = parameters(dsn)
        super().__init__(
            dbname=wanted.pop("dbname", ""),
            host=wanted.pop("host", ""),
            port=wanted.pop("port", ""),
            user=wanted.pop("user", ""),
            password=wanted.pop("password", ""),
            connect_timeout=5.0,
            pool_size=pool_size,
            max_overflow=max_overflow,
            pre_ping=True,
            schema=SCHEMA,
        )
        assert isinstance(self.pool.kwargs, dict)
        given = {name: value for name, value in self.pool.kwargs.items() if value != ""}
        self.pool.kwargs = {**given, **wanted}

    def after_connect_func(self) -> Callable[[Connection[Any]], None]:
        def after_connect(connection: Connection[Any]) -> None:
            connection.autocommit = True
            connection.execute(_SESSION)

        return after_connect


def first_line(error: BaseException) -> str:
    """What an error says, short enough for a log line."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


class Watchdog:
    """Cuts a connection whose server has stopped answering, which no timeout of the server's own can do.

    One thread for many uses; `guarding` costs no system call.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._guarded: tuple[float, Connection[Any]] | None = None
        self._changing = threading.Lock()
        self.fired = False
        """Whether the last guarded connection was cut."""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)
        self._thread.start()

    @contextmanager
    def guarding(self, connection: Connection[Any], seconds: float = PATIENCE_S) -> Iterator[None]:
        """Within this, waiting on `connection` fails with psycopg.OperationalError after `seconds`."""
        self.fired = False
        self._guarded = (self._clock() + seconds, connection)
        try:
            yield
        finally:
            with self._changing:  # Not while it is being cut: the next use of the connection is not to suffer for this.
                self._guarded = None

    def close(self) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(0.25):
            with self._changing:
                guarded = self._guarded
                if guarded is not None and guarded[0] < self._clock():
                    self._guarded = None
                    self.fired = True
                    cut(guarded[1])


def cut(connection: Connection[Any]) -> None:
    """End a connection under whoever waits on it."""
    try:
        with socket.socket(fileno=socket.dup(connection.fileno())) as end:
            end.shutdown(socket.SHUT_RDWR)
    except (OSError, psycopg.Error):
        return  # It is gone already, which is what was wanted.
