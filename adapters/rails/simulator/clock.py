"""The simulator's clock: the real one, moved forward by whole days when it is told to."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta


def _now() -> datetime:
    return datetime.now(UTC)


class Clock:
    """Args: `not_before`: the last moment the books know of; a restarted simulator does not go back behind it."""

    def __init__(self, *, not_before: datetime | None = None, real: Callable[[], datetime] = _now) -> None:
        self._real = real
        behind = timedelta() if not_before is None else not_before - real()
        self._ahead = timedelta(days=max(0, -(-behind // timedelta(days=1))))

    def now(self) -> datetime:
        """Aware, UTC."""
        return self._real() + self._ahead

    def advance(self, days: int) -> None:
        """Move on by so many days, at least 1."""
        assert days >= 1, days
        self._ahead += timedelta(days=days)
