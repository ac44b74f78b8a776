"""`daybook demo`: a server with a small shop's books, filled over HTTP like by any client, and then left running."""

import csv
import logging
import sys
import threading
import time
from collections.abc import Iterator
from functools import partial
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from adapters.cli import showing
from adapters.cli.database import database
from adapters.cli.failing import Failed
from adapters.cli.serving import Host, Port, listening, run, server, url
from adapters.cli.settings import DatabaseUrl, Home
from adapters.imports import rows
from adapters.postgres.log import PostgresLog
from commands.book import OpenBook
from commands.command import Command
from domain import ids
from domain.posting import ZERO
from replay.point_in_time import moment, replay

if TYPE_CHECKING:
    import httpx2
    import uvicorn

BOOK = "main"
MISTAKE = "sale-4"
"""The entry that the tour reverses."""
LOOK_BACK = "supplier-1"
"""The entry before which the tour looks at the balances again."""


def demo(database_url: DatabaseUrl = None, home: Home = None, host: Host = None, port: Port = None) -> None:
    """Start a server, book a small shop's January over HTTP, look at it, and keep serving until Ctrl-C.

    Every request has a fixed Idempotency-Key, so doing this again books nothing twice.
    """
    from adapters.observe import logs

    logs.configure(level=logging.WARNING)
    with listening(host, port) as listener, database(database_url, home, migrated=True) as dsn:
        serving = server(dsn)
        tour = _Tour(serving, url(listener), dsn)
        tour.start()
        run(serving, listener)
        tour.join()
    if tour.failed is not None:
        raise Failed(f"the demo failed: {tour.failed}")


