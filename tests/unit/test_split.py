"""Splits: sources in order, destinations exactly, to the last minor unit."""

from fractions import Fraction
from itertools import pairwise
from typing import Any
from uuid import UUID

import hypothesis.strategies as st
import pytest
from hypothesis import given as drawn

from commands.journal import share_of
from domain import ids
from domain.errors import (
    AccountNotFound,
    CurrencyMismatch,
    Refusal,
    SourcesDiffer,
    SourcesInsufficient,
    SplitImpossible,
)
from domain.money import AMOUNT_MAX
from domain.split import Destination, Source, allocate, split
from tests.support import BOOK, NOW, given

BANK = """
    promo  | asset     |  30 |   0 | floor=10
    main   | asset     | 100 |   0 | overdraft_limit=5 pending_credits=20
    deep   | asset     |   0 |   0 |
    debt   | liability |   0 | 100 |
    seller | expense   |   0 |   0 |
    fees   | expense   |   0 |   0 |
    tax    | expense   |   0 |   0 |
    usd    | asset     |   0 |   0 | USD
"""


def account(code: str) -> UUID:
    return ids.account_id(BOOK, code)


def worked_out(amount: int, sources: list[Any], destinations: list[Any]) -> list[tuple[str, str, int]]:
    """(code, side, amount) of each posting; a source is a code or (code, maximum), a share is a text."""
    scene = given(BANK)
    named = [source if isinstance(source, tuple) else (source, None) for source in sources]
    wanted = []
    for code, part in destinations:
        of_whole = share_of(part) if isinstance(part, str) else None
        wanted.append(Destination(account(code), part if isinstance(part, int) else None, of_whole))
    postings = split(
        scene.accounts,
        scene.totals,
        amount=amount,
        currency="EUR",
        sources=[Source(account(code), maximum) for code, maximum in named],
        destinations=wanted,
        now=NOW,
    )
    return [(scene.accounts[p.account_id].code, p.side.value, p.amount) for p in postings]


@pytest.mark.parametrize(
    ("amount", "sources", "taken"),
    [
        (20, ["promo", "main"], [("promo", 20)]),
        (21, ["promo", "main"], [("promo", 20), ("main", 1)]),
        (105, ["promo", "main"], [("promo", 20), ("main", 85)]),
        (106, ["promo", "main", "deep"], [("promo", 20), ("main", 85), ("deep", 1)]),
        (30, [("promo", 7), ("main", 3), "deep"], [("promo", 7), ("main", 3), ("deep", 20)]),
        (30, [("main", 10), "promo", "main"], [("main", 10), ("promo", 20)]),
        (90, [("main", 10), "main", "promo"], [("main", 10), ("main", 75), ("promo", 5)]),
        (5, ["debt"], [("debt", 5)]),
    ],
)
def test_sources_give_in_order(amount: int, sources: list[Any], taken: list[tuple[str, int]]) -> None:
    """
    Each up to its maximum and to what its limits leave available, holds counted, before the next is asked.
    """
    postings = worked_out(amount, sources, [("seller", None)])

    assert [(code, part) for code, _, part in postings[:-1]] == taken
    assert postings[-1] == ("seller", {"debt": "credit"}.get(sources[0], "debit"), amount)


@pytest.mark.parametrize(
    ("amount", "destinations", "given_"),
    [
        (100, [("seller", "1/3"), ("fees", "1/3"), ("tax", "1/3")], [34, 33, 33]),
        (100, [("seller", "97.1%"), ("fees", "2.9%")], [97, 3]),
        (101, [("seller", "50%"), ("fees", "50%")], [51, 50]),
        (100, [("seller", None), ("fees", "2.9%"), ("tax", 7)], [91, 2, 7]),
        (1, [("seller", None), ("fees", "99.9%")], [1]),
        (10, [("seller", 10), ("fees", None)], [10]),
        (10, [("seller", 4), ("fees", 6)], [4, 6]),
        (2, [("seller", "1/3"), ("fees", "1/3"), ("tax", "1/3")], [1, 1]),
    ],
)
def test_destinations_get_it_all(amount: int, destinations: list[Any], given_: list[int]) -> None:
    """
    Units that do not divide go to the largest fractions, or to who takes what remains; who gets nothing has no posting.
    """
    assert [part for _, side, part in worked_out(amount, ["deep"], destinations) if side == "debit"] == given_


