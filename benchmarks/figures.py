"""What is measured, in numbers: one run of a load, what it cost, and the medians over rounds."""

from collections.abc import Sequence
from statistics import median

from msgspec import Struct


class Ran(Struct, frozen=True):
    """What a load came to: things done in that many seconds, latencies of its requests in milliseconds.

    `cpu_s` is the processor time, in seconds, of the process that made the load, from its first request to the last.
    """

    done: int
    seconds: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    failed: int
    cpu_s: float


class Cost(Struct, frozen=True):
    """Processor time in seconds, and bytes on disk, both up to now; `rail_s` where there are rails."""

    server_s: float
    postgres_s: float
    log_bytes: int
    read_bytes: int
    rail_s: float | None = None


class Figures(Struct, frozen=True):
    """One row of the table. Bytes are per thing done, CPU seconds per 10,000 of them.

    `lag_ms` is the 99th percentile of how old the first event not in the read models was; None for who has none. Time
    until they were current again is counted in. `rail_cpu_s` is the simulated rails'; None where none is asked.
    """

    per_second: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    failed: int
    client_cpu_s: float
    server_cpu_s: float
    postgres_cpu_s: float
    log_bytes: float
    read_bytes: float
    lag_ms: float | None = None
    rail_cpu_s: float | None = None


class Skipped(Struct, frozen=True):
    """What could not be measured here, and why."""

    reason: str


def percentile(ordered: Sequence[float], share: float) -> float:
    """The value below which that share lies; 0 of nothing."""
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)] if ordered else 0.0


def ran(latencies_s: Sequence[float], *, done: int, seconds: float, failed: int, cpu_s: float) -> Ran:
    """Sum up the latencies, in seconds, of the requests that succeeded."""
    ordered = sorted(latencies_s)
    p50, p95, p99 = (1000 * percentile(ordered, share) for share in (0.5, 0.95, 0.99))
    return Ran(done, seconds, p50, p95, p99, failed, cpu_s)


def figures(load: Ran, before: Cost, after: Cost, *, seconds: float, lags_s: Sequence[float] = ()) -> Figures:
    """What the load came to and what it cost, over all of `seconds`."""
    done = max(load.done, 1)
    return Figures(
        load.done / seconds,
        load.p50_ms,
        load.p95_ms,
        load.p99_ms,
        load.failed,
        load.cpu_s * 10_000 / done,
        (after.server_s - before.server_s) * 10_000 / done,
        (after.postgres_s - before.postgres_s) * 10_000 / done,
        (after.log_bytes - before.log_bytes) / done,
        (after.read_bytes - before.read_bytes) / done,
        1000 * percentile(sorted(lags_s), 0.99) if lags_s else None,
        None if after.rail_s is None else (after.rail_s - (before.rail_s or 0)) * 10_000 / done,
    )


def middle(rounds: Sequence[Figures]) -> Figures:
    """The median of each figure; failures are added up."""

    def of(name: str) -> float:
        found: float = median(getattr(one, name) for one in rounds)
        return found

    def of_known(name: str) -> float | None:
        known = [getattr(one, name) for one in rounds if getattr(one, name) is not None]
        return median(known) if known else None

    return Figures(
        of("per_second"),
        of("p50_ms"),
        of("p95_ms"),
        of("p99_ms"),
        sum(one.failed for one in rounds),
        of("client_cpu_s"),
        of("server_cpu_s"),
        of("postgres_cpu_s"),
        of("log_bytes"),
        of("read_bytes"),
        of_known("lag_ms"),
        of_known("rail_cpu_s"),
    )
