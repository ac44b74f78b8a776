"""A server that kills itself, as kill -9 does, at one commit: just before it, or just after it.

`python -m tests.killing PORT SIMULATOR CARDS POSITION before|after`, DATABASE_URL in the environment: at the commit
that takes the log to POSITION or past it. After it means that nobody has heard of it, not even the server itself.
"""

import os
import signal
import socket
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager

import uvicorn

from adapters.observe import logs
from adapters.postgres import store
from adapters.rails.wiring import simulated
from adapters.web import app
from adapters.web.serve import config
from domain.ledger import Batch
from domain.ports import Writing


class Mortal(store.PostgresEventStore):
    """The store, until the log gets there."""

    position = 0
    after = False

    @contextmanager
    def writing(self, command_ids: Collection[int] = ()) -> Iterator[Writing]:
        with super().writing(command_ids) as writing:
            append = writing.append

            def appending(batch: Batch) -> None:
                ends = batch.seal.last >= self.position
                if ends and not self.after:
                    os.kill(os.getpid(), signal.SIGKILL)
                append(batch)
                if ends:
                    os.kill(os.getpid(), signal.SIGKILL)

            writing.append = appending
            yield writing


def main() -> None:
    port, simulator, cards, position, when = sys.argv[1:]
    logs.configure()
    Mortal.position, Mortal.after = int(position), when == "after"
    app.PostgresEventStore = Mortal
    listener = socket.create_server(("127.0.0.1", int(port)))
    wiring = simulated(simulator, cards=int(cards))
    print(listener.getsockname()[1], flush=True)
    uvicorn.Server(config(app.create_app(os.environ["DATABASE_URL"], wiring=wiring))).run(sockets=[listener])


if __name__ == "__main__":
    main()
