"""Instructions as entries of Nacha files, and days' files as answers: pure, so that the same is always the same bytes.

What names an entry for ever is its identification, 15 characters of the entry record that returns carry back. A request
id has 22, so the identification is the start of its SHA-256 in base 32: capital letters and digits alone, which no bank
folds, 75 bits, so that among a thousand million entries two alike are less likely than one in seventy thousand. The
request id itself goes along in the addenda, for whoever holds the file.
"""

import hashlib
import unicodedata
from base64 import b32encode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, timedelta
from typing import Final

from msgspec import Struct

from adapters.rails.ach.codes import RETURNS, Kind, corrected
from adapters.rails.ach.files import REVERSAL, Batch, Change, Entry, File, Remittance, Return, file_of
from adapters.rails.ach.reading import read
from adapters.rails.ach.records import Finding
from adapters.rails.ach.routing_numbers import is_routing_number
from adapters.rails.ach.writing import Unwritable, write
from domain import calendar
from domain.rail import Answer, Approved, BankAccount, Instruction, Operation

CURRENCY: Final = "USD"
AMOUNT_MAX: Final = 10**10 - 1
"""Cents: ten digits."""
IDENTIFICATION_LENGTH: Final = 15
SEQUENCES: Final = 9_000_000
"""Sequence numbers are drawn below this; above is room for those that had to move on."""

PURPOSES: Final[Mapping[Operation, str]] = {
    Operation.COLLECT: "PURCHASE",
    Operation.REFUND: "REFUND",
    Operation.PAYOUT: "PAYOUT",
    Operation.REVERSE: REVERSAL,
}
"""Company entry descriptions. Source: Nacha, standard descriptions PURCHASE (of WEB debits, from 20 March 2026) and
REVERSAL; the others are the company's own."""


class Originator(Struct, frozen=True, kw_only=True):
    """A bank that sends entries for us, and who we are to it.

    Args:
        route: Its name in instructions.
        url: Where it takes files, such as `https://bank.example/ach`.
        routing_number: Of the bank, the ODFI. `operator`: of the ACH operator it sends to.
        company_name: What stands on statements where an instruction has no descriptor.
        company_id: Ten characters, as agreed with the bank.
        same_day: Entries go by the next window there is; else by that of the next day.
        reports: Where the files of its days are, see `adapters.rails.reports`; empty where there are none.

    Raises:
        ValueError: One of the routing numbers is none.
    """

    route: str
    url: str
    routing_number: str
    operator: str
    company_name: str
    company_id: str
    bank_name: str = ""
    operator_name: str = ""
    same_day: bool = True
    reports: str = ""

    def __post_init__(self) -> None:
        for number in (self.routing_number, self.operator):
            if not is_routing_number(number):
                raise ValueError(f"{number!r} is no routing number")

    @property
    def odfi(self) -> str:
        return self.routing_number[:8]


class Outgoing(Struct, frozen=True):
    """A file to be sent: all of one window, or of it what there is so far. Its name says what is in it."""

    name: str
    data: bytes
    request_ids: tuple[str, ...]


class Reference(Struct, frozen=True, kw_only=True):
    """What the rail calls an entry: enough to undo it later. As text `20261124D-` and the identification.

    `effective_on`: the day it was to settle, which never changes; the operator may have settled it on a later one.
    """

    effective_on: date
    credit: bool
    identification: str

    def __str__(self) -> str:
        return f"{self.effective_on:%Y%m%d}{'C' if self.credit else 'D'}-{self.identification}"


class Said(Struct, frozen=True, kw_only=True):
    """What a day's file says of one of our entries. `trace`: of the entry that was sent."""

    identification: str
    trace: str
    answer: Answer


class ChangeAsked(Struct, frozen=True, kw_only=True):
    """What is to be changed before the next entry. `fields`: those of `codes.CHANGES`."""

    identification: str
    trace: str
    code: str
    fields: Mapping[str, str]


class DayRejected(Exception):
    """A day's file that cannot be trusted, and why."""

    def __init__(self, findings: Sequence[Finding]) -> None:
        super().__init__("; ".join(f"line {finding.line}: {finding.what}" for finding in findings[:3]))
        self.findings = findings


def identification(request_id: str) -> str:
    """The 15 characters by which a bank, and its returns, know a request."""
    return b32encode(hashlib.sha256(request_id.encode()).digest()).decode()[:IDENTIFICATION_LENGTH]


