"""A projection: the changes that events make to its read models, and the SQL of each change.

`project` is pure, so that following the log and building anew are the same code. Each change's SQL takes all its rows
of a batch at once, and the changes of a batch apply in the order of `CHANGES`: whatever the batches, the tables come
out the same.
"""

import inspect
import re
from collections.abc import Iterator
from functools import cache
from hashlib import sha256
from importlib.resources import files
from typing import Any, Final, Protocol

from msgspec import Struct

from domain.events import Recorded


class Change(Struct, frozen=True):
    """One row for the SQL of that name."""

    name: str
    row: dict[str, Any]


class Projection(Protocol):
    """What a projection's module holds."""

    @property
    def NAME(self) -> str:
        """Also of its SQL file."""

    @property
    def VERSION(self) -> int:
        """Grows when readers of the tables change with them; what else changes in the code is in `digest`."""

    @property
    def CHANGES(self) -> tuple[str, ...]:
        """The names of all its changes, in the order in which those of a batch apply."""

    def project(self, recorded: Recorded, /) -> Iterator[Change]:
        """What the event changes."""


def tracked_as(projection: Projection) -> str:
    """The name under which the progress of its live tables is kept, and readers of this version ask for it."""
    return f"{projection.NAME}.v{projection.VERSION}"


def digest(projection: Projection) -> str:
    """Of all that its tables come from: its module's source, its SQL and its tables' definitions.

    What it takes from other modules is not in it: for that there is `VERSION`.
    """
    source = inspect.getsource(inspect.getmodule(projection.project) or type(projection))
    text = "\0".join((source, _sql(projection.NAME), tables(projection.NAME)))
    return sha256(text.encode()).hexdigest()[:16]


_INDEX: Final = re.compile(r"^CREATE INDEX ([^;]*);\n", re.MULTILINE)

ROWS: Final = "rows"
"""The one parameter of a change's SQL: a JSON array of rows. A COPY takes them by its columns' names instead."""


@cache
def statements(name: str) -> dict[str, str]:
    """The statements of `sql/<name>.sql`, by name."""
    return parse(_sql(name))


def tables(name: str) -> str:
    """The definitions of a projection's tables and all their indexes, names without a schema."""
    return _sql(f"{name}_tables")


def bare_tables(name: str) -> str:
    """The same without the indexes that only readers need: what keeps rows apart is there from the first row on."""
    return _INDEX.sub("", tables(name))


def indexes(name: str) -> list[str]:
    """What `bare_tables` leaves out; statements that may be run again."""
    return [f"CREATE INDEX IF NOT EXISTS {index}" for index in _INDEX.findall(tables(name))]


def documents(name: str) -> frozenset[str]:
    """The columns of a projection's tables that hold JSON documents."""
    return frozenset(re.findall(r"^    (\w+) +jsonb\b", tables(name), re.MULTILINE))


def _sql(name: str) -> str:
    return files("projections").joinpath("sql", f"{name}.sql").read_text(encoding="utf-8")


def parse(text: str) -> dict[str, str]:
    """Statements by name. Each is a line `-- name --`, at least one comment line that says why, and one statement.

    Raises:
        ValueError: The text is not in that form, or a name is there twice.
    """
    found: dict[str, str] = {}
    name = None
    lines: list[str] = []
    for line in [*text.splitlines(), "-- --"]:
        if line.startswith("-- ") and line.endswith(" --"):
            if name is not None:
                if name in found:
                    raise ValueError(f"two statements are named {name}")
                found[name] = _statement(name, lines)
            elif any(lines):
                raise ValueError(f"before the first name: {lines}")
            name, lines = line[3:-3].strip(), []
        else:
            lines.append(line)
    return found


def _statement(name: str, lines: list[str]) -> str:
    if not lines or not lines[0].startswith("-- "):
        raise ValueError(f"no comment below the name {name}")
    statement = "\n".join(line for line in lines if not line.startswith("--")).strip()
    if not statement.endswith(";") or ";" in statement[:-1]:
        raise ValueError(f"{name} is not one statement that ends with a semicolon")
    return statement[:-1]
