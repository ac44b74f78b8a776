"""The OpenAPI document, made from the models that validate and the resources that are answered.

Source: OpenAPI Specification 3.1.1.
"""

from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from importlib.metadata import version
from typing import Any, Final

import msgspec
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from adapters.client import resources
from adapters.openapi.errors import BY_CODE
from adapters.openapi.operations import OPERATIONS, Example, Operation

Schema = dict[str, Any]

REF: Final = "#/components/schemas/"
_TITLE: Final = "Daybook"
_ABOUT: Final = """An event-sourced, double-entry ledger.

* **Amounts** are whole numbers of minor units: `1050` in EUR is 10.50 euro.
* **Commands** (POST) need an `Idempotency-Key` and a `Daybook-Actor`. The same key and request get the first answer
  again, for ever; so after a lost answer, a timeout or a 503, ask again with the same key.
* **Overrides** of circuit breakers and **decisions** of routes, also POST, are no commands of the ledger and need only
  a `Daybook-Actor`.
* **Payers** show a payment's `client_secret` as `Daybook-Client-Secret`, and need no name; their browsers may ask
  at the checkout from any page.
* **Reads** see every command that was acknowledged before them, and say the position of the log they answer for. One
  that names a position past the log's end waits two seconds for it, then says `read_model_behind`.
* **Errors** are `application/problem+json` with a `code` that never changes: `/v1/catalogue/errors`.

The examples run, in the order of this page, on an empty Daybook; those that are refused there say so."""

_TAGS: Final = {
    "Payments": """A payment is an intent, the attempts to carry it out on a rail, and what is asked of the rail
afterwards. Its whole life, every status and what leads from one to another:

![The life of a payment](/docs/payments.svg)

Once it is confirmed and approved, and before any rail hears of it, validators vote, and the rule of the book's policy
decides. Of one that does not pass, `validation` says who denied it and why: `above_amount_max` and `below_amount_min`
are limits of the policy, `above_rail_limit` is one of UPI itself, for another method or another amount;
`insufficient_funds` and what else an account refuses is mended on the account; another method, or the same tried again,
is validated anew. While somebody whose word it depends on is not heard, it rests, and they are asked again.""",
    "Settlements": "What rails report of their days: what settled, what came back, and what fits nothing.",
    "Disputes": "What payers dispute: a rail takes the money back at once, and says in the end who was right.",
    "Escrows": """Money of a depositor, set apart for a beneficiary in parts. A part is released once its conditions are
met and enough of its approvers have approved, and returned once as many have agreed to that, by `return_terms` where
there are any. Who attests and who approves is who asks, and whoever funded it approves nothing. When its time has come
what is ready is released, and all else goes where `on_expiry` says: what an account cannot take then is booked on
suspense. `divided` is one of which some was released and the rest returned.""",
    "Rails": "What payments go by: acquirers and banks, how they do, and the circuit breakers over them.",
}
"""What is said of a part of the API."""

_KEY: Final[Schema] = {"type": "string", "pattern": r"^[\x20-\x7e]{1,255}$"}
_POSITION: Final[Schema] = {"type": "integer", "minimum": 0}

PARAMETERS: Final[dict[str, Schema]] = {
    "IdempotencyKey": {
        "name": "Idempotency-Key",
        "in": "header",
        "required": True,
        "description": "Names this command for ever: sent again with the same key, it has one effect and one answer.",
        "schema": _KEY,
    },
    "Actor": {
        "name": "Daybook-Actor",
        "in": "header",
        "required": True,
        "description": "Who asks, as the audit trail has it.",
        "schema": _KEY,
        "example": "me",
    },
    "ClientSecret": {
        "name": "Daybook-Client-Secret",
        "in": "header",
        "required": True,
        "description": "The payment's `client_secret`, as whoever created it was answered and handed it on.",
        "schema": _KEY,
    },
    "RequestId": {
        "name": "Request-Id",
        "in": "header",
        "description": "The caller's own name for this request; what is no short plain word is replaced by a new one.",
        "schema": {"type": "string"},
    },
    "Traceparent": {
        "name": "traceparent",
        "in": "header",
        "description": "W3C Trace Context; its trace id is kept as the correlation id.",
        "schema": {"type": "string"},
    },
    "DryRun": {
        "name": "dry_run",
        "in": "query",
        "description": "Decide and answer as it would be now, and leave no trace.",
        "schema": {"type": "boolean", "default": False},
    },
}

