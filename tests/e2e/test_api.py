"""Books, accounts and journal entries over HTTP, and the same answer for ever."""

import re
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from tests.serving import Caller, head, serving, transfer

INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")


@pytest.fixture
def api(database: str) -> Iterator[Caller]:
    with serving(database, project=False) as base_url, Caller(base_url) as caller:
        yield caller


@pytest.fixture
def books(api: Caller) -> Caller:
    """With book `main` and in it `cash` and `bank` (assets) and `fees` (revenue)."""
    api.done("/v1/books", {"code": "main"})
    api.account("cash")
    api.account("bank")
    api.account("fees", "revenue")
    return api


def test_opens_a_book(api: Caller) -> None:
    """
    A book is created, and the answer says where it is and at which position of the log.
    """
    response = api.ask("/v1/books", {"code": "main", "title": "Main book", "metadata": {"owner": "ops"}})

    book = response.json()
    assert response.status_code == 201
    assert response.headers["content-type"] == "application/json"
    assert response.headers["location"] == f"/v1/books/{book['id']}"
    assert response.headers["daybook-position"] == "1"
    assert response.headers["request-id"].startswith("req_")
    assert "idempotency-replayed" not in response.headers
    assert book["id"].startswith("book_")
    assert INSTANT.fullmatch(book["recorded_at"])
    assert {**book, "id": "", "recorded_at": ""} == {
        "object": "book",
        "id": "",
        "code": "main",
        "title": "Main book",
        "metadata": {"owner": "ops"},
        "recorded_at": "",
        "position": 1,
    }


def test_opens_an_account(api: Caller) -> None:
    """
    An account is created with everything it was opened with.
    """
    book = api.done("/v1/books", {"code": "main"})
    asked = {
        "code": "assets:bank:nostro",
        "type": "liability",
        "currency": "KWD",
        "overdraft_limit": 5,
        "floor": -7,
        "ceiling": 9_007_199_254_740_991,
        "title": "Nostro \N{GRINNING FACE}",
        "opened_on": "1995-03-24",
        "metadata": {"branch": "Hl.m. Praha"},
    }

    response = api.ask("/v1/accounts", {"book": book["id"], **asked})

    account = response.json()
    assert response.status_code == 201
    assert response.headers["location"] == f"/v1/accounts/{account['id']}"
    assert response.headers["daybook-position"] == "2"
    assert account["id"].startswith("acc_")
    assert account == {
        "object": "account",
        "id": account["id"],
        "book_id": book["id"],
        "normal_side": "credit",
        "limits_to_come": [],
        "status": "open",
        "version": 1,
        "position": 2,
        **asked,
    }


def test_an_account_that_is_told_little(books: Caller) -> None:
    """
    An account has no overdraft, no other limits and opens today unless it is said otherwise.
    """
    account = books.done("/v1/accounts", {"book": "main", "code": "x", "type": "asset", "currency": "JPY"})

    assert (account["overdraft_limit"], account["floor"], account["ceiling"]) == (0, None, None)
    assert (account["title"], account["metadata"], account["normal_side"]) == ("", {}, "debit")
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", account["opened_on"])


def test_posts_an_entry(books: Caller) -> None:
    """
    An entry of several postings lands whole, and shows them in the order in which they came.
    """
    cash = books.account("cash:eur")
    postings = [
        {"account": cash["id"], "side": "debit", "amount": 1050, "currency": "EUR"},
        {"account": "fees", "side": "credit", "amount": 50, "currency": "EUR"},
        {"account": "bank", "side": "credit", "amount": 1000, "currency": "EUR"},
    ]
    said = {"value_date": "1996-01-01", "description": "Deposit", "reference": "R1", "metadata": {"b": "1", "a": "2"}}

    response = books.ask("/v1/journal-entries", {"book": "main", "postings": postings, **said})

    entry = response.json()
    assert response.status_code == 201
    assert response.headers["location"] == f"/v1/journal-entries/{entry['id']}"
    assert response.headers["daybook-position"] == str(entry["position"]) == "6"
    assert entry["id"].startswith("je_")
    assert INSTANT.fullmatch(entry["recorded_at"])
    assert [(p["side"], p["amount"], p["currency"]) for p in entry["postings"]] == [
        ("debit", 1050, "EUR"),
        ("credit", 50, "EUR"),
        ("credit", 1000, "EUR"),
    ]
    assert entry["postings"][0]["account_id"] == cash["id"]
    assert {name: entry[name] for name in said} == said
    assert (entry["object"], entry["reverses"], entry["book_id"]) == ("journal_entry", None, cash["book_id"])


