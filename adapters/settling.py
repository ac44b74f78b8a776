"""Books what rails report of their days: asks each route for the next day, and puts what it says to the desk.

A day is booked in parts, each of one book and one currency, in the report's own order: the same parts whoever makes
them, since a report stays as it is and all that it can speak of is in the log before it is made. Each has one effect
under its key, so any number of processes may do this at once, and a day that was broken off is done again. No day is
passed over before all of it is booked: not one whose report is rejected, nor one that speaks of a request whose answer
is still to come.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Any, Final
from uuid import UUID

from msgspec import Struct

from adapters.paying import plain
from adapters.rails.ach.instructions import identification
from commands.command import ask, book_named
from commands.desk import Desk
from commands.settlement import LINES_MAX, LineAsked, RecordSettlement
from domain import ids
from domain.calendar import EASTERN
from domain.errors import (
    KeyInFlight,
    OutcomeUnknown,
    Overloaded,
    SettlementRecordedAlready,
    Stopping,
    Unavailable,
)
from domain.events import SettlementRecorded
from domain.payment import State
from domain.ports import RailPort, Reads
from domain.rail import Rail
from domain.settlement import Line, Report, ReportRejected
from domain.upi import IST
from projections import payments, settlements
from projections.projection import tracked_as

ACTOR: Final = "daybook"
KEY: Final = "daybook·settlement"
"""No client's: theirs are ASCII."""

LOOK_S: Final = 5.0
"""How often a route is asked for its next day."""
REFUSED_S: Final = 60.0
"""How long is waited after a refusal, which is kept each time."""
BEHIND_S: Final = 0.02
"""How long the read models are given to come up with the log, before they are looked at again; then twice that."""
NAMES_MAX: Final = 1_000
"""Requests looked up at once."""
WAITS: Final = timedelta(minutes=5)
"""How long the answers to what has settled may be awaited before somebody is told."""
ONE_DAY: Final = timedelta(days=1)

ZONES: Final[Mapping[Rail, tzinfo]] = {Rail.ACH: EASTERN, Rail.UPI: IST}
"""Where a rail's days are days, if not in UTC."""

_NOT_NOW: Final = (Unavailable, OutcomeUnknown, Overloaded, KeyInFlight, Stopping)
"""It is not known to be done; asking again under the same key tells, or does it."""
_Route = tuple[Rail, str]
_OPEN: Final = frozenset({State.REQUESTED, State.UNKNOWN, State.ACCEPTED})


class Told(Struct, frozen=True, kw_only=True):
    """A part that was booked by this process: how many lines of each kind fitted, and how many fitted nothing."""

    rail: Rail
    route: str
    day: date
    part: int
    currency: str
    lines: Mapping[str, int]
    breaks: int


class Waiting(Exception):
    """A report speaks of requests whose answers are not there yet."""


class Refused(Exception):
    """The desk does not take what a rail reports."""


class Unreported(Exception):
    """A rail does not say what settled."""


_EVENTS: Final = {Unreported: "settling.unreported", ReportRejected: "settling.rejected"}


class _Asked(Struct, frozen=True):
    """A request that a line may be about, as it stands."""

    request_id: str
    payment_id: UUID
    book_id: UUID
    state: str


