"""Rows as bytes, as Postgres sends them; that Postgres does, the contract tests of verification show."""

from datetime import UTC, date, datetime
from uuid import UUID

import pytest

from replay.rows import NULL, day, jsonb, layout, micros, moment, text

EVERYTHING = layout(
    "things",
    "amount count:int4 id:uuid name:text side:char held:bool data:bytea on:date at:timestamptz said:jsonb none:text",
)
VALUES = (
    *(-5, 7, UUID(int=9), "Zoë", "D", True, b"\x00\xff", date(1999, 12, 31), datetime(1999, 12, 31, 23, tzinfo=UTC)),
    *({"b": [1, None], "a": "x"}, None),
)


def test_there_and_back() -> None:
    """
    What is packed is unpacked as it was, also before 2000 and where there is nothing.
    """
    row = EVERYTHING.pack(VALUES)

    assert EVERYTHING.unpack(row) == VALUES
    assert EVERYTHING.value(row, "name") == "Zoë"
    assert (row[:2], row[-4:]) == (b"\x00\x0b", NULL)


@pytest.mark.parametrize("place", range(len(VALUES)))
def test_every_value_counts(place: int) -> None:
    """
    Another value in any column is another row.
    """
    others: tuple[object, ...] = (
        5,
        8,
        UUID(int=8),
        "Zoe",
        "C",
        False,
        b"",
        date(2000, 1, 1),
        datetime(2000, 1, 1, tzinfo=UTC),
        {},
        "",
    )
    values: list[object] = list(VALUES)
    values[place] = others[place]

    assert EVERYTHING.pack(values) != EVERYTHING.pack(VALUES)


def test_numbers_without_room() -> None:
    """
    A number that its column has no room for can still be told, and is no other.
    """
    one = layout("things", "amount")

    assert [one.unpack(one.pack([amount])) for amount in (2**63, -(2**63) - 1)] == [(2**63,), (-(2**63) - 1,)]
    assert one.pack([2**63]) != one.pack([-(2**63)])


def test_times_that_are_none() -> None:
    """
    Postgres's infinity, for which Python has no form, is named.
    """
    ends = layout("things", "at:timestamptz on:date")
    infinity = b"\x00\x02\x00\x00\x00\x08\x7f" + 7 * b"\xff" + b"\x00\x00\x00\x04\x80\x00\x00\x00"

    assert ends.unpack(infinity) == ("infinity", "-infinity")
    with pytest.raises(OverflowError):
        moment(2**63 - 1)


def test_fields() -> None:
    """
    A text without letters is none; a day and a time count from 2000.
    """
    assert (text(""), text("é")) == (NULL, b"\x00\x00\x00\x02\xc3\xa9")
    assert day(date(2000, 1, 2)) == b"\x00\x00\x00\x04\x00\x00\x00\x01"
    assert micros(datetime(2000, 1, 1, 0, 0, 1, tzinfo=UTC)) == 1_000_000


def test_json() -> None:
    """
    Members by the length of their names first, as Postgres keeps them, and letters as they are.
    """
    assert jsonb({"bb": ["é\n"], "c": 1}) == b'\x01{"c": 1, "bb": ["\xc3\xa9\\n"]}'
