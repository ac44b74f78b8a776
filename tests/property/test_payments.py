"""Payments: random commands and random rails on two desks, against a small model written apart from the code it checks.

The model is plain dicts. It says what each command comes to, how each payment stands, and what every account has posted
and pending. What Daybook stores is then derived anew by the checker in `tests.support`, which knows only JSON.
"""

import json
import os
from collections import Counter, defaultdict
from datetime import datetime, timedelta
from itertools import count
from random import Random
from typing import Any
from uuid import UUID, uuid5

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from msgspec.structs import replace

from adapters.memory.store import MemoryEventStore
from commands.account import ChangeLimits, CloseAccount, FreezeAccount, UnfreezeAccount
from commands.command import Command
from commands.desk import Outcome
from commands.hold import CaptureHold, IncreaseHold, VoidHold
from commands.payment import (
    AcceptDispute,
    ApprovePayment,
    AttachMethod,
    CancelPayment,
    CapturePayment,
    ConfirmPayment,
    ContestDispute,
    ExpirePayment,
    GiveUpPayment,
    IncreaseAuthorization,
    RefundPayment,
    ResolveOutcome,
    RetryPayment,
    ReversePayment,
    StartAttempt,
)
from commands.policy import SetPaymentPolicy
from commands.settlement import LineAsked, RecordSettlement
from domain import hold as hold_rules
from domain import ids, payment
from domain.events import Recorded, recorded
from domain.ledger import Ledger
from domain.rail import Rail
from domain.settlement import Said
from tests import payment_words as words
from tests.support import BOOK, NOW, Reports, asked, books_of, desk, open_account, open_book, said, transfer

RAILS = ["card", "ach", "wire", "upi"]
MERCHANTS = ["shop", "full", "purse", "debt"]
PAYMENTS_MAX = 8
LONG = os.environ.get("DAYBOOK_HYPOTHESIS") == "long"
WALKS, BATCHES = (2000, 120) if LONG else (60, 60)
"""Random walks, and the batches of each."""
NOWHERE = UUID(int=5)
MAKER = "tester"
NAMED = ["ann", "bob", "cy", "dee"]

# What is wished for. Payments and requests are chosen by number, the latest first.

AMOUNTS = [1, 2, 7, 20, 30, 50, 60, 100, 1000]
NTH = [*range(8)]
SAID = ["approved", "approved", "approved", "approved", "never", "later", "elsewhere", "accepted", "link", "silence"]

POLICIES: list[dict[str, Any]] = [
    {},
    {"approvals": [{"currency": "EUR", "above": 25, "approvals": 1}]},
    {
        "approvals": [{"currency": "EUR", "above": 25, "approvals": 2, "approvers": NAMED}],
        "limits": [{"currency": "EUR", "direction": "out", "amount_max": 50}],
        "rule": {"mode": "at_least", "count": 5},
    },
    {
        "limits": [{"currency": "EUR", "method": "card", "amount_min": 5}, {"currency": "EUR", "amount_max": 60}],
        "rule": {"mode": "all", "required": ["risk"]},
    },
    {
        "limits": [{"currency": "EUR", "amount_max": 60}],
        "rule": {"mode": "weighted", "weights": {"limits": 2, "risk": 2, "funds": 1}, "threshold": 3},
    },
]

CREATING: dict[str, list[Any]] = {
    "do": ["create"],
    "account": [*MERCHANTS, *MERCHANTS, "usd", "nobody", "clearing:card:EUR"],
    "amount": AMOUNTS,
    "rail": [*RAILS, "card", None],
    "direction": ["in", "in", "out"],
    "confirm": [True, False],
    "capture": ["automatic", "manual", "manual"],
    "approvals": [0, 0, 0, 1, 2, 5],
    "actor": [MAKER, MAKER, "ann"],
    "in_h": [None, None, 0, 1, 3],
}
ASKING: dict[str, list[Any]] = {
    "do": [
        *("attach", "confirm", "approve", "start", "start", "give_up", "retry"),
        *("increase", "capture", "capture", "cancel", "expire", "refund", "refund"),
    ],
    "nth": NTH,
    "rail": RAILS,
    "approver": [MAKER, *NAMED, "eli"],
    "actor": [MAKER, MAKER, "ann"],
    "heard": ["allow", "allow", "allow", "deny", "abstain"],
    "amount": [None, *AMOUNTS],
    "final": [True, False],
    "reason": ["", "expired"],
    "upon": [None, None, 0, 1, 2, 3, 4],
}
ENDING: dict[str, list[Any]] = {
    "do": ["reverse", "reverse", "contest", "contest", "accept", "resolve"],
    "nth": NTH,
    "upon": [None, None, None, 0, 1, 2],
    "of": [*range(7)],
    "outcome": ["done", "failed"],
}
ANSWERING: dict[str, list[Any]] = {
    "do": ["answer"],
    "nth": NTH,
    "of": [*range(7)],
    "said": SAID,
    "more": [0, 0, 0, 0, 0, 1, 7],
    "currency": ["EUR", "EUR", "EUR", "EUR", "USD"],
}
REPORTING: dict[str, list[Any]] = {
    "do": ["report"],
    "nth": [*range(8), 0, 1],
    "of": [*range(9)],
    "said": ["settled", "settled", "returned", "disputed", "disputed", "dispute_won", "dispute_lost"],
    "part_of": [1, 1, 1, 2],
    "more": [0, 0, 0, 0, 0, 0, -1, 5],
    "fee": [0, 0, 3, -2],
    "ref": ["a", "a", "a", "b", "c"],
    "wrong": [False] * 12 + [True],
    "by_h": [None, 0, 1, 2],
}
MEDDLING: dict[str, list[Any]] = {
    "do": ["void_hold", "capture_hold", "increase_hold"],
    "nth": NTH,
    "of": [*range(7)],
}
RULING: dict[str, list[Any]] = {"do": ["policy"], "which": [*range(len(POLICIES))]}
BANKING: dict[str, list[Any]] = {
    "do": ["freeze", "freeze", "unfreeze", "unfreeze", "close", "ceiling", "fund", "drain"],
    "account": [*MERCHANTS, *MERCHANTS, "clearing:card:EUR", "suspense:EUR"],
    "amount": [1, 20, 100, 300],
}


