"""The desk of an acquirer or a bank that disputes are answered at, over HTTP.

Schemes let their members answer disputes by portals and interfaces of their own and publish none: this is our own
rendering, and whoever has another puts it behind this.

    POST {url}?route=               evidence under a request id, which is taken once; 409: that id was something else's
    GET  {url}/{request_id}?route=  what became of it, or 404
"""

from collections.abc import Mapping
from typing import Final

import httpx2
import msgspec
from msgspec import Struct

from domain.rail import Answer, Approved, Declined, Instruction, NotFound, Retry, Unknown


class Evidence(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a dispute is answered with. `dispute`: the rail's own reference; `amount`: what is disputed, minor units."""

    request_id: str
    dispute: str
    amount: int
    currency: str
    evidence: dict[str, str]


class Heard(Struct, frozen=True, kw_only=True):
    """What the desk says of it: taken, or not, and why. `reference`: its own."""

    request_id: str
    accepted: bool
    code: str
    reference: str
    amount: int
    currency: str


NOES: Final[Mapping[str, tuple[str, str]]] = {
    "unknown_dispute": ("original_not_found", "There is no such dispute."),
    "wrong_amount": ("invalid_amount", "Another amount is disputed."),
    "closed": ("too_late", "The dispute is closed."),
    "too_late": ("too_late", "The time to answer is over."),
    "answered": ("duplicate", "The dispute has been answered."),
}
"""Why evidence is not taken: reason and sentence by the desk's code."""


class Desk:
    """One desk. `url`: where disputes are answered, or nothing; `route`: what we are known by there."""

    def __init__(self, url: str, route: str, client: httpx2.AsyncClient) -> None:
        self._url = url
        self._route = {"route": route}
        self._client = client

    async def send(self, instruction: Instruction) -> Answer:
        """Answer the dispute, for the first time; as `domain.ports.RailPort.send`."""
        if not self._url:
            return _no_desk(instruction, unasked=True)
        evidence = Evidence(
            request_id=instruction.request_id,
            dispute=instruction.original,
            amount=instruction.amount,
            currency=instruction.currency,
            evidence=instruction.evidence,
        )
        try:
            said = await self._client.post(self._url, params=self._route, content=msgspec.json.encode(evidence))
        except (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout) as error:
            why = f"It could not be sent: {_words(error)}."
            return Declined(code="", reason="rail_unavailable", message=why, retry=Retry.LATER, unasked=True)
        except httpx2.HTTPError as error:
            return Unknown(why=_words(error))
        return _meaning(instruction, said)

    async def inquire(self, instruction: Instruction) -> Answer:
        """What became of the answer to the dispute."""
        if not self._url:
            return _no_desk(instruction, unasked=False)  # Nor did any other process ask.
        try:
            said = await self._client.get(f"{self._url}/{instruction.request_id}", params=self._route)
        except httpx2.HTTPError as error:
            return Unknown(why=_words(error))
        if said.status_code == httpx2.codes.NOT_FOUND:
            return NotFound()
        return _meaning(instruction, said)


def _no_desk(instruction: Instruction, *, unasked: bool) -> Declined:
    message = f"There is no desk for disputes of {instruction.route}."
    return Declined(code="", reason="not_supported", message=message, retry=Retry.NEVER, unasked=unasked)


def _meaning(instruction: Instruction, said: httpx2.Response) -> Answer:
    if said.status_code != httpx2.codes.OK:
        return Unknown(why=f"the desk answered {said.status_code}")
    try:
        heard = msgspec.json.decode(said.content, type=Heard)
    except msgspec.DecodeError as error:
        return Unknown(why=f"the desk's answer cannot be read: {error}")
    asked = (instruction.request_id, instruction.amount, instruction.currency)
    if (heard.request_id, heard.amount, heard.currency) != asked:
        return Unknown(why=f"the desk speaks of {heard.request_id[:40]!r}, {heard.amount} {heard.currency[:10]}")
    if heard.accepted:
        return Approved(reference=heard.reference, amount=heard.amount, currency=heard.currency, code=heard.code)
    reason, message = NOES.get(heard.code, ("declined", "The desk did not take it."))
    return Declined(code=heard.code, reason=reason, message=message, retry=Retry.NEVER)


def _words(error: Exception) -> str:
    return f"{type(error).__name__} {error}".strip()
