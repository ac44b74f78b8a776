"""The UPI rail against a real `daybook simulate`: payers who agree, decline and sleep, and every fault on the way."""

import asyncio
import csv
import io
import threading
from collections.abc import Coroutine, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, TypeVar

import httpx2
import pytest

from adapters.rails.upi.messages import payment_id
from adapters.rails.upi.rail import Bank, UpiRail, answer_in, link_for, payment_in
from domain.errors import Unavailable
from domain.ports import Addresses
from domain.rail import (
    Accepted,
    Answer,
    Approved,
    Declined,
    Instruction,
    NotFound,
    Operation,
    Rail,
    Retry,
    Unknown,
    UpiAddress,
)
from domain.upi import day_of
from tests.simulating import Simulation, simulating, until

T = TypeVar("T")


class Merchant:
    """A merchant who collects, pays out and refunds by one bank of the simulator. `patience_s`: as the rail's."""

    def __init__(self, simulation: Simulation, patience_s: float = 0.6) -> None:
        url = simulation.rails["upi"]
        self.bank = Bank(route="mybank", url=url, address="shop@mybank", name="The Shop", mcc="5411")
        self.simulation = simulation
        self._count = 0
        self._runner = asyncio.Runner()
        self._rail = UpiRail([self.bank], patience_s=patience_s)
        self._addresses: Addresses = self._rail

    def run(self, asked: Coroutine[Any, Any, T]) -> T:
        return self._runner.run(asked)

    def instruction(
        self, operation: Operation = Operation.COLLECT, vpa: str = "asha@okbank", **said: Any
    ) -> Instruction:
        self._count += 1
        given: dict[str, Any] = {
            "request_id": f"{self._count:022}",
            "operation": operation,
            "rail": Rail.UPI,
            "route": "mybank",
            "amount": 1050,
            "currency": "INR",
            "method": UpiAddress(vpa=vpa),
            "sent_at": datetime.now(UTC),
            "descriptor": "Tea & biscuits",
        }
        return Instruction(**{**given, **said})

    def send(self, instruction: Instruction) -> Answer:
        return self.run(self._rail.send(instruction))

    def inquire(self, instruction: Instruction) -> Answer:
        return self.run(self._rail.inquire(instruction))

    def resolve(self, vpa: str) -> Any:
        return self.run(self._addresses.resolve(vpa, request_id="q" * 22, now=datetime.now(UTC)))

    def ended(self, instruction: Instruction) -> Answer:
        """The answer to an inquiry once it is neither accepted nor unknown any more."""
        answers: list[Answer] = []

        def settled() -> bool:
            answers.append(self.inquire(instruction))
            return not isinstance(answers[-1], Accepted | Unknown)

        until(settled)
        return answers[-1]

    def collected(self, vpa: str = "asha@okbank", amount: int = 1050) -> tuple[Instruction, Approved]:
        asked = self.instruction(vpa=vpa, amount=amount)
        assert isinstance(self.send(asked), Accepted)
        answer = self.ended(asked)
        assert isinstance(answer, Approved)
        return asked, answer

    def refund(self, upon: tuple[Instruction, Approved], amount: int, vpa: str = "asha@okbank") -> Instruction:
        said = {"original": upon[1].reference, "original_request_id": upon[0].request_id, "amount": amount}
        return self.instruction(Operation.REFUND, vpa, **said)

    def settlement(self) -> list[dict[str, str]]:
        day = day_of(datetime.fromisoformat(self.simulation.get("/now").json()["now"]))
        return list(csv.DictReader(io.StringIO(self.simulation.get(f"/settlement/upi/{day}").text)))

    def close(self) -> None:
        self.run(self._rail.close())
        self._runner.close()


@pytest.fixture
def simulation(tmp_path: Path) -> Iterator[Simulation]:
    with simulating(tmp_path / "books.jsonl", seed=7) as found:
        yield found


