"""ISO 20022 messages: what is written is valid and reads back; whatever a bank sends is read or reported."""

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from lxml import etree
from msgspec.structs import replace

from adapters.rails.wire import messages as m
from adapters.rails.wire import xml
from adapters.rails.wire.conversation import ids_of, notices, order, question
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
)
from adapters.rails.wire.reading import FINDINGS_MAX, Finding, read
from adapters.rails.wire.writing import write, write_advice
from adapters.rails.wire.xml import NotValid
from domain.money import Money
from domain.rail import Operation
from tests.wires import BANK, DAY, HOUSE, NO_SHARED, REQUEST_ID, SENT_AT, SHARED, VECTORS, instruction

HEADER = Header(message_id="M-1", created_at=SENT_AT, instructing="COBADEFFXXX", instructed="DAYBDEFFXXX")
AMOUNT = Money(12345, "EUR")
DEBTOR = Party(name="Daybook Payments Ltd", country="DE", account="DE89370400440532013000", bic="COBADEFFXXX")
CREDITOR = Party(name="Zoe + Sohne", country="GB", account="12345678", bic="BUKBGB22")

EVERY_KIND: dict[str, Message] = {
    m.CREDIT_TRANSFER: CreditTransfer(
        header=HEADER,
        ids=replace(ids_of(REQUEST_ID), message_id="M-1"),
        amount=AMOUNT,
        settles_on=DAY,
        debtor=DEBTOR,
        creditor=CREDITOR,
        charges="DEBT",
        purpose="REFU",
        remittance="Invoice 4711",
        creditor_reference="RF18539007547034",
    ),
    m.STATUS: Status(
        header=HEADER,
        original=ids_of(REQUEST_ID),
        original_kind=m.CREDIT_TRANSFER,
        status="RJCT",
        reasons=(Reason("AC04", "closed in 2025"), Reason("BANK-OWN-77")),
        reference="B-1",
        settles_on=DAY,
        amount=AMOUNT,
    ),
    m.STATUS_REQUEST: StatusRequest(header=HEADER, original=ids_of(REQUEST_ID), original_kind=m.CREDIT_TRANSFER),
    m.RETURN: Return(
        header=HEADER,
        return_id="R-1",
        original=ids_of(REQUEST_ID),
        original_kind=m.CREDIT_TRANSFER,
        amount=Money(12000, "EUR"),
        original_amount=AMOUNT,
        settles_on=DAY,
        reasons=(Reason("AC04", "closed"),),
        reference="B-2",
    ),
    m.RECALL: Recall(
        header=HEADER,
        case_id="C-1",
        original=ids_of(REQUEST_ID),
        original_kind=m.CREDIT_TRANSFER,
        amount=AMOUNT,
        reasons=(Reason("DUPL", "sent twice"),),
    ),
    m.RESOLUTION: Resolution(
        header=HEADER,
        case_id="C-1",
        status="RJCR",
        original=ids_of(REQUEST_ID),
        original_kind=m.CREDIT_TRANSFER,
        individual="RJCR",
        reasons=(Reason("CUST", "the payee keeps it"),),
        reference="B-3",
        amount=AMOUNT,
    ),
    m.ADVICE: Statement(
        header=Header(message_id="M-1", created_at=SENT_AT),
        statement_id="A-1",
        account="DE89370400440532013000",
        currency="EUR",
        owner="Daybook Payments Ltd",
        entries=(
            Entry(
                amount=AMOUNT,
                credit=False,
                status="BOOK",
                booked_on=DAY,
                valued_on=DAY,
                reversal=True,
                entry_id="E-1",
                reference="B-4",
                code="PMNT/ICDT/XBCT",
                details=(
                    Detail(
                        ids=ids_of(REQUEST_ID),
                        amount=AMOUNT,
                        reference="B-4",
                        debtor=DEBTOR,
                        creditor=CREDITOR,
                        remittance="Invoice 4711",
                        creditor_reference="RF18539007547034",
                        return_reason="AC01",
                    ),
                ),
            ),
            Entry(amount=AMOUNT, credit=True, status="BOOK", booked_on=None, valued_on=None, code="PMNT/RCDT/XBCT"),
        ),
    ),
}


def vector(name: str) -> bytes:
    return (VECTORS / name).read_bytes()


