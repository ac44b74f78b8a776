"""A bank's file of a day in India as what a rail reports: bytes in, values out. What does not add up is rejected.

The layout is ours, after the settlement reports of NPCI's members: CSV, UTF-8, a header with the names of COLUMNS, a
row for each payment that moved money, and a last row `total` with their number and what we get of it all (less than
nothing: give).

    rrn, txn_id     of the payment; of a dispute the reference of the dispute and the payment it is upon
    type            COLLECT, PAY, REFUND; CHARGEBACK, CHARGEBACK_WON, CHARGEBACK_LOST
    direction       `credit` of ours, `debit`, or `none` where nothing moves
    amount          rupees; of a dispute that was lost what was disputed
    code            of the answer, or of the dispute's reason
    settled_at      with its offset
    original_rrn    of what it is upon
    respond_by      of a CHARGEBACK: until when it can be answered
"""

import csv
from datetime import date, datetime
from typing import Final

from msgspec.structs import replace

from adapters.rails.upi.disputes import dispute
from adapters.rails.upi.messages import COLLECT, PAY, REFUND
from adapters.rails.upi.messages import payment_id as made_of
from domain import upi
from domain.money import AMOUNT_MAX, to_minor
from domain.rail import Operation, Rail
from domain.settlement import Line, Report, ReportRejected, Said

CHARGEBACK, CHARGEBACK_WON, CHARGEBACK_LOST = "CHARGEBACK", "CHARGEBACK_WON", "CHARGEBACK_LOST"
CREDIT, DEBIT, NEITHER = "credit", "debit", "none"
SIGNS: Final = {CREDIT: 1, DEBIT: -1, NEITHER: 0}
COLUMNS: Final = (
    *("rrn", "txn_id", "type", "direction", "payer", "payee"),
    *("amount", "currency", "code", "settled_at", "original_rrn", "respond_by"),
)
TOTAL: Final = "total"
REQUEST_ID: Final = 22

_KINDS: Final = {
    COLLECT: (Said.SETTLED, Operation.COLLECT, CREDIT),
    PAY: (Said.SETTLED, Operation.PAYOUT, DEBIT),
    REFUND: (Said.SETTLED, Operation.REFUND, DEBIT),
    CHARGEBACK: (Said.DISPUTED, Operation.COLLECT, DEBIT),
    CHARGEBACK_WON: (Said.DISPUTE_WON, Operation.COLLECT, CREDIT),
    CHARGEBACK_LOST: (Said.DISPUTE_LOST, Operation.COLLECT, NEITHER),
}


def read_report(data: bytes, *, route: str, address: str, day: date) -> Report:
    """What the file says.

    Args:
        address: Ours, on one side of every payment.

    Raises:
        ReportRejected: It is not whole, not of this day and address, or does not add up.
    """
    rows = _rows(data)
    if rows[0] != list(COLUMNS):
        raise _wrong(1, "it is not the header")
    if rows[-1][0] != TOTAL:
        raise _wrong(len(rows), "it is not the total, so there is no end")
    lines = []
    net = 0
    for number, row in enumerate(rows[1:-1], start=2):
        of = dict(zip(COLUMNS, row, strict=True))
        line = _line(number, of, day)
        if address not in (of["payer"], of["payee"]):
            raise _wrong(number, f"neither side of it is {address}")
        lines.append(line)
        net += line.amount * SIGNS[of["direction"]]
    total = dict(zip(COLUMNS, rows[-1], strict=True))
    if total["txn_id"] != str(len(lines)):
        raise _wrong(len(rows), f"it counts {total['txn_id'][:20]} of {len(lines)} payments")
    said = _minor(len(rows), total["amount"], total["currency"])
    if said != net:
        raise _wrong(len(rows), f"it says {said} paise, and the payments come to {net}")
    return Report(rail=Rail.UPI, route=route, day=day, reference=f"UPI {route} {day}", lines=tuple(lines))


def _rows(data: bytes) -> list[list[str]]:
    try:
        text = data.decode()
        rows = list(csv.reader(text.splitlines(), strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise ReportRejected(f"it is not CSV in UTF-8: {error}") from error
    if not text.endswith("\n"):
        raise ReportRejected("its last line has no end")
    for number, row in enumerate(rows, start=1):
        if len(row) != len(COLUMNS):
            raise _wrong(number, f"a row has {len(COLUMNS)} fields, and this has {len(row)}")
    if len(rows) < 2:
        raise ReportRejected("there is no header, or no total")
    return rows


def _line(number: int, of: dict[str, str], day: date) -> Line:
    if of["type"] not in _KINDS:
        raise _wrong(number, f"there is no type {of['type'][:20]!r}")
    said, operation, direction = _KINDS[of["type"]]
    if of["direction"] != direction:
        raise _wrong(number, f"a {of['type']} goes the other way")
    if not of["rrn"] or not of["txn_id"]:
        raise _wrong(number, "it names nothing")
    amount = _minor(number, of["amount"], of["currency"])
    if not 1 <= amount <= AMOUNT_MAX:
        raise _wrong(number, f"{amount} is no amount")
    if upi.day_of(_instant(number, of["settled_at"])) != day:
        raise _wrong(number, f"it settled at {of['settled_at'][:40]}, and not on {day}")
    line = Line(
        said=said,
        request_id=_request_id(of["txn_id"]),
        operation=operation.value,
        amount=amount,
        currency=of["currency"],
        reference=of["rrn"],
    )
    if said is Said.SETTLED:
        return line
    why = dispute(of["code"])
    until = _instant(number, of["respond_by"]) if of["respond_by"] else None
    return replace(line, code=why.code, reason=why.reason, message=why.message, respond_by=until)


def _request_id(payment_id: str) -> str:
    """What `messages.payment_id` was made of; another's stays as it is."""
    request_id = payment_id[-REQUEST_ID:]
    return request_id if made_of(request_id) == payment_id else payment_id


def _minor(number: int, text: str, currency: str) -> int:
    if currency != upi.CURRENCY:
        raise _wrong(number, f"UPI is in {upi.CURRENCY}, not in {currency[:10]!r}")
    try:
        return to_minor(text, currency)
    except ValueError as error:
        raise _wrong(number, str(error)) from error


def _instant(number: int, text: str) -> datetime:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        raise _wrong(number, f"no time with an offset: {text[:40]!r}")
    return at


def _wrong(number: int, what: str) -> ReportRejected:
    return ReportRejected(f"line {number}: {what}")
