"""What happens to payments once they are done, over HTTP: reports by hand, reversals, disputes, outcomes resolved.

No rail is asked anything here: what one would answer is put to a desk beside the server's, as Daybook itself does.
"""

from collections.abc import Iterator
from typing import Any

import pytest

from commands.payment import RecordSilence
from domain import ids
from tests.e2e.test_api_payments import BANK, CARD, Shop, approve, batch, begin, upon, uuid_of
from tests.serving import by_daybook, head, serving
from tests.support import books_of

SETTLEMENTS = "/v1/settlements"
DAY = "2026-01-30"
NOBODYS = ids.show(ids.DISPUTE, ids.book_id("main"))


@pytest.fixture
def shop(database: str) -> Iterator[Shop]:
    with serving(database) as base_url, Shop(base_url) as caller:
        caller.done("/v1/books", {"code": "main"})
        caller.account("merchant", "liability")
        yield caller
    books_of(database).check()


def collected(shop: Shop, database: str, amount: int = 1000) -> dict[str, Any]:
    """A payment that its bank has paid, as it is read."""
    payment = shop.pay(amount, method=BANK, confirm=True)
    approve(database, payment, begin(database, payment), amount)
    return read(shop, payment)


def found(shop: Shop, path: str) -> dict[str, Any]:
    response = shop.get(path)
    assert response.status_code == 200, response.text
    thing: dict[str, Any] = response.json()
    return thing


def read(shop: Shop, payment: dict[str, Any]) -> dict[str, Any]:
    return found(shop, f"/v1/payments/{payment['id']}")


def line(payment: dict[str, Any], said: str = "settled", nth: int = 0, **more: Any) -> dict[str, Any]:
    request = payment["requests"][nth]
    of_it = {"request_id": request["id"], "operation": request["operation"], "amount": request["amount"]}
    return {"said": said, "payment_id": payment["id"], **of_it, **more}


def report(*lines: dict[str, Any], rail: str = "ach", **said: Any) -> dict[str, Any]:
    whole = {"book": "main", "rail": rail, "route": "bank-1", "day": DAY, "currency": "EUR"}
    return {**whole, **said, "lines": list(lines)}


def balances(shop: Shop) -> dict[str, int]:
    data = shop.get("/v1/balances", params={"book": "main"}).json()["data"]
    return {one["code"]: one["balance"] for one in data}


def test_a_day_is_booked(shop: Shop, database: str) -> None:
    """
    What settled, what came back and what fits nothing, in one command; it is read with its entry, and the payment has
    what came of it.
    """
    payment = collected(shop, database)
    other = collected(shop, database, 300)

    made = shop.ask(
        SETTLEMENTS,
        report(
            line(payment, fee=12),
            line(other),
            line(other, "returned", reference="ret-1", code="R10", reason="unauthorized", message="Not authorized"),
            {"said": "settled", "request_id": "unheard of", "operation": "collect", "amount": 7},
            reference="file-7",
        ),
        key="day-1",
    )

    assert made.status_code == 201
    recorded = made.json()
    settlement = found(shop, made.headers["location"])
    assert settlement == {**recorded, "entry": settlement["entry"], "recorded_at": settlement["recorded_at"]}
    assert (recorded["incoming"], recorded["outgoing"], recorded["fees"], recorded["net"]) == (1300, 300, 12, 995)
    assert recorded["lines"] == {"settled": 2, "returned": 1} and recorded["breaks"][0]["moved"] == 7
    assert balances(shop) == {
        "merchant": 1000,
        "clearing:ach:EUR": 0,
        "settlement:ach:EUR": 995,
        "fees:ach:EUR": 12,
        "suspense:EUR": 7,
    }
    story = read(shop, other)
    assert (story["returned"], story["requests"][0]["settled_on"], story["requests"][0]["returned"]) == (300, DAY, 300)
    assert len(story["entries"]) == 2
    events = shop.get("/v1/events", params={"kind": "settlement"}).json()["data"]
    assert [event["stream"] for event in events] == [recorded["id"]]
    trail = shop.get("/v1/audit-trail", params={"stream": recorded["id"]}).json()["data"]
    assert [one["subject"] for one in trail] == [recorded["id"]]
    again = shop.ask(SETTLEMENTS, report(line(payment)), key="day-1 again")
    assert (again.status_code, again.json()["code"]) == (409, "settlement_recorded_already")
    assert again.json()["settlement_id"] == recorded["id"]


