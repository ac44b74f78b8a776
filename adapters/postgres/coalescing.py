"""Many askers, few questions: what is asked while an earlier question is under way is asked together, once."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final, Generic, TypeVar

AT_ONCE: Final = 500
"""Keys in one question at most."""
UNDER_WAY: Final = 2
"""Questions at a time: one is worked on while the answers of the other are handed out."""

Key = TypeVar("Key")
Answer = TypeVar("Answer")


class Coalescer(Generic[Key, Answer]):
    """Every answer is to a question that was begun after it was asked for, so it is as recent as an answer alone.

    Args:
        ask: Answers every one of those different keys. What it raises, all who asked for those keys are told.
    """

    def __init__(self, ask: Callable[[Sequence[Key]], Awaitable[Mapping[Key, Answer]]]) -> None:
        self._ask = ask
        self._waiting: dict[Key, list[asyncio.Future[Answer]]] = {}
        self._under_way = 0
        self._asking: set[asyncio.Task[None]] = set()
        """For nothing but to keep them: the loop itself does not."""

    async def get(self, key: Key) -> Answer:
        """The answer for that key. One who no longer waits takes nothing from the others."""
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(key, []).append(answer)
        if self._under_way < UNDER_WAY:
            self._under_way += 1
            # It begins when the loop comes round, and so takes what comes in this turn of the loop as well.
            task = asyncio.create_task(self._ask_on(), name="coalescer")
            self._asking.add(task)
            task.add_done_callback(self._asking.discard)
        return await answer

    async def _ask_on(self) -> None:
        """Question after question, until nobody waits."""
        try:
            await self._ask_all()
        finally:
            # Here and not in a callback, which comes later: whoever asks in between would count on us.
            self._under_way -= 1

    async def _ask_all(self) -> None:
        while self._waiting:
            keys = list(self._waiting)[:AT_ONCE]
            askers = {key: self._waiting.pop(key) for key in keys}
            try:
                answers = await self._ask(keys)
            except BaseException as error:
                for future in _still(askers.values()):
                    future.set_exception(error)
                if not isinstance(error, Exception):
                    raise
            else:
                for key, waiting in askers.items():
                    for future in _still([waiting]):
                        future.set_result(answers[key])


def _still(askers: Iterable[list[asyncio.Future[Answer]]]) -> Iterator[asyncio.Future[Answer]]:
    """Those that have not given up."""
    return (future for waiting in askers for future in waiting if not future.done())
