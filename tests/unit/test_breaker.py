"""A breaker's states told as stories: each row a second, what happened in it, and what the breaker then is."""

from datetime import datetime, timedelta
from itertools import product

import msgspec
import pytest

from domain.breaker import (
    HISTORY,
    TRANSITIONS,
    Breaker,
    Cause,
    Outcome,
    Permit,
    State,
    Thresholds,
    allow,
    allow_all,
    counts,
    force,
    key,
    observe,
    probe,
    release,
    retry_at,
    transitions_since,
    under,
)
from domain.rail import Rail
from tests.support import NOW, cells

THRESHOLDS = Thresholds(
    bucket_s=10,
    buckets=6,
    calls_min=4,
    failures_in_row=3,
    failure_percent=50,
    slow_percent=75,
    slow_ms=1000,
    open_s=30,
    open_s_max=100,
    probes=2,
    probe_patience_s=20,
)
FRESH = Breaker(thresholds=THRESHOLDS)


def at(second: int) -> datetime:
    return NOW + timedelta(seconds=second)


def step(breaker: Breaker, what: str, now: datetime) -> Breaker:
    """`probe` takes one; `ok`, `slow`, `fail`, `timeout` end a call, with `~` one of long ago; `look` does nothing."""
    ends = {"ok": (Outcome.SUCCESS, 50), "slow": (Outcome.SUCCESS, 1000), "fail": (Outcome.FAILURE, 50)}
    ends |= {"timeout": (Outcome.TIMEOUT, 999), "ok~": (Outcome.SUCCESS, 20_000), "fail~": (Outcome.FAILURE, 20_000)}
    match what:
        case "look":
            return breaker
        case "probe":
            return probe(breaker, now)
        case _:
            return observe(breaker, *ends[what], now)


def told(story: str) -> Breaker:
    """The breaker after the story of rows `second | what | state | permit`; each row is checked."""
    breaker = FRESH
    for second, what, state, permit in cells(story):
        breaker = step(breaker, what, at(int(second)))
        assert (breaker.state, allow(breaker, at(int(second)))) == (state, permit), (second, what, breaker)
    return breaker


STORIES = {
    "three failures in a row open it, though there are few calls": """
        0  | fail    | closed | yes
        1  | timeout | closed | yes
        2  | fail    | open   | no
    """,
    "a success between them ends the row, and opens nothing itself": """
        0  | fail    | closed | yes
        1  | fail    | closed | yes
        2  | ok      | closed | yes
        3  | ok      | closed | yes
        4  | fail    | open   | no
    """,
    "half of enough calls failed": """
        0  | ok      | closed | yes
        1  | fail    | closed | yes
        2  | ok      | closed | yes
        3  | fail    | open   | no
    """,
    "too few calls say nothing": """
        0  | ok      | closed | yes
        1  | fail    | closed | yes
        2  | fail    | closed | yes
    """,
    "slow answers open it, though none failed": """
        0  | slow    | closed | yes
        1  | slow    | closed | yes
        2  | ok      | closed | yes
        3  | slow    | open   | no
    """,
    "what is a window ago no longer counts": """
        0  | fail    | closed | yes
        1  | ok      | closed | yes
        59 | ok      | closed | yes
        60 | fail    | closed | yes
        61 | ok      | closed | yes
        62 | fail    | open   | no
    """,
    "its time over, one probe at a time, and two in a row close it": """
        0  | fail    | closed    | yes
        0  | fail    | closed    | yes
        0  | fail    | open      | no
        29 | look    | open      | no
        30 | look    | open      | probe
        30 | probe   | half_open | no
        31 | ok      | half_open | probe
        32 | probe   | half_open | no
        33 | ok      | closed    | yes
        34 | fail    | closed    | yes
        34 | fail    | closed    | yes
    """,
    "a failed probe opens it for twice as long, up to the most": """
        0   | fail    | closed    | yes
        0   | fail    | closed    | yes
        0   | fail    | open      | no
        29  | look    | open      | no
        30  | probe   | half_open | no
        31  | fail    | open      | no
        90  | look    | open      | no
        91  | look    | open      | probe
        91  | probe   | half_open | no
        92  | timeout | open      | no
        191 | look    | open      | no
        192 | look    | open      | probe
    """,
    "a slow probe has not shown that it is over": """
        0  | fail    | closed    | yes
        0  | fail    | closed    | yes
        0  | fail    | open      | no
        30 | probe   | half_open | no
        31 | slow    | open      | no
    """,
    "a probe that is never answered makes room for another after a while": """
        0  | fail    | closed    | yes
        0  | fail    | closed    | yes
        0  | fail    | open      | no
        30 | probe   | half_open | no
        49 | look    | half_open | no
        50 | probe   | half_open | no
        69 | look    | half_open | no
        70 | look    | half_open | probe
    """,
    "late answers to calls sent before it opened change nothing": """
        0  | fail    | closed    | yes
        0  | fail    | closed    | yes
        0  | fail    | open      | no
        1  | ok      | open      | no
        2  | fail    | open      | no
        30 | probe   | half_open | no
        31 | ok~     | half_open | no
        32 | fail~   | half_open | no
        33 | ok      | half_open | probe
        34 | ok~     | half_open | probe
    """,
}


