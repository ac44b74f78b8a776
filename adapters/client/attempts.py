"""One call, asked until its answer is known: what to send, and what to make of what came back, and no IO.

A command is sent again and again with the same Idempotency-Key, so that it has one effect however often it arrives.
What may have been applied is never taken for a no.
"""

import secrets
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final, Generic, TypeVar

import msgspec
from msgspec import Struct

from adapters.client.calls import Call
from adapters.client.errors import DaybookError, NotUnderstood, OutcomeUnknown, Unavailable, read_problem

T = TypeVar("T")

_UNTOUCHED: Final = frozenset({"overloaded", "stopping", "unavailable", "read_model_behind", "body_timeout"})
"""Codes that say: nothing was applied, ask again."""
_UNDECIDED: Final = frozenset({"outcome_unknown", "idempotency_key_in_flight", "internal"})
"""Codes of a command that say: ask again with the same key to learn what came of it."""
_UNTOUCHED_STATUSES: Final = frozenset({429})
_DICE: Final = secrets.SystemRandom()


class Patience(Struct, frozen=True, kw_only=True):
    """How long, in seconds, and how a client waits."""

    attempt_s: float = 15
    """For one answer; longer than Daybook takes to say that it cannot."""
    total_s: float = 60
    """For a call with all its attempts."""
    pause_s: float = 0.05
    """After the first attempt; twice that after the second, and so on."""
    pause_max_s: float = 2
    """The longest pause, unless Daybook asks for a longer one."""


class Answer(Struct, Generic[T], frozen=True):
    """What was answered, with what its headers say.

    `replayed`: the first answer, given again. `position`: of the log, the one it is for.
    """

    value: T
    key: str | None
    position: int | None
    replayed: bool
    dry_run: bool
    request_id: str


class Wire(Struct, frozen=True):
    """A request to send."""

    method: str
    path: str
    params: dict[str, str]
    headers: dict[str, str]
    content: bytes | None
    timeout_s: float


class Attempts(Generic[T]):
    """Of one call. Times are of a monotonic clock, in seconds."""

    def __init__(self, call: Call[T], patience: Patience, *, now: float) -> None:
        self._call = call
        self._patience = patience
        self._until = now + patience.total_s
        self._made = 0
        self._maybe_applied = False
        self.key = (call.key or uuid.uuid4().hex) if call.is_command else None

    def request(self, now: float) -> Wire:
        """The next request to send."""
        call, self._made = self._call, self._made + 1
        headers = {"Accept": "application/json", **call.headers}
        if self.key is not None:
            headers |= {"Content-Type": "application/json", "Idempotency-Key": self.key}
        content = None if call.body is None else msgspec.json.encode(call.body)
        left = max(self._until - now, 0.1)
        return Wire(call.method, call.path, dict(call.params), headers, content, min(left, self._patience.attempt_s))

    def heard(self, status: int, headers: Mapping[str, str], content: bytes, now: float) -> Answer[T] | float:
        """The answer, or how many seconds to wait before asking again.

        Raises:
            DaybookError: There is nothing to wait for, or no time left.
        """
        if status < 300 or status in self._call.accepts:
            return self._answer(headers, content)
        problem = read_problem(content, key=self.key)
        if problem is None:
            return self._no_answer(status, headers, now)
        if problem.code in _UNTOUCHED:
            return self._again(str(problem), now, headers, Unavailable(str(problem), key=self.key, problem=problem))
        if self.key is not None and problem.code in _UNDECIDED:
            self._maybe_applied = True
            return self._again(str(problem), now, headers, problem)
        problem.replayed = _replayed(headers)
        raise problem

    def failed(self, why: str, now: float, *, sent: bool) -> float:
        """How many seconds to wait before asking again, after no answer came; `sent`: the request may have arrived.

        Raises:
            OutcomeUnknown, Unavailable: There is no time left.
        """
        self._maybe_applied |= sent and self.key is not None
        return self._again(why, now, {}, Unavailable(why, key=self.key))

    def _answer(self, headers: Mapping[str, str], content: bytes) -> Answer[T]:
        position = headers.get("daybook-position")
        try:
            value = self._call.decode(content)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise NotUnderstood(
                f"{self._call.path} answered with what is none of its answers: {error}", key=self.key
            ) from error
        return Answer(
            value,
            self.key,
            None if position is None else int(position),
            _replayed(headers),
            headers.get("daybook-dry-run") == "true",
            headers.get("request-id", ""),
        )

    def _no_answer(self, status: int, headers: Mapping[str, str], now: float) -> float:
        """Somebody between Daybook and here answered."""
        why = f"{self._call.path} was answered with status {status}, and not by Daybook"
        if status in _UNTOUCHED_STATUSES:
            return self._again(why, now, headers, Unavailable(why, key=self.key))
        if status < 500:
            raise NotUnderstood(why, key=self.key)
        self._maybe_applied |= self.key is not None
        return self._again(why, now, headers, Unavailable(why, key=self.key))

    def _again(self, why: str, now: float, headers: Mapping[str, str], otherwise: DaybookError) -> float:
        pause = min(self._patience.pause_s * 2.0 ** (self._made - 1), self._patience.pause_max_s)
        pause = max(pause * _DICE.uniform(0.5, 1), _retry_after(headers))
        if now + pause < self._until:
            return pause
        if self._maybe_applied:
            assert self.key is not None
            raise OutcomeUnknown(f"after {self._made} attempts it is not known what came of it: {why}", key=self.key)
        raise otherwise


def _replayed(headers: Mapping[str, str]) -> bool:
    return headers.get("idempotency-replayed") == "true"


def _retry_after(headers: Mapping[str, str]) -> float:
    """Seconds. Source: RFC 9110, section 10.2.3."""
    said = str(headers.get("retry-after", ""))
    if said.isdigit():
        return float(said)
    try:
        return max((parsedate_to_datetime(said) - datetime.now(UTC)).total_seconds(), 0.0)
    except (TypeError, ValueError):
        return 0
