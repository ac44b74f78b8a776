"""What was read, as it was read: records in their places, and what was found wrong with them."""

import re
from collections.abc import Iterator
from typing import Final

from msgspec import Struct, field

from adapters.rails.ach.layout import Layout

NUMBER: Final = re.compile(r"[+-]?[0-9]{1,94}")
CREDITS: Final = frozenset(code for tens in (20, 30, 40, 50) for code in range(tens + 1, tens + 5)) | {81, 83, 85, 87}
DEBITS: Final = frozenset(code for tens in (20, 30, 40) for code in range(tens + 6, tens + 10)) | {
    55, 56, 82, 84, 86, 88,
}  # fmt: skip
TRANSACTION_CODES: Final = CREDITS | DEBITS
"""First digit: 2 demand, 3 savings, 4 general ledger, 5 loan, 8 accounting; second: 1 and 6 return or notification of
change, 2 and 7 live, 3 and 8 prenote, 4 and 9 zero dollars. Source: Nacha, Appendix Three, Transaction Code."""


class Finding(Struct, frozen=True):
    """Something wrong. `code`: stable; `line`: from 1, 0 for the file as a whole; `rejects`: the file is not taken."""

    code: str
    line: int
    what: str
    rejects: bool = True


class Record(Struct, frozen=True):
    """One record: at least 94 characters, cut by its layout. `kind`: its first character."""

    line: int
    kind: str
    layout: Layout
    text: str

    def raw(self, name: str) -> str:
        """The field as it stands, blanks and all; empty where this record has no such field."""
        first, last = self.layout.get(name, (1, 0))
        return self.text[first - 1 : last]

    def stripped(self, name: str) -> str:
        return self.raw(name).strip()

    def number(self, name: str) -> int:
        """The field as a number; 0 where it is none, as readers of these files have it."""
        return number(self.raw(name))


class ReadEntry(Struct):
    record: Record
    addenda: list[Record] = field(default_factory=list)

    @property
    def lines(self) -> int:
        return 1 + len(self.addenda)

    def of_type(self, *types: str) -> list[Record]:
        return [record for record in self.addenda if record.raw("type") in types]

    @property
    def category(self) -> str:
        """`return`, `change` or `forward`, by the addenda."""
        if self.of_type("99"):
            return "return"
        return "change" if self.of_type("98") else "forward"


class ReadBatch(Struct):
    header: Record
    entries: list[ReadEntry] = field(default_factory=list)
    control: Record | None = None

    @property
    def entry_class(self) -> str:
        return self.header.raw("entry_class")

    @property
    def is_iat(self) -> bool:
        return "iat_indicator" in self.header.layout

    @property
    def lines(self) -> int:
        """Entries and addenda, as controls count them."""
        return sum(entry.lines for entry in self.entries)

    @property
    def entry_hash(self) -> int:
        """The last ten digits of the sum of the first eight of each receiving bank's routing number."""
        return sum(entry.record.number("rdfi") for entry in self.entries) % 10**10

    def total(self, codes: frozenset[int]) -> int:
        """Cents of the entries with these transaction codes."""
        records = (entry.record for entry in self.entries)
        return sum(record.number("amount") for record in records if record.number("transaction_code") in codes)


class Reading(Struct):
    """A file that was read, whatever it was."""

    header: Record | None = None
    batches: list[ReadBatch] = field(default_factory=list)
    control: Record | None = None
    findings: list[Finding] = field(default_factory=list)
    line_count: int = 0

    @property
    def accepted(self) -> bool:
        return not any(finding.rejects for finding in self.findings)

    def entries(self) -> Iterator[tuple[ReadBatch, ReadEntry]]:
        for batch in self.batches:
            for entry in batch.entries:
                yield batch, entry


def number(text: str) -> int:
    """Digits with blanks about them, perhaps a sign; 0 for anything else. Other scripts' digits are no digits."""
    stripped = text.strip()
    return int(stripped) if NUMBER.fullmatch(stripped) else 0
