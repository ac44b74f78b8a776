"""The running system, two API processes on one database, against a model in plain dicts (`tests.model`, `_recipes`).

Every command goes to either process, every answer is held against the model's, and after every step balances, holds and
a list are read from either. A sequence has a book of its own, and books never mix: what the log of all sequences comes
to at the end, replayed and rebuilt, is what each of them came to.
"""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any, NamedTuple

import httpx2
import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from adapters.postgres.digesting import digests, replay, snapshot
from adapters.postgres.log import PostgresLog
from domain import ids
from domain.posting import ZERO
from replay import point_in_time
from replay.verify import verify
from tests.model import Fields, Item, available, balance, chosen, falls
from tests.model_recipes import ModelWithRecipes
from tests.serving import Caller, serving_process, until
from tests.support import books_of

LONG = os.environ.get("DAYBOOK_HYPOTHESIS") == "long"
SEQUENCES = 2_000 if LONG else 200
STEPS = 25 if LONG else 8
SOON_S = 0.15
"""The life of a hold that is to expire within a sequence."""

PATHS = {
    "open_account": "/v1/accounts",
    "post_entry": "/v1/journal-entries",
    "reverse_entry": "/v1/journal-entries/{entry_id}/reverse",
    "place_hold": "/v1/holds",
    **{f"{verb}_hold": f"/v1/holds/{{hold_id}}/{verb}" for verb in ("increase", "capture", "void", "expire")},
    **{f"{verb}_account": f"/v1/accounts/{{account_id}}/{verb}" for verb in ("freeze", "unfreeze", "close")},
    "change_limits": "/v1/accounts/{account_id}/limits",
}
IN_BOOK = {"open_account", "post_entry", "place_hold"}
NOBODY = uuid.UUID(int=7)

# What is asked: a command, its arguments, and `when` for those with a time. `nth` counts from the newest.

Wish = tuple[str, Fields, str]

servers = st.integers(0, 1)
euros = st.sampled_from(["a:1", "a:2", "b"])
codes = st.sampled_from([*["a:1", "a:2", "b", "bank"] * 6, "usd", "nobody"])
amounts = st.integers(1, 40)
nth = st.integers(0, 4)
limits = {
    "overdraft_limit": st.none() | st.integers(0, 30),
    "floor": st.none() | st.none() | st.integers(-20, 10),
    "ceiling": st.none() | st.none() | st.integers(-5, 60),
}
charts = st.fixed_dictionaries(
    {
        "type": st.sampled_from(["asset", "liability", "equity", "revenue", "expense"]),
        **limits,
        "ceiling": st.none() | st.integers(30, 60),
    }
)
conditions = st.sampled_from(
    [*[dict[str, int]()] * 8, {"if_version": 1}, {"if_version": 3}, {"if_available_at_least": 30}]
)


def wish(command: str, *when: str, **arguments: st.SearchStrategy[Any]) -> st.SearchStrategy[Wish]:
    return st.tuples(st.just(command), st.fixed_dictionaries(arguments), st.sampled_from(when or ("",)))


@st.composite
def entries(draw: st.DrawFn) -> Wish:
    """One or two transfers, now and then unbalanced or in a currency that is not the account's."""
    postings: list[Fields] = []
    for _ in range(draw(st.sampled_from([1, 1, 2]))):
        amount, slip = draw(amounts), draw(st.sampled_from([*[0] * 15, 1]))
        for side, more in (("debit", 0), ("credit", slip)):
            currency = draw(st.sampled_from(["EUR"] * 24 + ["USD"]))
            line = {"account": draw(codes), "side": side, "amount": amount + more, "currency": currency}
            postings.append({**line, **draw(conditions)})
    return "post_entry", {"postings": postings, "reference": draw(st.sampled_from(["", "r1", "r2"]))}, ""


@st.composite
def exchanges(draw: st.DrawFn) -> Wish:
    """Between an account in euros and one in dollars, sometimes within one currency or at the wrong position."""
    euros = {"account": draw(codes), "position_account": draw(st.sampled_from([*["bank"] * 9, "fx"]))}
    dollars = {"account": "usd", "position_account": draw(st.sampled_from([*["fx"] * 9, "nobody"]))}
    source, destination = (euros, dollars) if draw(st.booleans()) else (dollars, euros)
    said = {
        "amount": draw(amounts),
        "rate": draw(st.sampled_from(["1.0842", "0.5", "1.25", "0.03"])),
        "rate_source": "ECB",
    }
    return "post_entry", {"exchange": {"source": source, "destination": destination, **said}, "reference": "r2"}, ""


