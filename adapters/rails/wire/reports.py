"""A bank's advice of a day (camt.054) as what a rail reports: bytes in, values out. What does not add up is rejected.

It is held against its schema, its own summary (TxsSummry) and the account and day it is to be of. A debit is a payout,
or with the purpose REFU a refund; a credit with a reason for a return is one that came back: after a recall, which is
then named by its message id (Refs/MsgId), or by itself. Any other credit is somebody who pays.
"""

from collections.abc import Iterator
from datetime import date
from typing import Final

from adapters.rails.wire.codes import RECALLED, declined
from adapters.rails.wire.conversation import REFUND, Bank
from adapters.rails.wire.messages import ADVICE, NOT_PROVIDED, Detail, Entry, Reason, Statement, Sum, Summary
from adapters.rails.wire.reading import read
from domain.money import AMOUNT_MAX
from domain.rail import Operation, Rail
from domain.settlement import Line, Report, ReportRejected, Said

BOOKED: Final = "BOOK"


def read_report(data: bytes, *, bank: Bank, day: date) -> Report:
    """What the advice says.

    Raises:
        ReportRejected: It is none, breaks its schema, is not of this account and day, or does not add up.
    """
    message = read(data)
    for finding in message.findings:
        raise ReportRejected(f"{finding.where or 'the file'}: {finding.what}")
    if message.name != ADVICE:
        raise ReportRejected(f"it is no {ADVICE} but {message.name[:40]!r}")
    lines: list[Line] = []
    reference = ""
    for statement in message.contents:
        assert isinstance(statement, Statement), statement
        reference = reference or statement.header.message_id
        lines += _lines(statement, bank, day)
    return Report(rail=Rail.WIRE, route=bank.route, day=day, reference=reference, lines=tuple(lines))


def _lines(statement: Statement, bank: Bank, day: date) -> Iterator[Line]:
    where = f"advice {statement.statement_id}"
    if not statement.entries and statement.account == NOT_PROVIDED:
        return
    if statement.account != bank.account:
        raise ReportRejected(f"{where}: it is of the account {statement.account[:40]!r}")
    if statement.summary != _summary(statement):
        raise ReportRejected(f"{where}: its entries are not what its summary says: {statement.summary}")
    for number, entry in enumerate(statement.entries, start=1):
        yield from _of_entry(f"{where}, entry {number}", entry, statement.currency, day)


def _summary(statement: Statement) -> Summary:
    sums = []
    for credit in (True, False):
        amounts = [each.amount.minor for each in statement.entries if each.credit is credit and each.amount is not None]
        sums.append(Sum(len(amounts), sum(amounts)))
    return Summary(credits=sums[0], debits=sums[1])


def _of_entry(where: str, entry: Entry, currency: str, day: date) -> Iterator[Line]:
    if entry.status != BOOKED or entry.reversal:
        raise ReportRejected(f"{where}: it is not booked once for all ({entry.status})")
    if entry.booked_on != day:
        raise ReportRejected(f"{where}: it was booked on {entry.booked_on}, and not on {day}")
    if entry.amount is None or entry.amount.currency != currency:
        raise ReportRejected(f"{where}: {entry.amount} on an account in {currency}")
    details = [each for each in entry.details if each.amount is not None and each.amount.currency == currency]
    comes_to = sum(each.amount.minor for each in details if each.amount is not None)
    if len(details) != len(entry.details) or comes_to != entry.amount.minor:
        raise ReportRejected(f"{where}: its payments do not come to {entry.amount}")
    for detail in details:
        if detail.credit is not entry.credit:
            raise ReportRejected(f"{where}: a payment in it goes the other way")
        yield _line(where, detail, entry)


def _line(where: str, detail: Detail, entry: Entry) -> Line:
    assert detail.amount is not None
    if not 1 <= detail.amount.minor <= AMOUNT_MAX:
        raise ReportRejected(f"{where}: {detail.amount} is no amount")
    said, operation, request_id = _what(where, detail)
    reference = detail.reference or entry.reference
    why = declined((Reason(detail.return_reason),)) if said is Said.RETURNED else None
    return Line(
        said=said,
        request_id=request_id or reference,
        operation=operation.value,
        amount=detail.amount.minor,
        currency=detail.amount.currency,
        reference=reference,
        code="" if why is None else why.code,
        reason="" if why is None else why.reason,
        message="" if why is None else why.message,
    )


def _what(where: str, detail: Detail) -> tuple[Said, Operation, str]:
    """What it says, of what was asked how, and under which id."""
    sent = Operation.REFUND if detail.purpose == REFUND else Operation.PAYOUT
    if not detail.credit:
        if detail.return_reason:
            raise ReportRejected(f"{where}: what came in goes back ({detail.return_reason}), which is not read here")
        return Said.SETTLED, sent, detail.ids.end_to_end_id
    if not detail.return_reason:
        return Said.SETTLED, Operation.COLLECT, detail.creditor_reference
    if detail.return_reason == RECALLED and detail.ids.message_id:
        return Said.SETTLED, Operation.REVERSE, detail.ids.message_id
    return Said.RETURNED, sent, detail.ids.end_to_end_id
