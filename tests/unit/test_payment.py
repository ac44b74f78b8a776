"""Payments: the table of states walked through to its last row, each refusal once, and what each step books."""

from collections import deque
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID, uuid5

import pytest

from adapters.memory.store import MemoryEventStore
from commands.command import Command
from commands.desk import Outcome
from commands.payment import (
    AcceptDispute,
    ApprovePayment,
    AttachMethod,
    CancelPayment,
    CapturePayment,
    ConfirmPayment,
    ContestDispute,
    ExpirePayment,
    GiveUpPayment,
    IncreaseAuthorization,
    RefundPayment,
    ResolveOutcome,
    RetryPayment,
    ReversePayment,
    StartAttempt,
)
from domain import errors, ids, payment
from domain.errors import Refusal
from domain.events import Event, PaymentActionRequired, PaymentIntentCreated, PaymentValidated, recorded
from domain.money import AMOUNT_MAX
from domain.payment import ENDED, FIRST, TRANSITIONS, Payment, State, Status, Trigger
from domain.posting import ZERO, Totals
from domain.rail import Accepted, Approved, Declined, Operation, Rail, Retry, Unknown
from tests import payment_words as words
from tests.support import (
    BOOK,
    NOW,
    Reports,
    asked,
    books_of,
    cells,
    close,
    desk,
    freeze,
    open_account,
    open_book,
    said,
    transfer,
    unfreeze,
)

ID = UUID(int=7)
EXPIRY = NOW + timedelta(hours=1)
REQUESTS_MAX = 3
LINK = Accepted(reference="r", code="01", action={"type": "upi_link", "link": "upi://pay?"})


# The table of states.


def intent(direction: str, approvals: int) -> PaymentIntentCreated:
    return PaymentIntentCreated(
        book_id=BOOK,
        account_id=ids.account_id(BOOK, "shop"),
        direction=direction,
        amount=2,
        currency="EUR",
        approvals=approvals,
        expires_at=EXPIRY,
    )


def attempts(known: Payment) -> Iterator[Callable[[], Event]]:
    """Everything that can be tried with a payment, before and after its time."""
    for rail in ("card", "ach", "wire"):
        yield partial(payment.attach, known, method=words.METHODS[rail].method())
    for approver in ("maker", "ann"):
        yield partial(payment.approve, known, approver=approver, now=NOW)
    for now in (NOW, EXPIRY):
        yield partial(payment.confirm, known, now=now)
        yield partial(payment.expire, known, now=now)
        if known.is_validated:
            yield partial(payment.start, known, route="r", decision={}, now=now)
        yield partial(payment.capture, known, amount=1, final=False, now=now)
        yield partial(payment.increase, known, amount=1, now=now)
    yield partial(payment.approve, known, approver="bob", now=EXPIRY)
    yield partial(payment.capture, known, amount=1, final=True, now=NOW)
    yield partial(payment.capture, known, amount=None, final=False, now=NOW)
    yield partial(payment.cancel, known, reason="")
    yield partial(payment.give_up, known, reason="")
    if known.status is not Status.REQUIRES_PAYMENT_METHOD:  # There it is what attaching and confirming are.
        yield lambda: payment.retry(known, now=NOW)[0]
    for amount in (1, None):
        yield partial(payment.refund, known, amount=amount, upon=None, reason="")
    for request in known.requests.values():
        for answer in answers(request.amount):
            yield partial(payment.answer, known, request_id=request.id, answer=answer)
    attempt = known.attempt
    if attempt is not None and attempt.is_open:
        wanted = payment.action(known, request_id=attempt.id, answer=LINK)
        if wanted is not None:
            yield lambda: wanted
    # What no command decides yet.
    if known.status is Status.PROCESSING and not known.open:
        for passed in (True, False):
            yield partial(PaymentValidated, rule={}, votes=[], passed=passed)


def answers(amount: int) -> list[Approved | Declined | Accepted | Unknown]:
    return [
        Approved(reference="r", amount=amount, currency="EUR", code="00"),
        Approved(reference="r", amount=amount + 1, currency="EUR", code="00"),
        Declined(code="51", reason="no", message="", retry=Retry.NEVER),
        Declined(code="91", reason="no", message="", retry=Retry.ELSEWHERE),
        Accepted(reference="r", code="09"),
        Unknown(why="silence"),
    ]


def shape(known: Payment) -> Any:
    """What tells two payments apart as far as their future goes."""
    requests = tuple(
        (one.operation, one.state, one.amount, one.final, one.taken_back, one.contradicted, bool(one.upon))
        for one in known.requests.values()
    )
    kind = known.intent.direction, known.intent.approvals, type(known.method)
    since = known.approvers, known.is_validated
    return *kind, known.status, *since, known.expiring, known.authorized, known.captured, requests


