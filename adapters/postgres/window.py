"""The end of the log, read and understood once for several projections that follow it at about the same place."""

import threading
import time
from collections.abc import Collection
from typing import Any, Final

from psycopg import Cursor

from adapters.postgres.recorder import COLUMNS, raw_event
from domain.events import Recorded, recorded

KEPT: Final = 10_000
"""Events kept at most, some 2 KB each."""
AHEAD: Final = 6_000
"""How far one may be ahead of another that follows: what it has read is to be there still for that one."""
PATIENCE_S: Final = 0.2
"""How long one waits for another at most; then it reads for itself."""

_EVENTS: Final = f"SELECT {COLUMNS} FROM daybook.events WHERE position > %s ORDER BY position LIMIT %s"


class Window:
    """The events that were read last. For several threads, each with a connection of its own.

    They are kept for one run of one server only: after a failover, positions near the end may bear other events.
    """

    def __init__(self) -> None:
        self._reading = threading.Lock()
        self._server: object = None
        self._events: list[Recorded] = []
        self._places: dict[object, int] = {}
        self._moved = threading.Condition()

    def read(
        self, cursor: Cursor[Any], after: int, limit: int, *, server: object, without: Collection[int] = ()
    ) -> tuple[int, int, list[Recorded]]:
        """The next events: how many there are, the last one's position, and what they say.

        Args:
            server: What the run of the server that the cursor speaks to is known by.
            without: Positions to leave out, which need not be understood.

        Raises:
            EventTooNew, EventMalformed: One of them cannot be understood; none is kept.
        """
        if without or not self._reading.acquire(timeout=PATIENCE_S):
            return read(cursor, after, limit, without)
        try:
            known = self._known(after, limit) if server == self._server else []
            if len(known) == limit:
                return limit, known[-1].position, known
            count, last, events = read(cursor, after + len(known), limit - len(known), ())
            self._server = server
            self._keep(after + len(known), events)
            return len(known) + count, last, known + events
        finally:
            self._reading.release()

    def pace(self, reader: object, position: int) -> None:
        """Tell how far it has come, and wait a moment for those who are about to lose sight of it.

        Who does not move meanwhile is not waited for again until it does.
        """
        with self._moved:
            self._places[reader] = position
            self._moved.notify_all()
            until = time.monotonic() + PATIENCE_S
            while behind := [one for one, place in self._places.items() if AHEAD < position - place <= KEPT]:
                if not self._moved.wait(until - time.monotonic()) and time.monotonic() >= until:
                    for one in behind:
                        self._places.pop(one, None)  # Others may have given up on it too.

    def leave(self, reader: object) -> None:
        """It goes no further for now."""
        with self._moved:
            self._places.pop(reader, None)
            self._moved.notify_all()

    def _known(self, after: int, limit: int) -> list[Recorded]:
        if not self._events:
            return []
        start = after + 1 - self._events[0].position
        return self._events[start : start + limit] if start >= 0 else []

    def _keep(self, after: int, events: list[Recorded]) -> None:
        """Positions have no holes, or the log is broken; then nothing is kept."""
        if not events:
            return
        if not self._events or self._events[-1].position != after:
            self._events = []
        self._events += events
        del self._events[:-KEPT]
        if self._events[-1].position - self._events[0].position != len(self._events) - 1:
            self._events = []


def read(cursor: Cursor[Any], after: int, limit: int, without: Collection[int]) -> tuple[int, int, list[Recorded]]:
    """As `Window.read`, of a window that keeps nothing."""
    rows = cursor.execute(_EVENTS, (after, limit), prepare=True, binary=True).fetchall()
    events = [recorded(raw_event(row)) for row in rows if row[0] not in without]
    return len(rows), rows[-1][0] if rows else after, events
