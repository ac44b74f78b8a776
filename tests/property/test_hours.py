"""Hours held against every minute of a day as the zone's own clock shows it, around changes of clocks and holidays."""

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import hypothesis.strategies as st
from hypothesis import assume, given

from domain.calendar import Calendar, is_holiday
from domain.hours import WEEKDAYS, Hours, opens_again

ZONES = ("Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "UTC")
"""Lord Howe's summer time is half an hour."""
CHANGES = [
    datetime(2026, *day, tzinfo=UTC)
    for day in ((3, 29), (10, 25), (3, 8), (11, 1), (4, 4), (10, 3), (12, 25), (5, 1), (7, 3), (11, 26), (2, 28))
]
"""Days around which clocks are changed or holidays kept, somewhere."""

clocks = st.times(min_value=time(0), max_value=time(23, 59)).map(lambda clock: clock.replace(second=0, microsecond=0))
hours = st.builds(
    Hours,
    zone=st.sampled_from(ZONES),
    opens=clocks,
    closes=clocks,
    days=st.lists(st.sampled_from(WEEKDAYS), min_size=1, unique=True).map(tuple),
    holidays=st.sampled_from(Calendar),
)
moments = st.builds(
    lambda day, minutes: day + timedelta(minutes=minutes), st.sampled_from(CHANGES), st.integers(-4_000, 4_000)
)


def shown(one: Hours, now: datetime) -> bool:
    """Whether it is open, by what the clock on the wall shows, where it shows no time twice and leaves none out."""
    local = now.astimezone(ZoneInfo(one.zone))
    clock = local.time()
    over_night = one.closes <= one.opens
    today = local.date() if not over_night or clock >= one.opens else local.date() - timedelta(days=1)
    within = (one.opens <= clock < one.closes) if not over_night else (clock >= one.opens or clock < one.closes)
    return within and WEEKDAYS[today.weekday()] in one.days and not is_holiday(today, one.holidays)


@given(hours, moments)
def test_it_is_open_when_the_clock_says_so(one: Hours, now: datetime) -> None:
    """
    But within a day of a change of clocks.
    """
    zone = ZoneInfo(one.zone)
    offsets = {(now + timedelta(hours=n)).astimezone(zone).utcoffset() for n in range(-48, 49)}
    assume(len(offsets) == 1)

    assert (opens_again(one, now) is None) is shown(one, now)


@given(hours, moments)
def test_it_opens_when_it_says_it_does_and_not_before(one: Hours, now: datetime) -> None:
    """
    On every day, whatever is done to the clocks: closed until that instant, open at it, and the clock shows it.
    """
    opens_at = opens_again(one, now)
    assume(opens_at is not None)
    assert opens_at is not None and opens_at > now

    assert opens_again(one, opens_at) is None
    between = now + (opens_at - now) / 2
    assert opens_again(one, between) == opens_at
    assert opens_again(one, opens_at - timedelta(microseconds=1)) == opens_at
    local = opens_at.astimezone(ZoneInfo(one.zone))
    assert WEEKDAYS[local.weekday()] in one.days
    assert not is_holiday(local.date(), one.holidays)
    was_put_forward = local.utcoffset() != (opens_at - timedelta(hours=3)).astimezone(ZoneInfo(one.zone)).utcoffset()
    assert local.time() == one.opens or was_put_forward
