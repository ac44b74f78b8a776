"""Files read line by line: each line is one row, or says why it is none. Nothing is held but the line at hand."""

import csv
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple

from adapters.web.problem import BadRequest
from adapters.web.strict_json import read_object

LINE_BYTES_MAX: Final = 1_000_000


class BadFile(Exception):
    """The file as a whole cannot be read as what it should be; the message says why."""


class BadRow(Exception):
    """One row cannot be read as what it should be. `code` is stable, the reason is for people."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class Line(NamedTuple):
    """A line of a file that is no blank: its number from 1, its text, and where in the file it ends, in bytes."""

    number: int
    text: str
    end: int
    row: dict[str, Any] | BadRow


class Columns(NamedTuple):
    """What the columns of a file may be, and which of them must be there."""

    needed: tuple[str, ...]
    others: tuple[str, ...] = ()


def read(path: Path, columns: Columns) -> Generator[Line, None, None]:
    """The lines of a CSV file (.csv, with a header) or of JSON Lines (.jsonl, .ndjson), as the file's ending says.

    Raises:
        BadFile: Another ending, no such file, or a header with columns missing, unknown or twice.
    """
    kind = path.suffix.lower()
    if kind not in (".csv", ".jsonl", ".ndjson"):
        raise BadFile(f"{path} ends in neither .csv nor .jsonl")
    try:
        file = path.open("rb")
    except OSError as error:
        raise BadFile(f"{path} cannot be read: {error.strerror}") from error
    with file:
        yield from _csv(path, file, columns) if kind == ".csv" else _json_lines(file, columns)


def _lines(file: BinaryIO) -> Iterator[tuple[int, bytes, int]]:
    """Lines with their numbers and ends; of one that is too long only the beginning."""
    number = end = 0
    while line := file.readline(LINE_BYTES_MAX):
        number += 1
        end += len(line)
        rest = line
        while len(rest) == LINE_BYTES_MAX and not rest.endswith(b"\n"):
            rest = file.readline(LINE_BYTES_MAX)
            end += len(rest)
        yield number, line.removesuffix(b"\n").removesuffix(b"\r"), end


def _text(line: bytes) -> str:
    if len(line) == LINE_BYTES_MAX:
        raise BadRow("malformed_row", f"the line has {LINE_BYTES_MAX} bytes or more")
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadRow("malformed_row", "the line is not UTF-8") from error


def _csv(path: Path, file: BinaryIO, columns: Columns) -> Iterator[Line]:
    lines = _lines(file)
    header = _header(path, next(lines, (1, b"", 0))[1], columns)
    for number, line, end in lines:
        if line.strip():
            yield Line(number, _shown(line), end, _csv_row(line, header))


def _header(path: Path, line: bytes, columns: Columns) -> Sequence[str]:
    try:
        header = _cells(line.removeprefix(b"\xef\xbb\xbf"))
    except BadRow as error:
        raise BadFile(f"{path}: the header cannot be read: {error.reason}") from error
    known = (*columns.needed, *columns.others)
    problems = [f"no column {name}" for name in columns.needed if name not in header]
    problems += [f"an unknown column {name!r}" for name in header if name not in known]
    problems += [f"column {name} twice" for name in sorted({name for name in header if header.count(name) > 1})]
    if problems:
        raise BadFile(f"{path}: the header has {', '.join(problems)}; the columns are {','.join(known)}")
    return header


def _csv_row(line: bytes, header: Sequence[str]) -> dict[str, Any] | BadRow:
    try:
        cells = _cells(line)
    except BadRow as error:
        return error
    if len(cells) != len(header):
        return BadRow("malformed_row", f"{len(cells)} values in {len(header)} columns")
    return {name: value for name, value in zip(header, cells, strict=True) if value}


def _cells(line: bytes) -> list[str]:
    try:
        return next(csv.reader([_text(line)], strict=True), [])
    except csv.Error as error:
        raise BadRow("malformed_row", f"not a row of CSV: {error}") from error


def _json_lines(file: BinaryIO, columns: Columns) -> Iterator[Line]:
    for number, line, end in _lines(file):
        if line.strip():
            yield Line(number, _shown(line), end, _json_row(line, columns))


def _json_row(line: bytes, columns: Columns) -> dict[str, Any] | BadRow:
    try:
        _text(line)
        row = read_object(line.removeprefix(b"\xef\xbb\xbf"))
    except BadRow as error:
        return error
    except BadRequest as error:
        reason = 'amounts are strings, such as "10.50"' if error.code == "json_float" else error.title
        return BadRow(error.code, reason.replace("The body", "The line"))
    unknown = sorted(row.keys() - {*columns.needed, *columns.others})
    if unknown:
        return BadRow("malformed_row", f"unknown field {unknown[0]!r}")
    return row


def _shown(line: bytes) -> str:
    """The line as it can be written to the file of rejects."""
    return line[:LINE_BYTES_MAX].decode("utf-8", "replace")
