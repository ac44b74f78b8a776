"""Seals: each committed batch is hashed over its stored bytes and chained to the batch before it.

The bytes of an event are its fixed-width fields, big endian, each text with its length, so that no two events share an
encoding; times are microseconds since 1970-01-01 UTC.
"""

import struct
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Final

from msgspec import Struct

from domain.events import RawEvent

GENESIS: Final = bytes(32)
"""What the first seal is chained to."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_HEAD: Final = struct.Struct(">q16siq16sHII").pack
_NO_COMMAND: Final = bytes(16)


class Seal(Struct, frozen=True):
    """A batch's first and last position, its time, and SHA-256 of the previous seal's hash and the batch's bytes."""

    first: int
    last: int
    recorded_at: datetime
    hash: bytes


def stored_bytes(event: RawEvent) -> bytes:
    """What is hashed of an event: all of it."""
    name = event.name.encode()
    command = event.command_id.bytes if event.command_id is not None else _NO_COMMAND
    micros = (event.recorded_at - _EPOCH) // _MICROSECOND
    head = _HEAD(
        event.position,
        event.stream_id.bytes,
        event.version,
        micros,
        command,
        len(name),
        len(event.metadata),
        len(event.payload),
    )
    return head + name + event.metadata + event.payload


def seal_hash(previous: bytes, events: Iterable[RawEvent]) -> bytes:
    """The hash of the batch of those events after the seal `previous`."""
    digest = sha256(previous)
    for event in events:
        digest.update(stored_bytes(event))
    return digest.digest()
