"""Messages in a stream of bytes: each after its length, two bytes, the higher first. No IO."""

from collections.abc import Iterator
from typing import Final

LENGTH: Final = 2
MESSAGE_MAX: Final = 4096
"""Longer than any message of this rail. Text that was never framed reads as a greater length at once."""


class FrameMalformed(ValueError):
    """What claims to be a length is none: where the next message begins is not known any more."""


def frame(message: bytes) -> bytes:
    """The message after its length."""
    assert 0 < len(message) <= MESSAGE_MAX, len(message)
    return len(message).to_bytes(LENGTH) + message


class Frames:
    """Takes the stream as it comes, and gives its messages."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The messages that are whole now.

        Raises:
            FrameMalformed: After the messages before it.
        """
        data = self._rest + data if self._rest else data
        at, end = 0, len(data)
        while at + LENGTH <= end:
            size = int.from_bytes(data[at : at + LENGTH])
            if not 0 < size <= MESSAGE_MAX:
                raise FrameMalformed(f"a length of {size}")
            if at + LENGTH + size > end:
                break
            yield data[at + LENGTH : at + LENGTH + size]
            at += LENGTH + size
        self._rest = data[at:]
