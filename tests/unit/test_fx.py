"""Exchange: rounded once, half even, visibly; each currency balances by itself."""

from decimal import Decimal, localcontext
from fractions import Fraction
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given as drawn

from domain import ids
from domain.errors import AccountNotFound, AmountTooLarge, ConversionTooSmall, ExchangeWithinCurrency, Refusal
from domain.fx import convert, exchange
from domain.money import AMOUNT_MAX, minor_digits
from domain.posting import sums
from tests.support import BOOK, given

BANK = """
    eur     | asset  | 0 | 0 | EUR
    eur_pos | equity | 0 | 0 | EUR
    usd     | asset  | 0 | 0 | USD
    usd_pos | equity | 0 | 0 | USD
    jpy     | asset  | 0 | 0 | JPY
    jpy_pos | equity | 0 | 0 | JPY
    debt    | liability | 0 | 0 | EUR
"""


def exchanged(source: str, destination: str, amount: int, rate: str) -> Any:
    scene = given(BANK)
    named = {
        "source_id": source,
        "source_position_id": f"{source.replace('debt', 'eur')}_pos",
        "destination_id": destination,
        "destination_position_id": f"{destination}_pos",
    }
    postings, recipe = exchange(
        scene.accounts,
        amount=amount,
        rate=Decimal(rate),
        rate_source="ECB",
        **{field: ids.account_id(BOOK, code) for field, code in named.items()},
    )
    return [(scene.accounts[p.account_id].code, p.side.value, p.amount, p.currency) for p in postings], recipe


@pytest.mark.parametrize(
    ("amount", "currency", "into", "rate", "received", "rounding"),
    [
        (10_000, "EUR", "USD", "1.0842", 10_842, "0"),
        (1, "EUR", "USD", "0.5", 0, "-0.5"),
        (3, "EUR", "USD", "0.5", 2, "0.5"),
        (5, "EUR", "USD", "0.5", 2, "-0.5"),
        (7, "EUR", "USD", "0.5", 4, "0.5"),
        (100, "EUR", "JPY", "162.5", 162, "-0.5"),
        (100, "EUR", "JPY", "163.5", 164, "0.5"),
        (1000, "JPY", "EUR", "0.0061", 610, "0"),
        (100, "EUR", "KWD", "0.3333", 333, "-0.3"),
        (1, "JPY", "CLF", "0.0001", 1, "0"),
        (12_345, "CLF", "JPY", "4321", 5334, "-0.2745"),
        (AMOUNT_MAX, "EUR", "USD", "1.000000000001", AMOUNT_MAX + 9007, "-0.199254740991"),
    ],
)
def test_rounds_once_half_even(amount: int, currency: str, into: str, rate: str, received: int, rounding: str) -> None:
    """
    Between currencies of 0, 2, 3 and 4 digits; what rounding added is told exactly.
    """
    assert convert(amount, currency, into, Decimal(rate)) == (received, Decimal(rounding))


def test_each_currency_balances_through_its_position() -> None:
    """
    What leaves stands against its currency's position account, what arrives comes from the other's.
    """
    postings, recipe = exchanged("eur", "usd", 333, "1.0842")

    assert postings == [
        ("eur", "credit", 333, "EUR"),
        ("eur_pos", "debit", 333, "EUR"),
        ("usd_pos", "credit", 361, "USD"),
        ("usd", "debit", 361, "USD"),
    ]
    assert recipe == {
        "exchange": {
            "rate": "1.0842",
            "rate_source": "ECB",
            "from": {"amount": 333, "currency": "EUR"},
            "to": {"amount": 361, "currency": "USD"},
            "rounding": "-0.0386",
        }
    }


@pytest.mark.parametrize(
    ("source", "destination", "amount", "rate", "refusal"),
    [
        ("eur", "usd", 1, "0.5", ConversionTooSmall),
        ("eur", "jpy", 1, "49", ConversionTooSmall),
        ("eur", "usd", AMOUNT_MAX, "1.000001", AmountTooLarge),
        ("debt", "eur", 100, "1.1", ExchangeWithinCurrency),
        ("eur", "nothing", 100, "1.1", AccountNotFound),
    ],
)
def test_what_is_not_exchanged(source: str, destination: str, amount: int, rate: str, refusal: type[Refusal]) -> None:
    """
    Nothing for something, more than a posting holds, or a rate within one currency.
    """
    with pytest.raises(refusal):
        exchanged(source, destination, amount, rate)


digits = st.sampled_from(["JPY", "EUR", "KWD", "CLF"])
rates = st.decimals(Decimal("0.000000000001"), Decimal("999999999999.999999999999"), places=12)


@drawn(st.integers(1, AMOUNT_MAX), digits, digits, rates)
def test_rounding_is_the_whole_difference(amount: int, currency: str, into: str, rate: Decimal) -> None:
    """
    Received less rounding is the exact product, whatever the precision of the thread; half a unit at most is rounded.
    """
    with localcontext(prec=3):
        received, rounding = convert(amount, currency, into, rate)

    exact = Fraction(amount) * Fraction(rate) * Fraction(10) ** (minor_digits(into) - minor_digits(currency))
    assert received - Fraction(rounding) == exact
    assert abs(rounding) < Decimal("0.5") or (abs(rounding) == Decimal("0.5") and received % 2 == 0)


@drawn(st.integers(1, 10**9), rates.filter(lambda rate: rate < 1000))
def test_every_exchange_balances(amount: int, rate: Decimal) -> None:
    """
    In each currency by itself, or it is refused.
    """
    scene = given(BANK)
    try:
        postings, _ = exchange(
            scene.accounts,
            amount=amount,
            rate=rate,
            rate_source="",
            source_id=ids.account_id(BOOK, "eur"),
            source_position_id=ids.account_id(BOOK, "eur_pos"),
            destination_id=ids.account_id(BOOK, "jpy"),
            destination_position_id=ids.account_id(BOOK, "jpy_pos"),
        )
    except ConversionTooSmall:
        assert amount * rate <= 50
    else:
        assert all(debits == credits > 0 for debits, credits in sums(postings).values())
        assert len(postings) == 4
