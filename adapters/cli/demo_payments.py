"""The payments of `daybook demo`: one on each rail of a simulator, a decline, a lost answer, a refund, a dispute.

The simulator is a process of its own with books of its own. Days go by there until all has settled: then nothing is
left on the clearing accounts here, and what the rails have paid and kept is what their own books say.
"""

import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import httpx2

from adapters.cli import showing
from adapters.cli.failing import Failed

if TYPE_CHECKING:
    from adapters.client import Client
    from adapters.client.resources import ChangedPayment, PaymentStory

BOOK: Final = "main"
PATIENCE_S: Final = 60.0
DAYS: Final = 4
"""Within which an ACH debit is settled."""

_CARD: Final = {"type": "card", "token": "tok_visa", "brand": "visa", "last4": "4242", "expires": "2030-12"}
_POOR: Final = {**_CARD, "token": "tok_declined_insufficient_funds", "last4": "9995"}
_DISPUTED: Final = {**_CARD, "token": "tok_chargeback", "last4": "0259"}
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
    ("disputed", "A card, disputed later", {"amount": 3_300, "currency": "EUR", "method": _DISPUTED}),
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
        lines += [self._refund(), self._dispute()]
        showing.table(
            "Payments, each by its rail",
            ("what", "rail", "amount ", "now", "how it went", "s "),
            lines,
            note="the rails are a simulator's: no money moves",
        )
        self._settle()
        self._show_both_books()

    def _line(self, key: str, what: str, asked: dict[str, Any]) -> tuple[str, ...]:
        if key == "lost":
            self._switch("card", {"drop_after": {"next": 1}})
        began = time.monotonic()
        created = self._made(key)
        if key == "ach":
            self._wait(created.id, lambda one: one.requests and one.requests[-1].state in ("accepted", "done"))
            self._pass(DAYS)
        paid = self._wait(created.id, _is_over)
        self._switch("card", {})
        return self._told(what, paid, time.monotonic() - began)

    def _refund(self) -> tuple[str, ...]:
        began = time.monotonic()
        paid = self._made("card")
        self._client.refund_payment(paid.id, amount=990, reason="One item came back", key="demo:refund")
        refunded = self._wait(paid.id, lambda one: one.refunded == 990)
        return self._told("One item comes back", refunded, time.monotonic() - began, amount=990)

    def _dispute(self) -> tuple[str, ...]:
        """The payer disputes it; it is contested, and won."""
        began = time.monotonic()
        paid = self._made("disputed")
        disputed = self._wait(paid.id, lambda one: one.disputes, days=1)
        dispute = disputed.disputes[0]
        evidence = {"receipt": "winning evidence: signed for at the door"}
        self._client.contest_dispute(paid.id, dispute.id, evidence, key="demo:contest")
        won = self._wait(paid.id, lambda one: one.disputes[0].state == "won", days=1)
        return self._told("It is disputed, contested and won", won, time.monotonic() - began, amount=dispute.amount)

    def _made(self, key: str) -> "ChangedPayment":
        """The payment of that key, made before."""
        what, asked = next((what, asked) for name, what, asked in PAYMENTS if name == key)
        account = _account(asked["currency"])
        return self._client.create_payment(
            book=BOOK, account=account, confirm=True, description=what, key=f"demo:pay:{key}", **asked
        )

    def _told(self, what: str, paid: "PaymentStory", took_s: float, *, amount: int | None = None) -> tuple[str, ...]:
        requests = paid.requests if amount is None else paid.requests[-1:]
        steps = [one.operation if one.state == "done" else f"{one.operation} {one.state}" for one in requests]
        unknown = sum(one.name == "payment.outcome_unknown.v1" for one in paid.timeline) if amount is None else 0
        if unknown:
            steps[0] += " (asked again)"
        shown = showing.amount(paid.amount if amount is None else amount, paid.currency)
        rail = requests[0].rail if requests else ""
        return what, rail, f"{shown} {paid.currency}", paid.status, ", ".join(steps), f"{took_s:.1f}"

    def _wait(self, payment: str, condition: Callable[["PaymentStory"], object], *, days: int = 0) -> "PaymentStory":
        """The payment once it is so; `days` go by at the rails each second until then."""
        until = time.monotonic() + PATIENCE_S
        while not condition(found := self._client.read_payment(payment)):
            if time.monotonic() > until:
                raise Failed(f"{payment} is still {found.status}")
            if days:
                self._pass(days)
            time.sleep(1.0 if days else 0.1)
        return found

    def _switch(self, rail: str, switches: dict[str, Any]) -> None:
        httpx2.put(f"{self._rails.url}/faults/{rail}", json=switches).raise_for_status()

    def _pass(self, days: int) -> None:
        """Days go by, at the rails."""
        httpx2.post(f"{self._rails.url}/advance", json={"days": days}).raise_for_status()

    def _settle(self) -> None:
        """Days go by until the rails have settled all that was done, and it is booked."""
        until = time.monotonic() + PATIENCE_S
        while any(self._balances("clearing")):
            if time.monotonic() > until:
                raise Failed("not all has settled")
            self._pass(1)
            time.sleep(1)

    def _balances(self, kind: str) -> "Counter[str]":
        """Of Daybook's own accounts of a kind, by rail and currency; those that are not zero."""
        listed = self._client.list_balances(book=BOOK, limit=1000)
        return Counter(
            {
                line.code.partition(":")[2]: line.balance
                for line in listed
                if line.code.startswith(f"{kind}:") and line.balance
            }
        )

    def _show_both_books(self) -> None:
        """What each rail has paid and kept, as Daybook has it and as the rail has it."""
        clearing, paid, fees = (self._balances(kind) for kind in ("clearing", "settlement", "fees"))
        there: Counter[str] = Counter()
        for line in httpx2.get(f"{self._rails.url}/books/totals").raise_for_status().json():
            if line["outcome"] == "approved":
                there[f"{line['rail']}:{line['currency']}"] += _SIGN.get(line["operation"], 0) * line["amount"]
        lines = []
        for name in sorted(there):
            currency = name.rpartition(":")[2]
            here = (paid[name], fees[name], paid[name] + fees[name])
            shown = [f"{showing.amount(each, currency)} {currency}" for each in (clearing[name], *here, there[name])]
            lines.append((name, *shown, "agree" if here[2] == there[name] else "DIFFER"))
        showing.table(
            "Days later: all has settled, and the clearing accounts are at zero",
            ("rail", "clearing ", "paid to us ", "fees ", "together ", "the rail's books ", ""),
            lines,
            note="below zero: what we have paid the rail",
        )


_SIGN: Final = {"capture": 1, "collect": 1, "refund": -1, "payout": -1, "disputed": -1, "dispute_won": 1}
"""What a rail did, as what it then pays us."""


def _account(currency: str) -> str:
    return f"liabilities:shop:{currency}"


def _is_over(payment: "PaymentStory") -> bool:
    """Whether it waits for nobody but a person."""
    return payment.status != "processing" and not any(
        one.state in ("requested", "unknown", "accepted") for one in payment.requests
    )
