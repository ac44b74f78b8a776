"""Word of new events: one LISTEN connection for all who wait in a process, made when the first of them comes."""

import asyncio
from typing import Any, Final

import psycopg
from psycopg import AsyncConnection

from adapters.postgres.datastore import parameters

PACE_S: Final = 0.02
"""From one word to the next: whoever is woken looks at all there is, and a commit each would wake them for nothing."""
RETRY_S: Final = 0.5
"""How long it rests when the connection is lost; who waits looks by himself meanwhile."""


class Waker:
    """For one event loop."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._turn = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def turn(self) -> asyncio.Event:
        """Is set when the log may have grown after this was called; it is not to be set by others."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._listen())
        return self._turn

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _listen(self) -> None:
        while True:
            try:
                wanted: dict[str, Any] = {**parameters(self._dsn), "autocommit": True}
                async with await AsyncConnection.connect(**wanted) as connection:
                    await connection.execute("LISTEN daybook_log")
                    self._wake()  # What was written before it listened.
                    async for _ in connection.notifies():
                        self._wake()
                        await asyncio.sleep(PACE_S)
            except psycopg.Error:
                await asyncio.sleep(RETRY_S)

    def _wake(self) -> None:
        turn, self._turn = self._turn, asyncio.Event()
        turn.set()