def test_the_table_is_all_that_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Every payment of up to three requests that anybody can bring about, by any order of commands and rails' answers, is
    tried with everything: each row of the table comes about, nothing else is even attempted, and the sums hold. They
    are 7,308 payments; with up to four requests, as tried once, 66,396.
    """
    happened: set[tuple[Status, Trigger]] = set()
    by = payment._by

    def watched(known: Payment, trigger: Trigger) -> Payment:
        happened.add((known.status, trigger))
        return by(known, trigger)

    monkeypatch.setattr(payment, "_by", watched)
    first = [
        payment.created(ID, intent(direction, approvals), "maker")
        for direction in ("in", "out")
        for approvals in (0, 1)
    ]
    seen, queue = {shape(known) for known in first}, deque(first)
    while queue:
        known = queue.popleft()
        for attempt in attempts(known):
            try:
                event = attempt()
            except Refusal:
                continue
            after = payment.evolve(known, event, EXPIRY)
            must_hold(known, after)
            if len(after.requests) <= REQUESTS_MAX and shape(after) not in seen:
                seen.add(shape(after))
                queue.append(after)

    assert happened == set(TRANSITIONS)
    assert len(seen) > 7000


def must_hold(before: Payment, after: Payment) -> None:
    """Of any step: nothing over comes back, nothing is asked in doubt, sums stay within each other."""
    assert after.version == before.version + 1
    assert before.status not in ENDED or after.status is before.status
    assert bool(after.action) is (after.status is Status.REQUIRES_ACTION)
    asked = len(after.requests) > len(before.requests)
    assert not (asked and any(one.state is State.UNKNOWN for one in before.requests.values()))
    assert 0 <= after.refunded <= after.captured
    assert after.captured <= after.authorized or after.attempt is None or after.attempt.operation is Operation.COLLECT
    assert sum(one.taken_back for one in after.requests.values()) <= after.captured
    if after.status in (Status.CANCELED, Status.EXPIRED):
        assert not after.captured
    if after.status in ENDED:
        assert {one.operation for one in after.open} <= {Operation.REFUND}


def test_the_table() -> None:
    """
    The table once more, as it is meant: what may happen in each status, and what comes of it wherever it happens.
    """
    meant = """
        requires_payment_method | METHOD CANCELED EXPIRED
        requires_confirmation   | METHOD CONFIRMED APPROVAL_WANTED CANCELED EXPIRED
        requires_approval       | APPROVED CANCELED EXPIRED
        processing              | REJECTED ATTEMPT ACTION ATTEMPT_FAILED FAILED AUTHORIZED DONE CANCELED EXPIRED
        requires_action         | ATTEMPT_FAILED FAILED AUTHORIZED DONE
        requires_capture        | CAPTURED_PART CAPTURED_WHOLE CAPTURE_ENDED VOIDED EXPIRED
    """
    always = {
        Trigger.METHOD: Status.REQUIRES_CONFIRMATION,
        Trigger.CONFIRMED: Status.PROCESSING,
        Trigger.APPROVAL_WANTED: Status.REQUIRES_APPROVAL,
        Trigger.APPROVED: Status.PROCESSING,
        Trigger.REJECTED: Status.REQUIRES_PAYMENT_METHOD,
        Trigger.ATTEMPT: Status.PROCESSING,
        Trigger.ACTION: Status.REQUIRES_ACTION,
        Trigger.ATTEMPT_FAILED: Status.PROCESSING,
        Trigger.FAILED: Status.REQUIRES_PAYMENT_METHOD,
        Trigger.AUTHORIZED: Status.REQUIRES_CAPTURE,
        Trigger.CAPTURED_PART: Status.REQUIRES_CAPTURE,
        Trigger.CAPTURED_WHOLE: Status.SUCCEEDED,
        Trigger.CAPTURE_ENDED: Status.PARTIALLY_CAPTURED,
        Trigger.DONE: Status.SUCCEEDED,
        Trigger.VOIDED: Status.CANCELED,
        Trigger.CANCELED: Status.CANCELED,
        Trigger.EXPIRED: Status.EXPIRED,
    }

    assert dict(TRANSITIONS) == {
        (Status(status), Trigger[name]): always[Trigger[name]]
        for status, names in cells(meant)
        for name in names.split()
    }


def test_money_moves_only_as_rails_can() -> None:
    """
    Each direction and rail begins with one operation, or cannot be.
    """
    assert {(direction, rail.value): FIRST[direction, rail].value for direction, rail in FIRST} == {
        ("in", "card"): "authorize",
        ("in", "ach"): "collect",
        ("in", "upi"): "collect",
        ("out", "ach"): "payout",
        ("out", "wire"): "payout",
        ("out", "upi"): "payout",
    }
    assert ("in", Rail.WIRE) not in FIRST


# Stories, told in words.


class Story:
    """One payment on one desk, told word by word: a command, or what a rail says to the latest open request."""

    def __init__(self, **said_of: Any) -> None:
        self.now = NOW
        self.reported = 0
        self.store = MemoryEventStore(lambda: self.now)
        self.reports: Reports = []
        self.desk = desk(self.store, self.reports, intent_life=said_of.pop("life", None))
        for each in [
            open_book(),
            open_account("bank", "equity"),
            open_account("shop", "liability"),
            open_account("full", "liability", ceiling=99),
            open_account("purse", "liability", overdraft_limit=0),
            open_account("debt", "asset"),
        ]:
            assert self.do(each) == "done"
        self.outcome: Outcome
        self.account = said_of.get("account", "shop")
        assert self.do(words.create(**{"confirm": True, "capture": "manual", **said_of})) == "done"
        assert self.outcome.payment is not None
        self.id = self.outcome.payment.id

    def do(self, command: Command) -> str:
        [answer] = self.desk._answer_all([asked(command)])
        assert isinstance(answer, Outcome), (answer, self.reports)
        self.outcome = answer
        return said(answer)

    def tell(self, words_: str) -> str:
        """The last word's answer; all before must be done."""
        *before, last = words_.split()
        for word in before:
            assert self.word(word) == "done", (word, self.outcome)
        return self.word(last)

    def word(self, told: str) -> str:
        word, *rest = told.split(":")
        amount = int(rest[0]) if rest and rest[0].isdigit() else None
        of: dict[str, Any] = {"payment_id": self.id}
        match word:
            case "later":
                self.now += timedelta(hours=2)
                return "done"
            case "freeze" | "unfreeze" | "close":
                return self.do({"freeze": freeze, "unfreeze": unfreeze, "close": close}[word](self.account))
            case "fund":
                return self.do(transfer("bank", self.account, amount or 100))
            case "drain":
                return self.do(transfer(self.account, "bank", amount or 100))
        commands: dict[str, Callable[[], Command]] = {
            "method": lambda: AttachMethod(**of, method=words.METHODS[rest[0]]),
            "confirm": lambda: ConfirmPayment(**of),
            "approve": lambda: ApprovePayment(**of, approver=rest[0]),
            "start": lambda: StartAttempt(**of, route="first", votes=words.HEARD),
            "give_up": lambda: GiveUpPayment(**of, reason="no"),
            "retry": lambda: RetryPayment(**of),
            "increase": lambda: IncreaseAuthorization(**of, amount=amount or 1),
            "capture": lambda: CapturePayment(**of, amount=amount, final="final" in rest),
            "cancel": lambda: CancelPayment(**of, reason=rest[0] if rest else ""),
            "expire": lambda: ExpirePayment(**of),
            "refund": lambda: RefundPayment(**of, amount=amount),
            "refund_upon": lambda: RefundPayment(**of, capture=words.request_id(self.id, int(rest[0]))),
            "reverse": lambda: ReversePayment(**of),
            "reverse_upon": lambda: ReversePayment(**of, request=words.request_id(self.id, int(rest[0]))),
            "contest": lambda: ContestDispute(**of, dispute_id=self.dispute(rest), evidence={"receipt": "Paid"}),
            "accept": lambda: AcceptDispute(**of, dispute_id=self.dispute(rest)),
            "resolve": lambda: ResolveOutcome.model_validate(
                {**of, "request_id": words.request_id(self.id, int(rest[0])), "outcome": rest[1], "reason": "found out"}
            ),
        }
        if word in words.SAID:
            known = self.payment
            self.reported += 1
            return self.do(words.report((known, *told.split(":")), part=self.reported))
        return self.do(commands[word]() if word in commands else self.answer(word, amount))

    def dispute(self, rest: list[str]) -> UUID:
        return ids.dispute_id(self.id, rest[0] if rest else "case")

    def answer(self, word: str, nth: int | None) -> Command:
        """To that request, or else to the latest that is open."""
        known = self.payment
        request = known.open[-1].id if nth is None else words.request_id(self.id, nth)
        amount = known.requests[request].amount if request in known.requests else 1
        match word:
            case "yes":
                return words.says(self.id, request, "approved", amount)
            case "other":
                return words.says(self.id, request, "approved", amount + 1)
            case "foreign":
                return words.says(self.id, request, "approved", amount, "USD")
        return words.says(self.id, request, {"no": "never", "again": "later"}.get(word, word))

    @property
    def payment(self) -> Payment:
        found = payment.fold(
            self.id, [event for raw in self.store.events if (event := recorded(raw)).stream_id == self.id]
        )
        assert found is not None
        return found

    def totals(self, code: str) -> Totals:
        name = ids.account_id(BOOK, code)
        return next((row.totals for row in reversed(self.store.postings) if row.account_id == name), ZERO)

    def shown(self, code: str) -> str:
        """`credits-debits`, and what is pending of each as `+credits` `-debits`."""
        totals = self.totals(code)
        pending = [
            f"{sign}{some}" for sign, some in (("+", totals.pending_credits), ("-", totals.pending_debits)) if some
        ]
        return " ".join([str(totals.credits - totals.debits), *pending])


