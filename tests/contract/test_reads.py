"""What the read routes answer, over a log written for the purpose, upon Postgres."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.testclient import TestClient

from adapters.postgres.projecting import catch_up
from adapters.postgres.reads import PostgresReads
from domain import ids
from domain.account import Type
from domain.errors import AccountNotFound, BookNotFound, EntryNotFound, Unavailable
from domain.posting import Side
from projections import accounts
from projections.api import answering, routes
from projections.api.answering import POSITION_HEADER, ReadModelBehind
from tests.reading import DAY, Scribe


@contextmanager
def serving(dsn: str) -> Iterator[TestClient]:
    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[dict[str, Any]]:
        async with PostgresReads(dsn) as reads:
            yield {"reads": reads}

    with TestClient(Starlette(routes=routes, lifespan=lifespan)) as client:
        yield client


class World:
    """A log being written and the routes that read it; `get` first brings the read models up to date."""

    def __init__(self, dsn: str, scribe: Scribe, client: TestClient) -> None:
        self.dsn = dsn
        self.scribe = scribe
        self.client = client

    def get(self, path: str, **parameters: Any) -> Any:
        catch_up(self.dsn)
        response = self.client.get(path, params=parameters or None)
        assert response.status_code == 200
        assert response.headers["content-type"] == "application/json"
        assert int(response.headers[POSITION_HEADER]) >= 0
        return response.json()

    def raw(self, path: str, **parameters: Any) -> Any:
        return self.client.get(path, params=parameters or None)


@pytest.fixture
def world(database: str) -> Iterator[World]:
    with Scribe(database) as scribe, serving(database) as client:
        yield World(database, scribe, client)


def acc(account_id: UUID) -> str:
    return ids.show(ids.ACCOUNT, account_id)


def je(entry_id: UUID) -> str:
    return ids.show(ids.ENTRY, entry_id)


def walk(world: World, path: str, cursor: Callable[[Any], Any], **parameters: Any) -> list[Any]:
    """All items, page by page forwards; backwards from the end must give the same."""
    forwards: list[Any] = []
    more, after = True, dict[str, Any]()
    while more:
        page = world.get(path, **parameters, **after)
        assert page["object"] == "list"
        forwards += page["data"]
        more = page["has_more"]
        after = {"starting_after": cursor(forwards[-1])}
    backwards: list[Any] = forwards[-1:]
    more = True
    while more:
        page = world.get(path, **parameters, ending_before=cursor(backwards[0]))
        backwards = page["data"] + backwards
        more = page["has_more"]
    assert backwards == forwards
    return forwards


def test_books(world: World) -> None:
    """
    A book is read by its code or its id; the list goes by code.
    """
    for code in ("west", "east", "north"):
        world.scribe.book(code)

    found = walk(world, "/v1/books", lambda book: book["id"], limit=1)

    assert [book["code"] for book in found] == ["east", "north", "west"]
    assert found[0] == world.get("/v1/books/east") == world.get(f"/v1/books/{found[0]['id']}")
    assert found[0] | {"opened_at": None} == {
        "object": "book",
        "id": ids.show(ids.BOOK, ids.book_id("east")),
        "code": "east",
        "title": "The east book",
        "metadata": {},
        "opened_at": None,
    }


def test_an_account(world: World) -> None:
    """
    An account is shown whole, as it stands.
    """
    book = world.scribe.book()
    cash = world.scribe.account(book, "assets:cash", ceiling=5000)
    world.scribe.freeze(cash)

    found = world.get(f"/v1/accounts/{acc(cash)}")

    assert datetime.fromisoformat(found.pop("opened_at")).tzinfo is not None
    assert found == {
        "object": "account",
        "id": acc(cash),
        "book_id": ids.show(ids.BOOK, book),
        "code": "assets:cash",
        "type": "asset",
        "currency": "EUR",
        "title": "Account assets:cash",
        "overdraft_limit": None,
        "floor": None,
        "ceiling": 5000,
        "limits_to_come": [],
        "status": "frozen",
        "opened_on": DAY.isoformat(),
        "metadata": {"branch": "north"},
        "version": 2,
    }


def test_accounts_are_listed_by_code(world: World) -> None:
    """
    The list goes by book and code, a page at a time, either way.
    """
    main, other = world.scribe.book(), world.scribe.book("other")
    for number in range(7):
        world.scribe.account(main, f"a:{number}")
    world.scribe.account(other, "a:1")

    of_book = walk(world, "/v1/accounts", lambda account: account["id"], book="main", limit=3)
    of_all = walk(world, "/v1/accounts", lambda account: account["id"], limit=2)

    assert [account["code"] for account in of_book] == [f"a:{number}" for number in range(7)]
    assert len(of_all) == 8


@pytest.mark.parametrize(
    ("filters", "codes"),
    [
        ({"code": "assets:bank"}, ["assets:bank"]),
        ({"code_prefix": "assets:"}, ["assets:bank", "assets:bank:eur", "assets:cash"]),
        ({"code_prefix": "%"}, []),
        ({"type": "revenue"}, ["sales"]),
        ({"status": "frozen"}, ["assets:cash"]),
        ({"currency": "USD"}, ["assets:bank"]),
        ({"book": "main", "type": "asset", "status": "open", "currency": "EUR"}, ["assets:bank:eur"]),
    ],
)
def test_accounts_are_filtered(world: World, filters: dict[str, str], codes: list[str]) -> None:
    """
    Filters narrow the list, together.
    """
    book = world.scribe.book()
    world.scribe.account(book, "assets:bank", currency="USD")
    world.scribe.account(book, "assets:bank:eur")
    world.scribe.freeze(world.scribe.account(book, "assets:cash"))
    world.scribe.account(book, "sales", Type.REVENUE)

    found = walk(world, "/v1/accounts", lambda account: account["id"], **filters) if codes else []

    assert [account["code"] for account in found] == codes
    assert [account["code"] for account in world.get("/v1/accounts", **filters)["data"]] == codes


def test_a_balance_is_on_the_normal_side(world: World) -> None:
    """
    What is in the asset is owed as the liability: both are positive, and current with no read model at all.
    """
    book = world.scribe.book()
    cash, owed = world.scribe.account(book, "cash"), world.scribe.account(book, "owed", Type.LIABILITY)
    world.scribe.transfer(cash, owed, 500)
    world.scribe.transfer(owed, cash, 120)

    found = [world.raw(f"/v1/accounts/{acc(account)}/balance") for account in (cash, owed)]

    assert found[0].json() == {
        "object": "balance",
        "account_id": acc(cash),
        "code": "cash",
        "type": "asset",
        "currency": "EUR",
        "balance": 380,
        "available": 380,
        "debits": 500,
        "credits": 120,
        "pending_debits": 0,
        "pending_credits": 0,
        "position": 5,
    }
    assert found[1].json()["balance"] == 380
    assert found[0].headers[POSITION_HEADER] == "5"


def test_a_balance_as_it_was(world: World) -> None:
    """
    At a position, or as known at a time, in the near past and the far one.
    """
    book = world.scribe.book()
    cash, owed = world.scribe.account(book, "cash"), world.scribe.account(book, "owed", Type.LIABILITY)
    times = []
    for _ in range(5):
        world.scribe.transfer(cash, owed, 100)
        times.append(datetime.now(UTC))
        time.sleep(0.002)
    path = f"/v1/accounts/{acc(cash)}/balance"

    near = [world.get(path, position=position)["balance"] for position in range(3, 9)]
    known = [world.get(path, at=at.isoformat())["balance"] for at in times]
    with world.scribe.one_commit():
        for _ in range(1100):
            world.scribe.transfer(cash, owed, 1)
    far = [world.get(path, position=position)["balance"] for position in range(3, 9)]
    bulk = [world.get("/v1/balances", position=position)["data"][0]["balance"] for position in range(3, 9)]

    assert near == far == bulk == [0, 100, 200, 300, 400, 500]
    assert known == [100, 200, 300, 400, 500]
    assert world.raw(path, position=4).headers[POSITION_HEADER] == "4"
    assert world.get(path, at="2999-01-01T00:00:00Z")["balance"] == 1600
    with pytest.raises(AccountNotFound):
        world.get(path, position=1)
    with pytest.raises(AccountNotFound):
        world.get(path, at="2001-01-01T00:00:00Z")


def test_all_balances_are_of_one_position(world: World) -> None:
    """
    The list is of one moment, so it adds up: also one behind the log's head, when that is what is asked for.
    """
    book = world.scribe.book()
    chart = [world.scribe.account(book, f"a:{n}", type) for n, type in enumerate([Type.ASSET, Type.LIABILITY] * 3)]
    for number in range(12):
        world.scribe.transfer(chart[number % 6], chart[(number * 5 + 1) % 6], 10 + number)
    world.scribe.account(world.scribe.book("empty"), "nothing")

    found = walk(world, "/v1/balances", lambda balance: balance["account_id"], book="main", limit=4)
    everything = world.get("/v1/balances")["data"]
    world.scribe.transfer(chart[0], chart[1], 1_000_000)
    behind = world.raw("/v1/balances", consistency="eventual")

    assert [balance["code"] for balance in found] == [f"a:{n}" for n in range(6)]
    assert sum(balance["debits"] - balance["credits"] for balance in found) == 0
    assert sum(balance["debits"] for balance in found) == sum(10 + number for number in range(12))
    assert len(everything) == 7
    assert [balance["debits"] for balance in everything if balance["code"] == "nothing"] == [0]
    assert {balance["position"] for balance in behind.json()["data"]} == {world.scribe.position - 1}
    assert behind.headers[POSITION_HEADER] == str(world.scribe.position - 1)
    assert max(balance["debits"] for balance in behind.json()["data"]) < 1_000_000
    for balance in found:
        assert world.get(f"/v1/accounts/{balance['account_id']}/balance", position=balance["position"]) == balance


def test_balances_of_the_past_leave_out_what_came_later(world: World) -> None:
    """
    An account that was not open at the position is not in the list of it.
    """
    book = world.scribe.book()
    world.scribe.account(book, "first")
    world.scribe.account(book, "second")

    assert [balance["code"] for balance in world.get("/v1/balances", position=2)["data"]] == ["first"]
    assert world.get("/v1/balances", position=1, book="main")["data"] == []
    assert world.get("/v1/balances", position=0) == {"object": "list", "data": [], "has_more": False}


def test_postings_with_running_balances(world: World) -> None:
    """
    Newest first, each with the balance after it; current with no read model at all.
    """
    book = world.scribe.book()
    cash, owed = world.scribe.account(book, "cash"), world.scribe.account(book, "owed", Type.LIABILITY)
    entries = [world.scribe.transfer(cash, owed, amount, f"Number {amount}") for amount in (5, 6, 7)]
    entries.append(world.scribe.reverse(entries[1]))
    path = f"/v1/accounts/{acc(owed)}/postings"

    straight = world.raw(path).json()["data"]
    found = walk(world, path, lambda posting: posting["number"], limit=3)

    assert found == straight
    assert [(p["number"], p["side"], p["amount"], p["balance"]) for p in found] == [
        (4, "debit", 6, 12),
        (3, "credit", 7, 18),
        (2, "credit", 6, 11),
        (1, "credit", 5, 5),
    ]
    assert [p["entry_id"] for p in found] == [je(entry) for entry in reversed(entries)]
    assert found[3]["recorded_at"] and found[3] | {"recorded_at": None} == {
        "object": "posting",
        "account_id": acc(owed),
        "number": 1,
        "side": "credit",
        "amount": 5,
        "currency": "EUR",
        "balance": 5,
        "available": 5,
        "value_date": DAY.isoformat(),
        "pending": False,
        "entry_id": je(entries[0]),
        "hold_id": None,
        "description": "Number 5",
        "recorded_at": None,
        "position": 4,
    }


def test_an_account_without_postings_has_an_empty_list(world: World) -> None:
    """
    Empty is not missing.
    """
    cash = world.scribe.account(world.scribe.book(), "cash")

    assert world.get(f"/v1/accounts/{acc(cash)}/postings") == {"object": "list", "data": [], "has_more": False}
    assert world.get(f"/v1/accounts/{acc(cash)}/balance")["balance"] == 0


def test_a_journal_entry(world: World) -> None:
    """
    An entry is shown with its accounts' codes, and linked with what undoes it.
    """
    book = world.scribe.book()
    cash, owed = world.scribe.account(book, "cash"), world.scribe.account(book, "owed", Type.LIABILITY)
    entry = world.scribe.transfer(cash, owed, 500, "A loan")
    mirror = world.scribe.reverse(entry)

    found = world.get(f"/v1/journal-entries/{je(entry)}")
    reversal = world.get(f"/v1/journal-entries/{je(mirror)}")

    assert found["recorded_at"] and found | {"recorded_at": None} == {
        "object": "journal_entry",
        "id": je(entry),
        "book_id": ids.show(ids.BOOK, book),
        "value_date": DAY.isoformat(),
        "description": "A loan",
        "reference": "",
        "metadata": {},
        "postings": [
            {"account_id": acc(cash), "account_code": "cash", "side": "debit", "amount": 500, "currency": "EUR"},
            {"account_id": acc(owed), "account_code": "owed", "side": "credit", "amount": 500, "currency": "EUR"},
        ],
        "reverses": None,
        "reversed_by": je(mirror),
        "captures": None,
        "recipe": None,
        "actor": "alice",
        "recorded_at": None,
        "position": 4,
    }
    assert (reversal["reverses"], reversal["reversed_by"]) == (je(entry), None)


def test_entries_are_listed_newest_first(world: World) -> None:
    """
    Of all books, of one, of one account; an entry with two postings to an account is there once.
    """
    main, other = world.scribe.book(), world.scribe.book("other")
    cash, owed, spare = (world.scribe.account(main, code) for code in ("cash", "owed", "spare"))
    there = [world.scribe.account(other, code) for code in ("x", "y")]
    entries = []
    for number in range(9):
        entries.append(world.scribe.transfer(cash, owed if number % 3 else spare, 1 + number))
        entries.append(world.scribe.transfer(there[0], there[1], 1 + number))
    double = [(cash, Side.DEBIT, 1), (cash, Side.DEBIT, 2), (owed, Side.CREDIT, 3)]
    twice = world.scribe.entry(double)
    newest = [je(entry) for entry in [twice, *reversed(entries)]]

    def shown(limit: int, **filters: str) -> list[str]:
        found = walk(world, "/v1/journal-entries", lambda entry: entry["id"], limit=limit, **filters)
        return [entry["id"] for entry in found]

    assert shown(4) == newest
    assert shown(4, book="main") == [newest[0], *newest[2::2]]
    assert shown(2, account=acc(cash)) == [newest[0], *newest[2::2]]
    assert shown(1, account=acc(spare)) == newest[6::6]
    assert shown(50, account=acc(there[0])) == newest[1::2]


def test_entries_before_one_of_another_account(world: World) -> None:
    """
    A cursor says where in the journal the page is, also when that entry is not of the account.
    """
    book = world.scribe.book()
    a, b, c = (world.scribe.account(book, code) for code in "abc")
    first = world.scribe.transfer(a, b, 1)
    middle = world.scribe.transfer(b, c, 2)
    last = world.scribe.transfer(a, c, 3)
    path = "/v1/journal-entries"

    after = world.get(path, account=acc(a), starting_after=je(middle))
    before = world.get(path, account=acc(a), ending_before=je(middle))
    from_the_start = world.get(path, account=acc(c), ending_before=je(first))

    assert [entry["id"] for entry in after["data"]] == [je(first)]
    assert [entry["id"] for entry in before["data"]] == [je(last)]
    assert [entry["id"] for entry in from_the_start["data"]] == [je(last), je(middle)]


def test_the_audit_trail(world: World) -> None:
    """
    Everything that happened and everything that was refused, with who asked and what for.
    """
    book = world.scribe.book()
    cash, owed = world.scribe.account(book, "cash"), world.scribe.account(book, "owed")
    world.scribe.actor = "bob"
    entry = world.scribe.transfer(cash, owed, 5)
    world.scribe.refuse("close_account", cash, "account_not_empty", account_id=str(cash), balance=5)
    nothing = uuid4()
    world.scribe.refuse("reverse_entry", nothing, "entry_not_found", entry_id=str(nothing))
    path = "/v1/audit-trail"

    found = walk(world, path, lambda record: record["position"], limit=2)

    def positions(**filters: str) -> list[int]:
        return [record["position"] for record in world.get(path, **filters)["data"]]

    assert [record["event"] for record in found] == [
        "command.refused.v1",
        "command.refused.v1",
        "journal_entry.posted.v1",
        "account.opened.v1",
        "account.opened.v1",
        "book.opened.v1",
    ]
    assert positions(book="main") == [5, 4, 3, 2, 1]
    assert positions(actor="bob") == [6, 5, 4]
    assert positions(refused="true") == [6, 5]
    assert positions(refused="false", actor="bob") == [4]
    assert positions(stream=acc(cash)) == [5, 2]
    assert positions(stream=je(entry)) == [4]
    assert positions(stream=ids.show(ids.BOOK, book)) == [1]
    assert positions(actor="nobody") == []
    assert found[0]["subject"] == str(nothing)
    assert found[2]["subject"] == je(entry)
    record = found[1]
    assert record["recorded_at"] and record["request_id"] and record["idempotency_key"]
    assert record | {"recorded_at": None, "request_id": None, "idempotency_key": None} == {
        "object": "audit_record",
        "position": 5,
        "recorded_at": None,
        "event": "command.refused.v1",
        "subject": acc(cash),
        "book_id": ids.show(ids.BOOK, book),
        "actor": "bob",
        "request_id": None,
        "correlation_id": None,
        "causation_id": None,
        "idempotency_key": None,
        "refusal": {
            "command": "close_account",
            "code": "account_not_empty",
            "details": {"account_id": acc(cash), "balance": 5},
        },
    }


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("/v1/books/nowhere", BookNotFound),
        (f"/v1/accounts/{acc(UUID(int=7))}", AccountNotFound),
        (f"/v1/accounts/{acc(UUID(int=7))}/balance", AccountNotFound),
        (f"/v1/accounts/{acc(UUID(int=7))}/postings", AccountNotFound),
        (f"/v1/accounts/{acc(ids.book_id('main'))}/balance", AccountNotFound),
        (f"/v1/journal-entries/{je(UUID(int=7))}", EntryNotFound),
        ("/v1/accounts?book=nowhere", BookNotFound),
        ("/v1/balances?book=nowhere&position=1", BookNotFound),
        ("/v1/journal-entries?book=nowhere", BookNotFound),
        (f"/v1/journal-entries?account={acc(UUID(int=7))}", AccountNotFound),
        (f"/v1/journal-entries?starting_after={je(UUID(int=7))}", EntryNotFound),
        (f"/v1/accounts?starting_after={acc(UUID(int=7))}", AccountNotFound),
        (f"/v1/accounts?ending_before={acc(UUID(int=7))}", AccountNotFound),
        (f"/v1/books?ending_before={ids.show(ids.BOOK, UUID(int=7))}", BookNotFound),
        ("/v1/accounts/cash", ValidationError),
        ("/v1/audit-trail?colour=red", ValidationError),
    ],
)
def test_what_is_not_there_is_named(world: World, path: str, error: type[Exception]) -> None:
    """
    A slip in what was asked for is an error, not an empty list.
    """
    world.scribe.account(world.scribe.book(), "cash")
    catch_up(world.dsn)

    with pytest.raises(error):
        world.raw(path)


def test_a_read_waits_for_what_was_acknowledged(world: World) -> None:
    """
    A read begun after a command was acknowledged sees it, as soon as the read model does.
    """
    book = world.scribe.book()
    catch_up(world.dsn)
    cash = world.scribe.account(book, "cash")
    behind = threading.Timer(0.3, catch_up, (world.dsn,))
    behind.start()

    found = world.raw(f"/v1/accounts/{acc(cash)}")

    behind.join()
    assert found.json()["code"] == "cash"
    assert found.headers[POSITION_HEADER] == "2"


def test_a_read_does_not_wait_for_ever(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A read model that stays behind is an error, unless the caller takes what there is.
    """
    monkeypatch.setattr(answering, "PATIENCE_S", 0.1)
    world.scribe.account(world.scribe.book(), "cash")
    catch_up(world.dsn)
    sales = world.scribe.account(ids.book_id("main"), "sales")

    with pytest.raises(ReadModelBehind) as behind:
        world.raw("/v1/accounts")

    eventual = world.raw("/v1/accounts", consistency="eventual")
    at_least = world.raw("/v1/accounts", min_position=2)
    assert (behind.value.needed, behind.value.reached) == (3, 2)
    assert [account["code"] for account in eventual.json()["data"]] == ["cash"]
    assert eventual.headers[POSITION_HEADER] == at_least.headers[POSITION_HEADER] == "2"
    assert world.raw("/v1/balances", position=2).json()["data"][0]["code"] == "cash"
    with pytest.raises(ReadModelBehind):
        world.raw("/v1/accounts", min_position=3)
    with pytest.raises(ReadModelBehind):
        world.raw(f"/v1/accounts/{acc(sales)}/balance", position=4)
    with pytest.raises(ReadModelBehind):
        world.raw(f"/v1/accounts/{acc(sales)}/balance", min_position=4)


