"""Nacha files written: the very bytes, and everything that must not be written."""

from datetime import date, time
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from adapters.rails.ach.files import Change, Entry, File, Remittance, Return, file_of
from adapters.rails.ach.reading import read
from adapters.rails.ach.writing import Unwritable, write
from tests.ach import RULES, SAMPLES, THEIR_BANK, batch, entry, file, keeps_the_rules, returned, to_change

VECTORS = Path(__file__).parents[1] / "vectors" / "ach"


@pytest.mark.parametrize("name", SAMPLES)
def test_the_bytes_of_a_file(name: str) -> None:
    """
    What is written is the stored file to the byte, keeps every rule, and reads back as what it was made of.
    """
    stored = (VECTORS / f"{name}.ach").read_bytes()

    written = write(SAMPLES[name])

    assert written == stored
    keeps_the_rules(written)
    assert read(stored).findings == []
    assert file_of(read(stored)) == SAMPLES[name]


def test_the_files_that_are_stored_are_those_of_the_samples() -> None:
    """
    No vector is left unread.
    """
    assert {path.stem for path in VECTORS.iterdir()} == set(SAMPLES)


@pytest.mark.parametrize(
    ("line", "first", "last", "text"),
    [
        (0, 14, 23, " 121042882"),  # Immediate origin, right aligned.
        (0, 24, 33, "2611240941"),
        (1, 41, 50, "1210428820"),
        (1, 70, 75, "261124"),
        (2, 30, 39, "0000001050"),
        (2, 40, 54, "INV-1815       "),
        (3, 13, 29, "123456789        "),
        (4, 4, 15, "Invoice 1815"),
        (5, 11, 20, "0046276020"),  # Twice 23138010.
        (6, 8, 13, "000001"),
    ],
)
def test_fields_are_where_the_printed_rules_have_them(line: int, first: int, last: int, text: str) -> None:
    """
    Positions counted by hand.
    """
    lines = write(SAMPLES["ppd-debits"]).decode().split("\n")

    assert lines[line][first - 1 : last] == text


def test_the_hash_keeps_its_last_ten_digits() -> None:
    """
    Five hundred entries of 23138010 come to eleven digits; the first is cut off.
    """
    many = file(batch(*(entry(number) for number in range(1, 501))))

    lines = write(many).decode().split("\n")

    assert lines[502][10:20] == str(500 * 23138010)[-10:]
    keeps_the_rules(write(many))
    assert read(write(many)).findings == []


@pytest.mark.parametrize("count", range(1, 17))
def test_the_last_block_is_filled_and_no_more(count: int) -> None:
    """
    Six entries fill a block of ten to the last record, seven begin another.
    """
    data = write(file(batch(*(entry(number) for number in range(1, count + 1)))))

    assert len(data) == 95 * (10 if count <= 6 else 20)
    keeps_the_rules(data)
    assert read(data).findings == []


def test_a_loan_is_debited_in_a_reversal() -> None:
    """
    55 is the debit that is not numbered like the others.
    """
    data = write(file(batch(entry(transaction_code=55), description="REVERSAL")))

    assert data.decode().split("\n")[1].startswith("5225")
    assert read(data).findings == []


BLANK = "   "
IMPOSSIBLE: list[tuple[str, Entry]] = [
    ("entry.transaction_code", entry(transaction_code=20)),
    ("entry.transaction_code", entry(transaction_code=82)),  # Accounting, of ADV alone.
    ("entry.transaction_code", entry(transaction_code=26)),  # A return without its addenda.
    ("entry.transaction_code", returned(transaction_code=27)),
    ("entry.transaction_code", entry(transaction_code=29, amount=0)),  # Zero dollars, of CCD alone.
    ("entry.routing_number", entry(routing_number="231380105")),
    ("entry.routing_number", entry(routing_number="23138010")),
    ("entry.routing_number", entry(routing_number="23138010\u0664")),
    ("entry.account", entry(account=BLANK)),
    ("entry.name", entry(name="")),
    ("record 6, account", entry(account="1" * 18)),
    ("record 6, account", entry(account=" 1")),
    ("record 6, name", entry(name="Ada Lovelace, Countess of")),
    ("record 6, name", entry(name="Zoë")),
    ("record 6, name", entry(name="Ada\nLovelace")),
    ("record 6, identification", entry(identification="1234567890123456")),
    ("record 6, discretionary", entry(discretionary="ABC")),
    ("entry.amount", entry(amount=0)),
    ("entry.amount", entry(transaction_code=28, amount=1)),
    ("amount", entry(amount=-1)),
    ("amount", entry(amount=10**10)),
    ("entry.trace", entry(trace="12104288000000")),
    ("entry.trace", entry(trace="121042890000001")),
    ("entry.trace", entry(trace="121042880000000")),
    ("entry.trace", entry(trace="12104288000000A")),
    ("entry.addenda", entry(addenda=(Remittance("a"), Remittance("b")))),
    ("addenda.information", entry(addenda=(Remittance(""),))),
    ("record 7, information", entry(addenda=(Remittance("a" * 81),))),
    ("entry.addenda", to_change()),  # A notification of change outside of COR.
]


