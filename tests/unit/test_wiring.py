"""Rails and routes out of a file: hours of routes, and the day on which a wire settles."""

from datetime import UTC, date, datetime, time
from pathlib import Path

import pytest

from adapters.rails import wiring
from adapters.rails.wiring import Misconfigured, read
from domain.calendar import Calendar
from domain.hours import Hours
from domain.rail import Iban, Instruction, Operation, Rail

FILE = """
[[card]]
route = "north"
host = "127.0.0.1"
port = 8181
number = "400001"
terminal = "TERM0001"
merchant = "MERCHANT000001"

[[routes]]
name = "north"
rail = "card"
methods = ["card"]
terms = { EUR = { fee_fixed = 25 } }
hours = { zone = "Europe/Berlin", opens = 08:00:00, closes = 16:00:00, holidays = "target" }
"""


def test_hours_of_a_route_are_read(tmp_path: Path) -> None:
    path = tmp_path / "rails.toml"
    path.write_text(FILE, "utf-8")

    (route,) = read(path).routes

    assert route.hours == Hours(zone="Europe/Berlin", opens=time(8), closes=time(16), holidays=Calendar.TARGET)


@pytest.mark.parametrize(
    ("right", "wrong"), [("Europe/Berlin", "Europe/Atlantis"), ("target", "lunar"), ("08:00:00", '"soon"')]
)
def test_hours_that_are_none_are_said(tmp_path: Path, right: str, wrong: str) -> None:
    path = tmp_path / "rails.toml"
    path.write_text(FILE.replace(right, wrong), "utf-8")

    with pytest.raises(Misconfigured, match="hours"):
        read(path)


@pytest.mark.parametrize(
    ("currency", "decided_on", "settles_on"),
    [
        ("EUR", (2026, 4, 2), (2026, 4, 7)),  # Good Friday and Easter Monday.
        ("USD", (2026, 4, 2), (2026, 4, 3)),
        ("EUR", (2026, 11, 25), (2026, 11, 26)),
        ("USD", (2026, 11, 25), (2026, 11, 27)),  # Thanksgiving.
        ("GBP", (2026, 12, 24), (2026, 12, 25)),  # Whose days are not known here: weekends alone.
        ("GBP", (2026, 11, 27), (2026, 11, 30)),
    ],
)
def test_a_wire_settles_by_the_days_of_its_currency(
    currency: str, decided_on: tuple[int, int, int], settles_on: tuple[int, int, int]
) -> None:
    instruction = Instruction(
        request_id="0" * 22,
        operation=Operation.PAYOUT,
        rail=Rail.WIRE,
        route="wire-a",
        amount=100,
        currency=currency,
        method=Iban(iban="DE89370400440532013000", bic="COBADEFFXXX", holder="Ann Lee", country="DE"),
        sent_at=datetime(*decided_on, 12, tzinfo=UTC),
    )

    assert wiring._next_day(instruction) == date(*settles_on)
