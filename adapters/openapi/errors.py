"""The catalogue of error codes: what each means, and whether a retry can help.

Refusals are described where they are defined; what is no business answer is described here, and a test holds the
codes that the code can answer with against this list.
"""

from dataclasses import fields
from datetime import datetime
from inspect import cleandoc
from typing import Any, Final, get_type_hints
from uuid import UUID

import msgspec

from adapters.client.resources import ErrorCatalogue, ErrorInfo
from adapters.web.errors import STATUS
from domain import ids
from domain.errors import REFUSALS, Refusal

_POSITION: Final = {"type": "integer"}
_FAULTS: Final = {"errors": {"type": "array", "items": {"$ref": "#/components/schemas/Fault"}}}


def _request(code: str, status: int, title: str, meaning: str, **members: Any) -> ErrorInfo:
    """The request was not understood: nothing was looked at, no key is used up, and the same request fails again."""
    return ErrorInfo(
        code=code, status=status, kind="request", transient=False, title=title, meaning=meaning, members=members
    )


def _server(code: str, status: int, title: str, meaning: str, *, transient: bool = True, **members: Any) -> ErrorInfo:
    return ErrorInfo(
        code=code, status=status, kind="server", transient=transient, title=title, meaning=meaning, members=members
    )


OTHERS: Final = [
    _request(
        "invalid_request",
        400,
        "The request is not in the form it should have.",
        "A parameter, or a field of the body, is missing, unknown or not as the schema says; `errors` names each.",
        **_FAULTS,
    ),
    _request(
        "json_malformed", 400, "The body is not JSON.", "The body does not parse; `detail` says where it breaks off."
    ),
    _request("json_invalid_utf8", 400, "The body is not UTF-8.", "JSON is UTF-8 here, whatever the headers say."),
    _request(
        "json_not_an_object",
        400,
        "The body is not a JSON object.",
        "A command is an object; an array or a bare value is none.",
    ),
    _request(
        "json_duplicate_key",
        400,
        "An object has the same key twice.",
        "Two readers could understand it differently, so nobody guesses which one counts.",
    ),
    _request(
        "json_number_too_large",
        400,
        "A number has more than 20 digits.",
        "No amount nor total is that large.",
    ),
    _request(
        "json_float",
        400,
        "Numbers are whole: amounts are in minor units, without point or exponent.",
        "Write 10.50 EUR as 1050.",
    ),
    _request("json_not_a_number", 400, "NaN and Infinity are no JSON.", "Some writers put them in; no reader may."),
    _request("json_too_deep", 400, "Objects and arrays lie more than 16 deep.", "No command is nested that deep."),
    _request(
        "json_lone_surrogate",
        400,
        "A string holds half of a surrogate pair.",
        "It stands for no character, and cannot be stored as text.",
    ),
    _request(
        "idempotency_key_missing",
        400,
        "A command needs an Idempotency-Key header.",
        "The key makes it safe to send the command again: one key, one effect.",
    ),
    _request(
        "idempotency_key_invalid",
        400,
        "An Idempotency-Key is 1 to 255 printable ASCII characters.",
        "The header is empty, too long, there twice, or has other characters.",
    ),
    _request(
        "actor_missing",
        400,
        "A command needs a Daybook-Actor header that says who asks.",
        "Who asked stands in the audit trail beside every event.",
    ),
    _request(
        "actor_invalid",
        400,
        "A Daybook-Actor is 1 to 255 printable ASCII characters.",
        "The header is empty, too long, there twice, or has other characters.",
    ),
    _request("http_malformed", 400, "This is not HTTP as Daybook understands it.", "The connection is closed."),
    _request(
        "client_secret_wrong",
        401,
        "The Daybook-Client-Secret is missing, or is not this payment's.",
        "It comes with the answer that a payment was created. Whether there is such a payment is not said.",
    ),
    _request(
        "rail_not_found",
        404,
        "Payments go by no such rail from here.",
        "The process has no route over it, or no rails at all; `GET /v1/rails` says which it has.",
    ),
    _request(
        "route_not_found",
        404,
        "The rail has no such route.",
        "`GET /v1/rails` says which it has.",
    ),
    _request(
        "upi_address_not_found",
        404,
        "Nobody has this UPI address.",
        "Its bank knows no such address, or it is none: `name@handle`.",
    ),
    _request("path_not_found", 404, "There is nothing at this path.", "No route has this path; see /openapi.json."),
    _request(
        "method_not_allowed",
        405,
        "The path does not take this method.",
        "`Allow` says which methods it takes.",
    ),
    _request("head_timeout", 408, "The request's head did not arrive in time.", "The connection is closed."),
    _request("body_timeout", 408, "The body did not arrive in time.", "The connection is closed."),
    _request(
        "body_too_large",
        413,
        "The body is larger than it may be.",
        "1 MiB, and 16 MiB for a batch, unless the process is set otherwise; `title` says how many bytes.",
    ),
    _request(
        "content_type_unsupported",
        415,
        "The body is to be application/json, in UTF-8.",
        "The Content-Type header is missing, there twice, or says something else.",
    ),
    _request("content_encoding_unsupported", 415, "The body is to come uncompressed.", "Leave Content-Encoding out."),
    _request(
        "payment_wants_no_link_opened",
        409,
        "The payer has no link to open now.",
        "Only a payment that waits for that has one: `action` says so, and what it is.",
    ),
    _request(
        "idempotency_key_reused",
        422,
        "This Idempotency-Key was used for another request.",
        "A key names one request for ever; use a new one for a new request.",
    ),
    _request(
        "override_ends_in_past",
        422,
        "An override ends in the time to come.",
        "`until` is over already by the process's clock, so that the override would do nothing.",
    ),
    _request("head_too_large", 431, "The request's head is too large.", "It is past 64 KiB."),
    _server(
        "idempotency_key_in_flight",
        409,
        "A command with this Idempotency-Key is being decided right now.",
        "The first request is not answered yet; ask again with the same key to get its answer.",
    ),
    _server(
        "internal",
        500,
        "Daybook failed. The fault is ours, and it was logged.",
        "Whether a command was applied is not said; asking again with the same key is safe.",
        transient=False,
    ),
    _server(
        "overloaded",
        503,
        "The queue is full or the wait was too long; the command was not looked at and its key is unused.",
        "Ask again after `Retry-After`.",
    ),
    _server(
        "stopping",
        503,
        "The desk is closing; the command was not looked at and its key is unused.",
        "This process is being stopped; another one, or the next, will answer.",
    ),
    _server(
        "unavailable",
        503,
        "The store or a bank cannot be reached or did not answer in time; nothing was applied and the key is unused.",
        "Ask again after `Retry-After`.",
    ),
    _server(
        "outcome_unknown",
        503,
        "The store did not say whether the command was applied; ask again with the same key.",
        "Never take it for a no: the same key gives the answer once it is known.",
    ),
    _server(
        "read_model_behind",
        503,
        "The read model has not reached the position that was asked for; ask again, or with consistency=eventual.",
        "A read waits two seconds for what was written before it, or for a position that it names, be that one past"
        " the log's end: it may be written meanwhile. `needed` and `reached` are positions of the log.",
        needed=_POSITION,
        reached=_POSITION,
    ),
    _server(
        "too_many_streams",
        503,
        "This process has as many event streams open as it takes.",
        "100 unless it is set otherwise. Ask again after `Retry-After`, or another process; the list of the log, a page"
        " at a time, is there all the same.",
    ),
]
"""What is answered besides refusals."""


