"""`daybook export`, and `daybook import --events`: the log as a file, and the file as a log."""

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, BinaryIO

import typer

from adapters.cli import showing
from adapters.cli.database import database, say
from adapters.cli.failing import NO, Failed
from adapters.cli.settings import DatabaseUrl, Home
from adapters.imports.events import NotTheSameLog, load
from adapters.postgres.applying import ProjectionFailed, Superseded
from adapters.postgres.building import BuildUnderWay
from adapters.postgres.copying import PostgresCopy
from adapters.postgres.log import PostgresLog
from adapters.postgres.projecting import catch_up
from domain.audit import Seal
from domain.errors import ConflictInStore, HeadMoved
from replay.export import LINE_MAX, BadLine, LogIsBroken, lines, read

STDOUT = "-"


def export(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A new file, or - for standard output.")],
    database_url: DatabaseUrl = None,
    home: Home = None,
) -> None:
    """Write the whole log of events as JSON Lines, seals and all, for programs and for keeping.

    Each event is a line with position, name, stream, version, recorded_at,
    command_id, metadata and payload, the last two byte for byte as they are
    stored and sealed; each commit's seal is a line after its events. The
    first line promises the log's end, so a file that was cut off is told.

    daybook import --events makes the same log of it, equal to the byte.

    Examples:

      daybook export books.jsonl
      daybook export - | gzip > books.jsonl.gz
    """
    with database(database_url, home) as dsn, PostgresLog(dsn) as log:
        head = log.head()
        with _written(file) as out, showing.bar("exporting", total=head.last if head else 0) as bar:
            try:
                for count, line in enumerate(lines(log)):
                    out.write(line)
                    if count % 1000 == 0:
                        bar.update(bar.task_ids[0], completed=count)
            except LogIsBroken as error:
                raise Failed(str(error), exit_code=NO) from error
            except OSError as error:
                raise Failed(f"{file} cannot be written: {error.strerror}") from error
    say(f"Exported {_words(head)}")


def import_events(file: Path, database_url: str | None, home: Path | None) -> None:
    """An exported log into a store that is empty, or was left half full by the same import; then the read models.

    Raises:
        Failed: It is not; or a line of the file is bad, and the import ends before its commit.
    """
    try:
        opened = file.open("rb")
    except OSError as error:
        raise Failed(f"{file} cannot be read: {error.strerror}") from error
    began = time.monotonic()
    with opened, database(database_url, home, migrated=True) as dsn:
        with showing.bar("importing", total=file.stat().st_size) as bar:
            last = _load(dsn, file, opened, lambda _, end: bar.update(bar.task_ids[0], completed=end))
        say(f"Imported {_words(last)}, in {time.monotonic() - began:.1f} s; now the read models")
        try:
            catch_up(dsn)
        except (ProjectionFailed, Superseded, BuildUnderWay) as error:
            raise Failed(str(error)) from error
    typer.echo(f"The log is {_words(last)}.")


def _load(dsn: str, file: Path, opened: BinaryIO, watch: Callable[[int, int], None]) -> Seal | None:
    with PostgresCopy(dsn) as copy:
        try:
            return load(copy, read(iter(partial(opened.readline, LINE_MAX), b"")), watch=watch)
        except BadLine as error:
            reached = copy.head().position
            raise Failed(f"{file}: {error}; imported is what comes before, to position {reached}") from error
        except NotTheSameLog as error:
            raise Failed(f"events go into an empty store: {error}; nothing was imported") from error
        except HeadMoved as error:
            raise Failed(f"somebody else writes to this store: {error}") from error
        except ConflictInStore as error:
            raise Failed(f"{file}: the store refuses an event: {error}") from error
        except OSError as error:
            raise Failed(f"{file} cannot be read: {error.strerror}") from error


def _words(seal: Seal | None) -> str:
    return f"at position {seal.last}, sealed {seal.hash.hex()}" if seal is not None else "empty"


@contextmanager
def _written(name: str) -> Iterator[BinaryIO]:
    """Standard output, or a file that is there whole or not at all."""
    if name == STDOUT:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    path = Path(name)
    if path.exists():
        raise Failed(f"{name} is there already")
    partial_path = path.with_name(f"{path.name}.partial-{os.getpid()}")
    try:
        with partial_path.open("xb") as out:
            yield out
            out.flush()
            os.fsync(out.fileno())
        partial_path.rename(path)
    except OSError as error:
        raise Failed(f"{name} cannot be written: {error.strerror}") from error
    finally:
        partial_path.unlink(missing_ok=True)
