"""What is asked of a rail after a payment, against the simulator's process: its days' reports, reversals, disputes."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, TypeVar

import pytest
from msgspec.structs import replace

from adapters.rails.wiring import Wiring, connected, simulated
from domain.errors import Unavailable
from domain.ports import RailPort
from domain.rail import Accepted, Answer, Approved, Declined, Instruction, NotFound, Operation, Rail, Unknown
from domain.settlement import Report, ReportRejected, Said
from tests.card import request_id
from tests.rail_days import BANKS
from tests.simulating import Simulation, simulating

T = TypeVar("T")

ROUTES = {Rail.CARD: "card-a", Rail.ACH: "ach-a", Rail.UPI: "upi-a", Rail.WIRE: "wire-a"}
WIDE = timedelta(days=12)
"""In which whatever is done has settled."""
rails = pytest.mark.parametrize("rail", [*ROUTES])


class World:
    """The simulator, and one port to it."""

    def __init__(self, simulation: Simulation, rail: Rail, wiring: Wiring | None = None) -> None:
        self.simulation = simulation
        self.rail = rail
        self.began = self.today()
        self.wiring = wiring or simulated(simulation.http, cards=int(simulation.rails["card"].rpartition(":")[2]))

    def today(self) -> date:
        return datetime.fromisoformat(self.simulation.get("/now").json()["now"]).date()

    def asked(self, story: Callable[[RailPort], Awaitable[T]]) -> T:
        async def ask() -> T:
            async with connected(self.wiring) as ports:
                return await story(ports[self.rail])

        return asyncio.run(ask())

    def send(self, instruction: Instruction) -> Answer:
        return self.asked(lambda port: port.send(instruction))

    def inquire(self, instruction: Instruction) -> Answer:
        return self.asked(lambda port: port.inquire(instruction))

    def report(self, day: date) -> Report | None:
        return self.asked(lambda port: port.report(ROUTES[self.rail], day))

    def reports(self) -> list[Report | None]:
        """Of every day since this began, and of some to come."""

        async def all_of_them(port: RailPort) -> list[Report | None]:
            days = range(-1, (self.today() - self.began).days + 10)
            return [await port.report(ROUTES[self.rail], self.began + timedelta(days=day)) for day in days]

        return self.asked(all_of_them)

    def lines(self, said: Said) -> list[Any]:
        return [line for report in self.reports() if report is not None for line in report.lines if line.said is said]

    def instruction(self, number: int, operation: Operation | None = None, **said: Any) -> Instruction:
        kind = BANKS[self.rail]
        given: dict[str, Any] = {
            "request_id": request_id(number),
            "operation": operation or kind.begins,
            "rail": self.rail,
            "route": ROUTES[self.rail],
            "amount": 1_000,
            "currency": kind.currency,
            "method": kind.method,
            "sent_at": datetime.now(UTC),
        }
        return Instruction(**given | said)

    def upon(self, done: Instruction, reference: str, operation: Operation, number: int, **said: Any) -> Instruction:
        named = {"original": reference, "original_request_id": done.request_id}
        return replace(self.instruction(number, operation, amount=done.amount), **named | said)

    def done(self, instruction: Instruction) -> str:
        """Its reference, once it is done."""
        answer = self.send(instruction)
        for _ in range(100):
            if not isinstance(answer, Accepted) or self.rail is Rail.ACH:
                break
            answer = self.inquire(instruction)
        assert isinstance(answer, Approved | Accepted), answer
        return answer.reference


@pytest.fixture
def simulation(tmp_path: Path) -> Iterator[Simulation]:
    with simulating(tmp_path / "books.jsonl") as found:
        yield found


@rails
def test_a_day_is_reported_once_it_is_over(simulation: Simulation, rail: Rail) -> None:
    """
    Nothing is said of a day while it lasts; then all that settled, by our request id, the same however often it is
    asked, by whoever.
    """
    world = World(simulation, rail)
    asked = world.instruction(1)
    world.done(asked)
    assert world.lines(Said.SETTLED) == []

    simulation.advance(WIDE.days)
    (line,) = world.lines(Said.SETTLED)
    before = world.reports()
    simulation.kill()
    simulation.start()

    assert line.request_id in (asked.request_id, BANKS[Rail.ACH].told(BANKS[Rail.ACH], asked.request_id))  # type: ignore[arg-type]
    assert (line.operation, line.amount, line.currency) == (asked.operation, asked.amount, asked.currency)
    assert [one for one in world.reports() if one is not None][: len(before)] == [
        one for one in before if one is not None
    ]


@rails
def test_a_rail_without_reports_has_none(simulation: Simulation, rail: Rail) -> None:
    """
    Nor is anybody asked.
    """
    world = World(simulation, rail)
    of_rail = tuple(replace(one, reports="") for one in getattr(world.wiring, rail))
    world.wiring = replace(world.wiring, **{rail.value: of_rail})
    simulation.advance(3)

    assert world.report(world.began) is None


@rails
def test_who_cannot_be_reached_has_said_nothing(simulation: Simulation, rail: Rail) -> None:
    """
    That is no empty day: an outage, another answer than a file, nobody there.
    """
    world = World(simulation, rail)
    simulation.advance(3)
    assert world.report(world.began) is not None

    simulation.switch(rail, outage=1.0)
    with pytest.raises(Unavailable):
        world.report(world.began)
    simulation.switch(rail)
    of_rail = tuple(replace(one, reports=f"{simulation.http}/nowhere") for one in getattr(world.wiring, rail))
    lost = World(simulation, rail, replace(world.wiring, **{rail.value: of_rail}))
    with pytest.raises(Unavailable, match="404"):
        lost.report(world.began)
    simulation.kill()
    with pytest.raises(Unavailable):
        world.report(world.began)


@contextmanager
def saying(content: bytes) -> Iterator[str]:
    """A server that says this to everybody."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@rails
