"""`daybook import`: files through the same desk as HTTP, in this process; or over HTTP, to a server's."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from adapters.cli import showing
from adapters.cli.database import database, say
from adapters.cli.exporting import import_events
from adapters.cli.failing import NO, Failed
from adapters.cli.settings import DatabaseUrl, Home, Server, server_to_ask
from adapters.imports import rows
from adapters.imports.files import BadFile, Columns, read
from adapters.imports.loading import Build, Counts, GivenUp, Ledger, Loading
from adapters.imports.rejects import Rejects
from adapters.postgres.log import PostgresLog
from adapters.postgres.store import PostgresEventStore
from commands.book import OpenBook
from commands.command import ask, book_named
from commands.desk import Desk
from domain.errors import BookCodeTaken


def import_(
    accounts: Annotated[
        Path | None, typer.Option("--accounts", metavar="FILE", help="Accounts to open, before any entry.")
    ] = None,
    journal: Annotated[Path | None, typer.Option("--journal", metavar="FILE", help="Entries to post.")] = None,
    events: Annotated[
        Path | None, typer.Option("--events", metavar="FILE", help="A whole log, from daybook export, by itself.")
    ] = None,
    book: Annotated[str, typer.Option("--book", help="The book; it is opened if there is none of that code.")] = "main",
    rejects: Annotated[
        Path | None,
        typer.Option(
            "--rejects",
            metavar="PATH",
            help="Where rejected rows go; else beside each file, as FILE.rejected.csv.",
            show_default=False,
        ),
    ] = None,
    actor: Annotated[str, typer.Option("--actor", help="Who is asking, for the audit trail.")] = "daybook import",
    server: Server = None,
    database_url: DatabaseUrl = None,
    home: Home = None,
    as_json: Annotated[bool, typer.Option("--json", help="The counts as JSON, for programs.")] = False,
) -> None:
    """Open accounts and post journal entries out of files, each row once.

    A file ending in .csv has a header and one row a line, in UTF-8.

    --accounts: code,type,currency,opened,overdraft_limit,title

      type             asset, liability, equity, revenue or expense
      opened           YYYY-MM-DD; today if empty
      overdraft_limit  how far below zero it may go, in decimals;
                       0 if empty, or the word unlimited
      title            may be empty; these three columns may be absent

    --journal: reference,value_date,debit,credit,amount,currency,description

      reference        names the entry for ever: it is booked once
      value_date       YYYY-MM-DD
      debit, credit    the codes of the two accounts
      amount           more than zero, in decimals: 1050.00
      description      may be empty, or absent as a column

    A file ending in .jsonl has one object a line with the same fields, all
    strings. An entry may have more than two postings (here on four lines, in
    the file on one):

      {"reference": "s-1", "value_date": "2026-01-31", "currency": "EUR",
       "postings": [{"account": "bank", "side": "debit", "amount": "12.10"},
        {"account": "sales", "side": "credit", "amount": "10.00"},
        {"account": "vat", "side": "credit", "amount": "2.10"}]}

    Rows are booked in the file's order. Stopped or killed at any moment, the
    same command goes on where it was: nothing is booked twice. A row that
    cannot be booked is left out and the rest goes on; FILE.rejected.csv says
    which and why (file,line,code,reason,row). Importing again asks anew for
    the rows that the ledger refused.

    With --server rows go to a running server, in batches, under the same
    keys: what either way has booked is already there for the other. There a
    row's reference or code is printable ASCII, up to 240 characters or so.

    --events makes the log of daybook export again in an empty store, equal to
    the byte: positions, times and seals; killed, the same command goes on.

    Exit codes:

      0  all rows are booked
      1  some were rejected
      2  the import did not come to its end

    Examples:

      daybook import --accounts accounts.csv --journal journal.csv
      daybook import --journal 2026-02.jsonl --book shop
    """
    url = server_to_ask(server, database_url, home)
    if events is not None:
        if url is not None:
            raise Failed("--events makes a log in a database; a server takes no log (--server, DAYBOOK_SERVER)")
        if accounts is not None or journal is not None:
            raise Failed("--events goes by itself")
        import_events(events, database_url, home)
        return
    if accounts is None and journal is None:
        raise Failed("nothing to import: say --accounts FILE, --journal FILE or both")
    try:
        book_named(book)
        files = [
            _File("accounts", accounts, rows.ACCOUNT_COLUMNS, partial(rows.account, book=book)),
            _File("journal", journal, _entry_columns(journal), partial(rows.entry, book=book)),
        ]
        wanted = [file for file in files if file.path is not None]
        for file in wanted:
            file.check()
    except (BadFile, ValueError) as error:
        raise Failed(str(error)) from error
    began = time.monotonic()
    work = partial(_import, files=wanted, rejects=rejects, actor=actor)
    if url is not None:
        from adapters.cli.importing_to_server import at_server

        counts = at_server(url, book, actor, work)
    else:
        with database(database_url, home, migrated=True) as dsn:
            counts = asyncio.run(work(_at_desk(dsn, book, actor)))
    if as_json:
        showing.json({name: _counts_json(counted) for name, counted in counts.items()})
    else:
        _show(counts, time.monotonic() - began)
    if any(counted.rejected for counted in counts.values()):
        raise typer.Exit(NO)


class _File:
    """A file to import."""

    def __init__(self, name: str, path: Path | None, columns: Columns, build: Build) -> None:
        self.name = name
        self.path = path
        self.columns = columns
        self.build = build

    def check(self) -> None:
        """Raise BadFile now for a file that cannot be read at all."""
        assert self.path is not None
        with closing(read(self.path, self.columns)) as lines:
            next(lines, None)


def _entry_columns(path: Path | None) -> Columns:
    return rows.ENTRY_COLUMNS if path is None or path.suffix.lower() == ".csv" else rows.ENTRY_FIELDS


async def _import(
    ledger: AbstractAsyncContextManager[Ledger], *, files: list[_File], rejects: Path | None, actor: str
) -> dict[str, Counts]:
    shared = Rejects(rejects) if rejects is not None else None
    counts: dict[str, Counts] = {}
    try:
        async with ledger as taking:
            for file in files:
                assert file.path is not None
                kept = shared or Rejects(file.path.with_name(f"{file.path.name}.rejected.csv"))
                try:
                    counts[file.name] = await _load(taking, file, file.path, kept, actor)
                finally:
                    if shared is None:
                        kept.close()
                if kept.count:
                    say(f"Rejected rows of {file.path.name} are in {kept.path}")
    except GivenUp as error:
        raise Failed(f"the ledger was out of reach for too long ({error}); the same command goes on later") from error
    finally:
        if shared is not None:
            shared.close()
    return counts


@asynccontextmanager
async def _at_desk(dsn: str, book: str, actor: str) -> AsyncIterator[Ledger]:
    """A desk of this process, for a book that is there or is opened."""
    faults: list[BaseException] = []
    desk = Desk(PostgresEventStore(dsn), report=lambda event, error: faults.append(error))
    desk.start()
    try:
        await _open_book(dsn, desk, book, actor)
        yield desk
    finally:
        await desk.stop()


async def _open_book(dsn: str, desk: Desk, book: str, actor: str) -> None:
    with PostgresLog(dsn) as log:
        if log.stream(book_named(book)):
            return
    if book.startswith("book_"):
        raise Failed(f"there is no book {book} here")
    outcome = await desk.submit(ask(OpenBook(code=book), actor=actor, key=f"import:{book}"))
    if outcome.refusal is not None and not isinstance(outcome.refusal, BookCodeTaken):
        raise Failed(f"book {book} cannot be opened: {outcome.refusal.code}")


async def _load(ledger: Ledger, file: _File, path: Path, kept: Rejects, actor: str) -> Counts:
    with showing.bar(file.name, total=path.stat().st_size, columns=_COLUMNS, **_fields(Counts(), 0.0)) as bar:
        loading = Loading(ledger, path, file.build, kept, actor=actor, watch=_watcher(bar, time.monotonic()))
        with closing(read(path, file.columns)) as lines:
            return await loading.run(lines)


_COLUMNS = (
    "{task.fields[rate]} rows/s  booked {task.fields[booked]}  already there {task.fields[already]}"
    "  rejected {task.fields[rejected]}"
)


def _watcher(bar: Any, began: float) -> Callable[[Counts, int], None]:
    """Moves the bar every hundred rows: drawing is not what an import is for."""

    def watch(counts: Counts, end: int) -> None:
        if counts.rows % 100 == 0:
            bar.update(bar.task_ids[0], completed=end, **_fields(counts, time.monotonic() - began))

    return watch


def _fields(counts: Counts, seconds: float) -> dict[str, Any]:
    rate = f"{counts.rows / seconds:,.0f}" if seconds > 0.5 else "-"
    return {"rate": rate, "booked": counts.booked, "already": counts.already, "rejected": counts.rejected}


def _counts_json(counts: Counts) -> dict[str, int]:
    return {"rows": counts.rows, "booked": counts.booked, "already": counts.already, "rejected": counts.rejected}


def _show(counts: dict[str, Counts], seconds: float) -> None:
    lines = [(name, *map(str, _counts_json(counted).values())) for name, counted in counts.items()]
    total = sum(counted.rows for counted in counts.values())
    note = f"{seconds:.1f} s, {total / max(seconds, 0.001):,.0f} rows/s"
    showing.table("Imported", ("file", "rows ", "booked ", "already there ", "rejected "), lines, note=note)
