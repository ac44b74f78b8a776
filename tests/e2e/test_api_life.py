"""The server's life over HTTP: callers that leave, stops, floods, stalls, a database away; health and metrics."""

import asyncio
import re
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from itertools import count
from typing import Any

import httpx2
import psycopg
import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from structlog.testing import capture_logs

from adapters.postgres.migrate import MigrationError
from adapters.web import serve
from adapters.web.app import Limits, must_be_migrated
from tests.serving import TOP, Caller, head, serving, serving_process, transfer, until

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@contextmanager
def locked(dsn: str) -> Iterator[None]:
    """Nothing is appended to the log within this."""
    with psycopg.connect(dsn) as connection:
        connection.execute("SELECT daybook.lock_log()")
        yield


def is_waited_for(dsn: str) -> bool:
    """Whether somebody waits for the log's lock."""
    with psycopg.connect(dsn) as connection:
        row = connection.execute(
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
            " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        ).fetchone()
        return row is not None and row[0] > 0


def wire(key: str, code: str) -> bytes:
    """A command, opening a book, as it goes over the wire."""
    body = b'{"code": "%s"}' % code.encode()
    return (
        b"POST /v1/books HTTP/1.1\r\nHost: x\r\nDaybook-Actor: x\r\nContent-Type: application/json\r\n"
        b"Idempotency-Key: %s\r\nContent-Length: %d\r\n\r\n" % (key.encode(), len(body))
    ) + body


def dialled(base_url: str) -> socket.socket:
    host, port = base_url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=20)


def test_a_caller_that_leaves(database: str) -> None:
    """
    A caller that closes its connection right after asking, or resets it while the command is decided, neither undoes
    nor half-does it: it is done once, and its answer is had with the same key.
    """
    reset = struct.pack("ii", 1, 0)
    with serving(database, project=False) as base_url, Caller(base_url) as caller:
        for n in range(20):
            with dialled(base_url) as connection:
                connection.sendall(wire(f"close-{n}", f"close-{n}"))
        until(lambda: head(database) == 20)
        with locked(database):
            for n in range(20):
                with dialled(base_url) as connection:
                    connection.sendall(wire(f"reset-{n}", f"reset-{n}"))
                    time.sleep(0.01)
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
        until(lambda: head(database) == 40)

        again = [
            caller.ask("/v1/books", {"code": f"{how}-{n}"}, key=f"{how}-{n}", daybook_actor="x")
            for how in ("close", "reset")
            for n in range(20)
        ]

        assert {(answer.status_code, answer.headers["idempotency-replayed"]) for answer in again} == {(201, "true")}
        assert head(database) == 40


def test_a_key_in_flight(database: str) -> None:
    """
    The same key while its command is being decided is told to wait, whatever it asks; then it has the answer.
    """
    with (
        serving(database, project=False) as base_url,
        Caller(base_url) as caller,
        ThreadPoolExecutor() as pool,
    ):
        with locked(database):
            first = pool.submit(caller.ask, "/v1/books", {"code": "b"}, key="k")
            until(lambda: is_waited_for(database))
            second = caller.ask("/v1/books", {"code": "b"}, key="k")
            other = caller.ask("/v1/books", {"code": "b", "title": "other"}, key="k")
        answer = first.result()
        third = caller.ask("/v1/books", {"code": "b"}, key="k")

    assert answer.status_code == 201
    for refused in (second, other):
        assert (refused.status_code, refused.json()["code"]) == (409, "idempotency_key_in_flight")
        assert refused.json()["transient"]
        assert refused.headers["retry-after"] == "1"
    assert (third.status_code, third.content) == (201, answer.content)


def test_a_full_queue(database: str) -> None:
    """
    Past what may wait, a command is sent away at once with its key unused; whoever waited is served.
    """
    with (
        serving(database, project=False, limits=Limits(queue_max=3)) as base_url,
        Caller(base_url) as caller,
        ThreadPoolExecutor(8) as pool,
    ):
        with locked(database):
            first = pool.submit(caller.ask, "/v1/books", {"code": "first"})
            until(lambda: is_waited_for(database))
            waiting = [pool.submit(caller.ask, "/v1/books", {"code": f"b{n}"}) for n in range(3)]
            until(lambda: caller.get("/readyz").json()["desk"]["queued"] == 3)
            began = time.monotonic()
            sent_away = caller.ask("/v1/books", {"code": "late"}, key="k")
            took = time.monotonic() - began
        answers = [first.result(), *(future.result() for future in waiting)]
        later = caller.ask("/v1/books", {"code": "late"}, key="k")

    assert (sent_away.status_code, sent_away.json()["code"]) == (503, "overloaded")
    assert sent_away.json()["transient"]
    assert sent_away.headers["retry-after"] == "1"
    assert took < 1
    assert {answer.status_code for answer in answers} == {201}
    assert (later.status_code, later.headers.get("idempotency-replayed")) == (201, None)


