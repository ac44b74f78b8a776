"""Settlement: what a rail reports of a day, once the day is over, and the money that moved for it.

One entry has all that moved: what the rail has paid at its bank, what it kept as fees, and on the other side the
clearing account, which comes to zero once all that was done has settled. Each line that fits something done is an event
of its payment; what came back of it is taken from, or given to, the payment's account. A line that fits nothing is
neither dropped nor refused: it is a break, and what moved by it is booked on suspense.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from enum import StrEnum
from typing import Final
from uuid import UUID, uuid5

from msgspec import Struct
from msgspec.structs import replace

from domain import clearing, dispute, ids, journal
from domain import payment as payment_rules
from domain.clearing import Books, Streamed
from domain.errors import AmountTooLarge, SettlementRecordedAlready
from domain.events import (
    Break,
    PaymentDisputeClosed,
    PaymentDisputed,
    PaymentReturned,
    PaymentSettled,
    SettlementRecorded,
)
from domain.money import AMOUNT_MAX
from domain.payment import TAKES, Payment, Request, State
from domain.posting import Posting, Side
from domain.rail import Operation, Rail


class Said(StrEnum):
    """What a line of a report says of a request of ours."""

    SETTLED = "settled"
    """The money of what was done moved between the institutions."""
    RETURNED = "returned"
    """What was done was undone by the rail, or by the bank behind it."""
    DISPUTED = "disputed"
    """The payer disputes what was taken, and the rail has taken it back until that is closed."""
    DISPUTE_WON = "dispute_won"
    """The dispute is closed for us, and the rail has given back what it took."""
    DISPUTE_LOST = "dispute_lost"
    """The dispute is closed against us; nothing moves any more."""


class Line(Struct, frozen=True, kw_only=True):
    """One line of a report.

    Args:
        request_id: Of ours: what settled; of a return or a dispute, what it is upon. As the rail says it, which may be
            nothing that we ever asked.
        operation: What was asked under that id: as `domain.rail.Operation`.
        amount: Minor units of `currency`, at least 1; which way it moved follows from `said` and `operation`.
        fee: What the rail keeps for it, in minor units of the same; below zero where it gives a fee back.
        reference: The rail's own of this line: of a dispute, the same in all its lines.
        code, reason, message: Of a return or a dispute: the rail's own code, ours of all rails, and in words.
        respond_by: Until when a dispute can be answered.
    """

    said: Said
    request_id: str
    operation: str
    amount: int
    currency: str
    fee: int = 0
    reference: str = ""
    code: str = ""
    reason: str = ""
    message: str = ""
    respond_by: datetime | None = None


class Report(Struct, frozen=True, kw_only=True):
    """All that settled by one route on one day, returns and disputes among it, in the rail's own order.

    The same lines in the same order whenever it is asked for, and complete: it is there only once the day is over.
    """

    rail: Rail
    route: str
    day: date
    reference: str
    lines: tuple[Line, ...] = ()


class ReportRejected(Exception):
    """A rail's report cannot be read, or does not add up to its own totals; the text says where. None of it counts."""


Told = PaymentSettled | PaymentReturned | PaymentDisputed | PaymentDisputeClosed


class Part(Struct, frozen=True, kw_only=True):
    """Which part of a report is recorded: a long one comes in several, each of one currency."""

    book_id: UUID
    rail: Rail
    route: str
    day: date
    part: int
    currency: str
    reference: str = ""

    @property
    def id(self) -> UUID:
        return ids.settlement_id(self.book_id, self.rail, self.route, self.day, self.currency, self.part)

    @property
    def codes(self) -> tuple[str, ...]:
        """Of Daybook's own accounts that it may touch."""
        of_rail = (clearing.clearing_code, clearing.settlement_code, clearing.fees_code)
        return (*(code(self.rail, self.currency) for code in of_rail), clearing.suspense_code(self.currency))


