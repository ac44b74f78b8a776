"""What tests of payments share: methods of all four rails, and the commands upon payments in few words."""

from typing import Any, Final
from uuid import UUID, uuid5

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
from domain import ids
from domain.validation import OUTSIDE

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
