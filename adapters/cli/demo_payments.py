"""The payments of `daybook demo`: one on each rail of a simulator, a decline, a lost answer, a refund.

The simulator is a process of its own with books of its own, which must come to the same as the clearing accounts here.
"""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import httpx2

from adapters.cli import showing
from adapters.cli.failing import Failed

if TYPE_CHECKING:
    from adapters.client import Client
    from adapters.client.resources import PaymentStory

BOOK: Final = "main"
PATIENCE_S: Final = 60.0
DAYS: Final = 4
"""Within which an ACH debit is settled."""

_CARD: Final = {"type": "card", "token": "tok_visa", "brand": "visa", "last4": "4242", "expires": "2030-12"}
_POOR: Final = {**_CARD, "token": "tok_declined_insufficient_funds", "last4": "9995"}
_BANK: Final = {
    "type": "bank_account",
    "routing_number": "021000021",
    "account_number": "4400123456",
    "holder": "Ann Payer",
}
_IBAN: Final = {
    "type": "iban",
    "iban": "DE89370400440532013000",
    "bic": "COBADEFFXXX",
    "holder": "Bob Supplier",
    "country": "DE",
}
_UPI: Final = {"type": "upi", "vpa": "asha@okbank"}

PAYMENTS: Final[list[tuple[str, str, dict[str, Any]]]] = [
    ("card", "A customer pays by card", {"amount": 4_990, "currency": "EUR", "method": _CARD}),
    ("declined", "A card without funds", {"amount": 9_900, "currency": "EUR", "method": _POOR}),
    ("lost", "A card, its answer lost", {"amount": 1_250, "currency": "EUR", "method": _CARD}),
    ("ach", "A bank account is debited", {"amount": 25_000, "currency": "USD", "method": _BANK}),
    ("upi", "A customer pays by UPI", {"amount": 150_000, "currency": "INR", "method": _UPI}),
    ("wire", "A supplier is paid", {"amount": 2_000, "currency": "EUR", "direction": "out", "method": _IBAN}),
]
"""By key: what is told of it, and what is asked."""


class Simulator(NamedTuple):
    """Where it is: its HTTP, and the port where it takes cards."""

    url: str
    cards: int


