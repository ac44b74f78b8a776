"""The simulated issuer: what it promises, gives and takes back, once for each request id, and the file of its day."""

import csv
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from msgspec.structs import replace

from adapters.rails.card.cards import BY_TOKEN, SAMPLE_CARDS, SampleCard
from adapters.rails.card.codec import MTI, decode, encode
from adapters.rails.card.declines import DECLINES
from adapters.rails.card.messages import SIGN_ON, Asked, Reference, ask, manage, read_answer
from adapters.rails.simulator.books import Books
from adapters.rails.simulator.card import MAGIC_AMOUNTS, CardSimulator, fee
from adapters.rails.simulator.clock import Clock
from adapters.rails.simulator.faults import Faults, Next, Switches
from domain.rail import Answer, Approved, Card, Declined, Instruction, Operation, Unknown
from tests.card import ACQUIRER, SENT_AT, instruction, request_id, upon

FRIDAY = date(2026, 11, 20)
MONDAY = date(2026, 11, 23)


class Issuer:
    """The simulator on a Friday, asked in instructions."""

    def __init__(self, books: Books) -> None:
        self.books = books
        self.faults = Faults(1)
        self.simulator = CardSimulator(books, self.faults, Clock(real=lambda: datetime(2026, 11, 20, 12, tzinfo=UTC)))

    def __call__(self, instruction: Instruction) -> Answer:
        request = asked(instruction)
        reply = self.simulator.answer(request.message)
        assert reply.body is not None
        return read_answer(request, decode(reply.body), instruction.currency)

    def approved(self, instruction: Instruction) -> Approved:
        answer = self(instruction)
        assert isinstance(answer, Approved), answer
        return answer

    def code(self, instruction: Instruction) -> str:
        answer = self(instruction)
        assert isinstance(answer, Approved | Declined), answer
        return answer.code

    def kept(self) -> list[tuple[str, int, str]]:
        return [(effect.operation, effect.amount, effect.code) for effect in self.books.effects("card")]


@pytest.fixture
def issuer(tmp_path: Path) -> Iterator[Issuer]:
    with Books(tmp_path / "books.jsonl") as books:
        yield Issuer(books)


def asked(instruction: Instruction) -> Asked:
    assert isinstance(instruction.method, Card)
    return ask(instruction, BY_TOKEN[instruction.method.token].number, ACQUIRER)


AUTHORIZE = instruction(Operation.AUTHORIZE, amount=1000)


def test_a_whole_life(issuer: Issuer) -> None:
    """
    1000 authorized, 500 more; 600 captured, then 700 for good; 250 of the first refunded.
    """
    first = issuer.approved(AUTHORIZE)
    more = issuer.approved(upon(AUTHORIZE, first.reference, Operation.INCREMENT, number=2, amount=500))
    part = upon(AUTHORIZE, first.reference, Operation.CAPTURE, number=3, amount=600)
    captured = issuer.approved(part)
    issuer.approved(upon(AUTHORIZE, first.reference, Operation.CAPTURE, number=4, amount=700, final=True))
    refunded = issuer.approved(upon(part, captured.reference, Operation.REFUND, number=5, amount=250))

    assert (more.amount, captured.amount, refunded.amount) == (500, 600, 250)
    assert captured.settles_on == "2026-11-23"
    assert issuer.kept() == [
        ("authorize", 1000, "00"),
        ("increment", 500, "00"),
        ("capture", 600, "00"),
        ("capture", 700, "00"),
        ("refund", 250, "00"),
    ]


def test_no_more_is_captured_than_was_promised(issuer: Issuer) -> None:
    """
    Nor after the last capture, nor of what was given up, nor in another currency, nor from another card.
    """
    first = issuer.approved(AUTHORIZE).reference

    def capture(number: int, amount: int, final: bool = False) -> Instruction:
        return upon(AUTHORIZE, first, Operation.CAPTURE, number=number, amount=amount, final=final)

    assert issuer.code(capture(2, 1001)) == "13"
    assert issuer.code(capture(3, 400)) == "00"
    assert issuer.code(capture(4, 601)) == "13"
    assert issuer.code(replace(capture(5, 1), currency="EUR")) == "12"
    other = instruction(Operation.CAPTURE, token="tok_amex").method
    assert issuer.code(replace(capture(6, 1), method=other)) == "12"
    assert issuer.code(capture(7, 100, final=True)) == "00"
    assert issuer.code(capture(8, 1)) == "12"
    assert issuer.code(upon(AUTHORIZE, first, Operation.INCREMENT, number=9, amount=1)) == "12"


