"""Settlement: what a rail reports is booked to the last cent, whatever it fits, and once."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import pytest

from commands.settlement import LINES_MAX, LineAsked, RecordSettlement
from domain import ids, next_step
from domain.events import AccountOpened, EntryPosted, SettlementRecorded
from domain.money import AMOUNT_MAX
from domain.payment import Payment
from domain.rail import Rail
from domain.settlement import Said
from replay.verify import verify
from tests import payment_words as words
from tests.stored import MemoryStored
from tests.support import BOOK, NOW, books_of, close, freeze, open_account, open_book, transfer
from tests.unit.test_payment import ACH_IN, CARD_IN, OUT, Story


class Told(Story):
    """A payment, and what its rail reports of it."""

    def report(self, *lines: tuple[Any, ...], **said: Any) -> str:
        """Lines as of `words.report`, of this payment."""
        self.reported += 1
        known = self.payment
        return self.do(words.report(*((known, *line) for line in lines), part=self.reported, **said))

    @property
    def recorded(self) -> SettlementRecorded:
        """The latest."""
        event = self.outcome.recorded[0].event
        assert isinstance(event, SettlementRecorded), event
        return event

    def why(self, *lines: tuple[Any, ...], **said: Any) -> Sequence[str]:
        """What a report has that fits nothing."""
        assert self.report(*lines, **said) == "done"
        return [one.why for one in self.recorded.breaks]

    def balances(self, rail: str) -> list[str]:
        """Of the account, clearing, settlement, fees and suspense: credits less debits."""
        codes = (self.account, f"clearing:{rail}:EUR", f"settlement:{rail}:EUR", f"fees:{rail}:EUR", "suspense:EUR")
        return [self.shown(code) for code in codes]

    def must_hold(self) -> None:
        """The independent checker, and verification of the log."""
        books_of(self.store).check()
        report = verify(MemoryStored(self.store))
        assert report.findings == ()


DUE_TO_US, OURS = ["100", "0", "-100", "0", "0"], ["0", "0", "0", "0", "0"]


@pytest.mark.parametrize(
    ("said_of", "story", "balances"),
    [
        (ACH_IN, "start yes settled:1", DUE_TO_US),
        (CARD_IN, "start yes capture yes settled:2", DUE_TO_US),
        (CARD_IN, "start yes capture:30 yes settled:2", ["30 +70", "0 -70", "-30", "0", "0"]),
        (OUT, "start yes settled:1", ["-100", "0", "100", "0", "0"]),
        (ACH_IN, "start yes refund:40 yes settled:2", ["60", "-100", "40", "0", "0"]),
        (ACH_IN, "start yes refund:40 yes settled:2 settled:1", ["60", "0", "-60", "0", "0"]),
        (ACH_IN, "start yes reverse yes settled:1 settled:2", OURS),
        (OUT, "start yes reverse yes settled:1 settled:2", OURS),
        # What came back is taken from the account, or given to it; the rail pays that much less, or more.
        (ACH_IN, "start yes settled:1 returned:1", OURS),
        (ACH_IN, "start yes settled:1 returned:1:30", ["70", "0", "-70", "0", "0"]),
        (ACH_IN, "start yes returned:1 settled:1", OURS),
        (OUT, "start yes settled:1 returned:1", OURS),
        (ACH_IN, "start yes settled:1 refund:40 yes settled:2 returned:2", DUE_TO_US),
        (ACH_IN, "start yes settled:1 reverse yes settled:2 returned:2", DUE_TO_US),
        (OUT, "start yes settled:1 reverse yes settled:2 returned:2", ["-100", "0", "100", "0", "0"]),
        # The account may owe more than it has had: that is so.
        (ACH_IN, "start yes settled:1 refund yes settled:2 returned:1", ["-100", "0", "100", "0", "0"]),
        # What it may not take is on suspense.
        (ACH_IN, "start yes settled:1 freeze returned:1", ["100", "0", "0", "0", "-100"]),
        (OUT, "start yes settled:1 freeze returned:1", ["-100", "0", "0", "0", "100"]),
        ({**ACH_IN, "account": "purse"}, "start yes settled:1 drain returned:1", ["0", "0", "0", "0", "-100"]),
        # A dispute takes at once, and gives back if it is won.
        (CARD_IN, "start yes capture yes settled:2 disputed:2:40", ["60", "0", "-60", "0", "0"]),
        (CARD_IN, "start yes capture yes settled:2 disputed:2:40 won:2:40", DUE_TO_US),
        (CARD_IN, "start yes capture yes settled:2 disputed:2:40 lost:2:40", ["60", "0", "-60", "0", "0"]),
        (CARD_IN, "start yes capture yes settled:2 disputed:2:40 accept", ["60", "0", "-60", "0", "0"]),
        (CARD_IN, "start yes capture yes settled:2 disputed:2:40 accept won:2:40", DUE_TO_US),
        (CARD_IN, "start yes capture yes settled:2 disputed:2:40 contest yes won:2:40", DUE_TO_US),
        (CARD_IN, "start yes capture yes settled:2 freeze disputed:2:40", ["100", "0", "-60", "0", "-40"]),
    ],
)
def test_what_is_booked(said_of: dict[str, Any], story: str, balances: list[str]) -> None:
    """
    Once all has settled the clearing account is at zero; what the rail has paid is a debit on the settlement account.
    """
    told = Told(**said_of)

    assert told.tell(story) == "done"

    assert told.balances(said_of.get("rail", "card")) == balances
    told.must_hold()


def test_one_entry_has_it_all() -> None:
    """
    What settled in and out, what came back and the fees are one entry, on the day the rail says, beside the lines'.
    """
    told = Told(**ACH_IN)
    told.tell("start yes refund:40 yes")
    known = told.payment
    fees = [7, -2, 5]
    lines = [line for one in (("settled", 1), ("settled", 2), ("returned", 2)) for line in asked_of(known, one)]
    command = report([line.model_copy(update={"fee": fee}) for line, fee in zip(lines, fees, strict=True)], rail="ach")

    assert told.do(command) == "done"

    recorded = told.recorded
    assert (recorded.incoming, recorded.outgoing, recorded.fees, recorded.net) == (140, 40, 10, 90)
    assert recorded.lines == {"settled": 2, "returned": 1} and recorded.breaks == ()
    assert told.balances("ach") == ["100", "0", "-90", "-10", "0"]
    [entry] = [one for one in told.outcome.recorded if one.stream_id == recorded.entry_id]
    assert isinstance(entry.event, EntryPosted) and entry.event.value_date == NOW.date()
    settled, refunded = told.payment.requests.values()
    assert (settled.settled_on, settled.fee, refunded.fee) == (NOW.date(), 7, 3)
    assert settled.settlement_id == refunded.settlement_id == told.outcome.recorded[0].stream_id
    told.must_hold()


def asked_of(known: Payment, *lines: tuple[Any, ...]) -> tuple[LineAsked, ...]:
    command = words.report(*((known, *line) for line in lines))
    assert isinstance(command, RecordSettlement)
    return command.lines


def report(lines: Sequence[LineAsked], *, rail: str = "card", **said: Any) -> RecordSettlement:
    fields = {"book": "main", "rail": Rail(rail), "route": "first", "day": NOW.date(), "currency": "EUR", **said}
    return RecordSettlement(lines=tuple(lines), **fields)


def line(operation: str = "capture", amount: int = 10, said: str = "settled", **more: Any) -> LineAsked:
    """Of a payment nobody knows."""
    return LineAsked(said=Said(said), request_id="unheard of", operation=operation, amount=amount, **more)  # type: ignore[arg-type]


CAPTURED = "start yes capture yes"
TWICE = "start yes capture:30 yes capture yes"


@pytest.mark.parametrize(
    ("said_of", "story", "reported", "why", "suspense"),
    [
        (CARD_IN, CAPTURED, ("settled", 2, 99), "what was done is 100", "99"),
        (CARD_IN, f"{CAPTURED} settled:2", ("settled", 2), "it settled on 2026-01-15", "100"),
        (CARD_IN, "start yes capture", ("settled", 2), "here it is not done but requested", "100"),
        (CARD_IN, "start yes capture silence", ("settled", 2), "here it is not done but unknown", "100"),
        (ACH_IN, "start accepted", ("settled", 1), "here it is not done but accepted", "100"),
        (ACH_IN, "start accepted", ("returned", 1), "here it is not done but accepted", "-100"),
        (ACH_IN, "start no", ("settled", 1), "here it is not done but failed", "100"),
        (OUT, "start no", ("settled", 1), "here it is not done but failed", "-100"),
        (OUT, "start yes", ("returned", 1, 101), "100 is left to return", "101"),
        (ACH_IN, "start yes returned:1:60:a", ("returned", 1, 41, "b"), "40 is left to return", "-41"),
        (ACH_IN, "start yes returned:1:60:a", ("returned", 1, 1, "a"), "returned under this reference before", "-1"),
        (OUT, "start yes", ("disputed", 1), "nothing was taken by it", "-100"),
        (CARD_IN, f"{CAPTURED} refund:40 yes", ("disputed", 3), "nothing was taken by it", "-40"),
        (CARD_IN, f"{CAPTURED} disputed:2:40", ("disputed", 2, 1), "disputed under this reference before", "-1"),
        (CARD_IN, f"{CAPTURED} disputed:2:40", ("disputed", 2, 61, "b"), "60 is left to dispute", "-61"),
        (CARD_IN, CAPTURED, ("won", 2), "there is no such dispute", "100"),
        (CARD_IN, CAPTURED, ("lost", 2), "there is no such dispute", "0"),
        (CARD_IN, f"{CAPTURED} disputed:2:40", ("won", 2, 40, "b"), "there is no such dispute", "40"),
        (CARD_IN, f"{CAPTURED} disputed:2:40", ("won", 2, 39), "the dispute is over 40", "39"),
        (CARD_IN, f"{TWICE} disputed:2:30", ("won", 3, 30), "there is no such dispute", "30"),
        (CARD_IN, f"{TWICE} disputed:2:30", ("disputed", 3, 30), "disputed under this reference before", "-30"),
        (CARD_IN, f"{CAPTURED} disputed:2:40 won:2:40", ("won", 2, 40), "the dispute was won before", "40"),
        (CARD_IN, f"{CAPTURED} disputed:2:40 lost:2:40", ("won", 2, 40), "the dispute was lost before", "40"),
        (CARD_IN, f"{CAPTURED} disputed:2:40 accept lost:2:40", ("lost", 2, 40), "the dispute was lost before", "0"),
    ],
)
def test_what_fits_nothing(
    said_of: dict[str, Any], story: str, reported: tuple[Any, ...], why: str, suspense: str
) -> None:
    """
    It is neither dropped nor refused: what moved is on suspense, and nothing else moves, nor does the payment change.
    """
    told = Told(**said_of)
    assert told.tell(story) == "done"
    rail = said_of.get("rail", "card")
    before, known = told.balances(rail), told.payment

    [found] = told.why(reported)

    assert why in found
    after = told.balances(rail)
    assert (after[:2], after[3:]) == (before[:2], [before[3], suspense])
    assert int(after[2]) == int(before[2]) - int(suspense)
    assert told.payment == known
    told.must_hold()


def test_what_nobody_asked_for() -> None:
    """
    Of an unknown payment, of another book's, by another rail or in another currency, upon something else than was
    asked: each line is kept as the rail says it, with why, and the sum of it all is right.
    """
    told = Told(**CARD_IN)
    told.tell(CAPTURED)
    [known] = asked_of(told.payment, ("settled", 2))
    told.do(open_book("other"))
    told.do(open_account("shop", "liability", book="other"))
    told.do(words.create(book="other", confirm=True))
    other = told.outcome.payment
    assert other is not None
    lines = [
        line("capture", 1, fee=3, reference="r", code="c", reason="why", message="m"),
        line("payout", 2, payment_id=UUID(int=5)),
        line("reverse", 4),
        line("capture", 8, payment_id=other.id),
        line("refund", 16, payment_id=told.id),
        known.model_copy(update={"operation": "refund"}),
    ]

    assert told.do(report(lines)) == "done"

    breaks = told.recorded.breaks
    unknown = "no payment is known for it"
    assert [(one.why, one.moved) for one in breaks] == [
        (unknown, 1),
        (unknown, -2),
        (unknown, -4),
        (unknown, 8),
        ("nothing was asked under this request id", -16),
        ("what was asked is to capture", -100),
    ]
    first = breaks[0]
    assert (first.request_id, first.fee, first.reference, first.code, first.message) == ("unheard of", 3, "r", "c", "m")
    assert [one.payment_id for one in breaks[1:4]] == [UUID(int=5), None, other.id]
    assert told.recorded.net == 9 - 122 - 3
    assert told.balances("card") == ["100", "-100", "116", "-3", "-113"]
    assert told.why(("settled", 2), rail="ach") == ["it was asked of card"]
    assert told.do(report([known], currency="USD")) == "done"
    assert [one.why for one in told.recorded.breaks] == ["it was asked in EUR"]
    assert told.do(report([line("reverse", 4)], rail="wire")) == "done" and told.recorded.breaks[0].moved == 4
    told.must_hold()


def test_nothing_moved() -> None:
    """
    A report of a lost dispute alone has no entry.
    """
    told = Told(**CARD_IN)
    told.tell(f"{CAPTURED} disputed:2:40")

    assert told.report(("lost", 2, 40)) == "done"

    assert (told.recorded.entry_id, told.recorded.net, told.recorded.lines) == (None, 0, {"dispute_lost": 1})
    assert len(told.outcome.recorded) == 2
    told.must_hold()


def test_each_part_once() -> None:
    """
    The same part of a route's day in one currency is not booked again under another key; another part, day, route or
    currency is another thing.
    """
    told = Told(**CARD_IN)
    told.tell(CAPTURED)
    once = report([line()])
    assert told.do(once) == "done"
    before = len(told.store.events)

    assert told.do(once) == "settlement_recorded_already"
    assert told.do(report([line("refund", 3)])) == "settlement_recorded_already"

    assert len(told.store.events) == before + 2  # The refusals.
    for other in ({"part": 2}, {"route": "second"}, {"day": NOW.date().replace(day=1)}, {"currency": "USD"}):
        assert told.do(report([line()], **other)) == "done"
    assert told.outcome.recorded[0].stream_id == ids.settlement_id(BOOK, "card", "first", NOW.date(), "USD", 1)
    assert told.do(report([line()], book="nowhere")) == "book_not_found"
    told.must_hold()


def test_more_than_a_posting_may_be() -> None:
    """
    What comes to more in sum than one posting may be is refused whole; in smaller parts it fits.
    """
    told = Told(**CARD_IN)
    most = line(amount=AMOUNT_MAX)

    assert told.do(report([most, line(amount=1)])) == "amount_too_large"

    assert told.do(report([most])) == "done" and told.do(report([line(amount=1)], part=2)) == "done"
    with pytest.raises(ValueError, match="at most 200"):
        report([line()] * (LINES_MAX + 1))


def test_one_account_bears_what_several_lines_take() -> None:
    """
    What each line takes counts for the next: an account that can bear one return and not two has the second on
    suspense.
    """
    told = Told(**ACH_IN, account="purse")
    told.tell("start yes settled:1 fund:50 drain:50")
    told.do(words.create("purse", 30, "ach", confirm=True))
    assert told.outcome.payment is not None
    first, second = told.payment, told.outcome.payment
    for step in ("start", "yes"):
        told.id = second.id
        assert told.word(step) == "done"
    second = told.payment
    told.do(transfer("purse", "bank", 20))

    assert told.do(words.report((first, "returned", 1), (second, "returned", 1), part=9)) == "done"

    assert told.balances("ach") == ["10", "-30", "30", "0", "-30"]
    told.must_hold()


def test_what_came_back_can_go_again() -> None:
    """
    A refund that is returned has given nothing back, and so leaves that much to refund; so does a dispute that is won.
    """
    told = Told(**CARD_IN)

    assert told.tell(f"{CAPTURED} refund:60 yes returned:3 disputed:2:40 won:2:40 refund:100 yes") == "done"

    assert (told.payment.refunded, told.shown("shop")) == (100, "0")
    assert told.tell("refund:1") == "payment_amount_exceeded"


def test_a_closed_dispute_stays_closed() -> None:
    """
    That the rail has the evidence is no news once it has said how the dispute ended.
    """
    told = Told(**CARD_IN)

    assert told.tell(f"{CAPTURED} disputed:2:40 contest lost:2:40 yes") == "done"

    assert [one.state.value for one in told.payment.disputes.values()] == ["lost"]
    told.must_hold()


def test_what_a_rail_is_asked() -> None:
    """
    An answer to a dispute names it as the rail does, with the evidence; a reversal names what is undone.
    """
    told = Told(**CARD_IN)
    told.tell(f"{CAPTURED} disputed:2:40 contest")
    contest = told.payment.open[0]

    asked = next_step.instruction(told.payment, contest)

    capture = words.request_id(told.id, 2)
    assert (asked.operation.value, asked.amount, asked.original, asked.original_request_id) == (
        *("contest", 40),
        *("case", capture),
    )
    assert asked.evidence == {"receipt": "Paid"}
    told.tell("yes won:2:40 reverse")
    undone = next_step.instruction(told.payment, told.payment.open[0])
    assert (undone.operation.value, undone.amount, undone.original_request_id) == ("reverse", 100, capture)
    assert (undone.original, undone.evidence) == (told.payment.requests[capture].reference, {})


def test_a_rail_that_says_the_opposite_of_what_was_found_out() -> None:
    """
    It is on record as a contradiction, and moves nothing.
    """
    told = Told(**ACH_IN)

    assert told.tell("start silence resolve:1:done no:1") == "done"

    [request] = told.payment.requests.values()
    assert request.contradicted and told.shown("shop") == "100"
    assert told.tell("start") == "payment_status_forbids"


def test_accounts_of_its_own() -> None:
    """
    Settlement and fees accounts are opened when they are first needed, for what they are, and nobody else opens one,
    freezes or closes it.
    """
    told = Told(**CARD_IN)
    told.tell(CAPTURED)
    for code in ("settlement:card:EUR", "fees:x"):
        assert told.do(open_account(code)) == "account_code_reserved"

    assert told.do(report([line(fee=1)])) == "done"

    opened = {event.code: event.type for one in told.outcome.recorded if isinstance(event := one.event, AccountOpened)}
    assert opened == {"settlement:card:EUR": "asset", "fees:card:EUR": "expense", "suspense:EUR": "liability"}
    assert told.do(freeze("settlement:card:EUR")) == "account_code_reserved"
    assert told.do(close("fees:card:EUR")) == "account_code_reserved"
