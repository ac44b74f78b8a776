"""Values survive every way they are written: ids, decimals, events."""

from collections.abc import Mapping
from dataclasses import fields
from datetime import UTC, date, datetime
from types import UnionType
from typing import Any, Union, get_args, get_origin
from uuid import UUID

import hypothesis.strategies as st
import pytest
from hypothesis import assume, given
from msgspec.structs import fields as struct_fields

from domain import ids
from domain.audit import GENESIS, seal_hash
from domain.errors import REFUSALS, EventMalformed, Refusal, refusal_from
from domain.events import (
    EVENTS,
    AccountClosed,
    AccountFrozen,
    AccountLimitsChanged,
    AccountOpened,
    AccountUnfrozen,
    BatchPosted,
    BookOpened,
    BookPaymentPolicySet,
    CommandRefused,
    EntryPosted,
    EntryReversed,
    Event,
    HoldCaptured,
    HoldExpired,
    HoldIncreased,
    HoldPlaced,
    HoldVoided,
    PaymentEvent,
    RawEvent,
    SettlementRecorded,
    decode,
    encode,
)
from domain.journal import Entry, post, reverse
from domain.money import MINOR_DIGITS, TOTAL_MAX, to_decimal, to_minor
from domain.posting import Posting, Side, Totals
from tests.support import BOOK, NOW, account

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
maps = st.dictionaries(texts, texts, max_size=3)
uuids = st.uuids()
amounts = st.integers(1, TOTAL_MAX)
currencies = st.sampled_from(["EUR", "JPY", "KWD"])
instants = st.datetimes(timezones=st.just(UTC))
jsons = st.recursive(
    st.none() | st.booleans() | texts | st.integers(-(2**63), 2**64 - 1),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
)
objects = st.dictionaries(texts, jsons, max_size=3)


@st.composite
def entries(draw: st.DrawFn) -> EntryPosted:
    postings: list[Posting] = []
    for _ in range(draw(st.integers(1, 4))):
        amount, currency = draw(amounts), draw(currencies)
        for side in draw(st.permutations(list(Side))):
            postings.append(Posting(draw(uuids), side, amount, currency))
    return EntryPosted(
        book_id=draw(uuids),
        value_date=draw(st.dates()),
        postings=tuple(postings),
        description=draw(texts),
        reference=draw(texts),
        metadata=draw(maps),
        reverses=draw(st.none() | uuids),
        captures=draw(st.none() | uuids),
        recipe=draw(st.none() | objects),
    )


@st.composite
def pairs(draw: st.DrawFn) -> tuple[Posting, Posting]:
    """The two postings of a hold."""
    amount, currency, sides = draw(amounts), draw(currencies), draw(st.permutations(list(Side)))
    return Posting(draw(uuids), sides[0], amount, currency), Posting(draw(uuids), sides[1], amount, currency)


PLAIN: dict[Any, st.SearchStrategy[Any]] = {
    str: texts,
    int: amounts,
    bool: st.booleans(),
    UUID: uuids,
    date: st.dates(),
    datetime: instants,
    type(None): st.none(),
    Any: jsons,
}


def of_type(kind: Any) -> st.SearchStrategy[Any]:
    """Whatever a field of that type can be; a struct field by field."""
    if kind in PLAIN:
        return PLAIN[kind]
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return st.one_of([of_type(one) for one in inner])
    if origin in (dict, Mapping):
        return st.dictionaries(texts, of_type(inner[1]), max_size=3)
    if origin in (list, tuple):
        return st.lists(of_type(inner[0]), max_size=3).map(origin)
    return st.builds(kind, **{one.name: of_type(one.type) for one in struct_fields(kind)})


# Every event; msgspec's own defaults cannot be drawn, so what has a mapping is said field by field.
DRAWN: dict[type[Event], st.SearchStrategy[Event]] = {
    EntryPosted: entries(),
    EntryReversed: st.from_type(EntryReversed),
    BookOpened: st.builds(BookOpened, metadata=maps),
    AccountOpened: st.builds(AccountOpened, metadata=maps),
    AccountLimitsChanged: st.builds(AccountLimitsChanged, effective_at=instants),
    AccountFrozen: st.from_type(AccountFrozen),
    AccountUnfrozen: st.from_type(AccountUnfrozen),
    AccountClosed: st.from_type(AccountClosed),
    BatchPosted: st.from_type(BatchPosted),
    HoldPlaced: st.builds(HoldPlaced, postings=pairs(), expires_at=st.none() | instants, metadata=maps),
    HoldIncreased: st.builds(HoldIncreased, postings=pairs()),
    HoldCaptured: st.builds(HoldCaptured, released=pairs()),
    HoldVoided: st.builds(HoldVoided, released=pairs()),
    HoldExpired: st.builds(HoldExpired, released=pairs()),
    CommandRefused: st.builds(CommandRefused, command=texts, scope=uuids, code=texts, details=objects),
    **{cls: of_type(cls) for cls in PaymentEvent.__subclasses__()},
    **{cls: of_type(cls) for cls in EVENTS.values() if cls.name.startswith("escrow.")},
    SettlementRecorded: of_type(SettlementRecorded),
    BookPaymentPolicySet: of_type(BookPaymentPolicySet),
}
events = st.one_of(*DRAWN.values())

FIELDS: dict[Any, st.SearchStrategy[Any]] = {
    datetime: instants,
    datetime | None: st.none() | instants,
    dict[str, Any]: objects,
}


