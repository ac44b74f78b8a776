"""Verification of payments: a log sealed anew whose payments could not have been so."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from msgspec.structs import replace

from adapters.memory.store import MemoryEventStore
from commands.payment import StartAttempt
from domain import ids
from domain.events import (
    EntryPosted,
    Event,
    Metadata,
    PaymentActionRequired,
    PaymentApproved,
    PaymentAttemptStarted,
    PaymentConfirmed,
    PaymentEvent,
    PaymentFailed,
    PaymentHurried,
    PaymentIntentCreated,
    PaymentMethodAttached,
    PaymentOperationAccepted,
    PaymentOperationRequested,
    PaymentOutcomeUnknown,
    PaymentValidated,
    RawEvent,
    SettlementRecorded,
    decode,
    encode,
    recorded,
)
from domain.ledger import Draft, Ledger
from domain.payment import Payment
from replay.derived import Derived
from replay.report import Findings, Tally
from replay.verify import verify
from tests.paid import write_payments
from tests.payment_words import HEARD, METHODS, request_id, says
from tests.resealed import Lives, reseal
from tests.stored import BEGAN, MemoryStored, ticking, write_everything
from tests.support import BOOK, asked, open_account, open_book, started

OTHER = UUID(int=7)
INTENT = PaymentIntentCreated(book_id=OTHER, account_id=OTHER, direction="in", amount=1, currency="EUR")


class Paid(Lives[Payment]):
    """A log with payments at every stage, and the payments by name."""

    def settlements(self) -> list[RawEvent]:
        return [event for event in self.stored.all_events if event.name.startswith("settlement.")]

    def request(self, name: str, nth: int) -> str:
        return list(self.known[name].requests)[nth]

    def votes(self, name: str) -> list[dict[str, Any]]:
        [raw] = self.events(name, "validated")
        event = decode(raw.name, raw.payload)
        assert isinstance(event, PaymentValidated)
        return event.votes


@pytest.fixture
def paid() -> Paid:
    store = ticking()
    asyncio.run(write_everything(store))
    known = asyncio.run(write_payments(store))
    return Paid(MemoryStored(store), known)


def test_nothing_is_wrong(paid: Paid) -> None:
    """
    A log with payments at every stage of their lives holds.
    """
    report = verify(paid.stored)

    assert report.findings == ()
    assert {check.name for check in report.checks} >= {"payments", "payment_requests", "disputes", "settlements"}


Change = Callable[[Paid], dict[str, Any]]

CONTRADICTIONS: dict[str, tuple[str, str, int, Change]] = {
    "it expires before it is created": ("created", "intent_created", 0, lambda paid: {"expires_at": BEGAN}),
    "it is for nothing": ("created", "intent_created", 0, lambda paid: {"amount": 0}),
    "it is for nobody's account": ("created", "intent_created", 0, lambda paid: {"account_id": OTHER}),
    "it is in another currency": ("created", "intent_created", 0, lambda paid: {"currency": "JPY"}),
    "its maker approves it": ("to be approved", "approved", 0, lambda paid: {"approver": "tester"}),
    "one approves it twice": ("approved", "approved", 1, lambda paid: {"approver": "bob"}),
    "it is done before others approve it": (
        "at the second attempt",
        "intent_created",
        0,
        lambda paid: {"approvals": 2},
    ),
    "an attempt of another amount": ("succeeded", "attempt_started", 0, lambda paid: {"amount": 1}),
    "an attempt by another rail": ("succeeded", "attempt_started", 0, lambda paid: {"rail": "ach"}),
    "a request of no name of its own": ("requested", "attempt_started", 0, lambda paid: {"request_id": "x" * 22}),
    "more is captured than is authorized": (
        "captured in part",
        "operation_requested",
        0,
        lambda paid: {"amount": 1_001},
    ),
    "more is refunded than was captured": ("refunded", "operation_requested", 1, lambda paid: {"amount": 601}),
    "less is voided than is left": ("void of a part", "operation_requested", 1, lambda paid: {"amount": 1}),
    "what is left is not all of it": ("captured twice", "operation_requested", 1, lambda paid: {"final": False}),
    "upon what was never done": ("captured twice", "operation_requested", 0, lambda paid: {"upon": "x" * 22}),
    "a refund of a payment not captured": (
        "captured twice",
        "operation_requested",
        0,
        lambda paid: {"operation": "refund"},
    ),
    "an answer to what nobody asked": ("unknown", "outcome_unknown", 0, lambda paid: {"request_id": "x" * 22}),
    "something else is done than was asked": ("succeeded", "operation_done", 0, lambda paid: {"amount": 899}),
    "another operation is done": ("succeeded", "operation_done", 0, lambda paid: {"operation": "collect"}),
    "another hold than its own": ("authorized", "operation_done", 0, lambda paid: {"hold_id": OTHER}),
    "no hold": ("authorized", "operation_done", 0, lambda paid: {"hold_id": None}),
    "an increase without its hold": ("captured in part", "operation_done", 2, lambda paid: {"hold_id": None}),
    "another entry than its own": ("captured twice", "operation_done", 1, lambda paid: {"entry_id": OTHER}),
    "no entry": ("captured twice", "operation_done", 2, lambda paid: {"entry_id": None}),
    "captured from no hold": ("captured twice", "operation_done", 1, lambda paid: {"hold_id": None}),
    "collected without an entry": ("refunded", "operation_done", 0, lambda paid: {"entry_id": None}),
    "paid out by another entry": ("paid out", "operation_done", 0, lambda paid: {"entry_id": OTHER}),
    "contradicted as it was not": ("contradicted", "answer_contradicted", 0, lambda paid: {"known": "failed"}),
    "more is done than was authorized": ("captured in part", "operation_done", 1, lambda paid: {"amount": 1_001}),
    "more is given back than was captured": ("refunded", "operation_done", 1, lambda paid: {"amount": 601}),
    "an increase of another hold": ("captured in part", "operation_done", 2, lambda paid: {"hold_id": OTHER}),
    "begun after its time": (
        "succeeded",
        "intent_created",
        0,
        lambda paid: {"expires_at": paid.events("succeeded")[0].recorded_at + timedelta(microseconds=1)},
    ),
    "it ends twice": ("expired", "intent_created", 0, lambda paid: {"lapses_at": BEGAN + timedelta(days=9)}),
    "it lapses before it is created": ("created", "intent_created", 0, lambda paid: {"lapses_at": BEGAN}),
    "approved after it lapsed": (
        "approved",
        "intent_created",
        0,
        lambda paid: {"lapses_at": paid.events("approved")[0].recorded_at + timedelta(microseconds=1)},
    ),
    "the payer acts for nothing": ("to be opened", "action_required", 0, lambda paid: {"action": {}}),
    "the payer acts for what nobody asked": (
        "to be opened",
        "action_required",
        0,
        lambda paid: {"request_id": paid.request("opened", 0)},
    ),
    "fewer are to approve it than must": ("by two of three", "intent_created", 0, lambda paid: {"approvals": 1}),
    "others are to approve it than are named": (
        "to be approved by one more",
        "intent_created",
        0,
        lambda paid: {"approvers": ("bob", "eve")},
    ),
    "it is approved by somebody not named": ("by two of three", "approved", 0, lambda paid: {"approver": "eve"}),
    "it passes against its votes": ("denied", "validated", 0, lambda paid: {"passed": True}),
    "it is denied against its votes": ("succeeded", "validated", 0, lambda paid: {"passed": False}),
    "somebody has not voted": ("succeeded", "validated", 0, lambda paid: {"votes": paid.votes("succeeded")[1:]}),
    "somebody has voted twice": ("succeeded", "validated", 0, lambda paid: {"votes": paid.votes("succeeded") * 2}),
    "by another rule than the book's": ("by two of three", "validated", 0, lambda paid: {"rule": {"mode": "all"}}),
    "expired before its time": ("expired", "intent_created", 0, lambda paid: {"expires_at": BEGAN + timedelta(days=9)}),
    "part of it is reversed": ("ach reversed", "operation_requested", 0, lambda paid: {"amount": 249}),
    "an answer to no dispute": ("contested", "operation_requested", 1, lambda paid: {"dispute_id": OTHER}),
    "an answer without evidence": ("contested", "operation_requested", 1, lambda paid: {"evidence": {}}),
    "an answer of part of a dispute": ("contested", "operation_requested", 1, lambda paid: {"amount": 149}),
    "an answer when its time is over": ("contested", "disputed", 0, lambda paid: {"respond_by": BEGAN}),
    "found out of what nobody asked": ("resolved", "outcome_resolved", 0, lambda paid: {"request_id": "x" * 22}),
    "found out otherwise": ("resolved", "outcome_resolved", 0, lambda paid: {"outcome": "failed"}),
    "the rail said it itself": ("resolved", "operation_done", 0, lambda paid: {"code": "00"}),
    "another amount settles": ("settled", "settled", 0, lambda paid: {"amount": 399}),
    "another operation settles": ("settled", "settled", 0, lambda paid: {"operation": "refund"}),
    "what was never done settles": ("settled", "settled", 0, lambda paid: {"request_id": "x" * 22}),
    "it settles twice": ("card reversed", "settled", 1, lambda paid: {"request_id": paid.request("card reversed", 1)}),
    "another day settles": ("settled", "settled", 0, lambda paid: {"day": BEGAN.date()}),
    "it settles in no settlement": ("settled", "settled", 0, lambda paid: {"settlement_id": OTHER}),
    "another fee is kept": ("settled", "settled", 0, lambda paid: {"fee": 8}),
    "more is returned than was done": ("returned", "returned", 0, lambda paid: {"amount": 251}),
    "it comes back by another entry": ("returned", "returned", 0, lambda paid: {"entry_id": OTHER}),
    "it comes back by no entry": ("returned", "returned", 0, lambda paid: {"entry_id": None}),
    "another dispute than its own": ("disputed", "disputed", 0, lambda paid: {"dispute_id": OTHER}),
    "a dispute of what was not taken": (
        "disputed",
        "disputed",
        0,
        lambda paid: {"request_id": paid.request("disputed", 0)},
    ),
    "more is disputed than was taken": ("disputed", "disputed", 0, lambda paid: {"amount": 401}),
    "a dispute by another entry": ("disputed", "disputed", 0, lambda paid: {"entry_id": OTHER}),
    "a dispute closed that was none": ("won", "dispute_closed", 0, lambda paid: {"dispute_id": OTHER}),
    "a dispute closed over more": ("won", "dispute_closed", 0, lambda paid: {"amount": 151}),
    "a dispute closed as nobody does": ("won", "dispute_closed", 0, lambda paid: {"outcome": "accepted"}),
    "a dispute won without an entry": ("won", "dispute_closed", 0, lambda paid: {"entry_id": None}),
    "a dispute lost with an entry": ("lost", "dispute_closed", 0, lambda paid: {"entry_id": OTHER}),
    "a dispute accepted by its rail": ("lost", "dispute_closed", 0, lambda paid: {"outcome": "accepted"}),
    "a dispute lost by somebody's word": ("dispute accepted", "dispute_closed", 0, lambda paid: {"outcome": "lost"}),
}


WORDS = {
    "the payer acts for nothing": "an attempt that its rail has accepted",
    "the payer acts for what nobody asked": "an attempt that its rail has accepted",
    "it ends twice": "one end",
    "it lapses before it is created": "a time to come",
    "approved after it lapsed": "its end",
    "more is captured than is authorized": "at most the 1000 that are left",
    "more is refunded than was captured": "at most the 500 that are left",
    "less is voided than is left": "all of the 900 that are left",
    "what is left is not all of it": "the last capture to be the final one",
    "upon what was never done": "something done to capture",
    "something else is done than was asked": "900 as asked",
    "more is done than was authorized": "at most 1000 captured",
    "more is given back than was captured": "at most 600 refunded",
    "an increase of another hold": "hold ",
    "begun after its time": "its end",
    "expired before its time": "its time to have come",
    "a request of no name of its own": "request ",
    "contradicted as it was not": "the opposite of done, once",
    "one approves it twice": "another than its maker",
    "fewer are to approve it than must": "at least 2 approvals of ['ann', 'bob', 'cy']",
    "others are to approve it than are named": "at least 2 approvals of ['ann', 'bob', 'cy']",
    "it is approved by somebody not named": "one of ['ann', 'bob', 'cy']",
    "it passes against its votes": "passed=False by the votes",
    "it is denied against its votes": "passed=True by the votes",
    "somebody has not voted": "a vote of each validator",
    "somebody has voted twice": "a vote of each validator",
    "by another rule than the book's": "the rule at_least",
    "part of it is reversed": "all of 250",
    "an answer to no dispute": "a dispute of it that needs an answer",
    "an answer without evidence": "evidence in time",
    "an answer of part of a dispute": "all of the 150",
    "an answer when its time is over": "evidence in time",
    "found out of what nobody asked": "a request of which its rail says nothing",
    "found out otherwise": "payment.operation_failed.v1 of ",
    "the rail said it itself": "payment.operation_done.v1 of ",
    "another amount settles": "400 settled once",
    "another operation settles": "capture",
    "what was never done settles": "something done",
    "it settles twice": "400 settled once",
    "another day settles": "EUR by card on 2026-02-02",
    "it settles in no settlement": "the settlement that it names just before it",
    "more is returned than was done": "at most the 250 not returned",
    "it comes back by another entry": "entry ",
    "it comes back by no entry": "entry ",
    "another dispute than its own": "of what was taken, once",
    "a dispute of what was not taken": "of what was taken, once",
    "more is disputed than was taken": "at most the 400 not disputed",
    "a dispute by another entry": "entry ",
    "a dispute closed that was none": "a dispute of it over that amount",
    "a dispute closed over more": "a dispute of it over that amount",
    "a dispute closed as nobody does": "needs_response or under_review or accepted",
    "a dispute won without an entry": "entry ",
    "a dispute lost with an entry": "no entry",
    "a dispute accepted by its rail": "needs_response or under_review or accepted",
    "a dispute lost by somebody's word": "needs_response",
}
"""By what it is found, where other things would contradict as well."""


@pytest.mark.parametrize("how", CONTRADICTIONS)
def test_an_event_that_cannot_follow(paid: Paid, how: str) -> None:
    """
    What no desk would have let through is found at its position or at one that follows upon it, whoever sealed it.
    """
    name, noun, nth, change = CONTRADICTIONS[how]
    position = paid.at(name, noun, nth)

    paid.rewrite(position, **change(paid))

    later = {event.position for event in paid.events(name) if event.position > position}
    findings = [one for one in verify(paid.stored).findings if one.code == "event_contradicts"]
    settlement = {event.position for event in paid.settlements() if event.position < position}
    assert {one.position for one in findings} & {position, position + 1, *later, max(settlement, default=0)}
    assert how not in WORDS or any(WORDS[how] in one.expected for one in findings), findings


def test_a_request_answered_twice(paid: Paid) -> None:
    """
    What was done is not done once more, nor has it failed then: there is an event of its own for a contradiction.
    """
    done = paid.stored.all_events[paid.at("contradicted", "operation_done") - 1]
    position = paid.at("contradicted", "answer_contradicted")

    paid.say(position, decode(done.name, done.payload))

    assert position in paid.contradicted()


SAYING: dict[str, tuple[str, str, int, str, Callable[[Paid], PaymentEvent]]] = {
    "created twice": ("succeeded", "confirmed", 0, "a payment created once", lambda paid: INTENT),
    "begun while something is open": (
        "unknown",
        "outcome_unknown",
        0,
        "nothing that a rail has still to answer",
        lambda paid: PaymentFailed(reason="x"),
    ),
    "hurried before an attempt": (
        "succeeded",
        "attempt_started",
        0,
        "an attempt that failed with this method",
        lambda paid: PaymentHurried(),
    ),
    "the payer acts after the answer": (
        "contradicted",
        "answer_contradicted",
        0,
        "an attempt that its rail has accepted",
        lambda paid: PaymentActionRequired(request_id=paid.request("contradicted", 0), action={"type": "x"}),
    ),
    "the payer acts later than it was accepted": (
        "accepted",
        "operation_accepted",
        -1,
        "what to do in the commit of its acceptance",
        lambda paid: PaymentActionRequired(request_id=paid.request("accepted", 0), action={"type": "x"}),
    ),
    "begun before it is validated": (
        "succeeded",
        "validated",
        0,
        "validators to have passed it since it was confirmed",
        lambda paid: PaymentHurried(),
    ),
    "validated before it is confirmed": (
        "succeeded",
        "confirmed",
        0,
        "processing",
        lambda paid: PaymentValidated(rule={}, votes=[], passed=True),
    ),
    "captured while a capture is under way": (
        "captured twice",
        "operation_done",
        1,
        "an authorization upon which nothing is being asked",
        lambda paid: _asked(paid, "captured twice", "capture", upon=0),
    ),
    "captured upon what is not done": (
        "captured twice",
        "operation_done",
        0,
        "something done to capture",
        lambda paid: _asked(paid, "captured twice", "capture", upon=0),
    ),
    "accepted twice": (
        "accepted",
        "operation_accepted",
        -1,
        "something new",
        lambda paid: PaymentOperationAccepted(request_id=paid.request("accepted", 0), reference="", code=""),
    ),
    "refunded while something is unknown": (
        "refunded",
        "operation_failed",
        0,
        "nothing of unknown outcome",
        lambda paid: PaymentOutcomeUnknown(request_id=paid.request("refunded", 1), why="x"),
    ),
}


def _asked(paid: Paid, name: str, operation: str, *, upon: int) -> PaymentEvent:
    return PaymentOperationRequested(request_id="x" * 22, operation=operation, upon=paid.request(name, upon), amount=1)


@pytest.mark.parametrize("how", SAYING)
def test_something_else_than_was_said(paid: Paid, how: str) -> None:
    """
    Another event in the place of one, as of a desk that does not know the rules.
    """
    name, noun, nth, words, event = SAYING[how]

    if nth < 0:
        twice = paid.at("contradicted", "answer_contradicted")
        raw = paid.stored.all_events[twice - 1]
        moved = replace(raw, stream_id=paid.known[name].id, version=len(paid.events(name)) + 1)
        paid.stored.all_events[twice - 1] = moved
        paid.say(twice, event(paid))
    else:
        paid.say(paid.at(name, noun, nth), event(paid))

    assert words in " ".join(one.expected for one in verify(paid.stored).findings)


@pytest.mark.parametrize("noun", ["intent_created", "method_attached", "confirmed"])
def test_a_maker_who_approves(paid: Paid, noun: str) -> None:
    """
    Whoever created it, attached its method or confirmed it has not approved it: who did what is in the log.
    """
    position = paid.at("by two of three", noun)
    raw = paid.stored.all_events[position - 1]
    paid.stored.all_events[position - 1] = replace(raw, metadata=encode(Metadata(actor="cy")))
    reseal(paid.stored)

    assert paid.at("by two of three", "approved", 1) in paid.contradicted()


def test_a_log_from_before_there_were_validators() -> None:
    """
    A payment begun without a vote stands, as does the approval of who had only confirmed it. What is to be begun now
    goes by the rules of now: by them nobody has approved it.
    """
    store = MemoryEventStore(lambda: BEGAN)
    account = ids.account_id(BOOK, "shop")
    intent = replace(INTENT, book_id=BOOK, account_id=account, amount=100, approvals=1)
    card = PaymentMethodAttached(method=METHODS["card"].method())
    begun = PaymentAttemptStarted(
        request_id=request_id(OTHER, 1), operation="authorize", rail="card", route="north", amount=100
    )

    def say(actor: str, *events: tuple[UUID, int, Event]) -> None:
        with store.writing() as writing:
            draft = Draft(Ledger(), writing.head.next_at)
            draft.applied = writing.head.position
            draft.append(events, Metadata(actor=actor))
            writing.append(draft.batch(writing.head))

    async def go_on() -> None:
        async with started(store) as desk:
            for each in (open_book(), open_account("shop", "liability")):
                await desk.submit(asked(each))
        say("ann", (OTHER, 1, intent), (OTHER, 2, card))
        say("bob", (OTHER, 3, PaymentConfirmed()), (OTHER, 4, PaymentApproved(approver="bob")))
        say("daybook", (OTHER, 5, begun))
        assert verify(MemoryStored(store)).findings == ()
        async with started(store) as desk:
            await desk.submit(asked(says(OTHER, request_id(OTHER, 1), "later")))
            await desk.submit(asked(StartAttempt(payment_id=OTHER, route="south", votes=HEARD)))

    asyncio.run(go_on())

    last = recorded(store.events[-1]).event
    assert isinstance(last, PaymentValidated)
    assert (last.passed, last.why) == (False, "approval denies: approvals_missing")
    assert verify(MemoryStored(store)).findings == ()


def test_an_effect_upon_other_accounts(paid: Paid) -> None:
    """
    A payment's hold is between its rail's clearing account and its own account, or suspense.
    """
    position = paid.at("captured twice", "operation_done") + 1
    raw = paid.stored.all_events[position - 1]
    source, destination = decode(raw.name, raw.payload).postings  # type: ignore[attr-defined]

    paid.rewrite(position, postings=(source, replace(destination, account_id=ids.account_id(BOOK, "cash"))))

    assert position in paid.contradicted()


SETTLEMENTS: dict[str, tuple[str, dict[str, Any]]] = {
    "another part": ("settlement ", {"part": 7}),
    "another route": ("settlement ", {"route": "south"}),
    "more is paid": ("2852 paid in the end", {"net": 2853}),
    "more came in": ("2851 paid in the end", {"incoming": 2799}),
    "more went out": ("2851 paid in the end", {"outgoing": 1}),
    "more fees": ("2851 paid in the end", {"fees": 19}),
    "other lines": ("as its payments and breaks have them", {"lines": {"settled": 6}}),
    "no breaks": ("2782 paid in the end", {"breaks": ()}),
    "another entry": ("je_", {"entry_id": OTHER}),
    "no entry": ("je_", {"entry_id": None}),
    "in another currency": ("as its payments and breaks have them", {"incoming": 2801, "outgoing": 1}),
}


@pytest.mark.parametrize("how", SETTLEMENTS)
def test_a_settlement_that_does_not_add_up(paid: Paid, how: str) -> None:
    """
    Its sums are those of its payments' lines and of its breaks; its entry has just these, and it is named by its day.
    """
    words, change = SETTLEMENTS[how]
    first = paid.settlements()[0]

    paid.rewrite(first.position, **change)

    findings = [one for one in verify(paid.stored).findings if one.code == "event_contradicts"]
    assert any(words in one.expected for one in findings), findings
    assert any(one.position == first.position for one in findings)


def test_a_settlement_whose_breaks_moved_something_else(paid: Paid) -> None:
    """
    A line that fits nothing moved all of its amount, one way or the other, or nothing.
    """
    first = paid.settlements()[0]
    event = decode(first.name, first.payload)
    assert isinstance(event, SettlementRecorded)

    paid.rewrite(first.position, breaks=(replace(event.breaks[0], amount=71),))

    assert first.position in paid.contradicted()


def test_a_settlement_whose_entry_moves_something_else(paid: Paid) -> None:
    """
    The entry is between the accounts of the rail's own, each with its amount, on the settlement's day.
    """
    first = paid.settlements()[0]
    entry = next(one for one in paid.stored.all_events[first.position :] if one.name == EntryPosted.name)
    event = decode(entry.name, entry.payload)
    assert isinstance(event, EntryPosted)
    cash = replace(event.postings[0], account_id=ids.account_id(BOOK, "cash"))
    for change in ({"postings": (cash, *event.postings[1:])}, {"value_date": BEGAN.date()}, {"captures": OTHER}):
        stored = paid.stored.all_events[entry.position - 1]
        paid.rewrite(entry.position, **change)

        assert entry.position in paid.contradicted(), change
        paid.stored.all_events[entry.position - 1] = stored


def test_a_settlement_without_its_entry(paid: Paid) -> None:
    """
    Where something else is in its place, that is found.
    """
    first = paid.settlements()[0]
    entry = next(one for one in paid.stored.all_events[first.position :] if one.name == EntryPosted.name)
    raw = paid.stored.all_events[entry.position - 1]
    paid.stored.all_events[entry.position - 1] = replace(raw, stream_id=OTHER)
    reseal(paid.stored)

    assert first.position in paid.contradicted()


def test_the_end_of_the_log_within_a_settlement(paid: Paid) -> None:
    """
    A log that ends before all of its lines has lost them.
    """
    first = paid.settlements()[0]
    position = paid.at("won", "settled")
    stored = paid.stored
    stored.all_events = stored.all_events[:position]
    stored.all_postings = [row for row in stored.all_postings if row.position <= position]
    stored.all_seals = [seal for seal in stored.all_seals if seal.first <= position]
    stored.all_seals[-1] = replace(stored.all_seals[-1], last=position)
    reseal(stored)

    assert first.position in paid.contradicted()


@pytest.mark.parametrize(
    ("name", "nouns"),
    [
        ("authorized", ["hold.placed"]),
        ("captured in part", ["hold.captured", "hold.increased"]),
        ("voided", ["hold.voided"]),
        ("refunded", ["journal_entry.posted", "hold.placed", "hold.voided", "hold.captured"]),
        ("being paid out", ["hold.placed"]),
        ("bounced", ["hold.voided"]),
        ("paid out", ["hold.captured"]),
        ("on suspense", ["hold.placed", "hold.voided", "journal_entry.posted"]),
        ("ach reversed", ["hold.placed", "hold.captured"]),
        ("payout reversed", ["journal_entry.posted"]),
        ("returned", ["journal_entry.posted"]),
        ("disputed", ["journal_entry.posted"]),
        ("won", ["journal_entry.posted"]),
    ],
)
def test_a_step_without_its_effect(paid: Paid, name: str, nouns: Sequence[str]) -> None:
    """
    What a step does to the ledger is in the same commit, right after it: where something else is, it is found.
    """
    after = {event.position for event in paid.events(name)}
    effects = [
        event.position
        for event in paid.stored.all_events
        if after & {event.position - 1, event.position - 2, event.position - 3}
        if any(event.name.startswith(noun) for noun in nouns)
    ]
    assert effects
    for position in effects:
        tampered = Paid(MemoryStored.__new__(MemoryStored), paid.known)
        tampered.stored.__dict__.update(paid.stored.__dict__, all_events=list(paid.stored.all_events))
        raw = tampered.stored.all_events[position - 1]
        tampered.stored.all_events[position - 1] = replace(raw, recorded_at=raw.recorded_at + timedelta(seconds=1))
        reseal(tampered.stored)

        assert position in tampered.contradicted(), raw.name


def test_the_end_of_the_log_right_after_a_step(paid: Paid) -> None:
    """
    A log that ends where an effect would have to follow has lost it.
    """
    position = paid.at("authorized", "operation_done")
    stored = paid.stored
    stored.all_events = stored.all_events[:position]
    stored.all_postings = [row for row in stored.all_postings if row.position <= position]
    stored.all_seals = [seal for seal in stored.all_seals if seal.first <= position]
    stored.all_seals[-1] = replace(stored.all_seals[-1], last=position)
    reseal(stored)

    assert paid.contradicted() == {position}


@pytest.mark.parametrize("noun", ["hold.captured", "hold.increased", "hold.voided"])
def test_a_payments_hold_changed_by_something_else(paid: Paid, noun: str) -> None:
    """
    Nothing but its payment touches a payment's hold: a change without the step that makes it is found.
    """
    streams = {event.stream_id: event.position for event in paid.stored.all_events if event.name.startswith(noun)}
    _, position = streams.popitem()
    before = position - 1
    raw = paid.stored.all_events[before - 1]
    paid.stored.all_events[before - 1] = replace(raw, name="batch.posted.v1", stream_id=OTHER, version=1, payload=BATCH)
    reseal(paid.stored)

    assert position in paid.contradicted()


BATCH = b'{"book_id":"00000000000000000000000000000007","mode":"atomic","commands":1}'


def test_payments_that_are_over_are_let_go(paid: Paid) -> None:
    """
    However many there were, only those not over take up room; one that goes on is read again, and let go again.
    """
    derived = Derived(Tally("events", Findings()), paid.stored.stream)
    seen = []
    for raw in paid.stored.events():
        derived.apply(recorded(raw))
        if derived.over is not None:
            seen.append((derived.over.id, derived.over.refunded, derived.over.told > 0))

    last = derived.over.id if derived.over is not None else None
    alive = {payment.id for payment in paid.known.values() if payment.open or payment.status not in OVER}
    refunded = paid.known["refunded"].id
    assert derived.payments.keys() - {last} == alive
    assert [one for one in seen if one[0] == refunded] == [(refunded, 0, False), (refunded, 150, True)]


OVER = ("succeeded", "partially_captured", "canceled", "expired")


def test_every_kind_of_event_is_followed(paid: Paid) -> None:
    """
    The log of these tests has each event that payments write but those that no command writes yet.
    """
    written = {raw.name for raw in paid.stored.all_events}

    assert {kind.name for kind in PaymentEvent.__subclasses__()} - written <= {
        "payment.validated.v1",
        "payment.action_required.v1",
    }
