"""Commands that ask a running server instead of the database: the same answers, through the typed client."""

import asyncio
import gc
import json
import re
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import httpx2
import pytest

from adapters.client import AsyncClient, NotUnderstood, Patience
from adapters.imports import rows
from adapters.imports.batches import Batches, Settled
from adapters.imports.files import read
from adapters.imports.loading import GivenUp, Loading
from adapters.imports.rejects import Rejects
from commands.command import Asked, ask
from domain import ids
from tests.e2e.test_cli import ACCOUNTS, BALANCES, JOURNAL, Daybook
from tests.serving import Caller, hold, serving_process, transfer, until

NOWHERE = "postgresql://nobody@127.0.0.1:1/nothing"
IMPORT = ("import", "--accounts", "accounts.csv", "--journal", "journal.csv")


@pytest.fixture
def url(database: str) -> Iterator[str]:
    with serving_process(database) as process:
        yield process.base_url


@pytest.fixture
def near(tmp_path: Path, database: str) -> Daybook:
    """It looks into the database."""
    folder = tmp_path / "near"
    folder.mkdir()
    return with_files(Daybook(folder, DATABASE_URL=database))


@pytest.fixture
def far(tmp_path: Path, url: str) -> Daybook:
    """It knows the server alone: the database that is set is none."""
    folder = tmp_path / "far"
    folder.mkdir()
    return with_files(Daybook(folder, DATABASE_URL=NOWHERE, DAYBOOK_SERVER=url))


def with_files(daybook: Daybook) -> Daybook:
    daybook.file("accounts.csv", ACCOUNTS)
    daybook.file("journal.csv", JOURNAL)
    return daybook


def rejected(daybook: Daybook) -> str:
    return (daybook.folder / "journal.csv.rejected.csv").read_text()


@pytest.fixture
def lived(near: Daybook, url: str) -> Iterator[Caller]:
    """A book in which much has happened, and who can do more."""
    near(*IMPORT)
    with Caller(url) as caller:
        frozen = caller.account("frozen", title="A title", metadata={"zz": "1", "a": "2", "bbb": "3"}, floor=-5)
        caller.done(f"/v1/accounts/{frozen['id']}/freeze")
        meta = {"branch": "north", "z": "1", "aa": "2"}
        entry = caller.done("/v1/journal-entries", transfer("bank", "sales", 700, reference="twice", metadata=meta))
        caller.done(f"/v1/journal-entries/{entry['id']}/reverse")
        split = {
            **{"amount": 100, "currency": "EUR", "sources": [{"account": "sales", "maximum": 500}]},
            "destinations": [{"account": "bank", "share": "1/3"}, {"account": "owner"}],
        }
        caller.account("till", "revenue")
        split["sources"] = [{"account": "till"}]
        caller.done("/v1/journal-entries", {"book": "main", "split": split, "reference": "twice"})
        yield caller


def same(near: Daybook, far: Daybook, *words: str) -> str:
    """What both print, which is the same, as is how they end."""
    here, there = near(*words), far(*words)
    assert (there.code, there.out) == (here.code, here.out), there.err
    if here.code:
        assert here.err.splitlines()[-1] == there.err.splitlines()[-1]
    return here.out


def test_asking(near: Daybook, far: Daybook, lived: Caller) -> None:
    """
    Accounts, balances and entries are the same to the byte, as table, JSON and CSV, now and as they were.
    """
    entries = json.loads(same(near, far, "entry", "--reference", "twice", "--json"))
    first = entries[0]
    at = str(first["position"])

    for form in ([], ["--json"]):
        assert "A title" in same(near, far, "accounts", *form)
        assert first["reversed_by"] in same(near, far, "entry", first["id"], *form)
        same(near, far, "entry", first["reversed_by"], *form)
        for asked in (["--all"], ["bank"], ["yen:owner"]):
            for moment in ([], ["--at", first["recorded_at"]], ["--position", at], ["--before", "2026-01-02"]):
                same(near, far, "balance", *asked, *moment, *form)
    assert "bank,EUR,1011.67" in same(near, far, "balance", "--all", "--csv")
    assert "bank,EUR,1019.00" in same(near, far, "balance", "--all", "--csv", "--position", at)
    before = same(near, far, "balance", "--all", "--csv", "--before", "2026-01-02", "--position", at)
    assert "bank,EUR,1000.00" in before and "sales,EUR,0.00" in before
    (earlier,) = json.loads(same(near, far, "entry", "--reference", "r-2", "--json"))
    known = ["--position", str(earlier["position"])]
    assert "yen,JPY,500" in same(near, far, "balance", "--all", "--csv", "--before", "2026-01-01")
    assert "yen,JPY,0" in same(near, far, "balance", "--all", "--csv", "--before", "2026-01-01", *known)
    assert same(near, far, "balance", "--all", "--csv", "--position", "0") == "code,currency,balance\n"
    assert same(near, far, "balance", "--all", "--csv", "--at", "1999-12-31") == "code,currency,balance\n"
    assert len(entries) == 2 and entries[1]["recipe"] is not None