def test_a_reversal(shop: Shop, database: str) -> None:
    """
    All of it, once, and only while nothing of it has gone back; what goes out is set aside first.
    """
    payment, other = (collected(shop, database) for _ in range(2))
    shop.done(upon(other, "refund"), {"amount": 1})

    undone = shop.done(upon(payment, "reverse"), {"reason": "Sent twice"})
    twice = shop.ask(upon(payment, "reverse"), {})
    too_late = shop.ask(upon(other, "reverse"), {"request": other["requests"][0]["id"]})

    request = undone["requests"][-1]
    assert (request["operation"], request["amount"], request["state"]) == ("reverse", 1000, "requested")
    assert {one.json()["code"] for one in (twice, too_late)} == {"payment_amount_exceeded"}
    [hold] = read(shop, payment)["holds"]
    assert (hold["status"], hold["amount"]) == ("held", 1000)
    approve(database, payment, request["id"], 1000)
    story = read(shop, payment)
    assert (story["reversed"], story["status"], story["holds"][0]["status"]) == (1000, "succeeded", "captured")


def disputed(shop: Shop, database: str, part: int = 1, **said: Any) -> tuple[dict[str, Any], str]:
    """A payment by card of which 400 are disputed, and the dispute's id."""
    payment = shop.pay(method=CARD, confirm=True, capture="manual")
    approve(database, payment, begin(database, payment), 1000)
    captured = shop.done(upon(payment, "capture"))
    approve(database, payment, captured["requests"][-1]["id"], 1000)
    known = read(shop, payment)
    opened = line(known, "disputed", 1, amount=400, reference="case-1", reason="fraud", **said)
    shop.done(SETTLEMENTS, report(opened, rail="card", part=part))
    [dispute] = read(shop, payment)["disputes"]
    return known, dispute["id"]


def test_a_dispute_is_contested(shop: Shop, database: str) -> None:
    """
    The rail has taken the money back at once; it is answered in time, reviewed, and won.
    """
    payment, dispute = disputed(shop, database, respond_by="2999-01-01T00:00:00Z")
    before = read(shop, payment)
    unanswered = shop.get("/v1/disputes", params={"state": "needs_response", "respond_before": "2999-01-02T00:00:00Z"})
    contesting = f"disputes/{dispute}/contest"

    answered = shop.done(upon(payment, contesting), {"evidence": {"receipt": "Signed for\nby A. Payer"}})

    assert before["waits_for"]["what"] == "answer_dispute" and before["waits_for"]["until"].startswith("2999-01-01")
    assert [one["id"] for one in unanswered.json()["data"]] == [dispute]
    request = answered["requests"][-1]
    assert (request["operation"], request["amount"], request["dispute_id"]) == ("contest", 400, dispute)
    assert (before["disputed"], balances(shop)["merchant"]) == (400, 600)
    busy = shop.ask(upon(payment, f"disputes/{dispute}/accept"), {})
    assert (busy.status_code, busy.json()["code"]) == (409, "payment_busy")
    approve(database, payment, request["id"], 400)
    assert found(shop, f"/v1/disputes/{dispute}")["state"] == "under_review"
    too_late = shop.ask(upon(payment, contesting), {"evidence": {"receipt": "x"}})
    assert (too_late.status_code, too_late.json()["code"]) == (409, "dispute_state_forbids")
    won = line(payment, "dispute_won", 1, amount=400, reference="case-1")
    shop.done(SETTLEMENTS, report(won, rail="card", part=2))
    story = read(shop, payment)
    assert (story["disputed"], story["disputes"][0]["state"], balances(shop)["merchant"]) == (0, "won", 1000)


def test_a_dispute_is_accepted(shop: Shop, database: str) -> None:
    """
    By a word, once; what the rail says of it in the end is no news.
    """
    payment, dispute = disputed(shop, database)
    accepting = upon(payment, f"disputes/{dispute}/accept")

    accepted = shop.done(accepting, {})

    assert [one["state"] for one in accepted["disputes"]] == ["accepted"]
    assert shop.ask(accepting, {}).json()["code"] == "dispute_state_forbids"
    lost = line(payment, "dispute_lost", 1, amount=400, reference="case-1")
    assert shop.done(SETTLEMENTS, report(lost, rail="card", part=2))["breaks"] == []
    assert balances(shop)["merchant"] == 600
    late, other = disputed(shop, database, 3, respond_by="2026-01-31T00:00:00Z")
    told = shop.ask(upon(late, f"disputes/{other}/contest"), {"evidence": {"receipt": "x"}})
    assert (told.json()["code"], told.json()["respond_by"]) == ("dispute_answer_late", "2026-01-31T00:00:00.000000Z")


def test_an_outcome_is_found_out(shop: Shop, database: str) -> None:
    """
    Somebody says what became of a request that its rail says nothing of, and why they say so.
    """
    payment = shop.pay(method=BANK, confirm=True)
    request = begin(database, payment)
    path = upon(payment, f"requests/{request}/resolve")
    asked_too_soon = shop.ask(path, {"outcome": "done", "reason": "I think so"})
    by_daybook(database, RecordSilence(payment_id=uuid_of(payment), request_id=request, why="no answer"))

    resolved = shop.done(path, {"outcome": "done", "reference": "R-7", "reason": "On the bank's statement"})

    assert (asked_too_soon.status_code, asked_too_soon.json()["code"]) == (409, "payment_outcome_not_open")
    assert (resolved["status"], resolved["requests"][0]["reference"]) == ("succeeded", "R-7")
    names = [event["name"] for event in read(shop, payment)["timeline"]]
    assert names[-2:] == ["payment.outcome_resolved.v1", "payment.operation_done.v1"]
    assert balances(shop)["merchant"] == 1000


