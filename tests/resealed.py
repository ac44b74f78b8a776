"""Logs that somebody has written anew who knows how to seal them, and what verification makes of them."""

from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from msgspec.structs import replace

from domain.audit import GENESIS, Seal, seal_hash
from domain.escrow import Escrow
from domain.events import Event, RawEvent, decode, encode
from domain.payment import Payment
from replay.report import Report
from replay.verify import verify
from tests.stored import MemoryStored

T = TypeVar("T", Escrow, Payment)


def found(report: Report) -> set[tuple[str, int | None]]:
    return {(finding.code, finding.position) for finding in report.findings}


def contradicted(stored: MemoryStored) -> set[int | None]:
    return {at for code, at in found(verify(stored)) if code == "event_contradicts"}


def position_of(stored: MemoryStored, name: str, nth: int = 0) -> int:
    return [event.position for event in stored.all_events if event.name.startswith(name)][nth]


def reseal(stored: MemoryStored) -> None:
    """As somebody would who knows how."""
    previous = GENESIS
    for index, seal in enumerate(stored.all_seals):
        hash = seal_hash(previous, stored.all_events[seal.first - 1 : seal.last])
        stored.all_seals[index] = Seal(seal.first, seal.last, seal.recorded_at, hash)
        previous = hash


def rewrite(stored: MemoryStored, position: int, **fields: object) -> None:
    """The event there with those fields, sealed anew."""
    raw = stored.all_events[position - 1]
    say(stored, position, replace(decode(raw.name, raw.payload), **fields))


def say(stored: MemoryStored, position: int, event: Event) -> None:
    """Something else than was said there, sealed anew."""
    raw = stored.all_events[position - 1]
    stored.all_events[position - 1] = replace(raw, name=event.name, payload=encode(event))
    reseal(stored)


@dataclass(frozen=True)
class Lives(Generic[T]):
    """A log with aggregates of a kind at every stage of their lives, and these by name."""

    stored: MemoryStored
    known: dict[str, T]

    def events(self, name: str, noun: str = "") -> list[RawEvent]:
        """Of one of them, those whose names so begin after the kind's."""
        stream = self.stored.stream(self.known[name].id)
        return [event for event in stream if event.name.partition(".")[2].startswith(noun)]

    def at(self, name: str, noun: str, nth: int = 0) -> int:
        return self.events(name, noun)[nth].position

    def rewrite(self, position: int, **fields: Any) -> None:
        rewrite(self.stored, position, **fields)

    def say(self, position: int, event: Event) -> None:
        say(self.stored, position, event)

    def contradicted(self) -> set[int | None]:
        return contradicted(self.stored)
