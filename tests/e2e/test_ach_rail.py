"""The ACH rail against a real `daybook simulate`: files, days, returns, and every fault on the way."""

import asyncio
import threading
from collections.abc import Coroutine, Iterator
from datetime import date, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import pytest
from msgspec.structs import replace

from adapters.rails.ach.instructions import Outgoing, changes_asked, identification, read_day
from adapters.rails.ach.rail import AchRail, receipt_of
from domain.calendar import delivery
from domain.rail import (
    Accepted,
    Answer,
    Approved,
    BankAccount,
    Declined,
    Instruction,
    NotFound,
    Operation,
    Retry,
    Unknown,
)
from tests.ach import OWN_BANK
from tests.simulating import Simulation, simulating
from tests.unit.test_ach_instructions import BANK, COMPANY
from tests.unit.test_ach_instructions import instruction as made

T = TypeVar("T")


class Shop:
    """Whoever collects and pays by one bank of the simulator. `patience_s`: as the rail's."""

    def __init__(self, simulation: Simulation, patience_s: float = 0.6) -> None:
        self.simulation = simulation
        self.bank = replace(BANK, url=simulation.rails["ach"])
        self._count = 0
        self._runner = asyncio.Runner()
        self.rail = AchRail([self.bank], patience_s=patience_s)

    def run(self, asked: Coroutine[Any, Any, T]) -> T:
        return self._runner.run(asked)

    def instruction(self, operation: Operation = Operation.COLLECT, **changed: Any) -> Instruction:
        self._count += 1
        return made(self._count, operation, **{"sent_at": self.now(), **changed})

    def now(self) -> datetime:
        """By the simulator's clock, which may be ahead."""
        return datetime.fromisoformat(self.simulation.get("/now").json()["now"])

    def send(self, instruction: Instruction) -> Answer:
        return self.run(self.rail.send(instruction))

    def send_all(self, *instructions: Instruction) -> dict[str, Answer]:
        return self.run(self.rail.send_all(instructions))

    def inquire(self, instruction: Instruction) -> Answer:
        return self.run(self.rail.inquire(instruction))

    def close(self) -> None:
        self.run(self.rail.close())
        self._runner.close()


@pytest.fixture
def simulation(tmp_path: Path) -> Iterator[Simulation]:
    with simulating(tmp_path / "books.jsonl", seed=7) as found:
        yield found


@pytest.fixture
def shop(simulation: Simulation) -> Iterator[Shop]:
    found = Shop(simulation)
    try:
        yield found
    finally:
        found.close()


def settles_on(asked: Instruction) -> date:
    return delivery(asked.sent_at, amount=asked.amount).settles_on


def test_accepted_then_settled(shop: Shop) -> None:
    """
    Taken at once; days later settled, in full, under the reference it had from the start.
    """
    asked = shop.instruction()

    accepted = shop.send(asked)
    meanwhile = shop.inquire(asked)
    shop.simulation.advance(7)
    settled = shop.inquire(asked)

    assert isinstance(accepted, Accepted)
    assert isinstance(meanwhile, Accepted | Approved)  # The evening may come while this runs.
    assert meanwhile.reference == accepted.reference
    assert isinstance(settled, Approved)
    assert (settled.reference, settled.amount, settled.code) == (accepted.reference, 1050, "settled")
    day = shop.simulation.get(f"/settlement/ach/{settled.settles_on}").content
    assert [said.answer for said in read_day(day)] == [settled]


@pytest.mark.parametrize(
    ("amount", "reason", "retry"),
    [
        (5101, "insufficient_funds", Retry.LATER),
        (5102, "account_closed", Retry.NEVER),
        (5107, "authorization_revoked", Retry.NEVER),
    ],
)
def test_returned(shop: Shop, amount: int, reason: str, retry: Retry) -> None:
    """
    What settled comes back, and that is the last word.
    """
    asked = shop.instruction(amount=amount)
    shop.send(asked)

    shop.simulation.advance(14)
    answer = shop.inquire(asked)

    assert isinstance(answer, Declined)
    assert (answer.reason, answer.retry) == (reason, retry)
    assert [each["operation"] for each in shop.simulation.effects("ach")] == ["collect", "return"]


