"""The one file that knows both what Daybook refuses and HTTP."""

from collections.abc import Mapping
from datetime import datetime
from http import HTTPStatus
from typing import Any, Final
from uuid import UUID

import orjson
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match
from starlette.types import ExceptionHandler

from adapters.web.problem import BadRequest, problem
from commands.api.asking import NoSuchId, instant
from commands.desk import Outcome
from domain import client_secret, errors, ids
from domain.errors import Refusal
from projections.api.answering import ReadModelBehind
from projections.api.events import TooManyStreams

STATUS: Final[dict[type[Refusal], int]] = {
    errors.BookNotFound: 404,
    errors.AccountNotFound: 404,
    errors.EntryNotFound: 404,
    errors.HoldNotFound: 404,
    errors.PaymentNotFound: 404,
    errors.PaymentHasNoSuchRequest: 404,
    errors.OperationNotFound: 404,
    errors.DisputeNotFound: 404,
    errors.SettlementNotFound: 404,
    errors.EscrowNotFound: 404,
    errors.EscrowPartNotFound: 404,
    errors.EscrowConditionNotFound: 404,
    errors.BookCodeTaken: 409,
    errors.AccountCodeTaken: 409,
    errors.AccountIsFrozen: 409,
    errors.AccountIsNotFrozen: 409,
    errors.AccountIsClosed: 409,
    errors.AccountNotEmpty: 409,
    errors.EntryAlreadyReversed: 409,
    errors.EntryIsReversal: 409,
    errors.HoldEnded: 409,
    errors.HoldIsExpired: 409,
    errors.HoldIsNotDue: 409,
    errors.HoldOfPayment: 409,
    errors.ConditionFailed: 409,
    errors.PaymentStatusForbids: 409,
    errors.PaymentOutcomeIsUnknown: 409,
    errors.PaymentBusy: 409,
    errors.PaymentApproverIsMaker: 409,
    errors.PaymentApproverNotNamed: 409,
    errors.PaymentApprovalNotWanted: 409,
    errors.PaymentUndecided: 409,
    errors.PaymentNotDue: 409,
    errors.PaymentAnswerKnown: 409,
    errors.PaymentOutcomeNotOpen: 409,
    errors.DisputeStateForbids: 409,
    errors.DisputeAnswerIsLate: 409,
    errors.SettlementRecordedAlready: 409,
    errors.EscrowEnded: 409,
    errors.EscrowIsExpired: 409,
    errors.EscrowIsNotDue: 409,
    errors.EscrowPartEnded: 409,
    errors.EscrowNotReady: 409,
    errors.EscrowConditionIsMet: 409,
    errors.EscrowAttesterUnfit: 409,
    errors.EscrowApproverUnfit: 409,
    errors.EscrowApproverIsMaker: 409,
    errors.EscrowApprovedBefore: 409,
    errors.AccountCodeReserved: 422,
    errors.AccountHoldsEscrows: 422,
    errors.EscrowExpiresInPast: 422,
    errors.EscrowToSameAccount: 422,
    errors.EscrowAmountExceeded: 422,
    errors.PaymentExpiresInPast: 422,
    errors.PaymentApproversTooFew: 422,
    errors.PaymentMethodUnfit: 422,
    errors.PaymentAmountExceeded: 422,
    errors.LimitsContradict: 422,
    errors.LimitsInPast: 422,
    errors.HoldExpiresInPast: 422,
    errors.HoldToSameAccount: 422,
    errors.CaptureExceedsHold: 422,
    errors.SourcesInsufficient: 422,
    errors.SourcesDiffer: 422,
    errors.SplitImpossible: 422,
    errors.ConversionTooSmall: 422,
    errors.ExchangeWithinCurrency: 422,
    errors.AmountTooLarge: 422,
    errors.BatchRefused: 422,
    errors.CurrencyMismatch: 422,
    errors.EntryUnbalanced: 422,
    errors.InsufficientFunds: 422,
    errors.CeilingExceeded: 422,
    errors.TotalTooLarge: 422,
}

NOT_FOUND: Final[dict[str, type[Refusal]]] = {
    "account": errors.AccountNotFound,
    "book": errors.BookNotFound,
    "entry": errors.EntryNotFound,
    "escrow": errors.EscrowNotFound,
    "hold": errors.HoldNotFound,
    "payment": errors.PaymentNotFound,
    "request": errors.OperationNotFound,
    "dispute": errors.DisputeNotFound,
    "settlement": errors.SettlementNotFound,
}
"""By the name of a path's parameter: what is answered when it is no id at all."""

