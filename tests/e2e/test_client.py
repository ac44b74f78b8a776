"""The typed client against the real server, also through a proxy that loses answers."""

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, get_type_hints

import httpx2
import pytest

from adapters.client import (
    AsyncClient,
    Client,
    KeyReused,
    NotFound,
    OutcomeUnknown,
    Patience,
    Refused,
    Rejected,
    Unavailable,
    calls,
    credit,
    debit,
)
from adapters.client.resources import CardMethod, ChangedPayment, PostedEntry
from adapters.openapi.operations import OPERATIONS
from commands import escrow as escrow_commands
from commands import journal as journal_commands
from commands import payment as payment_commands
from commands import policy as policy_commands
from commands import settlement as settlement_commands
from tests.serving import TOP, head, serving

SOON = Patience(attempt_s=1, total_s=3, pause_s=0.01, pause_max_s=0.05)


@pytest.fixture
def base_url(database: str) -> Iterator[str]:
    with serving(database) as url:
        yield url


@pytest.fixture
def daybook(base_url: str) -> Iterator[Client]:
    with Client(base_url, actor="tester") as client:
        open_shop(client)
        yield client


def open_shop(client: Client) -> None:
    """Book `shop` with `bank` and `drawer`, which hold at least 0, and `sales`, which may be anything."""
    client.open_book("shop", key="shop")
    for code in ("bank", "drawer"):
        client.open_account("shop", code, "asset", "EUR", key=code)
    client.open_account("shop", "sales", "revenue", "EUR", overdraft_limit=None, key="sales")


def sale(amount: int) -> list[calls.PostingGiven]:
    return [debit("bank", amount, "EUR"), credit("sales", amount, "EUR")]


def test_a_shops_day(daybook: Client) -> None:
    """
    Every command and read has a method, and what it answers is typed.
    """
    made = daybook.post_entry("shop", sale(1000), value_date=date(2026, 1, 31), metadata={"till": "7"})
    bank, sales = (posting.account_id for posting in made.postings)
    hold = daybook.place_hold("shop", "bank", "sales", 400, "EUR", expires_at=datetime.now(UTC) + timedelta(days=1))
    daybook.increase_hold(hold.id, 100)
    captured = daybook.capture_hold(hold.id, 200, description="A part")
    rest = daybook.place_hold("shop", "bank", "sales", 10, "EUR")
    daybook.void_hold(rest.id)
    reversal = daybook.reverse_entry(captured.id, value_date="original")
    frozen = daybook.freeze_account(sales, reason="A look at it")
    daybook.unfreeze_account(sales)
    limited = daybook.change_limits(bank, overdraft_limit=None, ceiling=5000)

    assert daybook.read_book("shop").code == "shop"
    assert [book.code for book in daybook.list_books()] == ["shop"]
    assert daybook.read_account(bank).ceiling == limited.ceiling == 5000
    assert [account.code for account in daybook.list_accounts(book="shop", type="asset")] == ["bank", "drawer"]
    assert daybook.read_balance(bank).balance == 1000
    assert daybook.read_balance(bank).available == 700
    assert daybook.read_balance(bank, position=made.position).available == 1000
    assert {balance.code for balance in daybook.list_balances(book="shop")} == {"bank", "drawer", "sales"}
    assert daybook.read_entry(made.id).value_date == date(2026, 1, 31)
    assert [entry.id for entry in daybook.list_entries(book="shop")] == [reversal.id, captured.id, made.id]
    assert daybook.read_hold(hold.id).remaining == 300
    assert [one.status for one in daybook.list_holds(book="shop")] == ["voided", "held"]
    assert next(daybook.list_postings(bank)).description
    assert next(daybook.list_records(book="shop")).actor == "tester"
    assert frozen.status == "frozen"
    assert reversal.reverses == captured.id
    assert daybook.readyz().desk.alive
    assert daybook.read_trial_balance("shop").totals[0].debit_balance == 1000
    assert daybook.read_roll_up("shop", depth=0, by="code").nodes
    assert daybook.read_balance_sheet("shop", rates={"EUR": "1"}, valued_in="EUR").rounding_difference == 0
    assert daybook.read_income_statement("shop", value_date_to=date(2026, 1, 31)).result.totals[0].amount == 1000
    drawer = next(daybook.list_accounts(code="drawer"))
    assert daybook.close_account(drawer.id).status == "closed"
    assert "insufficient_funds" in {error.code for error in daybook.read_error_catalogue().data}
    assert "hold.placed.v1" in {event.name for event in daybook.read_event_catalogue().data}