@pytest.fixture
def merchant(simulation: Simulation) -> Iterator[Merchant]:
    found = Merchant(simulation)
    try:
        yield found
    finally:
        found.close()


class Listener:
    """Whoever is told what the bank says unasked."""

    def __init__(self) -> None:
        heard: list[bytes] = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                heard.append(self.rfile.read(int(self.headers["Content-Length"])))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.heard = heard
        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}/"

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def listener(simulation: Simulation) -> Iterator[Listener]:
    found = Listener()
    simulation.put("/callbacks/upi", {"url": found.url})
    try:
        yield found
    finally:
        found.close()


def test_collect(merchant: Merchant) -> None:
    """
    The payer is asked, agrees, and the money is in the bank's books and in its settlement file.
    """
    asked, answer = merchant.collected()

    (effect,) = merchant.simulation.effects("upi")
    row, total = merchant.settlement()
    assert (answer.amount, answer.currency, answer.code) == (1050, "INR", "00")
    assert (effect["outcome"], effect["amount"], effect["reference"]) == ("approved", 1050, answer.reference)
    assert answer.settles_on == effect["day"]
    assert (row["rrn"], row["txn_id"], row["amount"]) == (answer.reference, payment_id(asked.request_id), "10.50")
    assert (row["type"], row["direction"], row["payer"]) == ("COLLECT", "credit", "asha@okbank")
    assert (total["rrn"], total["txn_id"], total["amount"]) == ("total", "1", "10.50")


@pytest.mark.parametrize(
    ("name", "code", "reason", "retry"),
    [
        ("decline", "ZA", "declined_by_payer", Retry.NEVER),
        ("poor", "Z9", "insufficient_funds", Retry.LATER),
        ("pin", "ZM", "incorrect_pin", Retry.NEVER),
        ("spent", "Z8", "limit_exceeded", Retry.NEVER),
        ("frozen", "YE", "account_frozen", Retry.NEVER),
        ("fraud", "K1", "suspected_fraud", Retry.NEVER),
        ("nobody", "ZH", "invalid_address", Retry.NEVER),
        ("bank", "XY", "issuer_unavailable", Retry.LATER),
        ("lost", "21", "returned", Retry.LATER),
    ],
)
def test_payers_who_say_no(merchant: Merchant, name: str, code: str, reason: str, retry: Retry) -> None:
    """
    What a payer's name stands for is what they say, once they were asked; no money moves.
    """
    asked = merchant.instruction(vpa=f"{name}@okbank")

    assert isinstance(merchant.send(asked), Accepted)
    answer = merchant.ended(asked)

    assert isinstance(answer, Declined)
    assert (answer.code, answer.reason, answer.retry) == (code, reason, retry)
    assert [row["rrn"] for row in merchant.settlement()] == ["total"]


def test_a_payer_who_does_not_look(merchant: Merchant) -> None:
    """
    Nothing comes of it until the request expires.
    """
    asked = merchant.instruction(vpa="silent@okbank")

    assert isinstance(merchant.send(asked), Accepted)
    assert isinstance(merchant.inquire(asked), Accepted)
    merchant.simulation.advance(1)

    answer = merchant.inquire(asked)
    assert isinstance(answer, Declined)
    assert (answer.code, answer.reason) == ("U69", "expired")


def test_a_link(merchant: Merchant) -> None:
    """
    An intent waits until an app opens its link; a link that was changed on the way pays nothing.
    """
    asked = merchant.instruction(method=UpiAddress(vpa="", flow="intent"))
    link = link_for(asked, merchant.bank)

    def open_link(text: str) -> str:
        body = {"payer": "asha@okbank", "link": text}
        return httpx2.post(f"{merchant.simulation.http}/upi/open", json=body).text

    assert isinstance(merchant.send(asked), Accepted)
    assert isinstance(merchant.inquire(asked), Accepted)
    assert "something else" in open_link(link.replace("am=10.50", "am=1.05"))
    assert "something else" in open_link(link.replace("shop@mybank", "thief@mybank"))
    assert "not a UPI address" in open_link(link.replace("shop@mybank", "thief"))
    assert isinstance(merchant.inquire(asked), Accepted)
    assert open_link(link) == "00"
    assert "nothing to pay" in open_link(link)
    assert isinstance(merchant.inquire(asked), Approved)
    assert merchant.settlement()[0]["payer"] == "asha@okbank"


