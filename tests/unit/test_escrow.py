"""Escrows: what may be set apart, when which part is released or returned, by whose word, and that nothing stays."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from msgspec.structs import replace
from pydantic import ValidationError

from commands.escrow import FundEscrow, ReleaseEscrow, ReturnEscrow
from domain import account as account_rules
from domain import escrow as rules
from domain import hold as hold_rules
from domain import ids, journal
from domain.account import Status, balance
from domain.errors import AccountHoldsEscrows, Refusal
from domain.escrow import Books, Escrow
from domain.events import (
    AccountOpened,
    EntryPosted,
    EscrowCondition,
    EscrowEvent,
    EscrowFunded,
    EscrowPart,
    EscrowTerms,
    Event,
)
from domain.posting import ZERO
from tests.support import BOOK, NOW, Scene, given, lines

ESCROW = UUID(int=7)
LATER = NOW + timedelta(hours=1)

MARKET = """
    buyer  | liability |   0 | 100 | overdraft_limit=0
    seller | liability |   0 |   0 |
    small  | liability |   0 |   0 | ceiling=30
    dollar | liability |   0 |  50 | USD
    iced   | liability |   0 |   0 | frozen
    gone   | liability |   0 |   0 | closed
"""
GOODS = EscrowPart("goods", 70, EscrowTerms(conditions=("delivered", "intact")))
WORK = EscrowPart("work", 30, EscrowTerms(conditions=("delivered",), approvals=2, approvers=("bob", "eve", "ann")))
BY = (EscrowCondition("delivered", ("courier", "ann")), EscrowCondition("intact"))


class Deal:
    """An escrow and the accounts that it touches, step by step; `ann` funds it. Each step is told by what it left."""

    def __init__(self, scene: str = MARKET, *, beneficiary: str = "seller", **said: Any) -> None:
        known = given(scene)
        self.accounts, self.totals = dict(known.accounts), dict(known.totals)
        self.now = NOW
        self.escrow: Escrow | None = None
        self.entries: list[EntryPosted] = []
        fields: dict[str, Any] = {
            "amount": 100,
            "currency": "EUR",
            "expires_at": LATER,
            "on_expiry": "return",
            "conditions": BY,
            "parts": (GOODS, WORK),
            "return_terms": None,
            "depositor": "buyer",
            **said,
        }
        ends: dict[str, Any] = {
            "depositor_id": account_id(fields.pop("depositor")),
            "beneficiary_id": account_id(beneficiary),
        }
        words: dict[str, Any] = {
            "book_id": BOOK,
            "escrow_id": ESCROW,
            "description": "A deal",
            "reference": "r",
            "metadata": {},
        }
        self._take(rules.fund(self.books, **ends, **words, **fields))

    @property
    def books(self) -> Books:
        return Books(self.accounts, self.totals, self.now)

    @property
    def known(self) -> Escrow:
        assert self.escrow is not None
        return self.escrow

    def do(self, step: str, **said: Any) -> str:
        """The step's name in the rules; the names of the escrow's events it made, or the refusal's code."""
        unsaid: dict[str, dict[str, Any]] = {
            "meet": {"evidence": ""},
            "release": {"part": None, "amount": None},
            "agree_to_return": {"part": None, "amount": None, "reason": ""},
        }
        try:
            return self._take(getattr(rules, step)(self.known, self.books, **{**unsaid.get(step, {}), **said}))
        except Refusal as refusal:
            return refusal.code

    def meet(self, condition: str, attester: str) -> str:
        return self.do("meet", condition=condition, attester=attester)

    def approve(self, part: str, approver: str) -> str:
        return self.do("approve", part=part, approver=approver)

    def agree(self, approver: str, part: str | None = None, amount: int | None = None) -> str:
        return self.do("agree_to_return", approver=approver, part=part, amount=amount)

    def expire(self) -> str:
        self.now = LATER
        return self.do("expire")

    def set(self, code: str, status: Status) -> None:
        self.accounts[account_id(code)] = replace(self.accounts[account_id(code)], status=status)

    def _take(self, events: list[rules.Streamed]) -> str:
        """Every movement has its entry right after it."""
        told, due = [], None
        for stream, version, event in events:
            assert due is None or stream == due
            due = None
            if isinstance(event, AccountOpened):
                self.accounts[stream] = account_rules.opened(stream, event)
                self.totals[stream] = ZERO
            elif isinstance(event, EntryPosted):
                self.entries.append(event)
                for line in event.postings:
                    self.totals[line.account_id] = self.totals[line.account_id].after(line.side, line.amount)
            else:
                assert isinstance(event, EscrowEvent)
                self._evolve(event, version)
                told.append(event.name.split(".")[1])
                due = getattr(event, "entry_id", None)
        assert due is None
        return ", ".join(told)

    def _evolve(self, event: Event, version: int) -> None:
        if isinstance(event, EscrowFunded):
            self.escrow = rules.created(ESCROW, event, "ann")
        else:
            assert isinstance(event, EscrowEvent)
            self.escrow = rules.evolve(self.known, event)
        assert self.known.version == version

    @property
    def balances(self) -> dict[str, int]:
        """By code, of those that moved; of what is set apart it is always what the escrow has left."""
        found = {a.code: balance(a.type, self.totals[a.id]).posted for a in self.accounts.values()}
        assert found["escrow:EUR"] == self.known.held
        was = given(MARKET).balances()
        return {code: amount for code, amount in found.items() if amount != was.get(code, 0)}


