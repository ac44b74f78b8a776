"""What the read routes answer about payments: lists that can be looked through, and of each its whole story."""

import asyncio
from collections.abc import Iterator
from typing import Any, NamedTuple

import psycopg
import pytest
from starlette.testclient import TestClient

from adapters.postgres.projecting import catch_up
from adapters.postgres.store import PostgresEventStore
from domain import ids
from domain.errors import BookNotFound, DisputeNotFound, OperationNotFound, PaymentNotFound, SettlementNotFound
from domain.payment import Payment
from domain.rail import BankAccount
from tests.conftest import Server, database_on
from tests.contract.test_reads import serving
from tests.paid import write_payments
from tests.stored import write_everything
from tests.support import BOOK


class Office(NamedTuple):
    """Payments at every stage by name, and the routes that read them."""

    client: TestClient
    known: dict[str, Payment]

    def get(self, path: str, **parameters: Any) -> Any:
        response = self.client.get(path, params=parameters or None)
        assert response.status_code == 200, response.text
        return response.json()

    def story(self, name: str) -> Any:
        return self.get(f"/v1/payments/{self.id(name)}")

    def id(self, name: str) -> str:
        return ids.show(ids.PAYMENT, self.known[name].id)

    def listed(self, **filters: Any) -> set[str]:
        """The names of all that a filter lets through."""
        names = {ids.show(ids.PAYMENT, payment.id): name for name, payment in self.known.items()}
        return {names[payment["id"]] for payment in self.get("/v1/payments", limit=1000, **filters)["data"]}


async def _write(dsn: str) -> dict[str, Payment]:
    await write_everything(PostgresEventStore(dsn))
    return await write_payments(PostgresEventStore(dsn))


@pytest.fixture(scope="module")
def office(server: Server, template: str) -> Iterator[Office]:
    with database_on(server, template=template) as dsn:
        known = asyncio.run(_write(dsn))
        catch_up(dsn)
        with serving(dsn) as client:
            yield Office(client, known)


def test_an_account_that_is_not_among_the_accounts_yet(server: Server, template: str) -> None:
    """
    Whatever is read of an account that was opened just now has its code, though the list of accounts is behind.
    """
    paths = ("holds", "payments", "captures", "journal-entries", "disputes", "escrows")
    with database_on(server, template=template) as dsn:
        known = asyncio.run(_write(dsn))
        catch_up(dsn)
        with serving(dsn) as client:
            office = Office(client, known)
            told = [office.get(f"/v1/{path}", limit=1000)["data"] for path in paths]
            story = office.story("captured twice")
            with psycopg.connect(dsn, autocommit=True) as connection:
                connection.execute("TRUNCATE daybook_read.accounts")

            assert [office.get(f"/v1/{path}", limit=1000)["data"] for path in paths] == told
            assert office.story("captured twice") == story


def test_a_payments_whole_story(office: Office) -> None:
    """
    One call tells what it is, what was asked and answered, what it did to the ledger, and what happened to it.
    """
    story = office.story("refunded")

    known = office.known["refunded"]
    assert {name: story[name] for name in ("status", "amount", "captured", "refunded", "rail", "account_code")} == {
        "status": "succeeded",
        "amount": 600,
        "captured": 600,
        "refunded": 150,
        "rail": "upi",
        "account_code": "merchant",
    }
    assert [(one["operation"], one["amount"], one["state"], one["declined"]) for one in story["requests"]] == [
        ("collect", 600, "done", ""),
        ("refund", 100, "failed", "insufficient_funds"),
        ("refund", 150, "done", ""),
        ("refund", 50, "requested", ""),
    ]
    assert [one["id"] for one in story["requests"]] == list(known.requests)
    assert story["requests"][0]["decision"] == {"chosen": "north", "reasons": ["cheapest"]}
    assert story["requests"][0]["settles_on"] == "2026-02-02"
    assert [(hold["amount"], hold["status"]) for hold in story["holds"]] == [
        (100, "voided"),
        (150, "captured"),
        (50, "held"),
    ]
    assert [(e["id"], e["postings"][0]["amount"]) for e in story["entries"]] == [
        (story["requests"][0]["entry_id"], 600),
        (story["requests"][2]["entry_id"], 150),
    ]
    assert [(event["name"], event["version"], event["actor"]) for event in story["timeline"]] == [
        (name, version, "tester")
        for version, name in enumerate(
            [
                "payment.intent_created.v1",
                "payment.method_attached.v1",
                "payment.confirmed.v1",
                "payment.validated.v1",
                "payment.attempt_started.v1",
                "payment.operation_done.v1",
                "payment.operation_requested.v1",
                "payment.operation_requested.v1",
                "payment.operation_failed.v1",
                "payment.operation_done.v1",
                "payment.operation_requested.v1",
            ],
            1,
        )
    ]
    assert story["timeline"][-1]["position"] == story["position"]
    assert story["timeline"][0]["payload"]["account_id"] == story["account_id"]
    assert all(event["stream"] == story["id"] for event in story["timeline"])


