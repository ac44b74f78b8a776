"""What every command brings, checked before its route runs: a body, an Idempotency-Key and an actor.

An operator's request brings the same, but for the key.
"""

import asyncio
import re
from typing import Any, Final

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from adapters.web.errors import problem_of
from adapters.web.head import Head, first
from adapters.web.problem import BadRequest
from adapters.web.strict_json import read_object

BODY_BYTES_MAX: Final = 1024 * 1024
"""Bytes of a request's body."""
BATCH_BODY_BYTES_MAX: Final = 16 * 1024 * 1024
"""Bytes of a batch's body: 10,000 commands of a good length."""
DRAIN_MAX: Final = 16 * 1024 * 1024
"""Bytes read past that of a body that is too large, so that its sender gets to read why."""
LARGE: Final = 64 * 1024
"""Bytes from which on a body is read beside the event loop, so that nobody else waits for that."""
BODY_PATIENCE_S: Final = 10.0
"""How long a body may take to arrive."""

_PRINTABLE: Final = re.compile(r"[\x20-\x7e]{1,255}", re.ASCII)
_CLOSE: Final = {"Connection": "close"}


class Intake:
    """Around the route of a command. `request.state` gets `body` and `context`, the keywords of `commands.ask`.

    Args:
        body_bytes_max: Of a request's body.
        keyed: Whether it needs an Idempotency-Key; without, none is looked for.
        actor: Who asks, whatever the head says; None: the head says it.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        body_bytes_max: int = BODY_BYTES_MAX,
        body_patience_s: float = BODY_PATIENCE_S,
        keyed: bool = True,
        actor: str | None = None,
    ) -> None:
        self._app = app
        self._actor = actor
        self._keyed = keyed
        self._bytes_max = body_bytes_max
        self._body_patience_s = body_patience_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        state: dict[str, Any] = scope["state"]
        head: Head = state["head"]
        try:
            body = await self._body(head, receive)
        except ClientDisconnect:
            return  # It left before it had said what it wanted; there is nobody to answer.
        state["context"] = {
            "actor": self._actor or _actor(head),
            **({"key": _key(head)} if self._keyed else {}),
            "request_id": state["request_id"],
            "correlation_id": state["correlation_id"],
        }
        _must_be_json(head)
        state["body"] = read_object(body) if len(body) < LARGE else await asyncio.to_thread(read_object, body)
        state["problem_of"] = problem_of

        async def answer(message: Message) -> None:
            outcome = state.get("outcome")
            if outcome is not None and message["type"] == "http.response.start":
                if state["dry"]:
                    message["headers"].append((b"daybook-dry-run", b"true"))
                else:
                    message["headers"].append((b"daybook-position", b"%d" % outcome.position))
                if outcome.replayed:
                    message["headers"].append((b"idempotency-replayed", b"true"))
            await send(message)

        await self._app(scope, receive, answer)

    async def _body(self, head: Head, receive: Receive) -> bytes:
        length = first(head, b"content-length") or ""
        if (
            (first(head, b"expect") or "").lower() == "100-continue"
            and length.isdigit()
            and int(length) > self._bytes_max
        ):
            raise _too_large(self._bytes_max)  # It waits to be told whether to send.
        try:
            async with asyncio.timeout(self._body_patience_s):
                return await _read(receive, self._bytes_max)
        except TimeoutError as error:
            raise BadRequest("body_timeout", "The body did not arrive in time.", status=408, headers=_CLOSE) from error


async def _read(receive: Receive, bytes_max: int) -> bytes:
    body = bytearray()
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        chunk: bytes = message.get("body", b"")
        size += len(chunk)
        if size <= bytes_max:
            body += chunk
        if size > bytes_max + DRAIN_MAX:
            raise _too_large(bytes_max)
        if not message.get("more_body", False):
            break
    if size > bytes_max:
        raise _too_large(bytes_max)
    return bytes(body)


def _too_large(bytes_max: int) -> BadRequest:
    return BadRequest("body_too_large", f"The body is larger than {bytes_max} bytes.", status=413, headers=_CLOSE)


def _must_be_json(head: Head) -> None:
    types = head.get(b"content-type", [])
    kind, _, parameter = (types[0] if len(types) == 1 else "").partition(";")
    if kind.strip().lower() != "application/json" or parameter.strip().lower() not in ("", "charset=utf-8"):
        raise BadRequest("content_type_unsupported", "The body is to be application/json, in UTF-8.", status=415)
    encoding = first(head, b"content-encoding")
    if encoding is not None and encoding.lower() != "identity":
        raise BadRequest("content_encoding_unsupported", "The body is to come uncompressed.", status=415)


def _key(head: Head) -> str:
    keys = head.get(b"idempotency-key", [])
    if not keys:
        raise BadRequest("idempotency_key_missing", "A command needs an Idempotency-Key header.")
    if len(keys) > 1 or not _PRINTABLE.fullmatch(keys[0]):
        raise BadRequest("idempotency_key_invalid", "An Idempotency-Key is 1 to 255 printable ASCII characters.")
    return keys[0]


def _actor(head: Head) -> str:
    actors = head.get(b"daybook-actor", [])
    if not actors:
        raise BadRequest("actor_missing", "A command needs a Daybook-Actor header that says who asks.")
    if len(actors) > 1 or not _PRINTABLE.fullmatch(actors[0]):
        raise BadRequest("actor_invalid", "A Daybook-Actor is 1 to 255 printable ASCII characters.")
    return actors[0]
