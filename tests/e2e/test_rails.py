"""Rails, routes and circuit breakers as operators see them, with a simulated rail that fails on command."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace
from prometheus_client.parser import text_string_to_metric_families

from adapters.client import Client
from adapters.client.errors import ProblemError
from adapters.rails.wiring import Wiring, simulated
from domain import ids, routing
from domain.hours import WEEKDAYS, Hours
from domain.routing import Decision, Rule, Strategy
from tests.serving import Caller, serving, until
from tests.simulating import Simulation, simulating

CARD = {"type": "card", "token": "tok_visa", "brand": "visa", "last4": "4242", "expires": "2030-12"}
BANK = {"type": "bank_account", "routing_number": "021000021", "account_number": "000123456789", "holder": "Ada Byron"}
OVERRIDE_CHEAP = "/v1/rails/card/routes/card-b/breaker"
"""Of the acquirer that every payment here goes by if it can, since it costs less."""
OVERRIDE_CARD = "/v1/rails/card/breaker"
MERCHANT = "DAYBOOK00000002"
"""Who we are to that acquirer, by which the simulator tells routes apart."""
ADA = {"Daybook-Actor": "ada"}


class Operator(Caller):
    """Who pays with a card, and looks after the rails."""

    def pay(self, *, wait: int = 10) -> dict[str, Any]:
        """A payment by card, as far as it gets in so many seconds."""
        wanted = {"book": "main", "account": "merchant", "amount": 10_00, "currency": "EUR", "method": CARD}
        return self.done("/v1/payments", {**wanted, "confirm": True}, Prefer=f"wait={wait}")

    def route_of(self, payment: dict[str, Any]) -> list[tuple[str, str]]:
        """The routes that each of its requests went by, with what became of it."""
        return [(request["route"], request["state"]) for request in payment["requests"]]

    def rail(self, name: str = "card") -> dict[str, Any]:
        found: list[dict[str, Any]] = self.get("/v1/rails").json()["data"]
        return next(rail for rail in found if rail["rail"] == name)

    def route(self, name: str = "card-b") -> dict[str, Any]:
        return next(route for route in self.rail()["routes"] if route["name"] == name)

    def metrics(self, name: str) -> dict[tuple[str, ...], float]:
        """Its samples by their labels' values."""
        families = text_string_to_metric_families(self.get("/metrics").text)
        samples = [sample for family in families for sample in family.samples if sample.name == name]
        return {tuple(sample.labels.values()): sample.value for sample in samples}

    def decided(self, **wanted: Any) -> dict[str, Any]:
        """Which way a payment would take."""
        response = self.post("/v1/routes/decide", json=wanted, headers=ADA)
        assert response.status_code == 200, response.text
        found: dict[str, Any] = response.json()
        return found

    def override(self, path: str, **said: Any) -> dict[str, Any]:
        """As Ada; without an Idempotency-Key."""
        response = self.post(path, json={"reason": "A drill", **said}, headers=ADA)
        assert response.status_code == 200, response.text
        left: dict[str, Any] = response.json()
        return left


@pytest.fixture
def rails(tmp_path: Path) -> Iterator[Simulation]:
    with simulating(tmp_path / "books.jsonl") as simulation:
        yield simulation


def wiring_of(simulation: Simulation) -> Wiring:
    """All its rails, where the cheapest route is taken."""
    wiring = simulated(simulation.http, cards=int(simulation.rails["card"].rpartition(":")[2]))
    return replace(wiring, rules=(Rule(name="cheap", strategy=Strategy.COST),))


@contextmanager
def operating(database: str, wiring: Wiring | None) -> Iterator[Operator]:
    with serving(database, wiring=wiring) as base_url, Operator(base_url) as operator:
        yield operator


@pytest.fixture
def operator(database: str, rails: Simulation) -> Iterator[Operator]:
    with operating(database, wiring_of(rails)) as found:
        found.done("/v1/books", {"code": "main"})
        found.account("merchant", "liability")
        yield found