def test_holds_and_entries_of_a_card(office: Office) -> None:
    """
    An authorization is a hold, and each capture an entry of it.
    """
    story = office.story("captured twice")

    [hold] = story["holds"]
    assert (hold["status"], hold["captured"]) == ("captured", 1_000)
    assert [entry["captures"] for entry in story["entries"]] == [hold["id"], hold["id"]]
    assert [one["hold_id"] for one in story["requests"]] == [hold["id"]] * 3


@pytest.mark.parametrize(
    ("name", "passed", "limits", "why"),
    [
        ("denied", False, "deny: above_amount_max", "limits denies: above_amount_max"),
        ("denied, then paid", True, "allow: no_limit", "6 allow, at least 5 must"),
        ("by two of three", True, "allow: no_limit", "6 allow, at least 5 must"),
        ("succeeded", True, "allow: no_limit", "all allow"),
    ],
)
def test_what_validators_made_of_it(office: Office, name: str, passed: bool, limits: str, why: str) -> None:
    """
    A payment tells who voted how since it was confirmed, by which rule, and why it passed or did not.
    """
    validation = office.story(name)["validation"]

    votes = {vote["validator"]: f"{vote['verdict']}: {vote['reason']}" for vote in validation["votes"]}
    assert (validation["passed"], votes["limits"], validation["why"]) == (passed, limits, why)
    assert len(votes) == 6
    assert validation["at"] == next(
        event["recorded_at"]
        for event in reversed(office.story(name)["timeline"])
        if event["name"] == "payment.validated.v1"
    )


def test_before_it_is_validated_there_is_nothing_to_tell(office: Office) -> None:
    """
    Confirmed, and waiting for one more of those who may approve it.
    """
    story = office.story("to be approved by one more")

    assert story["validation"] is None
    assert (story["approvals_required"], story["approvals_given"]) == (2, 1)
    assert story["approvers"] == ["ann", "bob", "cy"]


def test_the_policy_of_a_book(office: Office) -> None:
    """
    The one set last, since when and by whom; of a book that has set none, what then holds.
    """
    policy = office.get("/v1/books/main/payment-policy")
    none = office.get("/v1/books/other/payment-policy")

    assert [tier["approvers"] for tier in policy["approvals"]] == [["ann", "bob", "cy"]]
    assert [limit["amount_max"] for limit in policy["limits"]] == [4_000, 1_000]
    assert policy["rule"] == {"mode": "at_least", "count": 5, "required": ["limits"]}
    assert (policy["set_by"], policy["version"]) == ("tester", 3)
    assert none["rule"] == {"mode": "all", "required": []}
    assert (none["approvals"], none["limits"], none["set_at"], none["version"]) == ([], [], None, None)
    with pytest.raises(BookNotFound):
        office.client.get("/v1/books/nowhere/payment-policy")


