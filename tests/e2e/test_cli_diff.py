"""`daybook diff`: which accounts changed between two moments, by how much, and what did it."""

import asyncio
import csv
import io
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest

from adapters.postgres.store import PostgresEventStore
from commands.hold import CaptureHold, PlaceHold
from tests.e2e.test_cli import Daybook
from tests.serving import head
from tests.stored import ids_of, write_everything
from tests.support import asked, entry, started


@pytest.fixture
def daybook(tmp_path: Path, database: str) -> Daybook:
    """Of a log with something of everything; see `tests.stored`."""
    asyncio.run(write_everything(PostgresEventStore(database)))
    asyncio.run(post_twice(database))
    return Daybook(tmp_path, DATABASE_URL=database)


async def post_twice(dsn: str) -> None:
    """One entry with two postings to one account."""
    async with started(PostgresEventStore(dsn)) as desk:
        await desk.submit(asked(entry("cash | 30 |\ncash | 12 |\nsales | | 42"), "twice"))


async def hold_and_capture(dsn: str) -> None:
    """40 of cash for sales, of which 15 are captured."""
    async with started(PostgresEventStore(dsn)) as desk:
        hold = PlaceHold(book="main", account="cash", destination="sales", amount=40, currency="EUR")
        placed = await desk.submit(asked(hold, "hold-1"))
        await desk.submit(asked(CaptureHold(hold_id=ids_of(placed), amount=15), "hold-2"))


def diff(daybook: Daybook, *words: str) -> dict[str, Any]:
    ran = daybook("diff", *words, "--json")
    assert ran.code == 0, ran
    found: dict[str, Any] = json.loads(ran.out)
    found["accounts"] = {one["code"]: one for one in found["accounts"]}
    return found


def balances(daybook: Daybook, position: int) -> dict[str, Decimal]:
    ran = daybook("replay", "--position", str(position), "--json")
    return {one["code"]: Decimal(one["balance"]) for one in json.loads(ran.out)["balances"]}


def positions(dsn: str, name: str) -> list[int]:
    """Of the events of that name."""
    with psycopg.connect(dsn) as connection:
        rows = connection.execute("SELECT position FROM daybook.events WHERE name = %s ORDER BY 1", (name,)).fetchall()
    return [row[0] for row in rows]


def test_the_balances_between(daybook: Daybook, database: str) -> None:
    """
    From any position to any other: the changes are what lies between the balances, and the events add up to them.
    """
    end = head(database)
    for since, to in ((0, end), (9, 12), (11, end), (12, 12)):
        before, after = balances(daybook, since) if since > 1 else {}, balances(daybook, to)

        found = diff(daybook, "--from", str(since), "--to", str(to))

        assert (found["from"]["position"], found["to"]["position"]) == (since, to)
        changed = {code for code, balance in after.items() if before.get(code, 0) != balance}
        assert changed <= set(found["accounts"])
        for code, one in found["accounts"].items():
            assert Decimal(one["before"]) == before.get(code, 0)
            assert Decimal(one["after"]) == after[code]
            assert Decimal(one["change"]) == after[code] - before.get(code, 0)
            assert sum(Decimal(event["change"]) for event in one["events"]) == Decimal(one["change"])
            assert all(since < event["position"] <= to for event in one["events"])
            assert one["opened"] == (code not in before)


def test_what_did_it(daybook: Daybook, database: str) -> None:
    """
    An entry and its reversal are named for both accounts, and what happened to an account itself is there too.
    """
    reversed_at = positions(database, "journal_entry.reversed.v1")[0]

    found = diff(daybook, "--from", str(reversed_at - 2))["accounts"]

    cash, spare = found["cash"], found["spare"]
    assert [(event["event"], event["change"]) for event in cash["events"]] == [
        ("journal_entry.posted.v1", "-1.00"),
        ("journal_entry.posted.v1", "0.01"),
        ("journal_entry.posted.v1", "0.42"),
    ]
    assert cash["events"][0]["id"].startswith("je_")
    assert [event["id"] for event in cash["events"]] == [event["id"] for event in found["sales"]["events"]]
    assert [event["event"] for event in spare["events"]] == [
        *("account.frozen.v1", "account.unfrozen.v1", "account.closed.v1")
    ]
    assert (spare["status"], spare["change"]) == ("closed", "0.00")


def test_holds(daybook: Daybook, database: str) -> None:
    """
    What is set aside is told apart from what is posted.
    """
    before = head(database)
    asyncio.run(hold_and_capture(database))

    cash = diff(daybook, "--from", str(before))["accounts"]["cash"]

    assert (cash["change"], cash["held_before"], cash["held_after"]) == ("-0.15", "0.00", "-0.25")
    assert sorted((event["event"], event["change"], event["held"]) for event in cash["events"]) == [
        ("hold.captured.v1", "0.00", "0.15"),
        ("hold.placed.v1", "0.00", "-0.40"),
        ("journal_entry.posted.v1", "-0.15", "0.00"),
    ]


def test_by_time(daybook: Daybook, database: str) -> None:
    """
    A time is the last position recorded by then.
    """
    with psycopg.connect(database) as connection:
        row = connection.execute("SELECT recorded_at::text FROM daybook.events WHERE position = 12").fetchone()
        assert row is not None

    by_time = diff(daybook, "--from", row[0].replace(" ", "T"))
    by_position = diff(daybook, "--from", str(by_time["from"]["position"]))

    assert by_time == by_position
    assert by_time["from"]["position"] >= 12


def test_csv(daybook: Daybook) -> None:
    """
    A row for each account and event; its numbers are those of the JSON.
    """
    ran = daybook("diff", "--from", "0", "--csv")

    rows = list(csv.DictReader(io.StringIO(ran.out)))
    found = diff(daybook, "--from", "0")["accounts"]
    assert ran.code == 0
    assert {(row["code"], row["position"], row["change"]) for row in rows} == {
        (code, str(event["position"]), event["change"]) for code, one in found.items() for event in one["events"]
    }


def test_for_people(daybook: Daybook) -> None:
    """
    The tables name the accounts, the numbers and the entries.
    """
    ran = daybook("diff", "--from", "0")

    assert ran.code == 0
    assert all(word in ran.out for word in ("cash", "yen", "900", "je_", "Opening", "account.closed.v1"))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--from", "5", "--to", "4"], "--from is position 5, after --to, which is 4"),
        (["--from", "999"], "position 999 is not in the log"),
        (["--from", "yesterday"], "--from"),
        ([], "--from"),
        (["--from", "0", "--book", "nobody"], "there is no book nobody"),
    ],
    ids=["backwards", "beyond", "no time", "nothing", "no book"],
)
def test_what_cannot_be_compared(daybook: Daybook, words: list[str], said: str) -> None:
    """
    Each mistake is told in words.
    """
    ran = daybook("diff", *words)

    assert said in ran.err
    assert "Traceback" not in ran.err
    assert ran.code in (1, 2)