def test_rails_as_they_are_wired(operator: Operator) -> None:
    """
    Every rail and route of the wiring is there with what it takes and costs, before anything went over it.
    """
    answer = operator.get("/v1/rails")

    assert [rail["rail"] for rail in answer.json()["data"]] == ["ach", "card", "upi", "wire"]
    assert operator.rail()["takes_payments"]
    assert operator.route() == {
        "object": "route",
        "name": "card-b",
        "rail": "card",
        "methods": ["card"],
        "terms": {"EUR": {"fee_fixed": 10, "fee_bp": 190, "amount_min": 1, "amount_max": 9_007_199_254_740_991}},
        "countries": [],
        "priority": 0,
        "share": 0,
        "takes_payments": True,
        "why": "",
        "again_at": None,
        "hours": None,
        "breaker": {
            "object": "breaker",
            "rail": "card",
            "route": "card-b",
            "state": "closed",
            "state_by_calls": "closed",
            "lets_through": "yes",
            "why": "",
            "since": None,
            "probe_due_at": None,
            "override": None,
            "transitions": [],
        },
        "window": {"approved": 0, "refused": 0, "latency_ms": None},
    }


def test_an_outage_opens_the_breaker_and_payments_go_by_the_other(operator: Operator, rails: Simulation) -> None:
    """
    One acquirer closes every connection: its breaker opens and says why, and payments go by the other one, until an
    operator who knows better closes it by hand.
    """
    rails.switch("card", MERCHANT, outage=1)
    until(lambda: operator.pay(wait=1) and operator.route()["breaker"]["state"] == "open")

    broken = operator.route()

    assert not broken["takes_payments"]
    assert "failures in a row" in broken["why"]
    assert broken["breaker"]["probe_due_at"] == broken["again_at"] is not None
    assert [one["cause"] for one in broken["breaker"]["transitions"]] == ["tripped"]
    assert broken["window"]["refused"] >= 5
    assert operator.rail()["takes_payments"]
    assert operator.route_of(operator.pay()) == [("card-a", "done"), ("card-a", "done")]
    assert operator.metrics("circuit_breaker_state")["card", "card-b"] == 2

    rails.switch("card", MERCHANT)
    operator.override(OVERRIDE_CHEAP, state="closed")

    mended = operator.route()
    assert (mended["breaker"]["state"], mended["breaker"]["state_by_calls"]) == ("closed", "open")
    assert mended["takes_payments"]
    # Its line rests after a connection that failed; what finds it resting goes by the other one.
    until(lambda: operator.route_of(operator.pay()) == [("card-b", "done"), ("card-b", "done")])


def test_an_operators_word_holds_in_every_process(operator: Operator, database: str, rails: Simulation) -> None:
    """
    What one process was told, another goes by: nothing is sent over the route until it is released.
    """
    soon = datetime.now(UTC) + timedelta(hours=1)

    left = operator.override(OVERRIDE_CHEAP, state="open", until=soon.isoformat())

    assert left["override"] | {"at": ""} == {
        "state": "open",
        "reason": "A drill",
        "actor": "ada",
        "at": "",
        "until": soon.isoformat().replace("+00:00", "Z"),
    }
    with operating(database, wiring_of(rails)) as other:
        assert other.route()["why"] == "forced open by ada: A drill"
        assert other.route()["again_at"] == left["override"]["until"]
        assert {other.route_of(other.pay())[0][0] for _ in range(3)} == {"card-a"}
        other.override(OVERRIDE_CHEAP, release=True)

    until(lambda: operator.route()["takes_payments"])
    released = operator.route()["breaker"]
    assert (released["state"], released["override"]) == ("closed", None)
    assert [one["cause"] for one in released["transitions"]] == ["forced", "released"]


def test_a_whole_rail_is_stopped(operator: Operator) -> None:
    """
    With the rail's own breaker open none of its routes takes anything, and other rails are none the worse.
    """
    left = operator.override(OVERRIDE_CARD, state="open")

    assert (left["route"], left["state"]) == (None, "open")
    rail = operator.rail()
    assert not rail["takes_payments"]
    assert {route["why"] for route in rail["routes"]} == {"forced open by ada: A drill"}
    assert {route["breaker"]["state"] for route in rail["routes"]} == {"closed"}
    assert operator.rail("ach")["takes_payments"]


