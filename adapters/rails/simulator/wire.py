"""The simulated bank of the wires: ISO 20022 messages over HTTP, each route's bank known by its BIC.

It is strict in what it takes: a message with anything against its schema is rejected (FF01). Amounts that always get
the same answer, in minor units of any currency, are in MAGIC.

    POST /wire           pacs.008, pacs.028 and camt.056; pacs.002 or camt.029 comes back
    POST /wire/credits   {"id", "amount", "currency", "reference", ...}: somebody pays us; pacs.008 goes to the callback
"""

import hashlib
from collections import deque
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct, structs
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from adapters.rails.simulator.books import Books, Effect, Outcome
from adapters.rails.simulator.clock import Clock
from adapters.rails.simulator.faults import ALL_ROUTES, Faults, Plan
from adapters.rails.simulator.reply import RailSimulator, Reply, carried_out
from adapters.rails.wire.conversation import REFUND, ids_of
from adapters.rails.wire.identifiers import is_bic, is_iban, swift_text, uetr
from adapters.rails.wire.messages import (
    CREDIT_TRANSFER,
    NOT_PROVIDED,
    RECALL,
    CreditTransfer,
    Detail,
    Entry,
    Header,
    Ids,
    Message,
    Party,
    Reason,
    Recall,
    Resolution,
    Return,
    Statement,
    Status,
    StatusRequest,
    Sum,
    Summary,
)
from adapters.rails.wire.reading import Read, read
from adapters.rails.wire.writing import write, write_advice
from domain.money import Money

PENDING: Final = timedelta(seconds=1)
"""How long what is pending stays so."""
SETTLED, WAITS, REJECTED = "ACSC", "PDNG", "RJCT"
USUAL: Final = "AM04"
"""With which it is declined when it is only said that it is."""
RECALL_USUAL: Final = "CUST"
REASON_MAX: Final = 105
"""Letters of a reason's text. Source: Max105Text, StsRsnInf/AddtlInf."""


class Magic(Struct, frozen=True, kw_only=True):
    """What a payment of a certain amount comes to.

    Args:
        code: It is rejected with this: at once, or when it has been `pending`.
        returned: It settles, and comes back the day after with this.
        kept: It settles, and a recall is refused with this.
    """

    code: str = ""
    pending: bool = False
    returned: str = ""
    kept: str = ""


MAGIC: Final = {
    5101: Magic(code="AC01"),
    5104: Magic(code="AC04"),
    5105: Magic(code="AM04"),
    5106: Magic(code="AC06"),
    5107: Magic(code="RR04"),
    5108: Magic(code="AB08"),
    5109: Magic(code="MS03"),
    5120: Magic(pending=True),
    5121: Magic(pending=True, code="AC03"),
    5130: Magic(returned="AC04"),
    5140: Magic(kept="CUST"),
}


