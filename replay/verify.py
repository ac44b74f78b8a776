"""Verification: every seal is hashed again, every posting and every read model is derived again from the events alone.

The derivations share no code with the desk and the projectors that they check. What could not be checked is reported as
incomplete, never as passed.
"""

from collections.abc import Callable, Sequence
from uuid import UUID

import msgspec

from domain import ids
from domain.audit import Seal
from domain.errors import EventMalformed, EventTooNew, Unavailable
from domain.events import EntryPosted, Recorded, recorded
from domain.posting import Side
from replay.chain import Chain
from replay.derived import POSTINGS, Derived, Posted
from replay.logged import Entry, Logged, entry, logged
from replay.matching import AT_ONCE, Matching
from replay.read_models import Events, ReadModel, read_models
from replay.report import NOWHERE, Check, Findings, Report, Tally, contrast
from replay.rows import INT4
from replay.stored import VERSIONS, Stored

Progress = Callable[[int, int], None]
"""Told now and then how many events are done, of how many."""

REPORT_EVERY = 5_000

_FIRST = INT4(1)
_SIDES = {"D": Side.DEBIT.value, "C": Side.CREDIT.value}

CHECKS = (
    "streams",
    "seals",
    "events",
    "postings",
    "books",
    "payment_policies",
    "accounts",
    "limits",
    "balances",
    "days",
    "entries",
    "holds",
    "payments",
    "payment_requests",
    "disputes",
    "settlements",
    "escrows",
    "escrow_parts",
    "audit_trail",
)


def verify(stored: Stored, *, progress: Progress | None = None) -> Report:
    """Check everything stored against the log, and the log against its seals."""
    try:
        head = stored.head()
        return _Verification(stored, head, progress or _silent).run()
    except Unavailable as error:
        return Report(0, None, tuple(Check(name, 0, 0, 0, str(error)) for name in CHECKS), (), {})


def _silent(done: int, of: int) -> None:
    """Nobody looks."""


class _Verification:
    """One pass over the events, beside everything that is held against them."""

    def __init__(self, stored: Stored, head: Seal | None, progress: Progress) -> None:
        self._stored = stored
        self._head = head
        self._end = head.last if head is not None else 0
        self._progress = progress
        self._findings = Findings()
        self._streams = Tally("streams", self._findings)
        self._chain = Chain(stored.seals(), self._findings)
        self._derived = Derived(self._chain.events, stored.stream)
        self._block: list[tuple[Entry | Recorded, Sequence[Posted]]] = []
        """Entries and their postings, to be held together against what is stored."""
        self._postings = _Postings(stored, self._findings)
        self._models = list(read_models(stored, self._derived, self._end, self._findings))
        self._live = [model for model in self._models if not model.tally.incomplete]
        self._look_again()

    def run(self) -> Report:
        self._check_versions()
        try:
            self._check_events()
        except Unavailable as error:
            for tally in (self._chain.seals, self._chain.events):
                tally.leave(str(error))
            self._stop_deriving(self._chain.events.through + 1)
        tallies = (self._streams, self._chain.seals, self._chain.events, self._postings.tally)
        return Report(
            head=self._end,
            recorded_at=self._head.recorded_at if self._head is not None else None,
            checks=tuple(tally.check() for tally in (*tallies, *(model.tally for model in self._models))),
            findings=self._findings.first(),
            counts=dict(sorted(self._findings.counts.items())),
        )

    def _check_versions(self) -> None:
        """Every stream's versions are 1, 2, 3, ..."""
        stream, due = b"", b""
        broken = b""
        try:
            for row in self._stored.versions():
                if row.startswith(stream) and stream:
                    due = INT4(int.from_bytes(due) + 1)
                else:
                    stream, due = row[:-4], _FIRST
                    self._streams.checked += 1
                if not row.endswith(due) and stream != broken:
                    broken = stream
                    self._bad_stream(int.from_bytes(due), *VERSIONS.unpack(row))
        except Unavailable as error:
            self._streams.leave(str(error))
        else:
            self._streams.through = self._end

    def _bad_stream(self, due: int, stream: UUID, version: int) -> None:
        after = [event.position for event in self._stored.stream(stream) if event.version == version]
        position = after[0] if after else None
        self._streams.problem(
            "stream_version_gap", position, f"stream {stream}", f"version {due}", f"version {version}"
        )

    def _check_events(self) -> None:
        """The seals are checked over all events; what derives from them as far as they can be followed."""
        self._finish_reached(0)
        deriving = True
        for event in map(logged, self._stored.logged()):
            position = event.position
            self._chain.take(event)
            if deriving and position <= self._end:
                deriving = self._chain.broken_at is None and self._derive(event)
                if not deriving:
                    self._stop_deriving(self._chain.broken_at or position)
            if position % REPORT_EVERY == 0:
                self._progress(position, self._end)
        self._chain.finish()
        if deriving and self._chain.broken_at is not None:
            self._stop_deriving(self._chain.broken_at)
        elif deriving:
            self._settle()
            self._derived.finish()
            self._postings.finish()
        self._progress(self._end, self._end)

    def _derive(self, event: Logged) -> bool:
        """Everything that follows from one event; False if it cannot be understood."""
        plain = entry(event)
        rows = self._derived.post(plain) if plain is not None else None
        if plain is not None and rows is not None:
            self._block.append((plain, rows))
            if len(self._block) == AT_ONCE:
                self._settle()
        else:
            known = self._understood(event)
            if known is None:
                return False
            self._settle()
            self._hold_against([(known, self._derived.apply(known))])
        if event.position == self._due:
            self._finish_reached(event.position)
        return True

    def _settle(self) -> None:
        """Hold what is derived and not looked at yet against what is stored."""
        if self._block:
            self._hold_against(self._block)
            self._block = []

    def _hold_against(self, events: Events) -> None:
        self._postings.take(events)
        for model in self._taking:
            try:
                model.take(events)
            except Unavailable as error:
                self._leave(model, error)

    def _understood(self, event: Logged) -> Recorded | None:
        try:
            return recorded(event.raw())
        except EventTooNew as error:
            self._chain.events.leave(f"position {event.position} was written by a newer Daybook: {error}")
        except EventMalformed as error:
            unbalanced = _imbalance(event)
            if unbalanced is None:
                self._malformed(event, "what its name says", str(error))
            else:
                self._chain.events.problem(
                    "entry_unbalanced", event.position, event.name.decode(), "debits and credits equal", unbalanced
                )
        except (OverflowError, UnicodeDecodeError) as error:
            self._malformed(event, "a time and a name", str(error))
        return None

    def _malformed(self, event: Logged, expected: str, found: str) -> None:
        name = event.name.decode(errors="replace")
        self._chain.events.problem("event_malformed", event.position, name, expected, found)

    def _finish_reached(self, position: int) -> None:
        self._settle()
        for model in [model for model in self._live if model.upto == position]:
            self._attempt(model, model.finish)
            if model in self._live:
                self._live.remove(model)
        self._look_again()

    def _stop_deriving(self, position: int) -> None:
        self._settle()
        self._postings.stop_before(position)
        for model in tuple(self._live):
            self._attempt(model, lambda: model.stop_before(position))  # noqa: B023 - called at once.
        self._live.clear()
        self._look_again()

    def _attempt(self, model: ReadModel, act: Callable[[], None]) -> None:
        """What cannot be read is left out, and said to be."""
        try:
            act()
        except Unavailable as error:
            self._leave(model, error)

    def _leave(self, model: ReadModel, error: Unavailable) -> None:
        model.tally.leave(str(error))
        self._live.remove(model)
        self._look_again()

    def _look_again(self) -> None:
        """Who takes every event, and where the next is finished: known in advance, as it is asked for each event."""
        self._taking = tuple(model for model in self._live if model.takes)
        self._due = min((model.upto for model in self._live), default=0)


