"""Any sequence of payments through a server and rails that misbehave: in the end the books on both sides agree.

A plan is drawn: payments by every rail, captures, cancels, refunds and reversals upon them at once or after a while,
disputes that are contested or not, faults of the rails, the server or the simulator killed with `kill -9` and started
again, and the simulator's clock moved forward. Whoever asks, asks again under the same key until it is answered. When
the faults are off, all has come to rest and every day has settled, what the simulator wrote into its file is held
against Daybook's requests, clearing accounts, settlements and balances.
"""

import json
import os
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import httpx2
import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given, settings
from prometheus_client.parser import text_string_to_metric_families

from adapters.postgres.log import PostgresLog
from adapters.settling import ZONES
from domain.rail import Rail
from replay.verify import verify
from tests.conftest import database_on
from tests.killing import Server, mortal
from tests.ports import two_free_ports
from tests.serving import until
from tests.settled import came, fees, moved
from tests.simulating import Simulation

LONG = os.environ.get("DAYBOOK_HYPOTHESIS") == "long"
PLANS = 60 if LONG else 6
DRAWN_FOR_ONE = 25
AT_ONCE = 3
REST_S = 60
"""How long payments may take to come to rest when all rails are well again."""
START_S = 120
"""How long a server may take to be ready, where others keep all cores busy."""
BY_ITSELF = ("return", "disputed", "dispute_won", "dispute_lost")
"""What a rail does without being asked."""
MOVES = ("capture", "collect", "refund", "payout", "reverse")
REQUEST_ID = 22
"""Its letters; a rail may put something before it to make its own id."""
COMES_BACK = 5_101
"""Cents that an ACH entry is returned for, after it has settled."""
FUNDS = 20_000
"""What each merchant has at first, in minor units."""

CARD = {"type": "card", "token": "tok_visa", "brand": "visa", "last4": "4242", "expires": "2030-12"}
BANK = {"type": "bank_account", "routing_number": "021000021", "account_number": "000123456789", "holder": "Ada Byron"}
UPI = {"type": "upi", "vpa": "payer@simulator"}
IBAN = {
    "type": "iban",
    "iban": "DE89370400440532013000",
    "bic": "COBADEFFXXX",
    "holder": "Bob Payee",
    "country": "DE",
}
MERCHANTS = {"card": "EUR", "ach": "USD", "upi": "INR", "wire": "EUR"}
"""Each rail's merchant is named like it, so that what came by one rail is seen on one account."""

# A plan: what is done, and with what. `nth` counts from the newest payment that it can be done upon.

Step = tuple[str, dict[str, Any]]


def step(do: str, **of: st.SearchStrategy[Any]) -> st.SearchStrategy[Step]:
    return st.tuples(st.just(do), st.fixed_dictionaries(of))


def payments(rail: str, method: dict[str, str], **said: Any) -> st.SearchStrategy[Step]:
    body = {"account": rail, "currency": MERCHANTS[rail], "method": method, "confirm": True, **said}
    return step("pay", body=st.integers(100, 4_000).map(lambda amount: {**body, "amount": amount}))


