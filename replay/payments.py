"""What follows from the events of payments, and whether each of them could follow the ones before.

Written apart from `domain.payment`, `domain.clearing` and the projection, which wrote what is checked here.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from typing import Any, Final
from uuid import UUID, uuid5

from msgspec import Struct, field

from domain import ids
from domain.events import (
    AccountOpened,
    EntryPosted,
    Event,
    HoldCaptured,
    HoldExpired,
    HoldIncreased,
    HoldPlaced,
    HoldVoided,
    PaymentActionRequired,
    PaymentAnswerContradicted,
    PaymentApproved,
    PaymentAttemptStarted,
    PaymentCanceled,
    PaymentConfirmed,
    PaymentDisputeClosed,
    PaymentDisputed,
    PaymentEvent,
    PaymentExpired,
    PaymentFailed,
    PaymentHurried,
    PaymentIntentCreated,
    PaymentMethodAttached,
    PaymentOperationAccepted,
    PaymentOperationDone,
    PaymentOperationFailed,
    PaymentOperationRequested,
    PaymentOutcomeResolved,
    PaymentOutcomeUnknown,
    PaymentReturned,
    PaymentSettled,
    PaymentValidated,
    RawEvent,
    Recorded,
)
from domain.events import recorded as understood
from domain.policy import Policy
from domain.posting import Posting
from domain.rail import BankAccount, Card, Iban, Method, UpiAddress
from replay.holds import Contradicts, HoldThen

Stream = Callable[[UUID], Sequence[RawEvent]]
"""All events of one stream, in order."""

_RAILS: Final = {Card: "card", BankAccount: "ach", Iban: "wire", UpiAddress: "upi"}
_BEGINNINGS: Final = {("card", "in"): "authorize", ("ach", "in"): "collect", ("upi", "in"): "collect"} | {
    (rail, "out"): "payout" for rail in ("ach", "wire", "upi")
}
OWN: Final = ("clearing:", "suspense:", "settlement:", "fees:")
"""How the codes of accounts begin that Daybook opens itself, when they are first needed."""
_OPEN: Final = ("requested", "unknown", "accepted")
_UNBEGUN: Final = ("requires_payment_method", "requires_confirmation", "requires_approval")
_OVER: Final = ("succeeded", "partially_captured", "canceled", "expired")

_TAKES: Final = ("capture", "collect")
_GIVES_BACK: Final = ("refund", "reverse")
_MOVES: Final = (*_TAKES, *_GIVES_BACK, "payout")
_UPON: Final = {"refund": _TAKES, "reverse": (*_TAKES, "payout"), "contest": _TAKES}
"""What these can be upon; anything else is upon an authorization."""

_WHEN: Final[Mapping[type[Event], tuple[str, ...]]] = {
    PaymentMethodAttached: ("requires_payment_method", "requires_confirmation"),
    PaymentConfirmed: ("requires_confirmation",),
    PaymentValidated: ("processing",),
    PaymentApproved: ("requires_approval",),
    PaymentAttemptStarted: ("processing",),
    PaymentActionRequired: ("processing",),
    PaymentHurried: ("processing",),
    PaymentFailed: ("processing", "requires_action"),
    PaymentCanceled: ("requires_payment_method", "requires_confirmation", "requires_approval", "processing"),
    PaymentExpired: ("requires_payment_method", "requires_confirmation", "requires_approval", "processing"),
}
"""In which statuses these can be; anything else can be in any, for all that the status says."""
_AT_REST: Final = (
    PaymentValidated,
    PaymentAttemptStarted,
    PaymentHurried,
    PaymentFailed,
    PaymentCanceled,
    PaymentExpired,
)
"""These can be only while no rail has anything to answer."""
_NOT_ONCE_DUE: Final = (PaymentConfirmed, PaymentApproved, PaymentValidated, PaymentAttemptStarted, PaymentHurried)
"""These can be only while its time has not come."""


class RequestThen(Struct):
    """`changed` is the position of the last event about it, `told` that of the last that readers were told of."""

    id: str
    operation: str
    rail: str | None
    route: str | None
    amount: int
    position: int
    requested_at: datetime
    changed: int
    state: str = "requested"
    upon: str = ""
    final: bool = False
    reason: str = ""
    reference: str = ""
    code: str = ""
    declined: str = ""
    retry: str = ""
    settles_on: str = ""
    hold_id: UUID | None = None
    entry_id: UUID | None = None
    contradicted: bool = False
    decision: dict[str, Any] | None = None
    answered_at: datetime | None = None
    settlement_id: UUID | None = None
    settled_on: date | None = None
    returned: int = 0
    returns: set[str] = field(default_factory=set)
    fee: int = 0
    dispute_id: UUID | None = None
    taken_back: int = 0
    told: int = 0

    @property
    def is_open(self) -> bool:
        return self.state in _OPEN


_VALIDATORS: Final = {"approval", "funds", "limits", "mandate", "risk", "sanctions"}


class DisputeThen(Struct):
    """`changed` and `told` are as those of a request."""

    id: UUID
    opened: PaymentDisputed
    position: int
    disputed_at: datetime
    changed: int
    changed_at: datetime
    fee: int
    state: str = "needs_response"
    closing_entry_id: UUID | None = None
    told: int = 0


class PaymentThen(Struct):
    """Amounts in minor units. `position` is that of the first event, `changed` that of the last.

    `told` is `changed` as it was when the payment was over before; 0 if it never was.
    """

    id: UUID
    intent: PaymentIntentCreated
    maker: str
    position: int
    created_at: datetime
    version: int
    changed: int
    changed_at: datetime
    status: str = "requires_payment_method"
    authorized: int = 0
    captured: int = 0
    refunded: int = 0
    reversed: int = 0
    returned: int = 0
    disputed: int = 0
    disputes: dict[UUID, DisputeThen] = field(default_factory=dict)
    makers: set[str] = field(default_factory=set)
    approvers: set[str] = field(default_factory=set)
    validation: dict[str, Any] | None = None
    """What was made of it since it was last confirmed."""
    contradicted: bool = False
    declined: str = ""
    """Why the latest attempt that failed did."""
    action: dict[str, str] | None = None
    """The last one that was wanted of the payer, be it done or not."""
    method: Method | None = None
    tried: bool = False
    """Whether an attempt was made with that method."""
    rail: str | None = None
    route: str | None = None
    requests: dict[str, RequestThen] = field(default_factory=dict)
    told: int = 0

    @property
    def is_over(self) -> bool:
        """Nothing happens to it by itself any more; what was captured may still be refunded."""
        return self.status in _OVER and not self.open

    @property
    def open(self) -> list[RequestThen]:
        return [request for request in self.requests.values() if request.is_open]


class _Due(Struct, frozen=True):
    """What must come next on that stream, in the same commit. An empty set of accounts says nothing of them.

    Of an outcome that was resolved, `entry_id` is none, and `request_id` whose outcome it is.
    """

    kind: type[Event]
    stream: UUID
    payment_id: UUID
    at: datetime
    amount: int | None = None
    entry_id: UUID | None = None
    debit: frozenset[UUID] = frozenset()
    credit: frozenset[UUID] = frozenset()
    request_id: str = ""

    def is_met_by(self, recorded: Recorded) -> bool:
        event = recorded.event
        if type(event) is not self.kind or (recorded.stream_id, recorded.recorded_at) != (self.stream, self.at):
            return False
        match event:
            case HoldPlaced(postings=postings, payment_id=payment_id):
                return payment_id == self.payment_id and self._moves(postings)
            case HoldIncreased(postings=postings) | EntryPosted(postings=postings):
                return self._moves(postings)
            case HoldCaptured(amount=amount, entry_id=entry_id):
                return (amount, entry_id) == (self.amount, self.entry_id)
            case PaymentOperationDone(request_id=request_id) | PaymentOperationFailed(request_id=request_id):
                return (request_id, event.code) == (self.request_id, "resolved")
            case _:
                return True

    def _moves(self, postings: Sequence[Posting]) -> bool:
        sides = {posting.side.value: posting for posting in postings}
        if len(postings) != 2 or len(sides) != 2 or sides["debit"].amount != self.amount:
            return False
        ends = ((sides["debit"], self.debit), (sides["credit"], self.credit))
        return all(not allowed or posting.account_id in allowed for posting, allowed in ends)


class Payments:
    """Every payment that is not over, as it stands after the events taken so far.

    Those that are over are let go; what still happens to one, as a refund does, has its stream read again.

    Args:
        holds: Those that live, before the event that is taken.
        policies: The one in force of each book that has set one.
    """

    def __init__(
        self,
        contradicts: Contradicts,
        holds: Mapping[UUID, HoldThen],
        stream: Stream,
        policies: Mapping[UUID, Policy],
    ) -> None:
        self.known: dict[UUID, PaymentThen] = {}
        self.over: PaymentThen | None = None
        """The one that was over with the last event, which is known until the next."""
        self._contradicts = contradicts
        self._holds = holds
        self._stream = stream
        self._policies = policies
        self._due: list[_Due] = []
        """What the last payment event has said of the ledger, and is still to come."""
        self._last: Recorded | None = None
        """The event that said it."""

    @property
    def waits(self) -> bool:
        """Whether the next event matters, of whatever kind it is."""
        return bool(self._due) or self.over is not None

    def take(self, recorded: Recorded) -> None:
        """One more event, of whatever kind."""
        event = recorded.event
        if self.over is not None:
            del self.known[self.over.id]
            self.over = None
        if self._due:
            self._keep(recorded)
        elif self._is_of_payment(recorded):
            self._contradicts(recorded, "a change of a payment's hold by what its payment did just before", "by itself")
        if isinstance(event, PaymentEvent):
            self._apply(recorded)

    def finish(self) -> None:
        """No more events."""
        if self._due and self._last is not None:
            self._contradicts(self._last, f"{self._due[0].kind.name} right after it", "the end of the log")

    def _is_of_payment(self, recorded: Recorded) -> bool:
        event = recorded.event
        if isinstance(event, HoldPlaced):
            return event.payment_id is not None
        if isinstance(event, HoldIncreased | HoldCaptured | HoldVoided | HoldExpired):
            hold = self._holds.get(recorded.stream_id)
            return hold is not None and hold.payment_id is not None
        return False

    def _keep(self, recorded: Recorded) -> None:
        """Daybook's own accounts are opened when they are first needed; nothing else comes between."""
        event, due = recorded.event, self._due[0]
        if isinstance(event, AccountOpened) and event.code.startswith(OWN):
            return
        if due.is_met_by(recorded):
            del self._due[0]
        else:
            found = "another or none, or not of this amount, these accounts and this commit"
            self._contradicts(recorded, f"{due.kind.name} of {ids.show(ids.PAYMENT, due.payment_id)}", found)
            self._due = []

    def _apply(self, recorded: Recorded) -> None:
        event = recorded.event
        if isinstance(event, PaymentIntentCreated):
            self._create(recorded, event)
            return
        payment = self._found(recorded)
        if payment is None:
            self._contradicts(recorded, "a payment created before", "none")
            return
        self._look_at_status(recorded, payment)
        payment.version, payment.changed = recorded.version, recorded.position
        payment.changed_at = recorded.recorded_at
        self._evolve(recorded, payment)
        self._last = recorded
        if payment.is_over:
            self.over = payment

    def _create(self, recorded: Recorded, intent: PaymentIntentCreated) -> None:
        if recorded.stream_id in self.known or recorded.version != 1:
            self._contradicts(recorded, "a payment created once", "again")
        if intent.amount < 1 or intent.approvals < 0:
            self._contradicts(recorded, "a positive amount", f"{intent.amount}, {intent.approvals} approvals")
        for at in (intent.expires_at, intent.lapses_at):
            if at is not None and at <= recorded.recorded_at:
                self._contradicts(recorded, "a time to come", at.isoformat())
        if intent.expires_at is not None and intent.lapses_at is not None:
            self._contradicts(recorded, "one end", f"{intent.expires_at} and {intent.lapses_at}")
        if intent.validated:
            self._look_at_approvals(recorded, intent)
        self.known[recorded.stream_id] = PaymentThen(
            id=recorded.stream_id,
            intent=intent,
            maker=recorded.metadata.actor,
            makers={recorded.metadata.actor},
            position=recorded.position,
            created_at=recorded.recorded_at,
            version=recorded.version,
            changed=recorded.position,
            changed_at=recorded.recorded_at,
        )

    def _look_at_approvals(self, recorded: Recorded, intent: PaymentIntentCreated) -> None:
        """At least what the book's policy asked for then, of whom it named."""
        policy = self._policies.get(intent.book_id, Policy())
        reached = [tier for tier in policy.approvals if tier.currency == intent.currency and intent.amount > tier.above]
        tiers = sorted(
            (tier.above, bool(tier.direction), tier.approvals, tier.approvers)
            for tier in reached
            if tier.direction is None or tier.direction == intent.direction
        )
        least, named = tiers[-1][2:] if tiers else (0, ())
        if intent.approvals < least or intent.approvers != named:
            found = f"{intent.approvals} of {list(intent.approvers)}"
            self._contradicts(recorded, f"at least {least} approvals of {list(named)}", found)

    def _found(self, recorded: Recorded) -> PaymentThen | None:
        """The payment; one that was over, from its earlier events, as it was when it was let go."""
        payment = self.known.get(recorded.stream_id)
        if payment is not None:
            return payment
        again = Payments(_say_nothing, {}, self._stream, {})
        for raw in self._stream(recorded.stream_id):
            if raw.position < recorded.position:
                again._apply(understood(raw))
        payment = again.known.get(recorded.stream_id)
        if payment is not None:
            self.known[payment.id] = payment
            payment.told = payment.changed
            for request in payment.requests.values():
                request.told = request.changed
            for dispute in payment.disputes.values():
                dispute.told = dispute.changed
        return payment

    def _look_at_status(self, recorded: Recorded, payment: PaymentThen) -> None:
        event = recorded.event
        statuses = _WHEN.get(type(event))
        if statuses is not None and payment.status not in statuses:
            self._contradicts(recorded, " or ".join(statuses), payment.status)
        if isinstance(event, _AT_REST) and payment.open:
            self._contradicts(recorded, "nothing that a rail has still to answer", payment.open[0].id)
        lapses_at = payment.intent.lapses_at if payment.status in _UNBEGUN else None
        ends_at = payment.intent.expires_at or lapses_at
        due = ends_at is not None and ends_at <= recorded.recorded_at
        if isinstance(event, PaymentExpired) and not due:
            self._contradicts(recorded, "its time to have come", f"expires at {ends_at}")
        if isinstance(event, _NOT_ONCE_DUE) and due:
            self._contradicts(recorded, "its end", f"expires at {ends_at}")
        if isinstance(event, PaymentHurried) and not payment.tried:
            self._contradicts(recorded, "an attempt that failed with this method", "none")

    def _evolve(self, recorded: Recorded, payment: PaymentThen) -> None:
        match recorded.event:
            case PaymentMethodAttached(method=method):
                payment.method, payment.rail, payment.tried = method, _RAILS[type(method)], False
                if (payment.rail, payment.intent.direction) not in _BEGINNINGS:
                    self._contradicts(recorded, f"a way for money to go {payment.intent.direction}", payment.rail)
                payment.status, payment.makers = "requires_confirmation", {payment.maker, recorded.metadata.actor}
            case PaymentConfirmed():
                payment.approvers, payment.validation = set(), None
                payment.makers.add(recorded.metadata.actor)
                payment.status = "requires_approval" if payment.intent.approvals else "processing"
            case PaymentValidated() as validated:
                self._validate(recorded, payment, validated)
            case PaymentApproved(approver=approver):
                # Before there were validators only who had created it counted as its maker.
                makers = payment.makers if payment.intent.validated else {payment.maker}
                if approver in makers or approver in payment.approvers:
                    self._contradicts(recorded, "another than its makers and who approved it before", approver)
                if payment.intent.approvers and approver not in payment.intent.approvers:
                    self._contradicts(recorded, f"one of {list(payment.intent.approvers)}", approver)
                payment.approvers.add(approver)
                if len(payment.approvers) >= payment.intent.approvals:
                    payment.status = "processing"
            case PaymentAttemptStarted() as started:
                self._start(recorded, payment, started)
            case PaymentOperationRequested() as asked:
                self._ask(recorded, payment, asked)
            case PaymentActionRequired() as wanted:
                self._look_at_action(recorded, payment, wanted)
                payment.status, payment.action = "requires_action", wanted.action
            case PaymentHurried():
                pass
            case PaymentFailed():
                payment.status = "requires_payment_method"
            case PaymentCanceled():
                payment.status = "canceled"
            case PaymentExpired():
                payment.status = "expired"
            case PaymentOutcomeResolved() as resolved:
                self._resolve(recorded, payment, resolved)
            case PaymentSettled() | PaymentReturned() | PaymentDisputed() | PaymentDisputeClosed():
                self._settle(recorded, payment)
            case _:
                self._hear(recorded, payment)

    def _look_at_action(self, recorded: Recorded, payment: PaymentThen, event: PaymentActionRequired) -> None:
        request = payment.requests.get(event.request_id)
        if request is None or request.upon or request.state != "accepted" or not event.action:
            self._contradicts(recorded, "something to do for an attempt that its rail has accepted", event.request_id)
        elif request.answered_at != recorded.recorded_at:
            self._contradicts(recorded, "what to do in the commit of its acceptance", "later")

    def _validate(self, recorded: Recorded, payment: PaymentThen, event: PaymentValidated) -> None:
        """Everybody has a vote, and the book's rule makes of them what was made of them."""
        rule = self._policies.get(payment.intent.book_id, Policy()).rule
        said = {vote["validator"]: vote["verdict"] for vote in event.votes}
        if said.keys() != _VALIDATORS or len(event.votes) != len(said):
            self._contradicts(recorded, "a vote of each validator", ", ".join(said))
        if event.rule.get("mode") != rule.mode or event.rule.get("required") != list(rule.required):
            self._contradicts(recorded, f"the rule {rule.mode}, {list(rule.required)} required", str(event.rule))
        allowing = {validator for validator, verdict in said.items() if verdict == "allow"}
        passes = {"approval", "funds", *rule.required} <= allowing and (
            (rule.mode == "all" and allowing == _VALIDATORS)
            or (rule.mode == "at_least" and len(allowing) >= rule.count)
            or (rule.mode == "weighted" and sum(rule.weights.get(one, 0) for one in allowing) >= rule.threshold)
        )
        if event.passed is not passes:
            self._contradicts(recorded, f"passed={passes} by the votes", f"passed={event.passed}")
        told = {"rule": event.rule, "votes": event.votes, "passed": event.passed, "why": event.why}
        payment.validation = {**told, "at": recorded.recorded_at.isoformat()}
        if not event.passed:
            payment.status = "requires_payment_method"

    # What a rail is asked.

    def _start(self, recorded: Recorded, payment: PaymentThen, event: PaymentAttemptStarted) -> None:
        passed = payment.validation is not None and payment.validation["passed"]
        if payment.intent.validated and not passed:
            self._contradicts(recorded, "validators to have passed it since it was confirmed", "none")
        expected = (payment.rail, _BEGINNINGS.get((payment.rail or "", payment.intent.direction)))
        if (event.rail, event.operation) != expected or event.amount != payment.intent.amount:
            found = f"{event.rail}, {event.operation}, {event.amount}"
            self._contradicts(recorded, f"{expected[0]}, {expected[1]}, {payment.intent.amount}", found)
        request = self._add(recorded, payment, event)
        request.rail, request.route, request.decision = event.rail, event.route, event.decision or None
        payment.status, payment.rail, payment.route = "processing", event.rail, event.route
        payment.tried = True

    def _ask(self, recorded: Recorded, payment: PaymentThen, event: PaymentOperationRequested) -> None:
        self._look_at_asked(recorded, payment, event)
        request = self._add(recorded, payment, event)
        request.rail, request.route = payment.rail, payment.route
        request.upon, request.final, request.reason = event.upon, event.final, event.reason
        request.dispute_id = event.dispute_id
        upon = payment.requests.get(event.upon)
        if event.operation in _GIVES_BACK and upon is not None:
            upon.taken_back += event.amount
        if _sets_aside(payment, request):
            self._placed(recorded, payment, request, outwards=True)

    def _look_at_asked(self, recorded: Recorded, payment: PaymentThen, event: PaymentOperationRequested) -> None:
        upon = payment.requests.get(event.upon)
        fits = _UPON.get(event.operation, ("authorize",))
        if upon is None or upon.operation not in fits or upon.state != "done":
            self._contradicts(recorded, f"something done to {event.operation}", event.upon)
            return
        if event.operation in _UPON:
            left = upon.amount - upon.taken_back
            unknown = [request.id for request in payment.open if request.state == "unknown"]
            if unknown:
                self._contradicts(recorded, "nothing of unknown outcome", unknown[0])
            if event.operation == "contest":
                left = self._look_at_contest(recorded, payment, event)
        else:
            left = payment.authorized - payment.captured
            if payment.status != "requires_capture" or payment.open:
                self._contradicts(recorded, "an authorization upon which nothing is being asked", payment.status)
        if event.amount < 1 or (event.operation != "increment" and event.amount > left):
            self._contradicts(recorded, f"at most the {left} that are left", str(event.amount))
        if event.operation in ("void", "contest") and event.amount != left:
            self._contradicts(recorded, f"all of the {left} that are left", str(event.amount))
        if event.operation == "reverse" and event.amount != upon.amount:
            self._contradicts(recorded, f"all of {upon.amount}", str(event.amount))
        if event.operation == "capture" and event.amount == left and not event.final:
            self._contradicts(recorded, "the last capture to be the final one", "not final")

    def _look_at_contest(self, recorded: Recorded, payment: PaymentThen, event: PaymentOperationRequested) -> int:
        """What the dispute is over."""
        dispute = payment.disputes.get(event.dispute_id or UUID(int=0))
        if dispute is None or dispute.state != "needs_response" or dispute.opened.request_id != event.upon:
            self._contradicts(recorded, "a dispute of it that needs an answer", dispute.state if dispute else "none")
            return event.amount
        late = dispute.opened.respond_by is not None and dispute.opened.respond_by <= recorded.recorded_at
        if late or not event.evidence or any(one.dispute_id == dispute.id for one in payment.open):
            self._contradicts(recorded, "evidence in time, of a dispute not being contested", "otherwise")
        return dispute.opened.amount

    def _add(
        self, recorded: Recorded, payment: PaymentThen, event: PaymentAttemptStarted | PaymentOperationRequested
    ) -> RequestThen:
        due = ids.request_id(uuid5(payment.id, f"request:{len(payment.requests) + 1}"))
        if event.request_id != due:
            self._contradicts(recorded, f"request {due}", event.request_id)
        request = payment.requests[event.request_id] = RequestThen(
            id=event.request_id,
            operation=event.operation,
            rail=payment.rail,
            route=payment.route,
            amount=event.amount,
            position=recorded.position,
            requested_at=recorded.recorded_at,
            changed=recorded.position,
        )
        if event.operation == "payout":
            self._placed(recorded, payment, request, outwards=True)
        return request

    # What a rail answers.

    def _hear(self, recorded: Recorded, payment: PaymentThen) -> None:
        event = recorded.event
        assert isinstance(
            event,
            PaymentOperationAccepted
            | PaymentOutcomeUnknown
            | PaymentOperationFailed
            | PaymentOperationDone
            | PaymentAnswerContradicted,
        ), event
        request = payment.requests.get(event.request_id)
        if request is None:
            self._contradicts(recorded, "an answer to something asked", event.request_id)
            return
        request.changed = recorded.position
        if isinstance(event, PaymentAnswerContradicted):
            if request.is_open or request.contradicted or event.known != request.state:
                self._contradicts(recorded, f"the opposite of {request.state}, once", event.known)
            request.contradicted = payment.contradicted = True
            return
        if not request.is_open:
            self._contradicts(recorded, "an answer once", f"{request.state} already")
        request.answered_at = recorded.recorded_at
        if isinstance(event, PaymentOperationAccepted | PaymentOutcomeUnknown):
            state = "accepted" if isinstance(event, PaymentOperationAccepted) else "unknown"
            if request.state == state:
                self._contradicts(recorded, "something new", f"{state} already")
            request.state = state
            if isinstance(event, PaymentOperationAccepted):
                request.reference, request.code = event.reference or request.reference, event.code or request.code
            return
        if event.operation != request.operation:
            self._contradicts(recorded, request.operation, event.operation)
        if isinstance(event, PaymentOperationFailed):
            self._fail(recorded, payment, request, event)
        else:
            self._do(recorded, payment, request, event)

    def _fail(
        self, recorded: Recorded, payment: PaymentThen, request: RequestThen, event: PaymentOperationFailed
    ) -> None:
        request.state, request.code = "failed", event.code or request.code
        request.declined, request.retry = event.reason, event.retry
        if request.operation in ("authorize", "collect", "payout"):
            payment.status = "requires_payment_method" if event.retry == "never" else "processing"
            payment.declined = event.reason or payment.declined
        elif request.operation in _GIVES_BACK and request.upon in payment.requests:
            payment.requests[request.upon].taken_back -= request.amount
        if _sets_aside(payment, request):
            self._given_up(recorded, payment, _hold_of(payment, request))

    def _do(self, recorded: Recorded, payment: PaymentThen, request: RequestThen, event: PaymentOperationDone) -> None:
        if event.amount != request.amount:
            self._contradicts(recorded, f"{request.amount} as asked", str(event.amount))
        request.state, request.code = "done", event.code or request.code
        request.reference, request.settles_on = event.reference or request.reference, event.settles_on
        request.hold_id, request.entry_id = event.hold_id, event.entry_id
        match request.operation:
            case "authorize":
                payment.authorized += event.amount
                payment.status = "requires_capture"
                self._placed(recorded, payment, request, outwards=False)
            case "increment":
                payment.authorized += event.amount
                self._increased(recorded, payment, request)
            case "capture":
                payment.captured += event.amount
                if payment.captured == payment.authorized:
                    payment.status = "succeeded"
                elif request.final:
                    payment.status = "partially_captured"
                self._taken(recorded, payment, request, self._upon_hold(payment, request), final=request.final)
            case "collect":
                payment.captured += event.amount
                payment.status = "succeeded"
                self._posted(recorded, payment, request, outwards=False)
            case "payout":
                payment.status = "succeeded"
                self._taken(recorded, payment, request, _hold_of(payment, request), final=True)
            case "refund":
                payment.refunded += event.amount
                self._taken(recorded, payment, request, _hold_of(payment, request), final=True)
            case "reverse":
                payment.reversed += event.amount
                if _sets_aside(payment, request):
                    self._taken(recorded, payment, request, _hold_of(payment, request), final=True)
                else:
                    self._posted(recorded, payment, request, outwards=False)
            case "contest":
                self._contested(recorded, payment, request)
            case "void":
                payment.status = "partially_captured" if payment.captured else _given_up_as(payment, request)
                self._given_up(recorded, payment, self._upon_hold(payment, request))
        if payment.captured > payment.authorized and request.operation == "capture":
            self._contradicts(recorded, f"at most {payment.authorized} captured", str(payment.captured))
        if payment.refunded > payment.captured:
            self._contradicts(recorded, f"at most {payment.captured} refunded", str(payment.refunded))

    def _contested(self, recorded: Recorded, payment: PaymentThen, request: RequestThen) -> None:
        dispute = payment.disputes.get(request.dispute_id or UUID(int=0))
        if dispute is not None:
            dispute.state = "under_review" if dispute.state == "needs_response" else dispute.state
            dispute.changed, dispute.changed_at = recorded.position, recorded.recorded_at

    def _resolve(self, recorded: Recorded, payment: PaymentThen, event: PaymentOutcomeResolved) -> None:
        """The outcome itself comes next, as if the rail had said it."""
        request = payment.requests.get(event.request_id)
        if request is None or request.state not in ("unknown", "accepted"):
            self._contradicts(recorded, "a request of which its rail says nothing", event.request_id)
            return
        kind = PaymentOperationDone if event.outcome == "done" else PaymentOperationFailed
        due = _Due(kind, payment.id, payment.id, recorded.recorded_at, request_id=request.id)
        self._due.append(due)

    # What a rail reports once the day is over.

    def _settle(self, recorded: Recorded, payment: PaymentThen) -> None:
        event = recorded.event
        assert isinstance(event, PaymentSettled | PaymentReturned | PaymentDisputed | PaymentDisputeClosed), event
        request = payment.requests.get(event.request_id)
        if request is None or request.state != "done":
            self._contradicts(recorded, "something done", event.request_id)
            return
        if isinstance(event, PaymentSettled | PaymentReturned):
            request.changed = recorded.position
            request.fee += event.fee
            if event.operation != request.operation or event.operation not in _MOVES:
                self._contradicts(recorded, request.operation, event.operation)
        match event:
            case PaymentSettled():
                if request.settlement_id is not None or event.amount != request.amount:
                    self._contradicts(recorded, f"{request.amount} settled once", f"{event.amount}, or again")
                request.settlement_id, request.settled_on = event.settlement_id, event.day
            case PaymentReturned():
                self._return(recorded, payment, request, event)
            case PaymentDisputed():
                self._dispute(recorded, payment, request, event)
            case PaymentDisputeClosed():
                self._close(recorded, payment, request, event)

    def _return(self, recorded: Recorded, payment: PaymentThen, request: RequestThen, event: PaymentReturned) -> None:
        left = request.amount - request.returned
        if not 1 <= event.amount <= left or event.reference in request.returns:
            self._contradicts(recorded, f"at most the {left} not returned, once by each reference", str(event.amount))
        request.returned += event.amount
        request.returns.add(event.reference)
        upon = payment.requests.get(request.upon)
        if request.operation in _GIVES_BACK and upon is not None:
            upon.taken_back -= event.amount
            if request.operation == "refund":
                payment.refunded -= event.amount
            else:
                payment.reversed -= event.amount
        else:
            request.taken_back += event.amount
            payment.returned += event.amount
        name = uuid5(payment.id, f"entry:returned:{request.id}:{event.reference}")
        self._moved(recorded, payment, request, event, name, outwards=_brings_in(payment, request))

    def _dispute(self, recorded: Recorded, payment: PaymentThen, request: RequestThen, event: PaymentDisputed) -> None:
        named = uuid5(payment.id, f"dispute:{event.reference}")
        if event.dispute_id != named or named in payment.disputes or request.operation not in _TAKES:
            self._contradicts(recorded, f"dispute {ids.show(ids.DISPUTE, named)} of what was taken, once", "otherwise")
        open_ = [one.opened for one in payment.disputes.values() if one.state != "won"]
        left = request.amount - sum(one.amount for one in open_ if one.request_id == request.id)
        if not 1 <= event.amount <= left:
            self._contradicts(recorded, f"at most the {left} not disputed", str(event.amount))
        request.taken_back += event.amount
        payment.disputed += event.amount
        payment.disputes[event.dispute_id] = DisputeThen(
            id=event.dispute_id,
            opened=event,
            position=recorded.position,
            disputed_at=recorded.recorded_at,
            changed=recorded.position,
            changed_at=recorded.recorded_at,
            fee=event.fee,
        )
        name = uuid5(payment.id, f"entry:disputed:{request.id}:{event.reference}")
        self._moved(recorded, payment, request, event, name, outwards=True)

    def _close(
        self, recorded: Recorded, payment: PaymentThen, request: RequestThen, event: PaymentDisputeClosed
    ) -> None:
        dispute = payment.disputes.get(event.dispute_id)
        if dispute is None or dispute.opened.request_id != request.id or dispute.opened.amount != event.amount:
            self._contradicts(recorded, "a dispute of it over that amount", str(event.amount))
            return
        by_rail = event.settlement_id is not None
        contested = any(one.dispute_id == dispute.id for one in payment.open)
        allowed = ("needs_response", "under_review", "accepted") if by_rail else ("needs_response",)
        outcomes = ("won", "lost") if by_rail else ("accepted",)
        if dispute.state not in allowed or (contested and not by_rail) or event.outcome not in outcomes:
            self._contradicts(recorded, " or ".join(allowed), f"{dispute.state}, then {event.outcome}")
        dispute.state, dispute.fee = event.outcome, dispute.fee + event.fee
        dispute.changed, dispute.changed_at = recorded.position, recorded.recorded_at
        if event.outcome == "won":
            dispute.closing_entry_id = event.entry_id
            request.taken_back -= event.amount
            payment.disputed -= event.amount
            name = uuid5(payment.id, f"entry:dispute_won:{request.id}:{dispute.opened.reference}")
            self._moved(recorded, payment, request, event, name, outwards=False)
        elif event.entry_id is not None:
            self._contradicts(recorded, "no entry", str(event.entry_id))

    def _moved(
        self,
        recorded: Recorded,
        payment: PaymentThen,
        request: RequestThen,
        event: PaymentReturned | PaymentDisputed | PaymentDisputeClosed,
        name: UUID,
        *,
        outwards: bool,
    ) -> None:
        if event.entry_id != name:
            self._contradicts(recorded, f"entry {ids.show(ids.ENTRY, name)}", str(event.entry_id))
        self._expect(recorded, payment, request, EntryPosted, name, outwards=outwards, amount=event.amount)

    # What of it the ledger must show, right after it.

    def _placed(self, recorded: Recorded, payment: PaymentThen, request: RequestThen, *, outwards: bool) -> None:
        """Set aside: what comes in before it is captured, what goes out before a rail hears of it."""
        if not outwards and request.hold_id != _hold_of(payment, request):
            self._contradicts(recorded, f"hold {_hold_of(payment, request)}", str(request.hold_id))
        self._expect(recorded, payment, request, HoldPlaced, _hold_of(payment, request), outwards=outwards)

    def _increased(self, recorded: Recorded, payment: PaymentThen, request: RequestThen) -> None:
        """What the account may not take more of is not set aside, and then names no hold."""
        hold_id = self._upon_hold(payment, request)
        if request.hold_id is None:
            return
        if request.hold_id != hold_id:
            self._contradicts(recorded, f"hold {hold_id}", str(request.hold_id))
        self._expect(recorded, payment, request, HoldIncreased, request.hold_id, outwards=False)

    def _taken(
        self, recorded: Recorded, payment: PaymentThen, request: RequestThen, hold_id: UUID | None, *, final: bool
    ) -> None:
        """An entry captured from the hold; or, with no hold named, one on suspense, and the hold given up."""
        outwards = request.operation != "capture"
        if request.hold_id is None:
            if final:
                self._given_up(recorded, payment, hold_id)
            self._posted(recorded, payment, request, outwards=outwards)
            return
        if request.hold_id != hold_id:
            self._contradicts(recorded, f"hold {hold_id}", str(request.hold_id))
        self._expect(recorded, payment, request, HoldCaptured, request.hold_id, outwards=outwards)
        self._posted(recorded, payment, request, outwards=outwards)

    def _posted(self, recorded: Recorded, payment: PaymentThen, request: RequestThen, *, outwards: bool) -> None:
        self._must_name_entry(recorded, payment, request)
        entry_id = request.entry_id or uuid5(payment.id, f"entry:{request.id}")
        self._expect(recorded, payment, request, EntryPosted, entry_id, outwards=outwards)

    def _must_name_entry(self, recorded: Recorded, payment: PaymentThen, request: RequestThen) -> None:
        entry_id = uuid5(payment.id, f"entry:{request.id}")
        if request.entry_id != entry_id:
            self._contradicts(recorded, f"entry {ids.show(ids.ENTRY, entry_id)}", str(request.entry_id))

    def _given_up(self, recorded: Recorded, payment: PaymentThen, hold_id: UUID | None) -> None:
        hold = self._holds.get(hold_id) if hold_id is not None else None
        if hold_id is not None and hold is not None and hold.status == "held":
            self._due.append(_Due(HoldVoided, hold_id, payment.id, recorded.recorded_at))

    def _expect(
        self,
        recorded: Recorded,
        payment: PaymentThen,
        request: RequestThen,
        kind: type[Event],
        stream: UUID,
        *,
        outwards: bool,
        amount: int | None = None,
    ) -> None:
        """Between the rail's clearing account and the payment's own, or suspense."""
        book, currency = payment.intent.book_id, payment.intent.currency
        clearing = frozenset({ids.account_id(book, f"clearing:{request.rail}:{currency}")})
        own = frozenset({payment.intent.account_id, ids.account_id(book, f"suspense:{currency}")})
        debit, credit = (own, clearing) if outwards else (clearing, own)
        due = _Due(
            *(kind, stream, payment.id, recorded.recorded_at, request.amount if amount is None else amount),
            request.entry_id,
            debit=debit,
            credit=credit,
        )
        self._due.append(due)

    def _upon_hold(self, payment: PaymentThen, request: RequestThen) -> UUID | None:
        upon = payment.requests.get(request.upon)
        return upon.hold_id if upon is not None else None


def _brings_in(payment: PaymentThen, request: RequestThen) -> bool:
    if request.operation != "reverse":
        return request.operation in _TAKES
    upon = payment.requests.get(request.upon)
    return upon is not None and not _brings_in(payment, upon)


def _sets_aside(payment: PaymentThen, request: RequestThen) -> bool:
    return request.operation in ("refund", "payout", "reverse") and not _brings_in(payment, request)


def _hold_of(payment: PaymentThen, request: RequestThen) -> UUID:
    return uuid5(payment.id, f"hold:{request.id}")


def _given_up_as(payment: PaymentThen, request: RequestThen) -> str:
    expires_at = payment.intent.expires_at
    due = expires_at is not None and expires_at <= request.requested_at
    return "expired" if request.reason == "expired" and due else "canceled"


def _say_nothing(recorded: Recorded, expected: str, found: str) -> None:
    """It was said when the event was first taken."""
