"""The messages, bytes out and bytes in; see the package for what they leave out of NPCI's.

What is read is what strangers sent: no document type, no depth, no size beyond what a message needs.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final
from xml.parsers import expat
from xml.sax.saxutils import quoteattr

from msgspec import Struct, field

from domain.money import AMOUNT_MAX, to_decimal, to_minor
from domain.upi import IST

NAMESPACE: Final = "http://npci.org/upi/schema/"
MESSAGE_MAX: Final = 64 * 1024
"""Bytes."""
DEPTH_MAX: Final = 8
ELEMENTS_MAX: Final = 200
PREFIX: Final = "DBK"
"""What the ids of a bank's or app's payments begin with, as NPCI gives it to each; this one is made up."""
NOTE_MAX: Final = 50

SUCCESS, FAILURE, WAITING, DEEMED = "SUCCESS", "FAILURE", "PENDING", "DEEMED"
"""A payment's result."""
COLLECT, PAY, REFUND = "COLLECT", "PAY", "REFUND"
"""A payment's type: the payee asks, the payer sends, the payee gives back."""
BY_DEFAULT, BY_INTENT = "00", "04"
"""How a payment was initiated."""


class MessageMalformed(ValueError):
    """The bytes are no message of the kind that was expected."""


class Party(Struct, frozen=True, kw_only=True):
    """Payer or payee. `mcc`: the category of a merchant; `0000` for a person."""

    address: str
    name: str = ""
    merchant: bool = False
    mcc: str = "0000"


class Head(Struct, frozen=True, kw_only=True):
    """Who sends a message and when. `message_id`: of this one message; a payment's id is that of all about it."""

    organisation: str
    message_id: str
    at: datetime


class ReqPay(Struct, frozen=True, kw_only=True):
    """Pay, ask for a payment, or give one back.

    Args:
        payment_id: 35 letters and digits, for ever. `reference`: ours, shown to both sides.
        amount: Paise.
        original_id: The payment that is given back; empty otherwise. `original_rrn`: its retrieval reference number.
        expire_after: How long the payer has to answer, in whole minutes; for COLLECT.
    """

    head: Head
    payment_id: str
    type: str
    payer: Party
    payee: Party
    amount: int
    currency: str = "INR"
    note: str = ""
    reference: str = ""
    mode: str = BY_DEFAULT
    original_id: str = ""
    original_rrn: str = ""
    expire_after: timedelta | None = None


class ReqChkTxn(Struct, frozen=True, kw_only=True):
    """What became of a payment?"""

    head: Head
    payment_id: str


class ReqValAdd(Struct, frozen=True, kw_only=True):
    """Whose is this address?"""

    head: Head
    payment_id: str
    address: str


class RespPay(Struct, frozen=True, kw_only=True):
    """What became of a payment: the answer to ReqPay and to ReqChkTxn, and what is said without being asked.

    Args:
        api: `RespPay` or `RespChkTxn`.
        answers: The message id of the question.
        result: SUCCESS, FAILURE, WAITING or DEEMED.
        rrn: The retrieval reference number, 12 digits; empty where there is no payment.
        amount: Paise; None where there is no payment. `approval`: the payer's bank's number.
        settles_on: `YYYY-MM-DD`.
    """

    api: str
    head: Head
    answers: str
    payment_id: str
    result: str
    code: str
    rrn: str = ""
    amount: int | None = None
    currency: str = ""
    approval: str = ""
    settles_on: str = ""


class RespValAdd(Struct, frozen=True, kw_only=True):
    """Whose an address is. `account`: `SAVINGS`, `CURRENT` ...; `name` and that are empty where there is none."""

    head: Head
    answers: str
    result: str
    code: str
    address: str
    name: str = ""
    merchant: bool = False
    account: str = ""


Request = ReqPay | ReqChkTxn | ReqValAdd


def payment_id(request_id: str) -> str:
    """Of 35 letters and digits, as NPCI demands; the same for the same request id, for ever."""
    return PREFIX + request_id.rjust(35 - len(PREFIX), "0")


def note(text: str) -> str:
    """What of a text can stand in a message for people to read."""
    return "".join(c for c in text if c.isprintable())[:NOTE_MAX].strip()


def write(message: Request | RespPay | RespValAdd) -> bytes:
    """The message as it is sent."""
    match message:
        case ReqPay():
            name, inner = "ReqPay", _req_pay(message)
        case ReqChkTxn(payment_id=about):
            name, inner = "ReqChkTxn", [_txn(message.head.message_id, message.head, "ChkTxn", orgTxnId=about)]
        case ReqValAdd(payment_id=own, address=asked):
            inner = [_txn(own, message.head, "ValAdd"), _element("Payee", {"addr": asked, "seqNum": "1"})]
            name = "ReqValAdd"
        case RespPay():
            name, inner = message.api, _resp_pay(message)
        case RespValAdd():
            name, inner = "RespValAdd", _resp_val_add(message)
    content = "".join([_head(message.head), *inner])
    text = f'<?xml version="1.0" encoding="UTF-8"?>\n<upi:{name} xmlns:upi="{NAMESPACE}">{content}</upi:{name}>'
    return text.encode()


