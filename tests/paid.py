"""Payments at every stage of their lives, put to a desk as clients and Daybook itself do, for whoever reads them."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from adapters.memory.store import MemoryEventStore
from commands.command import Command
from commands.desk import Desk, Outcome
from commands.payment import (
    AcceptDispute,
    ApprovePayment,
    AttachMethod,
    CancelPayment,
    CapturePayment,
    ConfirmPayment,
    ContestDispute,
    CreatePayment,
    ExpirePayment,
    GiveUpPayment,
    IncreaseAuthorization,
    RecordAcceptance,
    RecordApproval,
    RecordDecline,
    RecordSilence,
    RefundPayment,
    ResolveOutcome,
    RetryPayment,
    ReversePayment,
    StartAttempt,
)
from commands.policy import SetPaymentPolicy
from commands.settlement import RecordSettlement
from domain import payment as payment_rules
from domain.payment import Payment, Request
from domain.ports import EventStore
from tests.payment_words import HEARD
from tests.stored import ids_of
from tests.support import asked, freeze, open_account, started

CARD = {"type": "card", "token": "tok_visa", "brand": "visa", "last4": "4242", "expires": "2030-12"}
BANK = {"type": "bank_account", "routing_number": "021000021", "account_number": "123456789", "holder": "Ann Lee"}
UPI = {"type": "upi", "vpa": "ann@okbank", "holder": "Ann"}
IBAN = {
    "type": "iban",
    "iban": "DE89370400440532013000",
    "bic": "COBADEFFXXX",
    "holder": "Ann Lee",
    "country": "DE",
}
METHODS: dict[str, dict[str, Any]] = {"card": CARD, "bank": BANK, "upi": UPI, "iban": IBAN}


class Till:
    """Payments of the book `main` upon its account `merchant`, by name; each step is a commit of its own."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self.known: dict[str, Payment] = {}

    async def do(self, command: Command, *, actor: str = "tester") -> Outcome:
        outcome = await self._desk.submit(asked(command, actor=actor))
        assert outcome.refusal is None, outcome
        if outcome.payment is not None:
            name = next(name for name, one in self.known.items() if one.id == outcome.payment.id)
            self.known[name] = outcome.payment
        return outcome

    async def create(self, name: str, amount: int = 1_000, method: str | None = None, **said: Any) -> UUID:
        paid = {} if method is None else {"method": METHODS[method], "confirm": said.pop("confirm", True)}
        fields = {"book": "main", "account": "merchant", "amount": amount, "currency": "EUR", **paid, **said}
        outcome = await self._desk.submit(asked(CreatePayment.model_validate(fields)))
        assert outcome.payment is not None, outcome
        self.known[name] = outcome.payment
        return ids_of(outcome)

    async def step(self, kind: type[Command], name: str, **said: Any) -> None:
        actor = said.get("approver", "tester")
        await self.do(kind.model_validate({"payment_id": self.known[name].id, **said}), actor=actor)

    async def start(self, name: str, route: str = "north", **decision: Any) -> None:
        chosen = {"chosen": route, "reasons": ["cheapest"]} | decision
        await self.step(StartAttempt, name, route=route, decision=chosen, votes=HEARD)

    def request(self, name: str) -> Request:
        """The latest of a payment's requests."""
        return list(self.known[name].requests.values())[-1]

    async def approved(self, name: str, *, request: Request | None = None) -> None:
        asked = request or self.request(name)
        said = {"reference": f"ref-{asked.id[:6]}", "amount": asked.amount, "currency": "EUR", "code": "00"}
        await self.step(RecordApproval, name, request_id=asked.id, **said, settles_on="2026-02-02")

    async def declined(self, name: str, retry: str = "elsewhere", *, request: Request | None = None) -> None:
        said = {"code": "51", "reason": "insufficient_funds", "message": "Not enough", "retry": retry}
        await self.step(RecordDecline, name, request_id=(request or self.request(name)).id, **said)

    async def silent(self, name: str) -> None:
        await self.step(RecordSilence, name, request_id=self.request(name).id, why="no answer within 30 s")

    async def settled(self, *lines: tuple[Any, ...], day: int = 2, rail: str = "card", part: int = 1) -> None:
        """A rail's report: lines of what is said, the payment's name, which of its requests, and anything else.

        The request of a payment nobody knows is named by itself.
        """
        given: list[dict[str, Any]] = []
        for said, name, request, *more in lines:
            line: dict[str, Any] = {"said": said, **(more[0] if more else {})}
            if name in self.known:
                one = request if isinstance(request, Request) else list(self.known[name].requests.values())[request]
                of_it = {"request_id": one.id, "operation": one.operation.value, "amount": one.amount}
                line = {"payment_id": self.known[name].id, **of_it, **line}
            else:
                line = {"request_id": request, "operation": "collect", "amount": 70, **line}
            given.append(line)
        whole = {"book": "main", "rail": rail, "route": "north", "day": f"2026-02-{day:02}", "part": part}
        command = {**whole, "currency": "EUR", "reference": f"report-{day}", "lines": given}
        outcome = await self._desk.submit(asked(RecordSettlement.model_validate(command)))
        assert outcome.refusal is None, outcome
        for recorded in outcome.recorded:
            for name, known in self.known.items():
                if known.id == recorded.stream_id:
                    self.known[name] = payment_rules.evolve(known, recorded.event, recorded.recorded_at)

    def dispute(self, name: str, nth: int = 0) -> UUID:
        return list(self.known[name].disputes)[nth]

    async def accepted(self, name: str, **action: str) -> None:
        said = {"reference": "acc-1", "code": "AC01", "action": action}
        await self.step(RecordAcceptance, name, request_id=self.request(name).id, **said)


