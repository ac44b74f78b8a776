"""The read models, derived again from the events and held against their tables as of the position they have reached."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date
from typing import Any, Final, Protocol
from uuid import UUID

from domain import ids
from domain.events import (
    AccountOpened,
    BatchPosted,
    BookOpened,
    CommandRefused,
    EntryPosted,
    EntryReversed,
    HoldCaptured,
    HoldExpired,
    HoldIncreased,
    HoldPlaced,
    HoldVoided,
    Recorded,
    decode,
)
from domain.posting import PostingRow, Side
from replay.derived import Derived
from replay.holds import HoldThen
from replay.matching import Matching
from replay.report import NOWHERE, Findings, Tally, contrast
from replay.stored import Stored

Row = tuple[Any, ...]

ACCOUNTS: Final = "accounts.v2"
JOURNAL: Final = "journal.v2"
HOLDS: Final = "holds.v1"
AUDIT_TRAIL: Final = "audit_trail.v1"
"""What keeps each read model, by the name its progress is kept under: another version may derive otherwise."""


DAYS_BLOCK: Final = 128
"""Postings of an account that are added up together, by value date."""


class ReadModel(Protocol):
    """One read model under check: the events through `upto` are applied, then it is finished."""

    tally: Tally
    upto: int
    takes: bool
    """Whether it wants the events at all; to one that does not, what counts is the state in the end."""

    def take(self, recorded: Recorded, rows: Sequence[PostingRow]) -> None:
        """One more event, not past `upto`, and the posting rows it makes."""

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

    def take(self, recorded: Recorded, rows: Sequence[PostingRow]) -> None:
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
    columns = ("account_id", "value_date", "block", "debits", "credits")
    takes = True

    def __init__(self, stored: Stored, derived: Derived, upto: int, findings: Findings) -> None:
        super().__init__(stored, derived, upto, findings)
        self._open: dict[UUID, dict[date, tuple[int, int]]] = {}
        """Of each account what the postings of its last block come to by value date."""
        self._full: dict[tuple[UUID, int], tuple[int, int, int]] = {}
        """Of each block the rows, their fingerprint and the position of its last posting."""

    def take(self, recorded: Recorded, rows: Sequence[PostingRow]) -> None:
        for row in rows:
            days = self._open.setdefault(row.account_id, {})
            debits, credits = days.get(row.value_date, (0, 0))
            if row.pending:
                days[row.value_date] = (debits, credits)
            elif row.side is Side.DEBIT:
                days[row.value_date] = (debits + row.amount, credits)
            else:
                days[row.value_date] = (debits, credits + row.amount)
            if row.totals.number % DAYS_BLOCK == 0:
                fingerprint = sum(hash((day, *sums)) for day, sums in days.items())
                block = row.totals.number // DAYS_BLOCK - 1
                self._full[row.account_id, block] = (len(days), fingerprint, recorded.position)
                del self._open[row.account_id]

    def finish(self) -> None:
        found: dict[tuple[UUID, int], tuple[int, int]] = {}
        for account_id, day, block, debits, credits in self._stored.read_model(self.name, self.columns):
            count, rows = found.get((account_id, block), (0, 0))
            found[account_id, block] = (count + 1, rows + hash((day, debits, credits)))
        for key, (count, rows, position) in self._full.items():
            if found.pop(key, None) != (count, rows):
                self._block_differs(key, position, f"{count} days of a full block")
        for key in found:
            self._block_differs(key, self.upto, "nothing: the block is not full")
        self.tally.checked = len(self._full)
        self.tally.through = self.upto

    def _block_differs(self, key: tuple[UUID, int], position: int, expected: str) -> None:
        account_id, block = key
        subject = f"block {block} of account {ids.show(ids.ACCOUNT, account_id)}"
        self.tally.problem(self.code, position, subject, expected, "other rows")


class _Streamed:
    """A table with a row for many an event: expected and found stream by, about in the order of the log."""

    name: str
    code: str
    columns: tuple[str, ...]
    order = "position"
    takes = True

    def __init__(self, stored: Stored, derived: Derived, upto: int, findings: Findings) -> None:
        self.tally = Tally(self.name, findings)
        self.upto = upto
        self._stored = stored
        self._derived = derived
        self._stopped_at = NOWHERE
        self._at = self.columns.index("position")
        self._matching: Matching[int, Row] = Matching(self.rows(), self._differ)

    def rows(self) -> Iterator[tuple[int, Row]]:
        at = self._at
        for row in self._stored.read_model(self.name, self.columns, order=self.order):
            yield row[at], row

    def take(self, recorded: Recorded, rows: Sequence[PostingRow]) -> None:
        row = self.row(recorded)
        if row is not None:
            self._expect(row)
        self.tally.through = recorded.position

    def _expect(self, row: Row) -> None:
        self._matching.expect(row[self._at], row)
        self.tally.checked += 1

    def finish(self) -> None:
        self._matching.finish()

    def stop_before(self, position: int) -> None:
        self._stopped_at = position
        self.tally.leave(f"the log can be followed only to {position - 1}")
        self.finish()

    def row(self, recorded: Recorded) -> Row | None:
        raise NotImplementedError

    def _differ(self, position: int, expected: Row | None, found: Row | None) -> None:
        if position < self._stopped_at:
            words = contrast(self.columns, expected, found)
            self.tally.problem(self.code, position, f"{self.name} at {position}", *words)


class _Holds(_Streamed):
    """Each as soon as it has ended, in that order; the ones that still live in the end."""

    name = "holds"
    code = "holds_differ"
    columns = (
        *("hold_id", "book_id", "account_id", "destination_id", "position", "recorded_at", "status", "amount"),
        *("captured", "remaining", "currency", "expires_at", "actor", "description", "reference", "metadata"),
        *("version", "changed"),
    )
    order = "changed"

    def row(self, recorded: Recorded) -> Row | None:
        ended = self._derived.ended
        return self._as_it_stands(*ended) if ended is not None else None

    def finish(self) -> None:
        for hold_id, hold in self._derived.holds.items():
            if self._derived.ended is None or hold_id != self._derived.ended[0]:
                self._expect(self._as_it_stands(hold_id, hold))
        super().finish()
        self.tally.through = self.upto

    def stop_before(self, position: int) -> None:
        self.tally.leave(f"the table is as of {self.upto}, and the log can be followed only to {position - 1}")

    def _as_it_stands(self, hold_id: UUID, hold: HoldThen) -> Row:
        return (
            *(
                hold_id,
                hold.book_id,
                hold.account_id,
                hold.destination_id,
                hold.position,
                hold.recorded_at,
                hold.status,
            ),
            *(hold.amount, hold.captured, hold.remaining, hold.currency, hold.expires_at, hold.actor),
            *(hold.description or None, hold.reference or None, hold.metadata or None, hold.version, hold.changed),
        )


class _Entries(_Streamed):
    """`reversed_by`, which a later event sets, is kept apart: there are few."""

    name = "entries"
    code = "entries_differ"
    columns = (
        *("entry_id", "book_id", "position", "recorded_at", "reverses", "value_date", "actor", "description"),
        *("reference", "metadata", "captures", "recipe", "postings"),
    )

    def __init__(self, stored: Stored, derived: Derived, upto: int, findings: Findings) -> None:
        super().__init__(stored, derived, upto, findings)
        self._reversed: dict[UUID, tuple[int, UUID]] = {}
        self._found: dict[UUID, tuple[int, UUID]] = {}

    def rows(self) -> Iterator[tuple[int, Row]]:
        for *row, reversed_by in self._stored.read_model(self.name, (*self.columns, "reversed_by"), order="position"):
            if reversed_by is not None:
                self._found[row[0]] = (row[2], reversed_by)
            yield row[2], tuple(row)

    def row(self, recorded: Recorded) -> Row | None:
        event = recorded.event
        if isinstance(event, EntryReversed):
            self._reversed[recorded.stream_id] = (recorded.position, event.reversed_by)
        if not isinstance(event, EntryPosted):
            return None
        postings = [[line.account_id.hex, line.side, line.amount, line.currency] for line in event.postings]
        return (
            *(recorded.stream_id, event.book_id, recorded.position, recorded.recorded_at, event.reverses),
            *(event.value_date, recorded.metadata.actor, event.description or None, event.reference or None),
            *(event.metadata or None, event.captures, event.recipe, postings),
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


class _AuditTrail(_Streamed):
    name = "audit_trail"
    code = "audit_trail_differs"
    columns = (
        *("position", "recorded_at", "stream", "book_id", "scope", "event", "actor", "request_id", "correlation_id"),
        *("causation_id", "idempotency_key", "command", "refusal", "details"),
    )

    def row(self, recorded: Recorded) -> Row | None:
        event, meta = recorded.event, recorded.metadata
        refused: Row = (None, None, None)
        scope: UUID | None = None
        match event:
            case EntryPosted(book_id=book_id) | EntryReversed(book_id=book_id) | AccountOpened(book_id=book_id):
                book: UUID | None = book_id
            case BatchPosted():
                book = event.book_id
            case HoldPlaced() | HoldIncreased() | HoldCaptured() | HoldVoided() | HoldExpired():
                book = event.book_id
            case BookOpened():
                book = recorded.stream_id
            case CommandRefused():
                scope = event.scope
                book = self._book_of(scope, recorded.position)
                refused = (event.command, event.code, event.details or None)
            case _:
                book = self._book_of(recorded.stream_id, recorded.position)
        return (
            *(recorded.position, recorded.recorded_at, recorded.stream_id, book, scope, event.name, meta.actor),
            *(meta.request_id or None, meta.correlation_id or None, meta.causation_id or None),
            *(meta.idempotency_key or None, *refused),
        )

    def _book_of(self, thing: UUID, position: int) -> UUID | None:
        """Whose book a thing is in, if it was there before that position; an entry is looked up, all else is known."""
        account = self._derived.accounts.get(thing)
        if account is not None:
            return account.book_id
        if thing in self._derived.books:
            return thing
        first = next(iter(self._stored.stream(thing)), None)
        if first is None or first.position >= position:
            return None
        event = decode(first.name, first.payload)
        return event.book_id if isinstance(event, EntryPosted | HoldPlaced) else None


def read_models(stored: Stored, derived: Derived, head: int, findings: Findings) -> Iterable[ReadModel]:
    """All the read models, each to be checked as of the position that its projection has reached."""
    tracked = stored.tracked()
    kinds: tuple[tuple[str, type[_Table] | type[_Streamed]], ...] = (
        (ACCOUNTS, _Books),
        (ACCOUNTS, _Accounts),
        (ACCOUNTS, _Limits),
        (ACCOUNTS, _Balances),
        (ACCOUNTS, _Days),
        (JOURNAL, _Entries),
        (HOLDS, _Holds),
        (AUDIT_TRAIL, _AuditTrail),
    )
    for projection, kind in kinds:
        reached = tracked.get(projection)
        model = kind(stored, derived, min(reached or 0, head), findings)
        if reached is None or reached == 0 < head:
            model.tally.leave(f"the projection {projection} never ran here")
        elif reached > head:
            model.tally.problem(
                "read_model_ahead", reached, model.name, f"nothing past {head}", f"events up to {reached}"
            )
        yield model