def in_document(body: str, kind: str = "pacs.002.001.10") -> bytes:
    return f'<Document xmlns="urn:iso:std:iso:20022:tech:xsd:{kind}">{body}</Document>'.encode()


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_every_kind_that_is_written_reads_back(kind: str) -> None:
    """
    It is of its kind, nothing is found wrong with it, and it says what was to be said: all of it.
    """
    message = EVERY_KIND[kind]

    found = read(write(message))

    assert (found.name, found.kind, found.findings) == (kind, kind[:8], ())
    assert found.contents == (message,)
    assert found.understood


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_what_is_written_is_valid_by_the_schema(kind: str) -> None:
    """
    Asked of the schema itself and not by our own code, and with something taken away it is valid no more.
    """
    schema = etree.XMLSchema(file=str(Path(xml.__file__).parent / "xsd" / f"{kind}.xsd"))
    tree = etree.fromstring(write(EVERY_KIND[kind]))

    schema.assertValid(tree)
    tree[0].remove(tree[0][0])
    assert not schema.validate(tree)


@pytest.mark.skipif(not SHARED.is_dir(), reason=NO_SHARED)
@pytest.mark.parametrize("kind", EVERY_KIND)
def test_our_schemas_are_the_ones_that_others_have(kind: str) -> None:
    """
    Not a byte of them was changed.
    """
    ours = Path(xml.__file__).parent / "xsd" / f"{kind}.xsd"

    assert ours.read_bytes() == (SHARED / "xsd" / ours.name).read_bytes()


@pytest.mark.parametrize(
    "wrong",
    [
        {"ids": Ids(end_to_end_id="x" * 36)},
        {"ids": Ids(instruction_id="1")},
        {"ids": Ids(end_to_end_id="1", uetr="81C8F01E-E6FB-4BE4-963F-36DC9A2D6AAD")},
        {"amount": None},
        {"amount": Money(-1, "EUR")},
        {"charges": "ANY"},
        {"purpose": "TOO LONG"},
        {"remittance": "x" * 141},
        {"remittance": "\x01"},
        {"creditor": replace(CREDITOR, name="x" * 141)},
        {"creditor": replace(CREDITOR, bic="bukbgb22")},
        {"creditor": replace(CREDITOR, country="GBR")},
        {"header": replace(HEADER, created_at=None)},
    ],
)
def test_what_would_not_be_valid_is_not_written(wrong: dict[str, Any]) -> None:
    """
    Lengths, patterns, what is missing, characters that XML does not have: found before anything leaves.
    """
    with pytest.raises(NotValid):
        write(replace(EVERY_KIND[m.CREDIT_TRANSFER], **wrong))


@pytest.mark.parametrize(
    ("currency", "minor", "written"),
    [("EUR", 5, "0.05"), ("JPY", 1050, "1050"), ("KWD", 1, "0.001"), ("CLF", 1, "0.0001"), ("USD", 2**53 - 1, None)],
)
def test_amounts_have_their_currency_s_digits(currency: str, minor: int, written: str | None) -> None:
    """
    None to four of them, and the largest amount of a posting is no exception.
    """
    content = write(replace(EVERY_KIND[m.RECALL], amount=Money(minor, currency)))

    assert read(content).contents[0].amount == Money(minor, currency)  # type: ignore[union-attr]
    assert f'<OrgnlIntrBkSttlmAmt Ccy="{currency}">{written or "90071992547409.91"}<'.encode() in content


def test_an_advice_of_several_accounts() -> None:
    """
    Each account has its own part, and one without entries is said as well.
    """
    first = EVERY_KIND[m.ADVICE]
    assert isinstance(first, Statement)
    second = replace(first, account="NOTPROVIDED", statement_id="A-2", entries=())

    assert read(write_advice([first, second])).contents == (first, second)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("payout.xml", order(instruction(), HOUSE, BANK, DAY)),
        ("refund.xml", order(instruction(Operation.REFUND), HOUSE, BANK, DAY)),
        ("recall.xml", order(instruction(Operation.REVERSE), HOUSE, BANK, DAY)),
        ("question.xml", question(instruction(), HOUSE, BANK)),
        ("question-recall.xml", question(instruction(Operation.REVERSE), HOUSE, BANK)),
    ],
)
def test_the_very_bytes_of_what_is_sent(name: str, content: object) -> None:
    """
    An instruction that was once sent is sent again as the same bytes, whatever has become of this code since.
    """
    assert content == vector(name)


