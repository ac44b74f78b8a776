"""Escrows derived again on Postgres: what was tampered with is found, in any column."""

from collections.abc import Iterator

import psycopg
import pytest

from adapters.postgres.log import PostgresLog
from projections import escrows
from tests.conftest import Server
from tests.escrowed import write_escrows
from tests.projected import checked, database_with, keep, must_hold_at_any_position, restore, tamper

TABLES = ("escrows", "escrow_parts", "audit_trail")


@pytest.fixture(scope="module")
def deals_once(server: Server, template: str) -> Iterator[str]:
    """The DSN of a database with escrows at every stage, and its read models up to date; and kept once more."""
    with database_with(server, template, write_escrows) as dsn:
        keep(dsn, TABLES)
        yield dsn


@pytest.fixture
def deals(deals_once: str) -> Iterator[str]:
    """The same, with the tables as they were once more in the end."""
    yield deals_once
    restore(deals_once, TABLES)


def test_a_database_nobody_touched(deals: str) -> None:
    """
    With escrows at every stage everything is checked and holds.
    """
    report = checked(deals)

    assert report.findings == ()
    assert report.verdict == "verified"
    with PostgresLog(deals) as log:
        whole, parts = (len(list(log.read_model(table, ("changed",)))) for table in TABLES[:2])
    assert {check.name: check.checked for check in report.checks if check.name.startswith("escrow")} == {
        "escrows": whole,
        "escrow_parts": parts,
    }
    assert parts > whole > 10


def test_read_models_at_any_position(deals: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Wherever the projection has got to, its tables are checked as of there.
    """
    must_hold_at_any_position(deals, escrows, TABLES[:2], monkeypatch)


OF_ESCROWS = {
    "escrow_id": "gen_random_uuid()",
    "book_id": "gen_random_uuid()",
    "depositor_id": "gen_random_uuid()",
    "beneficiary_id": "gen_random_uuid()",
    "position": "position + 1000",
    "created_at": "created_at + interval '1 microsecond'",
    "status": "'x'",
    "amount": "amount + 1",
    "released": "released + 1",
    "returned": "returned + 1",
    "suspended": "suspended + 1",
    "currency": "'USD'",
    "expires_at": "expires_at + interval '1 microsecond'",
    "on_expiry": "'x'",
    "conditions": "'[]'",
    "met": """'{"x": "y"}'""",
    "return_terms": "'{}'",
    "returns": """'{"x": "y"}'""",
    "maker": "'nobody'",
    "description": "'x'",
    "reference": "'x'",
    "metadata": "'{}'",
    "version": "version + 1",
    "changed": "changed + 1000",
    "changed_at": "changed_at + interval '1 microsecond'",
}
OF_PARTS = {
    "escrow_id": "gen_random_uuid()",
    "number": "number + 10",
    "position": "position + 1000",
    "name": "'x'",
    "amount": "amount + 1",
    "released": "released + 1",
    "returned": "returned + 1",
    "conditions": "'[]'",
    "approvals": "approvals + 1",
    "approvers": "'[\"x\"]'",
    "approved": "'[\"x\"]'",
    "blocked": "'x'",
    "changed": "changed + 1000",
}
WHICH = {"the first": "changed", "the one that changed last": "changed DESC", "one that is over": "{over} DESC"}
TAMPERED = [
    *(("escrows", column, value) for column, value in OF_ESCROWS.items()),
    *(("escrow_parts", column, value) for column, value in OF_PARTS.items()),
]


def test_every_column_is_here(deals: str) -> None:
    """
    What follows leaves out no column.
    """
    with psycopg.connect(deals) as connection:
        for table, columns in (("escrows", OF_ESCROWS), ("escrow_parts", OF_PARTS)):
            cursor = connection.execute(f"SELECT * FROM daybook_read.{table}".encode())
            assert {column.name for column in cursor.description or []} == set(columns)


@pytest.mark.parametrize(("table", "column", "value"), TAMPERED)
@pytest.mark.parametrize("which", WHICH)
def test_tampering(deals: str, table: str, column: str, value: str, which: str) -> None:
    """
    Edited by SQL: the mismatch has its code, and nothing else is blamed.
    """
    over = "(status IN ('released', 'divided'))" if table == "escrows" else "(amount = released)"
    picked = WHICH[which].format(over=over)
    tamper(deals, f"UPDATE daybook_read.{table} SET {column} = {value}"
                  f" WHERE ctid = (SELECT ctid FROM daybook_read.{table} ORDER BY {picked} LIMIT 1)")  # fmt: skip

    report = checked(deals)

    assert set(report.counts) == {"escrows_differ"}
    assert {check.name for check in report.checks if check.problems} == {table}


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM daybook_read.escrows WHERE status = 'released'",
        "DELETE FROM daybook_read.escrows WHERE status = 'funded'",
        "DELETE FROM daybook_read.escrow_parts WHERE number = 2 AND released = amount",
        "DELETE FROM daybook_read.escrow_parts WHERE blocked IS NOT NULL",
        "INSERT INTO daybook_read.escrow_parts SELECT escrow_id, 3, position, 'more', 5, 0, 0, '[]', 0, '[]', '[]',"
        " NULL, changed FROM daybook_read.escrow_parts WHERE number = 2 LIMIT 1",
    ],
)
def test_rows_too_few_and_too_many(deals: str, statement: str) -> None:
    """
    Whether the escrow is over or not.
    """
    tamper(deals, statement)

    assert set(checked(deals).counts) == {"escrows_differ"}


def test_an_escrows_record(deals: str) -> None:
    """
    Each of an escrow's events is of the escrow's book.
    """
    with psycopg.connect(deals) as connection:
        rows = connection.execute(
            "SELECT count(*), count(DISTINCT book_id), count(book_id) FROM daybook_read.audit_trail"
            " WHERE event ^@ 'escrow.'"
        ).fetchone()
    assert rows is not None and rows[0] == rows[2] > 0 and rows[1] == 1

    tamper(deals, "UPDATE daybook_read.audit_trail SET book_id = NULL WHERE event = 'escrow.released.v1'")

    assert set(checked(deals).counts) == {"audit_trail_differs"}
