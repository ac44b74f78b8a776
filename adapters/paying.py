"""Drives payments: takes the steps that come next for each, by itself, until there is nothing to do but to wait.

Whoever changes a payment in this process tells it; what nobody told, because another process did it or a process died,
is found in the read model. Any number of processes may do this at once: a rail does one thing at most for a request id,
and the commands given here have keys that name the state they were given in.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from typing import Any, Final, Protocol
from uuid import UUID

import msgspec
from msgspec.structs import replace

from adapters.validators import Validators
from commands.command import Command, ask
from commands.desk import Desk, Outcome
from commands.payment import (
    ExpirePayment,
    GiveUpPayment,
    RecordAcceptance,
    RecordAnswer,
    RecordApproval,
    RecordDecline,
    RecordSilence,
    StartAttempt,
)
from domain.errors import (
    KeyInFlight,
    KeyReused,
    OutcomeUnknown,
    Overloaded,
    PaymentAnswerKnown,
    PaymentUndecided,
    Stopping,
    Unavailable,
)
from domain.events import PaymentAttemptStarted, PaymentOperationRequested, RawEvent, Recorded, recorded
from domain.next_step import Ask, Attempt, Expire, GiveUp, Rest, Routing, instruction, next_steps, takes_route
from domain.payment import Payment, Request, Status, fold
from domain.ports import Breakers, RailPort, Reads
from domain.rail import Accepted, Answer, Approved, Declined, Instruction, NotFound, Rail, Unknown
from domain.routing import Decision, Health, closed, healths
from domain.traffic import observation
from domain.validation import subject
from projections import payments
from projections.projection import tracked_as

ACTOR: Final = "daybook"
KEY: Final = "daybook·payment"
"""No client's: theirs are ASCII."""

LOOK_S: Final = 1.0
"""How often payments that nobody told of are looked for."""
PAGE: Final = 500
"""Payments looked for at once, of each kind."""
AT_ONCE_MAX: Final = 50_000
"""Payments driven at the same time: most of them only wait until their rail is to be asked again."""
PATIENCE_S: Final = 30.0
"""How long a rail may take, whatever its own patience."""
ACTING_S: Final = 3.0
"""The longest such pause while a payer acts, who looks at a screen."""
AGAIN_S: Final = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
"""Pauses before a rail is asked again what became of something; the last one for ever."""

ABSTAIN: Final = "abstain"
_REQUESTS: Final = (PaymentAttemptStarted, PaymentOperationRequested)
_NOT_NOW: Final = (Unavailable, OutcomeUnknown, Overloaded, KeyInFlight, KeyReused, Stopping)
"""It is not known to be done; whoever comes back looks at the payment anew."""
_UNDER_WAY: Final = frozenset({Status.PROCESSING, Status.REQUIRES_ACTION})
"""A rail, or the payer, has still to say what becomes of it."""

TEXT_MAX: Final = 500
ACTION_MAX: Final = 2000
"""Characters of what a payer is told; a link that is cut leads nowhere."""
TAKEN_OVER: Final = "the process that was to ask did not say what was answered"
LEFT_ALONE_S: Final = 2.0
"""How long what was requested is left to the process that requested it."""


class Finding(Protocol):
    """Finds payments where they are kept."""

    async def __call__(self) -> Iterable[Payment]:
        """Some with something to do, and others the next time."""

    async def payment(self, payment_id: UUID) -> Payment | None:
        """That one."""


class Found:
    """Payments with something to do, page by page, as they are in the log: what a read model says of them is late."""

    def __init__(self, reads: Reads) -> None:
        self._reads = reads
        self._after = 0

    async def __call__(self) -> list[Payment]:
        """The next page; after the last one the first again."""
        wanted = {"projections": [tracked_as(payments)], "limit": PAGE, "after": self._after}
        rows = [row for row in await self._reads.fetch("payments_due", wanted) if row["payment_id"] is not None]
        self._after = rows[-1]["position"] if len(rows) >= PAGE else 0
        fresh = {row["payment_id"] for row in rows if row["state"] == "requested" and row["age_s"] < LEFT_ALONE_S}
        return await self._fold({row["payment_id"] for row in rows} - fresh)

    async def payment(self, payment_id: UUID) -> Payment | None:
        return next(iter(await self._fold({payment_id})), None)

    async def _fold(self, payment_ids: set[UUID]) -> list[Payment]:
        if not payment_ids:
            return []
        streams: dict[UUID, list[Recorded]] = {}
        for row in await self._reads.fetch("streams", {"streams": list(payment_ids)}):
            streams.setdefault(row["stream"], []).append(recorded(RawEvent(*row.values())))
        folded = [fold(payment_id, events) for payment_id, events in streams.items()]
        return [payment for payment in folded if payment is not None]


