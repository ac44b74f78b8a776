"""What schemathesis is told of Daybook: loaded by its command line, by the name in SCHEMATHESIS_HOOKS.

Two of its own checks are narrowed here, since they know statuses only: which 5xx may be, and which request that fits
its schema may be refused. Every other check is used as it comes.
"""

import re
from itertools import count
from typing import Any, Final

import schemathesis
from schemathesis import Case, CheckContext, HookContext, Response

from adapters.openapi.document import PARAMETERS

NARROWED: Final = ("not_a_server_error", "positive_data_acceptance")
"""Checks that those below take the place of."""

RULES: Final = [
    ("json_float", ""),  # To JSON Schema, 1.0 is an integer; to Daybook, an amount with a point is a mistake.
    ("value_error", "unknown ISO 4217 currency"),  # A schema with all of the codes would say nothing to a reader.
    # No pattern that every regular expression engine takes.
    ("value_error", "control characters (but line breaks )?are not allowed"),
    ("value_error", "cannot (both )?be given"),  # OpenAPI has no words for parameters that exclude one another.
    ("value_error", "given as one of"),
    ("value_error", "an amount or a share, not both"),
    ("value_error", "a (share|rate) is more than (0|nothing)"),
    ("value_error", "at most one destination takes what remains"),
    ("value_error", "rates and valued_in go together"),
    ("value_error", "(no|the) rate (for|of) [A-Z]{3}"),
    ("value_error", "a code does not begin like an id"),
    ("value_error", "a time lies in the years"),
    ("value_error", "what is confirmed has a method"),
    ("value_error", "whoever is asked to pay, and is given no link, has an address"),
    ("value_error", "all weights together do not come to the threshold"),
    ("value_error", "an approver is named twice|more must approve than are named|two tiers of approvals"),
    ("value_error", "a limit has a least or a largest amount|the least amount is above the largest"),
    ("value_error", "either a state or release|until goes with a state"),
    ("value_error", "the parts come to the amount|an amount is of a part"),
    ("value_error", "every condition is one that a part waits for|a part waits for a condition or an approval"),
    ("value_error", "the same one twice|are called the same"),
    ("value_error", "as many approvals as there are approvers"),
    ("value_error", "check digits? do|the routing number's last digit"),  # No pattern can do sums.
]
"""Faults of requests that fit their schema, as code and message: what the document says in words alone."""


NOT_TO_SUCCEED: Final = {
    "POST /v1/holds/{hold}/expire",
    "POST /v1/escrows",
    "POST /v1/escrows/{escrow}/conditions",
    "POST /v1/escrows/{escrow}/approve",
    "POST /v1/escrows/{escrow}/release",
    "POST /v1/escrows/{escrow}/return",
    "POST /v1/escrows/{escrow}/expire",
    *(f"GET /v1/{kind}/{{request}}" for kind in ("attempts", "captures", "payouts", "refunds", "reversals")),
    "GET /v1/payments/{payment}/checkout",
    "GET /v1/payments/{payment}/checkout/qr.svg",
    "GET /v1/payments/{payment}/qr.svg",
    "POST /v1/payments/{payment}/checkout",
    "POST /v1/payments/{payment}/retry",
    "POST /v1/payments/{payment}/increase",
    "POST /v1/payments/{payment}/capture",
    "POST /v1/payments/{payment}/refund",
    "POST /v1/payments/{payment}/reverse",
    "POST /v1/payments/{payment}/disputes/{dispute}/contest",
    "POST /v1/payments/{payment}/disputes/{dispute}/accept",
    "POST /v1/payments/{payment}/requests/{request}/resolve",
    "GET /v1/disputes/{dispute}",
    "GET /v1/upi/addresses/{address}",
    "POST /v1/rails/{rail}/breaker",
    "POST /v1/rails/{rail}/routes/{route}/breaker",
}
"""Daybook itself ends what is due, before anybody can ask; no rail is there to promise anything, to decline it, or to
be shut; no payer has a link to open; and nobody guesses a payment's secret, an escrow's terms that fit each other, or
whose word it waits for."""

_keys = count(1)


@schemathesis.hook
def before_call(context: HookContext, case: Case[Any], kwargs: dict[str, Any]) -> None:
    """A good key is made a new one: a used key's answer would say nothing of the request that it is sent with."""
    key = case.headers.get("Idempotency-Key")
    if isinstance(key, str) and re.fullmatch(PARAMETERS["IdempotencyKey"]["schema"]["pattern"], key):
        case.headers["Idempotency-Key"] = f"fuzz-{next(_keys)}"


@schemathesis.check
def no_fault_of_ours(ctx: CheckContext, response: Response, case: Case[Any]) -> None:
    """No 5xx but one: a read that was asked for, or to wait for, a position that the log has not, and waited."""
    if response.status_code < 500:
        return
    problem = response.json()
    assert problem["code"] == "read_model_behind", problem
    assert case.query.keys() & {"min_position", "position"} and problem["needed"] > problem["reached"], problem
    assert response.headers["retry-after"] == ["1"], response.headers


@schemathesis.check
def refused_for_a_rule(ctx: CheckContext, response: Response, case: Case[Any]) -> None:
    """
    What fits its schema is not called malformed, but for the rules above; business refusals are for the other tests.
    """
    if case.meta is None or not case.meta.generation.mode.is_positive or response.status_code != 400:
        return
    problem = response.json()
    faults = problem.get("errors", [{"code": problem["code"], "message": ""}])
    unknown = [fault for fault in faults if not any(_is(fault, *rule) for rule in RULES)]
    assert not unknown, unknown


def _is(fault: dict[str, Any], code: str, message: str) -> bool:
    return bool(fault["code"] == code and re.search(message, fault["message"]))


@schemathesis.check
class EveryOperationSucceeds:
    """A run that an operation refuses from beginning to end has shown nothing of it."""

    def __init__(self) -> None:
        self.asked: set[str] = set()
        self.done: set[str] = set()

    def after_response(self, ctx: CheckContext, response: Response, case: Case[Any]) -> None:
        self.asked.add(case.operation.label)
        if response.status_code < 300:
            self.done.add(case.operation.label)

    def after_run(self, ctx: CheckContext) -> None:
        never = self.asked - self.done - NOT_TO_SUCCEED
        assert not never, sorted(never)
