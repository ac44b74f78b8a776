"""What tests of payments share: methods of all four rails, and the commands upon payments in few words."""

from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID, uuid5

from commands.command import Command
from commands.payment import (
    BankAccountAsked,
    CardAsked,
    CreatePayment,
    IbanAsked,
    MethodAsked,
    RecordAcceptance,
    RecordAnswer,
    RecordApproval,
    RecordDecline,
    RecordSilence,
    UpiAsked,
    VoteHeard,
)
from commands.settlement import LineAsked, RecordSettlement
from domain import ids
from domain.rail import Rail
from domain.validation import OUTSIDE
from tests.support import NOW

METHODS: Final[dict[str, MethodAsked]] = {
    "card": CardAsked(type="card", token="tok_visa", brand="visa", last4="4242", expires="2030-12"),
    "ach": BankAccountAsked(
        type="bank_account", routing_number="021000021", account_number="123456789", holder="A. Payer"
    ),
    "wire": IbanAsked(type="iban", iban="DE89370400440532013000", bic="COBADEFFXXX", holder="A. Payee", country="DE"),
    "upi": UpiAsked(type="upi", vpa="payer@okbank"),
}
"""By their rails."""

HEARD: Final = tuple(
    VoteHeard(validator=name, verdict="allow", reason="not_looked_at", placeholder=True) for name in OUTSIDE
)
"""What is heard of validators outside, as long as they are placeholders."""


def create(account: str = "shop", amount: int = 100, rail: str | None = "card", **said: Any) -> CreatePayment:
    """An intent in EUR, with a method of that rail unless it is None."""
    fields = {"book": "main", "currency": "EUR", "method": METHODS[rail] if rail else None, **said}
    return CreatePayment(account=account, amount=amount, **fields)


def request_id(payment_id: UUID, nth: int) -> str:
    """Of a payment's nth request, from 1."""
    return ids.request_id(uuid5(payment_id, f"request:{nth}"))


SAID: Final = {
    "settled": "settled",
    "returned": "returned",
    "disputed": "disputed",
    "won": "dispute_won",
    "lost": "dispute_lost",
}
"""What a report says of a request, in short."""


def report(
    *told: tuple[Any, ...],
    rail: str = "",
    part: int = 1,
    respond_by: datetime = NOW + timedelta(hours=1),
    **said: Any,
) -> Command:
    """Of each line a payment, what is said, of which of its requests, what amount unless all, under which reference.

    The payment's own rail reports it unless another does.
    """
    lines = []
    for known, word, nth, *rest in told:
        request = known.requests[request_id(known.id, int(nth))]
        rail = rail or request.rail.value
        amount = int(rest[0]) if rest and rest[0] else request.amount
        line = {"payment_id": known.id, "request_id": request.id, "operation": request.operation.value}
        of_it = {"reference": rest[1] if len(rest) > 1 else "case", "amount": amount}
        by = {"respond_by": respond_by} if word == "disputed" else {}
        lines.append(LineAsked.model_validate({"said": SAID[word], **line, **of_it, **by}))
    fields = {"book": "main", "rail": Rail(rail), "route": "first", "day": NOW.date(), "currency": "EUR", **said}
    return RecordSettlement(**fields, part=part, lines=tuple(lines))


def says(
    payment_id: UUID, request: str, answer: str, amount: int = 0, currency: str = "EUR", reference: str = "ref"
) -> RecordAnswer:
    """What a rail says: `approved` with an amount, `never`, `later` or `elsewhere` for a no, `accepted`, `silence`."""
    of: dict[str, Any] = {"payment_id": payment_id, "request_id": request}
    match answer:
        case "approved":
            return RecordApproval(**of, reference=reference, amount=amount, currency=currency, code="00")
        case "accepted":
            return RecordAcceptance(**of, reference=reference, code="09")
        case "link":
            return RecordAcceptance(
                **of, reference=reference, code="01", action={"type": "upi_link", "link": "upi://pay?"}
            )
        case "silence":
            return RecordSilence(**of, why="no answer in time")
    return RecordDecline(**{**of, "retry": answer}, code="51", reason="insufficient_funds", message="No.")