@pytest.mark.parametrize(
    ("name", "whom", "what", "state"),
    [
        ("created", "client", "attach_method", None),
        ("with a method", "client", "confirm_payment", None),
        ("to be approved", "approver", "approve_payment", None),
        ("approved", "daybook", "start_attempt", None),
        ("requested", "rail", "collect", "requested"),
        ("unknown", "rail", "collect", "unknown"),
        ("accepted", "rail", "collect", "accepted"),
        ("to be opened", "payer", "upi_link", "accepted"),
        ("authorized", "client", "capture_payment", None),
        ("refunded", "rail", "refund", "requested"),
        ("given up", "client", "attach_method", None),
        ("denied", "client", "attach_method", None),
        ("being paid out", "rail", "payout", "requested"),
        ("disputed", "client", "answer_dispute", None),
    ],
)
def test_what_it_waits_for(office: Office, name: str, whom: str, what: str, state: str | None) -> None:
    """
    No payment stands still without saying who has the next step, and since when.
    """
    waits_for = office.story(name)["waits_for"]

    assert waits_for.pop("since") is not None
    until = {"disputed": "2999-02-20T00:00:00Z", "to be opened": "2026-01-01T12:00:00.000000Z"}
    assert waits_for == {"whom": whom, "what": what, "state": state, "until": until.get(name), "why": ""}


def test_what_is_over_waits_for_nothing(office: Office) -> None:
    """
    A payment that has ended, and of which no rail was asked more, says so.
    """
    for name in (
        "captured twice",
        "ended in part",
        "canceled",
        "expired",
        "expired once voided",
        "paid out",
        "contested",
    ):
        assert office.story(name)["waits_for"] is None, name


@pytest.mark.parametrize("name", ["requested", "paid out"])
def test_account_numbers_are_not_shown(office: Office, name: str) -> None:
    """
    Neither in a payment, nor in what happened to it, nor in the log as it is read.
    """
    method = office.story(name)["method"]
    path = f"/v1/payments/{office.id(name)}"
    texts = [office.client.get(path).text, office.client.get("/v1/payments").text, office.client.get("/v1/events").text]
    texts.append(office.client.get("/v1/events", params={"kind": "payment", "limit": 1000}).text)

    assert method["last4"] in ("6789", "3000")
    assert not any("123456789" in text or "DE8937" in text for text in texts)
    assert any('"last4":"6789"' in text for text in texts)


def test_filters(office: Office) -> None:
    """
    Lists are of what is asked for, and of nothing else.
    """
    everything = set(office.known)

    def having(test: Any) -> set[str]:
        return {name for name, payment in office.known.items() if test(payment)}

    assert office.listed() == everything
    assert office.listed(book="main") == everything
    assert office.listed(book="other") == set()
    merchant = ids.show(ids.ACCOUNT, office.known["created"].intent.account_id)
    assert office.listed(account=merchant) == everything - {"on suspense", "returned on suspense"}
    statuses = {payment.status for payment in office.known.values()}
    assert len(statuses) == 10
    for status in statuses:
        assert office.listed(status=status.value) == having(lambda one, status=status: one.status is status)
    back = {"payout returned", "payout reversed"}
    assert office.listed(direction="out") == {"paid out", "bounced", "being paid out", "denied", *back}
    assert office.listed(rail="ach") == having(lambda one: isinstance(one.method, BankAccount))
    assert office.listed(rail="wire") == office.listed(direction="out")
    assert office.listed(request_state="unknown") == {"unknown"}
    assert office.listed(request_state="accepted") == {"accepted", "to be opened"}
    assert office.listed(request_state="requested") == {"requested", "refunded", "being paid out"}
    assert office.listed(contradicted="true") == {"contradicted"}
    assert office.listed(contradicted="false") == everything - {"contradicted"}
    assert office.listed(reference="order-1") == {"created"}
    done = office.story("succeeded")["requests"][0]
    assert office.listed(rail_reference=done["reference"]) == {"succeeded"}
    assert office.listed(maker="tester") == everything and office.listed(maker="bob") == set()
    assert office.listed(currency="EUR") == everything and office.listed(currency="USD") == set()
    assert office.listed(amount_min=800, amount_max=900) == having(lambda one: 800 <= one.intent.amount <= 900)
    last = office.story("expired once voided")["created_at"]
    assert office.listed(created_from=last) == {"expired once voided"}
    assert office.listed(created_to=last) == everything
    assert office.listed(status="processing", rail="card") == {"approved", "tried again"}


