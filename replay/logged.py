"""Events as verification reads them: places and bytes first, and of an entry no more than it needs, as that is quicker.

What is refused here is not wrong yet: `domain.events.recorded` says so of it, or understands it.
"""

import struct
from datetime import date
from functools import lru_cache
from typing import Annotated, Final, Literal
from uuid import UUID

import msgspec
from msgspec import Meta, Struct

from domain.events import EntryPosted, Metadata, RawEvent
from replay.rows import Layout, layout, moment

EVENTS: Final[Layout] = layout(
    "daybook.events",
    "position stream:uuid version:int4 recorded_at:timestamptz name:text metadata:bytea payload:bytea command:uuid",
)

_HEAD: Final = struct.Struct(">hiqi16siiiqi")
"""Of a row: how many fields, and the first four after their lengths; then the length of the fifth."""
_LENGTH: Final = struct.Struct(">i").unpack_from


class Logged(Struct, frozen=True, gc=False):
    """An event's row, its bytes not looked into. `recorded_at` is in microseconds since 2000; no `command` is empty."""

    position: int
    stream: bytes
    version: int
    recorded_at: int
    name: bytes
    metadata: bytes
    payload: bytes
    command: bytes

    def raw(self) -> RawEvent:
        """In the domain's form.

        Raises:
            OverflowError, UnicodeDecodeError: It has none.
        """
        return RawEvent(
            self.position,
            UUID(bytes=self.stream),
            self.version,
            self.name.decode(),
            moment(self.recorded_at),
            self.metadata,
            self.payload,
            UUID(bytes=self.command) if self.command else None,
        )


def logged(row: bytes) -> Logged:
    """From a row of `EVENTS`."""
    _, _, position, _, stream, _, version, _, recorded_at, length = _HEAD.unpack_from(row)
    metadata_at = _HEAD.size + length + 4
    payload_at = metadata_at + _LENGTH(row, metadata_at - 4)[0] + 4
    command_at = payload_at + _LENGTH(row, payload_at - 4)[0] + 4
    return Logged(
        position,
        stream,
        version,
        recorded_at,
        row[_HEAD.size : metadata_at - 4],
        row[metadata_at : payload_at - 4],
        row[payload_at : command_at - 4],
        row[command_at:],
    )


class Leg(Struct, gc=False, forbid_unknown_fields=True):
    """One posting of an entry. `account_id` is as it is written."""

    account_id: str
    side: Literal["debit", "credit"]
    amount: Annotated[int, Meta(ge=1)]
    currency: str


class _Entry(Struct, kw_only=True, gc=False, forbid_unknown_fields=True):
    book_id: str
    value_date: date
    postings: Annotated[list[Leg], Meta(min_length=1)]
    description: str = ""
    reference: str = ""
    metadata: dict[str, str] = {}


class Entry(Struct, frozen=True, gc=False):
    """A balanced entry that neither reverses nor captures and was no recipe: most are such. `book` is an id's bytes."""

    position: int
    stream: bytes
    recorded_at: int
    book: bytes
    value_date: date
    postings: list[Leg]
    description: str
    reference: str
    metadata: dict[str, str]
    told: Metadata


ENTRY: Final = EntryPosted.name.encode()
_payload = msgspec.json.Decoder(_Entry).decode
_metadata = msgspec.json.Decoder(Metadata).decode


def entry(event: Logged) -> Entry | None:
    """The event as such an entry, if it is one."""
    if event.name != ENTRY:
        return None
    try:
        told, said = _metadata(event.metadata), _payload(event.payload)
        book = _id(said.book_id)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    if not _balanced(said.postings):
        return None
    return Entry(
        event.position,
        event.stream,
        event.recorded_at,
        book,
        said.value_date,
        said.postings,
        said.description,
        said.reference,
        said.metadata,
        told,
    )


def understood_id(text: str) -> UUID:
    """An id as payloads have it.

    Raises:
        msgspec.ValidationError: It is none.
    """
    return msgspec.convert(text, UUID)


@lru_cache(256)
def _id(text: str) -> bytes:
    """Of a book: there are few."""
    return understood_id(text).bytes


def _balanced(postings: list[Leg]) -> bool:
    if len(postings) == 2:
        one, other = postings
        if one.amount == other.amount and one.side != other.side and one.currency == other.currency:
            return True
    sums: dict[str, int] = {}
    for posting in postings:
        amount = posting.amount if posting.side == "debit" else -posting.amount
        sums[posting.currency] = sums.get(posting.currency, 0) + amount
    return not any(sums.values())
