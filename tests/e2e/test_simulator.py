"""The simulator's server: any rail in it over HTTP or TCP, its faults on the way back, its books to be asked for."""

import socket
import threading
import time
from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path

import httpx2
import pytest
from starlette.routing import Route

from adapters.rails.simulator.books import Books, Effect
from adapters.rails.simulator.clock import Clock
from adapters.rails.simulator.faults import Faults, Plan, Switches
from adapters.rails.simulator.reply import RailSimulator, Reply, carried_out
from adapters.rails.simulator.server import LENGTH, create_app, replying, server
from tests.simulating import Simulation, simulating, until


class Echo(RailSimulator):
    """A rail that takes any message for a request id and says it back; a second time, from its books."""

    rail = "echo"
    said: Sequence[bytes] = ()

    def answer(self, message: bytes) -> Reply:
        return carried_out(self.faults.plan(self.rail), lambda: self._act(message.decode()))

    def settlement(self, day: date, route: str = "") -> bytes:
        return b"\n".join(effect.request_id.encode() for effect in self.books.effects(self.rail) if effect.day == day)

    def due(self) -> Sequence[bytes]:
        said, self.said = self.said, ()
        return said

    def _act(self, request_id: str) -> bytes:
        if self.books.find(self.rail, request_id) is None:
            self.said = (*self.said, request_id.encode())
            now = self.clock.now()
            self.books.record(
                Effect(
                    rail=self.rail,
                    request_id=request_id,
                    operation="collect",
                    amount=100,
                    currency="EUR",
                    outcome="approved",
                    code="00",
                    reference=request_id,
                    at=now,
                    day=now.date(),
                )
            )
        return f"done {request_id}".encode()


class Loud(Echo):
    """The same over TCP, with a route of its own that keeps what it hears."""

    rail = "loud"
    framed = True

    def __init__(self, books: Books, faults: Faults, clock: Clock) -> None:
        super().__init__(books, faults, clock)
        self.heard: list[bytes] = []

    def routes(self) -> Sequence[Route]:
        return [Route("/loud/more", replying(self._hear), methods=["POST"])]

    def _hear(self, message: bytes) -> Reply:
        self.heard.append(message)
        return Reply(body=message.upper())


class Playing:
    """The server in this process, and what it plays upon."""

    def __init__(self, file: Path) -> None:
        self.books = Books(file)
        self.faults = Faults(1)
        clock = Clock()
        self.echo = Echo(self.books, self.faults, clock)
        self.loud = Loud(self.books, self.faults, clock)
        simulators: dict[str, RailSimulator] = {"echo": self.echo, "loud": self.loud}
        self._http, self._tcp = (socket.create_server(("127.0.0.1", 0)) for _ in range(2))
        self._server = server(create_app(simulators, self.books, self.faults, clock, framed=self._tcp))
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [self._http]})
        self._thread.start()
        until(lambda: self._server.started)
        self.client = httpx2.Client(base_url=f"http://127.0.0.1:{self._http.getsockname()[1]}", timeout=0.5)

    def connect(self) -> socket.socket:
        connection = socket.create_connection(self._tcp.getsockname())
        connection.settimeout(0.5)
        return connection

    def end(self) -> None:
        self.client.close()
        self._server.should_exit = True
        self._thread.join()
        self._tcp.close()
        self.books.__exit__()

    def kept(self) -> list[str]:
        return [effect.request_id for effect in self.books.effects()]


@pytest.fixture
def playing(tmp_path: Path) -> Iterator[Playing]:
    found = Playing(tmp_path / "books.jsonl")
    try:
        yield found
    finally:
        found.end()


def ask(connection: socket.socket, *messages: str) -> None:
    for message in messages:
        connection.sendall(LENGTH.pack(len(message)) + message.encode())


def heard(connection: socket.socket) -> str:
    """The next message; EOFError when the connection was closed."""
    head = connection.recv(2)
    if not head:
        raise EOFError
    return connection.recv(LENGTH.unpack(head)[0]).decode()


def test_a_message_over_http(playing: Playing) -> None:
    """
    It is answered, kept, counted, and in the settlement file of its day.
    """
    assert playing.client.post("/echo", content="r1").text == "done r1"
    assert playing.client.post("/echo", content="r1").text == "done r1"

    (effect,) = playing.client.get("/books").json()
    (totals,) = playing.client.get("/books/totals").json()
    assert (effect["request_id"], effect["amount"]) == ("r1", 100)
    assert (totals["rail"], totals["count"], totals["amount"]) == ("echo", 1, 100)
    assert playing.client.get("/books?rail=loud").json() == []
    assert playing.client.get(f"/settlement/echo/{effect['day']}").content == b"r1"
    assert playing.client.get("/settlement/echo/1999-01-01").content == b""


@pytest.mark.parametrize(
    ("switches", "failure", "kept"),
    [
        ('{"outage": 1.0}', httpx2.RemoteProtocolError, []),
        ('{"drop_before": 1.0}', httpx2.ReadTimeout, []),
        ('{"drop_after": 1.0}', httpx2.ReadTimeout, ["r1"]),
        ('{"late": 1.0}', httpx2.ReadTimeout, ["r1"]),
        ('{"latency_s": 2}', httpx2.ReadTimeout, ["r1"]),
    ],
)
def test_no_answer_over_http(playing: Playing, switches: str, failure: type[Exception], kept: list[str]) -> None:
    """
    Each fault is what its name says: the connection is closed or silent, with or without an effect; and it ends.
    """
    playing.client.put("/faults/echo", content=switches).raise_for_status()

    with pytest.raises((failure, httpx2.ReadError) if failure is httpx2.RemoteProtocolError else failure):
        playing.client.post("/echo", content="r1")

    assert playing.kept() == kept
    playing.client.put("/faults/echo", content="{}").raise_for_status()
    assert playing.client.post("/echo", content="r1").text == "done r1"
    assert playing.kept() == ["r1"]


