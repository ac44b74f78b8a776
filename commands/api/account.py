"""POST /v1/accounts, and what is asked of one account."""

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from commands.account import ChangeLimits, CloseAccount, FreezeAccount, OpenAccount, UnfreezeAccount
from commands.api.asking import asked, changed, created, instant, path_id
from commands.command import Command
from commands.desk import Outcome
from domain import ids
from domain.errors import AccountNotFound


def account(outcome: Outcome) -> dict[str, Any]:
    """The account as the command left it; limits in minor units, on the normal side."""
    known = outcome.account
    assert known is not None, outcome
    limits = known.limits_at(outcome.recorded[0].recorded_at)
    return {
        "object": "account",
        "id": ids.show(ids.ACCOUNT, known.id),
        "book_id": ids.show(ids.BOOK, known.book_id),
        "code": known.code,
        "type": known.type.value,
        "normal_side": known.type.normal_side.value,
        "currency": known.currency,
        "overdraft_limit": limits.overdraft_limit,
        "floor": limits.floor,
        "ceiling": limits.ceiling,
        "limits_to_come": [
            {
                "effective_at": instant(change.effective_at),
                "overdraft_limit": change.overdraft_limit,
                "floor": change.floor,
                "ceiling": change.ceiling,
            }
            for change in known.limits
            if change.effective_at is not None and change.effective_at > outcome.recorded[0].recorded_at
        ],
        "title": known.title,
        "opened_on": known.opened_on.isoformat(),
        "metadata": known.metadata,
        "status": known.status.value,
        "version": known.version,
        "position": outcome.position,
    }


async def post_account(request: Request) -> Response:
    opened = account(await asked(request, OpenAccount))
    return created(opened, location=f"/v1/accounts/{opened['id']}")


async def post_freeze(request: Request) -> Response:
    return await _upon_account(request, FreezeAccount)


async def post_unfreeze(request: Request) -> Response:
    return await _upon_account(request, UnfreezeAccount)


async def post_limits(request: Request) -> Response:
    return await _upon_account(request, ChangeLimits)


async def post_close(request: Request) -> Response:
    return await _upon_account(request, CloseAccount)


async def _upon_account(request: Request, model: type[Command]) -> Response:
    account_id = path_id(request, "account", ids.ACCOUNT, AccountNotFound)
    return changed(account(await asked(request, model, {"account_id": account_id})))


routes = [
    Route("/v1/accounts", post_account, methods=["POST"]),
    Route("/v1/accounts/{account}/freeze", post_freeze, methods=["POST"]),
    Route("/v1/accounts/{account}/unfreeze", post_unfreeze, methods=["POST"]),
    Route("/v1/accounts/{account}/limits", post_limits, methods=["POST"]),
    Route("/v1/accounts/{account}/close", post_close, methods=["POST"]),
]
