"""How payments are found among many: by the plans that Postgres really runs."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from hashlib import md5
from typing import Any, Final
from uuid import UUID

import msgspec
import psycopg
import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from adapters.postgres import applying
from adapters.postgres.store import PostgresEventStore
from domain import ids
from projections import payments
from projections.api import routes
from tests.conftest import Server, database_on
from tests.contract.test_plans import LOOKED_AT_MAX, Watched, looked_at, taken
from tests.paid import write_payments
from tests.stored import write_everything

PAYMENTS: Final = 20_000
BUSY, RARE = UUID(int=1), UUID(int=2)
MIDDLE: Final = ids.show(ids.PAYMENT, UUID(md5(b"payment 10000").hexdigest()))
MIDDLE_REQUEST: Final = md5(str(UUID(md5(b"payment 10000").hexdigest())).encode()).hexdigest()[:22]

_FILL = f"""
INSERT INTO daybook_read.payments (payment_id, book_id, account_id, position, created_at, status, direction, amount,
                                   currency, authorized, captured, refunded, reversed, returned, disputed, capture,
                                   approvals, approved, contradicted, rail, route, method, declined, maker,
                                   reference, version, changed, changed_at, expires_at, lapses_at)
SELECT md5('payment ' || n)::uuid, '{BUSY}', CASE WHEN n % 5000 = 1 THEN '{RARE}' ELSE '{BUSY}' END::uuid, 10 * n,
       now(), CASE WHEN n % 4000 = 2 THEN 'processing' WHEN n % 7000 = 6 THEN 'requires_confirmation'
                   WHEN n % 100 = 3 THEN 'canceled' ELSE 'succeeded' END, 'in', n,
       'EUR', 0, n, 0, 0, 0, 0, 'automatic', 0, 0, n % 7000 = 5, 'card',
       CASE WHEN n % 5000 = 9 THEN 'south' ELSE 'north' END,
       jsonb_build_object('type', 'card', 'last4', lpad((n % 10000)::text, 4, '0')),
       CASE WHEN n % 7000 = 7 THEN 'stolen_card' WHEN n % 100 = 3 THEN 'expired_card' END, 'me',
       'order-' || n, 6, 10 * n + 5, now(),
       CASE WHEN n % 7000 <> 6 THEN now() - interval '1 day' END,
       CASE WHEN n % 7000 = 6 THEN now() - interval '1 day' ELSE now() + interval '1 day' END
FROM generate_series(1, {PAYMENTS}) AS n;
INSERT INTO daybook_read.payment_requests (payment_id, book_id, account_id, request_id, position, operation, rail,
                                           route, amount, state, final, reference, declined, contradicted, returned,
                                           fee, requested_at, changed)
SELECT payment_id, book_id, account_id, substr(md5(payment_id::text), 1, 22), position + 3, 'collect', 'card',
       route, amount,
       CASE WHEN status <> 'processing' THEN 'done' WHEN amount % 8000 = 2 THEN 'unknown' ELSE 'failed' END, false,
       'rail-' || reference, declined, false, 0, 0, created_at, position + 5
FROM daybook_read.payments;
INSERT INTO daybook_read.payment_requests (payment_id, book_id, account_id, request_id, position, operation, rail,
                                           route, amount, state, upon, final, contradicted, returned, fee,
                                           requested_at, changed)
SELECT payment_id, book_id, account_id, substr(md5(asked || payment_id), 1, 22), position + 6, asked, 'card', route,
       amount, 'done', substr(md5(payment_id::text), 1, 22), false, false, 0, 0, created_at, position + 7
