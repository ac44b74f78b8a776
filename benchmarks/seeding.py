"""A large log, quickly: the domain's own events, postings and seals, so that `daybook verify` finds nothing amiss.

Transfers between accounts of one book, decided by nobody: each account was given more than it can ever lose here. One
entry in ten is from the first account, which so gets a long history; value dates lie up to 30 days back. Rows go in by
binary COPY, without indexes, which are made again at the end; all of it in one db transaction, so that a seeding that
is broken off leaves nothing behind.

`python -m benchmarks.seeding --entries 1000000 --database-url ...` seeds an empty or a seeded database.
"""

import argparse
import struct
import time
from base64 import urlsafe_b64encode
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from hashlib import sha256
from itertools import chain, islice
from random import Random
from typing import Any, Final
from uuid import UUID

from msgspec import Struct
from psycopg import Connection

from adapters.postgres.datastore import connect
from adapters.postgres.log import PostgresLog
from adapters.postgres.migrate import migrate
from benchmarks.load import BOOK, wallet
from domain import ids
from domain.account import Type
from domain.audit import GENESIS, seal_hash
from domain.events import AccountOpened, BookOpened, EntryPosted, Event, Metadata, RawEvent, encode
from domain.posting import Posting, Side

SEALED: Final = 1_000
"""Events of one seal."""
CHUNK: Final = 20
"""Seals that are copied at once."""
GIVEN: Final = 1_000_000_000_000
FUNDED: Final = 500
"""Accounts that one entry gives to."""
HOT_EVERY: Final = 10
DAYS: Final = 30
_EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)
_FIRST_DAY: Final = date(2000, 1, 1).toordinal()
_BEGIN: Final = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_END: Final = b"\xff\xff"

_EVENTS: Final = (
    "COPY daybook.events (position, recorded_at, stream, version, name, metadata, payload) FROM STDIN BINARY"
)
_POSTINGS: Final = (
    "COPY daybook.postings (account, number, position, amount, debits, credits, pending_debits, pending_credits,"
    " value_date, side, pending) FROM STDIN BINARY"
)
_SEALS: Final = "COPY daybook.seals (first, last, recorded_at, hash) FROM STDIN BINARY"
_event_row: Final = struct.Struct(">hiqiqi16sii").pack
_posting_row: Final = struct.Struct(">hi16siqiqiqiqiqiqiqiiici?").pack
_seal_row: Final = struct.Struct(">hiqiqiqi32s").pack
_length: Final = struct.Struct(">i").pack

# What a table's rows need not wait for: by name, how to be rid of it and how to have it again.
_INDEXES: Final = """
SELECT format('ALTER TABLE %s DROP CONSTRAINT %I', c.conrelid::regclass, conname),
    format('ALTER TABLE %s ADD CONSTRAINT %I %s', c.conrelid::regclass, conname, pg_get_constraintdef(c.oid))
FROM pg_constraint AS c
WHERE contype IN ('p', 'u') AND conrelid IN ('daybook.events'::regclass, 'daybook.postings'::regclass)
UNION ALL
SELECT format('DROP INDEX %s', indexrelid::regclass), pg_get_indexdef(indexrelid)
FROM pg_index
WHERE indrelid IN ('daybook.events'::regclass, 'daybook.postings'::regclass)
    AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid)
"""


class Chunk(Struct, frozen=True):
    """Rows of the three tables, as COPY takes them, and how many entries are in them."""

    events: bytes
    postings: bytes
    seals: bytes
    entries: int


class Account:
    """What an account's postings add up to so far, and its id as it is stored."""

    __slots__ = ("bytes", "credits", "debits", "id", "number")

    def __init__(self, id: UUID, number: int = 0, debits: int = 0, credits: int = 0) -> None:
        self.id = id
        self.bytes = id.bytes
        self.number = number
        self.debits = debits
        self.credits = credits


