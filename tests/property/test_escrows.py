"""Escrows: random words of anybody on two desks, against a small model written apart from the code it checks.

The model is plain dicts. It says what each command comes to, how each escrow stands and where its money is. After every
batch what is stored is derived anew by the checker in `tests.support`, which knows only JSON, and by verification.
"""

import json
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from itertools import count
from typing import Any
from uuid import UUID

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from adapters.memory.store import MemoryEventStore
from commands.account import CloseAccount, FreezeAccount, UnfreezeAccount
from commands.command import Command
from commands.desk import Outcome
from commands.escrow import ApproveRelease, ExpireEscrow, FundEscrow, MeetCondition, ReleaseEscrow, ReturnEscrow
from domain import escrow as rules
from domain import ids
from domain.events import recorded
from replay.verify import verify
from tests.stored import MemoryStored
from tests.support import BOOK, NOW, Reports, asked, books_of, desk, open_account, open_book, said, transfer

PEOPLE = ["ann", "bob", "eve", "dan"]
CONDITIONS = ["delivered", "intact"]
PARTS = ["one", "two", "three"]
ACCOUNTS = ["buyer", "seller", "other"]
ESCROWS_MAX = 6
CEILING = 60

amounts = st.sampled_from([1, 5, 10, 20, 40])
people = st.sampled_from(PEOPLE)
nth = st.integers(0, ESCROWS_MAX - 1)
parts = st.sampled_from([*PARTS, "nothing"])
some_people = st.lists(people, max_size=3, unique=True)


@st.composite
def releases(draw: st.DrawFn) -> dict[str, Any]:
    approvers = draw(some_people)
    approvals = draw(st.integers(1, len(approvers))) if approvers else 0
    conditions = draw(st.lists(st.sampled_from(CONDITIONS), min_size=0 if approvals else 1, max_size=2, unique=True))
    return {"conditions": conditions, "approvals": approvals, "approvers": approvers}


@st.composite
def deals(draw: st.DrawFn) -> dict[str, Any]:
    names = draw(st.lists(st.sampled_from(PARTS), min_size=1, max_size=3, unique=True))
    agreed: list[dict[str, Any]] = [
        {"name": name, "amount": draw(amounts), "release": draw(releases())} for name in names
    ]
    used = sorted({name for part in agreed for name in part["release"]["conditions"]})
    terms = draw(st.none() | some_people.filter(bool))
    return {
        "depositor": draw(st.sampled_from(["buyer", "buyer", "buyer", "other", "nobody"])),
        "beneficiary": draw(st.sampled_from(["seller", "seller", "seller", "other"])),
        "amount": sum(part["amount"] for part in agreed),
        "conditions": [{"name": name, "by": draw(some_people)} for name in used],
        "parts": agreed,
        "on_expiry": draw(st.sampled_from(["return", "release"])),
        "hours": draw(st.sampled_from([2, 5, 9])),
        "return_terms": terms and {"approvals": draw(st.integers(1, len(terms))), "approvers": terms},
    }