def test_payments(daybook: Client, base_url: str) -> None:
    """
    Every command upon a payment has a method; approving is this client's own, and no part of a batch.
    """
    visa: calls.CardGiven = {
        "type": "card",
        "token": "tok_visa",
        "brand": "visa",
        "last4": "4242",
        "expires": "2030-12",
    }
    later = datetime.now(UTC) + timedelta(days=1)
    made = daybook.create_payment("shop", "sales", 400, "EUR", capture="manual", expires_at=later, key="order-1")
    paid = daybook.attach_method(made.id, visa)
    confirmed = daybook.confirm_payment(made.id)
    other = daybook.create_payment("shop", "sales", 400, "EUR", method=visa, confirm=True, approvals=1)
    with Client(base_url, actor="cleo") as cleo:
        approved = cleo.approve_payment(other.id)
    canceled = daybook.cancel_payment(daybook.create_payment("shop", "sales", 5, "EUR").id, reason="A mistake")

    assert (made.status, made.method, made.expires_at) == ("requires_payment_method", None, later)
    assert paid.method == CardMethod(token="tok_visa", brand="visa", last4="4242", expires="2030-12")
    assert [one.status for one in (confirmed, other, approved)] == ["processing", "requires_approval", "processing"]
    assert (approved.approvals_given, canceled.status) == (1, "canceled")
    for early in (
        calls.increase_authorization(made.id, 100),
        calls.capture_payment(made.id, 100, final=True),
        calls.refund_payment(made.id, reason="Broken"),
    ):
        with pytest.raises(Refused, match="payment_status_forbids"):
            daybook.ask(early)
    answered = daybook.post_batch(
        "shop", [calls.create_payment("shop", "sales", 7, "EUR", method=visa, confirm=True)], mode="atomic"
    )
    assert isinstance(answered.answers[0], ChangedPayment)
    assert answered.answers[0].status == "processing"
    with pytest.raises(AssertionError):
        calls.post_batch("shop", [calls.approve_payment(other.id)], mode="atomic")


def test_every_operation_has_a_method() -> None:
    """
    What the API can be asked, the client asks: in both its forms, under the name that the document has for it.
    """
    left_to_others = {"livez", "metrics"}

    named = {operation.id for operation in OPERATIONS} - left_to_others

    assert {name for name in named if not hasattr(Client, name)} == set()
    assert {name for name in named if not hasattr(AsyncClient, name)} == set()


@pytest.mark.parametrize("operation", [o for o in OPERATIONS if o.model is not None], ids=lambda o: o.id)
def test_arguments_are_those_of_the_models(operation: Any) -> None:
    """
    A method takes every field of the command, or every parameter of the read, and no other; who asks is the client's.
    """
    function = getattr(calls, operation.id)

    taken = set(arguments(function)) - {"key", "dry_run"} - ({"secret"} if operation.by_secret else set())

    renamed = {f"{noun}_id": noun for noun in ("account", "hold", "entry", "payment", "escrow", "dispute")}
    renamed |= {"commands": "calls"} | ({"request_id": "request"} if "{request}" in operation.path else {})
    fields = set(operation.model.model_fields) - {"format", "after", operation.by_actor}
    wanted = {renamed.get(name, name) for name in fields}
    assert taken == wanted


def arguments(function: Callable[..., Any]) -> Iterator[str]:
    hints = get_type_hints(function)
    for name in function.__code__.co_varnames[: function.__code__.co_argcount + function.__code__.co_kwonlyargcount]:
        yield name
    for name in ("asking", "reading", "paging", "filters", "moment", "choice"):
        if name in hints:
            yield from get_type_hints(hints[name].__args__[0])