def account_id(code: str) -> UUID:
    return ids.account_id(BOOK, code)


def test_money_is_set_apart() -> None:
    """
    The depositor's account gives it, an account of Daybook's own has it.
    """
    deal = Deal()

    assert deal.balances == {"buyer": 0, "escrow:EUR": 100}
    assert (deal.known.status, deal.known.held, deal.known.maker) == ("funded", 100, "ann")
    assert deal.accounts[account_id("escrow:EUR")].type == "liability"
    assert deal.entries[0].description == f"A deal: escrow funded ({ids.show(ids.ESCROW, ESCROW)})"


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ({"beneficiary": "buyer"}, "escrow_to_same_account"),
        ({"expires_at": NOW}, "escrow_expires_in_past"),
        ({"depositor": "nobody"}, "account_not_found"),
        ({"beneficiary": "nobody"}, "account_not_found"),
        ({"beneficiary": "escrow:EUR"}, "account_code_reserved"),
        ({"depositor": "suspense:EUR"}, "account_code_reserved"),
        ({"depositor": "dollar"}, "currency_mismatch"),
        ({"beneficiary": "dollar"}, "currency_mismatch"),
        ({"depositor": "iced"}, "account_frozen"),
        ({"beneficiary": "iced"}, "account_frozen"),
        ({"depositor": "gone"}, "account_closed"),
        ({"beneficiary": "gone"}, "account_closed"),
        ({"amount": 101, "parts": (replace(GOODS, amount=71), WORK)}, "insufficient_funds"),
    ],
)
def test_what_cannot_be_set_apart_is_refused(said: dict[str, Any], code: str) -> None:
    """
    As a transfer would be; and neither end is one of Daybook's own accounts.
    """
    scene = f"{MARKET.strip()}\n escrow:EUR | liability | 0 | 0 |\n suspense:EUR | liability | 0 | 0 |"

    with pytest.raises(Refusal) as refused:
        Deal(scene, **said)

    assert refused.value.code == code


def test_a_part_is_released_with_what_it_waited_for_last() -> None:
    """
    Conditions and approvals come in any order; the one that completes a part releases it in the same step.
    """
    deal = Deal()

    assert deal.approve("work", "bob") == "release_approved"
    assert deal.meet("delivered", "courier") == "condition_met"
    assert deal.balances == {"buyer": 0, "escrow:EUR": 100}
    assert deal.meet("intact", "eve") == "condition_met, released"
    assert deal.balances == {"buyer": 0, "escrow:EUR": 30, "seller": 70}
    assert deal.known.status == "partially_released"
    assert deal.approve("work", "eve") == "release_approved, released"
    assert deal.balances == {"buyer": 0, "seller": 100}
    assert (deal.known.status, deal.known.released) == ("released", 100)


