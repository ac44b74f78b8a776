"""A rail: what is asked of it, what it may answer, and what each of its answers means for the payment.

Every instruction bears a request id of its own, under which a rail does one thing at most, however often it is asked,
and can be asked what became of it. An answer that did not come says nothing: the outcome is unknown until it is known.
"""

from datetime import datetime
from enum import StrEnum

from msgspec import Struct


class Rail(StrEnum):
    CARD = "card"
    ACH = "ach"
    WIRE = "wire"
    UPI = "upi"


class Operation(StrEnum):
    """What a rail can be asked to do."""

    AUTHORIZE = "authorize"
    """Promise an amount."""
    INCREMENT = "increment"
    """Promise more upon an authorization."""
    CAPTURE = "capture"
    """Claim some or all of what was authorized."""
    VOID = "void"
    """Give up what was authorized and not captured."""
    COLLECT = "collect"
    """Take an amount from the payer in one step."""
    REFUND = "refund"
    """Give back some or all of what was captured or collected."""
    PAYOUT = "payout"
    """Send an amount to a payee."""
    REVERSE = "reverse"
    """Undo a whole collection, capture or payout that should not have been."""
    CONTEST = "contest"
    """Answer a dispute with evidence."""


class Card(Struct, frozen=True, kw_only=True, tag="card", tag_field="type"):
    """A card, known by its token alone. `expires`: year and month, `2030-12`."""

    token: str
    brand: str
    last4: str
    expires: str


class BankAccount(Struct, frozen=True, kw_only=True, tag="bank_account", tag_field="type"):
    """An account at a bank of the United States. `routing_number`: nine digits, the last a check digit."""

    routing_number: str
    account_number: str
    holder: str
    savings: bool = False
    company: bool = False


class Iban(Struct, frozen=True, kw_only=True, tag="iban", tag_field="type"):
    """An account at a bank that takes ISO 20022 messages."""

    iban: str
    bic: str
    holder: str
    country: str


class UpiAddress(Struct, frozen=True, kw_only=True, tag="upi", tag_field="type"):
    """A virtual payment address, `name@handle`. `flow`: how the payer is asked."""

    vpa: str
    holder: str = ""
    flow: str = "collect"


Method = Card | BankAccount | Iban | UpiAddress

RAIL_OF = {Card: Rail.CARD, BankAccount: Rail.ACH, Iban: Rail.WIRE, UpiAddress: Rail.UPI}


class Instruction(Struct, frozen=True, kw_only=True):
    """What a rail is asked to do. It holds all that is needed to ask again, byte for byte.

    Args:
        request_id: What the rail is to know it by, for ever: 22 letters and digits.
        route: One of the ways the rail can be reached: an acquirer, a bank.
        amount: Minor units of `currency`, at least 1.
        original: The rail's own reference of what this is upon: the authorization that is captured or voided, the
            capture that is refunded. Empty for what begins.
        original_request_id: The request id of that.
        sent_at: When it was decided; dates and times in messages are made from it, never from a clock.
        descriptor: What the payer or payee is to read on their statement.
        evidence: What a dispute is answered with, by name; `original` is then the dispute's own reference.
    """

    request_id: str
    operation: Operation
    rail: Rail
    route: str
    amount: int
    currency: str
    method: Method
    sent_at: datetime
    original: str = ""
    original_request_id: str = ""
    descriptor: str = ""
    final: bool = False
    evidence: dict[str, str] = {}


class Retry(StrEnum):
    """What may be done after a no."""

    NEVER = "never"
    LATER = "later"
    ELSEWHERE = "elsewhere"


class Approved(Struct, frozen=True, kw_only=True, tag="approved", tag_field="answer"):
    """Done. What the rail says it did is checked against what it was asked.

    Args:
        reference: The rail's own, to be named in what is done upon it.
        code: The rail's own answer code; `authorization`: the issuer's approval code, where there is one.
        settles_on: The day the money moves, as `YYYY-MM-DD`, where the rail says it.
    """

    reference: str
    amount: int
    currency: str
    code: str
    authorization: str = ""
    settles_on: str = ""


class Declined(Struct, frozen=True, kw_only=True, tag="declined", tag_field="answer"):
    """Not done, and never will be under this request id. `code`: the rail's own; `reason`: ours, of all rails.

    `unasked`: nothing of it left this process. It is a no only as long as no other process may have asked.
    """

    code: str
    reason: str
    message: str
    retry: Retry
    unasked: bool = False


class Accepted(Struct, frozen=True, kw_only=True, tag="accepted", tag_field="answer"):
    """Taken, to be done or not later: the rail will say, or can be asked.

    `action`: what the payer has to do first, by `type`, with what they need for it and until when (`expires_at`).
    """

    reference: str
    code: str
    action: dict[str, str] = {}


class Unknown(Struct, frozen=True, kw_only=True, tag="unknown", tag_field="answer"):
    """No answer, or none that can be understood. It may have been done."""

    why: str


class NotFound(Struct, frozen=True, kw_only=True, tag="not_found", tag_field="answer"):
    """Asked what became of it, the rail has never heard of it, and would do it if it were asked now."""


Answer = Approved | Declined | Accepted | Unknown | NotFound