nth = st.integers(0, 3)
rested = st.sampled_from([True, True, False])
"""Whether it waits, for a while, until the payment has come to rest."""
chances = st.sampled_from([0.3, 1.0, {"next": 1}, {"next": 2}])
faults = st.one_of(
    st.fixed_dictionaries({"drop_before": chances}),
    st.fixed_dictionaries({"drop_after": chances}),
    st.fixed_dictionaries({"drop_after": st.just({"next": 1}), "duplicate": st.just(1.0)}),
    st.fixed_dictionaries({"duplicate": chances}),
    st.fixed_dictionaries({"late": chances, "late_s": st.sampled_from([0.3, 11.0])}),
    st.fixed_dictionaries({"wrong_amount": chances}),
    st.fixed_dictionaries({"outage": chances}),
    st.fixed_dictionaries({"decline": chances}),
    st.fixed_dictionaries({"dispute": chances}),
    st.fixed_dictionaries({"dispute": st.just(1.0)}),
    st.just({}),
)
paid = (
    payments("card", CARD),
    payments("card", CARD, capture="manual"),
    payments("ach", BANK),
    payments("upi", UPI),
    payments("wire", IBAN, direction="out"),
)
captures = st.fixed_dictionaries({"amount": st.integers(1, 900), "final": st.booleans()})
refunds = st.fixed_dictionaries({"amount": st.integers(1, 900)}) | st.just(dict[str, int]())
contests = step("contest", nth=nth, text=st.sampled_from(["a winning receipt", "a losing one"]))
others = st.one_of(
    *paid,
    step("capture", nth=nth, body=captures, rested=rested),
    step("capture", nth=nth, body=captures, rested=rested),
    step("refund", nth=nth, body=refunds, rested=rested),
    step("refund", nth=nth, body=refunds, rested=rested),
    step("reverse", nth=nth, body=st.just({}), rested=rested),
    step("cancel", nth=nth, body=st.just({}), rested=rested),
    contests,
    step("fault", rail=st.sampled_from([*MERCHANTS]), switches=faults),
    step("fault", rail=st.sampled_from([*MERCHANTS]), switches=faults),
    step("kill_server", after_s=st.sampled_from([0.0, 0.02, 0.1])),
    step("kill_simulator", after_s=st.sampled_from([0.0, 0.02, 0.1]), away_s=st.sampled_from([0.0, 1.0])),
    step("advance", days=st.sampled_from([1, 3, 14])),
    step("pause", seconds=st.sampled_from([0.1, 0.6, 2.0])),
)


@st.composite
def plans(draw: st.DrawFn) -> list[Step]:
    """A payment of each kind at least, just after its rail was told how to misbehave, somewhere among the rest; and one
    that is disputed, one that is reversed, one that comes back."""
    pieces = [[one] for one in draw(st.lists(others, min_size=3, max_size=10))]
    for each in paid:
        payment = draw(each)
        pieces.append([("fault", {"rail": payment[1]["body"]["account"], "switches": draw(faults)}), payment])
    pieces.append([draw(st.one_of(paid[0], paid[4])), ("reverse", {"nth": 0, "body": {}, "rested": True})])
    pieces.append([("pay", {"body": {**draw(paid[2])[1]["body"], "amount": COMES_BACK}})])
    disputed = draw(st.one_of(paid[0], paid[3]))
    fault = ("fault", {"rail": disputed[1]["body"]["account"], "switches": {"dispute": 1.0}})
    pieces.append([fault, disputed, ("pause", {"seconds": 2.0}), *draw(st.lists(contests, max_size=1))])
    return [one for piece in draw(st.permutations(pieces)) for one in piece]


class Asked(NamedTuple):
    """A question that was answered, to be asked again."""

    path: str
    body: dict[str, Any]
    key: str
    status: int
    answer: dict[str, Any]


class Made(NamedTuple):
    """A payment that somebody asked for; its first answer is still to come, perhaps."""

    rail: str
    manual: bool
    answer: "Future[Asked]"


