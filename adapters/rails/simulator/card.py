"""The other side of the card rail: acquirer, network and issuer in one, speaking ISO 8583 over TCP.

What it does is decided by the card, then by the amount, then by what came before:

* a test card's own answer (`adapters.rails.card.cards`) to whatever it pays for; a number that is no test card: 14;
* 5100NN minor units are declined with the code NN wherever that is one of the table (`declines`): 510051, not enough
  money; so is 510005, and so on. What undoes something is never declined for its amount;
* more than is left of an authorization, or of what was captured: 13; what is over: 12; an original nobody knows: 25; an
  expiry that has passed: 54; a message with a field missing: 30, and nothing is kept of it.

A request id that has been here gets the answer it got, whatever the message's type says, and 94 if anything else is
asked under it. A merchant's number (42) is the route that faults are switched for.

The file of a day has what settles on it: what moved money on one business day settles on the next, and as long as that
day has not begun (UTC), a capture or a collection can be reversed, which settles with it. The layout is that of
`adapters.rails.card.reports`. A card that disputes (`adapters.rails.card.cards`), or the fault, has what was captured
or collected disputed later, see `adapters.rails.simulator.disputes`.
"""

import csv
import io
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time
from hashlib import blake2b
from typing import Final

from starlette.routing import BaseRoute

from adapters.rails.card.cards import BY_NUMBER
from adapters.rails.card.codec import MTI, Fields, MessageMalformed, decode, encode
from adapters.rails.card.declines import BY_CODE
from adapters.rails.card.messages import (
    FINANCIAL,
    NETWORK,
    ORIGINAL_ID,
    PAYOUT,
    PURPOSE,
    REFUND,
    REVERSAL_ADVICE,
    answer_type,
    read_private,
)
from adapters.rails.card.reports import NAME, VERSION
from adapters.rails.simulator.books import Books, Effect
from adapters.rails.simulator.clock import Clock
from adapters.rails.simulator.disputes import DISPUTED, LOST, WON, Disputes, respond_by
from adapters.rails.simulator.faults import ALL_ROUTES, Faults, Plan
from adapters.rails.simulator.reply import RailSimulator, Reply, carried_out
from domain.calendar import business_day_from, is_business_day, next_business_day
from domain.money import NUMERIC
from domain.rail import Operation

RAIL: Final = "card"
APPROVED: Final = "00"
DECLINED: Final = "05"
"""What a decline that was switched on answers, where no code was given."""

MAGIC_AMOUNTS: Final[Mapping[int, str]] = {
    510000 + int(code): code for code in BY_CODE if code.isascii() and code.isdigit()
}
"""Amounts in minor units that are always declined, and with what."""

FEE_BASIS_POINTS: Final = 180
FEE_FIXED: Final = 10
PAYOUT_FEE: Final = 25
"""What the network keeps: of a capture or a collection 1.8 %, rounded half to even, and 10 minor units; of a payout 25.
A refund costs nothing, and brings nothing back; a reversal brings back what it undoes cost."""
DISPUTE_FEE: Final = 1_500
"""What a dispute costs whoever is right, in minor units."""
USUAL_DISPUTE: Final = "10.4"
"""The reason of a dispute that was switched on."""

_CURRENCIES: Final = {numeric: code for code, numeric in NUMERIC.items()}
_SETTLING: Final = {
    Operation.CAPTURE: 1,
    Operation.COLLECT: 1,
    Operation.REFUND: -1,
    Operation.PAYOUT: -1,
    Operation.REVERSE: -1,
    DISPUTED: -1,
    WON: 1,
    LOST: 0,
}
_TAKEN: Final = (Operation.CAPTURE, Operation.COLLECT)
_REQUIRED: Final = (2, 3, 4, 7, 11, 14, 37, 42, 49, 62)
_ECHOED: Final = (2, 3, 4, 7, 11, 12, 13, 32, 37, 41, 42, 49, 62)
_REQUEST: Final = re.compile(r"0(1[02]|2[02]|4[02])[01]|0800", re.ASCII)
_ORIGINAL_DATA: Final = re.compile(r"[0-9]{4}([0-9]{6})([0-9]{10})[0-9]{22}", re.ASCII)
_NO_TIME: Final = "0" * 10


