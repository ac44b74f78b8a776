"""The embedded Postgres, with real servers: what was acknowledged survives any kill, and none is left."""

import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import psycopg
import pytest

from adapters.embedded_postgres import EmbeddedPostgresError, Server, footing, running

pytestmark = pytest.mark.timeout(120)

TOP = Path(__file__).parents[2]

# A Daybook in a process of its own: says the server's pid, does as told on stdin, and says so.
ANOTHER_DAYBOOK = """
import sys
from pathlib import Path
import psycopg
from adapters.embedded_postgres import running

with running(Path(sys.argv[1])) as server, psycopg.connect(server.dsn, autocommit=True) as connection:
    print(server.pid, flush=True)
    for line in sys.stdin:
        connection.execute(line)
        print("done", flush=True)
"""


class AnotherDaybook:
    """A handle on a second process that uses the same home."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.server_pid = int(self._answer())

    def execute(self, statement: str) -> None:
        assert self.process.stdin
        self.process.stdin.write(statement + "\n")
        self.process.stdin.flush()
        assert self._answer() == "done"

    def leave(self) -> None:
        assert self.process.stdin
        self.process.stdin.close()
        assert self.process.wait(60) == 0

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(60)

    def _answer(self) -> str:
        assert self.process.stdout
        return self.process.stdout.readline().strip()


@contextmanager
def another_daybook(home: Path) -> Iterator[AnotherDaybook]:
    command = [sys.executable, "-c", ANOTHER_DAYBOOK, str(home)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=TOP) as process:
        try:
            yield AnotherDaybook(process)
        finally:
            process.kill()


@pytest.fixture
def home() -> Iterator[Path]:
    """A folder with a short path, as a socket needs; whatever a test left running in it is stopped."""
    top = Path(tempfile.mkdtemp(prefix="daybook-test-"))
    yield top / "home"
    for pid_file in top.glob("**/pg*/data/postmaster.pid"):
        with suppress(ProcessLookupError, IndexError):
            os.kill(int(pid_file.read_text().splitlines()[0]), signal.SIGQUIT)
    shutil.rmtree(top, ignore_errors=True)


def query(dsn: str, statement: str) -> list[tuple[object, ...]]:
    with psycopg.connect(dsn, autocommit=True) as connection:
        cursor = connection.execute(statement)
        return cursor.fetchall() if cursor.description else []


def eventually(true: Callable[[], bool], *, within_s: float = 30) -> None:
    deadline = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def is_running(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def modes_above(path: Path) -> dict[Path, int]:
    return {parent: parent.stat().st_mode for parent in path.parents}


def test_starts_answers_and_stops(home: Path) -> None:
    """
    A first start makes a checksummed UTF-8 database, says where it is, and leaves no process behind.
    """
    events: list[tuple[str, dict[str, object]]] = []

    with running(home, on_event=lambda name, fields: events.append((name, fields))) as server:
        pid = server.pid
        settings = query(
            server.dsn,
            "SELECT setting FROM pg_settings WHERE name IN ('data_checksums', 'fsync', 'full_page_writes',"
            " 'listen_addresses', 'server_encoding', 'synchronous_commit') ORDER BY name",
        )

    ready = {"data": str(server.data), "log": str(server.log), "version": server.version, "adopted": False}
    assert [value for (value,) in settings] == ["on", "on", "on", "", "UTF8", "on"]
    assert [name for name, _ in events] == ["postgres.initialising", "postgres.ready", "postgres.stopped"]
    assert events[1][1] == ready
    assert server.data.is_relative_to(home.resolve())
    assert server.log.exists()
    assert not is_running(pid)
    with pytest.raises(EmbeddedPostgresError, match="down"):
        _ = server.pid


def test_data_survive_a_restart(home: Path) -> None:
    """
    What one run wrote, the next one reads, under the same password.
    """
    with running(home) as first:
        query(first.dsn, "CREATE TABLE kept AS SELECT 42 AS answer")

    with running(home) as second:
        assert query(first.dsn, "SELECT answer FROM kept") == [(42,)]
        assert second.dsn == first.dsn


def test_a_second_process_adopts_and_the_last_one_stops(home: Path) -> None:
    """
    Two Daybooks share one server; it stops when the last of them leaves, whichever came first.
    """
    with another_daybook(home) as other:
        with running(home) as server:
            pid = server.pid
            assert pid == other.server_pid

        assert is_running(pid)
        other.execute("SELECT 1")
        other.leave()

    assert not is_running(pid)


def test_the_first_to_leave_stops_nothing(home: Path) -> None:
    """
    The one that started the server may leave before the others.
    """
    with another_daybook(home) as other, running(home) as server:
        other.leave()

        assert query(server.dsn, "SELECT 1") == [(1,)]
        assert server.pid == other.server_pid


def test_whoever_started_it_may_leave_first_without_a_word(home: Path) -> None:
    """
    A server that others still use is no process forgotten, of which Python would warn when its starter ends.
    """
    command = [sys.executable, "-W", "always::ResourceWarning", "-c", ANOTHER_DAYBOOK, str(home)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=TOP, **pipes) as process:  # type: ignore[call-overload]
        process.stdout.readline()
        with running(home):
            said = process.communicate(timeout=60)[1]

    assert (process.returncode, said) == (0, "")


def test_a_server_whose_daybook_was_killed_is_adopted(home: Path) -> None:
    """
    kill -9 of Daybook leaves the server running; the next Daybook adopts it, and stops it in the end.
    """
    events: dict[str, dict[str, object]] = {}
    with another_daybook(home) as other:
        other.execute("CREATE TABLE kept (n int)")
        for n in range(20):
            other.execute(f"INSERT INTO kept VALUES ({n})")
        other.kill()

        assert is_running(other.server_pid)
        with running(home, on_event=lambda name, fields: events.update({name: fields})) as server:
            assert server.pid == other.server_pid
            assert events["postgres.ready"]["adopted"] is True
            assert query(server.dsn, "SELECT count(*) FROM kept") == [(20,)]

    assert not is_running(other.server_pid)


def test_a_killed_server_is_restarted_and_keeps_what_it_acknowledged(home: Path) -> None:
    """
    kill -9 of the postmaster: every row whose commit was answered is there again, on the same dsn.
    """
    events: list[str] = []
    with running(home, on_event=lambda name, _: events.append(name)) as server:
        first = server.pid
        query(server.dsn, "CREATE TABLE kept (n int)")
        with psycopg.connect(server.dsn, autocommit=True) as connection:
            for n in range(200):
                connection.execute("INSERT INTO kept VALUES (%s)", [n])
            os.kill(first, signal.SIGKILL)
            eventually(lambda: "postgres.restarted" in events)

        assert server.pid != first
        assert query(server.dsn, "SELECT count(*) FROM kept") == [(200,)]


def test_two_processes_restart_a_killed_server_once(home: Path) -> None:
    """
    Both notice, and both end up on one new server.
    """
    with running(home) as server, another_daybook(home) as other:
        assert server.pid == other.server_pid

        os.kill(server.pid, signal.SIGKILL)
        eventually(lambda: _answers(server))

        assert server.pid != other.server_pid
        time.sleep(1)
        assert _answers(server)


def _answers(server: Server) -> bool:
    try:
        return query(server.dsn, "SELECT 1") == [(1,)]
    except psycopg.OperationalError:
        return False


def test_a_pid_file_that_names_a_stranger_is_no_server(home: Path) -> None:
    """
    After a reboot the pid in a stale lock file may be anyone's; Postgres alone would refuse to start for ever.
    """
    with running(home) as server:
        content = (server.data / "postmaster.pid").read_text().splitlines()
    stale = "\n".join([str(os.getpid()), *content[1:]]) + "\n"
    sockets = server.data.parent / "socket"
    sockets.mkdir(mode=0o700)
    for lock in (server.data / "postmaster.pid", sockets / ".s.PGSQL.5432.lock"):
        lock.write_text(stale)

    with running(home) as server:
        assert server.pid != os.getpid()
        assert query(server.dsn, "SELECT 1") == [(1,)]


def test_an_unfinished_initdb_is_repeated(home: Path) -> None:
    """
    kill -9 in the middle of the first start leaves half a data folder, which the next start does away with.
    """
    with subprocess.Popen(
        [sys.executable, "-c", ANOTHER_DAYBOOK, str(home)], stdin=subprocess.PIPE, cwd=TOP
    ) as process:
        eventually(lambda: any(home.glob("pg*/data.partial-*/PG_VERSION")))
        process.kill()
    assert not list(home.glob("pg*/data"))

    with running(home) as server:
        assert query(server.dsn, "SELECT 1") == [(1,)]

    with running(home):
        assert not list(home.glob("pg*/data.partial-*"))


def test_daybook_is_no_superuser(home: Path) -> None:
    """
    Daybook's own login cannot switch off what guards the log, nor let anybody else in; no password is on view.
    """
    with running(home) as server:
        role = query(
            server.dsn,
            "SELECT rolname, rolcanlogin, rolsuper, rolcreaterole, rolcreatedb, rolreplication, rolbypassrls "
            "FROM pg_roles WHERE rolname = current_user",
        )
        owner = query(server.dsn, "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = current_database()")
        superuser = query(server.superuser_dsn, "SELECT current_user, current_database()")
        without_password = server.dsn.replace(server.dsn.split(":")[2].split("@")[0], "wrong")

        assert role == [("daybook", True, False, False, False, False, False)]
        assert owner == [("daybook",)]
        assert superuser == [("postgres", "daybook")]
        assert "postgresql://" not in repr(server)
        with pytest.raises(psycopg.OperationalError, match="password"):
            query(without_password, "SELECT 1")


def test_only_we_can_get_at_it(home: Path) -> None:
    """
    Data, socket and passwords are ours alone, and no folder above changed its mode to make that work.
    """
    before = modes_above(home)

    with running(home) as server:
        place = server.data.parent
        closed = [server.data, place / "socket", *place.glob("*.password"), server.log, *home.glob("*.lock")]
        assert modes_above(home) == before
        assert [path for path in closed if stat.S_IMODE(path.stat().st_mode) & 0o077] == []
        assert (place / "socket" / ".s.PGSQL.5432").is_socket()


def test_a_deep_home_gets_a_short_socket(home: Path) -> None:
    """
    A path too long for a socket is no obstacle, and the folder used instead is ours alone, and gone afterwards.
    """
    deep = home / "a folder, with a long name" / ("x" * 60) / ("y" * 60)

    with running(deep) as server:
        folder = Path(str(query(server.superuser_dsn, "SHOW unix_socket_directories")[0][0]).strip('"'))

        assert query(server.dsn, "SELECT 1") == [(1,)]
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert not folder.is_relative_to(deep)

    assert not folder.exists()


def test_a_home_with_blanks_and_commas(home: Path) -> None:
    """
    Postgres reads its socket folders as a list, and clients their hosts; ours is one, whatever it is called.
    """
    with running(home / 'a b, "c"') as server:
        assert query(server.dsn, "SELECT 1") == [(1,)]


def test_a_planted_socket_folder_is_refused(home: Path) -> None:
    """
    Whoever made the socket's folder first, with room for others, must not be trusted with our passwords.
    """
    with running(home):
        pass
    planted = next(home.glob("pg*")) / "socket"
    planted.mkdir()
    planted.chmod(0o777)

    with pytest.raises(EmbeddedPostgresError, match="only this user"), running(home):
        pass


def test_data_of_another_major_version_are_refused(home: Path) -> None:
    """
    An empty new database beside an old one would look like the loss of everything.
    """
    old = home / "pg11" / "data"
    old.mkdir(parents=True)
    (old / "PG_VERSION").write_text("11\n")

    with pytest.raises(EmbeddedPostgresError, match="PostgreSQL 11"), running(home):
        pass


def test_a_failure_says_where_the_log_is(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A server that cannot start is reported with the end of its log.
    """
    with running(home) as server:
        pass
    (server.data / "postgresql.conf").write_text("no_such_setting = on\n")
    monkeypatch.setattr("adapters.embedded_postgres.cluster.LINGER_S", 0.5)

    with pytest.raises(EmbeddedPostgresError, match=r"postgres\.log[\s\S]*no_such_setting"), running(home):
        pass


