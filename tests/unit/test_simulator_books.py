"""The simulator's own books: what was answered was on the disk, once; and faults that can be had again."""

import os
import signal
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from msgspec import structs

from adapters.rails.simulator.books import AlreadyDone, Books, BooksDamaged, BooksInUse, Effect
from adapters.rails.simulator.clock import Clock
from adapters.rails.simulator.faults import Faults, Next, Plan, Switches
from adapters.rails.simulator.reply import Reply, carried_out

TOP = Path(__file__).parents[2]

AT = datetime(2026, 3, 2, 12, tzinfo=UTC)


def effect(request_id: str = "r1", **said: object) -> Effect:
    given: dict[str, object] = {
        "rail": "upi",
        "request_id": request_id,
        "operation": "collect",
        "amount": 1050,
        "currency": "INR",
        "outcome": "approved",
        "code": "00",
        "reference": f"ref-{request_id}",
        "at": AT,
        "day": date(2026, 3, 2),
    }
    return msgspec.convert({**given, **said}, Effect)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "books.jsonl"


def test_what_is_recorded_is_read_back(file: Path) -> None:
    """
    Books that are opened again hold the same effects in the same order, and can be found by what they were kept under.
    """
    refund = effect("r2", operation="refund", original="ref-r1", detail={"note": "línea"})
    with Books(file) as books:
        books.record(effect())
        books.record(refund)

    with Books(file) as again:
        assert list(again.effects("upi")) == [effect(), refund]
        assert list(again.effects("card")) == []
        assert again.find("upi", "r2") == again.by_reference("upi", "ref-r2") == refund
        assert again.find("card", "r2") is again.by_reference("upi", "ref-r3") is None
        assert again.upon("upi", "ref-r1") == [refund]


def test_one_request_id_has_one_effect(file: Path) -> None:
    """
    A second effect of a request id is refused, also after the books were opened again, and nothing is written.
    """
    with Books(file) as books:
        books.record(effect())
        with pytest.raises(AlreadyDone):
            books.record(effect(reference="other", amount=1))
        with pytest.raises(AlreadyDone):
            books.record(effect("r2", reference="ref-r1"))
        books.record(effect(rail="card"))
    written = file.read_bytes()

    with Books(file) as again, pytest.raises(AlreadyDone):
        again.record(effect())

    assert file.read_bytes() == written
    assert written.count(b"\n") == 2


def test_what_was_accepted_is_concluded_once(file: Path) -> None:
    """
    Accepted becomes approved or declined, once, with the same amount; what has ended is over.
    """
    with Books(file) as books:
        books.record(effect(outcome="accepted", code="01"))
        with pytest.raises(AlreadyDone):
            books.conclude(effect(amount=1))
        with pytest.raises(AlreadyDone):
            books.conclude(effect("never heard of"))
        books.conclude(effect(outcome="declined", code="ZA"))
        with pytest.raises(AlreadyDone):
            books.conclude(effect())

    with Books(file) as again:
        assert [(found.outcome, found.code) for found in again.effects()] == [("declined", "ZA")]


def test_a_torn_last_line_is_cut_off(file: Path) -> None:
    """
    Wherever a crash tears the last line, the books open with what was whole, and go on from there.
    """
    with Books(file) as books:
        books.record(effect("r1"))
        books.record(effect("r2"))
    whole = file.read_bytes()
    first = whole.index(b"\n") + 1

    for length in range(first, len(whole)):
        file.write_bytes(whole[:length])
        with Books(file) as torn:
            assert [found.request_id for found in torn.effects()] == ["r1"], length
            torn.record(effect("r2"))
        assert file.read_bytes() == whole


@pytest.mark.parametrize("bad", [b"{}\n", b"\n", b"nonsense\n", b"\xff\n"])
def test_damage_before_the_end_is_told(file: Path, bad: bytes) -> None:
    """
    A line that is no effect, or a second effect of a request id, is not passed over.
    """
    with Books(file) as books:
        books.record(effect())
    good = file.read_bytes()

    for content in (bad + good, good + bad, good + good):
        file.write_bytes(content)
        with pytest.raises(BooksDamaged):
            Books(file)


