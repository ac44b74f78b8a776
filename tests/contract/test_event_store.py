"""The event store port: the same promises from memory and from Postgres.

Batches are drafted as the desk drafts them, or made by hand where a broken one is wanted.
"""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import psycopg
import pytest
from msgspec.structs import replace

from adapters.memory.store import MemoryEventStore
from adapters.postgres.store import PostgresEventStore
from domain import ids
from domain.audit import GENESIS, Seal, seal_hash
from domain.errors import ConflictInStore, HeadMoved
from domain.events import (
    AccountClosed,
    AccountFrozen,
    AccountOpened,
    AccountUnfrozen,
    BookOpened,
    EntryPosted,
    Event,
    Metadata,
)
from domain.ledger import Batch, Draft, Head, Ledger
from domain.ports import EventStore, Writing
from domain.posting import ZERO, Totals
from tests.support import BOOK, TODAY, Books, books_of, lines

META = Metadata(actor="ann", idempotency_key="k")
CASH, DEPOSITS = ids.account_id(BOOK, "cash"), ids.account_id(BOOK, "deposits")
ENTRY = UUID("018f3a6e-2b1c-7d4e-9f00-0123456789ab")

Decided = list[tuple[UUID, int, Event]]


def opening(code: str, type: str) -> AccountOpened:
    return AccountOpened(book_id=BOOK, code=code, type=type, currency="EUR", overdraft_limit=None, opened_on=TODAY)


def posted(table: str) -> EntryPosted:
    return EntryPosted(book_id=BOOK, value_date=TODAY, postings=tuple(lines(table)))


OPENING: Decided = [
    (BOOK, 1, BookOpened(code="main")),
    (CASH, 1, opening("cash", "asset")),
    (DEPOSITS, 1, opening("deposits", "liability")),
]
ENTRIES: Decided = [(ENTRY, 1, posted("cash | 30 | \n deposits | | 30 \n cash | | 4 \n deposits | 4 |"))]


def drafted(writing: Writing, decided: Decided, command_id: UUID | None = None, head: Head | None = None) -> Batch:
    """A batch right after the head, on the truth."""
    head = head or writing.head
    ledger = Ledger()
    ledger.applied = head.position
    accounts = [line.account_id for _, _, event in decided if isinstance(event, EntryPosted) for line in event.postings]
    ledger.totals.update(dict.fromkeys(accounts, ZERO))
    ledger.totals.update(writing.totals(accounts))
    draft = Draft(ledger, head.next_at)
    draft.append(decided, META, command_id)
    return draft.batch(head)


def append(store: EventStore, decided: Decided, command_id: UUID | None = None) -> Batch:
    with store.writing() as writing:
        batch = drafted(writing, decided, command_id)
        writing.append(batch)
    return batch


def sealed(batch: Batch, previous: bytes) -> Batch:
    """The batch with a seal that fits what was changed in it."""
    first, last = batch.events[0].position, batch.events[-1].position
    return replace(batch, seal=Seal(first, last, batch.events[0].recorded_at, seal_hash(previous, batch.events)))


