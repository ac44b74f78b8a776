"""Servers and Postgres killed under load: what clients were told, held against what is stored."""

import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from domain import ids
from tests.faults import Client, Request, intents, own_postgres, reconcile
from tests.ports import two_free_ports
from tests.serving import Caller, serving, serving_process, transfer, until
from tests.support import BOOK, books_of

CLIENTS = 6


def begin(base_url: str) -> None:
    """A book with a till and a bank without limits, and a purse that cannot be overdrawn."""
    with Caller(base_url) as caller:
        caller.done("/v1/books", {"code": "main"})
        caller.account("till")
        caller.account("bank", "equity")
        caller.account("purse", overdraft_limit=0)


def mixed(number: int) -> Request:
    """Money in and out of the till and the purse; some of it is refused, now and then."""
    debit, credit = [("till", "bank"), ("bank", "purse"), ("purse", "bank"), ("bank", "purse")][number % 4]
    return "/v1/journal-entries", transfer(debit, credit, number % 7 + 1)


@contextmanager
def load(base_url: str, folder: Path) -> Iterator[list[Client]]:
    """Clients at work, until the end of the `with` block."""
    clients = [Client(base_url, folder / f"{n}.log", f"client-{n}", mixed) for n in range(CLIENTS)]
    try:
        yield clients
    finally:
        for client in clients:
            client.finish()


def answered(clients: list[Client]) -> int:
    return sum(client.answered for client in clients)


def work(clients: list[Client], more: int) -> None:
    """Wait until that many more answers have come."""
    enough = answered(clients) + more
    until(lambda: answered(clients) >= enough, seconds=60)


def test_a_server_killed_under_load(database: str, tmp_path: Path) -> None:
    """
    kill -9 of the server, three times over: every client was told the truth, or nothing, and nothing happened twice.
    """
    port = two_free_ports()
    base_url = f"http://127.0.0.1:{port}"
    with serving_process(database, project=False, port=port) as server:
        begin(base_url)
        server.kill()

    with load(base_url, tmp_path) as clients:
        for _ in range(3):
            with serving_process(database, project=False, port=port) as server:
                work(clients, more=150)
                server.kill()
    with serving_process(database, project=False, port=port):
        result = reconcile(intents(tmp_path), lambda: books_of(database), base_url)

    assert result.acknowledged > 200
    assert result.refused > 0
    assert result.unknown > 0, "nothing was in flight"


def test_postgres_killed_under_load(tmp_path: Path) -> None:
    """
    kill -9 of Postgres, twice: it comes back, the server goes on by itself, and nobody was told what is not so.
    """
    with own_postgres() as postgres, serving_process(postgres.dsn) as server:
        begin(server.base_url)
        with load(server.base_url, tmp_path) as clients:
            for _ in range(2):
                work(clients, more=150)
                pid = postgres.pid
                os.kill(pid, signal.SIGKILL)
                until(lambda: is_back(postgres.dsn), seconds=60)
            work(clients, more=150)

        result = reconcile(intents(tmp_path), lambda: books_of(postgres.dsn), server.base_url)
        with Caller(server.base_url) as caller:
            until(lambda: caller.get("/readyz").status_code == 200)
            till = ids.account_id(BOOK, "till")
            debits, credits = books_of(postgres.dsn).check()[till]
            balance = caller.get(f"/v1/accounts/{ids.show('acc', till)}/balance").json()

    assert balance["balance"] == debits - credits > 0
    assert result.acknowledged > 200


def is_back(dsn: str) -> bool:
    try:
        with psycopg.connect(dsn, connect_timeout=1):
            return True
    except psycopg.Error:
        return False


def test_two_servers_spend_the_last_unit_once(database: str) -> None:
    """
    Two processes on one database, nothing else between them: a hundred times exactly one may spend the last unit.
    """
    with serving_process(database, project=False) as one, serving_process(database, project=False) as other:
        begin(one.base_url)
        with Caller(one.base_url) as mine, Caller(other.base_url) as yours, ThreadPoolExecutor(2) as pool:
            for turn in range(100):
                (mine, yours)[turn % 2].done("/v1/journal-entries", transfer("purse", "bank", 1))
                both = list(pool.map(spend, (mine, yours)))
                assert sorted(both) == [(201, ""), (422, "insufficient_funds")], turn

    assert books_of(database).check()[ids.account_id(BOOK, "purse")] == (100, 100)


def spend(caller: Caller) -> tuple[int, str]:
    response = caller.ask("/v1/journal-entries", transfer("bank", "purse", 1))
    return response.status_code, "" if response.is_success else response.json()["code"]


def test_one_key_through_two_servers(database: str) -> None:
    """
    The same command sent to both at once, as a client that retries elsewhere does: one effect, one answer.
    """
    with serving_process(database, project=False) as one, serving_process(database, project=False) as other:
        begin(one.base_url)
        with Caller(one.base_url) as mine, Caller(other.base_url) as yours, ThreadPoolExecutor(2) as pool:
            for turn in range(30):
                ask = lambda caller, key=f"same-{turn}": caller.ask(  # noqa: E731
                    "/v1/journal-entries", transfer("till", "bank", 1), key=key
                )
                left, right = pool.map(ask, (mine, yours))
                assert (left.status_code, right.status_code) == (201, 201)
                assert left.content == right.content
                replayed = [answer.headers.get("idempotency-replayed") for answer in (left, right)]
                assert sorted(replayed, key=str) == [None, "true"]

    assert books_of(database).check()[ids.account_id(BOOK, "till")] == (30, 0)


@pytest.mark.parametrize(
    "sessions",
    ["query = 'LISTEN daybook_log'", "query LIKE '%daybook_read%' OR query LIKE '%tracking%'", "true"],
    ids=["the LISTEN session", "the projectors' sessions", "every session"],
)
def test_read_models_catch_up_after_their_sessions_are_killed(database: str, sessions: str) -> None:
    """
    What is posted after a kill is read without anybody's nudge.
    """
    with serving(database) as base_url, Caller(base_url) as caller:
        begin(base_url)
        until(lambda: entries(caller) == 0)
        for turn in range(1, 4):
            assert kill(database, sessions) > 0 or turn > 1
            until(lambda: posted(caller))
            until(lambda turn=turn: entries(caller) == turn, seconds=15)

    books_of(database).check()


def kill(dsn: str, which: str) -> int:
    with psycopg.connect(dsn, autocommit=True) as connection:
        rows = connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            f" WHERE datname = current_database() AND pid <> pg_backend_pid() AND ({which})".encode()
        ).fetchall()
    return len(rows)


def posted(caller: Caller) -> bool:
    return caller.ask("/v1/journal-entries", transfer("till", "bank", 1)).status_code == 201


def entries(caller: Caller) -> int:
    """As the read model has them, current; -1 while it cannot tell."""
    response = caller.get("/v1/journal-entries", params={"book": "main"})
    return len(response.json()["data"]) if response.status_code == 200 else -1
