"""Keeps the read models up with the log: a supervised runner for each projection, in a thread of its own.

Of all processes with the same code one works at a projection; the others stand by and take over when its session ends.
Tables that other code has made are built anew beside, and take the place once they have caught up. A store that cannot
be reached is waited for; an event that cannot be applied parks its projection, loudly, and no other.
"""

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from enum import StrEnum
from typing import Any, Final

import psycopg
from msgspec import Struct, structs
from psycopg import Connection
from psycopg.rows import TupleRow

from adapters.postgres import applying
from adapters.postgres.applying import (
    Applier,
    OnEvent,
    ProjectionFailed,
    Standing,
    Superseded,
    TrackingRecorder,
    out_of_reach,
    silent,
)
from adapters.postgres.building import BuildUnderWay, build_beside
from adapters.postgres.builds import READ_SCHEMA
from adapters.postgres.datastore import connect, cut, first_line
from adapters.postgres.window import Window
from domain.errors import Unavailable
from projections.catalogue import ALL
from projections.projection import Projection

__all__ = [
    "READ_SCHEMA",
    "Applier",
    "Bell",
    "ProjectionFailed",
    "Projections",
    "Runner",
    "State",
    "Status",
    "TrackingRecorder",
    "catch_up",
]

PACE_S: Final = 0.02
"""Shortest time from one small batch to the next: under load a commit for every few events would cost a core."""
COALESCE_S: Final = 0.002
"""How long nudges are gathered after one has been passed on."""
POLL_S: Final = 1.0
"""How long a nudge may be missed before the log is looked at anyway."""
STANDBY_S: Final = 0.5
"""How often one that stands by asks for the lead."""
RETRY_S: Final = 10.0
"""How long a parked projection rests before it is tried again: what stopped it may have been mended in the database."""
BACKOFF_S: Final = (0.05, 2.0)
"""The first and the longest wait before an unreachable store is asked again, and before a dead runner runs again."""


class State(StrEnum):
    """What a runner does."""

    STARTING = "starting"
    FOLLOWING = "following"
    STANDING_BY = "standing_by"  # Another process works at it.
    BUILDING = "building"  # The live tables are of other code; new ones are made beside them.
    PARKED = "parked"  # At an event that cannot be applied.
    SUPERSEDED = "superseded"  # Newer code has made the tables live.
    FAILED = "failed"  # The store cannot be reached, or a build cannot take its place.
    STOPPED = "stopped"


class Status(Struct, frozen=True):
    """How a projection stands. `lag_s` is the age of the oldest event it has not applied, 0 without any.

    `error` is set while it stands still; `failed_at` is the position it is parked at, if it is. `head`, the lags and
    `rate` are at most a second or two old. `applied` and `rate` (events per second) are of this process alone, as is
    `restarts`: how often the runner had died. `building_at` is the position of a build beside, while one is made here.
    """

    name: str
    version: int
    running: bool = False
    state: State = State.STARTING
    position: int = 0
    head: int = 0
    lag_events: int = 0
    lag_s: float = 0.0
    applied: int = 0
    rate: float = 0.0
    restarts: int = 0
    building_at: int | None = None
    error: str | None = None
    failed_at: int | None = None