def test_what_is_not_there(near: Daybook, far: Daybook, lived: Caller) -> None:
    """
    A no is the same no, and a mistake the same mistake.
    """
    refusal = lived.ask("/v1/journal-entries", transfer("owner", "bank", 10**9), key="no")
    assert refusal.json()["code"] == "insufficient_funds"
    events = json.loads(same(near, far, "accounts", "--json"))
    assert events

    for words in (
        ["accounts", "--book", "none"],
        ["balance", "--all", "--book", "none"],
        ["balance", "nobody"],
        ["balance", "frozen", "--position", "2"],
        ["balance", "acc_00000000000000000000000000"],
        ["balance", "acc_what"],
        ["balance", "--all", "--book", "book_what"],
        ["balance", "--all", "--position", "9999"],
        ["entry", "je_00000000000000000000000000"],
        ["entry", "je_what"],
        ["entry", "--reference", "none"],
    ):
        assert same(near, far, *words) == ""


def test_holds(near: Daybook, far: Daybook, lived: Caller) -> None:
    """
    What holds leave is the same; before a day a server does not tell it, and says so rather than a wrong number.
    """
    lived.done("/v1/holds", hold("bank", "sales", 100))

    assert "available" in same(near, far, "balance", "--all")
    same(near, far, "balance", "--all", "--json")
    ran = far("balance", "--all", "--before", "2026-01-02")

    assert (ran.code, ran.out) == (2, "")
    assert "has holds" in ran.err


def test_an_account_of_another_book(far: Daybook, near: Daybook, lived: Caller) -> None:
    """
    An id of another book's account is none of this book's.
    """
    lived.done("/v1/books", {"code": "other"})
    account = lived.account("there", book="other")["id"]

    assert same(near, far, "balance", account) == ""
    assert "there,EUR" in same(near, far, "balance", account, "--csv", "--book", "other")


def test_import(near: Daybook, far: Daybook) -> None:
    """
    Through a server it comes to the same books and the same rejected rows; once more, either way, it is all there.
    """
    first = far(*IMPORT, "--json")
    first_rejected = rejected(far)
    again, here = far(*IMPORT, "--json"), near(*IMPORT, "--json")

    assert json.loads(first.out) == {
        "accounts": {"rows": 5, "booked": 5, "already": 0, "rejected": 0},
        "journal": {"rows": 7, "booked": 4, "already": 0, "rejected": 3},
    }
    assert "Rejected rows of journal.csv are in journal.csv.rejected.csv" in first.err
    assert [line.split(",")[1:3] for line in first_rejected.splitlines()[1:]] == [
        *(["5", "account_not_found"], ["6", "insufficient_funds"], ["7", "invalid_amount"]),
    ]
    assert "requested 500000, available 100000, limit overdraft_limit" in first_rejected
    assert rejected(far) == rejected(near)
    assert json.loads(again.out) == json.loads(here.out)
    assert json.loads(again.out)["journal"] == {"rows": 7, "booked": 0, "already": 4, "rejected": 3}
    assert (first.code, again.code, here.code) == (1, 1, 1)
    assert same(near, far, "balance", "--all", "--csv") == BALANCES


