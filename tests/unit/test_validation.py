"""Validation: what a policy asks for, what each validator says of a payment, and what a rule makes of their votes."""

import asyncio
from typing import Any
from uuid import UUID

import msgspec
import pytest
from pydantic import ValidationError

from adapters.memory.store import MemoryEventStore
from adapters.validators import PLACEHOLDERS, Placeholder, Validators
from commands.command import Command
from commands.desk import Outcome
from commands.payment import (
    ApprovePayment,
    AttachMethod,
    ConfirmPayment,
    CreatePayment,
    RetryPayment,
    StartAttempt,
    UpiAsked,
    ValidateIntent,
    ValidatePayment,
    VoteHeard,
)
from commands.policy import SetPaymentPolicy
from domain import errors, payment
from domain.events import CommandRefused, PaymentFailed, PaymentValidated, recorded
from domain.payment import Payment, Status
from domain.policy import VALIDATORS, Limit, Policy, Rule, Tier, limits_of, tier_of
from domain.upi import LAKH
from domain.validation import Subject, Verdict, Vote, evaluate, unheard
from tests import payment_words as words
from tests.stored import ids_of
from tests.support import NOW, Reports, asked, books_of, close, desk, freeze, open_account, open_book, said, transfer

ALLOW, DENY, ABSTAIN = Verdict.ALLOW, Verdict.DENY, Verdict.ABSTAIN


def cast(**otherwise: Verdict) -> list[Vote]:
    """Everybody allows, but for those."""
    return [Vote(validator=name, verdict=otherwise.get(name, ALLOW), reason="why") for name in VALIDATORS]


# What a rule makes of votes.


@pytest.mark.parametrize(
    ("rule", "votes", "passed", "why"),
    [
        (Rule(), cast(), True, "all allow"),
        (Rule(), cast(risk=DENY), False, "risk denies: why"),
        (Rule(), cast(mandate=ABSTAIN), False, "mandate was not heard"),
        (Rule(), cast()[:-1], False, "sanctions was not heard"),
        (Rule(mode="at_least", count=4), cast(risk=DENY, sanctions=DENY), True, "4 allow, at least 4 must"),
        (Rule(mode="at_least", count=5), cast(risk=DENY, sanctions=DENY), False, "4 allow, at least 5 must"),
        (Rule(mode="at_least", count=1), cast(funds=DENY), False, "funds denies: why"),
        (Rule(mode="at_least", count=1), cast(approval=ABSTAIN), False, "approval was not heard"),
        (Rule(mode="at_least", count=1, required=("limits",)), cast(limits=DENY), False, "limits denies: why"),
        (Rule(mode="weighted", weights={"risk": 2, "limits": 1}, threshold=2), cast(limits=DENY), True, None),
        (Rule(mode="weighted", weights={"risk": 2, "limits": 1}, threshold=2), cast(risk=DENY), False, None),
        (
            Rule(mode="weighted", weights={"risk": 2}, threshold=2, required=("mandate",)),
            cast(mandate=DENY),
            False,
            None,
        ),
    ],
)
def test_a_rule_decides(rule: Rule, votes: list[Vote], passed: bool, why: str | None) -> None:
    """
    All, so many, or so much weight; and in any mode a veto stands, as do funds and approvals.
    """
    result = evaluate(rule, votes)

    assert result.passed is passed
    assert why is None or result.why == why


@pytest.mark.parametrize(
    ("rule", "votes", "silent"),
    [
        (Rule(), cast(risk=ABSTAIN, sanctions=ABSTAIN), ["risk", "sanctions"]),
        (Rule(), cast(risk=ABSTAIN, limits=DENY), []),
        (Rule(mode="at_least", count=5), cast(risk=ABSTAIN), []),
        (Rule(mode="at_least", count=5, required=("risk",)), cast(risk=ABSTAIN), ["risk"]),
        (Rule(), cast(), []),
    ],
)
def test_who_is_waited_for(rule: Rule, votes: list[Vote], silent: list[str]) -> None:
    """
    Whoever was not heard matters only if the answer hangs on that: not where others deny, nor where others suffice.
    """
    assert unheard(rule, votes) == silent


# What a policy asks for.