OUT = {"direction": "out", "rail": "ach"}
DUE = {"expires_at": EXPIRY}
LIFE = {"life": timedelta(hours=1)}
TWO = {"approvals": 2}


@pytest.mark.parametrize(
    ("said_of", "story", "refusal"),
    [
        ({}, "method:card", errors.PaymentStatusForbids),
        ({"confirm": False}, "method:wire", errors.PaymentMethodUnfit),
        ({"confirm": False, "direction": "out", "rail": "upi"}, "method:card", errors.PaymentMethodUnfit),
        ({}, "confirm", errors.PaymentStatusForbids),
        ({"confirm": False, "rail": None}, "confirm", errors.PaymentStatusForbids),
        ({"confirm": False, **DUE}, "later confirm", errors.PaymentStatusForbids),
        ({}, "approve:ann", errors.PaymentStatusForbids),
        (TWO, "approve:tester", errors.PaymentApproverIsMaker),
        (TWO, "approve:ann approve:ann", errors.PaymentApprovalNotWanted),
        ({**TWO, **DUE}, "later approve:ann", errors.PaymentStatusForbids),
        (TWO, "approve:ann start", errors.PaymentStatusForbids),
        (DUE, "later start", errors.PaymentStatusForbids),
        ({}, "start start", errors.PaymentBusy),
        ({}, "start silence start", errors.PaymentOutcomeIsUnknown),
        ({}, "start give_up", errors.PaymentBusy),
        ({}, "start silence give_up", errors.PaymentOutcomeIsUnknown),
        ({"confirm": False}, "give_up", errors.PaymentStatusForbids),
        ({}, "capture", errors.PaymentStatusForbids),
        ({}, "start yes capture:101", errors.PaymentAmountExceeded),
        ({}, "start yes capture:60 yes capture:41", errors.PaymentAmountExceeded),
        ({}, "start yes capture:60 capture:40", errors.PaymentBusy),
        ({}, "start yes capture:60 silence capture:40", errors.PaymentOutcomeIsUnknown),
        (DUE, "start yes later capture", errors.PaymentStatusForbids),
        ({}, "start yes capture yes capture", errors.PaymentStatusForbids),
        ({}, "increase", errors.PaymentStatusForbids),
        ({}, f"start yes increase:{AMOUNT_MAX - 99}", errors.AmountTooLarge),
        (DUE, "start yes later increase", errors.PaymentStatusForbids),
        ({}, "start yes capture silence increase", errors.PaymentOutcomeIsUnknown),
        ({}, "cancel cancel", errors.PaymentStatusForbids),
        ({}, "start cancel", errors.PaymentBusy),
        ({}, "start accepted cancel", errors.PaymentBusy),
        ({}, "start silence cancel", errors.PaymentOutcomeIsUnknown),
        ({}, "start yes cancel cancel", errors.PaymentBusy),
        ({}, "start link cancel", errors.PaymentStatusForbids),
        ({}, "start link link", errors.PaymentAnswerKnown),
        ({}, "start link accepted", errors.PaymentAnswerKnown),
        ({}, "start link retry", errors.PaymentStatusForbids),
        (DUE, "start link later expire", errors.PaymentStatusForbids),
        ({}, "retry", errors.PaymentStatusForbids),
        ({"confirm": False}, "retry", errors.PaymentStatusForbids),
        ({"confirm": False, "rail": None}, "retry", errors.PaymentStatusForbids),
        (TWO, "retry", errors.PaymentStatusForbids),
        ({}, "start retry", errors.PaymentBusy),
        ({}, "start silence retry", errors.PaymentOutcomeIsUnknown),
        ({}, "start again retry retry", errors.PaymentStatusForbids),
        ({}, "start no retry retry", errors.PaymentStatusForbids),
        ({}, "start again give_up method:card confirm retry", errors.PaymentStatusForbids),
        (DUE, "start again later retry", errors.PaymentStatusForbids),
        (DUE, "start no later retry", errors.PaymentStatusForbids),
        ({**LIFE, "confirm": False}, "expire", errors.PaymentNotDue),
        ({**LIFE, "confirm": False}, "later confirm", errors.PaymentStatusForbids),
        ({**LIFE, **TWO}, "later approve:ann", errors.PaymentStatusForbids),
        ({**LIFE, "confirm": False}, "later expire confirm", errors.PaymentStatusForbids),
        (LIFE, "later expire", errors.PaymentNotDue),
        (LIFE, "start yes later expire", errors.PaymentNotDue),
        ({}, "expire", errors.PaymentNotDue),
        (DUE, "expire", errors.PaymentNotDue),
        (DUE, "start later expire", errors.PaymentBusy),
        (DUE, "later expire expire", errors.PaymentStatusForbids),
        ({}, "refund", errors.PaymentStatusForbids),
        ({}, "start yes refund", errors.PaymentStatusForbids),
        ({**OUT}, "start yes refund", errors.PaymentStatusForbids),
        ({}, "start yes capture yes refund:101", errors.PaymentAmountExceeded),
        ({}, "start yes capture yes refund:60 refund:41", errors.PaymentAmountExceeded),
        ({}, "start yes capture yes refund refund", errors.PaymentAmountExceeded),
        ({}, "start yes capture yes refund:60 silence refund:1", errors.PaymentOutcomeIsUnknown),
        ({}, "start yes capture yes refund_upon:1", errors.PaymentHasNoSuchRequest),
        ({}, "start yes capture yes freeze refund", errors.AccountIsFrozen),
        ({}, "start yes capture yes returned:2:40 refund:61", errors.PaymentAmountExceeded),
        ({}, "start yes capture yes disputed:2:40 refund:61", errors.PaymentAmountExceeded),
        ({}, "start yes capture yes refund yes returned:2 refund:1", errors.PaymentAmountExceeded),
        ({}, "start yes capture yes reverse refund:1", errors.PaymentAmountExceeded),
        ({}, "start yes reverse", errors.PaymentStatusForbids),
        (OUT, "start reverse", errors.PaymentStatusForbids),
        ({}, "start yes capture silence reverse", errors.PaymentOutcomeIsUnknown),
        ({}, "start yes capture yes reverse_upon:1", errors.PaymentHasNoSuchRequest),
        ({}, "start yes capture yes refund:1 reverse", errors.PaymentAmountExceeded),
        ({}, "start yes capture yes reverse reverse", errors.PaymentAmountExceeded),
        ({}, "start yes capture yes reverse yes reverse", errors.PaymentAmountExceeded),
        ({}, "start yes capture yes returned:2:1 reverse", errors.PaymentAmountExceeded),
        ({}, "start yes capture yes disputed:2:1 reverse", errors.PaymentAmountExceeded),
        ({}, "start yes capture:30 yes refund yes reverse_upon:2", errors.PaymentAmountExceeded),
        (OUT, "start yes reverse yes reverse", errors.PaymentAmountExceeded),
        (OUT, "start yes returned:1:1 reverse", errors.PaymentAmountExceeded),
        ({}, "start yes capture yes freeze reverse", errors.AccountIsFrozen),
        ({"account": "purse"}, "start yes capture yes drain:1 reverse", errors.InsufficientFunds),
        ({}, "start yes capture yes contest", errors.DisputeNotFound),
        ({}, "start yes capture yes disputed:2:40 accept:other", errors.DisputeNotFound),
        ({}, "start yes capture yes disputed:2:40 later contest", errors.DisputeAnswerIsLate),
        ({}, "start yes capture yes disputed:2:40 refund:1 silence contest", errors.PaymentOutcomeIsUnknown),
        ({}, "start yes capture yes disputed:2:40 contest contest", errors.PaymentBusy),
        ({}, "start yes capture yes disputed:2:40 contest accept", errors.PaymentBusy),
        ({}, "start yes capture yes disputed:2:40 contest yes contest", errors.DisputeStateForbids),
        ({}, "start yes capture yes disputed:2:40 contest yes accept", errors.DisputeStateForbids),
        ({}, "start yes capture yes disputed:2:40 accept contest", errors.DisputeStateForbids),
        ({}, "start yes capture yes disputed:2:40 accept accept", errors.DisputeStateForbids),
        ({}, "start yes capture yes disputed:2:40 won:2:40 contest", errors.DisputeStateForbids),
        ({}, "start yes capture yes disputed:2:40 lost:2:40 accept", errors.DisputeStateForbids),
        ({}, "resolve:1:done", errors.PaymentHasNoSuchRequest),
        ({}, "start resolve:1:done", errors.PaymentOutcomeNotOpen),
        ({}, "start yes resolve:1:failed", errors.PaymentOutcomeNotOpen),
        ({}, "start silence resolve:1:done resolve:1:done", errors.PaymentOutcomeNotOpen),
        ({}, "start silence resolve:1:done yes:1", errors.PaymentAnswerKnown),
        ({}, "yes:1", errors.PaymentHasNoSuchRequest),
        ({}, "start yes yes:1", errors.PaymentAnswerKnown),
        ({}, "start no no:1", errors.PaymentAnswerKnown),
        ({}, "start silence silence", errors.PaymentAnswerKnown),
        ({}, "start accepted accepted", errors.PaymentAnswerKnown),
        ({}, "start accepted silence", errors.PaymentAnswerKnown),
        ({}, "start other other", errors.PaymentAnswerKnown),
        ({}, "start yes silence:1", errors.PaymentAnswerKnown),
        ({}, "start yes accepted:1", errors.PaymentAnswerKnown),
        ({}, "start yes no:1 no:1", errors.PaymentAnswerKnown),
    ],
)
def test_what_is_refused(said_of: dict[str, Any], story: str, refusal: type[Refusal]) -> None:
    """
    Each for its own reason, and nothing changes.
    """
    told = Story(**said_of)
    *before, last = story.split()
    if before:
        assert told.tell(" ".join(before)) == "done"
    known, postings = told.payment, len(told.store.postings)

    assert told.tell(last) == refusal.code

    assert (told.payment, len(told.store.postings)) == (known, postings)


