"""What follows from the events of holds, and whether each of them could follow the ones before.

Written apart from `domain.hold` and the projection, which wrote what is checked here.
"""

from collections.abc import Callable
from datetime import datetime
from uuid import UUID

from msgspec import Struct

from domain import ids
from domain.events import EntryPosted, HoldCaptured, HoldExpired, HoldIncreased, HoldPlaced, HoldVoided, Recorded
from domain.posting import Posting, Side

HoldEvent = HoldPlaced | HoldIncreased | HoldCaptured | HoldVoided | HoldExpired

Contradicts = Callable[[Recorded, str, str], None]
"""Told of an event that cannot follow: what was expected, and what was found."""


class HoldThen(Struct):
    """Amounts in minor units. `position` is that of the first event, `changed` that of the last."""

    book_id: UUID
    account_id: UUID
    destination_id: UUID
    position: int
    recorded_at: datetime
    status: str
    amount: int
    captured: int
    remaining: int
    currency: str
    expires_at: datetime | None
    actor: str
    description: str
    reference: str
    metadata: dict[str, str]
    version: int
    changed: int
    sides: tuple[Side, Side]
    payment_id: UUID | None


class Holds:
    """Every hold that lives, as it stands after the events taken so far; the ones that ended are let go."""

    def __init__(self, contradicts: Contradicts) -> None:
        self.known: dict[UUID, HoldThen] = {}
        self.ended: tuple[UUID, HoldThen] | None = None
        """The one that ended with the last event, which is known until the next."""
        self._contradicts = contradicts
        self._promised: tuple[UUID, UUID, int] | None = None
        """What was just captured: the entry that must come next, its hold and its amount."""

    @property
    def waits(self) -> bool:
        """Whether the next event matters, of whatever kind it is: to what was promised, or to whom may go."""
        return self._promised is not None or self.ended is not None

    def take(self, recorded: Recorded) -> None:
        """One more event, of whatever kind."""
        event, promised = recorded.event, self._promised
        self._promised = None
        if promised is not None or (isinstance(event, EntryPosted) and event.captures is not None):
            self._keep_promise(recorded, promised)
        if self.ended is not None:
            del self.known[self.ended[0]]
            self.ended = None
        if isinstance(event, HoldPlaced):
            self._place(recorded, event)
        elif isinstance(event, HoldIncreased | HoldCaptured | HoldVoided | HoldExpired):
            self._change(recorded, event)
            hold = self.known.get(recorded.stream_id)
            if hold is not None and hold.status != "held":
                self.ended = (recorded.stream_id, hold)

    def _keep_promise(self, recorded: Recorded, promised: tuple[UUID, UUID, int] | None) -> None:
        """An entry captured from a hold follows right upon the capture, and nothing else does."""
        event, expected = recorded.event, "no entry that captures"
        if promised is not None:
            entry_id, hold_id, amount = promised
            hold = self.known[hold_id]
            if (
                isinstance(event, EntryPosted)
                and (recorded.stream_id, event.captures) == (entry_id, hold_id)
                and _of(event.postings) == _parts(hold, amount)
            ):
                return
            expected = f"entry {ids.show(ids.ENTRY, entry_id)} of {amount} from {ids.show(ids.HOLD, hold_id)}"
        self._contradicts(recorded, expected, "another or none" if promised is not None else "one")

    def _place(self, recorded: Recorded, event: HoldPlaced) -> None:
        source, destination = event.postings
        if recorded.stream_id in self.known or recorded.version != 1:
            self._contradicts(recorded, "a hold placed once", "again")
        if source.account_id == destination.account_id or source.side is destination.side:
            self._contradicts(recorded, "two accounts, one on each side", "otherwise")
        if event.expires_at is not None and event.expires_at <= recorded.recorded_at:
            self._contradicts(recorded, "a time to come", event.expires_at.isoformat())
        self.known[recorded.stream_id] = HoldThen(
            book_id=event.book_id,
            account_id=source.account_id,
            destination_id=destination.account_id,
            position=recorded.position,
            recorded_at=recorded.recorded_at,
            status="held",
            amount=source.amount,
            captured=0,
            remaining=source.amount,
            currency=source.currency,
            expires_at=event.expires_at,
            actor=recorded.metadata.actor,
            description=event.description,
            reference=event.reference,
            metadata=event.metadata,
            version=recorded.version,
            changed=recorded.position,
            sides=(source.side, destination.side),
            payment_id=event.payment_id,
        )

    def _change(self, recorded: Recorded, event: HoldIncreased | HoldCaptured | HoldVoided | HoldExpired) -> None:
        hold = self.known.get(recorded.stream_id)
        if hold is None:
            self._contradicts(recorded, "a hold placed before and not ended", "none")
            return
        due = hold.expires_at is not None and hold.expires_at <= recorded.recorded_at
        if due is not isinstance(event, HoldExpired):
            self._contradicts(recorded, "its end" if due else "not its end yet", f"expires at {hold.expires_at}")
        touched = event.postings if isinstance(event, HoldIncreased) else event.released
        part = touched[0].amount
        if event.book_id != hold.book_id or _of(touched) != _parts(hold, part):
            self._contradicts(recorded, "the hold's own accounts, sides and currency", "others")
        hold.version, hold.changed = recorded.version, recorded.position
        if isinstance(event, HoldIncreased):
            hold.amount += part
            hold.remaining += part
            return
        if isinstance(event, HoldCaptured):
            self._capture(recorded, event, hold, part)
        elif part != hold.remaining:
            self._contradicts(recorded, f"all of {hold.remaining} released", str(part))
        hold.remaining -= part
        if isinstance(event, HoldVoided):
            hold.status = "voided"
        elif isinstance(event, HoldExpired):
            hold.status = "expired"

    def _capture(self, recorded: Recorded, event: HoldCaptured, hold: HoldThen, released: int) -> None:
        possible = 1 <= event.amount <= hold.remaining
        expected = hold.remaining if event.final else event.amount
        if not possible or released != expected or (event.amount == hold.remaining and not event.final):
            found = f"{event.amount} captured, {released} released{', the last' if event.final else ''}"
            self._contradicts(recorded, f"part or all of {hold.remaining}", found)
        hold.captured += event.amount
        if event.final:
            hold.status = "captured"
        self._promised = (event.entry_id, recorded.stream_id, event.amount)


def _of(postings: tuple[Posting, ...]) -> list[tuple[UUID, Side, int, str]]:
    return [(posting.account_id, posting.side, posting.amount, posting.currency) for posting in postings]


def _parts(hold: HoldThen, amount: int) -> list[tuple[UUID, Side, int, str]]:
    accounts = (hold.account_id, hold.destination_id)
    return [(account, side, amount, hold.currency) for account, side in zip(accounts, hold.sides, strict=True)]
