"""What every simulated rail is made of: a message in, a reply out, with what is to go wrong on the way back."""

from collections.abc import Callable, Sequence
from datetime import UTC, date, tzinfo
from typing import ClassVar

from msgspec import Struct
from starlette.routing import BaseRoute

from adapters.rails.simulator.books import Books
from adapters.rails.simulator.clock import Clock
from adapters.rails.simulator.faults import ALL_ROUTES, Faults, Plan


class Reply(Struct, frozen=True, kw_only=True):
    """What comes back, after `delay_s` seconds; None: nothing ever does.

    `twice`: where the transport can, the same once more. `hang_up`: the connection is closed without a word. `status`:
    of HTTP, for rails that speak it.
    """

    body: bytes | None = None
    delay_s: float = 0.0
    twice: bool = False
    hang_up: bool = False
    status: int = 200


class RailSimulator:
    """One rail. Everything runs on one thread; nothing in it waits."""

    rail: ClassVar[str]
    zone: ClassVar[tzinfo] = UTC
    """Where the rail's days are days."""
    framed: ClassVar[bool] = False
    """Spoken over TCP, each message after its length in two bytes, and not over HTTP."""

    def __init__(self, books: Books, faults: Faults, clock: Clock) -> None:
        self.books = books
        self.faults = faults
        self.clock = clock

    def answer(self, message: bytes) -> Reply:
        """Do what the message asks, once, and say so; whatever the bytes are, this does not raise."""
        raise NotImplementedError

    def settlement(self, day: date, route: str = ALL_ROUTES) -> bytes:
        """The rail's own file of what settles on that day, of all routes or of one, as far as it is known by now."""
        raise NotImplementedError

    def is_over(self, day: date) -> bool:
        """Whether the file of that day is complete: nothing is ever added to it any more."""
        return self.clock.now().astimezone(self.zone).date() > day

    def due(self) -> Sequence[bytes]:
        """Messages that the rail sends by itself now, in this order; each is handed out once."""
        return ()

    def routes(self) -> Sequence[BaseRoute]:
        """What it answers over HTTP beside `POST /{rail}`: paths that begin with `/{rail}/`."""
        return ()


def carried_out(plan: Plan, act: Callable[[], bytes]) -> Reply:
    """The reply to a request that this befalls; `act` does it and tells its answer, and is called once at most."""
    if plan.outage:
        return Reply(hang_up=True)
    if plan.drop_before:
        return Reply()
    body = act()
    return Reply() if plan.drop_after else Reply(body=body, delay_s=plan.delay_s, twice=plan.duplicate)
