"""The desk upon each event store: every caller its own answer, decided on the truth, whoever else writes."""

import asyncio
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from msgspec.structs import replace

from adapters.memory.store import MemoryEventStore
from adapters.postgres.store import PostgresEventStore
from commands.account import FreezeAccount
from commands.command import Asked, Command, Decided
from commands.desk import Desk, Outcome
from commands.hold import CaptureHold, ExpireHold, VoidHold
from domain import ids
from domain.audit import Seal
from domain.errors import EventTooNew, KeyInFlight, KeyReused
from domain.events import AccountFrozen, EntryReversed, Metadata, Recorded
from domain.ledger import Draft, Ledger
from domain.ports import EventStore, Writing
from tests.conftest import Server, database_on
from tests.support import (
    BOOK,
    Books,
    Reports,
    answers,
    answers_of,
    asked,
    batch,
    books_of,
    close,
    desk,
    entry,
    freeze,
    items_said,
    open_account,
    open_book,
    place,
    reverse,
    said,
    started,
    submitted,
    transfer,
    unfreeze,
)


class Raises(FreezeAccount):
    """A command in which we have made a mistake."""

    def decide(self, draft: Draft, command_id: UUID) -> Decided:
        raise RuntimeError("a mistake of ours")


class Poison(FreezeAccount):
    """A command that decides what the store will not take: a version that is taken."""

    def decide(self, draft: Draft, command_id: UUID) -> Decided:
        return [(self.account_id, 1, AccountFrozen())]


def opening(*more: Command) -> list[Asked]:
    """A book, a till without limits, a bank without limits, a purse that cannot be overdrawn, a spare account."""
    commands = [
        open_book(),
        open_account("till"),
        open_account("bank", "equity"),
        open_account("purse", overdraft_limit=0),
        open_account("spare"),
        *more,
    ]
    return [asked(command) for command in commands]


async def opened(desk: Desk, *more: Command) -> None:
    for command in opening(*more):
        assert said(await desk.submit(command)) == "done"