FROM daybook_read.payments CROSS JOIN (VALUES ('capture', 1), ('refund', 2000)) AS more (asked, every)
WHERE amount % every = 0;
ANALYZE daybook_read.payments, daybook_read.payment_requests;
"""


_AT: Final = "2026-11-24T00:00:00Z"
_STEP: Final = {"payment_id": UUID(md5(b"payment 7").hexdigest()), "request_id": "request", "position": 10**7}
_TOLD: Final = msgspec.json.encode(
    [{**_STEP, "version": 7, "at": _AT, "changed_at": _AT, "requested_at": _AT}]
).decode()
"""What each change of the payments may be told."""


@pytest.fixture(scope="module")
def many(server: Server, template: str) -> Iterator[tuple[TestClient, list[Watched]]]:
    reads: list[Watched] = []

    with database_on(server, template=template) as dsn:
        with psycopg.connect(dsn, autocommit=True) as connection:
            for statement in _FILL.strip().split(";\n"):
                connection.execute(statement.encode())

        @asynccontextmanager
        async def lifespan(app: Starlette) -> AsyncIterator[dict[str, Any]]:
            async with Watched(dsn) as watched:
                reads.append(watched)
                yield {"reads": watched}

        with TestClient(Starlette(routes=routes, lifespan=lifespan)) as client:
            yield client, reads


def steps(reads: list[Watched]) -> list[dict[str, Any]]:
    return [step for plan in reads[0].plans for step in taken(plan)]


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("", 50),
        (f"account={ids.show(ids.ACCOUNT, RARE)}", 4),
        ("status=processing", 5),
        ("status=succeeded", 50),
        ("status=canceled&limit=20", 20),
        ("request_state=unknown", 3),
        ("request_state=accepted", 0),
        ("contradicted=true", 3),
        ("reference=order-777", 1),
        ("rail_reference=rail-order-777", 1),
        (f"starting_after={MIDDLE}", 50),
        (f"ending_before={MIDDLE}&status=succeeded", 50),
        ("rail=card&currency=EUR&direction=in", 50),
        ("route=south", 4),
        ("last4=0777", 2),
        ("method=card&last4=0777", 2),
        ("declined=stolen_card", 3),
        ("declined=expired_card", 50),
        ("needs_attention=true&unknown_for_s=0", 6),
        ("needs_attention=true", 3),
    ],
)
def test_lists(many: tuple[TestClient, list[Watched]], asked: str, found: int) -> None:
    """
    A page of a list looks at few rows, whatever it is asked for.
    """
    client, reads = many
    reads[0].plans.clear()

    response = client.get(f"/v1/payments?{asked}")

    assert len(response.json()["data"]) == found
    assert max(map(looked_at, steps(reads))) <= LOOKED_AT_MAX


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("attempts?", 50),
        ("captures?", 50),
        ("refunds?", 10),
        ("payouts?", 0),
        ("reversals?state=done", 0),
        (f"attempts?account={ids.show(ids.ACCOUNT, RARE)}", 4),
        (f"captures?account={ids.show(ids.ACCOUNT, RARE)}", 4),
        (f"attempts?book={ids.show(ids.BOOK, BUSY)}&rail=card", 50),
        ("attempts?route=south", 4),
        ("captures?route=south", 4),
        ("attempts?state=unknown", 3),
        ("attempts?state=accepted", 0),
        ("attempts?declined=stolen_card", 3),
        ("attempts?declined=expired_card&route=north", 50),
        ("attempts?reference=rail-order-777", 1),
        (f"attempts?starting_after={MIDDLE_REQUEST}", 50),
        (f"attempts?ending_before={MIDDLE_REQUEST}", 50),
        (f"attempts/{MIDDLE_REQUEST}", 1),
    ],
)
def test_operations(many: tuple[TestClient, list[Watched]], asked: str, found: int) -> None:
    """
    So does a page of what rails were asked across all payments.
    """
    client, reads = many
    reads[0].plans.clear()

    response = client.get(f"/v1/{asked}")

    answered = response.json()
    assert len(answered.get("data", [answered])) == found
    assert max(map(looked_at, steps(reads))) <= LOOKED_AT_MAX


def test_what_is_due(many: tuple[TestClient, list[Watched]]) -> None:
    """
    Looking for what Daybook has to do costs what there is to do, not what was ever done.
    """
    client, reads = many
    reads[0].plans.clear()

    assert client.portal is not None
    rows = client.portal.call(reads[0].fetch, "payments_due", {"projections": [], "limit": 500, "after": 0})

    assert sorted(row["kind"] for row in rows) == ["attempt"] * 2 + ["expire"] * 5 + ["request"] * 3
    assert max(map(looked_at, steps(reads))) <= LOOKED_AT_MAX


async def write(dsn: str) -> None:
    await write_everything(PostgresEventStore(dsn))
    await write_payments(PostgresEventStore(dsn))


def test_plans_made_while_there_was_little(server: Server, template: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A runner that began in an empty store keeps no plan that walks a large one.
    """
    monkeypatch.setattr(applying, "BATCH", 1)
    with database_on(server, template=template) as dsn:
        asyncio.run(write(dsn))
        runner = applying.Applier(dsn, payments)
        while runner.applied < 100:  # After a few, there is one plan for all.
            runner.apply()
        with psycopg.connect(dsn, autocommit=True) as other:
            # Past what the log has; and nothing is analyzed, which would end the plans.
            for filling in _FILL.replace("10 * n", "1000000 + 10 * n").strip().split(";\n")[:-1]:
                other.execute(filling.encode())
        while runner.apply():
            pass
        with runner._session() as connection:
            of = "SELECT name FROM pg_prepared_statements WHERE statement LIKE 'UPDATE payment%'"
            names = [row[0] for row in connection.execute(of)]
            plans = [
                connection.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE {name} ('{_TOLD}')".encode()).fetchall()
                for name in names
            ]
            connection.rollback()
        runner.close()
    steps = [step for ((plan,),) in plans for step in taken(plan[0]["Plan"])]
    assert len(names) == 2
    assert max(map(looked_at, steps)) < LOOKED_AT_MAX
