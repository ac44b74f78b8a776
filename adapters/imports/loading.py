"""Rows to the ledger: many in flight, decided in the file's order, each booked once however often it is asked.

The ledger, a desk or a server, decides in the order of submission, so nobody waits for the row before. When a row has
to be asked again (the store was away, or an earlier import left a refusal under its key), the rows in flight behind it
that were refused are asked again too, in order: they may have been refused for want of it.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, Protocol

from msgspec import Struct

from adapters.imports.files import BadRow, Line
from adapters.imports.rejects import Rejects
from commands.command import Asked, Command, ask
from domain.errors import KeyInFlight, KeyReused, OutcomeUnknown, Overloaded, Refusal, Unavailable

IN_FLIGHT: Final = 2_000
"""Rows submitted and not answered: two batches of the desk, so that one is decided while the other is on its way."""
PATIENCE_S: Final = 60.0
"""How long the same row is asked again and again before the import gives up."""
_PAUSES_S: Final = (0.05, 2.0)
_ASK_AGAIN: Final = (KeyInFlight, OutcomeUnknown, Overloaded, Unavailable)

Build = Callable[[dict[str, Any]], tuple[str, Command]]
"""The key and the command of a row; raises BadRow."""


class Answer(Protocol):
    """What came of a command: booked, or refused; `replayed`: the first answer, given again."""

    @property
    def refusal(self) -> Refusal | None: ...
    @property
    def replayed(self) -> bool: ...


class Ledger(Protocol):
    """What takes commands, in the order of submission: a desk, or `adapters.imports.batches`."""

    async def submit(self, asked: Asked) -> Answer:
        """The answer, durable; raises what `Desk.submit` does, and BadRow, GivenUp and others, which end the row."""
        ...


class Counts(Struct):
    """Rows so far: booked now, booked by an earlier import, rejected."""

    booked: int = 0
    already: int = 0
    rejected: int = 0

    @property
    def rows(self) -> int:
        return self.booked + self.already + self.rejected


class _Row(Struct, eq=False):
    """A row in flight; `task` is None of a row that is bad in itself."""

    line: Line
    key: str = ""
    command: Command | None = None
    bad: BadRow | None = None
    attempt: int = 1
    task: "asyncio.Task[Answer] | None" = None


class GivenUp(Exception):
    """The ledger could not be reached for too long; nothing is lost, the same import goes on where it stopped."""


class Loading:
    """One file being loaded.

    Args:
        build: Makes a command of a row.
        watch: Told after each row that is settled, with the line's end in the file, in bytes.
    """

    def __init__(
        self,
        ledger: Ledger,
        file: Path,
        build: Build,
        rejects: Rejects,
        *,
        actor: str,
        watch: Callable[[Counts, int], None],
        in_flight: int = IN_FLIGHT,
        patience_s: float = PATIENCE_S,
    ) -> None:
        self.counts = Counts()
        self._ledger = ledger
        self._file = file
        self._build = build
        self._rejects = rejects
        self._actor = actor
        self._watch = watch
        self._in_flight = in_flight
        self._patience_s = patience_s
        self._window: deque[_Row] = deque()

    async def run(self, lines: Iterator[Line]) -> Counts:
        """Book all lines that can be booked.

        Raises:
            GivenUp: The ledger stayed out of reach.
        """
        try:
            for line in lines:
                if len(self._window) >= self._in_flight:
                    await self._settle_first()
                self._window.append(self._begin(line))
            while self._window:
                await self._settle_first()
        finally:
            for row in self._window:
                if row.task is not None:
                    row.task.cancel()
        return self.counts

    def _begin(self, line: Line) -> _Row:
        if isinstance(line.row, BadRow):
            return _Row(line, bad=line.row)
        try:
            key, command = self._build(line.row)
        except BadRow as bad:
            return _Row(line, bad=bad)
        row = _Row(line, key, command)
        self._submit(row)
        return row

    def _submit(self, row: _Row) -> None:
        row.task = asyncio.create_task(self._ledger.submit(self._asked(row)))

    def _asked(self, row: _Row) -> Asked:
        assert row.command is not None
        prefix, _, name = row.key.partition(":")
        key = row.key if row.attempt == 1 else f"{prefix}-{row.attempt}:{name}"
        return ask(row.command, actor=self._actor, key=key)

    async def _settle_first(self) -> None:
        """Settle the oldest row in flight, however often it has to be asked."""
        row = self._window[0]
        pause, waited = _PAUSES_S[0], 0.0
        while row.bad is None:
            answer = await _answer(row)
            if isinstance(answer, _ASK_AGAIN):
                if waited >= self._patience_s:
                    raise GivenUp(
                        f"line {row.line.number} of {self._file.name}: {str(answer) or type(answer).__name__}"
                    )
                await asyncio.sleep(pause)
                waited += pause
                pause = min(2 * pause, _PAUSES_S[1])
            elif isinstance(answer, Exception) or not answer.replayed or answer.refusal is None:
                break
            await self._ask_again()
        self._window.popleft()
        self._count(row, answer if row.bad is None else row.bad)
        self._watch(self.counts, row.line.end)

    async def _ask_again(self) -> None:
        """Ask anew, in order, for every row in flight that has not been booked: under a new key if it was refused."""
        for row in self._window:
            if row.task is None:
                continue
            answer = await _answer(row)
            if not isinstance(answer, Exception):
                if answer.refusal is None:
                    continue
                row.attempt += 1
            elif not isinstance(answer, _ASK_AGAIN):
                continue
            self._submit(row)

    def _count(self, row: _Row, answer: Answer | Exception) -> None:
        match answer:
            case BadRow():
                bad = answer
            case KeyReused():
                bad = BadRow("reference_reused", f"{row.key.partition(':')[2]} was imported before with other contents")
            case Exception():
                raise answer
            case _ if answer.refusal is not None:
                bad = BadRow(answer.refusal.code, _words(answer.refusal))
            case _ if answer.replayed:
                self.counts.already += 1
                return
            case _:
                self.counts.booked += 1
                return
        self.counts.rejected += 1
        self._rejects.add(self._file, row.line.number, bad.code, bad.reason, row.line.text)


async def _answer(row: _Row) -> Answer | Exception:
    """What the ledger said, an error being an answer; only an end of the import itself is raised."""
    assert row.task is not None
    try:
        return await row.task
    except Exception as error:
        return error


def _words(refusal: Refusal) -> str:
    """A refusal in a sentence and its figures."""
    sentence = (type(refusal).__doc__ or refusal.code).splitlines()[0]
    details = ", ".join(f"{name} {value}" for name, value in refusal.details().items())
    return f"{sentence} ({details})"