def test_it_may_be_said_twice(operator: Operator) -> None:
    """
    An override needs no key, since the second time changes nothing.
    """
    once, twice = (operator.override(OVERRIDE_CHEAP, state="open") for _ in range(2))

    assert {**once["override"], "at": ""} == {**twice["override"], "at": ""}


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        ("/v1/rails/pigeon/breaker", {"state": "open"}, 404, "rail_not_found"),
        ("/v1/rails/pigeon/routes/card-a/breaker", {"state": "open"}, 404, "rail_not_found"),
        ("/v1/rails/card/routes/ach-a/breaker", {"state": "open"}, 404, "route_not_found"),
        (OVERRIDE_CHEAP, {"state": "half_open"}, 400, "invalid_request"),
        (OVERRIDE_CHEAP, {"state": "open", "reason": ""}, 400, "invalid_request"),
        (OVERRIDE_CHEAP, {"state": "open", "release": True}, 400, "invalid_request"),
        (OVERRIDE_CHEAP, {"release": True, "until": "2999-01-01T00:00:00Z"}, 400, "invalid_request"),
        (OVERRIDE_CHEAP, {"state": "open", "until": "2020-01-01T00:00:00Z"}, 422, "override_ends_in_past"),
        (OVERRIDE_CHEAP + "?dry_run=true", {"state": "open"}, 400, "invalid_request"),
        (OVERRIDE_CHEAP, {}, 400, "invalid_request"),
    ],
)
def test_what_cannot_be_meant_changes_nothing(
    operator: Operator, path: str, body: dict[str, Any], status: int, code: str
) -> None:
    """
    A rail or route that is not there, half a wish, or one that contradicts itself is refused, and nothing is set.
    """
    answer = operator.post(path, json={"reason": "A drill", **body}, headers=ADA)

    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert operator.route()["breaker"]["transitions"] == []


def test_an_operator_is_named(operator: Operator) -> None:
    """
    Who does not say who they are decides nothing.
    """
    del operator.headers["Daybook-Actor"]

    answer = operator.post(OVERRIDE_CHEAP, json={"state": "open", "reason": "A drill"})

    assert (answer.status_code, answer.json()["code"]) == (400, "actor_missing")


def test_a_process_without_rails(database: str) -> None:
    """
    It has nothing to show, and nothing to decide about.
    """
    with operating(database, None) as operator:
        assert operator.get("/v1/rails").json() == {"object": "list", "data": [], "has_more": False}
        answer = operator.post(OVERRIDE_CARD, json={"state": "open", "reason": "A drill"})
        assert (answer.status_code, answer.json()["code"]) == (404, "rail_not_found")
        assert operator.metrics("circuit_breaker_state") == {}
        answer = operator.get("/v1/upi/addresses/asha@okbank")
        assert (answer.status_code, answer.json()["code"]) == (404, "rail_not_found")


def test_a_process_without_upi(database: str, rails: Simulation) -> None:
    """
    Other rails know nothing of its addresses.
    """
    wiring = wiring_of(rails)
    others = tuple(route for route in wiring.routes if route.rail != "upi")
    with operating(database, replace(wiring, upi=(), routes=others)) as operator:
        answer = operator.get("/v1/upi/addresses/asha@okbank")

    assert (answer.status_code, answer.json()["code"]) == (404, "rail_not_found")


def test_whose_an_address_is(operator: Operator, rails: Simulation) -> None:
    """
    Whoever pays somebody sees their name first, and whether they are a merchant; no command, and nothing moves.
    """
    answer = operator.get("/v1/upi/addresses/Asha.Rao%40OkBank")
    with Client(str(operator.base_url), actor="ada") as daybook:
        shop = daybook.read_upi_address("shop-9@okbank")

    assert answer.status_code == 200
    assert answer.json() == {
        "object": "upi_address",
        "address": "asha.rao@okbank",
        "name": "ASHA RAO",
        "merchant": False,
        "account": "savings",
    }
    assert (shop.address, shop.name, shop.merchant, shop.account) == ("shop-9@okbank", "SHOP 9", True, "current")
    assert rails.effects() == []


@pytest.mark.parametrize(
    ("address", "status", "code"),
    [
        ("nobody@okbank", 404, "upi_address_not_found"),
        ("asha", 404, "upi_address_not_found"),
        ("asha@okbank@okbank", 404, "upi_address_not_found"),
        ("%00%F0%9F%98%80@okbank", 404, "upi_address_not_found"),
        ("a" * 4000 + "@okbank", 404, "upi_address_not_found"),
        ("asha@okbank?dry_run=true", 400, "invalid_request"),
        ("asha@okbank?address=nobody@okbank", 400, "invalid_request"),
    ],
)
def test_nobodys_address(operator: Operator, address: str, status: int, code: str) -> None:
    """
    Nobody's address is not found, nor is what is none.
    """
    answer = operator.get(f"/v1/upi/addresses/{address}")

    assert (answer.status_code, answer.json()["code"]) == (status, code)