def test_waiting_too_long(database: str) -> None:
    """
    Whoever was not taken up in time is told so for certain; whoever was taken up is told that it is not known yet.
    """
    with (
        serving(database, project=False, limits=Limits(patience_s=0.5)) as base_url,
        Caller(base_url) as caller,
        ThreadPoolExecutor() as pool,
    ):
        with locked(database):
            taken = pool.submit(caller.ask, "/v1/books", {"code": "taken"}, key="taken")
            until(lambda: is_waited_for(database))
            queued = pool.submit(caller.ask, "/v1/books", {"code": "queued"}, key="queued")
            answers = [taken.result(), queued.result()]
        until(lambda: head(database) == 1)
        again = [caller.ask("/v1/books", {"code": key}, key=key) for key in ("taken", "queued")]

    assert [answer.status_code for answer in answers] == [503, 503]
    assert [answer.json()["code"] for answer in answers] == ["outcome_unknown", "overloaded"]
    assert answers[0].json()["detail"] == "Ask again with the same key."
    assert [answer.headers.get("idempotency-replayed") for answer in again] == ["true", None]


def test_a_stop_answers_what_is_in_flight(database: str) -> None:
    """
    A server told to stop answers every command it has taken, and takes no more.
    """
    with ThreadPoolExecutor(11) as pool:
        with serving_process(database, project=False) as process, Caller(process.base_url) as caller:
            with locked(database):
                asked = [pool.submit(caller.ask, "/v1/books", {"code": "first"})]
                until(lambda: is_waited_for(database))
                asked += [pool.submit(caller.ask, "/v1/books", {"code": f"b{n}"}) for n in range(9)]
                until(lambda: caller.get("/readyz").json()["desk"]["queued"] == 9)
                stopped = pool.submit(process.stop)
                until(lambda: not accepts(process.base_url))
            code = stopped.result()
        answers = [future.result() for future in asked]

    assert {answer.status_code for answer in answers} == {201}
    assert head(database) == 10
    assert code in (0, -15)


def accepts(base_url: str) -> bool:
    try:
        dialled(base_url).close()
    except ConnectionRefusedError:
        return False
    return True


def test_a_kill_loses_nothing_acknowledged(database: str) -> None:
    """
    What was answered before a kill -9 is there after it, under the same address and key.
    """
    with serving_process(database) as process, Caller(process.base_url) as caller:
        first = [caller.ask("/v1/books", {"code": f"b{n}"}, key=f"k{n}") for n in range(5)]
        process.kill()
    port = int(process.base_url.rpartition(":")[2])

    with serving_process(database, port=port) as process, Caller(process.base_url) as caller:
        again = [caller.ask("/v1/books", {"code": f"b{n}"}, key=f"k{n}") for n in range(5)]

    assert [answer.content for answer in again] == [answer.content for answer in first]
    assert head(database) == 5


def test_bodies_as_large_as_is_set(database: str) -> None:
    """
    A process takes bodies, and batches, up to the size that it was told, and says which that is.
    """
    headers = {"Idempotency-Key": "k", "Content-Type": "application/json"}
    limits = Limits(body_bytes_max=2000, batch_body_bytes_max=3000)
    with serving(database, project=False, limits=limits) as base_url, Caller(base_url) as caller:
        for path, most in (("/v1/books", 2000), ("/v1/batches", 3000)):
            within, beyond = (caller.post(path, content=b" " * n, headers=headers) for n in (most, most + 1))
            assert (within.status_code, within.json()["code"]) == (400, "json_malformed")
            assert (beyond.status_code, beyond.json()["code"]) == (413, "body_too_large")
            assert f"{most} bytes" in beyond.json()["title"]


