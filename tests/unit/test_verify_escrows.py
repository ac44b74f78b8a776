"""Verification of escrows: a log sealed anew whose escrows could not have been so."""

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from msgspec.structs import replace

from domain import ids
from domain.escrow import OPEN, Escrow
from domain.events import (
    EscrowCondition,
    EscrowEvent,
    EscrowExpired,
    EscrowPart,
    EscrowReleased,
    EscrowReleaseRefused,
    EscrowReturned,
    EscrowTerms,
    HoldPlaced,
    decode,
    encode,
    recorded,
)
from domain.posting import Posting, Side
from replay.derived import Derived
from replay.report import Findings, Tally
from replay.verify import verify
from tests.escrowed import ESCROW_ACCOUNT, balance_of, write_escrows
from tests.resealed import Lives, reseal
from tests.stored import BEGAN, MemoryStored, ticking, write_everything
from tests.support import BOOK

OTHER = UUID(int=7)


class Deals(Lives[Escrow]):
    """A log with escrows at every stage, and the escrows by name."""

    def words(self) -> str:
        return " ".join(f"{one.position}: {one.expected}." for one in verify(self.stored).findings)


@pytest.fixture
def deals() -> Deals:
    store = ticking()
    asyncio.run(write_everything(store))
    known = asyncio.run(write_escrows(store))
    return Deals(MemoryStored(store), known)


def test_nothing_is_wrong(deals: Deals) -> None:
    """
    A log with escrows at every stage of their lives holds.
    """
    report = verify(deals.stored)

    assert report.findings == ()
    assert {check.name for check in report.checks} >= {"escrows", "escrow_parts"}


def test_every_kind_of_event_is_followed(deals: Deals) -> None:
    """
    The log of these tests has each event that escrows write.
    """
    assert {kind.name for kind in EscrowEvent.__subclasses__()} <= {raw.name for raw in deals.stored.all_events}


def part(name: str = "goods", amount: int = 70, *conditions: str, approvals: int = 0) -> EscrowPart:
    return EscrowPart(name, amount, EscrowTerms(conditions, approvals, ("bob", "eve", "tester")))