def test_an_old_version_in_an_envelope_with_prefixes() -> None:
    """
    A bank that answers for the group alone, in another encoding, with more digits of a second than anybody needs.
    """
    found = read(vector("bank-settled.xml"))

    assert (found.kind, found.name, found.findings) == ("pacs.002", "pacs.002.001.03", ())
    assert found.contents == (
        Status(
            header=Header(message_id="S-1", created_at=datetime(2026, 3, 2, 10, 15, 31, 123456, UTC)),
            original=Ids(message_id=REQUEST_ID),
            original_kind="pacs.008.001.08",
            status="ACSC",
        ),
    )


def test_a_newer_version_with_reasons_of_its_own() -> None:
    """
    A proprietary code and a standard one, a text in two lines, an amount with a sign and too many zeros.
    """
    (status,) = read(vector("bank-rejected.xml")).contents

    assert isinstance(status, Status)
    assert status.reasons == (Reason("B-77", "Konto ist geschlossen"), Reason("AC04"))
    assert status.amount == AMOUNT
    assert status.original.instruction_id == REQUEST_ID


def test_incoming_money_without_so_much_as_a_namespace() -> None:
    """
    What can be read of it is read; a wrong count and an amount finer than its currency are reported, and that message
    is not taken for understood.
    """
    found = read(vector("bank-credit.xml"))
    first, second = found.contents

    assert isinstance(first, CreditTransfer) and isinstance(second, CreditTransfer)
    assert first.amount == Money(12000, "JPY")
    assert first.debtor == Party(name="Ann Payer", country="GB", account="12345678")
    assert first.remittance == "my order, rf18 5390 0754 7034"
    assert (first.settles_on, first.header.instructing) == (date(2026, 3, 2), "BUKBGB22")
    assert first.header.created_at == datetime(2026, 3, 2, 8, tzinfo=UTC)
    assert second.amount is None
    assert found.findings == (
        Finding("GrpHdr/NbOfTxs", "it says 3 and there are 2"),
        Finding("IntrBkSttlmAmt", "1.005 is finer than the 2 decimal digits of EUR", unread=True),
    )
    assert not found.understood


def test_a_statement_of_the_first_version() -> None:
    """
    Balances below zero, dates as times, codes of the bank's own; an amount and a date that are none are reported.
    """
    found = read(vector("bank-statement.xml"))
    (statement,) = found.contents

    assert isinstance(statement, Statement)
    assert statement.balances == (
        Balance(code="OPBD", minor=-1000, currency="EUR", day=date(2026, 3, 3)),
        Balance(code="CLBD", minor=9000, currency="EUR", day=date(2026, 3, 3)),
    )
    assert statement.entries[0] == Entry(
        amount=None, credit=True, status="BOOK", booked_on=None, valued_on=None, code="NTRF"
    )
    assert statement.entries[1] == Entry(
        amount=Money(10000, "EUR"),
        credit=True,
        status="BOOK",
        booked_on=date(2026, 3, 3),
        valued_on=date(2026, 3, 4),
        reversal=True,
        reference="A-9",
        code="PMNT/RCDT/XBCT",
        details=(
            Detail(
                ids=Ids(end_to_end_id="E-9"),
                amount=Money(10000, "EUR"),
                credit=True,
                debtor=Party(name="Ann Payer", bic="BUKBGB22"),
                return_reason="AC01",
            ),
        ),
    )
    assert [(finding.where, finding.unread) for finding in found.findings] == [("Amt", True), ("BookgDt", True)]


def test_what_breaks_its_schema_is_read_and_reported() -> None:
    """
    A status with an element that nobody knows still says what it says.
    """
    good = write(EVERY_KIND[m.STATUS])

    found = read(good.replace(b"<TxSts>", b"<Surprise>1</Surprise><TxSts>"))

    assert found.contents == (EVERY_KIND[m.STATUS],)
    assert "Surprise" in found.findings[0].what
    assert found.understood


def test_a_message_in_the_wrong_namespace() -> None:
    """
    It is what its elements say it is, and that it calls itself something else is reported.
    """
    found = read(in_document("<PmtRtr><TxInf/></PmtRtr>", "pacs.002.001.10"))

    assert found.kind == "pacs.004"
    assert found.findings[0].what == "it calls itself pacs.002.001.10 and is pacs.004"


