"""What was measured, for people (tables, charts) and for programs (JSON)."""

import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import msgspec
from rich.console import Console
from rich.table import Table

from benchmarks.budgets import Verdict, verdicts
from benchmarks.figures import Figures, Skipped
from benchmarks.growth import MEASURED, Grown, Standing
from benchmarks.soak import DRIFT, Soaked, Window
from benchmarks.suite import BALANCE, EMPTY, Results

WIDTH: Final = 170
_COLUMNS: Final = (
    *("per second", "ratio", "p50 ms", "p95 ms", "p99 ms", "failed"),
    *("client", "server", "Postgres", "rails", "log", "read models", "lag ms"),
)
_NOTE: Final = (
    "ratio: to the hand-written SQL of 32 clients (1 client to 1; hot to hot; reads to /livez; paced to saturated). "
    "client, server, Postgres, rails: CPU seconds per 10,000; a client has what runs in the caller's process. "
    "log, read models: bytes on disk for each. lag: of the read models, p99; until they are current counts as time. "
    "Payments are held against the simulated rails' own books after each row."
)


def show(results: Results, standings: Sequence[Standing], out: Path) -> None:
    """Print the tables; write them, JSON and a chart into the folder."""
    out.mkdir(parents=True, exist_ok=True)
    judged = verdicts(results, standings)
    _print([*_about(results.machine, results.settings), _peers(results), _NOTE, _budgets(judged)], out / "bench.txt")
    _write(out / "bench.json", {"at": datetime.now(UTC), "results": results, "budgets": judged})
    _chart(out / "bench", lambda plt: _draw_peers(plt, results))


def show_growth(grown: Grown, out: Path) -> None:
    """As `show`, for figures by size."""
    out.mkdir(parents=True, exist_ok=True)
    _print([*_about(grown.machine, grown.settings), _sizes(grown.standings)], out / "growth.txt")
    _write(out / "growth.json", {"at": datetime.now(UTC), "grown": grown})
    _chart(out / "growth", lambda plt: _draw_growth(plt, grown.standings))


def show_soak(soaked: Soaked, out: Path) -> None:
    """As `show`, for what is to be flat over time."""
    out.mkdir(parents=True, exist_ok=True)
    _print([*_about(soaked.machine, soaked.settings), _windows(soaked), _drifts(soaked)], out / "soak.txt")
    _write(out / "soak.json", {"at": datetime.now(UTC), "soaked": soaked})
    _chart(out / "soak", lambda plt: _draw_soak(plt, soaked))


def known_growth(out: Path) -> list[Standing]:
    """What an earlier run wrote into the folder."""
    found = out / "growth.json"
    if not found.exists():
        return []
    return msgspec.convert(msgspec.json.decode(found.read_bytes())["grown"], Grown).standings


def _write(path: Path, what: Any) -> None:
    path.write_bytes(msgspec.json.format(msgspec.json.encode(what), indent=1) + b"\n")


def _print(parts: Iterable[Any], path: Path) -> None:
    with path.open("w", encoding="utf-8") as file:
        for console in (Console(width=WIDTH), Console(file=file, width=WIDTH)):
            for part in parts:
                console.print(part, highlight=False)


def _about(machine: Mapping[str, str], settings: Mapping[str, str]) -> list[str]:
    return [_listed("Machine", machine), _listed("Postgres", settings)]


def _listed(title: str, of: Mapping[str, str]) -> str:
    return f"{title}: " + ", ".join(f"{name} {value}" for name, value in of.items())


def _peers(results: Results) -> Table:
    title = f"Transfers and payments: medians of {results.rounds} rounds of {results.seconds:g} s each, in turn"
    table = Table(title=title, title_justify="left")
    table.add_column("what")
    for heading in _COLUMNS:
        table.add_column(heading, justify="right")
    for name, found in results.found.items():
        match found:
            case Skipped(reason=reason):
                table.add_row(f"{name}: not measured: {reason}")
            case Figures():
                table.add_row(name, *_row(results, name, found))
    return table


def _row(results: Results, name: str, found: Figures) -> Iterable[str]:
    base = results.found.get(results.against.get(name) or "")
    yield f"{found.per_second:,.0f}"
    yield f"{found.per_second / base.per_second:.2f}x" if isinstance(base, Figures) else ""
    yield from (f"{ms:,.2f}" for ms in (found.p50_ms, found.p95_ms, found.p99_ms))
    yield f"{found.failed:,}"
    yield from (f"{s:.2f}" for s in (found.client_cpu_s, found.server_cpu_s, found.postgres_cpu_s))
    yield "" if found.rail_cpu_s is None else f"{found.rail_cpu_s:.2f}"
    yield from (f"{size:,.0f}" for size in (found.log_bytes, found.read_bytes))
    yield "" if found.lag_ms is None else f"{found.lag_ms:,.0f}"


def _budgets(judged: Sequence[Verdict]) -> Table:
    table = Table(title="Budgets", title_justify="left")
    table.add_column("what")
    for heading in ("measured", "budget", "result"):
        table.add_column(heading, justify="right")
    for one in judged:
        table.add_row(one.what, _number(one.measured, one.unit), _bound(one), _result(one))
    return table


def _bound(one: Verdict) -> str:
    return f"{'at least' if one.at_least else 'at most'} {_number(one.bound, one.unit)}"


