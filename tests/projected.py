"""Databases with something of everything in them: their read models made in all manners, and tampered with."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar
from uuid import UUID

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import dict_row

from adapters.postgres import applying
from adapters.postgres.log import PostgresLog
from adapters.postgres.projecting import catch_up
from adapters.postgres.store import PostgresEventStore
from domain.events import Recorded, recorded
from domain.ports import EventStore
from projections.projection import Projection, tracked_as
from replay.report import Report
from replay.verify import verify
from tests.conftest import Server, database_on
from tests.stored import write_everything
from tests.support import books_of

T = TypeVar("T")

Writing = Callable[[EventStore], Awaitable[object]]


@contextmanager
def database_with(server: Server, template: str, write: Writing) -> Iterator[str]:
    """The DSN of a database with something of everything and what that writes; its read models are empty."""

    async def write_both(dsn: str) -> None:
        await write_everything(PostgresEventStore(dsn))
        await write(PostgresEventStore(dsn))

    with database_on(server, template=template) as dsn:
        asyncio.run(write_both(dsn))
        yield dsn


def name_of(dsn: str) -> str:
    """The database's, to copy it by."""
    return str(conninfo_to_dict(dsn)["dbname"])


def keep(dsn: str, tables: Iterable[str]) -> None:
    """Bring the read models up to date, and keep these tables of theirs once more."""
    catch_up(dsn)
    with psycopg.connect(dsn) as connection:
        for table in tables:
            connection.execute(f"CREATE TABLE kept_{table} AS TABLE daybook_read.{table}".encode())


def restore(dsn: str, tables: Iterable[str]) -> None:
    """The tables as they were kept."""
    with psycopg.connect(dsn) as connection:
        for table in tables:
            connection.execute(f"TRUNCATE daybook_read.{table}".encode())
            connection.execute(f"INSERT INTO daybook_read.{table} TABLE kept_{table}".encode())


def rows(dsn: str, table: str, order: str = "position") -> list[dict[str, Any]]:
    with psycopg.connect(dsn, row_factory=dict_row) as connection:
        return connection.execute(f"SELECT * FROM daybook_read.{table} ORDER BY {order}".encode()).fetchall()


def folded(dsn: str, fold: Callable[[UUID, Sequence[Recorded]], T | None]) -> dict[UUID, T]:
    """Every aggregate of that kind, by the domain."""
    streams: dict[UUID, list[Recorded]] = {}
    for raw in books_of(dsn).events:
        streams.setdefault(raw.stream_id, []).append(recorded(raw))
    found = {stream: fold(stream, events) for stream, events in streams.items()}
    return {stream: known for stream, known in found.items() if known is not None}


def checked(dsn: str) -> Report:
    with PostgresLog(dsn) as log:
        return verify(log)


def tamper(dsn: str, *statements: str) -> None:
    """As somebody would who owns the database."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        for schema in ("daybook", "daybook_read"):
            connection.execute(f"GRANT ALL ON ALL TABLES IN SCHEMA {schema} TO CURRENT_USER".encode())
        for table in ("events", "postings", "seals"):
            connection.execute(f"ALTER TABLE daybook.{table} DISABLE TRIGGER append_only".encode())
        for statement in statements:
            assert connection.execute(statement.encode()).rowcount != 0, statement


def must_be_the_same_in_any_batches(
    dsn: str, projection: Projection, tables: Mapping[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One event at a time, a few at a time or all at once. `tables`: the projection's, and what each is ordered by."""
    found = []
    for batch in (1, 2, 3, 7, 100_000):
        monkeypatch.setattr(applying, "BATCH", batch)
        with psycopg.connect(dsn) as connection:
            _empty(connection, tables)
            name = tracked_as(projection)
            connection.execute("DELETE FROM daybook_read.tracking WHERE application_name = %s", (name,))
        catch_up(dsn)
        found.append([rows(dsn, table, order) for table, order in tables.items()])

    assert all(found[0])
    assert all(made == found[0] for made in found)


def must_hold_at_any_position(
    dsn: str, projection: Projection, tables: Sequence[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever the projection has got to, its tables are checked as of there."""
    head = checked(dsn).head
    monkeypatch.setattr(applying, "BATCH", 1)
    with psycopg.connect(dsn) as connection:
        _empty(connection, tables)
        name = tracked_as(projection)
        connection.execute("UPDATE daybook_read.tracking SET notification_id = 0 WHERE application_name = %s", (name,))
    applier = applying.Applier(dsn, projection)
    try:
        while applier.apply():
            if applier.position % 7 == 0 or applier.position == head:
                report = checked(dsn)
                assert report.findings == (), applier.position
                through = {check.name: check.through for check in report.checks}
                assert {through[table] for table in tables} == {applier.position}
    finally:
        while applier.apply():
            pass  # So that others find it as it was.
        applier.close()


def _empty(connection: "psycopg.Connection[Any]", tables: Iterable[str]) -> None:
    connection.execute(f"TRUNCATE {', '.join(f'daybook_read.{table}' for table in tables)}".encode())