def record(
    existing: SettlementRecorded | None,
    part: Part,
    lines: Sequence[tuple[UUID | None, Line]],
    payments: Mapping[UUID, Payment],
    books: Books,
) -> list[Streamed]:
    """Book a part of a report: what settled, what came back, and what fits nothing.

    Args:
        lines: Each with the payment that is known for it, if any; in the part's currency.
        payments: Those that are there.
        books: Every account that the part or one of these payments may touch, in plain dicts.

    Raises:
        SettlementRecordedAlready: That part was recorded before.
        AmountTooLarge: In sum more than one posting may be; in smaller parts it fits.
        What `journal.post` does of accounts that were opened under these codes before they were Daybook's own.
    """
    if existing is not None:
        raise SettlementRecordedAlready(part.id)
    known = dict(payments)
    told: list[tuple[Payment, Line, Told]] = []
    breaks: list[Break] = []
    incoming = outgoing = 0
    for payment_id, line in lines:
        payment = _of_book(known, payment_id, part)
        why = misfit(payment, line, part.rail)
        moved = _moved(payment, line, part.rail)
        if payment is None or why:
            breaks.append(_break(payment_id, line, why, moved))
            continue
        event = _event(payment, line, part)
        told.append((payment, line, event))
        known[payment.id] = payment_rules.evolve(payment, event, books.now)
        incoming, outgoing = incoming + max(moved, 0), outgoing + max(-moved, 0)
    fees = sum(line.fee for _, line in lines)
    recorded = SettlementRecorded(
        book_id=part.book_id,
        rail=part.rail,
        route=part.route,
        day=part.day,
        part=part.part,
        currency=part.currency,
        reference=part.reference,
        lines=dict(Counter(line.said.value for _, line, _ in told)),
        incoming=incoming,
        outgoing=outgoing,
        fees=fees,
        net=incoming - outgoing + sum(one.moved for one in breaks) - fees,
        breaks=tuple(breaks),
    )
    effects = _entry(part, recorded, books)
    if effects:
        recorded = replace(recorded, entry_id=effects[-1][0])
    books = books.after(effects)
    for payment, line, event in told:
        more = _upon_account(payment, line, event, books)
        effects += more
        books = books.after(more)
    return [(part.id, 1, recorded), *effects]


def misfit(payment: Payment | None, line: Line, rail: Rail) -> str:
    """Why a line fits nothing that was done by that rail for this payment; empty if it does."""
    if payment is None:
        return "no payment is known for it"
    request = payment.requests.get(line.request_id)
    if request is None:
        return "nothing was asked under this request id"
    if request.rail is not rail:
        return f"it was asked of {request.rail}"
    if request.operation != line.operation:
        return f"what was asked is to {request.operation}"
    if payment.intent.currency != line.currency:
        return f"it was asked in {payment.intent.currency}"
    if request.state is not State.DONE:
        return f"here it is not done but {request.state}"
    match line.said:
        case Said.SETTLED:
            return _unsettled(request, line)
        case Said.RETURNED:
            return _unreturned(request, line)
        case Said.DISPUTED:
            return _undisputed(payment, request, line)
        case Said.DISPUTE_WON | Said.DISPUTE_LOST:
            return _unclosed(payment, line)


def _unsettled(request: Request, line: Line) -> str:
    if request.settlement_id is not None:
        return f"it settled on {request.settled_on}"
    return "" if request.amount == line.amount else f"what was done is {request.amount}"


def _unreturned(request: Request, line: Line) -> str:
    if line.reference in request.returns:
        return "it was returned under this reference before"
    left = request.amount - request.returned
    return "" if line.amount <= left else f"{left} is left to return"


def _undisputed(payment: Payment, request: Request, line: Line) -> str:
    if request.operation not in TAKES:
        return "nothing was taken by it"
    if ids.dispute_id(payment.id, line.reference) in payment.disputes:
        return "it was disputed under this reference before"
    left = request.amount - dispute.of_request(payment.disputes, request.id)
    return "" if line.amount <= left else f"{left} is left to dispute"


def _unclosed(payment: Payment, line: Line) -> str:
    found = payment.disputes.get(ids.dispute_id(payment.id, line.reference))
    if found is None or found.request_id != line.request_id:
        return "there is no such dispute"
    if found.state in dispute.CLOSED:
        return f"the dispute was {found.state} before"
    return "" if found.amount == line.amount else f"the dispute is over {found.amount}"


def _of_book(payments: Mapping[UUID, Payment], payment_id: UUID | None, part: Part) -> Payment | None:
    payment = payments.get(payment_id) if payment_id is not None else None
    return payment if payment is not None and payment.intent.book_id == part.book_id else None


def _moved(payment: Payment | None, line: Line, rail: Rail) -> int:
    """What came in by a line, below zero what went out."""
    inwards = _is_inwards(payment, line, rail)
    match line.said:
        case Said.SETTLED:
            return line.amount if inwards else -line.amount
        case Said.RETURNED:
            return -line.amount if inwards else line.amount
        case Said.DISPUTED:
            return -line.amount
        case Said.DISPUTE_WON:
            return line.amount
        case Said.DISPUTE_LOST:
            return 0


def _is_inwards(payment: Payment | None, line: Line, rail: Rail) -> bool:
    """Of the reversal of nobody knows what, it is taken to be of money that came in; by wire none does."""
    request = payment.requests.get(line.request_id) if payment is not None else None
    if payment is not None and request is not None and request.operation == line.operation:
        return payment.is_inwards(request)
    return line.operation in TAKES or (line.operation == Operation.REVERSE and rail is Rail.WIRE)


