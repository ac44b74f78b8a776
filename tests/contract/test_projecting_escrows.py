"""The read model of escrows: in whatever batches, it says of each what the domain says."""

import asyncio
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import dict_row

from adapters.postgres import applying
from adapters.postgres.projecting import catch_up
from adapters.postgres.store import PostgresEventStore
from domain import escrow as escrow_rules
from domain.escrow import Escrow
from domain.events import recorded
from projections import escrows
from projections.projection import tracked_as
from tests.conftest import Server, database_on
from tests.escrowed import write_escrows
from tests.stored import write_everything
from tests.support import books_of


@pytest.fixture(scope="module")
def deals_template(server: Server, template: str) -> Iterator[str]:
    """The name of a database with escrows at every stage of their lives, its read models empty."""

    async def write(dsn: str) -> None:
        await write_everything(PostgresEventStore(dsn))
        await write_escrows(PostgresEventStore(dsn))

    with database_on(server, template=template) as dsn:
        asyncio.run(write(dsn))
        yield str(conninfo_to_dict(dsn)["dbname"])


@pytest.fixture
def deals(server: Server, deals_template: str) -> Iterator[str]:
    """The DSN of a copy of it."""
    with database_on(server, template=deals_template) as dsn:
        yield dsn


def folded(dsn: str) -> dict[UUID, Escrow]:
    """Every escrow, by the domain."""
    streams: dict[UUID, list[Any]] = {}
    for raw in books_of(dsn).events:
        streams.setdefault(raw.stream_id, []).append(recorded(raw))
    found = {stream: escrow_rules.fold(stream, events) for stream, events in streams.items()}
    return {stream: escrow for stream, escrow in found.items() if escrow is not None}


def rows(dsn: str, table: str, order: str = "position") -> list[dict[str, Any]]:
    with psycopg.connect(dsn, row_factory=dict_row) as connection:
        return connection.execute(f"SELECT * FROM daybook_read.{table} ORDER BY {order}".encode()).fetchall()


def test_it_says_what_the_domain_says(deals: str) -> None:
    """
    Statuses, amounts, parts, and who has said what are those of the aggregate, which decides.
    """
    catch_up(deals)

    known = folded(deals)
    found = {row["escrow_id"]: row for row in rows(deals, "escrows")}
    parts: dict[UUID, list[Any]] = {}
    for row in rows(deals, "escrow_parts", "position, number"):
        parts.setdefault(row["escrow_id"], []).append(row)
    assert known.keys() == found.keys() == parts.keys()
    assert {one.status.value for one in known.values()} == {status.value for status in escrow_rules.Status}
    for name, escrow in known.items():
        row = found[name]
        named = ("status", "version", "released", "returned", "maker", "met")
        assert {field: row[field] for field in named} == {field: getattr(escrow, field) for field in named}
        agreed = {who: {"part": one.part, "amount": one.amount} for who, one in escrow.returns.items()}
        assert row["returns"] == agreed
        assert [
            (part["name"], part["amount"], part["released"], part["returned"], part["approved"], part["blocked"])
            for part in parts[name]
        ] == [
            (one.agreed.name, one.agreed.amount, one.released, one.returned, [*one.approved], one.blocked or None)
            for one in escrow.parts.values()
        ]


def test_what_no_account_could_take_is_told_apart(deals: str) -> None:
    """
    Of one whose beneficiary's account was closed at its end all is on suspense.
    """
    catch_up(deals)

    suspended = [row for row in rows(deals, "escrows") if row["suspended"]]

    assert [(row["status"], row["released"], row["suspended"]) for row in suspended] == [("expired", 100, 100)]


def test_any_batches_make_the_same_tables(deals: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    One event at a time, a few at a time or all at once: the tables come out the same.
    """
    found = []
    for batch in (1, 2, 3, 7, 100_000):
        monkeypatch.setattr(applying, "BATCH", batch)
        with psycopg.connect(deals) as connection:
            connection.execute("TRUNCATE daybook_read.escrows, daybook_read.escrow_parts")
            connection.execute("DELETE FROM daybook_read.tracking WHERE application_name = %s", (tracked_as(escrows),))
        catch_up(deals)
        found.append((rows(deals, "escrows"), rows(deals, "escrow_parts", "position, number")))

    assert found[0][0] and found[0][1]
    assert all(tables == found[0] for tables in found)
