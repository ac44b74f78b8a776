"""What several projections read of the log is read and understood once, and is what each would have read."""

import threading
import time
from typing import Any

import psycopg
import pytest

from adapters.postgres import window as windows
from adapters.postgres.window import Window, read
from domain.errors import EventTooNew
from tests.contract.test_projecting import _FromTheFuture, write_some_history
from tests.reading import Scribe


class Counting(psycopg.Cursor[Any]):
    fetched = 0

    def fetchall(self) -> Any:
        rows = super().fetchall()
        self.fetched += len(rows)
        return rows


def test_every_reader_gets_what_it_would_have_read(database: str) -> None:
    """
    In any order and in parts of any size; of what is kept nothing is fetched again.
    """
    head = write_some_history(database, commits=5)
    with psycopg.connect(database) as connection, Counting(connection) as cursor:
        window = Window()
        for after, limit in ((0, 7), (3, 2), (3, 9), (12, 5), (0, head), (head - 3, 9), (head, 9), (0, 4)):
            expected = read(Counting(connection), after, limit, ())
            assert window.read(cursor, after, limit, server=1) == expected
        cursor.fetched = 0
        assert window.read(cursor, 0, head, server=1)[:2] == (head, head)
        assert cursor.fetched == 0


def test_what_was_appended_since_is_read_too(database: str) -> None:
    """
    What is kept never passes for the end of the log.
    """
    window = Window()
    with Scribe(database) as scribe, psycopg.connect(database, autocommit=True) as connection:
        scribe.book()
        assert window.read(connection.cursor(), 0, 10, server=1)[:2] == (1, 1)
        scribe.book("another")
        assert window.read(connection.cursor(), 0, 10, server=1)[:2] == (2, 2)


def test_another_run_of_the_server_is_asked_itself(database: str) -> None:
    """
    After a failover an event near the end may be another one: nothing that the old server said is believed.
    """
    window = Window()
    head = write_some_history(database, commits=2)
    with psycopg.connect(database) as connection, Counting(connection) as cursor:
        window.read(cursor, 0, head, server=1)
        cursor.fetched = 0
        window.read(cursor, 0, head, server=2)
        assert cursor.fetched == head


def test_an_event_not_understood_is_kept_by_none(database: str) -> None:
    """
    It is refused each time, what is before it is read, and it can be left out.
    """
    window = Window()
    with Scribe(database) as scribe, psycopg.connect(database, autocommit=True) as connection:
        book = scribe.book()
        scribe.event(book, _FromTheFuture(code="x"))
        cursor = connection.cursor()
        for _ in range(2):
            with pytest.raises(EventTooNew):
                window.read(cursor, 0, 10, server=1)
        assert window.read(cursor, 0, 1, server=1)[:2] == (1, 1)
        count, last, events = window.read(cursor, 0, 10, server=1, without={2})
        assert (count, last, [event.position for event in events]) == (2, 2, [1])


def test_no_more_is_kept_than_is_said(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    However long the log is.
    """
    monkeypatch.setattr(windows, "KEPT", 10)
    window = Window()
    head = write_some_history(database, commits=5)
    with psycopg.connect(database) as connection:
        for after in range(0, head, 7):
            window.read(connection.cursor(), after, 7, server=1)
            assert len(window._events) <= 10


def test_one_waits_for_those_in_its_company(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Who is far ahead waits until the last has come nearer or has left.
    """
    monkeypatch.setattr(windows, "PATIENCE_S", 30.0)
    window = Window()
    window.pace("slow", 0)
    window.pace("fast", windows.AHEAD)
    ahead = threading.Thread(target=window.pace, args=("fast", windows.AHEAD + 2))
    ahead.start()
    time.sleep(0.05)
    assert ahead.is_alive()
    window.pace("slow", 2)
    ahead.join(5)
    assert not ahead.is_alive()
    ahead = threading.Thread(target=window.pace, args=("fast", windows.AHEAD + 3))
    ahead.start()
    window.leave("slow")
    ahead.join(5)
    assert not ahead.is_alive()


def test_nobody_waits_for_one_that_stands_still_or_is_far_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    One wait in vain is enough, and what the window no longer holds is not worth one.
    """
    window = Window()
    began = time.monotonic()
    window.pace("stuck", 0)
    window.pace("lost", 1)
    window.pace("fast", windows.AHEAD + 5)
    waited = time.monotonic() - began
    monkeypatch.setattr(windows, "PATIENCE_S", 30.0)
    window.pace("fast", windows.AHEAD + 6)
    window.pace("lost", 2)
    window.pace("fast", 2 * windows.KEPT)

    assert windows.PATIENCE_S > 10 > waited >= 0.2
    assert time.monotonic() - began < 10


def test_several_may_wait_in_vain_for_the_same_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    On a busy machine all give up at once on the one that stands still, and none of them fails by it.
    """
    window = Window()
    monkeypatch.setattr(windows, "PATIENCE_S", 0.05)
    failed: list[threading.ExceptHookArgs] = []
    monkeypatch.setattr(threading, "excepthook", failed.append)

    for attempt in range(3):
        window.pace("stuck", attempt)
        ahead = [
            threading.Thread(target=window.pace, args=(name, attempt + windows.AHEAD + 1)) for name in ("a", "b", "c")
        ]
        for each in ahead:
            each.start()
        for each in ahead:
            each.join()

    assert failed == []
