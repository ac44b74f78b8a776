"""Nacha files as the tests make them, and the rules that any file must keep, each with its source.

The rules know the positions by themselves, from the printed rules, and nothing of the code they hold to account.
"""

from collections.abc import Callable
from datetime import date, time
from itertools import pairwise
from typing import Any, Final

from adapters.rails.ach.files import Batch, Change, Entry, File, Remittance, Return

ODFI: Final = "12104288"
OWN_BANK: Final = "121042882"
THEIR_BANK: Final = "231380104"


def entry(number: int = 1, **changed: Any) -> Entry:
    """A debit of USD 10.50 from a current account; `number`: the last digits of its trace number."""
    fields: dict[str, Any] = {
        "transaction_code": 27,
        "routing_number": THEIR_BANK,
        "account": "123456789",
        "amount": 1050,
        "name": "Ada Lovelace",
        "identification": "INV-1815",
        "trace": f"{ODFI}{number:07}",
    }
    return Entry(**{**fields, **changed})


def batch(*entries: Entry, **changed: Any) -> Batch:
    fields: dict[str, Any] = {
        "entry_class": "PPD",
        "company_name": "Daybook Shop",
        "company_id": "1210428820",
        "description": "PURCHASE",
        "odfi": ODFI,
        "entries": entries or (entry(),),
        "effective_on": date(2026, 11, 24),
    }
    return Batch(**{**fields, **changed})


def file(*batches: Batch, **changed: Any) -> File:
    fields: dict[str, Any] = {
        "destination": THEIR_BANK,
        "origin": OWN_BANK,
        "created_on": date(2026, 11, 24),
        "created_at": time(9, 41),
        "batches": batches or (batch(),),
        "destination_name": "Federal Reserve Bank",
        "origin_name": "Daybook",
    }
    return File(**{**fields, **changed})


def returned(number: int = 1, code: str = "R01", **changed: Any) -> Entry:
    """The debit comes back from their bank."""
    trace = f"{THEIR_BANK[:8]}{number:07}"
    addenda = Return(code=code, original_trace=f"{ODFI}{number:07}", original_rdfi=THEIR_BANK[:8])
    return entry(
        number, **{"transaction_code": 26, "routing_number": OWN_BANK, "trace": trace, "addenda": (addenda,), **changed}
    )


def to_change(number: int = 1, code: str = "C01", corrected: str = "987654321") -> Entry:
    """Their bank wants the account number changed."""
    original: Any = {"original_trace": f"{ODFI}{number:07}", "original_rdfi": THEIR_BANK[:8]}
    change = Change(code=code, corrected=corrected, **original)
    return returned(number, addenda=(change,), amount=0)


SAMPLES: Final = {
    "ppd-debits": file(batch(entry(1), entry(2, transaction_code=37, amount=1, addenda=(Remittance("Invoice 1815"),)))),
    "ccd-credit": file(
        batch(
            entry(transaction_code=22, amount=99_999_999_99, name="Analytical Engines", identification="PO 7"),
            entry_class="CCD",
            description="PAYOUT",
        )
    ),
    "web-mixed": file(
        batch(
            entry(1, discretionary="S"),
            entry(2, transaction_code=32, amount=250, name="Charles Babbage"),
            entry_class="WEB",
            description="ONLINE",
        ),
        batch(entry(3, transaction_code=28, amount=0), description="PRENOTE"),
    ),
    "reversal": file(batch(entry(transaction_code=22), description="REVERSAL")),
    "returns": file(
        batch(returned(1), returned(2, "R10"), effective_on=None, odfi=THEIR_BANK[:8], settlement_day=329),
        destination=OWN_BANK,
        origin=THEIR_BANK,
    ),
    "change": file(
        batch(to_change(), entry_class="COR", effective_on=None, odfi=THEIR_BANK[:8]),
        destination=OWN_BANK,
        origin=THEIR_BANK,
    ),
}
"""Files of our own making; as bytes they lie in tests/vectors/ach, which no change of the code may change."""


def _digits(line: str, first: int, last: int) -> int:
    """A numeric field: digits to its last place."""
    text = line[first - 1 : last]
    assert text.isdigit(), (line, first, last)
    return int(text)


def _records(lines: list[str]) -> list[str]:
    """Without the padding."""
    return [line for line in lines if line[:2] != "99"]


def _batches(lines: list[str]) -> list[list[str]]:
    batches: list[list[str]] = []
    for line in _records(lines)[1:-1]:
        if line[0] == "5":
            batches.append([])
        batches[-1].append(line)
    return batches


def _total(lines: list[str], sides: str) -> int:
    """Cents of the entries whose transaction code ends so."""
    return sum(_digits(line, 30, 39) for line in lines if line[0] == "6" and line[2] in sides)


DEBITS, CREDITS = "56789", "1234"
"""Second digits of transaction codes; 55 is the debit of a loan account."""


def records_are_94_printable_characters(lines: list[str]) -> None:
    assert all(len(line) == 94 for line in lines)
    assert all(" " <= character <= "~" for line in lines for character in line)


def blocks_of_ten_are_filled_with_nines(lines: list[str]) -> None:
    assert len(lines) % 10 == 0
    padding = len(lines) - len(_records(lines))
    assert padding < 10
    assert lines[len(lines) - padding :] == ["9" * 94] * padding


def one_header_first_and_one_control_last(lines: list[str]) -> None:
    kinds = [line[0] for line in _records(lines)]
    assert kinds[0] == "1" and kinds[-1] == "9"
    assert kinds.count("1") == kinds.count("9") == 1
    assert lines[0][1:3] == "01" and lines[0][34:40] == "094101"
    assert lines[0][33] in "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
    assert _digits(lines[0], 24, 33)