def read_request(data: bytes) -> Request:
    """A question.

    Raises:
        MessageMalformed: It is none, or lacks what is needed to answer it.
    """
    root = _parse(data)
    head, txn = _read_head(root), root.child("Txn")
    match root.name:
        case "ReqPay":
            return _read_req_pay(root, head, txn)
        case "ReqChkTxn":
            return ReqChkTxn(head=head, payment_id=txn.get("orgTxnId"))
        case "ReqValAdd":
            return ReqValAdd(head=head, payment_id=txn.get("id"), address=root.child("Payee").get("addr"))
        case other:
            raise MessageMalformed(f"{other} is no request")


def read_resp_pay(data: bytes) -> RespPay:
    """What became of a payment.

    Raises:
        MessageMalformed: It does not say.
    """
    root = _parse(data)
    if root.name not in ("RespPay", "RespChkTxn"):
        raise MessageMalformed(f"{root.name[:40]} says nothing about a payment")
    response = root.child("Resp")
    references = response.children("Ref")
    if len(references) > 1:
        raise MessageMalformed("a payment with more than one part")
    part = references[0] if references else None
    return RespPay(
        api=root.name,
        head=_read_head(root),
        answers=response.get("reqMsgId"),
        payment_id=root.child("Txn").get("orgTxnId" if root.name == "RespChkTxn" else "id"),
        result=response.get("result"),
        code=part.get("respCode") if part else response.get("errCode"),
        rrn=root.child("Txn").get("custRef", ""),
        amount=_amount(part.get("settAmount"), part.get("settCurrency")) if part else None,
        currency=part.get("settCurrency") if part else "",
        approval=part.get("approvalNum", "") if part else "",
        settles_on=part.get("settDate", "") if part else "",
    )


def read_resp_val_add(data: bytes) -> RespValAdd:
    """Whose an address is.

    Raises:
        MessageMalformed: It does not say.
    """
    root = _parse(data)
    if root.name != "RespValAdd":
        raise MessageMalformed(f"{root.name[:40]} says nothing about an address")
    response = root.child("Resp")
    return RespValAdd(
        head=_read_head(root),
        answers=response.get("reqMsgId"),
        result=response.get("result"),
        code=response.get("errCode"),
        address=root.child("Payee").get("addr"),
        name=response.get("maskName", ""),
        merchant=response.get("type", "") == "ENTITY",
        account=response.get("accType", ""),
    )


