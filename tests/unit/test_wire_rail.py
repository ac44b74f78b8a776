"""The wire rail over HTTP: one message to the bank of the route, and an answer whatever comes of it."""

import asyncio
from collections.abc import AsyncIterator, Callable

import httpx2
import pytest
from msgspec.structs import replace

from adapters.rails.wire.conversation import ids_of, order, question
from adapters.rails.wire.messages import CREDIT_TRANSFER, Header, Reason, Status
from adapters.rails.wire.rail import ANSWER_MAX, WireRail
from adapters.rails.wire.writing import write
from domain.money import Money
from domain.rail import Answer, Approved, Declined, Instruction, NotFound, Operation, Retry, Unknown
from tests.wires import BANK, DAY, HOUSE, REQUEST_ID, SENT_AT, instruction

STATUS = Status(
    header=Header(message_id="S-1", created_at=SENT_AT, instructing=BANK.bic, instructed=HOUSE.bic),
    original=ids_of(REQUEST_ID),
    original_kind=CREDIT_TRANSFER,
    status="ACSC",
    reference="B-1",
    amount=Money(12345, "EUR"),
)
SETTLED = write(STATUS)
NEVER_HEARD = write(replace(STATUS, status="RJCT", reasons=(Reason("AG09"),)))

Handler = Callable[[httpx2.Request], httpx2.Response]


def asked(
    handler: Handler, given: Instruction | None = None, *, inquire: bool = False, patience_s: float = 10
) -> Answer:
    """The answer of a rail whose bank is the handler."""

    async def ask() -> Answer:
        transport = httpx2.MockTransport(handler)
        rail = WireRail(HOUSE, [BANK], settles_on=lambda _: DAY, patience_s=patience_s, transport=transport)
        async with rail:
            return await (rail.inquire if inquire else rail.send)(given or instruction())

    return asyncio.run(ask())


def fails_with(error: Exception) -> Handler:
    def handler(request: httpx2.Request) -> httpx2.Response:
        raise error

    return handler


def never_called(request: httpx2.Request) -> httpx2.Response:
    raise AssertionError(request)


class Endless(httpx2.AsyncByteStream):
    """A body that comes a byte at a time, or a lot at a time, and never ends."""

    def __init__(self, chunk: bytes, pause_s: float) -> None:
        self._chunk = chunk
        self._pause_s = pause_s

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            await asyncio.sleep(self._pause_s)
            yield self._chunk


def test_a_payment_is_posted_to_its_bank() -> None:
    """
    To the bank of the route, as XML, and its status is the answer.
    """
    heard: list[httpx2.Request] = []

    def bank(request: httpx2.Request) -> httpx2.Response:
        heard.append(request)
        return httpx2.Response(200, content=SETTLED)

    answer = asked(bank)

    assert isinstance(answer, Approved)
    (request,) = heard
    assert (request.method, str(request.url)) == ("POST", BANK.url)
    assert request.headers["content-type"].startswith("application/xml")
    assert request.content == order(instruction(), HOUSE, BANK, DAY)


def test_what_became_of_it_is_asked_by_another_message() -> None:
    """
    A bank that never received it says so; it is not sent again by asking.
    """
    heard: list[bytes] = []

    def bank(request: httpx2.Request) -> httpx2.Response:
        heard.append(request.content)
        return httpx2.Response(200, content=NEVER_HEARD)

    assert asked(bank, inquire=True) == NotFound()
    assert heard == [question(instruction(), HOUSE, BANK)]
    assert isinstance(asked(bank), Unknown)


@pytest.mark.parametrize("error", [httpx2.ConnectError("refused"), httpx2.ConnectTimeout("")])
def test_what_never_left_is_a_no_and_a_question_that_never_left_says_nothing(error: Exception) -> None:
    """
    Without a connection nothing can have arrived, so any other route may be asked.
    """
    answer = asked(fails_with(error))

    assert isinstance(answer, Declined)
    assert (answer.reason, answer.retry) == ("rail_unavailable", Retry.ELSEWHERE)
    assert isinstance(asked(fails_with(error), inquire=True), Unknown)


@pytest.mark.parametrize(
    "error",
    [httpx2.ReadTimeout(""), httpx2.WriteTimeout(""), httpx2.ReadError(""), httpx2.RemoteProtocolError("")],
)
def test_what_may_have_arrived_is_unknown(error: Exception) -> None:
    """
    The bank may have done it, whatever broke afterwards.
    """
    assert isinstance(asked(fails_with(error)), Unknown)
    assert isinstance(asked(fails_with(error), inquire=True), Unknown)


@pytest.mark.parametrize("status", [200, 202, 204, 302, 400, 404, 500, 502, 503])
def test_without_a_message_it_is_unknown(status: int) -> None:
    """
    HTTP's word is a proxy's, and none of the bank's: neither its success nor its failure is one of the payment.
    """
    for content in (b"", b"<html>busy</html>"):
        assert isinstance(asked(lambda _, c=content: httpx2.Response(status, content=c)), Unknown)  # type: ignore[misc]


def test_a_message_counts_whatever_its_status() -> None:
    """
    Banks send rejections as errors.
    """
    rejection = write(replace(STATUS, status="RJCT", reasons=(Reason("AC04"),)))

    answer = asked(lambda _: httpx2.Response(422, content=rejection))

    assert isinstance(answer, Declined)
    assert answer.code == "AC04"


def test_an_answer_without_end_is_cut_off() -> None:
    """
    At its largest size, however fast it comes, and at the end of patience, however slowly.
    """
    fast, slow = Endless(b" " * 65536, 0), Endless(b" ", 0.01)

    assert asked(lambda _: httpx2.Response(200, stream=fast)) == Unknown(
        why=f"rhein answered with more than {ANSWER_MAX} bytes"
    )
    assert asked(lambda _: httpx2.Response(200, stream=slow), patience_s=0.1) == Unknown(
        why="rhein did not answer (TimeoutError)"
    )


def test_what_cannot_be_said_is_not_sent() -> None:
    """
    A no of our own, and the bank hears nothing; nothing can be said of it afterwards either.
    """
    assert isinstance(asked(never_called, instruction(Operation.COLLECT)), Declined)
    wrong = instruction(method=replace(instruction().method, iban="DE00"))
    assert isinstance(asked(never_called, wrong), Declined)
