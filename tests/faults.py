"""What breaks things on purpose: a proxy that loses replies, a Postgres to kill; and clients that keep a log of it."""

import json
import os
import shutil
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, NamedTuple

import httpx2
import psutil
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from adapters.embedded_postgres import Server, running
from adapters.postgres.migrate import migrate
from tests.serving import Caller
from tests.support import Books

COMMITTED: Final = b"C\x00\x00\x00\x0bCOMMIT\x00"
"""The server's message that a COMMIT is complete. Source: PostgreSQL, Message Formats, CommandComplete."""


class Proxy:
    """Stands between a client and Postgres. Armed with a fault, it cuts the next connection that comes to that point.

    Faults: `append` (before the batch is forwarded), `commit` (before COMMIT is forwarded), `reply` (after the server
    has committed, before its reply is delivered), `silence` (there too, but nothing is cut: nothing comes any more).
    """

    def __init__(self, dsn: str) -> None:
        self._server = conninfo_to_dict(dsn)
        self._listener = socket.create_server(("127.0.0.1", 0))
        address = {"host": "127.0.0.1", "port": self._listener.getsockname()[1], "hostaddr": None}
        self.dsn = make_conninfo(dsn, sslmode="disable", gssencmode="disable", **address)
        self.fault = ""
        self.refusing = False
        self.then_refuse = False
        self.cuts = 0
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()
        self.cut_all()

    def cut_all(self) -> None:
        """As a network that is gone."""
        for pair in self._pairs:
            _shut(*pair)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self.refusing:
                client.close()
                continue
            server = self._connected()
            self._pairs.append((client, server))
            for source, sink, points in (
                (client, server, {"append": b"daybook.append(", "commit": b"COMMIT\x00"}),
                (server, client, {"reply": COMMITTED, "silence": COMMITTED}),
            ):
                threading.Thread(target=self._pump, args=(source, sink, points), daemon=True).start()

    def _connected(self) -> socket.socket:
        host, port = str(self._server.get("host") or "/tmp"), str(self._server.get("port") or 5432)
        if host.startswith("/"):
            server = socket.socket(socket.AF_UNIX)
            server.connect(f"{host}/.s.PGSQL.{port}")
            return server
        return socket.create_connection((host, int(port)))

    def _pump(self, source: socket.socket, sink: socket.socket, points: dict[str, bytes]) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 16):
                point = points.get(self.fault)
                if point is not None and point in data:
                    self._strike(source)
                    break
                sink.sendall(data)
        _shut(source, sink)

    def _strike(self, source: socket.socket) -> None:
        fault, self.fault = self.fault, ""
        self.refusing = self.then_refuse
        self.cuts += 1
        while fault == "silence" and source.recv(1 << 16):
            pass


def _shut(*ends: socket.socket) -> None:
    for end in ends:
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
            end.close()


@contextmanager
def proxy(dsn: str) -> Iterator[Proxy]:
    between = Proxy(dsn)
    try:
        yield between
    finally:
        between.close()


@contextmanager
def own_postgres() -> Iterator[Server]:
    """A migrated server that nobody else uses, in a folder with a path short enough for a socket."""
    top = Path(tempfile.mkdtemp(prefix="daybook-test-"))
    try:
        with running(top / "home") as server:
            migrate(server.dsn)
            yield server
    finally:
        shutil.rmtree(top, ignore_errors=True)


def processes(server: Server) -> list[psutil.Process]:
    """The postmaster and all it has started."""
    postmaster = psutil.Process(server.pid)
    return [postmaster, *postmaster.children(recursive=True)]


Request = tuple[str, dict[str, Any]]
"""A path and a body."""


class Intent(NamedTuple):
    """A command that a client has resolved to send, and the status and code it was answered with, if it was."""

    path: str
    body: dict[str, Any]
    status: int | None
    code: str


