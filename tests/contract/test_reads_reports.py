"""Reports over HTTP against a book added up by hand, in two currencies."""

import csv
import io
from collections.abc import Iterator
from datetime import date
from typing import Any
from uuid import UUID

import psycopg
import pytest
from pydantic import ValidationError
from starlette.testclient import TestClient

from adapters.postgres.projecting import catch_up
from domain import ids
from domain.account import Type
from domain.errors import BookNotFound
from domain.events import EntryPosted
from domain.posting import Posting, Side
from projections.api.answering import POSITION_HEADER
from tests.contract.test_reads import serving
from tests.reading import Scribe


class Books:
    """A shop with a bank account in each of two currencies, read when all of it is there."""

    def __init__(self, scribe: Scribe, client: TestClient, dsn: str) -> None:
        self.scribe = scribe
        self.client = client
        self.dsn = dsn
        book = scribe.book()
        chart = [
            ("assets:bank", Type.ASSET, "EUR"),
            ("assets:bank:us", Type.ASSET, "USD"),
            ("capital", Type.EQUITY, "EUR"),
            ("fees", Type.EXPENSE, "USD"),
            ("fx:eur", Type.LIABILITY, "EUR"),
            ("fx:usd", Type.LIABILITY, "USD"),
            ("sales", Type.REVENUE, "EUR"),
        ]
        self.accounts = {code: scribe.account(book, code, type, currency) for code, type, currency in chart}
        self.currency = {code: currency for code, _, currency in chart}
        self.post("assets:bank", "capital", 100_00, day=1)
        self.post("assets:bank", "sales", 30_01, day=10)
        self.post("fx:eur", "assets:bank", 50_00, day=20)  # EUR 50.00 become USD 55.55.
        self.post("assets:bank:us", "fx:usd", 55_55, day=20)
        self.post("fees", "assets:bank:us", 5_05, day=25)
        self.last = scribe.position
        catch_up(dsn)

    def post(self, debit: str, credit: str, amount: int, *, day: int) -> None:
        lines = ((debit, Side.DEBIT), (credit, Side.CREDIT))
        entry = EntryPosted(
            book_id=self.scribe_book,
            value_date=date(2026, 1, day),
            postings=tuple(Posting(self.accounts[c], side, amount, self.currency[c]) for c, side in lines),
        )
        self.scribe.event(UUID(int=self.scribe.position + 1), entry)

    @property
    def scribe_book(self) -> UUID:
        return ids.book_id("main")

    def get(self, report: str, **asked: Any) -> Any:
        response = self.client.get(f"/v1/reports/{report}", params={"book": "main", **asked})
        assert response.status_code == 200
        assert response.headers[POSITION_HEADER] == str(response.json()["position"])
        return response.json()


@pytest.fixture
def books(database: str) -> Iterator[Books]:
    with Scribe(database) as scribe, serving(database) as client:
        yield Books(scribe, client, database)


VALUED = {"rates": "EUR:1,USD:0.901", "valued_in": "EUR"}


def test_a_trial_balance(books: Books) -> None:
    """
    Debits are credits in both currencies; in EUR the rounded lines miss what is shown.
    """
    found = books.get("trial-balance", **VALUED)

    assert [
        (line["code"], line["debit_balance"], line["credit_balance"], line["value"]) for line in found["lines"]
    ] == [
        ("assets:bank", 80_01, 0, 80_01),
        ("assets:bank:us", 50_50, 0, 45_50),  # 45.5005
        ("capital", 0, 100_00, -100_00),
        ("fees", 5_05, 0, 4_55),  # 4.55005
        ("fx:eur", 50_00, 0, 50_00),
        ("fx:usd", 0, 55_55, -50_05),  # -50.05055
        ("sales", 0, 30_01, -30_01),
    ]
    assert found["totals"] == [
        {"currency": "EUR", "debits": 18001, "credits": 18001, "debit_balance": 13001, "credit_balance": 13001},
        {"currency": "USD", "debits": 6060, "credits": 6060, "debit_balance": 5555, "credit_balance": 5555},
    ]
    assert found["valued"] == {"value": 0, "rounding_difference": 0}
    assert found["position"] == books.last