@pytest.mark.parametrize(
    ("amount", "sources", "destinations", "refusal"),
    [
        (106, ["promo", "main"], [("seller", None)], SourcesInsufficient),
        (1, [("promo", 5), ("debt", 5)], [("seller", None)], SourcesDiffer),
        (10, ["deep"], [("seller", 4), ("fees", 5)], SplitImpossible),
        (10, ["deep"], [("seller", 4), ("fees", 7)], SplitImpossible),
        (10, ["deep"], [("seller", 11), ("fees", None)], SplitImpossible),
        (10, ["deep"], [("seller", "33.3%"), ("fees", "33.3%"), ("tax", "33.3%")], SplitImpossible),
        (10, ["deep"], [("seller", 6), ("fees", "50%"), ("tax", None)], SplitImpossible),
        (10, ["nobody"], [("seller", None)], AccountNotFound),
        (10, ["deep", "nobody"], [("seller", None)], AccountNotFound),
        (10, ["deep"], [("seller", 10), ("nobody", None)], AccountNotFound),
        (10, ["deep", "usd"], [("seller", None)], CurrencyMismatch),
        (10, ["deep"], [("seller", 10), ("usd", None)], CurrencyMismatch),
    ],
)
def test_what_cannot_be_split(amount: int, sources: list[Any], destinations: list[Any], refusal: type[Refusal]) -> None:
    """
    Also what is named and would neither give nor get must be there, in the currency.
    """
    with pytest.raises(refusal) as refused:
        worked_out(amount, sources, destinations)

    if isinstance(refused.value, SourcesInsufficient):
        assert (refused.value.requested, refused.value.available) == (106, 105)


weights = st.lists(st.fractions(min_value=0, max_value=10, max_denominator=997), min_size=1, max_size=12)


@drawn(st.integers(0, AMOUNT_MAX), weights.filter(any))
def test_an_allocation_is_exact(amount: int, shares: list[Fraction]) -> None:
    """
    It comes to the amount, each part less than one unit from its exact share, more weight never getting less.
    """
    parts = allocate(amount, shares)

    assert sum(parts) == amount
    assert all(abs(part - amount * share / sum(shares)) < 1 for part, share in zip(parts, shares, strict=True))
    by_weight = sorted(zip(shares, parts, strict=True), key=lambda each: each[0])
    assert all(less[1] <= more[1] for less, more in pairwise(by_weight) if less[0] < more[0])


@drawn(st.integers(1, AMOUNT_MAX), st.lists(st.integers(0, 50), min_size=1, max_size=3), st.integers(0, 1000))
def test_every_split_balances(amount: int, hundredths: list[int], fixed: int) -> None:
    """
    Whatever the shares: what is taken is what is given, and neither is more or less than the amount.
    """
    shares = [Destination(account("tax"), None, Fraction(part, 150)) for part in hundredths]
    scene = given(BANK)

    try:
        postings = split(
            scene.accounts,
            scene.totals,
            amount=amount,
            currency="EUR",
            sources=[Source(account("promo")), Source(account("deep"))],
            destinations=[Destination(account("fees"), fixed), *shares, Destination(account("seller"))],
            now=NOW,
        )
    except SplitImpossible:
        assert fixed + sum(hundredths) * amount / 150 > amount
    else:
        assert sum(p.amount for p in postings if p.side == "credit") == amount
        assert sum(p.amount for p in postings if p.side == "debit") == amount
        assert all(p.amount > 0 for p in postings)
