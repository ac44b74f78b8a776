"""The whole life of escrows over HTTP: as answered and as read, through kills of the server, and at their end."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from adapters.postgres.log import PostgresLog
from adapters.postgres.projecting import catch_up
from domain import ids
from replay.verify import verify
from tests.serving import Caller, serving, serving_process, until

FAR = "2999-01-01T00:00:00.000001Z"
KEYS: dict[str, Any] = {
    "name": "deposit",
    "amount": 200,
    "release": {"conditions": ["keys"], "approvals": 1, "approvers": ["cleo", "dana"]},
}
REST: dict[str, Any] = {
    "name": "rest",
    "amount": 800,
    "release": {"approvals": 2, "approvers": ["cleo", "dana", "erin"]},
}


class Office(Caller):
    """A notary's, whose buyer has 1000 in his wallet and no overdraft."""

    def begin(self) -> None:
        self.done("/v1/books", {"code": "main"})
        self.account("bank")
        self.account("buyer", "liability", overdraft_limit=0)
        self.account("seller", "liability")
        postings = [
            {"account": "bank", "side": "debit", "amount": 1_000, "currency": "EUR"},
            {"account": "buyer", "side": "credit", "amount": 1_000, "currency": "EUR"},
        ]
        self.done("/v1/journal-entries", {"book": "main", "postings": postings})

    def body(self, **said: Any) -> dict[str, Any]:
        given = {
            "book": "main",
            "depositor": "buyer",
            "beneficiary": "seller",
            "amount": 1_000,
            "currency": "EUR",
            "expires_at": FAR,
            "conditions": [{"name": "keys", "by": ["agent"]}],
            "parts": [KEYS, REST],
        }
        return {**given, **said}

    def fund(self, key: str | None = None, **said: Any) -> Any:
        return self.done("/v1/escrows", self.body(**said), **({"key": key} if key else {}))

    def by(self, actor: str, path: str, body: Any = None, **named: str) -> Any:
        return self.done(path, body, Daybook_Actor=actor, **named)

    def refused(self, actor: str, path: str, body: Any = None) -> tuple[int, str]:
        answer = self.ask(path, body, Daybook_Actor=actor)
        return answer.status_code, answer.json()["code"]

    def read(self, path: str, **asked: Any) -> Any:
        response = self.get(path, params=asked)
        assert response.status_code == 200, response.text
        return response.json()

    def balances(self) -> dict[str, int]:
        """By code, of those that are not zero."""
        found = {one["code"]: one["balance"] for one in self.read("/v1/balances", book="main")["data"]}
        return {code: amount for code, amount in found.items() if amount and code != "bank"}


@contextmanager
def office(base_url: str, *, begin: bool = True) -> Iterator[Office]:
    with Office(base_url) as caller:
        if begin:
            caller.begin()
        yield caller


def as_answered(read: dict[str, Any]) -> dict[str, Any]:
    """What a read says, without what only reads say; its position is of the last event, an answer's of the first."""
    more = (
        "position",
        "depositor_code",
        "beneficiary_code",
        "suspended",
        "created_at",
        "changed_at",
        "entries",
        "timeline",
    )
    parts = [{name: value for name, value in part.items() if name != "waits_for"} for part in read["parts"]]
    return {**{name: value for name, value in read.items() if name not in more}, "parts": parts}


def told(answer: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in answer.items() if name != "position"}


def must_verify(dsn: str) -> None:
    catch_up(dsn)
    with PostgresLog(dsn) as log:
        report = verify(log)
    assert (report.verdict, report.findings) == ("verified", ())


