"""A bank at work through two server processes, while the whole of it is read and things are killed.

DAYBOOK_BANK_S is for how long, in seconds; ten minutes of it, with Postgres killed too, is the long mode.
"""

import os
import random
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from time import monotonic
from typing import Any, NamedTuple

import httpx2
import pytest

from adapters.embedded_postgres import Server
from adapters.postgres.log import PostgresLog
from domain import ids
from replay.verify import verify
from tests.e2e.test_faults_http import is_back, kill
from tests.faults import Client, Request, intents, own_postgres, reconcile
from tests.ports import two_free_ports
from tests.serving import Caller, Process, serving_process, transfer, until
from tests.support import BOOK, books_of

SECONDS = float(os.environ.get("DAYBOOK_BANK_S", "10"))
ACCOUNTS = 12
EACH = 1_000
"""What every account has at first; the owner's is what they have together."""
CLIENTS_OF_EACH = 2
PAGE = 5
CALM_S = 1.5
"""Between two faults."""


class Ports(NamedTuple):
    """Two servers' addresses, whoever serves there at the moment."""

    one: int
    other: int

    @property
    def base_urls(self) -> tuple[str, str]:
        return f"http://127.0.0.1:{self.one}", f"http://127.0.0.1:{self.other}"


def begin(base_url: str) -> None:
    """A book with an owner who has given every account the same."""
    with Caller(base_url) as caller:
        caller.done("/v1/books", {"code": "main"})
        caller.account("owner", "equity")
        for number in range(ACCOUNTS):
            caller.account(f"a{number}", overdraft_limit=0)
            caller.done("/v1/journal-entries", transfer(f"a{number}", "owner", EACH))


def transfers(seed: int) -> Callable[[int], Request]:
    """From any account to any other; some more than there is, and so refused."""
    chance = random.Random(seed)

    def command(number: int) -> Request:
        debit, credit = chance.sample(range(ACCOUNTS), 2)
        return "/v1/journal-entries", transfer(f"a{debit}", f"a{credit}", chance.choice((1, 7, 60, 700)))

    return command


class Reader:
    """Reads the whole bank at one position, page by page from either server, for as long as it is let.

    What it saw is kept: `reads`, and what was `wrong`. Refused connections and 503s are nobody's fault.
    """

    def __init__(self, base_urls: tuple[str, str]) -> None:
        self.reads = 0
        self.reports = 0
        self.wrong: list[Any] = []
        self.position = 0
        self._base_urls = base_urls
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, name="reader")
        self._thread.start()

    def finish(self) -> None:
        self._done.set()
        self._thread.join()

    def _run(self) -> None:
        with Caller(self._base_urls[0]) as one, Caller(self._base_urls[1]) as other:
            turn = 0
            while not self._done.is_set():
                turn += 1
                callers = (one, other) if turn % 2 else (other, one)
                try:
                    self._read(*callers)
                    self._report(callers[1])
                except (httpx2.HTTPError, NotNow):
                    self._done.wait(0.05)
                except Exception as error:
                    self.wrong.append(error)
                    return

    def _read(self, first: Caller, then: Caller) -> None:
        """The first page is current; the others, of the other server, are asked for at its position."""
        answer = _asked(first, "/v1/balances", limit=PAGE)
        position = self._moved_to(answer)
        found = answer.json()["data"]
        while answer.json()["has_more"]:
            after = found[-1]["account_id"]
            answer = _asked(then, "/v1/balances", limit=PAGE, position=position, starting_after=after)
            found += answer.json()["data"]
        self._must(len(found) == ACCOUNTS + 1, found)
        self._must({balance["position"] for balance in found} == {position}, found)
        self._must_add_up({balance["code"]: balance["balance"] for balance in found})
        self.reads += 1

    def _report(self, caller: Caller) -> None:
        answer = _asked(caller, "/v1/reports/trial-balance")
        self._moved_to(answer)
        self._must(all(of["debits"] == of["credits"] > 0 for of in answer.json()["totals"]), answer.json())
        self.reports += 1

    def _moved_to(self, answer: httpx2.Response) -> int:
        position = int(answer.headers["daybook-position"])
        self._must(position >= self.position, f"{position} after {self.position}")
        self.position = position
        return position

    def _must_add_up(self, balances: dict[str, int]) -> None:
        owner = balances.pop("owner")
        self._must(owner == sum(balances.values()) == ACCOUNTS * EACH, (owner, balances))
        self._must(min(balances.values()) >= 0, balances)

    def _must(self, holds: bool, what: object) -> None:
        if not holds:
            self.wrong.append(what)


