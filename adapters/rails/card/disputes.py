"""What a cardholder's dispute is about: the networks' reason codes, as data, and how they are looked up.

Sources: Visa, "Dispute Management Guidelines for Visa Merchants" (dispute conditions 10 to 13); Mastercard, "Chargeback
Guide, Merchant Edition" (message reason codes).
"""

from collections.abc import Mapping
from typing import Final

from msgspec import Struct


class Dispute(Struct, frozen=True):
    """A row of the table: the code, whose it is, the reason in the words of all rails, a sentence."""

    code: str
    network: str
    reason: str
    message: str


DISPUTES: Final[tuple[Dispute, ...]] = (
    Dispute("10.3", "visa", "fraudulent", "The cardholder did not take part in it, where the card was present."),
    Dispute("10.4", "visa", "fraudulent", "The cardholder did not take part in it, where the card was not present."),
    Dispute("10.5", "visa", "fraudulent", "Visa's fraud monitoring named it."),
    Dispute("11.1", "visa", "not_authorized", "The card was on a list of those not to be taken."),
    Dispute("11.2", "visa", "not_authorized", "The authorization had been declined."),
    Dispute("11.3", "visa", "not_authorized", "There was no authorization, or not for this."),
    Dispute("12.1", "visa", "processing_error", "It was presented too late."),
    Dispute("12.2", "visa", "processing_error", "The transaction code was wrong."),
    Dispute("12.3", "visa", "processing_error", "The currency was wrong."),
    Dispute("12.4", "visa", "processing_error", "The account number was wrong."),
    Dispute("12.5", "visa", "incorrect_amount", "The amount was wrong."),
    Dispute("12.6", "visa", "duplicate", "It was taken twice, or paid by other means."),
    Dispute("12.7", "visa", "processing_error", "Its data were not valid."),
    Dispute("13.1", "visa", "not_received", "Goods or services did not come."),
    Dispute("13.2", "visa", "subscription_canceled", "It recurs, and had been cancelled."),
    Dispute("13.3", "visa", "not_as_described", "Goods or services were defective, or not as described."),
    Dispute("13.4", "visa", "not_as_described", "The goods were counterfeit."),
    Dispute("13.5", "visa", "not_as_described", "The terms of sale had been misrepresented."),
    Dispute("13.6", "visa", "credit_not_processed", "A refund that was promised did not come."),
    Dispute("13.7", "visa", "credit_not_processed", "The goods or services had been cancelled or sent back."),
    Dispute("13.8", "visa", "credit_not_processed", "An original credit was not accepted."),
    Dispute("13.9", "visa", "not_received", "The machine did not pay out the cash."),
    Dispute("4808", "mastercard", "not_authorized", "There was no authorization, or not for this."),
    Dispute("4834", "mastercard", "processing_error", "There was an error where it was entered: twice, or too much."),
    Dispute("4837", "mastercard", "fraudulent", "The cardholder did not authorize it."),
    Dispute("4849", "mastercard", "fraudulent", "The merchant's doings were questionable."),
    Dispute("4853", "mastercard", "not_as_described", "The cardholder disputes what was sold."),
    Dispute("4870", "mastercard", "fraudulent", "The merchant is liable for the chip."),
    Dispute(
        "4871", "mastercard", "fraudulent", "The merchant is liable for the chip of a card that was lost or stolen."
    ),
)

BY_CODE: Final[Mapping[str, Dispute]] = {row.code: row for row in DISPUTES}


def dispute(code: str) -> Dispute:
    """What a code says; one of no table says only that it is disputed."""
    return BY_CODE.get(code) or Dispute(code, "", "disputed", "Disputed with a code of no table.")