@pytest.mark.parametrize(
    ("given", "model"),
    [
        (calls.PostingGiven, journal_commands.PostingAsked),
        (calls.SourceGiven, journal_commands.SourceAsked),
        (calls.DestinationGiven, journal_commands.DestinationAsked),
        (calls.SplitGiven, journal_commands.SplitAsked),
        (calls.EndGiven, journal_commands.ExchangeEnd),
        (calls.ExchangeGiven, journal_commands.ExchangeAsked),
        (calls.CardGiven, payment_commands.CardAsked),
        (calls.BankAccountGiven, payment_commands.BankAccountAsked),
        (calls.IbanGiven, payment_commands.IbanAsked),
        (calls.UpiGiven, payment_commands.UpiAsked),
        (calls.PartGiven, escrow_commands.PartAsked),
        (calls.ReleaseTermsGiven, escrow_commands.ReleaseAsked),
        (calls.ReturnTermsGiven, escrow_commands.ReturnAsked),
        (calls.ConditionGiven, escrow_commands.ConditionAsked),
        (calls.TierGiven, policy_commands.TierAsked),
        (calls.LimitGiven, policy_commands.LimitAsked),
        (calls.AllGiven, policy_commands.AllAsked),
        (calls.AtLeastGiven, policy_commands.AtLeastAsked),
        (calls.WeightedGiven, policy_commands.WeightedAsked),
        (calls.LineGiven, settlement_commands.LineAsked),
    ],
)
def test_parts_are_those_of_the_models(given: Any, model: Any) -> None:
    """
    What postings, splits, exchanges, methods and escrows are made of is what Daybook takes, and required where it is.
    """
    assert set(get_type_hints(given)) == set(model.model_fields)
    assert given.__required_keys__ == {name for name, field in model.model_fields.items() if field.is_required()}


def test_a_refusal_has_its_fields(daybook: Client) -> None:
    """
    A business no is an exception with the code and its fields; the same key gets it again.
    """
    with pytest.raises(Refused) as refused:
        daybook.post_entry("shop", [debit("sales", 5, "EUR"), credit("bank", 5, "EUR")], key="too-much")

    assert refused.value.code == "insufficient_funds"
    assert (refused.value.fields["requested"], refused.value.fields["available"]) == (5, 0)
    assert refused.value.transient
    assert refused.value.key == "too-much"
    with pytest.raises(Refused, match="insufficient_funds") as again:
        daybook.post_entry("shop", [debit("sales", 5, "EUR"), credit("bank", 5, "EUR")], key="too-much")
    assert (refused.value.replayed, again.value.replayed) == (False, True)


def test_other_noes(daybook: Client) -> None:
    """
    What is not there, what is malformed and a key for two requests are told apart.
    """
    daybook.post_entry("shop", sale(1), key="once")

    with pytest.raises(NotFound):
        daybook.read_account("acc_00000000000000000000000000")
    with pytest.raises(NotFound):
        daybook.read_book("no?such#book")
    with pytest.raises(Rejected, match="path_not_found"):
        daybook.read_book("../../livez")
    with pytest.raises(Rejected) as rejected:
        daybook.post_entry("shop", sale(0))
    with pytest.raises(KeyReused):
        daybook.post_entry("shop", sale(2), key="once")

    assert [fault["field"] for fault in rejected.value.fields["errors"]] == ["/postings/0/amount", "/postings/1/amount"]


def test_the_same_key_is_the_same_answer(daybook: Client) -> None:
    """
    Asked again with its key, a command is answered as the first time, and the answer says so.
    """
    call = calls.post_entry("shop", sale(7), key="seven")

    first, again = daybook.answer(call), daybook.answer(call)

    assert (first.replayed, again.replayed) == (False, True)
    assert first.value == again.value
    assert first.position == again.position == first.value.position
    assert daybook.position == first.position


