"""What a bank of the ACH says of an entry after it took it: return codes and change codes, as data.

None of them is better had by another route: what the receiver's bank says, it says to every originator's bank.
Source: Nacha Operating Rules, Appendix Four (Return Entries) and Appendix Five (Notification of Change).
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from msgspec import Struct

from domain.rail import Declined, Retry

TWO_DAYS: Final = 2
"""Banking days: the return is there when the second one after settlement opens."""
SIXTY_DAYS: Final = 60
"""Calendar days after settlement, for what a consumer says was not authorized."""
DISHONOR_DAYS: Final = 5
"""Banking days in which the originator's bank may dishonor a return."""


class Kind(StrEnum):
    RETURN = "return"
    """Of an entry, by the receiver's bank."""
    DISHONOR = "dishonor"
    """Of a return, by the originator's bank."""
    CONTEST = "contest"
    """Of a dishonor, by the receiver's bank."""


class ReturnCode(Struct, frozen=True):
    """Why an entry came back.

    Args:
        reason: Ours, of all rails.
        days: How long it may take: two banking or sixty calendar days; nothing where the banks agree on it themselves.
        block: The account must not be debited again before its holder has been asked.
    """

    code: str
    meaning: str
    reason: str
    retry: Retry = Retry.NEVER
    days: int | None = TWO_DAYS
    block: bool = False
    kind: Kind = Kind.RETURN

    def declined(self) -> Declined:
        return Declined(code=self.code, reason=self.reason, message=self.meaning, retry=self.retry)


def _by_code(*codes: ReturnCode) -> Mapping[str, ReturnCode]:
    return {code.code: code for code in codes}


LATER: Final = Retry.LATER
# fmt: off
RETURNS: Final = _by_code(
    # The balance: may be presented twice more within 180 days (Nacha Operating Rules, 2.12.4).
    ReturnCode("R01", "Insufficient funds", "insufficient_funds", LATER),
    ReturnCode("R09", "Uncollected funds", "insufficient_funds", LATER),
    # The account is not there, or cannot be used.
    ReturnCode("R02", "Account closed", "account_closed", block=True),
    ReturnCode("R03", "No account, or none that could be found", "account_not_found", block=True),
    ReturnCode("R04", "Account number not valid", "invalid_account", block=True),
    ReturnCode("R12", "Branch sold to another bank", "account_closed", block=True),
    ReturnCode("R13", "Bank does not take these entries", "bank_unreachable", block=True),
    ReturnCode("R14", "Representative payee died or can no longer act", "holder_deceased", block=True),
    ReturnCode("R15", "Beneficiary or holder of the account died", "holder_deceased", block=True),
    ReturnCode("R16", "Account frozen", "account_frozen", block=True),
    ReturnCode("R20", "Account cannot be debited", "not_permitted", block=True),
    ReturnCode("R28", "Check digit of the routing number is wrong", "invalid_account", block=True),
    # The holder did not want it.
    ReturnCode("R05", "Company debit to a consumer's account, not authorized", "not_authorized", days=60, block=True),
    ReturnCode("R07", "Authorization revoked by the customer", "authorization_revoked", days=60, block=True),
    ReturnCode("R08", "Payment stopped", "payment_stopped"),
    ReturnCode("R10", "Originator not known or not authorized to debit", "not_authorized", days=60, block=True),
    ReturnCode("R11", "Not in accordance with the authorization", "not_as_authorized", days=60),
    ReturnCode("R23", "Credit refused by the receiver", "refused_by_payee"),
    ReturnCode("R29", "Company says it is not authorized", "not_authorized", block=True),
    # The entry itself.
    ReturnCode("R17", "Record cannot be processed, or questionable circumstances", "suspected_fraud", block=True),
    ReturnCode("R18", "Effective entry date not proper", "format_error"),
    ReturnCode("R19", "Amount field in error", "format_error"),
    ReturnCode("R21", "Company identification not valid", "format_error"),
    ReturnCode("R22", "Individual identification not valid", "format_error"),
    ReturnCode("R24", "Duplicate entry", "duplicate"),
    ReturnCode("R25", "Addenda in error", "format_error"),
    ReturnCode("R26", "Mandatory field in error", "format_error"),
    ReturnCode("R27", "Trace number in error", "format_error"),
    ReturnCode("R35", "Debit not permitted in this class", "not_permitted"),
    ReturnCode("R36", "Credit not permitted in this class", "not_permitted"),
    # The banks.
    ReturnCode("R06", "Returned at the request of the originator's bank", "returned_on_request", days=None),
    ReturnCode("R31", "Permitted by the originator's bank", "not_authorized", days=None),
    ReturnCode("R32", "Bank cannot settle", "bank_unreachable"),
    ReturnCode("R34", "Bank's participation limited by its supervisor", "bank_unreachable"),
    # Checks made into entries.
    ReturnCode("R30", "Bank takes no truncated checks", "not_permitted"),
    ReturnCode("R33", "Destroyed check returned", "not_permitted", days=60),
    ReturnCode("R37", "Source document presented as well", "duplicate", days=60),
    ReturnCode("R38", "Payment stopped on the source document", "payment_stopped", days=60),
    ReturnCode("R39", "Source document not proper", "not_permitted"),
    ReturnCode("R50", "State law forbids the re-presented check", "not_permitted"),
    ReturnCode("R51", "Re-presented check not eligible or not proper", "not_permitted", days=60),
    ReturnCode("R52", "Payment stopped on the re-presented check", "payment_stopped", days=60),
    ReturnCode("R53", "Check presented as well as its entry", "duplicate", days=60),
    # Enrolment with an agency of the government.
    ReturnCode("R40", "Enrolment returned by the agency", "not_permitted"),
    ReturnCode("R41", "Enrolment: transaction code not valid", "format_error"),
    ReturnCode("R42", "Enrolment: routing number or check digit wrong", "invalid_account"),
    ReturnCode("R43", "Enrolment: account number not valid", "invalid_account"),
    ReturnCode("R44", "Enrolment: individual identification not valid", "format_error"),
    ReturnCode("R45", "Enrolment: name not valid", "format_error"),
    ReturnCode("R46", "Enrolment: representative payee indicator not valid", "format_error"),
    ReturnCode("R47", "Enrolled before", "duplicate"),
    # Over the border.
    ReturnCode("R80", "International entry wrongly coded", "format_error"),
    ReturnCode("R81", "Gateway takes no international entries", "bank_unreachable"),
    ReturnCode("R82", "Foreign bank's identification not valid", "invalid_account"),
    ReturnCode("R83", "Foreign bank cannot settle", "bank_unreachable"),
    ReturnCode("R84", "Not processed by the gateway", "not_permitted"),
    ReturnCode("R85", "International payment in a class that does not say so", "format_error"),
    ReturnCode("R90", "Returned for the bank's sanctions obligations", "declined", block=True),
    # Returns of returns: they say nothing of the account.
    ReturnCode("R61", "Return misrouted", "format_error", days=DISHONOR_DAYS, kind=Kind.DISHONOR),
    ReturnCode("R62", "Erroneous or reversing debit returned", "not_permitted", days=DISHONOR_DAYS, kind=Kind.DISHONOR),
    ReturnCode("R67", "Return sent twice", "duplicate", days=DISHONOR_DAYS, kind=Kind.DISHONOR),
    ReturnCode("R68", "Return too late", "too_late", days=DISHONOR_DAYS, kind=Kind.DISHONOR),
    ReturnCode("R69", "Return with fields in error", "format_error", days=DISHONOR_DAYS, kind=Kind.DISHONOR),
    ReturnCode("R70", "Return not permitted or not requested", "not_permitted", days=DISHONOR_DAYS, kind=Kind.DISHONOR),
    ReturnCode("R71", "Dishonor misrouted", "format_error", kind=Kind.CONTEST),
    ReturnCode("R72", "Dishonor too late", "too_late", kind=Kind.CONTEST),
    ReturnCode("R73", "The return was in time", "too_late", kind=Kind.CONTEST),
    ReturnCode("R74", "Return corrected", "format_error", kind=Kind.CONTEST),
    ReturnCode("R75", "The return was no duplicate", "duplicate", kind=Kind.CONTEST),
    ReturnCode("R76", "The return was free of errors", "format_error", kind=Kind.CONTEST),
    ReturnCode("R77", "Dishonor of R62 not accepted", "not_permitted", kind=Kind.CONTEST),
)
# fmt: on


