"""The seals: contiguous, in time, over all events, each the hash of its events chained to the seal before."""

import struct
from collections.abc import Iterator
from datetime import UTC, datetime
from hashlib import sha256
from typing import Final

from domain.audit import GENESIS, Seal
from replay.logged import Logged
from replay.report import Findings, Tally
from replay.rows import micros, moment

_HEAD: Final = struct.Struct(">q16siq16sHII").pack
_NO_COMMAND: Final = bytes(16)
_FROM_1970: Final = -micros(datetime(1970, 1, 1, tzinfo=UTC))


class Chain:
    """Takes the events in order, beside the seals over them.

    A seal is chained to the seal before it as stored, so that one changed batch is one finding and not all that follow.
    """

    def __init__(self, seals: Iterator[Seal], findings: Findings) -> None:
        self.seals = Tally("seals", findings)
        self.events = Tally("events", findings)
        self._coming = seals
        self._seal: Seal | None = None
        self._last = 0
        self._previous = GENESIS
        self._due = 1
        self._whole = True
        self._digest = sha256()
        self._recorded_at = 0
        """The seal's, in microseconds since 2000."""
        self.broken_at: int | None = None
        """The first position where the log cannot be followed: nothing that comes after can be told."""
        self._next_seal()

    def take(self, event: Logged) -> None:
        """The next event."""
        position = event.position
        if position < self._due:
            self.events.problem("event_twice", position, "event", "one event", "another at the same position")
            self._break(position)
            return
        while self._seal is not None and position > self._seal.last:
            self._end_of_seal()
        self._missing_until(position)
        self._due = position + 1
        self.events.checked += 1
        self.events.through = position
        seal = self._seal
        if seal is None or position < seal.first:
            self.events.problem("event_unsealed", position, "event", "a seal over it", "none")
            return
        if event.recorded_at != self._recorded_at:
            expected, found = seal.recorded_at.isoformat(), _shown(event.recorded_at)
            self.events.problem("event_time_differs", position, "event", f"recorded at {expected}", found)
        try:
            self._digest.update(_hashed(event))
        except struct.error as error:
            self._whole = False
            self.events.problem("event_malformed", position, "event", "fields that can be hashed", str(error))

    def finish(self) -> None:
        """No more events: what the seals still promise is missing."""
        while self._seal is not None:
            self._end_of_seal()

    def _next_seal(self) -> None:
        seal, last = next(self._coming, None), self._last
        if seal is not None:
            if seal.first != last + 1:
                self.seals.problem(
                    "seal_out_of_place",
                    min(seal.first, last + 1),
                    f"seal over {seal.first}..{seal.last}",
                    f"one that begins at {last + 1}",
                    f"one that begins at {seal.first}",
                )
            if self._seal is not None and seal.recorded_at < self._seal.recorded_at:
                self.seals.problem(
                    "seal_time_backwards",
                    seal.first,
                    f"seal over {seal.first}..{seal.last}",
                    f"not before {self._seal.recorded_at.isoformat()}",
                    seal.recorded_at.isoformat(),
                )
            self._whole = seal.first > last
            self._digest = sha256(self._previous)
            self._recorded_at = micros(seal.recorded_at)
        self._seal = seal

    def _end_of_seal(self) -> None:
        seal = self._seal
        assert seal is not None
        self._missing_until(seal.last + 1)
        if self._whole and self._digest.digest() != seal.hash:
            self.seals.problem(
                "seal_hash_mismatch",
                seal.first,
                f"seal over {seal.first}..{seal.last}",
                f"events that hash to {seal.hash.hex()}",
                self._digest.hexdigest(),
            )
        self.seals.checked += 1
        self.seals.through = max(self.seals.through, seal.last)
        self._previous = seal.hash
        self._last = max(self._last, seal.last)
        self._next_seal()

    def _missing_until(self, position: int) -> None:
        due = self._due
        if due < position:
            what = f"events {due}..{position - 1}" if position - due > 1 else f"event {due}"
            self.events.problem("event_missing", due, what, "to be there", "nothing")
            self._break(due)
            self._due = position

    def _break(self, position: int) -> None:
        self._whole = False
        if self.broken_at is None:
            self.broken_at = position


def _hashed(event: Logged) -> bytes:
    """What a seal is over, as `domain.audit` defines it.

    Raises:
        struct.error: A field is longer, or a time later, than there is room for.
    """
    name, metadata, payload = event.name, event.metadata, event.payload
    head = _HEAD(
        event.position,
        event.stream,
        event.version,
        event.recorded_at + _FROM_1970,
        event.command or _NO_COMMAND,
        len(name),
        len(metadata),
        len(payload),
    )
    return head + name + metadata + payload


def _shown(recorded_at: int) -> str:
    try:
        return moment(recorded_at).isoformat()
    except OverflowError:
        return "no time"