class Settling:
    """Puts `RecordSettlement` to the desk for every day that a route reports.

    Args:
        routes: Those that report.
        book: Where lines of no payment that is known are kept.
        told: Of every part that is booked here. `passed`: of every day that is booked whole, by route.
        report: Told of what should not happen, as (event, details); not of a store that is away.
    """

    def __init__(
        self,
        desk: Desk,
        reads: Reads,
        ports: Mapping[Rail, RailPort],
        routes: Iterable[_Route],
        *,
        book: str,
        told: Callable[[Told], None],
        passed: Callable[[Rail, str, date], None],
        now: Callable[[], datetime],
        report: Callable[[str, BaseException], None],
    ) -> None:
        self._desk = desk
        self._reads = reads
        self._ports = ports
        self._routes = list(routes)
        self._book = book_named(book)
        self._told = told
        self._passed = passed
        self._now = now
        self._report = report
        self._next: dict[_Route, date] = {}
        """The day that is to be asked for."""
        self._waiting: dict[_Route, datetime] = {}
        """Since when a route's report waits for answers."""
        self._complained: dict[_Route, str] = {}

    async def run(self) -> None:
        """Until it is cancelled."""
        await asyncio.gather(*(self._go_on(route) for route in self._routes))

    async def _go_on(self, route: _Route) -> None:
        while True:
            await asyncio.sleep(await self.look(route))

    async def look(self, route: _Route) -> float:
        """Book all days of a rail's route that are there; returns after how many seconds to look again."""
        try:
            await self._settle(route)
            self._complained.pop(route, None)
        except _NOT_NOW:
            pass  # Desk and projections have their say about a store that is away.
        except Waiting as error:
            since = self._waiting.setdefault(route, self._now())
            if self._now() - since >= WAITS:
                self._complain(route, "settling.waits", error)
        except Refused as error:
            self._complain(route, "settling.refused", error)
            return REFUSED_S
        except Exception as error:
            self._complain(route, _EVENTS.get(type(error), "settling.failed"), error)
        return LOOK_S

    async def _settle(self, route: _Route) -> None:
        day = self._next.get(route) or await self._first(*route)
        while day is not None:
            report = await self._reported(*route, day)
            if report is None:
                return
            for command in await self._parts(report):
                await self._put(command)
            self._waiting.pop(route, None)
            self._passed(*route, day)
            day += ONE_DAY
            self._next[route] = day

    async def _first(self, rail: Rail, route: str) -> date | None:
        """The last day in the log, which may not be there whole, or the one before the route's first request.

        When that was made it may have been just past midnight by our clock, and by the rail's just before it.
        """
        row = (await self._current("settled_until", {"rail": rail.value, "route": route}))[0]
        last: date | None = row["day"]
        if last is not None or row["requested_at"] is None:
            return last
        began: datetime = row["requested_at"]
        return began.astimezone(ZONES.get(rail, UTC)).date() - ONE_DAY

    async def _reported(self, rail: Rail, route: str, day: date) -> Report | None:
        try:
            return await self._ports[rail].report(route, day)
        except Unavailable as error:
            raise Unreported(f"{route}, {day}: {error}") from error
        except ReportRejected as error:
            raise ReportRejected(f"{route}, {day}: {error}") from error

    async def _parts(self, report: Report) -> list[RecordSettlement]:
        """What is to be booked; none of an empty day.

        Raises:
            Waiting: Not all that it speaks of is known to be done, or not.
        """
        known = await self._known(report)
        told = (known[line.request_id] for line in report.lines if line.request_id in known)
        open_ = {asked.request_id for asked in told if asked.state in _OPEN}
        if open_:
            raise Waiting(f"{report.route}, {report.day}: {len(open_)} requests are not answered, as {min(open_)}")
        groups: dict[tuple[UUID, str], list[LineAsked]] = {}
        for line in report.lines:
            asked = known.get(line.request_id)
            book = self._book if asked is None else asked.book_id
            groups.setdefault((book, line.currency), []).append(_line(line, asked))
        return [
            RecordSettlement(
                book=ids.show(ids.BOOK, book),
                rail=report.rail,
                route=report.route,
                day=report.day,
                part=part,
                currency=currency,
                reference=plain(report.reference),
                lines=tuple(lines),
            )
            for (book, currency), all_of_it in groups.items()
            for part, lines in enumerate(_in_parts(all_of_it), start=1)
        ]

    async def _known(self, report: Report) -> dict[str, _Asked]:
        """Requests by what the lines name them. All that a rail can speak of is in the log before it is asked."""
        names = list(dict.fromkeys(line.request_id for line in report.lines))
        found: dict[str, _Asked] = {}
        for at in range(0, len(names), NAMES_MAX):
            wanted = {"requests": names[at : at + NAMES_MAX], "rail": report.rail.value, "route": report.route}
            for row in await self._current("payments_asked", wanted):
                if row["request_id"] is not None:
                    asked = _Asked(row["request_id"], row["payment_id"], row["book_id"], row["state"])
                    found[row["named"] or identification(asked.request_id)] = asked
        return found

    async def _put(self, command: RecordSettlement) -> None:
        """Once, however often and by whomever; a refusal that was kept stands in the way of no other try."""
        key = name = f"{KEY} {command.route} {command.day} {command.currency} {command.part}"
        while True:
            outcome = await self._desk.submit(ask(command, actor=ACTOR, key=key))
            if outcome.refusal is None or isinstance(outcome.refusal, SettlementRecordedAlready):
                break
            if not outcome.replayed:
                raise Refused(f"{command.route}, {command.day}: {outcome.refusal.code}")
            # That refusal is the answer to that key for ever; every process comes to the same next one.
            key = f"{name} after {outcome.position}"
        if not outcome.replayed:
            for one in outcome.recorded:
                if isinstance(one.event, SettlementRecorded):
                    self._told(_told(one.event))

    async def _current(self, query: str, parameters: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The query's rows, of read models that know all that is in the log when this is called."""
        wanted = {"projections": [tracked_as(payments), tracked_as(settlements)], **parameters}
        rows = await self._reads.fetch(query, wanted)
        head, pause_s = rows[0]["head"], BEHIND_S
        while rows[0]["as_of"] < head:
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, LOOK_S)
            rows = await self._reads.fetch(query, wanted)
        return rows

    def _complain(self, route: _Route, event: str, error: BaseException) -> None:
        """Once; what is told again and again is not read."""
        if self._complained.get(route) != f"{event} {error}":
            self._complained[route] = f"{event} {error}"
            self._report(event, error)


def _in_parts(lines: Sequence[LineAsked]) -> Iterator[Sequence[LineAsked]]:
    return (lines[at : at + LINES_MAX] for at in range(0, len(lines), LINES_MAX))


def _line(line: Line, asked: _Asked | None) -> LineAsked:
    """A stranger's words are cut and made printable: they must never be what keeps a day from being booked."""
    said: dict[str, Any] = {
        "said": line.said,
        "payment_id": None if asked is None else asked.payment_id,
        "request_id": plain(line.request_id) if asked is None else asked.request_id,
        "operation": line.operation,
        "amount": line.amount,
        "fee": line.fee,
        "respond_by": line.respond_by,
    }
    words = {name: plain(getattr(line, name)) for name in ("reference", "code", "reason", "message")}
    return LineAsked.model_validate(said | words)


def _told(event: SettlementRecorded) -> Told:
    return Told(
        rail=Rail(event.rail),
        route=event.route,
        day=event.day,
        part=event.part,
        currency=event.currency,
        lines=event.lines,
        breaks=len(event.breaks),
    )