HEADERS: Final[dict[str, Schema]] = {
    "Request-Id": {"description": "What this request is called in the logs.", "schema": {"type": "string"}},
    "traceparent": {"description": "Of what was done here, if one came in.", "schema": {"type": "string"}},
    "Daybook-Position": {"description": "The position of the log the answer is for.", "schema": _POSITION},
    "Daybook-Dry-Run": {"description": "`true`: nothing was kept.", "schema": {"const": "true"}},
    "Idempotency-Replayed": {"description": "`true`: the first answer, given again.", "schema": {"const": "true"}},
    "Location": {"description": "Where the new thing is found.", "schema": {"type": "string"}},
    "Retry-After": {"description": "Seconds to wait before asking again.", "schema": {"type": "integer"}},
    "WWW-Authenticate": {"description": "What is asked for.", "schema": {"type": "string"}},
    "Allow": {"description": "The methods that the path takes.", "schema": {"type": "string"}},
}

_ANYONE: Final = ("http_malformed", "head_timeout", "head_too_large", "internal")
_READING: Final = ("invalid_request", "unavailable")
_SETTING: Final = (
    *(code for code in BY_CODE if code.startswith(("json_", "actor_", "content_", "body_"))),
    "invalid_request",
    "unavailable",
)
_COMMANDING: Final = (
    *_SETTING,
    *(code for code in BY_CODE if code.startswith("idempotency_key_")),
    "overloaded",
    "stopping",
    "outcome_unknown",
)


def codes(operation: Operation) -> list[str]:
    """Every error code that the operation can answer with."""
    found = [*_ANYONE, *operation.errors, *(refusal.code for refusal in operation.refusals)]
    if operation.command is not None:
        found += _COMMANDING
    elif operation.model is not None:
        found += _READING
    elif operation.sets is not None:
        found += _SETTING
    if operation.waits:
        found.append("read_model_behind")
    if operation.by_secret:
        found.append("client_secret_wrong")
    if "text/event-stream" in operation.other_media:
        found.append("too_many_streams")
    return sorted(found, key=lambda code: (BY_CODE[code].status, code))


@cache
def document() -> Schema:
    """The whole document; built once."""
    answered, schemas = _resources()
    asked, defined = _commands()
    paths: dict[str, Schema] = defaultdict(dict)
    for operation in OPERATIONS:
        answer = answered.get(operation.id, {"type": "string"})
        paths[operation.path][operation.method] = _operation(operation, asked, answer)
    return {
        "openapi": "3.1.1",
        "info": {"title": _TITLE, "version": version("daybook"), "description": _ABOUT},
        "servers": [{"url": "/"}],
        "tags": [
            {"name": tag, **({"description": _TAGS[tag]} if tag in _TAGS else {})}
            for tag in dict.fromkeys(operation.tag for operation in OPERATIONS)
        ],
        "paths": dict(paths),
        "components": {
            "schemas": dict(sorted({**schemas, **defined}.items())),
            "parameters": PARAMETERS,
            "headers": HEADERS,
        },
    }


def _resources() -> tuple[dict[str, Schema], dict[str, Schema]]:
    """Each operation's answer, and the schemas these refer to."""
    typed = [operation for operation in OPERATIONS if operation.answers is not str]
    shown, defined = msgspec.json.schema_components(
        [*(operation.answers for operation in typed), resources.Problem], ref_template=REF + "{name}"
    )
    defined["Problem"]["additionalProperties"] = True
    return {operation.id: schema for operation, schema in zip(typed, shown, strict=False)}, defined


