"""What the client raises. Whatever it is, asking again with the same key is safe; `OutcomeUnknown` is never a no."""

from typing import Any, Final

import msgspec

_OWN: Final = frozenset({"type", "title", "status", "code", "transient", "detail", "request_id"})


class DaybookError(Exception):
    """Of everything the client raises."""


class ProblemError(DaybookError):
    """Daybook said no. `code` is published and never changes; `fields` are what is particular to it.

    `transient`: whether asking again may help: after a refusal with a new key, otherwise with the same.
    """

    def __init__(self, problem: dict[str, Any], *, key: str | None = None) -> None:
        super().__init__(problem["title"])
        self.problem = problem
        self.key = key
        self.replayed = False
        """Whether it is the first answer, given again."""
        self.code: str = problem["code"]
        self.status: int = problem["status"]
        self.title: str = problem["title"]
        self.detail: str = problem.get("detail", "")
        self.transient: bool = problem.get("transient", False)
        self.request_id: str = problem.get("request_id", "")
        self.fields = {name: value for name, value in problem.items() if name not in _OWN}

    def __str__(self) -> str:
        """In one line, for people."""
        said = ", ".join(f"{name}={value}" for name, value in self.fields.items())
        return (
            f"{self.code}: {self.title}" + (f" {self.detail}" if self.detail else "") + (f" ({said})" if said else "")
        )


class Refused(ProblemError):
    """A business no. Upon a command it is kept: the same key gets it again, for ever."""


class NotFound(Refused):
    """There is no such thing."""


class Rejected(ProblemError):
    """The request is not as it should be; nothing was looked at, and it fails again unless it is changed."""


class KeyReused(Rejected):
    """The key was used for another request."""


class Unavailable(DaybookError):
    """No answer within the patience, and certainly nothing was applied. `problem` is the last one, if there was any."""

    def __init__(self, why: str, *, key: str | None, problem: ProblemError | None = None) -> None:
        super().__init__(why)
        self.key = key
        self.problem = problem


class OutcomeUnknown(DaybookError):
    """It may have been applied or not, and nobody could say within the patience. Ask again with this `key`."""

    def __init__(self, why: str, *, key: str) -> None:
        super().__init__(f"{why}; ask again with the key {key!r}")
        self.key = key


class NotUnderstood(DaybookError):
    """The answer is none that this client knows. If it was a command, it was answered, under `key`."""

    def __init__(self, why: str, *, key: str | None) -> None:
        super().__init__(why)
        self.key = key


_KEY_CODES: Final = {"idempotency_key_reused": KeyReused}
_NO_REFUSAL: Final = frozenset({"path_not_found", "idempotency_key_in_flight"})


def problem_from(body: dict[str, Any], *, key: str | None = None) -> ProblemError:
    """The exception for a problem's body."""
    code, status = body["code"], body["status"]
    if code in _KEY_CODES:
        return _KEY_CODES[code](body, key=key)
    if status in (404, 409, 422) and code not in _NO_REFUSAL:
        return (NotFound if status == 404 else Refused)(body, key=key)
    return (Rejected if status < 500 else ProblemError)(body, key=key)


def read_problem(content: bytes, *, key: str | None = None) -> ProblemError | None:
    """The problem in an answer's body, if it is one of Daybook's."""
    try:
        body = msgspec.json.decode(content)
        return problem_from(body, key=key)
    except (msgspec.DecodeError, KeyError, TypeError, UnicodeDecodeError):
        return None
