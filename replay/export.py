"""The log as JSON Lines, and back, equal to the byte.

A file is UTF-8, each line one JSON object ended by a line feed:

* the first, `{"daybook": "export", "format": 1, "head": N, "hash": "..."}`, promises the last position and its seal;
* each event, in order: `position`, `name`, `stream`, `version`, `recorded_at`, `command_id` (may be null), `metadata`
  and `payload`. The bytes of those two are the stored ones, as they stand between the colon and the comma or brace;
  bytes that could not stand so (no JSON object on one line) are in `metadata_base64` and `payload_base64` instead;
* after the events of each commit its `seal`: `first`, `last`, `recorded_at` and `hash` in hexadecimal.

So a file proves itself, as the log does: a changed, missing or added line is found, with its number.
"""

from base64 import b64decode, b64encode
from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import islice
from typing import Final
from uuid import UUID

import msgspec
from msgspec import Raw, Struct

from domain.audit import GENESIS, Seal, seal_hash
from domain.events import RawEvent
from domain.ports import Log

FORMAT: Final = 1
LINE_MAX: Final = 16 * 1024 * 1024
"""Bytes of one line; an event is never near as long."""
EVENTS_MAX: Final = 200_000
"""Events under one seal; a commit never has near as many."""


class LogIsBroken(Exception):
    """The log does not hash to its own seals, so it is not exported: the file could not be told from a forged one."""


class BadLine(Exception):
    """A line is not what it must be; everything up to the seal before it is sound."""

    def __init__(self, number: int, why: str) -> None:
        super().__init__(f"line {number}: {why}")
        self.number = number


class Sealed(Struct, frozen=True):
    """One commit as exported. `line` is that of its first event, `end` where its seal ends in the file, in bytes."""

    line: int
    events: list[RawEvent]
    seal: Seal
    end: int