def test_tried_again() -> None:
    """
    With the method it has: anew where it failed for good, approvals and all; at once where another attempt would wait.
    """
    told = Story(approvals=1)
    assert told.tell("approve:ann start no retry") == "done"
    assert told.payment.status is Status.REQUIRES_APPROVAL and not told.payment.approvers
    assert told.tell("approve:ann start again") == "done"
    before = told.payment

    assert told.tell("retry") == "done"

    after = told.payment
    assert (after.status, after.approvers, after.requests) == (before.status, before.approvers, before.requests)
    assert after.is_hurried and told.tell("start") == "done" and not told.payment.is_hurried


@pytest.mark.parametrize(
    ("story", "status", "acts"),
    [
        ("start link", Status.REQUIRES_ACTION, True),
        ("start silence link", Status.REQUIRES_ACTION, True),
        ("start link other", Status.REQUIRES_ACTION, True),
        ("start accepted", Status.PROCESSING, False),
        ("start link yes", Status.REQUIRES_CAPTURE, False),
        ("start link no", Status.REQUIRES_PAYMENT_METHOD, False),
        ("start link again", Status.PROCESSING, False),
        ("start link again start", Status.PROCESSING, False),
        ("start yes capture link", Status.REQUIRES_CAPTURE, False),
    ],
)
def test_what_the_payer_has_to_do(story: str, status: Status, acts: bool) -> None:
    """
    It stands in the commit of the acceptance, for an attempt alone, and until the rail says what became of it.
    """
    told = Story()

    assert told.tell(story) == "done"

    assert (told.payment.status, told.payment.action) == (status, LINK.action if acts else {})
    for one in map(recorded, told.store.events):
        if isinstance(one.event, PaymentActionRequired):
            before = told.store.events[one.position - 2]
            assert (before.name, before.recorded_at) == ("payment.operation_accepted.v1", one.recorded_at)