def test_a_bank_that_does_not_say_whose_it_is(operator: Operator, rails: Simulation) -> None:
    """
    That is no nobody: whoever asks is told to ask again, and is answered once the bank is back.
    """
    path = "/v1/upi/addresses/asha@okbank"
    rails.switch("upi", outage={"next": 1})
    cut, again = operator.get(path), operator.get(path)
    rails.kill()
    away = operator.get(path)
    rails.start()

    for silent in (cut, away):
        assert (silent.status_code, silent.json()["code"], silent.json()["transient"]) == (503, "unavailable", True)
        assert silent.headers["retry-after"] == "1"
    assert again.json()["name"] == operator.get(path).json()["name"] == "ASHA"


def test_metrics_of_payments_and_breakers(operator: Operator) -> None:
    """
    A payment is counted by its method and status and timed, and each breaker's state is there, an override's before all
    else.
    """
    began = datetime.now(UTC)
    operator.pay()
    took = (datetime.now(UTC) - began).total_seconds()
    operator.override(OVERRIDE_CHEAP, state="open")

    until(lambda: operator.metrics("payments_processed_total") == {("card", "succeeded"): 1})

    assert operator.metrics("payment_processing_duration_seconds_count") == {("card",): 1}
    assert 0 < operator.metrics("payment_processing_duration_seconds_sum")[("card",)] <= took
    until(lambda: operator.metrics("circuit_breaker_state")["card", "card-b"] == 2)
    assert operator.metrics("circuit_breaker_state") == {
        ("ach", ""): 0,
        ("ach", "ach-a"): 0,
        ("card", ""): 0,
        ("card", "card-a"): 0,
        ("card", "card-b"): 2,
        ("upi", ""): 0,
        ("upi", "upi-a"): 0,
        ("wire", ""): 0,
        ("wire", "wire-a"): 0,
    }


def test_by_the_client(operator: Operator) -> None:
    """
    The client reads rails and overrides breakers.
    """
    with Client(str(operator.base_url), actor="ada") as daybook:
        stopped = daybook.override_route("card", "card-a", "A drill", state="open")
        rail = daybook.override_rail("card", "A drill", state="closed", until=datetime.now(UTC) + timedelta(hours=1))
        freed = daybook.override_route("card", "card-a", "It is over", release=True)
        with pytest.raises(ProblemError, match="rail_not_found"):
            daybook.override_rail("pigeon", "A drill", state="open")

        assert (stopped.state, rail.route, freed.override) == ("open", None, None)
        assert [one.rail for one in daybook.list_rails()] == ["ach", "card", "upi", "wire"]


def test_a_payment_under_way_is_not_counted(operator: Operator) -> None:
    """
    What a bank has only accepted is carried through once it has settled, and not before.
    """
    operator.account("dollars", "liability", currency="USD")
    wanted = {"book": "main", "account": "dollars", "amount": 10_00, "currency": "USD", "method": BANK}

    sent = operator.done("/v1/payments", {**wanted, "confirm": True}, Prefer="wait=1")

    assert (sent["status"], sent["requests"][0]["state"]) == ("processing", "accepted")
    operator.pay()
    assert operator.metrics("payments_processed_total") == {("card", "succeeded"): 1}


def with_hours(wiring: Wiring, hours: Hours) -> Wiring:
    """Cards are taken at those alone."""
    routes = (replace(route, hours=hours) if route.rail == "card" else route for route in wiring.routes)
    return replace(wiring, routes=tuple(routes))


