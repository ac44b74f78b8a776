"""What rails report is booked by itself, to the cent of their own books, whoever else books it and whatever dies."""

import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from msgspec.structs import replace
from prometheus_client.parser import text_string_to_metric_families

from adapters import paying, settling
from adapters.postgres.log import PostgresLog
from adapters.rails.wiring import Wiring, simulated
from replay.verify import verify
from tests.serving import Caller, serving, until
from tests.settled import came, fees
from tests.simulating import Simulation, simulating

CARD = {"type": "card", "token": "tok_visa", "brand": "visa", "last4": "4242", "expires": "2030-12"}
CHARGEBACK = CARD | {"token": "tok_chargeback", "last4": "0259"}
BANK = {"type": "bank_account", "routing_number": "021000021", "account_number": "000123456789", "holder": "Ada Byron"}
UPI = {"type": "upi", "vpa": "payer@simulator"}
IBAN = {
    "type": "iban",
    "iban": "GB33BUKB20201555555555",
    "bic": "BUKBGB22",
    "holder": "Bob Payee",
    "country": "GB",
}
MERCHANTS = {"card": "EUR", "ach": "USD", "upi": "INR", "wire": "EUR"}
"""Each rail's merchant is named like it."""
FUNDS = 20_000
OPEN = ("requested", "unknown", "accepted")
LONG = 45.0
"""Seconds in which a server that shares its machine has booked what there is to book."""


