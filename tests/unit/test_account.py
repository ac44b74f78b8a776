"""Accounts: what may be opened, what a balance is, which limits bind, and what frozen and closed mean."""

from contextlib import nullcontext
from typing import Any

import pytest

from domain import account as rules
from domain import ids
from domain.account import Balance, Status, Type, balance, fold, must_allow, must_be_open
from domain.book import Book
from domain.errors import (
    AccountCodeReserved,
    AccountCodeTaken,
    AccountIsClosed,
    AccountIsFrozen,
    AccountIsNotFrozen,
    AccountNotEmpty,
    BookNotFound,
    CeilingExceeded,
    InsufficientFunds,
    LimitsContradict,
    Refusal,
    TotalTooLarge,
)
from domain.events import AccountClosed, AccountFrozen, AccountOpened, AccountUnfrozen
from domain.money import TOTAL_MAX
from domain.policy import NONE
from domain.posting import ZERO, Side, Totals
from tests.support import BOOK, NOW, TODAY, account, given

MAIN = Book(BOOK, 1, "main", "", {}, NONE)


def opening(**said: Any) -> AccountOpened:
    fields: dict[str, Any] = {
        "book_id": BOOK,
        "account_id": ids.account_id(BOOK, "cash"),
        "code": "cash",
        "type": Type.ASSET,
        "currency": "EUR",
        "overdraft_limit": None,
        "floor": None,
        "ceiling": None,
        "title": "",
        "opened_on": TODAY,
        "metadata": {},
    }
    return rules.open_account(said.pop("existing", None), said.pop("book", MAIN), **{**fields, **said})


class TestOpening:
    def test_an_account_begins_open_and_as_asked(self) -> None:
        """
        What was asked for is what the event says, and what is folded from it.
        """
        said: dict[str, Any] = {
            "overdraft_limit": 5,
            "floor": -3,
            "ceiling": 7,
            "title": "Till",
            "metadata": {"branch": "1"},
        }

        event = opening(**said)

        folded = fold(ids.account_id(BOOK, "cash"), [event])
        assert folded == account(**said)

    def test_needs_a_book(self) -> None:
        """
        No account without a book.
        """
        with pytest.raises(BookNotFound):
            opening(book=None)

    @pytest.mark.parametrize("status", Status)
    def test_a_code_is_given_once(self, status: Status) -> None:
        """
        Not even a closed account gives its code back.
        """
        with pytest.raises(AccountCodeTaken):
            opening(existing=account(status=status))

    @pytest.mark.parametrize(
        ("code", "is_reserved"),
        [
            ("clearing:card:EUR", True),
            ("clearing:anything", True),
            ("suspense:EUR", True),
            ("settlement:ach:USD", True),
            ("fees:card:EUR", True),
            ("clearing", False),
            ("suspense", False),
            ("clearings:x", False),
            ("fees", False),
            ("expenses:fees:card", False),
            ("assets:clearing:x", False),
        ],
    )
    def test_some_codes_are_our_own(self, code: str, is_reserved: bool) -> None:
        """
        Accounts that payments are booked on are not opened, frozen, limited or closed by anybody; a freeze or a limit
        would keep from the books what a rail has done.
        """
        known = account(code)

        for attempt in (
            lambda: opening(code=code),
            lambda: rules.freeze(known, reason=""),
            lambda: rules.close(known, ZERO, reason=""),
            lambda: rules.change_limits(
                known, overdraft_limit=0, floor=None, ceiling=None, effective_at=None, now=NOW, reason=""
            ),
        ):
            with pytest.raises(AccountCodeReserved) if is_reserved else nullcontext():
                attempt()

    @pytest.mark.parametrize(
        ("limits", "lowest"),
        [({"overdraft_limit": 0}, 0), ({"floor": 5}, 5), ({"overdraft_limit": 10, "floor": -3}, -3)],
    )
    def test_some_balance_must_satisfy_the_limits(self, limits: dict[str, int], lowest: int) -> None:
        """
        A ceiling below the lowest balance is refused; a ceiling upon it is not.
        """
        opening(**limits, ceiling=lowest)

        with pytest.raises(LimitsContradict) as refusal:
            opening(**limits, ceiling=lowest - 1)

        assert (refusal.value.lowest, refusal.value.ceiling) == (lowest, lowest - 1)


