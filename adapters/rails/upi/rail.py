"""The UPI rail: an instruction becomes a message to the bank of its route, the answer becomes an answer.

What the payer has to agree to is accepted first; later the bank says what came of it, or is asked (ReqChkTxn). What was
not answered, or answered with another amount, currency or payment, is unknown until it has been asked.
"""

from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from typing import Final

import httpx2
from msgspec import Struct, structs

from adapters.rails.desk import Desk
from adapters.rails.reports import fetch
from adapters.rails.upi import codes, links
from adapters.rails.upi.codes import declined, unasked
from adapters.rails.upi.links import Link
from adapters.rails.upi.messages import (
    BY_DEFAULT,
    BY_INTENT,
    COLLECT,
    FAILURE,
    PAY,
    REFUND,
    SUCCESS,
    WAITING,
    Head,
    MessageMalformed,
    Party,
    ReqChkTxn,
    ReqPay,
    Request,
    ReqValAdd,
    RespPay,
    note,
    payment_id,
    read_resp_pay,
    read_resp_val_add,
    write,
)
from adapters.rails.upi.reports import read_report
from domain import upi
from domain.errors import Unavailable
from domain.rail import (
    Accepted,
    Answer,
    Approved,
    Declined,
    Instruction,
    NotFound,
    Operation,
    Retry,
    Unknown,
    UpiAddress,
)
from domain.settlement import Report
from domain.upi import Address, Holder, Kind

PATIENCE_S: Final = 10.0
"""How long is waited for an answer."""
EXPIRE_AFTER: Final = timedelta(minutes=5)
"""How long a payer has to answer."""
LINK: Final = "upi_link"
"""What a payer has to open, or to read as a QR code."""
NO_ADDRESS: Final = "ZH"
"""The code of an address that nobody has."""

_NO_ANSWER: Final = (httpx2.HTTPError, httpx2.StreamError)
_TYPES: Final = {Operation.COLLECT: COLLECT, Operation.PAYOUT: PAY, Operation.REFUND: REFUND}


class Bank(Struct, frozen=True, kw_only=True):
    """A bank that takes messages: a route, and who we are to it.

    Args:
        url: Where its messages go.
        address: Ours: where payers pay, and what payouts and refunds come from. `name`: as payers read it.
        mcc: Our category, four digits.
        reports, disputes: Where the files of its days are, see `adapters.rails.reports`, and where disputes are
            answered, see `adapters.rails.desk`; empty where there are none.
    """

    route: str
    url: str
    address: str
    name: str
    mcc: str
    reports: str = ""
    disputes: str = ""


class UpiRail:
    """All banks. `patience_s`: how long is waited for an answer, in seconds."""

    def __init__(self, banks: Iterable[Bank], *, patience_s: float = PATIENCE_S) -> None:
        self._banks = {bank.route: bank for bank in banks}
        self._patience_s = patience_s
        self._client = httpx2.AsyncClient(timeout=patience_s, trust_env=False, follow_redirects=False)
        self._desks = {route: Desk(bank.disputes, route, self._client) for route, bank in self._banks.items()}

    async def send(self, instruction: Instruction) -> Answer:
        """Ask for it, for the first time.

        Where no connection came about, the answer is a no that any other route may be asked after. Whoever may have
        asked before, and crashed, must `inquire` instead: for them that no would be a guess.
        """
        if instruction.operation is Operation.CONTEST:
            return await self._desks[instruction.route].send(instruction)
        refusal = unfit(instruction)
        if refusal is not None:
            return refusal
        bank = self._banks[instruction.route]
        try:
            return _heard(instruction, bank, await self._post(bank, asking(instruction, bank)))
        except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
            why = f"It could not be sent: {error or type(error).__name__}."
            return unasked("rail_unavailable", why, Retry.ELSEWHERE)
        except _NO_ANSWER as error:
            return Unknown(why=f"no answer: {error or type(error).__name__}")

    async def inquire(self, instruction: Instruction) -> Answer:
        """Ask what became of it; that changes nothing."""
        if instruction.operation is Operation.CONTEST:
            return await self._desks[instruction.route].inquire(instruction)
        refusal = unfit(instruction)
        if refusal is not None:
            return structs.replace(refusal, unasked=False)  # Nor did any other process ask.
        bank = self._banks[instruction.route]
        try:
            return _heard(instruction, bank, await self._post(bank, inquiring(instruction, bank)))
        except _NO_ANSWER as error:
            return Unknown(why=f"it could not be asked: {error or type(error).__name__}")

    async def resolve(self, vpa: str, *, request_id: str, now: datetime) -> Holder | None:
        """Whose an address is, as the first bank says; see `domain.ports.Addresses`."""
        try:
            asked = upi.address(vpa)
        except ValueError:
            return None
        bank = next(iter(self._banks.values()))
        own = payment_id(request_id)
        head = Head(organisation=bank.route, message_id=f"V{own[1:]}", at=now)
        try:
            answer = await self._post(bank, ReqValAdd(head=head, payment_id=own, address=str(asked)))
            return holder_in(asked, answer)
        except (*_NO_ANSWER, MessageMalformed) as error:
            raise Unavailable(f"{asked} could not be resolved: {error or type(error).__name__}") from error

    async def report(self, route: str, day: date) -> Report | None:
        """As `domain.ports.RailPort.report`; days are those of India."""
        bank = self._banks[route]
        if not bank.reports:
            return None
        data = await fetch(self._client, bank.reports, day, route=route, patience_s=self._patience_s)
        return None if data is None else read_report(data, route=route, address=bank.address, day=day)

    async def close(self) -> None:
        """What is in flight is given up: its outcome is unknown."""
        await self._client.aclose()

    async def _post(self, bank: Bank, request: Request) -> bytes:
        response = await self._client.post(
            bank.url, content=write(request), headers={"Content-Type": "application/xml"}
        )
        response.raise_for_status()
        return response.content


