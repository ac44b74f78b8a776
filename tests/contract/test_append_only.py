"""What is written stays written, and maintenance runs beside writing: upon Postgres, with real sessions."""

import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from adapters.postgres.datastore import Datastore
from adapters.postgres.migrate import migrate
from adapters.postgres.recorder import LogRecorder
from adapters.postgres.store import PostgresEventStore
from domain.events import BookOpened, Metadata
from domain.ledger import Draft, Ledger
from tests.conftest import Server
from tests.support import books_of

TOP = Path(__file__).parents[2]

CHANGES = [
    statement.format(table)
    for table in ("events", "postings", "seals")
    for statement in (
        "UPDATE daybook.{0} SET " + ("amount = 1" if table == "postings" else "recorded_at = now()"),
        "DELETE FROM daybook.{0}",
        "DELETE FROM daybook.{0} WHERE false",
        "TRUNCATE daybook.{0}",
        "TRUNCATE daybook.{0} CASCADE",
    )
]
CHANGES += [
    "INSERT INTO daybook.seals SELECT * FROM daybook.seals ON CONFLICT (first) DO UPDATE SET hash = EXCLUDED.hash",
    "WITH gone AS (DELETE FROM daybook.events RETURNING 1) SELECT count(*) FROM gone",
    "MERGE INTO daybook.events AS e USING daybook.events AS s ON e.position = s.position WHEN MATCHED THEN DELETE",
]


@pytest.fixture(scope="module")
def owned(server: Server) -> Iterator[str]:
    """The DSN, as its owner, of a migrated database that is owned by a role which is no superuser."""
    with owner_on(server) as owner, psycopg.connect(server.admin, autocommit=True) as admin:
        name = f"daybook_test_{uuid.uuid4().hex[:12]}"
        admin.execute(f'CREATE DATABASE {name} TEMPLATE template0 OWNER "{conninfo_to_dict(owner)["user"]}"'.encode())
        try:
            dsn = make_conninfo(owner, dbname=name)
            migrate(dsn)
            append(dsn, times=2)
            yield dsn
        finally:
            admin.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


@contextmanager
def owner_on(server: Server) -> Iterator[str]:
    """A DSN of a role that is no superuser: the embedded server's own, or a new one."""
    with psycopg.connect(server.owner) as connection:
        if not is_superuser(connection):
            yield server.owner
            return
    with new_role(server) as role:
        yield role


@contextmanager
def new_role(server: Server) -> Iterator[str]:
    """A DSN of a role without any rights."""
    role = f"daybook_test_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(server.admin, autocommit=True) as admin:
        admin.execute(f"CREATE ROLE {role} LOGIN PASSWORD '{role}'".encode())
        try:
            yield make_conninfo(server.owner, user=role, password=role)
        finally:
            admin.execute(f"DROP ROLE {role}".encode())


def is_superuser(connection: psycopg.Connection[tuple[object, ...]]) -> bool:
    row = connection.execute("SELECT rolsuper FROM pg_roles WHERE rolname = current_user").fetchone()
    return bool(row and row[0])


def append(dsn: str, *, times: int) -> None:
    store = PostgresEventStore(dsn)
    for _ in range(times):
        write(store)
    store.close()


def write(store: PostgresEventStore, *, events: int = 1) -> list[UUID]:
    """One batch of events on streams of their own."""
    with store.writing() as writing:
        ledger = Ledger()
        ledger.applied = writing.head.position
        draft = Draft(ledger, writing.head.next_at)
        streams = [uuid.uuid4() for _ in range(events)]
        draft.append([(stream, 1, BookOpened(code="x")) for stream in streams], Metadata(actor="ann"))
        writing.append(draft.batch(writing.head))
    return streams


@pytest.mark.parametrize("statement", CHANGES)
def test_the_owner_may_not_change_what_is_written(owned: str, statement: str) -> None:
    """
    The role that Daybook runs as has no right to, though the tables are its own.
    """
    before = books_of(owned)

    with psycopg.connect(owned, autocommit=True) as owner, pytest.raises(psycopg.errors.InsufficientPrivilege) as no:
        owner.execute(statement.encode())

    assert "permission denied" in str(no.value)
    assert books_of(owned) == before


