"""The card network's messages: what is asked as bytes, and what the answer's fields say. No IO.

    0100 -> 0110  authorize, increment          0120 -> 0130  the same, as an advice: it was done, be told
    0200 -> 0210  collect, refund, pay out      0220 -> 0230  capture: an advice of what was authorized before
    0400 -> 0410  void, reverse                 0420 -> 0430  void of what nobody knows the outcome of
    0800 -> 0810  sign-on, echo

A repeat is the same message with 1 for the last digit of its type: the issuer that has done it answers what it did,
and the one that has not does it now. Trace number and reference come from the request id, so that nothing else differs.
Source: ISO 8583:1987, section 4.1 (message types), table 2 and 3 (fields), 4.4 (data elements).
"""

import re
import unicodedata
from collections.abc import Mapping
from datetime import UTC, date, datetime
from functools import lru_cache
from hashlib import blake2b
from typing import Final

from msgspec import Struct

from adapters.rails.card.codec import MTI, Fields, MessageMalformed, encode
from adapters.rails.card.declines import APPROVALS, UNDECIDED, declined
from domain.money import NUMERIC
from domain.rail import Answer, Approved, Card, Instruction, Operation, Unknown

AUTHORIZATION: Final = "0100"
AUTHORIZATION_ADVICE: Final = "0120"
FINANCIAL: Final = "0200"
FINANCIAL_ADVICE: Final = "0220"
REVERSAL: Final = "0400"
REVERSAL_ADVICE: Final = "0420"
NETWORK: Final = "0800"

PURCHASE: Final = "000000"
REFUND: Final = "200000"
PAYOUT: Final = "260000"
"""Processing codes, first two digits: goods and services; return of goods; original credit (Visa Direct's)."""

AMOUNT_MAX: Final = 10**12 - 1
"""What twelve digits hold, in minor units."""

SIGN_ON: Final = "001"
ECHO: Final = "301"

ORIGINAL_ID: Final = "01"
PURPOSE: Final = "02"
ADVICE: Final = "84"
"""Parts of the private data (48): two digits of tag, two of length, the value. The original's request id; `I` an
increment, `P` a capture more may follow, `F` the last capture; Mastercard's merchant advice."""

_PURPOSES: Final[Mapping[tuple[Operation, bool], str]] = {
    (Operation.INCREMENT, False): "I",
    (Operation.INCREMENT, True): "I",
    (Operation.CAPTURE, False): "P",
    (Operation.CAPTURE, True): "F",
}
_SAID: Final[Mapping[Operation, tuple[str, str]]] = {
    Operation.AUTHORIZE: (AUTHORIZATION, PURCHASE),
    Operation.INCREMENT: (AUTHORIZATION, PURCHASE),
    Operation.CAPTURE: (FINANCIAL_ADVICE, PURCHASE),
    Operation.VOID: (REVERSAL, PURCHASE),
    Operation.REVERSE: (REVERSAL, PURCHASE),
    Operation.COLLECT: (FINANCIAL, PURCHASE),
    Operation.REFUND: (FINANCIAL, REFUND),
    Operation.PAYOUT: (FINANCIAL, PAYOUT),
}
"""The message type and processing code that say each operation."""
_UPON: Final = frozenset({Operation.INCREMENT, Operation.CAPTURE, Operation.VOID, Operation.REFUND, Operation.REVERSE})

ENTRY_MODE: Final = "810"
"""Point of service: entered over the internet, no PIN. Source: ISO 8583:1987, element 22, as Mastercard reads it."""
CITY_SIZE: Final = 13
NAME_SIZE: Final = 25


class Acquirer(Struct, frozen=True, kw_only=True):
    """One way to the card networks, and as whom Daybook is known there.

    Args:
        route: Its name in Daybook.
        number: The acquirer's own, up to eleven digits (32).
        terminal, merchant: The terminal's and the card acceptor's, up to 8 and 15 letters and digits (41, 42).
        category: Four digits, ISO 18245 (18).
        city, country: Of the card acceptor, the country as two letters (43).
        reports, disputes: Where the files of its days are, see `adapters.rails.reports`, and where disputes are
            answered, see `adapters.rails.desk`; empty where there are none.
    """

    route: str
    host: str
    port: int
    number: str
    terminal: str
    merchant: str
    category: str = "5734"
    city: str = "Internet"
    country: str = "US"
    reports: str = ""
    disputes: str = ""


class Reference(Struct, frozen=True):
    """What names a message in those that follow it: its own type, numbers and time, and the issuer's approval code."""

    mti: str
    stan: str
    sent: str
    rrn: str
    approval: str

    def __str__(self) -> str:
        return f"{self.rrn}.{self.approval}.{self.mti}.{self.stan}.{self.sent}"


_REFERENCE: Final = re.compile(r"([0-9A-Z]{12})\.([0-9A-Z]{0,6})\.([0-9]{4})\.([0-9]{6})\.([0-9]{10})", re.ASCII)


