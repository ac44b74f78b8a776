"""Every operation of the API: what validates it, what it answers, which refusals it can meet, and an example that runs.

The examples, sent in this order to an empty Daybook, all succeed, but for those that say what they are refused for:
ids follow from codes and Idempotency-Keys.
"""

from collections.abc import Mapping
from datetime import date
from typing import Any, Final
from uuid import UUID

from msgspec import Struct
from pydantic import BaseModel

from adapters.client import resources
from adapters.web import qr
from adapters.web.consensus import ToValidate
from adapters.web.rails import DecideRoute, OverrideBreaker
from adapters.web.upi import UpiAddressRead
from commands.account import ChangeLimits, CloseAccount, FreezeAccount, OpenAccount, UnfreezeAccount
from commands.batch import PostBatch
from commands.book import OpenBook
from commands.command import Command
from commands.escrow import ApproveRelease, ExpireEscrow, FundEscrow, MeetCondition, ReleaseEscrow, ReturnEscrow
from commands.hold import CaptureHold, ExpireHold, IncreaseHold, PlaceHold, VoidHold
from commands.journal import PostEntry, ReverseEntry
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
from commands.policy import SetPaymentPolicy
from commands.settlement import RecordSettlement
from domain import errors, ids
from domain.errors import Refusal
from projections.api.accounts import AccountList, AccountRead, PostingList
from projections.api.audit_trail import AuditList
from projections.api.balances import BalanceList, BalanceRead
from projections.api.books import BookList, BookRead
from projections.api.checkout import CheckoutRead
from projections.api.disputes import DisputeList, DisputeRead
from projections.api.escrows import EscrowList, EscrowRead
from projections.api.events import EventList
from projections.api.holds import HoldList, HoldRead
from projections.api.journal import EntryList, EntryRead
from projections.api.operations import KINDS, Kind, OperationList, OperationRead
from projections.api.payments import PaymentList, PaymentRead
from projections.api.policies import PaymentPolicyRead
from projections.api.reports import BalanceSheetRead, IncomeStatementRead, RollUpRead, TrialBalanceRead
from projections.api.settlements import SettlementList, SettlementRead

Refusals = frozenset[type[Refusal]]

_TAKING: Final[Refusals] = frozenset(
    {
        errors.AccountIsFrozen,
        errors.AccountIsClosed,
        errors.InsufficientFunds,
        errors.CeilingExceeded,
        errors.TotalTooLarge,
    }
)
"""Of whatever posts to accounts or sets aside on them."""
_KEEPING: Final[Refusals] = frozenset({errors.AccountNotFound, errors.AccountCodeReserved, errors.AccountIsClosed})
"""Of whatever changes an account itself."""
_POSTING: Final[Refusals] = _TAKING | {errors.AccountNotFound, errors.AccountHoldsEscrows, errors.CurrencyMismatch}
_OF_HOLD: Final[Refusals] = frozenset({errors.HoldNotFound, errors.HoldEnded, errors.HoldOfPayment})
_OF_ESCROW: Final[Refusals] = frozenset({errors.EscrowNotFound, errors.EscrowEnded, errors.EscrowIsExpired})
_OF_PART: Final[Refusals] = _OF_ESCROW | {errors.EscrowPartNotFound, errors.EscrowPartEnded}
_APPROVING: Final[Refusals] = _OF_PART | {
    errors.EscrowApproverIsMaker,
    errors.EscrowApproverUnfit,
    errors.EscrowApprovedBefore,
}
_OF_PAYMENT: Final[Refusals] = frozenset({errors.PaymentNotFound, errors.PaymentStatusForbids})
_OF_RAIL: Final[Refusals] = _OF_PAYMENT | {errors.PaymentOutcomeIsUnknown, errors.PaymentBusy}
"""Of whatever a rail is asked next, which waits until it has answered."""
_OF_DISPUTE: Final[Refusals] = frozenset(
    {errors.PaymentNotFound, errors.DisputeNotFound, errors.DisputeStateForbids, errors.PaymentBusy}
)

