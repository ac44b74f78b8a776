"""A server that kills itself, as kill -9 does, at one commit: just before it, or just after it.

After it means that nobody has heard of it, not even the server itself. Each is an OS process of its own, forked from
one that has imported everything, since tests start hundreds of them.
"""

import multiprocessing
import os
import signal
import socket
import sys
from typing import Final

from adapters.observe import logs
from adapters.postgres.store import PostgresWriting
from adapters.rails.wiring import simulated
from adapters.web.app import create_app
from adapters.web.serve import server
from domain.ledger import Batch
from tests.simulating import Simulation

NEVER: Final = 10**9

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload([__name__])


class Mortal(PostgresWriting):
    """What takes over from the store's own."""

    position = 0
    after = False

    def append(self, batch: Batch) -> None:
        ends = batch.seal.last >= self.position
        if ends and not self.after:
            os.kill(os.getpid(), signal.SIGKILL)
        super().append(batch)
        if ends:
            os.kill(os.getpid(), signal.SIGKILL)


Server = multiprocessing.context.ForkServerProcess


def mortal(dsn: str, simulation: Simulation, *, port: int, position: int = NEVER, after: bool = True) -> Server:
    """A server on that port, soon, with the simulator's rails, which dies at the commit that reaches the position."""
    cards = int(simulation.rails["card"].rpartition(":")[2])
    server = _CONTEXT.Process(target=_serve, args=(dsn, port, simulation.http, cards, position, after), daemon=True)
    server.start()
    return server


def _serve(dsn: str, port: int, simulator: str, cards: int, position: int, after: bool) -> None:
    logs.configure()
    Mortal.position, Mortal.after = position, after
    sys.modules["adapters.postgres.store"].__dict__["PostgresWriting"] = Mortal
    sys.modules["adapters.paying"].__dict__.update(LEFT_ALONE_S=0.2, LOOK_S=0.2)  # There is no other process.
    sys.modules["adapters.settling"].__dict__.update(LOOK_S=0.3)
    listener = socket.create_server(("127.0.0.1", port))
    server(create_app(dsn, wiring=simulated(simulator, cards=cards))).run(sockets=[listener])