class CardSimulator(RailSimulator):
    """All acquirers at once."""

    rail = RAIL
    framed = True

    def __init__(self, books: Books, faults: Faults, clock: Clock) -> None:
        super().__init__(books, faults, clock)
        self.disputes = Disputes(
            RAIL, books, faults, clock, left=self._left, settles=business_day_from, begins=_midnight
        )

    def answer(self, message: bytes) -> Reply:
        """Do what the message asks, once, and say so. What is no message ends the connection."""
        try:
            asked = decode(message)
        except MessageMalformed:
            return Reply(hang_up=True)
        if not _REQUEST.fullmatch(asked[MTI]):
            return Reply(hang_up=True)
        route = asked.get(42, "").strip()
        if asked[MTI] == NETWORK:
            return (
                Reply(hang_up=True)
                if self.faults.is_out(RAIL, route)
                else Reply(body=_said(asked, {70: asked.get(70, "001")}))
            )
        self.disputes.go_on()
        plan = self.faults.plan(RAIL, route)
        return carried_out(plan, lambda: self._carry_out(asked, route, plan))

    def settlement(self, day: date, route: str = ALL_ROUTES) -> bytes:
        """What settles on that day; an effect that was to be reported twice is there twice, and counted twice."""
        self.disputes.go_on()
        reported = [e for e in self.books.effects(RAIL) if e.day == day and e.outcome == "approved"]
        of_route = [e for e in reported if e.operation in _SETTLING and route in (ALL_ROUTES, e.route)]
        details = [self._detail(e) for e in of_route for _ in range(1 + ("twice" in e.detail))]
        sums: dict[str, list[int]] = {}
        for detail in details:
            total = sums.setdefault(str(detail[5]), [0, 0, 0, 0])
            for at, value in enumerate((1, *detail[6:9])):
                total[at] += int(value)
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(("H", NAME, VERSION, day.isoformat()))
        writer.writerows(details)
        writer.writerows(("T", currency, *total) for currency, total in sorted(sums.items()))
        writer.writerow(("E", len(details)))
        return text.getvalue().encode("ascii")

    def due(self) -> Sequence[bytes]:
        """Nothing is sent by itself; disputes come and end."""
        self.disputes.go_on()
        return ()

    def routes(self) -> Sequence[BaseRoute]:
        return self.disputes.routes()

    def _carry_out(self, asked: Fields, route: str, plan: Plan) -> bytes:
        if not _is_whole(asked):
            return _said(asked, {39: "30"})
        effect = self.books.find(RAIL, asked[62])
        if effect is None and self.books.by_reference(RAIL, _reference(asked)) is None:
            effect = self._decide(asked, route, plan)
            self.books.record(effect)
            self.disputes.learn(effect)
        if effect is None or effect.detail.get("asked") != _asked(asked):
            return _said(asked, {39: "94"})
        said = {15: f"{effect.day:%m%d}", 39: effect.code}
        if effect.outcome == "approved":
            said[38] = approval_code(effect.request_id)
        if plan.wrong_amount:
            said[4] = f"{_another(int(asked[4])):012}"
        return _said(asked, said)

    def _decide(self, asked: Fields, route: str, plan: Plan) -> Effect:
        operation = _operation(asked)
        original = self._original(asked)
        code = self._code(asked, operation, original, plan)
        amount = int(asked[4])
        if operation is Operation.VOID and code == APPROVED:
            amount = min(amount, 0 if original is None else self._left(original))
        disputes = _disputes(asked, plan) if operation in _TAKEN and code == APPROVED else ""
        now = self.clock.now()
        today = now.astimezone(UTC).date()
        day = next_business_day(today if is_business_day(today) else next_business_day(today))
        if operation is Operation.REVERSE and original is not None and code == APPROVED:
            day = original.day
        return Effect(
            rail=RAIL,
            request_id=asked[62],
            operation=operation,
            amount=amount,
            currency=_CURRENCIES[asked[49]],
            outcome="approved" if code == APPROVED else "declined",
            code=code,
            reference=_reference(asked),
            at=now,
            day=day,
            original=_upon(asked) if original is None else original.reference,
            route=route,
            detail={
                "asked": _asked(asked),
                "sent": asked[7],
                "card": asked[2][-4:],
                "purpose": read_private(asked.get(48, "")).get(PURPOSE, ""),
            }
            | ({"twice": "true"} if plan.duplicate else {})
            | ({"disputes": disputes} if disputes else {}),
        )

    def _original(self, asked: Fields) -> Effect | None:
        """What this is upon; for what is upon an increment, the authorization that was increased. Only if approved."""
        effect = self.books.find(RAIL, read_private(asked.get(48, "")).get(ORIGINAL_ID, ""))
        if effect is None or effect.outcome != "approved" or not _names(asked, effect):
            return None
        return self.books.by_reference(RAIL, effect.original) if effect.operation == Operation.INCREMENT else effect

    def _code(self, asked: Fields, operation: Operation, original: Effect | None, plan: Plan) -> str:
        """The answer code."""
        amount = int(asked[4])
        if operation is Operation.VOID:
            return self._code_of_void(asked, amount, original)
        if operation is Operation.REVERSE:
            return self._code_of_reversal(asked, amount, original)
        if plan.decline:
            return plan.decline_code if plan.decline_code in BY_CODE else DECLINED
        if amount in MAGIC_AMOUNTS:
            return MAGIC_AMOUNTS[amount]
        card = BY_NUMBER.get(asked[2])
        if card is None:
            return "14"
        if operation in (Operation.CAPTURE, Operation.INCREMENT, Operation.REFUND):
            return self._code_upon(asked, operation, amount, original)
        if self.books.upon(RAIL, _unseen(asked[62])):
            return "12"  # Undone before it came.
        return "54" if asked[14] < f"{self.clock.now():%y%m}" else card.answer

    def _code_upon(self, asked: Fields, operation: Operation, amount: int, original: Effect | None) -> str:
        if original is None:
            return "25"
        upon = (Operation.CAPTURE, Operation.COLLECT) if operation is Operation.REFUND else (Operation.AUTHORIZE,)
        same = original.currency == _CURRENCIES[asked[49]] and original.detail["card"] == asked[2][-4:]
        if original.operation not in upon or not same:
            return "12"
        left = self._left(original)
        if operation is Operation.INCREMENT:
            return APPROVED if left else "12"
        if not left:
            return "12"
        return APPROVED if amount <= left else "13"

    def _code_of_void(self, asked: Fields, amount: int, original: Effect | None) -> str:
        """An advice undoes whatever is there, be it nothing or yet to come; a request must fit what is there."""
        advice = asked[MTI][:3] == REVERSAL_ADVICE[:3]
        if original is None:
            return APPROVED if advice else "25"
        if original.operation != Operation.AUTHORIZE or original.currency != _CURRENCIES[asked[49]]:
            return "12"
        left = self._left(original)
        if advice or amount <= left:
            return APPROVED
        return "13" if left else "21"

    def _code_of_reversal(self, asked: Fields, amount: int, original: Effect | None) -> str:
        """What was captured or collected, whole, as long as the day on which it settles has not begun."""
        if original is None:
            return "25"
        if original.operation not in _TAKEN or original.currency != _CURRENCIES[asked[49]]:
            return "12"
        if self.clock.now() >= _midnight(original.day):
            return "21"
        if self._left(original) < original.amount:
            return "12"
        return APPROVED if amount == original.amount else "13"

    def _left(self, original: Effect) -> int:
        """What can still be captured of an authorization, or refunded or disputed of what was captured or collected."""
        left = original.amount
        for effect in self.books.upon(RAIL, original.reference):
            if effect.outcome != "approved" or (effect.operation == DISPUTED and self.disputes.is_won(effect)):
                continue
            if effect.operation == Operation.CAPTURE and effect.detail["purpose"] == "F":
                return 0
            left += effect.amount if effect.operation == Operation.INCREMENT else -effect.amount
        return left

    def _detail(self, effect: Effect) -> tuple[str | int, ...]:
        """A line; of a dispute, upon what is disputed."""
        disputed = effect.operation in (DISPUTED, WON, LOST)
        amount = effect.amount * _SETTLING[effect.operation]
        kept = self._fee(effect)
        return (
            "D",
            effect.original if effect.operation in (WON, LOST) else effect.reference,
            effect.detail["of"] if disputed else effect.request_id,
            effect.detail["operation"] if disputed else effect.operation,
            effect.route,
            effect.currency,
            amount,
            kept,
            amount - kept,
            "" if disputed else approval_code(effect.request_id),
            effect.original,
            effect.at.isoformat(timespec="milliseconds"),
            effect.operation if disputed else "settled",
            effect.code if disputed else "",
            effect.amount if disputed else "",
            respond_by(effect, _midnight).isoformat() if effect.operation == DISPUTED else "",
        )

    def _fee(self, effect: Effect) -> int:
        if effect.operation != Operation.REVERSE:
            return fee(effect.operation, effect.amount)
        original = self.books.by_reference(RAIL, effect.original)
        assert original is not None, effect
        return -fee(original.operation, original.amount)


