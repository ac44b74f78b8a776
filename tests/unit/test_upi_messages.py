"""UPI messages and what they mean: only an answer about this payment and all of its amount is believed."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from adapters.rails.upi import codes
from adapters.rails.upi.links import read as read_link
from adapters.rails.upi.messages import (
    DEEMED,
    FAILURE,
    SUCCESS,
    WAITING,
    Head,
    MessageMalformed,
    ReqChkTxn,
    ReqPay,
    Request,
    ReqValAdd,
    RespPay,
    RespValAdd,
    payment_id,
    read_request,
    read_resp_pay,
    read_resp_val_add,
    write,
)
from adapters.rails.upi.rail import Bank, answer_in, asking, holder_in, inquiring, link_for, payment_in, unfit
from domain.rail import (
    Accepted,
    Answer,
    Approved,
    BankAccount,
    Declined,
    Instruction,
    NotFound,
    Operation,
    Rail,
    Retry,
    Unknown,
    UpiAddress,
)
from domain.upi import Address, Holder

SHARED = Path(__file__).parents[2] / "../shared/data/vectors/upi/gateway_response_codes.json"

AT = datetime(2026, 3, 2, 12, tzinfo=UTC)
ID = "0123456789abcdefABCDEF"
RRN = "606117000001"
BANK = Bank(route="mybank", url="http://bank.invalid/upi", address="shop@mybank", name="The Shop", mcc="5411")
HEAD = Head(organisation="NPCI", message_id="N1", at=AT)


def instruction(operation: Operation = Operation.COLLECT, **said: Any) -> Instruction:
    given: dict[str, Any] = {
        "request_id": ID,
        "operation": operation,
        "rail": Rail.UPI,
        "route": "mybank",
        "amount": 1050,
        "currency": "INR",
        "method": UpiAddress(vpa="asha@okbank", holder="Asha Rao"),
        "sent_at": AT,
        "descriptor": 'Tea & "biscuits" <1>',
    }
    return Instruction(**{**given, **said})


def said(result: str = SUCCESS, code: str = "00", **more: Any) -> RespPay:
    given: dict[str, Any] = {
        "api": "RespPay",
        "head": HEAD,
        "answers": "M1",
        "payment_id": payment_id(ID),
        "result": result,
        "code": code,
        "rrn": RRN,
        "amount": 1050,
        "currency": "INR",
        "approval": "000001",
        "settles_on": "2026-03-02",
    }
    return RespPay(**{**given, **more})


def meaning(message: RespPay) -> Answer:
    return answer_in(instruction(), write(message))


def test_the_id_of_a_payment() -> None:
    """
    It has 35 letters and digits, is the request's for ever, and differs where requests do.
    """
    assert payment_id(ID) == "DBK00000000000123456789abcdefABCDEF"
    assert len(payment_id(ID)) == 35 == len(payment_id("z" * 22))
    assert payment_id("0" * 22) != payment_id("1" + "0" * 21)


def test_a_request_as_it_is_sent() -> None:
    """
    Times are India's, amounts have two decimals, and what people wrote cannot break out of its place.
    """
    assert write(asking(instruction(), BANK)).decode() == (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<upi:ReqPay xmlns:upi="http://npci.org/upi/schema/">'
        '<Head ver="2.0" ts="2026-03-02T17:30:00+05:30" orgId="mybank" msgId="MBK00000000000123456789abcdefABCDEF"'
        ' prodType="UPI"/>'
        '<Txn id="DBK00000000000123456789abcdefABCDEF" ts="2026-03-02T17:30:00+05:30" type="COLLECT"'
        " note='Tea &amp; \"biscuits\" &lt;1&gt;'"
        ' refId="0123456789abcdefABCDEF" initiationMode="00">'
        '<Rules><Rule name="EXPIREAFTER" value="5"/></Rules></Txn>'
        '<Payer addr="asha@okbank" name="Asha Rao" seqNum="1" type="PERSON" code="0000">'
        '<Amount value="10.50" curr="INR"/></Payer>'
        '<Payees><Payee addr="shop@mybank" name="The Shop" seqNum="1" type="ENTITY" code="5411">'
        '<Amount value="10.50" curr="INR"/></Payee></Payees>'
        "</upi:ReqPay>"
    )


def test_who_pays_whom() -> None:
    """
    The merchant collects from the payer, pays out to the payee, and refunds what it names as the original.
    """
    collect = asking(instruction(), BANK)
    payout = asking(instruction(Operation.PAYOUT), BANK)
    refund = asking(instruction(Operation.REFUND, original=RRN, original_request_id="x" * 22), BANK)

    assert (collect.payer.address, collect.payee.address) == ("asha@okbank", "shop@mybank")
    assert (payout.payer.address, payout.payee.address) == ("shop@mybank", "asha@okbank")
    assert (refund.payer.address, refund.payee.address) == ("shop@mybank", "asha@okbank")
    assert (refund.type, refund.original_rrn, refund.original_id) == ("REFUND", RRN, payment_id("x" * 22))
    assert payout.expire_after is refund.expire_after is None


def test_the_same_instruction_is_the_same_bytes() -> None:
    """
    Whoever asks again, after whatever crash, sends the very same message.
    """
    assert write(asking(instruction(), BANK)) == write(asking(instruction(), BANK))
    assert write(inquiring(instruction(), BANK)) == write(inquiring(instruction(), BANK))


@pytest.mark.parametrize(
    "message",
    [
        asking(instruction(), BANK),
        asking(instruction(method=UpiAddress(vpa="", flow="intent")), BANK),
        asking(instruction(Operation.REFUND, original=RRN, original_request_id="x" * 22), BANK),
        inquiring(instruction(), BANK),
        ReqValAdd(head=HEAD, payment_id="V1", address="asha@okbank"),
    ],
)
def test_requests_are_read_back(message: Request) -> None:
    """
    What is written is read back the same by the other side.
    """
    assert read_request(write(message)) == message


def test_answers_are_read_back() -> None:
    """
    Answers too, asked for and unasked.
    """
    whose = RespValAdd(
        head=HEAD, answers="V1", result=SUCCESS, code="00", address="a@b1", name="ASHA", account="SAVINGS"
    )

    assert read_resp_pay(write(said())) == said()
    assert read_resp_pay(write(said(api="RespChkTxn"))) == said(api="RespChkTxn")
    nothing = said(FAILURE, "U04", rrn="", amount=None, currency="", approval="", settles_on="")
    assert read_resp_pay(write(nothing)) == nothing
    assert read_resp_val_add(write(whose)) == whose


def test_approved() -> None:
    """
    Success with code 00, for the whole amount, under a reference: the money has moved.
    """
    assert meaning(said()) == Approved(
        reference=RRN, amount=1050, currency="INR", code="00", authorization="000001", settles_on="2026-03-02"
    )


def test_accepted() -> None:
    """
    Pending is accepted: the payer has been asked.
    """
    assert meaning(said(WAITING, "01")) == Accepted(reference=RRN, code="01")


@pytest.mark.parametrize(("code", "reason", "retry"), [(row.code, row.reason, row.retry) for row in codes.DECLINES])
def test_declined(code: str, reason: str, retry: Retry) -> None:
    """
    Each code of the table is a no with its reason, and says what may be done.
    """
    answer = meaning(said(FAILURE, code))

    assert isinstance(answer, Declined)
    assert (answer.code, answer.reason, answer.retry) == (code, reason, retry)
    assert answer.message.endswith(".")


def test_a_code_of_no_table() -> None:
    """
    A failure with another code is a no; nothing is done again by itself.
    """
    answer = meaning(said(FAILURE, "Q7"))

    assert isinstance(answer, Declined)
    assert (answer.code, answer.reason, answer.retry) == ("Q7", "declined", Retry.NEVER)


@pytest.mark.parametrize("code", codes.DEEMED)
@pytest.mark.parametrize("result", [SUCCESS, FAILURE, WAITING, DEEMED])
def test_deemed_is_never_a_no(code: str, result: str) -> None:
    """
    Codes that do not tell whether money moved leave the outcome unknown, whatever result goes with them.
    """
    assert isinstance(meaning(said(result, code)), Unknown)


@pytest.mark.parametrize(
    "message",
    [
        said(amount=1051),
        said(amount=1049),
        said(currency="USD"),
        said(payment_id=payment_id("z" * 22)),
        said(rrn=""),
        said(SUCCESS, "Z9"),
        said(FAILURE, "00"),
        said(FAILURE, "01"),
        said(WAITING, "00"),
        said(WAITING, "01", rrn=""),
        said(DEEMED, "00"),
        said("success", "00"),
        said("", ""),
        said(SUCCESS, "00", amount=None),
        said(FAILURE, "Z9", amount=1),
        said(FAILURE, "U09", amount=None, api="RespChkTxn"),
    ],
)
def test_what_is_not_believed(message: RespPay) -> None:
    """
    Another amount, currency or payment, no reference, or a result that its code contradicts: the outcome is unknown.
    """
    answer = meaning(message)

    assert isinstance(answer, Unknown)
    assert answer.why


def test_not_found() -> None:
    """
    Only the answer to an inquiry can say that there is no such payment; to a request the same code is a no.
    """
    none = {"rrn": "", "amount": None, "currency": "", "approval": "", "settles_on": ""}

    assert meaning(said(FAILURE, "U04", api="RespChkTxn", **none)) == NotFound()
    assert isinstance(meaning(said(FAILURE, "U04", **none)), Declined)
    assert isinstance(meaning(said(FAILURE, "U04", api="RespChkTxn")), Declined)
    assert isinstance(meaning(said(FAILURE, "U17", api="RespChkTxn", **none)), Unknown)
    assert isinstance(meaning(said(FAILURE, "U01", **none)), Unknown)


RESPONSE = write(said())[write(said()).index(b"<Resp ") : write(said()).index(b"</upi:")]
REFERENCE = RESPONSE[RESPONSE.index(b"<Ref ") : RESPONSE.index(b"</Resp>")]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<",
        b"\xff\xfe",
        b"<a/>",
        b'<RespPay xmlns="http://elsewhere.example/"/>',
        b'<!DOCTYPE a [<!ENTITY b "c">]><RespPay xmlns="http://npci.org/upi/schema/"/>',
        b'<RespPay xmlns="http://npci.org/upi/schema/"/>',
        write(said()).replace(b"10.50", b"10.505"),
        write(said()).replace(b"10.50", b"-10.50"),
        write(said()).replace(b"10.50", b"99999999999999999.00"),
        write(said()).replace(b"10.50", b"NaN"),
        write(said()).replace(b'"INR"', b'"XXX"'),
        write(said()).replace(b"+05:30", b""),
        write(said()).replace(b"2026-03-02T", b"yesterday"),
        write(said()).replace(RESPONSE, RESPONSE * 2),
        write(said()).replace(REFERENCE, REFERENCE * 2),
        write(said()).replace(REFERENCE, REFERENCE + b"<Other/>" * 1000),
        write(said()).replace(REFERENCE, REFERENCE + b"<Other>" * 20 + b"</Other>" * 20),
        write(said()).replace(b"<Ref ", b"<Other " + b'x="' + b"y" * 70_000 + b'"/><Ref '),
        write(inquiring(instruction(), BANK)),
    ],
)
def test_what_is_no_answer(data: bytes) -> None:
    """
    What cannot be read, in whatever way, is refused at once, and leaves the outcome unknown.
    """
    with pytest.raises(MessageMalformed):
        read_resp_pay(data)
    assert isinstance(answer_in(instruction(), data), Unknown)


@pytest.mark.parametrize(
    "data",
    [
        b"<a/>",
        write(said()),
        write(asking(instruction(), BANK)).replace(b'"10.50"', b'"10.51"', 1),
        write(asking(instruction(), BANK)).replace(b'name="EXPIREAFTER" value="5"', b'name="EXPIREAFTER" value="0"'),
        write(asking(instruction(), BANK)).replace(b'name="EXPIREAFTER" value="5"', b'name="EXPIREAFTER" value="x"'),
    ],
)
def test_what_is_no_request(data: bytes) -> None:
    """
    The other side refuses what it could read in two ways.
    """
    with pytest.raises(MessageMalformed):
        read_request(data)


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        (instruction(Operation.AUTHORIZE), "not_supported"),
        (instruction(Operation.VOID), "not_supported"),
        (instruction(currency="USD"), "currency_not_supported"),
        (instruction(method=UpiAddress(vpa="asha")), "invalid_address"),
        (instruction(method=UpiAddress(vpa="")), "invalid_address"),
        (instruction(Operation.PAYOUT, method=UpiAddress(vpa="", flow="intent")), "invalid_address"),
    ],
)
def test_what_is_never_asked(asked: Instruction, reason: str) -> None:
    """
    What UPI cannot do is declined without asking it.
    """
    answer = unfit(asked)

    assert answer is not None
    assert (answer.code, answer.reason, answer.retry) == ("", reason, Retry.NEVER)


def test_what_can_be_asked() -> None:
    """
    A collect request needs an address, a link does not.
    """
    assert unfit(instruction()) is None
    assert unfit(instruction(method=UpiAddress(vpa="", flow="intent"))) is None
    account = BankAccount(routing_number="1", account_number="1", holder="A")
    with pytest.raises(AssertionError):
        unfit(instruction(method=account))


def test_a_link_for_a_payment() -> None:
    """
    It asks for the payment's amount under the ids by which the bank's answers name it.
    """
    link = read_link(link_for(instruction(), BANK))

    assert (link.amount, str(link.payee), link.mcc) == (1050, "shop@mybank", "5411")
    assert (link.reference, link.psp_reference) == (ID, payment_id(ID))
    assert payment_in(write(said())) == link.psp_reference


def test_whose_an_address_is() -> None:
    """
    A holder, nobody, or no answer that could be believed; a name is what can be read of it.
    """
    asha = Address("asha", "okbank")
    answer = RespValAdd(
        head=HEAD, answers="V1", result=SUCCESS, code="00", address="asha@okbank", name="ASHA", account="SAVINGS"
    )
    nobody = msgspec.structs.replace(answer, result=FAILURE, code="ZH", name="", account="")

    assert holder_in(asha, write(answer)) == Holder(address=asha, name="ASHA", merchant=False, account="savings")
    assert holder_in(asha, write(nobody)) is None
    turned = holder_in(asha, write(msgspec.structs.replace(answer, name="ASHA\u202e RAO" + "A" * 99)))
    assert turned is not None and turned.name == ("ASHA RAO" + "A" * 99)[:50]
    for wrong in (
        msgspec.structs.replace(answer, address="other@okbank"),
        msgspec.structs.replace(answer, result=FAILURE),
        msgspec.structs.replace(nobody, code="Y1"),
    ):
        with pytest.raises(MessageMalformed):
            holder_in(asha, write(wrong))


@pytest.mark.skipif(not SHARED.is_file(), reason="the collected codes are not there: vectors/upi in ../shared/data")
def test_codes_from_elsewhere() -> None:
    """
    Every code that gateways publish means here what they say, but for those that are read more carefully.

    U01: a duplicate says nothing about the first. U04 in an answer to an inquiry is NotFound.
    """
    more_careful = {"U01"}
    meanings = {"SUCCESS": Approved, "PENDING": Accepted}

    for code, (status, _) in json.loads(SHARED.read_text("utf-8"))["payment"].items():
        results = {"SUCCESS": SUCCESS, "PENDING": WAITING, "DEEMED": DEEMED}
        answer = meaning(said(results.get(status, FAILURE), code))
        if status in ("DEEMED", "DEEMED_OR_FAILURE", "PARTIAL_REVERSAL") or code in more_careful:
            assert isinstance(answer, Unknown), code
        else:
            assert isinstance(answer, meanings.get(status, Declined)), code
        if isinstance(answer, Declined):
            assert code in codes.BY_CODE


def test_each_code_means_one_thing() -> None:
    """
    No code is in two tables, or twice in one.
    """
    listed = [codes.APPROVED, *codes.PENDING, *codes.DEEMED, *(row.code for row in codes.DECLINES)]

    assert len(listed) == len(set(listed))


def test_how_long_a_payer_has() -> None:
    """
    It is said in whole minutes.
    """
    request = read_request(write(asking(instruction(), BANK)))

    assert isinstance(request, ReqPay)
    assert request.expire_after == timedelta(minutes=5)
    assert read_request(write(inquiring(instruction(), BANK))) == ReqChkTxn(
        head=Head(organisation="mybank", message_id=f"C{payment_id(ID)[1:]}", at=AT), payment_id=payment_id(ID)
    )
