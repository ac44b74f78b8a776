"""Card messages of any kind: written and read back, by the short way as by pyiso8583, and garbage by neither."""

from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import iso8583
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.rails.card.cards import BY_TOKEN
from adapters.rails.card.codec import MTI, MessageMalformed, _decode_slowly, _encode_slowly, decode, encode
from adapters.rails.card.framing import Frames, frame
from adapters.rails.card.layout import FIELDS, FIXED, SPEC
from adapters.rails.card.messages import ask, read_answer, read_private, read_reference, settlement_day
from adapters.rails.simulator.books import Books, Effect
from adapters.rails.simulator.card import CardSimulator
from adapters.rails.simulator.clock import Clock
from adapters.rails.simulator.faults import Faults
from domain.rail import Approved, Card, Declined, Instruction, Operation
from tests.card import ACQUIRER, SENT_AT, instruction, upon

CHARACTERS: Final = st.characters(min_codepoint=32, max_codepoint=126)


def _field(number: int) -> st.SearchStrategy[str]:
    prefix, size = FIELDS[number]
    return st.text(CHARACTERS, min_size=size if prefix == FIXED else 0, max_size=size)


@st.composite
def messages(draw: st.DrawFn) -> dict[int, str]:
    numbers = draw(st.sets(st.sampled_from(sorted(FIELDS)), min_size=1, max_size=12))
    fields = {number: draw(_field(number)) for number in sorted(numbers)}
    return {MTI: draw(st.from_regex(r"0[1248][0-9]{2}", fullmatch=True)), **fields}


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A message with a few bytes changed, taken out or put in."""
    message = bytearray(encode(draw(messages())))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(message)))
        match draw(st.sampled_from(["change", "cut", "insert"])):
            case "change" if at < len(message):
                message[at] = draw(st.one_of(st.sampled_from(b"0189Aa+- "), st.integers(0, 255)))
            case "cut":
                del message[at : at + draw(st.integers(1, 20))]
            case _:
                message[at:at] = draw(st.binary(max_size=4))
    return bytes(message)


def _or_refused(read: object, data: bytes) -> object:
    assert callable(read)
    try:
        return read(data)
    except MessageMalformed:
        return None


@given(messages())
def test_what_is_written_is_read_back(fields: dict[int, str]) -> None:
    """
    Any fields of the layout come back as they were, and both ways write the same bytes.
    """
    message = encode(fields)

    assert decode(message) == fields
    assert message == _encode_slowly(fields)
    assert iso8583.decode(message, SPEC)[0]["t"] == fields[MTI]


@given(st.one_of(st.binary(max_size=200), damaged()))
def test_the_short_way_agrees_with_pyiso8583(data: bytes) -> None:
    """
    Whatever the bytes are: the same fields, or the one named error, by both.
    """
    assert _or_refused(decode, data) == _or_refused(_decode_slowly, data)


@given(st.dictionaries(st.integers(-2, 200), st.text(max_size=50), max_size=8))
def test_fields_that_are_none_raise_nothing_else(fields: dict[int, str]) -> None:
    """
    Written or refused, by the one named error; what is written is read back.
    """
    try:
        message = encode(fields)
    except MessageMalformed:
        return
    assert decode(message) == fields


@given(st.text(CHARACTERS, max_size=60))
def test_parts_of_answers_raise_nothing(text: str) -> None:
    """
    Private data, days and references: read, left out or refused by name.
    """
    read_private(text)
    settlement_day(text[:4], SENT_AT.date())
    _or_refused(lambda data: read_reference(data.decode()), text.encode())


@given(st.lists(st.binary(min_size=1, max_size=300), max_size=5), st.lists(st.integers(1, 50), min_size=1))
def test_a_stream_is_cut_back_into_its_messages(sent: list[bytes], sizes: list[int]) -> None:
    """
    However the network cuts it.
    """
    stream, frames, heard, at = b"".join(map(frame, sent)), Frames(), [], 0
    while at < len(stream):
        size = sizes[at % len(sizes)]
        heard += list(frames.feed(stream[at : at + size]))
        at += size

    assert heard == sent


def _issuer(folder: str) -> CardSimulator:
    clock = Clock(real=lambda: datetime(2026, 11, 20, 12, tzinfo=UTC))
    return CardSimulator(Books(Path(folder) / "books.jsonl"), Faults(1), clock)


@given(st.lists(damaged(), max_size=3), st.data())
@settings(max_examples=50)
def test_the_simulated_issuer_raises_nothing(messages: list[bytes], data: st.DataObject) -> None:
    """
    Whatever is said to it, also what is almost a request: it answers a message, or hangs up.
    """
    request = ask(instruction(Operation.AUTHORIZE), "4242424242424242", ACQUIRER)
    for _ in range(5):
        fields = dict(request.fields)
        for number in data.draw(st.sets(st.sampled_from(sorted(FIELDS)), max_size=3)):
            fields[number] = data.draw(_field(number))
        fields[MTI] = data.draw(
            st.sampled_from(["0100", "0101", "0120", "0200", "0220", "0400", "0420", "0800", "0110"])
        )
        messages.append(encode(fields))
    with TemporaryDirectory() as folder, (issuer := _issuer(folder)).books:
        for message in messages:
            reply = issuer.answer(message)
            assert reply.hang_up or (reply.body is not None and decode(reply.body)[39])
        issuer.settlement(SENT_AT.date())


SAID: Final = [operation for operation in Operation if operation is not Operation.CONTEST]
"""By messages: disputes are answered elsewhere."""
STEPS: Final = st.lists(
    st.tuples(st.sampled_from(SAID), st.integers(1, 60), st.integers(0, 30), st.booleans(), st.booleans()),
    max_size=30,
)
UPON: Final = (Operation.INCREMENT, Operation.CAPTURE, Operation.VOID, Operation.REFUND, Operation.REVERSE)
UNDOES: Final = (Operation.VOID, Operation.REVERSE)


@given(STEPS)
@settings(max_examples=50)
def test_an_issuer_never_gives_more_than_it_has(steps: list[tuple[Operation, int, int, bool, bool]]) -> None:
    """
    Any operations upon any others, some asked twice: captures stay within authorizations and refunds within captures,
    a repeat is answered the same, and what was answered is what the issuer's books say.
    """
    done: list[tuple[Instruction, str]] = []
    with TemporaryDirectory() as folder, (issuer := _issuer(folder)).books:
        for number, (operation, amount, which, final, twice) in enumerate(steps, start=1):
            operation = operation if done or operation not in UPON else Operation.AUTHORIZE
            asked = instruction(operation, number=number, amount=amount)
            if operation in UPON:
                first, reference = done[which % len(done)]
                if operation in UNDOES:  # One message, which of the two by what it is upon.
                    operation = Operation.REVERSE if reference.split(".")[2].startswith("02") else Operation.VOID
                asked = upon(first, reference, operation, number=number, amount=amount, final=final)
            answer = _answered(issuer, asked)
            assert not twice or _answered(issuer, asked) == answer
            if isinstance(answer, Approved):
                done.append((asked, answer.reference))
            effect = issuer.books.find("card", asked.request_id)
            assert effect is not None
            assert (effect.code, effect.operation) == (answer.code, operation)
            # An advice to reverse gives up what is there, which may be less than it names.
            assert effect.amount == amount or (operation is Operation.VOID and effect.amount < amount)
        _within_bounds(list(issuer.books.effects("card")))


def _answered(issuer: CardSimulator, asked: Instruction) -> Approved | Declined:
    assert isinstance(asked.method, Card)
    request = ask(asked, BY_TOKEN[asked.method.token].number, ACQUIRER)
    reply = issuer.answer(request.message)
    assert reply.body is not None
    answer = read_answer(request, decode(reply.body), asked.currency)
    assert isinstance(answer, Approved | Declined), answer
    return answer


def _within_bounds(effects: list[Effect]) -> None:
    promised: Counter[str] = Counter()
    taken: Counter[str] = Counter()
    for effect in effects:
        if effect.outcome != "approved":
            continue
        match effect.operation:
            case "authorize":
                promised[effect.reference] += effect.amount
            case "increment":
                promised[effect.original] += effect.amount
            case "capture":
                promised[effect.original] -= effect.amount
                taken[effect.reference] += effect.amount
            case "void":
                promised[effect.original] -= effect.amount
            case "collect":
                taken[effect.reference] += effect.amount
            case "refund" | "reverse":
                taken[effect.original] -= effect.amount
    assert all(left >= 0 for left in (*promised.values(), *taken.values()))
