"""Balances of any moment, folded from the log alone."""

import asyncio
from collections.abc import Mapping
from datetime import date, timedelta
from uuid import UUID

import pytest
from msgspec.structs import replace

from domain import ids
from domain.errors import EventMalformed, EventTooNew
from domain.posting import Totals
from replay.point_in_time import Moment, PositionBeyondLog, moment, replay
from tests.stored import BEGAN, MemoryStored, ticking, write_everything
from tests.support import BOOK


@pytest.fixture
def stored() -> MemoryStored:
    store = ticking()
    asyncio.run(write_everything(store))
    return MemoryStored(store)


def net(totals: Mapping[UUID, Totals], code: str, book: UUID = BOOK) -> int:
    found = totals.get(ids.account_id(book, code))
    return found.debits - found.credits if found is not None else 0


def test_everything(stored: MemoryStored) -> None:
    """
    The fold of the whole log is what the postings say after the last of each account.
    """
    now = replay(stored, moment(stored))

    assert now.totals == {row.account_id: row.totals for row in stored.all_postings}
    assert (net(now.totals, "cash"), net(now.totals, "cash", ids.book_id("other"))) == (531, 7)
    assert set(now.books.values()) == {"main", "other"}
    assert now.accounts[ids.account_id(BOOK, "spare")].status == "closed"


def test_at_every_position(stored: MemoryStored) -> None:
    """
    At any position the answer is of the postings up to it, and of the accounts there were.
    """
    for position in range(len(stored.all_events) + 1):
        then = replay(stored, moment(stored, position=position))

        assert then.totals == {row.account_id: row.totals for row in stored.all_postings if row.position <= position}
        assert then.moment.position == position
        assert len(then.accounts) == sum(e.name == "account.opened.v1" for e in stored.all_events[:position])


def test_at_a_time(stored: MemoryStored) -> None:
    """
    A time includes what was recorded at that very microsecond, and nothing of the microsecond after.
    """
    seal = stored.all_seals[5]

    assert moment(stored, at=seal.recorded_at) == Moment(seal.last, seal.recorded_at, None)
    assert moment(stored, at=seal.recorded_at - timedelta(microseconds=1)).position == seal.first - 1
    assert moment(stored, at=BEGAN - timedelta(days=1)) == Moment(0, None, None)
    assert moment(stored, at=BEGAN + timedelta(days=1)).position == len(stored.all_events)


def test_within_a_batch(stored: MemoryStored) -> None:
    """
    A position in the middle of a batch is answered for, with the batch's time.
    """
    seal = next(seal for seal in stored.all_seals if seal.last > seal.first)

    assert moment(stored, position=seal.first) == Moment(seal.first, seal.recorded_at, None)


def test_by_value_date(stored: MemoryStored) -> None:
    """
    Entries count by their value date, backdated ones with the days they belong to, as far as they were known.
    """
    before = date(2026, 1, 1)

    now = replay(stored, moment(stored, before=before))
    then = replay(stored, moment(stored, before=before, position=len(stored.all_events) - 1))

    assert (net(now.totals, "cash"), net(then.totals, "cash")) == (501, 500)


def test_the_day_itself_is_not_before_it(stored: MemoryStored) -> None:
    """
    Before a day means up to the end of the day before.
    """
    totals = replay(stored, moment(stored, before=date(2025, 12, 31))).totals

    assert net(totals, "cash") == 1


def test_one_account(stored: MemoryStored) -> None:
    """
    Of one account the answer is that of all.
    """
    cash = ids.account_id(BOOK, "cash")
    everything = replay(stored, moment(stored))

    alone = replay(stored, moment(stored), only=cash)

    assert alone.totals == {cash: everything.totals[cash]}
    assert alone.accounts == {cash: everything.accounts[cash]}


@pytest.mark.parametrize("position", [-1, 26, 10**9])
def test_beyond_the_log(stored: MemoryStored, position: int) -> None:
    """
    What is not written yet has no balance.
    """
    with pytest.raises(PositionBeyondLog):
        moment(stored, position=position)


def test_an_empty_log() -> None:
    """
    Before the first event there is nothing, which is an answer.
    """
    empty = MemoryStored(ticking())

    assert replay(empty, moment(empty)).totals == {}
    assert moment(empty, at=BEGAN) == Moment(0, None, None)


@pytest.mark.parametrize("missing", [0, 7, -1])
def test_a_hole_is_no_balance(stored: MemoryStored, missing: int) -> None:
    """
    With an event missing, at whichever end, there is no answer rather than a wrong one.
    """
    del stored.all_events[missing]

    with pytest.raises(EventMalformed, match="is missing"):
        replay(stored, moment(stored))


def test_a_newer_event_is_no_balance(stored: MemoryStored) -> None:
    """
    What a newer Daybook wrote may have moved money.
    """
    stored.all_events[3] = replace(stored.all_events[3], name="account.opened.v9")

    with pytest.raises(EventTooNew):
        replay(stored, moment(stored))
