"""The log as it is read: what every implementation answers; and on Postgres, that verification misses nothing."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, date, datetime
from uuid import UUID

import pytest

from adapters.postgres.log import PostgresLog
from adapters.postgres.projecting import catch_up
from adapters.postgres.store import PostgresEventStore
from domain import ids
from domain.audit import GENESIS, seal_hash
from domain.errors import Unavailable
from domain.events import EntryPosted
from replay.point_in_time import moment, replay
from replay.stored import Stored
from tests.projected import checked, tamper
from tests.stored import MemoryStored, ticking, write_everything
from tests.support import BOOK, asked, freeze, open_account, open_book, reverse, started, transfer


class LogContract:
    """Of `replay.stored.Stored`, over a log with something of everything in it."""

    @pytest.fixture
    def stored(self) -> Iterator[Stored]:
        raise NotImplementedError

    def test_the_head_is_the_last_seal(self, stored: Stored) -> None:
        """
        The head is the last of the seals, and they cover all events.
        """
        seals = list(stored.seals())

        assert stored.head() == seals[-1]
        assert [seal.first for seal in seals[1:]] == [seal.last + 1 for seal in seals[:-1]]
        assert [event.position for event in stored.events()] == list(range(1, seals[-1].last + 1))

    def test_the_bytes_are_those_that_were_hashed(self, stored: Stored) -> None:
        """
        Hashing what is read gives the seals, so times are exact to the microsecond and bytes are untouched.
        """
        events, previous = list(stored.events()), GENESIS

        for seal in stored.seals():
            assert seal_hash(previous, events[seal.first - 1 : seal.last]) == seal.hash
            previous = seal.hash

        assert any(event.recorded_at.microsecond % 1000 for event in events)

    @pytest.mark.parametrize(("after", "until", "first", "last"), [(0, 5, 1, 5), (5, 7, 6, 7), (23, None, 24, 24)])
    def test_a_stretch_of_events(self, stored: Stored, after: int, until: int | None, first: int, last: int) -> None:
        """
        Events are those after one position and up to another.
        """
        found = [event.position for event in stored.events(after=after, until=until)]

        assert found == list(range(first, last + 1))

    def test_an_empty_stretch(self, stored: Stored) -> None:
        """
        Past the end there is nothing.
        """
        assert list(stored.events(after=24)) == []

    def test_versions_stream_by_stream(self, stored: Stored) -> None:
        """
        Versions come stream by stream, each in order.
        """
        found = list(stored.versions())

        assert len(found) == 24
        assert found == sorted(found)

    def test_a_stream(self, stored: Stored) -> None:
        """
        A stream is its events in order; without any it is empty.
        """
        spare = stored.stream(ids.account_id(BOOK, "spare"))

        assert [event.version for event in spare] == [1, 2, 3, 4]
        assert list(stored.stream(UUID(int=1))) == []

    def test_streams_beside_each_other(self, stored: Stored) -> None:
        """
        One stream is read while others are.
        """
        both = list(zip(stored.events(), stored.postings(), strict=False))

        assert len(both) == 14
        assert [event.position for event, _ in both] == list(range(1, 15))

    def test_a_stream_left_early(self, stored: Stored) -> None:
        """
        Whoever has seen enough of one stream can go on with another.
        """
        next(iter(stored.events()))

        assert len(list(stored.postings())) == 14


class TestMemoryStored(LogContract):
    @pytest.fixture
    def stored(self) -> Iterator[Stored]:
        store = ticking()
        asyncio.run(write_everything(store))
        yield MemoryStored(store)


class TestPostgresLog(LogContract):
    @pytest.fixture
    def stored(self, written: str) -> Iterator[Stored]:
        with PostgresLog(written) as log:
            yield log


@pytest.fixture
def written(database: str) -> str:
    """The DSN of a database with that log."""
    asyncio.run(write_everything(PostgresEventStore(database)))
    return database


@pytest.fixture
def projected(written: str) -> str:
    """With its read models up to date."""
    catch_up(written)
    return written


def test_one_moment(written: str) -> None:
    """
    What is committed after the first look is not seen: all answers are of one moment.
    """
    with PostgresLog(written) as log:
        head = log.head()
        tamper(written, "DELETE FROM daybook.postings WHERE position = 24")

        assert len(list(log.postings())) == 14
        assert log.head() == head
    with PostgresLog(written) as log:
        assert len(list(log.postings())) == 12


def test_nothing_is_changed_by_reading(written: str) -> None:
    """
    The reader's db transaction refuses to write.
    """
    with PostgresLog(written) as log, pytest.raises(Unavailable, match="read-only"):
        log._all("DELETE FROM daybook.events")


def test_no_daybook_there(empty_database: str) -> None:
    """
    A database without tables is told apart from an empty log.
    """
    with PostgresLog(empty_database) as log, pytest.raises(Unavailable, match="no Daybook"):
        log.head()
    assert checked(empty_database).exit_code == 2


def test_a_server_that_is_not_there() -> None:
    """
    No server is an Unavailable, as everywhere.
    """
    with pytest.raises(Unavailable), PostgresLog("postgresql://nobody@127.0.0.1:1/nothing"):
        pass


def test_totals_are_those_replayed(written: str) -> None:
    """
    The totals from the postings are the fold of the log: now, at every position, and by value date.
    """
    with PostgresLog(written) as log:
        known = list(replay(log, moment(log)).accounts)

        assert log.totals(known) == replay(log, moment(log)).totals
        for position in range(25):
            assert log.totals(known, until=position) == replay(log, moment(log, position=position)).totals
            for before in (date(2025, 12, 31), date(2026, 1, 2), date(9999, 1, 1)):
                then = moment(log, position=position, before=before)
                assert log.totals(known, until=position, before=before) == replay(log, then).totals


def test_events_by_name_and_by_what_they_mention(written: str) -> None:
    """
    Events are found by their stored names, and by a text in a field.
    """
    with PostgresLog(written) as log:
        assert [event.name for event in log.named(["book.opened.v1"])] == ["book.opened.v1"] * 2
        assert [event.position for event in log.mentioning(EntryPosted.name, "reference", "s-1")] == [12]
        assert list(log.mentioning(EntryPosted.name, "reference", 's-1"')) == []


# What verification finds on Postgres.


def test_a_database_nobody_touched(projected: str) -> None:
    """
    Everything is checked, through the log's head, and holds.
    """
    report = checked(projected)

    assert report.findings == ()
    assert [(c.name, c.checked, c.through, c.incomplete) for c in report.checks] == [
        ("streams", 20, 24, ""),
        ("seals", 23, 24, ""),
        ("events", 24, 24, ""),
        ("postings", 14, 24, ""),
        ("books", 2, 24, ""),
        ("payment_policies", 0, 24, ""),
        ("accounts", 8, 24, ""),
        ("limits", 8, 24, ""),
        ("balances", 7, 24, ""),
        ("days", 0, 24, ""),
        ("entries", 6, 24, ""),
        ("holds", 0, 24, ""),
        ("payments", 0, 24, ""),
        ("payment_requests", 0, 24, ""),
        ("disputes", 0, 24, ""),
        ("settlements", 0, 24, ""),
        ("escrows", 0, 24, ""),
        ("escrow_parts", 0, 24, ""),
        ("audit_trail", 24, 24, ""),
    ]
    assert (report.verdict, report.exit_code, report.head) == ("verified", 0, 24)


def test_read_models_that_lag(projected: str) -> None:
    """
    Read models are held to the position they have reached, wherever that is.
    """
    with PostgresLog(projected) as log:
        before = log.head()
    asyncio.run(write_more(projected))
    assert before is not None

    report = checked(projected)

    assert report.findings == ()
    assert {check.name: check.through for check in report.checks}["entries"] == before.last
    assert report.head > before.last
    assert report.verdict == "verified"


async def write_more(dsn: str) -> None:
    async with started(PostgresEventStore(dsn)) as desk:
        posted = await desk.submit(asked(transfer("cash", "owner", 5)))
        await desk.submit(asked(reverse(posted.recorded[0].stream_id)))
        await desk.submit(asked(freeze("owner")))


TAMPERED: dict[str, tuple[str, str, int | None]] = {
    "a payload": (
        "UPDATE daybook.events SET payload = convert_to(replace(convert_from(payload, 'UTF8'), '\"amount\":500',"
        " '\"amount\":501'), 'UTF8') WHERE position = 11",
        "seal_hash_mismatch",
        11,
    ),
    "a time by a microsecond": (
        "UPDATE daybook.events SET recorded_at = recorded_at + interval '1 microsecond' WHERE position = 11",
        "event_time_differs",
        11,
    ),
    "an event gone": ("DELETE FROM daybook.events WHERE position = 11", "event_missing", 11),
    "the last event gone": ("DELETE FROM daybook.events WHERE position = 24", "event_missing", 24),
    "a seal gone": ("DELETE FROM daybook.seals WHERE first = 11", "seal_out_of_place", 11),
    "an event more": (
        "INSERT INTO daybook.events SELECT 25, recorded_at, gen_random_uuid(), version, name, metadata, payload"
        " FROM daybook.events WHERE position = 11",
        "event_unsealed",
        25,
    ),
    "a posting's amount": ("UPDATE daybook.postings SET amount = 1 WHERE position = 12", "posting_differs", 12),
    "a posting's side": (
        "UPDATE daybook.postings SET side = 'C' WHERE position = 12 AND side = 'D'",
        "posting_differs",
        12,
    ),
    "a posting's total": ("UPDATE daybook.postings SET debits = 1 WHERE position = 12", "posting_differs", 12),
    "a posting's day": (
        "UPDATE daybook.postings SET value_date = '2000-01-01' WHERE position = 12",
        "posting_differs",
        12,
    ),
    "a posting gone": ("DELETE FROM daybook.postings WHERE position = 12 AND side = 'D'", "posting_missing", 12),
    "a posting more": (
        "INSERT INTO daybook.postings SELECT account, 99, position, amount, debits, credits, 0, 0, value_date, side,"
        " pending FROM daybook.postings WHERE position = 12 AND side = 'D'",
        "posting_extra",
        12,
    ),
    "a book's title": ("UPDATE daybook_read.books SET title = 'Ours' WHERE code = 'main'", "books_differ", 1),
    "a book gone": ("DELETE FROM daybook_read.books WHERE code = 'main'", "books_differ", 1),
    **{
        f"an account's {column}": (
            f"UPDATE daybook_read.accounts SET {column} = {value} WHERE opened_position = 3",
            "accounts_differ",
            3,
        )
        for column, value in {
            "book_id": "gen_random_uuid()",
            "code": "'till'",
            "type": "'expense'",
            "currency": "'USD'",
            "title": "NULL",
            "status": "'frozen'",
            "opened_on": "'2000-01-01'",
            "opened_at": "opened_at + interval '1 microsecond'",
            "metadata": """'{"branch": "south"}'""",
            "version": "2",
        }.items()
    },
    "an account gone": ("DELETE FROM daybook_read.accounts WHERE opened_position = 6", "accounts_differ", 23),
    "an account more": (
        "INSERT INTO daybook_read.accounts SELECT gen_random_uuid(), book_id, 'x', type, currency, title,"
        " status, opened_on, opened_at, metadata, 1, 3, 3 FROM daybook_read.accounts WHERE opened_position = 3",
        "accounts_differ",
        3,
    ),
    **{
        f"a balance's {column}": (
            f"UPDATE daybook_read.balances SET {column} = {column} + 1 WHERE position = 13 AND debits > 0",
            "balances_differ",
            13,
        )
        for column in ("debits", "credits", "pending_debits", "pending_credits", "postings")
    },
    "a balance gone": ("DELETE FROM daybook_read.balances WHERE position = 13 AND debits > 0", "balances_differ", 13),
    **{
        f"an entry's {column}": (
            f"UPDATE daybook_read.entries SET {column} = {value} WHERE position = 12",
            "entries_differ",
            12,
        )
        for column, value in {
            "book_id": "gen_random_uuid()",
            "recorded_at": "recorded_at + interval '1 microsecond'",
            "reverses": "gen_random_uuid()",
            "value_date": "'2000-01-01'",
            "actor": "'nobody'",
            "description": "'No sale'",
            "reference": "NULL",
            "metadata": "'{}'",
            "captures": "gen_random_uuid()",
            "recipe": "'{}'",
            "postings": "jsonb_set(postings, '{0,2}', '101')",
        }.items()
    },
    "an entry's reversal": (
        "UPDATE daybook_read.entries SET reversed_by = NULL WHERE position = 12",
        "entries_differ",
        17,
    ),
    "a reversal that was none": (
        "UPDATE daybook_read.entries SET reversed_by = gen_random_uuid() WHERE position = 11",
        "entries_differ",
        11,
    ),
    "an entry gone": ("DELETE FROM daybook_read.entries WHERE position = 12", "entries_differ", 12),
    "an entry more": (
        "INSERT INTO daybook_read.entries SELECT gen_random_uuid(), book_id, 10, recorded_at, NULL, NULL, value_date,"
        " actor, description, reference, metadata, postings FROM daybook_read.entries WHERE position = 12",
        "entries_differ",
        10,
    ),
    **{
        f"a record's {column}": (
            f"UPDATE daybook_read.audit_trail SET {column} = {value} WHERE position = 15",
            "audit_trail_differs",
            15,
        )
        for column, value in {
            "recorded_at": "recorded_at + interval '1 microsecond'",
            "stream": "gen_random_uuid()",
            "book_id": "NULL",
            "scope": "NULL",
            "event": "'journal_entry.posted.v1'",
            "actor": "'nobody'",
            "request_id": "NULL",
            "correlation_id": "'c'",
            "causation_id": "'c'",
            "idempotency_key": "NULL",
            "command": "'open_book'",
            "refusal": "NULL",
            "details": "details || '{\"available\": 1}'",
        }.items()
    },
    "a record gone": ("DELETE FROM daybook_read.audit_trail WHERE position = 15", "audit_trail_differs", 15),
    "read models ahead": ("UPDATE daybook_read.tracking SET notification_id = 25", "read_model_ahead", 25),
}


@pytest.mark.parametrize("what", TAMPERED)
def test_tampering(projected: str, what: str) -> None:
    """
    Edited, deleted or added by SQL, in any table and any column: the mismatch has its code and its position.
    """
    statement, code, position = TAMPERED[what]
    tamper(projected, statement)

    report = checked(projected)

    assert (code, position) in {(finding.code, finding.position) for finding in report.findings}
    assert report.first_bad_position == position
    assert (report.verdict, report.exit_code) == ("mismatch", 1)


def test_a_row_twice_and_another_gone(projected: str) -> None:
    """
    A second row of one account does not stand in for another account's.
    """
    tamper(
        projected,
        "ALTER TABLE daybook_read.balances DROP CONSTRAINT balances_pkey",
        "INSERT INTO daybook_read.balances SELECT * FROM daybook_read.balances WHERE position = 13 AND debits > 0",
        "DELETE FROM daybook_read.balances WHERE position = 13 AND credits > 0",
    )

    assert checked(projected).counts == {"balances_differ": 2}


def test_asked_of_a_thing_that_came_later(database: str) -> None:
    """
    A command upon what was not there yet is of no book, also after the thing has come.
    """

    async def write() -> None:
        async with started(PostgresEventStore(database)) as desk:
            for command in (open_book(), freeze("late"), open_account("late"), freeze("late"), freeze("late")):
                await desk.submit(asked(command))
            for code in ("a", "b"):
                await desk.submit(asked(open_account(code)))
            refused = await desk.submit(asked(reverse(ids.command_id(BOOK, "post_entry", "late"))))
            posted = await desk.submit(asked(transfer("a", "b"), "late"))
            assert refused.refusal is not None
            assert posted.recorded[0].stream_id == ids.command_id(BOOK, "post_entry", "late")

    asyncio.run(write())
    catch_up(database)

    assert checked(database).verdict == "verified"


def test_a_read_model_gone(projected: str) -> None:
    """
    A table that is not there cannot be checked; all others are.
    """
    tamper(projected, "DROP TABLE daybook_read.entries")

    report = checked(projected)

    assert {check.name for check in report.checks if check.incomplete} == {"entries"}
    assert (report.findings, report.exit_code) == ((), 2)


def test_a_column_gone(projected: str) -> None:
    """
    Nor can a table of another shape.
    """
    tamper(projected, "ALTER TABLE daybook_read.accounts DROP COLUMN title")

    report = checked(projected)

    assert {check.name for check in report.checks if check.incomplete} == {"accounts"}


@pytest.mark.parametrize(
    ("table", "column", "check"),
    [
        ("daybook_read.days", "debits", "days"),
        ("daybook_read.audit_trail", "position", "audit_trail"),
        ("daybook.postings", "number", "postings"),
    ],
)
def test_a_column_of_another_type(projected: str, table: str, column: str, check: str) -> None:
    """
    Nor one whose values are of another type: its bytes mean something else.
    """
    tamper(projected, f"ALTER TABLE {table} ALTER COLUMN {column} TYPE integer")

    report = checked(projected)

    assert {made.name for made in report.checks if made.incomplete} == {check}
    assert (report.findings, report.exit_code) == ((), 2)


def test_another_version_of_a_projection(projected: str) -> None:
    """
    Tables that a projection of another version keeps are not this one's to judge.
    """
    tamper(
        projected,
        "UPDATE daybook_read.tracking SET application_name = 'journal.v9' WHERE application_name LIKE 'journal%'",
    )

    report = checked(projected)

    assert {check.name for check in report.checks if check.incomplete} == {"entries"}
    assert report.exit_code == 2


def test_a_time_that_is_none(projected: str) -> None:
    """
    A value that Python has no form for stops the check, and does not pass it.
    """
    tamper(projected, "UPDATE daybook.events SET recorded_at = 'infinity' WHERE position = 11")

    assert checked(projected).exit_code != 0


def test_times_are_utc(written: str) -> None:
    """
    Whatever the server's time zone, times compare and show as UTC.
    """
    with PostgresLog(written) as log:
        head = log.head()

    assert head is not None
    assert head.recorded_at.utcoffset() == datetime.now(UTC).utcoffset()