COMMANDS: Final[dict[type[Command], Refusals]] = {
    OpenBook: frozenset({errors.BookCodeTaken}),
    SetPaymentPolicy: frozenset({errors.BookNotFound}),
    OpenAccount: frozenset(
        {errors.BookNotFound, errors.AccountCodeReserved, errors.AccountCodeTaken, errors.LimitsContradict}
    ),
    FreezeAccount: _KEEPING | {errors.AccountIsFrozen},
    UnfreezeAccount: frozenset({errors.AccountNotFound, errors.AccountIsClosed, errors.AccountIsNotFrozen}),
    ChangeLimits: _KEEPING | {errors.LimitsContradict, errors.LimitsInPast},
    CloseAccount: _KEEPING | {errors.AccountNotEmpty},
    PostEntry: _POSTING
    | {
        errors.EntryUnbalanced,
        errors.ConditionFailed,
        errors.SourcesInsufficient,
        errors.SourcesDiffer,
        errors.SplitImpossible,
        errors.ConversionTooSmall,
        errors.ExchangeWithinCurrency,
        errors.AmountTooLarge,
    },
    ReverseEntry: _TAKING
    | {errors.EntryNotFound, errors.EntryAlreadyReversed, errors.EntryIsReversal, errors.AccountHoldsEscrows},
    PlaceHold: _POSTING | {errors.HoldToSameAccount, errors.HoldExpiresInPast},
    IncreaseHold: _TAKING | _OF_HOLD | {errors.HoldIsExpired, errors.AmountTooLarge},
    CaptureHold: _TAKING | _OF_HOLD | {errors.HoldIsExpired, errors.CaptureExceedsHold},
    VoidHold: _OF_HOLD | {errors.HoldIsExpired},
    ExpireHold: _OF_HOLD | {errors.HoldIsNotDue},
    FundEscrow: _TAKING
    | {
        errors.AccountNotFound,
        errors.AccountCodeReserved,
        errors.CurrencyMismatch,
        errors.EscrowToSameAccount,
        errors.EscrowExpiresInPast,
    },
    MeetCondition: _OF_ESCROW
    | {errors.EscrowConditionNotFound, errors.EscrowConditionIsMet, errors.EscrowAttesterUnfit},
    ApproveRelease: _APPROVING,
    ReleaseEscrow: _TAKING | _OF_PART | {errors.EscrowNotReady, errors.EscrowAmountExceeded},
    ReturnEscrow: _TAKING | _APPROVING | {errors.EscrowAmountExceeded},
    ExpireEscrow: frozenset({errors.EscrowNotFound, errors.EscrowEnded, errors.EscrowIsNotDue}),
    CreatePayment: frozenset(
        {
            errors.AccountNotFound,
            errors.CurrencyMismatch,
            errors.PaymentExpiresInPast,
            errors.PaymentMethodUnfit,
            errors.PaymentApproversTooFew,
        }
    ),
    AttachMethod: _OF_PAYMENT | {errors.PaymentMethodUnfit},
    ConfirmPayment: _OF_PAYMENT,
    CheckoutPayment: _OF_PAYMENT | {errors.PaymentMethodUnfit},
    RetryPayment: _OF_RAIL,
    ApprovePayment: _OF_PAYMENT
    | {errors.PaymentApproverIsMaker, errors.PaymentApproverNotNamed, errors.PaymentApprovalNotWanted},
    IncreaseAuthorization: _OF_RAIL | {errors.AmountTooLarge},
    CapturePayment: _OF_RAIL | {errors.PaymentAmountExceeded},
    CancelPayment: _OF_RAIL,
    RefundPayment: _TAKING
    | _OF_PAYMENT
    | {errors.PaymentOutcomeIsUnknown, errors.PaymentHasNoSuchRequest, errors.PaymentAmountExceeded},
    ReversePayment: _TAKING
    | _OF_PAYMENT
    | {errors.PaymentOutcomeIsUnknown, errors.PaymentHasNoSuchRequest, errors.PaymentAmountExceeded},
    ContestDispute: _OF_DISPUTE | {errors.DisputeAnswerIsLate, errors.PaymentOutcomeIsUnknown},
    AcceptDispute: _OF_DISPUTE,
    ResolveOutcome: frozenset({errors.PaymentNotFound, errors.PaymentHasNoSuchRequest, errors.PaymentOutcomeNotOpen}),
    RecordSettlement: frozenset(
        {
            errors.BookNotFound,
            errors.SettlementRecordedAlready,
            errors.AmountTooLarge,
            errors.AccountIsFrozen,
            errors.AccountIsClosed,
            errors.TotalTooLarge,
        }
    ),
    PostBatch: frozenset({errors.BatchRefused}),
}
"""What each command can be refused for."""


class Example(Struct, frozen=True, kw_only=True):
    """One request. A command's key is its Idempotency-Key; a read without a path parameter needs no example.

    `actor`: who is to ask, where it may not be who asked before. `refused`: the code of what it is refused for.
    """

    key: str = ""
    actor: str = ""
    refused: str = ""
    body: Mapping[str, Any] | None = None
    path: Mapping[str, str] = {}
    query: Mapping[str, str] = {}


class Operation(Struct, frozen=True, kw_only=True):
    """One method of one path. `model` is what validates: the command, or the parameters of a read."""

    id: str
    method: str
    path: str
    tag: str
    summary: str
    answers: Any
    status: int = 200
    model: type[BaseModel] | None = None
    refusals: Refusals = frozenset()
    examples: Mapping[str, Example] = {}
    media: str = "application/json"
    other_media: tuple[str, ...] = ()
    """What the Accept header can ask for instead."""
    also: Mapping[int, str] = {}
    """Other statuses of the same shape, and what they mean."""
    waits: bool = False
    """Whether it is a read that may have to wait for the read models."""
    by_actor: str = ""
    """The command's field that is its request's actor, and so is not asked for in the body."""
    sets: type[BaseModel] | None = None
    """The body of what changes something that is not in the ledger, and so needs no key; `model` is None then."""
    by_secret: bool = False
    """Whether whoever asks is known by a payment's client secret alone."""
    errors: tuple[str, ...] = ()
    """Codes that it alone can answer with, and are no refusals."""

    @property
    def command(self) -> type[Command] | None:
        return self.model if self.model is not None and issubclass(self.model, Command) else None


def _command(
    id: str,
    path: str,
    model: type[Command],
    tag: str,
    summary: str,
    answers: Any,
    status: int,
    by_actor: str = "",
    by_secret: bool = False,
    **examples: Example,
) -> Operation:
    return Operation(
        id=id,
        method="post",
        path=path,
        tag=tag,
        summary=summary,
        model=model,
        answers=answers,
        status=status,
        refusals=COMMANDS[model],
        by_actor=by_actor,
        by_secret=by_secret,
        examples=examples,
    )


def _read(
    id: str, path: str, model: type[BaseModel], tag: str, answers: Any, *refusals: type[Refusal], **examples: Example
) -> Operation:
    said = (model.__doc__ or "").strip().splitlines()[0]
    return Operation(
        id=id,
        method="get",
        path=path,
        tag=tag,
        summary=said.rstrip("."),
        model=model,
        answers=answers,
        refusals=frozenset(refusals),
        examples=examples or {"all": Example()},
        waits=True,
    )


