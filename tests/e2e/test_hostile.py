"""Hostile input over HTTP: a clear no, nothing changed, nothing given away, and the server goes on."""

import contextlib
import json
import socket
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from adapters.web.intake import BODY_BYTES_MAX
from domain.money import AMOUNT_MAX
from tests.conftest import Server, database_on
from tests.serving import TOP, Caller, head, hold, serving, transfer


class Target(NamedTuple):
    dsn: str
    base_url: str
    caller: Caller


@pytest.fixture(scope="module")
def shared(server: Server, template: str) -> Iterator[Target]:
    with (
        database_on(server, template=template) as dsn,
        serving(dsn, project=False) as base_url,
        Caller(base_url) as caller,
    ):
        caller.done("/v1/books", {"code": "main"})
        caller.account("a")
        caller.account("b")
        yield Target(dsn, base_url, caller)


@pytest.fixture
def target(shared: Target) -> Iterator[Target]:
    """Whatever a test asks: the log stays as it was, and the server answers the next who asks."""
    position = head(shared.dsn)
    yield shared
    assert head(shared.dsn) == position
    assert shared.caller.get("/livez").json() == {"status": "up"}


GIVEN_AWAY = [b"Traceback", b'File "', b".py", b"psycopg", b"pydantic", b"SELECT", b"INSERT", b"daybook.", b"/usr/"]


def nothing_is_given_away(answer: bytes) -> None:
    for inner in [*GIVEN_AWAY, str(TOP).encode()]:
        assert inner not in answer


def entry(**changed: Any) -> bytes:
    """The body of a good entry, but for what is changed; changes are dotted paths with `__` for the dots."""
    body: Any = transfer("a", "b", 1)
    for path, value in changed.items():
        *steps, last = path.split("__")
        inner = body
        for step in steps:
            inner = inner[int(step) if step.isdigit() else step]
        inner[int(last) if last.isdigit() else last] = value
    return json.dumps(body).encode()


def raw(amount: str) -> bytes:
    """A good entry whose first amount is that text."""
    return entry(postings__0__amount="@").replace(b'"@"', amount.encode())


POSTING = transfer("a", "b", 1)["postings"][0]
ENTRIES, ACCOUNTS, BOOKS = "/v1/journal-entries", "/v1/accounts", "/v1/books"
HOLDS, BATCHES = "/v1/holds", "/v1/batches"
PAYMENTS, APPROVE = "/v1/payments", "/v1/payments/pay_00000000000000000000000000/approve"
ESCROWS = "/v1/escrows"
MEET, RELEASE, RETURN = (
    f"/v1/escrows/esc_00000000000000000000000000/{to}" for to in ("conditions", "release", "return")
)
PART = {"name": "all", "amount": 1, "release": {"conditions": ["delivered"]}}
UPI = {"type": "upi", "vpa": "ada@okbank"}
LIMITS = "/v1/accounts/acc_00000000000000000000000000/limits"
CAPTURE, INCREASE, VOID, EXPIRE = (
    f"/v1/holds/hold_00000000000000000000000000/{what}" for what in ("capture", "increase", "void", "expire")
)


def account(**changed: Any) -> bytes:
    return json.dumps({"book": "main", "code": "x", "type": "asset", "currency": "EUR", **changed}).encode()


def holding(**changed: Any) -> bytes:
    return json.dumps({**hold("a", "b", 1), **changed}).encode()


def paying(**changed: Any) -> bytes:
    return json.dumps({"book": "main", "account": "a", "amount": 1, "currency": "EUR", **changed}).encode()


def escrow(**changed: Any) -> bytes:
    given = {"book": "main", "depositor": "a", "beneficiary": "b", "amount": 1, "currency": "EUR"}
    terms = {"expires_at": "2999-01-01T00:00:00Z", "conditions": [{"name": "delivered"}], "parts": [PART]}
    return json.dumps({**given, **terms, **changed}).encode()


def limits(**changed: Any) -> bytes:
    return json.dumps({"overdraft_limit": 0, **changed}).encode()


def batch(*commands: Any, **changed: Any) -> bytes:
    return json.dumps({"book": "main", "mode": "atomic", "commands": commands, **changed}).encode()


def item(command: str = "post_entry", arguments: Any = None, **changed: Any) -> dict[str, Any]:
    return {"command": command, "arguments": transfer("a", "b", 1) if arguments is None else arguments, **changed}


def split(**changed: Any) -> bytes:
    """An entry given as a recipe."""
    given = {"amount": 1, "currency": "EUR", "sources": [{"account": "a"}], "destinations": [{"account": "b"}]}
    return json.dumps({"book": "main", "split": {**given, **changed}}).encode()


def traded(**changed: Any) -> bytes:
    """An entry across currencies."""
    sides = {"account": "a", "position_account": "b"}
    given = {"source": sides, "destination": sides, "amount": 1, "rate": "1.5", "rate_source": "x"}
    return json.dumps({"book": "main", "exchange": {**given, **changed}}).encode()


def within(body: bytes, value: str, text: str) -> bytes:
    """The body with what is written there, which no JSON writer would write, for the value."""
    assert body.count(json.dumps(value).encode()) == 1
    return body.replace(json.dumps(value).encode(), text.encode())