class Client:
    """Sends one command after the other under keys of its own, and keeps a log that survives it.

    An intent is on disk before it is sent, an answer after it came.
    """

    def __init__(
        self, base_url: str, log: Path, name: str, command: Callable[[int], tuple[str, dict[str, Any]]]
    ) -> None:
        self._base_url = base_url
        self._log = log
        self._name = name
        self._command = command
        self._done = threading.Event()
        self.answered = 0
        self._thread = threading.Thread(target=self._run, name=name)
        self._thread.start()

    def finish(self) -> None:
        self._done.set()
        self._thread.join()

    def _run(self) -> None:
        number = 0
        with self._log.open("a", encoding="utf-8") as log, Caller(self._base_url) as caller:
            while not self._done.is_set():
                path, body = self._command(number)
                key = f"{self._name}-{number}"
                _write(log, {"key": key, "path": path, "body": body})
                try:
                    response = caller.ask(path, body, key=key)
                except httpx2.HTTPError:
                    self._done.wait(0.05)  # Whoever serves is gone; it may come back.
                else:
                    _write(log, {"key": key, "status": response.status_code, "code": _code(response)})
                    self.answered += 1
                number += 1


def _write(log: Any, line: dict[str, Any]) -> None:
    log.write(json.dumps(line) + "\n")
    log.flush()
    os.fdatasync(log.fileno())


def _code(response: httpx2.Response) -> str:
    return "" if response.is_success else str(response.json()["code"])


def intents(folder: Path) -> dict[str, Intent]:
    """What all clients resolved to send, by key, from their logs."""
    found: dict[str, Intent] = {}
    for file in sorted(folder.glob("*.log")):
        for line in map(json.loads, file.read_text("utf-8").splitlines()):
            key = line["key"]
            if "path" in line:
                found[key] = Intent(line["path"], line["body"], None, "")
            else:
                found[key] = found[key]._replace(status=line["status"], code=line["code"])
    return found


NOT_LOOKED_AT: Final = {"unavailable", "overloaded", "stopping"}
"""Codes that say: nothing was applied, and the key is unused."""


class Reconciled(NamedTuple):
    """How many commands were acknowledged, refused for good, not looked at, and of unknown outcome."""

    acknowledged: int
    refused: int
    not_applied: int
    unknown: int


def reconcile(found: dict[str, Intent], stored: Callable[[], Books], base_url: str) -> Reconciled:
    """Hold what clients were told against what is stored; then ask again about what they were not told.

    Acknowledged: exactly once. Refused: kept as a refusal, and nothing else. Not looked at: not at all. Unknown: at
    most once; and asked again with the same key, exactly once, or refused.
    """
    books = stored()
    books.check()
    left = {key: [event.name for event in events] for key, events in books.by_key().items()}
    unknown = []
    counts = {"acknowledged": 0, "refused": 0, "not_applied": 0}
    for key, intent in found.items():
        names = left.get(key, [])
        if intent.status is None or intent.code == "outcome_unknown":
            assert len(names) <= 1, (key, intent, names)
            unknown.append(key)
        elif intent.status == 201:
            assert names == ["journal_entry.posted.v1"], (key, intent, names)
            counts["acknowledged"] += 1
        elif intent.status == 503:
            assert intent.code in NOT_LOOKED_AT, intent
            assert names == [], (key, intent, names)
            counts["not_applied"] += 1
        else:
            assert intent.status in (404, 409, 422), (key, intent)
            assert names == ["command.refused.v1"], (key, intent, names)
            counts["refused"] += 1
    strangers = {key for key in left if key not in found and key.startswith("client-")}
    assert not strangers
    with Caller(base_url) as caller:
        for key in unknown:
            response = caller.ask(found[key].path, found[key].body, key=key)
            assert response.status_code in (201, 422), response.text
            if key in left:
                assert response.headers["idempotency-replayed"] == "true"
    left_now = {key: [event.name for event in events] for key, events in stored().by_key().items()}
    assert all(len(left_now[key]) == 1 for key in unknown)
    stored().check()
    return Reconciled(**counts, unknown=len(unknown))
