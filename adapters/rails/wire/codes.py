"""What a bank's codes mean, and what may be done after a no: data, and how it is looked up.

Source: ISO 20022 external code sets, ExternalPaymentTransactionStatus1Code, ExternalStatusReason1Code,
ExternalReturnReason1Code, ExternalInvestigationExecutionConfirmation1Code, ExternalPaymentCancellationRejection1Code.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from msgspec import Struct

from adapters.rails.wire.messages import Reason
from domain.rail import Declined, Retry

SETTLED: Final = frozenset({"ACSC", "ACCC"})
"""Booked: with whom was asked, or with the payee."""
UNDER_WAY: Final = frozenset({"ACSP", "ACTC", "ACCP", "ACWC", "ACWP", "ACFC", "ACFW", "ACPD", "PDNG", "RCVD", "BLCK"})
"""Taken, and not done yet. BLCK: neither will the payee have it nor does it come back, until somebody says so."""
REJECTED: Final = "RJCT"
CANCELLED: Final = "CANC"
"""A payment that was under way when it was recalled."""

NEVER_HEARD: Final = frozenset({"AG09", "NOOR", "FF13"})
"""With a rejection, to the question what became of a payment or a recall: the bank never received it."""
SEEN_BEFORE: Final = frozenset({"AM05", "DU01", "DU02", "DU03", "DU04", "DU05", "DUPL", "RF01"})
"""With a rejection: it has had it before, and does not say what came of that."""

GIVEN_BACK: Final = "CNCL"
REFUSED: Final = "RJCR"
FOLLOWED_UP: Final = frozenset({"PDCR", "PDNG", "CWFW", "FTNA"})
"""Of a recall: it was passed on, and waits for somebody."""
RECALLED: Final = "FOCR"
"""With a return: it follows a recall."""


class Meaning(Struct, frozen=True):
    """Of a reason code. `reason`: in the words of all rails; `message`: a sentence."""

    code: str
    reason: str
    message: str
    retry: Retry = Retry.NEVER


def _by_code(*rows: Meaning) -> Mapping[str, Meaning]:
    assert len({row.code for row in rows}) == len(rows)
    return {row.code: row for row in rows}


_LATER, _ELSEWHERE = Retry.LATER, Retry.ELSEWHERE

REASONS: Final = _by_code(
    # The account is not there, or cannot be used.
    Meaning("AC01", "invalid_account", "The account number is wrong or missing."),
    Meaning("AC02", "invalid_account", "The payer's account number is wrong or missing."),
    Meaning("AC03", "invalid_account", "The payee's account number is wrong or missing."),
    Meaning("AC04", "account_closed", "The account is closed."),
    Meaning("AC05", "account_closed", "The payer's account is closed."),
    Meaning("AC06", "account_frozen", "The account is blocked."),
    Meaning("AC07", "account_closed", "The payee's account is closed."),
    Meaning("AC08", "invalid_account", "The branch is wrong or missing."),
    Meaning("AC09", "currency_not_supported", "The account is in another currency.", _ELSEWHERE),
    Meaning("AC10", "currency_not_supported", "The payer's account is in another currency.", _ELSEWHERE),
    Meaning("AC11", "currency_not_supported", "The payee's account is in another currency.", _ELSEWHERE),
    Meaning("AC13", "not_permitted", "The payer's account is of a kind that cannot do this.", _ELSEWHERE),
    Meaning("AC14", "not_permitted", "The payee's account is of a kind that cannot do this.", _ELSEWHERE),
    Meaning("AC15", "invalid_account", "The account has moved, and has another number now."),
    Meaning("AG01", "not_permitted", "The account may not do this.", _ELSEWHERE),
    Meaning("AG03", "not_permitted", "The account may not do payments of this kind.", _ELSEWHERE),
    Meaning("AG07", "not_permitted", "The account cannot be debited.", _LATER),
    Meaning("BE01", "name_mismatch", "Name and account do not belong together."),
    Meaning("BE04", "invalid_details", "The payee's address is missing or wrong."),
    Meaning("BE05", "not_authorized", "Who asked for it is not known to the customer."),
    Meaning("BE06", "account_not_found", "The customer is not known to the bank."),
    Meaning("BE07", "invalid_details", "The payer's address is missing or wrong."),
    Meaning("BE16", "invalid_details", "The payer's identification is missing or wrong."),
    Meaning("BE17", "invalid_details", "The payee's identification is missing or wrong."),
    Meaning("BE21", "invalid_details", "A name is missing or wrong."),
    Meaning("BE22", "invalid_details", "The payee's name is missing."),
    Meaning("MD07", "holder_deceased", "The holder of the account died."),
    Meaning("UCRD", "account_not_found", "The payee is not known."),
    # The amount and the balance.
    Meaning("AM01", "invalid_amount", "The amount is zero."),
    Meaning("AM02", "limit_exceeded", "The amount is above what is allowed.", _ELSEWHERE),
    Meaning("AM03", "currency_not_supported", "The bank does not do this currency.", _ELSEWHERE),
    Meaning("AM04", "insufficient_funds", "There is not enough money on the account.", _LATER),
    Meaning("AM06", "invalid_amount", "The amount is below what is allowed.", _ELSEWHERE),
    Meaning("AM07", "account_frozen", "The amount was blocked by an authority."),
    Meaning("AM09", "invalid_amount", "The amount is not what was agreed."),
    Meaning("AM11", "currency_not_supported", "The currency is wrong or missing.", _ELSEWHERE),
    Meaning("AM12", "invalid_amount", "The amount is wrong or missing."),
    Meaning("AM13", "limit_exceeded", "The amount is above the clearing system's limit.", _ELSEWHERE),
    Meaning("AM14", "limit_exceeded", "The amount is above the limit agreed with the bank.", _ELSEWHERE),
    Meaning("AM21", "limit_exceeded", "The amount is above the limit agreed with the bank.", _ELSEWHERE),
    Meaning("AM23", "limit_exceeded", "The amount is above the settlement limit.", _ELSEWHERE),
    Meaning("CURR", "currency_not_supported", "The currency is wrong.", _ELSEWHERE),
    # The customers did not want it.
    Meaning("CUST", "canceled", "The customer asked for it."),
    Meaning("DS02", "canceled", "The customer canceled it."),
    Meaning("FOCR", "returned_on_request", "It comes back because it was recalled."),
    Meaning("FRAD", "suspected_fraud", "It is fraudulent."),
    Meaning("FR01", "suspected_fraud", "It is fraudulent."),
    Meaning("MD06", "refused_by_payee", "The customer wants it returned."),
    Meaning("MS02", "refused_by_payee", "The customer gave no reason."),
    Meaning("NOAS", "no_answer", "The payee did not answer."),
    Meaning("SL11", "not_permitted", "The payee is not on the payer's list of those who may be paid."),
    Meaning("SL12", "not_permitted", "The payee is on the payer's list of those who may not be paid."),
    Meaning("UPAY", "refused_by_payee", "The payment is not justified."),
    # The law.
    Meaning("NOCM", "against_law", "The account does not comply with what the law wants."),
    Meaning("RR01", "invalid_details", "The law wants the payer's account or identification."),
    Meaning("RR02", "invalid_details", "The law wants the payer's name or address."),
    Meaning("RR03", "invalid_details", "The law wants the payee's name or address."),
    Meaning("RR04", "against_law", "The law does not allow it."),
    Meaning("RR05", "invalid_details", "The law wants a report with it."),
    Meaning("LEGL", "against_law", "The law does not allow it."),
    # The banks on the way.
    Meaning("AB01", "rail_error", "The clearing took too long and was given up.", _LATER),
    Meaning("AB02", "rail_error", "The clearing failed.", _ELSEWHERE),
    Meaning("AB03", "rail_error", "The settlement took too long and was given up.", _LATER),
    Meaning("AB04", "rail_error", "The settlement failed.", _ELSEWHERE),
    Meaning("AB05", "bank_not_reachable", "The payee's bank did not answer in time.", _LATER),
    Meaning("AB06", "rail_error", "The bank that was asked did not answer in time.", _ELSEWHERE),
    Meaning("AB07", "bank_not_reachable", "A bank on the way cannot be reached.", _LATER),
    Meaning("AB08", "bank_not_reachable", "The payee's bank cannot be reached.", _LATER),
    Meaning("AB09", "bank_not_reachable", "The payee's bank made an error.", _LATER),
    Meaning("AB10", "rail_error", "The bank that was asked made an error.", _ELSEWHERE),
    Meaning("AB11", "rail_error", "The payer's bank did not answer in time.", _ELSEWHERE),
    Meaning("AG10", "bank_not_reachable", "A bank on the way is suspended.", _ELSEWHERE),
    Meaning("AG11", "bank_not_reachable", "The payee's bank is suspended.", _ELSEWHERE),
    Meaning("AGNT", "invalid_account", "A bank on the way is wrong."),
    Meaning("CNOR", "bank_not_reachable", "The payee's bank is not in this clearing system.", _ELSEWHERE),
    Meaning("DNOR", "bank_not_reachable", "The payer's bank is not in this clearing system.", _ELSEWHERE),
    Meaning("ED01", "bank_not_reachable", "There is no correspondent bank.", _ELSEWHERE),
    Meaning("ED05", "rail_error", "The settlement failed.", _ELSEWHERE),
    Meaning("ED06", "rail_unavailable", "The settlement system cannot be reached.", _LATER),
    Meaning("FF10", "rail_error", "The bank has a technical problem.", _ELSEWHERE),
    Meaning("MS03", "declined", "The bank gave no reason.", _ELSEWHERE),
    Meaning("NARR", "declined", "The reason is in the bank's own words."),
    Meaning("RC01", "invalid_account", "The bank's identifier is not one."),
    Meaning("RC02", "invalid_account", "The bank's identifier is wrong or missing."),
    Meaning("RC03", "invalid_account", "The payer's bank is wrong or missing."),
    Meaning("RC04", "invalid_account", "The payee's bank is wrong or missing."),
    Meaning("RC05", "invalid_account", "The BIC is wrong or missing."),
    Meaning("RC06", "invalid_account", "The payer's bank's BIC is wrong or missing."),
    Meaning("RC07", "invalid_account", "The payee's bank's BIC is wrong or missing."),
    Meaning("RC15", "not_permitted", "There is no agreement to settle.", _ELSEWHERE),
    # The message and the day.
    Meaning("AG02", "invalid_message", "The bank does not do this operation.", _ELSEWHERE),
    Meaning("CH20", "invalid_amount", "The amount has more decimals than the currency."),
    Meaning("CH21", "invalid_message", "Something that is needed is missing."),
    Meaning("DT01", "invalid_date", "The date is wrong or missing.", _LATER),
    Meaning("DT03", "invalid_date", "It is no business day.", _LATER),
    Meaning("DT04", "invalid_date", "The date is in the future.", _LATER),
    Meaning("DT05", "too_late", "It came after the day's end.", _LATER),
    Meaning("FF01", "invalid_message", "The message is not as the bank wants it.", _ELSEWHERE),
    Meaning("FF07", "invalid_message", "The purpose is wrong or missing."),
    Meaning("FF08", "invalid_message", "The end-to-end identification is wrong or missing."),
    Meaning("RR07", "invalid_message", "The remittance information is not as the bank wants it.", _ELSEWHERE),
    Meaning("RR09", "invalid_message", "The creditor reference is wrong or missing."),
    Meaning("RR10", "invalid_message", "There are characters that cannot be used.", _ELSEWHERE),
    Meaning("TM01", "too_late", "It came after the cut-off.", _LATER),
    # Why a recall is refused.
    Meaning("ARDT", "already_returned", "It has come back already."),
    Meaning("ARPL", "no_answer", "Whoever has it did not answer.", _LATER),
    Meaning("IDMN", "not_permitted", "The payee's bank wants an indemnity first."),
    Meaning("PTNA", "too_late", "It was passed on to another bank."),
    Meaning("RQDA", "not_authorized", "The payee has to agree first."),
    # Answers to a question, and to what was asked twice.
    Meaning("AG09", "original_not_found", "The bank never received it."),
    Meaning("FF13", "original_not_found", "The bank never received the recall."),
    Meaning("NOOR", "original_not_found", "The bank never received it."),
    *(Meaning(code, "duplicate", "The bank has had it before.") for code in sorted(SEEN_BEFORE)),
    Meaning(CANCELLED, "canceled", "It was canceled before it was done."),
)


def declined(reasons: Sequence[Reason]) -> Declined:
    """The no of a bank that gave these reasons; the first that is known counts. The bank's own words are kept."""
    code = next((reason.code for reason in reasons if reason.code in REASONS), reasons[0].code if reasons else "")
    meaning = REASONS.get(code, Meaning(code, "declined", "The bank gave a reason that is not known here."))
    words = " ".join(reason.text for reason in reasons if reason.text)
    message = f"{meaning.message} {words}" if words else meaning.message
    return Declined(code=code, reason=meaning.reason, message=message, retry=meaning.retry)