def test_what_came_after(office: Office) -> None:
    """
    A payment's story has when it settled and for what fee, what came back of it, and the entries of that.
    """
    settled, returned, won = (office.story(name) for name in ("settled", "returned", "won"))

    capture = settled["requests"][1]
    assert (capture["settled_on"], capture["fee"], capture["returned"]) == ("2026-02-02", 9, 0)
    assert office.get(f"/v1/settlements/{capture['settlement_id']}")["lines"] == {"settled": 7}
    assert (returned["returned"], returned["requests"][0]["returned"], returned["captured"]) == (250, 250, 250)
    assert [entry["postings"][0]["amount"] for entry in returned["entries"]] == [250, 250]
    [dispute] = won["disputes"]
    assert (won["disputed"], dispute["state"], dispute["fee"]) == (0, "won", 0)
    assert [entry["id"] for entry in won["entries"]][-2:] == [dispute["entry_id"], dispute["closing_entry_id"]]
    assert office.story("card reversed")["reversed"] == 400
    assert (office.story("refund returned")["refunded"], office.story("payout returned")["returned"]) == (0, 20)


def test_settlements(office: Office) -> None:
    """
    What rails reported, with its entry and with what fitted nothing; found by day, rail and breaks.
    """
    found = office.get("/v1/settlements")["data"]

    assert [(one["rail"], one["day"], len(one["breaks"])) for one in found] == [
        ("upi", "2026-02-02", 0),
        ("wire", "2026-02-02", 0),
        ("ach", "2026-02-04", 1),
        ("ach", "2026-02-02", 1),
        ("card", "2026-02-20", 1),
        ("card", "2026-02-09", 1),
        ("card", "2026-02-02", 1),
    ]
    for one in found:
        broken = sum(line["moved"] for line in one["breaks"])
        assert one["net"] == one["incoming"] - one["outgoing"] + broken - one["fees"]
    first = office.get(f"/v1/settlements/{found[-1]['id']}")
    assert {one["account_id"] for one in first["entry"]["postings"]} >= {
        ids.show(ids.ACCOUNT, ids.account_id(BOOK, code))
        for code in ("clearing:card:EUR", "settlement:card:EUR", "fees:card:EUR", "suspense:EUR")
    }
    assert first["breaks"][0] == {
        "why": "no payment is known for it",
        "said": "settled",
        "payment_id": None,
        "request_id": "no such request",
        "operation": "collect",
        "amount": 70,
        "moved": 70,
        "fee": 1,
        "reference": "x-1",
        "code": "",
        "reason": "",
        "message": "",
        "respond_by": None,
    }

    def listed(**filters: Any) -> list[str]:
        return [one["id"] for one in office.get("/v1/settlements", **filters)["data"]]

    every = [one["id"] for one in found]
    assert listed(book="main") == every and listed(book="other") == []
    assert listed(rail="card") == every[4:] and listed(route="north") == every and listed(route="south") == []
    assert listed(currency="USD") == [] and listed(broken="false") == every[:2] and listed(broken="true") == every[2:]
    assert listed(day_from="2026-02-04", day_to="2026-02-09") == [every[2], every[5]]
    assert listed(limit=2, starting_after=every[1]) == every[2:4] and listed(ending_before=every[2]) == every[:2]
    lines = office.client.get("/v1/settlements", params={"format": "csv"}).text.splitlines()
    assert len(lines) == 8 and "net_decimal" in lines[0]
    nothing = ids.show(ids.SETTLEMENT, office.known["created"].id)
    for path in (f"/v1/settlements/{nothing}", f"/v1/settlements?starting_after={nothing}"):
        with pytest.raises(SettlementNotFound):
            office.client.get(path)


