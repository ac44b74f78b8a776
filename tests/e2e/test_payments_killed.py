"""A payment whose server is killed at each of its commits, just before it and just after: it ends as if nothing were.

Every commit of its life is in it, counted from a run in which nothing is killed; no position is left to chance. The
rails are a simulator's, in a process of its own, with books of its own. What comes after it is part of its life: its
settlement, a dispute that is contested, a reversal.
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx2
import psycopg
import pytest

from domain import ids
from domain.clearing import clearing_code, fees_code, settlement_code
from tests.killing import NEVER, Server, mortal
from tests.ports import two_free_ports
from tests.serving import head, until
from tests.simulating import Simulation, simulating

CARD = {"type": "card", "token": "tok_visa", "brand": "visa", "last4": "4242", "expires": "2030-12"}
CHARGEBACK = CARD | {"token": "tok_chargeback", "last4": "0259"}
UPI = {"type": "upi", "vpa": "payer@simulator"}
IBAN = {
    "type": "iban",
    "iban": "DE89370400440532013000",
    "bic": "COBADEFFXXX",
    "holder": "Bob Payee",
    "country": "DE",
}


class Life(NamedTuple):
    """What is asked, in order: a path, with `{}` for the payment, and a body; each once what came before is done.

    `advance` is the simulator's clock: so many days, and then what the payment has come to, `settled` being how many of
    its requests are.
    """

    rail: str
    currency: str
    steps: list[tuple[str, dict[str, Any]]]
    ends: dict[str, Any]


LIVES = {
    "card": Life(
        "card",
        "EUR",
        [
            ("", {"amount": 1000, "method": CARD, "confirm": True, "capture": "manual"}),
            ("/{}/increase", {"amount": 200}),
            ("/{}/capture", {"amount": 700}),
            ("/{}/capture", {"amount": 300, "final": True}),
            ("/{}/refund", {"amount": 250}),
        ],
        {"status": "partially_captured", "authorized": 1200, "captured": 1000, "refunded": 250},
    ),
    "card-void": Life(
        "card",
        "EUR",
        [("", {"amount": 500, "method": CARD, "confirm": True, "capture": "manual"}), ("/{}/cancel", {})],
        {"status": "canceled", "authorized": 500, "captured": 0, "refunded": 0},
    ),
    "upi": Life(
        "upi",
        "INR",
        [("", {"amount": 50_000, "method": UPI, "confirm": True}), ("/{}/refund", {"amount": 20_000})],
        {"status": "succeeded", "authorized": 0, "captured": 50_000, "refunded": 20_000},
    ),
    "card-disputed": Life(
        "card",
        "EUR",
        [
            ("", {"amount": 1000, "method": CHARGEBACK, "confirm": True}),
            ("advance", {"days": 9, "settled": 1, "disputed": 1000}),
            ("/{}/disputes/{dispute}/contest", {"evidence": {"receipt": "a winning one"}}),
            ("advance", {"days": 4, "settled": 1, "disputed": 0}),
        ],
        {"status": "succeeded", "captured": 1000, "refunded": 0, "disputed": 0},
    ),
    "card-reversed": Life(
        "card",
        "EUR",
        [
            ("", {"amount": 600, "method": CARD, "confirm": True}),
            ("/{}/reverse", {}),
            ("advance", {"days": 9, "settled": 2, "reversed": 600}),
        ],
        {"status": "succeeded", "captured": 600, "reversed": 600},
    ),
    "wire": Life(
        "wire",
        "EUR",
        [("", {"amount": 400, "direction": "out", "method": IBAN, "confirm": True})],
        {"status": "succeeded", "authorized": 0, "captured": 0, "refunded": 0},
    ),
}


class World:
    """One database, one simulator, and a client that asks again under the same key until it is answered."""

    def __init__(self, dsn: str, simulation: Simulation, life: Life) -> None:
        self.dsn = dsn
        self.simulation = simulation
        self.life = life
        self.payment = ""
        self._asked = 0
        self._advanced: set[int] = set()
        self._url = ""

    @contextmanager
    def serving(self, position: int = NEVER, when: str = "after") -> Iterator[Server]:
        """A server that dies at that position."""
        port = two_free_ports()
        self._url = f"http://127.0.0.1:{port}"
        server = mortal(self.dsn, self.simulation, port=port, position=position, after=when == "after")
        try:
            until(lambda: self._ready() or not server.is_alive())
            yield server
        finally:
            server.kill()
            server.join()
            server.close()

    def _ready(self) -> bool:
        try:
            return httpx2.get(f"{self._url}/readyz", timeout=5).is_success
        except httpx2.HTTPError:
            return False

    def begin(self) -> None:
        """A book, and an account with something on it, so that a payout can be made."""
        book = {"code": "main"}
        account = {"book": "main", "type": "liability", "currency": self.life.currency}
        funding = [
            {"account": "bank", "side": "debit", "amount": 1000, "currency": self.life.currency},
            {"account": "merchant", "side": "credit", "amount": 1000, "currency": self.life.currency},
        ]
        for path, body in (
            ("/v1/books", book),
            ("/v1/accounts", {**account, "code": "merchant"}),
            ("/v1/accounts", {**account, "code": "bank", "type": "asset"}),
            ("/v1/journal-entries", {"book": "main", "postings": funding}),
        ):
            answer = httpx2.post(self._url + path, json=body, headers=self._headers(f"{path}{body.get('code')}"))
            answer.raise_for_status()

    def go_on(self) -> bool:
        """Ask for what was not answered yet, step by step; False if the server died meanwhile."""
        try:
            while self._asked < len(self.life.steps):
                self._settle()
                path, body = self.life.steps[self._asked]
                if path == "advance":
                    self._advance(**body)
                    self._asked += 1
                    continue
                if not path:
                    body = {"book": "main", "account": "merchant", "currency": self.life.currency, **body}
                dispute = self._dispute() if "{dispute}" in path else ""
                where = f"{self._url}/v1/payments{path.format(self.payment, dispute=dispute)}"
                answer = httpx2.post(where, json=body, headers=self._headers(f"step-{self._asked}"), timeout=30)
                assert answer.is_success, answer.text
                self.payment = answer.json()["id"]
                self._asked += 1
            self._settle()
        except httpx2.TransportError:
            return False
        return True

    def _advance(self, days: int, settled: int, **then: int) -> None:
        """Once, whoever died meanwhile; until that is booked which the rail reports of these days."""
        if self._asked not in self._advanced:
            self._advanced.add(self._asked)
            self.simulation.advance(days)
        until(lambda: self._is_settled(settled, then), seconds=40)

    def _is_settled(self, settled: int, then: dict[str, int]) -> bool:
        shown = self._shown()
        named = [one for one in shown["requests"] if one["settlement_id"]]
        return len(named) == settled and {name: shown[name] for name in then} == then

    def _dispute(self) -> str:
        found = httpx2.get(f"{self._url}/v1/disputes", timeout=30).raise_for_status().json()
        return str(found["data"][0]["id"])

    def _settle(self) -> None:
        """Wait until no rail has anything to answer, and nothing is to be started."""
        if self.payment:
            until(lambda: not self._waits(), seconds=40)

    def _shown(self) -> dict[str, Any]:
        shown = httpx2.get(f"{self._url}/v1/payments/{self.payment}", timeout=30).raise_for_status()
        found: dict[str, Any] = shown.json()
        return found

    def _waits(self) -> bool:
        shown = self._shown()
        open_ones = [one for one in shown["requests"] if one["state"] in ("requested", "unknown", "accepted")]
        return shown["status"] == "processing" or bool(open_ones)

    def _headers(self, key: str) -> dict[str, str]:
        return {"Daybook-Actor": "tester", "Idempotency-Key": key}

    def story(self) -> dict[str, Any]:
        """What it has come to, on both sides, without ids and times."""
        shown = self._shown()
        requests = [
            (one["operation"], one["amount"], one["state"], bool(one["settlement_id"])) for one in shown["requests"]
        ]
        effects = [(one["operation"], one["amount"], one["outcome"]) for one in self.simulation.effects(self.life.rail)]
        return {
            **{name: shown[name] for name in ("status", "authorized", "captured", "refunded", "reversed", "disputed")},
            "requests": requests,
            "rail": sorted(effects),
            "balances": self._balances(),
        }

    def _balances(self) -> dict[str, tuple[int, ...]]:
        """By code: debits, credits, and what is pending."""
        with psycopg.connect(self.dsn) as connection:
            rows = connection.execute("""
                SELECT DISTINCT ON (account) account, debits, credits, pending_debits, pending_credits
                FROM daybook.postings ORDER BY account, number DESC
            """).fetchall()
        book = ids.book_id("main")
        of_rail = (clearing_code, settlement_code, fees_code)
        codes = ("merchant", "bank", *(code(self.life.rail, self.life.currency) for code in of_rail))
        named = {ids.account_id(book, code): code for code in codes}
        return {named[row[0]]: tuple(row[1:]) for row in rows}


@pytest.fixture
def simulation(tmp_path: Path) -> Iterator[Simulation]:
    with simulating(tmp_path / "rails.jsonl") as running:
        yield running


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("name", LIVES)
def test_nothing_is_lost_and_nothing_done_twice(
    name: str, when: str, server: Any, template: str, simulation: Simulation, tmp_path: Path
) -> None:
    """
    Killed at any commit, just before or just after it, and started again, it comes to the same end, on its rail too.
    """
    from tests.conftest import database_on

    life = LIVES[name]
    with database_on(server, template=template) as dsn:
        unharmed = World(dsn, simulation, life)
        with unharmed.serving():
            unharmed.begin()
            first = head(dsn) + 1
            assert unharmed.go_on()
            expected = unharmed.story()
        commits = _commits(dsn, first)
    assert {key: expected[key] for key in life.ends} == life.ends
    assert len(commits) >= len(life.steps) * 2

    for position in commits:
        with database_on(server, template=template) as dsn, simulating(tmp_path / f"{position}.jsonl") as rails:
            world = World(dsn, rails, life)
            with world.serving(position, when) as process:
                world.begin()
                assert not world.go_on(), f"it was not killed {when} {position}"
                process.join(timeout=30)
                assert process.exitcode == -signal.SIGKILL
            with world.serving():
                assert world.go_on()
                assert world.story() == expected, f"killed {when} {position}"


def _commits(dsn: str, first: int) -> list[int]:
    """The last position of each commit from there on."""
    with psycopg.connect(dsn) as connection:
        rows = connection.execute("SELECT last FROM daybook.seals WHERE last >= %s ORDER BY first", (first,)).fetchall()
    return [row[0] for row in rows]
