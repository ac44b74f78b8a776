"""Verification of holds: a log sealed anew whose holds could not have been so, and their postings."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from uuid import UUID

import pytest
from msgspec.structs import replace

from domain import ids
from domain.events import HoldPlaced, decode, recorded
from domain.posting import Side, Totals
from replay.derived import Derived
from replay.point_in_time import moment, replay
from replay.report import Findings, Tally
from replay.verify import verify
from tests.resealed import contradicted, found, position_of, reseal, rewrite
from tests.stored import BEGAN, MemoryStored, ticking, write_everything, write_holds
from tests.support import BOOK

CASH, GOODS = ids.account_id(BOOK, "cash"), ids.account_id(BOOK, "goods")


@pytest.fixture
def stored() -> MemoryStored:
    store = ticking()
    asyncio.run(write_everything(store))
    asyncio.run(write_holds(store))
    return MemoryStored(store)


def test_nothing_is_wrong(stored: MemoryStored) -> None:
    """
    A log with holds at every stage of their lives and limits that change holds.
    """
    report = verify(stored)

    assert report.findings == ()
    assert {check.name: check.incomplete for check in report.checks if check.name == "postings"} == {"postings": ""}


def postings_of(stored: MemoryStored, position: int, field: str, **changed: object) -> dict[str, object]:
    """The event's postings, each changed."""
    raw = stored.all_events[position - 1]
    return {field: tuple(replace(posting, **changed) for posting in getattr(decode(raw.name, raw.payload), field))}


def placed(stored: MemoryStored, nth: int = 0) -> int:
    return position_of(stored, "hold.placed", nth)


CONTRADICTIONS: dict[str, tuple[str, int, Callable[[MemoryStored, int], dict[str, object]]]] = {
    "expires before it is placed": ("hold.placed", 0, lambda stored, at: {"expires_at": BEGAN}),
    "from an account to itself": (
        "hold.placed",
        0,
        lambda stored, at: postings_of(stored, at, "postings", account_id=CASH),
    ),
    "in another currency": ("hold.placed", 0, lambda stored, at: postings_of(stored, at, "postings", currency="USD")),
    "in another book": ("hold.placed", 0, lambda stored, at: {"book_id": UUID(int=7)}),
    "more is released than remains": (
        "hold.voided",
        0,
        lambda stored, at: postings_of(stored, at, "released", amount=51),
    ),
    "less is released than remains": (
        "hold.expired",
        0,
        lambda stored, at: postings_of(stored, at, "released", amount=59),
    ),
    "another account's": ("hold.voided", 0, lambda stored, at: postings_of(stored, at, "released", account_id=GOODS)),
    "more is captured than remains": ("hold.captured", 0, lambda stored, at: {"amount": 31}),
    "captured and released differ": ("hold.captured", 0, lambda stored, at: {"amount": 11}),
    "another entry than the one that follows": ("hold.captured", 1, lambda stored, at: {"entry_id": UUID(int=7)}),
    "in part, but final": ("hold.captured", 0, lambda stored, at: {"final": True}),
    "final, but in part": ("hold.captured", 2, lambda stored, at: {"final": False}),
    "limits that were in force before": (
        "account.limits_changed",
        1,
        lambda stored, at: {"effective_at": BEGAN - timedelta(days=1)},
    ),
}


@pytest.mark.parametrize("how", CONTRADICTIONS)
def test_an_event_that_cannot_follow(stored: MemoryStored, how: str) -> None:
    """
    What no desk would have let through is found at its position, or at the entry right after, whoever sealed it.
    """
    name, nth, change = CONTRADICTIONS[how]
    position = position_of(stored, name, nth)

    rewrite(stored, position, **change(stored, position))

    assert contradicted(stored) & {position, position + 1}


