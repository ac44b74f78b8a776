"""Around every request: its id, its trace, an answer whatever happens, and one report when it is over."""

import time
from collections.abc import Callable
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from adapters.observe.handled import Handled
from adapters.web.errors import internal
from adapters.web.head import first, read_head
from adapters.web.trace import request_id, trace


class Envelope:
    """Outermost. `request.state` gets `head`, `request_id` and `correlation_id`.

    Args:
        routes: The path, as a template, by endpoint.
        report: Told of every request once it is over.
        failed: Told of what no handler knew.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        routes: dict[Callable[..., Any], str],
        report: Callable[[Handled], None],
        failed: Callable[[str, BaseException], None],
    ) -> None:
        self._app = app
        self._routes = routes
        self._report = report
        self._failed = failed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        state: dict[str, Any] = scope.setdefault("state", {})
        head = state["head"] = read_head(scope)
        incoming = trace(first(head, b"traceparent"))
        state["request_id"] = request_id(first(head, b"request-id"))
        state["correlation_id"] = incoming.trace_id if incoming else ""
        status = 0

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"].append((b"request-id", state["request_id"].encode()))
                if incoming is not None:
                    message["headers"].append((b"traceparent", incoming.child().encode()))
            await send(message)

        try:
            await self._app(scope, receive, answer)
        except Exception as error:
            self._failed("request.failed", error)
            if status:
                raise
            await internal(state)(scope, receive, answer)
        finally:
            self._report(self._handled(scope, status, time.perf_counter() - began))

    def _handled(self, scope: Scope, status: int, seconds: float) -> Handled:
        state = scope["state"]
        outcome = state.get("outcome")
        dry_run = outcome is not None and state["dry"]
        return Handled(
            method=scope["method"],
            route=self._routes.get(scope.get("endpoint"), ""),  # type: ignore[arg-type]
            status=status,
            seconds=seconds,
            request_id=state["request_id"],
            correlation_id=state["correlation_id"],
            actor=state.get("context", {}).get("actor", ""),
            command=state.get("command", ""),
            code=state.get("code", ""),
            position=outcome.position if outcome is not None and not dry_run else None,
            replayed=outcome is not None and outcome.replayed,
            refused=outcome is not None and outcome.refusal is not None,
            dry_run=dry_run,
        )
