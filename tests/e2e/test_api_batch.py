"""Holds, limits, splits, exchange, batches and dry runs over HTTP, each with the same answer for ever."""

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

from domain import ids
from tests.serving import Caller, head, hold, serving, transfer, until

BOOK = ids.book_id("main")


@pytest.fixture
def books(database: str) -> Iterator[Caller]:
    """Book `main` with `cash` (an asset of 1000), `bank` (equity), `purse` (no overdraft), `usd` and positions."""
    with serving(database, project=False) as base_url, Caller(base_url) as caller:
        caller.done("/v1/books", {"code": "main"})
        caller.account("cash")
        caller.account("bank", "equity")
        caller.account("purse", overdraft_limit=0)
        caller.account("eur_position", "equity")
        caller.account("usd", currency="USD")
        caller.account("usd_position", "equity", currency="USD")
        caller.done("/v1/journal-entries", transfer("cash", "bank", 1000))
        yield caller


def command(kind: str, arguments: dict[str, Any], key: str | None = None) -> dict[str, Any]:
    return {"command": kind, "arguments": arguments, **({"idempotency_key": key} if key else {})}


def batch(mode: str, *commands: dict[str, Any]) -> dict[str, Any]:
    return {"book": "main", "mode": mode, "commands": list(commands)}


def commands_of(books: Caller) -> list[tuple[str, dict[str, Any], int]]:
    """Each new command, done and refused, with its status."""
    purse, split = ids.show(ids.ACCOUNT, ids.account_id(BOOK, "purse")), {"amount": 10, "currency": "EUR"}
    at = datetime.now(UTC) + timedelta(seconds=1.5)
    due = books.done("/v1/holds", hold("cash", "bank", 50, expires_at=at.isoformat()))["id"]
    held = [books.done("/v1/holds", hold("cash", "bank", 50))["id"] for _ in range(3)]
    ends = {"source": {"account": "cash", "position_account": "eur_position"}}
    ends["destination"] = {"account": "usd", "position_account": "usd_position"}
    until(lambda: datetime.now(UTC) > at)  # Nobody else ends it: without read models nobody knows of it.
    return [
        (
            "/v1/holds",
            hold("cash", "bank", 5, expires_at="2999-01-01T01:00:00+01:00", metadata={"b": "1", "a": "2"}),
            201,
        ),
        ("/v1/holds", hold("purse", "bank", 5), 422),
        (f"/v1/holds/{held[0]}/increase", {"amount": 7}, 200),
        (f"/v1/holds/{held[0]}/capture", {"amount": 20, "description": "Some"}, 201),
        (f"/v1/holds/{held[0]}/capture", {"amount": 90}, 422),
        (f"/v1/holds/{held[0]}/capture", {"amount": 10, "final": True}, 201),
        (f"/v1/holds/{held[0]}/void", {}, 409),
        (f"/v1/holds/{held[1]}/void", {"reason": "changed my mind"}, 200),
        (f"/v1/holds/{held[2]}/expire", {}, 409),
        (f"/v1/holds/{due}/capture", {}, 409),
        (f"/v1/holds/{due}/expire", {}, 200),
        (f"/v1/accounts/{purse}/limits", {"overdraft_limit": 3, "ceiling": 70}, 200),
        (f"/v1/accounts/{purse}/limits", {"overdraft_limit": 9, "effective_at": "2999-01-01T00:00:00Z"}, 200),
        (
            "/v1/journal-entries",
            {
                "book": "main",
                "split": {
                    **split,
                    "sources": [{"account": "purse", "maximum": 2}, {"account": "cash"}],
                    "destinations": [{"account": "bank", "share": "1/3"}, {"account": "eur_position"}],
                },
            },
            201,
        ),
        ("/v1/journal-entries", {"book": "main", "exchange": {**ends, "amount": 333, "rate": "1.0842"}}, 201),
        (
            "/v1/batches",
            batch(
                "independent",
                command("post_entry", transfer("cash", "bank", 1)),
                command("post_entry", transfer("bank", "purse", 500), "own"),
                command("place_hold", hold("cash", "bank", 1)),
                command("freeze_account", {"account_id": purse}),
                command("post_entry", transfer("cash", "bank", 2), "own"),
            ),
            200,
        ),
        ("/v1/batches", batch("atomic", command("unfreeze_account", {"account_id": purse})), 200),
        (
            "/v1/batches",
            batch(
                "atomic",
                command("post_entry", transfer("cash", "bank", 1)),
                command("post_entry", transfer("bank", "purse", 500)),
            ),
            422,
        ),
    ]


