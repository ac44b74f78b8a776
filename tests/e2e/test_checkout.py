"""A payer at the checkout, who has a payment's secret and nothing else, against a real server and a simulator."""

import re
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx2
import psycopg
import pytest
import zxingcpp

from adapters.postgres.secrets import client_secrets
from domain import ids
from tests.documented import must_be_documented
from tests.e2e.test_rails import wiring_of
from tests.serving import Caller, serving, until
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
        head = {**self._head(secret), "Idempotency-Key": key, "Prefer": "wait=30"}
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
        "action": None,
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


def test_any_page_may_ask(shop: Shop, payer: Payer) -> None:
    """
    A browser on somebody else's page is let to the checkout, whatever the answer is, and to nothing else.
    """
    intent = shop.intent()
    paths = [f"{PAYMENTS}/{intent['id']}{step}" for step in ("/checkout", "/checkout/qr.svg", "", "/refund", "/qr.svg")]
    ask_first = {"Origin": "https://shop.example", "Access-Control-Request-Method": "POST"}

    before = [shop.request("OPTIONS", path, headers=ask_first) for path in paths]
    after = [payer.looks(intent["id"], secret) for secret in (intent["client_secret"], "wrong")]

    assert [answer.status_code for answer in before] == [204, 204, 405, 405, 405]
    for answer in before[:2]:
        assert "Daybook-Client-Secret" in answer.headers["access-control-allow-headers"]
        assert answer.headers["access-control-allow-methods"] == "GET, POST"
    assert [answer.status_code for answer in after] == [200, 401]
    assert {answer.headers.get("access-control-allow-origin") for answer in [*before[:2], *after]} == {"*"}
    others = [*before[2:], shop.get(f"{PAYMENTS}/{intent['id']}")]
    assert not any(name.startswith("access-control") for answer in others for name in answer.headers)
    assert shop.request("OPTIONS", paths[0]).status_code == 405


UPI = {"type": "upi", "flow": "qr"}


def opened(simulation: Simulation, link: str, payer: str = "asha@okbank") -> str:
    """What the payer's app says once it has opened the link."""
    return httpx2.post(f"{simulation.http}/upi/open", json={"payer": payer, "link": link}).text


def read_as_a_camera_does(svg: str) -> list[str]:
    """The texts of all QR codes in the picture, by another implementation than drew it: of dark runs on light."""
    side, scale = (int(re.search(pattern, svg)[1]) for pattern in (r'width="(\d+)"', r"scale\((\d+)\)"))  # type: ignore[index]
    modules = side // scale
    [dark] = re.findall(r'stroke="#000" d="([^"]+)"', svg)
    light = [[True] * modules for _ in range(modules)]
    x = y = 0.0
    for command, numbers in re.findall(r"([Mmhv])([-.\d ]+)", dark):
        first, *second = (float(one) for one in numbers.split())
        match command:
            case "M":
                x, y = first, second[0]
            case "m":
                x, y = x + first, y + second[0]
            case _:
                for column in range(int(x), int(x + first)):
                    light[int(y)][column] = False
                x += first
    pixels = bytes(255 * module for row in light for _ in range(scale) for module in row for _ in range(scale))
    picture = memoryview(pixels).cast("B", shape=[side, side])
    return [found.text for found in zxingcpp.read_barcodes(picture)]


def test_a_payer_reads_a_code_and_pays(shop: Shop, payer: Payer, simulation: Simulation) -> None:
    """
    By UPI without an address: the payment waits for its payer, shows what they have to open as text and as a QR code,
    and is done once they have; what they paid can be given back, though nobody ever said their address.
    """
    intent = shop.intent(1050, "INR", description="Tea & biscuits")
    secret = intent["client_secret"]

    began = time.monotonic()
    asked = payer.pays(intent["id"], secret, UPI).json()
    took_s = time.monotonic() - began
    story = shop.story(intent)
    pictures = [payer.looks(intent["id"], secret, "checkout/qr.svg"), shop.get(f"{PAYMENTS}/{intent['id']}/qr.svg")]

    assert asked["status"] == story["status"] == "requires_action" and took_s < 25
    action = asked["action"]
    assert action == story["action"] and (action["type"], action["link"][:10]) == ("upi_link", "upi://pay?")
    assert story["waits_for"]["whom"] == "payer" and story["waits_for"]["until"] == action["expires_at"]
    assert [event["name"] for event in story["timeline"][-2:]] == [
        "payment.operation_accepted.v1",
        "payment.action_required.v1",
    ]
    for picture in pictures:
        must_be_documented(picture)
        assert picture.headers["content-type"] == "image/svg+xml"
        assert read_as_a_camera_does(picture.text) == [action["link"]]
    assert opened(simulation, action["link"].replace("am=10.50", "am=1.05")).startswith("the link asks")
    assert opened(simulation, action["link"]) == "00"
    until(lambda: payer.looks(intent["id"], secret).json()["status"] == "succeeded")
    after = payer.looks(intent["id"], secret)
    assert after.json()["action"] is None and shop.story(intent)["action"] is None
    gone = payer.looks(intent["id"], secret, "checkout/qr.svg")
    assert (gone.status_code, gone.json()["code"]) == (409, "payment_wants_no_link_opened")
    back = shop.done(f"{PAYMENTS}/{intent['id']}/refund", {"amount": 50}, Prefer="wait=30")
    assert (back["refunded"], back["requests"][-1]["state"]) == (50, "done")
    owed = {row["code"]: row["debits"] - row["credits"] for row in shop.get("/v1/balances?book=main").json()["data"]}
    paid = sum(one["amount"] * (1 if one["operation"] == "collect" else -1) for one in simulation.effects("upi"))
    assert owed["clearing:upi:INR"] == paid == 1000


def test_a_link_that_nobody_opens(shop: Shop, payer: Payer, simulation: Simulation) -> None:
    """
    Until then it cannot be canceled, since they may be paying; once it has expired they may pay in another way.
    """
    intent = shop.intent(1050, "INR")
    secret = intent["client_secret"]

    asked = payer.pays(intent["id"], secret, {"type": "upi", "flow": "intent"}).json()
    canceled = shop.ask(f"{PAYMENTS}/{intent['id']}/cancel")
    simulation.advance(1)
    until(lambda: payer.looks(intent["id"], secret).json()["status"] == "requires_payment_method")
    again = payer.pays(intent["id"], secret, {"type": "upi", "flow": "intent"}, key="again").json()

    assert (canceled.status_code, canceled.json()["code"]) == (409, "payment_status_forbids")
    assert shop.story(intent)["requests"][0]["declined"] == "expired"
    assert again["status"] == "requires_action" and again["action"]["link"] != asked["action"]["link"]
    assert opened(simulation, asked["action"]["link"]).startswith("there is nothing to pay")
    assert opened(simulation, again["action"]["link"], "decline@okbank") == "ZA"
    until(lambda: payer.looks(intent["id"], secret).json()["declined"] == "declined_by_payer")
