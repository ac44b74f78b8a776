"""What is asked becomes a message, and a bank's message becomes an answer: no IO, no clock, the same bytes every time.

* A payout is a pacs.008 to the payee. So is a refund: a pacs.004 returns a payment whole, once, and is for banks; a
  customer's refund may be a part of it, one of many, and months later. It bears the purpose REFU and what it refunds.
* A reversal is a camt.056, which a bank may refuse. It is answered by a camt.029, or by the money coming back
  (pacs.004).
* What became of either is asked by pacs.028.
* Nobody can be debited by wire. Who is to pay is given a creditor reference, and the wire that brings it is told by
  `notices`, as is what comes back, and what a bank says by itself.
"""

from collections.abc import Iterator
from datetime import date
from typing import Final

from msgspec import Struct

from adapters.rails.wire.codes import (
    CANCELLED,
    FOLLOWED_UP,
    NEVER_HEARD,
    RECALLED,
    SEEN_BEFORE,
    SETTLED,
    UNDER_WAY,
    declined,
)
from adapters.rails.wire.identifiers import (
    ID_MAX,
    NAME_MAX,
    REMITTANCE_MAX,
    is_bic,
    is_iban,
    references_in,
    swift_text,
    uetr,
)
from adapters.rails.wire.messages import (
    CREDIT_TRANSFER,
    RECALL,
    CreditTransfer,
    Header,
    Ids,
    Message,
    Party,
    Reason,
    Recall,
    Resolution,
    Return,
    Status,
    StatusRequest,
)
from adapters.rails.wire.reading import Read, read
from adapters.rails.wire.writing import write
from adapters.rails.wire.xml import NotValid
from domain.money import Money
from domain.rail import (
    Accepted,
    Answer,
    Approved,
    Declined,
    Iban,
    Instruction,
    NotFound,
    Operation,
    Retry,
    Unknown,
)

REFUND: Final = "REFU"
"""Source: ExternalPurpose1Code."""
ON_REQUEST: Final = "CUST"
"""Source: ExternalCancellationReason1Code."""
QUESTION: Final = "Q-"
"""What the id of a question begins with, before that of the message it is about."""


CHARGES: Final = ("SHAR", "DEBT", "CRED", "SLEV")
"""Source: ChargeBearerType1Code."""


