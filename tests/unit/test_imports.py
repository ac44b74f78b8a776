"""Files to rows, rows to commands, commands through a desk: each row once, in order, or rejected with the reason."""

import asyncio
import csv
import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from datetime import date
from functools import partial
from pathlib import Path
from uuid import UUID

import pytest

from adapters.imports import rows
from adapters.imports.files import LINE_BYTES_MAX, BadFile, BadRow, Columns, Line, read
from adapters.imports.loading import Counts, GivenUp, Loading
from adapters.imports.rejects import Rejects
from adapters.memory.store import MemoryEventStore, MemoryWriting
from commands.account import OpenAccount
from commands.journal import PostEntry
from domain import ids
from domain.errors import Unavailable
from domain.events import CommandRefused, EntryPosted, recorded
from tests.stored import ticking
from tests.support import BOOK, asked, desk, open_book, started

ENTRIES = "reference,value_date,debit,credit,amount,currency,description\n"
ACCOUNTS = "code,type,currency,opened,overdraft_limit\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "journal.csv"


def lines(file: Path, text: str | bytes, columns: Columns = rows.ENTRY_COLUMNS) -> list[Line]:
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return list(read(file, columns))


# Files.


def test_rows_are_numbered_as_in_the_file(file: Path) -> None:
    """
    The header is line 1, blank lines count and are no rows, and either line ending will do.
    """
    found = lines(file, ENTRIES + "a,2026-01-01,x,y,1,EUR,\r\n\n  \nb,2026-01-01,x,y,2,EUR,two")

    assert [(line.number, line.row) for line in found] == [
        (
            2,
            {
                "reference": "a",
                "value_date": "2026-01-01",
                "debit": "x",
                "credit": "y",
                "amount": "1",
                "currency": "EUR",
            },
        ),
        (
            5,
            {
                **{"reference": "b", "value_date": "2026-01-01", "debit": "x", "credit": "y", "amount": "2"},
                **{"currency": "EUR", "description": "two"},
            },
        ),
    ]
    assert found[-1].end == file.stat().st_size


def test_a_byte_order_mark_is_no_column(file: Path) -> None:
    """
    What spreadsheets put before the header is left out.
    """
    assert len(lines(file, b"\xef\xbb\xbf" + ENTRIES.encode() + b"a,2026-01-01,x,y,1,EUR,")) == 1


def test_quotes(file: Path) -> None:
    """
    A quoted value holds commas and quotes.
    """
    (line,) = lines(file, ENTRIES + 'a,2026-01-01,x,y,1,EUR,"one, ""two"""')

    assert isinstance(line.row, dict)
    assert line.row["description"] == 'one, "two"'


@pytest.mark.parametrize(
    ("header", "why"),
    [
        ("reference,value_date,debit,credit,amount", "no column currency"),
        (ENTRIES.strip() + ",colour", "an unknown column 'colour'"),
        (ENTRIES.strip() + ",amount", "column amount twice"),
        ("", "no column reference"),
        ('"', "not a row of CSV"),
    ],
)
def test_a_bad_header_is_a_bad_file(file: Path, header: str, why: str) -> None:
    """
    With columns that are not understood nothing is imported at all.
    """
    with pytest.raises(BadFile, match=why):
        lines(file, header + "\nx,y\n")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    """
    A file that cannot be read, or is of no known kind, is said to be so.
    """
    with pytest.raises(BadFile, match="No such file"):
        list(read(tmp_path / "no.csv", rows.ENTRY_COLUMNS))
    with pytest.raises(BadFile, match="neither"):
        list(read(tmp_path / "no.xlsx", rows.ENTRY_COLUMNS))


@pytest.mark.parametrize(
    ("row", "why"),
    [
        (b"a,2026-01-01,x,y,1,EUR", "6 values in 7 columns"),
        (b"a,2026-01-01,x,y,1,EUR,,", "8 values in 7 columns"),
        (b'a,2026-01-01,x,y,1,EUR,"no end', "not a row of CSV"),
        (b'a,2026-01-01,x,y,1,EUR,"a"b', "not a row of CSV"),
        (b"a,2026-01-01,x,y,1,EUR,\xff", "not UTF-8"),
        (b"a,2026-01-01,x,y,1,EUR," + b"x" * LINE_BYTES_MAX, "bytes or more"),
    ],
)
def test_a_bad_row_spares_the_next(file: Path, row: bytes, why: str) -> None:
    """
    A row that is no row is one bad row: the next line is read as if nothing had been.
    """
    good = b"good,2026-01-01,x,y,1,EUR,"

    bad, after = lines(file, ENTRIES.encode() + row + b"\n" + good + b"\n")

    assert isinstance(bad.row, BadRow)
    assert why in bad.row.reason
    assert (after.number, after.text) == (3, good.decode())
    assert after.end == file.stat().st_size


