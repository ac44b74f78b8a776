"""Migrations: each applied once, whoever else starts at the same time, and nothing guessed about a database unknown."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from adapters.postgres import migrate as module
from adapters.postgres.migrate import Migration, MigrationError, available, migrate
from domain.errors import Unavailable
from tests.conftest import Server
from tests.contract.test_append_only import new_role

TOP = Path(__file__).parents[2]
NAMES = [migration.name for migration in available()]

ANOTHER = """
import sys
from adapters.postgres.migrate import migrate
sys.stdin.readline()
print(*migrate(sys.argv[1]))
"""


def applied(dsn: str) -> list[str]:
    with psycopg.connect(dsn) as connection:
        return [row[0] for row in connection.execute("SELECT name FROM daybook.migrations ORDER BY number")]


def schemas(dsn: str) -> set[str]:
    with psycopg.connect(dsn) as connection:
        return {row[0] for row in connection.execute("SELECT nspname FROM pg_namespace WHERE nspname ~ '^daybook'")}


def test_a_database_is_brought_up_to_date_once(empty_database: str) -> None:
    """
    The first run applies all in order and says so, the second nothing.
    """
    assert migrate(empty_database) == NAMES
    assert migrate(empty_database) == []
    assert applied(empty_database) == NAMES


def test_several_processes_may_start_at_once(empty_database: str) -> None:
    """
    Four at the same moment: one does the work, the others wait for it and find it done.
    """
    command = [sys.executable, "-c", ANOTHER, empty_database]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    processes = [subprocess.Popen(command, cwd=TOP, **pipes) for _ in range(4)]  # type: ignore[call-overload]

    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    said = [process.communicate(timeout=60)[0].split() for process in processes]

    assert [process.returncode for process in processes] == [0] * 4
    assert sorted(said) == [[], [], [], NAMES]
    assert applied(empty_database) == NAMES


def test_only_what_is_missing_is_applied(empty_database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    An older database gets the newer migrations alone.
    """
    monkeypatch.setattr(module, "available", lambda: available()[:1])
    migrate(empty_database)
    monkeypatch.undo()

    assert migrate(empty_database) == NAMES[1:]


def test_a_file_that_was_changed_is_refused(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    What a database was made with must still be what the code says, or nobody knows what it is.
    """
    changed = [available()[0]._replace(digest=bytes(32)), *available()[1:]]
    monkeypatch.setattr(module, "available", lambda: changed)

    with pytest.raises(MigrationError, match=f"{NAMES[0]} was changed"):
        migrate(database)


def test_a_newer_database_is_refused(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    An older Daybook does not touch what a newer one has made.
    """
    older = available()[:-1]
    monkeypatch.setattr(module, "available", lambda: older)

    with pytest.raises(MigrationError, match=f"has migration {len(NAMES)}, this Daybook knows only {len(older)}"):
        migrate(database)


@pytest.mark.parametrize("sql", ["CREATE TABLE daybook.events ()", "SELECT 1/0", "DO $$ BEGIN RAISE 'no'; END $$"])
def test_a_migration_that_fails_leaves_nothing(empty_database: str, monkeypatch: pytest.MonkeyPatch, sql: str) -> None:
    """
    Not even the ones before it, so that the next attempt begins where this one did.
    """
    broken = [*available(), Migration(len(NAMES) + 1, "9999_broken", sql, bytes(32))]
    monkeypatch.setattr(module, "available", lambda: broken)

    with pytest.raises(MigrationError, match="9999_broken failed"):
        migrate(empty_database)

    assert schemas(empty_database) == set()
    monkeypatch.undo()
    assert migrate(empty_database) == NAMES


def test_an_old_server_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    The message says which server this is and which is needed.
    """

    @contextmanager
    def old(dsn: str, *, long: bool) -> Iterator[SimpleNamespace]:
        yield SimpleNamespace(info=SimpleNamespace(server_version=140019))

    monkeypatch.setattr(module, "connect", old)

    with pytest.raises(MigrationError, match="Postgres 15 or newer is needed, this server is 14"):
        migrate("")


def test_no_server_is_said_as_such() -> None:
    """
    An address where nobody listens is no failed migration.
    """
    with pytest.raises(Unavailable, match="cannot connect"):
        migrate("postgresql://127.0.0.1:1/daybook")


def test_a_role_without_rights_is_told_so(server: Server, empty_database: str) -> None:
    """
    Who may not create anything gets the reason, not a stack of the driver's.
    """
    database = conninfo_to_dict(empty_database)["dbname"]

    with new_role(server) as role, pytest.raises(MigrationError, match="permission denied"):
        migrate(make_conninfo(role, dbname=database))
