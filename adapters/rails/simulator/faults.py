"""What goes wrong on purpose: switches per rail, or per rail and route, and for each request a plan made from them.

The dice are seeded, and each rail's route has its own: the same requests in the same order go wrong in the same way,
whatever the others do.
"""

from collections.abc import Mapping
from random import Random
from typing import Annotated, Final

from msgspec import Meta, Struct, structs


class Next(Struct, frozen=True, forbid_unknown_fields=True):
    """This fault befalls the next so many requests, and none after them."""

    next: Annotated[int, Meta(ge=0, le=1_000_000)]


Chance = Annotated[float, Meta(ge=0, le=1)] | Next
"""How often: a probability, or the next so many."""
Seconds = Annotated[float, Meta(ge=0, le=3600)]


class Switches(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What may befall a request; as it comes, nothing does. `{"drop_after": 0.1}`, `{"decline": {"next": 2}}`.

    Args:
        latency_s: Every answer takes this long.
        decline: It is declined, with `decline_code`, the rail's own, or if that is empty with the rail's usual one.
        drop_before: It is swallowed: nothing is done, nothing is answered.
        drop_after: It is done, and the answer is swallowed.
        duplicate: The answer comes twice, where the rail can answer twice; the settlement file reports it twice.
        late: It is done at once, and answered, or told unasked, only `late_s` later.
        wrong_amount: It is done as asked, and answered with another amount.
        outage: The connection is closed without a word; nothing is done.
        dispute: What is taken from a payer is disputed some days later, where the rail has disputes.
    """

    latency_s: Seconds = 0.0
    decline: Chance = 0.0
    decline_code: str = ""
    drop_before: Chance = 0.0
    drop_after: Chance = 0.0
    duplicate: Chance = 0.0
    late: Chance = 0.0
    late_s: Seconds = 5.0
    wrong_amount: Chance = 0.0
    outage: Chance = 0.0
    dispute: Chance = 0.0


class Plan(Struct, frozen=True, kw_only=True):
    """What befalls one request. Times in seconds; the fields as those of `Switches`."""

    latency_s: float = 0.0
    decline: bool = False
    decline_code: str = ""
    drop_before: bool = False
    drop_after: bool = False
    duplicate: bool = False
    late: bool = False
    late_s: float = 0.0
    wrong_amount: bool = False
    outage: bool = False
    dispute: bool = False

    @property
    def delay_s(self) -> float:
        """How long the answer takes."""
        return self.latency_s + (self.late_s if self.late else 0.0)


_CHANCES: Final = ("decline", "drop_before", "drop_after", "duplicate", "late", "wrong_amount", "outage", "dispute")
ALL_ROUTES: Final = ""


class Faults:
    """The switches as they stand, and the dice. `seed`: of the dice."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._switches: dict[tuple[str, str], Switches] = {}
        self._dice: dict[tuple[str, str], Random] = {}

    def switch(self, rail: str, switches: Switches, *, route: str = ALL_ROUTES) -> None:
        """From now on these hold for the rail, or for one route of it, which then goes by its own alone."""
        self._switches[rail, route] = switches

    def switches(self) -> Mapping[tuple[str, str], Switches]:
        """All that were set, by rail and route; a count shows how many are left."""
        return dict(self._switches)

    def is_out(self, rail: str, route: str = ALL_ROUTES) -> bool:
        """Whether every message of that route would find the connection closed; it uses up no count."""
        now = self._switches.get((rail, route)) or self._switches.get((rail, ALL_ROUTES))
        return now is not None and now.outage == 1.0

    def plan(self, rail: str, route: str = ALL_ROUTES) -> Plan:
        """What befalls the next request of that route."""
        key = (rail, route) if (rail, route) in self._switches else (rail, ALL_ROUTES)
        now = self._switches.get(key, Switches())
        # Each fault has its own throw at every request, so that switching one moves no other.
        dice = self._dice.setdefault((rail, route), Random(f"{self._seed} {rail} {route}"))  # noqa: S311 - no secret
        happens = {name: _happens(getattr(now, name), dice.random()) for name in _CHANCES}
        used = {name: Next(chance.next - 1) for name in _CHANCES if _counts(chance := getattr(now, name))}
        if used:
            self._switches[key] = structs.replace(now, **used)
        return Plan(latency_s=now.latency_s, late_s=now.late_s, decline_code=now.decline_code, **happens)


def _happens(chance: float | Next, thrown: float) -> bool:
    return chance.next > 0 if isinstance(chance, Next) else thrown < chance


def _counts(chance: float | Next) -> bool:
    return isinstance(chance, Next) and chance.next > 0