def test_the_highest_tier_counts() -> None:
    """
    Above its amount, not at it; of its currency and direction; of two as high the one for that direction.
    """
    tiers = (
        Tier(currency="EUR", above=100, approvals=1),
        Tier(currency="EUR", above=500, approvals=2, approvers=("ann", "bob")),
        Tier(currency="EUR", above=500, approvals=3, direction="out"),
        Tier(currency="USD", above=0, approvals=9),
    )

    def needed(amount: int, direction: str = "in", currency: str = "EUR") -> int:
        tier = tier_of(Policy(approvals=tiers), direction=direction, amount=amount, currency=currency)
        return 0 if tier is None else tier.approvals

    assert [needed(amount) for amount in (100, 101, 500, 501)] == [0, 1, 1, 2]
    assert [needed(501, "out"), needed(1, currency="USD"), needed(10**9, currency="INR")] == [3, 9, 0]


def test_every_limit_that_fits_counts() -> None:
    """
    One of any direction and method holds beside one of this.
    """
    every = Limit(currency="EUR", amount_max=9)
    wires = Limit(currency="EUR", direction="out", method="iban", amount_min=5)
    policy = Policy(limits=(every, wires, Limit(currency="USD", amount_max=1)))

    assert limits_of(policy, direction="out", currency="EUR", method="iban") == [every, wires]
    assert limits_of(policy, direction="in", currency="EUR", method="iban") == [every]


@pytest.mark.parametrize(
    "said_of",
    [
        {"rule": {"mode": "all", "required": ["horoscope"]}},
        {"rule": {"mode": "weighted", "weights": {"horoscope": 3}, "threshold": 1}},
        {"rule": {"mode": "weighted", "weights": {"risk": 3}, "threshold": 4}},
        {"rule": {"mode": "weighted", "weights": {"risk": -1, "funds": 3}, "threshold": 1}},
        {"rule": {"mode": "at_least", "count": 7}},
        {"rule": {"mode": "at_least", "count": 0}},
        {"rule": {"mode": "most"}},
        {"rule": {"mode": "all", "count": 3}},
        {"approvals": [{"currency": "EUR", "above": 0, "approvals": 2, "approvers": ["ann"]}]},
        {"approvals": [{"currency": "EUR", "above": 0, "approvals": 1, "approvers": ["ann", "ann"]}]},
        {
            "approvals": [
                {"currency": "EUR", "above": 5, "approvals": 1},
                {"currency": "EUR", "above": 5, "approvals": 2},
            ]
        },
        {"approvals": [{"currency": "EUR", "above": -1, "approvals": 1}]},
        {"limits": [{"currency": "EUR"}]},
        {"limits": [{"currency": "EUR", "amount_min": 6, "amount_max": 5}]},
        {"limits": [{"currency": "EUR", "amount_max": 5, "method": "pigeon"}]},
    ],
)
def test_a_policy_that_cannot_be_meant(said_of: dict[str, Any]) -> None:
    """
    Unknown validators, a rule that nothing passes, approvals that cannot be given, limits that allow nothing.
    """
    with pytest.raises(ValidationError):
        SetPaymentPolicy.model_validate({"book": "main", **said_of})


# On a payment.