@pytest.mark.parametrize(
    ("row", "code"),
    [
        ("[1]", "json_not_an_object"),
        ("{", "json_malformed"),
        ('{"amount": "1", "amount": "2"}', "json_duplicate_key"),
        ('{"amount": 1.5}', "json_float"),
        ('{"amount": NaN}', "json_not_a_number"),
        ('{"colour": "red"}', "malformed_row"),
    ],
)
def test_bad_json_lines(tmp_path: Path, row: str, code: str) -> None:
    """
    JSON is read strictly, line by line.
    """
    bad, after = lines(tmp_path / "j.jsonl", row + '\n\n{"reference": "a"}', rows.ENTRY_FIELDS)

    assert isinstance(bad.row, BadRow)
    assert bad.row.code == code
    assert (after.number, after.row) == (3, {"reference": "a"})


# Rows.

ACCOUNT = {"code": "cash", "type": "asset", "currency": "EUR"}
ENTRY = {
    **{"reference": "r-1", "value_date": "2026-01-31", "debit": "cash", "credit": "sales", "amount": "10.5"},
    **{"currency": "EUR", "description": "A sale"},
}


def test_an_account() -> None:
    """
    An account's row is the command to open it, under a key of its code.
    """
    row = {**ACCOUNT, "opened": "1993-01-01", "overdraft_limit": "10.50", "title": "Till"}

    assert rows.account(row, book="main") == (
        "import:cash",
        OpenAccount.model_validate(
            {
                **{"book": "main", "code": "cash", "type": "asset", "currency": "EUR", "overdraft_limit": 1050},
                **{"opened_on": "1993-01-01", "title": "Till"},
            }
        ),
    )


@pytest.mark.parametrize(
    ("text", "currency", "limit"), [("unlimited", "EUR", None), ("", "EUR", 0), ("0.00", "EUR", 0), ("7", "JPY", 7)]
)
def test_overdraft_limits(text: str, currency: str, limit: int | None) -> None:
    """
    A limit is a decimal of the currency; `unlimited` is no limit, nothing is zero.
    """
    _, command = rows.account({**ACCOUNT, "currency": currency, "overdraft_limit": text}, book="main")

    assert isinstance(command, OpenAccount)
    assert command.overdraft_limit == limit


def test_an_entry() -> None:
    """
    An entry's row is a transfer from the credited account to the debited one, under a key of its reference.
    """
    key, command = rows.entry(ENTRY, book="main")

    assert key == "import:r-1"
    assert isinstance(command, PostEntry)
    assert command.value_date == date(2026, 1, 31)
    assert [(p.account, p.side.value, p.amount, p.currency) for p in command.postings or ()] == [
        ("cash", "debit", 1050, "EUR"),
        ("sales", "credit", 1050, "EUR"),
    ]


