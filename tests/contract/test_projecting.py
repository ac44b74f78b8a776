"""The read models follow the log: exactly once, in any batches, through whatever happens to the store."""

import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from eventsourcing.persistence import IntegrityError
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from adapters.postgres import applying, builds, projecting
from adapters.postgres.applying import Superseded
from adapters.postgres.projecting import (
    Applier,
    Bell,
    ProjectionFailed,
    Projections,
    Runner,
    TrackingRecorder,
    catch_up,
)
from domain import ids
from domain.account import Type
from domain.events import (
    BookOpened,
    Break,
    PaymentAnswerContradicted,
    PaymentApproved,
    PaymentAttemptStarted,
    PaymentConfirmed,
    PaymentDisputeClosed,
    PaymentDisputed,
    PaymentEvent,
    PaymentIntentCreated,
    PaymentMethodAttached,
    PaymentOperationAccepted,
    PaymentOperationDone,
    PaymentOperationFailed,
    PaymentOperationRequested,
    PaymentOutcomeUnknown,
    PaymentReturned,
    PaymentSettled,
    SettlementRecorded,
)
from domain.rail import Card
from projections import accounts, journal
from projections.catalogue import ALL
from projections.projection import tracked_as
from tests.reading import Scribe

TABLES = (
    "books",
    "accounts",
    "limits",
    "balances",
    "days",
    "entries",
    "holds",
    "payments",
    "payment_requests",
    "disputes",
    "settlements",
    "audit_trail",
)
NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


def write_some_history(dsn: str, *, seed: int = 1, commits: int = 40) -> int:
    """Books, accounts, entries, reversals, freezes, limits, holds, payments and refusals in commits of all sizes.

    Returns the head.
    """
    chance = random.Random(seed)
    with Scribe(dsn) as scribe:
        books = [scribe.book("north"), scribe.book("south")]
        chart = {book: [scribe.account(book, f"a:{n}", chance.choice(list(Type))) for n in range(4)] for book in books}
        for number in range(commits):
            scribe.actor = chance.choice(["alice", "bob"])
            with scribe.one_commit():
                for _ in range(chance.randrange(1, 12)):
                    book = chance.choice(books)
                    debit, credit = chance.sample(chart[book], 2)
                    entry = scribe.transfer(debit, credit, chance.randrange(1, 10_000), f"Number {number}")
                    if chance.random() < 0.2:
                        scribe.reverse(entry)
                    if chance.random() < 0.2:
                        scribe.refuse("close_account", debit, "account_not_empty", balance=1)
                    if chance.random() < 0.2:
                        scribe.freeze(credit)
                        scribe.unfreeze(credit)
                    if chance.random() < 0.1:
                        scribe.limit(debit, chance.randrange(10**6), effective_at=NOON)
                    if chance.random() < 0.3:
                        live_some_of_a_hold(scribe, chance, debit, credit)
                    if chance.random() < 0.3:
                        live_some_of_a_payment(scribe, chance, book, debit)
                    if chance.random() < 0.1:
                        scribe.refuse("post_entry", book, "entry_unbalanced")
        with scribe.one_commit():
            scribe.freeze(chart[books[0]][0])
            scribe.limit(chart[books[0]][0], 1, effective_at=NOON)
        return scribe.position


def live_some_of_a_hold(scribe: Scribe, chance: random.Random, account: UUID, destination: UUID) -> None:
    """However far it comes, all of it in one commit."""
    hold = scribe.hold(account, destination, 100, expires_at=chance.choice([None, NOON]))
    if chance.random() < 0.5:
        scribe.increase(hold, 50)
        scribe.increase(hold, 7)
    if chance.random() < 0.5:
        scribe.capture(hold, 30)
        scribe.capture(hold, 20)
    end = chance.choice(["none", "captured", "voided", "expired"])
    if end == "captured":
        scribe.capture(hold, 10, final=True)
    elif end == "voided":
        scribe.void(hold)
    elif end == "expired":
        scribe.expire(hold)