def _commands() -> tuple[dict[type[BaseModel], Schema], dict[str, Schema]]:
    """Each command's body, and the schemas these refer to."""
    bodies = (operation.command or operation.sets for operation in OPERATIONS)
    models = {model: None for model in bodies if model is not None}
    shown, defined = models_json_schema([(model, "validation") for model in models], ref_template=REF + "{model}")
    schemas = {name: _standard(schema) for name, schema in defined["$defs"].items()}
    return {model: shown[model, "validation"] for model in models}, schemas


def _operation(operation: Operation, asked: dict[type[BaseModel], Schema], answer: Schema) -> Schema:
    body = operation.command or operation.sets
    shown: Schema = {
        "operationId": operation.id,
        "tags": [operation.tag],
        "summary": operation.summary,
        "description": _about(operation),
        "parameters": list(_parameters(operation)),
        "responses": _responses(operation, answer),
    }
    if body is not None:
        shown["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": _body(operation, asked[body]), **_examples(operation)}},
        }
    return shown


def _about(operation: Operation) -> str:
    model = operation.model or operation.sets
    said = (model.__doc__ or "") if model is not None else ""
    return "\n".join(line.strip() for line in said.strip().splitlines())


def _body(operation: Operation, reference: Schema) -> Schema:
    """The command, less what path and head say of it."""
    if operation.sets is not None:
        return reference
    named = {*_named_by_path(operation), *path_parameters(operation)} | {operation.by_actor} - {""}
    if not named:
        return reference
    assert operation.model is not None
    schema: Schema = _standard(operation.model.model_json_schema(ref_template=REF + "{model}"))
    schema.pop("$defs", None)
    schema["properties"] = {name: value for name, value in schema["properties"].items() if name not in named}
    schema["required"] = [name for name in schema.get("required", []) if name not in named]
    return schema


def _named_by_path(operation: Operation) -> set[str]:
    return {f"{name}_id" for name in path_parameters(operation)}


def path_parameters(operation: Operation) -> list[str]:
    return [part[1:-1] for part in operation.path.split("/") if part.startswith("{")]


def _parameters(operation: Operation) -> Iterator[Schema]:
    if operation.command is not None:
        key = next((example.key for example in operation.examples.values()), "")
        yield {**PARAMETERS["IdempotencyKey"], **({"example": key} if key else {})}
        actor = next((example.actor for example in operation.examples.values()), "")
        if not operation.by_secret:
            yield {**PARAMETERS["Actor"], "example": actor} if actor else {"$ref": "#/components/parameters/Actor"}
        yield {"$ref": "#/components/parameters/DryRun"}
    if operation.by_secret:
        yield {"$ref": "#/components/parameters/ClientSecret"}
    if operation.sets is not None:
        yield {"$ref": "#/components/parameters/Actor"}
        for name in path_parameters(operation):
            examples = _examples_of(operation, name)
            yield {"name": name, "in": "path", "required": True, "schema": {"type": "string"}, "examples": examples}
    yield {"$ref": "#/components/parameters/RequestId"}
    yield {"$ref": "#/components/parameters/Traceparent"}
    if operation.model is not None:
        yield from _of_model(operation)


def _of_model(operation: Operation) -> Iterator[Schema]:
    """The parameters of path and query, as the model has them."""
    assert operation.model is not None
    schema = _standard(operation.model.model_json_schema(mode="validation"))
    inside, definitions = path_parameters(operation), schema.get("$defs", {})
    upon = {f"{name}_id": name for name in inside}
    for field, described in schema["properties"].items():
        name = upon.get(field, field) if operation.command is not None else field
        if operation.command is not None and name not in inside:
            continue
        shown: Schema = {
            "name": name,
            "in": "path" if name in inside else "query",
            "schema": _said(described, definitions),
        }
        if name in inside or field in schema.get("required", []):
            shown["required"] = True
        if examples := _examples_of(operation, name):
            shown["examples"] = examples
        yield shown