def _req_pay(message: ReqPay) -> list[str]:
    rules = ""
    if message.expire_after is not None:
        minutes = str(message.expire_after // timedelta(minutes=1))
        rules = f"<Rules>{_element('Rule', {'name': 'EXPIREAFTER', 'value': minutes})}</Rules>"
    txn = _txn(
        message.payment_id,
        message.head,
        message.type,
        inner=rules,
        note=message.note,
        refId=message.reference,
        initiationMode=message.mode,
        orgTxnId=message.original_id,
        orgRrn=message.original_rrn,
    )
    amount = _element("Amount", {"value": str(to_decimal(message.amount, "INR")), "curr": message.currency})
    payee = _party("Payee", message.payee, amount)
    return [txn, _party("Payer", message.payer, amount), f"<Payees>{payee}</Payees>"]


def _resp_pay(message: RespPay) -> list[str]:
    about = {"orgTxnId": message.payment_id} if message.api == "RespChkTxn" else {}
    own = message.head.message_id if about else message.payment_id
    part = ""
    if message.amount is not None:
        rupees = str(to_decimal(message.amount, "INR"))
        said = {
            "type": "PAYEE",
            "seqNum": "1",
            "settAmount": rupees,
            "orgAmount": rupees,
            "settCurrency": message.currency,
            "approvalNum": message.approval,
            "respCode": message.code,
            "settDate": message.settles_on,
        }
        part = _element("Ref", {name: value for name, value in said.items() if value})
    response = {"reqMsgId": message.answers, "result": message.result, "errCode": message.code}
    kind = "ChkTxn" if about else "PAY"
    return [_txn(own, message.head, kind, custRef=message.rrn, **about), _element("Resp", response, part)]


def _resp_val_add(message: RespValAdd) -> list[str]:
    said = {
        "reqMsgId": message.answers,
        "result": message.result,
        "errCode": message.code,
        "maskName": message.name,
        "type": "ENTITY" if message.merchant else "PERSON",
        "accType": message.account,
    }
    payee = _element("Payee", {"addr": message.address, "seqNum": "1"})
    return [_txn(message.head.message_id, message.head, "ValAdd"), payee, _element("Resp", said)]


def _head(head: Head) -> str:
    said = {"ver": "2.0", "ts": _time(head.at), "orgId": head.organisation, "msgId": head.message_id}
    return _element("Head", {**said, "prodType": "UPI"})


def _txn(id: str, head: Head, type: str, *, inner: str = "", **said: str) -> str:
    given = {name: value for name, value in said.items() if value}
    return _element("Txn", {"id": id, "ts": _time(head.at), "type": type, **given}, inner)


def _party(name: str, party: Party, amount: str) -> str:
    kind = "ENTITY" if party.merchant else "PERSON"
    said = {"addr": party.address, "name": party.name, "seqNum": "1", "type": kind, "code": party.mcc}
    return _element(name, said, amount)


def _element(name: str, attributes: Mapping[str, str], inner: str = "") -> str:
    said = "".join(f" {key}={quoteattr(value)}" for key, value in attributes.items())
    return f"<{name}{said}>{inner}</{name}>" if inner else f"<{name}{said}/>"


def _time(at: datetime) -> str:
    """As NPCI's: to the second, in India."""
    return at.astimezone(IST).isoformat(timespec="seconds")


class _Element(Struct):
    name: str
    attributes: dict[str, str]
    inner: list["_Element"] = field(default_factory=list)

    def children(self, name: str) -> Sequence["_Element"]:
        return [child for child in self.inner if child.name == name]

    def child(self, name: str) -> "_Element":
        found = self.children(name)
        if len(found) != 1:
            raise MessageMalformed(f"{self.name[:40]} with {len(found)} {name}")
        return found[0]

    def get(self, name: str, default: str | None = None) -> str:
        value = self.attributes.get(name, default)
        if value is None:
            raise MessageMalformed(f"{self.name[:40]} without {name}")
        return value


def _parse(data: bytes) -> _Element:
    if len(data) > MESSAGE_MAX:
        raise MessageMalformed(f"a message of {len(data)} bytes")
    top = _Element("", {})
    open_: list[_Element] = [top]
    count = 0

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal count
        count += 1
        if len(open_) > DEPTH_MAX or count > ELEMENTS_MAX:
            raise MessageMalformed("more elements than a message has")
        element = _Element(_local(name, root=len(open_) == 1), attributes)
        open_[-1].inner.append(element)
        open_.append(element)

    def end(name: str) -> None:
        open_.pop()

    def doctype(*_: object) -> None:
        # Entities could be declared in it, that grow, or that name files.
        raise MessageMalformed("a document type in a message")

    parser = expat.ParserCreate(encoding="UTF-8", namespace_separator=" ")
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.StartDoctypeDeclHandler = doctype
    try:
        parser.Parse(data, True)
    except expat.ExpatError as error:
        raise MessageMalformed(f"not XML: {error}") from error
    return top.inner[0]


def _local(name: str, *, root: bool) -> str:
    """Without the namespace, which the root element must have; what is within it is written without one."""
    namespace, _, local = name.rpartition(" ")
    if namespace not in ((NAMESPACE,) if root else ("", NAMESPACE)):
        raise MessageMalformed(f"an element of another namespace: {name[:80]!r}")
    return local


def _read_head(root: _Element) -> Head:
    head = root.child("Head")
    try:
        at = datetime.fromisoformat(head.get("ts"))
    except ValueError as error:
        raise MessageMalformed(f"not a time: {head.get('ts')[:40]!r}") from error
    if at.tzinfo is None:
        raise MessageMalformed("a time without its zone")
    return Head(organisation=head.get("orgId"), message_id=head.get("msgId"), at=at)


def _read_req_pay(root: _Element, head: Head, txn: _Element) -> ReqPay:
    payer, payee = root.child("Payer"), root.child("Payees").child("Payee")
    amount = payee.child("Amount")
    if amount.attributes != payer.child("Amount").attributes:
        raise MessageMalformed("payer and payee with different amounts")
    return ReqPay(
        head=head,
        payment_id=txn.get("id"),
        type=txn.get("type"),
        payer=_read_party(payer),
        payee=_read_party(payee),
        amount=_amount(amount.get("value"), amount.get("curr")),
        currency=amount.get("curr"),
        note=txn.get("note", ""),
        reference=txn.get("refId", ""),
        mode=txn.get("initiationMode", BY_DEFAULT),
        original_id=txn.get("orgTxnId", ""),
        original_rrn=txn.get("orgRrn", ""),
        expire_after=_expire_after(txn),
    )


def _read_party(element: _Element) -> Party:
    return Party(
        address=element.get("addr"),
        name=element.get("name", ""),
        merchant=element.get("type") == "ENTITY",
        mcc=element.get("code", "0000"),
    )


def _expire_after(txn: _Element) -> timedelta | None:
    for rules in txn.children("Rules"):
        for rule in rules.children("Rule"):
            if rule.get("name") == "EXPIREAFTER":
                minutes = rule.get("value")
                if not (minutes.isascii() and minutes.isdigit() and 1 <= int(minutes[:9]) <= 64_800):
                    raise MessageMalformed("EXPIREAFTER is 1 to 64800 minutes")
                return timedelta(minutes=int(minutes))
    return None


def _amount(value: str, currency: str) -> int:
    """Minor units, of any currency: that it is another than INR is for others to see and to refuse."""
    try:
        amount = to_minor(value, currency)
    except ValueError as error:
        raise MessageMalformed(str(error)) from error
    if not 0 <= amount <= AMOUNT_MAX:
        raise MessageMalformed(f"no amount that can be paid: {value[:40]}")
    return amount
