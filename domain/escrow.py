"""An escrow: money of a depositor set apart for a beneficiary, in parts, until what was agreed has come about.

A part is released when all its conditions are met and enough of its approvers have approved. It is returned when as
many agree to that, by its own terms or by the escrow's for returns. The escrow always has an end: once its time has
come, parts that are ready go to the beneficiary and all others where `on_expiry` says. Whoever funded it approves
nothing.

| step | debit | credit |
|---|---|---|
| funded | depositor | escrow |
| released | escrow | beneficiary |
| returned | escrow | depositor |

A release that the beneficiary's account cannot take leaves the part ready, to be released later; a return that the
depositor's cannot take is refused. At the end neither may stay: what cannot be taken then is booked on suspense.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from enum import StrEnum
from typing import Final, Literal
from uuid import UUID, uuid5

from msgspec import Struct
from msgspec.structs import replace

from domain import account as account_rules
from domain import clearing, ids, journal
from domain.account import Account
from domain.errors import (
    AccountNotFound,
    CurrencyMismatch,
    EscrowAmountExceeded,
    EscrowApprovedBefore,
    EscrowApproverIsMaker,
    EscrowApproverUnfit,
    EscrowAttesterUnfit,
    EscrowConditionIsMet,
    EscrowConditionNotFound,
    EscrowEnded,
    EscrowExpiresInPast,
    EscrowIsExpired,
    EscrowIsNotDue,
    EscrowNotReady,
    EscrowPartEnded,
    EscrowPartNotFound,
    EscrowToSameAccount,
    Refusal,
)
from domain.events import (
    EntryPosted,
    EscrowCondition,
    EscrowConditionMet,
    EscrowEvent,
    EscrowExpired,
    EscrowFunded,
    EscrowPart,
    EscrowReleaseApproved,
    EscrowReleased,
    EscrowReleaseRefused,
    EscrowReturnApproved,
    EscrowReturned,
    EscrowTerms,
    Event,
    Recorded,
)
from domain.posting import ZERO, Posting, Side, Totals, posted

Streamed = tuple[UUID, int, Event]
"""An event with its stream and the version it takes there."""


class Status(StrEnum):
    """The last four are ends: all released, all returned, some of each, and whatever was left when its time came."""

    FUNDED = "funded"
    PARTIALLY_RELEASED = "partially_released"
    RELEASED = "released"
    RETURNED = "returned"
    DIVIDED = "divided"
    EXPIRED = "expired"


class PartStatus(StrEnum):
    """The last three are ends: all released, all returned, some of each."""

    WAITING = "waiting"
    READY = "ready"
    RELEASED = "released"
    RETURNED = "returned"
    DIVIDED = "divided"


OPEN: Final = (Status.FUNDED, Status.PARTIALLY_RELEASED)


class Part(Struct, frozen=True):
    """Amounts in minor units. `blocked` is why the beneficiary's account could not take it when it became ready."""

    agreed: EscrowPart
    released: int = 0
    returned: int = 0
    approved: tuple[str, ...] = ()
    blocked: str = ""

    @property
    def left(self) -> int:
        return self.agreed.amount - self.released - self.returned


class Return(Struct, frozen=True):
    """What an approver agrees to have returned: all that is left where it names no part, or no amount."""

    part: str | None
    amount: int | None


class Escrow(Struct, frozen=True):
    """`met` is who said so of each condition that is met, `returns` what each approver has agreed to have returned."""

    id: UUID
    version: int
    funded: EscrowFunded
    maker: str
    parts: Mapping[str, Part]
    met: Mapping[str, str]
    returns: Mapping[str, Return]
    expired: bool = False

    @property
    def released(self) -> int:
        return sum(part.released for part in self.parts.values())

    @property
    def returned(self) -> int:
        return sum(part.returned for part in self.parts.values())

    @property
    def held(self) -> int:
        return self.funded.amount - self.released - self.returned

    @property
    def status(self) -> Status:
        if self.expired:
            return Status.EXPIRED
        if self.held:
            return Status.PARTIALLY_RELEASED if self.released else Status.FUNDED
        if not self.returned:
            return Status.RELEASED
        return Status.DIVIDED if self.released else Status.RETURNED

    def is_ready(self, part: Part) -> bool:
        """Whether all that it waits for has come; nothing left of it is not ready."""
        terms = part.agreed.release
        return part.left > 0 and len(part.approved) >= terms.approvals and all(c in self.met for c in terms.conditions)

    def status_of(self, part: Part) -> PartStatus:
        if part.left:
            return PartStatus.READY if self.is_ready(part) else PartStatus.WAITING
        if not part.returned:
            return PartStatus.RELEASED
        return PartStatus.DIVIDED if part.released else PartStatus.RETURNED


