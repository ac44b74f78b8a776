"""`python -m benchmarks`: Daybook beside its peers in one run; `grow`: as the log grows; `soak`: for an hour.

A transfer is idempotent, overdraft-checked, two postings, and durable when answered. The load generator, the server and
Postgres share the machine, as they do for all. Each run starts a Postgres of its own, with durable settings.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks import growth, showing, soak, suite

RESULTS = Path(__file__).with_name("results")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, and write into a folder."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--out", type=Path, default=RESULTS, metavar="FOLDER", help="for tables, JSON and charts")
    commands = parser.add_subparsers(dest="command", required=True)

    peers = commands.add_parser("run", help="Daybook and its peers in turn, and the budgets")
    peers.add_argument("--seconds", type=float, default=3.0, help="of each measurement (default 3)")
    peers.add_argument("--rounds", type=int, default=3, help="the median of which is shown (default 3)")
    peers.add_argument("--only", nargs="+", default=(), metavar="WORD", help="rows with one of these words in the name")

    grow = commands.add_parser("grow", help="the same figures at 10 thousand to 10 million entries")
    grow.add_argument("--entries", type=int, default=growth.SIZES[-1], help="the largest size (default 10 million)")
    grow.add_argument("--accounts", type=int, default=1_000, help="between which (default 1000)")
    grow.add_argument("--seconds", type=float, default=5.0, help="of each load (default 5)")
    grow.add_argument("--home", type=Path, default=RESULTS / "home", metavar="FOLDER", help="where the store is kept")

    long = commands.add_parser("soak", help="at 70 % of the sustained rate: memory, lag, bloat, latency")
    long.add_argument("--minutes", type=float, default=60.0, help="how long (default 60)")
    long.add_argument("--window", type=float, default=30.0, metavar="SECONDS", help="of each row (default 30)")

    asked = parser.parse_args(arguments)
    match asked.command:
        case "run":
            results = suite.run(rounds=asked.rounds, seconds=asked.seconds, only=asked.only)
            showing.show(results, showing.known_growth(asked.out), asked.out)
        case "grow":
            _grow(asked)
        case "soak":
            soaked = soak.run(minutes=asked.minutes, window_s=asked.window)
            showing.show_soak(soaked, asked.out)
            sys.exit(0 if soaked.is_flat else 1)


def _grow(asked: argparse.Namespace) -> None:
    growth.grow(
        asked.home,
        until=asked.entries,
        accounts=asked.accounts,
        seconds=asked.seconds,
        keep=lambda grown: showing.show_growth(grown, asked.out),
    )


if __name__ == "__main__":
    main()
