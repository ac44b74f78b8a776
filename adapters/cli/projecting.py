"""`daybook projections` and `daybook rebuild`: how the read models stand, and what a person can do about them."""

import threading
from concurrent import futures
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Annotated, Any, Final

import typer
from psycopg.errors import DependentObjectsStillExist
from rich.progress import Progress

from adapters.cli import showing
from adapters.cli.database import database
from adapters.cli.failing import NO, Failed
from adapters.cli.settings import DatabaseUrl, Home
from adapters.garbage import collecting_rarely
from adapters.postgres import builds
from adapters.postgres.applying import Applier, ProjectionFailed, Superseded
from adapters.postgres.building import BuildUnderWay, build_beside
from adapters.postgres.builds import Build, NotParked, Standing
from adapters.postgres.datastore import connect, first_line
from adapters.postgres.window import Window
from projections.catalogue import ALL
from projections.projection import Projection

projections = typer.Typer(name="projections", invoke_without_command=True, pretty_exceptions_enable=False)

Name = Annotated[str, typer.Argument(metavar="NAME", help="The projection.", show_default=False)]

_COLUMNS: Final = (
    "Name",
    "Version",
    "Code",
    "State",
    "Position ",
    "Head ",
    "Behind ",
    "Seconds ",
    "Parked at ",
    "Error",
)


@projections.callback()
def show(
    context: typer.Context,
    database_url: DatabaseUrl = None,
    home: Home = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON instead of a table.")] = False,
) -> None:
    """How every projection stands: how far it is, and the event it cannot get past, if it is parked.

    A projection is parked when an event cannot be applied to it. All before
    that event are; the other projections go on. It is tried again every few
    seconds, at once with retry, and goes on without that event after skip.

    Exit codes:

      0  none is parked
      1  one is

    Examples:

      daybook projections
      daybook projections --json
      daybook projections retry journal
      daybook projections skip journal --position 17 --reason "..." --actor ann
    """
    if context.invoked_subcommand is not None:
        return
    with database(database_url, home) as dsn, connect(dsn) as connection:
        found = builds.standings(connection)
    if as_json:
        showing.json([_as_json(standing) for standing in found])
    else:
        showing.table("Projections", _COLUMNS, [_row(standing) for standing in found])
    if any(standing.build.parked_position is not None for standing in found):
        raise typer.Exit(NO)


@projections.command()
def retry(name: Name, database_url: DatabaseUrl = None, home: Home = None) -> None:
    """Apply the event that a projection is parked at, now; if that works, whoever keeps it up goes on.

    Exit codes:

      0  it is applied
      1  it cannot be applied still, or nothing is parked
    """
    projection = _known(name)
    with database(database_url, home) as dsn:
        with connect(dsn) as connection:
            parked = [b for b in builds.every(connection) if b.name == name and b.parked_position is not None]
        if not parked:
            raise Failed(f"{name} is not parked", exit_code=NO)
        for build in parked:
            _retry(dsn, projection, build)


@projections.command()
def skip(
    name: Name,
    position: Annotated[int, typer.Option("--position", metavar="N", help="Where it is parked.", show_default=False)],
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; kept for ever.", show_default=False)],
    actor: Annotated[str, typer.Option("--actor", metavar="WHO", help="Who decides it.", show_default=False)],
    database_url: DatabaseUrl = None,
    home: Home = None,
) -> None:
    """Leave out of a projection exactly the event that it is parked at, and go on.

    The read models of that projection are then NOT the fold of the log, and
    daybook verify will say so: they lack what the event would have changed.
    Who decided it, when, why, and the error are kept in daybook.skips for ever.
    It holds for the code at hand: a build by other code, as one that can apply
    the event, tries it again. Prefer mending the cause, and retry.

    Examples:

      daybook projections skip journal --position 17 --reason "see ticket 12" --actor ann
    """
    _known(name)
    if not reason.strip() or not actor.strip():
        raise Failed("--reason and --actor must say something")
    with database(database_url, home) as dsn, connect(dsn) as connection:
        try:
            builds.skip(connection, name, position, reason=reason, actor=actor)
        except NotParked as error:
            raise Failed(str(error), exit_code=NO) from error
    typer.echo(f"{name} goes on without the event at {position}.")


