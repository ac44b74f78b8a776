"""How escrows are found among many: by the plans that Postgres really runs."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from hashlib import md5
from typing import Any, Final
from uuid import UUID

import psycopg
import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from domain import ids
from projections.api import routes
from tests.conftest import Server, database_on
from tests.contract.test_plans import LOOKED_AT_MAX, Watched, looked_at, taken

ESCROWS: Final = 20_000
BUSY, RARE = UUID(int=1), UUID(int=2)
MIDDLE: Final = ids.show(ids.ESCROW, UUID(md5(b"escrow 10000").hexdigest()))

_FILL = f"""
INSERT INTO daybook_read.escrows (escrow_id, book_id, depositor_id, beneficiary_id, position, created_at, status,
                                  amount, released, returned, suspended, currency, expires_at, on_expiry, conditions,
                                  met, returns, maker, reference, version, changed, changed_at)
SELECT md5('escrow ' || n)::uuid, '{BUSY}', CASE WHEN n % 5000 = 1 THEN '{RARE}' ELSE '{BUSY}' END::uuid,
       CASE WHEN n % 4000 = 1 THEN '{RARE}' ELSE '{BUSY}' END::uuid, 10 * n, now(),
       CASE WHEN n % 400 = 2 THEN 'funded' WHEN n % 100 = 3 THEN 'returned' ELSE 'released' END, n, 0, 0, 0, 'EUR',
       now() + n * interval '1 minute', 'return', '[{{"name": "delivered", "by": []}}]', '{{}}', '{{}}', 'me',
       'order-' || n, 3, 10 * n + 5, now()
FROM generate_series(1, {ESCROWS}) AS n;
INSERT INTO daybook_read.escrow_parts (escrow_id, number, position, name, amount, released, returned, conditions,
                                       approvals, approvers, approved, changed)
SELECT escrow_id, 1, position, 'all', amount, 0, 0, '["delivered"]', 1,
       CASE WHEN amount % 1600 = 2 THEN '["bob", "eve"]' ELSE '["bob"]' END::jsonb, '[]', changed
FROM daybook_read.escrows;
ANALYZE daybook_read.escrows, daybook_read.escrow_parts;
"""


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


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("", 50),
        (f"depositor={ids.show(ids.ACCOUNT, RARE)}", 4),
        (f"beneficiary={ids.show(ids.ACCOUNT, RARE)}", 5),
        ("status=funded", 50),
        ("status=released", 50),
        ("status=partially_released", 0),
        ("reference=order-777", 1),
        ("expires_before=2020-01-01T00:00:00Z", 0),
        ("expires_before=2999-01-01T00:00:00Z", 50),
        ("waits_for_condition=delivered", 50),
        ("waits_for_condition=paid", 0),
        ("waits_for_approver=eve", 13),
        ("waits_for_approver=nobody", 0),
        (f"starting_after={MIDDLE}", 50),
        (f"ending_before={MIDDLE}&status=released", 50),
    ],
)
def test_lists(many: tuple[TestClient, list[Watched]], asked: str, found: int) -> None:
    """
    A page of a list looks at few rows, whatever it is asked for.
    """
    client, reads = many
    reads[0].plans.clear()

    response = client.get(f"/v1/escrows?{asked}")

    assert len(response.json()["data"]) == found
    assert max(looked_at(step) for plan in reads[0].plans for step in taken(plan)) <= LOOKED_AT_MAX
