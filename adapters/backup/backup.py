"""Taking a backup while writes go on: the dump and its manifest are of one and the same moment."""

import os
import shutil
import tempfile
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import psycopg
from psycopg import Connection, IsolationLevel

from adapters.backup import tools
from adapters.backup.manifest import DUMP, FORMAT, Manifest, digest_of, write
from adapters.postgres.datastore import connect, first_line
from adapters.postgres.recorder import HEAD, head_from
from domain.errors import Unavailable
from domain.ledger import Head

SCHEMAS: Final = "daybook*"
"""What is dumped: the log, the read models and those being built."""


class FolderTaken(Exception):
    """There is something where the backup would go."""


def take(dsn: str, folder: Path) -> Manifest:
    """Write a backup of the database to a new folder, which is there whole or not at all.

    Raises:
        FolderTaken: It is there already.
        Unavailable: The database cannot be read.
        ToolFailed: pg_dump is not to be had, or failed.
        OSError: The folder cannot be written.
    """
    folder = folder.absolute()
    if folder.exists():
        raise FolderTaken(f"{folder} is there already")
    partial = Path(tempfile.mkdtemp(prefix=f"{folder.name}.partial-", dir=folder.parent))
    try:
        manifest = _dump(dsn, partial / DUMP)
        write(partial, manifest)
        for path in (*partial.iterdir(), partial):
            _sync(path)
        partial.rename(folder)
        _sync(folder.parent)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return manifest


def _dump(dsn: str, file: Path) -> Manifest:
    try:
        with connect(dsn, long=True) as connection:
            connection.execute("SET idle_in_transaction_session_timeout = 0")  # The dump takes as long as it takes.
            connection.isolation_level = IsolationLevel.REPEATABLE_READ
            connection.read_only = True
            with connection.transaction():
                return _dump_snapshot(connection, dsn, file)
    except psycopg.Error as error:
        raise Unavailable(f"Postgres failed: {first_line(error)}") from error


def _dump_snapshot(connection: Connection[Any], dsn: str, file: Path) -> Manifest:
    """What pg_dump sees is what this db transaction sees."""
    exported = connection.execute("SELECT pg_export_snapshot()").fetchone()
    row = connection.execute(HEAD).fetchone()
    assert exported is not None and row is not None
    head: Head = head_from(row)
    migrations = [name for (name,) in connection.execute("SELECT name FROM daybook.migrations ORDER BY number")]
    server = connection.info.server_version // 10000
    tool = tools.find("pg_dump", oldest_major=server)
    taken_at = datetime.now(UTC)
    words = ["--format=custom", f"--snapshot={exported[0]}", f"--schema={SCHEMAS}", f"--file={file}"]
    tools.run(tool, dsn, words)
    return Manifest(
        daybook_backup=FORMAT,
        taken_at=taken_at,
        head=head.position,
        recorded_at=head.recorded_at if head.position else None,
        seal=head.hash.hex() if head.position else "",
        migrations=migrations,
        daybook=version("daybook"),
        postgres=connection.info.parameter_status("server_version") or str(server),
        pg_dump=tool.version,
        size=file.stat().st_size,
        sha256=digest_of(file),
    )


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
