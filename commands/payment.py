"""Commands upon payments. Those that say what a rail answered are Daybook's own; the rest are anybody's."""

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Annotated, Any, ClassVar, Literal, Self
from uuid import UUID

from msgspec.structs import replace
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator

from commands.account import BookName
from commands.command import (
    Amount,
    Command,
    Currency,
    Decided,
    DisputeId,
    Instant,
    MetadataKey,
    MetadataMap,
    Name,
    PaymentId,
    Text,
    account_named,
    book_named,
    known_accounts,
)
from domain import account as account_rules
from domain import clearing, payment, policy, rail, validation
from domain.clearing import Books, Effect
from domain.errors import (
    AccountNotFound,
    CurrencyMismatch,
    PaymentNotFound,
    PaymentStatusForbids,
    PaymentUndecided,
    Refusal,
)
from domain.events import (
    Event,
    PaymentIntentCreated,
    PaymentOperationAccepted,
    PaymentOperationDone,
    PaymentOperationFailed,
)
from domain.ledger import Draft
from domain.payment import Payment, Request
from domain.policy import Policy, Rule
from domain.upi import BY_LINK
from domain.validation import Vote

Said = Annotated[str, StringConstraints(max_length=2000)]
"""What a rail says to a payer, such as a link."""
RequestId = Annotated[str, StringConstraints(pattern=r"^[0-9A-Za-z]{22}$")]


def _readable(text: str) -> str:
    """Lines of text."""
    if not all(letter.isprintable() or letter == "\n" for letter in text):
        raise ValueError("control characters but line breaks are not allowed")
    return text


