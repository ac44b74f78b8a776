"""The breakers port: the same promises from memory and from Postgres, whoever else shares them.

Time is the store's own here, so breakers in these tests open for a second.
"""

import asyncio
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from adapters.memory.breakers import MemoryBreakers
from adapters.postgres import breakers as module
from adapters.postgres.breakers import PostgresBreakers
from domain.breaker import OF_RAIL, OF_ROUTE, Outcome, Permit, State, Thresholds, allow, counts, key
from domain.errors import Unavailable
from domain.ports import Breakers
from domain.rail import Rail
from domain.traffic import Observation, Span, statistics
from domain.watch import Watched

TOP = Path(__file__).parents[2]

QUICK = Thresholds(failures_in_row=3, open_s=1, open_s_max=2, probes=1, probe_patience_s=1)
RAIL, NORTH, SOUTH = key(Rail.CARD), key(Rail.CARD, "north"), key(Rail.CARD, "south")
THRESHOLDS = {NORTH: QUICK}

WELL = Observation(outcome=Outcome.SUCCESS, latency_ms=70, approved=True)
FAILED = Observation(outcome=Outcome.FAILURE, latency_ms=70, approved=False)
PROBED = Observation(outcome=Outcome.SUCCESS, latency_ms=0, approved=True)

Opening = Callable[[], AbstractAsyncContextManager[Breakers]]
"""Opens the breakers, as one more process."""


def later() -> datetime:
    return datetime.now(UTC)


async def seen(shared: Breakers, name: str, so: Callable[[Watched], bool]) -> Watched:
    """What is shared under the name, once it is so; within five seconds."""
    until = time.monotonic() + 5
    while True:
        known = (await shared.look()).get(name, Watched())
        if so(known) or time.monotonic() > until:
            assert so(known), known
            return known
        await asyncio.sleep(0.05)


def calls(at_least: int) -> Callable[[Watched], bool]:
    return lambda known: counts(known.breaker, later()).calls >= at_least


def is_in(state: State) -> Callable[[Watched], bool]:
    return lambda known: known.breaker.state is state


