"""What a rail reports of its days, whatever was done on it and when: each day once, complete, and never another."""

from collections import Counter
from datetime import date, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from adapters.rails.simulator.disputes import DISPUTED, LOST, WON
from domain.rail import Answer, Approved, Operation, Rail
from domain.settlement import Said
from tests.rail_days import BANKS, START, Bank, Done

LONG_AFTER: Final = 60
"""Days in which whatever was begun has ended."""
SETTLE: Final = ("capture", "collect", "refund", "payout", "reverse")

nth = st.integers(0, 5)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("begin"), st.integers(1, 4_000)),
        st.tuples(st.just("begin"), st.sampled_from([5101, 5110, 5120, 5121, 5130, 5140, 5201])),
        st.tuples(st.just("payout"), st.integers(1, 4_000)),
        st.tuples(st.just("refund"), nth, st.integers(1, 900)),
        st.tuples(st.just("reverse"), nth),
        st.tuples(st.just("contest"), nth, st.booleans()),
        st.tuples(st.just("switch"), st.sampled_from([{"dispute": 1.0}, {"duplicate": 1.0}, {"decline": 1.0}, {}])),
        st.tuples(st.just("advance"), st.sampled_from([1, 5, 12, 24, 72, 24 * 14])),
        st.tuples(st.just("advance"), st.sampled_from([1, 5, 12, 24])),
        st.tuples(st.just("restart")),
    ),
    max_size=14,
)


class Day:
    """Who asks a rail for things, and keeps what it was told of its days."""

    def __init__(self, bank: Bank) -> None:
        self.bank = bank
        self.done: list[Done] = []
        self.served: dict[date, Any] = {}
        self.disputes: list[Any] = []
        self.count = 0

    def take(self, step: tuple[Any, ...]) -> None:
        name, *given = step
        getattr(self, name)(*given)
        self.look()

    def look(self) -> None:
        """What was served is served again as it was; then what else is over."""
        for day in (START.date() + timedelta(days=n) for n in range((self.bank.now - START).days + 3)):
            report = self.bank.report(day)
            assert report == self.served.setdefault(day, report) or self.served[day] is None
            if self.served[day] is None and report is not None:
                self.served[day] = report
                self.disputes += [line for line in report.lines if line.said is Said.DISPUTED]

    def ask(self, operation: Operation, **said: Any) -> None:
        self.count += 1
        asked = self.bank.instruction(self.count, operation, **said)
        answer: Answer = self.bank.send(asked)
        if isinstance(answer, Approved):
            self.done.append(Done(asked, answer.reference))

    def begin(self, amount: int) -> None:
        self.ask(self.bank.begins, amount=amount)

    def payout(self, amount: int) -> None:
        self.ask(Operation.PAYOUT, amount=amount)

    def refund(self, which: int, amount: int) -> None:
        if self.done:
            self.ask(Operation.REFUND, upon=self.done[-1 - which % len(self.done)], amount=amount)

    def reverse(self, which: int) -> None:
        fit = [each for each in self.done if each.asked.operation in (Operation.COLLECT, Operation.PAYOUT)]
        if fit and self.bank.rail is not Rail.UPI:
            self.ask(Operation.REVERSE, upon=fit[-1 - which % len(fit)])

    def contest(self, which: int, wins: bool) -> None:
        if self.disputes:
            self.count += 1
            line = self.disputes[-1 - which % len(self.disputes)]
            self.bank.contest(self.count, line.reference, line.amount, "winning" if wins else "losing")

    def switch(self, switches: dict[str, Any]) -> None:
        self.bank.switch(**switches)

    def advance(self, hours: int) -> None:
        self.bank.advance(hours=hours)

    def restart(self) -> None:
        self.bank.restart()


def expected(bank: Bank) -> Counter[tuple[Any, ...]]:
    """What its books say was to be told, worked out from its effects."""
    told: Counter[tuple[Any, ...]] = Counter()
    for effect in bank.books.effects(bank.rail):
        twice = 1 + bool({"twice", "reported"} & effect.detail.keys())
        if effect.outcome != "approved":
            continue
        if effect.operation == "reverse" and "moved" not in effect.detail and bank.rail is Rail.WIRE:
            continue  # What was recalled had not left.
        if effect.operation in SETTLE:
            told["settled", effect.request_id, effect.operation, effect.amount] += twice
        elif effect.operation == "return":
            original = effect.request_id.removesuffix("-return").removeprefix("R-")
            upon = bank.books.find(bank.rail, original)
            assert upon is not None
            told["returned", original, upon.operation, effect.amount] += 1
        elif effect.operation in (DISPUTED, WON, LOST):
            told[effect.operation, effect.detail["of"], effect.detail["operation"], effect.amount] += 1
    return told


@pytest.mark.parametrize("rail", [*BANKS])
@settings(max_examples=30, deadline=None)
@given(plan=steps)
def test_each_day_is_told_once_and_stays(rail: Rail, plan: list[tuple[Any, ...]]) -> None:
    """
    Whatever is done, undone, disputed, answered and restarted, at whatever hour: a day that was served is never another
    afterwards, and in the end all days together tell all that moved, each once.
    """
    with TemporaryDirectory() as folder:
        bank = BANKS[rail](Path(folder) / "books.jsonl")
        try:
            asking = Day(bank)
            for step in plan:
                asking.take(step)
            bank.switch()
            for _ in range(3):
                bank.advance(days=LONG_AFTER // 3)
                asking.look()
            reports = [report for report in asking.served.values() if report is not None]
            names = {bank.told(f"req{n:019}"): bank.name(f"req{n:019}") for n in range(1, asking.count + 1)}
            lines = [line for report in reports for line in report.lines]
            told = Counter((str(one.said), names[one.request_id], one.operation, one.amount) for one in lines)
            assert told == expected(bank)
        finally:
            bank.close()
