"""How what is read is found: in a store too large to be walked, by the plans that Postgres really ran."""

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, Final
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg import AsyncConnection
from psycopg.rows import DictRow, TupleRow
from starlette.applications import Starlette
from starlette.testclient import TestClient

from adapters.postgres.reads import PostgresReads
from adapters.postgres.store import PostgresEventStore
from domain import ids
from projections.api import routes
from tests.conftest import Server, database_on
from tests.volume import DAYS, FIRST_DAY, RARE_AMOUNT, Volume, fill

ENTRIES: Final = 50_000
ACCOUNTS: Final = 500
LOOKED_AT_MAX: Final = 2_000
"""Rows that one step of a plan may look at for a page of 50, here of 30 days: some for each, never what there is."""
SMALL: Final = frozenset({"tracking", "books", "accounts", "holds"})
"""Tables that may be read whole: they have few rows here, as a chart of accounts has beside its postings."""


class Watched(PostgresReads):
    """Keeps the plan that every statement ran by."""

    def __init__(self, dsn: str) -> None:
        super().__init__(dsn)
        self.plans: list[dict[str, Any]] = []

    async def _ask(
        self, connection: AsyncConnection[DictRow], statement: bytes, parameters: Mapping[str, Any]
    ) -> list[dict[str, Any]]:
        cursor = await connection.execute(b"EXPLAIN (ANALYZE, FORMAT JSON) " + statement, parameters)
        (row,) = await cursor.fetchall()
        self.plans += [step["Plan"] for step in row["QUERY PLAN"]]
        return await super()._ask(connection, statement, parameters)


class Store:
    """A filled store, and what reading from it looks at."""

    def __init__(self, dsn: str, volume: Volume, client: TestClient, reads: list[Watched]) -> None:
        self.volume = volume
        self._dsn = dsn
        self._client = client
        self._reads = reads

    def get(self, path: str) -> tuple[Any, list[dict[str, Any]]]:
        """The answer, and the steps that were taken for it: those of every plan that were begun at all."""
        self._reads[0].plans.clear()
        response = self._client.get(path)
        assert response.status_code == 200, response.text
        return response.json(), [step for plan in self._reads[0].plans for step in taken(plan)]

    def entry(self, number: int) -> str:
        """The id of that entry of the busy account, by its posting number."""
        with psycopg.connect(self._dsn) as connection:
            row = connection.execute(
                "SELECT stream FROM daybook.postings JOIN daybook.events USING (position)"
                " WHERE account = %s AND number = %s",
                (self.volume.busy, number),
            ).fetchone()
        assert row is not None
        return ids.show(ids.ENTRY, row[0])


