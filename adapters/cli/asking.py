"""`daybook accounts`, `balance`, `entry` and `replay`: what is, and what was."""

from collections.abc import Iterable
from datetime import UTC, date, datetime
from typing import Annotated, Any
from uuid import UUID

import typer
from msgspec import Struct

from adapters.cli import showing
from adapters.cli.database import database, say
from adapters.cli.failing import NO, Failed
from adapters.cli.settings import DatabaseUrl, Home
from adapters.postgres.log import PostgresLog
from commands.command import account_named, book_named
from domain import account as account_rules
from domain import ids
from domain.account import Account
from domain.events import (
    AccountClosed,
    AccountFrozen,
    AccountLimitsChanged,
    AccountOpened,
    AccountUnfrozen,
    BookOpened,
    CommandRefused,
    EntryPosted,
    EntryReversed,
    RawEvent,
    Recorded,
    recorded,
)
from domain.posting import ZERO, Side, Totals
from replay.point_in_time import Moment, PositionBeyondLog, moment
from replay.point_in_time import replay as replay_log

_OF_ACCOUNTS = [
    cls.name for cls in (AccountOpened, AccountLimitsChanged, AccountFrozen, AccountUnfrozen, AccountClosed)
]


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


class Line(Struct, frozen=True):
    """An account with its totals at the moment asked for."""

    account: Account
    totals: Totals

    @property
    def net(self) -> int:
        """Debit positive, in minor units."""
        return self.totals.debits - self.totals.credits

    @property
    def available(self) -> int:
        """What holds have left of it; debit positive, in minor units."""
        available = account_rules.balance(self.account.type, self.totals).available
        return available if self.account.type.normal_side is Side.DEBIT else -available


