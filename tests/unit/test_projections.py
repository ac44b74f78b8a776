"""Projectors are pure; their SQL is in files of one form."""

from datetime import UTC, date, datetime
from uuid import UUID

import pytest

from domain.account import Type
from domain.events import (
    EVENTS,
    AccountFrozen,
    AccountOpened,
    BookOpened,
    CommandRefused,
    EntryPosted,
    EntryReversed,
    Event,
    Metadata,
    Recorded,
)
from domain.posting import Posting, Side
from projections import accounts, audit_trail, journal
from projections.catalogue import ALL
from projections.projection import Change, Projection, parse, statements, tracked_as

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
STREAM, BOOK, CASH, SALES = UUID(int=1), UUID(int=2), UUID(int=3), UUID(int=4)
SALE = EntryPosted(
    book_id=BOOK,
    value_date=date(2026, 1, 30),
    postings=(Posting(CASH, Side.DEBIT, 500, "EUR"), Posting(SALES, Side.CREDIT, 500, "EUR")),
    description="A sale",
)


def changes(projection: Projection, event: Event, metadata: Metadata = Metadata(actor="alice")) -> list[Change]:  # noqa: B008
    return list(projection.project(Recorded(7, STREAM, 1, NOW, event, metadata)))


def test_each_posting_adds_to_its_account() -> None:
    """
    An account's totals grow by its own postings, on the posting's side.
    """
    found = changes(accounts, SALE)

    assert found == [
        Change("add_postings", {"account_id": CASH, "debit": 500, "credit": 0, "position": 7}),
        Change("add_postings", {"account_id": SALES, "debit": 0, "credit": 500, "position": 7}),
    ]


def test_a_freeze_says_what_the_account_is_now() -> None:
    """
    A change of status carries the account's version and the position, so that the last one can win.
    """
    found = changes(accounts, AccountFrozen(reason="asked to"))

    assert found == [
        Change("set_statuses", {"account_id": STREAM, "status": "frozen", "version": 1, "position": 7}),
    ]


def test_an_entry_is_kept_whole() -> None:
    """
    The journal keeps an entry's postings in their order, and no empty text.
    """
    [change] = changes(journal, SALE)

    assert change.name == "post_entries"
    assert change.row["postings"] == SALE.postings
    assert (change.row["description"], change.row["reference"]) == ("A sale", None)


def test_a_reversed_entry_names_its_mirror() -> None:
    """
    The mirror names what it reverses when posted; this event closes the circle.
    """
    found = changes(journal, EntryReversed(book_id=BOOK, reversed_by=SALES))

    assert found == [Change("link_reversals", {"entry_id": STREAM, "reversed_by": SALES})]


def test_a_refusal_is_on_record() -> None:
    """
    A refused command is in the audit trail with its code, its details and what it was asked upon.
    """
    refused = CommandRefused(command="post_entry", scope=BOOK, code="entry_unbalanced", details={"debits": 1})

    [change] = changes(audit_trail, refused, Metadata(actor="mallory", idempotency_key="k1"))

    row = change.row
    assert (row["refusal"], row["details"], row["scope"]) == ("entry_unbalanced", {"debits": 1}, BOOK)
    assert (row["actor"], row["idempotency_key"], row["request_id"]) == ("mallory", "k1", None)


@pytest.mark.parametrize("name", EVENTS)
def test_every_event_is_on_record(name: str) -> None:
    """
    There is no event that the audit trail leaves out.
    """
    samples: dict[str, Event] = {
        "book.opened.v1": BookOpened(code="main"),
        "account.opened.v1": AccountOpened(
            book_id=BOOK, code="a", type=Type.ASSET, currency="EUR", overdraft_limit=0, opened_on=NOW.date()
        ),
        "journal_entry.posted.v1": SALE,
        "journal_entry.reversed.v1": EntryReversed(book_id=BOOK, reversed_by=SALES),
        "command.refused.v1": CommandRefused(command="close_account", scope=CASH, code="account_closed"),
    }

    [change] = changes(audit_trail, samples.get(name) or EVENTS[name]())

    assert (change.name, change.row["event"]) == ("add_records", name)


@pytest.mark.parametrize("projection", ALL, ids=lambda projection: projection.NAME)
def test_every_change_has_its_sql(projection: Projection) -> None:
    """
    A projection's file holds a statement for each of its changes, and no other.
    """
    found = statements(projection.NAME)

    assert list(found) == list(projection.CHANGES)
    assert all("%(rows)s" in statement for statement in found.values())


def test_projections_do_not_share_a_name() -> None:
    """
    Progress is kept by name and version.
    """
    names = [tracked_as(projection) for projection in ALL]

    assert names == ["accounts.v1", "journal.v1", "audit_trail.v1"]


def test_statements_are_read_by_name() -> None:
    """
    A name line, a comment that says why, one statement; comments within a statement are dropped.
    """
    found = parse("-- one --\n-- Why.\nSELECT 1;\n\n-- two --\n-- Why.\n-- And more.\nSELECT\n-- inside\n 2;\n")

    assert found == {"one": "SELECT 1", "two": "SELECT\n 2"}


@pytest.mark.parametrize(
    "bad",
    [
        "SELECT 1;",
        "-- one --\nSELECT 1;",
        "-- one --\n-- Why.\nSELECT 1",
        "-- one --\n-- Why.\nSELECT 1; SELECT 2;",
        "-- one --\n-- Why.\n",
        "-- one --\n-- Why.\nSELECT 1;\n-- one --\n-- Why.\nSELECT 2;",
    ],
)
def test_a_malformed_file_is_refused(bad: str) -> None:
    """
    A slip in a file of statements is found when it is read, not when a statement is missed.
    """
    with pytest.raises(ValueError):
        parse(bad)
