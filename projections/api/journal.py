"""Journal entries, read."""

from typing import Any, Final
from uuid import UUID

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from domain import ids
from domain.errors import EntryNotFound
from projections import accounts, journal
from projections.api.accounts import must_exist
from projections.api.answering import Answer, answer, listed, one
from projections.api.parameters import EVENTUAL, AccountId, BookName, EntryId, Page, Read, asked


class EntryList(Page[EntryId]):
    """Journal entries, newest first: of a book, of an account, or all."""

    book: BookName | None = None
    account: AccountId | None = None


class EntryRead(Read):
    """One journal entry."""

    entry: EntryId


async def list_entries(request: Request) -> Response:
    page = asked(request, EntryList)
    query = "entries" if page.account is None else "entries_of_account"
    wanted = {"book": page.book, "account": page.account, **page.window}
    found = await answer(request, query, page, wanted, of=[accounts, journal], key="entry_id")
    if not found.rows:
        await must_exist(request, book=page.book, account=page.account)
        if cursor := page.cursor:
            await _find_entry(request, EVENTUAL, cursor)
    return listed(page, found, resource)


async def read_entry(request: Request) -> Response:
    read = asked(request, EntryRead)
    found = await _find_entry(request, read, read.entry)
    return one(resource(found.rows[0]), found.position)


async def _find_entry(request: Request, read: Read, entry_id: UUID) -> Answer:
    found = await answer(request, "entry", read, {"entry": entry_id}, of=[accounts, journal], key="entry_id")
    if not found.rows:
        raise EntryNotFound(entry_id)
    return found


def resource(row: dict[str, Any]) -> dict[str, Any]:
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
                "account_id": ids.show(ids.ACCOUNT, UUID(posting["account_id"])),
                "account_code": code,
                "side": posting["side"],
                "amount": posting["amount"],
                "currency": posting["currency"],
            }
            for posting, code in zip(row["postings"], row["codes"], strict=True)
        ],
        "reverses": _shown(ids.ENTRY, row["reverses"]),
        "reversed_by": _shown(ids.ENTRY, row["reversed_by"]),
        "captures": _shown(ids.HOLD, row["captures"]),
        "recipe": row["recipe"],
        "actor": row["actor"],
        "recorded_at": row["recorded_at"],
        "position": row["position"],
    }


def _shown(kind: str, thing: UUID | None) -> str | None:
    return None if thing is None else ids.show(kind, thing)


routes: Final = [
    Route("/v1/journal-entries", list_entries, methods=["GET"]),
    Route("/v1/journal-entries/{entry}", read_entry, methods=["GET"]),
]
