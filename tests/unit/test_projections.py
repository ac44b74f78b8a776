"""Projectors are pure; their SQL is in files of one form."""

import json
from datetime import UTC, date, datetime
from pathlib import Path
from uuid import UUID

import pytest

from domain.account import Type
from domain.events import (
    EVENTS,
    AccountFrozen,
    AccountLimitsChanged,
    AccountOpened,
    BatchPosted,
    BookOpened,
    BookPaymentPolicySet,
    CommandRefused,
    EntryPosted,
    EntryReversed,
    Event,
    HoldCaptured,
    HoldExpired,
    HoldIncreased,
    HoldPlaced,
    HoldVoided,
    Metadata,
    Recorded,
    decode,
)
from domain.policy import Policy
from domain.posting import Posting, Side
from projections import accounts, audit_trail, holds, journal
from projections.catalogue import ALL
from projections.projection import Change, Projection, parse, statements, tracked_as

VECTORS = Path(__file__).parents[1] / "vectors" / "events"
NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
STREAM, BOOK, CASH, SALES = UUID(int=1), UUID(int=2), UUID(int=3), UUID(int=4)
PAIR = (Posting(CASH, Side.CREDIT, 500, "EUR"), Posting(SALES, Side.DEBIT, 500, "EUR"))
HELD = HoldPlaced(book_id=BOOK, postings=PAIR, expires_at=NOW)
OPENED = AccountOpened(book_id=BOOK, code="a", type=Type.ASSET, currency="EUR", overdraft_limit=0, opened_on=NOW.date())
LIMITS = AccountLimitsChanged(overdraft_limit=None, floor=None, ceiling=9, effective_at=NOW)
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
        Change("add_postings", {"account_id": CASH, "debit": 500, "position": 7}),
        Change("add_postings", {"account_id": SALES, "credit": 500, "position": 7}),
    ]


def test_a_hold_adds_to_what_is_pending_and_takes_it_back() -> None:
    """
    What is set aside is pending on the side it will be posted to; released, it is the same below zero.
    """
    found = [
        change.row for event in (HELD, HoldExpired(book_id=BOOK, released=PAIR)) for change in changes(accounts, event)
    ]

    assert found == [
        {"account_id": CASH, "pending_credit": 500, "position": 7},
        {"account_id": SALES, "pending_debit": 500, "position": 7},
        {"account_id": CASH, "pending_credit": -500, "position": 7},
        {"account_id": SALES, "pending_debit": -500, "position": 7},
    ]


def test_an_opening_and_each_change_leave_limits() -> None:
    """
    An account's limits over time are a row each; a change of them is one of the account's events.
    """
    [_, opening] = changes(accounts, OPENED)
    [limits, account] = changes(accounts, LIMITS)

    assert (opening.name, opening.row["effective_at"], opening.row["overdraft_limit"]) == ("add_limits", None, 0)
    assert (limits.name, limits.row["effective_at"], limits.row["ceiling"]) == ("add_limits", NOW, 9)
    assert account == Change("change_accounts", {"account_id": STREAM, "status": None, "version": 1, "position": 7})


@pytest.mark.parametrize(
    ("event", "more", "captured", "released", "status"),
    [
        (HoldIncreased(book_id=BOOK, postings=PAIR), 500, 0, 0, None),
        (HoldCaptured(book_id=BOOK, entry_id=BOOK, amount=500, released=PAIR, final=False), 0, 500, 500, None),
        (HoldCaptured(book_id=BOOK, entry_id=BOOK, amount=1, released=PAIR, final=True), 0, 1, 500, "captured"),
        (HoldVoided(book_id=BOOK, released=PAIR), 0, 0, 500, "voided"),
        (HoldExpired(book_id=BOOK, released=PAIR), 0, 0, 500, "expired"),
    ],
)
def test_a_hold_changes_by_amounts(event: Event, more: int, captured: int, released: int, status: str | None) -> None:
    """
    By how much, and what it is now if that changes: so that several changes of one hold add up.
    """
    [change] = changes(holds, event)

    amounts = {"more": more, "captured": captured, "released": released, "status": status}
    assert change == Change("change_holds", {"hold_id": STREAM, **amounts, "version": 1, "position": 7})


def test_a_freeze_says_what_the_account_is_now() -> None:
    """
    A change of status carries the account's version and the position, so that the last one can win.
    """
    found = changes(accounts, AccountFrozen(reason="asked to"))

    assert found == [
        Change("change_accounts", {"account_id": STREAM, "status": "frozen", "version": 1, "position": 7}),
    ]


def test_an_entry_is_kept_whole() -> None:
    """
    The journal keeps an entry's postings in their order, and no empty text.
    """
    [change] = changes(journal, SALE)

    assert change.name == "post_entries"
    assert change.row["postings"] == [(CASH, Side.DEBIT, 500, "EUR"), (SALES, Side.CREDIT, 500, "EUR")]
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
        "book.payment_policy_set.v1": BookPaymentPolicySet(policy=Policy()),
        "account.opened.v1": OPENED,
        "account.limits_changed.v1": LIMITS,
        "journal_entry.posted.v1": SALE,
        "journal_entry.reversed.v1": EntryReversed(book_id=BOOK, reversed_by=SALES),
        "hold.placed.v1": HELD,
        "hold.increased.v1": HoldIncreased(book_id=BOOK, postings=PAIR),
        "hold.captured.v1": HoldCaptured(book_id=BOOK, entry_id=SALES, amount=500, released=PAIR, final=True),
        "hold.voided.v1": HoldVoided(book_id=BOOK, released=PAIR),
        "hold.expired.v1": HoldExpired(book_id=BOOK, released=PAIR),
        "batch.posted.v1": BatchPosted(book_id=BOOK, mode="atomic", commands=2),
        "command.refused.v1": CommandRefused(command="close_account", scope=CASH, code="account_closed"),
    }

    if name.startswith(("payment.", "settlement.", "escrow.")):
        stored = json.loads((VECTORS / f"{name}.json").read_text("utf-8"))[0]["stored"]
        samples[name] = decode(name, stored.encode())

    [change] = changes(audit_trail, samples.get(name) or EVENTS[name]())

    assert change.row["event"] == name
    assert change.name == ("add_records" if change.row["book_id"] is not None else "add_records_of")


@pytest.mark.parametrize("projection", ALL, ids=lambda projection: projection.NAME)
def test_every_change_has_its_sql(projection: Projection) -> None:
    """
    A projection's file holds a statement for each of its changes, and no other; each takes rows.
    """
    found = statements(projection.NAME)

    assert list(found) == list(projection.CHANGES)
    assert all("%(rows)s" in statement or statement.endswith("FROM STDIN") for statement in found.values())


def test_projections_do_not_share_a_name() -> None:
    """
    Progress is kept by name and version.
    """
    names = [tracked_as(projection) for projection in ALL]

    of_payments = ["payments.v2", "settlements.v1", "escrows.v1"]
    assert names == ["accounts.v2", "journal.v2", "holds.v1", *of_payments, "audit_trail.v1"]


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
