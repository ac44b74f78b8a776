"""Lists: every filter, both ways through them while others write, and the same things as CSV."""

import csv
import io
import threading
from collections.abc import Iterator
from datetime import date
from typing import Any
from uuid import UUID

import pytest
from pydantic import ValidationError

from adapters.postgres.projecting import catch_up
from domain import ids
from domain.account import Type
from domain.events import EntryPosted, EntryReversed
from domain.posting import Posting, Side
from projections.api import listing
from projections.api.answering import POSITION_HEADER, answer
from tests.contract.test_reads import World, acc, je, serving, walk
from tests.reading import Scribe


@pytest.fixture
def world(database: str) -> Iterator[World]:
    with Scribe(database) as scribe, serving(database) as client:
        yield World(database, scribe, client)


def post(scribe: Scribe, debit: UUID, credit: UUID, amount: int, *, currency: str = "EUR", **said: Any) -> UUID:
    """An entry of book `main` with what is said of it."""
    entry_id = UUID(int=scribe.position + 1)
    lines = ((debit, Side.DEBIT), (credit, Side.CREDIT))
    postings = tuple(Posting(account, side, amount, currency) for account, side in lines)
    given = {"book_id": ids.book_id("main"), "value_date": date(2026, 1, 1), "postings": postings, **said}
    scribe.event(entry_id, EntryPosted(**given))
    return entry_id


class Journal:
    """Entries 1 to 6, each of them different."""

    def __init__(self, scribe: Scribe) -> None:
        book = scribe.book()
        self.cash = scribe.account(book, "assets:cash")
        self.bank = scribe.account(book, "assets:bank")
        self.owed = scribe.account(book, "owed", Type.LIABILITY)
        self.dollars = scribe.account(book, "usd:1", currency="USD")
        other_dollars = scribe.account(book, "usd:2", currency="USD")
        self.entries = [
            post(scribe, self.cash, self.owed, 100, reference="INV-1", metadata={"shop": "a=b"}),
            post(scribe, self.bank, self.owed, 250, value_date=date(2026, 2, 1), description="Rent of May"),
            post(
                scribe,
                self.dollars,
                other_dollars,
                100,
                currency="USD",
                reference="INV-2",
                metadata={"shop": "x", "y": ""},
            ),
        ]
        scribe.actor = "bob"
        self.entries.append(post(scribe, self.owed, self.bank, 999, captures=UUID(int=99)))
        mirror = post(scribe, self.owed, self.cash, 100, reverses=self.entries[0])
        scribe.event(self.entries[0], EntryReversed(book_id=book, reversed_by=mirror))
        self.entries.append(mirror)
        self.entries.append(post(scribe, self.cash, self.bank, 1, value_date=date(2026, 3, 1)))


@pytest.mark.parametrize(
    ("filters", "numbers"),
    [
        ({}, [6, 5, 4, 3, 2, 1]),
        ({"account_code_prefix": "assets:b"}, [6, 4, 2]),
        ({"account_code_prefix": "assets:b", "side": "debit"}, [2]),
        ({"amount_min": 100, "amount_max": 250}, [5, 3, 2, 1]),
        ({"amount_min": 100, "currency": "EUR"}, [5, 4, 2, 1]),
        ({"currency": "USD"}, [3]),
        ({"value_date_from": "2026-02-01"}, [6, 2]),
        ({"value_date_to": "2026-02-01", "value_date_from": "2026-02-01"}, [2]),
        ({"reference": "INV-2"}, [3]),
        ({"reference": "INV"}, []),
        ({"description_prefix": "Rent"}, [2]),
        ({"description_prefix": "%"}, []),
        ({"metadata": "shop=a=b"}, [1]),
        ({"metadata": "y="}, [3]),
        ({"actor": "bob"}, [6, 5, 4]),
        ({"kind": "plain"}, [6, 3, 2]),
        ({"kind": "reversal"}, [5]),
        ({"kind": "reversed"}, [1]),
        ({"kind": "capture"}, [4]),
        ({"actor": "bob", "amount_max": 100, "book": "main"}, [6, 5]),
    ],
)
def test_entries_are_filtered(world: World, filters: dict[str, Any], numbers: list[int]) -> None:
    """
    Filters narrow the list together, a page at a time either way; also that of an account.
    """
    journal = Journal(world.scribe)
    expected = [je(journal.entries[number - 1]) for number in numbers]
    of_cash = [je(journal.entries[number - 1]) for number in numbers if number in (1, 5, 6)]
    path = "/v1/journal-entries"

    found = walk(world, path, lambda entry: entry["id"], limit=2, **filters) if numbers else []

    assert [entry["id"] for entry in found] == expected
    if not filters.keys() & {"account_code_prefix", "side"}:
        cash = world.get(path, account=acc(journal.cash), limit=1000, **filters)["data"]
        assert [entry["id"] for entry in cash] == of_cash


