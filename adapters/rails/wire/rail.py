"""The wire rail: a message is posted to the bank, and what comes back is made an answer."""

import asyncio
from collections.abc import Callable, Iterable
from datetime import date
from types import TracebackType
from typing import Final, Self

import httpx2
from msgspec import structs

from adapters.rails.reports import fetch
from adapters.rails.wire.conversation import Bank, House, order, question, understand
from adapters.rails.wire.reports import read_report
from domain.rail import Answer, Declined, Instruction, Retry, Unknown
from domain.settlement import Report

ANSWER_MAX: Final = 2**20
"""Bytes of the largest answer that is read."""

_NOT_SENT: Final = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout)
"""No connection was made, so nothing can have arrived."""


class NotSent(Exception):
    """Not a byte left for the bank."""


class NoAnswer(Exception):
    """It may have arrived."""


class WireRail:
    """All banks. For one event loop.

    Args:
        settles_on: The day on which a payment is to settle, from what is asked: never from a clock, so that asking
            again is the same bytes.
        patience_s: How long a bank may take for an answer, all of it, in seconds.
        transport: Where requests go, instead of the network.
    """

    def __init__(
        self,
        house: House,
        banks: Iterable[Bank],
        *,
        settles_on: Callable[[Instruction], date],
        patience_s: float = 10.0,
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        self._house = house
        self._banks = {bank.route: bank for bank in banks}
        self._settles_on = settles_on
        self._patience_s = patience_s
        self._http = httpx2.AsyncClient(
            transport=transport, timeout=patience_s, trust_env=False, follow_redirects=False
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """What is in flight is given up: its outcome is unknown."""
        await self._http.aclose()

    async def send(self, instruction: Instruction) -> Answer:
        """Ask for it, for the first time.

        Where not a byte of it left this process, the answer is a no, and any other route may be asked after it. Whoever
        may have asked before, and crashed, must `inquire` instead: for them that no would be a guess.
        """
        bank = self._banks[instruction.route]
        message = order(instruction, self._house, bank, self._settles_on(instruction))
        if isinstance(message, Declined):
            return message
        try:
            return understand(instruction, await self._post(bank, message))
        except NotSent as error:
            why = f"It could not be sent: {error}."
            return Declined(code="", reason="rail_unavailable", message=why, retry=Retry.ELSEWHERE, unasked=True)
        except NoAnswer as error:
            return Unknown(why=str(error))

    async def inquire(self, instruction: Instruction) -> Answer:
        """Ask what became of it. A bank that never received it says so, and does not do it now."""
        bank = self._banks[instruction.route]
        message = question(instruction, self._house, bank)
        if isinstance(message, Declined):
            return Unknown(why=message.message)
        ordered = order(instruction, self._house, bank, self._settles_on(instruction))
        if isinstance(ordered, Declined):
            return structs.replace(ordered, unasked=False)  # Nor did any other process ask.
        try:
            return understand(instruction, await self._post(bank, message), inquired=True)
        except (NotSent, NoAnswer) as error:
            return Unknown(why=str(error))

    async def report(self, route: str, day: date) -> Report | None:
        """As `domain.ports.RailPort.report`; days are those of UTC."""
        bank = self._banks[route]
        if not bank.reports:
            return None
        data = await fetch(self._http, bank.reports, day, route=bank.bic, patience_s=self._patience_s)
        return None if data is None else read_report(data, bank=bank, day=day)

    async def _post(self, bank: Bank, message: bytes) -> bytes:
        """The bank's message, whatever its HTTP status: many send their rejections with one that says error."""
        try:
            async with asyncio.timeout(self._patience_s):
                return await self._exchange(bank, message)
        except _NOT_SENT as error:
            raise NotSent(f"{bank.route} cannot be reached ({type(error).__name__})") from error
        except (httpx2.HTTPError, TimeoutError) as error:
            raise NoAnswer(f"{bank.route} did not answer ({type(error).__name__})") from error

    async def _exchange(self, bank: Bank, message: bytes) -> bytes:
        headers = {"Content-Type": "application/xml; charset=utf-8", "Accept": "application/xml"}
        async with self._http.stream("POST", bank.url, content=message, headers=headers) as response:
            content = bytearray()
            async for chunk in response.aiter_bytes():
                content += chunk
                if len(content) > ANSWER_MAX:
                    raise NoAnswer(f"{bank.route} answered with more than {ANSWER_MAX} bytes")
            if not content:
                raise NoAnswer(f"{bank.route} answered with nothing (HTTP {response.status_code})")
            return bytes(content)