class ChangeCode(Struct, frozen=True):
    """What the receiver's bank asks to be changed before the next entry.

    Args:
        fields: Name to first and last position within the 29 of the corrected data, counted from 1.
        refusal: The originator's bank sends the notification itself back.
    """

    code: str
    meaning: str
    fields: Mapping[str, tuple[int, int]] = {}
    refusal: bool = False


CHANGES: Final[Mapping[str, ChangeCode]] = {
    code.code: code
    for code in (
        ChangeCode("C01", "Account number", {"account_number": (1, 17)}),
        ChangeCode("C02", "Routing number", {"routing_number": (1, 9)}),
        ChangeCode("C03", "Routing and account number", {"routing_number": (1, 9), "account_number": (13, 29)}),
        ChangeCode("C04", "Name", {"name": (1, 22)}),
        ChangeCode("C05", "Transaction code", {"transaction_code": (1, 2)}),
        ChangeCode(
            "C06", "Account number and transaction code", {"account_number": (1, 17), "transaction_code": (21, 22)}
        ),
        ChangeCode(
            "C07",
            "Routing number, account number and transaction code",
            {"routing_number": (1, 9), "account_number": (10, 26), "transaction_code": (27, 28)},
        ),
        ChangeCode("C08", "Receiving bank's identification, over the border", {"receiving_bank": (1, 29)}),
        ChangeCode("C09", "Individual identification", {"identification": (1, 22)}),
        ChangeCode("C13", "Addenda format"),
        ChangeCode("C14", "Entry class of a payment over the border"),
        ChangeCode("C61", "Notification misrouted", refusal=True),
        ChangeCode("C62", "Trace number wrong", refusal=True),
        ChangeCode("C63", "Company identification wrong", refusal=True),
        ChangeCode("C64", "Individual identification wrong", refusal=True),
        ChangeCode("C65", "Corrected data wrongly formatted", refusal=True),
        ChangeCode("C66", "Discretionary data wrong", refusal=True),
        ChangeCode("C67", "Routing number not of the entry", refusal=True),
        ChangeCode("C68", "Account number not of the entry", refusal=True),
        ChangeCode("C69", "Transaction code wrong", refusal=True),
    )
}


def corrected(code: str, data: str) -> dict[str, str]:
    """What a notification of change asks for, by field; empty for a code that names none or is not known."""
    change = CHANGES.get(code)
    if change is None:
        return {}
    text = data.ljust(29)
    return {name: text[first - 1 : last].strip() for name, (first, last) in change.fields.items()}
