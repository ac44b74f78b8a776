"""A batch: many commands in one request, decided one after the other under one lock and committed at once.

Atomic: all of them or none. Independent: each on its own, as if asked by itself.
"""

from collections.abc import Iterator, Sequence
from functools import reduce
from operator import or_
from typing import Annotated, Any, ClassVar, Final, Literal, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, create_model, model_validator

from commands.account import BookName, ChangeLimits, CloseAccount, FreezeAccount, OpenAccount, UnfreezeAccount
from commands.book import OpenBook
from commands.command import Asked, Command, Decided, ask, book_named, hashed
from commands.escrow import ExpireEscrow, FundEscrow, ReleaseEscrow
from commands.hold import CaptureHold, ExpireHold, IncreaseHold, PlaceHold, VoidHold
from commands.journal import PostEntry, ReverseEntry
from commands.payment import (
    AcceptDispute,
    AttachMethod,
    CancelPayment,
    CapturePayment,
    ConfirmPayment,
    ContestDispute,
    CreatePayment,
    IncreaseAuthorization,
    RefundPayment,
    ResolveOutcome,
    RetryPayment,
    ReversePayment,
)
from commands.policy import SetPaymentPolicy
from commands.settlement import RecordSettlement
from domain import ids
from domain.events import Metadata
from domain.ledger import Draft

COMMANDS: Final[tuple[type[Command], ...]] = (
    OpenBook,
    SetPaymentPolicy,
    OpenAccount,
    FreezeAccount,
    UnfreezeAccount,
    ChangeLimits,
    CloseAccount,
    PostEntry,
    ReverseEntry,
    PlaceHold,
    IncreaseHold,
    CaptureHold,
    VoidHold,
    ExpireHold,
    FundEscrow,
    ReleaseEscrow,
    ExpireEscrow,
    CreatePayment,
    AttachMethod,
    ConfirmPayment,
    RetryPayment,
    IncreaseAuthorization,
    CapturePayment,
    CancelPayment,
    RefundPayment,
    ReversePayment,
    ContestDispute,
    AcceptDispute,
    ResolveOutcome,
    RecordSettlement,
)
"""Every command that can be asked by itself or in a batch. An approval cannot, nor the word that a condition is met: it
is one person's own, and who gives it stands in the request's head alone."""

BATCH_MAX: Final = 10_000
"""Commands of one batch."""

Key = Annotated[str, StringConstraints(pattern=r"^[\x20-\x7e]{1,255}$")]


class Item(BaseModel):
    """One command of a batch. Its key is its own for ever; without one it goes by the batch's key and its index."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    command: str
    idempotency_key: Key | None = None
    arguments: Any


def _item(model: type[Command]) -> Any:
    fields: dict[str, Any] = {"command": (Literal[model.kind], ...), "arguments": (model, ...)}
    return create_model(f"{model.__name__}Item", __base__=Item, **fields)


AnyItem: Any = Annotated[reduce(or_, map(_item, COMMANDS)), Field(discriminator="command")]


class PostBatch(Command):
    """Up to 10,000 commands of any kind, decided in order."""

    kind: ClassVar[str] = "post_batch"
    book: BookName
    mode: Literal["atomic", "independent"]
    commands: Annotated[tuple[AnyItem, ...], Field(min_length=1, max_length=BATCH_MAX, strict=False)]

    @model_validator(mode="after")
    def _no_key_twice(self) -> Self:
        keys = [item.idempotency_key for item in self.commands if item.idempotency_key is not None]
        if self.mode == "atomic" and len(set(keys)) < len(keys):
            raise ValueError("two commands of an atomic batch have the same idempotency_key")
        return self

    @property
    def scope(self) -> UUID:
        return book_named(self.book)

    def sees(self, draft: Draft) -> Iterator[tuple[str, UUID]]:
        for item in self.commands:
            yield from item.arguments.sees(draft)

    def decide(self, draft: Draft, command_id: UUID) -> Decided:
        raise AssertionError("a batch is decided command by command")


def ask_batch(batch: PostBatch, *, actor: str, key: str, **context: str) -> Asked:
    """A batch, ready for the desk, with each of its commands as asked by itself."""
    items = tuple(
        [
            ask(item.arguments, actor=actor, key=item.idempotency_key or f"{key}:{index}", **context)
            for index, item in enumerate(batch.commands)
        ]
    )
    whole = Metadata(actor=actor, idempotency_key=key, request_hash=_request_hash(batch, items), **context)
    return Asked(batch, ids.command_id(batch.scope, batch.kind, key), whole, items)


def _request_hash(batch: PostBatch, items: Sequence[Asked]) -> str:
    """Over what its commands were understood as and the keys they were given, so that they are gone over once."""
    asked = [
        [item.command, item.idempotency_key, one.metadata.request_hash]
        for item, one in zip(batch.commands, items, strict=True)
    ]
    return hashed([batch.book, batch.mode, asked])
