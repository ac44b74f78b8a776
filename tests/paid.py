"""Payments at every stage of their lives, put to a desk as clients and Daybook itself do, for whoever reads them."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from adapters.memory.store import MemoryEventStore
from commands.command import Command
from commands.desk import Desk, Outcome
from commands.payment import (
    ApprovePayment,
    AttachMethod,
    CancelPayment,
    CapturePayment,
    ConfirmPayment,
    CreatePayment,
    ExpirePayment,
    GiveUpPayment,
    IncreaseAuthorization,
    RecordAcceptance,
    RecordApproval,
    RecordDecline,
    RecordSilence,
    RefundPayment,
    RetryPayment,
    StartAttempt,
)
from domain.payment import Payment, Request
from domain.ports import EventStore
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
        await self.step(StartAttempt, name, route=route, decision={"chosen": route, "reasons": ["cheapest"]} | decision)

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

    async def accepted(self, name: str) -> None:
        await self.step(RecordAcceptance, name, request_id=self.request(name).id, reference="acc-1", code="AC01")


async def write_payments(store: EventStore) -> dict[str, Payment]:
    """Upon what `write_everything` wrote: payments at every stage of their lives, as they then are, by name."""
    in_memory = isinstance(store, MemoryEventStore)
    async with started(store, intent_life=timedelta(days=30)) as desk:
        till = Till(desk)
        for code in ("merchant", "frozen"):
            await desk.submit(asked(open_account(code, "liability")))
        await _write_beginnings(till)
        await _write_cards(till)
        await _write_others(till)
        now = store.seals[-1].recorded_at if isinstance(store, MemoryEventStore) else datetime.now(UTC)
        soon = now + timedelta(seconds=12 if in_memory else 0.5)
        await till.create("expired", method="card", confirm=False, expires_at=soon)
        await till.create("expired once voided", method="card", capture="manual", expires_at=soon)
        await till.start("expired once voided")
        await till.approved("expired once voided")
        for number in range(10 if in_memory else 0):  # The clock in memory goes on with each look at it.
            await till.create(f"another {number}", 5)
        await asyncio.sleep(0 if in_memory else 0.6)
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


async def _write_others(till: Till) -> None:
    for name in ("requested", "unknown", "accepted", "contradicted"):
        await till.create(name, 300, "bank")
        await till.start(name)
    await till.silent("unknown")
    await till.accepted("accepted")
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
