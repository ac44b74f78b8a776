"""Bytes as messages: whatever is understood is told, whatever is not is reported, and nothing is ever raised.

Real banks' messages break their schemas now and then; what can be read of them is read.
"""

import re
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from typing import Final

from msgspec import Struct

from adapters.rails.wire.messages import (
    Balance,
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
    Sum,
    Summary,
)
from adapters.rails.wire.xml import NAMESPACE, SIZE_MAX, Node, NotXml, faults, parse
from domain.money import Money, to_minor

FINDINGS_MAX: Final = 100

_VERSION: Final = re.compile(r"V[0-9]{2}$")
_NAME: Final = re.compile(r"[a-z]{4}\.[0-9]{3}\.[0-9]{3}\.[0-9]{2}")
_DECIMAL: Final = re.compile(r"([+-]?)([0-9]*)\.?([0-9]*)", re.ASCII)


class Finding(Struct, frozen=True):
    """Something about a message that is not as it should be. `unread`: because of it something it says is not told."""

    where: str
    what: str
    unread: bool = False


class Read(Struct, frozen=True, kw_only=True):
    """What was read.

    Args:
        kind: `pacs.002`; empty where it is no message that is known here.
        name: What the message calls itself: `pacs.002.001.10`, or the name of its first element.
        contents: One for each transaction, or each account.
    """

    kind: str = ""
    name: str = ""
    contents: tuple[Message, ...] = ()
    findings: tuple[Finding, ...] = ()

    @property
    def understood(self) -> bool:
        """Whether it is of a known kind, and nothing of what is told of it was left out because it cannot be read."""
        return bool(self.contents) and not any(finding.unread for finding in self.findings)


def read(content: bytes, *, size_max: int = SIZE_MAX) -> Read:
    """Read a message of any version, bare or in an envelope."""
    try:
        root = parse(content, size_max=size_max)
    except NotXml as error:
        return Read(findings=(Finding("", str(error), unread=True),))
    body, said = _body(root)
    kind, reader = _READERS.get(_VERSION.sub("", body.name), ("", None))
    name = said or kind or body.name
    if reader is None:
        return Read(name=name, findings=(Finding(body.name, "no message that is known here", unread=True),))
    reading = _Reading(name)
    contents = tuple(reader(reading, body))
    if said and not said.startswith(kind):
        reading.note(body.name, f"it calls itself {said} and is {kind}")
    if not contents:
        reading.note(body.name, "there is nothing in it", unread=True)
    document = root if root.name == "Document" else _named(root, "Document")
    for fault in faults(document, said) if document is not None else []:
        reading.note(said, fault)
    return Read(kind=kind, name=name, contents=contents, findings=tuple(reading.findings))


def _body(root: Node) -> tuple[Node, str]:
    """The element that holds the message, and the message's name as its namespace tells it."""
    document = root if root.name == "Document" else _named(root, "Document")
    body = next(iter(document), document) if document is not None else _known(root) or root
    last = body.namespace.rpartition(":")[2]
    return body, last if _NAME.fullmatch(last) and body.namespace.startswith(NAMESPACE) else ""


def _named(root: Node, name: str) -> Node | None:
    return next((node for node in root.everywhere() if node.name == name), None)


def _known(root: Node) -> Node | None:
    return next((node for node in root.everywhere() if _VERSION.sub("", node.name) in _READERS), None)