BODIES: list[tuple[str, bytes, str]] = [
    # Amounts.
    (ENTRIES, raw("1.0"), "json_float"),
    (ENTRIES, raw("1e3"), "json_float"),
    (ENTRIES, raw("0.1"), "json_float"),
    (ENTRIES, raw("NaN"), "json_not_a_number"),
    (ENTRIES, raw("-Infinity"), "json_not_a_number"),
    (ENTRIES, raw("9" * 30), "json_number_too_large"),
    (ENTRIES, raw("9" * 100_000), "json_number_too_large"),
    (ENTRIES, raw("1_000"), "json_malformed"),
    (ENTRIES, raw("\u0661"), "json_malformed"),
    (ENTRIES, raw("0"), "/postings/0/amount greater_than_equal"),
    (ENTRIES, raw("-0"), "/postings/0/amount greater_than_equal"),
    (ENTRIES, raw("-1"), "/postings/0/amount greater_than_equal"),
    (ENTRIES, raw(str(AMOUNT_MAX + 1)), "/postings/0/amount less_than_equal"),
    (ENTRIES, raw("99999999999999999999"), "/postings/0/amount less_than_equal"),
    (ENTRIES, raw('"1"'), "/postings/0/amount int_type"),
    (ENTRIES, raw("true"), "/postings/0/amount int_type"),
    (ENTRIES, raw("null"), "/postings/0/amount int_type"),
    (ENTRIES, raw("[1]"), "/postings/0/amount int_type"),
    (ENTRIES, raw("{}"), "/postings/0/amount int_type"),
    # Shape.
    (ENTRIES, b"", "json_malformed"),
    (ENTRIES, b"null", "json_not_an_object"),
    (ENTRIES, b"[" + entry() + b"]", "json_not_an_object"),
    (ENTRIES, entry() + entry(), "json_malformed"),
    (ENTRIES, entry(colour="red"), "/colour extra_forbidden"),
    (ENTRIES, entry(reverses="je_00000000000000000000000000"), "/reverses extra_forbidden"),
    (ENTRIES, entry(postings__0__colour="red"), "/postings/0/colour extra_forbidden"),
    (ACCOUNTS, account(__class__="x"), "/__class__ extra_forbidden"),
    (ENTRIES, entry(kind="open_book"), "/kind extra_forbidden"),
    (ENTRIES, entry(postings={}), "/postings tuple_type"),
    (ENTRIES, entry(postings="ab"), "/postings tuple_type"),
    (ENTRIES, entry(postings=[]), "/postings too_short"),
    (ENTRIES, entry(postings=[POSTING]), "/postings too_short"),
    (ENTRIES, entry(postings=[POSTING] * 1001), "/postings too_long"),
    (ENTRIES, entry(postings__0=None), "/postings/0 model_type"),
    (ENTRIES, entry(postings__0__side=1), "/postings/0/side enum"),
    (ENTRIES, entry(postings__0__side="DEBIT"), "/postings/0/side enum"),
    (ENTRIES, entry(postings__0__account=["a"]), "/postings/0/account string_type"),
    (ENTRIES, entry(postings__0__account="acc_x"), " value_error"),
    (
        ENTRIES,
        entry(postings__0__account="a'; DROP TABLE daybook.events; --"),
        "/postings/0/account string_pattern_mismatch",
    ),
    (ENTRIES, entry(postings__0__account="a" * 201), "/postings/0/account string_too_long"),
    (ENTRIES, entry(postings__0__account="a\n"), "/postings/0/account string_pattern_mismatch"),
    (ENTRIES, entry(postings__0__account="\uff41"), "/postings/0/account string_pattern_mismatch"),
    (ENTRIES, entry(postings__0__currency="eur"), "/postings/0/currency string_pattern_mismatch"),
    (ENTRIES, entry(postings__0__currency="XXX"), "/postings/0/currency value_error"),
    (ENTRIES, entry(book=""), "/book string_pattern_mismatch"),
    (ENTRIES, entry(book="book_1"), "/book value_error"),
    (ENTRIES, entry(description="x" * 501), "/description string_too_long"),
    (ENTRIES, entry(description="a\0b"), "/description value_error"),
    (ENTRIES, entry(description="\u202emirrored"), "/description value_error"),
    (ENTRIES, entry(description="\x1b[31mred"), "/description value_error"),
    (ENTRIES, entry(description=5), "/description string_type"),
    (ENTRIES, entry(description="\ud800"), "json_lone_surrogate"),
    (ENTRIES, entry(metadata={"a": 1}), "/metadata/a string_type"),
    (ENTRIES, entry(metadata={"a": {"b": "c"}}), "/metadata/a string_type"),
    (ENTRIES, entry(metadata={"": "x"}), "/metadata//[key] string_too_short"),
    (ENTRIES, entry(metadata={"a\0": "x"}), "/metadata/a\0/[key] value_error"),
    (ENTRIES, entry(metadata={str(n): "x" for n in range(51)}), "/metadata too_long"),
    (ENTRIES, entry(value_date="1996-13-01"), "/value_date date_from_datetime_parsing"),
    (ENTRIES, entry(value_date="1996-01-01T00:00:00Z"), "/value_date value_error"),
    (ENTRIES, entry(value_date="0000-01-01"), "/value_date date_parsing"),
    (ENTRIES, entry(value_date=True), "/value_date value_error"),
    (ENTRIES, entry(value_date=820454400), "/value_date value_error"),
    (ENTRIES, entry().replace(b'"main"', b'"main", "book": "main"'), "json_duplicate_key"),
    (ENTRIES, entry().replace(b'"amount"', b'"amount": 5, "amount"', 1), "json_duplicate_key"),
    (ENTRIES, entry(metadata="@").replace(b'"@"', b"[" * 50_000 + b"]" * 50_000), "json_too_deep"),
    (ENTRIES, b'{"a":' * 100_000, "json_too_deep"),
    # Bytes.
    (ENTRIES, entry(description="@").replace(b"@", b"\xff"), "json_invalid_utf8"),
    (ENTRIES, entry(description="@").replace(b"@", b"\xed\xa0\x80"), "json_invalid_utf8"),
    (ENTRIES, entry().decode().encode("utf-16"), "json_invalid_utf8"),
    (ENTRIES, b"\xef\xbb\xbf" + entry(), "json_malformed"),
    (ENTRIES, b"\x00" * 100, "json_malformed"),
    (ENTRIES, b"book=main&amount=1", "json_malformed"),
    # Accounts and books.
    (ACCOUNTS, account(type="Asset"), "/type enum"),
    (ACCOUNTS, account(type=None), "/type enum"),
    (ACCOUNTS, account(code="acc_x"), "/code value_error"),
    (ACCOUNTS, account(code="a::b"), "/code string_pattern_mismatch"),
    (ACCOUNTS, account(code="../../etc/passwd"), "/code string_pattern_mismatch"),
    (ACCOUNTS, account(overdraft_limit=-1), "/overdraft_limit greater_than_equal"),
    (ACCOUNTS, account(floor="1"), "/floor int_type"),
    (ACCOUNTS, account(ceiling=AMOUNT_MAX + 1), "/ceiling less_than_equal"),
    (ACCOUNTS, account(account_id="acc_00000000000000000000000000"), "/account_id extra_forbidden"),
    (ACCOUNTS, account(status="closed"), "/status extra_forbidden"),
    (BOOKS, b'{"code": "book_x"}', "/code value_error"),
    (BOOKS, b'{"code": ""}', "/code string_pattern_mismatch"),
    (BOOKS, b'{"code": {"$ne": null}}', "/code string_type"),
    ("/v1/accounts/acc_00000000000000000000000000/freeze", b'{"reason": null}', "/reason string_type"),
    ("/v1/accounts/acc_00000000000000000000000000/freeze", b'{"force": true}', "/force extra_forbidden"),
    (
        "/v1/journal-entries/je_00000000000000000000000000/reverse",
        b'{"value_date": "1996-01-01"}',
        "/value_date literal_error",
    ),
    # Holds.
    (HOLDS, within(holding(amount="@"), "@", "1.5"), "json_float"),
    (HOLDS, within(holding(amount="@"), "@", "NaN"), "json_not_a_number"),
    (HOLDS, within(holding(amount="@"), "@", "9" * 5000), "json_number_too_large"),
    (HOLDS, holding(amount=0), "/amount greater_than_equal"),
    (HOLDS, holding(amount=-1), "/amount greater_than_equal"),
    (HOLDS, holding(amount=AMOUNT_MAX + 1), "/amount less_than_equal"),
    (HOLDS, holding(amount="1"), "/amount int_type"),
    (HOLDS, holding(amount=True), "/amount int_type"),
    (HOLDS, holding(account=None), "/account string_type"),
    (HOLDS, holding(destination={"$gt": ""}), "/destination string_type"),
    (HOLDS, holding(destination="b'; DROP TABLE daybook.events; --"), "/destination string_pattern_mismatch"),
    (HOLDS, holding(expires_at=0), "/expires_at value_error"),
    (HOLDS, holding(expires_at=4102444800), "/expires_at value_error"),
    (HOLDS, holding(expires_at="tomorrow"), "/expires_at value_error"),
    (HOLDS, holding(expires_at="2999-01-01"), "/expires_at value_error"),
    (HOLDS, holding(expires_at="2999-01-01T00:00:00"), "/expires_at value_error"),
    (HOLDS, holding(expires_at="2999-02-30T00:00:00Z"), "/expires_at datetime_from_date_parsing"),
    (HOLDS, holding(expires_at="9999-12-31T23:59:59-14:00"), "/expires_at value_error"),
    (HOLDS, holding(status="held"), "/status extra_forbidden"),
    (HOLDS, holding(hold_id="hold_00000000000000000000000000"), "/hold_id extra_forbidden"),
    (HOLDS, holding(reference="a\0b"), "/reference value_error"),
    (HOLDS, holding().replace(b'"amount"', b'"amount": 5, "amount"'), "json_duplicate_key"),
    (HOLDS, within(holding(metadata="@"), "@", "[" * 50_000), "json_too_deep"),
    (CAPTURE, b'{"amount": 0.5}', "json_float"),
    (CAPTURE, b'{"amount": 0}', "/amount greater_than_equal"),
    (CAPTURE, b'{"amount": "1"}', "/amount int_type"),
    (CAPTURE, b'{"final": 1}', "/final bool_type"),
    (CAPTURE, b'{"final": "yes"}', "/final bool_type"),
    (CAPTURE, b'{"hold_id": "hold_00000000000000000000000000"}', "/hold_id extra_forbidden"),
    (CAPTURE, b'{"final": true, "final": false}', "json_duplicate_key"),
    (INCREASE, b"{}", "/amount missing"),
    (INCREASE, b'{"amount": -1}', "/amount greater_than_equal"),
    (INCREASE, b'{"amount": 1e2}', "json_float"),
    (INCREASE, b'{"amount": 1, "currency": "EUR"}', "/currency extra_forbidden"),
    (VOID, b'{"reason": ["x"]}', "/reason string_type"),
    (VOID, b'{"amount": 1}', "/amount extra_forbidden"),
    (EXPIRE, b'{"now": "2999-01-01T00:00:00Z"}', "/now extra_forbidden"),
    # Payments.
    (PAYMENTS, within(paying(amount="@"), "@", "1.5"), "json_float"),
    (PAYMENTS, paying(amount=True), "/amount int_type"),
    (PAYMENTS, paying(amount=AMOUNT_MAX + 1), "/amount less_than_equal"),
    (PAYMENTS, paying(method=[]), "/method model_attributes_type"),
    (PAYMENTS, paying(method={"type": ["card"]}), "/method union_tag_invalid"),
    (PAYMENTS, paying(method={"type": "x" * 100_000}), "/method union_tag_invalid"),
    (PAYMENTS, paying(method={**UPI, "vpa": "ada@okbank\n"}), "/method/vpa string_pattern_mismatch"),
    (PAYMENTS, paying(method={**UPI, "vpa": "a" * 10_000 + "@"}), "/method/vpa string_too_long"),
    (PAYMENTS, paying(method={**UPI, "x" * 100_000: 1}), f"/method/{'x' * 100} extra_forbidden"),
    (PAYMENTS, paying(method={**UPI, "holder": "a\0b"}), "/method/holder value_error"),
    (PAYMENTS, paying(descriptor="a\nb"), "/descriptor string_pattern_mismatch"),
    (PAYMENTS, paying(maker="somebody else"), "/maker extra_forbidden"),
    (PAYMENTS, within(paying(method="@"), "@", '{"type": "upi", "vpa": "a@b", "vpa": "b@c"}'), "json_duplicate_key"),
    (APPROVE, b'{"approver": "somebody else"}', "/approver extra_forbidden"),
    (APPROVE, b'{"actor": "somebody else"}', "/actor extra_forbidden"),
    # Escrows.
    (ESCROWS, within(escrow(amount="@"), "@", "1.5"), "json_float"),
    (ESCROWS, escrow(amount=0), "/amount greater_than_equal"),
    (ESCROWS, escrow(amount=2), " value_error"),
    (ESCROWS, escrow(parts=[]), "/parts too_short"),
    (ESCROWS, escrow(parts=[PART] * 51), "/parts too_long"),
    (ESCROWS, escrow(parts={"all": 1}), "/parts tuple_type"),
    (ESCROWS, escrow(parts=[{**PART, "amount": AMOUNT_MAX + 1}]), "/parts/0/amount less_than_equal"),
    (ESCROWS, escrow(parts=[{**PART, "amount": True}]), "/parts/0/amount int_type"),
    (ESCROWS, escrow(parts=[{**PART, "name": "a\0b"}]), "/parts/0/name value_error"),
    (ESCROWS, escrow(parts=[{**PART, "name": "x" * 100_000}]), "/parts/0/name string_too_long"),
    (ESCROWS, escrow(parts=[{**PART, "released": 1}]), "/parts/0/released extra_forbidden"),
    (
        ESCROWS,
        escrow(parts=[{**PART, "release": {"approvals": 2, "approvers": ["x"]}}]),
        "/parts/0/release value_error",
    ),
    (ESCROWS, escrow(parts=[{**PART, "release": {"approvals": -1}}]), "/parts/0/release/approvals greater_than_equal"),
    (ESCROWS, escrow(conditions=[]), " value_error"),
    (ESCROWS, escrow(conditions=[{"name": "delivered", "by": ["é"]}]), "/conditions/0/by/0 string_pattern_mismatch"),
    (ESCROWS, escrow(expires_at=None), "/expires_at value_error"),
    (ESCROWS, escrow(on_expiry="keep"), "/on_expiry literal_error"),
    (ESCROWS, escrow(return_terms={"approvals": 0, "approvers": []}), "/return_terms/approvals greater_than_equal"),
    (ESCROWS, escrow(maker="somebody else"), "/maker extra_forbidden"),
    (ESCROWS, escrow(depositor="b'; DROP TABLE daybook.events; --"), "/depositor string_pattern_mismatch"),
    (MEET, b'{"condition": "delivered", "attester": "somebody else"}', "/attester extra_forbidden"),
    (RETURN, b'{"approver": "somebody else"}', "/approver extra_forbidden"),
    (RETURN, b'{"amount": 1}', " value_error"),
    (RELEASE, b'{"amount": 1}', " value_error"),
    (RELEASE, b'{"part": "all", "amount": 0}', "/amount greater_than_equal"),
    # Limits.
    (LIMITS, b"{}", "/overdraft_limit missing"),
    (LIMITS, limits(overdraft_limit=-1), "/overdraft_limit greater_than_equal"),
    (LIMITS, limits(overdraft_limit="0"), "/overdraft_limit int_type"),
    (LIMITS, limits(floor=False), "/floor int_type"),
    (LIMITS, limits(ceiling=-AMOUNT_MAX - 1), "/ceiling greater_than_equal"),
    (LIMITS, within(limits(ceiling="@"), "@", "Infinity"), "json_not_a_number"),
    (LIMITS, within(limits(ceiling="@"), "@", "1.0"), "json_float"),
    (LIMITS, limits(effective_at=1), "/effective_at value_error"),
    (LIMITS, limits(effective_at="2999-01-01T25:00:00Z"), "/effective_at datetime_from_date_parsing"),
    (LIMITS, limits(account_id="acc_00000000000000000000000000"), "/account_id extra_forbidden"),
    (LIMITS, limits(available=5), "/available extra_forbidden"),
    # Batches.
    (BATCHES, batch(), "/commands too_short"),
    (BATCHES, batch(commands={}), "/commands tuple_type"),
    (BATCHES, batch(commands=None), "/commands tuple_type"),
    (BATCHES, batch(item(), mode="some"), "/mode literal_error"),
    (BATCHES, batch(item(), dry_run=True), "/dry_run extra_forbidden"),
    (BATCHES, batch(None), "/commands/0 model_attributes_type"),
    (BATCHES, batch({}), "/commands/0 union_tag_not_found"),
    (BATCHES, batch(item("drop_table")), "/commands/0 union_tag_invalid"),
    (BATCHES, batch(item("x" * 100_000)), "/commands/0 union_tag_invalid"),
    (
        BATCHES,
        batch(item("post_batch", {"book": "main", "mode": "atomic", "commands": []})),
        "/commands/0 union_tag_invalid",
    ),
    (BATCHES, batch(item(arguments=[])), "/commands/0/arguments model_type"),
    (BATCHES, batch(item(arguments={"book": "main"})), "/commands/0/arguments value_error"),
    (BATCHES, batch(item(actor="root")), "/commands/0/actor extra_forbidden"),
    (BATCHES, batch(item(idempotency_key="")), "/commands/0/idempotency_key string_pattern_mismatch"),
    (BATCHES, batch(item(idempotency_key="k\n")), "/commands/0/idempotency_key string_pattern_mismatch"),
    (BATCHES, batch(item(idempotency_key=7)), "/commands/0/idempotency_key string_type"),
    (BATCHES, batch(item(idempotency_key="k"), item(idempotency_key="k")), " value_error"),
    (BATCHES, batch(item(), item("place_hold", hold("a", "b", -1))), "/commands/1/arguments/amount greater_than_equal"),
    (BATCHES, batch(item("place_hold", hold("a", "b", 1, x=1))), "/commands/0/arguments/x extra_forbidden"),
    (BATCHES, within(batch(item("place_hold", {**hold("a", "b", 1), "amount": "@"})), "@", "1.0"), "json_float"),
    (BATCHES, batch(item()).replace(b'"arguments"', b'"arguments": {}, "arguments"'), "json_duplicate_key"),
    (BATCHES, within(batch("@"), "@", "[" * 40 + "]" * 40), "json_too_deep"),
    (BATCHES, batch(*[{"command": "open_book", "arguments": {"code": "x"}}] * 10_001), "/commands too_long"),
    # Recipes.
    (ENTRIES, split(amount=0), "/split/amount greater_than_equal"),
    (ENTRIES, split(sources=[]), "/split/sources too_short"),
    (ENTRIES, split(sources=[{"account": "a", "maximum": -1}]), "/split/sources/0/maximum greater_than_equal"),
    (ENTRIES, split(destinations=[{"account": "b", "share": "2/1"}]), "/split/destinations/0/share value_error"),
    (ENTRIES, split(destinations=[{"account": "b", "share": "1/0"}]), "/split/destinations/0/share value_error"),
    (ENTRIES, split(destinations=[{"account": "b", "share": "1e1%"}]), "/split/destinations/0/share value_error"),
    (ENTRIES, split(destinations=[{"account": "b", "share": 1}]), "/split/destinations/0/share string_type"),
    (ENTRIES, split(destinations=[{"account": "b"}] * 2), "/split value_error"),
    (ENTRIES, traded(rate=1), "/exchange/rate string_type"),
    (ENTRIES, traded(rate="0"), "/exchange/rate value_error"),
    (ENTRIES, traded(rate="-1"), "/exchange/rate string_pattern_mismatch"),
    (ENTRIES, traded(rate="NaN"), "/exchange/rate string_pattern_mismatch"),
    (ENTRIES, traded(rate="1E5"), "/exchange/rate string_pattern_mismatch"),
    (ENTRIES, traded(rate="1" * 400), "/exchange/rate string_pattern_mismatch"),
    (ENTRIES, entry(split=json.loads(split())["split"]), " value_error"),
    (ENTRIES, entry(postings__0__if_version=-1), "/postings/0/if_version greater_than_equal"),
    (ENTRIES, entry(postings__0__if_version="1"), "/postings/0/if_version int_type"),
    (
        ENTRIES,
        entry(postings__0__if_available_at_least=AMOUNT_MAX + 1),
        "/postings/0/if_available_at_least less_than_equal",
    ),
]


