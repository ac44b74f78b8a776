"""What an answer code (field 39) means, and what may be done after a no: data, and how it is looked up.

Sources: ISO 8583:1987, annex A, for the codes. For who may be asked again: Visa, "Decline response code rules" (Visa
Core Rules and Visa Product and Service Rules, 2021 on): category 1, the issuer will never approve, no new attempt;
category 2, it cannot approve now, up to 15 attempts in 30 days; category 3, not with these details, so never with the
same ones. And Mastercard, "Transaction Processing Excellence" and merchant advice codes (DE 48, subelement 84), which
go before the answer code. Where Visa would allow more than is wise (59, suspected fraud), the table is stricter.
"""

from collections.abc import Mapping
from typing import Final

from msgspec import Struct

from domain.rail import Declined, Retry

APPROVALS: Final = frozenset({"00", "08", "10", "11"})
"""Approved; with identification; in part, which the amount then shows; for a very important person."""

UNDECIDED: Final[Mapping[str, str]] = {
    "09": "the request is still in progress",
    "68": "the network's own time ran out",
    "94": "the network saw this before and does not say what came of it",
}
"""Answers that do not tell whether it was done."""


class Decline(Struct, frozen=True):
    """A row of the table: the answer code, the reason in the words of all rails, a sentence, and what may be done."""

    code: str
    reason: str
    message: str
    retry: Retry


_NEVER, _LATER, _ELSEWHERE = Retry.NEVER, Retry.LATER, Retry.ELSEWHERE

DECLINES: Final[tuple[Decline, ...]] = (
    Decline("01", "call_issuer", "The issuer wants to be called first.", _NEVER),
    Decline("02", "call_issuer", "The issuer wants to be called first, on a special condition.", _NEVER),
    Decline("03", "invalid_merchant", "The merchant is not known to the network by this number.", _ELSEWHERE),
    Decline("04", "pickup_card", "The card is to be kept.", _NEVER),
    Decline("05", "do_not_honor", "The issuer declined without saying why.", _LATER),
    Decline("06", "processing_error", "The issuer or the network made an error.", _ELSEWHERE),
    Decline("07", "pickup_card", "The card is to be kept, on a special condition.", _NEVER),
    Decline("12", "invalid_transaction", "What was asked is not possible with this card or payment.", _NEVER),
    Decline("13", "invalid_amount", "The amount is not one that can be asked for.", _NEVER),
    Decline("14", "invalid_card", "There is no such card.", _NEVER),
    Decline("15", "invalid_card", "There is no such issuer.", _NEVER),
    Decline("19", "try_again", "The issuer wants it entered again.", _LATER),
    Decline("21", "nothing_to_do", "There is nothing that could be undone.", _NEVER),
    Decline("25", "original_not_found", "What this is upon is not known.", _NEVER),
    Decline("30", "format_error", "The message is not as the network wants it.", _ELSEWHERE),
    Decline("39", "invalid_account", "The card has no credit account.", _NEVER),
    Decline("41", "lost_card", "The card was reported lost.", _NEVER),
    Decline("43", "stolen_card", "The card was reported stolen.", _NEVER),
    Decline("46", "account_closed", "The account is closed.", _NEVER),
    Decline("51", "insufficient_funds", "There is not enough money or credit.", _LATER),
    Decline("52", "invalid_account", "The card has no current account.", _NEVER),
    Decline("53", "invalid_account", "The card has no savings account.", _NEVER),
    Decline("54", "expired_card", "The card has expired.", _NEVER),
    Decline("55", "incorrect_pin", "The PIN is wrong.", _NEVER),
    Decline("57", "not_permitted", "The cardholder may not do this with the card.", _NEVER),
    Decline("58", "not_permitted_here", "The merchant or terminal may not do this.", _ELSEWHERE),
    Decline("59", "suspected_fraud", "The issuer suspects fraud.", _NEVER),
    Decline("61", "limit_exceeded", "The amount is above a limit of the card.", _LATER),
    Decline("62", "restricted_card", "The card cannot be used here.", _NEVER),
    Decline("63", "security_violation", "The issuer saw a violation of its security rules.", _NEVER),
    Decline("65", "limit_exceeded", "The card was used too often.", _LATER),
    Decline("70", "authentication_required", "The issuer wants the cardholder's PIN.", _NEVER),
    Decline("75", "incorrect_pin", "The PIN was wrong too often.", _LATER),
    Decline("78", "card_not_active", "The card is new and has not been activated, or is blocked.", _NEVER),
    Decline("82", "incorrect_cvc", "The card's security code is wrong.", _NEVER),
    Decline("86", "incorrect_pin", "The PIN cannot be verified.", _LATER),
    Decline("91", "issuer_unavailable", "The issuer or its processor cannot be reached.", _LATER),
    Decline("92", "network_unreachable", "The network does not find the way to the issuer.", _ELSEWHERE),
    Decline("93", "against_law", "It would break a law.", _NEVER),
    Decline("96", "system_malfunction", "A system on the way did not work.", _ELSEWHERE),
    Decline("1A", "authentication_required", "The issuer wants the cardholder to be authenticated.", _NEVER),
    Decline("N7", "incorrect_cvc", "The card's security code is wrong.", _NEVER),
    Decline("R0", "stop_payment", "The cardholder stopped this payment.", _NEVER),
    Decline("R1", "stop_payment", "The cardholder stopped all payments of this agreement.", _NEVER),
    Decline("R3", "stop_payment", "The cardholder stopped all payments to this merchant.", _NEVER),
)

BY_CODE: Final[Mapping[str, Decline]] = {row.code: row for row in DECLINES}

ADVICE: Final[Mapping[str, Retry]] = {
    "01": Retry.NEVER,  # New account information is there: not with this card as it is.
    "02": Retry.LATER,
    "03": Retry.NEVER,
    "04": Retry.NEVER,  # Requirements of the token are not met.
    "21": Retry.NEVER,  # The cardholder cancelled.
    **dict.fromkeys(("24", "25", "26", "27", "28", "29", "30"), Retry.LATER),  # After an hour to ten days.
}
"""What Mastercard's merchant advice says about new attempts. Source: Mastercard, merchant advice codes."""


def declined(code: str, advice: str = "") -> Declined:
    """The no that an answer code says; the network's advice goes before the table. A code of no table is a plain no."""
    row = BY_CODE.get(code) or Decline(code, "declined", "Declined with a code of no table.", Retry.LATER)
    return Declined(code=code, reason=row.reason, message=row.message, retry=ADVICE.get(advice, row.retry))


def unasked(reason: str, message: str, retry: Retry) -> Declined:
    """A no of our own: it was never sent, so nobody else gave it a code."""
    return Declined(code="", reason=reason, message=message, retry=retry, unasked=True)
