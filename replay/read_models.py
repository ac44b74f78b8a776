"""The read models, derived again from the events and held against their tables as of the position they have reached."""

import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from operator import itemgetter
from typing import Any, Final, Protocol
from uuid import UUID

import msgspec

from domain import ids
from domain.events import (
    AccountOpened,
    BatchPosted,
    BookOpened,
    BookPaymentPolicySet,
    CommandRefused,
    EntryPosted,
    EntryReversed,
    EscrowFunded,
    HoldCaptured,
    HoldExpired,
    HoldIncreased,
    HoldPlaced,
    HoldVoided,
    PaymentIntentCreated,
    Recorded,
    SettlementRecorded,
    decode,
)
from domain.policy import Policy
from domain.rail import BankAccount, Card, Iban, Method, UpiAddress
from replay.derived import Derived, Posted
from replay.escrows import EscrowThen, PartThen
from replay.holds import HoldThen
from replay.logged import Entry
from replay.matching import Matching
from replay.payments import DisputeThen, PaymentThen, RequestThen
from replay.report import NOWHERE, Findings, Tally, contrast
from replay.rows import INT4, INT8, NULL, Layout, jsonb, layout, text
from replay.stored import Stored

Row = tuple[Any, ...]

ACCOUNTS: Final = "accounts.v2"
JOURNAL: Final = "journal.v2"
HOLDS: Final = "holds.v1"
PAYMENTS: Final = "payments.v2"
SETTLEMENTS: Final = "settlements.v1"
ESCROWS: Final = "escrows.v1"
AUDIT_TRAIL: Final = "audit_trail.v1"
"""What keeps each read model, by the name its progress is kept under: another version may derive otherwise."""


DAYS_BLOCK: Final = 128
"""Postings of an account that are added up together, by value date."""

_BLOCK: Final = struct.Struct(">hi16sii")
_SUMS: Final = struct.Struct(">iqiq").pack


Events = Sequence[tuple[Entry | Recorded, Sequence[Posted]]]
"""In order, each with the postings it makes."""


class ReadModel(Protocol):
    """One read model under check: the events through `upto` are applied, then it is finished."""

    tally: Tally
    upto: int
    takes: bool
    """Whether it wants the events at all; to one that does not, what counts is the state in the end."""

    def take(self, events: Events) -> None:
        """More events, none past `upto`, and the postings they make."""

    def finish(self) -> None:
        """All events through `upto` were taken."""

    def stop_before(self, position: int) -> None:
        """The events from there on cannot be told; what was taken is still checked, if that is possible."""


class _Table:
    """A table as it must be once the events through `upto` are applied: compared whole, in no order."""

    name: str
    code: str
    columns: tuple[str, ...]
    takes = False

    def __init__(self, stored: Stored, derived: Derived, upto: int, findings: Findings) -> None:
        self.tally = Tally(self.name, findings)
        self.upto = upto
        self._stored = stored
        self._derived = derived

    def take(self, events: Events) -> None:
        """Nothing."""

    def finish(self) -> None:
        seen: set[Any] = set()
        for row in self._stored.read_model(self.name, self.columns):
            key = self.key(row)
            expected = None if key in seen else self.row(key)
            seen.add(key)
            if expected != row:
                self._differ(key, expected, row)
        for key in self.keys():
            if key not in seen:
                self._differ(key, self.row(key), None)
        self.tally.checked = len(self.keys())
        self.tally.through = self.upto

    def stop_before(self, position: int) -> None:
        self.tally.leave(f"the table is as of {self.upto}, and the log can be followed only to {position - 1}")

    def keys(self) -> Mapping[Any, Any]:
        raise NotImplementedError

    def key(self, row: Row) -> Any:
        return row[0]

    def row(self, key: Any) -> Row | None:
        raise NotImplementedError

    def _differ(self, key: Any, expected: Row | None, found: Row | None) -> None:
        row = expected or found
        assert row is not None
        position = row[self.columns.index("position")]
        self.tally.problem(self.code, position, f"{self.name} {key}", *contrast(self.columns, expected, found))