CONTRADICTIONS: dict[str, tuple[str, str, int, dict[str, Any], str]] = {
    "it expires before it begins": ("funded", "funded", 0, {"expires_at": BEGAN}, "a time to come"),
    "its parts come to more": ("funded", "funded", 0, {"amount": 99}, "parts that come to 99"),
    "it is for the depositor": ("funded", "funded", 0, {"beneficiary_id": "depositor"}, "two accounts"),
    "it is of nobody's account": ("funded", "funded", 0, {"depositor_id": OTHER}, "account acc_"),
    "it is in another currency": ("funded", "funded", 0, {"currency": "JPY"}, "in its book and currency"),
    "it waits for what it does not know": (
        "funded",
        "funded",
        0,
        {"conditions": (EscrowCondition("delivered"),)},
        "the conditions that its parts wait for",
    ),
    "a part waits for nothing": (
        "funded",
        "funded",
        0,
        {"parts": (part(), part("work", 30)), "conditions": ()},
        "terms that can be kept",
    ),
    "a part waits for more than there are": (
        "funded",
        "funded",
        0,
        {"parts": (part("all", 100, approvals=4),), "conditions": ()},
        "terms that can be kept",
    ),
    "it has another entry": ("funded", "funded", 0, {"entry_id": OTHER}, "entry je_"),
    "a condition that it does not have": (
        "goods released",
        "condition_met",
        0,
        {"condition": "paid"},
        "one of its conditions, once",
    ),
    "a condition met twice": (
        "goods released",
        "condition_met",
        1,
        {"condition": "delivered"},
        "one of its conditions, once",
    ),
    "met by somebody else's word": (
        "goods released",
        "condition_met",
        0,
        {"attester": "bob"},
        "somebody who may say so, and did",
    ),
    "met by who did not say it": (
        "goods released",
        "condition_met",
        0,
        {"attester": "tester"},
        "somebody who may say so, and did",
    ),
    "met by its maker's word": (
        "goods released",
        "condition_met",
        1,
        {"attester": "tester"},
        "somebody who may say so, and did",
    ),
    "approved by its maker": (
        "half approved",
        "release_approved",
        0,
        {"approver": "tester"},
        "an approver, and not its maker",
    ),
    "approved by somebody": ("half approved", "release_approved", 0, {"approver": "ann"}, "an approver"),
    "approved twice": ("released", "release_approved", 1, {"approver": "eve"}, "an approver once"),
    "approved of no part": ("half approved", "release_approved", 0, {"part": "paint"}, "one of its parts"),
    "less is released than was ready": ("released", "released", 0, {"amount": 1}, "escrow.released.v1 of 30"),
    "another part is released": ("released", "released", 0, {"part": "goods"}, "escrow.released.v1 of 30"),
    "released to suspense before its end": (
        "released",
        "released",
        0,
        {"suspended": True},
        "escrow.released.v1 of 30",
    ),
    "more is released than is left": (
        "ready and released in part",
        "released",
        0,
        {"amount": 71},
        "part or all of 70",
    ),
    "released by another entry": ("released", "released", 1, {"entry_id": OTHER}, "entry je_"),
    "more is agreed than is left": ("to be returned", "return_approved", 0, {"amount": 31}, "at most what is left"),
    "agreed by who may not": ("returned", "return_approved", 0, {"approver": "bob"}, "an approver"),
    "returned without being agreed": (
        "returned in part",
        "return_approved",
        0,
        {"amount": 11},
        "the release of a part that is ready, or what was agreed to",
    ),
    "another amount is returned": ("returned in part", "returned", 0, {"amount": 11}, "escrow.returned.v1 of 10"),
    "another part is returned": ("returned", "returned", 0, {"part": "work"}, "escrow.returned.v1 of 70"),
    "it expires before its time": (
        "expired",
        "funded",
        0,
        {"expires_at": BEGAN + timedelta(days=9)},
        "not its end yet",
    ),
    "it is released after its time": (
        "expired",
        "funded",
        0,
        {"on_expiry": "release"},
        "escrow.released.v1 of 70",
    ),
}


@pytest.mark.parametrize("how", CONTRADICTIONS)
def test_an_event_that_cannot_follow(deals: Deals, how: str) -> None:
    """
    What no desk would have let through is found at its position or at one that follows upon it, whoever sealed it.
    """
    name, verb, nth, change, words = CONTRADICTIONS[how]
    position = deals.at(name, verb, nth)
    if change.get("beneficiary_id") == "depositor":
        change = {"beneficiary_id": deals.known[name].funded.depositor_id}

    deals.rewrite(position, **change)

    later = {event.position for event in deals.events(name) if event.position > position}
    assert deals.contradicted() & {position, position + 1, *later}
    assert words in deals.words()


SAYING: dict[str, tuple[str, str, int, EscrowEvent, str]] = {
    "released before it is ready": (
        "half approved",
        "release_approved",
        0,
        EscrowReleased(part="work", amount=30, entry_id=OTHER),
        "the release of a part that is ready",
    ),
    "refused what was not ready": (
        "half approved",
        "release_approved",
        0,
        EscrowReleaseRefused(part="work", reason="account_frozen"),
        "a part that has just become ready",
    ),
    "returned by nobody": (
        "to be returned",
        "return_approved",
        0,
        EscrowReturned(part="work", amount=10, entry_id=OTHER),
        "the release of a part that is ready, or what was agreed to",
    ),
    "ended before its time": ("half approved", "release_approved", 0, EscrowExpired(), "not its end yet"),
    "refused at its end": (
        "expired when ready",
        "released",
        0,
        EscrowReleaseRefused(part="goods", reason="account_frozen"),
        "escrow.released.v1 of 70",
    ),
}


@pytest.mark.parametrize("how", SAYING)
def test_something_else_than_was_said(deals: Deals, how: str) -> None:
    """
    Another event in the place of one, as of a desk that does not know the rules.
    """
    name, verb, nth, event, words = SAYING[how]
    position = deals.at(name, verb, nth)

    deals.say(position, event)

    assert position in deals.contradicted()
    assert words in deals.words()