async def write_payments(store: EventStore) -> dict[str, Payment]:
    """Upon what `write_everything` wrote: payments at every stage of their lives, as they then are, by name."""
    in_memory = isinstance(store, MemoryEventStore)
    async with started(store, intent_life=timedelta(days=30)) as desk:
        till = Till(desk)
        for code in ("merchant", "frozen", "shut"):
            await desk.submit(asked(open_account(code, "liability")))
        began = datetime.now(UTC)
        await _write_beginnings(till)
        await _write_cards(till)
        await _write_others(till)
        await _write_aftermath(till)
        await _write_validated(till)
        now = store.seals[-1].recorded_at if isinstance(store, MemoryEventStore) else datetime.now(UTC)
        # What is left to be done before is a small part of what has been done, on a busy machine as well.
        soon = now + (timedelta(seconds=12) if in_memory else max((now - began) / 4, timedelta(seconds=0.5)))
        await till.create("expired", method="card", confirm=False, expires_at=soon)
        await till.create("expired once voided", method="card", capture="manual", expires_at=soon)
        await till.start("expired once voided")
        await till.approved("expired once voided")
        for number in range(10 if in_memory else 0):  # The clock in memory goes on with each look at it.
            await till.create(f"another {number}", 5)
        await asyncio.sleep(0 if in_memory else (soon - datetime.now(UTC)).total_seconds() + 0.1)
        await till.step(ExpirePayment, "expired")
        await till.step(ExpirePayment, "expired once voided")
        await till.approved("expired once voided")
    return till.known


async def _write_beginnings(till: Till) -> None:
    await till.create("created", 700, reference="order-1", metadata={"till": "2"}, description="Shoes")
    await till.create("with a method", method="card", confirm=False)
    await till.create("to be approved", method="card", approvals=2, descriptor="SHOES")
    await till.step(ApprovePayment, "to be approved", approver="bob")
    await till.create("approved", method="card", approvals=2)
    await till.step(ApprovePayment, "approved", approver="bob")
    await till.step(ApprovePayment, "approved", approver="eve")
    await till.create("canceled", method="card", confirm=False)
    await till.step(CancelPayment, "canceled", reason="expired")
    await till.create("given up", method="card")
    await till.start("given up")
    await till.declined("given up", "later")
    await till.step(GiveUpPayment, "given up", reason="enough")
    await till.create("tried again", 900, "card")
    await till.start("tried again")
    await till.declined("tried again", "never")
    await till.step(RetryPayment, "tried again")
    await till.start("tried again")
    await till.declined("tried again", "later")
    await till.step(RetryPayment, "tried again")


