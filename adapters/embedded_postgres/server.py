"""Using the server: the first Daybook starts it, all share it, the last one stops it, and any of them revives it.

Each holds a share of `users.lock` for as long as it runs; whoever starts or stops the server holds `server.lock` alone.
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread

import platformdirs

from adapters.embedded_postgres.cluster import Cluster, OnEvent
from adapters.embedded_postgres.errors import EmbeddedPostgresError
from adapters.embedded_postgres.locks import FileLock, held
from adapters.embedded_postgres.postmaster import find_postmaster

WATCH_EVERY_S = 0.25
BACKOFF_S_MAX = 30.0


@dataclass(frozen=True)
class Server:
    """A running server: `dsn` is Daybook's own login, which is no superuser, into the database `daybook`."""

    dsn: str = field(repr=False)  # Both hold a password.
    superuser_dsn: str = field(repr=False)
    data: Path
    log: Path
    version: str

    @property
    def pid(self) -> int:
        """The postmaster's process id now; another one after a restart.

        Raises:
            EmbeddedPostgresError: It is down at this moment.
        """
        pid = find_postmaster(self.data)
        if pid is None:
            raise EmbeddedPostgresError(f"Postgres is down. Log: {self.log}")
        return pid


def default_home() -> Path:
    """Where Daybook keeps what must last: `DAYBOOK_HOME`, else the user's folder for application data."""
    return Path(os.environ.get("DAYBOOK_HOME") or platformdirs.user_data_dir("daybook"))


def _ignore(event: str, fields: dict[str, object]) -> None:
    pass


@contextmanager
def running(home: Path, *, on_event: OnEvent = _ignore) -> Iterator[Server]:
    """A server on the data in `home`, ready, restarted whenever it dies, and stopped on leaving if nobody else uses it.

    A Daybook that is killed leaves it running, and the next one adopts it. `on_event` gets a name and fields, from a
    thread too.

    Raises:
        EmbeddedPostgresError: It cannot be had.
    """
    home = home.expanduser().resolve()
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        (home / "users.lock").touch(mode=0o600)
    except OSError as error:
        raise EmbeddedPostgresError(
            f"{home} cannot be used ({error.strerror}); name another in DAYBOOK_HOME."
        ) from error
    owner = os.getpid()
    with FileLock(home / "users.lock") as users:
        with held(home / "server.lock"):
            users.share()
            cluster = Cluster(home, on_event)
        try:
            with held(home / "server.lock"):
                started = cluster.ensure_started(cancelled=Event())
            server = Server(cluster.dsn, cluster.superuser_dsn, cluster.data, cluster.log, started.version)
            ready = {"data": str(server.data), "log": str(server.log), "version": server.version}
            on_event("postgres.ready", {**ready, "adopted": started.adopted})
            with _watched(cluster, home / "server.lock"):
                yield server
        finally:
            if os.getpid() == owner:  # Not in a forked child that unwinds its copy of the parent's stack.
                with held(home / "server.lock"):
                    if users.try_hold():
                        cluster.stop()


@contextmanager
def _watched(cluster: Cluster, lock: Path) -> Iterator[None]:
    """Restart the server whenever it dies, from a thread, until the context is left."""
    leaving = Event()
    thread = Thread(target=_watch, args=(cluster, lock, leaving), name="postgres-watch", daemon=True)
    thread.start()
    try:
        yield
    finally:
        leaving.set()
        thread.join()


def _watch(cluster: Cluster, lock: Path, leaving: Event) -> None:
    backoff_s = WATCH_EVERY_S
    while not leaving.wait(backoff_s):
        if find_postmaster(cluster.data) is not None:
            backoff_s = WATCH_EVERY_S
            continue
        try:
            _restart(cluster, lock, leaving)
        except Exception as error:  # Whatever it was, it is reported and tried again: nobody else will.
            if leaving.is_set():
                return
            backoff_s = min(backoff_s * 2, BACKOFF_S_MAX)
            cluster.on_event("postgres.restart_failed", {"error": str(error), "next_try_s": backoff_s})


def _restart(cluster: Cluster, lock: Path, leaving: Event) -> None:
    """Start the server again, unless another Daybook is at it, or has done so already."""
    with FileLock(lock) as mine:
        if not mine.try_hold():
            return
        began = time.monotonic()
        started = cluster.ensure_started(cancelled=leaving)
    took_ms = round((time.monotonic() - began) * 1000)
    cluster.on_event("postgres.restarted", {"duration_ms": took_ms, "by_another": started.adopted})
