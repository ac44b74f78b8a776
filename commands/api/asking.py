"""How a route asks the desk, and what it answers with.

`request.state` holds the `desk`, the strictly read `body`, and the `context` of the command: its actor, its key and the
request it came with; `paying`, if payments are carried out from here, is told what became of one. An answer is built
from the outcome alone, so that the first one can be given again for ever.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar
from uuid import UUID

import orjson
from msgspec.structs import replace
from pydantic_core import InitErrorDetails, ValidationError
from starlette.requests import Request
from starlette.responses import Response

from commands.batch import PostBatch, ask_batch
from commands.command import Command, ask
from commands.desk import Outcome
from domain import ids
from domain.errors import Refusal

C = TypeVar("C", bound=Command)


class NoSuchId(Exception):
    """The path names a thing by what is no id of its kind, so there is none; `refusal` says which."""

    def __init__(self, refusal: type[Refusal]) -> None:
        super().__init__(refusal.code)
        self.refusal = refusal


def path_id(request: Request, name: str, prefix: str, refusal: type[Refusal]) -> UUID:
    """The id of that name in the request's path.

    Raises:
        NoSuchId: It is not a TypeID of that kind.
    """
    try:
        return ids.parse(prefix, request.path_params[name])
    except ValueError as error:
        raise NoSuchId(refusal) from error


async def asked(request: Request, model: type[Command], named: Mapping[str, Any] | None = None) -> Outcome:
    """Put the request's command to the desk; raises what `understood` and `put` do."""
    return await put(request, understood(request, model, named))


def understood(request: Request, model: type[C], named: Mapping[str, Any] | None = None) -> C:
    """The request's command; `named` are the fields of it that path and head give, and so the body may not.

    Raises:
        pydantic.ValidationError: The body is no such command.
    """
    state = request.state
    state.command = model.kind
    state.dry = _dry(request)
    return _understood(model, state.body, named or {})


async def put(request: Request, command: Command) -> Outcome:
    """The desk's answer to it.

    Raises:
        Refusal: It is refused; the outcome, in `request.state.outcome`, says where that stands in the log.
        What `Desk.submit` raises.
    """
    state = request.state
    asks = ask_batch(command, **state.context) if isinstance(command, PostBatch) else ask(command, **state.context)
    state.outcome = outcome = await state.desk.submit(replace(asks, dry=state.dry))
    if outcome.refusal is not None:
        raise outcome.refusal
    if state.paying is not None and not state.dry:
        for one in (outcome, *outcome.items):
            if isinstance(one, Outcome):
                state.paying.notice(one)
    assert isinstance(outcome, Outcome)
    return outcome


def _dry(request: Request) -> bool:
    """Whether the command is only to be tried: decided as it would be now, answered, and forgotten.

    Who misspells that, or says it twice, is not to be taken as meaning it.
    """
    if not request.scope["query_string"]:
        return False
    asked = request.query_params.multi_items()
    faults = [
        InitErrorDetails(type="extra_forbidden", loc=(name,), input=said) for name, said in asked if name != "dry_run"
    ]
    dry = [said for name, said in asked if name == "dry_run"]
    if len(dry) > 1 or not {*dry} <= {"true", "false"}:
        faults.append(InitErrorDetails(type="bool_parsing", loc=("dry_run",), input=dry))
    if faults:
        raise ValidationError.from_exception_data("query", faults)
    return dry == ["true"]


def _understood(model: type[C], body: Mapping[str, Any], named: Mapping[str, Any]) -> C:
    twice = body.keys() & named.keys()
    if twice:
        errors = [InitErrorDetails(type="extra_forbidden", loc=(name,), input=None) for name in sorted(twice)]
        raise ValidationError.from_exception_data(model.__name__, errors)
    return model.model_validate({**body, **named})


def created(resource: Mapping[str, Any], *, location: str) -> Response:
    """201, with where the new thing is found."""
    return _json(resource, 201, {"Location": location})


def changed(resource: Mapping[str, Any]) -> Response:
    """200, with the thing as the command left it."""
    return _json(resource, 200, {})


def _json(resource: Mapping[str, Any], status: int, headers: dict[str, str]) -> Response:
    return Response(orjson.dumps(resource), status, headers, media_type="application/json")


def instant(at: datetime) -> str:
    """RFC 3339, UTC, with microseconds: `2026-11-20T19:06:47.000000Z`."""
    return at.astimezone(UTC).isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"