async def _write_cards(till: Till) -> None:
    for name in ("authorized", "captured in part", "captured twice", "ended in part", "void of a part", "voided"):
        await till.create(name, 1_000, "card", capture="manual", reference=f"order-{name}")
        await till.start(name)
        await till.approved(name)
    await till.step(CapturePayment, "captured in part", amount=400)
    await till.approved("captured in part")
    await till.step(IncreaseAuthorization, "captured in part", amount=250)
    await till.approved("captured in part")
    for amount in (400, 600):
        await till.step(CapturePayment, "captured twice", amount=amount)
        await till.approved("captured twice")
    await till.step(CapturePayment, "ended in part", amount=300, final=True)
    await till.approved("ended in part")
    await till.step(CapturePayment, "void of a part", amount=100)
    await till.approved("void of a part")
    await till.step(CancelPayment, "void of a part", reason="no more")
    await till.approved("void of a part")
    await till.step(CancelPayment, "voided", reason="expired")
    await till.declined("voided", "later")
    await till.step(CancelPayment, "voided", reason="expired")
    await till.approved("voided")
    await till.create("at the second attempt", 800, "card", approvals=1)
    await till.step(ApprovePayment, "at the second attempt", approver="bob")
    await till.start("at the second attempt")
    await till.declined("at the second attempt")
    await till.start("at the second attempt", "south")
    await till.silent("at the second attempt")
    await till.declined("at the second attempt", "never")
    await till.step(AttachMethod, "at the second attempt", method=UPI)
    await till.step(ConfirmPayment, "at the second attempt")
    await till.step(ApprovePayment, "at the second attempt", approver="bob")
    await till.start("at the second attempt", "upi")
    await till.approved("at the second attempt")
    await till.step(RefundPayment, "at the second attempt", amount=30)
    await till.approved("at the second attempt")
    await till.create("on suspense", 500, "card", account="frozen", capture="manual")
    await till.start("on suspense")
    await till.approved("on suspense")
    await till.do(freeze("frozen"))
    await till.step(CapturePayment, "on suspense")
    await till.approved("on suspense")
    await till.create("succeeded", 900, "card")
    await till.start("succeeded")
    await till.approved("succeeded")
    await till.approved("succeeded")


async def _write_validated(till: Till) -> None:
    """By a policy of the book: by two of three, denied by a limit, denied and then paid with another method."""
    await till.do(SetPaymentPolicy(book="main"))
    policy = {
        "approvals": [{"currency": "EUR", "above": 5_000, "approvals": 2, "approvers": ["ann", "bob", "cy"]}],
        "limits": [
            {"currency": "EUR", "direction": "out", "amount_max": 4_000},
            {"currency": "EUR", "method": "bank_account", "amount_max": 1_000},
        ],
        "rule": {"mode": "at_least", "count": 5, "required": ["limits"]},
    }
    await till.do(SetPaymentPolicy.model_validate({"book": "main", **policy}))
    await till.create("by two of three", 6_000, "card", capture="manual")
    for approver in ("ann", "cy"):
        await till.step(ApprovePayment, "by two of three", approver=approver)
    await till.start("by two of three")
    await till.approved("by two of three")
    await till.create("to be approved by one more", 6_000, "card")
    await till.step(ApprovePayment, "to be approved by one more", approver="bob")
    await till.create("denied", 4_500, "iban", direction="out")
    await till.start("denied", "wire")
    await till.create("denied, then paid", 1_500, "bank")
    await till.start("denied, then paid", "ach")
    await till.step(AttachMethod, "denied, then paid", method=UPI)
    await till.step(ConfirmPayment, "denied, then paid")
    await till.start("denied, then paid", "upi")
    await till.approved("denied, then paid")


async def _write_others(till: Till) -> None:
    for name in ("requested", "unknown", "accepted", "contradicted"):
        await till.create(name, 300, "bank")
        await till.start(name)
    await till.silent("unknown")
    await till.accepted("accepted")
    for name in ("to be opened", "opened", "left unopened"):
        await till.create(name, 300, "upi")
        await till.start(name, "upi")
        await till.accepted(
            name, type="upi_link", link=f"upi://pay?tn={name}", expires_at="2026-01-01T12:00:00.000000Z"
        )
    await till.approved("opened")
    await till.declined("left unopened", "never")
    await till.approved("contradicted")
    await till.declined("contradicted")
    await till.create("refunded", 600, "upi")
    await till.start("refunded")
    await till.approved("refunded")
    for amount in (100, 150):
        await till.step(RefundPayment, "refunded", amount=amount, reason="too small")
    first, second = list(till.known["refunded"].requests.values())[1:]
    await till.declined("refunded", "never", request=first)
    await till.approved("refunded", request=second)
    await till.step(RefundPayment, "refunded", amount=50)
    for name in ("paid out", "bounced", "being paid out"):
        await till.create(name, 200, "iban", direction="out")
        await till.start(name, "wire")
    await till.approved("paid out")
    await till.declined("bounced", "never")


