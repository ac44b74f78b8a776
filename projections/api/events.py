"""The log itself: a list of events, and a stream of server-sent events that goes on as they are written.

An event's payload is as it was stored, fields that were left out having their defaults; ids of accounts, books,
entries, holds, payments, settlements, disputes and escrows are shown as TypeIDs, any other id (a refused command's own,
say) as a bare UUID. Of the account number that a payment is paid with only the last four characters are shown.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any, Final, Self
from uuid import UUID

import msgspec
from pydantic import model_validator
from pydantic_core import InitErrorDetails, ValidationError
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from domain import ids
from domain.events import EntryPosted, PaymentMethodAttached
from domain.ports import Reads, Turn
from projections import audit_trail
from projections.api.accounts import must_exist
from projections.api.answering import POSITION_HEADER, answer
from projections.api.listing import Listing, found, shown
from projections.api.parameters import EVENTUAL, AccountId, BookName, EventKind, Key, Page, Position, Text, asked
from projections.payments import masked
from projections.projection import tracked_as

HEARTBEAT_S: Final = 10.0
"""A stream is never silent for longer: what is between may take a silent connection for a dead one."""
POLL_S: Final = 1.0
"""How long a stream waits for word of new events before it looks anyway."""
BEHIND_S: Final = 0.02
"""How long it rests when the log is ahead of the read model that its filters need."""
WIDTH: Final = 5_000
"""Positions looked at in one query of a stream."""
AT_ONCE: Final = 200
"""Events read at once by a stream, and so all that it holds, however slow its reader."""
STREAMS_MAX: Final = 100
"""Streams of one process at once: each asks the store by itself whenever the log grows."""

PREFIX_OF_KIND: Final[dict[str, str]] = {
    "account": ids.ACCOUNT,
    "book": ids.BOOK,
    "escrow": ids.ESCROW,
    "hold": ids.HOLD,
    "journal_entry": ids.ENTRY,
    "payment": ids.PAYMENT,
    "settlement": ids.SETTLEMENT,
}
"""The kind of thing whose stream an event is on, by the first word of the event's name."""
_PREFIX_OF_FIELD: Final = {
    **ids.PREFIX_OF_FIELD,
    "reverses": ids.ENTRY,
    "reversed_by": ids.ENTRY,
    "captures": ids.HOLD,
}


class EventList(Page[Position]):
    """Events in the order in which they were written; the cursors are positions.

    `event`: of that stored name. `kind`: whose names begin so. `account`: those that touch an account, which are its
    own, all that post to it or set aside on it, and the refused commands upon it. `after` is `starting_after`.

    With `Accept: text/event-stream`: a stream of server-sent events from there on, or from the one in the header
    Last-Event-ID, without end; `id` is the position, `event` the stored name. A process has only so many at once, see
    `too_many_streams`.
    """

    book: BookName | None = None
    account: AccountId | None = None
    actor: Key | None = None
    event: Text | None = None
    kind: EventKind | None = None
    after: Position | None = None

    @model_validator(mode="after")
    def _one_beginning(self) -> Self:
        if self.after is not None and self.cursor is not None:
            raise ValueError("after cannot be given with another cursor")
        return self

    @property
    def filters(self) -> dict[str, Any]:
        return self.model_dump(include={"book", "account", "actor", "event", "kind"})

    @property
    def window(self) -> dict[str, Any]:
        return {**super().window, "after": self.starting_after if self.after is None else self.after}


COLUMNS: Final = (
    "position",
    "recorded_at",
    "name",
    "stream",
    "version",
    "actor",
    "request_id",
    "correlation_id",
    "causation_id",
    "idempotency_key",
    "payload",
)


async def list_events(request: Request) -> Response:
    page = asked(request, EventList)
    if "text/event-stream" in request.headers.get("accept", ""):
        return await _stream(request, page)
    filtered = any(value is not None for value in page.filters.values())
    listing = Listing(
        query="log_filtered" if filtered else "log",
        of=[audit_trail] if filtered else [],
        cursor="position",
        resource=resource,
        columns=COLUMNS,
    )
    wanted = {**page.filters, **_of_postings(page)}
    first = await found(request, page, listing, wanted)
    if not first.rows:
        await must_exist(request, book=page.book, account=page.account)
    return shown(request, page, listing, wanted, first)


def _of_postings(page: EventList) -> dict[str, bool]:
    """Which of an account's postings are looked at, and whether each is of an event to show: then a page needs few."""
    return {
        "posted": page.kind in (None, "journal_entry") and page.event in (None, EntryPosted.name),
        "pending": page.kind in (None, "hold") and (page.event is None or page.event.startswith("hold.")),
        "each_shown": page.actor is None and page.event in (None, EntryPosted.name),
    }


def resource(row: dict[str, Any]) -> dict[str, Any]:
    metadata = msgspec.json.decode(row["metadata"])
    payload = msgspec.json.decode(row["payload"])
    if row["scope_opened"] is not None and "scope" in payload:
        payload["scope"] = shown_as(row["scope_opened"], UUID(payload["scope"]))
    if row["name"] == PaymentMethodAttached.name:
        payload["method"] = masked(payload["method"])
    return {
        "object": "event",
        "position": row["position"],
        "recorded_at": row["recorded_at"],
        "name": row["name"],
        "stream": shown_as(row["name"], row["stream"]),
        "version": row["version"],
        "actor": metadata["actor"],
        "request_id": metadata.get("request_id"),
        "correlation_id": metadata.get("correlation_id"),
        "causation_id": metadata.get("causation_id"),
        "idempotency_key": metadata.get("idempotency_key"),
        "payload": _with_ids(payload),
    }


