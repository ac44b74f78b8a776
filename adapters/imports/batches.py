"""Rows to a running server: what has queued goes as one batch, over HTTP, one batch after the other.

So the server decides in the order of submission, as a desk does. Each command of a batch has the key it would have by
itself: whoever books a row, here or at a desk, books it once. The batch itself is one more event in the log.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, Final

import msgspec
from msgspec import Struct
from pydantic import TypeAdapter, ValidationError

from adapters.client import AsyncClient, Call, OutcomeUnknown, ProblemError, Unavailable, calls
from adapters.imports.files import BadRow
from adapters.imports.loading import GivenUp
from commands.account import OpenAccount
from commands.batch import Key
from commands.command import Asked, Command
from commands.journal import PostEntry
from domain import ids
from domain.errors import REFUSALS, KeyReused, Refusal, refusal_from

COMMANDS_MAX: Final = 1_000
"""Of one batch: so many the desk decides at once anyway, and others wait no longer for it."""
BYTES_MAX: Final = 4 * 1024 * 1024
"""Of a batch's commands, unless a single one is larger."""

_CALLS: Final[dict[type[Command], Callable[..., Call[Any]]]] = {
    OpenAccount: calls.open_account,
    PostEntry: calls.post_entry,
}
_KEY: Final = TypeAdapter(Key)


class Settled(Struct, frozen=True):
    """What the server said of one command; `replayed`: an earlier request's answer."""

    refusal: Refusal | None
    replayed: bool


class _Waiting(Struct, eq=False):
    call: Call[Any]
    size: int
    future: "asyncio.Future[Settled]"


class Batches:
    """A `Ledger` for rows of one book."""

    def __init__(
        self, client: AsyncClient, book: str, *, commands_max: int = COMMANDS_MAX, bytes_max: int = BYTES_MAX
    ) -> None:
        self._client = client
        self._book = book
        self._commands_max = commands_max
        self._bytes_max = bytes_max
        self._queue: deque[_Waiting] = deque()
        self._sending: asyncio.Task[None] | None = None

    async def submit(self, asked: Asked) -> Settled:
        """Decide the command and make it durable, or keep its refusal.

        Raises:
            BadRow: Its key cannot be one over HTTP.
            KeyReused: The key was used for another command.
            GivenUp: The server stayed out of reach for longer than the client's patience.
            DaybookError: Whatever else the client raises.
        """
        call = _call(asked)
        size = len(msgspec.json.encode(call.arguments))
        waiting = _Waiting(call, size, asyncio.get_running_loop().create_future())
        self._queue.append(waiting)
        if self._sending is None:
            self._sending = asyncio.create_task(self._send())
        return await waiting.future

    async def stop(self) -> None:
        """Send nothing more."""
        self._queue.clear()
        if self._sending is not None:
            self._sending.cancel()
            await asyncio.wait([self._sending])

    async def _send(self) -> None:
        try:
            while self._queue:
                await self._post(self._take())
        finally:
            self._sending = None

    def _take(self) -> list[_Waiting]:
        """What comes first; of two commands under one key the second goes with the next batch, as a repetition."""
        batch: list[_Waiting] = []
        keys: set[str | None] = set()
        size = 0
        while self._queue and len(batch) < self._commands_max:
            first = self._queue[0]
            if first.call.key in keys or (batch and size + first.size > self._bytes_max):
                break
            batch.append(self._queue.popleft())
            keys.add(first.call.key)
            size += first.size
        return batch

    async def _post(self, batch: list[_Waiting]) -> None:
        """Every command its own answer; a batch without one fails them all."""
        settled: list[Settled | Exception]
        asked = calls.post_batch(self._book, [waiting.call for waiting in batch], mode="independent")
        try:
            answered = await self._client.ask(asked)
            answers = zip(answered.answers, answered.replayed, strict=True)
            settled = [_settled(answer, replayed=replayed) for answer, replayed in answers]
        except (Unavailable, OutcomeUnknown) as error:
            settled = [GivenUp(str(error))] * len(batch)
        except Exception as error:
            settled = [error] * len(batch)
        for waiting, answer in zip(batch, settled, strict=True):
            if waiting.future.done():
                continue  # Who asked has gone.
            if isinstance(answer, Exception):
                waiting.future.set_exception(answer)
            else:
                waiting.future.set_result(answer)


def _call(asked: Asked) -> Call[Any]:
    key = asked.metadata.idempotency_key
    try:
        _KEY.validate_python(key)
    except ValidationError as error:
        raise BadRow("invalid_key", f"{key!r} is no Idempotency-Key: 1 to 255 printable ASCII characters") from error
    given = asked.command.model_dump(mode="json", exclude_unset=True)
    return _CALLS[type(asked.command)](**given, key=key)


def _settled(answer: object, *, replayed: bool) -> Settled | Exception:
    match answer:
        case ProblemError(code="idempotency_key_reused"):
            return KeyReused(str(answer))
        case ProblemError(code=code, fields=fields) if code in REFUSALS:
            return Settled(refusal_from(code, {name: _stored(name, value) for name, value in fields.items()}), replayed)
        case ProblemError():
            return answer
    return Settled(None, replayed)


def _stored(field: str, value: Any) -> Any:
    """A refusal's field as the log has it: ids are TypeIDs over HTTP alone."""
    prefix = next((prefix for name, prefix in ids.PREFIX_OF_FIELD.items() if field.endswith(name)), None)
    return str(ids.parse(prefix, value)) if prefix is not None and isinstance(value, str) else value