def _refusal(cls: type[Refusal]) -> ErrorInfo:
    title, _, rest = cleandoc(cls.__doc__ or "").partition("\n")
    status = STATUS[cls]
    again = "A new attempt, under a new Idempotency-Key, may succeed." if cls.transient else ""
    kept = f"Upon a command, the refusal is kept: the same key gets it again, for ever. {again}".strip()
    return ErrorInfo(
        code=cls.code,
        status=status,
        kind="refusal",
        transient=cls.transient,
        title=title,
        meaning=" ".join([*rest.split(), kept]),
        members=members(cls),
    )


def members(cls: type[Refusal]) -> dict[str, Any]:
    """The refusal's own members of a problem, by name, as JSON Schemas."""
    hints = get_type_hints(cls)
    return {field.name: _schema(field.name, hints[field.name]) for field in fields(cls)}


def _schema(name: str, hint: Any) -> dict[str, Any]:
    if hint == list[UUID]:
        return {"type": "array", "items": _schema(name.removesuffix("s"), UUID)}
    if hint is UUID:
        kind = next(kind for field, kind in ids.PREFIX_OF_FIELD.items() if name.endswith(field))
        return {"type": "string", "pattern": f"^{kind}_[0-7][0-9a-hjkmnp-tv-z]{{25}}$"}
    if hint is datetime:
        return {"type": "string", "format": "date-time"}
    if isinstance(hint, type) and issubclass(hint, Refusal):
        return {"type": "object"}
    return dict(msgspec.json.schema(hint))


BY_CODE: Final = {info.code: info for info in [*OTHERS, *map(_refusal, REFUSALS.values())]}
CATALOGUE: Final = ErrorCatalogue(
    object="error_catalogue", data=sorted(BY_CODE.values(), key=lambda info: (info.status, info.code))
)