class _Books(_Table):
    name = "books"
    code = "books_differ"
    columns = ("book_id", "code", "title", "metadata", "opened_at", "position")

    def keys(self) -> Mapping[UUID, Any]:
        return self._derived.books

    def row(self, key: UUID) -> Row | None:
        book = self._derived.books.get(key)
        if book is None:
            return None
        return (key, book.code, book.title or None, book.metadata or None, book.opened_at, book.position)


class _PaymentPolicies(_Table):
    name = "payment_policies"
    code = "payment_policies_differ"
    columns = ("book_id", "version", "policy", "set_at", "set_by", "position")

    def keys(self) -> Mapping[tuple[UUID, int], Any]:
        return self._derived.policies

    def key(self, row: Row) -> tuple[UUID, int]:
        return row[0], row[1]

    def row(self, key: tuple[UUID, int]) -> Row | None:
        then = self._derived.policies.get(key)
        return None if then is None else (*key, _written_out(then.policy), then.set_at, then.set_by, then.position)


def _written_out(policy: Policy) -> dict[str, Any]:
    """With every field of what it lists, and of its rule what its mode goes by."""
    rule = policy.rule
    goes_by = {"all": (), "at_least": ("count",), "weighted": ("weights", "threshold")}[rule.mode]
    return {
        "approvals": [
            {
                **{name: getattr(tier, name) for name in ("currency", "direction", "above", "approvals")},
                "approvers": list(tier.approvers),
            }
            for tier in policy.approvals
        ],
        "limits": [
            {name: getattr(limit, name) for name in ("currency", "direction", "method", "amount_min", "amount_max")}
            for limit in policy.limits
        ],
        "rule": {
            "mode": rule.mode,
            **{name: getattr(rule, name) for name in goes_by},
            "required": list(rule.required),
        },
    }


class _Accounts(_Table):
    name = "accounts"
    code = "accounts_differ"
    columns = (
        *("account_id", "book_id", "code", "type", "currency", "title", "status"),
        *("opened_on", "opened_at", "metadata", "version", "opened_position", "position"),
    )

    def keys(self) -> Mapping[UUID, Any]:
        return self._derived.accounts

    def row(self, key: UUID) -> Row | None:
        account = self._derived.accounts.get(key)
        if account is None:
            return None
        return (
            *(key, account.book_id, account.code, account.type, account.currency, account.title or None),
            *(account.status, account.opened_on, account.opened_at, account.metadata or None, account.version),
            *(account.opened_position, account.position),
        )


class _Limits(_Table):
    name = "limits"
    code = "limits_differ"
    columns = ("account_id", "version", "effective_at", "overdraft_limit", "floor", "ceiling", "position")

    def keys(self) -> Mapping[tuple[UUID, int], Any]:
        return self._derived.limits

    def key(self, row: Row) -> tuple[UUID, int]:
        return row[0], row[1]

    def row(self, key: tuple[UUID, int]) -> Row | None:
        limits = self._derived.limits.get(key)
        if limits is None:
            return None
        amounts = (limits.overdraft_limit, limits.floor, limits.ceiling)
        return (*key, limits.effective_at, *amounts, limits.position)


class _Balances(_Table):
    name = "balances"
    code = "balances_differ"
    columns = ("account_id", "debits", "credits", "pending_debits", "pending_credits", "postings", "position")

    def keys(self) -> Mapping[UUID, Any]:
        return self._derived.totals

    def row(self, key: UUID) -> Row | None:
        totals = self._derived.totals.get(key)
        if totals is None:
            return None
        pending = (totals.pending_debits, totals.pending_credits)
        return (key, totals.debits, totals.credits, *pending, totals.number, totals.position)