def test_what_is_asked_of_postings_is_asked_of_one(world: World) -> None:
    """
    An account's own posting has the side and the amount, not another of the same entry.
    """
    book = world.scribe.book()
    cash, owed, fee = (world.scribe.account(book, code) for code in ("cash", "owed", "fee"))
    entry = world.scribe.entry([(cash, Side.DEBIT, 10), (owed, Side.CREDIT, 7), (fee, Side.CREDIT, 3)])

    def count(**filters: Any) -> int:
        return len(world.get("/v1/journal-entries", **filters)["data"])

    assert count(account=acc(cash), side="debit", amount_min=10) == 1
    assert count(account=acc(cash), side="credit") == 0
    assert count(account=acc(fee), amount_min=4) == 0
    assert count(account_code_prefix="fee", amount_max=3) == 1
    assert count(account_code_prefix="fee", amount_min=7) == 0
    assert count(account=acc(fee), account_code_prefix="cash") == 0
    assert entry


def test_recorded_times_are_inclusive(world: World) -> None:
    """
    Entries, postings and records from a recorded time up to another, both of them included.
    """
    journal = Journal(world.scribe)
    entries = world.get("/v1/journal-entries")["data"]
    second, fifth = entries[4], entries[1]
    times = {"recorded_at_from": second["recorded_at"], "recorded_at_to": fifth["recorded_at"]}

    assert world.get("/v1/journal-entries", **times)["data"] == entries[1:5]
    assert world.get("/v1/journal-entries", account=acc(journal.bank), **times)["data"] == [entries[2], entries[4]]
    records = world.get("/v1/audit-trail", event="journal_entry.posted.v1", **times)["data"]
    assert [record["subject"] for record in records] == [entry["id"] for entry in entries[1:5]]
    postings = world.get(f"/v1/accounts/{acc(journal.bank)}/postings", **times)["data"]
    assert [posting["entry_id"] for posting in postings] == [entries[2]["id"], entries[4]["id"]]


def test_an_accounts_postings_are_filtered(world: World) -> None:
    """
    By value date, amount and side; and each can bring the entry it is of.
    """
    journal = Journal(world.scribe)
    path = f"/v1/accounts/{acc(journal.bank)}/postings"

    def amounts(**filters: Any) -> list[int]:
        return [posting["amount"] for posting in walk(world, path, lambda posting: posting["number"], **filters)]

    assert amounts(limit=2) == [1, 999, 250]
    assert amounts(side="credit") == [1, 999]
    assert amounts(amount_min=250) == [999, 250]
    assert amounts(amount_max=250) == [1, 250]
    assert amounts(value_date_from="2026-02-01") == [1, 250]
    assert amounts(pending="false") == [1, 999, 250]
    assert world.get(path, pending="true")["data"] == []
    entry = world.get(path, amount_min=250, amount_max=250, expand="entry")["data"][0]["entry"]
    assert entry["description"] == "Rent of May"
    assert [posting["account_id"] for posting in entry["postings"]] == [acc(journal.bank), acc(journal.owed)]


def test_accounts_are_filtered_by_metadata_and_day(world: World) -> None:
    """
    And can bring their balances, all of one position.
    """
    journal = Journal(world.scribe)

    def codes(**filters: Any) -> list[str]:
        return [account["code"] for account in world.get("/v1/accounts", **filters)["data"]]

    assert len(codes(metadata="branch=north")) == 5
    assert codes(metadata="branch=south") == codes(metadata="other=north") == []
    assert len(codes(opened_on_from="2026-01-31", opened_on_to="2026-01-31")) == 5
    assert codes(opened_on_to="2026-01-30") == []
    found = world.get("/v1/accounts", expand="balance", code_prefix="assets:")["data"]
    assert [account["balance"]["balance"] for account in found] == [250 - 999 - 1, 1]
    assert found[0]["balance"]["position"] == world.scribe.position
    assert "balance" not in world.get("/v1/accounts", code="owed")["data"][0]
    assert journal.entries


def test_entries_bring_their_accounts(world: World) -> None:
    """
    What an entry posts to, beside each posting.
    """
    Journal(world.scribe)

    posting = world.get("/v1/journal-entries", kind="reversal", expand="accounts")["data"][0]["postings"][0]

    assert posting["account"]["code"] == posting["account_code"] == "owed"
    assert posting["account"]["type"] == "liability"
    assert posting["account"]["status"] == "open"