@contextmanager
def simulator(books: Path) -> Iterator[Simulator]:
    """One that runs as long as this lasts, and ends with this process however it ends; raises Failed."""
    books.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "adapters.cli", "simulate", "--with-stdin", "--port-base", "0"]
    with subprocess.Popen(  # noqa: S603 - our own program.
        [*command, "--books", str(books)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        try:
            where = dict(process.stdout.readline().decode().split() for _ in range(2))
            yield Simulator(where["http"], int(where["card"].rpartition(":")[2]))
        except (KeyError, ValueError) as error:
            raise Failed("the simulator of the rails did not start") from error
        finally:
            process.stdin.close()
            process.wait(timeout=30)


class Tour:
    """What a shop does. Every request has a fixed key: done again, nothing is paid twice."""

    def __init__(self, client: "Client", rails: Simulator) -> None:
        self._client = client
        self._rails = rails

    def go(self) -> None:
        for currency in ("EUR", "USD", "INR"):
            self._client.open_account(
                BOOK,
                _account(currency),
                "liability",
                currency,
                title="What the shop is owed",
                key=f"demo:shop:{currency}",
            )
        lines = [self._line(key, what, asked) for key, what, asked in PAYMENTS]
        lines.append(self._refund())
        showing.table(
            "Payments, each by its rail",
            ("what", "rail", "amount ", "now", "how it went", "s "),
            lines,
            note="the rails are a simulator's: no money moves",
        )
        self._show_both_books()

    def _line(self, key: str, what: str, asked: dict[str, Any]) -> tuple[str, ...]:
        if key == "lost":
            self._switch("card", {"drop_after": {"next": 1}})
        began = time.monotonic()
        created = self._client.create_payment(
            book=BOOK,
            account=_account(asked["currency"]),
            confirm=True,
            description=what,
            key=f"demo:pay:{key}",
            **asked,
        )
        if key == "ach":
            self._wait(created.id, lambda one: one.requests and one.requests[-1].state in ("accepted", "done"))
            httpx2.post(f"{self._rails.url}/advance", json={"days": DAYS}).raise_for_status()
        paid = self._wait(created.id, _is_over)
        self._switch("card", {})
        return self._told(what, paid, time.monotonic() - began)

    def _refund(self) -> tuple[str, ...]:
        began = time.monotonic()
        paid = self._client.create_payment(
            book=BOOK,
            account=_account("EUR"),
            confirm=True,
            description=PAYMENTS[0][1],
            key="demo:pay:card",
            **PAYMENTS[0][2],
        )
        self._client.refund_payment(paid.id, amount=990, reason="One item came back", key="demo:refund")
        refunded = self._wait(paid.id, lambda one: one.refunded == 990)
        return self._told("One item comes back", refunded, time.monotonic() - began, amount=990)

    def _told(self, what: str, paid: "PaymentStory", took_s: float, *, amount: int | None = None) -> tuple[str, ...]:
        requests = paid.requests if amount is None else paid.requests[-1:]
        steps = [one.operation if one.state == "done" else f"{one.operation} {one.state}" for one in requests]
        unknown = sum(one.name == "payment.outcome_unknown.v1" for one in paid.timeline) if amount is None else 0
        if unknown:
            steps[0] += " (asked again)"
        shown = showing.amount(paid.amount if amount is None else amount, paid.currency)
        rail = requests[0].rail if requests else ""
        return what, rail, f"{shown} {paid.currency}", paid.status, ", ".join(steps), f"{took_s:.1f}"

    def _wait(self, payment: str, condition: Callable[["PaymentStory"], object]) -> "PaymentStory":
        until = time.monotonic() + PATIENCE_S
        while not condition(found := self._client.read_payment(payment)):
            if time.monotonic() > until:
                raise Failed(f"{payment} is still {found.status}")
            time.sleep(0.1)
        return found

    def _switch(self, rail: str, switches: dict[str, Any]) -> None:
        httpx2.put(f"{self._rails.url}/faults/{rail}", json=switches).raise_for_status()

    def _show_both_books(self) -> None:
        """What each rail is owed or owes, as Daybook has it and as the rail has it."""
        here = {
            line.code: -line.balance
            for line in self._client.list_balances(book=BOOK, limit=1000)
            if line.code.startswith("clearing:")
        }
        there: dict[str, int] = {}
        for line in httpx2.get(f"{self._rails.url}/books/totals").raise_for_status().json():
            code = f"clearing:{line['rail']}:{line['currency']}"
            sign = _SIGN.get(line["operation"], 0) if line["outcome"] == "approved" else 0
            there[code] = there.get(code, 0) + sign * line["amount"]
        lines = []
        for code in sorted(here.keys() | there.keys()):
            currency = code.rpartition(":")[2]
            both = (here.get(code, 0), there.get(code, 0))
            shown = [f"{showing.amount(each, currency)} {currency}" for each in both]
            lines.append((code, *shown, "agree" if both[0] == both[1] else "DIFFER"))
        showing.table(
            "What the rails owe the shop, until they settle",
            ("clearing account", "Daybook's books ", "the rail's books ", ""),
            lines,
            note="below zero: what the shop owes the rail",
        )


_SIGN: Final = {"capture": 1, "collect": 1, "refund": -1, "payout": -1}
"""What a rail did, as what it then owes."""


def _account(currency: str) -> str:
    return f"liabilities:shop:{currency}"


def _is_over(payment: "PaymentStory") -> bool:
    """Whether it waits for nobody but a person."""
    return payment.status != "processing" and not any(
        one.state in ("requested", "unknown", "accepted") for one in payment.requests
    )