class _Tour(threading.Thread):
    """What a client does, once the server is up. If it fails, it stops the server."""

    def __init__(self, serving: "uvicorn.Server", base: str, dsn: str) -> None:
        super().__init__(name="demo", daemon=True)
        self.failed: BaseException | None = None
        self._server = serving
        self._base = base
        self._dsn = dsn
        self._again = 0
        self._asked = 0

    def run(self) -> None:
        import httpx2

        while not self._server.started:
            if self._server.should_exit:
                return
            time.sleep(0.02)
        try:
            with httpx2.Client(base_url=self._base, headers={"Daybook-Actor": "demo"}, timeout=15) as client:
                self._go(client)
        except BaseException as error:
            self.failed = error
            self._server.should_exit = True

    def _go(self, client: "httpx2.Client") -> None:
        out = showing.out()
        self._ask(client, "/v1/books", OpenBook(code=BOOK, title="A small shop"), "demo:book")
        for key, command in _commands("accounts"):
            self._ask(client, "/v1/accounts", command, key)
        posted = {}
        refused = None
        for key, command in _commands("journal"):
            answer = self._ask(client, "/v1/journal-entries", command, key)
            if answer.status_code == 201:
                posted[answer.json()["reference"]] = answer
            else:
                refused = (command, answer)
        self._reverse(client, posted[MISTAKE].json()["id"])
        out.print(f"\n{self._asked} commands sent to {self._base}", end="")
        out.print(
            f"; {self._again} of them had been answered before, and were answered the same again.\n"
            if self._again
            else ".\n"
        )
        before = int(posted[LOOK_BACK].headers["Daybook-Position"]) - 1
        self._show_balances(client, before)
        if refused is not None:
            out.print(f"\nRefused, as it must be: {_words(*refused)}\n", markup=False)
        self._show_what_next(client, before)

    def _ask(self, client: "httpx2.Client", path: str, command: Command, key: str) -> "httpx2.Response":
        body = command.model_dump(mode="json", exclude_unset=True)
        return self._post(client, path, body, key)

    def _reverse(self, client: "httpx2.Client", entry_id: str) -> None:
        body = {"value_date": "original", "description": "It was entered by mistake"}
        self._post(client, f"/v1/journal-entries/{entry_id}/reverse", body, "demo:reverse")

    def _post(self, client: "httpx2.Client", path: str, body: dict[str, Any], key: str) -> "httpx2.Response":
        answer = client.post(path, json=body, headers={"Idempotency-Key": key})
        self._asked += 1
        self._again += answer.headers.get("Idempotency-Replayed") == "true"
        if answer.status_code not in (201, 409, 422):  # Created; there already; refused.
            raise Failed(f"{path} answered {answer.status_code}: {answer.text[:300]}")
        return answer

    def _show_balances(self, client: "httpx2.Client", before: int) -> None:
        """The balances as the API has them now, beside those folded from the log's events up to a position."""
        answer = client.get("/v1/balances", params={"book": BOOK, "limit": 1000})
        answer.raise_for_status()
        with PostgresLog(self._dsn) as log:
            then = replay(log, moment(log, position=before))
        sample = {str(row["code"]) for row in _rows("accounts")}
        lines = []
        for line in answer.json()["data"]:
            if line["code"] in sample:
                past = then.totals.get(ids.parse(ids.ACCOUNT, line["account_id"]), ZERO)
                was = past.debits - past.credits if line["type"] in ("asset", "expense") else past.credits - past.debits
                now = showing.amount(line["balance"], line["currency"])
                lines.append((line["code"], line["type"], line["currency"], now, showing.amount(was, line["currency"])))
        showing.table(
            f"Balances of book {BOOK}, each on its normal side",
            ("code", "type", "currency", "now ", f"before {LOOK_BACK} "),
            lines,
            note=f"now: at position {answer.headers['Daybook-Position']}, over HTTP; before: replayed to {before}",
        )

    def _show_what_next(self, client: "httpx2.Client", before: int) -> None:
        bank = ids.show(ids.ACCOUNT, ids.account_id(ids.book_id(BOOK), "assets:bank"))
        daybook = sys.argv[0] if sys.argv[0].endswith("daybook") else "daybook"
        entry = (
            '{"book": "main", "description": "Coffee for the shop", "postings": ['
            '{"account": "expenses:fees", "side": "debit", "amount": 450, "currency": "EUR"},'
            ' {"account": "assets:bank", "side": "credit", "amount": 450, "currency": "EUR"}]}'
        )
        text = f"""To try next, from another terminal:

  curl -s '{self._base}/v1/balances?book={BOOK}'
  curl -s {self._base}/v1/accounts/{bank}/balance
  curl -s {self._base}/v1/journal-entries -H 'Content-Type: application/json' \\
    -H 'Daybook-Actor: me' -H 'Idempotency-Key: coffee-1' -d '{entry}'
  {daybook} entry --reference {LOOK_BACK}
  {daybook} replay --position {before}
  {daybook} verify

Serving on {self._base} until Ctrl-C."""
        showing.out().print(text, markup=False, soft_wrap=True)


def _rows(name: str) -> Iterator[dict[str, Any]]:
    text = files("adapters.cli").joinpath("sample", f"{name}.csv").read_text(encoding="utf-8")
    yield from csv.DictReader(text.splitlines())


def _commands(name: str) -> Iterator[tuple[str, Command]]:
    """The sample's rows as commands, with their fixed keys."""
    build = partial(rows.account if name == "accounts" else rows.entry, book=BOOK)
    for row in _rows(name):
        key, command = build(row)
        yield f"demo:{key}", command


def _words(command: Command, answer: "httpx2.Response") -> str:
    """A command that was refused, and what was said."""
    problem = answer.json()
    asked = command.model_dump(mode="json")
    figures = ", ".join(
        f"{name} {showing.amount(problem[name], problem['currency'])} {problem['currency']}"
        for name in ("requested", "available")
        if name in problem
    )
    said = f"{problem['title']} ({figures})" if figures else problem["title"]
    return f"{asked['description']!r} -> {answer.status_code} {problem['code']}: {said}"