def _examples_of(operation: Operation, name: str) -> Schema:
    given = {title: {**example.path, **example.query}.get(name) for title, example in operation.examples.items()}
    return {title: {"value": value} for title, value in given.items() if value is not None}


def _said(schema: Schema, definitions: dict[str, Schema]) -> Schema:
    """A parameter's schema: one that is left out is not null, and what it refers to is put in."""
    branches = [branch for branch in schema.get("anyOf", []) if branch != {"type": "null"}]
    if len(branches) == 1:
        schema = {**branches[0], **{key: schema[key] for key in ("description",) if key in schema}}
    if "$ref" in schema:
        schema = definitions[schema["$ref"].rsplit("/", 1)[1]]
    return {key: value for key, value in schema.items() if key != "title" and not (key == "default" and value is None)}


def _standard(schema: Any) -> Any:
    """Pydantic writes the bounds of what it validates itself first in its own words."""
    if isinstance(schema, list):
        return [_standard(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    bounds = {"ge": "minimum", "le": "maximum", "gt": "exclusiveMinimum", "lt": "exclusiveMaximum"}
    return {bounds.get(key, key) if isinstance(value, int) else key: _standard(value) for key, value in schema.items()}


def _examples(operation: Operation) -> Schema:
    shown = {name: _example(example) for name, example in operation.examples.items()}
    return {"examples": shown} if shown else {}


def _example(example: Example) -> Schema:
    refused = f" (refused there: {example.refused})" if example.refused else ""
    with_key = f"With Idempotency-Key: {example.key}" if example.key else "Without an Idempotency-Key"
    return {"summary": f"{with_key}{refused}", "value": example.body}


def _responses(operation: Operation, answer: Schema) -> Schema:
    command = operation.command
    names = ["Request-Id", "traceparent"]
    if command is not None:
        names += ["Daybook-Position", "Daybook-Dry-Run", "Idempotency-Replayed"]
    elif operation.waits:
        names += ["Daybook-Position"]
    content = {operation.media: {"schema": answer}}
    csv = ("text/csv",) if operation.model is not None and "format" in operation.model.model_fields else ()
    for media in (*csv, *operation.other_media):
        content[media] = {"schema": {"type": "string"}}
    done = [*names, "Location"] if operation.status == 201 else names
    responses: Schema = {str(operation.status): _response(_DONE[operation.status], done, content)}
    for status, said in operation.also.items():
        responses[str(status)] = _response(said, names, content)
    by_status: dict[int, list[str]] = defaultdict(list)
    for code in codes(operation):
        by_status[BY_CODE[code].status].append(code)
    for status, found in sorted(by_status.items()):
        responses.setdefault(str(status), _problems(found, names))
    return responses


_DONE: Final = {200: "Done.", 201: "Created."}


def _response(said: str, headers: list[str], content: Schema) -> Schema:
    refer = {name: {"$ref": f"#/components/headers/{name}"} for name in headers}
    return {"description": said, "headers": refer, "content": content}


def _problems(found: list[str], headers: list[str]) -> Schema:
    members: Schema = {}
    for code in found:
        members |= BY_CODE[code].members
    extra = ["Retry-After"] if any(BY_CODE[code].kind == "server" and BY_CODE[code].transient for code in found) else []
    extra += ["WWW-Authenticate"] if any(BY_CODE[code].status == 401 for code in found) else []
    schema = {
        "allOf": [{"$ref": REF + "Problem"}],
        "properties": {"code": {"enum": found}, **{name: shown for name, shown in members.items() if name != "errors"}},
    }
    said = "\n".join(f"* `{code}`: {BY_CODE[code].title}" for code in found)
    return _response(said, [*headers, *extra], {"application/problem+json": {"schema": schema}})
