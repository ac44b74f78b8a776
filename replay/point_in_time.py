"""Balances as of a position or a recorded time, and of value dates before a day, from the log alone.

Postings and read models are not looked at: what comes out here is what they can be held against.
"""

from collections.abc import Callable, Iterator
from datetime import date, datetime
from uuid import UUID

from msgspec import Struct

from domain import account as account_rules
from domain.account import Account
from domain.errors import EventMalformed
from domain.events import (
    AccountClosed,
    AccountFrozen,
    AccountLimitsChanged,
    AccountOpened,
    AccountUnfrozen,
    BookOpened,
    Event,
    RawEvent,
    decode,
    lines,
    value_date_of,
)
from domain.ports import Log
from domain.posting import ZERO, Totals

Progress = Callable[[int, int], None]
"""Told now and then how many events are done, of how many."""

REPORT_EVERY = 5_000


class PositionBeyondLog(Exception):
    """The position asked for has not been written yet."""


class Moment(Struct, frozen=True):
    """What an answer answers for.

    `position` is the last event that counts, `recorded_at` its batch's time (None before the first event); only entries
    with a value date before `before` count, if it is given. What holds set aside counts from the day it was recorded.
    """

    position: int
    recorded_at: datetime | None
    before: date | None


class Balances(Struct, frozen=True):
    """Every account known at the moment, with its totals. `books` are codes by id."""

    moment: Moment
    books: dict[UUID, str]
    accounts: dict[UUID, Account]
    totals: dict[UUID, Totals]


def moment(log: Log, *, position: int | None = None, at: datetime | None = None, before: date | None = None) -> Moment:
    """What is being asked for: up to a position, up to a recorded time (inclusive), or, without either, all of the log.

    Raises:
        PositionBeyondLog: The log ends before the position.
    """
    assert position is None or at is None, (position, at)
    head = log.head()
    end = head.last if head is not None else 0
    if position is not None and not 0 <= position <= end:
        raise PositionBeyondLog(f"position {position} is not in the log, which ends at {end}")
    if head is None or (position is None and at is None):
        return Moment(end, head.recorded_at if head is not None else None, before)
    last = log.last_seal(position=position, at=at)
    if last is None:
        return Moment(0, None, before)
    return Moment(last.last if position is None else position, last.recorded_at, before)


def replay(log: Log, then: Moment, *, only: UUID | None = None, progress: Progress | None = None) -> Balances:
    """Fold the log up to the moment, for one account or for all.

    Raises:
        EventTooNew, EventMalformed: The log cannot be understood; no balance is given.
    """
    folded = Balances(then, {}, {}, {})
    for raw, event in _events(log, then.position, progress):
        stream = raw.stream_id
        if then.before is None or value_date_of(event, raw.recorded_at.date()) < then.before:
            _post(folded.totals, event, only)
        match event:
            case BookOpened():
                folded.books[stream] = event.code
            case AccountOpened():
                if only is None or stream == only:
                    folded.accounts[stream] = account_rules.opened(stream, event)
            case AccountLimitsChanged() | AccountFrozen() | AccountUnfrozen() | AccountClosed():
                if only is None or stream == only:
                    folded.accounts[stream] = account_rules.evolve(folded.accounts[stream], event)
    return folded


def _post(totals: dict[UUID, Totals], event: Event, only: UUID | None) -> None:
    for line in lines(event):
        if only is None or line.account_id == only:
            totals[line.account_id] = line.onto(totals.get(line.account_id, ZERO))


def _events(log: Log, until: int, progress: Progress | None) -> Iterator[tuple[RawEvent, Event]]:
    """The events, none missing: a hole would be a wrong balance."""
    expected = 0
    for raw in log.events(until=until):
        expected += 1
        if raw.position != expected:
            raise EventMalformed(f"position {expected} is missing from the log; see daybook verify")
        yield raw, decode(raw.name, raw.payload)
        if progress is not None and expected % REPORT_EVERY == 0:
            progress(expected, until)
    if expected != until:
        raise EventMalformed(f"position {expected + 1} is missing from the log; see daybook verify")
    if progress is not None:
        progress(until, until)