class System:
    """A server, a simulator, and a crowd that asks again under the same key until it is answered."""

    def __init__(self, dsn: str, folder: Path) -> None:
        self._dsn = dsn
        self.simulation = Simulation(folder / "rails.jsonl")
        self._port = two_free_ports()
        self._url = f"http://127.0.0.1:{self._port}"
        self._server: Server | None = None
        self._crowd = ThreadPoolExecutor(max_workers=24)
        self._asked: list[Future[Asked]] = []
        self.made: list[Made] = []
        self._over = False

    @contextmanager
    def running(self) -> Iterator["System"]:
        try:
            self.simulation.start()
            self._serve()
            yield self
        finally:
            self._over = True
            self._crowd.shutdown()
            self._end_server()
            if self.simulation.running:
                self.simulation.kill()

    def _serve(self) -> None:
        self._server = mortal(self._dsn, self.simulation, port=self._port)
        until(self._ready, seconds=START_S)

    def _ready(self) -> bool:
        assert self._server is not None and self._server.is_alive(), "the server did not start"
        try:
            return httpx2.get(f"{self._url}/readyz", timeout=5).is_success
        except httpx2.HTTPError:
            return False

    def _end_server(self) -> None:
        if self._server is not None:
            self._server.kill()
            self._server.join()

    # Asking.

    def _ask(self, path: str, body: dict[str, Any], key: str) -> Asked:
        """Until it is answered: whoever cannot answer now is asked again."""
        headers = {"Daybook-Actor": "tester", "Idempotency-Key": key}
        while not self._over:
            try:
                response = httpx2.post(self._url + path, json=body, headers=headers, timeout=30)
            except httpx2.TransportError:
                time.sleep(0.05)
                continue
            answer = response.json()
            if response.status_code >= 500 or answer.get("code") == "idempotency_key_in_flight":
                time.sleep(0.05)
                continue
            return Asked(path, body, key, response.status_code, answer)
        raise AssertionError(f"{path} was never answered")

    def _put(self, path: str, body: dict[str, Any]) -> "Future[Asked]":
        """Have somebody ask it, and do not wait."""
        future = self._crowd.submit(self._ask, path, body, f"key-{len(self._asked)}")
        self._asked.append(future)
        return future

    def get(self, path: str, **params: Any) -> dict[str, Any]:
        """What is there, asked again while read models are behind."""
        end = time.monotonic() + REST_S
        while (response := httpx2.get(self._url + path, params=params, timeout=30)).status_code == 503:
            assert time.monotonic() < end, response.text
            time.sleep(0.2)
        assert response.is_success, response.text
        found: dict[str, Any] = response.json()
        return found

    def answered(self) -> list[Asked]:
        """All questions with their answers, in the order in which they were asked."""
        return [future.result(timeout=120) for future in self._asked]

    def payments(self) -> list[dict[str, Any]]:
        answers = [one.answer.result(timeout=120) for one in self.made]
        return [self.get(f"/v1/payments/{one.answer['id']}") for one in answers if one.status == 201]

    # Steps.

    def begin(self) -> None:
        """A book, a merchant for each rail, and something on their accounts, so that payouts can be made."""
        asked: list[tuple[str, dict[str, Any]]] = [("/v1/books", {"code": "main"})]
        for currency in dict.fromkeys(MERCHANTS.values()):
            bank = {"book": "main", "code": f"bank-{currency}", "type": "asset", "currency": currency}
            asked.append(("/v1/accounts", {**bank, "overdraft_limit": None}))
        for rail, currency in MERCHANTS.items():
            asked.append(("/v1/accounts", {"book": "main", "code": rail, "type": "liability", "currency": currency}))
            postings = [
                {"account": account, "side": side, "amount": FUNDS, "currency": currency}
                for account, side in ((f"bank-{currency}", "debit"), (rail, "credit"))
            ]
            asked.append(("/v1/journal-entries", {"book": "main", "postings": postings}))
        for number, (path, body) in enumerate(asked):
            assert self._ask(path, body, f"begin-{number}").status == 201

    def do(self, step: Step) -> None:
        name, of = step
        getattr(self, f"_{name}")(**of)

    def _pay(self, body: dict[str, Any]) -> None:
        answer = self._put("/v1/payments", {"book": "main", **body})
        self.made.append(Made(body["account"], body.get("capture") == "manual", answer))

    def _capture(self, nth: int, body: dict[str, Any], rested: bool) -> None:
        self._upon([one for one in self.made if one.manual], nth, "capture", body, rested)

    def _cancel(self, nth: int, body: dict[str, Any], rested: bool) -> None:
        self._upon([one for one in self.made if one.manual], nth, "cancel", body, rested)

    def _refund(self, nth: int, body: dict[str, Any], rested: bool) -> None:
        self._upon([one for one in self.made if one.rail != "wire"], nth, "refund", body, rested)

    def _reverse(self, nth: int, body: dict[str, Any], rested: bool) -> None:
        self._upon(self.made, nth, "reverse", body, rested)

    def _contest(self, nth: int, text: str) -> None:
        """What has been told by now, after some days."""
        self._advance(7)
        end = time.monotonic() + 2
        while not (some := self.get("/v1/disputes", state="needs_response")["data"]) and time.monotonic() < end:
            time.sleep(0.2)
        if some:
            dispute = some[nth % len(some)]
            path = f"/v1/payments/{dispute['payment_id']}/disputes/{dispute['id']}/contest"
            self._put(path, {"evidence": {"receipt": text}})

    def _upon(self, some: list[Made], nth: int, verb: str, body: dict[str, Any], rested: bool) -> None:
        if not some:
            return
        made = some[-1 - nth % len(some)].answer.result(timeout=60)
        if made.status != 201:
            return
        end = time.monotonic() + 1.5
        while rested and not is_at_rest(self.get(f"/v1/payments/{made.answer['id']}")) and time.monotonic() < end:
            time.sleep(0.05)
        self._put(f"/v1/payments/{made.answer['id']}/{verb}", body)

    def _fault(self, rail: str, switches: dict[str, Any]) -> None:
        self.simulation.switch(rail, **switches)

    def _kill_server(self, after_s: float) -> None:
        time.sleep(after_s)
        self._end_server()
        self._serve()

    def _kill_simulator(self, after_s: float, away_s: float) -> None:
        """Faults do not survive it."""
        time.sleep(after_s)
        self.simulation.kill()
        time.sleep(away_s)
        self.simulation.start()

    def _advance(self, days: int) -> None:
        self.simulation.advance(days)

    def _pause(self, seconds: float) -> None:
        time.sleep(seconds)

    # Coming to rest.

    def come_to_rest(self) -> list[dict[str, Any]]:
        """With all rails well, days that go by for those that take days, and nobody who waits for another attempt
        that is to come in a minute; all payments as they then are."""
        for rail in MERCHANTS:
            self.simulation.switch(rail)
        self.answered()
        end = time.monotonic() + REST_S
        while True:
            found = self.payments()
            restless = [one for one in found if not is_at_rest(one)]
            if not restless:
                return found
            assert time.monotonic() < end, self.told("These do not come to rest", restless)
            for one in restless:
                if is_for_later(one):
                    self._put(f"/v1/payments/{one['id']}/cancel", {})
            if any(request["state"] == "accepted" for one in restless for request in one["requests"]):
                self.simulation.advance(14)
            time.sleep(1)

    def settle(self) -> None:
        """Weeks later, once every route has told of every day."""
        for _ in range(3):
            self.simulation.advance(14)
            time.sleep(0.2)
        now = datetime.fromisoformat(self.simulation.get("/now").json()["now"])
        asked = {one["route"]: one["rail"] for payment in self.payments() for one in payment["requests"]}
        last = {
            route: now.astimezone(ZONES.get(Rail(rail), UTC)).date() - timedelta(days=1)
            for route, rail in asked.items()
        }
        until(lambda: last.items() <= self._settled().items(), seconds=REST_S)

    def _settled(self) -> dict[str, date]:
        """The last day that was passed, by route."""
        text = httpx2.get(f"{self._url}/metrics", timeout=30).text
        samples = [one for family in text_string_to_metric_families(text) for one in family.samples]
        days = {one.labels["route"]: one.value for one in samples if one.name == "settlement_day_seconds"}
        return {route: datetime.fromtimestamp(began, UTC).date() for route, began in days.items()}

    def told(self, what: str, some: list[dict[str, Any]]) -> str:
        """The story of these payments, and what the simulator has of them."""
        names = {request["id"] for one in some for request in one["requests"]}
        effects = [one for one in self.simulation.effects() if one["request_id"][-REQUEST_ID:] in names]
        return f"{what}:\n{json.dumps([some, effects], indent=1)}"


