"""Days on which money moves between banks: of the United States, and of the euro; and when an ACH entry moves it.

Pure: the instant is always an argument. Holidays follow from rules, so that no list can run out.
"""

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from functools import cache
from typing import Final
from zoneinfo import ZoneInfo

from msgspec import Struct

EASTERN: Final = ZoneInfo("America/New_York")
"""Cut-offs of the ACH are given in the time of the Federal Reserve Bank of New York, summer time included."""


class Calendar(StrEnum):
    """Whose holidays count; Saturdays and Sundays are none of them."""

    FED = "fed"
    """The Federal Reserve Banks'."""
    TARGET = "target"
    """Those of T2, the Eurosystem's."""
    NONE = "none"


SETTLES_BY: Final = {"USD": Calendar.FED, "EUR": Calendar.TARGET}
"""By whose days a currency's large payments settle, where that is known here."""

MONDAY, THURSDAY, SATURDAY, SUNDAY = 0, 3, 5, 6
ONE_DAY: Final = timedelta(days=1)

JUNETEENTH_SINCE: Final = 2022
"""First year in which the Federal Reserve kept it; it became law on 17 June 2021, too late for that year's."""

SAME_DAY_LIMIT_MINOR: Final = 100_000_000
"""USD 1,000,000 for each entry. Source: Nacha, Same Day ACH dollar limit since 18 March 2022."""

REVERSAL_DAYS: Final = 5
"""Banking days after settlement within which a reversal must reach the receiver's bank. Source: Nacha, 2.9.1."""


class Window(Struct, frozen=True, kw_only=True):
    """A delivery to the ACH operator: files in by the cut-off settle at the time, both Eastern.

    Args:
        days_later: Whole business days from the day of the delivery to that of settlement.
        past_midnight: The cut-off is on the calendar day after the business day it belongs to.
        limit: The most that one entry may be for, in cents, where there is a limit.
    """

    name: str
    cut_off: time
    settles_at: time
    days_later: int = 0
    past_midnight: bool = False
    limit: int | None = None


WINDOWS: Final = (
    Window(name="same_day_1", cut_off=time(10, 30), settles_at=time(13, 0), limit=SAME_DAY_LIMIT_MINOR),
    Window(name="same_day_2", cut_off=time(14, 45), settles_at=time(17, 0), limit=SAME_DAY_LIMIT_MINOR),
    Window(name="same_day_3", cut_off=time(16, 45), settles_at=time(18, 0), limit=SAME_DAY_LIMIT_MINOR),
    Window(name="next_day", cut_off=time(2, 15), settles_at=time(8, 30), days_later=1, past_midnight=True),
)
"""In the order in which they close. Source: Nacha, Same Day ACH; Federal Reserve, FedACH Processing Schedule."""


class Delivery(Struct, frozen=True, kw_only=True):
    """The file an entry goes out in: all entries of one window of one day travel together.

    Args:
        day: The business day the window belongs to.
        closes_at: Aware, UTC: from this instant on it is too late.
        effective_on: The day the originator asks for, written into the batch.
        settles_on, settles_at: When the operator moves the money; the latter aware, UTC.
    """

    window: str
    day: date
    closes_at: datetime
    effective_on: date
    settles_on: date
    settles_at: datetime

    @property
    def name(self) -> str:
        """`20261120-same_day_1`: as long as the calendar lasts, no other delivery has it."""
        return f"{self.day:%Y%m%d}-{self.window}"


