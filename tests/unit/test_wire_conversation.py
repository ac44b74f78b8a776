"""What is asked of a bank, and what its messages come to: approved only where everything fits what was asked."""

from datetime import date, timedelta, timezone
from typing import Any

import pytest
from msgspec.structs import replace

from adapters.rails.wire.codes import REASONS, SEEN_BEFORE, SETTLED, UNDER_WAY, declined
from adapters.rails.wire.conversation import (
    Bank,
    Concluded,
    Credited,
    House,
    Returned,
    ids_of,
    notices,
    order,
    understand,
)
from adapters.rails.wire.identifiers import creditor_reference, uetr
from adapters.rails.wire.messages import (
    CREDIT_TRANSFER,
    RECALL,
    CreditTransfer,
    Header,
    Ids,
    Message,
    Party,
    Reason,
    Resolution,
    Return,
    Status,
)
from adapters.rails.wire.reading import read
from adapters.rails.wire.writing import write
from domain.money import Money
from domain.rail import Accepted, Answer, Approved, Declined, Iban, NotFound, Operation, Retry, Unknown
from tests.wires import BANK, DAY, HOUSE, PAID_ID, PAYEE, REQUEST_ID, SENT_AT, VECTORS, instruction

HEADER = Header(message_id="S-1", created_at=SENT_AT, instructing="COBADEFFXXX", instructed="DAYBDEFFXXX")
STATUS = Status(
    header=HEADER,
    original=ids_of(REQUEST_ID),
    original_kind=CREDIT_TRANSFER,
    status="ACSC",
    reference="B-1",
    settles_on=DAY,
    amount=Money(12345, "EUR"),
)
RESOLUTION = Resolution(
    header=HEADER,
    case_id=REQUEST_ID,
    status="CNCL",
    original=ids_of(PAID_ID),
    original_kind=CREDIT_TRANSFER,
    individual="ACCR",
    reference="B-2",
    amount=Money(12345, "EUR"),
)
RETURN = Return(
    header=HEADER,
    return_id="R-1",
    original=ids_of(PAID_ID),
    original_kind=CREDIT_TRANSFER,
    amount=Money(12345, "EUR"),
    original_amount=Money(12345, "EUR"),
    settles_on=DAY,
    reasons=(Reason("FOCR"),),
)
PAYOUT, REVERSAL = instruction(), instruction(Operation.REVERSE)


def to_payout(*, inquired: bool = False, **changes: Any) -> Answer:
    return understand(PAYOUT, write(replace(STATUS, **changes)), inquired=inquired)


def to_recall(message: Message = RESOLUTION, *, inquired: bool = False, **changes: Any) -> Answer:
    return understand(REVERSAL, write(replace(message, **changes)), inquired=inquired)


def rejected(*codes: str) -> dict[str, Any]:
    return {"status": "RJCT", "reasons": tuple(Reason(code) for code in codes), "settles_on": None}


@pytest.mark.parametrize("operation", [Operation.PAYOUT, Operation.REFUND])
def test_a_payment_names_everything(operation: Operation) -> None:
    """
    A payout and a refund are both a pacs.008 to the payee, known by the request id alone.
    """
    content = order(instruction(operation), HOUSE, BANK, DAY)
    assert isinstance(content, bytes)
    (transfer,) = read(content).contents

    assert isinstance(transfer, CreditTransfer)
    assert transfer.ids == ids_of(REQUEST_ID)
    assert transfer.amount == Money(12345, "EUR")
    assert transfer.settles_on == DAY
    assert transfer.debtor.account == BANK.account
    assert transfer.creditor == Party(name="Zoe + Sohne", country="GB", account=PAYEE.iban, bic=PAYEE.bic)
    assert (transfer.header.instructing, transfer.header.instructed) == (HOUSE.bic, BANK.bic)
    refund = operation is Operation.REFUND
    assert transfer.purpose == ("REFU" if refund else "")
    assert (f"Refund of {PAID_ID}" in transfer.remittance) is refund


@pytest.mark.parametrize("operation", [Operation.COLLECT, Operation.AUTHORIZE, Operation.CAPTURE, Operation.INCREMENT])
def test_nobody_can_be_debited_by_wire(operation: Operation) -> None:
    """
    What takes money from somebody is refused before anything is sent, and another rail may do it.
    """
    answer = order(instruction(operation), HOUSE, BANK, DAY)

    assert isinstance(answer, Declined)
    assert (answer.reason, answer.retry) == ("not_permitted", Retry.ELSEWHERE)