def shown_as(event_name: str | None, thing: UUID) -> str:
    """The TypeID of the thing an event of that name happened to; the bare UUID of what has no kind of its own."""
    prefix = PREFIX_OF_KIND.get((event_name or "").partition(".")[0])
    return str(thing) if prefix is None else ids.show(prefix, thing)


def _with_ids(value: Any, field: str = "") -> Any:
    match value:
        case dict():
            return {name: inner if name == "metadata" else _with_ids(inner, name) for name, inner in value.items()}
        case list():
            return [_with_ids(inner, field.removesuffix("s")) for inner in value]
        case str():
            return _with_id(value, field)
        case _:
            return value


def _with_id(text: str, field: str) -> str:
    prefix = next((prefix for name, prefix in _PREFIX_OF_FIELD.items() if field.endswith(name)), None)
    if prefix is None:
        return text
    try:
        return ids.show(prefix, UUID(text))
    except ValueError:
        return text  # Somebody's own words in a field of that name.


# The stream.


class TooManyStreams(Exception):
    """This process has as many event streams open as it takes."""


class Streams:
    """Those that a process has open, which are never more than `most`."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._open = 0

    @contextmanager
    def one_more(self) -> Iterator[None]:
        """One of them for as long as this lasts.

        Raises:
            TooManyStreams: There are as many as there may be.
        """
        if self._open >= self._most:
            raise TooManyStreams
        self._open += 1
        try:
            yield
        finally:
            self._open -= 1


class _Stream(StreamingResponse):
    """Counted from before its first byte until it ends, is left or fails."""

    def __init__(self, streams: Streams, content: AsyncIterator[bytes], headers: dict[str, str]) -> None:
        super().__init__(content, headers=headers, media_type="text/event-stream")
        self._streams = streams

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._streams.one_more():
            await super().__call__(scope, receive, send)


async def _stream(request: Request, page: EventList) -> Response:
    if page.ending_before is not None:
        raise _refused("ending_before", page.ending_before, "a stream goes forwards")
    last = request.headers.get("last-event-id")
    if last is not None:
        # It says how far the reader has come, whatever the address says where it first began.
        page = page.model_copy(update={"after": asked_position(last), "starting_after": None})
    after = page.window["after"] or 0
    first = await answer(request, "tracked", EVENTUAL, {}, of=[], key="head")
    await must_exist(request, book=page.book, account=page.account)
    if after > first.position:
        raise _refused("after", after, f"the log ends at {first.position}")
    closing = asyncio.Event()
    state = request.scope["state"]
    state["close_stream"] = closing.set  # Called when the server is to stop: what has no end would hold it up.
    if state.get("stopping"):
        closing.set()
    return _Stream(
        request.state.streams,
        _following(request.state.reads, page, after, closing),
        {POSITION_HEADER: str(first.position), "Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


def asked_position(last_event_id: str) -> int:
    """The position in a Last-Event-ID.

    Raises:
        pydantic.ValidationError: It is none.
    """
    if not last_event_id.isascii() or not last_event_id.isdigit() or len(last_event_id) > 18:
        raise _refused("Last-Event-ID", last_event_id, "not the position of an event")
    return int(last_event_id)


def _refused(field: str, given: Any, why: str) -> ValidationError:
    error = InitErrorDetails(type="value_error", loc=(field,), input=given, ctx={"error": ValueError(why)})
    return ValidationError.from_exception_data(EventList.__name__, [error])


async def _following(reads: Reads, page: EventList, after: int, closing: asyncio.Event) -> AsyncIterator[bytes]:
    """From a position on, each event once and in order; ends when it is told to close.

    It waits for its reader before it reads on. A comment says how far it has looked, whenever there is nothing else to
    say for a while.
    """
    loop = asyncio.get_running_loop()
    filtered = any(value is not None for value in page.filters.values())
    wanted = {
        **page.filters,
        "filtered": filtered,
        "projections": [tracked_as(audit_trail)] if filtered else [],
        "width": WIDTH,
        "limit": AT_ONCE,
    }
    yield b": from %d\n\n" % after
    spoke = loop.time()
    while not closing.is_set():
        turn = reads.turn()  # Before looking: what is written while it looks is noticed.
        rows = await reads.fetch("log_window", {**wanted, "after": after})
        until, head = rows[0]["until"], rows[0]["head"]
        events = [row for row in rows if row["position"] is not None]
        if events:
            yield b"".join(map(_sse, events))
            spoke = loop.time()
        looked = events[-1]["position"] if len(events) == AT_ONCE else max(after, until)
        moved, after = looked > after, looked
        if loop.time() - spoke >= HEARTBEAT_S:
            yield b": at %d\n\n" % after
            spoke = loop.time()
        if not moved:
            behind = after < head  # The log has grown already; it is the read model that must follow.
            await _rest(None if behind else turn, closing, BEHIND_S if behind else POLL_S)


async def _rest(turn: Turn | None, closing: asyncio.Event, seconds: float) -> None:
    waits = [asyncio.ensure_future(one.wait()) for one in (turn, closing) if one is not None]
    try:
        await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()


def _sse(row: dict[str, Any]) -> bytes:
    """Source: HTML Living Standard, section 9.2.6."""
    data = msgspec.json.encode(resource(row))
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (row["position"], row["name"].encode(), data)


routes: Final = [Route("/v1/events", list_events, methods=["GET"])]
