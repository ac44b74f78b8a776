"""Any sequence of commands, alone and in batches, through two desks on one log, against a model in plain dicts.

The model knows what Daybook should answer and what every account should hold; it shares no code with the domain.
"""

from collections.abc import Collection
from copy import deepcopy
from datetime import datetime, timedelta
from fractions import Fraction
from itertools import count
from typing import Any, NamedTuple
from uuid import UUID

import hypothesis.strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from msgspec.structs import replace

from adapters.memory.store import MemoryEventStore
from commands.account import ChangeLimits, CloseAccount, FreezeAccount, OpenAccount, UnfreezeAccount
from commands.batch import PostBatch, ask_batch
from commands.book import OpenBook
from commands.command import Asked, Command
from commands.desk import Answer, Outcome
from commands.hold import CaptureHold, ExpireHold, IncreaseHold, PlaceHold, VoidHold
from commands.journal import PostEntry, PostingAsked, ReverseEntry
from domain import ids
from domain.account import Type, balance
from domain.events import Event, recorded
from domain.hold import fold
from domain.ledger import Ledger
from domain.posting import Side, Totals
from tests.support import NOW, Reports, asked, books_of, desk, said

Line = tuple[str, str, int, str]
"""Account code, side, amount, currency."""

OTHER = {"debit": "credit", "credit": "debit"}


# What is asked, as plain dicts.

books = st.sampled_from(["main"] * 9 + ["side"])
euros = st.sampled_from(["a", "b", "c"])
dollars = st.sampled_from(["d", "e"])
codes = st.sampled_from(["a", "b", "c", "d", "e", "f"])
amounts = st.integers(1, 40)


@st.composite
def balanced(draw: st.DrawFn) -> list[Line]:
    """One to three transfers in one entry."""
    entry: list[Line] = []
    for _ in range(draw(st.integers(1, 3))):
        amount = draw(amounts)
        code, currency = draw(st.sampled_from([(euros, "EUR"), (euros, "EUR"), (dollars, "USD")]))
        entry += [(draw(code), "debit", amount, currency), (draw(code), "credit", amount, currency)]
    return draw(st.permutations(entry))


anything: st.SearchStrategy[list[Line]] = st.lists(
    st.tuples(codes, st.sampled_from(["debit", "credit"]), st.integers(1, 2), st.sampled_from(["EUR", "USD"])),
    min_size=2,
    max_size=4,
)
limits = {
    "type": st.sampled_from(["asset", "liability", "equity", "revenue", "expense"]),
    "overdraft_limit": st.none() | st.integers(0, 20),
    "floor": st.none() | st.none() | st.integers(-20, 10),
    "ceiling": st.none() | st.none() | st.integers(-5, 60),
}
opening_account = st.fixed_dictionaries(
    {"do": st.just("open_account"), "book": books, "code": codes, "currency": st.just("EUR"), **limits}
)
conditions = st.none() | st.sampled_from(
    [("if_version", 0), ("if_version", 2), ("if_available_at_least", -5), ("if_available_at_least", 20)]
)
posting = st.fixed_dictionaries(
    {
        "do": st.just("post"),
        "book": books,
        "lines": st.one_of(balanced(), balanced(), balanced(), anything),
        "condition": conditions,
    }
)
splitting = st.fixed_dictionaries(
    {
        "do": st.just("split"),
        "book": books,
        "amount": amounts,
        "sources": st.lists(st.tuples(euros | codes, st.none() | amounts), min_size=1, max_size=3),
        "destinations": st.lists(
            st.tuples(euros, st.sampled_from([("share", 1, 3), ("share", 1, 2), ("amount", 3)])), max_size=3
        ),
        "rest": st.none() | euros,
    }
).filter(lambda wish: wish["destinations"] or wish["rest"])
exchanging = st.fixed_dictionaries(
    {
        "do": st.just("exchange"),
        "book": books,
        "source": euros | codes,
        "source_position": euros | euros | codes,
        "destination": dollars | codes,
        "destination_position": dollars | dollars | codes,
        "amount": amounts,
        "rate": st.sampled_from(["1.0842", "0.5", "1.5", "0.025", "1", "12.345"]),
    }
)
placing = st.fixed_dictionaries(
    {
        "do": st.just("place"),
        "book": books,
        "code": st.sampled_from("aaabc"),
        "to": st.sampled_from("bbbccad"),
        "amount": amounts,
        "currency": st.just("EUR"),
        "in_h": st.sampled_from([None, None, 1, 1, 2, 0]),
    }
)
nth = st.integers(0, 8)
upon_hold = st.one_of(
    st.fixed_dictionaries(
        {"do": st.just("capture"), "nth": nth, "amount": st.none() | st.integers(1, 15), "final": st.booleans()}
    ),
    st.fixed_dictionaries({"do": st.just("increase"), "nth": nth, "amount": amounts}),
    st.fixed_dictionaries({"do": st.sampled_from(["void", "expire", "expire"]), "nth": nth}),
)
limiting = st.fixed_dictionaries(
    {
        "do": st.just("limits"),
        "book": books,
        "code": codes,
        "in_h": st.sampled_from([None, None, 0, 1, 2, -1]),
        **{name: value for name, value in limits.items() if name != "type"},
    }
)
standing = st.sampled_from(["freeze", "unfreeze", "unfreeze", "close"])
alone_ = st.one_of(
    *[posting] * 6,
    *[splitting, exchanging, placing, placing, upon_hold, upon_hold] * 2,
    *[st.fixed_dictionaries({"do": st.just("reverse"), "nth": nth})] * 2,
    limiting,
    st.fixed_dictionaries({"do": standing, "book": books, "code": codes}),
    opening_account,
    st.fixed_dictionaries({"do": st.just("open_book"), "book": books}),
)


