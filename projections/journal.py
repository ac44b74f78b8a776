"""Journal entries with their postings, and which of them undoes which."""

from collections.abc import Iterator
from typing import Final

from msgspec.structs import astuple

from domain.events import EntryPosted, EntryReversed, Recorded
from projections.projection import Change

NAME: Final = "journal"
VERSION: Final = 2
CHANGES: Final = ("post_entries", "link_reversals")


def project(recorded: Recorded) -> Iterator[Change]:
    """What the event changes."""
    match recorded.event:
        case EntryPosted() as entry:
            yield Change(
                "post_entries",
                {
                    "entry_id": recorded.stream_id,
                    "book_id": entry.book_id,
                    "position": recorded.position,
                    "recorded_at": recorded.recorded_at,
                    "reverses": entry.reverses,
                    "value_date": entry.value_date,
                    "actor": recorded.metadata.actor,
                    "description": entry.description or None,
                    "reference": entry.reference or None,
                    "metadata": entry.metadata or None,
                    "captures": entry.captures,
                    "recipe": entry.recipe,
                    "postings": [astuple(posting) for posting in entry.postings],
                },
            )
        case EntryReversed(reversed_by=reversed_by):
            yield Change("link_reversals", {"entry_id": recorded.stream_id, "reversed_by": reversed_by})
