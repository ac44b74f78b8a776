"""The driver and validators outside: who fails or dawdles holds a payment up, and never lets one through."""

import asyncio
from collections.abc import Iterable
from datetime import date
from typing import Any
from uuid import UUID

from adapters.memory.breakers import MemoryBreakers
from adapters.memory.store import MemoryEventStore
from adapters.paying import Paying, paying
from adapters.validators import PLACEHOLDERS, Validators
from commands.payment import CancelPayment
from commands.policy import SetPaymentPolicy
from domain import payment
from domain.errors import Unavailable
from domain.events import recorded
from domain.next_step import Routing
from domain.payment import Payment, Status
from domain.rail import Answer, Approved, Instruction, Rail
from domain.routing import Route, Terms
from domain.settlement import Report
from domain.validation import Subject, Verdict, Vote
from tests import payment_words as words
from tests.stored import ids_of
from tests.support import NOW, Reports, asked, books_of, open_account, open_book, started


class Willing:
    """A rail that does whatever it is asked."""

    async def send(self, instruction: Instruction) -> Answer:
        return Approved(reference="r", amount=instruction.amount, currency=instruction.currency, code="00")

    async def inquire(self, instruction: Instruction) -> Answer:
        return await self.send(instruction)

    async def report(self, route: str, day: date) -> Report | None:
        return None


class Risk:
    """Away so many times, and then of that opinion."""

    name = "risk"

    def __init__(self, away: int, verdict: Verdict = Verdict.ALLOW) -> None:
        self.away = away
        self.asked: list[Subject] = []
        self._verdict = verdict

    async def vote(self, subject: Subject) -> Vote:
        self.asked.append(subject)
        if len(self.asked) <= self.away:
            raise Unavailable("the scores are away")
        return Vote(validator="risk", verdict=self._verdict, reason="scored", details={"score": 7})


class Kept:
    """Payments as they are in the log in memory, of which nobody has to be found."""

    def __init__(self, store: MemoryEventStore) -> None:
        self._store = store

    async def __call__(self) -> Iterable[Payment]:
        return []

    async def payment(self, payment_id: UUID) -> Payment | None:
        events = [event for raw in self._store.events if (event := recorded(raw)).stream_id == payment_id]
        return payment.fold(payment_id, events)


class Counter:
    def __init__(self, risk: Risk) -> None:
        self.store = MemoryEventStore(lambda: NOW)
        self.faults: list[str] = []
        self.risk = risk
        self.kept = Kept(self.store)

    async def pay(self, *policy: dict[str, Any], cancel: bool = False) -> Payment:
        """One payment by card, driven as far as it gets while its payer waits a while."""
        reports: Reports = []
        async with started(self.store, reports) as desk:
            validators = Validators(
                [self.risk, PLACEHOLDERS[1]],
                voted=lambda name, verdict: None,
                report=lambda event, error: self.faults.append(event),
            )
            driver = Paying(
                desk,
                {Rail.CARD: Willing()},
                Routing(routes=[Route(name="north", rail=Rail.CARD, methods=("card",), terms={"EUR": Terms()})]),
                find=self.kept,
                breakers=MemoryBreakers(lambda: NOW),
                validators=validators,
                paid=lambda rail, status, seconds: None,
                now=lambda: NOW,
                report=lambda event, error: self.faults.append(event),
            )
            for each in (open_book(), open_account("shop", "liability")):
                await desk.submit(asked(each))
            for one in policy:
                await desk.submit(asked(SetPaymentPolicy.model_validate({"book": "main", **one})))
            async with paying(driver):
                made = await desk.submit(asked(words.create(confirm=True)))
                driver.notice(made)
                if cancel:
                    while len(self.risk.asked) < 2:
                        await asyncio.sleep(0.01)
                    driver.notice(await desk.submit(asked(CancelPayment(payment_id=ids_of(made)))))
                left = await driver.carried(ids_of(made), 20)
        assert left is not None and reports == []
        return left


def test_a_payment_rests_until_everybody_it_depends_on_was_heard() -> None:
    """
    Asked again and again while risk is away, nothing is kept of that; then it goes its way, validated once.
    """
    counter = Counter(Risk(away=2))

    left = asyncio.run(counter.pay())

    assert left.status is Status.SUCCEEDED
    assert len(counter.risk.asked) == 3
    assert counter.faults == ["validating.failed"] * 2
    names = [raw.name for raw in counter.store.events if raw.stream_id == left.id]
    assert names.count("payment.validated.v1") == 1
    assert not any(raw.name == "command.refused.v1" for raw in counter.store.events)
    books_of(counter.store).check()


def test_whoever_rests_can_be_canceled() -> None:
    """
    A payment that waits for a validator is nobody's prisoner.
    """
    counter = Counter(Risk(away=1_000))

    left = asyncio.run(counter.pay(cancel=True))

    assert left.status is Status.CANCELED
    assert not left.requests
    assert not left.is_validated


def test_a_rule_that_can_do_without_does_not_wait() -> None:
    """
    Where five suffice, who is away is not asked a second time; that they were not heard is in the votes.
    """
    counter = Counter(Risk(away=1_000))

    left = asyncio.run(counter.pay({"rule": {"mode": "at_least", "count": 5}}))

    assert left.status is Status.SUCCEEDED
    assert len(counter.risk.asked) == 1


def test_a_no_from_outside_is_a_no() -> None:
    """
    What risk denies goes to no rail, and the votes say why.
    """
    counter = Counter(Risk(away=0, verdict=Verdict.DENY))

    left = asyncio.run(counter.pay())

    assert left.status is Status.REQUIRES_PAYMENT_METHOD
    assert not left.requests
    [subject] = counter.risk.asked
    assert (subject.payment_id, subject.amount, subject.currency) == (left.id, 100, "EUR")
    books_of(counter.store).check()
