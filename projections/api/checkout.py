"""A payment as its payer may see it, who shows its secret and is nobody else to us."""

from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from domain import ids
from domain import payment as rules
from domain.client_secret import HEADER, ClientSecrets
from domain.errors import PaymentNotFound
from projections import accounts, payments
from projections.api.answering import answer, one
from projections.api.parameters import PaymentId, Read, asked


class CheckoutRead(Read):
    """One payment, as its payer may see it."""

    payment: PaymentId


async def read_checkout(request: Request) -> Response:
    """Of whoever has not the payment's secret nothing is looked at."""
    secrets: ClientSecrets = request.state.client_secrets
    payment_id = secrets.payment_opened(request.path_params["payment"], by=request.headers.getlist(HEADER))
    read = asked(request, CheckoutRead)
    wanted = {"payment": payment_id}
    answered = await answer(request, "payment", read, wanted, of=[accounts, payments], key="payment_id")
    if not answered.rows:
        raise PaymentNotFound(payment_id)
    return one(resource(answered.rows[0]), answered.position)


def resource(row: dict[str, Any]) -> dict[str, Any]:
    """The same of a payment as what its payer is answered upon paying."""
    attempts = [request for request in row["requests"] if request["upon"] is None]
    lapses_at = row["lapses_at"] if row["status"] in rules.UNBEGUN else None
    return {
        "object": "checkout",
        "id": ids.show(ids.PAYMENT, row["payment_id"]),
        "status": row["status"],
        "amount": row["amount"],
        "currency": row["currency"],
        "description": row["description"] or "",
        "action": row["action"],
        "declined": rules.told_to_payer((attempts[-1]["declined"] or "") if attempts else ""),
        "expires_at": row["expires_at"] or lapses_at,
    }


routes: Final = [Route("/v1/payments/{payment}/checkout", read_checkout, methods=["GET"])]
