"""The read model of escrows: in whatever batches, it says of each what the domain says."""

from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest

from adapters.postgres.projecting import catch_up
from domain import escrow as escrow_rules
from projections import escrows
from tests.conftest import Server, database_on
from tests.escrowed import write_escrows
from tests.projected import database_with, folded, must_be_the_same_in_any_batches, name_of, rows


@pytest.fixture(scope="module")
def deals_template(server: Server, template: str) -> Iterator[str]:
    """The name of a database with escrows at every stage of their lives, its read models empty."""
    with database_with(server, template, write_escrows) as dsn:
        yield name_of(dsn)


@pytest.fixture
def deals(server: Server, deals_template: str) -> Iterator[str]:
    """The DSN of a copy of it."""
    with database_on(server, template=deals_template) as dsn:
        yield dsn


def test_it_says_what_the_domain_says(deals: str) -> None:
    """
    Statuses, amounts, parts, and who has said what are those of the aggregate, which decides.
    """
    catch_up(deals)

    known = folded(deals, escrow_rules.fold)
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
    tables = {"escrows": "position", "escrow_parts": "position, number"}
    must_be_the_same_in_any_batches(deals, escrows, tables, monkeypatch)
