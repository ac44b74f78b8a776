"""The card rail: an instruction becomes a message, the message goes to its acquirer, the answer becomes an answer.

There is no message of a card network that asks what became of another. What there is, is the repeat (0101, 0201, 0221,
0401, 0421): an issuer that has done it answers again what it did, under the same numbers, and does nothing; one that
has never heard of it does it now. So `inquire` never answers NotFound, and after it the outcome is known. Only disputes
are answered elsewhere, at the acquirer's desk, and what settled is told by a file of the day.
"""

from collections.abc import Iterable, Mapping
from datetime import date
from typing import Final

import httpx2

from adapters.rails.card.cards import Vault
from adapters.rails.card.codec import MessageMalformed
from adapters.rails.card.declines import unasked
from adapters.rails.card.link import Counts, Link, NoAnswer, NotSent, Patience
from adapters.rails.card.messages import AMOUNT_MAX, Acquirer, Asked, ask, read_answer
from adapters.rails.card.reports import read_report
from adapters.rails.desk import Desk
from adapters.rails.reports import fetch
from domain.rail import Answer, Card, Declined, Instruction, Operation, Retry, Unknown
from domain.settlement import Report

HTTP_PATIENCE_S: Final = 10.0
"""How long files and desks may take."""


class CardRail:
    """All acquirers, each on a connection of its own. For one event loop."""

    def __init__(self, acquirers: Iterable[Acquirer], vault: Vault, patience: Patience | None = None) -> None:
        self._acquirers = {acquirer.route: acquirer for acquirer in acquirers}
        self._vault = vault
        patience = patience or Patience()
        self._links = {route: Link(acquirer, patience) for route, acquirer in self._acquirers.items()}
        self._http = httpx2.AsyncClient(timeout=HTTP_PATIENCE_S, trust_env=False)
        self._desks = {
            route: Desk(acquirer.disputes, acquirer.merchant, self._http) for route, acquirer in self._acquirers.items()
        }

    async def send(self, instruction: Instruction) -> Answer:
        """Ask for it, for the first time.

        Where not a byte of it left this process, the answer is a no, and any other route may be asked after it. Whoever
        may have asked before, and crashed, must `inquire` instead: for them that no would be a guess.
        """
        if instruction.operation is Operation.CONTEST:
            return await self._desks[instruction.route].send(instruction)
        asked = self._message(instruction)
        if isinstance(asked, Declined):
            return asked
        try:
            return await self._ask(instruction, asked, asked.message)
        except NotSent as error:
            return unasked("rail_unavailable", f"It could not be sent: {error}.", Retry.ELSEWHERE)

    async def inquire(self, instruction: Instruction) -> Answer:
        """Ask what became of it, by asking again. What was not done is done now; the answer is the same either way."""
        if instruction.operation is Operation.CONTEST:
            return await self._desks[instruction.route].inquire(instruction)
        asked = self._message(instruction)
        if isinstance(asked, Declined):
            return Unknown(why=asked.message)
        try:
            return await self._ask(instruction, asked, asked.repeated)
        except NotSent as error:
            return Unknown(why=f"it could not be asked again: {error}")

    async def report(self, route: str, day: date) -> Report | None:
        """As `domain.ports.RailPort.report`; days are those of UTC."""
        acquirer = self._acquirers[route]
        if not acquirer.reports:
            return None
        data = await fetch(self._http, acquirer.reports, day, route=acquirer.merchant, patience_s=HTTP_PATIENCE_S)
        return None if data is None else read_report(data, route=route, merchant=acquirer.merchant, day=day)

    def counts(self) -> Mapping[str, Counts]:
        """What happened on each route's line."""
        return {route: link.counts for route, link in self._links.items()}

    def connected(self) -> Mapping[str, bool]:
        """Which routes have a connection that has signed on. One that was never used has none."""
        return {route: link.connected for route, link in self._links.items()}

    async def close(self) -> None:
        """What is in flight is given up: its outcome is unknown."""
        for link in self._links.values():
            await link.close()
        await self._http.aclose()

    def _message(self, instruction: Instruction) -> Asked | Declined:
        """What to send, or why it cannot be asked at all."""
        assert isinstance(instruction.method, Card), instruction.method
        acquirer = self._acquirers.get(instruction.route)
        if acquirer is None:
            return unasked("rail_unavailable", f"There is no route {instruction.route}.", Retry.ELSEWHERE)
        number = self._vault.number_of(instruction.method.token)
        if number is None:
            return unasked("invalid_card", "The card's token is not known.", Retry.NEVER)
        if instruction.amount > AMOUNT_MAX:
            return unasked("invalid_amount", f"A card message holds at most {AMOUNT_MAX} minor units.", Retry.NEVER)
        try:
            return ask(instruction, number, acquirer)
        except MessageMalformed as error:
            return unasked("invalid_transaction", f"It cannot be said in a card message: {error}.", Retry.NEVER)

    async def _ask(self, instruction: Instruction, asked: Asked, message: bytes) -> Answer:
        try:
            fields = await self._links[instruction.route].ask(asked.key, message)
        except NoAnswer as error:
            return Unknown(why=str(error))
        return read_answer(asked, fields, instruction.currency)