@pytest.mark.parametrize("story", STORIES.values(), ids=STORIES.keys())
def test_a_breakers_story(story: str) -> None:
    """
    Closed, open, half-open: when, and what goes through meanwhile.
    """
    told(story)


def test_the_table_has_nothing_else() -> None:
    """
    Of all states and causes, these and no others lead somewhere; an operator's word changes no state.
    """
    own = {pair: after for pair, after in TRANSITIONS.items() if pair[1] not in (Cause.FORCED, Cause.RELEASED)}

    assert {f"{state} {cause} {after}" for (state, cause), after in own.items()} == {
        "closed tripped open",
        "open probed half_open",
        "half_open probed half_open",
        "half_open probe_failed open",
        "half_open recovered closed",
    }
    for state, cause in product(State, (Cause.FORCED, Cause.RELEASED)):
        assert TRANSITIONS[state, cause] is state


def test_a_window_that_nobody_fills_empties_by_itself() -> None:
    """
    What is counted depends on when it is looked at, not on when the next call ends; a timeout counts as slow as well.
    """
    breaker = step(step(FRESH, "timeout", at(0)), "ok", at(10))

    seen = [counts(breaker, at(second)) for second in (59, 60, 69, 70)]

    assert [(bucket.calls, bucket.failures, bucket.slow) for bucket in seen] == [
        (2, 1, 1),
        (1, 0, 0),
        (1, 0, 0),
        (0, 0, 0),
    ]


def test_recovered_it_opens_for_as_long_as_the_first_time() -> None:
    """
    What it waited in an earlier trouble is forgotten.
    """
    breaker = told(STORIES["its time over, one probe at a time, and two in a row close it"])

    again = step(breaker, "fail", at(35))

    assert (again.state, again.until) == (State.OPEN, at(35 + 30))


def test_every_transition_says_why() -> None:
    """
    What happened is numbered and readable, and those new since some number are told apart.
    """
    breaker = told(STORIES["its time over, one probe at a time, and two in a row close it"])

    assert [f"{t.number} {t.before} {t.after} {t.reason}" for t in breaker.history] == [
        "1 closed open 3 failures in a row; open for 30 s",
        "2 open half_open its time was over",
        "3 half_open closed 2 probes in a row succeeded",
    ]
    assert [t.number for t in transitions_since(breaker, 2)] == [3]
    assert breaker.since == at(33)


@pytest.mark.parametrize(
    ("story", "reason"),
    [
        ("half of enough calls failed", "2 of 4 calls in 60 s failed"),
        ("slow answers open it, though none failed", "3 of 4 calls in 60 s took 1000 ms or more"),
    ],
)
def test_a_reason_has_its_numbers(story: str, reason: str) -> None:
    """
    Why it opened can be checked against the window.
    """
    assert told(STORIES[story]).history[-1].reason == f"{reason}; open for 30 s"


