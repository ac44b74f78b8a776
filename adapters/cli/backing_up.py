"""`daybook backup` and `daybook restore`: a copy that proves itself, and the books from it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from adapters.backup import backup as backups
from adapters.backup import restore as restoring
from adapters.backup.backup import FolderTaken
from adapters.backup.manifest import BadBackup, Manifest
from adapters.backup.restore import TargetNotEmpty
from adapters.backup.tools import ToolFailed
from adapters.cli import showing
from adapters.cli.database import database, say, tell, without_password
from adapters.cli.failing import NO, Failed
from adapters.cli.settings import DatabaseUrl, Home
from adapters.embedded_postgres import running
from adapters.postgres.applying import ProjectionFailed, Superseded
from adapters.postgres.building import BuildUnderWay
from adapters.postgres.log import PostgresLog
from adapters.postgres.projecting import catch_up
from domain.audit import Seal
from replay.report import Report
from replay.verify import verify


def backup(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A new folder for the backup.")],
    database_url: DatabaseUrl = None,
    home: Home = None,
) -> None:
    """Write a backup: a dump of one moment, with a manifest of what it holds.

    It may be taken at any time: writes go on, and what is in it is one
    position of the log with everything before it. manifest.json says which,
    under which seal, and the SHA-256 of the dump (pg_dump's custom format).

    Examples:

      daybook backup backups/2026-01-31
    """
    with database(database_url, home) as dsn:
        try:
            manifest = backups.take(dsn, folder)
        except (FolderTaken, ToolFailed) as error:
            raise Failed(str(error)) from error
        except OSError as error:
            raise Failed(f"{folder} cannot be written: {error.strerror}") from error
    typer.echo(f"Backup of {_words(manifest)} in {folder}, {manifest.size:,} bytes")


def restore(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="What daybook backup wrote.")],
    into: Annotated[
        str | None, typer.Option("--into", metavar="DSN", help="The database to restore into, which must be empty.")
    ] = None,
    home: Annotated[
        Path | None,
        typer.Option("--home", metavar="FOLDER", help="Into an embedded Postgres of its own, in a new folder."),
    ] = None,
) -> None:
    """Restore a backup into an empty database, and verify what is there then.

    The read models are brought up to the log's end first, whatever they had
    come to when the backup was taken, so that the books can be used at once.

    Exit codes:

      0  restored, verified, and at the position that the manifest says
      1  restored, and something does not match
      2  not restored: the backup is not whole, or the target not empty;
         or not all of it could be verified, or a read model not brought up

    Examples:

      daybook restore backups/2026-01-31 --home restored
      daybook restore backups/2026-01-31 --into postgresql://db/empty
    """
    with _target(into, home) as dsn:
        try:
            manifest, migrations = restoring.restore(folder, dsn)
        except (BadBackup, TargetNotEmpty, ToolFailed) as error:
            raise Failed(str(error)) from error
        for name in migrations:
            say(f"applied {name}")
        behind = _project(dsn)
        with PostgresLog(dsn) as log, showing.bar("verifying") as bar:
            head = log.head()
            report = verify(log, progress=lambda done, of: bar.update(bar.task_ids[0], completed=done, total=of))
    _must_be(manifest, head, report)
    if behind:
        raise Failed(f"restored and verified, and a read model cannot be brought up: {behind}")
    typer.echo(f"Restored: {_words(manifest)}; {report.verdict}")


@contextmanager
def _target(into: str | None, home: Path | None) -> Iterator[str]:
    if (into is None) == (home is None):
        raise Failed("say where to: --into DSN, or --home FOLDER")
    if into is not None:
        say(f"Data: {without_password(into)}")
        yield into
        return
    assert home is not None
    with running(home, on_event=tell) as server:
        say(f"Data: {server.data} (Postgres {server.version}, Daybook's own)")
        yield server.dsn


def _project(dsn: str) -> str:
    """Bring the read models up; what kept one from it, which is no reason not to verify, or nothing."""
    with showing.bar("projecting") as bar:

        def watch(name: str, position: int, head: int) -> None:
            bar.update(bar.task_ids[0], description=name, completed=position, total=head)

        try:
            catch_up(dsn, on_progress=watch)
        except (ProjectionFailed, Superseded, BuildUnderWay) as error:
            return str(error)
    return ""


def _must_be(manifest: Manifest, head: Seal | None, report: Report) -> None:
    found = (head.last, head.hash.hex()) if head is not None else (0, "")
    if found != (manifest.head, manifest.seal):
        raise Failed(f"the manifest promises {_words(manifest)}; restored is position {found[0]}", exit_code=NO)
    if report.verdict == "mismatch":
        raise Failed(f"restored, and it does not verify, from position {report.first_bad_position}", exit_code=NO)
    for check in report.checks:
        if check.incomplete:
            raise Failed(f"restored, and not all of it could be verified: {check.name}: {check.incomplete}")


def _words(manifest: Manifest) -> str:
    return f"position {manifest.head}, sealed {manifest.seal or '-'}"