ERRORS_MAX: Final = 20
"""Faults named in one answer."""
FIELD_MAX: Final = 100
"""Characters of one step of a field's path, since a stranger may have chosen it."""
MESSAGE_MAX: Final = 300
"""Characters of what is said of a fault, since it may repeat what a stranger wrote."""
_RETRY: Final = {"Retry-After": "1"}
_SECRET: Final = {"WWW-Authenticate": client_secret.HEADER}


async def refused(request: Request, exc: Exception) -> Response:
    """A kept refusal: the same bytes whenever it is asked for, so with the id of the request that was first refused."""
    assert isinstance(exc, Refusal)
    state = request.scope["state"]
    return problem(state, STATUS[type(exc)], exc.code, _title(type(exc)), **_members(exc, state.get("outcome")))


def _members(refusal: Refusal, outcome: Outcome | None) -> dict[str, Any]:
    first = outcome.recorded[0].metadata if outcome is not None and outcome.recorded else None
    return {
        "transient": _cause(refusal).transient,
        "request_id": first.request_id if first is not None else "",
        **_told(refusal),
    }


def _cause(refusal: Refusal) -> Refusal:
    """Of an atomic batch, the refusal of its command: whether another attempt may succeed depends on that."""
    return refusal.cause if isinstance(refusal, errors.BatchRefused) else refusal


def _told(refusal: Refusal) -> dict[str, Any]:
    shown = {name: _shown(name, value) for name, value in vars(refusal).items()}
    return {**shown, "because": _told(refusal.cause)} if isinstance(refusal, errors.BatchRefused) else shown


def problem_of(state: dict[str, Any], error: Exception, outcome: Outcome | None) -> dict[str, Any]:
    """The body of the problem that a command of a batch would be answered with by itself.

    Args:
        outcome: The command's own if it was refused, else the batch's.
    """
    if isinstance(error, Refusal):
        response = problem(
            dict(state), STATUS[type(error)], error.code, _title(type(error)), **_members(error, outcome)
        )
    else:
        handler = exception_handlers.get(type(error))
        first = outcome.recorded[0].metadata.request_id if outcome is not None else state["request_id"]
        as_first = {**state, "request_id": first}
        response = handler.answer(as_first, error) if isinstance(handler, _Other) else internal(as_first)
    body: dict[str, Any] = orjson.loads(response.body)
    return body


def _shown(field: str, value: Any) -> Any:
    if isinstance(value, list):
        return [_shown(field.removesuffix("s"), one) for one in value]
    if isinstance(value, datetime):
        return instant(value)
    if not isinstance(value, UUID):
        return value
    prefix = next(prefix for name, prefix in ids.PREFIX_OF_FIELD.items() if field.endswith(name))
    return ids.show(prefix, value)


def _title(cls: type[Exception]) -> str:
    return (cls.__doc__ or "").splitlines()[0]


async def no_such_id(request: Request, exc: Exception) -> Response:
    assert isinstance(exc, NoSuchId)
    return _not_found(request, exc.refusal)


def _not_found(request: Request, refusal: type[Refusal]) -> Response:
    return problem(request.scope["state"], STATUS[refusal], refusal.code, _title(refusal))


async def malformed(request: Request, exc: Exception) -> Response:
    assert isinstance(exc, ValidationError)
    found = exc.errors(include_url=False, include_context=False, include_input=False)
    for name in _of_path(request):
        if any(error["loc"][:1] == (name,) for error in found):
            return _not_found(request, NOT_FOUND[name])
    inside = {error["loc"][:length] for error in found for length in range(len(error["loc"]))}
    return problem(
        request.scope["state"],
        400,
        "invalid_request",
        "The request is not in the form it should have.",
        errors=[
            {"field": _pointer(error["loc"]), "code": error["type"], "message": error["msg"][:MESSAGE_MAX]}
            for error in found
            if error["type"] != "too_short" or error["loc"] not in inside  # Short only of items that are faulty.
        ][:ERRORS_MAX],
    )