@pytest.mark.parametrize(("where", "bad"), IMPOSSIBLE)
def test_an_impossible_entry_is_not_written(where: str, bad: Entry) -> None:
    """
    It raises, and names the field; nothing is cut short or left out.
    """
    odfi = THEIR_BANK[:8] if bad.addenda and not isinstance(bad.addenda[0], Remittance) else "12104288"

    with pytest.raises(Unwritable) as refusal:
        write(file(batch(bad, odfi=odfi)))

    assert refusal.value.where == where


ORIGINAL: Any = {"original_trace": "121042880000001", "original_rdfi": "23138010"}


@pytest.mark.parametrize(
    ("where", "bad"),
    [
        ("addenda.code", Return(code="R48", **ORIGINAL)),
        ("addenda.original_trace", Return(code="R01", **{**ORIGINAL, "original_trace": "1"})),
        ("addenda.original_rdfi", Return(code="R01", **{**ORIGINAL, "original_rdfi": "231380104"})),
        ("addenda.died_on", Return(code="R15", **ORIGINAL)),
        ("addenda.died_on", Return(code="R01", died_on=date(2026, 1, 2), **ORIGINAL)),
        ("record 7, information", Return(code="R01", information="a" * 45, **ORIGINAL)),
    ],
)
def test_an_impossible_return_is_not_written(where: str, bad: Return) -> None:
    """
    Only with a code there is, the original's numbers, and the day of a death where there was one.
    """
    with pytest.raises(Unwritable) as refusal:
        write(file(batch(returned(addenda=(bad,)), odfi=THEIR_BANK[:8])))

    assert refusal.value.where == where


@pytest.mark.parametrize(
    ("where", "bad"),
    [
        ("addenda.code", Change(code="C10", corrected="1", **ORIGINAL)),
        ("addenda.corrected", Change(code="C01", corrected="", **ORIGINAL)),
        ("record 7, corrected", Change(code="C01", corrected="1" * 30, **ORIGINAL)),
    ],
)
def test_an_impossible_change_is_not_written(where: str, bad: Change) -> None:
    """
    Only with a code there is, and with what is right.
    """
    with pytest.raises(Unwritable) as refusal:
        write(file(batch(returned(addenda=(bad,), amount=0), entry_class="COR", odfi=THEIR_BANK[:8])))

    assert refusal.value.where == where


@pytest.mark.parametrize(
    ("where", "bad"),
    [
        ("file.batches", replace(file(), batches=())),
        ("file.destination", file(destination="231380105")),
        ("file.origin", file(origin="12104288")),
        ("file.origin", file(origin="0000000000")),
        ("file.modifier", file(modifier="a")),
        ("file.modifier", file(modifier="AB")),
        ("file.created_at", file(created_at=time(9, 41, 30))),
        ("date", file(created_on=date(2070, 1, 1))),
        ("record 1, origin_name", file(origin_name="a" * 24)),
        ("batch.entries", file(replace(batch(), entries=()))),
        ("batch.entries", file(batch(entry(1), replace(returned(), trace="121042880000002")))),
        ("batch.entry_class", file(batch(entry_class="TEL"))),
        ("batch.odfi", file(batch(odfi="1210428"))),
        ("batch.odfi", file(batch(entry(trace="000000000000001"), odfi="00000000"))),
        ("batch.company_name", file(batch(company_name=" "))),
        ("batch.company_id", file(batch(company_id=""))),
        ("batch.description", file(batch(description=""))),
        ("batch.settlement_day", file(batch(settlement_day=367))),
        ("record 5, company_name", file(batch(company_name="Daybook Shop & Co"))),
        ("record 5, description", file(batch(description="PURCHASE 12"))),
        ("entry.discretionary", file(batch(entry_class="WEB"))),
        ("entry.trace", file(batch(entry(2), entry(1)))),
        ("entry.trace", file(batch(entry(1), entry(1)))),
    ],
)
def test_an_impossible_file_is_not_written(where: str, bad: File) -> None:
    """
    Nor are headers, and what only the whole can show: mixed categories, trace numbers out of order or twice in a batch.
    """
    with pytest.raises(Unwritable) as refusal:
        write(bad)

    assert refusal.value.where == where


def test_totals_that_do_not_fit_are_not_written() -> None:
    """
    A batch holds less than ten thousand million dollars.
    """
    largest = [entry(number, amount=10**10 - 1) for number in range(1, 102)]

    with pytest.raises(Unwritable) as refusal:
        write(file(batch(*largest)))

    assert refusal.value.where == "debits"


@pytest.mark.parametrize("rule", RULES)
def test_the_rules_can_fail(rule: str) -> None:
    """
    Each rule is broken by some one-character change of a good file, so that none of them is empty.
    """
    lines = write(SAMPLES["web-mixed"]).decode().split("\n")[:-1]
    changed = write(SAMPLES["ppd-debits"]).decode().split("\n")[:-1]

    assert any(_breaks(rule, each) for good in (lines, changed) for each in _mutants(good))


def _mutants(lines: list[str]) -> list[list[str]]:
    mutants = [lines[:at] + lines[at + 1 :] for at in range(len(lines))]
    for at, line in enumerate(lines):
        for column in range(94):
            for character in ("0", "7", "\x1a"):
                mutants.append([*lines[:at], line[:column] + character + line[column + 1 :], *lines[at + 1 :]])
    return mutants


def _breaks(rule: str, lines: list[str]) -> bool:
    try:
        RULES[rule](lines)
    except (AssertionError, ValueError, IndexError, KeyError):
        return True
    return False