@pytest.mark.parametrize("statement", CHANGES)
@pytest.mark.parametrize("replication_role", ["origin", "replica"])
def test_nor_may_a_superuser(server: Server, owned: str, statement: str, replication_role: str) -> None:
    """
    Whoever is above rights meets the trigger, also where ordinary triggers are switched off.
    """
    before = books_of(owned)
    database = conninfo_to_dict(owned)["dbname"]

    with psycopg.connect(make_conninfo(server.admin, dbname=database), autocommit=True) as admin:
        if not is_superuser(admin):
            pytest.skip("DATABASE_URL's role is no superuser")
        admin.execute(f"SET session_replication_role = {replication_role}".encode())
        with pytest.raises(psycopg.errors.InsufficientPrivilege) as no:
            admin.execute(statement.encode())

    assert "is append-only" in str(no.value)
    assert books_of(owned) == before


@contextmanager
def writing_all_the_while(dsn: str) -> Iterator[list[int]]:
    """One writer that appends without pause; counts its batches."""
    done, batches = threading.Event(), [0]

    def write_on() -> None:
        store = PostgresEventStore(dsn)
        try:
            while not done.is_set():
                write(store)
                batches[0] += 1
        finally:
            store.close()

    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(write_on)
        try:
            yield batches
        finally:
            done.set()
            writing.result(timeout=10)


@pytest.mark.parametrize(
    "maintenance",
    [
        ["VACUUM daybook.events", "VACUUM (ANALYZE, FREEZE) daybook.events", "VACUUM daybook.postings, daybook.seals"],
        ["CREATE INDEX CONCURRENTLY events_name ON daybook.events (name)", "REINDEX TABLE CONCURRENTLY daybook.events"],
    ],
    ids=["VACUUM", "CREATE INDEX CONCURRENTLY"],
)
def test_maintenance_runs_beside_writing(owned: str, maintenance: list[str]) -> None:
    """
    The log's lock is no table lock: neither waits for the other to stop, and neither fails.
    """
    with writing_all_the_while(owned) as batches, psycopg.connect(owned, autocommit=True) as session:
        session.execute("SET lock_timeout = '5s'; SET statement_timeout = '30s'")
        for statement in maintenance:
            before = batches[0]
            while batches[0] < before + 5:
                threading.Event().wait(0.01)
            session.execute(statement.encode())

    books_of(owned).check()


def test_readers_are_not_held_up_by_a_writer(owned: str) -> None:
    """
    While the log's lock is held and a batch is on its way, the log is read as it is committed.
    """
    before, store = len(books_of(owned).events), PostgresEventStore(owned)
    with store.writing():
        with psycopg.connect(owned, options="-c lock_timeout=100 -c statement_timeout=1000") as reader:
            assert reader.execute("SELECT count(*) FROM daybook.events").fetchone() == (before,)
    store.close()


WRITER = """
import sys
from adapters.postgres.store import PostgresEventStore
from tests.contract.test_append_only import write

store = PostgresEventStore(sys.argv[1])
for turn in range(int(sys.argv[2])):
    if turn % 5 == 4:
        with store.writing():
            pass
    write(store, events=turn % 3 + 1)
store.close()
"""


def test_a_tailing_reader_skips_nothing(owned: str) -> None:
    """
    Positions are in commit order and without gaps, so that whoever reads on from the last one it saw sees them all.
    """
    before = len(books_of(owned).events)
    command = [sys.executable, "-c", WRITER, owned, "150"]
    writers = [subprocess.Popen(command, cwd=TOP) for _ in range(3)]
    seen: list[int] = []

    with Datastore(owned) as datastore:
        recorder = LogRecorder(datastore)
        finished = False
        while not finished:
            finished = all(writer.poll() is not None for writer in writers)
            last = seen[-1] if seen else None
            seen += [event.id for event in recorder.select_notifications(last, 1000, inclusive_of_start=False)]

    assert [writer.returncode for writer in writers] == [0, 0, 0]
    books = books_of(owned)
    books.check()
    assert len(books.events) == before + 3 * 300
    assert seen == [event.position for event in books.events]