def batch_of(good: int, *bad: Command) -> list[Asked]:
    """Good transfers with something bad in the midst of them."""
    commands: list[Command] = [transfer("till", "bank", 1) for _ in range(good)]
    commands[good // 2 : good // 2] = bad
    return [asked(command) for command in commands]


class DeskContract:
    """What a desk promises, whatever its store."""

    @pytest.fixture
    def stores(self) -> Iterator[Callable[[], EventStore]]:
        """More and more stores on one log."""
        raise NotImplementedError

    @pytest.fixture
    def other_log(self) -> Iterator[EventStore]:
        """A store on another log."""
        raise NotImplementedError

    def books(self, store: EventStore) -> Books:
        raise NotImplementedError

    # One bad command among fifty.

    @pytest.mark.parametrize(
        ("bad", "word", "batches"),
        [
            (transfer("till", "nobody"), "account_not_found", 1),
            (transfer("bank", "purse"), "insufficient_funds", 1),
            (Raises(account_id=ids.account_id(BOOK, "spare")), "RuntimeError", 1),
            (Poison(account_id=ids.account_id(BOOK, "spare")), "Unavailable", 52),
        ],
        ids=["no such account", "no funds", "a mistake of ours", "the store refuses the batch"],
    )
    def test_one_bad_command_among_fifty(
        self, stores: Callable[[], EventStore], bad: Command, word: str, batches: int
    ) -> None:
        """
        A command that is refused, that fails, or that makes its whole batch fail, harms none of its neighbours.
        """
        store, reports = stores(), Reports()

        async def scenario() -> None:
            async with started(store) as first:
                await opened(first)
            working = desk(stores(), reports)
            tasks = submitted(working, *batch_of(50, bad))
            await asyncio.sleep(0)
            working.start()
            answered = await answers_of(tasks)
            await working.stop()

            assert [said(answer) for answer in answered] == ["done"] * 25 + [word] + ["done"] * 25
            assert working.tally.batches == batches

        asyncio.run(scenario())
        assert self.books(store).check()[ids.account_id(BOOK, "till")] == (50, 0)
        assert bool(reports) == (word in ("RuntimeError", "Unavailable"))

    def test_several_bad_commands_are_each_alone(self, stores: Callable[[], EventStore]) -> None:
        """
        Two poisons and a mistake in one batch: three errors, and everything else is done.
        """
        spare = ids.account_id(BOOK, "spare")
        bad = [Poison(account_id=spare), Raises(account_id=spare), Poison(account_id=spare), freeze("spare")]

        async def scenario() -> None:
            async with started(stores()) as working:
                await opened(working)
                answered = await answers(working, *batch_of(10, *bad))
                words = ["Unavailable", "RuntimeError", "Unavailable", "done"]
                assert [said(answer) for answer in answered] == ["done"] * 5 + words + ["done"] * 5

        asyncio.run(scenario())
        self.books(stores()).check()

    # Keys.

    def test_one_key_twice_in_a_batch(self, stores: Callable[[], EventStore]) -> None:
        """
        The same request gets the first answer again, another request none; there is one effect.
        """
        reports = Reports()
        working = desk(stores(), reports)
        working._answer_all(opening())
        done, refused, opens = transfer("till", "bank", 7), transfer("till", "purse"), open_account("new")
        batch = [
            *[asked(done, "a"), asked(done, "a"), asked(transfer("till", "bank", 8), "a")],
            *[asked(refused, "b"), asked(refused, "b"), asked(transfer("till", "purse", 2), "b")],
            *[asked(opens, "c"), asked(opens, "c"), asked(open_account("new", title="x"), "c")],
        ]

        answered = working._answer_all(batch)

        assert [said(answer) for answer in answered] == [
            *("done", "done again", "KeyReused"),
            *("insufficient_funds", "insufficient_funds again", "KeyReused"),
            *("done", "done again", "KeyReused"),
        ]
        assert (reports, working.tally.batches) == ([], 2)
        first, second = answered[6], answered[7]
        assert isinstance(first, Outcome) and isinstance(second, Outcome)
        assert (first.recorded, first.account) == (second.recorded, second.account)
        books = self.books(stores())
        assert books.check()[ids.account_id(BOOK, "till")] == (7, 0)
        assert {key: len(events) for key, events in books.by_key().items() if key in "abc"} == {"a": 1, "b": 1, "c": 1}

    def test_a_key_is_for_ever(self, stores: Callable[[], EventStore]) -> None:
        """
        Whenever it is asked again, by whatever desk, the first answer is given, whatever has happened since.
        """
        commands = {
            "open": open_account("new", overdraft_limit=0),
            "freeze": freeze("new"),
            "frozen": transfer("till", "new"),
            "unfreeze": unfreeze("new"),
            "post": transfer("till", "bank", 3),
            "reverse": reverse(ids.command_id(BOOK, "post_entry", "post")),
            "twice": reverse(ids.command_id(BOOK, "post_entry", "post")),
            "close": close("new"),
        }
        words = {key: "done" for key in commands} | {"frozen": "account_frozen", "twice": "entry_already_reversed"}

        async def scenario() -> None:
            first = {}
            async with started(stores()) as working:
                await opened(working)
                for key, command in commands.items():
                    first[key] = await working.submit(asked(command, key))
                assert {key: said(answer) for key, answer in first.items()} == words
            async with started(stores()) as working:
                again = {
                    key: await working.submit(asked(command, key, actor="bob")) for key, command in commands.items()
                }
                for key, answer in again.items():
                    told = first[key]
                    assert answer.replayed
                    assert answer.recorded[0] == told.recorded[0]
                    assert answer.account == told.account
                    assert type(answer.refusal) is type(told.refusal)
                others = [asked(open_account("new"), "open"), asked(transfer("till", "bank", 4), "post")]
                assert [type(answer) for answer in await answers(working, *others)] == [KeyReused, KeyReused]

        asyncio.run(scenario())
        self.books(stores()).check()

    def test_a_key_in_flight_is_said_to_be(self, stores: Callable[[], EventStore]) -> None:
        """
        While the first request is being decided, a second under its key gets no answer that might be wrong.
        """

        async def scenario() -> None:
            working = desk(stores())
            tasks = submitted(working, *opening(), asked(transfer("till", "bank"), "a"))
            await asyncio.sleep(0)
            with pytest.raises(KeyInFlight):
                await working.submit(asked(transfer("till", "bank"), "a"))
            working.start()
            await answers_of(tasks)
            assert said(await working.submit(asked(transfer("till", "bank"), "a"))) == "done again"
            await working.stop()

        asyncio.run(scenario())

    def test_keys_that_race_through_two_desks(self, stores: Callable[[], EventStore]) -> None:
        """
        Whichever desk comes first does it, the other tells; never both, never neither.
        """
        keys = [f"race-{number}" for number in range(60)]

        async def scenario() -> None:
            async with started(stores()) as one, started(stores()) as other:
                await opened(one)
                commands = [transfer("till", "bank" if number % 3 else "purse") for number in range(len(keys))]
                pairs = list(zip(keys, commands, strict=True))
                for some in (pairs[:20], pairs[20:40], pairs[40:]):
                    left, right = await asyncio.gather(
                        answers(one, *(asked(command, key) for key, command in some)),
                        answers(other, *(asked(command, key) for key, command in some)),
                    )
                    for mine, theirs in zip(left, right, strict=True):
                        assert isinstance(mine, Outcome) and isinstance(theirs, Outcome)
                        assert {mine.replayed, theirs.replayed} == {False, True}
                        assert mine.recorded == theirs.recorded

        asyncio.run(scenario())
        books = self.books(stores())
        books.check()
        assert all(len(books.by_key()[key]) == 1 for key in keys)

    # Several desks on one log.

    def test_the_last_unit_is_spent_once(self, stores: Callable[[], EventStore]) -> None:
        """
        A hundred times two desks spend the last unit at the same moment: a hundred times exactly one may.
        """

        async def scenario() -> None:
            async with started(stores()) as one, started(stores()) as other:
                await opened(one)
                for turn in range(100):
                    assert said(await (one, other)[turn % 2].submit(asked(transfer("purse", "bank")))) == "done"
                    both = await asyncio.gather(
                        one.submit(asked(transfer("bank", "purse"))), other.submit(asked(transfer("bank", "purse")))
                    )
                    assert sorted(map(said, both)) == ["done", "insufficient_funds"]

        asyncio.run(scenario())
        assert self.books(stores()).check()[ids.account_id(BOOK, "purse")] == (100, 100)

    def test_the_last_of_many_units_is_spent_once(self, stores: Callable[[], EventStore]) -> None:
        """
        Forty units, two desks, sixty spenders each, all at once: forty succeed.
        """

        async def scenario() -> None:
            async with started(stores()) as one, started(stores()) as other:
                await opened(one, transfer("purse", "bank", 40))
                spending = [asked(transfer("bank", "purse")) for _ in range(120)]
                both = await asyncio.gather(answers(one, *spending[:60]), answers(other, *spending[60:]))
                words = [said(answer) for answered in both for answer in answered]
                assert (words.count("done"), words.count("insufficient_funds")) == (40, 80)

        asyncio.run(scenario())
        assert self.books(stores()).check()[ids.account_id(BOOK, "purse")] == (40, 40)

    def test_what_one_desk_did_the_other_knows(self, stores: Callable[[], EventStore]) -> None:
        """
        Each decides on what the other has committed: accounts, their standing, balances, entries and reversals.
        """
        post = asked(transfer("purse", "bank", 5))

        async def scenario() -> None:
            async with started(stores()) as one, started(stores()) as other:
                await opened(one)
                turns = [
                    (other, open_account("till"), "account_code_taken"),
                    (other, transfer("bank", "purse"), "insufficient_funds"),
                    (one, post.command, "done"),
                    (other, transfer("bank", "purse", 5), "done"),
                    (one, transfer("bank", "purse"), "insufficient_funds"),
                    (one, transfer("purse", "bank", 9), "done"),
                    (other, freeze("purse"), "done"),
                    (one, transfer("bank", "purse"), "account_frozen"),
                    (one, unfreeze("purse"), "done"),
                    (other, reverse(post.command_id), "entry_not_found"),
                    (other, transfer("bank", "purse", 9), "done"),
                    (other, close("purse"), "done"),
                    (one, transfer("purse", "bank"), "account_closed"),
                ]
                for turn, (by, command, word) in enumerate(turns):
                    assert said(await by.submit(asked(command))) == word, turn

        asyncio.run(scenario())
        self.books(stores()).check()

    def test_an_entry_is_reversed_once_whichever_desk_is_asked(self, stores: Callable[[], EventStore]) -> None:
        """
        Two desks reverse the same entries at once: one mirror each.
        """
        posts = [asked(transfer("till", "bank", 5)) for _ in range(20)]

        async def scenario() -> None:
            async with started(stores()) as one, started(stores()) as other:
                await opened(one)
                await answers(one, *posts)
                both = await asyncio.gather(
                    *(answers(by, *(asked(reverse(post.command_id)) for post in posts)) for by in (one, other))
                )
                for pair in zip(*both, strict=True):
                    assert sorted(map(said, pair)) == ["done", "entry_already_reversed"]

        asyncio.run(scenario())
        assert self.books(stores()).check()[ids.account_id(BOOK, "till")] == (100, 100)

    def test_what_is_decided_in_one_batch_is_seen_in_it(self, stores: Callable[[], EventStore]) -> None:
        """
        A whole life in one commit: book, accounts, an entry, its reversal, and every answer in order.
        """
        post = asked(entry("purse | 3 | \n fees | 1 | \n bank | | 4"))
        commands = [
            *opening(open_account("fees", "expense")),
            post,
            asked(transfer("bank", "purse", 4)),
            asked(reverse(post.command_id)),
            asked(reverse(post.command_id)),
            asked(transfer("bank", "purse", 1)),
            asked(close("purse")),
            asked(transfer("purse", "bank", 1)),
        ]
        working = desk(stores())

        answered = working._answer_all(commands)

        words = ["insufficient_funds", "done", "entry_already_reversed", "insufficient_funds", "done", "account_closed"]
        assert [said(answer) for answer in answered] == ["done"] * 7 + words
        books = self.books(stores())
        assert len(books.seals) == 1
        assert books.check()[ids.account_id(BOOK, "purse")] == (3, 3)

    # Batches.

    def test_an_independent_batch(self, stores: Callable[[], EventStore]) -> None:
        """
        Each command has its own answer, in order, each decided on what those before it did.
        """
        reports = Reports()
        working = desk(stores(), reports)
        working._answer_all(opening())
        asking = batch(
            "independent",
            transfer("purse", "bank", 5),
            (transfer("bank", "purse", 3), "own"),
            transfer("bank", "purse", 3),
            (transfer("bank", "purse", 3), "own"),
            (transfer("bank", "purse", 1), "own"),
            open_account("new"),
            transfer("new", "bank", 1),
        )

        [answer] = working._answer_all([asking])
        [alone, again] = working._answer_all([asked(transfer("bank", "purse", 3), "own"), asking])

        words = ["done", "done", "insufficient_funds", "done again", "KeyReused", "done", "done"]
        assert (said(answer), items_said(answer)) == ("done", words)
        assert (said(alone), said(again), reports) == ("done again", "done again", [])
        assert [word.removesuffix(" again") for word in items_said(again)] == [w.removesuffix(" again") for w in words]
        books = self.books(stores())
        assert books.check()[ids.account_id(BOOK, "purse")] == (5, 3)
        assert [len(books.events), len(books.seals)] == [5 + 1 + 5, 2]

    def test_an_atomic_batch(self, stores: Callable[[], EventStore]) -> None:
        """
        All of it or nothing: refused, it leaves its own refusal alone, and its commands' keys are free.
        """
        working = desk(stores())
        working._answer_all(opening())
        good = [(transfer("purse", "bank", 5), "a"), (transfer("bank", "purse", 5), "b"), (open_account("new"), "c")]
        bad = batch("atomic", *good, (transfer("bank", "purse"), "d"), (open_account("never"), "e"), key="bad")

        [refused, known] = working._answer_all([bad, asked(open_account("never"))])
        [refused_again] = working._answer_all([bad])
        [done] = working._answer_all([batch("atomic", *good)])

        assert isinstance(refused, Outcome) and isinstance(refused_again, Outcome)
        assert [said(each) for each in (refused, known, refused_again, done)] == [
            *("batch_refused", "done", "batch_refused again", "done")
        ]
        assert refused.refusal is not None and refused_again.refusal is not None
        told = refused.refusal.details()
        assert (told["index"], told["refusal"], told["because"]["requested"]) == (3, "insufficient_funds", 1)
        assert refused_again.refusal.details() == told
        assert items_said(done) == ["done"] * 3
        books = self.books(stores())
        assert books.check()[ids.account_id(BOOK, "purse")] == (5, 5)
        assert [len(books.events), len(books.by_key()["bad"])] == [5 + 2 + 4, 1]

    @pytest.mark.parametrize("mode", ["atomic", "independent"])
    def test_a_batch_has_one_answer(self, stores: Callable[[], EventStore], mode: str) -> None:
        """
        Its key is for one request, also when all that differs is a command more, or one command's own key.
        """
        working = desk(stores())
        working._answer_all(opening())
        first, second = (transfer("till", "bank", 1), "a"), (transfer("till", "bank", 2), "b")
        [told] = working._answer_all([batch(mode, first, second, key="k")])
        count = len(self.books(stores()).events)

        for desk_ in (working, desk(stores())):
            others = [
                batch(mode, first, second, (transfer("till", "bank", 3), "c"), key="k"),
                batch(mode, first, key="k"),
                batch(mode, first, (second[0], "z"), key="k"),
            ]
            assert [said(answer) for answer in desk_._answer_all(others)] == ["KeyReused"] * 3
            [again] = desk_._answer_all([batch(mode, first, second, key="k")])
            assert isinstance(told, Outcome) and isinstance(again, Outcome)
            assert (said(again), again.position) == ("done again", told.position)
            assert again.recorded == told.recorded
        assert len(self.books(stores()).events) == count

    def test_an_atomic_batch_and_keys_used_before(self, stores: Callable[[], EventStore]) -> None:
        """
        A command answered before is answered so again and not done twice; under another request's key none is done.
        """
        working = desk(stores())
        working._answer_all(opening())
        old, new = (transfer("till", "bank", 7), "old"), (transfer("till", "bank", 2), "new")
        working._answer_all([asked(*old)])

        [mixed] = working._answer_all([batch("atomic", old, new)])
        [reused] = working._answer_all(
            [batch("atomic", transfer("till", "bank"), (transfer("till", "bank", 8), "old"))]
        )

        assert (said(mixed), items_said(mixed)) == ("done", ["done again", "done"])
        assert said(reused) == "KeyReused"
        assert self.books(stores()).check()[ids.account_id(BOOK, "till")] == (9, 0)

    def test_a_mistake_of_ours_in_a_batch(
        self, stores: Callable[[], EventStore], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """
        It is told; of an atomic batch nothing is left, of another all but that command, which is asked anew.
        """
        reports = Reports()
        working = desk(stores(), reports)
        working._answer_all(opening())

        def fail(*_: object) -> Decided:
            raise RuntimeError("a mistake of ours")

        commands = [transfer("till", "bank"), freeze("spare"), transfer("till", "bank")]
        with monkeypatch.context() as patched:
            patched.setattr(FreezeAccount, "decide", fail)
            [whole, each] = working._answer_all([batch("atomic", *commands), batch("independent", *commands, key="k")])
        [again] = working._answer_all([batch("independent", *commands, key="k")])

        assert said(whole) == "RuntimeError"
        assert items_said(each) == ["done", "RuntimeError", "done"]
        assert items_said(again) == ["done again", "done", "done again"]
        assert [str(error) for _, error in reports] == ["a mistake of ours"] * 2
        assert self.books(stores()).check()[ids.account_id(BOOK, "till")] == (2, 0)

    def test_half_a_command_is_never_committed(
        self, stores: Callable[[], EventStore], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """
        A mistake of ours between the two events of a reversal leaves neither, and harms no neighbour.
        """
        working = desk(stores())
        post = asked(transfer("till", "bank", 5))
        working._answer_all([*opening(), post])
        apply = Ledger.apply

        def fail(self: Ledger, recorded: Recorded) -> None:
            assert not isinstance(recorded.event, EntryReversed), "a mistake of ours"
            apply(self, recorded)

        with monkeypatch.context() as patched:
            patched.setattr(Ledger, "apply", fail)
            answered = working._answer_all(
                [asked(transfer("till", "bank")), asked(reverse(post.command_id)), asked(transfer("till", "bank"))]
            )

        assert [said(answer) for answer in answered] == ["done", "AssertionError", "done"]
        assert self.books(stores()).check()[ids.account_id(BOOK, "till")] == (7, 0)

    def test_batches_that_race_through_two_desks(self, stores: Callable[[], EventStore]) -> None:
        """
        Each of two desks has batches that spend the same funds whole: every time one is done and one leaves nothing.
        """

        async def scenario() -> None:
            async with started(stores()) as one, started(stores()) as other:
                await opened(one)
                for _ in range(30):
                    assert said(await one.submit(asked(transfer("purse", "bank", 10)))) == "done"
                    spending = [batch("atomic", *[transfer("bank", "purse", 2)] * 5) for _ in range(2)]
                    both = await asyncio.gather(one.submit(spending[0]), other.submit(spending[1]))
                    assert sorted(map(said, both)) == ["batch_refused", "done"]

        asyncio.run(scenario())
        assert self.books(stores()).check()[ids.account_id(BOOK, "purse")] == (300, 300)

    # Dry runs.

    def test_a_dry_run_leaves_no_trace(self, stores: Callable[[], EventStore]) -> None:
        """
        It is told what would be, of one command and of batches, and nothing of it is: no event, no key, no memory.
        """
        working = desk(stores())
        working._answer_all(opening(transfer("purse", "bank", 5)))
        before = self.books(stores())
        spending, opens = transfer("bank", "purse", 5), open_account("new")
        trying = [
            replace(asked(spending, "k"), dry=True),
            replace(asked(opens, "o"), dry=True),
            replace(asked(transfer("bank", "purse", 6), "x"), dry=True),
            batch("atomic", (spending, "k"), (spending, "l"), key="b", dry=True),
            batch("independent", (spending, "k"), (opens, "o"), (spending, "l"), key="b", dry=True),
        ]

        tried = working._answer_all(trying)
        after = self.books(stores())
        real = working._answer_all([trying[0], asked(spending, "k"), trying[0], asked(opens, "o")])

        assert [said(each) for each in tried] == ["done", "done", "insufficient_funds", "batch_refused", "done"]
        assert items_said(tried[4]) == ["done", "done", "insufficient_funds"]
        assert (after.events, after.seals) == (before.events, before.seals)
        assert working.tally.landed == 6 + 2
        assert [said(each) for each in real] == ["done", "done", "done again", "done"]
        assert self.books(stores()).check()[ids.account_id(BOOK, "purse")] == (5, 5)

    # Holds.

    def test_a_hold_has_one_end_whatever_races(self, stores: Callable[[], EventStore]) -> None:
        """
        Over a hundred holds, two desks capture, void and expire at the same moment: one of them does it, once.
        """

        async def scenario() -> None:
            async with started(stores()) as one, started(stores()) as other:
                await opened(one, transfer("purse", "bank", 100))
                for turn in range(100):
                    soon = datetime.now(UTC) + timedelta(milliseconds=80) if turn % 2 else None
                    held = await one.submit(asked(place("purse", "bank", expires_at=soon)))
                    assert held.hold is not None
                    ends = [CaptureHold(hold_id=held.hold.id), VoidHold(hold_id=held.hold.id)]
                    if soon is not None:
                        ends.append(ExpireHold(hold_id=held.hold.id))
                        left_s = (soon - datetime.now(UTC)).total_seconds()
                        await asyncio.sleep(left_s - 0.004 + 0.002 * (turn % 5))
                    ends = [*ends[turn % len(ends) :], *ends[: turn % len(ends)]]
                    by = [(one, other)[index % 2] for index in range(len(ends))]
                    words = [
                        said(answer)
                        for answer in await asyncio.gather(
                            *(desk_.submit(asked(end)) for desk_, end in zip(by, ends, strict=True))
                        )
                    ]
                    assert words.count("done") == 1 or (soon is not None and words.count("done") == 0), words
                    while "done" not in words:  # All came too late, but for the expiry, which came too early.
                        await asyncio.sleep(0.01)
                        words = [said(await other.submit(asked(ExpireHold(hold_id=held.hold.id))))]

        asyncio.run(scenario())
        books = self.books(stores())
        captured = sum(event.name == "hold.captured.v1" for event in books.events)
        assert books.check()[ids.account_id(BOOK, "purse")] == (100, captured)

    # A history that is not the one the desk knew.

    @pytest.mark.parametrize("extra", [0, 1, 2, 7], ids=["shorter", "as long", "longer", "much longer"])
    def test_another_history_is_noticed(
        self, stores: Callable[[], EventStore], other_log: EventStore, extra: int
    ) -> None:
        """
        After a restore or a failover the log may be another: the desk forgets what it knew of the old one.
        """
        switched = Switched(stores())

        async def scenario() -> None:
            async with started(other_log) as elsewhere:
                await opened(elsewhere, *(transfer("till", "bank", 9) for _ in range(extra)))
            async with started(switched) as working:
                await opened(working, transfer("purse", "bank", 5))
                switched.to = self.reopened(other_log)
                assert said(await working.submit(asked(transfer("bank", "purse", 5)))) == "insufficient_funds"
                assert said(await working.submit(asked(transfer("till", "bank", 2)))) == "done"

        asyncio.run(scenario())
        assert self.books(other_log).check()[ids.account_id(BOOK, "till")] == (9 * extra + 2, 0)

    def reopened(self, store: EventStore) -> EventStore:
        """The same log, after a desk on it was stopped."""
        return store

    # A newer Daybook on the same log.

    def test_what_a_newer_daybook_wrote_fails_those_it_concerns(self, stores: Callable[[], EventStore]) -> None:
        """
        An event that is not understood stops the commands that depend on it, and no others.
        """
        reports = Reports()

        async def scenario() -> None:
            async with started(stores(), reports) as working:
                await opened(working)
                from_the_future(stores(), "purse")
                answered = await answers(working, *batch_of(6, transfer("purse", "bank")))
                assert [said(answer) for answer in answered] == ["done"] * 3 + ["EventTooNew"] + ["done"] * 3

        asyncio.run(scenario())
        assert any(isinstance(error, EventTooNew) for _, error in reports)
        self.books(stores()).check()


def from_the_future(store: EventStore, code: str) -> None:
    """An event on the account's stream whose name only a newer Daybook knows."""
    with store.writing() as writing:
        ledger = Ledger()
        ledger.applied = writing.head.position
        draft = Draft(ledger, writing.head.next_at)
        draft.append([(ids.account_id(BOOK, code), 2, AccountFrozen())], Metadata(actor="newer"))
        draft.events = [replace(event, name="account.hibernated.v1") for event in draft.events]
        writing.append(draft.batch(writing.head))


class Switched:
    """A store whose log can become another, as after a failover."""

    def __init__(self, to: EventStore) -> None:
        self.to = to

    def writing(self, command_ids: Collection[UUID] = ()) -> AbstractContextManager[Writing]:
        return self.to.writing(command_ids)

    def resolve(self, seal: Seal) -> bool:
        return self.to.resolve(seal)

    def close(self) -> None:
        self.to.close()


class TestDeskInMemory(DeskContract):
    @pytest.fixture
    def stores(self) -> Iterator[Callable[[], EventStore]]:
        store = MemoryEventStore(lambda: datetime.now(UTC))
        yield lambda: store

    @pytest.fixture
    def other_log(self) -> Iterator[EventStore]:
        yield MemoryEventStore(lambda: datetime.now(UTC))

    def books(self, store: EventStore) -> Books:
        assert isinstance(store, MemoryEventStore)
        return books_of(store)


class TestDeskOnPostgres(DeskContract):
    @pytest.fixture(autouse=True)
    def _on(self, database: str) -> None:
        self.dsn = database

    @pytest.fixture
    def other_log(self, server: Server, template: str) -> Iterator[EventStore]:
        with database_on(server, template=template) as dsn:
            yield PostgresEventStore(dsn)

    def reopened(self, store: EventStore) -> EventStore:
        assert isinstance(store, PostgresEventStore)
        return PostgresEventStore(store._dsn)

    def books(self, store: EventStore) -> Books:
        assert isinstance(store, PostgresEventStore)
        return books_of(store._dsn)

    @pytest.fixture
    def stores(self) -> Iterator[Callable[[], EventStore]]:
        made: list[EventStore] = []

        def make() -> EventStore:
            made.append(PostgresEventStore(self.dsn))
            return made[-1]

        yield make
        for store in made:
            store.close()
