"""The simulated bank: it does each thing once, says so in valid messages, keeps it, and bears whatever bytes come."""

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from starlette.applications import Starlette
from starlette.testclient import TestClient

from adapters.rails.simulator.books import Books
from adapters.rails.simulator.clock import Clock
from adapters.rails.simulator.faults import Faults, Next, Switches
from adapters.rails.simulator.wire import MAGIC, PENDING, Credit, WireSimulator
from adapters.rails.wire.conversation import Concluded, Credited, Returned, notices, order, question, understand
from adapters.rails.wire.identifiers import creditor_reference
from adapters.rails.wire.messages import CreditTransfer, Statement
from adapters.rails.wire.reading import read
from adapters.rails.wire.writing import write
from domain.money import Money
from domain.rail import Accepted, Answer, Approved, Declined, Instruction, NotFound, Operation, Unknown
from tests.unit.test_wire_messages import EVERY_KIND, HOSTILE
from tests.wires import BANK, HOUSE, PAID_ID, REQUEST_ID, instruction

START = datetime(2026, 3, 2, 12, tzinfo=UTC)
TODAY = START.date()


class Bank:
    """The simulator, and a clock that is moved by hand."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.now = START
        self.faults = Faults(1)
        self.open()

    def open(self) -> None:
        self.books = Books(self.file)
        self.simulator = WireSimulator(self.books, self.faults, Clock(real=lambda: self.now))

    def restart(self) -> None:
        self.books.__exit__()
        self.open()

    def send(self, given: Instruction) -> Answer | None:
        message = order(given, HOUSE, BANK, TODAY)
        assert isinstance(message, bytes), message
        return self.post(given, message)

    def inquire(self, given: Instruction) -> Answer | None:
        message = question(given, HOUSE, BANK)
        assert isinstance(message, bytes), message
        return self.post(given, message, inquired=True)

    def post(self, given: Instruction, message: bytes, *, inquired: bool = False) -> Answer | None:
        body = self.simulator.answer(message).body
        if body is None:
            return None
        assert read(body).findings == ()
        return understand(given, body, inquired=inquired)

    def switch(self, **switches: Any) -> None:
        self.faults.switch("wire", Switches(**switches))

    def kept(self) -> list[tuple[str, str, int]]:
        return [(effect.operation, effect.outcome, effect.amount) for effect in self.books.effects("wire")]

    def entries(self, day: date = TODAY) -> list[tuple[str, int, bool]]:
        """What the advice of a day says: of which payment, how much, and whether it is to our credit."""
        found = read(self.simulator.settlement(day))
        assert found.findings == ()
        return [
            (entry.details[0].ids.end_to_end_id, entry.amount.minor if entry.amount else 0, entry.credit)
            for each in found.contents
            if isinstance(each, Statement)
            for entry in each.entries
        ]


@pytest.fixture
def bank(tmp_path: Path) -> Iterator[Bank]:
    found = Bank(tmp_path / "books.jsonl")
    yield found
    found.books.__exit__()


PAYOUT = instruction()
PAID = instruction(request_id=PAID_ID)
REVERSAL = instruction(Operation.REVERSE)


def test_a_payment_is_done_once(bank: Bank) -> None:
    """
    Asked again, sent or inquired, before and after a restart, it says the same; its books have one effect.
    """
    first = bank.send(PAYOUT)
    again = [bank.send(PAYOUT), bank.inquire(PAYOUT)]
    bank.restart()

    assert isinstance(first, Approved)
    assert first.settles_on == "2026-03-02"
    assert [*again, bank.send(PAYOUT), bank.inquire(PAYOUT)] == [first] * 4
    assert bank.kept() == [("payout", "approved", 12345)]
    assert bank.entries() == [(REQUEST_ID, 12345, False)]


def test_a_refund_is_told_from_a_payout(bank: Bank) -> None:
    """
    By its purpose.
    """
    bank.send(instruction(Operation.REFUND))

    assert bank.kept() == [("refund", "approved", 12345)]


@pytest.mark.parametrize(
    "change", [{"amount": 1}, {"currency": "USD"}, {"method": replace(PAYOUT.method, iban="NO9386011117947")}]
)
def test_another_payment_under_the_same_id_is_a_duplicate(bank: Bank, change: dict[str, Any]) -> None:
    """
    It is not done, and whoever asked cannot take it for a no to the first.
    """
    bank.send(PAYOUT)

    assert isinstance(bank.send(instruction(**change)), Unknown)
    assert len(bank.kept()) == 1


def test_an_id_is_one_thing_s_alone(bank: Bank) -> None:
    """
    A recall under a payment's id, or a payment under a recall's, is a duplicate, and nothing is done.
    """
    bank.send(PAYOUT)
    bank.send(replace(REVERSAL, request_id="another"))

    assert isinstance(bank.send(REVERSAL), Unknown)
    assert isinstance(bank.send(instruction(request_id="another")), Unknown)
    assert len(bank.kept()) == 2


def test_what_it_never_received_it_says(bank: Bank) -> None:
    """
    Of a payment, and of a recall; a payment's id is none of a recall's.
    """
    assert bank.inquire(PAYOUT) == NotFound()
    assert bank.inquire(REVERSAL) == NotFound()
    bank.send(PAYOUT)
    assert bank.inquire(instruction(Operation.REVERSE, request_id=REQUEST_ID)) == NotFound()


@pytest.mark.parametrize("amount", [amount for amount, magic in MAGIC.items() if magic.code and not magic.pending])
def test_amounts_that_are_always_declined(bank: Bank, amount: int) -> None:
    """
    With the code of the table, in any currency, and again when asked again; they settle nowhere.
    """
    given = instruction(amount=amount, currency="JPY")
    answer = bank.send(given)

    assert isinstance(answer, Declined)
    assert answer.code == MAGIC[amount].code
    assert bank.inquire(given) == answer
    assert bank.entries() == []


@pytest.mark.parametrize(("amount", "ending"), [(5120, Approved), (5121, Declined)])
def test_what_is_pending_ends(bank: Bank, amount: int, ending: type) -> None:
    """
    By itself, with a message; or when it is asked about; a restart does not forget it.
    """
    given = instruction(amount=amount)
    assert isinstance(bank.send(given), Accepted)
    assert bank.simulator.due() == []
    bank.restart()
    bank.now += PENDING

    (message,) = bank.simulator.due()

    assert notices(message)[0] == (Concluded(request_id=REQUEST_ID),)
    assert isinstance(understand(given, message), ending)
    assert isinstance(bank.inquire(given), ending)
    assert bank.simulator.due() == []


def test_what_comes_back_comes_back_once(bank: Bank) -> None:
    """
    The day after, with its reason, in a message and in the advice of that day; a restart does not repeat it.
    """
    bank.send(instruction(amount=5130))
    assert bank.simulator.due() == []
    bank.restart()
    bank.now += timedelta(days=1)

    (message,) = bank.simulator.due()
    bank.restart()

    ((returned,), _) = notices(message)
    assert isinstance(returned, Returned)
    assert (returned.request_id, returned.amount, returned.why.code) == (REQUEST_ID, 5130, "AC04")
    assert bank.simulator.due() == []
    assert bank.entries() == [(REQUEST_ID, 5130, False)]
    assert bank.entries(TODAY + timedelta(days=1)) == [(REQUEST_ID, 5130, True)]


def test_a_recall_brings_the_money_back_once(bank: Bank) -> None:
    """
    A second recall finds it gone; the advice has both ways.
    """
    bank.send(PAID)
    answer = bank.send(REVERSAL)

    assert isinstance(answer, Approved)
    assert bank.send(REVERSAL) == bank.inquire(REVERSAL) == answer
    second = bank.send(instruction(Operation.REVERSE, request_id="another"))
    assert isinstance(second, Declined)
    assert second.code == "ARDT"
    assert bank.entries() == [(PAID_ID, 12345, False), (PAID_ID, 12345, True)]


def test_a_recall_of_what_is_pending_ends_it(bank: Bank) -> None:
    """
    The payment is canceled before it left; no money moved, and none comes back.
    """
    paid = replace(PAID, amount=5120)
    bank.send(paid)

    answer = bank.send(replace(REVERSAL, amount=5120))

    assert isinstance(answer, Approved)
    ended = bank.inquire(paid)
    assert isinstance(ended, Declined)
    assert ended.reason == "canceled"
    assert bank.entries() == []


@pytest.mark.parametrize(("amount", "code"), [(5140, "CUST"), (5105, "NOOR"), (None, "NOOR")])
def test_recalls_that_are_refused(bank: Bank, amount: int | None, code: str) -> None:
    """
    The payee keeps it; it was never done; it was never received. The refusal stands.
    """
    if amount is not None:
        bank.send(replace(PAID, amount=amount))
    reversal = replace(REVERSAL, amount=amount or 12345)

    answer = bank.send(reversal)

    assert isinstance(answer, Declined)
    assert answer.code == code
    assert bank.inquire(reversal) == answer


def test_money_that_comes_in(bank: Bank) -> None:
    """
    Once for each id, with the reference that was given out, in a message and in the advice.
    """
    reference = creditor_reference("pay_1")
    credit = Credit(id="IN-1", amount=777, currency="EUR", reference=reference, account=BANK.account, bank=BANK.bic)
    bank.simulator.credit(credit)
    bank.simulator.credit(credit)

    (message,) = bank.simulator.due()

    ((credited,), found) = notices(message)
    assert found.findings == ()
    assert isinstance(credited, Credited)
    assert (credited.references, credited.amount, credited.account) == ((reference,), 777, BANK.account)
    assert bank.entries() == [("IN-1", 777, True)]


def test_money_comes_in_over_http(bank: Bank) -> None:
    """
    What cannot be said in a message is refused, and not kept.
    """
    client = TestClient(Starlette(routes=list(bank.simulator.routes())))
    good = {"id": "IN-1", "amount": 777, "currency": "EUR"}

    assert client.post("/wire/credits", content=json.dumps(good)).json()["operation"] == "credit"
    for bad in ({}, {"currency": "ABC"}, {"amount": 0}, {"name": "x" * 141}, {"bic": "?"}, {"surprise": 1}):
        body = json.dumps(good | {"id": "IN-2"} | bad if bad else {})
        assert client.post("/wire/credits", content=body).status_code == 400
    assert len(bank.kept()) == 1


def test_faults_on_the_way(bank: Bank) -> None:
    """
    Before and after the effect, in the amount, and a decline on demand: each leaves the books as they should be.
    """
    bank.switch(drop_before=Next(1))
    assert bank.send(PAYOUT) is None
    assert bank.inquire(PAYOUT) == NotFound()
    bank.switch(drop_after=Next(1))
    assert bank.send(PAYOUT) is None
    assert isinstance(bank.inquire(PAYOUT), Approved)
    bank.switch(wrong_amount=Next(1))
    assert isinstance(bank.inquire(PAYOUT), Unknown)
    bank.switch(outage=Next(1))
    order_ = order(PAID, HOUSE, BANK, TODAY)
    assert isinstance(order_, bytes)
    assert bank.simulator.answer(order_).hang_up
    bank.switch(decline=Next(1), decline_code="AC06")
    answer = bank.send(PAID)
    assert isinstance(answer, Declined) and answer.code == "AC06"
    bank.switch(decline=Next(1))
    answer = bank.send(replace(REVERSAL, request_id="another"))
    assert isinstance(answer, Declined) and answer.code == "CUST"

    assert bank.kept() == [("payout", "approved", 12345), ("payout", "declined", 12345), ("reverse", "declined", 12345)]


def test_a_duplicate_is_in_the_advice_twice(bank: Bank) -> None:
    """
    The books have it once: whoever reconciles has to see it.
    """
    bank.switch(duplicate=Next(1))
    bank.send(PAYOUT)

    assert bank.entries() == [(REQUEST_ID, 12345, False)] * 2
    assert len(bank.kept()) == 1


def test_an_advice_of_several_accounts_and_of_none(bank: Bank) -> None:
    """
    Each account and currency has its own; an empty day is a valid message too.
    """
    assert bank.entries() == []
    for number, currency in enumerate(("EUR", "JPY", "EUR")):
        bank.send(instruction(request_id=f"N{number}", currency=currency))

    found = read(bank.simulator.settlement(TODAY)).contents

    assert [(each.currency, len(each.entries)) for each in found if isinstance(each, Statement)] == [
        ("EUR", 2),
        ("JPY", 1),
    ]


@pytest.mark.parametrize("name", HOSTILE)
def test_it_bears_any_bytes(bank: Bank, name: str) -> None:
    """
    It rejects them in a valid message, and does nothing.
    """
    answer = bank.post(PAYOUT, HOSTILE[name])

    assert isinstance(answer, Unknown)
    assert bank.kept() == []


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_it_bears_every_kind_and_any_tampering(bank: Bank, kind: str) -> None:
    """
    What it does not do, and what does not fit the schema, it rejects in a valid message.
    """
    content = write(EVERY_KIND[kind])
    for tampered in (
        content,
        content.replace(b"EUR", b"ABC"),
        content.replace(b"EUR", b"eur"),
        content.replace(b">M-1<", b">" + b"M" * 1000 + b"<"),
        content.replace(b">M-1<", "> \u202e\u00e9 <".encode()),
        content.replace(b"</Document>", b"<x/></Document>"),
    ):
        body = bank.simulator.answer(tampered).body
        assert body is not None
        assert read(body).findings == ()


def test_what_breaks_its_schema_is_not_done(bank: Bank) -> None:
    """
    However little it is: what we send has to be right, or the tests against this bank would not see that it is not.
    """
    good = order(PAYOUT, HOUSE, BANK, TODAY)
    assert isinstance(good, bytes)

    answer = bank.post(PAYOUT, good.replace(b"<ChrgBr>", b"<Surprise/><ChrgBr>"))

    assert isinstance(answer, Declined)
    assert answer.code == "FF01"
    assert "Surprise" in answer.message
    assert bank.kept() == []


def test_two_payments_in_one_message_are_not_done(bank: Bank) -> None:
    """
    One at a time, or its answer could not be told from another's.
    """
    transfer = EVERY_KIND["pacs.008.001.08"]
    assert isinstance(transfer, CreditTransfer)
    text = write(replace(transfer, amount=Money(1, "EUR"))).decode()
    one = text[text.index("<CdtTrfTxInf>") : text.index("</FIToFI")]

    bank.simulator.answer(text.replace(one, one * 2).replace("<NbOfTxs>1<", "<NbOfTxs>2<").encode())

    assert bank.kept() == []