def fee(operation: str, amount: int) -> int:
    """What the network keeps, in minor units."""
    match operation:
        case "disputed":
            return DISPUTE_FEE
        case Operation.CAPTURE | Operation.COLLECT:
            whole, rest = divmod(amount * FEE_BASIS_POINTS, 10_000)
            return whole + (rest > 5_000 or (rest == 5_000 and whole % 2 == 1)) + FEE_FIXED
        case Operation.PAYOUT:
            return PAYOUT_FEE
        case _:
            return 0


def approval_code(request_id: str) -> str:
    """Six digits (38), the same for the same request id."""
    return f"{int.from_bytes(blake2b(request_id.encode(), digest_size=8, person=b'approval').digest()) % 10**6:06}"


def _operation(asked: Fields) -> Operation:
    kind, processing = asked[MTI][:3], asked[3]
    if kind[1] == "4":
        return Operation.REVERSE if _names_what_was_taken(asked) else Operation.VOID
    if kind[1] == "1":
        increment = read_private(asked.get(48, "")).get(PURPOSE) == "I"
        return Operation.INCREMENT if increment else Operation.AUTHORIZE
    if processing[:2] == REFUND[:2]:
        return Operation.REFUND
    if processing[:2] == PAYOUT[:2]:
        return Operation.PAYOUT
    return Operation.COLLECT if kind == FINANCIAL[:3] else Operation.CAPTURE