def test_an_import_after_a_direct_one(near: Daybook, far: Daybook) -> None:
    """
    What was booked in the database is there for the server's import too; what was refused is asked anew.
    """
    near(*IMPORT)
    far.file("accounts.csv", ACCOUNTS + "nobody,revenue,EUR,2026-01-01,0\n")

    ran = far(*IMPORT, "--json")

    assert json.loads(ran.out) == {
        "accounts": {"rows": 6, "booked": 1, "already": 5, "rejected": 0},
        "journal": {"rows": 7, "booked": 1, "already": 4, "rejected": 2},
    }
    assert "nobody,EUR,-1.00" in same(near, far, "balance", "--all", "--csv")


def test_rows_under_one_reference(near: Daybook, far: Daybook) -> None:
    """
    A row twice is booked once, another one under its reference is rejected, and so is a key that HTTP cannot carry.
    """
    head = "reference,value_date,debit,credit,amount,currency\n"
    row = "{},2026-01-01,bank,owner,{},EUR\n"
    text = head + row.format("a", 1) + row.format("a", 1) + row.format("a", 2) + row.format("ä", 3)
    far.file("journal.csv", text)

    ran = far(*IMPORT, "--json")

    assert json.loads(ran.out)["journal"] == {"rows": 4, "booked": 1, "already": 1, "rejected": 2}
    assert [line.split(",")[1:3] for line in rejected(far).splitlines()[1:]] == [
        *(["4", "reference_reused"], ["5", "invalid_key"]),
    ]


def test_a_long_import_killed_and_run_again(near: Daybook, far: Daybook, url: str) -> None:
    """
    However often it is killed, in the end each row is booked once, in the file's order: money spent came in before.
    """
    there_and_back = "".join(
        f"in-{n},2026-01-01,bank,owner,1,EUR\nout-{n},2026-01-01,owner,bank,1,EUR\n" for n in range(2_500)
    )
    far.file("journal.csv", "reference,value_date,debit,credit,amount,currency\n" + there_and_back)
    far.file("accounts.csv", ACCOUNTS)
    with far.running(*IMPORT) as popen, httpx2.Client(base_url=url) as http:
        until(lambda: http.get("/readyz").json()["database"]["position"] > 20)
        popen.kill()

    ran = far(*IMPORT, "--json")

    counts = json.loads(ran.out)["journal"]
    assert ran.code == 0, ran.err
    assert counts["booked"] + counts["already"] == 5_000 == counts["rows"]
    assert counts["already"] > 0
    assert "bank,EUR,0.00" in same(near, far, "balance", "--all", "--csv")


def test_a_server_that_comes_back(tmp_path: Path, database: str, near: Daybook) -> None:
    """
    A server that dies under an import and is there again later is waited for, and nothing is lost or booked twice.
    """
    many = "".join(f"r-{n},2026-01-01,bank,owner,1,EUR\n" for n in range(5_000))
    near.file("journal.csv", "reference,value_date,debit,credit,amount,currency\n" + many)
    with serving_process(database) as first:
        port = int(first.base_url.rpartition(":")[2])
        with near.running(*IMPORT, "--json", "--server", first.base_url) as popen:
            with httpx2.Client(base_url=first.base_url) as http:
                until(lambda: http.get("/readyz").json()["database"]["position"] > 20)
            first.kill()
            with serving_process(database, port=port):
                out, err = popen.communicate(timeout=60)

    counts = json.loads(out)["journal"]
    assert (popen.returncode, counts["rejected"], counts["booked"] + counts["already"]) == (0, 0, 5_000), err
    assert "bank,EUR,5000.00" in near("balance", "--all", "--csv").out


@pytest.mark.parametrize("words", [["accounts"], ["balance", "--all"], ["entry", "--reference", "x"], [*IMPORT]])
def test_no_server(near: Daybook, words: list[str]) -> None:
    """
    A server that is not there is told in one line, soon, and by the exit code.
    """
    began = time.monotonic()

    ran = near(*words, "--server", "http://127.0.0.1:1")

    assert (ran.code, ran.out) == (2, "")
    assert re.fullmatch(
        r"Server: http://127.0.0.1:1\ndaybook: the server http://127.0.0.1:1 does not answer: .*\n", ran.err
    )
    assert time.monotonic() - began < 6


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["accounts", "--server", "ledger:8080"], "--server: a server is named like"),
        (["accounts", "--server", "http://me:hunter2@ledger"], "without user and password"),
        (["accounts", "--server", "http://x", "--home", "y"], "not both"),
        (["balance", "--all", "--server", "http://x", "--database-url", "y"], "not both"),
        (["import", "--events", "log.jsonl", "--server", "http://x"], "--events makes a log in a database"),
        ([*IMPORT, "--server", "http://x", "--actor", "Jürgen"], "--actor"),
    ],
)
def test_what_cannot_be_asked(near: Daybook, words: list[str], said: str) -> None:
    """
    Each mistake is told before anything is asked.
    """
    ran = near(*words)

    assert (ran.code, ran.out) == (2, "")
    assert said in ran.err
    assert "hunter2" not in ran.err


