"""One data folder and the server on it: made, started, awaited, stopped. The caller holds the lock for that."""

import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import BinaryIO
from urllib.parse import quote

import psycopg
from psycopg import sql
from psycopg.pq import PGconn, Ping

from adapters.embedded_postgres.binaries import find_binaries
from adapters.embedded_postgres.errors import EmbeddedPostgresError
from adapters.embedded_postgres.footing import Footing, find_footing
from adapters.embedded_postgres.postmaster import (
    adopt_child,
    find_postmaster,
    is_alive,
    remove_stale_files,
    stop_postmaster,
)

OnEvent = Callable[[str, dict[str, object]], None]

SUPERUSER = "postgres"
LOGIN = "daybook"
DATABASE = "daybook"
PORT = 5432  # Only part of the socket's name: the server listens on no network.

# Crash recovery takes as long as the log since the last checkpoint is; a live process is given this long.
READY_WITHIN_S = 600.0
# How long a start may fail because a killed server's children have not noticed yet.
LINGER_S = 10.0
# After a fast shutdown that does not end, an immediate one: safe, but the next start must recover.
FAST_SHUTDOWN_S = 120.0
REPORT_EVERY_S = 5.0
LOG_BYTES_MAX = 10_000_000

SETTINGS = {
    "listen_addresses": "",
    "port": str(PORT),
    "unix_socket_permissions": "0700",
    "cluster_name": "daybook",
    # Durability is what the rest is for: stated, lest a changed postgresql.conf take it away.
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_commit": "on",
    "max_connections": "300",
    "shared_buffers": "256MB",
    # Checkpoints far apart, since the first change to a page after each is written to the log in full. Not compressed:
    # pages full of UUIDs do not get smaller by it, and on a large store it took two thirds of all processor time.
    "checkpoint_timeout": "15min",
    "max_wal_size": "8GB",
    "wal_compression": "off",
    "random_page_cost": "1.1",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] %q%u@%d ",
}


@dataclass(frozen=True)
class Started:
    """A server that answers: whether it ran already, and the version it says it is."""

    adopted: bool
    version: str


class Cluster:
    """The server of one home, found or yet to be made.

    Raises:
        EmbeddedPostgresError: There are no binaries, or the data are of another major version than they.
    """

    def __init__(self, home: Path, on_event: OnEvent) -> None:
        self.footing = find_footing(home, find_binaries())
        _refuse_other_majors(self.footing)
        self.on_event = on_event
        self.superuser_password = self._secret("superuser.password")
        self.login_password = self._secret("login.password")

    @property
    def data(self) -> Path:
        return self.footing.data

    @property
    def log(self) -> Path:
        return self.footing.log

    @property
    def dsn(self) -> str:
        return self._dsn(LOGIN, self.login_password, DATABASE)

    @property
    def superuser_dsn(self) -> str:
        return self._dsn(SUPERUSER, self.superuser_password, DATABASE)

    def ensure_started(self, *, cancelled: Event) -> Started:
        """Find the server running, or start it, on data made now if need be; ready when this returns.

        Raises:
            EmbeddedPostgresError: It cannot be made or started, is not ready within ten minutes, or was cancelled.
        """
        self.footing.make_sockets()
        self._ensure_data()
        give_up_at = time.monotonic() + LINGER_S
        while True:
            running = find_postmaster(self.data)
            why = "Postgres does not start"
            if self._wait_until_ready(running, cancelled) if running else self._start(cancelled):
                try:
                    return Started(adopted=running is not None, version=self._ensure_login())
                except psycopg.OperationalError as error:  # Killed at this very moment, or not to be used at all.
                    why = f"Postgres runs, but its superuser cannot use it: {error}"
            if running is None and time.monotonic() > give_up_at:
                raise self._error(why)
            time.sleep(0.1)

    def stop(self) -> None:
        """Shut the server down and wait until it is gone; nothing happens when none runs."""
        pid = find_postmaster(self.data)
        if pid is None:
            return
        for how, patience_s in ((signal.SIGINT, FAST_SHUTDOWN_S), (signal.SIGQUIT, LINGER_S)):
            if stop_postmaster(pid, how, patience_s):
                self.footing.remove_sockets()
                self.on_event("postgres.stopped", {"pid": pid, "signal": how.name})
                return
        raise self._error(f"Postgres (pid {pid}) does not stop")

    def _dsn(self, user: str, password: str, database: str) -> str:
        return (
            f"postgresql://{user}:{password}@/{database}?host={quote(str(self.footing.sockets), safe='')}&port={PORT}"
        )

    def _secret(self, name: str) -> str:
        """A password of this installation, made when first asked for; written whole or not at all."""
        path = self.footing.place / name
        if not path.exists():
            partial = path.with_suffix(".partial")
            partial.unlink(missing_ok=True)
            with open(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(secrets.token_urlsafe(32))
                file.flush()
                os.fsync(file.fileno())
            self.footing.give(partial)
            partial.rename(path)
        return path.read_text()

    def _ensure_data(self) -> None:
        """Make the data folder beside its place and move it there when whole: a killed initdb leaves no half of it."""
        for partial in self.footing.place.glob("data.partial-*"):
            shutil.rmtree(partial, ignore_errors=True)  # A killed Daybook's initdb may be at it still; then next time.
        if self.data.exists():
            return
        self.on_event("postgres.initialising", {"data": str(self.data), "version": self.footing.binaries.version})
        partial = Path(tempfile.mkdtemp(prefix="data.partial-", dir=self.footing.place))
        self.footing.give(partial)
        self._initdb(partial)
        partial.rename(self.data)
        _sync_folder(self.footing.place)

    def _initdb(self, data: Path) -> None:
        locale = ["--locale=C", "--encoding=UTF8"]
        if (
            self.footing.binaries.major >= 17
        ):  # The same order and case rules on every machine, whatever it has installed.
            locale += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        password = self.footing.place / "superuser.password"
        command = self.footing.command(
            "initdb",
            *(f"--pgdata={data}", f"--username={SUPERUSER}", f"--pwfile={password}", "--auth=scram-sha-256"),
            *("--data-checksums", "--no-instructions", *locale),
        )
        with self._open_log() as log:
            made = subprocess.run(  # noqa: S603 - our binaries, our words.
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=_environment(), **self.footing.as_user
            )
        if made.returncode != 0:
            raise self._error("initdb failed")

    def _start(self, cancelled: Event) -> bool:
        """Start a server; whether it became ready. One that is given up waiting for is not left behind."""
        remove_stale_files(self.data, self.footing.sockets)
        pid = self._spawn()
        try:
            return self._wait_until_ready(pid, cancelled)
        except BaseException:
            stop_postmaster(pid, signal.SIGQUIT, LINGER_S)
            raise

    def _spawn(self) -> int:
        """In a session of its own, so that Ctrl-C in a terminal does not reach the server before those who use it."""
        settings = SETTINGS | {"unix_socket_directories": '"' + str(self.footing.sockets).replace('"', '""') + '"'}
        arguments = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        with self._open_log() as log:
            child = subprocess.Popen(  # noqa: S603 - our binaries, our words.
                self.footing.command("postgres", "-D", str(self.data), *arguments),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=_environment(),
                start_new_session=True,
                **self.footing.as_user,
            )
        adopt_child(child)
        return child.pid

    def _open_log(self) -> BinaryIO:
        if self.log.exists() and self.log.stat().st_size > LOG_BYTES_MAX:
            self.log.replace(self.log.with_suffix(".log.1"))
        return open(os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600), "wb")

    def _wait_until_ready(self, pid: int, cancelled: Event) -> bool:
        """True when the server answers, False when it died first."""
        began = reported = time.monotonic()
        target = f"{self._dsn(SUPERUSER, self.superuser_password, 'postgres')}&connect_timeout=2".encode()
        while PGconn.ping(target) != Ping.OK:
            now = time.monotonic()
            if not is_alive(pid):
                return False
            if cancelled.is_set() or now - began > READY_WITHIN_S:
                raise self._error(f"Postgres (pid {pid}) was not ready after {now - began:.0f} s")
            if now - reported > REPORT_EVERY_S:
                reported = now
                self.on_event("postgres.waiting", {"waited_s": round(now - began), "log": _tail(self.log, lines=1)})
            time.sleep(0.02)
        return True

    def _ensure_login(self) -> str:
        """Make Daybook's role, which is no superuser, and its database, unless they are there; the server's version."""
        with psycopg.connect(self._dsn(SUPERUSER, self.superuser_password, "postgres"), autocommit=True) as connection:
            _ensure_role(connection, self.login_password)
            _ensure_database(connection)
            return connection.info.parameter_status("server_version") or self.footing.binaries.version

    def _error(self, what: str) -> EmbeddedPostgresError:
        return EmbeddedPostgresError(f"{what}. Log: {self.log}, which ends:\n{_tail(self.log, lines=10)}")