class Counter:
    """A desk with a book and its accounts, and what is asked of it."""

    def __init__(self, **policy: Any) -> None:
        self.store = MemoryEventStore(lambda: NOW)
        self.reports: Reports = []
        self.desk = desk(self.store, self.reports)
        for each in (
            open_book(),
            open_account("bank", "equity"),
            open_account("shop", "liability", overdraft_limit=0),
            open_account("debt", "asset"),
        ):
            assert self.do(each) == "done"
        if policy:
            assert self.set(**policy) == "done"
        self.id: UUID

    def do(self, command: Command, actor: str = "tester", *, dry: bool = False) -> str:
        [answer] = self.desk._answer_all([msgspec.structs.replace(asked(command, actor=actor), dry=dry)])
        assert isinstance(answer, Outcome), (answer, self.reports)
        self.outcome = answer
        return said(answer)

    def set(self, **policy: Any) -> str:
        return self.do(SetPaymentPolicy.model_validate({"book": "main", **policy}))

    def create(self, amount: int = 100, rail: str = "card", actor: str = "tester", **said_of: Any) -> Payment:
        answered = self.do(words.create(amount=amount, rail=rail, **{"confirm": True, **said_of}), actor)
        assert answered == "done", self.outcome
        self.id = ids_of(self.outcome)
        return self.payment

    def approve(self, approver: str) -> str:
        return self.do(ApprovePayment(payment_id=self.id, approver=approver), approver)

    def start(self, *heard: VoteHeard) -> str:
        return self.do(StartAttempt(payment_id=self.id, route="first", votes=heard or words.HEARD), "daybook")

    @property
    def payment(self) -> Payment:
        events = [event for raw in self.store.events if (event := recorded(raw)).stream_id == self.id]
        found = payment.fold(self.id, events)
        assert found is not None
        return found

    @property
    def validated(self) -> list[PaymentValidated]:
        events = [recorded(raw).event for raw in self.store.events if raw.stream_id == self.id]
        return [event for event in events if isinstance(event, PaymentValidated)]

    def verdicts(self) -> dict[str, str]:
        [*_, last] = self.validated
        return {vote["validator"]: f"{vote['verdict']}: {vote['reason']}" for vote in last.votes}


OUT: dict[str, Any] = {"direction": "out", "rail": "wire"}
BY_QR = UpiAsked(type="upi", flow="qr")
TWO_OF_THREE = {"currency": "EUR", "above": 99, "approvals": 2, "approvers": ["ann", "bob", "cy"]}


def test_it_is_validated_and_begun_in_one_commit() -> None:
    """
    Every validator's vote is kept ahead of the attempt, by one command: there is no state between.
    """
    counter = Counter()
    counter.create()

    assert counter.start() == "done"

    names = [event.event.name for event in counter.outcome.recorded]
    assert names == ["payment.validated.v1", "payment.attempt_started.v1"]
    assert counter.verdicts() == {
        "approval": "allow: no_approval_needed",
        "funds": "allow: money_comes_in",
        "limits": "allow: no_limit",
        "mandate": "allow: no_mandate_needed",
        "risk": "allow: not_looked_at",
        "sanctions": "allow: not_looked_at",
    }
    assert counter.payment.is_validated
    books_of(counter.store).check()


def test_once_for_each_confirmation() -> None:
    """
    A second attempt needs no second validation; another method, confirmed anew, does.
    """
    counter = Counter()
    counter.create(rail="ach")
    counter.start()
    assert counter.do(words.says(counter.id, words.request_id(counter.id, 1), "later")) == "done"

    assert counter.start() == "done"
    assert len(counter.validated) == 1

    counter.do(words.says(counter.id, words.request_id(counter.id, 2), "never"))
    counter.do(AttachMethod(payment_id=counter.id, method=words.METHODS["card"]))
    counter.do(ConfirmPayment(payment_id=counter.id))
    assert not counter.payment.is_validated
    assert counter.start() == "done"
    assert len(counter.validated) == 2


def test_what_was_there_may_be_gone_by_the_next_attempt() -> None:
    """
    Funds that passed and went elsewhere since are no reason to stand still: there is no further attempt, until it is
    confirmed anew, and then denied.
    """
    counter = Counter()
    counter.do(transfer("bank", "shop", 100))
    counter.create(**OUT)
    counter.start()
    counter.do(words.says(counter.id, words.request_id(counter.id, 1), "later"))
    counter.do(transfer("shop", "bank", 1))

    assert counter.start() == "done"

    assert counter.outcome.recorded[0].event == PaymentFailed(reason="insufficient_funds")
    assert counter.payment.status is Status.REQUIRES_PAYMENT_METHOD
    counter.do(RetryPayment(payment_id=counter.id))
    counter.start()
    assert counter.verdicts()["funds"] == "deny: insufficient_funds"
    books_of(counter.store).check()