class Model:
    """What all comes to. `held` is what is set apart, `suspended` what is on suspense."""

    def __init__(self) -> None:
        self.hour = 0
        self.balances = {"buyer": 200, "seller": 0, "other": 0, "escrow": 0, "suspense": 0}
        self.statuses = dict.fromkeys(ACCOUNTS, "open")
        self.escrows: list[dict[str, Any]] = []

    def blocks(self, code: str, amount: int) -> str:
        """Why the account cannot take that much more; nothing if it can."""
        if self.statuses[code] != "open":
            return f"account_{self.statuses[code]}"
        return "ceiling_exceeded" if code == "seller" and self.balances[code] + amount > CEILING else ""

    def fund(self, deal: dict[str, Any], maker: str, name: UUID) -> str:
        depositor, beneficiary = deal["depositor"], deal["beneficiary"]
        if depositor == beneficiary:
            return "escrow_to_same_account"
        for code in (depositor, beneficiary):
            if code not in self.statuses:
                return "account_not_found"
            if self.statuses[code] != "open":
                return f"account_{self.statuses[code]}"
        if self.balances[depositor] < deal["amount"]:
            return "insufficient_funds"
        self.balances[depositor] -= deal["amount"]
        self.balances["escrow"] += deal["amount"]
        known = {"id": name, "maker": maker, "deal": deal, "ends": self.hour + deal["hours"], "expired": False}
        each = {p["name"]: {**p, **dict(released=0, returned=0, approved=[])} for p in deal["parts"]}
        self.escrows.append({**known, "parts": each, "met": {}, "returns": {}})
        return "done"

    def status(self, known: dict[str, Any]) -> str:
        released, returned, left = (sum(self.of(part)[n] for part in known["parts"].values()) for n in range(3))
        if known["expired"]:
            return "expired"
        if left:
            return "partially_released" if released else "funded"
        return "released" if not returned else "divided" if released else "returned"

    def of(self, part: dict[str, Any]) -> tuple[int, int, int]:
        return part["released"], part["returned"], part["amount"] - part["released"] - part["returned"]

    def left(self, part: dict[str, Any]) -> int:
        return self.of(part)[2]

    def ready(self, known: dict[str, Any]) -> list[str]:
        return [
            name
            for name, part in known["parts"].items()
            if self.left(part)
            and all(condition in known["met"] for condition in part["release"]["conditions"])
            and len(part["approved"]) >= part["release"]["approvals"]
        ]

    def closed(self, known: dict[str, Any] | None) -> str:
        if known is None:
            return "escrow_not_found"
        if self.status(known) not in ("funded", "partially_released"):
            return "escrow_ended"
        return "escrow_expired" if known["ends"] <= self.hour else ""

    def move(self, known: dict[str, Any], name: str, amount: int, word: str, *, forced: bool = False) -> str:
        code = known["deal"]["beneficiary" if word == "released" else "depositor"]
        why = self.blocks(code, amount)
        if why and not forced:
            return why
        known["parts"][name][word] += amount
        self.balances["escrow"] -= amount
        self.balances["suspense" if why else code] += amount
        if word == "returned":
            known["returns"] = {}
        return ""

    def complete(self, known: dict[str, Any], before: list[str]) -> None:
        for name in self.ready(known):
            if name not in before:
                self.move(known, name, self.left(known["parts"][name]), "released")

    def meet(self, known: dict[str, Any] | None, condition: str, who: str) -> str:
        if (word := self.closed(known)) or known is None:
            return word
        by = {one["name"]: one["by"] for one in known["deal"]["conditions"]}
        if condition not in by:
            return "escrow_condition_not_found"
        if condition in known["met"]:
            return "escrow_condition_met"
        if who not in by[condition] if by[condition] else who == known["maker"]:
            return "escrow_attester_unfit"
        before = self.ready(known)
        known["met"][condition] = who
        self.complete(known, before)
        return "done"

    def part(self, known: dict[str, Any], name: str) -> str:
        if name not in known["parts"]:
            return "escrow_part_not_found"
        return "" if self.left(known["parts"][name]) else "escrow_part_ended"

    def approve(self, known: dict[str, Any] | None, name: str, who: str) -> str:
        if (word := self.closed(known)) or known is None or (word := self.part(known, name)):
            return word
        part = known["parts"][name]
        if who == known["maker"]:
            return "escrow_approver_is_maker"
        if who not in part["release"]["approvers"]:
            return "escrow_approver_unfit"
        if who in part["approved"]:
            return "escrow_approved_before"
        before = self.ready(known)
        part["approved"].append(who)
        self.complete(known, before)
        return "done"

    def release(self, known: dict[str, Any] | None, name: str | None, amount: int | None) -> str:
        if (word := self.closed(known)) or known is None or (name is not None and (word := self.part(known, name))):
            return word
        ready = [one for one in self.ready(known) if name in (None, one)]
        if not ready:
            return "escrow_not_ready"
        given = {one: amount or self.left(known["parts"][one]) for one in ready}
        if any(amount > self.left(known["parts"][one]) for one, amount in given.items()):
            return "escrow_amount_exceeded"
        if why := self.blocks(known["deal"]["beneficiary"], sum(given.values())):
            return why
        for one, amount in given.items():
            self.move(known, one, amount, "released")
        return "done"

    def agree(self, known: dict[str, Any] | None, name: str | None, amount: int | None, who: str) -> str:
        if (word := self.closed(known)) or known is None or (name is not None and (word := self.part(known, name))):
            return word
        wanted = {one: part for one, part in known["parts"].items() if name in (None, one) and self.left(part)}
        terms = [known["deal"]["return_terms"] or part["release"] for part in wanted.values()]
        if who == known["maker"]:
            return "escrow_approver_is_maker"
        if not any(who in one["approvers"] for one in terms):
            return "escrow_approver_unfit"
        if known["returns"].get(who) == (name, amount):
            return "escrow_approved_before"
        if amount is not None and any(amount > self.left(part) for part in wanted.values()):
            return "escrow_amount_exceeded"
        agreed = {other for other, what in known["returns"].items() if what == (name, amount)} | {who}
        given = {one: amount or self.left(part) for one, part in wanted.items()}
        if all(one["approvals"] and len(agreed & {*one["approvers"]}) >= one["approvals"] for one in terms):
            if why := self.blocks(known["deal"]["depositor"], sum(given.values())):
                return why
            for one, amount in given.items():
                self.move(known, one, amount, "returned")
        else:
            known["returns"][who] = (name, amount)
        return "done"

    def expire(self, known: dict[str, Any] | None) -> str:
        if known is None:
            return "escrow_not_found"
        if self.status(known) not in ("funded", "partially_released"):
            return "escrow_ended"
        if known["ends"] > self.hour:
            return "escrow_not_due"
        ready, forward = self.ready(known), known["deal"]["on_expiry"] == "release"
        known["expired"] = True
        for name, part in known["parts"].items():
            if left := self.left(part):
                self.move(known, name, left, "released" if forward or name in ready else "returned", forced=True)
        return "done"

    def keep(self, code: str, what: str) -> str:
        """What is done to an account itself."""
        status = self.statuses[code]
        if status == "closed":
            return "account_closed"
        if what == "unfreeze" and status == "open":
            return "account_not_frozen"
        if what == "freeze" and status == "frozen":
            return "account_frozen"
        if what == "close" and self.balances[code]:
            return "account_not_empty"
        self.statuses[code] = {"freeze": "frozen", "unfreeze": "open", "close": "closed"}[what]
        return "done"