class Seeder:
    """Makes the rows that come after the log's head.

    Args:
        seed: The same one makes the same transfers.
    """

    def __init__(self, wallets: Sequence[Account], equity: Account, *, position: int, hash: bytes, seed: int) -> None:
        self._wallets = wallets
        self._equity = equity
        self._position = position
        self._hash = hash
        self._random = Random(seed)
        self._book = ids.book_id(BOOK)

    def opening(self) -> Iterator[tuple[UUID, Event]]:
        """The book, its accounts, and what each is given."""
        today = datetime.now(UTC).date()

        def opened(account: Account, code: str, kind: Type, limit: int | None) -> tuple[UUID, Event]:
            event = AccountOpened(
                book_id=self._book, code=code, type=kind, currency="EUR", overdraft_limit=limit, opened_on=today
            )
            return account.id, event

        yield self._book, BookOpened(code=BOOK)
        yield opened(self._equity, "equity", Type.EQUITY, None)
        for number, account in enumerate(self._wallets):
            yield opened(account, wallet(number), Type.LIABILITY, 0)
        for first in range(0, len(self._wallets), FUNDED):
            some = self._wallets[first : first + FUNDED]
            given = [Posting(account.id, Side.CREDIT, GIVEN, "EUR") for account in some]
            whole = Posting(self._equity.id, Side.DEBIT, len(some) * GIVEN, "EUR")
            yield self._entry("Funding", (*given, whole), today)

    def transfers(self, count: int) -> Iterator[tuple[UUID, Event]]:
        """So many, of at most EUR 1.00 each."""
        wallets, random, today = self._wallets, self._random.random, datetime.now(UTC).date()
        days = [today - timedelta(days=back) for back in range(DAYS)]
        last = len(wallets) - 1
        for n in range(count):
            source = 0 if n % HOT_EVERY == 0 else int(random() * len(wallets))
            target = (source + 1 + int(random() * last)) % len(wallets)
            amount = 1 + int(random() * 100)
            postings = (
                Posting(wallets[source].id, Side.DEBIT, amount, "EUR"),
                Posting(wallets[target].id, Side.CREDIT, amount, "EUR"),
            )
            yield self._entry("transfer", postings, days[int(random() * DAYS)])

    def _entry(self, description: str, postings: tuple[Posting, ...], value_date: date) -> tuple[UUID, Event]:
        key = f"{self._random.getrandbits(88):022x}"
        event = EntryPosted(book_id=self._book, value_date=value_date, postings=postings, description=description)
        return ids.command_id(self._book, "post_entry", key), event

    def chunks(self, asked: Iterator[tuple[UUID, Event]]) -> Iterator[Chunk]:
        """The rows, some seals at a time."""
        accounts = {account.id: account for account in (*self._wallets, self._equity)}
        while batches := list(islice(iter(lambda: list(islice(asked, SEALED)), []), CHUNK)):
            events, postings, seals = [_BEGIN], [_BEGIN], [_BEGIN]
            entries = 0
            for batch in batches:
                now = datetime.now(UTC)
                raws = self._raw(batch, now)
                micros = (now - _EPOCH) // timedelta(microseconds=1)
                self._hash = seal_hash(self._hash, raws)
                seals.append(_seal_row(4, 8, raws[0].position, 8, raws[-1].position, 8, micros, 32, self._hash))
                for raw, (_, event) in zip(raws, batch, strict=True):
                    events.append(_event(raw, micros))
                    if isinstance(event, EntryPosted):
                        entries += 1
                        _post(accounts, raw.position, event, postings)
            made = [b"".join((*rows, _END)) for rows in (events, postings, seals)]
            yield Chunk(made[0], made[1], made[2], entries)

    def _raw(self, batch: Sequence[tuple[UUID, Event]], now: datetime) -> list[RawEvent]:
        raws = []
        for position, (stream, event) in enumerate(batch, self._position + 1):
            key = stream.hex[:22]
            hashed = urlsafe_b64encode(sha256(stream.bytes).digest())[:43].decode()
            said = Metadata(actor="benchmark", request_id=f"req_{key[:19]}", idempotency_key=key, request_hash=hashed)
            raws.append(RawEvent(position, stream, 1, event.name, now, encode(said), encode(event)))
        self._position += len(batch)
        return raws


def _event(raw: RawEvent, micros: int) -> bytes:
    name, metadata, payload = raw.name.encode(), raw.metadata, raw.payload
    head = _event_row(7, 8, raw.position, 8, micros, 16, raw.stream_id.bytes, 4, raw.version)
    return b"".join((head, _length(len(name)), name, _length(len(metadata)), metadata, _length(len(payload)), payload))


