"""What Daybook is held against, each used as its own documentation says, on the same Postgres.

Postgres's own load generator drives SQL. The others run in a process of their own: `python -m benchmarks.peers` takes
a `Job` as JSON on stdin and writes a `Ran`.
"""

import os
import resource
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from itertools import cycle
from pathlib import Path
from random import Random
from typing import Any, Final, Literal

import msgspec
import psycopg
from eventsourcing.application import AggregateNotFoundError
from msgspec import Struct
from psycopg.conninfo import conninfo_to_dict

from adapters.embedded_postgres.binaries import find_binaries
from benchmarks.bank_accounts import BankAccounts
from benchmarks.figures import Ran, ran
from benchmarks.load import BATCH, pair

ACCOUNTS: Final = 1_000
BY_HAND: Final = Path(__file__).with_name("handwritten.sql")

Do = Callable[[Random], None]
"""Does one thing; what it raises counts as a failure."""


Peer = Literal["batch", "eventsourcing", "hordak"]


class Job(Struct, frozen=True):
    """Load from so many threads for so many seconds; without any, only make the accounts."""

    peer: Peer
    dsn: str
    clients: int
    seconds: float


def environment(dsn: str) -> dict[str, str]:
    """The database as Postgres's own programs are told of it."""
    names = {"host": "PGHOST", "port": "PGPORT", "user": "PGUSER", "password": "PGPASSWORD", "dbname": "PGDATABASE"}
    parts = conninfo_to_dict(dsn)
    return {**os.environ, "PGSSLMODE": "disable", **{names[k]: str(parts[k]) for k in names if parts.get(k)}}


def pgbench(dsn: str, *arguments: str) -> str:
    """Run pgbench; what it says."""
    command = [str(find_binaries().bin / "pgbench"), *arguments]
    return subprocess.run(command, env=environment(dsn), capture_output=True, text=True, check=True).stdout


def make_tpcb(dsn: str) -> None:
    """pgbench's own tables, at scale 10: a million accounts, ten branches."""
    pgbench(dsn, "--initialize", "--scale=10", "--quiet")


def make_by_hand(dsn: str) -> None:
    """The hand-written ledger and its accounts."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(BY_HAND.read_text(encoding="utf-8").encode())


def tpcb(dsn: str, folder: Path, *, clients: int, seconds: float) -> Ran:
    """TPC-B-like as pgbench has it: three balances and a line of history."""
    return _by_pgbench(dsn, folder, "--builtin=tpcb-like", clients=clients, seconds=seconds)


def by_hand(dsn: str, folder: Path, *, clients: int, hot: bool, seconds: float) -> Ran:
    """The hand-written transfer, one a call."""
    script = folder / f"transfer-{clients}-{hot}.sql"
    source = "\\set source 0" if hot else f"\\set source random(0, {ACCOUNTS - 1})"
    script.write_text(
        f"{source}\n\\set step random(1, {ACCOUNTS - 1})\n\\set target (:source + :step) % {ACCOUNTS}\n"
        "SELECT handwritten.transfer(gen_random_uuid(), :source, :target, 10);\n"
    )
    return _by_pgbench(dsn, folder, f"--file={script}", clients=clients, seconds=seconds)


def _by_pgbench(dsn: str, folder: Path, load: str, *, clients: int, seconds: float) -> Ran:
    prefix = folder / f"log-{uuid.uuid4().hex}"
    jobs, before = min(clients, 2), _cpu_of_children_s()
    pgbench(
        dsn,
        *(load, "--no-vacuum", "--protocol=prepared", "--log", f"--log-prefix={prefix}"),
        *(f"--client={clients}", f"--jobs={jobs}", f"--time={max(seconds, 1):.0f}"),
    )
    cpu_s = _cpu_of_children_s() - before
    lines = [line.split() for log in folder.glob(f"{prefix.name}*") for line in log.read_text().splitlines()]
    for log in folder.glob(f"{prefix.name}*"):
        log.unlink()
    latencies_s = [int(line[2]) / 1e6 for line in lines]
    ends = [int(line[4]) + int(line[5]) / 1e6 for line in lines]
    seconds = max(ends) - min(end - latency for end, latency in zip(ends, latencies_s, strict=True))
    return ran(latencies_s, done=len(lines), seconds=seconds, failed=0, cpu_s=cpu_s)


def _cpu_of_children_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@contextmanager
def _batches(job: Job) -> Iterator[Callable[[], Do]]:
    """The hand-written batch, from a prepared statement with binary arrays."""
    statement = b"SELECT handwritten.transfer_batch(%b::uuid[], %b::integer[], %b::integer[], %b::bigint[])"

    def client() -> Do:
        connection = psycopg.connect(job.dsn, autocommit=True)
        random = Random(uuid.uuid4().int)
        pairs = [[pair(random, ACCOUNTS, hot=False) for _ in range(BATCH)] for _ in range(64)]
        amounts = [10] * BATCH
        made = cycle([([a for a, _ in one], [b for _, b in one]) for one in pairs])

        def do(random: Random) -> None:
            sources, targets = next(made)
            keys = [uuid.UUID(int=random.getrandbits(128)) for _ in range(BATCH)]
            connection.execute(statement, (keys, sources, targets, amounts), prepare=True)

        return do

    yield client


@contextmanager
def _eventsourcing(job: Job) -> Iterator[Callable[[], Do]]:
    """The library's bank account example: two aggregates are read, changed and saved together."""
    parts = conninfo_to_dict(job.dsn)
    named = {"DBNAME": "dbname", "HOST": "host", "PORT": "port", "USER": "user", "PASSWORD": "password"}
    settings = {f"POSTGRES_{name}": str(parts.get(key) or "") for name, key in named.items()}
    app = BankAccounts(env={"PERSISTENCE_MODULE": "eventsourcing.postgres", **settings, "POSTGRES_POOL_SIZE": "8"})
    try:
        app.get_account(ACCOUNTS - 1)
    except AggregateNotFoundError:  # They are made once.
        for number in range(ACCOUNTS):
            app.open_account(number, Decimal(1_000_000))

    def client() -> Do:
        def do(random: Random) -> None:
            app.transfer(*pair(random, ACCOUNTS, hot=False), Decimal(10))

        return do

    yield client
    app.close()


