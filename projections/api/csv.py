"""Answers as CSV (RFC 4180): exact amounts, and no text that a spreadsheet would take for a formula."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any, Final

import msgspec
from starlette.requests import Request

from domain.money import to_decimal
from projections.api.parameters import Shaped

MEDIA_TYPE: Final = "text/csv; charset=utf-8; header=present"
DECIMAL: Final = "_decimal"
"""A column of this ending is the amount of the column before it, in the digits of the row's currency."""
_BEGINS_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "'")


def wanted(request: Request, read: Shaped) -> bool:
    """Whether the answer is to be CSV: by the parameter, else by the first of the two that the Accept header names."""
    if read.format is not None:
        return read.format == "csv"
    for given in request.headers.get("accept", "").split(","):
        media_type, *parameters = (part.strip().lower() for part in given.split(";"))
        if media_type in ("text/csv", "application/json") and "q=0" not in parameters:
            return media_type == "text/csv"
    return False


def header(columns: Sequence[str]) -> bytes:
    """The first line."""
    return _written([columns])


def lines(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> bytes:
    """A line for each row. A column named `a.b` is what `a` holds under `b`."""
    return _written([_cell(row, column) for column in columns] for row in rows)


def _written(rows: Iterable[Sequence[Any]]) -> bytes:
    out = io.StringIO()
    csv.writer(out, lineterminator="\r\n").writerows(rows)
    return out.getvalue().encode()


def _cell(row: Mapping[str, Any], column: str) -> Any:
    if column.endswith(DECIMAL):
        minor = row.get(column.removesuffix(DECIMAL))
        return "" if minor is None else format(to_decimal(minor, row["currency"]), "f")
    value: Any = row
    for step in column.split("."):
        value = value.get(step) if isinstance(value, Mapping) else None
    return _plain(value)


def _plain(value: Any) -> Any:
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case datetime():
            return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
        case int() | date():
            return value
        case str():
            return f"'{value}" if value.startswith(_BEGINS_FORMULA) else value
        case _:
            return msgspec.json.encode(value, order="deterministic").decode()
