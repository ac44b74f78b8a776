"""`python -m benchmarks`: transfers by Daybook over HTTP beside the hand-written SQL transfer, in turn, in one run.

A transfer is idempotent, overdraft-checked, two postings, and durable when answered, on both sides. The load generator,
the server and Postgres share the machine, as they do for both sides. Figures are medians over the rounds.
"""

import argparse
import asyncio
import json
import os
import platform
import random
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import httpx2
import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from rich.console import Console
from rich.table import Table

from adapters.embedded_postgres import running
from adapters.embedded_postgres.binaries import find_binaries
from benchmarks.load import Figures, run

ACCOUNTS = 1000
SETTINGS = ("server_version", "fsync", "synchronous_commit", "full_page_writes", "shared_buffers", "wal_compression")

Measure = Callable[[], Figures]


def main() -> None:
    """Measure, and print one table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each measurement (default 5)")
    parser.add_argument("--rounds", type=int, default=3, help="the median of which is printed (default 3)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="daybook-bench-") as folder, running(Path(folder) / "home") as postgres:
        with database(postgres.superuser_dsn, postgres.dsn, "handwritten") as by_hand:
            with psycopg.connect(by_hand, autocommit=True) as connection:
                connection.execute(Path(__file__).with_name("handwritten.sql").read_text(encoding="utf-8").encode())
                settings = {name: connection.execute(f"SHOW {name}".encode()).fetchone() for name in SETTINGS}
            with database(postgres.superuser_dsn, postgres.dsn, "measured") as dsn, served(dsn) as port:
                prepare(port)
                measures: dict[str, Measure] = {}
                for clients, hot in ((1, False), (32, False), (32, True)):
                    measures[by_hand_named(clients, hot)] = by_pgbench(
                        by_hand, Path(folder), clients=clients, hot=hot, seconds=arguments.seconds
                    )
                for connections, hot in ((1, False), (64, False), (64, True)):
                    measures[f"Daybook over HTTP, {connections} connections{', hot' if hot else ''}"] = by_http(
                        port, connections=connections, hot=hot, seconds=arguments.seconds
                    )
                table = measure_all(measures, rounds=arguments.rounds)
                caught_up(port)
    show({name: str(value[0]) for name, value in settings.items() if value}, table, arguments.rounds, arguments.seconds)


def measure_all(measures: dict[str, Measure], *, rounds: int) -> dict[str, Figures]:
    """Each in turn, round by round, so that a slow minute of the machine falls on all; medians."""
    found: dict[str, list[Figures]] = {name: [] for name in measures}
    for number in range(rounds):
        for name, measure in measures.items():
            found[name].append(measure())
            print(f"round {number + 1}: {name}: {found[name][-1].per_second:,.0f}/s", file=sys.stderr)
    return {name: middle(figures) for name, figures in found.items()}


def by_hand_named(clients: int, hot: bool) -> str:
    """What the others are held against."""
    return f"hand-written SQL, {clients} clients{', hot' if hot else ''}"


def middle(rounds: list[Figures]) -> Figures:
    """The median of each figure; failures are added up."""
    return Figures(
        median(r.per_second for r in rounds),
        median(r.p50_ms for r in rounds),
        median(r.p95_ms for r in rounds),
        median(r.p99_ms for r in rounds),
        sum(r.failed for r in rounds),
    )


@contextmanager
def database(admin: str, owner: str, name: str) -> Iterator[str]:
    """A database for the length of the run."""
    user = conninfo_to_dict(owner)["user"]
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE {name} OWNER "{user}"'.encode())
        yield make_conninfo(owner, dbname=name)
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


def by_pgbench(dsn: str, folder: Path, *, clients: int, hot: bool, seconds: float) -> Measure:
    """The hand-written transfer, by Postgres's own load generator."""
    script = folder / f"transfer-{clients}-{hot}.sql"
    source = "\\set source 0" if hot else f"\\set source random(0, {ACCOUNTS - 1})"
    script.write_text(
        f"{source}\n\\set step random(1, {ACCOUNTS - 1})\n\\set target (:source + :step) % {ACCOUNTS}\n"
        "SELECT handwritten.transfer(gen_random_uuid(), :source, :target, 10);\n"
    )
    parts = conninfo_to_dict(dsn)
    environment = {**os.environ, "PGPASSWORD": str(parts.pop("password", "")), "PGSSLMODE": "disable"}
    command = [
        str(find_binaries().bin / "pgbench"),
        "--no-vacuum",
        "--protocol=prepared",
        "--log",
        f"--log-prefix={script}",
    ]
    command += [f"--client={clients}", "--jobs=2", f"--time={seconds:.0f}", f"--file={script}"]
    command += [
        f"--host={parts['host']}",
        f"--port={parts.get('port', 5432)}",
        f"--username={parts['user']}",
        str(parts["dbname"]),
    ]

    def measure() -> Figures:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        found = re.search(r"tps = ([0-9.]+)", done.stdout)
        assert found, done.stdout
        latencies = []
        for log in folder.glob(f"{script.name}.*"):
            latencies += [int(line.split()[2]) / 1000 for line in log.read_text().splitlines()]
            log.unlink()
        latencies.sort()
        at = [latencies[min(int(len(latencies) * share), len(latencies) - 1)] for share in (0.5, 0.95, 0.99)]
        return Figures(float(found[1]), at[0], at[1], at[2], 0)

    return measure


