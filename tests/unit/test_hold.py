"""Holds: what may be set aside, what a capture takes and gives up, and that a hold has one end."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from domain import account as account_rules
from domain import hold as rules
from domain import ids
from domain.account import balance
from domain.errors import (
    AccountIsClosed,
    AccountIsFrozen,
    AccountNotEmpty,
    AccountNotFound,
    AmountTooLarge,
    CaptureExceedsHold,
    CeilingExceeded,
    CurrencyMismatch,
    HoldEnded,
    HoldExpiresInPast,
    HoldIsExpired,
    HoldIsNotDue,
    HoldToSameAccount,
    InsufficientFunds,
    Refusal,
    TotalTooLarge,
)
from domain.events import Event, HoldPlaced, lines
from domain.hold import Hold, Status
from domain.money import AMOUNT_MAX, TOTAL_MAX
from tests.support import BOOK, NOW, TODAY, Scene, given

BANK = """
    cash   | asset     | 100 |   0 | overdraft_limit=0
    shop   | expense   |   0 |   0 |
    vault  | asset     |   0 |   0 | ceiling=30
    wallet | liability |   0 |  50 | overdraft_limit=0
    nostro | asset     |  50 |   0 | USD
    iced   | liability |   0 |   0 | frozen
    gone   | liability |   0 |   0 | closed
    spent  | asset     | 100 |   0 | floor=40 pending_credits=50