@pytest.mark.parametrize(("path", "body", "code"), BODIES, ids=[f"{n}-{code}" for n, (_, _, code) in enumerate(BODIES)])
def test_bodies(target: Target, path: str, body: bytes, code: str) -> None:
    """
    A body that is not in the form of the command is refused with a code, or with the field at fault and its code.
    """
    response = target.caller.post(
        path, content=body, headers={"Idempotency-Key": "k", "Content-Type": "application/json"}
    )

    problem = response.json()
    assert response.status_code == problem["status"] == 400
    assert response.headers["content-type"] == "application/problem+json"
    if problem["code"] == "invalid_request":
        assert [f"{error['field']} {error['code']}" for error in problem["errors"]] == [code]
    else:
        assert problem["code"] == code
    assert len(response.content) < 1000
    nothing_is_given_away(response.content)


QUERIES: list[tuple[str, str]] = [
    # Of every read.
    ("/v1/holds?colour=red", "/colour extra_forbidden"),
    ("/v1/holds?limit=0", "/limit greater_than_equal"),
    ("/v1/holds?limit=1001", "/limit less_than_equal"),
    ("/v1/holds?limit=-1", "/limit value_error"),
    ("/v1/holds?limit=1.0", "/limit value_error"),
    ("/v1/holds?limit=1_0", "/limit value_error"),
    ("/v1/holds?limit=%D9%A1", "/limit value_error"),
    ("/v1/holds?limit=1&limit=2", "/limit int_type"),
    ("/v1/holds?limit=" + "9" * 5000, "/limit value_error"),
    ("/v1/holds?consistency=strong", "/consistency literal_error"),
    ("/v1/holds?min_position=9223372036854775808", "/min_position less_than_equal"),
    ("/v1/holds?min_position=NaN", "/min_position value_error"),
    # Holds.
    ("/v1/holds?status=HELD", "/status enum"),
    ("/v1/holds?account=a", "/account value_error"),
    ("/v1/holds?account=hold_00000000000000000000000000", "/account value_error"),
    ("/v1/holds?book=book_x", "/book value_error"),
    ("/v1/holds?starting_after=1", "/starting_after value_error"),
    # The log.
    ("/v1/events?kind=mandate", "/kind value_error"),
    ("/v1/events?event=%00", "/event value_error"),
    ("/v1/events?actor=", "/actor string_too_short"),
    ("/v1/events?after=1&starting_after=1", " value_error"),
    ("/v1/events?after=-1", "/after value_error"),
    ("/v1/events?starting_after=1&ending_before=2", " value_error"),
    ("/v1/events?format=xml", "/format literal_error"),
    # Reports.
    ("/v1/reports/trial-balance", "/book missing"),
    ("/v1/reports/trial-balance?book=main&at=0", "/at value_error"),
    ("/v1/reports/trial-balance?book=main&at=2026-01-01T00:00:00Z&position=1", " value_error"),
    ("/v1/reports/trial-balance?book=main&before=20260101", "/before value_error"),
    ("/v1/reports/trial-balance?book=main&before=2026-02-30", "/before date_from_datetime_parsing"),
    ("/v1/reports/roll-up?book=main&depth=-1", "/depth value_error"),
    ("/v1/reports/roll-up?book=main&depth=99999", "/depth less_than_equal"),
    ("/v1/reports/roll-up?book=main&by=metadata.", "/by string_pattern_mismatch"),
    ("/v1/reports/roll-up?book=main&by=type&depth=1", " value_error"),
    ("/v1/reports/roll-up?book=main&prefix=%00", "/prefix value_error"),
    ("/v1/reports/balance-sheet?book=main&rates=EUR:1", " value_error"),
    ("/v1/reports/balance-sheet?book=main&valued_in=EUR&rates=USD:1e400", "/rates value_error"),
    ("/v1/reports/balance-sheet?book=main&valued_in=EUR&rates=USD:-1", "/rates value_error"),
    ("/v1/reports/balance-sheet?book=main&valued_in=EUR&rates=USD:NaN", "/rates value_error"),
    ("/v1/reports/balance-sheet?book=main&valued_in=EUR&rates=USD:1,USD:2", "/rates value_error"),
    ("/v1/reports/balance-sheet?book=main&valued_in=EUR&rates=EUR:2", " value_error"),
    ("/v1/reports/income-statement?book=main&valued_in=euro&rates=USD:1", "/valued_in string_pattern_mismatch"),
]


