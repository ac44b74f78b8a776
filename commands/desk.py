"""The desk: takes whatever has queued as one batch, decides it on the log's true head, and commits it at once.

One thread does this, one batch after the other; any number of desks on one database are kept apart by the log's lock.
"""

import asyncio
import threading
from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, MutableMapping, Sequence
from contextlib import suppress
from datetime import timedelta
from itertools import chain, repeat, takewhile
from uuid import UUID

from msgspec import Struct, field
from msgspec.structs import replace

from commands.batch import PostBatch
from commands.command import Asked
from domain import account as account_rules
from domain import book as book_rules
from domain import escrow as escrow_rules
from domain import hold as hold_rules
from domain import payment as payment_rules
from domain.account import Account
from domain.audit import Seal
from domain.errors import (
    BatchRefused,
    ConflictInStore,
    HeadMoved,
    KeyInFlight,
    KeyReused,
    OutcomeUnknown,
    Overloaded,
    Refusal,
    Stopping,
    Unavailable,
    refusal_from,
)
from domain.escrow import Escrow
from domain.events import (
    EVENTS,
    BatchPosted,
    BookOpened,
    BookPaymentPolicySet,
    CommandRefused,
    EntryPosted,
    EntryReversed,
    EscrowEvent,
    HoldCaptured,
    HoldExpired,
    HoldIncreased,
    HoldPlaced,
    HoldVoided,
    PaymentEvent,
    RawEvent,
    Recorded,
    SettlementRecorded,
    recorded,
)
from domain.hold import Hold
from domain.journal import Entry
from domain.ledger import Draft, Ledger, Overlay
from domain.payment import Payment
from domain.ports import EventStore, Writing
from domain.posting import ZERO

BATCH_MAX = 1000
"""Commands decided under one taking of the lock."""
QUEUE_MAX = 10_000
"""Commands that may wait."""
PATIENCE_S = 9.5
"""How long a caller waits for an answer."""
CATCH_UP_MAX = 20_000
"""Events of others that are applied one by one; past that, everything known is forgotten and looked up anew."""
KNOWN_MAX = 1_000_000
"""Accounts kept in memory."""
_RESOLVE_PAUSES_S = (0.0, 0.1, 0.3, *repeat(1.0, 6))


class Outcome(Struct, frozen=True):
    """The answer to a command: what it did (the first event is the one it is known by), or the refusal that was kept.

    `account`, `hold`, `payment` and `escrow` are as the command left them, for a command upon one. `replayed` says that
    this is the first answer, given again. `items` are the answers to a batch's commands, in order.
    """

    recorded: tuple[Recorded, ...]
    refusal: Refusal | None
    replayed: bool
    account: Account | None = None
    hold: Hold | None = None
    payment: Payment | None = None
    escrow: Escrow | None = None
    items: "tuple[Answer, ...]" = ()

    @property
    def position(self) -> int:
        """Where in the log the answer is; of a batch, where the last of its commands' answers is."""
        items = (item.position for item in self.items if isinstance(item, Outcome))
        return max(self.recorded[0].position, *items, 0)


Answer = Outcome | Exception


def _each(answer: Answer) -> tuple[Answer, ...]:
    """The answer, or those to a batch's commands."""
    return answer.items or (answer,) if isinstance(answer, Outcome) else (answer,)


SIZES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000)
"""Bounds between sizes of batches, as they are counted: up to and including each."""


class Tally(Struct):
    """What the desk has done since it was made. Batches that were decided again count again.

    `sizes` are how many batches had how many commands: up to each of `SIZES`, and last those larger. `refusals` are by
    code, the commands in batches among them; `commits` are batches that left anything, `events` what they left.
    """

    batches: int = 0
    commits: int = 0
    events: int = 0
    landed: int = 0
    replayed: int = 0
    refused: int = 0
    failed: int = 0
    taken: int = 0
    sizes: list[int] = field(default_factory=lambda: [0] * (len(SIZES) + 1))
    refusals: Counter[str] = field(default_factory=Counter)

    def take(self, commands: int) -> None:
        """A batch of that many is decided."""
        self.batches += 1
        self.taken += commands
        self.sizes[bisect_left(SIZES, commands)] += 1


