"""Validation: several independent validators look at a payment, and a rule makes one answer of their votes.

Some are decided here, on the state under the log's lock: funds, limits, approval and, as yet a placeholder, mandate.
Others, risk and sanctions, are asked outside and come as votes. One that was not heard has not allowed anything.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from domain import account as account_rules
from domain import upi
from domain.clearing import Books
from domain.errors import Refusal
from domain.events import PaymentValidated
from domain.payment import Payment, Status
from domain.policy import CONDITIONS, VALIDATORS, Policy, Rule, limits_of, shown_rule
from domain.posting import Side
from domain.rail import BankAccount, Method, Operation, UpiAddress

OUTSIDE: Final = ("risk", "sanctions")
"""Those that are asked through a port."""


class Verdict(StrEnum):
    ALLOW = "allow"
    DENY = "deny"
    ABSTAIN = "abstain"


class Vote(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one validator says; `reason` is a stable code, `details` the values it was decided on."""

    validator: str
    verdict: Verdict
    reason: str
    details: Mapping[str, Any] = {}
    placeholder: bool = False
    """Whether it is not looked at in earnest yet."""


class Subject(Struct, frozen=True, kw_only=True):
    """What a validator outside is told of a payment; `payment_id` is None of one that is only thought of."""

    payment_id: UUID | None
    book_id: UUID
    account_id: UUID
    direction: str
    amount: int
    currency: str
    method: Method
    maker: str
    description: str
    reference: str
    metadata: Mapping[str, str]
    at: datetime


class Result(Struct, frozen=True):
    passed: bool
    why: str


def evaluate(rule: Rule, votes: Iterable[Vote]) -> Result:
    """What the rule makes of the votes. That one denies instead of allowing never makes it pass."""
    cast = {vote.validator: vote for vote in votes}
    for name in sorted({*CONDITIONS, *rule.required}):
        if name not in cast or cast[name].verdict is not Verdict.ALLOW:
            return Result(False, _told(name, cast.get(name)))
    allow = [name for name in VALIDATORS if name in cast and cast[name].verdict is Verdict.ALLOW]
    match rule.mode:
        case "all":
            others = [name for name in VALIDATORS if name not in allow]
            return Result(not others, _told(others[0], cast.get(others[0])) if others else "all allow")
        case "at_least":
            return Result(len(allow) >= rule.count, f"{len(allow)} allow, at least {rule.count} must")
        case "weighted":
            weight = sum(rule.weights.get(name, 0) for name in allow)
            return Result(weight >= rule.threshold, f"a weight of {weight} allows, {rule.threshold} must")
        case _:
            raise AssertionError(rule)


def _told(name: str, vote: Vote | None) -> str:
    if vote is None or vote.verdict is Verdict.ABSTAIN:
        return f"{name} was not heard"
    return f"{name} denies: {vote.reason}"


def unheard(rule: Rule, votes: Sequence[Vote]) -> list[str]:
    """Whoever has not said what it now depends on; nobody, where the rule has its answer without them."""
    if evaluate(rule, votes).passed:
        return []
    silent = [vote.validator for vote in votes if vote.verdict is Verdict.ABSTAIN]
    all_allow = [replace(vote, verdict=Verdict.ALLOW) if vote.validator in silent else vote for vote in votes]
    return silent if evaluate(rule, all_allow).passed else []


def validated(rule: Rule, votes: Sequence[Vote]) -> PaymentValidated:
    """The votes and what the rule makes of them, to be kept."""
    result = evaluate(rule, votes)
    return PaymentValidated(
        rule=shown_rule(rule),
        votes=[msgspec.to_builtins(vote) for vote in votes],
        passed=result.passed,
        why=result.why,
    )


def votes(payment: Payment, policy: Policy, books: Books, heard: Iterable[Vote]) -> list[Vote]:
    """Everyone's, in one order; `heard` are those from outside."""
    told = {vote.validator: vote for vote in heard if vote.validator in OUTSIDE}
    ours = [approval(payment), funds(payment, books), limits(payment, policy, books.now), mandate(payment)]
    outside = [told.get(name) or Vote(validator=name, verdict=Verdict.ABSTAIN, reason="not_asked") for name in OUTSIDE]
    return [*ours, *outside]


