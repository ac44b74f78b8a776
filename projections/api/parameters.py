"""What may be asked of a read: the parameters of its path and query string, checked by pydantic.

A parameter that is not known, is given twice or is not well formed raises `pydantic.ValidationError`.
"""

import re
from datetime import UTC, date, datetime
from typing import Annotated, Any, Final, Generic, Literal, Self, TypeVar
from uuid import UUID

import msgspec
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    WithJsonSchema,
    model_validator,
)
from starlette.requests import Request

from domain import ids
from domain.events import EVENTS

LIMIT_MAX: Final = 1000
POSITION_MAX: Final = 2**63 - 1
PAIR_MAX: Final = 1000
"""Characters of a metadata filter."""
EVENT_KINDS: Final = sorted({name.partition(".")[0] for name in EVENTS})

_DIGITS: Final = re.compile(r"[0-9]{1,19}", re.ASCII)
_TIME: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T.+", re.ASCII)
_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)


def digits(value: Any) -> Any:
    """Python's int() takes `1_000` and the digits of other scripts."""
    if isinstance(value, str) and not _DIGITS.fullmatch(value):
        raise ValueError("a whole number is written in the digits 0 to 9, at most 19 of them")
    return value


def _time(value: Any) -> Any:
    """Pydantic takes a bare number for seconds since 1970."""
    if isinstance(value, str) and not _TIME.fullmatch(value):
        raise ValueError("a time is written like 2026-01-31T12:00:00Z, with its offset from UTC (a plus sign as %2B)")
    return value


def _date(value: Any) -> Any:
    """As a time: no numbers, and no time of day."""
    if isinstance(value, str) and not _DATE.fullmatch(value):
        raise ValueError("a date is written like 2026-01-31")
    return value


def _known_by(at: datetime) -> datetime:
    """What will be known is not known yet: a time to come means now."""
    return min(at, datetime.now(UTC))


def _plain(text: str) -> str:
    if not text.isprintable():
        raise ValueError("control characters are not allowed")
    return text


def once(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("given more than once")
    return value


def _pair(value: Any) -> dict[str, str]:
    key, equals, of_key = once(value).partition("=")
    if not key or not equals or len(value) > PAIR_MAX:
        raise ValueError("metadata is asked for as key=value: one key, and all of its value")
    return {key: of_key}


def _kind(noun: str) -> str:
    if noun not in EVENT_KINDS:
        raise ValueError(f"one of {', '.join(EVENT_KINDS)}")
    return noun


def _account(value: Any) -> UUID:
    return ids.parse(ids.ACCOUNT, once(value))


def _entry(value: Any) -> UUID:
    return ids.parse(ids.ENTRY, once(value))


def _hold(value: Any) -> UUID:
    return ids.parse(ids.HOLD, once(value))


def _payment(value: Any) -> UUID:
    return ids.parse(ids.PAYMENT, once(value))


def _settlement(value: Any) -> UUID:
    return ids.parse(ids.SETTLEMENT, once(value))


def _dispute(value: Any) -> UUID:
    return ids.parse(ids.DISPUTE, once(value))


def _escrow(value: Any) -> UUID:
    return ids.parse(ids.ESCROW, once(value))


def _book(value: Any) -> UUID:
    """A book by its code or id; an id begins like no code may."""
    name = once(value)
    return ids.parse(ids.BOOK, name) if name.startswith("book_") else ids.book_id(name)


def _thing(value: Any) -> UUID:
    kind = once(value).partition("_")[0]
    if kind not in (ids.ACCOUNT, ids.BOOK, ids.ENTRY, ids.HOLD, ids.PAYMENT, ids.SETTLEMENT, ids.ESCROW):
        raise ValueError(
            "not the id of an account, a journal entry, a hold, a payment, a settlement, an escrow or a book"
        )
    return ids.parse(kind, once(value))


def _typeid(kind: str) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "pattern": f"^{kind}_[0-7][0-9a-hjkmnp-tv-z]{{25}}$"})