def live_some_of_a_payment(scribe: Scribe, chance: random.Random, book: UUID, account: UUID) -> None:
    """However far it comes, all of it in one commit, and without what it would do to the ledger."""
    payment, requests = uuid4(), [uuid4().hex[:22] for _ in range(6)]
    settlement, dispute, other = (uuid4() for _ in range(3))
    of_it: dict[str, Any] = {"settlement_id": settlement, "request_id": requests[2]}
    events: list[PaymentEvent] = [
        PaymentIntentCreated(book_id=book, account_id=account, direction="in", amount=100, currency="EUR", approvals=1),
        PaymentMethodAttached(method=Card(token="tok_visa", brand="visa", last4="4242", expires="2030-12")),
        PaymentConfirmed(),
        PaymentApproved(approver="bob"),
        _started(requests[0]),
        PaymentOutcomeUnknown(request_id=requests[0], why="silence"),
        _failed(requests[0], "elsewhere"),
        _started(requests[1]),
        _done(requests[1], "authorize", 100),
        PaymentOperationRequested(request_id=requests[2], operation="capture", upon=requests[1], amount=60, final=True),
        _done(requests[2], "capture", 60),
        PaymentOperationRequested(request_id=requests[3], operation="refund", upon=requests[2], amount=60),
        PaymentOperationAccepted(request_id=requests[3], reference="r-1", code="09"),
        PaymentAnswerContradicted(request_id=requests[1], known="done", said={"answer": "declined"}),
        PaymentSettled(**of_it, operation="capture", amount=60, fee=2, day=NOON.date()),
        PaymentDisputed(**of_it, dispute_id=dispute, amount=20, fee=5, reference="a", respond_by=NOON),
        PaymentOperationRequested(
            request_id=requests[4],
            operation="contest",
            upon=requests[2],
            amount=20,
            dispute_id=dispute,
            evidence={"receipt": "Paid"},
        ),
        PaymentDisputed(**of_it, dispute_id=other, amount=10, reference="b", entry_id=uuid4()),
        PaymentDisputeClosed(dispute_id=other, request_id=requests[2], outcome="accepted", amount=10),
        _done(requests[4], "contest", 20),
        PaymentReturned(**of_it, operation="capture", amount=5, fee=1, reference="c", code="R10"),
        PaymentDisputeClosed(**of_it, dispute_id=dispute, outcome="won", amount=20, fee=-5, entry_id=uuid4()),
        PaymentDisputeClosed(**of_it, dispute_id=other, outcome="lost", amount=10),
        PaymentOperationRequested(request_id=requests[5], operation="reverse", upon=requests[2], amount=60),
        _done(requests[5], "reverse", 60),
        PaymentReturned(**{**of_it, "request_id": requests[5]}, operation="reverse", amount=60),
    ]
    lived = events[: chance.randrange(1, len(events) + 1)]
    for event in lived:
        if isinstance(event, PaymentSettled):
            scribe.event(settlement, _settlement(book, chance.randrange(1_000_000)))
        scribe.event(payment, event)


def _settlement(book: UUID, part: int) -> SettlementRecorded:
    """Whose sums nobody checks here."""
    broken = Break(why="no", said="settled", request_id="x", operation="capture", amount=part + 1, moved=part + 1)
    of_day: dict[str, Any] = {"rail": "card", "route": "north", "day": NOON.date(), "currency": "EUR"}
    return SettlementRecorded(book_id=book, part=part, **of_day, lines={"settled": 1}, breaks=(broken,))


def _started(request_id: str) -> PaymentEvent:
    named = {"request_id": request_id, "operation": "authorize", "rail": "card", "route": "north"}
    return PaymentAttemptStarted(**named, amount=100, decision={"draw": 0.25})


def _failed(request_id: str, retry: str) -> PaymentEvent:
    said = {"code": "51", "reason": "insufficient_funds", "message": "No"}
    return PaymentOperationFailed(request_id=request_id, operation="authorize", **said, retry=retry)


def _done(request_id: str, operation: str, amount: int) -> PaymentEvent:
    return PaymentOperationDone(
        request_id=request_id, operation=operation, amount=amount, reference=f"of {request_id}", code="00"
    )


def tables(dsn: str) -> dict[str, list[tuple[Any, ...]]]:
    with psycopg.connect(dsn) as connection:
        return {
            table: connection.execute(
                f"SELECT * FROM daybook_read.{table} AS one ORDER BY one::text".encode()
            ).fetchall()
            for table in TABLES
        }


def begin_anew(dsn: str) -> None:
    with psycopg.connect(dsn) as connection:
        names = ", ".join(f"daybook_read.{table}" for table in (*TABLES, "tracking"))
        connection.execute(f"TRUNCATE {names}".encode())


def query(dsn: str, sql: str) -> Any:
    with psycopg.connect(dsn, autocommit=True) as connection:
        row = connection.execute(sql.encode()).fetchone()
        return row[0] if row is not None else None


