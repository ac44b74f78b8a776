"""POST /v1/consensus/validate: what validators would make of a payment now, be it there or only thought of.

Those outside are asked in earnest, the others decide on the log's truth, as a dry run does. Nothing is kept of it, so
that there is nothing for an Idempotency-Key to name.
"""

from datetime import UTC, datetime
from typing import Any, Final

import orjson
from msgspec.structs import replace
from pydantic import BaseModel, ConfigDict, RootModel
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from adapters.paying import Found
from adapters.web.rails import must_have_no_query
from commands.command import Command, PaymentId, ask
from commands.payment import IntentToValidate, ValidateIntent, ValidatePayment
from domain import ids
from domain.errors import PaymentNotFound
from domain.events import PaymentValidated
from domain.payment import must_be_to_come
from domain.validation import subject


class PaymentToValidate(BaseModel):
    """A payment that is there, with a method, and not on its way yet."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    payment: PaymentId


class ToValidate(RootModel[PaymentToValidate | IntentToValidate]):
    """Ask every validator about a payment: one that is there, or one as it would be created.

    The answer is what would be decided now. Nothing is kept, and nothing comes of it.
    """


async def validate(request: Request) -> Response:
    must_have_no_query(request)
    body = request.state.body
    command = await (_of_payment(request, body) if "payment" in body else _of_intent(request, body))
    dry = replace(ask(command, key="", **request.state.context), dry=True)
    outcome = await request.state.desk.submit(dry)
    if outcome.refusal is not None:
        raise outcome.refusal
    event = outcome.recorded[0].event
    assert isinstance(event, PaymentValidated), event
    named = ids.show(ids.PAYMENT, command.payment_id) if isinstance(command, ValidatePayment) else None
    shown = {
        "object": "validation",
        "payment": named,
        "rule": event.rule,
        "votes": event.votes,
        "passed": event.passed,
        "why": event.why,
    }
    return Response(orjson.dumps(shown), media_type="application/json")


async def _of_payment(request: Request, body: dict[str, Any]) -> Command:
    named = PaymentToValidate.model_validate(body)
    known = await Found(request.state.reads).payment(named.payment)
    if known is None:
        raise PaymentNotFound(named.payment)
    now = datetime.now(UTC)
    must_be_to_come(known, now)
    return ValidatePayment(payment_id=known.id, votes=await request.state.validators.votes(subject(known, now)))


async def _of_intent(request: Request, body: dict[str, Any]) -> Command:
    thought = IntentToValidate.model_validate(body)
    about = thought.subject(request.state.context["actor"], datetime.now(UTC))
    votes = await request.state.validators.votes(about)
    return ValidateIntent.model_validate({**dict(thought), "votes": votes})


routes: Final = [Route("/v1/consensus/validate", validate, methods=["POST"])]
