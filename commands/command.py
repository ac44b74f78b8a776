"""A command: what a stranger asks, checked for shape, and what it needs to be decided.

Shape, types and ranges are pydantic's business here; whether it may be done is the domain's.
"""

import re
from abc import ABC, abstractmethod
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, date, datetime, timedelta
from hashlib import sha256
from typing import Annotated, Any, ClassVar, Generic, Self, TypeVar, overload
from uuid import UUID

import orjson
from msgspec import Struct
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    WithJsonSchema,
)

from domain import ids
from domain.account import Account
from domain.events import Event, Metadata
from domain.ledger import Draft
from domain.money import AMOUNT_MAX, minor_digits

T = TypeVar("T")

Decided = list[tuple[UUID, int, Event]]
"""Events with their streams and the versions they take there."""

_MOMENT = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,6})?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_FIRST = datetime.min.replace(tzinfo=UTC) + timedelta(days=1)
_LAST = datetime.max.replace(tzinfo=UTC) - timedelta(days=1)

CODE = r"^[A-Za-z0-9][A-Za-z0-9._-]*(:[A-Za-z0-9._-]+)*$"


def _no_typeid(code: str) -> str:
    if code.startswith(("acc_", "book_")):
        raise ValueError("a code does not begin like an id")
    return code


def _currency(code: str) -> str:
    minor_digits(code)
    return code


def plain(text: str) -> str:
    """Text that Postgres, a terminal and a CSV file all take; a control character is a mistake or an attack."""
    if not text.isprintable():
        raise ValueError("control characters are not allowed")
    return text


def _day(value: Any) -> Any:
    if isinstance(value, date) or (isinstance(value, str) and len(value) == len("2026-01-31")):
        return value
    raise ValueError("a date is written YYYY-MM-DD")


def _moment(value: Any) -> Any:
    if isinstance(value, datetime) or (isinstance(value, str) and _MOMENT.fullmatch(value)):
        return value
    raise ValueError("a time is written 2026-01-31T12:00:00Z, or with an offset")


def _utc(at: datetime) -> datetime:
    """One instant is one value, however it was written, and can be shown and stored everywhere."""
    if not _FIRST < at < _LAST:
        raise ValueError("a time lies in the years 1 to 9999, wherever it is told")
    return at.astimezone(UTC)


Code = Annotated[str, StringConstraints(max_length=200, pattern=CODE), AfterValidator(_no_typeid)]
Name = Annotated[str, StringConstraints(max_length=200, pattern=CODE)]
"""A code or an id: how a thing that exists is named."""
Currency = Annotated[str, StringConstraints(pattern="^[A-Z]{3}$"), AfterValidator(_currency)]
Amount = Annotated[int, Field(ge=1, le=AMOUNT_MAX)]
Limit = Annotated[int, Field(ge=-AMOUNT_MAX, le=AMOUNT_MAX)]
Text = Annotated[str, StringConstraints(max_length=500), AfterValidator(plain)]
Instant = Annotated[AwareDatetime, BeforeValidator(_moment), AfterValidator(_utc), Field(strict=False)]
Day = Annotated[date, BeforeValidator(_day), Field(strict=False)]


def _typeid(prefix: str) -> BeforeValidator:
    return BeforeValidator(lambda value: ids.parse(prefix, value) if isinstance(value, str) else value)


def _shown(prefix: str) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "pattern": f"^{prefix}_[0-7][0-9a-hjkmnp-tv-z]{{25}}$"})


AccountId = Annotated[UUID, _typeid(ids.ACCOUNT), _shown(ids.ACCOUNT)]
EntryId = Annotated[UUID, _typeid(ids.ENTRY), _shown(ids.ENTRY)]
EscrowId = Annotated[UUID, _typeid(ids.ESCROW), _shown(ids.ESCROW)]
HoldId = Annotated[UUID, _typeid(ids.HOLD), _shown(ids.HOLD)]
PaymentId = Annotated[UUID, _typeid(ids.PAYMENT), _shown(ids.PAYMENT)]
DisputeId = Annotated[UUID, _typeid(ids.DISPUTE), _shown(ids.DISPUTE)]
MetadataKey = Annotated[str, StringConstraints(min_length=1, max_length=40), AfterValidator(plain)]
MetadataMap = Annotated[dict[MetadataKey, Text], Field(max_length=50)]