def _drawn(wish: dict[str, list[Any]]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({name: st.sampled_from(values) for name, values in wish.items()})


def _likely(wish: dict[str, Any]) -> dict[str, Any]:
    """A payment that comes to something."""
    return {
        **wish,
        "account": wish["account"] if wish["account"] in MERCHANTS else "shop",
        "rail": wish["rail"] if wish["rail"] and _fits(wish["direction"], wish["rail"]) else "upi",
        "confirm": True,
        "approvals": wish["approvals"] if wish["amount"] in (2, 30) else 0,
        "in_h": wish["in_h"] or None,
    }


nth, amounts, creating, asking, answering, reporting, ending = (
    st.sampled_from(NTH),
    st.sampled_from([None, *AMOUNTS]),
    _drawn(CREATING),
    _drawn(ASKING),
    _drawn(ANSWERING),
    _drawn(REPORTING),
    _drawn(ENDING),
)
likely = creating.map(_likely)
wishes = st.lists(
    st.one_of(
        *(creating, asking, answering, answering, reporting, ending),
        *(_drawn(MEDDLING), _drawn(BANKING), _drawn(RULING)),
    ),
    min_size=1,
    max_size=4,
)

MOVING = ("capture", "collect", "refund", "payout", "reverse")
GIVING_BACK = ("refund", "reverse")
SIGNS = {"capture": 1, "collect": 1, "refund": -1, "payout": -1}
_LIKELY = {"disputed": "dispute", "dispute_won": "dispute_won", "dispute_lost": "dispute_lost"}
"""Of which payments that makes sense."""
_PLAINLY: dict[str, Any] = {"said": "settled", "fee": 1, "ref": "", "by": None}

STATUSES = {
    "attach": ("requires_payment_method", "requires_confirmation"),
    "confirm": ("requires_confirmation",),
    "approve": ("requires_approval",),
    "start": ("processing",),
    "give_up": ("processing",),
    "retry": ("requires_payment_method", "processing"),
    "increase": ("requires_capture",),
    "capture": ("requires_capture",),
}
"""Where it makes sense."""


class Model:
    """What should be. Amounts in cents, times in hours from the beginning; requests in the order of their asking."""

    def __init__(self) -> None:
        self.hour = 0
        self.accounts: dict[str, dict[str, Any]] = {}
        self.payments: list[dict[str, Any]] = []
        self.policy: dict[str, Any] = {}

    # The ledger.

    def open(self, code: str, type: str = "liability", low: int | None = None, ceiling: int | None = None) -> None:
        zero = {"debits": 0, "credits": 0, "pending_debits": 0, "pending_credits": 0}
        self.accounts[code] = {"type": type, "status": "open", "low": low, "ceiling": ceiling, **zero}

    def refusal(self, code: str, **more: int) -> str:
        """Why an account may not take that, or nothing."""
        account = self.accounts[code]
        if account["status"] != "open":
            return f"account_{account['status']}"
        was, is_ = _balances(account), _balances(_sum(account, more))
        if account["low"] is not None and is_[0] < min(was[0], account["low"]):
            return "insufficient_funds"
        if account["ceiling"] is not None and is_[1] > max(was[1], account["ceiling"]):
            return "ceiling_exceeded"
        return ""

    def post(self, code: str, **more: int) -> None:
        if code not in self.accounts:
            self.open(code)
        self.accounts[code] = _sum(self.accounts[code], more)

    # Payments.

    def answer(self, wish: dict[str, Any], known: dict[str, Any] | None, payment_id: UUID = NOWHERE) -> str:
        """The word that the wish upon that payment should be answered with; what is done, is done."""
        if wish["do"] == "create":
            return self._create(wish, payment_id)
        if known is None:
            return "payment_not_found"
        if wish["do"] == "answer":
            return self._answer(known, wish)
        word: str = getattr(self, f"_{wish['do']}")(known, wish)
        return word

    def chosen(self, wish: dict[str, Any]) -> dict[str, Any] | None:
        """Mostly one that the wish makes sense for; now and then any, or none."""
        can = [known for known in self.payments if self._makes_sense(wish["do"], known)]
        if wish["nth"] == 7 or not self.payments:
            return None
        among = can if can and wish["nth"] < 6 else self.payments
        found: dict[str, Any] = among[wish["nth"] % len(among)]
        return found

    def _makes_sense(self, do: str, known: dict[str, Any]) -> bool:
        match do:
            case "answer":
                return bool(_open(known))
            case "refund":
                return bool(known["captured"] > known["refunded"])
            case "reverse":
                return any(one["state"] == "done" and not one["taken_back"] for one in known["requests"].values())
            case "contest" | "accept":
                return any(one["state"] == "needs_response" for one in known["disputes"].values())
            case "dispute":
                return any(
                    one["state"] == "done" and one["operation"] in ("capture", "collect") and not one["settled"]
                    for one in known["requests"].values()
                )
            case "dispute_won" | "dispute_lost":
                return any(one["state"] not in ("won", "lost") for one in known["disputes"].values())
            case "resolve":
                return any(one["state"] in ("unknown", "accepted") for one in known["requests"].values())
            case "report":
                return any(one["state"] == "done" for one in known["requests"].values())
            case "cancel" | "expire":
                return not _over(known) and (do == "cancel" or self.due(known))
            case "void_hold" | "capture_hold" | "increase_hold":
                return bool(known["holds"])
        return known["status"] in STATUSES[do]

    def _create(self, wish: dict[str, Any], payment_id: UUID) -> str:
        if wish["account"] not in self.accounts:
            return "account_not_found"
        if wish["account"].startswith("clearing:"):
            return "account_code_reserved"
        if wish["account"] == "usd":
            return "currency_mismatch"
        if wish["in_h"] == 0:
            return "payment_expires_in_past"
        needed, named = wish["approvals"], []
        for tier in self.policy.get("approvals", []):
            if wish["amount"] > tier["above"]:
                needed, named = max(needed, tier["approvals"]), tier.get("approvers", [])
        if named and needed > len(named):
            return "payment_approvers_too_few"
        if wish["rail"] is not None and not _fits(wish["direction"], wish["rail"]):
            return "payment_method_unfit"
        made = {
            **{name: wish[name] for name in ("account", "amount", "direction", "capture", "rail")},
            **{"id": payment_id, "approvals": needed, "named": named, "validated": False},
            "maker": wish["actor"],
            "makers": {wish["actor"]},
            "expires": None if wish["in_h"] is None else self.hour + wish["in_h"],
            "status": "requires_payment_method" if wish["rail"] is None else "requires_confirmation",
            "authorized": 0,
            "captured": 0,
            "refunded": 0,
            "reversed": 0,
            "returned": 0,
            "disputed": 0,
            "disputes": {},
            "approvers": set(),
            "requests": {},
            "since": 0,
            "hurried": None,
            "holds": {},
        }
        self.payments.append(made)
        if wish["confirm"] and wish["rail"] is not None:
            assert self._confirm(made, wish) == "done"
        return "done"

    def due(self, known: dict[str, Any]) -> bool:
        return known["expires"] is not None and known["expires"] <= self.hour

    def _attach(self, known: dict[str, Any], wish: dict[str, Any]) -> str:
        if known["status"] not in ("requires_payment_method", "requires_confirmation"):
            return "payment_status_forbids"
        if not _fits(known["direction"], wish["rail"]):
            return "payment_method_unfit"
        makers = {known["maker"], wish.get("actor", MAKER)}
        known |= {"status": "requires_confirmation", "rail": wish["rail"], "makers": makers}
        known["since"] = len(known["requests"])
        return "done"

    def _confirm(self, known: dict[str, Any], wish: dict[str, Any]) -> str:
        if known["status"] != "requires_confirmation" or self.due(known):
            return "payment_status_forbids"
        known |= {"status": "requires_approval" if known["approvals"] else "processing", "approvers": set()}
        known |= {"makers": known["makers"] | {wish.get("actor", MAKER)}, "validated": False}
        return "done"

    def _approve(self, known: dict[str, Any], wish: dict[str, Any]) -> str:
        if known["status"] != "requires_approval" or self.due(known):
            return "payment_status_forbids"
        if wish["approver"] in known["makers"]:
            return "payment_approver_is_maker"
        if known["named"] and wish["approver"] not in known["named"]:
            return "payment_approver_not_named"
        if wish["approver"] in known["approvers"]:
            return "payment_approval_not_wanted"
        known["approvers"] = known["approvers"] | {wish["approver"]}
        if len(known["approvers"]) == known["approvals"]:
            known["status"] = "processing"
        return "done"

    def _start(self, known: dict[str, Any], wish: dict[str, Any]) -> str:
        if known["status"] != "processing" or self.due(known):
            return "payment_status_forbids"
        word = _unsettled(known)
        if word:
            return word
        if not known["validated"]:
            passes = self._passes(known, wish.get("heard", "allow"))
            if not passes and wish.get("heard") == "abstain" and self._passes(known, "allow"):
                return "payment_undecided"
            known["validated"] = passes
            if not passes:
                known["status"] = "requires_payment_method"
                return "done"
        operation = "payout" if known["direction"] == "out" else "authorize" if known["rail"] == "card" else "collect"
        if operation == "payout" and self.refusal(known["account"], pending_debits=known["amount"]):
            known["status"] = "requires_payment_method"
            return "done"
        return self._ask(known, operation, known["amount"])

    def _passes(self, known: dict[str, Any], risk: str) -> bool:
        """Whether validators let it through, of whom risk alone is asked outside."""
        out = known["direction"] == "out"
        funded = not (out and self.refusal(known["account"], pending_debits=known["amount"]))
        method = {"ach": "bank_account", "wire": "iban"}.get(known["rail"], known["rail"])
        limited = any(
            not limit.get("amount_min", 0) <= known["amount"] <= limit.get("amount_max", 10**9)
            for limit in self.policy.get("limits", [])
            if limit.get("direction", "out" if out else "in") == ("out" if out else "in")
            if limit.get("method", method) == method
        )
        allow = {"limits": not limited, "risk": risk == "allow", "funds": funded}
        rule_ = self.policy.get("rule", {"mode": "all"})
        if not funded or not all(allow.get(name, True) for name in rule_.get("required", [])):
            return False
        match rule_["mode"]:
            case "at_least":
                return bool(sum(allow.values()) + 3 >= rule_["count"])
            case "weighted":
                weight = sum(weight for name, weight in rule_["weights"].items() if allow[name])
                return bool(weight >= rule_["threshold"])
        return all(allow.values())

    def _give_up(self, known: dict[str, Any], wish: dict[str, Any]) -> str:
        if known["status"] not in ("processing", "requires_action"):
            return "payment_status_forbids"
        word = _unsettled(known)
        if not word:
            known["status"] = "requires_payment_method"
        return word or "done"

    def _retry(self, known: dict[str, Any], wish: dict[str, Any]) -> str:
        came_back = known["status"] == "requires_payment_method" and known["rail"] is not None
        if self.due(known) or (not came_back and known["status"] != "processing"):
            return "payment_status_forbids"
        if came_back:
            assert self._attach(known, wish | {"rail": known["rail"]}) == "done"
            return self._confirm(known, wish)
        word, asked_for = _unsettled(known), len(known["requests"])
        if not word and asked_for in (known["since"], known["hurried"]):
            return "payment_status_forbids"
        known["hurried"] = known["hurried"] if word else asked_for
        return word or "done"

    def _increase(self, known: dict[str, Any], wish: dict[str, Any]) -> str:
        if known["status"] != "requires_capture" or self.due(known):
            return "payment_status_forbids"
        return _unsettled(known) or self._ask(known, "increment", wish["amount"] or 1)

    def _capture(self, known: dict[str, Any], wish: dict[str, Any]) -> str:
        if known["status"] != "requires_capture" or self.due(known):
            return "payment_status_forbids"
        left = known["authorized"] - known["captured"]
        amount = left if wish["amount"] is None else wish["amount"]
        word = _unsettled(known) or ("payment_amount_exceeded" if amount > left else "")
        return word or self._ask(known, "capture", amount, final=wish["final"] or amount == left)

    def _cancel(self, known: dict[str, Any], wish: dict[str, Any]) -> str:
        # Who cancels an authorization for that reason when it is true is taken at their word.
        says_so = known["status"] == "requires_capture" and wish["reason"] == "expired" and self.due(known)
        return self._end(known, "expired" if says_so else "canceled")

    def _expire(self, known: dict[str, Any], wish: dict[str, Any]) -> str:
        return self._end(known, "expired") if self.due(known) else "payment_not_due"

    def _end(self, known: dict[str, Any], ended: str) -> str:
        if _over(known) or known["status"] == "requires_action":
            return "payment_status_forbids"
        word = _unsettled(known)
        if word:
            return word
        if known["status"] == "requires_capture":
            known["ending"] = ended
            return self._ask(known, "void", known["authorized"] - known["captured"], final=True)
        known["status"] = ended
        return "done"

    def _refund(self, known: dict[str, Any], wish: dict[str, Any]) -> str:
        if any(one["state"] == "unknown" for one in known["requests"].values()):
            return "payment_outcome_unknown"
        left = {
            name: max(one["amount"] - one["taken_back"], 0)
            for name, one in known["requests"].items()
            if one["operation"] in ("capture", "collect") and one["state"] == "done"
        }
        if not left:
            return "payment_status_forbids"
        upon = _upon(known, wish)
        if upon is not None and upon not in left:
            return "payment_request_not_found"
        left = {name: some for name, some in left.items() if upon in (None, name)}
        amount = max(left.values()) if wish["amount"] is None else wish["amount"]
        fit = [name for name, some in left.items() if some >= amount > 0]
        return self._ask(known, "refund", amount, upon=fit[-1]) if fit else "payment_amount_exceeded"

    def _reverse(self, known: dict[str, Any], wish: dict[str, Any]) -> str:
        if any(one["state"] == "unknown" for one in known["requests"].values()):
            return "payment_outcome_unknown"
        moved = ("capture", "collect", "payout")
        done = [name for name, one in known["requests"].items() if one["operation"] in moved and one["state"] == "done"]
        if not done:
            return "payment_status_forbids"
        upon = _upon(known, wish)
        if upon is not None and upon not in done:
            return "payment_request_not_found"
        whole = [name for name in done if upon in (None, name) and not known["requests"][name]["taken_back"]]
        if not whole:
            return "payment_amount_exceeded"
        return self._ask(known, "reverse", known["requests"][whole[-1]]["amount"], upon=whole[-1])

    def _contest(self, known: dict[str, Any], wish: dict[str, Any]) -> str:
        name = _dispute(known, wish)
        word = self._unanswered(known, name)
        if word:
            return word
        dispute = known["disputes"][name]
        if dispute["by"] is not None and dispute["by"] <= self.hour:
            return "dispute_answer_late"
        if any(one["state"] == "unknown" for one in known["requests"].values()):
            return "payment_outcome_unknown"
        return self._ask(known, "contest", dispute["amount"], upon=dispute["upon"], dispute=name)

    def _accept(self, known: dict[str, Any], wish: dict[str, Any]) -> str:
        name = _dispute(known, wish)
        word = self._unanswered(known, name)
        if not word:
            known["disputes"][name]["state"] = "accepted"
        return word or "done"

    def _unanswered(self, known: dict[str, Any], name: str) -> str:
        if name not in known["disputes"]:
            return "dispute_not_found"
        if known["disputes"][name]["state"] != "needs_response":
            return "dispute_state_forbids"
        contests = [
            one for one in known["requests"].values() if one["dispute"] == name and one["operation"] == "contest"
        ]
        return "payment_busy" if any(one["state"] not in ("done", "failed") for one in contests) else ""

    def _resolve(self, known: dict[str, Any], wish: dict[str, Any]) -> str:
        name = _request(known, wish)
        request = known["requests"].get(name)
        if request is None:
            return "payment_request_not_found"
        if request["state"] not in ("unknown", "accepted"):
            return "payment_outcome_not_open"
        request["state"] = wish["outcome"]
        if wish["outcome"] == "done":
            self._does(known, name, request)
        else:
            self._fails(known, name, request, "never")
        return "done"

    # What rails report.

    def report(self, rail: str, lines: list[dict[str, Any]]) -> tuple[int, int]:
        """All that moves is booked; how many lines fit nothing, and what the rail has paid in the end."""
        broken, moves = [], []
        into = out_of = 0
        for line in lines:
            known, moved = line["known"], _moved(line)
            if known is None or self._misfits(rail, line):
                broken.append(moved)
                continue
            into, out_of = into + max(moved, 0), out_of + max(-moved, 0)
            moves.append((known, line, moved))
            self._says(known, line)
        fees = sum(line["fee"] for line in lines)
        net = into - out_of + sum(broken) - fees
        into_suspense, out_of_suspense = sum(one for one in broken if one > 0), -sum(one for one in broken if one < 0)
        ends = [("settlement", net), ("fees", fees), ("clearing", out_of), ("clearing", -into)]
        ends += [("suspense", out_of_suspense), ("suspense", -into_suspense)]
        for what, amount in ends:
            code = "suspense:EUR" if what == "suspense" else f"{what}:{rail}:EUR"
            if amount:
                self.post(code, **({"debits": amount} if amount > 0 else {"credits": -amount}))
        for known, line, moved in moves:
            if line["said"] in ("returned", "disputed", "dispute_won"):
                side, other = ("credits", "debits") if moved > 0 else ("debits", "credits")
                own = known["account"]
                self.post("suspense:EUR" if self.refusal(own, **{side: abs(moved)}) else own, **{side: abs(moved)})
                self.post(f"clearing:{rail}:EUR", **{other: abs(moved)})
        return len(broken), net

    def _misfits(self, rail: str, line: dict[str, Any]) -> bool:
        known, amount, ref = line["known"], line["amount"], line["ref"]
        request = known["requests"].get(line["name"])
        if request is None or request["state"] != "done" or request["operation"] != line["operation"]:
            return True
        if request["rail"] != rail:
            return True
        dispute = known["disputes"].get(ref)
        match line["said"]:
            case "settled":
                return bool(request["settled"] or amount != request["amount"])
            case "returned":
                return bool(ref in request["returns"] or amount > request["amount"] - request["returned"])
            case "disputed":
                of_it = [one for one in known["disputes"].values() if one["upon"] == line["name"]]
                disputed = sum(one["amount"] for one in of_it if one["state"] != "won")
                takes = request["operation"] in ("capture", "collect")
                return not takes or dispute is not None or amount > request["amount"] - disputed
        fits = dispute is not None and dispute["upon"] == line["name"] and dispute["amount"] == amount
        return not fits or dispute["state"] in ("won", "lost")

    def _says(self, known: dict[str, Any], line: dict[str, Any]) -> None:
        request, amount, ref = known["requests"][line["name"]], line["amount"], line["ref"]
        match line["said"]:
            case "settled":
                request["settled"] = True
            case "returned":
                request["returned"] += amount
                request["returns"] = request["returns"] | {ref}
                back = {"refund": "refunded", "reverse": "reversed"}.get(request["operation"])
                if back is None:
                    request["taken_back"] += amount
                    known["returned"] += amount
                else:
                    known["requests"][request["upon"]]["taken_back"] -= amount
                    known[back] -= amount
            case "disputed":
                request["taken_back"] += amount
                known["disputed"] += amount
                of_it = {"upon": line["name"], "amount": amount, "by": line["by"]}
                known["disputes"][ref] = {**of_it, "state": "needs_response"}
            case "dispute_won":
                request["taken_back"] -= amount
                known["disputed"] -= amount
                known["disputes"][ref]["state"] = "won"
            case _:
                known["disputes"][ref]["state"] = "lost"

    def _ask(
        self,
        known: dict[str, Any],
        operation: str,
        amount: int,
        upon: str = "",
        final: bool = False,
        dispute: str | None = None,
    ) -> str:
        rail = known["rail"]
        name = words.request_id(known["id"], len(known["requests"]) + 1)
        if _gives(known, operation, upon):
            word = self.refusal(known["account"], pending_debits=amount)
            if word:
                return word
            self._hold(known, name, known["account"], f"clearing:{rail}:EUR", amount)
        if operation in ("refund", "reverse"):
            known["requests"][upon]["taken_back"] += amount
        known["requests"][name] = {
            **{"operation": operation, "amount": amount, "final": final, "rail": rail, "upon": upon},
            **{"state": "requested", "taken_back": 0, "contradicted": False, "dispute": dispute},
            **{"settled": False, "returned": 0, "returns": frozenset()},
        }
        return "done"

    def _hold(self, known: dict[str, Any], name: str, debited: str, credited: str, amount: int) -> None:
        hold = known["holds"].setdefault(name, {"debited": debited, "credited": credited, "left": 0, "live": True})
        hold["left"] += amount
        self.post(debited, pending_debits=amount)
        self.post(credited, pending_credits=amount)

    def _release(self, known: dict[str, Any], name: str, amount: int | None = None) -> None:
        hold = known["holds"][name]
        amount = hold["left"] if amount is None else amount
        self._hold(known, name, hold["debited"], hold["credited"], -amount)
        hold["live"] = hold["left"] > 0

    # What rails say.

    def _answer(self, known: dict[str, Any], wish: dict[str, Any]) -> str:
        name = _request(known, wish)
        request = known["requests"].get(name)
        if request is None:
            return "payment_request_not_found"
        outcomes = {"approved": "done", "accepted": "accepted", "link": "accepted", "silence": "unknown"}
        outcome = outcomes.get(wish["said"], "failed")
        wrong = outcome == "done" and (wish["more"] != 0 or wish["currency"] != "EUR")
        if request["state"] in ("done", "failed"):
            opposite = outcome in ("done", "failed") and (wrong or outcome != request["state"])
            if not opposite or request["contradicted"]:
                return "payment_answer_known"
            request["contradicted"] = True
            return "done"
        if wrong:
            outcome = "unknown"
        if outcome == request["state"] or (outcome == "unknown" and not wrong and request["state"] == "accepted"):
            return "payment_answer_known"
        request["state"] = outcome
        begins = request["operation"] in ("authorize", "collect", "payout")
        if wish["said"] == "link" and begins and known["status"] == "processing":
            known["status"] = "requires_action"
        if outcome == "failed":
            self._fails(known, name, request, wish["said"])
        if outcome == "done":
            self._does(known, name, request)
        return "done"

    def _fails(self, known: dict[str, Any], name: str, request: dict[str, Any], retry: str) -> None:
        if request["operation"] in ("authorize", "collect", "payout"):
            known["status"] = "requires_payment_method" if retry == "never" else "processing"
        if _gives(known, request["operation"], request["upon"]):
            self._release(known, name)
        if request["operation"] in ("refund", "reverse"):
            known["requests"][request["upon"]]["taken_back"] -= request["amount"]

    def _does(self, known: dict[str, Any], name: str, request: dict[str, Any]) -> None:
        own, clearing, amount = known["account"], f"clearing:{request['rail']}:EUR", request["amount"]
        begun = [each for each, one in known["requests"].items() if one["operation"] == "authorize"]
        match request["operation"]:
            case "authorize":
                known |= {"authorized": amount, "status": "requires_capture"}
                to = "suspense:EUR" if self.refusal(own, pending_credits=amount) else own
                self._hold(known, name, clearing, to, amount)
                if known["capture"] == "automatic" and not self.due(known):
                    self._ask(known, "capture", amount, final=True)
            case "increment":
                known["authorized"] += amount
                hold = known["holds"][begun[-1]]
                if hold["live"] and not self.refusal(hold["credited"], pending_credits=amount):
                    self._hold(known, begun[-1], clearing, hold["credited"], amount)
            case "capture":
                known["captured"] += amount
                self._captures(known, begun[-1], clearing, amount, final=request["final"])
                if known["captured"] == known["authorized"]:
                    known["status"] = "succeeded"
                elif request["final"]:
                    known["status"] = "partially_captured"
            case "void":
                if known["holds"][begun[-1]]["live"]:
                    self._release(known, begun[-1])
                known["status"] = "partially_captured" if known["captured"] else known["ending"]
            case "collect":
                known |= {"captured": amount, "status": "succeeded"}
                self.post("suspense:EUR" if self.refusal(own, credits=amount) else own, credits=amount)
                self.post(clearing, debits=amount)
            case "contest":
                dispute = known["disputes"][request["dispute"]]
                if dispute["state"] == "needs_response":
                    dispute["state"] = "under_review"
            case "reverse" if not _gives(known, "reverse", request["upon"]):
                known["reversed"] += amount
                self.post("suspense:EUR" if self.refusal(own, credits=amount) else own, credits=amount)
                self.post(clearing, debits=amount)
            case "refund" | "payout" | "reverse":
                if request["operation"] == "payout":
                    known["status"] = "succeeded"
                else:
                    known["refunded" if request["operation"] == "refund" else "reversed"] += amount
                from_ = "suspense:EUR" if self.refusal(own, pending_debits=-amount, debits=amount) else own
                self._release(known, name)
                self.post(from_, debits=amount)
                self.post(clearing, credits=amount)

    def _captures(self, known: dict[str, Any], name: str, clearing: str, amount: int, *, final: bool) -> None:
        hold = known["holds"][name]
        given = hold["left"] if final or amount == hold["left"] else amount
        fits = hold["live"] and amount <= hold["left"]
        if fits and not self.refusal(hold["credited"], pending_credits=-given, credits=amount):
            self._release(known, name, given)
            self.post(hold["credited"], credits=amount)
        else:
            if final and hold["live"]:
                self._release(known, name)
            self.post("suspense:EUR", credits=amount)
        self.post(clearing, debits=amount)


def _gives(known: dict[str, Any], operation: str, upon: str) -> bool:
    """Whether money goes out by it."""
    upon_payout = operation == "reverse" and known["requests"][upon]["operation"] == "payout"
    return operation in ("refund", "payout", "reverse") and not upon_payout


def _moved(line: dict[str, Any]) -> int:
    """What comes in by a line of a report; below zero, what goes out."""
    known, operation = line["known"], line["operation"]
    inwards = operation in ("capture", "collect")
    if operation == "reverse" and known is not None and line["name"] in known["requests"]:
        request = known["requests"][line["name"]]
        inwards = request["operation"] == "reverse" and not _gives(known, "reverse", request["upon"])
    match line["said"]:
        case "settled":
            return int(line["amount"]) if inwards else -int(line["amount"])
        case "returned":
            return -int(line["amount"]) if inwards else int(line["amount"])
        case "disputed":
            return -int(line["amount"])
    return int(line["amount"]) if line["said"] == "dispute_won" else 0


def _dispute(known: dict[str, Any], wish: dict[str, Any]) -> str:
    """Mostly one that there is."""
    names = list(known["disputes"])
    return names[wish["of"] % len(names)] if names and wish["of"] < 6 else "never"


def _balances(account: dict[str, Any]) -> tuple[int, int]:
    """Available, and the highest it may come to."""
    net = account["debits"] - account["credits"]
    if account["type"] == "asset":
        return net - account["pending_credits"], net + account["pending_debits"]
    return -net - account["pending_debits"], -net + account["pending_credits"]


def _sum(account: dict[str, Any], more: dict[str, int]) -> dict[str, Any]:
    return {**account, **{name: account[name] + amount for name, amount in more.items()}}


def _fits(direction: str, rail: str) -> bool:
    return (direction, rail) not in (("in", "wire"), ("out", "card"))


def _unsettled(known: dict[str, Any]) -> str:
    states = {one["state"] for one in known["requests"].values()}
    if "unknown" in states:
        return "payment_outcome_unknown"
    return "payment_busy" if states & {"requested", "accepted"} else ""


def _over(known: dict[str, Any]) -> bool:
    return known["status"] in ("succeeded", "partially_captured", "canceled", "expired")


def _open(known: dict[str, Any]) -> list[str]:
    states = ("requested", "unknown", "accepted")
    return [name for name, one in known["requests"].items() if one["state"] in states]


def _request(known: dict[str, Any], wish: dict[str, Any]) -> str:
    """Mostly one that is open, or any; now and then one that never was."""
    if wish["of"] == 6:
        return words.request_id(known["id"], 99)
    names = _open(known) if wish["of"] < 4 and _open(known) else list(known["requests"])
    return names[wish["of"] % len(names)] if names else words.request_id(known["id"], 1)


def _upon(known: dict[str, Any], wish: dict[str, Any]) -> str | None:
    return None if wish["upon"] is None else words.request_id(known["id"], wish["upon"] + 1)


def time(hour: int | None) -> datetime | None:
    return None if hour is None else NOW + timedelta(hours=hour)


def command(wish: dict[str, Any], known: dict[str, Any] | None, hour: int) -> Command:
    """How it is asked."""
    if wish["do"] == "create":
        return words.create(
            wish["account"],
            wish["amount"],
            wish["rail"],
            direction=wish["direction"],
            confirm=wish["confirm"] and wish["rail"] is not None,
            capture=wish["capture"],
            approvals=wish["approvals"],
            expires_at=None if wish["in_h"] is None else time(hour + wish["in_h"]),
        )
    of: dict[str, Any] = {"payment_id": NOWHERE if known is None else known["id"]}
    match wish["do"]:
        case "attach":
            return AttachMethod(**of, method=words.METHODS[wish["rail"]])
        case "confirm":
            return ConfirmPayment(**of)
        case "approve":
            return ApprovePayment(**of, approver=wish["approver"])
        case "start":
            risk = words.HEARD[0].model_copy(update={"verdict": wish.get("heard", "allow")})
            return StartAttempt(**of, route="first", votes=(risk, words.HEARD[1]))
        case "give_up":
            return GiveUpPayment(**of, reason="no")
        case "retry":
            return RetryPayment(**of)
        case "increase":
            return IncreaseAuthorization(**of, amount=wish["amount"] or 1)
        case "capture":
            return CapturePayment(**of, amount=wish["amount"], final=wish["final"])
        case "cancel":
            return CancelPayment(**of, reason=wish["reason"])
        case "expire":
            return ExpirePayment(**of)
        case "refund":
            upon = None if known is None else _upon(known, wish)
            return RefundPayment(**of, amount=wish["amount"], capture=upon)
        case "reverse":
            return ReversePayment(**of, request=None if known is None else _upon(known, wish))
        case "contest" | "accept":
            ref = "never" if known is None else _dispute(known, wish)
            of["dispute_id"] = uuid5(of["payment_id"], f"dispute:{ref}")
            return AcceptDispute(**of) if wish["do"] == "accept" else ContestDispute(**of, evidence={"receipt": "Paid"})
        case "resolve":
            request = words.request_id(NOWHERE, 1) if known is None else _request(known, wish)
            return ResolveOutcome(**of, request_id=request, outcome=wish["outcome"], reason="found out")
    assert wish["do"] == "answer", wish
    request = words.request_id(NOWHERE, 1) if known is None else _request(known, wish)
    asked_for = known["requests"].get(request, {}).get("amount", 1) if known is not None else 1
    return words.says(of["payment_id"], request, wish["said"], asked_for + wish["more"], wish["currency"])


class Payments(RuleBasedStateMachine):
    """Two desks take turns; after every batch all that is stored is derived anew."""

    def __init__(self) -> None:
        super().__init__()
        self.model = Model()
        self.store = MemoryEventStore(lambda: time(self.model.hour) or NOW)
        self.reports: Reports = []
        self.desks = [desk(self.store, self.reports), desk(self.store, self.reports)]
        self.keys = (f"key-{number}" for number in count(1))
        self.first: list[tuple[Command, str, Outcome]] = []
        self.by_hand: Counter[str] = Counter()
        self.reports_made = 0
        self.broken = 0
        self.paid: Counter[str] = Counter()
        """By rail, what reports say was paid."""

    @initialize(of=st.lists(likely, min_size=3, max_size=4), ceiling=st.sampled_from([20, 120]))
    def begin(self, of: list[dict[str, Any]], ceiling: int) -> None:
        """Merchants with and without limits, one of them somebody who owes, and some payments to go on with."""
        for code, type, currency, low, most in [
            ("bank", "equity", "EUR", None, None),
            ("shop", "liability", "EUR", None, None),
            ("full", "liability", "EUR", None, ceiling),
            ("purse", "liability", "EUR", 0, None),
            ("debt", "asset", "EUR", None, None),
            ("usd", "liability", "USD", None, None),
        ]:
            limits: dict[str, Any] = {"overdraft_limit": None if low is None else -low, "ceiling": most}
            opening = [open_book()] if code == "bank" else []
            for each in [*opening, open_account(code, type, currency=currency, **limits)]:
                assert said(self.desks[0]._answer_all([asked(each)])[0]) == "done"
            self.model.open(code, type, low, most)
        self.ask(0, of)
        self.ask(1, [{"do": "start", "of_payment": known} for known in self.model.payments])

    @rule(by=st.integers(0, 1), wishes=wishes)
    def ask(self, by: int, wishes: list[dict[str, Any]]) -> None:
        """One batch, each of its commands answered as the model says."""
        batch = [self._prepared(wish) for wish in wishes]

        # The desk's own thread would do just this.
        actors = [wish.get("actor", MAKER) for wish in wishes]
        answers = self.desks[by]._answer_all(
            [asked(each, key, actor=actor) for (each, key, _), actor in zip(batch, actors, strict=True)]
        )

        for (each, key, word), answer in zip(batch, answers, strict=True):
            assert isinstance(answer, Outcome), (each, answer)
            assert said(answer) == word, (each, answer)
            self.first.append((each, key, answer))

    def _prepared(self, wish: dict[str, Any]) -> tuple[Command, str, str]:
        key = next(self.keys)
        if wish["do"] in ("void_hold", "capture_hold", "increase_hold"):
            return self._meddled(wish, key)
        if wish["do"] == "policy":
            self.model.policy = POLICIES[wish["which"]]
            return SetPaymentPolicy.model_validate({"book": "main", **self.model.policy}), key, "done"
        if wish["do"] == "report":
            return self._reported(
                [self._line({**wish, "of": wish["of"] + more}) for more in range(wish["part_of"])], key
            )
        if "account" in wish and wish["do"] != "create":
            return self._banked(wish, key)
        if wish["do"] == "create" and len(self.model.payments) >= PAYMENTS_MAX:
            wish = {"do": "start", "nth": wish["amount"] % 6}
        known = self._upon(wish)
        made = command(wish, known, self.model.hour)
        return made, key, self.model.answer(wish, known, ids.command_id(made.scope, made.kind, key))

    def _upon(self, wish: dict[str, Any]) -> dict[str, Any] | None:
        if "latest" in wish:
            return self.model.payments[-1]
        if "of_payment" in wish:
            found: dict[str, Any] | None = wish["of_payment"]
            return found
        return self.model.chosen(wish) if "nth" in wish else None

    def _meddled(self, wish: dict[str, Any], key: str) -> tuple[Command, str, str]:
        """What clients try with a payment's hold, live or not."""
        known = self.model.chosen(wish)
        names = [] if known is None else list(known["holds"])
        name = NOWHERE if known is None else known["id"]
        if names:
            name = uuid5(name, f"hold:{names[wish['of'] % len(names)]}")
        word = "hold_of_payment" if names else "hold_not_found"
        match wish["do"]:
            case "void_hold":
                return VoidHold(hold_id=name), key, word
            case "capture_hold":
                return CaptureHold(hold_id=name, amount=1), key, word
        return IncreaseHold(hold_id=name, amount=1), key, word

    def _line(self, wish: dict[str, Any]) -> dict[str, Any]:
        """A line of a report, mostly of something done; now and then of nobody's payment, or of another operation."""
        known = self.model.chosen({**wish, "do": _LIKELY.get(wish["said"], "report")})
        done = [] if known is None else [name for name, one in known["requests"].items() if one["state"] == "done"]
        wanted = ("capture", "collect") if wish["said"] == "disputed" and wish["of"] < 7 else MOVING
        moving = [name for name in done if known and known["requests"][name]["operation"] in wanted]
        among = (moving or done) if wish["of"] < 8 else list(known["requests"] if known else ())
        name = among[wish["of"] % len(among)] if among else words.request_id(NOWHERE, 1)
        request = known["requests"].get(name, {}) if known else {}
        operation = request.get("operation", "collect")
        if wish["wrong"] or operation not in MOVING:
            operation = "payout" if operation == "collect" else "collect"
        amount = request.get("amount", 7)
        disputes = known["disputes"] if known else {}
        ref = wish["ref"]
        if known is not None and disputes and wish["said"] in ("dispute_won", "dispute_lost"):
            ref = ref if ref in disputes or wish["of"] > 6 else next(iter(disputes))
            if ref in disputes:
                name, amount = disputes[ref]["upon"], disputes[ref]["amount"]
                operation = known["requests"][name]["operation"]
        elif wish["said"] != "settled" and wish["by_h"] == 2:
            amount = max(amount // 3, 1)
        by = self.model.hour + wish["by_h"] if wish["by_h"] and wish["said"] == "disputed" else None
        line = {"known": known, "name": name, "operation": operation, "amount": max(amount + wish["more"], 1)}
        return {**line, "said": wish["said"], "fee": wish["fee"], "ref": ref, "by": by}

    def _reported(self, lines: list[dict[str, Any]], key: str) -> tuple[Command, str, str]:
        self.reports_made += 1
        first = lines[0]
        request = first["known"]["requests"].get(first["name"]) if first["known"] is not None else None
        rail = "upi" if request is None else request["rail"]
        command = RecordSettlement(
            book="main",
            rail=Rail(rail),
            route="first",
            day=NOW.date(),
            part=self.reports_made,
            currency="EUR",
            lines=tuple(
                LineAsked(
                    said=Said(line["said"]),
                    payment_id=None if line["known"] is None else line["known"]["id"],
                    request_id=line["name"],
                    operation=line["operation"],
                    amount=line["amount"],
                    fee=line["fee"],
                    reference=line["ref"],
                    respond_by=time(line["by"]),
                )
                for line in lines
            ),
        )
        broken, net = self.model.report(rail, lines)
        self.broken += broken
        self.paid[rail] += net
        return command, key, "done"

    def settle_all(self, by: int) -> None:
        """Every rail reports all that it has done and not reported yet."""
        for rail in RAILS:
            lines = [
                {"known": known, "name": name, "operation": one["operation"], "amount": one["amount"], **_PLAINLY}
                for known in self.model.payments
                for name, one in known["requests"].items()
                if (one["rail"], one["state"], one["settled"]) == (rail, "done", False) and one["operation"] in MOVING
            ]
            if lines:
                made, key, word = self._reported(lines, next(self.keys))
                [answer] = self.desks[by]._answer_all([asked(made, key)])
                assert said(answer) == word

    def _banked(self, wish: dict[str, Any], key: str) -> tuple[Command, str, str]:
        code, amount, model = wish["account"], wish["amount"], self.model
        account, name = model.accounts.get(code), ids.account_id(BOOK, code)
        is_ours = code not in MERCHANTS
        if wish["do"] in ("fund", "drain"):
            sides = ("debits", "credits") if wish["do"] == "drain" else ("credits", "debits")
            debit, credit = (code, "bank") if wish["do"] == "drain" else ("bank", code)
            word = "account_not_found" if account is None else model.refusal(code, **{sides[0]: amount})
            if not word:
                model.post(code, **{sides[0]: amount})
                model.post("bank", **{sides[1]: amount})
                self.by_hand[code] += amount if sides[0] == "debits" else -amount
            return transfer(debit, credit, amount), key, word or "done"
        made: dict[str, Command] = {
            "freeze": FreezeAccount(account_id=name),
            "unfreeze": UnfreezeAccount(account_id=name),
            "close": CloseAccount(account_id=name),
            "ceiling": ChangeLimits(account_id=name, overdraft_limit=None, ceiling=amount),
        }
        made_ = made[wish["do"]]
        if account is None:
            return made_, key, "account_not_found"
        if is_ours:
            return made_, key, "account_not_frozen" if wish["do"] == "unfreeze" else "account_code_reserved"
        if account["status"] == "closed":
            return made_, key, "account_closed"
        match wish["do"]:
            case "freeze":
                word = "account_frozen" if account["status"] == "frozen" else "done"
                account["status"] = "frozen"
            case "unfreeze":
                word = "account_not_frozen" if account["status"] == "open" else "done"
                account["status"] = "open"
            case "close":
                sums = (account["debits"] - account["credits"], account["pending_debits"], account["pending_credits"])
                word = "account_not_empty" if any(sums) else "done"
                if not any(sums):
                    account["status"] = "closed"
            case _:
                word = "done"
                account |= {"low": None, "ceiling": amount}
        return made_, key, word

    @rule(by=st.integers(0, 1), nth=nth, amount=amounts)
    def go_on(self, by: int, nth: int, amount: int | None) -> None:
        """What would come next if all went well."""
        known = self.model.payments[nth % len(self.model.payments)]
        wish = self._next(known) or self._afterwards(known, nth, amount)
        if amount is not None and wish["do"] == "capture":
            wish = {**wish, "amount": min(amount, known["authorized"] - known["captured"]), "final": False}
        self.ask(by, [{**wish, "of_payment": known}])

    @rule(by=st.integers(0, 1), how=answering)
    def hear(self, by: int, how: dict[str, Any]) -> None:
        """A rail says something."""
        self.ask(by, [how])

    @rule(by=st.integers(0, 1), how=reporting)
    def day(self, by: int, how: dict[str, Any]) -> None:
        """A rail reports its day."""
        self.ask(by, [how])

    @rule(by=st.integers(0, 1))
    def all_settles(self, by: int) -> None:
        """Then nothing is left on the clearing accounts, but what was booked by hand."""
        self.settle_all(by)
        for rail in RAILS:
            account = self.model.accounts.get(f"clearing:{rail}:EUR", {"debits": 0, "credits": 0})
            assert account["debits"] - account["credits"] == self.by_hand[f"clearing:{rail}:EUR"]

    @rule(by=st.integers(0, 1), how=ending)
    def end(self, by: int, how: dict[str, Any]) -> None:
        """Somebody wants done undone, or answers a dispute."""
        self.ask(by, [{**how, "nth": how["nth"] % 6}])

    @rule(by=st.integers(0, 1), how=asking)
    def wish(self, by: int, how: dict[str, Any]) -> None:
        """Somebody wants something that makes sense."""
        self.ask(by, [{**how, "nth": how["nth"] % 6}])

    @rule(by=st.integers(0, 1), nth=nth, how=answering)
    def start_and_answer_at_once(self, by: int, nth: int, how: dict[str, Any]) -> None:
        """In one batch, so that the answer is decided upon what nobody has looked up."""
        known = self.model.chosen({"do": "start", "nth": nth})
        once = [{"do": "start"}, {**how, "of": 0}, {**how, "of": 0}, {"do": "refund", "amount": None, "upon": None}]
        self.ask(by, [{**each, "of_payment": known} for each in once])

    @rule(by=st.integers(0, 1), of=likely, how=answering)
    def all_at_once(self, by: int, of: dict[str, Any], how: dict[str, Any]) -> None:
        """A payment from its creation to what its rail says, in one batch: what it needs is looked up in time."""
        if len(self.model.payments) < PAYMENTS_MAX:
            self.ask(by, [of, {"do": "start", "latest": True}, {**how, "of": 0, "latest": True}])

    @rule(by=st.integers(0, 1), nth=st.integers(0, 60))
    def ask_again(self, by: int, nth: int) -> None:
        """The same under the same key is answered the same, at any time and by any desk."""
        if not self.first:
            return
        again, key, first = self.first[-1 - nth % len(self.first)]

        [answer] = self.desks[by]._answer_all([asked(again, key)])

        assert isinstance(answer, Outcome) and answer.replayed
        assert answer.recorded[0] == first.recorded[0]
        assert answer.payment == first.payment
        assert (answer.refusal and answer.refusal.details()) == (first.refusal and first.refusal.details())

    @rule()
    def wait_an_hour(self) -> None:
        """Payments come due."""
        self.model.hour += 1

    @rule(by=st.integers(0, 1))
    def restart(self, by: int) -> None:
        """A desk that begins anew knows nothing and answers the same."""
        self.desks[by] = desk(self.store, self.reports)

    def _afterwards(self, known: dict[str, Any], nth: int, amount: int | None) -> dict[str, Any]:
        """Of a payment that is over."""
        unanswered = [n for n, one in enumerate(known["disputes"].values()) if one["state"] == "needs_response"]
        if unanswered:
            return {"do": "accept" if amount == 1 else "contest", "of": unanswered[0]}
        if amount is not None and nth % 3:
            return {"do": "refund", "amount": amount, "upon": None}
        return {"do": "reverse", "upon": None}

    def _next(self, known: dict[str, Any]) -> dict[str, Any] | None:
        """The next step of a payment that is not over, which must be possible; None where it is over."""
        if _open(known):
            return {"do": "answer", "of": 0, "said": "approved", "more": 0, "currency": "EUR"}
        if _over(known):
            return None
        if self.model.due(known):
            return {"do": "expire"}
        rail = "card" if known["direction"] == "in" else "ach"
        names = known["named"] or [*NAMED, "eli", "fay"]
        free = [name for name in names if name not in known["approvers"] | known["makers"]]
        steps: dict[str, dict[str, Any]] = {
            "requires_payment_method": {"do": "attach", "rail": rail},
            "requires_confirmation": {"do": "confirm"},
            "requires_approval": {"do": "approve", "approver": free[0]},
            "processing": {"do": "start"},
            "requires_capture": {"do": "capture", "amount": None, "final": True},
        }
        return steps[known["status"]]

    @invariant()
    def nothing_happened_that_should_not(self) -> None:
        assert self.reports == []

    @invariant()
    def the_books_are_as_the_model_has_them(self) -> None:
        """
        The independent checker derives debits and credits, holds and limits anew; pending totals are the model's.
        """
        books = books_of(self.store)
        accounts = {ids.account_id(BOOK, code): known for code, known in self.model.accounts.items()}
        assert books.check() == {name: (known["debits"], known["credits"]) for name, known in accounts.items()}
        last = {row.account_id: row.totals for row in books.postings}
        for name, known in accounts.items():
            if name in last:
                assert (last[name].pending_debits, last[name].pending_credits) == (
                    known["pending_debits"],
                    known["pending_credits"],
                )

    @invariant()
    def payments_are_as_the_model_has_them(self) -> None:
        """
        Folded from the log, by a stream's own fold and by a ledger that replays everything alike.
        """
        streams = self._streams()
        replayed = Ledger()
        replayed.payments.update({known["id"]: None for known in self.model.payments})
        for raw in self.store.events:
            replayed.apply(recorded(raw))
        for known in self.model.payments:
            folded = payment.fold(known["id"], streams[known["id"]])
            assert folded is not None
            assert replayed.payments[known["id"]] == folded
            sums = ("authorized", "captured", "refunded", "reversed", "returned", "disputed")
            assert {name: getattr(folded, name) for name in sums} == {name: known[name] for name in sums}
            assert [(one.reference, one.request_id, one.amount, one.state) for one in folded.disputes.values()] == [
                (ref, one["upon"], one["amount"], one["state"]) for ref, one in known["disputes"].items()
            ]
            assert (folded.status.value, set(folded.approvers)) == (known["status"], known["approvers"])
            assert (set(folded.makers), folded.is_validated) == (known["makers"], known["validated"])
            assert folded.version == len(streams[known["id"]])
            told = ("operation", "amount", "final", "rail", "upon", "state", "taken_back", "contradicted", "returned")
            for (name, one), request in zip(known["requests"].items(), folded.requests.values(), strict=True):
                got = {field: getattr(request, field) for field in told}
                wanted = {field: one[field] for field in told}
                assert (request.id, got) == (name, wanted if one["upon"] else {**wanted, "upon": got["upon"]})
                assert (request.settlement_id is not None) == one["settled"]

    @invariant()
    def no_more_is_taken_or_given_back_than_there_is(self) -> None:
        """
        By the events' own account: captures within authorizations, refunds and reversals under way and done within
        captures. What rails take back by themselves comes on top of that.
        """
        for known in self.model.payments:
            sums: Counter[tuple[str, str]] = Counter()
            for one in known["requests"].values():
                sums[one["operation"], "failed" if one["state"] == "failed" else "stands"] += one["amount"]
                if one["state"] == "done":
                    sums[one["operation"], "done"] += one["amount"]
                assert one["taken_back"] >= 0 and one["returned"] <= one["amount"]
            promised = sums["authorize", "done"] + sums["increment", "done"]
            assert sums["capture", "stands"] <= promised
            came_back = sum(one["returned"] for one in known["requests"].values() if one["operation"] in GIVING_BACK)
            given_back = sums["refund", "stands"] + sums["reverse", "stands"] - came_back
            assert given_back <= sums["capture", "done"] + sums["collect", "done"] + sums["payout", "done"]

    @invariant()
    def clearing_is_what_rails_did(self) -> None:
        """
        Per rail, from the stored JSON alone: what came in less what went out and what settled, and what was booked by
        hand. What it has paid is on its settlement account.
        """
        rails: dict[tuple[str, str], str] = {}
        signs: dict[tuple[str, str], int] = {}
        sums: dict[str, int] = defaultdict(int)
        paid: Counter[str] = Counter()
        broken = 0
        for raw in self.store.events:
            shape, stream = json.loads(raw.payload), raw.stream_id.hex
            match raw.name.rpartition(".")[0]:
                case "payment.attempt_started":
                    rails[stream, shape["request_id"]] = shape["rail"]
                    signs[stream, shape["request_id"]] = SIGNS.get(shape["operation"], 0)
                case "payment.operation_requested":
                    rails[stream, shape["request_id"]] = rails[stream, shape["upon"]]
                    reverse = -signs[stream, shape["upon"]] if shape["operation"] == "reverse" else 0
                    signs[stream, shape["request_id"]] = SIGNS.get(shape["operation"], reverse)
                case "payment.operation_done":
                    one = stream, shape["request_id"]
                    sums[rails[one]] += signs[one] * shape["amount"]
                case "payment.settled":
                    one = stream, shape["request_id"]
                    sums[rails[one]] -= signs[one] * shape["amount"]
                case "settlement.recorded":
                    paid[shape["rail"]] += shape.get("net", 0)
                    broken += len(shape.get("breaks", []))
        for rail in RAILS:
            account = self.model.accounts.get(f"clearing:{rail}:EUR", {"debits": 0, "credits": 0})
            assert account["debits"] - account["credits"] == sums[rail] + self.by_hand[f"clearing:{rail}:EUR"]
            account = self.model.accounts.get(f"settlement:{rail}:EUR", {"debits": 0, "credits": 0})
            assert account["debits"] - account["credits"] == paid[rail] == self.paid[rail]
        assert broken == self.broken

    @invariant()
    def no_hold_outlives_its_payment(self) -> None:
        """
        A hold is live only as long as something can still come of it.
        """
        streams = self._streams()
        for known in self.model.payments:
            over = _over(known) and not _open(known)
            for name, expected in known["holds"].items():
                stream = uuid5(known["id"], f"hold:{name}")
                folded = hold_rules.fold(stream, [event.event for event in streams[stream]])
                assert folded is not None
                assert folded.remaining == expected["left"]
                assert (folded.status is hold_rules.Status.HELD) == expected["live"]
                assert not (over and expected["live"])

    @invariant()
    def nothing_is_asked_while_an_outcome_is_unknown(self) -> None:
        """
        From the stored JSON alone.
        """
        unknown: dict[UUID, set[str]] = defaultdict(set)
        for raw in self.store.events:
            shape, stream = json.loads(raw.payload), raw.stream_id
            match raw.name.rpartition(".")[0]:
                case "payment.outcome_unknown":
                    unknown[stream].add(shape["request_id"])
                case "payment.operation_done" | "payment.operation_failed" | "payment.operation_accepted":
                    unknown[stream].discard(shape["request_id"])
                case "payment.attempt_started" | "payment.operation_requested" | "payment.canceled" | "payment.expired":
                    assert not unknown[stream]

    @invariant()
    def no_rail_is_asked_before_validators_have_passed_it(self) -> None:
        """
        From the stored JSON alone: since its last confirmation, with the approvals it needs, of nobody who made it.
        """
        passed: dict[UUID, bool] = {}
        makers: dict[UUID, tuple[str, set[str]]] = {}
        approved: dict[UUID, set[str]] = {}
        needed: dict[UUID, int] = {}
        for raw in self.store.events:
            shape, stream, actor = json.loads(raw.payload), raw.stream_id, json.loads(raw.metadata)["actor"]
            match raw.name.rpartition(".")[0]:
                case "payment.intent_created":
                    makers[stream], needed[stream] = (actor, {actor}), shape.get("approvals", 0)
                case "payment.method_attached":
                    makers[stream] = (makers[stream][0], {makers[stream][0], actor})
                case "payment.confirmed":
                    makers[stream][1].add(actor)
                    passed[stream], approved[stream] = False, set()
                case "payment.approved":
                    approved[stream].add(shape["approver"])
                case "payment.validated":
                    passed[stream] = shape["passed"]
                case "payment.attempt_started":
                    assert passed[stream]
                    assert len(approved[stream] - makers[stream][1]) >= needed[stream]

    @invariant()
    def what_is_not_over_has_a_next_step(self) -> None:
        """
        It is tried dry: to hear the rail's answer, to expire, or what its status waits for.
        """
        steps = [(known, wish) for known in self.model.payments if (wish := self._next(known)) is not None]
        assert {*self._dry(steps)} <= {"done"}

    def _dry(self, steps: list[tuple[dict[str, Any], dict[str, Any]]]) -> list[str]:
        """What each would be answered with by itself."""
        batch = [asked(command(wish, known, self.model.hour), next(self.keys)) for known, wish in steps]
        return [said(each) for each in self.desks[0]._answer_all([replace(one, dry=True) for one in batch])]

    def everything_holds(self) -> None:
        """All of the above, for a walk."""
        self.nothing_happened_that_should_not()
        self.the_books_are_as_the_model_has_them()
        self.payments_are_as_the_model_has_them()
        self.no_more_is_taken_or_given_back_than_there_is()
        self.clearing_is_what_rails_did()
        self.no_hold_outlives_its_payment()
        self.nothing_is_asked_while_an_outcome_is_unknown()
        self.no_rail_is_asked_before_validators_have_passed_it()
        self.what_is_not_over_has_a_next_step()

    def _streams(self) -> dict[UUID, list[Recorded]]:
        streams: dict[UUID, list[Recorded]] = defaultdict(list)
        for raw in self.store.events:
            streams[raw.stream_id].append(recorded(raw))
        return streams


TestPayments = pytest.mark.timeout(7200 if LONG else 400)(Payments.TestCase)
TestPayments.settings = settings(max_examples=settings().max_examples // 3)


@pytest.mark.parametrize("seed", range(WALKS))
def test_walks(seed: int) -> None:
    """
    The same by dice, which are seldom of one mind: accounts close under payments, refunds race what is unknown.

    Everything is derived anew after every tenth batch and at the end.
    """
    dice = Random(seed)
    walk = Payments()

    def thrown(*wishes: dict[str, list[Any]]) -> list[dict[str, Any]]:
        return [{name: dice.choice(values) for name, values in wish.items()} for wish in wishes]

    walk.begin([_likely(each) for each in thrown(*[CREATING] * 4)], dice.choice([20, 120]))
    for batch in range(1, BATCHES + 1):
        by = dice.randrange(2)
        every = [CREATING, ASKING, ANSWERING, REPORTING, ENDING, MEDDLING, BANKING, RULING]
        kinds = dice.choices(every, [2, 14, 24, 18, 10, 2, 6, 1], k=dice.randint(1, 3))
        words_ = ["ask", "on", "at once", "all", "again", "wait", "restart", "settle"]
        match dice.choices(words_, [9, 9, 2, 1, 2, 1, 1, 0.3])[0]:
            case "ask":
                walk.ask(by, thrown(*kinds))
            case "on":
                walk.go_on(by, dice.choice(NTH), dice.choice([None, *AMOUNTS]))
            case "at once":
                walk.start_and_answer_at_once(by, dice.choice(NTH), *thrown(ANSWERING))
            case "all":
                walk.all_at_once(by, _likely(*thrown(CREATING)), *thrown(ANSWERING))
            case "again":
                walk.ask_again(by, dice.randint(0, 60))
            case "wait":
                walk.wait_an_hour()
            case "restart":
                walk.restart(by)
            case "settle":
                walk.all_settles(by)
        if batch % 10 == 0 or batch == BATCHES:
            walk.everything_holds()
