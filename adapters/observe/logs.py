"""Log lines: a name and fields, never prose, never a body or a key."""

import asyncio
import logging
import sys
import threading
from typing import Any, Final, TextIO

import orjson
import structlog
from structlog.typing import Processor

from adapters.observe.handled import Handled

log: Final = structlog.get_logger("daybook")

NEWS: Final = frozenset({"projection.recovered", "projection.building", "projection.switched", "projection.leading"})
"""What projectors tell that is no fault."""

_SHARED: Final[list[Processor]] = [
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.format_exc_info,
]


def configure(stream: TextIO | None = None, *, level: int = logging.INFO, as_text: bool | None = None) -> None:
    """Once per process, by whoever starts it: lines of JSON on stderr, or of text where a person looks on.

    The libraries' own log lines (uvicorn, psycopg) take the same way, warnings and worse.

    Args:
        as_text: Whether lines are text, if it is not to be found out.
    """
    stream = stream or sys.stderr
    renderer: Processor = (
        structlog.dev.ConsoleRenderer(colors=stream.isatty())
        if as_text or (as_text is None and stream.isatty())
        else structlog.processors.JSONRenderer(serializer=_json)
    )
    structlog.configure(
        processors=[*_SHARED, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *_: _Lines(stream),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=_SHARED,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.WARNING)


def _json(fields: Any, **_: Any) -> str:
    return orjson.dumps(fields, default=repr).decode()


class _Lines:
    """Writes lines at the end of the event loop's turn, so that what is answered together is told in one write.

    Outside of an event loop, and of anything worse than news, at once.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._waiting: list[str] = []
        self._writing = threading.Lock()

    def info(self, line: str) -> None:
        """News."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self.error(line)
            return
        with self._writing:
            self._waiting.append(line)
            if len(self._waiting) == 1:
                loop.call_soon(self._write)

    def error(self, line: str) -> None:
        """A fault."""
        with self._writing:
            self._waiting.append(line)
        self._write()

    debug = info
    warning = critical = error

    def _write(self) -> None:
        with self._writing:
            lines, self._waiting = self._waiting, []
            if lines:
                self._stream.write("\n".join(lines) + "\n")
                self._stream.flush()


def handled(request: Handled) -> None:
    """The one line of a request."""
    fields: dict[str, Any] = {
        "method": request.method,
        "route": request.route,
        "status": request.status,
        "duration_ms": round(request.seconds * 1000, 2),
        "request_id": request.request_id,
    }
    if request.command:
        fields |= {"command": request.command, "outcome": request.outcome, "actor": request.actor}
    if request.position is not None:
        fields["position"] = request.position
    if request.code:
        fields["code"] = request.code
    if request.correlation_id:
        fields["correlation_id"] = request.correlation_id
    log.info("request.handled", **fields)


def projecting(event: str, /, **fields: Any) -> None:
    """What the runner of the read models has to tell; `projection.failed` is the one to wake somebody for."""
    tell = log.error if event == "projection.failed" else log.info if event in NEWS else log.warning
    tell(event, **fields)


def settled(**fields: Any) -> None:
    """A part of a rail's report was booked."""
    log.info("settlement.recorded", **fields)


def fault(event: str, error: BaseException) -> None:
    """What should not happen, with where it happened."""
    log.error(event, error=type(error).__name__, exc_info=error)