def test_an_entry_of_postings() -> None:
    """
    An entry of more postings lists them; a posting without a currency has the entry's.
    """
    row = {
        "reference": "r-1",
        "value_date": "2026-01-31",
        "currency": "EUR",
        "postings": [
            {"account": "cash", "side": "debit", "amount": "12"},
            {"account": "sales", "side": "credit", "amount": "12"},
            {"account": "yen", "side": "debit", "amount": "5", "currency": "JPY"},
            {"account": "yen:owner", "side": "credit", "amount": "5", "currency": "JPY"},
        ],
    }

    _, command = rows.entry(row, book="main")

    assert isinstance(command, PostEntry)
    assert [(p.amount, p.currency) for p in command.postings or ()] == [
        (1200, "EUR"),
        (1200, "EUR"),
        (5, "JPY"),
        (5, "JPY"),
    ]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"reference": ""}, "missing_value"),
        ({"value_date": ""}, "missing_value"),
        ({"value_date": "31.1.2026"}, "invalid_date"),
        ({"value_date": "20260131"}, "invalid_date"),
        ({"value_date": "2026-02-30"}, "invalid_date"),
        ({"debit": ""}, "missing_value"),
        ({"debit": "no such code!"}, "invalid_value"),
        ({"amount": ""}, "missing_value"),
        ({"amount": "0"}, "invalid_amount"),
        ({"amount": "0.00"}, "invalid_amount"),
        ({"amount": "-1"}, "invalid_amount"),
        ({"amount": "1.005"}, "invalid_amount"),
        ({"amount": "1,005.00"}, "invalid_amount"),
        ({"amount": "1e3"}, "invalid_amount"),
        ({"amount": "١٢"}, "invalid_amount"),
        ({"amount": "1_000"}, "invalid_amount"),
        ({"amount": "9" * 30}, "invalid_amount"),
        ({"amount": "99999999999999999"}, "invalid_value"),
        ({"amount": 10}, "malformed_row"),
        ({"currency": "XYZ"}, "unknown_currency"),
        ({"currency": "eur"}, "unknown_currency"),
        ({"description": "a\tb"}, "invalid_value"),
        ({"description": "x" * 501}, "invalid_value"),
        ({"postings": []}, "malformed_row"),
        ({"postings": [], "debit": None, "credit": None, "amount": None}, "malformed_row"),
    ],
)
def test_bad_entries(change: dict[str, object], code: str) -> None:
    """
    What cannot be understood for certain is no entry.
    """
    with pytest.raises(BadRow) as bad:
        rows.entry({**ENTRY, **change}, book="main")

    assert bad.value.code == code


@pytest.mark.parametrize(
    "postings",
    [
        [],
        "none",
        [1],
        [{"account": "cash", "side": "debit", "amount": "1"}],
        [{"account": "cash", "side": "left", "amount": "1"}] * 2,
        [{"account": "cash", "side": "debit", "amount": 1}] * 2,
        [{"account": "cash", "side": "debit", "amount": "1", "colour": "red"}] * 2,
    ],
)
def test_bad_postings(postings: object) -> None:
    """
    Nor is a list that is no list of postings.
    """
    with pytest.raises(BadRow):
        rows.entry({"reference": "r", "value_date": "2026-01-31", "currency": "EUR", "postings": postings}, book="main")


@pytest.mark.parametrize(
    "change",
    [{"type": "money"}, {"code": ""}, {"overdraft_limit": "none"}, {"overdraft_limit": "-1"}, {"opened": "now"}],
)
def test_bad_accounts(change: dict[str, str]) -> None:
    """
    The same holds for accounts.
    """
    with pytest.raises(BadRow):
        rows.account({**ACCOUNT, **change}, book="main")


# Loading.


class Loaded:
    """A book with accounts, in a store; and what comes of importing into it."""

    def __init__(self, folder: Path, store: MemoryEventStore | None = None) -> None:
        self.folder = folder
        self.store = store or ticking()
        self.rejected: list[list[str]] = []
        self.of("accounts.csv", ACCOUNTS + "cash,asset,EUR,,0\nsales,revenue,EUR,,0\nowner,equity,EUR,,unlimited\n")

    def of(self, name: str, text: str, *, in_flight: int = 5, patience_s: float = 5.0) -> Counts:
        """Import a file of that content."""
        return asyncio.run(self._of(self.folder / name, text, in_flight, patience_s))

    async def _of(self, path: Path, text: str, in_flight: int, patience_s: float) -> Counts:
        path.write_text(text)
        accounts = path.name.startswith("accounts")
        columns = rows.ACCOUNT_COLUMNS if accounts else rows.ENTRY_COLUMNS
        build = partial(rows.account if accounts else rows.entry, book="main")
        kept = Rejects(path.with_name(path.name + ".rejected.csv"))
        async with started(self.store) as working:
            if accounts:
                await working.submit(asked(open_book(), "main"))
            loading = Loading(
                *(working, path, build, kept),
                actor="me",
                watch=lambda counts, end: None,
                in_flight=in_flight,
                patience_s=patience_s,
            )
            try:
                return await loading.run(read(path, columns))
            finally:
                kept.close()
                self.rejected = list(csv.reader(kept.path.read_text().splitlines())) if kept.count else []

    @property
    def booked(self) -> list[str]:
        """The references of the entries, in the log's order."""
        events = [recorded(raw).event for raw in self.store.events]
        return [event.reference for event in events if isinstance(event, EntryPosted)]

    @property
    def refusals(self) -> int:
        return sum(isinstance(recorded(raw).event, CommandRefused) for raw in self.store.events)


