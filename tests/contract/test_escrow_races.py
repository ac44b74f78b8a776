"""Escrows that two want to take in two directions at once, on two desks upon one Postgres: one of them does.

Four hundred races, a hundred of each of four kinds. The desks are threads with a connection each, as in two processes;
they commit five commands at a time, in different orders, so that they take turns all along.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from itertools import chain
from random import Random
from typing import Any, Final
from uuid import UUID

from adapters.postgres.store import PostgresEventStore
from commands.command import Asked, Command
from commands.desk import Desk, Outcome
from commands.escrow import ExpireEscrow, ReleaseEscrow
from domain import escrow
from domain.escrow import Escrow
from domain.events import Recorded, recorded
from tests.escrowed import ESCROW_ACCOUNT, SELLER, approve, fund, give_back, meet, said_by
from tests.support import Reports, books_of, freeze, open_account, open_book, said, started, unfreeze
from tests.support import asked as asked_for

RACES: Final = 100
"""Of each kind; there are four kinds."""
AT_A_TIME: Final = 5
"""Commands of one commit, so that the two desks take turns some twenty times each."""

Step = Callable[[UUID], Command]


def asked(command: Command) -> Asked:
    return asked_for(command, actor=said_by(command))


class Course:
    """Two desks on one log, and the escrows they race for."""

    def __init__(self, dsn: str) -> None:
        self.dsn = dsn
        self.reports: Reports = []
        self.stack = AsyncExitStack()

    async def __aenter__(self) -> "Course":
        self.desks: list[Desk] = []
        for _ in range(2):
            working = started(PostgresEventStore(self.dsn), self.reports, batch_max=AT_A_TIME, patience_s=100)
            self.desks.append(await self.stack.enter_async_context(working))
        self.quick = await self.stack.enter_async_context(started(PostgresEventStore(self.dsn), self.reports))
        for each in (open_book(), open_account("buyer", "liability"), open_account("seller", "liability")):
            await self.do(each)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stack.aclose()

    async def do(self, command: Command) -> Outcome:
        outcome = await self.quick.submit(asked(command))
        assert said(outcome) == "done", outcome
        return outcome

    async def escrows(self, *steps: Step, **terms: Any) -> list[UUID]:
        """As many as there are races, each taken through those steps."""
        outcomes = await asyncio.gather(*(self.do(fund(**terms)) for _ in range(RACES)))
        names = [each.escrow.id for each in outcomes if each.escrow is not None]
        for step in steps:
            await asyncio.gather(*(self.do(step(name)) for name in names))
        return names

    async def run(self, names: list[UUID], *sides: Sequence[Step]) -> list[list[list[str]]]:
        """Everybody at once, each desk in an order of its own; by escrow, what each side was answered."""
        dice = Random(7)
        tasks: dict[tuple[int, UUID], list[asyncio.Task[Outcome]]] = {}
        orders = [dice.sample(names, len(names)) for _ in sides]
        for turn in zip(*orders, strict=True):
            for side, name in enumerate(turn):
                submit = self.desks[side].submit
                tasks[side, name] = [asyncio.create_task(submit(asked(step(name)))) for step in sides[side]]
        await asyncio.gather(*chain.from_iterable(tasks.values()))
        return [[[said(task.result()) for task in tasks[side, name]] for side in range(len(sides))] for name in names]

    def folded(self, names: list[UUID]) -> list[Escrow]:
        """Every escrow as the log has it, which the independent checker has passed; what they hold is there."""
        assert self.reports == []
        books = books_of(self.dsn)
        debits, credits = books.check()[ESCROW_ACCOUNT]
        streams: dict[UUID, list[Recorded]] = {name: [] for name in names}
        for raw in books.events:
            if raw.stream_id in streams:
                streams[raw.stream_id].append(recorded(raw))
        found = [escrow.fold(name, events) for name, events in streams.items()]
        escrows = [each for each in found if each is not None]
        assert credits - debits == sum(each.held for each in escrows)
        return escrows


def delivered(name: UUID) -> Command:
    return meet(name, "delivered")


def intact(name: UUID) -> Command:
    return meet(name, "intact", "eve")


def release(name: UUID) -> Command:
    return ReleaseEscrow(escrow_id=name, part="goods", amount=40)


def expire(name: UUID) -> Command:
    return ExpireEscrow(escrow_id=name)


def all_back(name: UUID) -> Command:
    return give_back(name)


def last_approval(name: UUID) -> Command:
    return approve(name, "eve")


def test_releases_against_releases(database: str) -> None:
    """
    Of 70 that are ready, each desk is asked for 40 twice. One gets it, and three are told what is left.
    """

    async def scenario() -> None:
        async with Course(database) as course:
            names = await course.escrows(delivered)
            await course.do(freeze("seller"))
            await asyncio.gather(*(course.do(intact(name)) for name in names))
            await course.do(unfreeze("seller"))

            answered = await course.run(names, [release] * 2, [release] * 2)

            for race in answered:
                assert sorted(chain(*race)) == ["done", *["escrow_amount_exceeded"] * 3]
            assert {"done" in race[0] for race in answered} == {True, False}
            assert [one.released for one in course.folded(names)] == [40] * RACES

    asyncio.run(scenario())


def test_return_against_release(database: str) -> None:
    """
    The last condition is met, or all goes back: never both.
    """

    async def scenario() -> None:
        async with Course(database) as course:
            parts = [{"name": "all", "amount": 100, "release": {"conditions": ["delivered"]}}]
            terms: dict[str, Any] = {"parts": parts, "conditions": [{"name": "delivered"}], "return_terms": SELLER}
            names = await course.escrows(**terms)

            answered = await course.run(names, [delivered], [all_back])

            must_have_one_winner(answered)
            for known, race in zip(course.folded(names), answered, strict=True):
                assert (known.released, known.returned) == ((100, 0) if race[0] == ["done"] else (0, 100))

    asyncio.run(scenario())


def test_the_same_approval_twice(database: str) -> None:
    """
    The same approver on both desks counts once, and the part waits for another.
    """

    async def scenario() -> None:
        async with Course(database) as course:
            names = await course.escrows(delivered)

            answered = await course.run(names, [approve], [approve])

            must_have_one_winner(answered, "escrow_approved_before")
            for known in course.folded(names):
                assert (known.parts["work"].approved, known.released) == (("bob",), 0)

    asyncio.run(scenario())


def test_approval_against_expiry(database: str) -> None:
    """
    About the very moment the last approval is given, and the end is asked for as long as it is not due. One is done.
    """

    async def scenario() -> None:
        async with Course(database) as course:
            due = datetime.now(UTC) + timedelta(seconds=4)
            release_ = {"approvals": 2, "approvers": ["bob", "eve"]}
            parts = [{"name": "work", "amount": 100, "release": release_}]
            names = await course.escrows(approve, parts=parts, conditions=[], expires_at=due)
            assert datetime.now(UTC) < due, "the machine was too slow to get there in time"
            await asyncio.sleep((due - datetime.now(UTC)).total_seconds() - 0.2)
            dice, approved, expired = Random(7), Counter[UUID](), Counter[UUID]()

            async def approving(name: UUID) -> None:
                await asyncio.sleep(dice.uniform(0, 0.4))
                word = said(await course.desks[0].submit(asked(last_approval(name))))
                assert word in ("done", "escrow_expired", "escrow_ended")
                approved[name] = word == "done"

            async def expiring(name: UUID) -> None:
                while (word := said(await course.desks[1].submit(asked(expire(name))))) == "escrow_not_due":
                    await asyncio.sleep(0.05)
                assert word in ("done", "escrow_ended")
                expired[name] = word == "done"

            await asyncio.gather(*(doing(name) for name in names for doing in (approving, expiring)))

            assert [approved[name] + expired[name] for name in names] == [1] * RACES
            assert {*approved.values()} == {True, False}
            for known in course.folded(names):
                assert (known.released, known.returned) == ((100, 0) if approved[known.id] else (0, 100))

    asyncio.run(scenario())


def must_have_one_winner(answered: list[list[list[str]]], loser: str = "escrow_ended") -> None:
    """Of each race; and both sides have won some, or it was no race."""
    won = Counter[int]()
    for race in answered:
        words = [words[0] for words in race]
        assert sorted(words) == ["done", loser], race
        won[words.index("done")] += 1
    assert {*won} == {0, 1}, won
