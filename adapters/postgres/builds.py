"""Builds of the read models: which tables are live, and how new ones are made beside them and take their place.

A build not live yet has its tables in a schema of its own. Taking the place is one db transaction: the old tables are
dropped, the new ones moved into the read models' schema under the same names, and the tracking position with them. A
reader meets the old ones or the new ones, whole.
"""

import random
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Final

from msgspec import Struct
from psycopg import Connection
from psycopg.rows import class_row, tuple_row
from psycopg.sql import SQL, Identifier

from projections.projection import Projection, bare_tables, digest, indexes, tables

READ_SCHEMA: Final = "daybook_read"
LOCK_MS: Final = 200
"""How long readers may be kept waiting by a build that waits for other readers to end."""

_COLUMNS: Final = (
    "id, name, version, digest, live, tables, began_at, live_since, parked_position, parked_error, parked_at"
)


class Build(Struct, frozen=True):
    """One build of a projection; `parked_position` is the event that it cannot get past, None while all is well."""

    id: int
    name: str
    version: int
    digest: str
    live: bool
    tables: list[str]
    began_at: datetime
    live_since: datetime | None
    parked_position: int | None
    parked_error: str | None
    parked_at: datetime | None

    @property
    def schema(self) -> str:
        """Where its tables are."""
        return READ_SCHEMA if self.live else f"daybook_build_{self.id}"

    @property
    def tracked_as(self) -> str:
        """The name under which its progress is kept."""
        return f"{self.name}.v{self.version}" + ("" if self.live else f"#{self.id}")


class Standing(Struct, frozen=True):
    """How a build stands. `lag_s` is the age in seconds of the first event it has not applied, 0 without any."""

    build: Build
    position: int
    head: int
    lag_s: float


class NotParked(Exception):
    """There is no such event to leave out: the projection is not parked there."""


def standings(connection: Connection[Any]) -> list[Standing]:
    """How every build stands, live ones first, all of one moment."""
    with connection.cursor(row_factory=tuple_row) as cursor:
        rows = cursor.execute(
            """
            SELECT b.id, coalesce(reached, 0), daybook.head(), coalesce(
                       (SELECT extract(epoch FROM clock_timestamp() - recorded_at)::float8 FROM daybook.events
                        WHERE position = coalesce(reached, 0) + 1), 0)
            FROM daybook_read.builds AS b
            LEFT JOIN daybook_read.tracking AS t (tracked, reached)
                ON tracked = name || '.v' || version || CASE WHEN live THEN '' ELSE '#' || id END
            """
        ).fetchall()
    known = {row[0]: row[1:] for row in rows}
    return [Standing(build, *known[build.id]) for build in every(connection) if build.id in known]


def skip(connection: Connection[Any], name: str, position: int, *, reason: str, actor: str) -> Build:
    """Leave that one event out of that projection, as long as its code is what it is now; kept on record for ever.

    Raises:
        NotParked: It is not this event that the projection cannot get past.
    """
    with connection.transaction():
        row = connection.execute(
            "SELECT live FROM daybook_read.builds WHERE name = %s AND parked_position = %s ORDER BY live FOR UPDATE",
            (name, position),
        ).fetchone()
        build = find(connection, name, live=row[0]) if row is not None else None
        if build is None:
            raise NotParked(f"{name} is not parked at {position}")
        connection.execute(
            "INSERT INTO daybook.skips (projection, digest, position, error, reason, actor)"
            " VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING",
            (name, build.digest, position, build.parked_error, reason, actor),
        )
        connection.execute(
            "UPDATE daybook_read.builds SET parked_position = NULL, parked_error = NULL, parked_at = NULL"
            " WHERE name = %s AND digest = %s AND parked_position = %s",
            (name, build.digest, position),
        )
        connection.execute("SELECT pg_notify('daybook_log', '')")
        return build


def every(connection: Connection[Any]) -> list[Build]:
    """All builds, live ones first."""
    return _fetch(connection, "ORDER BY NOT live, name", ())


def find(connection: Connection[Any], name: str, *, live: bool) -> Build | None:
    """The live build of that projection, or the one beside it."""
    return next(iter(_fetch(connection, "WHERE name = %s AND live = %s", (name, live))), None)


def prepare(connection: Connection[Any], projections: Iterable[Projection]) -> None:
    """Give every projection that has no live build its tables, empty: there is nothing older to be read meanwhile."""
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(hashtextextended('daybook.builds', 0))")
        for projection in projections:
            if find(connection, projection.NAME, live=True) is None:
                build = begin(connection, projection)
                add_indexes(connection, projection, build.schema)
                take_place(connection, build)


def begin(connection: Connection[Any], projection: Projection) -> Build:
    """The build by this code beside the live one: the one that was begun before, else a new one, without indexes.

    What other code has begun is thrown away, so the caller sees to it that nobody is at it any more.
    """
    with connection.transaction():
        found = find(connection, projection.NAME, live=False)
        if found is not None:
            if found.digest == digest(projection) and found.version == projection.VERSION:
                return found
            discard(connection, found)
        row = connection.execute(
            "INSERT INTO daybook_read.builds (name, version, digest, tables) VALUES (%s, %s, %s, '{}') RETURNING id",
            (projection.NAME, projection.VERSION, digest(projection)),
        ).fetchone()
        assert row is not None
        schema = f"daybook_build_{row[0]}"
        connection.execute(SQL("CREATE SCHEMA {}").format(Identifier(schema)))
        with _within(connection, schema):
            connection.execute(bare_tables(projection.NAME).encode())
        connection.execute(
            "UPDATE daybook_read.builds SET tables = ARRAY(SELECT tablename FROM pg_tables WHERE schemaname = %s"
            " ORDER BY tablename) WHERE id = %s",
            (schema, row[0]),
        )
        begun = find(connection, projection.NAME, live=False)
        assert begun is not None
        connection.execute("INSERT INTO daybook_read.tracking VALUES (%s, 0)", (begun.tracked_as,))
        return begun


