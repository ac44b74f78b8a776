"""Many askers, few questions."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import pytest

from adapters.postgres import coalescing
from adapters.postgres.coalescing import Coalescer


class Asked:
    """Answers keys with their squares, when told to go on; keeps the questions."""

    def __init__(self) -> None:
        self.questions: list[list[int]] = []
        self.go_on = asyncio.Event()

    async def __call__(self, keys: Sequence[int]) -> dict[int, int]:
        self.questions.append(list(keys))
        await self.go_on.wait()
        if 13 in keys:
            raise ValueError("no square of 13")
        return {key: key * key for key in keys}


def run(test: Callable[[Asked, Coalescer[int, int]], Awaitable[None]]) -> None:
    async def main() -> None:
        asked = Asked()
        async with asyncio.timeout(10):
            await test(asked, Coalescer(asked))

    asyncio.run(main())


async def turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


def test_one_question_for_all_who_ask_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    What is asked in one turn of the loop is one question; what is asked while as many as may be are under way waits.
    """
    monkeypatch.setattr(coalescing, "UNDER_WAY", 1)

    async def test(asked: Asked, squares: Coalescer[int, int]) -> None:
        first = [asyncio.create_task(squares.get(key)) for key in (1, 2, 2)]
        await turns()
        second = [asyncio.create_task(squares.get(key)) for key in (2, 3)]
        await turns()
        assert asked.questions == [[1, 2]]
        asked.go_on.set()
        assert await asyncio.gather(*first, *second) == [1, 4, 4, 4, 9]
        assert asked.questions == [[1, 2], [2, 3]]  # The 2 again: its answer must be of after it was asked for.

    run(test)


def test_a_bounded_question(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    More keys than go into one question are more questions, a few of them at a time.
    """
    monkeypatch.setattr(coalescing, "AT_ONCE", 2)

    async def test(asked: Asked, squares: Coalescer[int, int]) -> None:
        tasks = [asyncio.create_task(squares.get(key)) for key in range(7)]
        await turns()
        assert asked.questions == [[0, 1], [2, 3]]
        asked.go_on.set()
        assert await asyncio.gather(*tasks) == [0, 1, 4, 9, 16, 25, 36]
        assert [len(question) for question in asked.questions] == [2, 2, 2, 1]

    run(test)


def test_one_who_gives_up_takes_nothing_from_the_others() -> None:
    """
    A request that is cancelled leaves the others of its question waiting for their answer, of its own key as well.
    """

    async def test(asked: Asked, squares: Coalescer[int, int]) -> None:
        tasks = [asyncio.create_task(squares.get(key)) for key in (5, 5, 6)]
        await turns()
        tasks[0].cancel()
        await turns()
        asked.go_on.set()
        assert await asyncio.gather(*tasks[1:]) == [25, 36]
        assert tasks[0].cancelled()

    run(test)


def test_a_question_that_fails() -> None:
    """
    All who asked in it are told; who asks later asks anew.
    """

    async def test(asked: Asked, squares: Coalescer[int, int]) -> None:
        asked.go_on.set()
        failed = await asyncio.gather(*(squares.get(key) for key in (13, 4)), return_exceptions=True)
        assert [type(answer) for answer in failed] == [ValueError, ValueError]
        assert await squares.get(4) == 16

    run(test)


def test_who_asks_just_as_the_last_question_ends_is_answered() -> None:
    """
    Between the end of a question and the loop's hearing of it somebody may ask: that one is not left waiting.
    """

    async def squares_of(keys: Sequence[int]) -> dict[int, int]:
        return {key: key * key for key in keys}

    async def main() -> None:
        squares = Coalescer(squares_of)

        async def ask_again_and_again(key: int) -> list[int]:
            return [await squares.get(key) for _ in range(50)]

        async with asyncio.timeout(10):
            answers = await asyncio.gather(*(ask_again_and_again(key) for key in range(8)))
        assert answers == [[key * key] * 50 for key in range(8)]

    asyncio.run(main())
