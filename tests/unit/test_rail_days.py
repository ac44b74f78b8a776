"""What the simulated rails do by themselves once money has moved: disputes and how they end, reversals, returns."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from adapters.rails.card.cards import card_of
from adapters.rails.desk import Heard
from adapters.rails.simulator.card import DISPUTE_FEE
from domain.rail import Approved, Declined, Operation, Rail, UpiAddress
from domain.settlement import Line, Said
from tests.rail_days import BANKS, AchBank, Bank, CardBank, UpiBank, WiresBank

MONDAY = date(2026, 11, 23)


@pytest.fixture(params=[CardBank, UpiBank], ids=["card", "upi"])
def bank(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bank]:
    """One at which payers dispute."""
    yield from opened(request.param, tmp_path)


@pytest.fixture
def cards(tmp_path: Path) -> Iterator[Bank]:
    yield from opened(CardBank, tmp_path)


@pytest.fixture
def wires(tmp_path: Path) -> Iterator[Bank]:
    yield from opened(WiresBank, tmp_path)


@pytest.fixture
def ach(tmp_path: Path) -> Iterator[Bank]:
    yield from opened(AchBank, tmp_path)


def opened(kind: type[Bank], folder: Path) -> Iterator[Bank]:
    found = kind(folder / "books.jsonl")
    yield found
    found.close()


def lines(bank: Bank, *said: Said) -> list[Line]:
    """What all days that are over tell of these."""
    told: list[Line] = []
    for day in range(20, 60):
        report = bank.report(date(2026, 11, 1) + timedelta(days=day - 1))
        told += [line for line in (report.lines if report is not None else ()) if not said or line.said in said]
    return told


def disputed(bank: Bank) -> Line:
    """A payment of 1000 and the dispute of it, once it is told."""
    bank.switch(dispute=1.0)
    bank.done(bank.instruction(1))
    bank.switch()
    bank.advance(days=7)
    (line,) = lines(bank, Said.DISPUTED)
    return line


def test_what_is_taken_is_disputed_some_days_after_it_settled(bank: Bank) -> None:
    """
    All of it, with a reason, a time to answer, and by card a fee; not before its time, and once.
    """
    bank.switch(dispute=1.0)
    bank.done(bank.instruction(1))

    bank.advance(days=2)
    assert lines(bank, Said.DISPUTED) == []
    bank.advance(days=5)
    (line,) = lines(bank, Said.DISPUTED)

    assert (line.request_id, line.operation, line.amount) == (bank.instruction(1).request_id, "collect", 1_000)
    assert line.fee == (DISPUTE_FEE if bank.rail is Rail.CARD else 0)
    assert line.code and line.reason and line.respond_by is not None and line.respond_by > bank.now


@pytest.mark.parametrize(("text", "said"), [("A Winning hand", Said.DISPUTE_WON), ("losing", Said.DISPUTE_LOST)])
def test_a_dispute_ends_as_the_evidence_is(bank: Bank, text: str, said: Said) -> None:
    """
    On the day after it was answered, under the dispute's reference, for what was disputed.
    """
    line = disputed(bank)

    heard = bank.contest(2, line.reference, line.amount, text)
    bank.advance(days=4)

    assert heard is not None and heard.accepted
    (closed,) = lines(bank, Said.DISPUTE_WON, Said.DISPUTE_LOST)
    assert (closed.said, closed.reference, closed.amount) == (said, line.reference, 1_000)
    assert closed.request_id == line.request_id and closed.fee == 0


def test_a_dispute_that_nobody_answers_is_lost(bank: Bank) -> None:
    """
    On the last day, and what comes after it is too late.
    """
    line = disputed(bank)

    bank.advance(days=10)
    assert lines(bank, Said.DISPUTE_LOST) == []
    bank.advance(days=10)

    (lost,) = lines(bank, Said.DISPUTE_LOST)
    assert lost.reference == line.reference
    late = bank.contest(2, line.reference, line.amount, "winning")
    assert late is not None and (late.accepted, late.code) == (False, "closed")


def test_evidence_is_taken_once(bank: Bank) -> None:
    """
    Under one request id it is the same evidence for ever, whatever happened meanwhile; a second answer is none.
    """
    line = disputed(bank)

    first = bank.contest(2, line.reference, line.amount, "winning")
    again = bank.contest(2, line.reference, line.amount, "winning")
    other = bank.contest(2, line.reference, line.amount, "losing")
    second = bank.contest(3, line.reference, line.amount, "losing")
    bank.restart()
    bank.advance(days=30)
    later = bank.contest(2, line.reference, line.amount, "winning")

    assert first == again == later and other is None
    assert second is not None and (second.accepted, second.code) == (False, "answered")
    assert [each.said for each in lines(bank, Said.DISPUTE_WON, Said.DISPUTE_LOST)] == [Said.DISPUTE_WON]


def test_evidence_that_fits_no_dispute_is_not_taken(bank: Bank) -> None:
    """
    Of no dispute, or of another amount; and the fault that declines it leaves the dispute open.
    """
    line = disputed(bank)

    def code(number: int, dispute: str, amount: int) -> str:
        heard = bank.contest(number, dispute, amount, "winning")
        assert isinstance(heard, Heard) and not heard.accepted
        return heard.code

    assert code(2, "nothing", 1_000) == code(3, bank.effect(bank.instruction(1)).reference, 1_000) == "unknown_dispute"
    assert code(4, line.reference, 999) == "wrong_amount"
    bank.switch(decline=1.0)
    assert code(5, line.reference, 1_000) == "declined"
    bank.switch()
    heard = bank.contest(6, line.reference, 1_000, "winning")
    assert heard is not None and heard.accepted


def test_what_was_given_back_is_not_disputed(bank: Bank) -> None:
    """
    Only what is left, and nothing where nothing is; and what is disputed cannot be refunded, unless it was won.
    """
    bank.switch(dispute=1.0)
    part, whole = (bank.done(bank.instruction(number, amount=500)) for number in (1, 2))
    bank.switch()
    bank.done(bank.instruction(3, Operation.REFUND, upon=part, amount=200))
    bank.done(bank.instruction(4, Operation.REFUND, upon=whole))
    bank.advance(days=7)

    (line,) = lines(bank, Said.DISPUTED)
    assert (line.request_id, line.amount) == (part.request_id, 300)
    assert isinstance(bank.send(bank.instruction(5, Operation.REFUND, upon=part, amount=1)), Declined)
    bank.contest(6, line.reference, 300, "winning")
    bank.advance(days=4)
    bank.done(bank.instruction(7, Operation.REFUND, upon=part, amount=300))


def test_cards_and_payers_that_dispute(cards: Bank, tmp_path: Path) -> None:
    """
    Some cards' holders do, each with a code of its network, and one payer by UPI.
    """
    tokens = ("tok_chargeback", "tok_chargeback_not_received", "tok_chargeback_mastercard", "tok_visa")
    for number, token in enumerate(tokens, start=1):
        cards.done(cards.instruction(number, method=card_of(token)))
    cards.advance(days=7)
    assert [(line.code, line.reason) for line in lines(cards, Said.DISPUTED)] == [
        ("10.4", "fraudulent"),
        ("13.1", "not_received"),
        ("4853", "not_as_described"),
    ]
    (tmp_path / "upi").mkdir()
    for bank in opened(UpiBank, tmp_path / "upi"):
        bank.send(bank.instruction(1, method=UpiAddress(vpa="dispute@bank")))
        bank.advance(days=7)
        assert [line.reason for line in lines(bank, Said.DISPUTED)] == ["not_received"]


def test_a_capture_is_undone_until_the_day_it_settles(cards: Bank) -> None:
    """
    Whole, once, with its fee; it stands in the same file, and no more of it can be refunded or disputed.
    """
    cards.switch(dispute=1.0)
    authorized = cards.done(cards.instruction(1, Operation.AUTHORIZE))
    captured = cards.done(cards.instruction(2, Operation.CAPTURE, upon=authorized, final=True))
    cards.switch()
    cards.advance(days=1)  # What is done on a Saturday settles later, but for this.
    undo = cards.instruction(3, Operation.REVERSE, upon=captured)

    assert isinstance(part := cards.send(cards.instruction(4, Operation.REVERSE, upon=captured, amount=1)), Declined)
    assert cards.done(undo) == cards.done(undo)
    again = cards.send(cards.instruction(5, Operation.REVERSE, upon=captured))
    refund = cards.send(cards.instruction(6, Operation.REFUND, upon=captured, amount=1))
    cards.advance(days=9)

    assert (part.code, getattr(again, "code", ""), getattr(refund, "code", "")) == ("13", "12", "12")
    told = cards.report(MONDAY)
    assert told is not None
    assert [(line.said, line.operation, line.amount, line.fee) for line in told.lines] == [
        ("settled", "capture", 1_000, 28),
        ("settled", "reverse", 1_000, -28),
    ]
    assert lines(cards, Said.DISPUTED) == []


def test_a_capture_that_settles_is_not_undone(cards: Bank) -> None:
    """
    Not from midnight on of the day it settles; nor is a payout, a refund, or what was refunded in part.
    """
    collected, other = cards.done(cards.instruction(1)), cards.done(cards.instruction(2))
    paid = cards.done(cards.instruction(3, Operation.PAYOUT))
    cards.done(cards.instruction(4, Operation.REFUND, upon=other, amount=1))

    assert [
        getattr(cards.send(cards.instruction(number, Operation.REVERSE, upon=upon)), "code", "")
        for number, upon in ((5, paid), (6, other))
    ] == ["12", "12"]
    cards.now = datetime(2026, 11, 23, tzinfo=UTC)
    late = cards.send(cards.instruction(7, Operation.REVERSE, upon=collected))
    assert isinstance(late, Declined) and (late.code, late.reason) == ("21", "nothing_to_do")


def test_a_wire_that_is_recalled_or_comes_back(wires: Bank) -> None:
    """
    A recall settles as one, under its own id; what comes back by itself is told as a return, on the day it does.
    """
    paid = wires.done(wires.instruction(1, amount=700))
    wires.done(wires.instruction(2, amount=5130))
    assert isinstance(wires.send(wires.instruction(3, Operation.REVERSE, upon=paid)), Approved)
    wires.advance(days=9)
    wires.advance(days=1)

    told = lines(wires)
    assert [(line.said, line.request_id[-1], line.operation, line.amount, line.code) for line in told] == [
        ("settled", "1", "payout", 700, ""),
        ("settled", "2", "payout", 5130, ""),
        ("settled", "3", "reverse", 700, ""),
        ("returned", "2", "payout", 5130, "AC04"),
    ]


def test_a_wire_that_is_asked_for_late_settles_late(wires: Bank) -> None:
    """
    Never on a day that is over, whatever day it names; nor does what was pending over midnight.
    """
    late = wires.instruction(1)
    pending = wires.instruction(2, amount=5120, sent_at=wires.now)
    wires.advance(days=10)
    wires.done(late)
    wires.send(pending)
    wires.now = wires.now.replace(hour=0) + (date(2026, 12, 5) - wires.now.date())

    wires.advance(days=1)

    days = {effect.request_id[-1]: effect.day for effect in wires.books.effects("wire")}
    assert days == {"1": date(2026, 11, 30), "2": date(2026, 12, 6)}


def test_an_entry_comes_back_on_a_day_of_its_own(ach: Bank) -> None:
    """
    It has settled, and is told to have; the return is told by what the entry is known by.
    """
    collect = ach.instruction(1, amount=5101)
    ach.send(collect)
    ach.advance(days=9)

    settled, returned = lines(ach)
    assert (settled.said, returned.said, returned.code) == (Said.SETTLED, Said.RETURNED, "R01")
    assert settled.request_id == returned.request_id == ach.told(collect.request_id)


@pytest.mark.parametrize(
    ("rail", "hour", "minute"), [(Rail.CARD, 0, 0), (Rail.WIRE, 0, 0), (Rail.UPI, -6, 30), (Rail.ACH, 5, 0)]
)
def test_a_day_is_told_once_it_is_over_there(rail: Rail, hour: int, minute: int, tmp_path: Path) -> None:
    """
    Not in its last second, wherever the rail's days are days.
    """
    for bank in opened(BANKS[rail], tmp_path):
        end = datetime(2026, 11, 21, tzinfo=UTC) + timedelta(hours=hour, minutes=minute)
        bank.now = end - timedelta(seconds=1)
        assert bank.report(end.date() - timedelta(days=hour >= 0)) is None
        bank.advance(seconds=1)
        assert bank.report(end.date() - timedelta(days=hour >= 0)) is not None


def test_a_clock_that_was_moved_stays_moved(cards: Bank) -> None:
    """
    What was over stays over when the simulator is started again, though nothing was done since.
    """
    cards.simulator.clock.advance(14)
    cards.books.moved_to(cards.simulator.clock.now())
    before = cards.simulator.clock.now()

    cards.restart()

    assert cards.simulator.clock.now() == before
