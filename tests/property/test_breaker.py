"""A breaker under any sequence of calls: against a model that keeps every call and counts anew each time."""

from datetime import datetime, timedelta
from fractions import Fraction
from typing import NamedTuple

import hypothesis.strategies as st
import msgspec
from hypothesis import given

from domain.breaker import (
    Breaker,
    Cause,
    Outcome,
    Permit,
    State,
    Thresholds,
    allow,
    counts,
    force,
    observe,
    probe,
    release,
    retry_at,
)
from domain.traffic import Observation, statistics
from domain.watch import Watched, watch
from tests.support import NOW

thresholds = st.builds(
    Thresholds,
    bucket_s=st.integers(1, 10),
    buckets=st.integers(1, 5),
    calls_min=st.integers(1, 8),
    failures_in_row=st.integers(1, 6),
    failure_percent=st.integers(1, 100),
    slow_percent=st.integers(1, 100),
    slow_ms=st.just(100),
    open_s=st.integers(1, 20),
    open_s_max=st.integers(20, 60),
    probes=st.integers(1, 3),
    probe_patience_s=st.integers(1, 20),
)


LONG_MS = 10**9


class Step(NamedTuple):
    """Seconds that pass, and then a call and its end, an old one's end, a probe that is lost, or an operator's word."""

    wait_s: int
    what: str
    outcome: Outcome
    latency_ms: int
    until_s: int | None


steps = st.lists(
    st.builds(
        Step,
        wait_s=st.integers(0, 25),
        what=st.sampled_from(["call"] * 8 + ["late", "lost", "open", "close", "release"]),
        outcome=st.sampled_from([Outcome.SUCCESS, Outcome.SUCCESS, Outcome.FAILURE, Outcome.TIMEOUT]),
        latency_ms=st.sampled_from([50, 150]),
        until_s=st.none() | st.integers(1, 60),
    ),
    max_size=60,
)