class _Reading:
    """The values in a message, and what is found wrong with them on the way."""

    def __init__(self, name: str) -> None:
        self._name = name
        self.findings: list[Finding] = []

    def note(self, where: str, what: str, *, unread: bool = False) -> None:
        # The one that makes a message not understood is never the one too many.
        if len(self.findings) < FINDINGS_MAX or (unread and not any(finding.unread for finding in self.findings)):
            self.findings.append(Finding(where, what[:300], unread))

    def money(self, node: Node, *paths: str) -> Money | None:
        """An amount; an element that is there and cannot be read is reported."""
        found = node.first(*paths)
        return None if found is None else self._money(found, paths[0])

    def sum(self, node: Node, path: str, currency: str) -> Sum | None:
        """How many and how much; one that is there and cannot be read is reported."""
        count, amount = node.text(f"{path}/NbOfNtries"), node.text(f"{path}/Sum")
        if not count or not amount:
            return None
        try:
            return Sum(int(count), to_minor(amount, currency))
        except ValueError as error:
            self.note(path, str(error), unread=True)
            return None

    def day(self, node: Node, *paths: str) -> date | None:
        """A date, or that of a time, whatever it is wrapped in."""
        text = node.text(*(f"{path}/{leaf}" for path in paths for leaf in ("Dt", "DtTm")), *paths)
        if not text:
            return None
        try:
            return date.fromisoformat(text[:10])
        except ValueError:
            self.note(paths[0], f"no date: {text[:40]!r}", unread=True)
            return None

    def instant(self, node: Node, path: str) -> datetime | None:
        """A time; one without an offset is taken for UTC."""
        text = node.text(path)
        if not text:
            return None
        try:
            at = datetime.fromisoformat(text)
            return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
        except (ValueError, OverflowError):
            self.note(path, f"no time: {text[:40]!r}", unread=True)
            return None

    def _money(self, node: Node, where: str) -> Money | None:
        currency, text = node.attribute("Ccy"), node.own_text()
        match = _DECIMAL.fullmatch(text)
        if match is None or not (match[2] or match[3]):
            self.note(where, f"no amount: {text[:40]!r}", unread=True)
            return None
        sign, whole, fraction = match[1], match[2].lstrip("0") or "0", match[3].rstrip("0")
        try:
            minor = to_minor(f"{sign.rstrip('+')}{whole}{'.' * bool(fraction)}{fraction}", currency)
            return Money(minor, currency)
        except ValueError as error:
            self.note(where, str(error), unread=True)
            return None


def _credit_transfers(reading: _Reading, body: Node) -> list[Message]:
    group = body.first("GrpHdr") or body
    header = _header(reading, group)
    transfers = body.all("CdtTrfTxInf")
    _counted(reading, group, len(transfers))
    return [_credit_transfer(reading, header, group, each) for each in transfers]


def _credit_transfer(reading: _Reading, header: Header, group: Node, transfer: Node) -> CreditTransfer:
    ids = Ids(
        message_id=header.message_id,
        instruction_id=transfer.text("PmtId/InstrId"),
        end_to_end_id=transfer.text("PmtId/EndToEndId"),
        transaction_id=transfer.text("PmtId/TxId"),
        uetr=transfer.text("PmtId/UETR"),
    )
    return CreditTransfer(
        header=_agents(header, transfer),
        ids=ids,
        amount=reading.money(transfer, "IntrBkSttlmAmt"),
        settles_on=reading.day(transfer, "IntrBkSttlmDt") or reading.day(group, "IntrBkSttlmDt"),
        debtor=_party(transfer, "Dbtr"),
        creditor=_party(transfer, "Cdtr"),
        charges=transfer.text("ChrgBr"),
        purpose=transfer.text("Purp/Cd", "Purp/Prtry"),
        remittance=_remittance(transfer),
        creditor_reference=transfer.text("RmtInf/Strd/CdtrRefInf/Ref"),
    )


def _statuses(reading: _Reading, body: Node) -> list[Message]:
    header = _header(reading, body.first("GrpHdr") or body)
    groups, transactions = body.all("OrgnlGrpInfAndSts"), body.all("TxInfAndSts")
    if not transactions:
        return [_status(reading, header, group, group, group.text("GrpSts")) for group in groups]
    group = groups[0] if groups else None
    return [_status(reading, header, each, group, each.text("TxSts")) for each in transactions]


