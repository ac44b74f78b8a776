"""For whoever runs Daybook: is it up, can it be used, and how is it doing."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Any, Final

import orjson
import psycopg
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from adapters.observe.metrics import CONTENT_TYPE, ProjectorStatus
from adapters.postgres import builds
from adapters.postgres.builds import Build
from adapters.postgres.datastore import connect
from commands.desk import Desk
from domain.errors import Unavailable

_READY: Final = {True: 200, False: 503}


class Readiness:
    """Ready: commands can be decided and kept. A projector that stands still is told, and does not stop commands."""

    def __init__(self, dsn: str, desk: Desk, projectors: Callable[[], Iterable[ProjectorStatus]]) -> None:
        self._dsn = dsn
        self._desk = desk
        self._projectors = projectors
        self._asking = asyncio.Lock()

    async def look(self) -> tuple[bool, dict[str, Any]]:
        """Whether it is ready, and what makes it so or not."""
        async with self._asking:  # However many ask at once: one connection.
            head, parked = await asyncio.to_thread(self._stored)
        projectors = list(self._projectors())
        ready = self._desk.alive and head is not None
        failing = bool(parked) or any(status.error is not None for status in projectors)
        return ready, {
            "status": ("degraded" if failing else "ready") if ready else "unavailable",
            "desk": {"alive": self._desk.alive, "queued": self._desk.queued},
            "database": {"reachable": head is not None, "position": head},
            "projectors": [_projector(status) for status in projectors],
            "parked": parked,
        }

    def _stored(self) -> tuple[int | None, list[dict[str, Any]]]:
        """The log's head and what is parked, whichever process found it so; no head if it cannot be asked."""
        try:
            with connect(self._dsn) as connection:
                row = connection.execute("SELECT daybook.head()").fetchone()
                parked = [_parked(build) for build in builds.every(connection) if build.parked_position is not None]
                return row[0] if row is not None else None, parked
        except (Unavailable, psycopg.Error):
            return None, []


def _parked(build: Build) -> dict[str, Any]:
    return {
        "name": build.name,
        "version": build.version,
        "live": build.live,
        "position": build.parked_position,
        "error": build.parked_error,
        "since": build.parked_at,
    }


def _projector(status: ProjectorStatus) -> dict[str, Any]:
    return {
        "name": status.name,
        "running": status.running,
        "state": status.state,
        "position": status.position,
        "head": status.head,
        "lag_events": status.lag_events,
        "lag_seconds": round(status.lag_s, 3),
        "events_per_second": round(status.rate, 1),
        "restarts": status.restarts,
        "parked_at": status.failed_at,
        "building_at": status.building_at,
        "error": status.error,
    }


async def livez(request: Request) -> Response:
    return Response(b'{"status":"up"}', media_type="application/json")


async def readyz(request: Request) -> Response:
    ready, found = await request.state.readiness.look()
    return Response(orjson.dumps(found), _READY[ready], media_type="application/json")


async def metrics(request: Request) -> Response:
    return Response(request.state.metrics.text(), headers={"Content-Type": CONTENT_TYPE})


routes = [Route("/livez", livez), Route("/readyz", readyz), Route("/metrics", metrics)]