AccountId = Annotated[UUID, BeforeValidator(_account), _typeid("acc")]
EntryId = Annotated[UUID, BeforeValidator(_entry), _typeid("je")]
HoldId = Annotated[UUID, BeforeValidator(_hold), _typeid("hold")]
PaymentId = Annotated[UUID, BeforeValidator(_payment), _typeid("pay")]
EscrowId = Annotated[UUID, BeforeValidator(_escrow), _typeid("esc")]
SettlementId = Annotated[UUID, BeforeValidator(_settlement), _typeid("set")]
DisputeId = Annotated[UUID, BeforeValidator(_dispute), _typeid("dp")]
BookId = Annotated[UUID, BeforeValidator(_book), _typeid("book")]
BookName = Annotated[UUID, BeforeValidator(_book), WithJsonSchema({"type": "string"})]
"""A book's code or id."""
ThingId = Annotated[UUID, BeforeValidator(_thing), _typeid("(acc|je|hold|pay|set|esc|book)")]
Position = Annotated[int, BeforeValidator(digits), Field(ge=0, le=POSITION_MAX)]
Text = Annotated[str, StringConstraints(min_length=1, max_length=200), AfterValidator(_plain)]
Key = Annotated[str, StringConstraints(min_length=1, max_length=255), AfterValidator(_plain)]
Time = Annotated[AwareDatetime, BeforeValidator(_time)]
Date = Annotated[date, BeforeValidator(_date)]
Amount = Annotated[int, BeforeValidator(digits), Field(ge=1, le=POSITION_MAX)]
"""Minor units."""
Currency = Annotated[str, StringConstraints(pattern="^[A-Z]{3}$")]
EventKind = Annotated[str, AfterValidator(_kind), WithJsonSchema({"type": "string", "enum": EVENT_KINDS})]
"""The first word of an event's name."""
Pair = Annotated[dict[str, str], BeforeValidator(_pair), WithJsonSchema({"type": "string", "pattern": "^[^=]+=.*$"})]
"""A key of the metadata with its value, as `key=value`; the value may be empty and hold more equals signs."""


class Read(BaseModel):
    """Of every read. `current`: it sees every command acknowledged before it began, or waits, or fails.

    `eventual`: it sees what the read model has got to. `min_position`: it sees that position at least, whatever else.

    What is not there yet is waited for, for two seconds, a position past the log's end too; then it is answered with
    `read_model_behind`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    consistency: Literal["current", "eventual"] = "current"
    min_position: Position | None = None


EVENTUAL: Final = Read(consistency="eventual")
"""For a second look after a first one that was recent enough."""

Cursor = TypeVar("Cursor")


class Shaped(Read):
    """`format`: what the answer is written in, else what the Accept header prefers, else JSON.

    CSV (RFC 4180) has a line of names first. An amount is there twice: in minor units, and exact in the currency's own
    digits as `..._decimal`. Text that begins with one of = + - @ ' or a tab gets a ' before it, so that no spreadsheet
    takes it for a formula: taking one ' away from text that begins with it gives the text back.
    """

    format: Literal["json", "csv"] | None = None


class Page(Shaped, Generic[Cursor]):
    """Of every list. The cursors are items of the list: what comes after the one, or before the other.

    As CSV without `limit` and `ending_before` it is all of the list from the cursor on, streamed: what was recorded
    while it is being read may be missing from it, and nothing is in it twice.
    """

    limit: Annotated[int, BeforeValidator(digits), Field(ge=1, le=LIMIT_MAX)] = 50
    starting_after: Cursor | None = None
    ending_before: Cursor | None = None

    @model_validator(mode="after")
    def _one_direction(self) -> Self:
        if self.starting_after is not None and self.ending_before is not None:
            raise ValueError("starting_after and ending_before cannot both be given")
        return self

    @property
    def cursor(self) -> Cursor | None:
        return self.starting_after if self.ending_before is None else self.ending_before

    @property
    def window(self) -> dict[str, Any]:
        """As the queries take it; one row more than asked for tells whether there are more."""
        return {"after": self.starting_after, "before": self.ending_before, "limit": self.limit + 1}


class RecordedRange(BaseModel):
    """What was recorded from a time on (inclusive) up to a time (inclusive)."""

    recorded_at_from: Time | None = None
    recorded_at_to: Time | None = None


RANGES: Final = frozenset({"value_date_from", "value_date_to", "recorded_at_from", "recorded_at_to"})
"""Their names."""


class ValueDateRange(BaseModel):
    """What counts from a day on up to a day, both inclusive."""

    value_date_from: Date | None = None
    value_date_to: Date | None = None

    @property
    def is_dated(self) -> bool:
        return self.value_date_from is not None or self.value_date_to is not None


class Past(Read):
    """As it was known at a position of the log, or at a time; now, unless one of them is given.

    A position past the log's end is waited for, for two seconds; then it is answered with `read_model_behind`.
    """

    position: Position | None = None
    at: Annotated[Time, AfterValidator(_known_by)] | None = None

    @model_validator(mode="after")
    def _one_past(self) -> Self:
        if self.position is not None and self.at is not None:
            raise ValueError("position and at cannot both be given")
        return self

    @property
    def is_past(self) -> bool:
        return self.position is not None or self.at is not None


def as_json(pair: dict[str, str] | None) -> str | None:
    """What the metadata must contain, as the queries take it."""
    return None if pair is None else msgspec.json.encode(pair).decode()


R = TypeVar("R", bound=BaseModel)


def asked(request: Request, model: type[R]) -> R:
    """The request's path and query parameters as that model.

    Raises:
        pydantic.ValidationError: They are not what the model allows.
    """
    given: dict[str, Any] = dict(request.path_params)
    for name, value in request.query_params.multi_items():
        # One name twice would leave it open which one counts: a list is of no parameter's type.
        given[name] = [given[name], value] if name in given else value
    return model.model_validate(given)
