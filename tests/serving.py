"""The real app over HTTP: in this process, or in one of its own that can be killed."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx2
import psycopg
import uvicorn

from adapters.observe import logs
from adapters.postgres.store import PostgresEventStore
from adapters.web.app import create_app
from adapters.web.serve import server
from commands.command import Command
from commands.desk import Outcome
from tests.documented import must_be_documented
from tests.ports import two_free_ports
from tests.support import asked, started

TOP = Path(__file__).parents[1]


@contextmanager
def serving(dsn: str, **options: Any) -> Iterator[str]:
    """The base URL of an app on a port of its own; `options` are those of `create_app`. Ends as SIGTERM does."""
    listener = socket.create_server(("127.0.0.1", 0))
    running = server(create_app(dsn, **options))
    thread = threading.Thread(target=_run, args=(running, listener), name="server")
    thread.start()
    try:
        until(lambda: running.started or not thread.is_alive())
        assert running.started, "the server did not start"
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        running.should_exit = True
        thread.join()
        listener.close()


def _run(running: uvicorn.Server, listener: socket.socket) -> None:
    with suppress(SystemExit):  # The app would not start; it has said why.
        running.run(sockets=[listener])


class Caller(httpx2.Client):
    """A client of one server that names itself and gives every command a key of its own.

    It holds every answer against the OpenAPI document.
    """

    def __init__(self, base_url: str) -> None:
        hooks = {"response": [must_be_documented]}
        super().__init__(base_url=base_url, headers={"Daybook-Actor": "tester"}, timeout=30, event_hooks=hooks)

    def ask(self, path: str, body: Any = None, *, key: str | None = None, **headers: str) -> httpx2.Response:
        """POST the command; a header is named with `_` for `-`."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.post(path, json=body or {}, headers={"Idempotency-Key": key or uuid.uuid4().hex, **named})

    def done(self, path: str, body: Any = None, **named: str) -> dict[str, Any]:
        """POST a command that must succeed; what it made."""
        response = self.ask(path, body, **named)
        assert response.is_success, response.text
        made: dict[str, Any] = response.json()
        return made

    def account(self, code: str, type: str = "asset", **said: Any) -> dict[str, Any]:
        """Open an account of book `main` in EUR, without an overdraft limit unless it is said."""
        given = {"book": "main", "code": code, "type": type, "currency": "EUR", "overdraft_limit": None}
        return self.done("/v1/accounts", {**given, **said})


def transfer(debit: str, credit: str, amount: int, currency: str = "EUR", **said: Any) -> dict[str, Any]:
    """The body of an entry with two postings in book `main`."""
    postings = [
        {"account": debit, "side": "debit", "amount": amount, "currency": currency},
        {"account": credit, "side": "credit", "amount": amount, "currency": currency},
    ]
    return {"book": "main", "postings": postings, **said}


def hold(account: str, destination: str, amount: int, currency: str = "EUR", **said: Any) -> dict[str, Any]:
    """The body of a hold in book `main`."""
    given = {"book": "main", "account": account, "destination": destination, "amount": amount, "currency": currency}
    return {**given, **said}


def by_daybook(dsn: str, command: Command) -> Outcome:
    """What a command of Daybook's own comes to, such as what a rail answered: put to a desk beside the server's."""

    async def put() -> Outcome:
        async with started(PostgresEventStore(dsn)) as desk:
            return await desk.submit(asked(command, actor="daybook"))

    outcome = asyncio.run(put())
    assert outcome.refusal is None, outcome.refusal
    return outcome


def head(dsn: str) -> int:
    """The log's last position."""
    with psycopg.connect(dsn) as connection:
        row = connection.execute("SELECT daybook.head()").fetchone()
        assert row is not None
        return int(row[0])


class Process:
    """A server in an OS process of its own."""

    def __init__(self, base_url: str, popen: "subprocess.Popen[str]") -> None:
        self.base_url = base_url
        self.popen = popen

    def kill(self) -> None:
        """As `kill -9`."""
        self.popen.kill()
        self.popen.wait()

    def stop(self) -> int:
        """As SIGTERM; returns the exit code."""
        self.popen.send_signal(signal.SIGTERM)
        return self.popen.wait(timeout=30)


@contextmanager
def serving_process(dsn: str, *, project: bool = True, port: int | None = None) -> Iterator[Process]:
    """A server as another OS process, ready; a fixed `port` allows one to follow another at the same address."""
    at = str(port or two_free_ports())
    command = [sys.executable, "-m", "tests.serving", at, *([] if project else ["--no-project"])]
    environment = {**os.environ, "DATABASE_URL": dsn}
    popen = subprocess.Popen(command, cwd=TOP, env=environment, stdout=subprocess.PIPE, text=True)
    assert popen.stdout is not None
    try:
        said = popen.stdout.readline()
        assert said, "the server did not start"
        base_url = f"http://127.0.0.1:{int(said)}"
        until(lambda: _ready(base_url) or popen.poll() is not None)
        assert popen.poll() is None, "the server did not start"
        yield Process(base_url, popen)
    finally:
        popen.kill()
        popen.wait()
        popen.stdout.close()


def _ready(base_url: str) -> bool:
    try:
        return httpx2.get(f"{base_url}/readyz", timeout=5).status_code == 200
    except httpx2.HTTPError:
        return False


def until(condition: Any, *, seconds: float = 30) -> None:
    """Wait until the condition holds, or fail."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


def main() -> None:
    logs.configure()
    listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
    app = create_app(os.environ["DATABASE_URL"], project="--no-project" not in sys.argv)
    print(listener.getsockname()[1], flush=True)
    server(app).run(sockets=[listener])


if __name__ == "__main__":
    main()
