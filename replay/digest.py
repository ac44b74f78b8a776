"""A digest of a read model: equal rows have equal digests, whenever, wherever and by whatever they are worked out.

It is SHA-256 over lines of UTF-8, each a JSON array ended by one line feed:

1. the table's name, then the names of its columns, by code point;
2. for each row, the values of those columns, in that order. Rows are in ascending order of the table's primary key,
   column by column: numbers by value, uuids and texts by their bytes.

The JSON has no white space and escapes nothing but the quotation mark, the backslash and the control characters below
U+0020 (`\\b`, `\\t`, `\\n`, `\\f`, `\\r`, else `\\u00xx`, lower case). Values are: null; true or false; integers;
texts as they are; uuids with hyphens; days as `2026-01-31`; times in UTC, with six places, as
`2026-01-31T18:00:00.000000Z`; JSON values as such, the members of their objects by code point.
"""

import json
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime
from hashlib import sha256
from typing import Any
from uuid import UUID

from msgspec import Struct


class Digest(Struct, frozen=True):
    """Of one read model: how many rows, and SHA-256 in hexadecimal."""

    table: str
    rows: int
    sha256: str


def digest(table: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> Digest:
    """The digest of rows that come in the order of their key, their columns by name.

    Raises:
        TypeError: A value is of a kind that has no bytes of its own here.
    """
    assert list(columns) == sorted(columns), columns
    hashed = sha256(_line([table, *columns]))
    count = 0
    for row in rows:
        assert len(row) == len(columns), row
        hashed.update(_line([_value(value) for value in row]))
        count += 1
    return Digest(table, count, hashed.hexdigest())


def _line(values: list[Any]) -> bytes:
    text = json.dumps(values, ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return text.encode() + b"\n"


def _value(value: Any) -> Any:
    match value:
        case datetime():
            return value.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        case date():
            return value.isoformat()
        case UUID():
            return str(value)
        case None | bool() | int() | str() | dict() | list():
            return value
        case _:
            raise TypeError(f"no digest of a {type(value).__name__}")