class BreakersContract:
    """What all breakers promise."""

    @pytest.fixture
    def opening(self) -> Opening:
        raise NotImplementedError

    def run(self, opening: Opening, story: Callable[[Breakers, Breakers], Awaitable[None]]) -> None:
        """The story of two processes that share breakers."""

        async def both() -> None:
            async with AsyncExitStack() as stack:
                one = await stack.enter_async_context(opening())
                other = await stack.enter_async_context(opening())
                await story(one, other)

        asyncio.run(both())

    def test_what_one_observes_the_other_sees(self, opening: Opening) -> None:
        """
        A call counts for its route and its rail, in breaker and traffic; another route knows nothing of it.
        """

        async def story(one: Breakers, other: Breakers) -> None:
            assert dict(await other.look()) == {}
            for observation in (WELL, FAILED):
                one.observe(Rail.CARD, "north", observation)

            for name in (RAIL, NORTH):
                known = await seen(other, name, calls(2))
                found = statistics(known.traffic, later())
                assert (found.approved, found.refused, found.latency_ms) == (1, 1, 75)
            assert SOUTH not in await other.look()

        self.run(opening, story)

    def test_no_observation_is_lost_or_counted_twice(self, opening: Opening) -> None:
        """
        Two processes tell of the same routes at the same time.
        """

        async def story(one: Breakers, other: Breakers) -> None:
            for n in range(300):
                for shared in (one, other):
                    shared.observe(Rail.CARD, "north" if n % 3 else "south", WELL)
                if n % 50 == 0:
                    await asyncio.sleep(0.3)

            assert counts((await seen(one, RAIL, calls(600))).breaker, later()).calls == 600
            for name, times in ((RAIL, 600), (NORTH, 400), (SOUTH, 200)):
                known = await seen(other, name, calls(times))
                assert counts(known.breaker, later()).calls == times
                assert statistics(known.traffic, later()).approved == times

        self.run(opening, story)

    def test_failures_of_both_together_open_it_for_both(self, opening: Opening) -> None:
        """
        Neither saw enough of them alone.
        """

        async def story(one: Breakers, other: Breakers) -> None:
            one.observe(Rail.CARD, "north", FAILED)
            await seen(one, NORTH, calls(1))
            for _ in range(2):
                other.observe(Rail.CARD, "north", FAILED)

            for shared in (one, other):
                assert (
                    (await seen(shared, NORTH, is_in(State.OPEN))).breaker.history[-1].reason.startswith("3 failures")
                )
                assert (await shared.look())[RAIL].breaker.state is State.CLOSED

        self.run(opening, story)

    def test_one_of_many_gets_the_probe(self, opening: Opening) -> None:
        """
        Twenty ask at once: one is let through; by its success all are.
        """

        async def story(one: Breakers, other: Breakers) -> None:
            for _ in range(3):
                one.observe(Rail.CARD, "north", FAILED)
            opened = await seen(one, NORTH, is_in(State.OPEN))
            assert not await other.take_probe(Rail.CARD, "north")
            assert opened.breaker.until is not None
            await asyncio.sleep((opened.breaker.until - later()).total_seconds() + 0.05)

            asked = [shared.take_probe(Rail.CARD, "north") for shared in (one, other) for _ in range(10)]
            taken = await asyncio.gather(*asked)

            assert sum(taken) == 1
            other.observe(Rail.CARD, "north", PROBED)
            assert allow((await seen(one, NORTH, is_in(State.CLOSED))).breaker, later()) is Permit.YES
            assert await one.take_probe(Rail.CARD, "north")  # None is asked for any more.

        self.run(opening, story)

    def test_an_operators_word_holds_for_all(self, opening: Opening) -> None:
        """
        Forced by one, it is so for the other within a second, until it is released; both are on record.
        """

        async def story(one: Breakers, other: Breakers) -> None:
            await asyncio.gather(one.look(), other.look())
            until = later() + timedelta(hours=1)

            forced = await one.force(NORTH, State.OPEN, reason="moving", actor="ann", until=until)

            assert allow(forced, later()) is Permit.NO
            assert allow((await one.look())[NORTH].breaker, later()) is Permit.NO
            known = await seen(other, NORTH, lambda known: known.breaker.override is not None)
            assert allow(known.breaker, later()) is Permit.NO
            assert not await other.take_probe(Rail.CARD, "north")

            released = await other.release(NORTH, reason="moved", actor="bob")

            assert allow(released, later()) is Permit.YES
            known = await seen(one, NORTH, lambda known: known.breaker.override is None)
            assert [transition.cause for transition in known.breaker.history] == ["forced", "released"]

        self.run(opening, story)

    def test_each_has_its_thresholds(self, opening: Opening) -> None:
        """
        Those that were given, or the usual ones, of a rail others than of a route.
        """

        async def story(one: Breakers, other: Breakers) -> None:
            for route in ("north", "south"):
                one.observe(Rail.CARD, route, WELL)

            thresholds = {name: (await seen(one, name, calls(1))).breaker.thresholds for name in (RAIL, NORTH, SOUTH)}
            assert thresholds == {RAIL: OF_RAIL, NORTH: QUICK, SOUTH: OF_ROUTE}

        self.run(opening, story)


class TestMemoryBreakers(BreakersContract):
    @pytest.fixture
    def opening(self) -> Opening:
        shared = MemoryBreakers(later, thresholds=THRESHOLDS)

        @asynccontextmanager
        async def opened() -> AsyncIterator[Breakers]:
            yield shared

        return opened