@pytest.mark.parametrize(
    ("policy", "said_of", "denied"),
    [
        ({}, {**OUT, "amount": 101}, "funds denies: insufficient_funds"),
        ({"rule": {"mode": "at_least", "count": 1}}, {**OUT, "amount": 101}, "funds denies: insufficient_funds"),
        ({"limits": [{"currency": "EUR", "amount_max": 99}]}, {}, "limits denies: above_amount_max"),
        ({"limits": [{"currency": "EUR", "amount_min": 101}]}, {}, "limits denies: below_amount_min"),
        ({"limits": [{"currency": "EUR", "method": "iban", "amount_max": 99}]}, OUT, "limits denies: above_amount_max"),
        ({"limits": [{"currency": "EUR", "method": "card", "amount_max": 99}]}, OUT, None),
        ({"limits": [{"currency": "EUR", "amount_max": 99}], "rule": {"mode": "at_least", "count": 5}}, {}, None),
        ({}, {**OUT, "amount": 100}, None),
        ({}, {**OUT, "account": "debt", "amount": 10_000}, None),
    ],
)
def test_what_is_denied(policy: dict[str, Any], said_of: dict[str, Any], denied: str | None) -> None:
    """
    What is denied is kept with its votes, sets nothing aside, asks no rail, and waits for another method.
    """
    counter = Counter(**policy)
    counter.do(transfer("bank", "shop", 100))
    counter.create(**said_of)

    assert counter.start() == "done"

    [event] = counter.validated
    assert (event.passed, event.why if denied else None) == (denied is None, denied)
    assert counter.payment.status is (Status.REQUIRES_PAYMENT_METHOD if denied else Status.PROCESSING)
    assert bool(counter.payment.requests) is (denied is None)
    books_of(counter.store).check()


@pytest.mark.parametrize(
    ("policy", "said_of", "told"),
    [
        (None, {"amount": LAKH}, "allow: within_limits"),
        (None, {"amount": LAKH + 1}, "deny: above_rail_limit"),
        (None, {"amount": LAKH + 1, "method": BY_QR}, "deny: above_rail_limit"),
        (None, {"amount": LAKH + 1, "direction": "out"}, "deny: above_rail_limit"),
        (None, {"amount": LAKH + 1, "rail": "card"}, "allow: no_limit"),
        (None, {"amount": LAKH + 1, "currency": "EUR", "account": "debt"}, "allow: no_limit"),
        (LAKH + 9, {"amount": LAKH + 9}, "deny: above_rail_limit"),
        (99, {"amount": 100}, "deny: above_amount_max"),
        (99, {"amount": LAKH + 1, "rail": "card"}, "deny: above_amount_max"),
    ],
)
def test_what_upi_allows_at_once(policy: int | None, said_of: dict[str, Any], told: str) -> None:
    """
    Rupees by UPI are paid up to the scheme's own limit, in either direction, whatever a policy allows beyond it; the
    numbers are in the vote, and no rail is asked for more.
    """
    limit = {"currency": "INR", "amount_max": policy}
    counter = Counter(limits=[limit] if policy else [])
    counter.do(open_account("rupees", "asset", currency="INR"))
    counter.create(**{"account": "rupees", "currency": "INR", "rail": "upi", **said_of})

    assert counter.start() == "done"

    assert counter.verdicts()["limits"] == told
    assert bool(counter.payment.requests) is told.startswith("allow")
    [vote] = [vote for vote in counter.validated[-1].votes if vote["validator"] == "limits"]
    numbers = {"amount": said_of["amount"], "amount_min": None, "amount_max": policy}
    if counter.payment.intent.currency == "INR" and said_of.get("rail") != "card":
        numbers["rail_limit"] = LAKH
    assert vote.get("details", {}) == ({} if told == "allow: no_limit" else numbers)
    books_of(counter.store).check()


@pytest.mark.parametrize(("word", "reason"), [(freeze, "account_frozen"), (close, "account_closed")])
def test_an_account_that_is_not_open_pays_nothing_out(word: Any, reason: str) -> None:
    """
    Funds that cannot be taken are not there.
    """
    counter = Counter()
    counter.create(**OUT)
    counter.do(word("shop"))

    assert counter.start() == "done"

    assert counter.verdicts()["funds"] == f"deny: {reason}"


def test_a_debit_of_a_bank_account_says_that_no_mandate_was_looked_at() -> None:
    """
    Until there are mandates, that vote is a placeholder, and says so.
    """
    counter = Counter()
    counter.create(rail="ach")
    counter.start()

    [event] = counter.validated
    said_so = {vote["validator"] for vote in event.votes if vote.get("placeholder")}
    assert said_so == {"mandate", "risk", "sanctions"}