def test_two_keepers_are_one_too_many(file: Path) -> None:
    """
    Books that are open cannot be opened once more, or a request id could have two effects.
    """
    with Books(file), pytest.raises(BooksInUse):
        Books(file)

    with Books(file) as again:
        assert list(again.effects()) == []


WRITER = """
import sys
from pathlib import Path
from adapters.rails.simulator.books import Books
from tests.unit.test_simulator_books import effect

books = Books(Path(sys.argv[1]))
for number in range(10_000):
    books.record(effect(f"r{number}"))
    print(number, flush=True)
"""


def test_kill_9_keeps_what_was_answered(file: Path) -> None:
    """
    A process that is killed in the middle of recording has kept every effect that it told of.
    """
    command = [sys.executable, "-c", WRITER, str(file)]
    writer = subprocess.Popen(command, cwd=TOP, stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None

    for line in writer.stdout:
        if int(line) == 50:
            os.kill(writer.pid, signal.SIGKILL)
            break
    told = [50, *(int(line) for line in writer.stdout if line.endswith("\n"))][-1]
    assert writer.wait() == -signal.SIGKILL
    writer.stdout.close()

    with Books(file) as books:
        kept = [found.request_id for found in books.effects()]
        assert kept[: told + 1] == [f"r{number}" for number in range(told + 1)]
        assert len(kept) in (told + 1, told + 2)


def test_on_the_disk_before_it_is_told(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Whatever is kept is written, then synchronized with the disk, and only then is it there.
    """
    done: list[str] = []
    write, fsync = os.write, os.fsync

    def writing(fd: int, line: bytes) -> int:
        done.append("written")
        return write(fd, line)

    def synchronizing(fd: int) -> None:
        done.append("on the disk" if books.find("upi", "r1") is None else "too late")
        fsync(fd)

    with Books(file) as books:
        monkeypatch.setattr(os, "write", writing)
        monkeypatch.setattr(os, "fsync", synchronizing)
        books.record(effect())
        assert books.find("upi", "r1") is not None

    assert done == ["written", "on the disk"]


def test_what_could_not_be_written_was_not_done(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    When the disk fails in the middle of a line, the effect is not kept, and the next one follows a whole line.
    """
    real = os.write
    with Books(file) as books:
        books.record(effect("r1"))
        with monkeypatch.context() as patched:
            patched.setattr(os, "write", lambda fd, line: real(fd, line[:20]))
            with pytest.raises(OSError):
                books.record(effect("r2"))
        assert books.find("upi", "r2") is None
        books.record(effect("r3"))

    with Books(file) as again:
        assert [found.request_id for found in again.effects()] == ["r1", "r3"]


def test_totals(file: Path) -> None:
    """
    Totals are per rail, currency, operation and outcome, of effects as they stand.
    """
    with Books(file) as books:
        books.record(effect("r1", outcome="accepted"))
        books.record(effect("r2", amount=7))
        books.record(effect("r3", operation="refund", amount=1))
        books.conclude(effect("r1"))

        found = [(row.operation, row.outcome, row.count, row.amount) for row in books.totals()]

    assert found == [("collect", "approved", 2, 1057), ("refund", "approved", 1, 1)]


def planned(faults: Faults, rail: str = "upi", route: str = "", count: int = 200) -> list[Plan]:
    return [faults.plan(rail, route) for _ in range(count)]


def test_faults_can_be_had_again() -> None:
    """
    The same seed gives the same faults, whatever other routes are asked in between; another seed gives others.
    """
    switches = Switches(drop_before=0.2, drop_after=0.3, wrong_amount=0.5)
    one, two, other = Faults(7), Faults(7), Faults(8)
    for faults in (one, two, other):
        faults.switch("upi", switches)

    first = planned(one)
    planned(two, "card")
    planned(two, "upi", "a bank")

    assert planned(two) == first
    assert planned(other) != first
    assert 30 < sum(plan.drop_after for plan in first) < 90
    assert not any(plan.outage or plan.decline or plan.duplicate for plan in first)


def test_one_fault_moves_no_other() -> None:
    """
    Which requests are swallowed does not change when latency and declines are switched on as well.
    """
    one, two = Faults(7), Faults(7)
    one.switch("upi", Switches(drop_after=0.3))
    two.switch("upi", Switches(drop_after=0.3, decline=0.5, latency_s=1, outage=Next(5)))

    assert [plan.drop_after for plan in planned(one)] == [plan.drop_after for plan in planned(two)]


def test_the_next_so_many() -> None:
    """
    A count befalls the next so many requests, then none; what is left of it is shown.
    """
    faults = Faults(1)
    faults.switch("upi", Switches(decline=Next(2), decline_code="Z9", outage=1.0))

    plans = planned(faults, count=4)

    assert [plan.decline for plan in plans] == [True, True, False, False]
    assert all(plan.outage for plan in plans)
    assert faults.switches()["upi", ""].decline == Next(0)


def test_a_route_goes_by_its_own_switches() -> None:
    """
    Switches of a route stand for it alone; every other route goes by its rail's.
    """
    faults = Faults(1)
    faults.switch("upi", Switches(outage=1.0))
    faults.switch("upi", Switches(decline=1.0), route="a bank")

    assert faults.plan("upi", "a bank") == Plan(decline=True, late_s=5.0)
    assert faults.plan("upi", "another").outage
    assert not faults.plan("card").outage


@pytest.mark.parametrize("bad", ['{"outage": 1.5}', '{"outage": {"next": -1}}', '{"late_s": -1}', '{"typo": 1}'])
def test_switches_that_make_no_sense(bad: str) -> None:
    """
    A probability above one, a count below zero, a negative time and an unknown fault are no switches.
    """
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(bad, type=Switches)


def test_what_a_plan_lets_through() -> None:
    """
    An outage and a swallowed request do nothing; a swallowed answer does, and says nothing; the rest is answered once.
    """
    done: list[str] = []

    def act() -> bytes:
        done.append("done")
        return b"answer"

    assert carried_out(Plan(outage=True, drop_after=True), act) == Reply(hang_up=True)
    assert carried_out(Plan(drop_before=True), act) == Reply()
    assert done == []
    assert carried_out(Plan(drop_after=True), act) == Reply()
    assert carried_out(Plan(latency_s=1, late=True, late_s=2), act) == Reply(body=b"answer", delay_s=3)
    assert carried_out(Plan(late_s=2, duplicate=True), act) == Reply(body=b"answer", twice=True)
    assert len(done) == 3


def test_the_clock_goes_forward_and_never_back() -> None:
    """
    It is moved by days, and a simulator that starts anew is not behind what its books already know.
    """
    clock = Clock(real=lambda: AT)
    assert clock.now() == AT
    clock.advance(3)
    assert clock.now() == AT + timedelta(days=3)

    assert Clock(not_before=AT, real=lambda: AT).now() == AT
    assert Clock(not_before=AT - timedelta(days=9), real=lambda: AT).now() == AT
    again = Clock(not_before=clock.now() + timedelta(hours=1), real=lambda: AT)
    assert again.now() == AT + timedelta(days=4)


def test_an_effect_is_not_changed_by_being_read(file: Path) -> None:
    """
    What is concluded differs in its outcome, code and details alone; day and time are the later ones.
    """
    with Books(file) as books:
        begun = effect(outcome="accepted")
        books.record(begun)
        books.conclude(structs.replace(begun, outcome="approved", at=AT + timedelta(hours=1)))

        assert begun.outcome == "accepted"
        found = books.find("upi", "r1")

    assert found is not None
    assert (found.outcome, found.at) == ("approved", AT + timedelta(hours=1))
