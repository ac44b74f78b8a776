"""A real `daybook simulate`, in a process of its own that can be killed and started again upon the same books."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2

from tests.ports import two_free_ports

TOP = Path(__file__).parents[1]


class Simulation:
    """The process. `http`: where HTTP is spoken; `rails`: where each rail is found."""

    def __init__(self, books: Path, *, seed: int = 1) -> None:
        self.books = books
        self._seed = seed
        self._port = two_free_ports()
        self._popen: subprocess.Popen[str] | None = None
        self.http = ""
        self.rails: dict[str, str] = {}

    def start(self) -> None:
        """Start it, upon what it kept before, at the address it had."""
        given = ["--port-base", str(self._port), "--books", str(self.books), "--seed", str(self._seed)]
        command = [sys.executable, "-m", "adapters.cli", "simulate", *given]
        popen = subprocess.Popen(command, cwd=TOP, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self._popen = popen
        assert popen.stdout is not None and popen.stderr is not None
        said = popen.stderr.readline()
        if not said.startswith("Simulating"):
            self._close()
        assert said.startswith("Simulating"), said
        os.set_blocking(popen.stdout.fileno(), False)
        self.rails = dict(line.split() for line in popen.stdout)
        self.http = self.rails.pop("http")
        until(self._answers)

    def kill(self) -> None:
        """As `kill -9`."""
        self.end(signal.SIGKILL)

    def end(self, number: int = signal.SIGTERM) -> int:
        """Its exit code; what it said meanwhile must be nothing."""
        assert self._popen is not None
        self._popen.send_signal(number)
        code = self._popen.wait(timeout=30)
        complaints = self._close()
        assert complaints == ""
        return code

    def _close(self) -> str:
        assert self._popen is not None and self._popen.stdout is not None and self._popen.stderr is not None
        self._popen.wait(timeout=30)
        complaints = self._popen.stderr.read()
        self._popen.stdout.close()
        self._popen.stderr.close()
        self._popen = None
        return complaints

    def switch(self, rail: str, route: str = "", **switches: Any) -> None:
        """These faults from now on, for the rail or one route of it; without any, none."""
        path = f"{self.http}/faults/{rail}"
        httpx2.put(path, params={"route": route} if route else {}, json=switches).raise_for_status()

    def effects(self, rail: str = "") -> list[dict[str, Any]]:
        """Its own books."""
        found: list[dict[str, Any]] = self.get("/books", **({"rail": rail} if rail else {})).json()
        return found

    def get(self, path: str, **params: str) -> httpx2.Response:
        return httpx2.get(f"{self.http}{path}", params=params).raise_for_status()

    def put(self, path: str, body: Any) -> httpx2.Response:
        return httpx2.put(f"{self.http}{path}", json=body).raise_for_status()

    def advance(self, days: int) -> None:
        httpx2.post(f"{self.http}/advance", json={"days": days}).raise_for_status()

    @property
    def running(self) -> bool:
        return self._popen is not None

    def _answers(self) -> bool:
        try:
            return httpx2.get(f"{self.http}/now").is_success
        except httpx2.TransportError:
            return False


@contextmanager
def simulating(books: Path, *, seed: int = 1) -> Iterator[Simulation]:
    """A simulator that runs, with books in that file."""
    simulation = Simulation(books, seed=seed)
    simulation.start()
    try:
        yield simulation
    finally:
        if simulation.running:
            simulation.kill()


def until(condition: Callable[[], bool], *, seconds: float = 30) -> None:
    """Wait until the condition holds, or fail. Unlike the one in `tests.serving`, it needs no application."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)
