"""Days on which money moves: the Federal Reserve's holidays by rule, and the windows of the ACH."""

import json
from datetime import UTC, date, datetime, timedelta
from itertools import islice

import pytest

from domain import calendar
from tests.serving import TOP

LISTED = TOP / "../shared/data/vectors/nacha/fed_non_banking_weekdays_2023_2030.json"

THANKSGIVING = date(2026, 11, 26)


def eastern(day: str, clock: str) -> datetime:
    return datetime.fromisoformat(f"{day}T{clock}").replace(tzinfo=calendar.EASTERN).astimezone(UTC)


@pytest.mark.skipif(not LISTED.is_file(), reason=f"the list is not there: {LISTED.name} in ../shared/data")
def test_closed_on_every_listed_weekday_and_on_no_other() -> None:
    """
    On each weekday of eight years the rules say what the published list says.
    """
    listed = {date.fromisoformat(line.split()[0]) for line in json.loads(LISTED.read_text())}

    days = [date(2023, 1, 1) + timedelta(days=n) for n in range((date(2031, 1, 1) - date(2023, 1, 1)).days)]

    assert {day for day in days if day.weekday() < 5 and not calendar.is_business_day(day)} == listed


def test_the_holidays_of_a_year() -> None:
    """
    Eleven holidays; one on a Saturday is lost, one on a Sunday is kept on the Monday.
    """
    assert sorted(day.strftime("%m-%d") for day in calendar.holidays(2026)) == [
        "01-01", "01-19", "02-16", "05-25", "06-19", "09-07", "10-12", "11-11", "11-26", "12-25",
    ]  # fmt: skip
    assert calendar.is_business_day(date(2026, 7, 3))  # The Fourth is a Saturday.
    assert not calendar.is_business_day(date(2027, 7, 5))  # The Fourth is a Sunday.
    assert date(2021, 6, 18) not in calendar.holidays(2021)


def test_steps_over_weekends_and_holidays() -> None:
    """
    Forward and back over Thanksgiving and the weekend after it.
    """
    assert calendar.next_business_day(date(2026, 11, 25)) == date(2026, 11, 27)
    assert calendar.next_business_day(date(2026, 11, 27)) == date(2026, 11, 30)
    assert calendar.previous_business_day(date(2026, 11, 30)) == date(2026, 11, 27)
    assert calendar.business_day_from(THANKSGIVING) == date(2026, 11, 27)
    assert calendar.business_day_from(date(2026, 11, 25)) == date(2026, 11, 25)
    assert calendar.add_business_days(date(2026, 11, 24), 5) == date(2026, 12, 2)
    assert calendar.business_days_between(date(2026, 11, 24), date(2026, 12, 2)) == 5
    assert calendar.business_days_between(date(2026, 12, 2), date(2026, 11, 24)) == 0


@pytest.mark.parametrize(
    ("day", "clock", "name", "settles_on"),
    [
        ("2026-11-24", "00:00", "20261123-next_day", date(2026, 11, 24)),
        ("2026-11-24", "02:15", "20261124-same_day_1", date(2026, 11, 24)),
        ("2026-11-24", "10:29", "20261124-same_day_1", date(2026, 11, 24)),
        ("2026-11-24", "10:30", "20261124-same_day_2", date(2026, 11, 24)),
        ("2026-11-24", "14:45", "20261124-same_day_3", date(2026, 11, 24)),
        ("2026-11-24", "16:45", "20261124-next_day", date(2026, 11, 25)),
        ("2026-11-25", "17:00", "20261125-next_day", date(2026, 11, 27)),  # Over Thanksgiving.
        ("2026-11-27", "23:00", "20261127-next_day", date(2026, 11, 30)),  # Over the weekend.
        ("2026-11-28", "12:00", "20261130-same_day_1", date(2026, 11, 30)),  # Saturday: nothing is open until Monday.
        ("2026-07-03", "09:00", "20260703-same_day_1", date(2026, 7, 3)),
    ],
)
def test_the_delivery_of_an_entry(day: str, clock: str, name: str, settles_on: date) -> None:
    """
    An entry decided at an instant goes with the first window that has not closed; at the cut-off it is too late.
    """
    delivery = calendar.delivery(eastern(day, clock), amount=calendar.SAME_DAY_LIMIT_MINOR)

    assert (delivery.name, delivery.settles_on) == (name, settles_on)
    assert delivery.effective_on == settles_on