def test_an_option_before_the_environment(near: Daybook, database: str) -> None:
    """
    Where the data is, said as an option, goes before a server in the environment.
    """
    near(*IMPORT)
    near.environment |= {"DAYBOOK_SERVER": "http://127.0.0.1:1"}

    assert near("balance", "--all", "--csv", "--database-url", database).out == BALANCES
    assert near("balance", "--all").code == 2


def asked_for(reference: str, debit: str = "bank") -> Asked:
    key, command = rows.entry(
        {
            **{"reference": reference, "value_date": "2026-01-01", "debit": debit, "credit": "owner"},
            **{"amount": "1.00", "currency": "EUR"},
        },
        book="main",
    )
    return ask(command, actor="me", key=key)


def test_batches() -> None:
    """
    Commands go in order, in batches bounded in number and size, the same key never twice in one.
    """
    sent: list[list[str]] = []
    bank = ids.account_id(ids.book_id("main"), "bank")
    no = {"type": "", "title": "", "status": 404, "code": "account_not_found", "transient": False, "request_id": ""}

    def answer(request: httpx2.Request) -> httpx2.Response:
        commands = json.loads(request.content)["commands"]
        sent.append([command["idempotency_key"].removeprefix("import:") for command in commands])
        problem = {"status": 404, "body": {**no, "account_id": ids.show(ids.ACCOUNT, bank)}, "replayed": False}
        answers = [problem] * len(commands)
        body = {"object": "batch", "mode": "independent", "position": 9, "answers": answers}
        return httpx2.Response(200, json=body)

    async def submit(*references: str, commands_max: int = 3, bytes_max: int = 10_000) -> list[Settled]:
        async with AsyncClient("http://x", actor="me", transport=httpx2.MockTransport(answer)) as client:
            batches = Batches(client, "main", commands_max=commands_max, bytes_max=bytes_max)
            return await asyncio.gather(*(batches.submit(asked_for(name)) for name in references))

    settled = asyncio.run(submit(*"abcdefg"))
    asyncio.run(submit(*"aab"))
    asyncio.run(submit("a", "b" * 200, "c", bytes_max=300))

    assert sent[:3] == [["a", "b", "c"], ["d", "e", "f"], ["g"]]
    assert sent[3:5] == [["a"], ["a", "b"]]
    assert sent[5:] == [["a"], ["b" * 200], ["c"]]
    assert [str(one.refusal.details()["account_id"]) for one in settled if one.refusal] == [str(bank)] * 7


@pytest.mark.parametrize("answered", [None, httpx2.Response(200, json={"object": "batch"})])
def test_a_server_that_stays_away(tmp_path: Path, answered: httpx2.Response | None) -> None:
    """
    An import gives up in the end, and each row that was waiting is told; nothing is left over to complain later.
    """
    complaints: list[object] = []
    (tmp_path / "j.csv").write_text(JOURNAL)
    kept = Rejects(tmp_path / "rejects.csv")

    def away(request: httpx2.Request) -> httpx2.Response:
        if answered is None:
            raise httpx2.ReadError("away")
        return answered

    async def load() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: complaints.append(context))
        patience = Patience(total_s=0.1)
        async with AsyncClient(
            "http://x", actor="me", patience=patience, transport=httpx2.MockTransport(away)
        ) as client:
            build, watch = partial(rows.entry, book="main"), lambda counts, end: None
            ledger = Batches(client, "main")
            loading = Loading(ledger, tmp_path / "j.csv", build, kept, actor="me", watch=watch)
            with pytest.raises((GivenUp, NotUnderstood)):
                await loading.run(read(tmp_path / "j.csv", rows.ENTRY_COLUMNS))
            await ledger.stop()

    asyncio.run(load())
    gc.collect()

    assert complaints == []
