"""Builds beside the live tables: begun by a person or by changed code, gone on with, and taking the place at once."""

import importlib.util
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import psycopg
import pytest
from psycopg.errors import DependentObjectsStillExist
from psycopg.sql import SQL, Identifier

from adapters.postgres import applying, building, builds
from adapters.postgres.applying import Applier, ProjectionFailed, Superseded
from adapters.postgres.building import BuildUnderWay, build_beside
from adapters.postgres.datastore import connect
from adapters.postgres.log import PostgresLog
from adapters.postgres.projecting import Projections, State, catch_up
from projections import accounts, audit_trail, journal
from projections.catalogue import ALL
from projections.projection import Projection, digest, tracked_as
from tests.contract.test_projecting import at, following, query, wait_until, write_some_history
from tests.reading import Scribe

TOP = Path(__file__).parents[2]
NEVER = threading.Event()

Changed = Callable[..., Any]


def rows(dsn: str, schema: str = "daybook_read") -> dict[str, list[str]]:
    """Every row of every read model, as text."""
    with psycopg.connect(dsn) as connection:
        names = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = %s ORDER BY 1", (schema,))
        return {
            table: [
                row
                for (row,) in connection.execute(
                    SQL("SELECT t::text FROM {} AS t ORDER BY 1").format(Identifier(schema, table))
                )
            ]
            for (table,) in names.fetchall()
            if table not in ("tracking", "builds")
        }


def fold(dsn: str) -> dict[str, list[str]]:
    """What the read models must be: the fold of the log, made apart."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("DROP SCHEMA IF EXISTS fold CASCADE; CREATE SCHEMA fold")
        connection.execute("CREATE TABLE fold.tracking (LIKE daybook_read.tracking INCLUDING ALL)")
        for projection in ALL:
            builds.create_tables(connection, projection, "fold")
    catch_up(dsn, schema="fold")
    return rows(dsn, "fold")


def schemas(dsn: str) -> int:
    return int(query(dsn, "SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'daybook_build_%'"))


def execute(dsn: str, sql: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(sql.encode())


def live_digest(dsn: str, name: str) -> str:
    return str(query(dsn, f"SELECT digest FROM daybook_read.builds WHERE live AND name = '{name}'"))


@pytest.fixture
def changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Changed:
    """Makes the module of a projection with its source changed."""

    def change(projection: Any, *, old: str = "", new: str = "# changed\n") -> ModuleType:
        source = Path(projection.__file__).read_text(encoding="utf-8")
        assert old in source
        name = f"changed_{projection.NAME}_{len(list(tmp_path.iterdir()))}"
        path = tmp_path / f"{name}.py"
        path.write_text(source.replace(old, new, 1) if old else source + new, encoding="utf-8")
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, name, module)
        spec.loader.exec_module(module)
        return module

    return change


@contextmanager
def running(dsn: str, projections: list[Projection]) -> Iterator[Projections]:
    runners = Projections(dsn, projections=projections)
    runners.start()
    try:
        yield runners
    finally:
        runners.stop()


@contextmanager
def writing(dsn: str) -> Iterator[Scribe]:
    """Somebody who writes all the time."""
    stop = threading.Event()
    with Scribe(dsn) as scribe:
        book = scribe.book("busy")
        cash, sales = scribe.account(book, "cash"), scribe.account(book, "sales")

        def write() -> None:
            while not stop.is_set():
                with scribe.one_commit():
                    entry = scribe.transfer(cash, sales, 7)
                    scribe.reverse(entry)
                    scribe.freeze(cash)
                    scribe.unfreeze(cash)
                time.sleep(0.002)

        thread = threading.Thread(target=write)
        thread.start()
        try:
            yield scribe
        finally:
            stop.set()
            thread.join()


def test_a_digest_is_of_all_that_makes_the_tables(changed: Changed) -> None:
    """
    Other source is another digest; the same source is the same.
    """
    assert len({digest(projection) for projection in ALL}) == len(ALL)
    assert digest(changed(accounts)) != digest(accounts)
    assert digest(changed(accounts)) == digest(changed(accounts))


def test_a_rebuild_under_load_equals_the_live_tables(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Built anew again and again while others write and follow: nothing is missing, nothing is there twice.
    """
    monkeypatch.setattr(applying, "BATCH", 50)
    write_some_history(database)
    with following(database) as projections, writing(database) as scribe:
        for _ in range(3):
            for projection in ALL:
                assert build_beside(database, projection, stop=NEVER)
        head = scribe.position
        wait_until(lambda: all(status.position >= head for status in projections.status()))
    catch_up(database)

    assert rows(database) == fold(database)
    assert schemas(database) == 0
    assert query(database, "SELECT count(*) FROM daybook_read.builds") == len(ALL)
    assert query(database, "SELECT count(*) FROM daybook_read.tracking") == len(ALL)


