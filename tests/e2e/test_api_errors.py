"""Every no over HTTP: its status, its code, and what it tells."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest
from structlog.testing import capture_logs

from adapters.expiry import Expiry
from adapters.web.errors import STATUS
from commands.api import book as book_api
from commands.api.asking import instant
from commands.book import OpenBook
from commands.payment import RecordApproval, RecordSilence, StartAttempt
from domain import ids as id_rules
from domain.errors import (
    REFUSALS,
    OperationNotFound,
    PaymentAnswerKnown,
    PaymentNotDue,
    PaymentUndecided,
    SettlementNotFound,
)
from domain.money import AMOUNT_MAX
from domain.payment import Payment
from tests.payment_words import HEARD
from tests.serving import Caller, by_daybook, head, hold, serving, transfer, until

NOWHERE = "00000000000000000000000000"


@pytest.fixture
def api(database: str) -> Iterator[Caller]:
    with asking(database) as caller:
        yield caller


@pytest.fixture
def api_without_expiry(database: str) -> Iterator[Caller]:
    """Nobody looks which holds have come due, as before Daybook gets to it."""
    with asking(database, project=False) as caller:
        yield caller


@contextmanager
def asking(database: str, **options: Any) -> Iterator[Caller]:
    """With book `main`, `cash` (asset), `poor` (asset, no overdraft), `full` (asset, ceiling 10) and `usd`."""
    with serving(database, **options) as base_url, Caller(base_url) as caller:
        caller.done("/v1/books", {"code": "main"})
        caller.account("cash")
        caller.account("poor", overdraft_limit=0)
        caller.account("full", ceiling=10)
        caller.account("usd", currency="USD")
        yield caller


@pytest.fixture
def no_expiry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Holds whose time has come are not ended, so that what is refused until they are can be."""

    async def run(self: Expiry) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(Expiry, "run", run)


def problem_of(response: httpx2.Response) -> dict[str, Any]:
    """The problem, once its fixed members are checked and taken away."""
    assert response.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = response.json()
    assert problem.pop("type") == f"urn:daybook:problem:{problem['code']}"
    assert problem.pop("status") == response.status_code
    assert problem.pop("request_id")
    assert problem.pop("title")
    return problem


