"""POST /v1/batches: many commands in one body, with an answer to each."""

from collections.abc import Callable
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from commands.account import ChangeLimits, CloseAccount, FreezeAccount, OpenAccount, UnfreezeAccount
from commands.api.account import account
from commands.api.asking import changed, put, understood
from commands.api.book import book
from commands.api.escrow import escrow
from commands.api.hold import hold
from commands.api.journal import entry
from commands.api.payment import payment, with_secret
from commands.api.policy import policy
from commands.api.settlement import settlement
from commands.batch import PostBatch
from commands.book import OpenBook
from commands.command import Command
from commands.desk import Answer, Outcome
from commands.escrow import ExpireEscrow, FundEscrow, ReleaseEscrow
from commands.hold import CaptureHold, ExpireHold, IncreaseHold, PlaceHold, VoidHold
from commands.journal import PostEntry, ReverseEntry
from commands.payment import (
    AcceptDispute,
    AttachMethod,
    CancelPayment,
    CapturePayment,
    ConfirmPayment,
    ContestDispute,
    CreatePayment,
    IncreaseAuthorization,
    RefundPayment,
    ResolveOutcome,
    RetryPayment,
    ReversePayment,
)
from commands.policy import SetPaymentPolicy
from commands.settlement import RecordSettlement

PATH: Final = "/v1/batches"

_Resource = Callable[[Outcome], dict[str, Any]]

ANSWERS: Final[dict[type[Command], tuple[int, _Resource]]] = {
    OpenBook: (201, book),
    SetPaymentPolicy: (200, policy),
    OpenAccount: (201, account),
    FreezeAccount: (200, account),
    UnfreezeAccount: (200, account),
    ChangeLimits: (200, account),
    CloseAccount: (200, account),
    PostEntry: (201, entry),
    ReverseEntry: (201, entry),
    PlaceHold: (201, hold),
    IncreaseHold: (200, hold),
    CaptureHold: (201, entry),
    VoidHold: (200, hold),
    ExpireHold: (200, hold),
    FundEscrow: (201, escrow),
    ReleaseEscrow: (200, escrow),
    ExpireEscrow: (200, escrow),
    CreatePayment: (201, payment),
    AttachMethod: (200, payment),
    ConfirmPayment: (200, payment),
    RetryPayment: (200, payment),
    IncreaseAuthorization: (200, payment),
    CapturePayment: (200, payment),
    CancelPayment: (200, payment),
    RefundPayment: (200, payment),
    ReversePayment: (200, payment),
    ContestDispute: (200, payment),
    AcceptDispute: (200, payment),
    ResolveOutcome: (200, payment),
    RecordSettlement: (201, settlement),
}
"""What each command is answered with by itself: the status, and the resource."""


async def post_batch(request: Request) -> Response:
    """The commands' answers in order, each with the status it would have by itself."""
    batch = understood(request, PostBatch)
    outcome = await put(request, batch)
    answers = [
        _answered(request, type(item.arguments), answer, outcome)
        for item, answer in zip(batch.commands, outcome.items, strict=True)
    ]
    return changed({"object": "batch", "mode": batch.mode, "position": outcome.position, "answers": answers})


def _answered(request: Request, model: type[Command], answer: Answer, batch: Outcome) -> dict[str, Any]:
    """`replayed` says that the answer was there before the batch was."""
    if isinstance(answer, Exception):
        return {**_problem(request, answer, batch), "replayed": False}
    replayed = answer.position < batch.recorded[0].position
    if answer.refusal is not None:
        return {**_problem(request, answer.refusal, answer), "replayed": replayed}
    status, resource = ANSWERS[model]
    body = resource(answer)
    if model is CreatePayment:
        body = with_secret(request, body, answer)
    return {"status": status, "body": body, "replayed": replayed}


def _problem(request: Request, error: Exception, outcome: Outcome) -> dict[str, Any]:
    """The problem that this would be answered with by itself, as the composition root has it."""
    body: dict[str, Any] = request.state.problem_of(request.scope["state"], error, outcome)
    return {"status": body["status"], "body": body}


routes = [Route(PATH, post_batch, methods=["POST"])]