@pytest.mark.parametrize(
    "amount",
    ["", "1,5", "1e3", "--1", "NaN", "0x10", "1.2.3", "9" * 40, "\u0661", ".", "+", "1 000"],
)
def test_what_is_no_amount(amount: str) -> None:
    """
    It is told that there was one which cannot be read, never guessed at.
    """
    body = f'<TxInfAndSts><OrgnlTxRef><IntrBkSttlmAmt Ccy="EUR">{amount}</IntrBkSttlmAmt></OrgnlTxRef></TxInfAndSts>'
    found = read(in_document(f"<FIToFIPmtStsRpt>{body}</FIToFIPmtStsRpt>"))

    assert isinstance(found.contents[0], Status)
    assert found.contents[0].amount is None
    assert not found.understood


@pytest.mark.parametrize(("text", "minor"), [("1.", 100), (".5", 50), ("+7", 700), ("007.10000", 710), (" 1\n", 100)])
def test_what_is_an_amount_by_the_schema_s_own_rules(text: str, minor: int) -> None:
    """
    Source: XML Schema 1.0 part 2, decimal.
    """
    body = f'<TxInfAndSts><OrgnlTxRef><IntrBkSttlmAmt Ccy="EUR">{text}</IntrBkSttlmAmt></OrgnlTxRef></TxInfAndSts>'
    (status,) = read(in_document(f"<FIToFIPmtStsRpt>{body}</FIToFIPmtStsRpt>")).contents

    assert isinstance(status, Status)
    assert status.amount == Money(minor, "EUR")


LAUGHS = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))
HOSTILE = {
    "nothing": b"",
    "no XML": b"hello",
    "zeros": b"\0" * 100,
    "JSON": b'{"a": 1}',
    "truncated": vector("bank-settled.xml")[:400],
    "two roots": b"<a/><b/>",
    "billion laughs": f'<!DOCTYPE l [<!ENTITY l0 "ha">{LAUGHS}]><Document>&l9;</Document>'.encode(),
    "attribute laughs": f'<!DOCTYPE l [<!ENTITY l0 "ha">{LAUGHS}]><Document a="&l9;"/>'.encode(),
    "a file": b'<!DOCTYPE d [<!ENTITY x SYSTEM "file:///etc/passwd">]><Document>&x;</Document>',
    "the network": b'<!DOCTYPE d SYSTEM "http://127.0.0.1:1/x.dtd"><Document/>',
    "parameter entity": b'<!DOCTYPE d [<!ENTITY % x SYSTEM "file:///etc/passwd">%x;]><Document/>',
    "entity without a type": b"<Document>&x;</Document>",
    "UTF-16": '<?xml version="1.0" encoding="UTF-16"?><!DOCTYPE d><Document/>'.encode("utf-16"),
    "UTF-7": b'<?xml version="1.0" encoding="UTF-7"?>+ADwAIQ-DOCTYPE d+AD4-<Document/>',
    "EBCDIC": '<?xml version="1.0" encoding="cp037"?><Document/>'.encode("cp037"),
    "not UTF-8": b"<Document>\xff\xfe</Document>",
    "deep": b"<a>" * 5000 + b"</a>" * 5000,
    "a long name": b"<" + b"a" * 100_000 + b"/>",
    "unknown": b"<Document><Surprise/></Document>",
    "empty": b"<Document/>",
    "no namespace for a prefix": b"<d:Document><d:PmtRtr/></d:Document>",
    "include": b'<Document xmlns:xi="http://www.w3.org/2001/XInclude"><xi:include href="/etc/passwd"/></Document>',
}