def test_the_life_of_an_escrow(database: str) -> None:
    """
    Funded, a condition met, approved and released part by part: at each step reads and answers say the same, the money
    is where it should be, and the books verify in the end.
    """
    with serving(database) as base_url, office(base_url) as desk:
        funded = desk.fund(description="Garden house", metadata={"contract": "7"})
        path = f"/v1/escrows/{funded['id']}"
        assert as_answered(desk.read(path)) == told(funded)
        assert desk.balances() == {"escrow:EUR": 1_000}
        assert desk.refused("tester", "/v1/escrows", desk.body()) == (422, "insufficient_funds")

        assert desk.refused("cleo", f"{path}/conditions", {"condition": "keys"}) == (409, "escrow_attester_unfit")
        met = desk.by("agent", f"{path}/conditions", {"condition": "keys", "evidence": "Noon, at the gate"})
        assert as_answered(desk.read(path)) == told(met)
        assert desk.refused("tester", f"{path}/approve", {"part": "rest"}) == (409, "escrow_approver_is_maker")
        assert desk.refused("tester", f"{path}/release", {}) == (409, "escrow_not_ready")
        approved = desk.by("dana", f"{path}/approve", {"part": "deposit"})
        assert as_answered(desk.read(path)) == told(approved)
        assert (approved["status"], approved["released"], approved["held"]) == ("partially_released", 200, 800)
        assert desk.balances() == {"escrow:EUR": 800, "seller": 200}

        desk.by("dana", f"{path}/approve", {"part": "rest"})
        ended = desk.by("erin", f"{path}/approve", {"part": "rest"})
        story = desk.read(path)
        assert (ended["status"], story["status"]) == ("released", "released")
        assert desk.balances() == {"seller": 1_000}
        assert [entry["description"].partition(" (")[0] for entry in story["entries"]] == [
            "Garden house: escrow funded",
            "Garden house: escrow released: deposit",
            "Garden house: escrow released: rest",
        ]
        assert story["timeline"][1]["payload"]["evidence"] == "Noon, at the gate"
        assert desk.refused("erin", f"{path}/return", {}) == (409, "escrow_ended")

    must_verify(database)


def test_the_same_key_is_the_same_word(database: str) -> None:
    """
    Sent again, a step has its first answer, whatever has happened since; another person's word needs another key.
    """
    with serving(database) as base_url, office(base_url) as desk:
        funded = desk.fund(key="deal-1")
        path = f"/v1/escrows/{funded['id']}"
        first = desk.by("dana", f"{path}/approve", {"part": "rest"}, key="yes")
        last = desk.by("erin", f"{path}/approve", {"part": "rest"}, key="yes too")

        again = desk.ask(f"{path}/approve", {"part": "rest"}, key="yes", Daybook_Actor="dana")
        assert (again.json(), again.headers["idempotency-replayed"]) == (first, "true")
        assert desk.by("erin", f"{path}/approve", {"part": "rest"}, key="yes too") == last
        assert desk.ask("/v1/escrows", desk.body(), key="deal-1").json() == funded
        reused = desk.ask(f"{path}/approve", {"part": "rest"}, key="yes", Daybook_Actor="cleo")
        assert (reused.status_code, reused.json()["code"]) == (422, "idempotency_key_reused")
        assert desk.balances() == {"escrow:EUR": 200, "seller": 800}


def test_what_cannot_be_taken_stays_ready(database: str) -> None:
    """
    The word that completes a part stands while the seller's account is frozen; what is ready waits and says why.
    """
    with serving(database) as base_url, office(base_url) as desk:
        funded = desk.fund()
        path = f"/v1/escrows/{funded['id']}"
        seller = f"/v1/accounts/{funded['beneficiary_id']}"
        desk.done(f"{seller}/freeze", {"reason": "Under review"})
        desk.by("dana", f"{path}/approve", {"part": "rest"})
        desk.by("cleo", f"{path}/approve", {"part": "rest"})

        rest = desk.read(path)["parts"][1]
        assert (rest["status"], rest["waits_for"], rest["blocked"]) == ("ready", None, "account_frozen")
        assert desk.refused("tester", f"{path}/release", {}) == (409, "account_frozen")
        desk.done(f"{seller}/unfreeze", {"reason": "Cleared"})
        desk.done(f"{path}/release", {"part": "rest", "amount": 300})
        released = desk.done(f"{path}/release", {})
        assert (released["released"], released["parts"][1]["blocked"]) == (800, None)
        assert desk.balances() == {"escrow:EUR": 200, "seller": 800}

    must_verify(database)