def test_what_is_not_there_and_what_is_no_command(shop: Shop, database: str) -> None:
    """
    Each no has its code, and changes nothing.
    """
    payment = collected(shop, database)
    nobodys = ids.show(ids.PAYMENT, ids.book_id("main"))
    evidence = {"evidence": {"receipt": "x"}}
    one = line(payment)
    tries: list[tuple[str, Any, int, str]] = [
        (f"/v1/payments/{nobodys}/reverse", {}, 404, "payment_not_found"),
        (upon(payment, "reverse"), {"request": "0" * 22}, 404, "payment_request_not_found"),
        (upon(payment, "reverse"), {"request": "x"}, 400, "invalid_request"),
        (upon(payment, "reverse"), {"amount": 1}, 400, "invalid_request"),
        (upon(payment, f"disputes/{NOBODYS}/contest"), evidence, 404, "dispute_not_found"),
        (upon(payment, "disputes/x/contest"), evidence, 404, "dispute_not_found"),
        (upon(payment, f"disputes/{NOBODYS}/contest"), {"evidence": {}}, 400, "invalid_request"),
        (upon(payment, f"disputes/{NOBODYS}/contest"), {"evidence": {"a": "x" * 4001}}, 400, "invalid_request"),
        (upon(payment, f"disputes/{NOBODYS}/contest"), {"evidence": {"a": "\x00"}}, 400, "invalid_request"),
        (upon(payment, f"disputes/{NOBODYS}/accept"), {}, 404, "dispute_not_found"),
        (upon(payment, "disputes/x/accept"), {}, 404, "dispute_not_found"),
        (upon(payment, "requests/x/resolve"), {"outcome": "done", "reason": "x"}, 404, "payment_request_not_found"),
        (
            upon(payment, f"requests/{'0' * 22}/resolve"),
            {"outcome": "done", "reason": "x"},
            404,
            "payment_request_not_found",
        ),
        (upon(payment, f"requests/{'0' * 22}/resolve"), {"outcome": "done", "reason": ""}, 400, "invalid_request"),
        (upon(payment, f"requests/{'0' * 22}/resolve"), {"outcome": "maybe", "reason": "x"}, 400, "invalid_request"),
        (SETTLEMENTS, report(), 400, "invalid_request"),
        (SETTLEMENTS, report(*[one] * 201), 400, "invalid_request"),
        (SETTLEMENTS, report({**one, "amount": 0}), 400, "invalid_request"),
        (SETTLEMENTS, report({**one, "amount": -1}), 400, "invalid_request"),
        (SETTLEMENTS, report({**one, "operation": "contest"}), 400, "invalid_request"),
        (SETTLEMENTS, report({**one, "said": "forgotten"}), 400, "invalid_request"),
        (SETTLEMENTS, report({**one, "payment_id": "pay_1"}), 400, "invalid_request"),
        (SETTLEMENTS, report({**one, "currency": "EUR"}), 400, "invalid_request"),
        (SETTLEMENTS, report(one, rail="cash"), 400, "invalid_request"),
        (SETTLEMENTS, report(one, day="yesterday"), 400, "invalid_request"),
        (SETTLEMENTS, report(one, part=0), 400, "invalid_request"),
        (SETTLEMENTS, report(one, book="nowhere"), 404, "book_not_found"),
    ]
    kept = 0
    for path, body, status, code in tries:
        before = head(database)

        answer = shop.ask(path, body)

        assert (answer.status_code, answer.json()["code"]) == (status, code), (path, body, answer.text)
        kept += head(database) - before
    assert kept == 6  # Refusals of what is well formed are kept.
    assert balances(shop) == {"merchant": 1000, "clearing:ach:EUR": -1000}
    for path in (f"{SETTLEMENTS}/x", f"{SETTLEMENTS}/set_{'0' * 26}", "/v1/disputes/x", f"/v1/disputes/dp_{'0' * 26}"):
        assert shop.get(path).status_code == 404


def test_in_a_batch(shop: Shop, database: str) -> None:
    """
    All of it can be asked in a batch; each first answer is told again.
    """
    payment = collected(shop, database)
    both = batch(
        "atomic",
        ("record_settlement", report(line(payment, fee=3))),
        ("reverse_payment", {"payment_id": payment["id"]}),
    )

    first, again = (shop.ask("/v1/batches", both, key="batch-1") for _ in range(2))

    assert first.status_code == 200 and first.content == again.content
    recorded, reversed_ = (one["body"] for one in first.json()["answers"])
    assert (recorded["net"], reversed_["requests"][-1]["operation"]) == (997, "reverse")