class House(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whoever runs Daybook, as banks know them. `bic`: their own.

    Raises:
        ValueError: No bank could know them by that.
    """

    name: str
    country: str
    bic: str

    def __post_init__(self) -> None:
        if not any(letter.isalnum() for letter in swift_text(self.name, NAME_MAX)):
            raise ValueError(f"a house's name needs letters that a wire can say: {self.name!r}")
        if not (len(self.country) == 2 and self.country.isascii() and self.country.isupper()):
            raise ValueError(f"a country has two capital letters: {self.country!r}")
        if not is_bic(self.bic):
            raise ValueError(f"no BIC: {self.bic!r}")


class Bank(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A bank that is asked: a route.

    Args:
        account: The house's own with it, an IBAN: payouts are debited from it, and payers pay to it.
        charges: Who bears them: SHAR (each their own), DEBT (the payer), CRED (the payee) or SLEV (as the scheme says).
        reports: Where the files of its days are, see `adapters.rails.reports`; empty where there are none.

    Raises:
        ValueError: No message could be sent to it.
    """

    route: str
    url: str
    bic: str
    account: str
    charges: str = "SHAR"
    reports: str = ""

    def __post_init__(self) -> None:
        if not is_bic(self.bic):
            raise ValueError(f"no BIC: {self.bic!r}")
        if not is_iban(self.account):
            raise ValueError(f"no IBAN: {self.account!r}")
        if self.charges not in CHARGES:
            raise ValueError(f"charges are one of {', '.join(CHARGES)}: {self.charges!r}")


class Concluded(Struct, frozen=True, kw_only=True):
    """A bank said by itself what became of a request; `understand` makes the answer of it."""

    request_id: str


class Returned(Struct, frozen=True, kw_only=True):
    """A payment that was done came back, in whole or in part. `reference`: of the return, the bank's own."""

    request_id: str
    amount: int
    currency: str
    why: Declined
    reference: str
    settles_on: date | None


class Credited(Struct, frozen=True, kw_only=True):
    """Somebody paid us. `references`: the creditor references they may have meant, the likeliest first."""

    references: tuple[str, ...]
    amount: int
    currency: str
    payer: Party
    account: str
    reference: str
    settles_on: date | None


Notice = Concluded | Returned | Credited


def order(instruction: Instruction, house: House, bank: Bank, settles_on: date) -> bytes | Declined:
    """The message that asks for it, or why it cannot be asked at all: then nothing was sent, and nothing can be."""
    match instruction.operation:
        case Operation.PAYOUT | Operation.REFUND:
            return _written(instruction, _transfer(instruction, house, bank, settles_on))
        case Operation.REVERSE:
            return _written(instruction, _recall(instruction, house, bank))
        case operation:
            return _unasked("not_permitted", f"A wire cannot {operation}: the payer sends it.", Retry.ELSEWHERE)


def question(instruction: Instruction, house: House, bank: Bank) -> bytes | Declined:
    """The message that asks what became of it."""
    kind = RECALL if instruction.operation is Operation.REVERSE else CREDIT_TRANSFER
    header = _header(f"{QUESTION}{instruction.request_id}", instruction, house, bank)
    asked = StatusRequest(header=header, original=ids_of(instruction.request_id), original_kind=kind)
    return _written(instruction, asked)


def ids_of(request_id: str) -> Ids:
    """All that a payment is known by, from its request id alone."""
    return Ids(
        message_id=request_id,
        instruction_id=request_id,
        end_to_end_id=request_id,
        transaction_id=request_id,
        uetr=uetr(request_id),
    )


def understand(instruction: Instruction, content: bytes, *, inquired: bool = False) -> Answer:
    """What a bank's message says of what was asked. Whatever does not fit what was asked leaves it unknown.

    Args:
        inquired: It answers a question: that the bank never received it means that it may be asked to do it now.
    """
    message = read(content)
    if not message.understood:
        what = next((each.what for each in message.findings if each.unread), "there is nothing in it")
        return Unknown(why=f"a message that is not understood ({message.name or 'no XML'}): {what}")
    answers = [_answer(instruction, each, inquired) for each in message.contents if _concerns(instruction, each)]
    if not answers:
        return Unknown(why=f"{message.name} does not speak of {instruction.request_id}")
    if any(answer != answers[0] for answer in answers):
        return Unknown(why=f"{message.name} says different things of {instruction.request_id}")
    return answers[0]


def notices(content: bytes) -> tuple[tuple[Notice, ...], Read]:
    """What a message that came by itself is about, and all that was read of it, so that what is wrong can be told."""
    message = read(content)
    return tuple(notice for each in message.contents for notice in _notices(each)), message


def _notices(message: Message) -> Iterator[Notice]:
    match message:
        case Status(original=original):
            if request_id := _request_id(original):
                yield Concluded(request_id=request_id)
        case Resolution(case_id=case_id):
            if case_id:
                yield Concluded(request_id=case_id)
        case Return(original=original, amount=Money(minor=minor, currency=currency)):
            yield Returned(
                request_id=_request_id(original),
                amount=minor,
                currency=currency,
                why=declined(message.reasons),
                reference=message.return_id or message.reference or message.header.message_id,
                settles_on=message.settles_on,
            )
        case CreditTransfer(ids=ids, amount=Money(minor=minor, currency=currency)):
            yield Credited(
                references=references(message),
                amount=minor,
                currency=currency,
                payer=message.debtor,
                account=message.creditor.account,
                reference=ids.uetr or ids.transaction_id or ids.end_to_end_id,
                settles_on=message.settles_on,
            )


def references(transfer: CreditTransfer) -> tuple[str, ...]:
    """The creditor references that a payer may have meant: where they belong, else wherever they were put."""
    places = (transfer.creditor_reference, transfer.remittance, transfer.ids.end_to_end_id)
    return tuple(dict.fromkeys(reference for place in places for reference in references_in(place)))


def _request_id(original: Ids) -> str:
    return original.end_to_end_id or original.instruction_id or original.transaction_id or original.message_id


def _transfer(instruction: Instruction, house: House, bank: Bank, settles_on: date) -> CreditTransfer | Declined:
    payee = instruction.method
    assert isinstance(payee, Iban), payee
    name, remittance = swift_text(payee.holder, NAME_MAX), swift_text(instruction.descriptor, REMITTANCE_MAX)
    if not is_iban(payee.iban):
        return _unasked("invalid_account", "The payee's IBAN is not one.")
    if not is_bic(payee.bic):
        return _unasked("invalid_account", "The BIC of the payee's bank is not one.")
    if not any(letter.isalnum() for letter in name):
        return _unasked("invalid_details", "The payee's name cannot be said in the characters of a wire.")
    refund = instruction.operation is Operation.REFUND
    refunds = f"Refund of {instruction.original_request_id or instruction.original}"
    return CreditTransfer(
        header=_header(instruction.request_id, instruction, house, bank),
        ids=ids_of(instruction.request_id),
        amount=Money(instruction.amount, instruction.currency),
        settles_on=settles_on,
        debtor=Party(name=swift_text(house.name, NAME_MAX), country=house.country, account=bank.account, bic=bank.bic),
        creditor=Party(name=name, country=payee.country, account=payee.iban, bic=payee.bic),
        charges=bank.charges,
        purpose=REFUND if refund else "",
        remittance=swift_text(f"{refunds} {remittance}", REMITTANCE_MAX) if refund else remittance,
    )


def _recall(instruction: Instruction, house: House, bank: Bank) -> Recall | Declined:
    if not instruction.original_request_id:
        return _unasked("original_not_found", "It does not say which payment is to be recalled.")
    return Recall(
        header=_header(instruction.request_id, instruction, house, bank),
        case_id=instruction.request_id,
        original=ids_of(instruction.original_request_id),
        original_kind=CREDIT_TRANSFER,
        amount=Money(instruction.amount, instruction.currency),
        reasons=(Reason(ON_REQUEST),),
    )


def _header(message_id: str, instruction: Instruction, house: House, bank: Bank) -> Header:
    assert len(message_id) <= ID_MAX, message_id
    return Header(message_id=message_id, created_at=instruction.sent_at, instructing=house.bic, instructed=bank.bic)


def _written(instruction: Instruction, message: Message | Declined) -> bytes | Declined:
    if isinstance(message, Declined):
        return message
    try:
        return write(message)
    except NotValid as error:
        return _unasked("invalid_message", f"It cannot be said in a message: {error}")


def _unasked(reason: str, message: str, retry: Retry = Retry.NEVER) -> Declined:
    """A no of our own: no bank was asked, so there is no code."""
    return Declined(code="", reason=reason, message=message, retry=retry, unasked=True)


def _concerns(instruction: Instruction, message: Message) -> bool:
    """Whether it speaks of this request: any one id will do here, and all are compared afterwards."""
    recall = instruction.operation is Operation.REVERSE
    match message:
        case Resolution(case_id=case_id, original=original):
            return recall and (case_id == instruction.request_id or _shares(original, instruction.original_request_id))
        case Return(original=original):
            return recall and _shares(original, instruction.original_request_id)
        case Status(original=original):
            return _shares(original, instruction.request_id)
        case _:
            return False


def _shares(original: Ids, request_id: str) -> bool:
    ids = [each for each in original.of_payment() if each]
    ours = ids_of(request_id)
    # A message that could not be read by the bank is only known by its own id.
    return any(each in ours.of_payment() for each in ids) or (not ids and original.message_id == request_id)


def _answer(instruction: Instruction, message: Message, inquired: bool) -> Answer:
    match message:
        case Status():
            expected = ids_of(instruction.request_id)
            return _mismatch(instruction, message, expected, message.amount) or _of_status(
                instruction, message, inquired
            )
        case Resolution():
            expected = ids_of(instruction.original_request_id)
            return _mismatch(instruction, message, expected, message.amount) or _of_resolution(instruction, message)
        case Return():
            expected = ids_of(instruction.original_request_id)
            return _mismatch(instruction, message, expected, message.amount) or _of_return(instruction, message)
        case _:
            raise AssertionError(message)


def _mismatch(
    instruction: Instruction, message: Status | Resolution | Return, expected: Ids, amount: Money | None
) -> Unknown | None:
    """What a bank says is held against what it was asked: ids and amount, as far as it names them."""
    said = message.original
    pairs = zip((said.message_id, *said.of_payment()), (expected.message_id, *expected.of_payment()), strict=True)
    wrong = [theirs for theirs, ours in pairs if theirs and theirs.lower() != ours.lower()]
    # A question that is rejected is no payment that is rejected.
    recall = isinstance(message, Status) and instruction.operation is Operation.REVERSE
    if message.original_kind[:8].lower() not in ("", (RECALL if recall else CREDIT_TRANSFER)[:8]):
        wrong.append(message.original_kind)
    if isinstance(message, Resolution) and message.case_id not in ("", instruction.request_id):
        wrong.append(message.case_id)
    if wrong:
        return Unknown(why=f"the bank speaks of {', '.join(wrong)[:200]} as well as of {instruction.request_id}")
    asked = Money(instruction.amount, instruction.currency)
    if amount is not None and amount != asked:
        return Unknown(why=f"the bank says {amount} and was asked for {asked}")
    return None


def _of_status(instruction: Instruction, message: Status, inquired: bool) -> Answer:
    codes = {reason.code for reason in message.reasons}
    reference = message.reference or uetr(instruction.request_id)
    match message.status:
        case status if status in SETTLED and instruction.operation is not Operation.REVERSE:
            day = "" if message.settles_on is None else message.settles_on.isoformat()
            return _approved(instruction, reference, status, day)
        case status if status in UNDER_WAY:
            return Accepted(reference=reference, code=status)
        case "RJCT" if codes & NEVER_HEARD:
            return NotFound() if inquired else Unknown(why="the bank says that it never received what it answers")
        case "RJCT" if codes & SEEN_BEFORE:
            return Unknown(why="the bank has had it before, and does not say what came of that")
        case "RJCT" if inquired and instruction.operation is Operation.REVERSE:
            return Unknown(why="the bank rejects the question what became of the recall")
        case "RJCT":
            return declined(message.reasons)
        case "CANC":
            return declined((Reason(CANCELLED), *message.reasons))
        case status:
            return Unknown(why=f"the bank gives the status {status[:40]!r}")


def _of_resolution(instruction: Instruction, message: Resolution) -> Answer:
    reference = message.reference or message.header.message_id
    match message.status, message.individual:
        case "CNCL", "" | "ACCR":
            return _approved(instruction, reference, message.status)
        case "RJCR", "" | "RJCR":
            return declined(message.reasons)
        case status, "" | "PDCR" if status in FOLLOWED_UP:
            return Accepted(reference=reference, code=status)
        case status, individual:
            return Unknown(why=f"the bank says {status[:40]!r} of the recall and {individual[:40]!r} of the payment")


def _of_return(instruction: Instruction, message: Return) -> Answer:
    """The money is back. If for another reason than the recall, it came back all the same."""
    code = next((reason.code for reason in message.reasons), RECALLED)
    return _approved(instruction, message.return_id or message.header.message_id, code)


def _approved(instruction: Instruction, reference: str, code: str, settles_on: str = "") -> Approved:
    return Approved(
        reference=reference,
        amount=instruction.amount,
        currency=instruction.currency,
        code=code,
        settles_on=settles_on,
    )
