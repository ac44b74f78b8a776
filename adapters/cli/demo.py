"""`daybook demo`: a server with a small shop's books, filled over HTTP like by any client, and then left running."""

import csv
import logging
import sys
import threading
import time
from collections.abc import Iterator
from functools import partial
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from adapters.cli import demo_payments, showing
from adapters.cli.database import database, without_password
from adapters.cli.demo_payments import Simulator, simulator
from adapters.cli.failing import Failed
from adapters.cli.serving import Host, Port, listening, run, server, url
from adapters.cli.settings import DatabaseUrl, Home, settings
from adapters.embedded_postgres import default_home
from adapters.imports import rows
from adapters.postgres.log import PostgresLog
from domain import ids
from domain.posting import ZERO
from replay.point_in_time import moment, replay

if TYPE_CHECKING:
    import uvicorn

    from adapters.client import Call, Client, Refused

T = TypeVar("T")

BOOK = "main"
MISTAKE = "sale-4"
"""The entry that the tour reverses."""
LOOK_BACK = "supplier-1"
"""The entry before which the tour looks at the balances again."""


def demo(database_url: DatabaseUrl = None, home: Home = None, host: Host = None, port: Port = None) -> None:
    """Start a server, book a small shop's January over HTTP, pay by every rail, and keep serving until Ctrl-C.

    Every request has a fixed Idempotency-Key, so doing this again books nothing twice.
    """
    from adapters.observe import logs
    from adapters.rails.wiring import simulated

    logs.configure(level=logging.WARNING)
    with (
        listening(host, port) as listener,
        database(database_url, home, migrated=True) as dsn,
        simulator(_books_of_rails(dsn, home)) as rails,
    ):
        serving = server(dsn, wiring=simulated(rails.url, cards=rails.cards))
        tour = _Tour(serving, url(listener), dsn, rails)
        tour.start()
        run(serving, listener)
        tour.join()
    if tour.failed is not None:
        raise Failed(f"the demo failed: {tour.failed}")


def _books_of_rails(dsn: str, home: Path | None) -> Path:
    """Beside the data, one for each database: done again upon the same one, the rails know what they did."""
    name = sha256(without_password(dsn).encode()).hexdigest()[:12]
    return (home or settings().home or default_home()) / f"rails-{name}.jsonl"


