"""What UPI allows whom: limits as data with the day they took effect, and days that are days in India."""

from datetime import UTC, date, datetime, timedelta

import pytest
from msgspec.structs import replace

from domain.rail import Operation
from domain.upi import (
    LAKH,
    LIMITS,
    Address,
    Kind,
    Limits,
    User,
    address,
    allowed,
    bounds,
    day_of,
    kind_of,
    limits_for,
    most,
    user_at,
)

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)


def why_not(
    kind: Kind = Kind.P2M,
    user: User = User.STANDARD,
    rupees: float = 1,
    *,
    spent: float = 0,
    count: int = 0,
    month: float = 0,
    now: datetime = NOW,
) -> str | None:
    return allowed(
        kind,
        user,
        amount=round(rupees * 100),
        spent_today=round(spent * 100),
        count_today=count,
        spent_this_month=round(month * 100),
        now=now,
    )


@pytest.mark.parametrize(
    ("kind", "user", "most"),
    [
        (Kind.P2M, User.STANDARD, 100_000),
        (Kind.P2M_COLLECT, User.STANDARD, 100_000),
        (Kind.P2P, User.STANDARD, 100_000),
        (Kind.P2P, User.NEW, 5_000),
        (Kind.P2M, User.NEW, 5_000),
        (Kind.P2M, User.LITE, 1_000),
        (Kind.LITE_TOP_UP, User.STANDARD, 5_000),
        (Kind.P2M, User.FEATURE_PHONE, 10_000),
        (Kind.P2M, User.CIRCLE_FULL, 5_000),
        (Kind.P2M, User.CIRCLE_FULL_NEW, 5_000),
        (Kind.P2M, User.CIRCLE_PARTIAL, 100_000),
        (Kind.M2P, User.MERCHANT, 100_000),
    ],
)
def test_the_largest_payment(kind: Kind, user: User, most: float) -> None:
    """
    Each kind of user has a largest payment, which is allowed; one paisa more is not.
    """
    assert why_not(kind, user, most) is None
    assert why_not(kind, user, most + 0.01) == "payment_limit_exceeded"


@pytest.mark.parametrize(
    ("kind", "user", "most"),
    [
        (Kind.P2M, User.STANDARD, 100_000),
        (Kind.P2P, User.NEW, 5_000),
        (Kind.P2P, User.FEATURE_PHONE, 100_000),
        (Kind.P2M, User.CIRCLE_FULL_NEW, 5_000),
    ],
)
def test_the_most_in_a_day(kind: Kind, user: User, most: float) -> None:
    """
    What was paid today counts: up to the day's limit it is allowed, one paisa more is not.
    """
    assert why_not(kind, user, 10, spent=most - 10) is None
    assert why_not(kind, user, 10, spent=most - 9.99) == "daily_limit_exceeded"


def test_how_often_in_a_day() -> None:
    """
    The twentieth payment to a person is allowed and the next is not; payments to merchants are not counted.
    """
    assert why_not(Kind.P2P, count=19) is None
    assert why_not(Kind.P2P, count=20) == "daily_count_exceeded"
    assert why_not(Kind.LITE_TOP_UP, count=4) is None
    assert why_not(Kind.LITE_TOP_UP, count=5) == "daily_count_exceeded"
    assert why_not(Kind.P2M, count=10_000) is None


def test_the_most_in_a_month() -> None:
    """
    Who pays from another's account by UPI Circle may do so up to 15,000 in a month.
    """
    assert why_not(Kind.P2M, User.CIRCLE_FULL, 5_000, month=10_000) is None
    assert why_not(Kind.P2M, User.CIRCLE_FULL, 5_000, month=10_000.01) == "monthly_limit_exceeded"


def test_collect_between_persons_ended() -> None:
    """
    It ended when 2025-10-01 began in India: 18:30 UTC the day before. Merchants collect as before.
    """
    end = datetime(2025, 9, 30, 18, 30, tzinfo=UTC)

    assert why_not(Kind.P2P_COLLECT, rupees=2_000, now=end - timedelta(seconds=1)) is None
    assert why_not(Kind.P2P_COLLECT, rupees=2_001, now=end - timedelta(seconds=1)) == "payment_limit_exceeded"
    assert {why_not(Kind.P2P_COLLECT, user, now=end) for user in User} == {"not_permitted"}
    assert why_not(Kind.P2M_COLLECT, now=end) is None


def test_limits_change_on_their_day() -> None:
    """
    Before the day on which a limit took effect the one before it holds, and before the first nothing is allowed.
    """
    day = datetime(2025, 2, 27, tzinfo=UTC)

    assert why_not(Kind.P2M, User.LITE, 1_000, now=day) is None
    assert why_not(Kind.P2M, User.LITE, 1_000, now=day - timedelta(hours=6)) == "payment_limit_exceeded"
    assert why_not(Kind.P2M, User.LITE, 500, now=day - timedelta(hours=6)) is None
    assert why_not(Kind.P2M, User.LITE, 500, now=datetime(2020, 1, 1, tzinfo=UTC)) == "not_permitted"