def test_messages_over_tcp(playing: Playing) -> None:
    """
    Messages follow one another on a connection; a late answer comes after a prompt one, a duplicate twice.
    """
    with playing.connect() as connection:
        ask(connection, "r1", "r2")
        assert [heard(connection), heard(connection)] == ["done r1", "done r2"]
        playing.client.put("/faults/loud", content='{"late": {"next": 1}, "late_s": 0.2}')
        ask(connection, "r3", "r4")
        assert [heard(connection), heard(connection)] == ["done r4", "done r3"]
        playing.client.put("/faults/loud", content='{"duplicate": {"next": 1}}')
        ask(connection, "r5")
        assert [heard(connection), heard(connection)] == ["done r5", "done r5"]
        playing.client.put("/faults/loud", content='{"drop_after": {"next": 1}}')
        ask(connection, "r6", "r7")
        assert heard(connection) == "done r7"
        playing.client.put("/faults/loud", content='{"outage": {"next": 1}}')
        ask(connection, "r8")
        with pytest.raises((EOFError, ConnectionError)):
            heard(connection)

    assert playing.kept() == [f"r{number}" for number in range(1, 8)]
    assert playing.client.post("/loud", content="r9").status_code == 404
    assert playing.client.post("/loud/more", content="more").text == "MORE"


def test_what_a_rail_says_by_itself(playing: Playing) -> None:
    """
    It is posted where that was asked for; what nobody hears is lost, and hinders nothing.
    """
    playing.client.put("/callbacks/echo", json={"url": "http://127.0.0.1:1/"}).raise_for_status()
    playing.client.post("/echo", content="unheard")
    until(lambda: not playing.echo.said)

    listener = str(playing.client.base_url.join("/loud/more"))
    playing.client.put("/callbacks/echo", json={"url": listener}).raise_for_status()
    playing.client.post("/echo", content="r1")
    playing.client.post("/echo", content="r2")

    until(lambda: playing.loud.heard == [b"r1", b"r2"])


def test_what_cannot_be_asked(playing: Playing) -> None:
    """
    An unknown rail is 404; switches, days and advances that make no sense are 400, and change nothing.
    """
    client = playing.client

    assert client.post("/nothing", content="r1").status_code == 404
    assert client.put("/faults/nothing", content="{}").status_code == 404
    assert client.put("/callbacks/nothing", json={"url": ""}).status_code == 404
    assert client.put("/faults/echo", content='{"outage": 2}').status_code == 400
    assert client.put("/faults/echo", content="x").status_code == 400
    assert client.get("/settlement/echo/tomorrow").status_code == 400
    assert client.post("/advance", json={"days": 0}).status_code == 400
    assert client.get("/faults").json() == []


def test_faults_are_shown(playing: Playing) -> None:
    """
    The switches are shown as they stand, by rail and route.
    """
    playing.client.put("/faults/echo", params={"route": "a bank"}, content='{"decline": {"next": 3}}')

    (shown,) = playing.client.get("/faults").json()

    assert (shown["rail"], shown["route"], shown["switches"]["decline"]) == ("echo", "a bank", {"next": 3})
    assert playing.faults.plan("echo", "a bank") == Plan(decline=True, late_s=Switches().late_s)


def test_the_clock_is_moved(playing: Playing) -> None:
    """
    After an advance of 30 days, what is done settles 30 days later.
    """
    before = date.fromisoformat(playing.client.get("/now").json()["now"][:10])

    playing.client.post("/advance", json={"days": 30}).raise_for_status()
    playing.client.post("/echo", content="r1")

    (effect,) = playing.client.get("/books").json()
    assert (date.fromisoformat(effect["day"]) - before).days in (30, 31)


@pytest.fixture
def simulation(tmp_path: Path) -> Iterator[Simulation]:
    with simulating(tmp_path / "books.jsonl") as found:
        yield found


def test_the_command(simulation: Simulation) -> None:
    """
    `daybook simulate` says where each rail is, keeps its books to itself, and ends at SIGTERM with exit code 0.
    """
    assert simulation.effects() == []
    assert all(where.startswith(("http://", "tcp://")) for where in simulation.rails.values())
    other = Simulation(simulation.books)
    with pytest.raises(AssertionError, match="kept by another process"):
        other.start()

    begun = time.monotonic()
    assert simulation.end() == 0
    assert time.monotonic() - begun < 10

    simulation.start()
    simulation.kill()
    simulation.start()
    assert simulation.effects() == []


def test_who_asks_and_is_gone(simulation: Simulation) -> None:
    """
    A message of which only a part came, of somebody killed meanwhile, does nothing and is no fault of the simulator's.
    """
    host, port = simulation.http.removeprefix("http://").split(":")
    for _ in range(20):
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(b"POST /upi HTTP/1.1\r\nHost: simulator\r\nContent-Length: 1000\r\n\r\n{")
            time.sleep(0.02)

    assert simulation.effects() == []
    assert simulation.end() == 0
