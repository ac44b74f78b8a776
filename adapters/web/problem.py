"""Answers that say no: problem+json with a stable code.

Source: RFC 9457, sections 3 and 3.1.
"""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import orjson
from starlette.responses import Response


class BadRequest(Exception):
    """The request cannot be understood; nothing was asked and no key is used up.

    Args:
        code: Published; never changes.
        title: A sentence that is the same for every such request.
        detail: What is particular to this one, short.
    """

    def __init__(
        self, code: str, title: str, detail: str = "", *, status: int = 400, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(code)
        self.code = code
        self.title = title
        self.detail = detail
        self.status = status
        self.headers = dict(headers or {})


def problem_body(
    status: int, code: str, title: str, *, request_id: str, transient: bool = False, detail: str = "", **members: Any
) -> bytes:
    """The JSON of a problem; `members` are its extension members."""
    body: dict[str, Any] = {
        "type": f"urn:daybook:problem:{code}",
        "title": title,
        "status": status,
        "code": code,
        "transient": transient,
    }
    if detail:
        body["detail"] = detail
    body["request_id"] = request_id
    return orjson.dumps({**body, **members})


def problem(
    state: dict[str, Any],
    status: int,
    code: str,
    title: str,
    *,
    request_id: str = "",
    transient: bool = False,
    detail: str = "",
    headers: Mapping[str, str] | None = None,
    **members: Any,
) -> Response:
    """The answer, its code noted in the request's state for logs and metrics."""
    state["code"] = code
    body = problem_body(
        status,
        code,
        title or HTTPStatus(status).phrase,
        request_id=request_id or state["request_id"],
        transient=transient,
        detail=detail,
        **members,
    )
    return Response(body, status, headers, media_type="application/problem+json")
