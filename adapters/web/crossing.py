"""What a payer's browser may ask from a page of somebody else's: the checkout, and nothing besides.

Whoever asks there is known by the payment's secret in a header, which no browser sends by itself, so that any page may.
Source: the Fetch standard, CORS protocol.
"""

import re
from typing import Final

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_CHECKOUT: Final = re.compile(r"/v1/payments/[^/]+/checkout(/qr\.svg)?")
_ASKED: Final = "Content-Type, Daybook-Client-Secret, Idempotency-Key, Prefer, Request-Id, traceparent"
_TOLD: Final = "Daybook-Position, Idempotency-Replayed, Preference-Applied, Request-Id, Retry-After"
_ANYBODY: Final = [(b"access-control-allow-origin", b"*"), (b"access-control-expose-headers", _TOLD.encode())]
_AGAIN_S: Final = 7200
"""How long a browser need not ask again whether it may."""


class Crossing:
    """Around all routes, within what names requests."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not _CHECKOUT.fullmatch(scope["path"]):
            await self._app(scope, receive, send)
            return

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *_ANYBODY]
            await send(message)

        asks_first = scope["method"] == "OPTIONS" and b"access-control-request-method" in scope["state"]["head"]
        await (_may if asks_first else self._app)(scope, receive, answer)


_may: Final = Response(
    None,
    204,
    {
        "Access-Control-Allow-Methods": "GET, POST",
        "Access-Control-Allow-Headers": _ASKED,
        "Access-Control-Max-Age": str(_AGAIN_S),
    },
)