def test_the_audit_trail_is_filtered(world: World) -> None:
    """
    By what was asked, by whom, under which key, and how it was refused.
    """
    journal = Journal(world.scribe)
    world.scribe.refuse("freeze_account", journal.cash, "account_is_frozen")
    world.scribe.refuse("close_account", journal.cash, "account_not_empty", balance=1)
    path = "/v1/audit-trail"
    everything = world.get(path, limit=1000)["data"]

    def kept(**filters: Any) -> list[int]:
        records = walk(world, path, lambda record: record["position"], limit=2, **filters)
        return [record["position"] for record in records]

    def where(wanted: Any) -> list[int]:
        return [record["position"] for record in everything if wanted(record)]

    assert kept(refusal="account_not_empty") == where(
        lambda r: r["refusal"] and r["refusal"]["code"][8:] == "not_empty"
    )
    assert kept(command="freeze_account") == [everything[1]["position"]]
    assert kept(kind="account") == where(lambda r: r["event"].startswith("account."))
    assert kept(kind="journal_entry") == where(lambda r: r["event"].startswith("journal_entry."))
    assert kept(event="journal_entry.reversed.v1") == where(lambda r: "reversed" in r["event"])
    assert kept(position_from=3, position_to=5) == [5, 4, 3]
    one = everything[3]
    assert one["position"] in kept(request_id=one["request_id"])
    assert one["position"] in kept(idempotency_key=one["idempotency_key"])
    assert world.get(path, idempotency_key="none")["data"] == []
    assert world.get(path, correlation_id="none")["data"] == []


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("/v1/journal-entries", "metadata=shop"),
        ("/v1/journal-entries", "metadata==x"),
        ("/v1/journal-entries", "amount_min=0"),
        ("/v1/journal-entries", "amount_min=1.5"),
        ("/v1/journal-entries", "value_date_from=2026-1-1"),
        ("/v1/journal-entries", "value_date_from=2026-02-30"),
        ("/v1/journal-entries", "recorded_at_from=2026-01-01"),
        ("/v1/journal-entries", "kind=odd"),
        ("/v1/journal-entries", "expand=everything"),
        ("/v1/journal-entries", "format=xml"),
        ("/v1/audit-trail", "kind=mandate"),
        ("/v1/audit-trail", "position_from=-1"),
        ("/v1/events", "kind=mandate"),
        ("/v1/events", "after=1&starting_after=1"),
        ("/v1/events", "colour=red"),
        ("/v1/accounts", "metadata=a%00"),
    ],
)
def test_a_filter_that_is_not_well_formed_is_refused(world: World, path: str, query: str) -> None:
    """
    Never guessed at.
    """
    with pytest.raises(ValidationError):
        world.raw(f"{path}?{query}")


def test_pages_do_not_move_under_writes(world: World) -> None:
    """
    Whatever is written between two pages, none of what was there is missing from them or there twice.
    """
    journal = Journal(world.scribe)
    for _ in range(20):
        world.scribe.transfer(journal.cash, journal.owed, 5)
    catch_up(world.dsn)
    then = [entry["id"] for entry in world.get("/v1/journal-entries", limit=1000)["data"]]
    found: list[str] = []
    after: dict[str, Any] = {}
    while True:
        page = world.get("/v1/journal-entries", limit=3, **after)
        found += [entry["id"] for entry in page["data"]]
        world.scribe.transfer(journal.cash, journal.bank, 6)
        if not page["has_more"]:
            break
        after = {"starting_after": found[-1]}

    newer = world.get("/v1/journal-entries", limit=1000, ending_before=then[0])["data"]
    assert found == then
    assert len(newer) == 9 and all(entry["postings"][0]["amount"] == 6 for entry in newer)


