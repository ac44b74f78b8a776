"""Nacha files as values: what is written and, of the classes that are written, what is read back."""

from collections.abc import Iterator
from datetime import date, datetime, time
from typing import Final

from msgspec import Struct

from adapters.rails.ach.records import CREDITS, ReadBatch, ReadEntry, Reading, Record
from adapters.rails.ach.rules import CREDITS_ONLY, DEBITS_ONLY, MIXED

PRENOTES: Final = frozenset({23, 28, 33, 38, 43, 48, 53})
ZERO_DOLLARS: Final = frozenset({24, 29, 34, 39, 44, 49, 54})
RETURNED: Final = frozenset({21, 26, 31, 36, 41, 46, 51, 56})
"""A return or a notification of change; which of the two, its addenda says."""
REVERSAL: Final = "REVERSAL"
"""Company entry description of a batch that undoes another. Source: Nacha Operating Rules, 2.9."""


class Remittance(Struct, frozen=True, tag="05", tag_field="type"):
    """Addenda 05: what the payment is about, up to 80 characters."""

    information: str


class Change(Struct, frozen=True, kw_only=True, tag="98", tag_field="type"):
    """Addenda 98: the receiver's bank asks for something to be changed. `corrected`: see `codes.corrected`."""

    code: str
    original_trace: str
    original_rdfi: str
    corrected: str


class Return(Struct, frozen=True, kw_only=True, tag="99", tag_field="type"):
    """Addenda 99: the entry comes back. `original_rdfi`: eight digits of the bank it had been for."""

    code: str
    original_trace: str
    original_rdfi: str
    information: str = ""
    died_on: date | None = None


Addenda = Remittance | Change | Return


class Entry(Struct, frozen=True, kw_only=True):
    """One movement on one account.

    Args:
        routing_number: Nine digits, of the bank the entry is for.
        amount: Cents; 0 for prenotes, zero-dollar entries and notifications of change.
        identification: At most 15 characters, the originator's own; returns carry it back.
        discretionary: Of WEB debits `S`, single, or `R`, recurring.
        trace: Fifteen digits, the first eight those of the batch's originating bank.
    """

    transaction_code: int
    routing_number: str
    account: str
    amount: int
    name: str
    trace: str
    identification: str = ""
    discretionary: str = ""
    addenda: tuple[Addenda, ...] = ()

    @property
    def is_credit(self) -> bool:
        return self.transaction_code in CREDITS


class Batch(Struct, frozen=True, kw_only=True):
    """Entries of one company, one class and one day. Its number is its place in the file.

    Args:
        entry_class: `PPD`, `CCD`, `WEB`, or `COR` of notifications of change.
        effective_on: The day the originator asks for; none in returns and notifications.
        settlement_day: Day of the year, set by the operator; none in what is sent.
        odfi: First eight digits of the originating bank's routing number.
    """

    entry_class: str
    company_name: str
    company_id: str
    description: str
    odfi: str
    entries: tuple[Entry, ...]
    effective_on: date | None = None
    settlement_day: int | None = None
    company_data: str = ""
    descriptive_date: str = ""

    @property
    def service_class(self) -> int:
        """200 mixed, 220 credits only, 225 debits only."""
        directions = {entry.is_credit for entry in self.entries}
        if directions == {True, False}:
            return MIXED
        return CREDITS_ONLY if directions == {True} else DEBITS_ONLY


class File(Struct, frozen=True, kw_only=True):
    """A file. `modifier`: A to Z or 0 to 9, tells files of one day apart; date and time: Eastern, to the minute."""

    destination: str
    origin: str
    created_on: date
    created_at: time
    batches: tuple[Batch, ...]
    modifier: str = "A"
    destination_name: str = ""
    origin_name: str = ""
    reference: str = ""


def file_of(reading: Reading) -> File:
    """What was read, as a value.

    Raises:
        ValueError: The file was not accepted, or has a class that is not written here.
    """
    if not reading.accepted or reading.header is None:
        raise ValueError("the file was not accepted")
    header = reading.header
    created = datetime.strptime(header.raw("created_on") + (header.stripped("created_at") or "0000"), "%y%m%d%H%M")  # noqa: DTZ007
    return File(
        destination=header.stripped("destination"),
        origin=header.stripped("origin"),
        created_on=created.date(),
        created_at=created.time(),
        batches=tuple(_batch(batch) for batch in reading.batches),
        modifier=header.raw("modifier"),
        destination_name=header.stripped("destination_name"),
        origin_name=header.stripped("origin_name"),
        reference=header.stripped("reference"),
    )


WRITTEN: Final = frozenset({"PPD", "CCD", "WEB", "COR"})


def _batch(batch: ReadBatch) -> Batch:
    if batch.is_iat or batch.entry_class not in WRITTEN:
        raise ValueError(f"{batch.entry_class} is not written here")
    header = batch.header
    return Batch(
        entry_class=batch.entry_class,
        company_name=header.stripped("company_name"),
        company_id=header.stripped("company_id"),
        description=header.stripped("description"),
        odfi=header.stripped("odfi"),
        entries=tuple(_entry(entry) for entry in batch.entries),
        effective_on=_day(header.raw("effective_on")),
        settlement_day=header.number("settlement_day") or None,
        company_data=header.stripped("company_data"),
        descriptive_date=header.stripped("descriptive_date"),
    )


def _entry(entry: ReadEntry) -> Entry:
    record = entry.record
    return Entry(
        transaction_code=record.number("transaction_code"),
        routing_number=record.raw("rdfi") + record.raw("check_digit"),
        account=record.stripped("account"),
        amount=record.number("amount"),
        name=record.stripped("name"),
        trace=record.raw("trace"),
        identification=record.stripped("identification"),
        discretionary=record.stripped("discretionary"),
        addenda=tuple(_addenda(entry)),
    )


def _addenda(entry: ReadEntry) -> Iterator[Addenda]:
    for record in entry.addenda:
        match record.raw("type"):
            case "05":
                yield Remittance(record.stripped("information"))
            case "98":
                yield Change(corrected=record.raw("corrected").rstrip(), **_of_original(record))
            case "99":
                died_on = _day(record.raw("died_on"))
                yield Return(information=record.stripped("information"), died_on=died_on, **_of_original(record))
            case other:
                raise ValueError(f"addenda {other} is not written here")


def _of_original(record: Record) -> dict[str, str]:
    return {name: record.stripped(name) for name in ("code", "original_trace", "original_rdfi")}


def _day(text: str) -> date | None:
    """`YYMMDD`; nothing for blanks, zeros, or what is no day."""
    try:
        return datetime.strptime(text, "%y%m%d").date()  # noqa: DTZ007
    except ValueError:
        return None
