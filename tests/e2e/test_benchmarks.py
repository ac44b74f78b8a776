"""The benchmarks, as small as they can be: what they seed is valid, what they count is so, and nobody has it easier."""

import os
import threading
import uuid
from pathlib import Path

import psycopg
import pytest
from msgspec import structs

from adapters.postgres.log import PostgresLog
from adapters.postgres.projecting import catch_up
from benchmarks import budgets, daybook, payments, peers, showing, suite
from benchmarks.figures import Figures, Ran, Skipped, middle, ran
from benchmarks.growth import HASHES, Grown, Standing
from benchmarks.load import Job, What
from benchmarks.payments import Shop
from benchmarks.processes import Failed, Meter, call, served, simulated
from benchmarks.seeding import count, seed
from benchmarks.soak import Soaked, Window
from benchmarks.suite import Results, by_hand
from domain.events import EntryPosted
from replay.verify import verify

FIGURES = Figures(100.0, 1.0, 2.0, 3.0, 0, 0.1, 0.2, 0.3, 900.0, 800.0, 20.0)
WINDOW = Window(0.0, 100.0, 1.0, 2.0, 3.0, 0, 10.0, 1e8, 900.0, 800.0, 1e6)

EACH: dict[What, int] = {"transfer": 1, "independent": 1_000, "atomic": 1_000}
"""What a load may be of, and how many transfers one request of it asks for."""


def indexes(dsn: str) -> list[tuple[str]]:
    with psycopg.connect(dsn) as connection:
        found = "SELECT indexdef FROM pg_indexes WHERE schemaname = 'daybook' ORDER BY 1"
        return connection.execute(found.encode()).fetchall()


class TestSeeding:
    def test_verifies(self, database: str) -> None:
        """
        A seeded log, and one seeded further, is one that could have been written by the desk; its indexes are there.
        """
        before = indexes(database)

        added = [seed(database, entries=entries, accounts=30) for entries in (1_500, 2_500, 2_500)]

        catch_up(database)
        with PostgresLog(database) as log:
            report = verify(log)
        assert report.findings == ()
        assert report.exit_code == 0
        assert added == [1_500, 1_000, 0]
        assert count(database, EntryPosted.name) == 2_500
        assert indexes(database) == before
        with pytest.raises(ValueError, match="30 accounts, not 31"):
            seed(database, entries=3_000, accounts=31)


class TestLoad:
    def test_counts_what_landed(self, database: str) -> None:
        """
        As many transfers are in the log as the load says; what the server refuses is none, in a batch neither.
        """
        with served(database) as server:

            def ran_and_landed(what: What, connections: int) -> tuple[Ran, int]:
                before = count(database, EntryPosted.name)
                found = call("load", Job(server.port, what, connections, 0.2, accounts=20), Ran, seconds=1)
                return found, count(database, EntryPosted.name) - before

            refused = [ran_and_landed(what, 1) for what in EACH]
            daybook.prepare(server, accounts=20)
            done = [ran_and_landed(what, connections) for what in EACH for connections in (1, 3)]

        for (found, landed), each in zip(refused, EACH.values(), strict=True):
            assert (found.done, landed) == (0, 0)
            assert found.failed >= each
        for found, landed in done:
            assert found.done == landed > 0
            assert found.failed == 0
            assert 0 < found.p50_ms <= found.p95_ms <= found.p99_ms

    def test_has_a_pace_and_a_price(self, database: str) -> None:
        """
        No more requests than were asked for; when it is over the read models are current, and what it took is known.
        """
        with served(database) as server:
            daybook.prepare(server, accounts=20)
            job = Job(0, "transfer", 4, 0.5, accounts=20, rate=40)

            found = daybook.over_http(server, Meter(database, os.getpid, server.pid), job)

            with PostgresLog(database) as log:
                seal = log.head()
                assert seal is not None and set(log.tracked().values()) == {seal.last}
        assert found.failed == 0
        assert found.per_second <= 45
        assert found.server_cpu_s > 0
        assert found.log_bytes > 0

    def test_counts_the_time_until_reads_are_current(self, database: str) -> None:
        """
        What is written fast and projected late was not fast.
        """
        projecting = threading.Timer(1.0, catch_up, [database])

        def run() -> Ran:
            added = seed(database, entries=1_000, accounts=10)
            projecting.start()
            return Ran(added, 0.01, 1.0, 1.0, 1.0, 0, 0.01)

        found = daybook.measured(Meter(database, os.getpid), run, writes=True)

        projecting.join()
        assert 0 < found.per_second < 1_000


