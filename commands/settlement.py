"""The command by which what a rail reports of a day is booked."""

from collections.abc import Iterator
from typing import Annotated, ClassVar, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from commands.account import BookName
from commands.command import (
    Amount,
    Command,
    Currency,
    Day,
    Decided,
    Instant,
    Limit,
    PaymentId,
    Text,
    book_named,
    known_accounts,
)
from domain import clearing, ids, settlement
from domain.clearing import Books
from domain.errors import BookNotFound
from domain.ledger import Draft
from domain.payment import Payment
from domain.posting import ZERO
from domain.rail import Rail
from domain.settlement import Line, Part, Said

LINES_MAX = 200
"""Lines of one part: each may be a payment that is looked up."""


class LineAsked(BaseModel):
    """One line of a rail's report, in minor units, with the payment that is known for its request id, if any is.

    A `fee` below zero was given back. `reference` is the rail's own of this line: of a dispute, the same in all its
    lines. `code` is the rail's own, `reason` ours of all rails.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    said: Annotated[Said, Field(strict=False)]
    payment_id: PaymentId | None = None
    request_id: Text
    operation: Literal["capture", "collect", "refund", "payout", "reverse"]
    amount: Amount
    fee: Limit = 0
    reference: Text = ""
    code: Text = ""
    reason: Text = ""
    message: Text = ""
    respond_by: Instant | None = None

    def line(self, currency: str) -> Line:
        return Line(currency=currency, **{name: getattr(self, name) for name in _OF_LINE})


_OF_LINE = tuple(name for name in LineAsked.model_fields if name != "payment_id")


class RecordSettlement(Command):
    """Book what a rail reports of a day that is over: what settled by a route, in one currency, and what came back.

    A long report comes in parts, 1, 2, 3, each booked once, whatever the key. What fits nothing is booked on suspense
    and kept as a break. Daybook gives this itself for the rails that report.
    """

    kind: ClassVar[str] = "record_settlement"
    book: BookName
    rail: Annotated[Rail, Field(strict=False)]
    route: Annotated[str, StringConstraints(min_length=1, max_length=100, pattern=r"^[ -~]+$")]
    day: Day
    part: Annotated[int, Field(ge=1, le=1_000_000)] = 1
    currency: Currency
    reference: Text = ""
    lines: Annotated[tuple[LineAsked, ...], Field(min_length=1, max_length=LINES_MAX, strict=False)]

    @property
    def scope(self) -> UUID:
        return book_named(self.book)

    @property
    def what(self) -> Part:
        """The part of the report that it is."""
        return Part(
            book_id=self.scope,
            rail=self.rail,
            route=self.route,
            day=self.day,
            part=self.part,
            currency=self.currency,
            reference=self.reference,
        )

    def sees(self, draft: Draft) -> Iterator[tuple[str, UUID]]:
        what = self.what
        yield "book", what.book_id
        yield "settlement", what.id
        for code in what.codes:
            yield "account", ids.account_id(what.book_id, code)
        for payment_id in self._payment_ids:
            yield "payment", payment_id
            payment = draft.payments.get(payment_id)
            if payment is not None:
                for account_id in _accounts_of(payment):
                    yield "account", account_id

    def decide(self, draft: Draft, command_id: UUID) -> Decided:
        what = self.what
        if draft.books[what.book_id] is None:
            raise BookNotFound(what.book_id)
        payments = {one: payment for one in self._payment_ids if (payment := draft.payments[one]) is not None}
        names = [ids.account_id(what.book_id, code) for code in what.codes]
        names += [account_id for payment in payments.values() for account_id in _accounts_of(payment)]
        # One that another command of this batch made needful was not looked up, and is not needed by this one.
        known = known_accounts(draft, [name for name in names if name in draft.accounts], what.book_id)
        return settlement.record(
            draft.settlements[what.id],
            what,
            [(line.payment_id, line.line(self.currency)) for line in self.lines],
            payments,
            Books(known, {name: draft.totals.get(name, ZERO) for name in known}, {}, draft.now),
        )

    @property
    def _payment_ids(self) -> list[UUID]:
        return list(dict.fromkeys(line.payment_id for line in self.lines if line.payment_id is not None))


def _accounts_of(payment: Payment) -> Iterator[UUID]:
    for rail in {request.rail for request in payment.requests.values()}:
        yield from clearing.accounts_of(payment, rail)
