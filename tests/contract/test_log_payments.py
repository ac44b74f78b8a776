"""Payments derived again on Postgres: what was tampered with is found, in any column."""

from collections.abc import Iterator

import psycopg
import pytest

from adapters.postgres.log import PostgresLog
from projections import payments
from tests.conftest import Server
from tests.paid import write_payments
from tests.projected import checked, database_with, keep, must_hold_at_any_position, restore, tamper

TABLES = ("payments", "payment_requests", "disputes", "settlements", "audit_trail")


@pytest.fixture(scope="module")
def paid_once(server: Server, template: str) -> Iterator[str]:
    """The DSN of a database with payments at every stage, and its read models up to date; and kept once more."""
    with database_with(server, template, write_payments) as dsn:
        keep(dsn, TABLES)
        yield dsn


@pytest.fixture
def paid(paid_once: str) -> Iterator[str]:
    """The same, with the tables as they were once more in the end."""
    yield paid_once
    restore(paid_once, TABLES)


def test_a_database_nobody_touched(paid: str) -> None:
    """
    With payments at every stage everything is checked and holds.
    """
    report = checked(paid)

    assert report.findings == ()
    assert report.verdict == "verified"
    with PostgresLog(paid) as log:
        stored = {table: len(list(log.read_model(table, ("position",)))) for table in TABLES}
    assert {check.name: check.checked for check in report.checks if check.name in TABLES} == stored
    assert all(stored.values())