def test_what_is_for_nobody() -> None:
    """
    Merchants do not pay like persons, persons not like merchants, and the wallet on the phone is not asked to collect.
    """
    assert why_not(Kind.P2P, User.MERCHANT) == "not_permitted"
    assert why_not(Kind.M2P, User.STANDARD) == "not_permitted"
    assert why_not(Kind.P2M_COLLECT, User.LITE) == "not_permitted"


def test_what_a_merchant_asks_for() -> None:
    """
    By a link the payer pays; otherwise they are asked to; what goes the other way is a payment of the merchant's.
    """
    assert kind_of(Operation.COLLECT, "intent") is Kind.P2M
    assert kind_of(Operation.COLLECT, "collect") is Kind.P2M_COLLECT
    assert kind_of(Operation.PAYOUT, "intent") is kind_of(Operation.REFUND, "collect") is Kind.M2P


@pytest.mark.parametrize("operation", [Operation.COLLECT, Operation.PAYOUT])
@pytest.mark.parametrize("flow", ["collect", "intent", "qr"])
def test_the_most_at_once(operation: Operation, flow: str) -> None:
    """
    A merchant collects, and pays out, a lakh at once.
    """
    assert most(operation, flow, NOW) == LAKH


def test_the_most_is_that_of_the_day() -> None:
    """
    A new limit holds from midnight in India on; without one any amount may be paid, and nothing where it has ended.
    """
    of_today = next(row for row in LIMITS if Kind.P2M in row.kinds and User.STANDARD in row.users)
    to_come = replace(of_today, effective_from=date(2026, 3, 3), per_payment=2 * LAKH)
    before, after = datetime(2026, 3, 2, 18, 29, 59, tzinfo=UTC), datetime(2026, 3, 2, 18, 30, tzinfo=UTC)

    def at(now: datetime, *rows: Limits) -> int | None:
        return most(Operation.COLLECT, "qr", now, rows)

    assert (at(before, of_today, to_come), at(after, of_today, to_come)) == (LAKH, 2 * LAKH)
    assert at(after, of_today, replace(to_come, per_payment=None)) is None
    assert at(after, of_today, replace(to_come, enabled=False)) == at(after) == 0


def test_who_is_new() -> None:
    """
    For 24 hours to the second a user is new; who has a small limit anyway stays what they are.
    """
    assert user_at(User.STANDARD, since=NOW, now=NOW + timedelta(hours=24, seconds=-1)) is User.NEW
    assert user_at(User.STANDARD, since=NOW, now=NOW + timedelta(hours=24)) is User.STANDARD
    assert user_at(User.CIRCLE_FULL, since=NOW, now=NOW) is User.CIRCLE_FULL_NEW
    assert user_at(User.LITE, since=NOW, now=NOW) is User.LITE


def test_days_are_india_s() -> None:
    """
    A day begins at 18:30 UTC of the day before, and ends when the next one begins.
    """
    begin, end = bounds(date(2026, 3, 2))

    assert (begin, end) == (datetime(2026, 3, 1, 18, 30, tzinfo=UTC), datetime(2026, 3, 2, 18, 30, tzinfo=UTC))
    assert day_of(begin) == date(2026, 3, 2) == day_of(end - timedelta(microseconds=1))
    assert day_of(begin - timedelta(microseconds=1)) == date(2026, 3, 1)
    assert bounds(date(2026, 3, 3))[0] == end


def test_each_row_is_one_of_a_kind() -> None:
    """
    No two rows hold for the same kind and user from the same day on, and each says who said so.
    """
    seen = [(kind, user, row.effective_from) for row in LIMITS for kind in row.kinds for user in row.users]

    assert len(seen) == len(set(seen))
    assert all(row.source for row in LIMITS)
    assert all(row.per_payment is None or 0 < row.per_payment <= LAKH for row in LIMITS)


def test_other_limits_can_be_given() -> None:
    """
    The rows are data: with others, others hold.
    """
    assert limits_for(Kind.P2M, User.STANDARD, day_of(NOW), limits=()) is None
    assert (
        allowed(Kind.P2M, User.STANDARD, amount=1, spent_today=0, count_today=0, now=NOW, limits=()) == "not_permitted"
    )


@pytest.mark.parametrize(
    "text", ["asha@okbank", "960078968101@ippb", "a.b-c_d@okhdfcbank", "1@axl", "12345678901@SBIN0000001.ifsc.npci"]
)
def test_addresses(text: str) -> None:
    """
    Names, telephone numbers and account numbers are addresses; capitals mean the same as small letters.
    """
    assert str(address(text)) == text.lower()
    assert address(text.upper()) == address(text)
    assert address("A@Okbank") == Address("a", "okbank")


@pytest.mark.parametrize(
    "text",
    ["", "@", "asha", "asha@", "@okbank", "a b@okbank", "asha@ok bank", "a@b@c", "é@okbank", "a@1", "a@b\n", "-a@b1"],
)
def test_what_is_no_address(text: str) -> None:
    """
    Neither half may be missing, and nothing else than letters, digits and their few signs is in them.
    """
    with pytest.raises(ValueError, match="not a UPI address"):
        address(text)