@pytest.mark.parametrize(
    ("payee", "reason"),
    [
        ({"iban": "GB34BUKB20201555555555"}, "invalid_account"),
        ({"bic": "BUKB"}, "invalid_account"),
        ({"holder": "日本"}, "invalid_details"),
        ({"holder": ""}, "invalid_details"),
        ({"country": "GBR"}, "invalid_message"),
    ],
)
def test_what_cannot_be_paid_is_not_asked(payee: dict[str, str], reason: str) -> None:
    """
    A payee who cannot be named in a valid message is a no at once, and nothing was sent.
    """
    answer = order(
        instruction(method=Iban(**({"iban": PAYEE.iban, "bic": PAYEE.bic, "holder": "A", "country": "GB"} | payee))),
        HOUSE,
        BANK,
        DAY,
    )

    assert isinstance(answer, Declined)
    assert (answer.reason, answer.code) == (reason, "")


@pytest.mark.parametrize(
    ("whose", "wrong"),
    [
        *((HOUSE, wrong) for wrong in ({"name": "日本"}, {"country": "de"}, {"country": "DEU"}, {"bic": "DAYB"})),
        *((BANK, wrong) for wrong in ({"bic": "x"}, {"account": "DE88370400440532013000"}, {"charges": "OUR"})),
    ],
)
def test_a_house_or_a_bank_that_no_message_could_name(whose: House | Bank, wrong: dict[str, str]) -> None:
    """
    It is found when Daybook starts, not by the first payment.
    """
    with pytest.raises(ValueError, match=next(iter(wrong.values()))):
        replace(whose, **wrong)


def test_a_reversal_that_names_nothing_is_not_asked() -> None:
    """
    A recall is of a payment that has a request id.
    """
    answer = order(instruction(Operation.REVERSE, original_request_id=""), HOUSE, BANK, DAY)

    assert isinstance(answer, Declined)
    assert answer.reason == "original_not_found"


def test_when_it_was_decided_is_one_moment_wherever() -> None:
    """
    The bytes do not depend on the time zone in which the moment is told.
    """
    elsewhere = instruction(sent_at=SENT_AT.astimezone(timezone(timedelta(hours=5, minutes=30))))

    assert order(elsewhere, HOUSE, BANK, DAY) == order(instruction(), HOUSE, BANK, DAY)


def test_the_codes_that_matter_are_where_they_belong() -> None:
    """
    Written out, since the other tests go by the table.
    """
    assert SETTLED == {"ACSC", "ACCC"}
    assert {"ACSP", "ACTC", "ACCP", "ACWC", "PDNG", "RCVD"} <= UNDER_WAY
    assert not UNDER_WAY & (SETTLED | {"RJCT", "CANC"})


@pytest.mark.parametrize("code", sorted(SETTLED))
def test_settled_is_approved(code: str) -> None:
    """
    With the bank's own reference, its code and the day it says.
    """
    assert to_payout(status=code) == Approved(
        reference="B-1", amount=12345, currency="EUR", code=code, settles_on="2026-03-03"
    )


def test_a_bank_that_says_little_is_believed() -> None:
    """
    An older message for the group alone names neither amount nor reference: the UETR is what others will know it by.
    """
    answer = understand(PAYOUT, (VECTORS / "bank-settled.xml").read_bytes())

    assert answer == Approved(reference=uetr(REQUEST_ID), amount=12345, currency="EUR", code="ACSC")


@pytest.mark.parametrize("code", sorted(UNDER_WAY))
def test_under_way_is_accepted(code: str) -> None:
    """
    Neither done nor refused: it will be told, or can be asked.
    """
    assert to_payout(status=code) == Accepted(reference="B-1", code=code)


def test_rejected_is_declined() -> None:
    """
    With the first reason that is known, the bank's own words, and what may be done then.
    """
    answer = understand(PAYOUT, (VECTORS / "bank-rejected.xml").read_bytes())

    assert answer == Declined(
        code="AC04",
        reason="account_closed",
        message="The account is closed. Konto ist geschlossen",
        retry=Retry.NEVER,
    )


@pytest.mark.parametrize(
    ("code", "reason", "retry"),
    [
        ("AC01", "invalid_account", Retry.NEVER),
        ("AM04", "insufficient_funds", Retry.LATER),
        ("MS03", "declined", Retry.ELSEWHERE),
        ("RR04", "against_law", Retry.NEVER),
        ("ED06", "rail_unavailable", Retry.LATER),
        ("ZZ99", "declined", Retry.NEVER),
    ],
)
def test_reasons(code: str, reason: str, retry: Retry) -> None:
    """
    A row of each kind; a code that is not in the table is a no like any other, and nobody tries it again by itself.
    """
    answer = to_payout(**rejected(code))

    assert isinstance(answer, Declined)
    assert (answer.code, answer.reason, answer.retry) == (code, reason, retry)


