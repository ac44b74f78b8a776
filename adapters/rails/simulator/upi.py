"""UPI as a merchant meets it: a bank that takes messages, payers with an app in their hand, and payees.

What happens depends on the name in the payer's address, or for payouts and refunds the payee's; the handle is anything:

    decline@     declines (ZA)                       slow@        agrees after 3 s instead of half a second
    poor@        has not enough money (Z9)           silent@      does not look: it expires (U69)
    pin@         mistypes the PIN (ZM)               twice@       agrees, and it is told twice
    spent@       has reached the limit (Z8)          late@        agrees, and it is told 2 s after that
    frozen@      account is frozen (YE, YF)          deemed@      the credit times out; 1 s later it was done
    fraud@       looks like fraud (K1, ZI)           lost@        the credit times out; 1 s later it was taken back
    nobody@      no such address (ZH)                bank@        the bank cannot be reached (XY, Y1)
    dispute@     agrees, and disputes it some days later (1064)

Anybody else agrees. Whoever is asked to collect answers half a second later; payouts and refunds are answered at once.
An intent that names no payer waits until an app opens the link: POST /upi/open {"payer": ..., "link": ...}. Names that
begin with `shop` or `merchant` belong to merchants. A request that came before is answered U01, and nothing is done.

The settlement file is that of `adapters.rails.upi.reports`. What the fault, or that payer, disputes goes as
`adapters.rails.simulator.disputes` says, by days in India.
"""

import csv
import io
from collections.abc import Sequence
from datetime import date, datetime, timedelta, tzinfo
from functools import partial
from typing import ClassVar, Final

import msgspec
from msgspec import Struct, structs
from starlette.routing import BaseRoute, Route

from adapters.rails.simulator.books import Books, Effect
from adapters.rails.simulator.clock import Clock
from adapters.rails.simulator.disputes import DISPUTED, LOST, WON, Disputes, respond_by
from adapters.rails.simulator.faults import ALL_ROUTES, Faults, Plan
from adapters.rails.simulator.reply import RailSimulator, Reply, carried_out
from adapters.rails.simulator.server import replying
from adapters.rails.upi import codes, links, reports
from adapters.rails.upi.messages import (
    BY_INTENT,
    COLLECT,
    DEEMED,
    FAILURE,
    PAY,
    REFUND,
    SUCCESS,
    WAITING,
    Head,
    MessageMalformed,
    ReqChkTxn,
    ReqPay,
    Request,
    ReqValAdd,
    RespPay,
    RespValAdd,
    read_request,
    write,
)
from domain import upi
from domain.money import to_decimal
from domain.upi import Kind, User

PAYER_ANSWERS: Final = timedelta(seconds=0.5)
"""How long whoever is asked to pay takes to answer."""
SLOW: Final = timedelta(seconds=3)
DEEMED_FOR: Final = timedelta(seconds=1)
"""How long a credit that timed out is in doubt."""
LATE: Final = timedelta(seconds=2)
USUAL_DECLINE: Final = "U30"
USUAL_DISPUTE: Final = "1064"
EXPIRED: Final = "U69"
TAKEN_BACK: Final = "21"
ORGANISATION: Final = "NPCI"

_OPERATIONS: Final = {COLLECT: "collect", PAY: "payout", REFUND: "refund"}
_PAYERS_SAY: Final = {
    "decline": "ZA",
    "poor": "Z9",
    "pin": "ZM",
    "spent": "Z8",
    "frozen": "YE",
    "fraud": "K1",
    "nobody": "ZH",
    "bank": "XY",
}
_PAYEES_SAY: Final = {"frozen": "YF", "fraud": "ZI", "nobody": "ZH", "bank": "Y1"}
_CHARGEBACKS: Final = {
    DISPUTED: (reports.CHARGEBACK, reports.DEBIT),
    WON: (reports.CHARGEBACK_WON, reports.CREDIT),
    LOST: (reports.CHARGEBACK_LOST, reports.NEITHER),
}
_DIRECTIONS: Final = {"collect": reports.CREDIT, "payout": reports.DEBIT, "refund": reports.DEBIT}


class _Will(Struct, frozen=True, kw_only=True):
    """How something accepted will end: with this code, at this time, told at that time."""

    code: str
    at: datetime
    told_at: datetime


class _Opened(Struct, frozen=True, forbid_unknown_fields=True):
    payer: str
    link: str