def _operations(kind: Kind) -> list[Operation]:
    """The list of a kind and one of it; when these examples are sent no rail has been asked for anything."""
    return [
        Operation(
            id=f"list_{kind.name}",
            method="get",
            path=f"/v1/{kind.name}",
            tag="Payments",
            summary=f"{kind.name.capitalize()} of all payments, newest first",
            model=OperationList,
            answers=resources.Page[resources.Operation],
            refusals=frozenset({errors.BookNotFound, errors.AccountNotFound, errors.OperationNotFound}),
            examples={"shop": Example(query={"book": "shop"}), "failed": Example(query={"state": "failed"})},
            waits=True,
        ),
        Operation(
            id=f"read_{kind.single}",
            method="get",
            path=f"/v1/{kind.name}/{{request}}",
            tag="Payments",
            summary=f"One {kind.single}, by its request id",
            model=OperationRead,
            answers=resources.Operation,
            refusals=frozenset({errors.OperationNotFound}),
            examples={"one": Example(path={"request": "0" * 22}, refused=errors.OperationNotFound.code)},
            waits=True,
        ),
    ]


_BOOK: Final = ids.book_id("shop")


def _account(code: str) -> str:
    return ids.show(ids.ACCOUNT, ids.account_id(_BOOK, code))


def _made(prefix: str, kind: str, key: str, scope: UUID = _BOOK) -> str:
    return ids.show(prefix, ids.command_id(scope, kind, key))


def _opening(code: str, type: str, currency: str = "EUR", **said: Any) -> Example:
    body = {"book": "shop", "code": code, "type": type, "currency": currency, **said}
    return Example(key=f"open-{code}", body=body)


def _posting(account: str, side: str, amount: int, **conditions: Any) -> dict[str, Any]:
    return {"account": account, "side": side, "amount": amount, "currency": "EUR", **conditions}


def _hold(key: str, amount: int, **said: Any) -> Example:
    body = {
        "book": "shop",
        "account": "assets:bank",
        "destination": "expenses:goods",
        "amount": amount,
        "currency": "EUR",
        **said,
    }
    return Example(key=key, body=body)


def _escrow(key: str, *parts: dict[str, Any], **said: Any) -> Example:
    body = {
        "book": "shop",
        "depositor": "liabilities:buyer",
        "beneficiary": "liabilities:seller",
        "amount": sum(part["amount"] for part in parts),
        "currency": "EUR",
        "expires_at": _UNTIL,
        "parts": list(parts),
        **said,
    }
    return Example(key=key, body=body)


def _payment(key: str, account: str, amount: int, **said: Any) -> Example:
    return Example(key=key, body={"book": "shop", "account": account, "amount": amount, "currency": "EUR", **said})


def _upon(key: str, **said: Any) -> Example:
    """Upon what a rail has to promise or take first, which it has not yet when these examples are sent."""
    return Example(key=key, path=_BASKET, body=said, refused=errors.PaymentStatusForbids.code)


def _unheard_of(key: str, refused: str, path: Mapping[str, str], **said: Any) -> Example:
    """Upon what no rail has done, or said, when these examples are sent."""
    return Example(key=key, path={**_BASKET, **path}, body=said, refused=refused)


def _overriding(path: Mapping[str, str], **said: Any) -> Example:
    """Of a process with rails; the one that these examples are sent to has none."""
    return Example(path=path, body=said, refused="rail_not_found")


_CARD: Final = {"type": "card", "token": "tok_visa", "brand": "visa", "last4": "4242", "expires": "2030-12"}
_TAX_OFFICE: Final = {
    "type": "iban",
    "iban": "DE89370400440532013000",
    "bic": "COBADEFFXXX",
    "holder": "Tax office",
    "country": "DE",
}
_BANK: Final = {"account": _account("assets:bank")}
_DRAWER: Final = {"account": _account("assets:drawer")}
_SALE: Final = {"entry": _made(ids.ENTRY, "post_entry", "sale-1")}
_SPLIT: Final = {"entry": _made(ids.ENTRY, "post_entry", "bill-1")}
_ORDER: Final = {"hold": _made(ids.HOLD, "place_hold", "order-1")}
_OFFER: Final = {"hold": _made(ids.HOLD, "place_hold", "order-2")}
_HOUSE: Final = {"escrow": _made(ids.ESCROW, "fund_escrow", "house-1")}
_BIKE: Final = {"escrow": _made(ids.ESCROW, "fund_escrow", "bike-1")}
_INVOICE: Final = {"payment": _made(ids.PAYMENT, "create_payment", "invoice-1")}
_BASKET: Final = {"payment": _made(ids.PAYMENT, "create_payment", "basket-1")}
_TAX: Final = {"payment": _made(ids.PAYMENT, "create_payment", "tax-1")}
_SECOND_THOUGHT: Final = {"payment": _made(ids.PAYMENT, "create_payment", "basket-2")}
_DISPUTE: Final = {"dispute": ids.show(ids.DISPUTE, ids.dispute_id(UUID(int=0), "case-77"))}
_NO_DISPUTE: Final = errors.DisputeNotFound.code
_DAY: Final = date(2026, 1, 30)
_SETTLED: Final = {
    "settlement": ids.show(ids.SETTLEMENT, ids.settlement_id(_BOOK, "card", "acquirer-1", _DAY, "EUR", 1))
}
_ACQUIRER: Final = {"rail": "card", "route": "acquirer-1"}
_SHOP: Final = Example(query={"book": "shop"})
_UNTIL: Final = "2999-01-01T00:00:00Z"

