"""What a payment's steps do to the ledger: the journal templates, one function for each step.

Between a rail and the book stands a clearing account, one for each rail and currency: what the rail owes the book is a
debit on it, what the book owes the rail a credit, and when both have settled it comes to zero.

| step | debit | credit | |
|---|---|---|---|
| authorized | clearing | account | pending, as a hold |
| captured | clearing | account | of that hold |
| voided, expired | | | the hold is given up |
| collected | clearing | account | |
| refund requested, payout started, reversal requested | account | clearing | pending, as a hold |
| refunded, paid out, reversed | account | clearing | of that hold |
| refund failed, payout failed, reversal failed | | | the hold is given up |
| payout reversed | clearing | account | nothing is set aside for it |
| returned, disputed | account | clearing | |
| payout or refund returned, dispute won | clearing | account | |

What a rail has done is a fact: where the account may not take it, closed or at its ceiling, it is booked on suspense,
and never refused.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime
from typing import Final
from uuid import UUID, uuid5

from msgspec import Struct

from domain import account as account_rules
from domain import hold as hold_rules
from domain import ids, journal
from domain.account import Account, Type
from domain.errors import Refusal
from domain.events import AccountOpened, EntryPosted, Event, lines
from domain.hold import Hold
from domain.payment import Payment, Request
from domain.posting import ZERO, Posting, Side, Totals
from domain.rail import Operation

Streamed = tuple[UUID, int, Event]
"""An event with its stream and the version it takes there."""

SUSPENSE: Final = "suspense"
HOLDS: Final = frozenset({Operation.AUTHORIZE, Operation.REFUND, Operation.PAYOUT, Operation.REVERSE})
"""What makes a hold, under an id of its own; a reversal only where money goes out by it."""
SET_ASIDE: Final = HOLDS - {Operation.AUTHORIZE}
"""What makes it when it is requested; the others when they are done."""


class Books(Struct, frozen=True):
    """What is known of the accounts and holds a payment touches, at the moment it is decided."""

    accounts: Mapping[UUID, Account]
    totals: Mapping[UUID, Totals]
    holds: Mapping[UUID, Hold | None]
    now: datetime

    def after(self, events: Iterable[Streamed]) -> "Books":
        """With these on them, as far as they open accounts or post to them; what is known is in plain dicts then."""
        accounts, totals = dict(self.accounts), dict(self.totals)
        for stream, _, event in events:
            if isinstance(event, AccountOpened):
                accounts[stream] = account_rules.opened(stream, event)
            for line in lines(event):
                totals[line.account_id] = line.onto(totals.get(line.account_id, ZERO))
        return Books(accounts, totals, self.holds, self.now)


class Effect(Struct, frozen=True):
    """What a step does to the ledger, and what of it the payment is to remember."""

    events: Sequence[Streamed]
    hold_id: UUID | None = None
    entry_id: UUID | None = None


def clearing_code(rail: str, currency: str) -> str:
    return f"clearing:{rail}:{currency}"


def settlement_code(rail: str, currency: str) -> str:
    return f"settlement:{rail}:{currency}"


def fees_code(rail: str, currency: str) -> str:
    return f"fees:{rail}:{currency}"


def suspense_code(currency: str) -> str:
    return f"{SUSPENSE}:{currency}"


def accounts_of(payment: Payment, rail: str) -> list[UUID]:
    """Those that a step upon that rail may touch: the payment's own, the clearing account, suspense."""
    return [payment.intent.account_id, *own_accounts(payment.intent.book_id, payment.intent.currency, rail)]


def own_accounts(book_id: UUID, currency: str, rail: str) -> list[UUID]:
    """The clearing account and suspense."""
    return [ids.account_id(book_id, code) for code in (clearing_code(rail, currency), suspense_code(currency))]


def hold_id(payment_id: UUID, request_id: str) -> UUID:
    """Of the hold that a request makes."""
    return uuid5(payment_id, f"hold:{request_id}")


def entry_id(payment: Payment, request_id: str) -> UUID:
    """Of the journal entry that a request makes."""
    return uuid5(payment.id, f"entry:{request_id}")


def requested(payment: Payment, request: Request, books: Books) -> Effect:
    """What goes out is set aside before a rail hears of it.

    Raises:
        What `hold.place` does of the account: a refund or a payout it cannot bear is refused.
    """
    if not _sets_aside(payment, request):
        return Effect([])
    return _held(payment, request, books, outwards=True)


