"""What tests share: words to set a scene with, a desk to ask, and a checker of the books that trusts none of our code.

Ledgers and entries are written as tables, amounts in minor units of EUR unless said otherwise.
"""

import asyncio
import hashlib
import json
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime, timedelta
from itertools import count
from typing import Any, Final, NamedTuple
from uuid import UUID

import psycopg
from msgspec.structs import replace
from psycopg import IsolationLevel

from adapters.memory.store import MemoryEventStore
from commands.account import CloseAccount, FreezeAccount, OpenAccount, UnfreezeAccount
from commands.batch import PostBatch, ask_batch
from commands.book import OpenBook
from commands.command import Asked, Command, ask
from commands.desk import Answer, Desk, Outcome
from commands.hold import PlaceHold
from commands.journal import PostEntry, PostingAsked, ReverseEntry
from domain import ids
from domain.account import Account, Limits, Status, Type, balance
from domain.audit import Seal
from domain.events import EntryPosted, RawEvent
from domain.ports import EventStore
from domain.posting import Posting, PostingRow, Side, Totals

NOW: Final = datetime(2026, 1, 15, 12, 0, tzinfo=UTC)
TODAY: Final = NOW.date()
BOOK: Final = ids.book_id("main")


def cells(table: str) -> Iterator[list[str]]:
    """The rows of a table, cells apart by `|`."""
    for line in table.strip().splitlines():
        yield [cell.strip() for cell in line.split("|")]


class Scene(NamedTuple):
    """Accounts by id, with their totals."""

    accounts: dict[UUID, Account]
    totals: dict[UUID, Totals]

    def account(self, code: str) -> Account:
        return self.accounts[ids.account_id(BOOK, code)]

    def posted_to(self, code: str) -> Totals:
        return self.totals[ids.account_id(BOOK, code)]

    def after(self, event: EntryPosted) -> "Scene":
        """With that entry on it."""
        totals = dict(self.totals)
        for line in event.postings:
            totals[line.account_id] = totals[line.account_id].after(line.side, line.amount)
        return Scene(self.accounts, totals)

    def balances(self) -> dict[str, int]:
        """By code, on the normal side."""
        return {a.code: balance(a.type, self.totals[a.id]).posted for a in self.accounts.values()}


def given(table: str) -> Scene:
    """Accounts from rows of `code | type | debits | credits | anything else`.

    Anything else: a currency, a status, limits as `floor=5`, `pending_debits=3`.
    """
    accounts, totals = {}, {}
    for code, type, debits, credits, *rest in cells(table):
        said: dict[str, Any] = {}
        pending = {"pending_debits": 0, "pending_credits": 0}
        for word in " ".join(rest).split():
            name, _, value = word.partition("=")
            if name in pending:
                pending[name] = int(value)
            elif value:
                said[name] = int(value)
            elif name.isupper():
                said["currency"] = name
            else:
                said["status"] = Status(name)
        known = account(code, type, **said)
        number = bool(int(debits)) + bool(int(credits))
        accounts[known.id] = known
        totals[known.id] = Totals(number, int(debits), int(credits), **pending)
    return Scene(accounts, totals)


def account(code: str = "cash", type: str = "asset", *, book_id: UUID = BOOK, **said: Any) -> Account:
    """An open account in EUR without limits, but for what is said."""
    fields: dict[str, Any] = {
        "id": ids.account_id(book_id, code),
        "version": 1,
        "book_id": book_id,
        "code": code,
        "type": Type(type),
        "currency": "EUR",
        "title": "",
        "opened_on": TODAY,
        "metadata": {},
        "status": Status.OPEN,
    }
    limits = Limits(None, *(said.pop(name, None) for name in ("overdraft_limit", "floor", "ceiling")))
    return Account(**{**fields, "limits": (limits,), **said})


def lines(table: str) -> list[Posting]:
    """Postings from rows of `code | debit | credit`, an amount being `21` (EUR) or `21 USD`."""
    return [
        Posting(ids.account_id(BOOK, code), side, amount, currency) for code, side, amount, currency in _amounts(table)
    ]


