"""An exported log: equal to the byte when it is read again, and any line that was touched is found."""

import asyncio
import json
from collections.abc import Callable
from uuid import UUID

import pytest

from domain.audit import GENESIS, Seal, seal_hash
from domain.events import RawEvent
from replay.export import BadLine, LogIsBroken, Sealed, event_line, lines, read
from tests.stored import BEGAN, MemoryStored, ticking, write_everything


def written() -> MemoryStored:
    """A log with something of everything."""
    store = ticking()
    asyncio.run(write_everything(store))
    return MemoryStored(store)


@pytest.fixture(name="log", scope="module")
def log_() -> MemoryStored:
    return written()


@pytest.fixture(name="exported", scope="module")
def exported_(log: MemoryStored) -> list[bytes]:
    return list(lines(log))


def test_what_is_read_is_what_was_stored(log: MemoryStored, exported: list[bytes]) -> None:
    """
    Events come back with the bytes that were hashed, in the commits they were in, under the same seals.
    """
    commits = list(read(exported))

    assert [event for commit in commits for event in commit.events] == log.all_events
    assert [commit.seal for commit in commits] == log.all_seals
    assert commits[-1].end == sum(map(len, exported))
    assert [exported[commit.line - 1] for commit in commits] == [event_line(commit.events[0]) for commit in commits]


def test_a_line_is_for_reading(log: MemoryStored, exported: list[bytes]) -> None:
    """
    A program needs no Daybook to read an event: names, ids, times and the payload are plain JSON.
    """
    event = log.all_events[0]

    shape = json.loads(exported[1])

    assert shape == {
        "position": 1,
        "name": "book.opened.v1",
        "stream": str(event.stream_id),
        "version": 1,
        "recorded_at": event.recorded_at.isoformat().replace("+00:00", "Z"),
        "command_id": str(event.command_id),
        "metadata": json.loads(event.metadata),
        "payload": json.loads(event.payload),
    }


def test_an_empty_log(exported: list[bytes]) -> None:
    """
    A log without events is one line, and is read as one.
    """
    empty = list(lines(MemoryStored(ticking())))

    assert len(empty) == 1
    assert list(read(empty)) == []


@pytest.mark.parametrize(
    "payload",
    [b"", b"\xff\x00", b'{"a":1}\n', b'{"a":\r1}', b" {}", b"[1]", b'{"a":1', b'{"a" : 1.0}', b'{"a":1,"a":2}'],
)
def test_any_bytes_survive(payload: bytes) -> None:
    """
    Whatever bytes are stored and sealed, they come back: as they are where they can stand in a line, else in base64.
    """
    event = RawEvent(1, UUID(int=7), 1, "any.v1", BEGAN, b"{}", payload)
    seal = Seal(1, 1, BEGAN, seal_hash(GENESIS, [event]))
    log = MemoryStored(ticking())
    log.all_events, log.all_seals = [event], [seal]

    (commit,) = read(lines(log))

    assert commit.events == [event]


def test_a_broken_log_is_not_exported(log: MemoryStored) -> None:
    """
    A log that does not hash to its seals gives no file that somebody could take for the log.
    """
    broken = written()
    first = broken.all_events[2]
    broken.all_events[2] = RawEvent(
        *(first.position, first.stream_id, first.version, first.name, first.recorded_at), first.metadata, b"{}"
    )

    with pytest.raises(LogIsBroken):
        list(lines(broken))


def test_an_event_without_a_seal_is_not_exported() -> None:
    """
    Nor does a log whose end nothing vouches for.
    """
    broken = written()
    broken.all_seals.pop()

    with pytest.raises(LogIsBroken):
        list(lines(broken))


Damage = Callable[[list[bytes]], list[bytes]]


def replaced(index: int, old: bytes, new: bytes) -> Damage:
    def damage(file: list[bytes]) -> list[bytes]:
        assert old in file[index], file[index]
        return [*file[:index], file[index].replace(old, new), *file[index + 1 :]]

    return damage


@pytest.mark.parametrize(
    ("damage", "number"),
    [
        pytest.param(lambda file: [], 1, id="empty"),
        pytest.param(lambda file: file[1:], 1, id="no first line"),
        pytest.param(lambda file: [*file[:-1], file[-1][:-1]], -1, id="no last line feed"),
        pytest.param(lambda file: [*file[:-1], file[-1][:-2]], -1, id="cut by a brace"),
        pytest.param(lambda file: file[:-1], -1, id="no last seal"),
        pytest.param(lambda file: file[:-2], -2, id="no last commit but its event"),
        pytest.param(lambda file: [*file[:3], *file[4:]], 4, id="an event left out"),
        pytest.param(lambda file: [*file[:4], file[3], *file[4:]], 5, id="an event twice"),
        pytest.param(lambda file: [file[0], file[3], file[2], file[1], *file[4:]], 2, id="events moved"),
        pytest.param(lambda file: [*file, b"\n"], 1_000, id="a line added"),
        pytest.param(lambda file: [*file, file[-2]], 1_000, id="an event added"),
        pytest.param(replaced(0, b'"format":1', b'"format":2'), 1, id="other format"),
        pytest.param(replaced(0, b'"export"', b'"other"'), 1, id="other file"),
        pytest.param(replaced(1, b'"actor":"tester"', b'"actor":"nobody"'), 3, id="other actor"),
        pytest.param(replaced(1, b'"version":1', b'"version":2'), 3, id="other version"),
        pytest.param(replaced(1, b'"code":"main"', b'"code":"mine"'), 3, id="other payload"),
        pytest.param(replaced(1, b".123456Z", b".123457Z"), 3, id="other time"),
        pytest.param(replaced(2, b".123456Z", b".123457Z"), 3, id="other time of the seal"),
        pytest.param(replaced(2, b'"first":1', b'"first":2'), 3, id="other seal"),
        pytest.param(replaced(1, b'"position":1', b'"position":"1"'), 2, id="position as text"),
        pytest.param(replaced(1, b'"version":1', b'"what":1'), 2, id="unknown field"),
        pytest.param(replaced(1, b"tester", b"\xff"), 2, id="no UTF-8"),
    ],
)
def test_damage_is_found(exported: list[bytes], damage: Damage, number: int) -> None:
    """
    A line cut off, changed, left out, added or moved is told by its number, and nothing from its commit on is given.
    """
    damaged = damage(list(exported))
    if number < 0:
        number += len(exported) + 1
    elif number == 1_000:
        number = len(exported) + 1
    given: list[Sealed] = []

    with pytest.raises(BadLine) as found:
        for commit in read(damaged):
            given.append(commit)

    assert found.value.number == number
    assert f"line {number}: " in str(found.value)
    whole = list(read(exported))
    assert given == whole[: len(given)]