def done(payment: Payment, request: Request, books: Books) -> Effect:
    """The rail has done it."""
    match request.operation:
        case Operation.AUTHORIZE:
            return _fact(payment, request, books, _held)
        case Operation.INCREMENT:
            return _increased(payment, request, books)
        case Operation.COLLECT:
            return _fact(payment, request, books, _collected)
        case Operation.REVERSE if payment.is_inwards(request):
            return _fact(payment, request, books, _collected)
        case Operation.CAPTURE:
            return _captured(payment, request, books, _authorization_hold(payment, request, books))
        case Operation.REFUND | Operation.PAYOUT | Operation.REVERSE:
            return _captured(payment, request, books, _hold(books, hold_id(payment.id, request.id)))
        case Operation.VOID:
            return Effect(_given_up(_authorization_hold(payment, request, books), books, "voided"))
        case Operation.CONTEST:
            return Effect([])


def failed(payment: Payment, request: Request, books: Books) -> Effect:
    """The rail has not done it, and will not."""
    if not _sets_aside(payment, request):
        return Effect([])
    return Effect(_given_up(_hold(books, hold_id(payment.id, request.id)), books, "failed"))


def moved(
    payment: Payment, request: Request, books: Books, *, told: str, name: UUID, amount: int, inwards: bool
) -> Effect:
    """What a rail has taken back, or given back, by itself, of what it had done; `told` is why."""

    def book(payment: Payment, request: Request, books: Books, *, suspended: bool = False) -> Effect:
        made, known, clearing, account = _ends(payment, request, books, suspended=suspended)
        debit, credit = (clearing, account) if inwards else (account, clearing)
        entry = _entry(payment, request, books, known, debit, credit, amount=amount, told=told)
        return Effect([*made, (name, 1, entry)], entry_id=name)

    return _fact(payment, request, books, book)


def _sets_aside(payment: Payment, request: Request) -> bool:
    """Whether money goes out by it, which must be there before a rail hears of it."""
    gives = request.operation in (Operation.REFUND, Operation.PAYOUT, Operation.REVERSE)
    return gives and not payment.is_inwards(request)


def _fact(payment: Payment, request: Request, books: Books, book: Callable[..., Effect]) -> Effect:
    """Booked on the payment's own account, or else on suspense."""
    try:
        return book(payment, request, books)
    except Refusal:
        return book(payment, request, books, suspended=True)


def _held(
    payment: Payment, request: Request, books: Books, *, suspended: bool = False, outwards: bool = False
) -> Effect:
    made, known, clearing, account = _ends(payment, request, books, suspended=suspended)
    source, destination = (account, clearing) if outwards else (clearing, account)
    placed = hold_rules.place(
        known,
        books.totals,
        book_id=payment.intent.book_id,
        account_id=source,
        destination_id=destination,
        amount=request.amount,
        currency=payment.intent.currency,
        expires_at=None,
        now=books.now,
        description=_told(payment, request),
        reference=payment.intent.reference,
        metadata={},
        payment_id=payment.id,
        side=Side.DEBIT,
    )
    name = hold_id(payment.id, request.id)
    return Effect([*made, (name, 1, placed)], hold_id=name)


def _collected(payment: Payment, request: Request, books: Books, *, suspended: bool = False) -> Effect:
    made, known, clearing, account = _ends(payment, request, books, suspended=suspended)
    name = entry_id(payment, request.id)
    return Effect([*made, (name, 1, _entry(payment, request, books, known, clearing, account))], entry_id=name)


def _increased(payment: Payment, request: Request, books: Books) -> Effect:
    """What the account may not take more of is not set aside for it; once captured it is booked on suspense."""
    hold = _authorization_hold(payment, request, books)
    try:
        event = hold_rules.increase(hold, books.accounts, books.totals, amount=request.amount, now=books.now)
    except Refusal:
        return Effect([])
    return Effect([(hold.id, hold.version + 1, event)], hold_id=hold.id)