class _Waiting(Struct, eq=False):
    asked: Asked
    names: set[UUID]
    future: "asyncio.Future[Outcome]"
    loop: asyncio.AbstractEventLoop
    expiry: asyncio.TimerHandle | None = None

    @property
    def size(self) -> int:
        """How many commands it is."""
        return len(self.asked.items) or 1


class Desk:
    """Commands in, outcomes out.

    Args:
        store: The event store; used by the desk's own thread alone.
        report: Told of what should not happen, as (event, details).
        intent_life: How long a payment's intent is left for somebody to have it done; None for ever.
    """

    def __init__(
        self,
        store: EventStore,
        *,
        report: Callable[[str, BaseException], None],
        batch_max: int = BATCH_MAX,
        queue_max: int = QUEUE_MAX,
        patience_s: float = PATIENCE_S,
        intent_life: timedelta | None = None,
    ) -> None:
        self._store = store
        self._intent_life = intent_life
        self._report = report
        self._batch_max = batch_max
        self._queue_max = queue_max
        self._patience_s = patience_s
        self._ledger = Ledger()
        self._seal = b""
        self._queue: deque[_Waiting] = deque()
        self._queued = 0
        self._counting = threading.Lock()
        self._in_flight: set[UUID] = set()
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="desk", daemon=True)
        self.tally = Tally()

    def start(self) -> None:
        self._thread.start()

    @property
    def queued(self) -> int:
        """Commands waiting to be looked at, those of batches counted one by one."""
        return self._queued

    def _has_queued(self, more: int) -> None:
        with self._counting:
            self._queued += more

    @property
    def alive(self) -> bool:
        """Whether commands are being decided at all."""
        return self._thread.is_alive()

    async def submit(self, asked: Asked) -> Outcome:
        """Decide the command and make it durable, or keep its refusal.

        A caller that goes away neither undoes nor half-does its command.

        Raises:
            KeyInFlight, KeyReused: The key is not free.
            Overloaded, Stopping, Unavailable: Nothing was applied, and the key is unused.
            OutcomeUnknown: It may or may not have been applied; asking again with the same key tells.
        """
        if self._stopping.is_set():
            raise Stopping
        names = {asked.command_id, *(item.command_id for item in asked.items)} if not asked.dry else set()
        if not self._in_flight.isdisjoint(names):
            raise KeyInFlight
        if self._queued >= self._queue_max:
            raise Overloaded
        loop = asyncio.get_running_loop()
        waiting = _Waiting(asked, names, loop.create_future(), loop)
        waiting.expiry = loop.call_later(self._patience_s, self._expire, waiting)
        self._in_flight |= names
        self._has_queued(waiting.size)
        self._queue.append(waiting)
        self._wake.set()
        return await waiting.future

    async def stop(self) -> None:
        """Take nothing more, answer what has queued, and end."""
        self._stopping.set()
        self._wake.set()
        if self._thread.is_alive():
            await asyncio.to_thread(self._thread.join)
        self._store.close()

    def _expire(self, waiting: _Waiting) -> None:
        """The caller has waited long enough: a definite no if the command was not taken up yet."""
        try:
            self._queue.remove(waiting)
        except ValueError:
            _settle(waiting, OutcomeUnknown("the command is still being decided"))
        else:
            self._has_queued(-waiting.size)
            self._in_flight -= waiting.names
            _settle(waiting, Overloaded())

    def _run(self) -> None:
        while True:
            self._wake.wait()
            self._wake.clear()
            while self._queue:
                batch = self._take()
                answers = self._answer_all([waiting.asked for waiting in batch])
                self._deliver(batch, answers)
            if self._stopping.is_set() and not self._queue:
                return

    def _take(self) -> list[_Waiting]:
        """What comes first, up to the bound; a batch that is larger goes by itself."""
        batch: list[_Waiting] = []
        size = 0
        with suppress(IndexError):  # The last one may expire just now.
            while not batch or size + self._queue[0].size <= self._batch_max:
                batch.append(self._queue.popleft())
                size += batch[-1].size
        self._has_queued(-size)
        return batch

    def _deliver(self, batch: list[_Waiting], answers: Sequence[Answer]) -> None:
        """Hand out the answers, one wake-up per event loop."""
        by_loop: dict[asyncio.AbstractEventLoop, list[tuple[_Waiting, Answer]]] = {}
        for waiting, answer in zip(batch, answers, strict=True):
            self._in_flight -= waiting.names
            by_loop.setdefault(waiting.loop, []).append((waiting, answer))
        for loop, answered in by_loop.items():
            try:
                loop.call_soon_threadsafe(_settle_all, answered)
            except RuntimeError as error:  # The loop was closed under its callers; the desk goes on for the others.
                self._tell("desk.callers_gone", error)

    def _answer_all(self, batch: list[Asked]) -> Sequence[Answer]:
        """Every command's own answer; a batch that fails for one of its commands is decided again one by one."""
        try:
            answers: Sequence[Answer] = self._attempt(batch)
        except (Unavailable, OutcomeUnknown) as error:
            answers = [error] * len(batch)
        except Exception as error:
            self._tell("desk.batch_failed", error)
            answers = self._one_by_one(batch)
        self._count(answer for asked, answer in zip(batch, answers, strict=True) if not asked.dry)
        return answers

    def _one_by_one(self, batch: list[Asked]) -> Sequence[Answer]:
        """Once the store is away, the rest is not tried: its callers would wait in vain, one behind the other."""
        answers: list[Answer] = []
        for asked in batch:
            try:
                answers += self._attempt([asked])
            except (Unavailable, OutcomeUnknown) as error:
                left = len(batch) - len(answers) - 1
                return [*answers, error, *[Unavailable(str(error))] * left]
            except Exception as error:
                self._tell("desk.batch_failed", error)
                answers.append(Unavailable(str(error)) if isinstance(error, HeadMoved | ConflictInStore) else error)
        return answers

    def _attempt(self, batch: list[Asked]) -> list[Answer]:
        """Decide and commit the batch; when that fails, whatever is known may be wrong and is forgotten."""
        self.tally.take(sum(map(_size, batch)))
        try:
            return self._decide_and_commit(batch)
        except Exception:
            self._forget()
            raise

    def _decide_and_commit(self, batch: list[Asked]) -> list[Answer]:
        alone = [one for asked in batch for one in (asked.items or (asked,))]
        with self._store.writing({asked.command_id for asked in [*batch, *alone]}) as writing:
            self._catch_up(writing)
            draft = Draft(self._ledger, writing.head.next_at, self._intent_life)
            self._look_up(draft, writing, [asked for asked in alone if asked.command_id not in writing.answered])
            decided = _Decided(draft, writing, {}, _first_streams(writing))
            answers = [decided.answer(asked) for asked in batch]
            for answer in chain.from_iterable(map(_each, answers)):
                if isinstance(answer, Exception) and not isinstance(answer, KeyReused):
                    self._tell("desk.command_failed", answer)
            if not draft.events:
                return answers
            new = draft.batch(writing.head)
            try:
                writing.append(new)
            except OutcomeUnknown as error:
                self._tell("desk.outcome_unknown", error)
                unknown: OutcomeUnknown | None = error
            else:
                unknown = None
        if unknown is not None and not self._landed(new.seal, unknown):
            raise Unavailable("the commit failed; nothing was applied")
        self.tally.commits += 1
        self.tally.events += len(new.events)
        draft.keep()
        self._seal = new.seal.hash
        return answers

    def _landed(self, seal: Seal, unknown: OutcomeUnknown) -> bool:
        for pause in _RESOLVE_PAUSES_S:
            threading.Event().wait(pause)
            try:
                return self._store.resolve(seal)
            except Unavailable as error:
                self._tell("desk.outcome_unknown", error)
        raise unknown

    def _catch_up(self, writing: Writing) -> None:
        """Apply what other desks appended since; forget everything if that is much, or if history has changed."""
        ledger, head = self._ledger, writing.head
        behind = head.position - ledger.applied
        if not 0 <= behind <= CATCH_UP_MAX or self._knows_too_much() or not self._knows_this_history(writing):
            self._forget()
        if ledger.is_empty:
            ledger.applied = head.position
        elif behind:
            for raw in writing.events_after(ledger.applied):
                ledger.apply(recorded(raw))
        assert ledger.applied == head.position, (ledger.applied, head.position)
        self._seal = head.hash

    def _knows_this_history(self, writing: Writing) -> bool:
        """Whether what is known comes from this log: after a failover it may be another, and longer by now."""
        applied, head = self._ledger.applied, writing.head
        return self._seal == (head.hash if applied == head.position else writing.hash_at(applied))

    def _knows_too_much(self) -> bool:
        return len(self._ledger.accounts) > KNOWN_MAX

    def _forget(self) -> None:
        self._ledger.forget()

    def _look_up(self, draft: Draft, writing: Writing, batch: list[Asked]) -> None:
        """Read what the commands need and is not known, until they need nothing more."""
        ledger = self._ledger
        while True:
            wanted: set[tuple[str, UUID]] = set()
            lacking = []
            for asked in batch:
                unknown = [seen for seen in asked.command.sees(draft) if not _is_known(draft, *seen)]
                if unknown:
                    wanted.update(unknown)
                    lacking.append(asked)
            if not wanted:
                return
            batch = lacking
            streams = {
                stream: [recorded(raw) for raw in raws]
                for stream, raws in writing.streams([stream for _, stream in wanted]).items()
            }
            accounts = [stream for noun, stream in wanted if noun == "account"]
            totals = writing.totals(accounts) if accounts else {}
            for noun, stream in wanted:
                events = streams.get(stream, [])
                if noun == "account":
                    ledger.accounts[stream] = account_rules.fold(stream, [e.event for e in events])
                    ledger.totals[stream] = totals.get(stream, ZERO)
                elif noun == "book":
                    ledger.books[stream] = book_rules.fold(stream, [e.event for e in events])
                elif noun == "hold":
                    draft.holds[stream] = hold_rules.fold(stream, [e.event for e in events])
                elif noun == "payment":
                    draft.payments[stream] = payment_rules.fold(stream, events)
                elif noun == "settlement":
                    draft.settlements[stream] = _settlement(events)
                elif noun == "escrow":
                    draft.escrows[stream] = escrow_rules.fold(stream, events)
                else:
                    draft.entries[stream] = _entry(events)

    def _tell(self, event: str, error: BaseException) -> None:
        """Report; that it cannot be reported is no reason to answer nobody any more."""
        with suppress(Exception):
            self._report(event, error)

    def _count(self, answers: Iterable[Answer]) -> None:
        for answer in chain.from_iterable(map(_each, answers)):
            if isinstance(answer, Exception):
                self.tally.failed += 1
            elif answer.replayed:
                self.tally.replayed += 1
            elif answer.refusal is not None:
                self.tally.refused += 1
                self.tally.refusals[answer.refusal.code] += 1
            else:
                self.tally.landed += 1