splits = wish(
    "post_entry",
    split=st.fixed_dictionaries(
        {
            "amount": amounts,
            "currency": st.just("EUR"),
            "sources": st.lists(
                st.fixed_dictionaries({"account": codes, "maximum": st.none() | amounts}), min_size=1, max_size=2
            ),
            "destinations": st.tuples(
                st.fixed_dictionaries({"account": codes, "share": st.sampled_from(["1/3", "2/7", "9/10", "1/1"])}),
                st.fixed_dictionaries({"account": codes}),
            ),
        }
    ),
    reference=st.sampled_from(["", "r1"]),
)
amount_or_all = st.none() | st.integers(1, 25)
placing = wish(
    "place_hold",
    "",
    "later",
    "later",
    "past",
    account=codes,
    destination=euros,
    amount=amounts,
    currency=st.just("EUR"),
)
upon_things = st.one_of(
    wish("capture_hold", nth=nth, amount=amount_or_all, final=st.booleans()),
    wish("increase_hold", nth=nth, amount=amounts),
    wish("void_hold", nth=nth),
    wish("reverse_entry", nth=nth),
)
wishes = st.one_of(
    *[entries()] * 4,
    *[splits, exchanges()] * 2,
    *[placing, wish("capture_hold", nth=nth, amount=amount_or_all, final=st.booleans())] * 2,
    wish("increase_hold", nth=nth, amount=amounts),
    wish("void_hold", nth=nth),
    wish("expire_hold", nth=nth),
    *[wish("reverse_entry", nth=nth)] * 2,
    wish("change_limits", "", "", "later", "past", account_id=codes, **limits),
    st.sampled_from(["freeze_account", "unfreeze_account", "unfreeze_account", "close_account"]).flatmap(
        lambda command: wish(command, account_id=codes)
    ),
    wish(
        "open_account",
        code=st.sampled_from(["a:1", "c", "d"]),
        currency=st.just("EUR"),
        **{"type": st.just("asset"), **limits},
    ),
)
LOOKS = st.sampled_from(
    [
        *(("accounts", {"status": status}) for status in ("open", "frozen", "closed")),
        *(("accounts", {"type": type}) for type in ("asset", "liability")),
        *(("accounts", named) for named in ({"currency": "USD"}, {"code_prefix": "a:"})),
        *(("entries", {"kind": kind}) for kind in ("plain", "reversal", "reversed", "capture")),
        *(("entries", {"reference": "r1"}), ("entries", {"actor": "ann"}), ("entries", {"account": "a:1"})),
        *(("entries", {"amount_min": 10, "side": "debit"}), ("entries", {"account": "b", "amount_max": 15})),
        *(("holds", {"status": status}) for status in ("held", "captured", "voided", "expired")),
        *(("holds", {"account": "a:1"}), ("refusals", {"actor": "ann"}), ("refusals", {"actor": "bob"})),
        *(("postings", {"account": code}) for code in ("a:1", "b")),
        *(("balance", {"account": code}) for code in ("a:2", "usd")),
        ("trial_balance", {}),
    ]
)
BANK = {"type": "equity", "overdraft_limit": None, "floor": None, "ceiling": None}
BANKS = [("bank", BANK), *((code, {**BANK, "currency": "USD"}) for code in ("usd", "fx"))]
modes = st.sampled_from(["atomic", "independent"])
actors = st.sampled_from(["ann", "bob"])
page_sizes = st.sampled_from([1, 2, 3, 1000])


def transferred(debit: str, credit: str, amount: int, this_way: bool = True) -> list[Fields]:
    sides = ("debit", "credit") if this_way else ("credit", "debit")
    pairs = zip((debit, credit), sides, strict=True)
    return [{"account": code, "side": side, "amount": amount, "currency": "EUR"} for code, side in pairs]


class Ended(NamedTuple):
    """What the book of a sequence came to: debits and credits by code."""

    book: str
    totals: dict[str, tuple[int, int]]
    met: set[str]
    """The commands that did something, and the codes of what was refused."""


