"""Holds and escrows end at their time by themselves: once, whoever else is at it, whatever happens to the database."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest

from adapters.expiry import ACTOR, ESCROWS, HOLDS, Expiry, Kind
from adapters.postgres.projecting import Projections, catch_up
from adapters.postgres.reads import PostgresReads
from adapters.postgres.store import PostgresEventStore
from commands.desk import Desk, Outcome
from commands.hold import CaptureHold, ExpireHold, PlaceHold, VoidHold
from domain.errors import Unavailable
from tests.escrowed import ESCROW_ACCOUNT, approve, fund, meet, said_by
from tests.support import Reports, answers, asked, books_of, desk, open_account, open_book, said, transfer

Row = tuple[str, str, datetime]


class Process:
    """What one process has: a desk, reads and an expiry that is not started."""

    def __init__(self, desk: Desk, reads: PostgresReads, reports: Reports, kind: Kind = HOLDS) -> None:
        self.desk = desk
        self.reads = reads
        self.reports = reports
        self.expiry = Expiry(desk, reads, report=lambda *told: reports.append(told), of=kind)

    async def done(self, command: Any) -> Outcome:
        outcome = await self.desk.submit(asked(command))
        assert outcome.refusal is None, outcome
        return outcome

    async def hold(self, seconds: float | None, amount: int = 10) -> UUID:
        """Funds set aside for that long."""
        at = None if seconds is None else datetime.now(UTC) + timedelta(seconds=seconds)
        command = PlaceHold(
            book="main", account="cash", destination="goods", amount=amount, currency="EUR", expires_at=at
        )
        return (await self.done(command)).recorded[0].stream_id


@asynccontextmanager
async def process(dsn: str, kind: Kind = HOLDS) -> AsyncIterator[Process]:
    reports: Reports = []
    working = desk(PostgresEventStore(dsn), reports)
    working.start()
    try:
        async with PostgresReads(dsn) as reads:
            yield Process(working, reads, reports, kind)
    finally:
        await working.stop()


@asynccontextmanager
async def expiring(*processes: Process) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(each.expiry.run()) for each in processes]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


@asynccontextmanager
async def projecting(dsn: str) -> AsyncIterator[None]:
    projections = Projections(dsn)
    projections.start()
    try:
        yield
    finally:
        await asyncio.to_thread(projections.stop)


async def open_all(one: Process) -> None:
    await one.done(open_book())
    for code, type in (("cash", "asset"), ("goods", "expense"), ("owner", "equity")):
        await one.done(open_account(code, type))
    await one.done(transfer("cash", "owner", 1_000))


def ends(dsn: str) -> list[Row]:
    """The ends of holds and all refusals, with who did it and when."""
    with psycopg.connect(dsn) as connection:
        return connection.execute(
            "SELECT name, convert_from(metadata, 'UTF8')::jsonb ->> 'actor', recorded_at FROM daybook.events"
            " WHERE name ~ '^hold[.](captured|voided|expired)|^escrow.expired|command.refused' ORDER BY position"
        ).fetchall()


async def until_ended(dsn: str, number: int) -> list[Row]:
    """Wait until that many have ended."""
    for _ in range(1_000):
        found = await asyncio.to_thread(ends, dsn)
        if sum(name.startswith(("hold.", "escrow.")) for name, _, _ in found) >= number:
            return found
        await asyncio.sleep(0.01)
    raise AssertionError("waited in vain")


def test_two_runners_end_each_hold_once(database: str) -> None:
    """
    Two processes with ten holds: each ends once, soon after its time and not before, and nothing is refused.
    """

    async def run() -> tuple[list[datetime], list[Row]]:
        async with process(database) as one, process(database) as other, projecting(database):
            await open_all(one)
            began = datetime.now(UTC)
            for number in range(10):
                await one.hold(1.2 + number / 10)
            await one.hold(None)
            await one.hold(60)
            async with expiring(one, other):
                await until_ended(database, 10)
                await asyncio.sleep(0.3)
            assert one.reports == other.reports == []
            with psycopg.connect(database) as connection:
                times = connection.execute(
                    "SELECT expires_at FROM daybook_read.holds WHERE expires_at < %s ORDER BY 1",
                    (began + timedelta(seconds=30),),
                ).fetchall()
            return [at for (at,) in times], ends(database)

    due, found = asyncio.run(run())

    assert [(name, actor) for name, actor, _ in found] == [("hold.expired.v1", ACTOR)] * 10
    late = sorted((at - time).total_seconds() for (_, _, at), time in zip(found, due, strict=True))
    assert late[0] >= 0
    assert late[5] < 0.15, late


def test_two_runners_end_each_escrow_once(database: str) -> None:
    """
    Two processes with ten escrows, one of them released before its time: nine end once, soon after their time and not
    before, nothing is refused, and nothing is left of them.
    """

    async def run() -> tuple[list[Row], datetime]:
        async with process(database, ESCROWS) as one, process(database, ESCROWS) as other, projecting(database):
            await open_all(one)
            for code in ("buyer", "seller"):
                await one.done(open_account(code, "liability"))
            due = datetime.now(UTC) + timedelta(seconds=1.5)
            names = [(await one.done(fund(expires_at=due))).recorded[0].stream_id for _ in range(10)]
            await one.done(fund())
            async with expiring(one, other):
                for step in (meet(names[0], "delivered"), meet(names[0], "intact", "eve"), approve(names[0])):
                    await one.desk.submit(asked(step, actor=said_by(step)))
                last = approve(names[0], "eve")
                await one.desk.submit(asked(last, actor=said_by(last)))
                await until_ended(database, 9)
                await asyncio.sleep(0.3)
            assert one.reports == other.reports == []
            return ends(database), due

    found, due = asyncio.run(run())

    assert [(name, actor) for name, actor, _ in found] == [("escrow.expired.v1", ACTOR)] * 9
    assert all(timedelta(0) <= at - due < timedelta(seconds=1) for _, _, at in found)
    debits, credits = books_of(database).check()[ESCROW_ACCOUNT]
    assert credits - debits == 100


@pytest.mark.parametrize("command", [CaptureHold, VoidHold])
def test_one_end_whatever_races(database: str, command: type[CaptureHold | VoidHold]) -> None:
    """
    Capture and void race expiry, by hand and by itself: every hold has one end, and what was captured was not released.
    """

    async def run() -> tuple[list[str], dict[UUID, list[str]]]:
        async with process(database) as one, process(database) as other, projecting(database):
            await open_all(one)
            holds = [await one.hold(1.5) for _ in range(20)]
            async with expiring(one, other):
                words = []
                for hold in holds:
                    await asyncio.sleep(0.15)
                    racing = [asked(command(hold_id=hold)), asked(ExpireHold(hold_id=hold))]
                    words += [said(answer) for answer in await answers(other.desk, *racing)]
                await asyncio.sleep(0.5)
        with psycopg.connect(database) as connection:
            found = connection.execute(
                "SELECT stream, name FROM daybook.events WHERE stream = ANY(%s) ORDER BY position", (holds,)
            ).fetchall()
        return words, {hold: [name for stream, name in found if stream == hold] for hold in holds}

    words, by_hold = asyncio.run(run())

    word = "captured" if command is CaptureHold else "voided"
    kinds = {names[-1] for names in by_hold.values()}
    assert all(len(names) == 2 for names in by_hold.values()), by_hold
    assert kinds == {f"hold.{word}.v1", "hold.expired.v1"}
    assert words.count("done") >= sum(names[-1] == f"hold.{word}.v1" for names in by_hold.values())


def test_a_hold_that_ended_otherwise_is_left_alone(database: str) -> None:
    """
    A hold captured or voided before its time leaves no refusal behind, though the read model is told late.
    """

    async def run() -> list[Row]:
        async with process(database) as one:
            await open_all(one)
            captured, voided, _ = await one.hold(0.6), await one.hold(0.6), await one.hold(0.6)
            await asyncio.to_thread(catch_up, database)  # So that it shows all three as held.
            await one.done(CaptureHold(hold_id=captured))
            await one.done(VoidHold(hold_id=voided))
            async with expiring(one):
                await asyncio.sleep(1.2)
                nothing_yet = len(await asyncio.to_thread(ends, database))
                async with projecting(database):
                    await until_ended(database, 3)
                    await asyncio.sleep(0.2)
            assert nothing_yet == 2
            return ends(database)

    names = [name for name, _, _ in asyncio.run(run())]

    assert names == ["hold.captured.v1", "hold.voided.v1", "hold.expired.v1"]


def test_the_database_goes_away(database: str) -> None:
    """
    Killed sessions cost a moment; what comes due meanwhile ends when there is a database again, and nobody is told.
    """

    async def run() -> tuple[list[Row], Reports]:
        async with process(database) as one, projecting(database):
            await open_all(one)
            await one.hold(0.8)
            await one.hold(1.6)
            async with expiring(one):
                for _ in range(8):
                    with psycopg.connect(database, autocommit=True) as connection:
                        connection.execute(
                            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                        )
                    await asyncio.sleep(0.1)
                found = await until_ended(database, 2)
            return found, one.reports

    found, reports = asyncio.run(run())

    assert [name for name, _, _ in found] == ["hold.expired.v1"] * 2
    assert [event for event, _ in reports if event.startswith("expiry")] == []


class Shown:
    """Reads that show one hold as due until the log is past a position; counts the looks."""

    def __init__(self, hold: UUID, error: Exception | None = None) -> None:
        self.hold = hold
        self.error = error
        self.asked: list[Mapping[str, Any]] = []

    async def fetch(self, query: str, parameters: Mapping[str, Any]) -> list[dict[str, Any]]:
        self.asked.append(parameters)
        if self.error is not None:
            raise self.error
        shown = None if self.hold in parameters["asked"] else self.hold
        return [{"as_of": 0, "head": 0, "hold_id": shown, "due_in_s": 0.0}]


def test_a_hold_is_asked_for_once(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A read model that stands still shows a hold that has ended; it is asked for once, refused or not.
    """
    monkeypatch.setattr("adapters.expiry.POLL_S", 0.01)

    async def run() -> tuple[list[Row], int]:
        async with process(database) as one:
            await open_all(one)
            hold = await one.hold(None)
            await one.done(VoidHold(hold_id=hold))
            shown = Shown(hold)
            one.expiry = Expiry(one.desk, shown, report=lambda *_: None)  # type: ignore[arg-type]
            async with expiring(one):
                await asyncio.sleep(0.5)
            assert one.desk.tally.replayed == 0
            return ends(database), len(shown.asked)

    found, looks = asyncio.run(run())

    assert [name for name, _, _ in found] == ["hold.voided.v1", "command.refused.v1"]
    assert looks > 5


