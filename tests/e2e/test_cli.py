"""The command line as people and programs meet it: the console script's function, or a process that can be killed."""

import csv
import io
import json
import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import chdir, contextmanager, redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import httpx2
import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import TupleRow

from adapters.cli import main
from adapters.postgres.log import PostgresLog
from adapters.postgres.projecting import catch_up
from replay.verify import verify
from tests.serving import TOP, Caller, head, until

COMMANDS = [
    *("accounts", "backup", "balance", "config", "demo", "diff", "digest", "entry", "export", "import", "migrate"),
    *("project", "replay", "restore", "serve", "simulate", "verify"),
]

ACCOUNTS = """code,type,currency,opened,overdraft_limit
bank,asset,EUR,2026-01-01,0
owner,equity,EUR,2026-01-01,0
sales,revenue,EUR,2026-01-01,0
yen,asset,JPY,2026-01-01,unlimited
yen:owner,equity,JPY,2026-01-01,unlimited
"""
JOURNAL = """reference,value_date,debit,credit,amount,currency,description
r-1,2026-01-01,bank,owner,1000.00,EUR,Opening
r-2,2026-01-02,bank,sales,12.34,EUR,A sale
r-3,2025-12-31,yen,yen:owner,500,JPY,Backdated
r-4,2026-01-03,bank,nobody,1.00,EUR,To nobody
r-5,2026-01-03,owner,bank,5000.00,EUR,Too much
r-6,2026-01-03,bank,sales,0.001,EUR,Too fine
r-7,2026-01-04,owner,bank,0.34,EUR,A little back
"""
BALANCES = (
    "code,currency,balance\nbank,EUR,1012.00\nowner,EUR,-999.66\nsales,EUR,-12.34\nyen,JPY,500\nyen:owner,JPY,-500\n"
)


class Ran(NamedTuple):
    code: int
    out: str
    err: str


class Daybook:
    """The console script, in an environment of the test's own."""

    def __init__(self, folder: Path, **environment: str) -> None:
        self.folder = folder
        ours = ("DATABASE_URL", "DAYBOOK_", "PYTHONOPTIMIZE", "COLUMNS")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        self.environment = {**kept, "PYTHONPATH": str(TOP), "COLUMNS": "120", **environment}

    def __call__(self, *words: str) -> Ran:
        """In this process, which spares the start of another."""
        out, err = io.StringIO(), io.StringIO()
        handler = signal.getsignal(signal.SIGTERM)
        with (
            mock.patch.dict(os.environ, self.environment, clear=True),
            mock.patch.object(sys, "argv", ["daybook", *words]),
            chdir(self.folder),
            redirect_stdout(out),
            redirect_stderr(err),
            pytest.raises(SystemExit) as ended,
        ):
            main()
        signal.signal(signal.SIGTERM, handler)
        assert isinstance(ended.value.code, int)
        return Ran(ended.value.code, out.getvalue(), err.getvalue())

    def process(self, *words: str) -> Ran:
        """A Python of its own with those words."""
        ran = subprocess.run(
            [sys.executable, *words], cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=60
        )
        return Ran(ran.returncode, ran.stdout, ran.stderr)

    @contextmanager
    def running(self, *words: str) -> Iterator["subprocess.Popen[str]"]:
        """A command that goes on, until it ends by itself or with the block."""
        command = [sys.executable, "-m", "adapters.cli", *words]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        with subprocess.Popen(command, cwd=self.folder, env=self.environment, text=True, **pipes) as popen:  # type: ignore[call-overload]
            try:
                yield popen
            finally:
                popen.kill()

    def file(self, name: str, text: str) -> str:
        (self.folder / name).write_text(text)
        return name


@pytest.fixture
def daybook(tmp_path: Path, database: str) -> Daybook:
    return Daybook(tmp_path, DATABASE_URL=database)


@pytest.fixture
def imported(daybook: Daybook) -> Daybook:
    daybook.file("accounts.csv", ACCOUNTS)
    daybook.file("journal.csv", JOURNAL)
    assert daybook("import", "--accounts", "accounts.csv", "--journal", "journal.csv").code == 1
    return daybook


def listening(popen: "subprocess.Popen[str]") -> str:
    """The address that a server says it listens on."""
    assert popen.stderr is not None
    for line in popen.stderr:
        found = re.match(r"Listening on (\S+);", line)
        if found:
            return found[1]
    raise AssertionError("the server did not start")


