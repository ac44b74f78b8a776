"""The log as server-sent events over HTTP: from any position, in order, with nothing missing, whatever breaks."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import takewhile
from typing import Any

import httpx2
import psycopg
import pytest

from adapters.web.app import Limits
from projections.api import events
from tests.reading import Scribe
from tests.serving import Caller, head, serving, serving_process, transfer, until


class Follower(threading.Thread):
    """Reads a stream until it ends or is left."""

    def __init__(self, base_url: str, *, last: int | None = None, **asked: Any) -> None:
        super().__init__(daemon=True)
        self.base_url = base_url
        self.asked = asked
        self.headers = {"Accept": "text/event-stream"} | ({} if last is None else {"Last-Event-ID": str(last)})
        self.events: list[dict[str, Any]] = []
        self.comments = 0
        self.ended_cleanly = False
        self.response: httpx2.Response | None = None
        self.leave = threading.Event()
        self.start()

    def run(self) -> None:
        try:
            with (
                httpx2.Client(timeout=30) as client,
                client.stream("GET", f"{self.base_url}/v1/events", params=self.asked, headers=self.headers) as response,
            ):
                self.response = response
                for line in response.iter_lines():
                    if line.startswith("data: "):
                        self.events.append(json.loads(line[6:]))
                    self.comments += line.startswith(":")
                    if self.leave.is_set():
                        return
                self.ended_cleanly = True
        except httpx2.HTTPError:
            return

    @property
    def positions(self) -> list[int]:
        return [event["position"] for event in self.events]


@contextmanager
def shop(caller: Caller) -> Iterator[Caller]:
    """Book `main` with `cash` and `bank`, at positions 1 to 3."""
    with caller:
        caller.done("/v1/books", {"code": "main"})
        caller.account("cash")
        caller.account("bank")
        yield caller


@pytest.fixture
def api(database: str) -> Iterator[Caller]:
    with serving(database) as base_url, shop(Caller(base_url)) as caller:
        yield caller


def pay(api: Caller, amount: int = 1, **said: Any) -> int:
    made = api.done("/v1/journal-entries", transfer("bank", "cash", amount, **said))
    return int(made["position"])


def base(api: Caller) -> str:
    return str(api.base_url).rstrip("/")


def test_a_stream_goes_on_as_events_are_written(api: Caller) -> None:
    """
    What there is comes at once, what is written comes soon; from the beginning, a position, or the last one seen.
    """
    everything, some, later = Follower(base(api)), Follower(base(api), after=2), Follower(base(api), after=1, last=3)
    until(lambda: everything.positions == [1, 2, 3])
    began = time.monotonic()
    last = pay(api)

    until(lambda: later.positions == [4])
    took = time.monotonic() - began
    until(lambda: everything.positions == [1, 2, 3, 4] and some.positions == [3, 4])

    event = everything.events[-1]
    listed = api.get("/v1/events", params={"starting_after": last - 1}).json()["data"]
    assert event == listed[0]
    assert event["name"] == "journal_entry.posted.v1"
    assert event["stream"].startswith("je_")
    assert event["payload"]["postings"][0]["account_id"].startswith("acc_")
    assert took < events.POLL_S + 2
    for follower in (everything, some, later):
        assert follower.response is not None and follower.response.headers["content-type"].startswith("text/event-str")


@pytest.mark.parametrize(("width", "at_once"), [(2, 3), (5, 2)], ids=["narrow looks", "more in a look than is given"])
def test_filters_leave_no_gap(api: Caller, monkeypatch: pytest.MonkeyPatch, width: int, at_once: int) -> None:
    """
    Exactly the events that the filters let through, in order and once, though most of the log is passed over.
    """
    monkeypatch.setattr(events, "WIDTH", width)
    monkeypatch.setattr(events, "AT_ONCE", at_once)
    cash = api.get("/v1/accounts", params={"code": "cash"}).json()["data"][0]["id"]
    api.account("other")
    of_cash = Follower(base(api), account=cash)
    entries = Follower(base(api), kind="journal_entry", book="main")
    opened = Follower(base(api), event="account.opened.v1", actor="tester")
    nobody = Follower(base(api), actor="nobody")
    for number in range(30):
        if number % 3:
            pay(api)
        else:
            api.done("/v1/journal-entries", transfer("bank", "other", 1))
    end = head_of(api)
    api.account("last")
    last = end + 1
    followers = [
        (of_cash, [2, *(position for n, position in enumerate(range(5, last)) if n % 3)]),
        (entries, [*range(5, last)]),
        (opened, [2, 3, 4, last]),
        # These come when all is there: far more than one look sees, or far behind it.
        (Follower(base(api), account=cash, after=2), [position for n, position in enumerate(range(5, last)) if n % 3]),
        (Follower(base(api), kind="journal_entry", book="main"), [*range(5, last)]),
        (Follower(base(api), event="account.opened.v1", after=4), [last]),
    ]

    until(lambda: all(follower.positions[-1:] == [wanted[-1]] for follower, wanted in followers))
    # Whatever was yet to come twice has come before what is posted now, and opened after.
    pay(api)
    api.account("after")
    now = [last + 1, last + 2]
    until(lambda: all(set(follower.positions[-2:]) & {*now} for follower, _ in followers))

    for follower, wanted in followers:
        assert [position for position in follower.positions if position not in now] == wanted
        assert len(follower.positions) == len(wanted) + 1
    assert nobody.events == []


def head_of(api: Caller) -> int:
    return int(api.get("/v1/events", params={"limit": 1}).headers["daybook-position"])


def test_a_stream_is_taken_up_again(database: str) -> None:
    """
    After the server was killed, whoever goes on from the last event seen misses none and sees none twice.
    """
    seen: list[int] = []
    with serving_process(database) as first, shop(Caller(first.base_url)) as api:
        follower = Follower(first.base_url)
        for _ in range(5):
            pay(api)
        until(lambda: len(follower.events) >= 6)
        first.kill()
        follower.join(timeout=20)
        assert not follower.is_alive() and not follower.ended_cleanly
        seen += follower.positions
    with serving(database) as second, Caller(second) as api:
        pay(api)
        follower = Follower(second, last=seen[-1])
        pay(api)
        until(lambda: follower.positions[-1:] == [head(database)])
        seen += follower.positions

    assert seen == list(range(1, head(database) + 1))


def test_a_lost_listen_session_loses_no_event(api: Caller, database: str) -> None:
    """
    The streams of a process share one session that listens; when it is ended they go on, and it is made again.
    """
    followers = [Follower(base(api)) for _ in range(5)]
    until(lambda: all(len(follower.events) == 3 for follower in followers))
    listening = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND query = 'LISTEN daybook_log'"
    with psycopg.connect(database, autocommit=True) as connection:
        pids = connection.execute(listening).fetchall()
        ours = [pid for (pid,) in pids]
        for pid in ours:
            connection.execute("SELECT pg_terminate_backend(%s)", (pid,))
        for _ in range(5):
            pay(api)
        until(lambda: all(follower.positions == list(range(1, 9)) for follower in followers))
        until(lambda: len(connection.execute(listening).fetchall()) == len(pids))

        # One for all the streams, one for the projections of the process.
        assert len(ours) <= 2


def test_a_silent_stream_is_known_to_be_alive(api: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    While nothing happens there is a comment now and then.
    """
    monkeypatch.setattr(events, "HEARTBEAT_S", 0.1)
    monkeypatch.setattr(events, "POLL_S", 0.05)
    follower = Follower(base(api), after=3)

    until(lambda: follower.comments >= 4)

    assert follower.events == []