def test_an_intent_that_is_left_lapses() -> None:
    """
    After the life it was given when it was created, unless its client has said when; one that is under way does not.
    """
    left, chosen, under_way = Story(**LIFE, confirm=False), Story(**LIFE, **DUE), Story(**LIFE)
    assert left.payment.intent.lapses_at == EXPIRY and chosen.payment.intent.lapses_at is None

    assert left.tell("later expire") == "done" and left.payment.status is Status.EXPIRED
    assert under_way.tell("later start yes capture yes") == "done"
    back = Story(**LIFE)
    assert back.tell("start later no expire") == "done" and back.payment.status is Status.EXPIRED


def test_what_cannot_be_wanted() -> None:
    """
    A payment of no account, another currency's, an account of Daybook's own, a time that has passed.
    """
    told = Story()
    assert told.tell("start yes") == "done"

    assert told.do(words.create("nobody")) == "account_not_found"
    assert told.do(words.create(currency="USD")) == "currency_mismatch"
    assert told.do(words.create("clearing:card:EUR")) == "account_code_reserved"
    assert told.do(words.create("acc_" + ids.show(ids.ACCOUNT, ids.account_id(BOOK, "clearing:card:EUR"))[4:])) == (
        "account_code_reserved"
    )
    assert told.do(words.create(expires_at=NOW)) == "payment_expires_in_past"
    assert told.do(ConfirmPayment(payment_id=ID)) == "payment_not_found"


