"""What the accounts of a book add up to: roll-ups, trial balance, balance sheet and income statement. Pure arithmetic.

Currencies stand side by side and are never added. A valuation in one of them, at given rates, is worked out exactly and
rounded once for each line and each total, half even; what the lines together miss of their total is shown.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from fractions import Fraction
from typing import Final

from msgspec import Struct

from domain.account import Type
from domain.money import minor_digits
from domain.posting import Side

SEPARATOR: Final = ":"
"""Between the segments of an account's code: what is above is before it."""


class Standing(Struct, frozen=True):
    """What was posted to an account, in minor units of its currency."""

    code: str
    type: Type
    currency: str
    debits: int
    credits: int
    metadata: Mapping[str, str] = {}


class Sums(Struct, frozen=True):
    """Of one currency, in minor units."""

    debits: int = 0
    credits: int = 0

    @property
    def net(self) -> int:
        """Debits less credits."""
        return self.debits - self.credits

    def __add__(self, other: "Sums") -> "Sums":
        return Sums(self.debits + other.debits, self.credits + other.credits)

    def on(self, side: Side) -> int:
        """The balance, where that is the normal side."""
        return self.net if side is Side.DEBIT else -self.net


ByCurrency = dict[str, Sums]


class Valuation(Struct, frozen=True):
    """`rates`: what one unit (a whole one, not a minor one) of each currency is worth in `currency`."""

    currency: str
    rates: Mapping[str, Fraction]

    def exact(self, amounts: Mapping[str, int]) -> Fraction:
        """The worth of minor units by currency, in minor units of `currency`.

        Raises:
            RateMissing: One of the currencies has no rate.
        """
        return sum((self._worth(amount, currency) for currency, amount in amounts.items()), Fraction(0))

    def rounded(self, amounts: Mapping[str, int]) -> int:
        """As `exact`, to the minor unit, half even."""
        return round(self.exact(amounts))

    def _worth(self, amount: int, currency: str) -> Fraction:
        rate = Fraction(1) if currency == self.currency else self.rates.get(currency)
        if rate is None:
            raise RateMissing(currency)
        return amount * rate * Fraction(10) ** (minor_digits(self.currency) - minor_digits(currency))


class RateMissing(Exception):
    """The book has a currency that no rate was given for."""

    def __init__(self, currency: str) -> None:
        super().__init__(currency)
        self.currency = currency


class Valued(Struct, frozen=True):
    """A total in the currency of the valuation; `rounding_difference` is what the lines' values miss of it."""

    value: int
    rounding_difference: int


def total(valuation: Valuation, amounts: Mapping[str, int], parts: Iterable[int]) -> Valued:
    """The value of the amounts, whose parts have been valued."""
    value = valuation.rounded(amounts)
    return Valued(value, value - sum(parts))


def summed(standings: Iterable[Standing]) -> ByCurrency:
    """By currency, in the order of their codes."""
    sums: ByCurrency = {}
    for standing in standings:
        sums[standing.currency] = sums.get(standing.currency, Sums()) + Sums(standing.debits, standing.credits)
    return dict(sorted(sums.items()))


def nets(sums: ByCurrency) -> dict[str, int]:
    """Debits less credits, by currency."""
    return {currency: of.net for currency, of in sums.items()}


# Roll-ups.


class Node(Struct, frozen=True):
    """All accounts at and below it. `own` are those at no node of the answer below it; so `sums` = `own` + children."""

    name: str
    depth: int
    accounts: int
    own: ByCurrency
    sums: ByCurrency
    valued: Valued | None = None


def roll_up(
    standings: Iterable[Standing], *, prefix: str = "", depth: int | None = None, valuation: Valuation | None = None
) -> list[Node]:
    """The tree of the codes, each node before what is below it, siblings by name.

    Args:
        prefix: The node to begin at, which is at depth 0; else all of the tree, its root being named "".
        depth: How deep to show nodes; what is below counts as the shown node's own.
    """
    own: dict[tuple[str, ...], list[Standing]] = defaultdict(list)
    at = path(prefix)
    for standing in standings:
        steps = path(standing.code)
        if steps[: len(at)] == at:
            own[steps[: None if depth is None else len(at) + depth]].append(standing)
    children: dict[tuple[str, ...], set[tuple[str, ...]]] = defaultdict(set)
    for steps in own:
        for length in range(len(at), len(steps)):
            children[steps[:length]].add(steps[: length + 1])
    found: list[Node] = []
    _grow(found, at, len(at), own, children, valuation)
    return found