def _status(reading: _Reading, header: Header, node: Node, group: Node | None, status: str) -> Status:
    original, kind = _original(node, group)
    return Status(
        header=_agents(header, node),
        original=original,
        original_kind=kind,
        # A group that has one status for all says it for each.
        status=status or (group.text("GrpSts") if group is not None else ""),
        reasons=_reasons(node, "StsRsnInf") or _reasons(group, "StsRsnInf"),
        reference=node.text("AcctSvcrRef", "ClrSysRef"),
        settles_on=reading.day(node, "FctvIntrBkSttlmDt", "OrgnlTxRef/IntrBkSttlmDt"),
        amount=reading.money(node, "OrgnlTxRef/IntrBkSttlmAmt"),
    )


def _status_requests(reading: _Reading, body: Node) -> list[Message]:
    header = _header(reading, body.first("GrpHdr") or body)
    groups, transactions = body.all("OrgnlGrpInf"), body.all("TxInf")
    group = groups[0] if groups else None
    asked = [(_original(node, group), node) for node in transactions or groups]
    return [
        StatusRequest(header=_agents(header, node), original=original, original_kind=kind)
        for (original, kind), node in asked
    ]


def _returns(reading: _Reading, body: Node) -> list[Message]:
    head = body.first("GrpHdr") or body
    header, group = _header(reading, head), body.first("OrgnlGrpInf")
    transactions = body.all("TxInf")
    _counted(reading, head, len(transactions))
    return [_return(reading, header, head, group, each) for each in transactions]


def _return(reading: _Reading, header: Header, head: Node, group: Node | None, node: Node) -> Return:
    original, kind = _original(node, group)
    return Return(
        header=_agents(header, node),
        return_id=node.text("RtrId"),
        original=original,
        original_kind=kind,
        amount=reading.money(node, "RtrdIntrBkSttlmAmt"),
        original_amount=reading.money(node, "OrgnlIntrBkSttlmAmt"),
        settles_on=reading.day(node, "IntrBkSttlmDt") or reading.day(head, "IntrBkSttlmDt"),
        reasons=_reasons(node, "RtrRsnInf") or _reasons(group, "RtrRsnInf"),
        reference=node.text("ClrSysRef"),
    )


def _recalls(reading: _Reading, body: Node) -> list[Message]:
    header, case_id = _assignment(reading, body), body.text("Case/Id")
    found = [(each, each.first("OrgnlGrpInfAndCxl")) for each in body.all("Undrlyg")]
    nodes = [(node, group) for each, group in found for node in each.all("TxInf") or ([group] if group else [])]
    recalls: list[Message] = []
    for node, group in nodes:
        original, kind = _original(node, group)
        recalls.append(
            Recall(
                header=header,
                case_id=node.text("Case/Id", "CxlId", "GrpCxlId") or case_id,
                original=original,
                original_kind=kind,
                amount=reading.money(node, "OrgnlIntrBkSttlmAmt"),
                reasons=_reasons(node, "CxlRsnInf"),
            )
        )
    return recalls


def _resolutions(reading: _Reading, body: Node) -> list[Message]:
    header, case_id, status = _assignment(reading, body), body.text("RslvdCase/Id"), body.text("Sts/Conf")
    nodes = [
        (node, group)
        for details in body.all("CxlDtls")
        for group in [details.first("OrgnlGrpInfAndSts")]
        for node in details.all("TxInfAndSts") or ([group] if group else [])
    ]
    if not nodes:
        return [Resolution(header=header, case_id=case_id, status=status, original=Ids(), original_kind="")]
    resolutions: list[Message] = []
    for node, group in nodes:
        original, kind = _original(node, group)
        resolutions.append(
            Resolution(
                header=header,
                case_id=node.text("RslvdCase/Id") or case_id,
                status=status,
                original=original,
                original_kind=kind,
                individual=node.text("TxCxlSts", "GrpCxlSts"),
                reasons=_reasons(node, "CxlStsRsnInf"),
                reference=node.text("CxlStsId"),
                amount=reading.money(node, "OrgnlIntrBkSttlmAmt", "OrgnlTxRef/IntrBkSttlmAmt"),
            )
        )
    return resolutions