def test_a_stop_ends_the_streams(database: str) -> None:
    """
    Streams have no end of their own and do not hold up a stop: they end whole.
    """
    with serving(database) as base_url, shop(Caller(base_url)):
        followers = [Follower(base_url) for _ in range(3)]
        until(lambda: all(len(follower.events) == 3 for follower in followers))
        began = time.monotonic()

    for follower in followers:
        follower.join(timeout=10)
    assert time.monotonic() - began < 10
    assert all(follower.ended_cleanly for follower in followers)


def test_a_slow_reader_holds_up_nobody_and_fills_no_memory(
    api: Caller, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    The server reads on only as its reader does; and then nothing is missing.
    """
    with Scribe(database) as scribe, scribe.one_commit():
        book = scribe.book("big")
        accounts = [scribe.account(book, code) for code in ("a", "b")]
        for _ in range(1000):
            scribe.transfer(accounts[0], accounts[1], 1, "x" * 20_000)
    end = head(database)
    shown: list[int] = []
    show = events._sse

    def counted(row: dict[str, Any]) -> bytes:
        shown.append(row["position"])
        return show(row)

    monkeypatch.setattr(events, "AT_ONCE", 10)
    monkeypatch.setattr(events, "_sse", counted)
    with socket.create_connection((api.base_url.host, api.base_url.port or 0)) as slow:
        slow.sendall(b"GET /v1/events HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\r\n")
        until(lambda: _still(shown))
        stalled = len(shown)
        quick = Follower(base(api), after=end - 1)
        until(lambda: quick.positions == [end])
        lines = slow.makefile("rb")
        arrived = [
            int(line[4:]) for line in takewhile(lambda line: line != b"id: %d\n" % end, lines) if line[:4] == b"id: "
        ]

    assert 0 < stalled < 1000
    assert arrived == list(range(1, end))


def _still(shown: list[int]) -> bool:
    """Whether it has stopped to grow."""
    before = len(shown)
    time.sleep(0.5)
    return before > 0 and len(shown) == before


def test_a_reader_who_leaves_is_forgotten(api: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    No stream goes on without its reader.
    """
    monkeypatch.setattr(events, "POLL_S", 0.05)
    ended = threading.Event()
    following = events._following

    async def watched(*args: Any) -> Any:
        try:
            async for chunk in following(*args):
                yield chunk
        finally:
            ended.set()

    monkeypatch.setattr(events, "_following", watched)
    follower = Follower(base(api))
    until(lambda: len(follower.events) == 3)
    follower.leave.set()
    pay(api)

    assert ended.wait(10)


def test_no_more_streams_than_there_may_be(database: str) -> None:
    """
    One too many is told so, and to come again; whoever leaves, however soon, or is refused makes room.
    """
    limits = Limits(streams_max=2)
    stream = {"Accept": "text/event-stream"}
    with serving(database, limits=limits) as base_url, shop(Caller(base_url)) as api:
        for _ in range(3):
            assert api.get("/v1/events?after=99", headers=stream).status_code == 400
        followers = [Follower(base_url) for _ in range(2)]
        until(lambda: all(len(follower.events) == 3 for follower in followers))
        refused = api.get("/v1/events", headers=stream)
        listed = api.get("/v1/events")
        followers[0].leave.set()
        pay(api)
        until(lambda: not followers[0].is_alive())
        until(lambda: follows(base_url))

    assert (refused.status_code, refused.json()["code"]) == (503, "too_many_streams")
    assert (refused.json()["transient"], refused.headers["retry-after"]) == (True, "1")
    assert listed.status_code == 200


def follows(base_url: str) -> bool:
    """Whether one more stream is given what there is."""
    follower = Follower(base_url)
    follower.join(0.5)
    follower.leave.set()
    return bool(follower.events)


@pytest.mark.parametrize(
    ("query", "headers", "field"),
    [
        ("after=99", {}, "/after"),
        ("ending_before=2", {}, "/ending_before"),
        ("after=-1", {}, "/after"),
        ("", {"Last-Event-ID": "x"}, "/Last-Event-ID"),
        ("colour=red", {}, "/colour"),
    ],
)
def test_a_stream_that_cannot_be_is_refused(api: Caller, query: str, headers: dict[str, str], field: str) -> None:
    """
    Before it begins, as any other read.
    """
    response = api.get(f"/v1/events?{query}", headers={"Accept": "text/event-stream", **headers})

    assert response.status_code == 400
    assert [error["field"] for error in response.json()["errors"]] == [field]
    missing = api.get("/v1/events?book=nowhere", headers={"Accept": "text/event-stream"})
    assert missing.status_code == 404


def test_reports_over_http(api: Caller) -> None:
    """
    A slip in a report is a problem like any other, its fields named.
    """
    pay(api, 1050)
    found = api.get("/v1/reports/trial-balance", params={"book": "main"})
    refused = api.get("/v1/reports/trial-balance", params={"book": "main", "rates": "USD:1", "valued_in": "USD"})
    table = api.get("/v1/accounts", params={"book": "main", "format": "csv"})

    assert found.json()["totals"][0]["debits"] == 1050
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (400, "/rates")
    assert table.headers["content-type"].startswith("text/csv") and len(table.text.splitlines()) == 3
