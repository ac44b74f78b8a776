"""Wire messages for any values: what is written is valid and reads back equal; what is read never raises."""

from datetime import UTC, date
from typing import Any

import hypothesis.strategies as st
from hypothesis import given, settings
from lxml import etree
from msgspec.structs import replace

from adapters.rails.simulator.wire import MAGIC
from adapters.rails.wire import xml
from adapters.rails.wire.conversation import notices, order, question, understand
from adapters.rails.wire.identifiers import (
    NAME_MAX,
    REMITTANCE_MAX,
    creditor_reference,
    is_creditor_reference,
    references_in,
    swift_text,
    uetr,
)
from adapters.rails.wire.messages import (
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
from adapters.rails.wire.reading import read
from adapters.rails.wire.writing import write
from domain.money import AMOUNT_MAX, MINOR_DIGITS, Money
from domain.rail import Declined, Iban, Operation, Unknown
from tests.wires import BANK, DAY, HOUSE, PAYEE, instruction

LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/-?:().,'+"
ids35 = st.text("abcXYZ0189-", min_size=1, max_size=35)
anything = st.text(max_size=300)
bics = st.from_regex(r"[A-Z0-9]{4}[A-Z]{2}[A-Z0-9]{2}([A-Z0-9]{3})?", fullmatch=True)
codes = st.text("ABCXYZ0189", min_size=1, max_size=4)
# Years that XML Schema's dates and Python's have in common.
days = st.dates(date(1000, 1, 1), date(9999, 12, 30))
moments = st.datetimes(timezones=st.just(UTC)).filter(lambda at: 1000 <= at.year < 9999)
moneys = st.builds(Money, st.integers(1, AMOUNT_MAX), st.sampled_from(sorted(MINOR_DIGITS)))
uetrs = st.builds(uetr, st.text(max_size=5))


def texts(limit: int) -> st.SearchStrategy[str]:
    """What there is to say, as it is said on the wire."""
    return st.text(max_size=limit).map(lambda text: swift_text(text, limit))


headers = st.builds(Header, message_id=ids35, created_at=moments, instructing=bics, instructed=bics)
idses = st.builds(
    Ids, message_id=ids35, instruction_id=ids35, end_to_end_id=ids35, transaction_id=ids35, uetr=uetrs | st.just("")
)
parties = st.builds(
    Party,
    name=texts(NAME_MAX).filter(bool),
    country=st.sampled_from(["", "DE", "GB"]),
    account=st.sampled_from(["", "DE89370400440532013000", "12345678"]),
    bic=bics,
)
reasons = st.lists(st.builds(Reason, code=codes | ids35, text=texts(105)), max_size=3).map(tuple)
of_original: dict[str, Any] = {"header": headers, "original": idses, "original_kind": st.just("pacs.008.001.08")}
details = st.builds(
    Detail,
    ids=idses,
    amount=moneys,
    credit=st.booleans(),
    reference=ids35,
    debtor=parties,
    creditor=parties,
    remittance=texts(REMITTANCE_MAX),
    creditor_reference=ids35,
    return_reason=codes,
)
entries = st.builds(
    Entry,
    amount=moneys,
    credit=st.booleans(),
    status=codes,
    booked_on=st.none() | days,
    valued_on=st.none() | days,
    reversal=st.booleans(),
    entry_id=ids35,
    reference=ids35,
    code=st.just("PMNT/RCDT/XBCT"),
    details=st.lists(details, max_size=2).map(tuple),
)


@st.composite
def transfers(draw: st.DrawFn) -> CreditTransfer:
    ids, header = draw(idses), draw(headers)
    return CreditTransfer(
        header=replace(header, message_id=ids.message_id),
        ids=ids,
        amount=draw(moneys),
        settles_on=draw(st.none() | days),
        debtor=draw(parties),
        creditor=draw(parties),
        charges=draw(st.sampled_from(["DEBT", "CRED", "SHAR", "SLEV"])),
        purpose=draw(st.just("") | codes),
        remittance=draw(texts(REMITTANCE_MAX)),
        creditor_reference=draw(st.just("") | ids35),
    )


messages: st.SearchStrategy[Message] = st.one_of(
    transfers(),
    st.builds(
        Status,
        **of_original,
        status=codes,
        reasons=reasons,
        reference=ids35,
        settles_on=st.none() | days,
        amount=st.none() | moneys,
    ),
    st.builds(StatusRequest, **of_original),
    st.builds(
        Return,
        **of_original,
        return_id=ids35,
        amount=moneys,
        original_amount=st.none() | moneys,
        settles_on=st.none() | days,
        reasons=reasons,
        reference=ids35,
    ),
    st.builds(Recall, **of_original, case_id=ids35, amount=st.none() | moneys, reasons=reasons),
    st.builds(
        Resolution,
        **of_original,
        case_id=ids35,
        status=codes,
        individual=st.sampled_from(["", "ACCR", "RJCR", "PDCR"]),
        reasons=reasons,
        reference=ids35,
        amount=st.none() | moneys,
    ),
    st.builds(
        Statement,
        header=st.builds(Header, message_id=ids35, created_at=moments),
        statement_id=ids35,
        account=st.sampled_from(["DE89370400440532013000", "12345678"]),
        currency=st.sampled_from(["", "EUR"]),
        owner=texts(NAME_MAX),
        entries=st.lists(entries, max_size=3).map(tuple),
    ),
)


@given(messages)
@settings(deadline=None)
def test_what_is_written_is_valid_and_reads_back_equal(message: Message) -> None:
    """
    Every kind, with every currency, any text as the wire says it, fields there or not.
    """
    content = write(message)
    found = read(content)

    assert found.findings == ()
    assert found.contents == (message,)
    etree.XMLSchema(file=f"{xml._SCHEMAS}/{found.name}.xsd").assertValid(etree.fromstring(content))


@given(
    st.builds(Iban, iban=st.just(PAYEE.iban) | anything, bic=bics | anything, holder=anything, country=anything),
    anything,
    st.integers(1, AMOUNT_MAX) | st.sampled_from(sorted(MAGIC)),
    st.sampled_from(sorted(MINOR_DIGITS)),
    st.sampled_from([Operation.PAYOUT, Operation.REFUND, Operation.REVERSE]),
)
@settings(deadline=None)
def test_any_instruction_becomes_a_valid_message_or_a_no(
    payee: Iban, descriptor: str, amount: int, currency: str, operation: Operation
) -> None:
    """
    Whatever was entered as a name, an IBAN or a text: never anything that a bank could not read, and never an error.
    """
    given = instruction(operation, method=payee, descriptor=descriptor, amount=amount, currency=currency)

    for message in (order(given, HOUSE, BANK, DAY), question(given, HOUSE, BANK)):
        if isinstance(message, Declined):
            assert message.reason in {"invalid_account", "invalid_details", "invalid_message"}
        else:
            assert read(message).findings == ()
            assert read(message).understood


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_any_bytes_are_borne(content: bytes) -> None:
    """
    No bytes raise, and none are an answer.
    """
    assert not read(content).understood
    assert isinstance(understand(instruction(), content), Unknown)
    assert notices(content)[0] == ()


@given(messages, st.data())
@settings(deadline=None)
def test_a_damaged_message_is_borne(message: Message, data: st.DataObject) -> None:
    """
    With any piece taken out or put in, reading tells something or reports it, and raises nothing.
    """
    content = write(message)
    start, length = data.draw(st.integers(0, len(content))), data.draw(st.integers(0, 40))
    damaged = content[:start] + data.draw(st.binary(max_size=5)) + content[start + length :]

    read(damaged)
    notices(damaged)
    understand(instruction(), damaged)


@given(messages)
@settings(deadline=None)
def test_no_message_about_another_payment_is_an_answer(message: Message) -> None:
    """
    Whatever a bank says of payments that have other ids, ours is as unknown as before.
    """
    assert isinstance(understand(instruction(), write(message)), Unknown)


@given(st.text(), st.integers(0, 200))
def test_a_text_on_the_wire(text: str, limit: int) -> None:
    """
    Only characters of the set, no longer than it may be, and said again it is the same.
    """
    said = swift_text(text, limit)

    assert len(said) <= limit
    assert set(said) <= {*LETTERS, " "}
    assert said == said.strip() and "  " not in said and "//" not in said and not said.startswith("/")
    assert swift_text(said, limit) == said


@given(st.text(max_size=30), st.text("abc xyz,;", max_size=10), st.integers(2, 6))
def test_a_reference_is_found_again(name: str, around: str, group: int) -> None:
    """
    However it is grouped, and whatever words stand around it.
    """
    reference = creditor_reference(name)
    grouped = " ".join(reference[start : start + group] for start in range(0, len(reference), group))

    assert is_creditor_reference(reference)
    assert reference in references_in(f"{around} {grouped}; {around}")


@given(st.text(max_size=30), st.integers(4, 24), st.sampled_from("0123456789"))
def test_a_slip_in_a_reference_is_found(name: str, place: int, digit: str) -> None:
    """
    Any one digit replaced by another, or any two that stand together swapped.
    """
    reference = creditor_reference(name)
    slip = reference[:place] + digit + reference[place + 1 :]
    swap = reference[: place - 1] + reference[place] + reference[place - 1] + reference[place + 1 :]

    assert [each for each in (slip, swap) if each != reference and is_creditor_reference(each)] == []
