"""Restoring a backup into a database that holds no Daybook: all of it in one db transaction, then checked."""

from pathlib import Path

from adapters.backup import tools
from adapters.backup.manifest import DUMP, BadBackup, Manifest, read
from adapters.postgres.datastore import connect
from adapters.postgres.migrate import available, migrate


class TargetNotEmpty(Exception):
    """The database holds a Daybook already."""


def restore(folder: Path, dsn: str) -> tuple[Manifest, list[str]]:
    """Make the database what the backup holds, and bring it up to what this Daybook needs.

    Returns:
        The backup's manifest, and the migrations that were applied after it.

    Raises:
        BadBackup: It is not whole, or of a newer Daybook or Postgres than there is here.
        TargetNotEmpty: Nothing was touched.
        ToolFailed: pg_restore is not to be had, or failed; nothing was restored.
        Unavailable, MigrationError: The database cannot be reached or brought up to date.
    """
    manifest = read(folder)
    if len(manifest.migrations) > len(available()):
        raise BadBackup(
            f"{folder} is of a newer Daybook, {manifest.daybook}: it has migration {manifest.migrations[-1]}"
        )
    _must_be_empty(dsn, manifest)
    tool = tools.find("pg_restore", oldest_major=tools.major(manifest.pg_dump))
    # Owner and grants are those of the target: the roles of the source may not exist there. What they are to refuse is
    # up to `migrate`, which comes before any use; so being killed in between leaves nothing that anyone works with.
    words = ["--single-transaction", "--exit-on-error", "--no-owner", "--no-acl", str(folder / DUMP)]
    tools.run(tool, dsn, words)
    return manifest, migrate(dsn)


def _must_be_empty(dsn: str, manifest: Manifest) -> None:
    with connect(dsn) as connection:
        if connection.info.server_version // 10000 < tools.major(manifest.postgres):
            here = connection.info.server_version // 10000
            raise BadBackup(f"the backup is of Postgres {manifest.postgres}, the target is an older one, {here}")
        row = connection.execute("SELECT nspname FROM pg_namespace WHERE nspname LIKE 'daybook%'").fetchone()
        if row is not None:
            raise TargetNotEmpty(f"the target is not empty: it has the schema {row[0]}")
