"""Rows for COPY come by way of JSON: every text comes through as it is."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from adapters.postgres.changing import csv

TEXT = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]))


@given(st.lists(st.tuples(st.integers(), st.none() | TEXT, TEXT), min_size=1))
def test_csv_reads_as_it_was_meant(rows: list[tuple[int, str | None, str]]) -> None:
    """
    Numbers and null are bare, texts are quoted, and within them only quotes and backslashes are escaped.
    """
    assert list(read(csv(rows).decode())) == [tuple(shown(value) for value in row) for row in rows]


def shown(value: Any) -> str:
    return "null" if value is None else f'"{value}"' if isinstance(value, str) else str(value)


def read(text: str) -> list[tuple[str, ...]]:
    """Rows of cells, texts with their quotes, by the rules of COPY with a backslash for ESCAPE."""
    rows, cells, cell, quoted, place = [], [], "", False, 0
    while place < len(text):
        letter = text[place]
        if quoted and letter == "\\" and text[place + 1] in '"\\':
            place += 1
            cell += text[place]
        elif letter == '"':
            quoted = not quoted
            cell += letter
        elif not quoted and letter in ",\n":
            cells.append(cell)
            cell = ""
            if letter == "\n":
                rows.append(tuple(cells))
                cells = []
        else:
            cell += letter
        place += 1
    assert not quoted and not cells and not cell
    return rows