def path(code: str) -> tuple[str, ...]:
    """The segments of a code; none of the empty one."""
    return tuple(code.split(SEPARATOR)) if code else ()


def _grow(
    found: list[Node],
    steps: tuple[str, ...],
    top: int,
    own: Mapping[tuple[str, ...], list[Standing]],
    children: Mapping[tuple[str, ...], set[tuple[str, ...]]],
    valuation: Valuation | None,
) -> Node:
    place = len(found)
    mine = summed(own.get(steps, ()))
    below = []
    if steps in children:
        found.append(Node("", 0, 0, {}, {}))  # Its place, before what is below it.
        below = [_grow(found, child, top, own, children, valuation) for child in sorted(children[steps])]
        found.pop(place)
    sums = added(mine, *(node.sums for node in below))
    valued = None
    if valuation is not None:
        parts = [node.valued.value for node in below if node.valued is not None]
        # With nothing below it, what is its own is not rounded apart from the sum.
        valued = total(valuation, nets(sums), [*parts, valuation.rounded(nets(mine))])
    count = len(own.get(steps, ())) + sum(node.accounts for node in below)
    node = Node(SEPARATOR.join(steps), len(steps) - top, count, mine, sums, valued)
    found.insert(place, node)
    return node


def added(*sums: ByCurrency) -> ByCurrency:
    """Currency by currency."""
    result: ByCurrency = {}
    for one in sums:
        for currency, of in one.items():
            result[currency] = result.get(currency, Sums()) + of
    return dict(sorted(result.items()))


def grouped(
    standings: Iterable[Standing], key: Callable[[Standing], str], *, valuation: Valuation | None = None
) -> list[Node]:
    """One node of depth 1 for each value of the key, by name, below the root, which is all of them."""
    groups: dict[str, list[Standing]] = defaultdict(list)
    for standing in standings:
        groups[key(standing)].append(standing)
    below = []
    for name, members in sorted(groups.items()):
        sums = summed(members)
        valued = None if valuation is None else Valued(valuation.rounded(nets(sums)), 0)
        below.append(Node(name, 1, len(members), sums, sums, valued))
    everything = added(*(node.sums for node in below))
    parts = [node.valued.value for node in below if node.valued is not None]
    worth = None if valuation is None else total(valuation, nets(everything), parts)
    return [Node("", 0, sum(node.accounts for node in below), {}, everything, worth), *below]


# Trial balance.


class TrialLine(Struct, frozen=True):
    """An account, with its balance on the side it is on. `value` is positive for a debit balance."""

    code: str
    type: Type
    currency: str
    sums: Sums
    value: int | None = None

    @property
    def debit_balance(self) -> int:
        return max(self.sums.net, 0)

    @property
    def credit_balance(self) -> int:
        return max(-self.sums.net, 0)


class TrialTotal(Struct, frozen=True):
    """Of one currency, in minor units; the two of each pair are equal unless the books were tampered with."""

    currency: str
    debits: int
    credits: int
    debit_balances: int
    credit_balances: int

    @property
    def difference(self) -> int:
        """Debits less credits: 0. That of the balances is the same by arithmetic."""
        return self.debits - self.credits


class TrialBalance(Struct, frozen=True):
    """`valued` comes to 0 if it is balanced, so its rounding difference is what the lines' values miss of that."""

    lines: list[TrialLine]
    totals: list[TrialTotal]
    valued: Valued | None

    @property
    def balanced(self) -> bool:
        """Whether debits are credits in every currency; if not, that is for the auditor to see, not a failure."""
        return not any(of.difference for of in self.totals)


def trial_balance(standings: Iterable[Standing], *, valuation: Valuation | None = None) -> TrialBalance:
    """Every account that was posted to."""
    lines = [
        TrialLine(
            standing.code,
            standing.type,
            standing.currency,
            sums := Sums(standing.debits, standing.credits),
            None if valuation is None else valuation.rounded({standing.currency: sums.net}),
        )
        for standing in standings
        if standing.debits or standing.credits
    ]
    totals = [_trial_total(currency, lines) for currency in sorted({line.currency for line in lines})]
    differences = {of.currency: of.difference for of in totals}
    valued = None if valuation is None else total(valuation, differences, [line.value or 0 for line in lines])
    return TrialBalance(lines, totals, valued)