def refusals(cls: type[Refusal]) -> st.SearchStrategy[Refusal]:
    """What is no fixed type is any JSON, and a time is one with a zone."""
    said = {field.name: FIELDS[field.type] for field in fields(cls) if field.type in FIELDS}
    return st.builds(cls, **said)


@given(uuids)
def test_an_id_is_read_as_it_is_shown(uuid: UUID) -> None:
    """
    There is one TypeID for a UUID and one UUID for a TypeID.
    """
    shown = ids.show("je", uuid)

    assert ids.parse("je", shown) == uuid
    assert len(shown) == len("je_") + 26


@given(st.integers(-TOTAL_MAX, TOTAL_MAX), st.sampled_from(sorted(MINOR_DIGITS)))
def test_an_amount_is_read_as_it_is_written(minor: int, currency: str) -> None:
    """
    No amount changes on its way through a decimal.
    """
    assert to_minor(str(to_decimal(minor, currency)), currency) == minor


@given(events)
def test_an_event_is_read_as_it_is_stored(event: Event) -> None:
    """
    The stored bytes hold all of the event, and the same event has always the same bytes.
    """
    stored = encode(event)

    assert decode(event.name, stored) == event
    assert encode(decode(event.name, stored)) == stored


@given(entries(), st.data())
def test_an_entry_that_was_tampered_with_is_no_entry(entry: EntryPosted, data: st.DataObject) -> None:
    """
    Bytes in which one amount was changed do not decode: they do not balance.
    """
    nth = data.draw(st.integers(0, len(entry.postings) - 1))
    old = entry.postings[nth].amount
    new = data.draw(amounts.filter(lambda amount: amount != old))
    before, mark, after = _split(encode(entry), b'"amount":', nth)
    assert after.startswith(str(old).encode())

    with pytest.raises(EventMalformed):
        decode(entry.name, before + mark + str(new).encode() + after[len(str(old)) :])


def _split(text: bytes, mark: bytes, nth: int) -> tuple[bytes, bytes, bytes]:
    """Around the nth mark; texts of the entry cannot hold one, since a quote is stored escaped."""
    pieces = text.split(mark)
    return mark.join(pieces[: nth + 1]), mark, mark.join(pieces[nth + 1 :])


raws = st.builds(
    RawEvent,
    position=st.integers(1, 2**63 - 1),
    stream_id=uuids,
    version=st.integers(1, 2**31 - 1),
    name=texts,
    recorded_at=st.just(NOW),
    metadata=st.binary(max_size=20),
    payload=st.binary(max_size=20),
    command_id=st.none() | uuids,
)


@given(st.lists(raws, max_size=3), st.lists(raws, max_size=3))
def test_different_batches_have_different_hashes(one: list[RawEvent], other: list[RawEvent]) -> None:
    """
    No two batches share an encoding.
    """
    assume(one != other)

    assert seal_hash(GENESIS, one) != seal_hash(GENESIS, other)


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("abc"), st.integers(1, 1000)), min_size=1, max_size=5)
)
def test_a_reversal_undoes_exactly_its_entry(transfers: list[tuple[str, str, int]]) -> None:
    """
    Balances are what they were; totals have grown alike on both sides.
    """
    accounts = {known.id: known for known in map(account, "abc")}
    totals = {name: Totals(0, 0, 0, 0, 0) for name in accounts}
    postings = [
        Posting(ids.account_id(BOOK, code), side, amount, "EUR")
        for debit, credit, amount in transfers
        for code, side in ((debit, Side.DEBIT), (credit, Side.CREDIT))
    ]
    same: dict[str, Any] = {"now": NOW, "value_date": NOW.date(), "description": "", "metadata": {}}

    posted = post(accounts, totals, book_id=BOOK, postings=postings, reference="", **same)
    mirror, _ = reverse(Entry(BOOK, 1, posted, None), accounts, totals, reversal_id=BOOK, **same)

    for line in (*posted.postings, *mirror.postings):
        totals[line.account_id] = totals[line.account_id].after(line.side, line.amount)
    assert all(after.debits == after.credits for after in totals.values())


@given(st.sampled_from(sorted(REFUSALS)).flatmap(lambda code: refusals(REFUSALS[code])))
def test_a_refusal_is_told_again_as_it_was(refusal: Refusal) -> None:
    """
    A kept refusal comes back from its stored bytes with every field.
    """
    kept = CommandRefused(command="x", scope=BOOK, code=refusal.code, details=refusal.details())

    again = decode(kept.name, encode(kept))

    assert isinstance(again, CommandRefused)
    told = refusal_from(again.code, again.details)
    assert type(told) is type(refusal)
    assert vars(told) == vars(refusal)


def test_every_event_is_drawn() -> None:
    """
    A new event has to be added to those that are drawn above.
    """
    assert {*EVENTS.values()} == {*DRAWN}


def test_dates_of_any_century_are_kept() -> None:
    """
    Value dates may lie far back: the first and last days there are survive.
    """
    for day in (date.min, date.max):
        entry = EntryPosted(
            book_id=BOOK,
            value_date=day,
            postings=(Posting(BOOK, Side.DEBIT, 1, "EUR"), Posting(BOOK, Side.CREDIT, 1, "EUR")),
        )
        assert decode(entry.name, encode(entry)) == entry