def unfit(instruction: Instruction) -> Declined | None:
    """Why it cannot be asked of UPI at all; None if it can."""
    method = instruction.method
    assert isinstance(method, UpiAddress), method
    if instruction.operation not in _TYPES:
        return unasked("not_supported", f"UPI has no {instruction.operation}.", Retry.NEVER)
    if instruction.currency != upi.CURRENCY:
        return unasked("currency_not_supported", f"UPI is in {upi.CURRENCY}.", Retry.NEVER)
    try:
        # Whoever paid by a link is known to the bank, which also gives back what they paid.
        if method.vpa or method.flow not in upi.BY_LINK or instruction.operation is Operation.PAYOUT:
            upi.address(method.vpa)
    except ValueError as error:
        return unasked("invalid_address", f"It is {error}.", Retry.NEVER)
    return None


def asking(instruction: Instruction, bank: Bank) -> ReqPay:
    """The message that asks for it; the same for the same instruction, for ever."""
    method = instruction.method
    assert isinstance(method, UpiAddress), method
    ours = Party(address=bank.address, name=bank.name, merchant=True, mcc=bank.mcc)
    theirs = Party(address=method.vpa, name=note(method.holder))
    payer, payee = (theirs, ours) if instruction.operation is Operation.COLLECT else (ours, theirs)
    original = instruction.original_request_id
    return ReqPay(
        head=_head(instruction, bank, "M"),
        payment_id=payment_id(instruction.request_id),
        type=_TYPES[instruction.operation],
        payer=payer,
        payee=payee,
        amount=instruction.amount,
        note=note(instruction.descriptor),
        reference=instruction.request_id,
        mode=BY_INTENT if _by_link(instruction) else BY_DEFAULT,
        original_id=payment_id(original) if original else "",
        original_rrn=instruction.original,
        expire_after=EXPIRE_AFTER if instruction.operation is Operation.COLLECT else None,
    )


def inquiring(instruction: Instruction, bank: Bank) -> ReqChkTxn:
    """The message that asks what became of it."""
    return ReqChkTxn(head=_head(instruction, bank, "C"), payment_id=payment_id(instruction.request_id))


def link_for(instruction: Instruction, bank: Bank) -> str:
    """The link by which the payer's app pays it, and the text of its QR code.

    Raises:
        LinkMalformed: The bank's name or the descriptor cannot stand in a link.
    """
    link = Link(
        payee=upi.address(bank.address),
        name=bank.name,
        mcc=bank.mcc,
        psp_reference=payment_id(instruction.request_id),
        reference=instruction.request_id,
        note=note(instruction.descriptor),
        amount=instruction.amount,
    )
    return links.write(link)