def test_read_models_at_any_position(paid: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Wherever the projection has got to, its tables are checked as of there.
    """
    must_hold_at_any_position(paid, payments, TABLES[:3], monkeypatch)


OF_PAYMENTS = {
    "payment_id": "gen_random_uuid()",
    "book_id": "gen_random_uuid()",
    "account_id": "gen_random_uuid()",
    "position": "position + 1000",
    "created_at": "created_at + interval '1 microsecond'",
    "status": "'expired'",
    "direction": "'sideways'",
    "amount": "amount + 1",
    "currency": "'USD'",
    "authorized": "authorized + 1",
    "captured": "captured + 1",
    "refunded": "refunded + 1",
    "reversed": "reversed + 1",
    "returned": "returned + 1",
    "disputed": "disputed + 1",
    "capture": "'never'",
    "approvals": "approvals + 1",
    "approvers": """'["x"]'""",
    "approved": "approved + 1",
    "validation": """'{"passed": true}'""",
    "contradicted": "NOT contradicted",
    "rail": "'x'",
    "route": "'x'",
    "method": """'{"type": "x"}'""",
    "action": """'{"type": "x"}'""",
    "declined": "'x'",
    "expires_at": "now()",
    "lapses_at": "now()",
    "maker": "'nobody'",
    "description": "'x'",
    "reference": "'x'",
    "descriptor": "'x'",
    "metadata": "'{}'",
    "version": "version + 1",
    "changed": "changed + 1000",
    "changed_at": "changed_at + interval '1 microsecond'",
}
OF_REQUESTS = {
    "payment_id": "gen_random_uuid()",
    "book_id": "gen_random_uuid()",
    "account_id": "gen_random_uuid()",
    "request_id": "'x'",
    "position": "position + 1000",
    "operation": "'x'",
    "rail": "'x'",
    "route": "'x'",
    "amount": "amount + 1",
    "state": "'x'",
    "upon": "'x'",
    "final": "NOT final",
    "reason": "'x'",
    "reference": "'x'",
    "code": "'x'",
    "declined": "'x'",
    "retry": "'x'",
    "settles_on": "'x'",
    "hold_id": "gen_random_uuid()",
    "entry_id": "gen_random_uuid()",
    "contradicted": "NOT contradicted",
    "settlement_id": "gen_random_uuid()",
    "settled_on": "date '2026-02-03'",
    "returned": "returned + 1",
    "fee": "fee - 1",
    "dispute_id": "gen_random_uuid()",
    "decision": "'{}'",
    "requested_at": "requested_at + interval '1 microsecond'",
    "answered_at": "now()",
    "changed": "changed + 1000",
}
OF_DISPUTES = {
    "payment_id": "gen_random_uuid()",
    "dispute_id": "gen_random_uuid()",
    "request_id": "'x'",
    "settlement_id": "gen_random_uuid()",
    "position": "position + 1000",
    "amount": "amount + 1",
    "fee": "fee + 1",
    "state": "'x'",
    "reference": "'x'",
    "code": "'x'",
    "reason": "'x'",
    "message": "'x'",
    "respond_by": "now()",
    "entry_id": "gen_random_uuid()",
    "closing_entry_id": "gen_random_uuid()",
    "disputed_at": "disputed_at + interval '1 microsecond'",
    "changed": "changed + 1000",
    "changed_at": "changed_at + interval '1 microsecond'",
}
OF_SETTLEMENTS = {
    "settlement_id": "gen_random_uuid()",
    "book_id": "gen_random_uuid()",
    "position": "position + 1000",
    "recorded_at": "recorded_at + interval '1 microsecond'",
    "rail": "'x'",
    "route": "'x'",
    "day": "day + 1",
    "part": "part + 1",
    "currency": "'USD'",
    "reference": "'x'",
    "lines": """'{"settled": 1000}'""",
    "incoming": "incoming + 1",
    "outgoing": "outgoing + 1",
    "fees": "fees + 1",
    "net": "net + 1",
    "breaks": """'[{"why": "x"}]'""",
    "broken": "broken + 1",
    "entry_id": "gen_random_uuid()",
    "actor": "'x'",
}
WHICH = {
    "the first": "ORDER BY position LIMIT 1",
    "one that went on after it was over": "ORDER BY {refunded} LIMIT 1",
    "one that is not over": "WHERE {unfinished} LIMIT 1",
}
TAMPERED = [
    *(("payments", column, value) for column, value in OF_PAYMENTS.items()),
    *(("payment_requests", column, value) for column, value in OF_REQUESTS.items()),
]


def test_every_column_is_here(paid: str) -> None:
    """
    What follows leaves out no column.
    """
    with psycopg.connect(paid) as connection:
        tables = (OF_PAYMENTS, OF_REQUESTS, OF_DISPUTES, OF_SETTLEMENTS)
        for table, columns in zip(TABLES, tables, strict=False):
            cursor = connection.execute(f"SELECT * FROM daybook_read.{table}".encode())
            assert {column.name for column in cursor.description or []} == set(columns)


@pytest.mark.parametrize(("table", "column", "value"), TAMPERED)
@pytest.mark.parametrize("which", WHICH)
def test_tampering(paid: str, table: str, column: str, value: str, which: str) -> None:
    """
    Edited by SQL: the mismatch has its code, and nothing else is blamed.
    """
    of_payment = table == "payments"
    picked = WHICH[which].format(
        refunded="refunded DESC" if of_payment else "(operation = 'refund') DESC",
        unfinished="status = 'processing'" if of_payment else "state IN ('requested', 'unknown')",
    )
    tamper(paid, f"UPDATE daybook_read.{table} SET {column} = {value}"
                 f" WHERE ctid = (SELECT ctid FROM daybook_read.{table} {picked})")  # fmt: skip

    report = checked(paid)

    assert set(report.counts) == {"payments_differ"}
    assert {check.name for check in report.checks if check.problems} == {table}


@pytest.mark.parametrize("of", ["disputes", "settlements"])
@pytest.mark.parametrize("which", ["ORDER BY position LIMIT 1", "ORDER BY position DESC LIMIT 1"])
def test_tampering_with_what_came_after(paid: str, of: str, which: str) -> None:
    """
    Disputes and settlements have codes of their own; any column of them, or one too few, is found.
    """
    for column, value in (OF_DISPUTES if of == "disputes" else OF_SETTLEMENTS).items():
        restore(paid, [of])
        tamper(paid, f"UPDATE daybook_read.{of} SET {column} = {value}"
                     f" WHERE ctid = (SELECT ctid FROM daybook_read.{of} {which})")  # fmt: skip

        report = checked(paid)

        assert set(report.counts) == {f"{of}_differ"}, column
        assert {check.name for check in report.checks if check.problems} == {of}
    tamper(paid, f"DELETE FROM daybook_read.{of}")
    assert set(checked(paid).counts) == {f"{of}_differ"}


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM daybook_read.payments WHERE status = 'succeeded'",
        "DELETE FROM daybook_read.payments WHERE refunded > 0",
        "DELETE FROM daybook_read.payments WHERE status = 'processing'",
        "DELETE FROM daybook_read.payment_requests WHERE operation = 'refund'",
        "DELETE FROM daybook_read.payment_requests WHERE state = 'requested'",
    ],
)
def test_rows_that_are_gone(paid: str, statement: str) -> None:
    """
    A row too few is missed, whether its payment is over or not.
    """
    tamper(paid, statement)

    assert set(checked(paid).counts) == {"payments_differ"}


@pytest.mark.parametrize("state", ["requested", "done"])
def test_a_row_too_many(paid: str, state: str) -> None:
    """
    Something that no rail was ever asked for is found.
    """
    tamper(
        paid,
        "INSERT INTO daybook_read.payment_requests (payment_id, book_id, account_id, request_id, position, operation,"
        " amount, state, final, contradicted, returned, fee, requested_at, changed)"
        " VALUES (gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), 'x', 7, 'refund',"
        f" 5, '{state}', true, false, 0, 0, now(), 7)",
    )

    assert set(checked(paid).counts) == {"payments_differ"}


def test_a_payments_record(paid: str) -> None:
    """
    Each of a payment's events is of the payment's book.
    """
    with psycopg.connect(paid) as connection:
        rows = connection.execute(
            "SELECT count(*), count(DISTINCT book_id), count(book_id) FROM daybook_read.audit_trail"
            " WHERE event ^@ 'payment.'"
        ).fetchone()
    assert rows is not None and rows[0] == rows[2] > 0 and rows[1] == 1

    tamper(paid, "UPDATE daybook_read.audit_trail SET book_id = NULL WHERE event = 'payment.operation_done.v1'")

    assert set(checked(paid).counts) == {"audit_trail_differs"}