def test_the_table_of_reasons_is_whole() -> None:
    """
    Every row has a sentence, a reason in the words of all rails, and a code that a message can hold.
    """
    assert all(1 <= len(row.code) <= 4 and row.message.endswith(".") for row in REASONS.values())
    assert all(row.reason.islower() and " " not in row.reason for row in REASONS.values())
    assert declined(()).reason == "declined"


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"amount": Money(12346, "EUR")}, id="another amount"),
        pytest.param({"amount": Money(12345, "USD")}, id="another currency"),
        pytest.param({"original": replace(ids_of(REQUEST_ID), uetr=uetr("x"))}, id="another UETR"),
        pytest.param({"original": replace(ids_of(REQUEST_ID), end_to_end_id="x")}, id="another end-to-end id"),
        pytest.param({"original": replace(ids_of(REQUEST_ID), message_id="x")}, id="another message"),
        pytest.param({"original": ids_of(PAID_ID)}, id="another payment"),
        pytest.param({"original": Ids(message_id="x")}, id="another message alone"),
        pytest.param({"original": Ids()}, id="nothing"),
        pytest.param({"original_kind": "pacs.028.001.03"}, id="the question"),
        pytest.param({"original_kind": "pacs.028.001.03", **rejected("FF01")}, id="no to the question"),
        pytest.param({"original_kind": "camt.056.001.08"}, id="a recall"),
        pytest.param({"status": "WHAT"}, id="a status that is not known"),
        pytest.param({"status": ""}, id="no status"),
        pytest.param(rejected("AG09"), id="never received what it answers"),
        *(pytest.param(rejected(code), id=f"seen before, {code}") for code in sorted(SEEN_BEFORE)),
    ],
)
def test_what_does_not_fit_leaves_it_unknown(changes: dict[str, Any]) -> None:
    """
    It may have been done, so it is neither a yes nor a no: somebody has to ask again, or look.
    """
    assert isinstance(to_payout(**changes), Unknown)
    if changes.get("reasons") != (Reason("AG09"),):
        assert isinstance(to_payout(inquired=True, **changes), Unknown)


@pytest.mark.parametrize("other", ["approved", "rejected"])
def test_an_amount_that_cannot_be_read_leaves_it_unknown(other: str) -> None:
    """
    Whatever the status says: the bank said something about the money which is not understood.
    """
    status = STATUS if other == "approved" else replace(STATUS, **rejected("AC04"))
    content = write(status).replace(b">123.45<", b">123.456<")

    assert isinstance(understand(PAYOUT, content), Unknown)


def test_a_status_told_twice_is_one_and_two_that_differ_are_none() -> None:
    """
    A duplicate changes nothing; a bank that contradicts itself has said nothing.
    """
    one, other = write(STATUS).decode(), write(replace(STATUS, **rejected("AC04"))).decode()
    first, second = (text[text.index("<TxInfAndSts>") : text.index("</FIToFI")] for text in (one, other))
    twice, both = (one.replace("</FIToFI", f"{more}</FIToFI") for more in (first, second))

    assert isinstance(understand(PAYOUT, twice.encode()), Approved)
    assert isinstance(understand(PAYOUT, both.encode()), Unknown)


def test_others_in_the_same_message_do_not_matter() -> None:
    """
    A bank may answer many payments at once.
    """
    one = write(STATUS).decode()
    other = write(replace(STATUS, original=ids_of(PAID_ID), status="RJCT")).decode()
    more = other[other.index("<TxInfAndSts>") : other.index("</FIToFI")]

    assert isinstance(understand(PAYOUT, one.replace("<TxInfAndSts>", f"{more}<TxInfAndSts>", 1).encode()), Approved)


@pytest.mark.parametrize(
    "content", [b"", b"<html>Bad gateway</html>", b"<Document/>", write(RETURN), write(RESOLUTION)]
)
def test_what_is_no_answer_leaves_it_unknown(content: bytes) -> None:
    """
    A proxy's page, nothing, another kind of message.
    """
    assert isinstance(understand(PAYOUT, content), Unknown)


@pytest.mark.parametrize("code", ["AG09", "NOOR"])
def test_never_received_is_not_found_when_it_was_asked(code: str) -> None:
    """
    Only to a question: then the payment may be sent again, under the same id.
    """
    assert to_payout(inquired=True, **rejected(code)) == NotFound()
    assert isinstance(to_payout(inquired=True, **rejected("AC04")), Declined)
    assert isinstance(to_payout(inquired=True), Approved)


