"""`daybook export` and `daybook import --events`: the log as a file, and the file as the same log."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from adapters.memory.store import MemoryEventStore
from adapters.postgres.store import PostgresEventStore
from commands.hold import CaptureHold, PlaceHold
from replay.export import lines
from tests.conftest import Server, database_on
from tests.e2e.test_cli import Daybook
from tests.escrowed import write_escrows
from tests.paid import write_payments
from tests.serving import Caller, head, serving, transfer, until
from tests.stored import MemoryStored, ids_of, ticking, write_everything
from tests.support import answers, asked, open_account, open_book, started
from tests.support import transfer as transfer_command

TABLES = ("events", "postings", "seals")


@pytest.fixture
def written(database: str) -> str:
    """A database with something of everything, holds, payments and escrows too."""
    asyncio.run(write_everything(PostgresEventStore(database)))
    asyncio.run(write_holds(PostgresEventStore(database)))
    asyncio.run(write_payments(PostgresEventStore(database)))
    asyncio.run(write_escrows(PostgresEventStore(database)))
    return database


async def write_holds(store: PostgresEventStore) -> None:
    async with started(store) as desk:
        hold = PlaceHold(book="main", account="cash", destination="sales", amount=40, currency="EUR")
        placed = await desk.submit(asked(hold, "hold-1"))
        await desk.submit(asked(CaptureHold(hold_id=ids_of(placed), amount=15), "hold-2"))


@pytest.fixture
def other(server: Server, template: str) -> Iterator[str]:
    """A second database, migrated and empty."""
    with database_on(server, template=template) as dsn:
        yield dsn


def rows(dsn: str) -> dict[str, list[tuple[object, ...]]]:
    """Everything in the log's tables, to the byte."""
    with psycopg.connect(dsn) as connection:
        return {
            table: connection.execute(f"SELECT t::text FROM daybook.{table} AS t ORDER BY 1".encode()).fetchall()
            for table in TABLES
        }


def many(count: int) -> list[bytes]:
    """An exported log of that many entries, about; under as few seals as the desk makes of them."""

    async def write(store: MemoryEventStore) -> None:
        async with started(store) as desk:
            await desk.submit(asked(open_book()))
            await answers(desk, asked(open_account("cash")), asked(open_account("owner", "equity")))
            await answers(desk, *(asked(transfer_command("cash", "owner", n + 1), f"many-{n}") for n in range(count)))

    store = ticking()
    asyncio.run(write(store))
    return list(lines(MemoryStored(store)))


def test_there_and_back(tmp_path: Path, written: str, other: str) -> None:
    """
    The copy is the log, to the byte: rows, seals, a second export, what verification says, and what it says next.
    """
    here, there = Daybook(tmp_path, DATABASE_URL=written), Daybook(tmp_path, DATABASE_URL=other)

    exported = here("export", "books.jsonl")
    imported = there("import", "--events", "books.jsonl")
    again = there("export", "again.jsonl")
    verified = there("verify")

    assert (exported.code, imported.code, again.code, verified.code) == (0, 0, 0, 0), (imported, verified)
    assert rows(other) == rows(written)
    assert (tmp_path / "again.jsonl").read_bytes() == (tmp_path / "books.jsonl").read_bytes()
    assert f"position {head(written)}, sealed " in imported.out
    with serving(other) as url, Caller(url) as caller:
        replayed = caller.ask("/v1/books", {"code": "main"}, key="key-nobody-used")
        caller.done("/v1/journal-entries", transfer("cash", "owner", 3))
    assert replayed.status_code == 409
    assert head(other) == head(written) + 2
    assert there("verify").code == 0


def test_standard_output(daybook_written: Daybook) -> None:
    """
    `-` writes to a pipe, and only events.
    """
    ran = daybook_written.process("-m", "adapters.cli", "export", "-")

    shapes = [json.loads(line) for line in ran.out.splitlines()]

    assert ran.code == 0
    assert shapes[0]["daybook"] == "export"
    assert "seal" in shapes[-1]
    assert len(shapes) > 20


@pytest.fixture
def daybook_written(tmp_path: Path, written: str) -> Daybook:
    return Daybook(tmp_path, DATABASE_URL=written)


def test_a_file_that_is_there_is_kept(daybook_written: Daybook) -> None:
    """
    An export overwrites nothing, and leaves nothing half written.
    """
    daybook_written.file("books.jsonl", "mine")

    ran = daybook_written("export", "books.jsonl")

    assert (ran.code, "is there already" in ran.err) == (2, True)
    assert [path.name for path in daybook_written.folder.iterdir()] == ["books.jsonl"]


