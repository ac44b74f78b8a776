"""A payer at the checkout, who has a payment's secret and nothing else, against a real server and a simulator."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx2
import psycopg
import pytest

from adapters.postgres.secrets import client_secrets
from domain import ids
from tests.documented import must_be_documented
from tests.e2e.test_rails import wiring_of
from tests.serving import Caller, serving
from tests.simulating import Simulation, simulating

CARD = {"type": "card", "token": "tok_visa", "brand": "visa", "last4": "4242", "expires": "2030-12"}
PAYMENTS = "/v1/payments"


class Shop(Caller):
    """Book `main` with the liability `merchant`, which payments are for."""

    def intent(self, amount: int = 1000, currency: str = "EUR", **said: Any) -> dict[str, Any]:
        account = "merchant" if currency == "EUR" else f"merchant:{currency}"
        wanted = {"book": "main", "account": account, "amount": amount, "currency": currency, **said}
        return self.done(PAYMENTS, wanted)

    def story(self, payment: dict[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = self.get(f"{PAYMENTS}/{payment['id']}").json()
        return found


class Payer:
    """A browser: it says the secret it was handed, and no name."""

    def __init__(self, shop: Shop) -> None:
        self._http = httpx2.Client(base_url=shop.base_url)

    def looks(self, payment: str, secret: str | None, step: str = "checkout") -> httpx2.Response:
        return self._heard(self._http.get(f"{PAYMENTS}/{payment}/{step}", headers=self._head(secret)))

    def pays(self, payment: str, secret: str | None, method: Any = CARD, key: str = "once") -> httpx2.Response:
        head = {**self._head(secret), "Idempotency-Key": key, "Prefer": "wait=10"}
        return self._heard(self._http.post(f"{PAYMENTS}/{payment}/checkout", json={"method": method}, headers=head))

    def close(self) -> None:
        self._http.close()

    def _head(self, secret: str | None) -> dict[str, str]:
        return {} if secret is None else {"Daybook-Client-Secret": secret}

    def _heard(self, response: httpx2.Response) -> httpx2.Response:
        must_be_documented(response)
        return response


@pytest.fixture
def simulation(tmp_path: Path) -> Iterator[Simulation]:
    with simulating(tmp_path / "books.jsonl") as found:
        yield found


@pytest.fixture
def shop(database: str, simulation: Simulation) -> Iterator[Shop]:
    with serving(database, wiring=wiring_of(simulation)) as base_url, Shop(base_url) as found:
        found.done("/v1/books", {"code": "main"})
        found.account("merchant", "liability")
        found.account("merchant:INR", "liability", currency="INR")
        yield found


@pytest.fixture
def payer(shop: Shop) -> Iterator[Payer]:
    with closing(Payer(shop)) as found:
        yield found


def test_a_payer_pays(shop: Shop, payer: Payer) -> None:
    """
    They see what they are to pay and no more, pay it in one step under a name that is nobody's, and see that they have.
    """
    intent = shop.intent(description="Shoes", reference="order-1", metadata={"margin": "70 %"})
    secret = intent["client_secret"]

    before = payer.looks(intent["id"], secret)
    paid = payer.pays(intent["id"], secret)
    again = payer.pays(intent["id"], secret)
    after = payer.looks(intent["id"], secret)

    assert before.json() == {
        "object": "checkout",
        "id": intent["id"],
        "status": "requires_payment_method",
        "amount": 1000,
        "currency": "EUR",
        "description": "Shoes",
        "declined": "",
        "expires_at": intent["lapses_at"],
    }
    assert (paid.status_code, paid.json()["status"]) == (200, "succeeded")
    assert again.headers["idempotency-replayed"] == "true"
    assert after.json() == before.json() | {"status": "succeeded", "expires_at": None}
    timeline = shop.story(intent)["timeline"]
    assert [(event["name"], event["actor"]) for event in timeline[1:3]] == [
        ("payment.method_attached.v1", "payer"),
        ("payment.confirmed.v1", "payer"),
    ]


def test_declined_and_paid_by_another_card(shop: Shop, payer: Payer) -> None:
    """
    Why it was declined they are told as far as it helps them: of a stolen card that it was declined.
    """
    intent = shop.intent()
    secret = intent["client_secret"]

    poor = payer.pays(intent["id"], secret, CARD | {"token": "tok_declined_insufficient_funds"}, key="1").json()
    stolen = payer.pays(intent["id"], secret, CARD | {"token": "tok_declined_stolen_card"}, key="2").json()
    looked = payer.looks(intent["id"], secret).json()
    paid = payer.pays(intent["id"], secret, key="3").json()
    late = payer.pays(intent["id"], secret, key="4")

    assert (poor["status"], poor["declined"]) == ("requires_payment_method", "insufficient_funds")
    assert (stolen["status"], stolen["declined"]) == ("requires_payment_method", "declined")
    assert looked == stolen
    assert shop.story(intent)["requests"][1]["declined"] == "stolen_card"
    assert (paid["status"], paid["declined"]) == ("succeeded", "")
    assert (late.status_code, late.json()["code"]) == (409, "payment_status_forbids")


def test_without_its_secret(shop: Shop, payer: Payer) -> None:
    """
    No secret, another payment's, or one changed: the same answer as for a payment that is not there, to the byte but
    for the request's id; and nothing is done.
    """
    intent, other = shop.intent(), shop.intent()
    secret = intent["client_secret"]
    nobody = ids.show(ids.PAYMENT, ids.book_id("nothing"))

    answers = [
        ask(payment, said)
        for ask in (payer.looks, payer.pays)
        for payment, said in [
            (intent["id"], None),
            (intent["id"], ""),
            (intent["id"], other["client_secret"]),
            (intent["id"], secret[:-1] + ("A" if secret[-1] != "A" else "B")),
            (intent["id"], f"{secret},{secret}"),
            (nobody, None),
            (nobody, secret),
            (nobody, nobody + secret[len(nobody) :]),
            ("pay_1", secret),
            (intent["id"].upper(), secret),
        ]
    ]

    assert {answer.status_code for answer in answers} == {401}
    assert {answer.headers["www-authenticate"] for answer in answers} == {"Daybook-Client-Secret"}
    bodies = [{**answer.json(), "request_id": ""} for answer in answers]
    assert all(body == bodies[0] for body in bodies) and bodies[0]["code"] == "client_secret_wrong"
    assert not any(payment in answer.text for answer in answers for payment in (intent["id"], nobody))
    assert shop.story(intent)["version"] == 1


def test_the_secret_is_answered_and_nowhere_kept(
    shop: Shop, payer: Payer, database: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    Whoever creates a payment gets it, by itself or in a batch, and again with the answer; it is in no list, story,
    event, record, log or metric, and of a payout there is none.
    """
    wanted = {"book": "main", "account": "merchant", "amount": 500, "currency": "EUR"}
    made = shop.ask(PAYMENTS, wanted, key="k")
    again = shop.ask(PAYMENTS, wanted, key="k")
    item = {"command": "create_payment", "idempotency_key": "k", "arguments": wanted}
    batched = shop.done("/v1/batches", {"book": "main", "mode": "independent", "commands": [item]})
    secret = made.json()["client_secret"]
    payer.pays(made.json()["id"], secret)
    payer.pays(made.json()["id"], secret[:-3], key="wrong")

    assert again.content == made.content and batched["answers"][0]["body"] == made.json()
    assert shop.intent(direction="out")["client_secret"] is None
    paths = (PAYMENTS, f"{PAYMENTS}/{made.json()['id']}", "/v1/events", "/v1/audit-trail", "/metrics")
    told = [shop.get(path).text for path in paths] + list(capsys.readouterr())
    with psycopg.connect(database) as connection:
        names = connection.execute(
            "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables"
            " WHERE schemaname LIKE 'daybook%' AND tablename <> 'secrets'"
        ).fetchall()
        told += [str(connection.execute(f"SELECT t::text FROM {name} AS t".encode()).fetchall()) for (name,) in names]
        told += [str(connection.execute("SELECT encode(payload, 'escape') FROM daybook.events").fetchall())]
        key = connection.execute("SELECT encode(value, 'hex') FROM daybook.secrets").fetchone()
    assert made.json()["id"] in told[0] and key is not None
    assert not any(kept in text for text in told for kept in (secret.rpartition("_secret_")[2], key[0]))


def test_nobody_says_where_they_are_paid(shop: Shop, payer: Payer, database: str) -> None:
    """
    Not even with what would be its secret does anybody say where a payout goes.
    """
    payout = shop.intent(direction="out")
    secret = client_secrets(database).of(ids.parse(ids.PAYMENT, payout["id"]))

    answer = payer.pays(payout["id"], secret, {"type": "upi", "vpa": "thief@okbank"})

    assert (answer.status_code, answer.json()["code"]) == (409, "payment_status_forbids")
    assert shop.story(payout)["version"] == 1
