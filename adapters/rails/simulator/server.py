"""All simulated rails in one process: HTTP for ACH, wire, UPI and whoever runs the simulator, TCP for the cards.

Everything happens on one thread and one event loop: nothing disturbs what a rail does for one message.

    POST /{rail}                   a message; the rail's answer
    GET  /books?rail=              all effects
    GET  /books/totals             count and amount per rail, currency, operation and outcome
    GET  /faults                   the switches as they stand
    PUT  /faults/{rail}?route=     set them: {"drop_after": 0.1, "decline": {"next": 2}}; {} puts all right again
    GET  /settlement/{rail}/{day}  the rail's file of what settles that day, as far as it is known
    GET  /reports/{rail}/{day}     the same once the day is over, ?route= of one route; 204 before that
    PUT  /callbacks/{rail}         {"url": ...}: where what the rail says by itself is posted; "" for nowhere
    POST /advance                  {"days": 1}: the clock goes forward; answers {"now": ...}, as GET /now does
"""

import asyncio
import logging
import struct
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import date, datetime
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from socket import socket
from typing import Annotated, Any, Final, TypeVar

import httpx2
import msgspec
import uvicorn
from msgspec import Meta, Struct
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from adapters.rails.simulator.books import Books
from adapters.rails.simulator.clock import Clock
from adapters.rails.simulator.faults import ALL_ROUTES, Faults, Switches
from adapters.rails.simulator.reply import RailSimulator, Reply

T = TypeVar("T")

_LOG = logging.getLogger(__name__)

RAILS: Final = {"card": "CardSimulator", "ach": "AchSimulator", "wire": "WireSimulator", "upi": "UpiSimulator"}
"""Every rail: the module of that name beside this one, and the class in it."""

TICK_S: Final = 0.05
"""How often the rails are asked what they have to say by themselves."""
CALLBACK_S: Final = 5.0
"""How long a callback may take to be received. It is not repeated."""
LENGTH: Final = struct.Struct("!H")
"""What goes before each message over TCP: its length in bytes."""


class _Callback(Struct, frozen=True, forbid_unknown_fields=True):
    url: str


class _Advance(Struct, frozen=True, forbid_unknown_fields=True):
    days: Annotated[int, Meta(ge=1, le=3660)]


class _Now(Struct, frozen=True):
    now: datetime


class _Switched(Struct, frozen=True):
    rail: str
    route: str
    switches: Switches


def rails(books: Books, faults: Faults, clock: Clock) -> dict[str, RailSimulator]:
    """Every rail that is there, by its name."""
    named = {rail: f"{__package__}.{rail}" for rail in RAILS}
    return {
        rail: getattr(import_module(module), RAILS[rail])(books, faults, clock)
        for rail, module in named.items()
        if find_spec(module) is not None
    }


def create_app(
    simulators: dict[str, RailSimulator], books: Books, faults: Faults, clock: Clock, *, framed: socket | None = None
) -> Starlette:
    """The simulator's own HTTP; while it runs, the rails that are spoken over TCP listen on `framed`."""
    urls: dict[str, str] = {}

    async def list_books(request: Request) -> Response:
        return _json(list(books.effects(request.query_params.get("rail"))))

    async def list_totals(request: Request) -> Response:
        return _json(books.totals())

    async def list_faults(request: Request) -> Response:
        found = faults.switches().items()
        return _json([_Switched(rail, route, switches) for (rail, route), switches in sorted(found)])

    async def put_faults(request: Request) -> Response:
        switches = await _body(request, Switches)
        faults.switch(_rail(request), switches, route=request.query_params.get("route", ALL_ROUTES))
        return _json(switches)

    async def put_callback(request: Request) -> Response:
        callback = await _body(request, _Callback)
        urls[_rail(request)] = callback.url
        return _json(callback)

    async def get_settlement(request: Request) -> Response:
        file = simulators[_rail(request)].settlement(_day(request))
        return Response(file, media_type="application/octet-stream")

    async def get_report(request: Request) -> Response:
        rail, day, route = _rail(request), _day(request), request.query_params.get("route", ALL_ROUTES)
        if faults.is_out(rail, route):
            return _Silence(hang_up=True)
        if not simulators[rail].is_over(day):
            return Response(status_code=204)
        return Response(simulators[rail].settlement(day, route), media_type="application/octet-stream")

    async def get_now(request: Request) -> Response:
        return _json(_Now(clock.now()))

    async def post_advance(request: Request) -> Response:
        clock.advance((await _body(request, _Advance)).days)
        books.moved_to(clock.now())
        return _json(_Now(clock.now()))

    def _day(request: Request) -> date:
        try:
            return date.fromisoformat(request.path_params["day"])
        except ValueError as error:
            raise HTTPException(400, f"the day is written like 2026-03-02: {error}") from error

    def _rail(request: Request) -> str:
        rail = str(request.path_params["rail"])
        if rail not in simulators:
            raise HTTPException(404, f"no rail {rail}; there are {', '.join(simulators)}")
        return rail

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            if framed is not None:
                for simulator in _spoken_over_tcp(simulators):
                    await stack.enter_async_context(_listening(simulator, framed))
            await stack.enter_async_context(_calling_back(simulators, urls))
            yield

    spoken_over_http = [simulator for simulator in simulators.values() if not simulator.framed]
    return Starlette(
        routes=[
            Route("/books", list_books),
            Route("/books/totals", list_totals),
            Route("/faults", list_faults),
            Route("/faults/{rail}", put_faults, methods=["PUT"]),
            Route("/callbacks/{rail}", put_callback, methods=["PUT"]),
            Route("/settlement/{rail}/{day}", get_settlement),
            Route("/reports/{rail}/{day}", get_report),
            Route("/now", get_now),
            Route("/advance", post_advance, methods=["POST"]),
            *(_route(simulator) for simulator in spoken_over_http),
            *(route for simulator in simulators.values() for route in simulator.routes()),
        ],
        exception_handlers={ClientDisconnect: _nobody_there},
        lifespan=lifespan,
    )