def test_no_maker_approves() -> None:
    """
    Whoever created it, attached its present method or confirmed it is a maker; whoever attached an earlier one is not.
    """
    counter = Counter()
    counter.create(approvals=1, confirm=False, rail="card", actor="ann")
    for actor in ("bob", "cy"):
        counter.do(AttachMethod(payment_id=counter.id, method=words.METHODS["card"]), actor)
    counter.do(ConfirmPayment(payment_id=counter.id), "dan")

    answers = {who: counter.approve(who) for who in ("ann", "cy", "dan", "bob")}

    assert answers == {**dict.fromkeys(("ann", "cy", "dan"), "payment_approver_is_maker"), "bob": "done"}
    assert counter.payment.makers == {"ann", "cy", "dan"}
    books_of(counter.store).check()


def test_the_policy_names_who_approves() -> None:
    """
    Two of three must, whatever the client asked for; nobody else's yes counts, and none is taken.
    """
    counter = Counter(approvals=[TWO_OF_THREE])
    small = counter.create(99)
    assert (small.status, small.intent.approvals, small.intent.approvers) == (Status.PROCESSING, 0, ())

    counter.create(100, approvals=1, actor="ann")

    assert counter.payment.intent.approvals == 2
    answers = [counter.approve(who) for who in ("eve", "ann", "bob", "bob", "cy")]
    names = "payment_approver_not_named payment_approver_is_maker done payment_approval_not_wanted done"
    assert answers == names.split()
    assert counter.start() == "done"
    assert counter.verdicts()["approval"] == "allow: approved"
    books_of(counter.store).check()


def test_a_client_may_ask_for_more_but_not_for_more_than_there_are() -> None:
    """
    The larger number counts; what could never be approved is refused at once.
    """
    counter = Counter(approvals=[TWO_OF_THREE])

    assert counter.create(100, approvals=3).intent.approvals == 3
    assert counter.do(words.create(amount=100, approvals=4)) == "payment_approvers_too_few"


def test_a_policy_set_later_does_not_rewrite_what_a_payment_needs() -> None:
    """
    Approvals are those of when it was created; limits those of when it is validated.
    """
    counter = Counter(approvals=[TWO_OF_THREE])
    counter.create(100)
    counter.set(limits=[{"currency": "EUR", "amount_max": 50}])

    assert [counter.start(), counter.approve("ann"), counter.approve("bob")] == [
        "payment_status_forbids",
        "done",
        "done",
    ]
    assert counter.start() == "done"
    assert counter.validated[-1].why == "limits denies: above_amount_max"
    books_of(counter.store).check()


def test_a_policy_is_of_a_book_and_replaces_the_one_before() -> None:
    """
    Set under a key it is set once; of no book it is refused; set again, nothing of the one before is left.
    """
    counter = Counter(approvals=[TWO_OF_THREE])
    assert counter.do(SetPaymentPolicy(book="nowhere")) == "book_not_found"
    assert counter.set() == "done"

    assert counter.outcome.recorded[0].version == 3
    assert counter.create(100).intent.approvals == 0


# Whoever is not heard.


def silent(*names: str) -> tuple[VoteHeard, ...]:
    return tuple(
        VoteHeard(validator=one.validator, verdict="abstain", reason="unavailable") if one.validator in names else one
        for one in words.HEARD
    )


def test_silence_is_no_yes() -> None:
    """
    What depends on who was not heard is not decided: the payment rests as it was, and passes once it is heard.
    """
    counter = Counter()
    counter.create()

    assert counter.start(*silent("sanctions")) == "payment_undecided"

    assert isinstance(counter.outcome.recorded[0].event, CommandRefused)
    assert counter.payment.status is Status.PROCESSING
    assert not counter.payment.is_validated
    assert counter.start() == "done"


def test_a_rule_may_do_without() -> None:
    """
    Where others suffice, silence does not hold a payment up; where others deny, it does not keep it from being denied.
    """
    counter = Counter(rule={"mode": "at_least", "count": 5})
    counter.create()
    assert counter.start(*silent("risk")) == "done"
    assert counter.payment.requests

    denied = Counter(limits=[{"currency": "EUR", "amount_max": 1}])
    denied.create()
    assert denied.start(*silent("risk")) == "done"
    assert denied.payment.status is Status.REQUIRES_PAYMENT_METHOD


