"""Columns of values as Postgres's binary arrays, and calls that take them straight through libpq.

psycopg turns a list into an array value by value and waits in Python: of what the desk's thread did for a transfer,
that was about half.

Source: PostgreSQL, array_send: dimensions, flags, the elements' type, their number, the lower bound; each element after
its length, -1 for NULL. Dates are days since 2000-01-01, times microseconds since then.
"""

import struct
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final
from uuid import UUID

from psycopg import Connection, OperationalError
from psycopg.errors import error_from_result
from psycopg.pq import ConnStatus, ExecStatus
from psycopg.pq.abc import PGresult

INT4: Final = struct.Struct(">i").pack
INT8: Final = struct.Struct(">q").pack

_HEAD: Final = struct.Struct(">iiIii").pack
_EMPTY: Final = struct.Struct(">iiI").pack
_NULL: Final = INT4(-1)
_FIRST_DAY: Final = date(2000, 1, 1).toordinal()
_FIRST_MOMENT: Final = datetime(2000, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_GOOD: Final = (ExecStatus.COMMAND_OK, ExecStatus.TUPLES_OK)


def moment(at: datetime) -> bytes:
    """A timestamptz."""
    return INT8((at - _FIRST_MOMENT) // _MICROSECOND)


def day(on: date) -> bytes:
    """A date."""
    return INT4(on.toordinal() - _FIRST_DAY)


def fixed(oid: int, values: Sequence[bytes]) -> bytes:
    """An array of elements of type `oid`, all of one width."""
    if not values:
        return _EMPTY(0, 0, oid)
    length = INT4(len(values[0]))
    return _HEAD(1, 0, oid, len(values), 1) + length + length.join(values)


def varied(oid: int, values: Sequence[bytes]) -> bytes:
    """An array of elements of type `oid`, each of its own width."""
    if not values:
        return _EMPTY(0, 0, oid)
    return _HEAD(1, 0, oid, len(values), 1) + b"".join([INT4(len(value)) + value for value in values])


def nullable(oid: int, values: Sequence[UUID | None]) -> bytes:
    """An array of UUIDs, some of which may be absent."""
    if not values:
        return _EMPTY(0, 0, oid)
    length = INT4(16)
    return _HEAD(1, 1, oid, len(values), 1) + b"".join(
        [_NULL if value is None else length + value.bytes for value in values]
    )


def simple(connection: Connection[Any], script: str) -> PGresult:
    """The last result of statements without parameters, in one round trip; raises psycopg.Error."""
    return _checked(connection, connection.pgconn.exec_(script.encode()))


def prepare(connection: Connection[Any], name: str, query: str, oids: Sequence[int]) -> None:
    """Have a statement's plan kept for `call`; raises psycopg.Error."""
    _checked(connection, connection.pgconn.prepare(name.encode(), query.encode(), oids))


def call(connection: Connection[Any], name: str, parameters: Sequence[bytes]) -> PGresult:
    """The result of a prepared statement, its parameters binary; raises psycopg.Error."""
    return _checked(
        connection, connection.pgconn.exec_prepared(name.encode(), parameters, [1] * len(parameters), result_format=0)
    )


def _checked(connection: Connection[Any], result: PGresult) -> PGresult:
    if result.status in _GOOD:
        return result
    if connection.pgconn.status != ConnStatus.OK:
        raise OperationalError(connection.pgconn.get_error_message() or "the connection is lost")
    raise error_from_result(result)
