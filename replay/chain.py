"""The seals: contiguous, in time, over all events, each the hash of its events chained to the seal before."""

import struct
from collections.abc import Iterator
from hashlib import sha256

from domain.audit import GENESIS, Seal, stored_bytes
from domain.events import RawEvent
from replay.report import Findings, Tally


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
        self.broken_at: int | None = None
        """The first position where the log cannot be followed: nothing that comes after can be told."""
        self._next_seal()

    def take(self, raw: RawEvent) -> None:
        """The next event."""
        position = raw.position
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
        if raw.recorded_at != seal.recorded_at:
            expected, found = seal.recorded_at.isoformat(), raw.recorded_at.isoformat()
            self.events.problem("event_time_differs", position, "event", f"recorded at {expected}", found)
        try:
            self._digest.update(stored_bytes(raw))
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
