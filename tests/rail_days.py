"""Each simulated rail in this process, asked in instructions and by its clock, and its days as they are reported."""

from abc import ABC, abstractmethod
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar, Final

import msgspec

from adapters.rails.ach import instructions as ach
from adapters.rails.ach.instructions import Originator
from adapters.rails.ach.reports import read_report as read_ach
from adapters.rails.ach.writing import Unwritable
from adapters.rails.card.cards import BY_TOKEN, card_of
from adapters.rails.card.codec import decode
from adapters.rails.card.messages import Acquirer, ask, read_answer
from adapters.rails.card.reports import read_report as read_card
from adapters.rails.desk import Evidence, Heard
from adapters.rails.simulator.ach import AchSimulator
from adapters.rails.simulator.books import Books, Effect
from adapters.rails.simulator.card import CardSimulator
from adapters.rails.simulator.clock import Clock
from adapters.rails.simulator.faults import Faults, Switches
from adapters.rails.simulator.reply import RailSimulator
from adapters.rails.simulator.upi import UpiSimulator
from adapters.rails.simulator.wire import WireSimulator
from adapters.rails.upi import rail as upi
from adapters.rails.upi.messages import payment_id, write
from adapters.rails.upi.reports import read_report as read_upi
from adapters.rails.wire.conversation import Bank as WireBank
from adapters.rails.wire.conversation import House, order, understand
from adapters.rails.wire.reports import read_report as read_wire
from domain.calendar import next_business_day
from domain.rail import (
    Answer,
    Approved,
    BankAccount,
    Card,
    Declined,
    Iban,
    Instruction,
    Method,
    Operation,
    Rail,
    Retry,
    UpiAddress,
)
from domain.settlement import Report

START: Final = datetime(2026, 11, 20, 15, tzinfo=UTC)
"""A Friday, before Thanksgiving's week."""


class Bank(ABC):
    """The other side of a rail, with a clock that is moved by hand; `route`: what it knows us by."""

    rail: ClassVar[Rail]
    currency: ClassVar[str]
    method: ClassVar[Method]
    simulated: ClassVar[type[RailSimulator]]
    known_as: ClassVar[str]
    begins: ClassVar[Operation] = Operation.COLLECT

    def __init__(self, path: Path) -> None:
        self.path = path
        self.now = START
        self.faults = Faults(1)
        self.open()

    def open(self) -> None:
        self.books = Books(self.path)
        clock = Clock(not_before=self.books.latest, real=lambda: self.now)
        self.simulator = self.simulated(self.books, self.faults, clock)

    def close(self) -> None:
        self.books.__exit__()

    def restart(self) -> None:
        self.close()
        self.open()

    def advance(self, **time: int) -> None:
        self.now += timedelta(**time)
        self.simulator.due()

    def switch(self, **switches: Any) -> None:
        self.faults.switch(self.rail, Switches(**switches))

    def instruction(
        self, number: int, operation: Operation | None = None, *, upon: "Done | None" = None, **said: Any
    ) -> Instruction:
        given: dict[str, Any] = {
            "request_id": f"req{number:019}",
            "operation": operation or self.begins,
            "rail": self.rail,
            "route": "route",
            "amount": upon.amount if upon is not None else 1_000,
            "currency": self.currency,
            "method": upon.method if upon is not None else self.method,
            "sent_at": self.now,
            "original": upon.reference if upon is not None else "",
            "original_request_id": upon.request_id if upon is not None else "",
        }
        return Instruction(**given | said)

    @abstractmethod
    def send(self, instruction: Instruction) -> Answer:
        """What it answers at once."""

    @abstractmethod
    def read(self, data: bytes, day: date) -> Report:
        """What the file of a day says."""

    def done(self, instruction: Instruction) -> "Done":
        """What was done, of something that is."""
        answer = self.send(instruction)
        assert isinstance(answer, Approved), answer
        return Done(instruction, answer.reference)

    def effect(self, instruction: Instruction) -> Effect:
        found = self.books.find(self.rail, self.name(instruction.request_id))
        assert found is not None, instruction
        return found

    def name(self, request_id: str) -> str:
        """The rail's own of a request id."""
        return request_id

    def told(self, request_id: str) -> str:
        """What a report names a request by."""
        return request_id

    def report(self, day: date) -> Report | None:
        """As it is served."""
        if not self.simulator.is_over(day):
            return None
        return self.read(self.simulator.settlement(day, self.known_as), day)

    def contest(self, number: int, dispute: str, amount: int, text: str) -> Heard | None:
        """What the desk says of such evidence; None: that id was something else's."""
        evidence = Evidence(
            request_id=f"req{number:019}",
            dispute=dispute,
            amount=amount,
            currency=self.currency,
            evidence={"statement": text},
        )
        simulator = self.simulator
        assert isinstance(simulator, CardSimulator | UpiSimulator)
        reply = simulator.disputes.contest(msgspec.json.encode(evidence), self.known_as)
        assert reply.body is not None
        return msgspec.json.decode(reply.body, type=Heard) if reply.body else None