def test_binaries_that_do_not_run_are_reported(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A wrong DAYBOOK_PG_BIN is an error, never a silent choice of something else.
    """
    monkeypatch.setenv("DAYBOOK_PG_BIN", str(home / "nowhere"))

    with pytest.raises(EmbeddedPostgresError, match="DAYBOOK_PG_BIN"), running(home):
        pass


def test_a_taken_port_does_not_matter(home: Path) -> None:
    """
    Nothing listens on the network, so nothing there can be in the way.
    """
    with socket.socket() as taken, suppress(OSError):  # Taken already is as good.
        taken.bind(("127.0.0.1", 5432))
        taken.listen()

    with running(home) as server:
        assert psutil.Process(server.pid).net_connections("inet") == []


FORKING_DAYBOOK = """
import os, sys, time
from pathlib import Path
import psycopg
from adapters.embedded_postgres import running

with running(Path(sys.argv[1])) as server:
    if (unwinding := os.fork()) == 0:
        sys.exit(0)
    os.waitpid(unwinding, 0)
    psycopg.connect(server.dsn).close()
    pid = server.pid
    if (lasting := os.fork()) == 0:
        time.sleep(600)
print(pid, lasting)
"""


def test_a_forked_child_neither_stops_the_server_nor_keeps_it(home: Path) -> None:
    """
    A child that unwinds the parent's stack leaves the server alone, and a child's life does not prolong the server's.
    """
    command = [sys.executable, "-c", FORKING_DAYBOOK, str(home)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=TOP) as process:
        assert process.wait(60) == 0
        assert process.stdout
        server_pid, lasting_pid = map(int, process.stdout.readline().split())
        os.kill(lasting_pid, signal.SIGKILL)

    assert not is_running(server_pid)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has another user to run Postgres as")
def test_root_without_namespaces_runs_it_as_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Where user namespaces are forbidden, root's server runs as nobody, from binaries that nobody can read.
    """
    monkeypatch.setattr(footing, "namespace_works", lambda binaries: False)
    home = Path(tempfile.mkdtemp(prefix="daybook-test-", dir="/tmp"))
    try:
        with running(home) as server:
            process = psutil.Process(server.pid)
            assert process.username() == "nobody"
            assert query(server.dsn, "SELECT 1") == [(1,)]

        monkeypatch.undo()
        with running(home) as server:
            assert psutil.Process(server.pid).username() == "nobody"
    finally:
        shutil.rmtree(home)
