"""Projectors die at every point, take over from each other, and park at what they cannot apply."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Generator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import psycopg
import pytest
from psycopg import Connection, Cursor

from adapters.observe.metrics import Metrics
from adapters.postgres import applying, builds, datastore, projecting
from adapters.postgres.applying import Applier
from adapters.postgres.builds import NotParked
from adapters.postgres.changing import Changes
from adapters.postgres.projecting import Projections, Runner, State, catch_up
from adapters.web.health import Readiness
from commands.desk import Desk, Tally
from domain.events import Recorded
from projections.catalogue import ALL
from projections.projection import Projection
from tests.contract.test_projecting import (
    _FromTheFuture,
    at,
    following,
    query,
    wait_until,
    write_some_history,
)
from tests.contract.test_projecting_builds import fold, rows
from tests.reading import Scribe

TOP = Path(__file__).parents[2]


class Deaths:
    """Ends the connection at one point of all those before and after each statement, BEGIN and COMMIT with them."""

    def __init__(self) -> None:
        self.at = 0
        self.passed = 0
        self.where = ""

    def point(self, connection: Connection[Any], where: str) -> None:
        self.passed += 1
        if self.passed == self.at:
            self.where = where
            datastore.cut(connection)


DEATHS = Deaths()


class MortalCursor(Cursor[Any]):
    def execute(self, query: Any, *args: Any, **kwargs: Any) -> Any:
        DEATHS.point(self.connection, f"before {query!r:.60}")
        result = super().execute(query, *args, **kwargs)
        DEATHS.point(self.connection, f"after {query!r:.60}")
        return result


class Mortal(Connection[Any]):
    def _exec_command(self, command: Any, *args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        DEATHS.point(self, f"before {command!r}")
        result = yield from super()._exec_command(command, *args, **kwargs)
        DEATHS.point(self, f"after {command!r}")
        return result


def mortal(dsn: str, *, long: bool = False) -> Connection[Any]:
    connection = Mortal.connect(autocommit=True, **datastore.parameters(dsn))
    connection.execute("SET lock_timeout = '4s'")
    connection.cursor_factory = MortalCursor
    return connection


@pytest.mark.parametrize("projection", ALL, ids=lambda projection: projection.NAME)
def test_killed_at_every_point(database: str, projection: Projection, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Wherever the connection dies between reading the log and the commit's reply, each event is applied once.
    """
    head = write_some_history(database, commits=8)
    catch_up(database)
    whole = rows(database)
    monkeypatch.setattr(applying, "BATCH", head // 2 + 1)
    monkeypatch.setattr(applying, "connect", mortal)
    died: list[str] = []
    for point in range(1, 1000):
        query(database, f"DELETE FROM daybook_read.tracking WHERE application_name ~ '^{projection.NAME}' RETURNING 1")
        with psycopg.connect(database) as connection:
            for table in builds_tables(database, projection.NAME):
                connection.execute(f"TRUNCATE daybook_read.{table}".encode())
        DEATHS.at, DEATHS.passed, DEATHS.where = point, 0, ""
        _apply_all(database, projection)
        assert rows(database) == whole, f"died {DEATHS.where}"
        if not DEATHS.where:
            break
        died.append(DEATHS.where)

    assert len(died) >= 2 * 6 * 2  # Two batches of six statements at least, before and after each.
    for what in ("COMMIT", "BEGIN", "INSERT", "FOR UPDATE"):
        assert any("before " in where and what in where for where in died) or what == "FOR UPDATE", what
        assert any("after " in where and what in where for where in died) or what == "FOR UPDATE", what


def builds_tables(dsn: str, name: str) -> list[str]:
    return list(query(dsn, f"SELECT tables FROM daybook_read.builds WHERE live AND name = '{name}'"))


def _apply_all(dsn: str, projection: Projection) -> None:
    applier = Applier(dsn, projection)
    try:
        while True:
            try:
                if applier.apply() == 0:
                    return
            except Exception as error:
                assert applying.out_of_reach(error), repr(error)
                applier.drop()
    finally:
        applier.close()


def in_little_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A db transaction may idle for a tenth of a second, and events are understood as on a very busy machine."""
    apply = Changes.apply

    def slowly(self: Changes, cursor: Cursor[Any], events: Sequence[Recorded]) -> None:
        time.sleep(0.005 * len(events))
        apply(self, cursor, events)

    monkeypatch.setattr(Changes, "apply", slowly)
    monkeypatch.setattr(datastore, "_SESSION", f"{datastore._SESSION}SET idle_in_transaction_session_timeout = '100ms'")


def test_a_batch_that_is_too_much_is_cut_up(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A projector that cannot apply a whole batch in its time takes fewer events at once: no event is at fault, and it
    gets there.
    """
    head = write_some_history(database, commits=8)
    in_little_time(monkeypatch)
    events: list[tuple[str, dict[str, Any]]] = []

    with following(database, events) as projections:
        wait_until(lambda: at(projections, head))

    assert "projection.store_unreachable" in {event for event, _ in events}
    assert not {"projection.batch_failed", "projection.failed"} & {event for event, _ in events}
    assert rows(database) == fold(database)


def test_who_asks_for_read_models_has_time(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A whole batch is applied at once, however long it takes.
    """
    head = write_some_history(database, commits=8)
    in_little_time(monkeypatch)
    reached: list[tuple[str, int]] = []

    catch_up(database, on_progress=lambda name, position, _: reached.append((name, position)))

    assert sorted(reached) == sorted((projection.NAME, head) for projection in ALL)


FOLLOW = """
import sys, time
from adapters.postgres import applying, projecting
applying.LEASE_S = int(sys.argv[2])
projections = projecting.Projections(sys.argv[1])
projections.start()
while True:
    print(*(status.state for status in projections.status()), flush=True)
    time.sleep(0.02)
"""


def another(dsn: str, *, lease_s: int = 10) -> "subprocess.Popen[str]":
    """Another process that leads all projections."""
    process = subprocess.Popen(
        [sys.executable, "-c", FOLLOW, dsn, str(lease_s)], cwd=TOP, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    while set(process.stdout.readline().split()) != {State.FOLLOWING}:
        assert process.poll() is None
    return process


def end(process: "subprocess.Popen[str]") -> None:
    process.kill()
    process.wait()
    assert process.stdout is not None
    process.stdout.close()


def states(projections: Projections) -> set[State]:
    return {status.state for status in projections.status()}


def test_a_standby_takes_over_after_kill_9(database: str) -> None:
    """
    One works and the other stands by, knowing how far it is; within about a second of the end of one it works.
    """
    process = another(database)
    with Scribe(database) as scribe, following(database) as projections:
        wait_until(lambda: states(projections) == {State.STANDING_BY})
        scribe.book()
        wait_until(lambda: at(projections, 1))  # As it is told by the database.
        assert {status.applied for status in projections.status()} == {0}
        os.kill(process.pid, signal.SIGKILL)
        killed = time.monotonic()
        scribe.book("another")
        wait_until(lambda: at(projections, 2) and states(projections) == {State.FOLLOWING})
        took = time.monotonic() - killed
        applied = {status.applied for status in projections.status()}
    end(process)

    assert took < 1.5
    assert applied == {1}
    assert rows(database) == fold(database)


def test_a_frozen_leader_loses_the_lead(database: str) -> None:
    """
    A process that is stopped and not ended gives way too, and does no harm when it goes on.
    """
    process = another(database, lease_s=2)
    with Scribe(database) as scribe, following(database) as projections:
        wait_until(lambda: states(projections) == {State.STANDING_BY})
        os.kill(process.pid, signal.SIGSTOP)
        scribe.book()
        wait_until(lambda: at(projections, 1) and states(projections) == {State.FOLLOWING})
        os.kill(process.pid, signal.SIGCONT)
        scribe.book("another")
        wait_until(lambda: at(projections, 2))
    end(process)

    assert rows(database) == fold(database)


def test_one_that_stands_by_asks_now_and_then(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Of two only one works, and the other asks a few times in a second.
    """
    asked: list[Applier] = []
    lead = Applier.lead

    def counted(self: Applier) -> bool:
        asked.append(self)
        return lead(self)

    with following(database) as first:
        wait_until(lambda: states(first) == {State.FOLLOWING})
        with following(database) as second, Scribe(database) as scribe:
            wait_until(lambda: states(second) == {State.STANDING_BY})
            monkeypatch.setattr(Applier, "lead", counted)
            began = time.monotonic()
            for number in range(20):
                scribe.book(f"book-{number}")
                time.sleep(0.05)
            wait_until(lambda: at(first, 20) and at(second, 20))
            seconds = time.monotonic() - began

            assert [s.applied for s in first.status()] == [20] * len(ALL)
            assert [s.applied for s in second.status()] == [0] * len(ALL)
            assert len(asked) <= len(ALL) * (seconds / projecting.STANDBY_S + 1)


def test_a_runner_that_dies_is_started_again(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Whatever ends it, and it is told how often that was.
    """
    events: list[tuple[str, dict[str, Any]]] = []
    run, deaths = Runner._run, [SystemExit(), MemoryError(), KeyboardInterrupt(), RuntimeError("ours")]

    def dying(self: Runner, stop: Any) -> None:
        if self.status().name == "journal" and deaths:
            raise deaths.pop()
        run(self, stop)

    monkeypatch.setattr(Runner, "_run", dying)
    with Scribe(database) as scribe, following(database, events) as projections:
        scribe.book()
        wait_until(lambda: at(projections, 1) and states(projections) == {State.FOLLOWING})
        wait_until(lambda: all(status.error is None for status in projections.status()))
        restarts = {status.name: status.restarts for status in projections.status()}

    assert restarts == {projection.NAME: 4 if projection.NAME == "journal" else 0 for projection in ALL}
    assert [fields["projection"] for event, fields in events if event == "projection.died"] == ["journal"] * 4


@pytest.fixture
def poisoned(database: str) -> str:
    """A log whose third event the journal cannot take, as it has a row of that entry already."""
    with Scribe(database) as scribe:
        book = scribe.book()
        cash, sales = scribe.account(book, "cash"), scribe.account(book, "sales")
        scribe.transfer(cash, sales, 5)
        poison = scribe.transfer(cash, sales, 7)
        scribe.transfer(cash, sales, 9)
    catch_up(database)
    entry = f"entry_id = '{poison}'"
    begin = "UPDATE daybook_read.tracking SET notification_id = 3 WHERE application_name ~ '^journal' RETURNING 1"
    assert query(database, f"DELETE FROM daybook_read.entries WHERE NOT {entry} RETURNING 1")
    assert query(database, begin)
    return database


def cli(dsn: str, *words: str) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "DATABASE_URL": dsn, "COLUMNS": "200"}
    command = [sys.executable, "-m", "adapters.cli", *words]
    return subprocess.run(command, cwd=TOP, env=environment, capture_output=True, text=True, timeout=60, check=False)


def test_a_parked_projection_is_seen_everywhere(poisoned: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    In the database, on /readyz, among the metrics and at the console, with its position; the others go on.
    """
    monkeypatch.setattr(projecting, "RETRY_S", 60.0)
    desk = cast(
        Desk,
        SimpleNamespace(alive=True, queued=0, tally=Tally()),
    )
    with following(poisoned) as first, following(poisoned) as second:
        wait_until(lambda: sorted(s.failed_at or 0 for p in (first, second) for s in p.status())[-2:] == [5, 5])
        with Scribe(poisoned) as scribe:
            scribe.book("one more")
        wait_until(lambda: all(status.position == 7 for status in first.status() if status.failed_at is None))
        metrics = Metrics()
        metrics.watch(desk, first.status)
        text = metrics.text().decode()
        stored = Readiness(poisoned, desk, lambda: ())._stored()[1]
    shown = cli(poisoned, "projections", "--json")

    assert 'daybook_projection_parked{projection="journal"} 1.0' in text
    assert 'daybook_projection_parked{projection="accounts"} 0.0' in text
    assert 'daybook_projection_parked_position{projection="journal"} 5.0' in text
    assert [(p["name"], p["position"]) for p in stored] == [("journal", 5)]
    assert shown.returncode == 1
    [journal] = [row for row in json.loads(shown.stdout) if row["parked"]]
    assert (journal["name"], journal["position"], journal["lag_events"]) == ("journal", 4, 3)
    assert journal["parked"]["position"] == 5 and "duplicate key" in journal["parked"]["error"]


def test_a_parked_event_is_tried_again_when_asked(poisoned: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Mended and tried again it is applied at once, and the runner goes on within a moment.
    """
    monkeypatch.setattr(projecting, "RETRY_S", 60.0)
    with following(poisoned) as projections:
        wait_until(lambda: State.PARKED in states(projections))
        assert cli(poisoned, "projections", "retry", "journal").returncode == 1
        query(poisoned, "DELETE FROM daybook_read.entries WHERE position = 5 RETURNING 1")
        done = cli(poisoned, "projections", "retry", "journal")
        assert (done.returncode, done.stdout) == (0, "journal has applied the event at 5.\n")
        wait_until(lambda: at(projections, 6) and states(projections) == {State.FOLLOWING}, 5.0)

    assert rows(poisoned) == fold(poisoned)
    assert cli(poisoned, "projections", "retry", "journal").returncode == 1
    assert cli(poisoned, "projections").returncode == 0


def test_an_event_is_skipped_for_a_reason(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Exactly that event, for that projection alone, with who and why, for ever; a rebuild by the same code minds it.
    """
    monkeypatch.setattr(projecting, "RETRY_S", 60.0)
    with Scribe(database) as scribe:
        book = scribe.book()
        scribe.account(book, "cash")
        scribe.event(book, _FromTheFuture(code="x"))
        scribe.account(book, "sales")
    with following(database) as projections:
        wait_until(lambda: states(projections) == {State.PARKED})
        wrong = cli(database, "projections", "skip", "accounts", "--position", "2", "--reason", "x", "--actor", "ann")
        done = cli(database, "projections", "skip", "accounts", "--position", "3", "--reason", "why", "--actor", "ann")
        wait_until(lambda: [s.failed_at for s in projections.status()].count(None) == 1, 5.0)
        wait_until(lambda: projections.status()[0].position == 4)

    assert (wrong.returncode, done.returncode) == (1, 0)
    assert query(database, "SELECT array_agg(code ORDER BY code) FROM daybook_read.accounts") == ["cash", "sales"]
    skipped = "SELECT projection || ' ' || position || ' ' || reason || ' ' || actor FROM daybook.skips"
    assert query(database, skipped) == "accounts 3 why ann"
    before = rows(database)
    assert cli(database, "rebuild", "accounts").returncode == 0
    assert rows(database) == before
    for change in ("DELETE FROM daybook.skips", "TRUNCATE daybook.skips", "UPDATE daybook.skips SET reason = 'other'"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            query(database, change)


def test_only_what_is_parked_is_skipped(database: str) -> None:
    """
    Nothing is left out in advance.
    """
    with psycopg.connect(database) as connection, pytest.raises(NotParked):
        builds.skip(connection, "accounts", 1, reason="why", actor="ann")

    assert query(database, "SELECT count(*) FROM daybook.skips") == 0
