"""A stream of events, taken up again wherever it breaks off: what to ask and what each line means, and no IO.

Source: HTML Living Standard, section 9.2, server-sent events.
"""

from typing import Final

import msgspec

from adapters.client.attempts import Patience, Wire
from adapters.client.calls import Follow
from adapters.client.errors import NotUnderstood, ProblemError, Unavailable, read_problem
from adapters.client.resources import LogEvent

SILENCE_S: Final = 30
"""Daybook says something at least every ten seconds; a connection that is silent for longer is dead."""

_decode = msgspec.json.Decoder(LogEvent).decode


class Following:
    """Of one stream. Times are of a monotonic clock, in seconds."""

    def __init__(self, follow: Follow, patience: Patience, *, now: float) -> None:
        self._follow = follow
        self._patience = patience
        self._after = follow.after
        self._heard_at = now
        self._broken = 0
        self._data: list[str] = []

    def request(self) -> Wire:
        """What to send, to hear what comes after the last event heard."""
        headers = {"Accept": "text/event-stream", "Last-Event-ID": str(self._after)}
        self._data = []
        return Wire("GET", self._follow.path, dict(self._follow.params), headers, None, SILENCE_S)

    def line(self, text: str, now: float) -> LogEvent | None:
        """The event that the line ends, if it ends one that was not heard before."""
        self._heard_at, self._broken = now, 0
        if text.startswith("data:"):
            self._data.append(text.removeprefix("data:").removeprefix(" "))
        if text or not self._data:
            return None
        event, self._data = _decode("\n".join(self._data)), []
        if event.position <= self._after:
            return None
        self._after = event.position
        return event

    def refused(self, status: int, content: bytes) -> None:
        """An answer that is no stream.

        Raises:
            ProblemError, NotUnderstood: Unless it may be had later.
        """
        problem: ProblemError | None = read_problem(content)
        if status >= 500 or status == 429:
            return
        raise problem or NotUnderstood(f"{self._follow.path} was answered with status {status}", key=None)

    def broken(self, why: str, now: float) -> float:
        """How many seconds to wait before asking again.

        Raises:
            Unavailable: Nothing was heard for longer than the patience.
        """
        if now - self._heard_at > max(self._patience.total_s, SILENCE_S):
            raise Unavailable(f"the stream broke off after position {self._after}: {why}", key=None)
        self._broken += 1
        return min(self._patience.pause_s * 2.0 ** (self._broken - 1), self._patience.pause_max_s)
