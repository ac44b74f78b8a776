"""The file of rows that were not booked: which, and why."""

import csv
from pathlib import Path
from typing import Final, TextIO

HEADER: Final = ["file", "line", "code", "reason", "row"]


class Rejects:
    """Written as the rows come; no rejected row, no file.

    A file left by an earlier import is replaced, so that what is in it is always about the last one.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.count = 0
        self._file: TextIO | None = None

    def add(self, file: Path, line: int, code: str, reason: str, row: str) -> None:
        if self._file is None:
            self._file = self.path.open("w", encoding="utf-8", newline="")
            csv.writer(self._file).writerow(HEADER)
        csv.writer(self._file).writerow([file.name, line, code, reason, row])
        self.count += 1

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
        elif self._is_ours():
            self.path.unlink()

    def _is_ours(self) -> bool:
        """Whether an earlier import left this file."""
        if not self.path.is_file():
            return False
        with self.path.open("rb") as file:
            return file.readline().strip() == ",".join(HEADER).encode()
