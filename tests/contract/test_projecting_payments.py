"""The read model of payments: in whatever batches, it says of each what the domain says, and what Daybook has to do."""

import asyncio
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import psycopg
import pytest

from adapters.postgres.projecting import catch_up
from adapters.postgres.reads import PostgresReads
from domain import payment as payment_rules
from domain.payment import UNBEGUN
from projections import payments
from projections.projection import tracked_as
from tests.conftest import Server, database_on
from tests.paid import write_payments
from tests.projected import database_with, folded, must_be_the_same_in_any_batches, name_of, rows


@pytest.fixture(scope="module")
def paid_template(server: Server, template: str) -> Iterator[str]:
    """The name of a database with payments at every stage of their lives, its read models empty."""
    with database_with(server, template, write_payments) as dsn:
        yield name_of(dsn)


@pytest.fixture
def paid(server: Server, paid_template: str) -> Iterator[str]:
    """The DSN of a copy of it."""
    with database_on(server, template=paid_template) as dsn:
        yield dsn


def test_it_says_what_the_domain_says(paid: str) -> None:
    """
    Statuses, amounts, requests and their outcomes are those of the aggregate, which decides.
    """
    catch_up(paid)

    known = folded(paid, payment_rules.fold)
    found = {row["payment_id"]: row for row in rows(paid, "payments")}
    asked: dict[UUID, list[Any]] = {}
    for row in rows(paid, "payment_requests"):
        asked.setdefault(row["payment_id"], []).append(row)
    assert known.keys() == found.keys()
    for name, payment in known.items():
        row = found[name]
        named = ("status", "version", "authorized", "captured", "refunded", "reversed", "returned", "disputed", "maker")
        assert {field: row[field] for field in named} == {field: getattr(payment, field) for field in named}
        assert row["approved"] == len(payment.approvers)
        wanted = [
            (
                *(one.id, one.operation, one.rail, one.route, one.amount, one.state, one.upon or None, one.final),
                *(one.reason or None, one.reference or None, one.declined or None, one.retry or None),
                *(one.contradicted, one.hold_id, one.entry_id, one.requested_at, one.settlement_id, one.settled_on),
                *(one.returned, one.fee, one.dispute_id),
            )
            for one in payment.requests.values()
        ]
        columns = (
            *("request_id", "operation", "rail", "route", "amount", "state", "upon", "final", "reason", "reference"),
            *("declined", "retry", "contradicted", "hold_id", "entry_id", "requested_at", "settlement_id"),
            *("settled_on", "returned", "fee", "dispute_id"),
        )
        assert [tuple(row[column] for column in columns) for row in asked.get(name, [])] == wanted
    disputes = {dispute.id: (name, dispute) for name, one in known.items() for dispute in one.disputes.values()}
    assert {row["dispute_id"]: (row["payment_id"], row["state"], row["amount"], row["respond_by"])
            for row in rows(paid, "disputes")} == {
        dispute.id: (name, dispute.state, dispute.amount, dispute.respond_by) for name, dispute in disputes.values()
    }  # fmt: skip
    assert {dispute.state.value for _, dispute in disputes.values()} == {
        *("needs_response", "under_review", "won", "lost", "accepted")
    }


def test_any_batches_make_the_same_tables(paid: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    One event at a time, a few at a time or all at once: the tables come out the same.
    """
    tables = dict.fromkeys(("payments", "payment_requests", "disputes"), "position")
    must_be_the_same_in_any_batches(paid, payments, tables, monkeypatch)


def test_nobody_s_account_number_is_there(paid: str) -> None:
    """
    Methods are shown by what people know them by: the numbers of accounts are not in the read model.
    """
    catch_up(paid)

    text = str(rows(paid, "payments"))
    assert "123456789" not in text and "DE8937" not in text
    assert "'last4': '6789'" in text and "'last4': '3000'" in text and "'last4': '4242'" in text


def due(dsn: str, limit: int = 1_000, after: int = 0) -> list[dict[str, Any]]:
    async def ask() -> list[dict[str, Any]]:
        async with PostgresReads(dsn) as reads:
            wanted = {"projections": [tracked_as(payments)], "limit": limit, "after": after}
            return await reads.fetch("payments_due", wanted)

    return [row for row in asyncio.run(ask()) if row["kind"] is not None]


def test_what_is_due(paid: str) -> None:
    """
    All that Daybook may have to go on with by itself, and nothing else; page by page nothing is left out.
    """
    catch_up(paid)
    known = folded(paid, payment_rules.fold)
    waiting = {one.id for one in known.values() if one.status == "processing" and not one.open}
    open_now = {(one.id, request.id, request.state.value) for one in known.values() for request in one.open}

    found = due(paid)

    assert {row["payment_id"] for row in found if row["kind"] == "attempt"} == waiting
    assert {(r["payment_id"], r["request_id"], r["state"]) for r in found if r["kind"] == "request"} == open_now
    assert len(waiting) >= 1 and {state for _, _, state in open_now} == {"requested", "unknown", "accepted"}
    assert [row for row in found if row["kind"] == "expire"] == []
    assert all(row["age_s"] >= 0 for row in found)
    [expiring] = [one.id for one in known.values() if one.status == "requires_confirmation"]
    with psycopg.connect(paid) as connection:
        connection.execute(
            "UPDATE daybook_read.payments SET expires_at = now() - interval '1 minute' WHERE payment_id = %s"
            " OR status IN ('succeeded', 'canceled')",
            (expiring,),
        )
    [expired] = [row for row in due(paid) if row["kind"] == "expire"]
    assert expired["payment_id"] == expiring and expired["age_s"] == pytest.approx(60, abs=30)
    left = {one.id for one in known.values() if one.status in UNBEGUN} - {expiring}
    with psycopg.connect(paid) as connection:
        connection.execute("UPDATE daybook_read.payments SET lapses_at = now() - interval '1 minute'")
        connection.execute("UPDATE daybook_read.payments SET expires_at = NULL, lapses_at = NULL WHERE payment_id = %s",
                           (expiring,))  # fmt: skip
    assert {row["payment_id"] for row in due(paid) if row["kind"] == "expire"} == left
    paged, after = [], 0
    while page := due(paid, limit=2, after=after):
        paged += page
        after = page[-1]["position"]
    assert [(row["kind"], row["position"]) for row in paged] == [(row["kind"], row["position"]) for row in due(paid)]
