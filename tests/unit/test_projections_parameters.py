"""What may be asked of a read."""

from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import pytest
from pydantic import ValidationError
from starlette.requests import Request

from domain import ids
from projections.api.accounts import AccountList, AccountRead, PostingList
from projections.api.audit_trail import AuditList
from projections.api.balances import BalanceList, BalanceRead
from projections.api.journal import EntryList
from projections.api.parameters import Read, asked

BOOK = ids.book_id("main")
CASH = ids.account_id(BOOK, "assets:cash")
ACC = ids.show(ids.ACCOUNT, CASH)


def request(query: str, **path: str) -> Request:
    return Request({"type": "http", "query_string": query.encode(), "path_params": path, "headers": []})


def test_ids_and_codes_are_understood() -> None:
    """
    A book goes by its code or its id, an account by its id.
    """
    by_code = asked(request(f"book=main&starting_after={ACC}&limit=1000"), AccountList)
    by_id = asked(request(f"book={ids.show(ids.BOOK, BOOK)}"), AccountList)

    assert by_code.book == by_id.book == BOOK
    assert by_code.window == {"after": CASH, "before": None, "limit": 1001}
    assert by_id.window == {"after": None, "before": None, "limit": 51}


def test_a_time_to_come_means_now() -> None:
    """
    What will be known is not known yet.
    """
    read = asked(request("at=2999-01-01T00:00:00Z", account=ACC), BalanceRead)

    assert read.at is not None and read.at <= datetime.now(UTC)


@pytest.mark.parametrize(
    ("model", "query"),
    [
        (AccountList, "colour=red"),
        (AccountList, "limit=0"),
        (AccountList, "limit=1001"),
        (AccountList, "limit=1_0"),
        (AccountList, "limit=%D9%A1"),
        (AccountList, "limit=10&limit=20"),
        (AccountList, "limit=10&limit=20&limit=30"),
        (AccountList, "book=a&book=b"),
        (AccountList, "starting_after=book_00000000000000000000000000"),
        (AccountList, "starting_after=acc_1"),
        (AccountList, f"starting_after={ACC}&ending_before={ACC}"),
        (AccountList, "type=money"),
        (AccountList, "currency=euro"),
        (AccountList, "code="),
        (AccountList, "code=%00"),
        (AccountList, "code=" + "a" * 201),
        (AccountList, "consistency=perhaps"),
        (AccountList, "min_position=-1"),
        (AccountList, "min_position=9223372036854775808"),
        (PostingList, f"account={ACC}"),
        (AuditList, "refused=yes"),
        (AuditList, "stream=x_00000000000000000000000000"),
        (AuditList, "stream=a&stream=b"),
        (EntryList, f"starting_after={ACC}"),
        (BalanceList, "position=1&at=2026-01-31T12:00:00Z"),
        (BalanceList, "at=2026-01-31T12:00:00"),
        (BalanceList, "at=1769860800"),
        (BalanceList, "at=2026-01-31"),
        (BalanceList, f"at={quote('31 January 2026')}"),
    ],
)
def test_what_is_not_well_formed_is_refused(model: type[Read], query: str) -> None:
    """
    Unknown parameters, a parameter twice, and values out of shape or range are refused, never guessed at.
    """
    path: dict[str, Any] = {"account": ACC} if model is PostingList else {}

    with pytest.raises(ValidationError):
        asked(request(query, **path), model)


def test_a_path_is_checked_as_a_query_is() -> None:
    """
    An id of another kind in a path is refused.
    """
    with pytest.raises(ValidationError):
        asked(request("", account=ids.show(ids.BOOK, BOOK)), AccountRead)