class Books(Struct, frozen=True):
    """What is known of the accounts an escrow touches, at the moment it is decided."""

    accounts: Mapping[UUID, Account]
    totals: Mapping[UUID, Totals]
    now: datetime


def escrow_code(currency: str) -> str:
    return f"{account_rules.ESCROW}{currency}"


def own_accounts(book_id: UUID, currency: str) -> list[UUID]:
    """The account that holds what is set apart, and suspense."""
    return [ids.account_id(book_id, code) for code in (escrow_code(currency), clearing.suspense_code(currency))]


def accounts_of(escrow: Escrow) -> list[UUID]:
    """Those that it may touch."""
    funded = escrow.funded
    return [funded.depositor_id, funded.beneficiary_id, *own_accounts(funded.book_id, funded.currency)]


def entry_id(escrow_id: UUID, version: int) -> UUID:
    """Of the journal entry that belongs to the escrow's event of that version."""
    return uuid5(escrow_id, f"entry:{version}")


def fund(
    books: Books,
    *,
    escrow_id: UUID,
    book_id: UUID,
    depositor_id: UUID,
    beneficiary_id: UUID,
    amount: int,
    currency: str,
    expires_at: datetime,
    on_expiry: Literal["return", "release"],
    conditions: tuple[EscrowCondition, ...],
    parts: tuple[EscrowPart, ...],
    return_terms: EscrowTerms | None,
    description: str,
    reference: str,
    metadata: dict[str, str],
) -> list[Streamed]:
    """Set the amount apart.

    Args:
        amount: The sum of the parts', at least 1 each, in the currency of both accounts.
        expires_at: Aware, after now.
        parts: Each waits for something; the conditions that they name are among `conditions`.

    Raises:
        EscrowToSameAccount, EscrowExpiresInPast, AccountNotFound, AccountCodeReserved, CurrencyMismatch.
        AccountIsFrozen, AccountIsClosed: One of the accounts takes no postings.
        What `journal.post` does of the depositor's limits.
    """
    assert sum(part.amount for part in parts) == amount, parts
    if depositor_id == beneficiary_id:
        raise EscrowToSameAccount(depositor_id)
    if expires_at <= books.now:
        raise EscrowExpiresInPast(expires_at)
    for name in (depositor_id, beneficiary_id):
        account = books.accounts.get(name)
        if account is None or account.book_id != book_id:
            raise AccountNotFound(name)
        account_rules.must_not_be_reserved(account.id, account.code)
        if account.currency != currency:
            raise CurrencyMismatch(account.id, currency, account.currency)
        account_rules.must_be_open(account)
    event = EscrowFunded(
        book_id=book_id,
        depositor_id=depositor_id,
        beneficiary_id=beneficiary_id,
        amount=amount,
        currency=currency,
        expires_at=expires_at,
        on_expiry=on_expiry,
        conditions=conditions,
        parts=parts,
        return_terms=return_terms,
        entry_id=entry_id(escrow_id, 1),
        description=description,
        reference=reference,
        metadata=metadata,
    )
    # Who made it does not matter here: nobody approves anything in this step.
    steps = _Steps(created(escrow_id, event, ""), books)
    escrow_account, _ = own_accounts(book_id, currency)
    steps.open(escrow_account, escrow_code(currency))
    steps.events.append((escrow_id, 1, event))
    steps.post(event.entry_id, depositor_id, escrow_account, amount, "escrow funded")
    return steps.events