def nth(year: int, month: int, weekday: int, n: int) -> date:
    """The `n`th such weekday of a month, 1 the first; -1 the last."""
    if n < 0:
        first_after = date(year + month // 12, month % 12 + 1, 1)
        back = (first_after.weekday() - weekday - 1) % 7 + 1
        return first_after - timedelta(days=back)
    first = date(year, month, 1)
    return first + timedelta(days=(weekday - first.weekday()) % 7 + 7 * (n - 1))


@cache
def holidays(year: int) -> frozenset[date]:
    """Days of a year on which the Federal Reserve Banks are closed, the weekends apart.

    A holiday on a Sunday is kept on the Monday; on one that falls on a Saturday the Banks are open the Friday before,
    so that it is no holiday at all. Source: Federal Reserve, Holidays Observed.
    """
    fixed = [date(year, 1, 1), date(year, 7, 4), date(year, 11, 11), date(year, 12, 25)]
    if year >= JUNETEENTH_SINCE:
        fixed.append(date(year, 6, 19))
    observed = [day + ONE_DAY if day.weekday() == SUNDAY else day for day in fixed if day.weekday() != SATURDAY]
    floating = [
        nth(year, 1, MONDAY, 3),  # Birthday of Martin Luther King, Jr.
        nth(year, 2, MONDAY, 3),  # Washington's Birthday
        nth(year, 5, MONDAY, -1),  # Memorial Day
        nth(year, 9, MONDAY, 1),  # Labor Day
        nth(year, 10, MONDAY, 2),  # Columbus Day
        nth(year, 11, THURSDAY, 4),  # Thanksgiving Day
    ]
    return frozenset((*observed, *floating))


def easter(year: int) -> date:
    """Easter Sunday. Source: the algorithm of Meeus, Jones and Butcher, for the Gregorian calendar."""
    century, of_century = divmod(year, 100)
    epact = (19 * (year % 19) + century - century // 4 - (century - (century + 8) // 25 + 1) // 3 + 15) % 30
    weekday = (32 + 2 * (century % 4) + 2 * (of_century // 4) - epact - of_century % 4) % 7
    correction = (year % 19 + 11 * epact + 22 * weekday) // 451
    month, day = divmod(epact + weekday - 7 * correction + 114, 31)
    return date(year, month, day + 1)


@cache
def target_holidays(year: int) -> frozenset[date]:
    """Days of a year on which T2 is closed, the weekends apart; none is moved. Source: ECB, T2 calendar."""
    sunday = easter(year)
    moving = (sunday - 2 * ONE_DAY, sunday + ONE_DAY)  # Good Friday and Easter Monday.
    return frozenset((date(year, 1, 1), *moving, date(year, 5, 1), date(year, 12, 25), date(year, 12, 26)))


def is_holiday(day: date, calendar: Calendar) -> bool:
    match calendar:
        case Calendar.FED:
            return day in holidays(day.year)
        case Calendar.TARGET:
            return day in target_holidays(day.year)
        case Calendar.NONE:
            return False


def is_business_day(day: date, calendar: Calendar = Calendar.FED) -> bool:
    return day.weekday() < SATURDAY and not is_holiday(day, calendar)


def next_business_day(day: date, calendar: Calendar = Calendar.FED) -> date:
    """The first after `day`, never itself."""
    return add_business_days(day, 1, calendar)


def previous_business_day(day: date) -> date:
    """The last before `day`, never itself."""
    return add_business_days(day, -1)


def business_day_from(day: date) -> date:
    """`day` if it is one, else the next."""
    return day if is_business_day(day) else next_business_day(day)


def add_business_days(day: date, count: int, calendar: Calendar = Calendar.FED) -> date:
    """So many business days on, or back if negative; 0 is `day` itself, whatever it is."""
    step = ONE_DAY if count > 0 else -ONE_DAY
    for _ in range(abs(count)):
        day += step
        while not is_business_day(day, calendar):
            day += step
    return day


def business_days_between(first: date, last: date) -> int:
    """Business days after `first`, up to and with `last`; 0 where that is not later."""
    days = max(0, (last - first).days)
    return sum(is_business_day(first + timedelta(days=n)) for n in range(1, days + 1))


def eastern_day(instant: datetime) -> date:
    """The calendar day in New York. `instant`: aware."""
    assert instant.tzinfo is not None, instant
    return instant.astimezone(EASTERN).date()


def deliveries(since: datetime) -> Iterator[Delivery]:
    """All windows that close after an instant, without end, in the order in which they close. `since`: aware."""
    day = eastern_day(since) - ONE_DAY  # Last night's window may still be open.
    while True:
        if is_business_day(day):
            for window in WINDOWS:
                delivery = _delivery(window, day)
                if since < delivery.closes_at:
                    yield delivery
        day += ONE_DAY


def delivery(decided_at: datetime, *, amount: int, same_day: bool = True) -> Delivery:
    """The first delivery an entry can go out with.

    Args:
        decided_at: Aware. At the very instant of a cut-off it is too late.
        amount: Cents; above the limit of the same-day windows only the next day's is left.
        same_day: Whether the originator wants, and pays for, settlement on the same day.
    """
    limits = {window.name: window.limit for window in WINDOWS if same_day or window.limit is None}
    for each in deliveries(decided_at):
        limit = limits.get(each.window, -1)
        if limit is None or amount <= limit:
            return each
    raise AssertionError("there is always a next day's window")


def settlement_date(effective_on: date | None, *, received_at: datetime, amount: int) -> date:
    """The day an operator settles an entry with this effective entry date, received at this instant.

    A date to come stands, or moves to the business day after it. One that is past, today's or absent means as soon as
    can be: today if a same-day window is open to the amount, else the next business day.
    Source: Nacha Operating Rules, Appendix Three, Effective Entry Date and Settlement Date.
    """
    if effective_on is None or effective_on <= eastern_day(received_at):
        return delivery(received_at, amount=amount, same_day=effective_on is not None).settles_on
    soonest = delivery(received_at, amount=amount).settles_on
    return max(soonest, business_day_from(effective_on))


def _delivery(window: Window, day: date) -> Delivery:
    closing_day = day + ONE_DAY if window.past_midnight else day
    settles_on = add_business_days(day, window.days_later)
    return Delivery(
        window=window.name,
        day=day,
        closes_at=datetime.combine(closing_day, window.cut_off, EASTERN).astimezone(UTC),
        effective_on=settles_on,
        settles_on=settles_on,
        settles_at=datetime.combine(settles_on, window.settles_at, EASTERN).astimezone(UTC),
    )
