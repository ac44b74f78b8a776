"""The catalogue of events: what is stored under each name, with its JSON Schema and one as it is stored."""

import types
from datetime import UTC, date, datetime
from functools import cache
from inspect import cleandoc
from typing import Any, Final, Union, get_args, get_origin, get_type_hints
from uuid import UUID

import msgspec

from adapters.client.resources import EventCatalogue, EventInfo
from domain import ids
from domain.events import (
    EVENTS,
    BookOpened,
    Break,
    CommandRefused,
    EscrowCondition,
    EscrowConditionMet,
    EscrowFunded,
    EscrowPart,
    EscrowReleaseApproved,
    EscrowReleased,
    EscrowReleaseRefused,
    EscrowReturnApproved,
    EscrowReturned,
    EscrowTerms,
    Event,
    PaymentAnswerContradicted,
    PaymentDisputeClosed,
    PaymentMethodAttached,
    PaymentOperationDone,
    PaymentOperationFailed,
    PaymentOperationRequested,
    SettlementRecorded,
    encode,
)
from domain.policy import Limit, Policy, Rule, Tier
from domain.posting import Posting, Side
from domain.rail import Card

_BOOK: Final = ids.book_id("main")
_BANK, _SALES = (ids.account_id(_BOOK, code) for code in ("assets:bank", "revenue:sales"))
_POSTINGS: Final = (Posting(_BANK, Side.DEBIT, 1050, "EUR"), Posting(_SALES, Side.CREDIT, 1050, "EUR"))
_WHEN: Final = datetime(2026, 1, 31, 12, tzinfo=UTC)

_EXAMPLES: Final[dict[str, Any]] = {
    "code": "assets:bank",
    "type": "asset",
    "currency": "EUR",
    "overdraft_limit": 0,
    "ceiling": 1_000_000,
    "title": "Current account",
    "metadata": {"owner": "finance"},
    "reason": "Asked for by the owner",
    "description": "Coffee sold",
    "reference": "till-7/0042",
    "command": "close_account",
    "amount": 1050,
    "final": True,
    "book_id": _BOOK,
    "entry_id": ids.command_id(_BOOK, "post_entry", "example"),
    "scope": _BANK,
    "account_id": _BANK,
    "direction": "in",
    "request_id": ids.request_id(_BANK),
    "upon": ids.request_id(_SALES),
    "operation": "authorize",
    "rail": "card",
    "route": "acquirer-1",
    "approver": "cleo",
    "retry": "later",
    "action": {"type": "redirect", "url": "https://bank.example/confirm/1"},
    "rule": {"mode": "all", "required": ["sanctions"]},
    "votes": [{"validator": "funds", "verdict": "allow", "reason": "money_comes_in"}],
    "passed": True,
    "policy": Policy(
        approvals=(Tier(currency="EUR", above=100_000, approvals=2, approvers=("ann", "bob", "cleo")),),
        limits=(Limit(currency="EUR", direction="out", amount_max=5_000_000),),
        rule=Rule(required=("sanctions",)),
    ),
    "known": "done",
    "why": "no answer within 10 s",
    "settlement_id": ids.settlement_id(_BOOK, "card", "acquirer-1", _WHEN.date(), "EUR", 1),
    "dispute_id": ids.dispute_id(_BANK, "case-77"),
    "outcome": "done",
    "fee": 24,
    "respond_by": _WHEN,
    "condition": "delivered",
    "attester": "courier",
}
"""By the field's name; what is not here is made from its type, or left out if it may be."""

_SPECIAL: Final[dict[type[Event], dict[str, Any]]] = {
    BookOpened: {"code": "main", "title": "Main book"},
    EscrowFunded: {
        "conditions": (EscrowCondition("delivered", ("courier",)),),
        "parts": (EscrowPart("goods", 1050, EscrowTerms(("delivered",), 1, ("cleo", "dana"))),),
    },
    **{of: {"part": "goods"} for of in (EscrowReleaseApproved, EscrowReleased, EscrowReturnApproved, EscrowReturned)},
    EscrowConditionMet: {"evidence": "Signed for at 12:04"},
    EscrowReleaseRefused: {"part": "goods", "reason": "account_frozen"},
    CommandRefused: {"code": "account_closed", "details": {"account_id": str(_BANK)}},
    PaymentAnswerContradicted: {
        "said": {"answer": "declined", "code": "05", "reason": "do_not_honor", "message": "", "retry": "never"}
    },
    PaymentOperationFailed: {"code": "51", "reason": "insufficient_funds", "message": "Insufficient funds"},
    PaymentOperationRequested: {"dispute_id": None},
    PaymentDisputeClosed: {"outcome": "won"},
    SettlementRecorded: {
        "lines": {"settled": 12},
        "incoming": 12_600,
        "fees": 288,
        "net": 13_362,
        "breaks": (
            Break(
                why="no payment is known for it",
                said="settled",
                request_id=ids.request_id(_SALES),
                operation="capture",
                amount=1050,
                moved=1050,
            ),
        ),
    },
    PaymentOperationDone: {"code": "00", "reference": "812345678901"},
    PaymentMethodAttached: {"method": Card(token="tok_visa", brand="visa", last4="4242", expires="2030-12")},  # noqa: S106
}


def example(cls: type[Event]) -> dict[str, Any]:
    """An event of that kind as it is stored."""
    made = {
        field.name: value
        for field in msgspec.structs.fields(cls)
        if (value := _value(cls, field.name, required=field.required)) is not _LEFT_OUT
    }
    stored: dict[str, Any] = msgspec.json.decode(encode(cls(**made)))
    return stored


_LEFT_OUT: Final = object()


def _value(cls: type[Event], name: str, *, required: bool) -> Any:
    special = _SPECIAL.get(cls, {})
    if name in special or name in _EXAMPLES:
        return special.get(name, _EXAMPLES.get(name))
    return _of_type(get_type_hints(cls)[name]) if required else _LEFT_OUT


def _of_type(hint: Any) -> Any:
    if get_origin(hint) in (Union, types.UnionType):
        return None if type(None) in get_args(hint) else _of_type(get_args(hint)[0])
    if get_origin(hint) is tuple:
        return _POSTINGS
    return {
        UUID: _EXAMPLES["entry_id"],
        datetime: _WHEN,
        date: _WHEN.date(),
        str: "text",
        int: 1,
        bool: False,
    }[hint]


def _info(name: str, cls: type[Event]) -> EventInfo:
    (schema,), defined = msgspec.json.schema_components([cls], ref_template="#/$defs/{name}")
    said = cleandoc(cls.__doc__ or "").partition("\n\nRaises:")[0]
    schema = {
        **defined.pop(cls.__name__),
        "description": said,
        "$schema": "https://json-schema.org/draft/2020-12/schema",
    }
    if defined:
        schema["$defs"] = defined
    return EventInfo(name=name, description=said, json_schema=schema, example=example(cls))


@cache
def catalogue() -> EventCatalogue:
    """Every event by its stored name."""
    return EventCatalogue(object="event_catalogue", data=[_info(name, cls) for name, cls in sorted(EVENTS.items())])
