"""POST /v1/payments, and what is done with one."""

import re
from collections.abc import Mapping
from typing import Any, Final

from msgspec.structs import replace
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from commands.api.asking import NoSuchId, asked, changed, created, instant, path_id
from commands.command import Command
from commands.desk import Outcome
from commands.payment import (
    AcceptDispute,
    ApprovePayment,
    AttachMethod,
    CancelPayment,
    CapturePayment,
    CheckoutPayment,
    ConfirmPayment,
    ContestDispute,
    CreatePayment,
    IncreaseAuthorization,
    RefundPayment,
    ResolveOutcome,
    RetryPayment,
    ReversePayment,
)
from domain import ids
from domain import payment as rules
from domain.client_secret import HEADER, ClientSecrets
from domain.dispute import Dispute
from domain.errors import DisputeNotFound, PaymentHasNoSuchRequest, PaymentNotFound
from domain.rail import BankAccount, Card, Iban, Method, UpiAddress

WAIT_MAX_S: Final = 30
PAYER: Final = "payer"
"""Who asks at the checkout: nobody who has a name here."""
CHECKOUT: Final = "/v1/payments/{payment}/checkout"
_REQUEST_ID: Final = re.compile(r"[0-9A-Za-z]{22}", re.ASCII)
_WAIT: Final = re.compile(r"(?:^|[,\s])wait=([0-9]{1,4})(?:$|[,;\s])", re.ASCII | re.IGNORECASE)


def payment(outcome: Outcome) -> dict[str, Any]:
    """The payment as the command left it; amounts in minor units."""
    known = outcome.payment
    assert known is not None, outcome
    intent = known.intent
    return {
        "object": "payment",
        "id": ids.show(ids.PAYMENT, known.id),
        "book_id": ids.show(ids.BOOK, intent.book_id),
        "account_id": ids.show(ids.ACCOUNT, intent.account_id),
        "direction": intent.direction,
        "status": known.status.value,
        "action": known.action or None,
        "amount": intent.amount,
        "currency": intent.currency,
        "authorized": known.authorized,
        "captured": known.captured,
        "refunded": known.refunded,
        "reversed": known.reversed,
        "returned": known.returned,
        "disputed": known.disputed,
        "capture": intent.capture,
        "method": None if known.method is None else _method(known.method),
        "requests": [_request(request) for request in known.requests.values()],
        "disputes": [_dispute(dispute) for dispute in known.disputes.values()],
        "approvals_required": intent.approvals,
        "approvals_given": len(known.approvers),
        "approvers": list(intent.approvers),
        "expires_at": None if intent.expires_at is None else instant(intent.expires_at),
        "lapses_at": None if intent.lapses_at is None else instant(intent.lapses_at),
        "description": intent.description,
        "reference": intent.reference,
        "descriptor": intent.descriptor,
        "metadata": intent.metadata,
        "version": known.version,
        "position": outcome.position,
    }


def checkout(outcome: Outcome) -> dict[str, Any]:
    """As much of the payment as its payer may see."""
    known = outcome.payment
    assert known is not None, outcome
    due_at, attempt = rules.due_at(known), known.attempt
    return {
        "object": "checkout",
        "id": ids.show(ids.PAYMENT, known.id),
        "status": known.status.value,
        "amount": known.intent.amount,
        "currency": known.intent.currency,
        "description": known.intent.description,
        "action": known.action or None,
        "declined": rules.told_to_payer(attempt.declined if attempt is not None else ""),
        "expires_at": None if due_at is None else instant(due_at),
    }


def _method(method: Method) -> dict[str, Any]:
    """What it is paid with; of the number of a bank account, an IBAN among them, the last four characters alone."""
    match method:
        case Card(token=token, brand=brand, last4=last4, expires=expires):
            return {"type": "card", "token": token, "brand": brand, "last4": last4, "expires": expires}
        case BankAccount():
            return {
                "type": "bank_account",
                "routing_number": method.routing_number,
                "last4": method.account_number[-4:],
                "holder": method.holder,
                "savings": method.savings,
                "company": method.company,
            }
        case Iban():
            return {
                "type": "iban",
                "bic": method.bic,
                "last4": method.iban[-4:],
                "holder": method.holder,
                "country": method.country,
            }
        case UpiAddress(vpa=vpa, holder=holder, flow=flow):
            return {"type": "upi", "vpa": vpa, "holder": holder, "flow": flow}


def _request(request: rules.Request) -> dict[str, Any]:
    """One operation that a rail was, or is about to be, asked; `reference` is the rail's own, once it has given one."""
    return {
        "id": request.id,
        "operation": request.operation.value,
        "rail": request.rail.value,
        "route": request.route,
        "amount": request.amount,
        "state": request.state.value,
        "reference": request.reference,
        "upon": request.upon or None,
        "reason": request.reason,
        "settlement_id": None if request.settlement_id is None else ids.show(ids.SETTLEMENT, request.settlement_id),
        "settled_on": None if request.settled_on is None else request.settled_on.isoformat(),
        "returned": request.returned,
        "fee": request.fee,
        "dispute_id": None if request.dispute_id is None else ids.show(ids.DISPUTE, request.dispute_id),
    }


def _dispute(dispute: Dispute) -> dict[str, Any]:
    return {
        "id": ids.show(ids.DISPUTE, dispute.id),
        "request_id": dispute.request_id,
        "state": dispute.state.value,
        "amount": dispute.amount,
        "reference": dispute.reference,
        "respond_by": None if dispute.respond_by is None else instant(dispute.respond_by),
    }