def approval(payment: Payment) -> Vote:
    """As many others as it needs have approved what was confirmed, of those who may, and none of its makers."""
    confirmed = payment.status in (Status.REQUIRES_APPROVAL, Status.PROCESSING)
    may = set(payment.intent.approvers)
    given = {
        one for one in (payment.approvers if confirmed else ()) if one not in payment.makers and (not may or one in may)
    }
    details = {"required": payment.intent.approvals, "given": sorted(given)}
    if len(given) < payment.intent.approvals:
        return _deny("approval", "approvals_missing", {**details, "approvers": sorted(may)})
    return _allow("approval", "approved" if given else "no_approval_needed", details)


def funds(payment: Payment, books: Books) -> Vote:
    """A payout is covered by what is available on its account. What comes in needs nothing there."""
    intent = payment.intent
    if intent.direction == "in":
        return _allow("funds", "money_comes_in")
    account = books.accounts.get(intent.account_id)
    assert account is not None, payment
    before = books.totals[account.id]
    details = {"amount": intent.amount, "available": account_rules.balance(account.type, before).available}
    try:
        account_rules.must_be_open(account)
        after = before.after(Side.DEBIT, intent.amount, pending=True)
        account_rules.must_allow(account, before, after, books.now)
    except Refusal as refusal:
        return _deny("funds", refusal.code, details)
    return _allow("funds", "covered", details)


def limits(payment: Payment, policy: Policy, now: datetime) -> Vote:
    """The amount keeps to its rail's limit, and to every one of the policy for its currency, direction and method."""
    intent = payment.intent
    assert payment.method is not None, payment
    found = limits_of(policy, direction=intent.direction, currency=intent.currency, method=_kind(payment.method))
    most = min((limit.amount_max for limit in found if limit.amount_max is not None), default=None)
    least = max((limit.amount_min for limit in found if limit.amount_min is not None), default=None)
    of_rail = _limit_of_rail(payment, now)
    details = {"amount": intent.amount, "amount_min": least, "amount_max": most}
    if of_rail is not None:
        details["rail_limit"] = of_rail
        if intent.amount > of_rail:
            return _deny("limits", "above_rail_limit", details)
    if most is not None and intent.amount > most:
        return _deny("limits", "above_amount_max", details)
    if least is not None and intent.amount < least:
        return _deny("limits", "below_amount_min", details)
    limited = bool(found) or of_rail is not None
    return _allow("limits", "within_limits" if limited else "no_limit", details if limited else {})


def _limit_of_rail(payment: Payment, now: datetime) -> int | None:
    """What its rail lets anybody pay at once on that day, if that is known."""
    intent, method = payment.intent, payment.method
    if not isinstance(method, UpiAddress) or intent.currency != upi.CURRENCY:
        return None
    return upi.most(Operation.COLLECT if intent.direction == "in" else Operation.PAYOUT, method.flow, now)


def mandate(payment: Payment) -> Vote:
    """A debit of a bank account wants its holder's mandate. There are none yet to look at."""
    if payment.intent.direction == "in" and isinstance(payment.method, BankAccount):
        return Vote(validator="mandate", verdict=Verdict.ALLOW, reason="not_looked_at", placeholder=True)
    return _allow("mandate", "no_mandate_needed")


def subject(payment: Payment, at: datetime) -> Subject:
    """Of a payment with a method, as validators outside are told it."""
    intent = payment.intent
    assert payment.method is not None, payment
    return Subject(
        payment_id=payment.id,
        book_id=intent.book_id,
        account_id=intent.account_id,
        direction=intent.direction,
        amount=intent.amount,
        currency=intent.currency,
        method=payment.method,
        maker=payment.maker,
        description=intent.description,
        reference=intent.reference,
        metadata=intent.metadata,
        at=at,
    )


def _kind(method: Method) -> str:
    return str(method.__struct_config__.tag)


def _allow(validator: str, reason: str, details: Mapping[str, Any] | None = None) -> Vote:
    return Vote(validator=validator, verdict=Verdict.ALLOW, reason=reason, details=details or {})


def _deny(validator: str, reason: str, details: Mapping[str, Any]) -> Vote:
    return Vote(validator=validator, verdict=Verdict.DENY, reason=reason, details=details)
