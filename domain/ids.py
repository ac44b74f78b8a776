"""Names of things: UUIDs inside, TypeIDs (`acc_01h455vb4pex5vsknk084sn02q`) wherever people and programs see them.

Source: TypeID specification 0.3.0 (prefix, underscore, 128 bits as 26 characters of Crockford's base 32, lower case).
"""

from datetime import date
from functools import lru_cache
from typing import Final
from uuid import UUID, uuid5

ACCOUNT: Final = "acc"
BOOK: Final = "book"
ENTRY: Final = "je"
ESCROW: Final = "esc"
HOLD: Final = "hold"
PAYMENT: Final = "pay"
SETTLEMENT: Final = "set"
DISPUTE: Final = "dp"

PREFIX_OF_FIELD: Final = {
    "account_id": ACCOUNT,
    "beneficiary_id": ACCOUNT,
    "book_id": BOOK,
    "depositor_id": ACCOUNT,
    "entry_id": ENTRY,
    "escrow_id": ESCROW,
    "hold_id": HOLD,
    "payment_id": PAYMENT,
    "settlement_id": SETTLEMENT,
    "dispute_id": DISPUTE,
}
"""Which kind of thing a field of that name holds: how a bare UUID in an event or a refusal is shown."""

_ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"
_VALUE: Final = {letter: value for value, letter in enumerate(_ALPHABET)}
_PAIRS: Final = [a + b for a in _ALPHABET for b in _ALPHABET]
_BASE62: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_DAYBOOK: Final = UUID("0199b0cc-9f2e-7f6e-a5a4-6b1d1c5f2a10")


@lru_cache(maxsize=50_000)  # What is shown is shown again: accounts and books in every entry.
def show(prefix: str, uuid: UUID) -> str:
    """The TypeID of a UUID."""
    bits = uuid.int
    return f"{prefix}_" + "".join([_PAIRS[bits >> shift & 1023] for shift in range(120, -1, -10)])


def base32(bits: int, digits: int) -> str:
    """So many digits of a number in the alphabet of TypeIDs, which sorts as the numbers do."""
    return "".join([_ALPHABET[bits >> shift & 31] for shift in range(5 * digits - 5, -1, -5)])


def parse(prefix: str, text: str) -> UUID:
    """The UUID in a TypeID of that kind.

    Raises:
        ValueError: Another kind, another length, another alphabet, or more than 128 bits.
    """
    kind, _, suffix = text.rpartition("_")
    if kind != prefix or len(suffix) != 26 or suffix[0] > "7":
        raise ValueError(f"not an id of the kind {prefix}_")
    bits = 0
    for letter in suffix:
        value = _VALUE.get(letter)
        if value is None:
            raise ValueError(f"not an id of the kind {prefix}_")
        bits = bits << 5 | value
    return UUID(int=bits)


@lru_cache(maxsize=1_000)
def book_id(code: str) -> UUID:
    """A book is named by its code, so a code is given once for ever."""
    return uuid5(_DAYBOOK, f"book:{code}")


@lru_cache(maxsize=100_000)
def account_id(book: UUID, code: str) -> UUID:
    """An account is named by its book and code, so a code in a book is given once for ever."""
    return uuid5(book, f"account:{code}")


def command_id(scope: UUID, kind: str, key: str) -> UUID:
    """What an Idempotency-Key names: one command of that kind, within a book or upon one thing (the scope).

    A command that creates a journal entry gives the entry this id.
    """
    return uuid5(scope, f"{kind}:{key}")


def settlement_id(book: UUID, rail: str, route: str, day: date, currency: str, part: int) -> UUID:
    """A part of a route's day in one currency is named by just that, so it is booked once for ever."""
    return uuid5(book, f"settlement:{rail}:{route}:{day.isoformat()}:{currency}:{part}")


def dispute_id(payment_id: UUID, reference: str) -> UUID:
    """A dispute is named by the rail's own reference of it."""
    return uuid5(payment_id, f"dispute:{reference}")


def request_id(uuid: UUID) -> str:
    """What a rail is to know a request by: 128 bits as 22 letters and digits, which every rail's format can carry."""
    bits, digits = uuid.int, []
    for _ in range(22):
        bits, digit = divmod(bits, 62)
        digits.append(_BASE62[digit])
    return "".join(reversed(digits))
