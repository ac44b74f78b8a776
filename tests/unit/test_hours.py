"""When something takes orders: weekdays, holidays, cut-offs, and the days on which clocks are changed."""

from datetime import UTC, datetime, time
from typing import Any

import pytest

from domain.calendar import Calendar
from domain.hours import Hours, opens_again

OFFICE = Hours(zone="Europe/Berlin", opens=time(8), closes=time(16), holidays=Calendar.TARGET)
NIGHT = Hours(zone="America/New_York", opens=time(22, 30), closes=time(2, 15), holidays=Calendar.FED)
ALWAYS = Hours(zone="UTC", days=("mon", "tue", "wed", "thu", "fri", "sat", "sun"))


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("hours", "now", "opens"),
    [
        (OFFICE, "2026-11-24T07:00", None),  # Berlin is an hour ahead in winter.
        (OFFICE, "2026-11-24T06:59:59", "2026-11-24T07:00"),
        (OFFICE, "2026-11-24T14:59:59", None),
        (OFFICE, "2026-11-24T15:00", "2026-11-25T07:00"),  # At the very instant of the cut-off it is too late.
        (OFFICE, "2026-11-27T15:00", "2026-11-30T07:00"),  # Friday.
        (OFFICE, "2026-12-24T15:00", "2026-12-28T07:00"),  # 25 and 26 December, the latter a Saturday, and a Sunday.
        (OFFICE, "2026-04-02T14:00", "2026-04-07T06:00"),  # Good Friday to Easter Monday; summer has begun.
        (OFFICE, "2026-03-27T15:00", "2026-03-30T06:00"),  # On Sunday clocks are put forward: it opens an hour earlier.
        (OFFICE, "2026-10-23T14:00", "2026-10-26T07:00"),
        (NIGHT, "2026-11-26T03:31", None),  # Wednesday's night lasts into Thanksgiving,
        (NIGHT, "2026-11-27T04:00", "2026-11-28T03:30"),  # whose own is none.
        (NIGHT, "2026-11-26T07:15", "2026-11-28T03:30"),
        (ALWAYS, "2026-11-29T00:00", None),
        (ALWAYS, "2026-11-29T23:59:59", None),
    ],
)
def test_when_it_opens_again(hours: Hours, now: str, opens: str | None) -> None:
    """
    By local times, on the weekdays it opens on, whose night may end on another day.
    """
    assert opens_again(hours, utc(now)) == (None if opens is None else utc(opens))


def test_an_hour_that_is_left_out_or_comes_twice() -> None:
    """
    Hours within the one that is left out are an hour later that day; within one that comes twice they are its first.
    """
    early = Hours(zone="Europe/Berlin", opens=time(2, 15), closes=time(2, 45), days=("sun",))
    into_it = Hours(zone="Europe/Berlin", opens=time(2, 30), closes=time(3, 15), days=("sun",))

    assert opens_again(early, utc("2026-03-29T00:00")) == utc("2026-03-29T01:15")
    assert opens_again(early, utc("2026-03-29T01:20")) is None
    assert opens_again(early, utc("2026-10-25T00:20")) is None
    assert opens_again(early, utc("2026-10-25T01:20")) == utc("2026-11-01T01:15")
    assert opens_again(into_it, utc("2026-03-29T00:00")) == utc("2026-04-05T00:30")


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"zone": "Europe/Atlantis"}, "no time zone"),
        ({"zone": "../etc/passwd"}, "no time zone"),
        ({"zone": "UTC", "days": ()}, "one day of the week"),
        ({"zone": "UTC", "opens": time(8, tzinfo=UTC)}, "times of the zone"),
    ],
)
def test_hours_that_are_none(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Hours(**wrong)


def test_hours_are_told_in_words() -> None:
    assert str(OFFICE) == "08:00 to 16:00 Europe/Berlin on mon tue wed thu fri, holidays of target apart"
    assert str(ALWAYS) == "00:00 to 00:00 UTC on mon tue wed thu fri sat sun"
