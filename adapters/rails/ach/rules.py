"""The rules by which a Nacha file is taken or not: of each record by itself, of a batch, and of the file.

Each rule yields findings. Source: Nacha Operating Rules, Appendix Two (specifications for data acceptance by ACH
operators: conditions for rejection of files, batches and entries) and Appendix Three (record formats).
"""

from collections.abc import Iterator
from datetime import datetime
from itertools import pairwise
from typing import Final

from iso4217 import Currency

from adapters.rails.ach.codes import CHANGES, RETURNS
from adapters.rails.ach.layout import BLOCKING_FACTOR
from adapters.rails.ach.records import (
    CREDITS,
    DEBITS,
    TRANSACTION_CODES,
    Finding,
    ReadBatch,
    ReadEntry,
    Reading,
    Record,
)
from adapters.rails.ach.routing_numbers import check_digit, is_routing_number

MIXED, CREDITS_ONLY, DEBITS_ONLY, ADVICES = 200, 220, 225, 280
SERVICE_CLASSES: Final = frozenset({MIXED, CREDITS_ONLY, DEBITS_ONLY, ADVICES})
ENTRY_CLASSES: Final = frozenset(
    "ACK ADV ARC ATX BOC CCD CIE COR CTX DNE ENR IAT MTE POP POS PPD RCK SHR TEL TRC TRX WEB XCK".split()
)
COUNTED: Final = frozenset({"CTX", "TRX", "ATX"})
"""The entry says how many addenda it has."""
DESCRIPTIONS: Final = {"ENR": "AUTOENROLL", "RCK": "REDEPCHECK"}
ACCOUNTING: Final = frozenset(range(81, 89))
DEBIT_CLASSES: Final = frozenset("ARC BOC POP POS RCK SHR TEL TRC TRX XCK MTE".split())
"""Of these only a reversal may be a credit."""
IAT_NEEDED: Final = ("10", "11", "12", "13", "14", "15", "16")
CARD_TYPES: Final = frozenset({"01", "02", "03", "11", "12", "13", "21", "99"})
IAT_TYPES: Final = frozenset("ANN BUS DEP LOA MIS MOR PEN RLS REM SAL TAX TEL WEB ARC BOC POP RCK".split())
LIMITS_MINOR: Final = {"RCK": 2_500_00, "ARC": 25_000_00, "BOC": 25_000_00, "POP": 25_000_00, "XCK": 2_500_00}
"""The most an entry made from a check may be for. Source: Nacha Operating Rules, 2.5."""
STATES: Final = frozenset(
    (
        "AL AK AZ AR CA CO CT DE DC FL GA HI ID IL IN IA KS KY LA ME MD MA MI MN MS MO MT NE NV NH NJ NM NY NC ND "
        "OH OK OR PA RI SC SD TN TX UT VT VA WA WV WI WY AS FM GU MH MP PR PW VI"
    ).split()
)
CURRENCIES: Final = frozenset(currency.code for currency in Currency)
DAYS_OF_MONTH: Final = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)

Findings = Iterator[Finding]


def of_file_header(header: Record) -> Findings:
    line = header.line
    destination = header.raw("destination").strip()
    if len(destination) == 10 and destination[0] == "0":
        destination = destination[1:]
    if not is_routing_number(destination):
        yield Finding("destination", line, f"{destination!r} is no routing number")
    if not header.stripped("origin").strip("0"):
        yield Finding("origin", line, "no immediate origin")
    if not _is_day(header.raw("created_on")):
        yield Finding("created_on", line, f"{header.raw('created_on')!r} is no date")
    if header.raw("format") != "1":
        yield Finding("format", line, f"format {header.raw('format')!r} is not 1")
    yield from _printable(header)


def of_batch_header(header: Record) -> Findings:
    line, entry_class = header.line, header.raw("entry_class")
    if header.number("service_class") not in SERVICE_CLASSES:
        yield Finding("service_class", line, f"{header.raw('service_class')!r} is no service class")
    if entry_class not in ENTRY_CLASSES:
        yield Finding("entry_class", line, f"{entry_class!r} is no standard entry class")
    if not header.stripped("odfi").strip("0"):
        yield Finding("odfi", line, "no originating bank")
    if not header.stripped("description"):
        yield Finding("description", line, "no company entry description")
    if "iat_indicator" in header.layout:
        for name in ("currency_from", "currency_to"):
            if header.raw(name) not in CURRENCIES:
                yield Finding("currency", line, f"{header.raw(name)!r} is no currency")
    else:
        status = header.number("originator_status")
        if status not in (0, 1, 2) or (status == 0 and entry_class != "ADV"):
            yield Finding("originator_status", line, f"{header.raw('originator_status')!r} is no originator status")
        for name in ("company_name", "company_id"):
            if not header.stripped(name):
                yield Finding(name, line, f"no {name.replace('_', ' ')}")
    yield from _printable(header)