def test_a_payment_rests_over_the_cut_off(database: str, rails: Simulation) -> None:
    """
    While no acquirer takes payments one that is confirmed waits, and says until when and why; it is not given up, and
    whoever finds that they take payments goes on with it.
    """
    opens_at = (datetime.now(UTC) + timedelta(hours=2)).replace(microsecond=0)
    closed = Hours(zone="UTC", opens=opens_at.time(), closes=(opens_at - timedelta(hours=6)).time(), days=WEEKDAYS)
    with operating(database, with_hours(wiring_of(rails), closed)) as operator:
        operator.done("/v1/books", {"code": "main"})
        operator.account("merchant", "liability")

        paid = operator.pay(wait=1)

        assert (paid["status"], paid["requests"]) == ("processing", [])
        story = operator.get(f"/v1/payments/{paid['id']}").json()
        assert story["waits_for"].pop("since") is not None
        assert datetime.fromisoformat(story["waits_for"].pop("until")) == opens_at
        assert story["waits_for"] == {
            "whom": "daybook",
            "what": "start_attempt",
            "state": None,
            "why": "no route can be taken now",
        }
        route = operator.route()
        assert not route["takes_payments"]
        assert route["why"] == f"it takes payments from {closed}"
        assert datetime.fromisoformat(route["again_at"]) == opens_at
        assert route["hours"]["opens"] == opens_at.time().isoformat()
        decided = operator.decided(amount=10_00, currency="EUR", method="card:visa")
        assert decided["chosen"] is None
        assert datetime.fromisoformat(decided["again_at"]) == opens_at
        cards = [one for one in decided["candidates"] if one["rail"] == "card"]
        assert [each["why"] for one in cards for each in one["obstacles"]] == ["cut_off", "cut_off"]

    always = Hours(zone="Europe/Berlin", days=WEEKDAYS)
    with operating(database, with_hours(wiring_of(rails), always)) as operator:
        until(lambda: operator.get(f"/v1/payments/{paid['id']}").json()["status"] == "succeeded")
        assert operator.route()["takes_payments"]


def test_a_route_is_decided_without_paying(operator: Operator) -> None:
    """
    What would be chosen, by what rule, and why not another; nothing is booked, asked of a rail, or counted.
    """
    before = operator.rail()

    card = operator.decided(amount=10_00, currency="EUR", method="card:visa", metadata={"shop": "north"})
    none = operator.decided(amount=10_00, currency="CHF", method="card")

    assert (card["chosen"], card["fallbacks"], card["how"]) == ("card-b", ["card-a"], "best")
    assert (card["rule"]["name"], card["rule"]["strategy"]) == ("cheap", "cost")
    by_name = {one["route"]: one for one in card["candidates"]}
    assert (by_name["card-a"]["fee"], by_name["card-b"]["fee"]) == (39, 29)
    assert [one["why"] for one in by_name["upi-a"]["obstacles"]] == ["method", "currency"]
    assert by_name["upi-a"]["score"] is None
    assert (none["chosen"], none["again_at"]) == (None, None)
    assert operator.get("/v1/payments").json()["data"] == []
    assert operator.rail() == before
    with Client(str(operator.base_url), actor="ada") as client:
        assert client.decide_route(10_00, "EUR", "card:visa").candidates[0].health.breakers == "yes"
        with pytest.raises(ProblemError, match="method"):
            client.decide_route(10_00, "EUR", "cash")


def test_stored_decisions_come_out_again(operator: Operator, rails: Simulation) -> None:
    """
    What the attempts of real payments were decided on is in their events, and gives the same decision at any time.
    """
    rails.switch("card", MERCHANT, decline={"next": 2}, decline_code="06")
    paid = [operator.pay() for _ in range(4)]
    operator.override(OVERRIDE_CHEAP, state="open")
    paid.append(operator.pay())
    routes, rules = wiring_of(rails).routes, wiring_of(rails).rules

    chosen = []
    for payment in paid:
        story = operator.get(f"/v1/payments/{payment['id']}").json()
        tried: tuple[str, ...] = ()
        for number, request in enumerate(story["requests"]):
            if request["decision"] is None:
                continue
            stored = msgspec.convert(request["decision"], Decision)
            wanted = routing.Request(amount=10_00, currency="EUR", method="card:visa", tried=tried)
            assert stored.draw == routing.draw_of(ids.parse(ids.PAYMENT, payment["id"]), number)
            assert routing.replay(stored) == stored
            known = routing.health_in(stored)
            assert routing.decide(wanted, routes, rules, known, stored.draw, stored.at) == stored
            assert stored.chosen == request["route"]
            chosen.append(request["route"])
            tried = (*tried, request["route"]) if request["state"] == "failed" else tried
    assert sorted(set(chosen)) == ["card-a", "card-b"]
    assert len(chosen) > len(paid)
