"""The ACH rail against a real `daybook simulate`: files, days, returns, and every fault on the way."""

import asyncio
from collections.abc import Coroutine, Iterator
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest
from msgspec.structs import replace

from adapters.rails.ach.instructions import changes_asked, identification, read_day
from adapters.rails.ach.rail import AchRail
from domain.calendar import delivery
from domain.rail import (
    Accepted,
    Answer,
    Approved,
    BankAccount,
    Declined,
    Instruction,
    NotFound,
    Operation,
    Retry,
    Unknown,
)
from tests.ach import OWN_BANK
from tests.simulating import Simulation, simulating
from tests.unit.test_ach_instructions import BANK, COMPANY
from tests.unit.test_ach_instructions import instruction as made

T = TypeVar("T")


class Shop:
    """Whoever collects and pays by one bank of the simulator. `patience_s`: as the rail's."""

    def __init__(self, simulation: Simulation, patience_s: float = 0.6) -> None:
        self.simulation = simulation
        self.bank = replace(BANK, url=simulation.rails["ach"])
        self._count = 0
        self._runner = asyncio.Runner()
        self._rail = AchRail([self.bank], patience_s=patience_s)

    def run(self, asked: Coroutine[Any, Any, T]) -> T:
        return self._runner.run(asked)

    def instruction(self, operation: Operation = Operation.COLLECT, **changed: Any) -> Instruction:
        self._count += 1
        return made(self._count, operation, **{"sent_at": self.now(), **changed})

    def now(self) -> datetime:
        """By the simulator's clock, which may be ahead."""
        return datetime.fromisoformat(self.simulation.get("/now").json()["now"])

    def send(self, instruction: Instruction) -> Answer:
        return self.run(self._rail.send(instruction))

    def send_all(self, *instructions: Instruction) -> dict[str, Answer]:
        return self.run(self._rail.send_all(instructions))

    def inquire(self, instruction: Instruction) -> Answer:
        return self.run(self._rail.inquire(instruction))

    def close(self) -> None:
        self.run(self._rail.close())
        self._runner.close()


@pytest.fixture
def simulation(tmp_path: Path) -> Iterator[Simulation]:
    with simulating(tmp_path / "books.jsonl", seed=7) as found:
        yield found


@pytest.fixture
def shop(simulation: Simulation) -> Iterator[Shop]:
    found = Shop(simulation)
    try:
        yield found
    finally:
        found.close()


def settles_on(asked: Instruction) -> date:
    return delivery(asked.sent_at, amount=asked.amount).settles_on


def test_accepted_then_settled(shop: Shop) -> None:
    """
    Taken at once; days later settled, in full, under the reference it had from the start.
    """
    asked = shop.instruction()

    accepted = shop.send(asked)
    meanwhile = shop.inquire(asked)
    shop.simulation.advance(7)
    settled = shop.inquire(asked)

    assert isinstance(accepted, Accepted)
    assert isinstance(meanwhile, Accepted | Approved)  # The evening may come while this runs.
    assert meanwhile.reference == accepted.reference
    assert isinstance(settled, Approved)
    assert (settled.reference, settled.amount, settled.code) == (accepted.reference, 1050, "settled")
    day = shop.simulation.get(f"/settlement/ach/{settled.settles_on}").content
    assert [said.answer for said in read_day(day)] == [settled]


@pytest.mark.parametrize(
    ("amount", "reason", "retry"),
    [
        (5101, "insufficient_funds", Retry.LATER),
        (5102, "account_closed", Retry.NEVER),
        (5107, "authorization_revoked", Retry.NEVER),
    ],
)
def test_returned(shop: Shop, amount: int, reason: str, retry: Retry) -> None:
    """
    What settled comes back, and that is the last word.
    """
    asked = shop.instruction(amount=amount)
    shop.send(asked)

    shop.simulation.advance(14)
    answer = shop.inquire(asked)

    assert isinstance(answer, Declined)
    assert (answer.reason, answer.retry) == (reason, retry)
    assert [each["operation"] for each in shop.simulation.effects("ach")] == ["collect", "return"]


def test_a_payout_a_refund_and_a_reversal(shop: Shop) -> None:
    """
    Money the other way, to a company and back to a payer; and an entry undone by its reference, but not for ever.
    """
    collected = shop.instruction()
    accepted = shop.send(collected)
    assert isinstance(accepted, Accepted)
    upon = {"original": accepted.reference, "original_request_id": collected.request_id}

    payout = shop.send(shop.instruction(Operation.PAYOUT, method=COMPANY))
    refund = shop.send(shop.instruction(Operation.REFUND, amount=50, **upon))
    reversal = shop.send(shop.instruction(Operation.REVERSE, **upon))
    late = shop.send(shop.instruction(Operation.REVERSE, sent_at=collected.sent_at + timedelta(days=30), **upon))

    assert all(isinstance(answer, Accepted) for answer in (payout, refund, reversal))
    assert isinstance(late, Declined) and late.reason == "too_late"
    totals = {each["operation"]: each["detail"]["direction"] for each in shop.simulation.effects("ach")}
    assert totals == {"collect": "debit", "payout": "credit", "refund": "credit", "reverse": "credit"}