def _names_what_was_taken(asked: Fields) -> bool:
    """Whether the original (90) is a financial message: else a promise is undone."""
    return asked.get(90, "")[:2] == FINANCIAL[:2]


def _disputes(asked: Fields, plan: Plan) -> str:
    """With what it is to be disputed, if it is."""
    card = BY_NUMBER.get(asked[2])
    return (card.disputes if card is not None else "") or (USUAL_DISPUTE if plan.dispute else "")


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


def _is_whole(asked: Fields) -> bool:
    """Whether all is there that a request must have, and each number is one."""
    return (
        all(asked.get(number) for number in _REQUIRED)
        and all(asked[number].isdigit() for number in (2, 3, 4, 7, 11, 14))
        and asked[49] in _CURRENCIES
        and int(asked[4]) > 0
    )


def _another(amount: int) -> int:
    return amount - 1 if amount > 1 else amount + 1


def _asked(asked: Fields) -> str:
    """What may not differ between two requests with one id."""
    return f"{asked[MTI][1:3]} {asked[3]} {asked[4]} {asked[49]} {asked[2][-4:]} {asked.get(48, '')}"


def _reference(asked: Fields) -> str:
    """The retrieval reference number and the trace number, which within an hour are not enough each alone."""
    return asked[37] + asked[11]


def _upon(asked: Fields) -> str:
    original_id = read_private(asked.get(48, "")).get(ORIGINAL_ID, "")
    return _unseen(original_id) if original_id else ""


def _unseen(request_id: str) -> str:
    """Stands for the reference of a request that has not been here."""
    return f"unseen {request_id}"


def _names(asked: Fields, effect: Effect) -> bool:
    """Whether the original data elements (90) are the effect's: its trace number, and its time unless that is zeros."""
    match = _ORIGINAL_DATA.fullmatch(asked.get(90, ""))
    return match is not None and match[1] == effect.reference[12:] and match[2] in (effect.detail["sent"], _NO_TIME)


def _said(asked: Fields, said: Mapping[int, str]) -> bytes:
    """The answer: what was asked, and what is said to it; granted, where nothing else is said."""
    echoed = {number: asked[number] for number in _ECHOED if number in asked}
    return encode({MTI: answer_type(asked[MTI]), 39: APPROVED} | echoed | dict(said))
