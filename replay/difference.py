"""What changed between two moments: which accounts, by how much, and which events did it; from the log alone."""

from collections.abc import Iterable
from datetime import UTC, date, datetime
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
    EntryPosted,
    Event,
    RawEvent,
    decode,
    lines,
    value_date_of,
)
from domain.ports import Log
from domain.posting import ZERO, Totals
from replay.point_in_time import Moment, Progress, replay


class Touch(Struct, frozen=True):
    """What one event did to one account: `posted` and `pending` in minor units, debit positive, 0 for what is no money.

    `value_date` is None of an event upon the account itself.
    """

    position: int
    recorded_at: datetime
    stream_id: UUID
    name: str
    value_date: date | None
    description: str
    posted: int
    pending: int


class Change(Struct, frozen=True):
    """One account: as it is in the end, its totals at both moments (zero before it was opened), and all in between."""

    account: Account
    opened: bool
    before: Totals
    after: Totals
    touches: list[Touch]


def net(totals: Totals) -> int:
    """Posted, debit positive, in minor units."""
    return totals.debits - totals.credits


def net_pending(totals: Totals) -> int:
    """Set aside, debit positive, in minor units."""
    return totals.pending_debits - totals.pending_credits


def difference(
    log: Log, first: Moment, last: Moment, *, book_id: UUID, progress: Progress | None = None
) -> list[Change]:
    """The book's accounts that anything happened to after `first` and up to `last`, by code.

    Raises:
        EventTooNew, EventMalformed: The log cannot be understood; nothing is told.
    """
    assert first.position <= last.position, (first, last)
    before = replay(log, first, progress=progress)
    accounts = dict(before.accounts)
    totals = dict(before.totals)
    touches: dict[UUID, list[Touch]] = {}
    due = first.position
    for raw in log.events(after=first.position, until=last.position):
        due += 1
        if raw.position != due:
            raise EventMalformed(f"position {due} is missing from the log; see daybook verify")
        event = decode(raw.name, raw.payload)
        _evolve(accounts, raw.stream_id, event)
        for account_id, touch in _touches(raw, event, totals):
            touches.setdefault(account_id, []).append(touch)
    if due != last.position:
        raise EventMalformed(f"position {due + 1} is missing from the log; see daybook verify")
    changes = [
        Change(
            account, name not in before.accounts, before.totals.get(name, ZERO), totals.get(name, ZERO), touches[name]
        )
        for name, account in accounts.items()
        if name in touches and account.book_id == book_id
    ]
    return sorted(changes, key=lambda change: change.account.code)


def _evolve(accounts: dict[UUID, Account], stream: UUID, event: Event) -> None:
    match event:
        case AccountOpened():
            accounts[stream] = account_rules.opened(stream, event)
        case AccountLimitsChanged() | AccountFrozen() | AccountUnfrozen() | AccountClosed():
            accounts[stream] = account_rules.evolve(accounts[stream], event)


def _touches(raw: RawEvent, event: Event, totals: dict[UUID, Totals]) -> Iterable[tuple[UUID, Touch]]:
    """What the event did, account by account, however often it posts to one; brings `totals` up to date."""
    if isinstance(event, AccountOpened | AccountLimitsChanged | AccountFrozen | AccountUnfrozen | AccountClosed):
        yield raw.stream_id, _touch(raw, event, None, ZERO, ZERO)
    then: dict[UUID, Totals] = {}
    for line in lines(event):
        now = totals.get(line.account_id, ZERO)
        then.setdefault(line.account_id, now)
        totals[line.account_id] = line.onto(now)
    day = value_date_of(event, raw.recorded_at.astimezone(UTC).date())
    for account_id, was in then.items():
        yield account_id, _touch(raw, event, day, was, totals[account_id])


def _touch(raw: RawEvent, event: Event, day: date | None, was: Totals, now: Totals) -> Touch:
    return Touch(
        position=raw.position,
        recorded_at=raw.recorded_at,
        stream_id=raw.stream_id,
        name=raw.name,
        value_date=day,
        description=event.description if isinstance(event, EntryPosted) else "",
        posted=net(now) - net(was),
        pending=net_pending(now) - net_pending(was),
    )
