"""What the read routes answer about escrows: lists for whoever has a part in them, and of each its whole story."""

import asyncio
import csv
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import pytest
from starlette.testclient import TestClient

from adapters.postgres.projecting import catch_up
from adapters.postgres.store import PostgresEventStore
from domain import ids
from domain.errors import AccountNotFound, EscrowNotFound
from domain.escrow import OPEN, Escrow, Status
from tests.conftest import Server, database_on
from tests.contract.test_reads import serving
from tests.escrowed import write_escrows
from tests.stored import write_everything


class Office(NamedTuple):
    """Escrows at every stage by name, and the routes that read them."""

    client: TestClient
    known: dict[str, Escrow]

    def get(self, path: str, **parameters: Any) -> Any:
        response = self.client.get(path, params=parameters or None)
        assert response.status_code == 200, response.text
        return response.json()

    def story(self, name: str) -> Any:
        return self.get(f"/v1/escrows/{self.id(name)}")

    def parts(self, name: str) -> dict[str, Any]:
        return {part["name"]: part for part in self.story(name)["parts"]}

    def id(self, name: str) -> str:
        return ids.show(ids.ESCROW, self.known[name].id)

    def listed(self, **filters: Any) -> set[str]:
        """The names of all that a filter lets through."""
        names = {ids.show(ids.ESCROW, escrow.id): name for name, escrow in self.known.items()}
        return {names[escrow["id"]] for escrow in self.get("/v1/escrows", limit=1000, **filters)["data"]}


@pytest.fixture(scope="module")
def office(server: Server, template: str) -> Iterator[Office]:
    async def write(dsn: str) -> dict[str, Escrow]:
        await write_everything(PostgresEventStore(dsn))
        return await write_escrows(PostgresEventStore(dsn))

    with database_on(server, template=template) as dsn:
        known = asyncio.run(write(dsn))
        catch_up(dsn)
        with serving(dsn) as client:
            yield Office(client, known)


def test_an_escrows_whole_story(office: Office) -> None:
    """
    One call tells what it is, who has said what, what it did to the ledger, and what happened to it.
    """
    story = office.story("divided")

    amounts = ("status", "amount", "released", "returned", "held", "suspended", "depositor_code", "beneficiary_code")
    assert [story[name] for name in amounts] == ["divided", 100, 65, 35, 0, 0, "buyer", "seller"]
    assert [(one["name"], one["by"], one["met_by"]) for one in story["conditions"]] == [
        ("delivered", ["courier", "tester"], "courier"),
        ("intact", [], "eve"),
    ]
    assert [(one["name"], one["status"], one["released"], one["returned"]) for one in story["parts"]] == [
        ("goods", "divided", 65, 5),
        ("work", "returned", 0, 30),
    ]
    assert story["return_terms"] == {"approvals": 1, "approvers": ["seller"]}
    assert [entry["postings"][0]["amount"] for entry in story["entries"]] == [100, 5, 65, 30]
    assert [(event["name"], event["version"], event["actor"]) for event in story["timeline"]] == [
        ("escrow.funded.v1", 1, "tester"),
        ("escrow.return_approved.v1", 2, "seller"),
        ("escrow.returned.v1", 3, "seller"),
        ("escrow.condition_met.v1", 4, "courier"),
        ("escrow.condition_met.v1", 5, "eve"),
        ("escrow.released.v1", 6, "eve"),
        ("escrow.return_approved.v1", 7, "seller"),
        ("escrow.returned.v1", 8, "seller"),
    ]
    assert [event["payload"]["entry_id"] for event in story["timeline"] if "entry_id" in event["payload"]] == [
        entry["id"] for entry in story["entries"]
    ]
    assert story["timeline"][-1]["position"] == story["position"]
    assert all(event["stream"] == story["id"] for event in story["timeline"])
    assert story["timeline"][3]["payload"]["evidence"] == "Signed for"


def test_what_each_part_still_waits_for(office: Office) -> None:
    """
    Conditions that are not met, approvals that are not given and by whom they may be; of what is ready nothing, but why
    it was not released.
    """
    assert {name: part["waits_for"] for name, part in office.parts("half approved").items()} == {
        "goods": {"conditions": ["delivered", "intact"], "approvals": 0, "approvers": []},
        "work": {"conditions": ["delivered"], "approvals": 1, "approvers": ["eve"]},
    }
    goods, work = office.parts("ready").values()
    assert (goods["status"], goods["waits_for"], goods["blocked"]) == ("ready", None, "account_frozen")
    assert (work["status"], work["waits_for"]["approvers"]) == ("waiting", ["bob", "eve"])
    later = office.parts("released later")["goods"]
    assert (later["status"], later["blocked"]) == ("released", None)
    for name in ("released", "returned", "divided", "expired"):
        assert [part["waits_for"] for part in office.story(name)["parts"]] == [None, None]