class Paying:
    """Drives payments.

    Args:
        rails: What each rail is reached by; a payment by another one waits.
        find: Payments with something to do, and any by its id, as they are in the log.
        breakers: What is known of the routes; told of every call.
        validators: Asked before the first attempt since a payment was confirmed.
        paid: Told of each payment that was carried through here: the rail's name, the status, and seconds since the
            first thing a rail was asked.
        now: The time, for expiry and for waits; what is decided takes the log's own.
        report: Told of what should not happen, as (event, details).
    """

    def __init__(
        self,
        desk: Desk,
        rails: Mapping[Rail, RailPort],
        routing: Routing,
        *,
        find: Finding,
        breakers: Breakers,
        validators: Validators,
        paid: Callable[[str, str, float], None],
        now: Callable[[], datetime],
        report: Callable[[str, BaseException], None],
    ) -> None:
        self._desk = desk
        self._rails = rails
        self._routing = routing
        self._find = find
        self._breakers = breakers
        self._validators = validators
        self._paid = paid
        self._now = now
        self._report = report
        self._driven: dict[UUID, asyncio.Task[Payment | None]] = {}
        self._unasked: set[str] = set()
        """Requests that no rail has heard of."""
        self._changed: dict[UUID, Payment] = {}
        """Of those being driven, what somebody else made of them since."""
        self._acting: dict[UUID, asyncio.Event] = {}
        """Of those being driven for which somebody waits: whether it is their payer's turn."""
        self._told = ""

    def notice(self, outcome: Outcome) -> None:
        """A command of this process has changed a payment. A first answer told again is of a payment as it once was."""
        if outcome.payment is not None and not outcome.replayed:
            self._note_unasked(outcome)
            self._go(outcome.payment)

    def _note_unasked(self, outcome: Outcome) -> None:
        """What a command has requested just now, no rail has heard of; what one requested before, one may have."""
        requests = (one.event for one in outcome.recorded if not outcome.replayed)
        self._unasked |= {one.request_id for one in requests if isinstance(one, _REQUESTS)}

    def _go(self, payment: Payment) -> None:
        """Drive it; where it is being driven already, that goes on from what it then is."""
        if payment.id in self._driven:
            self._changed[payment.id] = payment
        elif len(self._driven) < AT_ONCE_MAX:
            self._driven[payment.id] = asyncio.get_running_loop().create_task(self._drive(payment))

    async def carried(self, payment_id: UUID, seconds: float) -> Payment | None:
        """The payment once it waits for nobody but a person, or as far as it got in that time; None for none."""
        task = self._driven.get(payment_id)
        if task is not None:
            acting = asyncio.create_task(self._acting.setdefault(payment_id, asyncio.Event()).wait())
            await asyncio.wait({task, acting}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            acting.cancel()
        carried = task.result() if task is not None and task.done() and not task.cancelled() else None
        return carried or await self._find.payment(payment_id)

    async def rest(self, payment_id: UUID) -> Rest | None:
        """Until when a payment whose next step is ours rests, and why; None where it is to go on at once."""
        payment = await self._find.payment(payment_id)
        if payment is None:
            return None
        health, now = await self._health(payment), self._now()
        step = next_steps(payment, self._routing, health, now)[0]
        return step if isinstance(step, Rest) else None

    async def run(self) -> None:
        """Until it is cancelled."""
        try:
            while True:
                await self._look()
                await asyncio.sleep(LOOK_S)
        finally:
            driven = list(self._driven.values())
            for task in driven:
                task.cancel()
            await asyncio.gather(*driven, return_exceptions=True)

    async def _look(self) -> None:
        try:
            for payment in await self._find():
                if payment.id not in self._driven:
                    self._go(payment)
            self._told = ""
        except _NOT_NOW:
            pass  # Desk and projections have their say about a store that is away.
        except Exception as error:
            self._tell(error)

    async def _drive(self, payment: Payment) -> Payment | None:
        """Step by step until there is nothing to do but to wait: as it then is.

        None of one that somebody else goes on with, or that cannot be driven: it is left for the next look.
        """
        known: Payment | None = payment
        fruitless = 0
        under_way = False
        try:
            while known is not None:
                last, under_way = known, under_way or known.status in _UNDER_WAY
                if known.action and payment.id in self._acting:
                    self._acting[payment.id].set()
                came = await self._step(known, fruitless)
                then = None if isinstance(came, Rest) else came
                changed = self._changed.pop(payment.id, None)
                if changed is not None and (then is None or changed.version > then.version):
                    then = changed
                fruitless = fruitless + 1 if then is known else 0
                known = then
            if under_way and last.status not in _UNDER_WAY:
                self._note_paid(last)
            return last if isinstance(came, Rest) else None
        except _NOT_NOW:
            pass
        except Exception as error:
            self._tell(error)
        finally:
            self._changed.pop(payment.id, None)
            self._driven.pop(payment.id, None)
            self._acting.pop(payment.id, None)
        return None

    def _note_paid(self, payment: Payment) -> None:
        first = next(iter(payment.requests.values()), None)
        if first is not None:
            self._paid(first.rail.value, payment.status.value, (self._now() - first.requested_at).total_seconds())

    async def _step(self, payment: Payment, fruitless: int) -> Payment | Rest | None:
        """The payment as it then is: the same where a rail said nothing new, None where others go on with it.

        Args:
            fruitless: How often in a row nothing new was heard.
        """
        health, now = await self._health(payment), self._now()
        steps = next_steps(payment, self._routing, health, now)
        asking = [step for step in steps if isinstance(step, Ask) and step.request.rail in self._rails]
        if asking:
            if fruitless:
                pause = AGAIN_S[min(fruitless, len(AGAIN_S)) - 1]
                await asyncio.sleep(min(pause, ACTING_S) if payment.action else pause)
            heard = await asyncio.gather(*(self._ask(payment, step) for step in asking))
            return max((one for one in heard if one is not None), key=lambda one: one.version, default=None)
        match steps[0]:
            case Attempt(decision=decision):
                return await self._start(payment, decision, fruitless)
            case GiveUp(why=why):
                return await self._command(payment, GiveUpPayment(payment_id=payment.id, reason=why))
            case Expire():
                return await self._command(payment, ExpirePayment(payment_id=payment.id))
            case Rest() as rest:
                return rest
            case _:
                return None  # Its rail is none of ours.

    async def _health(self, payment: Payment) -> Mapping[str, Health]:
        """What is known of the routes, for one that is about to take one of them."""
        if not takes_route(payment):
            return {}
        seen, now = await self._breakers.look(), self._now()
        return healths(self._routing.routes, seen, now, closed=closed(self._routing.routes, now))

    async def _start(self, payment: Payment, decision: Decision, fruitless: int) -> Payment | None:
        """The same payment where it depends on a validator that was not heard: nothing is kept of that."""
        route = next(one for one in self._routing.routes if one.name == decision.chosen)
        start = StartAttempt(payment_id=payment.id, route=route.name, decision=msgspec.to_builtins(decision))
        if not payment.is_validated:
            start = start.model_copy(update={"votes": await self._validators.votes(subject(payment, self._now()))})
            silent = any(vote.verdict == ABSTAIN for vote in start.votes)
            if silent and await self._is_undecided(payment, start):
                await asyncio.sleep(AGAIN_S[min(fruitless, len(AGAIN_S) - 1)])
                return payment
        if decision.probe and not await self._breakers.take_probe(route.rail, route.name):
            return None  # Another has it; the next look decides anew.
        return await self._command(payment, start)

    async def _is_undecided(self, payment: Payment, start: StartAttempt) -> bool:
        """Whether the rule can do without whoever was not heard, by the log's own state."""
        tried = ask(start, actor=ACTOR, key=f"{KEY} {payment.version} tried")
        outcome = await self._desk.submit(replace(tried, dry=True))
        return isinstance(outcome.refusal, PaymentUndecided)

    async def _ask(self, payment: Payment, step: Ask) -> Payment | None:
        """What the rail says is recorded. None: the payment is over it already."""
        request = step.request
        asked = instruction(payment, request)
        port = self._rails[request.rail]
        if not step.again and request.id not in self._unasked:
            # Another process may have asked, or be about to: from here on none of its own noes counts.
            return await self._record(payment, request, Unknown(why=TAKEN_OVER))
        self._unasked.discard(request.id)
        answer = await self._call(port.inquire if step.again else port.send, asked)
        if isinstance(answer, NotFound):
            answer = await self._call(port.send, asked)
        if isinstance(answer, NotFound):
            answer = Unknown(why="the rail does not find what it was asked")
        return await self._record(payment, request, answer)

    async def _record(
        self, payment: Payment, request: Request, answer: Approved | Declined | Accepted | Unknown
    ) -> Payment | None:
        try:
            return await self._command(payment, _recording(payment, request, answer))
        except PaymentAnswerKnown as known:
            return payment if known.state == request.state and request.is_open else None

    async def _call(self, call: Callable[[Instruction], Awaitable[Answer]], asked: Instruction) -> Answer:
        began = time.monotonic()
        try:
            answer = await asyncio.wait_for(call(asked), PATIENCE_S)
        except TimeoutError:
            answer = Unknown(why=f"no answer within {PATIENCE_S:.0f} s")
        except Exception as error:  # Whatever went wrong, the rail may have done it.
            self._tell(error)
            answer = Unknown(why=f"the question failed: {type(error).__name__}")
        latency_ms = int(1000 * (time.monotonic() - began))
        self._breakers.observe(asked.rail, asked.route, observation(answer, latency_ms))
        return answer

    async def _command(self, payment: Payment, command: Command) -> Payment | None:
        """The payment as the command left it.

        Raises:
            PaymentAnswerKnown: It says nothing new.
            What `Desk.submit` raises.
        """
        outcome = await self._desk.submit(ask(command, actor=ACTOR, key=f"{KEY} {payment.version} {_subject(command)}"))
        if isinstance(outcome.refusal, PaymentAnswerKnown):
            raise outcome.refusal
        self._note_unasked(outcome)
        return outcome.payment  # None: the payment has changed meanwhile; whoever changed it goes on.

    def _tell(self, error: BaseException) -> None:
        """Once; what is told again and again is not read."""
        if str(error) != self._told:
            self._told = str(error)
            self._report("paying.failed", error)


def _subject(command: Command) -> str:
    """What tells commands given in one state apart: the request that was answered, or who was heard before."""
    match command:
        case RecordAnswer():
            return command.request_id
        case StartAttempt():
            return " ".join(vote.validator for vote in command.votes if vote.verdict == ABSTAIN)
        case _:
            return ""


def _recording(payment: Payment, request: Request, answer: Approved | Declined | Accepted | Unknown) -> Command:
    """A stranger's words are cut and made printable: what a rail said must never be what keeps it from being kept."""
    named: dict[str, Any] = {"payment_id": payment.id, "request_id": request.id}
    match answer:
        case Approved():
            return RecordApproval(
                **named,
                reference=plain(answer.reference),
                amount=answer.amount,
                currency=answer.currency,
                code=plain(answer.code),
                authorization=plain(answer.authorization),
                settles_on=plain(answer.settles_on),
            )
        case Declined():
            return RecordDecline(
                **named,
                code=plain(answer.code),
                reason=plain(answer.reason),
                message=plain(answer.message),
                retry=answer.retry.value,
                unasked=answer.unasked,
            )
        case Accepted():
            return RecordAcceptance(
                **named, reference=plain(answer.reference), code=plain(answer.code), action=_plain_all(answer.action)
            )
        case Unknown(why=why):
            return RecordSilence(**named, why=plain(why))


def plain(text: str, most: int = TEXT_MAX) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in text[:most])


def _plain_all(action: Mapping[str, str]) -> dict[str, str]:
    return {plain(name): plain(said, ACTION_MAX) for name, said in action.items()}


@asynccontextmanager
async def paying(driver: Paying) -> AsyncIterator[None]:
    """Within this, payments go on by themselves."""
    task = asyncio.create_task(driver.run(), name="paying")
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