@pytest.mark.usefixtures("no_expiry")
def test_every_refusal(api_without_expiry: Caller, database: str) -> None:
    """
    Each business refusal has its status and tells what it is about, ids with their kind, amounts in minor units; but
    for those that are told to Daybook itself alone.
    """
    api = api_without_expiry
    book = api.ask("/v1/books", {"code": "other"}).json()["id"]
    ids = {code: api.account(f"x{code}")["id"] for code in ("frozen", "open", "closed", "rich")}
    for code in ("frozen", "closed"):
        api.done(f"/v1/accounts/{ids[code]}/{'freeze' if code == 'frozen' else 'close'}")
    rich = api.done("/v1/journal-entries", transfer("xrich", "cash", 5))
    reversed_ = api.done("/v1/journal-entries", transfer("cash", "xopen", 3))
    reversal = api.done(f"/v1/journal-entries/{reversed_['id']}/reverse")
    poor, full, cash = (rich_id(api, code) for code in ("poor", "full", "cash"))
    account = {"book": "main", "type": "asset", "currency": "EUR"}

    cases: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
        ("/v1/accounts", {**account, "book": "none", "code": "x"}, {"code": "book_not_found"}),
        ("/v1/books", {"code": "other"}, {"code": "book_code_taken", "book_id": book}),
        ("/v1/accounts", {**account, "code": "clearing:x"}, {"code": "account_code_reserved"}),
        ("/v1/accounts", {**account, "code": "cash"}, {"code": "account_code_taken", "account_id": cash}),
        (
            f"/v1/accounts/acc_{NOWHERE}/freeze",
            {},
            {"code": "account_not_found", "account_id": f"acc_{NOWHERE}"},
        ),
        (
            "/v1/journal-entries",
            transfer("cash", "xfrozen", 1),
            {"code": "account_frozen", "account_id": ids["frozen"], "transient": True},
        ),
        (f"/v1/accounts/{ids['open']}/unfreeze", {}, {"code": "account_not_frozen", "account_id": ids["open"]}),
        ("/v1/journal-entries", transfer("cash", "xclosed", 1), {"code": "account_closed"}),
        (
            f"/v1/accounts/{ids['rich']}/close",
            {},
            {
                "code": "account_not_empty",
                "account_id": ids["rich"],
                "currency": "EUR",
                "balance": 5,
                "pending_debits": 0,
                "pending_credits": 0,
                "transient": True,
            },
        ),
        (
            "/v1/accounts",
            {**account, "code": "y", "floor": 6, "ceiling": 5},
            {"code": "limits_contradict", "lowest": 6, "ceiling": 5},
        ),
        (
            "/v1/journal-entries",
            transfer("cash", "usd", 1),
            {"code": "currency_mismatch", "currency": "EUR", "account_currency": "USD"},
        ),
        (
            "/v1/journal-entries",
            {
                "book": "main",
                "postings": [
                    {"account": "cash", "side": "debit", "amount": AMOUNT_MAX, "currency": "EUR"},
                    {"account": "cash", "side": "credit", "amount": 1, "currency": "EUR"},
                ],
            },
            {"code": "entry_unbalanced", "currency": "EUR", "debits": AMOUNT_MAX, "credits": 1},
        ),
        (
            "/v1/journal-entries",
            transfer("cash", "poor", 7),
            {
                "code": "insufficient_funds",
                "account_id": poor,
                "currency": "EUR",
                "requested": 7,
                "available": 0,
                "limit": "overdraft_limit",
                "limit_value": 0,
                "transient": True,
            },
        ),
        (
            "/v1/journal-entries",
            transfer("full", "cash", 11),
            {
                "code": "ceiling_exceeded",
                "account_id": full,
                "currency": "EUR",
                "requested": 11,
                "room": 10,
                "ceiling": 10,
                "transient": True,
            },
        ),
        ("/v1/journal-entries", too_much(api), {"code": "total_too_large"}),
        (
            f"/v1/journal-entries/je_{NOWHERE}/reverse",
            {},
            {"code": "entry_not_found", "entry_id": f"je_{NOWHERE}"},
        ),
        (
            f"/v1/journal-entries/{reversed_['id']}/reverse",
            {},
            {
                "code": "entry_already_reversed",
                "entry_id": reversed_["id"],
                "reversed_by_entry_id": reversal["id"],
            },
        ),
        (
            f"/v1/journal-entries/{reversal['id']}/reverse",
            {},
            {"code": "entry_is_reversal", "entry_id": reversal["id"]},
        ),
        *refused_holds(api, cash),
        *refused_entries(api, {"cash": cash, "poor": poor, "usd": rich_id(api, "usd")}),
        *refused_payments(api, database),
        *refused_escrows(api, cash),
        (
            f"/v1/accounts/{poor}/limits",
            {"overdraft_limit": 0, "effective_at": "2020-01-01T01:00:00+01:00"},
            {"code": "limits_in_past", "account_id": poor, "effective_at": "2020-01-01T00:00:00.000000Z"},
        ),
        (
            "/v1/batches",
            {
                "book": "main",
                "mode": "atomic",
                "commands": [
                    {"command": "open_book", "arguments": {"code": "third"}},
                    {"command": "post_entry", "arguments": transfer("cash", "poor", 7)},
                ],
            },
            {
                "code": "batch_refused",
                "index": 1,
                "refusal": "insufficient_funds",
                "because": {
                    "account_id": poor,
                    "currency": "EUR",
                    "requested": 7,
                    "available": 0,
                    "limit": "overdraft_limit",
                    "limit_value": 0,
                },
                "transient": True,
            },
        ),
    ]
    for path, body, expected in cases:
        response = api.ask(path, body)

        problem = problem_of(response)
        assert problem == {**problem, "transient": False, **expected}
        assert response.status_code == STATUS[REFUSALS[expected["code"]]]
        assert int(response.headers["daybook-position"]) > rich["position"]
    to_itself = {PaymentAnswerKnown.code, PaymentNotDue.code, PaymentUndecided.code}
    of_reads = {OperationNotFound.code, SettlementNotFound.code}
    assert {expected["code"] for _, _, expected in cases} == set(REFUSALS) - to_itself - of_reads


