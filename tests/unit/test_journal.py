"""Journal entries: they balance per currency, stand on open accounts of one book, and are undone once, by a mirror."""

from typing import Any
from uuid import UUID

import pytest

from domain import ids, journal
from domain.errors import (
    AccountIsClosed,
    AccountIsFrozen,
    AccountNotFound,
    CeilingExceeded,
    ConditionFailed,
    CurrencyMismatch,
    EntryAlreadyReversed,
    EntryIsReversal,
    EntryUnbalanced,
    InsufficientFunds,
    Refusal,
    TotalTooLarge,
)
from domain.events import EntryPosted
from domain.journal import Condition, Entry
from domain.money import TOTAL_MAX
from tests.support import BOOK, NOW, TODAY, Scene, account, given, lines

BANK = """
    cash      | asset     | 100 |   0 | overdraft_limit=0
    nostro    | asset     |  50 |   0 | USD overdraft_limit=0
    deposits  | liability |   0 | 100 | overdraft_limit=0
    position  | equity    |   0 |  50 | USD
    fees      | revenue   |   0 |   0 |
    vault     | asset     |   0 |   0 | ceiling=30
    iced      | liability |   0 |   0 | frozen
    gone      | liability |   0 |   0 | closed
"""
ENTRY, REVERSAL = UUID(int=1), UUID(int=2)


def post(scene: Scene, table: str, **said: Any) -> EntryPosted:
    fields: dict[str, Any] = {"book_id": BOOK, "value_date": TODAY, "description": "", "reference": "", "metadata": {}}
    return journal.post(scene.accounts, scene.totals, postings=lines(table), now=NOW, **{**fields, **said})


def reverse(scene: Scene, entry: Entry) -> EntryPosted:
    posted, reversed_ = journal.reverse(
        entry,
        scene.accounts,
        scene.totals,
        reversal_id=REVERSAL,
        value_date=TODAY,
        now=NOW,
        description="undo",
        metadata={"why": "error"},
    )
    assert reversed_.reversed_by == REVERSAL
    assert reversed_.book_id == BOOK
    return posted


def test_posts_over_several_accounts_and_currencies() -> None:
    """
    An entry moves what it says and nothing else.
    """
    scene = given(BANK)

    event = post(
        scene,
        """
        deposits  | 30    |
        cash      |       | 21
        fees      |       |  9
        nostro    |       |  5 USD
        position  | 5 USD |
        """,
        description="Withdrawal",
        reference="W-1",
        metadata={"till": "3"},
    )

    assert (event.description, event.reference, event.metadata) == ("Withdrawal", "W-1", {"till": "3"})
    assert (event.book_id, event.value_date, event.reverses) == (BOOK, TODAY, None)
    after = scene.after(event).balances()
    assert after == scene.balances() | {"cash": 79, "deposits": 70, "fees": 9, "nostro": 45, "position": 45}


REFUSED: dict[str, tuple[str, type[Refusal]]] = {
    "debits above credits": ("cash | 2 | \n deposits | | 1", EntryUnbalanced),
    "credits above debits": ("cash | 1 | \n deposits | | 2", EntryUnbalanced),
    "one side only": ("cash | 1 | \n deposits | 1 |", EntryUnbalanced),
    "balanced over all, but in no currency": ("cash | 1 | \n nostro | | 1 USD", EntryUnbalanced),
    "one currency of two": ("cash | 1 | \n deposits | | 1 \n nostro | 1 USD |", EntryUnbalanced),
    "no such account": ("nobody | 1 | \n deposits | | 1", AccountNotFound),
    "another currency than the account's": ("nostro | 1 | \n deposits | | 1", CurrencyMismatch),
    "frozen": ("cash | 1 | \n iced | | 1", AccountIsFrozen),
    "closed": ("cash | 1 | \n gone | | 1", AccountIsClosed),
    "more than there is": ("fees | 101 | \n cash | | 101", InsufficientFunds),
    "more than there is, in two pieces": ("fees | 101 | \n cash | | 51 \n cash | | 50", InsufficientFunds),
    "the second account of two": ("cash | 101 | \n deposits | 101 | \n fees | | 202", InsufficientFunds),
    "above the ceiling": ("vault | 31 | \n fees | | 31", CeilingExceeded),
    "a total beyond 63 bits": (f"fees | {TOTAL_MAX} | \n fees | 1 | \n fees | | {TOTAL_MAX + 1}", TotalTooLarge),
}


@pytest.mark.parametrize(("table", "refusal"), REFUSED.values(), ids=REFUSED.keys())
def test_refuses(table: str, refusal: type[Refusal]) -> None:
    """
    Each rule says no by its own name.
    """
    with pytest.raises(refusal):
        post(given(BANK), table)