def test_the_first_answer_for_ever(books: Caller, database: str) -> None:
    """
    Each new command is answered byte for byte as at first, whatever has happened since and whoever is asked.
    """
    commands = commands_of(books)
    first = [books.ask(path, body, key=f"k{n}") for n, (path, body, _) in enumerate(commands)]
    position = head(database)

    again = [books.ask(path, body, key=f"k{n}") for n, (path, body, _) in enumerate(commands)]
    with serving(database, project=False) as base_url, Caller(base_url) as other:
        elsewhere = [other.ask(path, body, key=f"k{n}") for n, (path, body, _) in enumerate(commands)]

    assert [answer.status_code for answer in first] == [status for *_, status in commands]
    for answers in (again, elsewhere):
        for was, is_ in zip(first, answers, strict=True):
            assert (is_.status_code, is_.content) == (was.status_code, was.content)
            assert is_.headers["daybook-position"] == was.headers["daybook-position"]
            assert is_.headers.get("location") == was.headers.get("location")
            assert (was.headers.get("idempotency-replayed"), is_.headers["idempotency-replayed"]) == (None, "true")
    assert head(database) == position


def test_a_life_of_a_hold(books: Caller) -> None:
    """
    Placed, increased, captured in part and for good: each answer shows what is left and where it stands.
    """
    held = books.done("/v1/holds", hold("cash", "bank", 50, reference="R", expires_at="2999-01-01T01:00:00+01:00"))
    path = f"/v1/holds/{held['id']}"

    more = books.done(f"{path}/increase", {"amount": 10})
    part = books.ask(f"{path}/capture", {"amount": 25})
    rest = books.done(f"{path}/capture", {"amount": 5, "final": True})

    assert (held["status"], held["remaining"], held["expires_at"]) == ("held", 50, "2999-01-01T00:00:00.000000Z")
    assert (more["amount"], more["remaining"], more["version"]) == (60, 60, 2)
    assert part.status_code == 201
    assert part.headers["location"] == f"/v1/journal-entries/{part.json()['id']}"
    assert (part.json()["captures"], part.json()["reference"], rest["postings"][0]["amount"]) == (held["id"], "R", 5)
    ended = books.ask(f"{path}/void").json()
    assert (ended["code"], ended["ended"]) == ("hold_ended", "captured")


def test_answers_of_a_batch(books: Caller) -> None:
    """
    Each command's answer is what it would have been alone, with its status; the batch is where the last one is.
    """
    old = books.ask("/v1/journal-entries", transfer("cash", "bank", 3), key="old").json()

    answer = books.ask(
        "/v1/batches",
        batch(
            "independent",
            command("post_entry", transfer("cash", "bank", 3), "old"),
            command("post_entry", transfer("cash", "bank", 4), "old"),
            command("post_entry", transfer("bank", "purse", 4), "poor"),
            command("open_account", {"book": "main", "code": "new", "type": "asset", "currency": "EUR"}),
        ),
    )

    said = answer.json()
    assert [each["status"] for each in said["answers"]] == [201, 422, 422, 201]
    assert [each["replayed"] for each in said["answers"]] == [True, False, False, False]
    assert said["answers"][0]["body"] == old
    assert said["answers"][1]["body"]["code"] == "idempotency_key_reused"
    assert (
        said["answers"][2]["body"] == books.ask("/v1/journal-entries", transfer("bank", "purse", 4), key="poor").json()
    )
    assert said["answers"][3]["body"]["code"] == "new"
    assert str(said["position"]) == answer.headers["daybook-position"] == str(said["answers"][3]["body"]["position"])


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        (batch("atomic"), ["/commands"]),
        (batch("each", command("open_book", {"code": "x"})), ["/mode"]),
        (batch("atomic", command("post_batch", {})), ["/commands/0"]),
        (batch("atomic", command("open_book", {"code": "x", "colour": 1})), ["/commands/0/arguments/colour"]),
        (batch("atomic", command("void_hold", {"hold_id": "acc_1"})), ["/commands/0/arguments/hold_id"]),
        (batch("atomic", command("place_hold", hold("acc_1", "bank", 1))), ["/commands/0/arguments"]),
        (batch("atomic", *[command("open_book", {"code": "x"}, "k")] * 2), [""]),
        (batch("atomic", {"command": "open_book"}), ["/commands/0/arguments"]),
        (batch("independent", *[command("open_book", {"code": "x"})] * 10_001), ["/commands"]),
    ],
)
def test_what_is_no_batch(books: Caller, database: str, body: dict[str, Any], fields: list[str]) -> None:
    """
    A batch with one command that is none is no batch; the fault is pointed at where it is in the body.
    """
    position = head(database)

    answer = books.ask("/v1/batches", body)

    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_request")
    assert [error["field"] for error in answer.json()["errors"]] == fields
    assert head(database) == position