def read_reference(text: str) -> Reference:
    """What `Approved.reference` holds.

    Raises:
        MessageMalformed: It is none of this rail's.
    """
    match = _REFERENCE.fullmatch(text)
    if match is None:
        raise MessageMalformed("the original's reference is none of a card's")
    rrn, approval, mti, stan, sent = match.groups()
    return Reference(mti, stan, sent, rrn, approval)


class Asked(Struct, frozen=True):
    """A message to send, and what its answer is known by. `expected`: the answer's fields as they must be."""

    message: bytes
    key: str
    fields: Fields
    sent_at: datetime

    def __repr__(self) -> str:
        """Without the card's number, wherever it may be shown."""
        return f"Asked({self.fields[MTI]}, {self.key})"

    @property
    def repeated(self) -> bytes:
        """The same, as a repeat."""
        return self.message[:3] + b"1" + self.message[4:]


def ask(instruction: Instruction, number: str, acquirer: Acquirer) -> Asked:
    """The message that asks for this, of the card with this number; the same for the same arguments.

    Raises:
        MessageMalformed: It cannot be said in a message: it is upon nothing, a reference is none, a field too long.
    """
    card = instruction.method
    assert isinstance(card, Card), card
    assert 1 <= instruction.amount <= AMOUNT_MAX, instruction.amount
    mti, processing = _SAID[instruction.operation]
    # Without what it is upon, an increment would read as another authorization.
    if not instruction.original_request_id and instruction.operation in _UPON:
        raise MessageMalformed(f"no original to {instruction.operation}")
    if not instruction.original and instruction.operation in _UPON - {Operation.VOID}:
        raise MessageMalformed(f"no original's reference to {instruction.operation}")
    upon = read_reference(instruction.original) if instruction.original else None
    if instruction.operation is Operation.VOID and upon is None:
        mti = REVERSAL_ADVICE
    sent = instruction.sent_at.astimezone(UTC)
    stan, rrn = traced(instruction.request_id, sent)
    date, time = f"{sent.month:02}{sent.day:02}", f"{sent.hour:02}{sent.minute:02}{sent.second:02}"
    fields = {
        MTI: mti,
        2: number,
        3: processing,
        4: f"{instruction.amount:012}",
        7: date + time,
        11: stan,
        12: time,
        13: date,
        14: card.expires[2:4] + card.expires[5:7],
        18: acquirer.category,
        22: ENTRY_MODE,
        32: acquirer.number,
        37: rrn,
        41: acquirer.terminal.ljust(8),
        42: acquirer.merchant.ljust(15),
        43: acceptor(instruction.descriptor, acquirer),
        49: NUMERIC[instruction.currency],
        62: instruction.request_id,
    }
    if instruction.original_request_id:
        purpose = _PURPOSES.get((instruction.operation, instruction.final), "")
        fields[48] = private({ORIGINAL_ID: instruction.original_request_id, PURPOSE: purpose})
        fields[90] = original_data(upon, instruction.original_request_id, acquirer)
    if upon is not None and upon.approval:
        fields[38] = upon.approval.ljust(6)
    return Asked(encode(fields), key_of(fields), fields, sent)


def manage(what: str, stan: int, now: datetime, acquirer: Acquirer) -> Asked:
    """Network management: `SIGN_ON` or `ECHO`. `stan`: any number; its last six digits are taken."""
    fields = {
        MTI: NETWORK,
        7: f"{now:%m%d%H%M%S}",
        11: f"{stan % 10**6:06}",
        32: acquirer.number,
        41: acquirer.terminal.ljust(8),
        42: acquirer.merchant.ljust(15),
        70: what,
    }
    return Asked(encode(fields), key_of(fields), fields, now)


_CHARACTERS: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_PAIRS: Final = tuple(a + b for a in _CHARACTERS for b in _CHARACTERS)


def traced(request_id: str, sent: datetime) -> tuple[str, str]:
    """The trace number (11) and retrieval reference number (37) of a request id, sent at that time, UTC.

    A reference is the year's last digit, the day of the year, the hour, and six letters or digits, as the networks have
    it. Trace number and those six come from different bits: two requests of one hour share both once in 10**15 times.
    """
    digest = int.from_bytes(blake2b(request_id.encode(), digest_size=10).digest())
    digest, stan = divmod(digest, 999_999)
    digest, a = divmod(digest, 1296)
    digest, b = divmod(digest, 1296)
    day = sent.toordinal() - date(sent.year, 1, 1).toordinal() + 1
    rrn = f"{sent.year % 10}{day:03}{sent.hour:02}{_PAIRS[a]}{_PAIRS[b]}{_PAIRS[digest % 1296]}"
    return f"{stan + 1:06}", rrn


