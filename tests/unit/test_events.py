"""Stored events: what was ever written can be read for ever, and what is not understood is refused."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from domain import events
from domain.errors import EventMalformed, EventTooNew
from domain.events import EVENTS, AccountFrozen, Metadata, RawEvent, decode, encode, recorded
from domain.upcasts import UPCASTS
from tests.support import BOOK, NOW

VECTORS = sorted((Path(__file__).parents[1] / "vectors" / "events").glob("*.json"))


@pytest.mark.parametrize("file", VECTORS, ids=lambda file: file.stem)
def test_every_shape_ever_stored_is_read(file: Path) -> None:
    """
    Bytes as an earlier Daybook stored them become the event as it is understood today.
    """
    for vector in json.loads(file.read_text("utf-8")):
        event = decode(file.stem, vector["stored"].encode())

        assert {"event": event.name, **msgspec.json.decode(msgspec.json.encode(event))} == vector["understood"]


def test_every_event_has_a_vector() -> None:
    """
    A new event, or a new version, brings the bytes it is stored as.
    """
    assert {file.stem for file in VECTORS} == EVENTS.keys() | UPCASTS.keys()


@pytest.mark.parametrize("name", EVENTS)
def test_the_newest_shape_is_stored_as_its_vector_says(name: str) -> None:
    """
    What is written now is, byte for byte, what its vectors hold: a change of shape shows here first.
    Those marked `earlier` are only read any more.
    """
    file = next(file for file in VECTORS if file.stem == name)
    vectors = json.loads(file.read_text("utf-8"))

    stored = [vector["stored"].encode() for vector in vectors if not vector.get("earlier")]

    assert [encode(decode(name, payload)) for payload in stored] == stored


def test_names_are_of_one_form() -> None:
    """
    A stored name is a noun, a verb and a version, never a place in the code.
    """
    for name, cls in EVENTS.items():
        noun, verb, version = name.split(".")
        assert noun.isidentifier() and verb.isidentifier() and version == f"v{int(version[1:])}"
        assert cls.name == name


@pytest.mark.parametrize(
    ("name", "payload"),
    [
        ("account.hibernated.v1", b'{"floor":5}'),
        ("account.frozen.v2", b'{"reason":""}'),
        ("account.frozen.v1", b'{"reason":"","until":"2026-02-01"}'),
        ("domain.events:AccountFrozen", b"{}"),
        ("", b"{}"),
        (
            "journal_entry.posted.v1",
            b'{"book_id":"%s","value_date":"2026-01-15","postings":['
            b'{"account_id":"%s","side":"debit","amount":1,"currency":"EUR","tax":1}]}'
            % (str(BOOK).encode(), str(BOOK).encode()),
        ),
    ],
)
def test_what_a_newer_daybook_wrote_is_refused(name: str, payload: bytes) -> None:
    """
    An unknown name or field is not guessed at: half an understanding of money is none.
    """
    with pytest.raises(EventTooNew):
        decode(name, payload)


ENTRY = b'{"book_id":"%s","value_date":"2026-01-15","postings":[%s]}'
DEBIT = b'{"account_id":"%s","side":"debit","amount":2,"currency":"EUR"}' % str(BOOK).encode()
CREDIT = b'{"account_id":"%s","side":"credit","amount":%s,"currency":"%s"}'


@pytest.mark.parametrize(
    ("name", "payload"),
    [
        ("account.frozen.v1", b""),
        ("account.frozen.v1", b"{"),
        ("account.frozen.v1", b"[]"),
        ("account.frozen.v1", b'{"reason":1}'),
        ("account.frozen.v1", b'{"reason":"\xff"}'),
        ("account.opened.v1", b"{}"),
        ("journal_entry.posted.v1", ENTRY % (str(BOOK).encode(), b"")),
        ("journal_entry.posted.v1", ENTRY % (str(BOOK).encode(), DEBIT)),
        *(
            (
                "journal_entry.posted.v1",
                ENTRY % (str(BOOK).encode(), DEBIT + b"," + CREDIT % (str(BOOK).encode(), amount, currency)),
            )
            for amount, currency in [(b"1", b"EUR"), (b"3", b"EUR"), (b"2", b"USD"), (b"0", b"EUR"), (b"2.0", b"EUR")]
        ),
    ],
)
def test_what_is_not_what_its_name_says_is_refused(name: str, payload: bytes) -> None:
    """
    Broken bytes, and above all an entry that does not balance, never become an event.
    """
    with pytest.raises(EventMalformed):
        decode(name, payload)


def test_an_entry_that_balances_is_taken() -> None:
    """
    The same bytes as above with both sides equal are an entry.
    """
    both = DEBIT + b"," + CREDIT % (str(BOOK).encode(), b"2", b"EUR")

    decode("journal_entry.posted.v1", ENTRY % (str(BOOK).encode(), both))


def test_old_shapes_are_brought_up_step_by_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Two steps lead from the oldest name to the newest shape, one after the other.
    """

    def name_the_reason(shape: dict[str, Any]) -> dict[str, Any]:
        return {"reason_code": shape["why"]}

    def spell_the_reason_out(shape: dict[str, Any]) -> dict[str, Any]:
        return {"reason": {7: "court order"}[shape["reason_code"]]}

    monkeypatch.setitem(UPCASTS, "account.stopped.v1", ("account.stopped.v2", name_the_reason))
    monkeypatch.setitem(UPCASTS, "account.stopped.v2", ("account.frozen.v1", spell_the_reason_out))

    assert decode("account.stopped.v1", b'{"why":7}') == AccountFrozen(reason="court order")
    assert decode("account.stopped.v2", b'{"reason_code":7}') == AccountFrozen(reason="court order")
    with pytest.raises(EventMalformed):
        decode("account.stopped.v1", b'{"why":')


def test_an_upcast_leads_to_a_checked_event(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    What a step makes is checked like anything stored.
    """
    monkeypatch.setitem(UPCASTS, "account.stopped.v1", ("account.frozen.v1", lambda shape: shape))

    with pytest.raises(EventTooNew):
        decode("account.stopped.v1", b'{"reasons":7}')
    with pytest.raises(EventMalformed):
        decode("account.stopped.v1", b'{"reason":7}')


def test_metadata_is_read_and_refused_alike() -> None:
    """
    Who did it is part of what is stored, and must be understood.
    """
    metadata = Metadata(actor="ann", request_id="r", idempotency_key="k", request_hash="h")
    raw = RawEvent(4, BOOK, 2, "account.frozen.v1", NOW, encode(metadata), b"{}", BOOK)

    understood = recorded(raw)

    assert understood == events.Recorded(4, BOOK, 2, NOW, AccountFrozen(), metadata, BOOK)
    for broken in (b"", b"{}", b'{"actor":1}', b"\xff"):
        with pytest.raises(EventMalformed):
            recorded(msgspec.structs.replace(raw, metadata=broken))


def test_metadata_of_a_newer_daybook_is_refused_as_such() -> None:
    """
    A field of the metadata that is not known here says that a newer Daybook wrote it, not that it is broken.
    """
    raw = RawEvent(4, BOOK, 2, "account.frozen.v1", NOW, b'{"actor":"ann","tenant":"t"}', b"{}")

    with pytest.raises(EventTooNew):
        recorded(raw)
