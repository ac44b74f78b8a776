"""The log and what was derived from it, as they are read by replay and verification: one consistent view, streamed."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from datetime import date, datetime
from itertools import chain, count
from typing import Any, Final, Self
from uuid import UUID

import msgspec
import psycopg
from msgspec.structs import replace
from psycopg import Connection, IsolationLevel, sql
from psycopg.types.json import set_json_loads

from adapters.postgres.datastore import connect, first_line
from adapters.postgres.recorder import COLUMNS, raw_event
from adapters.postgres.rows import copied
from domain.audit import Seal
from domain.errors import Unavailable
from domain.events import RawEvent
from domain.posting import Totals
from replay.derived import POSTINGS
from replay.logged import EVENTS
from replay.rows import Kind, Layout
from replay.stored import VERSIONS

ROWS_AT_ONCE: Final = 5_000
"""Rows fetched in one round trip; a stream holds no more of them in memory."""

_AS_OF: Final = """
BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;
SET TRANSACTION SNAPSHOT '{}';
SET LOCAL synchronize_seqscans = off;
SET LOCAL idle_in_transaction_session_timeout = 0;
"""

_OIDS: Final[dict[Kind, tuple[int, ...]]] = {
    Kind.UUID: (2950,),
    Kind.INT8: (20,),
    Kind.INT4: (23,),
    Kind.TEXT: (25, 1042, 1043),
    Kind.CHAR: (18,),
    Kind.BOOL: (16,),
    Kind.BYTEA: (17,),
    Kind.DATE: (1082,),
    Kind.TIME: (1184,),
    Kind.JSONB: (3802,),
}
"""The types whose values a kind stands for: text, char(n) and varchar are sent alike."""

_TOTALS: Final = """
SELECT id, number, debits, credits, pending_debits, pending_credits
FROM unnest(%(accounts)s::uuid[]) AS wanted (id)
CROSS JOIN LATERAL (
    SELECT * FROM daybook.postings WHERE account = id AND %(until)s::bigint IS NULL
    ORDER BY number DESC LIMIT 1
) AS last
UNION ALL
SELECT id, number, debits, credits, pending_debits, pending_credits
FROM unnest(%(accounts)s::uuid[]) AS wanted (id)
CROSS JOIN LATERAL daybook.totals_at(id, %(until)s::bigint) AS last
WHERE %(until)s::bigint IS NOT NULL
"""

_TOTALS_BEFORE: Final = """
SELECT account, count(*),
    coalesce(sum(amount) FILTER (WHERE side = 'D' AND NOT pending), 0)::bigint,
    coalesce(sum(amount) FILTER (WHERE side = 'C' AND NOT pending), 0)::bigint,
    coalesce(sum(amount) FILTER (WHERE side = 'D' AND pending), 0)::bigint,
    coalesce(sum(amount) FILTER (WHERE side = 'C' AND pending), 0)::bigint
FROM daybook.postings
WHERE account = ANY(%(accounts)s) AND value_date < %(before)s
    AND (%(until)s::bigint IS NULL OR position <= %(until)s)
