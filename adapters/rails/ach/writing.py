"""Nacha files, written: strict, so that nothing leaves that a bank would send back.

What cannot be written raises; nothing is cut short, folded or left out in silence. Counts, totals, hashes, service
classes, batch numbers and padding are worked out here, so that they cannot be wrong.
Source of each rule: Nacha Operating Rules, Appendix Three, unless another is named.
"""

from collections.abc import Iterator, Sequence
from datetime import date
from typing import Final

from adapters.rails.ach import layout as at
from adapters.rails.ach.codes import CHANGES, RETURNS
from adapters.rails.ach.files import (
    PRENOTES,
    RETURNED,
    WRITTEN,
    ZERO_DOLLARS,
    Addenda,
    Batch,
    Change,
    Entry,
    File,
    Remittance,
    Return,
)
from adapters.rails.ach.records import TRANSACTION_CODES
from adapters.rails.ach.routing_numbers import is_routing_number

ODFI_STATUS: Final = "1"
"""Originator status code: a financial institution that has agreed to be bound by the rules."""
RECURRENCES: Final = frozenset({"R", "S"})
MOST_BATCHES: Final = 999_999
TRACE_LENGTH: Final = 15
RIGHT_ALIGNED: Final = frozenset({"destination", "origin"})
CENTURY: Final = range(1969, 2069)
"""Years that two digits can name, as readers take them."""


class Unwritable(ValueError):
    """A value that no Nacha file may hold. `where`: record and field."""

    def __init__(self, where: str, why: str) -> None:
        super().__init__(f"{where}: {why}")
        self.where = where


