"""Limits that change with time: which are in force when, what may be changed, and what a refusal tells of them."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from domain import account as rules
from domain import journal
from domain.account import Account, Status, evolve, must_allow
from domain.errors import AccountIsClosed, CeilingExceeded, InsufficientFunds, LimitsContradict, LimitsInPast, Refusal
from domain.events import AccountLimitsChanged
from domain.posting import Side, Totals
from tests.support import BOOK, NOW, TODAY, account, given, lines

INSTANT = timedelta(microseconds=1)


def hour(number: int) -> datetime:
    return NOW + timedelta(hours=number)


def limits(words: str) -> dict[str, Any]:
    """`overdraft_limit=5 floor=-3`; what is not said is no limit."""
    said = {name: int(value) for name, value in (word.split("=") for word in words.split())}
    return {name: said.get(name) for name in ("overdraft_limit", "floor", "ceiling")}


def changed(known: Account, words: str, *, at: datetime | None, now: datetime = NOW) -> Account:
    """After a change that is decided at `now`."""
    return evolve(known, rules.change_limits(known, **limits(words), effective_at=at, now=now, reason=""))


def asset_of(amount: int) -> Totals:
    return Totals(1, max(amount, 0), max(-amount, 0), 0, 0)


IN_FORCE = [
    # overdraft limits in the order decided | hour | in force
    ("                 |  0 | 100"),
    ("2=50             |  1 | 100"),
    ("2=50             |  2 |  50"),
    ("2=50             |  3 |  50"),
    ("0=50             |  0 |  50"),
    ("2=50 4=0         |  1 | 100"),
    ("2=50 4=0         |  3 |  50"),
    ("2=50 4=0         |  4 |   0"),
    ("2=50 4=0         |  9 |   0"),
    # What was decided last does not replace what takes effect after it.
    ("4=0 2=50         |  3 |  50"),
    ("4=0 2=50         |  4 |   0"),
    ("4=0 2=50 3=70    |  3 |  70"),
    ("4=0 2=50 3=70    |  4 |   0"),
    # Of two for the same moment it does.
    ("2=50 2=70        |  2 |  70"),
    ("2=70 2=50        |  2 |  50"),
    ("2=50 4=0 2=70    |  3 |  70"),
    ("2=50 4=0 2=70    |  4 |   0"),
]


@pytest.mark.parametrize("row", IN_FORCE)
def test_the_latest_that_have_begun_are_in_force(row: str) -> None:
    """
    Funds are there down to the limit of that moment, and a refusal says which it was and what it would have let pass.
    """
    changes, when, expected = (cell.strip() for cell in row.split("|"))
    known, limit = account(overdraft_limit=100), int(expected)
    for change in changes.split():
        begins, value = change.split("=")
        known = changed(known, f"overdraft_limit={value}", at=hour(int(begins)))

    must_allow(known, asset_of(0), asset_of(-limit), hour(int(when)))
    with pytest.raises(InsufficientFunds) as refusal:
        must_allow(known, asset_of(0), asset_of(-limit - 1), hour(int(when)))

    told = refusal.value
    assert (told.account_id, told.currency) == (known.id, "EUR")
    assert (told.limit, told.limit_value) == ("overdraft_limit", limit)
    assert (told.requested, told.available) == (limit + 1, limit)


def test_a_change_takes_effect_at_its_instant() -> None:
    """
    Not a microsecond before, and from then on.
    """
    known = changed(account(overdraft_limit=100), "overdraft_limit=0", at=hour(2))

    must_allow(known, asset_of(0), asset_of(-100), hour(2) - INSTANT)
    for when in (hour(2), hour(2) + INSTANT):
        with pytest.raises(InsufficientFunds):
            must_allow(known, asset_of(0), asset_of(-1), when)


TOLD = [
    # opened with                | from hour 2 on               | hour | becomes | the limit and its value
    ("overdraft_limit=0          | floor=-5                     |    1 |      -1 | overdraft_limit 0"),
    ("overdraft_limit=0          | floor=-5                     |    2 |      -5 | "),
    ("overdraft_limit=0          | floor=-5                     |    2 |      -6 | floor -5"),
    ("overdraft_limit=0          | overdraft_limit=9 floor=-3   |    2 |      -4 | floor -3"),
    ("overdraft_limit=0          | overdraft_limit=3 floor=-9   |    2 |      -4 | overdraft_limit 3"),
    ("floor=-5                   |                              |    1 |      -6 | floor -5"),
    ("floor=-5                   |                              |    2 |   -1000 | "),
    ("ceiling=5                  | ceiling=9                    |    1 |       6 | ceiling 5"),
    ("ceiling=5                  | ceiling=9                    |    2 |       9 | "),
    ("ceiling=5                  | ceiling=9                    |    2 |      10 | ceiling 9"),
    ("ceiling=5                  | floor=-1                     |    2 |    1000 | "),
    ("floor=-1 ceiling=5         | ceiling=5                    |    2 |       6 | ceiling 5"),
]


@pytest.mark.parametrize("row", TOLD)
def test_a_change_sets_all_three_anew(row: str) -> None:
    """
    What is not said again is no limit any more, and a refusal names the one that stood in the way at that moment.
    """
    opened, later, when, becomes, told = (cell.strip() for cell in row.split("|"))
    known = changed(account(**limits(opened)), later, at=hour(2))
    found = ""

    try:
        must_allow(known, asset_of(0), asset_of(int(becomes)), hour(int(when)))
    except InsufficientFunds as no:
        found = f"{no.limit} {no.limit_value}"
        assert no.requested == -int(becomes) == no.available + 1
    except CeilingExceeded as no:
        found = f"ceiling {no.ceiling}"
        assert no.requested == int(becomes) == no.room + 1

    assert found == told


def test_who_is_beyond_a_limit_that_took_effect_can_only_come_back() -> None:
    """
    Nothing is taken away when it begins; from then on, what is overdrawn may not be overdrawn further.
    """
    known = changed(account(overdraft_limit=100), "overdraft_limit=20", at=hour(2))

    must_allow(known, asset_of(-50), asset_of(-60), hour(1))
    must_allow(known, asset_of(-50), asset_of(-49), hour(2))
    with pytest.raises(InsufficientFunds) as refusal:
        must_allow(known, asset_of(-50), asset_of(-51), hour(2))

    assert (refusal.value.limit_value, refusal.value.requested, refusal.value.available) == (20, 1, 0)


@pytest.mark.parametrize(
    ("at", "effective"), [(None, NOW), (NOW, NOW), (NOW + INSTANT, NOW + INSTANT), (hour(9), hour(9))]
)
def test_a_change_is_for_now_or_later(at: datetime | None, effective: datetime) -> None:
    """
    Its event says from when on, also when that was not said.
    """
    event = rules.change_limits(account(), **limits("floor=-7"), effective_at=at, now=NOW, reason="why")

    assert event == AccountLimitsChanged(
        overdraft_limit=None, floor=-7, ceiling=None, effective_at=effective, reason="why"
    )


REFUSED: dict[str, tuple[Account, str, datetime | None, type[Refusal], dict[str, Any]]] = {
    "an instant ago": (account(), "floor=0", NOW - INSTANT, LimitsInPast, {"effective_at": NOW - INSTANT}),
    "long ago, though a later change is known": (
        changed(account(), "floor=0", at=hour(3)),
        "floor=1",
        hour(-1),
        LimitsInPast,
        {"effective_at": hour(-1)},
    ),
    "no balance would do": (
        account(),
        "overdraft_limit=2 floor=-9 ceiling=-3",
        hour(1),
        LimitsContradict,
        {"lowest": -2, "ceiling": -3},
    ),
    "a closed account": (account(status=Status.CLOSED), "floor=0", hour(1), AccountIsClosed, {}),
    "a closed account, in the past": (account(status=Status.CLOSED), "floor=0", hour(-1), AccountIsClosed, {}),
    "contradicting, in the past": (account(), "floor=1 ceiling=0", hour(-1), LimitsInPast, {"effective_at": hour(-1)}),
}


@pytest.mark.parametrize(("known", "words", "at", "refusal", "told"), REFUSED.values(), ids=REFUSED.keys())
def test_refuses(known: Account, words: str, at: datetime, refusal: type[Refusal], told: dict[str, Any]) -> None:
    """
    What was decided in the past stays decided, and the most telling reason comes first.
    """
    with pytest.raises(refusal) as no:
        changed(known, words, at=at)

    assert {name: getattr(no.value, name) for name in told} == told


def test_a_frozen_account_takes_other_limits() -> None:
    """
    Frozen are its postings, not what is decided of it.
    """
    known = changed(account(status=Status.FROZEN), "floor=3", at=None)

    assert known.limits_at(NOW).lowest == ("floor", 3, 3)
    assert (known.version, known.status) == (2, Status.FROZEN)


@pytest.mark.parametrize(("when", "refused"), [(1, False), (2, True)])
def test_an_entry_is_held_against_the_limits_of_when_it_is_decided(when: int, refused: bool) -> None:
    """
    Its value date has no say in it.
    """
    scene = given("cash | asset | 0 | 0 | overdraft_limit=100\n bank | equity | 0 | 0")
    known = scene.account("cash")
    scene.accounts[known.id] = changed(known, "overdraft_limit=9", at=hour(2))

    def post() -> None:
        journal.post(
            scene.accounts,
            scene.totals,
            book_id=BOOK,
            postings=lines("bank | 10 | \n cash | | 10"),
            value_date=TODAY - timedelta(days=400),
            description="",
            reference="",
            metadata={},
            now=hour(when),
        )

    if not refused:
        post()
        return
    with pytest.raises(InsufficientFunds) as no:
        post()
    assert (no.value.limit, no.value.limit_value, no.value.requested) == ("overdraft_limit", 9, 10)


def test_a_hold_counts_against_limits_that_begin_after_it() -> None:
    """
    What was set aside before stays set aside; what is available is less by it when the limit begins.
    """
    known = changed(account(overdraft_limit=100), "overdraft_limit=0", at=hour(2))
    held = Totals(2, 50, 0, 0, 40)

    must_allow(known, held, held.after(Side.CREDIT, 11), hour(1))
    must_allow(known, held, held.after(Side.CREDIT, 10), hour(2))
    with pytest.raises(InsufficientFunds) as refusal:
        must_allow(known, held, held.after(Side.CREDIT, 11), hour(2))

    assert (refusal.value.requested, refusal.value.available) == (11, 10)
