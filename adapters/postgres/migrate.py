"""Migrations: ordered SQL files, each applied once, in order, under a lock, in one db transaction each."""

from hashlib import sha256
from importlib.resources import files
from typing import Any, Final, NamedTuple

import psycopg
from psycopg import Connection
from psycopg.sql import SQL

from adapters.postgres import builds
from adapters.postgres.datastore import connect, first_line
from domain.errors import Unavailable
from projections.catalogue import ALL

OLDEST_SERVER: Final = 150000

_CHANGEABLE: Final = """
SELECT oid::regclass::text FROM pg_class
WHERE relnamespace = 'daybook'::regnamespace AND pg_get_userbyid(relowner) = current_user
  AND oid IN (SELECT tgrelid FROM pg_trigger WHERE tgname = 'append_only')
  AND EXISTS (SELECT FROM aclexplode(coalesce(relacl, acldefault('r', relowner)))
              WHERE grantee = relowner AND privilege_type IN ('UPDATE', 'DELETE', 'TRUNCATE'))
"""
"""Append-only tables that their owner may change nevertheless."""


class MigrationError(Exception):
    """The database cannot be brought to what this code needs."""


class Migration(NamedTuple):
    """`number` orders the files; `digest` is of the file's text, so that a changed file is noticed."""

    number: int
    name: str
    sql: str
    digest: bytes


def available() -> list[Migration]:
    """The migrations that come with this code, in order."""
    found = []
    for file in sorted(files("adapters.postgres").joinpath("migrations").iterdir(), key=lambda f: f.name):
        if file.name.endswith(".sql"):
            sql = file.read_text(encoding="utf-8")
            found.append(
                Migration(int(file.name[:4]), file.name.removesuffix(".sql"), sql, sha256(sql.encode()).digest())
            )
    assert [m.number for m in found] == list(range(1, len(found) + 1)), [m.name for m in found]
    return found


def migrate(dsn: str) -> list[str]:
    """Bring the database up to date, empty tables for new projections with it; safe from several processes at once.

    Returns:
        The names of the migrations applied now.

    Raises:
        Unavailable: Postgres cannot be reached.
        MigrationError: The server is too old, the database newer than this code, or a migration failed.
    """
    with connect(dsn, long=True) as connection:
        version = connection.info.server_version
        if version < OLDEST_SERVER:
            raise MigrationError(f"Postgres 15 or newer is needed, this server is {version // 10000}")
        try:
            with connection.transaction():
                connection.execute("SELECT pg_advisory_xact_lock(hashtextextended('daybook.migrations', 0))")
                done = _migrate(connection)
                if connection.execute("SELECT to_regclass('daybook_read.builds')").fetchone() != (None,):
                    builds.prepare(connection, ALL)
                _keep_append_only(connection)
                return done
        except psycopg.OperationalError as error:
            raise Unavailable(f"Postgres went away during a migration: {first_line(error)}") from error
        except psycopg.Error as error:
            raise MigrationError(f"this database cannot be migrated: {first_line(error)}") from error


def _keep_append_only(connection: Connection[Any]) -> None:
    """What the trigger refuses, the owner is refused by role as well.

    Each time, and not once: a dump that is restored elsewhere has lost what was denied.
    """
    for (table,) in connection.execute(_CHANGEABLE).fetchall():
        connection.execute(SQL("REVOKE UPDATE, DELETE, TRUNCATE ON {} FROM CURRENT_USER").format(SQL(table)))


def _migrate(connection: Connection[Any]) -> list[str]:
    connection.execute("CREATE SCHEMA IF NOT EXISTS daybook")
    connection.execute(
        "CREATE TABLE IF NOT EXISTS daybook.migrations"
        " (number integer PRIMARY KEY, name text NOT NULL, digest bytea NOT NULL,"
        " applied_at timestamptz NOT NULL DEFAULT now())"
    )
    applied: dict[int, bytes] = dict(connection.execute("SELECT number, digest FROM daybook.migrations").fetchall())
    migrations = available()
    if len(applied) > len(migrations):
        raise MigrationError(f"the database has migration {max(applied)}, this Daybook knows only {len(migrations)}")
    done = []
    for migration in migrations:
        if migration.number in applied:
            if applied[migration.number] != migration.digest:
                raise MigrationError(f"migration {migration.name} was changed after it had been applied")
            continue
        try:
            connection.execute(migration.sql.encode())
        except psycopg.OperationalError:
            raise
        except psycopg.Error as error:
            raise MigrationError(f"migration {migration.name} failed: {first_line(error)}") from error
        connection.execute(
            "INSERT INTO daybook.migrations (number, name, digest) VALUES (%s, %s, %s)",
            (migration.number, migration.name, migration.digest),
        )
        done.append(migration.name)
    return done