async def post_payment(request: Request) -> Response:
    outcome = await asked(request, CreatePayment)
    answer = with_secret(request, payment(await _carried(request, outcome)), outcome)
    response = created(answer, location=f"/v1/payments/{_id(outcome)}")
    return _with_preference(request, response)


def with_secret(request: Request, answer: dict[str, Any], outcome: Outcome) -> dict[str, Any]:
    """What whoever creates a payment is answered: with what they hand on to its payer. Of a payout nobody gets one."""
    known = outcome.payment
    assert known is not None, outcome
    secret = request.state.client_secrets.of(known.id) if known.intent.direction == "in" else None
    return answer | {"client_secret": secret}


async def post_method(request: Request) -> Response:
    return await _upon_payment(request, AttachMethod)


async def post_confirm(request: Request) -> Response:
    return await _upon_payment(request, ConfirmPayment)


async def post_retry(request: Request) -> Response:
    return await _upon_payment(request, RetryPayment)


async def post_approve(request: Request) -> Response:
    """Whoever asks approves: that somebody else did is not theirs to say."""
    return await _upon_payment(request, ApprovePayment, {"approver": request.state.context["actor"]})


async def post_increase(request: Request) -> Response:
    return await _upon_payment(request, IncreaseAuthorization)


async def post_capture(request: Request) -> Response:
    return await _upon_payment(request, CapturePayment)


async def post_cancel(request: Request) -> Response:
    return await _upon_payment(request, CancelPayment)


async def post_refund(request: Request) -> Response:
    return await _upon_payment(request, RefundPayment)


async def post_checkout(request: Request) -> Response:
    """What a payer asks: of whoever has not the payment's secret nothing is looked at."""
    secrets: ClientSecrets = request.state.client_secrets
    payment_id = secrets.payment_opened(request.path_params["payment"], by=request.headers.getlist(HEADER))
    outcome = await _carried(request, await asked(request, CheckoutPayment, {"payment_id": payment_id}))
    return _with_preference(request, changed(checkout(outcome)))


async def post_reverse(request: Request) -> Response:
    return await _upon_payment(request, ReversePayment)


async def post_contest(request: Request) -> Response:
    return await _upon_dispute(request, ContestDispute)


async def post_accept(request: Request) -> Response:
    return await _upon_dispute(request, AcceptDispute)


async def _upon_dispute(request: Request, model: type[Command]) -> Response:
    dispute_id = path_id(request, "dispute", ids.DISPUTE, DisputeNotFound)
    return await _upon_payment(request, model, {"dispute_id": dispute_id})


async def post_resolve(request: Request) -> Response:
    request_id = request.path_params["request"]
    if not _REQUEST_ID.fullmatch(request_id):
        raise NoSuchId(PaymentHasNoSuchRequest)
    return await _upon_payment(request, ResolveOutcome, {"request_id": request_id})


async def _upon_payment(request: Request, model: type[Command], named: Mapping[str, Any] | None = None) -> Response:
    """`named` is what else path and head say of the command."""
    payment_id = path_id(request, "payment", ids.PAYMENT, PaymentNotFound)
    outcome = await asked(request, model, {"payment_id": payment_id, **(named or {})})
    return _with_preference(request, changed(payment(await _carried(request, outcome))))


async def _carried(request: Request, outcome: Outcome) -> Outcome:
    """As the command left it; for who prefers to wait, as it is once rails have answered, or as far as it got."""
    seconds = _wait(request)
    if not seconds or outcome.payment is None:
        return outcome
    later = await request.state.paying.carried(outcome.payment.id, seconds)
    return outcome if later is None else replace(outcome, payment=later)


def _wait(request: Request) -> int:
    """How many seconds the client prefers to wait. Source: RFC 7240, section 4.3."""
    match = _WAIT.search(request.headers.get("prefer", ""))
    if match is None or request.state.paying is None or request.state.dry:
        return 0
    return min(int(match[1]), WAIT_MAX_S)


def _with_preference(request: Request, response: Response) -> Response:
    if seconds := _wait(request):
        response.headers["Preference-Applied"] = f"wait={seconds}"
    return response


def _id(outcome: Outcome) -> str:
    assert outcome.payment is not None, outcome
    return ids.show(ids.PAYMENT, outcome.payment.id)


routes = [
    Route("/v1/payments", post_payment, methods=["POST"]),
    Route("/v1/payments/{payment}/method", post_method, methods=["POST"]),
    Route("/v1/payments/{payment}/confirm", post_confirm, methods=["POST"]),
    Route(CHECKOUT, post_checkout, methods=["POST"]),
    Route("/v1/payments/{payment}/retry", post_retry, methods=["POST"]),
    Route("/v1/payments/{payment}/approve", post_approve, methods=["POST"]),
    Route("/v1/payments/{payment}/increase", post_increase, methods=["POST"]),
    Route("/v1/payments/{payment}/capture", post_capture, methods=["POST"]),
    Route("/v1/payments/{payment}/cancel", post_cancel, methods=["POST"]),
    Route("/v1/payments/{payment}/refund", post_refund, methods=["POST"]),
    Route("/v1/payments/{payment}/reverse", post_reverse, methods=["POST"]),
    Route("/v1/payments/{payment}/disputes/{dispute}/contest", post_contest, methods=["POST"]),
    Route("/v1/payments/{payment}/disputes/{dispute}/accept", post_accept, methods=["POST"]),
    Route("/v1/payments/{payment}/requests/{request}/resolve", post_resolve, methods=["POST"]),
]