def test_help(tmp_path: Path) -> None:
    """
    The help names every command, the columns of the files and the exit codes.
    """
    daybook = Daybook(tmp_path)

    top, importing = daybook("--help"), daybook("import", "--help")

    assert [command for command in COMMANDS if f" {command} " not in top.out] == []
    assert "Exit codes" in top.out
    assert "code,type,currency,opened,overdraft_limit" in importing.out
    assert "reference,value_date,debit,credit,amount,currency,description" in importing.out
    assert (top.code, importing.code) == (0, 0)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["balance"], "say which account, or --all"),
        (["balance", "bank", "--all"], "say which account, or --all"),
        (["balance", "--all", "--position", "1", "--at", "2026-01-01"], "not both"),
        (["entry"], "say which entry"),
        (["entry", "je_what"], "not an id of the kind je_"),
        (["import"], "nothing to import"),
        (["import", "--journal", "no.csv"], "no.csv cannot be read: No such file"),
        (["import", "--journal", "bad.csv"], "no column reference"),
        (["serve", "--port", "99999"], "--port"),
        (["balance", "--all", "--before", "tomorrow"], "--before"),
        (["balance", "--all", "--position", "99"], "position 99 is not in the log"),
        (["verify", "--database-url", "postgresql://nobody:secret@127.0.0.1:1/nothing"], "cannot connect"),
        (["verify", "--database-url", "what=ever"], "cannot be read"),
    ],
)
def test_what_cannot_be_done(daybook: Daybook, words: list[str], said: str) -> None:
    """
    Each mistake is told on stderr, in words, without a traceback, and by the exit code.
    """
    daybook.file("bad.csv", "code,type\n")

    ran = daybook(*words)

    assert said in ran.err
    assert "Traceback" not in ran.err
    assert "secret" not in ran.err
    assert ran.out == ""
    assert ran.code == 2


def test_optimised_python_is_refused(daybook: Daybook) -> None:
    """
    Without asserts nothing runs.
    """
    ran = daybook.process("-O", "-m", "adapters.cli", "accounts")

    assert ran.code == 1
    assert "asserts" in ran.err


def test_a_setting_that_makes_no_sense(tmp_path: Path, database: str) -> None:
    """
    A malformed setting is named.
    """
    ran = Daybook(tmp_path, DATABASE_URL=database, DAYBOOK_PORT="many")("serve")

    assert (ran.code, "DAYBOOK_PORT" in ran.err) == (2, True)


def test_import(imported: Daybook) -> None:
    """
    Good rows are booked, bad ones are in the file of rejects; once more changes nothing.
    """
    with (imported.folder / "journal.csv.rejected.csv").open() as file:
        rejected = [(row["line"], row["code"]) for row in csv.DictReader(file)]
    dsn = imported.environment["DATABASE_URL"]
    events = head(dsn)

    again = imported(
        "import", "--accounts", "accounts.csv", "--journal", "journal.csv", "--json", "--rejects", "no.csv"
    )

    assert rejected == [("5", "account_not_found"), ("6", "insufficient_funds"), ("7", "invalid_amount")]
    assert json.loads(again.out) == {
        "accounts": {"rows": 5, "booked": 0, "already": 5, "rejected": 0},
        "journal": {"rows": 7, "booked": 0, "already": 4, "rejected": 3},
    }
    assert "Rejected rows of journal.csv are in no.csv" in again.err
    assert head(dsn) == events + 2  # The two that the ledger refused were asked anew, and refused anew.
    assert again.code == 1


def test_import_json_lines(daybook: Daybook) -> None:
    """
    JSON Lines are rows too, with as many postings as an entry has.
    """
    daybook.file(
        "a.jsonl",
        "".join(
            json.dumps({"code": c, "type": "asset", "currency": "EUR", "overdraft_limit": "unlimited"}) + "\n"
            for c in "abc"
        ),
    )
    entry = {
        **{"reference": "x", "value_date": "2026-01-01", "currency": "EUR"},
        "postings": [
            {"account": "a", "side": "debit", "amount": "3"},
            {"account": "b", "side": "credit", "amount": "1"},
            {"account": "c", "side": "credit", "amount": "2"},
        ],
    }
    daybook.file("j.jsonl", json.dumps(entry) + "\n")

    ran = daybook("import", "--accounts", "a.jsonl", "--journal", "j.jsonl", "--book", "shop")

    assert ran.code == 0
    assert daybook("balance", "--all", "--csv", "--book", "shop").out.splitlines()[1:] == [
        *("a,EUR,3.00", "b,EUR,-1.00", "c,EUR,-2.00"),
    ]
    assert daybook("balance", "--all").code == 1