def _amounts(table: str) -> Iterator[tuple[str, Side, int, str]]:
    for code, debit, credit in cells(table):
        assert bool(debit) != bool(credit), code
        amount, _, currency = (debit or credit).partition(" ")
        yield code, Side.DEBIT if debit else Side.CREDIT, int(amount), currency or "EUR"


# Commands.

_keys = (f"key-{number}" for number in count(1))


def asked(command: Command, key: str | None = None, *, actor: str = "tester") -> Asked:
    """The command under a key, a new one unless it is given."""
    return ask(command, actor=actor, key=key or next(_keys), request_id="req-1")


def open_book(code: str = "main") -> OpenBook:
    return OpenBook(code=code)


def open_account(code: str, type: str = "asset", *, book: str = "main", **said: Any) -> OpenAccount:
    """No limits, but for what is said."""
    limits = {"currency": "EUR", "overdraft_limit": None}
    return OpenAccount(book=book, code=code, type=Type(type), **{**limits, **said})


def entry(table: str, *, book: str = "main", **said: Any) -> PostEntry:
    """A journal entry from the table that `lines` reads."""
    postings = tuple(
        PostingAsked(account=code, side=side, amount=amount, currency=currency)
        for code, side, amount, currency in _amounts(table)
    )
    return PostEntry(book=book, postings=postings, **said)


def transfer(debit: str, credit: str, amount: int = 1, **said: Any) -> PostEntry:
    """From the credited account to the debited one."""
    return entry(f"{debit} | {amount} |\n{credit} | | {amount}", **said)


def reverse(entry_id: UUID, **said: Any) -> ReverseEntry:
    return ReverseEntry(entry_id=entry_id, **said)


def freeze(code: str) -> FreezeAccount:
    return FreezeAccount(account_id=ids.account_id(BOOK, code))


def unfreeze(code: str) -> UnfreezeAccount:
    return UnfreezeAccount(account_id=ids.account_id(BOOK, code))


def close(code: str) -> CloseAccount:
    return CloseAccount(account_id=ids.account_id(BOOK, code))


def place(account: str, destination: str, amount: int = 1, **said: Any) -> PlaceHold:
    """A hold in EUR that stays, unless it is said otherwise."""
    return PlaceHold(book="main", account=account, destination=destination, amount=amount, currency="EUR", **said)


def batch(mode: str, *commands: Command | tuple[Command, str], key: str | None = None, dry: bool = False) -> Asked:
    """A batch under a key of its own; a command given with a key has that one."""
    given = [each if isinstance(each, tuple) else (each, None) for each in commands]
    items = [
        {"command": command.kind, "idempotency_key": own, "arguments": command.model_dump()} for command, own in given
    ]
    put = PostBatch.model_validate({"book": "main", "mode": mode, "commands": items})
    return replace(ask_batch(put, actor="tester", key=key or next(_keys), request_id="req-1"), dry=dry)


# Desks.

Reports = list[tuple[str, BaseException]]


def desk(store: EventStore, reports: Reports | None = None, **bounds: Any) -> Desk:
    """A desk that is not started: what is submitted before it is becomes its first batch."""
    kept = reports if reports is not None else []
    return Desk(store, report=lambda event, error: kept.append((event, error)), **bounds)


@asynccontextmanager
async def started(store: EventStore, reports: Reports | None = None, **bounds: Any) -> AsyncIterator[Desk]:
    """A desk at work, stopped at the end."""
    working = desk(store, reports, **bounds)
    working.start()
    try:
        yield working
    finally:
        await working.stop()


async def answers(desk: Desk, *commands: Asked) -> list[Answer]:
    """Everybody's answer, all having asked at once."""
    return await answers_of(submitted(desk, *commands))


def submitted(desk: Desk, *commands: Asked) -> list["asyncio.Task[Outcome]"]:
    return [asyncio.create_task(desk.submit(command)) for command in commands]


async def answers_of(tasks: list["asyncio.Task[Outcome]"]) -> list[Answer]:
    gathered = await asyncio.gather(*tasks, return_exceptions=True)
    for answer in gathered:
        assert isinstance(answer, Outcome | Exception), answer
    return gathered  # type: ignore[return-value]


def said(answer: Answer) -> str:
    """An answer in a word: `done`, the code of the refusal, or the name of the error; `again` if it was replayed."""
    if isinstance(answer, Exception):
        return type(answer).__name__
    word = answer.refusal.code if answer.refusal else "done"
    return f"{word} again" if answer.replayed else word


