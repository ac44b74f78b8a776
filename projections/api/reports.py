"""Reports on a book, all of a report from the postings up to one position, read in one snapshot.

Amounts are in minor units, currencies side by side. With `rates` and `valued_in`, what stands in a line is also given
in that one currency: worked out exactly, rounded once (half even), `rounding_difference` being what the rounded values
of the lines miss of that of their total.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Annotated, Any, Final, Self, TypeVar

from msgspec import Struct
from pydantic import BeforeValidator, Field, StringConstraints, WithJsonSchema, model_validator
from pydantic_core import InitErrorDetails, ValidationError
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from domain import ids
from domain.account import Type
from domain.money import minor_digits
from projections import accounts, reports
from projections.api import csv
from projections.api.accounts import must_exist
from projections.api.answering import POSITION_HEADER, answer, one
from projections.api.parameters import BookName, Currency, Date, Past, Shaped, Text, ValueDateRange, asked, digits, once
from projections.reports import ByCurrency, Node, RateMissing, Section, Standing, Valuation, Valued

RATE_DIGITS: Final = 30
"""Of a rate, before and after its decimal point together."""
RATES_MAX: Final = 200
DEPTH_MAX: Final = 100


def _rates(value: Any) -> dict[str, Decimal]:
    rates: dict[str, Decimal] = {}
    for one_rate in once(value).split(",")[: RATES_MAX + 1]:
        currency, _, text = one_rate.partition(":")
        minor_digits(currency)  # ValueError of what is no currency.
        if currency in rates:
            raise ValueError(f"two rates for {currency}")
        rates[currency] = _rate(text)
    if len(rates) > RATES_MAX:
        raise ValueError(f"at most {RATES_MAX} rates")
    return rates


def _rate(text: str) -> Decimal:
    whole, point, fraction = text.partition(".")
    plain = (whole + fraction).isascii() and (whole + fraction).isdigit() and whole and bool(fraction) == bool(point)
    if not plain or len(whole + fraction) > RATE_DIGITS or not Decimal(text):
        raise ValueError("a rate is a plain decimal above 0, as in EUR:1,USD:0.92")
    return Decimal(text)


Rates = Annotated[
    dict[str, Decimal],
    BeforeValidator(_rates),
    WithJsonSchema({"type": "string", "pattern": r"^[A-Z]{3}:[0-9]+(\.[0-9]+)?(,[A-Z]{3}:[0-9]+(\.[0-9]+)?)*$"}),
]
"""What one whole unit of each currency is worth, as `EUR:1,USD:0.92`."""
By = Annotated[str, StringConstraints(pattern=r"^(code|type|metadata\..+)$", max_length=200)]


class ReportRead(Past, Shaped):
    """A book at a position of the log or as known at a time; now, unless one of them is given.

    `rates` and `valued_in` go together.
    """

    book: BookName
    rates: Rates | None = None
    valued_in: Currency | None = None

    @model_validator(mode="after")
    def _one_valuation(self) -> Self:
        if (self.rates is None) != (self.valued_in is None):
            raise ValueError("rates and valued_in go together")
        if self.valued_in is not None:
            minor_digits(self.valued_in)
            if (self.rates or {}).get(self.valued_in, Decimal(1)) != 1:
                raise ValueError(f"the rate of {self.valued_in}, in which it is valued, is 1")
        return self

    @property
    def valuation(self) -> Valuation | None:
        if self.valued_in is None or self.rates is None:
            return None
        return Valuation(self.valued_in, {currency: Fraction(rate) for currency, rate in self.rates.items()})

    @property
    def dates(self) -> tuple[date | None, date | None]:
        """From a value date on, and before one."""
        return None, None


class DatedReportRead(ReportRead):
    """With `before`: only entries with a value date before that day."""

    before: Date | None = None

    @property
    def dates(self) -> tuple[date | None, date | None]:
        return None, self.before


class RollUpRead(DatedReportRead):
    """What accounts add up to at each node of the tree of their codes, whose segments are apart by colons.

    `prefix`: the node to begin at. `depth`: how many levels below it are shown; what is deeper counts as the shown
    node's own. `by`: `code`; or one node for each `type`, or for each value of a key of the metadata, as in
    `metadata.branch`, accounts without it being under the empty name.
    """

    prefix: Text | None = None
    depth: Annotated[int, BeforeValidator(digits), Field(ge=0, le=DEPTH_MAX)] | None = None
    by: By = "code"

    @model_validator(mode="after")
    def _depth_of_codes(self) -> Self:
        if self.depth is not None and self.by != "code":
            raise ValueError("depth is of the tree of codes")
        return self


class TrialBalanceRead(DatedReportRead):
    """Every account that was posted to, its balance on the side it is on.

    `balanced`: whether debits are credits in every currency. If not, the books were tampered with: `daybook verify`.
    """


class BalanceSheetRead(DatedReportRead):
    """Assets = liabilities + equity + result: revenue less expenses, as far as not moved to equity yet.

    `balanced`: whether that is so in every currency. If not, the books were tampered with, and `differences` says by
    how much the assets are more: `daybook verify`.
    """


class IncomeStatementRead(ReportRead, ValueDateRange):
    """Revenue less expenses: of all value dates, or from a day on up to a day, both inclusive."""

    @property
    def dates(self) -> tuple[date | None, date | None]:
        until = self.value_date_to
        return self.value_date_from, None if until in (None, date.max) else until + timedelta(days=1)


class Report(Struct, frozen=True):
    """As JSON, and the lines of its CSV form."""

    resource: dict[str, Any]
    lines: list[dict[str, Any]]


R = TypeVar("R", bound=ReportRead)
Work = Callable[[R, Sequence[Standing]], Report]


async def _report(request: Request, model: type[R], work: Work[R], columns: Sequence[str]) -> Response:
    read = asked(request, model)
    since, before = read.dates
    wanted = {
        "book": read.book,
        "prefix": getattr(read, "prefix", None),
        "position": read.position,
        "at": read.at,
        "value_date_from": since,
        "value_date_before": before,
    }
    query = "book_totals" if since is None and before is None else "book_totals_dated"
    found = await answer(request, query, read, wanted, of=[accounts], key="account_id")
    if not found.rows:
        await must_exist(request, book=read.book)
    try:
        # A large chart is worked out beside the loop, which has others to answer.
        report = await asyncio.to_thread(lambda: work(read, [_standing(row) for row in found.rows]))
    except RateMissing as error:
        raise _no_rate(model, error) from error
    if csv.wanted(request, read):
        body = csv.header(columns) + csv.lines(columns, report.lines)
        return Response(body, media_type=csv.MEDIA_TYPE, headers={POSITION_HEADER: str(found.position)})
    head = {
        "book_id": ids.show(ids.BOOK, read.book),
        "position": found.position,
        "valued_in": read.valued_in,
        "rates": None if read.rates is None else {currency: str(rate) for currency, rate in read.rates.items()},
    }
    return one({"object": report.resource["object"], **head, **report.resource}, found.position)


def _standing(row: Mapping[str, Any]) -> Standing:
    kind, metadata = Type(row["type"]), row["metadata"] or {}
    return Standing(row["code"], kind, row["currency"], row["debits"], row["credits"], metadata)


def _no_rate(model: type[ReportRead], error: RateMissing) -> ValidationError:
    why = ValueError(f"no rate for {error.currency}, which the book has")
    fault = InitErrorDetails(type="value_error", loc=("rates",), input=None, ctx={"error": why})
    return ValidationError.from_exception_data(model.__name__, [fault])


# Roll-ups.

ROLL_UP_COLUMNS: Final = (
    "node",
    "depth",
    "accounts",
    "currency",
    *(f"{name}{form}" for name in ("debits", "credits", "net", "own_net") for form in ("", csv.DECIMAL)),
    "value",
    "rounding_difference",
    "valued_in",
)


def roll_up(read: RollUpRead, standings: Sequence[Standing]) -> Report:
    nodes = _nodes(read, standings)
    lines = [line for node in nodes for line in _node_lines(read, node)]
    return Report({"object": "roll_up", "by": read.by, "nodes": [_node(node) for node in nodes]}, lines)


def _nodes(read: RollUpRead, standings: Sequence[Standing]) -> list[Node]:
    if read.by == "code":
        return reports.roll_up(standings, prefix=read.prefix or "", depth=read.depth, valuation=read.valuation)
    if read.by == "type":
        return reports.grouped(standings, lambda standing: standing.type.value, valuation=read.valuation)
    key = read.by.removeprefix("metadata.")
    return reports.grouped(standings, lambda standing: standing.metadata.get(key, ""), valuation=read.valuation)


def _node(node: Node) -> dict[str, Any]:
    """`net` is debits less credits; `own` are accounts at the node itself, or below all nodes shown."""
    return {
        "name": node.name,
        "depth": node.depth,
        "accounts": node.accounts,
        "sums": _sums(node.sums),
        "own": _sums(node.own),
        "valued": _valued(node.valued),
    }


def _sums(sums: ByCurrency) -> list[dict[str, Any]]:
    return [
        {"currency": currency, "debits": of.debits, "credits": of.credits, "net": of.net}
        for currency, of in sums.items()
    ]


def _valued(valued: Valued | None) -> dict[str, int] | None:
    if valued is None:
        return None
    return {"value": valued.value, "rounding_difference": valued.rounding_difference}


def _node_lines(read: RollUpRead, node: Node) -> Iterable[dict[str, Any]]:
    """One for each currency, and one for the value of all."""
    head = {"node": node.name, "depth": node.depth, "accounts": node.accounts}
    for currency, of in node.sums.items():
        own = node.own[currency].net if currency in node.own else 0
        yield {**head, "currency": currency, "debits": of.debits, "credits": of.credits, "net": of.net, "own_net": own}
    if node.valued is not None:
        yield {**head, **(_valued(node.valued) or {}), "valued_in": read.valued_in}


# Trial balance.

TRIAL_COLUMNS: Final = (
    "line",
    "code",
    "type",
    "currency",
    *(
        f"{name}{form}"
        for name in ("debits", "credits", "debit_balance", "credit_balance")
        for form in ("", csv.DECIMAL)
    ),
    "value",
    "valued_in",
)


def trial_balance(read: TrialBalanceRead, standings: Sequence[Standing]) -> Report:
    trial = reports.trial_balance(standings, valuation=read.valuation)
    lines = [
        {
            "code": line.code,
            "type": line.type,
            "currency": line.currency,
            "debits": line.sums.debits,
            "credits": line.sums.credits,
            "debit_balance": line.debit_balance,
            "credit_balance": line.credit_balance,
            "value": line.value,
        }
        for line in trial.lines
    ]
    totals = [
        {
            "currency": of.currency,
            "debits": of.debits,
            "credits": of.credits,
            "debit_balance": of.debit_balances,
            "credit_balance": of.credit_balances,
        }
        for of in trial.totals
    ]
    resource = {
        "object": "trial_balance",
        "lines": lines,
        "totals": totals,
        "balanced": trial.balanced,
        "valued": _valued(trial.valued),
    }
    flat: list[dict[str, Any]] = [{"line": "account", **line, "valued_in": read.valued_in} for line in lines]
    flat += [{"line": "total", **of} for of in totals]
    if trial.valued is not None:
        rest: dict[str, Any] = {"value": trial.valued.rounding_difference, "valued_in": read.valued_in}
        flat.append({"line": "rounding_difference", **rest})
        flat.append({"line": "total", **rest, "value": trial.valued.value})
    return Report(resource, flat)


# Statements.

STATEMENT_COLUMNS: Final = ("section", "line", "code", "currency", "amount", "amount_decimal", "value", "valued_in")


def balance_sheet(read: BalanceSheetRead, standings: Sequence[Standing]) -> Report:
    sheet = reports.balance_sheet(standings, valuation=read.valuation)
    sections = {"assets": sheet.assets, "liabilities": sheet.liabilities, "equity": sheet.equity}
    result = {"totals": _totals(sheet.result.totals), "valued": _valued(sheet.result.valued)}
    resource = {
        "object": "balance_sheet",
        "before": read.before,
        **{name: _section(section) for name, section in sections.items()},
        "result": result,
        "balanced": sheet.balanced,
        "differences": _totals(sheet.differences),
        "rounding_difference": sheet.rounding_difference,
    }
    lines = [line for name, section in sections.items() for line in _section_lines(read, name, section)]
    lines += _total_lines(read, "result", sheet.result.totals, sheet.result.valued)
    lines += [{"section": "", "line": "difference", **of} for of in _totals(sheet.differences)]
    if sheet.rounding_difference is not None:
        rest = {"value": sheet.rounding_difference, "valued_in": read.valued_in}
        lines.append({"section": "", "line": "rounding_difference", **rest})
    return Report(resource, lines)


def income_statement(read: IncomeStatementRead, standings: Sequence[Standing]) -> Report:
    statement = reports.income_statement(standings, valuation=read.valuation)
    sections = {"revenue": statement.revenue, "expenses": statement.expenses}
    resource = {
        "object": "income_statement",
        "value_date_from": read.value_date_from,
        "value_date_to": read.value_date_to,
        **{name: _section(section) for name, section in sections.items()},
        "result": {"totals": _totals(statement.result.totals), "valued": _valued(statement.result.valued)},
    }
    lines = [line for name, section in sections.items() for line in _section_lines(read, name, section)]
    lines += _total_lines(read, "result", statement.result.totals, statement.result.valued)
    return Report(resource, lines)


def _section(section: Section) -> dict[str, Any]:
    return {
        "lines": [
            {"code": line.code, "currency": line.currency, "amount": line.amount, "value": line.value}
            for line in section.lines
        ],
        "totals": _totals(section.totals),
        "valued": _valued(section.valued),
    }


def _totals(totals: Mapping[str, int]) -> list[dict[str, Any]]:
    return [{"currency": currency, "amount": amount} for currency, amount in totals.items()]


def _section_lines(read: ReportRead, name: str, section: Section) -> list[dict[str, Any]]:
    shown = _section(section)
    lines = [{"section": name, "line": "account", **line, "valued_in": read.valued_in} for line in shown["lines"]]
    return lines + _total_lines(read, name, section.totals, section.valued)


def _total_lines(read: ReportRead, name: str, totals: Mapping[str, int], valued: Valued | None) -> list[dict[str, Any]]:
    lines: list[dict[str, Any]] = [{"section": name, "line": "total", **of} for of in _totals(totals)]
    for line, value in (_valued(valued) or {}).items():
        called = "total" if line == "value" else line
        lines.append({"section": name, "line": called, "value": value, "valued_in": read.valued_in})
    return lines


async def read_roll_up(request: Request) -> Response:
    return await _report(request, RollUpRead, roll_up, ROLL_UP_COLUMNS)


async def read_trial_balance(request: Request) -> Response:
    return await _report(request, TrialBalanceRead, trial_balance, TRIAL_COLUMNS)


async def read_balance_sheet(request: Request) -> Response:
    return await _report(request, BalanceSheetRead, balance_sheet, STATEMENT_COLUMNS)


async def read_income_statement(request: Request) -> Response:
    return await _report(request, IncomeStatementRead, income_statement, STATEMENT_COLUMNS)


routes: Final = [
    Route("/v1/reports/roll-up", read_roll_up, methods=["GET"]),
    Route("/v1/reports/trial-balance", read_trial_balance, methods=["GET"]),
    Route("/v1/reports/balance-sheet", read_balance_sheet, methods=["GET"]),
    Route("/v1/reports/income-statement", read_income_statement, methods=["GET"]),
]