class _Decided:
    """Commands being decided on one draft, one after the other.

    Args:
        first: The answers given so far, by command.
        streams: All events of what commands answered earlier were upon, to tell how they left it.
    """

    def __init__(
        self,
        draft: Draft,
        writing: Writing,
        first: MutableMapping[UUID, Outcome],
        streams: Mapping[UUID, Sequence[RawEvent]],
    ) -> None:
        self._draft = draft
        self._writing = writing
        self._first = first
        self._streams = streams

    def answer(self, asked: Asked) -> Answer:
        """The answer, whatever happens; a fault of ours in one command is that command's alone.

        Unless it left part of the command in the draft, which then must not be committed.
        """
        before = len(self._draft.events), len(self._draft.postings), self._draft.applied
        try:
            if asked.dry:
                return self._fork()._answer(asked)
            return self._answer(asked)
        except Exception as error:
            if before != (len(self._draft.events), len(self._draft.postings), self._draft.applied):
                raise
            return error

    def _fork(self) -> "_Decided":
        """For what is to be kept whole or thrown away."""
        draft = Draft(self._draft, self._draft.now)
        return _Decided(draft, self._writing, Overlay(self._first), self._streams)

    def _keep(self, fork: "_Decided") -> None:
        fork._draft.keep()
        self._first.update(fork._first)

    def _answer(self, asked: Asked) -> Answer:
        first = self._first_answer(asked.command_id)
        if first is None:
            if asked.items:
                return self._answer_items(asked)
            outcome = self._first[asked.command_id] = self._decide(asked)
            return outcome
        if first.recorded[0].metadata.request_hash != asked.metadata.request_hash:
            return KeyReused()
        if asked.items and first.refusal is None:  # A command of it that failed is asked anew, the others told again.
            return replace(first, items=tuple(self.answer(item) for item in asked.items))
        return first

    def _answer_items(self, batch: Asked) -> Answer:
        """A batch leaves one event, ahead of what its commands leave; of an atomic one, its refusal may be all."""
        command = batch.command
        assert isinstance(command, PostBatch)
        atomic = command.mode == "atomic"
        deciding = self._fork() if atomic else self
        posted = BatchPosted(book_id=command.scope, mode=command.mode, commands=len(batch.items))
        added = deciding._draft.append([(batch.command_id, 1, posted)], batch.metadata)
        answers: list[Answer] = []
        for index, item in enumerate(batch.items):
            answer = deciding.answer(item)
            answers.append(answer)
            if not atomic:
                continue
            if isinstance(answer, Exception):
                return KeyReused(f"The key of the command at {index}.") if isinstance(answer, KeyReused) else answer
            if answer.refusal is not None:
                refusal = BatchRefused(index, answer.refusal.code, answer.refusal.details())
                outcome = self._first[batch.command_id] = self._refuse(batch, refusal)
                return outcome
        if atomic:
            self._keep(deciding)
        outcome = self._first[batch.command_id] = Outcome(tuple(added), None, False, items=tuple(answers))
        return outcome

    def _first_answer(self, command_id: UUID) -> Outcome | None:
        outcome = self._first.get(command_id)
        if outcome is not None:
            return replace(outcome, replayed=True)
        raw = self._writing.answered.get(command_id)
        return None if raw is None else self._again(recorded(raw))

    def _again(self, first: Recorded) -> Outcome:
        event = first.event
        if isinstance(event, CommandRefused):
            return Outcome((first,), refusal_from(event.code, event.details), True)
        if isinstance(event, _TELL_ALL):
            return Outcome((first,), None, True)
        events = _until(self._streams[first.stream_id], first)
        if isinstance(event, PaymentEvent):
            return Outcome((first,), None, True, payment=payment_rules.fold(first.stream_id, events))
        if isinstance(event, EscrowEvent):
            return Outcome((first,), None, True, escrow=escrow_rules.fold(first.stream_id, events))
        if isinstance(event, HoldPlaced | HoldIncreased | HoldCaptured | HoldVoided | HoldExpired):
            return Outcome((first,), None, True, hold=hold_rules.fold(first.stream_id, [e.event for e in events]))
        return Outcome((first,), None, True, account=account_rules.fold(first.stream_id, [e.event for e in events]))

    def _decide(self, asked: Asked) -> Outcome:
        command, draft = asked.command, self._draft
        try:
            decided = command.decide(draft, asked.command_id)
        except Refusal as refusal:
            return self._refuse(asked, refusal)
        added = draft.append(decided, asked.metadata, None if command.names_stream else asked.command_id)
        if command.names_stream:  # A stream it begins is what the command is known by.
            added.sort(key=lambda event: event.stream_id != asked.command_id)
        stream = added[0].stream_id
        return Outcome(
            tuple(added),
            None,
            False,
            account=draft.accounts.get(stream),
            hold=_now_held(draft, added[0]),
            payment=_now_paid(draft, added),
            escrow=_now_in_escrow(draft, added),
        )

    def _refuse(self, asked: Asked, refusal: Refusal) -> Outcome:
        command = asked.command
        refused = CommandRefused(
            command=command.kind, scope=command.scope, code=refusal.code, details=refusal.details()
        )
        added = self._draft.append([(asked.command_id, 1, refused)], asked.metadata)
        return Outcome(tuple(added), refusal, False)


