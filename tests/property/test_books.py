"""Any sequence of commands, through two desks on one log, against a small model in plain dicts.

The model knows what Daybook should answer and what every account should hold; it shares no code with the domain.
"""

from itertools import count
from typing import Any, NamedTuple
from uuid import UUID

import hypothesis.strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from adapters.memory.store import MemoryEventStore
from commands.account import CloseAccount, FreezeAccount, OpenAccount, UnfreezeAccount
from commands.book import OpenBook
from commands.command import Asked, Command
from commands.desk import Answer, Outcome
from commands.journal import PostEntry, PostingAsked, ReverseEntry
from domain import ids
from domain.account import Type
from domain.events import recorded
from domain.ledger import Ledger
from domain.posting import Side, Totals
from tests.support import NOW, Reports, asked, books_of, desk, said

Line = tuple[str, str, int, str]
"""Account code, side, amount, currency."""


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
posting = st.fixed_dictionaries(
    {"do": st.just("post"), "book": books, "lines": st.one_of(balanced(), balanced(), balanced(), anything)}
)
standing = st.sampled_from(["freeze", "unfreeze", "unfreeze", "close"])
wishes = st.one_of(
    *[posting] * 8,
    *[st.fixed_dictionaries({"do": st.just("reverse"), "nth": st.integers(0, 8)})] * 3,
    *[st.fixed_dictionaries({"do": st.just("again"), "nth": st.integers(0, 8), "changed": st.booleans()})] * 2,
    st.fixed_dictionaries({"do": standing, "book": books, "code": codes}),
    opening_account,
    st.fixed_dictionaries({"do": st.just("open_book"), "book": books}),
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
        self.events = 0

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
        self.accounts[name] = {**wish, "status": "open", "debits": 0, "credits": 0, "postings": 0}
        return 1

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
        _must(account["debits"] == account["credits"], "account_not_empty")
        account["status"] = "closed"
        return 1

    def post(self, wish: dict[str, Any], key: str) -> int:
        self._book(wish["book"], wish["lines"])
        self.entries[key] = {**wish, "reversed": False, "reverses": False}
        return 1

    def reverse(self, wish: dict[str, Any], key: str) -> int:
        entry = self.entries.get(wish["of"])
        if entry is None:
            raise Refused("entry_not_found")
        _must(not entry["reverses"], "entry_is_reversal")
        _must(not entry["reversed"], "entry_already_reversed")
        other = {"debit": "credit", "credit": "debit"}
        mirror = [(code, other[side], amount, currency) for code, side, amount, currency in entry["lines"]]
        self._book(entry["book"], mirror)
        entry["reversed"] = True
        self.entries[key] = {**entry, "lines": mirror, "reverses": True, "reversed": False}
        return 2

    def _account(self, wish: dict[str, Any]) -> dict[str, Any]:
        account = self.accounts.get((wish["book"], wish["code"]))
        if account is None:
            raise Refused("account_not_found")
        return account

    def _book(self, book: str, entry: list[Line]) -> None:
        for currency in {line[3] for line in entry}:
            _must(_sum(entry, currency, "debit") == _sum(entry, currency, "credit"), "entry_unbalanced")
        for code, _, _, currency in entry:
            account = self._account({"book": book, "code": code})
            _must(account["currency"] == currency, "currency_mismatch")
            _must(account["status"] == "open", f"account_{account['status']}")
        for code in dict.fromkeys(line[0] for line in entry):
            account = self.accounts[book, code]
            was = _balance(account)
            becomes = _balance(_with(account, entry))
            lowest, ceiling = _lowest(account), account["ceiling"]
            _must(lowest is None or becomes >= min(lowest, was), "insufficient_funds")
            _must(ceiling is None or becomes <= max(ceiling, was), "ceiling_exceeded")
        for code in {line[0] for line in entry}:
            self.accounts[book, code] = _with(self.accounts[book, code], entry)


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


def _sum(entry: list[Line], currency: str, side: str) -> int:
    return sum(line[2] for line in entry if line[3] == currency and line[1] == side)


def _with(account: dict[str, Any], entry: list[Line]) -> dict[str, Any]:
    mine = [line for line in entry if line[0] == account["code"]]
    return {
        **account,
        "debits": account["debits"] + sum(line[2] for line in mine if line[1] == "debit"),
        "credits": account["credits"] + sum(line[2] for line in mine if line[1] == "credit"),
        "postings": account["postings"] + len(mine),
    }


# How it is asked.


def command(wish: dict[str, Any]) -> Command:
    book = wish.get("book", "")
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
            return PostEntry(book=book, postings=tuple(postings))
        case "reverse":
            return ReverseEntry(entry_id=wish["entry_id"])
    upon: dict[str, type[FreezeAccount | UnfreezeAccount | CloseAccount]] = {
        "freeze": FreezeAccount,
        "unfreeze": UnfreezeAccount,
        "close": CloseAccount,
    }
    return upon[wish["do"]](account_id=ids.account_id(ids.book_id(book), wish["code"]))


def changed(command: Command) -> Command:
    """Another request of the same kind upon the same thing."""
    field = next(name for name in ("description", "title", "reason") if name in type(command).model_fields)
    return command.model_copy(update={field: "something else"})


class First(NamedTuple):
    """What was asked under a key, and how it should be and was answered."""

    command: Command
    key: str
    word: str
    answers: list[Outcome]


class Books(RuleBasedStateMachine):
    """Two desks take turns; after every batch all that is stored is derived anew."""

    def __init__(self) -> None:
        super().__init__()
        self.store = MemoryEventStore(lambda: NOW)
        self.reports: Reports = []
        self.desks = [desk(self.store, self.reports), desk(self.store, self.reports)]
        self.model = Model()
        self.asked: list[First] = []
        self.posted: list[tuple[str, UUID]] = []
        self.keys = (f"key-{number}" for number in count(1))

    @initialize(drawn=st.lists(st.fixed_dictionaries(limits), min_size=5, max_size=5))
    def begin(self, drawn: list[dict[str, Any]]) -> None:
        """A book with accounts in two currencies, so that most of what follows means something."""
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
            self._must_be_the_first_answer(first, answer)

    def _prepared(self, wish: dict[str, Any]) -> tuple[Asked, First, str]:
        if wish["do"] == "again" and self.asked:
            first = self.asked[-1 - wish["nth"] % len(self.asked)]
            if wish["changed"]:
                return asked(changed(first.command), first.key), first, "KeyReused"
            return asked(first.command, first.key), first, f"{first.word} again"
        if wish["do"] == "again":
            wish = {"do": "open_book", "book": "main"}
        key = next(self.keys)
        if wish["do"] == "reverse":
            wish = {**wish, **self._entry(wish["nth"])}
        word = self.model.answer(wish, key)
        asking = asked(command(wish), key)
        if wish["do"] in ("post", "reverse"):
            self.posted.append((key, asking.command_id))
        first = First(asking.command, key, word, [])
        self.asked.append(first)
        return asking, first, word

    def _entry(self, nth: int) -> dict[str, Any]:
        """One of the latest entries; now and then of those that were refused, or of none."""
        all_ = self.posted if nth % 4 == 0 else [each for each in self.posted if each[0] in self.model.entries]
        of, entry_id = all_[-1 - nth % len(all_)] if all_ else ("nothing", UUID(int=nth))
        return {"of": of, "entry_id": entry_id}

    def _must_be_the_first_answer(self, first: First, answer: Answer) -> None:
        if isinstance(answer, Outcome):
            first.answers.append(answer)
            told = first.answers[0]
            assert answer.recorded[0] == told.recorded[0]
            assert answer.account == told.account
            assert (answer.refusal and answer.refusal.details()) == (told.refusal and told.refusal.details())

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
            assert replayed.totals[folded.id].number == account["postings"]


TestBooks = Books.TestCase
