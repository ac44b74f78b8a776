"""What the simulated rails did: a file of JSON lines that only grows, each line on the disk before it is answered.

One request id has one effect. Only what was accepted, to be done or not later, is concluded, once.
"""

import fcntl
import os
from collections.abc import Iterator
from datetime import date, datetime
from pathlib import Path
from typing import Final, Literal, Self

import msgspec
from msgspec import Struct

Outcome = Literal["approved", "declined", "accepted"]


class AlreadyDone(Exception):
    """The request id has an effect; it gets no second one."""


class BooksInUse(Exception):
    """Another process keeps these books."""


class BooksDamaged(Exception):
    """A line before the last is not an effect, or not one that can follow those before it."""


class Effect(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What was done under a request id.

    Args:
        operation: As `domain.rail.Operation`, or the rail's own word for what it does by itself: `return`, `disputed`.
        amount: Minor units of `currency`.
        code: The rail's own answer code. `reference`: the rail's own, under which others name this.
        at: When, by the simulator's clock. `day`: the day it settles.
        original: The reference of what this is upon; empty for what begins.
        detail: What else the rail must know to answer again, as its module says.
    """

    rail: str
    request_id: str
    operation: str
    amount: int
    currency: str
    outcome: Outcome
    code: str
    reference: str
    at: datetime
    day: date
    original: str = ""
    route: str = ""
    detail: dict[str, str] = {}


class Totals(Struct, frozen=True, kw_only=True):
    """Of all effects of a kind. `amount`: minor units."""

    rail: str
    currency: str
    operation: str
    outcome: Outcome
    count: int
    amount: int


class Moment(Struct, frozen=True, forbid_unknown_fields=True):
    """The clock was moved forward to that time."""

    now: datetime


_DECODER: Final = msgspec.json.Decoder(Effect)
_MOMENTS: Final = msgspec.json.Decoder(Moment)
_MOMENT: Final = b'{"now":'


class Books:
    """The books in one file; for one process, and one thread of it.

    Args:
        path: The file, made if it is not there. A last line that was torn by a crash is cut off: nobody was told of it.

    Raises:
        BooksInUse: Another process has them open.
        BooksDamaged: They do not read back.
    """

    def __init__(self, path: Path) -> None:
        # Made with its name on the disk, or a crash could take the whole file.
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            self._take(path)
            self._effects: dict[tuple[str, str], Effect] = {}
            self._by_reference: dict[tuple[str, str], tuple[str, str]] = {}
            self._upon: dict[tuple[str, str], list[tuple[str, str]]] = {}
            self.latest: datetime | None = None
            """The last moment they know of."""
            self._size = self._read_back(path)
            os.ftruncate(self._fd, self._size)
            os.lseek(self._fd, self._size, os.SEEK_SET)
        except BaseException:
            os.close(self._fd)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)

    def find(self, rail: str, request_id: str) -> Effect | None:
        """The effect of a request id as it stands."""
        return self._effects.get((rail, request_id))

    def by_reference(self, rail: str, reference: str) -> Effect | None:
        """The effect that has this reference of the rail's own."""
        key = self._by_reference.get((rail, reference))
        return None if key is None else self._effects[key]

    def upon(self, rail: str, reference: str) -> list[Effect]:
        """What was done upon the effect that has this reference: captures, refunds, a return."""
        return [self._effects[key] for key in self._upon.get((rail, reference), ())]

    def effects(self, rail: str | None = None) -> Iterator[Effect]:
        """All effects as they stand, or a rail's, in the order in which they began."""
        return (effect for effect in list(self._effects.values()) if rail in (None, effect.rail))

    def totals(self) -> list[Totals]:
        """Count and amount per rail, currency, operation and outcome."""
        sums: dict[tuple[str, str, str, Outcome], tuple[int, int]] = {}
        for effect in self._effects.values():
            kind = (effect.rail, effect.currency, effect.operation, effect.outcome)
            count, amount = sums.get(kind, (0, 0))
            sums[kind] = (count + 1, amount + effect.amount)
        return [
            Totals(rail=rail, currency=currency, operation=operation, outcome=outcome, count=count, amount=amount)
            for (rail, currency, operation, outcome), (count, amount) in sorted(sums.items())
        ]

    def record(self, effect: Effect) -> None:
        """Keep an effect; on return it is on the disk, and may be answered.

        Raises:
            AlreadyDone: The request id, or the reference, has an effect.
            OSError: It could not be written, and was not kept.
        """
        if not self._is_new(effect):
            raise AlreadyDone(f"{effect.rail}: {effect.request_id} ({effect.reference})")
        self._keep(effect)

    def conclude(self, effect: Effect) -> None:
        """Keep how something accepted ended: the same effect with another outcome. On return it is on the disk.

        Raises:
            AlreadyDone: It was never accepted, or has ended.
            OSError: It could not be written, and was not kept.
        """
        if not self._concludes(effect):
            raise AlreadyDone(f"{effect.rail}: {effect.request_id} ({effect.reference})")
        self._keep(effect)

    def moved_to(self, now: datetime) -> None:
        """Keep that the clock was moved: days that were over stay over, whatever becomes of the process.

        Raises:
            OSError: It could not be written, and was not kept.
        """
        self._write(Moment(now))
        self._look_at(now)

    def _keep(self, effect: Effect) -> None:
        self._write(effect)
        self._learn(effect)

    def _write(self, what: Effect | Moment) -> None:
        line = msgspec.json.encode(what) + b"\n"
        try:
            if os.write(self._fd, line) != len(line):
                raise OSError("the line was not written whole")
            os.fsync(self._fd)
        except OSError:
            os.ftruncate(self._fd, self._size)
            os.lseek(self._fd, self._size, os.SEEK_SET)
            raise
        self._size += len(line)

    def _look_at(self, moment: datetime) -> None:
        self.latest = moment if self.latest is None else max(self.latest, moment)

    def _learn(self, effect: Effect) -> None:
        self._look_at(effect.at)
        key = (effect.rail, effect.request_id)
        if key not in self._effects and effect.original:
            self._upon.setdefault((effect.rail, effect.original), []).append(key)
        self._effects[key] = effect
        if effect.reference:
            self._by_reference[effect.rail, effect.reference] = key

    def _is_new(self, effect: Effect) -> bool:
        taken = effect.reference and (effect.rail, effect.reference) in self._by_reference
        return (effect.rail, effect.request_id) not in self._effects and not taken

    def _concludes(self, effect: Effect) -> bool:
        begun = self._effects.get((effect.rail, effect.request_id))
        return (
            begun is not None
            and begun.outcome == "accepted" != effect.outcome
            and (begun.reference, begun.amount, begun.currency) == (effect.reference, effect.amount, effect.currency)
        )

    def _take(self, path: Path) -> None:
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BooksInUse(f"{path} is kept by another process") from error
        os.fsync(self._fd)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _read_back(self, path: Path) -> int:
        """Learn what is in the file; how far it is whole, in bytes."""
        content = path.read_bytes()
        whole = content.rfind(b"\n") + 1
        for number, line in enumerate(content[:whole].splitlines(), start=1):
            try:
                if line.startswith(_MOMENT):
                    self._look_at(_MOMENTS.decode(line).now)
                    continue
                effect = _DECODER.decode(line)
            except msgspec.MsgspecError as error:
                raise BooksDamaged(f"{path}, line {number}: {error}") from error
            if not self._is_new(effect) and not self._concludes(effect):
                raise BooksDamaged(f"{path}, line {number}: a second effect of {effect.request_id}")
            self._learn(effect)
        return whole
