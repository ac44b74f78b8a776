"""How the application is served: uvicorn, with every wait for a stranger bounded and every answer a problem+json."""

import asyncio
import socket
from typing import Any, Final

import uvicorn
from starlette.applications import Starlette
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from adapters.web.problem import problem_body
from adapters.web.trace import request_id

HEAD_PATIENCE_S: Final = 10.0
"""How long a request's head may take to arrive, and a new connection may stay silent."""
HEAD_MAX: Final = 64 * 1024
"""Bytes of a head that has not ended with the data it began in."""
LINGER_S: Final = 0.5
"""How long a refused sender may go on before it is cut off."""
LINGER_MAX: Final = 1024 * 1024
"""Bytes that a refused sender may send on."""
GRACE_S: Final = 20
"""How long a stop waits for what is in flight; longer than anything in flight is allowed to take."""
AT_ONCE_MAX: Final = 100
"""Connections let in before those that are there have their turn again."""


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn waits for a request's head for ever and takes any amount of it; this does not."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._head_size = 0
        self._in_head = True
        self._late: asyncio.TimerHandle | None = None
        self._refused = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_came()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._refused:
            self._head_size += len(data)
            if self._head_size > LINGER_MAX:
                self.transport.close()
            return
        super().data_received(data)
        if self._in_head and not self.transport.is_closing():
            self._head_size += len(data)
            if self._head_size > HEAD_MAX:
                self._refuse(431, "head_too_large", "The request's head is too large.")

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head = True
        self._head_size = 0
        self._expect_head()

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._head_came()
        super().on_headers_complete()

    def shutdown(self) -> None:
        """uvicorn lets what is in flight end by itself; a stream of events has to be told to."""
        super().shutdown()
        if self.cycle is not None and not self.cycle.response_complete:
            state = self.cycle.scope.setdefault("state", {})
            state["stopping"] = True
            if close_stream := state.get("close_stream"):
                close_stream()

    def send_400_response(self, msg: str) -> None:
        self._refuse(400, "http_malformed", "This is not HTTP as Daybook understands it.")

    def _expect_head(self) -> None:
        if self._late is None:
            self._late = self.loop.call_later(HEAD_PATIENCE_S, self._head_is_late)

    def _head_came(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _head_is_late(self) -> None:
        self._late = None
        if self.transport.is_closing():
            return
        if self.cycle is not None and not self.cycle.response_complete:
            self._expect_head()  # The request before it is still being answered.
        else:
            self._refuse(408, "head_timeout", "The request's head did not arrive in time.")

    def _refuse(self, status: int, code: str, title: str) -> None:
        name = request_id(None)
        body = problem_body(status, code, title, request_id=name)
        head = (
            f"HTTP/1.1 {status} \r\ncontent-type: application/problem+json\r\ncontent-length: {len(body)}\r\n"
            f"request-id: {name}\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(head.encode("ascii") + body)
        # Closing upon unread bytes would reset the connection and take the answer with it, so what comes is let go by.
        self._refused = True
        self.loop.call_later(LINGER_S, self.transport.close)


class Server(uvicorn.Server):
    """uvicorn's; whoever comes while it is busy is let in with the others who wait.

    uvloop lets in one connection each time round its loop, and with hundreds of busy connections one round takes a
    tenth of a second, so that newcomers waited for seconds.
    """

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._doors: list[socket.socket] = []
        self._coming: set[asyncio.Task[None]] = set()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for listener in sockets or ():
            door = listener.dup()  # uvloop has the listener itself.
            door.setblocking(False)
            self._doors.append(door)
            asyncio.get_running_loop().add_reader(door, self._let_in, door)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for door in self._doors:
            asyncio.get_running_loop().remove_reader(door)
            door.close()
        await super().shutdown(sockets)

    def _let_in(self, door: socket.socket) -> None:
        for _ in range(AT_ONCE_MAX):
            try:
                connection, _ = door.accept()
            except OSError:
                return  # Nobody else; or no file is left, which uvloop has its way with.
            task = asyncio.create_task(self._take(connection))
            self._coming.add(task)
            task.add_done_callback(self._coming.discard)

    async def _take(self, connection: socket.socket) -> None:
        try:
            connection.setblocking(False)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await asyncio.get_running_loop().connect_accepted_socket(self._protocol, connection)
        except OSError:
            connection.close()  # They are gone again.

    def _protocol(self) -> BoundedProtocol:
        return BoundedProtocol(self.config, self.server_state, self.lifespan.state)


def server(app: Starlette) -> Server:
    """It, ready to run on sockets that are given; logging is left to `adapters.observe.logs`."""
    config = uvicorn.Config(
        app,
        http=BoundedProtocol,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=GRACE_S,
    )
    return Server(config)
