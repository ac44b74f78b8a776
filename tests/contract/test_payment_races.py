"""Payments that two want to take in two directions at once, on two desks upon one Postgres: one of them does.

2,250 races, 250 of each of nine kinds. The desks are threads with a connection each, as in two processes; they
commit five commands at a time, in different orders, so that they take turns all along.
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
from commands.payment import (
    AcceptDispute,
    ApprovePayment,
    CancelPayment,
    CapturePayment,
    ConfirmPayment,
    ContestDispute,
    ExpirePayment,
    RefundPayment,
    ReversePayment,
    StartAttempt,
)
from commands.policy import SetPaymentPolicy
from domain import ids, payment
from domain.events import BookPaymentPolicySet, PaymentValidated, Recorded, recorded
from domain.payment import Payment
from tests import payment_words as words
from tests.support import Reports, asked, books_of, open_account, open_book, said, started

RACES: Final = 250
"""Of each kind; there are nine kinds."""
AT_A_TIME: Final = 5
"""Commands of one commit, so that the two desks take turns some fifty times each."""

Race = Sequence[Command | Asked]
"""What one side asks about one payment, in this order, as the tester unless somebody else is said to ask."""


class Course:
    """Two desks on one log, and the payments they race for."""

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
        for each in (open_book(), open_account("shop", "liability")):
            assert said(await self.quick.submit(asked(each))) == "done"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stack.aclose()

    async def payments(self, *steps: Callable[[UUID], Command], **said_of: Any) -> list[UUID]:
        """As many as there are races, each taken through those steps."""
        made = [asked(words.create(**{"confirm": True, "capture": "manual", **said_of})) for _ in range(RACES)]
        outcomes = await asyncio.gather(*map(self.quick.submit, made))
        names = [each.payment.id for each in outcomes if each.payment is not None]
        for step in steps:
            outcomes = await asyncio.gather(*(self.quick.submit(asked(step(name))) for name in names))
            assert {*map(said, outcomes)} == {"done"}
        return names

    async def run(self, names: list[UUID], *sides: Callable[[UUID], Race]) -> list[list[list[str]]]:
        """Everybody at once, each desk in an order of its own; by payment, what each side was answered."""
        dice = Random(7)
        tasks: dict[tuple[int, UUID], list[asyncio.Task[Outcome]]] = {}
        orders = [dice.sample(names, len(names)) for _ in sides]
        for turn in zip(*orders, strict=True):
            for side, name in enumerate(turn):
                desk = self.desks[side % 2]
                tasks[side, name] = [
                    asyncio.create_task(desk.submit(each if isinstance(each, Asked) else asked(each)))
                    for each in sides[side](name)
                ]
        await asyncio.gather(*chain.from_iterable(tasks.values()))
        return [[[said(task.result()) for task in tasks[side, name]] for side in range(len(sides))] for name in names]

    def folded(self, names: list[UUID]) -> list[Payment]:
        """Every payment as the log has it, which the independent checker has passed."""
        assert self.reports == []
        books = books_of(self.dsn)
        books.check()
        streams: dict[UUID, list[Recorded]] = {name: [] for name in names}
        for raw in books.events:
            if raw.stream_id in streams:
                streams[raw.stream_id].append(recorded(raw))
        found = [payment.fold(name, events) for name, events in streams.items()]
        return [each for each in found if each is not None]


def yes(nth: int, amount: int = 100) -> Callable[[UUID], Command]:
    return lambda name: words.says(name, words.request_id(name, nth), "approved", amount)


def start(name: UUID) -> Command:
    return StartAttempt(payment_id=name, route="first", votes=words.HEARD)


def cancel(name: UUID) -> Command:
    return CancelPayment(payment_id=name)


def capture(name: UUID) -> Command:
    return CapturePayment(payment_id=name)


def expire(name: UUID) -> Command:
    return ExpirePayment(payment_id=name)


def twice(name: UUID) -> Race:
    return [RefundPayment(payment_id=name, amount=60)] * 2


def test_refunds_against_refunds(database: str) -> None:
    """
    250 races of four: of 100 captured, each desk is asked for 60 twice. One gets it, and three are told what is left.
    """

    async def scenario() -> None:
        async with Course(database) as course:
            names = await course.payments(start, yes(1), capture, yes(2))
            answered = await course.run(names, twice, twice)

            for race in answered:
                assert sorted(chain(*race)) == ["done", *["payment_amount_exceeded"] * 3]
            assert {"done" in race[0] for race in answered} == {True, False}
            for known in course.folded(names):
                assert [one.amount for one in known.requests.values()] == [100, 100, 60]

    asyncio.run(scenario())


def test_capture_against_cancel(database: str) -> None:
    """
    250 races: what is authorized is captured, or given up; the other comes too late.
    """

    async def scenario() -> None:
        async with Course(database) as course:
            names = await course.payments(start, yes(1))

            answered = await course.run(names, lambda name: [capture(name)], lambda name: [cancel(name)])

            must_have_one_winner(answered, "payment_busy")
            for known, race in zip(course.folded(names), answered, strict=True):
                wanted = "capture" if race[0] == ["done"] else "void"
                assert [one.operation.value for one in known.requests.values()] == ["authorize", wanted]

    asyncio.run(scenario())


def test_approval_against_cancel(database: str) -> None:
    """
    250 races: the last approver says yes and the attempt begins at once, or it is canceled; never is a rail asked for
    what was canceled.
    """

    async def scenario() -> None:
        async with Course(database) as course:
            names = await course.payments(approvals=1)

            answered = await course.run(
                names,
                lambda name: [ApprovePayment(payment_id=name, approver="ann"), start(name)],
                lambda name: [cancel(name)],
            )

            must_have_one_winner([[approved[1:], canceled] for approved, canceled in answered], "payment_busy")
            for known, (_, canceled) in zip(course.folded(names), answered, strict=True):
                wanted = ("canceled", 0) if canceled == ["done"] else ("processing", 1)
                assert (known.status.value, len(known.requests)) == wanted

    asyncio.run(scenario())


def test_approvals_against_makers(database: str) -> None:
    """
    250 races: one confirms it and approves it at once, the maker approves it too, and two others do. Whoever comes
    first, only the others' approvals count, and no rail is asked before both are given.
    """

    async def scenario() -> None:
        async with Course(database) as course:
            names = await course.payments(approvals=2, confirm=False)

            def approves(name: UUID, *approvers: str) -> list[Asked]:
                return [asked(ApprovePayment(payment_id=name, approver=one), actor=one) for one in approvers]

            answered = await course.run(
                names,
                lambda name: [
                    asked(ConfirmPayment(payment_id=name), actor="eve"),
                    *approves(name, "eve", "ann"),
                    start(name),
                ],
                lambda name: [*approves(name, "tester", "bob", "eve"), start(name)],
            )

            early, late = Counter[str](), Counter[str]()
            for known, (confirming, approving) in zip(course.folded(names), answered, strict=True):
                assert confirming[:3] == ["done", "payment_approver_is_maker", "done"]
                assert {approving[0], approving[2]} <= {"payment_approver_is_maker", "payment_status_forbids"}
                both = approving[1] == "done"
                assert known.approvers == ({"ann", "bob"} if both else {"ann"})
                assert (known.status.value, len(known.requests)) in (
                    ("requires_approval", 0),
                    *([("processing", 0), ("processing", 1)] if both else []),
                )
                early[approving[1]] += 1
                late[known.status.value] += len(known.requests)
            assert {*early} == {"done", "payment_status_forbids"} and late["processing"], (early, late)

    asyncio.run(scenario())


def test_a_policy_against_a_confirmation(database: str) -> None:
    """
    250 races: payments are confirmed and begun while the book's limits go up and down. Each is denied or begun by the
    limits that stand ahead of it in the log, whichever desk set them.
    """

    async def scenario() -> None:
        async with Course(database) as course:
            names = await course.payments(confirm=False)
            most = {name: 99 if nth % 2 else 100 for nth, name in enumerate(names)}

            def sets(name: UUID) -> Race:
                limit = {"currency": "EUR", "amount_max": most[name]}
                return [SetPaymentPolicy.model_validate({"book": "main", "limits": [limit]})]

            answered = await course.run(names, lambda name: [ConfirmPayment(payment_id=name), start(name)], sets)

            assert {word for race in answered for side in race for word in side} == {"done"}
            allowed = {known.id: bool(known.requests) for known in course.folded(names)}
            in_force, verdicts = 100, Counter[bool]()
            for raw in books_of(database).events:
                event = recorded(raw).event
                if isinstance(event, BookPaymentPolicySet):
                    in_force = event.policy.limits[0].amount_max or 0
                if isinstance(event, PaymentValidated):
                    assert event.passed == allowed[raw.stream_id] == (in_force == 100)
                    verdicts[event.passed] += 1
            assert {*verdicts} == {True, False} and verdicts.total() == RACES

    asyncio.run(scenario())


def test_capture_against_expiry(database: str) -> None:
    """
    250 races about the very moment: a capture is asked for, and the end for as long as it is not due. One is done.
    """

    async def scenario() -> None:
        async with Course(database) as course:
            due = datetime.now(UTC) + timedelta(seconds=6)
            names = await course.payments(start, yes(1), expires_at=due)
            assert datetime.now(UTC) < due, "the machine was too slow to get there in time"
            await asyncio.sleep((due - datetime.now(UTC)).total_seconds() - 0.2)
            dice, captured, expired = Random(7), Counter[UUID](), Counter[UUID]()

            async def capturing(name: UUID) -> None:
                await asyncio.sleep(dice.uniform(0, 0.4))
                word = said(await course.desks[0].submit(asked(capture(name))))
                assert word in ("done", "payment_status_forbids")
                captured[name] = word == "done"

            async def expiring(name: UUID) -> None:
                while (word := said(await course.desks[1].submit(asked(expire(name))))) == "payment_not_due":
                    await asyncio.sleep(0.05)
                assert word in ("done", "payment_busy")
                expired[name] = word == "done"

            await asyncio.gather(*(doing(name) for name in names for doing in (capturing, expiring)))

            assert [captured[name] + expired[name] for name in names] == [1] * RACES
            for known in course.folded(names):
                wanted = "capture" if captured[known.id] else "void"
                assert [one.operation.value for one in known.requests.values()] == ["authorize", wanted]

    asyncio.run(scenario())


def refund(name: UUID) -> Race:
    return [RefundPayment(payment_id=name, amount=60)]


def test_refund_against_reverse(database: str) -> None:
    """
    250 races: some of what was collected is given back, or all of it undone; never both.
    """

    async def scenario() -> None:
        async with Course(database) as course:
            names = await course.payments(start, yes(1), rail="ach")

            answered = await course.run(names, refund, lambda name: [ReversePayment(payment_id=name)])

            must_have_one_winner(answered, "payment_amount_exceeded")
            for known, race in zip(course.folded(names), answered, strict=True):
                wanted = ("refund", 60) if race[0] == ["done"] else ("reverse", 100)
                assert [(one.operation.value, one.amount) for one in known.requests.values()][1:] == [wanted]

    asyncio.run(scenario())


def test_refund_against_return(database: str) -> None:
    """
    250 races: the rail takes back what it collected, whatever was decided before; after it nothing is given back.
    """

    async def scenario() -> None:
        async with Course(database) as course:
            names = await course.payments(start, yes(1), rail="ach")
            known = {one.id: one for one in course.folded(names)}
            part = iter(range(1, RACES + 1))

            def returned(name: UUID) -> Race:
                return [words.report((known[name], "returned", 1), part=next(part))]

            answered = await course.run(names, refund, returned)

            assert {race[1][0] for race in answered} == {"done"}
            assert {race[0][0] for race in answered} == {"done", "payment_amount_exceeded"}
            for one, race in zip(course.folded(names), answered, strict=True):
                first = one.requests[words.request_id(one.id, 1)]
                wanted = (160, 2) if race[0] == ["done"] else (100, 1)
                assert one.returned == 100 and (first.taken_back, len(one.requests)) == wanted

    asyncio.run(scenario())


def test_contest_against_accept(database: str) -> None:
    """
    250 races: a dispute is contested or accepted, by whoever comes first.
    """

    async def scenario() -> None:
        async with Course(database) as course:
            names = await course.payments(start, yes(1), capture, yes(2))
            of = {name: {"payment_id": name, "dispute_id": ids.dispute_id(name, "case")} for name in names}
            respond_by = datetime.now(UTC) + timedelta(hours=1)
            for part, known in enumerate(course.folded(names), 1):
                report = words.report((known, "disputed", 2, 40), part=part, respond_by=respond_by)
                assert said(await course.quick.submit(asked(report))) == "done"

            answered = await course.run(
                names,
                lambda name: [ContestDispute(**of[name], evidence={"receipt": "Signed"})],
                lambda name: [AcceptDispute(**of[name])],
            )

            must_have_one_winner([[race[0], race[1]] for race in answered], "payment_busy", "dispute_state_forbids")
            for known, race in zip(course.folded(names), answered, strict=True):
                [dispute] = known.disputes.values()
                wanted = ("needs_response", 1) if race[0] == ["done"] else ("accepted", 0)
                assert (dispute.state.value, len(known.open)) == wanted

    asyncio.run(scenario())


def must_have_one_winner(answered: list[list[list[str]]], *losers: str) -> None:
    """Of each race; and both sides have won some, or it was no race."""
    won = Counter[int]()
    for race in answered:
        words_ = [words_[0] for words_ in race]
        [lost] = [word for word in words_ if word != "done"] or [""]
        assert lost in (*losers, "payment_status_forbids"), race
        won[words_.index("done")] += 1
    assert {*won} == {0, 1}, won
