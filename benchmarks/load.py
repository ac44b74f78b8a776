"""A small HTTP load generator: keep-alive connections, one request after the other on each, latencies kept."""

import asyncio
import time
from collections.abc import Callable
from typing import NamedTuple


class Figures(NamedTuple):
    """What a run came to; latencies in milliseconds."""

    per_second: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    failed: int


def figures(latencies_s: list[float], seconds: float, failed: int) -> Figures:
    """Sum up the latencies of the requests that succeeded."""
    ordered = sorted(latencies_s) or [float("nan")]
    at = [1000 * ordered[min(int(len(ordered) * share), len(ordered) - 1)] for share in (0.5, 0.95, 0.99)]
    return Figures(len(latencies_s) / seconds, at[0], at[1], at[2], failed)


class _Connection(asyncio.Protocol):
    """Sends the next request as soon as an answer is whole."""

    def __init__(self, request: Callable[[], bytes], until: float, done: asyncio.Future[None]) -> None:
        self._request = request
        self._until = until
        self._done = done
        self._answer = bytearray()
        self.latencies_s: list[float] = []
        self.failed = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._send()

    def _send(self) -> None:
        self._sent = time.perf_counter()
        if self._sent >= self._until:
            self._transport.close()
        else:
            self._transport.write(self._request())

    def data_received(self, data: bytes) -> None:
        self._answer += data
        head = self._answer.find(b"\r\n\r\n")
        if head < 0:
            return
        start = self._answer.lower().find(b"content-length:", 0, head) + len(b"content-length:")
        length = int(self._answer[start : self._answer.find(b"\r\n", start)])
        if len(self._answer) < head + 4 + length:
            return
        if bytes(self._answer[9:12]) in (b"200", b"201"):
            self.latencies_s.append(time.perf_counter() - self._sent)
        else:
            self.failed += 1
        del self._answer[: head + 4 + length]
        self._send()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._done.done():
            self._done.set_result(None)


async def run(port: int, request: Callable[[], bytes], *, connections: int, seconds: float) -> Figures:
    """Load 127.0.0.1:port for that long.

    Args:
        request: Makes the bytes of the next request.
    """
    loop = asyncio.get_running_loop()
    began = time.perf_counter()
    made = []
    for _ in range(connections):
        done: asyncio.Future[None] = loop.create_future()
        connection = _Connection(request, began + seconds, done)
        await loop.create_connection(lambda c=connection: c, "127.0.0.1", port)  # type: ignore[misc]
        made.append((connection, done))
    await asyncio.gather(*(done for _, done in made))
    latencies = [latency for connection, _ in made for latency in connection.latencies_s]
    return figures(latencies, time.perf_counter() - began, sum(connection.failed for connection, _ in made))
