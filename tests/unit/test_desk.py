"""The desk by itself: its queue, its patience, its end, and what it says when a commit's reply is lost.

Its promises about deciding are in `tests/contract/test_desk.py`, for every event store alike.
"""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from uuid import UUID

import pytest

from adapters.memory.store import MemoryEventStore, MemoryWriting
from commands import desk as module
from commands.batch import PostBatch, ask_batch
from commands.command import Asked
from commands.desk import SIZES, Desk, Outcome
from domain import ids
from domain.audit import Seal
from domain.errors import ConflictInStore, KeyInFlight, OutcomeUnknown, Overloaded, Stopping, Unavailable
from domain.ledger import Batch
from tests.support import (
    BOOK,
    NOW,
    Reports,
    answers,
    answers_of,
    asked,
    books_of,
    desk,
    open_account,
    open_book,
    said,
    started,
    submitted,
    transfer,
)


class Store(MemoryEventStore):
    """A store that fails as it is told, one word for each time: `ok`, or what goes wrong."""

    def __init__(self) -> None:
        super().__init__(lambda: NOW)
        self.to_write: deque[str] = deque()
        self.to_append: deque[str] = deque()
        self.to_resolve: deque[str] = deque()
        self.open = threading.Event()
        self.open.set()
        self.entered = threading.Event()

    @contextmanager
    def writing(self, command_ids: Collection[UUID] = ()) -> Iterator[MemoryWriting]:
        self.entered.set()
        assert self.open.wait(10)
        if _next(self.to_write) == "unavailable":
            raise Unavailable("no store")
        with super().writing(command_ids) as writing:
            yield Writing(self, writing)

    def resolve(self, seal: Seal) -> bool:
        if _next(self.to_resolve) == "unavailable":
            raise Unavailable("no store")
        return super().resolve(seal)


class Writing(MemoryWriting):
    def __init__(self, store: Store, writing: MemoryWriting) -> None:
        self.__dict__.update(vars(writing))
        self._failing = store

    def append(self, batch: Batch) -> None:
        word = _next(self._failing.to_append)
        if word == "conflict":
            raise ConflictInStore("a unique key is taken")
        if word == "unavailable":
            raise Unavailable("no store")
        if word in ("ok", "landed"):
            super().append(batch)
        if word in ("landed", "lost"):
            raise OutcomeUnknown("the reply to COMMIT was lost")


def _next(words: deque[str]) -> str:
    return words.popleft() if words else "ok"


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_RESOLVE_PAUSES_S", (0.0,) * len(module._RESOLVE_PAUSES_S))


TILL = ids.account_id(BOOK, "till")
OPENING = [open_book(), open_account("till"), open_account("bank", "equity")]


async def opened(working: Desk) -> None:
    for command in OPENING:
        await working.submit(asked(command))


def spending(number: int) -> list[Asked]:
    return [asked(transfer("till", "bank")) for _ in range(number)]