def meet(escrow: Escrow, books: Books, *, condition: str, attester: str, evidence: str) -> list[Streamed]:
    """Say that a condition is met; what that completes is released.

    Raises:
        EscrowEnded, EscrowIsExpired: It is over.
        EscrowConditionNotFound, EscrowConditionIsMet: There is nothing to say of it.
        EscrowAttesterUnfit: It is not this one's to say.
    """
    _must_be_open(escrow, books.now)
    agreed = next((one for one in escrow.funded.conditions if one.name == condition), None)
    if agreed is None:
        raise EscrowConditionNotFound(escrow.id, condition)
    if condition in escrow.met:
        raise EscrowConditionIsMet(escrow.id, condition)
    if attester not in agreed.by if agreed.by else attester == escrow.maker:
        raise EscrowAttesterUnfit(escrow.id, condition, attester)
    return _completing(escrow, books, EscrowConditionMet(condition=condition, attester=attester, evidence=evidence))


def approve(escrow: Escrow, books: Books, *, part: str, approver: str) -> list[Streamed]:
    """Approve the release of a part; if that completes what it waits for, it is released.

    Raises:
        EscrowEnded, EscrowIsExpired: It is over.
        EscrowPartNotFound, EscrowPartEnded: There is no such part, or nothing left of it.
        EscrowApproverIsMaker, EscrowApproverUnfit, EscrowApprovedBefore: It is not this one's to approve, or not again.
    """
    _must_be_open(escrow, books.now)
    known = _part(escrow, part)
    _must_approve(escrow, approver, [known.agreed.release])
    if approver in known.approved:
        raise EscrowApprovedBefore(escrow.id, approver)
    return _completing(escrow, books, EscrowReleaseApproved(part=part, approver=approver))


def release(escrow: Escrow, books: Books, *, part: str | None, amount: int | None) -> list[Streamed]:
    """Release what is ready and could not be released when it became so.

    Args:
        part: None for every part that is ready.
        amount: At least 1; None for all that is left of each.

    Raises:
        EscrowEnded, EscrowIsExpired: It is over.
        EscrowPartNotFound, EscrowPartEnded: There is no such part, or nothing left of it.
        EscrowNotReady: Something is still waited for.
        EscrowAmountExceeded: More than is left.
        What `journal.post` does of the beneficiary's account.
    """
    _must_be_open(escrow, books.now)
    wanted = [one for one in escrow.parts.values() if one.left] if part is None else [_part(escrow, part)]
    ready = [one for one in wanted if escrow.is_ready(one)]
    if not ready:
        raise EscrowNotReady(escrow.id, [one.agreed.name for one in wanted])
    steps = _Steps(escrow, books)
    for one in ready:
        steps.release(one.agreed.name, _amount_of(escrow, one, amount))
    return steps.events


def agree_to_return(
    escrow: Escrow, books: Books, *, approver: str, part: str | None, amount: int | None, reason: str
) -> list[Streamed]:
    """Agree that an amount of a part, or all that is left of it or of everything, goes back; enough agreed, it does.

    Raises:
        EscrowEnded, EscrowIsExpired: It is over.
        EscrowPartNotFound, EscrowPartEnded: There is no such part, or nothing left of it.
        EscrowApproverIsMaker, EscrowApproverUnfit, EscrowApprovedBefore: It is not this one's to agree, or not again.
        EscrowAmountExceeded: More than is left.
        What `journal.post` does of the depositor's account.
    """
    _must_be_open(escrow, books.now)
    wanted = [one for one in escrow.parts.values() if one.left] if part is None else [_part(escrow, part)]
    terms = {one.agreed.name: escrow.funded.return_terms or one.agreed.release for one in wanted}
    _must_approve(escrow, approver, terms.values())
    asked = Return(part, amount)
    if escrow.returns.get(approver) == asked:
        raise EscrowApprovedBefore(escrow.id, approver)
    amounts = {one.agreed.name: _amount_of(escrow, one, amount) for one in wanted}
    steps = _Steps(escrow, books)
    steps.note(EscrowReturnApproved(approver=approver, part=part, amount=amount, reason=reason))
    agreed = {name for name, one in steps.escrow.returns.items() if one == asked}
    if all(0 < one.approvals <= len(agreed.intersection(one.approvers)) for one in terms.values()):
        for name, given in amounts.items():
            steps.give_back(name, given)
    return steps.events


