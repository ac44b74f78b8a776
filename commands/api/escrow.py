"""POST /v1/escrows, and what is done with one."""

from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from commands.api.asking import asked, changed, created, instant, path_id
from commands.command import Command
from commands.desk import Outcome
from commands.escrow import ApproveRelease, ExpireEscrow, FundEscrow, MeetCondition, ReleaseEscrow, ReturnEscrow
from domain import ids
from domain.errors import EscrowNotFound
from domain.escrow import Escrow, Part


def escrow(outcome: Outcome) -> dict[str, Any]:
    """The escrow as the command left it; amounts in minor units."""
    known = outcome.escrow
    assert known is not None, outcome
    funded, terms = known.funded, known.funded.return_terms
    return {
        "object": "escrow",
        "id": ids.show(ids.ESCROW, known.id),
        "book_id": ids.show(ids.BOOK, funded.book_id),
        "depositor_id": ids.show(ids.ACCOUNT, funded.depositor_id),
        "beneficiary_id": ids.show(ids.ACCOUNT, funded.beneficiary_id),
        "status": known.status.value,
        "amount": funded.amount,
        "released": known.released,
        "returned": known.returned,
        "held": known.held,
        "currency": funded.currency,
        "expires_at": instant(funded.expires_at),
        "on_expiry": funded.on_expiry,
        "conditions": [
            {"name": one.name, "by": list(one.by), "met_by": known.met.get(one.name)} for one in funded.conditions
        ],
        "parts": [_part(known, part) for part in known.parts.values()],
        "return_terms": None if terms is None else {"approvals": terms.approvals, "approvers": list(terms.approvers)},
        "returns": [
            {"approver": approver, "part": one.part, "amount": one.amount} for approver, one in known.returns.items()
        ],
        "maker": known.maker,
        "description": funded.description,
        "reference": funded.reference,
        "metadata": funded.metadata,
        "version": known.version,
        "position": outcome.position,
    }


def _part(known: Escrow, part: Part) -> dict[str, Any]:
    """`blocked` is why it could not be released when it became ready."""
    agreed = part.agreed
    return {
        "name": agreed.name,
        "amount": agreed.amount,
        "released": part.released,
        "returned": part.returned,
        "status": known.status_of(part).value,
        "conditions": list(agreed.release.conditions),
        "approvals": agreed.release.approvals,
        "approvers": list(agreed.release.approvers),
        "approved_by": list(part.approved),
        "blocked": part.blocked or None,
    }


async def post_escrow(request: Request) -> Response:
    funded = escrow(await asked(request, FundEscrow))
    return created(funded, location=f"/v1/escrows/{funded['id']}")


async def post_condition(request: Request) -> Response:
    """Whoever asks says so: that somebody else did is not theirs to say."""
    return await _upon_escrow(request, MeetCondition, {"attester": request.state.context["actor"]})


async def post_approve(request: Request) -> Response:
    """Whoever asks approves."""
    return await _upon_escrow(request, ApproveRelease, {"approver": request.state.context["actor"]})


async def post_release(request: Request) -> Response:
    return await _upon_escrow(request, ReleaseEscrow)


async def post_return(request: Request) -> Response:
    """Whoever asks agrees."""
    return await _upon_escrow(request, ReturnEscrow, {"approver": request.state.context["actor"]})


async def post_expire(request: Request) -> Response:
    return await _upon_escrow(request, ExpireEscrow)


async def _upon_escrow(request: Request, model: type[Command], by_head: Mapping[str, str] | None = None) -> Response:
    escrow_id = path_id(request, "escrow", ids.ESCROW, EscrowNotFound)
    return changed(escrow(await asked(request, model, {"escrow_id": escrow_id, **(by_head or {})})))


routes = [
    Route("/v1/escrows", post_escrow, methods=["POST"]),
    Route("/v1/escrows/{escrow}/conditions", post_condition, methods=["POST"]),
    Route("/v1/escrows/{escrow}/approve", post_approve, methods=["POST"]),
    Route("/v1/escrows/{escrow}/release", post_release, methods=["POST"]),
    Route("/v1/escrows/{escrow}/return", post_return, methods=["POST"]),
    Route("/v1/escrows/{escrow}/expire", post_expire, methods=["POST"]),
]
