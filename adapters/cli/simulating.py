"""`daybook simulate`: the other side of every rail, in a process of its own."""

import socket
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from adapters.cli.database import say
from adapters.cli.failing import Failed
from adapters.cli.serving import stoppable

if TYPE_CHECKING:
    import uvicorn

HOST = "127.0.0.1"


def simulate(
    port_base: Annotated[
        int,
        typer.Option("--port-base", min=0, max=65534, help="HTTP listens here, the cards one above. 0: on free ports."),
    ] = 8180,
    books: Annotated[
        Path,
        typer.Option("--books", metavar="FILE", help="Where the rails keep their books; made if it is not there."),
    ] = Path("simulator.jsonl"),
    seed: Annotated[int, typer.Option("--seed", help="Of the dice that faults are thrown with.")] = 1,
    with_stdin: Annotated[
        bool, typer.Option("--with-stdin", help="End when standard input does, as with whoever started it.")
    ] = False,
) -> None:
    """Play the rails: card network, ACH, wire and UPI, for payments that move no money. Until Ctrl-C or SIGTERM.

    It keeps books of its own, which survive whatever becomes of the process.
    Where it listens is printed. Anyone on this machine may use it, and make
    it slow, deaf, forgetful or absent:

      curl localhost:8180/books/totals
      curl -X PUT localhost:8180/faults/upi -d '{"drop_after": {"next": 1}}'
      curl -X PUT localhost:8180/faults/card -d '{"outage": 1.0}'
      curl -X PUT localhost:8180/faults/card -d '{}'
      curl -X PUT localhost:8180/faults/card -d '{"dispute": 1.0}'
      curl localhost:8180/settlement/upi/2026-03-02
      curl localhost:8180/advance -d '{"days": 1}'

    Examples:

      daybook simulate
      daybook simulate --port-base 9000 --books rails.jsonl --seed 7
    """
    from adapters.rails.simulator.books import Books, BooksDamaged, BooksInUse
    from adapters.rails.simulator.clock import Clock
    from adapters.rails.simulator.faults import Faults
    from adapters.rails.simulator.server import create_app, rails, server

    try:
        kept = Books(books)
    except (BooksDamaged, BooksInUse, OSError) as error:
        raise Failed(str(error)) from error
    with kept, _listening(port_base) as http, _listening(port_base and port_base + 1) as tcp:
        clock = Clock(not_before=kept.latest)
        faults = Faults(seed)
        simulators = rails(kept, faults, clock)
        running = server(create_app(simulators, kept, faults, clock, framed=tcp))
        typer.echo(f"http http://{HOST}:{http.getsockname()[1]}")
        for name, simulator in simulators.items():
            where = f"http://{HOST}:{http.getsockname()[1]}/{name}"
            typer.echo(f"{name} {f'tcp://{HOST}:{tcp.getsockname()[1]}' if simulator.framed else where}")
        say(f"Simulating, with the books in {books}; Ctrl-C to stop.")
        if with_stdin:
            threading.Thread(target=_end_with_stdin, args=(running,), daemon=True).start()
        with stoppable():
            running.run(sockets=[http])
    if not running.started:
        raise Failed("the simulator did not start")


def _end_with_stdin(running: "uvicorn.Server") -> None:
    sys.stdin.buffer.read()
    running.should_exit = True


def _listening(port: int) -> socket.socket:
    try:
        return socket.create_server((HOST, port), backlog=2048)
    except OSError as error:
        raise Failed(f"cannot listen on {HOST}:{port}: {error.strerror or error}") from error