def of_entry(record: Record, batch: ReadBatch) -> Findings:
    line = record.line
    if record.number("transaction_code") not in TRANSACTION_CODES:
        yield Finding("transaction_code", line, f"{record.raw('transaction_code')!r} is no transaction code")
    expected = check_digit(record.raw("rdfi"))
    if expected is None or record.raw("check_digit") != str(expected):
        yield Finding("check_digit", line, f"{record.raw('rdfi') + record.raw('check_digit')!r} is no routing number")
    for name in ("account", "name", "trace"):
        if name in record.layout and not record.stripped(name):
            yield Finding(name, line, f"no {name}")
    if "sequence" in record.layout and not record.number("sequence"):
        yield Finding("sequence", line, "no sequence number")
    yield from _printable(record)


def of_addenda(record: Record, entry: ReadEntry, batch: ReadBatch) -> Findings:
    line, kind = record.line, record.raw("type")
    if entry.record.number("addenda_indicator") != 1:
        yield Finding("addenda_indicator", line, "an addenda of an entry that says it has none")
    if len(record.layout) == 1:
        yield Finding("addenda_type", line, f"{kind!r} is no addenda type")
    if "sequence" in record.layout and not record.number("sequence"):
        yield Finding("sequence", line, "no sequence number")
    if kind == "98" and record.raw("code") not in CHANGES:
        yield Finding("change_code", line, f"{record.raw('code')!r} is no change code")
    if kind == "99" and record.raw("code") not in RETURNS:
        yield Finding("return_code", line, f"{record.raw('code')!r} is no return code")
    if kind == "10" and record.raw("transaction_type") not in IAT_TYPES:
        yield Finding("transaction_type", line, f"{record.raw('transaction_type')!r} is no transaction type")
    if "qualifier" in record.layout and record.raw("qualifier") not in ("01", "02", "03"):
        yield Finding("qualifier", line, f"{record.raw('qualifier')!r} is no identification number qualifier")
    if kind == "02" and not _is_month_and_day(record.raw("date")):
        yield Finding("date", line, f"{record.raw('date')!r} is no month and day")
    yield from _printable(record)


def of_control(control: Record) -> Findings:
    """Of a batch's or the file's: what must not be nothing."""
    if control.kind == "8":
        if control.number("service_class") not in SERVICE_CLASSES:
            what = f"{control.raw('service_class')!r} is no service class"
            yield Finding("service_class", control.line, what)
        return
    for name in ("batch_count", "block_count", "entry_addenda_count", "entry_hash"):
        if not control.number(name):
            yield Finding(name, control.line, f"no {name.replace('_', ' ')} in the file control")


def of_batch(batch: ReadBatch) -> Findings:
    assert batch.control is not None
    line = batch.control.line
    if not batch.entries:
        yield Finding("batch_empty", line, "a batch without entries")
    yield from _as_in_header(batch, batch.control)
    yield from _totals(batch, batch.control)
    yield from _traces(batch)
    yield from _addenda(batch)
    if len({entry.category for entry in batch.entries}) > 1:
        yield Finding("category", line, "returns or notifications of change among other entries")
    yield from _of_class(batch)


