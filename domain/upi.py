"""UPI, India's instant payments: addresses, and what the scheme allows whom, as data with the day it took effect.

A day is a day in India (UTC+5:30), and everything is in INR. Amounts are paise.

Sources of the limits: NPCI's circulars and FAQ as public pages tell them, named in each row. They change; banks and
apps set smaller ones, which only they know and answer with Z7 and Z8. Merchant categories that NPCI allows more (taxes,
hospitals, capital markets: 2 to 5 lakh) are not here: those payments are refused by these limits.
"""

import re
from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta, timezone
from enum import StrEnum
from typing import Final

from msgspec import Struct

from domain.rail import Operation

IST: Final = timezone(timedelta(hours=5, minutes=30), "IST")
CURRENCY: Final = "INR"
LAKH: Final = 10_000_000
"""Paise in 100,000 rupees."""
COOLING: Final = timedelta(hours=24)
"""How long a user is new. Source: NPCI, cooling period after registration or a new device."""

BY_LINK: Final = frozenset({"intent", "qr"})
"""The flows in which the payer's own app is given a link; every other begins with a request to the payer's address."""

_ADDRESS = re.compile(r"([A-Za-z0-9][A-Za-z0-9.\-_]{0,199})@([A-Za-z][A-Za-z0-9.\-]{1,49})", re.ASCII)


class Kind(StrEnum):
    """Who pays whom, and who asks: a person (P), a merchant (M)."""

    P2P = "p2p"
    P2M = "p2m"
    M2P = "m2p"
    P2P_COLLECT = "p2p_collect"
    """A person asks a person to pay."""
    P2M_COLLECT = "p2m_collect"
    """A merchant asks a person to pay."""
    LITE_TOP_UP = "lite_top_up"
    """A person fills the wallet of UPI Lite from their own account."""


class User(StrEnum):
    """What the one who pays is to the scheme."""

    STANDARD = "standard"
    NEW = "new"
    """In the first 24 hours."""
    LITE = "lite"
    """Pays from the wallet on the phone, without a PIN."""
    FEATURE_PHONE = "feature_phone"
    """UPI 123PAY."""
    CIRCLE_FULL = "circle_full"
    """Pays from another's account, who allowed it once for all."""
    CIRCLE_FULL_NEW = "circle_full_new"
    """The same, in the first 24 hours."""
    CIRCLE_PARTIAL = "circle_partial"
    """Pays from another's account, who approves each payment with their PIN."""
    MERCHANT = "merchant"


class Limits(Struct, frozen=True, kw_only=True):
    """What these users may do in these kinds of payment from a day on; None: the scheme sets no such limit.

    Args:
        effective_from: The first day in India.
        enabled: False: it is not offered any more.
        per_payment, per_day, per_month: Paise. `count_per_day`: payments.
        source: Who said so, publicly.
    """

    kinds: frozenset[Kind]
    users: frozenset[User]
    effective_from: date
    enabled: bool = True
    per_payment: int | None = None
    per_day: int | None = None
    count_per_day: int | None = None
    per_month: int | None = None
    source: str


_BEGINNING = date(2016, 8, 25)
_PAYING = frozenset({Kind.P2P, Kind.P2M, Kind.P2M_COLLECT})
_ORDINARY = frozenset({User.STANDARD, User.CIRCLE_PARTIAL})

LIMITS: Final[Sequence[Limits]] = (
    Limits(
        kinds=frozenset({Kind.P2P}),
        users=_ORDINARY,
        effective_from=_BEGINNING,
        per_payment=LAKH,
        per_day=LAKH,
        count_per_day=20,
        source="NPCI, UPI FAQ: 1 lakh a payment and a day, 20 payments to persons in 24 hours",
    ),
    Limits(
        kinds=frozenset({Kind.P2M, Kind.P2M_COLLECT}),
        users=_ORDINARY,
        effective_from=_BEGINNING,
        per_payment=LAKH,
        per_day=LAKH,
        source="NPCI, UPI FAQ: 1 lakh a payment and a day to merchants of ordinary categories",
    ),
    Limits(
        kinds=frozenset({Kind.P2P_COLLECT}),
        users=_ORDINARY,
        effective_from=_BEGINNING,
        per_payment=200_000,
        source="NPCI: collect requests between persons up to 2,000",
    ),
    Limits(
        kinds=frozenset({Kind.P2P_COLLECT}),
        users=frozenset(User),
        effective_from=date(2025, 10, 1),
        enabled=False,
        source="NPCI circular of 2025-07-29: collect requests between persons end",
    ),
    Limits(
        kinds=_PAYING,
        users=frozenset({User.NEW}),
        effective_from=_BEGINNING,
        per_payment=500_000,
        per_day=500_000,
        source="NPCI: 5,000 in the first 24 hours",
    ),
    Limits(
        kinds=frozenset({Kind.P2P, Kind.P2M}),
        users=frozenset({User.LITE}),
        effective_from=date(2022, 9, 20),
        per_payment=50_000,
        per_day=400_000,
        source="RBI, small value digital payments in offline mode: 500 a payment, 4,000 a day",
    ),
    Limits(
        kinds=frozenset({Kind.P2P, Kind.P2M}),
        users=frozenset({User.LITE}),
        effective_from=date(2025, 2, 27),
        per_payment=100_000,
        source="NPCI circular of 2025-02-27: 1,000 a payment, 5,000 in the wallet",
    ),
    Limits(
        kinds=frozenset({Kind.LITE_TOP_UP}),
        users=_ORDINARY,
        effective_from=date(2025, 2, 27),
        per_payment=500_000,
        count_per_day=5,
        source="NPCI circulars of 2024-08-27 and 2025-02-27: up to the 5,000 of the wallet, five times a day",
    ),
    Limits(
        kinds=frozenset({Kind.P2P, Kind.P2M}),
        users=frozenset({User.FEATURE_PHONE}),
        effective_from=date(2022, 3, 8),
        per_payment=500_000,
        per_day=LAKH,
        source="RBI, UPI 123PAY: 5,000 a payment",
    ),
    Limits(
        kinds=frozenset({Kind.P2P, Kind.P2M}),
        users=frozenset({User.FEATURE_PHONE}),
        effective_from=date(2024, 10, 9),
        per_payment=1_000_000,
        per_day=LAKH,
        source="RBI, statement of 2024-10-09: 10,000 a payment",
    ),
    Limits(
        kinds=frozenset({Kind.P2P, Kind.P2M}),
        users=frozenset({User.CIRCLE_FULL}),
        effective_from=date(2024, 8, 13),
        per_payment=500_000,
        per_month=1_500_000,
        source="NPCI, UPI Circle, full delegation: 5,000 a payment, 15,000 a month (one public page says 25,000)",
    ),
    Limits(
        kinds=frozenset({Kind.P2P, Kind.P2M}),
        users=frozenset({User.CIRCLE_FULL_NEW}),
        effective_from=date(2024, 8, 13),
        per_payment=500_000,
        per_day=500_000,
        per_month=1_500_000,
        source="NPCI, UPI Circle, full delegation: 5,000 in the first 24 hours",
    ),
    Limits(
        kinds=frozenset({Kind.M2P}),
        users=frozenset({User.MERCHANT}),
        effective_from=_BEGINNING,
        per_payment=LAKH,
        source="NPCI, UPI FAQ: 1 lakh a payment",
    ),
)


