"""Payments as commands over HTTP: what each leaves, the same answer for ever, and who may do what.

No rail is asked anything here: what one would answer is put to a desk beside the server's, as Daybook itself does.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from commands.payment import RecordApproval, RecordDecline, StartAttempt
from domain import ids
from tests.payment_words import HEARD
from tests.serving import Caller, by_daybook, head, serving

CARD = {"type": "card", "token": "tok_visa", "brand": "visa", "last4": "4242", "expires": "2030-12"}
BANK = {"type": "bank_account", "routing_number": "021000021", "account_number": "000123456789", "holder": "Ada Byron"}
IBAN = {
    "type": "iban",
    "iban": "DE89370400440532013000",
    "bic": "COBADEFFXXX",
    "holder": "Ada Byron",
    "country": "DE",
}
UPI = {"type": "upi", "vpa": "ada@okbank"}

PAYMENTS = "/v1/payments"
ANN, BOB = {"Daybook-Actor": "ann"}, {"Daybook-Actor": "Bob Byron <bob@example.com>"}


class Shop(Caller):
    """Book `main` with the liability `merchant`, which payments are for and from."""

    def pay(self, amount: int = 1000, **said: Any) -> dict[str, Any]:
        """A payment for the merchant; of what is said, a header is named like one."""
        headers = {name: said.pop(name) for name in [*said] if "-" in name}
        return self.done(PAYMENTS, wanted(amount, **said), **headers)


@pytest.fixture
def shop(database: str) -> Iterator[Shop]:
    with serving(database, project=False) as base_url, Shop(base_url) as caller:
        caller.done("/v1/books", {"code": "main"})
        caller.account("merchant", "liability")
        yield caller


def wanted(amount: int = 1000, **said: Any) -> dict[str, Any]:
    return {"book": "main", "account": "merchant", "amount": amount, "currency": "EUR", **said}


def upon(payment: dict[str, Any], verb: str) -> str:
    return f"{PAYMENTS}/{payment['id']}/{verb}"


def uuid_of(payment: dict[str, Any]) -> UUID:
    return ids.parse(ids.PAYMENT, payment["id"])


def begin(database: str, payment: dict[str, Any]) -> str:
    """Daybook begins an attempt; the id of its request."""
    known = by_daybook(database, StartAttempt(payment_id=uuid_of(payment), route="acquirer-1", votes=HEARD)).payment
    assert known is not None and known.attempt is not None
    return known.attempt.id


def approve(database: str, payment: dict[str, Any], request_id: str, amount: int) -> None:
    """A rail has done what it was asked."""
    said: dict[str, Any] = {"reference": f"R{amount}", "amount": amount, "currency": "EUR", "code": "00"}
    by_daybook(database, RecordApproval(payment_id=uuid_of(payment), request_id=request_id, **said))


def test_an_intent_becomes_a_payment(shop: Shop) -> None:
    """
    Created, given a method, confirmed: each answer shows the payment as that step left it, whole.
    """
    made = shop.ask(
        PAYMENTS,
        wanted(
            expires_at="2999-01-01T01:00:00+01:00",
            capture="manual",
            description="Books",
            reference="order-1",
            descriptor="BOOKSHOP",
            metadata={"till": "2"},
        ),
    )
    intent = made.json()
    paid = shop.done(upon(intent, "method"), {"method": CARD})
    confirmed = shop.done(upon(intent, "confirm"))

    book = ids.book_id("main")
    assert (made.status_code, made.headers["location"]) == (201, f"{PAYMENTS}/{intent['id']}")
    assert intent == {
        "object": "payment",
        "id": intent["id"],
        "book_id": ids.show(ids.BOOK, book),
        "account_id": ids.show(ids.ACCOUNT, ids.account_id(book, "merchant")),
        "direction": "in",
        "status": "requires_payment_method",
        "action": None,
        "amount": 1000,
        "currency": "EUR",
        "authorized": 0,
        "captured": 0,
        "refunded": 0,
        "reversed": 0,
        "returned": 0,
        "disputed": 0,
        "disputes": [],
        "capture": "manual",
        "method": None,
        "requests": [],
        "approvals_required": 0,
        "approvals_given": 0,
        "approvers": [],
        "expires_at": "2999-01-01T00:00:00.000000Z",
        "lapses_at": None,
        "description": "Books",
        "reference": "order-1",
        "descriptor": "BOOKSHOP",
        "metadata": {"till": "2"},
        "version": 1,
        "position": int(made.headers["daybook-position"]),
        "client_secret": intent["client_secret"],
    }
    assert paid == without("client_secret", intent) | {
        "status": "requires_confirmation",
        "method": CARD,
        "version": 2,
        "position": paid["position"],
    }
    assert confirmed == paid | {"status": "processing", "version": 3, "position": confirmed["position"]}
    assert intent["position"] < paid["position"] < confirmed["position"]


def test_one_step_is_three(shop: Shop) -> None:
    """
    Created with a method it waits to be confirmed; told to confirm, it is, in the same commit.
    """
    waiting = shop.pay(method=CARD)
    confirmed = shop.pay(method=CARD, confirm=True)

    assert (waiting["status"], waiting["version"]) == ("requires_confirmation", 2)
    assert (confirmed["status"], confirmed["version"]) == ("processing", 3)
    assert confirmed["position"] == waiting["position"] + 2


@pytest.mark.parametrize(
    ("method", "direction", "shown"),
    [
        (CARD, "in", CARD),
        (
            BANK,
            "in",
            {
                "type": "bank_account",
                "routing_number": "021000021",
                "last4": "6789",
                "holder": "Ada Byron",
                "savings": False,
                "company": False,
            },
        ),
        (IBAN, "out", {"type": "iban", "bic": "COBADEFFXXX", "last4": "3000", "holder": "Ada Byron", "country": "DE"}),
        (UPI, "out", {"type": "upi", "vpa": "ada@okbank", "holder": "", "flow": "collect"}),
    ],
    ids=["card", "bank_account", "iban", "upi"],
)
def test_a_method_is_shown(shop: Shop, method: dict[str, Any], direction: str, shown: dict[str, Any]) -> None:
    """
    Of each kind of method all is told but the number of a bank account, of which the end alone is.
    """
    made = shop.ask(PAYMENTS, wanted(direction=direction, method=method))

    assert made.json()["method"] == shown
    assert "000123456789" not in made.text and "DE89370400440532013000" not in made.text


def test_an_authorization_is_increased_captured_and_refunded(shop: Shop, database: str) -> None:
    """
    What is asked of a rail stands in the answer as a request, before the rail has heard of it, and its outcome in the
    next answer.
    """
    payment = shop.pay(method=CARD, confirm=True, capture="manual")
    authorization = begin(database, payment)
    approve(database, payment, authorization, 1000)

    def step(verb: str, **said: Any) -> dict[str, Any]:
        answer = shop.done(upon(payment, verb), said)
        asked = answer["requests"][-1]
        approve(database, payment, asked["id"], asked["amount"])
        return answer

    more = step("increase", amount=200)
    part = step("capture", amount=700)
    rest = step("capture")
    back = shop.done(
        upon(payment, "refund"), {"amount": 100, "capture": part["requests"][-1]["id"], "reason": "Broken"}
    )

    unsettled = {"settlement_id": None, "settled_on": None, "returned": 0, "fee": 0, "dispute_id": None}
    assert more["requests"] == [
        {
            **unsettled,
            "id": authorization,
            "operation": "authorize",
            "rail": "card",
            "route": "acquirer-1",
            "amount": 1000,
            "state": "done",
            "reference": "R1000",
            "upon": None,
            "reason": "",
        },
        {
            **unsettled,
            "id": more["requests"][1]["id"],
            "operation": "increment",
            "rail": "card",
            "route": "acquirer-1",
            "amount": 200,
            "state": "requested",
            "reference": "",
            "upon": authorization,
            "reason": "",
        },
    ]
    assert [
        (one["status"], one["authorized"], one["captured"], one["refunded"]) for one in (more, part, rest, back)
    ] == [
        ("requires_capture", 1000, 0, 0),
        ("requires_capture", 1200, 0, 0),
        ("requires_capture", 1200, 700, 0),
        ("succeeded", 1200, 1200, 0),
    ]
    last = back["requests"][-1]
    assert (last["operation"], last["upon"], last["reason"]) == ("refund", part["requests"][-1]["id"], "Broken")


def test_tried_again(shop: Shop, database: str) -> None:
    """
    With the method it has: anew after a no for good, once more and not twice at once after one for the moment.
    """
    payment = shop.pay(method=CARD, confirm=True)

    def decline(retry: str) -> None:
        said: dict[str, Any] = {"code": "91", "reason": "issuer_unavailable", "message": "No.", "retry": retry}
        request_id = begin(database, payment)
        by_daybook(database, RecordDecline(payment_id=uuid_of(payment), request_id=request_id, **said))

    decline("never")
    anew = shop.done(upon(payment, "retry"))
    decline("later")
    at_once = shop.done(upon(payment, "retry"))
    twice = shop.ask(upon(payment, "retry"))

    assert (anew["status"], anew["method"]) == ("processing", CARD)
    assert (at_once["status"], at_once["version"]) == ("processing", anew["version"] + 4)
    assert (twice.status_code, twice.json()["code"]) == (409, "payment_status_forbids")


def test_an_intent_lapses(shop: Shop) -> None:
    """
    Thirty days after it is created, where neither the server nor the client is told otherwise.
    """
    intent = shop.pay()
    told = shop.pay(expires_at="2999-01-01T00:00:00Z")

    in_s = (datetime.fromisoformat(intent["lapses_at"]) - datetime.now(UTC)).total_seconds()
    assert in_s == pytest.approx(30 * 24 * 3600, abs=60)
    assert told["lapses_at"] is None


def test_what_is_authorized_is_given_up_first(shop: Shop, database: str) -> None:
    """
    Canceled before any attempt it is canceled at once; once something is authorized, when the rail has given it up.
    """
    intent, payment = shop.pay(), shop.pay(method=CARD, confirm=True, capture="manual")
    approve(database, payment, begin(database, payment), 1000)

    at_once = shop.done(upon(intent, "cancel"), {"reason": "Left behind"})
    asked = shop.done(upon(payment, "cancel"))

    assert (at_once["status"], at_once["requests"]) == ("canceled", [])
    assert (asked["status"], asked["requests"][-1]["operation"]) == ("requires_capture", "void")
    assert shop.ask(upon(intent, "confirm")).json()["payment_status"] == "canceled"
    assert shop.ask(upon(payment, "capture")).json()["code"] == "payment_busy"


def test_four_eyes(shop: Shop) -> None:
    """
    Neither who made it approves it, nor one for two, nor anybody in the name of another; the second of two has it done.
    """
    payment = shop.pay(direction="out", method=IBAN, confirm=True, approvals=2)
    path = upon(payment, "approve")
    assert (payment["status"], payment["approvals_required"], payment["approvals_given"]) == ("requires_approval", 2, 0)

    maker = shop.ask(path)
    in_anothers_name = shop.ask(path, {"approver": "ann"})
    in_a_batch = shop.ask("/v1/batches", batch("atomic", ("approve_payment", {"payment_id": payment["id"]})))
    once = shop.done(path, **ANN)
    twice = shop.ask(path, **ANN)
    done = shop.done(path, **BOB)
    late = shop.ask(path, **{"Daybook-Actor": "cleo"})

    assert (maker.status_code, maker.json()["code"]) == (409, "payment_approver_is_maker")
    assert in_anothers_name.status_code == in_a_batch.status_code == 400
    assert faults(in_anothers_name.json()) == ["/approver extra_forbidden"]
    assert faults(in_a_batch.json()) == ["/commands/0 union_tag_invalid"]
    assert (once["status"], once["approvals_given"]) == ("requires_approval", 1)
    assert (twice.status_code, twice.json()["code"]) == (409, "payment_approval_not_wanted")
    assert (done["status"], done["approvals_given"]) == ("processing", 2)
    assert (late.status_code, late.json()["code"]) == (409, "payment_status_forbids")


def test_an_approval_is_of_who_gave_it(shop: Shop) -> None:
    """
    The key of one approver's request, sent by another, is another request: nobody approves by asking again.
    """
    payment = shop.pay(method=CARD, confirm=True, approvals=2)

    first = shop.ask(upon(payment, "approve"), key="k", **ANN)
    other = shop.ask(upon(payment, "approve"), key="k", **BOB)
    again = shop.ask(upon(payment, "approve"), key="k", **ANN)

    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    assert again.content == first.content
    assert first.json()["approvals_given"] == 1


def batch(mode: str, *commands: tuple[str, dict[str, Any]]) -> dict[str, Any]:
    given = [{"command": kind, "arguments": arguments} for kind, arguments in commands]
    return {"book": "main", "mode": mode, "commands": given}


def faults(problem: dict[str, Any]) -> list[str]:
    return sorted(f"{fault['field']} {fault['code']}" for fault in problem["errors"])


def commands_of(shop: Shop, database: str) -> list[tuple[str, dict[str, Any], dict[str, str], int]]:
    """Each command, done and refused: its path, its body, who asks, and its status."""
    intent, unconfirmed, unwanted = shop.pay(), shop.pay(method=CARD), shop.pay(method=CARD)
    waiting = shop.pay(method=CARD, confirm=True, approvals=2)
    one, other = (shop.pay(method=CARD, confirm=True, capture="manual") for _ in range(2))
    for payment in (one, other):
        approve(database, payment, begin(database, payment), 1000)
    bought = shop.pay(method=BANK, confirm=True)
    approve(database, bought, begin(database, bought), 1000)
    return [
        (PAYMENTS, wanted(), {}, 201),
        (PAYMENTS, wanted(method=UPI, metadata={"b": "1", "a": "2"}), {}, 201),
        (PAYMENTS, wanted(method=CARD, confirm=True), {}, 201),
        (PAYMENTS, wanted(method=BANK, confirm=True, direction="out", approvals=1), {}, 201),
        (PAYMENTS, wanted(method=IBAN), {}, 422),
        (PAYMENTS, wanted(account="nobody"), {}, 404),
        (PAYMENTS, wanted(currency="USD"), {}, 422),
        (upon(intent, "method"), {"method": CARD}, {}, 200),
        (upon(intent, "method"), {"method": BANK}, {}, 200),
        (upon(intent, "confirm"), {}, {}, 200),
        (upon(intent, "confirm"), {}, {}, 409),
        (upon(waiting, "approve"), {}, {}, 409),
        (upon(waiting, "approve"), {}, ANN, 200),
        (upon(waiting, "approve"), {}, BOB, 200),
        (upon(one, "increase"), {"amount": 200}, {}, 200),
        (upon(one, "capture"), {"amount": 200}, {}, 409),
        (upon(other, "capture"), {"amount": 1001}, {}, 422),
        (upon(other, "capture"), {"amount": 200, "final": True}, {}, 200),
        (upon(unwanted, "cancel"), {"reason": "No longer wanted"}, {}, 200),
        (upon(unwanted, "cancel"), {}, {}, 409),
        (upon(bought, "refund"), {"amount": 300}, {}, 200),
        (upon(bought, "refund"), {"amount": 701}, {}, 422),
        (upon(bought, "refund"), {"capture": "0" * 22}, {}, 404),
        (
            "/v1/batches",
            batch(
                "independent",
                ("create_payment", wanted(method=CARD, confirm=True)),
                ("confirm_payment", {"payment_id": unconfirmed["id"]}),
                ("confirm_payment", {"payment_id": unconfirmed["id"]}),
                ("cancel_payment", {"payment_id": unconfirmed["id"]}),
                ("refund_payment", {"payment_id": bought["id"], "amount": 1}),
            ),
            {},
            200,
        ),
        (
            "/v1/batches",
            batch(
                "atomic",
                ("create_payment", wanted(method=CARD)),
                ("attach_method", {"payment_id": bought["id"], "method": CARD}),
            ),
            {},
            422,
        ),
    ]


def test_the_first_answer_for_ever(shop: Shop, database: str) -> None:
    """
    Each command is answered byte for byte as at first, whatever has happened since and whoever is asked: one that left
    several events too, of a payment that a rail has been asked for and has declined by then.
    """
    commands = commands_of(shop, database)
    first = [shop.ask(path, body, key=f"k{n}", **who) for n, (path, body, who, _) in enumerate(commands)]
    assert [answer.status_code for answer in first] == [status for *_, status in commands]
    in_one_step = first[2].json()
    said: dict[str, Any] = {"code": "51", "reason": "insufficient_funds", "message": "Not enough", "retry": "never"}
    by_daybook(
        database,
        RecordDecline(payment_id=uuid_of(in_one_step), request_id=begin(database, in_one_step), **said),
    )
    shop.done(upon(in_one_step, "method"), {"method": BANK})
    position = head(database)

    again = [shop.ask(path, body, key=f"k{n}", **who) for n, (path, body, who, _) in enumerate(commands)]
    with serving(database, project=False) as base_url, Caller(base_url) as other:
        elsewhere = [other.ask(path, body, key=f"k{n}", **who) for n, (path, body, who, _) in enumerate(commands)]

    for answers in (again, elsewhere):
        for was, is_ in zip(first, answers, strict=True):
            assert (is_.status_code, is_.content) == (was.status_code, was.content)
            assert is_.headers["daybook-position"] == was.headers["daybook-position"]
            assert is_.headers.get("location") == was.headers.get("location")
            assert (was.headers.get("idempotency-replayed"), is_.headers["idempotency-replayed"]) == (None, "true")
    assert head(database) == position


def test_a_batch_sees_what_it_began(shop: Shop) -> None:
    """
    A payment that a batch creates can be canceled further on in it: its id follows from its key.
    """
    made = ids.show(ids.PAYMENT, ids.command_id(ids.book_id("main"), "create_payment", "mine"))
    commands = batch("atomic", ("create_payment", wanted()), ("cancel_payment", {"payment_id": made}))
    commands["commands"][0]["idempotency_key"] = "mine"

    answers = shop.done("/v1/batches", commands)["answers"]

    assert [(one["status"], one["body"]["id"], one["body"]["status"]) for one in answers] == [
        (201, made, "requires_payment_method"),
        (200, made, "canceled"),
    ]


def test_a_dry_run_leaves_nothing(shop: Shop, database: str) -> None:
    """
    Tried, a payment is answered as it would be and forgotten, its key unused.
    """
    before = head(database)

    tried = shop.ask(f"{PAYMENTS}?dry_run=true", wanted(method=CARD, confirm=True), key="k")
    refused = shop.ask(f"{PAYMENTS}?dry_run=true", wanted(method=IBAN), key="k")

    assert (tried.status_code, tried.json()["status"]) == (201, "processing")
    assert (refused.status_code, refused.json()["code"]) == (422, "payment_method_unfit")
    assert tried.headers["daybook-dry-run"] == refused.headers["daybook-dry-run"] == "true"
    assert head(database) == before
    assert shop.ask(upon(tried.json(), "confirm")).json()["code"] == "payment_not_found"
    made = shop.ask(PAYMENTS, wanted(method=CARD, confirm=True), key="k").json()
    assert made == tried.json() | {"position": made["position"], "lapses_at": made["lapses_at"]}


def without(field: str, given: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in given.items() if name != field}


NO_PAYMENTS: list[tuple[dict[str, Any], list[str]]] = [
    (wanted(colour="red"), ["/colour extra_forbidden"]),
    (wanted(status="succeeded"), ["/status extra_forbidden"]),
    (wanted(0), ["/amount greater_than_equal"]),
    (wanted(-5), ["/amount greater_than_equal"]),
    (wanted(direction="sideways"), ["/direction literal_error"]),
    (wanted(capture="later"), ["/capture literal_error"]),
    (wanted(approvals=-1), ["/approvals greater_than_equal"]),
    (wanted(approvals=11), ["/approvals less_than_equal"]),
    (wanted(approvals="1"), ["/approvals int_type"]),
    (wanted(confirm="yes", method=CARD), ["/confirm bool_type"]),
    (wanted(confirm=True), [" value_error"]),
    (wanted(descriptor="x" * 23), ["/descriptor string_too_long"]),
    (wanted(descriptor="\u00e9"), ["/descriptor string_pattern_mismatch"]),
    (wanted(expires_at="tomorrow"), ["/expires_at value_error"]),
    (wanted(metadata={"method": 7}), ["/metadata/method string_type"]),
    (wanted(method="card"), ["/method model_attributes_type"]),
    (wanted(method={}), ["/method union_tag_not_found"]),
    (wanted(method={**CARD, "type": "cash"}), ["/method union_tag_invalid"]),
    (wanted(method={**CARD, "routing_number": "021000021"}), ["/method/routing_number extra_forbidden"]),
    (wanted(method={**UPI, "token": "tok_visa"}), ["/method/token extra_forbidden"]),
    (
        wanted(method=CARD | BANK),
        [f"/method/{name} extra_forbidden" for name in ("brand", "expires", "last4", "token")],
    ),
    (wanted(method=without("iban", IBAN)), ["/method/iban missing"]),
    (wanted(method={**CARD, "token": "4242424242424242"}), ["/method/token string_pattern_mismatch"]),
    (wanted(method={**CARD, "last4": "42424"}), ["/method/last4 string_pattern_mismatch"]),
    (wanted(method={**CARD, "expires": "2030-13"}), ["/method/expires string_pattern_mismatch"]),
    (wanted(method={**BANK, "routing_number": "021000022"}), ["/method value_error"]),
    (wanted(method={**BANK, "routing_number": "\u0660" * 9}), ["/method/routing_number string_pattern_mismatch"]),
    (wanted(method={**BANK, "savings": 1}), ["/method/savings bool_type"]),
    (wanted(method={**IBAN, "iban": "DE88370400440532013000"}), ["/method value_error"]),
    (wanted(method={**IBAN, "bic": "COBADEF"}), ["/method/bic string_pattern_mismatch"]),
    (wanted(method={**UPI, "vpa": "ada"}), ["/method/vpa string_pattern_mismatch"]),
    (wanted(method={**UPI, "flow": "carrier pigeon"}), ["/method/flow literal_error"]),
]


def test_what_is_no_payment(shop: Shop, database: str) -> None:
    """
    What is not in the form it should have is told by its place in the body, alone and in a batch, and leaves nothing.
    """
    before = head(database)

    for body, found in NO_PAYMENTS:
        alone = shop.ask(PAYMENTS, body)
        batched = shop.ask("/v1/batches", batch("atomic", ("create_payment", body)))

        said = (400, "invalid_request", found)
        assert (alone.status_code, alone.json()["code"], faults(alone.json())) == said, body
        inside = [f"/commands/0/arguments{one}" for one in found]
        assert (batched.status_code, faults(batched.json())) == (400, inside), body
    assert head(database) == before


NO_STEPS: list[tuple[str, dict[str, Any], list[str]]] = [
    ("method", {}, ["/method missing"]),
    ("method", CARD, [*(f"/{name} extra_forbidden" for name in sorted(CARD)), "/method missing"]),
    ("method", {"method": CARD, "payment_id": "x"}, ["/payment_id extra_forbidden"]),
    ("method", {"method": {**IBAN, "account_number": "1"}}, ["/method/account_number extra_forbidden"]),
    ("confirm", {"method": CARD}, ["/method extra_forbidden"]),
    ("approve", {"approver": "tester"}, ["/approver extra_forbidden"]),
    ("increase", {}, ["/amount missing"]),
    ("increase", {"amount": 0}, ["/amount greater_than_equal"]),
    ("capture", {"amount": "1"}, ["/amount int_type"]),
    ("capture", {"final": "yes"}, ["/final bool_type"]),
    ("cancel", {"reason": "a\0b"}, ["/reason value_error"]),
    ("refund", {"capture": "the first"}, ["/capture string_pattern_mismatch"]),
    ("refund", {"amount": 1, "currency": "EUR"}, ["/currency extra_forbidden"]),
]


def test_what_is_no_step(shop: Shop) -> None:
    """
    So it is with what is done to a payment; and what the path or the head says, the body may not.
    """
    payment = shop.pay()

    for verb, body, found in NO_STEPS:
        answer = shop.ask(upon(payment, verb), body)

        assert (answer.status_code, faults(answer.json())) == (400, sorted(found)), (verb, body)


def test_who_asks_is_somebody(shop: Shop) -> None:
    """
    Without an actor nobody approves.
    """
    payment = shop.pay(method=CARD, confirm=True, approvals=1)
    del shop.headers["Daybook-Actor"]

    answer = shop.ask(upon(payment, "approve"))

    assert (answer.status_code, answer.json()["code"]) == (400, "actor_missing")