class TestPostgresBreakers(BreakersContract):
    @pytest.fixture
    def opening(self, database: str) -> Opening:
        return lambda: PostgresBreakers(database, thresholds=THRESHOLDS)

    def test_what_is_left_is_told_at_the_end(self, database: str) -> None:
        """
        A process that stops takes none of its observations with it.
        """

        async def story() -> None:
            async with PostgresBreakers(database) as shared:
                shared.observe(Rail.CARD, "north", WELL)

        asyncio.run(story())

        assert stored(database) == {RAIL: 1, NORTH: 1}

    def test_what_is_looked_at_is_kept_for_a_second(self, database: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """
        A thousand looks are one question; when its time is over, there is another.
        """
        asked: list[float] = []
        look = PostgresBreakers._look

        async def counting(self: PostgresBreakers, connection: psycopg.AsyncConnection) -> dict[str, Watched]:
            asked.append(time.monotonic())
            return await look(self, connection)

        monkeypatch.setattr(PostgresBreakers, "_look", counting)
        monkeypatch.setattr(module, "CACHED_S", 0.3)

        async def story() -> None:
            async with PostgresBreakers(database) as shared:
                await asyncio.gather(*(shared.look() for _ in range(500)))
                assert len(asked) == 1
                await asyncio.sleep(0.35)
                await asyncio.gather(*(shared.look() for _ in range(500)))
                assert len(asked) == 2

        asyncio.run(story())

    def test_while_postgres_is_away_observations_are_kept(self, database: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """
        Asking fails and says so; what was observed is told, once, when it is back; nobody waited for it.
        """
        monkeypatch.setattr(module, "RETRY_S", 0.1)

        async def story() -> None:
            async with PostgresBreakers(database) as shared:
                await shared.look()
                with psycopg.connect(database, autocommit=True) as admin:
                    admin.execute("ALTER TABLE daybook.breakers RENAME TO hidden")
                    for _ in range(5):
                        shared.observe(Rail.CARD, "north", WELL)
                    telling = asyncio.create_task(shared.tell())
                    await asyncio.sleep(0)
                    shared.observe(Rail.CARD, "north", WELL)  # While those before are on their way.
                    with pytest.raises(Unavailable):
                        await telling
                    with pytest.raises(Unavailable):
                        await shared.take_probe(Rail.CARD, "north")
                    shared.observe(Rail.CARD, "north", FAILED)
                    await asyncio.sleep(0.5)
                    admin.execute("ALTER TABLE daybook.hidden RENAME TO breakers")
                await seen(shared, NORTH, calls(7))

        asyncio.run(story())

        assert stored(database) == {RAIL: 7, NORTH: 7}

    def test_a_connection_that_died_costs_no_answer(self, database: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """
        Postgres was started anew between two looks.
        """
        monkeypatch.setattr(module, "CACHED_S", 0.0)

        async def story() -> None:
            async with PostgresBreakers(database) as shared:
                await shared.look()
                with psycopg.connect(database, autocommit=True) as admin:
                    admin.execute(
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                    )
                assert dict(await shared.look()) == {}

        asyncio.run(story())

    def test_what_is_kept_meanwhile_has_an_end(self, database: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """
        However long it is away, memory does not grow without bound.
        """
        monkeypatch.setattr(module, "GATHERED_MAX", 50)
        monkeypatch.setattr(module, "GATHER_S", 60)

        async def story() -> None:
            async with PostgresBreakers(database) as shared:
                for _ in range(200):
                    shared.observe(Rail.CARD, "north", WELL)

        asyncio.run(story())

        assert stored(database) == {RAIL: 50, NORTH: 50}

    def test_processes_share_them(self, database: str) -> None:
        """
        Four processes at once, two hundred calls each on two routes in turns: every one is counted.
        """
        command = [sys.executable, "-c", ANOTHER, database]
        processes = [
            subprocess.Popen(command, cwd=TOP, stdin=subprocess.PIPE, stdout=subprocess.PIPE) for _ in range(4)
        ]
        for process in processes:
            assert process.stdout is not None and process.stdout.readline() == b"ready\n"
        for process in processes:
            process.communicate(b"go\n", timeout=60)

        assert [process.returncode for process in processes] == [0] * 4
        assert stored(database) == {RAIL: 800, NORTH: 400, SOUTH: 400}


ANOTHER = """
import asyncio, sys
from adapters.postgres.breakers import PostgresBreakers
from domain.breaker import Outcome
from domain.rail import Rail
from domain.traffic import Observation

async def story():
    async with PostgresBreakers(sys.argv[1]) as shared:
        await shared.look()
        print("ready", flush=True)
        sys.stdin.readline()
        for n in range(200):
            seen = Observation(outcome=Outcome.SUCCESS, latency_ms=70, approved=True)
            shared.observe(Rail.CARD, ("north", "south")[n % 2], seen)
            if n % 10 == 0:
                await shared.tell()

asyncio.run(story())
"""


def stored(database: str) -> dict[str, int]:
    """Approved payments and calls alike, by name, as a stranger reads them."""
    with psycopg.connect(database) as connection:
        rows = connection.execute(
            """
            SELECT name,
                   (SELECT sum((t ->> 1)::int + (t ->> 2)::int) FROM jsonb_array_elements(traffic -> 'tallies') t),
                   (SELECT sum((b ->> 1)::int) FROM jsonb_array_elements(breaker -> 'window') b)
            FROM daybook.breakers
            """
        ).fetchall()
    assert all(paid == called for _, paid, called in rows), rows
    return {name: int(called) for name, _, called in rows}


def test_the_span_is_a_setting(database: str) -> None:
    """
    How far back is looked may change from one start to the next.
    """

    async def story() -> None:
        async with PostgresBreakers(database) as shared:
            shared.observe(Rail.CARD, "north", WELL)
            await shared.tell()
        async with PostgresBreakers(database, span=Span(buckets=7)) as shared:
            known = (await shared.look())[NORTH]
            assert (known.traffic.span.buckets, statistics(known.traffic, later()).approved) == (7, 1)

    asyncio.run(story())