def test_payout(merchant: Merchant) -> None:
    """
    A payout is done at once, or declined at once; above a lakh UPI does not take it.
    """
    done = merchant.send(merchant.instruction(Operation.PAYOUT))
    frozen = merchant.send(merchant.instruction(Operation.PAYOUT, "frozen@okbank"))
    most = merchant.send(merchant.instruction(Operation.PAYOUT, amount=10_000_000))
    too_much = merchant.send(merchant.instruction(Operation.PAYOUT, amount=10_000_001))

    assert isinstance(done, Approved) and isinstance(most, Approved)
    assert isinstance(frozen, Declined) and frozen.code == "YF"
    assert isinstance(too_much, Declined) and too_much.code == "U02"
    rows = merchant.settlement()
    assert [(row["direction"], row["payee"]) for row in rows[:2]] == [("debit", "asha@okbank")] * 2
    assert rows[-1]["amount"] == "-100010.50"


@pytest.mark.parametrize(("name", "end"), [("deemed", Approved), ("lost", Declined)])
def test_deemed(merchant: Merchant, name: str, end: type[Answer]) -> None:
    """
    A credit that timed out is unknown, then and when it is asked about too soon, and is known a second later.
    """
    asked = merchant.instruction(Operation.PAYOUT, f"{name}@okbank")

    answer = merchant.send(asked)

    assert isinstance(answer, Unknown)
    assert answer.why.startswith("RB: deemed")
    assert isinstance(merchant.ended(asked), end)
    assert merchant.simulation.effects()[0]["outcome"] == ("approved" if end is Approved else "declined")


def test_refunds(merchant: Merchant) -> None:
    """
    In parts, up to what was collected and no further; upon what was never collected, not at all.
    """
    collected = merchant.collected()

    first, second = merchant.refund(collected, 1000), merchant.refund(collected, 51)
    assert isinstance(merchant.send(first), Approved)
    too_much = merchant.send(second)
    assert isinstance(too_much, Declined) and too_much.code == "U12"
    assert isinstance(merchant.send(merchant.refund(collected, 50)), Approved)

    answer = merchant.inquire(first)
    assert isinstance(answer, Approved)
    never = merchant.instruction(), Approved(reference="000000000000", amount=1050, currency="INR", code="00")
    unknown = merchant.send(merchant.refund(never, 1))
    assert isinstance(unknown, Declined) and unknown.reason == "original_not_found"
    rows = merchant.settlement()
    assert [row["original_rrn"] for row in rows] == ["", collected[1].reference, collected[1].reference, ""]
    assert rows[-1]["amount"] == "0.00"


def test_a_request_that_comes_twice(merchant: Merchant) -> None:
    """
    The second is no no and no second payment: what became of the first has to be asked.
    """
    asked = merchant.instruction(Operation.PAYOUT)
    first = merchant.send(asked)

    second = merchant.send(asked)

    assert isinstance(second, Unknown)
    assert merchant.inquire(asked) == first
    assert len(merchant.simulation.effects()) == 1


def test_holders(merchant: Merchant) -> None:
    """
    Whose an address is, whether a merchant's, and that nobody's is nobody's.
    """
    asha, shop = merchant.resolve("Asha.Rao@okbank"), merchant.resolve("shop-9@okbank")

    assert (asha.name, asha.merchant, asha.account) == ("ASHA RAO", False, "savings")
    assert (shop.name, shop.merchant, shop.account) == ("SHOP 9", True, "current")
    assert merchant.resolve("nobody@okbank") is merchant.resolve("no address") is None
    merchant.simulation.switch("upi", outage=1.0)
    with pytest.raises(Unavailable):
        merchant.resolve("asha@okbank")


