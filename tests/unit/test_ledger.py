"""The state that decides: what events make of it, and how a batch is drafted on top of it and kept or thrown away."""

from datetime import timedelta
from uuid import UUID

import pytest

from domain import ids
from domain.audit import GENESIS
from domain.events import (
    AccountClosed,
    AccountFrozen,
    AccountOpened,
    BookOpened,
    CommandRefused,
    EntryPosted,
    EntryReversed,
    Event,
    HoldPlaced,
    HoldVoided,
    Metadata,
    PaymentCanceled,
    PaymentIntentCreated,
    PaymentMethodAttached,
    Recorded,
    recorded,
)
from domain.hold import placed
from domain.journal import Entry
from domain.ledger import Draft, Head, Ledger
from domain.payment import created
from domain.posting import ZERO, Totals
from domain.rail import Card
from tests.support import BOOK, NOW, TODAY, hash_of, lines

CASH, DEPOSITS = ids.account_id(BOOK, "cash"), ids.account_id(BOOK, "deposits")
ENTRY, REVERSAL = UUID(int=1), UUID(int=2)
META = Metadata(actor="ann")


def opening(code: str, type: str) -> AccountOpened:
    return AccountOpened(book_id=BOOK, code=code, type=type, currency="EUR", overdraft_limit=None, opened_on=TODAY)


def posted(table: str) -> EntryPosted:
    return EntryPosted(book_id=BOOK, value_date=TODAY, postings=tuple(lines(table)))


SOME = [
    (BOOK, 1, BookOpened(code="main")),
    (CASH, 1, opening("cash", "asset")),
    (DEPOSITS, 1, opening("deposits", "liability")),
    (ENTRY, 1, posted("cash | 30 | \n deposits | | 30")),
    (CASH, 2, AccountFrozen()),
]


def head(ledger: Ledger) -> Head:
    return Head(ledger.applied, NOW, GENESIS, NOW)


def with_events(*events: tuple[UUID, int, Event]) -> Ledger:
    ledger = Ledger()
    draft = Draft(ledger, NOW)
    draft.append(events, META)
    draft.keep()
    return ledger


def test_events_make_what_is_known() -> None:
    """
    A ledger is what has happened, one event after the other.
    """
    ledger = with_events(*SOME)

    cash, deposits = ledger.accounts[CASH], ledger.accounts[DEPOSITS]
    assert cash and (cash.version, cash.status.value) == (2, "frozen")
    assert deposits and (deposits.version, deposits.status.value) == (1, "open")
    assert ledger.totals == {CASH: Totals(1, 30, 0, 0, 0), DEPOSITS: Totals(1, 0, 30, 0, 0)}
    assert ledger.books[BOOK]
    assert ledger.applied == 5


def test_what_is_not_known_is_not_half_known() -> None:
    """
    An event about something that was not looked up leaves it to be looked up.
    """
    ledger = Ledger()

    for position, (stream, version, event) in enumerate(SOME[3:], 4):
        ledger.apply(Recorded(position, stream, version, NOW, event, META))

    assert (ledger.accounts, ledger.totals, ledger.entries) == ({}, {}, {})
    assert ledger.applied == 5


def test_what_was_known_not_to_exist_comes_to_exist() -> None:
    """
    A thing that was looked up in vain is there once somebody opens it.
    """
    ledger = Ledger()
    ledger.books[BOOK], ledger.accounts[CASH], ledger.totals[CASH] = None, None, ZERO

    for position, (stream, version, event) in enumerate(SOME[:2], 1):
        ledger.apply(Recorded(position, stream, version, NOW, event, META))

    assert ledger.books[BOOK] and ledger.accounts[CASH]


def test_entries_are_followed_where_they_are_known() -> None:
    """
    An entry that was looked up becomes a reversed one.
    """
    ledger = with_events(*SOME)
    draft = Draft(ledger, NOW)
    draft.entries[ENTRY] = None
    entry = posted("cash | 30 | \n deposits | | 30")

    draft.append([(ENTRY, 1, entry), (ENTRY, 2, EntryReversed(book_id=BOOK, reversed_by=REVERSAL))], META)

    assert draft.entries[ENTRY] == Entry(ENTRY, 2, entry, REVERSAL)


def test_a_draft_numbers_what_it_appends() -> None:
    """
    Positions go on from the head, posting numbers from the account, and each event is stored as it was decided.
    """
    ledger = with_events(*SOME)
    draft = Draft(ledger, NOW)

    first = draft.append(
        [(REVERSAL, 1, posted("cash | | 10 \n deposits | 10 | \n cash | 4 | \n deposits | | 4"))], META
    )
    second = draft.append([(CASH, 3, AccountClosed())], META, UUID(int=9))

    batch = draft.batch(head(ledger))
    assert [recorded(raw) for raw in batch.events] == [*first, *second]
    assert [event.position for event in batch.events] == [6, 7]
    assert [event.command_id for event in batch.events] == [None, UUID(int=9)]
    assert [(row.account_id, row.position, row.totals) for row in batch.postings] == [
        (CASH, 6, Totals(2, 30, 10, 0, 0)),
        (DEPOSITS, 6, Totals(2, 10, 30, 0, 0)),
        (CASH, 6, Totals(3, 34, 10, 0, 0)),
        (DEPOSITS, 6, Totals(3, 10, 34, 0, 0)),
    ]
    assert (batch.seal.first, batch.seal.last, batch.seal.recorded_at) == (6, 7, NOW)
    assert batch.seal.hash == hash_of(GENESIS, batch.events)