def test_asked_too_early(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A refusal under the key that all processes share does not keep a hold from ending when its time has come.
    """
    monkeypatch.setattr("adapters.expiry.POLL_S", 0.25)

    async def run() -> list[Row]:
        async with process(database) as one, process(database) as other:
            await open_all(one)
            hold = await one.hold(0.6)
            for each in (one, other):
                each.expiry = Expiry(each.desk, Shown(hold), report=lambda *_: None)  # type: ignore[arg-type]
            async with expiring(one, other):
                return await until_ended(database, 1)

    found = asyncio.run(run())

    names = [name for name, _, _ in found]
    assert names[-1] == "hold.expired.v1"
    assert 2 <= len(names) <= 6


@pytest.mark.parametrize(
    ("error", "told"), [(Unavailable("away"), 0), (RuntimeError("a slip of ours"), 1)], ids=["away", "slip"]
)
def test_what_is_told(monkeypatch: pytest.MonkeyPatch, error: Exception, told: int) -> None:
    """
    A store that is away is others' to tell; a slip of ours is told once, not at every look.
    """
    monkeypatch.setattr("adapters.expiry.POLL_S", 0.01)
    reports: Reports = []

    async def run() -> int:
        shown = Shown(UUID(int=1), error)
        expiry = Expiry(None, shown, report=lambda *event: reports.append(event))  # type: ignore[arg-type]
        task = asyncio.create_task(expiry.run())
        await asyncio.sleep(0.3)
        task.cancel()
        return len(shown.asked)

    looks = asyncio.run(run())

    assert looks > 5
    assert [event for event, _ in reports] == ["expiry.failed"] * told