def test_a_recall_that_succeeds() -> None:
    """
    By a resolution, or by the money itself.
    """
    assert to_recall() == Approved(reference="B-2", amount=12345, currency="EUR", code="CNCL")
    assert to_recall(RETURN) == Approved(reference="R-1", amount=12345, currency="EUR", code="FOCR")


def test_a_recall_that_does_not() -> None:
    """
    A refusal has its reason; what was passed on waits; a question may find that it was never received.
    """
    refused = to_recall(status="RJCR", individual="RJCR", reasons=(Reason("ARDT"),))

    assert isinstance(refused, Declined)
    assert refused.reason == "already_returned"
    assert to_recall(status="PDCR", individual="PDCR") == Accepted(reference="B-2", code="PDCR")
    of_recall = replace(STATUS, original_kind=RECALL)
    assert to_recall(replace(of_recall, **rejected("FF13")), inquired=True) == NotFound()
    assert isinstance(to_recall(replace(of_recall, **rejected("FF01"))), Declined)


@pytest.mark.parametrize(
    "message",
    [
        pytest.param(replace(RESOLUTION, status="PECR"), id="a part of it"),
        pytest.param(replace(RESOLUTION, individual="RJCR"), id="yes and no"),
        pytest.param(replace(RESOLUTION, status="RJCR"), id="no and yes"),
        pytest.param(replace(RESOLUTION, case_id="x"), id="another case"),
        pytest.param(replace(RESOLUTION, original=ids_of("x")), id="another payment"),
        pytest.param(replace(RESOLUTION, amount=Money(1, "EUR")), id="another amount"),
        pytest.param(replace(RETURN, amount=Money(12000, "EUR")), id="less comes back"),
        pytest.param(replace(RETURN, original=ids_of(REQUEST_ID)), id="another payment comes back"),
        pytest.param(replace(STATUS, original_kind=RECALL), id="the recall itself is settled"),
        pytest.param(replace(STATUS, **rejected("FF01")), id="a payment under the recall's id is rejected"),
        pytest.param(replace(STATUS, original=ids_of(PAID_ID)), id="the payment is settled"),
    ],
)
def test_a_recall_whose_answer_does_not_fit_is_unknown(message: Message) -> None:
    """
    Parts, contradictions, and what was not asked about.
    """
    assert isinstance(to_recall(message), Unknown)


def test_a_question_about_a_recall_that_is_rejected_says_nothing_of_the_recall() -> None:
    """
    A bank may not do such questions at all.
    """
    assert isinstance(to_recall(replace(STATUS, original_kind=RECALL, **rejected("AG02")), inquired=True), Unknown)


def test_what_a_bank_says_by_itself() -> None:
    """
    A late status and a late resolution name their request; a return its payment, its amount and why.
    """
    assert notices(write(STATUS))[0] == (Concluded(request_id=REQUEST_ID),)
    assert notices(write(RESOLUTION))[0] == (Concluded(request_id=REQUEST_ID),)
    assert notices(write(replace(RETURN, reasons=(Reason("AC04"),))))[0] == (
        Returned(
            request_id=PAID_ID,
            amount=12345,
            currency="EUR",
            why=declined((Reason("AC04"),)),
            reference="R-1",
            settles_on=DAY,
        ),
    )


def test_money_that_comes_in_names_its_payment() -> None:
    """
    The reference is found in the remittance text; what cannot be read is no credit, and is told.
    """
    found, message = notices((VECTORS / "bank-credit.xml").read_bytes())

    assert found == (
        Credited(
            references=("RF18539007547034",),
            amount=12000,
            currency="JPY",
            payer=Party(name="Ann Payer", country="GB", account="12345678"),
            account="DE89370400440532013000",
            reference="T-1",
            settles_on=date(2026, 3, 2),
        ),
    )
    assert not message.understood


@pytest.mark.parametrize("place", ["creditor_reference", "remittance"])
def test_a_reference_that_was_given_out_comes_back(place: str) -> None:
    """
    Where it belongs, or in the text.
    """
    given_out = creditor_reference("pay_1")
    content = order(instruction(), HOUSE, BANK, DAY)
    assert isinstance(content, bytes)
    (transfer,) = read(content).contents
    (credited,), _ = notices(write(replace(transfer, **{place: given_out})))

    assert isinstance(credited, Credited)
    assert credited.references[0] == given_out
