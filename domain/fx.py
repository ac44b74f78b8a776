"""Currency exchange: one entry, each currency balanced by itself through a position account, rounded once."""

from collections.abc import Mapping
from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import Any
from uuid import UUID

from domain.account import Account
from domain.errors import AccountNotFound, AmountTooLarge, ConversionTooSmall, ExchangeWithinCurrency
from domain.money import AMOUNT_MAX, minor_digits
from domain.posting import Posting

_EXACT = Context(prec=80)


def convert(amount: int, currency: str, into: str, rate: Decimal) -> tuple[int, Decimal]:
    """Minor units of `currency` in minor units of `into`, rounded half even, and what rounding added (in those units).

    Args:
        rate: How much of `into` one of `currency` is, in whole units: 1.0842 for EUR into USD.
    """
    exact = _EXACT.multiply(Decimal(amount), rate).scaleb(minor_digits(into) - minor_digits(currency), context=_EXACT)
    rounded = exact.quantize(Decimal(1), rounding=ROUND_HALF_EVEN, context=_EXACT)
    return int(rounded), _EXACT.subtract(rounded, exact).normalize(_EXACT)


def exchange(
    accounts: Mapping[UUID, Account],
    *,
    source_id: UUID,
    source_position_id: UUID,
    destination_id: UUID,
    destination_position_id: UUID,
    amount: int,
    rate: Decimal,
    rate_source: str,
) -> tuple[list[Posting], dict[str, Any]]:
    """The four postings of an exchange, and how they were worked out, to be kept with them.

    What leaves the source is held against its currency's position account; what reaches the destination comes from the
    other currency's.

    Raises:
        AccountNotFound: An account does not exist.
        ExchangeWithinCurrency: Both ends are in one currency.
        ConversionTooSmall: The amount comes to nothing, once rounded.
        AmountTooLarge: It comes to more than one posting may be.
    """
    for account_id in (source_id, source_position_id, destination_id, destination_position_id):
        if accounts.get(account_id) is None:
            raise AccountNotFound(account_id)
    source, destination = accounts[source_id], accounts[destination_id]
    if source.currency == destination.currency:
        raise ExchangeWithinCurrency(source.currency)
    received, rounding = convert(amount, source.currency, destination.currency, rate)
    if received < 1:
        raise ConversionTooSmall(source.currency, amount, str(rate))
    if received > AMOUNT_MAX:
        raise AmountTooLarge(destination.currency, AMOUNT_MAX)
    falls = source.type.normal_side.other
    postings = [
        Posting(source_id, falls, amount, source.currency),
        Posting(source_position_id, falls.other, amount, source.currency),
        Posting(destination_position_id, falls, received, destination.currency),
        Posting(destination_id, falls.other, received, destination.currency),
    ]
    recipe = {
        "exchange": {
            "rate": str(rate),
            "rate_source": rate_source,
            "from": {"amount": amount, "currency": source.currency},
            "to": {"amount": received, "currency": destination.currency},
            "rounding": f"{rounding:f}",
        }
    }
    return postings, recipe