@pytest.mark.parametrize(("asked", "code"), QUERIES, ids=[f"{n}-{code}" for n, (_, code) in enumerate(QUERIES)])
def test_queries(target: Target, asked: str, code: str) -> None:
    """
    A read that asks for what there is none of is refused with the parameter at fault and its code.
    """
    response = target.caller.get(asked)

    problem = response.json()
    assert (response.status_code, problem["code"]) == (400, "invalid_request")
    assert [f"{error['field']} {error['code']}" for error in problem["errors"]] == [code]
    assert len(response.content) < 1000
    nothing_is_given_away(response.content)


@pytest.mark.parametrize(
    "dry_run", ["dry_run=1", "dry_run=True", "dry_run=", "dry_run=true&dry_run=true", "dryrun=true", "dry_run=false&x="]
)
def test_dry_run_misspelled(target: Target, dry_run: str) -> None:
    """
    Who only wants to try a command, and does not quite say so, has not given it.
    """
    for path, body in ((ENTRIES, entry()), (HOLDS, holding()), (BATCHES, batch(item())), (LIMITS, limits())):
        response = target.caller.post(
            f"{path}?{dry_run}", content=body, headers={"Idempotency-Key": "k", "Content-Type": "application/json"}
        )

        assert (response.status_code, response.json()["code"]) == (400, "invalid_request")
        nothing_is_given_away(response.content)