def _break(payment_id: UUID | None, line: Line, why: str, moved: int) -> Break:
    return Break(
        why=why,
        said=line.said,
        payment_id=payment_id,
        request_id=line.request_id,
        operation=line.operation,
        amount=line.amount,
        moved=moved,
        fee=line.fee,
        reference=line.reference,
        code=line.code,
        reason=line.reason,
        message=line.message,
        respond_by=line.respond_by,
    )


def _event(payment: Payment, line: Line, part: Part) -> Told:
    match line.said:
        case Said.SETTLED:
            return PaymentSettled(
                settlement_id=part.id,
                request_id=line.request_id,
                operation=line.operation,
                amount=line.amount,
                fee=line.fee,
                day=part.day,
                reference=line.reference,
            )
        case Said.RETURNED:
            return PaymentReturned(
                settlement_id=part.id,
                request_id=line.request_id,
                operation=line.operation,
                amount=line.amount,
                fee=line.fee,
                reference=line.reference,
                code=line.code,
                reason=line.reason,
                message=line.message,
            )
        case Said.DISPUTED:
            return PaymentDisputed(
                dispute_id=ids.dispute_id(payment.id, line.reference),
                settlement_id=part.id,
                request_id=line.request_id,
                amount=line.amount,
                fee=line.fee,
                reference=line.reference,
                code=line.code,
                reason=line.reason,
                message=line.message,
                respond_by=line.respond_by,
            )
        case Said.DISPUTE_WON | Said.DISPUTE_LOST:
            return PaymentDisputeClosed(
                dispute_id=ids.dispute_id(payment.id, line.reference),
                request_id=line.request_id,
                outcome=dispute.State.WON if line.said is Said.DISPUTE_WON else dispute.State.LOST,
                amount=line.amount,
                fee=line.fee,
                settlement_id=part.id,
            )


def _entry(part: Part, recorded: SettlementRecorded, books: Books) -> list[Streamed]:
    """The entry of all that moved, after what opens the accounts it needs; nothing, where nothing moved."""
    broken = [one.moved for one in recorded.breaks]
    into, out_of = sum(one for one in broken if one > 0), -sum(one for one in broken if one < 0)
    clearing_, settlement, fees, suspense = part.codes
    amounts = (
        (settlement, Side.DEBIT, recorded.net),
        (fees, Side.DEBIT, recorded.fees),
        (clearing_, Side.DEBIT, recorded.outgoing),
        (suspense, Side.DEBIT, out_of),
        (clearing_, Side.CREDIT, recorded.incoming),
        (suspense, Side.CREDIT, into),
    )
    postings = [
        Posting(ids.account_id(part.book_id, code), side if amount > 0 else side.other, abs(amount), part.currency)
        for code, side, amount in amounts
        if amount
    ]
    if not postings:
        return []
    if max(posting.amount for posting in postings) > AMOUNT_MAX:
        raise AmountTooLarge(part.currency, AMOUNT_MAX)
    codes = dict.fromkeys(code for code, _, amount in amounts if amount)
    made, known = clearing.opening(part.book_id, codes, part.currency, books)
    entry = journal.post(
        known,
        books.totals,
        book_id=part.book_id,
        postings=postings,
        value_date=part.day,
        description=f"Settlement of {part.rail} by {part.route}, {part.day}",
        reference=part.reference,
        metadata={},
        now=books.now,
    )
    return [*made, (uuid5(part.id, "entry"), 1, entry)]


def _upon_account(payment: Payment, line: Line, event: Told, books: Books) -> list[Streamed]:
    """The event, and what it takes from, or gives to, the payment's account."""
    moves = isinstance(event, PaymentReturned | PaymentDisputed) or (
        isinstance(event, PaymentDisputeClosed) and event.outcome == dispute.State.WON
    )
    if not moves:
        return [(payment.id, payment.version + 1, event)]
    effect = clearing.moved(
        payment,
        payment.requests[event.request_id],
        books,
        told=_WORDS[line.said],
        name=uuid5(payment.id, f"entry:{line.said}:{event.request_id}:{line.reference}"),
        amount=event.amount,
        inwards=_moved(payment, line, payment.requests[event.request_id].rail) > 0,
    )
    return [(payment.id, payment.version + 1, replace(event, entry_id=effect.entry_id)), *effect.events]


_WORDS: Final = {Said.RETURNED: "return of", Said.DISPUTED: "dispute of", Said.DISPUTE_WON: "dispute won of"}
"""What is read beside the entry."""
