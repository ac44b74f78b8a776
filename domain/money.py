"""Money is a whole number of minor units of one ISO 4217 currency; floats have no way in.

Source of the minor unit digits: ISO 4217 table A.1, as the `iso4217` library publishes it.
"""

import re
from decimal import Decimal
from typing import Final

from iso4217 import Currency
from msgspec import Struct

MINOR_DIGITS: Final[dict[str, int]] = {c.code: c.exponent for c in Currency if c.exponent is not None}
"""Digits after the decimal point by currency: 0 (JPY), 2 (EUR), 3 (KWD), 4 (CLF). Codes without any are no money."""

NUMERIC: Final[dict[str, str]] = {c.code: f"{c.number:03}" for c in Currency if c.exponent is not None}
"""The three digits card networks know a currency by: `840` for USD. Source: ISO 4217 table A.1, numeric code."""

AMOUNT_MAX: Final = 2**53 - 1
"""Largest amount of one posting, in minor units: what every JSON reader keeps exact (RFC 8259, section 6)."""

TOTAL_MAX: Final = 2**63 - 1
"""Largest total of one account, in minor units: a Postgres bigint."""

_DECIMAL = re.compile(r"(-?)([0-9]{1,19})(?:\.([0-9]{1,19}))?", re.ASCII)


class Money(Struct, frozen=True, forbid_unknown_fields=True):
    """`Money(1050, "USD")` is USD 10.50; `Money(1050, "JPY")` is JPY 1050.

    Raises:
        ValueError: The currency is not in ISO 4217, or the amount is beyond `TOTAL_MAX`.
    """

    minor: int
    currency: str

    def __post_init__(self) -> None:
        minor_digits(self.currency)
        if abs(self.minor) > TOTAL_MAX:
            raise ValueError(f"amount exceeds {TOTAL_MAX} minor units")

    def __str__(self) -> str:
        return f"{to_decimal(self.minor, self.currency)} {self.currency}"


def minor_digits(currency: str) -> int:
    """Digits after the decimal point; ValueError for a code that is not a currency."""
    digits = MINOR_DIGITS.get(currency)
    if digits is None:
        raise ValueError(f"unknown ISO 4217 currency {currency!r}")
    return digits


def to_decimal(minor: int, currency: str) -> Decimal:
    """`to_decimal(-1050, "USD")` is `Decimal("-10.50")`: exact, with the currency's own number of digits."""
    return Decimal(minor).scaleb(-minor_digits(currency))


def to_minor(text: str, currency: str) -> int:
    """Read a plain decimal such as `-10.5` as minor units, without rounding.

    Raises:
        ValueError: Not a plain ASCII decimal, or finer than the currency's minor unit.
    """
    match = _DECIMAL.fullmatch(text)
    if match is None:
        raise ValueError(f"not a decimal amount: {text[:40]!r}")
    sign, whole, fraction = match[1], match[2], match[3] or ""
    digits = minor_digits(currency)
    if fraction[digits:].strip("0"):
        raise ValueError(f"{text} is finer than the {digits} decimal digits of {currency}")
    minor = int(whole + fraction[:digits].ljust(digits, "0"))
    return -minor if sign else minor