def test_a_payout_a_refund_and_a_reversal(shop: Shop) -> None:
    """
    Money the other way, to a company and back to a payer; and an entry undone by its reference, but not for ever.
    """
    collected = shop.instruction()
    accepted = shop.send(collected)
    assert isinstance(accepted, Accepted)
    upon = {"original": accepted.reference, "original_request_id": collected.request_id}

    payout = shop.send(shop.instruction(Operation.PAYOUT, method=COMPANY))
    refund = shop.send(shop.instruction(Operation.REFUND, amount=50, **upon))
    reversal = shop.send(shop.instruction(Operation.REVERSE, **upon))
    late = shop.send(shop.instruction(Operation.REVERSE, sent_at=collected.sent_at + timedelta(days=30), **upon))

    assert all(isinstance(answer, Accepted) for answer in (payout, refund, reversal))
    assert isinstance(late, Declined) and late.reason == "too_late"
    totals = {each["operation"]: each["detail"]["direction"] for each in shop.simulation.effects("ach")}
    assert totals == {"collect": "debit", "payout": "credit", "refund": "credit", "reverse": "credit"}


def test_many_in_one_file(shop: Shop) -> None:
    """
    A window's instructions are one file, each has its answer, and one that cannot be written keeps none of the others.
    """
    many = [shop.instruction() for _ in range(50)]
    bad = shop.instruction(method=BankAccount(routing_number="1", account_number="1", holder="A"))

    answers = shop.send_all(*many, bad)
    alone = shop.send(many[0])

    assert len(answers) == 51
    assert all(isinstance(answers[each.request_id], Accepted) for each in many)
    declined = answers[bad.request_id]
    assert isinstance(declined, Declined) and declined.reason == "invalid_account"
    assert shop.inquire(bad) == replace(declined, unasked=False)  # Nor can anybody else have asked.
    assert alone == answers[many[0].request_id]  # In another file it is a conflict, and it is found.
    effects = shop.simulation.effects("ach")
    assert len(effects) == 50
    assert len({each["detail"]["file"] for each in effects}) <= 2  # A cut-off may pass while this runs.


def test_what_is_sent_at_once_goes_out_together(shop: Shop) -> None:
    """
    Each by itself, from whoever asks: a file for all, an answer for each, and whoever goes away changes nothing of it.
    """
    many = [shop.instruction() for _ in range(20)]

    async def asked() -> list[Answer]:
        tasks = [asyncio.create_task(shop.rail.send(each)) for each in many]
        again = asyncio.create_task(shop.rail.send(many[0]))
        await asyncio.sleep(0)
        tasks[5].cancel()
        answers = await asyncio.gather(*tasks, again, return_exceptions=True)
        return [each for each in answers if not isinstance(each, BaseException)]

    answers = shop.run(asked())

    assert len(answers) == 20 and all(isinstance(each, Accepted) for each in answers)
    assert answers[-1] == answers[0]
    effects = shop.simulation.effects("ach")
    assert sorted(each["request_id"] for each in effects) == sorted(each.request_id for each in many)
    assert len({each["detail"]["file"] for each in effects}) <= 2  # A cut-off may pass while this runs.
    assert isinstance(shop.inquire(many[5]), Accepted | Approved)


def test_an_entry_that_a_file_is_refused_for_keeps_no_other_back(shop: Shop) -> None:
    """
    The bank has one of them from a file of before, as after a crash: all others are taken, and none of them twice.
    """
    many = [shop.instruction() for _ in range(7)]
    before = shop.send(many[3])

    answers = shop.send_all(*many)

    assert all(isinstance(answers[each.request_id], Accepted) for each in many)
    assert answers[many[3].request_id] == before
    effects = shop.simulation.effects("ach")
    assert sorted(each["request_id"] for each in effects) == sorted(each.request_id for each in many)


