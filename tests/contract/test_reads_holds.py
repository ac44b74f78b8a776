"""What the read routes answer about holds, what is set aside and limits that change, upon Postgres."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID, uuid4

import pytest

from adapters.postgres.projecting import catch_up
from domain import ids
from domain.account import Type
from domain.errors import EntryNotFound, HoldNotFound
from tests.contract.test_reads import World, acc, je, serving, walk
from tests.reading import Scribe

SOON = datetime(2026, 2, 1, 12, tzinfo=UTC)


def shown(hold_id: UUID) -> str:
    return ids.show(ids.HOLD, hold_id)


class Till(NamedTuple):
    """A world with two accounts and 1000 in cash."""

    world: World
    book: UUID
    cash: UUID
    goods: UUID

    def balance(self, account: UUID, **when: Any) -> tuple[int, int]:
        found = self.world.get(f"/v1/accounts/{acc(account)}/balance", **when)
        return found["balance"], found["available"]


@pytest.fixture
def till(database: str) -> Iterator[Till]:
    with Scribe(database) as scribe, serving(database) as client:
        book = scribe.book()
        cash, goods = scribe.account(book, "cash"), scribe.account(book, "goods", Type.EXPENSE)
        owner = scribe.account(book, "owner", Type.EQUITY)
        scribe.transfer(cash, owner, 1_000)
        yield Till(World(database, scribe, client), book, cash, goods)


def test_a_hold(till: Till) -> None:
    """
    A hold says what it was when placed and what became of it; its position is that of its last event.
    """
    scribe = till.world.scribe
    hold = scribe.hold(till.cash, till.goods, 300, expires_at=SOON)
    scribe.increase(hold, 50)
    scribe.capture(hold, 100)
    position = scribe.position - 1

    found = till.world.get(f"/v1/holds/{shown(hold)}")

    assert found["recorded_at"] and found | {"recorded_at": None} == {
        "object": "hold",
        "id": shown(hold),
        "book_id": ids.show(ids.BOOK, till.book),
        "account_id": acc(till.cash),
        "account_code": "cash",
        "destination_id": acc(till.goods),
        "destination_code": "goods",
        "status": "held",
        "amount": 350,
        "captured": 100,
        "remaining": 250,
        "currency": "EUR",
        "expires_at": "2026-02-01T12:00:00Z",
        "description": "A hold",
        "reference": "",
        "metadata": {},
        "version": 3,
        "actor": "alice",
        "recorded_at": None,
        "position": position,
    }


def test_the_ends_of_holds(till: Till) -> None:
    """
    However it ends, nothing remains set aside and it says what was captured.
    """
    scribe = till.world.scribe
    captured, given_up, voided, expired = (scribe.hold(till.cash, till.goods, 10) for _ in range(4))
    scribe.capture(captured, 10)
    scribe.capture(given_up, 4, final=True)
    scribe.void(voided)
    scribe.expire(expired)

    found = {hold["id"]: hold for hold in till.world.get("/v1/holds")["data"]}

    ends = [found[shown(hold)] for hold in (captured, given_up, voided, expired)]
    assert [(hold["status"], hold["captured"], hold["remaining"]) for hold in ends] == [
        ("captured", 10, 0),
        ("captured", 4, 0),
        ("voided", 0, 0),
        ("expired", 0, 0),
    ]


def test_holds_page_by_page(till: Till) -> None:
    """
    Newest first, of a book, an account or a status, cursors both ways.
    """
    scribe, world = till.world.scribe, till.world
    mine = [scribe.hold(till.cash, till.goods, n) for n in range(1, 8)]
    others = [scribe.hold(till.goods, till.cash, n) for n in range(1, 3)]
    for hold in mine[::2]:
        scribe.void(hold)
    elsewhere = scribe.book("elsewhere")
    a, b = scribe.account(elsewhere, "a"), scribe.account(elsewhere, "b")
    foreign = scribe.hold(a, b, 1)

    def listed(**filters: Any) -> list[str]:
        return [hold["id"] for hold in walk(world, "/v1/holds", lambda hold: hold["id"], limit=2, **filters)]

    newest_first = [shown(hold) for hold in [foreign, *reversed(others), *reversed(mine)]]
    assert listed() == newest_first
    assert listed(book="main") == newest_first[1:]
    assert listed(account=acc(till.cash)) == newest_first[3:]
    assert listed(account=acc(till.cash), status="voided") == newest_first[3:][::2]
    assert listed(status="held", book="main") == [*newest_first[1:3], *newest_first[3:][1::2]]


def test_a_hold_that_is_not_there(till: Till) -> None:
    """
    An id that names nothing, as a hold or as a cursor, is said to name nothing.
    """
    nothing = shown(uuid4())

    for path, asked in ((f"/v1/holds/{nothing}", {}), ("/v1/holds", {"starting_after": nothing})):
        with pytest.raises(HoldNotFound):
            till.world.get(path, **asked)


def test_what_is_available(till: Till) -> None:
    """
    Posted less what is set aside on the falling side: now, at a position, at a time; of one account and in the list.
    """
    scribe = till.world.scribe
    before = scribe.position
    hold = scribe.hold(till.cash, till.goods, 300)
    held = scribe.position
    scribe.capture(hold, 100)
    scribe.void(hold)
    records = till.world.get("/v1/audit-trail", stream=shown(hold))["data"]
    at = {record["event"]: record["recorded_at"] for record in records}

    assert till.balance(till.cash) == (900, 900)
    assert till.balance(till.cash, position=before) == (1000, 1000)
    assert till.balance(till.cash, position=held) == till.balance(till.cash, at=at["hold.placed.v1"]) == (1000, 700)
    assert till.balance(till.cash, position=held + 1) == (1000, 800)
    assert till.balance(till.cash, at=at["hold.captured.v1"]) in ((1000, 800), (900, 800))
    assert till.balance(till.goods, position=held) == (0, 0)
    listed = {row["code"]: row for row in till.world.get("/v1/balances", position=held)["data"]}
    assert (listed["cash"]["balance"], listed["cash"]["available"], listed["cash"]["pending_credits"]) == (
        *(1000, 700),
        300,
    )
    assert listed["goods"]["pending_debits"] == 300


def test_postings_that_are_pending(till: Till) -> None:
    """
    An account's postings show what a hold set aside and took back, and the entry that was captured of it.
    """
    scribe = till.world.scribe
    hold = scribe.hold(till.cash, till.goods, 300)
    entry = scribe.capture(hold, 100)

    path = f"/v1/accounts/{acc(till.cash)}/postings"
    found = walk(till.world, path, lambda posting: posting["number"], limit=2)[:3]

    assert [(p["pending"], p["amount"], p["balance"], p["available"], p["description"]) for p in found] == [
        (False, 100, 900, 700, ""),
        (True, -100, 1000, 800, ""),
        (True, 300, 1000, 700, "A hold"),
    ]
    assert [(p["entry_id"], p["hold_id"]) for p in found] == [
        (je(entry), None),
        (None, shown(hold)),
        (None, shown(hold)),
    ]


def test_entries_of_an_account_with_holds(till: Till) -> None:
    """
    Holds between an account's entries neither show among them nor shorten a page.
    """
    scribe, entries = till.world.scribe, []
    for _ in range(3):
        hold = scribe.hold(till.cash, till.goods, 30)
        entries.append(scribe.capture(hold, 10))
        scribe.void(hold)

    path, of_goods = "/v1/journal-entries", acc(till.goods)
    found = walk(till.world, path, lambda entry: entry["id"], limit=2, account=of_goods)

    assert [entry["id"] for entry in found] == [je(entry) for entry in reversed(entries)]


def test_an_entry_names_what_it_captures(till: Till) -> None:
    """
    A captured entry names its hold, and any entry the recipe it was made by.
    """
    scribe = till.world.scribe
    hold = scribe.hold(till.cash, till.goods, 30)
    entry = scribe.capture(hold, 30)

    found = till.world.get(f"/v1/journal-entries/{je(entry)}")

    assert (found["captures"], found["recipe"]) == (shown(hold), {"n": 1})


def test_only_an_entry_is_one(till: Till) -> None:
    """
    The id of something else that is in the log is not found as an entry, nor a place in the journal.
    """
    scribe, path = till.world.scribe, "/v1/journal-entries"
    hold = scribe.hold(till.cash, till.goods, 30)
    scribe.transfer(till.cash, till.goods, 1)
    catch_up(till.world.dsn)

    for cursor in ({"starting_after": je(hold)}, {"ending_before": je(hold)}):
        for way in ({}, {"account": acc(till.cash)}, {"value_date_from": "2000-01-01"}):
            with pytest.raises(EntryNotFound):
                till.world.raw(path, **cursor, **way)
    with pytest.raises(EntryNotFound):
        till.world.raw(f"{path}/{je(hold)}")


def test_the_limits_in_force(till: Till) -> None:
    """
    Of the limits whose time has come the one with the latest time is in force, and of two the one decided last;
    those to come are listed in the order in which they were decided.
    """
    scribe, world, now = till.world.scribe, till.world, datetime.now(UTC)
    past, hour = now - timedelta(hours=1), timedelta(hours=1)
    for ceiling, at in ((1, past), (3, past), (2, past - hour), (5, now + 2 * hour), (4, now + hour)):
        scribe.limit(till.cash, ceiling, effective_at=at)
    path = f"/v1/accounts/{acc(till.cash)}"

    found = world.get(path)

    assert (found["ceiling"], found["version"]) == (3, 6)
    assert [change["ceiling"] for change in found["limits_to_come"]] == [5, 4]
    assert datetime.fromisoformat(found["limits_to_come"][1]["effective_at"]) == now + hour
    assert found in world.get("/v1/accounts")["data"]


def test_what_happened_to_a_hold(till: Till) -> None:
    """
    The audit trail of a hold has all its events and the commands upon it that were refused, in its book.
    """
    scribe = till.world.scribe
    hold = scribe.hold(till.cash, till.goods, 30)
    scribe.refuse("capture_hold", hold, "capture_exceeds_hold")
    scribe.void(hold)

    found = till.world.get("/v1/audit-trail", stream=shown(hold))["data"]

    assert [record["event"] for record in found] == ["hold.voided.v1", "command.refused.v1", "hold.placed.v1"]
    assert {record["subject"] for record in found} == {shown(hold)}
    assert {record["book_id"] for record in found} == {ids.show(ids.BOOK, till.book)}