class TestQueue:
    def test_is_bounded(self, store: Store) -> None:
        """
        Past the bound there is a no at once, and the key of whoever got it is unused.
        """

        async def scenario() -> None:
            working = desk(store, queue_max=5)
            tasks = submitted(working, *(asked(open_book(str(number)), str(number)) for number in range(7)))
            await asyncio.sleep(0)
            assert working.queued == 5
            working.start()
            assert [said(answer) for answer in await answers_of(tasks)] == ["done"] * 5 + ["Overloaded"] * 2
            assert said(await working.submit(asked(open_book("6"), "6"))) == "done"
            await working.stop()

        asyncio.run(scenario())
        assert len(store.events) == 6

    def test_is_taken_in_batches_in_order(self, store: Store) -> None:
        """
        What has queued is one commit, up to the bound of a batch; first come, first decided.
        """

        async def scenario() -> None:
            async with started(store) as first:
                await opened(first)
            working = desk(store, batch_max=4)
            tasks = submitted(working, *spending(10))
            await asyncio.sleep(0)
            working.start()
            answered = await answers_of(tasks)
            await working.stop()
            positions = [answer.position for answer in answered if isinstance(answer, Outcome)]
            assert positions == list(range(4, 14))
            assert [(seal.first, seal.last) for seal in store.seals[3:]] == [(4, 7), (8, 11), (12, 13)]

        asyncio.run(scenario())

    def test_whoever_waits_too_long_is_told_no_while_it_is_true(self, store: Store) -> None:
        """
        A command that was not taken up in time is gone from the queue and never applied, and its key is free.
        """

        async def scenario() -> None:
            working = desk(store, patience_s=0.05)
            with pytest.raises(Overloaded):
                await working.submit(asked(open_book(), "a"))
            assert working.queued == 0
            working.start()
            assert said(await working.submit(asked(open_book("other"), "b"))) == "done"
            assert said(await working.submit(asked(open_book(), "a"))) == "done"
            await working.stop()

        asyncio.run(scenario())
        assert len(store.events) == 2

    def test_whoever_waits_too_long_for_a_decision_under_way_is_told_it_is_unknown(self, store: Store) -> None:
        """
        Never a definite no to what may yet be committed; until it is settled its key is in flight, then it tells.
        """

        async def scenario() -> None:
            store.open.clear()
            async with started(store, patience_s=0.1) as working:
                task = asyncio.create_task(working.submit(asked(open_book(), "a")))
                await asyncio.to_thread(store.entered.wait)
                with pytest.raises(OutcomeUnknown):
                    await task
                with pytest.raises(KeyInFlight):
                    await working.submit(asked(open_book(), "a"))
                store.open.set()
                assert said(await settled(working, "a")) == "done again"

        asyncio.run(scenario())
        assert len(store.events) == 1

    def test_an_expiry_may_empty_the_queue_under_the_desk(self, store: Store) -> None:
        """
        The last command may expire between the desk's look at the queue and its taking from it.
        """

        class Vanishing(deque[object]):
            """Says once that something is there when it is gone already."""

            lies = 2

            def __len__(self) -> int:
                if self.lies and not super().__len__():
                    self.lies -= 1
                    return 1
                return super().__len__()

        async def scenario() -> None:
            working = desk(store, patience_s=2)
            working._queue = Vanishing()  # type: ignore[assignment]
            working.start()
            working._wake.set()
            await asyncio.sleep(0.05)
            assert said(await working.submit(asked(open_book()))) == "done"
            await working.stop()

        asyncio.run(scenario())


async def settled(working: Desk, key: str) -> Outcome:
    while True:
        try:
            return await working.submit(asked(open_book(), key))
        except KeyInFlight:
            await asyncio.sleep(0.01)