def test_above_the_limit_or_not_wanted_it_is_the_next_day() -> None:
    """
    A cent more than a million dollars does not go on the same day, nor does what nobody asked for.
    """
    morning = eastern("2026-11-24", "09:00")

    assert calendar.delivery(morning, amount=calendar.SAME_DAY_LIMIT_MINOR + 1).name == "20261124-next_day"
    assert calendar.delivery(morning, amount=1, same_day=False).name == "20261124-next_day"


def test_cut_offs_follow_summer_time() -> None:
    """
    10:30 in New York is 14:30 UTC in July and 15:30 in November.
    """
    summer = calendar.delivery(eastern("2026-07-01", "09:00"), amount=1)
    winter = calendar.delivery(eastern("2026-11-24", "09:00"), amount=1)

    assert summer.closes_at == datetime(2026, 7, 1, 14, 30, tzinfo=UTC)
    assert winter.closes_at == datetime(2026, 11, 24, 15, 30, tzinfo=UTC)
    assert winter.settles_at == datetime(2026, 11, 24, 18, 0, tzinfo=UTC)


def test_deliveries_close_in_order_and_never_share_a_name() -> None:
    """
    A year and more of windows: each closes after the one before it, and settles after it has closed.
    """
    year = list(islice(calendar.deliveries(eastern("2026-01-01", "00:00")), 1_100))

    closing = [delivery.closes_at for delivery in year]
    assert closing == sorted(set(closing))
    assert len({delivery.name for delivery in year}) == len(year)
    assert all(delivery.closes_at < delivery.settles_at for delivery in year)


def test_what_an_operator_makes_of_the_effective_date() -> None:
    """
    A day to come stands or moves off a holiday; today's is same-day while that lasts; none at all is the next day.
    """
    morning, evening = eastern("2026-11-24", "09:00"), eastern("2026-11-24", "18:00")
    large = calendar.SAME_DAY_LIMIT_MINOR + 1

    assert calendar.settlement_date(date(2026, 11, 25), received_at=morning, amount=1) == date(2026, 11, 25)
    assert calendar.settlement_date(THANKSGIVING, received_at=morning, amount=1) == date(2026, 11, 27)
    assert calendar.settlement_date(date(2026, 11, 24), received_at=morning, amount=1) == date(2026, 11, 24)
    assert calendar.settlement_date(date(2026, 11, 24), received_at=morning, amount=large) == date(2026, 11, 25)
    assert calendar.settlement_date(date(2026, 11, 2), received_at=evening, amount=1) == date(2026, 11, 25)
    saturday = eastern("2026-11-28", "12:00")
    assert calendar.settlement_date(date(2026, 11, 29), received_at=saturday, amount=1) == date(2026, 11, 30)
    assert calendar.settlement_date(date(2026, 11, 29), received_at=saturday, amount=large) == date(2026, 12, 1)
    assert calendar.settlement_date(None, received_at=morning, amount=1) == date(2026, 11, 25)


def test_the_holidays_of_target() -> None:
    """
    Six days, Easter's moving, none kept on another day; the Federal Reserve's are other days.
    """
    assert sorted(day.strftime("%m-%d") for day in calendar.target_holidays(2026)) == [
        "01-01", "04-03", "04-06", "05-01", "12-25", "12-26",
    ]  # fmt: skip
    assert [calendar.easter(year).strftime("%m-%d") for year in (1954, 1981, 2000, 2008, 2011, 2024, 2038)] == [
        "04-18", "04-19", "04-23", "03-23", "04-24", "03-31", "04-25",
    ]  # fmt: skip
    good_friday, thanksgiving = date(2026, 4, 3), THANKSGIVING
    target, fed, none = calendar.Calendar.TARGET, calendar.Calendar.FED, calendar.Calendar.NONE
    assert [calendar.is_business_day(good_friday, each) for each in (target, fed, none)] == [False, True, True]
    assert [calendar.is_business_day(thanksgiving, each) for each in (target, fed, none)] == [True, False, True]
    assert calendar.next_business_day(date(2026, 4, 2), target) == date(2026, 4, 7)
    assert calendar.next_business_day(date(2026, 4, 3), none) == date(2026, 4, 6)
