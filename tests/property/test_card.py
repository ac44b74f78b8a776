"""Card messages of any kind: written and read back, by the short way as by pyiso8583, and garbage by neither."""

from typing import Final

import iso8583
from hypothesis import given
from hypothesis import strategies as st

from adapters.rails.card.codec import MTI, MessageMalformed, _decode_slowly, _encode_slowly, decode, encode
from adapters.rails.card.framing import Frames, frame
from adapters.rails.card.layout import FIELDS, FIXED, SPEC
from adapters.rails.card.messages import read_private, read_reference, settlement_day
from tests.card import SENT_AT

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