class TestPayments:
    def test_are_counted_once_they_have_succeeded(self, database: str, tmp_path: Path) -> None:
        """
        Awaited or not, all that are counted are in both sides' books with the same sum, and what differs is found.
        """
        with simulated(tmp_path / "rails.jsonl") as rails, served(database, "--rails", rails.url) as server:
            daybook.prepare(server, accounts=20)
            shop = Shop(database, server, rails, Meter(database, os.getpid, server.pid, rails.pid))

            awaited = payments.awaited(shop, connections=3, seconds=0.3, accounts=20)
            answered, in_all = payments.acknowledged(shop, connections=3, seconds=0.3, accounts=20)

            for found in (awaited, answered, in_all):
                assert found.failed == 0
                assert found.per_second > 0
                assert found.rail_cpu_s is not None and found.rail_cpu_s > 0
            assert in_all.per_second < answered.per_second
            payments.rails_alone(rails, at_once=2, seconds=0.1)
            with pytest.raises(Failed, match="the rails captured"):
                payments.hold_against_rails(shop)

    def test_rails_alone(self, tmp_path: Path) -> None:
        """
        What the simulated rails can do by themselves is measured by as many authorizations as captures.
        """
        with simulated(tmp_path / "rails.jsonl") as rails:
            found = payments.rails_alone(rails, at_once=2, seconds=0.2)

        assert found.failed == 0
        kept = (tmp_path / "rails.jsonl").read_text("utf-8").splitlines()
        assert sum('"operation":"capture"' in line for line in kept) * 2 == len(kept) > 0


class TestPeers:
    def test_a_batch_by_hand_is_fair(self, empty_database: str) -> None:
        """
        Set-based, it keeps what the single transfer keeps: every balance is the sum and the last line of its entries.
        """
        peers.make_by_hand(empty_database)

        found = call("peers", peers.Job("batch", empty_database, 1, 0.3), Ran, seconds=1)

        assert found.failed == 0
        with psycopg.connect(empty_database) as connection:
            made = connection.execute("SELECT count(*) FROM handwritten.transfers").fetchone()
            wrong = connection.execute(
                """
                SELECT a.id FROM handwritten.accounts a
                JOIN (SELECT account, sum(amount), (array_agg(balance ORDER BY id DESC))[1] AS last
                      FROM handwritten.entries GROUP BY account) AS e ON e.account = a.id
                WHERE a.balance <> 1000000000000 + e.sum OR a.balance <> e.last
                """
            ).fetchall()
        assert made == (found.done,)
        assert wrong == []

    @pytest.mark.parametrize(
        ("keys", "amount", "why"), [(("a", "a"), 10, "duplicate key"), (("a", "b"), 10**13, "insufficient funds")]
    )
    def test_a_batch_by_hand_refuses(self, empty_database: str, keys: tuple[str, str], amount: int, why: str) -> None:
        """
        A key used twice and an account overdrawn refuse the batch.
        """
        peers.make_by_hand(empty_database)
        named = [uuid.uuid5(uuid.NAMESPACE_URL, key) for key in keys]

        with psycopg.connect(empty_database) as connection, pytest.raises(psycopg.Error, match=why):
            connection.execute(
                "SELECT handwritten.transfer_batch(%s, %s, %s, %s::bigint[])", (named, [1, 2], [2, 1], [amount, amount])
            )


