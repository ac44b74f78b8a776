"""The processes a run starts, and what they cost: processor time from the system, bytes from Postgres."""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, TypeVar

import httpx2
import msgspec
import psutil
import psycopg
from msgspec import Struct
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from benchmarks.figures import Cost

TOP: Final = Path(__file__).parents[1]
# Daybook's read models are in the schemas daybook_read and, while they are built, daybook_build_*.
_SIZES: Final = r"""
SELECT coalesce(sum(size) FILTER (WHERE nspname NOT LIKE 'daybook\_%'), 0)::bigint,
    coalesce(sum(size) FILTER (WHERE nspname LIKE 'daybook\_%'), 0)::bigint
FROM pg_namespace AS n
CROSS JOIN LATERAL (
    SELECT pg_total_relation_size(oid) AS size FROM pg_class WHERE relnamespace = n.oid AND relkind = 'r'
) AS t
WHERE nspname NOT LIKE 'pg\_%' AND nspname <> 'information_schema'
"""

T = TypeVar("T")


class Failed(Exception):
    """A process that was to measure ended otherwise; the text is the last it said."""


class Server(Struct, frozen=True):
    """A running Daybook: its port on 127.0.0.1, its process, and how many seconds passed until it was ready."""

    port: int
    pid: int
    ready_s: float

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


class Simulator(Struct, frozen=True):
    """Running rails: where their HTTP is, the port for cards being the next, and their process."""

    url: str
    pid: int


class Meter(Struct, frozen=True):
    """What it costs: Postgres's processes, the server's and the rails', and what a database holds on disk."""

    dsn: str
    postgres_pid: Callable[[], int]
    server_pid: int | None = None
    rail_pid: int | None = None

    def read(self) -> Cost:
        log_bytes, read_bytes = sizes(self.dsn)
        server_s = cpu_s(self.server_pid) if self.server_pid is not None else 0.0
        rail_s = cpu_s(self.rail_pid) if self.rail_pid is not None else None
        return Cost(server_s, cpu_s(self.postgres_pid()), log_bytes, read_bytes, rail_s)


def sizes(dsn: str) -> tuple[int, int]:
    """Bytes on disk of all tables with their indexes: those that are no read models, and those that are."""
    with psycopg.connect(dsn) as connection:
        row = connection.execute(_SIZES.encode()).fetchone()
        assert row is not None
        return row[0], row[1]


def cpu_s(pid: int) -> float:
    """Processor time of a process and of those it started, those that have ended among them."""
    total = 0.0
    whole = psutil.Process(pid)
    for process in (whole, *whole.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):
            total += sum(process.cpu_times()[:4])
    return total


def rss_bytes(pid: int) -> int:
    """Memory that a process and those it started have in use."""
    total = 0
    whole = psutil.Process(pid)
    for process in (whole, *whole.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):
            total += process.memory_info().rss
    return total


def command(name: str, dsn: str, *arguments: str) -> None:
    """Run one of Daybook's commands upon a database.

    Raises:
        Failed: It did not end well.
    """
    done = subprocess.run([_daybook(), name, *arguments], env=_given(dsn), capture_output=True, text=True)
    if done.returncode != 0:
        raise Failed(f"daybook {name}: {_last_line(done.stderr) or _last_line(done.stdout)}")


def _daybook() -> str:
    return shutil.which("daybook", path=str(Path(sys.executable).parent)) or "daybook"


def _given(dsn: str) -> dict[str, str]:
    return {**os.environ, "DATABASE_URL": dsn}


def _last_line(text: str) -> str:
    return text.strip().rpartition("\n")[2]


def call(module: str, job: Struct, answer: type[T], *, seconds: float) -> T:
    """Run a module of this folder in a process of its own, with the job on stdin; what it answers.

    Args:
        seconds: How long it means to take; it gets a minute more, then ten times as much.

    Raises:
        Failed: It did not end well.
    """
    try:
        done = subprocess.run(
            [sys.executable, "-m", f"benchmarks.{module}"],
            input=msgspec.json.encode(job),
            capture_output=True,
            cwd=TOP,
            timeout=60 + 10 * seconds,
        )
    except subprocess.TimeoutExpired as error:
        raise Failed(f"no end after {error.timeout:.0f} s") from error
    if done.returncode != 0:
        raise Failed(_last_line(done.stderr.decode(errors="replace")) or f"exit {done.returncode}")
    return msgspec.json.decode(done.stdout, type=answer)


@contextmanager
def database(admin: str, owner: str, name: str) -> Iterator[str]:
    """A database for the length of the run."""
    user = conninfo_to_dict(owner)["user"]
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE {name} OWNER "{user}"'.encode())
        try:
            yield make_conninfo(owner, dbname=name)
        finally:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


@contextmanager
def served(dsn: str, *arguments: str) -> Iterator[Server]:
    """A server of its own, as a user would start it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    began = time.perf_counter()
    process = subprocess.Popen(
        [_daybook(), "serve", "--port", str(port), *arguments],
        env=_given(dsn),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,  # One log line a request; written, as in use, and not read.
    )
    try:
        url = f"http://127.0.0.1:{port}"
        until(lambda: _is_ready(f"{url}/readyz", process), every_s=0.02)
        yield Server(port, process.pid, time.perf_counter() - began)
    finally:
        process.terminate()
        try:
            process.wait(60)
        finally:
            process.kill()


@contextmanager
def simulated(books: Path) -> Iterator[Simulator]:
    """Rails that answer at once, with their books in that file."""
    port = _two_free_ports()
    process = subprocess.Popen(
        [_daybook(), "simulate", "--port-base", str(port), "--books", str(books)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        url = f"http://127.0.0.1:{port}"
        until(lambda: _is_ready(f"{url}/now", process), every_s=0.02)
        yield Simulator(url, process.pid)
    finally:
        process.terminate()
        try:
            process.wait(60)
        finally:
            process.kill()


def _two_free_ports() -> int:
    """The first of two in a row that nobody has, below those that are given out by themselves."""
    for port in range(20_000 + 2 * (os.getpid() % 5_000), 32_000, 2):
        with (
            suppress(OSError),
            socket.create_server(("127.0.0.1", port)),
            socket.create_server(("127.0.0.1", port + 1)),
        ):
            return port
    raise Failed("no two free ports in a row")


def _is_ready(url: str, process: "subprocess.Popen[Any]") -> bool:
    if process.poll() is not None:
        raise Failed("the process did not start")
    try:
        return httpx2.get(url, timeout=30).status_code == 200
    except httpx2.TransportError:
        return False


def until(condition: Callable[[], bool], *, seconds: float = 60, every_s: float = 0.05) -> None:
    """Wait until it is so.

    Raises:
        TimeoutError: It was not for that long.
    """
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError("waited in vain")
        time.sleep(every_s)
