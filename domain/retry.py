"""What is done after a rail did not say yes: another route, another time, or nothing more.

After no answer there is one thing to do only: find out. Whatever else might move the money twice.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

from msgspec import Struct

from domain.rail import Declined, Retry, Unknown
from domain.routing import Decision


class Backoff(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Seconds to wait: the first time, and then twice as long each time, up to the most."""

    first_s: int
    most_s: int


class Retries(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How often and when a declined payment is tried again.

    Args:
        attempts_max: Of one payment, over all routes.
        spread_percent: A wait is up to so much longer, by the draw: what failed together need not come back together.
        by_reason: Backoffs for reasons of declines that do not pass like others.
    """

    attempts_max: int = 4
    spread_percent: int = 20
    backoff: Backoff = Backoff(first_s=60, most_s=3600)
    by_reason: dict[str, Backoff] = {}


USUAL: Final = Retries(by_reason={"insufficient_funds": Backoff(first_s=86_400, most_s=4 * 86_400)})
"""An account that is empty is seldom full within the hour."""


class Try(Struct, frozen=True, tag="try", tag_field="step"):
    """Ask this route now."""

    route: str


class Wait(Struct, frozen=True, tag="wait", tag_field="step"):
    """Decide anew at that time."""

    until: datetime
    why: str


class Resolve(Struct, frozen=True, tag="resolve", tag_field="step"):
    """Ask what became of it, and do nothing else until that is known."""

    why: str


class Stop(Struct, frozen=True, tag="stop", tag_field="step"):
    """The payment has failed for good."""

    why: str


Step = Try | Wait | Resolve | Stop


def after(
    answer: Declined | Unknown,
    *,
    decision: Decision,
    attempts: int,
    retries: Retries,
    draw: float,
    now: datetime,
) -> Step:
    """What to do after a rail did not say yes.

    Args:
        decision: The latest, with the declined route among those tried: what it chose is what is left.
        attempts: Made so far, the declined one included.
        draw: As for `decide`; spreads what waits.
    """
    if isinstance(answer, Unknown):
        return Resolve(answer.why)
    if answer.retry is Retry.NEVER:
        return Stop(f"{answer.reason}: not to be tried again")
    if attempts >= retries.attempts_max:
        return Stop(f"{answer.reason}: {attempts} attempts were made")
    if answer.retry is Retry.LATER:
        return Wait(now + _wait(answer.reason, attempts, retries, draw), answer.reason)
    if decision.chosen is not None:
        return Try(decision.chosen)
    if decision.again_at is not None:
        return Wait(max(decision.again_at, now), f"{answer.reason}: no other route can be taken now")
    return Stop(f"{answer.reason}: no other route is left")


def _wait(reason: str, attempts: int, retries: Retries, draw: float) -> timedelta:
    backoff = retries.by_reason.get(reason, retries.backoff)
    # The power is bounded too: attempts are few, but nothing here says so.
    wait_s = min(backoff.first_s * 2 ** min(attempts - 1, 30), backoff.most_s)
    return timedelta(seconds=wait_s + int(wait_s * retries.spread_percent * draw / 100))


def tried(declines: Iterable[tuple[str, Retry]]) -> tuple[str, ...]:
    """Of a payment's declines in order, routes and what may be done after each: those not to be asked again.

    A route whose last word was "later" may be asked again.
    """
    last = dict(declines)
    return tuple(route for route, retry in last.items() if retry is not Retry.LATER)