"""
HOLD, ENTRY = UUID(int=7), UUID(int=8)
LATER = NOW + timedelta(hours=1)


def after(scene: Scene, *events: Event) -> Scene:
    totals = dict(scene.totals)
    for event in events:
        for line in lines(event):
            totals[line.account_id] = line.onto(totals[line.account_id])
    return Scene(scene.accounts, totals)


def place(scene: Scene, source: str, destination: str, amount: int, **said: Any) -> HoldPlaced:
    fields: dict[str, Any] = {"currency": "EUR", "expires_at": None, "now": NOW, "book_id": BOOK}
    return rules.place(
        scene.accounts,
        scene.totals,
        account_id=ids.account_id(BOOK, source),
        destination_id=ids.account_id(BOOK, destination),
        amount=amount,
        description="d",
        reference="r",
        metadata={},
        **{**fields, **said},
    )


def held(scene: Scene, source: str, destination: str, amount: int, **said: Any) -> tuple[Hold, Scene]:
    event = place(scene, source, destination, amount, **said)
    return rules.placed(HOLD, event), after(scene, event)


def capture(hold: Hold, scene: Scene, amount: int | None = None, *, final: bool = False, now: datetime = NOW) -> Any:
    return rules.capture(
        hold,
        scene.accounts,
        scene.totals,
        entry_id=ENTRY,
        amount=amount,
        final=final,
        now=now,
        value_date=TODAY,
        description="",
        metadata={},
    )


def shown(scene: Scene, code: str) -> tuple[int, int]:
    """Posted and available."""
    found = balance(scene.account(code).type, scene.posted_to(code))
    return found.posted, found.available


@pytest.mark.parametrize(
    ("source", "destination", "amount", "said", "refusal"),
    [
        ("cash", "cash", 1, {}, HoldToSameAccount),
        ("cash", "shop", 1, {"expires_at": NOW}, HoldExpiresInPast),
        ("cash", "shop", 1, {"expires_at": NOW - timedelta(microseconds=1)}, HoldExpiresInPast),
        ("nobody", "shop", 1, {}, AccountNotFound),
        ("cash", "nobody", 1, {}, AccountNotFound),
        ("cash", "shop", 1, {"book_id": UUID(int=1)}, AccountNotFound),
        ("cash", "nostro", 1, {}, CurrencyMismatch),
        ("cash", "shop", 1, {"currency": "USD"}, CurrencyMismatch),
        ("iced", "shop", 1, {}, AccountIsFrozen),
        ("cash", "gone", 1, {}, AccountIsClosed),
        ("cash", "shop", 101, {}, InsufficientFunds),
        ("spent", "shop", 11, {}, InsufficientFunds),
        ("shop", "wallet", 51, {}, InsufficientFunds),
        ("cash", "vault", 31, {}, CeilingExceeded),
    ],
)
def test_what_is_not_set_aside(
    source: str, destination: str, amount: int, said: dict[str, Any], refusal: type[Refusal]
) -> None:
    """
    Each reason has its own refusal; a limit counts what is set aside already, on both accounts.
    """
    with pytest.raises(refusal) as refused:
        place(given(BANK), source, destination, amount, **said)

    if isinstance(refused.value, InsufficientFunds):
        assert refused.value.requested == refused.value.available + 1


def test_what_is_set_aside_is_not_there_any_more() -> None:
    """
    The available balance falls at once, the posted one does not; the very last unit can be set aside, once.
    """
    _, scene = held(given(BANK), "cash", "shop", 100, expires_at=NOW + timedelta(microseconds=1))

    assert (shown(scene, "cash"), shown(scene, "shop")) == ((100, 0), (0, 0))
    with pytest.raises(InsufficientFunds):
        place(scene, "cash", "shop", 1)


def test_incoming_holds_count_towards_a_ceiling() -> None:
    """
    What may yet arrive takes the room it would need.
    """
    _, scene = held(given(BANK), "cash", "vault", 30)

    with pytest.raises(CeilingExceeded) as refused:
        place(scene, "cash", "vault", 1)

    assert (refused.value.room, refused.value.ceiling) == (0, 30)


def test_totals_with_what_is_pending_fit() -> None:
    """
    A hold that could not be captured for want of room in the totals is not placed.
    """
    scene = given(f"a | asset | {TOTAL_MAX} | {TOTAL_MAX - 5} |\nb | asset | 0 | 0 |")

    held(scene, "a", "b", 5)
    with pytest.raises(TotalTooLarge):
        place(scene, "a", "b", 6)


def test_captures_until_used_up() -> None:
    """
    Each capture is an entry of that amount; the one that takes the rest is the end, whatever it says.
    """
    hold, scene = held(given(BANK), "cash", "shop", 10)
    told = []

    for amount in (3, 4, None):
        entry, captured = capture(hold, scene, amount)
        scene, hold = after(scene, captured, entry), rules.evolve(hold, captured)
        told.append(
            (captured.amount, captured.final, hold.status, hold.captured, hold.remaining, *shown(scene, "cash"))
        )
        assert (entry.captures, captured.entry_id, entry.reference) == (HOLD, ENTRY, "r")

    assert told == [
        (3, False, Status.HELD, 3, 7, 97, 90),
        (4, False, Status.HELD, 7, 3, 93, 90),
        (3, True, Status.CAPTURED, 10, 0, 90, 90),
    ]
    assert scene.posted_to("cash").pending_credits == scene.posted_to("shop").pending_debits == 0
    with pytest.raises(HoldEnded) as refused:
        capture(hold, scene)
    assert refused.value.ended == "captured"


def test_a_final_capture_gives_the_rest_up() -> None:
    """
    What was not taken is available again.
    """
    hold, scene = held(given(BANK), "cash", "shop", 10)

    entry, captured = capture(hold, scene, 4, final=True)

    scene, hold = after(scene, captured, entry), rules.evolve(hold, captured)
    assert (shown(scene, "cash"), hold.status, hold.remaining, hold.captured) == ((96, 96), Status.CAPTURED, 0, 4)
    assert scene.posted_to("cash").pending_credits == 0


def test_no_more_is_captured_than_is_left() -> None:
    """
    The refusal says how much there is.
    """
    hold, scene = held(given(BANK), "cash", "shop", 10)

    with pytest.raises(CaptureExceedsHold) as refused:
        capture(hold, scene, 11)

    assert (refused.value.requested, refused.value.remaining, refused.value.currency) == (11, 10, "EUR")


def test_more_is_set_aside() -> None:
    """
    An increase is held and captured with the rest, and obeys the limits with all that is held.
    """
    hold, scene = held(given(BANK), "cash", "shop", 60)

    event = rules.increase(hold, scene.accounts, scene.totals, amount=40, now=NOW)

    scene, hold = after(scene, event), rules.evolve(hold, event)
    assert (hold.amount, hold.remaining, hold.version, shown(scene, "cash")) == (100, 100, 2, (100, 0))
    with pytest.raises(InsufficientFunds):
        rules.increase(hold, scene.accounts, scene.totals, amount=1, now=NOW)
    assert capture(hold, scene)[1].amount == 100


def test_a_hold_is_no_larger_than_a_posting() -> None:
    """
    All of it can be captured by one entry.
    """
    hold, scene = held(given("a | asset | 0 | 0 |\nb | asset | 0 | 0 |"), "a", "b", AMOUNT_MAX - 1)

    event = rules.increase(hold, scene.accounts, scene.totals, amount=1, now=NOW)
    with pytest.raises(AmountTooLarge):
        rules.increase(rules.evolve(hold, event), scene.accounts, scene.totals, amount=1, now=NOW)


def test_its_time_is_a_boundary() -> None:
    """
    Up to the last microsecond before it a hold is captured and voided, from then on it only expires.
    """
    hold, scene = held(given(BANK), "cash", "shop", 10, expires_at=LATER)
    before = LATER - timedelta(microseconds=1)

    capture(hold, scene, now=before)
    rules.void(hold, now=before, reason="")
    for now, ends in ((before, False), (LATER, True)):
        if ends:
            assert rules.expire(hold, now=now).released == hold.placed.postings
        else:
            with pytest.raises(HoldIsNotDue):
                rules.expire(hold, now=now)
    with pytest.raises(HoldIsExpired):
        capture(hold, scene, now=LATER)
    with pytest.raises(HoldIsExpired):
        rules.void(hold, now=LATER, reason="")
    with pytest.raises(HoldIsExpired):
        rules.increase(hold, scene.accounts, scene.totals, amount=1, now=LATER)


def test_a_hold_without_a_time_is_never_due() -> None:
    """
    It stays until somebody ends it.
    """
    hold, _ = held(given(BANK), "cash", "shop", 10)

    with pytest.raises(HoldIsNotDue) as refused:
        rules.expire(hold, now=NOW + timedelta(days=10_000))

    assert refused.value.expires_at is None


@pytest.mark.parametrize("status", [Status.CAPTURED, Status.VOIDED, Status.EXPIRED])
def test_what_has_ended_has_ended(status: Status) -> None:
    """
    Nothing is done with it any more, and it is told how it ended.
    """
    hold, scene = held(given(BANK), "cash", "shop", 10)
    ended = Hold(hold.id, 2, hold.placed, status, 10, 0, 0)

    for attempt in (
        lambda: capture(ended, scene),
        lambda: rules.void(ended, now=NOW, reason=""),
        lambda: rules.expire(ended, now=NOW),
        lambda: rules.increase(ended, scene.accounts, scene.totals, amount=1, now=NOW),
    ):
        with pytest.raises(HoldEnded) as refused:
            attempt()
        assert refused.value.ended == status.value


def test_a_void_or_expiry_gives_back_what_is_left() -> None:
    """
    After a part was captured, that is the rest.
    """
    hold, scene = held(given(BANK), "wallet", "shop", 10, expires_at=LATER)
    entry, captured = capture(hold, scene, 4)
    hold, scene = rules.evolve(hold, captured), after(scene, captured, entry)

    for end in (rules.void(hold, now=NOW, reason="no"), rules.expire(hold, now=LATER)):
        then = after(scene, end)
        assert shown(then, "wallet") == (46, 46)
        assert (rules.evolve(hold, end).remaining, rules.evolve(hold, end).captured) == (0, 4)


def test_a_frozen_account_captures_nothing_and_gives_back() -> None:
    """
    A freeze stops what would be posted; a void posts nothing.
    """
    hold, scene = held(given(BANK), "cash", "shop", 10)
    frozen = given(BANK.replace("100 |   0 | overdraft_limit=0", "100 |   0 | overdraft_limit=0 frozen", 1))

    with pytest.raises(AccountIsFrozen):
        capture(hold, Scene(frozen.accounts, scene.totals))
    with pytest.raises(AccountIsFrozen):
        rules.increase(hold, frozen.accounts, scene.totals, amount=1, now=NOW)
    rules.void(hold, now=NOW, reason="")


def test_a_capture_is_no_new_demand_on_a_limit() -> None:
    """
    What was set aside before the limits became tighter is still captured.
    """
    hold, scene = held(given(BANK), "cash", "shop", 100)
    tighter = given(BANK.replace("overdraft_limit=0", "floor=90", 1))

    entry, _ = capture(hold, Scene(tighter.accounts, scene.totals))

    assert entry.postings[0].amount == 100


def test_an_account_with_something_held_is_not_closed() -> None:
    """
    Nothing pending is left behind.
    """
    _, scene = held(given(BANK), "shop", "wallet", 5)

    with pytest.raises(AccountNotEmpty):
        account_rules.close(scene.account("shop"), scene.posted_to("shop"), reason="")
