"""`daybook import --server`: the same files, their rows in batches over HTTP."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, TypeVar

from adapters.cli.failing import Failed
from adapters.cli.server import server, told
from adapters.client import AsyncClient, Client, NotFound, Refused
from adapters.imports.batches import Batches
from adapters.imports.loading import Ledger

T = TypeVar("T")

Work = Callable[[AbstractAsyncContextManager[Ledger]], Coroutine[Any, Any, T]]


def at_server(url: str, book: str, actor: str, work: Work[T]) -> T:
    """Do the work upon the server at that URL, in a book that is there or is opened.

    Raises:
        Failed: It cannot be reached; or it answers what no row accounts for.
    """
    if not (actor.isascii() and actor.isprintable() and 0 < len(actor) < 256):
        raise Failed("--actor: over HTTP it is 1 to 255 printable ASCII characters")
    with server(url, actor=actor) as client:
        _open_book(client, book)
    with told(url):
        return asyncio.run(work(_batches(url, book, actor)))


@asynccontextmanager
async def _batches(url: str, book: str, actor: str) -> AsyncIterator[Ledger]:
    async with AsyncClient(url, actor=actor) as client:
        batches = Batches(client, book)
        try:
            yield batches
        finally:
            await batches.stop()


def _open_book(client: Client, book: str) -> None:
    try:
        client.read_book(book)
    except NotFound as error:
        if book.startswith("book_"):
            raise Failed(f"there is no book {book} here") from error
    else:
        return
    try:
        client.open_book(book, key=f"import:{book}")
    except Refused as error:
        if error.code != "book_code_taken":
            raise Failed(f"book {book} cannot be opened: {error.code}") from error