class TestFigures:
    def test_the_middle_of_rounds(self) -> None:
        """
        Medians, but for failures, of which none may get lost.
        """
        rounds = [structs.replace(FIGURES, per_second=n, failed=1) for n in (1.0, 9.0, 5.0)]

        assert middle(rounds) == structs.replace(FIGURES, per_second=5.0, failed=3)

    def test_percentiles(self) -> None:
        """
        Latencies in seconds come out in milliseconds.
        """
        found = ran([n / 1000 for n in range(100)], done=100, seconds=2, failed=0, cpu_s=1)

        assert (found.p50_ms, found.p95_ms, found.p99_ms) == pytest.approx((50, 95, 99))


def results() -> Results:
    fast = structs.replace(FIGURES, per_second=250.0, p50_ms=20.0)
    found: dict[str, Figures | Skipped] = {by_hand(32): FIGURES, suite.HTTP_64: fast, suite.PGLEDGER: Skipped("absent")}
    found[suite.PAID_64] = structs.replace(FIGURES, per_second=25.0, p50_ms=30.0)
    found[suite.PAID_IN_ALL] = structs.replace(FIGURES, per_second=40.0)
    settings = {"fsync": "on", "synchronous_commit": "on"}
    return Results({"CPUs": "2"}, settings, 1, 1.0, found, {suite.HTTP_64: by_hand(32)})


class TestBudgets:
    def test_met_missed_and_unmeasured(self) -> None:
        """
        Each budget says by how much, whichever way it is bounded; what was not measured is not met.
        """
        judged = {one.what: one for one in budgets.verdicts(results(), [Standing(10_000, 10, {HASHES: 1e5})])}

        met = judged["one a request, 64 connections, to hand-written SQL"]
        assert (met.measured, met.met, met.margin) == (2.5, True, 1.25)
        missed = judged["p50 at 64 connections, saturated"]
        assert (missed.measured, missed.met, missed.margin) == (20.0, False, 0.75)
        assert judged["verify, hashes"].margin == 0.5
        assert judged["one a request to pgledger"].met is None
        assert judged["payment by card, awaited, p50 at 64 connections"].margin == 300 / 30
        assert judged["payments by card, to the figure to reach for"].margin == 40 / 10_000
        assert judged["cold start until ready, 10 million"].met is None

    def test_is_shown(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """
        Figures, their ratios, the durability settings, and why something is missing.
        """
        showing.show(results(), [], tmp_path)

        shown = capsys.readouterr().out
        for word in ("2.50x", "fsync on", "not measured: absent", "met, by 1.25", "MISSED, at 0.75 of it"):
            assert word in shown
        assert (tmp_path / "bench.txt").read_text("utf-8") == shown
        assert (tmp_path / "bench.json").exists()


class TestGrowth:
    def test_is_kept_for_the_budgets(self, tmp_path: Path) -> None:
        """
        What was measured at each size is there for the next run to hold against its budgets.
        """
        standings = [Standing(10_000, 10, {HASHES: 3e5}), Standing(20_000, 10, {HASHES: 1e5})]

        showing.show_growth(Grown({"CPUs": "2"}, {"fsync": "on"}, standings), tmp_path)

        found = showing.known_growth(tmp_path)
        assert found == standings
        judged = {one.what: one for one in budgets.verdicts(results(), found)}
        assert judged["verify, hashes"].margin == 0.5


class TestSoak:
    def test_growth_is_found(self) -> None:
        """
        What grows past its bound from the second quarter to the last is no longer flat.
        """
        grown = structs.replace(WINDOW, server_bytes=1.4e8)

        assert Soaked({}, {}, 100.0, [WINDOW] * 8).is_flat
        assert not Soaked({}, {}, 100.0, [*[WINDOW] * 6, grown, grown]).is_flat
        assert not Soaked({}, {}, 100.0, [*[WINDOW] * 7, structs.replace(WINDOW, failed=1)]).is_flat