@pytest.fixture
def loaded(tmp_path: Path) -> Loaded:
    return Loaded(tmp_path)


def entry(reference: str, debit: str = "cash", credit: str = "owner", amount: str = "1") -> str:
    return f"{reference},2026-01-31,{debit},{credit},{amount},EUR,\n"


def test_everything_in_order(loaded: Loaded) -> None:
    """
    All rows are booked in the file's order, however many are in flight.
    """
    names = [f"r-{number}" for number in range(500)]

    counts = loaded.of("j.csv", ENTRIES + "".join(map(entry, names)), in_flight=64)

    assert counts == Counts(booked=500)
    assert loaded.booked == names
    assert not (loaded.folder / "j.csv.rejected.csv").exists()


def test_order_decides(loaded: Loaded) -> None:
    """
    Money that comes in a line earlier can be spent a line later, and not the other way round.
    """
    there_and_back = "".join(entry(f"in-{n}") + entry(f"out-{n}", "owner", "cash") for n in range(100))

    assert loaded.of("j.csv", ENTRIES + there_and_back, in_flight=50) == Counts(booked=200)


def test_bad_rows_are_left_out(loaded: Loaded) -> None:
    """
    Bad rows and refused ones go to the file of rejects with line, code and reason; all others are booked.
    """
    text = entry("a") + entry("b", amount="0") + "c,what\n" + entry("d", "nobody") + entry("e", "owner", "cash", "99")

    counts = loaded.of("j.csv", ENTRIES + text + entry("f"))

    assert counts == Counts(booked=2, rejected=4)
    assert loaded.booked == ["a", "f"]
    header, *rejected = loaded.rejected
    assert header == ["file", "line", "code", "reason", "row"]
    assert [row[:3] for row in rejected] == [
        ["j.csv", "3", "invalid_amount"],
        ["j.csv", "4", "malformed_row"],
        ["j.csv", "5", "account_not_found"],
        ["j.csv", "6", "insufficient_funds"],
    ]
    assert rejected[3][4] == entry("e", "owner", "cash", "99").strip()
    assert "requested 9900, available 100" in rejected[3][3]


def test_again_books_nothing_twice(loaded: Loaded) -> None:
    """
    The same file again, longer: what is there is counted as such, what is new is booked.
    """
    loaded.of("j.csv", ENTRIES + entry("a") + entry("b"))

    assert loaded.of("j.csv", ENTRIES + entry("a") + entry("b") + entry("c")) == Counts(booked=1, already=2)
    assert loaded.booked == ["a", "b", "c"]


def test_a_reference_twice(loaded: Loaded) -> None:
    """
    A row twice in a file is booked once; another row under its reference is rejected.
    """
    counts = loaded.of("j.csv", ENTRIES + entry("a") + entry("a") + entry("a", amount="2"))

    assert counts == Counts(booked=1, already=1, rejected=1)
    assert loaded.rejected[1][1:3] == ["4", "reference_reused"]


def test_a_refused_row_is_asked_again_by_the_next_import(loaded: Loaded) -> None:
    """
    What was refused is booked once its reason is gone, with what depends on it; and then never again.
    """
    text = ENTRIES + entry("early", "new") + entry("b") + entry("spend", "owner", "new")
    assert loaded.of("j.csv", text) == Counts(booked=1, rejected=2)

    loaded.of("accounts.csv", ACCOUNTS + "new,asset,EUR,,0\n")

    assert loaded.of("j.csv", text) == Counts(booked=2, already=1)
    assert loaded.booked == ["b", "early", "spend"]
    assert loaded.of("j.csv", text) == Counts(already=3)
    assert loaded.booked == ["b", "early", "spend"]


