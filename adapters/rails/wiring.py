"""Which rails there are and how routes are chosen: read from a file, or all rails of one simulator.

The file is TOML. What is not in it is not there: a rail without routes is never chosen, and a key that is unknown is a
mistake.

```toml
[[card]]                    # an acquirer
route = "acquirer-1"
host = "127.0.0.1"
port = 8181
number = "400001"
terminal = "TERM0001"
merchant = "MERCHANT000001"
reports = "http://127.0.0.1:8180/reports/card"      # of its days, if it has any
disputes = "http://127.0.0.1:8180/card/disputes"    # where they are answered

[[routes]]                  # each acquirer or bank once more, as routing sees it
name = "acquirer-1"
rail = "card"
methods = ["card"]
terms = { EUR = { fee_fixed = 25, fee_bp = 140 } }
```
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import date
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

from adapters.rails.ach.instructions import Originator
from adapters.rails.ach.rail import AchRail
from adapters.rails.card.cards import Placeholder
from adapters.rails.card.messages import Acquirer
from adapters.rails.card.rail import CardRail
from adapters.rails.upi.rail import Bank as UpiBank
from adapters.rails.upi.rail import UpiRail
from adapters.rails.wire.conversation import Bank as WireBank
from adapters.rails.wire.conversation import House
from adapters.rails.wire.rail import WireRail
from domain.calendar import SETTLES_BY, Calendar, next_business_day
from domain.next_step import Routing
from domain.ports import RailPort
from domain.rail import Instruction, Rail
from domain.retry import USUAL, Retries
from domain.routing import Route, Rule, Terms


class Misconfigured(Exception):
    """The file is not one of rails; the text says where."""


class Wiring(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who is asked, by rail, and how one of them is chosen."""

    card: tuple[Acquirer, ...] = ()
    ach: tuple[Originator, ...] = ()
    upi: tuple[UpiBank, ...] = ()
    wire: tuple[WireBank, ...] = ()
    house: House | None = None
    """Who we are to the banks of the wire rail."""
    routes: tuple[Route, ...] = ()
    rules: tuple[Rule, ...] = ()
    retries: Retries = USUAL
    book: str = "main"
    """Where that is kept which a rail reports of no payment that is known."""

    def __post_init__(self) -> None:
        there = {(Rail.CARD, one.route) for one in self.card} | {(Rail.ACH, one.route) for one in self.ach}
        there |= {(Rail.UPI, one.route) for one in self.upi} | {(Rail.WIRE, one.route) for one in self.wire}
        for route in self.routes:
            if (route.rail, route.name) not in there:
                raise ValueError(f"route {route.name} is no {route.rail.value} acquirer or bank of this file")
        if len({route.name for route in self.routes}) != len(self.routes):
            raise ValueError("two routes have one name")
        if self.wire and self.house is None:
            raise ValueError("banks of the wire rail need a house")

    @property
    def routing(self) -> Routing:
        return Routing(routes=self.routes, rules=self.rules, retries=self.retries)

    @property
    def reporting(self) -> tuple[tuple[Rail, str], ...]:
        """The routes that report their days, by rail."""
        of_rails = ((Rail.CARD, self.card), (Rail.ACH, self.ach), (Rail.UPI, self.upi), (Rail.WIRE, self.wire))
        return tuple((rail, one.route) for rail, some in of_rails for one in some if one.reports)


NO_RAILS: Final = Wiring()


def read(path: Path) -> Wiring:
    """What the file says; raises Misconfigured."""
    try:
        return msgspec.toml.decode(path.read_bytes(), type=Wiring)
    except (OSError, msgspec.DecodeError, ValueError) as error:
        raise Misconfigured(f"{path}: {error}") from error


_SOME: Final = {"EUR": Terms(fee_fixed=25, fee_bp=140), "USD": Terms(fee_fixed=30, fee_bp=290)}


def simulated(url: str, *, cards: int | None = None) -> Wiring:
    """All rails of a simulator, cards by two acquirers that differ in what they cost.

    Args:
        cards: The port where cards are taken, if that is not the one above its HTTP.

    Raises:
        Misconfigured: It is not the URL of one.
    """
    parts = urlsplit(url)
    if parts.scheme != "http" or not parts.hostname or not parts.port:
        raise Misconfigured(f"{url}: a simulator is named like http://127.0.0.1:8180")
    acquirers = tuple(
        Acquirer(
            route=route,
            host=parts.hostname,
            port=cards or parts.port + 1,
            number=number,
            terminal="DAYBOOK1",
            merchant=merchant,  # What the simulator knows the route by.
            reports=f"{url}/reports/card",
            disputes=f"{url}/card/disputes",
        )
        for route, number, merchant in (
            ("card-a", "400001", "DAYBOOK00000001"),
            ("card-b", "400002", "DAYBOOK00000002"),
        )
    )
    ach = Originator(
        route="ach-a",
        url=f"{url}/ach",
        routing_number="091000019",
        operator="021001208",
        company_name="Daybook",
        company_id="1234567890",
        reports=f"{url}/reports/ach",
    )
    upi = UpiBank(
        route="upi-a",
        url=f"{url}/upi",
        address="daybook@simulator",
        name="Daybook",
        mcc="5734",
        reports=f"{url}/reports/upi",
        disputes=f"{url}/upi/disputes",
    )
    wire = WireBank(
        route="wire-a",
        url=f"{url}/wire",
        bic="SIMUDEFFXXX",
        account="DE89370400440532013000",
        reports=f"{url}/reports/wire",
    )
    return Wiring(
        card=acquirers,
        ach=(ach,),
        upi=(upi,),
        wire=(wire,),
        house=House(name="Daybook", country="DE", bic="DAYBDEFFXXX"),
        routes=(
            Route(name="card-a", rail=Rail.CARD, methods=("card",), terms=_SOME),
            Route(name="card-b", rail=Rail.CARD, methods=("card",), terms={"EUR": Terms(fee_fixed=10, fee_bp=190)}),
            Route(name="ach-a", rail=Rail.ACH, methods=("bank_account",), terms={"USD": Terms(fee_fixed=20)}),
            Route(name="upi-a", rail=Rail.UPI, methods=("upi",), terms={"INR": Terms()}),
            Route(name="wire-a", rail=Rail.WIRE, methods=("iban",), terms={"EUR": Terms(fee_fixed=500)}),
        ),
    )


@asynccontextmanager
async def connected(wiring: Wiring) -> AsyncIterator[Mapping[Rail, RailPort]]:
    """The rails that are there, for the running event loop; closed in the end."""
    rails: dict[Rail, RailPort] = {}
    async with AsyncExitStack() as stack:
        if wiring.card:
            rails[Rail.CARD] = card = CardRail(wiring.card, Placeholder())
            stack.push_async_callback(card.close)
        if wiring.ach:
            rails[Rail.ACH] = ach = AchRail(wiring.ach)
            stack.push_async_callback(ach.close)
        if wiring.upi:
            rails[Rail.UPI] = upi = UpiRail(wiring.upi)
            stack.push_async_callback(upi.close)
        if wiring.house is not None:
            rails[Rail.WIRE] = wire = WireRail(wiring.house, wiring.wire, settles_on=_next_day)
            stack.push_async_callback(wire.close)
        yield rails


def _next_day(instruction: Instruction) -> date:
    """The next business day of the currency's banks after it was decided."""
    return next_business_day(instruction.sent_at.date(), SETTLES_BY.get(instruction.currency, Calendar.NONE))