def accounts(
    database_url: DatabaseUrl = None, home: Home = None, book: BookName = "main", as_json: AsJson = False
) -> None:
    """List the accounts of a book, by code."""
    with database(database_url, home) as dsn, PostgresLog(dsn) as log:
        found = _accounts(log, book_here(log, book))
    known = sorted(found.values(), key=lambda account: account.code)
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
    holds leave of a balance is shown as available, where that differs.

    Examples:

      daybook balance assets:bank
      daybook balance --all --csv > balances.csv
      daybook balance --all --before 2026-01-01 --at 2026-03-31
    """
    _one_or_all(account, everything)
    with database(database_url, home) as dsn, PostgresLog(dsn) as log:
        then = _moment(log, before=before, at=at, position=position)
        book_id = book_here(log, book)
        found = _accounts(log, book_id, account, until=then.position)
        until = then.position if at is not None or position is not None else None
        totals = log.totals(list(found), until=until, before=before)
    _show_balances(book, then, found, totals, as_csv=as_csv, as_json=as_json)


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
    with database(database_url, home) as dsn, PostgresLog(dsn) as log:
        book_id = book_here(log, book)
        only = _account_id(book_id, account) if account is not None else None
        then = _moment(log, before=before, at=at, position=position)
        with showing.bar("replaying", total=then.position) as bar:
            folded = replay_log(
                log, then, only=only, progress=lambda done, of: bar.update(bar.task_ids[0], completed=done)
            )
    found = {name: known for name, known in folded.accounts.items() if known.book_id == book_id}
    if only is not None and not found:
        raise Failed(f"book {book} had no account {account} at that moment", exit_code=NO)
    _show_balances(book, then, found, folded.totals, as_csv=as_csv, as_json=as_json)


def entry(
    entry_id: Annotated[str | None, typer.Argument(metavar="[JE-ID]", help="The entry's je_ id.")] = None,
    reference: Annotated[
        str | None, typer.Option("--reference", help="Entries of the book with this reference, instead of an id.")
    ] = None,
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
    with database(database_url, home) as dsn, PostgresLog(dsn) as log:
        if reference is not None:
            streams = list(_referenced(log, book_here(log, book), reference))
            if not streams:
                raise Failed(f"book {book} has no entry with reference {reference}", exit_code=NO)
        else:
            assert entry_id is not None
            streams = [_parse(ids.ENTRY, entry_id)]
        shown = [_entry_json(log, stream) for stream in streams]
    if as_json:
        showing.json(shown if reference is not None else shown[0])
        return
    for one in shown:
        _show_entry(one)


def _one_or_all(account: str | None, everything: bool) -> None:
    if (account is None) != everything:
        raise Failed("say which account, or --all; not both")


def _parse(prefix: str, text: str) -> UUID:
    try:
        return ids.parse(prefix, text)
    except ValueError as error:
        raise Failed(f"{text}: {error}") from error


def book_here(log: PostgresLog, name: str) -> UUID:
    """The id of the book of that code or id; raises Failed if there is none."""
    try:
        book_id = book_named(name)
    except ValueError as error:
        raise Failed(f"{name}: {error}") from error
    if not any(event.name == BookOpened.name for event in log.stream(book_id)):
        raise Failed(f"there is no book {name} here yet", exit_code=NO)
    return book_id


def _account_id(book_id: UUID, name: str) -> UUID:
    try:
        return account_named(book_id, name)
    except ValueError as error:
        raise Failed(f"{name}: {error}") from error


def _moment(log: PostgresLog, *, before: date | None, at: datetime | None, position: int | None) -> Moment:
    if at is not None and position is not None:
        raise Failed("say --at or --position, not both")
    try:
        return moment(log, position=position, at=at, before=before)
    except PositionBeyondLog as error:
        raise Failed(str(error)) from error


def _accounts(
    log: PostgresLog, book_id: UUID, name: str | None = None, *, until: int | None = None
) -> dict[UUID, Account]:
    """The book's accounts as of a position, or the one of that name."""
    if name is None:
        events: Iterable[RawEvent] = log.named(_OF_ACCOUNTS)
    else:
        events = log.stream(_account_id(book_id, name))
    found: dict[UUID, Account] = {}
    for event in map(recorded, events):
        if until is not None and event.position > until:
            break
        if isinstance(event.event, AccountOpened):
            if event.event.book_id == book_id:
                found[event.stream_id] = account_rules.opened(event.stream_id, event.event)
        elif event.stream_id in found:
            found[event.stream_id] = account_rules.evolve(found[event.stream_id], event.event)
    if name is not None and not found:
        raise Failed(f"the book has no account {name}, or had none then", exit_code=NO)
    return found


def _show_balances(
    book: str,
    then: Moment,
    accounts: dict[UUID, Account],
    totals: dict[UUID, Totals],
    *,
    as_csv: bool,
    as_json: bool,
) -> None:
    known = sorted(accounts.values(), key=lambda account: account.code)
    lines = [Line(account, totals.get(account.id, ZERO)) for account in known]
    if as_json:
        showing.json({"book": book, **_moment_json(then), "balances": [_line_json(line) for line in lines]})
    elif as_csv:
        say(f"As of {_words(then)}")
        showing.comma_separated(
            ("code", "currency", "balance"),
            (
                (line.account.code, line.account.currency, showing.decimal(line.net, line.account.currency))
                for line in lines
            ),
        )
    else:
        rows = [(*_row(line), _available(line)) for line in lines] + [(*row, "") for row in _total_rows(lines)]
        columns = ["code", "type", "currency", "debits ", "credits ", "balance ", "available "]
        if not any(line.available != line.net for line in lines):
            columns, rows = columns[:-1], [row[:-1] for row in rows]
        showing.table(f"Balances of {book}", columns, rows, note=f"debit positive; as of {_words(then)}")


def _row(line: Line) -> tuple[str, ...]:
    account, totals = line.account, line.totals
    numbers = (showing.amount(minor, account.currency) for minor in (totals.debits, totals.credits, line.net))
    return (account.code, account.type.value, account.currency, *numbers)


