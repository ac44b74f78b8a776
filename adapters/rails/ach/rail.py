"""The ACH rail: files put to a bank over HTTP, and what it says of their entries later.

    PUT {url}/files/{name}              a Nacha file; the same name and bytes again change nothing
    GET {url}/entries/{identification}  whether the bank has an entry, and in which file
    GET {url}/returns?since=2026-11-24  a Nacha file of what settled and what came back since that day; of one entry
                                        with &identification=

A bank takes an entry long before it is done: the first answer is Accepted, settlement comes with the day, and a return
may come after that. Where the bank reports its days, a return is told there, and what settled has settled; without
reports, a return is the last word that is heard of an entry.
"""

import asyncio
import hashlib
from collections.abc import Iterable, Sequence
from datetime import date
from typing import Final

import httpx2
import msgspec
from msgspec import Struct, structs

from adapters.rails.ach.instructions import DayRejected, Originator, Outgoing, identification, outgoing, read_day
from adapters.rails.ach.instructions import reference_of as named
from adapters.rails.ach.reports import read_report
from adapters.rails.ach.writing import Unwritable
from adapters.rails.reports import fetch
from domain.rail import Accepted, Answer, Approved, Declined, Instruction, NotFound, Retry, Unknown
from domain.settlement import Report

PATIENCE_S: Final = 10.0
GATHER_S: Final = 0.1
RECEIVED: Final = "received"
UNASKED: Final = "unasked"
"""Code of a no that is ours: the bank was never asked."""

REASONS: Final = {
    "amount": "invalid_amount",
    "currency": "currency_not_supported",
    "original": "original_not_found",
    "too_late": "too_late",
    "operation": "invalid_transaction",
    "entry.routing_number": "invalid_account",
    "entry.account": "invalid_account",
    "record 6, account": "invalid_account",
}
"""What cannot be written, by the field that it is about; else it is a format error."""


class Receipt(Struct, frozen=True, kw_only=True):
    """What a bank says it took. `sha256`: of the file's bytes, hexadecimal; amounts in cents."""

    name: str
    sha256: str
    entries: int
    debits: int
    credits: int


class EntryHeld(Struct, frozen=True, kw_only=True):
    """What a bank says of an entry it has. `file`: the name of the file it came in."""

    identification: str
    file: str
    amount: int
    credit: bool