class Credit(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Somebody pays us. `id`: asked twice, it is one payment; `reference`: what the payer quotes."""

    id: Annotated[str, Meta(min_length=1, max_length=35, pattern=r"^[A-Za-z0-9-]+\Z")]
    amount: Annotated[int, Meta(ge=1)]
    currency: str
    reference: str = ""
    remittance: str = ""
    name: str = "A Payer"
    iban: str = "DE89370400440532013000"
    bic: str = "COBADEFFXXX"
    account: str = ""
    bank: str = ""


class WireSimulator(RailSimulator):
    rail = "wire"

    def __init__(self, books: Books, faults: Faults, clock: Clock) -> None:
        super().__init__(books, faults, clock)
        self._due: deque[bytes] = deque()
        mine = list(books.effects(self.rail))
        self._pending = {effect.request_id for effect in mine if effect.outcome == "accepted"}
        self._comes_back = {effect.request_id for effect in mine if self._will_come_back(effect)}

    def answer(self, message: bytes) -> Reply:
        asked = read(message)
        if len(asked.contents) != 1 or asked.findings:
            return Reply(body=write(self._rejected(asked)))
        match asked.contents[0]:
            case CreditTransfer() as transfer:
                plan = self.faults.plan(self.rail, transfer.header.instructed)
                return carried_out(plan, lambda: write(self._pay(transfer, plan)))
            case Recall() as recall if recall.case_id and recall.amount is not None:
                plan = self.faults.plan(self.rail, recall.header.instructed)
                return carried_out(plan, lambda: write(self._recall(recall, plan)))
            case StatusRequest() as request:
                plan = self.faults.plan(self.rail, request.header.instructed)
                return carried_out(plan, lambda: write(self._tell(request, plan)))
            case _:
                return Reply(body=write(self._rejected(asked)))

    def settlement(self, day: date, route: str = ALL_ROUTES) -> bytes:
        """camt.054: an advice for each account and currency; one without entries where nothing settled."""
        self._go_on()
        moved = [each for each in self.books.effects(self.rail) if each.day == day and _moved(each)]
        effects = [each for each in moved if route in (ALL_ROUTES, each.route)]
        accounts = sorted({(effect.detail["account"], effect.currency) for effect in effects}) or [(NOT_PROVIDED, "")]
        at = datetime(day.year, day.month, day.day, 23, 59, tzinfo=UTC)
        advices = []
        for number, (account, currency) in enumerate(accounts, start=1):
            of_account = [each for each in effects if (each.detail["account"], each.currency) == (account, currency)]
            twice = [effect for effect in of_account if "twice" in effect.detail]
            entries = tuple(_entry(effect) for effect in of_account + twice)
            advices.append(
                Statement(
                    header=Header(message_id=f"ADVICE-{day}", created_at=at),
                    statement_id=f"ADVICE-{day}-{number}",
                    account=account,
                    currency=currency,
                    summary=_summary(entries) if entries else None,
                    entries=entries,
                )
            )
        return write_advice(advices)

    def due(self) -> Sequence[bytes]:
        """What was pending and has ended (pacs.002), what comes back (pacs.004), who has paid us (pacs.008)."""
        self._go_on()
        said, self._due = list(self._due), deque()
        return said

    def _go_on(self) -> None:
        now = self.clock.now()
        for request_id in list(self._pending):
            self._conclude(request_id, now)
        for request_id in list(self._comes_back):
            self._bring_back(request_id, now)

    def routes(self) -> Sequence[BaseRoute]:
        return [Route("/wire/credits", self._post_credit, methods=["POST"])]

    def credit(self, credit: Credit) -> Effect:
        """Somebody pays us, once for each id; the message goes out when it is due."""
        found = self.books.find(self.rail, credit.id)
        if found is not None:
            return found
        now = self.clock.now()
        effect = Effect(
            rail=self.rail,
            request_id=credit.id,
            operation="credit",
            amount=credit.amount,
            currency=credit.currency,
            outcome="approved",
            code=SETTLED,
            reference=_reference(credit.id),
            at=now,
            day=now.date(),
            route=credit.bank,
            detail={"account": credit.account or NOT_PROVIDED, "quoted": credit.reference},
        )
        # Written before it is kept, so that what cannot be said is not kept either.
        message = write(_transfer_to_us(credit, now))
        self.books.record(effect)
        self._due.append(message)
        return effect

    async def _post_credit(self, request: Request) -> Response:
        try:
            effect = self.credit(msgspec.json.decode(await request.body(), type=Credit))
        except ValueError as error:  # Malformed, or not to be said in a message.
            return Response(str(error), status_code=400, media_type="text/plain")
        return Response(msgspec.json.encode(effect), media_type="application/json")

    def _pay(self, transfer: CreditTransfer, plan: Plan) -> Status:
        request_id = transfer.ids.end_to_end_id
        found = self.books.find(self.rail, request_id)
        if found is None:
            found = self._begin(transfer, plan)
        elif not _same(found, transfer):
            return self._status(found, _answering(transfer.header, self.clock.now()), plan, code="DU04")
        return self._status(found, _answering(transfer.header, self.clock.now()), plan)

    def _begin(self, transfer: CreditTransfer, plan: Plan) -> Effect:
        assert transfer.amount is not None, "the schema wants an amount"
        now, magic = self.clock.now(), MAGIC.get(transfer.amount.minor, Magic())
        code = (plan.decline_code or USUAL) if plan.decline else _objection(transfer) or magic.code
        outcome: Outcome = "declined" if code else "approved"
        if magic.pending and (not code or code == magic.code):
            outcome, code = "accepted", WAITS
        detail = {
            "account": transfer.debtor.account,
            "payee": transfer.creditor.account,
            "us": transfer.header.instructing,
            "purpose": transfer.purpose,
            **({"twice": "1"} if plan.duplicate else {}),
        }
        effect = Effect(
            rail=self.rail,
            request_id=transfer.ids.end_to_end_id,
            operation="refund" if transfer.purpose == REFUND else "payout",
            amount=transfer.amount.minor,
            currency=transfer.amount.currency,
            outcome=outcome,
            code=code or SETTLED,
            reference=_reference(transfer.ids.end_to_end_id),
            at=now,
            day=max(transfer.settles_on or now.date(), now.date()),
            route=transfer.header.instructed,
            detail=detail,
        )
        self.books.record(effect)
        if effect.outcome == "accepted":
            self._pending.add(effect.request_id)
        if self._will_come_back(effect):
            self._comes_back.add(effect.request_id)
        return effect

    def _recall(self, recall: Recall, plan: Plan) -> Message:
        found = self.books.find(self.rail, recall.case_id)
        if found is None:
            found = self._decide_recall(recall, plan)
        elif found.operation != "reverse":
            return Status(
                header=_answering(recall.header, self.clock.now()),
                original=ids_of(recall.case_id),
                original_kind=RECALL,
                status=REJECTED,
                reasons=(Reason("DU01"),),
            )
        return self._resolution(found, _answering(recall.header, self.clock.now()), plan)

    def _decide_recall(self, recall: Recall, plan: Plan) -> Effect:
        """Kept, whatever comes of it: asked again, a bank says the same."""
        assert recall.amount is not None
        now = self.clock.now()
        payment = self._ended(recall.original.end_to_end_id, now)
        code = (plan.decline_code or RECALL_USUAL) if plan.decline else self._objection_to_recall(payment)
        effect = Effect(
            rail=self.rail,
            request_id=recall.case_id,
            operation="reverse",
            amount=payment.amount if payment else recall.amount.minor,
            currency=payment.currency if payment else recall.amount.currency,
            outcome="declined" if code else "approved",
            code=code or "CNCL",
            reference=_reference(recall.case_id),
            at=now,
            # The money is not back before it has left.
            day=max(now.date(), payment.day) if payment else now.date(),
            original=payment.reference if payment else "",
            route=recall.header.instructed,
            detail={
                "account": payment.detail["account"] if payment else NOT_PROVIDED,
                "original": recall.original.end_to_end_id,
                "purpose": payment.detail["purpose"] if payment else "",
                # What was still pending had not left the account.
                **({"moved": "1"} if payment and payment.outcome == "approved" else {}),
            },
        )
        self.books.record(effect)
        if payment and payment.outcome == "accepted" and effect.outcome == "approved":
            self._end(structs.replace(payment, outcome="declined", code="DS02"))
        return effect

    def _objection_to_recall(self, payment: Effect | None) -> str:
        if payment is None or payment.operation not in ("payout", "refund") or payment.outcome == "declined":
            return "NOOR"
        if self._is_back(payment):
            return "ARDT"
        return MAGIC.get(payment.amount, Magic()).kept

    def _tell(self, request: StatusRequest, plan: Plan) -> Message:
        now, request_id = self.clock.now(), request.original.end_to_end_id
        header, recalled = _answering(request.header, now), request.original_kind.startswith("camt.056")
        effect = self._ended(request_id, now)
        if effect is None or (effect.operation == "reverse") is not recalled:
            return Status(
                header=header,
                original=request.original,
                original_kind=request.original_kind,
                status=REJECTED,
                reasons=(Reason("FF13" if recalled else "AG09"),),
            )
        return self._resolution(effect, header, plan) if recalled else self._status(effect, header, plan)

    def _status(self, effect: Effect, header: Header, plan: Plan, *, code: str = "") -> Status:
        declined = bool(code) or effect.outcome == "declined"
        return Status(
            header=header,
            original=ids_of(effect.request_id),
            original_kind=CREDIT_TRANSFER,
            status=REJECTED if declined else effect.code,
            reasons=(Reason(code or effect.code),) if declined else (),
            reference=effect.reference,
            settles_on=effect.day if effect.outcome == "approved" else None,
            amount=Money(effect.amount + plan.wrong_amount, effect.currency),
        )

    def _resolution(self, effect: Effect, header: Header, plan: Plan) -> Resolution:
        refused = effect.outcome == "declined"
        return Resolution(
            header=header,
            case_id=effect.request_id,
            status="RJCR" if refused else "CNCL",
            original=ids_of(effect.detail["original"]),
            original_kind=CREDIT_TRANSFER,
            individual="RJCR" if refused else "ACCR",
            reasons=(Reason(effect.code),) if refused else (),
            reference=effect.reference,
            amount=Money(effect.amount + plan.wrong_amount, effect.currency),
        )

    def _rejected(self, asked: Read) -> Status:
        """Not understood, or not done here: it can be known by its own id alone, if by anything."""
        message_id = next((each.header.message_id for each in asked.contents), "")[:35].strip()
        why = next((f"{finding.where} {finding.what}" for finding in asked.findings), "not a message that is answered")
        now = self.clock.now()
        return Status(
            header=Header(message_id=_message_id(asked.name, now), created_at=now),
            original=Ids(message_id=message_id or NOT_PROVIDED),
            original_kind=asked.name[:35].strip() or NOT_PROVIDED,
            status=REJECTED,
            reasons=(Reason("FF01", swift_text(why, REASON_MAX)),),
        )

    def _ended(self, request_id: str, now: datetime) -> Effect | None:
        """The effect as it stands now: what was pending long enough has ended."""
        self._conclude(request_id, now)
        return self.books.find(self.rail, request_id)

    def _conclude(self, request_id: str, now: datetime) -> None:
        effect = self.books.find(self.rail, request_id)
        if effect is None or effect.outcome != "accepted" or now < effect.at + PENDING:
            return
        code = MAGIC.get(effect.amount, Magic()).code
        outcome: Outcome = "declined" if code else "approved"
        self._end(structs.replace(effect, outcome=outcome, code=code or SETTLED, day=max(effect.day, now.date())))

    def _end(self, effect: Effect) -> None:
        self.books.conclude(effect)
        self._pending.discard(effect.request_id)
        header = Header(
            message_id=_message_id(effect.request_id, self.clock.now()),
            created_at=self.clock.now(),
            instructing=effect.route,
            instructed=effect.detail["us"],
        )
        self._due.append(write(self._status(effect, header, Plan())))

    def _will_come_back(self, effect: Effect) -> bool:
        magic = MAGIC.get(effect.amount, Magic())
        paid = effect.operation in ("payout", "refund") and effect.outcome == "approved"
        return paid and bool(magic.returned) and not self._is_back(effect)

    def _is_back(self, payment: Effect) -> bool:
        return any(effect.outcome == "approved" for effect in self.books.upon(self.rail, payment.reference))

    def _bring_back(self, request_id: str, now: datetime) -> None:
        payment = self.books.find(self.rail, request_id)
        assert payment is not None
        if now.date() <= payment.day:
            return
        self._comes_back.discard(request_id)
        if not self._will_come_back(payment):  # It was recalled meanwhile.
            return
        code = MAGIC[payment.amount].returned
        effect = Effect(
            rail=self.rail,
            request_id=f"R-{request_id}",
            operation="return",
            amount=payment.amount,
            currency=payment.currency,
            outcome="approved",
            code=code,
            reference=_reference(f"R-{request_id}"),
            at=now,
            day=now.date(),
            original=payment.reference,
            route=payment.route,
            detail={
                "account": payment.detail["account"],
                "original": request_id,
                "purpose": payment.detail["purpose"],
            },
        )
        self.books.record(effect)
        amount = Money(payment.amount, payment.currency)
        returned = Return(
            header=Header(
                message_id=effect.reference,
                created_at=now,
                instructing=payment.route,
                instructed=payment.detail["us"],
            ),
            return_id=effect.reference,
            original=ids_of(request_id),
            original_kind=CREDIT_TRANSFER,
            amount=amount,
            original_amount=amount,
            settles_on=effect.day,
            reasons=(Reason(code),),
        )
        self._due.append(write(returned))


def _objection(transfer: CreditTransfer) -> str:
    """Why a bank would not take it, whatever the balance."""
    if not is_iban(transfer.creditor.account):
        return "AC03"
    return "" if is_bic(transfer.creditor.bic) else "RC04"


def _same(effect: Effect, transfer: CreditTransfer) -> bool:
    """Whether it is what was asked before under this id."""
    before = Money(effect.amount, effect.currency)
    return (before, effect.detail.get("payee")) == (transfer.amount, transfer.creditor.account)


def _moved(effect: Effect) -> bool:
    return effect.outcome == "approved" and (effect.operation != "reverse" or "moved" in effect.detail)


def _entry(effect: Effect) -> Entry:
    credit = effect.operation in ("reverse", "return", "credit")
    original = effect.detail.get("original", effect.request_id)
    amount = Money(effect.amount, effect.currency)
    back = {"reverse": "FOCR", "return": effect.code}.get(effect.operation, "")
    # A recall that was granted is known by its own id: that of the message by which the money came back.
    recall = effect.request_id if effect.operation == "reverse" else ""
    detail = Detail(
        ids=structs.replace(ids_of(original), message_id=recall),
        amount=amount,
        credit=credit,
        reference=effect.reference,
        creditor=Party(account=effect.detail.get("payee", "")) if not credit else Party(),
        purpose=effect.detail.get("purpose", ""),
        creditor_reference=effect.detail.get("quoted", ""),
        return_reason=back,
    )
    return Entry(
        amount=amount,
        credit=credit,
        status="BOOK",
        booked_on=effect.day,
        valued_on=effect.day,
        entry_id=effect.reference,
        reference=effect.reference,
        code="PMNT/ICDT/RRTN" if back else "PMNT/RCDT/XBCT" if credit else "PMNT/ICDT/XBCT",
        details=(detail,),
    )


def _summary(entries: Sequence[Entry]) -> Summary:
    amounts = {
        credit: [each.amount.minor for each in entries if each.credit is credit and each.amount]
        for credit in (True, False)
    }
    credits, debits = (Sum(len(amounts[credit]), sum(amounts[credit])) for credit in (True, False))
    return Summary(credits=credits, debits=debits)


def _transfer_to_us(credit: Credit, now: datetime) -> CreditTransfer:
    return CreditTransfer(
        header=Header(message_id=credit.id, created_at=now),
        ids=Ids(
            message_id=credit.id,
            instruction_id=credit.id,
            end_to_end_id=NOT_PROVIDED,
            transaction_id=credit.id,
            uetr=uetr(credit.id),
        ),
        amount=Money(credit.amount, credit.currency),
        settles_on=now.date(),
        debtor=Party(name=credit.name, account=credit.iban, bic=credit.bic),
        creditor=Party(name="Us", account=credit.account or NOT_PROVIDED, bic=credit.bank),
        remittance=credit.remittance,
        creditor_reference=credit.reference,
    )


def _answering(asked: Header, now: datetime) -> Header:
    return Header(
        message_id=_message_id(asked.message_id, now),
        created_at=now,
        instructing=asked.instructed,
        instructed=asked.instructing,
    )


def _message_id(of: str, now: datetime) -> str:
    return hashlib.sha256(f"{of} {now.isoformat()}".encode()).hexdigest()[:32]


def _reference(request_id: str) -> str:
    """The bank's own, of what was done under an id: nothing that Daybook could guess, and the same after a restart."""
    return f"B{hashlib.sha256(b'wire:' + request_id.encode()).hexdigest()[:20].upper()}"