def test_an_operators_word_goes_before_what_is_observed() -> None:
    """
    Forced open lets not even a probe through; forced closed lets all through, whatever fails; each until its end.
    """
    forced_open = force(FRESH, State.OPEN, reason="maintenance", actor="ann", until=at(10), now=at(0))
    forced_closed = force(FRESH, State.CLOSED, reason="a false alarm", actor="ann", until=None, now=at(0))
    for second in range(5):
        forced_closed = observe(forced_closed, Outcome.FAILURE, 5, at(second))

    assert [allow(forced_open, at(second)) for second in (0, 9, 10)] == [Permit.NO, Permit.NO, Permit.YES]
    assert retry_at(forced_open, at(0)) == at(10)
    assert forced_closed.state is State.OPEN
    assert allow(forced_closed, at(9)) is Permit.YES

    released = release(forced_closed, reason="it was none", actor="bob", now=at(9))

    assert allow(released, at(9)) is Permit.NO
    assert [t.reason for t in released.history if t.before is t.after] == [
        "closed by ann: a false alarm",
        "by bob: it was none",
    ]


def test_a_person_alone_ends_what_has_no_end() -> None:
    """
    Forced open without an end, nobody can say when it lets calls through again.
    """
    forced = force(FRESH, State.OPEN, reason="the contract ended", actor="ann", until=None, now=at(0))

    assert allow(forced, at(10**8)) is Permit.NO
    assert retry_at(forced, at(0)) is None


def test_the_strictest_of_several_decides() -> None:
    """
    A call is under its rail's breaker and its route's, and each can stop it.
    """
    closed, opened = FRESH, told(STORIES["half of enough calls failed"])

    assert allow_all([], at(3)) is Permit.YES
    assert allow_all([closed, opened], at(3)) is Permit.NO
    assert allow_all([opened, closed], at(33)) is Permit.PROBE
    assert allow_all([closed, closed], at(33)) is Permit.YES


def test_a_probe_that_may_not_go_out_is_not_taken() -> None:
    """
    To take one without leave is a mistake of ours, and is said at once.
    """
    with pytest.raises(AssertionError):
        probe(FRESH, at(0))


def test_new_thresholds_keep_what_can_be_kept() -> None:
    """
    State and counts stay; only buckets of another length have to go.
    """
    breaker = told(STORIES["too few calls say nothing"])

    assert counts(under(breaker, Thresholds(bucket_s=10)), at(2)).calls == 3
    assert under(breaker, Thresholds(bucket_s=5)).window == ()
    assert under(told(STORIES["half of enough calls failed"]), Thresholds(bucket_s=5)).state is State.OPEN


def test_a_breaker_of_a_year_of_outage_stays_small() -> None:
    """
    However often it opens, its waits and its JSON have an end.
    """
    breaker = told(STORIES["half of enough calls failed"])
    for _ in range(5000):
        now = retry_at(breaker, at(3)) or at(3)
        breaker = observe(probe(breaker, now), Outcome.TIMEOUT, 0, now)

    assert breaker.openings == 5001
    assert len(breaker.history) == HISTORY
    assert len(msgspec.json.encode(breaker)) < 6000


def test_a_breaker_is_read_as_it_was_written() -> None:
    """
    Its JSON holds all of it, and a new one is next to nothing.
    """
    breaker = force(
        told(STORIES["a slow probe has not shown that it is over"]),
        State.CLOSED,
        reason="so",
        actor="ann",
        until=at(99),
        now=at(40),
    )

    assert msgspec.json.decode(msgspec.json.encode(breaker), type=Breaker) == breaker
    assert msgspec.json.encode(Breaker()) == b"{}"


def test_a_breaker_is_named_by_rail_and_route() -> None:
    """
    A rail has one of its own beside those of its routes.
    """
    assert key(Rail.CARD) == "card"
    assert key(Rail.CARD, "north") == "card/north"