def is_at_rest(payment: dict[str, Any]) -> bool:
    waits = any(request["state"] in ("requested", "unknown", "accepted") for request in payment["requests"])
    return not waits and payment["status"] != "processing"


def is_for_later(payment: dict[str, Any]) -> bool:
    """Whether it was declined, and is to be tried again after a pause."""
    last = payment["requests"][-1] if payment["requests"] else {"state": ""}
    return payment["status"] == "processing" and last["state"] == "failed" and last["retry"] == "later"


# What must be so in the end, worked out from the simulator's file and from what the API shows.


class Effects:
    """What the simulator wrote into its file, line by line, and of what was asked what was done in the end."""

    def __init__(self, path: Path) -> None:
        self.approved: dict[str, dict[str, Any]] = {}
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        self.all = [line for line in lines if "rail" in line]
        for effect in self.all:
            name = effect["request_id"][-REQUEST_ID:]
            if effect["operation"] not in BY_ITSELF and effect["outcome"] == "approved":
                assert name not in self.approved, f"done twice: {effect} and {self.approved[name]}"
                self.approved[name] = effect


def must_agree(system: System, found: list[dict[str, Any]], effects: Effects) -> None:
    """What Daybook calls done was done, as it was asked, and what was done Daybook calls done."""
    requests = {request["id"]: (request, one) for one in found for request in one["requests"]}
    assert not effects.approved.keys() - requests.keys(), "the rails did what nobody asked"
    for name, (request, payment) in requests.items():
        effect = effects.approved.get(name)
        tell = partial(system.told, f"This is not so of {name}", [payment])
        assert not request["contradicted"], tell()
        if request["state"] == "done":
            assert effect is not None, tell()
            did = (effect["rail"], effect["operation"], effect["amount"], effect["currency"])
            assert did == (request["rail"], request["operation"], request["amount"], payment["currency"]), tell()
            assert bool(request["settlement_id"]) is (request["operation"] in MOVES), tell()
        else:
            assert request["state"] == "failed", tell()
            assert effect is None, tell()
    for payment in found:
        sums: Counter[str] = Counter()
        for request in payment["requests"]:
            sums[request["operation"]] += (request["amount"] - request["returned"]) * (request["state"] == "done")
            sums["returned"] += request["returned"] * (request["operation"] in ("capture", "collect", "payout"))
        tell = partial(system.told, "Its sums are not its requests'", [payment])
        assert payment["authorized"] == sums["authorize"] + sums["increment"], tell()
        assert payment["refunded"] == sums["refund"], tell()
        assert payment["reversed"] == sums["reverse"], tell()
        assert payment["returned"] == sums["returned"], tell()
        if payment["direction"] == "in":
            assert payment["captured"] == sums["capture"] + sums["collect"] + sums["returned"], tell()


