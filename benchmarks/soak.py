"""A long run below the limit: memory, lag, latency and the size of what is kept must stay as they are.

The rate is 70 % of what is sustained, measured first; requests come when they are due, not when the last was answered.
"""

import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Final

import psycopg
from msgspec import Struct

from adapters.embedded_postgres import running
from benchmarks import daybook
from benchmarks.load import Job
from benchmarks.machine import machine, settings
from benchmarks.processes import Meter, database, rss_bytes, served

ACCOUNTS: Final = 1_000
CONNECTIONS: Final = 64
PACE: Final = 0.7
WARM_UP_S: Final = 10.0
DRIFT: Final = {
    "p50_ms": 1.5,
    "p99_ms": 2.0,
    "lag_ms": 2.0,
    "server_bytes": 1.3,
    "log_bytes": 1.2,
    "read_bytes": 1.2,
    "balances_bytes": 1.5,
}
"""What of a window is to be flat, and how many times as much the end may be as the beginning."""


class Window(Struct, frozen=True):
    """Some seconds of it, `minute` minutes after the start. Bytes of log and read models are per transfer.

    `balances_bytes` is the whole size of the table whose every row is changed all the time: what bloats, if any does.
    """

    minute: float
    per_second: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    failed: int
    lag_ms: float
    server_bytes: float
    log_bytes: float
    read_bytes: float
    balances_bytes: float


class Soaked(Struct, frozen=True):
    """The rate asked for, in transfers a second, and every window."""

    machine: dict[str, str]
    settings: dict[str, str]
    rate: float
    windows: list[Window]

    def drifts(self) -> dict[str, float]:
        """By name, the median of the last quarter over that of the second: the first is warming up."""
        quarter = max(len(self.windows) // 4, 1)
        early, late = self.windows[quarter : 2 * quarter] or self.windows[:1], self.windows[-quarter:]
        return {name: _of(late, name) / max(_of(early, name), 1e-9) for name in DRIFT}

    @property
    def is_flat(self) -> bool:
        """Whether nothing has grown and nothing has failed."""
        grew = any(times > DRIFT[name] for name, times in self.drifts().items())
        return not grew and not any(one.failed for one in self.windows)


def _of(windows: list[Window], name: str) -> float:
    found: float = median(getattr(one, name) for one in windows)
    return found


def run(*, minutes: float, window_s: float) -> Soaked:
    """Load a server of its own for so long."""
    with tempfile.TemporaryDirectory(prefix="daybook-soak-") as folder, running(Path(folder) / "home") as postgres:
        with database(postgres.superuser_dsn, postgres.dsn, "soaked") as dsn, served(dsn) as server:
            daybook.prepare(server, accounts=ACCOUNTS)
            meter = Meter(dsn, lambda: postgres.pid, server.pid)
            sustained = daybook.over_http(server, meter, Job(0, "transfer", CONNECTIONS, min(WARM_UP_S, window_s)))
            rate, began, windows = PACE * sustained.per_second, time.monotonic(), list[Window]()
            while (minute := (time.monotonic() - began) / 60) < minutes:
                found = daybook.over_http(
                    server, meter, Job(0, "transfer", CONNECTIONS, window_s, accounts=ACCOUNTS, rate=rate)
                )
                windows.append(
                    Window(
                        minute,
                        found.per_second,
                        found.p50_ms,
                        found.p95_ms,
                        found.p99_ms,
                        found.failed,
                        found.lag_ms or 0.0,
                        rss_bytes(server.pid),
                        found.log_bytes,
                        found.read_bytes,
                        _balances_bytes(dsn),
                    )
                )
                print(f"minute {minute:.1f}: {found.per_second:,.0f}/s, p99 {found.p99_ms:.1f} ms", file=sys.stderr)
            return Soaked(machine(), settings(postgres.superuser_dsn), rate, windows)


def _balances_bytes(dsn: str) -> int:
    with psycopg.connect(dsn) as connection:
        row = connection.execute("SELECT pg_total_relation_size('daybook_read.balances')").fetchone()
        assert row is not None
        return int(row[0])
