"""Rows as Postgres sends them for COPY: as bytes, at a fraction of what it takes to make values of them.

Source: PostgreSQL, COPY, binary format. Each of the server's messages is one row, but the first has a head before it,
and the last is the end.
"""

from collections.abc import Generator, Iterator
from typing import Any, Final

from psycopg import Connection
from psycopg.errors import error_from_result
from psycopg.pq import ExecStatus
from psycopg.pq.abc import PGconn
from psycopg.waiting import Ready, Wait

AT_ONCE: Final = 500
"""Rows handed on together; no more are held here."""

_HEAD: Final = 19
"""Bytes of a signature, of flags, and of the length of what might follow them and does not."""


def copied(connection: Connection[Any], query: str) -> Iterator[list[bytes]]:
    """The query's rows, in the order of the query; raises psycopg.Error."""
    pgconn = connection.pgconn
    begun = pgconn.exec_(f"COPY ({query}) TO STDOUT (FORMAT binary)".encode())
    if begun.status != ExecStatus.COPY_OUT:
        raise error_from_result(begun)
    take, rows, skip = pgconn.get_copy_data, list[bytes](), _HEAD
    while (message := take(1))[0] >= 0:
        if message[0] == 0:
            connection.wait(_more(pgconn))
            continue
        rows.append(bytes(message[1])[skip:])
        skip = 0
        if len(rows) > AT_ONCE:  # The last message, which is no row, stays for the end.
            yield rows[:-1]
            del rows[:-1]
    yield rows[:-1]
    while (ended := pgconn.get_result()) is not None:
        if ended.status != ExecStatus.COMMAND_OK:
            raise error_from_result(ended)


def _more(pgconn: PGconn) -> Generator[Wait, Ready | int, None]:
    """Waits for the server, where Ctrl-C is heard."""
    while not (yield Wait.R):
        continue
    pgconn.consume_input()
