"""A policy, the validators' quorum and four eyes over HTTP, with simulated rails that would do what they are asked."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from adapters.rails.wiring import simulated
from tests.serving import Caller, head, serving, transfer
from tests.simulating import Simulation, simulating

CARD = {"type": "card", "token": "tok_visa", "brand": "visa", "last4": "4242", "expires": "2030-12"}
IBAN = {"type": "iban", "iban": "DE89370400440532013000", "bic": "COBADEFFXXX", "holder": "A. Payee", "country": "DE"}
UPI = {"type": "upi", "vpa": "asha@okbank"}
POLICY = {
    "approvals": [
        {"currency": "EUR", "direction": None, "above": 1_000_00, "approvals": 2, "approvers": ["ann", "bob", "cleo"]}
    ],
    "limits": [
        {"currency": "EUR", "direction": "out", "method": "iban", "amount_min": None, "amount_max": 500_00},
    ],
    "rule": {"mode": "at_least", "count": 5, "required": ["limits", "sanctions"]},
}
OF_BOOK = "/v1/books/main/payment-policy"
VALIDATE = "/v1/consensus/validate"


class Counter(Caller):
    """Who pays, and sets the policy for it."""

    def pay(self, amount: int, *, actor: str = "ann", wait: int = 10, **said: Any) -> dict[str, Any]:
        """A payment, as far as it gets in so many seconds."""
        return self.done(
            "/v1/payments", {**wanted(amount, **said), "confirm": True}, **by(actor), Prefer=f"wait={wait}"
        )

    def story(self, payment: dict[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = self.get(f"/v1/payments/{payment['id']}").json()
        return found

    def approve(self, payment: dict[str, Any], actor: str, wait: int = 0) -> str:
        """The status that it leaves, or why not."""
        answer = self.ask(f"/v1/payments/{payment['id']}/approve", **by(actor), Prefer=f"wait={wait}").json()
        said: str = answer["code"] if "code" in answer else answer["status"]
        return said

    def validate(self, body: dict[str, Any]) -> dict[str, Any]:
        """As Ann; without an Idempotency-Key."""
        answer = self.post(VALIDATE, json=body, headers=by("ann"))
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found


def by(actor: str) -> dict[str, str]:
    return {"Daybook-Actor": actor}


def wanted(amount: int, **said: Any) -> dict[str, Any]:
    return {"book": "main", "account": "merchant", "amount": amount, "currency": "EUR", "method": CARD, **said}


OUT: dict[str, Any] = {"direction": "out", "method": IBAN}


def verdicts(validation: dict[str, Any]) -> dict[str, str]:
    return {vote["validator"]: f"{vote['verdict']}: {vote['reason']}" for vote in validation["votes"]}


@pytest.fixture
def rails(tmp_path: Path) -> Iterator[Simulation]:
    with simulating(tmp_path / "books.jsonl") as simulation:
        yield simulation


@pytest.fixture
def counter(database: str, rails: Simulation) -> Iterator[Counter]:
    wiring = simulated(rails.http, cards=int(rails.rails["card"].rpartition(":")[2]))
    with serving(database, wiring=wiring) as base_url, Counter(base_url) as found:
        found.done("/v1/books", {"code": "main"})
        for code, type in (("merchant", "liability"), ("bank", "asset")):
            found.account(code, type, **({"overdraft_limit": 0} if code == "merchant" else {}))
        found.done("/v1/journal-entries", transfer("bank", "merchant", 2_000_00))
        found.done(OF_BOOK, POLICY)
        yield found


def test_a_small_payment_passes(counter: Counter) -> None:
    """
    Nobody need approve it; every vote is in its story, beside what the rail then did.
    """
    paid = counter.story(counter.pay(10_00))

    assert paid["status"] == "succeeded"
    validation = paid["validation"]
    assert (validation["passed"], validation["rule"]) == (True, POLICY["rule"])
    assert verdicts(validation) == {
        "approval": "allow: no_approval_needed",
        "funds": "allow: money_comes_in",
        "limits": "allow: no_limit",
        "mandate": "allow: no_mandate_needed",
        "risk": "allow: not_looked_at",
        "sanctions": "allow: not_looked_at",
    }
    assert {vote["validator"] for vote in validation["votes"] if vote.get("placeholder")} == {"risk", "sanctions"}


def test_a_large_one_needs_two_of_three_and_no_maker(counter: Counter, rails: Simulation) -> None:
    """
    Ann made it and Cleo confirmed it: neither is one of the two, though both are named; Eve is not named.
    """
    made = counter.done("/v1/payments", wanted(1_000_01), **by("eve"))
    confirmed = counter.done(f"/v1/payments/{made['id']}/confirm", **by("cleo"))
    assert (confirmed["status"], confirmed["approvals_required"]) == ("requires_approval", 2)
    assert confirmed["approvers"] == ["ann", "bob", "cleo"]

    beforehand = counter.validate({"payment": made["id"]})
    assert (beforehand["passed"], beforehand["why"]) == (False, "approval denies: approvals_missing")

    answers = [counter.approve(made, who) for who in ("cleo", "eve", "ann", "ann", "dan")]
    assert answers == [
        "payment_approver_is_maker",
        "payment_approver_is_maker",
        "requires_approval",
        "payment_approval_not_wanted",
        "payment_approver_not_named",
    ]
    assert rails.effects("card") == []
    assert counter.approve(made, "bob", wait=10) == "succeeded"
    story = counter.story(made)
    [vote] = [vote for vote in story["validation"]["votes"] if vote["validator"] == "approval"]
    assert vote["details"] == {"required": 2, "given": ["ann", "bob"]}


def test_a_payout_above_the_limit_is_denied_as_the_dry_run_said(
    counter: Counter, rails: Simulation, database: str
) -> None:
    """
    The same votes before it is created, once it is there, and when it is denied; no rail hears of it, nothing is set
    aside, and with less to pay it goes out.
    """
    before = head(database)
    thought = counter.validate(wanted(500_01, **OUT))
    assert head(database) == before
    denied = counter.story(counter.pay(500_01, **OUT))

    assert (thought["passed"], thought["why"]) == (False, "limits denies: above_amount_max")
    assert thought["payment"] is None
    assert denied["status"] == "requires_payment_method"
    validation = {name: denied["validation"][name] for name in ("rule", "votes", "passed", "why")}
    assert validation == {name: thought[name] for name in validation}
    assert verdicts(validation)["limits"] == "deny: above_amount_max"
    assert (denied["requests"], denied["holds"], rails.effects("wire")) == ([], [], [])
    assert counter.pay(500_00, **OUT)["status"] in ("processing", "succeeded")
    assert counter.validate(wanted(500_00, **OUT))["passed"]


def test_what_upi_does_not_take_at_once_is_denied(counter: Counter, rails: Simulation) -> None:
    """
    Above a lakh no rail is asked; the dry run said so, the numbers are in the vote, and a lakh is taken.
    """
    counter.account("rupees", "liability", currency="INR")
    upi: dict[str, Any] = {"account": "rupees", "currency": "INR", "method": UPI}

    thought = counter.validate(wanted(1_00_000_01, **upi))
    denied = counter.story(counter.pay(1_00_000_01, **upi))

    assert (thought["passed"], thought["why"]) == (False, "limits denies: above_rail_limit")
    assert (denied["status"], denied["requests"], rails.effects("upi")) == ("requires_payment_method", [], [])
    assert denied["validation"]["votes"] == thought["votes"]
    [vote] = [vote for vote in thought["votes"] if vote["validator"] == "limits"]
    numbers = {"amount": 1_00_000_01, "amount_min": None, "amount_max": None, "rail_limit": 1_00_000_00}
    assert vote["details"] == numbers
    assert counter.pay(1_00_000_00, **upi)["status"] == "succeeded"


def test_a_payout_that_is_not_covered_is_denied(counter: Counter) -> None:
    """
    Whatever the rule: four others allow it, and one that is not there to be paid is not paid.
    """
    for _ in range(4):
        counter.pay(500_00, **OUT)

    denied = counter.story(counter.pay(1, **OUT))

    assert denied["validation"]["why"] == "funds denies: insufficient_funds"
    [vote] = [vote for vote in denied["validation"]["votes"] if vote["validator"] == "funds"]
    assert vote["details"] == {"amount": 1, "available": 0}
    assert denied["waits_for"]["what"] == "attach_method"


def test_a_policy_is_read_replaced_and_on_record(counter: Counter) -> None:
    """
    What is in force is read back; what was before is in the audit trail and the log; under one key it is set once.
    """
    first = counter.get(OF_BOOK).json()
    again = counter.ask(OF_BOOK, {"limits": []}, key="second", **by("dan"))
    replayed = counter.ask(OF_BOOK, {}, key="second", **by("dan"))
    other = counter.ask(OF_BOOK, POLICY, key="second", **by("dan"))
    second = counter.get(OF_BOOK).json()

    assert {name: first[name] for name in POLICY} == POLICY
    assert (first["set_by"], first["version"]) == ("tester", 2)
    assert (again.status_code, again.json()) == (200, second)
    assert (replayed.headers["idempotency-replayed"], replayed.json()) == ("true", second)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    assert (second["set_by"], second["version"], second["approvals"]) == ("dan", 3, [])
    assert second["rule"] == {"mode": "all", "required": []}
    records = counter.get("/v1/audit-trail", params={"event": "book.payment_policy_set.v1"}).json()["data"]
    assert [record["actor"] for record in records] == ["dan", "tester"]
    assert {record["book_id"] for record in records} == {first["book_id"]}
    events = counter.get("/v1/events", params={"kind": "book"}).json()["data"]
    assert [event["version"] for event in events] == [1, 2, 3]
    assert counter.get("/v1/books/nowhere/payment-policy").status_code == 404
    assert counter.ask("/v1/books/nowhere/payment-policy").json()["code"] == "book_not_found"
    assert counter.ask("/v1/books/no%20book/payment-policy").json()["code"] == "book_not_found"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"rule": {"mode": "all", "required": ["horoscope"]}}, "/rule/required/0"),
        ({"rule": {"mode": "weighted", "weights": {"luck": 3}, "threshold": 3}}, "/rule/weights/luck/[key]"),
        ({"rule": {"mode": "weighted", "weights": {"risk": 3}, "threshold": 4}}, "/rule"),
        ({"rule": {"mode": "at_least", "count": 7}}, "/rule/count"),
        ({"rule": {"mode": "most"}}, "/rule"),
        ({"approvals": [{"currency": "EUR", "above": 5, "approvals": 2, "approvers": ["ann"]}]}, "/approvals/0"),
        ({"approvals": [{"currency": "EUR", "above": 1.5, "approvals": 2}]}, ""),
        ({"limits": [{"currency": "XXQ", "amount_max": 5}]}, "/limits/0/currency"),
        ({"limits": [{"currency": "EUR", "amount_max": 0}]}, "/limits/0/amount_max"),
        ({"limits": "none"}, "/limits"),
        ({"book": "other"}, "/book"),
    ],
)
def test_a_policy_that_cannot_be_meant(counter: Counter, database: str, body: dict[str, Any], field: str) -> None:
    """
    It is told where it is wrong, and changes nothing.
    """
    before = head(database)

    answer = counter.ask(OF_BOOK, body)

    assert answer.status_code == 400
    assert [fault["field"] for fault in answer.json().get("errors", [{"field": ""}])] == [field]
    assert head(database) == before


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"payment": "pay_00000000000000000000000000"}, 404, "payment_not_found"),
        ({"payment": "acc_00000000000000000000000000"}, 400, "invalid_request"),
        ({"payment": "pay_00000000000000000000000000", "amount": 5}, 400, "invalid_request"),
        ({}, 400, "invalid_request"),
        ({**wanted(5), "method": None}, 400, "invalid_request"),
        ({**wanted(5), "votes": [{"validator": "risk", "verdict": "allow", "reason": "x"}]}, 400, "invalid_request"),
        (wanted(0), 400, "invalid_request"),
        (wanted(5, account="nobody"), 404, "account_not_found"),
        (wanted(5, book="nowhere"), 404, "account_not_found"),
        (wanted(5, currency="USD"), 422, "currency_mismatch"),
        (wanted(5, method=IBAN), 422, "payment_method_unfit"),
        (wanted(1_000_01, approvals=4), 422, "payment_approvers_too_few"),
    ],
)
def test_what_cannot_be_validated(counter: Counter, database: str, body: Any, status: int, code: str) -> None:
    """
    A question that makes no sense gets a clear no, and leaves nothing; nobody votes for validators by the body.
    """
    before = head(database)

    answer = counter.post(VALIDATE, json=body, headers=by("ann"))

    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert head(database) == before


def test_what_is_over_or_on_its_way_is_not_validated(counter: Counter) -> None:
    """
    Of a payment that was done there is nothing to ask any more, nor of one without a method.
    """
    done = counter.pay(10_00)
    bare = counter.done("/v1/payments", wanted(5, method=None))

    for payment in (done, bare):
        answer = counter.post(VALIDATE, json={"payment": payment["id"]}, headers=by("ann"))
        assert (answer.status_code, answer.json()["code"]) == (409, "payment_status_forbids")
    assert counter.post(f"{VALIDATE}?dry_run=true", json=wanted(5), headers=by("ann")).status_code == 400


def test_votes_are_counted(counter: Counter) -> None:
    """
    An operator sees what validators outside say, and whether they are heard at all.
    """
    counter.pay(10_00)

    families = text_string_to_metric_families(counter.get("/metrics").text)
    found = {
        (sample.labels["validator"], sample.labels["verdict"]): sample.value
        for family in families
        for sample in family.samples
        if sample.name == "daybook_votes_total"
    }
    assert found == {("risk", "allow"): 1, ("sanctions", "allow"): 1}
