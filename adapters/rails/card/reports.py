"""An acquirer's file of a day as what a rail reports: bytes in, values out. What does not add up is rejected whole.

Card networks' clearing files are theirs alone, so the layout is ours: CSV, ASCII, lines that end in a line feed.

    H,DAYBOOK-CARD,2,<day>
    D,<reference>,<request id>,<operation>,<merchant>,<currency>,<amount>,<fee>,<net>,<approval>,<upon>,<when>
     ,<said>,<code>,<disputed>,<respond by>            on the same line
    T,<currency>,<details>,<amount>,<fee>,<net>        one for each currency that has details
    E,<details>

Amounts are minor units; those of what is paid to us above zero, of what we pay below. The fee is what the network
keeps, below zero where it gives one back, and net = amount - fee. `upon` is the reference of what it is upon, and
`said` is `settled`, `disputed`, `dispute_won` or `dispute_lost`. A line of a dispute has the reference of the dispute,
the request id and operation of what is disputed, the network's reason code, what is disputed in minor units, and, as it
begins, until when it can be answered; one that was lost moves nothing.
"""

import csv
from collections.abc import Sequence
from datetime import date, datetime
from typing import Final

from msgspec.structs import replace

from adapters.rails.card.disputes import dispute
from domain.money import AMOUNT_MAX, MINOR_DIGITS
from domain.rail import Operation, Rail
from domain.settlement import Line, Report, ReportRejected, Said

NAME: Final = "DAYBOOK-CARD"
VERSION: Final = "2"
DETAIL: Final = (
    *("D", "reference", "request_id", "operation", "merchant", "currency", "amount", "fee", "net", "approval", "upon"),
    *("when", "said", "code", "disputed", "respond_by"),
)
_TO_US: Final = frozenset({Operation.CAPTURE, Operation.COLLECT})
_BY_US: Final = frozenset({Operation.REFUND, Operation.PAYOUT})
_NEITHER: Final = frozenset({Operation.REVERSE})
"""Goes the other way than what it undoes."""
_DISPUTES: Final = {Said.DISPUTED: -1, Said.DISPUTE_WON: 1, Said.DISPUTE_LOST: 0}


def read_report(data: bytes, *, route: str, merchant: str, day: date) -> Report:
    """What the file says.

    Raises:
        ReportRejected: It is not whole, not of this merchant and day, or does not add up.
    """
    rows = _rows(data)
    if rows[0] != ["H", NAME, VERSION, day.isoformat()]:
        raise _wrong(1, f"it is not the header of {day}: {','.join(rows[0])[:60]!r}")
    lines = []
    sums: dict[str, list[int]] = {}
    for number, row in enumerate(rows[1:], start=2):
        if row[0] != "D":
            break
        line, moved = _line(number, row, merchant)
        lines.append(line)
        total = sums.setdefault(line.currency, [0, 0, 0, 0])
        for at, value in enumerate((1, moved, line.fee, moved - line.fee)):
            total[at] += value
    end = len(lines) + 1
    totals = [["T", currency, *map(str, total)] for currency, total in sorted(sums.items())]
    for number, (row, expected) in enumerate(zip(rows[end:-1], totals, strict=False), start=end + 1):
        if row != expected:
            raise _wrong(number, f"it says {','.join(row)[:80]} and the details come to {','.join(expected)}")
    if len(rows) != end + len(totals) + 1:
        raise _wrong(end + 1, f"there are details in {len(totals)} currencies, and totals of {len(rows) - end - 1}")
    if rows[-1] != ["E", str(len(lines))]:
        raise _wrong(len(rows), f"it is not the end of {len(lines)} details: {','.join(rows[-1])[:60]!r}")
    return Report(rail=Rail.CARD, route=route, day=day, reference=f"{NAME} {merchant} {day}", lines=tuple(lines))


def _rows(data: bytes) -> list[list[str]]:
    try:
        text = data.decode("ascii")
        rows = list(csv.reader(text.splitlines(), strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise ReportRejected(f"it is not CSV in ASCII: {error}") from error
    if not text.endswith("\n"):
        raise ReportRejected("its last line has no end")
    for number, row in enumerate(rows, start=1):
        if not row:
            raise _wrong(number, "it is empty")
    return rows


def _line(number: int, row: Sequence[str], merchant: str) -> tuple[Line, int]:
    """A detail, and what it moves: below zero what we pay."""
    if len(row) != len(DETAIL):
        raise _wrong(number, f"a detail has {len(DETAIL)} fields, and this has {len(row)}")
    of = dict(zip(DETAIL, row, strict=True))
    if of["merchant"] != merchant:
        raise _wrong(number, f"it is of {of['merchant'][:20]!r}, not of {merchant}")
    if of["currency"] not in MINOR_DIGITS:
        raise _wrong(number, f"there is no currency {of['currency'][:10]!r}")
    if not of["reference"] or not of["request_id"]:
        raise _wrong(number, "it names nothing")
    moved, fee, net = (_minor(number, name, of[name]) for name in ("amount", "fee", "net"))
    if net != moved - fee:
        raise _wrong(number, f"{moved} less a fee of {fee} is not {net}")
    if of["said"] not in {Said.SETTLED, *_DISPUTES} or of["operation"] not in _TO_US | _BY_US | _NEITHER:
        raise _wrong(number, f"nobody says {of['said'][:20]!r} of {of['operation'][:20]!r}")
    said, operation = Said(of["said"]), Operation(of["operation"])
    amount = abs(moved) if said is Said.SETTLED else _minor(number, "disputed", of["disputed"])
    if not 1 <= amount <= AMOUNT_MAX:
        raise _wrong(number, f"{amount} is no amount")
    if operation in _NEITHER and said is Said.SETTLED:
        expected = moved
    else:
        expected = amount * (_DISPUTES[said] if said in _DISPUTES else 1 if operation in _TO_US else -1)
    if moved != expected:
        raise _wrong(number, f"{moved} goes the wrong way, or is not what is disputed")
    line = Line(
        said=said,
        request_id=of["request_id"],
        operation=operation.value,
        amount=amount,
        currency=of["currency"],
        fee=fee,
        reference=of["reference"],
    )
    return (line if said is Said.SETTLED else _disputed(number, line, of)), moved


def _disputed(number: int, line: Line, of: dict[str, str]) -> Line:
    why = dispute(of["code"])
    until = _instant(number, of["respond_by"]) if of["respond_by"] else None
    return replace(line, code=why.code, reason=why.reason, message=why.message, respond_by=until)


def _minor(number: int, name: str, text: str) -> int:
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 16 and str(int(text)) == text):
        raise _wrong(number, f"its {name} is no number: {text[:40]!r}")
    return int(text)


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