def refused_holds(api: Caller, cash: str) -> list[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Each refusal about holds, on holds that are made here."""
    now = datetime.now(UTC)
    soon, late = instant(now + timedelta(seconds=0.5)), instant(now + timedelta(days=1))
    ended, short, open_ = (
        api.done("/v1/holds", hold("cash", "xopen", 5, expires_at=at))["id"] for at in (None, soon, late)
    )
    api.done(f"/v1/holds/{ended}/capture")
    until(lambda: datetime.now(UTC) > now + timedelta(seconds=0.6))
    return [
        (f"/v1/holds/hold_{NOWHERE}/void", {}, {"code": "hold_not_found", "hold_id": f"hold_{NOWHERE}"}),
        (f"/v1/holds/{ended}/void", {}, {"code": "hold_ended", "hold_id": ended, "ended": "captured"}),
        (f"/v1/holds/{short}/capture", {}, {"code": "hold_expired", "hold_id": short, "expires_at": soon}),
        (
            f"/v1/holds/{open_}/expire",
            {},
            {"code": "hold_not_due", "hold_id": open_, "expires_at": late, "transient": True},
        ),
        (
            "/v1/holds",
            hold("cash", "xopen", 5, expires_at="2020-01-01T01:00:00+01:00"),
            {"code": "hold_expires_in_past", "expires_at": "2020-01-01T00:00:00.000000Z"},
        ),
        ("/v1/holds", hold("cash", "cash", 5), {"code": "hold_to_same_account", "account_id": cash}),
        (
            f"/v1/holds/{open_}/capture",
            {"amount": 6},
            {"code": "capture_exceeds_hold", "hold_id": open_, "currency": "EUR", "requested": 6, "remaining": 5},
        ),
    ]


def refused_entries(api: Caller, ids: dict[str, str]) -> list[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Each refusal about conditions, splits and exchanges."""
    api.account("debt", "liability")
    debt = rich_id(api, "debt")

    def split(amount: int, sources: list[str], *fixed: int) -> dict[str, Any]:
        destinations = [{"account": "xopen", "amount": each} for each in fixed]
        return {
            "book": "main",
            "split": {
                "amount": amount,
                "currency": "EUR",
                "sources": [{"account": source} for source in sources],
                "destinations": destinations,
            },
        }

    conditional = transfer("cash", "xopen", 1)
    conditional["postings"][0]["if_version"] = 0
    exchange = {
        "source": {"account": "cash", "position_account": "xopen"},
        "destination": {"account": "usd", "position_account": "usd"},
        "amount": 1,
        "rate": "0.4",
    }
    path = "/v1/journal-entries"
    return [
        (
            path,
            conditional,
            {
                "code": "condition_failed",
                "account_id": ids["cash"],
                "condition": "if_version",
                "expected": 0,
                "transient": True,
            },
        ),
        (
            path,
            split(5, ["poor"], 5),
            {"code": "sources_insufficient", "currency": "EUR", "requested": 5, "available": 0, "transient": True},
        ),
        (path, split(5, ["cash", "debt"], 5), {"code": "sources_differ", "account_ids": [ids["cash"], debt]}),
        (
            path,
            split(5, ["cash"], 3, 1),
            {"code": "split_impossible", "currency": "EUR", "amount": 5, "assigned": 4},
        ),
        (
            path,
            {"book": "main", "exchange": exchange},
            {"code": "conversion_too_small", "currency": "EUR", "amount": 1, "rate": "0.4"},
        ),
        (
            path,
            {"book": "main", "exchange": {**exchange, "amount": AMOUNT_MAX, "rate": "1.1"}},
            {"code": "amount_too_large", "currency": "USD", "maximum": AMOUNT_MAX},
        ),
        (
            path,
            {"book": "main", "exchange": {**exchange, "destination": exchange["source"]}},
            {"code": "exchange_within_currency", "currency": "EUR"},
        ),
    ]


def refused_payments(api: Caller, database: str) -> list[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Each refusal about payments, on payments that are made here, and what rails say of them."""
    card = {"type": "card", "token": "tok_visa", "brand": "visa", "last4": "4242", "expires": "2030-12"}
    wanted = {"book": "main", "account": "cash", "amount": 30, "currency": "EUR"}
    taken = {**wanted, "method": card, "capture": "manual", "confirm": True}
    intent = api.done("/v1/payments", wanted)["id"]
    busy, lost, promised, captured = (api.done("/v1/payments", taken)["id"] for _ in range(4))
    mine = api.done("/v1/payments", {**taken, "approvals": 2})["id"]
    anns = api.done("/v1/payments", {**taken, "approvals": 2}, **{"Daybook-Actor": "ann"})["id"]
    api.done(f"/v1/payments/{anns}/approve")
    eves = [{"currency": "EUR", "above": 100, "approvals": 1, "approvers": ["eve"]}]
    api.done("/v1/books/main/payment-policy", {"approvals": eves})
    named = api.done("/v1/payments", {**taken, "amount": 101}, **{"Daybook-Actor": "ann"})["id"]
    asked = {payment: begun(database, payment) for payment in (busy, lost, promised, captured)}
    by_daybook(database, RecordSilence(**asked[lost], why="no answer"))
    held = done(database, asked[promised], 30)
    done(database, asked[captured], 30)
    claimed = api.done(f"/v1/payments/{captured}/capture")["requests"][-1]["id"]
    done(database, {**asked[captured], "request_id": claimed}, 30)
    hold_id = id_rules.show(id_rules.HOLD, next(one.hold_id for one in held.requests.values() if one.hold_id))
    nobody, never = f"pay_{NOWHERE}", "0" * 22
    return [
        (f"/v1/payments/{nobody}/confirm", {}, {"code": "payment_not_found", "payment_id": nobody}),
        (
            "/v1/payments",
            {**wanted, "expires_at": "2020-01-01T01:00:00+01:00"},
            {"code": "payment_expires_in_past", "expires_at": "2020-01-01T00:00:00.000000Z"},
        ),
        (
            f"/v1/payments/{intent}/confirm",
            {},
            {
                "code": "payment_status_forbids",
                "payment_id": intent,
                "payment_status": "requires_payment_method",
                "operation": "confirm",
            },
        ),
        (
            "/v1/payments",
            {**wanted, "direction": "out", "method": card},
            {"code": "payment_method_unfit", "rail": "card", "direction": "out"},
        ),
        (
            f"/v1/payments/{lost}/cancel",
            {},
            {"code": "payment_outcome_unknown", "payment_id": lost, "transient": True},
        ),
        (
            f"/v1/payments/{busy}/cancel",
            {},
            {"code": "payment_busy", "payment_id": busy, "operation": "authorize", "transient": True},
        ),
        (
            f"/v1/payments/{promised}/capture",
            {"amount": 31},
            {
                "code": "payment_amount_exceeded",
                "payment_id": promised,
                "of": "authorized",
                "requested": 31,
                "left": 30,
            },
        ),
        (
            f"/v1/payments/{mine}/approve",
            {},
            {"code": "payment_approver_is_maker", "payment_id": mine, "approver": "tester"},
        ),
        (
            f"/v1/payments/{named}/approve",
            {},
            {"code": "payment_approver_not_named", "payment_id": named, "approver": "tester"},
        ),
        (
            "/v1/payments",
            {**wanted, "amount": 101, "approvals": 2},
            {"code": "payment_approvers_too_few", "approvals": 2, "approvers": 1},
        ),
        (
            f"/v1/payments/{anns}/approve",
            {},
            {"code": "payment_approval_not_wanted", "payment_id": anns, "approver": "tester"},
        ),
        (
            f"/v1/payments/{captured}/refund",
            {"capture": never},
            {"code": "payment_request_not_found", "payment_id": captured, "rail_request_id": never},
        ),
        (
            f"/v1/holds/{hold_id}/void",
            {},
            {"code": "hold_of_payment", "hold_id": hold_id, "payment_id": promised},
        ),
        *refused_afterwards(api, captured, claimed),
    ]


def refused_afterwards(api: Caller, payment: str, request: str) -> list[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Each refusal about what comes after a payment of which 30 are captured, disputed in two parts here."""
    of_it = {"said": "disputed", "payment_id": payment, "request_id": request, "operation": "capture", "amount": 10}
    lines = [{**of_it, "reference": ref, "respond_by": "2026-01-01T00:00:00Z"} for ref in ("late", "accepted")]
    report = {"book": "main", "rail": "card", "route": "acquirer-1", "day": "2026-01-30", "currency": "EUR"}
    settlement = api.done("/v1/settlements", {**report, "lines": lines})["id"]
    payment_id = id_rules.parse(id_rules.PAYMENT, payment)
    late, accepted, never = (
        id_rules.show(id_rules.DISPUTE, id_rules.dispute_id(payment_id, ref)) for ref in ("late", "accepted", "never")
    )
    disputes, evidence = f"/v1/payments/{payment}/disputes", {"evidence": {"receipt": "Paid"}}
    api.done(f"{disputes}/{accepted}/accept")
    return [
        (
            "/v1/settlements",
            {**report, "lines": lines},
            {"code": "settlement_recorded_already", "settlement_id": settlement},
        ),
        (f"{disputes}/{never}/accept", {}, {"code": "dispute_not_found", "dispute_id": never}),
        (
            f"{disputes}/{accepted}/contest",
            evidence,
            {
                "code": "dispute_state_forbids",
                "dispute_id": accepted,
                "dispute_state": "accepted",
                "operation": "contest",
            },
        ),
        (
            f"{disputes}/{late}/contest",
            evidence,
            {"code": "dispute_answer_late", "dispute_id": late, "respond_by": "2026-01-01T00:00:00.000000Z"},
        ),
        (
            f"/v1/payments/{payment}/requests/{request}/resolve",
            {"outcome": "failed", "reason": "I think so"},
            {
                "code": "payment_outcome_not_open",
                "payment_id": payment,
                "rail_request_id": request,
                "request_state": "done",
            },
        ),
    ]


def refused_escrows(api: Caller, cash: str) -> list[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Each refusal about escrows, on escrows that are made here: by Ann but for one."""
    now = datetime.now(UTC)
    soon, late = instant(now + timedelta(seconds=0.5)), instant(now + timedelta(days=1))
    attesters = {"keys": "tester", "lift": "eve"}

    def escrow(*parts: dict[str, Any], **said: Any) -> dict[str, Any]:
        named = [name for part in parts for name in part["release"].get("conditions", [])]
        return {
            "book": "main",
            "depositor": "cash",
            "beneficiary": "xopen",
            "amount": sum(part["amount"] for part in parts),
            "currency": "EUR",
            "expires_at": late,
            "conditions": [{"name": name, "by": [attesters[name]]} for name in named],
            "parts": parts,
            **said,
        }

    both = {"approvals": 2, "approvers": ["tester", "eve"]}
    deposit = {"name": "deposit", "amount": 10, "release": {"conditions": ["keys"]}}
    rest = {"name": "rest", "amount": 20, "release": {"conditions": ["lift"], **both}}
    fee = {"name": "fee", "amount": 5, "release": {"approvals": 1, "approvers": ["eve"]}}
    mine = api.done("/v1/escrows", escrow(rest))["id"]
    anns, ended, short = (
        api.done("/v1/escrows", body, **{"Daybook-Actor": "ann"})["id"]
        for body in (escrow(deposit, rest, fee), escrow(deposit), escrow(fee, expires_at=soon))
    )
    for one in (anns, ended):
        api.done(f"/v1/escrows/{one}/conditions", {"condition": "keys"})
    api.done(f"/v1/escrows/{anns}/approve", {"part": "rest"})
    until(lambda: datetime.now(UTC) > now + timedelta(seconds=0.6))
    held = id_rules.show(id_rules.ACCOUNT, id_rules.account_id(id_rules.book_id("main"), "escrow:EUR"))
    nobody, path = f"esc_{NOWHERE}", f"/v1/escrows/{anns}"
    return [
        (f"/v1/escrows/{nobody}/release", {}, {"code": "escrow_not_found", "escrow_id": nobody}),
        (f"/v1/escrows/{ended}/release", {}, {"code": "escrow_ended", "escrow_id": ended, "ended": "released"}),
        (f"/v1/escrows/{short}/release", {}, {"code": "escrow_expired", "escrow_id": short, "expires_at": soon}),
        (
            f"{path}/expire",
            {},
            {"code": "escrow_not_due", "escrow_id": anns, "expires_at": late, "transient": True},
        ),
        (
            "/v1/escrows",
            escrow(fee, expires_at="2020-01-01T01:00:00+01:00"),
            {"code": "escrow_expires_in_past", "expires_at": "2020-01-01T00:00:00.000000Z"},
        ),
        (
            "/v1/escrows",
            escrow(fee, beneficiary="cash"),
            {"code": "escrow_to_same_account", "account_id": cash},
        ),
        (
            f"{path}/approve",
            {"part": "none"},
            {"code": "escrow_part_not_found", "escrow_id": anns, "part": "none"},
        ),
        (
            f"{path}/approve",
            {"part": "deposit"},
            {"code": "escrow_part_ended", "escrow_id": anns, "part": "deposit"},
        ),
        (
            f"{path}/release",
            {},
            {"code": "escrow_not_ready", "escrow_id": anns, "parts": ["rest", "fee"], "transient": True},
        ),
        (
            f"{path}/return",
            {"part": "rest", "amount": 21},
            {
                "code": "escrow_amount_exceeded",
                "escrow_id": anns,
                "part": "rest",
                "currency": "EUR",
                "requested": 21,
                "left": 20,
            },
        ),
        (
            f"{path}/conditions",
            {"condition": "none"},
            {"code": "escrow_condition_not_found", "escrow_id": anns, "condition": "none"},
        ),
        (
            f"{path}/conditions",
            {"condition": "keys"},
            {"code": "escrow_condition_met", "escrow_id": anns, "condition": "keys"},
        ),
        (
            f"{path}/conditions",
            {"condition": "lift"},
            {"code": "escrow_attester_unfit", "escrow_id": anns, "condition": "lift", "attester": "tester"},
        ),
        (
            f"{path}/approve",
            {"part": "fee"},
            {"code": "escrow_approver_unfit", "escrow_id": anns, "approver": "tester"},
        ),
        (
            f"/v1/escrows/{mine}/approve",
            {"part": "rest"},
            {"code": "escrow_approver_is_maker", "escrow_id": mine, "approver": "tester"},
        ),
        (
            f"{path}/approve",
            {"part": "rest"},
            {"code": "escrow_approved_before", "escrow_id": anns, "approver": "tester"},
        ),
        (
            "/v1/journal-entries",
            transfer("escrow:EUR", "xopen", 1),
            {"code": "account_holds_escrows", "account_id": held},
        ),
    ]


def begun(database: str, payment: str) -> dict[str, Any]:
    """What a rail is asked first for a confirmed payment, as its answers name it."""
    payment_id = id_rules.parse(id_rules.PAYMENT, payment)
    begun = by_daybook(database, StartAttempt(payment_id=payment_id, route="acquirer-1", votes=HEARD)).payment
    assert begun is not None and begun.attempt is not None
    return {"payment_id": payment_id, "request_id": begun.attempt.id}


def done(database: str, asked: dict[str, Any], amount: int) -> Payment:
    """The payment after a rail has done what it was asked."""
    said = RecordApproval(**asked, reference="R1", amount=amount, currency="EUR", code="00")
    known = by_daybook(database, said).payment
    assert known is not None
    return known


def rich_id(api: Caller, code: str) -> str:
    """The id of the account with that code, from its refusal to be opened twice."""
    taken = api.ask("/v1/accounts", {"book": "main", "code": code, "type": "asset", "currency": "EUR"})
    account_id: str = taken.json()["account_id"]
    return account_id


def too_much(api: Caller) -> dict[str, Any]:
    """An entry past what an account can add up, after as many as it can."""
    api.account("huge")
    half = [{"account": "huge", "side": "debit", "amount": AMOUNT_MAX, "currency": "EUR"}] * 500
    entry = {"book": "main", "postings": half + [{**line, "side": "credit"} for line in half]}
    api.done("/v1/journal-entries", entry)
    api.done("/v1/journal-entries", entry)
    return entry


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/v1/accounts/cash/freeze", "account_not_found"),
        (f"/v1/accounts/je_{NOWHERE}/unfreeze", "account_not_found"),
        (f"/v1/accounts/acc_8{NOWHERE[1:]}/close", "account_not_found"),
        (f"/v1/accounts/acc_{NOWHERE}0/close", "account_not_found"),
        ("/v1/accounts/acc_%00/close", "account_not_found"),
        ("/v1/accounts/%ff%fe/close", "account_not_found"),
        (f"/v1/journal-entries/acc_{NOWHERE}/reverse", "entry_not_found"),
        ("/v1/journal-entries/1 or 1=1/reverse", "entry_not_found"),
        (f"/v1/payments/hold_{NOWHERE}/confirm", "payment_not_found"),
        (f"/v1/payments/pay_8{NOWHERE[1:]}/approve", "payment_not_found"),
        ("/v1/payments/%00/refund", "payment_not_found"),
    ],
)
def test_a_path_with_what_is_no_id(api: Caller, path: str, code: str) -> None:
    """
    What is no id of the kind names nothing.
    """
    response = api.ask(path)

    assert response.status_code == 404
    assert problem_of(response) == {"code": code, "transient": False}


def test_no_such_path_and_no_such_method(api: Caller) -> None:
    """
    An unknown path is 404; a method the path does not have is 405 and told which ones it has.
    """
    for path in ("/", "/v1", "/v1/book", "/v1/books/", "/v1//books", "/V1/books", "/v1/books/../books2", "/%2e%2e"):
        assert problem_of(api.ask(path))["code"] == "path_not_found"
    for method, path, allowed in [
        ("PUT", "/v1/journal-entries", "GET, HEAD, POST"),
        ("GET", f"/v1/accounts/acc_{NOWHERE}/freeze", "POST"),
        ("POST", f"/v1/accounts/acc_{NOWHERE}", "GET, HEAD"),
        ("PATCH", "/livez", "GET, HEAD"),
    ]:
        response = api.request(method, path)

        assert response.status_code == 405
        assert problem_of(response)["code"] == "method_not_allowed"
        assert allowed == response.headers["allow"]


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/v1/books/nope!", 404, "book_not_found"),
        ("/v1/accounts/cash", 404, "account_not_found"),
        (f"/v1/accounts/je_{NOWHERE}/balance", 404, "account_not_found"),
        (f"/v1/accounts/acc_{NOWHERE}/balance", 404, "account_not_found"),
        (f"/v1/journal-entries/acc_{NOWHERE}", 404, "entry_not_found"),
        (f"/v1/journal-entries/je_{NOWHERE}", 404, "entry_not_found"),
        (f"/v1/escrows/esc_{NOWHERE}", 404, "escrow_not_found"),
        (f"/v1/settlements/set_{NOWHERE}", 404, "settlement_not_found"),
        (f"/v1/attempts/{'0' * 22}", 404, "operation_not_found"),
        ("/v1/journal-entries?account=cash", 400, "invalid_request"),
        (f"/v1/accounts/acc_{NOWHERE}?account=acc_{NOWHERE}", 400, "invalid_request"),
        ("/v1/accounts?colour=red", 400, "invalid_request"),
        ("/v1/accounts?limit=1_0", 400, "invalid_request"),
        ("/v1/accounts?min_position=999999&book=main", 503, "read_model_behind"),
    ],
)
def test_reads(api: Caller, path: str, status: int, code: str) -> None:
    """
    Reads say no in the same form; what a path names that is no id is not there, what a query asks so is wrong.
    """
    response = api.get(path)

    assert response.status_code == status
    assert problem_of(response)["code"] == code
    assert response.headers.get("retry-after") == ("1" if status == 503 else None)


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({}, "idempotency_key_missing"),
        ({"Idempotency-Key": ""}, "idempotency_key_invalid"),
        ({"Idempotency-Key": "k" * 256}, "idempotency_key_invalid"),
        ({"Idempotency-Key": "a\tb"}, "idempotency_key_invalid"),
        ({"Idempotency-Key": "\u00e9"}, "idempotency_key_invalid"),
        ([("Idempotency-Key", "a"), ("Idempotency-Key", "b")], "idempotency_key_invalid"),
        ({"Idempotency-Key": "k", "Daybook-Actor": ""}, "actor_invalid"),
        ({"Idempotency-Key": "k", "Daybook-Actor": "x" * 256}, "actor_invalid"),
        ([("Idempotency-Key", "k"), ("Daybook-Actor", "a"), ("Daybook-Actor", "b")], "actor_invalid"),
    ],
)
def test_headers_of_a_command(api: Caller, headers: Any, code: str) -> None:
    """
    A command says under which key and for whom it is asked, once and plainly.
    """
    given = [
        (name, value.encode("utf-8")) for name, value in (headers.items() if isinstance(headers, dict) else headers)
    ]

    response = api.post("/v1/books", json={"code": "b"}, headers=given)

    assert response.status_code == 400
    assert problem_of(response)["code"] == code


def test_an_actor_is_needed(api: Caller) -> None:
    """
    Nobody in particular cannot command.
    """
    del api.headers["Daybook-Actor"]

    response = api.ask("/v1/books", {"code": "b"})

    assert (response.status_code, problem_of(response)["code"]) == (400, "actor_missing")


def test_longest_key_and_actor(api: Caller) -> None:
    """
    255 printable characters are a key, and an actor.
    """
    response = api.ask("/v1/books", {"code": "b"}, key="~" * 255, daybook_actor="a b" * 85)

    assert response.status_code == 201


def test_fields_at_fault(api: Caller) -> None:
    """
    Each field at fault is named by its JSON pointer, without its value; a stranger's own name is cut short.
    """
    long = "/~" * 1000
    posting = {"account": "cash", "side": "left", "amount": 0, "currency": "XXX"}
    body = {"book": "main", "postings": [posting, {}], "value_date": "2026-02-30", long: "x" * 10_000}

    response = api.ask("/v1/journal-entries", body)

    problem = problem_of(response)
    assert (response.status_code, problem["code"]) == (400, "invalid_request")
    assert {error["field"]: error["code"] for error in problem["errors"]} == {
        "/postings/0/side": "enum",
        "/postings/0/amount": "greater_than_equal",
        "/postings/0/currency": "value_error",
        "/postings/1/account": "missing",
        "/postings/1/side": "missing",
        "/postings/1/amount": "missing",
        "/postings/1/currency": "missing",
        "/value_date": "date_from_datetime_parsing",
        "/" + "~1~0" * 50: "extra_forbidden",
    }
    assert all(error["message"] for error in problem["errors"])
    assert len(response.content) < 4000


def test_many_faults_are_told_briefly(api: Caller) -> None:
    """
    However much is wrong, the answer stays short.
    """
    response = api.ask("/v1/journal-entries", {"book": "main", "postings": [{}] * 1000})

    assert len(problem_of(response)["errors"]) == 20


def test_a_path_is_not_contradicted(api: Caller) -> None:
    """
    What the path names is not named again in the body.
    """
    other = rich_id(api, "cash")

    for name in ("account_id", "account"):
        response = api.ask(f"/v1/accounts/{other}/freeze", {name: other})

        assert response.status_code == 400
        assert problem_of(response)["errors"][0]["field"] == f"/{name}"


def test_a_fault_of_ours_before_anything_is_done(api: Caller, database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A fault in deciding is a 500 that tells nothing and changes nothing; it is logged with all there is to know.
    """
    position = head(database)

    def fail(*_: Any) -> Any:
        raise RuntimeError("SELECT secret FROM /etc/passwd")

    with monkeypatch.context() as patched, capture_logs() as lines:
        patched.setattr(OpenBook, "decide", fail)
        response = api.ask("/v1/books", {"code": "b"}, key="k")

    assert response.status_code == 500
    assert problem_of(response) == {"code": "internal", "transient": False}
    assert head(database) == position
    assert "secret" in str(next(line["exc_info"] for line in lines if line["event"] == "desk.command_failed"))
    assert api.ask("/v1/books", {"code": "b"}, key="k").status_code == 201


def test_a_fault_of_ours_after_it_is_done(api: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A fault in answering does not lose the answer: it is had by asking again with the same key.
    """
    with monkeypatch.context() as patched:
        patched.setattr(book_api, "instant", None)
        response = api.ask("/v1/books", {"code": "b"}, key="k")
    again = api.ask("/v1/books", {"code": "b"}, key="k")

    assert (response.status_code, problem_of(response)["code"]) == (500, "internal")
    assert (again.status_code, again.headers["idempotency-replayed"]) == (201, "true")