def reference(text: str) -> Reference:
    """A reference out of its text.

    Raises:
        ValueError: It is none of ours.
    """
    day, direction, name = text[:8], text[8:9], text[10:]
    if direction not in ("C", "D") or text[9:10] != "-" or len(name) != IDENTIFICATION_LENGTH:
        raise ValueError(f"{text!r} is no reference of an ACH entry")
    effective_on = date(int(day[:4]), int(day[4:6]), int(day[6:]))
    return Reference(effective_on=effective_on, credit=direction == "C", identification=name)


def delivery_of(instruction: Instruction, originator: Originator) -> calendar.Delivery:
    """The window an instruction goes out with: decided by when it was decided, never by a clock."""
    return calendar.delivery(instruction.sent_at, amount=instruction.amount, same_day=originator.same_day)


def reference_of(instruction: Instruction, originator: Originator) -> Reference:
    """What it will be called.

    Raises:
        Unwritable: It is upon something whose reference is none.
    """
    return Reference(
        effective_on=delivery_of(instruction, originator).effective_on,
        credit=is_credit(instruction),
        identification=identification(instruction.request_id),
    )


def is_credit(instruction: Instruction) -> bool:
    """Whether money goes to the account. A reversal goes the other way than what it undoes."""
    match instruction.operation:
        case Operation.COLLECT:
            return False
        case Operation.REFUND | Operation.PAYOUT:
            return True
        case Operation.REVERSE:
            return not _undone(instruction).credit
        case other:
            raise Unwritable("operation", f"the ACH knows no {other}")


def check(instruction: Instruction, originator: Originator) -> None:
    """That it can be asked of the ACH at all; what is left is for the writer to find.

    Raises:
        Unwritable: Why not.
    """
    if instruction.currency != CURRENCY:
        raise Unwritable("currency", f"the ACH moves {CURRENCY} alone")
    if not 1 <= instruction.amount <= AMOUNT_MAX:
        raise Unwritable("amount", f"an entry is for 1 to {AMOUNT_MAX} cents")
    if instruction.operation is Operation.REVERSE:
        settles_on = delivery_of(instruction, originator).settles_on
        days = calendar.business_days_between(_undone(instruction).effective_on, settles_on)
        if days > calendar.REVERSAL_DAYS:
            raise Unwritable("too_late", f"{days} banking days after settlement; {calendar.REVERSAL_DAYS} are allowed")
    is_credit(instruction)


def outgoing(instructions: Iterable[Instruction], originator: Originator) -> list[Outgoing]:
    """The files in which these go out, one for each window, in the order in which the windows close.

    Raises:
        Unwritable: One of them cannot be written; asked alone, it names itself.
    """
    windows: dict[str, tuple[calendar.Delivery, list[Instruction]]] = {}
    for instruction in instructions:
        check(instruction, originator)
        delivery = delivery_of(instruction, originator)
        windows.setdefault(delivery.name, (delivery, []))[1].append(instruction)
    in_order = sorted(windows.values(), key=lambda window: window[0].closes_at)
    return [_outgoing(delivery, within, originator) for delivery, within in in_order]


def read_day(data: bytes) -> list[Said]:
    """What a day's file says of our entries, in its order: settled, or returned, which may come after that.

    Raises:
        DayRejected: The file does not add up, or is none.
    """
    said = []
    for file, batch, entry in _entries(data):
        match entry.addenda:
            case (Return(code=code, original_trace=trace),):
                if RETURNS[code].kind is Kind.RETURN:
                    answer: Answer = RETURNS[code].declined()
                    said.append(Said(identification=entry.identification, trace=trace, answer=answer))
            case (Change(),):
                pass  # Not about what became of the entry.
            case _:
                answer = _settled(file, batch, entry)
                said.append(Said(identification=entry.identification, trace=entry.trace, answer=answer))
    return said


def changes_asked(data: bytes) -> list[ChangeAsked]:
    """The notifications of change in a day's file.

    Raises:
        DayRejected: As `read_day`.
    """
    return [
        ChangeAsked(
            identification=entry.identification,
            trace=addenda.original_trace,
            code=addenda.code,
            fields=corrected(addenda.code, addenda.corrected),
        )
        for _, _, entry in _entries(data)
        for addenda in entry.addenda
        if isinstance(addenda, Change)
    ]