# The ledger.

CARD_IN: dict[str, Any] = {}
ACH_IN = {"rail": "ach"}


@pytest.mark.parametrize(
    ("said_of", "story", "own", "clearing", "suspense", "status"),
    [
        (CARD_IN, "start", "0", "0", "0", "processing"),
        (CARD_IN, "start silence", "0", "0", "0", "processing"),
        (CARD_IN, "start no", "0", "0", "0", "requires_payment_method"),
        (CARD_IN, "start again", "0", "0", "0", "processing"),
        (CARD_IN, "start yes", "0 +100", "0 -100", "0", "requires_capture"),
        ({"capture": "automatic"}, "start yes", "0 +100", "0 -100", "0", "requires_capture"),
        ({"capture": "automatic"}, "start yes yes", "100", "-100", "0", "succeeded"),
        (CARD_IN, "start yes increase:50", "0 +100", "0 -100", "0", "requires_capture"),
        (CARD_IN, "start yes increase:50 yes", "0 +150", "0 -150", "0", "requires_capture"),
        (CARD_IN, "start yes increase:50 no", "0 +100", "0 -100", "0", "requires_capture"),
        (CARD_IN, "start yes increase:50 yes capture yes", "150", "-150", "0", "succeeded"),
        (CARD_IN, "start yes capture:30", "0 +100", "0 -100", "0", "requires_capture"),
        (CARD_IN, "start yes capture:30 yes", "30 +70", "-30 -70", "0", "requires_capture"),
        (CARD_IN, "start yes capture:30 no", "0 +100", "0 -100", "0", "requires_capture"),
        (CARD_IN, "start yes capture:30 yes capture:30 yes", "60 +40", "-60 -40", "0", "requires_capture"),
        (CARD_IN, "start yes capture:30 yes capture yes", "100", "-100", "0", "succeeded"),
        (CARD_IN, "start yes capture:30:final yes", "30", "-30", "0", "partially_captured"),
        (CARD_IN, "start yes cancel", "0 +100", "0 -100", "0", "requires_capture"),
        (CARD_IN, "start yes cancel yes", "0", "0", "0", "canceled"),
        (CARD_IN, "start yes cancel no", "0 +100", "0 -100", "0", "requires_capture"),
        (CARD_IN, "start yes capture:30 yes cancel yes", "30", "-30", "0", "partially_captured"),
        (DUE, "start yes later expire", "0 +100", "0 -100", "0", "requires_capture"),
        (DUE, "start yes later expire yes", "0", "0", "0", "expired"),
        ({**DUE, "capture": "automatic"}, "start later yes", "0 +100", "0 -100", "0", "requires_capture"),
        (DUE, "later expire", "0", "0", "0", "expired"),
        (ACH_IN, "start accepted", "0", "0", "0", "processing"),
        (ACH_IN, "start accepted yes", "100", "-100", "0", "succeeded"),
        (ACH_IN, "start accepted no", "0", "0", "0", "requires_payment_method"),
        (ACH_IN, "start yes refund:40", "100 -40", "-100 +40", "0", "succeeded"),
        (ACH_IN, "start yes refund:40 yes", "60", "-60", "0", "succeeded"),
        (ACH_IN, "start yes refund:40 no", "100", "-100", "0", "succeeded"),
        (ACH_IN, "start yes refund:40 silence", "100 -40", "-100 +40", "0", "succeeded"),
        (ACH_IN, "start yes refund:40 yes refund:60 yes", "0", "0", "0", "succeeded"),
        (ACH_IN, "start yes refund:40 no refund yes", "0", "0", "0", "succeeded"),
        (OUT, "start", "0 -100", "0 +100", "0", "processing"),
        (OUT, "start silence", "0 -100", "0 +100", "0", "processing"),
        (OUT, "start yes", "-100", "100", "0", "succeeded"),
        (OUT, "start no", "0", "0", "0", "requires_payment_method"),
        (OUT, "start again start yes", "-100", "100", "0", "succeeded"),
        ({**OUT, "account": "purse"}, "fund:100 start yes", "0", "100", "0", "succeeded"),
        # Somebody who owes: what comes in lowers the debt, what goes back raises it again.
        ({**ACH_IN, "account": "debt"}, "start yes", "100", "-100", "0", "succeeded"),
        ({**ACH_IN, "account": "debt"}, "start yes refund:40", "100 -40", "-100 +40", "0", "succeeded"),
        ({**ACH_IN, "account": "debt"}, "start yes refund yes", "0", "0", "0", "succeeded"),
        # What a rail has done is booked, whatever the account says.
        (ACH_IN, "start freeze yes", "0", "-100", "100", "succeeded"),
        (ACH_IN, "start close yes", "0", "-100", "100", "succeeded"),
        ({**ACH_IN, "account": "full"}, "start yes", "0", "-100", "100", "succeeded"),
        (CARD_IN, "start freeze yes", "0", "0 -100", "0 +100", "requires_capture"),
        (CARD_IN, "start close yes capture:30 yes", "0", "-30 -70", "30 +70", "requires_capture"),
        (CARD_IN, "start close yes cancel yes", "0", "0", "0", "canceled"),
        ({"account": "full"}, "start yes capture yes", "0", "-100", "100", "succeeded"),
        ({"account": "full", "amount": 90}, "start yes increase:20 yes", "0 +90", "0 -90", "0", "requires_capture"),
        ({"account": "full", "amount": 90}, "start yes increase:20 yes capture yes", "0", "-110", "110", "succeeded"),
        (CARD_IN, "start yes freeze capture yes", "0", "-100", "100", "succeeded"),
        (CARD_IN, "start yes freeze capture:30 yes", "0 +100", "-30 -100", "30", "requires_capture"),
        (CARD_IN, "start yes freeze capture:30 yes unfreeze capture yes", "70", "-100", "30", "succeeded"),
        (CARD_IN, "start yes freeze cancel yes", "0", "0", "0", "canceled"),
        (ACH_IN, "start yes refund:40 freeze yes", "100", "-60", "-40", "succeeded"),
        (OUT, "start freeze yes", "0", "100", "-100", "succeeded"),
        (OUT, "start freeze no", "0", "0", "0", "requires_payment_method"),
        # What somebody has found out is booked as if the rail had said it.
        (ACH_IN, "start silence resolve:1:done", "100", "-100", "0", "succeeded"),
        (ACH_IN, "start accepted resolve:1:failed", "0", "0", "0", "requires_payment_method"),
        ({"capture": "automatic"}, "start silence resolve:1:done yes", "100", "-100", "0", "succeeded"),
        (ACH_IN, "start yes refund:40 silence resolve:2:failed", "100", "-100", "0", "succeeded"),
        # What should not have been is undone whole; what goes out by that is set aside before a rail hears of it.
        (ACH_IN, "start yes reverse", "100 -100", "-100 +100", "0", "succeeded"),
        (ACH_IN, "start yes reverse yes", "0", "0", "0", "succeeded"),
        (ACH_IN, "start yes reverse no", "100", "-100", "0", "succeeded"),
        (ACH_IN, "start yes reverse no reverse yes", "0", "0", "0", "succeeded"),
        (ACH_IN, "start yes reverse freeze yes", "100", "0", "-100", "succeeded"),
        (CARD_IN, "start yes capture:30 yes capture yes reverse_upon:2 yes", "70", "-70", "0", "succeeded"),
        (CARD_IN, "start yes capture:30 yes reverse yes capture yes", "70", "-70", "0", "succeeded"),
        (OUT, "start yes reverse", "-100", "100", "0", "succeeded"),
        (OUT, "start yes reverse yes", "0", "0", "0", "succeeded"),
        (OUT, "start yes reverse no", "-100", "100", "0", "succeeded"),
        (OUT, "start yes reverse freeze yes", "-100", "0", "100", "succeeded"),
        (CARD_IN, "start yes capture yes disputed:2:40 contest", "60", "-100", "0", "succeeded"),
    ],
)
def test_what_is_booked(
    said_of: dict[str, Any], story: str, own: str, clearing: str, suspense: str, status: str
) -> None:
    """
    The templates, step by step: balances are credits less debits, `+` and `-` are pending credits and debits.
    """
    told = Story(**said_of)

    assert told.tell(story) == "done"

    rail = said_of.get("rail", "card")
    shown = [told.shown(code) for code in (told.account, f"clearing:{rail}:EUR", "suspense:EUR")]
    assert (shown, told.payment.status.value) == ([own, clearing, suspense], status)
    books_of(told.store).check()