@st.composite
def _alone(draw: st.DrawFn) -> dict[str, Any]:
    """Drawn so, it has a short name: hypothesis writes a strategy out in full otherwise, each time it is in another."""
    return draw(alone_)


alone = _alone()
wishes = st.one_of(
    *[alone] * 8,
    *[st.fixed_dictionaries({"do": st.just("again"), "nth": nth, "changed": st.booleans()})] * 2,
    st.fixed_dictionaries(
        {
            "do": st.just("batch"),
            "mode": st.sampled_from(["atomic", "atomic", "independent"]),
            "wishes": st.lists(alone, min_size=1, max_size=4),
        }
    ),
)


# What should come of it.


class Refused(Exception):
    """With the code of the refusal."""


class Model:
    """The books as they should be. Accounts and entries are dicts; nothing is decided by anybody else's code."""

    def __init__(self) -> None:
        self.books: set[str] = set()
        self.accounts: dict[tuple[str, str], dict[str, Any]] = {}
        self.entries: dict[str, dict[str, Any]] = {}
        self.holds: dict[str, dict[str, Any]] = {}
        self.events = 0
        self.hour = 0

    def answer(self, wish: dict[str, Any], key: str) -> str:
        """`done`, or the code of the refusal; either leaves its events."""
        try:
            self.events += getattr(self, wish["do"])(wish, key)
        except Refused as no:
            self.events += 1
            return str(no)
        return "done"

    def open_book(self, wish: dict[str, Any], key: str) -> int:
        _must(wish["book"] not in self.books, "book_code_taken")
        self.books.add(wish["book"])
        return 1

    def open_account(self, wish: dict[str, Any], key: str) -> int:
        name = wish["book"], wish["code"]
        _must(wish["book"] in self.books, "book_not_found")
        _must(name not in self.accounts, "account_code_taken")
        lowest, ceiling = _lowest(wish), wish["ceiling"]
        _must(lowest is None or ceiling is None or lowest <= ceiling, "limits_contradict")
        zero = dict.fromkeys(("debits", "credits", "pending_debits", "pending_credits", "postings"), 0)
        self.accounts[name] = {**wish, "status": "open", **zero, "limits": [{**wish, "from": -1}]}
        return 1

    def limits(self, wish: dict[str, Any], key: str) -> int:
        account = self._account(wish)
        _must(account["status"] != "closed", "account_closed")
        start = self.hour + (wish["in_h"] or 0)
        _must(start >= self.hour, "limits_in_past")
        lowest, ceiling = _lowest(wish), wish["ceiling"]
        _must(lowest is None or ceiling is None or lowest <= ceiling, "limits_contradict")
        account["limits"] = [*account["limits"], {**wish, "from": start}]
        return 1

    def place(self, wish: dict[str, Any], key: str) -> int:
        _must(wish["code"] != wish["to"], "hold_to_same_account")
        expires = None if wish["in_h"] is None else self.hour + wish["in_h"]
        _must(expires is None or expires > self.hour, "hold_expires_in_past")
        for code in (wish["code"], wish["to"]):
            account = self._account({**wish, "code": code})
            _must(account["currency"] == wish["currency"], "currency_mismatch")
        hold = {**wish, "expires": expires, "amount": 0, "remaining": 0, "captured": 0, "ended": None}
        self._set_aside(hold, wish["amount"])
        self.holds[key] = hold
        return 1

    def increase(self, wish: dict[str, Any], key: str) -> int:
        self._set_aside(self._hold(wish), wish["amount"])
        return 1

    def capture(self, wish: dict[str, Any], key: str) -> int:
        hold = self._hold(wish)
        taken = hold["remaining"] if wish["amount"] is None else wish["amount"]
        _must(taken <= hold["remaining"], "capture_exceeds_hold")
        final = wish["final"] or taken == hold["remaining"]
        given_up = hold["remaining"] if final else taken
        lines = self._lines_of(hold, taken)
        self._apply(hold["book"], lines, self._lines_of(hold, -given_up))
        hold["captured"] += taken
        hold["remaining"] -= given_up
        hold["ended"] = "captured" if final else None
        self.entries[key] = {"book": hold["book"], "lines": lines, "reversed": False, "reverses": False}
        return 2

    def void(self, wish: dict[str, Any], key: str) -> int:
        self._give_up(self._hold(wish), "voided")
        return 1

    def expire(self, wish: dict[str, Any], key: str) -> int:
        hold = self._hold(wish, due=True)
        self._give_up(hold, "expired")
        return 1

    def _give_up(self, hold: dict[str, Any], ended: str) -> None:
        for code, side, amount, _ in self._lines_of(hold, -hold["remaining"]):
            account = self.accounts[hold["book"], code]
            account["pending_" + side + "s"] += amount
            account["postings"] += 1
        hold["remaining"], hold["ended"] = 0, ended

    def _hold(self, wish: dict[str, Any], *, due: bool = False) -> dict[str, Any]:
        hold = self.holds.get(wish["of"])
        if hold is None:
            raise Refused("hold_not_found")
        _must(hold["ended"] is None, "hold_ended")
        is_due = hold["expires"] is not None and hold["expires"] <= self.hour
        _must(is_due == due, "hold_not_due" if due else "hold_expired")
        return hold

    def _set_aside(self, hold: dict[str, Any], amount: int) -> None:
        self._apply(hold["book"], [], self._lines_of(hold, amount))
        hold["amount"] += amount
        hold["remaining"] += amount

    def _lines_of(self, hold: dict[str, Any], amount: int) -> list[Line]:
        falls = _falls(self.accounts[hold["book"], hold["code"]])
        return [(hold["code"], falls, amount, "EUR"), (hold["to"], OTHER[falls], amount, "EUR")]

    def split(self, wish: dict[str, Any], key: str) -> int:
        book, amount = wish["book"], wish["amount"]
        rest = [(wish["rest"], ("rest",))] if wish["rest"] else []
        for code, _ in (*wish["sources"], *wish["destinations"], *rest):
            _must(self._account({"book": book, "code": code})["currency"] == "EUR", "currency_mismatch")
        sources = [self.accounts[book, code] for code, _ in wish["sources"]]
        _must(len({_falls(account) for account in sources}) == 1, "sources_differ")
        taken: list[Line] = []
        left = amount
        for account, (code, maximum) in zip(sources, wish["sources"], strict=True):
            part = left if maximum is None else min(left, maximum)
            lowest = _lowest(self._limits(account))
            if lowest is not None:
                gave = sum(line[2] for line in taken if line[0] == code)
                part = max(min(part, _available(account) - lowest - gave), 0)
            taken.append((code, _falls(account), part, "EUR"))
            left -= part
        _must(left == 0, "sources_insufficient")
        given = _given(amount, wish["destinations"], wish["rest"])
        side = OTHER[_falls(sources[0])]
        lines = [*taken, *((code, side, part, "EUR") for code, part in given)]
        return self.post({"book": book, "lines": [line for line in lines if line[2]], "condition": None}, key)

    def exchange(self, wish: dict[str, Any], key: str) -> int:
        """A euro has as many cents as a dollar: cents times the rate, and what is just between two goes to the even."""
        names = [wish[name] for name in ("source", "source_position", "destination_position", "destination")]
        source, _, _, destination = (self._account({"book": wish["book"], "code": code}) for code in names)
        _must(source["currency"] != destination["currency"], "exchange_within_currency")
        received = round(wish["amount"] * Fraction(wish["rate"]))
        _must(received > 0, "conversion_too_small")
        falls = _falls(source)
        gives, gets = (wish["amount"], source["currency"]), (received, destination["currency"])
        moves = zip(names, (falls, OTHER[falls]) * 2, (gives, gives, gets, gets), strict=True)
        lines = [(code, side, amount, currency) for code, side, (amount, currency) in moves]
        return self.post({"book": wish["book"], "lines": lines, "condition": None}, key)

    def batch(self, wish: dict[str, Any], key: str) -> int:
        raise AssertionError("a batch is asked command by command")

    def freeze(self, wish: dict[str, Any], key: str) -> int:
        account = self._account(wish)
        _must(account["status"] != "closed", "account_closed")
        _must(account["status"] != "frozen", "account_frozen")
        account["status"] = "frozen"
        return 1

    def unfreeze(self, wish: dict[str, Any], key: str) -> int:
        account = self._account(wish)
        _must(account["status"] != "closed", "account_closed")
        _must(account["status"] != "open", "account_not_frozen")
        account["status"] = "open"
        return 1

    def close(self, wish: dict[str, Any], key: str) -> int:
        account = self._account(wish)
        _must(account["status"] != "closed", "account_closed")
        empty = account["debits"] == account["credits"]
        _must(empty and not account["pending_debits"] and not account["pending_credits"], "account_not_empty")
        account["status"] = "closed"
        return 1

    def post(self, wish: dict[str, Any], key: str) -> int:
        self._book(wish["book"], wish["lines"], wish["condition"])
        self.entries[key] = {**wish, "reversed": False, "reverses": False}
        return 1

    def reverse(self, wish: dict[str, Any], key: str) -> int:
        entry = self.entries.get(wish["of"])
        if entry is None:
            raise Refused("entry_not_found")
        _must(not entry["reverses"], "entry_is_reversal")
        _must(not entry["reversed"], "entry_already_reversed")
        mirror = [(code, OTHER[side], amount, currency) for code, side, amount, currency in entry["lines"]]
        self._book(entry["book"], mirror)
        entry["reversed"] = True
        self.entries[key] = {**entry, "lines": mirror, "reverses": True, "reversed": False}
        return 2

    def _account(self, wish: dict[str, Any]) -> dict[str, Any]:
        account = self.accounts.get((wish["book"], wish["code"]))
        if account is None:
            raise Refused("account_not_found")
        return account

    def _limits(self, account: dict[str, Any]) -> dict[str, Any]:
        """Those that began last, of those that have begun."""
        begun = [one for one in account["limits"] if one["from"] <= self.hour]
        latest: dict[str, Any] = [one for one in begun if one["from"] == max(each["from"] for each in begun)][-1]
        return latest

    def _book(self, book: str, entry: list[Line], condition: tuple[str, int] | None = None) -> None:
        for currency in {line[3] for line in entry}:
            _must(_sum(entry, currency, "debit") == _sum(entry, currency, "credit"), "entry_unbalanced")
        for code, _, _, currency in entry:
            account = self._account({"book": book, "code": code})
            _must(account["currency"] == currency, "currency_mismatch")
            _must(account["status"] == "open", f"account_{account['status']}")
        if condition is not None:
            account, (what, expected) = self.accounts[book, entry[0][0]], condition
            if what == "if_version":
                _must(account["postings"] == expected, "condition_failed")
            else:
                _must(_available(account) >= expected, "condition_failed")
        self._apply(book, entry, [])

    def _apply(self, book: str, entry: list[Line], pending: list[Line]) -> None:
        """Post the one and set the other aside, if the accounts' limits allow what comes of both."""
        touched = dict.fromkeys(line[0] for line in (*pending, *entry))
        for code in touched:
            _must(self.accounts[book, code]["status"] == "open", f"account_{self.accounts[book, code]['status']}")
        for code in touched:
            account = self.accounts[book, code]
            after = _with(account, entry, pending)
            limits = self._limits(account)
            lowest, ceiling = _lowest(limits), limits["ceiling"]
            _must(lowest is None or _available(after) >= min(lowest, _available(account)), "insufficient_funds")
            _must(ceiling is None or _highest(after) <= max(ceiling, _highest(account)), "ceiling_exceeded")
        for code in touched:
            self.accounts[book, code] = _with(self.accounts[book, code], entry, pending)


