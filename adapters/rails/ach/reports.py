"""A bank's Nacha file of a day as what a rail reports: bytes in, values out. What does not add up is rejected whole.

Entries as they were sent have settled, those of returns came back, and notifications of change move nothing. A file of
another day, company or bank is rejected, as is one whose counts, totals or hashes are not those of what is in it. An
entry is known by its identification (`instructions.identification`), which is all that a return carries back; the
request id stands in for it where an addenda has one. A day on which nothing happened is an empty file.
"""

from collections.abc import Iterator
from datetime import date
from typing import Final

from msgspec.structs import replace

from adapters.rails.ach.codes import RETURNS, Kind
from adapters.rails.ach.files import RETURNED, Batch, Change, Entry, File, Remittance, Return, file_of
from adapters.rails.ach.instructions import CURRENCY, PURPOSES, Originator
from adapters.rails.ach.reading import read
from domain.rail import Operation, Rail
from domain.settlement import Line, Report, ReportRejected, Said

CREDITS: Final = frozenset({Operation.REFUND, Operation.PAYOUT})
_OPERATIONS: Final = {purpose: operation for operation, purpose in PURPOSES.items()}
_CREDIT_RETURNED: Final = 1
"""The second digit of the transaction code of a credit that comes back; of a debit it is 6."""


def read_report(data: bytes, *, originator: Originator, day: date) -> Report:
    """What the file says.

    Raises:
        ReportRejected: It is none, not of this day and originator, or does not add up.
    """
    if not data:
        return Report(rail=Rail.ACH, route=originator.route, day=day, reference=f"nothing on {day}")
    file = _file(data)
    if (file.created_on, file.destination) != (day, originator.routing_number):
        raise ReportRejected(f"file header: it is of {file.created_on}, for {file.destination}")
    lines = tuple(line for batch in file.batches for line in _lines(batch, originator, day))
    reference = f"{file.origin} {file.created_on} {file.modifier}"
    return Report(rail=Rail.ACH, route=originator.route, day=day, reference=reference, lines=lines)


def _file(data: bytes) -> File:
    reading = read(data)
    for finding in reading.findings:
        if finding.rejects or finding.code == "block_count":
            raise ReportRejected(f"line {finding.line}: {finding.what}")
    try:
        return file_of(reading)
    except ValueError as error:
        raise ReportRejected(str(error)) from error


def _lines(batch: Batch, originator: Originator, day: date) -> Iterator[Line]:
    for entry in batch.entries:
        where = f"entry {entry.trace}"
        if batch.company_id != originator.company_id:
            raise ReportRejected(f"{where}: it is of the company {batch.company_id!r}")
        match entry.addenda:
            case (Change(),):
                continue
            case (Return() as addenda,):
                yield _returned(where, batch, entry, addenda)
            case _:
                yield _settled(where, batch, entry, originator, day)


def _settled(where: str, batch: Batch, entry: Entry, originator: Originator, day: date) -> Line:
    if batch.odfi != originator.odfi:
        raise ReportRejected(f"{where}: it was sent by {batch.odfi}")
    if batch.settlement_day != day.timetuple().tm_yday:
        raise ReportRejected(f"{where}: it settled on day {batch.settlement_day} of the year, and not on {day}")
    return _line(where, batch, entry, Said.SETTLED, entry.is_credit)


def _returned(where: str, batch: Batch, entry: Entry, addenda: Return) -> Line:
    code = RETURNS.get(addenda.code)
    if code is None or code.kind is not Kind.RETURN or entry.transaction_code not in RETURNED:
        raise ReportRejected(f"{where}: {addenda.code} is no return of an entry")
    credit = entry.transaction_code % 10 == _CREDIT_RETURNED
    said = _line(where, batch, entry, Said.RETURNED, credit)
    return replace(said, code=code.code, reason=code.reason, message=code.meaning)


def _line(where: str, batch: Batch, entry: Entry, said: Said, credit: bool) -> Line:
    operation = _OPERATIONS.get(batch.description)
    if operation is None or (operation is not Operation.REVERSE and (operation in CREDITS) is not credit):
        raise ReportRejected(f"{where}: nothing of ours is a {'credit' if credit else 'debit'} {batch.description!r}")
    if entry.amount < 1:
        raise ReportRejected(f"{where}: it moves nothing")
    return Line(
        said=said,
        request_id=_request_id(entry) or entry.identification or entry.trace,
        operation=operation.value,
        amount=entry.amount,
        currency=CURRENCY,
        reference=entry.trace,
    )


def _request_id(entry: Entry) -> str:
    for addenda in entry.addenda:
        if isinstance(addenda, Remittance) and addenda.information.strip():
            return addenda.information.split()[0]
    return ""
