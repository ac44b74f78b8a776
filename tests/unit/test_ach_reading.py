"""Nacha files read: whatever comes, what is wrong is said with its line, and nothing raises."""

import random
from collections.abc import Callable

import pytest

from adapters.rails.ach.files import file_of
from adapters.rails.ach.reading import read
from adapters.rails.ach.records import Reading, number
from adapters.rails.ach.routing_numbers import check_digit, is_routing_number
from adapters.rails.ach.writing import write
from tests.ach import SAMPLES, batch, entry, file

GOOD = write(SAMPLES["ppd-debits"]).decode().split("\n")[:-1]


def changed(line: int, first: int, text: str) -> bytes:
    """The good file with other characters in one record; `line` and `first` from 1."""
    lines = list(GOOD)
    lines[line - 1] = lines[line - 1][: first - 1] + text + lines[line - 1][first - 1 + len(text) :]
    return "\n".join(lines).encode()


def rejections(reading: Reading) -> set[tuple[str, int]]:
    return {(finding.code, finding.line) for finding in reading.findings if finding.rejects}


@pytest.mark.parametrize(
    ("line", "first", "text", "code"),
    [
        (1, 4, " 231380105", "destination"),
        (1, 14, " " * 10, "origin"),
        (1, 14, "0000000000", "origin"),
        (1, 24, "261324", "created_on"),
        (1, 40, "2", "format"),
        (2, 2, "226", "service_class"),
        (2, 5, " " * 16, "company_name"),
        (2, 51, "PPX", "entry_class"),
        (2, 54, " " * 10, "description"),
        (2, 79, "3", "originator_status"),
        (2, 79, "0", "originator_status"),  # Of accounting advices alone.
        (3, 2, "20", "transaction_code"),
        (3, 12, "5", "check_digit"),
        (3, 13, " " * 17, "account"),
        (3, 55, " " * 22, "name"),
        (3, 55, "Ada\x1a", "character"),
        (5, 2, "00", "addenda_type"),
        (5, 84, "0000", "sequence"),
        (5, 88, "0000009", "entry_sequence"),
        (6, 2, "200", "service_class"),
        (6, 5, "000004", "entry_addenda_count"),
        (6, 11, "0046276021", "entry_hash"),
        (6, 21, "000000001052", "debits"),
        (6, 33, "000000000001", "credits"),
        (6, 45, "1210428821", "company_id"),
        (6, 80, "12104289", "odfi"),
        (6, 88, "0000002", "batch_number"),
        (7, 2, "000002", "batch_count"),
        (7, 8, "000000", "block_count"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(line: int, first: int, text: str, code: str) -> None:
    """
    One change in a good file: the finding says which rule, and where.
    """
    reading = read(changed(line, first, text))

    assert (code, line) in rejections(reading)
    assert not reading.accepted


REARRANGED: dict[str, tuple[str, Callable[[list[str]], list[str]]]] = {
    "no file header": ("file_headers", lambda lines: lines[1:]),
    "two file headers": ("file_headers", lambda lines: [lines[0], *lines]),
    "file header late": ("file_headers", lambda lines: [*lines[1:6], lines[0], *lines[6:]]),
    "no file control": ("file_controls", lambda lines: [*lines[:6], *lines[7:]]),
    "two file controls": ("file_controls", lambda lines: [*lines[:7], lines[6]]),
    "batch after the end": ("after_file_control", lambda lines: [*lines[:7], *lines[1:6]]),
    "batch within a batch": ("batch_open", lambda lines: [*lines[:2], *lines[1:]]),
    "no batch control": ("batch_open", lambda lines: [*lines[:5], *lines[6:]]),
    "no batch header": ("outside_batch", lambda lines: [lines[0], *lines[2:]]),
    "no entry": ("outside_entry", lambda lines: [*lines[:2], *lines[4:]]),
    "empty batch": ("batch_empty", lambda lines: [*lines[:2], *lines[5:]]),
    "entries swapped": ("trace_order", lambda lines: [*lines[:2], *lines[3:5], lines[2], *lines[5:]]),
    "entry twice": ("trace_order", lambda lines: [*lines[:3], *lines[2:]]),
    "no record": ("record_type", lambda lines: ["x" * 94, *lines]),
    "a character too many": ("record_length", lambda lines: ["".join(lines) + "x"]),
}


@pytest.mark.parametrize("name", REARRANGED)
def test_records_out_of_place(name: str) -> None:
    """
    Each record has its place among the others.
    """
    code, rearranged = REARRANGED[name]

    reading = read("\n".join(rearranged(GOOD)).encode())

    assert code in {found for found, _ in rejections(reading)}


@pytest.mark.parametrize(
    "data",
    [
        "\n".join(GOOD),
        "\r\n".join(GOOD) + "\r\n",
        "".join(GOOD),
        "\n\n".join(GOOD),
        "\n".join(line.rstrip() for line in GOOD),
        "\n".join([GOOD[0], *(line + "   " for line in GOOD[1:])]),
    ],
    ids=["no last line end", "carriage returns", "no line ends", "blank lines", "blanks cut off", "blanks added"],
)
def test_files_as_banks_send_them(data: str) -> None:
    """
    Line ends, blanks at them and blank lines are forgiven: it is the same file.
    """
    reading = read(data.encode())

    assert reading.accepted
    assert file_of(reading) == SAMPLES["ppd-debits"]


def test_what_rejects_nothing_is_still_said() -> None:
    """
    A wrong number of blocks, or a record cut short, is a finding on an accepted file.
    """
    blocks = read(changed(7, 8, "000002"))
    short = read("\n".join([*GOOD[:6], GOOD[6].rstrip(), *GOOD[7:]]).encode())

    assert blocks.accepted and [finding.code for finding in blocks.findings] == ["block_count"]
    assert short.accepted and [(finding.code, finding.line) for finding in short.findings] == [("record_length", 7)]


def test_garbage_is_rejected_and_raises_nothing() -> None:
    """
    Nothing, noise, and noise in the shape of records: findings, no exception, and not without end.
    """
    dice = random.Random(94)
    noise = [b"", b"\n", b"\x00" * 1_000, b"9" * 94, bytes(range(256)) * 40, b"5" * 94 * 5_000]
    noise += [dice.randbytes(dice.randrange(2_000)) for _ in range(300)]
    for _ in range(300):
        lines = [dice.choice("156789") + "".join(dice.choices(" 0123456789AZé\x7f", k=93)) for _ in range(12)]
        noise.append("\n".join(lines).encode())

    readings = [read(data) for data in noise]

    assert not any(reading.accepted for reading in readings)
    assert max(len(reading.findings) for reading in readings) < 2_000


def test_one_changed_character_never_raises() -> None:
    """
    Any character in any place of a good file: a verdict, always; and where it is accepted, a value or a ValueError.
    """
    for line in range(1, 8):
        for column in range(1, 95):
            for character in "0Z \u0664\ufffd":
                reading = read(changed(line, column, character))
                if reading.accepted:
                    try:
                        file_of(reading)
                    except ValueError:
                        assert line in (1, 2, 5)


@pytest.mark.parametrize(("name", "good", "bad"), [("change", "C01", "C92"), ("returns", "R10", "R48")])
def test_codes_that_there_are_not(name: str, good: str, bad: str) -> None:
    """
    A notification of change or a return says why, in a code of the list.
    """
    data = write(SAMPLES[name])

    reading = read(data.replace(good.encode(), bad.encode()))

    assert next(finding.what for finding in reading.findings).startswith(repr(bad))
    assert not reading.accepted


def test_digits_of_other_scripts_are_no_number() -> None:
    assert [number(text) for text in (" 12", "12 ", "+7", "-7", "1 2", "\u0661\u0662", "1_2", "", "0x1")] == [
        12, 12, 7, -7, 0, 0, 0, 0, 0,
    ]  # fmt: skip


def test_check_digits() -> None:
    """
    Modulus 10 over eight digits; anything else has none.
    """
    assert [check_digit(eight) for eight in ("12104288", "23138010", "00000000", "1210428", "1210428x")] == [
        2, 4, 0, None, None,
    ]  # fmt: skip
    assert is_routing_number("021000021")
    assert not any(map(is_routing_number, ("021000022", "02100002", "0210000211", "02100002\u0661", "")))


def test_a_file_that_was_not_accepted_has_no_value() -> None:
    with pytest.raises(ValueError, match="not accepted"):
        file_of(read(b""))


def test_a_class_that_is_not_written_has_no_value() -> None:
    """
    A telephone entry is read, and its records are there; as a value it is not.
    """
    data = write(file(batch(entry(discretionary="S"), entry_class="WEB"))).replace(b"WEB", b"TEL")

    reading = read(data)

    assert reading.accepted
    assert [each.record.number("amount") for _, each in reading.entries()] == [1050]
    with pytest.raises(ValueError, match="TEL is not written here"):
        file_of(reading)
