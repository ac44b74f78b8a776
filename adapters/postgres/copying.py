"""Commits of another log, put into this one as they were: same positions, times, bytes and seals."""

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any, Self

import psycopg
from psycopg import Connection

from adapters.postgres.datastore import connect, first_line
from adapters.postgres.recorder import HEAD, Appender, head_from
from domain.errors import ConflictInStore, HeadMoved, Unavailable
from domain.ledger import Batch, Head


class PostgresCopy:
    """One connection to the log that is to become the copy; opened by `with`."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._open = ExitStack()
        self._connection: Connection[Any]
        self._appender: Appender

    def __enter__(self) -> Self:
        self._connection = self._open.enter_context(connect(self._dsn, long=True))
        self._appender = Appender(self._connection)
        return self

    def __exit__(self, *error: object) -> None:
        self._open.close()

    def head(self) -> Head:
        """Where the copy is."""
        row = self._connection.execute(HEAD).fetchone()
        assert row is not None
        return head_from(row)

    def put(self, batches: Sequence[Batch]) -> None:
        """Append them, each under its own seal, in one db transaction: all or none.

        Raises:
            HeadMoved: The log is not where the first of them begins: somebody else writes to it.
            ConflictInStore: A unique key or a check refused them.
            Unavailable: Postgres failed; they may be there or not, as `head` will tell.
        """
        try:
            with self._connection.transaction():
                for batch in batches:
                    self._appender.append(batch.seal.first - 1, batch)
        except psycopg.Error as error:
            if error.sqlstate == "DB001":
                raise HeadMoved(first_line(error)) from error
            if self._connection.broken or isinstance(error, psycopg.OperationalError):
                raise Unavailable(f"Postgres failed: {first_line(error)}") from error
            raise ConflictInStore(first_line(error)) from error