def test_disputes(office: Office) -> None:
    """
    What has to be answered until when, and what became of what was.
    """
    found = office.get("/v1/disputes")["data"]

    names = {ids.show(ids.PAYMENT, payment.id): name for name, payment in office.known.items()}
    assert [(names[one["payment_id"]], one["state"], one["amount"]) for one in found] == [
        ("lost at once", "lost", 400),
        ("dispute accepted", "accepted", 150),
        ("lost", "lost", 150),
        ("won", "won", 150),
        ("contested", "under_review", 150),
        ("disputed", "needs_response", 150),
    ]
    last = office.get(f"/v1/disputes/{found[-1]['id']}")
    assert last == found[-1]
    assert (last["rail"], last["route"], last["account_code"], last["currency"]) == ("card", "north", "merchant", "EUR")
    assert (last["code"], last["reason"], last["respond_by"]) == ("10.4", "fraud", "2999-02-20T00:00:00Z")

    def listed(**filters: Any) -> list[str]:
        return [one["id"] for one in office.get("/v1/disputes", **filters)["data"]]

    every = [one["id"] for one in found]
    assert listed(book="main") == every and listed(book="other") == [] and listed(rail="ach") == []
    assert listed(account=last["account_id"]) == every
    assert listed(state="needs_response") == every[-1:] and listed(state="lost") == [every[0], every[2]]
    assert listed(respond_before="2999-02-20T00:00:01Z") == every[1:]
    assert listed(respond_before="2999-02-20T00:00:00Z") == []
    assert listed(limit=2, starting_after=every[1]) == every[2:4] and listed(ending_before=every[2]) == every[:2]
    assert len(office.client.get("/v1/disputes", params={"format": "csv"}).text.splitlines()) == 7
    nothing = ids.show(ids.DISPUTE, office.known["created"].id)
    for path in (f"/v1/disputes/{nothing}", f"/v1/disputes?starting_after={nothing}"):
        with pytest.raises(DisputeNotFound):
            office.client.get(path)


def test_operations_of_all_payments(office: Office) -> None:
    """
    Each list is of what the payments themselves say, newest first, with whose each is; and each is read by itself.
    """
    kinds = {
        "attempts": {"authorize", "collect", "payout"},
        "captures": {"capture"},
        "refunds": {"refund"},
        "payouts": {"payout"},
        "reversals": {"reverse"},
    }
    stories = {office.id(name): office.story(name) for name in office.known}
    for kind, operations in kinds.items():
        wanted = {
            one["id"]: one | {"payment_id": payment_id, "account_code": story["account_code"], "currency": "EUR"}
            for payment_id, story in stories.items()
            for one in story["requests"]
            if one["operation"] in operations
        }

        found = office.get(f"/v1/{kind}", limit=1000)["data"]

        assert len(found) == len(wanted) > 0
        for one in found:
            assert wanted[one["id"]].items() <= one.items()
            assert office.get(f"/v1/{kind}/{one['id']}") == one
        assert [one["requested_at"] for one in found] == sorted((one["requested_at"] for one in found), reverse=True)
        lines = office.client.get(f"/v1/{kind}", params={"format": "csv"}).text.splitlines()
        assert len(lines) == len(found) + 1
    page = office.get("/v1/attempts", limit=3)["data"]
    after = office.get("/v1/attempts", limit=3, starting_after=page[1]["id"])["data"]
    assert after[0] == page[2] and office.get("/v1/attempts", limit=1, ending_before=page[2]["id"])["data"] == [page[1]]
    opened = office.get("/v1/attempts", state="accepted", rail="upi")["data"]
    assert [(one["payment_id"], one["until"][:4]) for one in opened] == [(office.id("to be opened"), "2026")]
    no = office.get("/v1/refunds", declined="insufficient_funds")["data"]
    assert {(one["declined"], one["state"]) for one in no} == {("insufficient_funds", "failed")}
    assert office.get("/v1/attempts", route="nowhere")["data"] == []
    last = found[0]["requested_at"]
    assert office.get("/v1/reversals", created_from=last)["data"][0] == found[0]