def test_a_rounding_difference_is_shown(books: Books) -> None:
    """
    Where the lines' values do not come to the total's, what is missing is a line of its own.
    """
    trial = books.get("trial-balance", rates="EUR:1,USD:0.0015", valued_in="EUR")
    sheet = books.get("balance-sheet", rates="EUR:1,USD:0.01", valued_in="EUR")

    # 7.575, 0.7575 and -8.3325 cents come to nothing, 8, 1 and -8 do not.
    assert [line["value"] for line in trial["lines"] if line["currency"] == "USD"] == [8, 1, -8]
    assert trial["valued"] == {"value": 0, "rounding_difference": -1}
    # 50.5 cents are 50, and 8001 with them 8052: half even.
    assert [line["value"] for line in sheet["assets"]["lines"]] == [80_01, 50]
    assert sheet["assets"]["valued"] == {"value": 80_52, "rounding_difference": 1}
    assert sheet["rounding_difference"] == 0


def test_a_balance_sheet_and_an_income_statement(books: Books) -> None:
    """
    Assets = liabilities + equity + result, in each currency.
    """
    sheet = books.get("balance-sheet")
    income = books.get("income-statement")

    def totals(of: Any) -> dict[str, int]:
        return {total["currency"]: total["amount"] for total in of["totals"]}

    assert totals(sheet["assets"]) == {"EUR": 80_01, "USD": 50_50}
    assert totals(sheet["liabilities"]) == {"EUR": -50_00, "USD": 55_55}
    assert totals(sheet["equity"]) == {"EUR": 100_00}
    assert totals(sheet["result"]) == totals(income["result"]) == {"EUR": 30_01, "USD": -5_05}
    assert income["revenue"]["lines"] == [{"code": "sales", "currency": "EUR", "amount": 30_01, "value": None}]
    assert income["expenses"]["lines"] == [{"code": "fees", "currency": "USD", "amount": 5_05, "value": None}]


def test_reports_of_value_dates_and_of_the_past(books: Books) -> None:
    """
    By value date, and as known at a position, each report is of whole entries.
    """
    before = books.get("balance-sheet", before="2026-01-20")
    then = books.get("balance-sheet", position=books.last - 3)
    january = books.get("income-statement", value_date_from="2026-01-11", value_date_to="2026-01-25")
    to_the_day_before = books.get("income-statement", value_date_to="2026-01-24")
    books.post("assets:bank", "sales", 1, day=2)
    backdated = books.get("trial-balance", position=books.last)
    as_known_then = books.get("balance-sheet", before="2026-01-20", position=books.last)

    assert before["assets"] == then["assets"] == as_known_then["assets"]
    assert before["assets"]["totals"] == [{"currency": "EUR", "amount": 130_01}]
    assert then["position"] == books.last - 3
    assert january["result"]["totals"] == [{"currency": "USD", "amount": -5_05}]
    assert to_the_day_before["result"]["totals"] == [{"currency": "EUR", "amount": 30_01}]
    assert next(line for line in backdated["lines"] if line["code"] == "sales")["credits"] == 30_01


def test_a_roll_up(books: Books) -> None:
    """
    Each node of the codes is what is at it and below it.
    """
    tree = books.get("roll-up")["nodes"]
    shallow = books.get("roll-up", depth=1)["nodes"]
    bank = books.get("roll-up", prefix="assets:bank", **VALUED)["nodes"]

    nets = {node["name"]: {of["currency"]: of["net"] for of in node["sums"]} for node in tree}
    assert list(nets) == [
        "",
        "assets",
        "assets:bank",
        "assets:bank:us",
        "capital",
        "fees",
        "fx",
        "fx:eur",
        "fx:usd",
        "sales",
    ]
    assert nets[""] == {"EUR": 0, "USD": 0}
    assert nets["assets"] == nets["assets:bank"] == {"EUR": 80_01, "USD": 50_50}
    assert nets["assets:bank:us"] == {"USD": 50_50}
    assert nets["fx"] == {"EUR": 50_00, "USD": -55_55}
    assert [node["name"] for node in shallow] == ["", "assets", "capital", "fees", "fx", "sales"]
    assert shallow[1]["own"] == shallow[1]["sums"] and shallow[1]["accounts"] == 2
    assert [(node["name"], node["depth"], node["valued"]["value"]) for node in bank] == [
        ("assets:bank", 0, 125_51),
        ("assets:bank:us", 1, 45_50),
    ]
    assert [of["currency"] for of in bank[0]["own"]] == ["EUR"]


def test_roll_ups_by_type_and_metadata(books: Books) -> None:
    """
    One node for each, below one for all.
    """
    by_type = books.get("roll-up", by="type")["nodes"]
    by_branch = books.get("roll-up", by="metadata.branch")["nodes"]
    by_nothing = books.get("roll-up", by="metadata.nothing")["nodes"]

    assert [(n["name"], n["accounts"]) for n in by_type] == [
        ("", 7),
        ("asset", 2),
        ("equity", 1),
        ("expense", 1),
        ("liability", 2),
        ("revenue", 1),
    ]
    assert [(n["name"], n["accounts"]) for n in by_branch] == [("", 7), ("north", 7)]
    assert [(n["name"], n["accounts"]) for n in by_nothing] == [("", 7), ("", 7)]


