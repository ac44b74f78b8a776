"""After a no: another route, another time, or nothing more. After silence: find out."""

from datetime import timedelta

import pytest

from domain.rail import Declined, Retry, Unknown
from domain.retry import Backoff, Resolve, Retries, Step, Stop, Try, Wait, after, tried
from domain.routing import DEFAULT, Decision, How
from tests.support import NOW

RETRIES = Retries(
    attempts_max=3,
    spread_percent=50,
    backoff=Backoff(first_s=60, most_s=100),
    by_reason={"insufficient_funds": Backoff(first_s=1000, most_s=5000)},
)
SOON = NOW + timedelta(seconds=5)


def decision(chosen: str | None = None, *, soon: bool = False) -> Decision:
    return Decision(
        chosen=chosen,
        how=How.BEST if chosen else How.NONE,
        again_at=SOON if soon else None,
        rule=DEFAULT,
        draw=0.5,
        at=NOW,
        candidates=(),
    )


def wait(seconds: int, why: str) -> Wait:
    return Wait(NOW + timedelta(seconds=seconds), why)


@pytest.mark.parametrize(
    ("reason", "retry", "attempts", "left", "draw", "step"),
    [
        ("lost_card", Retry.NEVER, 1, decision("b"), 0.0, Stop("lost_card: not to be tried again")),
        ("network", Retry.ELSEWHERE, 1, decision("b"), 0.0, Try("b")),
        ("network", Retry.ELSEWHERE, 2, decision("b"), 0.0, Try("b")),
        ("network", Retry.ELSEWHERE, 3, decision("b"), 0.0, Stop("network: 3 attempts were made")),
        ("network", Retry.ELSEWHERE, 1, decision(), 0.0, Stop("network: no other route is left")),
        ("network", Retry.ELSEWHERE, 1, decision(soon=True), 0.0, wait(5, "network: no other route can be taken now")),
        ("limit", Retry.LATER, 1, decision("b"), 0.0, wait(60, "limit")),
        ("limit", Retry.LATER, 1, decision("b"), 0.5, wait(75, "limit")),
        ("limit", Retry.LATER, 2, decision("b"), 0.0, wait(100, "limit")),
        ("limit", Retry.LATER, 3, decision("b"), 0.0, Stop("limit: 3 attempts were made")),
        ("insufficient_funds", Retry.LATER, 2, decision(), 0.0, wait(2000, "insufficient_funds")),
    ],
)
def test_what_is_done_after_a_decline(
    reason: str, retry: Retry, attempts: int, left: Decision, draw: float, step: Step
) -> None:
    """
    The decline's own advice first, then how often it was tried, then what is left.
    """
    answer = Declined(code="x", reason=reason, message="", retry=retry)

    assert after(answer, decision=left, attempts=attempts, retries=RETRIES, draw=draw, now=NOW) == step


@pytest.mark.parametrize("attempts", [1, 2, 3, 99])
@pytest.mark.parametrize("left", [decision("b"), decision(), decision(soon=True)])
def test_silence_is_resolved_and_nothing_else(attempts: int, left: Decision) -> None:
    """
    Whatever routes are left and however often it was tried, the money may have moved.
    """
    said = after(Unknown(why="no answer"), decision=left, attempts=attempts, retries=RETRIES, draw=0.9, now=NOW)

    assert said == Resolve("no answer")


def test_a_wait_without_end_is_none() -> None:
    """
    After however many attempts it is at most the longest and its spread.
    """
    many = Retries(attempts_max=10**6)
    answer = Declined(code="x", reason="limit", message="", retry=Retry.LATER)

    said = after(answer, decision=decision(), attempts=10**5, retries=many, draw=0.999, now=NOW)

    assert isinstance(said, Wait)
    assert said.until <= NOW + timedelta(seconds=3600 * 1.2)


def test_a_route_that_said_later_may_be_asked_again() -> None:
    """
    Only the last word of each route counts.
    """
    declines = [("a", Retry.LATER), ("b", Retry.ELSEWHERE), ("a", Retry.ELSEWHERE), ("b", Retry.LATER)]

    assert tried(declines) == ("a",)
    assert tried(declines[:1]) == ()
