"""The read models of a schema: their digests, and their replay from the log into a schema of its own."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

import msgspec
import psycopg
from msgspec import Struct
from psycopg import Connection, IsolationLevel, sql
from psycopg.sql import Identifier, Literal
from psycopg.types.json import set_json_loads

from adapters.postgres.builds import create_tables
from adapters.postgres.changing import Changes
from adapters.postgres.datastore import connect, first_line
from adapters.postgres.projecting import READ_SCHEMA
from adapters.postgres.recorder import COLUMNS, raw_event
from domain.errors import Unavailable
from domain.events import recorded
from projections.catalogue import ALL
from projections.projection import Projection, tables, tracked_as
from replay.digest import Digest, digest

ROWS_AT_ONCE: Final = 5_000
BATCH: Final = 2_000
TRACKING: Final = "tracking"

_CREATED: Final = re.compile(r"^CREATE TABLE (\w+)", re.MULTILINE)

Progress = Callable[[str, int, int], None]
"""Told after each batch a projection's name, its position and where it ends."""


class SchemaNotEmpty(Exception):
    """The schema to replay into holds something already."""


class Model(Struct, frozen=True):
    """A read model as it stands: of which projection, as of which position, None if that projection never ran."""

    projection: str
    position: int | None
    digest: Digest


def tables_of(projection: Projection) -> list[str]:
    """The names of its tables."""
    return sorted(_CREATED.findall(tables(projection.NAME)))


@contextmanager
def snapshot(dsn: str) -> Iterator[Connection[Any]]:
    """A connection in one db transaction that sees one moment, and may write.

    Raises:
        Unavailable: Postgres cannot be reached or failed, or what is looked for is not there.
    """
    try:
        with connect(dsn, long=True) as connection:
            set_json_loads(msgspec.json.decode, connection)
            connection.isolation_level = IsolationLevel.REPEATABLE_READ
            with connection.transaction():
                yield connection
    except psycopg.Error as error:
        raise Unavailable(f"Postgres failed: {first_line(error)}") from error


def digests(
    connection: Connection[Any], *, schema: str = READ_SCHEMA, projections: Sequence[Projection] = ALL
) -> list[Model]:
    """Every read model of the schema, with the position it is as of."""
    tracking = Identifier(schema, TRACKING)
    connection.execute(sql.SQL("LOCK TABLE {} IN ROW SHARE MODE").format(tracking))  # No build changes places now.
    query = sql.SQL("SELECT application_name, notification_id FROM {}").format(tracking)
    reached: dict[str, int] = dict(connection.execute(query).fetchall())
    return [
        Model(projection.NAME, reached.get(tracked_as(projection)), _digest(connection, schema, table))
        for projection in projections
        for table in tables_of(projection)
    ]


def _digest(connection: Connection[Any], schema: str, table: str) -> Digest:
    columns = [name for (name,) in connection.execute(_COLUMNS_OF, (schema, table))]
    key = [_ordered(*row) for row in connection.execute(_KEY_OF, (schema, table))]
    assert columns and key, f"{schema}.{table} is no table with a primary key"
    query = sql.SQL("SELECT {} FROM {} ORDER BY {}").format(
        sql.SQL(", ").join(map(Identifier, sorted(columns))), Identifier(schema, table), sql.SQL(", ").join(key)
    )
    with connection.cursor(name="digest") as cursor:
        cursor.itersize = ROWS_AT_ONCE
        return digest(table, sorted(columns), cursor.execute(query, binary=True))


def _ordered(column: str, is_text: bool) -> sql.Composable:
    return sql.SQL('{} COLLATE "C"').format(Identifier(column)) if is_text else Identifier(column)


_COLUMNS_OF: Final = """
SELECT attname FROM pg_attribute
WHERE attrelid = to_regclass(format('%%I.%%I', %s::text, %s::text)) AND attnum > 0 AND NOT attisdropped
"""
_KEY_OF: Final = """
SELECT attname, attcollation <> 0 FROM pg_index
CROSS JOIN LATERAL unnest(indkey::smallint[]) WITH ORDINALITY AS part (number, place)
JOIN pg_attribute ON attrelid = indrelid AND attnum = part.number
WHERE indrelid = to_regclass(format('%%I.%%I', %s::text, %s::text)) AND indisprimary
ORDER BY place
"""


def replay(
    connection: Connection[Any],
    schema: str,
    until: Mapping[str, int],
    *,
    projections: Sequence[Projection] = ALL,
    progress: Progress,
) -> None:
    """Build the read models in an empty schema, from the log alone and by the projectors themselves.

    All within the caller's db transaction: they are there whole, or not at all.

    Args:
        schema: Made if it is not there.
        until: The position up to which, by the name of the projection.

    Raises:
        SchemaNotEmpty: It is not.
    """
    connection.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(Identifier(schema)))
    held = connection.execute(
        "SELECT relname FROM pg_class WHERE relnamespace = %s::regnamespace", (_quoted(connection, schema),)
    )
    if first := held.fetchone():
        raise SchemaNotEmpty(f"the schema {schema} is not empty: there is {first[0]}")
    like = sql.SQL("CREATE TABLE {} (LIKE {} INCLUDING ALL)")
    connection.execute(like.format(Identifier(schema, TRACKING), Identifier(READ_SCHEMA, TRACKING)))
    for projection in projections:
        create_tables(connection, projection, schema)
    connection.execute(sql.SQL("SET LOCAL search_path = {}").format(Identifier(schema)))
    for projection in projections:
        end = until[projection.NAME]
        _apply(connection, projection, end, progress)
        tracked = sql.SQL("INSERT INTO {} VALUES ({}, {})")
        connection.execute(tracked.format(Identifier(TRACKING), Literal(tracked_as(projection)), Literal(end)))


def _quoted(connection: Connection[Any], name: str) -> str:
    return Identifier(name).as_string(connection)


def _apply(connection: Connection[Any], projection: Projection, end: int, progress: Progress) -> None:
    changes = Changes(projection)
    query = (
        f"SELECT {COLUMNS} FROM daybook.events WHERE position > %s AND position <= %s ORDER BY position LIMIT {BATCH}"
    )
    position = 0
    while events := connection.execute(query.encode(), (position, end), binary=True).fetchall():
        changes.apply(connection.cursor(), map(recorded, map(raw_event, events)))
        position = events[-1][0]
        progress(projection.NAME, position, end)