def test_a_refused_row_stays_refused_while_its_reason_stands(loaded: Loaded) -> None:
    """
    Importing again and again books nothing of it, and each time says so.
    """
    text = ENTRIES + entry("a", "nobody") + entry("b")

    assert [loaded.of("j.csv", text).rejected for _ in range(3)] == [1, 1, 1]
    assert loaded.booked == ["b"]
    assert loaded.refusals == 3


def test_stale_rejects_go(loaded: Loaded) -> None:
    """
    After an import without rejected rows there is no file of rejects, unless it is somebody else's.
    """
    loaded.of("j.csv", ENTRIES + entry("a", "nobody"))
    assert (loaded.folder / "j.csv.rejected.csv").exists()

    loaded.of("j.csv", ENTRIES + entry("b"))
    assert not (loaded.folder / "j.csv.rejected.csv").exists()

    (loaded.folder / "j.csv.rejected.csv").write_text("mine")
    loaded.of("j.csv", ENTRIES + entry("c"))
    assert (loaded.folder / "j.csv.rejected.csv").read_text() == "mine"


class Failing(MemoryEventStore):
    """Cannot be reached at those takings of its lock, counted from 1 once it is told to fail."""

    def __init__(self, store: MemoryEventStore) -> None:
        super().__init__(store._now)
        self._away_at: Collection[int] = ()
        self._count = 0

    def failing(self, away_at: Collection[int]) -> None:
        self._count = 0
        self._away_at = away_at

    @contextmanager
    def writing(self, command_ids: Collection[UUID] = ()) -> Iterator[MemoryWriting]:
        self._count += 1
        if self._count in self._away_at:
            raise Unavailable("away")
        with super().writing(command_ids) as writing:
            yield writing


@pytest.mark.parametrize("away_at", [{1}, {2}, {2, 3}, {1, 3, 5, 7}])
def test_a_store_that_is_away_for_a_while(tmp_path: Path, away_at: set[int]) -> None:
    """
    Whatever batch fails, all rows are booked once; those that were refused for want of a failed one are asked again.
    """
    store = Failing(ticking())
    loaded = Loaded(tmp_path, store)
    store.failing(away_at)
    names = [name for number in range(20) for name in (f"in-{number}", f"out-{number}")]
    text = "".join(entry(name) if name.startswith("in") else entry(name, "owner", "cash") for name in names)

    counts = loaded.of("j.csv", ENTRIES + text, in_flight=10)

    assert counts == Counts(booked=40)
    assert sorted(loaded.booked) == sorted(names)


def test_a_store_that_stays_away(tmp_path: Path) -> None:
    """
    After a while the import gives up, with the line it was at; the next one goes on.
    """
    store = Failing(ticking())
    loaded = Loaded(tmp_path, store)
    store.failing(range(1, 10_000))

    with pytest.raises(GivenUp, match=r"line 2 of j\.csv: away"):
        loaded.of("j.csv", ENTRIES + entry("a"), patience_s=0.2)
    store.failing(())

    assert loaded.of("j.csv", ENTRIES + entry("a")) == Counts(booked=1)


def test_no_more_in_flight_than_said(loaded: Loaded) -> None:
    """
    A slow desk is not flooded, and the file is read no faster than it is booked.
    """
    most = 0

    async def load() -> Counts:
        nonlocal most
        path = loaded.folder / "j.csv"
        path.write_text(ENTRIES + "".join(entry(f"r-{number}") for number in range(200)))
        slow = desk(loaded.store, queue_max=20)
        gate = threading.Timer(0.2, slow.start)
        gate.start()

        def counted(lines: Iterator[Line]) -> Iterator[Line]:
            nonlocal most
            for line in lines:
                yield line
                most = max(most, line.number - 1 - loading.counts.rows)

        kept = Rejects(loaded.folder / "no.csv")
        build = partial(rows.entry, book="main")
        loading = Loading(slow, path, build, kept, actor="me", watch=lambda counts, end: None, in_flight=20)
        try:
            return await loading.run(counted(read(path, rows.ENTRY_COLUMNS)))
        finally:
            gate.join()
            await slow.stop()

    assert asyncio.run(load()) == Counts(booked=200)
    assert most == 20


def test_the_book_is_the_one_asked_for() -> None:
    """
    Rows go to the book they are imported into, whatever it is called.
    """
    _, command = rows.entry(ENTRY, book=ids.show(ids.BOOK, BOOK))

    assert command.scope == BOOK