def batches_are_header_entries_control(lines: list[str]) -> None:
    for records in _batches(lines):
        kinds = "".join(line[0] for line in records)
        assert kinds[0] == "5" and kinds[-1] == "8" and kinds[1] == "6"
        assert set(kinds[1:-1]) <= {"6", "7"}


def batch_numbers_ascend(lines: list[str]) -> None:
    numbers = [_digits(records[0], 88, 94) for records in _batches(lines)]
    assert numbers == sorted(set(numbers)) and all(numbers)


def control_names_what_the_header_names(lines: list[str]) -> None:
    for header, *_, control in _batches(lines):
        assert control[1:4] == header[1:4]  # Service class code
        assert control[44:54] == header[40:50]  # Company identification
        assert control[79:94] == header[79:94]  # Originating bank and batch number


def service_class_is_of_the_directions(lines: list[str]) -> None:
    for header, *records, _ in _batches(lines):
        digits = {line[2] in CREDITS for line in records if line[0] == "6"}
        assert header[1:4] == {(False,): "225", (True,): "220", (False, True): "200"}[tuple(sorted(digits))]


def batch_control_counts_and_adds_up(lines: list[str]) -> None:
    for records in _batches(lines):
        control, inner = records[-1], records[1:-1]
        assert _digits(control, 5, 10) == len(inner)
        assert _digits(control, 11, 20) == sum(_digits(line, 4, 11) for line in inner if line[0] == "6") % 10**10
        assert _digits(control, 21, 32) == _total(inner, DEBITS)
        assert _digits(control, 33, 44) == _total(inner, CREDITS)


def file_control_counts_and_adds_up(lines: list[str]) -> None:
    control, controls = _records(lines)[-1], [records[-1] for records in _batches(lines)]
    assert _digits(control, 2, 7) == len(controls)
    assert _digits(control, 8, 13) == len(lines) // 10
    assert _digits(control, 14, 21) == sum(_digits(each, 5, 10) for each in controls)
    assert _digits(control, 22, 31) == sum(_digits(each, 11, 20) for each in controls) % 10**10
    assert _digits(control, 32, 43) == _total(lines, DEBITS)
    assert _digits(control, 44, 55) == _total(lines, CREDITS)
    assert control[55:] == " " * 39


def traces_ascend_and_are_the_banks(lines: list[str]) -> None:
    for records in _batches(lines):
        traces = [line[79:94] for line in records if line[0] == "6"]
        assert traces == sorted(set(traces))
        assert all(trace.isdigit() and trace[:8] == records[0][79:87] for trace in traces)


def addenda_are_announced_and_numbered(lines: list[str]) -> None:
    records = _records(lines)
    for line, after in pairwise(records):
        if line[0] == "6":
            assert line[78] == ("1" if after[0] == "7" else "0")
        if after[:3] == "705":
            assert after[83:87] == "0001" and after[87:94] == line[87:94]
        if after[:3] in ("798", "799"):
            assert after[79:94] == line[79:94]
            assert _digits(after, 7, 21) and _digits(after, 28, 35)


def routing_numbers_have_their_check_digit(lines: list[str]) -> None:
    numbers = [line[3:12] for line in lines if line[0] == "6"] + [lines[0][4:13]]
    for number in numbers:
        assert sum(int(digit) * weight for digit, weight in zip(number, (3, 7, 1) * 3, strict=True)) % 10 == 0, number


def amounts_are_zero_where_no_money_moves(lines: list[str]) -> None:
    for records in _batches(lines):
        for line, after in pairwise(records):
            if line[0] == "6" and after[:3] != "799":
                no_money = line[2] in "3849" or after[:3] == "798"
                assert (_digits(line, 30, 39) == 0) == no_money


RULES: Final[dict[str, Callable[[list[str]], None]]] = {
    "Appendix Three, 3.1 Data specifications": records_are_94_printable_characters,
    "Appendix Three, File Control Record: blocking factor 10, last block filled with 9s": (
        blocks_of_ten_are_filled_with_nines
    ),
    "Appendix Three, Sequence of records in ACH files; File Header Record, fields 2, 8-10": (
        one_header_first_and_one_control_last
    ),
    "Appendix Three, Sequence of records in ACH files; Appendix Two, file rejection: out of sequence": (
        batches_are_header_entries_control
    ),
    "Appendix Two, batch rejection: batch numbers not ascending": batch_numbers_ascend,
    "Appendix Two, batch rejection: header and control differ": control_names_what_the_header_names,
    "Appendix Two, batch rejection: service class code against transaction codes": service_class_is_of_the_directions,
    "Appendix Two, batch rejection: out of balance; Appendix Three, Entry Hash": batch_control_counts_and_adds_up,
    "Appendix Two, file rejection: out of balance; Appendix Three, File Control Record": (
        file_control_counts_and_adds_up
    ),
    "Appendix Two, batch rejection: trace numbers not ascending, or not of the bank": traces_ascend_and_are_the_banks,
    "Appendix Three, Addenda Record Indicator, Addenda Sequence Number, Entry Detail Sequence Number": (
        addenda_are_announced_and_numbered
    ),
    "Appendix Two, entry rejection: check digit, modulus 10": routing_numbers_have_their_check_digit,
    "Appendix Two, entry rejection: amount of non-monetary entries": amounts_are_zero_where_no_money_moves,
}
"""Source in the Nacha Operating Rules, and the rule, on the file's lines."""


def keeps_the_rules(data: bytes) -> None:
    assert data.endswith(b"\n")
    lines = data.decode("ascii").split("\n")[:-1]
    for rule in RULES.values():
        rule(lines)