class _Days(_Table):
    """Block by block of an account's postings, with a fingerprint of its rows: the rows are many."""

    name = "days"
    code = "days_differ"
    takes = True
    rows = layout("days", "account_id:uuid block:int4 value_date:date debits credits")

    def __init__(self, stored: Stored, derived: Derived, upto: int, findings: Findings) -> None:
        super().__init__(stored, derived, upto, findings)
        self._open: dict[bytes, dict[bytes, list[int]]] = {}
        """Of each account what the postings of its last block come to by value date."""
        self._full: dict[bytes, tuple[int, int, int]] = {}
        """Of each block the rows, their fingerprint and the position of its last posting."""

    def take(self, events: Events) -> None:
        opened = self._open
        for event, postings in events:
            for posted in postings:
                account, day = posted.totals.packed, posted.day
                days = opened.get(account)
                if days is None:
                    days = opened[account] = {}
                sums = days.get(day)
                if sums is None:
                    days[day] = [posted.debit, posted.credit]
                else:
                    sums[0] += posted.debit
                    sums[1] += posted.credit
                if not posted.number % DAYS_BLOCK:
                    self._fill(posted, days, event.position)

    def _fill(self, last: Posted, days: dict[bytes, list[int]], position: int) -> None:
        del self._open[last.totals.packed]
        block = _BLOCK.pack(5, 16, last.totals.account_id.bytes, 4, last.number // DAYS_BLOCK - 1)
        rows = [block + day + _SUMS(8, debits, 8, credits) for day, (debits, credits) in days.items()]
        self._full[block] = (len(rows), sum(map(hash, rows)), position)

    def finish(self) -> None:
        found: dict[bytes, tuple[int, int]] = {}
        for row in self._stored.read_model_rows(self.rows):
            block = row[: _BLOCK.size]
            count, fingerprint = found.get(block, (0, 0))
            found[block] = (count + 1, fingerprint + hash(row))
        for block, (count, fingerprint, position) in self._full.items():
            if found.pop(block, None) != (count, fingerprint):
                self._block_differs(block, position, f"{count} days of a full block")
        for block in found:
            self._block_differs(block, self.upto, "nothing: the block is not full")
        self.tally.checked = len(self._full)
        self.tally.through = self.upto

    def _block_differs(self, key: bytes, position: int, expected: str) -> None:
        _, _, account, _, block = _BLOCK.unpack(key)
        account_id = UUID(bytes=account)
        subject = f"block {block} of account {ids.show(ids.ACCOUNT, account_id)}"
        self.tally.problem(self.code, position, subject, expected, "other rows")


class _Streamed:
    """A table with a row for many an event: expected and found stream by, about in the order of the log."""

    code: str
    rows: Layout
    """By position first, which is how they are told apart."""
    order = "position"
    patient = False
    """Whether later rows may take the place of those expected before."""
    takes = True
    key = itemgetter(slice(6, 14))
    """The position, of a row that begins with it."""

    def __init__(self, stored: Stored, derived: Derived, upto: int, findings: Findings) -> None:
        self.tally = Tally(self.rows.table, findings)
        self.upto = upto
        self._stored = stored
        self._derived = derived
        self._stopped_at = NOWHERE
        self._matching: Matching[bytes, bytes] = Matching(self.found(), self.key, self._differ, patient=self.patient)

    def found(self) -> Iterator[bytes]:
        return self._stored.read_model_rows(self.rows, order=self.order)

    def take(self, events: Events) -> None:
        made = [
            self.plain(event, postings) if isinstance(event, Entry) else self.row(event) for event, postings in events
        ]
        rows = [row for row in made if row is not None]
        self._matching.expect(rows)
        self.tally.checked += len(rows)
        self.tally.through = events[-1][0].position

    def finish(self) -> None:
        self._matching.finish()

    def stop_before(self, position: int) -> None:
        self._stopped_at = position
        self.tally.leave(f"the log can be followed only to {position - 1}")
        self.finish()

    def plain(self, entry: Entry, rows: Sequence[Posted]) -> bytes | None:
        """The row that such an entry makes."""
        raise NotImplementedError

    def row(self, recorded: Recorded) -> bytes | None:
        """The row that any event makes."""
        raise NotImplementedError

    def _differ(self, at: bytes, expected: bytes | None, found: bytes | None) -> None:
        """The same value may be written in several ways, if it is JSON."""
        position = int.from_bytes(at[:8], "big", signed=True)
        values = [self.rows.unpack(row) if row is not None else None for row in (expected, found)]
        if position < self._stopped_at and values[0] != values[1]:
            words = contrast(self.rows.names, *values)
            self.tally.problem(self.code, position, f"{self.rows.table} at {position}", *words)


class _Holds(_Streamed):
    """Each as soon as it has ended, in that order; the ones that still live in the end."""

    code = "holds_differ"
    rows = layout(
        "holds",
        "position hold_id:uuid book_id:uuid account_id:uuid destination_id:uuid recorded_at:timestamptz status:text"
        " amount captured remaining currency:text expires_at:timestamptz actor:text description:text reference:text"
        " metadata:jsonb version:int4 changed",
    )
    order = "changed"

    def plain(self, entry: Entry, rows: Sequence[Posted]) -> None:
        """None: no hold ends with it."""

    def row(self, recorded: Recorded) -> bytes | None:
        ended = self._derived.ended
        return self._as_it_stands(*ended) if ended is not None else None

    def finish(self) -> None:
        for hold_id, hold in self._derived.holds.items():
            if self._derived.ended is None or hold_id != self._derived.ended[0]:
                self._matching.expect((self._as_it_stands(hold_id, hold),))
                self.tally.checked += 1
        super().finish()
        self.tally.through = self.upto

    def stop_before(self, position: int) -> None:
        self.tally.leave(f"the table is as of {self.upto}, and the log can be followed only to {position - 1}")

    def _as_it_stands(self, hold_id: UUID, hold: HoldThen) -> bytes:
        return self.rows.pack(
            (
                *(hold.position, hold_id, hold.book_id, hold.account_id, hold.destination_id, hold.recorded_at),
                *(hold.status, hold.amount, hold.captured, hold.remaining, hold.currency, hold.expires_at, hold.actor),
                *(hold.description or None, hold.reference or None, hold.metadata or None, hold.version, hold.changed),
            )
        )


class _OfPayments(_Streamed):
    """Rows of each payment as soon as it is over, in that order; of the others in the end.

    What is over may go on, as by a refund: then later rows take the place of those expected before.
    """

    code = "payments_differ"
    order = "changed"
    patient = True

    def plain(self, entry: Entry, rows: Sequence[Posted]) -> None:
        """None: no payment is over with it."""

    def row(self, recorded: Recorded) -> None:
        """None by itself: whether there are any, the payment that is over says."""
        if self._derived.over is not None:
            self._expect(self._derived.over)

    def finish(self) -> None:
        over = self._derived.over
        for payment in self._derived.payments.values():
            if over is None or payment.id != over.id:
                self._expect(payment)
        super().finish()
        self.tally.through = self.upto

    def stop_before(self, position: int) -> None:
        self.tally.leave(f"the table is as of {self.upto}, and the log can be followed only to {position - 1}")

    def _expect(self, payment: PaymentThen) -> None:
        for told, row in self.changed(payment):
            if told:
                self._matching.no_longer(INT8(told))
            else:
                self.tally.checked += 1
            self._matching.expect((row,))

    def changed(self, payment: PaymentThen) -> Iterable[tuple[int, bytes]]:
        """The rows that are not as when it was over before, each with where it was last changed by then."""
        raise NotImplementedError


class _Payments(_OfPayments):
    rows = layout(
        "payments",
        "changed position payment_id:uuid book_id:uuid account_id:uuid created_at:timestamptz status:text"
        " direction:text amount currency:text authorized captured refunded reversed returned disputed capture:text"
        " approvals:int4 approvers:jsonb approved:int4 validation:jsonb contradicted:bool rail:text route:text"
        " method:jsonb action:jsonb declined:text expires_at:timestamptz"
        " lapses_at:timestamptz maker:text description:text reference:text descriptor:text metadata:jsonb version:int4"
        " changed_at:timestamptz",
    )

    def changed(self, payment: PaymentThen) -> Iterable[tuple[int, bytes]]:
        intent = payment.intent
        action = payment.action if payment.status == "requires_action" else None
        row = self.rows.pack(
            (
                *(payment.changed, payment.position, payment.id, intent.book_id, intent.account_id, payment.created_at),
                *(payment.status, intent.direction, intent.amount, intent.currency, payment.authorized),
                *(payment.captured, payment.refunded, payment.reversed, payment.returned, payment.disputed),
                *(intent.capture, intent.approvals, list(intent.approvers) or None, len(payment.approvers)),
                *(payment.validation, payment.contradicted, payment.rail, payment.route, _told_of(payment.method)),
                *(action, payment.declined or None, intent.expires_at, intent.lapses_at, payment.maker),
                *(intent.description or None, intent.reference or None, intent.descriptor or None),
                *(intent.metadata or None, payment.version, payment.changed_at),
            )
        )
        yield payment.told, row


class _PaymentRequests(_OfPayments):
    rows = layout(
        "payment_requests",
        "changed position payment_id:uuid book_id:uuid account_id:uuid request_id:text operation:text rail:text"
        " route:text amount state:text upon:text final:bool reason:text reference:text code:text declined:text"
        " retry:text settles_on:text hold_id:uuid entry_id:uuid contradicted:bool settlement_id:uuid settled_on:date"
        " returned fee dispute_id:uuid decision:jsonb requested_at:timestamptz answered_at:timestamptz",
    )

    def changed(self, payment: PaymentThen) -> Iterable[tuple[int, bytes]]:
        for request in payment.requests.values():
            if request.told != request.changed:
                yield request.told, self._as_it_stands(payment, request)

    def _as_it_stands(self, payment: PaymentThen, request: RequestThen) -> bytes:
        return self.rows.pack(
            (
                *(request.changed, request.position, payment.id, payment.intent.book_id, payment.intent.account_id),
                *(request.id, request.operation, request.rail),
                *(request.route, request.amount, request.state, request.upon or None, request.final),
                *(request.reason or None, request.reference or None, request.code or None, request.declined or None),
                *(request.retry or None, request.settles_on or None, request.hold_id, request.entry_id),
                *(request.contradicted, request.settlement_id, request.settled_on, request.returned, request.fee),
                *(request.dispute_id, request.decision, request.requested_at, request.answered_at),
            )
        )


class _Disputes(_OfPayments):
    code = "disputes_differ"
    rows = layout(
        "disputes",
        "changed position payment_id:uuid dispute_id:uuid request_id:text settlement_id:uuid amount fee state:text"
        " reference:text code:text reason:text message:text respond_by:timestamptz entry_id:uuid closing_entry_id:uuid"
        " disputed_at:timestamptz changed_at:timestamptz",
    )

    def changed(self, payment: PaymentThen) -> Iterable[tuple[int, bytes]]:
        for dispute in payment.disputes.values():
            if dispute.told != dispute.changed:
                yield dispute.told, self._as_it_stands(payment, dispute)

    def _as_it_stands(self, payment: PaymentThen, dispute: DisputeThen) -> bytes:
        opened = dispute.opened
        return self.rows.pack(
            (
                *(dispute.changed, dispute.position, payment.id, dispute.id, opened.request_id, opened.settlement_id),
                *(opened.amount, dispute.fee, dispute.state, opened.reference or None, opened.code or None),
                *(opened.reason or None, opened.message or None, opened.respond_by, opened.entry_id),
                *(dispute.closing_entry_id, dispute.disputed_at, dispute.changed_at),
            )
        )


class _OfEscrows(_Streamed):
    """Rows of each escrow as soon as it has ended, in that order; of the ones that still live in the end."""

    code = "escrows_differ"
    order = "changed"

    def plain(self, entry: Entry, rows: Sequence[Posted]) -> None:
        """None: no escrow ends with it."""

    def row(self, recorded: Recorded) -> None:
        """None by itself: whether there are any, the escrow that has ended says."""
        if self._derived.escrow_over is not None:
            self._expect(self._derived.escrow_over)

    def finish(self) -> None:
        over = self._derived.escrow_over
        for escrow in self._derived.escrows.values():
            if over is None or escrow.id != over.id:
                self._expect(escrow)
        super().finish()
        self.tally.through = self.upto

    def stop_before(self, position: int) -> None:
        self.tally.leave(f"the table is as of {self.upto}, and the log can be followed only to {position - 1}")

    def _expect(self, escrow: EscrowThen) -> None:
        rows = [self.rows.pack(values) for values in self.as_it_stands(escrow)]
        self.tally.checked += len(rows)
        self._matching.expect(rows)

    def as_it_stands(self, escrow: EscrowThen) -> Iterable[Row]:
        raise NotImplementedError


class _Escrows(_OfEscrows):
    rows = layout(
        "escrows",
        "position escrow_id:uuid book_id:uuid depositor_id:uuid beneficiary_id:uuid created_at:timestamptz status:text"
        " amount released returned suspended currency:text expires_at:timestamptz on_expiry:text conditions:jsonb"
        " met:jsonb return_terms:jsonb returns:jsonb maker:text description:text reference:text metadata:jsonb"
        " version:int4 changed changed_at:timestamptz",
    )

    def as_it_stands(self, escrow: EscrowThen) -> Iterable[Row]:
        funded, terms = escrow.funded, escrow.funded.return_terms
        agreed = {name: {"part": part, "amount": amount} for name, (part, amount) in escrow.returns.items()}
        yield (
            *(escrow.position, escrow.id, funded.book_id, funded.depositor_id, funded.beneficiary_id),
            *(escrow.created_at, escrow.status, funded.amount, escrow.released, escrow.returned, escrow.suspended),
            *(funded.currency, funded.expires_at, funded.on_expiry),
            *([{"name": one.name, "by": one.by} for one in funded.conditions], escrow.met),
            terms and {"approvals": terms.approvals, "approvers": terms.approvers},
            *(agreed, escrow.maker, funded.description or None, funded.reference or None, funded.metadata or None),
            *(escrow.version, escrow.changed, escrow.changed_at),
        )


class _EscrowParts(_OfEscrows):
    """All of an escrow's parts have its position, and are told apart by their numbers."""

    rows = layout(
        "escrow_parts",
        "position number:int4 escrow_id:uuid name:text amount released returned conditions:jsonb approvals:int4"
        " approvers:jsonb approved:jsonb blocked:text changed",
    )
    key = itemgetter(slice(6, 22))

    def as_it_stands(self, escrow: EscrowThen) -> Iterable[Row]:
        return (self._part(escrow, part) for part in escrow.parts.values())

    def _part(self, escrow: EscrowThen, part: PartThen) -> Row:
        return (
            *(escrow.position, part.number, escrow.id, part.name, part.amount, part.released, part.returned),
            *(part.terms.conditions, part.terms.approvals, part.terms.approvers, part.approved),
            *(part.blocked or None, part.changed),
        )


def _told_of(method: Method | None) -> dict[str, Any] | None:
    """Of account numbers the last four characters."""
    match method:
        case None:
            return None
        case Card():
            told = {"type": "card", "token": method.token, "brand": method.brand, "last4": method.last4}
            return told | {"expires": method.expires}
        case BankAccount():
            told = {"type": "bank_account", "routing_number": method.routing_number, "holder": method.holder}
            last4 = method.account_number[-4:]
            return {**told, "savings": method.savings, "company": method.company, "last4": last4}
        case Iban():
            told = {"type": "iban", "bic": method.bic, "holder": method.holder, "country": method.country}
            return told | {"last4": method.iban[-4:]}
        case UpiAddress():
            return {"type": "upi", "vpa": method.vpa, "holder": method.holder, "flow": method.flow}


class _Entries(_Streamed):
    """`reversed_by`, which a later event sets, is kept apart: there are few."""

    code = "entries_differ"
    rows = layout(
        "entries",
        "position reversed_by:uuid entry_id:uuid book_id:uuid recorded_at:timestamptz value_date:date"
        " reverses:uuid captures:uuid recipe:jsonb actor:text description:text reference:text metadata:jsonb"
        " postings:jsonb",
    )

    def __init__(self, stored: Stored, derived: Derived, upto: int, findings: Findings) -> None:
        super().__init__(stored, derived, upto, findings)
        self._reversed: dict[UUID, tuple[int, UUID]] = {}
        self._found: dict[UUID, tuple[int, UUID]] = {}

    def found(self) -> Iterator[bytes]:
        for row in super().found():
            if row.startswith(NULL, _LINK):
                yield row
            else:
                position, reversed_by, entry_id, *_ = self.rows.unpack(row)
                self._found[entry_id] = (position, reversed_by)
                yield row[:_LINK] + NULL + row[_LINK + 20 :]

    def plain(self, entry: Entry, rows: Sequence[Posted]) -> bytes:
        on = rows[0].day
        head = _ENTRY(14, 8, entry.position, -1, 16, entry.stream, 16, entry.book, 8, entry.recorded_at, on, -1, -1, -1)
        postings = ", ".join(
            [
                f'["{posted.totals.hex}", "debit", {posted.debit}, {posted.totals.currency}]'
                if posted.debit
                else f'["{posted.totals.hex}", "credit", {posted.credit}, {posted.totals.currency}]'
                for posted in rows
            ]
        )
        texts = _field(entry.told.actor.encode()) + text(entry.description) + text(entry.reference)
        metadata = _field(jsonb(entry.metadata)) if entry.metadata else NULL
        return head + texts + metadata + _field(b"\x01[%b]" % postings.encode())

    def row(self, recorded: Recorded) -> bytes | None:
        event = recorded.event
        if isinstance(event, EntryReversed):
            self._reversed[recorded.stream_id] = (recorded.position, event.reversed_by)
        if not isinstance(event, EntryPosted):
            return None
        postings = [[line.account_id.hex, line.side, line.amount, line.currency] for line in event.postings]
        return self.rows.pack(
            (
                *(recorded.position, None, recorded.stream_id, event.book_id, recorded.recorded_at, event.value_date),
                *(event.reverses, event.captures, event.recipe, recorded.metadata.actor, event.description or None),
                *(event.reference or None, event.metadata or None, postings),
            )
        )

    def finish(self) -> None:
        super().finish()
        for entry_id, (position, reversed_by) in self._reversed.items():
            if self._found.pop(entry_id, (0, None))[1] != reversed_by:
                self._link_differs(position, entry_id, f"reversed_by={reversed_by}", "another or none")
        if self._stopped_at == NOWHERE:
            for entry_id, (position, reversed_by) in self._found.items():
                self._link_differs(position, entry_id, "reversed_by=None", f"reversed_by={reversed_by}")

    def _link_differs(self, position: int, entry_id: UUID, expected: str, found: str) -> None:
        self.tally.problem(self.code, position, f"entry {ids.show(ids.ENTRY, entry_id)}", expected, found)


_LINK: Final = 14
"""Where `reversed_by` is in the row of an entry."""
_ENTRY: Final = struct.Struct(">hiqii16si16siq8siii").pack


def _field(data: bytes) -> bytes:
    return INT4(len(data)) + data


class _Settlements(_Streamed):
    code = "settlements_differ"
    rows = layout(
        "settlements",
        "position settlement_id:uuid book_id:uuid recorded_at:timestamptz rail:text route:text day:date part:int4"
        " currency:text reference:text lines:jsonb incoming outgoing fees net breaks:jsonb broken:int4 entry_id:uuid"
        " actor:text",
    )

    def plain(self, entry: Entry, rows: Sequence[Posted]) -> None:
        """None: an entry is no settlement."""

    def row(self, recorded: Recorded) -> bytes | None:
        event = recorded.event
        if not isinstance(event, SettlementRecorded):
            return None
        breaks = msgspec.json.decode(msgspec.json.encode(event.breaks))
        return self.rows.pack(
            (
                *(recorded.position, recorded.stream_id, event.book_id, recorded.recorded_at, event.rail, event.route),
                *(event.day, event.part, event.currency, event.reference or None, event.lines, event.incoming),
                *(event.outgoing, event.fees, event.net, breaks, len(event.breaks), event.entry_id),
                recorded.metadata.actor,
            )
        )


class _AuditTrail(_Streamed):
    code = "audit_trail_differs"
    rows = layout(
        "audit_trail",
        "position recorded_at:timestamptz stream:uuid book_id:uuid scope:uuid event:text actor:text request_id:text"
        " correlation_id:text causation_id:text idempotency_key:text command:text refusal:text details:jsonb",
    )

    def plain(self, entry: Entry, rows: Sequence[Posted]) -> bytes:
        told = entry.told
        place = _RECORD(14, 8, entry.position, 8, entry.recorded_at, 16, entry.stream, 16, entry.book, -1)
        by = _POSTED + _field(told.actor.encode()) + text(told.request_id)
        causes = text(told.correlation_id) + text(told.causation_id)
        return place + by + causes + text(told.idempotency_key) + _NOT_REFUSED

    def row(self, recorded: Recorded) -> bytes:
        event, meta = recorded.event, recorded.metadata
        refused: tuple[Any, ...] = (None, None, None)
        scope: UUID | None = None
        match event:
            case EntryPosted(book_id=book_id) | EntryReversed(book_id=book_id) | AccountOpened(book_id=book_id):
                book: UUID | None = book_id
            case BatchPosted() | SettlementRecorded():
                book = event.book_id
            case HoldPlaced() | HoldIncreased() | HoldCaptured() | HoldVoided() | HoldExpired():
                book = event.book_id
            case PaymentIntentCreated() | EscrowFunded():
                book = event.book_id
            case BookOpened() | BookPaymentPolicySet():
                book = recorded.stream_id
            case CommandRefused():
                scope = event.scope
                book = self._book_of(scope, recorded.position)
                refused = (event.command, event.code, event.details or None)
            case _:
                book = self._book_of(recorded.stream_id, recorded.position)
        return self.rows.pack(
            (
                *(recorded.position, recorded.recorded_at, recorded.stream_id, book, scope, event.name, meta.actor),
                *(meta.request_id or None, meta.correlation_id or None, meta.causation_id or None),
                *(meta.idempotency_key or None, *refused),
            )
        )

    def _book_of(self, thing: UUID, position: int) -> UUID | None:
        """Whose book a thing is in, if it was there before that position; an entry is looked up, all else is known."""
        account = self._derived.accounts.get(thing)
        if account is not None:
            return account.book_id
        if thing in self._derived.books:
            return thing
        payment = self._derived.payments.get(thing)
        if payment is not None:
            return payment.intent.book_id
        escrow = self._derived.escrows.get(thing)
        if escrow is not None:
            return escrow.funded.book_id
        first = next(iter(self._stored.stream(thing)), None)
        if first is None or first.position >= position:
            return None
        event = decode(first.name, first.payload)
        names_book = EntryPosted | HoldPlaced | PaymentIntentCreated | SettlementRecorded | EscrowFunded
        return event.book_id if isinstance(event, names_book) else None


_RECORD: Final = struct.Struct(">hiqiqi16si16si").pack
_POSTED: Final = text(EntryPosted.name)
_NOT_REFUSED: Final = 3 * NULL


def read_models(stored: Stored, derived: Derived, head: int, findings: Findings) -> Iterable[ReadModel]:
    """All the read models, each to be checked as of the position that its projection has reached."""
    tracked = stored.tracked()
    kinds: tuple[tuple[str, type[_Table] | type[_Streamed]], ...] = (
        (ACCOUNTS, _Books),
        (ACCOUNTS, _PaymentPolicies),
        (ACCOUNTS, _Accounts),
        (ACCOUNTS, _Limits),
        (ACCOUNTS, _Balances),
        (ACCOUNTS, _Days),
        (JOURNAL, _Entries),
        (HOLDS, _Holds),
        (PAYMENTS, _Payments),
        (PAYMENTS, _PaymentRequests),
        (PAYMENTS, _Disputes),
        (SETTLEMENTS, _Settlements),
        (ESCROWS, _Escrows),
        (ESCROWS, _EscrowParts),
        (AUDIT_TRAIL, _AuditTrail),
    )
    for projection, kind in kinds:
        reached = tracked.get(projection)
        model = kind(stored, derived, min(reached or 0, head), findings)
        if reached is None or reached == 0 < head:
            model.tally.leave(f"the projection {projection} never ran here")
        elif reached > head:
            model.tally.problem(
                "read_model_ahead", reached, model.tally.name, f"nothing past {head}", f"events up to {reached}"
            )
        yield model
