"""What a payer's dispute is about: reason codes of UPI's chargebacks, as data, and how they are looked up.

Source: NPCI, UPI dispute management (UDIR) reason codes, as banks' public pages tell them.
"""

from collections.abc import Mapping
from typing import Final

from msgspec import Struct


class Dispute(Struct, frozen=True):
    """A row of the table: the code, the reason in the words of all rails, a sentence."""

    code: str
    reason: str
    message: str


DISPUTES: Final[tuple[Dispute, ...]] = (
    Dispute("108", "credit_not_processed", "The payer was debited, and the payee not credited."),
    Dispute("1061", "credit_not_processed", "The money for what was cancelled or sent back did not come."),
    Dispute("1062", "not_as_described", "Goods or services were defective, or not as described."),
    Dispute("1063", "duplicate", "It was paid by other means."),
    Dispute("1064", "not_received", "Goods or services did not come."),
    Dispute("1065", "not_received", "The payer was debited, and the merchant says that it was not paid."),
    Dispute("1084", "duplicate", "It was taken twice."),
)

BY_CODE: Final[Mapping[str, Dispute]] = {row.code: row for row in DISPUTES}


def dispute(code: str) -> Dispute:
    """What a code says; one of no table says only that it is disputed."""
    return BY_CODE.get(code) or Dispute(code, "disputed", "Disputed with a code of no table.")