def test_a_file_cut_by_a_byte(tmp_path: Path, other: str) -> None:
    """
    What is whole is imported, the line at fault is named, and the whole file goes on from there.
    """
    file = many(20)
    daybook = Daybook(tmp_path, DATABASE_URL=other)
    (tmp_path / "cut.jsonl").write_bytes(b"".join(file)[:-1])
    (tmp_path / "whole.jsonl").write_bytes(b"".join(file))

    cut = daybook("import", "--events", "cut.jsonl")
    before = head(other)
    whole = daybook("import", "--events", "whole.jsonl")

    assert (cut.code, f"line {len(file)}: is cut off" in cut.err) == (2, True), cut
    assert f"to position {before}" in cut.err
    assert (before, whole.code, head(other)) == (0, 0, len(file) - file_seals(file) - 1)
    assert daybook("import", "--events", "whole.jsonl").code == 0
    assert daybook("verify").code == 0


def file_seals(file: list[bytes]) -> int:
    return sum(line.startswith(b'{"seal"') for line in file)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (b'"actor":"tester"', b'"actor":"someone"', "is the seal of other events"),
        (b'"side":"debit","amount":1,', b'"side":"debit","amount":2,', "is the seal of other events"),
        (b'"position":5,', b'"position":6,', "is the event at 6, where 5 is due"),
    ],
    ids=["metadata", "amount", "position"],
)
def test_a_forged_line(tmp_path: Path, other: str, old: bytes, new: bytes, said: str) -> None:
    """
    Nothing of a commit with a changed line gets in, and the message says which line.
    """
    file = b"".join(many(3))
    assert old in file
    (tmp_path / "forged.jsonl").write_bytes(file.replace(old, new, 1))

    ran = Daybook(tmp_path, DATABASE_URL=other)("import", "--events", "forged.jsonl")

    assert (ran.code, said in ran.err) == (2, True), ran
    assert "forged.jsonl: line " in ran.err
    assert head(other) == 0


def test_a_store_with_other_events(tmp_path: Path, written: str) -> None:
    """
    A store that holds something else, or more than the file, is left as it is.
    """
    (tmp_path / "other.jsonl").write_bytes(b"".join(many(3)))
    (tmp_path / "long.jsonl").write_bytes(b"".join(many(200)))
    daybook, before = Daybook(tmp_path, DATABASE_URL=written), rows(written)

    refused = [daybook("import", "--events", name) for name in ("other.jsonl", "long.jsonl")]

    assert [(ran.code, "an empty store" in ran.err) for ran in refused] == [(2, True)] * 2, refused
    assert rows(written) == before


def test_a_store_with_as_many_other_events(tmp_path: Path, other: str) -> None:
    """
    A store at the very position where the file ends is the same one only if the seals there are.
    """
    twin = ticking()
    asyncio.run(write_everything(twin))
    asyncio.run(write_everything(PostgresEventStore(other)))
    (tmp_path / "twin.jsonl").write_bytes(b"".join(lines(MemoryStored(twin))))
    assert head(other) == len(twin.events)

    ran = Daybook(tmp_path, DATABASE_URL=other)("import", "--events", "twin.jsonl")

    assert (ran.code, "the store holds other events" in ran.err) == (2, True), ran


def test_killed(tmp_path: Path, other: str) -> None:
    """
    kill -9 in the middle of an import leaves whole commits, and the same command makes the rest of it.
    """
    file = many(6_000)
    (tmp_path / "books.jsonl").write_bytes(b"".join(file))
    os.mkfifo(tmp_path / "pipe")
    daybook = Daybook(tmp_path, DATABASE_URL=other)
    command = [sys.executable, "-m", "adapters.cli", "import", "--events", "pipe"]
    with subprocess.Popen(command, cwd=tmp_path, env=daybook.environment, stderr=subprocess.DEVNULL) as popen:
        with (tmp_path / "pipe").open("wb") as pipe:
            pipe.write(b"".join(file[:5_000]))
            pipe.flush()
            until(lambda: head(other) > 0)
            popen.kill()
            popen.wait()
    reached = head(other)

    again = daybook("import", "--events", "books.jsonl")

    assert 0 < reached < 5_000
    assert again.code == 0, again
    assert head(other) == len(file) - file_seals(file) - 1
    assert daybook("verify").code == 0
    assert daybook("export", "again.jsonl").code == 0
    assert (tmp_path / "again.jsonl").read_bytes() == b"".join(file)