def test_returned_by_those_who_may(database: str) -> None:
    """
    Where the seller may give up, the seller's word is enough; nobody else's is.
    """
    with serving(database) as base_url, office(base_url) as desk:
        funded = desk.fund(return_terms={"approvals": 1, "approvers": ["seller"]})
        path = f"/v1/escrows/{funded['id']}"
        assert desk.refused("cleo", f"{path}/return", {}) == (409, "escrow_approver_unfit")
        assert desk.refused("tester", f"{path}/return", {}) == (409, "escrow_approver_is_maker")
        assert desk.ask(f"{path}/return", {"amount": 5}).status_code == 400
        desk.by("seller", f"{path}/return", {"part": "rest", "amount": 100, "reason": "A leak"})
        assert desk.balances() == {"buyer": 100, "escrow:EUR": 900}
        returned = desk.by("seller", f"{path}/return", {"reason": "Sold to somebody else"})
        assert (returned["status"], returned["returned"], desk.balances()) == ("returned", 1_000, {"buyer": 1_000})

    must_verify(database)


def test_nobody_moves_what_is_set_apart(database: str) -> None:
    """
    Not by an entry, a hold, a reversal of what funded it, or by freezing or closing its account.
    """
    with serving(database) as base_url, office(base_url) as desk:
        funded = desk.fund()
        entry = desk.read(f"/v1/escrows/{funded['id']}")["entries"][0]["id"]
        held = f"/v1/accounts/{ids.show(ids.ACCOUNT, ids.account_id(ids.book_id('main'), 'escrow:EUR'))}"
        line = {"amount": 5, "currency": "EUR"}
        postings = [{"account": "escrow:EUR", "side": "debit", **line}, {"account": "seller", "side": "credit", **line}]
        by_hand: dict[str, Any] = {
            "/v1/journal-entries": {"book": "main", "postings": postings},
            f"/v1/journal-entries/{entry}/reverse": {},
            "/v1/holds": {"book": "main", "account": "escrow:EUR", "destination": "seller", **line},
        }

        for path, body in by_hand.items():
            assert desk.refused("tester", path, body) == (422, "account_holds_escrows")
        for verb in ("freeze", "close"):
            assert desk.refused("tester", f"{held}/{verb}", {}) == (422, "account_code_reserved")
        assert desk.balances() == {"escrow:EUR": 1_000}


def test_in_a_batch(database: str) -> None:
    """
    Escrows are funded, released and ended in batches; what is one person's word is not said in one.
    """
    with serving(database) as base_url, office(base_url) as desk:
        half = {**REST, "amount": 400, "name": "half"}
        funding = {"command": "fund_escrow", "arguments": desk.body(amount=400, conditions=[], parts=[half])}
        first = {**funding, "idempotency_key": "first"}
        made = ids.show(ids.ESCROW, ids.command_id(ids.book_id("main"), "fund_escrow", "first"))
        early = {"command": "expire_escrow", "arguments": {"escrow_id": made}}
        batch = {"book": "main", "mode": "independent", "commands": [first, funding, funding, early]}

        answers = desk.done("/v1/batches", batch)["answers"]

        assert [answer["status"] for answer in answers] == [201, 201, 422, 409]
        assert [answer["body"]["code"] for answer in answers[2:]] == ["insufficient_funds", "escrow_not_due"]
        assert told(answers[0]["body"]) == as_answered(desk.read(f"/v1/escrows/{made}"))
        assert desk.balances() == {"buyer": 200, "escrow:EUR": 800}
        word = {"command": "approve_release", "arguments": {"escrow_id": made, "part": "half"}}
        assert desk.ask("/v1/batches", {**batch, "commands": [word]}).status_code == 400


