"""Roll-ups and statements add up, for any book."""

from fractions import Fraction
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from domain.account import Type
from domain.money import minor_digits
from projections import reports
from projections.reports import Standing, Sums, Valuation

CURRENCIES = ("EUR", "USD", "JPY", "KWD")
codes = st.lists(st.sampled_from("abc"), min_size=1, max_size=4).map(":".join)


@st.composite
def books(draw: st.DrawFn) -> list[Standing]:
    """Accounts with what entries have posted to them, each entry of one currency and balanced."""
    names = draw(st.lists(codes, min_size=2, max_size=12, unique=True))
    chart = [(name, draw(st.sampled_from(Type)), draw(st.sampled_from(CURRENCIES))) for name in sorted(names)]
    debits, credits = dict.fromkeys(names, 0), dict.fromkeys(names, 0)
    for currency in CURRENCIES:
        of = [name for name, _, in_currency in chart if in_currency == currency]
        for _ in range(draw(st.integers(0, 4)) if len(of) > 1 else 0):
            amount = draw(st.integers(1, 2**53))
            debits[draw(st.sampled_from(of))] += amount
            credits[draw(st.sampled_from(of))] += amount
    return [
        Standing(name, type, currency, debits[name], credits[name], {"branch": name[0]})
        for name, type, currency in chart
    ]


valuations = st.none() | st.builds(
    Valuation,
    currency=st.sampled_from(CURRENCIES),
    rates=st.fixed_dictionaries(
        {currency: st.fractions(min_value=Fraction(1, 10**6), max_value=10**6) for currency in CURRENCIES}
    ),
)


@given(books(), valuations, st.none() | st.integers(0, 3), st.just("") | codes)
def test_a_roll_up_adds_up_at_every_node(
    book: list[Standing], valuation: Valuation | None, depth: int | None, prefix: str
) -> None:
    """
    A node is its own accounts and its children, in each currency and in value, and all accounts below it.
    """
    nodes = reports.roll_up(book, prefix=prefix, depth=depth, valuation=valuation)

    top = len(reports.path(prefix))
    for node in nodes:
        steps = reports.path(node.name)
        children = [n for n in nodes if reports.path(n.name)[:-1] == steps and n.depth == node.depth + 1]
        below = [s for s in book if reports.path(s.code)[: len(steps)] == steps]
        assert node.depth == len(steps) - top and (depth is None or node.depth <= depth)
        assert node.accounts == len(below)
        assert node.sums == reports.summed(below) == reports.added(node.own, *(child.sums for child in children))
        if valuation is not None:
            assert node.valued is not None
            parts = [valuation.rounded(reports.nets(node.own)), *(c.valued.value for c in children if c.valued)]
            assert node.valued.value == valuation.rounded(reports.nets(node.sums))
            assert node.valued.value == sum(parts) + node.valued.rounding_difference
    assert nodes[0].name == prefix
    assert [reports.path(node.name) for node in nodes] == sorted(reports.path(node.name) for node in nodes)


@given(books(), valuations)
def test_groups_add_up(book: list[Standing], valuation: Valuation | None) -> None:
    """
    By type and by metadata, the groups are all there is; and all of a book comes to nothing.
    """
    for key in (lambda s: s.type.value, lambda s: s.metadata["branch"]):
        root, *groups = reports.grouped(book, key, valuation=valuation)

        assert root.sums == reports.summed(book) == reports.added(*(group.sums for group in groups))
        assert root.accounts == len(book)
        assert all(sums.net == 0 for sums in root.sums.values())
        if valuation is not None:
            assert root.valued is not None and root.valued.value == 0
            assert sum(g.valued.value for g in groups if g.valued) + root.valued.rounding_difference == 0


@given(books(), valuations)
def test_a_trial_balance_balances(book: list[Standing], valuation: Valuation | None) -> None:
    """
    In every currency debits are credits, and so are the balances; in value they come to nothing.
    """
    trial = reports.trial_balance(book, valuation=valuation)

    assert {line.code for line in trial.lines} == {s.code for s in book if s.debits or s.credits}
    assert trial.balanced
    for of in trial.totals:
        assert of.debits == of.credits == sum(s.debits for s in book if s.currency == of.currency)
        assert of.debit_balances == of.credit_balances
    if valuation is not None:
        assert trial.valued is not None
        assert (
            trial.valued.value == 0 == sum(line.value or 0 for line in trial.lines) + trial.valued.rounding_difference
        )


@given(books(), valuations)
def test_a_balance_sheet_balances(book: list[Standing], valuation: Valuation | None) -> None:
    """
    Assets = liabilities + equity + (revenue - expenses), in every currency; in value but for the difference shown.
    """
    sheet = reports.balance_sheet(book, valuation=valuation)
    income = reports.income_statement(book, valuation=valuation)

    assert sheet.balanced and sheet.differences == {}
    for currency in CURRENCIES:
        result = income.revenue.totals.get(currency, 0) - income.expenses.totals.get(currency, 0)
        against = sheet.liabilities.totals.get(currency, 0) + sheet.equity.totals.get(currency, 0) + result
        assert sheet.assets.totals.get(currency, 0) == against
        assert sheet.result.totals.get(currency, 0) == result
    if valuation is not None:
        worth: list[Any] = [of.valued for of in (sheet.assets, sheet.liabilities, sheet.equity, sheet.result)]
        assert worth[0].value == sum(of.value for of in worth[1:]) + sheet.rounding_difference
        assert abs(sheet.rounding_difference or 0) <= 2
        for of in (sheet.assets, sheet.liabilities, sheet.equity, income.revenue, income.expenses):
            assert of.valued is not None
            assert of.valued.value == sum(line.value or 0 for line in of.lines) + of.valued.rounding_difference


@given(books(), valuations, st.sampled_from(Type), st.sampled_from(CURRENCIES), st.integers(1, 2**53))
def test_books_out_of_balance_are_reported_so(
    book: list[Standing], valuation: Valuation | None, type: Type, currency: str, amount: int
) -> None:
    """
    Whatever was added to one side alone is what trial balance and balance sheet are out by, in that currency.
    """
    edited = [*book, Standing("edited", type, currency, amount, 0)]

    trial = reports.trial_balance(edited, valuation=valuation)
    sheet = reports.balance_sheet(edited, valuation=valuation)

    assert not trial.balanced and not sheet.balanced
    assert {of.currency: of.difference for of in trial.totals if of.difference} == {currency: amount}
    assert sheet.differences == {currency: amount}
    if valuation is not None:
        assert trial.valued is not None and trial.valued.value == valuation.rounded({currency: amount})


@given(st.integers(-(10**15), 10**15), st.sampled_from(CURRENCIES), st.sampled_from(CURRENCIES), st.fractions(0, 10**6))
def test_a_value_is_rounded_once_to_the_nearest(amount: int, of: str, into: str, rate: Fraction) -> None:
    """
    Never off by more than half a minor unit of the true value.
    """
    valuation = Valuation(into, {currency: rate for currency in CURRENCIES})
    true = Fraction(amount, 10 ** minor_digits(of)) * (1 if of == into else rate) * 10 ** minor_digits(into)

    assert abs(valuation.rounded({of: amount}) - true) <= Fraction(1, 2)
    assert Sums(3, 5).net == -2