# CSV.


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_csv_holds_what_json_does(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    All of a list, many pages of it, with nothing lost on the way; text that looks like a formula is told apart.
    """
    monkeypatch.setattr(listing, "LIMIT_MAX", 2)
    journal = Journal(world.scribe)
    words = ["=1+1", "+1", "-1", "@x", "'quoted", 'a "b", c', "two  spaces", "plain", "\N{GRINNING FACE}"]
    for word in words:
        post(world.scribe, journal.cash, journal.owed, 12345, description=word, reference=word, metadata={"=k": word})
    catch_up(world.dsn)
    entries = world.get("/v1/journal-entries", limit=1000)["data"]

    response = world.raw("/v1/journal-entries", format="csv")

    found = rows(response.text)
    postings = [(entry, posting) for entry in entries for posting in entry["postings"]]
    assert response.headers["content-type"] == "text/csv; charset=utf-8; header=present"
    assert response.headers[POSITION_HEADER] == str(world.scribe.position)
    assert len(found) == len(postings) == 30
    for row, (entry, posting) in zip(found, postings, strict=True):
        assert row["id"] == entry["id"]
        assert int(row["amount"]) == posting["amount"]
        assert row["amount_decimal"] == f"{posting['amount'] // 100}.{posting['amount'] % 100:02}"
        assert (row["account_code"], row["side"]) == (posting["account_code"], posting["side"])
        assert row["recorded_at"] == entry["recorded_at"]
        assert row["description"].removeprefix("'") == entry["description"] or row["description"] == "''quoted"
        assert row["description"][:1] not in ("=", "+", "-", "@")
    assert {row["description"] for row in found} >= {"'=1+1", "''quoted", "plain", 'a "b", c'}


@pytest.mark.parametrize(
    "path",
    [
        "/v1/books",
        "/v1/accounts",
        "/v1/accounts?expand=balance",
        "/v1/balances",
        "/v1/audit-trail",
        "/v1/events",
        "/v1/holds",
    ],
)
def test_every_list_is_also_csv(world: World, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    As many rows as there are things; a limit or a cursor backwards is kept to.
    """
    monkeypatch.setattr(listing, "LIMIT_MAX", 3)
    journal = Journal(world.scribe)
    for amount in (1, 2):
        world.scribe.hold(journal.cash, journal.owed, amount)
    data = world.get(path, **({} if "?" in path else {"limit": 1000}))["data"]

    everything = world.client.get(path, headers={"Accept": "text/csv, application/json;q=0.5"})
    one = world.client.get(f"{path}{'&' if '?' in path else '?'}limit=1&format=csv")
    preferred = world.client.get(path, headers={"Accept": "application/json, text/csv"})

    assert len(rows(everything.text)) == len(data)
    assert len(rows(one.text)) == min(1, len(data))
    assert preferred.headers["content-type"] == "application/json"


def test_balances_as_csv_are_of_one_position(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    What is written while they are read is not in them, so that they add up.
    """
    monkeypatch.setattr(listing, "LIMIT_MAX", 1)
    journal = Journal(world.scribe)
    catch_up(world.dsn)
    before = world.scribe.position
    written = threading.Event()

    async def answer_late(*args: Any, **named: Any) -> Any:
        result = await answer(*args, **named)
        world.scribe.transfer(journal.cash, journal.owed, 1_000_000)
        catch_up(world.dsn)
        written.set()
        return result

    monkeypatch.setattr("projections.api.listing.answer", answer_late)

    found = rows(world.raw("/v1/balances", format="csv").text)

    assert written.is_set()
    assert {row["position"] for row in found} == {str(before)}
    assert sum(int(row["debits"]) - int(row["credits"]) for row in found) == 0


# The log.


def test_events_are_listed_and_filtered(world: World) -> None:
    """
    In the order of the log; of a book, of an account, of an actor, of a kind.
    """
    journal = Journal(world.scribe)
    world.scribe.refuse("close_account", journal.cash, "account_not_empty", account_id=str(journal.cash))
    path = "/v1/events"

    def positions(**filters: Any) -> list[int]:
        return [e["position"] for e in walk(world, path, lambda event: event["position"], limit=2, **filters)]

    everything = list(range(1, world.scribe.position + 1))
    found = world.get(path, limit=1000)["data"]
    assert positions() == positions(book="main") == everything
    assert positions(kind="account") == [2, 3, 4, 5, 6]
    assert positions(event="journal_entry.reversed.v1") == [12]
    assert positions(actor="bob") == everything[9:]
    assert positions(account=acc(journal.cash)) == [2, 7, 11, 13, 14]
    assert positions(account=acc(journal.cash), kind="journal_entry") == [7, 11, 13]
    assert positions(account=acc(journal.dollars)) == [5, 9]
    assert world.get(path, after=12)["data"] == found[12:]
    assert found[0]["stream"] == ids.show(ids.BOOK, ids.book_id("main"))
    assert found[1]["stream"] == acc(journal.cash)
    assert found[1]["payload"]["book_id"] == found[0]["stream"]
    assert found[6]["payload"]["postings"][0]["account_id"] == acc(journal.cash)
    assert found[10]["payload"]["reverses"] == je(journal.entries[0])
    assert found[13]["payload"]["details"]["account_id"] == acc(journal.cash)
    assert world.get(path, account=acc(journal.cash), starting_after=13)["data"][0]["payload"]["scope"] == acc(
        journal.cash
    )
