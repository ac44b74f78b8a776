"""Locks between processes. The kernel lets go of them when their process dies, however it dies."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

_open: set[int] = set()


def _close_in_child() -> None:
    """A forked child shares its parent's locks, and would keep them beyond the parent's death."""
    while _open:
        os.close(_open.pop())


os.register_at_fork(after_in_child=_close_in_child)


class FileLock:
    """A lock on a file, shared by many or held by one; let go of on leaving the context."""

    def __init__(self, path: Path) -> None:
        # Not inherited by what is executed, or Postgres would hold it for as long as it lives.
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        _open.add(self._fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._fd in _open:
            _open.remove(self._fd)
            os.close(self._fd)

    def share(self) -> None:
        """Wait until nobody holds it alone."""
        fcntl.flock(self._fd, fcntl.LOCK_SH)

    def hold(self) -> None:
        """Wait until nobody else has it."""
        fcntl.flock(self._fd, fcntl.LOCK_EX)

    def try_hold(self) -> bool:
        """Whether it is now held alone. A share that one had is lost either way."""
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Hold the lock on `path` alone, waiting for it as long as it takes."""
    with FileLock(path) as lock:
        lock.hold()
        yield
