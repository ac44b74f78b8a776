"""Logs to read: events written past the desk, by the one writer there is, for the tests of the read side."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime
from types import TracebackType
from typing import Self
from uuid import UUID, uuid4

from adapters.postgres.store import PostgresEventStore
from domain import ids
from domain.account import Type
from domain.events import (
    AccountClosed,
    AccountFrozen,
    AccountLimitsChanged,
    AccountOpened,
    AccountUnfrozen,
    BookOpened,
    CommandRefused,
    EntryPosted,
    EntryReversed,
    Event,
    HoldCaptured,
    HoldExpired,
    HoldIncreased,
    HoldPlaced,
    HoldVoided,
    Metadata,
    recorded,
)
from domain.ledger import Draft, Ledger
from domain.posting import Posting, Side

DAY = date(2026, 1, 31)


class Scribe:
    """Writes to the log: each call is a commit, unless `one_commit` gathers several."""

    def __init__(self, dsn: str) -> None:
        self._store = PostgresEventStore(dsn)
        self._ledger = Ledger()
        self._pending: list[tuple[UUID, int, Event, Metadata]] | None = None
        self._opened: dict[UUID, AccountOpened] = {}
        self._versions: dict[UUID, int] = {}
        self._entries: dict[UUID, EntryPosted] = {}
        self._holds: dict[UUID, tuple[HoldPlaced, int]] = {}
        """With what remains of each."""
        self.actor = "alice"
        self.position = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._store.close()

    @contextmanager
    def one_commit(self) -> Iterator[None]:
        self._pending = []
        yield
        pending, self._pending = self._pending, None
        self._commit(pending)

    def book(self, code: str = "main") -> UUID:
        book_id = ids.book_id(code)
        self._add(book_id, BookOpened(code=code, title=f"The {code} book"))
        return book_id

    def account(
        self, book: UUID, code: str, type: Type = Type.ASSET, currency: str = "EUR", *, ceiling: int | None = None
    ) -> UUID:
        account_id = ids.account_id(book, code)
        self._opened[account_id] = AccountOpened(
            book_id=book,
            code=code,
            type=type.value,
            currency=currency,
            overdraft_limit=None,
            ceiling=ceiling,
            title=f"Account {code}",
            opened_on=DAY,
            metadata={"branch": "north"},
        )
        self._add(account_id, self._opened[account_id])
        return account_id

    def freeze(self, account: UUID) -> None:
        self._add(account, AccountFrozen(reason="asked to"))

    def unfreeze(self, account: UUID) -> None:
        self._add(account, AccountUnfrozen())

    def close(self, account: UUID) -> None:
        self._add(account, AccountClosed())

    def transfer(self, debit: UUID, credit: UUID, amount: int, description: str = "") -> UUID:
        return self.entry([(debit, Side.DEBIT, amount), (credit, Side.CREDIT, amount)], description)

    def entry(
        self, lines: list[tuple[UUID, Side, int]], description: str = "", *, reverses: UUID | None = None
    ) -> UUID:
        entry_id = uuid4()
        self._entries[entry_id] = EntryPosted(
            book_id=self._opened[lines[0][0]].book_id,
            value_date=DAY,
            postings=tuple(Posting(a, side, amount, self._opened[a].currency) for a, side, amount in lines),
            description=description,
            reverses=reverses,
        )
        self._add(entry_id, self._entries[entry_id])
        return entry_id

    def reverse(self, entry: UUID) -> UUID:
        posted = self._entries[entry]
        mirror = self.entry([(p.account_id, p.side.other, p.amount) for p in posted.postings], reverses=entry)
        self._add(entry, EntryReversed(book_id=posted.book_id, reversed_by=mirror))
        return mirror

    def limit(self, account: UUID, ceiling: int | None, *, effective_at: datetime) -> None:
        self._add(
            account, AccountLimitsChanged(overdraft_limit=None, floor=None, ceiling=ceiling, effective_at=effective_at)
        )

    def hold(self, account: UUID, destination: UUID, amount: int, *, expires_at: datetime | None = None) -> UUID:
        """Funds of a debit-normal `account` are set aside."""
        hold_id = uuid4()
        placed = HoldPlaced(
            book_id=self._opened[account].book_id,
            postings=self._of_hold(account, destination, amount),
            expires_at=expires_at,
            description="A hold",
        )
        self._holds[hold_id] = (placed, amount)
        self._add(hold_id, placed)
        return hold_id

    def increase(self, hold: UUID, amount: int) -> None:
        placed, remaining = self._holds[hold]
        self._holds[hold] = (placed, remaining + amount)
        self._add(hold, HoldIncreased(book_id=placed.book_id, postings=self._part(hold, amount)))

    def capture(self, hold: UUID, amount: int, *, final: bool = False) -> UUID:
        placed, remaining = self._holds[hold]
        final = final or amount == remaining
        released, entry_id = remaining if final else amount, uuid4()
        self._holds[hold] = (placed, remaining - released)
        captured = HoldCaptured(
            book_id=placed.book_id, entry_id=entry_id, amount=amount, released=self._part(hold, released), final=final
        )
        self._add(hold, captured)
        entry = EntryPosted(
            book_id=placed.book_id, value_date=DAY, postings=self._part(hold, amount), captures=hold, recipe={"n": 1}
        )
        self._add(entry_id, entry)
        return entry_id

    def void(self, hold: UUID) -> None:
        placed, remaining = self._holds[hold]
        self._add(hold, HoldVoided(book_id=placed.book_id, released=self._part(hold, remaining)))

    def expire(self, hold: UUID) -> None:
        placed, remaining = self._holds[hold]
        self._add(hold, HoldExpired(book_id=placed.book_id, released=self._part(hold, remaining)))

    def _part(self, hold: UUID, amount: int) -> tuple[Posting, Posting]:
        source, destination = self._holds[hold][0].postings
        return self._of_hold(source.account_id, destination.account_id, amount)

    def _of_hold(self, account: UUID, destination: UUID, amount: int) -> tuple[Posting, Posting]:
        currency = self._opened[account].currency
        return Posting(account, Side.CREDIT, amount, currency), Posting(destination, Side.DEBIT, amount, currency)

    def refuse(self, command: str, scope: UUID, code: str, **details: str | int | None) -> UUID:
        command_id = uuid4()
        self._add(command_id, CommandRefused(command=command, scope=scope, code=code, details=details))
        return command_id

    def event(self, stream: UUID, event: Event) -> None:
        self._add(stream, event)

    def _add(self, stream: UUID, event: Event) -> None:
        version = self._versions[stream] = self._versions.get(stream, 0) + 1
        metadata = Metadata(actor=self.actor, request_id=f"req-{stream.hex[:12]}", idempotency_key=f"key-{stream}")
        added = (stream, version, event, metadata)
        if self._pending is None:
            self._commit([added])
        else:
            self._pending.append(added)

    def _commit(self, events: list[tuple[UUID, int, Event, Metadata]]) -> None:
        with self._store.writing() as writing:
            for raw in writing.events_after(self._ledger.applied):  # What another one wrote.
                self._ledger.apply(recorded(raw))
            draft = Draft(self._ledger, writing.head.next_at)
            for stream, version, event, metadata in events:
                draft.append([(stream, version, event)], metadata)
            writing.append(draft.batch(writing.head))
        draft.keep()
        self.position = draft.applied
