"""Holds and limits that change, derived again on Postgres: what was tampered with is found."""

from collections.abc import Iterator

import pytest

from adapters.postgres.log import PostgresLog
from adapters.postgres.projecting import catch_up
from replay.point_in_time import moment, replay
from tests.conftest import Server, database_on
from tests.projected import checked, database_with, name_of, tamper
from tests.stored import write_holds


@pytest.fixture(scope="module")
def held_template(server: Server, template: str) -> Iterator[str]:
    """The name of a database with holds at every stage of their lives, and its read models up to date."""
    with database_with(server, template, write_holds) as dsn:
        catch_up(dsn)
        yield name_of(dsn)


@pytest.fixture
def held(server: Server, held_template: str) -> Iterator[str]:
    """The DSN of a copy of it."""
    with database_on(server, template=held_template) as dsn:
        yield dsn


def test_a_database_nobody_touched(held: str) -> None:
    """
    With holds at every stage and limits that change, everything is checked and holds.
    """
    report = checked(held)

    assert report.findings == ()
    assert report.verdict == "verified"
    assert {check.name: check.checked for check in report.checks if check.name in ("holds", "limits")} == {
        "holds": 6,
        "limits": 11,
    }


def test_totals_are_those_replayed(held: str) -> None:
    """
    What is pending too is the fold of the log, at every position and by the day it was recorded.
    """
    with PostgresLog(held) as log:
        now = moment(log)
        known = list(replay(log, now).accounts)
        assert now.recorded_at is not None
        today = now.recorded_at.date()

        for position in range(25, now.position + 1):
            assert log.totals(known, until=position) == replay(log, moment(log, position=position)).totals
        assert any(totals.pending_credits for totals in log.totals(known).values())
        before = log.totals(known, before=today)
        assert before == replay(log, moment(log, before=today)).totals
        assert not any(totals.pending_credits for totals in before.values())


_HELD = "WHERE status = 'held' AND version = 3"
_ENDED = "WHERE status = 'voided'"
_CAPTURED = "WHERE captures IS NOT NULL"

TAMPERED: dict[str, tuple[str, str]] = {
    **{
        f"a hold's {column}": (f"UPDATE daybook_read.holds SET {column} = {value} {_HELD}", "holds_differ")
        for column, value in {
            "book_id": "gen_random_uuid()",
            "account_id": "gen_random_uuid()",
            "destination_id": "gen_random_uuid()",
            "position": "position + 1",
            "recorded_at": "recorded_at + interval '1 microsecond'",
            "status": "'captured'",
            "amount": "amount + 1",
            "captured": "captured + 1",
            "remaining": "remaining + 1",
            "currency": "'USD'",
            "expires_at": "now()",
            "actor": "'nobody'",
            "description": "'x'",
            "reference": "'x'",
            "metadata": "'{}'",
            "version": "4",
            "changed": "changed + 1",
        }.items()
    },
    "an ended hold's amount": (f"UPDATE daybook_read.holds SET amount = amount + 1 {_ENDED}", "holds_differ"),
    "an ended hold's end": (f"UPDATE daybook_read.holds SET status = 'expired' {_ENDED}", "holds_differ"),
    "an ended hold's last change": (f"UPDATE daybook_read.holds SET changed = changed + 9 {_ENDED}", "holds_differ"),
    "an ended hold gone": (f"DELETE FROM daybook_read.holds {_ENDED}", "holds_differ"),
    "a hold gone": (f"DELETE FROM daybook_read.holds {_HELD}", "holds_differ"),
    **{
        f"limits' {column}": (
            f"UPDATE daybook_read.limits SET {column} = {value} WHERE version = 2 AND ceiling = 5000",
            "limits_differ",
        )
        for column, value in {
            "account_id": "gen_random_uuid()",
            "version": "9",
            "effective_at": "NULL",
            "overdraft_limit": "1",
            "floor": "0",
            "ceiling": "NULL",
            "position": "position + 1",
        }.items()
    },
    "limits gone": ("DELETE FROM daybook_read.limits WHERE version = 3", "limits_differ"),
    "a captured entry's hold": (f"UPDATE daybook_read.entries SET captures = NULL {_CAPTURED}", "entries_differ"),
    "a captured entry's recipe": (f"UPDATE daybook_read.entries SET recipe = '[]' {_CAPTURED}", "entries_differ"),
    "a balance's pending": (
        "UPDATE daybook_read.balances SET pending_credits = 0 WHERE pending_credits > 0",
        "balances_differ",
    ),
    "a pending posting": (
        "UPDATE daybook.postings SET pending = false WHERE pending AND amount = 10",
        "posting_differs",
    ),
    "what was taken back": (
        "UPDATE daybook.postings SET amount = amount - 1 WHERE pending AND amount = -50",
        "posting_differs",
    ),
    "what is pending after it": (
        "UPDATE daybook.postings SET pending_credits = pending_credits + 1 WHERE pending AND amount = -50",
        "posting_differs",
    ),
    "a hold's record": (
        "UPDATE daybook_read.audit_trail SET book_id = NULL WHERE event = 'hold.voided.v1'",
        "audit_trail_differs",
    ),
}


@pytest.mark.parametrize("what", TAMPERED)
def test_tampering(held: str, what: str) -> None:
    """
    Edited or deleted by SQL, in any column: the mismatch has its code, and nothing else is blamed.
    """
    statement, code = TAMPERED[what]
    tamper(held, statement)

    report = checked(held)

    assert set(report.counts) == {code}
    assert report.verdict == "mismatch"