class Done(msgspec.Struct, frozen=True):
    """What was asked, and the rail's reference of it."""

    asked: Instruction
    reference: str

    @property
    def request_id(self) -> str:
        return self.asked.request_id

    @property
    def amount(self) -> int:
        return self.asked.amount

    @property
    def method(self) -> Method:
        return self.asked.method


class CardBank(Bank):
    rail = Rail.CARD
    currency = "EUR"
    method = card_of("tok_visa")
    simulated = CardSimulator
    known_as = "SHOP"
    acquirer = Acquirer(route="route", host="", port=1, number="476134", terminal="DAYBOOK1", merchant="SHOP")

    def send(self, instruction: Instruction) -> Answer:
        assert isinstance(instruction.method, Card)
        asked = ask(instruction, BY_TOKEN[instruction.method.token].number, self.acquirer)
        reply = self.simulator.answer(asked.message)
        assert reply.body is not None
        return read_answer(asked, decode(reply.body), instruction.currency)

    def read(self, data: bytes, day: date) -> Report:
        return read_card(data, route="route", merchant="SHOP", day=day)


class UpiBank(Bank):
    rail = Rail.UPI
    currency = "INR"
    method = UpiAddress(vpa="asha@bank")
    simulated = UpiSimulator
    known_as = "route"
    bank = upi.Bank(route="route", url="", address="shop@bank", name="Shop", mcc="5411")

    def send(self, instruction: Instruction) -> Answer:
        """After a second, in which payers answer."""
        self.simulator.answer(write(upi.asking(instruction, self.bank)))
        self.now += timedelta(seconds=1)
        reply = self.simulator.answer(write(upi.inquiring(instruction, self.bank)))
        assert reply.body is not None
        return upi.answer_in(instruction, reply.body)

    def name(self, request_id: str) -> str:
        return payment_id(request_id)

    def read(self, data: bytes, day: date) -> Report:
        return read_upi(data, route="route", address="shop@bank", day=day)


class AchBank(Bank):
    rail = Rail.ACH
    currency = "USD"
    method = BankAccount(routing_number="021000021", account_number="123456789", holder="Ada Byron")
    simulated = AchSimulator
    known_as = "091000019"
    originator = Originator(
        route="route",
        url="",
        routing_number="091000019",
        operator="021001208",
        company_name="Daybook",
        company_id="1234567890",
    )

    def send(self, instruction: Instruction) -> Answer:
        """Taken, so that it is done, later: a bank that took it says no more."""
        try:
            (file,) = ach.outgoing([instruction], self.originator)
        except Unwritable as error:
            return Declined(code="", reason=error.where, message=str(error), retry=Retry.NEVER, unasked=True)
        simulator = self.simulator
        assert isinstance(simulator, AchSimulator)
        reply = simulator.put(file.name, file.data)
        assert reply.status < 300, reply
        reference = ach.reference_of(instruction, self.originator)
        return Approved(reference=str(reference), amount=instruction.amount, currency="USD", code="received")

    def told(self, request_id: str) -> str:
        return ach.identification(request_id)

    def read(self, data: bytes, day: date) -> Report:
        return read_ach(data, originator=self.originator, day=day)


class WiresBank(Bank):
    rail = Rail.WIRE
    currency = "EUR"
    method = Iban(iban="GB33BUKB20201555555555", bic="BUKBGB22", holder="Bob Payee", country="GB")
    simulated = WireSimulator
    known_as = "COBADEFFXXX"
    begins = Operation.PAYOUT
    house = House(name="Daybook", country="DE", bic="DAYBDEFFXXX")
    bank = WireBank(route="route", url="", bic="COBADEFFXXX", account="DE89370400440532013000")

    def send(self, instruction: Instruction) -> Answer:
        message = order(instruction, self.house, self.bank, next_business_day(instruction.sent_at.date()))
        assert isinstance(message, bytes), message
        reply = self.simulator.answer(message)
        assert reply.body is not None
        return understand(instruction, reply.body)

    def read(self, data: bytes, day: date) -> Report:
        return read_wire(data, bank=self.bank, day=day)


BANKS: Final[dict[Rail, type[Bank]]] = {bank.rail: bank for bank in (CardBank, AchBank, UpiBank, WiresBank)}