def _number(value: float | None, unit: str) -> str:
    if value is None:
        return "-"
    shown = f"{value:,.0f}" if abs(value) >= 1_000 else f"{value:,.3g}"
    return f"{shown}{unit if unit in ('x', '/s') else f' {unit}'}"


def _result(one: Verdict) -> str:
    if one.margin is None:
        return "not measured"
    return f"met, by {one.margin:.2f}" if one.met else f"MISSED, at {one.margin:.2f} of it"


def _sizes(standings: Sequence[Standing]) -> Table:
    table = Table(title="The same figures as the log grows", title_justify="left")
    table.add_column("entries")
    for one in standings:
        table.add_column(f"{one.entries:,}", justify="right")
    for measured in MEASURED:
        values = [one.figures.get(measured.key) for one in standings]
        table.add_row(f"{measured.label}, {_UNITS[measured.kind]}", *(_plain(value) for value in values))
    return table


def _windows(soaked: Soaked) -> Table:
    table = Table(title=f"At {soaked.rate:,.0f} transfers a second", title_justify="left")
    for name in Window.__struct_fields__:
        table.add_column(name, justify="right")
    for one in soaked.windows:
        table.add_row(*(_plain(getattr(one, name)) for name in Window.__struct_fields__))
    return table


def _drifts(soaked: Soaked) -> Table:
    table = Table(title="The last quarter to the second", title_justify="left")
    for name in ("what", "times", "at most", "result"):
        table.add_column(name, justify="right")
    for name, times in soaked.drifts().items():
        table.add_row(name, f"{times:.2f}", f"{DRIFT[name]:.2f}", "flat" if times <= DRIFT[name] else "GROWS")
    return table


_UNITS: Final = {"rate": "1/s", "ms": "ms", "bytes": "bytes"}


def _plain(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}" if value >= 100 else f"{value:,.2f}"


def _chart(path: Path, draw: Any) -> None:
    """As SVG and PNG, if matplotlib is there."""
    try:
        import matplotlib

        matplotlib.use("svg")
        import matplotlib.pyplot as plt
    except ImportError:
        print("no chart: matplotlib is not installed (make bench does it)", file=sys.stderr)
        return
    plt.rcParams.update({"svg.hashsalt": "daybook", "font.size": 9, "axes.grid": True, "grid.alpha": 0.3})
    figure = draw(plt)
    for kind in ("svg", "png"):
        figure.savefig(path.with_suffix(f".{kind}"), bbox_inches="tight", dpi=130)
    plt.close(figure)


def _draw_peers(plt: Any, results: Results) -> Any:
    """Bars: how many transfers or payments a second."""
    every = [(name, found) for name, found in results.found.items() if isinstance(found, Figures)]
    rows = [row for row in every if row[0] not in (BALANCE, EMPTY)][::-1]
    figure, axes = plt.subplots(figsize=(9, 0.32 * len(rows) + 1.2))
    colors = ["tab:blue" if name.startswith("Daybook") else "tab:gray" for name, _ in rows]
    bars = axes.barh([name for name, _ in rows], [found.per_second for _, found in rows], color=colors)
    axes.bar_label(bars, [f"{found.per_second:,.0f}" for _, found in rows], padding=3)
    axes.set_xscale("log")
    durable = ", ".join(f"{name} {results.settings[name]}" for name in ("fsync", "synchronous_commit"))
    axes.set_xlabel(
        f"transfers or payments a second, log scale; {results.machine['CPUs']} CPUs shared by all; {durable}"
    )
    axes.set_xlim(left=50, right=3 * max((found.per_second for _, found in rows), default=100))
    return figure


def _draw_growth(plt: Any, standings: Sequence[Standing]) -> Any:
    """Three panels over the number of entries, both axes logarithmic: rates, times, bytes."""
    figure, panels = plt.subplots(1, 3, figsize=(17, 6))
    for axes, (kind, unit) in zip(panels, _UNITS.items(), strict=True):
        for number, measured in enumerate(one for one in MEASURED if one.kind == kind):
            points = [(one.entries, one.figures[measured.key]) for one in standings if measured.key in one.figures]
            if points:
                style = "-" if number < 10 else "--"
                axes.plot(*zip(*points, strict=True), marker="o", linestyle=style, label=measured.label)
        axes.set(xscale="log", yscale="log", xlabel="entries", ylabel=unit)
        if axes.lines:
            axes.legend(fontsize=7, loc="upper center", bbox_to_anchor=(0.5, -0.12))
    return figure


def _draw_soak(plt: Any, soaked: Soaked) -> Any:
    """Four panels over the minutes: latency, lag, memory, bytes."""
    wanted = (
        ("p50_ms", "p95_ms", "p99_ms"),
        ("lag_ms",),
        ("server_bytes", "balances_bytes"),
        ("log_bytes", "read_bytes"),
    )
    figure, panels = plt.subplots(2, 2, figsize=(11, 6), sharex=True)
    minutes = [one.minute for one in soaked.windows]
    for axes, names in zip(panels.flat, wanted, strict=True):
        for name in names:
            axes.plot(minutes, [getattr(one, name) for one in soaked.windows], label=name)
        axes.set_ylim(bottom=0)
        axes.legend(fontsize=7)
    for axes in panels[1]:
        axes.set_xlabel("minutes")
    return figure