def write(file: File) -> bytes:
    """The file, records of 94 characters with line ends, padded with nines to whole blocks of ten.

    Raises:
        Unwritable: A value is impossible.
    """
    body = [_file_header(file)]
    for number, batch in enumerate(file.batches, 1):
        body.extend(_batch(batch, number))
    blocks = -(-(len(body) + 1) // at.BLOCKING_FACTOR)
    body.append(_file_control(file, blocks))
    body.extend([at.PADDING] * (blocks * at.BLOCKING_FACTOR - len(body)))
    return "".join(line + "\n" for line in body).encode("ascii")


def entry_hash(entries: Sequence[Entry]) -> int:
    """The last ten digits of the sum of the receiving banks' first eight digits."""
    return sum(int(entry.routing_number[:8]) for entry in entries) % 10**10


def _file_header(file: File) -> str:
    _ask(len(file.batches) in range(1, MOST_BATCHES + 1), "file.batches", "there is none, or there are too many")
    _ask(is_routing_number(file.destination), "file.destination", "no routing number")
    _ask(9 <= len(file.origin) <= 10 and file.origin.isalnum(), "file.origin", "not nine or ten letters and digits")
    _ask(bool(file.origin.strip("0")), "file.origin", "zeros alone")
    _ask(
        len(file.modifier) == 1 and (file.modifier.isdigit() or "A" <= file.modifier <= "Z"),
        "file.modifier",
        "not A-Z, 0-9",
    )
    _ask(
        file.created_at == file.created_at.replace(second=0, microsecond=0), "file.created_at", "not of a whole minute"
    )
    fields = {
        "priority": "01",
        "destination": file.destination.rjust(10),
        "origin": file.origin.rjust(10),
        "created_on": _yymmdd(file.created_on),
        "created_at": f"{file.created_at:%H%M}",
        "modifier": file.modifier,
        "record_size": "094",
        "blocking_factor": str(at.BLOCKING_FACTOR),
        "format": "1",
        "destination_name": file.destination_name,
        "origin_name": file.origin_name,
        "reference": file.reference,
    }
    return _record("1", at.FILE_HEADER, fields)


def _batch(batch: Batch, number: int) -> Iterator[str]:
    _ask(batch.entry_class in WRITTEN, "batch.entry_class", f"{batch.entry_class!r} is not written here")
    _ask(bool(batch.entries), "batch.entries", "a batch without entries")
    _ask(_is_digits(batch.odfi, 8) and bool(int(batch.odfi)), "batch.odfi", "not eight digits")
    for name in ("company_name", "company_id", "description"):
        _ask(bool(getattr(batch, name).strip()), f"batch.{name}", "is blank")
    _ask(batch.settlement_day is None or 1 <= batch.settlement_day <= 366, "batch.settlement_day", "no day of a year")
    _ask(len({_category(entry) for entry in batch.entries}) == 1, "batch.entries", "returns, changes and others mixed")
    header = {
        "service_class": str(batch.service_class),
        "company_name": batch.company_name,
        "company_data": batch.company_data,
        "company_id": batch.company_id,
        "entry_class": batch.entry_class,
        "description": batch.description,
        "descriptive_date": batch.descriptive_date,
        "effective_on": _yymmdd(batch.effective_on),
        "settlement_day": "" if batch.settlement_day is None else f"{batch.settlement_day:03}",
        "originator_status": ODFI_STATUS,
        "odfi": batch.odfi,
        "batch_number": _digits(number, at.BATCH_HEADER, "batch_number"),
    }
    yield _record("5", at.BATCH_HEADER, header)
    _check_traces(batch)
    for entry in batch.entries:
        yield from _entry(entry, batch)
    yield _batch_control(batch, number)


def _entry(entry: Entry, batch: Batch) -> Iterator[str]:
    _check_entry(entry, batch)
    fields = {
        "transaction_code": str(entry.transaction_code),
        "rdfi": entry.routing_number[:8],
        "check_digit": entry.routing_number[8],
        "account": entry.account,
        "amount": _digits(entry.amount, at.ENTRY, "amount"),
        "identification": entry.identification,
        "name": entry.name,
        "discretionary": entry.discretionary,
        "addenda_indicator": "1" if entry.addenda else "0",
        "trace": entry.trace,
    }
    yield _record("6", at.ENTRY, fields)
    for sequence, addenda in enumerate(entry.addenda, 1):
        yield _addenda(addenda, sequence, entry)


def _check_entry(entry: Entry, batch: Batch) -> None:
    code, category = entry.transaction_code, _category(entry)
    _ask(code in TRANSACTION_CODES and code < 60, "entry.transaction_code", f"{code} is no transaction code")
    _ask(is_routing_number(entry.routing_number), "entry.routing_number", f"{entry.routing_number!r} is none")
    for name in ("account", "name"):
        _ask(bool(getattr(entry, name).strip()), f"entry.{name}", "is blank")
    _ask((code in RETURNED) == (category != "forward"), "entry.transaction_code", f"{code} in a {category} entry")
    _ask((batch.entry_class == "COR") == (category == "change"), "entry.addenda", "of COR it is 98, and of it alone")
    _ask(len(entry.addenda) <= 1, "entry.addenda", "more than one in these classes")
    nothing = code in PRENOTES or code in ZERO_DOLLARS or category == "change"
    _ask((entry.amount == 0) == nothing or category == "return", "entry.amount", f"{entry.amount} with code {code}")
    _ask(code not in ZERO_DOLLARS or batch.entry_class == "CCD", "entry.transaction_code", "zero dollars but in CCD")
    if batch.entry_class == "WEB" and category == "forward" and not entry.is_credit:
        _ask(entry.discretionary in RECURRENCES, "entry.discretionary", "of a WEB debit neither R nor S")


def _addenda(addenda: Addenda, sequence: int, entry: Entry) -> str:
    fields: dict[str, str] = {"type": str(addenda.__struct_config__.tag)}
    match addenda:
        case Remittance(information=information):
            _ask(bool(information.strip()), "addenda.information", "is blank")
            numbers = {"sequence": f"{sequence:04}", "entry_sequence": entry.trace[-7:]}
            fields |= {"information": information, **numbers}
        case Change():
            _ask(addenda.code in CHANGES, "addenda.code", f"{addenda.code!r} is no change code")
            _ask(bool(addenda.corrected.strip()), "addenda.corrected", "is blank")
            fields |= {"corrected": addenda.corrected, "trace": entry.trace, **_of_original(addenda)}
        case Return():
            _ask(addenda.code in RETURNS, "addenda.code", f"{addenda.code!r} is no return code")
            _ask(
                (addenda.died_on is not None) == (addenda.code in ("R14", "R15")),
                "addenda.died_on",
                "with R14 and R15 alone",
            )
            fields |= {"information": addenda.information, "died_on": _yymmdd(addenda.died_on), "trace": entry.trace}
            fields |= _of_original(addenda)
    return _record("7", at.ADDENDA[fields["type"]], fields)


def _of_original(addenda: Change | Return) -> dict[str, str]:
    _ask(_is_digits(addenda.original_trace, TRACE_LENGTH), "addenda.original_trace", "not fifteen digits")
    _ask(_is_digits(addenda.original_rdfi, 8), "addenda.original_rdfi", "not eight digits")
    return {
        "code": addenda.code,
        "original_trace": addenda.original_trace,
        "original_rdfi": addenda.original_rdfi,
    }


def _batch_control(batch: Batch, number: int) -> str:
    fields = {
        "service_class": str(batch.service_class),
        **_totals([batch], at.BATCH_CONTROL),
        "company_id": batch.company_id,
        "odfi": batch.odfi,
        "batch_number": _digits(number, at.BATCH_CONTROL, "batch_number"),
    }
    return _record("8", at.BATCH_CONTROL, fields)


def _file_control(file: File, blocks: int) -> str:
    fields = {
        "batch_count": _digits(len(file.batches), at.FILE_CONTROL, "batch_count"),
        "block_count": _digits(blocks, at.FILE_CONTROL, "block_count"),
        **_totals(file.batches, at.FILE_CONTROL),
    }
    return _record("9", at.FILE_CONTROL, fields)


def _totals(batches: Sequence[Batch], layout: at.Layout) -> dict[str, str]:
    """Count, hash and amounts. The file's hash is of its batches' hashes, which comes to the same ten digits."""
    entries = [entry for batch in batches for entry in batch.entries]
    totals = {
        "entry_addenda_count": sum(1 + len(entry.addenda) for entry in entries),
        "entry_hash": entry_hash(entries),
        "debits": sum(entry.amount for entry in entries if not entry.is_credit),
        "credits": sum(entry.amount for entry in entries if entry.is_credit),
    }
    return {name: _digits(value, layout, name) for name, value in totals.items()}


def _check_traces(batch: Batch) -> None:
    """Ascending, and of the originating bank. Two batches may use the same: its batch's number goes with each."""
    last = ""
    for entry in batch.entries:
        _ask(_is_digits(entry.trace, TRACE_LENGTH), "entry.trace", f"{entry.trace!r} is not fifteen digits")
        _ask(entry.trace[:8] == batch.odfi, "entry.trace", f"{entry.trace} is not of {batch.odfi}")
        _ask(int(entry.trace[8:]) > 0, "entry.trace", f"{entry.trace} has no sequence number")
        _ask(entry.trace > last, "entry.trace", f"{entry.trace} is not above {last}")
        last = entry.trace


def _category(entry: Entry) -> str:
    kinds = {type(addenda) for addenda in entry.addenda}
    if Return in kinds:
        return "return"
    return "change" if Change in kinds else "forward"


def _record(kind: str, layout: at.Layout, fields: dict[str, str]) -> str:
    """A record of 94 characters: each field in its place, left as the rules have text, blanks between."""
    line = [kind, *" " * (at.RECORD_LENGTH - 1)]
    for name, value in fields.items():
        first, last = layout[name]
        width = last - first + 1
        where = f"record {kind}, {name}"
        _ask(len(value) <= width, where, f"{value!r} has more than {width} characters")
        _ask(all(" " <= character <= "~" for character in value), where, f"{value!r} is not printable ASCII")
        _ask(name in RIGHT_ALIGNED or value == value.strip(), where, f"{value!r} has blanks about it")
        line[first - 1 : last] = value.ljust(width)
    return "".join(line)


def _digits(value: int, layout: at.Layout, name: str) -> str:
    size = at.width(layout, name)
    _ask(0 <= value < 10**size, name, f"{value} does not go into {size} digits")
    return str(value).rjust(size, "0")


def _yymmdd(day: date | None) -> str:
    if day is None:
        return ""
    _ask(day.year in CENTURY, "date", f"{day} needs more than two digits for its year")
    return f"{day:%y%m%d}"


def _is_digits(text: str, length: int) -> bool:
    return len(text) == length and text.isascii() and text.isdigit()


def _ask(holds: bool, where: str, why: str) -> None:
    if not holds:
        raise Unwritable(where, why)
