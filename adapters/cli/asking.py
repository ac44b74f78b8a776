"""`daybook accounts`, `balance`, `entry` and `replay`: what is, and what was."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from adapters.cli import showing
from adapters.cli.books import Books, Entry, Line, account_id
from adapters.cli.books_in_log import BooksInLog, book_here, moment_of, with_totals
from adapters.cli.database import database, say
from adapters.cli.failing import NO, Failed
from adapters.cli.settings import DatabaseUrl, Home, Server, server_to_ask
from adapters.postgres.log import PostgresLog
from domain import ids
from domain.account import Account
from domain.posting import Side
from replay.point_in_time import Moment
from replay.point_in_time import replay as replay_log


def _day(text: str) -> date:
    return date.fromisoformat(text)


def _time(text: str) -> datetime:
    at = datetime.fromisoformat(text)
    return at if at.tzinfo is not None else at.replace(tzinfo=UTC)


BookName = Annotated[str, typer.Option("--book", help="The book, by its code or id.")]
AccountName = Annotated[str | None, typer.Argument(metavar="[ACCOUNT]", help="An account's code, or its acc_ id.")]
Before = Annotated[
    date | None,
    typer.Option(
        "--before",
        parser=_day,
        metavar="DATE",
        help="Only entries with a value date before this day, such as 1996-01-01.",
        show_default=False,
    ),
]
At = Annotated[
    datetime | None,
    typer.Option(
        "--at",
        parser=_time,
        metavar="TIME",
        help="As recorded up to this time, such as 2026-01-31T18:00:00Z; UTC unless it says otherwise.",
        show_default=False,
    ),
]
Position = Annotated[
    int | None,
    typer.Option("--position", min=0, metavar="N", help="As of this position of the log.", show_default=False),
]
AsJson = Annotated[bool, typer.Option("--json", help="JSON, for programs.")]
AsCsv = Annotated[bool, typer.Option("--csv", help="CSV: code,currency,balance in decimals, debit positive, by code.")]


def accounts(
    server: Server = None,
    database_url: DatabaseUrl = None,
    home: Home = None,
    book: BookName = "main",
    as_json: AsJson = False,
) -> None:
    """List the accounts of a book, by code."""
    with _books(server, database_url, home) as books:
        known = sorted(books.accounts(book), key=lambda account: account.code)
    if as_json:
        showing.json([_account_json(account) for account in known])
        return
    rows = [
        (
            *(account.code, account.type.value, account.currency, account.status.value),
            *(_limit(account), account.opened_on.isoformat(), account.title),
        )
        for account in known
    ]
    columns = ("code", "type", "currency", "status", "overdraft limit ", "opened", "title")
    showing.table(f"Accounts of {book}", columns, rows, note=f"{len(rows)} accounts")


def balance(
    account: AccountName = None,
    everything: Annotated[bool, typer.Option("--all", help="All accounts of the book.")] = False,
    before: Before = None,
    at: At = None,
    position: Position = None,
    server: Server = None,
    database_url: DatabaseUrl = None,
    home: Home = None,
    book: BookName = "main",
    as_csv: AsCsv = False,
    as_json: AsJson = False,
) -> None:
    """Show balances: of one account or of all, now or as they were.

    --at and --position ask what was known then; --before asks for entries
    with a value date before a day. Both together ask for the one as known at
    the other. The numbers come from the postings, so they are current. What
    holds leave of a balance is shown as available, where that differs. Of a
    server, --before can be asked for a book that never had a hold.

    Examples:

      daybook balance assets:bank
      daybook balance --all --csv > balances.csv
      daybook balance --all --before 2026-01-01 --at 2026-03-31
    """
    _one_or_all(account, everything)
    _one_past(at, position)
    with _books(server, database_url, home) as books:
        then, found = books.balances(book, account, before=before, at=at, position=position)
    _show_balances(book, then, found, as_csv=as_csv, as_json=as_json)


def replay(
    account: AccountName = None,
    before: Before = None,
    at: At = None,
    position: Position = None,
    database_url: DatabaseUrl = None,
    home: Home = None,
    book: BookName = "main",
    as_csv: AsCsv = False,
    as_json: AsJson = False,
    into: Annotated[
        str | None, typer.Option("--into", metavar="SCHEMA", help="Replay the read models into this empty schema.")
    ] = None,
    target_url: Annotated[
        str | None,
        typer.Option("--target-url", metavar="DSN", help="With --into: the schema is in this empty database."),
    ] = None,
) -> None:
    """Show balances as of any moment, computed anew from the log of events alone.

    Neither postings nor read models are looked at: what `daybook balance`
    says can be held against this.

    --into SCHEMA builds every read model again from the log, in a schema of
    its own, and prints its digest beside that of the live one at the same
    position. With --target-url the log is copied to another database first.
    Exit code 0 if all are equal, 1 if not.

    Examples:

      daybook replay --position 1000
      daybook replay assets:bank --at 2026-01-31T18:00:00Z
      diff <(daybook replay --csv) <(daybook balance --all --csv)
      daybook replay --into daybook_replayed
    """
    if into is not None:
        from adapters.cli.digesting import replay_into

        replay_into(into, database_url=database_url, home=home, target_url=target_url, as_json=as_json)
        return
    _one_past(at, position)
    with database(database_url, home) as dsn, PostgresLog(dsn) as log:
        book_id = book_here(log, book)
        only = account_id(book_id, account) if account is not None else None
        then = moment_of(log, before=before, at=at, position=position)
        with showing.bar("replaying", total=then.position) as bar:
            folded = replay_log(
                log, then, only=only, progress=lambda done, of: bar.update(bar.task_ids[0], completed=done)
            )
    found = {name: known for name, known in folded.accounts.items() if known.book_id == book_id}
    if only is not None and not found:
        raise Failed(f"book {book} had no account {account} at that moment", exit_code=NO)
    _show_balances(book, then, with_totals(found, folded.totals), as_csv=as_csv, as_json=as_json)


def entry(
    entry_id: Annotated[str | None, typer.Argument(metavar="[JE-ID]", help="The entry's je_ id.")] = None,
    reference: Annotated[
        str | None, typer.Option("--reference", help="Entries of the book with this reference, instead of an id.")
    ] = None,
    server: Server = None,
    database_url: DatabaseUrl = None,
    home: Home = None,
    book: BookName = "main",
    as_json: AsJson = False,
) -> None:
    """Show a journal entry with its postings.

    Examples:

      daybook entry je_01h455vb4pex5vsknk084sn02q
      daybook entry --reference open-2378
    """
    if (entry_id is None) == (reference is None):
        raise Failed("say which entry: its je_ id, or --reference")
    with _books(server, database_url, home) as books:
        if reference is not None:
            shown = books.referenced(book, reference)
            if not shown:
                raise Failed(f"book {book} has no entry with reference {reference}", exit_code=NO)
        else:
            assert entry_id is not None
            shown = [books.entry(entry_id)]
    if as_json:
        showing.json([one.json() for one in shown] if reference is not None else shown[0].json())
        return
    for one in shown:
        _show_entry(one)


@contextmanager
def _books(server: str | None, database_url: str | None, home: Path | None) -> Iterator[Books]:
    """Who is asked: a server if one is named, else the log."""
    url = server_to_ask(server, database_url, home)
    if url is not None:
        from adapters.cli.books_on_server import books_on_server

        with books_on_server(url) as books:
            yield books
        return
    with database(database_url, home) as dsn, PostgresLog(dsn) as log:
        yield BooksInLog(log)


def _one_or_all(account: str | None, everything: bool) -> None:
    if (account is None) != everything:
        raise Failed("say which account, or --all; not both")


def _one_past(at: datetime | None, position: int | None) -> None:
    if at is not None and position is not None:
        raise Failed("say --at or --position, not both")


def _show_balances(book: str, then: Moment, found: list[Line], *, as_csv: bool, as_json: bool) -> None:
    lines = sorted(found, key=lambda line: line.code)
    if as_json:
        showing.json({"book": book, **_moment_json(then), "balances": [_line_json(line) for line in lines]})
    elif as_csv:
        say(f"As of {_words(then)}")
        showing.comma_separated(
            ("code", "currency", "balance"),
            ((line.code, line.currency, showing.decimal(line.net, line.currency)) for line in lines),
        )
    else:
        rows = [(*_row(line), _available(line)) for line in lines] + [(*row, "") for row in _total_rows(lines)]
        columns = ["code", "type", "currency", "debits ", "credits ", "balance ", "available "]
        if not any(line.available != line.net for line in lines):
            columns, rows = columns[:-1], [row[:-1] for row in rows]
        showing.table(f"Balances of {book}", columns, rows, note=f"debit positive; as of {_words(then)}")


def _row(line: Line) -> tuple[str, ...]:
    amounts = (line.totals.debits, line.totals.credits, line.net)
    return (line.code, line.type.value, line.currency, *(showing.amount(minor, line.currency) for minor in amounts))


def _available(line: Line) -> str:
    """Shown where it differs."""
    return showing.amount(line.available, line.currency) if line.available != line.net else ""


def _total_rows(lines: list[Line]) -> list[tuple[str, ...]]:
    """The trial balance by currency, for more than one account: its balance is zero."""
    if len(lines) < 2:
        return []
    sums: dict[str, tuple[int, int]] = {}
    for line in lines:
        debits, credits = sums.get(line.currency, (0, 0))
        sums[line.currency] = (debits + line.totals.debits, credits + line.totals.credits)
    return [
        ("total", "", code, *(showing.amount(minor, code) for minor in (debits, credits, debits - credits)))
        for code, (debits, credits) in sorted(sums.items())
    ]


def _words(then: Moment) -> str:
    value_dates = f", value dates before {then.before.isoformat()}" if then.before is not None else ""
    return f"position {then.position}, recorded {showing.instant(then.recorded_at)}{value_dates}"


def _moment_json(then: Moment) -> dict[str, Any]:
    return {
        "position": then.position,
        "recorded_at": showing.instant(then.recorded_at) if then.recorded_at is not None else None,
        "before": then.before.isoformat() if then.before is not None else None,
    }


def _line_json(line: Line) -> dict[str, Any]:
    return {
        "code": line.code,
        "account_id": ids.show(ids.ACCOUNT, line.account_id),
        "type": line.type.value,
        "currency": line.currency,
        "balance": showing.decimal(line.net, line.currency),
        "available": showing.decimal(line.available, line.currency),
        "debits_minor": line.totals.debits,
        "credits_minor": line.totals.credits,
        "pending_debits_minor": line.totals.pending_debits,
        "pending_credits_minor": line.totals.pending_credits,
    }


def _limit(account: Account) -> str:
    limit = account.limits_at(datetime.now(UTC)).overdraft_limit
    return "unlimited" if limit is None else showing.amount(limit, account.currency)


def _account_json(account: Account) -> dict[str, Any]:
    limits = account.limits_at(datetime.now(UTC))
    return {
        "id": ids.show(ids.ACCOUNT, account.id),
        "code": account.code,
        "type": account.type.value,
        "currency": account.currency,
        "status": account.status.value,
        "overdraft_limit": limits.overdraft_limit,
        "floor": limits.floor,
        "ceiling": limits.ceiling,
        "opened_on": account.opened_on.isoformat(),
        "title": account.title,
        "metadata": dict(sorted(account.metadata.items())),
    }


def _show_entry(shown: Entry) -> None:
    links = [
        f"{word} {link}"
        for word, link in (
            ("reverses", shown.reverses),
            ("reversed by", shown.reversed_by),
            ("captures", shown.captures),
        )
        if link
    ]
    title = "  ".join(part for part in (shown.id, shown.value_date, shown.reference, shown.description) if part)
    note = f"position {shown.position}, recorded {shown.recorded_at} by {shown.actor}"
    rows = [
        (
            *(posting.account, posting.currency),
            *(
                showing.amount(posting.amount, posting.currency) if posting.side == side else ""
                for side in (Side.DEBIT, Side.CREDIT)
            ),
        )
        for posting in shown.postings
    ]
    showing.table(title, ("account", "currency", "debit ", "credit "), rows, note="; ".join([note, *links]))
