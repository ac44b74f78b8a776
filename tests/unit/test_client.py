"""The client's decisions, without a server: what it asks again, what it waits for, and what it raises."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import httpx2
import pytest

from adapters.client import AsyncClient, Client, NotUnderstood, OutcomeUnknown, Patience, Refused, Unavailable, calls
from adapters.client.attempts import Answer, Attempts
from adapters.client.calls import Call, follow_events
from adapters.client.errors import DaybookError, ProblemError, Rejected
from adapters.client.following import Following
from adapters.client.resources import Book, OpenedBook

PATIENCE = Patience(attempt_s=1, total_s=10, pause_s=0.1, pause_max_s=1)
COMMAND = calls.open_book("main", key="k")
READ = calls.read_book("main")


def problem(code: str, status: int, **members: Any) -> bytes:
    said = {"type": "urn:x", "title": "No.", "status": status, "code": code, "transient": True, "request_id": "r"}
    return json.dumps({**said, **members}).encode()


def heard(
    call: Call[Any], status: int, content: bytes = b"", *, now: float = 0, made: int = 1, **headers: str
) -> Answer[Any] | float:
    """What is made of an answer to the n-th request of a call that began at 0."""
    attempts = Attempts(call, PATIENCE, now=0)
    for _ in range(made):
        attempts.request(now)
    return attempts.heard(status, {name.replace("_", "-"): value for name, value in headers.items()}, content, now)


@pytest.mark.parametrize(
    ("status", "content"),
    [
        (503, problem("overloaded", 503)),
        (503, problem("stopping", 503)),
        (503, problem("unavailable", 503)),
        (503, problem("outcome_unknown", 503)),
        (409, problem("idempotency_key_in_flight", 409)),
        (500, problem("internal", 500)),
        (502, b"<html>"),
        (504, b""),
        (429, b"slow down"),
        (503, b'{"code": 5}'),
    ],
)
def test_a_command_is_asked_again(status: int, content: bytes) -> None:
    """
    Whatever is no decision is asked again, after a pause.
    """
    assert 0.05 <= float(heard(COMMAND, status, content)) <= 0.1  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("status", "content", "raised"),
    [
        (503, problem("overloaded", 503), Unavailable),
        (503, problem("outcome_unknown", 503), OutcomeUnknown),
        (409, problem("idempotency_key_in_flight", 409), OutcomeUnknown),
        (500, problem("internal", 500), OutcomeUnknown),
        (502, b"<html>", OutcomeUnknown),
        (429, b"", Unavailable),
        (422, problem("insufficient_funds", 422), Refused),
        (400, problem("json_float", 400), Rejected),
        (404, b"", NotUnderstood),
        (201, b"{}", NotUnderstood),
        (201, b"\xff", NotUnderstood),
    ],
)
def test_what_a_command_ends_with(status: int, content: bytes, raised: type[DaybookError]) -> None:
    """
    At the end of the patience: what may have been applied is unknown, what was surely not is unavailable.
    """
    with pytest.raises(raised) as error:
        heard(COMMAND, status, content, now=9.99)

    assert getattr(error.value, "key", None) == "k"


def test_a_read_is_never_unknown() -> None:
    """
    A read has no effect, so there is nothing to be unsure of; a fault of Daybook's own is not asked for again.
    """
    assert isinstance(heard(READ, 502), float)
    assert isinstance(heard(READ, 503, problem("read_model_behind", 503)), float)
    with pytest.raises(Unavailable):
        heard(READ, 502, now=9.99)
    with pytest.raises(ProblemError, match="internal"):
        heard(READ, 500, problem("internal", 500))


def test_once_unknown_it_stays_so_until_it_is_known() -> None:
    """
    After an answer was lost, being too busy is no longer a no; a refusal is.
    """
    attempts = Attempts(COMMAND, PATIENCE, now=0)
    attempts.request(0)
    attempts.failed("lost", 0, sent=True)

    with pytest.raises(OutcomeUnknown):
        attempts.heard(503, {}, problem("overloaded", 503), 9.99)
    with pytest.raises(Refused):
        attempts.heard(422, {}, problem("insufficient_funds", 422), 9.99)


def test_a_connection_that_was_never_made_is_no_unknown() -> None:
    """
    What was not sent cannot have been applied.
    """
    attempts = Attempts(COMMAND, PATIENCE, now=0)
    attempts.request(0)

    with pytest.raises(Unavailable):
        attempts.failed("refused", 9.99, sent=False)


def test_pauses_grow_and_end() -> None:
    """
    Pauses double up to the longest one; Daybook may ask for longer, in seconds or as a time.
    """
    busy = problem("overloaded", 503)
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=5), usegmt=True)

    assert 0.2 <= float(heard(COMMAND, 503, busy, made=3)) <= 0.4  # type: ignore[arg-type]
    assert 0.5 <= float(heard(COMMAND, 503, busy, made=30)) <= 1  # type: ignore[arg-type]
    assert heard(COMMAND, 503, busy, retry_after="7") == 7
    assert 3 < float(heard(COMMAND, 503, busy, retry_after=later)) <= 5  # type: ignore[arg-type]
    assert float(heard(COMMAND, 503, busy, retry_after="soon")) <= 0.1  # type: ignore[arg-type]


def test_one_key_for_all_attempts() -> None:
    """
    A command without a key gets one, the same for each of its attempts; a read has none.
    """
    attempts = Attempts(calls.open_book("main"), PATIENCE, now=0)

    sent = [attempts.request(0).headers["Idempotency-Key"] for _ in range(3)]

    assert sent == [attempts.key] * 3
    assert len(sent[0]) == 32
    assert "Idempotency-Key" not in Attempts(READ, PATIENCE, now=0).request(0).headers
    assert Attempts(COMMAND, PATIENCE, now=0).request(0).headers["Idempotency-Key"] == "k"


def test_an_attempt_does_not_outlast_the_patience() -> None:
    """
    Near the end of its time a call waits for an answer only as long as is left.
    """
    attempts = Attempts(COMMAND, PATIENCE, now=0)

    assert attempts.request(0).timeout_s == 1
    assert attempts.request(9.5).timeout_s == 0.5


def test_a_newer_daybook_may_say_more() -> None:
    """
    Fields that this client does not know are passed over.
    """
    said = {"object": "book", "id": f"book_{'0' * 26}", "code": "main", "title": "", "metadata": {}, "colour": "red"}

    answer = heard(READ, 200, json.dumps({**said, "opened_at": "2026-01-31T12:00:00Z"}).encode())

    assert isinstance(answer, Answer)
    assert isinstance(answer.value, Book)
    assert not isinstance(answer.value, OpenedBook)


def event(position: int) -> str:
    said = {
        "object": "event",
        "position": position,
        "recorded_at": "2026-01-31T12:00:00.000000Z",
        "name": "book.opened.v1",
        "stream": f"book_{'0' * 26}",
        "version": 1,
        "actor": "me",
        "request_id": None,
        "correlation_id": None,
        "causation_id": None,
        "idempotency_key": None,
        "payload": {},
    }
    return f"id: {position}\nevent: book.opened.v1\ndata: {json.dumps(said)}\n\n"


class Streams:
    """What is answered to each request for the stream, one after the other, and from where each was asked for."""

    def __init__(self) -> None:
        self.answers = [
            httpx2.Response(503, content=problem("unavailable", 503)),
            httpx2.Response(200, text=": from 4\n\n" + event(5) + event(6) + event(7)[:40]),
            httpx2.Response(502),
            httpx2.Response(200, text=event(6) + event(7) + ": at 7\n\n" + event(9)),
            httpx2.Response(400, content=problem("invalid_request", 400)),
        ]
        self.asked: list[str] = []

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        assert request.headers["accept"] == "text/event-stream"
        self.asked.append(request.headers["last-event-id"])
        return self.answers.pop(0)


def test_a_stream_is_taken_up_where_it_broke_off() -> None:
    """
    However it breaks off, every event is given once and in order; what cannot be had is raised.
    """
    streams = Streams()
    positions = []

    with Client("http://x", actor="me", patience=PATIENCE, transport=httpx2.MockTransport(streams)) as client:
        with pytest.raises(Rejected):
            for found in client.follow_events(4):
                positions.append(found.position)

    assert positions == [5, 6, 7, 9]
    assert streams.asked == ["4", "4", "6", "6", "9"]


def test_a_stream_awaited() -> None:
    """
    The awaited stream is taken up in the same way.
    """
    streams = Streams()
    positions = []

    async def go() -> None:
        async with AsyncClient("http://x", actor="me", patience=PATIENCE, transport=httpx2.MockTransport(streams)) as c:
            async for found in c.follow_events(4):
                positions.append(found.position)

    with pytest.raises(Rejected):
        asyncio.run(go())

    assert positions == [5, 6, 7, 9]
    assert streams.asked == ["4", "4", "6", "6", "9"]


def test_a_stream_that_stays_away_is_given_up() -> None:
    """
    Broken off for longer than the patience, a stream is unavailable; while it is heard, it is not.
    """
    following = Following(follow_events(), PATIENCE, now=0)

    assert following.broken("cut", 25) == 0.1
    assert following.broken("cut", 29) == 0.2
    following.line(": at 3", 29)
    assert following.broken("cut", 50) == 0.1
    with pytest.raises(Unavailable):
        following.broken("cut", 60)