def items_said(answer: Answer) -> list[str]:
    """The answers to a batch's commands, each in a word."""
    assert isinstance(answer, Outcome), answer
    return [said(item) for item in answer.items]


# The checker: from the bytes that are stored, with nothing but the standard library.


class Books(NamedTuple):
    """All that is stored."""

    events: list[RawEvent]
    postings: list[PostingRow]
    seals: list[Seal]

    def check(self) -> dict[UUID, tuple[int, int]]:
        """Derive everything anew and compare; gives the debits and credits of every account."""
        _check_order(self.events)
        _check_seals(self)
        return _check_postings(self)

    def by_key(self) -> Mapping[str, list[RawEvent]]:
        """The events that each Idempotency-Key left."""
        found: dict[str, list[RawEvent]] = defaultdict(list)
        for event in self.events:
            found[json.loads(event.metadata).get("idempotency_key", "")].append(event)
        return found


def books_of(store: MemoryEventStore | str) -> Books:
    """What a store in memory, or the database of a DSN, holds."""
    if isinstance(store, MemoryEventStore):
        return Books(store.events, store.postings, store.seals)
    with psycopg.connect(store, options="-c timezone=UTC") as connection:
        connection.isolation_level = IsolationLevel.REPEATABLE_READ
        events = connection.execute(
            "SELECT position, stream, version, name, recorded_at, metadata, payload, command"
            " FROM daybook.events ORDER BY position"
        ).fetchall()
        postings = connection.execute(
            "SELECT account, position, side::text, amount, pending, value_date, number, debits, credits,"
            " pending_debits, pending_credits FROM daybook.postings ORDER BY position, account, number"
        ).fetchall()
        seals = connection.execute("SELECT first, last, recorded_at, hash FROM daybook.seals ORDER BY first").fetchall()
    sides = {"D": Side.DEBIT, "C": Side.CREDIT}
    return Books(
        [RawEvent(*row) for row in events],
        [
            PostingRow(account, position, sides[side], amount, pending, value_date, Totals(*totals))
            for account, position, side, amount, pending, value_date, *totals in postings
        ],
        [Seal(*row) for row in seals],
    )


def _check_order(events: list[RawEvent]) -> None:
    """Positions and versions without gaps, time that never goes back, one first event per command."""
    assert [event.position for event in events] == list(range(1, len(events) + 1))
    versions: dict[UUID, int] = defaultdict(int)
    for event in events:
        versions[event.stream_id] += 1
        assert event.version == versions[event.stream_id], event
    times = [event.recorded_at for event in events]
    assert times == sorted(times)
    commands = [event.command_id for event in events if event.command_id]
    assert len(commands) == len(set(commands))


