"""What comes next for a payment, told from what it is."""

from datetime import timedelta
from uuid import UUID

import pytest

from domain import payment as rules
from domain.events import Event, PaymentValidated
from domain.next_step import EXPIRE_AGAIN, Ask, Attempt, Expire, GiveUp, Rest, Routing, Step, next_steps
from domain.payment import Payment
from domain.policy import Policy
from domain.rail import Approved, Card, Declined, Rail, Retry, Unknown
from domain.routing import Route, Terms
from tests.support import BOOK, NOW

CARD = Card(token="tok_visa", brand="visa", last4="4242", expires="2030-12")
ROUTES = Routing(
    routes=[
        Route(name=name, rail=Rail.CARD, methods=("card",), terms={"EUR": Terms(fee_fixed=fee)})
        for name, fee in (("cheap", 1), ("dear", 90))
    ]
)
NONE = Routing(routes=[])
LATER = NOW + timedelta(hours=3)
YES = Approved(reference="r", amount=100, currency="EUR", code="00")


def declined(retry: Retry, reason: str = "processing_error") -> Declined:
    return Declined(code="x", reason=reason, message="No.", retry=retry)


class Life:
    """A payment step by step, each a second after the one before."""

    def __init__(self, *, capture: str = "manual") -> None:
        self.at = NOW
        intent = rules.create(
            Policy(),
            book_id=BOOK,
            account_id=UUID(int=1),
            direction="in",
            amount=100,
            currency="EUR",
            capture=capture,
            approvals=0,
            expires_at=NOW + timedelta(hours=1),
            now=NOW,
        )
        self.payment = rules.created(UUID(int=2), intent, "ann")
        self.take(rules.attach(self.payment, method=CARD))
        self.take(rules.confirm(self.payment, now=self.at))

    def take(self, event: Event) -> Payment:
        self.at += timedelta(seconds=1)
        self.payment = rules.evolve(self.payment, event, self.at)
        return self.payment

    def start(self, route: str = "cheap") -> "Life":
        if not self.payment.is_validated:
            self.take(PaymentValidated(rule={}, votes=[], passed=True))
        self.take(rules.start(self.payment, route=route, decision={}, now=self.at))
        return self

    def hear(self, answer: Approved | Declined | Unknown) -> "Life":
        request = list(self.payment.requests)[-1]
        self.take(rules.answer(self.payment, request_id=request, answer=answer))
        return self

    def next(self, how: Routing = ROUTES) -> Step:
        (step,) = next_steps(self.payment, how, {}, self.at)
        return step


def test_a_confirmed_payment_is_attempted() -> None:
    """
    On the route that the decision chose; where there is none, it is given up, and asks for another method.
    """
    step = Life().next()

    assert isinstance(step, Attempt) and step.decision.chosen in ("cheap", "dear")
    assert Life().next(NONE) == GiveUp("no route takes it")


def test_what_was_requested_is_put_to_its_rail() -> None:
    """
    First as it is; once its outcome is unknown, by asking what became of it.
    """
    asked = Life().start().next()
    unknown = Life().start().hear(Unknown(why="silence")).next()

    assert isinstance(asked, Ask) and not asked.again
    assert isinstance(unknown, Ask) and unknown.again


@pytest.mark.parametrize("retry", [Retry.ELSEWHERE, Retry.LATER])
def test_a_declined_attempt(retry: Retry) -> None:
    """
    It goes by another route where that may help, and waits where only time may.
    """
    step = Life().start().hear(declined(retry)).next()

    if retry is Retry.ELSEWHERE:
        assert isinstance(step, Attempt) and step.decision.chosen == "dear"
    else:
        assert isinstance(step, Rest) and step.until is not None


def test_nobody_waits_for_days() -> None:
    """
    An empty account is full again tomorrow at best: the payer is asked for another method.
    """
    step = Life().start().hear(declined(Retry.LATER, "insufficient_funds")).next()

    assert isinstance(step, GiveUp)


def test_whoever_is_in_a_hurry() -> None:
    """
    What would wait for time to pass is attempted at once, for this one time; where no route can be, it is not.
    """
    life = Life().start().hear(declined(Retry.LATER))
    life.take(*rules.retry(life.payment, now=life.at))

    assert isinstance(life.next(), Attempt)
    assert isinstance(life.next(NONE), GiveUp)
    assert isinstance(life.start().hear(declined(Retry.LATER)).next(), Rest)


def test_a_new_method_is_a_new_beginning() -> None:
    """
    Attempts made with the method before do not count against it.
    """
    life = Life()
    for route in ("cheap", "dear"):
        life.start(route).hear(declined(Retry.ELSEWHERE))
    assert isinstance(life.next(), GiveUp)
    life.take(rules.give_up(life.payment, reason="no route is left"))
    life.take(rules.attach(life.payment, method=CARD))
    life.take(rules.confirm(life.payment, now=life.at))

    assert isinstance(life.next(), Attempt)


def test_what_is_over_rests() -> None:
    """
    A payment that waits for a person, or for nothing at all, is left alone.
    """
    authorized = Life().start().hear(YES)

    assert isinstance(authorized.next(), Rest)
    authorized.take(rules.capture(authorized.payment, amount=None, final=True, now=authorized.at))
    assert authorized.hear(YES).next() == Rest(None, "it is over")


def test_an_authorization_that_is_not_given_up() -> None:
    """
    Its time has come and the rail will not void it: that is asked again after a while, not in a loop.
    """
    life = Life().start().hear(YES)
    life.at = LATER
    assert life.next() == Expire()
    life.take(rules.expire(life.payment, now=life.at))
    life.hear(declined(Retry.NEVER, "too_late"))

    assert life.next() == Rest(life.at + EXPIRE_AGAIN, "it is not given up: too_late")
    life.at += EXPIRE_AGAIN
    assert life.next() == Expire()