@pytest.mark.parametrize(("name", "when"), [("hold.voided", "late"), ("hold.expired", "early")])
def test_an_end_at_another_time(stored: MemoryStored, name: str, when: str) -> None:
    """
    Nothing but its expiry ends a hold whose time has come, and that no hold whose time has not.
    """
    end = position_of(stored, name)
    stream = stored.all_events[end - 1].stream_id
    [beginning] = [event.position for event in stored.stream(stream) if event.name.startswith("hold.placed")]
    raw = stored.all_events[beginning - 1]
    after = timedelta(microseconds=1) if when == "late" else timedelta(days=9)

    rewrite(stored, beginning, expires_at=raw.recorded_at + after)

    assert ("event_contradicts", end) in found(verify(stored))


def test_a_hold_that_ends_twice(stored: MemoryStored) -> None:
    """
    An end upon another, as of a desk that did not know, is found.
    """
    voided, expired = position_of(stored, "hold.voided"), position_of(stored, "hold.expired")
    stream = stored.all_events[voided - 1].stream_id
    stored.all_events[expired - 1] = replace(stored.all_events[expired - 1], stream_id=stream, version=3)
    reseal(stored)

    assert ("event_contradicts", expired) in found(verify(stored))


def test_an_entry_that_no_capture_promised(stored: MemoryStored) -> None:
    """
    An entry says what it captures only right after that capture.
    """
    deposit = position_of(stored, "journal_entry.posted")

    rewrite(stored, deposit, captures=UUID(int=7))

    assert ("event_contradicts", deposit) in found(verify(stored))


def test_a_promise_that_is_not_kept(stored: MemoryStored) -> None:
    """
    Right after a capture there is its entry, which says so, and no other.
    """
    entry = position_of(stored, "hold.captured") + 1

    rewrite(stored, entry, captures=None)

    assert ("event_contradicts", entry) in found(verify(stored))


def test_an_entry_of_another_amount(stored: MemoryStored) -> None:
    """
    The entry that a capture became is of the amount that was captured.
    """
    entry = position_of(stored, "hold.captured") + 1

    rewrite(stored, entry, **postings_of(stored, entry, "postings", amount=13))

    assert ("event_contradicts", entry) in found(verify(stored))


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"amount": -59}, "posting_differs"),
        ({"pending": False}, "posting_differs"),
        ({"side": Side.DEBIT}, "posting_differs"),
        ({"value_date": BEGAN.date() - timedelta(days=1)}, "posting_differs"),
        ({"totals": Totals(1, 2, 3, 4, 5)}, "posting_missing"),
    ],
)
def test_tampered_postings(stored: MemoryStored, change: dict[str, object], code: str) -> None:
    """
    Every column of what a hold took back is derived again.
    """
    at = next(i for i, row in enumerate(stored.all_postings) if row.amount == -60)
    stored.all_postings[at] = replace(stored.all_postings[at], **change)

    assert code in verify(stored).counts


def test_what_was_pending(stored: MemoryStored) -> None:
    """
    Folded from the log alone: what is set aside then, and by value date what was recorded before a day.
    """
    held = replay(stored, moment(stored, position=placed(stored))).totals[CASH]
    now = replay(stored, moment(stored)).totals[CASH]
    before = replay(stored, moment(stored, before=BEGAN.date())).totals[CASH]

    assert held.pending_credits == 10
    assert now.pending_credits == 10 + 25 + 15
    assert (before.pending_credits, before.debits) == (0, 601)


def test_holds_that_ended_are_let_go(stored: MemoryStored) -> None:
    """
    However many there were, only those that live take up room.
    """
    derived = Derived(Tally("events", Findings()), stored.stream)
    most = 0
    for raw in stored.events():
        derived.apply(recorded(raw))
        most = max(most, len(derived.holds))

    placed = sum(raw.name == HoldPlaced.name for raw in stored.all_events)
    assert most < placed
    last = derived.ended[0] if derived.ended is not None else None
    assert {hold.status for hold_id, hold in derived.holds.items() if hold_id != last} == {"held"}
