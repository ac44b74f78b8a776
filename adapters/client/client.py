"""The clients: one asks and waits, the other asks and is awaited. What they ask and decide is the same code."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from types import TracebackType
from typing import Any, Final, Generic, Literal, ParamSpec, Self, TypeVar, overload

import httpx2
from msgspec.structs import replace

from adapters.client import calls
from adapters.client.attempts import Answer, Attempts, Patience, Wire
from adapters.client.calls import Call, Follow, Listing
from adapters.client.following import Following
from adapters.client.resources import LogEvent

P = ParamSpec("P")
T = TypeVar("T")

_NOT_SENT: Final = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout)
"""No connection was made, so nothing can have arrived."""


class Method(Generic[P, T]):
    """A call as a method: of a `Client` it answers, of an `AsyncClient` it is awaited."""

    def __init__(self, build: Callable[P, Call[T]]) -> None:
        self._build = build
        self.__doc__ = build.__doc__

    @overload
    def __get__(self, client: "Client", owner: Any = None) -> Callable[P, T]: ...
    @overload
    def __get__(self, client: "AsyncClient", owner: Any = None) -> Callable[P, Coroutine[Any, Any, T]]: ...
    @overload
    def __get__(self, client: None, owner: Any = None) -> Self: ...

    def __get__(self, client: Any, owner: Any = None) -> Any:
        if client is None:
            return self

        def method(*args: P.args, **kwargs: P.kwargs) -> Any:
            return client.ask(self._build(*args, **kwargs))

        method.__doc__ = self.__doc__
        return method


class Lister(Generic[P, T]):
    """A listing as a method: iterated, or iterated with `async for`; the next page is asked for when it is needed."""

    def __init__(self, build: Callable[P, Listing[T]]) -> None:
        self._build = build
        self.__doc__ = build.__doc__

    @overload
    def __get__(self, client: "Client", owner: Any = None) -> Callable[P, Iterator[T]]: ...
    @overload
    def __get__(self, client: "AsyncClient", owner: Any = None) -> Callable[P, AsyncIterator[T]]: ...
    @overload
    def __get__(self, client: None, owner: Any = None) -> Self: ...

    def __get__(self, client: Any, owner: Any = None) -> Any:
        if client is None:
            return self

        def method(*args: P.args, **kwargs: P.kwargs) -> Any:
            return client.each(self._build(*args, **kwargs))

        method.__doc__ = self.__doc__
        return method


class Follower(Generic[P]):
    """A stream as a method: iterated, or iterated with `async for`, without end."""

    def __init__(self, build: Callable[P, Follow]) -> None:
        self._build = build
        self.__doc__ = build.__doc__

    @overload
    def __get__(self, client: "Client", owner: Any = None) -> Callable[P, Iterator[LogEvent]]: ...
    @overload
    def __get__(self, client: "AsyncClient", owner: Any = None) -> Callable[P, AsyncIterator[LogEvent]]: ...
    @overload
    def __get__(self, client: None, owner: Any = None) -> Self: ...

    def __get__(self, client: Any, owner: Any = None) -> Any:
        if client is None:
            return self

        def method(*args: P.args, **kwargs: P.kwargs) -> Any:
            return client.follow(self._build(*args, **kwargs))

        method.__doc__ = self.__doc__
        return method


class _Client:
    """What both have.

    Args:
        actor: Who asks, as the audit trail will have it.
        reads: What a read sees, unless it says so itself. `current`: every command that was acknowledged to anybody.
            `own`: this client's own, which is waited for less. `eventual`: whatever is there.
    """

    def __init__(self, *, actor: str, patience: Patience | None, reads: Literal["current", "own", "eventual"]) -> None:
        self._patience = patience or Patience()
        self._reads = reads
        self._headers = {"Daybook-Actor": actor}
        self._position = 0
        self._lock = threading.Lock()

    @property
    def position(self) -> int:
        """The furthest position of the log that a command of this client was answered with."""
        return self._position

    def _prepared(self, call: Call[T]) -> Call[T]:
        if not call.waits or self._reads == "current" or call.params.keys() & {"consistency", "min_position"}:
            return call
        seen = {"consistency": "eventual"} if self._reads == "eventual" else {"min_position": str(self._position)}
        return replace(call, params={**call.params, **seen})

    def _noticed(self, call: Call[T], answer: Answer[T]) -> Answer[T]:
        if call.is_command and answer.position is not None:
            with self._lock:
                self._position = max(self._position, answer.position)
        return answer

    open_book = Method(calls.open_book)
    set_payment_policy = Method(calls.set_payment_policy)
    open_account = Method(calls.open_account)
    freeze_account = Method(calls.freeze_account)
    unfreeze_account = Method(calls.unfreeze_account)
    change_limits = Method(calls.change_limits)
    close_account = Method(calls.close_account)
    post_entry = Method(calls.post_entry)
    reverse_entry = Method(calls.reverse_entry)
    place_hold = Method(calls.place_hold)
    increase_hold = Method(calls.increase_hold)
    capture_hold = Method(calls.capture_hold)
    void_hold = Method(calls.void_hold)
    expire_hold = Method(calls.expire_hold)
    fund_escrow = Method(calls.fund_escrow)
    meet_condition = Method(calls.meet_condition)
    approve_release = Method(calls.approve_release)
    release_escrow = Method(calls.release_escrow)
    return_escrow = Method(calls.return_escrow)
    expire_escrow = Method(calls.expire_escrow)
    create_payment = Method(calls.create_payment)
    attach_method = Method(calls.attach_method)
    confirm_payment = Method(calls.confirm_payment)
    checkout_payment = Method(calls.checkout_payment)
    retry_payment = Method(calls.retry_payment)
    approve_payment = Method(calls.approve_payment)
    increase_authorization = Method(calls.increase_authorization)
    capture_payment = Method(calls.capture_payment)
    cancel_payment = Method(calls.cancel_payment)
    refund_payment = Method(calls.refund_payment)
    reverse_payment = Method(calls.reverse_payment)
    contest_dispute = Method(calls.contest_dispute)
    accept_dispute = Method(calls.accept_dispute)
    resolve_outcome = Method(calls.resolve_outcome)
    record_settlement = Method(calls.record_settlement)
    post_batch = Method(calls.post_batch)
    read_book = Method(calls.read_book)
    read_payment_policy = Method(calls.read_payment_policy)
    list_books = Lister(calls.list_books)
    read_account = Method(calls.read_account)
    list_accounts = Lister(calls.list_accounts)
    list_postings = Lister(calls.list_postings)
    read_balance = Method(calls.read_balance)
    list_balances = Lister(calls.list_balances)
    read_entry = Method(calls.read_entry)
    list_entries = Lister(calls.list_entries)
    read_hold = Method(calls.read_hold)
    list_holds = Lister(calls.list_holds)
    read_escrow = Method(calls.read_escrow)
    list_escrows = Lister(calls.list_escrows)
    read_payment = Method(calls.read_payment)
    read_checkout = Method(calls.read_checkout)
    list_attempts = Lister(calls.list_attempts)
    read_attempt = Method(calls.read_attempt)
    list_captures = Lister(calls.list_captures)
    read_capture = Method(calls.read_capture)
    list_refunds = Lister(calls.list_refunds)
    read_refund = Method(calls.read_refund)
    list_payouts = Lister(calls.list_payouts)
    read_payout = Method(calls.read_payout)
    list_reversals = Lister(calls.list_reversals)
    read_reversal = Method(calls.read_reversal)
    read_qr = Method(calls.read_qr)
    read_checkout_qr = Method(calls.read_checkout_qr)
    list_payments = Lister(calls.list_payments)
    read_settlement = Method(calls.read_settlement)
    list_settlements = Lister(calls.list_settlements)
    read_dispute = Method(calls.read_dispute)
    list_disputes = Lister(calls.list_disputes)
    list_records = Lister(calls.list_records)
    read_roll_up = Method(calls.read_roll_up)
    read_trial_balance = Method(calls.read_trial_balance)
    read_balance_sheet = Method(calls.read_balance_sheet)
    read_income_statement = Method(calls.read_income_statement)
    list_events = Lister(calls.list_events)
    follow_events = Follower(calls.follow_events)
    read_event_catalogue = Method(calls.read_event_catalogue)
    read_error_catalogue = Method(calls.read_error_catalogue)
    list_rails = Lister(calls.list_rails)
    read_upi_address = Method(calls.read_upi_address)
    validate_payment = Method(calls.validate_payment)
    decide_route = Method(calls.decide_route)
    override_rail = Method(calls.override_rail)
    override_route = Method(calls.override_route)
    readyz = Method(calls.readyz)


class Client(_Client):
    """Asks and waits. Threads may share one.

    Raises, of every method:
        Refused: A business no; `NotFound` is one.
        Rejected: The request is not as it should be.
        Unavailable: No answer within the patience, and nothing was applied.
        OutcomeUnknown: No answer within the patience, and a command may have been applied; it has the key.
    """

    def __init__(
        self,
        base_url: str,
        *,
        actor: str,
        patience: Patience | None = None,
        reads: Literal["current", "own", "eventual"] = "current",
        transport: httpx2.BaseTransport | None = None,
    ) -> None:
        super().__init__(actor=actor, patience=patience, reads=reads)
        self._http = httpx2.Client(base_url=base_url, headers=self._headers, transport=transport)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    def ask(self, call: Call[T]) -> T:
        """What the call is answered with."""
        return self.answer(call).value

    def answer(self, call: Call[T]) -> Answer[T]:
        """What the call is answered with, and what the answer's headers say."""
        call = self._prepared(call)
        attempts = Attempts(call, self._patience, now=time.monotonic())
        while True:
            try:
                heard = self._http.request(**_sent(attempts.request(time.monotonic())))
            except httpx2.RequestError as error:
                step = _failed(attempts, error)
            else:
                step = attempts.heard(heard.status_code, heard.headers, heard.content, time.monotonic())
            if isinstance(step, Answer):
                return self._noticed(call, step)
            time.sleep(step)

    def each(self, listing: Listing[T]) -> Iterator[T]:
        """The items of the list; a page is asked for when the one before it is used up."""
        going: Listing[T] | None = listing
        while going is not None:
            page = self.ask(going.call)
            yield from going.items(page)
            going = going.after(page)

    def follow(self, follow: Follow) -> Iterator[LogEvent]:
        """The events of a stream, which is taken up again where it broke off.

        Raises:
            ProblemError: It cannot be had.
            Unavailable: It broke off, and longer than the patience nothing more was heard.
        """
        following = Following(follow, self._patience, now=time.monotonic())
        while True:
            try:
                with self._http.stream(**_sent(following.request())) as heard:
                    if heard.status_code != 200:
                        following.refused(heard.status_code, heard.read())
                    for line in heard.iter_lines():
                        if (event := following.line(line, time.monotonic())) is not None:
                            yield event
                why = "the stream ended"
            except httpx2.RequestError as error:
                why = f"{type(error).__name__}: {error}"
            time.sleep(following.broken(why, time.monotonic()))