class once(Generic[T]):
    """A property worked out when first asked for. Until Python 3.12 `cached_property` takes a lock each time."""

    def __init__(self, work_out: Callable[[Any], T]) -> None:
        self._work_out = work_out
        self.__doc__ = work_out.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, one: None, owner: type) -> Self: ...
    @overload
    def __get__(self, one: object, owner: type) -> T: ...
    def __get__(self, one: object, owner: type) -> T | Self:
        if one is None:
            return self
        value = one.__dict__[self._name] = self._work_out(one)
        return value


class Command(BaseModel, ABC):
    """What is asked. Frozen, unknown fields forbidden, nothing coerced."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, ignored_types=(once,))

    kind: ClassVar[str]
    """The published name of the command, part of what its Idempotency-Key names."""

    @property
    @abstractmethod
    def scope(self) -> UUID:
        """The book it is asked of, or the thing it is asked upon."""

    names_stream: ClassVar[bool] = False
    """Whether it begins a stream of its own id."""

    @abstractmethod
    def sees(self, draft: Draft) -> Iterator[tuple[str, UUID]]:
        """What has to be looked up before it is decided, as (`book`, `account`, `entry`, `hold`, `payment`, `escrow` or
        `settlement`, id).

        Asked again after each look-up, since what it finds may lead on.
        """

    @abstractmethod
    def decide(self, draft: Draft, command_id: UUID) -> Decided:
        """The events, or a Refusal raised."""


class Asked(Struct, frozen=True):
    """A command with who asked and the id its Idempotency-Key names."""

    command: Command
    command_id: UUID
    metadata: Metadata
    items: "tuple[Asked, ...]" = ()
    """Of a batch: its commands, each as asked by itself."""
    dry: bool = False
    """To be decided, answered and forgotten."""


def ask(
    command: Command, *, actor: str, key: str, request_id: str = "", correlation_id: str = "", causation_id: str = ""
) -> Asked:
    """A command, ready for the desk."""
    metadata = Metadata(
        actor=actor,
        request_id=request_id,
        correlation_id=correlation_id,
        causation_id=causation_id,
        idempotency_key=key,
        request_hash=request_hash(command),
    )
    return Asked(command, ids.command_id(command.scope, command.kind, key), metadata)


def request_hash(command: Command) -> str:
    """Over the command as read: white space, the order of keys and defaults written out make no difference.

    An account named by its code and then by its id does: that is another request.
    """
    return hashed(command.model_dump(mode="json", exclude_defaults=True))


def hashed(understood: Any) -> str:
    """The first 128 bits of SHA-256 over plain data, in base64url without padding; the order of keys does not matter.

    It tells a client's own requests apart under its own key: nobody gains by making two of them look the same.
    """
    found = sha256(orjson.dumps(understood, option=orjson.OPT_SORT_KEYS)).digest()[:16]
    return urlsafe_b64encode(found).rstrip(b"=").decode()


def book_named(name: str) -> UUID:
    """The id of the book with that code or `book_` id; ValueError for a malformed id."""
    return ids.parse(ids.BOOK, name) if name.startswith("book_") else ids.book_id(name)


def account_named(book: UUID, name: str) -> UUID:
    """The id of the account with that code in the book, or of that `acc_` id; ValueError for a malformed id."""
    return ids.parse(ids.ACCOUNT, name) if name.startswith("acc_") else ids.account_id(book, name)


def known_accounts(draft: Draft, account_ids: Iterable[UUID], book: UUID) -> dict[UUID, Account]:
    """Those that the book has: nothing of another book is looked at, be it for a balance or a condition."""
    known = draft.accounts
    return {
        account.id: account
        for account_id in account_ids
        if (account := known[account_id]) is not None and account.book_id == book
    }
