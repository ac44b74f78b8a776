"""`daybook backup` and `daybook restore`: taken while writes go on, restored elsewhere, whole or not at all."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import psycopg
import pytest

from adapters.backup import restore as restoring
from adapters.postgres import migrate as migrations
from adapters.postgres.projecting import catch_up
from tests.conftest import Server, database_on
from tests.e2e.test_cli import Daybook
from tests.serving import Caller, head, serving, transfer, until


@pytest.fixture
def elsewhere(server: Server) -> Iterator[str]:
    """An empty database."""
    with database_on(server) as dsn:
        yield dsn


@pytest.fixture
def daybook(tmp_path: Path, database: str) -> Daybook:
    """Of a database with some books in it."""
    with serving(database) as url, Caller(url) as caller:
        books(caller)
    catch_up(database)
    return Daybook(tmp_path, DATABASE_URL=database)


def books(caller: Caller) -> None:
    caller.done("/v1/books", {"code": "main"})
    caller.account("cash")
    caller.account("owner", "equity")
    caller.done("/v1/journal-entries", transfer("cash", "owner", 100))


@contextmanager
def writing(caller: Caller) -> Iterator[list[int]]:
    """Entries one after another, in a thread; the positions acknowledged so far."""
    stop, positions = threading.Event(), list[int]()

    def write() -> None:
        while not stop.is_set():
            response = caller.ask("/v1/journal-entries", transfer("cash", "owner", 1))
            positions.append(int(response.headers["Daybook-Position"]))

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield positions
    finally:
        stop.set()
        thread.join()


def manifest(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "manifest.json").read_bytes())
    return found


def seal_at(dsn: str, position: int) -> str:
    with psycopg.connect(dsn) as connection:
        row = connection.execute(
            "SELECT encode(hash, 'hex') FROM daybook.seals WHERE last = %s", (position,)
        ).fetchone()
        assert row is not None
        return str(row[0])


def test_under_load_and_elsewhere(tmp_path: Path, database: str, elsewhere: str) -> None:
    """
    A backup taken amid writes is one moment of them, with everything acknowledged before; the books go on from it.
    """
    here, there = Daybook(tmp_path, DATABASE_URL=database), Daybook(tmp_path)
    with serving(database) as url, Caller(url) as caller:
        books(caller)
        with writing(caller) as positions:
            until(lambda: len(positions) > 20)
            acknowledged = positions[-1]
            taken = here("backup", "monday")
            reached = len(positions)
            until(lambda: len(positions) > reached)
        last = positions[-1]

    restored = there("restore", "monday", "--into", elsewhere)

    said = manifest(tmp_path / "monday")
    assert (taken.code, restored.code) == (0, 0), (taken, restored)
    assert acknowledged <= said["head"] < last
    assert said["seal"] == seal_at(database, said["head"]) == seal_at(elsewhere, said["head"])
    assert head(elsewhere) == said["head"]
    assert f"position {said['head']}, sealed {said['seal']}" in restored.out
    with serving(elsewhere) as url, Caller(url) as caller:
        caller.done("/v1/journal-entries", transfer("cash", "owner", 5))
    assert head(elsewhere) == said["head"] + 1
    assert there("verify", "--database-url", elsewhere).code == 0


def test_into_an_embedded_postgres(daybook: Daybook, database: str) -> None:
    """
    A backup of any Postgres makes a home for Daybook's own.
    """
    daybook("backup", "monday")

    restored = daybook("restore", "monday", "--home", "restored")
    verified = daybook("verify", "--home", "restored", "--json")

    assert restored.code == 0, restored
    assert json.loads(verified.out)["head"] == head(database)
    assert verified.code == 0


def test_what_is_written_stays_written(daybook: Daybook, elsewhere: str) -> None:
    """
    In the restored log UPDATE, DELETE and TRUNCATE are refused as before, by trigger and by role.
    """
    daybook("backup", "monday")

    assert daybook("restore", "monday", "--into", elsewhere).code == 0

    with psycopg.connect(elsewhere, autocommit=True) as connection:
        for statement in ("UPDATE daybook.events SET version = 9", "DELETE FROM daybook.seals"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement)
        granted = connection.execute(
            "SELECT privilege_type FROM pg_class, aclexplode(relacl) WHERE oid = 'daybook.events'::regclass"
        ).fetchall()
    assert {privilege for (privilege,) in granted} & {"UPDATE", "DELETE", "TRUNCATE"} == set()
    assert granted


def test_a_restore_that_died_before_its_end(daybook: Daybook, elsewhere: str) -> None:
    """
    A restore that is killed once the dump is in leaves what refuses changes by role as soon as anything uses it.
    """
    daybook("backup", "monday")
    with mock.patch.object(restoring, "migrate", side_effect=KeyboardInterrupt), pytest.raises(KeyboardInterrupt):
        restoring.restore(daybook.folder / "monday", elsewhere)

    assert changeable(elsewhere)
    migrations.migrate(elsewhere)

    assert not changeable(elsewhere)


def changeable(dsn: str) -> set[str]:
    """Append-only tables that their owner was granted to change, or never denied to."""
    with psycopg.connect(dsn) as connection:
        found = connection.execute(
            "SELECT relname FROM pg_class, aclexplode(coalesce(relacl, acldefault('r', relowner)))"
            " WHERE privilege_type IN ('UPDATE', 'DELETE', 'TRUNCATE')"
            " AND oid IN (SELECT tgrelid FROM pg_trigger WHERE tgname = 'append_only')"
        )
        return {name for (name,) in found}


def test_read_models_that_never_ran(tmp_path: Path, database: str, elsewhere: str) -> None:
    """
    A backup of books that nobody projected restores to books that can be read, and to the whole of them.
    """
    with serving(database, project=False) as url, Caller(url) as caller:
        books(caller)
    daybook = Daybook(tmp_path, DATABASE_URL=database)
    daybook("backup", "monday")

    restored = daybook("restore", "monday", "--into", elsewhere)

    assert (restored.code, restored.out.endswith("; verified\n")) == (0, True), restored
    assert "1.00" in daybook("balance", "cash", "--book", "main", "--database-url", elsewhere).out


def test_a_read_model_that_cannot_be_brought_up(daybook: Daybook, database: str, elsewhere: str) -> None:
    """
    The log is there and verified nevertheless; the exit code says that this was not all.
    """
    with serving(database, project=False) as url, Caller(url) as caller:
        caller.account("later")
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("ALTER TABLE daybook_read.accounts ADD CHECK (code <> 'later')")
    daybook("backup", "monday")

    ran = daybook("restore", "monday", "--into", elsewhere)

    assert ran.code == 2, ran
    assert "restored and verified, and a read model cannot be brought up: " in ran.err
    assert "the event at 5" in ran.err
    assert head(elsewhere) == head(database)


def test_an_older_one(tmp_path: Path, empty_database: str, elsewhere: str) -> None:
    """
    A backup of an older Daybook is brought up to date when it is restored.
    """
    known = migrations.available()
    with mock.patch.object(migrations, "available", lambda: known[:-1]):
        migrations.migrate(empty_database)
    daybook = Daybook(tmp_path, DATABASE_URL=empty_database)

    daybook("backup", "old")
    restored = daybook("restore", "old", "--into", elsewhere)

    assert restored.code == 0, restored
    assert f"applied {known[-1].name}" in restored.err


@pytest.mark.parametrize("tamper", ["a bit", "cut", "no dump", "no manifest", "manifest", "manifest's hash"])
def test_a_backup_that_is_not_whole(daybook: Daybook, elsewhere: str, tamper: str) -> None:
    """
    A backup that was touched is refused before anything is restored.
    """
    daybook("backup", "monday")
    folder = daybook.folder / "monday"
    dump, said = folder / "database.dump", folder / "manifest.json"
    content = dump.read_bytes()
    match tamper:
        case "a bit":
            dump.write_bytes(content[:500] + bytes([content[500] ^ 1]) + content[501:])
        case "cut":
            dump.write_bytes(content[:-1])
        case "no dump":
            dump.unlink()
        case "no manifest":
            said.unlink()
        case "manifest":
            said.write_text(said.read_text()[:-4])
        case "manifest's hash":
            said.write_text(said.read_text().replace('"sha256": "', '"sha256": "0'))

    ran = daybook("restore", "monday", "--into", elsewhere)

    assert ran.code == 2
    assert "Traceback" not in ran.err
    assert "monday" in ran.err
    with psycopg.connect(elsewhere) as connection:
        assert connection.execute("SELECT 1 FROM pg_namespace WHERE nspname LIKE 'daybook%'").fetchone() is None


def test_a_manifest_that_promises_more(daybook: Daybook, elsewhere: str) -> None:
    """
    What is restored is held against the manifest's position and seal.
    """
    daybook("backup", "monday")
    said = daybook.folder / "monday" / "manifest.json"
    known = manifest(said.parent)["head"]
    said.write_text(said.read_text().replace(f'"head": {known}', f'"head": {known + 1}'))

    ran = daybook("restore", "monday", "--into", elsewhere)

    assert ran.code == 1
    assert f"the manifest promises position {known + 1}" in ran.err


def test_books_that_were_edited(daybook: Daybook, database: str, elsewhere: str) -> None:
    """
    A faithful backup of edited books does not verify, and restoring says so.
    """
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("ALTER TABLE daybook.postings DISABLE TRIGGER append_only")
        connection.execute("GRANT UPDATE ON daybook.postings TO CURRENT_USER")
        connection.execute("UPDATE daybook.postings SET amount = amount + 1")
    daybook("backup", "monday")

    ran = daybook("restore", "monday", "--into", elsewhere)

    assert ran.code == 1
    assert "does not verify" in ran.err


def test_nothing_is_written_over(daybook: Daybook, database: str) -> None:
    """
    Neither a backup that is there nor a database that holds anything of ours.
    """
    daybook("backup", "monday")
    before = head(database)

    again = daybook("backup", "monday")
    restored = daybook("restore", "monday", "--into", database)
    nowhere = daybook("restore", "monday")

    assert (again.code, "is there already" in again.err) == (2, True)
    assert (restored.code, "not empty" in restored.err) == (2, True)
    assert (nowhere.code, "--into" in nowhere.err) == (2, True)
    assert head(database) == before
    assert sorted(path.name for path in daybook.folder.iterdir()) == ["monday"]
