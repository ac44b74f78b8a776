"""Ends holds and escrows when their time has come: Daybook's own commands, put to the desk like everybody's.

What is due is read from the read model and by the database's clock. Every process asks under the same key, so that any
number of them end a thing once. Nothing depends on when that is but where the money is: after its time a hold cannot be
captured any more, nor an escrow released, ended or not.
"""

import asyncio
from collections.abc import Callable
from typing import Final
from uuid import UUID

from msgspec import Struct

from commands.command import Command, ask
from commands.desk import Desk, Outcome
from commands.escrow import ExpireEscrow
from commands.hold import ExpireHold
from domain.errors import (
    EscrowIsNotDue,
    HoldIsNotDue,
    KeyInFlight,
    OutcomeUnknown,
    Overloaded,
    Stopping,
    Unavailable,
)
from domain.ports import Reads
from projections import escrows, holds
from projections.projection import Projection, tracked_as

ACTOR: Final = "daybook"
KEY: Final = "daybook·expiry"
"""No client's: theirs are ASCII."""

POLL_S: Final = 1.0
"""How often they are looked for; one that comes due sooner than the next look is waited for."""
BEHIND_S: Final = 0.005
"""How long the read model is given to come up with the log, before it is looked at again."""
AT_ONCE_MAX: Final = 500
"""Ended together; a thousand that come due in one moment must not keep all others from the desk."""

_NOT_NOW: Final = (Unavailable, OutcomeUnknown, Overloaded, KeyInFlight, Stopping)
"""It is not known to be done; asking again under the same key tells, or does it."""


class Kind(Struct, frozen=True):
    """What has an end: the projection that shows it and its id there, what is due, and the command that ends one."""

    projection: Projection
    key: str
    query: str
    command: Callable[[UUID], Command]


HOLDS: Final = Kind(holds, "hold_id", "holds_due", lambda name: ExpireHold(hold_id=name))
ESCROWS: Final = Kind(escrows, "escrow_id", "escrows_due", lambda name: ExpireEscrow(escrow_id=name))


class _Look(Struct, frozen=True):
    """What the read model shows at one moment: it reaches to `as_of` of a log that ends at `head`."""

    as_of: int
    head: int
    due: list[UUID]
    next_in_s: float


class Expiry:
    """Puts the command that ends it to the desk for everything of a kind that is due.

    Args:
        report: Told of what should not happen, as (event, details); not of a store that is away.
        ended: Told of each that this process has ended.
    """

    def __init__(
        self,
        desk: Desk,
        reads: Reads,
        *,
        report: Callable[[str, BaseException], None],
        ended: Callable[[Outcome], None] = lambda outcome: None,
        of: Kind = HOLDS,
    ) -> None:
        self._kind = of
        self._desk = desk
        self._reads = reads
        self._report = report
        self._tell_ended = ended
        self._told = ""
        self._ended: dict[UUID, int] = {}
        """Those that have ended, by what was answered at that position: the read model may not show it yet."""
        self._keys: dict[UUID, str] = {}
        """Of holds that were asked for too early, as after the database's clock was set back: the next key."""

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            pause_s = POLL_S
            try:
                pause_s = await self._end_due()
                self._told = ""
            except _NOT_NOW:
                pass  # Desk and projections have their say about a store that is away.
            except Exception as error:
                if str(error) != self._told:
                    self._told = str(error)
                    self._report("expiry.failed", error)
            await asyncio.sleep(pause_s)

    async def _end_due(self) -> float:
        """End what is due; returns after how many seconds to look again."""
        look = await self._look()
        if not look.due:
            return look.next_in_s
        due, up_to_date = set(look.due), look
        # One that ended otherwise just before its time is no longer due once the read model knows all that was in the
        # log after its time: nothing is asked that would be refused.
        while up_to_date.as_of < look.head:
            await asyncio.sleep(BEHIND_S if due else POLL_S)
            up_to_date = await self._look()
            due &= set(up_to_date.due)
        await asyncio.gather(*(self._end(name) for name in due))
        return POLL_S if self._keys else 0.0

    async def _end(self, name: UUID) -> None:
        command = ask(self._kind.command(name), actor=ACTOR, key=self._keys.get(name, KEY))
        outcome = await self._desk.submit(command)
        if isinstance(outcome.refusal, HoldIsNotDue | EscrowIsNotDue):
            # That refusal is the answer to that key for ever; every process comes to the same next one.
            self._keys[name] = f"{KEY} after {outcome.position}"
        else:
            self._keys.pop(name, None)
            self._ended[name] = outcome.position
            if outcome.refusal is None and not outcome.replayed:
                self._tell_ended(outcome)

    async def _look(self) -> _Look:
        wanted = {"projections": [tracked_as(self._kind.projection)], "within_s": POLL_S, "limit": AT_ONCE_MAX}
        rows = await self._reads.fetch(self._kind.query, {**wanted, "asked": list(self._ended)})
        as_of = rows[0]["as_of"]
        self._ended = {name: position for name, position in self._ended.items() if position > as_of}
        shown = [row for row in rows if row[self._kind.key] is not None]
        to_come = (row["due_in_s"] for row in shown if row["due_in_s"] > 0)
        return _Look(
            as_of,
            rows[0]["head"],
            [row[self._kind.key] for row in shown if row["due_in_s"] <= 0],
            min(to_come, default=POLL_S),
        )
