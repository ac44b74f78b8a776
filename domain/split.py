"""Splits: an amount taken from several sources in order and given to several destinations, to the last minor unit."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from fractions import Fraction
from itertools import chain, repeat
from uuid import UUID

from msgspec import Struct

from domain.account import Account, balance
from domain.errors import AccountNotFound, CurrencyMismatch, SourcesDiffer, SourcesInsufficient, SplitImpossible
from domain.posting import ZERO, Posting, Totals


class Source(Struct, frozen=True):
    """`maximum` is in minor units; None takes whatever the account's limits allow."""

    account_id: UUID
    maximum: int | None = None


class Destination(Struct, frozen=True):
    """Given `amount` (minor units), or `share` of the whole, or, with neither, what remains."""

    account_id: UUID
    amount: int | None = None
    share: Fraction | None = None


def split(
    accounts: Mapping[UUID, Account],
    totals: Mapping[UUID, Totals],
    *,
    amount: int,
    currency: str,
    sources: Sequence[Source],
    destinations: Sequence[Destination],
    now: datetime,
) -> list[Posting]:
    """Work the postings out; one per account that gets or gives at least 1.

    Args:
        sources: At least one; each gives what its maximum and its limits allow before the next is asked.
        destinations: At least one; at most one without amount and share.

    Raises:
        AccountNotFound, CurrencyMismatch: Of any account named, even one that would get or give nothing.
        SourcesDiffer: Not all sources fall on the same side.
        SourcesInsufficient: They do not come to the amount.
        SplitImpossible: The destinations do not come to the amount, or to more.
    """
    for name in chain((one.account_id for one in sources), (one.account_id for one in destinations)):
        account = accounts.get(name)
        if account is None:
            raise AccountNotFound(name)
        if account.currency != currency:
            raise CurrencyMismatch(account.id, currency, account.currency)
    given = _taken(accounts, totals, amount, currency, sources, now)
    falls = accounts[sources[0].account_id].type.normal_side.other
    received = _assigned(amount, currency, destinations)
    taking = zip((source.account_id for source in sources), repeat(falls), given, strict=False)
    giving = zip((destination.account_id for destination in destinations), repeat(falls.other), received, strict=False)
    return [Posting(name, side, part, currency) for name, side, part in chain(taking, giving) if part]


def _taken(
    accounts: Mapping[UUID, Account],
    totals: Mapping[UUID, Totals],
    amount: int,
    currency: str,
    sources: Sequence[Source],
    now: datetime,
) -> list[int]:
    known = [accounts[source.account_id] for source in sources]
    if len({account.type.normal_side for account in known}) > 1:
        raise SourcesDiffer([account.id for account in known])
    left, parts = amount, []
    seen: dict[UUID, int] = {}
    for source, account in zip(sources, known, strict=True):
        lowest = account.limits_at(now).lowest
        part = left if source.maximum is None else min(left, source.maximum)
        if lowest is not None:
            available = balance(account.type, totals.get(account.id, ZERO)).available
            part = min(part, max(available - lowest[2] - seen.get(account.id, 0), 0))
        seen[account.id] = seen.get(account.id, 0) + part
        parts.append(part)
        left -= part
    if left:
        raise SourcesInsufficient(currency, amount, amount - left)
    return parts


def _assigned(amount: int, currency: str, destinations: Sequence[Destination]) -> list[int]:
    shares = [destination.share for destination in destinations if destination.share is not None]
    fixed = sum(destination.amount or 0 for destination in destinations)
    takes_rest = any(destination.amount is None and destination.share is None for destination in destinations)
    of_shares = amount * sum(shares, Fraction(0))
    assigned = fixed + of_shares
    if assigned > amount or (assigned != amount and not takes_rest):
        raise SplitImpossible(currency, amount, int(assigned))
    parts = iter(allocate(int(of_shares), shares))
    rest = amount - fixed - int(of_shares)
    return [
        destination.amount if destination.amount is not None else rest if destination.share is None else next(parts)
        for destination in destinations
    ]


def allocate(amount: int, weights: Sequence[Fraction | int]) -> list[int]:
    """Divide by weight, exactly: the units that do not divide go to the largest fractions, the first of equals first.

    `allocate(100, [1, 1, 1])` is `[34, 33, 33]`.
    """
    whole = sum(weights, Fraction(0))
    if not weights or whole == 0:
        assert amount == 0, (amount, weights)
        return [0] * len(weights)
    exact = [amount * Fraction(weight) / whole for weight in weights]
    parts = [int(part) for part in exact]
    by_fraction = sorted(range(len(parts)), key=lambda index: (parts[index] - exact[index], index))
    for index in by_fraction[: amount - sum(parts)]:
        parts[index] += 1
    return parts