def test_reverses_an_entry(books: Caller) -> None:
    """
    A reversal is an entry of its own, the mirror of the first, at the original value date if that is asked.
    """
    first = books.done("/v1/journal-entries", transfer("cash", "bank", 7, value_date="1996-01-01"))

    response = books.ask(
        f"/v1/journal-entries/{first['id']}/reverse", {"value_date": "original", "description": "Oops"}
    )

    entry = response.json()
    assert response.status_code == 201
    assert response.headers["location"] == f"/v1/journal-entries/{entry['id']}"
    assert entry["id"] != first["id"]
    assert entry["reverses"] == first["id"]
    assert (entry["value_date"], entry["description"]) == ("1996-01-01", "Oops")
    assert [p["side"] for p in entry["postings"]] == ["credit", "debit"]
    assert response.headers["daybook-position"] == str(first["position"] + 1)


def test_freezes_unfreezes_and_closes(books: Caller) -> None:
    """
    An account goes from open to frozen and back, and is closed for ever; each answer shows it as it then is.
    """
    cash = books.account("till")
    path = f"/v1/accounts/{cash['id']}"

    answers = [
        books.ask(f"{path}/{what}", body)
        for what, body in [("freeze", {"reason": "audit"}), ("unfreeze", {}), ("freeze", {}), ("close", {})]
    ]

    assert [answer.status_code for answer in answers] == [200] * 4
    assert [answer.json()["status"] for answer in answers] == ["frozen", "open", "frozen", "closed"]
    assert [answer.json()["version"] for answer in answers] == [2, 3, 4, 5]
    assert [answer.headers["daybook-position"] for answer in answers] == ["6", "7", "8", "9"]
    assert "location" not in answers[0].headers
    still = {"status", "version", "position"}
    assert {k: v for k, v in answers[3].json().items() if k not in still} == {
        k: v for k, v in cash.items() if k not in still
    }


def commands_of(books: Caller) -> list[tuple[str, dict[str, Any]]]:
    """One of each command that succeeds, and some that are refused."""
    till = f"/v1/accounts/{books.account('till')['id']}"
    entry = books.done("/v1/journal-entries", transfer("cash", "bank", 7))["id"]
    return [
        ("/v1/books", {"code": "second", "title": "T", "metadata": {"b": "1", "a": "2"}}),
        ("/v1/accounts", {"book": "main", "code": "new", "type": "equity", "currency": "EUR"}),
        (f"{till}/freeze", {"reason": "r"}),
        (f"{till}/unfreeze", {}),
        (f"{till}/close", {}),
        ("/v1/journal-entries", transfer("cash", "bank", 9, metadata={"z": "1", "a": "2"})),
        (f"/v1/journal-entries/{entry}/reverse", {}),
        ("/v1/books", {"code": "main"}),
        ("/v1/accounts", {"book": "main", "code": "cash", "type": "asset", "currency": "EUR"}),
        (f"{till}/freeze", {"reason": "again"}),
        ("/v1/journal-entries", transfer("cash", "nobody", 9)),
        ("/v1/journal-entries", transfer("cash", "bank", 9, currency="USD")),
        (f"/v1/journal-entries/{entry}/reverse", {"description": "again"}),
    ]


def test_the_first_answer_for_ever(books: Caller, database: str) -> None:
    """
    Asked again with the same key, each command is answered byte for byte as before, refusals too, whatever has
    happened since and whichever process is asked; nothing is done twice.
    """
    commands = commands_of(books)
    first = [books.ask(path, body, key=f"k{n}", request_id=f"r{n}") for n, (path, body) in enumerate(commands)]
    position = head(database)

    again = [books.ask(path, body, key=f"k{n}") for n, (path, body) in enumerate(commands)]
    with serving(database, project=False) as base_url, Caller(base_url) as other:
        elsewhere = [other.ask(path, body, key=f"k{n}") for n, (path, body) in enumerate(commands)]

    assert [answer.status_code for answer in first] == [201, 201, 200, 200, 200, 201, 201, 409, 409, 409, 404, 422, 409]
    for answers in (again, elsewhere):
        for was, is_ in zip(first, answers, strict=True):
            assert (is_.status_code, is_.content) == (was.status_code, was.content)
            assert is_.headers["content-type"] == was.headers["content-type"]
            assert is_.headers["daybook-position"] == was.headers["daybook-position"]
            assert is_.headers.get("location") == was.headers.get("location")
            assert is_.headers["request-id"] != was.headers["request-id"]
            assert (was.headers.get("idempotency-replayed"), is_.headers["idempotency-replayed"]) == (None, "true")
    assert head(database) == position


