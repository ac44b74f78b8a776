"""The link that a payer has to open, drawn as a QR code: for whoever sells, and for the payer at the checkout.

Source: ISO/IEC 18004, by segno.
"""

import io
from functools import lru_cache
from typing import Any, Final
from uuid import UUID

import segno
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from adapters.web.problem import BadRequest
from domain.client_secret import HEADER, ClientSecrets
from domain.errors import PaymentNotFound
from projections import accounts, payments
from projections.api.answering import POSITION_HEADER, answer
from projections.api.checkout import CheckoutRead
from projections.api.parameters import Read, asked
from projections.api.payments import PaymentRead

MEDIA_TYPE: Final = "image/svg+xml"
_PIXELS: Final = 6
"""Of a module's side, as the picture comes; it can be shown at any size."""


async def draw(request: Request) -> Response:
    read = asked(request, PaymentRead)
    return await _drawn(request, read, read.payment)


async def draw_at_checkout(request: Request) -> Response:
    secrets: ClientSecrets = request.state.client_secrets
    payment_id = secrets.payment_opened(request.path_params["payment"], by=request.headers.getlist(HEADER))
    return await _drawn(request, asked(request, CheckoutRead), payment_id)


async def _drawn(request: Request, read: Read, payment_id: UUID) -> Response:
    wanted = {"payment": payment_id}
    answered = await answer(request, "payment", read, wanted, of=[accounts, payments], key="payment_id")
    if not answered.rows:
        raise PaymentNotFound(payment_id)
    action: dict[str, Any] = answered.rows[0]["action"] or {}
    if "link" not in action:
        raise BadRequest("payment_wants_no_link_opened", "The payer has no link to open now.", status=409)
    headers = {POSITION_HEADER: str(answered.position), "Cache-Control": "no-store"}
    return Response(picture(action["link"]), 200, headers, media_type=MEDIA_TYPE)


@lru_cache(maxsize=256)  # A screen asks again and again, and drawing takes some milliseconds.
def picture(text: str) -> bytes:
    """The text as a QR code, dark on light with the quiet zone that readers need."""
    out = io.BytesIO()
    segno.make_qr(text, error="m").save(out, kind="svg", scale=_PIXELS, light="#fff", xmldecl=False)
    return out.getvalue()


reads: Final = [
    Route("/v1/payments/{payment}/qr.svg", draw, methods=["GET"]),
    Route("/v1/payments/{payment}/checkout/qr.svg", draw_at_checkout, methods=["GET"]),
]