def test_only_the_first_event_of_a_command_is_marked_with_it() -> None:
    """
    A command has one first event by which it is found again.
    """
    draft = Draft(Ledger(), NOW)

    both = draft.append([(BOOK, 1, BookOpened(code="main")), (CASH, 1, opening("cash", "asset"))], META, UUID(int=9))

    assert [event.command_id for event in both] == [UUID(int=9), None]


def test_a_draft_that_is_not_kept_leaves_no_trace() -> None:
    """
    Until a batch is committed, nothing of it is known.
    """
    ledger = with_events(*SOME)
    before = (dict(ledger.books), dict(ledger.accounts), dict(ledger.totals), ledger.applied)
    draft = Draft(ledger, NOW)

    draft.append([(REVERSAL, 1, posted("cash | | 30 \n deposits | 30 |")), (CASH, 3, AccountClosed())], META)

    assert draft.totals[CASH] == Totals(2, 30, 30, 0, 0)
    assert (ledger.books, ledger.accounts, ledger.totals, ledger.applied) == before
    draft.keep()
    assert ledger.totals[CASH] == Totals(2, 30, 30, 0, 0)
    assert ledger.applied == 7


def test_a_refusal_changes_nothing_but_the_position() -> None:
    """
    A kept "no" is in the log and moves nothing.
    """
    ledger = with_events(*SOME)
    before = (dict(ledger.books), dict(ledger.accounts), dict(ledger.totals))

    ledger.apply(Recorded(6, REVERSAL, 1, NOW, CommandRefused(command="x", scope=BOOK, code="y"), META))

    assert (ledger.books, ledger.accounts, ledger.totals) == before
    assert ledger.applied == 6


def test_time_never_goes_back() -> None:
    """
    A clock that was set back does not make a batch older than the one before it.
    """
    later = NOW + timedelta(hours=1)

    assert Head(1, NOW, GENESIS, later).next_at == later
    assert Head(1, later, GENESIS, NOW).next_at == later


def test_a_draft_needs_a_ledger_at_the_head() -> None:
    """
    What was decided on a ledger that has not caught up is no batch.
    """
    draft = Draft(with_events(*SOME), NOW)
    draft.append([(ids.book_id("late"), 1, BookOpened(code="late"))], Metadata(actor="ann"))

    with pytest.raises(AssertionError):
        draft.batch(Head(len(SOME) + 1, NOW, GENESIS, NOW))


PAYMENT = UUID(int=3)
INTENT = PaymentIntentCreated(
    book_id=BOOK, account_id=DEPOSITS, direction="in", amount=100, currency="EUR", capture="automatic", approvals=0
)
CARD = Card(token="tok_visa", brand="visa", last4="4242", expires="2030-12")


def test_a_payment_under_way_is_known_from_its_beginning_to_its_end() -> None:
    """
    Whoever goes on with it need not look it up: as it is after what others have appended too. What is over is let go.
    """
    ledger = with_events(*SOME, (PAYMENT, 1, INTENT))
    assert ledger.payments[PAYMENT] == created(PAYMENT, INTENT, "ann")

    ledger.apply(Recorded(ledger.applied + 1, PAYMENT, 2, NOW, PaymentMethodAttached(method=CARD), META))
    known = ledger.payments[PAYMENT]
    assert known is not None and (known.version, known.method) == (2, CARD)

    draft = Draft(ledger, NOW)
    draft.append([(PAYMENT, 3, PaymentCanceled())], META)
    assert ledger.payments[PAYMENT] == known
    draft.keep()
    assert ledger.payments == {}


def test_a_hold_is_known_while_it_is_held() -> None:
    hold, (debit, credit) = UUID(int=4), lines("cash | 10 | \n deposits | | 10")
    held = (debit, credit)
    ledger = with_events(*SOME, (hold, 1, HoldPlaced(book_id=BOOK, postings=held)))
    assert ledger.holds[hold] == placed(hold, HoldPlaced(book_id=BOOK, postings=held))

    draft = Draft(ledger, NOW)
    draft.append([(hold, 2, HoldVoided(book_id=BOOK, released=held))], META)
    draft.keep()

    assert ledger.holds == {}


def test_of_many_payments_the_latest_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    What is let go is not known not to exist: it is looked up again.
    """
    monkeypatch.setattr("domain.ledger.RECENT_MAX", 4)
    ledger = with_events(*SOME)

    for number in range(7):
        draft = Draft(ledger, NOW)
        draft.append([(UUID(int=10 + number), 1, INTENT)], META)
        draft.keep()

    assert [name.int for name in ledger.payments] == [14, 15, 16]