def test_balances(imported: Daybook) -> None:
    """
    Balances are by code, in decimals of each currency, debit positive; replayed from the log they are the same.
    """
    at = json.loads(imported("entry", "--reference", "r-2", "--json").out)[0]
    now = ["balance", "--all", "--csv"]

    assert imported(*now).out == BALANCES
    assert imported("replay", "--csv").out == BALANCES
    for words in (["--before", "2026-01-01"], ["--position", str(at["position"] - 1)], ["--at", at["recorded_at"]]):
        balance, replayed = imported(*now, *words), imported("replay", "--csv", *words)
        assert balance.out == replayed.out
        assert (balance.code, replayed.code) == (0, 0)
    assert "bank,EUR,0.00" in imported(*now, "--before", "2026-01-01").out
    assert "yen,JPY,500" in imported(*now, "--before", "2026-01-01").out
    assert "bank,EUR,1000.00" in imported(*now, "--position", str(at["position"] - 1)).out
    assert imported(*now, "--position", "0").out == "code,currency,balance\n"
    assert imported(*now, "--at", "1999-12-31").out == "code,currency,balance\n"
    assert imported(*now, "--position", "9999").code == 2


def test_one_account(imported: Daybook) -> None:
    """
    One account is shown alone, in a table or as JSON; one that is not there is a no.
    """
    shown = imported("balance", "bank", "--json")
    replayed = imported("replay", "bank", "--json")

    assert json.loads(shown.out) == json.loads(replayed.out)
    (line,) = json.loads(shown.out)["balances"]
    assert (line["code"], line["balance"], line["debits_minor"]) == ("bank", "1012.00", 101234)
    assert "1,012.00" in imported("balance", "bank").out
    assert "1,012.00" in imported("balance", line["account_id"]).out
    assert imported("balance", "nobody").code == 1
    assert imported("replay", "nobody").code == 1


def test_accounts_and_entries(imported: Daybook) -> None:
    """
    Accounts and entries are shown with what belongs to them.
    """
    accounts = json.loads(imported("accounts", "--json").out)
    (entry,) = json.loads(imported("entry", "--reference", "r-7", "--json").out)
    table = imported("entry", entry["id"]).out

    assert [(a["code"], a["overdraft_limit"]) for a in accounts] == [
        *(("bank", 0), ("owner", 0), ("sales", 0), ("yen", None), ("yen:owner", None)),
    ]
    assert "unlimited" in imported("accounts").out
    assert [(p["account"], p["side"], p["amount"]) for p in entry["postings"]] == [
        *(("owner", "debit", 34), ("bank", "credit", 34)),
    ]
    assert all(word in table for word in ("2026-01-04", "r-7", "A little back", "0.34", "by daybook import"))
    assert imported("entry", "--reference", "r-4").code == 1
    assert imported("entry", "je_00000000000000000000000000").code == 1


def test_verify(imported: Daybook) -> None:
    """
    Unprojected is incomplete, projected is verified, edited is a mismatch with its first bad position.
    """
    dsn = imported.environment["DATABASE_URL"]
    assert imported("verify").code == 2
    assert imported("project", "--once").code == 0

    good = imported("verify")
    with psycopg.connect(dsn) as connection:
        connection.execute("GRANT UPDATE ON daybook.postings TO CURRENT_USER")
        connection.execute("ALTER TABLE daybook.postings DISABLE TRIGGER append_only")
        connection.execute("UPDATE daybook.postings SET debits = debits + 1 WHERE position = 8 AND side = 'D'")
    bad = imported("verify", "--json")

    assert (good.code, good.out.splitlines()[-1]) == (0, "VERIFIED")
    report = json.loads(bad.out)
    assert (bad.code, report["verdict"], report["first_bad_position"]) == (1, "mismatch", 8)
    assert report["counts"] == {"posting_differs": 1}


def test_migrate(tmp_path: Path, empty_database: str) -> None:
    """
    Looking does not migrate; migrating does, and twice is once.
    """
    daybook = Daybook(tmp_path, DATABASE_URL=empty_database)

    assert (looked := daybook("accounts")).code == 2
    assert "daybook migrate" in looked.err
    assert "applied 0001_log" in daybook("migrate").out
    assert "applied" not in (again := daybook("migrate")).out
    assert again.code == 0