@pytest.mark.parametrize(
    ("line", "status", "code"),
    [
        ("POST /v1/catalogue/events", 405, "method_not_allowed"),
        ("DELETE /v1/catalogue/errors", 405, "method_not_allowed"),
        ("PUT /v1/holds", 405, "method_not_allowed"),
        ("PATCH /v1/batches", 405, "method_not_allowed"),
        ("GET /v1/batches", 405, "method_not_allowed"),
        ("DELETE /v1/events", 405, "method_not_allowed"),
        ("POST /v1/reports/roll-up", 405, "method_not_allowed"),
        ("GET /v1/reports/everything", 404, "path_not_found"),
        ("GET /v1/catalogue/../../etc/passwd", 404, "path_not_found"),
        ("GET /v1/holds/hold_x", 404, "hold_not_found"),
        ("GET /v1/holds/acc_00000000000000000000000000", 404, "hold_not_found"),
        ("GET /v1/holds/%00", 404, "hold_not_found"),
    ],
)
def test_paths(target: Target, line: str, status: int, code: str) -> None:
    """
    What is nowhere, or is not done there, is said to be so.
    """
    method, path = line.split()

    response = target.caller.request(method, path)

    assert (response.status_code, response.json()["code"]) == (status, code)
    nothing_is_given_away(response.content)


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({}, 415, "content_type_unsupported"),
        ({"Content-Type": ""}, 415, "content_type_unsupported"),
        ({"Content-Type": "text/plain"}, 415, "content_type_unsupported"),
        ({"Content-Type": "application/x-www-form-urlencoded"}, 415, "content_type_unsupported"),
        ({"Content-Type": "application/jsonp"}, 415, "content_type_unsupported"),
        ({"Content-Type": "application/json; charset=latin-1"}, 415, "content_type_unsupported"),
        ({"Content-Type": "application/json, text/plain"}, 415, "content_type_unsupported"),
        ({"Content-Type": "application/json", "Content-Encoding": "gzip"}, 415, "content_encoding_unsupported"),
        ({"Content-Type": "application/json", "Content-Encoding": ""}, 415, "content_encoding_unsupported"),
    ],
)
def test_headers(target: Target, headers: dict[str, str], status: int, code: str) -> None:
    """
    A body that does not say plainly that it is JSON is not read as JSON.
    """
    response = target.caller.post(ENTRIES, content=entry(), headers={"Idempotency-Key": "k", **headers})

    assert (response.status_code, response.json()["code"]) == (status, code)
    nothing_is_given_away(response.content)


