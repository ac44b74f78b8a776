"""A book's policy for payments, as data: who must approve what, how much may be paid, and how validators' votes decide.

It is kept in the log, on the book's stream, so that every process decides by the same one, and whoever reads the log
later knows by which. What a payment needs is decided when it is created and stays with it: a policy set later does not
change it. Its limits and its rule are those in force when the payment is validated.
"""

from collections.abc import Mapping
from typing import Any, Final

from msgspec import Struct

VALIDATORS: Final = ("approval", "funds", "limits", "mandate", "risk", "sanctions")
"""Everyone who has a vote on a payment."""

CONDITIONS: Final = frozenset({"approval", "funds"})
"""No rule outvotes these: money that is not there cannot be paid, nor what others have still to approve."""


class Tier(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Above `above`, in minor units, `approvals` of the approvers must approve; of none named, anybody may."""

    currency: str
    above: int
    approvals: int
    approvers: tuple[str, ...] = ()
    direction: str | None = None
    """`in` or `out`; None for both."""


class Limit(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """How much one payment may be, in minor units; None is no limit."""

    currency: str
    direction: str | None = None
    """`in` or `out`; None for both."""
    method: str | None = None
    """`card`, `bank_account`, `iban` or `upi`; None for all."""
    amount_min: int | None = None
    amount_max: int | None = None


class Rule(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """How votes decide. `mode`: `all`, `at_least` with `count`, or `weighted` with `weights` and `threshold`.

    The no of one that is `required` is a veto in any mode.
    """

    mode: str = "all"
    count: int = 0
    weights: Mapping[str, int] = {}
    threshold: int = 0
    required: tuple[str, ...] = ()


class Policy(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """All of it; what it does not say is not limited, and approved by nobody but who makes it."""

    approvals: tuple[Tier, ...] = ()
    limits: tuple[Limit, ...] = ()
    rule: Rule = Rule()


NONE: Final = Policy()
"""That of a book that has set none: nobody needs to approve, nothing is limited, and every validator must allow."""


def shown(policy: Policy) -> dict[str, Any]:
    """The policy with nothing left out."""
    return {
        "approvals": [
            {
                "currency": tier.currency,
                "direction": tier.direction,
                "above": tier.above,
                "approvals": tier.approvals,
                "approvers": list(tier.approvers),
            }
            for tier in policy.approvals
        ],
        "limits": [
            {
                "currency": limit.currency,
                "direction": limit.direction,
                "method": limit.method,
                "amount_min": limit.amount_min,
                "amount_max": limit.amount_max,
            }
            for limit in policy.limits
        ],
        "rule": shown_rule(policy.rule),
    }


def shown_rule(rule: Rule) -> dict[str, Any]:
    """The rule with what its mode goes by."""
    goes_by: dict[str, dict[str, Any]] = {
        "at_least": {"count": rule.count},
        "weighted": {"weights": dict(rule.weights), "threshold": rule.threshold},
    }
    return {"mode": rule.mode, **goes_by.get(rule.mode, {}), "required": list(rule.required)}


def tier_of(policy: Policy, *, direction: str, amount: int, currency: str) -> Tier | None:
    """The highest one the amount is above; of two as high, the one for that direction alone."""
    above = [
        tier
        for tier in policy.approvals
        if tier.currency == currency and tier.direction in (None, direction) and amount > tier.above
    ]
    return max(above, key=lambda tier: (tier.above, tier.direction is not None), default=None)


def limits_of(policy: Policy, *, direction: str, currency: str, method: str) -> list[Limit]:
    """All that it has to keep to."""
    return [
        limit
        for limit in policy.limits
        if limit.currency == currency and limit.direction in (None, direction) and limit.method in (None, method)
    ]