def key_of(fields: Mapping[int, str]) -> str:
    """What a message and its answer share: trace number, reference, time."""
    return fields.get(11, "") + fields.get(37, "") + fields.get(7, "")


def answer_type(mti: str) -> str:
    """`0110` for `0100` and `0101`, `0230` for `0220`. For requests and advices only."""
    return f"{mti[:2]}{int(mti[2]) + 1}0"


def original_data(upon: Reference | None, request_id: str, acquirer: Acquirer) -> str:
    """Element 90: the original's type, trace number and time, acquirer, forwarder; zeros for what is not known."""
    if upon is None:
        return f"{AUTHORIZATION}{traced(request_id, _ANY_TIME)[0]}{'0' * 10}{acquirer.number:0>11}{'0' * 11}"
    return f"{upon.mti}{upon.stan}{upon.sent}{acquirer.number:0>11}{'0' * 11}"


_ANY_TIME: Final = datetime(2000, 1, 1, tzinfo=UTC)


def acceptor(descriptor: str, acquirer: Acquirer) -> str:
    """Element 43: 25 characters of what the cardholder is to read, 13 of city, 2 of country, in plain ASCII."""
    name = _plain(descriptor or acquirer.merchant)
    return f"{name[:NAME_SIZE]:25}{_plain(acquirer.city)[:CITY_SIZE]:13}{acquirer.country:2.2}"


def _plain(text: str) -> str:
    if not text.isascii():
        text = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return text if text.isprintable() else "".join(c for c in text if c.isprintable())


def private(parts: Mapping[str, str]) -> str:
    """Element 48: its parts that are not empty."""
    return "".join(f"{tag}{len(value):02}{value}" for tag, value in parts.items() if value)


def read_private(text: str) -> dict[str, str]:
    """The parts of element 48; what follows a part that cannot be read is left out."""
    parts, at = {}, 0
    while at + 4 <= len(text) and text[at : at + 4].isdigit():
        size = int(text[at + 2 : at + 4])
        parts[text[at : at + 2]] = text[at + 4 : at + 4 + size]
        at += 4 + size
    return parts


def read_answer(asked: Asked, fields: Mapping[int, str], currency: str) -> Answer:
    """What the answer says, once it is known to be the answer to this; Unknown where it does not fit what was asked."""
    odd = _odd(asked.fields, fields)
    if odd:
        return Unknown(why=odd)
    code = fields.get(39, "")
    if code in APPROVALS:
        return _approved(asked, fields, currency)
    if code in UNDECIDED:
        return Unknown(why=f"answered {code}: {UNDECIDED[code]}")
    if not _CODE.fullmatch(code):
        return Unknown(why="answered without an answer code")
    return declined(code, read_private(fields.get(48, "")).get(ADVICE, ""))


_CODE: Final = re.compile(r"[0-9A-Z]{2}", re.ASCII)
_APPROVAL: Final = re.compile(r"[0-9A-Z]{0,6}", re.ASCII)
_SAME: Final = {3: "processing code", 4: "amount", 49: "currency", 37: "reference", 62: "request id"}


def _odd(asked: Mapping[int, str], fields: Mapping[int, str]) -> str:
    """How the answer contradicts what was asked; empty where it does not. What is not said contradicts nothing."""
    if fields[MTI] != answer_type(asked[MTI]):
        return f"answered with a message {fields[MTI]} to {asked[MTI]}"
    for number, name in _SAME.items():
        said = fields.get(number, asked[number])
        if said != asked[number]:
            return f"answered with the {name} {said[:40]!r} to {asked[number]!r}"
    if fields.get(2, asked[2])[-4:] != asked[2][-4:]:
        return "answered for another card"
    return ""


def _approved(asked: Asked, fields: Mapping[int, str], currency: str) -> Answer:
    if 4 not in fields or 49 not in fields:
        return Unknown(why="approved without an amount or a currency")
    mine, approval = asked.fields, fields.get(38, "").strip()
    if not _APPROVAL.fullmatch(approval):
        return Unknown(why="approved with an approval code that is none")
    return Approved(
        reference=str(Reference(mine[MTI], mine[11], mine[7], mine[37], approval)),
        amount=int(fields[4]),
        currency=currency,
        code=fields[39],
        authorization=approval,
        settles_on=settlement_day(fields.get(15, ""), asked.sent_at.date()),
    )


@lru_cache(maxsize=64)
def settlement_day(said: str, sent: date) -> str:
    """Element 15, month and day, as `YYYY-MM-DD` in the year nearest to when it was asked; empty where it is no day."""
    if not re.fullmatch(r"[0-9]{4}", said, re.ASCII):
        return ""
    days = []
    for year in (sent.year - 1, sent.year, sent.year + 1):
        try:
            days.append(date(year, int(said[:2]), int(said[2:])))
        except ValueError:
            continue
    return min(days, key=lambda day: abs(day - sent)).isoformat() if days else ""