class TestStatus:
    @pytest.mark.parametrize(
        ("status", "freezing", "unfreezing", "closing"),
        [
            (Status.OPEN, None, AccountIsNotFrozen, None),
            (Status.FROZEN, AccountIsFrozen, None, None),
            (Status.CLOSED, AccountIsClosed, AccountIsClosed, AccountIsClosed),
        ],
    )
    def test_what_may_follow_what(
        self,
        status: Status,
        freezing: type[Refusal] | None,
        unfreezing: type[Refusal] | None,
        closing: type[Refusal] | None,
    ) -> None:
        """
        Open and frozen take turns; closed is for ever.
        """
        known = account(status=status)

        assert refused(lambda: rules.freeze(known, reason="")) is freezing
        assert refused(lambda: rules.unfreeze(known, reason="")) is unfreezing
        assert refused(lambda: rules.close(known, ZERO, reason="")) is closing

    @pytest.mark.parametrize(
        ("status", "refusal"),
        [(Status.OPEN, None), (Status.FROZEN, AccountIsFrozen), (Status.CLOSED, AccountIsClosed)],
    )
    def test_only_an_open_account_takes_postings(self, status: Status, refusal: type[Refusal] | None) -> None:
        """
        Frozen and closed accounts say which of the two they are.
        """
        assert refused(lambda: must_be_open(account(status=status))) is refusal

    @pytest.mark.parametrize(
        "row", ["1 | 0", "0 | 1", "2 | 1", "0 | 0 | pending_debits=1", "0 | 0 | pending_credits=1"]
    )
    def test_only_an_empty_account_is_closed(self, row: str) -> None:
        """
        Neither a balance nor anything pending may be lost with an account.
        """
        scene = given(f"cash | asset | {row}")

        with pytest.raises(AccountNotEmpty):
            rules.close(scene.account("cash"), scene.posted_to("cash"), reason="")

    def test_an_account_is_closed_at_zero(self) -> None:
        """
        Turnover is no hindrance, only a balance is.
        """
        scene = given("cash | asset | 70 | 70 | frozen")

        event = rules.close(scene.account("cash"), scene.posted_to("cash"), reason="moved out")

        assert event == AccountClosed(reason="moved out")

    def test_events_lead_from_status_to_status(self) -> None:
        """
        Each event counts one version.
        """
        events = [opening(), AccountFrozen(), AccountUnfrozen(), AccountFrozen(), AccountClosed()]

        seen = [fold(ids.account_id(BOOK, "cash"), events[:n]) for n in range(6)]

        assert [known and (known.version, known.status.value) for known in seen] == [
            None,
            (1, "open"),
            (2, "frozen"),
            (3, "open"),
            (4, "frozen"),
            (5, "closed"),
        ]


class TestBalance:
    @pytest.mark.parametrize(
        ("type", "side", "posted", "available", "highest"),
        [
            ("asset", Side.DEBIT, 70, 66, 75),
            ("expense", Side.DEBIT, 70, 66, 75),
            ("liability", Side.CREDIT, -70, -75, -66),
            ("equity", Side.CREDIT, -70, -75, -66),
            ("revenue", Side.CREDIT, -70, -75, -66),
        ],
    )
    def test_is_on_the_normal_side(self, type: str, side: Side, posted: int, available: int, highest: int) -> None:
        """
        What is held against an account lowers what is available; what is held for it may yet come.
        """
        totals = Totals(9, 100, 30, 5, 4)

        assert Type(type).normal_side is side
        assert balance(Type(type), totals) == Balance(posted, available, highest)

    def test_the_higher_of_two_lower_limits_binds(self) -> None:
        """
        An overdraft of 10 and a floor of -3: the balance goes down to -3.
        """
        assert account(overdraft_limit=10, floor=-3).limits_at(NOW).lowest == ("floor", -3, -3)
        assert account(overdraft_limit=2, floor=-3).limits_at(NOW).lowest == ("overdraft_limit", 2, -2)
        assert account().limits_at(NOW).lowest is None