def test_one_condition_may_complete_several_parts() -> None:
    """
    Each is released by itself, with an entry of its own.
    """
    parts = tuple(EscrowPart(name, 20, EscrowTerms(("delivered",))) for name in ("one", "two", "three"))
    deal = Deal(parts=parts, amount=60, conditions=BY[:1], beneficiary="small")

    assert deal.meet("delivered", "courier") == "condition_met, released, release_refused, release_refused"
    assert deal.balances == {"buyer": 40, "small": 20, "escrow:EUR": 40}
    assert [part.blocked for part in deal.known.parts.values()] == ["", "ceiling_exceeded", "ceiling_exceeded"]


@pytest.mark.parametrize(
    ("condition", "attester", "code"),
    [
        ("delivered", "courier", "condition_met"),
        ("delivered", "ann", "condition_met"),  # Named, so even who funded it.
        ("delivered", "bob", "escrow_attester_unfit"),
        ("intact", "anybody", "condition_met"),
        ("intact", "ann", "escrow_attester_unfit"),
        ("paid", "courier", "escrow_condition_not_found"),
    ],
)
def test_a_condition_is_met_by_the_word_of_whom_it_names(condition: str, attester: str, code: str) -> None:
    """
    Where it names nobody, by anybody's but of who funded the escrow.
    """
    assert Deal().meet(condition, attester) == code


@pytest.mark.parametrize(
    ("part", "approver", "code"),
    [
        ("work", "bob", "release_approved"),
        ("work", "ann", "escrow_approver_is_maker"),  # Named, and even so.
        ("work", "courier", "escrow_approver_unfit"),
        ("goods", "bob", "escrow_approver_unfit"),
        ("paint", "bob", "escrow_part_not_found"),
    ],
)
def test_a_release_is_approved_by_approvers_alone(part: str, approver: str, code: str) -> None:
    """
    Who funded the escrow approves nothing.
    """
    assert Deal().approve(part, approver) == code


def test_nothing_is_said_twice() -> None:
    """
    A condition is met once, and an approver approves once.
    """
    deal = Deal()
    deal.meet("delivered", "courier")
    deal.approve("work", "bob")

    assert deal.meet("delivered", "courier") == "escrow_condition_met"
    assert deal.approve("work", "bob") == "escrow_approved_before"
    deal.approve("work", "eve")
    assert deal.approve("work", "eve") == "escrow_part_ended"


def test_what_the_beneficiary_cannot_take_stays_ready() -> None:
    """
    The word that completed it stands, why it was not released is told, and it is released later, in parts if need be.
    """
    deal = Deal()
    deal.meet("delivered", "courier")
    deal.set("seller", Status.FROZEN)

    assert deal.meet("intact", "eve") == "condition_met, release_refused"
    assert deal.known.parts["goods"].blocked == "account_frozen"
    assert deal.known.status_of(deal.known.parts["goods"]) == "ready"
    assert deal.do("release") == "account_frozen"
    deal.set("seller", Status.OPEN)
    assert deal.approve("work", "bob") == "release_approved"
    assert deal.do("release", part="goods", amount=71) == "escrow_amount_exceeded"
    assert deal.do("release", part="goods", amount=20) == "released"
    assert deal.balances == {"buyer": 0, "seller": 20, "escrow:EUR": 80}
    assert deal.do("release") == "released"
    assert deal.balances == {"buyer": 0, "seller": 70, "escrow:EUR": 30}
    assert deal.do("release") == "escrow_not_ready"
    assert deal.do("release", part="goods") == "escrow_part_ended"


def test_what_waits_is_not_released() -> None:
    """
    Not by asking for it.
    """
    deal = Deal()

    assert deal.do("release") == deal.do("release", part="work") == "escrow_not_ready"
    assert deal.do("release", part="paint") == "escrow_part_not_found"


def test_as_many_return_a_part_as_release_it() -> None:
    """
    By its own approvers, who have to agree to the same.
    """
    deal = Deal()

    assert deal.agree("bob", "work", 10) == "return_approved"
    assert deal.agree("eve", "work", 12) == "return_approved"
    assert deal.agree("bob", "work", 12) == "return_approved, returned"
    assert deal.balances == {"buyer": 12, "escrow:EUR": 88}
    assert deal.known.returns == {}
    assert deal.agree("eve", "work") == "return_approved"
    assert deal.agree("eve", "work") == "escrow_approved_before"
    assert deal.agree("bob", "work") == "return_approved, returned"
    assert deal.balances == {"buyer": 30, "escrow:EUR": 70}
    assert deal.agree("bob", "work") == "escrow_part_ended"
    assert deal.agree("bob", "goods") == "escrow_approver_unfit"