def test_the_same_request_in_other_words(books: Caller) -> None:
    """
    Key order, white space and defaults written out make no other request.
    """
    first = books.ask("/v1/books", {"code": "b", "title": "T"}, key="k")

    again = books.post(
        "/v1/books",
        content=b'{\n "metadata": {}, "title": "\\u0054",  "code":"b"}',
        headers={"Idempotency-Key": "k", "Content-Type": "application/json; charset=UTF-8"},
    )

    assert (again.status_code, again.content) == (201, first.content)


def test_another_request_under_the_same_key(books: Caller, database: str) -> None:
    """
    A key is for one request; another one is told so, whether the first was done or refused.
    """
    books.ask("/v1/journal-entries", transfer("cash", "bank", 1), key="done")
    books.ask("/v1/journal-entries", transfer("cash", "nobody", 1), key="refused")
    position = head(database)

    for key in ("done", "refused"):
        answer = books.ask("/v1/journal-entries", transfer("cash", "bank", 2), key=key)

        assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_key_reused")
        assert not answer.json()["transient"]
        assert "daybook-position" not in answer.headers
    assert head(database) == position


def test_a_key_belongs_to_one_kind_of_command_and_one_thing(books: Caller) -> None:
    """
    The same key on another kind of command, or upon another thing, is another key.
    """
    paths = [f"/v1/accounts/{books.account(code)['id']}" for code in ("x", "y")]

    answers = [books.ask(f"{path}/{what}", key="k") for path in paths for what in ("freeze", "unfreeze", "close")]

    assert [answer.status_code for answer in answers] == [200] * 6


def test_a_kept_refusal_stays_refused(books: Caller) -> None:
    """
    A refused command keeps its answer even when it could be done by now; a new key asks anew.
    """
    books.ask("/v1/journal-entries", transfer("cash", "later", 1), key="k")
    books.account("later")

    again = books.ask("/v1/journal-entries", transfer("cash", "later", 1), key="k")
    anew = books.ask("/v1/journal-entries", transfer("cash", "later", 1), key="k2")

    assert (again.status_code, again.json()["code"]) == (404, "account_not_found")
    assert anew.status_code == 201


def test_a_refused_request_without_a_decision_uses_up_no_key(books: Caller) -> None:
    """
    What was not understood was not asked: the key is still free.
    """
    wrong = books.ask("/v1/books", {"code": "b", "colour": "red"}, key="k")
    right = books.ask("/v1/books", {"code": "b"}, key="k")

    assert (wrong.status_code, right.status_code) == (400, 201)


def test_request_id_and_trace(books: Caller) -> None:
    """
    A caller finds its own request id and trace again, on answers of every kind.
    """
    traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    headers = {"Request-Id": "mine-1", "traceparent": traceparent}

    answers = [
        books.ask("/v1/books", {"code": "b"}, **headers),
        books.ask("/v1/books", {}, **headers),
        books.get("/livez", headers=headers),
        books.get("/nowhere", headers=headers),
        books.put("/v1/books", headers=headers),
    ]

    assert [answer.status_code for answer in answers] == [201, 400, 200, 404, 405]
    assert {answer.headers["request-id"] for answer in answers} == {"mine-1"}
    spans = {answer.headers["traceparent"] for answer in answers}
    assert len(spans) == 5
    assert all(span.startswith("00-0af7651916cd43dd8448eb211c80319c-") and span.endswith("-01") for span in spans)
    assert answers[1].json()["request_id"] == "mine-1"


def test_what_is_kept_of_who_asked(books: Caller, database: str) -> None:
    """
    The actor, the request, its trace and its key are recorded with what they caused.
    """
    traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    books.ask("/v1/books", {"code": "b"}, key="the key", request_id="mine-1", traceparent=traceparent)

    with psycopg.connect(database) as connection:
        row = connection.execute(
            "SELECT convert_from(metadata, 'UTF8')::json FROM daybook.events ORDER BY position DESC LIMIT 1"
        ).fetchone()
    assert row is not None
    kept = row[0]
    assert len(kept.pop("request_hash")) == 22
    assert kept == {
        "actor": "tester",
        "request_id": "mine-1",
        "correlation_id": "0af7651916cd43dd8448eb211c80319c",
        "idempotency_key": "the key",
    }