def test_what_is_upon_an_increment_is_upon_what_it_increased(issuer: Issuer) -> None:
    """
    An increment's reference names the authorization as well as its own does.
    """
    first = issuer.approved(AUTHORIZE)
    increment = upon(AUTHORIZE, first.reference, Operation.INCREMENT, number=2, amount=500)
    more = issuer.approved(increment)

    assert issuer.code(upon(increment, more.reference, Operation.CAPTURE, number=3, amount=1501)) == "13"
    assert issuer.code(upon(increment, more.reference, Operation.CAPTURE, number=4, amount=1500)) == "00"
    assert issuer.code(upon(AUTHORIZE, first.reference, Operation.CAPTURE, number=5, amount=1)) == "12"


def test_an_authorization_is_voided(issuer: Issuer) -> None:
    """
    What is left is given up, in parts or at once, no more than that and not twice.
    """
    first = issuer.approved(AUTHORIZE).reference
    issuer.approved(upon(AUTHORIZE, first, Operation.CAPTURE, number=2, amount=300))

    def void(number: int, amount: int) -> str:
        return issuer.code(upon(AUTHORIZE, first, Operation.VOID, number=number, amount=amount))

    assert [void(3, 701), void(4, 200), void(5, 500), void(6, 1)] == ["13", "00", "00", "21"]
    assert issuer.code(upon(AUTHORIZE, first, Operation.CAPTURE, number=7, amount=1)) == "12"


def test_refunds_come_to_no_more_than_was_taken(issuer: Issuer) -> None:
    """
    Of a capture or a collection; an authorization has nothing to refund.
    """
    first = issuer.approved(AUTHORIZE).reference
    collect = instruction(Operation.COLLECT, number=2, amount=1000)
    taken = issuer.approved(collect).reference

    def refund(number: int, amount: int) -> str:
        return issuer.code(upon(collect, taken, Operation.REFUND, number=number, amount=amount))

    assert [refund(3, 1001), refund(4, 999), refund(5, 2), refund(6, 1), refund(7, 1)] == ["13", "00", "13", "00", "12"]
    assert issuer.code(upon(AUTHORIZE, first, Operation.REFUND, number=8, amount=1)) == "12"


def test_a_request_has_one_effect(issuer: Issuer) -> None:
    """
    Asked again, plainly or as a repeat, the answer is the same bytes; asked for something else, it is left open.
    """
    request = asked(AUTHORIZE)

    answers = {issuer.simulator.answer(message).body for message in (request.message, request.repeated) * 2}

    assert len(answers) == 1
    assert issuer.kept() == [("authorize", 1000, "00")]
    answer = issuer(replace(AUTHORIZE, amount=999))
    assert isinstance(answer, Unknown) and "94" in answer.why
    assert issuer.kept() == [("authorize", 1000, "00")]


def test_a_request_is_known_by_its_id_alone(issuer: Issuer) -> None:
    """
    With other numbers it is still the same request; with the same numbers and another id, it is left open.
    """
    later = replace(AUTHORIZE, sent_at=SENT_AT + timedelta(hours=1))
    issuer.approved(AUTHORIZE)

    assert issuer.approved(later).authorization == issuer.approved(AUTHORIZE).authorization
    reply = issuer.simulator.answer(encode(asked(AUTHORIZE).fields | {62: request_id(2)}))
    assert reply.body is not None and decode(reply.body)[39] == "94"
    assert issuer.kept() == [("authorize", 1000, "00")]


def test_a_decline_stays_a_decline(issuer: Issuer) -> None:
    """
    What was declined under a request id is declined for ever, though the reason has gone.
    """
    issuer.faults.switch("card", Switches(decline=Next(1), decline_code="61"))

    assert [issuer.code(AUTHORIZE) for _ in range(2)] == ["61", "61"]
    assert issuer.code(replace(AUTHORIZE, request_id=request_id(2))) == "00"


@pytest.mark.parametrize("card", SAMPLE_CARDS, ids=lambda card: card.token)
def test_each_test_card_has_its_answer(issuer: Issuer, card: SampleCard) -> None:
    """
    The table says what the issuer says.
    """
    assert issuer.code(instruction(Operation.AUTHORIZE, token=card.token)) == card.answer
    assert issuer.code(instruction(Operation.COLLECT, number=2, token=card.token)) == card.answer


