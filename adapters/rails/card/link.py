"""One long-lived TCP connection to an acquirer: many requests in flight, each answer found by what it is known by.

It connects and signs on when something is asked and nothing is connected, echoes when the line is silent, and waits for
nothing longer than its patience. An answer nobody waits for any more, or waits for twice, is counted and let go.
"""

import asyncio
from collections import deque
from datetime import UTC, datetime
from typing import Final

from msgspec import Struct

from adapters.rails.card.codec import MTI, Fields, MessageMalformed, decode, encode
from adapters.rails.card.framing import FrameMalformed, Frames, frame
from adapters.rails.card.messages import ECHO, NETWORK, SIGN_ON, Acquirer, answer_type, key_of, manage

REMEMBERED: Final = 20_000
"""How many answered or given up requests are remembered at least, to tell a late answer from one to nothing."""
NO_WAIT: Final = 0.0


class NotSent(Exception):
    """Nothing of the request left this process: it has not been done."""


class NoAnswer(Exception):
    """The request was sent, or may have been, and no answer came that could be read: it may have been done."""


class Patience(Struct, frozen=True, kw_only=True):
    """How long is waited, in seconds.

    Args:
        connect_s: For a connection that has signed on.
        answer_s: For an answer.
        idle_s: Without a word from the other side, before an echo is asked for; one that is not answered ends the line.
        pause_s, pause_max_s: After a connection that failed, before the next is tried; twice that after the second.
        in_flight_max: Requests waiting for their answers; one more is not sent.
    """

    connect_s: float = 2.0
    answer_s: float = 5.0
    idle_s: float = 30.0
    pause_s: float = 0.1
    pause_max_s: float = 2.0
    in_flight_max: int = 10_000


class Counts(Struct, kw_only=True):
    """What happened on a line since it began, over all its connections."""

    connections: int = 0
    failures: int = 0
    """Connections that did not come about."""
    sent: int = 0
    answered: int = 0
    given_up: int = 0
    """Requests whose patience ran out, or whose connection was lost."""
    late: int = 0
    """Answers to what was given up."""
    duplicate: int = 0
    """Answers to what was answered."""
    unmatched: int = 0
    """Answers to nothing that is remembered."""
    garbage: int = 0
    """What was no message."""


class Link:
    """To one acquirer. For one event loop."""

    def __init__(self, acquirer: Acquirer, patience: Patience) -> None:
        self._acquirer = acquirer
        self._patience = patience
        self._line: _Line | None = None
        self._connecting = asyncio.Lock()
        self._not_before = NO_WAIT
        self._pause_s = patience.pause_s
        self._memory = _Memory()
        self.counts = Counts()

    async def ask(self, key: str, message: bytes) -> Fields:
        """The answer's fields.

        Raises:
            NotSent, NoAnswer: There is none.
        """
        line = self._line
        if line is None or line.lost:
            line = await self._connected()
        return await line.ask(key, message)

    @property
    def connected(self) -> bool:
        """Whether there is a connection that has signed on."""
        return self._line is not None and not self._line.lost

    async def close(self) -> None:
        """What is in flight is given up."""
        if self._line is not None:
            self._line.give_up("the connection was closed here")

    async def _connected(self) -> "_Line":
        async with self._connecting:
            if self._line is not None and not self._line.lost:
                return self._line
            loop = asyncio.get_running_loop()
            if loop.time() < self._not_before:
                raise NotSent("no connection, and not time yet to try again")
            try:
                self._line = await self._connect()
            except (OSError, TimeoutError, NoAnswer, NotSent) as error:
                self.counts.failures += 1
                self._not_before = loop.time() + self._pause_s
                self._pause_s = min(2 * self._pause_s, self._patience.pause_max_s)
                raise NotSent(f"no connection: {error or type(error).__name__}") from error
            self.counts.connections += 1
            self._pause_s = self._patience.pause_s
            return self._line

    async def _connect(self) -> "_Line":
        loop = asyncio.get_running_loop()
        patience = self._patience
        async with asyncio.timeout(patience.connect_s):
            _, line = await loop.create_connection(
                lambda: _Line(self._acquirer, patience, self.counts, self._memory),
                self._acquirer.host,
                self._acquirer.port,
            )
            try:
                await line.manage(SIGN_ON)
            except BaseException:
                line.give_up("it did not sign on")
                raise
        line.echo_when_idle()
        return line


class _Memory:
    """Of requests that are over: which were answered and which given up, the latest of them at least."""

    def __init__(self) -> None:
        self._new: dict[str, bool] = {}
        self._old: dict[str, bool] = {}

    def remember(self, key: str, *, answered: bool) -> None:
        if len(self._new) >= REMEMBERED:
            self._old, self._new = self._new, {}
        self._new[key] = answered

    def was_answered(self, key: str) -> bool | None:
        """None where it is not remembered."""
        answered = self._new.get(key)
        return self._old.get(key) if answered is None else answered