@contextmanager
def served(dsn: str) -> Iterator[int]:
    """A server of its own, as a user would start it; yields its port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    daybook = shutil.which("daybook", path=str(Path(sys.executable).parent)) or "daybook"
    server = subprocess.Popen(
        [daybook, "serve", "--port", str(port)],
        env={**os.environ, "DATABASE_URL": dsn},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,  # One log line a request; written, as in use, and not read.
    )
    try:
        until_ready(port)
        yield port
    finally:
        server.terminate()
        server.wait(30)


def until_ready(port: int) -> None:
    """Wait until the server says so; 30 s at most."""
    for _ in range(300):
        try:
            if httpx2.get(f"http://127.0.0.1:{port}/readyz").status_code == 200:
                return
        except httpx2.TransportError:
            pass
        time.sleep(0.1)
    raise TimeoutError("the server did not become ready")


def prepare(port: int) -> None:
    """A book, its accounts, and enough on each of them."""
    headers = {"Daybook-Actor": "benchmark"}
    with httpx2.Client(base_url=f"http://127.0.0.1:{port}", headers=headers) as client:

        def post(path: str, key: str, body: object) -> None:
            client.post(path, json=body, headers={"Idempotency-Key": key}).raise_for_status()

        post("/v1/books", "book", {"code": "bench"})
        equity = {"book": "bench", "code": "equity", "type": "equity", "currency": "EUR", "overdraft_limit": None}
        post("/v1/accounts", "equity", equity)
        for number in range(ACCOUNTS):
            code = f"wallets:{number}"
            post("/v1/accounts", code, {"book": "bench", "code": code, "type": "liability", "currency": "EUR"})
        given = 1_000_000_000
        for first in range(0, ACCOUNTS, 500):
            lines = [posting(f"wallets:{n}", "credit", given) for n in range(first, first + 500)]
            body = {"book": "bench", "postings": [*lines, posting("equity", "debit", 500 * given)]}
            post("/v1/journal-entries", f"fund-{first}", body)


def posting(account: str, side: str, amount: int) -> dict[str, object]:
    """A posting as the API takes it."""
    return {"account": account, "side": side, "amount": amount, "currency": "EUR"}


def by_http(port: int, *, connections: int, hot: bool, seconds: float) -> Measure:
    """One transfer a request, each connection sending the next when the last is answered."""
    head = (
        f"POST /v1/journal-entries HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
        "Daybook-Actor: benchmark\r\nIdempotency-Key: "
    )

    def request() -> bytes:
        source = 0 if hot else random.randrange(ACCOUNTS)
        target = (source + random.randrange(1, ACCOUNTS)) % ACCOUNTS
        postings = [posting(f"wallets:{source}", "debit", 10), posting(f"wallets:{target}", "credit", 10)]
        body = json.dumps({"book": "bench", "description": "transfer", "postings": postings})
        return f"{head}{uuid.uuid4()}\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()

    def measure() -> Figures:
        return asyncio.run(run(port, request, connections=connections, seconds=seconds))

    return measure


def caught_up(port: int) -> None:
    """The read models must have kept up, or the figures would not count."""
    began = time.perf_counter()
    until_ready(port)
    while any(p["lag_events"] for p in httpx2.get(f"http://127.0.0.1:{port}/readyz").json()["projectors"]):
        time.sleep(0.05)
    print(f"read models current {time.perf_counter() - began:.2f} s after the last request", file=sys.stderr)


def show(settings: dict[str, str], found: dict[str, Figures], rounds: int, seconds: float) -> None:
    """One table: each figure, and its ratio to the hand-written SQL: of one client to one, else of 32."""
    table = Table(title=f"Transfers, median of {rounds} rounds of {seconds:.0f} s", title_justify="left")
    table.add_column("what")
    for heading in ("per second", "ratio", "p50 ms", "p95 ms", "p99 ms", "failed"):
        table.add_column(heading, justify="right")
    for name, figures in found.items():
        base = found[by_hand_named(1 if " 1 " in name else 32, "hot" in name)]
        table.add_row(
            name,
            f"{figures.per_second:,.0f}",
            f"{figures.per_second / base.per_second:.2f}x",
            f"{figures.p50_ms:.2f}",
            f"{figures.p95_ms:.2f}",
            f"{figures.p99_ms:.2f}",
            str(figures.failed),
        )
    console = Console(width=120)
    console.print(table)
    console.print(
        f"{os.cpu_count()} CPUs, {platform.machine()}, Python {platform.python_version()}; Postgres", settings
    )


if __name__ == "__main__":
    main()