def _available(line: Line) -> str:
    """Shown where it differs."""
    return showing.amount(line.available, line.account.currency) if line.available != line.net else ""


def _total_rows(lines: list[Line]) -> list[tuple[str, ...]]:
    """The trial balance by currency, for more than one account: its balance is zero."""
    if len(lines) < 2:
        return []
    sums: dict[str, tuple[int, int]] = {}
    for line in lines:
        debits, credits = sums.get(line.account.currency, (0, 0))
        sums[line.account.currency] = (debits + line.totals.debits, credits + line.totals.credits)
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
    account = line.account
    return {
        "code": account.code,
        "account_id": ids.show(ids.ACCOUNT, account.id),
        "type": account.type.value,
        "currency": account.currency,
        "balance": showing.decimal(line.net, account.currency),
        "available": showing.decimal(line.available, account.currency),
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
        "metadata": account.metadata,
    }


def _referenced(log: PostgresLog, book_id: UUID, reference: str) -> Iterable[UUID]:
    for event in map(recorded, log.mentioning(EntryPosted.name, "reference", reference)):
        posted = event.event
        if isinstance(posted, EntryPosted) and posted.book_id == book_id and posted.reference == reference:
            yield event.stream_id


def _entry_json(log: PostgresLog, stream: UUID) -> dict[str, Any]:
    events: list[Recorded] = [recorded(raw) for raw in log.stream(stream)]
    name = ids.show(ids.ENTRY, stream)
    if events and isinstance(events[0].event, CommandRefused):
        raise Failed(f"{name} was refused: {events[0].event.code}", exit_code=NO)
    if not events or not isinstance(events[0].event, EntryPosted):
        raise Failed(f"there is no entry {name}", exit_code=NO)
    first, posted = events[0], events[0].event
    reversals = [event.event.reversed_by for event in events if isinstance(event.event, EntryReversed)]
    codes = {posting.account_id: _code(log, posting.account_id) for posting in posted.postings}
    return {
        "id": name,
        "book_id": ids.show(ids.BOOK, posted.book_id),
        "position": first.position,
        "recorded_at": showing.instant(first.recorded_at),
        "value_date": posted.value_date.isoformat(),
        "description": posted.description,
        "reference": posted.reference,
        "metadata": posted.metadata,
        "actor": first.metadata.actor,
        "reverses": ids.show(ids.ENTRY, posted.reverses) if posted.reverses is not None else None,
        "reversed_by": ids.show(ids.ENTRY, reversals[0]) if reversals else None,
        "captures": ids.show(ids.HOLD, posted.captures) if posted.captures is not None else None,
        "recipe": posted.recipe,
        "postings": [
            {
                "account": codes[posting.account_id],
                "account_id": ids.show(ids.ACCOUNT, posting.account_id),
                "side": posting.side.value,
                "amount": posting.amount,
                "currency": posting.currency,
            }
            for posting in posted.postings
        ],
    }


def _code(log: PostgresLog, account_id: UUID) -> str:
    first = recorded(log.stream(account_id)[0]).event
    return first.code if isinstance(first, AccountOpened) else ids.show(ids.ACCOUNT, account_id)


def _show_entry(shown: dict[str, Any]) -> None:
    links = [
        f"{word.replace('_', ' ')} {shown[word]}" for word in ("reverses", "reversed_by", "captures") if shown[word]
    ]
    title = "  ".join(
        part for part in (shown["id"], shown["value_date"], shown["reference"], shown["description"]) if part
    )
    note = f"position {shown['position']}, recorded {shown['recorded_at']} by {shown['actor']}"
    rows = [
        (
            *(posting["account"], posting["currency"]),
            *(
                showing.amount(posting["amount"], posting["currency"]) if posting["side"] == side else ""
                for side in (Side.DEBIT, Side.CREDIT)
            ),
        )
        for posting in shown["postings"]
    ]
    showing.table(title, ("account", "currency", "debit ", "credit "), rows, note="; ".join([note, *links]))