class AchRail:
    """All banks that send for us. For one event loop.

    What is sent within a moment goes out together, one file for each bank and window. A bank takes a file whole or not
    at all: where it takes none of it, each half is sent again, down to the entry at fault, which keeps no other back.

    Args:
        patience_s: How long an answer may take; after it the outcome is unknown.
        gather_s: How long the first one of a file waits for others.
    """

    def __init__(
        self, originators: Iterable[Originator], *, patience_s: float = PATIENCE_S, gather_s: float = GATHER_S
    ) -> None:
        self._originators = {originator.route: originator for originator in originators}
        self._patience_s = patience_s
        self._gather_s = gather_s
        self._client = httpx2.AsyncClient(timeout=patience_s, trust_env=False)
        self._gathered: dict[str, tuple[Instruction, asyncio.Future[Answer]]] = {}
        self._sending: set[asyncio.Task[None]] = set()

    async def send(self, instruction: Instruction) -> Answer:
        """Ask for it, for the first time, in one file with what else is sent just now.

        Where not a byte of it left this process, the answer is a no, and another route may be asked after it.
        """
        if instruction.request_id not in self._gathered:
            if not self._gathered:
                task = asyncio.create_task(self._send_gathered())
                self._sending.add(task)
                task.add_done_callback(self._sending.discard)
            self._gathered[instruction.request_id] = instruction, asyncio.get_running_loop().create_future()
        # Whoever goes away takes no answer from others, and nothing out of a file.
        return await asyncio.shield(self._gathered[instruction.request_id][1])

    async def _send_gathered(self) -> None:
        """As many as there are by then; those that come later are for the next file."""
        gathered = self._gathered
        try:
            await asyncio.sleep(self._gather_s)
            self._gathered = {}
            answers = await self.send_all([instruction for instruction, _ in gathered.values()])
        except asyncio.CancelledError:
            answers = dict.fromkeys(gathered, Unknown(why="the rail was closed meanwhile"))
        except Exception as error:
            for _, future in gathered.values():
                future.set_exception(error)
            return
        for request_id, (_, future) in gathered.items():
            future.set_result(answers[request_id])

    async def send_all(self, instructions: Sequence[Instruction]) -> dict[str, Answer]:
        """Ask for many at once, for the first time: one file for each route and window. Answers by request id."""
        answers: dict[str, Answer] = {}
        waiting: dict[str, list[Instruction]] = {}
        for instruction in instructions:
            cannot = self._cannot(instruction)
            if cannot is None:
                waiting.setdefault(instruction.route, []).append(instruction)
            else:
                answers[instruction.request_id] = cannot
        by_id = {instruction.request_id: instruction for instruction in instructions}
        files = [
            (self._originators[route], file)
            for route, of_route in waiting.items()
            for file in _files(of_route, self._originators[route])
        ]
        said = await asyncio.gather(*(self._put(originator, file) for originator, file in files))
        for (_, file), answer in zip(files, said, strict=True):
            within = [by_id[request_id] for request_id in file.request_ids]
            if len(within) > 1 and _took_none(answer):
                middle = len(within) // 2
                for half in (within[:middle], within[middle:]):
                    answers |= await self.send_all(half)
                continue
            for instruction in within:
                answers[instruction.request_id] = await self._answer(instruction, answer)
        return answers

    async def inquire(self, instruction: Instruction) -> Answer:
        """Ask what became of it: never heard of, taken, settled, or returned."""
        originator = self._originators[instruction.route]
        cannot = self._cannot(instruction)
        if cannot is not None:
            return structs.replace(cannot, unasked=False)  # Nor did any other process ask.
        name = identification(instruction.request_id)
        try:
            response = await self._client.get(f"{originator.url}/entries/{name}")
            if response.status_code == httpx2.codes.NOT_FOUND:
                return NotFound()
            response.raise_for_status()
            held = msgspec.json.decode(response.content, type=EntryHeld)
            reference = named(instruction, originator)
            if (held.identification, held.amount, held.credit) != (name, instruction.amount, reference.credit):
                return Unknown(why=f"the bank has {held}, which is not what it was asked")
            since = {"since": reference.effective_on.isoformat(), "identification": name}
            response = await self._client.get(f"{originator.url}/returns", params=since)
            response.raise_for_status()
            said = [each.answer for each in read_day(response.content) if each.identification == name]
        except (httpx2.HTTPError, msgspec.DecodeError, DayRejected) as error:
            return Unknown(why=_words(error))
        return _said(said, instruction, reported=bool(originator.reports)) or Accepted(
            reference=str(reference), code=RECEIVED
        )

    async def report(self, route: str, day: date) -> Report | None:
        """As `domain.ports.RailPort.report`; days are those of New York."""
        originator = self._originators[route]
        if not originator.reports:
            return None
        known_as = originator.routing_number
        data = await fetch(self._client, originator.reports, day, route=known_as, patience_s=self._patience_s)
        return None if data is None else read_report(data, originator=originator, day=day)

    async def close(self) -> None:
        """What is in flight is given up: its outcome is unknown."""
        for task in list(self._sending):
            task.cancel()
        await asyncio.gather(*self._sending, return_exceptions=True)
        await self._client.aclose()

    def _cannot(self, instruction: Instruction) -> Declined | None:
        """Why it cannot be asked at all; such a one was never asked either."""
        try:
            outgoing([instruction], self._originators[instruction.route])
        except Unwritable as error:
            reason = REASONS.get(error.where, "format_error")
            return Declined(
                code=UNASKED, reason=reason, message=f"It cannot be written: {error}.", retry=Retry.NEVER, unasked=True
            )
        return None

    async def _put(self, originator: Originator, file: Outgoing) -> Accepted | Declined | Unknown | None:
        """What a bank says of a whole file: nothing where it already has an entry of it."""
        try:
            response = await self._client.put(f"{originator.url}/files/{file.name}", content=file.data)
        except (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout) as error:
            message = f"It could not be sent: {_words(error)}."
            return Declined(
                code=UNASKED, reason="rail_unavailable", message=message, retry=Retry.ELSEWHERE, unasked=True
            )
        except httpx2.HTTPError as error:
            return Unknown(why=_words(error))
        if response.status_code == httpx2.codes.CONFLICT:
            return None
        if response.status_code == httpx2.codes.UNPROCESSABLE_CONTENT:
            message = f"The bank rejected the file: {response.text[:200]}"
            return Declined(code="rejected", reason="format_error", message=message, retry=Retry.NEVER)
        if response.status_code not in (httpx2.codes.OK, httpx2.codes.CREATED):
            return Unknown(why=f"the bank answered {response.status_code}")
        return _receipt(file, response.content)

    async def _answer(self, instruction: Instruction, of_file: Accepted | Declined | Unknown | None) -> Answer:
        if of_file is None:
            return await self.inquire(instruction)
        if isinstance(of_file, Accepted):
            reference = named(instruction, self._originators[instruction.route])
            return Accepted(reference=str(reference), code=of_file.code)
        return of_file


def _files(instructions: Sequence[Instruction], originator: Originator) -> list[Outgoing]:
    """Those in which they go out: where they do not go together, as by their sum, each by itself."""
    try:
        return outgoing(instructions, originator)
    except Unwritable:
        return [file for instruction in instructions for file in outgoing([instruction], originator)]


def _took_none(answer: Accepted | Declined | Unknown | None) -> bool:
    """Whether a bank said no to a whole file: for what is wrong in it, or for an entry that it has already."""
    return answer is None or (isinstance(answer, Declined) and not answer.unasked)


def _receipt(file: Outgoing, content: bytes) -> Accepted | Unknown:
    """What a bank says it took, held against what was sent: by its bytes and by the totals of its last record."""
    try:
        receipt = msgspec.json.decode(content, type=Receipt)
    except msgspec.DecodeError as error:
        return Unknown(why=f"the receipt cannot be read: {error}")
    if receipt != receipt_of(file):
        return Unknown(why=f"the bank says it took {receipt}, which is not what it was sent")
    return Accepted(reference=receipt.name, code=RECEIVED)


def receipt_of(file: Outgoing) -> Receipt:
    """What a bank that took a file says of it. `file`: written by `write`."""
    (control,) = (line for line in file.data.split(b"\n") if line[:1] == b"9" and line[:2] != b"99")
    return Receipt(
        name=file.name,
        sha256=hashlib.sha256(file.data).hexdigest(),
        entries=len(file.request_ids),
        debits=int(control[31:43]),
        credits=int(control[43:55]),
    )


def _said(said: Sequence[Answer], instruction: Instruction, *, reported: bool) -> Answer | None:
    """What settled has, if it is of the amount that was asked; a return after it counts where no days are reported."""
    settled = [answer for answer in said if isinstance(answer, Approved)]
    returned = [answer for answer in said if isinstance(answer, Declined)]
    if returned and not (settled and reported):
        return returned[0]
    for answer in settled:
        if answer.amount != instruction.amount:
            return Unknown(why=f"settled is {answer.amount}, asked was {instruction.amount}")
        return answer
    return None


def _words(error: Exception) -> str:
    return f"{type(error).__name__} {error}".strip()