def test_where_the_data_is(imported: Daybook) -> None:
    """
    Every command says where the data is, without the password.
    """
    ran = imported("accounts", "--json")
    parts = conninfo_to_dict(imported.environment["DATABASE_URL"])

    assert f"Data: postgresql://{parts['user']}@" in ran.err
    assert str(parts["dbname"]) in ran.err
    assert "password" not in parts or str(parts["password"]) not in ran.err + ran.out


def many_rows(daybook: Daybook, rows: int) -> None:
    """Money goes round between ten accounts, each of which must have it before it can give it."""
    accounts = "".join(f"a{n},asset,EUR,2026-01-01,0\n" for n in range(10))
    daybook.file(
        "accounts.csv", f"code,type,currency,opened,overdraft_limit\n{accounts}owner,equity,EUR,2026-01-01,0\n"
    )
    journal = "".join(f"r{n},2026-01-01,a{(n + 1) % 10},a{n % 10},{rows - n}.00,EUR,\n" for n in range(1, rows))
    header = "reference,value_date,debit,credit,amount,currency,description\n"
    daybook.file("journal.csv", f"{header}first,2026-01-01,a1,owner,{rows}.00,EUR,\n{journal}")


def test_a_killed_import_goes_on(daybook: Daybook) -> None:
    """
    Killed midway and run again, every row is booked once, in order: each needs the money of the row before it.
    """
    rows, dsn = 12_000, daybook.environment["DATABASE_URL"]
    many_rows(daybook, rows)
    words = ("import", "--accounts", "accounts.csv", "--journal", "journal.csv", "--json")

    with daybook.running(*words) as popen:
        until(lambda: head(dsn) > 2_000 or popen.poll() is not None)
        popen.kill()
        assert popen.wait() == -signal.SIGKILL
    killed_at = head(dsn)
    again = daybook(*words)

    assert killed_at < rows
    counts = json.loads(again.out)["journal"]
    assert (again.code, counts["booked"] + counts["already"], counts["rejected"]) == (0, rows, 0)
    assert counts["already"] > 1_000
    assert head(dsn) == 1 + 11 + rows
    catch_up(dsn)
    with PostgresLog(dsn) as log:
        assert verify(log).verdict == "verified"


def test_an_interrupted_import_goes_on(daybook: Daybook) -> None:
    """
    Ctrl-C and SIGTERM end an import in order: what is in flight is answered, the rest is for next time.
    """
    rows, dsn = 12_000, daybook.environment["DATABASE_URL"]
    many_rows(daybook, rows)
    words = ("import", "--accounts", "accounts.csv", "--journal", "journal.csv", "--json")

    for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
        before = head(dsn)
        with daybook.running(*words) as popen, psycopg.connect(dsn) as holding:
            until(lambda: _held_up(holding, before + 300))  # noqa: B023 - called at once.
            popen.send_signal(number)
            holding.rollback()
            assert popen.wait(timeout=30) == code
            assert popen.stderr is not None
            assert "Traceback" not in popen.stderr.read()
    again = daybook(*words)

    assert json.loads(again.out)["journal"]["rejected"] == 0
    assert head(dsn) == 1 + 11 + rows


def _held_up(connection: psycopg.Connection[TupleRow], position: int) -> bool:
    """Whether the log is past that position, and then nobody gets on before the connection lets go of its lock."""
    connection.execute("SELECT daybook.lock_log()")
    row = connection.execute("SELECT daybook.head()").fetchone()
    assert row is not None
    if row[0] <= position:
        connection.rollback()
    return bool(row[0] > position)


def test_on_a_terminal(daybook: Daybook) -> None:
    """
    Where people look there are bars with counts, tables and colours; all of it works there too.
    """
    many_rows(daybook, 4_000)

    imported = _on_a_terminal(daybook, "import", "--accounts", "accounts.csv", "--journal", "journal.csv")
    projected = _on_a_terminal(daybook, "project", "--once")
    replayed = _on_a_terminal(daybook, "replay")
    verified = _on_a_terminal(daybook, "verify")

    assert re.search(r"journal .*rows/s +booked \d+ +already there 0 +rejected 0", imported)
    assert "4000" in imported
    assert re.search(r"projecting .*100%", projected)
    assert "replaying" in replayed
    assert "verifying" in verified
    assert "VERIFIED" in verified


def _on_a_terminal(daybook: Daybook, *words: str) -> str:
    """What a command that ends well writes to a terminal, all of it."""
    ours, theirs = pty.openpty()
    environment = {**daybook.environment, "TERM": "xterm", "COLUMNS": "160"}
    command = [sys.executable, "-m", "adapters.cli", *words]
    with subprocess.Popen(command, cwd=daybook.folder, env=environment, stdout=theirs, stderr=theirs) as popen:
        os.close(theirs)
        said = b""
        with suppress(OSError):  # How Linux says that the other end of a terminal is closed.
            while read := os.read(ours, 65_536):
                said += read
    os.close(ours)
    assert popen.returncode == 0, said.decode()
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", said.decode())