def test_limits_are_looked_at_after_the_whole_entry() -> None:
    """
    Money may pass through an empty account within one entry, whatever the order of the postings.
    """
    scene = given(
        "through | asset | 0 | 0 | overdraft_limit=0 ceiling=0\n from | equity | 0 | 0\n to | expense | 0 | 0"
    )

    event = post(scene, "through | | 70 \n to | 70 | \n through | 70 | \n from | | 70")

    assert scene.after(event).balances() == {"through": 0, "from": 70, "to": 70}


KNOWN = """
    cash      | asset     | 100 |  20 | pending_credits=30 pending_debits=7
    deposits  | liability |   0 |  80 | pending_debits=5
    overdrawn | asset     |   0 |  10 |
    fees      | revenue   |   0 |   0 |
    iced      | liability |   0 |   0 | frozen
    purse     | asset     |   5 |   0 | overdraft_limit=0
"""
CONDITIONS = [
    # account and condition            | what was found, if it is refused
    ("cash      if_version             2 | "),
    ("cash      if_version             1 | 2"),
    ("cash      if_version             3 | 2"),
    ("cash      if_version             0 | 2"),
    ("fees      if_version             0 | "),
    ("fees      if_version             1 | 0"),
    ("cash      if_available_at_least 50 | "),
    ("cash      if_available_at_least 51 | 50"),
    ("cash      if_available_at_least -1 | "),
    ("deposits  if_available_at_least 75 | "),
    ("deposits  if_available_at_least 76 | 75"),
    ("overdrawn if_available_at_least -10 | "),
    ("overdrawn if_available_at_least -9 | -10"),
    ("fees      if_available_at_least  0 | "),
    ("fees      if_available_at_least  1 | 0"),
]


def condition(words: str, *, book_id: UUID = BOOK) -> Condition:
    code, kind, value = words.split()
    account_id = ids.account_id(book_id, code)
    if kind == "if_version":
        return Condition(account_id, version=int(value))
    return Condition(account_id, available_at_least=int(value))


@pytest.mark.parametrize("row", CONDITIONS)
def test_conditions_are_of_what_is_known_before_the_entry(row: str) -> None:
    """
    The number of the last posting, or what is available, less holds: a refusal says what was asked and what is so.
    """
    words, _, actual = row.partition("|")
    code, kind, value = words.split()

    def ask() -> EntryPosted:
        return post(given(KNOWN), "cash | 10 | \n cash | 10 | \n fees | | 20", conditions=[condition(words)])

    if not actual.strip():
        assert len(ask().postings) == 3
        return
    with pytest.raises(ConditionFailed) as refusal:
        ask()
    told = refusal.value
    assert (told.account_id, told.condition) == (ids.account_id(BOOK, code), kind)
    assert (told.expected, told.actual) == (int(value), int(actual))


ALL_HOLD = ["cash if_version 2", "cash if_available_at_least 50", "deposits if_version 1"]


@pytest.mark.parametrize(
    ("conditions", "told"),
    [
        (ALL_HOLD, None),
        (["cash if_version 2", "cash if_version 2"], None),
        (["cash if_version 2", "cash if_version 3"], ("if_version", 3)),
        (["cash if_version 3", "cash if_version 2"], ("if_version", 3)),
        (["cash if_available_at_least 50", "cash if_available_at_least 60"], ("if_available_at_least", 60)),
        ([*ALL_HOLD, "deposits if_available_at_least 99"], ("if_available_at_least", 99)),
        (["cash if_available_at_least 60", "deposits if_version 9"], ("if_available_at_least", 60)),
    ],
)
def test_every_condition_must_hold(conditions: list[str], told: tuple[str, int] | None) -> None:
    """
    Two on one account, set by two of its postings, are both of before the entry; the first that fails is told.
    """

    def ask() -> EntryPosted:
        asked = [condition(words) for words in conditions]
        return post(given(KNOWN), "cash | 10 | \n cash | 5 | \n deposits | | 15", conditions=asked)

    if told is None:
        assert len(ask().postings) == 3
        return
    with pytest.raises(ConditionFailed) as refusal:
        ask()
    assert (refusal.value.condition, refusal.value.expected) == told


def test_both_conditions_of_one_account_in_one() -> None:
    """
    The version is looked at first.
    """
    for least, version, told in (
        (50, 2, None),
        (50, 1, "if_version"),
        (51, 2, "if_available_at_least"),
        (51, 1, "if_version"),
    ):
        asked = [Condition(ids.account_id(BOOK, "cash"), least, version)]

        try:
            post(given(KNOWN), "cash | 1 | \n fees | | 1", conditions=asked)
        except ConditionFailed as no:
            assert no.condition == told
        else:
            assert told is None


