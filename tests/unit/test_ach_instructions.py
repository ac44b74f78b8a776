"""Instructions as Nacha files, and days' files as answers: the same is always the same bytes."""

from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from adapters.rails.ach.files import Entry, Remittance, file_of
from adapters.rails.ach.instructions import (
    AMOUNT_MAX,
    DayRejected,
    Originator,
    Outgoing,
    Said,
    changes_asked,
    fit,
    identification,
    outgoing,
    read_day,
    reference,
    reference_of,
)
from adapters.rails.ach.reading import read
from adapters.rails.ach.writing import Unwritable, write
from domain.rail import Approved, BankAccount, Declined, Instruction, Operation, Rail, Retry
from tests.ach import ODFI, OWN_BANK, SAMPLES, THEIR_BANK, batch, entry, file, keeps_the_rules

MORNING = datetime(2026, 11, 24, 14, 0, tzinfo=UTC)
"""Nine o'clock in New York, a Tuesday."""
BANK = Originator(
    route="first_bank",
    url="https://bank.example/ach",
    routing_number=OWN_BANK,
    operator=THEIR_BANK,
    company_name="Daybook Shop",
    company_id="1210428820",
    bank_name="First Bank",
    operator_name="Federal Reserve Bank",
)
CONSUMER = BankAccount(routing_number=THEIR_BANK, account_number="123456789", holder="Ada Lovelace")
COMPANY = BankAccount(
    routing_number=THEIR_BANK, account_number="55500001", holder="Analytical Engines", savings=True, company=True
)


def request_id(number: int) -> str:
    return f"req{number:019}"


def instruction(number: int = 1, operation: Operation = Operation.COLLECT, **changed: Any) -> Instruction:
    fields: dict[str, Any] = {
        "request_id": request_id(number),
        "operation": operation,
        "rail": Rail.ACH,
        "route": "first_bank",
        "amount": 1050,
        "currency": "USD",
        "method": CONSUMER,
        "sent_at": MORNING,
    }
    return Instruction(**{**fields, **changed})


def reversal(of: Instruction, number: int = 99, **changed: Any) -> Instruction:
    original = {"original": str(reference_of(of, BANK)), "original_request_id": of.request_id}
    return instruction(number, Operation.REVERSE, amount=of.amount, method=of.method, **{**original, **changed})


def one(*instructions: Instruction) -> Outgoing:
    (only,) = outgoing(instructions, BANK)
    return only


def entry_of(asked: Instruction) -> tuple[str, str, Entry]:
    """Class, description and entry of the file of one instruction."""
    (written,) = file_of(read(one(asked).data)).batches
    (only,) = written.entries
    return written.entry_class, written.description, only


@pytest.mark.parametrize(
    ("asked", "entry_class", "description", "code"),
    [
        (instruction(), "WEB", "PURCHASE", 27),
        (instruction(operation=Operation.PAYOUT), "PPD", "PAYOUT", 22),
        (instruction(operation=Operation.REFUND), "PPD", "REFUND", 22),
        (instruction(method=COMPANY), "CCD", "PURCHASE", 37),
        (instruction(operation=Operation.PAYOUT, method=COMPANY), "CCD", "PAYOUT", 32),
        (reversal(instruction()), "WEB", "REVERSAL", 22),
        (reversal(instruction(operation=Operation.PAYOUT)), "PPD", "REVERSAL", 27),
        (reversal(instruction(method=COMPANY)), "CCD", "REVERSAL", 32),
    ],
)
def test_what_an_instruction_becomes(asked: Instruction, entry_class: str, description: str, code: int) -> None:
    """
    Debits and credits of consumers and companies; a reversal goes the other way than what it undoes.
    """
    got_class, got_description, written = entry_of(asked)

    assert (got_class, got_description, written.transaction_code) == (entry_class, description, code)
    assert written.amount == 1050
    assert written.discretionary == ("S" if entry_class == "WEB" else "")
    assert written.identification == identification(asked.request_id)
    assert written.addenda == (Remittance(asked.request_id),)
    keeps_the_rules(one(asked).data)
    assert read(one(asked).data).findings == []