def _ensure_role(connection: psycopg.Connection, password: str) -> None:
    # Hashed here, as psql's \password does: the server may write the statement into its log.
    hashed = connection.pgconn.encrypt_password(password.encode(), LOGIN.encode(), b"scram-sha-256").decode()
    exists = connection.execute("SELECT FROM pg_roles WHERE rolname = %s", [LOGIN]).rowcount == 1
    connection.execute(
        sql.SQL("{} ROLE {} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS PASSWORD {}").format(
            sql.SQL("ALTER" if exists else "CREATE"), sql.Identifier(LOGIN), sql.Literal(hashed)
        )
    )


def _ensure_database(connection: psycopg.Connection) -> None:
    if connection.execute("SELECT FROM pg_database WHERE datname = %s", [DATABASE]).rowcount == 0:
        statement = sql.SQL("CREATE DATABASE {} OWNER {}")
        connection.execute(statement.format(sql.Identifier(DATABASE), sql.Identifier(LOGIN)))


def _refuse_other_majors(footing: Footing) -> None:
    """A newer Postgres cannot read an older one's data, and an empty book beside them would look like their loss."""
    wanted = footing.binaries.major
    versions = {path.parent: path.read_text().strip() for path in footing.place.parent.glob("pg*/data/PG_VERSION")}
    if not versions or versions.get(footing.data) == str(wanted):
        return
    data, major = next(iter(versions.items()))
    raise EmbeddedPostgresError(
        f"{data} was made by PostgreSQL {major}, and the binaries in {footing.binaries.bin} are {wanted}: name the bin "
        f"folder of a PostgreSQL {major} in DAYBOOK_PG_BIN, use pg_upgrade, or choose another DAYBOOK_HOME."
    )


def _environment() -> dict[str, str]:
    """Ours, less what would tell Postgres other than we do: PGDATA, PGPORT, PGOPTIONS, languages."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "LC_"))}
    return kept | {"LC_ALL": "C"}


def _sync_folder(folder: Path) -> None:
    """Make a rename in `folder` last through a power cut."""
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _tail(log: Path, *, lines: int) -> str:
    if not log.exists():
        return ""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 8192))
        return "\n".join(file.read().decode(errors="replace").splitlines()[-lines:])