def must_balance(system: System, effects: Effects) -> None:
    """Rails owe nothing any more, and have paid what their books say; the merchant has what was theirs, and only what
    was reported twice is left."""
    did, twice, fees_kept = Counter[str](), Counter[str](), fees(system.simulation)
    for effect, amount, times in moved(effects.all):
        did[effect["rail"]] += amount
        twice[effect["rail"]] += amount * (times - 1)
    expected = came(system.simulation)
    listed = system.get("/v1/balances", book="main")["data"]
    accounts: Mapping[str, Counter[str]] = defaultdict(Counter, {one["code"]: Counter(_totals(one)) for one in listed})

    def net(code: str) -> int:
        """Debits less credits."""
        return accounts[code]["debits"] - accounts[code]["credits"]

    settled = system.get("/v1/settlements", limit=100)
    assert not settled["has_more"]
    breaks: Counter[str] = Counter()
    suspended: Counter[str] = Counter()
    for settlement in settled["data"]:
        for one in settlement["breaks"]:
            breaks[settlement["rail"]] += one["moved"]
            suspended[settlement["currency"]] += one["moved"]
    assert +breaks == +twice and -breaks == -twice, (breaks, twice, settled)
    for rail, currency in MERCHANTS.items():
        story = f"{rail}: {did}, {expected}, {dict(accounts)}"
        assert net(f"clearing:{rail}:{currency}") == 0, story
        assert net(f"settlement:{rail}:{currency}") == expected[rail], story
        assert net(f"fees:{rail}:{currency}") == (fees_kept if rail == "card" else 0), story
        assert net(rail) == -FUNDS - did[rail], story
        assert net(f"suspense:{currency}") == -suspended[currency], story


