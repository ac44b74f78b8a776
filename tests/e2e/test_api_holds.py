"""The whole life of a hold over HTTP, and what every read says of it at each step."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest

from adapters.cli import main
from adapters.postgres.log import PostgresLog
from adapters.postgres.projecting import catch_up
from replay.verify import verify
from tests.serving import Caller, serving, transfer, until


class Shop(Caller):
    """A shop whose customer has 1000 in cash, with no overdraft."""

    cash: str

    def begin(self) -> None:
        self.done("/v1/books", {"code": "main"})
        self.cash = self.account("cash", overdraft_limit=0)["id"]
        self.account("goods", "expense")
        self.account("owner", "equity")
        self.done("/v1/journal-entries", transfer("cash", "owner", 1_000))

    def hold(self, amount: int, **said: Any) -> Any:
        wanted = {"book": "main", "account": "cash", "destination": "goods", "amount": amount, "currency": "EUR"}
        return self.done("/v1/holds", {**wanted, **said})

    def read(self, path: str, **asked: Any) -> Any:
        response = self.get(path, params=asked)
        assert response.status_code == 200, response.text
        return response.json()

    def balance(self, **when: Any) -> tuple[int, int]:
        found = self.read(f"/v1/accounts/{self.cash}/balance", **when)
        return found["balance"], found["available"]


@contextmanager
def shopping(base_url: str) -> Iterator[Shop]:
    with Shop(base_url) as shop:
        shop.begin()
        yield shop


@pytest.fixture
def served(database: str) -> Iterator[tuple[str, str]]:
    with serving(database) as base_url:
        yield database, base_url


def as_answered(read: dict[str, Any]) -> dict[str, Any]:
    """What a read says, without what only reads say."""
    more = ("account_code", "destination_code", "actor", "recorded_at")
    return {name: value for name, value in read.items() if name not in more}


def test_the_life_of_a_hold(served: tuple[str, str]) -> None:
    """
    Placed, increased, captured in part and to the end: at each step reads and answers say the same, balances fall when
    they should, and the books verify in the end.
    """
    dsn, base_url = served
    with shopping(base_url) as shop:
        held = shop.hold(300, reference="order-1", metadata={"till": "2"})
        path = f"/v1/holds/{held['id']}"
        assert as_answered(shop.read(path)) == held
        assert shop.balance() == (1000, 700)
        assert shop.ask("/v1/journal-entries", transfer("owner", "cash", 701)).status_code == 422

        more = shop.done(f"{path}/increase", {"amount": 100})
        assert as_answered(shop.read(path)) == more
        assert (more["amount"], shop.balance()) == (400, (1000, 600))

        entry = shop.done(f"{path}/capture", {"amount": 150})
        assert shop.balance() == (850, 600)
        assert shop.read(f"/v1/journal-entries/{entry['id']}")["captures"] == entry["captures"] == held["id"]
        shop.done(f"{path}/capture", {"amount": 50, "final": True})
        found = shop.read(path)
        assert (found["status"], found["captured"], found["remaining"]) == ("captured", 200, 0)
        assert shop.balance() == (800, 800)
        assert shop.balance(position=held["position"]) == (1000, 700)
        assert [hold["id"] for hold in shop.read("/v1/holds", account=shop.cash, status="captured")["data"]] == [
            held["id"]
        ]
        postings = shop.read(f"/v1/accounts/{shop.cash}/postings")["data"]
        assert [posting["amount"] for posting in postings] == [50, -250, 150, -150, 100, 300, 1000]
        assert [posting["hold_id"] for posting in postings if posting["pending"]] == [held["id"]] * 4
        assert [entry["captures"] for entry in shop.read("/v1/journal-entries", account=shop.cash)["data"]] == [
            *(held["id"], held["id"]),
            None,
        ]

    catch_up(dsn)
    with PostgresLog(dsn) as log:
        assert verify(log).verdict == "verified"


def test_a_hold_ends_at_its_time(served: tuple[str, str]) -> None:
    """
    Daybook ends a hold by itself at its time, in its own name; what is captured then is refused, and nothing is lost.
    """
    _, base_url = served
    with shopping(base_url) as shop:
        expires_at = datetime.now(UTC) + timedelta(seconds=1.5)
        held = shop.hold(300, expires_at=expires_at.isoformat())
        kept = shop.hold(10)
        path = f"/v1/holds/{held['id']}"
        assert shop.balance() == (1000, 690)

        until(lambda: shop.read(path)["status"] == "expired", seconds=5)

        late = shop.ask(f"{path}/capture")
        assert (late.status_code, late.json()["code"]) == (409, "hold_ended")
        assert shop.balance() == (1000, 990)
        records = shop.read("/v1/audit-trail", stream=held["id"])["data"]
        assert [(record["event"], record["actor"]) for record in records] == [
            ("command.refused.v1", "tester"),
            ("hold.expired.v1", "daybook"),
            ("hold.placed.v1", "tester"),
        ]
        ended_at = datetime.fromisoformat(records[1]["recorded_at"])
        assert timedelta(0) <= ended_at - expires_at < timedelta(seconds=0.5)
        assert shop.read(f"/v1/holds/{kept['id']}")["status"] == "held"


def test_two_servers_end_a_hold_once(database: str) -> None:
    """
    Each of two servers on one database would end it; it ends once, and neither is refused.
    """
    with serving(database) as one, serving(database) as other, shopping(one) as shop:
        soon = (datetime.now(UTC) + timedelta(seconds=1.2)).isoformat()
        holds = [shop.hold(10, expires_at=soon)["id"] for _ in range(5)]

        until(lambda: len(shop.read("/v1/holds", status="expired")["data"]) == 5, seconds=5)
        time.sleep(0.3)

        records = httpx2.get(f"{other}/v1/audit-trail", params={"actor": "daybook"}).json()["data"]
        assert sorted(record["subject"] for record in records) == sorted(holds)
        assert {record["event"] for record in records} == {"hold.expired.v1"}


def test_the_command_line_shows_what_is_available(
    served: tuple[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    `daybook balance` and `replay` show what a hold leaves, where it differs, and what it was before.
    """
    dsn, base_url = served
    monkeypatch.setenv("DATABASE_URL", dsn)
    with shopping(base_url) as shop:
        held = shop.hold(250)
        entry = shop.done(f"/v1/holds/{held['id']}/capture", {"amount": 50})

    def said(*words: str) -> str:
        monkeypatch.setattr("sys.argv", ["daybook", *words])
        with pytest.raises(SystemExit) as end:
            main()
        assert not end.value.code
        return capsys.readouterr().out

    for command in (["balance", "--all"], ["replay"]):
        shown = said(*command)
        assert "available" in shown
        assert "9.50" in shown and "7.50" in shown
        assert "available" not in said(*command, "--position", str(held["position"] - 1))
    assert '"available": "7.50"' in said("balance", "cash", "--json")
    assert held["id"] in said("entry", entry["id"])
    assert "cash" in said("accounts")
