"""What a response code of UPI says of the money, and what may be done after a no: data, and how to look up.

Sources: NPCI, UPI Error and Response Codes 2.3.1 and 2.9, as public pages tell them (payment gateways' tables). Two
codes are read more carefully than a gateway does. U01, a duplicate: the first request under that id may have been done.
96, a failed reversal: one table calls it deemed, another failed.
"""

from collections.abc import Mapping
from typing import Final

from msgspec import Struct

from domain.rail import Declined, Retry

APPROVED: Final = "00"
NOT_FOUND: Final = "U04"

PENDING: Final[Mapping[str, str]] = {
    "01": "the payment is pending",
    "U09": "the payer's app has not answered yet",
}
"""Taken, to be done or not later."""

DEEMED: Final[Mapping[str, str]] = {
    "RB": "deemed: the credit timed out, and the payee may have the money",
    "BT": "deemed: the payee's bank took note and did not answer",
    "96": "a reversal failed, and the payer may have been debited",
    "32": "a reversal was done in part",
    "U01": "a request with this id came before, and may have been done",
    "U26": "the payee's app did not confirm that it took the credit",
    "U32": "the credit could not be reverted",
    "U33": "the debit could not be reverted",
    "U35": "an answer came before, and may have been another",
    "U36": "the request was sent before, and may have been done",
    "U67": "the debit timed out, and the payer may have been debited",
    "U68": "the credit timed out, and the payee may have the money",
    "U70": "an answer came too late",
}
"""Credited, debited, or not: nobody knows yet. Never a no."""


class Decline(Struct, frozen=True):
    """A row of the table: the code, the reason in the words of all rails, a sentence, and what may be done."""

    code: str
    reason: str
    message: str
    retry: Retry


_NEVER, _LATER, _ELSEWHERE = Retry.NEVER, Retry.LATER, Retry.ELSEWHERE

DECLINES: Final[tuple[Decline, ...]] = (
    Decline("ZA", "declined_by_payer", "The payer declined.", _NEVER),
    Decline("U69", "expired", "The payer did not answer in time.", _NEVER),
    Decline("U19", "declined_by_payer", "The payer's app declined to authorize it.", _NEVER),
    Decline("Z9", "insufficient_funds", "There is not enough money in the account.", _LATER),
    Decline("Z8", "limit_exceeded", "The amount is above what the bank allows in a payment.", _NEVER),
    Decline("Z7", "limit_exceeded", "The payer has paid as often as the bank allows in a day.", _LATER),
    Decline("Z6", "incorrect_pin", "The PIN was wrong too often.", _LATER),
    Decline("ZM", "incorrect_pin", "The PIN is wrong.", _NEVER),
    Decline("B1", "invalid_account", "The telephone number of the account has changed.", _NEVER),
    Decline("B3", "not_permitted", "The account may not do this.", _NEVER),
    Decline("RNF", "original_not_found", "What this is upon is not known.", _NEVER),
    Decline("ZH", "invalid_address", "There is no such address.", _NEVER),
    Decline("ZG", "restricted_address", "The holder of the address does not allow this.", _NEVER),
    Decline("XD", "invalid_amount", "The payer's bank does not take this amount.", _NEVER),
    Decline("XE", "invalid_amount", "The payee's bank does not take this amount.", _NEVER),
    Decline("XI", "invalid_account", "The payee's account does not exist.", _NEVER),
    Decline("XY", "issuer_unavailable", "The payer's bank cannot be reached.", _LATER),
    Decline("Y1", "issuer_unavailable", "The payee's bank cannot be reached.", _LATER),
    Decline("YE", "account_frozen", "The payer's account is blocked or frozen.", _NEVER),
    Decline("YF", "account_frozen", "The payee's account is blocked or frozen.", _NEVER),
    Decline("ZX", "account_dormant", "The payer's account is inactive or dormant.", _NEVER),
    Decline("ZY", "account_dormant", "The payee's account is inactive or dormant.", _NEVER),
    Decline("K1", "suspected_fraud", "The payer's bank suspects fraud.", _NEVER),
    Decline("ZI", "suspected_fraud", "The payee's bank suspects fraud.", _NEVER),
    Decline("59", "suspected_fraud", "The payer's bank suspects fraud.", _NEVER),
    Decline("15", "issuer_unavailable", "The bank does not take part in UPI.", _NEVER),
    Decline("21", "returned", "It was not done, or taken back in full.", _LATER),
    Decline("U02", "limit_exceeded", "The amount is above what UPI allows in a payment.", _NEVER),
    Decline("U03", "limit_exceeded", "The bank has paid out as much as UPI allows it.", _LATER),
    Decline("U04", "original_not_found", "What was asked about is not known.", _NEVER),
    Decline("U06", "format_error", "The ids in the request do not match.", _NEVER),
    Decline("U10", "not_permitted", "UPI does not offer this any more.", _NEVER),
    Decline("U12", "invalid_amount", "Amount or currency do not match.", _NEVER),
    Decline("U16", "limit_exceeded", "The amount is too high a risk for this payer.", _LATER),
    Decline("U17", "network_unreachable", "The app is not registered with UPI.", _ELSEWHERE),
    Decline("U29", "invalid_address", "The address could not be resolved.", _NEVER),
    Decline("U30", "debit_failed", "The payer's bank did not debit the account.", _LATER),
    Decline("U31", "credit_failed", "The payee's bank did not credit the account.", _LATER),
)

BY_CODE: Final[Mapping[str, Decline]] = {row.code: row for row in DECLINES}


def declined(code: str) -> Declined:
    """The no that a code says. One of no table is a no, but nothing is tried again upon it without being asked."""
    row = BY_CODE.get(code) or Decline(code, "declined", "Declined with a code of no table.", Retry.NEVER)
    return Declined(code=code, reason=row.reason, message=row.message, retry=row.retry)


def unasked(reason: str, message: str, retry: Retry) -> Declined:
    """A no of our own: it was never sent, so nobody else gave it a code."""
    return Declined(code="", reason=reason, message=message, retry=retry, unasked=True)
