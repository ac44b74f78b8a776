"""What rails have reported, day by day: sums, and what fitted nothing."""

from collections.abc import Iterator
from typing import Final

import msgspec

from domain.events import Recorded, SettlementRecorded
from projections.projection import Change

NAME: Final = "settlements"
VERSION: Final = 1
CHANGES: Final = ("add_settlements",)


def project(recorded: Recorded) -> Iterator[Change]:
    """What the event changes."""
    event = recorded.event
    if not isinstance(event, SettlementRecorded):
        return
    yield Change(
        "add_settlements",
        {
            "settlement_id": recorded.stream_id,
            "book_id": event.book_id,
            "position": recorded.position,
            "recorded_at": recorded.recorded_at,
            "rail": event.rail,
            "route": event.route,
            "day": event.day,
            "part": event.part,
            "currency": event.currency,
            "reference": event.reference or None,
            "lines": event.lines,
            "incoming": event.incoming,
            "outgoing": event.outgoing,
            "fees": event.fees,
            "net": event.net,
            "breaks": msgspec.to_builtins(event.breaks),
            "broken": len(event.breaks),
            "entry_id": event.entry_id,
            "actor": recorded.metadata.actor,
        },
    )
