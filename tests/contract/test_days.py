"""The sums by value date of full blocks of postings: whatever the batches, what is asked of dates, and checked."""

from collections.abc import Iterator
from datetime import date, timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from adapters.postgres import applying
from adapters.postgres.log import PostgresLog
from adapters.postgres.projecting import catch_up
from domain import ids
from domain.account import Type
from domain.events import EntryPosted
from domain.posting import Posting, Side
from replay.verify import verify
from tests.contract.test_reads import World, serving
from tests.reading import Scribe

FIRST = date(2026, 1, 1)
BLOCK = 128


class Ledger:
    """One account with some 300 postings on days that jump to and fro, every tenth a hold's."""

    def __init__(self, dsn: str, world: World) -> None:
        self.dsn = dsn
        self.world = world
        scribe = world.scribe
        self.book = scribe.book()
        self.busy = scribe.account(self.book, "busy")
        self.other = scribe.account(self.book, "other", Type.LIABILITY)
        self.posted: list[tuple[int, date, int]] = []
        """Position, value date and amount of each debit of the busy account."""
        with scribe.one_commit():
            for n in range(270):
                if n % 10 == 0:
                    scribe.hold(self.busy, self.other, 7)
                else:
                    self.post(FIRST + timedelta(days=n * 37 % 60), n)
        first = scribe.position - 270
        self.posted = [(first + 1 + n, day, amount) for n, day, amount in self.posted]
        catch_up(dsn)

    def post(self, day: date, amount: int) -> None:
        self.posted.append((amount, day, amount))
        sides = ((self.busy, Side.DEBIT), (self.other, Side.CREDIT))
        lines = tuple(Posting(account, side, amount, "EUR") for account, side in sides)
        self.world.scribe.event(uuid4(), EntryPosted(book_id=self.book, value_date=day, postings=lines))

    def rows(self) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.dsn) as connection:
            return connection.execute("SELECT * FROM daybook_read.days ORDER BY 1, 2, 3").fetchall()


@pytest.fixture
def ledger(database: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ledger]:
    monkeypatch.setattr(applying, "BATCH", 50)
    with Scribe(database) as scribe, serving(database) as client:
        yield Ledger(database, World(database, scribe, client))


def test_full_blocks_add_up_to_their_postings(ledger: Ledger) -> None:
    """
    Two blocks of each account are full, the holds being days with nothing posted.
    """
    rows = ledger.rows()
    of_busy = [row for row in rows if row[0] == ledger.busy]

    assert {row[2] for row in of_busy} == {0, 1}
    assert {row[0] for row in rows} == {ledger.busy, ledger.other}
    expected: dict[tuple[date, int], int] = {}
    for position, day, amount in ledger.posted:
        block = (position - ledger.posted[0][0] + 1) // BLOCK  # The first, a hold, is before the first entry.
        expected[day, block] = expected.get((day, block), 0) + amount
    found = {(day, block): debits for _, day, block, debits, _ in of_busy if debits}
    assert found == {key: amount for key, amount in expected.items() if key[1] < 2}
    assert all(credits == 0 for *_, credits in of_busy)


def test_a_balance_of_any_day_at_any_position(ledger: Ledger) -> None:
    """
    As if every posting had been added up, at positions within blocks, between them and after the last full one.
    """
    first = ledger.posted[0][0]
    for position in (first + 5, first + 126, first + 127, first + 200, first + 255, ledger.posted[-1][0]):
        for day in (FIRST, FIRST + timedelta(days=20), FIRST + timedelta(days=60)):
            report = ledger.world.get(
                "/v1/reports/trial-balance", book="main", before=day.isoformat(), position=position
            )
            expected = sum(amount for at, on, amount in ledger.posted if at <= position and on < day)
            found = {line["code"]: (line["debits"], line["credits"]) for line in report["lines"]}
            assert found == ({"busy": (expected, 0), "other": (0, expected)} if expected else {})


def test_postings_and_entries_of_some_days(ledger: Ledger) -> None:
    """
    Page by page in both directions, the same as all that there is with the others left out.
    """
    account = ids.show(ids.ACCOUNT, ledger.busy)
    days = {"value_date_from": "2026-01-10", "value_date_to": "2026-01-20"}

    def wanted(thing: dict[str, Any]) -> bool:
        return bool(days["value_date_from"] <= thing["value_date"] <= days["value_date_to"])

    for path, cursor, of in (
        (f"/v1/accounts/{account}/postings", "number", {}),
        ("/v1/journal-entries", "id", {"account": account}),
        ("/v1/journal-entries", "id", {"book": "main"}),
    ):
        everything = ledger.world.get(path, limit=1000, **of)["data"]
        expected = [thing for thing in everything if wanted(thing)]
        assert 20 < len(expected) < len(everything)
        forwards: list[Any] = []
        page: dict[str, Any] = {"has_more": True}
        while page["has_more"]:
            after = {"starting_after": forwards[-1][cursor]} if forwards else {}
            page = ledger.world.get(path, limit=7, **of, **days, **after)
            forwards += page["data"]
        before = ledger.world.get(path, limit=1000, **of, **days, ending_before=forwards[-1][cursor])["data"]
        assert forwards == expected == [*before, forwards[-1]]


def test_verify_finds_what_was_changed(ledger: Ledger) -> None:
    """
    An amount, a day or a block that is not what the postings come to, too much or too little.
    """

    def findings() -> list[tuple[str, str]]:
        with PostgresLog(ledger.dsn) as log:
            report = verify(log)
        assert {check.name: check.checked for check in report.checks}["days"] == 4
        return [(finding.code, finding.subject) for finding in report.findings]

    assert findings() == []
    account = ids.show(ids.ACCOUNT, ledger.busy)
    first_row = "block = 1 AND value_date = (SELECT min(value_date) FROM daybook_read.days WHERE block = 1)"
    for change, block in (
        (f"UPDATE daybook_read.days SET debits = debits + 1 WHERE account_id = %s AND {first_row}", 1),
        (f"UPDATE daybook_read.days SET debits = debits - 1 WHERE account_id = %s AND {first_row}", None),
        ("INSERT INTO daybook_read.days VALUES (%s, '2026-01-01', 2, 1, 1)", 2),
        ("DELETE FROM daybook_read.days WHERE account_id = %s AND block = 2", None),
        ("DELETE FROM daybook_read.days WHERE account_id = %s AND block = 0 AND value_date = '2026-01-02'", 0),
    ):
        _change(ledger, change, ledger.busy)
        assert findings() == ([] if block is None else [("days_differ", f"block {block} of account {account}")])


def _change(ledger: Ledger, statement: str, account: UUID) -> None:
    with psycopg.connect(ledger.dsn) as connection:
        assert connection.execute(statement.encode(), (account,)).rowcount > 0