def _statements(name: str) -> Callable[[_Reading, Node], list[Message]]:
    def statements(reading: _Reading, body: Node) -> list[Message]:
        header = _header(reading, body.first("GrpHdr") or body)
        return [_statement(reading, header, each) for each in body.all(name)]

    return statements


def _statement(reading: _Reading, header: Header, node: Node) -> Statement:
    return Statement(
        header=header,
        statement_id=node.text("Id"),
        account=_account(node, "Acct"),
        currency=node.text("Acct/Ccy"),
        owner=node.text("Acct/Ownr/Nm"),
        balances=tuple(_balance(reading, each) for each in node.all("Bal")),
        summary=_summary(reading, node),
        entries=tuple(_entry(reading, each) for each in node.all("Ntry")),
    )


def _summary(reading: _Reading, node: Node) -> Summary | None:
    """Nothing where one of the two sums is not there."""
    credits, debits = (
        reading.sum(node, f"TxsSummry/{name}", node.text("Acct/Ccy")) for name in ("TtlCdtNtries", "TtlDbtNtries")
    )
    return None if credits is None or debits is None else Summary(credits=credits, debits=debits)


def _balance(reading: _Reading, node: Node) -> Balance:
    amount = reading.money(node, "Amt")
    sign = -1 if node.text("CdtDbtInd") == "DBIT" else 1
    return Balance(
        code=node.text("Tp/CdOrPrtry/Cd", "Tp/CdOrPrtry/Prtry", "Tp/Cd"),
        minor=None if amount is None else sign * amount.minor,
        currency="" if amount is None else amount.currency,
        day=reading.day(node, "Dt"),
    )


def _entry(reading: _Reading, node: Node) -> Entry:
    credit = _credit(reading, node)
    return Entry(
        amount=reading.money(node, "Amt"),
        credit=credit,
        reversal=node.text("RvslInd") in ("true", "1"),
        status=node.text("Sts/Cd", "Sts/Prtry", "Sts"),
        booked_on=reading.day(node, "BookgDt"),
        valued_on=reading.day(node, "ValDt"),
        entry_id=node.text("NtryRef"),
        reference=node.text("AcctSvcrRef"),
        code=_bank_code(node),
        details=tuple(_detail(reading, each, credit) for each in node.all("NtryDtls/TxDtls") + node.all("TxDtls")),
    )


def _detail(reading: _Reading, node: Node, credit: bool) -> Detail:
    related, agents = node.first("RltdPties") or node, node.first("RltdAgts") or node
    ids = Ids(
        message_id=node.text("Refs/MsgId"),
        instruction_id=node.text("Refs/InstrId"),
        end_to_end_id=node.text("Refs/EndToEndId"),
        transaction_id=node.text("Refs/TxId"),
        uetr=node.text("Refs/UETR"),
    )
    return Detail(
        ids=ids,
        amount=reading.money(node, "Amt", "AmtDtls/TxAmt/Amt"),
        credit=_credit(reading, node) if node.text("CdtDbtInd") else credit,
        reference=node.text("Refs/AcctSvcrRef"),
        debtor=_party(related, "Dbtr", agents),
        creditor=_party(related, "Cdtr", agents),
        purpose=node.text("Purp/Cd", "Purp/Prtry"),
        remittance=_remittance(node),
        creditor_reference=node.text("RmtInf/Strd/CdtrRefInf/Ref", "RmtInf/Strd/CdtrRefInf/CdtrRef"),
        return_reason=node.text("RtrInf/Rsn/Cd", "RtrInf/Rsn/Prtry"),
    )


def _credit(reading: _Reading, node: Node) -> bool:
    indicator = node.text("CdtDbtInd")
    if indicator not in ("CRDT", "DBIT"):
        reading.note("CdtDbtInd", f"neither credit nor debit: {indicator[:40]!r}", unread=True)
    return indicator == "CRDT"


def _bank_code(node: Node) -> str:
    domain = [node.text(f"BkTxCd/Domn/{path}") for path in ("Cd", "Fmly/Cd", "Fmly/SubFmlyCd")]
    return "/".join(domain) if any(domain) else node.text("BkTxCd/Prtry/Cd")


