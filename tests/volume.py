"""A large store, made by SQL alone: the log and its read models as the desk and the projectors would have left them.

The first account has a posting in every second entry; the others share the rest evenly. Value dates go on with the log,
those of every hundredth entry years back. The chain of seals is not computed, so it is nothing to verify.
"""

from datetime import UTC, date, datetime, timedelta
from typing import Any, Final
from uuid import UUID

import msgspec
import psycopg
from msgspec import Struct

from adapters.postgres.builds import prepare
from domain import ids
from domain.account import Type
from domain.events import AccountOpened, BookOpened, Event, Metadata
from projections import catalogue

FIRST_DAY: Final = date(2024, 1, 1)
DAYS: Final = 700
"""Between the first and the last entry, which are evenly apart in recorded and in value dates."""
RARE: Final = 20_000
"""Of so many entries one has the rare amount, reference and metadata."""
RARE_AMOUNT: Final = 999_999
SEALED: Final = 50
"""Events in a commit."""


class Volume(Struct, frozen=True):
    """What there is: `accounts` in the order of their codes, the first with half of all entries; `head` of the log."""

    book: UUID
    accounts: list[UUID]
    head: int

    @property
    def busy(self) -> UUID:
        """The account with the most postings."""
        return self.accounts[0]


def fill(dsn: str, *, entries: int, accounts: int) -> Volume:
    """Fill a migrated database that has nothing in it."""
    book = ids.book_id("main")
    codes = ["assets:busy", *(f"liabilities:{n % 10}:{n:06}" for n in range(1, accounts))]
    account_ids = [ids.account_id(book, code) for code in codes]
    with psycopg.connect(dsn, autocommit=True) as connection:
        prepare(connection, catalogue.ALL)
        with connection.transaction():
            connection.execute("SET LOCAL work_mem = '256MB'; SET LOCAL search_path = daybook_read, daybook")
            connection.execute("CREATE TEMP TABLE seeds (n bigint, account uuid, payload bytea) ON COMMIT DROP")
            with connection.cursor().copy("COPY seeds FROM STDIN (FORMAT binary)") as copy:
                copy.set_types(["int8", "uuid", "bytea"])
                copy.write_row((0, book, _payload(BookOpened(code="main"))))
                for n, (account, code) in enumerate(zip(account_ids, codes, strict=True), start=1):
                    copy.write_row((n, account, _payload(_opened(book, code))))
            known: dict[str, Any] = {
                "book": book,
                "accounts": accounts,
                "entries": entries,
                "metadata": msgspec.json.encode(Metadata(actor="filler")),
                "began": datetime(FIRST_DAY.year, FIRST_DAY.month, FIRST_DAY.day, tzinfo=UTC),
                "every": timedelta(days=DAYS) / entries,
                "first_day": FIRST_DAY,
                "rare": RARE,
                "rare_amount": RARE_AMOUNT,
                "sealed": SEALED,
            }
            for statement in _STATEMENTS:
                connection.execute(statement.encode(), known)
        for schema in ("daybook", "daybook_read"):
            for (table,) in connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = %s", (schema,)):
                connection.execute(f"VACUUM ANALYZE {schema}.{table}".encode())
    return Volume(book, account_ids, 1 + accounts + entries)


def _payload(event: Event) -> bytes:
    return msgspec.json.encode(event)


def _opened(book: UUID, code: str) -> AccountOpened:
    kind = Type.ASSET if code.startswith("assets") else Type.LIABILITY
    return AccountOpened(book_id=book, code=code, type=kind, currency="EUR", overdraft_limit=None, opened_on=FIRST_DAY)


