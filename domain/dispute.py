"""A dispute: the payer says that something taken should not have been, and the rail has taken it back until that ends.

It can be contested with evidence, or accepted; which of them comes first counts. How it ends the rail alone says.
"""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Final
from uuid import UUID

from msgspec import Struct

from domain.events import PaymentDisputed


class State(StrEnum):
    NEEDS_RESPONSE = "needs_response"
    UNDER_REVIEW = "under_review"
    WON = "won"
    LOST = "lost"
    ACCEPTED = "accepted"


CLOSED: Final = frozenset({State.WON, State.LOST})
"""The rail has said how it ended. One that was accepted it may still close, either way."""


class Dispute(Struct, frozen=True, kw_only=True):
    """`amount`, in minor units, is what the rail has taken back of the request `request_id`."""

    id: UUID
    request_id: str
    amount: int
    reference: str
    respond_by: datetime | None
    state: State = State.NEEDS_RESPONSE


def opened(event: PaymentDisputed) -> Dispute:
    return Dispute(
        id=event.dispute_id,
        request_id=event.request_id,
        amount=event.amount,
        reference=event.reference,
        respond_by=event.respond_by,
    )


def of_request(disputes: Mapping[UUID, Dispute], request_id: str) -> int:
    """What disputes have taken back of a request, and was not given back."""
    of_it = (one for one in disputes.values() if one.request_id == request_id)
    return sum(one.amount for one in of_it if one.state is not State.WON)