def test_what_was_agreed_to_be_returned(office: Office) -> None:
    """
    Everybody sees what is on the table, until something was returned.
    """
    assert office.story("to be returned")["returns"] == [
        {"approver": "bob", "part": "work", "amount": 10},
        {"approver": "eve", "part": None, "amount": None},
    ]
    assert office.story("returned in part")["returns"] == [{"approver": "bob", "part": "work", "amount": None}]


def test_what_became_of_those_whose_time_came(office: Office) -> None:
    """
    It went back, or forward; what was ready went forward; and what no account could take is on suspense.
    """
    told = {
        name: [office.story(name)[field] for field in ("released", "returned", "suspended")]
        for name in ("expired", "expired forward", "expired when ready")
    }

    assert told == {"expired": [0, 100, 0], "expired forward": [100, 0, 100], "expired when ready": [70, 30, 0]}


def test_filters(office: Office) -> None:
    """
    Lists are of what is asked for, and of nothing else.
    """
    everything = set(office.known)

    def having(test: Any) -> set[str]:
        return {name for name, escrow in office.known.items() if test(escrow)}

    assert office.listed() == office.listed(book="main") == everything
    assert office.listed(book="other") == set()
    known = office.known["expired forward"].funded
    buyer, leaver = (ids.show(ids.ACCOUNT, one) for one in (known.depositor_id, known.beneficiary_id))
    assert office.listed(depositor=buyer) == everything
    assert office.listed(beneficiary=leaver) == {"expired forward"}
    for status in Status:
        assert office.listed(status=status.value) == having(lambda one, status=status: one.status is status) != set()
    assert office.listed(reference="order-1") == {"funded"}
    open_ones = having(lambda one: one.status in OPEN)
    late = (datetime(2999, 1, 1, tzinfo=UTC) + timedelta(seconds=1)).isoformat()
    assert office.listed(expires_before=late) == open_ones
    assert office.listed(expires_before="2998-01-01T00:00:00Z") == set()
    waiting = having(lambda one: one.status in OPEN and "intact" not in one.met)
    assert office.listed(waits_for_condition="intact") == waiting
    assert office.listed(waits_for_condition="paid") == set()
    assert office.listed(waits_for_approver="bob") == open_ones - {"half approved"}
    assert office.listed(waits_for_approver="eve") == open_ones
    assert office.listed(waits_for_approver="tester") == office.listed(waits_for_approver="courier") == set()


def test_pages_and_csv(office: Office) -> None:
    """
    Newest first, page by page in both directions; as CSV a line each, amounts twice.
    """
    forwards: list[Any] = []
    page = office.get("/v1/escrows", limit=5)
    while True:
        forwards += page["data"]
        if not page["has_more"]:
            break
        page = office.get("/v1/escrows", limit=5, starting_after=forwards[-1]["id"])
    before = office.get("/v1/escrows", limit=5, ending_before=forwards[-1]["id"])["data"]
    lines = list(csv.DictReader(office.client.get("/v1/escrows", params={"format": "csv"}).text.splitlines()))

    assert len(forwards) == len(office.known) == len(lines)
    assert [one["created_at"] for one in forwards] == sorted((one["created_at"] for one in forwards), reverse=True)
    assert before == forwards[-6:-1]
    assert [line["id"] for line in lines] == [one["id"] for one in forwards]
    assert (lines[0]["amount"], lines[0]["amount_decimal"]) == ("100", "1.00")
    assert [part["name"] for part in json.loads(lines[0]["parts"])] == ["goods", "work"]


def test_what_is_not_there(office: Office) -> None:
    """
    An escrow that nobody funded is not found; nor is one that a list was to begin after, nor an account.
    """
    nobody = ids.show(ids.ESCROW, office.known["funded"].funded.depositor_id)

    for path in (f"/v1/escrows/{nobody}", f"/v1/escrows?starting_after={nobody}"):
        with pytest.raises(EscrowNotFound):
            office.client.get(path)
    for end in ("depositor", "beneficiary"):
        with pytest.raises(AccountNotFound):
            office.client.get(f"/v1/escrows?{end}={ids.show(ids.ACCOUNT, office.known['funded'].id)}")


def test_the_audit_trail_and_the_log_know_escrows(office: Office) -> None:
    """
    What happened to one escrow is found in the audit trail by its id, and in the log by its kind.
    """
    name = office.id("divided")
    records = office.get("/v1/audit-trail", stream=name)["data"]
    events = office.get("/v1/events", kind="escrow", limit=1000)["data"]

    assert len(records) == 8
    assert {(record["subject"], record["book_id"]) for record in records} == {
        (name, ids.show(ids.BOOK, office.known["divided"].funded.book_id))
    }
    assert {event["stream"] for event in events} == {office.id(one) for one in office.known}
