"""The server process as others can see it: `postmaster.pid`, the process table, and its socket."""

import os
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import psutil

# What this process has started, by pid: a dead child must be waited for, or it stays in the process table as if alive.
_children: set[int] = set()


def adopt_child(child: subprocess.Popen[bytes]) -> None:
    """Remember a server that this process started, so that `is_alive` can tell when it has died.

    It is waited for by its pid from here on: others may keep it longer than we live, and `Popen` warns of that.
    """
    _children.add(child.pid)
    child.returncode = 0


def is_alive(pid: int) -> bool:
    if pid in _children and _has_ended(pid):
        _children.discard(pid)
        return False
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _has_ended(child: int) -> bool:
    try:
        return os.waitpid(child, os.WNOHANG)[0] == child
    except ChildProcessError:  # We are a fork of the process that started it.
        return False


def find_postmaster(data: Path) -> int | None:
    """The pid of the server that runs on `data`, or None; also when a pid file is left that names no such server."""
    try:
        pid = int((data / "postmaster.pid").read_text().splitlines()[0])
    except (FileNotFoundError, IndexError, ValueError):
        return None
    return pid if is_alive(pid) and _serves(pid, data) else None


def stop_postmaster(pid: int, how: signal.Signals, patience_s: float) -> bool:
    """Ask a server to stop; whether it has within `patience_s`."""
    with suppress(ProcessLookupError):
        os.kill(pid, how)
    deadline = time.monotonic() + patience_s
    while is_alive(pid):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def remove_stale_files(data: Path, sockets: Path) -> None:
    """Remove what a killed server left: its pid, a stranger's by now or a zombie's, would bar the way for ever.

    It stays safe: Postgres finds survivors of the old server by their shared memory as well, and refuses to start.
    """
    for lock in (data / "postmaster.pid", *sockets.glob(".s.PGSQL.*.lock")):
        if lock.exists() and find_postmaster(data) is None:
            lock.unlink(missing_ok=True)


def _serves(pid: int, data: Path) -> bool:
    """Whether the process is a Postgres on `data`, by its command line, or its working folder where we may see that."""
    try:
        process = psutil.Process(pid)
        if not process.name().startswith("postgres"):
            return False
        return str(data) in process.cmdline() or os.path.samefile(process.cwd(), data)
    except (psutil.NoSuchProcess, psutil.AccessDenied, FileNotFoundError):
        return False