KEEPING: dict[str, type[FreezeAccount] | type[UnfreezeAccount] | type[CloseAccount]] = {
    "freeze": FreezeAccount,
    "unfreeze": UnfreezeAccount,
    "close": CloseAccount,
}


class Escrows(RuleBasedStateMachine):
    """Two desks take turns; after every step all that is stored is derived anew."""

    def __init__(self) -> None:
        super().__init__()
        self.model = Model()
        self.store = MemoryEventStore(lambda: NOW + timedelta(hours=self.model.hour))
        self.reports: Reports = []
        self.desks = [desk(self.store, self.reports), desk(self.store, self.reports)]
        self.turns = count()
        self.first: list[tuple[Command, str, str, Outcome]] = []

    @initialize(deal=deals())
    def begin(self, deal: dict[str, Any]) -> None:
        """A buyer with money and no overdraft, a seller with a ceiling, somebody else; and a deal to go on with."""
        opening: list[Command] = [
            open_book(),
            open_account("bank", "asset"),
            open_account("buyer", "liability", overdraft_limit=0),
            open_account("seller", "liability", ceiling=CEILING),
            open_account("other", "liability", overdraft_limit=0),
            transfer("bank", "buyer", 200),
        ]
        for each in opening:
            assert said(self.desks[0]._answer_all([asked(each)])[0]) == "done"
        self.fund({**deal, "depositor": "buyer", "beneficiary": "seller"}, "ann")

    def ask(self, command: Command, actor: str, key: str | None = None) -> tuple[str, UUID]:
        key = key or f"key-{next(self.turns)}"
        # The desk's own thread would do just this.
        [answer] = self.desks[next(self.turns) % 2]._answer_all([asked(command, key, actor=actor)])
        assert isinstance(answer, Outcome), (command, answer)
        self.first.append((command, actor, key, answer))
        return said(answer), ids.command_id(command.scope, command.kind, key)

    def known(self, nth: int) -> tuple[dict[str, Any] | None, UUID]:
        """The latest first; one that is not there."""
        found = self.model.escrows[-1 - nth] if nth < len(self.model.escrows) else None
        return found, UUID(int=5) if found is None else found["id"]

    @precondition(lambda self: len(self.model.escrows) < ESCROWS_MAX)
    @rule(deal=deals(), maker=people)
    def fund(self, deal: dict[str, Any], maker: str) -> None:
        terms = {name: value for name, value in deal.items() if name != "hours"}
        at = NOW + timedelta(hours=self.model.hour + deal["hours"])
        word, name = self.ask(
            FundEscrow.model_validate({"book": "main", "currency": "EUR", "expires_at": at, **terms}), maker
        )
        assert word == self.model.fund(deal, maker, name)

    @rule(nth=nth, condition=st.sampled_from([*CONDITIONS, "paid"]), who=people)
    def meet(self, nth: int, condition: str, who: str) -> None:
        known, name = self.known(nth)
        word, _ = self.ask(MeetCondition(escrow_id=name, condition=condition, attester=who), who)
        assert word == self.model.meet(known, condition, who)

    @rule(nth=nth, part=parts, who=people)
    def approve(self, nth: int, part: str, who: str) -> None:
        known, name = self.known(nth)
        word, _ = self.ask(ApproveRelease(escrow_id=name, part=part, approver=who), who)
        assert word == self.model.approve(known, part, who)

    @rule(nth=nth, part=st.none() | parts, amount=st.none() | amounts)
    def release(self, nth: int, part: str | None, amount: int | None) -> None:
        known, name = self.known(nth)
        amount = None if part is None else amount
        word, _ = self.ask(ReleaseEscrow(escrow_id=name, part=part, amount=amount), "ann")
        assert word == self.model.release(known, part, amount)

    @rule(nth=nth, part=st.none() | parts, amount=st.none() | amounts, who=people)
    def give_back(self, nth: int, part: str | None, amount: int | None, who: str) -> None:
        known, name = self.known(nth)
        amount = None if part is None else amount
        word, _ = self.ask(ReturnEscrow(escrow_id=name, part=part, amount=amount, approver=who), who)
        assert word == self.model.agree(known, part, amount, who)

    @rule(nth=nth)
    def expire(self, nth: int) -> None:
        known, name = self.known(nth)
        word, _ = self.ask(ExpireEscrow(escrow_id=name), "daybook")
        assert word == self.model.expire(known)

    @rule(hours=st.integers(1, 3))
    def wait(self, hours: int) -> None:
        self.model.hour += hours

    @rule(code=st.sampled_from(ACCOUNTS), what=st.sampled_from(["freeze", "unfreeze", "unfreeze", "close"]))
    def keep(self, code: str, what: str) -> None:
        word, _ = self.ask(KEEPING[what](account_id=ids.account_id(BOOK, code)), "ann")
        assert word == self.model.keep(code, what)

    @rule(nth=st.integers(0, 30))
    def again(self, nth: int) -> None:
        """Asked under the same key again, the answer is the first one, and nothing happens."""
        command, actor, key, first = self.first[nth % len(self.first)]
        [answer] = self.desks[next(self.turns) % 2]._answer_all([asked(command, key, actor=actor)])
        assert isinstance(answer, Outcome)
        assert answer.replayed and said(answer) == f"{said(first).removesuffix(' again')} again"
        if first.escrow is not None:
            assert answer.escrow == first.escrow

    @invariant()
    def everything_holds(self) -> None:
        """The books check; each escrow is as the model has it; where the money is, the model says too."""
        assert self.reports == []
        totals = books_of(self.store).check()
        streams: dict[UUID, list[Any]] = {}
        for raw in self.store.events:
            streams.setdefault(raw.stream_id, []).append(recorded(raw))
        for known in self.model.escrows:
            found = rules.fold(known["id"], streams[known["id"]])
            assert found is not None
            assert found.status == self.model.status(known)
            assert 0 <= found.released + found.returned <= found.funded.amount
            assert (found.held == 0) == (found.status not in rules.OPEN)
            for name, part in known["parts"].items():
                ours = found.parts[name]
                assert (ours.released, ours.returned, [*ours.approved]) == (*self.model.of(part)[:2], part["approved"])
            assert {who: (one.part, one.amount) for who, one in found.returns.items()} == known["returns"]
        for code, amount in self.model.balances.items():
            name = f"{code}:EUR" if code in ("escrow", "suspense") else code
            debits, credits = totals.get(ids.account_id(BOOK, name), (0, 0))
            assert credits - debits == amount, code

    @invariant()
    def what_is_set_apart_is_there(self) -> None:
        """At every position at which no movement waits for its entry: by the stored bytes alone."""
        account, held, booked = ids.account_id(BOOK, "escrow:EUR").hex, Counter[str](), 0
        due = ""
        for raw, shape in shapes(self.store):
            verb = raw.name.removesuffix(".v1")
            if verb == "escrow.funded":
                held[raw.stream_id.hex] += shape["amount"]
            elif verb in ("escrow.released", "escrow.returned"):
                held[raw.stream_id.hex] -= shape["amount"]
            assert due in ("", raw.stream_id.hex), "the entry is what comes next"
            due = shape["entry_id"] if raw.name.startswith("escrow.") and "entry_id" in shape else ""
            for line in shape["postings"] if verb == "journal_entry.posted" else []:
                if line["account_id"] == account:
                    booked += line["amount"] if line["side"] == "credit" else -line["amount"]
            if not due:
                assert booked == sum(held.values()), raw.position
            assert min(held.values(), default=0) >= 0
        assert due == ""

    def teardown(self) -> None:
        """In the end everything ends, whatever the accounts are like, and nothing stays; and all of it verifies."""
        self.model.hour += 100
        for known in self.model.escrows:
            word, _ = self.ask(ExpireEscrow(escrow_id=known["id"]), "daybook")
            assert word == self.model.expire(known)
        assert self.model.balances["escrow"] == 0
        self.everything_holds()
        assert verify(MemoryStored(self.store)).findings == ()


def shapes(store: MemoryEventStore) -> Iterator[tuple[Any, dict[str, Any]]]:
    for raw in store.events:
        yield raw, json.loads(raw.payload)


TestEscrows = Escrows.TestCase
TestEscrows.settings = settings(max_examples=settings().max_examples // 2)