def exchange(target: Target, sent: bytes) -> bytes:
    """Everything that comes back for those bytes, until the server closes or falls silent."""
    host, port = target.base_url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        answer = b""
        try:
            connection.sendall(sent)
            with contextlib.suppress(OSError):  # It may have closed already.
                connection.shutdown(socket.SHUT_WR)
            while chunk := connection.recv(65536):
                answer += chunk
        except (TimeoutError, ConnectionResetError):
            pass
        return answer


def request(*headers: str, line: str = f"POST {ENTRIES} HTTP/1.1", body: bytes = b"") -> bytes:
    common = ["Host: x", "Connection: close", "Daybook-Actor: x", "Content-Type: application/json"]
    return "\r\n".join([line, *common, *headers, "", ""]).encode("latin-1") + body


def chunked(body: bytes, size: int = 60_000) -> bytes:
    chunks = [body[at : at + size] for at in range(0, len(body), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"


BIG = b" " * (BODY_BYTES_MAX - len(entry()) + 1) + entry()
GOOD = f"Content-Length: {len(entry())}"


WIRE: list[tuple[bytes, int, str]] = [
    (request("Idempotency-Key: k", f"Content-Length: {len(BIG)}", body=BIG), 413, "body_too_large"),
    (request("Idempotency-Key: k", "Transfer-Encoding: chunked", body=chunked(BIG)), 413, "body_too_large"),
    (
        request("Idempotency-Key: k", "Content-Length: 99999999", "Expect: 100-continue"),
        413,
        "body_too_large",
    ),
    (request(GOOD, body=entry()), 400, "idempotency_key_missing"),
    (request("Idempotency-Key: k", "Idempotency-Key: k", GOOD, body=entry()), 400, "idempotency_key_invalid"),
    (request("Idempotency-Key: a\xe9", GOOD, body=entry()), 400, "idempotency_key_invalid"),
    (request("Idempotency-Key: k", "Daybook-Actor: y", GOOD, body=entry()), 400, "actor_invalid"),
    (
        request("Idempotency-Key: k", "Content-Type: text/plain", GOOD, body=entry()),
        415,
        "content_type_unsupported",
    ),
    (request("Idempotency-Key: k", "Content-Length: 0"), 400, "json_malformed"),
    (request("Idempotency-Key: k"), 400, "json_malformed"),
    (
        request("Idempotency-Key: k", GOOD, "Connection: Upgrade", "Upgrade: websocket", body=entry()),
        400,
        "json_malformed",
    ),
    (request("Idempotency-Key: k", GOOD, "Content-Length: 5", body=entry()), 400, "http_malformed"),
    (
        request("Idempotency-Key: k", GOOD, "Transfer-Encoding: chunked", body=chunked(entry())),
        400,
        "http_malformed",
    ),
    (request("Idempotency-Key: k", "Transfer-Encoding: chunked", body=b"zz\r\n"), 400, "http_malformed"),
    (request("Idempotency-Key: k", "Content-Length: -1"), 400, "http_malformed"),
    (request("Idempotency-Key : k", GOOD, body=entry()), 400, "http_malformed"),
    (request("X: \0", GOOD, body=entry()), 400, "http_malformed"),
    (request(GOOD, line="BREW /coffee HTTP/1.1"), 400, "http_malformed"),
    (request(line="GET / HTTP/9.9"), 400, "http_malformed"),
    (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 10, 400, "http_malformed"),
    (b"*1\r\n$4\r\nPING\r\n", 400, "http_malformed"),
    (b"GET /" + b"a" * 400_000, 431, "head_too_large"),
    (request(*(f"X-{n}: {'y' * 1000}" for n in range(400)))[:-4], 431, "head_too_large"),
    (request("X: " + "y" * 400_000)[:-4], 431, "head_too_large"),
    (request(line=f"GET {ENTRIES}/%00%0d%0aX:%20y/reverse HTTP/1.1"), 405, "method_not_allowed"),
    (request(line="GET http://elsewhere/nowhere HTTP/1.1"), 404, "path_not_found"),
    (request(line="OPTIONS * HTTP/1.1"), 404, "path_not_found"),
    (request("Request-Id: a\tb\xff", line="GET /nowhere HTTP/1.1"), 404, "path_not_found"),
]


@pytest.mark.parametrize(("sent", "status", "code"), WIRE, ids=[f"{n}-{code}" for n, (_, _, code) in enumerate(WIRE)])
def test_bytes_on_the_wire(target: Target, sent: bytes, status: int, code: str) -> None:
    """
    Whatever bytes come, the answer is one problem, and no header of it is the sender's.
    """
    answer = exchange(target, sent)

    top, _, body = answer.partition(b"\r\n\r\n")
    assert top.split()[1] == str(status).encode(), top
    assert b"content-type: application/problem+json" in top.lower()
    assert b"request-id: req_" in top.lower()
    assert b"X: y" not in top
    problem = json.loads(body)
    assert (problem["code"], problem["status"]) == (code, status)
    nothing_is_given_away(answer)


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"\r\n",
        b"POST",
        request("Idempotency-Key: k", GOOD),
        request("Idempotency-Key: k", GOOD, body=entry()[:-1]),
        request("Idempotency-Key: k", "Transfer-Encoding: chunked", body=chunked(entry())[:-2]),
    ],
    ids=range(6),
)
def test_half_a_request(target: Target, sent: bytes) -> None:
    """
    Who leaves before having said everything has asked for nothing.
    """
    exchange(target, sent)