def _must(holds: bool, code: str) -> None:
    if not holds:
        raise Refused(code)


def _lowest(account: dict[str, Any]) -> int | None:
    limits = [account["floor"]] if account["floor"] is not None else []
    limits += [-account["overdraft_limit"]] if account["overdraft_limit"] is not None else []
    return max(limits, default=None)


def _balance(account: dict[str, Any]) -> int:
    net: int = account["debits"] - account["credits"]
    return net if account["type"] in ("asset", "expense") else -net


def _falls(account: dict[str, Any]) -> str:
    """The side on which the account gets less."""
    return "credit" if account["type"] in ("asset", "expense") else "debit"


def _available(account: dict[str, Any]) -> int:
    return _balance(account) - int(account[f"pending_{_falls(account)}s"])


def _highest(account: dict[str, Any]) -> int:
    return _balance(account) + int(account[f"pending_{OTHER[_falls(account)]}s"])


def _given(amount: int, destinations: list[tuple[str, Any]], rest: str | None) -> list[tuple[str, int]]:
    """What each destination gets, in sixths: shares are halves and thirds, what they do not divide goes round."""
    sixths = {("share", 1, 3): 2, ("share", 1, 2): 3}
    fixed = sum(kind[1] for _, kind in destinations if kind[0] == "amount")
    shares = sum(sixths.get(kind, 0) for _, kind in destinations)
    assigned = 6 * fixed + amount * shares
    _must(assigned <= 6 * amount and (assigned == 6 * amount or rest is not None), "split_impossible")
    pot = amount * shares // 6
    parts = [(index, pot * sixths[kind]) for index, (_, kind) in enumerate(destinations) if kind in sixths]
    got = {index: part // shares for index, part in parts}
    for index, _ in sorted(parts, key=lambda each: (-(each[1] % shares), each[0]))[: pot - sum(got.values())]:
        got[index] += 1
    given = [(code, got.get(index, kind[1])) for index, (code, kind) in enumerate(destinations)]
    return [*given, (rest, amount - fixed - pot)] if rest else given


def _sum(entry: list[Line], currency: str, side: str) -> int:
    return sum(line[2] for line in entry if line[3] == currency and line[1] == side)


def _with(account: dict[str, Any], entry: list[Line], pending: list[Line]) -> dict[str, Any]:
    after = dict(account)
    for kind, lines in (("", entry), ("pending_", pending)):
        for _, side, amount, _ in (line for line in lines if line[0] == account["code"]):
            after[f"{kind}{side}s"] += amount
            after["postings"] += 1
    return after


# How it is asked.


def time(hour: int | None) -> datetime | None:
    return None if hour is None else NOW + timedelta(hours=hour)


def command(wish: dict[str, Any], hour: int = 0) -> Command:
    book = wish.get("book", "")
    at = time(hour + wish["in_h"]) if wish.get("in_h") is not None else None
    match wish["do"]:
        case "open_book":
            return OpenBook(code=book)
        case "open_account":
            fields = {name: wish[name] for name in ("code", "currency", "overdraft_limit", "floor", "ceiling")}
            return OpenAccount(book=book, type=Type(wish["type"]), **fields)
        case "post":
            postings = [
                PostingAsked(account=code, side=Side(side), amount=amount, currency=currency)
                for code, side, amount, currency in wish["lines"]
            ]
            if wish["condition"] is not None:
                postings[0] = postings[0].model_copy(update=dict([wish["condition"]]))
            return PostEntry(book=book, postings=tuple(postings))
        case "split":
            return PostEntry.model_validate({"book": book, "split": _recipe(wish)})
        case "exchange":
            return PostEntry.model_validate({"book": book, "exchange": _exchange(wish)})
        case "reverse":
            return ReverseEntry(entry_id=wish["entry_id"])
        case "place":
            return PlaceHold(
                book=book,
                account=wish["code"],
                destination=wish["to"],
                amount=wish["amount"],
                currency="EUR",
                expires_at=at,
            )
        case "capture":
            return CaptureHold(hold_id=wish["hold_id"], amount=wish["amount"], final=wish["final"])
        case "increase":
            return IncreaseHold(hold_id=wish["hold_id"], amount=wish["amount"])
        case "void":
            return VoidHold(hold_id=wish["hold_id"])
        case "expire":
            return ExpireHold(hold_id=wish["hold_id"])
        case "limits":
            fields = {name: wish[name] for name in ("overdraft_limit", "floor", "ceiling")}
            return ChangeLimits(account_id=ids.account_id(ids.book_id(book), wish["code"]), effective_at=at, **fields)
    upon: dict[str, type[FreezeAccount | UnfreezeAccount | CloseAccount]] = {
        "freeze": FreezeAccount,
        "unfreeze": UnfreezeAccount,
        "close": CloseAccount,
    }
    return upon[wish["do"]](account_id=ids.account_id(ids.book_id(book), wish["code"]))


def _recipe(wish: dict[str, Any]) -> dict[str, Any]:
    destinations = [
        {"account": code, "amount": kind[1]}
        if kind[0] == "amount"
        else {"account": code, "share": "{1}/{2}".format(*kind)}
        for code, kind in wish["destinations"]
    ]
    return {
        "amount": wish["amount"],
        "currency": "EUR",
        "sources": [{"account": code, "maximum": maximum} for code, maximum in wish["sources"]],
        "destinations": [*destinations, *([{"account": wish["rest"]}] if wish["rest"] else [])],
    }


def _exchange(wish: dict[str, Any]) -> dict[str, Any]:
    ends = {
        end: {"account": wish[end], "position_account": wish[f"{end}_position"]} for end in ("source", "destination")
    }
    return {**ends, "amount": wish["amount"], "rate": wish["rate"]}


def changed(command: Command) -> Command | None:
    """Another request of the same kind upon the same thing; None where nothing can be said otherwise."""
    match command:
        case IncreaseHold(amount=amount):
            return command.model_copy(update={"amount": amount + 1})
        case PostBatch(commands=commands):
            return command.model_copy(update={"commands": (*commands, commands[0])})
        case ExpireHold():
            return None
    field = next(name for name in ("description", "title", "reason") if name in type(command).model_fields)
    return command.model_copy(update={field: "something else"})


class First(NamedTuple):
    """What was asked under a key, how it should be and was answered; `items` are the words of a batch's commands."""

    command: Command
    key: str
    word: str
    answers: list[Outcome]
    items: list[str]


def asking(command: Command, key: str) -> Asked:
    return ask_batch(command, actor="tester", key=key) if isinstance(command, PostBatch) else asked(command, key)


class Books(RuleBasedStateMachine):
    """Two desks take turns; after every batch all that is stored is derived anew."""

    def __init__(self) -> None:
        super().__init__()
        self.store = MemoryEventStore(lambda: time(self.model.hour) or NOW)
        self.reports: Reports = []
        self.desks = [desk(self.store, self.reports), desk(self.store, self.reports)]
        self.model = Model()
        self.asked: list[First] = []
        self.posted: list[tuple[str, UUID]] = []
        self.placed: list[tuple[str, UUID]] = []
        self.keys = (f"key-{number}" for number in count(1))

    @initialize(drawn=st.lists(st.fixed_dictionaries(limits), min_size=5, max_size=5))
    def begin(self, drawn: list[dict[str, Any]]) -> None:
        """A book with accounts in two currencies, one without limits, so that most of what follows means something."""
        drawn[0] |= {"overdraft_limit": None, "floor": None, "ceiling": None}
        accounts = [
            {"do": "open_account", "book": "main", "code": code, "currency": "EUR" if code in "abc" else "USD", **said}
            for code, said in zip("abcde", drawn, strict=True)
        ]
        self.ask(0, [{"do": "open_book", "book": "main"}, *accounts])

    @rule(by=st.integers(0, 1), wishes=st.lists(wishes, min_size=1, max_size=4))
    def ask(self, by: int, wishes: list[dict[str, Any]]) -> None:
        """One batch, each of its commands answered as the model says."""
        batch = [self._prepared(wish) for wish in wishes]

        # The desk's own thread would do just this.
        answers = self.desks[by % 2]._answer_all([each[0] for each in batch])

        for (_, first, word), answer in zip(batch, answers, strict=True):
            assert said(answer) == word
            if isinstance(answer, Outcome):
                assert [said(item).removesuffix(" again") for item in answer.items] == first.items
            self._must_be_the_first_answer(first, answer)

    def _prepared(self, wish: dict[str, Any]) -> tuple[Asked, First, str]:
        if wish["do"] == "again" and self.asked:
            first = self.asked[-1 - wish["nth"] % len(self.asked)]
            other = changed(first.command) if wish["changed"] else None
            if other is not None:
                return asking(other, first.key), first, "KeyReused"
            return asking(first.command, first.key), first, f"{first.word} again"
        if wish["do"] == "again":
            wish = {"do": "open_book", "book": "main"}
        key = next(self.keys)
        if wish["do"] == "batch":
            put, word, items = self._batch(wish, key)
        else:
            command_, word = self._alone(wish, key)
            put, items = asked(command_, key), []
        first = First(put.command, key, word, [], items)
        self.asked.append(first)
        return put, first, word

    def _alone(self, wish: dict[str, Any], key: str) -> tuple[Command, str]:
        """The command, and what should come of it."""
        if wish["do"] == "reverse":
            of, entry_id = _one_of(self.posted, self.model.entries, wish["nth"])
            wish = {**wish, "of": of, "entry_id": entry_id}
        if wish["do"] in ("capture", "increase", "void", "expire"):
            of, hold_id = _one_of(self.placed, self.model.holds, wish["nth"])
            wish = {**wish, "of": of, "hold_id": hold_id}
        word = self.model.answer(wish, key)
        made = command(wish, self.model.hour)
        name = ids.command_id(made.scope, made.kind, key)
        if wish["do"] in ("post", "split", "exchange", "reverse", "capture"):
            self.posted.append((key, name))
        if wish["do"] == "place":
            self.placed.append((key, name))
        return made, word

    def _batch(self, wish: dict[str, Any], key: str) -> tuple[Asked, str, list[str]]:
        """Every other command has a key of its own. A refusal of one is the end of an atomic batch."""
        before = deepcopy(self.model)
        self.model.events += 1
        items: list[dict[str, Any]] = []
        words: list[str] = []
        for index, each in enumerate(wish["wishes"]):
            own = next(self.keys) if index % 2 else None
            made, word = self._alone(each, own or f"{key}:{index}")
            items.append({"command": made.kind, "idempotency_key": own, "arguments": made.model_dump()})
            words.append(word)
        batch = PostBatch.model_validate({"book": "main", "mode": wish["mode"], "commands": items})
        put = ask_batch(batch, actor="tester", key=key)
        if wish["mode"] == "independent" or {*words} == {"done"}:
            return put, "done", words
        self.model = before
        self.model.events += 1
        return put, "batch_refused", []

    def _must_be_the_first_answer(self, first: First, answer: Answer) -> None:
        if isinstance(answer, Outcome):
            first.answers.append(answer)
            told = first.answers[0]
            assert answer.recorded[0] == told.recorded[0]
            assert answer.account == told.account
            assert (answer.refusal and answer.refusal.details()) == (told.refusal and told.refusal.details())

    @rule(wish=alone, by=st.integers(0, 1))
    def try_dry(self, wish: dict[str, Any], by: int) -> None:
        """What would come of it is told, and nothing is left of it."""
        before, posted, placed = deepcopy(self.model), [*self.posted], [*self.placed]
        made, word = self._alone(wish, key := next(self.keys))
        self.model, self.posted, self.placed = before, posted, placed

        [answer] = self.desks[by]._answer_all([replace(asked(made, key), dry=True)])

        assert said(answer) == word

    @rule()
    def wait_an_hour(self) -> None:
        """Holds come due, and limits take effect."""
        self.model.hour += 1

    @rule(by=st.integers(0, 1))
    def restart(self, by: int) -> None:
        """A desk that begins anew knows nothing and answers the same."""
        self.desks[by] = desk(self.store, self.reports)

    @invariant()
    def nothing_happened_that_should_not(self) -> None:
        assert self.reports == []

    @invariant()
    def refusals_and_replays_leave_no_other_trace(self) -> None:
        """
        One event for what was done or refused, two for a reversal, none for what was asked before.
        """
        assert len(self.store.events) == self.model.events

    @invariant()
    def the_books_are_as_the_model_has_them(self) -> None:
        """
        Everything stored is derived anew by the independent checker: conservation, limits, seals, running totals.
        """
        expected = {
            ids.account_id(ids.book_id(book), code): (account["debits"], account["credits"])
            for (book, code), account in self.model.accounts.items()
        }
        assert books_of(self.store).check() == expected

    @invariant()
    def replay_is_live(self) -> None:
        """
        The stored events, folded from the first, make what each desk knows.
        """
        for working in self.desks:
            live, replayed = working._ledger, Ledger()
            for raw in self.store.events[: live.applied]:
                replayed.apply(recorded(raw))
            for name, account in live.accounts.items():
                assert account == replayed.accounts.get(name)
                assert live.totals[name] == replayed.totals.get(name, Totals(0, 0, 0, 0, 0))
            for name, book in live.books.items():
                assert book == replayed.books.get(name)

    @invariant()
    def accounts_are_as_open_as_the_model_has_them(self) -> None:
        replayed = Ledger()
        for raw in self.store.events:
            replayed.apply(recorded(raw))
        for (book, code), account in self.model.accounts.items():
            folded = replayed.accounts[ids.account_id(ids.book_id(book), code)]
            assert folded and folded.status.value == account["status"]
            totals = replayed.totals[folded.id]
            assert totals.number == account["postings"]
            assert (totals.pending_debits, totals.pending_credits) == (
                account["pending_debits"],
                account["pending_credits"],
            )
            assert balance(folded.type, totals).available == _available(account)

    @invariant()
    def holds_are_as_the_model_has_them(self) -> None:
        streams: dict[UUID, list[Event]] = {}
        for raw in self.store.events:
            streams.setdefault(raw.stream_id, []).append(recorded(raw).event)
        for key, hold_id in self.placed:
            expected, folded = self.model.holds.get(key), fold(hold_id, streams.get(hold_id, []))
            assert (folded is None) == (expected is None)
            if folded is not None and expected is not None:
                assert (folded.amount, folded.captured, folded.remaining) == (
                    expected["amount"],
                    expected["captured"],
                    expected["remaining"],
                )
                assert folded.status.value == (expected["ended"] or "held")


def _one_of(asked: list[tuple[str, UUID]], done: Collection[str], nth: int) -> tuple[str, UUID]:
    """One of the latest; now and then of those that were refused, or of none."""
    all_ = asked if nth % 4 == 0 else [each for each in asked if each[0] in done]
    return all_[-1 - nth % len(all_)] if all_ else ("nothing", UUID(int=nth))


TestBooks = Books.TestCase