def fit(text: str, width: int) -> str:
    """As much of a text as a field holds, in the characters that it takes; accents are taken off."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return "".join(character for character in plain if " " <= character <= "~")[:width].strip()


def _undone(instruction: Instruction) -> Reference:
    try:
        return reference(instruction.original)
    except ValueError as error:
        raise Unwritable("original", str(error)) from error


def _outgoing(delivery: calendar.Delivery, instructions: Sequence[Instruction], originator: Originator) -> Outgoing:
    ordered = sorted(instructions, key=lambda each: (_drawn(each.request_id), each.request_id))
    request_ids = tuple(each.request_id for each in ordered)
    assert len(set(request_ids)) == len(ordered), "a request once"
    # A file of one bears that one's name, so that whoever asks for it alone finds it.
    name = identification(request_ids[0] if len(ordered) == 1 else " ".join(sorted(request_ids)))
    batches: dict[tuple[str, str, str], list[Entry]] = {}
    for instruction, sequence in zip(ordered, _sequences(request_ids), strict=True):
        entry, batch = _entry(instruction, f"{originator.odfi}{sequence:07}"), _batch_of(instruction, originator)
        batches.setdefault(batch, []).append(entry)
    created = max(each.sent_at for each in ordered).astimezone(calendar.EASTERN)
    file = File(
        destination=originator.operator,
        origin=originator.routing_number,
        created_on=created.date(),
        created_at=created.time().replace(second=0, microsecond=0, tzinfo=None),
        modifier=name[0],
        destination_name=fit(originator.operator_name, 23),
        origin_name=fit(originator.bank_name, 23),
        reference=name[:8],
        batches=tuple(
            Batch(
                entry_class=entry_class,
                company_name=company_name,
                company_id=originator.company_id,
                description=description,
                odfi=originator.odfi,
                entries=tuple(entries),
                effective_on=delivery.effective_on,
            )
            for (entry_class, company_name, description), entries in sorted(batches.items())
        ),
    )
    return Outgoing(f"{delivery.name}-{name}", write(file), request_ids)


def _batch_of(instruction: Instruction, originator: Originator) -> tuple[str, str, str]:
    """Class, company name and description: what all entries of a batch share."""
    company_name = fit(instruction.descriptor, 16) or fit(originator.company_name, 16)
    return _class_of(instruction), company_name, PURPOSES[instruction.operation]


def _class_of(instruction: Instruction) -> str:
    """CCD with companies. Of consumers, what was agreed on the internet is WEB and is a debit; all else is PPD.

    A reversal is of the class of what it undoes.
    """
    if _account(instruction).company:
        return "CCD"
    undoes_debit = instruction.operation is Operation.REVERSE and is_credit(instruction)
    return "WEB" if undoes_debit or instruction.operation is Operation.COLLECT else "PPD"


def _entry(instruction: Instruction, trace: str) -> Entry:
    account, credit = _account(instruction), is_credit(instruction)
    return Entry(
        transaction_code=(30 if account.savings else 20) + (2 if credit else 7),
        routing_number=account.routing_number,
        account=account.account_number,
        amount=instruction.amount,
        name=fit(account.holder, 22),
        trace=trace,
        identification=identification(instruction.request_id),
        discretionary="S" if _class_of(instruction) == "WEB" else "",
        addenda=(Remittance(instruction.request_id),),
    )


def _account(instruction: Instruction) -> BankAccount:
    assert isinstance(instruction.method, BankAccount), instruction.method
    return instruction.method


def _drawn(request_id: str) -> int:
    """A number of its own for a request, so that files of one day seldom share trace numbers."""
    return int.from_bytes(hashlib.sha256(request_id.encode()).digest()[-8:], "big") % SEQUENCES + 1


def _sequences(request_ids: Iterable[str]) -> Iterator[int]:
    """Ascending, each its own or, where that is taken, the next. `request_ids`: by what is drawn for them."""
    last = 0
    for request_id in request_ids:
        last = max(last + 1, _drawn(request_id))
        yield last


def _entries(data: bytes) -> Iterator[tuple[File, Batch, Entry]]:
    if not data:
        return  # A day without anything: no Nacha file can say so.
    reading = read(data)
    try:
        file = file_of(reading)
    except ValueError as error:
        findings = [finding for finding in reading.findings if finding.rejects]
        raise DayRejected(findings or [Finding("unknown", 0, str(error))]) from error
    for batch in file.batches:
        for entry in batch.entries:
            yield file, batch, entry


def _settled(file: File, batch: Batch, entry: Entry) -> Approved:
    settles_on = _day_of(batch.settlement_day, file.created_on)
    named = Reference(
        effective_on=batch.effective_on or settles_on, credit=entry.is_credit, identification=entry.identification
    )
    return Approved(
        reference=str(named),
        amount=entry.amount,
        currency=CURRENCY,
        code="settled",
        settles_on=settles_on.isoformat(),
    )


def _day_of(day_of_year: int | None, near: date) -> date:
    """The day of this number, of the year in which it is nearest to the day the file was made."""
    number = day_of_year or near.timetuple().tm_yday
    candidates = [date(year, 1, 1) + timedelta(days=number - 1) for year in (near.year - 1, near.year, near.year + 1)]
    return min(candidates, key=lambda day: abs(day - near))