def _post(accounts: dict[UUID, Account], position: int, event: EntryPosted, rows: list[bytes]) -> None:
    day = event.value_date.toordinal() - _FIRST_DAY
    for posting in event.postings:
        account, amount = accounts[posting.account_id], posting.amount
        account.number += 1
        if posting.side is Side.DEBIT:
            account.debits += amount
            side = b"D"
        else:
            account.credits += amount
            side = b"C"
        rows.append(
            _posting_row(
                *(11, 16, account.bytes, 8, account.number, 8, position, 8, amount),
                *(8, account.debits, 8, account.credits, 8, 0, 8, 0, 4, day, 1, side, 1, False),
            )
        )


def seed(dsn: str, *, entries: int, accounts: int) -> int:
    """Bring a migrated log to so many entries; returns how many were added.

    Args:
        accounts: How many transfers are between.

    Raises:
        ValueError: The log has another number of them.
    """
    with PostgresLog(dsn) as log:
        head = log.head()
        book = ids.book_id(BOOK)
        named = [ids.account_id(book, code) for code in ("equity", *map(wallet, range(accounts)))]
        totals = log.totals(named)
    if head is not None and count(dsn, AccountOpened.name) != len(named):
        raise ValueError(f"the log has {count(dsn, AccountOpened.name) - 1} accounts, not {accounts}")
    made = [
        Account(one, totals[one].number, totals[one].debits, totals[one].credits) if one in totals else Account(one)
        for one in named
    ]
    known, last = (count(dsn, EntryPosted.name), head.last) if head is not None else (0, 0)
    seeder = Seeder(made[1:], made[0], position=last, hash=head.hash if head is not None else GENESIS, seed=last)
    opening = seeder.opening() if head is None else iter(())
    lacking = entries - known - (-(-accounts // FUNDED) if head is None else 0)
    if lacking <= 0 and head is not None:
        return 0
    added = 0
    with connect(dsn, long=True) as connection:
        with connection.transaction():
            connection.execute("SELECT daybook.lock_log()")
            with _without_indexes(connection):
                for chunk in _ahead(seeder.chunks(chain(opening, seeder.transfers(max(lacking, 0))))):
                    added += chunk.entries
                    for statement, rows in (
                        (_EVENTS, chunk.events),
                        (_POSTINGS, chunk.postings),
                        (_SEALS, chunk.seals),
                    ):
                        with connection.cursor().copy(statement.encode()) as copy:
                            copy.write(rows)
        for table in ("events", "postings", "seals"):
            connection.execute(f"VACUUM (ANALYZE) daybook.{table}".encode())
    return added


def count(dsn: str, name: str) -> int:
    """How many events of that stored name there are."""
    with connect(dsn, long=True) as connection:
        row = connection.execute("SELECT count(*) FROM daybook.events WHERE name = %s", (name,)).fetchone()
        assert row is not None
        return int(row[0])


@contextmanager
def _without_indexes(connection: Connection[Any]) -> Iterator[None]:
    """Within this there are none on events and postings, which makes rows cheap."""
    connection.execute("SET LOCAL maintenance_work_mem = '512MB'; SET LOCAL statement_timeout = 0")
    found = connection.execute(_INDEXES.encode()).fetchall()
    for drop, _ in found:
        connection.execute(drop.encode())
    yield
    for _, make in found:
        connection.execute(make.encode())


def _ahead(chunks: Iterator[Chunk]) -> Iterator[Chunk]:
    """The next chunk is made while this one is written."""
    with ThreadPoolExecutor(1) as maker:
        coming = maker.submit(next, chunks, None)
        while (chunk := coming.result()) is not None:
            coming = maker.submit(next, chunks, None)
            yield chunk


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.seeding", description=__doc__)
    parser.add_argument("--entries", type=int, default=100_000, help="that the log is to have (default 100000)")
    parser.add_argument("--accounts", type=int, default=1_000, help="between which (default 1000)")
    parser.add_argument("--database-url", required=True, metavar="DSN", help="an empty or a seeded database")
    arguments = parser.parse_args()
    migrate(arguments.database_url)
    began = time.perf_counter()
    added = seed(arguments.database_url, entries=arguments.entries, accounts=arguments.accounts)
    seconds = time.perf_counter() - began
    print(f"{added:,} entries added in {seconds:.1f} s: {added / seconds:,.0f}/s")


if __name__ == "__main__":
    main()
