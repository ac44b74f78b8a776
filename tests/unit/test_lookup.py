"""Ids of one kind of thing, asked for as another."""

import asyncio
from datetime import UTC, datetime

from adapters.memory.store import MemoryEventStore
from commands.account import FreezeAccount, OpenAccount
from commands.book import OpenBook
from commands.command import Command, ask
from commands.desk import Desk, Outcome
from domain import ids
from domain.account import Type
from domain.errors import AccountNotFound, BookNotFound

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


def answers(*commands: Command) -> list[Outcome]:
    async def run() -> list[Outcome]:
        desk = Desk(MemoryEventStore(lambda: NOW), report=lambda event, error: None)
        desk.start()
        try:
            return [await desk.submit(ask(command, actor="me", key=str(n))) for n, command in enumerate(commands)]
        finally:
            await desk.stop()

    return asyncio.run(run())


def test_a_book_is_not_an_account_nor_an_account_a_book() -> None:
    """
    The id of a thing of another kind names nothing: a refusal, not a fault.
    """
    book = ids.book_id("main")
    account = ids.account_id(book, "cash")
    as_book = ids.show(ids.BOOK, account)

    _, _, frozen, opened = answers(
        OpenBook(code="main"),
        OpenAccount(book="main", code="cash", type=Type.ASSET, currency="EUR"),
        FreezeAccount(account_id=book),
        OpenAccount(book=as_book, code="other", type=Type.ASSET, currency="EUR"),
    )

    assert isinstance(frozen.refusal, AccountNotFound)
    assert isinstance(opened.refusal, BookNotFound)
