"""Seals: the hash of a batch, computed here by hand, field by field."""

from datetime import UTC, datetime, timedelta, timezone
from hashlib import sha256
from typing import Any
from uuid import UUID

import pytest
from msgspec.structs import replace

from domain.audit import GENESIS, seal_hash, stored_bytes
from domain.events import RawEvent

STREAM, COMMAND = UUID("01890a5d-ac96-774b-bcce-b302099a8057"), UUID("00112233-4455-6677-8899-aabbccddeeff")
AT = datetime(2026, 1, 15, 12, 0, 0, 1, tzinfo=UTC)
FROZEN = RawEvent(258, STREAM, 2, "account.frozen.v1", AT, b'{"actor":"ann"}', b'{"reason":"x"}', COMMAND)

BY_HAND = bytes.fromhex(
    "0000000000000102"  # position 258
    "01890a5dac96774bbcceb302099a8057"  # stream
    "00000002"  # version
    "0006486bf6d33001"  # 1768478400 seconds and 1 microsecond since 1970, in microseconds
    "00112233445566778899aabbccddeeff"  # command
    "0011"  # 17 bytes of name
    "0000000f"  # 15 bytes of metadata
    "0000000e"  # 14 bytes of payload
) + (b'account.frozen.v1{"actor":"ann"}{"reason":"x"}')


def test_the_bytes_of_an_event_are_these() -> None:
    """
    What is hashed does not change with the code: every seal ever written depends on it.
    """
    assert stored_bytes(FROZEN) == BY_HAND


def test_a_seal_is_chained_to_the_one_before() -> None:
    """
    The hash is over the previous hash and the batch's bytes, in order.
    """
    second = replace(FROZEN, position=259, command_id=None)

    first_seal = seal_hash(GENESIS, [FROZEN])
    second_seal = seal_hash(first_seal, [second, FROZEN])

    assert first_seal == sha256(bytes(32) + BY_HAND).digest()
    assert second_seal == sha256(first_seal + stored_bytes(second) + BY_HAND).digest()
    assert first_seal.hex() == "23ab37516d1bf8bc4d74be1daf1016c13765cba1eee70f581875080150b29bad"


@pytest.mark.parametrize(
    "change",
    [
        {"position": 259},
        {"stream_id": COMMAND},
        {"version": 3},
        {"name": "account.frozen.v2"},
        {"recorded_at": AT + timedelta(microseconds=1)},
        {"metadata": b'{"actor":"bob"}'},
        {"payload": b'{"reason":"y"}'},
        {"command_id": None},
        {"command_id": STREAM},
        # The same text, cut elsewhere.
        {"metadata": b'{"actor":"ann"}{', "payload": b'"reason":"x"}'},
        {"name": 'account.frozen.v1{"actor"', "metadata": b':"ann"}'},
    ],
    ids=repr,
)
def test_no_part_of_an_event_can_be_changed(change: dict[str, Any]) -> None:
    """
    Another value anywhere, or the same text cut elsewhere, makes another hash.
    """
    assert seal_hash(GENESIS, [replace(FROZEN, **change)]) != seal_hash(GENESIS, [FROZEN])


def test_order_and_number_count() -> None:
    """
    Events left out, repeated or swapped make another hash.
    """
    other = replace(FROZEN, position=259)

    batches: tuple[list[RawEvent], ...] = ([], [FROZEN], [other], [FROZEN, other], [other, FROZEN], [FROZEN, FROZEN])

    assert len({seal_hash(GENESIS, batch) for batch in batches}) == len(batches)


def test_a_time_is_one_moment_wherever_it_is_read() -> None:
    """
    The session's time zone does not come into it.
    """
    elsewhere = AT.astimezone(timezone(timedelta(hours=5, minutes=45)))

    assert stored_bytes(replace(FROZEN, recorded_at=elsewhere)) == BY_HAND
