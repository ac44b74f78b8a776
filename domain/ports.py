"""Everything Daybook asks of the world. Adapters implement these; one contract suite holds for every implementation."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import date, datetime
from typing import Any, Protocol
from uuid import UUID

from domain.audit import Seal
from domain.breaker import Breaker, State
from domain.events import RawEvent
from domain.ledger import Batch, Head
from domain.posting import Totals
from domain.rail import Answer, Instruction, Rail
from domain.settlement import Report
from domain.traffic import Observation
from domain.upi import Holder
from domain.validation import Subject, Vote
from domain.watch import Watched


class Writing(Protocol):
    """The log, locked: nobody else appends until this ends, so what is read here is the truth that decides."""

    head: Head
    answered: Mapping[UUID, RawEvent]
    """Of the commands asked about: the first event each one left, be it what it did or its refusal."""

    def hash_at(self, position: int) -> bytes | None:
        """The hash of the seal that ends at `position`; None if none does."""

    def events_after(self, position: int) -> Iterator[RawEvent]:
        """Events past `position`, in order."""

    def streams(self, stream_ids: Collection[UUID]) -> Mapping[UUID, Sequence[RawEvent]]:
        """All events of those streams, in order; a stream without events is absent."""

    def totals(self, account_ids: Collection[UUID]) -> Mapping[UUID, Totals]:
        """The totals after each account's last posting; an account without postings is absent."""

    def append(self, batch: Batch) -> None:
        """Commit the batch's events, postings and seal, all or nothing. The lock is given up with the commit.

        Raises:
            HeadMoved: The batch does not begin right after the head.
            ConflictInStore: A unique key refused it; nothing was applied.
            Unavailable: The store failed before the commit; nothing was applied.
            OutcomeUnknown: The reply to the commit was lost; ask `EventStore.resolve` before answering anyone.
        """


class EventStore(Protocol):
    """The log of events with the postings they make and the seals over them: all the truth there is."""

    def writing(self, command_ids: Collection[UUID] = ()) -> AbstractContextManager[Writing]:
        """Take the log's lock and read its head, and what those commands left if they were decided before.

        Raises:
            Unavailable: The store cannot be reached, or the lock was not to be had in time; nothing was applied.
        """

    def resolve(self, seal: Seal) -> bool:
        """Whether the batch of that seal was committed, once no db transaction can commit it any more.

        Raises:
            Unavailable: It cannot be told yet.
        """

    def close(self) -> None:
        """Give up all connections; what is under way fails."""


class Log(Protocol):
    """The log as it is read: committed batches in order, in one consistent view."""

    def head(self) -> Seal | None:
        """The last seal, or None of an empty log."""

    def seals(self) -> Iterator[Seal]:
        """Every seal, in order."""

    def last_seal(self, *, position: int | None = None, at: datetime | None = None) -> Seal | None:
        """The last one that begins at or before the position, or is recorded at or before the time, that is given."""

    def events(self, *, after: int = 0, until: int | None = None) -> Iterator[RawEvent]:
        """Events with `after < position <= until`, in order, streamed."""


class Turn(Protocol):
    """Something to wait for."""

    async def wait(self) -> Any:
        """Return once it has come."""


class Reads(Protocol):
    """Named queries upon the read models and postings, each answered from one consistent view."""

    def turn(self) -> Turn:
        """Comes when the log may have grown since this was called, and may not come: wait a while at most."""

    async def fetch(self, query: str, parameters: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The rows of the query of that name.

        Raises:
            Unavailable: The store cannot be reached or did not answer in time.
        """


class Addresses(Protocol):
    """Who is behind a virtual payment address."""

    async def resolve(self, vpa: str, *, request_id: str, now: datetime) -> Holder | None:
        """Whose it is; None: nobody's, or no address at all.

        Args:
            request_id: 22 letters and digits that nothing else was asked under.

        Raises:
            Unavailable: The bank did not say.
        """


class RailPort(Protocol):
    """One rail, whatever it speaks. Nothing is raised: what went wrong on the way is an unknown outcome."""

    async def send(self, instruction: Instruction) -> Answer:
        """Ask for it. Under one request id a rail does one thing at most, however often it is asked."""

    async def inquire(self, instruction: Instruction) -> Answer:
        """What became of it."""

    async def report(self, route: str, day: date) -> Report | None:
        """What settled by that route on that day; None while the day is not over there.

        Raises:
            Unavailable: It did not say.
            ReportRejected: What it says cannot be right.
        """


class Validator(Protocol):
    """One that looks at payments from outside, such as risk or sanctions. What it raises is taken as silence."""

    @property
    def name(self) -> str:
        """Which of `domain.validation.OUTSIDE` it is."""

    async def vote(self, subject: Subject) -> Vote:
        """Its verdict, a stable code for the reason, and the values it was decided on; a client is told all of it."""


class Breakers(Protocol):
    """Circuit breakers and windows of rails and routes, shared by all processes, under the names of `breaker.key`."""

    def observe(self, rail: Rail, route: str, seen: Observation) -> None:
        """Note how a call ended. It is shared within a second, and never makes the caller wait."""

    async def look(self) -> Mapping[str, Watched]:
        """All there is, a second old at most, to route by.

        Raises:
            Unavailable: The store cannot be reached or did not answer in time; so do all that follow.
        """

    async def take_probe(self, rail: Rail, route: str) -> bool:
        """Leave for one call over that route where a breaker lets only probes through; False if another has it."""

    async def force(self, name: str, state: State, *, reason: str, actor: str, until: datetime | None) -> Breaker:
        """An operator's decision, open or closed, until then or until it is released; the breaker after it."""

    async def release(self, name: str, *, reason: str, actor: str) -> Breaker:
        """The end of an operator's decision; the breaker after it."""
