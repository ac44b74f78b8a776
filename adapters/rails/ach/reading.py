"""Nacha files as they come: every record that can be made out, and everything that is wrong, never an exception.

A file is rejected for what banks and the widely used validator reject it for. What else the rules forbid is reported as
a finding that rejects nothing, since the files of banks break them now and then.
"""

from collections.abc import Callable, Iterator
from typing import Final

from adapters.rails.ach import layout as at
from adapters.rails.ach.records import Finding, ReadBatch, ReadEntry, Reading, Record
from adapters.rails.ach.rules import (
    COUNTED,
    of_addenda,
    of_batch,
    of_batch_header,
    of_control,
    of_entry,
    of_file,
    of_file_header,
)

ADV: Final = "ADV"
MOST_FINDINGS: Final = 1_000
"""After so many a file is not worth more words."""


def read(data: bytes) -> Reading:
    """Read a file. Anything at all may be given to it."""
    reader = _Reader()
    for line, text in _lines(data.decode("utf-8", errors="replace"), reader.found):
        if len(reader.reading.findings) < MOST_FINDINGS:
            reader.take(line, text)
    return reader.finish()


def _lines(text: str, found: Callable[..., None]) -> Iterator[tuple[int, str]]:
    """Records with their line numbers. A file without line ends is records of 94 characters one after the other."""
    lines = text.split("\n")
    first = lines[0].rstrip("\r")
    if len(first) > at.RECORD_LENGTH:
        over = len(first) % at.RECORD_LENGTH
        if over:
            found("record_length", 1, f"{over} characters more than whole records of {at.RECORD_LENGTH}")
        for start in range(0, len(first) - over, at.RECORD_LENGTH):
            yield 1, first[start : start + at.RECORD_LENGTH]
        lines[0] = ""
    for line, each in enumerate(lines, 1):
        stripped = each.rstrip("\r")
        if stripped.strip():
            yield line, stripped


class _Reader:
    """The place in the file: which batch and which entry the next record belongs to."""

    def __init__(self) -> None:
        self.reading = Reading()
        self.batch: ReadBatch | None = None
        self.entry: ReadEntry | None = None
        self.seen: set[str] = set()

    def found(self, code: str, line: int, what: str, *, rejects: bool = True) -> None:
        self.reading.findings.append(Finding(code, line, what, rejects))

    def take(self, line: int, text: str) -> None:
        self.reading.line_count += 1
        if len(text) != at.RECORD_LENGTH:
            what = f"{len(text)} characters, not {at.RECORD_LENGTH}"
            self.found("record_length", line, what, rejects=False)
        full = text[: at.RECORD_LENGTH].ljust(at.RECORD_LENGTH)
        if full[:2] == "99":
            return  # Padding; whether it is all nines is counted with the blocks.
        takers = {"1": self._file_header, "5": self._batch_header, "6": self._entry, "7": self._addenda}
        takers |= {"8": self._batch_control, "9": self._file_control}
        taker = takers.get(full[0])
        if taker is None:
            self.found("record_type", line, f"{full[0]!r} is not the first character of a record")
            return
        if self.reading.control is not None:
            self.found("after_file_control", line, "a record after the file control")
        taker(line, full)
        self.seen.add(full[0])

    def finish(self) -> Reading:
        if self.batch is not None:
            self.found("batch_open", self.batch.header.line, "a batch without its control")
            self._close()
        self.reading.findings.extend(of_file(self.reading))
        return self.reading

    def _file_header(self, line: int, text: str) -> None:
        if self.reading.header is not None:
            self.found("file_headers", line, "more than one file header")
            return
        if self.seen:
            self.found("file_headers", line, "the file header is not the first record")
        self.reading.header = Record(line, "1", at.FILE_HEADER, text)
        self.reading.findings.extend(of_file_header(self.reading.header))

    def _batch_header(self, line: int, text: str) -> None:
        if self.batch is not None:
            self.found("batch_open", line, "a batch header within a batch")
            self._close()
        iat = text[50:53] == "IAT" or text[4:20].strip() == "IATCOR"
        header = Record(line, "5", at.IAT_BATCH_HEADER if iat else at.BATCH_HEADER, text)
        self.batch, self.entry = ReadBatch(header), None
        self.reading.findings.extend(of_batch_header(header))

    def _entry(self, line: int, text: str) -> None:
        if self.batch is None:
            self.found("outside_batch", line, "an entry outside of a batch")
            return
        record = Record(line, "6", _entry_layout(self.batch), text)
        self.entry = ReadEntry(record)
        self.batch.entries.append(self.entry)
        self.reading.findings.extend(of_entry(record, self.batch))

    def _addenda(self, line: int, text: str) -> None:
        if self.batch is None or self.entry is None:
            self.found("outside_entry", line, "an addenda without an entry")
            return
        record = Record(line, "7", at.ADDENDA.get(text[1:3], {"type": (2, 3)}), text)
        self.entry.addenda.append(record)
        self.reading.findings.extend(of_addenda(record, self.entry, self.batch))

    def _batch_control(self, line: int, text: str) -> None:
        if self.batch is None:
            self.found("outside_batch", line, "a batch control outside of a batch")
            return
        layout = at.ADV_BATCH_CONTROL if self.batch.entry_class == ADV else at.BATCH_CONTROL
        self.batch.control = Record(line, "8", layout, text)
        self.reading.findings.extend(of_control(self.batch.control))
        self.reading.findings.extend(of_batch(self.batch))
        self._close()

    def _file_control(self, line: int, text: str) -> None:
        if self.reading.control is not None:
            self.found("file_controls", line, "more than one file control")
            return
        adv = any(batch.entry_class == ADV for batch in self.reading.batches)
        self.reading.control = Record(line, "9", at.ADV_FILE_CONTROL if adv else at.FILE_CONTROL, text)
        self.reading.findings.extend(of_control(self.reading.control))

    def _close(self) -> None:
        assert self.batch is not None
        self.reading.batches.append(self.batch)
        self.batch = self.entry = None


def _entry_layout(batch: ReadBatch) -> at.Layout:
    if batch.is_iat:
        return at.IAT_ENTRY
    if batch.entry_class == ADV:
        return at.ADV_ENTRY
    if batch.entry_class == "SHR":
        return at.SHARED_NETWORK_ENTRY
    return at.COUNTED_ENTRY if batch.entry_class in COUNTED else at.ENTRY