class Address(Struct, frozen=True):
    """A virtual payment address, `name@handle`, in small letters: they mean the same in capitals."""

    name: str
    handle: str

    def __str__(self) -> str:
        return f"{self.name}@{self.handle}"


class Holder(Struct, frozen=True, kw_only=True):
    """Whose an address is. `account`: `savings`, `current`, or what else their bank calls it, in small letters."""

    address: Address
    name: str
    merchant: bool
    account: str


def address(text: str) -> Address:
    """Read an address.

    Source: NPCI, UPI Linking Specifications 1.6, on `pa`: letters, digits, `.`, `-` and, before the `@`, `_`.

    Raises:
        ValueError: It is none.
    """
    found = _ADDRESS.fullmatch(text)
    if found is None:
        raise ValueError(f"not a UPI address: {text[:60]!r}")
    return Address(found[1].lower(), found[2].lower())


def day_of(moment: datetime) -> date:
    """The day in India."""
    assert moment.tzinfo is not None, moment
    return moment.astimezone(IST).date()


def bounds(day: date) -> tuple[datetime, datetime]:
    """When a day in India begins, and when the next one does, in UTC."""
    begin = datetime.combine(day, time(), IST).astimezone(UTC)
    return begin, begin + timedelta(days=1)


def user_at(user: User, *, since: datetime, now: datetime) -> User:
    """What a user is now who became one `since` then: for the first 24 hours, a new one."""
    if now - since >= COOLING:
        return user
    return {User.STANDARD: User.NEW, User.CIRCLE_FULL: User.CIRCLE_FULL_NEW}.get(user, user)


def kind_of(operation: Operation, flow: str) -> Kind:
    """What a merchant's instruction is to the scheme; `flow` as in `domain.rail.UpiAddress`."""
    if operation is Operation.COLLECT:
        return Kind.P2M if flow in BY_LINK else Kind.P2M_COLLECT
    return Kind.M2P


def limits_for(kind: Kind, user: User, day: date, limits: Sequence[Limits] = LIMITS) -> Limits | None:
    """What holds on that day: of the rows that fit, the latest; None if there is none."""
    fit = [row for row in limits if kind in row.kinds and user in row.users and row.effective_from <= day]
    return max(fit, key=lambda row: row.effective_from, default=None)


def most(operation: Operation, flow: str, now: datetime, limits: Sequence[Limits] = LIMITS) -> int | None:
    """What the scheme lets an ordinary user pay by a merchant's instruction at once, paise; None: without limit.

    Whether they are one, and what they paid in the same day, only their bank knows.
    """
    kind = kind_of(operation, flow)
    user = User.MERCHANT if kind is Kind.M2P else User.STANDARD
    row = limits_for(kind, user, day_of(now), limits)
    return 0 if row is None or not row.enabled else row.per_payment


def allowed(
    kind: Kind,
    user: User,
    *,
    amount: int,
    spent_today: int,
    count_today: int,
    now: datetime,
    spent_this_month: int = 0,
    limits: Sequence[Limits] = LIMITS,
) -> str | None:
    """Whether the scheme lets the one who pays do this; None, or the reason why not.

    Args:
        amount, spent_today, spent_this_month: Paise; what was spent is what the same user paid in the same day or month
            in India, in any kind of payment that has the limit.
        count_today: Payments, without this one.

    Returns:
        `not_permitted`: this kind is not for this user, or not any more. `payment_limit_exceeded`,
        `daily_limit_exceeded`, `daily_count_exceeded`, `monthly_limit_exceeded`.
    """
    assert amount >= 1, amount
    row = limits_for(kind, user, day_of(now), limits)
    if row is None or not row.enabled:
        return "not_permitted"
    if row.per_payment is not None and amount > row.per_payment:
        return "payment_limit_exceeded"
    if row.per_day is not None and spent_today + amount > row.per_day:
        return "daily_limit_exceeded"
    if row.count_per_day is not None and count_today >= row.count_per_day:
        return "daily_count_exceeded"
    if row.per_month is not None and spent_this_month + amount > row.per_month:
        return "monthly_limit_exceeded"
    return None
