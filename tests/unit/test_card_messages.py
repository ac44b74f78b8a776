"""The card network's messages: the very bytes of each request, decoded by others, and what each answer comes to."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import iso8583
import pytest
from iso8583.specs import default_ascii
from msgspec.structs import replace

from adapters.rails.card.cards import BY_TOKEN, Placeholder
from adapters.rails.card.codec import MTI, MessageMalformed, decode, encode
from adapters.rails.card.messages import (
    ECHO,
    SIGN_ON,
    Asked,
    Reference,
    acceptor,
    answer_type,
    ask,
    key_of,
    manage,
    private,
    read_answer,
    read_private,
    read_reference,
    settlement_day,
    traced,
)
from adapters.rails.card.rail import CardRail
from domain.ports import RailPort
from domain.rail import Approved, Card, Declined, Instruction, Operation, Retry, Unknown
from tests.card import (
    ACQUIRER,
    NO_SHARED,
    SENT_AT,
    SHARED,
    VECTORS,
    decode_by_the_shared_specification,
    instruction,
    request_id,
    upon,
)

VECTOR = json.loads((VECTORS / "requests.json").read_text("utf-8"))
AUTHORIZED = str(Reference("0100", "123456", "1120090807", "632409ABC123", "654321"))
CAPTURED = str(Reference("0220", "123456", "1120090807", "632409ABC123", "654321"))
AUTHORIZE = instruction(Operation.AUTHORIZE, descriptor="Café Olé, order 17")
CAPTURE = upon(AUTHORIZE, AUTHORIZED, Operation.CAPTURE, number=3, amount=600)
YEN: dict[str, Any] = {"amount": 999_999_999_999, "currency": "JPY", "token": "tok_visa_long", "expires": "2027-01"}
REQUESTS: dict[str, Instruction] = {
    "authorize": AUTHORIZE,
    "authorize in yen": instruction(Operation.AUTHORIZE, number=2, **YEN),
    "increment": upon(AUTHORIZE, AUTHORIZED, Operation.INCREMENT, number=4, amount=250),
    "capture in part": CAPTURE,
    "capture for good": upon(AUTHORIZE, AUTHORIZED, Operation.CAPTURE, number=5, amount=450, final=True),
    "void": upon(AUTHORIZE, AUTHORIZED, Operation.VOID, number=6),
    "void of the unknown": upon(AUTHORIZE, "", Operation.VOID, number=7),
    "collect": instruction(Operation.COLLECT, number=8, currency="KWD"),
    "refund": upon(CAPTURE, CAPTURED, Operation.REFUND, number=9, amount=100),
    "payout": instruction(Operation.PAYOUT, number=10, currency="EUR", token="tok_mastercard"),
}


def asked(instruction: Instruction) -> Asked:
    assert isinstance(instruction.method, Card)
    return ask(instruction, BY_TOKEN[instruction.method.token].number, ACQUIRER)


def answered(request: Asked, **said: str) -> dict[int, str]:
    """The answer as an issuer would give it: an approval, but for what is said: `_` and a number."""
    fields = {n: v for n, v in request.fields.items() if n in (2, 3, 4, 7, 11, 32, 37, 41, 42, 49, 62)}
    fields |= {MTI: answer_type(request.fields[MTI]), 15: "1123", 38: "A1B2C3", 39: "00"}
    return fields | {int(number[1:]): value for number, value in said.items()}


@pytest.mark.parametrize("name", REQUESTS)
def test_the_bytes_of_a_request_never_change(name: str) -> None:
    """
    A request is the same bytes for ever, or its repeat after an upgrade would be another request.
    """
    assert asked(REQUESTS[name]).message.decode() == VECTOR[name]["message"]


@pytest.mark.parametrize("name", REQUESTS)
def test_a_request_is_read_by_another_implementation(name: str) -> None:
    """
    pyiso8583, told by its authors' own specification and not by ours, reads just these fields.
    """
    decoded, _ = iso8583.decode(asked(REQUESTS[name]).message, default_ascii)

    fields = {number: value for number, value in decoded.items() if number not in ("p", "1")}
    assert fields == VECTOR[name]["fields"]


@pytest.mark.skipif(not SHARED.is_dir(), reason=NO_SHARED)
@pytest.mark.parametrize("name", REQUESTS)
def test_a_request_is_read_by_somebody_elses_specification(name: str) -> None:
    """
    A decoder that shares nothing with ours, driven by moov-io's specification, reads the same.
    """
    fields = decode_by_the_shared_specification(asked(REQUESTS[name]).message)

    assert {"t" if number == "0" else number: value for number, value in fields.items()} == VECTOR[name]["fields"]


@pytest.mark.parametrize("name", REQUESTS)
def test_a_repeat_differs_by_one_digit(name: str) -> None:
    """
    Only the last digit of the message's type says that it was asked before.
    """
    request = asked(REQUESTS[name])

    differing = [at for at, (a, b) in enumerate(zip(request.message, request.repeated, strict=True)) if a != b]
    assert differing == [3]
    assert request.fields[2] not in repr(request)
    assert request.message[3:4] + request.repeated[3:4] == b"01"


def test_what_each_operation_says() -> None:
    """
    Message type and processing code by operation. Source: ISO 8583:1987, tables 1 and 4.
    """
    said = {name: (asked(i).fields[MTI], asked(i).fields[3]) for name, i in REQUESTS.items()}

    assert said == {
        "authorize": ("0100", "000000"),
        "authorize in yen": ("0100", "000000"),
        "increment": ("0100", "000000"),
        "capture in part": ("0220", "000000"),
        "capture for good": ("0220", "000000"),
        "void": ("0400", "000000"),
        "void of the unknown": ("0420", "000000"),
        "collect": ("0200", "000000"),
        "refund": ("0200", "200000"),
        "payout": ("0200", "260000"),
    }


def test_times_are_of_greenwich() -> None:
    """
    The same instant is the same message, whatever zone it was written in.
    """
    elsewhere = AUTHORIZE.sent_at.astimezone(timezone(timedelta(hours=-11)))

    assert asked(replace(AUTHORIZE, sent_at=elsewhere)).message == asked(AUTHORIZE).message


def test_trace_numbers_come_from_the_request_id() -> None:
    """
    A thousand requests of one second have references of their own; trace numbers are never zero.
    """
    traces = [traced(request_id(number), SENT_AT) for number in range(1000)]

    assert len(set(traces)) == 1000
    assert len({rrn for _, rrn in traces}) == 1000
    assert all(len(stan) == 6 and stan != "000000" and len(rrn) == 12 for stan, rrn in traces)
    assert {rrn[:6] for _, rrn in traces} == {"632409"}


@pytest.mark.parametrize(
    "mti", ["0100", "0101", "0120", "0121", "0200", "0220", "0400", "0401", "0420", "0421", "0800"]
)
def test_answers_have_types_of_their_own(mti: str) -> None:
    """
    A request ends in 10, an advice in 30, repeated or not. Source: ISO 8583:1987, section 4.1.
    """
    assert answer_type(mti) == mti[:2] + {"0": "10", "2": "30"}[mti[2]]


def test_a_descriptor_is_made_to_fit() -> None:
    """
    25 characters that a terminal can show, the city, the country.
    """
    for descriptor in ("Zürich's\nown", "x" * 99, "日本", "", "a\x7fb"):
        said = acceptor(descriptor, ACQUIRER)
        assert len(said) == 40 and said.isascii() and said.isprintable()
        assert said.endswith("Internet     US")
    assert acceptor("Zürich's\nown", ACQUIRER).startswith("Zurich'sown  ")


def test_network_management() -> None:
    """
    Sign-on and echo are asked with their codes, and known again by trace number and time.
    """
    for what in (SIGN_ON, ECHO):
        request = manage(what, 1_000_007, SENT_AT, ACQUIRER)
        fields = decode(request.message)
        assert (fields[MTI], fields[70], fields[11]) == ("0800", what, "000007")
        assert key_of(fields) == request.key == "0000071120090807"


def test_an_approval() -> None:
    """
    What is approved is named so that what follows can name it: type, numbers, time, approval code.
    """
    request = asked(AUTHORIZE)

    answer = read_answer(request, answered(request), "USD")

    assert answer == Approved(
        reference=f"{request.fields[37]}.A1B2C3.0100.{request.fields[11]}.1120090807",
        amount=1050,
        currency="USD",
        code="00",
        authorization="A1B2C3",
        settles_on="2026-11-23",
    )
    then = asked(upon(AUTHORIZE, answer.reference, Operation.CAPTURE, number=2)).fields
    assert then[38] == "A1B2C3"
    assert then[90] == f"0100{request.fields[11]}11200908070000047613400000000000"


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"_4": "000000001051"}, "amount '000000001051' to '000000001050'"),
        ({"_4": "000000000950", "_39": "10"}, "amount '000000000950' to '000000001050'"),
        ({"_49": "978"}, "currency '978' to '840'"),
        ({"_2": "4000000000000002"}, "another card"),
        ({"_2": ""}, "another card"),
        ({"_3": "200000"}, "processing code"),
        ({"_37": "632409ABC124"}, "reference"),
        ({"_62": request_id(2)}, "request id"),
        ({"_0": "0130"}, "a message 0130 to 0100"),
        ({"_0": "0100"}, "a message 0100 to 0100"),
        ({"_39": "09"}, "in progress"),
        ({"_39": "68"}, "time ran out"),
        ({"_39": "94"}, "saw this before"),
        ({"_39": "??"}, "without an answer code"),
        ({"_39": ""}, "without an answer code"),
        ({"_38": "A\nB   "}, "approval code"),
    ],
)
def test_an_answer_that_does_not_fit_says_nothing(said: Mapping[str, str], why: str) -> None:
    """
    Another amount, currency, card or id, or a code that leaves it open: the outcome is unknown, and it says why.
    """
    request = asked(AUTHORIZE)

    answer = read_answer(request, answered(request, **said), "USD")

    assert isinstance(answer, Unknown)
    assert why in answer.why
    assert request.fields[2] not in answer.why


@pytest.mark.parametrize("number", [4, 49])
def test_an_approval_without_an_amount_is_none(number: int) -> None:
    """
    What is approved must be said; a decline may leave it out.
    """
    request = asked(AUTHORIZE)
    approval, decline = answered(request), answered(request, _39="51")
    del approval[number], decline[number]

    assert isinstance(read_answer(request, approval, "USD"), Unknown)
    assert isinstance(read_answer(request, decline, "USD"), Declined)


def test_a_decline_and_the_networks_advice() -> None:
    """
    The table says what may be done after a no; the network's own advice goes before it.
    """
    request = asked(AUTHORIZE)
    plain, advised = answered(request, _39="51"), answered(request, _39="51", _48=private({"84": "03"}))

    assert read_answer(request, plain, "USD") == Declined(
        code="51", reason="insufficient_funds", message="There is not enough money or credit.", retry=Retry.LATER
    )
    answer = read_answer(request, advised, "USD")
    assert isinstance(answer, Declined) and answer.retry is Retry.NEVER


def test_private_data() -> None:
    """
    Tag, length, value; what breaks off is left out, and nothing raises.
    """
    assert private({"01": "abc", "02": "", "84": "03"}) == "0103abc840203"
    assert read_private("0103abc840203") == {"01": "abc", "84": "03"}
    assert read_private("0103abc84") == {"01": "abc"}
    assert read_private("0103abcxx02zz") == {"01": "abc"}
    assert read_private("") == {}


def test_it_is_a_rail() -> None:
    """
    The card rail is what payments ask of a rail; a type checker says so.
    """
    port: RailPort = CardRail([ACQUIRER], Placeholder())

    assert isinstance(port, CardRail) and port.connected() == {"first": False}


@pytest.mark.parametrize("text", ["", "pi_123", AUTHORIZED + "\n", AUTHORIZED.lower(), AUTHORIZED[1:]])
def test_a_reference_of_another_rail_is_refused(text: str) -> None:
    """
    What was not named by this rail cannot be named in its messages.
    """
    with pytest.raises(MessageMalformed, match="reference"):
        read_reference(text)


@pytest.mark.parametrize(
    ("said", "sent", "day"),
    [
        ("1123", SENT_AT, "2026-11-23"),
        ("0102", datetime(2026, 12, 31, tzinfo=UTC), "2027-01-02"),
        ("1231", datetime(2027, 1, 1, tzinfo=UTC), "2026-12-31"),
        ("0229", datetime(2028, 2, 28, tzinfo=UTC), "2028-02-29"),
        ("0229", datetime(2026, 2, 28, tzinfo=UTC), ""),
        ("1332", SENT_AT, ""),
        ("", SENT_AT, ""),
    ],
)
def test_a_settlement_day_gets_its_year(said: str, sent: datetime, day: str) -> None:
    """
    Month and day are of the year that is nearest; what is no day is left out.
    """
    assert settlement_day(said, sent.date()) == day


@pytest.mark.parametrize("operation", [Operation.INCREMENT, Operation.CAPTURE, Operation.VOID, Operation.REFUND])
def test_what_is_upon_something_names_it(operation: Operation) -> None:
    """
    An increment of nothing would be another authorization; only a void may lack the original's reference.
    """
    with pytest.raises(MessageMalformed, match="no original"):
        asked(instruction(operation))
    if operation is not Operation.VOID:
        with pytest.raises(MessageMalformed, match="reference"):
            asked(upon(AUTHORIZE, "", operation, number=2))


def test_what_cannot_be_said_is_refused() -> None:
    """
    A value that its field does not hold is refused by name, and the value is not told.
    """
    with pytest.raises(MessageMalformed) as refusal:
        encode(asked(AUTHORIZE).fields | {2: "4242424242424242" * 2})

    assert "4242" not in str(refusal.value)