def test_only_they_say_what_they_say() -> None:
    """
    Nobody outside votes for those that decide here.
    """
    with pytest.raises(ValidationError):
        VoteHeard.model_validate({"validator": "funds", "verdict": "allow", "reason": "trust_me"})


class Mute(Placeholder, frozen=True):
    async def vote(self, subject: Subject) -> Vote:
        await asyncio.sleep(60)
        raise AssertionError


class Broken(Placeholder, frozen=True):
    async def vote(self, subject: Subject) -> Vote:
        raise OSError("the list is away")


class Impostor(Placeholder, frozen=True):
    async def vote(self, subject: Subject) -> Vote:
        return Vote(validator="sanctions", verdict=Verdict.DENY, reason="listed")


@pytest.mark.parametrize(
    ("kind", "verdict", "reason"),
    [
        (Placeholder, "allow", "not_looked_at"),
        (Mute, "abstain", "no_answer_in_time"),
        (Broken, "abstain", "unavailable"),
        (Impostor, "deny", "listed"),
    ],
)
def test_each_is_asked_by_itself(kind: type[Placeholder], verdict: str, reason: str) -> None:
    """
    One that fails or dawdles abstains, the others are heard, and each votes under its own name.
    """
    counted: list[tuple[str, str]] = []
    faults: list[str] = []
    validators = Validators(
        [kind("risk"), PLACEHOLDERS[1]],
        voted=lambda name, told: counted.append((name, told)),
        report=lambda event, error: faults.append(event),
        patience_s=0.05,
    )
    thought = CreatePayment.model_validate(words.create().model_dump())
    about = ValidateIntent.model_validate(thought.model_dump()).subject("ann", NOW)

    risk, sanctions = asyncio.run(validators.votes(about))

    assert (risk.validator, risk.verdict, risk.reason) == ("risk", verdict, reason)
    assert (sanctions.validator, sanctions.verdict) == ("sanctions", "allow")
    assert sorted(counted) == [("risk", verdict), ("sanctions", "allow")]
    assert faults == (["validating.failed"] if kind is Broken else [])


# Beforehand.


def test_a_dry_run_tells_the_same_beforehand() -> None:
    """
    Of a payment thought of, and of one that is there, the votes are those it then gets; nothing is kept of asking.
    """
    policy = {"approvals": [TWO_OF_THREE], "limits": [{"currency": "EUR", "amount_max": 1_000}]}
    counter = Counter(**policy)
    thought = {"book": "main", "account": "shop", "direction": "out", "amount": 90, "currency": "EUR"}
    wanted = {**thought, "method": words.METHODS["wire"]}
    before = len(counter.store.events)

    assert counter.do(ValidateIntent.model_validate({**wanted, "votes": words.HEARD}), dry=True) == "done"
    beforehand = counter.outcome.recorded[0].event
    assert len(counter.store.events) == before
    counter.create(90, **OUT)
    assert counter.do(ValidatePayment(payment_id=counter.id, votes=words.HEARD), dry=True) == "done"
    again = counter.outcome.recorded[0].event
    counter.start()

    assert [beforehand, again] == counter.validated * 2
    assert isinstance(beforehand, PaymentValidated) and not beforehand.passed


def test_a_dry_run_says_what_is_still_to_be_approved() -> None:
    """
    Before anybody has approved it, approval denies with who may; it refuses what cannot be validated at all.
    """
    counter = Counter(approvals=[TWO_OF_THREE])
    counter.create(100)
    look = ValidatePayment(payment_id=counter.id, votes=words.HEARD)

    counter.do(look, dry=True)

    event = counter.outcome.recorded[0].event
    assert isinstance(event, PaymentValidated)
    assert event.why == "approval denies: approvals_missing"
    assert event.votes[0]["details"] == {"required": 2, "given": [], "approvers": ["ann", "bob", "cy"]}
    counter.approve("ann")
    counter.approve("bob")
    counter.start()
    assert counter.do(look, dry=True) == errors.PaymentBusy.code
