"""Messages to bytes and back: fields by number, the message type as number 0.

pyiso8583 says what is a message. The short way beside it takes what is plainly well formed, ten times as fast, and is
tested to agree; whatever it does not take goes to pyiso8583, which takes it or says what is wrong and where.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Final

import iso8583

from adapters.rails.card.layout import FIELDS, SPEC

Fields = dict[int, str]

MTI: Final = 0
_BITMAP: Final = re.compile(r"[0-9A-F]{16}", re.ASCII)
_Plan = tuple[tuple[int, int, int], ...]
"""Number, digits of the length in front, length: of each field of a message, in order."""


class MessageMalformed(ValueError):
    """The bytes are no message, or the fields cannot be written as one. Says where, and never what a field holds."""


def encode(fields: Mapping[int, str]) -> bytes:
    """The message as it is sent.

    Raises:
        MessageMalformed: A field is unknown, of another length than the layout says, or not ASCII.
    """
    plan, bitmap = _plan_to_write(tuple(sorted(fields)))
    parts = [fields.get(MTI, ""), bitmap]
    for number, prefix, size in plan:
        value = fields[number]
        length = len(value)
        if not prefix:
            if length != size:
                return _encode_slowly(fields)
        elif length > size:
            return _encode_slowly(fields)
        elif prefix == 2:
            parts.append(_TWO[length])
        else:
            parts.append(f"{length:03}")
        parts.append(value)
    text = "".join(parts)
    if len(parts[0]) != 4 or not bitmap or not text.isascii():
        return _encode_slowly(fields)
    return text.encode("ascii")


_TWO: Final = tuple(f"{length:02}" for length in range(100))


@lru_cache(maxsize=256)
def _plan_to_write(numbers: tuple[int, ...]) -> tuple[_Plan, str]:
    """The plan and the bitmaps for these fields; no bitmap where one of them is none of the layout's."""
    there = [number for number in numbers if number != MTI]
    if not there or not all(number in FIELDS for number in there):
        return (), ""
    bits = 64 if there[-1] <= 64 else 128
    bitmap = sum(1 << (bits - number) for number in there) | (1 << 127 if bits == 128 else 0)
    return tuple((number, *FIELDS[number]) for number in there), f"{bitmap:0{bits // 4}X}"


def _encode_slowly(fields: Mapping[int, str]) -> bytes:
    # pyiso8583 leaves out the fields of bitmaps, and whatever is no number, without a word.
    unknown = fields.keys() - FIELDS.keys() - {MTI}
    if unknown:
        raise MessageMalformed(f"this cannot be written as a message: no fields {sorted(unknown)}")
    named = {"t" if number == MTI else str(number): value for number, value in fields.items()}
    try:
        return bytes(iso8583.encode(named, SPEC)[0])
    except (iso8583.EncodeError, KeyError) as error:
        raise MessageMalformed(f"this cannot be written as a message: {error}") from None


def decode(data: bytes) -> Fields:
    """The fields of a message, nothing left over.

    Raises:
        MessageMalformed: It is none.
    """
    try:
        text = data.decode("ascii")
        wide = text[4] >= "8"
    except (UnicodeDecodeError, IndexError):
        return _decode_slowly(data)
    at = 36 if wide else 20
    fields: Fields = {MTI: text[:4]}
    for number, prefix, size in _plan_to_read(text[4:at]):
        if prefix:
            said = text[at : at + prefix]
            if not said.isdigit():
                return _decode_slowly(data)
            length = int(said)
            if length > size:
                return _decode_slowly(data)
            at += prefix
        else:
            length = size
        fields[number] = text[at : at + length]
        at += length
    if at != len(text) or len(fields) == 1:
        return _decode_slowly(data)
    return fields


@lru_cache(maxsize=256)
def _plan_to_read(bitmaps: str) -> _Plan:
    """What the bitmaps announce; nothing where they are not plainly one or two of them with fields of the layout."""
    if not all(_BITMAP.fullmatch(bitmaps, at, at + 16) for at in range(0, max(len(bitmaps), 16), 16)):
        return ()
    bits = len(bitmaps) * 4
    announced = int(bitmaps, 16)
    numbers = [number for number in range(2, bits + 1) if announced >> (bits - number) & 1]
    if not all(number in FIELDS for number in numbers):
        return ()
    return tuple((number, *FIELDS[number]) for number in numbers)


def _decode_slowly(data: bytes) -> Fields:
    try:
        decoded, _ = iso8583.decode(data, SPEC)
    except (iso8583.DecodeError, KeyError) as error:
        raise MessageMalformed(f"{len(data)} bytes are no message: {error}") from None
    if len(decoded.get("1", "")) > 16:
        raise MessageMalformed(f"{len(data)} bytes are no message: a third bitmap")
    return {MTI if name == "t" else int(name): value for name, value in decoded.items() if name not in _BITMAPS}


_BITMAPS: Final = frozenset({"h", "p", "1"})