def test_killed_between_any_two_steps(database: str) -> None:
    """
    kill -9 of the server after every step, and each step asked again of the next one: everything happens once.
    """
    steps: list[tuple[str, str, dict[str, Any]]] = [
        ("agent", "conditions", {"condition": "keys"}),
        ("cleo", "approve", {"part": "deposit"}),
        ("cleo", "approve", {"part": "rest"}),
        ("erin", "return", {"part": "rest", "amount": 50}),
        ("dana", "return", {"part": "rest", "amount": 50}),
    ]
    with serving_process(database) as server, office(server.base_url) as desk:
        funded = desk.fund(key="deal")
        server.kill()
    path = f"/v1/escrows/{funded['id']}"
    for number, (actor, verb, body) in enumerate(steps):
        with serving_process(database) as server, office(server.base_url, begin=False) as desk:
            if number:
                actor_before, verb_before, body_before = steps[number - 1]
                again = desk.ask(f"{path}/{verb_before}", body_before, key=f"{number - 1}", Daybook_Actor=actor_before)
                assert again.headers["idempotency-replayed"] == "true"
            desk.by(actor, f"{path}/{verb}", body, key=f"{number}")
            server.kill()
    with serving_process(database) as server, office(server.base_url, begin=False) as desk:
        assert desk.balances() == {"buyer": 50, "escrow:EUR": 750, "seller": 200}
        story = desk.read(path)
        assert (story["status"], story["version"], len(story["entries"])) == ("partially_released", 8, 3)

    must_verify(database)


def test_it_ends_after_a_restart(database: str) -> None:
    """
    kill -9 of the server before its time: two that are started after it end it, once, and in Daybook's name.
    """
    with serving_process(database) as server, office(server.base_url) as desk:
        expires_at = datetime.now(UTC) + timedelta(seconds=1)
        path = f"/v1/escrows/{desk.fund(expires_at=expires_at.isoformat())['id']}"
        server.kill()

    with serving_process(database) as one, serving_process(database), office(one.base_url, begin=False) as desk:
        until(lambda: desk.read(path)["status"] == "expired", seconds=30)
        story = desk.read(path)
        assert desk.balances() == {"buyer": 1_000}
        told = [(event["name"].split(".")[1], event["actor"]) for event in story["timeline"]]
        assert told == [("funded", "tester"), *[(word, "daybook") for word in ("expired", "returned", "returned")]]
        assert datetime.fromisoformat(story["timeline"][1]["recorded_at"]) >= expires_at

    must_verify(database)


@pytest.mark.parametrize("closing", [False, True])
def test_it_ends_at_its_time(database: str, closing: bool) -> None:
    """
    Daybook returns by itself what is left when its time has come, in its own name; where the buyer's account is closed
    by then, to suspense.
    """
    with serving(database) as base_url, office(base_url) as desk:
        expires_at = datetime.now(UTC) + timedelta(seconds=1.5)
        funded = desk.fund(expires_at=expires_at.isoformat())
        path = f"/v1/escrows/{funded['id']}"
        if closing:
            desk.done(f"/v1/accounts/{funded['depositor_id']}/close", {"reason": "Moved away"})

        until(lambda: desk.read(path)["status"] == "expired", seconds=10)

        assert desk.balances() == ({"suspense:EUR": 1_000} if closing else {"buyer": 1_000})
        story = desk.read(path)
        assert (story["returned"], story["suspended"], story["held"]) == (1_000, 1_000 if closing else 0, 0)
        assert desk.refused("agent", f"{path}/conditions", {"condition": "keys"}) == (409, "escrow_ended")
        assert desk.refused("tester", f"{path}/expire", {}) == (409, "escrow_ended")
        suspended = "true" if closing else "false"
        assert f'daybook_expired_total{{kind="escrow",suspended="{suspended}"}} 1.0' in desk.get("/metrics").text
        ended_at = datetime.fromisoformat(story["timeline"][1]["recorded_at"])
        assert timedelta(0) <= ended_at - expires_at < timedelta(seconds=1)

    must_verify(database)
