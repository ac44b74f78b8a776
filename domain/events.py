"""What happened. Each event has a stored name, `noun.verb_phrase.vN`, given by hand and never reused.

A new optional field keeps the version; any other change is a new version and a step in `upcasts.py`. An event of a
name or with a field that this code does not know was written by a newer Daybook and is refused, never half read.
"""

from datetime import date, datetime
from typing import Any, ClassVar, Final
from uuid import UUID

import msgspec
from msgspec import Struct

from domain.errors import EventMalformed, EventTooNew
from domain.posting import Posting, sums
from domain.upcasts import UPCASTS


class Event(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A fact, as it is stored. `name` is the stored name."""

    name: ClassVar[str]


class BookOpened(Event, frozen=True, kw_only=True):
    """A book: accounts and entries that belong together and never mix with another book's."""

    name: ClassVar[str] = "book.opened.v1"
    code: str
    title: str = ""
    metadata: dict[str, str] = {}


class AccountOpened(Event, frozen=True, kw_only=True):
    """An account of one currency. Limits are in minor units, on the account's normal side; None is no limit."""

    name: ClassVar[str] = "account.opened.v1"
    book_id: UUID
    code: str
    type: str
    currency: str
    overdraft_limit: int | None
    floor: int | None = None
    ceiling: int | None = None
    title: str = ""
    opened_on: date
    metadata: dict[str, str] = {}


class AccountFrozen(Event, frozen=True, kw_only=True):
    """Nothing is posted to the account until it is unfrozen."""

    name: ClassVar[str] = "account.frozen.v1"
    reason: str = ""


class AccountUnfrozen(Event, frozen=True, kw_only=True):
    """The account takes postings again."""

    name: ClassVar[str] = "account.unfrozen.v1"
    reason: str = ""


class AccountClosed(Event, frozen=True, kw_only=True):
    """The account, empty, takes no posting ever again."""

    name: ClassVar[str] = "account.closed.v1"
    reason: str = ""


class EntryPosted(Event, frozen=True, kw_only=True):
    """A whole journal entry: half of one cannot be stored, nor one that does not balance.

    Raises:
        ValueError: There are no postings, an amount is not positive, or debits and credits differ in a currency.
    """

    name: ClassVar[str] = "journal_entry.posted.v1"
    book_id: UUID
    value_date: date
    postings: tuple[Posting, ...]
    description: str = ""
    reference: str = ""
    metadata: dict[str, str] = {}
    reverses: UUID | None = None

    def __post_init__(self) -> None:
        if not self.postings or any(posting.amount < 1 for posting in self.postings):
            raise ValueError("an entry has postings, each of a positive amount")
        if any(debits != credits for debits, credits in sums(self.postings).values()):
            raise ValueError("debits and credits differ")


class EntryReversed(Event, frozen=True, kw_only=True):
    """The entry was undone by a mirror entry."""

    name: ClassVar[str] = "journal_entry.reversed.v1"
    book_id: UUID
    reversed_by: UUID


class CommandRefused(Event, frozen=True, kw_only=True):
    """The kept "no" to a command, on the stream its key names. `scope` is the book or thing it was asked of."""

    name: ClassVar[str] = "command.refused.v1"
    command: str
    scope: UUID
    code: str
    details: dict[str, str | int | None] = {}


class Metadata(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Who asked, and what for. `request_hash` is over the command as understood, in base64url."""

    actor: str
    request_id: str = ""
    correlation_id: str = ""
    causation_id: str = ""
    idempotency_key: str = ""
    request_hash: str = ""


class RawEvent(Struct, frozen=True):
    """An event as stored: the bytes of `metadata` and `payload` are what was hashed.

    `command_id` names the command of an event that stands on the stream of something else than its key names.
    """

    position: int
    stream_id: UUID
    version: int
    name: str
    recorded_at: datetime
    metadata: bytes
    payload: bytes
    command_id: UUID | None = None


class Recorded(Struct, frozen=True):
    """An event as understood, with its place in the log."""

    position: int
    stream_id: UUID
    version: int
    recorded_at: datetime
    event: Event
    metadata: Metadata
    command_id: UUID | None = None


EVENTS: Final[dict[str, type[Event]]] = {cls.name: cls for cls in Event.__subclasses__()}

_encode = msgspec.json.Encoder().encode
_decoders = {name: msgspec.json.Decoder(cls) for name, cls in EVENTS.items()}
_metadata = msgspec.json.Decoder(Metadata)


def encode(value: Event | Metadata) -> bytes:
    """The bytes that are stored and hashed."""
    return _encode(value)


def decode(name: str, payload: bytes) -> Event:
    """The event of that stored name, brought up to the newest shape.

    Raises:
        EventTooNew: The name, or a field, is not known here.
        EventMalformed: The bytes are not what the name promises.
    """
    try:
        decoder = _decoders.get(name)
        return decoder.decode(payload) if decoder else _upcast(name, msgspec.json.decode(payload))
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _not_understood(name, error) from error


def _not_understood(what: str, error: Exception) -> EventTooNew | EventMalformed:
    if "unknown field" in str(error):
        return EventTooNew(f"{what} has a field this Daybook does not know: {error}")
    return EventMalformed(f"{what}: {error}")


def _upcast(name: str, shape: dict[str, Any]) -> Event:
    while name not in EVENTS:
        if name not in UPCASTS:
            raise EventTooNew(f"this Daybook does not know events named {name}")
        name, step = UPCASTS[name]
        shape = step(shape)
    return msgspec.convert(shape, EVENTS[name])


def recorded(raw: RawEvent) -> Recorded:
    """A stored event, decoded; raises as `decode` does."""
    try:
        metadata = _metadata.decode(raw.metadata)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _not_understood(f"metadata at {raw.position}", error) from error
    event = decode(raw.name, raw.payload)
    return Recorded(raw.position, raw.stream_id, raw.version, raw.recorded_at, event, metadata, raw.command_id)
