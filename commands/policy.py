"""Commands upon a book's policy for payments."""

from collections.abc import Iterator
from typing import Annotated, ClassVar, Literal, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from commands.account import BookName
from commands.command import Amount, Command, Currency, Decided, book_named
from domain import book, policy
from domain.ledger import Draft
from domain.money import AMOUNT_MAX

Approver = Annotated[str, StringConstraints(pattern=r"^[\x20-\x7e]{1,255}$")]
Validator = Literal["approval", "funds", "limits", "mandate", "risk", "sanctions"]
Required = Annotated[tuple[Validator, ...], Field(max_length=len(policy.VALIDATORS), strict=False)]
Weight = Annotated[int, Field(ge=0, le=1_000)]


class _Data(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class TierAsked(_Data):
    """Above an amount so many must approve, of those named; of none named, anybody who did not make the payment."""

    currency: Currency
    direction: Literal["in", "out"] | None = None
    above: Annotated[int, Field(ge=0, le=AMOUNT_MAX)]
    approvals: Annotated[int, Field(ge=0, le=10)]
    approvers: Annotated[tuple[Approver, ...], Field(max_length=100, strict=False)] = ()

    @model_validator(mode="after")
    def _can_be_met(self) -> Self:
        if len(set(self.approvers)) != len(self.approvers):
            raise ValueError("an approver is named twice")
        if self.approvers and len(self.approvers) < self.approvals:
            raise ValueError("more must approve than are named")
        return self

    def tier(self) -> policy.Tier:
        return policy.Tier(**self.model_dump())


class LimitAsked(_Data):
    """How much one payment may be, in minor units, of a currency and, where given, a direction and a kind of method."""

    currency: Currency
    direction: Literal["in", "out"] | None = None
    method: Literal["card", "bank_account", "iban", "upi"] | None = None
    amount_min: Amount | None = None
    amount_max: Amount | None = None

    @model_validator(mode="after")
    def _allows_something(self) -> Self:
        if self.amount_min is None and self.amount_max is None:
            raise ValueError("a limit has a least or a largest amount, or both")
        if self.amount_min is not None and self.amount_max is not None and self.amount_min > self.amount_max:
            raise ValueError("the least amount is above the largest")
        return self

    def limit(self) -> policy.Limit:
        return policy.Limit(**self.model_dump())


class AllAsked(_Data):
    """Every validator must allow."""

    mode: Literal["all"]
    required: Required = ()

    def rule(self) -> policy.Rule:
        return policy.Rule(mode=self.mode, required=self.required)


class AtLeastAsked(_Data):
    """So many validators must allow, and none that is required may deny."""

    mode: Literal["at_least"]
    count: Annotated[int, Field(ge=1, le=len(policy.VALIDATORS))]
    required: Required = ()

    def rule(self) -> policy.Rule:
        return policy.Rule(mode=self.mode, count=self.count, required=self.required)


class WeightedAsked(_Data):
    """Validators that allow must have so much weight together, and none that is required may deny."""

    mode: Literal["weighted"]
    weights: dict[Validator, Weight]
    threshold: Annotated[int, Field(ge=1)]
    required: Required = ()

    @model_validator(mode="after")
    def _can_pass(self) -> Self:
        if sum(self.weights.values()) < self.threshold:
            raise ValueError("all weights together do not come to the threshold")
        return self

    def rule(self) -> policy.Rule:
        weights = {str(name): weight for name, weight in self.weights.items()}
        return policy.Rule(mode=self.mode, weights=weights, threshold=self.threshold, required=self.required)


RuleAsked = Annotated[AllAsked | AtLeastAsked | WeightedAsked, Field(discriminator="mode")]


class SetPaymentPolicy(Command):
    """Replace the whole of a book's policy for payments; what is left out is not there any more.

    Who must approve is decided when a payment is created, and a policy set later does not change it. Limits and the
    rule are those in force when a payment is validated.
    """

    kind: ClassVar[str] = "set_payment_policy"
    book: BookName
    approvals: Annotated[tuple[TierAsked, ...], Field(max_length=100, strict=False)] = ()
    limits: Annotated[tuple[LimitAsked, ...], Field(max_length=100, strict=False)] = ()
    rule: RuleAsked = AllAsked(mode="all")

    @model_validator(mode="after")
    def _says_one_thing(self) -> Self:
        tiers = [(tier.currency, tier.direction, tier.above) for tier in self.approvals]
        if len(set(tiers)) != len(tiers):
            raise ValueError("two tiers of approvals are of one currency, direction and amount")
        return self

    @property
    def scope(self) -> UUID:
        return book_named(self.book)

    def sees(self, draft: Draft) -> Iterator[tuple[str, UUID]]:
        yield "book", self.scope

    def decide(self, draft: Draft, command_id: UUID) -> Decided:
        known = draft.books[self.scope]
        wanted = policy.Policy(
            approvals=tuple(tier.tier() for tier in self.approvals),
            limits=tuple(limit.limit() for limit in self.limits),
            rule=self.rule.rule(),
        )
        event = book.set_payment_policy(known, book_id=self.scope, policy=wanted)
        assert known is not None
        return [(self.scope, known.version + 1, event)]
