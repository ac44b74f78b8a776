"""How answers are shown: tables and bars to people, JSON and CSV to programs. Progress and remarks go to stderr."""

import csv
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import orjson
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

from domain.money import to_decimal


def out() -> Console:
    """Made when it is used, so that it writes to whatever stdout is then."""
    return Console(soft_wrap=not sys.stdout.isatty(), highlight=False)


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]], *, note: str = "") -> None:
    """A table; a column whose name ends in a space is of numbers, and stands to the right."""
    shown = Table(title=title or None, caption=note or None, title_justify="left", caption_justify="left")
    for column in columns:
        numbers = column.endswith(" ")
        shown.add_column(column.strip(), justify="right" if numbers else "left", no_wrap=numbers, overflow="fold")
    for row in rows:
        shown.add_row(*row)
    console = out()
    if not console.is_terminal:
        console.width = 160
    console.print(shown, markup=False)


def json(value: Any) -> None:
    """One JSON document on stdout."""
    sys.stdout.write(orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE).decode())
    sys.stdout.flush()


def comma_separated(header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """CSV on stdout, lines ended by a line feed alone."""
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    sys.stdout.flush()


def decimal(minor: int, currency: str) -> str:
    """An amount as programs take it: `-1234.50`."""
    return format(to_decimal(minor, currency), "f")


def amount(minor: int, currency: str) -> str:
    """An amount as people read it: `-1,234.50`."""
    return format(to_decimal(minor, currency), ",f")


def instant(at: datetime | None) -> str:
    """RFC 3339 in UTC with all microseconds; a dash before the first event."""
    return "-" if at is None else at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


@contextmanager
def bar(what: str, *, total: int | None = None, columns: str = "", **fields: Any) -> Iterator[Progress]:
    """A progress bar on stderr with one task, number 0; invisible where nobody looks.

    Args:
        columns: More to show, as a format of the task's fields, which `fields` begin with.
    """
    console = Console(stderr=True, highlight=False)
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        *([TextColumn(columns)] if columns else []),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    ) as progress:
        progress.add_task(what, total=total, **fields)
        yield progress