class EventStoreContract:
    """What every event store promises."""

    @pytest.fixture
    def store(self) -> Iterator[EventStore]:
        raise NotImplementedError

    @pytest.fixture
    def another(self, store: EventStore) -> Iterator[Callable[[], EventStore]]:
        """More stores on the same log, as other processes have them."""
        raise NotImplementedError

    def stored(self, store: EventStore) -> Books:
        raise NotImplementedError

    def test_an_empty_log_has_a_head(self, store: EventStore) -> None:
        """
        Before anything happened the head is at 0, chained to nothing, and knows the time.
        """
        with store.writing([ENTRY]) as writing:
            head = writing.head

            assert (head.position, head.hash) == (0, GENESIS)
            assert head.next_at == head.now
            assert abs(head.now - datetime.now(UTC)) < timedelta(minutes=1)
            assert dict(writing.answered) == {}
            assert list(writing.events_after(0)) == []

    def test_what_was_appended_is_read_as_it_was(self, store: EventStore, another: Callable[[], EventStore]) -> None:
        """
        Events, postings and the seal come back as they went in, byte for byte, whoever reads.
        """
        first = append(store, OPENING)
        second = append(store, ENTRIES)

        with another().writing() as writing:
            assert list(writing.events_after(0)) == first.events + second.events
            assert list(writing.events_after(3)) == second.events
            assert list(writing.events_after(4)) == []
            assert (writing.head.position, writing.head.hash) == (4, second.seal.hash)
            assert writing.head.recorded_at == second.seal.recorded_at
        stored = self.stored(store)
        assert stored.seals == [first.seal, second.seal]
        assert stored.check() == {CASH: (30, 4), DEPOSITS: (4, 30)}

    def test_streams_are_read_whole_and_in_order(self, store: EventStore) -> None:
        """
        All events of the streams that were asked for, and no others; a stream without events is absent.
        """
        append(store, OPENING)
        append(store, [(CASH, 2, AccountFrozen())], uuid4())
        append(store, [(CASH, 3, AccountClosed())], uuid4())

        with store.writing() as writing:
            streams = writing.streams([CASH, BOOK, ENTRY])

            assert [event.name for event in streams[CASH]] == [
                "account.opened.v1",
                "account.frozen.v1",
                "account.closed.v1",
            ]
            assert [event.version for event in streams[BOOK]] == [1]
            assert ENTRY not in streams
            assert DEPOSITS not in streams
            assert dict(writing.streams([])) == {}

    def test_totals_are_those_after_the_last_posting(self, store: EventStore) -> None:
        """
        An account without postings is absent; one with several has its last totals.
        """
        append(store, OPENING)
        append(store, ENTRIES)
        append(store, [(uuid4(), 1, posted("cash | 1 | \n deposits | | 1"))])

        with store.writing() as writing:
            totals = writing.totals([CASH, DEPOSITS, ENTRY])

            assert dict(totals) == {CASH: Totals(3, 31, 4, 0, 0), DEPOSITS: Totals(3, 4, 31, 0, 0)}
            assert dict(writing.totals([])) == {}

    def test_a_decided_command_is_found_again(self, store: EventStore) -> None:
        """
        By the stream it named, or by its mark on another; and only those that were asked about.
        """
        frozen, closed = uuid4(), uuid4()
        append(store, OPENING)
        append(store, ENTRIES)
        append(store, [(CASH, 2, AccountFrozen())], frozen)
        append(store, [(CASH, 3, AccountClosed())], closed)

        with store.writing([ENTRY, frozen, uuid4()]) as writing:
            answered = writing.answered

            assert {command: event.position for command, event in answered.items()} == {ENTRY: 4, frozen: 5}
        with store.writing() as writing:
            assert dict(writing.answered) == {}

    def test_the_first_event_of_a_command_is_its_answer(self, store: EventStore) -> None:
        """
        What happens to an entry later is not the answer to the command that posted it.
        """
        append(store, [*OPENING, *ENTRIES])
        append(store, [(ENTRY, 2, AccountFrozen())])

        with store.writing([ENTRY]) as writing:
            assert {command: event.version for command, event in writing.answered.items()} == {ENTRY: 1}

    def test_an_account_is_not_the_answer_to_a_command_of_its_name(self, store: EventStore) -> None:
        """
        An event that is marked with one command is not the answer to another that bears its stream's id.
        """
        opened = uuid4()
        append(store, OPENING[:1])
        append(store, OPENING[1:2], opened)

        with store.writing([CASH, opened]) as writing:
            assert set(writing.answered) == {opened}
        with store.writing([CASH]) as writing:
            assert dict(writing.answered) == {}

    def test_a_batch_lands_right_after_the_head_or_not_at_all(self, store: EventStore) -> None:
        """
        A batch that was decided on an older head is refused whole.
        """
        with store.writing() as writing:
            stale = drafted(writing, [(uuid4(), 1, BookOpened(code="stale"))])
        append(store, OPENING)

        with pytest.raises(HeadMoved), store.writing() as writing:
            replaced = replace(writing.head, position=0, hash=GENESIS)
            writing.head = replaced
            writing.append(stale)

        assert len(self.stored(store).events) == 3
        self.stored(store).check()

    @pytest.mark.parametrize(
        "broken",
        [
            "stream and version taken",
            "stream and version twice",
            "command taken",
            "command twice",
            "posting number taken",
            "posting number twice",
        ],
    )
    def test_each_unique_key_refuses_the_whole_batch(self, store: EventStore, broken: str) -> None:
        """
        A mistake in the logic is a batch that is rolled back, not a wrong book; and the store goes on.
        """
        command = uuid4()
        append(store, OPENING)
        append(store, [(CASH, 2, AccountUnfrozen())], command)
        append(store, ENTRIES)
        before = self.stored(store)

        with pytest.raises(ConflictInStore), store.writing() as writing:
            writing.append(self._broken(writing, broken, command))

        assert self.stored(store) == before
        append(store, [(uuid4(), 1, posted("cash | 1 | \n deposits | | 1"))])
        self.stored(store).check()

    def _broken(self, writing: Writing, broken: str, command: UUID) -> Batch:
        good: Decided = [(uuid4(), 1, posted("cash | 1 | \n deposits | | 1")), (uuid4(), 1, BookOpened(code="x"))]
        batch = drafted(writing, good)
        first, second = batch.events
        debit, credit = batch.postings
        match broken:
            case "stream and version taken":
                batch = replace(batch, events=[first, replace(second, stream_id=CASH, version=2)])
            case "stream and version twice":
                batch = replace(batch, events=[first, replace(second, stream_id=first.stream_id)])
            case "command taken":
                batch = replace(batch, events=[first, replace(second, command_id=command)])
            case "command twice":
                batch = replace(batch, events=[replace(event, command_id=ENTRY) for event in batch.events])
            case "posting number taken":
                batch = replace(batch, postings=[replace(debit, totals=replace(debit.totals, number=2)), credit])
            case "posting number twice":
                batch = replace(batch, postings=[debit, debit, credit])
        return sealed(batch, writing.head.hash)

    def test_nothing_is_appended_by_looking(self, store: EventStore) -> None:
        """
        A writing that ends without an append, or in an error, leaves nothing, and leaves the lock to others.
        """
        with store.writing() as writing:
            drafted(writing, OPENING)
        with pytest.raises(RuntimeError), store.writing() as writing:
            raise RuntimeError

        assert append(store, OPENING).events[0].position == 1

    def test_a_seal_tells_whether_its_batch_landed(self, store: EventStore, another: Callable[[], EventStore]) -> None:
        """
        The batch that landed did, one that did not did not, nor did one that lost its place to another.
        """
        landed = append(store, OPENING)
        with store.writing() as writing:
            lost = drafted(writing, [(uuid4(), 1, BookOpened(code="lost"))])

        assert store.resolve(landed.seal)
        assert not store.resolve(lost.seal)

        append(another(), ENTRIES)
        assert not store.resolve(lost.seal)
        assert another().resolve(landed.seal)

    def test_the_hash_at_a_position_is_its_seals(self, store: EventStore) -> None:
        """
        Only where a batch ends is there a hash: it stands for all that came before.
        """
        first, second = append(store, OPENING), append(store, ENTRIES)

        with store.writing() as writing:
            hashes = [writing.hash_at(position) for position in range(6)]

        assert hashes == [None, None, None, first.seal.hash, second.seal.hash, None]

    def test_time_never_goes_back(self, store: EventStore) -> None:
        """
        After a batch of tomorrow the next one is of tomorrow too, though the clock says today.
        """
        append(store, OPENING)
        with store.writing() as writing:
            tomorrow = replace(writing.head, now=writing.head.now + timedelta(days=1))
            writing.append(drafted(writing, [(CASH, 2, AccountUnfrozen())], uuid4(), tomorrow))

        batch = append(store, ENTRIES)

        assert batch.seal.recorded_at == tomorrow.now
        self.stored(store).check()

    def test_whoever_writes_is_alone(self, store: EventStore, another: Callable[[], EventStore]) -> None:
        """
        The second waits for the first and then sees what it did.
        """
        other, order, waiting = another(), list[str](), threading.Event()

        def second() -> int:
            waiting.set()
            with other.writing() as writing:
                order.append("second")
                return writing.head.position

        with ThreadPoolExecutor(1) as pool:
            with store.writing() as writing:
                seen = pool.submit(second)
                waiting.wait()
                with pytest.raises(TimeoutError):
                    seen.result(timeout=0.3)
                order.append("first")
                writing.append(drafted(writing, OPENING))

            assert seen.result(timeout=5) == 3
        assert order == ["first", "second"]

    def test_positions_are_without_gaps_whatever_fails(
        self, store: EventStore, another: Callable[[], EventStore]
    ) -> None:
        """
        Several writers, some of whose batches fail, leave a log without gaps, every seal chained to the one before.
        """
        append(store, OPENING)

        def write(store: EventStore) -> None:
            for turn in range(20):
                try:
                    stream = CASH if turn % 4 == 3 else uuid4()
                    append(store, [(stream, 1, posted("cash | 1 | \n deposits | | 1"))])
                except ConflictInStore:
                    assert turn % 4 == 3

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(write, [another() for _ in range(4)]))

        stored = self.stored(store)
        assert stored.check() == {CASH: (60, 0), DEPOSITS: (0, 60)}
        assert len(stored.seals) == 61