class Model:
    """Every call there was since the breaker was last closed, and the operator's last word."""

    def __init__(self, limits: Thresholds) -> None:
        self.limits = limits
        self.calls: list[tuple[datetime, bool, bool]] = []
        self.word: tuple[State, datetime | None] | None = None

    def word_now(self, now: datetime) -> State | None:
        return self.word[0] if self.word and (self.word[1] is None or now < self.word[1]) else None

    def in_window(self, now: datetime) -> list[tuple[datetime, bool, bool]]:
        size = self.limits.bucket_s
        first = int(now.timestamp()) // size - self.limits.buckets + 1
        return [call for call in self.calls if int(call[0].timestamp()) // size >= first]

    def must_open(self, now: datetime) -> bool:
        row = 0
        for _, failed, _ in self.calls:
            row = row + 1 if failed else 0
        seen = self.in_window(now)
        percent = [Fraction(100 * sum(which), len(seen)) for which in zip(*(call[1:] for call in seen), strict=True)]
        return row >= self.limits.failures_in_row or (
            len(seen) >= self.limits.calls_min
            and (percent[0] >= self.limits.failure_percent or percent[1] >= self.limits.slow_percent)
        )


@given(thresholds, steps)
def test_a_breaker_is_its_model(limits: Thresholds, steps: list[Step]) -> None:
    """
    It opens when the calls of the window say so and not otherwise; while it is open nothing goes out but one probe at a
    time, not before its time; it closes by as many successes of probes as it must; an operator's word goes before all.
    """
    breaker, model, now = Breaker(thresholds=limits), Model(limits), NOW
    passed, waited_for = 0, NOW
    for step in steps:
        now += timedelta(seconds=step.wait_s)
        before = breaker
        permit = allow(breaker, now)
        assert permit is allow(msgspec.json.decode(msgspec.json.encode(breaker), type=Breaker), now)
        match model.word_now(now):
            case State.OPEN:
                assert permit is Permit.NO
            case State.CLOSED:
                assert permit is Permit.YES
            case None:
                assert (permit is Permit.YES) is (breaker.state is State.CLOSED)
        if permit is Permit.NO:
            again = retry_at(breaker, now)
            assert again is None or again > now
        match step.what:
            case "open" | "close":
                state = State.OPEN if step.what == "open" else State.CLOSED
                until = None if step.until_s is None else now + timedelta(seconds=step.until_s)
                breaker = force(breaker, state, reason="r", actor="a", until=until, now=now)
                model.word = (state, until)
                assert breaker.state is before.state
                continue
            case "release":
                breaker = release(breaker, reason="r", actor="a", now=now)
                model.word = None
                assert breaker.state is before.state
                continue
            case "call" | "lost" if permit is Permit.NO:
                continue
        is_probe = step.what != "late" and permit is Permit.PROBE
        latency_ms = LONG_MS if step.what == "late" else step.latency_ms
        if is_probe:
            assert before.state is not State.OPEN or (before.until is not None and now >= before.until)
            assert before.state is not State.HALF_OPEN or now >= waited_for
            breaker = probe(breaker, now)
            passed = 0 if before.state is State.OPEN else passed
            assert breaker.state is State.HALF_OPEN
            assert model.word_now(now) or allow(breaker, now) is Permit.NO
            waited_for = now + timedelta(seconds=limits.probe_patience_s)
        if step.what == "lost":
            continue
        waited_for = now if is_probe else waited_for
        now += timedelta(milliseconds=step.latency_ms)
        failed = step.outcome is not Outcome.SUCCESS
        slow = step.outcome is Outcome.TIMEOUT or latency_ms >= limits.slow_ms
        model.calls.append((now, failed, slow))
        halfway = breaker.state
        breaker = observe(breaker, step.outcome, latency_ms, now)
        if halfway is State.CLOSED:
            assert (breaker.state is State.OPEN) is ((failed or slow) and model.must_open(now))
        elif halfway is State.OPEN or step.what == "late":
            assert breaker.state is halfway
        elif failed or slow:
            assert breaker.state is State.OPEN
            assert breaker.history[-1].cause is Cause.PROBE_FAILED
        else:
            passed += 1
            assert (breaker.state is State.CLOSED) is (passed == limits.probes)
            if breaker.state is State.CLOSED:
                model.calls, passed = [], 0
        assert counts(breaker, now).calls == len(model.in_window(now))


@given(thresholds, st.lists(st.tuples(st.integers(-30, 30), st.sampled_from(Outcome)), max_size=40))
def test_a_clock_that_jumps_does_no_harm(limits: Thresholds, calls: list[tuple[int, Outcome]]) -> None:
    """
    Whatever order times come in, the window is in order and bounded, and a call is never counted twice.
    """
    breaker, now = Breaker(thresholds=limits), NOW
    for jump, outcome in calls:
        now += timedelta(seconds=jump)
        breaker = observe(breaker, outcome, 50, now)
        numbers = [bucket.number for bucket in breaker.window]
        assert numbers == sorted({*numbers})
        assert len(numbers) <= limits.buckets
        assert not numbers or numbers[-1] - numbers[0] < limits.buckets
    assert sum(bucket.calls for bucket in breaker.window) <= len(calls)


observations = st.builds(
    Observation,
    outcome=st.sampled_from([Outcome.SUCCESS] * 3 + [Outcome.FAILURE, Outcome.TIMEOUT]),
    latency_ms=st.sampled_from([0, 99, 100, 5000]),
    approved=st.none() | st.booleans(),
)


@given(thresholds, st.lists(st.tuples(st.integers(0, 25), st.lists(observations, max_size=20)), max_size=6))
def test_many_at_once_are_as_each_by_itself(limits: Thresholds, told: list[tuple[int, list[Observation]]]) -> None:
    """
    What is told in batches comes to the same breaker, transition by transition, and to the same counts.
    """
    batched = single = Watched(breaker=Breaker(thresholds=limits))
    now = NOW
    for wait_s, batch in told:
        now += timedelta(seconds=wait_s)
        if allow(batched.breaker, now) is Permit.PROBE:
            batched, single = (msgspec.structs.replace(w, breaker=probe(w.breaker, now)) for w in (batched, single))
        batched = watch(batched, batch, now)
        for one in batch:
            single = watch(single, [one], now)

        assert batched.breaker == single.breaker
        assert statistics(batched.traffic, now) == statistics(single.traffic, now)