_TELL_ALL = (
    EntryPosted,
    BookOpened,
    BookPaymentPolicySet,
    BatchPosted,
    SettlementRecorded,
    CommandRefused,
)
"""Events that are the whole answer to their command."""


def _first_streams(writing: Writing) -> Mapping[UUID, Sequence[RawEvent]]:
    """What commands that were answered before were upon, but where their first event tells all."""
    upon = {raw.stream_id for raw in writing.answered.values() if EVENTS.get(raw.name) not in _TELL_ALL}
    return writing.streams(upon) if upon else {}


def _now_held(draft: Draft, first: Recorded) -> Hold | None:
    if isinstance(first.event, HoldPlaced):
        return hold_rules.placed(first.stream_id, first.event)
    return draft.holds.get(first.stream_id)


def _now_paid(draft: Draft, added: list[Recorded]) -> Payment | None:
    """Every entry comes by here, and is not to pay for payments."""
    stream, event = added[0].stream_id, added[0].event
    if not isinstance(event, PaymentEvent):
        return None
    return draft.payments.get(stream) or payment_rules.fold(stream, added)


def _now_in_escrow(draft: Draft, added: list[Recorded]) -> Escrow | None:
    """As with payments."""
    stream, event = added[0].stream_id, added[0].event
    if not isinstance(event, EscrowEvent):
        return None
    return draft.escrows.get(stream) or escrow_rules.fold(stream, added)