def wait_until(true: Callable[[], bool], seconds: float = 20.0) -> None:
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.01)


@contextmanager
def following(dsn: str, events: list[tuple[str, dict[str, Any]]] | None = None) -> Iterator[Projections]:
    def on_event(event: str, /, **fields: Any) -> None:
        if events is not None:
            events.append((event, fields))

    projections = Projections(dsn, on_event=on_event)
    projections.start()
    try:
        yield projections
    finally:
        projections.stop()


def at(projections: Projections, position: int) -> bool:
    return all(status.position == position for status in projections.status())


def test_any_batches_make_the_same_tables(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    One event at a time, seven at a time or all at once: the tables come out the same.
    """
    write_some_history(database)

    found = []
    for batch in (1, 7, 100_000):
        monkeypatch.setattr(applying, "BATCH", batch)
        begin_anew(database)
        catch_up(database)
        found.append(tables(database))

    assert found[0] == found[1] == found[2]
    assert all(found[0].values())


def test_balances_are_what_the_postings_say(database: str) -> None:
    """
    The read model's totals are those of each account's last posting.
    """
    write_some_history(database)

    catch_up(database)

    wrong = query(
        database,
        """
        SELECT count(*) FROM daybook_read.balances AS b FULL JOIN (
            SELECT DISTINCT ON (account) * FROM daybook.postings ORDER BY account, number DESC
        ) AS p ON p.account = b.account_id
        WHERE (b.debits, b.credits, b.pending_debits, b.pending_credits, b.postings, b.position)
            IS DISTINCT FROM (p.debits, p.credits, p.pending_debits, p.pending_credits, p.number, p.position)
        """,
    )
    assert wrong == 0
    assert query(database, "SELECT count(*) FROM daybook_read.balances") == 8


def test_the_audit_trail_knows_the_book(database: str) -> None:
    """
    Every event and refusal upon something that exists is of a book; one asked of a book to come is of none.
    """
    with Scribe(database) as scribe:
        scribe.refuse("open_account", ids.book_id("later"), "book_not_found")
        book = scribe.book()
        cash = scribe.account(book, "cash")
        scribe.freeze(cash)
        scribe.refuse("freeze_account", cash, "account_frozen")
        scribe.refuse("open_account", book, "account_code_taken")
        scribe.book("later")

    catch_up(database)

    with psycopg.connect(database) as connection:
        rows = connection.execute("SELECT book_id FROM daybook_read.audit_trail ORDER BY position").fetchall()
    assert [row[0] for row in rows] == [None, book, book, book, book, book, ids.book_id("later")]


def test_runners_follow_the_log_as_it_grows(database: str) -> None:
    """
    What is committed is read in a moment, without waiting for the next poll.
    """
    with following(database) as projections, Scribe(database) as scribe:
        book = scribe.book()
        wait_until(lambda: at(projections, 1))
        took = []
        for number in range(10):
            scribe.account(book, f"a:{number}")
            began = time.monotonic()
            wait_until(lambda: at(projections, scribe.position))
            took.append(time.monotonic() - began)

        status = projections.status()

    assert sorted(took)[5] < projecting.POLL_S / 2
    names = ["accounts", "journal", "holds", "payments", "settlements", "escrows", "audit_trail"]
    assert [s.name for s in status] == names
    assert all(s.running and s.error is None and s.lag_events == 0 and s.lag_s == 0 for s in status)
    assert not any(s.running for s in projections.status())


def test_two_runners_apply_nothing_twice(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    However many processes follow the log, each event is applied once.
    """
    monkeypatch.setattr(applying, "BATCH", 5)
    head = write_some_history(database, commits=10)
    catch_up(database)
    alone = tables(database)
    begin_anew(database)

    with following(database) as one, following(database) as other:
        wait_until(lambda: at(one, head) and at(other, head))

    assert tables(database) == alone


def test_runners_of_one_projection_take_turns(database: str) -> None:
    """
    While one applies a batch another waits, and goes on from where the first one ended.
    """
    with Scribe(database) as scribe:
        scribe.book()
        scribe.book("another")
    applier, applied = Applier(database, accounts), list[int]()
    other = threading.Thread(target=lambda: applied.append(applier.apply()))
    recorder = TrackingRecorder(database)
    with psycopg.connect(database) as connection, connection.cursor() as cursor:
        assert recorder.lock(cursor, tracked_as(accounts)) == 0
        connection.commit()
        recorder.lock(cursor, tracked_as(accounts))
        other.start()
        other.join(0.3)
        waited = other.is_alive()
        recorder.advance(cursor, tracked_as(accounts), 1)

    other.join()
    applier.close()
    assert waited
    assert applied == [1]


def test_killed_sessions_are_replaced(database: str) -> None:
    """
    Killing every session, the listening one too, costs a moment and no nudge.
    """
    with Scribe(database) as scribe, following(database) as projections:
        book = scribe.book()
        wait_until(lambda: at(projections, 1))
        for number in range(3):
            killed = query(
                database,
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()",
            )
            scribe.account(book, f"a:{number}")
            wait_until(lambda: at(projections, scribe.position))
            assert killed >= 5  # Four that work and one that listens, besides the writer's.

        wait_until(lambda: all(status.error is None for status in projections.status()))


def test_nudges_come_again_after_a_kill(database: str) -> None:
    """
    A new listening session hears as the old one did.
    """
    nudge, stop = threading.Event(), threading.Event()
    bell = Bell(database, [nudge])
    thread = threading.Thread(target=bell.run, args=(stop,))
    thread.start()
    with Scribe(database) as scribe:
        for number in range(3):
            wait_until(nudge.is_set)  # It rings whenever it begins to listen.
            nudge.clear()
            scribe.book(f"book-{number}")
            wait_until(nudge.is_set)
            nudge.clear()
            query(database, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query = 'LISTEN daybook_log'")

    stop.set()
    bell.hush()
    thread.join()


def test_the_head_is_reached_without_a_nudge(database: str) -> None:
    """
    A runner that nobody nudges looks at the log anyway.
    """
    stop = threading.Event()
    runner = Runner(database, accounts)
    thread = threading.Thread(target=runner.run, args=(stop,))
    thread.start()
    with Scribe(database) as scribe:
        scribe.book()
        wait_until(lambda: runner.status().position == 1)
        scribe.book("another")
        wait_until(lambda: runner.status().position == 2)

    stop.set()
    thread.join()


def test_a_frozen_server_is_left(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A server that stops answering does not hold a runner for ever; it goes on when there is one that answers.
    """
    monkeypatch.setattr(applying, "PATIENCE_S", 0.5)
    with Scribe(database) as scribe, Frozen(database) as proxy, following(proxy.dsn) as projections:
        scribe.book()
        wait_until(lambda: at(projections, 1))
        proxy.frozen = True
        scribe.book("another")
        wait_until(lambda: all(status.error is not None for status in projections.status()))
        proxy.frozen = False

        wait_until(lambda: at(projections, 2) and all(status.error is None for status in projections.status()))


def test_an_event_too_new_stops_loudly(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    An event this Daybook does not know stops a projection right before it, and says where.
    """
    monkeypatch.setattr(projecting, "RETRY_S", 60.0)
    events: list[tuple[str, dict[str, Any]]] = []
    with Scribe(database) as scribe:
        book = scribe.book()
        with scribe.one_commit():
            scribe.account(book, "cash")
            scribe.event(book, _FromTheFuture(code="x"))
            scribe.account(book, "sales")

    with following(database, events) as projections:
        wait_until(lambda: all(status.failed_at == 3 for status in projections.status()))
        wait_until(lambda: all(status.lag_events == 2 and status.lag_s > 0 for status in projections.status()))
        status = projections.status()[0]

    assert (status.position, status.head, status.running) == (2, 4, True)
    assert status.error is not None and "book.painted.v1" in status.error
    assert len([fields for name, fields in events if name == "projection.failed" and fields["position"] == 3]) == len(
        ALL
    )


class _FromTheFuture(BookOpened, frozen=True, kw_only=True):
    name = "book.painted.v1"


def test_one_projection_fails_alone_and_recovers(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    What the database refuses to one projection stops that one only; mended, it goes on by itself.
    """
    monkeypatch.setattr(projecting, "RETRY_S", 0.2)
    events: list[tuple[str, dict[str, Any]]] = []
    with Scribe(database) as scribe:
        book = scribe.book()
        cash, sales = scribe.account(book, "cash"), scribe.account(book, "sales")
        first = scribe.transfer(cash, sales, 5)
        entry = scribe.transfer(cash, sales, 7)
        head = scribe.position
    catch_up(database, projections=[journal])
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("DELETE FROM daybook_read.tracking")
        connection.execute("DELETE FROM daybook_read.entries WHERE entry_id = %s", (first,))

    with following(database, events) as projections:
        wait_until(lambda: projections.status()[1].failed_at == head)
        failed = projections.status()[1]
        wait_until(lambda: [s.position for s in projections.status()] == [head, head - 1, *5 * [head]])
        query(database, f"DELETE FROM daybook_read.entries WHERE entry_id = '{entry}' RETURNING 1")
        wait_until(lambda: at(projections, head))

    assert failed.error is not None and "duplicate key" in failed.error
    assert "projection.recovered" in [name for name, _ in events]


def test_catching_up_raises_where_it_fails(database: str) -> None:
    """
    With no thread to keep a state, the failure is raised, with everything before it applied.
    """
    with Scribe(database) as scribe:
        book = scribe.book()
        scribe.event(book, _FromTheFuture(code="x"))

    with pytest.raises(ProjectionFailed) as failure:
        catch_up(database)

    assert (failure.value.name, failure.value.position) == ("accounts", 2)
    assert query(database, "SELECT max(notification_id) FROM daybook_read.tracking") == 1


def test_progress_is_told(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A caller can show how far it is.
    """
    monkeypatch.setattr(applying, "BATCH", 2)
    with Scribe(database) as scribe:
        for code in ("a", "b", "c"):
            scribe.book(code)
    told: list[tuple[str, int, int]] = []

    catch_up(database, projections=[accounts], on_progress=lambda *progress: told.append(progress))

    assert told == [("accounts", 2, 3), ("accounts", 3, 3)]


def test_tables_of_newer_code_are_left_alone(database: str) -> None:
    """
    Tables that a later version of a projection has built are neither continued nor replaced.
    """
    query(database, "UPDATE daybook_read.builds SET version = 99 WHERE name = 'accounts' RETURNING 1")

    with pytest.raises(Superseded):
        catch_up(database, projections=[accounts])


def test_tracking_never_goes_back(database: str) -> None:
    """
    The library's statement refuses to record a position that is not ahead.
    """
    recorder = TrackingRecorder(database)
    with psycopg.connect(database) as connection, connection.cursor() as cursor:
        recorder.lock(cursor, tracked_as(accounts))
        recorder.advance(cursor, tracked_as(accounts), 5)

        with pytest.raises(IntegrityError):
            recorder.advance(cursor, tracked_as(accounts), 5)


def test_models_can_be_built_in_another_schema(database: str) -> None:
    """
    A projection is built beside the live one by naming another schema.
    """
    write_some_history(database, commits=3)
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("CREATE SCHEMA beside")
        connection.execute("CREATE TABLE beside.tracking (LIKE daybook_read.tracking INCLUDING ALL)")
        for projection in ALL:
            builds.create_tables(connection, projection, "beside")

    catch_up(database, schema="beside")

    assert query(database, "SELECT count(*) FROM beside.audit_trail") > 0
    assert not any(tables(database).values())
    assert query(database, "SELECT count(*) FROM beside.tracking") == len(ALL)


def test_a_dead_connection_is_given_up(database: str) -> None:
    """
    An applier that was dropped connects again.
    """
    with Scribe(database) as scribe:
        scribe.book()
    applier = Applier(database, accounts)

    assert applier.apply() == 1
    applier.drop()

    assert applier.apply() == 0
    applier.close()


class Frozen:
    """A server in between that can stop passing anything on, as a frozen one does."""

    def __init__(self, dsn: str) -> None:
        self.frozen = False
        wanted = conninfo_to_dict(dsn)
        host, port = str(wanted.get("host") or "127.0.0.1"), str(wanted.get("port") or "5432")
        self._address: Any = f"{host}/.s.PGSQL.{port}" if host.startswith("/") else (host, int(port))
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.dsn = make_conninfo(
            dsn, host="127.0.0.1", port=self._listening.getsockname()[1], sslmode="disable", gssencmode="disable"
        )
        self._ends: list[socket.socket] = [self._listening]

    def __enter__(self) -> "Frozen":
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        for end in self._ends:
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            end.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            family = socket.AF_UNIX if isinstance(self._address, str) else socket.AF_INET
            server = socket.socket(family)
            server.connect(self._address)
            self._ends += [client, server]
            for source, target in ((client, server), (server, client)):
                threading.Thread(target=self._pass_on, args=(source, target), daemon=True).start()

    def _pass_on(self, source: socket.socket, target: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                while self.frozen:
                    time.sleep(0.01)
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            return
