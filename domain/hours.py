"""When something takes orders: between two times of the day in a time zone, on some weekdays, holidays apart.

Pure: the instant is always an argument. Where summer time begins or ends the local times hold, not the hours between.
"""

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from typing import Final, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from msgspec import Struct

from domain.calendar import ONE_DAY, Calendar, is_holiday

Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]

WEEKDAYS: Final[tuple[Weekday, ...]] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
LOOKED_AHEAD: Final = 30
"""Days that are looked through for the next opening; no calendar closes that many in a row."""


class Hours(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """From `opens` on, and no longer at `closes`: the cut-off.

    Args:
        zone: Of the times, by its name in the time zone database.
        opens, closes: Local times. What closes no later than it opens does so on the next day, so that two equal times
            are a whole day.
        days: Weekdays on which it opens.
        holidays: On whose it does not.

    Raises:
        ValueError: There is no such zone, a time has a zone of its own, or there are no days.
    """

    zone: str
    opens: time = time(0)
    closes: time = time(0)
    days: tuple[Weekday, ...] = WEEKDAYS[:5]
    holidays: Calendar = Calendar.NONE

    def __post_init__(self) -> None:
        try:
            ZoneInfo(self.zone)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise ValueError(f"no time zone {self.zone!r}") from error
        if self.opens.tzinfo is not None or self.closes.tzinfo is not None:
            raise ValueError("opens and closes are times of the zone")
        if not self.days:
            raise ValueError("hours are on one day of the week at least")

    def __str__(self) -> str:
        apart = "" if self.holidays is Calendar.NONE else f", holidays of {self.holidays} apart"
        return f"{self.opens:%H:%M} to {self.closes:%H:%M} {self.zone} on {' '.join(self.days)}{apart}"


def opens_again(hours: Hours, now: datetime) -> datetime | None:
    """The next opening, UTC; None while it is open. `now`: aware."""
    for opens_at, closes_at in _spans(hours, now):
        if now < closes_at:
            return None if opens_at <= now else opens_at
    raise AssertionError((hours, now))


def _spans(hours: Hours, now: datetime) -> Iterator[tuple[datetime, datetime]]:
    """From when to when it is open, in order: from the day before on, whose hours may last until now."""
    zone = ZoneInfo(hours.zone)
    later = ONE_DAY if hours.closes <= hours.opens else timedelta()
    yesterday = now.astimezone(zone).date() - ONE_DAY
    for day in (yesterday + n * ONE_DAY for n in range(LOOKED_AHEAD)):
        if WEEKDAYS[day.weekday()] in hours.days and not is_holiday(day, hours.holidays):
            opens_at, closes_at = _at(day, hours.opens, zone), _at(day + later, hours.closes, zone)
            if opens_at < closes_at:  # All of it may be in the hour that is left out.
                yield opens_at, closes_at


def _at(day: date, clock: time, zone: ZoneInfo) -> datetime:
    """Of a time that comes twice the first; of one that is left out, as if the clock had not been put forward yet."""
    return datetime.combine(day, clock, zone).astimezone(UTC)