def test_a_dry_run_leaves_no_trace(database: str, daybook: Client) -> None:
    """
    A dry run is answered as it would be, and nothing is kept.
    """
    position = head(database)

    tried = daybook.answer(calls.post_entry("shop", sale(7), dry_run=True))

    assert tried.dry_run
    assert tried.value.postings[0].amount == 7
    assert head(database) == position


def test_batches(daybook: Client) -> None:
    """
    An independent batch has a resource or a problem for each of its calls; an atomic one is refused as a whole.
    """
    too_much = calls.post_entry("shop", [debit("sales", 99, "EUR"), credit("bank", 99, "EUR")], key="too-much")
    good = calls.post_entry("shop", sale(3), key="three")

    done = daybook.post_batch("shop", [good, too_much], mode="independent")
    with pytest.raises(Refused) as refused:
        daybook.post_batch("shop", [calls.open_book("other"), too_much], mode="atomic")

    assert isinstance(done.answers[0], PostedEntry)
    assert [problem.code for problem in done.problems] == ["insufficient_funds"]
    assert refused.value.code == "batch_refused"
    assert refused.value.fields["index"] == 1
    assert daybook.post_entry("shop", sale(3), key="three") == done.answers[0]


def test_lists_run_both_ways(daybook: Client) -> None:
    """
    A list is read page by page, forwards from an item on or backwards before one.
    """
    ids = [daybook.post_entry("shop", sale(n + 1)).id for n in range(7)]

    newest_first = [entry.id for entry in daybook.list_entries(book="shop", limit=2)]
    before = [entry.id for entry in daybook.list_entries(book="shop", limit=2, ending_before=ids[0])]

    assert newest_first == ids[::-1]
    assert before == ids[1:]


def test_pages_are_asked_for_when_needed(base_url: str) -> None:
    """
    Whoever stops reading a list asks for no more of it.
    """
    asked: list[str] = []

    class Counting(httpx2.HTTPTransport):
        def handle_request(self, request: httpx2.Request) -> httpx2.Response:
            asked.append(request.url.path)
            return super().handle_request(request)

    with Client(base_url, actor="tester", transport=Counting()) as client:
        open_shop(client)
        asked.clear()
        accounts = client.list_accounts(limit=1)

        assert asked == []
        next(accounts)
        assert len(asked) == 1
        next(accounts)
        assert len(asked) == 2


def test_own_writes_are_read(database: str, base_url: str) -> None:
    """
    A client that reads its own writes says which position it needs, and only then.
    """
    sent: list[str] = []

    class Listening(httpx2.HTTPTransport):
        def handle_request(self, request: httpx2.Request) -> httpx2.Response:
            sent.append(request.url.query.decode())
            return super().handle_request(request)

    with Client(base_url, actor="tester", reads="own", transport=Listening()) as client:
        open_shop(client)

        assert next(client.list_accounts(code="bank")).code == "bank"
        assert f"min_position={client.position}" in sent[-1]
        assert client.position == head(database)
        client.read_book("shop", consistency="current")
        assert "min_position" not in sent[-1]


def test_awaited(base_url: str) -> None:
    """
    The other client has the same methods, awaited, and lists for `async for`.
    """

    async def go() -> tuple[int, list[str], list[int]]:
        async with AsyncClient(base_url, actor="tester") as daybook:
            await daybook.open_book("shop")
            bank = await daybook.open_account("shop", "bank", "asset", "EUR")
            await daybook.open_account("shop", "sales", "revenue", "EUR", overdraft_limit=None)
            await asyncio.gather(*(daybook.post_entry("shop", sale(1)) for _ in range(20)))
            with pytest.raises(Refused):
                await daybook.open_book("shop")
            codes = [account.code async for account in daybook.list_accounts(limit=1)]
            numbers = [posting.number async for posting in daybook.list_postings(bank.id, limit=7)]
            return (await daybook.read_balance(bank.id)).balance, codes, numbers

    balance, codes, numbers = asyncio.run(go())

    assert balance == 20
    assert codes == ["bank", "sales"]
    assert numbers == list(range(20, 0, -1))