def test_swallowed_before(merchant: Merchant) -> None:
    """
    A request that was swallowed is unknown; asked about, the bank never heard of it; sent again, it is done once.
    """
    merchant.simulation.switch("upi", drop_before={"next": 1})
    asked = merchant.instruction(Operation.PAYOUT)

    assert isinstance(merchant.send(asked), Unknown)
    assert merchant.inquire(asked) == NotFound()
    assert isinstance(merchant.send(asked), Approved)
    assert len(merchant.simulation.effects()) == 1


@pytest.mark.parametrize("fault", [{"drop_after": {"next": 1}}, {"late": {"next": 1}, "late_s": 5}])
def test_done_and_not_answered(merchant: Merchant, fault: dict[str, Any]) -> None:
    """
    An answer that is swallowed or comes too late leaves it unknown; asked about, it was done, once.
    """
    merchant.simulation.switch("upi", **fault)
    asked = merchant.instruction(Operation.PAYOUT)

    assert isinstance(merchant.send(asked), Unknown)
    assert isinstance(merchant.inquire(asked), Approved)
    assert len(merchant.simulation.effects()) == 1


def test_what_is_no_message(merchant: Merchant) -> None:
    """
    The bank refuses what it cannot read, and does nothing.
    """
    answer = httpx2.post(merchant.bank.url, content=b"<ReqPay/>")

    assert answer.status_code == 400
    assert merchant.simulation.effects() == []


def test_no_answer_to_an_inquiry(merchant: Merchant) -> None:
    """
    An inquiry that is not answered says nothing either.
    """
    asked = merchant.instruction(Operation.PAYOUT)
    merchant.send(asked)
    merchant.simulation.switch("upi", drop_after={"next": 1})

    assert isinstance(merchant.inquire(asked), Unknown)
    assert isinstance(merchant.inquire(asked), Approved)


def test_outages(merchant: Merchant) -> None:
    """
    A connection that is cut leaves it unknown; one that never came about is a no that others may be asked after.
    """
    merchant.simulation.switch("upi", outage={"next": 1})
    cut = merchant.instruction(Operation.PAYOUT)
    assert isinstance(merchant.send(cut), Unknown)
    assert merchant.inquire(cut) == NotFound()

    merchant.simulation.kill()
    refused = merchant.instruction(Operation.PAYOUT)
    answer = merchant.send(refused)
    assert isinstance(answer, Declined)
    assert (answer.reason, answer.retry) == ("rail_unavailable", Retry.ELSEWHERE)
    assert isinstance(merchant.inquire(refused), Unknown)
    merchant.simulation.start()
    assert merchant.simulation.effects() == []


def test_another_amount(merchant: Merchant) -> None:
    """
    An answer about another amount is not believed; asked about when the bank has recovered, it was the right one.
    """
    merchant.simulation.switch("upi", wrong_amount={"next": 2})
    asked = merchant.instruction(Operation.PAYOUT)

    first, second = merchant.send(asked), merchant.inquire(asked)

    assert isinstance(first, Unknown) and isinstance(second, Unknown)
    assert "another amount" in first.why
    assert isinstance(merchant.inquire(asked), Approved)


def test_declines_on_demand(merchant: Merchant) -> None:
    """
    A rail can be told to decline, with its usual code or another, for one of its routes.
    """
    merchant.simulation.switch("upi", decline={"next": 1})
    usual = merchant.send(merchant.instruction())
    merchant.simulation.switch("upi", route="mybank", decline=1.0, decline_code="Y1")
    other = merchant.send(merchant.instruction())

    assert isinstance(usual, Declined) and usual.code == "U30"
    assert isinstance(other, Declined) and other.code == "Y1"


