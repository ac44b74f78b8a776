"""The composition root of the web application: store, desk, reads, the read models' runner, expiry, the routes."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Final

import psycopg
from msgspec import Struct
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Route

from adapters.expiry import ESCROWS, HOLDS, Expiry
from adapters.observe import logs
from adapters.observe.handled import Handled
from adapters.observe.metrics import Metrics
from adapters.openapi.routes import routes as document_routes
from adapters.paying import Found, Paying, paying
from adapters.postgres.breakers import PostgresBreakers
from adapters.postgres.datastore import connect
from adapters.postgres.migrate import MigrationError, available
from adapters.postgres.projecting import Status
from adapters.postgres.reads import PostgresReads
from adapters.postgres.secrets import client_secrets
from adapters.postgres.store import PostgresEventStore
from adapters.projector import Projector
from adapters.rails.upi.rail import UpiRail
from adapters.rails.wiring import NO_RAILS, Wiring, connected
from adapters.settling import Settling, Told
from adapters.validators import PLACEHOLDERS, Validators
from adapters.web import consensus, health, intake, qr, rails, upi
from adapters.web.crossing import Crossing
from adapters.web.envelope import Envelope
from adapters.web.errors import exception_handlers
from adapters.web.health import Readiness
from adapters.web.intake import Intake
from adapters.web.rails import Rails
from commands import desk
from commands.api import routes as command_routes
from commands.api.batch import PATH as BATCHES
from commands.api.payment import CHECKOUT, PAYER
from commands.desk import Desk
from domain.ports import Addresses
from domain.rail import Rail
from projections.api import events
from projections.api import routes as read_routes
from projections.api.events import Streams


class Limits(Struct, frozen=True):
    """What one process takes on: commands that wait, bodies in bytes, streams of events at once; times in seconds.

    `intent_days`: how long a payment's intent is left for somebody to have it done, unless its client says; 0 for ever.
    """

    queue_max: int = desk.QUEUE_MAX
    patience_s: float = desk.PATIENCE_S
    body_patience_s: float = intake.BODY_PATIENCE_S
    body_bytes_max: int = intake.BODY_BYTES_MAX
    batch_body_bytes_max: int = intake.BATCH_BODY_BYTES_MAX
    streams_max: int = events.STREAMS_MAX
    intent_days: int = 30


LIMITS: Final = Limits()

PROJECTOR_S: Final = 3.0
"""How long a start waits for the projector, so that the first reads need not. Commands are taken without it too."""


def create_app(dsn: str, *, project: bool = True, limits: Limits = LIMITS, wiring: Wiring | None = None) -> Starlette:
    """The application upon a migrated database.

    Args:
        project: Whether a process of ours keeps the read models up; without, `daybook project` does.
        wiring: The rails that payments go by from here; without any they wait for a process that has some.

    Raises:
        RuntimeError: Asserts are compiled away, and with them what must never be.
        MigrationError, Unavailable: On start, when the database cannot be used.
    """
    if not __debug__:
        raise RuntimeError("Daybook does not run under python -O: its asserts guard the books")
    metrics = Metrics()

    def report(request: Handled) -> None:
        logs.handled(request)
        metrics.handled(request)

    def failed(event: str, error: BaseException) -> None:
        logs.fault(event, error)
        metrics.fault(event)

    def projecting(event: str, /, **fields: Any) -> None:
        logs.projecting(event, **fields)
        if event not in logs.NEWS:
            metrics.fault(event)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[dict[str, Any]]:
        await asyncio.to_thread(must_be_migrated, dsn)
        secrets = await asyncio.to_thread(client_secrets, dsn)
        projector = Projector(dsn, on_event=projecting) if project else None

        def projectors() -> Sequence[Status]:
            return projector.status() if projector is not None else ()

        writer = Desk(
            PostgresEventStore(dsn),
            report=failed,
            queue_max=limits.queue_max,
            patience_s=limits.patience_s,
            intent_life=timedelta(days=limits.intent_days) or None,
        )
        metrics.watch(writer, projectors)
        validators = Validators(PLACEHOLDERS, voted=metrics.voted, report=failed)
        writer.start()
        if projector is not None:
            projector.start()
            await asyncio.to_thread(projector.up.wait, PROJECTOR_S)
        try:
            async with AsyncExitStack() as stack:
                reads = await stack.enter_async_context(PostgresReads(dsn))
                for kind in (HOLDS, ESCROWS):
                    expiry = Expiry(writer, reads, report=failed, ended=metrics.ended, of=kind)
                    await stack.enter_async_context(running(expiry.run()))
                paying_on, known_rails, addresses = await stack.enter_async_context(
                    driven(dsn, writer, reads, wiring or NO_RAILS, validators, metrics, failed)
                )
                yield {
                    "desk": writer,
                    "paying": paying_on,
                    "rails": known_rails,
                    "addresses": addresses,
                    "validators": validators,
                    "reads": reads,
                    "client_secrets": secrets,
                    "streams": Streams(limits.streams_max),
                    "metrics": metrics,
                    "readiness": Readiness(dsn, writer, projectors),
                }
        finally:
            await writer.stop()
            if projector is not None:
                await asyncio.to_thread(projector.stop)

    def taking(route: Route, *, keyed: bool = True) -> Route:
        bytes_max = limits.batch_body_bytes_max if route.path == BATCHES else limits.body_bytes_max
        taken = Middleware(
            Intake,
            body_bytes_max=bytes_max,
            body_patience_s=limits.body_patience_s,
            keyed=keyed,
            actor=PAYER if route.path == CHECKOUT else None,
        )
        return Route(route.path, route.endpoint, methods=route.methods, middleware=[taken])

    routes = [
        *(taking(route) for route in command_routes),
        *read_routes,
        *(taking(route, keyed=False) for route in (*rails.decisions, *rails.overrides)),
        *rails.reads,
        *upi.reads,
        *qr.reads,
        *(taking(route, keyed=False) for route in consensus.routes),
        *document_routes,
        *health.routes,
    ]
    templates = {route.endpoint: route.path for route in routes}
    app = Starlette(
        routes=routes,
        middleware=[Middleware(Envelope, routes=templates, report=report, failed=failed), Middleware(Crossing)],
        exception_handlers=exception_handlers,
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False
    return app


@asynccontextmanager
async def running(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Within this, the work goes on."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


@asynccontextmanager
async def driven(
    dsn: str,
    desk: Desk,
    reads: PostgresReads,
    wiring: Wiring,
    validators: Validators,
    metrics: Metrics,
    failed: Callable[[str, BaseException], None],
) -> AsyncIterator[tuple[Paying | None, Rails, Addresses | None]]:
    """Within this, payments go on by themselves, if there are rails; whoever changes one tells what comes out of it."""
    now = partial(datetime.now, UTC)
    if not wiring.routes:
        yield None, Rails(wiring.routing, None, now), None
        return
    async with connected(wiring) as ports, PostgresBreakers(dsn) as breakers:
        known = Rails(wiring.routing, breakers, now)
        by_upi = ports.get(Rail.UPI)
        assert by_upi is None or isinstance(by_upi, UpiRail)
        metrics.watch_breakers(known.states)
        driver = Paying(
            desk,
            ports,
            wiring.routing,
            find=Found(reads),
            breakers=breakers,
            validators=validators,
            paid=metrics.paid,
            now=now,
            report=failed,
        )
        settling = Settling(
            desk,
            reads,
            ports,
            wiring.reporting,
            book=wiring.book,
            told=partial(settled, metrics),
            passed=metrics.settled_day,
            now=now,
            report=failed,
        )
        async with paying(driver), running(settling.run()), running(known.watch()):
            yield driver, known, by_upi


def settled(metrics: Metrics, part: Told) -> None:
    """What rails have reported is counted and logged."""
    logs.settled(
        rail=part.rail.value,
        route=part.route,
        day=part.day.isoformat(),
        part=part.part,
        currency=part.currency,
        breaks=part.breaks,
        **part.lines,
    )
    for said, lines in ({**part.lines, "break": part.breaks}).items():
        metrics.settled(part.rail, said, lines)


def must_be_migrated(dsn: str) -> None:
    """Raise MigrationError unless the database has exactly the migrations this code has."""
    with connect(dsn) as connection:
        try:
            rows = connection.execute("SELECT number, digest FROM daybook.migrations").fetchall()
        except psycopg.ProgrammingError as error:
            raise MigrationError("this is no Daybook database yet; run: daybook migrate") from error
    applied, known = dict(rows), {migration.number: migration.digest for migration in available()}
    if applied.keys() - known.keys():
        raise MigrationError(f"the database has migration {max(applied)}, this Daybook knows only {len(known)}")
    if applied != known:
        raise MigrationError(f"the database is at migration {len(applied)} of {len(known)}; run: daybook migrate")