def test_an_operation_that_is_not_there(office: Office) -> None:
    """
    Nor is one of another kind, or one that a list was to begin after.
    """
    capture = office.get("/v1/captures", limit=1)["data"][0]["id"]
    nothing = (f"/v1/refunds/{capture}", f"/v1/captures/{'0' * 22}", f"/v1/refunds?starting_after={capture}&rail=wire")
    for path in nothing:
        with pytest.raises(OperationNotFound):
            office.client.get(path)


def test_what_needs_attention(office: Office) -> None:
    """
    What a rail has contradicted at once, what it has not answered after a while; and payments by how they were paid.
    """
    assert office.listed(needs_attention="true", unknown_for_s=0) == {"unknown", "contradicted"}
    assert office.listed(needs_attention="true") == {"contradicted"}
    assert office.listed(method="iban") == office.listed(rail="wire")
    assert office.listed(last4="6789") == office.listed(method="bank_account")
    failed = {
        name
        for name, payment in office.known.items()
        if any(one.declined == "insufficient_funds" and not one.upon for one in payment.requests.values())
    }
    assert office.listed(declined="insufficient_funds") == failed and "refunded" not in failed
    routes = {name: office.story(name)["route"] for name in office.known}
    assert office.listed(route="wire") == {name for name, route in routes.items() if route == "wire"}


def test_pages_and_csv(office: Office) -> None:
    """
    Newest first, page by page in both directions; as CSV a line each, amounts twice.
    """
    forwards: list[Any] = []
    page = office.get("/v1/payments", limit=7)
    while True:
        forwards += page["data"]
        if not page["has_more"]:
            break
        page = office.get("/v1/payments", limit=7, starting_after=forwards[-1]["id"])
    before = office.get("/v1/payments", limit=7, ending_before=forwards[-1]["id"])["data"]
    lines = office.client.get("/v1/payments", params={"format": "csv"}).text.splitlines()

    assert len(forwards) == len(office.known)
    assert [one["created_at"] for one in forwards] == sorted((one["created_at"] for one in forwards), reverse=True)
    assert before == forwards[-8:-1]
    assert len(lines) == len(office.known) + 1
    columns = dict(zip(lines[0].split(","), lines[1].split(","), strict=True))
    assert (columns["id"], columns["amount"], columns["amount_decimal"]) == (forwards[0]["id"], "1000", "10.00")
    assert columns["method.last4"] == "4242"


def test_what_is_not_there(office: Office) -> None:
    """
    A payment that nobody created is not found; nor is one that a list was to begin after.
    """
    nobody = ids.show(ids.PAYMENT, office.known["created"].intent.account_id)

    for path in (f"/v1/payments/{nobody}", f"/v1/payments?starting_after={nobody}"):
        with pytest.raises(PaymentNotFound):
            office.client.get(path)


def test_the_audit_trail_and_the_log_know_payments(office: Office) -> None:
    """
    What happened to one payment is found in the audit trail by its id, and in the log by its kind.
    """
    name = office.id("refunded")
    records = office.get("/v1/audit-trail", stream=name)["data"]
    of_kind = office.get("/v1/audit-trail", kind="payment", limit=1000)["data"]
    events = office.get("/v1/events", kind="payment", limit=1000)["data"]

    assert len(records) == 11
    assert {(record["subject"], record["book_id"]) for record in records} == {
        (name, ids.show(ids.BOOK, office.known["refunded"].intent.book_id))
    }
    assert len(of_kind) == len(events) and {event["name"].partition(".")[0] for event in events} == {"payment"}
    assert {event["stream"] for event in events} == {office.id(one) for one in office.known}