def _until(raws: Sequence[RawEvent], first: Recorded) -> list[Recorded]:
    """Up to what the command left there, which may be more than its first event: the same metadata, no other command's.

    Another command under the same key may bear the same metadata, but its first event names it.
    """
    events = [recorded(raw) for raw in raws]
    later = events[first.version :]
    more = takewhile(lambda event: event.command_id is None and event.metadata == first.metadata, later)
    return [*events[: first.version], *more]


def _is_known(draft: Draft, noun: str, stream: UUID) -> bool:
    if noun == "account":
        return stream in draft.accounts
    if noun == "hold":
        return stream in draft.holds
    if noun == "payment":
        return stream in draft.payments
    if noun == "settlement":
        return stream in draft.settlements
    if noun == "escrow":
        return stream in draft.escrows
    return stream in (draft.books if noun == "book" else draft.entries)


def _settlement(events: list[Recorded]) -> SettlementRecorded | None:
    """The settlement on a stream; None where there is none."""
    return next((event.event for event in events if isinstance(event.event, SettlementRecorded)), None)


def _entry(events: list[Recorded]) -> Entry | None:
    """The entry on a stream; None where there is none, which a kept refusal on that stream does not change."""
    entry = None
    for event in events:
        match event.event:
            case EntryPosted() as posted:
                entry = Entry(event.stream_id, event.version, posted, None)
            case EntryReversed(reversed_by=reversed_by) if entry is not None:
                entry = Entry(entry.id, event.version, entry.posted, reversed_by)
            case _:
                return None
    return entry


def _size(asked: Asked) -> int:
    """How many commands it is."""
    return max(len(asked.items), 1)


def _settle_all(answered: Iterable[tuple[_Waiting, Answer]]) -> None:
    for waiting, answer in answered:
        _settle(waiting, answer)


def _settle(waiting: _Waiting, answer: Answer) -> None:
    if waiting.expiry is not None:
        waiting.expiry.cancel()
    if waiting.future.done():
        return  # The caller has gone, or was told that the outcome is unknown.
    if isinstance(answer, Exception):
        waiting.future.set_exception(answer)
    else:
        waiting.future.set_result(answer)