def test_all_of_it_goes_back_if_that_is_agreed_of_every_part() -> None:
    """
    Where a part has no approvers, its return is nobody's to agree to, and its time is waited for.
    """
    deal = Deal()
    assert [deal.agree(name) for name in ("bob", "eve")] == ["return_approved", "return_approved"]
    assert deal.known.held == 100

    other = Deal(parts=(replace(GOODS, release=EscrowTerms((), 1, ("dan",))), WORK), conditions=BY[:1])
    assert [other.agree(name) for name in ("bob", "eve")] == ["return_approved", "return_approved"]
    assert other.agree("dan") == "return_approved, returned, returned"
    assert other.balances == {}
    assert other.known.status == "returned"


def test_terms_of_their_own_are_the_only_ones_for_returns() -> None:
    """
    As when the beneficiary's side alone can give up; who funded it does not agree to that either.
    """
    terms = EscrowTerms(approvals=1, approvers=("seller", "ann"))
    deal = Deal(return_terms=terms)

    assert deal.agree("bob", "work") == "escrow_approver_unfit"
    assert deal.agree("ann") == "escrow_approver_is_maker"
    assert deal.agree("seller", "goods", 71) == "escrow_amount_exceeded"
    deal.meet("delivered", "courier")
    deal.meet("intact", "eve")
    assert deal.agree("seller") == "return_approved, returned"
    assert deal.balances == {"buyer": 30, "seller": 70}
    assert deal.known.status == "divided"


def test_a_return_that_the_depositor_cannot_take_is_refused() -> None:
    """
    And so is not agreed to: the money stays until the account can take it, or until its time comes.
    """
    deal = Deal(return_terms=EscrowTerms(approvals=1, approvers=("seller",)))
    deal.set("buyer", Status.FROZEN)

    assert deal.agree("seller") == "account_frozen"
    assert deal.known.returns == {}
    deal.set("buyer", Status.OPEN)
    assert deal.agree("seller") == "return_approved, returned, returned"


@pytest.mark.parametrize(
    ("on_expiry", "ready", "after"),
    [
        ("return", False, {}),
        ("release", False, {"buyer": 0, "seller": 100}),
        ("return", True, {"buyer": 30, "seller": 70}),
        ("release", True, {"buyer": 0, "seller": 100}),
    ],
)
def test_when_its_time_has_come_all_goes_where_it_was_agreed(
    on_expiry: str, ready: bool, after: dict[str, int]
) -> None:
    """
    What is ready by then is the beneficiary's, whatever was agreed of the rest.
    """
    deal = Deal(on_expiry=on_expiry)
    if ready:
        deal.set("seller", Status.FROZEN)
        deal.meet("delivered", "courier")
        deal.meet("intact", "eve")
        deal.set("seller", Status.OPEN)

    assert deal.expire().startswith("expired, ")
    assert deal.balances == after
    assert (deal.known.status, deal.known.held) == ("expired", 0)


@pytest.mark.parametrize("status", [Status.FROZEN, Status.CLOSED])
@pytest.mark.parametrize(("on_expiry", "account"), [("return", "buyer"), ("release", "seller")])
def test_nothing_stays_where_no_account_can_take_it(on_expiry: str, account: str, status: Status) -> None:
    """
    It is booked on suspense, where somebody sees to it.
    """
    deal = Deal(on_expiry=on_expiry)
    deal.set(account, status)

    told = deal.expire()

    word = "returned" if on_expiry == "return" else "released"
    assert told == f"expired, {word}, {word}"
    assert deal.balances == {"buyer": 0, "suspense:EUR": 100}


def test_it_is_not_over_before_its_time_and_is_nothing_after_it() -> None:
    """
    Once its time has come it waits for its end alone.
    """
    deal = Deal(return_terms=EscrowTerms(approvals=1, approvers=("seller",)))
    assert deal.do("expire") == "escrow_not_due"
    deal.now = LATER

    steps = [
        deal.meet("delivered", "courier"),
        deal.approve("work", "bob"),
        deal.do("release"),
        deal.agree("seller"),
    ]

    assert steps == ["escrow_expired"] * 4
    assert deal.expire() == "expired, returned, returned"
    assert {deal.meet("intact", "eve"), deal.do("release"), deal.agree("seller"), deal.expire()} == {"escrow_ended"}