GROUP BY account
"""


class PostgresLog:
    """`domain.ports.Log` and `replay.stored.Stored` in one read-only db transaction: all answers are of one moment.

    Opened by `with`. Streams may run beside each other.

    Raises:
        Unavailable: From any method: Postgres cannot be reached, failed, or holds no Daybook.
    """

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._open = ExitStack()
        self._names = count(1)
        self._exported: str | None = None
        self._connection: Connection[Any]

    def __enter__(self) -> Self:
        with ExitStack() as opening:
            self._connection = opening.enter_context(connect(self._dsn, long=True))
            # Whole tables are read, so a plan that is quick with the first rows only is the wrong one.
            self._connection.execute("SET cursor_tuple_fraction = 1; SET synchronize_seqscans = off")
            # It idles while other connections send what it sees: for minutes, of a large log.
            self._connection.execute("SET idle_in_transaction_session_timeout = 0")
            self._connection.isolation_level = IsolationLevel.REPEATABLE_READ
            self._connection.read_only = True
            set_json_loads(msgspec.json.decode, self._connection)
            tracking = "has_table_privilege(to_regclass('daybook_read.tracking'), 'UPDATE')"
            readable = self._connection.execute(f"SELECT {tracking}".encode()).fetchone()
            opening.enter_context(self._connection.transaction())
            if readable == (True,):  # Before the view of the data is taken, so that no build changes places in it.
                self._connection.execute("LOCK TABLE daybook_read.tracking IN ROW SHARE MODE")
            self._open = opening.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        try:
            self._open.close()
        except psycopg.Error:
            return  # What was read has been read; there is nothing to lose with the connection.

    def head(self) -> Seal | None:
        rows = self._all("SELECT first, last, recorded_at, hash FROM daybook.seals ORDER BY first DESC LIMIT 1")
        return Seal(*rows[0]) if rows else None

    def seals(self) -> Iterator[Seal]:
        return (
            Seal(*row)
            for row in self._stream("SELECT first, last, recorded_at, hash FROM daybook.seals ORDER BY first")
        )

    def last_seal(self, *, position: int | None = None, at: datetime | None = None) -> Seal | None:
        """By an index, however many there are."""
        which = "first <= %s ORDER BY first" if at is None else "recorded_at <= %s ORDER BY recorded_at DESC, last"
        query = f"SELECT first, last, recorded_at, hash FROM daybook.seals WHERE {which} DESC LIMIT 1"
        rows = self._all(query, (position if at is None else at,))
        return Seal(*rows[0]) if rows else None

    def events(self, *, after: int = 0, until: int | None = None) -> Iterator[RawEvent]:
        query = (
            f"SELECT {COLUMNS} FROM daybook.events WHERE position > %s"
            " AND (%s::bigint IS NULL OR position <= %s) ORDER BY position"
        )
        return map(raw_event, self._stream(query, (after, until, until)))

    def stream(self, stream_id: UUID) -> Sequence[RawEvent]:
        """All events of one stream, in order."""
        query = f"SELECT {COLUMNS} FROM daybook.events WHERE stream = %s ORDER BY version"
        return [raw_event(row) for row in self._all(query, (stream_id,))]

    def named(self, names: Sequence[str]) -> Iterator[RawEvent]:
        """The events of those stored names, in order."""
        query = f"SELECT {COLUMNS} FROM daybook.events WHERE name = ANY(%s) ORDER BY position"
        return map(raw_event, self._stream(query, (list(names),)))

    def mentioning(self, name: str, field: str, value: str) -> Iterator[RawEvent]:
        """The events of that stored name whose payload has that text in a field of that name, at whatever depth."""
        needle = b'"%s":%s' % (field.encode(), msgspec.json.encode(value))
        query = (
            f"SELECT {COLUMNS} FROM daybook.events WHERE name = %s AND position(%s::bytea in payload) > 0"
            " ORDER BY position"
        )
        return map(raw_event, self._stream(query, (name, needle)))

    def logged(self) -> Iterator[bytes]:
        """Every event in order, as a row of `replay.logged.EVENTS`."""
        return self._rows(EVENTS, order="position")

    def versions(self) -> Iterator[bytes]:
        """Of every event a row of `replay.stored.VERSIONS`, stream by stream, in order of version."""
        return self._rows(VERSIONS, order="stream, version")

    def postings(self) -> Iterator[bytes]:
        """Every posting as stored, in the order on disk: the log's, but where room that rollbacks left was filled."""
        return self._rows(POSTINGS)

    def tracked(self) -> Mapping[str, int]:
        """The position each projection has reached, by its name; none if no projection ever ran."""
        if not self._all("SELECT 1 FROM pg_class WHERE oid = to_regclass('daybook_read.tracking')"):
            return {}
        # A name with a # is of a build beside the live one.
        return dict(
            self._all(
                "SELECT application_name, notification_id FROM daybook_read.tracking"
                " WHERE position('#' in application_name) = 0"
            )
        )

    def read_model(self, table: str, columns: Sequence[str]) -> Iterator[tuple[Any, ...]]:
        """Rows of a table of the read models, as values, in any order."""
        query = sql.SQL("SELECT {} FROM daybook_read.{}").format(
            sql.SQL(", ").join(map(sql.Identifier, columns)), sql.Identifier(table)
        )
        return self._stream(query)

    def read_model_rows(self, rows: Layout, *, order: str | None = None) -> Iterator[bytes]:
        """Rows of a table of the read models, as bytes; by `order` if one is named."""
        return self._rows(replace(rows, table=f"daybook_read.{rows.table}"), order=order)

    def totals(
        self, account_ids: Sequence[UUID], *, until: int | None = None, before: date | None = None
    ) -> dict[UUID, Totals]:
        """The accounts' totals from the postings: up to a position, and of value dates before a day.

        An account without such postings is absent. With `before`, `number` says how many postings there were.
        """
        query = _TOTALS if before is None else _TOTALS_BEFORE
        wanted = {"accounts": list(account_ids), "until": until, "before": before}
        return {account: Totals(*totals) for account, *totals in self._all(query, wanted)}

    def _rows(self, rows: Layout, *, order: str | None = None) -> Iterator[bytes]:
        """A table's rows as bytes, over a connection of their own, which sends them while others are looked at."""
        query = f"SELECT {', '.join(rows.names)} FROM {rows.table}" + (f" ORDER BY {order}" if order else "")
        return chain.from_iterable(self._copied(rows, query))

    def _copied(self, rows: Layout, query: str) -> Iterator[list[bytes]]:
        try:
            with connect(self._dsn, long=True) as connection:
                connection.execute(_AS_OF.format(self._snapshot()).encode())
                kinds = connection.execute(f"{query} LIMIT 0".encode()).description or ()
                if any(
                    column.type_code not in _OIDS[kind] for column, (_, kind) in zip(kinds, rows.columns, strict=True)
                ):
                    raise Unavailable(f"{rows.table} has columns of other types than this Daybook knows")
                yield from copied(connection, query)
        except psycopg.Error as error:
            raise _unavailable(error) from error

    def _snapshot(self) -> str:
        """The name by which other connections see what this one does."""
        if self._exported is None:
            [(self._exported,)] = self._all("SELECT pg_export_snapshot()")
        return self._exported

    def _all(self, query: str, parameters: Sequence[Any] | Mapping[str, Any] = ()) -> list[tuple[Any, ...]]:
        try:
            return self._connection.execute(query.encode(), parameters, binary=True).fetchall()
        except psycopg.Error as error:
            raise _unavailable(error) from error

    def _stream(self, query: str | sql.Composed, parameters: Sequence[Any] = ()) -> Iterator[Any]:
        try:
            with self._connection.cursor(name=f"stream_{next(self._names)}") as cursor:
                with self._connection.transaction():  # A table that cannot be read must not end the other streams.
                    cursor.execute(query.encode() if isinstance(query, str) else query, parameters, binary=True)
                while rows := cursor.fetchmany(ROWS_AT_ONCE):
                    yield from rows
        except psycopg.Error as error:
            raise _unavailable(error) from error


def _unavailable(error: psycopg.Error) -> Unavailable:
    if isinstance(error, psycopg.errors.UndefinedTable | psycopg.errors.InvalidSchemaName):
        return Unavailable(f"this database holds no Daybook of this version ({first_line(error)}); see daybook migrate")
    return Unavailable(f"Postgres failed: {first_line(error)}")