class Promise(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The first line."""

    daybook: str
    format: int
    head: int
    hash: str


class _EventLine(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    position: int
    name: str
    stream: UUID
    version: int
    recorded_at: datetime
    command_id: UUID | None
    metadata: Raw = Raw(b"")
    payload: Raw = Raw(b"")
    metadata_base64: str | None = None
    payload_base64: str | None = None


class _SealShape(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    first: int
    last: int
    recorded_at: datetime
    hash: str


class _SealLine(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    seal: _SealShape


_encode = msgspec.json.Encoder().encode
_promise = msgspec.json.Decoder(Promise).decode
_event = msgspec.json.Decoder(_EventLine).decode
_seal = msgspec.json.Decoder(_SealLine).decode
_object = msgspec.json.Decoder(dict[str, Raw]).decode


def lines(log: Log) -> Iterator[bytes]:
    """The whole log, line by line; no more than a commit is held in memory.

    Raises:
        LogIsBroken: It does not hash to its seals.
    """
    head = log.head()
    end, hash = (head.last, head.hash) if head is not None else (0, GENESIS)
    yield _encode(Promise(daybook="export", format=FORMAT, head=end, hash=hash.hex())) + b"\n"
    events = log.events()
    previous = GENESIS
    for seal in log.seals():
        batch = list(islice(events, seal.last - seal.first + 1))
        if seal_hash(previous, batch) != seal.hash:
            raise LogIsBroken(f"the events {seal.first}..{seal.last} do not hash to their seal; see daybook verify")
        for event in batch:
            yield event_line(event)
        yield _seal_line(seal)
        previous = seal.hash
    if next(events, None) is not None:
        raise LogIsBroken(f"there are events after the last seal, at {end}; see daybook verify")


def event_line(event: RawEvent) -> bytes:
    """The line of one event, with its stored bytes as they are."""
    head = _encode(
        {
            "position": event.position,
            "name": event.name,
            "stream": event.stream_id,
            "version": event.version,
            "recorded_at": event.recorded_at,
            "command_id": event.command_id,
        }
    )
    return b"%s,%s,%s}\n" % (head[:-1], _stored("metadata", event.metadata), _stored("payload", event.payload))


def _stored(field: str, stored: bytes) -> bytes:
    if _stands_as_it_is(stored):
        return b'"%s":%s' % (field.encode(), stored)
    return b'"%s_base64":"%s"' % (field.encode(), b64encode(stored))


def _stands_as_it_is(stored: bytes) -> bool:
    if not (stored.startswith(b"{") and stored.endswith(b"}")) or b"\n" in stored or b"\r" in stored:
        return False
    try:
        stored.decode()
        _object(stored)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False
    return True


def _seal_line(seal: Seal) -> bytes:
    shape = _SealShape(first=seal.first, last=seal.last, recorded_at=seal.recorded_at, hash=seal.hash.hex())
    return _encode(_SealLine(seal=shape)) + b"\n"


def read(file: Iterable[bytes]) -> Iterator[Sealed]:
    """The commits of an exported file, each checked: complete, in order, and hashing to its seal.

    Args:
        file: Its lines; each with its line feed, as files give them.

    Raises:
        BadLine: A line is not what it must be, or the file ends before what its first line promises.
    """
    reading = _Reading()
    for line in file:
        sealed = reading.take(line)
        if sealed is not None:
            yield sealed
    reading.finish()


class _Reading:
    """Takes the lines in order."""

    def __init__(self) -> None:
        self._number = 0
        self._offset = 0
        self._promise: Promise | None = None
        self._events: list[RawEvent] = []
        self._began = 0
        self._position = 0
        self._at: datetime | None = None
        self._hash = GENESIS

    def take(self, line: bytes) -> Sealed | None:
        """The commit that the line ends, if it does."""
        self._number += 1
        self._offset += len(line)
        if not line.endswith(b"\n"):
            raise self._bad("is cut off, or too long")
        try:
            line.decode()
            if self._promise is not None and line.startswith(b'{"seal":'):
                return self._take_seal(_seal(line).seal)
            if self._promise is not None:
                self._take_event(_event(line))
            else:
                self._take_promise(_promise(line))
        except (msgspec.DecodeError, ValueError) as error:
            raise self._bad(str(error)) from error
        return None

    def finish(self) -> None:
        """No more lines."""
        promise = self._promise
        if promise is None:
            raise BadLine(1, "is missing: the file is empty")
        if self._events:
            raise BadLine(self._number + 1, f"is missing: no seal over the events from {self._events[0].position} on")
        if (self._position, self._hash.hex()) != (promise.head, promise.hash):
            raise BadLine(
                self._number + 1,
                f"is missing: the first line promises position {promise.head} under the seal {promise.hash},"
                f" the file ends at {self._position}",
            )

    def _take_promise(self, promise: Promise) -> None:
        if promise.daybook != "export":
            raise self._bad("is not the beginning of an export")
        if promise.format != FORMAT:
            raise self._bad(f"is of format {promise.format}; this Daybook reads format {FORMAT}")
        self._promise = promise

    def _take_event(self, line: _EventLine) -> None:
        due = self._position + len(self._events) + 1
        if line.position != due:
            raise self._bad(f"is the event at {line.position}, where {due} is due")
        if len(self._events) >= EVENTS_MAX:
            raise self._bad(f"is event {EVENTS_MAX + 1} under one seal")
        if not self._events:
            self._began = self._number
        elif line.recorded_at != self._events[0].recorded_at:
            raise self._bad("is not recorded when the others of its commit are")
        self._events.append(
            RawEvent(
                *(line.position, line.stream, line.version, line.name, line.recorded_at),
                metadata=_bytes(line.metadata, line.metadata_base64, "metadata"),
                payload=_bytes(line.payload, line.payload_base64, "payload"),
                command_id=line.command_id,
            )
        )

    def _take_seal(self, shape: _SealShape) -> Sealed:
        seal = Seal(shape.first, shape.last, shape.recorded_at, bytes.fromhex(shape.hash))
        events, last = self._events, self._position + len(self._events)
        if not events or (seal.first, seal.last) != (self._position + 1, last):
            raise self._bad(
                f"seals {seal.first}..{seal.last}, and the events before it are {self._position + 1}..{last}"
            )
        if seal.recorded_at != events[0].recorded_at or (self._at is not None and seal.recorded_at < self._at):
            raise self._bad("is recorded at another time than its events, or before the seal before it")
        if seal_hash(self._hash, events) != seal.hash:
            raise self._bad(f"is the seal of other events than those of the lines {self._began} to {self._number - 1}")
        self._position, self._at, self._hash, self._events = last, seal.recorded_at, seal.hash, []
        return Sealed(self._began, events, seal, self._offset)

    def _bad(self, why: str) -> BadLine:
        return BadLine(self._number, why)


def _bytes(raw: Raw, encoded: str | None, field: str) -> bytes:
    stored = bytes(raw)
    if bool(stored) == (encoded is not None):
        raise ValueError(f"needs {field} or {field}_base64")
    return b64decode(encoded, validate=True) if encoded is not None else stored