class UpiSimulator(RailSimulator):
    """All of UPI, as one bank sees it."""

    rail = "upi"
    zone: ClassVar[tzinfo] = upi.IST

    def __init__(self, books: Books, faults: Faults, clock: Clock) -> None:
        super().__init__(books, faults, clock)
        self.disputes = Disputes(
            self.rail, books, faults, clock, left=self._left, settles=lambda day: day, begins=_begin
        )
        effects = list(books.effects(self.rail))
        self._count = len(effects)
        self._waiting = {effect.request_id: _will(effect) for effect in effects if effect.outcome == "accepted"}
        self._to_tell: list[tuple[datetime, str]] = []

    def answer(self, message: bytes) -> Reply:
        try:
            request = read_request(message)
        except MessageMalformed as error:
            return Reply(body=str(error).encode(), status=400)
        plan = self.faults.plan(self.rail, request.head.organisation)
        return carried_out(plan, partial(self._act, request, plan))

    def due(self) -> Sequence[bytes]:
        self._conclude_all()
        now = self.clock.now()
        told = [payment_id for at, payment_id in self._to_tell if at <= now]
        self._to_tell = [(at, payment_id) for at, payment_id in self._to_tell if at > now]
        return [self._said_unasked(payment_id) for payment_id in told]

    def settlement(self, day: date, route: str = ALL_ROUTES) -> bytes:
        self._conclude_all()
        out = io.StringIO()
        rows = csv.writer(out, lineterminator="\n")
        rows.writerow(reports.COLUMNS)
        count, net = 0, 0
        for effect in self.books.effects(self.rail):
            if effect.day != day or effect.outcome != "approved" or route not in (ALL_ROUTES, effect.route):
                continue
            if effect.operation not in _DIRECTIONS and effect.operation not in _CHARGEBACKS:
                continue
            row = self._row(effect)
            for _ in range(2 if effect.detail.get("reported") == "twice" else 1):
                rows.writerow(row)
                count += 1
                net += effect.amount * reports.SIGNS[str(row[3])]
        rows.writerow(["total", count, *[""] * 4, to_decimal(net, upi.CURRENCY), upi.CURRENCY, *[""] * 4])
        return out.getvalue().encode()

    def routes(self) -> Sequence[BaseRoute]:
        return [Route("/upi/open", replying(self._open), methods=["POST"]), *self.disputes.routes()]

    def _act(self, request: Request, plan: Plan) -> bytes:
        match request:
            case ReqPay():
                return write(self._pay(request, plan))
            case ReqChkTxn():
                return write(self._check(request, plan))
            case ReqValAdd():
                return write(self._whose(request))

    def _pay(self, request: ReqPay, plan: Plan) -> RespPay:
        head = self._head(request.head)
        if self.books.find(self.rail, request.payment_id) is not None:
            return _nothing("RespPay", head, request.head.message_id, request.payment_id, "U01")
        effect = self._effect(request, plan)
        self.books.record(effect)
        self.disputes.learn(effect)
        self._count += 1
        if effect.outcome == "accepted":
            self._waiting[effect.request_id] = _will(effect)
        return self._told("RespPay", head, request.head.message_id, effect, plan)

    def _check(self, request: ReqChkTxn, plan: Plan) -> RespPay:
        self._conclude_all()
        head = self._head(request.head)
        effect = self.books.find(self.rail, request.payment_id)
        if effect is None:
            return _nothing("RespChkTxn", head, request.head.message_id, request.payment_id, codes.NOT_FOUND)
        return self._told("RespChkTxn", head, request.head.message_id, effect, plan)

    def _whose(self, request: ReqValAdd) -> RespValAdd:
        name = request.address.partition("@")[0]
        head, answers = self._head(request.head), request.head.message_id
        if name == "nobody":
            return RespValAdd(head=head, answers=answers, result=FAILURE, code="ZH", address=request.address)
        merchant = name.startswith(("shop", "merchant"))
        return RespValAdd(
            head=head,
            answers=answers,
            result=SUCCESS,
            code=codes.APPROVED,
            address=request.address,
            name=name.replace(".", " ").replace("-", " ").replace("_", " ").upper(),
            merchant=merchant,
            account="CURRENT" if merchant else "SAVINGS",
        )

    def _effect(self, request: ReqPay, plan: Plan) -> Effect:
        """What is done, or is going to be, upon a request that never came before."""
        now = self.clock.now()
        no = self._no(request, plan)
        will = None if no else self._will(request, plan, now)
        outcome, code = ("declined", no) if no else ("accepted", "01") if will else ("approved", codes.APPROVED)
        if will and request.type != COLLECT:
            code = "RB"
        disputed = request.type == COLLECT and (plan.dispute or _name(request) == "dispute")
        disputes = USUAL_DISPUTE if disputed else ""
        detail = {
            "type": request.type,
            "payer": request.payer.address,
            "payee": request.payee.address,
            "reference": request.reference,
            **({"will": msgspec.json.encode(will).decode()} if will else {}),
            **({"told": "twice"} if plan.duplicate or _name(request) == "twice" else {}),
            **({"reported": "twice"} if plan.duplicate else {}),
            **({"disputes": disputes} if disputes else {}),
        }
        return msgspec.convert(
            {
                "rail": self.rail,
                "request_id": request.payment_id,
                "operation": _OPERATIONS.get(request.type, request.type),
                "amount": request.amount,
                "currency": request.currency,
                "outcome": outcome,
                "code": code,
                "reference": self._rrn(now),
                "at": now,
                "day": upi.day_of(now),
                "original": request.original_rrn,
                "route": request.head.organisation,
                "detail": detail,
            },
            Effect,
        )

    def _no(self, request: ReqPay, plan: Plan) -> str:
        """The code with which it is declined at once; empty if it is not."""
        if request.type not in _OPERATIONS:
            return "U10"
        if request.currency != upi.CURRENCY or request.amount < 1:
            return "U12"
        if plan.decline:
            return plan.decline_code or USUAL_DECLINE
        kind, user = _kind(request)
        why = upi.allowed(kind, user, amount=request.amount, spent_today=0, count_today=0, now=self.clock.now())
        if why is not None:
            return "U10" if why == "not_permitted" else "U02"
        if request.type == REFUND:
            return self._no_to_refund(request)
        return "" if request.type == COLLECT else _PAYEES_SAY.get(_name(request), "")

    def _no_to_refund(self, request: ReqPay) -> str:
        original = self.books.find(self.rail, request.original_id)
        if original is None or original.outcome != "approved" or original.operation != "collect":
            return "RNF"
        if request.original_rrn != original.reference or request.amount > self._left(original):
            return "U12"
        return _PAYEES_SAY.get(_name(request), "")

    def _left(self, original: Effect) -> int:
        """What can still be refunded, or disputed."""
        upon = self.books.upon(self.rail, original.reference)
        gone = (each for each in upon if each.outcome != "declined" and not self.disputes.is_won(each))
        return original.amount - sum(each.amount for each in gone)

    def _will(self, request: ReqPay, plan: Plan, now: datetime) -> _Will | None:
        """How it is going to end; None: it has ended well."""
        name = _name(request)
        late = timedelta(seconds=plan.late_s) if plan.late else LATE if name == "late" else timedelta()
        if request.type != COLLECT:
            if name not in ("deemed", "lost"):
                return None
            at = now + DEEMED_FOR
            return _Will(code=_in_doubt(name), at=at, told_at=at + late)
        expires_at = now + (request.expire_after or timedelta(minutes=30))
        if name == "silent" or (request.mode == BY_INTENT and not request.payer.address):
            return _Will(code=EXPIRED, at=expires_at, told_at=expires_at + late)
        if name in ("deemed", "lost"):
            at = now + PAYER_ANSWERS + DEEMED_FOR
            return _Will(code=_in_doubt(name), at=at, told_at=at + late)
        at = now + (SLOW if name == "slow" else PAYER_ANSWERS)
        return _Will(code=_PAYERS_SAY.get(name, codes.APPROVED), at=at, told_at=at + late)

    def _conclude_all(self) -> None:
        """End what is due to end; at the time it was due, whenever that is looked at."""
        now = self.clock.now()
        for payment_id, will in list(self._waiting.items()):
            if will.at <= now:
                effect = self.books.find(self.rail, payment_id)
                assert effect is not None
                self._conclude(effect, will)
        self.disputes.go_on()

    def _conclude(self, effect: Effect, will: _Will) -> None:
        ended = structs.replace(
            effect,
            outcome="approved" if will.code == codes.APPROVED else "declined",
            code=will.code,
            at=will.at,
            day=upi.day_of(will.at),
        )
        self.books.conclude(ended)
        self.disputes.learn(ended)
        del self._waiting[effect.request_id]
        times = 2 if effect.detail.get("told") == "twice" else 1
        self._to_tell.extend([(will.told_at, effect.request_id)] * times)

    def _open(self, message: bytes) -> Reply:
        """A payer's app opens a link: what it asks for is paid at once, if it is what was registered."""
        try:
            opened = msgspec.json.decode(message, type=_Opened)
            link = links.read(opened.link)
        except (msgspec.DecodeError, links.LinkMalformed) as error:
            return Reply(body=str(error).encode(), status=400)
        self._conclude_all()
        effect = self.books.find(self.rail, link.psp_reference)
        if effect is None or effect.outcome != "accepted" or effect.detail["reference"] != link.reference:
            return Reply(body=b"there is nothing to pay under this link", status=409)
        if (effect.amount, effect.detail["payee"]) != (link.amount, str(link.payee)):
            return Reply(body=b"the link asks for something else than the merchant does", status=409)
        now = self.clock.now()
        code = _PAYERS_SAY.get(opened.payer.partition("@")[0], codes.APPROVED)
        paid = structs.replace(effect, detail={**effect.detail, "payer": opened.payer})
        self._conclude(paid, _Will(code=code, at=now, told_at=now))
        return Reply(body=code.encode())

    def _row(self, effect: Effect) -> list[object]:
        disputed = effect.operation in _CHARGEBACKS
        kind, direction = (effect.detail.get("type", ""), _DIRECTIONS.get(effect.operation, ""))
        of = effect
        if disputed:
            kind, direction = _CHARGEBACKS[effect.operation]
            found = self.books.find(self.rail, effect.detail["of"])
            assert found is not None, effect
            of = found
        return [
            effect.original if effect.operation in (WON, LOST) else effect.reference,
            of.request_id,
            kind,
            direction,
            of.detail["payer"],
            of.detail["payee"],
            to_decimal(effect.amount, effect.currency),
            effect.currency,
            effect.code,
            effect.at.isoformat(timespec="seconds"),
            of.reference if disputed else effect.original,
            respond_by(effect, _begin).isoformat() if effect.operation == DISPUTED else "",
        ]

    def _told(self, api: str, head: Head, answers: str, effect: Effect, plan: Plan) -> RespPay:
        results = {"approved": SUCCESS, "declined": FAILURE, "accepted": WAITING if effect.code == "01" else DEEMED}
        return RespPay(
            api=api,
            head=head,
            answers=answers,
            payment_id=effect.request_id,
            result=results[effect.outcome],
            code=effect.code,
            rrn=effect.reference,
            amount=effect.amount + (100 if plan.wrong_amount else 0),
            currency=effect.currency,
            approval=effect.reference[-6:] if effect.outcome == "approved" else "",
            settles_on=effect.day.isoformat() if effect.outcome == "approved" else "",
        )

    def _said_unasked(self, payment_id: str) -> bytes:
        effect = self.books.find(self.rail, payment_id)
        assert effect is not None
        head = Head(organisation=ORGANISATION, message_id=f"N{payment_id[1:]}", at=self.clock.now())
        return write(self._told("RespPay", head, f"M{payment_id[1:]}", effect, Plan()))

    def _head(self, asked: Head) -> Head:
        return Head(organisation=ORGANISATION, message_id=f"R{asked.message_id}"[:35], at=self.clock.now())

    def _rrn(self, now: datetime) -> str:
        """The retrieval reference number: year, day and hour in India, and a number. Source: ISO 8583, field 37."""
        there = now.astimezone(upi.IST)
        return f"{there.year % 10}{there.timetuple().tm_yday:03}{there.hour:02}{self._count % 1_000_000:06}"


def _begin(day: date) -> datetime:
    return upi.bounds(day)[0]


def _name(request: ReqPay) -> str:
    """Of whoever it depends on: the payer who is asked, or the payee."""
    party = request.payer if request.type == COLLECT else request.payee
    return party.address.partition("@")[0].lower()


def _kind(request: ReqPay) -> tuple[Kind, User]:
    if request.type == COLLECT:
        by_link = request.mode == BY_INTENT
        if request.payee.merchant:
            return (Kind.P2M if by_link else Kind.P2M_COLLECT), User.STANDARD
        return (Kind.P2P if by_link else Kind.P2P_COLLECT), User.STANDARD
    return (Kind.M2P, User.MERCHANT) if request.payer.merchant else (Kind.P2P, User.STANDARD)


def _will(effect: Effect) -> _Will:
    return msgspec.json.decode(effect.detail["will"], type=_Will)


def _in_doubt(name: str) -> str:
    return codes.APPROVED if name == "deemed" else TAKEN_BACK


def _nothing(api: str, head: Head, answers: str, payment_id: str, code: str) -> RespPay:
    """The answer that says nothing about a payment but why."""
    return RespPay(api=api, head=head, answers=answers, payment_id=payment_id, result=FAILURE, code=code)