def _header(reading: _Reading, node: Node) -> Header:
    header = Header(message_id=node.text("MsgId"), created_at=reading.instant(node, "CreDtTm"))
    return _agents(header, node)


def _agents(header: Header, node: Node) -> Header:
    """The header with the banks that this element names, if it does."""
    return Header(
        message_id=header.message_id,
        created_at=header.created_at,
        instructing=_bic(node, "InstgAgt") or header.instructing,
        instructed=_bic(node, "InstdAgt") or header.instructed,
    )


def _assignment(reading: _Reading, body: Node) -> Header:
    node = body.first("Assgnmt") or body
    return Header(
        message_id=node.text("Id"),
        created_at=reading.instant(node, "CreDtTm"),
        instructing=_bic(node, "Assgnr/Agt"),
        instructed=_bic(node, "Assgne/Agt"),
    )


def _original(node: Node, group: Node | None) -> tuple[Ids, str]:
    """What a message is about: told of the transaction, or of the group it is in."""
    ids = Ids(
        message_id=node.text("OrgnlGrpInf/OrgnlMsgId", "OrgnlMsgId") or (group.text("OrgnlMsgId") if group else ""),
        instruction_id=node.text("OrgnlInstrId"),
        end_to_end_id=node.text("OrgnlEndToEndId"),
        transaction_id=node.text("OrgnlTxId"),
        uetr=node.text("OrgnlUETR"),
    )
    kind = node.text("OrgnlGrpInf/OrgnlMsgNmId", "OrgnlMsgNmId") or (group.text("OrgnlMsgNmId") if group else "")
    return ids, kind


def _reasons(node: Node | None, name: str) -> tuple[Reason, ...]:
    found = () if node is None else node.all(name)
    return tuple(
        Reason(each.text("Rsn/Cd", "Rsn/Prtry"), " ".join(line.own_text() for line in each.all("AddtlInf")))
        for each in found
    )


def _party(node: Node, name: str, agents: Node | None = None) -> Party:
    return Party(
        name=node.text(f"{name}/Nm", f"{name}/Pty/Nm"),
        country=node.text(f"{name}/PstlAdr/Ctry", f"{name}/Pty/PstlAdr/Ctry"),
        account=_account(node, f"{name}Acct"),
        bic=_bic(agents or node, f"{name}Agt"),
    )


def _account(node: Node, path: str) -> str:
    return node.text(f"{path}/Id/IBAN", f"{path}/Id/Othr/Id", f"{path}/Id/PrtryAcct/Id")


def _bic(node: Node, path: str) -> str:
    return node.text(f"{path}/FinInstnId/BICFI", f"{path}/FinInstnId/BIC")


def _remittance(node: Node) -> str:
    return " ".join(text for line in node.all("RmtInf/Ustrd") if (text := line.own_text()))


def _counted(reading: _Reading, group: Node, found: int) -> None:
    said = group.text("NbOfTxs")
    if said and said.lstrip("0") != str(found):
        reading.note("GrpHdr/NbOfTxs", f"it says {said[:20]} and there are {found}")


_READERS: Final[dict[str, tuple[str, Callable[[_Reading, Node], Sequence[Message]]]]] = {
    "FIToFICstmrCdtTrf": ("pacs.008", _credit_transfers),
    "FIToFIPmtStsRpt": ("pacs.002", _statuses),
    "FIToFIPmtStsReq": ("pacs.028", _status_requests),
    "PmtRtr": ("pacs.004", _returns),
    "FIToFIPmtCxlReq": ("camt.056", _recalls),
    "RsltnOfInvstgtn": ("camt.029", _resolutions),
    "BkToCstmrAcctRpt": ("camt.052", _statements("Rpt")),
    "BkToCstmrStmt": ("camt.053", _statements("Stmt")),
    "BkToCstmrDbtCdtNtfctn": ("camt.054", _statements("Ntfctn")),
}
"""By the element that holds the message, less the version that old ones end in."""
