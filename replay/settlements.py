"""Whether what was recorded of a rail's report adds up: to its entry, to the events of its payments, and to its breaks.

Written apart from `domain.settlement`, which wrote what is checked here.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Final
from uuid import UUID, uuid5

from domain import ids
from domain.events import (
    AccountOpened,
    EntryPosted,
    PaymentDisputeClosed,
    PaymentDisputed,
    PaymentReturned,
    PaymentSettled,
    Recorded,
    SettlementRecorded,
)
from replay.holds import Contradicts
from replay.payments import OWN, PaymentThen

Told = PaymentSettled | PaymentReturned | PaymentDisputed | PaymentDisputeClosed

_SAYING: Final = {PaymentSettled: "settled", PaymentReturned: "returned", PaymentDisputed: "disputed"}


class Settlements:
    """One settlement at a time: what belongs to it comes right after it, in the same commit.

    Args:
        payments: As they are once the event that is taken was applied to them.
    """

    def __init__(self, contradicts: Contradicts, payments: Mapping[UUID, PaymentThen]) -> None:
        self._contradicts = contradicts
        self._payments = payments
        self._now: Recorded | None = None
        """The one whose events are still coming."""
        self._entry: UUID | None = None
        """The entry of it that is still to come."""
        self._lines: Counter[str] = Counter()
        self._incoming = self._outgoing = self._fees = 0

    @property
    def waits(self) -> bool:
        """Whether the next event matters, of whatever kind it is."""
        return self._now is not None

    def take(self, recorded: Recorded) -> None:
        """One more event, of whatever kind, after the payments have taken it."""
        event = recorded.event
        if self._now is not None and not self._belongs(self._now, recorded):
            self._close(self._now)
        if isinstance(event, SettlementRecorded):
            self._open(recorded, event)
        elif isinstance(event, Told) and event.settlement_id is not None:
            self._add(recorded, event)

    def finish(self) -> None:
        """No more events."""
        if self._now is not None:
            self._close(self._now)

    def _belongs(self, settlement: Recorded, recorded: Recorded) -> bool:
        """Or may, as far as its kind and commit go: the entries are of the settlement, or of what its payments do."""
        event = recorded.event
        if recorded.recorded_at != settlement.recorded_at or recorded.metadata != settlement.metadata:
            return False
        if isinstance(event, AccountOpened):
            return event.code.startswith(OWN)
        if isinstance(event, EntryPosted):
            if recorded.stream_id == self._entry:
                self._look_at_entry(settlement, recorded, event)
                self._entry = None
            return True
        return isinstance(event, Told) and event.settlement_id == settlement.stream_id

    def _open(self, recorded: Recorded, event: SettlementRecorded) -> None:
        part = f"{event.rail}:{event.route}:{event.day.isoformat()}:{event.currency}:{event.part}"
        name = uuid5(event.book_id, f"settlement:{part}")
        if recorded.stream_id != name or recorded.version != 1:
            self._contradicts(recorded, f"settlement {ids.show(ids.SETTLEMENT, name)}, once", "another id, or again")
        broken = sum(one.moved for one in event.breaks)
        if any(one.moved not in (one.amount, -one.amount, 0) or one.amount < 1 for one in event.breaks):
            self._contradicts(recorded, "breaks of which all moved or nothing", "otherwise")
        net = event.incoming - event.outgoing + broken - event.fees
        if event.net != net:
            self._contradicts(recorded, f"{net} paid in the end", str(event.net))
        entry_id = uuid5(recorded.stream_id, "entry") if _postings(event) else None
        if event.entry_id != entry_id:
            shown = ids.show(ids.ENTRY, entry_id) if entry_id is not None else "no entry"
            self._contradicts(recorded, shown, str(event.entry_id))
        self._now, self._entry = recorded, entry_id
        self._lines, self._incoming, self._outgoing = Counter(), 0, 0
        self._fees = sum(one.fee for one in event.breaks)

    def _look_at_entry(self, settlement: Recorded, recorded: Recorded, entry: EntryPosted) -> None:
        event = settlement.event
        assert isinstance(event, SettlementRecorded), event
        posted: Counter[tuple[UUID, str]] = Counter()
        for posting in entry.postings:
            posted[posting.account_id, posting.side.value] += posting.amount
        day_and_book = (entry.value_date, entry.book_id) == (event.day, event.book_id)
        if posted != _postings(event) or not day_and_book or entry.captures or entry.reverses:
            self._contradicts(recorded, "what the settlement says has moved, on its day", "other postings")

    def _add(self, recorded: Recorded, event: Told) -> None:
        settlement, payment = self._now, self._payments.get(recorded.stream_id)
        if settlement is None or payment is None:
            if settlement is None:
                self._contradicts(recorded, "the settlement that it names just before it", "none")
            return
        of = settlement.event
        assert isinstance(of, SettlementRecorded), of
        request = payment.requests.get(event.request_id)
        found = (payment.intent.book_id, payment.intent.currency, request.rail if request is not None else None)
        if found != (of.book_id, of.currency, of.rail) or (isinstance(event, PaymentSettled) and event.day != of.day):
            self._contradicts(recorded, f"{of.currency} by {of.rail} on {of.day}, in the same book", "otherwise")
        moved = event.amount if _came_in(payment, event) else -event.amount
        said = _SAYING.get(type(event), "")
        if isinstance(event, PaymentDisputeClosed):
            said, moved = f"dispute_{event.outcome}", moved if event.outcome == "won" else 0
        self._lines[said] += 1
        self._incoming += max(moved, 0)
        self._outgoing += max(-moved, 0)
        self._fees += event.fee

    def _close(self, settlement: Recorded) -> None:
        self._now = None
        event = settlement.event
        assert isinstance(event, SettlementRecorded), event
        found = (dict(self._lines), self._incoming, self._outgoing, self._fees)
        if found != (event.lines, event.incoming, event.outgoing, event.fees):
            self._contradicts(
                settlement, f"lines, sums and fees {found}, as its payments and breaks have them", "others"
            )
        if self._entry is not None:
            self._contradicts(settlement, "its entry right after it", "none")


def _came_in(payment: PaymentThen, event: Told) -> bool:
    match event:
        case PaymentDisputed():
            return False
        case PaymentDisputeClosed():
            return True
        case PaymentSettled():
            return _is_inwards(payment, event.request_id)
        case PaymentReturned():
            return not _is_inwards(payment, event.request_id)


def _is_inwards(payment: PaymentThen, request_id: str) -> bool:
    request = payment.requests.get(request_id)
    if request is not None and request.operation == "reverse":
        return not _is_inwards(payment, request.upon)
    return request is not None and request.operation in ("capture", "collect")


def _postings(event: SettlementRecorded) -> Counter[tuple[UUID, str]]:
    """By account and side, what its entry must come to."""
    into = sum(one.moved for one in event.breaks if one.moved > 0)
    out_of = -sum(one.moved for one in event.breaks if one.moved < 0)
    ends = (
        (f"settlement:{event.rail}", "debit", event.net),
        (f"fees:{event.rail}", "debit", event.fees),
        (f"clearing:{event.rail}", "debit", event.outgoing),
        (f"clearing:{event.rail}", "credit", event.incoming),
        ("suspense", "debit", out_of),
        ("suspense", "credit", into),
    )
    sums: Counter[tuple[UUID, str]] = Counter()
    for code, side, amount in ends:
        account = ids.account_id(event.book_id, f"{code}:{event.currency}")
        if amount:
            other = "credit" if side == "debit" else "debit"
            sums[account, side if amount > 0 else other] += abs(amount)
    return sums
