"""The runner of the read models as a process of its own: beside the API's threads it would take turns with them.

It ends with its parent however that ends, since its standard input does; it is started again when it dies. What it has
to tell comes as lines of JSON: how the projections stand, and what happened.
"""

import os
import select
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from typing import IO, Any, Final

import msgspec
from msgspec import Struct, structs

from adapters.garbage import collecting_rarely
from adapters.postgres.applying import OnEvent, silent
from adapters.postgres.projecting import Projections, Status
from projections.catalogue import ALL

TELL_S: Final = 0.2
"""How often it tells how the projections stand."""
SILENT_S: Final = 5.0
"""A process that has told nothing for so long does not run."""
GRACE_S: Final = 15.0
"""How long a stop waits for the batches under way, which are bounded themselves."""
BACKOFF_S: Final = (0.1, 5.0)
"""The first and the longest wait before a dead one is followed by another."""
LIVED_S: Final = 10.0
"""One that lived so long is followed after the first wait."""


class Standing(Struct, frozen=True, tag="standing"):
    """How the projections stand."""

    statuses: list[Status]


class News(Struct, frozen=True, tag="news"):
    """A log line: a name and fields."""

    event: str
    fields: dict[str, Any]


_hear: Final = msgspec.json.Decoder(Standing | News).decode


class Projector:
    """Keeps a process running that follows the log for all projections.

    Args:
        on_event: Takes log lines, its own and those of the process; called by a thread of ours.
    """

    def __init__(self, dsn: str, *, on_event: OnEvent = silent) -> None:
        self.up = threading.Event()
        """Set once the process has told how the projections stand."""
        self._dsn = dsn
        self._on_event = on_event
        self._stop = threading.Event()
        self._starting = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._statuses = [Status(projection.NAME, projection.VERSION) for projection in ALL]
        self._heard_at = 0.0
        self._deaths = 0
        self._thread = threading.Thread(target=self._keep, name="projector", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Let it finish the batches under way and end; returns when it has."""
        with self._starting:
            self._stop.set()
            if self._process is not None and self._process.stdin is not None:
                with suppress(OSError):  # It is gone, with what it was just being told.
                    self._process.stdin.close()
        if self._thread.ident is None:
            return
        self._thread.join(GRACE_S)
        if self._thread.is_alive() and self._process is not None:
            self._process.kill()
            self._thread.join()

    def status(self) -> list[Status]:
        """How each projection stands, as it was told last; one whose process is not heard of does not run."""
        if time.monotonic() - self._heard_at <= SILENT_S:
            return self._statuses
        error = "the projector's process is not heard of"
        return [structs.replace(status, running=False, error=error) for status in self._statuses]

    def _keep(self) -> None:
        backoff = BACKOFF_S[0]
        while not self._stop.is_set():
            began = time.monotonic()
            try:
                code: int | str = self._run()
            except OSError as error:
                code = str(error)
            if self._stop.is_set():
                return
            self._deaths += 1
            self._heard_at = 0.0
            self._on_event("projector.died", exit=code)
            backoff = BACKOFF_S[0] if time.monotonic() - began > LIVED_S else min(2 * backoff, BACKOFF_S[1])
            self._stop.wait(backoff)

    def _run(self) -> int:
        """One process from its start to its end; returns its exit code."""
        with self._starting:
            if self._stop.is_set():
                return 0
            command = [sys.executable, "-m", "adapters.projector"]
            process = self._process = subprocess.Popen(  # noqa: S603 - our own program.
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
        assert process.stdin is not None and process.stdout is not None
        try:
            # Not as an argument nor in the environment, where others on the machine may read them: it has a password.
            process.stdin.write(msgspec.json.encode(self._dsn) + b"\n")
            process.stdin.flush()
            for line in process.stdout:
                self._take(_hear(line))
        except (OSError, ValueError, msgspec.DecodeError):  # It is gone, or we are to stop; either way it ends.
            process.kill()
        finally:
            with suppress(OSError):
                process.stdin.close()
            process.stdout.close()
        return process.wait()

    def _take(self, told: Standing | News) -> None:
        match told:
            case Standing(statuses=statuses):
                more = self._deaths
                self._statuses = [structs.replace(one, restarts=one.restarts + more) for one in statuses]
                self._heard_at = time.monotonic()
                self.up.set()
            case News(event=event, fields=fields):
                self._on_event(event, **fields)


def main() -> None:
    """The process: a DSN comes in, what it has to tell goes out, until its input ends."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # They are for the parent, which answers what is in flight first.
    with open(0, "rb", buffering=0, closefd=False) as said, os.fdopen(os.dup(1), "wb", buffering=0) as telling:
        os.dup2(2, 1)  # What anybody prints is no message.
        with collecting_rarely():
            _follow(msgspec.json.decode(said.readline(), type=str), said, telling)


def _follow(dsn: str, said: IO[bytes], telling: IO[bytes]) -> None:
    taking_turns = threading.Lock()

    def tell(what: Standing | News) -> None:
        line = msgspec.json.encode(what, enc_hook=str) + b"\n"
        with taking_turns:
            telling.write(line)

    projections = Projections(dsn, on_event=lambda event, /, **fields: tell(News(event, fields)))
    projections.start()
    try:
        while not select.select([said], [], [], TELL_S)[0]:
            tell(Standing(projections.status()))
    except BrokenPipeError:
        pass
    late = threading.Timer(GRACE_S, os._exit, (1,))
    late.daemon = True
    late.start()
    projections.stop()


if __name__ == "__main__":
    main()
