"""Whose a UPI address is, as its bank says: whoever pays somebody sees their name first.

Nothing is booked, and the bank is asked each time.
"""

from datetime import UTC, datetime
from typing import Final
from uuid import uuid4

import orjson
from pydantic import BaseModel, ConfigDict
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from adapters.web.problem import BadRequest
from domain import ids
from domain.ports import Addresses
from projections.api.parameters import asked


class UpiAddressRead(BaseModel):
    """Whose a UPI address is."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    address: str


async def read_upi_address(request: Request) -> Response:
    read = asked(request, UpiAddressRead)
    addresses: Addresses | None = request.state.addresses
    if addresses is None:
        raise BadRequest("rail_not_found", "Payments go by no such rail from here.", status=404)
    now = datetime.now(UTC)
    holder = await addresses.resolve(read.address, request_id=ids.request_id(uuid4()), now=now)
    if holder is None:
        raise BadRequest("upi_address_not_found", "Nobody has this UPI address.", status=404)
    shown = {
        "object": "upi_address",
        "address": str(holder.address),
        "name": holder.name,
        "merchant": holder.merchant,
        "account": holder.account,
    }
    return Response(orjson.dumps(shown), media_type="application/json")


reads: Final = [Route("/v1/upi/addresses/{address}", read_upi_address, methods=["GET"])]