def test_the_file_is_a_function_of_what_is_in_it() -> None:
    """
    Whatever the order they come in, the same instructions are the same file under the same name; others are not.
    """
    many = [
        instruction(number, method=COMPANY if number % 3 else CONSUMER, sent_at=MORNING + timedelta(seconds=7 * number))
        for number in range(1, 200)
    ]

    file, shuffled, fewer = one(*many), one(*many[::-1]), one(*many[1:])

    assert shuffled == file
    assert fewer.name != file.name
    assert file_of(read(file.data)).created_at == time(9, 23)  # The last was decided 1,393 seconds after nine.
    keeps_the_rules(file.data)
    assert {request.request_id for request in many} == set(file.request_ids)
    entries = [each for written in file_of(read(file.data)).batches for each in written.entries]
    assert len({each.trace for each in entries}) == len(entries)


def test_each_window_has_a_file_of_its_own() -> None:
    """
    What is decided after a cut-off goes with the next window; names begin with the day and the window.
    """
    later = instruction(2, sent_at=MORNING + timedelta(hours=3))
    large = instruction(3, amount=AMOUNT_MAX)

    files = outgoing([large, later, instruction(1)], BANK)

    assert [each.name.rpartition("-")[0] for each in files] == [
        "20261124-same_day_1",
        "20261124-same_day_2",
        "20261124-next_day",
    ]
    assert [each.request_ids for each in files] == [(request_id(1),), (request_id(2),), (request_id(3),)]
    assert [file_of(read(each.data)).batches[0].effective_on for each in files] == [
        date(2026, 11, 24),
        date(2026, 11, 24),
        date(2026, 11, 25),
    ]


def test_a_bank_that_sends_nothing_on_the_same_day() -> None:
    """
    Its entries go with the next day's window, whatever the hour.
    """
    (file,) = outgoing([instruction()], replace(BANK, same_day=False))

    assert file.name.startswith("20261124-next_day-")


def test_a_file_of_one_bears_its_identification() -> None:
    asked = instruction()

    assert one(asked).name == f"20261124-same_day_1-{identification(asked.request_id)}"


def test_identifications_are_short_and_apart() -> None:
    """
    Fifteen capital letters and digits, of any request id; a hundred thousand of them, all different.
    """
    made = {identification(request_id(number)) for number in range(100_000)}

    assert len(made) == 100_000
    assert all(len(each) == 15 and each.isalnum() and each.isupper() for each in list(made)[:1_000])
    assert identification("req0000000000000000001") == "4QBU6LZNZ4ZQFNI"  # For ever: it is in banks' files.