def expire(escrow: Escrow, books: Books) -> list[Streamed]:
    """End an escrow whose time has come: what is ready is released, all else goes where `on_expiry` says.

    Raises:
        EscrowEnded: It has ended otherwise.
        EscrowIsNotDue: Its time has not come.
    """
    if escrow.status not in OPEN:
        raise EscrowEnded(escrow.id, escrow.status)
    if escrow.funded.expires_at > books.now:
        raise EscrowIsNotDue(escrow.id, escrow.funded.expires_at)
    steps = _Steps(escrow, books)
    steps.note(EscrowExpired())
    for part in escrow.parts.values():
        if part.left:
            forward = escrow.is_ready(part) or escrow.funded.on_expiry == "release"
            move = steps.release if forward else steps.give_back
            try:
                move(part.agreed.name, part.left)
            except Refusal:
                move(part.agreed.name, part.left, suspended=True)
    return steps.events


def _must_be_open(escrow: Escrow, now: datetime) -> None:
    if escrow.status not in OPEN:
        raise EscrowEnded(escrow.id, escrow.status)
    if escrow.funded.expires_at <= now:
        raise EscrowIsExpired(escrow.id, escrow.funded.expires_at)


def _part(escrow: Escrow, name: str) -> Part:
    part = escrow.parts.get(name)
    if part is None:
        raise EscrowPartNotFound(escrow.id, name)
    if not part.left:
        raise EscrowPartEnded(escrow.id, name)
    return part


def _must_approve(escrow: Escrow, approver: str, terms: Iterable[EscrowTerms]) -> None:
    if approver == escrow.maker:
        raise EscrowApproverIsMaker(escrow.id, approver)
    if not any(approver in one.approvers for one in terms):
        raise EscrowApproverUnfit(escrow.id, approver)


def _amount_of(escrow: Escrow, part: Part, amount: int | None) -> int:
    if amount is None:
        return part.left
    if amount > part.left:
        raise EscrowAmountExceeded(escrow.id, part.agreed.name, escrow.funded.currency, amount, part.left)
    return amount


def _completing(escrow: Escrow, books: Books, event: EscrowEvent) -> list[Streamed]:
    """With the release of what is ready by it; where the beneficiary's account cannot take it, with why."""
    steps = _Steps(escrow, books)
    before = {name for name, part in escrow.parts.items() if escrow.is_ready(part)}
    steps.note(event)
    for name, part in steps.escrow.parts.items():
        if name not in before and steps.escrow.is_ready(part):
            try:
                steps.release(name, part.left)
            except Refusal as refusal:
                steps.note(EscrowReleaseRefused(part=name, reason=refusal.code))
    return steps.events


