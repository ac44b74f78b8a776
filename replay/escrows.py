"""What follows from the events of escrows, and whether each of them could follow the ones before.

Written apart from `domain.escrow` and the projection, which wrote what is checked here.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Final
from uuid import UUID, uuid5

from msgspec import Struct, field

from domain import ids
from domain.events import (
    AccountOpened,
    EntryPosted,
    EscrowConditionMet,
    EscrowEvent,
    EscrowExpired,
    EscrowFunded,
    EscrowReleaseApproved,
    EscrowReleased,
    EscrowReleaseRefused,
    EscrowReturnApproved,
    EscrowReturned,
    EscrowTerms,
    HoldPlaced,
    Recorded,
)
from domain.posting import Posting
from replay.holds import Contradicts

ACCOUNTS: Final = "escrow:"
"""How the codes of accounts begin that hold what is set apart."""

_Agreed = tuple[str | None, int | None]
"""What one approver has agreed to have returned: a part and an amount, all that is left where there is none."""


class PartThen(Struct):
    """Amounts in minor units. `changed` is the position of the last event about it."""

    number: int
    name: str
    amount: int
    terms: EscrowTerms
    changed: int
    released: int = 0
    returned: int = 0
    approved: list[str] = field(default_factory=list)
    blocked: str = ""

    @property
    def left(self) -> int:
        return self.amount - self.released - self.returned


class EscrowThen(Struct):
    """Amounts in minor units. `position` is that of the first event, `changed` that of the last."""

    id: UUID
    funded: EscrowFunded
    maker: str
    position: int
    created_at: datetime
    version: int
    changed: int
    changed_at: datetime
    parts: dict[str, PartThen]
    released: int = 0
    returned: int = 0
    suspended: int = 0
    met: dict[str, str] = field(default_factory=dict)
    returns: dict[str, _Agreed] = field(default_factory=dict)
    expired: bool = False

    @property
    def left(self) -> int:
        return self.funded.amount - self.released - self.returned

    @property
    def status(self) -> str:
        if self.expired:
            return "expired"
        if self.left:
            return "partially_released" if self.released else "funded"
        return "released" if not self.returned else "divided" if self.released else "returned"

    @property
    def account_id(self) -> UUID:
        """Of the account that holds it."""
        return ids.account_id(self.funded.book_id, f"{ACCOUNTS}{self.funded.currency}")

    def is_ready(self, part: PartThen) -> bool:
        met = all(name in self.met for name in part.terms.conditions)
        return part.left > 0 and met and len(part.approved) >= part.terms.approvals


class _Move(Struct, frozen=True):
    """What must come next of that escrow, in the same commit: the release or return of a part."""

    escrow_id: UUID
    part: str
    amount: int
    kind: type[EscrowEvent]
    at: datetime
    at_end: bool = False
    """It may be on suspense; before the end it may not, and a release may be refused instead."""

    def is_met_by(self, recorded: Recorded) -> bool:
        event = recorded.event
        if (recorded.stream_id, recorded.recorded_at) != (self.escrow_id, self.at):
            return False
        if isinstance(event, EscrowReleaseRefused):
            return self.kind is EscrowReleased and event.part == self.part and not self.at_end
        if not isinstance(event, EscrowReleased | EscrowReturned) or type(event) is not self.kind:
            return False
        return (event.part, event.amount) == (self.part, self.amount) and event.suspended <= self.at_end


class _Entry(Struct, frozen=True):
    """The entry that must come next."""

    id: UUID
    escrow_id: UUID
    debit: UUID
    credit: UUID
    amount: int
    at: datetime

    def is_met_by(self, recorded: Recorded) -> bool:
        event = recorded.event
        if not isinstance(event, EntryPosted) or (recorded.stream_id, recorded.recorded_at) != (self.id, self.at):
            return False
        wanted = [(self.debit, "debit", self.amount), (self.credit, "credit", self.amount)]
        return [(line.account_id, line.side.value, line.amount) for line in event.postings] == wanted


class Escrows:
    """Every escrow that lives, as it stands after the events taken so far; the ones that ended are let go."""

    def __init__(self, contradicts: Contradicts) -> None:
        self.known: dict[UUID, EscrowThen] = {}
        self.over: EscrowThen | None = None
        """The one that ended with the last event, which is known until the next."""
        self._contradicts = contradicts
        self._moves: list[_Move] = []
        """What the last events have said must still come."""
        self._entry: _Entry | None = None
        self._last: Recorded | None = None
        """The event that said so."""
        self._set_apart: dict[UUID, int] = {}
        """By account: what its escrows have left."""
        self._booked: dict[UUID, int] = {}
        """By account: what entries have put there and not taken away."""

    @property
    def waits(self) -> bool:
        """Whether the next event matters, of whatever kind it is."""
        return bool(self._moves) or self._entry is not None or self.over is not None

    def take(self, recorded: Recorded) -> None:
        """One more event, of whatever kind."""
        event = recorded.event
        if self.over is not None:
            del self.known[self.over.id]
            self.over = None
        promised = self._keep(recorded)
        match event:
            case AccountOpened(code=code) if code.startswith(ACCOUNTS):
                self._booked[recorded.stream_id] = self._set_apart[recorded.stream_id] = 0
            case EntryPosted(postings=postings):
                self._book(recorded, postings, by_escrow=promised)
            case HoldPlaced(postings=postings):
                self._book(recorded, [line for line in postings if line.account_id in self._booked], by_escrow=False)
            case EscrowFunded():
                self._fund(recorded, event)
            case EscrowEvent():
                self._change(recorded, event, promised=promised)
            case _:
                pass

    def finish(self) -> None:
        """No more events: what the last ones promised is still owed."""
        if self._last is not None and (self._entry is not None or self._moves):
            self._contradicts(self._last, "what it says right after it", "the end of the log")

    # What was promised, and what entries do.

    def _keep(self, recorded: Recorded) -> bool:
        """Whether it is what the last events said must come next. Daybook's own accounts are opened when needed."""
        if self._entry is not None:
            entry, self._entry = self._entry, None
            if not entry.is_met_by(recorded):
                told = f"entry {ids.show(ids.ENTRY, entry.id)} of {entry.amount}, by {_shown(entry.escrow_id)}"
                self._contradicts(recorded, told, "another or none, or not of this amount and these accounts")
                return False
            return True
        if not self._moves or (
            isinstance(recorded.event, AccountOpened) and recorded.event.code.startswith("suspense:")
        ):
            return False
        move = self._moves[0]
        if not move.is_met_by(recorded):
            told = f"{move.kind.name} of {move.amount}, {move.part!r} of {_shown(move.escrow_id)}"
            self._contradicts(recorded, told, "another or none, or not of this amount and this commit")
            self._moves = []
            return False
        del self._moves[0]
        return True

    def _book(self, recorded: Recorded, postings: Iterable[Posting], *, by_escrow: bool) -> None:
        """What is set apart moves with its escrows alone, and is on its account what they have left."""
        for line in postings:
            account = line.account_id
            if account not in self._booked:
                continue
            if not by_escrow:
                self._contradicts(recorded, "what escrows set apart to move with them alone", "by itself")
            if isinstance(recorded.event, EntryPosted):
                self._booked[account] += line.amount if line.side == "credit" else -line.amount
                if self._booked[account] != self._set_apart[account]:
                    name = ids.show(ids.ACCOUNT, account)
                    self._contradicts(recorded, f"{self._set_apart[account]} on {name}", f"{self._booked[account]}")

    # What happens to an escrow.

    def _fund(self, recorded: Recorded, event: EscrowFunded) -> None:
        stream, terms = recorded.stream_id, [part.release for part in event.parts]
        if stream in self.known or recorded.version != 1:
            self._contradicts(recorded, "an escrow funded once", "again")
        if (
            sum(part.amount for part in event.parts) != event.amount
            or min((part.amount for part in event.parts), default=0) < 1
        ):
            self._contradicts(recorded, f"parts that come to {event.amount}", "others")
        if event.expires_at <= recorded.recorded_at:
            self._contradicts(recorded, "a time to come", event.expires_at.isoformat())
        if event.depositor_id == event.beneficiary_id:
            self._contradicts(recorded, "two accounts", "one")
        if {one.name for one in event.conditions} != {name for one in terms for name in one.conditions}:
            self._contradicts(recorded, "the conditions that its parts wait for", "others")
        if any(one.approvals > len({*one.approvers}) or not (one.conditions or one.approvals) for one in terms):
            self._contradicts(recorded, "terms that can be kept", "others")
        escrow = self.known[stream] = EscrowThen(
            id=stream,
            funded=event,
            maker=recorded.metadata.actor,
            position=recorded.position,
            created_at=recorded.recorded_at,
            version=recorded.version,
            changed=recorded.position,
            changed_at=recorded.recorded_at,
            parts={
                part.name: PartThen(number, part.name, part.amount, part.release, recorded.position)
                for number, part in enumerate(event.parts, 1)
            },
        )
        self._expect(recorded, escrow, event.entry_id, event.depositor_id, escrow.account_id, event.amount)
        self._set_apart[escrow.account_id] = self._set_apart.get(escrow.account_id, 0) + event.amount

    def _change(self, recorded: Recorded, event: EscrowEvent, *, promised: bool) -> None:
        escrow = self.known.get(recorded.stream_id)
        if escrow is None:
            self._contradicts(recorded, "an escrow funded before and not ended", "none")
            return
        due = escrow.funded.expires_at <= recorded.recorded_at
        if due is not (escrow.expired or isinstance(event, EscrowExpired)):
            self._contradicts(
                recorded, "its end" if due else "not its end yet", f"expires at {escrow.funded.expires_at}"
            )
        escrow.version, escrow.changed = recorded.version, recorded.position
        escrow.changed_at = recorded.recorded_at
        match event:
            case EscrowConditionMet():
                self._meet(recorded, escrow, event)
            case EscrowReleaseApproved():
                self._approve(recorded, escrow, event)
            case EscrowReturnApproved():
                self._agree(recorded, escrow, event)
            case EscrowReleased() | EscrowReturned():
                self._move(recorded, escrow, event, promised=promised)
            case EscrowReleaseRefused():
                self._refuse(recorded, escrow, event, promised=promised)
            case EscrowExpired():
                self._expire(recorded, escrow)
            case _:
                raise AssertionError(event)
        if not escrow.left:
            self.over = escrow

    def _meet(self, recorded: Recorded, escrow: EscrowThen, event: EscrowConditionMet) -> None:
        by = {one.name: one.by for one in escrow.funded.conditions}.get(event.condition)
        if by is None or event.condition in escrow.met:
            self._contradicts(recorded, "one of its conditions, once", event.condition)
        may = event.attester in by if by else event.attester != escrow.maker
        if not may or event.attester != recorded.metadata.actor:
            self._contradicts(recorded, "somebody who may say so, and did", event.attester)
        before = self._ready(escrow)
        escrow.met[event.condition] = event.attester
        self._complete(recorded, escrow, before)

    def _approve(self, recorded: Recorded, escrow: EscrowThen, event: EscrowReleaseApproved) -> None:
        part = self._part(recorded, escrow, event.part)
        if part is None:
            return
        self._must_approve(recorded, escrow, event.approver, part.terms.approvers)
        if event.approver in part.approved:
            self._contradicts(recorded, "an approver once", event.approver)
        before = self._ready(escrow)
        part.approved.append(event.approver)
        part.changed = recorded.position
        self._complete(recorded, escrow, before)

    def _agree(self, recorded: Recorded, escrow: EscrowThen, event: EscrowReturnApproved) -> None:
        parts = [part for part in escrow.parts.values() if part.left and event.part in (None, part.name)]
        own = escrow.funded.return_terms
        terms = {part.name: own or part.terms for part in parts}
        self._must_approve(recorded, escrow, event.approver, [name for one in terms.values() for name in one.approvers])
        agreed: _Agreed = (event.part, event.amount)
        if escrow.returns.get(event.approver) == agreed:
            self._contradicts(recorded, "something new", "the same again")
        if event.amount is not None and (event.part is None or any(event.amount > part.left for part in parts)):
            self._contradicts(recorded, "at most what is left of a part", str(event.amount))
        escrow.returns[event.approver] = agreed
        so_far = {name for name, one in escrow.returns.items() if one == agreed}
        if all(one.approvals and len(so_far & {*one.approvers}) >= one.approvals for one in terms.values()):
            self._promise(recorded, escrow, [(p, event.amount or p.left, EscrowReturned) for p in parts])

    def _expire(self, recorded: Recorded, escrow: EscrowThen) -> None:
        escrow.expired = True
        forward = escrow.funded.on_expiry == "release"
        kinds = {True: EscrowReleased, False: EscrowReturned}
        left = [part for part in escrow.parts.values() if part.left]
        moves = [(part, part.left, kinds[forward or escrow.is_ready(part)]) for part in left]
        self._promise(recorded, escrow, moves, at_end=True)

    def _move(
        self, recorded: Recorded, escrow: EscrowThen, event: EscrowReleased | EscrowReturned, *, promised: bool
    ) -> None:
        part = self._part(recorded, escrow, event.part)
        if part is None:
            return
        if not promised and (isinstance(event, EscrowReturned) or event.suspended or not escrow.is_ready(part)):
            self._contradicts(recorded, "the release of a part that is ready, or what was agreed to", event.part)
        if not 1 <= event.amount <= part.left:
            self._contradicts(recorded, f"part or all of {part.left}", str(event.amount))
        part.changed = recorded.position
        if isinstance(event, EscrowReleased):
            part.released += event.amount
            part.blocked = ""
            escrow.released += event.amount
            to = escrow.funded.beneficiary_id
        else:
            part.returned += event.amount
            escrow.returned += event.amount
            escrow.returns = {}
            to = escrow.funded.depositor_id
        if event.suspended:
            escrow.suspended += event.amount
            to = ids.account_id(escrow.funded.book_id, f"suspense:{escrow.funded.currency}")
        self._expect(recorded, escrow, event.entry_id, escrow.account_id, to, event.amount)
        self._set_apart[escrow.account_id] = self._set_apart.get(escrow.account_id, 0) - event.amount

    def _refuse(self, recorded: Recorded, escrow: EscrowThen, event: EscrowReleaseRefused, *, promised: bool) -> None:
        if not promised:
            self._contradicts(recorded, "a part that has just become ready", event.part)
        part = self._part(recorded, escrow, event.part)
        if part is not None:
            part.blocked, part.changed = event.reason, recorded.position

    # What they have in common.

    def _part(self, recorded: Recorded, escrow: EscrowThen, name: str) -> PartThen | None:
        part = escrow.parts.get(name)
        if part is None or not part.left:
            self._contradicts(recorded, "one of its parts, with something left", name)
        return part

    def _must_approve(self, recorded: Recorded, escrow: EscrowThen, approver: str, may: Iterable[str]) -> None:
        if approver == escrow.maker or approver not in may or approver != recorded.metadata.actor:
            self._contradicts(recorded, "an approver, and not its maker", approver)

    def _ready(self, escrow: EscrowThen) -> set[str]:
        return {part.name for part in escrow.parts.values() if escrow.is_ready(part)}

    def _complete(self, recorded: Recorded, escrow: EscrowThen, before: set[str]) -> None:
        """What has become ready is released, or its release refused, at once."""
        ready = [part for part in escrow.parts.values() if part.name not in before and escrow.is_ready(part)]
        self._promise(recorded, escrow, [(part, part.left, EscrowReleased) for part in ready])

    def _promise(
        self,
        recorded: Recorded,
        escrow: EscrowThen,
        moves: Iterable[tuple[PartThen, int, type[EscrowEvent]]],
        *,
        at_end: bool = False,
    ) -> None:
        self._last = recorded
        self._moves += [
            _Move(escrow.id, part.name, amount, kind, recorded.recorded_at, at_end) for part, amount, kind in moves
        ]

    def _expect(
        self, recorded: Recorded, escrow: EscrowThen, entry_id: UUID, debit: UUID, credit: UUID, amount: int
    ) -> None:
        due = uuid5(escrow.id, f"entry:{recorded.version}")
        if entry_id != due:
            self._contradicts(recorded, f"entry {ids.show(ids.ENTRY, due)}", ids.show(ids.ENTRY, entry_id))
        self._last = recorded
        self._entry = _Entry(entry_id, escrow.id, debit, credit, amount, recorded.recorded_at)


def _shown(escrow_id: UUID) -> str:
    return ids.show(ids.ESCROW, escrow_id)