@pytest.mark.parametrize(("amount", "code"), MAGIC_AMOUNTS.items())
def test_magic_amounts_decline(issuer: Issuer, amount: int, code: str) -> None:
    """
    510051 is not enough money; a void is not declined for its amount.
    """
    authorize = instruction(Operation.AUTHORIZE, amount=600_000)
    first = issuer.approved(authorize).reference

    assert issuer.code(instruction(Operation.COLLECT, number=2, amount=amount)) == code
    assert issuer.code(upon(authorize, first, Operation.CAPTURE, number=3, amount=amount)) == code
    assert issuer.code(upon(authorize, first, Operation.INCREMENT, number=4, amount=1)) == "00"
    assert issuer.code(upon(authorize, first, Operation.VOID, number=5, amount=amount)) == "00"


def test_every_numeric_decline_has_an_amount() -> None:
    """
    The table of magic amounts is as long as it says.
    """
    assert set(MAGIC_AMOUNTS.values()) == {row.code for row in DECLINES if row.code.isdigit()}


def test_what_is_upon_nothing_is_declined(issuer: Issuer) -> None:
    """
    An original that was never here, was declined, or has other numbers than the message says.
    """
    first = issuer.approved(AUTHORIZE).reference
    declined = instruction(Operation.AUTHORIZE, number=2, token="tok_declined_do_not_honor")
    issuer.code(declined)
    fields = asked(declined).fields
    refused = str(Reference("0100", fields[11], fields[7], fields[37], ""))
    for number, original in enumerate(
        (
            upon(replace(AUTHORIZE, request_id=request_id(99)), first, Operation.CAPTURE, number=3),
            upon(replace(AUTHORIZE, request_id=request_id(99)), first, Operation.VOID, number=4),
            upon(declined, refused, Operation.CAPTURE, number=5),
            upon(AUTHORIZE, first[:-1] + "9", Operation.CAPTURE, number=6),
        )
    ):
        assert issuer.code(original) == "25", number


def test_the_unknown_is_undone_before_it_comes(issuer: Issuer) -> None:
    """
    An advice to reverse what never came is taken; should it come yet, it is declined.
    """
    assert issuer.code(upon(AUTHORIZE, "", Operation.VOID, number=2)) == "00"

    assert issuer.code(AUTHORIZE) == "12"
    assert issuer.kept() == [("void", 0, "00"), ("authorize", 1000, "12")]


def test_the_unknown_is_undone_after_it_came(issuer: Issuer) -> None:
    """
    An advice to reverse what did come gives up all that is left of it.
    """
    issuer.approved(AUTHORIZE)

    assert issuer.code(upon(AUTHORIZE, "", Operation.VOID, number=2)) == "00"
    assert issuer.kept() == [("authorize", 1000, "00"), ("void", 1000, "00")]


def test_a_card_expires(issuer: Issuer) -> None:
    """
    It is good until the end of its month.
    """
    assert issuer.code(instruction(Operation.AUTHORIZE, expires="2026-11")) == "00"
    assert issuer.code(instruction(Operation.AUTHORIZE, number=2, expires="2026-10")) == "54"


def test_an_advice_of_an_authorization(issuer: Issuer) -> None:
    """
    0120 is answered with 0130, and is an authorization like another.
    """
    request = asked(AUTHORIZE)

    reply = issuer.simulator.answer(encode(request.fields | {MTI: "0120"}))

    assert reply.body is not None and decode(reply.body)[MTI] == "0130"
    assert issuer.kept() == [("authorize", 1000, "00")]


def test_a_network_message_is_granted_unless_all_is_out(issuer: Issuer) -> None:
    """
    Sign-on uses up no fault that counts; under an outage of the route, the connection is closed.
    """
    message = manage(SIGN_ON, 1, SENT_AT, ACQUIRER).message
    issuer.faults.switch("card", Switches(drop_before=Next(1)))

    reply = issuer.simulator.answer(message)
    assert reply.body is not None and decode(reply.body)[39] == "00"
    issuer.faults.switch("card", Switches(outage=1.0), route="FIRST")
    assert issuer.simulator.answer(message).hang_up