def test_readers_see_the_old_tables_or_the_new_ones(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Whatever a reader asks while builds change places: rows and position belong together, and never go back.
    """
    write_some_history(database)
    catch_up(database)
    wrong: list[Any] = []
    reads = [0, 0]
    stop = threading.Event()

    def read() -> None:
        reached = 0
        with psycopg.connect(database, autocommit=True) as connection:
            connection.execute("SET search_path = daybook_read")
            while not stop.is_set():
                row = connection.execute(
                    "SELECT (SELECT count(*) FROM audit_trail), (SELECT max(position) FROM audit_trail),"
                    " (SELECT notification_id FROM tracking WHERE application_name = %s)",
                    (tracked_as(audit_trail),),
                    prepare=True,
                ).fetchone()
                reads[0] += 1
                if row is None or len(set(row)) != 1 or row[0] < reached:
                    wrong.append((row, reached))
                    return
                reached = row[0]

    def replay() -> None:
        while not stop.is_set():
            with PostgresLog(database) as log:
                time.sleep(0.02)  # In which a build would change places.
                reached = log.tracked()[tracked_as(audit_trail)]
                found = len(list(log.read_model("audit_trail", ("position",))))
                reads[1] += 1
                if reached != found:
                    wrong.append((reached, found))
                    return

    def failing(ask: Callable[[], None]) -> Callable[[], None]:
        def asked() -> None:
            try:
                ask()
            except Exception as error:
                wrong.append(error)

        return asked

    threads = [threading.Thread(target=failing(ask)) for ask in (read, read, replay)]
    with following(database), writing(database):
        for thread in threads:
            thread.start()
        try:
            built = 0
            while not wrong and (built < 8 or reads[0] <= 50 or reads[1] <= 5):  # However slowly they get to read.
                assert build_beside(database, audit_trail, stop=NEVER)
                built += 1
        finally:
            stop.set()
            for thread in threads:
                thread.join()

    assert wrong == []


def test_changed_code_builds_anew_by_itself(database: str, changed: Changed) -> None:
    """
    A Daybook that starts with other code than the live tables were made by builds its own, and switches.
    """
    head = write_some_history(database)
    catch_up(database)
    before, other = rows(database), changed(accounts)

    with running(database, [other]) as projections:
        wait_until(lambda: projections.status()[0].state is State.FOLLOWING and at(projections, head))

    assert live_digest(database, "accounts") == digest(other) != digest(accounts)
    assert rows(database) == before
    assert schemas(database) == 0


def test_other_tables_are_made_by_changed_code(
    database: str, changed: Changed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A table that only the old code has goes with it, and one of the new code comes, as a version its readers ask for.
    """
    write_some_history(database, commits=3)
    catch_up(database)
    execute(database, "CREATE TABLE daybook_read.forgotten (id int)")
    query(
        database,
        "UPDATE daybook_read.builds SET tables = tables || 'forgotten'::text WHERE name = 'journal' RETURNING 1",
    )
    other = changed(journal, old="VERSION: Final = ", new="VERSION: Final = 1")

    catch_up(database, projections=[other])

    assert query(database, "SELECT to_regclass('daybook_read.forgotten')") is None
    tracked = "SELECT string_agg(application_name, ' ') FROM daybook_read.tracking WHERE application_name ~ '^journal'"
    assert query(database, tracked) == f"journal.v1{journal.VERSION}"


def test_the_older_of_two_stands_aside(database: str, changed: Changed) -> None:
    """
    Whoever had the live tables, and finds them made by other code, leaves them alone, and says so.
    """
    write_some_history(database, commits=5)
    other = changed(accounts)
    with running(database, [accounts]) as old, Scribe(database) as scribe:
        wait_until(lambda: old.status()[0].state is State.FOLLOWING)
        with running(database, [other]) as new:
            wait_until(lambda: new.status()[0].state is State.FOLLOWING)
            wait_until(lambda: old.status()[0].state is State.SUPERSEDED)
            after = query(database, "SELECT daybook.head()")
            scribe.book("later")
            wait_until(lambda: at(new, after + 1) and old.status()[0].head == after + 1)
            seen = old.status()[0]

    assert (seen.state, seen.running) == (State.SUPERSEDED, True)
    assert live_digest(database, "accounts") == digest(other)


def test_live_tables_go_on_while_new_ones_are_built(database: str, changed: Changed) -> None:
    """
    Old readers are served, and the old code goes on, until the new tables are there; a poisoned build parks alone.
    """
    head = write_some_history(database, commits=5)
    poisoned = changed(
        journal, old='    """What the event changes."""\n', new="    assert recorded.position != 7, 'seven'\n"
    )
    with running(database, [journal]) as old:
        wait_until(lambda: at(old, head))
        with running(database, [poisoned]) as new:
            wait_until(lambda: new.status()[0].state is State.PARKED)
            with Scribe(database) as scribe:
                scribe.book("later")
            wait_until(lambda: at(old, head + 1))
            assert (new.status()[0].failed_at, old.status()[0].error) == (7, None)

    parked = "SELECT parked_position || ' ' || parked_error FROM daybook_read.builds WHERE NOT live"
    assert query(database, parked).startswith("7 AssertionError: seven")
    catch_up(database)
    assert rows(database) == fold(database)


def test_a_killed_rebuild_goes_on_where_it_was(database: str) -> None:
    """
    Killed with kill -9 at any moment, the next one continues the same build.
    """
    head = write_some_history(database)
    catch_up(database)
    slow = (
        "import sys, threading, time\nfrom adapters.postgres import applying\n"
        "from adapters.postgres.building import build_beside\nfrom projections import accounts\n"
        "applying.BATCH = 5\n"
        "def progress(*told):\n    print(*told, flush=True)\n    time.sleep(0.05)\n"
        "build_beside(sys.argv[1], accounts, stop=threading.Event(), on_progress=progress)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", slow, database], cwd=TOP, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for _ in range(4):
        process.stdout.readline()
    with pytest.raises(BuildUnderWay):
        build_beside(database, accounts, stop=NEVER)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    held = "SELECT count(*) FROM pg_locks AS l JOIN pg_database AS d ON d.oid = l.database"
    wait_until(lambda: not query(database, f"{held} WHERE locktype = 'advisory' AND datname = current_database()"))
    begun: list[int] = []

    def on_event(event: str, /, **fields: Any) -> None:
        if event == "projection.building":
            begun.append(fields["position"])

    assert build_beside(database, accounts, stop=NEVER, on_event=on_event)

    assert 15 <= begun[0] < head
    assert rows(database) == fold(database)


def test_a_build_that_has_ended_bars_no_other(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Whoever builds next, at once, finds nobody at it, though Postgres takes its time to end a session.
    """
    lasting: list[psycopg.Connection[Any]] = []

    def connected(dsn: str, *, long: bool) -> psycopg.Connection[Any]:
        lasting.append(connect(dsn, long=long))
        monkeypatch.setattr(lasting[-1], "close", lambda: None)
        return lasting[-1]

    monkeypatch.setattr(building, "connect", connected)
    assert build_beside(database, accounts, stop=NEVER)
    assert build_beside(database, accounts, stop=NEVER)

    monkeypatch.undo()
    for connection in lasting:
        connection.close()


def test_a_build_by_other_code_is_begun_anew(database: str, changed: Changed) -> None:
    """
    What other code has left half built is thrown away, not continued.
    """
    write_some_history(database, commits=5)
    catch_up(database)
    with psycopg.connect(database, autocommit=True) as connection:
        left = builds.begin(connection, changed(accounts))
    query(database, f"INSERT INTO daybook_build_{left.id}.books SELECT * FROM daybook_read.books RETURNING 1")

    assert build_beside(database, accounts, stop=NEVER)

    assert rows(database) == fold(database)
    assert schemas(database) == 0


def test_whoever_could_read_still_can(database: str) -> None:
    """
    Rights on the old tables are had on the new ones.
    """
    execute(database, "GRANT SELECT ON daybook_read.entries TO PUBLIC")

    assert build_beside(database, journal, stop=NEVER)

    assert query(database, "SELECT has_table_privilege('pg_monitor', 'daybook_read.entries', 'SELECT')")


def test_what_hangs_on_the_old_tables_is_not_torn_off(database: str) -> None:
    """
    A view of an analyst's keeps the old tables live, and is named.
    """
    execute(database, "CREATE VIEW public.ours AS SELECT count(*) FROM daybook_read.entries")

    with pytest.raises(DependentObjectsStillExist):
        build_beside(database, journal, stop=NEVER)

    assert query(database, "SELECT * FROM public.ours") == 0


def test_a_live_build_of_other_code_is_not_written_to(database: str, changed: Changed) -> None:
    """
    An applier that is not the live one's writes nothing.
    """
    write_some_history(database, commits=2)
    applier = Applier(database, changed(accounts))

    with pytest.raises(Superseded):
        applier.apply()

    applier.close()
    assert not any(rows(database).values())


def test_a_build_that_fails_is_not_live(database: str, changed: Changed) -> None:
    """
    The failure is raised, and the old tables stay.
    """
    write_some_history(database, commits=5)
    catch_up(database)
    before = rows(database)

    with pytest.raises(ProjectionFailed):
        build_beside(
            database,
            changed(accounts, old='    """What the event changes."""\n', new="    assert recorded.position < 9\n"),
            stop=NEVER,
        )

    assert rows(database) == before
    assert live_digest(database, "accounts") == digest(accounts)