def server(app: Starlette) -> uvicorn.Server:
    """It, ready to run on a socket."""
    return uvicorn.Server(
        uvicorn.Config(
            app,
            http=_Protocol,
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=1,
        )
    )


def replying(answer: Callable[[bytes], Reply]) -> Callable[[Request], Any]:
    """An HTTP endpoint that hands a request's body to `answer` and sends what it replies, as late as it says."""

    async def endpoint(request: Request) -> Response:
        reply = answer(await request.body())
        if reply.hang_up or reply.body is None:
            return _Silence(hang_up=reply.hang_up)
        await asyncio.sleep(reply.delay_s)
        return Response(reply.body, status_code=reply.status, media_type="application/octet-stream")

    return endpoint


def _route(simulator: RailSimulator) -> BaseRoute:
    return Route(f"/{simulator.rail}", replying(simulator.answer), methods=["POST"])


def _json(value: Any) -> Response:
    return Response(msgspec.json.encode(value), media_type="application/json")


async def _nobody_there(request: Request, error: Exception) -> Response:
    """Whoever asked was gone before the whole message was there; nothing was done, and nobody hears of it."""
    return Response()


async def _body(request: Request, shape: type[T]) -> T:
    try:
        return msgspec.json.decode(await request.body(), type=shape)
    except msgspec.DecodeError as error:
        raise HTTPException(400, str(error)) from error


class _Protocol(HttpToolsProtocol):
    """uvicorn's, with a way for a request to cut its own connection."""

    def on_headers_complete(self) -> None:
        self.scope.setdefault("state", {})["hang_up"] = self.transport.abort
        super().on_headers_complete()


class _Silence(Response):
    """No answer: the connection is closed at once, or kept until the other side has had enough."""

    def __init__(self, *, hang_up: bool) -> None:
        super().__init__()
        self._hang_up = hang_up

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._hang_up:
            scope["state"]["hang_up"]()
        while (await receive())["type"] != "http.disconnect":
            pass


def _spoken_over_tcp(simulators: dict[str, RailSimulator]) -> Sequence[RailSimulator]:
    found = [simulator for simulator in simulators.values() if simulator.framed]
    assert len(found) <= 1, "there is one port for what is spoken over TCP"
    return found


@asynccontextmanager
async def _listening(simulator: RailSimulator, listener: socket) -> AsyncIterator[None]:
    """Within this, the rail answers messages over TCP; any number of connections, answers in whatever order."""
    connections: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        connections.add(task)
        try:
            with suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
                await _converse(simulator, reader, writer)
        finally:
            connections.discard(task)
            writer.transport.abort()

    listening = await asyncio.start_server(connected, sock=listener)
    try:
        yield
    finally:
        listening.close()
        for task in list(connections):
            task.cancel()


async def _converse(simulator: RailSimulator, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    loop = asyncio.get_running_loop()

    def send(message: bytes) -> None:
        if not writer.is_closing():
            writer.write(LENGTH.pack(len(message)) + message)

    while True:
        (length,) = LENGTH.unpack(await reader.readexactly(LENGTH.size))
        reply = simulator.answer(await reader.readexactly(length))
        if reply.hang_up:
            return
        if reply.body is not None:
            for _ in range(1 + reply.twice):
                if reply.delay_s:
                    loop.call_later(reply.delay_s, partial(send, reply.body))
                else:
                    send(reply.body)
        await writer.drain()


@asynccontextmanager
async def _calling_back(simulators: dict[str, RailSimulator], urls: dict[str, str]) -> AsyncIterator[None]:
    """Within this, what the rails say by themselves is posted where it is wanted; unheard, it is lost."""

    async def call_back(client: httpx2.AsyncClient, rail: str) -> None:
        while True:
            try:
                messages = simulators[rail].due()
            except Exception:
                _LOG.exception("%s cannot say what it has to say", rail)
                messages = ()
            for message in messages:
                if url := urls.get(rail):
                    with suppress(httpx2.HTTPError, httpx2.InvalidURL):
                        await client.post(url, content=message)
            await asyncio.sleep(TICK_S)

    async with httpx2.AsyncClient(timeout=CALLBACK_S, trust_env=False) as client:
        # One for each rail: a listener that takes its time keeps no other rail waiting.
        tasks = [asyncio.create_task(call_back(client, rail), name=f"callbacks of {rail}") for rail in simulators]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
