"""Rows as commands: what the columns mean, and the keys under which a row is booked once, however often it is read."""

from datetime import date
from typing import Any, Final

from pydantic import ValidationError

from adapters.imports.files import BadRow, Columns
from commands.account import OpenAccount
from commands.command import Command
from commands.journal import PostEntry
from domain.money import minor_digits, to_minor

ACCOUNT_COLUMNS: Final = Columns(needed=("code", "type", "currency"), others=("opened", "overdraft_limit", "title"))
ENTRY_COLUMNS: Final = Columns(
    needed=("reference", "value_date", "debit", "credit", "amount", "currency"), others=("description",)
)
ENTRY_FIELDS: Final = Columns(needed=(), others=(*ENTRY_COLUMNS.needed, *ENTRY_COLUMNS.others, "postings"))
"""Of JSON Lines: an entry may have a list of postings instead of debit, credit, amount and currency."""

UNLIMITED: Final = "unlimited"


def account(row: dict[str, Any], *, book: str) -> tuple[str, Command]:
    """The key and the command of an account's row.

    Raises:
        BadRow: A value is missing or cannot be understood.
    """
    code, currency = _needed(row, "code"), _currency(row)
    limit = _text(row, "overdraft_limit") or "0"
    fields = {
        "book": book,
        "code": code,
        "type": _needed(row, "type"),
        "currency": currency,
        "overdraft_limit": None if limit == UNLIMITED else _minor("overdraft_limit", limit, currency),
        "opened_on": _day(row, "opened"),
        "title": _text(row, "title"),
    }
    return f"import:{code}", _command(OpenAccount, fields)


def entry(row: dict[str, Any], *, book: str) -> tuple[str, Command]:
    """The key and the command of a journal entry's row.

    Raises:
        BadRow: A value is missing or cannot be understood; without a reference nothing could tell a row read twice
            from two rows.
    """
    reference = _needed(row, "reference")
    value_date = _day(row, "value_date")
    if value_date is None:
        raise BadRow("missing_value", "value_date is missing")
    fields = {
        "book": book,
        "reference": reference,
        "value_date": value_date,
        "description": _text(row, "description"),
        "postings": _listed(row) if "postings" in row else _pair(row),
    }
    return f"import:{reference}", _command(PostEntry, fields)


def _pair(row: dict[str, Any]) -> list[dict[str, Any]]:
    currency = _currency(row)
    amount = _amount(row, currency)
    return [
        {"account": _needed(row, side), "side": side, "amount": amount, "currency": currency}
        for side in ("debit", "credit")
    ]


def _listed(row: dict[str, Any]) -> list[dict[str, Any]]:
    both = sorted({"debit", "credit", "amount"} & row.keys())
    if both:
        raise BadRow("malformed_row", f"an entry has postings or {both[0]}, not both")
    postings = row["postings"]
    if not isinstance(postings, list) or not all(isinstance(posting, dict) for posting in postings):
        raise BadRow("malformed_row", "postings is not a list of objects")
    return [_posting(row, posting) for posting in postings]


def _posting(row: dict[str, Any], posting: dict[str, Any]) -> dict[str, Any]:
    unknown = sorted(posting.keys() - {"account", "side", "amount", "currency"})
    if unknown:
        raise BadRow("malformed_row", f"unknown field {unknown[0]!r} in a posting")
    currency = _currency(posting if "currency" in posting else row)
    return {
        "account": _needed(posting, "account"),
        "side": _needed(posting, "side"),
        "amount": _amount(posting, currency),
        "currency": currency,
    }


def _text(row: dict[str, Any], name: str) -> str:
    value = row.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise BadRow("malformed_row", f'{name} is not a string (amounts are strings too, such as "10.50")')
    return value


def _needed(row: dict[str, Any], name: str) -> str:
    value = _text(row, name)
    if not value:
        raise BadRow("missing_value", f"{name} is missing")
    return value


def _currency(row: dict[str, Any]) -> str:
    code = _needed(row, "currency")
    try:
        minor_digits(code)
    except ValueError as error:
        raise BadRow("unknown_currency", str(error)) from error
    return code


def _amount(row: dict[str, Any], currency: str) -> int:
    minor = _minor("amount", _needed(row, "amount"), currency)
    if minor < 1:
        raise BadRow("invalid_amount", f"amount is {row['amount']}; it must be more than zero")
    return minor


def _minor(name: str, text: str, currency: str) -> int:
    try:
        return to_minor(text, currency)
    except ValueError as error:
        raise BadRow("invalid_amount", f"{name}: {error}") from error


def _day(row: dict[str, Any], name: str) -> date | None:
    text = _text(row, name)
    if not text:
        return None
    try:
        if len(text) != len("2026-01-31"):
            raise ValueError(text)
        return date.fromisoformat(text)
    except ValueError as error:
        raise BadRow("invalid_date", f"{name} is {text[:40]!r}, not a day written YYYY-MM-DD") from error


def _command(model: type[Command], fields: dict[str, Any]) -> Command:
    try:
        return model(**fields)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise BadRow("invalid_value", f"{place}: {first['msg']}" if place else first["msg"]) from error
