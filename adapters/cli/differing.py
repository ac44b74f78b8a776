"""`daybook diff`: what changed between two moments."""

from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

import typer

from adapters.cli import showing
from adapters.cli.asking import AsJson, BookName
from adapters.cli.books_in_log import book_here
from adapters.cli.database import database, say
from adapters.cli.failing import Failed
from adapters.cli.settings import DatabaseUrl, Home
from adapters.postgres.log import PostgresLog
from domain import ids
from replay.difference import Change, Touch, difference, net, net_pending
from replay.point_in_time import Moment, PositionBeyondLog, moment

_KINDS = {"journal_entry": ids.ENTRY, "hold": ids.HOLD, "account": ids.ACCOUNT}


def _when(text: str) -> int | datetime:
    if text.isdecimal():
        return int(text)
    at = datetime.fromisoformat(text)
    return at if at.tzinfo is not None else at.replace(tzinfo=UTC)


When = Any
"""A position of the log, or a time; typer cannot take a union apart."""


def diff(
    since: Annotated[
        When,
        typer.Option("--from", parser=_when, metavar="POSITION|TIME", help="After this position of the log, or time."),
    ],
    to: Annotated[
        When,
        typer.Option("--to", parser=_when, metavar="POSITION|TIME", help="Up to this one, inclusive; else the end."),
    ] = None,
    database_url: DatabaseUrl = None,
    home: Home = None,
    book: BookName = "main",
    as_csv: Annotated[
        bool, typer.Option("--csv", help="CSV, a row for each account and event, in decimals, debit positive.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show what changed between two moments: which accounts, by how much, and what did it.

    From the log of events alone. A time is one of recording, such as
    2026-01-31T18:00:00Z, in UTC unless it says otherwise.

    Examples:

      daybook diff --from 1000
      daybook diff --from 2026-01-31T18:00:00Z --to 2026-02-01T09:00:00Z --csv
    """
    with database(database_url, home) as dsn, PostgresLog(dsn) as log:
        book_id = book_here(log, book)
        first, last = _moment(log, since), _moment(log, to)
        if first.position > last.position:
            raise Failed(f"--from is position {first.position}, after --to, which is {last.position}")
        changes = _changes(log, first, last, book_id)
    if as_json:
        showing.json({"book": book, "from": _moment_json(first), "to": _moment_json(last), "accounts": _json(changes)})
    elif as_csv:
        say(f"Changes from {_words(first)} to {_words(last)}")
        _csv(changes)
    else:
        _show(book, first, last, changes)


def _changes(log: PostgresLog, first: Moment, last: Moment, book_id: UUID) -> list[Change]:
    with showing.bar("replaying", total=first.position) as bar:
        return difference(
            log, first, last, book_id=book_id, progress=lambda done, of: bar.update(bar.task_ids[0], completed=done)
        )


def _moment(log: PostgresLog, when: int | datetime | None) -> Moment:
    try:
        if isinstance(when, int):
            return moment(log, position=when)
        return moment(log, at=when)
    except PositionBeyondLog as error:
        raise Failed(str(error)) from error


def _show(book: str, first: Moment, last: Moment, changes: list[Change]) -> None:
    columns = ("code", "currency", "before ", "after ", "change ", "held before ", "held after ")
    note = f"debit positive; from {_words(first)} to {_words(last)}"
    showing.table(f"Changes of {book}", columns, [_row(change) for change in changes], note=note)
    touched = [(touch, change) for change in changes for touch in change.touches]
    rows = [
        (str(touch.position), showing.instant(touch.recorded_at), *_event(touch, change), touch.description)
        for touch, change in sorted(touched, key=lambda one: one[0].position)
    ]
    what = ("position ", "recorded", "code", "event", "id", "change ", "held ", "description")
    showing.table("What did it", what, rows)


def _row(change: Change) -> tuple[str, ...]:
    was, now, currency = change.before, change.after, change.account.currency
    numbers = (net(was), net(now), net(now) - net(was), net_pending(was), net_pending(now))
    return (change.account.code, currency, *(showing.amount(number, currency) for number in numbers))


def _event(touch: Touch, change: Change) -> tuple[str, ...]:
    currency = change.account.currency
    amounts = (showing.amount(touch.posted, currency), showing.amount(touch.pending, currency))
    return (change.account.code, touch.name, _id(touch), *amounts)


def _csv(changes: list[Change]) -> None:
    header = (
        "code",
        "currency",
        "position",
        "recorded_at",
        "event",
        "id",
        "value_date",
        "change",
        "held",
        "description",
    )
    showing.comma_separated(
        header,
        (
            (
                *(change.account.code, change.account.currency, str(touch.position)),
                *(showing.instant(touch.recorded_at), touch.name, _id(touch)),
                touch.value_date.isoformat() if touch.value_date is not None else "",
                showing.decimal(touch.posted, change.account.currency),
                showing.decimal(touch.pending, change.account.currency),
                touch.description,
            )
            for change in changes
            for touch in change.touches
        ),
    )


def _json(changes: list[Change]) -> list[dict[str, Any]]:
    return [
        {
            "code": change.account.code,
            "account_id": ids.show(ids.ACCOUNT, change.account.id),
            "currency": change.account.currency,
            "status": change.account.status.value,
            "opened": change.opened,
            **_amounts(change),
            "events": [_touch_json(touch, change.account.currency) for touch in change.touches],
        }
        for change in changes
    ]


def _amounts(change: Change) -> dict[str, str]:
    was, now = change.before, change.after
    numbers = {
        "before": net(was),
        "after": net(now),
        "change": net(now) - net(was),
        "held_before": net_pending(was),
        "held_after": net_pending(now),
    }
    return {name: showing.decimal(number, change.account.currency) for name, number in numbers.items()}


def _touch_json(touch: Touch, currency: str) -> dict[str, Any]:
    return {
        "position": touch.position,
        "recorded_at": showing.instant(touch.recorded_at),
        "event": touch.name,
        "id": _id(touch),
        "value_date": touch.value_date.isoformat() if touch.value_date is not None else None,
        "change": showing.decimal(touch.posted, currency),
        "held": showing.decimal(touch.pending, currency),
        "description": touch.description,
    }


def _id(touch: Touch) -> str:
    return ids.show(_KINDS[touch.name.partition(".")[0]], touch.stream_id)


def _words(then: Moment) -> str:
    return f"position {then.position}, recorded {showing.instant(then.recorded_at)}"


def _moment_json(then: Moment) -> dict[str, Any]:
    at = showing.instant(then.recorded_at) if then.recorded_at is not None else None
    return {"position": then.position, "recorded_at": at}