class AsyncClient(_Client):
    """Asks and is awaited; as `Client` in all else."""

    def __init__(
        self,
        base_url: str,
        *,
        actor: str,
        patience: Patience | None = None,
        reads: Literal["current", "own", "eventual"] = "current",
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        super().__init__(actor=actor, patience=patience, reads=reads)
        self._http = httpx2.AsyncClient(base_url=base_url, headers=self._headers, transport=transport)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        await self._http.aclose()

    async def ask(self, call: Call[T]) -> T:
        """What the call is answered with."""
        return (await self.answer(call)).value

    async def answer(self, call: Call[T]) -> Answer[T]:
        """What the call is answered with, and what the answer's headers say."""
        call = self._prepared(call)
        attempts = Attempts(call, self._patience, now=time.monotonic())
        while True:
            try:
                heard = await self._http.request(**_sent(attempts.request(time.monotonic())))
            except httpx2.RequestError as error:
                step = _failed(attempts, error)
            else:
                step = attempts.heard(heard.status_code, heard.headers, heard.content, time.monotonic())
            if isinstance(step, Answer):
                return self._noticed(call, step)
            await asyncio.sleep(step)

    async def each(self, listing: Listing[T]) -> AsyncIterator[T]:
        """The items of the list; a page is asked for when the one before it is used up."""
        going: Listing[T] | None = listing
        while going is not None:
            page = await self.ask(going.call)
            for item in going.items(page):
                yield item
            going = going.after(page)

    async def follow(self, follow: Follow) -> AsyncIterator[LogEvent]:
        """The events of a stream, as `Client.follow` has them."""
        following = Following(follow, self._patience, now=time.monotonic())
        while True:
            try:
                async with self._http.stream(**_sent(following.request())) as heard:
                    if heard.status_code != 200:
                        following.refused(heard.status_code, await heard.aread())
                    async for line in heard.aiter_lines():
                        if (event := following.line(line, time.monotonic())) is not None:
                            yield event
                why = "the stream ended"
            except httpx2.RequestError as error:
                why = f"{type(error).__name__}: {error}"
            await asyncio.sleep(following.broken(why, time.monotonic()))


def _sent(wire: Wire) -> dict[str, Any]:
    """As httpx takes it."""
    return {
        "method": wire.method,
        "url": wire.path,
        "params": wire.params,
        "headers": wire.headers,
        "content": wire.content,
        "timeout": wire.timeout_s,
    }


def _failed(attempts: Attempts[T], error: httpx2.RequestError) -> "Answer[T] | float":
    why = f"{type(error).__name__}: {error}"
    return attempts.failed(why, time.monotonic(), sent=not isinstance(error, _NOT_SENT))