class _Steps:
    """What one decision comes to, step by step, each upon what those before it left."""

    def __init__(self, escrow: Escrow, books: Books) -> None:
        self.escrow = escrow
        self.events: list[Streamed] = []
        self._accounts = dict(books.accounts)
        self._totals = {name: books.totals.get(name, ZERO) for name in books.accounts}
        self._now = books.now

    def note(self, event: EscrowEvent) -> None:
        self.escrow = evolve(self.escrow, event)
        self.events.append((self.escrow.id, self.escrow.version, event))

    def release(self, part: str, amount: int, *, suspended: bool = False) -> None:
        """Raises what `journal.post` does, and then nothing has happened."""
        self._move(EscrowReleased, part, amount, self.escrow.funded.beneficiary_id, suspended=suspended)

    def give_back(self, part: str, amount: int, *, suspended: bool = False) -> None:
        """Raises what `journal.post` does, and then nothing has happened."""
        self._move(EscrowReturned, part, amount, self.escrow.funded.depositor_id, suspended=suspended)

    def _move(
        self, kind: type[EscrowReleased] | type[EscrowReturned], part: str, amount: int, to: UUID, *, suspended: bool
    ) -> None:
        funded, told = self.escrow.funded, "released" if kind is EscrowReleased else "returned"
        held, suspense = own_accounts(funded.book_id, funded.currency)
        if suspended:
            to = suspense
            self.open(suspense, clearing.suspense_code(funded.currency))
        name = entry_id(self.escrow.id, self.escrow.version + 1)
        entry = self._entry(name, held, to, amount, f"escrow {told}: {part}")
        self.note(kind(part=part, amount=amount, entry_id=name, suspended=suspended))
        self._append(name, entry)

    def open(self, name: UUID, code: str) -> None:
        """One of Daybook's own accounts, when it is first needed."""
        if name not in self._accounts:
            funded = self.escrow.funded
            event = clearing.opened(funded.book_id, code, funded.currency, self._now)
            self.events.append((name, 1, event))
            self._accounts[name] = account_rules.opened(name, event)
            self._totals[name] = ZERO

    def post(self, name: UUID, debit: UUID, credit: UUID, amount: int, told: str) -> None:
        self._append(name, self._entry(name, debit, credit, amount, told))

    def _append(self, name: UUID, entry: EntryPosted) -> None:
        self.events.append((name, 1, entry))
        for line in posted(entry.postings):
            self._totals[line.account_id] = line.onto(self._totals[line.account_id])

    def _entry(self, name: UUID, debit: UUID, credit: UUID, amount: int, told: str) -> EntryPosted:
        funded = self.escrow.funded
        said = f"{told} ({ids.show(ids.ESCROW, self.escrow.id)})"
        return journal.post(
            self._accounts,
            self._totals,
            book_id=funded.book_id,
            postings=[
                Posting(debit, Side.DEBIT, amount, funded.currency),
                Posting(credit, Side.CREDIT, amount, funded.currency),
            ],
            value_date=self._now.date(),
            description=f"{funded.description}: {said}" if funded.description else said,
            reference=funded.reference,
            metadata={},
            now=self._now,
            by_escrow=True,
        )


def created(escrow_id: UUID, event: EscrowFunded, maker: str) -> Escrow:
    return Escrow(escrow_id, 1, event, maker, {part.name: Part(part) for part in event.parts}, {}, {})


def fold(escrow_id: UUID, events: Iterable[Recorded]) -> Escrow | None:
    """The escrow after those events; None where there is none, which a kept refusal does not change."""
    escrow = None
    for recorded in events:
        event = recorded.event
        if isinstance(event, EscrowFunded):
            escrow = created(escrow_id, event, recorded.metadata.actor)
        elif escrow is not None and isinstance(event, EscrowEvent):
            escrow = evolve(escrow, event)
    return escrow


def evolve(escrow: Escrow, event: EscrowEvent) -> Escrow:
    """The escrow after one more of its events; never refuses."""
    escrow = replace(escrow, version=escrow.version + 1)
    match event:
        case EscrowConditionMet(condition=condition, attester=attester):
            return replace(escrow, met={**escrow.met, condition: attester})
        case EscrowReleaseApproved(part=name, approver=approver):
            return _with(escrow, name, approved=(*escrow.parts[name].approved, approver))
        case EscrowReleased(part=name, amount=amount):
            return _with(escrow, name, released=escrow.parts[name].released + amount, blocked="")
        case EscrowReleaseRefused(part=name, reason=reason):
            return _with(escrow, name, blocked=reason)
        case EscrowReturnApproved(approver=approver, part=of, amount=given):
            return replace(escrow, returns={**escrow.returns, approver: Return(of, given)})
        case EscrowReturned(part=name, amount=amount):
            # What was agreed before is no longer what there is: whoever wants more back agrees anew.
            return _with(replace(escrow, returns={}), name, returned=escrow.parts[name].returned + amount)
        case EscrowExpired():
            return replace(escrow, expired=True)
        case _:
            raise AssertionError(event)


def _with(escrow: Escrow, name: str, **changed: object) -> Escrow:
    return replace(escrow, parts={**escrow.parts, name: replace(escrow.parts[name], **changed)})
