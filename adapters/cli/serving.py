"""`daybook serve`, `project` and `migrate`: what keeps running, and what is done before it runs.

What only a server needs is imported where it is used: a command that only looks is there in half the time.
"""

import logging
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

from adapters.cli.database import database, say
from adapters.cli.failing import Failed
from adapters.cli.settings import DatabaseUrl, Home, settings
from adapters.cli.showing import bar
from adapters.garbage import collecting_rarely
from adapters.postgres import migrate as migrations

if TYPE_CHECKING:
    import uvicorn

    from adapters.rails.wiring import Wiring

Host = Annotated[
    str | None,
    typer.Option("--host", help="The address to listen on; else DAYBOOK_HOST, else 127.0.0.1.", show_default=False),
]
Rails = Annotated[
    str | None,
    typer.Option(
        "--rails",
        metavar="FILE|URL",
        help="A TOML file of rails and routes, or a simulator's URL; else DAYBOOK_RAILS, else payments wait.",
        show_default=False,
    ),
]
Port = Annotated[
    int | None,
    typer.Option(
        "--port",
        min=0,
        max=65535,
        help="The port; else DAYBOOK_PORT, else 8080. 0 takes a free one.",
        show_default=False,
    ),
]


def serve(
    database_url: DatabaseUrl = None,
    home: Home = None,
    host: Host = None,
    port: Port = None,
    projector: Annotated[
        bool, typer.Option("--projector/--no-projector", help="Keep the read models up from this process too.")
    ] = True,
    rails: Rails = None,
) -> None:
    """Answer HTTP, until Ctrl-C or SIGTERM; what is in flight is answered first.

    Any number of these may share one database. Anyone who reaches the port
    may use it: it listens on 127.0.0.1 unless told otherwise.

    Examples:

      daybook serve
      daybook serve --port 9000
      daybook serve --database-url postgresql://daybook@db/daybook
      daybook serve --host 0.0.0.0 --no-projector
      daybook serve --rails http://127.0.0.1:8180    payments, by a simulator
    """
    _configure_logs()
    with listening(host, port) as listener, database(database_url, home, migrated=True, on_event=_log) as dsn:
        run(server(dsn, projector=projector, wiring=_wiring(rails or settings().rails)), listener)


def project(
    database_url: DatabaseUrl = None,
    home: Home = None,
    once: Annotated[
        bool, typer.Option("--once", help="Bring the read models up to the log's end, and return.")
    ] = False,
) -> None:
    """Keep the read models up with the log, until Ctrl-C or SIGTERM.

    `daybook serve` does this too, unless it is told --no-projector. Of any
    number of them one works, and another takes over when it ends; see daybook
    projections.
    """
    if once:
        _project_once(database_url, home)
        return
    from adapters.observe import logs
    from adapters.postgres.projecting import Projections

    _configure_logs()
    with database(database_url, home, migrated=True, on_event=_log) as dsn:
        projections = Projections(dsn, on_event=logs.log.warning)
        with stoppable() as stopped:
            projections.start()
            say("Projecting; Ctrl-C to stop.")
            stopped.wait()
        projections.stop()


def migrate(database_url: DatabaseUrl = None, home: Home = None) -> None:
    """Bring the database up to what this Daybook needs; safe at any time, and from several places at once."""
    with database(database_url, home) as dsn:
        applied = migrations.migrate(dsn)
    for name in applied:
        typer.echo(f"applied {name}")
    typer.echo("The database is up to date.")


def _project_once(database_url: str | None, home: Home) -> None:
    from adapters.postgres.applying import ProjectionFailed, Superseded
    from adapters.postgres.building import BuildUnderWay
    from adapters.postgres.projecting import catch_up

    with database(database_url, home, migrated=True) as dsn, bar("projecting") as progress:
        reached: dict[str, int] = {}

        def watch(name: str, position: int, head: int) -> None:
            reached[name] = position
            progress.update(progress.task_ids[0], completed=min(reached.values()), total=head)

        try:
            with collecting_rarely():
                catch_up(dsn, on_progress=watch)
        except (ProjectionFailed, Superseded, BuildUnderWay) as error:
            raise Failed(str(error)) from error
    typer.echo("The read models are up to date.")


@contextmanager
def listening(host: str | None, port: int | None) -> Iterator[socket.socket]:
    """The socket to serve on, taken before anything else is done, so that a port in use is told at once."""
    chosen = settings()
    address = (host or chosen.host, chosen.port if port is None else port)
    try:
        family = socket.getaddrinfo(*address, type=socket.SOCK_STREAM)[0][0]
        listener = socket.create_server(address, family=family, backlog=2048)
    except OSError as error:
        raise Failed(f"cannot listen on {address[0]}:{address[1]}: {error.strerror or error}") from error
    with listener:
        yield listener


def url(listener: socket.socket) -> str:
    """Where the server is found."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def server(dsn: str, *, projector: bool = True, wiring: "Wiring | None" = None) -> "uvicorn.Server":
    """The web application, ready to run."""
    from adapters.web import serve
    from adapters.web.app import Limits, create_app

    chosen = settings()
    limits = Limits(**{name: getattr(chosen, name) for name in Limits.__struct_fields__})
    app = create_app(dsn, project=projector, limits=limits, wiring=wiring)
    return serve.server(app)


def _wiring(rails: str | None) -> "Wiring | None":
    """The rails of a file or a simulator; raises Failed."""
    from adapters.rails.wiring import Misconfigured, read, simulated

    if not rails:
        return None
    try:
        return simulated(rails) if rails.startswith("http://") else read(Path(rails))
    except Misconfigured as error:
        raise Failed(str(error)) from error


def run(server: "uvicorn.Server", listener: socket.socket) -> None:
    """Serve until a signal says to stop; then answer what is in flight, and return.

    Raises:
        Failed: It could not start; why has been logged.
    """
    say(f"Listening on {url(listener)}; Ctrl-C to stop.")
    # uvicorn handles the signals, then raises them again: here that is the end of them.
    with stoppable(), collecting_rarely():
        server.run(sockets=[listener])
    if not server.started:
        raise Failed("the server did not start")


@contextmanager
def stoppable() -> Iterator[threading.Event]:
    """Within this, SIGTERM and SIGINT interrupt nothing; they set the event."""
    stopped = threading.Event()

    def stop(number: int, frame: FrameType | None) -> None:
        stopped.set()

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stopped
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _configure_logs() -> None:
    from adapters.observe import logs

    chosen = settings()
    as_text = None if chosen.log_format == "auto" else chosen.log_format == "text"
    logs.configure(level=logging.getLevelNamesMapping()[chosen.log_level.upper()], as_text=as_text)


def _log(event: str, fields: dict[str, object]) -> None:
    from adapters.observe import logs

    logs.log.info(event, **fields)