class NotNow(Exception):
    """503: ask again."""


def _asked(caller: Caller, path: str, **params: Any) -> httpx2.Response:
    response = caller.get(path, params={"book": "main", **params})
    if response.status_code == 503:
        raise NotNow
    assert response.status_code == 200, response.text
    return response


class Bank:
    """Two servers on one Postgres, and what can happen to them."""

    def __init__(self, postgres: Server, ports: Ports) -> None:
        self._postgres = postgres
        self._ports = ports
        self._serving = [ExitStack(), ExitStack()]
        self._servers: list[Process] = []

    def __enter__(self) -> "Bank":
        self._servers = [self._start(0), self._start(1)]
        return self

    def __exit__(self, *error: object) -> None:
        for serving in self._serving:
            serving.close()

    def kill_server(self, which: int) -> None:
        """As `kill -9`; another follows at the same address."""
        self._servers[which].kill()
        self._serving[which].close()
        self._servers[which] = self._start(which)

    def terminate_sessions(self) -> None:
        kill(self._postgres.dsn, "true")

    def kill_postgres(self) -> None:
        os.kill(self._postgres.pid, signal.SIGKILL)
        until(lambda: is_back(self._postgres.dsn), seconds=60)

    def _start(self, which: int) -> Process:
        return self._serving[which].enter_context(serving_process(self._postgres.dsn, port=self._ports[which]))


@contextmanager
def at_work(ports: Ports, folder: Path) -> Iterator[tuple[list[Client], list[Reader]]]:
    """Clients and readers of both servers, until the end of the `with` block."""
    numbered = enumerate(ports.base_urls * CLIENTS_OF_EACH)
    clients = [Client(url, folder / f"{n}.log", f"client-{n}", transfers(n)) for n, url in numbered]
    readers = [Reader(ports.base_urls), Reader(ports.base_urls[::-1])]
    try:
        yield clients, readers
    finally:
        for client in clients:
            client.finish()
        for reader in readers:
            reader.finish()


@pytest.mark.timeout(SECONDS + 240)
def test_a_bank_goes_on_through_everything(tmp_path: Path) -> None:
    """
    Totals never change, no read is torn or goes back, and everything acknowledged is there once.
    """
    ports = Ports(two_free_ports(), two_free_ports())
    with own_postgres() as postgres, Bank(postgres, ports) as bank:
        begin(ports.base_urls[0])
        faults = [
            lambda: bank.kill_server(0),
            bank.terminate_sessions,
            lambda: bank.kill_server(1),
            bank.kill_postgres,
        ]
        struck = 0
        with at_work(ports, tmp_path) as (clients, readers):
            end = monotonic() + SECONDS
            while monotonic() < end or struck < len(faults):
                quiet(clients, readers)
                faults[struck % len(faults)]()
                struck += 1
            quiet(clients, readers)
        result = reconcile(intents(tmp_path), lambda: books_of(postgres.dsn), ports.base_urls[0])
        with PostgresLog(postgres.dsn) as log, Caller(ports.base_urls[1]) as caller:
            until(lambda: caller.get("/v1/journal-entries").status_code == 200)
            report = verify(log)
        held = books_of(postgres.dsn).check()

    assert [reader.wrong for reader in readers] == [[], []]
    assert all(reader.reads > struck and reader.reports > struck for reader in readers)
    assert report.exit_code == 0, report
    totals = [held[ids.account_id(BOOK, f"a{number}")] for number in range(ACCOUNTS)]
    assert sum(debits - credits for debits, credits in totals) == ACCOUNTS * EACH
    assert result.acknowledged > 100
    assert result.refused > 0


def quiet(clients: list[Client], readers: list[Reader]) -> None:
    """Nothing happens for a while, and after it until everybody has got an answer again."""
    counts = [client.answered for client in clients], [reader.reads for reader in readers]
    start = monotonic()
    until(lambda: monotonic() > start + CALM_S)
    until(
        lambda: (
            any(reader.wrong for reader in readers)
            or (
                all(client.answered > before for client, before in zip(clients, counts[0], strict=True))
                and all(reader.reads > before for reader, before in zip(readers, counts[1], strict=True))
            )
        ),
        seconds=60,
    )
