"""The OpenAPI document and the catalogues say what the code does."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator
from starlette.routing import Route

from adapters.openapi import errors, events
from adapters.openapi.document import codes, document
from adapters.openapi.operations import COMMANDS, OPERATIONS
from adapters.openapi.routes import routes as document_routes
from adapters.web import consensus, health, qr, rails, upi
from commands import batch
from commands.api import routes as command_routes
from commands.api.batch import ANSWERS
from commands.batch import PostBatch
from commands.escrow import ApproveRelease, MeetCondition, ReturnEscrow
from commands.payment import ApprovePayment, CheckoutPayment
from domain.errors import REFUSALS, PaymentAnswerKnown, PaymentNotDue, PaymentUndecided, Refusal
from domain.events import EVENTS, decode
from projections.api import routes as read_routes

TOP = Path(__file__).parents[2]
UNDESCRIBED = {"/openapi.json", "/docs", "/docs/payments.svg", "/docs/{asset}"}
TO_ITSELF: set[type[Refusal]] = {PaymentAnswerKnown, PaymentNotDue, PaymentUndecided}
"""What Daybook is told alone, since nobody else can ask for it: to record a rail's answer, to end a payment that is
due, or to begin an attempt. All are kept like any refusal, and so stand in the catalogue and in the audit trail."""


def test_the_document_is_valid() -> None:
    """
    It is OpenAPI 3.1, to the letter.
    """
    OpenAPIV31SpecValidator(document()).validate()


def test_every_route_is_described() -> None:
    """
    The document has every path and method that is served, and no other.
    """
    of_rails = [*rails.decisions, *rails.overrides, *rails.reads, *upi.reads]
    ours = [*of_rails, *qr.reads, *consensus.routes, *document_routes, *health.routes]
    routes: list[Route] = [*command_routes, *read_routes, *ours]

    served = {(m.lower(), r.path) for r in routes for m in (r.methods or set()) - {"HEAD"}}

    assert {(o.method, o.path) for o in OPERATIONS} == {one for one in served if one[1] not in UNDESCRIBED}


def test_every_command_is_described() -> None:
    """
    What can be asked in a batch can be asked by itself, and the refusals of both are listed. By itself alone: what a
    payer asks; and what is one person's word, since who gives it is who asks, and a batch has one actor for what it
    says of anybody.
    """
    words = {ApprovePayment, ApproveRelease, MeetCondition, ReturnEscrow}
    assert set(COMMANDS) == {*batch.COMMANDS, PostBatch, CheckoutPayment, *words}
    assert {operation.command for operation in OPERATIONS} - {None} == set(COMMANDS)
    assert set(ANSWERS) == set(batch.COMMANDS)


def test_every_refusal_can_happen_somewhere() -> None:
    """
    No operation's list forgets a refusal that is defined, but for those that only Daybook itself can meet.
    """
    assert {refusal for operation in OPERATIONS for refusal in operation.refusals} == set(REFUSALS.values()) - TO_ITSELF


def test_operations_are_named_once() -> None:
    """
    Names of operations and keys of examples are unique.
    """
    names = [operation.id for operation in OPERATIONS]
    keys = [e.key for operation in OPERATIONS for e in operation.examples.values() if e.key]

    assert len(set(names)) == len(names)
    assert len(set(keys)) == len(keys)


def said() -> Iterator[tuple[str, str, int, str | None]]:
    """Every no in the sources that is no refusal: where, its code, its status, and its title if that is constant."""
    for path in sorted(TOP.glob("adapters/web/*.py")) + sorted(TOP.glob("*/api/*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call):
                yield from _said(f"{path.name}:{node.lineno}", node)


def _said(where: str, node: ast.Call) -> Iterator[tuple[str, str, int, str | None]]:
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    named = {keyword.arg: keyword.value for keyword in node.keywords}
    if name == "BadRequest":
        status = named.get("status", ast.Constant(400))
        code, title = node.args[0], node.args[1]
    elif name in ("_refuse", "_Other", "problem", "problem_body"):
        status, code = node.args[-2 if name == "_Other" else -3], node.args[-1 if name == "_Other" else -2]
        title = node.args[-1] if name != "_Other" else ast.Constant(None)
    else:
        return
    if isinstance(code, ast.Constant) and isinstance(status, ast.Constant):
        yield where, str(code.value), int(str(status.value)), getattr(title, "value", None)


def test_every_error_is_in_the_catalogue() -> None:
    """
    No code is answered that the catalogue does not have, with that status and title; and it has no code of its own.
    """
    found = list(said())

    wrong = [
        one
        for one in found
        if one[1] not in errors.BY_CODE
        or errors.BY_CODE[one[1]].status != one[2]
        or (isinstance(one[3], str) and errors.BY_CODE[one[1]].title != one[3])
    ]
    assert wrong == []
    assert len(found) > 25
    derived = {"read_model_behind"}
    assert {info.code for info in errors.OTHERS} == {code for _, code, _, _ in found} | derived


def test_every_operation_has_its_errors() -> None:
    """
    An operation lists each code once, with a status; reads have no idempotency, commands no waiting.
    """
    for operation in OPERATIONS:
        found = codes(operation)
        assert len(found) == len(set(found))
        assert ("idempotency_key_reused" in found) == (operation.command is not None)
        assert ("body_too_large" in found) == (operation.method == "post")


def test_titles_agree() -> None:
    """
    What an exception's docstring says of itself is what the catalogue says.
    """
    from adapters.web.errors import _Other, exception_handlers

    for cls, handler in exception_handlers.items():
        if isinstance(handler, _Other):
            info = errors.BY_CODE[handler._code]
            assert (info.title, info.status, info.transient) == (cls.__doc__, handler._status, handler._retry)


@pytest.mark.parametrize("name", sorted(EVENTS))
def test_events_are_what_the_catalogue_says(name: str) -> None:
    """
    An example decodes as the event it is of, and keeps to the schema beside it.
    """
    info = next(info for info in events.catalogue().data if info.name == name)

    assert type(decode(name, msgspec.json.encode(info.example))) is EVENTS[name]
    Draft202012Validator.check_schema(info.json_schema)
    Draft202012Validator(info.json_schema).validate(info.example)
    assert info.description and "Raises" not in info.description


def test_a_schema_refuses_what_is_no_event() -> None:
    """
    The schemas are strict: an unknown field is none of the event's.
    """
    info = next(info for info in events.catalogue().data if info.name == "book.opened.v1")
    other: dict[str, Any] = {**info.example, "colour": "red"}

    assert not Draft202012Validator(info.json_schema).is_valid(other)