def test_many_in_one_file(shop: Shop) -> None:
    """
    A window's instructions are one file, each has its answer, and one that cannot be written keeps none of the others.
    """
    many = [shop.instruction() for _ in range(50)]
    bad = shop.instruction(method=BankAccount(routing_number="1", account_number="1", holder="A"))

    answers = shop.send_all(*many, bad)
    alone = shop.send(many[0])

    assert len(answers) == 51
    assert all(isinstance(answers[each.request_id], Accepted) for each in many)
    declined = answers[bad.request_id]
    assert isinstance(declined, Declined) and declined.reason == "invalid_account"
    assert shop.inquire(bad) == replace(declined, unasked=False)  # Nor can anybody else have asked.
    assert alone == answers[many[0].request_id]  # In another file it is a conflict, and it is found.
    effects = shop.simulation.effects("ach")
    assert len(effects) == 50
    assert len({each["detail"]["file"] for each in effects}) <= 2  # A cut-off may pass while this runs.


@pytest.mark.parametrize("fault", ["drop_before", "outage"])
def test_lost_before_it_was_done(shop: Shop, fault: str) -> None:
    """
    No answer is no answer; asked, the bank has never heard of it; sent again, it is done once.
    """
    asked = shop.instruction()
    switches: dict[str, Any] = {fault: {"next": 1}}
    shop.simulation.switch("ach", **switches)

    assert isinstance(shop.send(asked), Unknown)
    assert shop.inquire(asked) == NotFound()
    assert isinstance(shop.send(asked), Accepted)
    assert len(shop.simulation.effects("ach")) == 1


@pytest.mark.parametrize(
    "fault", [{"drop_after": {"next": 1}}, {"late": {"next": 1}, "late_s": 2}, {"wrong_amount": {"next": 1}}]
)
def test_lost_after_it_was_done(shop: Shop, fault: dict[str, Any]) -> None:
    """
    The answer is swallowed, late, or not what was asked: unknown; asked, the bank has it; sent again, it is still one.
    """
    asked = shop.instruction()
    shop.simulation.switch("ach", **fault)

    assert isinstance(shop.send(asked), Unknown)
    assert isinstance(shop.inquire(asked), Accepted | Approved)
    assert isinstance(shop.send(asked), Accepted)
    assert len(shop.simulation.effects("ach")) == 1


def test_a_wrong_amount_is_not_believed(shop: Shop) -> None:
    """
    A bank that says it has an entry of another amount has said nothing.
    """
    asked = shop.instruction()
    shop.send(asked)
    shop.simulation.switch("ach", wrong_amount={"next": 1})

    answer = shop.inquire(asked)

    assert isinstance(answer, Unknown)
    assert "1051" in answer.why


def test_a_bank_that_is_not_there(simulation: Simulation) -> None:
    """
    Nothing was sent: a no, to be had elsewhere. But what became of it before, nobody says.
    """
    shop = Shop(simulation)
    asked = shop.instruction()
    simulation.kill()
    try:
        answer, inquired = shop.send(asked), shop.inquire(asked)
    finally:
        shop.close()

    assert isinstance(answer, Declined)
    assert (answer.reason, answer.retry) == ("rail_unavailable", Retry.ELSEWHERE)
    assert isinstance(inquired, Unknown)


def test_a_bank_that_is_killed_forgets_nothing(shop: Shop) -> None:
    """
    kill -9 between file and settlement: it settles, and comes back, once.
    """
    asked = shop.instruction(amount=5101)
    shop.send(asked)

    shop.simulation.kill()
    shop.simulation.start()
    assert isinstance(shop.inquire(asked), Accepted | Approved)
    shop.simulation.advance(7)
    shop.inquire(asked)
    shop.simulation.kill()
    shop.simulation.start()
    answer = shop.inquire(asked)

    assert isinstance(answer, Declined)
    assert [each["code"] for each in shop.simulation.effects("ach")] == ["settled", "R01"]


def test_twice_in_the_days_file_and_a_change(shop: Shop) -> None:
    """
    Told twice it is the same; a notification of change is told beside, and the entry stands.
    """
    shop.simulation.switch("ach", route=OWN_BANK, duplicate={"next": 1})
    twice, changed = shop.instruction(), shop.instruction(amount=5201)
    shop.send(twice)
    shop.send(changed)

    shop.simulation.advance(14)
    days = shop.simulation.get("/ach/returns", since=settles_on(twice).isoformat()).content

    assert [said.identification for said in read_day(days)].count(identification(twice.request_id)) == 2
    assert isinstance(shop.inquire(twice), Approved)
    assert isinstance(shop.inquire(changed), Approved)
    assert [(change.code, change.identification) for change in changes_asked(days)] == [
        ("C01", identification(changed.request_id))
    ]


def test_the_simulators_books_are_what_was_asked(shop: Shop) -> None:
    """
    Thirty instructions through every fault, asked again until they are known: each is there once, to the cent.
    """
    shop.simulation.switch("ach", drop_before=0.15, drop_after=0.15, outage=0.15, wrong_amount=0.1)
    many = [shop.instruction(amount=1_000 + number) for number in range(30)]
    for asked in many:
        answer = shop.send(asked)
        for _ in range(50):
            if isinstance(answer, Accepted | Approved):
                break
            answer = shop.send(asked) if isinstance(answer, NotFound) else shop.inquire(asked)
        assert isinstance(answer, Accepted | Approved)

    there = {each["request_id"]: each["amount"] for each in shop.simulation.effects("ach")}

    assert there == {asked.request_id: asked.amount for asked in many}
