"""What replay and verification read, without a database, and a log with something of everything in it."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import count
from typing import Any
from uuid import UUID

from msgspec.structs import astuple

from adapters.memory.store import MemoryEventStore
from commands.account import ChangeLimits
from commands.desk import Outcome
from commands.hold import CaptureHold, ExpireHold, IncreaseHold, PlaceHold, VoidHold
from domain import ids
from domain.audit import Seal
from domain.errors import Unavailable
from domain.events import RawEvent
from domain.ports import EventStore
from replay.derived import POSTINGS
from replay.logged import EVENTS
from replay.rows import Layout
from replay.stored import VERSIONS
from tests.support import asked, close, entry, freeze, open_account, open_book, reverse, started, transfer, unfreeze

_FIELDS = [{"stream": "stream_id", "command": "command_id"}.get(name, name) for name in EVENTS.names]

BEGAN = datetime(2026, 1, 15, 12, 0, 0, 123456, tzinfo=UTC)


class MemoryStored:
    """`replay.stored.Stored` over lists that a test may tamper with; a read model is a list of rows, columns apart."""

    def __init__(self, store: MemoryEventStore) -> None:
        self.all_events = list(store.events)
        self.all_seals = list(store.seals)
        self.all_postings = list(store.postings)
        self.tracking: dict[str, int] = {}
        self.unreadable = {"entries", "holds", "payments", "payment_requests", "disputes", "settlements"}
        self.unreadable |= {"escrows", "escrow_parts", "audit_trail", "days"}

    def head(self) -> Seal | None:
        return self.all_seals[-1] if self.all_seals else None

    def seals(self) -> Iterator[Seal]:
        return iter(self.all_seals)

    def last_seal(self, *, position: int | None = None, at: datetime | None = None) -> Seal | None:
        seals = [s for s in self.all_seals if (s.recorded_at <= at if at is not None else s.first <= (position or 0))]
        return seals[-1] if seals else None

    def events(self, *, after: int = 0, until: int | None = None) -> Iterator[RawEvent]:
        self._must_be_readable("events")
        return iter([e for e in self.all_events if e.position > after and (until is None or e.position <= until)])

    def stream(self, stream_id: UUID) -> Sequence[RawEvent]:
        return sorted([e for e in self.all_events if e.stream_id == stream_id], key=lambda event: event.version)

    def logged(self) -> Iterator[bytes]:
        return (EVENTS.pack([getattr(event, field) for field in _FIELDS]) for event in self.events())

    def versions(self) -> Iterator[bytes]:
        self._must_be_readable("versions")
        return iter(sorted(VERSIONS.pack((event.stream_id, event.version)) for event in self.all_events))

    def postings(self) -> Iterator[bytes]:
        for row in self.all_postings:
            self._must_be_readable("postings")
            totals = astuple(row.totals)
            first = (row.account_id, row.side[0].upper(), row.pending, row.value_date, row.position, row.amount)
            yield POSTINGS.pack((*first, *totals))

    def tracked(self) -> Mapping[str, int]:
        return self.tracking

    def read_model(self, table: str, columns: Sequence[str]) -> Iterator[tuple[Any, ...]]:
        raise Unavailable(f"no table {table}")

    def read_model_rows(self, rows: Layout, *, order: str | None = None) -> Iterator[bytes]:
        self._must_be_readable(rows.table)
        yield from ()

    def _must_be_readable(self, what: str) -> None:
        if what in self.unreadable:
            raise Unavailable(f"{what} cannot be read")


async def write_everything(store: EventStore) -> dict[str, Outcome]:
    """Books, accounts, entries, a reversal, a freeze, a close and refusals: each a commit of its own, by name."""
    done: dict[str, Outcome] = {}
    async with started(store) as desk:

        async def do(name: str, command: Any) -> Outcome:
            done[name] = await desk.submit(asked(command))
            return done[name]

        await do("book", open_book())
        await do("other book", open_book("other"))
        await do("cash", open_account("cash", overdraft_limit=0, title="Till", metadata={"branch": "north"}))
        await do("owner", open_account("owner", "equity"))
        await do("sales", open_account("sales", "revenue", ceiling=10_000))
        await do("spare", open_account("spare"))
        await do("yen", open_account("yen", currency="JPY"))
        await do("yen owner", open_account("yen:owner", "equity", currency="JPY"))
        await do("other cash", open_account("cash", book="other"))
        await do("other owner", open_account("owner", "equity", book="other"))
        await do("deposit", transfer("cash", "owner", 500, value_date=date(2025, 12, 31), description="Opening"))
        await do("sale", transfer("cash", "sales", 100, value_date=date(2026, 1, 2), reference="s-1"))
        await do("other deposit", transfer("cash", "owner", 7, book="other"))
        await do("mixed", entry("cash | 30 |\nsales | | 30\nyen | 900 JPY |\nyen:owner | | 900 JPY"))
        await do("too much", transfer("owner", "cash", 9_999))
        await do("reversal", reverse(ids_of(done["sale"]), value_date="original"))
        await do("again", reverse(ids_of(done["sale"])))
        await do("nothing", reverse(ids.account_id(ids.book_id("main"), "nobody")))
        await do("frozen", freeze("spare"))
        await do("frozen twice", freeze("spare"))
        await do("unfrozen", unfreeze("spare"))
        await do("closed", close("spare"))
        await do("last sale", transfer("cash", "sales", 1, value_date=date(2025, 12, 30), metadata={"till": "2"}))
    return done


def ids_of(outcome: Outcome) -> UUID:
    """The stream that a command began."""
    return outcome.recorded[0].stream_id


def ticking() -> MemoryEventStore:
    """A store in memory whose clock moves on by a second and a microsecond at each look."""
    ticks = count()
    return MemoryEventStore(lambda: BEGAN + next(ticks) * timedelta(seconds=1, microseconds=1))


async def write_holds(store: EventStore) -> dict[str, UUID]:
    """Upon what `write_everything` wrote: limits that change, and holds at every stage of their lives, by name."""
    holds: dict[str, UUID] = {}
    async with started(store) as desk:

        async def do(command: Any) -> UUID:
            outcome = await desk.submit(asked(command))
            assert outcome.refusal is None, outcome
            return ids_of(outcome)

        async def hold(name: str, amount: int, **said: Any) -> UUID:
            command = PlaceHold(book="main", account="cash", destination="goods", amount=amount, currency="EUR", **said)
            holds[name] = await do(command)
            return holds[name]

        cash = ids.account_id(ids.book_id("main"), "cash")
        await do(open_account("goods", "expense"))
        await do(ChangeLimits(account_id=cash, overdraft_limit=0, ceiling=5_000))
        later = BEGAN + timedelta(days=365)
        await do(ChangeLimits(account_id=cash, overdraft_limit=100, effective_at=later))
        await hold("placed", 10, expires_at=later, reference="h-1", metadata={"till": "2"})
        await do(IncreaseHold(hold_id=await hold("increased", 20), amount=5))
        await do(CaptureHold(hold_id=await hold("in part", 30), amount=12))
        await do(CaptureHold(hold_id=holds["in part"], amount=3))
        await do(CaptureHold(hold_id=await hold("captured", 40), amount=15, final=True))
        await do(VoidHold(hold_id=await hold("voided", 50)))
        soon = store.seals[-1].recorded_at + timedelta(seconds=10) if isinstance(store, MemoryEventStore) else None
        await hold("expired", 60, expires_at=soon or datetime.now(UTC) + timedelta(seconds=0.3))
        for _ in range(10):  # The clock in memory goes on with each look at it.
            await do(freeze("cash"))
            await do(unfreeze("cash"))
        await asyncio.sleep(0 if soon else 0.5)
        await do(ExpireHold(hold_id=holds["expired"]))
    return holds
