"""`daybook replay --into` and `daybook digest`: what is shown is the fold of the log, row for row."""

import asyncio
import json
from pathlib import Path
from typing import Any

import psycopg
import pytest

from adapters.postgres.projecting import catch_up
from adapters.postgres.store import PostgresEventStore
from tests.conftest import Server, database_on
from tests.e2e.test_cli import Daybook, Ran
from tests.escrowed import write_escrows
from tests.paid import write_payments
from tests.serving import head
from tests.stored import write_everything


@pytest.fixture
def daybook(tmp_path: Path, database: str) -> Daybook:
    """Of a log with something of everything, payments and escrows too, and read models up to its end."""
    asyncio.run(write_everything(PostgresEventStore(database)))
    asyncio.run(write_payments(PostgresEventStore(database)))
    asyncio.run(write_escrows(PostgresEventStore(database)))
    catch_up(database)
    return Daybook(tmp_path, DATABASE_URL=database)


def execute(dsn: str, statement: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(statement.encode())


def shown(ran: Ran) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(ran.out)
    return found


def test_replay_equals_live(daybook: Daybook, database: str) -> None:
    """
    Every read model, built anew in a schema of its own, has the digest of the live one, which stays as it is.
    """
    before = daybook("digest", "--json")

    ran = daybook("replay", "--into", "Anew", "--json")

    models = shown(ran)
    assert ran.code == 0
    assert {model["live"]["read_model"] for model in models} >= {
        *("books", "accounts", "balances", "entries", "payments", "payment_requests", "escrows", "escrow_parts")
    }
    assert all(model["equal"] and model["live"] == model["replayed"] for model in models)
    assert {model["live"]["position"] for model in models} == {head(database)}
    assert sum(model["replayed"]["rows"] for model in models) > 20
    assert shown(before) == [model["live"] for model in models] == shown(daybook("digest", "--json"))
    assert shown(daybook("digest", "--json", "--schema", "Anew")) == shown(before)


@pytest.mark.parametrize(
    ("statement", "model"),
    [
        ("UPDATE daybook_read.balances SET debits = debits + 1 WHERE debits > 0", "balances"),
        ("UPDATE daybook_read.accounts SET metadata = '{\"branch\": \"south\"}' WHERE code = 'cash'", "accounts"),
        ("DELETE FROM daybook_read.entries WHERE reference = 's-1'", "entries"),
        ("UPDATE daybook_read.audit_trail SET actor = 'nobody' WHERE position = 3", "audit_trail"),
    ],
    ids=["a number", "json", "a row", "a text"],
)
def test_a_read_model_that_differs(daybook: Daybook, database: str, statement: str, model: str) -> None:
    """
    A live read model that somebody has edited is told, and it alone.
    """
    execute(database, statement)

    ran = daybook("replay", "--into", "anew", "--json")

    assert ran.code == 1
    assert [one["live"]["read_model"] for one in shown(ran) if not one["equal"]] == [model]


def test_read_models_that_lag(daybook: Daybook, database: str) -> None:
    """
    Live ones that are behind the log are compared as of where they are.
    """
    positions = {model["position"] for model in shown(daybook("digest", "--json"))}
    asyncio.run(write_everything(PostgresEventStore(database)))

    ran = daybook("replay", "--into", "anew", "--json")

    assert ran.code == 0
    assert {one["replayed"]["position"] for one in shown(ran)} == positions
    assert max(positions) < head(database)


def test_a_schema_that_is_not_empty(daybook: Daybook, database: str) -> None:
    """
    Nothing is written over, the live schema least of all.
    """
    before = daybook("digest", "--json")
    execute(database, "CREATE SCHEMA mine; CREATE TABLE mine.things (id int)")

    for schema in ("daybook_read", "mine"):
        ran = daybook("replay", "--into", schema)
        assert (ran.code, "not empty" in ran.err) == (2, True)

    assert daybook("digest", "--json") == before


def test_another_database(daybook: Daybook, server: Server) -> None:
    """
    The log is copied to an empty database and replayed there: the digests are the same.
    """
    with database_on(server) as elsewhere:
        ran = daybook("replay", "--into", "anew", "--target-url", elsewhere, "--json")

        assert ran.code == 0, ran
        assert all(one["equal"] for one in shown(ran))
        assert head(elsewhere) > 20


def test_for_people(daybook: Daybook) -> None:
    """
    The table says what was compared and how it came out.
    """
    ran = daybook("replay", "--into", "anew")

    assert ran.code == 0
    assert "audit_trail" in ran.out
    assert "equal" in ran.out and "DIFFERS" not in ran.out
