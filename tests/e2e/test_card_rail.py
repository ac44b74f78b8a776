"""The card rail against the simulator's process, over a real socket, with each thing that goes wrong on the way."""

import asyncio
import csv
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import uvloop
from msgspec.structs import replace

from adapters.rails.card.cards import Placeholder
from adapters.rails.card.codec import MTI, Fields, decode, encode
from adapters.rails.card.framing import Frames, frame
from adapters.rails.card.link import Counts, Patience
from adapters.rails.card.messages import Acquirer, answer_type
from adapters.rails.card.rail import CardRail
from domain.rail import Answer, Approved, Declined, Operation, Retry, Unknown
from tests.card import ACQUIRER, instruction, request_id, upon
from tests.simulating import Simulation, simulating

HASTY = Patience(connect_s=1.0, answer_s=0.5, idle_s=30.0, pause_s=0.05, pause_max_s=0.1)
FAIR = replace(HASTY, connect_s=5.0, answer_s=1.5)
"""For a simulator that writes to a disk others write to."""
PATIENT = Patience(answer_s=60.0)
AUTHORIZE = instruction(Operation.AUTHORIZE)
Story = Callable[[CardRail], Awaitable[None]]
Runner = Callable[[Coroutine[Any, Any, Counts]], Counts]


@pytest.fixture
def simulation(tmp_path: Path) -> Iterator[Simulation]:
    with simulating(tmp_path / "books.jsonl") as found:
        yield found


def at(host: str, port: int) -> Acquirer:
    return replace(ACQUIRER, host=host, port=port)


def told(simulation: Simulation, story: Story, patience: Patience = FAIR, run: Runner = asyncio.run) -> Counts:
    """What happened on the line while the story ran."""

    async def tell() -> Counts:
        host, _, port = simulation.rails["card"].removeprefix("tcp://").rpartition(":")
        rail = CardRail([at(host, int(port))], Placeholder(), patience)
        try:
            await story(rail)
        finally:
            await rail.close()
        return rail.counts()["first"]

    return run(tell())


def approved(answer: Answer) -> Approved:
    assert isinstance(answer, Approved), answer
    return answer


def kept(simulation: Simulation) -> list[tuple[str, int, str]]:
    return [(effect["operation"], effect["amount"], effect["code"]) for effect in simulation.effects("card")]