@pytest.mark.parametrize(
    ("name", "verb"),
    [("funded", "funded"), ("released", "released"), ("returned", "returned"), ("expired", "returned")],
)
def test_a_movement_without_its_entry(deals: Deals, name: str, verb: str) -> None:
    """
    The entry is what comes next, in the same commit: of that amount, from and to those accounts.
    """
    position = deals.at(name, verb) + 1
    raw = deals.stored.all_events[position - 1]
    debit, credit = decode(raw.name, raw.payload).postings  # type: ignore[attr-defined]
    cash = ids.account_id(BOOK, "cash")

    deals.rewrite(position, postings=(replace(debit, account_id=cash), credit))
    assert position in deals.contradicted()
    deals.rewrite(position, postings=(replace(debit, amount=1), replace(credit, amount=1)))
    assert position in deals.contradicted()
    deals.rewrite(position, postings=(debit, credit))
    assert deals.contradicted() == set()
    deals.stored.all_events[position - 1] = replace(raw, recorded_at=raw.recorded_at + timedelta(microseconds=1))
    reseal(deals.stored)
    assert position in deals.contradicted()


def test_the_end_of_the_log_right_after_a_movement(deals: Deals) -> None:
    """
    A log that ends where an entry would have to follow has lost it.
    """
    position = deals.at("released", "released")
    stored = deals.stored
    stored.all_events = stored.all_events[:position]
    stored.all_postings = [row for row in stored.all_postings if row.position <= position]
    stored.all_seals = [seal for seal in stored.all_seals if seal.first <= position]
    stored.all_seals[-1] = replace(stored.all_seals[-1], last=position)
    reseal(stored)

    assert deals.contradicted() == {position}


@pytest.mark.parametrize("kind", ["journal_entry.posted.v1", "hold.placed.v1"])
def test_what_is_set_apart_moved_by_hand(deals: Deals, kind: str) -> None:
    """
    The first position from which on its account has other than what escrows have left is named.
    """
    position = next(e.position for e in deals.stored.all_events if e.name == "account.frozen.v1" and e.position > 60)
    raw = deals.stored.all_events[position - 1]
    cash = Posting(ids.account_id(BOOK, "cash"), Side.CREDIT, 5, "EUR")
    lines = (Posting(ESCROW_ACCOUNT, Side.DEBIT, 5, "EUR"), cash)
    entry = next(event for event in deals.stored.all_events if event.name == "journal_entry.posted.v1")
    posted = replace(decode(entry.name, entry.payload), postings=lines)
    payload = encode(posted) if kind == entry.name else _placed(lines)
    deals.stored.all_events[position - 1] = replace(raw, stream_id=OTHER, version=1, name=kind, payload=payload)
    reseal(deals.stored)

    words = [one for one in verify(deals.stored).findings if "escrow" in one.expected or "on acc_" in one.expected]
    assert words[0].position == position
    assert f"{position}: what escrows set apart to move with them alone" in deals.words()


def _placed(lines: tuple[Posting, Posting]) -> bytes:
    return encode(HoldPlaced(book_id=BOOK, postings=lines))


def test_escrows_that_are_over_are_let_go(deals: Deals) -> None:
    """
    However many there were, only the open ones take up room; each is as the domain has it, and so is what they hold.
    """
    derived = Derived(Tally("events", Findings()), deals.stored.stream)
    for raw in deals.stored.events():
        derived.apply(recorded(raw))

    last = derived.escrow_over.id if derived.escrow_over is not None else None
    alive = {one.id: one for one in deals.known.values() if one.status in OPEN}
    assert derived.escrows.keys() - {last} == alive.keys()
    for name, one in alive.items():
        then = derived.escrows[name]
        assert (then.status, then.released, then.returned, then.version) == (
            *(one.status.value, one.released, one.returned, one.version),
        )
    totals = derived.totals[ESCROW_ACCOUNT]
    assert totals.credits - totals.debits == balance_of(deals.known) > 0
