"""Settlement: what a rail reports of a day, once the day is over, and the money that moved for it."""

from datetime import date, datetime
from enum import StrEnum

from msgspec import Struct

from domain.rail import Rail


class Said(StrEnum):
    """What a line of a report says of a request of ours."""

    SETTLED = "settled"
    """The money of what was done moved between the institutions."""
    RETURNED = "returned"
    """What was done was undone by the rail, or by the bank behind it."""
    DISPUTED = "disputed"
    """The payer disputes what was taken, and the rail has taken it back until that is closed."""
    DISPUTE_WON = "dispute_won"
    """The dispute is closed for us, and the rail has given back what it took."""
    DISPUTE_LOST = "dispute_lost"
    """The dispute is closed against us; nothing moves any more."""


class Line(Struct, frozen=True, kw_only=True):
    """One line of a report.

    Args:
        request_id: Of ours: what settled; of a return or a dispute, what it is upon. As the rail says it, which may be
            nothing that we ever asked.
        operation: What was asked under that id: as `domain.rail.Operation`.
        amount: Minor units of `currency`, at least 1; which way it moved follows from `said` and `operation`.
        fee: What the rail keeps for it, in minor units of the same; below zero where it gives a fee back.
        reference: The rail's own of this line: of a dispute, the same in all its lines.
        code, reason, message: Of a return or a dispute: the rail's own code, ours of all rails, and in words.
        respond_by: Until when a dispute can be answered.
    """

    said: Said
    request_id: str
    operation: str
    amount: int
    currency: str
    fee: int = 0
    reference: str = ""
    code: str = ""
    reason: str = ""
    message: str = ""
    respond_by: datetime | None = None


class Report(Struct, frozen=True, kw_only=True):
    """All that settled by one route on one day, returns and disputes among it, in the rail's own order.

    The same lines in the same order whenever it is asked for, and complete: it is there only once the day is over.
    """

    rail: Rail
    route: str
    day: date
    reference: str
    lines: tuple[Line, ...] = ()


class ReportRejected(Exception):
    """A rail's report cannot be read, or does not add up to its own totals; the text says where. None of it counts."""