def _of_path(request: Request) -> set[str]:
    """The fields of a read that its path alone gives."""
    return set() if request.method == "POST" else request.path_params.keys() - request.query_params.keys()


def _pointer(loc: tuple[int | str, ...]) -> str:
    """Source: RFC 6901, section 3. Of a batch's command, of a payment's method and of a policy's rule, pydantic names
    the kind too, which is no step in the body."""
    arguments = 0
    if loc[:1] == ("commands",):
        loc, arguments = (*loc[:2], *loc[3:]), 3
    if loc[arguments : arguments + 1] in (("method",), ("rule",)):
        loc = (*loc[: arguments + 1], *loc[arguments + 2 :])
    steps = (str(step)[:FIELD_MAX].replace("~", "~0").replace("/", "~1") for step in loc)
    return "".join(f"/{step}" for step in steps)


async def bad_request(request: Request, exc: Exception) -> Response:
    assert isinstance(exc, BadRequest)
    state = request.scope["state"]
    return problem(state, exc.status, exc.code, exc.title, detail=exc.detail, headers=exc.headers)


async def behind(request: Request, exc: Exception) -> Response:
    assert isinstance(exc, ReadModelBehind)
    return problem(
        request.scope["state"],
        503,
        exc.code,
        _title(ReadModelBehind),
        transient=exc.transient,
        headers=_RETRY,
        needed=exc.needed,
        reached=exc.reached,
    )


class _Other:
    """An answer that is no business decision."""

    def __init__(
        self, status: int, code: str, *, retry: bool, detail: str = "", headers: Mapping[str, str] | None = None
    ) -> None:
        self._status = status
        self._code = code
        self._retry = retry
        self._detail = detail
        self._headers = _RETRY if retry else headers

    async def __call__(self, request: Request, exc: Exception) -> Response:
        return self.answer(request.scope["state"], exc)

    def answer(self, state: dict[str, Any], exc: Exception) -> Response:
        return problem(
            state,
            self._status,
            self._code,
            _title(type(exc)),
            transient=self._retry,
            detail=self._detail or (str(exc) if isinstance(exc, errors.KeyReused) else ""),
            headers=self._headers,
        )


async def http_error(request: Request, exc: Exception) -> Response:
    """Starlette's own: no such path, a method the path does not have, or what a route raised by status."""
    assert isinstance(exc, HTTPException)
    state, status = request.scope["state"], exc.status_code
    match status:
        case 404:
            return problem(state, 404, "path_not_found", "There is nothing at this path.")
        case 405:
            allowed = ", ".join(sorted(_methods(request)))
            return problem(
                state, 405, "method_not_allowed", "The path does not take this method.", headers={"Allow": allowed}
            )
        case _:
            code = HTTPStatus(status).phrase.lower().replace(" ", "_")
            return problem(state, status, code, HTTPStatus(status).phrase, headers=exc.headers)


def _methods(request: Request) -> set[str]:
    """What the path takes, by any of its routes."""
    routes: list[BaseRoute] = request.app.routes
    matching = [route for route in routes if route.matches(request.scope)[0] is not Match.NONE]
    return {method for route in matching for method in getattr(route, "methods", None) or ()}


def internal(state: dict[str, Any]) -> Response:
    """A fault of ours: the answer says nothing of it, the log everything."""
    return problem(state, 500, "internal", "Daybook failed. The fault is ours, and it was logged.")


exception_handlers: Final[dict[Any, ExceptionHandler]] = {
    Refusal: refused,
    NoSuchId: no_such_id,
    ValidationError: malformed,
    BadRequest: bad_request,
    HTTPException: http_error,
    ReadModelBehind: behind,
    TooManyStreams: _Other(503, "too_many_streams", retry=True),
    errors.ClientSecretWrong: _Other(401, "client_secret_wrong", retry=False, headers=_SECRET),
    errors.KeyReused: _Other(422, "idempotency_key_reused", retry=False),
    errors.KeyInFlight: _Other(409, "idempotency_key_in_flight", retry=True),
    errors.Overloaded: _Other(503, "overloaded", retry=True),
    errors.Stopping: _Other(503, "stopping", retry=True),
    errors.Unavailable: _Other(503, "unavailable", retry=True),
    errors.OutcomeUnknown: _Other(503, "outcome_unknown", retry=True, detail="Ask again with the same key."),
}