async def _write_aftermath(till: Till) -> None:
    """What happens once they are done: settled, returned, reversed, disputed, or found out about by somebody."""
    for name in (
        "settled",
        "card reversed",
        "disputed",
        "contested",
        "won",
        "lost",
        "dispute accepted",
        "lost at once",
    ):
        await till.create(name, 400, "card")
        await till.start(name)
        await till.approved(name)
        await till.approved(name)
    for name in ("returned", "returned on suspense", "ach reversed", "resolved", "resolved as failed"):
        await till.create(name, 250, "bank", **({"account": "shut"} if "suspense" in name else {}))
        await till.start(name)
    for name in ("returned", "returned on suspense", "ach reversed"):
        await till.approved(name)
    await till.silent("resolved")
    await till.accepted("resolved as failed")
    for name, outcome in (("resolved", "done"), ("resolved as failed", "failed")):
        of_it = {"request_id": till.request(name).id, "outcome": outcome, "reason": "Their help desk says so"}
        await till.step(ResolveOutcome, name, **of_it)
    for name in ("payout returned", "payout reversed"):
        await till.create(name, 120, "iban", direction="out")
        await till.start(name, "wire")
        await till.approved(name)
    await till.create("refund returned", 300, "upi")
    await till.start("refund returned")
    await till.approved("refund returned")
    await till.step(RefundPayment, "refund returned", amount=80)
    await till.approved("refund returned")
    await till.do(freeze("shut"))
    for name in ("card reversed", "ach reversed", "payout reversed"):
        await till.step(ReversePayment, name, reason="twice")
        await till.approved(name)
    await till.settled(
        ("settled", "settled", 1, {"fee": 9}),
        ("settled", "card reversed", 1, {"fee": 8}),
        *(("settled", name, 1) for name in ("disputed", "contested", "won", "lost", "dispute accepted")),
        ("settled", "nobody's", "no such request", {"reference": "x-1", "fee": 1}),
    )
    of_disputes: dict[str, Any] = {"code": "10.4", "reason": "fraud", "message": "Not me", "fee": 15}
    by = {"respond_by": "2999-02-20T00:00:00Z"}
    await till.settled(
        ("settled", "card reversed", 2, {"fee": -8}),
        ("settled", "settled", 1, {"reference": "again"}),
        *(
            ("disputed", name, 1, {"amount": 150, "reference": f"case-{name}", **of_disputes, **by})
            for name in ("disputed", "contested", "won", "lost", "dispute accepted")
        ),
        ("disputed", "lost at once", 1, {"reference": "case-at-once"}),
        day=9,
    )
    for name in ("contested", "won", "lost"):
        evidence = {"receipt": "Paid\nin person", "delivered": "2026-02-01"}
        await till.step(ContestDispute, name, dispute_id=till.dispute(name), evidence=evidence)
    await till.approved("contested")
    await till.approved("won")
    await till.declined("lost", "never")
    await till.step(AcceptDispute, "dispute accepted", dispute_id=till.dispute("dispute accepted"))
    await till.settled(
        ("dispute_won", "won", 1, {"amount": 150, "reference": "case-won", "fee": -15}),
        ("dispute_lost", "lost", 1, {"amount": 150, "reference": "case-lost"}),
        ("dispute_lost", "lost at once", 1, {"reference": "case-at-once"}),
        ("dispute_won", "settled", 1, {"reference": "never disputed"}),
        day=20,
    )
    await till.settled(
        *(("settled", name, 0) for name in ("returned", "ach reversed", "resolved")),
        ("settled", "ach reversed", 1),
        ("settled", "accepted", 0),
        rail="ach",
    )
    came_back = {"code": "R10", "reason": "unauthorized", "message": "Not authorized", "reference": "ret-1"}
    await till.settled(
        *(("returned", name, 0, came_back) for name in ("returned", "returned on suspense")),
        ("returned", "returned", 0, came_back),
        day=4,
        rail="ach",
    )
    await till.settled(
        *(("settled", name, 0) for name in ("payout returned", "payout reversed")),
        ("returned", "payout returned", 0, {"amount": 20, "reference": "pacs-1"}),
        ("settled", "payout reversed", 1),
        rail="wire",
    )
    await till.settled(
        ("settled", "refund returned", 0, {"fee": 2}),
        ("settled", "refund returned", 1, {"fee": 2}),
        ("returned", "refund returned", 1, {"reference": "u-1"}),
        rail="upi",
        part=2,
    )
