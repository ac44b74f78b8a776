"""`domain.ports.Reads` upon Postgres: the named queries of the read side, each one statement and so of one snapshot."""

import asyncio
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Final, Self, cast
from uuid import UUID

import psycopg
from psycopg import AsyncConnection, Connection
from psycopg.rows import DictRow, dict_row
from psycopg.sql import SQL, Identifier
from psycopg_pool import AsyncConnectionPool

from adapters.postgres.builds import READ_SCHEMA
from adapters.postgres.coalescing import Coalescer
from adapters.postgres.datastore import cut, first_line, parameters
from adapters.postgres.waking import Waker
from domain.errors import Unavailable
from projections.projection import statements

POOL_MAX: Final = 8
WAITING_MAX: Final = 2000
POOL_WAIT_S: Final = 3.0
"""How long a read waits for a connection at most, and after that PATIENCE_S for the answer."""
PATIENCE_S: Final = 5.0
AT_ONCE_S: Final = 0.5
"""A connection that is found dead sooner than this was dead before, and costs another try instead of an answer."""

_FILES: Final = ("queries", "log", "reports")
"""Of `projections/sql`, by what they are about."""
_TOGETHER: Final = "balance"
"""The query that is asked for many accounts at once: it takes `accounts`, and answers with one row for each."""

# A plan made for the parameters at hand: half of each query's filters are not asked for and fall away. To compile one
# takes longer than most of them run.
_SESSION: Final = SQL("""
SET timezone = 'UTC';
SET statement_timeout = '5s';
SET default_transaction_read_only = on;
SET plan_cache_mode = force_custom_plan;
SET jit = off;
SET search_path = {}
""")


class PostgresReads:
    """A pool of connections that only read. To be opened in the event loop that uses it, with `async with`."""

    def __init__(self, dsn: str, *, schema: str = READ_SCHEMA) -> None:
        self._statements = {name: sql.encode() for file in _FILES for name, sql in statements(file).items()}
        self._waker = Waker(dsn)
        self._session = _SESSION.format(Identifier(schema))
        self._balances = Coalescer(self._fetch_balances)
        self._pool: AsyncConnectionPool[AsyncConnection[DictRow]] = AsyncConnectionPool(
            connection_class=AsyncConnection[DictRow],
            kwargs={**parameters(dsn), "autocommit": True, "row_factory": dict_row},
            min_size=2,
            max_size=POOL_MAX,
            max_waiting=WAITING_MAX,
            timeout=POOL_WAIT_S,
            configure=self._configure,
            open=False,
        )

    async def __aenter__(self) -> Self:
        await self._pool.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._waker.close()
        await self._pool.close()

    def turn(self) -> asyncio.Event:
        return self._waker.turn()

    async def fetch(self, query: str, parameters: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The rows of that query of `projections/sql`.

        Raises:
            Unavailable: Postgres cannot be reached or did not answer in time.
        """
        if query == _TOGETHER:
            try:  # Behind a question that is never answered it would wait for that one's patience and then for its own.
                async with asyncio.timeout(POOL_WAIT_S + PATIENCE_S):
                    return [await self._balances.get(parameters["account"])]
            except TimeoutError as error:
                raise Unavailable("Postgres did not answer in time") from error
        return await self._fetch(query, parameters)

    async def _fetch_balances(self, accounts: Sequence[UUID]) -> dict[UUID, dict[str, Any]]:
        rows = await self._fetch(_TOGETHER, {"accounts": accounts})
        return {row["account"]: row for row in rows}

    async def _fetch(self, query: str, parameters: Mapping[str, Any]) -> list[dict[str, Any]]:
        statement = self._statements[query]
        began = asyncio.get_running_loop().time()
        for tries_left in reversed(range(POOL_MAX + 1)):
            dead = False
            try:
                async with self._pool.connection() as connection:
                    try:
                        return await self._ask(connection, statement, parameters)
                    finally:
                        dead = connection.closed
            except (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn) as error:
                raise Unavailable("the read models are those of another Daybook, and are built anew") from error
            except (psycopg.OperationalError, psycopg.InterfaceError) as error:
                at_once = asyncio.get_running_loop().time() - began < AT_ONCE_S
                if not (dead and at_once and tries_left):
                    raise Unavailable(f"Postgres failed: {first_line(error)}") from error
        raise AssertionError("the last try returns or raises")

    async def _ask(
        self, connection: AsyncConnection[DictRow], statement: bytes, parameters: Mapping[str, Any]
    ) -> list[dict[str, Any]]:
        # A frozen server does not even answer a request to cancel, so the connection itself is ended.
        give_up = asyncio.get_running_loop().call_later(PATIENCE_S + 1, cut, cast("Connection[Any]", connection))
        try:
            cursor = await connection.execute(statement, parameters, prepare=True)
            return await cursor.fetchall()
        finally:
            give_up.cancel()

    async def _configure(self, connection: AsyncConnection[DictRow]) -> None:
        await connection.execute(self._session)
