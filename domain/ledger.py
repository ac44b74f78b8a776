"""The state that decides: books, accounts with their totals, and entries, as far as they are known.

Everything in it is immutable, so a `Draft` on top of a `Ledger` is thrown away for nothing when its batch is not kept.
"""

from collections.abc import Callable, Iterable, Mapping, MutableMapping
from datetime import datetime, timedelta
from itertools import islice
from typing import ClassVar, TypeVar, overload
from uuid import UUID

from msgspec import Struct

from domain import account as account_rules
from domain import book as book_rules
from domain import escrow as escrow_rules
from domain import hold as hold_rules
from domain import payment as payment_rules
from domain import posting
from domain.account import Account
from domain.audit import Seal, seal_hash
from domain.book import Book
from domain.escrow import Escrow
from domain.events import (
    AccountOpened,
    BatchPosted,
    BookOpened,
    BookPaymentPolicySet,
    CommandRefused,
    EntryPosted,
    EntryReversed,
    EscrowEvent,
    EscrowFunded,
    Event,
    HoldCaptured,
    HoldExpired,
    HoldIncreased,
    HoldPlaced,
    HoldVoided,
    Metadata,
    PaymentEvent,
    PaymentIntentCreated,
    RawEvent,
    Recorded,
    SettlementRecorded,
    encode,
    lines,
    value_date_of,
)
from domain.hold import Hold
from domain.journal import Entry
from domain.payment import Payment
from domain.posting import PostingRow, Totals

V = TypeVar("V")
D = TypeVar("D")

RECENT_MAX = 20_000
"""Holds, and payments, that a ledger knows at once: those under way that were decided upon last."""


class Overlay(dict[UUID, V]):
    """What changed on top of `base`, which stays as it is: only keys set here are in it as a dict.

    Reads fall through. It stands for `collections.ChainMap`, whose every read is several Python calls.
    """

    def __init__(self, base: Mapping[UUID, V]) -> None:
        super().__init__()
        self._base = base

    def __missing__(self, key: UUID) -> V:
        return self._base[key]

    def __contains__(self, key: object) -> bool:
        return super().__contains__(key) or key in self._base

    @overload
    def get(self, key: UUID, default: None = None, /) -> V | None: ...
    @overload
    def get(self, key: UUID, default: V, /) -> V: ...
    @overload
    def get(self, key: UUID, default: D, /) -> V | D: ...
    def get(self, key: UUID, default: object = None, /) -> object:
        try:
            return self[key]
        except KeyError:
            return default


class Head(Struct, frozen=True):
    """The end of the log: its last position (0 when empty), that batch's time and hash, and the time now."""

    position: int
    recorded_at: datetime
    hash: bytes
    now: datetime

    @property
    def next_at(self) -> datetime:
        """When the next batch is recorded: now, but never before the batch before it."""
        return max(self.now, self.recorded_at)


class Batch(Struct, frozen=True):
    """What one commit appends: events, the postings they make, and the seal over them."""

    events: list[RawEvent]
    postings: list[PostingRow]
    seal: Seal


class Ledger:
    """What is known up to the position `applied`. Absent from a mapping: not looked up yet, or forgotten.

    A value of None says that it was looked up and does not exist.
    """

    learns: ClassVar = False
    """Whether holds and payments are known from their beginning on, though nobody looked for them."""

    def __init__(self) -> None:
        self.applied = 0
        self.books: MutableMapping[UUID, Book | None] = {}
        self.accounts: MutableMapping[UUID, Account | None] = {}
        self.totals: MutableMapping[UUID, Totals] = {}
        self.entries: MutableMapping[UUID, Entry | None] = {}
        self.holds: MutableMapping[UUID, Hold | None] = {}
        self.payments: MutableMapping[UUID, Payment | None] = {}
        self.settlements: MutableMapping[UUID, SettlementRecorded | None] = {}
        self.escrows: MutableMapping[UUID, Escrow | None] = {}

    def apply(self, recorded: Recorded) -> None:
        """Bring what is known of the things this event touches up to date; the rest is left to be looked up."""
        self._post(recorded)
        event, stream = recorded.event, recorded.stream_id
        match event:
            case EntryPosted():
                if stream in self.entries:
                    self.entries[stream] = Entry(stream, recorded.version, event, None)
            case HoldPlaced():
                if self.learns or stream in self.holds:
                    self.holds[stream] = hold_rules.placed(stream, event)
            case HoldIncreased() | HoldCaptured() | HoldVoided() | HoldExpired():
                hold = self.holds.get(stream)
                if hold is not None:
                    self.holds[stream] = hold_rules.evolve(hold, event)
            case PaymentIntentCreated():
                if self.learns or stream in self.payments:
                    self.payments[stream] = payment_rules.created(stream, event, recorded.metadata.actor)
            case PaymentEvent():
                payment = self.payments.get(stream)
                if payment is not None:
                    self.payments[stream] = payment_rules.evolve(
                        payment, event, recorded.recorded_at, recorded.metadata.actor
                    )
            case SettlementRecorded():
                if stream in self.settlements:
                    self.settlements[stream] = event
            case EscrowFunded():
                if stream in self.escrows:
                    self.escrows[stream] = escrow_rules.created(stream, event, recorded.metadata.actor)
            case EscrowEvent():
                escrow = self.escrows.get(stream)
                if escrow is not None:
                    self.escrows[stream] = escrow_rules.evolve(escrow, event)
            case EntryReversed():
                entry = self.entries.get(stream)
                if entry is not None:
                    self.entries[stream] = Entry(entry.id, recorded.version, entry.posted, event.reversed_by)
            case BookOpened():
                self.books[stream] = book_rules.opened(stream, event)
            case BookPaymentPolicySet():
                book = self.books.get(stream)
                if book is not None:
                    self.books[stream] = book_rules.evolve(book, event)
            case AccountOpened():
                self.accounts[stream] = account_rules.opened(stream, event)
                self.totals[stream] = posting.ZERO
            case CommandRefused() | BatchPosted():
                pass
            case _:
                known = self.accounts.get(stream)
                if known is not None:
                    self.accounts[stream] = account_rules.evolve(known, event)
        self.applied = recorded.position

    @property
    def is_empty(self) -> bool:
        """Whether nothing is known."""
        return not (self.books or self.accounts or self.entries or self.holds or self.payments)

    def _post(self, recorded: Recorded) -> None:
        for line in lines(recorded.event):
            before = self.totals.get(line.account_id)
            if before is not None:
                self.totals[line.account_id] = line.onto(before)

    def remember(self, holds: Mapping[UUID, Hold | None], payments: Mapping[UUID, Payment | None]) -> None:
        """Know what was decided upon as it then is, while it is under way: that is what is asked for next."""
        _remember(self.holds, holds, lambda hold: hold.status is hold_rules.Status.HELD)
        _remember(self.payments, payments, lambda payment: payment.status not in payment_rules.ENDED)

    def forget(self) -> None:
        """Drop everything known, as after a long gap or a failure; it is looked up again when needed."""
        for mapping in (
            *(self.books, self.accounts, self.totals, self.entries, self.holds, self.payments),
            *(self.settlements, self.escrows),
        ):
            mapping.clear()