def test_the_largest_body(target: Target) -> None:
    """
    The limit itself is within the limit: the body is read, and refused for what it says.
    """
    body = b"[" + b" " * (BODY_BYTES_MAX - 2) + b"]"

    response = target.caller.post(
        BOOKS, content=body, headers={"Idempotency-Key": "k", "Content-Type": "application/json"}
    )

    assert response.json()["code"] == "json_not_an_object"


def test_more_than_is_worth_reading(target: Target) -> None:
    """
    A body without end is cut off.
    """
    piece = b"10000\r\n" + b"x" * 65536 + b"\r\n"

    answer = exchange_until_closed(target, request("Idempotency-Key: k", "Transfer-Encoding: chunked"), piece)

    assert answer is None or b" 413 " in answer


def exchange_until_closed(target: Target, first: bytes, then: bytes) -> bytes | None:
    """Send `then` again and again until the server ends it; what it said, unless that was lost with the connection."""
    host, port = target.base_url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(first)
        try:
            for _ in range(2000):
                connection.sendall(then)
        except (BrokenPipeError, ConnectionResetError):
            pass
        else:
            pytest.fail("the server read on for ever")
        try:
            return connection.recv(65536)
        except ConnectionResetError:
            return None


def test_the_bodies_are_wrong_by_one_thing(shared: Target) -> None:
    """
    What the hostile bodies are made from is taken when nothing is changed.
    """
    bodies = [(ENTRIES, entry()), (ENTRIES, raw("1")), (ENTRIES, split()), (HOLDS, holding()), (ACCOUNTS, account())]
    for path, body in bodies:
        response = shared.caller.post(
            path, content=body, headers={"Idempotency-Key": str(body), "Content-Type": "application/json"}
        )
        assert response.status_code == 201
