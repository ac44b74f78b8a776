"""What verification says: which checks were made, through which position, and what did not hold."""

from bisect import insort
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Final

from msgspec import Struct

KEPT: Final = 10
"""Findings kept of each code: those of the lowest positions. The rest are counted."""

NOWHERE: Final = 2**63 - 1
"""Sorts what has no position after everything that has one."""


class Finding(Struct, frozen=True, order=True):
    """Something stored that does not follow from the rest. `code` is published and never changes."""

    position: int | None
    code: str
    subject: str
    expected: str
    found: str


class Check(Struct, frozen=True):
    """One thing checked: how many of it, through which position. `incomplete` says what kept it from more."""

    name: str
    checked: int
    through: int
    problems: int
    incomplete: str = ""


class Report(Struct, frozen=True):
    """The whole answer. `findings` are the first of each code, by position; `counts` is of all of them."""

    head: int
    recorded_at: datetime | None
    checks: tuple[Check, ...]
    findings: tuple[Finding, ...]
    counts: dict[str, int]

    @property
    def first_bad_position(self) -> int | None:
        return min((f.position for f in self.findings if f.position is not None), default=None)

    @property
    def verdict(self) -> str:
        """`mismatch` if anything differs; else `incomplete` if anything could not be checked; else `verified`."""
        if self.findings:
            return "mismatch"
        return "incomplete" if any(check.incomplete for check in self.checks) else "verified"

    @property
    def exit_code(self) -> int:
        return {"verified": 0, "mismatch": 1, "incomplete": 2}[self.verdict]


class Findings:
    """Collects findings, and of each code keeps the first."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._kept: dict[str, list[tuple[int, int, Finding]]] = {}

    def add(self, code: str, position: int | None, subject: str, expected: str, found: str) -> None:
        self.counts[code] += 1
        kept = self._kept.setdefault(code, [])
        place = NOWHERE if position is None else position
        if len(kept) < KEPT or place < kept[-1][0]:
            insort(kept, (place, self.counts[code], Finding(position, code, subject, expected, found)))
            del kept[KEPT:]

    def first(self) -> tuple[Finding, ...]:
        """The findings kept, by position."""
        return tuple(entry[2] for entry in sorted(entry for kept in self._kept.values() for entry in kept))


class Tally:
    """One check under way: counts what it looked at and what it found."""

    def __init__(self, name: str, findings: Findings) -> None:
        self.name = name
        self.checked = 0
        self.through = 0
        self.problems = 0
        self.incomplete = ""
        self._findings = findings

    def problem(self, code: str, position: int | None, subject: str, expected: str, found: str) -> None:
        self.problems += 1
        self._findings.add(code, position, subject, expected, found)

    def leave(self, why: str) -> None:
        """It cannot be checked, or no further; the first reason is kept."""
        self.incomplete = self.incomplete or why

    def check(self) -> Check:
        return Check(self.name, self.checked, self.through, self.problems, self.incomplete)


def contrast(columns: Sequence[str], expected: Sequence[Any] | None, found: Sequence[Any] | None) -> tuple[str, str]:
    """What differs between two rows, in words for each side; `nothing` for a row that is not there."""
    if expected is None or found is None:
        return _words(columns, expected), _words(columns, found)
    differing = [name for name, one, other in zip(columns, expected, found, strict=True) if one != other]
    pick: Callable[[Sequence[Any]], str] = lambda row: _words(  # noqa: E731 - said twice, for one line.
        differing, [value for name, value in zip(columns, row, strict=True) if name in differing]
    )
    return pick(expected), pick(found)


def _words(columns: Sequence[str], row: Sequence[Any] | None) -> str:
    if row is None:
        return "nothing"
    return ", ".join(f"{name}={value}" for name, value in zip(columns, row, strict=True))