def test_a_capture_of_a_capture_names_what_it_made() -> None:
    """
    The payment remembers the hold and the entry that each request made, under ids anybody can work out.
    """
    told = Story()
    told.tell("start yes capture:30 yes refund:10 yes")

    authorization, capture, refund = told.payment.requests.values()
    assert authorization.hold_id == capture.hold_id == uuid5(told.id, f"hold:{authorization.id}")
    assert refund.hold_id == uuid5(told.id, f"hold:{refund.id}")
    entries = {uuid5(told.id, f"entry:{one.id}") for one in (capture, refund)}
    assert {capture.entry_id, refund.entry_id} == entries
    assert entries <= {raw.stream_id for raw in told.store.events}


# What was once wrong.


def test_approvals_are_of_one_method() -> None:
    """
    After a failure with one payee, those who approved it are asked again about the next: their yes does not count on.
    """
    told = Story(**OUT, approvals=2)
    told.tell("approve:ann approve:bob start no method:upi confirm")

    assert told.payment.approvers == frozenset()
    statuses = [told.payment.status for word in ("approve:cy", "approve:ann") if told.tell(word) == "done"]
    assert statuses == [Status.REQUIRES_APPROVAL, Status.PROCESSING]


def test_a_reason_given_is_no_expiry() -> None:
    """
    Whoever cancels may say `expired`; before its time the payment was canceled all the same.
    """
    told = Story(**DUE)

    assert told.tell("start yes cancel:expired yes") == "done"

    assert told.payment.status is Status.CANCELED