def payment_in(message: bytes) -> str:
    """The id of the payment that a message is about, as `payment_id` makes it: for what a bank says unasked.

    Raises:
        MessageMalformed: It is about none.
    """
    return read_resp_pay(message).payment_id


def answer_in(instruction: Instruction, message: bytes) -> Answer:
    """What a message says about an instruction, be it an answer or said unasked.

    Only what is about this payment, and about all of its amount, is believed.
    """
    try:
        said = read_resp_pay(message)
    except MessageMalformed as error:
        return Unknown(why=f"an answer that cannot be understood: {error}")
    if said.payment_id != payment_id(instruction.request_id):
        return Unknown(why=f"the answer is about {said.payment_id[:40]!r}, another payment")
    if said.amount is None:
        return _without_payment(said)
    if (said.amount, said.currency) != (instruction.amount, instruction.currency):
        return Unknown(why=f"the answer is about {said.amount} {said.currency}: another amount than was asked for")
    return _meaning(said)


def holder_in(asked: Address, message: bytes) -> Holder | None:
    """Whose the address is, as the message says; None: there is none.

    Raises:
        MessageMalformed: It does not say, or is about another address.
    """
    said = read_resp_val_add(message)
    if said.address != str(asked):
        raise MessageMalformed(f"the answer is about {said.address[:60]!r}")
    if said.result == SUCCESS and said.code == codes.APPROVED:
        return Holder(address=asked, name=note(said.name), merchant=said.merchant, account=note(said.account).lower())
    if said.result == FAILURE and said.code == NO_ADDRESS:
        return None
    raise MessageMalformed(f"{said.result[:20]} {said.code[:20]}")


def _meaning(said: RespPay) -> Answer:
    """What result and code say together. Where they contradict each other, nothing is known."""
    if said.code in codes.DEEMED:
        return Unknown(why=f"{said.code}: {codes.DEEMED[said.code]}")
    if said.result == FAILURE and said.code != codes.APPROVED and said.code not in codes.PENDING:
        return declined(said.code)
    if said.result == WAITING and said.code in codes.PENDING and said.rrn:
        return Accepted(reference=said.rrn, code=said.code)
    if said.result == SUCCESS and said.code == codes.APPROVED and said.rrn:
        assert said.amount is not None
        return Approved(
            reference=said.rrn,
            amount=said.amount,
            currency=said.currency,
            code=said.code,
            authorization=said.approval,
            settles_on=said.settles_on,
        )
    return Unknown(why=f"{said.result[:20]!r} with code {said.code[:20]!r} and reference {said.rrn[:20]!r}")


def _heard(instruction: Instruction, bank: Bank, message: bytes) -> Answer:
    """What the answer says; where it waits for a payer whom nobody asks, with the link by which they pay."""
    answer = answer_in(instruction, message)
    if not isinstance(answer, Accepted) or not _by_link(instruction):
        return answer
    expires_at = (instruction.sent_at + EXPIRE_AFTER).astimezone(UTC).isoformat(timespec="microseconds")
    action = {"type": LINK, "link": link_for(instruction, bank), "expires_at": expires_at.replace("+00:00", "Z")}
    return structs.replace(answer, action=action)


def _without_payment(said: RespPay) -> Answer:
    """The bank has no payment under this id: it never heard of it, or did not take it."""
    if said.result != FAILURE or said.code in codes.DEEMED:
        return Unknown(why=f"{said.result[:20]!r} with code {said.code[:20]!r}, and no payment")
    if said.api == "RespChkTxn":
        return NotFound() if said.code == codes.NOT_FOUND else Unknown(why=f"it could not be asked: {said.code[:20]}")
    return declined(said.code)


def _by_link(instruction: Instruction) -> bool:
    method = instruction.method
    assert isinstance(method, UpiAddress), method
    return upi.kind_of(instruction.operation, method.flow) is Kind.P2M


def _head(instruction: Instruction, bank: Bank, kind: str) -> Head:
    # One letter before the payment's own id; the same message for the same instruction, so that it can be had again.
    return Head(
        organisation=bank.route,
        message_id=kind + payment_id(instruction.request_id)[1:],
        at=instruction.sent_at,
    )
