"""The days that a route reports, booked one after the other: none passed over, none twice, whatever is in the way."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime, timedelta

import pytest

from adapters import settling
from adapters.postgres.projecting import Projections
from adapters.postgres.reads import PostgresReads
from adapters.postgres.store import PostgresEventStore
from adapters.settling import LOOK_S, REFUSED_S, Settling, Told
from commands.desk import Desk
from domain.errors import Unavailable
from domain.rail import Answer, Instruction, Rail, Unknown
from domain.settlement import Line, Report, ReportRejected, Said
from tests.paid import Till
from tests.support import Reports, asked, desk, open_account, open_book

ROUTE = (Rail.CARD, "north")


class Acquirer:
    """A route that reports what it is told to, and remembers which days it was asked for."""

    def __init__(self) -> None:
        self.days: dict[date, list[Line]] = {}
        self.until: date | None = None
        """The last day that is over."""
        self.fails: Exception | None = None
        self.asked: list[date] = []

    async def send(self, instruction: Instruction) -> Answer:
        return Unknown(why="it only reports")

    inquire = send

    async def report(self, route: str, day: date) -> Report | None:
        self.asked.append(day)
        if self.fails is not None:
            raise self.fails
        if self.until is None or day > self.until:
            return None
        return Report(rail=Rail.CARD, route=route, day=day, reference="file", lines=tuple(self.days.get(day, ())))


class Office:
    """What one process has: a desk, reads, payments, and a settling that looks when it is told to."""

    def __init__(self, working: Desk, reads: PostgresReads, acquirer: Acquirer, reports: Reports) -> None:
        self.desk = working
        self.reads = reads
        self.till = Till(working)
        self.acquirer = acquirer
        self.reports = reports
        self.told: list[Told] = []
        self.passed: list[date] = []
        self.now = datetime.now(UTC)
        self.start()

    def start(self, *, book: str = "main") -> None:
        """A settling that knows nothing but what is in the log."""
        self.settling = Settling(
            self.desk,
            self.reads,
            {Rail.CARD: self.acquirer},
            [ROUTE],
            book=book,
            told=self.told.append,
            passed=lambda rail, route, day: self.passed.append(day),
            now=lambda: self.now,
            report=lambda *told: self.reports.append(told),
        )

    async def look(self) -> float:
        return await self.settling.look(ROUTE)

    async def paid(self, name: str, amount: int = 1_000) -> Line:
        """A payment by that route, and the line that settles it."""
        await self.till.create(name, amount, "card")
        await self.till.start(name)
        for _ in ("authorized", "captured"):
            await self.till.approved(name)
        return self.line(name, amount)

    def line(self, name: str, amount: int = 1_000, said: Said = Said.SETTLED) -> Line:
        request = self.till.request(name)
        operation = request.operation.value
        return Line(said=said, request_id=request.id, operation=operation, amount=amount, currency="EUR", fee=10)

    @property
    def today(self) -> date:
        return self.till.request(next(iter(self.till.known))).requested_at.date()

    @property
    def day_before(self) -> date:
        """The first that is asked for, since clocks differ."""
        return self.today - timedelta(days=1)


@asynccontextmanager
async def office(dsn: str) -> AsyncIterator[Office]:
    reports: Reports = []
    working = desk(PostgresEventStore(dsn), reports)
    working.start()
    projections = Projections(dsn)
    projections.start()
    try:
        async with PostgresReads(dsn) as reads:
            found = Office(working, reads, Acquirer(), reports)
            await working.submit(asked(open_book()))
            await working.submit(asked(open_account("merchant", "liability")))
            yield found
    finally:
        await asyncio.to_thread(projections.stop)
        await working.stop()


def test_days_are_booked_from_the_one_before_the_first_request_on(database: str) -> None:
    """
    In their order, empty ones too; one that is not over is asked for again, and who comes later goes on from the last.
    """

    async def tell() -> None:
        async with office(database) as found:
            assert await found.look() == LOOK_S and found.acquirer.asked == []
            first, second = await found.paid("first"), await found.paid("second")
            days = [found.today + timedelta(days=n) for n in range(-1, 4)]
            found.acquirer.days = {days[0]: [first], days[2]: [second]}
            await found.look()
            assert (found.acquirer.asked, found.passed) == (days[:1], [])

            found.acquirer.until = days[3]
            await found.look()
            assert found.passed == days[:4]
            await found.look()
            assert found.acquirer.asked[-2:] == [days[4], days[4]]
            assert [(one.day, one.lines) for one in found.told] == [(day, {"settled": 1}) for day in (days[0], days[2])]

            found.start()
            found.passed.clear()
            await found.look()
            assert found.passed == days[2:4]
            assert len(found.told) == 2
            assert found.reports == []

    asyncio.run(tell())


def test_a_day_that_speaks_of_what_is_not_answered_waits(database: str) -> None:
    """
    Until it is; if that takes long somebody is told, once.
    """

    async def tell() -> None:
        async with office(database) as found:
            line = await found.paid("done")
            await found.till.create("open", 500, "card")
            await found.till.start("open")
            await found.till.approved("open")
            await found.till.silent("open")
            found.acquirer.until = found.today
            found.acquirer.days = {found.today: [line, found.line("open", 500)]}
            await found.look()
            assert (found.told, found.passed, found.reports) == ([], [found.day_before], [])
            found.now += settling.WAITS
            await found.look()
            await found.look()
            assert [event for event, _ in found.reports] == ["settling.waits"]

            await found.till.approved("open")
            await found.look()
            assert [one.lines for one in found.told] == [{"settled": 2}]

    asyncio.run(tell())


@pytest.mark.parametrize(
    ("fails", "event"),
    [
        (Unavailable("nobody there"), "settling.unreported"),
        (ReportRejected("line 3: it does not add up"), "settling.rejected"),
        (ValueError("a mistake of ours"), "settling.failed"),
    ],
)
def test_a_day_that_is_not_told_is_not_passed(database: str, fails: Exception, event: str) -> None:
    """
    It is told once that it is not, and asked for until it is.
    """

    async def tell() -> None:
        async with office(database) as found:
            line = await found.paid("first")
            found.acquirer.until, found.acquirer.days = found.today, {found.today: [line]}
            found.acquirer.fails = fails
            await found.look()
            await found.look()
            assert [told for told, _ in found.reports] == [event] and found.passed == []

            found.acquirer.fails = None
            await found.look()
            assert found.passed == [found.day_before, found.today] and len(found.told) == 1

    asyncio.run(tell())


def test_a_refusal_stands_in_the_way_of_no_other_try(database: str) -> None:
    """
    Lines of nobody's go to the wiring's book; once there is one they are booked, though the first try was refused.
    """

    async def tell() -> None:
        async with office(database) as found:
            await found.paid("first")
            nobody = Line(said=Said.SETTLED, request_id="nobody's", operation="capture", amount=5, currency="EUR")
            found.acquirer.until, found.acquirer.days = found.today, {found.today: [nobody]}
            found.start(book="other")
            assert await found.look() == REFUSED_S
            assert await found.look() == REFUSED_S
            assert [told for told, _ in found.reports] == ["settling.refused"]
            assert found.passed == [found.day_before]

            await found.desk.submit(asked(open_book("other")))
            found.start(book="other")
            assert await found.look() == LOOK_S
            assert [(one.lines, one.breaks) for one in found.told] == [({}, 1)]

    asyncio.run(tell())


def test_a_report_that_is_another_than_it_was_is_a_fault(database: str) -> None:
    """
    What was booked of it stays, and nothing of the other is.
    """

    async def tell() -> None:
        async with office(database) as found:
            line = await found.paid("first")
            found.acquirer.until, found.acquirer.days = found.today, {found.today: [line]}
            await found.look()
            found.acquirer.days = {found.today: [line, line]}
            found.start()
            await found.look()
            assert [told for told, _ in found.reports] == ["settling.failed"]
            assert len(found.told) == 1

    asyncio.run(tell())


def test_parts_are_of_one_book_and_currency(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    In the report's order, cut where they are long; whoever puts them a second time puts the same ones.
    """
    monkeypatch.setattr(settling, "LINES_MAX", 2)

    async def tell() -> None:
        async with office(database) as found:
            lines = [await found.paid(f"payment {number}") for number in range(3)]
            dollars = Line(said=Said.SETTLED, request_id="nobody's", operation="capture", amount=5, currency="USD")
            found.acquirer.until = found.today
            found.acquirer.days = {found.today: [lines[0], dollars, *lines[1:]]}
            await found.look()
            found.start()
            await found.look()

            parts = [(one.currency, one.part, one.lines.get("settled", 0), one.breaks) for one in found.told]
            assert parts == [("EUR", 1, 2, 0), ("EUR", 2, 1, 0), ("USD", 1, 0, 1)]
            assert found.reports == []

    asyncio.run(tell())


def test_two_processes_book_each_part_once(database: str) -> None:
    """
    At the same time, as often as they like.
    """

    async def tell() -> None:
        async with office(database) as one, office(database) as other:
            lines = [await one.paid(f"payment {number}") for number in range(5)]
            for each in (one, other):
                each.acquirer.until, each.acquirer.days = one.today, {one.today: lines}
            for _ in range(3):
                await asyncio.gather(one.look(), other.look())
                one.start()
                other.start()
            assert sum(told.lines["settled"] for told in [*one.told, *other.told]) == 5
            assert one.reports == other.reports == []

    asyncio.run(tell())