class _Line(asyncio.Protocol):
    """One connection, from its first byte to its last."""

    def __init__(self, acquirer: Acquirer, patience: Patience, counts: Counts, memory: _Memory) -> None:
        self._loop = asyncio.get_running_loop()
        self._acquirer = acquirer
        self._patience = patience
        self._counts = counts
        self._memory = memory
        self._transport: asyncio.Transport | None = None
        self._frames = Frames()
        self._waiting: dict[str, list[asyncio.Future[Fields]]] = {}
        self._deadlines: deque[tuple[float, str, asyncio.Future[Fields]]] = deque()
        self._sweep: asyncio.TimerHandle | None = None
        self._idle: asyncio.TimerHandle | None = None
        self._echo: asyncio.Task[None] | None = None
        self._to_write: list[bytes] = []
        self._heard_at = self._loop.time()
        self._traces = 0
        self.lost = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        self.give_up("the connection was closed" if exc is None else f"the connection was lost: {exc}")

    async def ask(self, key: str, message: bytes) -> Fields:
        """The answer to a message; the same one asked again while it is waited for shares the answer.

        Raises:
            NotSent, NoAnswer: There is none.
        """
        if self.lost:
            raise NotSent("no connection")
        if len(self._waiting) >= self._patience.in_flight_max:
            raise NotSent(f"{len(self._waiting)} requests wait for their answers already")
        future: asyncio.Future[Fields] = self._loop.create_future()
        self._waiting.setdefault(key, []).append(future)
        self._send(message)
        self._counts.sent += 1
        self._expire_at(self._loop.time() + self._patience.answer_s, key, future)
        return await future

    async def manage(self, what: str) -> None:
        """Ask for a sign-on or an echo, and see it granted.

        Raises:
            NotSent, NoAnswer: It was not.
        """
        self._traces += 1
        asked = manage(what, self._traces, datetime.now(UTC), self._acquirer)
        fields = await self.ask(asked.key, asked.message)
        if fields.get(39) != "00":
            raise NoAnswer(f"network management {what} was answered {fields.get(39)}")

    def give_up(self, why: str) -> None:
        """The connection is over; whoever waits is told that no answer came."""
        if self.lost:
            return
        self.lost = True
        for timer in (self._sweep, self._idle):
            if timer is not None:
                timer.cancel()
        if self._echo is not None:
            self._echo.cancel()
        if self._transport is not None:
            self._transport.abort()
        waiting, self._waiting = self._waiting, {}
        self._deadlines.clear()
        for key, futures in waiting.items():
            self._gave_up(key)
            for future in futures:
                if not future.done():
                    future.set_exception(NoAnswer(why))

    def echo_when_idle(self) -> None:
        """From now on, see that the other side is there when it says nothing."""
        self._idle = self._loop.call_later(self._patience.idle_s, self._look_whether_idle)

    def _look_whether_idle(self) -> None:
        silent_s = self._loop.time() - self._heard_at
        if silent_s >= self._patience.idle_s:
            self._echo = self._loop.create_task(self._ask_for_echo())
            silent_s = 0.0
        self._idle = self._loop.call_later(self._patience.idle_s - silent_s, self._look_whether_idle)

    async def _ask_for_echo(self) -> None:
        try:
            await self.manage(ECHO)
        except (NoAnswer, NotSent) as error:
            self._echo = None  # This very task, which giving up would cancel.
            self.give_up(f"no echo: {error}")

    def _send(self, message: bytes) -> None:
        """What is sent in one turn of the loop leaves in one piece."""
        if not self._to_write:
            self._loop.call_soon(self._write)
        self._to_write.append(frame(message))

    def _write(self) -> None:
        pieces, self._to_write = self._to_write, []
        if self._transport is not None and not self.lost:
            self._transport.write(b"".join(pieces))

    def data_received(self, data: bytes) -> None:
        self._heard_at = self._loop.time()
        try:
            for message in self._frames.feed(data):
                self._heard(message)
        except FrameMalformed as error:
            self._counts.garbage += 1
            self.give_up(f"what came is not framed: {error}")

    def _heard(self, message: bytes) -> None:
        try:
            fields = decode(message)
        except MessageMalformed:
            self._counts.garbage += 1
            return
        if fields[MTI] == NETWORK:
            self._send(_granted(fields))
            return
        key = key_of(fields)
        futures = self._waiting.pop(key, None)
        if futures is None:
            self._count_unwanted(key)
            return
        self._counts.answered += 1
        self._memory.remember(key, answered=True)
        for future in futures:
            if not future.done():
                future.set_result(fields)

    def _count_unwanted(self, key: str) -> None:
        match self._memory.was_answered(key):
            case True:
                self._counts.duplicate += 1
            case False:
                self._counts.late += 1
            case None:
                self._counts.unmatched += 1

    def _expire_at(self, when: float, key: str, future: "asyncio.Future[Fields]") -> None:
        """One timer for all: deadlines come in the order in which they are set."""
        self._deadlines.append((when, key, future))
        if self._sweep is None:
            self._sweep = self._loop.call_at(when, self._expire)

    def _expire(self) -> None:
        self._sweep = None
        now = self._loop.time()
        while self._deadlines:
            when, key, future = self._deadlines[0]
            if when > now and not future.done():
                self._sweep = self._loop.call_at(when, self._expire)
                return
            self._deadlines.popleft()
            if not future.done():
                future.set_exception(NoAnswer("no answer in time"))
            self._forget(key, future)

    def _forget(self, key: str, future: "asyncio.Future[Fields]") -> None:
        """This one waits no longer: its time is up, or whoever asked went away. Others may wait for the same answer."""
        futures = self._waiting.get(key)
        if futures is None or future not in futures:
            return
        futures.remove(future)
        if not futures:
            del self._waiting[key]
            self._gave_up(key)

    def _gave_up(self, key: str) -> None:
        self._counts.given_up += 1
        self._memory.remember(key, answered=False)


def _granted(asked: Fields) -> bytes:
    """The other side's own echo or sign-on, answered."""
    echoed = {number: value for number, value in asked.items() if number in (7, 11, 70)}
    return encode(echoed | {MTI: answer_type(NETWORK), 39: "00"})