def hash_of(previous: bytes, events: list[RawEvent]) -> bytes:
    """A seal's hash, written down a second time."""
    text = previous
    for event in events:
        name = event.name.encode()
        micros = (event.recorded_at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
        text += event.position.to_bytes(8, "big") + event.stream_id.bytes + event.version.to_bytes(4, "big")
        text += micros.to_bytes(8, "big") + (event.command_id.bytes if event.command_id else bytes(16))
        text += len(name).to_bytes(2, "big") + len(event.metadata).to_bytes(4, "big")
        text += len(event.payload).to_bytes(4, "big") + name + event.metadata + event.payload
    return hashlib.sha256(text).digest()


def _check_seals(books: Books) -> None:
    """Every event under one seal, every seal chained to the one before."""
    previous, last = bytes(32), 0
    for seal in books.seals:
        assert seal.first == last + 1
        sealed = books.events[seal.first - 1 : seal.last]
        assert {event.recorded_at for event in sealed} == {seal.recorded_at}
        assert seal.hash == hash_of(previous, sealed), f"the seal at {seal.first} does not match"
        previous, last = seal.hash, seal.last
    assert last == len(books.events)


class _Held(NamedTuple):
    """An account; `limits` with the time from which on they hold, "" for always."""

    opened: dict[str, Any]
    limits: tuple[dict[str, Any], ...]
    status: str = "open"
    number: int = 0
    debits: int = 0
    credits: int = 0
    pending_debits: int = 0
    pending_credits: int = 0

    @property
    def balance(self) -> int:
        net = self.debits - self.credits
        return net if self.opened["type"] in ("asset", "expense") else -net

    @property
    def available(self) -> int:
        """What is posted less what is set aside."""
        grows_by_debits = self.opened["type"] in ("asset", "expense")
        return self.balance - (self.pending_credits if grows_by_debits else self.pending_debits)

    @property
    def highest(self) -> int:
        grows_by_debits = self.opened["type"] in ("asset", "expense")
        return self.balance + (self.pending_debits if grows_by_debits else self.pending_credits)


class _Ledger:
    """The books as the events make them."""

    def __init__(self) -> None:
        self.held: dict[str, _Held] = {}
        self.rows: list[PostingRow] = []
        self.before_capture: dict[str, _Held] | None = None

    def book(self, shape: dict[str, Any], event: RawEvent, field: str, *, pending: bool, sign: int = 1) -> None:
        """One event's lines, balanced by themselves, on accounts of its book and currencies."""
        net: dict[str, int] = defaultdict(int)
        for line in shape[field]:
            name, amount, is_debit = line["account_id"], sign * line["amount"], line["side"] == "debit"
            account = self.held[name]
            assert line["amount"] > 0
            assert account.opened["currency"] == line["currency"] and account.opened["book_id"] == shape["book_id"]
            net[line["currency"]] += amount if is_debit else -amount
            total = ("pending_" if pending else "") + ("debits" if is_debit else "credits")
            account = account._replace(number=account.number + 1, **{total: getattr(account, total) + amount})
            self.held[name] = account
            assert min(account.pending_debits, account.pending_credits) >= 0
            day = date.fromisoformat(shape["value_date"]) if "value_date" in shape else event.recorded_at.date()
            totals = Totals(*account[3:])
            self.rows.append(PostingRow(UUID(name), event.position, Side(line["side"]), amount, pending, day, totals))
        assert not any(net.values()), shape

    def must_be_allowed(self, before: dict[str, _Held], shape: dict[str, Any], at: datetime) -> None:
        """What was decided was within the limits in force, or no further beyond them than before."""
        for name in {line["account_id"] for line in shape["postings"]}:
            assert self.held[name].status == "open"
            _check_limits(before[name], self.held[name], at)


def _check_postings(books: Books) -> dict[UUID, tuple[int, int]]:
    ledger, holds = _Ledger(), dict[str, dict[str, Any]]()
    entries: dict[str, dict[str, Any]] = {}
    reversed_by: dict[str, str] = {}
    for event in books.events:
        shape, stream, before = json.loads(event.payload), event.stream_id.hex, dict(ledger.held)
        match event.name.rpartition(".")[0]:
            case "account.opened":
                ledger.held[stream] = _Held(shape, ({"floor": None, "ceiling": None, **shape, "effective_at": ""},))
            case "account.limits_changed":
                account = ledger.held[stream]
                ledger.held[stream] = account._replace(limits=(*account.limits, shape))
            case "account.frozen" | "account.unfrozen" | "account.closed" as name:
                status = "open" if name == "account.unfrozen" else name.partition(".")[2]
                account = ledger.held[stream]
                assert account.status != "closed"
                assert status != "closed" or account.balance == account.pending_debits == account.pending_credits == 0
                ledger.held[stream] = account._replace(status=status)
            case "journal_entry.posted":
                entries[stream] = shape
                ledger.book(shape, event, "postings", pending=False)
                ledger.must_be_allowed(ledger.before_capture or before, shape, event.recorded_at)
                assert ("captures" in shape) == (ledger.before_capture is not None)
                ledger.before_capture = None
                if "reverses" in shape:
                    assert _mirrored(entries[shape["reverses"]]) == _sides(shape)
            case "journal_entry.reversed":
                assert stream not in reversed_by
                reversed_by[stream] = shape["reversed_by"]
                assert entries[shape["reversed_by"]]["reverses"] == stream
            case "hold.placed" | "hold.increased" as name:
                _check_hold(holds, name, stream, shape, event)
                ledger.book(shape, event, "postings", pending=True)
                ledger.must_be_allowed(before, shape, event.recorded_at)
            case "hold.captured" | "hold.voided" | "hold.expired" as name:
                _check_hold(holds, name, stream, shape, event)
                ledger.book(shape, event, "released", pending=True, sign=-1)
                if name == "hold.captured":
                    ledger.before_capture = before
                    _check_capture(stream, shape, holds[stream], books.events[event.position])
            case name:
                assert name.startswith(("payment.", "settlement.", "escrow.")) or name in (
                    "book.opened",
                    "book.payment_policy_set",
                    "command.refused",
                    "batch.posted",
                    "account.hibernated",
                    "library.said",
                ), name
    assert {shape["reverses"] for shape in entries.values() if "reverses" in shape} == set(reversed_by)
    assert sorted(books.postings, key=_place) == sorted(ledger.rows, key=_place)
    _check_conservation(ledger.held, holds)
    return {UUID(name): (account.debits, account.credits) for name, account in ledger.held.items()}


def _check_hold(
    holds: dict[str, dict[str, Any]], name: str, stream: str, shape: dict[str, Any], event: RawEvent
) -> None:
    """Every hold has at most one end, before its time or, by expiry, not before it; nothing is given up twice."""
    if name == "hold.placed":
        assert stream not in holds
        holds[stream] = {**shape, "left": 0, "ended": False}
    hold = holds[stream]
    assert not hold["ended"]
    due = "expires_at" in hold and datetime.fromisoformat(hold["expires_at"]) <= event.recorded_at
    assert due == (name == "hold.expired")
    if "released" not in shape:
        hold["left"] += shape["postings"][0]["amount"]
        return
    hold["left"] -= shape["released"][0]["amount"]
    hold["ended"] = shape.get("final", True)
    assert hold["left"] >= 0
    assert hold["ended"] == (hold["left"] == 0)


def _check_capture(stream: str, shape: dict[str, Any], hold: dict[str, Any], then: RawEvent) -> None:
    """The entry that a capture became is what comes next: on the hold's accounts, of what was captured."""
    entry = json.loads(then.payload)
    assert (then.stream_id.hex, entry["captures"]) == (shape["entry_id"], stream)
    assert shape["amount"] <= shape["released"][0]["amount"]
    assert entry["postings"] == [{**line, "amount": shape["amount"]} for line in hold["postings"]]


def _place(row: PostingRow) -> tuple[UUID, int]:
    return row.account_id, row.totals.number


def _sides(shape: dict[str, Any]) -> list[tuple[str, str, int]]:
    return [(line["account_id"], line["side"], line["amount"]) for line in shape["postings"]]


def _mirrored(shape: dict[str, Any]) -> list[tuple[str, str, int]]:
    other = {"debit": "credit", "credit": "debit"}
    return [(account_id, other[side], amount) for account_id, side, amount in _sides(shape)]


def _check_limits(before: _Held, after: _Held, at: datetime) -> None:
    """Within its limits, or no further beyond them than it was; funds set aside are no longer available."""
    in_force = [one for one in after.limits if _time(one["effective_at"]) <= at]
    limits = max(enumerate(in_force), key=lambda each: (_time(each[1]["effective_at"]), each[0]))[1]
    overdraft, floor, ceiling = limits["overdraft_limit"], limits["floor"], limits["ceiling"]
    assert overdraft is None or after.available >= min(-overdraft, before.available), (limits, before, after)
    assert floor is None or after.available >= min(floor, before.available), (limits, before, after)
    assert ceiling is None or after.highest <= max(ceiling, before.highest), (limits, before, after)


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text) if text else datetime.min.replace(tzinfo=UTC)


def _check_conservation(held: dict[str, _Held], holds: dict[str, dict[str, Any]]) -> None:
    """Over every book and currency, debits are credits; what is pending is what live holds have left."""
    net: dict[tuple[str, str], int] = defaultdict(int)
    pending: dict[tuple[str, str], int] = defaultdict(int)
    for hold in holds.values():
        for line in hold["postings"]:
            pending[line["account_id"], line["side"]] += hold["left"]
    for name, account in held.items():
        net[account.opened["book_id"], account.opened["currency"]] += account.debits - account.credits
        assert (account.pending_debits, account.pending_credits) == (pending[name, "debit"], pending[name, "credit"])
    assert not any(net.values()), net