LIMITS = [
    # limits                | type      | balance  | becomes | refused
    ("                      | asset     |        0 |  -1000 | "),
    ("overdraft_limit=0     | asset     |       10 |      0 | "),
    ("overdraft_limit=0     | asset     |       10 |     -1 | overdraft_limit"),
    ("overdraft_limit=0     | liability |       10 |     -1 | overdraft_limit"),
    ("overdraft_limit=5     | asset     |        0 |     -5 | "),
    ("overdraft_limit=5     | asset     |        0 |     -6 | overdraft_limit"),
    ("floor=5               | asset     |        9 |      5 | "),
    ("floor=5               | asset     |        9 |      4 | floor"),
    ("floor=5               | liability |        9 |      4 | floor"),
    ("ceiling=5             | asset     |        0 |      5 | "),
    ("ceiling=5             | asset     |        0 |      6 | ceiling"),
    ("ceiling=-5            | liability |       -9 |     -4 | ceiling"),
    # Beyond a limit already: better or the same is let through, worse is not.
    ("overdraft_limit=0     | asset     |      -10 |     -9 | "),
    ("overdraft_limit=0     | asset     |      -10 |    -10 | "),
    ("overdraft_limit=0     | asset     |      -10 |    -11 | overdraft_limit"),
    ("floor=5               | asset     |        0 |      4 | "),
    ("ceiling=5             | asset     |       10 |      9 | "),
    ("ceiling=5             | asset     |       10 |     11 | ceiling"),
    ("ceiling=5 floor=3     | asset     |       10 |      2 | floor"),
]


@pytest.mark.parametrize("row", LIMITS)
def test_limits(row: str) -> None:
    """
    An entry may not lead beyond a limit, nor further beyond it.
    """
    limits, type, was, becomes, refused = (cell.strip() for cell in row.split("|"))
    before, after = at(type, int(was)), at(type, int(becomes))
    known = given(f"it | {type} | 0 | 0 | {limits}").account("it")

    try:
        must_allow(known, before, after, NOW)
    except InsufficientFunds as no:
        assert no.limit == refused
        assert no.requested == int(was) - int(becomes) > no.available
    except CeilingExceeded as no:
        assert refused == "ceiling"
        assert no.requested == int(becomes) - int(was) > no.room
    else:
        assert not refused


def at(type: str, posted: int) -> Totals:
    """Totals that come to a balance on the normal side."""
    up, down = max(posted, 0), max(-posted, 0)
    return Totals(1, up, down, 0, 0) if Type(type).normal_side is Side.DEBIT else Totals(1, down, up, 0, 0)


def test_says_how_much_could_be_taken_or_added() -> None:
    """
    A refusal lets its reader make the request that would have been accepted.
    """
    with pytest.raises(InsufficientFunds) as short:
        must_allow(account(overdraft_limit=5), at("asset", 10), at("asset", -6), NOW)
    with pytest.raises(CeilingExceeded) as full:
        must_allow(account(ceiling=20), at("asset", 10), at("asset", 21), NOW)

    assert (short.value.requested, short.value.available, short.value.limit_value) == (16, 15, 5)
    assert (full.value.requested, full.value.room, full.value.ceiling) == (11, 10, 20)


def test_funds_that_are_held_cannot_be_spent() -> None:
    """
    What is pending against the account counts as gone, what is pending for it as arrived.
    """
    pending_out, pending_in = Totals(2, 100, 0, 0, 80), Totals(2, 100, 0, 80, 0)

    must_allow(account(overdraft_limit=0), pending_out, pending_out.after(Side.CREDIT, 20), NOW)
    with pytest.raises(InsufficientFunds):
        must_allow(account(overdraft_limit=0), pending_out, pending_out.after(Side.CREDIT, 21), NOW)
    with pytest.raises(CeilingExceeded):
        must_allow(account(ceiling=185), pending_in, pending_in.after(Side.DEBIT, 6), NOW)


@pytest.mark.parametrize("side", Side)
def test_totals_fit_into_63_bits(side: Side) -> None:
    """
    A total that Postgres could not keep is refused while it is still a number.
    """
    full = ZERO.after(side, TOTAL_MAX)

    must_allow(account(), ZERO, full, NOW)
    with pytest.raises(TotalTooLarge):
        must_allow(account(), full, full.after(side, 1), NOW)


def refused(ask: Any) -> type[Refusal] | None:
    try:
        ask()
    except Refusal as refusal:
        return type(refusal)
    return None
