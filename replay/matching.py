"""Two sets of rows held against each other by key, while both stream by; what was to be found and what was."""

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Final, Generic, TypeVar

K = TypeVar("K", bound=Hashable)
R = TypeVar("R")

Report = Callable[[K, R | None, R | None], None]
"""Told of each key whose rows differ: the row expected and the row found; None where there is none."""

AT_ONCE: Final = 500
"""Rows held against each other at once: as long as all are equal and in one order, that is one comparison of lists."""


class Matching(Generic[K, R]):
    """Remembers only the rows that have not met their counterpart, which are few when both come in about one order.

    Args:
        found: The rows as stored, in any order.
        key: What a row is known by; asked only of rows that do not meet at once.
        differ: Told of every key with a row missing, too many or different.
        patient: Whether what is expected may be `no_longer`, so that nothing is missing before the end.
    """

    def __init__(
        self, found: Iterator[R], key: Callable[[R], K], differ: Report[K, R], *, patient: bool = False
    ) -> None:
        self._found = found
        self._key = key
        self._differ = differ
        self._patient = patient
        self._exhausted = False
        self._expected: list[R] = []
        """Not held against anything yet."""
        self._early: dict[K, R] = {}
        """Found, and not expected yet."""
        self._late: dict[K, R] = {}
        """Expected, and not found yet."""
        self.matched = 0

    def expect(self, rows: Iterable[R]) -> None:
        """The next rows that must be there; keys are expected once."""
        self._expected += rows
        if len(self._expected) >= AT_ONCE:
            self._settle()

    def no_longer(self, key: K) -> None:
        """The row expected under that key need not be there any more; another, under another key, takes its place.

        One that is there all the same is not in the other's place, which is then missing.
        """
        self._settle()
        self._late.pop(key, None)

    def _settle(self) -> None:
        expected, self._expected = self._expected, []
        found = [] if self._exhausted else list(islice(self._found, len(expected)))
        if found == expected and not self._early and not self._late:
            self.matched += len(expected)
            return
        for place, row in enumerate(expected):
            self._meet(self._key(row), row, found[place : place + 1])

    def _meet(self, key: K, row: R, found: Sequence[R]) -> None:
        """`found` is one row, or none if there are no more."""
        if found and self._key(found[0]) == key and key not in self._early:
            self._compare(key, row, found[0])
            return
        if found:
            self._see(found[0])
        else:
            self._exhausted = True
        if key in self._early:
            self._compare(key, row, self._early.pop(key))
        elif self._exhausted and not self._patient:
            self._differ(key, row, None)
        else:
            self._late[key] = row

    def finish(self) -> None:
        """Nothing more is expected: what is still to be found is too much, what was not found is missing."""
        self._settle()
        for row in self._found:
            self._see(row)
        for key, row in self._late.items():
            self._differ(key, row, None)
        for key, row in self._early.items():
            self._differ(key, None, row)
        self._late.clear()
        self._early.clear()

    def _see(self, row: R) -> None:
        key = self._key(row)
        if key in self._late:
            self._compare(key, self._late.pop(key), row)
        elif key in self._early:
            self._differ(key, None, row)
        else:
            self._early[key] = row

    def _compare(self, key: K, expected: R, found: R) -> None:
        if expected == found:
            self.matched += 1
        else:
            self._differ(key, expected, found)