def rebuild(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", show_default=False)] = None,
    every: Annotated[bool, typer.Option("--all", help="All projections.")] = False,
    database_url: DatabaseUrl = None,
    home: Home = None,
) -> None:
    """Build read models anew from the log, beside the live ones, which are read and kept up meanwhile.

    Once a new build has caught up it takes the place of the live one, in one
    db transaction, and the old one is dropped. Killed, the same command goes
    on where it was. A Daybook whose projectors' code has changed does this by
    itself when it starts.

    Exit codes:

      0  the new ones are live
      2  an event cannot be applied, or another process builds just now

    Examples:

      daybook rebuild accounts
      daybook rebuild --all
    """
    if bool(names) == every:
        raise Failed(f"say which to rebuild, or --all; there are {', '.join(p.NAME for p in ALL)}")
    wanted = list(ALL) if every else [_known(name) for name in names or ()]
    failures = []
    with database(database_url, home, migrated=True) as dsn, showing.bar("rebuilding") as progress:
        for projection, built in _rebuilt(dsn, wanted, progress).items():
            try:
                typer.echo(f"{projection} is built anew, to position {built.result()}, and live.")
            except (ProjectionFailed, BuildUnderWay) as error:
                failures.append(str(error))
            except DependentObjectsStillExist as error:
                failures.append(f"{projection} is built, and cannot take its place: {first_line(error)}")
    if failures:
        raise Failed("; ".join(failures))


def _rebuilt(dsn: str, wanted: list[Projection], progress: Progress) -> dict[str, Future[int]]:
    """All of them at the same time, from events that are read once; for each the position it is built to, or why not.

    Interrupted, they end after the batch under way, and can be gone on with.
    """
    stop, window = threading.Event(), Window()
    reached = {projection.NAME: 0 for projection in wanted}

    def watch(name: str, position: int, head: int) -> None:
        reached[name] = position
        progress.update(progress.task_ids[0], completed=min(reached.values()), total=head)

    def build(projection: Projection) -> int:
        build_beside(dsn, projection, stop=stop, window=window, on_progress=watch)
        return reached[projection.NAME]

    with collecting_rarely(), ThreadPoolExecutor(len(wanted)) as pool:
        building = {projection.NAME: pool.submit(build, projection) for projection in wanted}
        try:
            futures.wait(building.values())
        finally:
            stop.set()
    return building


def _retry(dsn: str, projection: Projection, build: Build) -> None:
    applier = Applier(dsn, projection, build=None if build.live else build)
    try:
        applier.apply()
    except ProjectionFailed as error:
        raise Failed(str(error), exit_code=NO) from error
    except Superseded as error:
        raise Failed(f"{error}: ask the Daybook that made them") from error
    finally:
        applier.close()
    typer.echo(f"{build.name} has applied the event at {build.parked_position}.")


def _known(name: str) -> Projection:
    for projection in ALL:
        if name == projection.NAME:
            return projection
    raise Failed(f"there is no projection {name}; there are {', '.join(p.NAME for p in ALL)}")


def _row(standing: Standing) -> tuple[str, ...]:
    build = standing.build
    return (
        *(build.name, f"v{build.version}", build.digest[:8], _state(build)),
        *(f"{standing.position:,}", f"{standing.head:,}", f"{standing.head - standing.position:,}"),
        *(f"{standing.lag_s:,.1f}", "-" if build.parked_position is None else f"{build.parked_position:,}"),
        build.parked_error or "-",
    )


def _state(build: Build) -> str:
    return "live" if build.live else "building"


def _as_json(standing: Standing) -> dict[str, Any]:
    build = standing.build
    parked = {"position": build.parked_position, "error": build.parked_error, "since": build.parked_at}
    return {
        "name": build.name,
        "version": build.version,
        "code": build.digest,
        "state": _state(build),
        "position": standing.position,
        "head": standing.head,
        "lag_events": standing.head - standing.position,
        "lag_seconds": round(standing.lag_s, 3),
        "parked": parked if build.parked_position is not None else None,
    }
