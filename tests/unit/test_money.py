"""Money: whole minor units of a currency that exists, in and out of decimals without losing any."""

import csv
from decimal import Decimal
from pathlib import Path
from xml.etree import ElementTree

import pytest

from domain.money import AMOUNT_MAX, MINOR_DIGITS, NUMERIC, TOTAL_MAX, Money, minor_digits, to_decimal, to_minor

ISO_4217 = Path(__file__).parents[3] / "shared" / "data" / "vectors" / "iso4217" / "codes-all.csv"


@pytest.mark.parametrize(
    ("currency", "text", "minor"),
    [
        ("JPY", "1050", 1050),
        ("EUR", "10.50", 1050),
        ("EUR", "-10.50", -1050),
        ("EUR", "0.01", 1),
        ("EUR", "-0.01", -1),
        ("EUR", "0.00", 0),
        ("KWD", "1.050", 1050),
        ("CLF", "0.1050", 1050),
        ("EUR", "92233720368547758.07", TOTAL_MAX),
        ("EUR", "-92233720368547758.07", -TOTAL_MAX),
    ],
)
def test_decimals_and_minor_units_are_the_same_amount(currency: str, text: str, minor: int) -> None:
    """
    An amount is written with exactly its currency's digits, and read back as it was.
    """
    assert str(to_decimal(minor, currency)) == text
    assert to_minor(text, currency) == minor


@pytest.mark.parametrize(
    ("currency", "text", "minor"),
    [
        ("EUR", "10", 1000),
        ("EUR", "10.5", 1050),
        ("EUR", "10.5000", 1050),
        ("JPY", "10.00", 10),
        ("EUR", "0010.50", 1050),
        ("EUR", "-0", 0),
    ],
)
def test_reads_what_people_write(currency: str, text: str, minor: int) -> None:
    """
    Missing or superfluous zeros change nothing.
    """
    assert to_minor(text, currency) == minor


@pytest.mark.parametrize(
    "text",
    [
        *("", "-", "+1", "1.", ".5", "1,5", "1_0", "1e2", "1E2", " 1", "1\n", "NaN", "inf", "0x1", "--1"),
        *("\u0661", "\uff11", "1.005", "0.001", "1" * 20, "1." + "0" * 20),
    ],
)
def test_refuses_what_is_no_exact_amount(text: str) -> None:
    """
    No rounding, no other scripts' digits, no exponents, no separators, nothing too long to be money.
    """
    with pytest.raises(ValueError, match=r"decimal"):
        to_minor(text, "EUR")


@pytest.mark.parametrize("code", ["EURO", "eur", "XXX", "XAU", "DEM", "", "\u20ac"])
def test_refuses_what_is_no_currency(code: str) -> None:
    """
    A code outside the list, in other letters, or without a minor unit is not money.
    """
    with pytest.raises(ValueError, match="unknown ISO 4217 currency"):
        minor_digits(code)
    with pytest.raises(ValueError, match="unknown ISO 4217 currency"):
        Money(1, code)


def test_money_has_bounds() -> None:
    """
    A total fits a Postgres bigint, and one posting what every JSON reader keeps exact.
    """
    assert AMOUNT_MAX < TOTAL_MAX
    assert str(Money(TOTAL_MAX, "JPY")) == "9223372036854775807 JPY"
    with pytest.raises(ValueError, match="exceeds"):
        Money(TOTAL_MAX + 1, "EUR")
    with pytest.raises(ValueError, match="exceeds"):
        Money(-TOTAL_MAX - 1, "EUR")


def test_money_shows_itself() -> None:
    """
    Money is written with its currency's digits.
    """
    assert [str(Money(1050, code)) for code in ("JPY", "EUR", "KWD", "CLF")] == [
        "1050 JPY",
        "10.50 EUR",
        "1.050 KWD",
        "0.1050 CLF",
    ]
    assert to_decimal(1050, "EUR") == Decimal("10.50")


def test_the_digits_of_currencies_that_differ_from_the_usual_two() -> None:
    """
    The currencies a table gets wrong first: none, three or four digits. Source: ISO 4217, table A.1.
    """
    digits = {0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF"}
    digits |= {3: "BHD IQD JOD KWD LYD OMR TND", 4: "CLF UYW"}

    unusual = {
        n: " ".join(sorted(c for c, d in MINOR_DIGITS.items() if d == n)) for n in {*MINOR_DIGITS.values()} - {2}
    }

    assert unusual == digits


def test_currencies_come_and_go() -> None:
    """
    The table is of 2026: Bulgaria has the euro, Curacao its own guilder, Cuba one peso.
    """
    assert {"XCG", "XAD"} <= MINOR_DIGITS.keys()
    assert not {"BGN", "ANG", "CUC", "HRK"} & MINOR_DIGITS.keys()


def test_every_currency_is_as_iso_lists_it() -> None:
    """
    The library's table equals the published list, code by code, in both directions.
    """
    if not ISO_4217.exists():
        pytest.skip("the published ISO 4217 list is not beside this checkout")
    with ISO_4217.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["AlphabeticCode"] and not row["WithdrawalDate"]]
    published = {row["AlphabeticCode"]: row["MinorUnit"] for row in rows}

    current = {code: int(digits) for code, digits in published.items() if digits.isdigit()}

    assert len(current) > 150
    assert current == MINOR_DIGITS


def test_every_numeric_code_is_as_iso_lists_it() -> None:
    """
    The three digits of every currency are the published ones, and no two currencies share them.
    """
    if not ISO_4217.exists():
        pytest.skip("the published ISO 4217 list is not beside this checkout")
    with ISO_4217.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["AlphabeticCode"] in MINOR_DIGITS and row["NumericCode"]]

    published = {row["AlphabeticCode"]: row["NumericCode"].zfill(3) for row in rows if not row["WithdrawalDate"]}

    assert published == NUMERIC
    assert len({*NUMERIC.values()}) == len(NUMERIC)


def test_every_currency_is_as_the_archived_table_lists_it() -> None:
    """
    Table A.1 as ISO published it in 2024 differs only by the currencies that have come and gone since.
    """
    table = ISO_4217.with_name("table_a1.xml")
    if not table.exists():
        pytest.skip("the published ISO 4217 list is not beside this checkout")
    came, left = {"XCG": 2, "XAD": 2}, {"BGN", "ANG", "CUC"}

    listed = _table_a1(table.read_text("utf-8"))

    assert {code: digits for code, digits in listed.items() if code not in left} | came == MINOR_DIGITS
    assert left <= listed.keys()


def _table_a1(xml: str) -> dict[str, int]:
    listed = {}
    for country in ElementTree.fromstring(xml.partition("?>")[2]).iter("CcyNtry"):
        code, digits = country.findtext("Ccy"), country.findtext("CcyMnrUnts")
        if code and digits and digits.isdigit():
            listed[code] = int(digits)
    return listed
