"""Lists: a page as JSON, or as CSV all that there is, a page at a time, whatever is written meanwhile."""

from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from typing import Any

from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from projections.api import csv
from projections.api.answering import POSITION_HEADER, Answer, answer, listed
from projections.api.parameters import EVENTUAL, LIMIT_MAX, Page
from projections.projection import Projection

Row = dict[str, Any]
Resource = Mapping[str, Any]


def alone(resource: Resource) -> Iterable[Resource]:
    """Most things are one line of a CSV file."""
    return (resource,)


class Listing(Struct, frozen=True):
    """A list of a kind: its query, the read models that it reads, and how its things are shown."""

    query: str
    of: Sequence[Projection]
    cursor: str
    """The column of the query that the list's cursors are values of; NULL only where nothing was found."""
    resource: Callable[[Row], Resource]
    columns: tuple[str, ...]
    """Of the CSV form."""
    lines: Callable[[Resource], Iterable[Resource]] = alone


async def found(request: Request, page: Page[Any], listing: Listing, parameters: Mapping[str, Any]) -> Answer:
    """The first page: for CSV as long a one as there is."""
    wanted = {**parameters, **_window(request, page)}
    return await answer(request, listing.query, page, wanted, of=listing.of, key=listing.cursor)


def shown(
    request: Request,
    page: Page[Any],
    listing: Listing,
    parameters: Mapping[str, Any],
    first: Answer,
) -> Response:
    """That page as JSON, or it and what follows it as CSV. What fails midway cuts the connection: no short file."""
    if not csv.wanted(request, page):
        return listed(page, first, listing.resource)
    return StreamingResponse(
        _csv(request, page, listing, parameters, first),
        media_type=csv.MEDIA_TYPE,
        headers={POSITION_HEADER: str(first.position)},
    )


def _window(request: Request, page: Page[Any]) -> dict[str, Any]:
    return page.window if not _all(request, page) else {**page.window, "limit": LIMIT_MAX + 1}


def _all(request: Request, page: Page[Any]) -> bool:
    return csv.wanted(request, page) and page.ending_before is None and "limit" not in page.model_fields_set


async def _csv(
    request: Request, page: Page[Any], listing: Listing, parameters: Mapping[str, Any], first: Answer
) -> AsyncIterator[bytes]:
    yield csv.header(listing.columns)
    part, everything = first, _all(request, page)
    limit = LIMIT_MAX if everything else page.limit
    while True:
        rows, more = part.rows, len(part.rows) > limit
        if more:
            rows = rows[:-1] if page.ending_before is None else rows[1:]
        resources = [line for row in rows for line in listing.lines(listing.resource(row))]
        yield csv.lines(listing.columns, resources)
        if not (more and everything):
            return
        wanted = {**parameters, "after": rows[-1][listing.cursor], "before": None, "limit": LIMIT_MAX + 1}
        if "position" in parameters:
            wanted |= {"position": first.position, "at": None}
        # What is later in the list was there before: no need to wait for what has been written since.
        part = await answer(request, listing.query, EVENTUAL, wanted, of=listing.of, key=listing.cursor)
