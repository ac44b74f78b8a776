"""Between desk and Postgres: lost replies, cut connections, a frozen server. Everybody gets the answer that is true."""

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import pytest

from adapters.embedded_postgres import Server
from adapters.postgres.store import PostgresEventStore
from commands.command import Asked
from commands.desk import Answer, Desk, Outcome
from domain import ids
from domain.errors import KeyInFlight, OutcomeUnknown, Overloaded, Unavailable
from tests.faults import Proxy, own_postgres, processes, proxy
from tests.support import (
    BOOK,
    Reports,
    answers,
    asked,
    batch,
    books_of,
    items_said,
    open_account,
    open_book,
    said,
    started,
    transfer,
)

TILL = ids.account_id(BOOK, "till")


@pytest.fixture
def between(database: str) -> Iterator[Proxy]:
    with proxy(database) as between:
        yield between


async def opened(desk: Desk) -> None:
    for command in (open_book(), open_account("till"), open_account("bank", "equity")):
        assert said(await desk.submit(asked(command))) == "done"


def some(number: int = 3) -> list[Asked]:
    """Transfers, with one that is refused among them."""
    return [asked(transfer("till", "bank")) for _ in range(number)] + [asked(transfer("till", "nobody"))]


DONE = ["done"] * 3 + ["account_not_found"]


async def words(desk: Desk, commands: list[Asked]) -> list[str]:
    return [said(answer) for answer in await answers(desk, *commands)]


@pytest.mark.parametrize("fault", ["reply", "silence"])
def test_a_commit_whose_reply_is_lost_is_looked_up(database: str, between: Proxy, fault: str) -> None:
    """
    Postgres has committed and nobody heard, be the connection cut or silent: every caller is told what it did.
    """
    reports = Reports()

    async def scenario() -> None:
        async with started(PostgresEventStore(between.dsn), reports) as desk:
            await opened(desk)
            between.fault = fault
            commands = some()
            assert await words(desk, commands) == DONE
            assert between.cuts == 1
            assert await words(desk, commands) == [f"{word} again" for word in DONE]
            assert await words(desk, some()) == DONE

    asyncio.run(scenario())
    assert [event for event, _ in reports] == ["desk.outcome_unknown"]
    assert books_of(database).check()[TILL] == (6, 0)


@pytest.mark.parametrize("fault", ["commit", "append"])
def test_a_commit_that_never_arrived_is_a_definite_no(database: str, between: Proxy, fault: str) -> None:
    """
    The connection was lost before: nothing was applied, everybody is told so, and may ask again under the same key.
    """

    async def scenario() -> None:
        async with started(PostgresEventStore(between.dsn)) as desk:
            await opened(desk)
            between.fault = fault
            commands = some()
            assert await words(desk, commands) == ["Unavailable"] * 4
            assert between.cuts == 1
            assert len(books_of(database).events) == 3
            assert await words(desk, commands) == DONE

    asyncio.run(scenario())
    assert books_of(database).check()[TILL] == (3, 0)


OWN = (transfer("till", "bank", 2), "own")
BATCHES = {
    "atomic": (
        batch("atomic", transfer("till", "bank", 1), OWN, open_account("new"), key="b"),
        "done",
        ["done"] * 3,
        4,
    ),
    "independent": (
        batch(
            "independent", transfer("till", "bank", 1), transfer("till", "nobody"), OWN, open_account("new"), key="b"
        ),
        "done",
        ["done", "account_not_found", "done", "done"],
        5,
    ),
    "refused": (
        batch("atomic", transfer("till", "bank", 1), OWN, transfer("till", "nobody"), key="b"),
        "batch_refused",
        [],
        1,
    ),
}
"""A batch, its answer and its commands' in a word each, and how many events it leaves."""
in_each_mode = pytest.mark.parametrize(("put", "word", "items", "events"), BATCHES.values(), ids=BATCHES.keys())


@in_each_mode
@pytest.mark.parametrize("fault", ["reply", "silence"])
def test_a_batch_whose_reply_is_lost_is_looked_up(
    database: str, between: Proxy, fault: str, put: Asked, word: str, items: list[str], events: int
) -> None:
    """
    All of it has landed, beside what others asked: it is answered in order, and so again for ever, whoever is asked.
    """
    reports = Reports()

    async def scenario() -> None:
        async with started(PostgresEventStore(between.dsn), reports) as desk:
            await opened(desk)
            between.fault = fault
            first, *others = await answers(desk, put, *some())
            assert ([said(first), items_said(first)], [*map(said, others)]) == ([word, items], DONE)
            assert between.cuts == 1
            await asked_again(desk, put, first)
        async with started(PostgresEventStore(database)) as another:
            await asked_again(another, put, first)

    asyncio.run(scenario())
    assert [event for event, _ in reports] == ["desk.outcome_unknown"]
    books = books_of(database)
    assert books.check()[TILL] == ((6, 0) if items else (3, 0))
    assert len(books.events) == 3 + len(DONE) + events