def taken(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if plan["Actual Loops"]:
        yield plan
        for part in plan.get("Plans", ()):
            yield from taken(part)


def looked_at(step: dict[str, Any]) -> int:
    """Rows that the step gave or left out, all its rounds together."""
    removed = sum(value for name, value in step.items() if name.startswith("Rows Removed"))
    return int((step["Actual Rows"] + removed) * step["Actual Loops"])


def walked(steps: list[dict[str, Any]]) -> list[str]:
    """The large tables that were read from end to end."""
    return [
        step["Relation Name"]
        for step in steps
        if step["Node Type"] in ("Seq Scan", "Parallel Seq Scan") and step["Relation Name"] not in SMALL
    ]


@pytest.fixture(scope="module")
def store(server: Server, template: str) -> Iterator[Store]:
    reads: list[Watched] = []

    with database_on(server, template=template) as dsn:

        @asynccontextmanager
        async def lifespan(app: Starlette) -> AsyncIterator[dict[str, Any]]:
            async with Watched(dsn) as watched:
                reads.append(watched)
                yield {"reads": watched}

        volume = fill(dsn, entries=ENTRIES, accounts=ACCOUNTS)
        with TestClient(Starlette(routes=routes, lifespan=lifespan)) as client:
            yield Store(dsn, volume, client, reads)


def _acc(account: UUID) -> str:
    return ids.show(ids.ACCOUNT, account)


def _day(number: int) -> str:
    return (FIRST_DAY + timedelta(days=number)).isoformat()


BUSY: Final = "/v1/accounts/{busy}/postings?"
OF_BUSY: Final = "/v1/journal-entries?account={busy}&"
OF_QUIET: Final = "/v1/journal-entries?account={quiet}&"
IN_BOOK: Final = "/v1/journal-entries?book=main&"
AUDIT: Final = "/v1/audit-trail?"
IN_MAY: Final = f"value_date_from={_day(121)}&value_date_to={_day(150)}"
LONG_AGO: Final = f"value_date_to={_day(-300)}"
RECORDED_IN_MAY: Final = f"recorded_at_from={_day(121)}T00:00:00Z&recorded_at_to={_day(150)}T00:00:00Z"

PAGES: Final = [
    BUSY,
    f"{BUSY}starting_after=30",
    f"{BUSY}starting_after=7000",
    f"{BUSY}ending_before=7000",
    f"{BUSY}ending_before=10",
    f"{BUSY}{IN_MAY}",
    f"{BUSY}{IN_MAY}&ending_before=2000",
    f"{BUSY}{LONG_AGO}",
    f"{BUSY}value_date_to=2001-01-01",
    f"{BUSY}{RECORDED_IN_MAY}",
    f"{BUSY}pending=true",
    OF_BUSY,
    f"{OF_BUSY}starting_after={{old}}",
    f"{OF_BUSY}ending_before={{old}}",
    f"{OF_BUSY}{IN_MAY}",
    f"{OF_BUSY}{LONG_AGO}",
    f"{OF_BUSY}{RECORDED_IN_MAY}",
    f"{OF_BUSY}reference=rare",
    f"{OF_BUSY}reference=none",
    f"{OF_BUSY}metadata=kind%3Drare",
    f"{OF_BUSY}actor=auditor",
    OF_QUIET,
    f"{OF_QUIET}reference=rare",
    f"{OF_QUIET}{IN_MAY}",
    IN_BOOK,
    f"{IN_BOOK}starting_after={{old}}",
    f"{IN_BOOK}ending_before={{old}}",
    f"{IN_BOOK}{IN_MAY}",
    f"{IN_BOOK}{LONG_AGO}",
    f"{IN_BOOK}{RECORDED_IN_MAY}",
    f"{IN_BOOK}reference=rare",
    f"{IN_BOOK}reference=none",
    f"{IN_BOOK}metadata=kind%3Drare",
    f"{IN_BOOK}metadata=kind%3Dnone",
    f"{IN_BOOK}actor=auditor",
    f"{IN_BOOK}actor=nobody",
    f"{IN_BOOK}kind=reversal",
    f"{IN_BOOK}kind=reversed",
    f"{IN_BOOK}kind=capture",
    "/v1/journal-entries",
    "/v1/accounts?book=main",
    "/v1/accounts?book=main&code_prefix=liabilities:9:00019",
    "/v1/accounts?book=main&expand=balance&starting_after={quiet}",
    "/v1/accounts?book=main&expand=balance&ending_before={quiet}",
    "/v1/balances?book=main",
    "/v1/balances?book=main&position=15000&starting_after={quiet}",
    "/v1/holds?book=main",
    AUDIT,
    f"{AUDIT}book=main&starting_after=15000",
    f"{AUDIT}ending_before=15000",
    f"{AUDIT}actor=auditor",
    f"{AUDIT}refused=true",
    f"{AUDIT}command=none",
    f"{AUDIT}event=account.closed.v1",
    f"{AUDIT}kind=hold",
    f"{AUDIT}request_id=req-777",
    f"{AUDIT}stream={{busy}}",
    f"{AUDIT}{RECORDED_IN_MAY}",
    "/v1/accounts/{busy}/balance",
    "/v1/accounts/{busy}/balance?position=15000",
    f"/v1/accounts/{{quiet}}/balance?at={_day(150)}T00:00:00Z",
    "/v1/events?after=15000",
    "/v1/events?account={busy}&after=15000",
    "/v1/events?account={busy}&ending_before=15000",
    "/v1/events?account={busy}&event=journal_entry.posted.v1",
    "/v1/events?account={busy}&kind=account",
    "/v1/events?account={busy}&kind=hold",
    "/v1/events?book=main&actor=auditor",
]


@pytest.mark.parametrize("path", PAGES)
def test_a_page_is_found_without_walking(store: Store, path: str) -> None:
    """
    No large table is read from end to end, and no step looks at many more rows than there are on a page.
    """
    known = {"busy": _acc(store.volume.busy), "quiet": _acc(store.volume.accounts[7]), "old": store.entry(30)}

    _, steps = store.get(path.format(**known))

    assert steps
    assert not walked(steps)
    most = max(steps, key=looked_at)
    assert looked_at(most) <= LOOKED_AT_MAX, {name: value for name, value in most.items() if name != "Plans"}


def test_a_report_looks_at_the_last_postings_only(store: Store) -> None:
    """
    Of what there was at a position and before a day: the rest of each account's postings, and its days.
    """
    now, steps_now = store.get("/v1/reports/trial-balance?book=main")
    then, steps_then = store.get("/v1/reports/trial-balance?book=main&position=15000")
    dated, steps_dated = store.get(f"/v1/reports/trial-balance?book=main&before={_day(DAYS // 2)}")

    of_postings = [step for step in steps_dated if step.get("Relation Name") == "postings"]
    assert not walked(steps_now + steps_then + steps_dated)
    assert max(map(looked_at, steps_now + steps_then)) <= 2 * ACCOUNTS
    assert max(map(looked_at, of_postings)) <= 128 * ACCOUNTS
    assert len(now["lines"]) == len(then["lines"]) == len(dated["lines"]) == ACCOUNTS


def test_what_is_rare_is_there(store: Store) -> None:
    """
    The filters above leave something to be found.
    """
    entry, *_ = store.get(f"{IN_BOOK}reference=rare")[0]["data"]
    dated, *_ = store.get(f"{IN_BOOK}reference=rare&value_date_from={entry['value_date']}")[0]["data"]
    of_busy, *_ = store.get(f"{OF_BUSY.format(busy=_acc(store.volume.busy))}metadata=kind%3Drare")[0]["data"]

    assert entry == dated == of_busy
    assert entry["postings"][0]["amount"] == RARE_AMOUNT


def test_a_writer_that_began_on_an_empty_log_still_finds_its_way_in_a_large_one(database: str) -> None:
    """
    What it asks of the log under the lock is found by index, though its plans are as old as its session.
    """
    store, account = PostgresEventStore(database), uuid4()
    try:
        for _ in range(10):
            look(store, account)
        with psycopg.connect(database, autocommit=True) as connection:
            connection.execute(
                "INSERT INTO daybook.events SELECT n, now(), gen_random_uuid(), 1, 'x', '{}', '{}', NULL"
                " FROM generate_series(1, 20000) AS n"
            )
            connection.execute(
                "INSERT INTO daybook.postings SELECT gen_random_uuid(), 1, n, 1, 1, 0, 0, 0, now(), 'D', false"
                " FROM generate_series(1, 20000) AS n"
            )
            before = walks(connection)
            look(store, account)
            assert walks(connection) == before
    finally:
        store.close()


def look(store: PostgresEventStore, account: UUID) -> None:
    with store.writing([uuid4()]) as writing:
        writing.totals([account])
        writing.streams([account])
        writing.connection.execute("SELECT pg_stat_force_next_flush()")


def walks(connection: psycopg.Connection[TupleRow]) -> list[TupleRow]:
    """How often the log's tables were read whole."""
    counted = "SELECT relname, seq_scan FROM pg_stat_user_tables WHERE schemaname = 'daybook' ORDER BY relname"
    return connection.execute(counted).fetchall()