@pytest.mark.parametrize("words", ["cash if_version 2", "cash if_version 9", "cash if_available_at_least 0"])
def test_a_condition_on_another_books_account(words: str) -> None:
    """
    It is not found, and whether it would hold is not told.
    """
    other = ids.book_id("other")

    with pytest.raises(AccountNotFound) as refusal:
        post(given(KNOWN), "deposits | 1 | \n fees | | 1", conditions=[condition(words, book_id=other)])

    assert refusal.value.account_id == ids.account_id(other, "cash")


@pytest.mark.parametrize(
    ("table", "refusal"),
    [
        ("deposits | 1 | \n iced | | 1", AccountIsFrozen),
        ("deposits | 2 | \n fees | | 1", EntryUnbalanced),
        ("deposits | 1 | \n nobody | | 1", AccountNotFound),
        ("deposits | 6 | \n purse | | 6", ConditionFailed),
    ],
)
def test_conditions_come_after_the_accounts_and_before_the_limits(table: str, refusal: type[Refusal]) -> None:
    """
    Who set a condition that fails is told of it rather than of the funds that it was to guard.
    """
    with pytest.raises(refusal):
        post(given(KNOWN), table, conditions=[condition("cash if_version 9")])


def test_books_never_mix() -> None:
    """
    An account of another book is not found, though it exists.
    """
    scene, stranger = given(BANK), account("cash", book_id=ids.book_id("other"))
    scene.accounts[ids.account_id(BOOK, "cash")] = stranger

    with pytest.raises(AccountNotFound):
        post(scene, "cash | 1 | \n deposits | | 1")


def test_an_entry_that_does_not_balance_cannot_even_be_made() -> None:
    """
    Below the refusals, the event itself cannot be half an entry.
    """
    for table in ("cash | 1 |", "cash | 2 | \n deposits | | 1", "cash | 1 | \n nostro | | 1 USD"):
        with pytest.raises(ValueError, match="differ"):
            EntryPosted(book_id=BOOK, value_date=TODAY, postings=tuple(lines(table)))
    for postings in ((), tuple(lines("cash | 0 | \n deposits | | 0")), tuple(lines("cash | -1 | \n deposits | | -1"))):
        with pytest.raises(ValueError, match="positive"):
            EntryPosted(book_id=BOOK, value_date=TODAY, postings=postings)


class TestReversal:
    def test_mirrors_the_whole_entry(self) -> None:
        """
        Afterwards every balance is what it was before, and each entry names the other.
        """
        scene = given(BANK)
        original = post(scene, "deposits | 30 | \n cash | | 21 \n fees | | 9", reference="W-1")
        booked = scene.after(original)

        mirror = reverse(booked, Entry(ENTRY, 1, original, None))

        assert list(mirror.postings) == lines("deposits | | 30 \n cash | 21 | \n fees | 9 |")
        assert mirror.reverses == ENTRY
        assert (mirror.description, mirror.metadata) == ("undo", {"why": "error"})
        assert booked.after(mirror).balances() == scene.balances()

    def test_happens_once(self) -> None:
        """
        A second reversal would move the money a third time.
        """
        scene = given(BANK)
        original = post(scene, "deposits | 30 | \n cash | | 30")

        with pytest.raises(EntryAlreadyReversed) as refusal:
            reverse(scene.after(original), Entry(ENTRY, 2, original, REVERSAL))

        assert refusal.value.reversed_by_entry_id == REVERSAL

    def test_is_not_itself_reversed(self) -> None:
        """
        Who wants the entry back posts it anew.
        """
        scene = given(BANK)
        original = post(scene, "deposits | 30 | \n cash | | 30")
        mirror = reverse(scene.after(original), Entry(ENTRY, 1, original, None))

        with pytest.raises(EntryIsReversal):
            reverse(scene, Entry(REVERSAL, 1, mirror, None))

    @pytest.mark.parametrize(
        ("now", "refusal"),
        [
            ("cash | asset | 0 | 0 | overdraft_limit=0", InsufficientFunds),
            ("cash | asset | 30 | 0 | overdraft_limit=0 frozen", AccountIsFrozen),
            ("cash | asset | 30 | 0 | overdraft_limit=0 closed", AccountIsClosed),
        ],
    )
    def test_obeys_the_accounts_as_they_are_now(self, now: str, refusal: type[Refusal]) -> None:
        """
        What has been spent since cannot be taken back.
        """
        original = post(given(BANK), "cash | 30 | \n deposits | | 30")

        with pytest.raises(refusal):
            reverse(given(now + "\n deposits | liability | 0 | 30"), Entry(ENTRY, 1, original, None))
