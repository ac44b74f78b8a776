"""Payments under load: by card over HTTP, the rails simulated in a process of their own that answers at once.

When a load is over, both sides' books are held against each other: where they differ there is no figure.
"""

import time
from typing import Final

import httpx2
import psycopg
from msgspec import Struct

from benchmarks import asking, daybook, load
from benchmarks.figures import Cost, Figures, Ran, figures
from benchmarks.processes import Failed, Meter, Server, Simulator, call, command, cpu_s, until
from domain import ids
from domain.clearing import clearing_code

LEFT_S: Final = 300.0
"""How long those that were acknowledged may take to succeed."""
_OPEN: Final = b"SELECT count(*) FROM daybook_read.payments WHERE status <> 'succeeded'"
_PAID: Final = b"""
SELECT count(*), coalesce(sum(captured), 0)::bigint,
    (SELECT debits - credits FROM daybook.postings WHERE account = %s ORDER BY number DESC LIMIT 1)
FROM daybook_read.payments WHERE status = 'succeeded'
"""
_CLEARING: Final = ids.account_id(ids.book_id(load.BOOK), clearing_code("card", "EUR"))


class Shop(Struct, frozen=True):
    """A server upon a database, the rails it pays by, and what they cost."""

    dsn: str
    server: Server
    rails: Simulator
    meter: Meter


def awaited(shop: Shop, *, connections: int, seconds: float, accounts: int) -> Figures:
    """Each is answered once it has succeeded."""
    found = daybook.over_http(shop.server, shop.meter, load.Job(0, "awaited", connections, seconds, accounts=accounts))
    hold_against_rails(shop)
    return found


def acknowledged(shop: Shop, *, connections: int, seconds: float, accounts: int) -> tuple[Figures, Figures]:
    """Each is answered as soon as it is acknowledged: counted up to the last answer, and until all have succeeded."""
    job = load.Job(shop.server.port, "payment", connections, seconds, accounts=accounts)
    before = shop.meter.read()
    with daybook.watched(shop.dsn) as lags_s:
        done = call("load", job, Ran, seconds=seconds)
        answered, began = shop.meter.read(), time.perf_counter()
        until(lambda: _at_rest(shop.dsn), seconds=LEFT_S)
        whole_s = done.seconds + time.perf_counter() - began
    hold_against_rails(shop)
    return (
        figures(done, before, answered, seconds=done.seconds),
        figures(done, before, shop.meter.read(), seconds=whole_s, lags_s=lags_s),
    )


def rails_alone(rails: Simulator, *, at_once: int, seconds: float) -> Figures:
    """What the rails can do where no book of ours is kept."""
    began_s = cpu_s(rails.pid)
    done = call("asking", asking.Job(rails.url, at_once, seconds), Ran, seconds=seconds)
    before, after = Cost(0, 0, 0, 0, began_s), Cost(0, 0, 0, 0, cpu_s(rails.pid))
    return figures(done, before, after, seconds=done.seconds)


def hold_against_rails(shop: Shop) -> None:
    """What the rails have captured is what payments and their clearing account say, and all of it verifies.

    Raises:
        Failed: It is not.
    """
    with psycopg.connect(shop.dsn) as connection:
        paid, captured, cleared = connection.execute(_PAID, [_CLEARING]).fetchone() or (0, 0, 0)
    kinds = httpx2.get(f"{shop.rails.url}/books/totals").raise_for_status().json()
    theirs = [(kind["count"], kind["amount"]) for kind in kinds if kind["operation"] == "capture"]
    if [(paid, captured)] != theirs or cleared != captured:
        raise Failed(f"{paid} payments of {captured}, on the clearing account {cleared}; the rails captured {theirs}")
    command("verify", shop.dsn)


def _at_rest(dsn: str) -> bool:
    """Whether all that the log has is in the read models, and nothing of it is still to be done."""
    daybook.caught_up(dsn)
    with psycopg.connect(dsn) as connection:
        return connection.execute(_OPEN).fetchone() == (0,)