def test_what_cannot_be_right_is_rejected(simulation: Simulation, rail: Rail) -> None:
    """
    A file that is cut, or that is another rail's.
    """
    world = World(simulation, rail)
    world.done(world.instruction(1))
    simulation.advance(WIDE.days)
    day = next(report.day for report in world.reports() if report is not None and report.lines)
    whole = simulation.get(f"/reports/{rail}/{day}").content

    for content in (whole[: len(whole) // 3], b"an error page", b"\xff"):
        with saying(content) as url:
            of_rail = tuple(replace(one, reports=url) for one in getattr(world.wiring, rail))
            told = World(simulation, rail, replace(world.wiring, **{rail.value: of_rail}))
            with pytest.raises(ReportRejected):
                told.report(day)


FAULTS: list[dict[str, Any]] = [
    {},
    {"drop_after": {"next": 1}},
    {"drop_before": {"next": 1}},
    {"wrong_amount": {"next": 1}},
    {"outage": {"next": 1}},
]


def insisted(world: World, instruction: Instruction) -> Answer:
    """As the driver does: sent once, then asked about until it is known, and sent again where it is not found."""
    answer = world.send(instruction)
    for _ in range(5):
        if isinstance(answer, Unknown):
            answer = world.inquire(instruction)
        elif isinstance(answer, NotFound):
            answer = world.send(instruction)
    return answer


@pytest.mark.parametrize("rail", [Rail.CARD, Rail.ACH, Rail.WIRE])
def test_what_was_done_is_undone_once(simulation: Simulation, rail: Rail) -> None:
    """
    However the rail misbehaves on the way, and however often it is asked again, also by the one that comes after.
    """
    world = World(simulation, rail)
    for number, fault in enumerate(FAULTS):
        first = world.instruction(2 * number)
        undo = world.upon(first, world.done(first), Operation.REVERSE, 2 * number + 1)
        simulation.switch(rail, **fault)

        answer = insisted(world, undo)
        again = world.send(undo)
        inquired = world.inquire(undo)

        assert isinstance(answer, Approved | Accepted), (fault, answer)
        assert type(again) is type(inquired) is type(answer), fault
    assert [one["operation"] for one in simulation.effects(rail)] == [first.operation, "reverse"] * len(FAULTS)


def test_upi_undoes_nothing(simulation: Simulation) -> None:
    """
    It says so without being asked; and whoever comes after somebody who may have asked, knows it too.
    """
    world = World(simulation, Rail.UPI)
    first = world.instruction(1)
    undo = world.upon(first, world.done(first), Operation.REVERSE, 2)

    sent, inquired = world.send(undo), world.inquire(undo)

    assert isinstance(sent, Declined) and (sent.reason, sent.unasked) == ("not_supported", True)
    assert inquired == replace(sent, unasked=False)


@pytest.mark.parametrize("rail", [Rail.CARD, Rail.UPI])
def test_a_dispute_is_answered_once(simulation: Simulation, rail: Rail) -> None:
    """
    At the desk, under one request id, however the desk misbehaves; it is won, and that is in the report of its day.
    """
    world = World(simulation, rail)
    simulation.switch(rail, dispute=1.0)
    taken = {}
    for number, _ in enumerate(FAULTS):
        first = world.instruction(number)
        world.done(first)
        taken[first.request_id] = first
    simulation.advance(9)
    disputes = world.lines(Said.DISPUTED)
    assert len(disputes) == len(FAULTS)
    answered = []
    for number, (dispute, fault) in enumerate(zip(disputes, FAULTS, strict=True), start=len(FAULTS)):
        evidence = {"receipt": "winning"}
        first = taken[dispute.request_id]
        contest = world.upon(first, dispute.reference, Operation.CONTEST, number, evidence=evidence)
        simulation.switch(rail, **fault)
        answer = insisted(world, contest)
        assert isinstance(answer, Approved), (fault, answer)
        answered.append((contest, answer))
    simulation.advance(4)

    for contest, answer in answered:
        assert world.send(contest) == world.inquire(contest) == answer
    second = world.send(replace(contest, request_id=request_id(100)))
    assert isinstance(second, Declined) and second.reason == "too_late"
    other = world.send(replace(contest, evidence={"receipt": "other"}))
    assert isinstance(other, Unknown), other
    won = [(one.reference, one.amount, one.request_id) for one in world.lines(Said.DISPUTE_WON)]
    assert sorted(won) == sorted((one.reference, 1_000, one.request_id) for one in disputes)


@rails
def test_where_nobody_hears_disputes_none_is_answered(simulation: Simulation, rail: Rail) -> None:
    """
    ACH and wires have none, an acquirer may have no desk: a no of our own, which whoever comes after knows too.
    """
    world = World(simulation, rail)
    if rail in (Rail.CARD, Rail.UPI):
        of_rail = tuple(replace(one, disputes="") for one in getattr(world.wiring, rail))
        world.wiring = replace(world.wiring, **{rail.value: of_rail})
    contest = world.instruction(1, Operation.CONTEST, original="a dispute", original_request_id="b")

    sent, inquired = world.send(contest), world.inquire(contest)

    assert isinstance(sent, Declined) and sent.unasked
    assert inquired == replace(sent, unasked=False)


def test_nobody_at_the_desk(simulation: Simulation) -> None:
    """
    Nothing left this process: a no that another process may overrule.
    """
    world = World(simulation, Rail.CARD)
    contest = world.instruction(1, Operation.CONTEST, original="a dispute", original_request_id="b")
    simulation.kill()

    sent, inquired = world.send(contest), world.inquire(contest)

    assert isinstance(sent, Declined) and (sent.reason, sent.unasked) == ("rail_unavailable", True)
    assert isinstance(inquired, Unknown)
