"""What tests of the card rail share: instructions, an acquirer, and a decoder that knows nothing of ours."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from msgspec.structs import replace

from adapters.rails.card.cards import card_of
from adapters.rails.card.messages import Acquirer
from domain.rail import Instruction, Operation, Rail

TOP: Final = Path(__file__).parents[1]
VECTORS: Final = TOP / "tests" / "vectors" / "card"
SHARED: Final = TOP / "../shared/data/vectors/iso8583"
NO_SHARED: Final = f"the samples of others are not there: {SHARED.name} in ../shared/data/vectors"

SENT_AT: Final = datetime(2026, 11, 20, 9, 8, 7, 654321, tzinfo=UTC)
ACQUIRER: Final = Acquirer(
    route="first", host="127.0.0.1", port=1, number="476134", terminal="DAYBOOK1", merchant="FIRST"
)


def request_id(number: int) -> str:
    """22 letters and digits."""
    return f"req{number:019}"


def instruction(
    operation: Operation, *, number: int = 1, amount: int = 1050, token: str = "tok_visa", **more: Any
) -> Instruction:
    """By its number; upon what `original` and `original_request_id` name, if anything."""
    return Instruction(
        request_id=request_id(number),
        operation=operation,
        rail=Rail.CARD,
        route="first",
        amount=amount,
        currency=more.pop("currency", "USD"),
        method=card_of(token, **({"expires": more.pop("expires")} if "expires" in more else {})),
        sent_at=more.pop("sent_at", SENT_AT),
        **more,
    )


def upon(first: Instruction, reference: str, operation: Operation, *, number: int, **more: Any) -> Instruction:
    """An instruction upon an earlier one: of the same card and currency, for the same amount unless said otherwise."""
    return replace(
        first,
        **{
            "operation": operation,
            "request_id": request_id(number),
            "original": reference,
            "original_request_id": first.request_id,
            **more,
        },
    )


def decode_by_the_shared_specification(message: bytes) -> dict[str, str]:
    """Fields by number as text, `0` the type: a decoder of its own, driven by a specification of somebody else's.

    Raises:
        ValueError: It is no message by that specification.
    """
    specification = json.loads((SHARED / "specs" / "spec87ascii.json").read_text("utf-8"))["fields"]
    text, at = message.decode("ascii"), 0

    def take(size: int) -> str:
        nonlocal at
        if at + size > len(text):
            raise ValueError(f"{size} characters wanted at {at}")
        at += size
        return text[at - size : at]

    fields = {"0": take(4)}
    bits = f"{int(take(16), 16):064b}"
    if bits[0] == "1":
        bits += f"{int(take(16), 16):064b}"
    for number in (str(bit) for bit, is_set in enumerate(bits, start=1) if is_set == "1" and bit != 1):
        described = specification[number]
        size = described["length"]
        match described["prefix"]:
            case "ASCII.Fixed":
                fields[number] = take(size)
            case "ASCII.LL" | "ASCII.LLL" as prefix:
                length = int(take(prefix.count("L")))
                if length > size:
                    raise ValueError(f"field {number} is {length} long")
                fields[number] = take(length)
            case "Hex.Fixed":
                fields[number] = take(2 * size)
            case prefix:
                raise ValueError(f"field {number} has a prefix {prefix}")
        if described["type"] == "Numeric" and not fields[number].isdigit():
            raise ValueError(f"field {number} is not numeric")
    if at != len(text):
        raise ValueError(f"{len(text) - at} characters are left over")
    return fields
