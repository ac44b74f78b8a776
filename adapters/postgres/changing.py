"""Writes the changes that events make to a projection's tables, each change with all its rows of a batch at once."""

import re
from collections.abc import Iterable, Sequence, Set
from operator import itemgetter
from typing import Any, Final

import msgspec
from psycopg import Cursor

from domain.events import Recorded
from projections.projection import ROWS, Projection, documents, statements

# What msgspec writes as an array of JSON in a line is CSV as well, where a backslash escapes: both are C all the way.
_AS_CSV: Final = "(FORMAT csv, ESCAPE '\\', NULL 'null', ENCODING 'UTF8')"
_COPY: Final = re.compile(r"COPY \w+ \(([^)]*)\) FROM STDIN")
_ESCAPE: Final = re.compile(rb"\\(?:([\"\\])|u00([0-9a-f]{2})|(.))")
_CONTROL: Final = {b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t"}

# Postgres reads UUIDs with dashes and without; within a document, where they stay texts, those are a tenth of it.
_encoder: Final = msgspec.json.Encoder(uuid_format="hex")


class Changes:
    """The SQL of a projection's changes, ready to be run."""

    def __init__(self, projection: Projection) -> None:
        self._project = projection.project
        written = statements(projection.NAME)
        nested = documents(projection.NAME)
        self._writers = {name: _writer(written[name], nested) for name in projection.CHANGES}

    def apply(self, cursor: Cursor[Any], events: Iterable[Recorded]) -> None:
        """Apply the events, in the order of the log, within the caller's db transaction and search path."""
        rows: dict[str, list[dict[str, Any]]] = {name: [] for name in self._writers}
        for event in events:
            for change in self._project(event):
                rows[change.name].append(change.row)
        for name, writer in self._writers.items():
            if rows[name]:
                writer.write(cursor, rows[name])


class _Statement:
    """A statement that takes its rows as one JSON array."""

    def __init__(self, statement: str) -> None:
        self._statement = statement.encode()

    def write(self, cursor: Cursor[Any], rows: Sequence[dict[str, Any]]) -> None:
        cursor.execute(self._statement, {ROWS: _encoder.encode(rows).decode()}, prepare=True)


class _Copy:
    """A COPY of rows that are nothing but added: half the work of a statement for Postgres."""

    def __init__(self, statement: str, columns: Sequence[str], nested: Set[str]) -> None:
        self._statement = f"{statement} {_AS_CSV}".encode()
        self._pick = itemgetter(*columns)
        self._nested = [column for column in columns if column in nested]

    def write(self, cursor: Cursor[Any], rows: Sequence[dict[str, Any]]) -> None:
        for row in rows:
            for column in self._nested:
                if row[column] is not None:
                    row[column] = _encoder.encode(row[column]).decode()
        with cursor.copy(self._statement) as copy:
            copy.write(csv(list(map(self._pick, rows))))


def _writer(statement: str, nested: Set[str]) -> _Statement | _Copy:
    copy = _COPY.fullmatch(statement)
    if copy is None:
        return _Statement(statement)
    return _Copy(statement, [column.strip() for column in copy[1].split(",")], nested)


def csv(rows: Sequence[tuple[Any, ...]]) -> bytes:
    """The rows, at least one of at least two plain values each, as COPY takes them by `_AS_CSV`."""
    # A line break within a text is escaped, so what ends one line and begins the next is never part of a text.
    lines = _encoder.encode_lines(rows)[1:-2].replace(b"]\n[", b"\n")
    if lines.count(b"\\") > lines.count(rb"\""):  # Not only quotes are escaped, of which documents are full.
        lines = _ESCAPE.sub(_unescaped, lines)
    return lines + b"\n"


def _unescaped(escape: re.Match[bytes]) -> bytes:
    """A control character as it is, since CSV has no escapes for them; a quote or a backslash stays escaped."""
    kept, code, letter = escape.groups()
    if kept is not None:
        return escape[0]
    return bytes([int(code, 16)]) if code is not None else _CONTROL[letter]
