"""Real answers held against the OpenAPI document: every status, header, code and field that is answered is in it."""

from functools import cache
from typing import Any

import httpx2
from jsonschema import Draft202012Validator
from starlette.routing import compile_path

from adapters.openapi.document import document
from adapters.openapi.operations import OPERATIONS, Operation

_PATHS = [(operation, compile_path(operation.path)[0]) for operation in OPERATIONS]
_WHEREVER = {"path_not_found", "method_not_allowed", "not_found"}
"""Codes of no operation."""


def operation_of(method: str, path: str) -> Operation | None:
    """The operation that answers there. A path that is written out goes before one with a parameter."""
    fitting = [o for o, regex in _PATHS if o.method == method.lower() and regex.match(path)]
    return min(fitting, key=lambda o: o.path.count("{"), default=None)


def must_be_documented(response: httpx2.Response) -> None:
    """Fail unless the answer is one that the document foretells, to the field."""
    request = response.request
    operation = operation_of(request.method, request.url.path)
    if operation is None:
        return
    kind = response.headers.get("content-type", "").partition(";")[0]
    if kind.endswith("json"):  # Else it may be a stream without end.
        response.read()
    if kind == "application/problem+json" and response.json()["code"] in _WHEREVER:
        return
    described = document()["paths"][operation.path][operation.method]["responses"]
    where = f"{request.method} {operation.path} {response.status_code}"
    assert str(response.status_code) in described, f"{where} is not documented: {response.text[:300]}"
    foretold = described[str(response.status_code)]
    assert kind in foretold["content"], f"{where}: {kind}"
    ours = {h for h in response.headers if h.startswith(("daybook-", "idempotency-", "retry-after", "location"))}
    undocumented = ours - {name.lower() for name in foretold["headers"]}
    assert not undocumented, f"{where}: {undocumented}"
    if kind.endswith("json"):
        schema = foretold["content"][kind]["schema"]
        validator = _validator(operation.id, str(response.status_code), kind)
        faults = [f"{list(e.absolute_path)}: {e.message}" for e in validator.iter_errors(response.json())]
        assert not faults, f"{where}: {faults[:3]} in {response.text[:500]}"
        extra = unknown_fields(schema, response.json())
        assert not extra, f"{where}: not documented: {extra}"


@cache
def _validator(operation: str, status: str, kind: str) -> Draft202012Validator:
    found = next(o for o in OPERATIONS if o.id == operation)
    schema = document()["paths"][found.path][found.method]["responses"][status]["content"][kind]["schema"]
    return Draft202012Validator({**schema, "components": document()["components"]})


def unknown_fields(schema: Any, value: Any, path: str = "") -> list[str]:
    """Fields that the schema does not name, at any depth; what it leaves open may have any."""
    schema, properties = _flat(schema, value)
    if isinstance(value, list):
        items = schema.get("items")
        return (
            [] if not items else [f for n, one in enumerate(value) for f in unknown_fields(items, one, f"{path}/{n}")]
        )
    if not isinstance(value, dict) or not properties:
        return []
    unknown = [f"{path}/{name}" for name in value.keys() - properties.keys()]
    return unknown + [
        f
        for name, one in value.items()
        if name in properties
        for f in unknown_fields(properties[name], one, f"{path}/{name}")
    ]


def _flat(schema: Any, value: Any) -> tuple[Any, dict[str, Any]]:
    """The schema with its references followed, and all its properties; of several kinds, that of the value's own."""
    if "$ref" in schema:
        return _flat(document()["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]], value)
    if "discriminator" in schema and isinstance(value, dict):
        kinds = schema["discriminator"]
        return _flat({"$ref": kinds["mapping"][value[kinds["propertyName"]]]}, value)
    if "anyOf" in schema:
        return _flat(next(s for s in schema["anyOf"] if s != {"type": "null"}), value)
    properties = dict(schema.get("properties", {}))
    for part in schema.get("allOf", []):
        properties |= _flat(part, value)[1]
    return schema, properties