OPERATIONS: Final[list[Operation]] = [
    _command(
        "open_book",
        "/v1/books",
        OpenBook,
        "Books",
        "Open a book",
        resources.OpenedBook,
        201,
        shop=Example(key="open-shop", body={"code": "shop", "title": "A small shop", "metadata": {"owner": "me"}}),
    ),
    _command(
        "set_payment_policy",
        "/v1/books/{book}/payment-policy",
        SetPaymentPolicy,
        "Books",
        "Set the policy for a book's payments",
        resources.PaymentPolicy,
        200,
        shop=Example(
            key="shop-policy-1",
            path={"book": "shop"},
            body={
                "approvals": [
                    {"currency": "EUR", "above": 100_000, "approvals": 2, "approvers": ["ann", "bob", "cleo"]},
                ],
                "limits": [{"currency": "EUR", "direction": "out", "method": "iban", "amount_max": 5_000_000}],
                "rule": {"mode": "all", "required": ["sanctions"]},
            },
        ),
        quorum=Example(
            key="shop-policy-2",
            path={"book": "shop"},
            body={"rule": {"mode": "at_least", "count": 5, "required": ["limits", "sanctions"]}},
        ),
    ),
    _command(
        "open_account",
        "/v1/accounts",
        OpenAccount,
        "Accounts",
        "Open an account",
        resources.ChangedAccount,
        201,
        bank=_opening("assets:bank", "asset", title="Current account", ceiling=100_000_000),
        drawer=_opening("assets:drawer", "asset"),
        dollars=_opening("assets:usd", "asset", "USD"),
        sales=_opening("revenue:sales", "revenue", overdraft_limit=None),
        goods=_opening("expenses:goods", "expense", overdraft_limit=None),
        tax=_opening("liabilities:tax", "liability", overdraft_limit=None),
        buyer=_opening("liabilities:buyer", "liability", overdraft_limit=50_000_00),
        seller=_opening("liabilities:seller", "liability", overdraft_limit=None),
        position=_opening("equity:fx:eur", "equity", overdraft_limit=None),
        dollar_position=_opening("equity:fx:usd", "equity", "USD", overdraft_limit=None),
    ),
    _command(
        "post_entry",
        "/v1/journal-entries",
        PostEntry,
        "Journal entries",
        "Post a journal entry",
        resources.PostedEntry,
        201,
        postings=Example(
            key="sale-1",
            body={
                "book": "shop",
                "description": "Coffee sold",
                "reference": "till-7/0042",
                "value_date": "2026-01-31",
                "metadata": {"till": "7"},
                "postings": [
                    _posting("assets:bank", "debit", 119_00),
                    _posting("revenue:sales", "credit", 100_00),
                    _posting("liabilities:tax", "credit", 19_00),
                ],
            },
        ),
        condition=Example(
            key="purchase-1",
            body={
                "book": "shop",
                "description": "Only if enough is left",
                "postings": [
                    _posting("expenses:goods", "debit", 10_00),
                    _posting("assets:bank", "credit", 10_00, if_available_at_least=50_00),
                ],
            },
        ),
        split=Example(
            key="bill-1",
            body={
                "book": "shop",
                "description": "A bill, shared",
                "split": {
                    "amount": 10_00,
                    "currency": "EUR",
                    "sources": [{"account": "assets:drawer", "maximum": 5_00}, {"account": "assets:bank"}],
                    "destinations": [{"account": "liabilities:tax", "share": "1/3"}, {"account": "expenses:goods"}],
                },
            },
        ),
        exchange=Example(
            key="exchange-1",
            body={
                "book": "shop",
                "description": "Dollars bought",
                "exchange": {
                    "source": {"account": "assets:bank", "position_account": "equity:fx:eur"},
                    "destination": {"account": "assets:usd", "position_account": "equity:fx:usd"},
                    "amount": 10_00,
                    "rate": "1.0842",
                    "rate_source": "ECB reference rate",
                },
            },
        ),
    ),
    _command(
        "reverse_entry",
        "/v1/journal-entries/{entry}/reverse",
        ReverseEntry,
        "Journal entries",
        "Reverse a journal entry",
        resources.PostedEntry,
        201,
        bill=Example(key="bill-1-reversed", path=_SPLIT, body={"value_date": "original", "description": "A mistake"}),
    ),
    _command(
        "place_hold",
        "/v1/holds",
        PlaceHold,
        "Holds",
        "Place a hold",
        resources.ChangedHold,
        201,
        order=_hold("order-1", 20_00, description="Order 1", expires_at=_UNTIL),
        offer=_hold("order-2", 5_00, reference="order-2"),
    ),
    _command(
        "increase_hold",
        "/v1/holds/{hold}/increase",
        IncreaseHold,
        "Holds",
        "Increase a hold",
        resources.ChangedHold,
        200,
        more=Example(key="order-1-more", path=_ORDER, body={"amount": 5_00}),
    ),
    _command(
        "capture_hold",
        "/v1/holds/{hold}/capture",
        CaptureHold,
        "Holds",
        "Capture a hold, in part or whole",
        resources.PostedEntry,
        201,
        part=Example(key="order-1-shipped", path=_ORDER, body={"amount": 12_00, "description": "Shipped in part"}),
        rest=Example(key="order-1-done", path=_ORDER, body={"amount": 8_00, "final": True}),
    ),
    _command(
        "void_hold",
        "/v1/holds/{hold}/void",
        VoidHold,
        "Holds",
        "Void a hold",
        resources.ChangedHold,
        200,
        canceled=Example(key="order-2-canceled", path=_OFFER, body={"reason": "Canceled"}),
    ),
    _command(
        "expire_hold",
        "/v1/holds/{hold}/expire",
        ExpireHold,
        "Holds",
        "Expire a hold that is due",
        resources.ChangedHold,
        200,
    ),
    _command(
        "fund_escrow",
        "/v1/escrows",
        FundEscrow,
        "Escrows",
        "Set money apart for somebody, in parts",
        resources.ChangedEscrow,
        201,
        house=_escrow(
            "house-1",
            {
                "name": "deposit",
                "amount": 2_000_00,
                "release": {"conditions": ["keys"], "approvals": 1, "approvers": ["cleo", "dana"]},
            },
            {"name": "rest", "amount": 18_000_00, "release": {"approvals": 2, "approvers": ["cleo", "dana", "erin"]}},
            conditions=[{"name": "keys", "by": ["agent"]}],
            description="Garden house",
            metadata={"contract": "7"},
        ),
        bike=_escrow(
            "bike-1",
            {"name": "bike", "amount": 300_00, "release": {"conditions": ["delivered"]}},
            conditions=[{"name": "delivered"}],
            return_terms={"approvals": 1, "approvers": ["seller"]},
            on_expiry="release",
            reference="bike-1",
        ),
    ),
    _command(
        "meet_condition",
        "/v1/escrows/{escrow}/conditions",
        MeetCondition,
        "Escrows",
        "Say that a condition is met",
        resources.ChangedEscrow,
        200,
        by_actor="attester",
        keys=Example(
            key="house-1-keys",
            actor="agent",
            path=_HOUSE,
            body={"condition": "keys", "evidence": "Handed over at noon"},
        ),
    ),
    _command(
        "approve_release",
        "/v1/escrows/{escrow}/approve",
        ApproveRelease,
        "Escrows",
        "Approve the release of a part",
        resources.ChangedEscrow,
        200,
        by_actor="approver",
        deposit=Example(key="house-1-deposit", actor="cleo", path=_HOUSE, body={"part": "deposit"}),
        rest=Example(key="house-1-rest", actor="dana", path=_HOUSE, body={"part": "rest"}),
    ),
    _command(
        "release_escrow",
        "/v1/escrows/{escrow}/release",
        ReleaseEscrow,
        "Escrows",
        "Release what is ready and could not be released at once",
        resources.ChangedEscrow,
        200,
        early=Example(key="house-1-early", path=_HOUSE, body={"part": "rest"}, refused=errors.EscrowNotReady.code),
    ),
    _command(
        "return_escrow",
        "/v1/escrows/{escrow}/return",
        ReturnEscrow,
        "Escrows",
        "Agree that some or all of it goes back",
        resources.ChangedEscrow,
        200,
        by_actor="approver",
        part=Example(
            key="bike-1-discount",
            actor="seller",
            path=_BIKE,
            body={"part": "bike", "amount": 50_00, "reason": "A scratch"},
        ),
        all=Example(key="bike-1-back", actor="seller", path=_BIKE, body={"reason": "Sold to somebody else"}),
    ),
    _command(
        "expire_escrow",
        "/v1/escrows/{escrow}/expire",
        ExpireEscrow,
        "Escrows",
        "Expire an escrow that is due",
        resources.ChangedEscrow,
        200,
    ),
    _command(
        "create_payment",
        "/v1/payments",
        CreatePayment,
        "Payments",
        "Create a payment",
        resources.CreatedPayment,
        201,
        intent=_payment("invoice-1", "revenue:sales", 49_90, reference="invoice-1", expires_at=_UNTIL),
        card=_payment("basket-1", "revenue:sales", 30_00, method=_CARD, capture="manual", metadata={"basket": "1"}),
        payout=_payment(
            "tax-1",
            "liabilities:tax",
            5_00,
            direction="out",
            method=_TAX_OFFICE,
            confirm=True,
            approvals=1,
            descriptor="Tax, January",
        ),
        second_thought=_payment("basket-2", "revenue:sales", 12_00, description="Basket 2"),
    ),
    _command(
        "attach_method",
        "/v1/payments/{payment}/method",
        AttachMethod,
        "Payments",
        "Say what a payment is paid with, or to",
        resources.ChangedPayment,
        200,
        card=Example(key="invoice-1-card", path=_INVOICE, body={"method": _CARD}),
    ),
    _command(
        "confirm_payment",
        "/v1/payments/{payment}/confirm",
        ConfirmPayment,
        "Payments",
        "Confirm a payment",
        resources.ChangedPayment,
        200,
        basket=Example(key="basket-1-confirmed", path=_BASKET, body={}),
    ),
    _command(
        "checkout_payment",
        "/v1/payments/{payment}/checkout",
        CheckoutPayment,
        "Payments",
        "Pay, as the payer",
        resources.Checkout,
        200,
        by_secret=True,
        stranger=Example(key="basket-1-paid", path=_BASKET, body={"method": _CARD}, refused="client_secret_wrong"),
    ),
    _command(
        "retry_payment",
        "/v1/payments/{payment}/retry",
        RetryPayment,
        "Payments",
        "Try a payment again with the method it has",
        resources.ChangedPayment,
        200,
        again=_upon("basket-1-again"),
    ),
    _command(
        "approve_payment",
        "/v1/payments/{payment}/approve",
        ApprovePayment,
        "Payments",
        "Approve a payment that somebody else made",
        resources.ChangedPayment,
        200,
        by_actor="approver",
        tax=Example(key="tax-1-approved", actor="cleo", path=_TAX, body={}),
    ),
    _command(
        "increase_authorization",
        "/v1/payments/{payment}/increase",
        IncreaseAuthorization,
        "Payments",
        "Have more authorized",
        resources.ChangedPayment,
        200,
        more=_upon("basket-1-more", amount=5_00),
    ),
    _command(
        "capture_payment",
        "/v1/payments/{payment}/capture",
        CapturePayment,
        "Payments",
        "Capture a payment, in part or whole",
        resources.ChangedPayment,
        200,
        part=_upon("basket-1-shipped", amount=12_00),
        rest=_upon("basket-1-done", final=True),
    ),
    _command(
        "cancel_payment",
        "/v1/payments/{payment}/cancel",
        CancelPayment,
        "Payments",
        "Cancel a payment",
        resources.ChangedPayment,
        200,
        second_thought=Example(key="basket-2-canceled", path=_SECOND_THOUGHT, body={"reason": "Left behind"}),
    ),
    _command(
        "refund_payment",
        "/v1/payments/{payment}/refund",
        RefundPayment,
        "Payments",
        "Refund a payment, in part or whole",
        resources.ChangedPayment,
        200,
        part=_upon("basket-1-refund", amount=4_00, reason="One was broken"),
    ),
    _command(
        "reverse_payment",
        "/v1/payments/{payment}/reverse",
        ReversePayment,
        "Payments",
        "Reverse a whole capture, collection or payout that should not have been",
        resources.ChangedPayment,
        200,
        twice=_upon("basket-1-reversed", reason="Sent twice"),
    ),
    _command(
        "contest_dispute",
        "/v1/payments/{payment}/disputes/{dispute}/contest",
        ContestDispute,
        "Disputes",
        "Contest a dispute with evidence",
        resources.ChangedPayment,
        200,
        receipt=_unheard_of("case-77-contested", _NO_DISPUTE, _DISPUTE, evidence={"receipt": "Signed for by A. Payer"}),
    ),
    _command(
        "accept_dispute",
        "/v1/payments/{payment}/disputes/{dispute}/accept",
        AcceptDispute,
        "Disputes",
        "Accept a dispute",
        resources.ChangedPayment,
        200,
        theirs=_unheard_of("case-77-accepted", _NO_DISPUTE, _DISPUTE),
    ),
    _command(
        "resolve_outcome",
        "/v1/payments/{payment}/requests/{request}/resolve",
        ResolveOutcome,
        "Payments",
        "Say what became of a request that its rail says nothing of",
        resources.ChangedPayment,
        200,
        found_out=_unheard_of(
            "basket-1-found-out",
            errors.PaymentHasNoSuchRequest.code,
            {"request": ids.request_id(_BOOK)},
            outcome="failed",
            reason="The acquirer's help desk finds nothing",
        ),
    ),
    _command(
        "record_settlement",
        "/v1/settlements",
        RecordSettlement,
        "Settlements",
        "Book what a rail reports of a day",
        resources.Settlement,
        201,
        day=Example(
            key="settled-1",
            body={
                "book": "shop",
                "rail": "card",
                "route": "acquirer-1",
                "day": _DAY.isoformat(),
                "currency": "EUR",
                "reference": "20260130-1",
                "lines": [
                    {
                        "said": "settled",
                        "request_id": "of a payment nobody knows",
                        "operation": "capture",
                        "amount": 12_00,
                        "fee": 24,
                        "reference": "812345678901",
                    }
                ],
            },
        ),
    ),
    _command(
        "freeze_account",
        "/v1/accounts/{account}/freeze",
        FreezeAccount,
        "Accounts",
        "Freeze an account",
        resources.ChangedAccount,
        200,
        drawer=Example(key="freeze-drawer", path=_DRAWER, body={"reason": "The count does not agree"}),
    ),
    _command(
        "unfreeze_account",
        "/v1/accounts/{account}/unfreeze",
        UnfreezeAccount,
        "Accounts",
        "Unfreeze an account",
        resources.ChangedAccount,
        200,
        drawer=Example(key="unfreeze-drawer", path=_DRAWER, body={"reason": "Counted again"}),
    ),
    _command(
        "change_limits",
        "/v1/accounts/{account}/limits",
        ChangeLimits,
        "Accounts",
        "Change an account's limits, now or from a time to come",
        resources.ChangedAccount,
        200,
        now=Example(key="limits-1", path=_BANK, body={"overdraft_limit": 500_00, "ceiling": 200_000_000}),
        later=Example(key="limits-2", path=_BANK, body={"overdraft_limit": 0, "effective_at": _UNTIL}),
    ),
    _command(
        "close_account",
        "/v1/accounts/{account}/close",
        CloseAccount,
        "Accounts",
        "Close an account",
        resources.ChangedAccount,
        200,
        drawer=Example(key="close-drawer", path=_DRAWER, body={"reason": "No longer used"}),
    ),
    _command(
        "post_batch",
        "/v1/batches",
        PostBatch,
        "Batches",
        "Send many commands at once",
        resources.Batch,
        200,
        atomic=Example(
            key="batch-1",
            body={
                "book": "shop",
                "mode": "atomic",
                "commands": [
                    {
                        "command": "open_account",
                        "arguments": {"book": "shop", "code": "assets:till", "type": "asset", "currency": "EUR"},
                    },
                    {
                        "command": "post_entry",
                        "idempotency_key": "sale-2",
                        "arguments": {
                            "book": "shop",
                            "postings": [
                                _posting("assets:till", "debit", 4_50),
                                _posting("revenue:sales", "credit", 4_50),
                            ],
                        },
                    },
                ],
            },
        ),
        independent=Example(
            key="batch-2",
            body={
                "book": "shop",
                "mode": "independent",
                "commands": [
                    {"command": "freeze_account", "arguments": {"account_id": _account("assets:till")}},
                    {"command": "open_book", "arguments": {"code": "shop"}},
                ],
            },
        ),
    ),
    _read("list_books", "/v1/books", BookList, "Books", resources.Page[resources.Book], errors.BookNotFound),
    _read(
        "read_book",
        "/v1/books/{book}",
        BookRead,
        "Books",
        resources.Book,
        errors.BookNotFound,
        shop=Example(path={"book": "shop"}),
    ),
    _read(
        "read_payment_policy",
        "/v1/books/{book}/payment-policy",
        PaymentPolicyRead,
        "Books",
        resources.PaymentPolicy,
        errors.BookNotFound,
        shop=Example(path={"book": "shop"}),
    ),
    _read(
        "list_accounts",
        "/v1/accounts",
        AccountList,
        "Accounts",
        resources.Page[resources.Account],
        errors.BookNotFound,
        errors.AccountNotFound,
        assets=Example(query={"book": "shop", "code_prefix": "assets:", "limit": "2"}),
    ),
    _read(
        "read_account",
        "/v1/accounts/{account}",
        AccountRead,
        "Accounts",
        resources.Account,
        errors.AccountNotFound,
        bank=Example(path=_BANK),
    ),
    _read(
        "list_postings",
        "/v1/accounts/{account}/postings",
        PostingList,
        "Accounts",
        resources.Page[resources.Posting],
        errors.AccountNotFound,
        bank=Example(path=_BANK),
    ),
    _read(
        "read_balance",
        "/v1/accounts/{account}/balance",
        BalanceRead,
        "Balances",
        resources.Balance,
        errors.AccountNotFound,
        now=Example(path=_BANK),
        then=Example(path=_BANK, query={"position": "10"}),
    ),
    _read(
        "list_balances",
        "/v1/balances",
        BalanceList,
        "Balances",
        resources.Page[resources.Balance],
        errors.BookNotFound,
        errors.AccountNotFound,
        shop=_SHOP,
    ),
    _read(
        "list_entries",
        "/v1/journal-entries",
        EntryList,
        "Journal entries",
        resources.Page[resources.Entry],
        errors.BookNotFound,
        errors.AccountNotFound,
        errors.EntryNotFound,
        shop=_SHOP,
    ),
    _read(
        "read_entry",
        "/v1/journal-entries/{entry}",
        EntryRead,
        "Journal entries",
        resources.Entry,
        errors.EntryNotFound,
        sale=Example(path=_SALE),
    ),
    _read(
        "list_holds",
        "/v1/holds",
        HoldList,
        "Holds",
        resources.Page[resources.Hold],
        errors.BookNotFound,
        errors.AccountNotFound,
        errors.HoldNotFound,
        shop=_SHOP,
    ),
    _read(
        "read_hold",
        "/v1/holds/{hold}",
        HoldRead,
        "Holds",
        resources.Hold,
        errors.HoldNotFound,
        order=Example(path=_ORDER),
    ),
    _read(
        "list_escrows",
        "/v1/escrows",
        EscrowList,
        "Escrows",
        resources.Page[resources.Escrow],
        errors.BookNotFound,
        errors.AccountNotFound,
        errors.EscrowNotFound,
        shop=_SHOP,
        mine=Example(query={"waits_for_approver": "erin"}),
    ),
    _read(
        "read_escrow",
        "/v1/escrows/{escrow}",
        EscrowRead,
        "Escrows",
        resources.EscrowStory,
        errors.EscrowNotFound,
        house=Example(path=_HOUSE),
    ),
    _read(
        "list_payments",
        "/v1/payments",
        PaymentList,
        "Payments",
        resources.Page[resources.Payment],
        errors.BookNotFound,
        errors.AccountNotFound,
        errors.PaymentNotFound,
        shop=_SHOP,
        waiting=Example(query={"request_state": "unknown"}),
        attention=Example(query={"needs_attention": "true"}),
    ),
    _read(
        "read_payment",
        "/v1/payments/{payment}",
        PaymentRead,
        "Payments",
        resources.PaymentStory,
        errors.PaymentNotFound,
        basket=Example(path=_BASKET),
    ),
    Operation(
        id="read_checkout",
        method="get",
        path="/v1/payments/{payment}/checkout",
        tag="Payments",
        summary="One payment, as its payer may see it",
        model=CheckoutRead,
        answers=resources.Checkout,
        refusals=frozenset({errors.PaymentNotFound}),
        waits=True,
        by_secret=True,
        examples={"stranger": Example(path=_BASKET, refused="client_secret_wrong")},
    ),
    *(operation for kind in KINDS for operation in _operations(kind)),
    Operation(
        id="read_qr",
        method="get",
        path="/v1/payments/{payment}/qr.svg",
        tag="Payments",
        summary="The link that a payer has to open, as a QR code",
        model=PaymentRead,
        answers=str,
        media=qr.MEDIA_TYPE,
        refusals=frozenset({errors.PaymentNotFound}),
        errors=("payment_wants_no_link_opened",),
        waits=True,
        examples={"card": Example(path=_BASKET, refused="payment_wants_no_link_opened")},
    ),
    Operation(
        id="read_checkout_qr",
        method="get",
        path="/v1/payments/{payment}/checkout/qr.svg",
        tag="Payments",
        summary="The same, for the payer",
        model=CheckoutRead,
        answers=str,
        media=qr.MEDIA_TYPE,
        refusals=frozenset({errors.PaymentNotFound}),
        errors=("payment_wants_no_link_opened",),
        waits=True,
        by_secret=True,
        examples={"stranger": Example(path=_BASKET, refused="client_secret_wrong")},
    ),
    _read(
        "list_settlements",
        "/v1/settlements",
        SettlementList,
        "Settlements",
        resources.Page[resources.Settlement],
        errors.BookNotFound,
        errors.SettlementNotFound,
        shop=_SHOP,
        broken=Example(query={"broken": "true"}),
    ),
    _read(
        "read_settlement",
        "/v1/settlements/{settlement}",
        SettlementRead,
        "Settlements",
        resources.SettlementStory,
        errors.SettlementNotFound,
        day=Example(path=_SETTLED),
    ),
    _read(
        "list_disputes",
        "/v1/disputes",
        DisputeList,
        "Disputes",
        resources.Page[resources.Dispute],
        errors.BookNotFound,
        errors.AccountNotFound,
        errors.DisputeNotFound,
        shop=_SHOP,
        unanswered=Example(query={"state": "needs_response"}),
    ),
    _read(
        "read_dispute",
        "/v1/disputes/{dispute}",
        DisputeRead,
        "Disputes",
        resources.Dispute,
        errors.DisputeNotFound,
        case=Example(path=_DISPUTE, refused=_NO_DISPUTE),
    ),
    _read(
        "list_records",
        "/v1/audit-trail",
        AuditList,
        "Audit trail",
        resources.Page[resources.AuditRecord],
        errors.BookNotFound,
        shop=_SHOP,
        refused=Example(query={"refused": "true"}),
    ),
    _read(
        "read_roll_up",
        "/v1/reports/roll-up",
        RollUpRead,
        "Reports",
        resources.RollUp,
        errors.BookNotFound,
        shop=Example(query={"book": "shop", "depth": "1"}),
    ),
    _read(
        "read_trial_balance",
        "/v1/reports/trial-balance",
        TrialBalanceRead,
        "Reports",
        resources.TrialBalance,
        errors.BookNotFound,
        shop=Example(query={"book": "shop"}),
    ),
    _read(
        "read_balance_sheet",
        "/v1/reports/balance-sheet",
        BalanceSheetRead,
        "Reports",
        resources.BalanceSheet,
        errors.BookNotFound,
        shop=Example(query={"book": "shop", "rates": "EUR:1,USD:0.92", "valued_in": "EUR"}),
    ),
    _read(
        "read_income_statement",
        "/v1/reports/income-statement",
        IncomeStatementRead,
        "Reports",
        resources.IncomeStatement,
        errors.BookNotFound,
        shop=Example(query={"book": "shop", "value_date_from": "2026-01-01"}),
    ),
    Operation(
        id="list_events",
        method="get",
        path="/v1/events",
        tag="Log",
        summary="The log, as a list or as server-sent events",
        model=EventList,
        answers=resources.Page[resources.LogEvent],
        refusals=frozenset({errors.BookNotFound, errors.AccountNotFound}),
        examples={"all": Example(), "holds": Example(query={"kind": "hold", "book": "shop"})},
        waits=True,
        other_media=("text/event-stream",),
    ),
    Operation(
        id="validate_payment",
        method="post",
        path="/v1/consensus/validate",
        tag="Payments",
        summary="Ask what validators would make of a payment now",
        sets=ToValidate,
        answers=resources.Validation,
        refusals=frozenset(
            {
                errors.PaymentNotFound,
                errors.PaymentStatusForbids,
                errors.PaymentOutcomeIsUnknown,
                errors.PaymentBusy,
                errors.AccountNotFound,
                errors.AccountCodeReserved,
                errors.CurrencyMismatch,
                errors.PaymentExpiresInPast,
                errors.PaymentMethodUnfit,
                errors.PaymentApproversTooFew,
            }
        ),
        errors=("overloaded", "stopping", "outcome_unknown"),
        examples={
            "there": Example(body=_TAX),
            "thought_of": Example(
                body={
                    "book": "shop",
                    "account": "liabilities:tax",
                    "direction": "out",
                    "amount": 90_00,
                    "currency": "EUR",
                    "method": _TAX_OFFICE,
                },
            ),
        },
    ),
    Operation(
        id="list_rails",
        method="get",
        path="/v1/rails",
        tag="Rails",
        summary="The rails and routes that payments go by from here, and how they do",
        answers=resources.Page[resources.RailHealth],
        errors=("invalid_request", "unavailable"),
        examples={"all": Example()},
    ),
    Operation(
        id="decide_route",
        method="post",
        path="/v1/routes/decide",
        tag="Rails",
        summary="Which way a payment would take now, and why; nothing is paid",
        sets=DecideRoute,
        answers=resources.RouteDecision,
        examples={
            "card": Example(body={"amount": 1999, "currency": "EUR", "method": "card:visa"}),
            "explored": Example(body={"amount": 1999, "currency": "EUR", "method": "card", "draw": 1}),
        },
    ),
    Operation(
        id="read_upi_address",
        method="get",
        path="/v1/upi/addresses/{address}",
        tag="Rails",
        summary="Whose a UPI address is, by the name to be seen before they are paid",
        model=UpiAddressRead,
        answers=resources.UpiAddress,
        errors=("rail_not_found", "upi_address_not_found"),
        examples={"asha": Example(path={"address": "asha@okbank"}, refused="rail_not_found")},
    ),
    Operation(
        id="override_rail",
        method="post",
        path="/v1/rails/{rail}/breaker",
        tag="Rails",
        summary="Open or close a rail's circuit breaker by hand, or release it",
        sets=OverrideBreaker,
        answers=resources.CircuitBreaker,
        errors=("rail_not_found", "override_ends_in_past"),
        examples={
            "open": _overriding({"rail": "card"}, state="open", reason="The network is under repair", until=_UNTIL),
            "release": _overriding({"rail": "card"}, release=True, reason="It is repaired"),
        },
    ),
    Operation(
        id="override_route",
        method="post",
        path="/v1/rails/{rail}/routes/{route}/breaker",
        tag="Rails",
        summary="Open or close a route's circuit breaker by hand, or release it",
        sets=OverrideBreaker,
        answers=resources.CircuitBreaker,
        errors=("rail_not_found", "route_not_found", "override_ends_in_past"),
        examples={
            "open": _overriding(_ACQUIRER, state="open", reason="They asked us to stop"),
            "release": _overriding(_ACQUIRER, release=True, reason="They are back"),
        },
    ),
    Operation(
        id="read_event_catalogue",
        method="get",
        path="/v1/catalogue/events",
        tag="Catalogues",
        summary="Every event that is stored, with its JSON Schema",
        answers=resources.EventCatalogue,
        examples={"all": Example()},
    ),
    Operation(
        id="read_error_catalogue",
        method="get",
        path="/v1/catalogue/errors",
        tag="Catalogues",
        summary="Every error code, what it means and whether a retry can help",
        answers=resources.ErrorCatalogue,
        examples={"all": Example()},
    ),
    Operation(
        id="livez",
        method="get",
        path="/livez",
        tag="Operations",
        summary="Is the process up",
        answers=resources.Liveness,
        examples={"all": Example()},
    ),
    Operation(
        id="readyz",
        method="get",
        path="/readyz",
        tag="Operations",
        summary="Can commands be decided and kept",
        answers=resources.ReadinessState,
        also={503: "Not ready."},
        examples={"all": Example()},
    ),
    Operation(
        id="metrics",
        method="get",
        path="/metrics",
        tag="Operations",
        summary="Metrics, in the text format of Prometheus",
        answers=str,
        media="text/plain",
        examples={"all": Example()},
    ),
]
