"""The read models are kept up by a process beside the server's: it is followed when it dies, and outlives nobody."""

import os
import signal
import time
from pathlib import Path
from typing import Any

import httpx2
import pytest

from adapters import projector
from adapters.postgres.projecting import State
from adapters.projector import Projector
from tests.serving import Caller, serving_process, until


def pids_of(parent: int) -> list[int]:
    """The projector processes of that process."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
            words = stat.with_name("cmdline").read_bytes()
        except OSError:
            continue
        if int(fields[1]) == parent and fields[0] != "Z" and b"adapters.projector" in words:
            found.append(int(stat.parent.name))
    return found


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes are looked up in /proc")


def test_it_is_followed_when_it_dies(database: str) -> None:
    """
    Killed, another goes on; that is told by /readyz, by the metrics and by a log line, and reads are current again.
    """
    events: list[tuple[str, dict[str, Any]]] = []
    runner = Projector(database, on_event=lambda event, /, **fields: events.append((event, fields)))
    runner.start()
    try:
        assert runner.up.wait(20)
        [first] = pids_of(os.getpid())
        os.kill(first, signal.SIGKILL)
        until(lambda: pids_of(os.getpid()) not in ([], [first]))
        until(lambda: {status.state for status in runner.status() if status.running} == {State.FOLLOWING})
        assert {status.restarts for status in runner.status()} == {1}
    finally:
        runner.stop()

    assert events == [("projector.died", {"exit": -signal.SIGKILL})]
    assert pids_of(os.getpid()) == []


def test_it_ends_with_a_server_that_is_killed(database: str) -> None:
    """
    As by kill -9, when nobody can tell it to.
    """
    with serving_process(database) as server:
        [pid] = pids_of(server.popen.pid)
        server.kill()
        until(lambda: not alive(pid))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_both(database: str, number: signal.Signals) -> None:
    """
    Also when both get it, as from a terminal or a supervisor: then it goes on until what is in flight is answered.
    """
    with serving_process(database) as server:
        [pid] = pids_of(server.popen.pid)
        os.kill(pid, number)
        time.sleep(0.3)
        assert alive(pid)
        server.popen.send_signal(number)
        server.popen.wait(timeout=30)
        until(lambda: not alive(pid))


def test_one_not_heard_of_is_said_not_to_run(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A process that is frozen cannot say so itself.
    """
    monkeypatch.setattr(projector, "SILENT_S", 0.5)
    runner = Projector(database)
    runner.start()
    try:
        assert runner.up.wait(20)
        [pid] = pids_of(os.getpid())
        os.kill(pid, signal.SIGSTOP)
        until(lambda: all(not status.running and status.error for status in runner.status()))
        os.kill(pid, signal.SIGCONT)
        until(lambda: all(status.running and status.error is None for status in runner.status()))
    finally:
        runner.stop()


def test_the_server_tells_how_it_stands(database: str) -> None:
    """
    What the process says is on /readyz and among the metrics, and a read after a command sees it.
    """
    with serving_process(database) as server, Caller(server.base_url) as caller:
        caller.done("/v1/books", {"code": "main"})
        caller.account("cash")
        until(lambda: {p["position"] for p in httpx2.get(f"{server.base_url}/readyz").json()["projectors"]} == {2})
        assert 'daybook_projector_position{projector="journal"} 2.0' in httpx2.get(f"{server.base_url}/metrics").text
        assert len(caller.get("/v1/accounts", params={"book": "main"}).json()["data"]) == 1


def test_its_password_is_nowhere_to_be_seen(database: str) -> None:
    """
    Neither the arguments nor the environment of the process name the database.
    """
    runner = Projector(database)
    runner.start()
    try:
        assert runner.up.wait(20)
        [pid] = pids_of(os.getpid())
        assert database.encode() not in Path(f"/proc/{pid}/cmdline").read_bytes()
    finally:
        runner.stop()
