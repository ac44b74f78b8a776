"""Escrows at every stage of their lives, put to a desk as clients and Daybook itself do, for whoever reads them."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from adapters.memory.store import MemoryEventStore
from commands.command import Command
from commands.desk import Desk, Outcome
from commands.escrow import ApproveRelease, ExpireEscrow, FundEscrow, MeetCondition, ReleaseEscrow, ReturnEscrow
from domain import ids
from domain.escrow import Escrow
from domain.ports import EventStore
from tests.stored import ids_of
from tests.support import asked, close, freeze, open_account, started, unfreeze

LATER = datetime(2999, 1, 1, tzinfo=UTC)
BY: list[dict[str, Any]] = [{"name": "delivered", "by": ["courier", "tester"]}, {"name": "intact"}]
GOODS: dict[str, Any] = {"name": "goods", "amount": 70, "release": {"conditions": ["delivered", "intact"]}}
WORK: dict[str, Any] = {
    "name": "work",
    "amount": 30,
    "release": {"conditions": ["delivered"], "approvals": 2, "approvers": ["bob", "eve", "tester"]},
}
SELLER: dict[str, Any] = {"approvals": 1, "approvers": ["seller"]}


def fund(**said: Any) -> FundEscrow:
    """70 for goods that are delivered and intact, 30 for work that two of three approve; `tester` funds it."""
    fields: dict[str, Any] = {
        "book": "main",
        "depositor": "buyer",
        "beneficiary": "seller",
        "amount": sum(part["amount"] for part in said.get("parts", (GOODS, WORK))),
        "currency": "EUR",
        "expires_at": LATER,
        "conditions": BY,
        "parts": [GOODS, WORK],
    }
    return FundEscrow.model_validate({**fields, **said})


def meet(escrow: UUID, condition: str, attester: str = "courier", **said: Any) -> MeetCondition:
    return MeetCondition(escrow_id=escrow, condition=condition, attester=attester, **said)


def approve(escrow: UUID, approver: str = "bob", part: str = "work") -> ApproveRelease:
    return ApproveRelease(escrow_id=escrow, approver=approver, part=part)


def give_back(escrow: UUID, approver: str = "seller", **said: Any) -> ReturnEscrow:
    return ReturnEscrow(escrow_id=escrow, approver=approver, **said)


def said_by(command: Command, actor: str = "tester") -> str:
    """Who asks: whoever attests or approves."""
    return str(getattr(command, "attester", None) or getattr(command, "approver", None) or actor)


class Notary:
    """Escrows by name; each step is a commit of its own."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self.known: dict[str, Escrow] = {}

    async def do(self, command: Command) -> Outcome:
        outcome = await self._desk.submit(asked(command, actor=said_by(command)))
        assert outcome.refusal is None, outcome
        if outcome.escrow is not None:
            name = next(name for name, one in self.known.items() if one.id == outcome.escrow.id)
            self.known[name] = outcome.escrow
        return outcome

    async def fund(self, name: str, **said: Any) -> UUID:
        outcome = await self._desk.submit(asked(fund(**said)))
        assert outcome.escrow is not None, outcome
        self.known[name] = outcome.escrow
        return ids_of(outcome)

    async def delivered(self, name: str) -> None:
        await self.do(meet(self.known[name].id, "delivered", evidence="Signed for"))

    async def intact(self, name: str, attester: str = "eve") -> None:
        await self.do(meet(self.known[name].id, "intact", attester))

    async def approved(self, name: str, *approvers: str) -> None:
        for approver in approvers:
            await self.do(approve(self.known[name].id, approver))

    async def given_back(self, name: str, approver: str = "seller", **said: Any) -> None:
        await self.do(give_back(self.known[name].id, approver, **said))


async def write_escrows(store: EventStore) -> dict[str, Escrow]:
    """Upon what `write_everything` wrote: escrows at every stage of their lives, as they then are, by name."""
    in_memory = isinstance(store, MemoryEventStore)
    async with started(store) as desk:
        notary = Notary(desk)
        for code in ("buyer", "seller", "leaver"):
            await desk.submit(asked(open_account(code, "liability")))
        began = datetime.now(UTC)
        await notary.fund("funded", description="A deal", reference="order-1", metadata={"shop": "3"})
        await _write_releases(notary)
        await _write_returns(notary)
        now = store.seals[-1].recorded_at if isinstance(store, MemoryEventStore) else datetime.now(UTC)
        # What is left to be done before is a fifth of what has been done, on a busy machine as well.
        soon = now + (timedelta(seconds=16) if in_memory else max(now - began, timedelta(seconds=0.7)))
        await notary.fund("expired", expires_at=soon)
        await notary.fund("expired forward", expires_at=soon, on_expiry="release", beneficiary="leaver")
        await notary.fund("expired when ready", expires_at=soon)
        await notary.delivered("expired when ready")
        await _while_frozen(notary, notary.intact("expired when ready"))
        await notary.do(close("leaver"))
        for number in range(12 if in_memory else 0):  # The clock in memory goes on with each look at it.
            await notary.fund(f"another {number}", conditions=[], parts=[{**WORK, "release": SELLER}])
        await asyncio.sleep(0 if in_memory else (soon - datetime.now(UTC)).total_seconds() + 0.1)
        for name in ("expired", "expired forward", "expired when ready"):
            await notary.do(ExpireEscrow(escrow_id=notary.known[name].id))
    return notary.known


async def _while_frozen(notary: Notary, step: Any) -> None:
    """While the beneficiary's account takes nothing."""
    await notary.do(freeze("seller"))
    await step
    await notary.do(unfreeze("seller"))


async def _write_releases(notary: Notary) -> None:
    await notary.fund("half approved")
    await notary.approved("half approved", "bob")
    await notary.fund("goods released")
    await notary.delivered("goods released")
    await notary.intact("goods released")
    await notary.fund("released")
    await notary.approved("released", "eve", "bob")
    await notary.delivered("released")
    await notary.intact("released")
    for name in ("ready", "ready and released in part", "released later"):
        await notary.fund(name)
        await notary.intact(name)
        await _while_frozen(notary, notary.delivered(name))
    part = ReleaseEscrow(escrow_id=notary.known["ready and released in part"].id, part="goods", amount=25)
    await notary.do(part)
    await notary.do(ReleaseEscrow(escrow_id=notary.known["released later"].id))


async def _write_returns(notary: Notary) -> None:
    await notary.fund("to be returned")
    await notary.given_back("to be returned", "bob", part="work", amount=10, reason="Half done")
    await notary.given_back("to be returned", "eve")
    await notary.fund("returned in part")
    for approver in ("bob", "eve"):
        await notary.given_back("returned in part", approver, part="work", amount=10)
    await notary.given_back("returned in part", "bob", part="work")
    await notary.fund("returned", return_terms=SELLER)
    await notary.given_back("returned", reason="Sold out")
    await notary.fund("divided", return_terms=SELLER)
    await notary.given_back("divided", part="goods", amount=5, reason="A scratch")
    await notary.delivered("divided")
    await notary.intact("divided")
    await notary.given_back("divided")


def balance_of(known: dict[str, Escrow]) -> int:
    """What is set apart in EUR."""
    return sum(one.held for one in known.values() if one.funded.currency == "EUR")


ESCROW_ACCOUNT = ids.account_id(ids.book_id("main"), "escrow:EUR")
