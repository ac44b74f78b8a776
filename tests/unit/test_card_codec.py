"""Card messages as bytes: others' samples read as others read them, others' layout, frames in a stream."""

import json

import iso8583
import pytest
from iso8583.specs import default_ascii

from adapters.rails.card.codec import MTI, MessageMalformed, decode, encode
from adapters.rails.card.framing import MESSAGE_MAX, FrameMalformed, Frames, frame
from adapters.rails.card.layout import FIELDS, SPEC
from tests.card import NO_SHARED, SHARED, VECTORS

VECTOR = json.loads((VECTORS / "requests.json").read_text("utf-8"))
OTHERS = SHARED / "pyiso8583_default_ascii_decode.json"

ECHO = b"0800822000000000000004000000000000001120090807000001301"


def test_our_own_vectors() -> None:
    """
    Every stored message is read as its stored fields, and those are written as the message.
    """
    for vector in VECTOR.values():
        fields = {MTI if number == "t" else int(number): value for number, value in vector["fields"].items()}

        assert decode(vector["message"].encode()) == fields
        assert encode(fields) == vector["message"].encode()


@pytest.mark.skipif(not SHARED.is_dir(), reason=NO_SHARED)
def test_the_samples_of_others() -> None:
    """
    moov-io's sample messages: those that pyiso8583 reads are read the same, and the others are refused.

    Two lengths differ between the layouts. None of the samples shows it.
    """
    samples = json.loads(OTHERS.read_text("utf-8"))
    read = 0
    for name, verdict in samples.items():
        message = (SHARED / "testdata" / name).read_bytes()
        if not verdict["ok"]:
            with pytest.raises(MessageMalformed):
                decode(message)
            continue
        theirs = {n: value for n, value in verdict["fields"].items() if n not in ("p", "1")}
        fields = decode(message)
        assert {"t" if n == MTI else str(n): value for n, value in fields.items()} == theirs, name
        assert encode(fields) == message, name
        read += 1

    assert read >= 11


@pytest.mark.skipif(not SHARED.is_dir(), reason=NO_SHARED)
def test_the_layout_is_the_shared_one() -> None:
    """
    Each field of moov-io's specification of 1987 has the same length here, said in as many digits.
    """
    theirs = json.loads((SHARED / "specs" / "spec87ascii.json").read_text("utf-8"))["fields"]
    digits = {"ASCII.Fixed": 0, "ASCII.LL": 2, "ASCII.LLL": 3, "Hex.Fixed": 0}
    wide = {number: 2 if field["prefix"] == "Hex.Fixed" else 1 for number, field in theirs.items()}

    laid = {int(n): (digits[f["prefix"]], f["length"] * wide[n]) for n, f in theirs.items() if int(n) > 1}

    assert len(laid) == 64
    assert {number: FIELDS[number] for number in laid} == laid


def test_the_layout_is_pyiso8583s() -> None:
    """
    All other fields are as pyiso8583's authors lay them out, but for three whose length is the shared specification's.
    """
    theirs = {int(n): (f["len_type"], f["max_len"]) for n, f in default_ascii.items() if n.isdigit() and int(n) > 1}

    differing = {n for n in FIELDS if FIELDS[n] != theirs[n]}

    assert differing == {44, 54, 55}
    assert theirs.keys() - FIELDS.keys() == {65}


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("nothing", b""),
        ("a type alone", b"0800"),
        ("half a bitmap", ECHO[:12]),
        ("half the second bitmap", ECHO[:30]),
        ("a field too short", ECHO[:-1]),
        ("something left over", ECHO + b"0"),
        ("a bitmap that is none", b"0800XX20000000000000" + ECHO[20:]),
        ("no ASCII", ECHO[:-1] + b"\xb2"),
        ("a third bitmap", b"0800" + b"8000000000000000" + b"8000000000000000" + b"0" * 16),
        ("a length that is none", b"01004000000000000000" + b"x6" + b"4" * 16),
        ("a length too large", b"01004000000000000000" + b"20" + b"4" * 20),
        ("a length below zero", b"01004000000000000000" + b"-1" + b"4" * 16),
    ],
)
def test_what_is_no_message_is_refused(what: str, message: bytes) -> None:
    """
    One named error, whatever is wrong.
    """
    with pytest.raises(MessageMalformed, match="no message"):
        decode(message)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {3: "000000"},
        {MTI: "01000", 3: "000000"},
        {MTI: "0100", 3: "00000"},
        {MTI: "0100", 2: "4" * 20},
        {MTI: "0100", 62: "x" * 1000},
        {MTI: "0100", 65: "1"},
        {MTI: "0100", 129: "1"},
        {MTI: "0100", -1: "1"},
        {MTI: "0100", 62: "\u20ac"},
        {MTI: "0100", 41: "Zürich  "},
    ],
)
def test_what_cannot_be_written_is_refused(fields: dict[int, str]) -> None:
    """
    The same error, whichever way round.
    """
    with pytest.raises(MessageMalformed, match="cannot be written"):
        encode(fields)


def test_what_pyiso8583_reads_leniently_is_read() -> None:
    """
    Small letters in a bitmap and a length with a sign: no writer should, and what is meant is plain.
    """
    assert decode(b"0100" + b"000000000000000c" + b"001a+02bb") == decode(b"0100000000000000000C001a002bb")
    with pytest.raises(iso8583.DecodeError):
        iso8583.decode(b"0100000000000000000C001a0-2bb", SPEC)


def test_frames_come_in_any_pieces() -> None:
    """
    Messages are found in a stream however it is cut, and in order.
    """
    messages = [b"a", b"bb" * 300, ECHO]
    stream = b"".join(frame(message) for message in messages)
    for size in (1, 2, 3, 7, len(stream)):
        frames = Frames()
        pieces = [stream[at : at + size] for at in range(0, len(stream), size)]

        assert [message for piece in pieces for message in frames.feed(piece)] == messages


@pytest.mark.parametrize("bad", [b"\x00\x00", b"HTTP/1.1 400 Bad Request", b"0110723C", (MESSAGE_MAX + 1).to_bytes(2)])
def test_what_is_not_framed_is_noticed(bad: bytes) -> None:
    """
    Text that was never framed reads as an impossible length at once, after the messages before it.
    """
    frames, heard = Frames(), []

    with pytest.raises(FrameMalformed, match="a length of"):
        for piece in (frame(ECHO) + bad[:1], bad[1:]):
            for message in frames.feed(piece):
                heard.append(message)

    assert heard == [ECHO]
