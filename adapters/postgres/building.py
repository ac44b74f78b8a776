"""Builds a projection anew beside its live tables, and lets the new ones take their place once they have caught up.

Killed, it goes on where it was; commands, reads and the live tables' own projector go on meanwhile.
"""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from typing import Any, Final

from psycopg import Connection
from psycopg.errors import LockNotAvailable, OperationalError, QueryCanceled

from adapters.postgres import applying, builds
from adapters.postgres.applying import Applier, OnEvent, silent
from adapters.postgres.builds import Build
from adapters.postgres.datastore import connect
from adapters.postgres.window import Window
from projections.projection import Projection

PAUSE_S: Final = (0.1, 3.0)
"""The first and the longest wait for readers to end before the place is tried to be taken again."""
TELL_S: Final = 0.5
"""How often progress is told while indexes are made."""

OnProgress = Callable[[str, int, int], None]
"""Takes a projection's name, the position its build has reached and the log's head."""


class BuildUnderWay(Exception):
    """Another process builds that projection just now."""

    def __init__(self, name: str) -> None:
        super().__init__(f"{name} is being built by another process")


def build_beside(
    dsn: str,
    projection: Projection,
    *,
    stop: threading.Event,
    window: Window | None = None,
    patient: bool = False,
    on_event: OnEvent = silent,
    on_progress: OnProgress | None = None,
) -> bool:
    """Build by this code, go on with a build that was begun, and take the live one's place.

    Args:
        stop: Ends it after the batch under way; it can be gone on with.
        window: Shared with other builds that are made at the same time.
        patient: As an `Applier` is.

    Returns:
        Whether it is live now.

    Raises:
        BuildUnderWay: Another process is at it.
        ProjectionFailed: An event cannot be applied. The build is parked there; the live one goes on.
        psycopg.errors.DependentObjectsStillExist: Something that is not ours hangs on the old tables.
        Unavailable, psycopg.OperationalError: The store cannot be reached.
    """
    with connect(dsn, long=True) as connection, _alone(connection, projection.NAME):
        build = builds.begin(connection, projection)
        applier = Applier(dsn, projection, build=build, window=window, patient=patient, on_event=on_event)
        told = on_progress or _nobody
        try:
            on_event("projection.building", projection=build.name, build=build.id, position=applier.look().position)
            if _caught_up(applier, stop, told):
                _index(connection, applier, build, stop, told)
            pause = PAUSE_S[0]
            while _caught_up(applier, stop, told):
                if _take_place(connection, applier, build):
                    on_event("projection.switched", projection=build.name, build=build.id, position=applier.position)
                    return True
                stop.wait(pause)
                pause = min(2 * pause, PAUSE_S[1])
            return False
        finally:
            applier.close()


@contextmanager
def _alone(connection: Connection[Any], name: str) -> Iterator[None]:
    """See to it that nobody else builds that projection meanwhile, for as long as the connection lasts."""
    key = f"daybook.build.{name}"
    if connection.execute("SELECT pg_try_advisory_lock(hashtextextended(%s, 0))", (key,)).fetchone() != (True,):
        raise BuildUnderWay(name)
    try:
        yield
    finally:
        # Closing gives it up too, but a moment after it returns: whoever builds next would find it taken.
        with suppress(OperationalError):
            connection.execute("SELECT pg_advisory_unlock(hashtextextended(%s, 0))", (key,))


def _nobody(name: str, position: int, head: int) -> None:
    """Nobody looks."""


def _caught_up(applier: Applier, stop: threading.Event, told: OnProgress) -> bool:
    """Whether the log's end was reached before we are to stop."""
    while not stop.is_set():
        count = applier.apply()
        _tell(applier, told)
        if count < applying.BATCH:
            return True
    return False


def _tell(applier: Applier, told: OnProgress) -> None:
    standing = applier.look()
    told(applier.projection.NAME, standing.position, max(standing.head, standing.position))


def _index(
    connection: Connection[Any], applier: Applier, build: Build, stop: threading.Event, told: OnProgress
) -> None:
    """Add what the tables lack, and tell meanwhile that we are still at it; at most a moment after we are to stop."""
    with ThreadPoolExecutor(1) as pool:
        made = pool.submit(builds.add_indexes, connection, applier.projection, build.schema)
        while not wait([made], TELL_S).done:
            _tell(applier, told)
            if stop.is_set():
                connection.cancel_safe()
    try:
        made.result()
    except QueryCanceled:
        if not stop.is_set():
            raise


def _take_place(connection: Connection[Any], applier: Applier, build: Build) -> bool:
    """Whether the build is live now: not as long as others read, or when the live one is far ahead again."""
    try:
        with connection.transaction():
            builds.hold(connection)
            if builds.is_behind(connection, build):
                applier.apply_within(connection)
                if builds.is_behind(connection, build):
                    return False
            builds.take_place(connection, build)
            return True
    except LockNotAvailable:
        return False