# Entry i (from 0) debits the busy account if it is even, else one of the others, and credits another one.
_STATEMENTS: Final = (
    """
    CREATE TEMP TABLE made ON COMMIT DROP AS
    SELECT i, 2 + %(accounts)s + i AS position, md5('entry ' || i)::uuid AS entry_id,
           %(began)s::timestamptz + i * %(every)s::interval AS recorded_at,
           (%(began)s::timestamptz + i * %(every)s::interval)::date - CASE WHEN i %% 100 = 7 THEN 365 ELSE 0 END
               AS value_date,
           CASE WHEN i %% %(rare)s = %(rare)s / 2 THEN %(rare_amount)s ELSE 1 + i %% 1000 * 7919 %% 1000 END::bigint
               AS amount,
           debit.account AS debit, credit.account AS credit
    FROM generate_series(0, %(entries)s - 1) AS g (i)
    JOIN seeds AS debit ON debit.n = CASE WHEN i %% 2 = 0 THEN 1 ELSE 2 + i / 2 %% (%(accounts)s - 1) END
    JOIN seeds AS credit ON credit.n = 2 + (i + %(accounts)s / 2) %% (%(accounts)s - 1)
    """,
    """
    INSERT INTO events (position, recorded_at, stream, version, name, metadata, payload)
    SELECT n + 1, %(began)s, account, 1, CASE n WHEN 0 THEN 'book.opened.v1' ELSE 'account.opened.v1' END,
           %(metadata)s, payload
    FROM seeds ORDER BY n
    """,
    """
    INSERT INTO events (position, recorded_at, stream, version, name, metadata, payload)
    SELECT position, recorded_at, entry_id, 1, 'journal_entry.posted.v1', %(metadata)s, convert_to(format(
               '{"book_id":"%%s","value_date":"%%s","postings":['
               '{"account_id":"%%s","side":"debit","amount":%%s,"currency":"EUR"},'
               '{"account_id":"%%s","side":"credit","amount":%%s,"currency":"EUR"}]}',
               %(book)s::text, value_date, debit, amount, credit, amount), 'UTF8')
    FROM made ORDER BY position
    """,
    """
    INSERT INTO postings (account, number, position, amount, debits, credits, pending_debits, pending_credits,
                          value_date, side, pending)
    SELECT account, row_number() OVER book_order, position, amount,
           coalesce(sum(amount) FILTER (WHERE side = 'D') OVER book_order, 0),
           coalesce(sum(amount) FILTER (WHERE side = 'C') OVER book_order, 0), 0, 0, value_date, side, false
    FROM (
        SELECT debit AS account, position, amount, value_date, 'D'::"char" AS side FROM made
        UNION ALL
        SELECT credit, position, amount, value_date, 'C' FROM made
    ) AS lines
    WINDOW book_order AS (PARTITION BY account ORDER BY position, side DESC ROWS UNBOUNDED PRECEDING)
    ORDER BY position, side DESC
    """,
    """
    INSERT INTO seals (first, last, recorded_at, hash)
    SELECT min(position), max(position), max(recorded_at), sha256('') FROM events GROUP BY (position - 1) / %(sealed)s
    """,
    """
    INSERT INTO books (book_id, code, opened_at, position) VALUES (%(book)s, 'main', %(began)s, 1)
    """,
    """
    INSERT INTO accounts (account_id, book_id, code, type, currency, status, opened_on, opened_at, metadata, version,
                          opened_position, position)
    SELECT account, %(book)s, opened ->> 'code', opened ->> 'type', 'EUR', 'open', %(first_day)s, %(began)s,
           CASE WHEN n %% 1000 = 500 THEN '{"kind": "rare"}'::jsonb END, 1, n + 1, n + 1
    FROM seeds, LATERAL (SELECT convert_from(payload, 'UTF8')::json AS opened) AS decoded WHERE n > 0
    """,
    """
    INSERT INTO limits (account_id, version, position) SELECT account, 1, n + 1 FROM seeds WHERE n > 0
    """,
    """
    INSERT INTO balances (account_id, debits, credits, pending_debits, pending_credits, postings, position)
    SELECT DISTINCT ON (account) account, debits, credits, pending_debits, pending_credits, number, position
    FROM postings ORDER BY account, number DESC
    """,
    """
    INSERT INTO days (account_id, value_date, block, debits, credits)
    SELECT account, value_date, (number - 1) / 128, coalesce(sum(amount) FILTER (WHERE side = 'D'), 0),
           coalesce(sum(amount) FILTER (WHERE side = 'C'), 0)
    FROM postings JOIN balances ON account_id = account AND number <= balances.postings / 128 * 128
    GROUP BY account, value_date, (number - 1) / 128
    """,
    """
    INSERT INTO entries (entry_id, book_id, position, recorded_at, value_date, actor, description, reference,
                         metadata, postings)
    SELECT entry_id, %(book)s, position, recorded_at, value_date,
           CASE WHEN i %% %(rare)s = %(rare)s / 2 THEN 'auditor' ELSE 'filler' END,
           CASE WHEN i %% %(rare)s = %(rare)s / 2 THEN 'Seldom' ELSE 'Sale ' || i END,
           CASE WHEN i %% %(rare)s = %(rare)s / 2 THEN 'rare' ELSE 'r-' || i END,
           CASE WHEN i %% %(rare)s = %(rare)s / 2 THEN '{"kind": "rare"}'::jsonb
                WHEN i %% 3 = 0 THEN jsonb_build_object('till', i %% 50 || '') END,
           format('[["%%s","debit",%%s,"EUR"],["%%s","credit",%%s,"EUR"]]', debit, amount, credit, amount)::jsonb
    FROM made ORDER BY position
    """,
    """
    INSERT INTO audit_trail (position, recorded_at, stream, book_id, event, actor, request_id)
    SELECT position, recorded_at, stream, %(book)s, name,
           CASE WHEN position %% %(rare)s = 0 THEN 'auditor' ELSE 'filler' END, 'req-' || position
    FROM events ORDER BY position
    """,
    """
    INSERT INTO tracking SELECT name || '.v' || version, %(entries)s + %(accounts)s + 1 FROM builds WHERE live
    ON CONFLICT (application_name) DO UPDATE SET notification_id = excluded.notification_id
    """,
)