class _Tour(threading.Thread):
    """What a client does, once the server is up. If it fails, it stops the server."""

    def __init__(self, serving: "uvicorn.Server", base: str, dsn: str, rails: Simulator) -> None:
        super().__init__(name="demo", daemon=True)
        self.failed: BaseException | None = None
        self._server = serving
        self._base = base
        self._dsn = dsn
        self._rails = rails
        self._again = 0
        self._asked = 0

    def run(self) -> None:
        from adapters.client import Client

        while not self._server.started:
            if self._server.should_exit:
                return
            time.sleep(0.02)
        try:
            with Client(self._base, actor="demo") as client:
                self._go(client)
        except BaseException as error:
            self.failed = error
            self._server.should_exit = True

    def _go(self, client: "Client") -> None:
        from adapters.client import calls

        out = showing.out()
        self._ask(client, calls.open_book(BOOK, title="A small shop", key="demo:book"))
        for key, given in _given("accounts"):
            self._ask(client, calls.open_account(**given, key=key))
        posted = {}
        refused = None
        for key, given in _given("journal"):
            answer = self._ask(client, calls.post_entry(**given, key=key))
            if isinstance(answer, Exception):
                refused = (given["description"], answer)
            else:
                posted[answer.reference] = answer
        why = "It was entered by mistake"
        mistake = posted[MISTAKE].id
        self._ask(client, calls.reverse_entry(mistake, value_date="original", description=why, key="demo:reverse"))
        out.print(f"\n{self._asked} commands sent to {self._base}", end="")
        out.print(
            f"; {self._again} of them had been answered before, and were answered the same again.\n"
            if self._again
            else ".\n"
        )
        before = posted[LOOK_BACK].position - 1
        self._show_balances(client, before)
        if refused is not None:
            out.print(f"\nRefused, as it must be: {_words(*refused)}\n", markup=False)
        demo_payments.Tour(client, self._rails).go()
        self._show_what_next(client, before)

    def _ask(self, client: "Client", call: "Call[T]") -> "T | Refused":
        from adapters.client import Refused

        self._asked += 1
        try:
            answer = client.answer(call)
        except Refused as refused:
            self._again += refused.replayed
            return refused
        self._again += answer.replayed
        return answer.value

    def _show_balances(self, client: "Client", before: int) -> None:
        """The balances as the API has them now, beside those folded from the log's events up to a position."""
        balances = list(client.list_balances(book=BOOK, limit=1000))
        with PostgresLog(self._dsn) as log:
            then = replay(log, moment(log, position=before))
        sample = {str(row["code"]) for row in _rows("accounts")}
        lines = []
        for line in balances:
            if line.code in sample:
                past = then.totals.get(ids.parse(ids.ACCOUNT, line.account_id), ZERO)
                was = past.debits - past.credits if line.type in ("asset", "expense") else past.credits - past.debits
                now = showing.amount(line.balance, line.currency)
                lines.append((line.code, line.type, line.currency, now, showing.amount(was, line.currency)))
        showing.table(
            f"Balances of book {BOOK}, each on its normal side",
            ("code", "type", "currency", "now ", f"before {LOOK_BACK} "),
            lines,
            note=f"now: at position {max(line.position for line in balances)}, over HTTP; before: replayed to {before}",
        )

    def _show_what_next(self, client: "Client", before: int) -> None:
        bank = ids.show(ids.ACCOUNT, ids.account_id(ids.book_id(BOOK), "assets:bank"))
        daybook = sys.argv[0] if sys.argv[0].endswith("daybook") else "daybook"
        entry = (
            '{"book": "main", "description": "Coffee for the shop", "postings": ['
            '{"account": "expenses:fees", "side": "debit", "amount": 450, "currency": "EUR"},'
            ' {"account": "assets:bank", "side": "credit", "amount": 450, "currency": "EUR"}]}'
        )
        payment = (
            '{"book": "main", "account": "liabilities:shop:EUR", "amount": 1999, "currency": "EUR", "confirm": true,'
            ' "method": {"type": "card", "token": "tok_visa", "brand": "visa", "last4": "4242", "expires": "2030-12"}}'
        )
        text = f"""
To try next, from another terminal:

  curl -s '{self._base}/v1/balances?book={BOOK}'
  curl -s {self._base}/v1/accounts/{bank}/balance
  curl -s {self._base}/v1/journal-entries -H 'Content-Type: application/json' \\
    -H 'Daybook-Actor: me' -H 'Idempotency-Key: coffee-1' -d '{entry}'
  curl -s {self._base}/v1/payments -H 'Content-Type: application/json' -H 'Prefer: wait=10' \\
    -H 'Daybook-Actor: me' -H 'Idempotency-Key: payment-1' -d '{payment}'
  curl -s '{self._base}/v1/payments?limit=3'
  curl -s {self._rails.url}/books/totals
  {daybook} entry --reference {LOOK_BACK}
  {daybook} replay --position {before}
  {daybook} verify

Serving on {self._base} until Ctrl-C."""
        showing.out().print(text, markup=False, soft_wrap=True)


def _rows(name: str) -> Iterator[dict[str, Any]]:
    text = files("adapters.cli").joinpath("sample", f"{name}.csv").read_text(encoding="utf-8")
    yield from csv.DictReader(text.splitlines())


def _given(name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The sample's rows as the arguments of commands, with their fixed keys."""
    build = partial(rows.account if name == "accounts" else rows.entry, book=BOOK)
    for row in _rows(name):
        key, command = build(row)
        yield f"demo:{key}", command.model_dump(mode="json", exclude_unset=True)


def _words(asked: str, refused: "Refused") -> str:
    """What was refused, and what was said."""
    problem = refused.problem
    figures = ", ".join(
        f"{name} {showing.amount(problem[name], problem['currency'])} {problem['currency']}"
        for name in ("requested", "available")
        if name in problem
    )
    said = f"{problem['title']} ({figures})" if figures else problem["title"]
    return f"{asked!r} -> {refused.status} {refused.code}: {said}"
