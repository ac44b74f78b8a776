"""Breakers in memory, for one process: they keep the same promises as those in Postgres."""

from collections.abc import Callable, Mapping
from datetime import datetime

from msgspec.structs import replace

from domain import breaker as breakers
from domain.breaker import Breaker, State, Thresholds, usual
from domain.rail import Rail
from domain.traffic import Observation, Span
from domain.watch import Watched, settled, take_probe, watch


class MemoryBreakers:
    """`domain.ports.Breakers`; whoever has the object shares it.

    Args:
        now: The time, aware; asked at each change.
        thresholds: Of breakers by name that have others than the usual.
    """

    def __init__(
        self,
        now: Callable[[], datetime],
        *,
        thresholds: Mapping[str, Thresholds] | None = None,
        span: Span | None = None,
    ) -> None:
        self._now = now
        self._thresholds = thresholds or {}
        self._span = span or Span()
        self._shared: dict[str, Watched] = {}

    def observe(self, rail: Rail, route: str, seen: Observation) -> None:
        for name in breakers.keys(rail, route):
            self._shared[name] = watch(self._known(name), [seen], self._now())

    async def look(self) -> Mapping[str, Watched]:
        return dict(self._shared)

    async def take_probe(self, rail: Rail, route: str) -> bool:
        names = breakers.keys(rail, route)
        taken = take_probe([self._known(name) for name in names], self._now())
        self._shared.update(zip(names, taken or (), strict=False))
        return taken is not None

    async def force(self, name: str, state: State, *, reason: str, actor: str, until: datetime | None) -> Breaker:
        known, now = self._known(name), self._now()
        return self._changed(
            name, known, breakers.force(known.breaker, state, reason=reason, actor=actor, until=until, now=now)
        )

    async def release(self, name: str, *, reason: str, actor: str) -> Breaker:
        known, now = self._known(name), self._now()
        return self._changed(name, known, breakers.release(known.breaker, reason=reason, actor=actor, now=now))

    def _known(self, name: str) -> Watched:
        return settled(self._shared.get(name, Watched()), self._thresholds.get(name, usual(name)), self._span)

    def _changed(self, name: str, known: Watched, breaker: Breaker) -> Breaker:
        self._shared[name] = replace(known, breaker=breaker)
        return breaker