def _captured(payment: Payment, request: Request, books: Books, hold: Hold) -> Effect:
    name = entry_id(payment, request.id)
    final = request.final or request.operation is not Operation.CAPTURE
    try:
        entry, captured = hold_rules.capture(
            hold,
            books.accounts,
            books.totals,
            entry_id=name,
            amount=request.amount,
            final=final,
            now=books.now,
            value_date=_value_date(books),
            description=_told(payment, request),
            metadata={},
        )
    except Refusal:
        return _captured_on_suspense(payment, request, books, hold, final=final)
    return Effect([(hold.id, hold.version + 1, captured), (name, 1, entry)], hold_id=hold.id, entry_id=name)


def _captured_on_suspense(payment: Payment, request: Request, books: Books, hold: Hold, *, final: bool) -> Effect:
    made, known, clearing, account = _ends(payment, request, books, suspended=True)
    source, destination = (clearing, account) if request.operation is Operation.CAPTURE else (account, clearing)
    name = entry_id(payment, request.id)
    entry = _entry(payment, request, books, known, source, destination)
    given_up = _given_up(hold, books, "on suspense") if final else []
    return Effect([*given_up, *made, (name, 1, entry)], entry_id=name)


def _given_up(hold: Hold, books: Books, reason: str) -> list[Streamed]:
    if hold.status is not hold_rules.Status.HELD:
        return []
    return [(hold.id, hold.version + 1, hold_rules.void(hold, now=books.now, reason=reason))]


def _entry(
    payment: Payment,
    request: Request,
    books: Books,
    known: Mapping[UUID, Account],
    debit: UUID,
    credit: UUID,
    *,
    amount: int | None = None,
    told: str = "",
) -> EntryPosted:
    """Of the request's amount, for what it asked, unless it is said otherwise."""
    currency, moving = payment.intent.currency, request.amount if amount is None else amount
    return journal.post(
        known,
        books.totals,
        book_id=payment.intent.book_id,
        postings=[
            Posting(debit, Side.DEBIT, moving, currency),
            Posting(credit, Side.CREDIT, moving, currency),
        ],
        value_date=_value_date(books),
        description=_told(payment, request, told),
        reference=payment.intent.reference,
        metadata={},
        now=books.now,
    )


def _ends(
    payment: Payment, request: Request, books: Books, *, suspended: bool
) -> tuple[list[Streamed], Mapping[UUID, Account], UUID, UUID]:
    """The clearing account and the other end, with what opens them when they are first needed."""
    own, clearing, suspense = accounts_of(payment, request.rail)
    currency = payment.intent.currency
    codes = [clearing_code(request.rail, currency), *([suspense_code(currency)] if suspended else [])]
    made, known = opening(payment.intent.book_id, codes, currency, books)
    return made, known, clearing, suspense if suspended else own


def opening(
    book_id: UUID, codes: Iterable[str], currency: str, books: Books
) -> tuple[list[Streamed], Mapping[UUID, Account]]:
    """What opens those of Daybook's own accounts that are needed for the first time, and all accounts then."""
    made: list[Streamed] = []
    known = dict(books.accounts)
    for code in codes:
        name = ids.account_id(book_id, code)
        if name not in known:
            event = opened(book_id, code, currency, books.now)
            made.append((name, 1, event))
            known[name] = account_rules.opened(name, event)
    return made, known


_TYPES: Final = {"settlement": Type.ASSET, "fees": Type.EXPENSE}
"""By how their codes begin: what rails have paid, and what they have kept. Of the others the debit side is what
somebody owes the book."""


def opened(book_id: UUID, code: str, currency: str, now: datetime) -> AccountOpened:
    """Without limits: what has happened is booked."""
    return AccountOpened(
        book_id=book_id,
        code=code,
        type=_TYPES.get(code.partition(":")[0], Type.LIABILITY).value,
        currency=currency,
        overdraft_limit=None,
        opened_on=now.date(),
    )


def _authorization_hold(payment: Payment, request: Request, books: Books) -> Hold:
    found = payment.requests[request.upon].hold_id
    assert found is not None, (payment, request)
    return _hold(books, found)


def _hold(books: Books, name: UUID) -> Hold:
    hold = books.holds.get(name)
    assert hold is not None, name
    return hold


def _value_date(books: Books) -> date:
    return books.now.date()


def _told(payment: Payment, request: Request, told: str = "") -> str:
    """What is read beside the entry."""
    told = f"{told or request.operation.value} {ids.show(ids.PAYMENT, payment.id)}"
    return f"{payment.intent.description} ({told})" if payment.intent.description else told