async def asked_again(desk: Desk, put: Asked, first: Answer) -> None:
    """The retry has the first answers; and so has whoever asks for one of them by its own key."""
    assert isinstance(first, Outcome)
    [again] = await answers(desk, put)
    assert isinstance(again, Outcome)
    assert said(again) == f"{said(first)} again"
    assert again.recorded == first.recorded
    assert [word.removesuffix(" again") for word in items_said(again)] == items_said(first)
    for was, is_ in zip(first.items, again.items, strict=True):
        assert isinstance(was, Outcome) and isinstance(is_, Outcome)
        assert is_.recorded == was.recorded
        assert (is_.refusal and is_.refusal.details()) == (was.refusal and was.refusal.details())
    if first.items:
        [alone] = await answers(desk, asked(*OWN))
        assert isinstance(alone, Outcome)
        assert said(alone) == "done again"
        assert alone.recorded in [item.recorded for item in first.items if isinstance(item, Outcome)]


@in_each_mode
@pytest.mark.parametrize("fault", ["commit", "append"])
def test_a_batch_that_never_arrived_leaves_nothing(
    database: str, between: Proxy, fault: str, put: Asked, word: str, items: list[str], events: int
) -> None:
    """
    Neither it nor any of its commands is done, nor is any of their keys used; asked again, it is done as a whole.
    """

    async def scenario() -> None:
        async with started(PostgresEventStore(between.dsn)) as desk:
            await opened(desk)
            between.fault = fault
            assert await words(desk, [put]) == ["Unavailable"]
            assert between.cuts == 1
            assert len(books_of(database).events) == 3
            [again] = await answers(desk, put)
            assert (said(again), items_said(again)) == (word, items)

    asyncio.run(scenario())
    books = books_of(database)
    assert books.check()[TILL] == ((3, 0) if items else (0, 0))
    assert len(books.events) == 3 + events


@pytest.mark.parametrize(("fault", "word"), [("reply", "done again"), ("commit", "done")])
def test_what_cannot_be_looked_up_is_unknown(database: str, between: Proxy, fault: str, word: str) -> None:
    """
    Postgres stays away after the cut: within ten seconds everybody is told just that, and the same key tells later.
    """

    async def scenario() -> None:
        async with started(PostgresEventStore(between.dsn)) as desk:
            await opened(desk)
            between.fault, between.then_refuse = fault, True
            same = asked(transfer("till", "bank"))
            begun = time.monotonic()
            assert await words(desk, [same, *some(2)]) == ["OutcomeUnknown"] * 4
            assert time.monotonic() - begun < 10
            assert await words(desk, [asked(transfer("till", "bank"), "during")]) == ["Unavailable"]
            between.refusing = False
            assert await words(desk, [same]) == [word]
            assert await words(desk, [asked(transfer("till", "bank"), "during")]) == ["done"]

    asyncio.run(scenario())
    landed = 4 if fault == "reply" else 2
    assert books_of(database).check()[TILL] == (landed, 0)


def test_an_idle_connection_may_die_unnoticed(database: str, between: Proxy) -> None:
    """
    A connection that was cut while nothing was under way costs nobody an answer.
    """
    reports = Reports()

    async def scenario() -> None:
        async with started(PostgresEventStore(between.dsn), reports) as desk:
            await opened(desk)
            for _ in range(3):
                between.cut_all()
                assert await words(desk, some()) == DONE

    asyncio.run(scenario())
    assert reports == []
    assert books_of(database).check()[TILL] == (9, 0)


def test_a_frozen_postgres_is_answered_for() -> None:
    """
    Every process of Postgres stands still under load: everybody is answered in ten seconds, and the books are right.
    """
    with own_postgres() as server:
        asyncio.run(_through_a_freeze(server))

        books_of(server.dsn).check()


async def _through_a_freeze(server: Server) -> None:
    reports = Reports()
    async with started(PostgresEventStore(server.dsn), reports) as desk:
        await opened(desk)
        commands = [asked(transfer("till", "bank")) for _ in range(120)]
        asking = []
        with frozen_after(server, 0.3):
            for command in commands:
                asking.append(asyncio.create_task(timed(desk, command)))
                await asyncio.sleep(0.01)
            told = await asyncio.gather(*asking)
            assert max(seconds for _, seconds in told) < 10
            assert {word for word, _ in told} <= {"done", "Unavailable", "Overloaded", "OutcomeUnknown"}
            assert len({word for word, _ in told}) > 1, "nothing was frozen"

        for command, (word, _) in zip(commands, told, strict=True):
            again = said(await answered(desk, command))
            assert again in {"done": ["done again"], "OutcomeUnknown": ["done", "done again"]}.get(word, ["done"])

    assert books_of(server.dsn).check()[TILL] == (120, 0)


async def timed(desk: Desk, command: Asked) -> tuple[str, float]:
    begun = time.monotonic()
    (answer,) = await answers(desk, command)
    return said(answer), time.monotonic() - begun


async def answered(desk: Desk, command: Asked) -> Answer:
    """Asked until Postgres has come to itself."""
    while True:
        (answer,) = await answers(desk, command)
        if not isinstance(answer, Unavailable | OutcomeUnknown | Overloaded | KeyInFlight):
            return answer
        await asyncio.sleep(0.1)


@contextmanager
def frozen_after(server: Server, seconds: float) -> Iterator[None]:
    """All of the server's processes stand still from then until the end."""
    stopped: list[psutil.Process] = []

    def freeze() -> None:
        for process in processes(server):
            process.suspend()
            stopped.append(process)

    timer = threading.Timer(seconds, freeze)
    timer.start()
    try:
        yield
    finally:
        timer.join()
        for process in reversed(stopped):
            process.resume()