def create_tables(connection: Connection[Any], projection: Projection, schema: str) -> None:
    """Make the projection's tables, empty, with their indexes, in a schema that is there."""
    with _within(connection, schema):
        connection.execute(tables(projection.NAME).encode())


def add_indexes(connection: Connection[Any], projection: Projection, schema: str) -> None:
    """Make the indexes that its tables lack there, in one go: kept up row by row they are twice as dear.

    The planner comes to know the tables too, which nobody has read yet.
    """
    with _within(connection, schema):
        for index in indexes(projection.NAME):
            connection.execute(index.encode())
        for (table,) in connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = %s", (schema,)):
            connection.execute(SQL("ANALYZE {}").format(Identifier(table)))


@contextmanager
def _within(connection: Connection[Any], schema: str) -> Iterator[None]:
    """A db transaction whose names are of that schema."""
    with connection.transaction():
        row = connection.execute("SELECT current_setting('search_path')").fetchone()
        assert row is not None
        connection.execute(SQL("SET LOCAL search_path = {}").format(Identifier(schema)))
        yield
        connection.execute("SELECT set_config('search_path', %s, true)", row)


def hold(connection: Connection[Any]) -> None:
    """Wait, not long, until nobody applies events or reads for long; nobody begins until the db transaction ends.

    Raises:
        psycopg.errors.LockNotAvailable: Somebody is at it for longer; the next try may do.
    """
    connection.execute(f"SET LOCAL lock_timeout = {LOCK_MS}".encode())
    # Single statements go on: they see the tables and the position of one moment, the one when they have all they ask.
    connection.execute("LOCK TABLE daybook_read.tracking IN EXCLUSIVE MODE")


def is_behind(connection: Connection[Any], build: Build) -> bool:
    """Whether the live build has applied more than this one."""
    live = find(connection, build.name, live=True)
    reached = "SELECT coalesce((SELECT notification_id FROM daybook_read.tracking WHERE application_name = %s), 0)"
    ours, theirs = (
        connection.execute(reached.encode(), (one.tracked_as if one is not None else "",)).fetchone()
        for one in (build, live)
    )
    assert ours is not None and theirs is not None
    return bool(ours[0] < theirs[0])


def take_place(connection: Connection[Any], build: Build) -> None:
    """Make the build live, in the place of the one that is.

    Raises:
        psycopg.errors.LockNotAvailable: As `hold`, or somebody reads the old tables.
        psycopg.errors.DependentObjectsStillExist: Something that is not ours hangs on the old tables.
    """
    with connection.transaction():
        old = find(connection, build.name, live=True)
        grants = _grants(connection, build.tables)
        if old is not None:
            hold(connection)
            # Readers take several tables in orders of their own: in one of ours nobody waits for us, and we for nobody.
            for table in random.sample(old.tables, len(old.tables)):
                connection.execute(SQL("DROP TABLE IF EXISTS {}").format(Identifier(READ_SCHEMA, table)))
            connection.execute("DELETE FROM daybook_read.tracking WHERE application_name = %s", (old.tracked_as,))
            connection.execute("DELETE FROM daybook_read.builds WHERE id = %s", (old.id,))
        for table in build.tables:
            move = SQL("ALTER TABLE {} SET SCHEMA {}")
            connection.execute(move.format(Identifier(build.schema, table), Identifier(READ_SCHEMA)))
        for grant in grants:
            connection.execute(grant)
        live_as = f"{build.name}.v{build.version}"
        connection.execute("DELETE FROM daybook_read.tracking WHERE application_name = %s", (live_as,))
        connection.execute(
            "UPDATE daybook_read.tracking SET application_name = %s WHERE application_name = %s",
            (live_as, build.tracked_as),
        )
        connection.execute(
            "UPDATE daybook_read.builds SET live = true, live_since = clock_timestamp() WHERE id = %s", (build.id,)
        )
        connection.execute(SQL("DROP SCHEMA {} CASCADE").format(Identifier(build.schema)))


def discard(connection: Connection[Any], build: Build) -> None:
    """Throw a build away that is not live; whoever is at it finishes a batch and meets that it is gone."""
    assert not build.live
    with connection.transaction():
        connection.execute("DELETE FROM daybook_read.tracking WHERE application_name = %s", (build.tracked_as,))
        connection.execute("DELETE FROM daybook_read.builds WHERE id = %s", (build.id,))
        connection.execute(SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(Identifier(build.schema)))


def _fetch(connection: Connection[Any], which: str, parameters: tuple[Any, ...]) -> list[Build]:
    with connection.cursor(row_factory=class_row(Build)) as cursor:
        return cursor.execute(f"SELECT {_COLUMNS} FROM daybook_read.builds {which}".encode(), parameters).fetchall()


def _grants(connection: Connection[Any], names: list[str]) -> list[bytes]:
    """What others may do with the live tables of those names, as statements: they may do it with the new ones too."""
    rows = connection.execute(
        """
        SELECT format('GRANT %%s ON %%I.%%I TO %%s', privilege_type, nspname, relname,
                      CASE grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END)
        FROM pg_class JOIN pg_namespace AS n ON n.oid = relnamespace, aclexplode(relacl)
        WHERE nspname = %s AND relname = ANY(%s) AND grantee <> relowner
        """,
        (READ_SCHEMA, names),
    )
    return [row[0].encode() for row in rows]