def test_the_example_runs(base_url: str) -> None:
    """
    What the package's docstring shows is what happens, twice.
    """
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-m", "adapters.client", base_url], cwd=TOP, capture_output=True, text=True, timeout=60
        )

        assert (done.returncode, done.stdout) == (0, "1050\n"), done.stderr


def test_it_needs_nothing_of_daybook() -> None:
    """
    Importing the client imports none of the other rooms.
    """
    code = "import sys, adapters.client; print([m for m in sys.modules if re.match('domain|commands|projections', m)])"

    done = subprocess.run(
        [sys.executable, "-c", "import re; " + code], cwd=TOP, capture_output=True, text=True, check=True
    )

    assert done.stdout == "[]\n"


def test_the_log_is_followed(daybook: Client) -> None:
    """
    A stream gives what was written and what is written while it is read; filtered, and from a position on.
    """
    following = daybook.follow_events(kind="journal_entry")
    made = daybook.post_entry("shop", sale(1))

    first = next(following)
    later = daybook.post_entry("shop", sale(2))
    second = next(following)

    assert [(event.position, event.stream) for event in (first, second)] == [
        (made.position, made.id),
        (later.position, later.id),
    ]
    assert next(daybook.follow_events(made.position)).position == later.position
    assert [event.position for event in daybook.list_events(limit=2)] == list(range(1, later.position + 1))
    assert second.payload["postings"][0]["account_id"] == later.postings[0].account_id


