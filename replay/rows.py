"""Rows as bytes: compared whole, and taken apart only where they differ.

A row is the number of its fields, then each field after its length, -1 for NULL: as PostgreSQL sends rows, so that what
is stored need not be decoded to be held against what must be there.

Source: PostgreSQL, COPY, binary format, and the types' send functions. Big endian; dates are days since 2000-01-01,
times microseconds since then; jsonb is a version and its text.
"""

import json
import struct
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from enum import Enum
from functools import lru_cache
from typing import Any, Final
from uuid import UUID

import msgspec
from msgspec import Struct

INT2: Final = struct.Struct(">h").pack
INT4: Final = struct.Struct(">i").pack
INT8: Final = struct.Struct(">q").pack

NULL: Final = INT4(-1)
"""The field that is none."""

MICROSECONDS_A_DAY: Final = 86_400_000_000

_FIRST_DAY: Final = date(2000, 1, 1).toordinal()
_FIRST_MOMENT: Final = datetime(2000, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


def micros(at: datetime) -> int:
    """Microseconds since 2000."""
    return (at - _FIRST_MOMENT) // _MICROSECOND


def moment(micros: int) -> datetime:
    """The time, in UTC.

    Raises:
        OverflowError: Python has no such time; Postgres's infinity is one.
    """
    return _FIRST_MOMENT + timedelta(microseconds=micros)


def text(value: str) -> bytes:
    """A field of a text; NULL of the empty one."""
    if not value:
        return NULL
    data = value.encode()
    return INT4(len(data)) + data


@lru_cache(4096)
def day(on: date) -> bytes:
    """A field of a day: there are few."""
    return INT4(4) + INT4(on.toordinal() - _FIRST_DAY)


def jsonb(value: Any) -> bytes:
    """As Postgres writes it, if there are no fractions; rows that differ but in how numbers are written are equal."""
    return b"\x01" + json.dumps(_sorted(value), ensure_ascii=False).encode()


def _sorted(value: Any) -> Any:
    """Members by the length of their names, then by their bytes."""
    if isinstance(value, dict):
        names = sorted((name.encode(), name) for name in value)
        return {name: _sorted(value[name]) for _, name in sorted(names, key=lambda pair: len(pair[0]))}
    return [_sorted(item) for item in value] if isinstance(value, list | tuple) else value


def _shown(read: Callable[[int], Any], value: int) -> Any:
    try:
        return read(value)
    except (OverflowError, ValueError):
        return "-infinity" if value < 0 else "infinity"


def _integer(width: int) -> Callable[[int], bytes]:
    """One that its column has no room for takes more, and so equals nothing that is stored."""
    return lambda value: value.to_bytes(max(width, value.bit_length() // 8 + 1), "big", signed=True)


def _int(data: bytes) -> int:
    return int.from_bytes(data, "big", signed=True)


class Kind(Enum):
    """Of a column: how values become bytes, and bytes values. Named as in Postgres."""

    UUID = "uuid"
    INT8 = "int8"
    INT4 = "int4"
    TEXT = "text"
    CHAR = "char"
    BOOL = "bool"
    BYTEA = "bytea"
    DATE = "date"
    TIME = "timestamptz"
    JSONB = "jsonb"


_PACK: Final[dict[Kind, Callable[[Any], bytes]]] = {
    Kind.UUID: lambda value: value.bytes,
    Kind.INT8: _integer(8),
    Kind.INT4: _integer(4),
    Kind.TEXT: str.encode,
    Kind.CHAR: str.encode,
    Kind.BOOL: lambda value: b"\x01" if value else b"\x00",
    Kind.BYTEA: lambda value: value,
    Kind.DATE: lambda value: INT4(value.toordinal() - _FIRST_DAY),
    Kind.TIME: lambda value: INT8(micros(value)),
    Kind.JSONB: jsonb,
}
_UNPACK: Final[dict[Kind, Callable[[bytes], Any]]] = {
    Kind.UUID: lambda data: UUID(bytes=data),
    Kind.INT8: _int,
    Kind.INT4: _int,
    Kind.TEXT: bytes.decode,
    Kind.CHAR: bytes.decode,
    Kind.BOOL: lambda data: data != b"\x00",
    Kind.BYTEA: lambda data: data,
    Kind.DATE: lambda data: _shown(lambda days: date.fromordinal(days + _FIRST_DAY), _int(data)),
    Kind.TIME: lambda data: _shown(moment, _int(data)),
    Kind.JSONB: lambda data: msgspec.json.decode(data[1:]),
}


class Layout(Struct, frozen=True):
    """What the rows of a table consist of: its columns in that order, which need not be the table's."""

    table: str
    columns: tuple[tuple[str, Kind], ...]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(name for name, _ in self.columns)

    def pack(self, values: Sequence[Any]) -> bytes:
        """The row of those values."""
        fields = [INT2(len(self.columns))]
        for (_, kind), value in zip(self.columns, values, strict=True):
            if value is None:
                fields.append(NULL)
            else:
                data = _PACK[kind](value)
                fields += (INT4(len(data)), data)
        return b"".join(fields)

    def unpack(self, row: bytes) -> tuple[Any, ...]:
        """The values of a row."""
        values, at = [], 2
        for _, kind in self.columns:
            length, at = _int(row[at : at + 4]), at + 4
            values.append(None if length < 0 else _UNPACK[kind](row[at : at + length]))
            at += max(length, 0)
        return tuple(values)

    def value(self, row: bytes, column: str) -> Any:
        """One value of a row."""
        return self.unpack(row)[self.names.index(column)]


def layout(table: str, columns: str) -> Layout:
    """From words, each `column:kind`; the kind of most is that of an amount, which need not be said."""
    pairs = (word.partition(":") for word in columns.split())
    return Layout(table, tuple((name, Kind(kind or "int8")) for name, _, kind in pairs))
