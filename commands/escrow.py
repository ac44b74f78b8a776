"""Commands upon escrows. Who attests and who approves is who asks: nobody's word for it."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, ClassVar, Literal, Self
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator

from commands.account import BookName
from commands.command import (
    Amount,
    Command,
    Currency,
    Decided,
    EscrowId,
    Instant,
    MetadataMap,
    Name,
    Text,
    account_named,
    book_named,
    known_accounts,
    plain,
)
from domain import escrow
from domain.errors import EscrowNotFound
from domain.escrow import Books, Escrow
from domain.events import EscrowCondition, EscrowPart, EscrowTerms
from domain.ledger import Draft

MANY = 50
"""Parts of one escrow, its conditions, and whoever may approve or attest one thing, at most."""


def _once(names: Sequence[Any]) -> Sequence[Any]:
    if len({*names}) < len(names):
        raise ValueError("the same one twice")
    return names


Label = Annotated[str, StringConstraints(min_length=1, max_length=100), AfterValidator(plain)]
"""What a part or a condition is called."""
Actor = Annotated[str, StringConstraints(pattern=r"^[\x20-\x7e]{1,255}$")]
Actors = Annotated[tuple[Actor, ...], Field(max_length=MANY, strict=False), AfterValidator(_once)]
Labels = Annotated[tuple[Label, ...], Field(max_length=MANY, strict=False), AfterValidator(_once)]


class _Agreed(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class ConditionAsked(_Agreed):
    """What one of `by` has to say is so; with nobody named, anybody but who funded the escrow."""

    name: Label
    by: Actors = ()


def _must_be_reachable(approvals: int, approvers: Sequence[str]) -> None:
    if (approvals == 0) is not (not approvers) or approvals > len(approvers):
        raise ValueError("as many approvals as there are approvers at most, and none only of none")


class ReturnAsked(_Agreed):
    """So many of these have to agree. Whoever funded the escrow approves nothing, named or not."""

    approvals: Annotated[int, Field(ge=1, le=MANY)]
    approvers: Actors

    @model_validator(mode="after")
    def _can_be_reached(self) -> Self:
        _must_be_reachable(self.approvals, self.approvers)
        return self

    def terms(self) -> EscrowTerms:
        return EscrowTerms(approvals=self.approvals, approvers=self.approvers)


class ReleaseAsked(_Agreed):
    """All of these conditions have to be met, and so many of these approvers have to approve: one of both at least.

    Whoever funded the escrow approves nothing, named or not.
    """

    conditions: Labels = ()
    approvals: Annotated[int, Field(ge=0, le=MANY)] = 0
    approvers: Actors = ()

    @model_validator(mode="after")
    def _waits_for_something(self) -> Self:
        _must_be_reachable(self.approvals, self.approvers)
        if not self.conditions and not self.approvals:
            raise ValueError("a part waits for a condition or an approval")
        return self

    def terms(self) -> EscrowTerms:
        return EscrowTerms(conditions=self.conditions, approvals=self.approvals, approvers=self.approvers)


class PartAsked(_Agreed):
    """A part of the amount, and on what terms it is released."""

    name: Label
    amount: Amount
    release: ReleaseAsked


class FundEscrow(Command):
    """Set `amount` of the account `depositor` apart for the account `beneficiary`, in parts that come to it.

    Each part is released once its conditions are met and enough of its approvers have approved. It is returned when as
    many of the same agree to that, or, with `return_terms`, of those named there. What is left at `expires_at` goes
    where `on_expiry` says, but for parts that are ready by then: those are the beneficiary's.
    """

    kind: ClassVar[str] = "fund_escrow"
    names_stream: ClassVar[bool] = True
    book: BookName
    depositor: Name
    beneficiary: Name
    amount: Amount
    currency: Currency
    expires_at: Instant
    on_expiry: Literal["return", "release"] = "return"
    conditions: Annotated[tuple[ConditionAsked, ...], Field(max_length=MANY, strict=False)] = ()
    parts: Annotated[tuple[PartAsked, ...], Field(min_length=1, max_length=MANY, strict=False)]
    return_terms: ReturnAsked | None = None
    description: Text = ""
    reference: Text = ""
    metadata: MetadataMap = Field(default_factory=dict)

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        for name in (self.depositor, self.beneficiary):
            account_named(self.scope, name)
        if sum(part.amount for part in self.parts) != self.amount:
            raise ValueError("the parts come to the amount")
        named = [one.name for one in self.conditions]
        for names in (named, [part.name for part in self.parts]):
            if max(Counter(names).values(), default=1) > 1:
                raise ValueError("two parts, or two conditions, are called the same")
        if {*named} != {name for part in self.parts for name in part.release.conditions}:
            raise ValueError("every condition is one that a part waits for, and the other way round")
        return self

    @property
    def scope(self) -> UUID:
        return book_named(self.book)

    def _accounts(self) -> list[UUID]:
        ends = [account_named(self.scope, name) for name in (self.depositor, self.beneficiary)]
        return [*ends, *escrow.own_accounts(self.scope, self.currency)]

    def sees(self, draft: Draft) -> Iterator[tuple[str, UUID]]:
        # Suspense, too: later commands of the same batch may need it, and cannot ask before they see the escrow.
        for account_id in self._accounts():
            yield "account", account_id

    def decide(self, draft: Draft, command_id: UUID) -> Decided:
        depositor_id, beneficiary_id, *_ = self._accounts()
        return escrow.fund(
            Books(known_accounts(draft, self._accounts(), self.scope), draft.totals, draft.now),
            escrow_id=command_id,
            book_id=self.scope,
            depositor_id=depositor_id,
            beneficiary_id=beneficiary_id,
            amount=self.amount,
            currency=self.currency,
            expires_at=self.expires_at,
            on_expiry=self.on_expiry,
            conditions=tuple(EscrowCondition(one.name, one.by) for one in self.conditions),
            parts=tuple(EscrowPart(part.name, part.amount, part.release.terms()) for part in self.parts),
            return_terms=None if self.return_terms is None else self.return_terms.terms(),
            description=self.description,
            reference=self.reference,
            metadata=self.metadata,
        )


class _OfEscrow(Command):
    """A command upon an escrow that exists."""

    escrow_id: EscrowId

    @property
    def scope(self) -> UUID:
        return self.escrow_id

    def sees(self, draft: Draft) -> Iterator[tuple[str, UUID]]:
        yield "escrow", self.escrow_id
        known = draft.escrows.get(self.escrow_id)
        if known is not None:
            for account_id in escrow.accounts_of(known):
                yield "account", account_id

    def decide(self, draft: Draft, command_id: UUID) -> Decided:
        known = draft.escrows[self.escrow_id]
        if known is None:
            raise EscrowNotFound(self.escrow_id)
        accounts = known_accounts(draft, escrow.accounts_of(known), known.funded.book_id)
        return self.step(known, Books(accounts, draft.totals, draft.now))

    def step(self, known: Escrow, books: Books) -> Decided:
        """What it comes to, of an escrow that is there."""
        raise NotImplementedError


class MeetCondition(_OfEscrow):
    """Say that a condition is met; what that completes is released. `attester` is who asks."""

    kind: ClassVar[str] = "meet_condition"
    attester: Actor
    condition: Label
    evidence: Text = ""

    def step(self, known: Escrow, books: Books) -> Decided:
        said = {"condition": self.condition, "attester": self.attester, "evidence": self.evidence}
        return escrow.meet(known, books, **said)


class ApproveRelease(_OfEscrow):
    """Approve the release of a part; if it waits for nothing more, it is released. `approver` is who asks."""

    kind: ClassVar[str] = "approve_release"
    approver: Actor
    part: Label

    def step(self, known: Escrow, books: Books) -> Decided:
        return escrow.approve(known, books, part=self.part, approver=self.approver)


class _Amounted(_OfEscrow):
    part: Label | None = None
    amount: Amount | None = None

    @model_validator(mode="after")
    def _is_of_a_part(self) -> Self:
        if self.amount is not None and self.part is None:
            raise ValueError("an amount is of a part")
        return self


class ReleaseEscrow(_Amounted):
    """Release what is ready and could not be released when it became so: a part, an amount of it, or all there is."""

    kind: ClassVar[str] = "release_escrow"

    def step(self, known: Escrow, books: Books) -> Decided:
        return escrow.release(known, books, part=self.part, amount=self.amount)


class ReturnEscrow(_Amounted):
    """Agree that a part, an amount of it, or all that is left goes back; once enough have agreed to the same, it does.

    `approver` is who asks. Without terms of its own for returns, those who may approve the release of a part agree.
    """

    kind: ClassVar[str] = "return_escrow"
    approver: Actor
    reason: Text = ""

    def step(self, known: Escrow, books: Books) -> Decided:
        said = {"approver": self.approver, "reason": self.reason}
        return escrow.agree_to_return(known, books, part=self.part, amount=self.amount, **said)


class ExpireEscrow(_OfEscrow):
    """End an escrow whose time has come. Daybook gives this itself; giving it again changes nothing."""

    kind: ClassVar[str] = "expire_escrow"

    def step(self, known: Escrow, books: Books) -> Decided:
        return escrow.expire(known, books)
