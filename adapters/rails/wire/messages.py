"""What the messages say, as values. Each is one transaction: a message with several is several of these.

Source: ISO 20022 message definitions; the names of their elements stand beside ours where they differ. Text that is not
there is empty, and what is not there, or cannot be read, None. Times are aware, UTC.
"""

from datetime import date, datetime
from typing import Final

from msgspec import Struct

from domain.money import Money

CREDIT_TRANSFER: Final = "pacs.008.001.08"
RETURN: Final = "pacs.004.001.09"
STATUS: Final = "pacs.002.001.10"
STATUS_REQUEST: Final = "pacs.028.001.03"
RECALL: Final = "camt.056.001.08"
RESOLUTION: Final = "camt.029.001.09"
ADVICE: Final = "camt.054.001.08"
NOT_PROVIDED: Final = "NOTPROVIDED"


class Party(Struct, frozen=True, kw_only=True):
    """A payer or a payee with their account. `country`: ISO 3166; `account`: an IBAN, or their bank's own number."""

    name: str = ""
    country: str = ""
    account: str = ""
    bic: str = ""


class Ids(Struct, frozen=True, kw_only=True):
    """What a payment is known by. `message_id`: of the message it was in."""

    message_id: str = ""
    instruction_id: str = ""
    end_to_end_id: str = ""
    transaction_id: str = ""
    uetr: str = ""

    def of_payment(self) -> tuple[str, ...]:
        """All but the message's."""
        return (self.instruction_id, self.end_to_end_id, self.transaction_id, self.uetr)


class Reason(Struct, frozen=True):
    """`code`: of an external code list, or the bank's own."""

    code: str
    text: str = ""


class Header(Struct, frozen=True, kw_only=True):
    """Of every message. `instructing`, `instructed`: BICs of who sent it and of who is to act on it."""

    message_id: str = ""
    created_at: datetime | None = None
    instructing: str = ""
    instructed: str = ""


class CreditTransfer(Struct, frozen=True, kw_only=True):
    """pacs.008: a payment. `charges`: who bears them, ChrgBr; `remittance`: Ustrd; `creditor_reference`: Strd."""

    header: Header
    ids: Ids
    amount: Money | None
    settles_on: date | None
    debtor: Party
    creditor: Party
    charges: str = "SHAR"
    purpose: str = ""
    remittance: str = ""
    creditor_reference: str = ""


class Status(Struct, frozen=True, kw_only=True):
    """pacs.002: what became of a payment. `reference`: the bank's own, AcctSvcrRef or ClrSysRef."""

    header: Header
    original: Ids
    original_kind: str
    status: str
    reasons: tuple[Reason, ...] = ()
    reference: str = ""
    settles_on: date | None = None
    amount: Money | None = None


class StatusRequest(Struct, frozen=True, kw_only=True):
    """pacs.028: what became of it?"""

    header: Header
    original: Ids
    original_kind: str


class Return(Struct, frozen=True, kw_only=True):
    """pacs.004: a settled payment comes back. `amount`: of what comes back, `original_amount`: of the payment."""

    header: Header
    return_id: str
    original: Ids
    original_kind: str
    amount: Money | None
    original_amount: Money | None
    settles_on: date | None
    reasons: tuple[Reason, ...] = ()
    reference: str = ""


class Recall(Struct, frozen=True, kw_only=True):
    """camt.056: give it back. The header's `instructing` and `instructed` are Assgnr and Assgne."""

    header: Header
    case_id: str
    original: Ids
    original_kind: str
    amount: Money | None
    reasons: tuple[Reason, ...] = ()


class Resolution(Struct, frozen=True, kw_only=True):
    """camt.029: what became of a recall. `status`: of the case, Sts/Conf; `individual`: of the payment, TxCxlSts."""

    header: Header
    case_id: str
    status: str
    original: Ids
    original_kind: str
    individual: str = ""
    reasons: tuple[Reason, ...] = ()
    reference: str = ""
    amount: Money | None = None


class Balance(Struct, frozen=True, kw_only=True):
    """`code`: OPBD, CLBD and so on; `minor`: below zero is a debit."""

    code: str
    minor: int | None
    currency: str
    day: date | None


class Detail(Struct, frozen=True, kw_only=True):
    """A payment within an entry. `reference`: the bank's own; `return_reason`: why it came back, if it did.

    `purpose` is that of the payment, also where it comes back.
    """

    ids: Ids
    amount: Money | None = None
    credit: bool = False
    reference: str = ""
    debtor: Party = Party()
    creditor: Party = Party()
    purpose: str = ""
    remittance: str = ""
    creditor_reference: str = ""
    return_reason: str = ""


class Entry(Struct, frozen=True, kw_only=True):
    """A line of an account. `code`: of the bank transaction, `PMNT/RCDT/BOOK`; `reference`: the bank's own."""

    amount: Money | None
    credit: bool
    status: str
    booked_on: date | None
    valued_on: date | None
    reversal: bool = False
    entry_id: str = ""
    reference: str = ""
    code: str = ""
    details: tuple[Detail, ...] = ()


class Sum(Struct, frozen=True):
    """How many entries, and of how much in all, in minor units of the account's currency."""

    count: int
    minor: int


class Summary(Struct, frozen=True, kw_only=True):
    """Of the entries of an account: TxsSummry/TtlCdtNtries and TtlDbtNtries."""

    credits: Sum
    debits: Sum


class Statement(Struct, frozen=True, kw_only=True):
    """camt.052, camt.053 or camt.054: what happened on an account. `summary`: None where it gives none."""

    header: Header
    statement_id: str
    account: str
    currency: str = ""
    owner: str = ""
    balances: tuple[Balance, ...] = ()
    summary: Summary | None = None
    entries: tuple[Entry, ...] = ()


Message = CreditTransfer | Status | StatusRequest | Return | Recall | Resolution | Statement
