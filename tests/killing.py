"""A server that kills itself, as kill -9 does, at one commit: just before it, or just after it.

`python -m tests.killing PORT SIMULATOR CARDS POSITION before|after`, DATABASE_URL in the environment: at the commit
that takes the log to POSITION or past it. After it means that nobody has heard of it, not even the server itself.
"""

import os
import signal
import socket
import sys

import uvicorn

from adapters.observe import logs
from adapters.postgres.store import PostgresWriting
from adapters.rails.wiring import simulated
from adapters.web.app import create_app
from adapters.web.serve import config
from domain.ledger import Batch


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


def main() -> None:
    port, simulator, cards, position, when = sys.argv[1:]
    logs.configure()
    Mortal.position, Mortal.after = int(position), when == "after"
    sys.modules["adapters.postgres.store"].__dict__["PostgresWriting"] = Mortal
    sys.modules["adapters.paying"].__dict__.update(LEFT_ALONE_S=0.2, LOOK_S=0.2)  # There is no other process.
    sys.modules["adapters.settling"].__dict__.update(LOOK_S=0.3)
    listener = socket.create_server(("127.0.0.1", int(port)))
    app = create_app(os.environ["DATABASE_URL"], wiring=simulated(simulator, cards=int(cards)))
    print(listener.getsockname()[1], flush=True)
    uvicorn.Server(config(app)).run(sockets=[listener])


if __name__ == "__main__":
    main()