@contextmanager
def _hordak(job: Job) -> Iterator[Callable[[], Do]]:
    """django-hordak's `transfer_to`. It has no idempotency key and checks no balance."""
    import django
    from django.conf import settings
    from django.core.management import call_command

    parts = conninfo_to_dict(job.dsn)
    named = {"NAME": "dbname", "HOST": "host", "PORT": "port", "USER": "user", "PASSWORD": "password"}
    default = {name: str(parts.get(key) or "") for name, key in named.items()}
    settings.configure(
        INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "mptt", "hordak"],
        DATABASES={"default": {**default, "ENGINE": "django.db.backends.postgresql", "CONN_MAX_AGE": None}},
        DEFAULT_AUTO_FIELD="django.db.models.AutoField",
        USE_TZ=True,
    )
    django.setup()
    from hordak.models import Account, AccountType  # type: ignore[import-not-found, unused-ignore]
    from moneyed import Money  # type: ignore[import-not-found, unused-ignore]

    if not job.seconds:
        call_command("migrate", verbosity=0)
        for number in range(ACCOUNTS):
            Account.objects.create(name=f"wallet {number}", type=AccountType.liability, currencies=["EUR"])
    accounts = list(Account.objects.order_by("id"))

    def client() -> Do:
        def do(random: Random) -> None:
            source, target = pair(random, ACCOUNTS, hot=False)
            accounts[source].transfer_to(accounts[target], Money(10, "EUR"))

        return do

    yield client


_PEERS: Final[dict[Peer, Callable[[Job], Any]]] = {
    "batch": _batches,
    "eventsourcing": _eventsourcing,
    "hordak": _hordak,
}


class _Client:
    """One thread's share of the load."""

    def __init__(self, do: Do, until: float) -> None:
        self._do = do
        self._until = until
        self.latencies_s: list[float] = []
        self.failed = 0
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self) -> None:
        random = Random(uuid.uuid4().int)
        while (began := time.perf_counter()) < self._until:
            try:
                self._do(random)
            except Exception:
                self.failed += 1
            else:
                self.latencies_s.append(time.perf_counter() - began)


def work(job: Job) -> Ran:
    """Do the job, every client in a thread of its own."""
    each = BATCH if job.peer == "batch" else 1
    with _PEERS[job.peer](job) as client:
        made = [client() for _ in range(job.clients)]
        began, cpu_began = time.perf_counter(), time.process_time()
        clients = [_Client(do, began + job.seconds) for do in made]
        for one in clients:
            one.thread.join()
        seconds, cpu_s = time.perf_counter() - began, time.process_time() - cpu_began
    latencies_s = [latency for one in clients for latency in one.latencies_s]
    failed = sum(one.failed for one in clients)
    return ran(latencies_s, done=each * len(latencies_s), seconds=seconds, failed=each * failed, cpu_s=cpu_s)


def main() -> None:
    job = msgspec.json.decode(sys.stdin.buffer.read(), type=Job)
    sys.stdout.buffer.write(msgspec.json.encode(work(job)))


if __name__ == "__main__":
    main()