class TestMemoryEventStore(EventStoreContract):
    @pytest.fixture
    def store(self) -> Iterator[EventStore]:
        yield MemoryEventStore(lambda: datetime.now(UTC))

    @pytest.fixture
    def another(self, store: EventStore) -> Iterator[Callable[[], EventStore]]:
        yield lambda: store

    def stored(self, store: EventStore) -> Books:
        assert isinstance(store, MemoryEventStore)
        books = books_of(store)
        return Books(list(books.events), list(books.postings), list(books.seals))


class TestPostgresEventStore(EventStoreContract):
    @pytest.fixture(autouse=True)
    def _on(self, database: str) -> None:
        self.dsn = database

    @pytest.fixture
    def store(self) -> Iterator[EventStore]:
        store = PostgresEventStore(self.dsn)
        yield store
        store.close()

    @pytest.fixture
    def another(self, store: EventStore) -> Iterator[Callable[[], EventStore]]:
        stores: list[EventStore] = []

        def make() -> EventStore:
            stores.append(PostgresEventStore(self.dsn))
            return stores[-1]

        yield make
        for made in stores:
            made.close()

    def stored(self, store: EventStore) -> Books:
        return books_of(self.dsn)

    @pytest.mark.parametrize("isolation", ["repeatable read", "serializable"])
    def test_a_database_may_have_another_isolation_by_default(
        self, another: Callable[[], EventStore], isolation: str
    ) -> None:
        """
        The head is read after the lock is granted, whatever isolation the database gives its sessions.
        """
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            name = connection.info.dbname
            connection.execute(f"ALTER DATABASE {name} SET default_transaction_isolation = '{isolation}'".encode())

        self.test_whoever_writes_is_alone(another(), another)