class Picky(BaseHTTPRequestHandler):
    """A bank that rejects every file with an entry for one account, as those do that hold a file against lists."""

    def do_PUT(self) -> None:
        data = self.rfile.read(int(self.headers["Content-Length"]))
        lines = data.split(b"\n")
        entries = tuple(str(number) for number, line in enumerate(lines) if line[:1] == b"6")
        receipt = receipt_of(Outgoing(self.path.rpartition("/")[2], data, entries))
        self.send_response(422 if any(b"UNWANTED" in line for line in lines) else 201)
        body = msgspec.json.encode(receipt)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def test_an_entry_that_a_bank_rejects_is_declined_alone(shop: Shop) -> None:
    """
    A file that is rejected for one of its entries is no answer to the others.
    """
    unwanted = BankAccount(routing_number="021000021", account_number="UNWANTED", holder="Ann")
    many = [shop.instruction() for _ in range(5)]
    many[2] = shop.instruction(method=unwanted)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Picky)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        rail = AchRail([replace(shop.bank, url=f"http://127.0.0.1:{server.server_port}")])
        answers = shop.run(rail.send_all(many))
        shop.run(rail.close())
    finally:
        server.shutdown()
        server.server_close()

    declined = answers[many[2].request_id]
    assert isinstance(declined, Declined) and (declined.code, declined.unasked) == ("rejected", False)
    others = [answers[each.request_id] for each in many if each is not many[2]]
    assert len(others) == 4 and all(isinstance(each, Accepted) for each in others)


@pytest.mark.parametrize(("fault", "known"), [("drop_after", True), ("drop_before", False)])
def test_a_lost_answer_is_each_ones_own_question(shop: Shop, fault: str, known: bool) -> None:
    """
    Of a file whose answer does not come nothing is known; each is asked about by itself, and what the bank never had is
    sent again in whatever company.
    """
    many = [shop.instruction() for _ in range(6)]
    switches: dict[str, Any] = {fault: {"next": 1}}
    shop.simulation.switch("ach", **switches)

    answers = shop.send_all(*many)

    assert all(isinstance(answers[each.request_id], Unknown) for each in many)
    assert all((shop.inquire(each) != NotFound()) is known for each in many)
    assert all(isinstance(each, Accepted) for each in shop.send_all(*many[:4]).values())
    assert all(isinstance(each, Accepted) for each in shop.send_all(*many[2:]).values())
    effects = shop.simulation.effects("ach")
    assert sorted(each["request_id"] for each in effects) == sorted(each.request_id for each in many)


def test_a_rail_that_is_closed_has_sent_nothing_it_gathered(shop: Shop) -> None:
    """
    What is gathered when it closes is not known to have been done, and was not.
    """
    asked = shop.instruction()

    async def closed() -> Answer:
        rail = AchRail([shop.bank], gather_s=30)
        answer = asyncio.create_task(rail.send(asked))
        await asyncio.sleep(0.05)
        await rail.close()
        return await answer

    assert isinstance(shop.run(closed()), Unknown)
    assert shop.inquire(asked) == NotFound()


@pytest.mark.parametrize("fault", ["drop_before", "outage"])
def test_lost_before_it_was_done(shop: Shop, fault: str) -> None:
    """
    No answer is no answer; asked, the bank has never heard of it; sent again, it is done once.
    """
    asked = shop.instruction()
    switches: dict[str, Any] = {fault: {"next": 1}}
    shop.simulation.switch("ach", **switches)

    assert isinstance(shop.send(asked), Unknown)
    assert shop.inquire(asked) == NotFound()
    assert isinstance(shop.send(asked), Accepted)
    assert len(shop.simulation.effects("ach")) == 1