def test_reports_as_csv(books: Books) -> None:
    """
    The same numbers, in minor units and exact.
    """
    response = books.client.get("/v1/reports/trial-balance?book=main&format=csv")
    rows = list(csv.DictReader(io.StringIO(response.text)))

    assert response.headers["content-type"].startswith("text/csv")
    assert rows[0]["debit_balance"] == "8001" and rows[0]["debit_balance_decimal"] == "80.01"
    assert [(row["line"], row["currency"], row["debits_decimal"]) for row in rows[-2:]] == [
        ("total", "EUR", "180.01"),
        ("total", "USD", "60.60"),
    ]
    for report in ("roll-up", "balance-sheet", "income-statement"):
        found = books.client.get(
            f"/v1/reports/{report}", params={"book": "main", **VALUED}, headers={"Accept": "text/csv"}
        )
        assert len(list(csv.reader(io.StringIO(found.text)))) > 4


@pytest.mark.parametrize(
    ("report", "asked"),
    [
        ("trial-balance", {"rates": "EUR:1"}),
        ("trial-balance", {"valued_in": "EUR"}),
        ("trial-balance", {"rates": "EUR:1", "valued_in": "EUR"}),  # The book has USD as well.
        ("trial-balance", {"rates": "EUR:2,USD:1", "valued_in": "EUR"}),
        ("trial-balance", {"rates": "EUR:1,USD:0", "valued_in": "EUR"}),
        ("trial-balance", {"rates": "EUR:1,USD:-1", "valued_in": "EUR"}),
        ("trial-balance", {"rates": "EUR:1,USD:1e3", "valued_in": "EUR"}),
        ("trial-balance", {"rates": "EUR:1,USD:1,USD:2", "valued_in": "EUR"}),
        ("trial-balance", {"rates": "EUR:1,XXQ:1", "valued_in": "EUR"}),
        ("trial-balance", {"rates": "EUR:1,USD:", "valued_in": "EUR"}),
        ("trial-balance", {"value_date_from": "2026-01-01"}),
        ("balance-sheet", {"before": "20260101"}),
        ("balance-sheet", {"before": "1769860800"}),
        ("roll-up", {"depth": "1", "by": "type"}),
        ("roll-up", {"depth": "-1"}),
        ("roll-up", {"by": "colour"}),
        ("roll-up", {"position": "1", "at": "2026-01-31T12:00:00Z"}),
        ("income-statement", {"format": "xml"}),
    ],
)
def test_what_cannot_be_reported_is_refused(books: Books, report: str, asked: dict[str, str]) -> None:
    """
    A slip in what is asked for is an error.
    """
    with pytest.raises(ValidationError):
        books.client.get(f"/v1/reports/{report}", params={"book": "main", **asked})


def test_books_that_were_edited(books: Books) -> None:
    """
    The numbers are shown as they are, and that they do not balance.
    """
    assert books.get("trial-balance", book="main")["balanced"] is True
    with psycopg.connect(books.dsn) as connection:
        connection.execute("GRANT UPDATE ON daybook.postings TO CURRENT_USER")
        connection.execute("ALTER TABLE daybook.postings DISABLE TRIGGER append_only")
        edit = "UPDATE daybook.postings SET debits = debits + 7 WHERE account = %s"
        connection.execute(edit, (books.accounts["assets:bank"],))

    trial = books.get("trial-balance", book="main")
    sheet = books.get("balance-sheet", book="main")
    table = books.client.get("/v1/reports/balance-sheet?book=main&format=csv").text

    euro = next(of for of in trial["totals"] if of["currency"] == "EUR")
    assert (trial["balanced"], euro["debits"] - euro["credits"]) == (False, 7)
    assert (sheet["balanced"], sheet["differences"]) == (False, [{"currency": "EUR", "amount": 7}])
    assert ",difference,,EUR,7,0.07,," in table


def test_a_book_that_is_not_there(books: Books) -> None:
    """
    An empty report of a book that is there; an error for one that is not.
    """
    books.scribe.book("empty")
    catch_up(books.dsn)

    assert books.get("trial-balance", book="empty")["lines"] == []
    assert books.get("balance-sheet", book="empty")["assets"]["totals"] == []
    assert [node["name"] for node in books.get("roll-up", book="empty")["nodes"]] == [""]
    with pytest.raises(BookNotFound):
        books.client.get("/v1/reports/roll-up?book=nowhere")