def test_what_is_set_apart_moves_with_its_escrow_alone() -> None:
    """
    It is neither posted to by hand nor held, and the entry that funded it is not reversed.
    """
    deal = Deal()
    scene = Scene(deal.accounts, deal.totals)
    words: dict[str, Any] = {"value_date": NOW.date(), "description": "", "metadata": {}, "now": NOW}

    with pytest.raises(AccountHoldsEscrows):
        by_hand = lines("escrow:EUR | 1 |\nseller | | 1")
        journal.post(scene.accounts, scene.totals, book_id=BOOK, postings=by_hand, reference="", **words)
    with pytest.raises(AccountHoldsEscrows):
        funding = journal.Entry(UUID(int=8), 1, deal.entries[0], None)
        journal.reverse(funding, scene.accounts, scene.totals, reversal_id=UUID(int=9), **words)
    with pytest.raises(AccountHoldsEscrows):
        hold_rules.place(
            scene.accounts,
            scene.totals,
            book_id=BOOK,
            account_id=account_id("escrow:EUR"),
            destination_id=account_id("seller"),
            amount=1,
            currency="EUR",
            expires_at=None,
            now=NOW,
            description="",
            reference="",
            metadata={},
        )


ASKED: dict[str, Any] = {
    "book": "main",
    "depositor": "buyer",
    "beneficiary": "seller",
    "amount": 100,
    "currency": "EUR",
    "expires_at": "2026-02-01T00:00:00Z",
    "conditions": [{"name": "delivered"}],
    "parts": [{"name": "all", "amount": 100, "release": {"conditions": ["delivered"]}}],
}


def part(name: str = "all", amount: int = 100, **release: Any) -> dict[str, Any]:
    return {"name": name, "amount": amount, "release": release or {"conditions": ["delivered"]}}


@pytest.mark.parametrize(
    "said",
    [
        {"amount": 99},
        {"parts": []},
        {"parts": [part(amount=50), part(amount=50)]},
        {"parts": [part(amount=0), part("more")]},
        {"parts": [{"name": "all", "amount": 100, "release": {}}]},
        {"parts": [part(conditions=["delivered", "delivered"])]},
        {"parts": [part(conditions=["delivered", "paid"])]},
        {"parts": [part(approvals=1, approvers=["bob"])]},
        {"parts": [part(conditions=["delivered"], approvals=2, approvers=["bob"])]},
        {"parts": [part(conditions=["delivered"], approvals=1)]},
        {"parts": [part(conditions=["delivered"], approvers=["bob"])]},
        {"parts": [part(conditions=["delivered"], approvals=2, approvers=["bob", "bob"])]},
        {"conditions": []},
        {"conditions": [{"name": "delivered"}, {"name": "delivered", "by": ["eve"]}]},
        {"conditions": [{"name": "delivered"}, {"name": "never asked"}]},
        {"conditions": [{"name": "delivered", "by": ["a\nb"]}]},
        {"conditions": [{"name": ""}]},
        {"return_terms": {"approvals": 0, "approvers": []}},
        {"return_terms": {"approvals": 2, "approvers": ["bob"]}},
        {"expires_at": None},
        {"on_expiry": "keep"},
    ],
)
def test_terms_that_contradict_themselves_are_no_command(said: dict[str, Any]) -> None:
    """
    Parts come to the amount, wait for something, and for nothing that cannot come.
    """
    FundEscrow.model_validate(ASKED)

    with pytest.raises(ValidationError):
        FundEscrow.model_validate({**ASKED, **said})


@pytest.mark.parametrize("kind", [ReleaseEscrow, ReturnEscrow])
def test_an_amount_is_of_a_part(kind: type[ReleaseEscrow] | type[ReturnEscrow]) -> None:
    """
    Of several parts nobody could tell whose it is.
    """
    asked: dict[str, Any] = {"escrow_id": ESCROW, "amount": 1}
    if kind is ReturnEscrow:
        asked["approver"] = "bob"

    with pytest.raises(ValidationError):
        kind.model_validate(asked)
    kind.model_validate({**asked, "part": "all"})
