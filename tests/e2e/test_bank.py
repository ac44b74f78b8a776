"""A real bank's books, imported whole: every balance is what hledger computed from the same rows.

The data are not part of this repository; where they are not beside the checkout, this is skipped and says so.
"""

import csv
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path

import pytest

from adapters.postgres.log import PostgresLog
from adapters.postgres.projecting import catch_up
from replay.verify import verify
from tests.e2e.test_cli import Daybook
from tests.serving import TOP

BANK = TOP / "../shared/data/bank"
HALF_WAY = "1996-01-01"

pytestmark = [
    pytest.mark.skipif(not BANK.is_dir(), reason=f"the bank's data are not there: {BANK.name} in ../shared/data"),
    pytest.mark.timeout(600),
]


def given(name: str) -> Mapping[str, Decimal]:
    """Balances as hledger printed them: `3373.00 CZK`, or `0`; the last row is the total."""
    with (BANK / name).open() as file:
        balances = {row["account"]: Decimal(row["balance"].split()[0]) for row in csv.DictReader(file)}
    assert balances.pop("total") == 0
    return balances


def printed(text: str) -> Mapping[str, Decimal]:
    """Balances as Daybook printed them."""
    rows = list(csv.DictReader(text.splitlines()))
    assert {row["currency"] for row in rows} == {"CZK"}
    return {row["code"]: Decimal(row["balance"]) for row in rows}


def test_a_real_bank(tmp_path: Path, database: str) -> None:
    """
    All rows are booked; the closing balances and those before 1996 are hledger's; replay and verify agree.
    """
    daybook = Daybook(tmp_path, DATABASE_URL=database)
    files = ("--accounts", str(BANK / "accounts.csv"), "--journal", str(BANK / "journal.csv"))

    imported = daybook("import", *files, "--rejects", "rejected.csv")
    catch_up(database)
    closing = daybook("balance", "--all", "--csv").out
    half_way = daybook("balance", "--all", "--csv", "--before", HALF_WAY).out

    assert imported.code == 0, imported.out
    assert len(printed(closing)) == 5196
    assert printed(closing) == given("closing-balances.csv")
    assert sum(printed(closing).values()) == 0
    then = given(f"balances-before-{HALF_WAY}.csv")
    assert {code: balance for code, balance in printed(half_way).items() if balance or code in then} == then
    assert daybook("replay", "--csv").out == closing
    assert daybook("replay", "--csv", "--before", HALF_WAY).out == half_way
    with PostgresLog(database) as log:
        report = verify(log)
    assert report.verdict == "verified"
    assert report.head == 1 + 5196 + 95_938
    assert {check.name: check.checked for check in report.checks}["postings"] == 2 * 95_938