class Draft(Ledger):
    """What is being decided on top of a ledger: later commands see what earlier ones did.

    Args:
        base: What is known; another draft, for what is kept or thrown away together within a batch.
        now: When the batch is recorded.
        intent_life: How long a payment's intent is left alone unless its client says; None for ever.
    """

    learns = True

    def __init__(self, base: Ledger, now: datetime, intent_life: timedelta | None = None) -> None:
        self._base = base
        self.now = now
        self.intent_life: timedelta | None = base.intent_life if isinstance(base, Draft) else intent_life
        self.applied = base.applied
        self.books = Overlay(base.books)
        self.accounts = Overlay(base.accounts)
        self.totals = Overlay(base.totals)
        self.entries = Overlay(base.entries)
        self.holds = Overlay(base.holds)
        self.payments = Overlay(base.payments)
        self.settlements = Overlay(base.settlements)
        self.escrows = Overlay(base.escrows)
        self.events: list[RawEvent] = []
        self.postings: list[PostingRow] = []

    def append(
        self, decided: Iterable[tuple[UUID, int, Event]], metadata: Metadata, command_id: UUID | None = None
    ) -> list[Recorded]:
        """Add one command's events, each given with its stream and version there.

        `command_id` marks the first of them, where its stream does not bear the command's own name.
        """
        meta = encode(metadata)
        added = []
        for stream, version, event in decided:
            position = self.applied + 1
            raw = RawEvent(position, stream, version, event.name, self.now, meta, encode(event), command_id)
            recorded = Recorded(position, stream, version, self.now, event, metadata, command_id)
            self.apply(recorded)
            self.events.append(raw)
            added.append(recorded)
            command_id = None
        return added

    def _post(self, recorded: Recorded) -> None:
        """Every account that a command touches is known here, so its postings are numbered and summed up."""
        touched = lines(recorded.event)
        if touched:
            self.postings += posting.rows(
                touched,
                position=recorded.position,
                value_date=value_date_of(recorded.event, self.now.date()),
                totals=self.totals,
            )

    def batch(self, head: Head) -> Batch:
        """What is to be committed after `head`; there must be at least one event."""
        first, last = self.events[0].position, self.events[-1].position
        assert first == head.position + 1, (first, head)
        seal = Seal(first, last, self.now, seal_hash(head.hash, self.events))
        return Batch(self.events, self.postings, seal)

    def keep(self) -> None:
        """What was decided becomes what is known to the base: it is committed, or part of the larger draft."""
        base = self._base
        base.books.update(self.books)
        base.accounts.update(self.accounts)
        base.totals.update(self.totals)
        base.applied = self.applied
        if isinstance(base, Draft):
            base.entries.update(self.entries)
            base.holds.update(self.holds)
            base.payments.update(self.payments)
            base.settlements.update(self.settlements)
            base.escrows.update(self.escrows)
            base.events.extend(self.events)
            base.postings.extend(self.postings)
        else:
            base.remember(self.holds, self.payments)


def _remember(
    known: MutableMapping[UUID, V | None], decided: Mapping[UUID, V | None], lasts: Callable[[V], bool]
) -> None:
    for name, thing in decided.items():
        if thing is not None and lasts(thing):
            known[name] = thing
        else:
            known.pop(name, None)
    if len(known) > RECENT_MAX:
        for name in list(islice(known, RECENT_MAX // 2)):  # Those known longest.
            del known[name]