def test_trace_numbers_that_are_drawn_twice_move_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Where all draw the same, they stand one after the other.
    """
    monkeypatch.setattr("adapters.rails.ach.instructions._drawn", lambda _: 7)

    (written,) = file_of(read(one(*(instruction(number) for number in range(1, 4))).data)).batches

    assert [each.trace for each in written.entries] == [f"{ODFI}000000{last}" for last in "789"]


def test_a_reference_reads_back() -> None:
    asked = reference_of(instruction(), BANK)

    assert str(asked) == f"20261124D-{identification(request_id(1))}"
    assert reference(str(asked)) == asked
    for text in ("", "20261124X-ABCDEFGHIJKLMNO", "20261324D-ABCDEFGHIJKLMNO", "20261124D-ABC"):
        with pytest.raises(ValueError):
            reference(text)


@pytest.mark.parametrize(
    ("where", "bad"),
    [
        ("currency", instruction(currency="EUR")),
        ("amount", instruction(amount=0)),
        ("amount", instruction(amount=AMOUNT_MAX + 1)),
        ("operation", instruction(operation=Operation.AUTHORIZE)),
        ("original", instruction(operation=Operation.REVERSE, original="elsewhere")),
        ("entry.name", instruction(method=BankAccount(routing_number=THEIR_BANK, account_number="1", holder="李"))),
        ("entry.routing_number", instruction(method=BankAccount(routing_number="1", account_number="1", holder="A"))),
    ],
)
def test_what_cannot_be_asked(where: str, bad: Instruction) -> None:
    """
    It is refused before any file is made, and the field is named.
    """
    with pytest.raises(Unwritable) as refusal:
        outgoing([bad], BANK)

    assert refusal.value.where == where


def test_a_reversal_has_five_banking_days() -> None:
    """
    From the 24th over Thanksgiving to the 2nd; on the 3rd it is too late.
    """
    asked = instruction()

    outgoing([reversal(asked, sent_at=MORNING + timedelta(days=8))], BANK)
    with pytest.raises(Unwritable) as refusal:
        outgoing([reversal(asked, sent_at=MORNING + timedelta(days=9))], BANK)

    assert refusal.value.where == "too_late"


def test_a_bank_that_cannot_be_one() -> None:
    """
    A routing number that is none is found before anything is asked.
    """
    with pytest.raises(ValueError, match="'121042883' is no routing number"):
        replace(BANK, routing_number="121042883")


def test_names_fit() -> None:
    """
    Accents are taken off, what no field takes is left out, and what is too long is cut.
    """
    assert fit("Zoë  Brontë\n", 22) == "Zoe  Bronte"
    assert fit("Augusta Ada King, Countess of Lovelace", 22) == "Augusta Ada King, Coun"
    assert fit("Augusta Ada King,     Countess", 20) == "Augusta Ada King,"
    assert fit("李", 22) == ""


def test_the_statement_shows_the_descriptor() -> None:
    """
    Each descriptor has its batch, under the one company id.
    """
    written = file_of(read(one(instruction(1), instruction(2, descriptor="Café Zürich, 8001")).data))

    assert [each.company_name for each in written.batches] == ["Cafe Zurich, 800", "Daybook Shop"]
    assert {each.company_id for each in written.batches} == {BANK.company_id}


def test_a_day_says_what_settled_and_what_came_back() -> None:
    """
    Entries as they were sent are settled, on the day of their batch; returns are declines, by the original's trace.
    """
    settled = read_day(write(file(batch(entry(identification="A" * 15), settlement_day=329))))
    back = read_day(write(SAMPLES["returns"]))

    reference = "20261124D-AAAAAAAAAAAAAAA"
    approved = Approved(reference=reference, amount=1050, currency="USD", code="settled", settles_on="2026-11-25")
    assert settled == [Said(identification="A" * 15, trace=f"{ODFI}0000001", answer=approved)]
    assert [(said.identification, said.trace) for said in back] == [
        ("INV-1815", f"{ODFI}0000001"),
        ("INV-1815", f"{ODFI}0000002"),
    ]
    assert [said.answer for said in back] == [
        Declined(code="R01", reason="insufficient_funds", message="Insufficient funds", retry=Retry.LATER),
        Declined(
            code="R10",
            reason="not_authorized",
            message="Originator not known or not authorized to debit",
            retry=Retry.NEVER,
        ),
    ]


def test_the_turn_of_the_year() -> None:
    """
    Day 2 in a file of the last of December is in the year to come.
    """
    (said,) = read_day(write(file(batch(settlement_day=2), created_on=date(2026, 12, 31))))

    assert isinstance(said.answer, Approved)
    assert said.answer.settles_on == "2027-01-02"


def test_a_day_says_what_is_to_be_changed() -> None:
    """
    A notification of change is no answer; it names the field.
    """
    data = write(SAMPLES["change"])

    (change,) = changes_asked(data)

    assert read_day(data) == []
    assert (change.code, change.trace, change.fields) == ("C01", f"{ODFI}0000001", {"account_number": "987654321"})


def test_a_day_without_anything_and_one_that_does_not_add_up() -> None:
    """
    No bytes are no news; a file that was cut short is not believed.
    """
    data = write(SAMPLES["returns"])

    assert read_day(b"") == []
    with pytest.raises(DayRejected) as refusal:
        read_day(data[: len(data) // 2])
    assert refusal.value.findings
