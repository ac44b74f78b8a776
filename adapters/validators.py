"""Validators outside: each is asked by itself, in a time of its own; one that fails, or says nothing in time, abstains.

That it was not heard is no yes: where the payment depends on it, the payment rests, and it is asked again.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

import msgspec
from msgspec import Struct

from commands.payment import VoteHeard
from domain.ports import Validator
from domain.validation import OUTSIDE, Subject, Verdict, Vote

PATIENCE_S: Final = 5.0
"""How long one may take."""


class Placeholder(Struct, frozen=True):
    """Stands for a validator that is not there yet: it looks at nothing, allows, and says so."""

    name: str

    async def vote(self, subject: Subject) -> Vote:
        return Vote(validator=self.name, verdict=Verdict.ALLOW, reason="not_looked_at", placeholder=True)


PLACEHOLDERS: Final = tuple(Placeholder(name) for name in OUTSIDE)


class Validators:
    """All of them, asked at once.

    Args:
        voted: Told of each vote, as (validator, verdict).
        report: Told of what should not happen, as (event, details).
    """

    def __init__(
        self,
        validators: Sequence[Validator],
        *,
        voted: Callable[[str, str], None],
        report: Callable[[str, BaseException], None],
        patience_s: float = PATIENCE_S,
    ) -> None:
        assert sorted(one.name for one in validators) == sorted(OUTSIDE), validators
        self._validators = validators
        self._voted = voted
        self._report = report
        self._patience_s = patience_s

    async def votes(self, subject: Subject) -> tuple[VoteHeard, ...]:
        """One of each, of whoever was not heard too."""
        return tuple(await asyncio.gather(*(self._vote(one, subject) for one in self._validators)))

    async def _vote(self, validator: Validator, subject: Subject) -> VoteHeard:
        name = validator.name
        try:
            said = await asyncio.wait_for(validator.vote(subject), self._patience_s)
            vote = VoteHeard.model_validate({**msgspec.to_builtins(said), "validator": name})
        except TimeoutError:
            vote = _silence(name, "no_answer_in_time")
        except Exception as error:
            self._report("validating.failed", error)
            vote = _silence(name, "unavailable")
        self._voted(name, vote.verdict)
        return vote


def _silence(name: str, reason: str) -> VoteHeard:
    return VoteHeard.model_validate({"validator": name, "verdict": Verdict.ABSTAIN.value, "reason": reason})