def of_file(reading: Reading) -> Findings:
    if reading.header is None:
        yield Finding("file_headers", 0, "no file header")
    if reading.control is None:
        yield Finding("file_controls", 0, "no file control")
        return
    control = reading.control
    controls = [batch.control for batch in reading.batches if batch.control is not None]
    expected = {"batch_count": len(reading.batches)}
    for name in ("entry_addenda_count", "debits", "credits"):
        expected[name] = sum(each.number(name) for each in controls)
    expected["entry_hash"] = sum(each.number("entry_hash") for each in controls) % 10**10
    for name, value in expected.items():
        if control.number(name) != value:
            what = f"{name.replace('_', ' ')} of the batches is {value}, the file control says {control.number(name)}"
            yield Finding(name, control.line, what)
    blocks = -(-reading.line_count // BLOCKING_FACTOR)
    if control.number("block_count") != blocks:
        what = f"{blocks} blocks, the file control says {control.number('block_count')}"
        yield Finding("block_count", control.line, what, rejects=False)


def _as_in_header(batch: ReadBatch, control: Record) -> Findings:
    header, texts = batch.header, ["odfi"]
    if not batch.is_iat and "company_id" in control.layout:
        texts.append("company_id")
    different = [name for name in texts if header.stripped(name) != control.stripped(name)]
    different += [name for name in ("service_class", "batch_number") if header.number(name) != control.number(name)]
    for name in different:
        said = f"{header.stripped(name)!r} in the header, {control.stripped(name)!r} in the control"
        yield Finding(name, control.line, f"{name.replace('_', ' ')} is {said}")


def _totals(batch: ReadBatch, control: Record) -> Findings:
    expected = {
        "entry_addenda_count": batch.lines,
        "entry_hash": batch.entry_hash,
        "debits": batch.total(DEBITS),
        "credits": batch.total(CREDITS),
    }
    for name, value in expected.items():
        if control.number(name) != value:
            what = f"{name.replace('_', ' ')} is {value}, the batch control says {control.number(name)}"
            yield Finding(name, control.line, what)


def _traces(batch: ReadBatch) -> Findings:
    if batch.entry_class == "ADV":
        return
    last = ""
    for entry in batch.entries:
        trace = entry.record.raw("trace")
        if trace <= last:
            yield Finding("trace_order", entry.record.line, f"trace number {trace} is not above {last}")
        if trace[:8] != batch.header.raw("odfi"):
            yield Finding("trace_odfi", entry.record.line, f"trace number {trace} is not of {batch.header.raw('odfi')}")
        last = trace


def _addenda(batch: ReadBatch) -> Findings:
    """Addenda are of the entry they stand under and in order; a payment over the border has all that it needs."""
    for entry in batch.entries:
        own = entry.record.number("trace") % 10**7
        for record in entry.addenda:
            if "entry_sequence" in record.layout and record.number("entry_sequence") != own:
                yield Finding("entry_sequence", record.line, "an addenda with another entry's sequence number")
        remittances = entry.of_type("05")
        for before, after in pairwise(remittances):
            if after.number("sequence") <= before.number("sequence"):
                yield Finding("addenda_order", after.line, "sequence numbers of addenda do not ascend")
        for kind in IAT_NEEDED if batch.is_iat else ():
            if not entry.of_type(kind):
                yield Finding("addenda_missing", entry.record.line, f"no addenda {kind}")


def _of_class(batch: ReadBatch) -> Findings:
    """What one standard entry class asks beyond the others."""
    entry_class, description = batch.entry_class, batch.header.stripped("description").upper()
    wanted = DESCRIPTIONS.get(entry_class, description)
    if description != wanted:
        yield Finding("description", batch.header.line, f"{entry_class} is described as {wanted}")
    for entry in batch.entries:
        yield from _entry_of_class(entry, entry_class, reversal=description == "REVERSAL")


def _entry_of_class(entry: ReadEntry, entry_class: str, *, reversal: bool) -> Findings:
    record, forward = entry.record, entry.category == "forward"
    code, line = record.number("transaction_code"), record.line
    if forward and entry_class in DEBIT_CLASSES and code in (DEBITS if reversal else CREDITS):
        yield Finding("direction", line, f"code {code} in {'a reversal of ' if reversal else ''}{entry_class}")
    if (code in ACCOUNTING) != (entry_class == "ADV"):
        yield Finding("transaction_code", line, f"code {code} in {entry_class}")
    if record.number("amount") > LIMITS_MINOR.get(entry_class, 10**12):
        yield Finding("amount", line, f"more than {entry_class} may be for")
    if forward and entry_class in COUNTED and record.number("addenda_count") != len(entry.of_type("05")):
        yield Finding("addenda_count", line, "another number of addenda than the entry says")
    for addenda in entry.of_type("02"):
        if addenda.raw("state") not in STATES:
            yield Finding("state", addenda.line, f"{addenda.raw('state')!r} is no state or territory")


def _printable(record: Record) -> Findings:
    if any(ord(character) < 32 or ord(character) == 127 for character in record.text):
        yield Finding("character", record.line, "a control character")


def _is_day(text: str) -> bool:
    try:
        datetime.strptime(text, "%y%m%d")  # noqa: DTZ007 -- A date alone.
    except ValueError:
        return False
    return text.isascii() and text.isdigit()


def _is_month_and_day(text: str) -> bool:
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:2]) <= 12):
        return False
    return 1 <= int(text[2:]) <= DAYS_OF_MONTH[int(text[:2]) - 1]