def test_a_body_that_stalls(database: str) -> None:
    """
    A body that does not come to its end is waited for so long and no longer.
    """
    with serving(database, project=False, limits=Limits(body_patience_s=0.3)) as base_url:
        with dialled(base_url) as connection:
            connection.sendall(wire("k", "b")[:-3])
            answer = connection.recv(65536)
            ended = connection.recv(65536)

    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b'"code":"body_timeout"' in answer
    assert ended == b""
    assert head(database) == 0


@pytest.mark.parametrize("sent", [b"", b"POST /v1/books HTT", wire("k", "b")[:40]], ids=range(3))
def test_a_head_that_stalls(database: str, monkeypatch: pytest.MonkeyPatch, sent: bytes) -> None:
    """
    A request's head, on a new connection or on one that was used before, is waited for so long and no longer.
    """
    monkeypatch.setattr(serve, "HEAD_PATIENCE_S", 0.3)
    with serving(database, project=False) as base_url:
        for before in (b"", b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n") if sent else (b"",):
            with dialled(base_url) as connection:
                connection.sendall(before + sent)
                answer = b""
                while chunk := connection.recv(65536):
                    answer += chunk

            assert b"HTTP/1.1 408 " in answer
            assert b'"code":"head_timeout"' in answer
            assert (b"200 OK" in answer) == bool(before)


def test_a_slow_head_does_not_cost_the_answer_before_it(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Whoever begins the next request while the last is decided has the last one's answer all the same.
    """
    monkeypatch.setattr(serve, "HEAD_PATIENCE_S", 0.2)
    with serving(database, project=False) as base_url:
        with dialled(base_url) as connection:
            with locked(database):
                connection.sendall(wire("k", "b") + b"GET /li")
                time.sleep(0.6)
            answer = connection.recv(65536)

    assert answer.startswith(b"HTTP/1.1 201 ")


def test_requests_in_a_row(database: str) -> None:
    """
    Commands sent one behind the other without waiting are answered in their order.
    """
    with serving(database, project=False) as base_url, dialled(base_url) as connection:
        connection.sendall(b"".join(wire(f"k{n}", f"b{n}") for n in range(50)))
        answer = b""
        while answer.count(b'"object":"book"') < 50:
            answer += connection.recv(65536)

    assert re.findall(rb"daybook-position: (\d+)", answer) == [b"%d" % n for n in range(1, 51)]


def test_a_database_away(database: str) -> None:
    """
    Without the database nothing is acknowledged, callers are told soon, and the process waits for it to come back.
    """
    admin = psycopg.connect(database, dbname="postgres", autocommit=True)
    name = psycopg.conninfo.conninfo_to_dict(database)["dbname"]
    with admin, serving(database) as base_url, Caller(base_url) as caller:
        assert caller.get("/readyz").status_code == 200
        assert caller.ask("/v1/books", {"code": "b"}, key="b").status_code == 201
        admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false".encode())
        admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,))

        away = [caller.ask("/v1/books", {"code": "c"}, key="c"), caller.get("/v1/books")]
        ready = caller.get("/readyz")
        alive = caller.get("/livez")

        admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true".encode())
        until(lambda: caller.get("/readyz").status_code == 200)
        back = caller.ask("/v1/books", {"code": "c"}, key="c")
        until(lambda: caller.get("/v1/books").status_code == 200)

    for answer in away:
        assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
        assert answer.headers["retry-after"] == "1"
        assert answer.headers["content-type"] == "application/problem+json"
    assert (ready.status_code, ready.json()["status"]) == (503, "unavailable")
    assert ready.json()["database"] == {"reachable": False, "position": None}
    assert alive.status_code == 200
    assert (back.status_code, back.headers.get("idempotency-replayed")) == (201, None)


def test_ready(database: str) -> None:
    """
    A ready server says how its desk, its database and each of its projectors stand.
    """
    with serving(database) as base_url, Caller(base_url) as caller:
        caller.done("/v1/books", {"code": "main"})
        until(lambda: all(p["position"] == 1 for p in caller.get("/readyz").json()["projectors"]))
        ready = caller.get("/readyz")

    body = ready.json()
    assert ready.status_code == 200
    assert ready.headers["content-type"] == "application/json"
    projectors = body.pop("projectors")
    assert all(projector.pop("events_per_second") >= 0 for projector in projectors)
    assert projectors == [
        {
            "name": name,
            "running": True,
            "state": "following",
            "position": 1,
            "head": 1,
            "lag_events": 0,
            "lag_seconds": 0.0,
            "restarts": 0,
            "parked_at": None,
            "building_at": None,
            "error": None,
        }
        for name in PROJECTORS
    ]
    assert body == {
        "parked": [],
        "status": "ready",
        "desk": {"alive": True, "queued": 0},
        "database": {"reachable": True, "position": 1},
    }


PROJECTORS = ("accounts", "journal", "holds", "payments", "settlements", "escrows", "audit_trail")


def test_metrics(database: str) -> None:
    """
    Commands, refusals, times, the desk and the projectors are counted, for each app by itself.
    """
    with serving(database) as base_url, serving(database) as other, Caller(base_url) as caller:
        caller.done("/v1/books", {"code": "main"}, key="k")
        caller.done("/v1/books", {"code": "main"}, key="k")
        caller.ask("/v1/books", {"code": "main"})
        caller.ask("/v1/books", {})
        caller.ask("/nowhere/" + "x" * 50)
        until(lambda: all(caught_up(found(base_url), projector) for projector in PROJECTORS))
        until(lambda: ("daybook_request_seconds_count", ("POST", "none", "404")) in found(base_url))
        ours, theirs = found(base_url), found(other)

    for outcome in ("applied", "replayed", "refused", "failed"):
        assert ours["daybook_commands_total", ("open_book", outcome)] == 1
    assert ours["daybook_refusals_total", ("book_code_taken",)] == 1
    assert ours["daybook_problems_total", ("invalid_request", "400")] == 1
    assert ours["daybook_request_seconds_count", ("POST", "/v1/books", "201")] == 2
    assert ours["daybook_request_seconds_count", ("POST", "none", "404")] == 1
    assert ours["daybook_desk_commands_total", ("applied",)] == 1
    assert ours["daybook_command_seconds_count", ("open_book",)] == 4
    assert ours["daybook_desk_batches_total", ()] == 3
    assert ours["daybook_desk_commits_total", ()] == ours["daybook_desk_events_total", ()] == 2
    assert ours["daybook_desk_batch_size_count", ()] == ours["daybook_desk_batch_size_sum", ()] == 3
    assert (ours["daybook_desk_queued", ()], ours["daybook_desk_alive", ()]) == (0, 1)
    for projector in PROJECTORS:
        assert ours["daybook_projector_failed", (projector,)] == 0
        assert ours["daybook_projector_lag_events", (projector,)] == 0
        assert ours["daybook_projector_lag_seconds", (projector,)] == 0
    assert theirs["daybook_desk_batches_total", ()] == 0
    assert not any(name == "daybook_commands_total" for name, _ in theirs)


def caught_up(metrics: dict[tuple[str, tuple[str, ...]], float], projector: str) -> bool:
    """Whether it is at position 2, of this process or as it knows of another's, and knows of no more."""
    at, lag = (metrics["daybook_projector_" + what, (projector,)] for what in ("position", "lag_events"))
    return (at, lag) == (2, 0)


def found(base_url: str) -> dict[tuple[str, tuple[str, ...]], float]:
    """The metrics by name and label values."""
    text = httpx2.get(f"{base_url}/metrics")
    assert text.headers["content-type"].startswith("text/plain; version=0.0.4")
    return {
        (sample.name, tuple(value for label, value in sample.labels.items() if label != "le")): sample.value
        for family in text_string_to_metric_families(text.text)
        for sample in family.samples
    }


def test_one_line_for_each_request(database: str) -> None:
    """
    Each request leaves one log line of a name and fields, without its key, its body or its query.
    """
    with serving(database, project=False) as base_url, Caller(base_url) as caller, capture_logs() as lines:
        caller.ask(
            "/v1/books", {"code": "mine", "title": "secret"}, key="hidden", request_id="r1", traceparent=TRACEPARENT
        )
        caller.ask("/v1/books", {"code": "mine", "title": "secret2"}, key="hidden", request_id="r2")
        caller.get("/nowhere/hidden?secret", headers={"Request-Id": "r3"})
        until(lambda: len(lines) >= 3)

    for line in lines:
        assert line.pop("duration_ms") > 0
    common = {"event": "request.handled", "log_level": "info"}
    assert lines == [
        {
            **common,
            "method": "POST",
            "route": "/v1/books",
            "status": 201,
            "request_id": "r1",
            "command": "open_book",
            "outcome": "applied",
            "actor": "tester",
            "position": 1,
            "correlation_id": "0af7651916cd43dd8448eb211c80319c",
        },
        {
            **common,
            "method": "POST",
            "route": "/v1/books",
            "status": 422,
            "request_id": "r2",
            "command": "open_book",
            "outcome": "failed",
            "actor": "tester",
            "code": "idempotency_key_reused",
        },
        {**common, "method": "GET", "route": "", "status": 404, "request_id": "r3", "code": "path_not_found"},
    ]
    assert not re.search("hidden|secret|mine", str(lines))


def test_a_database_without_migrations(empty_database: str) -> None:
    """
    The server does not start upon a database that is not migrated, and says what to do.
    """
    with pytest.raises(MigrationError, match="daybook migrate"):
        must_be_migrated(empty_database)


def test_a_database_of_another_daybook(database: str) -> None:
    """
    The server does not start upon a database that is older or newer than itself.
    """
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("UPDATE daybook.migrations SET number = 9999 WHERE number = 1")
        with pytest.raises(MigrationError, match="knows only"):
            must_be_migrated(database)
        connection.execute("DELETE FROM daybook.migrations WHERE number = 9999")
        with pytest.raises(MigrationError, match="daybook migrate"):
            must_be_migrated(database)
        with pytest.raises(AssertionError, match="did not start"), serving(database):
            pass


def test_asserts_are_needed() -> None:
    """
    Where asserts are compiled away, the server does not start.
    """
    program = "from adapters.web.app import create_app; create_app('')"

    run = subprocess.run([sys.executable, "-O", "-c", program], cwd=TOP, capture_output=True, text=True, check=False)

    assert run.returncode != 0
    assert "does not run under python -O" in run.stderr


def test_two_servers_on_one_log(database: str) -> None:
    """
    Two processes' desks take turns on one log: every command lands once, and either gives the other's answers.
    """
    with serving(database, project=False) as one, serving(database, project=False) as other:
        with Caller(one) as first, Caller(other) as second, ThreadPoolExecutor(4) as pool:
            first.done("/v1/books", {"code": "main"})
            first.account("a")
            second.account("b")

            def ask(n: int) -> list[httpx2.Response]:
                pair: list[Any] = [first, second]
                return [
                    caller.ask("/v1/journal-entries", transfer("a", "b", n), key=f"k{n}")
                    for caller in (pair if n % 2 else pair[::-1])
                ]

            answers = list(pool.map(ask, range(1, 41)))

    assert head(database) == 3 + 40
    for was, again in answers:
        assert (was.status_code, again.status_code) == (201, 201)
        assert was.content == again.content
        assert again.headers["idempotency-replayed"] == "true"


def test_who_comes_while_it_is_busy_is_let_in() -> None:
    """
    Two hundred that come at once are let in within a few rounds of the server's loop, not one each round.
    """
    rounds = count()

    async def be_busy() -> None:
        while True:
            next(rounds)
            time.sleep(0.01)
            await asyncio.sleep(0)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        task = asyncio.create_task(be_busy())
        yield
        task.cancel()

    async def hello(request: Request) -> Response:
        return Response()

    running = serve.server(Starlette(routes=[Route("/", hello)], lifespan=lifespan))
    with socket.create_server(("127.0.0.1", 0), backlog=500) as listener:
        thread = threading.Thread(target=running.run, kwargs={"sockets": [listener]})
        thread.start()
        until(lambda: running.started)
        before = next(rounds)
        callers = [socket.create_connection(listener.getsockname(), timeout=30) for _ in range(200)]
        for caller in callers:
            caller.sendall(b"GET / HTTP/1.1\r\nHost: daybook\r\n\r\n")
        answers = [caller.recv(12) for caller in callers]
        taken = next(rounds) - before
        for caller in callers:
            caller.close()
        running.should_exit = True
        thread.join()

    assert set(answers) == {b"HTTP/1.1 200"}
    assert taken < 60
