"""The wire rail against a bank in a process of its own: what went wrong on the way is found out, and done once."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from datetime import date
from pathlib import Path

import pytest
from msgspec.structs import replace

from adapters.rails.wire.messages import Statement
from adapters.rails.wire.rail import WireRail
from adapters.rails.wire.reading import read
from domain.rail import Accepted, Answer, Approved, Declined, Instruction, NotFound, Operation, Retry, Unknown
from tests.simulating import Simulation, simulating, until
from tests.wires import BANK, HOUSE, PAID_ID, instruction

PAYOUT = instruction()
PAID = instruction(request_id=PAID_ID)
REVERSAL = instruction(Operation.REVERSE)


@pytest.fixture
def bank(tmp_path: Path) -> Iterator[Simulation]:
    with simulating(tmp_path / "books.jsonl") as simulation:
        yield simulation


def today(bank: Simulation) -> date:
    return date.fromisoformat(bank.get("/now").json()["now"][:10])


def asked(bank: Simulation, ask: Callable[[WireRail], Awaitable[Answer]], *, patience_s: float = 5) -> Answer:
    day = today(bank) if bank.running else date(2026, 3, 2)

    async def within() -> Answer:
        banks = [replace(BANK, url=bank.rails["wire"])]
        async with WireRail(HOUSE, banks, settles_on=lambda _: day, patience_s=patience_s) as rail:
            return await ask(rail)

    return asyncio.run(within())


def send(bank: Simulation, given: Instruction, *, patience_s: float = 5) -> Answer:
    return asked(bank, lambda rail: rail.send(given), patience_s=patience_s)


def inquire(bank: Simulation, given: Instruction) -> Answer:
    return asked(bank, lambda rail: rail.inquire(given))


def done(bank: Simulation) -> list[tuple[str, str]]:
    return [(effect["operation"], effect["outcome"]) for effect in bank.effects("wire")]


def test_a_wire_there_and_back(bank: Simulation) -> None:
    """
    Paid, recalled, and in the bank's own advice of the day both ways.
    """
    assert isinstance(send(bank, PAID), Approved)
    assert isinstance(send(bank, REVERSAL), Approved)

    (advice,) = read(bank.get(f"/settlement/wire/{today(bank)}").content).contents
    assert isinstance(advice, Statement)
    assert [(entry.credit, entry.amount and entry.amount.minor) for entry in advice.entries] == [
        (False, 12345),
        (True, 12345),
    ]


def test_an_answer_that_was_lost_is_found_out(bank: Simulation) -> None:
    """
    The bank has done it and says so when it is asked, even after it was killed; it is not done twice.
    """
    bank.switch("wire", drop_after={"next": 1})
    assert isinstance(send(bank, PAYOUT, patience_s=0.5), Unknown)
    bank.kill()
    assert isinstance(inquire(bank, PAYOUT), Unknown)
    bank.start()

    answer = inquire(bank, PAYOUT)

    assert isinstance(answer, Approved)
    assert send(bank, PAYOUT) == answer
    assert done(bank) == [("payout", "approved")]


def test_a_request_that_was_lost_was_not_done(bank: Simulation) -> None:
    """
    The bank has never heard of it, and may be asked again.
    """
    bank.switch("wire", drop_before={"next": 1})
    assert isinstance(send(bank, PAYOUT, patience_s=0.5), Unknown)

    assert inquire(bank, PAYOUT) == NotFound()
    assert isinstance(send(bank, PAYOUT), Approved)
    assert done(bank) == [("payout", "approved")]


def test_an_outage(bank: Simulation) -> None:
    """
    A connection that is cut says nothing; one that is never made is a no, and another route may be asked.
    """
    bank.switch("wire", outage={"next": 1})
    assert isinstance(send(bank, PAYOUT), Unknown)
    bank.kill()

    answer = send(bank, PAYOUT)

    assert isinstance(answer, Declined)
    assert (answer.reason, answer.retry) == ("rail_unavailable", Retry.ELSEWHERE)


def test_a_late_answer_and_a_wrong_one(bank: Simulation) -> None:
    """
    Neither is believed; asked again, the bank says what it did.
    """
    bank.switch("wire", late={"next": 1}, late_s=2)
    assert isinstance(send(bank, PAYOUT, patience_s=0.3), Unknown)
    bank.switch("wire", wrong_amount={"next": 1})
    assert isinstance(send(bank, PAID), Unknown)
    bank.switch("wire")

    assert isinstance(inquire(bank, PAYOUT), Approved)
    assert isinstance(inquire(bank, PAID), Approved)


def test_what_is_pending_is_done_later(bank: Simulation) -> None:
    """
    It is accepted, and a moment later it is done.
    """
    given = instruction(amount=5120)
    assert isinstance(send(bank, given), Accepted)

    until(lambda: isinstance(inquire(bank, given), Approved))
    assert done(bank) == [("payout", "approved")]