class Runner:
    """Follows the log for one projection, in the thread that calls `run`.

    Args:
        following, building: Windows on the log, shared with the other runners of this process.
        on_event: Takes log lines; `projection.failed` is the one to wake somebody for.
    """

    def __init__(
        self,
        dsn: str,
        projection: Projection,
        *,
        schema: str = READ_SCHEMA,
        following: Window | None = None,
        building: Window | None = None,
        on_event: OnEvent = silent,
    ) -> None:
        self.nudge = threading.Event()
        """To be set by whoever hears that the log has grown, and after `stop`."""
        self._dsn = dsn
        self._projection = projection
        self._applier = Applier(dsn, projection, schema=schema, window=following, on_event=on_event)
        self._building = building
        self._on_event = on_event
        self._looked_at = 0.0
        self._applied_then = 0
        self._backoff = BACKOFF_S[0]
        # Who once had the live tables, and finds them made by other code, is the older of the two and stands aside.
        self._may_build = True
        self._standing = Standing(0, 0, 0.0, None, None)
        self._status = Status(projection.NAME, projection.VERSION)

    def status(self) -> Status:
        """How it stands, without asking the store."""
        return self._status

    def run(self, stop: threading.Event) -> None:
        """Follow the log until `stop` is set; what ends it before, whatever that is, ends it for a moment."""
        backoff = BACKOFF_S[0]
        try:
            while not stop.is_set():
                try:
                    self._know(running=True)
                    self._run(stop)
                except BaseException as error:
                    with suppress(Exception):
                        self._applier.drop()
                        self._know(state=State.FAILED, error=first_line(error), restarts=self._status.restarts + 1)
                        self._on_event("projection.died", projection=self._status.name, error=repr(error))
                    stop.wait(backoff)
                    backoff = min(2 * backoff, BACKOFF_S[1])
        finally:
            self._applier.close()
            self._know(running=False, state=State.STOPPED)

    def _run(self, stop: threading.Event) -> None:
        while not stop.is_set():
            try:
                if self._applier.lead():
                    self._follow(stop)
                else:
                    self._stand_by(stop)
            except Superseded as error:
                self._make_way(error, stop)
            except Exception as error:
                self._failed(error, stop)

    def _follow(self, stop: threading.Event) -> None:
        """Apply what there is, and wait for more."""
        if self._status.state is State.STANDING_BY:
            self._on_event("projection.leading", projection=self._status.name, position=self._applier.position)
        while not stop.is_set():
            began = time.monotonic()
            self.nudge.clear()  # Before the log is read: who is nudged while it is read reads it again.
            count = self._applier.apply()
            self._applied()
            if count < applying.BATCH:
                stop.wait(max(0.0, began + PACE_S - time.monotonic()))
                self.nudge.wait(POLL_S)

    def _applied(self) -> None:
        if self._status.error is not None:
            self._on_event("projection.recovered", projection=self._status.name, position=self._applier.position)
        self._know(state=State.FOLLOWING, error=None, failed_at=None)
        self._may_build = False
        self._backoff = BACKOFF_S[0]
        if time.monotonic() - self._looked_at >= POLL_S:
            self._look()

    def _stand_by(self, stop: threading.Event) -> None:
        """Know how far the one who leads is, and what it is parked at."""
        self._look()
        standing = self._standing
        self._know(state=State.STANDING_BY, error=standing.parked_error, failed_at=standing.parked_position)
        stop.wait(STANDBY_S)

    def _make_way(self, error: Superseded, stop: threading.Event) -> None:
        """Build anew beside the live tables, or leave them to the newer code that has made them."""
        if error.version is None or (self._may_build and error.version <= self._projection.VERSION):
            try:
                self._build(stop)
                return
            except BuildUnderWay:
                self._know(state=State.STANDING_BY, error=None)
            except Exception as failure:
                self._failed(failure, stop)
                return
            finally:
                self._know(building_at=None)
        else:
            self._know(error=self._told("projection.superseded", error), state=State.SUPERSEDED)
        with suppress(Exception):
            self._look()
        stop.wait(POLL_S)

    def _build(self, stop: threading.Event) -> None:
        def watch(name: str, position: int, head: int) -> None:
            if time.monotonic() - self._looked_at >= POLL_S:
                self._look()  # Which also keeps the lead.
            self._know(building_at=position)

        self._know(state=State.BUILDING)
        build_beside(
            self._dsn,
            self._projection,
            stop=stop,
            window=self._building,
            on_event=self._on_event,
            on_progress=watch,
        )

    def _failed(self, error: Exception, stop: threading.Event) -> None:
        self._applier.drop()
        if out_of_reach(error):
            self._know(error=self._told("projection.store_unreachable", error), state=State.FAILED, failed_at=None)
            stop.wait(self._backoff)
            self._backoff = min(2 * self._backoff, BACKOFF_S[1])
            return
        failed_at = error.position if isinstance(error, ProjectionFailed) else None
        told = self._told("projection.failed", error, position=failed_at)
        self._know(error=told, failed_at=failed_at, state=State.FAILED if failed_at is None else State.PARKED)
        self._rest(stop)

    def _rest(self, stop: threading.Event) -> None:
        """Leave a parked projection alone for a while, unless somebody has had it tried again or skipped the event."""
        parked, until = self._status.failed_at is not None, time.monotonic() + RETRY_S
        while time.monotonic() < until and not stop.wait(POLL_S):
            try:
                if self._applier.lead():
                    self._look()
                    if parked and self._standing.parked_position is None:
                        return
            except Exception:  # Whatever it is, the next try will meet it and say so.
                self._applier.drop()

    def _look(self) -> None:
        self._standing = self._applier.look()
        now, applied = time.monotonic(), self._applier.applied
        rate = (applied - self._applied_then) / (now - self._looked_at) if self._looked_at else 0.0
        self._looked_at, self._applied_then = now, applied
        self._know(head=self._standing.head, lag_s=self._standing.lag_s, rate=rate)

    def _told(self, event: str, error: Exception, **fields: Any) -> str:
        """The error as text, logged unless the last thing that was logged said the same."""
        text = first_line(error)
        if text != self._status.error:
            self._on_event(event, projection=self._status.name, error=text, **fields)
        return text

    def _know(self, **known: Any) -> None:
        then = structs.replace(self._status, position=self._applier.position, applied=self._applier.applied, **known)
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
        following, building = Window(), Window()
        self._runners = [
            Runner(dsn, projection, schema=schema, following=following, building=building, on_event=on_event)
            for projection in projections
        ]
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
    """Bring the read models to the log's head, all at the same time; tables of other code are built anew first.

    Interrupted, each ends after the batch under way. That one fails keeps no other from getting there.

    Args:
        schema: Where the tables and a tracking table are, if the caller has made some of its own.
        on_progress: Called after each batch with a projection's name, its position and the log's head, by any thread.

    Raises:
        ProjectionFailed: An event cannot be applied.
        Superseded: The tables are made by newer code.
        BuildUnderWay: The tables are made by other code, and another process builds them anew.
        Unavailable: The store cannot be reached.
    """
    stop, window = threading.Event(), Window()

    def follow(projection: Projection) -> None:
        applier = Applier(dsn, projection, schema=schema, window=window, patient=True)
        try:
            head = applier.look().head
            while not stop.is_set() and _apply(dsn, applier, stop, on_progress):
                if on_progress is not None:
                    on_progress(projection.NAME, applier.position, max(head, applier.position))
        except Exception as error:
            if out_of_reach(error) and not isinstance(error, Unavailable):
                raise Unavailable(f"Postgres failed: {first_line(error)}") from error
            raise
        finally:
            applier.close()

    with ThreadPoolExecutor(len(projections)) as pool:
        following = [pool.submit(follow, projection) for projection in projections]
        try:
            wait(following)
        finally:
            stop.set()
    for followed in following:
        followed.result()


def _apply(
    dsn: str, applier: Applier, stop: threading.Event, on_progress: Callable[[str, int, int], None] | None
) -> int:
    try:
        return applier.apply()
    except Superseded as error:
        if error.version is not None and error.version > applier.projection.VERSION:
            raise
        build_beside(dsn, applier.projection, stop=stop, patient=True, on_progress=on_progress)
        return applier.apply()