@pytest.mark.parametrize("number", [2, 3, 4, 7, 11, 14, 37, 49, 62])
@pytest.mark.parametrize("wrong", ["", "x"])
def test_a_field_that_is_missing_or_wrong_is_a_format_error(issuer: Issuer, number: int, wrong: str) -> None:
    """
    And nothing is kept of the request. References and request ids may hold any letters.
    """
    fields = dict(asked(AUTHORIZE).fields)
    if wrong and number not in (37, 62):
        fields[number] = wrong * len(fields[number])
    elif number == 4:
        fields[number] = "0" * 12
    else:
        del fields[number]

    reply = issuer.simulator.answer(encode(fields))

    assert reply.body is not None and decode(reply.body)[39] == "30"
    assert issuer.kept() == []


REQUEST = asked(AUTHORIZE).message


@pytest.mark.parametrize("message", [b"", b"garbage", REQUEST[:-1], b"0110" + REQUEST[4:]])
def test_what_is_no_request_ends_the_connection(issuer: Issuer, message: bytes) -> None:
    """
    Garbage, half a message, an answer: nothing is done.
    """
    assert issuer.simulator.answer(message).hang_up
    assert issuer.kept() == []


def test_a_wrong_amount_is_only_said(issuer: Issuer) -> None:
    """
    It is done as asked, and answered with another amount; asked again, the amount is right.
    """
    issuer.faults.switch("card", Switches(wrong_amount=Next(1)))

    assert isinstance(issuer(AUTHORIZE), Unknown)
    assert issuer.approved(AUTHORIZE).amount == 1000


def test_the_file_of_a_day(issuer: Issuer) -> None:
    """
    What moved money on Friday settles on Monday, with fees and totals by currency; what was to come twice does.
    """
    first = issuer.approved(AUTHORIZE).reference
    capture = upon(AUTHORIZE, first, Operation.CAPTURE, number=2, amount=1000, final=True)
    taken = issuer.approved(capture).reference
    issuer.approved(upon(capture, taken, Operation.REFUND, number=3, amount=400))
    issuer.faults.switch("card", Switches(duplicate=Next(1)))
    issuer.approved(instruction(Operation.COLLECT, number=4, amount=500, currency="JPY"))
    issuer.approved(instruction(Operation.PAYOUT, number=5, amount=200))

    rows = list(csv.reader(issuer.simulator.settlement(MONDAY).decode("ascii").splitlines()))

    assert [row[3:9] for row in rows if row[0] == "D"] == [
        ["capture", "FIRST", "USD", "1000", "28", "972"],
        ["refund", "FIRST", "USD", "-400", "0", "-400"],
        ["collect", "FIRST", "JPY", "500", "19", "481"],
        ["collect", "FIRST", "JPY", "500", "19", "481"],
        ["payout", "FIRST", "USD", "-200", "25", "-225"],
    ]
    assert rows[0] == ["H", "DAYBOOK-CARD", "2", "2026-11-23"]
    assert rows[-3:] == [["T", "JPY", "2", "1000", "38", "962"], ["T", "USD", "3", "400", "53", "347"], ["E", "5"]]
    assert issuer.simulator.settlement(FRIDAY) == b"H,DAYBOOK-CARD,2,2026-11-20\nE,0\n"


@pytest.mark.parametrize(("day", "settles"), [(20, "2026-11-23"), (21, "2026-11-24"), (25, "2026-11-27")])
def test_money_moves_a_business_day_later(tmp_path: Path, day: int, settles: str) -> None:
    """
    Friday's on Monday; Saturday's, which is Monday's, on Tuesday; that before Thanksgiving on the day after it.
    """
    with Books(tmp_path / "books.jsonl") as books:
        simulator = CardSimulator(books, Faults(1), Clock(real=lambda: datetime(2026, 11, day, 12, tzinfo=UTC)))
        reply = simulator.answer(asked(AUTHORIZE).message)

    assert reply.body is not None and decode(reply.body)[15] == settles[5:].replace("-", "")
    assert next(books.effects("card")).day.isoformat() == settles


def test_fees_are_rounded_half_to_even() -> None:
    """
    1.8 % and 10: of 250 it is 4.5, so 4; of 750 13.5, so 14; and nothing is lost above.
    """
    assert [fee("capture", amount) for amount in (1, 250, 251, 750, 10_000)] == [10, 14, 15, 24, 190]
    assert (fee("refund", 10_000), fee("payout", 10_000)) == (0, 25)
