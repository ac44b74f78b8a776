"""Verification of the log and its postings, tampered with in every way; the read models' part needs Postgres."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from operator import itemgetter
from uuid import UUID, uuid4

import pytest
from msgspec.structs import replace

from domain.events import EntryPosted, RawEvent, decode, encode
from domain.posting import Side
from replay.matching import AT_ONCE, Matching
from replay.report import KEPT, Check, Findings, Report
from replay.verify import verify
from tests.resealed import found, position_of, reseal
from tests.stored import MemoryStored, ticking, write_everything

Row = tuple[int, str]

LOG = ("streams", "seals", "events", "postings")


@pytest.fixture
def stored() -> MemoryStored:
    store = ticking()
    asyncio.run(write_everything(store))
    return MemoryStored(store)


def of_the_log(report: Report) -> list[Check]:
    return [check for check in report.checks if check.name in LOG]


def test_nothing_is_wrong(stored: MemoryStored) -> None:
    """
    A log as the desk writes it holds, and the read models, which nobody has made, are said to be unchecked.
    """
    report = verify(stored)

    assert report.findings == ()
    assert [(c.name, c.checked, c.through, c.incomplete) for c in of_the_log(report)] == [
        ("streams", 20, 24, ""),
        ("seals", 23, 24, ""),
        ("events", 24, 24, ""),
        ("postings", 14, 24, ""),
    ]
    assert all("never ran" in check.incomplete for check in report.checks if check.name not in LOG)
    assert (report.verdict, report.exit_code, report.head) == ("incomplete", 2, 24)


def test_an_empty_log() -> None:
    """
    There is nothing to be wrong.
    """
    report = verify(MemoryStored(ticking()))

    assert report.findings == ()
    assert not any(check.incomplete for check in of_the_log(report))


def edit(event: RawEvent, old: bytes, new: bytes) -> RawEvent:
    assert old in event.payload
    return replace(event, payload=event.payload.replace(old, new, 1))


Tamper = Callable[[MemoryStored], None]


def change_event(**fields: object) -> Tamper:
    def tamper(stored: MemoryStored) -> None:
        stored.all_events[10] = replace(stored.all_events[10], **fields)

    return tamper


def change_payload(old: bytes, new: bytes) -> Tamper:
    def tamper(stored: MemoryStored) -> None:
        stored.all_events[10] = edit(stored.all_events[10], old, new)

    return tamper


def swap(stored: MemoryStored) -> None:
    one, other = stored.all_events[10], stored.all_events[11]
    stored.all_events[10] = replace(other, position=one.position)
    stored.all_events[11] = replace(one, position=other.position)


def append_unsealed(stored: MemoryStored) -> None:
    last = stored.all_events[-1]
    stored.all_events.append(replace(last, position=last.position + 1, stream_id=uuid4()))


def duplicate(stored: MemoryStored) -> None:
    stored.all_events.insert(11, replace(stored.all_events[10], stream_id=uuid4()))


def drop_events(*indexes: int) -> Tamper:
    def tamper(stored: MemoryStored) -> None:
        for index in sorted((index % len(stored.all_events) for index in indexes), reverse=True):
            del stored.all_events[index]

    return tamper


def drop_seal(index: int) -> Tamper:
    def tamper(stored: MemoryStored) -> None:
        del stored.all_seals[index]

    return tamper


def change_seal(**fields: object) -> Tamper:
    def tamper(stored: MemoryStored) -> None:
        stored.all_seals[10] = replace(stored.all_seals[10], **fields)

    return tamper


def overlap(stored: MemoryStored) -> None:
    stored.all_seals[10] = replace(stored.all_seals[10], first=10)


def back_in_time(stored: MemoryStored) -> None:
    early = stored.all_seals[8].recorded_at
    stored.all_events[10] = replace(stored.all_events[10], recorded_at=early)
    stored.all_seals[10] = replace(stored.all_seals[10], recorded_at=early)
    reseal(stored)


def resealed(tamper: Tamper) -> Tamper:
    def both(stored: MemoryStored) -> None:
        tamper(stored)
        reseal(stored)

    return both


TAMPERED_LOGS: dict[str, tuple[Tamper, set[tuple[str, int]]]] = {
    "metadata edited": (change_event(metadata=b'{"actor":"nobody"}'), {("seal_hash_mismatch", 11)}),
    "amounts edited": (
        change_payload(b'"description":"Opening"', b'"description":"Closing"'),
        {("seal_hash_mismatch", 11)},
    ),
    "one side edited": (
        change_payload(b'"amount":500', b'"amount":900'),
        {("seal_hash_mismatch", 11), ("entry_unbalanced", 11)},
    ),
    "not JSON": (change_event(payload=b"{"), {("seal_hash_mismatch", 11), ("event_malformed", 11)}),
    "not UTF-8": (change_event(payload=b'{"\xff"}'), {("seal_hash_mismatch", 11), ("event_malformed", 11)}),
    "another stream": (change_event(stream_id=UUID(int=7)), {("seal_hash_mismatch", 11)}),
    "another command": (change_event(command_id=UUID(int=7)), {("seal_hash_mismatch", 11)}),
    "another time": (
        change_event(recorded_at=ticking()._now()),
        {("seal_hash_mismatch", 11), ("event_time_differs", 11)},
    ),
    "a version skipped": (change_event(version=2), {("seal_hash_mismatch", 11), ("stream_version_gap", 11)}),
    "a name too long to hash": (
        change_event(name="x" * 70_000),
        {("event_malformed", 11)},
    ),
    "two swapped": (
        swap,
        {
            *(("seal_hash_mismatch", 11), ("seal_hash_mismatch", 12), ("event_time_differs", 11)),
            *(("event_time_differs", 12), ("posting_differs", 11), ("posting_differs", 12)),
        },
    ),
    "the first deleted": (drop_events(0), {("event_missing", 1)}),
    "one deleted": (drop_events(10), {("event_missing", 11)}),
    "several deleted": (drop_events(10, 11, 12), {("event_missing", 11)}),
    "two apart deleted": (drop_events(4, 12), {("event_missing", 5), ("event_missing", 13)}),
    "the last deleted": (drop_events(-1), {("event_missing", 24)}),
    "one inserted at the end": (append_unsealed, {("event_unsealed", 25)}),
    "one doubled": (duplicate, {("event_twice", 11)}),
    "the last seal deleted": (drop_seal(-1), {("event_unsealed", 24), ("posting_extra", 24)}),
    "a seal deleted": (
        drop_seal(10),
        {("event_unsealed", 11), ("seal_out_of_place", 11), ("seal_hash_mismatch", 12)},
    ),
    "a seal's hash edited": (change_seal(hash=bytes(32)), {("seal_hash_mismatch", 11), ("seal_hash_mismatch", 12)}),
    "seals that overlap": (overlap, {("seal_out_of_place", 10)}),
    "time goes back": (back_in_time, {("seal_time_backwards", 11)}),
    "edited and sealed anew": (
        resealed(change_payload(b'"value_date":"2025-12-31"', b'"value_date":"2025-12-30"')),
        {("posting_differs", 11)},
    ),
}


@pytest.mark.parametrize("how", TAMPERED_LOGS)
def test_a_tampered_log(stored: MemoryStored, how: str) -> None:
    """
    Whatever is done to the log, the first bad position and what is wrong there are named.
    """
    tamper, expected = TAMPERED_LOGS[how]
    tamper(stored)

    report = verify(stored)

    assert expected <= found(report)
    assert report.verdict == "mismatch"
    assert report.first_bad_position == min(position for _, position in expected)


def test_beyond_what_cannot_be_followed_nothing_passes(stored: MemoryStored) -> None:
    """
    After a hole the postings are neither passed nor blamed.
    """
    drop_events(10)(stored)

    report = verify(stored)

    postings = next(check for check in report.checks if check.name == "postings")
    assert (postings.through, postings.problems) == (10, 0)
    assert "only to 10" in postings.incomplete


def test_a_newer_daybook(stored: MemoryStored) -> None:
    """
    What a newer Daybook wrote cannot be checked by this one; that is no accusation, and no pass.
    """
    resealed(change_event(name="journal_entry.posted.v9"))(stored)

    report = verify(stored)

    assert (report.verdict, report.findings) == ("incomplete", ())
    assert "newer Daybook" in next(check.incomplete for check in report.checks if check.name == "events")
    assert "only to 10" in next(check.incomplete for check in report.checks if check.name == "postings")


FORMS: dict[str, Callable[[UUID], str]] = {
    "dashes": str,
    "hex": lambda name: name.hex,
    "capitals": lambda name: str(name).upper(),
}


@pytest.mark.parametrize("form", FORMS)
def test_ids_in_any_form(stored: MemoryStored, form: str) -> None:
    """
    Entries are understood whichever way the ids of their accounts and book are written.
    """
    entries = [at for at, event in enumerate(stored.all_events) if event.name == EntryPosted.name]
    for at in entries:
        event = decode(stored.all_events[at].name, stored.all_events[at].payload)
        assert isinstance(event, EntryPosted)
        payload = encode(event)
        for name in {event.book_id, *(posting.account_id for posting in event.postings)}:
            for written in (str(name), name.hex):
                payload = payload.replace(written.encode(), FORMS[form](name).encode())
        stored.all_events[at] = replace(stored.all_events[at], payload=payload)
    reseal(stored)

    report = verify(stored)

    assert len(entries) == 6
    assert (report.findings, [check.incomplete for check in of_the_log(report)]) == ((), 4 * [""])


WRONG_ENTRIES: dict[str, tuple[bytes, bytes, str]] = {
    "an amount that no column has room for": (b'"amount":500', b'"amount":9223372036854775808', "posting_differs"),
    "an amount of nothing": (b'"amount":500', b'"amount":0', "event_malformed"),
    "an amount below zero": (b'"amount":500', b'"amount":-500', "event_malformed"),
    "a side that is none": (b'"side":"debit"', b'"side":"Debit"', "entry_unbalanced"),
    "a day that is none": (b'"value_date":"2025-12-31"', b'"value_date":"2025-12-32"', "event_malformed"),
    "another currency": (b'"currency":"EUR"', b'"currency":"USD"', "event_contradicts"),
    "another book": (b'"book_id":"e', b'"book_id":"f', "event_contradicts"),
    "an account that is none": (b'"account_id":"', b'"account_id":"x', "event_malformed"),
}


@pytest.mark.parametrize("how", WRONG_ENTRIES)
def test_an_entry_that_cannot_be(stored: MemoryStored, how: str) -> None:
    """
    What no desk would have written is found, whoever sealed it.
    """
    old, new, code = WRONG_ENTRIES[how]
    assert old in stored.all_events[10].payload
    stored.all_events[10] = replace(stored.all_events[10], payload=stored.all_events[10].payload.replace(old, new))
    reseal(stored)

    assert (code, 11) in found(verify(stored))


@pytest.mark.parametrize(("part", "place"), [("payload", b"{"), ("payload", b"[{"), ("metadata", b"{")])
def test_a_field_of_a_newer_daybook(stored: MemoryStored, part: str, place: bytes) -> None:
    """
    A field that is not known here is never read over.
    """
    changed = getattr(stored.all_events[10], part).replace(place, place + b'"new":1,', 1)
    change_event(**{part: changed})(stored)
    reseal(stored)

    report = verify(stored)

    assert (report.verdict, report.findings) == ("incomplete", ())
    assert "newer Daybook" in next(check.incomplete for check in report.checks if check.name == "events")


def test_an_event_that_cannot_follow(stored: MemoryStored) -> None:
    """
    A log sealed anew after an account's code was changed contradicts itself: the account's id comes of its code.
    """
    stored.all_events[2] = edit(stored.all_events[2], b'"code":"cash"', b'"code":"kash"')
    reseal(stored)

    assert ("event_contradicts", 3) in found(verify(stored))


def test_a_posting_to_a_frozen_account(stored: MemoryStored) -> None:
    """
    An entry that no desk would have let through is found, whoever sealed it.
    """
    frozen = position_of(stored, "account.frozen") - 1
    spare = stored.all_events[frozen].stream_id
    target = stored.all_events[-1]
    account = stored.all_postings[-1].account_id
    moved = replace(target, payload=target.payload.replace(account.hex.encode(), spare.hex.encode()))
    stored.all_events[-1] = moved
    reseal(stored)

    assert ("event_contradicts", target.position) in found(verify(stored))


def test_a_reversal_without_its_mirror(stored: MemoryStored) -> None:
    """
    An entry is marked reversed by the mirror entry just before, and by nothing else.
    """
    position = position_of(stored, "journal_entry.reversed")
    marked = stored.all_events[position - 1]
    mirror = stored.all_events[position - 2].stream_id
    stored.all_events[position - 1] = edit(marked, mirror.hex.encode(), UUID(int=7).hex.encode())
    reseal(stored)

    assert ("event_contradicts", position) in found(verify(stored))


POSTINGS: dict[str, tuple[Callable[[MemoryStored], object], str]] = {
    "deleted": (lambda stored: stored.all_postings.pop(4), "posting_missing"),
    "added": (
        lambda stored: stored.all_postings.append(replace(stored.all_postings[4], account_id=uuid4())),
        "posting_extra",
    ),
    "doubled": (lambda stored: stored.all_postings.append(stored.all_postings[4]), "posting_extra"),
    **{
        f"{field} edited": (
            lambda stored, field=field, value=value: stored.all_postings.__setitem__(  # type: ignore[misc]
                4, replace(stored.all_postings[4], **{field: value})
            ),
            "posting_differs",
        )
        for field, value in {"amount": 8, "side": Side.CREDIT, "pending": True, "position": 3}.items()
    },
    "value date edited": (
        lambda stored: stored.all_postings.__setitem__(
            4, replace(stored.all_postings[4], value_date=stored.all_postings[4].value_date + timedelta(days=1))
        ),
        "posting_differs",
    ),
    **{
        f"{field} after it edited": (
            lambda stored, field=field: stored.all_postings.__setitem__(  # type: ignore[misc]
                4,
                replace(stored.all_postings[4], totals=replace(stored.all_postings[4].totals, **{field: 12_345})),
            ),
            "posting_differs",
        )
        for field in ("debits", "credits", "pending_debits", "pending_credits")
    },
}


@pytest.mark.parametrize("how", POSTINGS)
def test_tampered_postings(stored: MemoryStored, how: str) -> None:
    """
    Every column of every posting is derived again.
    """
    tamper, code = POSTINGS[how]
    tamper(stored)

    report = verify(stored)

    assert report.counts == {code: 1}
    assert report.verdict == "mismatch"


def test_postings_in_any_order(stored: MemoryStored) -> None:
    """
    Where a row lies on disk is nobody's business.
    """
    stored.all_postings.reverse()

    assert verify(stored).findings == ()


@pytest.mark.parametrize(
    ("unreadable", "unchecked"),
    [("events", {"seals", "events", "postings"}), ("postings", {"postings"}), ("versions", {"streams"})],
)
def test_what_cannot_be_read_does_not_pass(stored: MemoryStored, unreadable: str, unchecked: set[str]) -> None:
    """
    A table that cannot be read is incomplete, and what does not need it is checked.
    """
    stored.unreadable.add(unreadable)

    report = verify(stored)

    assert {check.name for check in of_the_log(report) if check.incomplete} == unchecked
    assert (report.verdict, report.exit_code) == ("incomplete", 2)


def test_read_models_ahead_of_the_log(stored: MemoryStored) -> None:
    """
    Read models that know more than the log do so because the log was cut.
    """
    stored.tracking = {"audit_trail.v1": 30}

    assert ("read_model_ahead", 30) in found(verify(stored))


def test_matching_in_any_order() -> None:
    """
    Rows meet whatever the order; what has no counterpart is told in the end.
    """
    told: list[tuple[int, Row | None, Row | None]] = []
    rows = [(5, "e"), (1, "a"), (4, "d"), (2, "B"), (7, "g"), (1, "a")]
    matching: Matching[int, Row] = Matching(iter(rows), itemgetter(0), lambda *what: told.append(what))

    for row in [(1, "a"), (2, "b"), (3, "c"), (4, "d"), (5, "e")]:
        matching.expect([row])
    matching.finish()

    assert sorted(told, key=str) == [
        (1, None, (1, "a")),
        (2, (2, "b"), (2, "B")),
        (3, (3, "c"), None),
        (7, None, (7, "g")),
    ]
    assert matching.matched == 3


def test_matching_of_what_is_replaced() -> None:
    """
    Rows whose place others take are missed in the end alone, also once all that is found has been looked at.
    """
    told: list[tuple[int, Row | None, Row | None]] = []
    found = iter([(9, "i"), (4, "d")])
    matching: Matching[int, Row] = Matching(found, itemgetter(0), lambda *what: told.append(what), patient=True)
    for number in (1, 2, 3):
        matching.expect([(number, "x")])
        matching.no_longer(number - 1)
    matching.expect([(4, "d"), (9, "i")])
    matching.no_longer(2)

    matching.finish()

    assert told == [(3, (3, "x"), None)]


@pytest.mark.parametrize("wrong", [None, 0, AT_ONCE - 1, AT_ONCE, 3 * AT_ONCE])
@pytest.mark.parametrize("moved", [False, True])
def test_matching_many(wrong: int | None, moved: bool) -> None:
    """
    Many rows in one order are compared at once, and still one by one where any differs or is out of its place.
    """
    told: list[tuple[int, Row | None, Row | None]] = []
    rows = [(number, "x" if number == wrong else str(number)) for number in range(3 * AT_ONCE + 7)]
    found = [rows[AT_ONCE + 5], *rows[: AT_ONCE + 5], *rows[AT_ONCE + 6 :]] if moved else rows
    matching: Matching[int, Row] = Matching(iter(found), itemgetter(0), lambda *what: told.append(what))

    for number, _ in rows:
        matching.expect([(number, str(number))])
    matching.finish()

    assert told == ([(wrong, (wrong, str(wrong)), (wrong, "x"))] if wrong is not None else [])
    assert matching.matched == len(rows) - len(told)


def test_the_first_findings_are_kept() -> None:
    """
    However many there are, those of the lowest positions are kept and all are counted.
    """
    findings = Findings()

    for position in [*range(100, 50, -1), None]:
        findings.add("posting_missing", position, "", "", "")

    assert [finding.position for finding in findings.first()] == list(range(51, 51 + KEPT))
    assert findings.counts == {"posting_missing": 51}
