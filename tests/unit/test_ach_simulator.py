"""The simulated bank of the ACH: what it takes, when it settles, what it sends back, and that it does it once."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from adapters.rails.ach.instructions import Outgoing, Said, changes_asked, identification, outgoing, read_day
from adapters.rails.ach.rail import EntryHeld, Receipt, receipt_of
from adapters.rails.ach.reading import read
from adapters.rails.ach.writing import write
from adapters.rails.simulator.ach import AchSimulator
from adapters.rails.simulator.books import Books
from adapters.rails.simulator.clock import Clock
from adapters.rails.simulator.faults import Faults, Next, Switches
from domain.rail import Approved, Declined, Operation
from tests.ach import OWN_BANK, batch, entry, file, keeps_the_rules
from tests.unit.test_ach_instructions import BANK, COMPANY, MORNING, instruction, one, request_id, reversal

TUESDAY, WEDNESDAY, FRIDAY = date(2026, 11, 24), date(2026, 11, 25), date(2026, 11, 27)
"""Thursday is Thanksgiving."""
MANY_DAYS = timedelta(days=30)


class Bank:
    """The simulator on a Tuesday morning, with a clock that can be set."""

    def __init__(self, path: Path) -> None:
        self.now = MORNING
        self.path = path
        self.faults = Faults(1)
        self.start()

    def start(self) -> None:
        self.books = Books(self.path)
        self.simulator = AchSimulator(self.books, self.faults, Clock(real=lambda: self.now))

    def restart(self) -> None:
        self.books.__exit__()
        self.start()

    def put(self, outgoing: Outgoing) -> tuple[int, Any]:
        """Status and, where it was taken, the receipt."""
        reply = self.simulator.put(outgoing.name, outgoing.data)
        assert reply.body is not None
        if reply.status < 300:
            return reply.status, msgspec.json.decode(reply.body, type=Receipt)
        return reply.status, msgspec.json.decode(reply.body)

    def day(self, day: date) -> list[Said]:
        data = self.simulator.settlement(day)
        if data:
            keeps_the_rules(data)
            assert read(data).findings == []
        return read_day(data)

    def kept(self) -> list[tuple[str, int, str, str]]:
        return [(each.operation, each.amount, each.outcome, each.code) for each in self.books.effects("ach")]


@pytest.fixture
def bank(tmp_path: Path) -> Iterator[Bank]:
    found = Bank(tmp_path / "books.jsonl")
    try:
        yield found
    finally:
        found.books.__exit__()


def test_what_is_taken_settles_on_its_day(bank: Bank) -> None:
    """
    A receipt at once; in the evening of the day it is in that day's file, and in no other's.
    """
    asked = instruction()

    status, receipt = bank.put(one(asked))
    before = bank.day(TUESDAY)
    bank.now += timedelta(hours=10)
    settled = bank.day(TUESDAY)

    assert (status, receipt) == (201, receipt_of(one(asked)))
    assert before == []
    (said,) = settled
    assert said.identification == identification(asked.request_id)
    assert isinstance(said.answer, Approved)
    assert (said.answer.amount, said.answer.settles_on) == (1050, "2026-11-24")
    assert bank.day(WEDNESDAY) == []
    assert bank.kept() == [("collect", 1050, "approved", "settled")]
    (effect,) = bank.books.effects("ach")
    assert (effect.request_id, effect.reference) == (asked.request_id, said.answer.reference)


def test_each_operation_by_its_name(bank: Bank) -> None:
    """
    Debits, credits of two kinds and a reversal, of consumers and companies, in one file.
    """
    collected = instruction(1)
    many = [
        collected,
        instruction(2, Operation.PAYOUT, method=COMPANY),
        instruction(3, Operation.REFUND),
        reversal(collected, 4),
    ]

    bank.put(one(*many))
    bank.now += timedelta(hours=10)

    assert {effect.request_id: effect.operation for effect in bank.books.effects("ach")} == {
        request_id(1): "collect",
        request_id(2): "payout",
        request_id(3): "refund",
        request_id(4): "reverse",
    }
    assert len(bank.day(TUESDAY)) == 4


def test_the_same_file_again_changes_nothing(bank: Bank) -> None:
    """
    Same name, same bytes: the same receipt, one effect. The entry in another file, or with another amount: a conflict.
    """
    asked = instruction()
    bank.put(one(asked))

    again, receipt = bank.put(one(asked))
    elsewhere, _ = bank.put(one(asked, instruction(2)))
    otherwise, _ = bank.put(Outgoing(one(asked).name, one(instruction(amount=1051)).data, ()))

    assert (again, receipt) == (200, receipt_of(one(asked)))
    assert (elsewhere, otherwise) == (409, 409)
    assert len(bank.kept()) == 1


def test_a_file_half_kept_is_completed(bank: Bank) -> None:
    """
    Killed between two entries of a file, it has one of them; the file put again brings the other and no third.
    """
    pair = one(instruction(1), instruction(2))
    bank.put(pair)
    lines = bank.path.read_bytes().splitlines(keepends=True)
    bank.path.write_bytes(lines[0] + lines[1][:40])

    bank.restart()
    assert len(bank.kept()) == 1
    status, receipt = bank.put(pair)

    assert (status, receipt) == (201, receipt_of(pair))
    assert len(bank.kept()) == 2


@pytest.mark.parametrize(
    ("amount", "code", "day"),
    [(5101, "R01", WEDNESDAY), (5102, "R02", WEDNESDAY), (5110, "R10", date(2026, 12, 2)), (5115, "R15", WEDNESDAY)],
)
def test_amounts_that_come_back(bank: Bank, amount: int, code: str, day: date) -> None:
    """
    51nn settles and is returned with Rnn: on the next business day, or where customers have sixty days on the fifth.
    """
    asked = instruction(amount=amount)
    bank.put(one(asked))
    bank.now += timedelta(hours=10)

    settled = bank.day(TUESDAY)
    assert bank.kept() == [("collect", amount, "approved", "settled")]
    bank.now += MANY_DAYS
    back = bank.day(day)

    assert [type(said.answer) for said in settled] == [Approved]
    (said,) = back
    assert isinstance(said.answer, Declined)
    assert (said.identification, said.answer.code) == (identification(asked.request_id), code)
    assert said.trace == settled[0].trace
    assert bank.kept() == [("collect", amount, "approved", "settled"), ("return", amount, "approved", code)]


def test_a_return_has_the_code_of_its_account_and_direction(bank: Bank) -> None:
    """
    26 of a debit from a current account, 31 of a credit to savings; to our bank, from theirs.
    """
    bank.put(one(instruction(1, amount=5103), instruction(2, Operation.PAYOUT, amount=5103, method=COMPANY)))
    bank.now += MANY_DAYS

    entries = [each.record for _, each in read(bank.simulator.settlement(WEDNESDAY)).entries()]

    assert [entry.number("transaction_code") for entry in entries] == [31, 26]
    assert {entry.raw("rdfi") + entry.raw("check_digit") for entry in entries} == {OWN_BANK}


def test_amounts_whose_account_is_to_be_changed(bank: Bank) -> None:
    """
    52nn settles, and on the next business day the receiver's bank asks for Cnn.
    """
    asked = [instruction(number, amount=5200 + code) for number, code in enumerate((1, 2, 3, 5, 6, 7, 9, 13), 1)]
    bank.put(one(*asked))
    bank.now += MANY_DAYS

    changes = {change.code: change.fields for change in changes_asked(bank.simulator.settlement(WEDNESDAY))}

    assert len(bank.day(TUESDAY)) == len(asked)
    assert bank.day(WEDNESDAY) == []
    assert changes["C01"] == {"account_number": "9123456789"}
    assert changes["C07"] == {
        "routing_number": "021000021",
        "account_number": "9123456789",
        "transaction_code": "37",
    }
    assert set(changes) == {"C01", "C02", "C03", "C05", "C06", "C07", "C09", "C13"}


def test_what_survives_a_restart(bank: Bank) -> None:
    """
    Settled before, returned after: the one effect of each, and the same file of each day, however often it restarts.
    """
    bank.put(one(instruction(1, amount=5101), instruction(2)))
    for hours in range(0, 96, 8):
        bank.now = MORNING + timedelta(hours=hours)
        bank.restart()
        bank.simulator.due()

    assert sorted(bank.kept()) == [
        ("collect", 1050, "approved", "settled"),
        ("collect", 5101, "approved", "settled"),
        ("return", 5101, "approved", "R01"),
    ]
    days = [bank.simulator.settlement(day) for day in (TUESDAY, WEDNESDAY, FRIDAY)]
    bank.restart()
    assert [bank.simulator.settlement(day) for day in (TUESDAY, WEDNESDAY, FRIDAY)] == days
    assert [len(read_day(day)) for day in days] == [2, 1, 0]


def test_after_the_window_it_is_the_next(bank: Bank) -> None:
    """
    A file that comes after all windows of its day settles on the next business day, under the reference it has.
    """
    asked = instruction()
    bank.now = datetime(2026, 11, 25, 23, 0, tzinfo=UTC)

    bank.put(one(asked))
    bank.now += MANY_DAYS

    assert bank.day(TUESDAY) == bank.day(WEDNESDAY) == []
    (said,) = bank.day(FRIDAY)
    assert isinstance(said.answer, Approved)
    assert said.answer.settles_on == "2026-11-27"
    assert said.answer.reference.startswith("20261124D-")


def test_what_it_has_of_an_entry(bank: Bank) -> None:
    """
    The entry and its file by its identification; of what it never heard, nothing.
    """
    asked = instruction()
    bank.put(one(asked))

    held = bank.simulator.entry(identification(asked.request_id))
    unheard = bank.simulator.entry(identification(request_id(2)))

    assert held.body is not None
    assert msgspec.json.decode(held.body, type=EntryHeld) == EntryHeld(
        identification=identification(asked.request_id), file=one(asked).name, amount=1050, credit=False
    )
    assert (held.status, unheard.status) == (200, 404)


@pytest.mark.parametrize(
    "data",
    [b"", b"noise", write(file()).replace(b"0000001050INV", b"0000001051INV"), write(file()).replace(b"PPD", b"WEB")],
    ids=["nothing", "noise", "out of balance", "a WEB debit that does not say how often"],
)
def test_what_is_no_file_is_not_taken(bank: Bank, data: bytes) -> None:
    """
    None of it, and why.
    """
    status, why = bank.put(Outgoing("a", data, ()))

    assert status == 422
    assert why
    assert bank.kept() == []


def test_files_of_others_are_taken_too(bank: Bank) -> None:
    """
    An entry without a request id in its addenda is known by its identification.
    """
    reply = bank.simulator.answer(write(file(batch(entry(identification="INV-1815")))))

    assert reply.status == 201
    assert [effect.request_id for effect in bank.books.effects("ach")] == ["INV-1815"]


def test_faults(bank: Bank) -> None:
    """
    Swallowed before and after, hung up, wrong in the receipt, declined, twice in the day's file.
    """

    def put(number: int, **switches: Any) -> Any:
        bank.faults.switch("ach", Switches(**switches), route=OWN_BANK)
        return bank.simulator.put(one(instruction(number)).name, one(instruction(number)).data)

    assert put(1, drop_before=Next(1)).body is None
    assert put(2, outage=Next(1)).hang_up
    assert bank.kept() == []
    assert put(3, drop_after=Next(1)).body is None
    assert len(bank.kept()) == 1
    wrong = msgspec.json.decode(put(4, wrong_amount=Next(1)).body, type=Receipt)
    assert wrong.debits == 1051
    assert put(5, late=Next(1), late_s=3.0).delay_s == 3.0
    put(6, decline=Next(1), decline_code="R03")
    put(7, duplicate=Next(1))
    bank.now += MANY_DAYS
    assert [said.identification for said in bank.day(TUESDAY)].count(identification(request_id(7))) == 2
    (back,) = bank.day(WEDNESDAY)
    assert isinstance(back.answer, Declined)
    assert (back.identification, back.answer.code) == (identification(request_id(6)), "R03")


def test_a_file_without_an_end_is_made_of_all_days(bank: Bank) -> None:
    """
    Since a day: what settled and came back then and after, in one file.
    """
    bank.put(one(instruction(1, amount=5101), instruction(2)))
    bank.now += MANY_DAYS

    since, later = bank.simulator.returns(TUESDAY), bank.simulator.returns(WEDNESDAY)

    assert since.body is not None and later.body is not None
    assert len(read_day(since.body)) == 3
    assert [type(said.answer) for said in read_day(later.body)] == [Declined]
    assert bank.simulator.returns(FRIDAY).body == b""
    of_one = bank.simulator.returns(TUESDAY, identification(request_id(1))).body
    assert of_one is not None
    assert [type(said.answer) for said in read_day(of_one)] == [Approved, Declined]
    assert bank.simulator.returns(TUESDAY, identification(request_id(3))).body == b""


def test_trace_numbers_alike_in_two_files(bank: Bank, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Two files of a day may have drawn the same; in the day's file they stand in two batches.
    """
    monkeypatch.setattr("adapters.rails.ach.instructions._drawn", lambda _: 7)
    for number in range(1, 4):
        bank.put(outgoing([instruction(number)], BANK)[0])
    bank.now += timedelta(hours=10)

    assert len(bank.day(TUESDAY)) == 3