A_TYPE, AN_ENCODING = "it has a document type declaration", "in an encoding that is not read"
REFUSED = {
    **dict.fromkeys(("billion laughs", "attribute laughs", "a file", "the network", "parameter entity"), A_TYPE),
    **dict.fromkeys(("zeros", "UTF-16", "UTF-7"), AN_ENCODING),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_dangerous_is_refused_before_it_is_parsed(name: str) -> None:
    """
    The parser would bear it too; it is not asked.
    """
    assert read(HOSTILE[name]).findings[0].what == REFUSED[name]


def test_comments_and_instructions_are_not_there() -> None:
    """
    A status is the same with a comment in the middle of it.
    """
    good = write(EVERY_KIND[m.STATUS])

    assert read(good.replace(b"RJCT", b"RJ<!-- ACSC --><?php?>CT")).contents == (EVERY_KIND[m.STATUS],)


def test_a_status_of_a_group_is_that_of_each_payment_in_it() -> None:
    """
    Where the payment is named and has no status of its own.
    """
    group = "<OrgnlGrpInfAndSts><OrgnlMsgId>M-9</OrgnlMsgId><GrpSts>ACSP</GrpSts></OrgnlGrpInfAndSts>"
    payments = "<TxInfAndSts><OrgnlTxId>1</OrgnlTxId></TxInfAndSts><TxInfAndSts><TxSts>RJCT</TxSts></TxInfAndSts>"
    found = read(in_document(f"<FIToFIPmtStsRpt>{group}{payments}</FIToFIPmtStsRpt>")).contents

    told = [(each.original.message_id, each.status) for each in found if isinstance(each, Status)]
    assert told == [("M-9", "ACSP"), ("M-9", "RJCT")]


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_bytes(name: str) -> None:
    """
    Nothing is expanded, fetched or raised; it is reported why nothing could be read.
    """
    found = read(HOSTILE[name])

    assert (found.kind, found.contents) == ("", ())
    assert found.findings[0].unread
    assert "root:" not in repr(found)
    assert not found.understood
    assert notices(HOSTILE[name])[0] == ()


def test_a_huge_message_is_not_looked_at() -> None:
    """
    Beyond the bound it is refused before it is parsed.
    """
    found = read(b"<Document>" + b" " * 1000 + b"</Document>", size_max=1000)

    assert found.findings == (Finding("", "larger than 1000 bytes", unread=True),)


def test_every_truncation_of_a_message_is_borne() -> None:
    """
    Wherever a connection breaks off, what came is not taken for a message.
    """
    content = write(EVERY_KIND[m.STATUS])

    assert all(not read(content[:end]).understood for end in range(len(content)))


def test_the_findings_are_bounded_and_the_telling_one_is_not_lost() -> None:
    """
    A thousand faults are told as a hundred; that something could not be read is among them.
    """
    wrong = '<TxInfAndSts><OrgnlTxRef><IntrBkSttlmAmt Ccy="EUR">x</IntrBkSttlmAmt></OrgnlTxRef></TxInfAndSts>'
    found = read(in_document(f"<FIToFIPmtStsRpt>{wrong * 1000}</FIToFIPmtStsRpt>"))

    assert len(found.contents) == 1000
    assert FINDINGS_MAX <= len(found.findings) <= 2 * FINDINGS_MAX
    assert not found.understood


def test_recalls_and_resolutions_of_a_whole_group() -> None:
    """
    A bank may recall a message, or answer, without naming its payments.
    """
    recall = read(
        in_document(
            "<FIToFIPmtCxlReq><Case><Id>C-1</Id></Case><Undrlyg><OrgnlGrpInfAndCxl><OrgnlMsgId>M-1</OrgnlMsgId>"
            "<OrgnlMsgNmId>pacs.008</OrgnlMsgNmId></OrgnlGrpInfAndCxl></Undrlyg></FIToFIPmtCxlReq>",
            "camt.056.001.01",
        )
    ).contents
    bare = read(in_document("<RsltnOfInvstgtn><Sts><Conf>CNCL</Conf></Sts></RsltnOfInvstgtn>", "camt.029.001.03"))

    assert [(each.case_id, each.original.message_id) for each in recall if isinstance(each, Recall)] == [("C-1", "M-1")]
    assert [each.status for each in bare.contents if isinstance(each, Resolution)] == ["CNCL"]


def test_a_question_about_a_whole_message() -> None:
    """
    pacs.028 may name the message alone.
    """
    body = "<OrgnlGrpInf><OrgnlMsgId>M-9</OrgnlMsgId><OrgnlMsgNmId>pacs.008.001.08</OrgnlMsgNmId></OrgnlGrpInf>"
    (asked,) = read(in_document(f"<FIToFIPmtStsReq>{body}</FIToFIPmtStsReq>", "pacs.028.001.01")).contents

    assert isinstance(asked, StatusRequest)
    assert (asked.original.message_id, asked.original_kind) == ("M-9", "pacs.008.001.08")