def must_wait_for_nothing(system: System, found: list[dict[str, Any]]) -> None:
    """Only what was authorized and neither captured nor given up is still set aside."""
    stand = sum(one["authorized"] - one["captured"] for one in found if one["status"] == "requires_capture")
    listed = system.get("/v1/balances", book="main")["data"]
    waits = {one["code"]: (one["pending_debits"], one["pending_credits"]) for one in listed}
    expected = {"card": (0, stand), "clearing:card:EUR": (stand, 0)}
    for code, pending in waits.items():
        assert pending == expected.get(code, (0, 0)), (code, waits)


def _totals(account: dict[str, Any]) -> dict[str, int]:
    return {name: account[name] for name in ("debits", "credits", "pending_debits", "pending_credits")}


def must_answer_again(system: System) -> None:
    """Every question asked again under its key has its first answer."""
    for one in system.answered():
        again = system._ask(one.path, one.body, one.key)
        assert (again.status, again.answer) == (one.status, one.answer), one


def carry_out(plan: list[Step], server: Any, template: str) -> Counter[str]:
    """What was done on the rails, counted."""
    with database_on(server, template=template) as dsn, TemporaryDirectory() as folder:
        try:
            with System(dsn, Path(folder)).running() as system:
                system.begin()
                for each in plan:
                    system.do(each)
                system.come_to_rest()
                system.settle()
                found = system.come_to_rest()
                effects = Effects(system.simulation.books)
                must_agree(system, found, effects)
                must_balance(system, effects)
                must_wait_for_nothing(system, found)
                must_answer_again(system)
                assert Effects(system.simulation.books).approved == effects.approved
            with PostgresLog(dsn) as log:
                assert verify(log).exit_code == 0
        except Exception as error:
            error.add_note(f"The plan was {plan}")
            raise
    return Counter(f"{one['rail']} {one['operation']}" for one in effects.all if one["outcome"] == "approved")


def some_plans() -> list[list[Step]]:
    drawn: list[list[Step]] = []

    @settings(
        max_examples=PLANS * DRAWN_FOR_ONE, derandomize=not LONG, database=None, suppress_health_check=list(HealthCheck)
    )
    @given(plans())
    def draw(plan: list[Step]) -> None:
        drawn.append(plan)

    draw()
    # The first ones drawn are the dullest, and each is much like the one before it.
    return drawn[DRAWN_FOR_ONE - 1 :: DRAWN_FOR_ONE]


@pytest.mark.timeout(7200 if LONG else 400)
def test_whatever_befalls_payments_the_books_agree(server: Any, template: str) -> None:
    """
    However rails, server and askers fail and overlap, what was done, what is known of it and what is booked agree.
    """
    drawn = some_plans()
    assert len(drawn) >= PLANS
    # Most of a plan is waiting, for a rail's patience and for processes that start.
    with ThreadPoolExecutor(max_workers=AT_ONCE) as carrying:
        running = [carrying.submit(carry_out, plan, server, template) for plan in drawn]
        done = sum((each.result() for each in running), Counter[str]())
    assert done.keys() >= {"card authorize", "card capture", "ach collect", "upi collect", "wire payout"}, done
    assert {name.partition(" ")[2] for name in done} >= {"disputed", "contest", "reverse", "return"}, done
