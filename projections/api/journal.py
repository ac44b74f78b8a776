"""Journal entries, read."""

from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal
from uuid import UUID

from msgspec.structs import replace
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from domain import ids
from domain.errors import EntryNotFound
from domain.posting import Side
from projections import accounts, journal
from projections.api.accounts import must_exist
from projections.api.answering import Answer, answer, one
from projections.api.listing import Listing, found, shown
from projections.api.parameters import (
    EVENTUAL,
    RANGES,
    AccountId,
    Amount,
    BookName,
    Currency,
    EntryId,
    Key,
    Page,
    Pair,
    Read,
    RecordedRange,
    Text,
    ValueDateRange,
    as_json,
    asked,
)

WALKED_MAX: Final = 10_000
"""Postings of an account that are walked through for the few that a filter lets through."""
_OF_ENTRY: Final = {"reference", "description_prefix", "metadata", "actor", "kind"}
_OF_POSTING: Final = {"account_code_prefix", "side", "amount_min", "amount_max", "currency"}


class EntryList(Page[EntryId], RecordedRange, ValueDateRange):
    """Journal entries, newest first: of a book, of an account, or all.

    `account`, `account_code_prefix`, `side`, `currency`, `amount_min` and `amount_max` (minor units, inclusive) are
    asked of one and the same posting. `kind`: a `reversal` undoes an entry, a `reversed` one is undone, a `capture` is
    of a hold, a `plain` one is none of these. `expand=accounts`: each posting with more of its `account`.
    """

    book: BookName | None = None
    account: AccountId | None = None
    account_code_prefix: Text | None = None
    side: Side | None = None
    amount_min: Amount | None = None
    amount_max: Amount | None = None
    currency: Currency | None = None
    reference: Text | None = None
    description_prefix: Text | None = None
    metadata: Pair | None = None
    actor: Key | None = None
    kind: Literal["plain", "reversal", "reversed", "capture"] | None = None
    expand: Literal["accounts"] | None = None

    @property
    def is_picky(self) -> bool:
        """Whether entries are left out for what they are, not for when they were."""
        return bool(self.model_dump(include=_OF_ENTRY | _OF_POSTING, exclude_none=True))

    @property
    def filters(self) -> dict[str, Any]:
        named = {"book", "account", *_OF_ENTRY, *_OF_POSTING, *RANGES}
        return {
            **self.model_dump(include=named),
            "metadata": as_json(self.metadata),
            "by_posting": bool(self.model_dump(include={"account"} | _OF_POSTING, exclude_none=True)),
            "accounts": self.expand == "accounts",
        }


class EntryRead(Read):
    """One journal entry."""

    entry: EntryId


async def list_entries(request: Request) -> Response:
    page = asked(request, EntryList)
    listing = await _listing(request, page)
    first = await found(request, page, listing, page.filters)
    if not first.rows:
        await must_exist(request, book=page.book, account=page.account)
        if cursor := page.cursor:
            await _find_entry(request, EVENTUAL, cursor)
    return shown(request, page, listing, page.filters, first)


async def _listing(request: Request, page: EntryList) -> Listing:
    """Which way to walk: of an account with so many postings those that a filter lets through are not looked for."""
    if page.account is None:
        return DATED if page.is_dated else LISTING
    if page.is_dated or not page.is_picky:
        return OF_ACCOUNT
    (row,) = await request.state.reads.fetch("balance", {"account": page.account})
    return OF_ACCOUNT if (row["number"] or 0) <= WALKED_MAX else LISTING


async def read_entry(request: Request) -> Response:
    read = asked(request, EntryRead)
    answered = await _find_entry(request, read, read.entry)
    return one(resource(answered.rows[0]), answered.position)


async def _find_entry(request: Request, read: Read, entry_id: UUID) -> Answer:
    answered = await answer(request, "entry", read, {"entry": entry_id}, of=[accounts, journal], key="entry_id")
    if not answered.rows:
        raise EntryNotFound(entry_id)
    return answered


def resource(row: dict[str, Any]) -> dict[str, Any]:
    expanded = row.get("accounts") or [None] * len(row["postings"])
    return {
        "object": "journal_entry",
        "id": ids.show(ids.ENTRY, row["entry_id"]),
        "book_id": ids.show(ids.BOOK, row["book_id"]),
        "value_date": row["value_date"],
        "description": row["description"] or "",
        "reference": row["reference"] or "",
        "metadata": row["metadata"] or {},
        "postings": [
            {
                "account_id": ids.show(ids.ACCOUNT, UUID(account_id)),
                "account_code": code,
                "side": side,
                "amount": amount,
                "currency": currency,
                **({} if of is None else {"account": _account(of)}),
            }
            for (account_id, side, amount, currency), code, of in zip(
                row["postings"], row["codes"], expanded, strict=True
            )
        ],
        "reverses": _shown(ids.ENTRY, row["reverses"]),
        "reversed_by": _shown(ids.ENTRY, row["reversed_by"]),
        "captures": _shown(ids.HOLD, row["captures"]),
        "recipe": row["recipe"],
        "actor": row["actor"],
        "recorded_at": row["recorded_at"],
        "position": row["position"],
    }


def _account(row: dict[str, Any]) -> dict[str, Any]:
    """What does not change of an account, and its status now."""
    return {
        "id": ids.show(ids.ACCOUNT, UUID(row["account_id"])),
        **{name: row[name] for name in ("code", "type", "currency", "status")},
        "title": row["title"] or "",
        "metadata": row["metadata"] or {},
    }


def _lines(entry: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
    """One for each posting, with its entry's own."""
    return ({**entry, **posting, "line": line} for line, posting in enumerate(entry["postings"], start=1))


COLUMNS: Final = (
    "position",
    "recorded_at",
    "value_date",
    "id",
    "book_id",
    "line",
    "account_id",
    "account_code",
    "side",
    "amount",
    "amount_decimal",
    "currency",
    "description",
    "reference",
    "metadata",
    "reverses",
    "reversed_by",
    "captures",
    "actor",
)
LISTING: Final = Listing(
    "entries", of=[accounts, journal], cursor="entry_id", resource=resource, columns=COLUMNS, lines=_lines
)
DATED: Final = replace(LISTING, query="entries_dated")
OF_ACCOUNT: Final = replace(LISTING, query="entries_of_account")


def _shown(kind: str, thing: UUID | None) -> str | None:
    return None if thing is None else ids.show(kind, thing)


routes: Final = [
    Route("/v1/journal-entries", list_entries, methods=["GET"]),
    Route("/v1/journal-entries/{entry}", read_entry, methods=["GET"]),
]
