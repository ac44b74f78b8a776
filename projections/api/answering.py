"""How a read is answered: from one snapshot that is recent enough, and saying the position it answers for."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec
from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response

from domain.ports import Reads
from projections.api.parameters import Page, Past, Read
from projections.projection import Projection, tracked_as

PATIENCE_S: Final = 2.0
"""How long a read waits for the read models to come to the position it needs."""
PAUSE_S: Final = (0.001, 0.05)
"""The first and the longest pause between two looks at how far they are."""

POSITION_HEADER: Final = "Daybook-Position"


class ReadModelBehind(Exception):
    """The read model has not reached the position that was asked for; ask again, or with consistency=eventual."""

    code: Final = "read_model_behind"
    transient: Final = True

    def __init__(self, *, needed: int, reached: int) -> None:
        super().__init__(f"the read model is at position {reached}, {needed} is needed")
        self.needed = needed
        self.reached = reached


class Answer(Struct, frozen=True):
    """The rows found, and the position of the log they are for."""

    rows: list[dict[str, Any]]
    position: int


async def answer(
    request: Request, query: str, read: Read, parameters: Mapping[str, Any], *, of: Sequence[Projection], key: str
) -> Answer:
    """Ask until the answer is as recent as the read demands.

    Args:
        of: The projections whose read models the query reads; none of them when it reads the log itself.
        key: A column that is NULL only in the one row of a query that found nothing.

    Raises:
        ReadModelBehind: It did not become recent enough within `PATIENCE_S`.
    """
    reads: Reads = request.state.reads
    until = asyncio.get_running_loop().time() + PATIENCE_S
    tracked = {"projections": [tracked_as(projection) for projection in of]}
    needed = None
    while True:
        rows = await reads.fetch(query, {**parameters, **tracked})
        if needed is None or (isinstance(read, Past) and read.is_past):
            needed = _needed(read, rows[0])
        if rows[0]["as_of"] >= needed:
            break
        await _wait(reads, tracked, needed, until)
    found = rows if rows[0][key] is not None else []
    return Answer(found, rows[0].get("position_read", rows[0]["as_of"]))


def _needed(read: Read, row: Mapping[str, Any]) -> int:
    """The position the read models must have reached: whatever was acknowledged before is not past the log's head."""
    least = read.min_position or 0
    if isinstance(read, Past) and read.is_past:
        return max(least, int(row["position_read"]))
    if read.min_position is not None or read.consistency == "eventual":
        return least
    return int(row["head"])


async def _wait(reads: Reads, tracked: Mapping[str, Any], needed: int, until: float) -> None:
    pause = PAUSE_S[0]
    while True:
        await asyncio.sleep(pause)
        reached = (await reads.fetch("tracked", tracked))[0]["as_of"]
        if reached >= needed:
            return
        if asyncio.get_running_loop().time() >= until:
            raise ReadModelBehind(needed=needed, reached=reached)
        pause = min(2 * pause, PAUSE_S[1])


def one(resource: Mapping[str, Any], position: int) -> Response:
    """A single thing."""
    return Response(
        msgspec.json.encode(resource), media_type="application/json", headers={POSITION_HEADER: str(position)}
    )


def listed(page: Page[Any], found: Answer, resource: Callable[[dict[str, Any]], Mapping[str, Any]]) -> Response:
    """A page of a list, in the list's order; going backwards, the row too many is the first."""
    rows, more = found.rows, len(found.rows) > page.limit
    if more:
        rows = rows[:-1] if page.ending_before is None else rows[1:]
    return one({"object": "list", "data": [resource(row) for row in rows], "has_more": more}, found.position)