def test_serve(daybook: Daybook) -> None:
    """
    The server listens where it says, answers, and ends with 0 when it is asked to.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        with daybook.running("serve", "--port", "0") as popen:
            address = listening(popen)
            until(lambda: _answers(address))  # noqa: B023 - called at once.
            with Caller(address) as caller:
                caller.done("/v1/books", {"code": f"b{number}"})
            popen.send_signal(number)
            assert popen.wait(timeout=30) == 0
    assert daybook("balance", "--all", "--book", f"b{signal.SIGTERM}").code == 0


def test_project(daybook: Daybook) -> None:
    """
    A projector of its own keeps the read models up for a server without one.
    """
    with daybook.running("serve", "--port", "0", "--no-projector") as server, daybook.running("project") as projector:
        address = listening(server)
        until(lambda: _answers(address))
        with Caller(address) as caller:
            caller.done("/v1/books", {"code": "main"})
            books = caller.get("/v1/books").json()["data"]
        projector.send_signal(signal.SIGTERM)
        assert projector.wait(timeout=30) == 0
    assert [book["code"] for book in books] == ["main"]


def test_a_port_in_use(daybook: Daybook) -> None:
    """
    A port that is taken is told at once.
    """
    with daybook.running("serve", "--port", "0") as popen:
        port = listening(popen).rpartition(":")[2]
        ran = daybook("serve", "--port", port)

    assert (ran.code, f"cannot listen on 127.0.0.1:{port}" in ran.err) == (2, True)


def test_demo(daybook: Daybook) -> None:
    """
    The demo shows balances now and before an entry, a refusal, a payment on each rail, one declined, one whose answer
    was lost, a dispute won, all of it settled, and what to try; twice books nothing twice, and pays nothing twice.
    """
    first = _demo(daybook)
    events = head(daybook.environment["DATABASE_URL"])
    second = _demo(daybook)

    assert "23 commands sent to http://127.0.0.1:" in first
    assert re.search(r"assets:bank .* 3,492.24 .* 4,692.24 ", first)
    assert "422 insufficient_funds" in first
    assert "curl -s" in first
    for shown in (first, second):
        assert [shown.count(f" {rail} ") > 0 for rail in ("card", "ach", "upi", "wire")] == [True] * 4
        assert (shown.count("requires_payment_method"), shown.count("(asked again)")) == (1, 1)
        assert (shown.count(" agree "), shown.count("DIFFER")) == (4, 0)
        assert re.search(r"card:EUR .* 0.00 EUR .* 68.49 EUR .* 17.01 EUR .* 85.50 EUR .* 85.50 EUR", shown)
    assert "23 of them had been answered before" in second
    assert head(daybook.environment["DATABASE_URL"]) == events
    assert daybook("verify").code == 0


def _demo(daybook: Daybook) -> str:
    with daybook.running("demo", "--port", "0") as popen:
        said = []
        assert popen.stdout is not None
        for line in popen.stdout:
            said.append(line)
            if line.startswith("Serving on"):
                break
        address = said[-1].split()[2]
        until(lambda: _answers(address))
        popen.send_signal(signal.SIGINT)
        assert popen.wait(timeout=30) == 0
    return "".join(said)


def _answers(address: str) -> bool:
    try:
        return httpx2.get(f"{address}/livez", timeout=5).status_code == 200
    except httpx2.HTTPError:
        return False


def test_a_postgres_of_its_own(tmp_path: Path) -> None:
    """
    Without a DATABASE_URL the data are in a Postgres under --home, which is there when it is needed.
    """
    daybook = Daybook(tmp_path, DAYBOOK_HOME=str(tmp_path / "home"))
    daybook.file("accounts.csv", ACCOUNTS)
    daybook.file("journal.csv", JOURNAL)

    imported = daybook("import", "--accounts", "accounts.csv", "--journal", "journal.csv")
    elsewhere = Daybook(tmp_path, DATABASE_URL="postgresql://127.0.0.1:1/nothing")
    balances = elsewhere("balance", "--all", "--csv", "--home", str(tmp_path / "home"))

    assert imported.code == 1
    assert f"Data: {tmp_path / 'home'}" in imported.err
    assert balances.out == BALANCES