@pytest.mark.parametrize("word", ["other", "foreign"])
def test_what_was_not_asked_for_is_not_booked(word: str) -> None:
    """
    An approval of another amount or currency leaves the outcome unknown, also of what was accepted, until the rail
    speaks of what it was asked.
    """
    for before in ("start", "start accepted"):
        told = Story(rail="ach")

        assert told.tell(f"{before} {word}") == "done"

        assert told.payment.open[0].state is State.UNKNOWN
        assert told.tell("cancel") == "payment_outcome_unknown"
        assert told.tell("yes") == "done"
        assert told.shown("shop") == "100"


@pytest.mark.parametrize(
    ("story", "known"), [("start yes no:1", "done"), ("start yes other:1", "done"), ("start no yes:1", "failed")]
)
def test_a_rail_that_contradicts_itself_is_noted(story: str, known: str) -> None:
    """
    Once known, an outcome stays; that the rail says otherwise, of the amount too, is on record and changes no money.
    """
    told = Story(rail="ach")

    assert told.tell(story) == "done"

    [request] = told.payment.requests.values()
    assert (request.state.value, request.contradicted) == (known, True)
    assert told.shown("shop") == ("100" if known == "done" else "0")


def test_all_in_one_batch() -> None:
    """
    A payout started, answered, and its answer heard twice in one batch: what one step makes, the next finds.
    """
    told = Story(**OUT)
    request = words.request_id(told.id, 1)
    batch: list[Command] = [
        StartAttempt(payment_id=told.id, route="first", votes=words.HEARD),
        words.says(told.id, request, "approved", 100),
        words.says(told.id, request, "approved", 100),
    ]

    answers = told.desk._answer_all([asked(each) for each in batch])

    assert [said(each) for each in answers] == ["done", "done", "payment_answer_known"]
    assert told.reports == []
    assert told.shown("shop") == "-100"


def test_one_key_for_two_commands() -> None:
    """
    A key is one command's: another under the same key, from the same request, is no part of the first one's answer.
    """
    told = Story(confirm=False)
    confirm, cancel = ConfirmPayment(payment_id=told.id), CancelPayment(payment_id=told.id)
    first = told.desk._answer_all([asked(confirm, "k")])[0]
    assert told.tell("start again") == "done"
    assert said(told.desk._answer_all([asked(cancel, "k")])[0]) == "done"

    again = told.desk._answer_all([asked(confirm, "k")])[0]

    assert isinstance(first, Outcome) and isinstance(again, Outcome)
    assert again.payment == first.payment