class Shop(Caller):
    """A merchant for each rail, with something on its account."""

    def begin(self) -> None:
        self.done("/v1/books", {"code": "main"})
        for currency in dict.fromkeys(MERCHANTS.values()):
            self.account(f"bank-{currency}", currency=currency)
        for rail, currency in MERCHANTS.items():
            self.account(rail, "liability", currency=currency)
            postings = [
                {"account": account, "side": side, "amount": FUNDS, "currency": currency}
                for account, side in ((f"bank-{currency}", "debit"), (rail, "credit"))
            ]
            self.done("/v1/journal-entries", {"book": "main", "postings": postings})

    def pay(self, rail: str, method: dict[str, Any], amount: int = 1_000, **said: Any) -> dict[str, Any]:
        """A payment, and what it is once its rail has nothing more to say for now."""
        given = {"book": "main", "account": rail, "currency": MERCHANTS[rail], "method": method, "confirm": True}
        made = self.done("/v1/payments", {**given, "amount": amount, **said})
        if rail != "ach":
            return self.rested(made["id"])
        self.taken(made["id"])
        return made

    def taken(self, payment_id: str) -> None:
        """Wait until its bank has taken the last thing that was asked, to be done on its day."""
        until(lambda: (asked := self.read(payment_id)["requests"]) and asked[-1]["state"] == "accepted", seconds=LONG)

    def upon(self, payment: Mapping[str, Any], verb: str, **said: Any) -> dict[str, Any]:
        return self.done(f"/v1/payments/{payment['id']}/{verb}", said)

    def read(self, payment_id: str) -> dict[str, Any]:
        found: dict[str, Any] = httpx2.get(f"{self.base_url}/v1/payments/{payment_id}", timeout=30).json()
        return found

    def rested(self, payment_id: str) -> dict[str, Any]:
        def is_at_rest() -> bool:
            found = self.read(payment_id)
            waits = any(request["state"] in OPEN for request in found["requests"])
            return not waits and found["status"] != "processing"

        until(is_at_rest, seconds=LONG)
        return self.read(payment_id)

    def balances(self) -> dict[str, int]:
        """Debits less credits, by code."""
        listed = self.get("/v1/balances", params={"book": "main"}).json()["data"]
        return {one["code"]: one["debits"] - one["credits"] for one in listed}

    def settlements(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.get("/v1/settlements", params={"limit": 100}).json()["data"]
        return found

    def disputes(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.get("/v1/disputes").json()["data"]
        return found

    def told(self) -> Counter[str]:
        """Lines that fitted, by what they say, and breaks."""
        told: Counter[str] = Counter()
        for one in self.settlements():
            told.update(one["lines"])
            told["break"] += len(one["breaks"])
        return +told


@pytest.fixture
def rails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Simulation]:
    monkeypatch.setattr(settling, "LOOK_S", 0.3)
    monkeypatch.setattr(paying, "AGAIN_S", (0.2, 0.5, 1.0))
    with simulating(tmp_path / "books.jsonl") as simulation:
        yield simulation


def wiring_of(simulation: Simulation) -> Wiring:
    return simulated(simulation.http, cards=int(simulation.rails["card"].rpartition(":")[2]))


@contextmanager
def shop(database: str, rails: Simulation, *, wiring: Wiring | None = None) -> Iterator[Shop]:
    with serving(database, wiring=wiring or wiring_of(rails)) as base_url, Shop(base_url) as found:
        yield found


def must_be_settled(customer: Shop, simulation: Simulation) -> None:
    """Nothing is owed any more, and what the rails paid and kept is what they say."""
    balances, expected = customer.balances(), came(simulation)
    for rail, currency in MERCHANTS.items():
        assert balances.get(f"clearing:{rail}:{currency}", 0) == 0, (rail, balances)
        assert balances.get(f"settlement:{rail}:{currency}", 0) == expected[rail], (rail, balances, expected)
    assert balances.get("fees:card:EUR", 0) == fees(simulation)
    assert not [code for code in balances if code.startswith("suspense")], balances


def verified(database: str) -> None:
    with PostgresLog(database) as log:
        assert verify(log).exit_code == 0


def test_all_rails_settle(database: str, rails: Simulation) -> None:
    """
    Paid, captured in part, refunded, collected, paid out: once the days are over each clearing account is at zero, and
    what has come in, less fees, is what the rails' own books say; nothing is a break.
    """
    with shop(database, rails) as customer:
        customer.begin()
        manual = customer.pay("card", CARD, 2_000, capture="manual")
        customer.upon(manual, "capture", amount=700)
        customer.rested(manual["id"])
        customer.upon(manual, "capture", amount=300, final=True)
        customer.rested(manual["id"])
        customer.upon(manual, "refund", amount=250)
        customer.pay("card", CARD, 1_234)
        customer.pay("ach", BANK, 900)
        upi = customer.pay("upi", UPI, 50_000)
        customer.upon(upi, "refund", amount=20_000)
        customer.pay("wire", IBAN, 400, direction="out")
        customer.rested(manual["id"])

        rails.advance(9)
        until(lambda: customer.told()["settled"] == 8, seconds=LONG)

        assert customer.told() == {"settled": 8}
        must_be_settled(customer, rails)
        settled = customer.read(manual["id"])
        assert {one["operation"]: bool(one["settlement_id"]) for one in settled["requests"]} == {
            "authorize": False,
            "capture": True,
            "refund": True,
        }
        metrics = text_string_to_metric_families(customer.get("/metrics").text)
        lines = [one for family in metrics for one in family.samples if one.name == "settlement_lines_total"]
        assert {one.labels["rail"]: one.value for one in lines if one.labels["said"] == "settled"} == {
            "card": 4,
            "ach": 1,
            "upi": 2,
            "wire": 1,
        }
    verified(database)


def test_two_servers_book_a_day_once(database: str, rails: Simulation) -> None:
    """
    At the same time, each all of it.
    """
    with shop(database, rails) as customer, shop(database, rails) as other:
        customer.begin()
        for amount in range(100, 110):
            customer.done(
                "/v1/payments",
                {
                    **{"book": "main", "account": "card", "currency": "EUR", "method": CARD, "confirm": True},
                    "amount": amount,
                },
            )
        until(lambda: customer.balances().get("card", 0) == -FUNDS - sum(range(100, 110)), seconds=LONG)

        rails.advance(9)
        until(lambda: customer.told()["settled"] == 10, seconds=LONG)
        until(lambda: _passed(customer) == _passed(other) != {}, seconds=LONG)

        assert customer.told() == {"settled": 10}
        must_be_settled(customer, rails)
    verified(database)


def _passed(customer: Shop) -> dict[str, float]:
    """The last day that the server has passed, by route, with at least one of them passed."""
    families = text_string_to_metric_families(customer.get("/metrics").text)
    samples = [one for family in families for one in family.samples if one.name == "settlement_day_seconds"]
    return {one.labels["route"]: one.value for one in samples}


def test_disputes_from_end_to_end(database: str, rails: Simulation) -> None:
    """
    Two payments are disputed, and the rail takes them back with a fee; one is contested and won, the other lost.
    """
    with shop(database, rails) as customer:
        customer.begin()
        first, second = (customer.pay("card", CHARGEBACK, amount) for amount in (1_000, 600))
        rails.advance(9)
        until(lambda: customer.told()["disputed"] == 2, seconds=LONG)
        assert customer.balances()["card"] == -FUNDS
        must_be_settled(customer, rails)

        for payment, text in ((first, "a winning receipt"), (second, "a losing one")):
            (dispute,) = (one for one in customer.disputes() if one["payment_id"] == payment["id"])
            assert (dispute["state"], dispute["code"]) == ("needs_response", "10.4")
            customer.upon(payment, f"disputes/{dispute['id']}/contest", evidence={"receipt": text})
            customer.rested(payment["id"])
        rails.advance(4)
        until(lambda: {one["state"] for one in customer.disputes()} == {"won", "lost"}, seconds=LONG)

        assert customer.told() == {"settled": 2, "disputed": 2, "dispute_won": 1, "dispute_lost": 1}
        assert customer.balances()["card"] == -FUNDS - 1_000
        must_be_settled(customer, rails)
    verified(database)


def test_what_comes_back_after_it_settled(database: str, rails: Simulation) -> None:
    """
    An ACH entry and a wire: done, settled, returned with the rail's reason; the merchant is as before.
    """
    with shop(database, rails) as customer:
        customer.begin()
        collected = customer.pay("ach", BANK, 5101)
        paid = customer.pay("wire", IBAN, 5130, direction="out")
        rails.advance(9)
        until(lambda: customer.told()["settled"] == 2, seconds=LONG)
        rails.advance(2)
        until(lambda: customer.told()["returned"] == 2, seconds=LONG)

        assert customer.read(collected["id"])["returned"] == 5101
        assert customer.read(paid["id"])["returned"] == 5130
        balances = customer.balances()
        assert (balances["ach"], balances["wire"]) == (-FUNDS, -FUNDS)
        must_be_settled(customer, rails)
    verified(database)


def test_an_entry_whose_answer_was_lost_waits_for_it(database: str, rails: Simulation) -> None:
    """
    It is known by nothing but its own id then: what the report says of it is no break, and is booked once it is known.
    """
    with shop(database, rails) as customer:
        customer.begin()
        rails.switch("ach", drop_after=1.0)
        given = {"book": "main", "account": "ach", "currency": "USD", "method": BANK, "confirm": True}
        lost = customer.done("/v1/payments", {**given, "amount": 900})
        until(lambda: len(rails.effects("ach")) == 1, seconds=LONG)
        rails.advance(9)
        time.sleep(2)
        assert customer.told() == {}

        rails.switch("ach")
        until(lambda: customer.told()["settled"] == 1, seconds=LONG)

        assert customer.told() == {"settled": 1}
        assert customer.read(lost["id"])["requests"][0]["settlement_id"]
        must_be_settled(customer, rails)
    verified(database)


def test_what_is_undone_settles_as_undone(database: str, rails: Simulation) -> None:
    """
    A card payment before it settles, a wire by recall, an ACH entry by its reversal.
    """
    with shop(database, rails) as customer:
        customer.begin()
        undone = [
            customer.pay("card", CARD, 1_000),
            customer.pay("wire", IBAN, 700, direction="out"),
        ]
        for payment in undone:
            customer.upon(payment, "reverse")
            customer.rested(payment["id"])
        collected = customer.pay("ach", BANK, 900)
        rails.advance(4)
        customer.rested(collected["id"])
        customer.upon(collected, "reverse")
        customer.taken(collected["id"])
        rails.advance(9)
        customer.rested(collected["id"])

        until(lambda: customer.told()["settled"] == 6, seconds=LONG)
        assert customer.told() == {"settled": 6}
        balances = customer.balances()
        assert {rail: balances[rail] for rail in ("card", "wire", "ach")} == dict.fromkeys(
            ("card", "wire", "ach"), -FUNDS
        )
        must_be_settled(customer, rails)
    verified(database)


def test_what_fits_nothing_is_a_break_and_stands_on_suspense(database: str, rails: Simulation) -> None:
    """
    Reported twice, or of a payment that nobody here asked for: in the book of the wiring, to the cent.
    """
    with shop(database, rails) as customer:
        customer.begin()
        rails.switch("card", duplicate=1.0)
        customer.pay("card", CARD, 1_000)
        rails.switch("card")
        credit = {"id": "somebody", "amount": 77, "currency": "EUR", "reference": "", "bank": "SIMUDEFFXXX"}
        customer.pay("wire", IBAN, 400, direction="out")
        account = wiring_of(rails).wire[0].account
        httpx2.post(f"{rails.http}/wire/credits", json={**credit, "account": account}).raise_for_status()
        rails.advance(9)
        until(lambda: customer.told()["break"] == 2, seconds=LONG)

        breaks = [one for settlement in customer.settlements() for one in settlement["breaks"]]
        assert sorted((one["moved"], bool(one["payment_id"])) for one in breaks) == [(77, False), (1_000, True)]
        assert customer.balances()["suspense:EUR"] == -1_077
        assert customer.balances()["clearing:card:EUR"] == 0
    verified(database)


def test_a_report_that_cannot_be_right_is_not_passed(database: str, rails: Simulation, tmp_path: Path) -> None:
    """
    Nothing of it is booked and it is a fault; once it is right, all of it is.
    """
    wiring = wiring_of(rails)
    lost = tuple(replace(one, reports=f"{rails.http}/reports/upi") for one in wiring.card)
    with shop(database, rails, wiring=replace(wiring, card=lost)) as customer:
        customer.begin()
        customer.pay("card", CARD, 1_000)
        rails.advance(9)
        until(lambda: "settling.rejected" in customer.get("/metrics").text, seconds=LONG)
        assert customer.told() == {}
    with shop(database, rails) as customer:
        until(lambda: customer.told()["settled"] == 1, seconds=LONG)
        must_be_settled(customer, rails)


def test_a_long_day_comes_in_parts(database: str, rails: Simulation, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Each once; a server that comes later, and does not know how far the last one came, books nothing more.
    """
    monkeypatch.setattr(settling, "LINES_MAX", 3)
    wiring = wiring_of(rails)
    one_way = replace(wiring, card=wiring.card[:1], routes=wiring.routes[:1], ach=(), upi=(), wire=())
    with shop(database, rails, wiring=one_way) as customer:
        customer.begin()
        for amount in range(100, 110):
            customer.pay("card", CARD, amount)
        rails.advance(9)
        until(lambda: customer.told()["settled"] == 10, seconds=LONG)
        until(lambda: "card-a" in _passed(customer), seconds=LONG)
        passed = _passed(customer)
    with shop(database, rails, wiring=one_way) as customer:
        until(lambda: _passed(customer) == passed, seconds=LONG)
        parts = sorted(one["part"] for one in customer.settlements())
        assert parts == [1, 2, 3, 4]
        must_be_settled(customer, rails)
    verified(database)
