"""What a simulator's rails have paid and kept, worked out from its own books and files, to hold Daybook's against."""

import csv
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from tests.simulating import Simulation

SIGNS: Final = {
    **{"capture": 1, "collect": 1, "refund": -1, "payout": -1},
    **{"disputed": -1, "dispute_won": 1, "dispute_lost": 0},
}
"""What an effect brings, by its operation."""


def moved(effects: Iterable[Mapping[str, Any]]) -> Iterator[tuple[Mapping[str, Any], int, int]]:
    """Of each effect by which money moved or was spoken of: what came in by it, and how often it is reported."""
    known = list(effects)
    operations = {(one["rail"], one["reference"]): one["operation"] for one in known}
    for one in known:
        rail, operation, detail = one["rail"], one["operation"], one["detail"]
        if one["outcome"] != "approved":
            continue
        if rail == "ach":
            sign = (1 if detail["direction"] == "debit" else -1) * (-1 if operation == "return" else 1)
        elif operation == "reverse" and rail == "wire" and "moved" not in detail:
            continue  # What was recalled had not left.
        elif operation in ("reverse", "return"):
            sign = -SIGNS[operations[rail, one["original"]]]
        elif operation in SIGNS:
            sign = SIGNS[operation]
        else:
            continue
        again = operation != "return" and ("twice" in detail or "reported" in detail)
        yield one, sign * one["amount"], 1 + again


def fees(simulation: Simulation) -> int:
    """What the acquirers kept on all days, by the totals of their files."""
    days = {effect["day"] for effect in simulation.effects("card")}
    files = [simulation.get(f"/settlement/card/{day}").text for day in sorted(days)]
    return sum(int(row[4]) for file in files for row in csv.reader(file.splitlines()) if row[0] == "T")


def came(simulation: Simulation) -> Counter[str]:
    """What each rail has paid in all, less what it kept."""
    sums: Counter[str] = Counter()
    for one, amount, times in moved(simulation.effects()):
        sums[one["rail"]] += amount * times
    sums["card"] -= fees(simulation)
    return sums