class Proxy(ThreadingHTTPServer):
    """Between client and server. `plan` says of each request what is to happen; once it is used up, all goes well.

    `lose`: it is passed on, and the answer is not. `cut`: neither. `hang`: as `lose`, but the connection stays open.
    `storm`: answered 503 as by Daybook. `gateway`: passed on, and answered as by a gateway that lost the answer.
    """

    daemon_threads = True

    def __init__(self, upstream: str, plan: list[str]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.upstream = httpx2.Client(base_url=upstream, timeout=30)
        self.plan = plan
        self.keys: list[str] = []
        self.times: list[float] = []


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Proxy

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", "0")))
        server = self.server
        server.keys.append(self.headers.get("idempotency-key", ""))
        server.times.append(time.monotonic())
        what = server.plan.pop(0) if server.plan else "pass"
        if what == "cut":
            self.close_connection = True
        elif what == "storm":
            self._say(503, {"Retry-After": "0", "Content-Type": "application/problem+json"}, STORM)
        elif what == "patience":
            self._say(503, {"Retry-After": "1", "Content-Type": "application/problem+json"}, STORM)
        else:
            names = ("idempotency-key", "daybook-actor", "content-type")
            headers = {name: self.headers[name] for name in names if name in self.headers}
            answer = server.upstream.request(self.command, self.path, content=body, headers=headers)
            self._answer(what, answer)

    do_GET = do_POST

    def _answer(self, what: str, answer: httpx2.Response) -> None:
        if what == "lose":
            self.close_connection = True
        elif what == "hang":
            time.sleep(1.5)
            self.close_connection = True
        elif what == "gateway":
            self._say(502, {"Content-Type": "text/html"}, b"<h1>Bad gateway</h1>")
        else:
            kept = {n: v for n, v in answer.headers.items() if n.startswith(("content-type", "daybook", "idempotency"))}
            self._say(answer.status_code, kept, answer.content)

    def _say(self, status: int, headers: dict[str, str], content: bytes) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        pass


STORM = b'{"type":"urn:x","title":"Busy.","status":503,"code":"overloaded","transient":true,"request_id":"r"}'


@contextmanager
def proxy(upstream: str, *plan: str) -> Iterator[tuple[Proxy, str]]:
    server = Proxy(upstream, list(plan))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server, f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
        server.upstream.close()


@pytest.mark.parametrize(
    "plan",
    [
        ["lose"],
        ["lose", "lose", "lose"],
        ["cut", "lose", "cut"],
        ["hang"],
        ["gateway"],
        ["lose", *["storm"] * 20],
        ["storm", "gateway", "lose", "storm", "cut"],
    ],
    ids="-".join,
)
def test_a_lost_answer_has_one_effect(daybook: Client, base_url: str, plan: list[str]) -> None:
    """
    However the answers are lost, the client comes to know what came of it, with one key and one effect.
    """
    with proxy(base_url, *plan) as (between, url), Client(url, actor="tester", patience=SOON) as client:
        made = client.post_entry("shop", sale(5))

    assert [entry.id for entry in daybook.list_entries()] == [made.id]
    assert daybook.read_balance(made.postings[0].account_id).balance == 5
    assert len(between.keys) == len(plan) + 1
    assert len(set(between.keys)) == 1


def test_a_lost_answer_awaited(daybook: Client, base_url: str) -> None:
    """
    The awaited client resolves what is unknown by the same code.
    """

    async def go(url: str) -> str:
        async with AsyncClient(url, actor="tester", patience=SOON) as client:
            return (await client.post_entry("shop", sale(5))).id

    with proxy(base_url, "lose", "storm", "gateway") as (_, url):
        made = asyncio.run(go(url))

    assert [entry.id for entry in daybook.list_entries()] == [made]


def test_a_lost_refusal_is_a_refusal(daybook: Client, base_url: str) -> None:
    """
    A no whose answer was lost is the same no.
    """
    with proxy(base_url, "lose") as (_, url), Client(url, actor="tester", patience=SOON) as client:
        with pytest.raises(Refused, match="insufficient_funds"):
            client.post_entry("shop", [debit("sales", 5, "EUR"), credit("bank", 5, "EUR")])

    assert len([record for record in daybook.list_records(refused=True)]) == 1


def test_what_stays_unknown_is_said_with_its_key(daybook: Client, base_url: str) -> None:
    """
    When nobody could say in time, the key is handed over; asked with it later, the answer is the first one.
    """
    with proxy(base_url, "lose", *["storm"] * 10_000) as (_, url), Client(url, actor="tester", patience=SOON) as client:
        with pytest.raises(OutcomeUnknown) as unknown:
            client.post_entry("shop", sale(5))

    later = daybook.answer(calls.post_entry("shop", sale(5), key=unknown.value.key))
    assert later.replayed
    assert daybook.read_balance(later.value.postings[0].account_id).balance == 5


def test_what_was_surely_not_applied_is_no_unknown(daybook: Client, base_url: str) -> None:
    """
    A server that only ever said it is too busy, or that is not there, has applied nothing, and that is what is said.
    """
    with proxy(base_url, *["storm"] * 10_000) as (_, url), Client(url, actor="tester", patience=SOON) as client:
        with pytest.raises(Unavailable) as busy:
            client.post_entry("shop", sale(5))
    with Client("http://127.0.0.1:1", actor="tester", patience=SOON) as client:
        with pytest.raises(Unavailable) as away:
            client.post_entry("shop", sale(5))

    assert busy.value.problem is not None and busy.value.problem.code == "overloaded"
    assert away.value.problem is None
    assert list(daybook.list_entries()) == []


def test_retry_after_is_honoured(daybook: Client, base_url: str) -> None:
    """
    A server that says when to come back is not asked before.
    """
    with proxy(base_url, "patience") as (between, url), Client(url, actor="tester", patience=SOON) as client:
        client.post_entry("shop", sale(5))

    first, second = between.times
    assert second - first >= 1


def test_a_read_is_asked_again(daybook: Client, base_url: str) -> None:
    """
    A read whose answer is lost is asked again; one that is never answered is unavailable, never unknown.
    """
    with proxy(base_url, "lose", "gateway", "cut") as (_, url), Client(url, actor="tester", patience=SOON) as client:
        assert client.read_book("shop").code == "shop"
    with proxy(base_url, *["cut"] * 10_000) as (_, url), Client(url, actor="tester", patience=SOON) as client:
        with pytest.raises(Unavailable):
            client.read_book("shop")
