"""Verification of payments: whatever a desk may write, it holds, and is derived again as the domain has it."""

from uuid import UUID

import pytest

from domain import payment
from domain.events import recorded
from replay.derived import Derived
from replay.payments import PaymentThen
from replay.report import Findings, Tally
from replay.verify import verify
from tests.property import test_payments
from tests.property.test_payments import Payments
from tests.stored import MemoryStored


@pytest.mark.parametrize("seed", range(1_000, 1_000 + test_payments.WALKS // 3))
def test_nothing_a_desk_writes_contradicts(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Walks by dice, in which everything goes wrong that can: no event contradicts the ones before, and each payment, also
    one that was let go and read again, comes to what the domain says of it.
    """
    monkeypatch.setattr(Payments, "everything_holds", derived_again)

    test_payments.test_walks(seed)


def derived_again(walk: Payments) -> None:
    """Verified, and held against the domain."""
    stored = MemoryStored(walk.store)
    assert verify(stored).findings == ()
    derived = Derived(Tally("events", Findings()), stored.stream)
    found: dict[UUID, PaymentThen] = {}
    for raw in stored.events():
        derived.apply(recorded(raw))
        if derived.over is not None:
            found[derived.over.id] = derived.over
    found |= derived.payments
    for known in walk.model.payments:
        folded = payment.fold(known["id"], map(recorded, stored.stream(known["id"])))
        then = found[known["id"]]
        assert folded is not None
        assert (then.status, then.approvers) == (folded.status.value, set(folded.approvers))
        sums = ("authorized", "captured", "refunded", "reversed", "returned", "disputed")
        for name in ("version", "maker", *sums):
            assert getattr(then, name) == getattr(folded, name)
        assert then.is_over == (folded.status in payment.ENDED and not folded.open)
        told = (
            *("id", "operation", "rail", "route", "amount", "state", "upon", "final", "reason", "declined", "retry"),
            *("reference", "contradicted", "hold_id", "entry_id", "taken_back", "requested_at"),
            *("settlement_id", "settled_on", "returned", "returns", "fee", "dispute_id"),
        )
        for ours, theirs in zip(then.requests.values(), folded.requests.values(), strict=True):
            assert {field: getattr(ours, field) for field in told} == {field: getattr(theirs, field) for field in told}
        assert [(one.id, one.state, one.opened.amount) for one in then.disputes.values()] == [
            (one.id, one.state, one.amount) for one in folded.disputes.values()
        ]
