"""`daybook digest` and `daybook replay --into`: whether two sets of read models are the same, row for row."""

from pathlib import Path
from typing import Annotated

import typer
from msgspec import Struct

from adapters.cli import showing
from adapters.cli.database import database, say
from adapters.cli.failing import NO, Failed
from adapters.cli.settings import DatabaseUrl, Home
from adapters.imports.events import NotTheSameLog, load
from adapters.postgres.copying import PostgresCopy
from adapters.postgres.digesting import Model, SchemaNotEmpty, digests, replay, snapshot
from adapters.postgres.log import PostgresLog
from adapters.postgres.migrate import migrate
from adapters.postgres.projecting import READ_SCHEMA
from replay.export import lines, read


def digest(
    schema: Annotated[str, typer.Option("--schema", help="The schema that holds the read models.")] = READ_SCHEMA,
    database_url: DatabaseUrl = None,
    home: Home = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON, for programs.")] = False,
) -> None:
    """Print a digest of each read model: SHA-256 over its rows in the order of their key, all columns.

    Two databases whose digests are equal at one position show the same
    books: a replica, a restored backup, an imported log, a replay.

    Examples:

      daybook digest
      diff <(daybook digest --json) <(daybook digest --json --home copy)
    """
    with database(database_url, home) as dsn, snapshot(dsn) as connection:
        models = digests(connection, schema=schema)
    if as_json:
        showing.json([_json(model) for model in models])
        return
    rows = [(m.digest.table, f"{m.digest.rows:,}", _position(m.position), m.digest.sha256) for m in models]
    showing.table("Read models", ("read model", "rows ", "position ", "sha256"), rows)


class _Compared(Struct, frozen=True):
    live: Model
    replayed: Model

    @property
    def equal(self) -> bool:
        return self.live == self.replayed


def replay_into(
    schema: str, *, database_url: str | None, home: Path | None, target_url: str | None, as_json: bool
) -> None:
    """Replay the log into that schema, and hold every read model there against the live one of the same position.

    Raises:
        Failed: The schema is not empty, or the target holds another log.
        typer.Exit: With 1 if they differ.
    """
    with database(database_url, home) as dsn:
        with snapshot(dsn) as connection:
            live = digests(connection)
        with PostgresLog(dsn) as log, showing.bar("replaying") as bar:
            head = log.head()
            end = head.last if head is not None else 0
            if target_url is not None:
                _copy(log, target_url)

            def watch(name: str, position: int, until: int) -> None:
                bar.update(bar.task_ids[0], description=name, completed=position, total=until)

            until = {model.projection: end if model.position is None else model.position for model in live}
            try:
                with snapshot(target_url or dsn) as connection:
                    replay(connection, schema, until, progress=watch)
                    replayed = digests(connection, schema=schema)
            except SchemaNotEmpty as error:
                raise Failed(str(error)) from error
    compared = [_Compared(*pair) for pair in zip(live, replayed, strict=True)]
    _show(compared, as_json=as_json)
    if not all(one.equal for one in compared):
        raise typer.Exit(NO)


def _copy(log: PostgresLog, target_url: str) -> None:
    """The log itself, into an empty database elsewhere."""
    say("Copying the log")
    migrate(target_url)
    with PostgresCopy(target_url) as copy:
        try:
            load(copy, read(lines(log)), watch=lambda position, end: None)
        except NotTheSameLog as error:
            raise Failed(f"the target is not empty: {error}") from error


def _show(compared: list[_Compared], *, as_json: bool) -> None:
    if as_json:
        showing.json(
            [{"equal": one.equal, "live": _json(one.live), "replayed": _json(one.replayed)} for one in compared]
        )
        return
    rows = [
        (
            *(one.live.digest.table, f"{one.replayed.digest.rows:,}", _position(one.replayed.position)),
            *(one.replayed.digest.sha256, one.live.digest.sha256 if one.live.position is not None else "never built"),
            "equal" if one.equal else "DIFFERS",
        )
        for one in compared
    ]
    showing.table("Replayed", ("read model", "rows ", "position ", "replayed", "live", "result"), rows)


def _json(model: Model) -> dict[str, object]:
    return {
        "read_model": model.digest.table,
        "projection": model.projection,
        "position": model.position,
        "rows": model.digest.rows,
        "sha256": model.digest.sha256,
    }


def _position(position: int | None) -> str:
    return "-" if position is None else f"{position:,}"