def test_slow_answers(simulation: Simulation) -> None:
    """
    A slow bank is waited for, as long as patience lasts.
    """
    simulation.switch("upi", latency_s=1)
    patient, impatient = Merchant(simulation, patience_s=10), Merchant(simulation, patience_s=0.3)
    try:
        assert isinstance(patient.send(patient.instruction(Operation.PAYOUT)), Approved)
        assert isinstance(impatient.send(impatient.instruction(Operation.PAYOUT, request_id="i" * 22)), Unknown)
    finally:
        patient.close()
        impatient.close()


def test_what_the_bank_says_unasked(merchant: Merchant, listener: Listener) -> None:
    """
    Once the payer has answered the bank says so; what it says means for the payment what an inquiry's answer does.
    """
    asked, no = merchant.instruction(), merchant.instruction(vpa="decline@okbank")
    for one in (asked, no):
        assert isinstance(merchant.send(one), Accepted)

    until(lambda: len(listener.heard) == 2)

    heard = {payment_in(message): message for message in listener.heard}
    for one in (asked, no):
        assert answer_in(one, heard[payment_id(one.request_id)]) == merchant.inquire(one)
    assert isinstance(answer_in(asked, heard[payment_id(no.request_id)]), Unknown)


def test_told_twice_and_late(merchant: Merchant, listener: Listener) -> None:
    """
    It may be told twice, and late, after an inquiry has told; it is the same each time.
    """
    twice, late = merchant.instruction(vpa="twice@okbank"), merchant.instruction(vpa="late@okbank")
    for one in (twice, late):
        assert isinstance(merchant.send(one), Accepted)
    known = merchant.ended(late)
    until(lambda: len(listener.heard) >= 2)
    first = list(listener.heard)

    until(lambda: len(listener.heard) == 3)

    assert [payment_in(message) for message in first] == [payment_id(twice.request_id)] * 2
    assert payment_in(listener.heard[2]) == payment_id(late.request_id)
    assert answer_in(late, listener.heard[2]) == known


def test_reported_twice(merchant: Merchant, listener: Listener) -> None:
    """
    With the duplicate fault it is told twice and stands twice in the settlement file, with one effect in the books.
    """
    merchant.simulation.switch("upi", duplicate={"next": 1})
    merchant.collected()
    until(lambda: len(listener.heard) == 2)

    rows = merchant.settlement()

    assert len(merchant.simulation.effects()) == 1
    assert rows[0] == rows[1]
    assert (rows[2]["txn_id"], rows[2]["amount"]) == ("2", "21.00")


def test_kill_9(merchant: Merchant) -> None:
    """
    Killed between request and answer, the bank knows when it is back what it was asked, and it ends as it would have.
    """
    asked, paid = merchant.instruction(), merchant.instruction(Operation.PAYOUT)
    assert isinstance(merchant.send(asked), Accepted)
    first = merchant.send(paid)
    merchant.simulation.kill()
    merchant.simulation.start()

    assert merchant.inquire(paid) == first
    assert isinstance(merchant.send(paid), Unknown)
    assert isinstance(merchant.ended(asked), Approved)
    merchant.simulation.kill()
    merchant.simulation.start()
    assert [effect["outcome"] for effect in merchant.simulation.effects()] == ["approved", "approved"]


def test_another_day(merchant: Merchant) -> None:
    """
    What is done after the clock was moved stands in that day's file and in no other, also after a crash.
    """
    merchant.collected()
    before = merchant.settlement()
    merchant.simulation.advance(3)
    merchant.collected(amount=7)

    after = merchant.settlement()

    assert [row["amount"] for row in before] == ["10.50", "10.50"]
    assert [row["amount"] for row in after] == ["0.07", "0.07"]
    gap = datetime.fromisoformat(after[0]["settled_at"]) - datetime.fromisoformat(before[0]["settled_at"])
    assert timedelta(days=3) <= gap < timedelta(days=3, minutes=5)
    merchant.simulation.kill()
    merchant.simulation.start()
    assert merchant.settlement() == after