class _Postings:
    """Every posting row, derived again and compared in all its columns."""

    def __init__(self, stored: Stored, findings: Findings) -> None:
        self.tally = Tally("postings", findings)
        self._stopped_at = NOWHERE
        self._matching: Matching[tuple[UUID, int], bytes] | None = Matching(stored.postings(), _numbered, self._differ)

    def take(self, events: Events) -> None:
        """Events in their order, with the postings they make."""
        if self._matching is None:
            return
        self.tally.through = events[-1][0].position
        rows = [posted.row for _, postings in events for posted in postings]
        try:
            self._matching.expect(rows)
        except Unavailable as error:
            self._leave(error)
        else:
            self.tally.checked += len(rows)

    def finish(self) -> None:
        """No more events."""
        if self._matching is None:
            return
        try:
            self._matching.finish()
        except Unavailable as error:
            self._leave(error)

    def stop_before(self, position: int) -> None:
        """The events from there on cannot be told, nor the postings they made."""
        self._stopped_at = position
        self.tally.leave(f"the log can be followed only to {position - 1}")
        self.finish()

    def _leave(self, error: Unavailable) -> None:
        self.tally.leave(str(error))
        self._matching = None

    def _differ(self, key: tuple[UUID, int], expected: bytes | None, found: bytes | None) -> None:
        row = expected or found
        assert row is not None
        position = POSTINGS.value(row, "position")
        if position >= self._stopped_at:
            return
        code = "posting_missing" if found is None else "posting_extra" if expected is None else "posting_differs"
        subject = f"posting {key[1]} of account {ids.show(ids.ACCOUNT, key[0])}"
        self.tally.problem(code, position, subject, *contrast(POSTINGS.names, *map(_cells, (expected, found))))


def _numbered(row: bytes) -> tuple[UUID, int]:
    return POSTINGS.value(row, "account"), POSTINGS.value(row, "number")


def _cells(row: bytes | None) -> tuple[object, ...] | None:
    if row is None:
        return None
    account_id, side, *rest = POSTINGS.unpack(row)
    return ids.show(ids.ACCOUNT, account_id), _SIDES.get(side, side), *rest


def _imbalance(event: Logged) -> str | None:
    """What an entry that does not decode is out of balance by, if that is what is wrong with it."""
    if not event.name.startswith(EntryPosted.name.rpartition(".")[0].encode()):
        return None
    try:
        sides: dict[tuple[str, str], int] = {}
        for posting in msgspec.json.decode(event.payload)["postings"]:
            key = (posting["currency"], posting["side"])
            sides[key] = sides.get(key, 0) + posting["amount"]
    except (msgspec.DecodeError, UnicodeDecodeError, KeyError, TypeError):
        return None
    for currency in sorted({currency for currency, _ in sides}):
        debits, credits = sides.get((currency, Side.DEBIT), 0), sides.get((currency, Side.CREDIT), 0)
        if debits != credits:
            return f"debits {debits}, credits {credits} {currency}"
    return None