def test_a_whole_life(simulation: Simulation) -> None:
    """
    Authorized, increased, captured twice, refunded; another voided; collected; paid out; and one declined.
    """

    async def story(rail: CardRail) -> None:
        first = approved(await rail.send(AUTHORIZE))
        approved(await rail.send(upon(AUTHORIZE, first.reference, Operation.INCREMENT, number=2, amount=50)))
        part = upon(AUTHORIZE, first.reference, Operation.CAPTURE, number=3, amount=600)
        captured = approved(await rail.send(part))
        approved(await rail.send(upon(AUTHORIZE, first.reference, Operation.CAPTURE, number=4, amount=400, final=True)))
        approved(await rail.send(upon(part, captured.reference, Operation.REFUND, number=5, amount=600)))
        other = instruction(Operation.AUTHORIZE, number=6)
        given = approved(await rail.send(other))
        approved(await rail.send(upon(other, given.reference, Operation.VOID, number=7)))
        approved(await rail.send(instruction(Operation.COLLECT, number=8, currency="JPY")))
        approved(await rail.send(instruction(Operation.PAYOUT, number=9)))
        declined = await rail.send(instruction(Operation.AUTHORIZE, number=10, amount=510051))
        assert isinstance(declined, Declined) and declined.reason == "insufficient_funds"

    counts = told(simulation, story)

    assert kept(simulation) == [
        ("authorize", 1050, "00"),
        ("increment", 50, "00"),
        ("capture", 600, "00"),
        ("capture", 400, "00"),
        ("refund", 600, "00"),
        ("authorize", 1050, "00"),
        ("void", 1050, "00"),
        ("collect", 1050, "00"),
        ("payout", 1050, "00"),
        ("authorize", 510051, "51"),
    ]
    assert (counts.connections, counts.given_up, counts.late, counts.unmatched, counts.garbage) == (1, 0, 0, 0, 0)
    day = simulation.effects("card")[0]["day"]
    rows = list(csv.reader(simulation.get(f"/settlement/card/{day}").text.splitlines()))
    assert [row[0] for row in rows] == ["H", "D", "D", "D", "D", "D", "T", "T", "E"]


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        ({"drop_before": {"next": 1}}, "no answer in time"),
        ({"drop_after": {"next": 1}}, "no answer in time"),
        ({"late": {"next": 1}, "late_s": 2.5}, "no answer in time"),
        ({"wrong_amount": {"next": 1}}, "answered with the amount"),
        ({"outage": {"next": 1}}, "the connection was closed"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_an_outcome_that_is_unknown_is_asked_for(simulation: Simulation, fault: dict[str, Any], why: str) -> None:
    """
    Whatever happened to the answer, asking again brings it, and there is one effect.
    """

    async def story(rail: CardRail) -> None:
        approved(await rail.send(instruction(Operation.AUTHORIZE, number=2)))
        await asyncio.to_thread(simulation.switch, "card", **fault)
        unknown = await rail.send(AUTHORIZE)
        assert isinstance(unknown, Unknown) and why in unknown.why
        answers = [approved(await rail.inquire(AUTHORIZE)) for _ in range(3)]
        assert answers[0] == answers[1] == answers[2]
        assert answers[0].amount == 1050
        approved(await rail.send(upon(AUTHORIZE, answers[0].reference, Operation.CAPTURE, number=3)))

    told(simulation, story)

    assert kept(simulation) == [("authorize", 1050, "00"), ("authorize", 1050, "00"), ("capture", 1050, "00")]


def test_a_late_answer_is_let_go(simulation: Simulation) -> None:
    """
    It is counted as late, and disturbs nothing that is asked meanwhile.
    """

    async def story(rail: CardRail) -> None:
        simulation.switch("card", late={"next": 1}, late_s=2.5)
        assert isinstance(await rail.send(AUTHORIZE), Unknown)
        approved(await rail.send(instruction(Operation.AUTHORIZE, number=2)))
        await asyncio.sleep(1.5)
        approved(await rail.send(instruction(Operation.AUTHORIZE, number=3)))

    counts = told(simulation, story)

    assert (counts.late, counts.duplicate, counts.unmatched, counts.connections) == (1, 0, 0, 1)


def test_an_answer_that_comes_late_answers_who_asks_again(simulation: Simulation) -> None:
    """
    The first answer, still on its way, is as good as the repeat's; whichever comes second is let go.
    """

    async def story(rail: CardRail) -> None:
        simulation.switch("card", late={"next": 1}, late_s=2.0)
        assert isinstance(await rail.send(AUTHORIZE), Unknown)
        simulation.switch("card", late={"next": 1}, late_s=1.2)
        approved(await rail.inquire(AUTHORIZE))
        await asyncio.sleep(1.5)

    counts = told(simulation, story)

    assert (counts.given_up, counts.duplicate, counts.late, counts.unmatched) == (1, 1, 0, 0)


def test_an_answer_that_comes_twice_is_let_go(simulation: Simulation) -> None:
    """
    Once is enough.
    """

    async def story(rail: CardRail) -> None:
        simulation.switch("card", duplicate={"next": 2})
        approved(await rail.send(AUTHORIZE))
        approved(await rail.send(instruction(Operation.AUTHORIZE, number=2)))
        approved(await rail.send(instruction(Operation.AUTHORIZE, number=3)))

    assert told(simulation, story).duplicate == 2


def test_an_outage_is_a_plain_no(simulation: Simulation) -> None:
    """
    What never left may be asked of another route; whoever asks what became of it learns nothing; then it is over.
    """

    async def story(rail: CardRail) -> None:
        simulation.switch("card", outage=1.0)
        no = await rail.send(AUTHORIZE)
        assert isinstance(no, Declined)
        assert (no.reason, no.retry) == ("rail_unavailable", Retry.ELSEWHERE)
        assert isinstance(await rail.inquire(AUTHORIZE), Unknown)
        simulation.switch("card")
        await asyncio.sleep(HASTY.pause_max_s * 2)
        approved(await rail.send(instruction(Operation.AUTHORIZE, number=2)))

    counts = told(simulation, story)

    assert counts.failures >= 1
    assert kept(simulation) == [("authorize", 1050, "00")]


def test_the_simulator_is_killed(simulation: Simulation) -> None:
    """
    What it did before kill -9 it remembers after, and answers with the same bytes.
    """

    answers: list[Answer] = []

    async def before(rail: CardRail) -> None:
        answers.append(await rail.send(AUTHORIZE))
        await asyncio.to_thread(simulation.kill)
        assert isinstance(await rail.inquire(AUTHORIZE), Unknown)

    async def after(rail: CardRail) -> None:
        answers.append(await rail.inquire(AUTHORIZE))

    told(simulation, before)
    simulation.start()
    told(simulation, after)

    assert approved(answers[0]) == approved(answers[1])
    assert kept(simulation) == [("authorize", 1050, "00")]


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def test_many_at_once_share_one_connection(simulation: Simulation, run: Runner) -> None:
    """
    Five hundred payments in flight, each answered for itself, though some answers take longer than others.
    """
    payments = [instruction(Operation.COLLECT, number=n, amount=n) for n in range(1, 501)]

    async def story(rail: CardRail) -> None:
        simulation.switch("card", late=0.3, late_s=0.3, duplicate=0.2)
        answers = await asyncio.gather(*(rail.send(payment) for payment in payments))
        assert [approved(answer).amount for answer in answers] == list(range(1, 501))
        assert len({approved(answer).reference for answer in answers}) == 500

    counts = told(simulation, story, PATIENT, run)

    assert (counts.connections, counts.sent, counts.answered, counts.given_up) == (1, 501, 501, 0)
    assert sorted(amount for _, amount, _ in kept(simulation)) == list(range(1, 501))


def test_what_cannot_be_asked_is_never_sent(simulation: Simulation) -> None:
    """
    A route or token that is not known, an amount that does not fit, another rail's original: a no of our own.
    """

    async def story(rail: CardRail) -> None:
        method = replace(AUTHORIZE.method, token="tok_gone")
        for impossible, reason in (
            (replace(AUTHORIZE, route="second"), "rail_unavailable"),
            (replace(AUTHORIZE, method=method), "invalid_card"),
            (replace(AUTHORIZE, amount=10**12), "invalid_amount"),
            (upon(AUTHORIZE, "pacs008-1", Operation.CAPTURE, number=2), "invalid_transaction"),
        ):
            no = await rail.send(impossible)
            assert isinstance(no, Declined) and (no.reason, no.code) == (reason, "")
            assert isinstance(await rail.inquire(impossible), Unknown)

    assert told(simulation, story).sent == 0


# What the simulator does not do, a network of the test's own does.

Network = Callable[[Fields], list[bytes] | None]
"""What is written when a message comes, as it is; None: the connection is closed."""


def good(fields: Fields) -> bytes:
    """The answer that approves, framed."""
    return frame(encode({**fields, MTI: answer_type(fields[MTI]), 39: "00"}))


@asynccontextmanager
async def network(answers: Network, *, sign_on: Network | None = None) -> AsyncIterator[tuple[Acquirer, list[Fields]]]:
    """Somebody who grants the sign-on, unless that is answered otherwise, and then answers so; and what they heard."""
    heard: list[Fields] = []
    connections: set[asyncio.Task[None]] = set()

    def said(fields: Fields) -> list[bytes] | None:
        if fields.get(70) != "001":
            return answers(fields)
        return [good(fields)] if sign_on is None else sign_on(fields)

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        connections.add(task)
        with suppress(ConnectionError):
            await converse(reader, writer)
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        frames = Frames()
        while data := await reader.read(65536):
            for message in frames.feed(data):
                heard.append(decode(message))
                written = said(heard[-1])
                if written is None:
                    return
                writer.write(b"".join(written))

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    try:
        yield at("127.0.0.1", server.sockets[0].getsockname()[1]), heard
    finally:
        server.close()
        await asyncio.gather(*connections)


def met(answers: Network, story: Story, *, patience: Patience = HASTY) -> Counts:
    async def meet() -> Counts:
        async with network(answers) as (acquirer, _):
            rail = CardRail([acquirer], Placeholder(), patience)
            try:
                await story(rail)
            finally:
                await rail.close()
            return rail.counts()["first"]

    return asyncio.run(meet())


def test_garbage_in_a_frame_is_passed_over() -> None:
    """
    It is counted, and the answer behind it is heard.
    """

    async def story(rail: CardRail) -> None:
        approved(await rail.send(AUTHORIZE))

    counts = met(lambda fields: [frame(b"garbage"), frame(b"\xff" * 300), good(fields)], story)

    assert (counts.garbage, counts.connections) == (2, 1)


def test_garbage_without_frames_ends_the_connection() -> None:
    """
    Nobody knows any more where an answer would begin; the outcome is unknown, and a new connection is made.
    """

    async def story(rail: CardRail) -> None:
        for number in (1, 2):
            answer = await rail.send(instruction(Operation.AUTHORIZE, number=number))
            assert isinstance(answer, Unknown) and "not framed" in answer.why

    counts = met(lambda fields: [b"HTTP/1.1 400 Bad Request\r\n\r\n"], story)

    assert (counts.garbage, counts.connections, counts.given_up) == (2, 2, 2)


def test_an_answer_to_something_else_is_none() -> None:
    """
    With another trace number, reference or time, or another request's id: nobody is told that it is theirs.
    """
    wrongs = iter([{11: "000000"}, {37: "000000000000"}, {7: "0101000000"}, {62: request_id(9)}])

    async def story(rail: CardRail) -> None:
        whys = [await rail.send(instruction(Operation.AUTHORIZE, number=number)) for number in range(4)]
        assert [type(why) for why in whys] == [Unknown] * 4
        assert "request id" in str(whys[3])

    counts = met(lambda fields: [good({**fields, **next(wrongs)})], story)

    assert (counts.unmatched, counts.given_up, counts.answered) == (3, 3, 2)


def test_a_closed_connection_leaves_it_open() -> None:
    """
    All that was in flight is unknown at once, without waiting for anybody's patience.
    """

    async def story(rail: CardRail) -> None:
        sent = [rail.send(instruction(Operation.AUTHORIZE, number=number)) for number in range(20)]
        async with asyncio.timeout(5):
            answers = await asyncio.gather(*sent)
        assert {type(answer) for answer in answers} == {Unknown}

    counts = met(lambda fields: None, story, patience=PATIENT)

    assert counts.given_up == 20


def test_who_asks_twice_at_once_gets_one_answer() -> None:
    """
    Somebody inquires while the first request is still waited for: whichever answer comes first is for both.
    """
    heard: list[Fields] = []

    def second_only(fields: Fields) -> list[bytes]:
        heard.append(fields)
        return [good(fields)] if fields[MTI] == "0101" else []

    async def story(rail: CardRail) -> None:
        first, second = await asyncio.gather(rail.send(AUTHORIZE), rail.inquire(AUTHORIZE))
        assert approved(first) == approved(second)

    counts = met(second_only, story)

    assert [fields[MTI] for fields in heard] == ["0100", "0101"]
    assert (counts.answered, counts.given_up) == (2, 0)


def test_a_silent_line_is_asked_for_an_echo() -> None:
    """
    An echo that comes keeps the connection; one that does not ends it.
    """
    deaf = False

    def echoing(fields: Fields) -> list[bytes]:
        return [] if deaf else [good(fields)]

    async def story(rail: CardRail) -> None:
        nonlocal deaf
        approved(await rail.send(AUTHORIZE))
        await asyncio.sleep(0.6)
        assert rail.connected() == {"first": True}
        deaf = True
        await asyncio.sleep(0.6)
        assert rail.connected() == {"first": False}

    counts = met(echoing, story, patience=replace(HASTY, idle_s=0.1, answer_s=0.2))

    assert counts.sent > 3


def test_the_other_side_may_ask_for_an_echo() -> None:
    """
    It is granted.
    """
    theirs = frame(encode({MTI: "0800", 7: "1120090807", 11: "000042", 70: "301"}))

    async def meet() -> list[Fields]:
        asking = network(lambda fields: [good(fields)], sign_on=lambda fields: [good(fields), theirs])
        async with asking as (acquirer, heard):
            rail = CardRail([acquirer], Placeholder(), HASTY)
            approved(await rail.send(AUTHORIZE))
            await rail.close()
        return heard

    assert {MTI: "0810", 7: "1120090807", 11: "000042", 39: "00", 70: "301"} in asyncio.run(meet())


def test_whoever_does_not_sign_on_gets_nothing() -> None:
    """
    A listener that never says a word, and one that refuses: nothing is sent to either, within bounded time.
    """

    async def meet(sign_on: Network) -> tuple[Answer, list[Fields]]:
        async with network(lambda fields: [good(fields)], sign_on=sign_on) as (acquirer, heard):
            rail = CardRail([acquirer], Placeholder(), replace(HASTY, connect_s=0.2))
            async with asyncio.timeout(5):
                answer = await rail.send(AUTHORIZE)
            await rail.close()
        return answer, heard

    for sign_on in (lambda fields: [], lambda fields: [frame(encode({**fields, MTI: "0810", 39: "91"}))]):
        answer, heard = asyncio.run(meet(sign_on))
        assert isinstance(answer, Declined) and answer.reason == "rail_unavailable"
        assert [fields[MTI] for fields in heard] == ["0800"]


def test_a_line_takes_only_so_much() -> None:
    """
    One request more than may be in flight is not sent; when the others were given up, there is room again.
    """

    async def story(rail: CardRail) -> None:
        sent = [rail.send(instruction(Operation.AUTHORIZE, number=number)) for number in range(4)]
        answers = await asyncio.gather(*sent)
        assert [type(answer) for answer in answers] == [Unknown, Unknown, Unknown, Declined]
        assert isinstance(await rail.send(AUTHORIZE), Unknown)

    met(lambda fields: [], story, patience=replace(HASTY, answer_s=0.2, in_flight_max=3))


def test_who_goes_away_leaves_nothing_behind() -> None:
    """
    A caller that is cancelled no longer counts as waiting, and the answer that comes for it is late.
    """

    async def story(rail: CardRail) -> None:
        approved(await rail.send(instruction(Operation.AUTHORIZE, number=2)))
        with suppress(TimeoutError):
            async with asyncio.timeout(0.05):
                await rail.send(instruction(Operation.AUTHORIZE, amount=7))
        await asyncio.sleep(0.6)
        approved(await rail.send(instruction(Operation.AUTHORIZE, number=3)))

    def slow(fields: Fields) -> list[bytes]:
        return [] if fields.get(4) == f"{7:012}" else [good(fields)]

    counts = met(slow, story, patience=replace(HASTY, in_flight_max=1))

    assert counts.given_up == 1