def test_reads_survive_a_restart(world: World) -> None:
    """
    Connections that died while idle cost no answer.
    """
    world.scribe.book()
    world.get("/v1/books")

    for _ in range(3):
        with psycopg.connect(world.dsn, autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        assert world.raw("/v1/books").status_code == 200


def test_an_unreachable_store_is_said_to_be(database: str) -> None:
    """
    Nothing of psycopg's gets out.
    """

    async def ask() -> None:
        async with PostgresReads("postgresql://nobody@127.0.0.1:1/none") as reads:
            await reads.fetch("tracked", {"projections": []})

    with pytest.raises(Unavailable):
        asyncio.run(ask())


def test_a_read_cannot_write(database: str) -> None:
    """
    The connections are read-only.
    """

    async def setting() -> Any:
        async with PostgresReads(database) as reads, reads._pool.connection() as connection:
            row = await (await connection.execute("SHOW transaction_read_only")).fetchone()
            return row

    assert asyncio.run(setting()) == {"transaction_read_only": "on"}


def test_a_read_model_that_never_ran_is_behind(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Nothing tracked is position 0.
    """
    monkeypatch.setattr(answering, "PATIENCE_S", 0.05)
    world.scribe.book()
    catch_up(world.dsn, projections=[accounts])

    with pytest.raises(ReadModelBehind) as behind:
        world.raw("/v1/journal-entries")

    assert behind.value.reached == 0


def test_balances_asked_for_at_once(database: str) -> None:
    """
    Answered together, each for itself: one that is not there, or given up, does nothing to the others.
    """
    with Scribe(database) as scribe:
        book = scribe.book()
        accounts = [scribe.account(book, f"a:{n}") for n in range(5)]
        for n in range(1, 5):
            scribe.transfer(accounts[n], accounts[0], n)

    async def ask() -> list[Any]:
        async with PostgresReads(database) as reads:
            known = [reads.fetch("balance", {"account": account}) for account in accounts * 3]
            unknown = reads.fetch("balance", {"account": uuid4()})
            given_up = asyncio.create_task(reads.fetch("balance", {"account": accounts[0]}))
            asyncio.get_running_loop().call_soon(given_up.cancel)
            return await asyncio.gather(*known, unknown, given_up, return_exceptions=True)

    *known, unknown, given_up = asyncio.run(ask())

    assert [row["debits"] for (row,) in known] == [0, 1, 2, 3, 4] * 3
    assert all(row["as_of"] == scribe.position for (row,) in known)
    assert unknown[0]["opened_name"] is None and unknown[0]["number"] is None
    assert isinstance(given_up, asyncio.CancelledError)
