"""Messages as bytes, each valid by its schema; what is read back from them is what was written."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import assert_never

from adapters.rails.wire.identifiers import is_iban
from adapters.rails.wire.messages import (
    ADVICE,
    CREDIT_TRANSFER,
    NOT_PROVIDED,
    RECALL,
    RESOLUTION,
    RETURN,
    STATUS,
    STATUS_REQUEST,
    CreditTransfer,
    Detail,
    Entry,
    Header,
    Ids,
    Message,
    Party,
    Reason,
    Recall,
    Resolution,
    Return,
    Statement,
    Status,
    StatusRequest,
)
from adapters.rails.wire.xml import Part, document
from domain.money import to_decimal


def write(message: Message) -> bytes:
    """The message, alone in its document. A `Statement` is written as camt.054, and so without balances.

    Raises:
        NotValid: What it says cannot be said: a text too long, a BIC or a country without its shape, an amount missing.
    """
    match message:
        case CreditTransfer():
            return document(CREDIT_TRANSFER, ("FIToFICstmrCdtTrf", _credit_transfer(message)))
        case Status():
            return document(STATUS, ("FIToFIPmtStsRpt", _status(message)))
        case StatusRequest():
            return document(STATUS_REQUEST, ("FIToFIPmtStsReq", _status_request(message)))
        case Return():
            return document(RETURN, ("PmtRtr", _return(message)))
        case Recall():
            return document(RECALL, ("FIToFIPmtCxlReq", _recall(message)))
        case Resolution():
            return document(RESOLUTION, ("RsltnOfInvstgtn", _resolution(message)))
        case Statement():
            return document(ADVICE, ("BkToCstmrDbtCdtNtfctn", _advice([message])))
        case _:
            assert_never(message)


def write_advice(statements: Sequence[Statement]) -> bytes:
    """camt.054 of several accounts, at least one; the header is the first one's.

    Raises:
        NotValid: As `write`.
    """
    return document(ADVICE, ("BkToCstmrDbtCdtNtfctn", _advice(statements)))


def _credit_transfer(message: CreditTransfer) -> list[Part]:
    header, ids = message.header, message.ids
    reference: Part = ("CdtrRefInf", [("Tp", [("CdOrPrtry", [("Cd", "SCOR")])]), ("Ref", message.creditor_reference)])
    transfer: list[Part] = [
        (
            "PmtId",
            [
                ("InstrId", ids.instruction_id),
                ("EndToEndId", ids.end_to_end_id),
                ("TxId", ids.transaction_id),
                ("UETR", ids.uetr),
            ],
        ),
        ("IntrBkSttlmAmt", message.amount),
        ("IntrBkSttlmDt", str(message.settles_on or "")),
        ("ChrgBr", message.charges),
        ("InstgAgt", _agent(header.instructing)),
        ("InstdAgt", _agent(header.instructed)),
        *_party("Dbtr", message.debtor),
        ("DbtrAgt", _some_agent(message.debtor.bic)),
        ("CdtrAgt", _some_agent(message.creditor.bic)),
        *_party("Cdtr", message.creditor),
        ("Purp", [("Cd", message.purpose)]),
        ("RmtInf", [("Ustrd", message.remittance), ("Strd", [reference] if message.creditor_reference else [])]),
    ]
    return [("GrpHdr", [*_header(header, count=1), _settlement()]), ("CdtTrfTxInf", transfer)]


def _status(message: Status) -> list[Part]:
    transaction: list[Part] = [
        ("OrgnlGrpInf", _original_message(message.original, message.original_kind)),
        *_original(message.original),
        ("TxSts", message.status),
        *_reasons("StsRsnInf", message.reasons),
        ("FctvIntrBkSttlmDt", [("Dt", str(message.settles_on or ""))]),
        ("AcctSvcrRef", message.reference),
        ("OrgnlTxRef", [("IntrBkSttlmAmt", message.amount)]),
    ]
    return [("GrpHdr", [*_header(message.header), *_agents(message.header)]), ("TxInfAndSts", transaction)]


def _status_request(message: StatusRequest) -> list[Part]:
    transaction: list[Part] = [
        ("OrgnlGrpInf", _original_message(message.original, message.original_kind)),
        *_original(message.original),
    ]
    return [("GrpHdr", [*_header(message.header), *_agents(message.header)]), ("TxInf", transaction)]


def _return(message: Return) -> list[Part]:
    header = message.header
    transaction: list[Part] = [
        ("RtrId", message.return_id),
        ("OrgnlGrpInf", _original_message(message.original, message.original_kind)),
        *_original(message.original),
        ("OrgnlIntrBkSttlmAmt", message.original_amount),
        ("RtrdIntrBkSttlmAmt", message.amount),
        ("IntrBkSttlmDt", str(message.settles_on or "")),
        ("ClrSysRef", message.reference),
        *_reasons("RtrRsnInf", message.reasons),
    ]
    return [("GrpHdr", [*_header(header, count=1), _settlement(), *_agents(header)]), ("TxInf", transaction)]


def _recall(message: Recall) -> list[Part]:
    transaction: list[Part] = [
        ("CxlId", message.case_id),
        ("Case", [("Id", message.case_id), ("Cretr", [("Agt", _some_agent(message.header.instructing))])]),
        ("OrgnlGrpInf", _original_message(message.original, message.original_kind)),
        *_original(message.original),
        ("OrgnlIntrBkSttlmAmt", message.amount),
        *_reasons("CxlRsnInf", message.reasons),
    ]
    return [
        ("Assgnmt", _assignment(message.header)),
        ("CtrlData", [("NbOfTxs", "1")]),
        ("Undrlyg", [("TxInf", transaction)]),
    ]


def _resolution(message: Resolution) -> list[Part]:
    # The case is the one who asked's own, and so is the creator.
    case: list[Part] = [("Id", message.case_id), ("Cretr", [("Agt", _some_agent(message.header.instructed))])]
    original: list[Part] = [  # In this message UETR comes last.
        ("OrgnlInstrId", message.original.instruction_id),
        ("OrgnlEndToEndId", message.original.end_to_end_id),
        ("OrgnlTxId", message.original.transaction_id),
        ("OrgnlUETR", message.original.uetr),
    ]
    transaction: list[Part] = [
        ("CxlStsId", message.reference),
        ("RslvdCase", case if message.case_id else []),
        ("OrgnlGrpInf", _original_message(message.original, message.original_kind)),
        *original,
        ("TxCxlSts", message.individual),
        *_reasons("CxlStsRsnInf", message.reasons),
        ("OrgnlIntrBkSttlmAmt", message.amount),
    ]
    return [
        ("Assgnmt", _assignment(message.header)),
        ("Sts", [("Conf", message.status)]),
        ("CxlDtls", [("TxInfAndSts", transaction)]),
    ]


def _advice(statements: Sequence[Statement]) -> list[Part]:
    assert statements
    return [("GrpHdr", _header(statements[0].header)), *(("Ntfctn", _notification(each)) for each in statements)]


def _notification(statement: Statement) -> list[Part]:
    return [
        ("Id", statement.statement_id),
        (
            "Acct",
            [*_account(statement.account), ("Ccy", statement.currency), ("Ownr", [("Nm", statement.owner)])],
        ),
        ("TxsSummry", _summary(statement)),
        *(("Ntry", _entry(entry)) for entry in statement.entries),
    ]


def _summary(statement: Statement) -> list[Part]:
    if statement.summary is None:
        return []
    sums = (("TtlCdtNtries", statement.summary.credits), ("TtlDbtNtries", statement.summary.debits))
    return [
        (name, [("NbOfNtries", str(each.count)), ("Sum", f"{to_decimal(each.minor, statement.currency)}")])
        for name, each in sums
    ]


def _entry(entry: Entry) -> list[Part]:
    domain, family, sub_family = [*entry.code.split("/"), "", ""][:3]
    code: list[Part] = [("Cd", domain), ("Fmly", [("Cd", family), ("SubFmlyCd", sub_family)])]
    return [
        ("NtryRef", entry.entry_id),
        ("Amt", entry.amount),
        ("CdtDbtInd", _indicator(entry.credit)),
        ("RvslInd", "true" if entry.reversal else ""),
        ("Sts", [("Cd", entry.status)]),
        ("BookgDt", [("Dt", str(entry.booked_on or ""))]),
        ("ValDt", [("Dt", str(entry.valued_on or ""))]),
        ("AcctSvcrRef", entry.reference),
        ("BkTxCd", [("Domn", code)]),
        ("NtryDtls", [("TxDtls", _detail(detail)) for detail in entry.details]),
    ]


def _detail(detail: Detail) -> list[Part]:
    reference: Part = ("CdtrRefInf", [("Ref", detail.creditor_reference)])
    return [
        (
            "Refs",
            [
                ("MsgId", detail.ids.message_id),
                ("AcctSvcrRef", detail.reference),
                ("InstrId", detail.ids.instruction_id),
                ("EndToEndId", detail.ids.end_to_end_id),
                ("UETR", detail.ids.uetr),
                ("TxId", detail.ids.transaction_id),
            ],
        ),
        ("Amt", detail.amount),
        ("CdtDbtInd", _indicator(detail.credit)),
        ("RltdPties", [*_related("Dbtr", detail.debtor), *_related("Cdtr", detail.creditor)]),
        ("RltdAgts", [("DbtrAgt", _agent(detail.debtor.bic)), ("CdtrAgt", _agent(detail.creditor.bic))]),
        ("Purp", [("Cd", detail.purpose)]),
        ("RmtInf", [("Ustrd", detail.remittance), ("Strd", [reference])]),
        ("RtrInf", [("Rsn", [("Cd", detail.return_reason)])]),
    ]


def _related(name: str, party: Party) -> list[Part]:
    (_, who), (_, account) = _party(name, party)
    return [(name, [("Pty", who)]), (f"{name}Acct", account)]


def _header(header: Header, *, count: int | None = None) -> list[Part]:
    return [
        ("MsgId", header.message_id),
        ("CreDtTm", _instant(header.created_at)),
        ("NbOfTxs", "" if count is None else str(count)),
    ]


def _settlement() -> Part:
    """The bank that is instructed books it on the account that the other has with it. Source: SttlmInf/SttlmMtd."""
    return ("SttlmInf", [("SttlmMtd", "INDA")])


def _agents(header: Header) -> list[Part]:
    return [("InstgAgt", _agent(header.instructing)), ("InstdAgt", _agent(header.instructed))]


def _assignment(header: Header) -> list[Part]:
    return [
        ("Id", header.message_id),
        ("Assgnr", [("Agt", _some_agent(header.instructing))]),
        ("Assgne", [("Agt", _some_agent(header.instructed))]),
        ("CreDtTm", _instant(header.created_at)),
    ]


def _original_message(original: Ids, kind: str) -> list[Part]:
    """Both or nothing: a message that is named has a kind."""
    return [("OrgnlMsgId", original.message_id), ("OrgnlMsgNmId", kind)] if original.message_id else []


def _original(original: Ids) -> list[Part]:
    return [
        ("OrgnlInstrId", original.instruction_id),
        ("OrgnlEndToEndId", original.end_to_end_id),
        ("OrgnlTxId", original.transaction_id),
        ("OrgnlUETR", original.uetr),
    ]


def _reasons(name: str, reasons: Sequence[Reason]) -> list[Part]:
    return [(name, [("Rsn", [_code(reason.code)]), ("AddtlInf", reason.text)]) for reason in reasons]


def _code(code: str) -> Part:
    """Codes of ISO's lists have four characters; others are a bank's own."""
    return ("Cd", code) if len(code) <= 4 else ("Prtry", code)


def _party(name: str, party: Party) -> list[Part]:
    address: Part = ("PstlAdr", [("Ctry", party.country)])
    return [(name, [("Nm", party.name), address]), (f"{name}Acct", _account(party.account))]


def _account(account: str) -> list[Part]:
    if is_iban(account):
        return [("Id", [("IBAN", account)])]
    return [("Id", [("Othr", [("Id", account)])])]


def _agent(bic: str) -> list[Part]:
    return [("FinInstnId", [("BICFI", bic)])]


def _some_agent(bic: str) -> list[Part]:
    """Where the schema wants a bank: one that is not known is said to be not provided."""
    return _agent(bic) if bic else [("FinInstnId", [("Nm", NOT_PROVIDED)])]


def _indicator(credit: bool) -> str:
    return "CRDT" if credit else "DBIT"


def _instant(at: datetime | None) -> str:
    """Source: ISODateTime, with its offset from UTC."""
    return "" if at is None else at.astimezone(UTC).isoformat()