class TestCallers:
    def test_one_that_goes_away_changes_nothing(self, store: Store) -> None:
        """
        Its command is applied exactly once, whether it was waiting or being decided when its caller left.
        """

        async def scenario() -> None:
            async with started(store) as working:
                await opened(working)
                store.open.clear()
                store.entered.clear()
                deciding = submitted(working, *spending(1))
                await asyncio.to_thread(store.entered.wait)
                waiting = submitted(working, *spending(3))
                await asyncio.sleep(0)
                for task in (*deciding, waiting[1]):
                    task.cancel()
                store.open.set()
                answered = await asyncio.gather(*deciding, *waiting, return_exceptions=True)
                assert [type(answer) for answer in answered] == [
                    asyncio.CancelledError,
                    Outcome,
                    asyncio.CancelledError,
                    Outcome,
                ]

        asyncio.run(scenario())
        assert books_of(store).check()[TILL] == (4, 0)

    def test_those_of_a_loop_that_was_closed_do_not_hold_up_the_others(self, store: Store) -> None:
        """
        The desk outlives an event loop that ended under its callers.
        """
        reports = Reports()
        working = desk(store, reports)
        loop = asyncio.new_event_loop()
        abandoned = loop.create_task(working.submit(asked(open_book())))
        loop.call_soon(loop.stop)
        loop.run_forever()
        abandoned.cancel()
        loop.call_soon(loop.stop)
        loop.run_forever()
        loop.close()

        async def scenario() -> None:
            tasks = submitted(working, asked(open_book("other")))
            await asyncio.sleep(0)
            working.start()
            assert [said(answer) for answer in await answers_of(tasks)] == ["done"]
            await working.stop()

        asyncio.run(scenario())
        assert [event for event, _ in reports] == ["desk.callers_gone"]
        assert len(store.events) == 2

    def test_several_loops_are_answered_each_in_its_own(self, store: Store) -> None:
        """
        Answers arrive in the loop, and so in the thread, that asked.
        """
        working = desk(store)
        working.start()
        words: list[str] = []

        def ask(name: str) -> None:
            words.append(said(asyncio.run(working.submit(asked(open_book(name))))))

        threads = [threading.Thread(target=ask, args=(name,)) for name in "abcd"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
        asyncio.run(working.stop())

        assert words == ["done"] * 4


class TestStopping:
    def test_answers_what_has_queued_and_takes_nothing_more(self, store: Store) -> None:
        """
        A graceful end: everybody who was let in gets a true answer.
        """

        async def scenario() -> None:
            async with started(store) as first:
                await opened(first)
            working = desk(store, batch_max=3)
            tasks = submitted(working, *spending(10))
            await asyncio.sleep(0)
            working.start()
            stopping = asyncio.create_task(working.stop())
            await asyncio.sleep(0)
            with pytest.raises(Stopping):
                await working.submit(asked(transfer("till", "bank")))
            assert [said(answer) for answer in await answers_of(tasks)] == ["done"] * 10
            await stopping
            assert not working._thread.is_alive()

        asyncio.run(scenario())
        assert books_of(store).check()[TILL] == (10, 0)

    def test_one_that_was_never_started_can_be_stopped(self, store: Store) -> None:
        """
        A server that fails while it starts stops what it has.
        """
        asyncio.run(desk(store).stop())


class TestLostReplies:
    @pytest.mark.parametrize("asked_in_vain", [0, 3])
    def test_a_commit_that_landed_is_answered_as_such(self, store: Store, asked_in_vain: int) -> None:
        """
        The desk looks the seal up until it can tell, and everybody gets the answer that is true.
        """
        reports = Reports()
        words = self.words(store, ["ok"] * 3 + ["landed"], ["unavailable"] * asked_in_vain, reports)

        assert words == ["done", "done", "account_not_found", "done"]
        assert books_of(store).check()[TILL] == (3, 0)
        assert {event for event, _ in reports} == {"desk.outcome_unknown"}

    @pytest.mark.parametrize("asked_in_vain", [0, 3])
    def test_a_commit_that_did_not_land_is_a_definite_no(self, store: Store, asked_in_vain: int) -> None:
        """
        Nothing was applied, so everybody is told just that, and may ask again.
        """
        words = self.words(store, ["ok"] * 3 + ["lost"], ["unavailable"] * asked_in_vain, Reports())

        assert words == ["Unavailable"] * 4
        assert books_of(store).check()[TILL] == (3, 0)

    @pytest.mark.parametrize(("what", "word"), [("landed", "done again"), ("lost", "done")])
    def test_what_cannot_be_found_out_is_unknown(self, store: Store, what: str, word: str) -> None:
        """
        Neither yes nor no is said while neither is known; the same key tells later, with one effect.
        """

        async def scenario() -> None:
            async with started(store) as working:
                await opened(working)
                store.to_append.append(what)
                store.to_resolve.extend(["unavailable"] * 20)
                same = transfer("till", "bank")
                assert [said(answer) for answer in await answers(working, asked(same, "a"))] == ["OutcomeUnknown"]
                assert said(await working.submit(asked(same, "a"))) == word
                assert said(await working.submit(asked(transfer("bank", "till")))) == "done"

        asyncio.run(scenario())
        assert books_of(store).check()[TILL] == (1, 1)

    def words(self, store: Store, appends: list[str], resolves: list[str], reports: Reports) -> list[str]:
        """The answers to four commands in one batch, after three to begin with; asked again, they have one effect."""
        store.to_append.extend(appends)
        store.to_resolve.extend(resolves)

        async def scenario() -> list[str]:
            async with started(store, reports) as first:
                await opened(first)
            working = desk(store, reports)
            refused = asked(transfer("till", "nobody"))
            one, two, three = spending(3)
            tasks = submitted(working, one, two, refused, three)
            await asyncio.sleep(0)
            working.start()
            words = [said(answer) for answer in await answers_of(tasks)]
            store.to_append.clear()
            again = [said(answer) for answer in await answers(working, one, two, three)]
            assert again == ["done again" if words[0] == "done" else "done"] * 3
            await working.stop()
            return words

        return asyncio.run(scenario())


class TestFailures:
    @pytest.mark.parametrize("where", ["to_write", "to_append"])
    def test_a_store_that_is_away_is_a_definite_no(self, store: Store, where: str) -> None:
        """
        Before the commit nothing was applied: everybody is told so, the next command finds the store again.
        """

        async def scenario() -> None:
            async with started(store) as working:
                await opened(working)
                getattr(store, where).append("unavailable")
                assert said((await answers(working, *spending(1)))[0]) == "Unavailable"
                assert [said(answer) for answer in await answers(working, *spending(5))] == ["done"] * 5

        asyncio.run(scenario())
        assert books_of(store).check()[TILL] == (5, 0)

    def test_a_store_that_goes_away_while_commands_are_decided_one_by_one_is_not_asked_for_each(
        self, store: Store
    ) -> None:
        """
        A batch that failed is decided command by command; when the store is gone then, the rest is answered at once.
        """

        async def scenario() -> None:
            async with started(store) as first:
                await opened(first)
            working = desk(store)
            tasks = submitted(working, *spending(30))
            await asyncio.sleep(0)
            store.to_append.extend(["conflict", "ok", "ok"])
            store.to_write.extend(["ok", "ok", "ok", *["unavailable"] * 40])
            working.start()
            words = [said(answer) for answer in await answers_of(tasks)]
            await working.stop()
            assert words == ["done"] * 2 + ["Unavailable"] * 28
            assert len(store.to_write) == 39

        asyncio.run(scenario())
        assert books_of(store).check()[TILL] == (2, 0)

    def test_a_report_that_fails_does_not_end_the_desk(self, store: Store) -> None:
        """
        The log line about a fault may fail too; commands are answered all the same.
        """

        def report(event: str, error: BaseException) -> None:
            raise OSError("no space left for logs")

        async def scenario() -> None:
            working = Desk(store, report=report, patience_s=2)
            working.start()
            store.to_append.append("conflict")
            assert said((await answers(working, asked(open_book())))[0]) != "Overloaded"
            assert said((await answers(working, asked(open_book("other"))))[0]) == "done"
            await working.stop()

        asyncio.run(scenario())


def test_counts_what_it_did(store: Store) -> None:
    """
    Done, refused, told again and failed are counted apart.
    """

    async def scenario() -> None:
        async with started(store) as working:
            await opened(working)
            await answers(working, asked(transfer("till", "bank"), "a"))
            await answers(working, asked(transfer("till", "bank"), "a"))
            await answers(working, asked(transfer("till", "bank", 2), "a"))
            await answers(working, asked(transfer("till", "nobody"), "b"))
            tally = working.tally
            assert (tally.batches, tally.landed, tally.replayed, tally.refused, tally.failed) == (7, 4, 1, 1, 1)
            assert (tally.commits, tally.events, tally.refusals) == (5, 5, {"account_not_found": 1})
            assert (tally.taken, tally.sizes[0]) == (7, 7)

    asyncio.run(scenario())


def test_counts_batches_by_size(store: Store) -> None:
    """
    What is decided together is one batch of that size; a refusal within a batch counts as one outside.
    """

    async def scenario() -> None:
        async with started(store) as working:
            await opened(working)
            before = sum(working.tally.sizes)
            many = [transfer("till", "bank"), transfer("till", "nobody"), *[transfer("till", "bank")] * 4]
            items = [{"command": one.kind, "arguments": one} for one in many]
            batch = PostBatch.model_validate({"book": "main", "mode": "independent", "commands": items})
            await answers(working, ask_batch(batch, actor="tester", key="batch"))
            tally = working.tally
            assert (sum(tally.sizes) - before, tally.sizes[SIZES.index(10)]) == (1, 1)
            assert tally.refusals == {"account_not_found": 1}

    asyncio.run(scenario())


def test_one_command_alone_is_committed_at_once(store: Store) -> None:
    """
    There is no timer to wait for: an idle desk answers in far less than any such would be.
    """

    async def scenario() -> float:
        async with started(store) as working:
            await opened(working)
            begun = time.monotonic()
            for command in spending(20):
                await working.submit(command)
            return (time.monotonic() - begun) / 20

    assert asyncio.run(scenario()) < 0.25