class _Method(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class CardAsked(_Method):
    """A card, by a token of the vault."""

    type: Literal["card"]
    token: Annotated[str, StringConstraints(max_length=100, pattern=r"^tok_[A-Za-z0-9_]+$")]
    brand: Annotated[str, StringConstraints(max_length=20, pattern=r"^[a-z_]+$")]
    last4: Annotated[str, StringConstraints(pattern=r"^[0-9]{4}$")]
    expires: Annotated[str, StringConstraints(pattern=r"^20[0-9]{2}-(0[1-9]|1[0-2])$")]

    def method(self) -> rail.Card:
        return rail.Card(token=self.token, brand=self.brand, last4=self.last4, expires=self.expires)


class BankAccountAsked(_Method):
    """An account at a bank of the United States."""

    type: Literal["bank_account"]
    routing_number: Annotated[str, StringConstraints(pattern=r"^[0-9]{9}$")]
    account_number: Annotated[str, StringConstraints(pattern=r"^[0-9A-Z-]{1,17}$")]
    holder: Annotated[str, StringConstraints(min_length=1, max_length=22, pattern=r"^[ -~]+$")]
    savings: bool = False
    company: bool = False

    @model_validator(mode="after")
    def _has_its_check_digit(self) -> Self:
        weights = (3, 7, 1) * 3
        if sum(int(digit) * weight for digit, weight in zip(self.routing_number, weights, strict=True)) % 10:
            raise ValueError("the routing number's last digit does not fit the others")
        return self

    def method(self) -> rail.BankAccount:
        return rail.BankAccount(
            routing_number=self.routing_number,
            account_number=self.account_number,
            holder=self.holder,
            savings=self.savings,
            company=self.company,
        )


class IbanAsked(_Method):
    """An account at a bank that takes ISO 20022 messages."""

    type: Literal["iban"]
    iban: Annotated[str, StringConstraints(pattern=r"^[A-Z]{2}[0-9]{2}[A-Z0-9]{11,30}$")]
    bic: Annotated[str, StringConstraints(pattern=r"^[A-Z]{6}[A-Z0-9]{2}([A-Z0-9]{3})?$")]
    holder: Annotated[str, StringConstraints(min_length=1, max_length=140, pattern=r"^[ -~]+$")]
    country: Annotated[str, StringConstraints(pattern=r"^[A-Z]{2}$")]

    @model_validator(mode="after")
    def _has_its_check_digits(self) -> Self:
        moved = self.iban[4:] + self.iban[:4]
        if int("".join(str(int(letter, 36)) for letter in moved)) % 97 != 1:
            raise ValueError("the IBAN's check digits do not fit the rest")
        return self

    def method(self) -> rail.Iban:
        return rail.Iban(iban=self.iban, bic=self.bic, holder=self.holder, country=self.country)


class UpiAsked(_Method):
    """A virtual payment address; `flow` is how the payer is asked: who opens a link or reads a QR code needs none."""

    type: Literal["upi"]
    vpa: Annotated[
        str | None, StringConstraints(max_length=255, pattern=r"^[A-Za-z0-9._-]{2,}@[A-Za-z][A-Za-z0-9.-]+$")
    ] = None
    holder: Text = ""
    flow: Literal["collect", "intent", "qr"] = "collect"

    @model_validator(mode="after")
    def _can_be_asked(self) -> Self:
        if self.vpa is None and self.flow not in BY_LINK:
            raise ValueError("whoever is asked to pay, and is given no link, has an address")
        return self

    def method(self) -> rail.UpiAddress:
        return rail.UpiAddress(vpa=self.vpa or "", holder=self.holder, flow=self.flow)


MethodAsked = Annotated[CardAsked | BankAccountAsked | IbanAsked | UpiAsked, Field(discriminator="type")]


class CreatePayment(Command):
    """Say that a payment is wanted: `amount` minor units for `account`, or, a payout, from it.

    With a `method` it can be confirmed; with `confirm` it is, in the same step. `approvals` others must approve it, or
    more, if the book's policy says so.
    """

    kind: ClassVar[str] = "create_payment"
    names_stream: ClassVar[bool] = True
    book: BookName
    account: Name
    direction: Literal["in", "out"] = "in"
    amount: Amount
    currency: Currency
    method: MethodAsked | None = None
    confirm: bool = False
    capture: Literal["automatic", "manual"] = "automatic"
    approvals: Annotated[int, Field(ge=0, le=10)] = 0
    expires_at: Instant | None = None
    description: Text = ""
    reference: Text = ""
    descriptor: Annotated[str, StringConstraints(max_length=22, pattern=r"^[ -~]*$")] = ""
    metadata: MetadataMap = Field(default_factory=dict)

    @model_validator(mode="after")
    def _can_be_done(self) -> Self:
        account_named(self.scope, self.account)
        if self.confirm and self.method is None:
            raise ValueError("what is confirmed has a method")
        return self

    @property
    def scope(self) -> UUID:
        return book_named(self.book)

    def sees(self, draft: Draft) -> Iterator[tuple[str, UUID]]:
        yield "book", self.scope
        yield "account", account_named(self.scope, self.account)
        if self.method is not None:
            yield from _seen_by(self.method, self.scope, self.currency)

    def decide(self, draft: Draft, command_id: UUID) -> Decided:
        intent = self.intent(draft)
        # Who made it does not matter to what follows here: nobody approves anything in this step.
        known = payment.created(command_id, intent, "")
        events: list[Event] = [intent]
        if self.method is not None:
            events.append(payment.attach(known, method=self.method.method()))
            known = payment.evolve(known, events[-1], draft.now)
        if self.confirm:
            events.append(payment.confirm(known, now=draft.now))
        return [(command_id, version, event) for version, event in enumerate(events, 1)]

    def intent(self, draft: Draft) -> PaymentIntentCreated:
        """What is wanted, with the approvals that the book's policy asks for."""
        account_id = account_named(self.scope, self.account)
        account = known_accounts(draft, [account_id], self.scope).get(account_id)
        if account is None:
            raise AccountNotFound(account_id)
        account_rules.must_not_be_reserved(account.id, account.code)
        if account.currency != self.currency:
            raise CurrencyMismatch(account_id, self.currency, account.currency)
        return payment.create(
            _policy(draft, self.scope),
            book_id=self.scope,
            account_id=account_id,
            direction=self.direction,
            amount=self.amount,
            currency=self.currency,
            capture=self.capture,
            approvals=self.approvals,
            expires_at=self.expires_at,
            now=draft.now,
            life=draft.intent_life,
            description=self.description,
            reference=self.reference,
            descriptor=self.descriptor,
            metadata=self.metadata,
        )


def _policy(draft: Draft, book_id: UUID) -> Policy:
    book = draft.books[book_id]
    return policy.NONE if book is None else book.policy


def _seen_by(method: MethodAsked, book: UUID, currency: str) -> Iterator[tuple[str, UUID]]:
    """What later commands of the same batch will need, and cannot ask for before they see the method."""
    for account_id in clearing.own_accounts(book, currency, rail.RAIL_OF[type(method.method())]):
        yield "account", account_id


class _OfPayment(Command):
    """A command upon a payment that exists."""

    payment_id: PaymentId

    @property
    def scope(self) -> UUID:
        return self.payment_id

    def sees(self, draft: Draft) -> Iterator[tuple[str, UUID]]:
        yield "payment", self.payment_id
        known = draft.payments.get(self.payment_id)
        if known is None:
            return
        yield "account", known.intent.account_id
        rail_of_method = None if known.method is None else rail.RAIL_OF[type(known.method)]
        if rail_of_method is not None:
            for account_id in clearing.own_accounts(known.intent.book_id, known.intent.currency, rail_of_method):
                yield "account", account_id
        for request in known.requests.values():
            if request.hold_id is not None:
                yield "hold", request.hold_id
            elif request.operation in clearing.SET_ASIDE:
                yield "hold", clearing.hold_id(known.id, request.id)
            if request.rail is not rail_of_method:
                for account_id in clearing.own_accounts(known.intent.book_id, known.intent.currency, request.rail):
                    yield "account", account_id

    def known(self, draft: Draft) -> Payment:
        found = draft.payments[self.payment_id]
        if found is None:
            raise PaymentNotFound(self.payment_id)
        return found


class AttachMethod(_OfPayment):
    """Say what it is paid with, or to."""

    kind: ClassVar[str] = "attach_method"
    method: MethodAsked

    def sees(self, draft: Draft) -> Iterator[tuple[str, UUID]]:
        yield from super().sees(draft)
        known = draft.payments.get(self.payment_id)
        if known is not None:
            yield from _seen_by(self.method, known.intent.book_id, known.intent.currency)

    def decide(self, draft: Draft, command_id: UUID) -> Decided:
        known = self.known(draft)
        return _step(known, payment.attach(known, method=self.method.method()))


class ConfirmPayment(_OfPayment):
    """Have it done."""

    kind: ClassVar[str] = "confirm_payment"

    def decide(self, draft: Draft, command_id: UUID) -> Decided:
        known = self.known(draft)
        return _step(known, payment.confirm(known, now=draft.now))


class CheckoutPayment(AttachMethod):
    """Say what it is paid with and have it done, in one step: what a payer asks, who shows the payment's secret."""

    kind: ClassVar[str] = "checkout_payment"

    def decide(self, draft: Draft, command_id: UUID) -> Decided:
        known = self.known(draft)
        if known.intent.direction != "in":
            raise PaymentStatusForbids(known.id, known.status, self.kind)  # Nobody says where they are paid.
        return _steps(known, payment.checkout(known, method=self.method.method(), now=draft.now))


class RetryPayment(_OfPayment):
    """Try again with the method it has: at once what waits for another attempt, anew what came back without one."""

    kind: ClassVar[str] = "retry_payment"

    def decide(self, draft: Draft, command_id: UUID) -> Decided:
        known = self.known(draft)
        return _steps(known, payment.retry(known, now=draft.now))


class ApprovePayment(_OfPayment):
    """Give one of the approvals it waits for; `approver` is who gives it, and is who asks: nobody's word for it."""

    kind: ClassVar[str] = "approve_payment"
    approver: Annotated[str, StringConstraints(pattern=r"^[\x20-\x7e]{1,255}$")]

    def decide(self, draft: Draft, command_id: UUID) -> Decided:
        known = self.known(draft)
        return _step(known, payment.approve(known, approver=self.approver, now=draft.now))


class VoteHeard(BaseModel):
    """The vote of a validator outside."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    validator: Literal["risk", "sanctions"]
    verdict: Literal["allow", "deny", "abstain"]
    reason: Text
    details: dict[str, Any] = Field(default_factory=dict)
    placeholder: bool = False

    def vote(self) -> Vote:
        return Vote(
            validator=self.validator,
            verdict=validation.Verdict(self.verdict),
            reason=self.reason,
            details=self.details,
            placeholder=self.placeholder,
        )


class StartAttempt(_OfPayment):
    """Begin an attempt on a route; with what it takes from the account set aside.

    The first one since the payment was confirmed is begun only if validators pass it, on what is true then and with
    the `votes` heard outside; if they do not, that is what is kept, and no rail hears of it. Nor does one of a later
    attempt that the account cannot bear any more.
    """

    kind: ClassVar[str] = "start_attempt"
    route: Annotated[str, StringConstraints(min_length=1, max_length=100)]
    decision: dict[str, Any] = Field(default_factory=dict)
    votes: tuple[VoteHeard, ...] = ()

    def sees(self, draft: Draft) -> Iterator[tuple[str, UUID]]:
        yield from super().sees(draft)
        known = draft.payments.get(self.payment_id)
        if known is not None:
            yield "book", known.intent.book_id

    def decide(self, draft: Draft, command_id: UUID) -> Decided:
        known = self.known(draft)
        payment.must_start(known, draft.now)
        if known.is_validated:
            return self._start_another(draft, known)
        rule, votes = _votes(draft, known, self.votes)
        silent = validation.unheard(rule, votes)
        if silent:
            raise PaymentUndecided(known.id, silent)
        validated = validation.validated(rule, votes)
        after = payment.evolve(known, validated, draft.now)
        return [*_step(known, validated), *(self._start(draft, after) if validated.passed else [])]

    def _start_another(self, draft: Draft, known: Payment) -> Decided:
        """What was there for the first attempt may have gone elsewhere since: then there is none with this method."""
        try:
            return self._start(draft, known)
        except Refusal as refusal:
            return _step(known, payment.give_up(known, reason=refusal.code))

    def _start(self, draft: Draft, known: Payment) -> Decided:
        return _asked(draft, known, payment.start(known, route=self.route, decision=self.decision, now=draft.now))


class ValidatePayment(_OfPayment):
    """What validators would make of a payment as it is now. This is only ever asked dry: nothing comes of it."""

    kind: ClassVar[str] = "validate_payment"
    votes: tuple[VoteHeard, ...] = ()

    def sees(self, draft: Draft) -> Iterator[tuple[str, UUID]]:
        yield from super().sees(draft)
        known = draft.payments.get(self.payment_id)
        if known is not None:
            yield "book", known.intent.book_id

    def decide(self, draft: Draft, command_id: UUID) -> Decided:
        known = self.known(draft)
        payment.must_be_to_come(known, draft.now)
        return _thought(command_id, *_votes(draft, known, self.votes))


class IntentToValidate(CreatePayment):
    """A payment that is only thought of, as it would be created."""

    method: MethodAsked

    def subject(self, maker: str, at: datetime) -> validation.Subject:
        """What validators outside are told of it."""
        return validation.Subject(
            payment_id=None,
            book_id=self.scope,
            account_id=account_named(self.scope, self.account),
            direction=self.direction,
            amount=self.amount,
            currency=self.currency,
            method=self.method.method(),
            maker=maker,
            description=self.description,
            reference=self.reference,
            metadata=self.metadata,
            at=at,
        )


class ValidateIntent(IntentToValidate):
    """What validators would make of it. This too is only ever asked dry."""

    kind: ClassVar[str] = "validate_intent"
    names_stream: ClassVar[bool] = False
    votes: tuple[VoteHeard, ...] = ()

    def decide(self, draft: Draft, command_id: UUID) -> Decided:
        known = payment.created(command_id, self.intent(draft), "")
        known = payment.evolve(known, payment.attach(known, method=self.method.method()), draft.now)
        return _thought(command_id, *_votes(draft, known, self.votes))


class GiveUpPayment(_OfPayment):
    """Make no further attempt with this method; another may be attached."""

    kind: ClassVar[str] = "give_up_payment"
    reason: Text

    def decide(self, draft: Draft, command_id: UUID) -> Decided:
        known = self.known(draft)
        return _step(known, payment.give_up(known, reason=self.reason))


class IncreaseAuthorization(_OfPayment):
    """Have more authorized."""

    kind: ClassVar[str] = "increase_authorization"
    amount: Amount

    def decide(self, draft: Draft, command_id: UUID) -> Decided:
        known = self.known(draft)
        return _asked(draft, known, payment.increase(known, amount=self.amount, now=draft.now))


class CapturePayment(_OfPayment):
    """Claim some or all of what is authorized; without `amount`, all of it. `final` gives the rest up."""

    kind: ClassVar[str] = "capture_payment"
    amount: Amount | None = None
    final: bool = False

    def decide(self, draft: Draft, command_id: UUID) -> Decided:
        known = self.known(draft)
        return _asked(draft, known, payment.capture(known, amount=self.amount, final=self.final, now=draft.now))


class CancelPayment(_OfPayment):
    """No longer wanted. What is authorized is given up by the rail first."""

    kind: ClassVar[str] = "cancel_payment"
    reason: Text = ""

    def decide(self, draft: Draft, command_id: UUID) -> Decided:
        known = self.known(draft)
        return _asked(draft, known, payment.cancel(known, reason=self.reason))


class ExpirePayment(_OfPayment):
    """End what was not done in time. Daybook gives this itself."""

    kind: ClassVar[str] = "expire_payment"

    def decide(self, draft: Draft, command_id: UUID) -> Decided:
        known = self.known(draft)
        return _asked(draft, known, payment.expire(known, now=draft.now))


class RefundPayment(_OfPayment):
    """Give back some or all of what was captured; `capture` is the request id of which capture."""

    kind: ClassVar[str] = "refund_payment"
    amount: Amount | None = None
    capture: RequestId | None = None
    reason: Text = ""

    def decide(self, draft: Draft, command_id: UUID) -> Decided:
        known = self.known(draft)
        asked = payment.refund(known, amount=self.amount, upon=self.capture, reason=self.reason)
        return _asked(draft, known, asked)


class ReversePayment(_OfPayment):
    """Undo a whole capture, collection or payout that should not have been; `request` is the request id of which.

    Nothing of it may have gone back. The rail may decline.
    """

    kind: ClassVar[str] = "reverse_payment"
    request: RequestId | None = None
    reason: Text = ""

    def decide(self, draft: Draft, command_id: UUID) -> Decided:
        known = self.known(draft)
        return _asked(draft, known, payment.reverse(known, upon=self.request, reason=self.reason))


Evidence = Annotated[str, StringConstraints(min_length=1, max_length=4_000), AfterValidator(_readable)]


class ContestDispute(_OfPayment):
    """Answer a dispute with evidence: texts by name, `receipt` or `delivered` for example."""

    kind: ClassVar[str] = "contest_dispute"
    dispute_id: DisputeId
    evidence: Annotated[dict[MetadataKey, Evidence], Field(min_length=1, max_length=20)]

    def decide(self, draft: Draft, command_id: UUID) -> Decided:
        known = self.known(draft)
        asked = payment.contest(known, dispute_id=self.dispute_id, evidence=self.evidence, now=draft.now)
        return _asked(draft, known, asked)


class AcceptDispute(_OfPayment):
    """Let a dispute stand: what the rail has taken back is gone."""

    kind: ClassVar[str] = "accept_dispute"
    dispute_id: DisputeId

    def decide(self, draft: Draft, command_id: UUID) -> Decided:
        known = self.known(draft)
        return _step(known, payment.accept(known, dispute_id=self.dispute_id))


class ResolveOutcome(_OfPayment):
    """Say, having found out, what became of a request that its rail says nothing of; `reference` is the rail's own.

    After a failure nothing is attempted again by itself.
    """

    kind: ClassVar[str] = "resolve_outcome"
    request_id: RequestId
    outcome: Literal["done", "failed"]
    reference: Text = ""
    reason: Annotated[Text, Field(min_length=1)]

    def decide(self, draft: Draft, command_id: UUID) -> Decided:
        known = self.known(draft)
        resolved, event = payment.resolve(
            known, request_id=self.request_id, outcome=self.outcome, reference=self.reference, reason=self.reason
        )
        after = payment.evolve(known, resolved, draft.now)
        return [*_step(known, resolved), *_answered(draft, after, event)]


class RecordAnswer(_OfPayment):
    """What a rail answered to one of the payment's requests. Daybook gives this itself, however often it hears it."""

    request_id: RequestId

    def sees(self, draft: Draft) -> Iterator[tuple[str, UUID]]:
        yield from super().sees(draft)
        if self.payment_id not in draft.payments:  # Together with it, what it may turn out to need.
            yield "hold", clearing.hold_id(self.payment_id, self.request_id)

    def decide(self, draft: Draft, command_id: UUID) -> Decided:
        known = self.known(draft)
        answer = self.answer()
        event = payment.answer(known, request_id=self.request_id, answer=answer)
        decided = _answered(draft, known, event)
        if isinstance(event, PaymentOperationAccepted) and isinstance(answer, rail.Accepted):
            after = payment.evolve(known, event, draft.now)
            action = payment.action(after, request_id=self.request_id, answer=answer)
            decided += [] if action is None else _step(after, action)
        return decided

    def answer(self) -> rail.Approved | rail.Declined | rail.Accepted | rail.Unknown:
        raise NotImplementedError


class RecordApproval(RecordAnswer):
    """The rail has done it. Amounts in minor units."""

    kind: ClassVar[str] = "record_approval"
    reference: Text
    amount: Amount
    currency: Currency
    code: Text
    authorization: Text = ""
    settles_on: Text = ""

    def answer(self) -> rail.Approved:
        return rail.Approved(
            reference=self.reference,
            amount=self.amount,
            currency=self.currency,
            code=self.code,
            authorization=self.authorization,
            settles_on=self.settles_on,
        )


class RecordDecline(RecordAnswer):
    """The rail has not done it, and will not."""

    kind: ClassVar[str] = "record_decline"
    code: Text
    reason: Text
    message: Text
    retry: Literal["never", "later", "elsewhere"]
    unasked: bool = False

    def answer(self) -> rail.Declined:
        return rail.Declined(
            code=self.code,
            reason=self.reason,
            message=self.message,
            retry=rail.Retry(self.retry),
            unasked=self.unasked,
        )


class RecordAcceptance(RecordAnswer):
    """The rail has taken it, and will say later what became of it."""

    kind: ClassVar[str] = "record_acceptance"
    reference: Text
    code: Text
    action: Annotated[dict[Text, Said], Field(max_length=20)] = Field(default_factory=dict)

    def answer(self) -> rail.Accepted:
        return rail.Accepted(reference=self.reference, code=self.code, action=self.action)


class RecordSilence(RecordAnswer):
    """The rail has not said what became of it."""

    kind: ClassVar[str] = "record_silence"
    why: Text

    def answer(self) -> rail.Unknown:
        return rail.Unknown(why=self.why)


def _step(known: Payment, event: Event) -> Decided:
    return _steps(known, [event])


def _steps(known: Payment, events: Iterable[Event]) -> Decided:
    return [(known.id, version, event) for version, event in enumerate(events, known.version + 1)]


def _asked(draft: Draft, known: Payment, event: Event) -> Decided:
    """With what is set aside before a rail hears of it. What ends the payment at once asks no rail."""
    after = payment.evolve(known, event, draft.now)
    new = [request for name, request in after.requests.items() if name not in known.requests]
    effect = clearing.requested(after, new[0], _books(draft, known)) if new else Effect([])
    return [*_step(known, event), *effect.events]


def _answered(draft: Draft, known: Payment, event: Event) -> Decided:
    """With what it does to the ledger, in the same commit; and, where it is captured by itself, with the capture."""
    books = _books(draft, known)
    if isinstance(event, PaymentOperationDone):
        effect = clearing.done(known, _request(known, event.request_id), books)
        event = replace(event, hold_id=effect.hold_id, entry_id=effect.entry_id)
    elif isinstance(event, PaymentOperationFailed):
        effect = clearing.failed(known, _request(known, event.request_id), books)
    else:
        effect = Effect([])
    decided = [*_step(known, event), *effect.events]
    after = payment.evolve(known, event, draft.now)
    if after.status is payment.Status.REQUIRES_CAPTURE and known.status is not after.status:
        if known.intent.capture == "automatic" and not payment.is_due(after, draft.now):
            capture = payment.capture(after, amount=None, final=True, now=draft.now)
            decided.append((after.id, after.version + 1, capture))
    return decided


def _votes(draft: Draft, known: Payment, heard: Iterable[VoteHeard]) -> tuple[Rule, list[Vote]]:
    """Everyone's, on what is true now, with the rule that decides by them."""
    decided_by = _policy(draft, known.intent.book_id)
    return decided_by.rule, validation.votes(known, decided_by, _books(draft, known), [one.vote() for one in heard])


def _thought(command_id: UUID, rule: Rule, votes: list[Vote]) -> Decided:
    """On no payment's stream: whoever asks dry is told this, and it happens to nothing."""
    return [(command_id, 1, validation.validated(rule, votes))]


def _request(known: Payment, request_id: str) -> Request:
    return known.requests[request_id]


def _books(draft: Draft, known: Payment) -> Books:
    rails = {request.rail for request in known.requests.values()}
    if known.method is not None:
        rails.add(rail.RAIL_OF[type(known.method)])
    names = {name for one in rails for name in clearing.accounts_of(known, one)} | {known.intent.account_id}
    # One that another command of this batch made needful was not looked up, and is not needed by this one.
    seen = [name for name in names if name in draft.accounts]
    return Books(known_accounts(draft, seen, known.intent.book_id), draft.totals, draft.holds, draft.now)