def _trial_total(currency: str, lines: Sequence[TrialLine]) -> TrialTotal:
    of = [line for line in lines if line.currency == currency]
    return TrialTotal(
        currency,
        sum(line.sums.debits for line in of),
        sum(line.sums.credits for line in of),
        sum(line.debit_balance for line in of),
        sum(line.credit_balance for line in of),
    )


# Statements.


class StatementLine(Struct, frozen=True):
    """An account's balance on the normal side of the section that it is in."""

    code: str
    currency: str
    amount: int
    value: int | None = None


class Section(Struct, frozen=True):
    """The accounts of one type, with what they come to by currency."""

    lines: list[StatementLine]
    totals: dict[str, int]
    valued: Valued | None


class Result(Struct, frozen=True):
    """Revenue less expenses, by currency."""

    totals: dict[str, int]
    valued: Valued | None


class IncomeStatement(Struct, frozen=True):
    """Revenue less expenses is the result; its `rounding_difference` is what the two totals' values miss of it."""

    revenue: Section
    expenses: Section
    result: Result


class BalanceSheet(Struct, frozen=True):
    """Assets = liabilities + equity + result, in every currency: the result is what no entry has moved to equity yet.

    `differences`: by currency what the assets are more than that, where they are; only of books tampered with.
    `rounding_difference`: what the values of liabilities, equity and result miss of that of the assets.
    """

    assets: Section
    liabilities: Section
    equity: Section
    result: Result
    differences: dict[str, int]
    rounding_difference: int | None

    @property
    def balanced(self) -> bool:
        """Whether it is so in every currency."""
        return not self.differences


def section(standings: Iterable[Standing], type: Type, *, valuation: Valuation | None = None) -> Section:
    """The accounts of that type, those with nothing on them left out."""
    lines, totals = [], dict[str, int]()
    for standing in standings:
        amount = Sums(standing.debits, standing.credits).on(type.normal_side)
        if standing.type is type and amount:
            value = None if valuation is None else valuation.rounded({standing.currency: amount})
            lines.append(StatementLine(standing.code, standing.currency, amount, value))
            totals[standing.currency] = totals.get(standing.currency, 0) + amount
    valued = None if valuation is None else total(valuation, totals, [line.value or 0 for line in lines])
    return Section(lines, dict(sorted(totals.items())), valued)


def income_statement(standings: Sequence[Standing], *, valuation: Valuation | None = None) -> IncomeStatement:
    """Of the postings that the standings add up."""
    revenue = section(standings, Type.REVENUE, valuation=valuation)
    expenses = section(standings, Type.EXPENSE, valuation=valuation)
    totals = less(revenue.totals, expenses.totals)
    valued = None
    if valuation is not None and revenue.valued is not None and expenses.valued is not None:
        valued = total(valuation, totals, [revenue.valued.value, -expenses.valued.value])
    return IncomeStatement(revenue, expenses, Result(totals, valued))


def less(one: Mapping[str, int], other: Mapping[str, int]) -> dict[str, int]:
    """The difference, currency by currency."""
    return {currency: one.get(currency, 0) - other.get(currency, 0) for currency in sorted(one.keys() | other.keys())}


def balance_sheet(standings: Sequence[Standing], *, valuation: Valuation | None = None) -> BalanceSheet:
    """Of the postings that the standings add up, which are those of whole entries."""
    assets, liabilities, equity = (
        section(standings, type, valuation=valuation) for type in (Type.ASSET, Type.LIABILITY, Type.EQUITY)
    )
    result = income_statement(standings, valuation=valuation).result
    rest = less(less(less(assets.totals, liabilities.totals), equity.totals), result.totals)
    differences = {currency: amount for currency, amount in rest.items() if amount}
    difference = None
    if assets.valued and liabilities.valued and equity.valued and result.valued:
        against = liabilities.valued.value + equity.valued.value + result.valued.value
        difference = assets.valued.value - against
    return BalanceSheet(assets, liabilities, equity, result, differences, difference)
