"""Circuit breakers and the routes' windows, shared by all processes: one row for each rail and each route.

Calls are told in batches, each worked out by the domain upon the locked rows, so that whatever order processes come in,
none takes away what another counted. What is looked at is a second old at most. The clock is the database's.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from types import TracebackType
from typing import Any, Final, Self, cast

import msgspec
import psycopg
from msgspec.structs import replace
from psycopg import AsyncConnection, Connection
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from adapters.postgres.datastore import cut, first_line, parameters
from domain import breaker as breakers
from domain.breaker import Breaker, State, Thresholds, usual
from domain.errors import Unavailable
from domain.rail import Rail
from domain.traffic import Observation, Span, Traffic
from domain.watch import Watched, settled, take_probe, watch

CACHED_S: Final = 1.0
"""How old what is looked at may be."""
GATHER_S: Final = 0.25
"""How long calls are gathered before they are told."""
RETRY_S: Final = 1.0
"""How long it rests when Postgres is away."""
GATHERED_MAX: Final = 10_000
"""Observations kept while Postgres is away; those that come then are dropped, and nothing but statistics with them."""
PATIENCE_S: Final = 5.0

_SESSION: Final = b"""
SET timezone = 'UTC';
SET default_transaction_isolation = 'read committed';
SET statement_timeout = '4s';
SET lock_timeout = '3s';
SET idle_in_transaction_session_timeout = '5s';
SET synchronous_commit = on
"""
_ENSURE: Final = b"INSERT INTO daybook.breakers (name) SELECT unnest(%s::text[]) ORDER BY 1 ON CONFLICT DO NOTHING"
_LOCK: Final = b"""
SELECT name, breaker::text, traffic::text FROM daybook.breakers WHERE name = ANY (%s) ORDER BY name FOR UPDATE
"""
_STORE: Final = b"""
UPDATE daybook.breakers AS b SET breaker = n.breaker, traffic = n.traffic, changed_at = clock_timestamp()
FROM unnest(%s::text[], %s::jsonb[], %s::jsonb[]) AS n (name, breaker, traffic) WHERE b.name = n.name
"""
_LOOK: Final = b"SELECT name, breaker::text, traffic::text FROM daybook.breakers ORDER BY name"

Change = Callable[[Mapping[str, Watched], datetime], Mapping[str, Watched]]
"""What was shared and the time, to what is shared then; a name that it leaves out stays as it is."""


class PostgresBreakers:
    """`domain.ports.Breakers`. To be opened in the event loop that uses it, with `async with`; its end tells the rest.

    Args:
        thresholds: Of breakers by name that have others than the usual.
    """

    def __init__(
        self, dsn: str, *, thresholds: Mapping[str, Thresholds] | None = None, span: Span | None = None
    ) -> None:
        self._thresholds = thresholds or {}
        self._span = span or Span()
        self._seen: dict[str, Watched] = {}
        self._seen_at: float | None = None
        self._looking = asyncio.Lock()
        self._gathered: dict[str, list[Observation]] = {}
        self._some = asyncio.Event()
        self._telling = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None
        self._pool: AsyncConnectionPool[AsyncConnection[Any]] = AsyncConnectionPool(
            connection_class=AsyncConnection[Any],
            kwargs={**parameters(dsn), "autocommit": True},
            min_size=1,
            max_size=2,
            timeout=PATIENCE_S,
            configure=self._configure,
            check=AsyncConnectionPool.check_connection,  # A few times a second; one that died costs no answer.
            open=False,
        )

    async def __aenter__(self) -> Self:
        await self._pool.open()
        self._task = asyncio.create_task(self._tell_on(), name="breakers")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._task is not None
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        try:
            await self.tell()
        except Unavailable:
            pass  # Statistics, of which a restart may lose the last second.
        await self._pool.close()

    def observe(self, rail: Rail, route: str, seen: Observation) -> None:
        for name in breakers.keys(rail, route):
            waiting = self._gathered.setdefault(name, [])
            if len(waiting) < GATHERED_MAX:
                waiting.append(seen)
        self._some.set()

    async def look(self) -> Mapping[str, Watched]:
        async with self._looking:  # Those who come meanwhile take what the first one gets.
            if self._seen_at is None or asyncio.get_running_loop().time() - self._seen_at >= CACHED_S:
                began = asyncio.get_running_loop().time()
                self._seen = await self._within(self._look)
                self._seen_at = began
        return self._seen

    async def take_probe(self, rail: Rail, route: str) -> bool:
        await self.tell()  # What the last probe came to decides about this one.
        names = breakers.keys(rail, route)
        left: list[Watched] | None = None

        def take(known: Mapping[str, Watched], now: datetime) -> Mapping[str, Watched]:
            nonlocal left
            left = take_probe([known[name] for name in names], now)
            return dict(zip(names, left or (), strict=False))

        await self._change(names, take)
        return left is not None

    async def force(self, name: str, state: State, *, reason: str, actor: str, until: datetime | None) -> Breaker:
        def decide(known: Mapping[str, Watched], now: datetime) -> Mapping[str, Watched]:
            was = known[name]
            decided = breakers.force(was.breaker, state, reason=reason, actor=actor, until=until, now=now)
            return {name: replace(was, breaker=decided)}

        return (await self._change([name], decide))[name].breaker

    async def release(self, name: str, *, reason: str, actor: str) -> Breaker:
        def decide(known: Mapping[str, Watched], now: datetime) -> Mapping[str, Watched]:
            was = known[name]
            return {name: replace(was, breaker=breakers.release(was.breaker, reason=reason, actor=actor, now=now))}

        return (await self._change([name], decide))[name].breaker

    async def tell(self) -> None:
        """Share what was gathered, now.

        Raises:
            Unavailable: It is kept and told later. If Postgres did take it and only its answer was lost, it is counted
                twice then, which is a window's worth of harm.
        """
        async with self._telling:
            gathered, self._gathered = self._gathered, {}
            if not gathered:
                return

            def add(known: Mapping[str, Watched], now: datetime) -> Mapping[str, Watched]:
                return {name: watch(known[name], seen, now) for name, seen in gathered.items()}

            try:
                await self._change(list(gathered), add, durable=False)
            except BaseException:
                for name, seen in self._gathered.items():
                    gathered.setdefault(name, []).extend(seen)
                self._gathered = {name: seen[:GATHERED_MAX] for name, seen in gathered.items()}
                raise

    async def _tell_on(self) -> None:
        while True:
            await self._some.wait()
            await asyncio.sleep(GATHER_S)
            self._some.clear()
            try:
                await self.tell()
            except Unavailable:
                self._some.set()
                await asyncio.sleep(RETRY_S)

    async def _change(self, names: Sequence[str], change: Change, *, durable: bool = True) -> Mapping[str, Watched]:
        """The rows of those names, changed under their locks; `durable`: a crash of the server may not take it back."""

        async def work(connection: AsyncConnection[Any]) -> Mapping[str, Watched]:
            await connection.execute(_ENSURE, [sorted(names)])
            async with connection.transaction():
                if not durable:
                    await connection.execute("SET LOCAL synchronous_commit = off")
                known = {row[0]: self._watched(*row) for row in await _rows(connection, _LOCK, [sorted(names)])}
                # Asked for by itself once the rows are locked: within the statement it may be of before the wait.
                ((now,),) = await _rows(connection, b"SELECT clock_timestamp()", [])
                changed = change(known, now)
                await connection.execute(_STORE, _columns(changed))
                return {**known, **changed}

        now_shared: Mapping[str, Watched] = await self._within(work)
        self._seen = {**self._seen, **now_shared}
        return now_shared

    async def _look(self, connection: AsyncConnection[Any]) -> dict[str, Watched]:
        return {row[0]: self._watched(*row) for row in await _rows(connection, _LOOK, [])}

    def _watched(self, name: str, breaker: str, traffic: str) -> Watched:
        known = Watched(
            breaker=msgspec.json.decode(breaker, type=Breaker), traffic=msgspec.json.decode(traffic, type=Traffic)
        )
        return settled(known, self._thresholds.get(name, usual(name)), self._span)

    async def _within(self, work: Callable[[AsyncConnection[Any]], Any]) -> Any:
        try:
            async with self._pool.connection() as connection:
                # A frozen server does not even answer a request to cancel, so the connection itself is ended.
                loop = asyncio.get_running_loop()
                give_up = loop.call_later(PATIENCE_S, cut, cast("Connection[Any]", connection))
                try:
                    return await work(connection)
                finally:
                    give_up.cancel()
        except (psycopg.Error, PoolTimeout) as error:
            raise Unavailable(f"the breakers cannot be read or written: {first_line(error)}") from error

    async def _configure(self, connection: AsyncConnection[Any]) -> None:
        await connection.execute(_SESSION)


async def _rows(connection: AsyncConnection[Any], statement: bytes, values: list[Any]) -> list[tuple[Any, ...]]:
    return await (await connection.execute(statement, values)).fetchall()


def _columns(changed: Mapping[str, Watched]) -> list[list[str]]:
    return [
        list(changed),
        [msgspec.json.encode(each.breaker).decode() for each in changed.values()],
        [msgspec.json.encode(each.traffic).decode() for each in changed.values()],
    ]