@pytest.mark.parametrize(
    "fault", [{"drop_after": {"next": 1}}, {"late": {"next": 1}, "late_s": 2}, {"wrong_amount": {"next": 1}}]
)
def test_lost_after_it_was_done(shop: Shop, fault: dict[str, Any]) -> None:
    """
    The answer is swallowed, late, or not what was asked: unknown; asked, the bank has it; sent again, it is still one.
    """
    asked = shop.instruction()
    shop.simulation.switch("ach", **fault)

    assert isinstance(shop.send(asked), Unknown)
    assert isinstance(shop.inquire(asked), Accepted | Approved)
    assert isinstance(shop.send(asked), Accepted)
    assert len(shop.simulation.effects("ach")) == 1


def test_a_wrong_amount_is_not_believed(shop: Shop) -> None:
    """
    A bank that says it has an entry of another amount has said nothing.
    """
    asked = shop.instruction()
    shop.send(asked)
    shop.simulation.switch("ach", wrong_amount={"next": 1})

    answer = shop.inquire(asked)

    assert isinstance(answer, Unknown)
    assert "1051" in answer.why


def test_a_bank_that_is_not_there(simulation: Simulation) -> None:
    """
    Nothing was sent: a no, to be had elsewhere. But what became of it before, nobody says.
    """
    shop = Shop(simulation)
    asked = shop.instruction()
    simulation.kill()
    try:
        answer, inquired = shop.send(asked), shop.inquire(asked)
    finally:
        shop.close()

    assert isinstance(answer, Declined)
    assert (answer.reason, answer.retry) == ("rail_unavailable", Retry.ELSEWHERE)
    assert isinstance(inquired, Unknown)


def test_a_bank_that_is_killed_forgets_nothing(shop: Shop) -> None:
    """
    kill -9 between file and settlement: it settles, and comes back, once.
    """
    asked = shop.instruction(amount=5101)
    shop.send(asked)

    shop.simulation.kill()
    shop.simulation.start()
    assert isinstance(shop.inquire(asked), Accepted | Approved)
    shop.simulation.advance(7)
    shop.inquire(asked)
    shop.simulation.kill()
    shop.simulation.start()
    answer = shop.inquire(asked)

    assert isinstance(answer, Declined)
    assert [each["code"] for each in shop.simulation.effects("ach")] == ["settled", "R01"]


def test_twice_in_the_days_file_and_a_change(shop: Shop) -> None:
    """
    Told twice it is the same; a notification of change is told beside, and the entry stands.
    """
    shop.simulation.switch("ach", route=OWN_BANK, duplicate={"next": 1})
    twice, changed = shop.instruction(), shop.instruction(amount=5201)
    shop.send(twice)
    shop.send(changed)

    shop.simulation.advance(14)
    days = shop.simulation.get("/ach/returns", since=settles_on(twice).isoformat()).content

    assert [said.identification for said in read_day(days)].count(identification(twice.request_id)) == 2
    assert isinstance(shop.inquire(twice), Approved)
    assert isinstance(shop.inquire(changed), Approved)
    assert [(change.code, change.identification) for change in changes_asked(days)] == [
        ("C01", identification(changed.request_id))
    ]


def test_the_simulators_books_are_what_was_asked(shop: Shop) -> None:
    """
    Thirty instructions through every fault, asked again until they are known: each is there once, to the cent.
    """
    shop.simulation.switch("ach", drop_before=0.15, drop_after=0.15, outage=0.15, wrong_amount=0.1)
    many = [shop.instruction(amount=1_000 + number) for number in range(30)]
    for asked in many:
        answer = shop.send(asked)
        for _ in range(50):
            if isinstance(answer, Accepted | Approved):
                break
            answer = shop.send(asked) if isinstance(answer, NotFound) else shop.inquire(asked)
        assert isinstance(answer, Accepted | Approved)

    there = {each["request_id"]: each["amount"] for each in shop.simulation.effects("ach")}

    assert there == {asked.request_id: asked.amount for asked in many}