@pytest.mark.parametrize("mode", ["independent", "atomic"])
def test_ten_thousand_commands(books: Caller, database: str, mode: str) -> None:
    """
    The largest batch is done at once, and answered again with the same bytes.
    """
    size = 10_000
    commands = [command("post_entry", transfer("cash", "bank", 1, reference=f"r{n}")) for n in range(size)]
    text = json.dumps(batch(mode, *commands)).encode()
    assert len(text) > 1024 * 1024
    before = head(database)
    books.event_hooks = {}  # Ten thousand answers are not held against the document one by one.

    headers = {"Idempotency-Key": "big", "Content-Type": "application/json"}
    first = books.post("/v1/batches", content=text, headers=headers)
    began = time.monotonic()
    while first.status_code == 503 and time.monotonic() < began + 60:  # A machine that has too much else to do.
        time.sleep(0.5)
        first = books.post("/v1/batches", content=text, headers=headers)
    again = books.post("/v1/batches", content=text, headers=headers)

    assert first.status_code == 200, first.text
    assert len(first.json()["answers"]) == size
    assert {each["status"] for each in first.json()["answers"]} == {201}
    assert (again.status_code, again.content == first.content) == (200, True)
    assert again.headers["idempotency-replayed"] == "true"
    assert head(database) == before + 1 + size


def test_bodies_of_other_commands_stay_small(books: Caller) -> None:
    """
    Only a batch may be large, and it too has its bound.
    """
    headers = {"Idempotency-Key": "big", "Content-Type": "application/json"}
    for path, size in (("/v1/holds", 1024 * 1024), ("/v1/batches", 16 * 1024 * 1024)):
        answer = books.post(path, content=b" " * (size + 1), headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")
    small = books.post("/v1/batches", content=b" " * (2 * 1024 * 1024) + b"{}", headers=headers)
    assert (small.status_code, small.json()["code"]) == (400, "invalid_request")


def test_a_dry_run(books: Caller, database: str) -> None:
    """
    Anything can be tried: it is answered as it would be, it says that it was dry, and nothing was done.
    """
    commands = commands_of(books)
    position = head(database)

    for number, (path, body, status) in enumerate(commands):
        with capture_logs() as lines:
            answer = books.ask(f"{path}?dry_run=true", body, key=f"k{number}")
            until(lambda: lines)
        if "/capture" not in path and "/void" not in path and path != "/v1/batches":
            assert answer.status_code == status, path
        assert answer.headers["daybook-dry-run"] == "true"
        assert "daybook-position" not in answer.headers
        assert ("position" in lines[0], lines[0]["outcome"]) == (False, "dry_run"), path
    assert head(database) == position
    done = books.ask(*commands[0][:2], key="k0")
    assert (done.status_code, done.headers.get("idempotency-replayed")) == (201, None)
    assert head(database) == position + 1


@pytest.mark.parametrize(
    "query", ["dry_run=yes", "dry_run", "dry-run=true", "dry_run=true&dry_run=false", "dryrun=true"]
)
def test_a_dry_run_misspelt_is_not_done(books: Caller, database: str, query: str) -> None:
    """
    Who meant to try and wrote it wrong has not booked.
    """
    position = head(database)

    answer = books.ask(f"/v1/journal-entries?{query}", transfer("cash", "bank", 1))

    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_request")
    assert head(database) == position


@pytest.mark.parametrize(
    "at",
    [1_800_000_000, "1700000000", "2999-01-01", "2999-01-01T00:00:00", "9999-12-31T23:59:59-14:00", "tomorrow", True],
)
def test_what_is_no_time(books: Caller, database: str, at: Any) -> None:
    """
    A time is an instant that can be shown everywhere, written as one.
    """
    position = head(database)

    answer = books.ask("/v1/holds", hold("cash", "bank", 1, expires_at=at))

    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, "/expires_at")
    assert head(database) == position


def test_an_account_that_cannot_be(books: Caller) -> None:
    """
    What is no id is a fault of the request; a version is a number that is kept exact.
    """
    malformed = books.ask("/v1/holds", hold("acc_1", "bank", 1))
    entry = transfer("cash", "bank", 1)
    entry["postings"][0]["if_version"] = 10**19

    assert [malformed.status_code, books.ask("/v1/journal-entries", entry).status_code] == [400, 400]