class System(RuleBasedStateMachine):
    """Subclassed with the processes to talk to."""

    callers: tuple[Caller, Caller]
    ended: list[Ended]
    numbers = count()

    def __init__(self) -> None:
        super().__init__()
        self.model = ModelWithRecipes()
        self.book = f"book-{next(self.numbers)}"
        self.last: tuple[str, Fields, str, str, httpx2.Response] | None = None
        self.seen: list[tuple[int, Fields]] = []

    @initialize(server=servers, chart=st.lists(charts, min_size=3, max_size=3), mode=modes)
    def begin(self, server: int, chart: list[Fields], mode: str) -> None:
        """A book with accounts in two currencies and something on each, as far as its limits allow it; by batches."""
        self.callers[server].done("/v1/books", {"code": self.book})
        opened = [*zip(("a:1", "a:2", "b"), chart, strict=True), *BANKS]
        self.ask_batch(
            [("open_account", {"currency": "EUR", **said, "code": code}, "") for code, said in opened],
            server=server,
            mode=mode,
            actor="ann",
        )
        funds = [transferred(code, "bank", 50, falls(said) == "credit") for code, said in opened[:3]]
        held = {"destination": "bank", "amount": 20, "currency": "EUR"}
        self.ask_batch(
            [
                *(("post_entry", {"postings": lines, "reference": "r1"}, "") for lines in funds),
                *(("place_hold", {**held, "account": code}, "") for code in ("a:1", "a:2", "b")),
            ],
            server=1 - server,
            mode="independent",
            actor="bob",
        )

    @rule(wish=wishes, server=servers, reader=servers, actor=actors, look=LOOKS, size=page_sizes)
    def one(self, wish: Wish, server: int, reader: int, actor: str, look: tuple[str, Fields], size: int) -> None:
        """A command by itself."""
        self.ask(wish, server=server, actor=actor)
        self.look(reader, look, size)

    @rule(wish=upon_things, server=servers, reader=servers, actor=actors, look=LOOKS, size=page_sizes)
    def upon(self, wish: Wish, server: int, reader: int, actor: str, look: tuple[str, Fields], size: int) -> None:
        """A command upon a hold or an entry that is there."""
        self.ask(wish, server=server, actor=actor)
        self.look(reader, look, size)

    @rule(
        asked=st.lists(wishes, min_size=1, max_size=4),
        server=servers,
        mode=modes,
        look=LOOKS,
        size=page_sizes,
    )
    def batch(self, asked: list[Wish], server: int, mode: str, look: tuple[str, Fields], size: int) -> None:
        """Commands in one request."""
        self.ask_batch(asked, server=server, mode=mode, actor="bob")
        self.look(1 - server, look, size)

    @rule(wish=wishes, server=servers)
    def dry_run(self, wish: Wish, server: int) -> None:
        """The answer is the model's, and nothing comes of it."""
        command, arguments, so = self.meant(wish)
        expected = deepcopy(self.model).ask(command, arguments, "tester", **so)
        path, body = self.wire(command, arguments, wish[2])
        answered(self.callers[server].ask(f"{path}?dry_run=true", body), expected)
        self.look(server, ("refusals", {"actor": "tester"}), 1000)

    @rule(server=servers)
    def again(self, server: int) -> None:
        """The last command under its own key: its first answer, and nothing comes of it."""
        if self.last is not None:
            path, body, key, actor, first = self.last
            response = self.callers[server].ask(path, body, key=key, Daybook_Actor=actor)
            assert (response.status_code, response.content) == (first.status_code, first.content)
            assert response.headers["idempotency-replayed"] == "true"
            self.look(server, ("entries", {"kind": "plain"}), 1000)

    @rule(
        server=servers,
        account=euros,
        destination=euros,
        amount=amounts,
        late=st.sampled_from(["capture", "void", "increase"]),
    )
    def expiring(self, server: int, account: str, destination: str, amount: int, late: str) -> None:
        """A hold whose time comes: then it can only expire, once, by itself or because we ask for it."""
        arguments = {"account": account, "destination": destination, "amount": amount, "currency": "EUR"}
        at = datetime.now(UTC) + timedelta(seconds=SOON_S)
        path, body = self.wire("place_hold", arguments, "")
        response = self.callers[server].ask(path, {**body, "expires_at": at.isoformat()}, Daybook_Actor="ann")
        slow = not response.is_success and response.json()["code"] == "hold_expires_in_past"
        assert not slow or datetime.now(UTC) > at
        self.settle(response, self.model.ask("place_hold", arguments, "ann", past=slow))
        if response.is_success:
            until(lambda: datetime.now(UTC) > at + timedelta(milliseconds=20))
            named = {"hold_id": response.json()["id"], **({"amount": 1} if late == "increase" else {})}
            self.ask_late(f"{late}_hold", named, server)
            self.ask_late("expire_hold", named, 1 - server)
        self.look(server, ("holds", {"status": "expired"}), 2)

    def ask_late(self, command: str, arguments: Fields, server: int) -> None:
        """The processes may have ended the hold by themselves just before, but in no other way."""
        arguments = {name: value for name, value in arguments.items() if command != "expire_hold" or name == "hold_id"}
        expected = self.model.ask(command, arguments, "ann", due=True)
        path, body = self.wire(command, arguments, "")
        response = self.callers[server].ask(path, body, Daybook_Actor="ann")
        if response.status_code == 409 and response.json()["code"] == "hold_ended":
            assert response.json()["ended"] == "expired"
            if expected[1]:
                self.model.refusals.pop()
            self.model.refusals.append(("ann", command, "hold_ended"))
        else:
            answered(response, expected)

    def teardown(self) -> None:
        """What was known at a position is what it was, and stays so."""
        if self.seen:
            position, then = self.seen[len(self.seen) // 2]
            response = self.callers[0].get("/v1/balances", params={"book": self.book, "position": position})
            assert balances_in(response) == then
        totals = {code: (each["debits"], each["credits"]) for code, each in self.model.accounts.items()}
        self.ended.append(Ended(self.book, totals, self.model.met))

    # Asking.

    def ask(self, wish: Wish, *, server: int, actor: str) -> None:
        command, arguments, so = self.meant(wish)
        expected = self.model.ask(command, arguments, actor, **so)
        path, body = self.wire(command, arguments, wish[2])
        key = uuid.uuid4().hex
        response = self.callers[server].ask(path, body, key=key, Daybook_Actor=actor)
        self.settle(response, expected)
        self.last = path, body, key, actor, response

    def settle(self, response: httpx2.Response, expected: tuple[int, str]) -> None:
        answered(response, expected)
        if not expected[1]:
            self.model.made.setdefault("id", response.json()["id"])

    def ask_batch(self, asked: list[Wish], *, server: int, mode: str, actor: str) -> None:
        items: list[Item] = [self.meant(wish) for wish in asked]
        status, code, answers = self.model.ask_batch(mode, items, actor)
        commands = [
            {"command": command, "arguments": self.argued(command, arguments, wish[2])}
            for (command, arguments, _), wish in zip(items, asked, strict=True)
        ]
        body = {"book": self.book, "mode": mode, "commands": commands}
        response = self.callers[server].ask("/v1/batches", body, Daybook_Actor=actor)
        answered(response, (status, code))
        for answer, (status, code, made) in zip(response.json().get("answers", []), answers, strict=True):
            assert (answer["status"], answer["body"].get("code") if code else "") == (status, code), answer
            if not code:
                made.setdefault("id", answer["body"]["id"])

    def meant(self, wish: Wish) -> Item:
        """With the things that `nth` names, as far as there are any."""
        command, arguments, when = wish
        arguments = dict(arguments)
        if "nth" in arguments:
            of = "entry" if command == "reverse_entry" else "hold"
            things = self.model.entries if of == "entry" else self.model.holds
            back = arguments.pop("nth")
            nobody = ids.show(ids.ENTRY if of == "entry" else ids.HOLD, NOBODY)
            arguments[f"{of}_id"] = things[-1 - back % len(things)]["id"] if things else nobody
        so = {"past": True} if when == "past" else {}
        return command, arguments, {"to_come": True} if (command, when) == ("change_limits", "later") else so

    def wire(self, command: str, arguments: Fields, when: str) -> tuple[str, Fields]:
        """The path and the body."""
        argued = self.argued(command, arguments, when)
        path = PATHS[command]
        in_path = {name for name in ("account_id", "entry_id", "hold_id") if name in argued}
        return path.format(**argued), {name: value for name, value in argued.items() if name not in in_path}

    def argued(self, command: str, arguments: Fields, when: str) -> Fields:
        """As a batch has them."""
        argued = {**arguments, **({"book": self.book} if command in IN_BOOK else {})}
        if "account_id" in argued:
            argued["account_id"] = self.account_id(argued["account_id"])
        if when:
            at = datetime.now(UTC) + timedelta(days=1 if when == "later" else -1)
            argued["expires_at" if command == "place_hold" else "effective_at"] = at.isoformat()
        return argued

    def account_id(self, code: str) -> str:
        return ids.show(ids.ACCOUNT, ids.account_id(ids.book_id(self.book), code))

    # Looking.

    def look(self, server: int, look: tuple[str, Fields], size: int) -> None:
        """Balances, holds and a list, read from one of the processes: current, whoever was asked before."""
        caller = self.callers[server]
        response = caller.get("/v1/balances", params={"book": self.book})
        expected = {code: _shown(account) for code, account in self.model.accounts.items()}
        assert balances_in(response) == expected
        self.seen.append((int(response.headers["daybook-position"]), expected))
        holds = caller.get("/v1/holds", params={"book": self.book, "limit": 1000}).json()["data"]
        fields = ("id", "status", "amount", "captured", "remaining")
        assert [{name: hold[name] for name in fields} for hold in holds] == [
            {name: hold[name] for name in fields} for hold in reversed(self.model.holds)
        ]
        name, asked = look
        if asked.get("account", "usd") not in self.model.accounts:
            name, asked = "trial_balance", {}
        getattr(self, f"look_at_{name}")(caller, asked, size)

    def look_at_accounts(self, caller: Caller, asked: Fields, size: int) -> None:
        def matches(account: Fields) -> bool:
            return all(
                account["code"].startswith(value) if name == "code_prefix" else account[name] == value
                for name, value in asked.items()
            )

        found = pages(caller, "/v1/accounts", {"book": self.book, "expand": "balance", **asked}, size)
        shown = [{**{name: one[name] for name in ACCOUNT}, "available": one["balance"]["available"]} for one in found]
        known = sorted(filter(matches, self.model.accounts.values()), key=lambda account: str(account["code"]))
        assert shown == [{**{name: one[name] for name in ACCOUNT}, "available": available(one)} for one in known]

    def look_at_entries(self, caller: Caller, asked: Fields, size: int) -> None:
        def matches(entry: Fields) -> bool:
            kinds = {entry["kind"], "reversed"} - {"plain"} if entry["reversed"] else {entry["kind"]}
            return (
                asked.get("kind") in (None, *kinds)
                and asked.get("reference") in (None, entry["reference"])
                and asked.get("actor") in (None, entry["actor"])
                and any(fits(*line) for line in entry["lines"])
            )

        def fits(code: str, side: str, amount: int) -> bool:
            bounded = asked.get("amount_min", 0) <= amount <= asked.get("amount_max", amount)
            return bounded and asked.get("account") in (None, code) and asked.get("side") in (None, side)

        found = pages(caller, "/v1/journal-entries", {"book": self.book, **self.named(asked)}, size)
        assert [entry["id"] for entry in found] == chosen(self.model.entries, matches)

    def look_at_holds(self, caller: Caller, asked: Fields, size: int) -> None:
        found = pages(caller, "/v1/holds", {"book": self.book, **self.named(asked)}, size)
        assert [hold["id"] for hold in found] == chosen(
            self.model.holds, lambda hold: all(hold[name] == value for name, value in asked.items())
        )

    def look_at_refusals(self, caller: Caller, asked: Fields, size: int) -> None:
        params = {"book": self.book, "refused": "true", **asked}
        found = pages(caller, "/v1/audit-trail", params, size, cursor="position")
        kept = [(each["actor"], each["refusal"]["command"], each["refusal"]["code"]) for each in found]
        assert kept == [each for each in reversed(self.model.refusals) if each[0] == asked["actor"]]

    def look_at_postings(self, caller: Caller, asked: Fields, size: int) -> None:
        account = self.model.accounts[asked["account"]]
        path = f"/v1/accounts/{self.account_id(asked['account'])}/postings"
        found = pages(caller, path, {}, size, cursor="number")
        assert [one["number"] for one in found] == list(range(account["number"], 0, -1))
        if found:
            assert (found[0]["balance"], found[0]["available"]) == (balance(account), available(account))

    def look_at_balance(self, caller: Caller, asked: Fields, size: int) -> None:
        response = caller.get(f"/v1/accounts/{self.account_id(asked['account'])}/balance")
        known = _shown(self.model.accounts[asked["account"]])
        assert {name: response.json()[name] for name in known} == known

    def look_at_trial_balance(self, caller: Caller, asked: Fields, size: int) -> None:
        report = caller.get("/v1/reports/trial-balance", params={"book": self.book}).json()
        assert all(of["debits"] == of["credits"] for of in report["totals"]), report
        for line in report["lines"]:
            account = self.model.accounts[line["code"]]
            assert (line["debits"], line["credits"]) == (account["debits"], account["credits"]), line

    def named(self, asked: Fields) -> Fields:
        return {**asked, **({"account": self.account_id(asked["account"])} if "account" in asked else {})}


ACCOUNT = ("code", "overdraft_limit", "floor", "ceiling", "status", "version")


def answered(response: httpx2.Response, expected: tuple[int, str]) -> None:
    code = "" if response.is_success else response.json()["code"]
    assert (response.status_code, code) == expected, (response.request.url.path, response.text)


def balances_in(response: httpx2.Response) -> Fields:
    assert response.status_code == 200, response.text
    names = ("balance", "available", "debits", "credits", "pending_debits", "pending_credits")
    return {one["code"]: {name: one[name] for name in names} for one in response.json()["data"]}


def _shown(account: Fields) -> Fields:
    totals = ("debits", "credits", "pending_debits", "pending_credits")
    return {"balance": balance(account), "available": available(account), **{name: account[name] for name in totals}}


def pages(caller: Caller, path: str, asked: Fields, size: int, *, cursor: str = "id") -> list[Fields]:
    """The whole list, page by page; and back from its last item, the same but for that one."""
    found: list[Fields] = []
    more: Fields = {}
    while True:
        response = caller.get(path, params={**asked, "limit": size, **more})
        assert response.status_code == 200, response.text
        found += response.json()["data"]
        if not response.json()["has_more"]:
            break
        more = {"starting_after": found[-1][cursor]}
    if found:
        back = caller.get(path, params={**asked, "limit": 1000, "ending_before": found[-1][cursor]})
        assert back.json()["data"] == found[:-1]
    return found


@contextmanager
def two_processes(dsn: str) -> Iterator[tuple[Caller, Caller]]:
    with serving_process(dsn) as one, serving_process(dsn) as other:
        with Caller(one.base_url) as mine, Caller(other.base_url) as yours:
            yield mine, yours


@pytest.mark.timeout(7200 if LONG else 400)
def test_any_sequence_through_two_processes(database: str) -> None:
    """
    Whatever is asked of whichever process, answers, balances, holds and lists are the model's; replay = live = rebuilt.
    """
    ended: list[Ended] = []
    with two_processes(database) as callers:
        machine: type[System] = type("Sequences", (System,), {"callers": callers, "ended": ended})
        run_state_machine_as_test(
            machine,
            settings=settings(
                max_examples=SEQUENCES,
                derandomize=not LONG,
                stateful_step_count=STEPS,
                deadline=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
        until(lambda: current(callers[0]))

    assert len(ended) >= SEQUENCES
    met = set().union(*(sequence.met for sequence in ended))
    assert met >= {
        "post_entry",
        "split",
        "exchange",
        "place_hold",
        "increase_hold",
        "capture_hold",
        "void_hold",
        "reverse_entry",
    }, met
    must_replay(database, ended)
    must_rebuild(database)
    books_of(database).check()


def current(caller: Caller) -> bool:
    """Whether every read model has come to the end of the log."""
    reads = ("/v1/audit-trail", "/v1/journal-entries", "/v1/holds", "/v1/accounts")
    return all(caller.get(path, params={"limit": 1}).status_code == 200 for path in reads)


def must_replay(dsn: str, ended: list[Ended]) -> None:
    """The log folded by itself comes to what every sequence came to, and everything stored is derived from it."""
    with PostgresLog(dsn) as log:
        folded = point_in_time.replay(log, point_in_time.moment(log))
        report = verify(log)
    assert report.exit_code == 0, report
    for book, totals, _ in ended:
        for code, (debits, credits) in totals.items():
            found = folded.totals.get(ids.account_id(ids.book_id(book), code), ZERO)
            assert (found.debits, found.credits) == (debits, credits), (book, code)


def must_rebuild(dsn: str) -> None:
    """Every read model, built anew in a schema of its own, is the live one row for row."""
    with snapshot(dsn) as connection:
        live = digests(connection)
        reached = {model.projection: model.position for model in live}
        replay(connection, "rebuilt", {name: at or 0 for name, at in reached.items()}, progress=lambda *_: None)
        rebuilt = digests(connection, schema="rebuilt")
    assert rebuilt == live
