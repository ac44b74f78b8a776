"""The bank that sends ACH entries for us, and the network behind it: Nacha files in, a Nacha file of each day out.

    PUT /ach/files/{name}              201 or 200 and a receipt; 422 a file that is not one, 409 an entry it already has
    GET /ach/entries/{identification}  the entry it has, or 404
    GET /ach/returns?since=2026-11-24  what settled and came back since then; nothing at all is an empty answer;
                                       &identification= of one entry alone

An entry settles on the day that `domain.calendar` has for it, at six in the evening, Eastern, with the last window of
the day, and is then in that day's file as it was sent, with the day of the year in its batch. What comes of it depends
on its amount in cents:

    51nn    is returned with Rnn: 5101 insufficient funds, 5102 account closed, 5110 not authorized
    52nn    settles, and the receiver's bank asks for the change Cnn: 5201 the account number, 5202 the routing number

where there is such a code. A decline by fault is a return, with R01 or the code that was set. Returns for which banks
have two days come on the next business day after settlement, those for which customers have sixty on the fifth; a
notification of change comes on the next. Routes, for faults, are the routing numbers of the banks.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, date, datetime, time, tzinfo
from heapq import heappop, heappush
from itertools import count
from typing import Any, ClassVar, Final

import msgspec
from msgspec import structs
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from adapters.rails.ach.codes import CHANGES, RETURNS, SIXTY_DAYS
from adapters.rails.ach.files import REVERSAL, Batch, Change, Entry, File, Remittance, Return, file_of
from adapters.rails.ach.instructions import Reference
from adapters.rails.ach.rail import EntryHeld, Receipt
from adapters.rails.ach.reading import read
from adapters.rails.ach.writing import write
from adapters.rails.simulator.books import Books, Effect
from adapters.rails.simulator.clock import Clock
from adapters.rails.simulator.faults import ALL_ROUTES, Faults, Plan
from adapters.rails.simulator.reply import RailSimulator, Reply
from adapters.rails.simulator.server import replying
from domain import calendar

EVENING: Final = time(18)
USUAL_RETURN: Final = "R01"
RETURNS_FROM, CHANGES_FROM = 5_100, 5_200
RETURN: Final = "return"
RETURN_DAYS, LONG_RETURN_DAYS = 1, 5
OTHER_BANK: Final = "021000021"
"""Where an account has moved to, in a notification of change."""
NO_ENTRY: Final = b'{"error":"no such entry"}'


class AchSimulator(RailSimulator):
    rail: ClassVar[str] = "ach"
    zone: ClassVar[tzinfo] = calendar.EASTERN

    def __init__(self, books: Books, faults: Faults, clock: Clock) -> None:
        super().__init__(books, faults, clock)
        self._by_identification: dict[str, str] = {}
        self._open: list[tuple[datetime, int, str]] = []
        """A heap of what is to be done: when, in which order, and of which request id."""
        self._count = count()
        for effect in books.effects(self.rail):
            self._learn(effect)

    def answer(self, message: bytes) -> Reply:
        """A file without a name is known by its bytes."""
        return self.put(hashlib.sha256(message).hexdigest()[:15], message)

    def put(self, name: str, message: bytes) -> Reply:
        """Take a file, all of it or nothing."""
        reading = read(message)
        route = reading.header.stripped("origin") if reading.header is not None else ""
        return self._befallen(route, lambda plan: self._take(name, message, plan))

    def entry(self, identification: str) -> Reply:
        """What is there of an entry."""
        effect = self._effect(identification)
        return self._befallen(effect.route if effect else "", lambda plan: self._held(identification, plan))

    def returns(self, since: date, identification: str = "") -> Reply:
        """What settled and came back since that day, in one file: of all entries, or of one."""
        return self._befallen("", lambda _: Reply(body=self._file_of(since, date.max, identification)))

    def settlement(self, day: date, route: str = ALL_ROUTES) -> bytes:
        self.settle()
        return self._file_of(day, day, route=route)

    def due(self) -> Sequence[bytes]:
        """Nothing is sent by itself; what has come to its time is done."""
        self.settle()
        return ()

    def routes(self) -> Sequence[BaseRoute]:
        return (
            Route("/ach/files/{name}", self._put_file, methods=["PUT"]),
            Route("/ach/entries/{identification}", self._get_entry),
            Route("/ach/returns", self._get_returns),
        )

    def settle(self) -> None:
        """Do what the clock says is to be done: settle entries, and send some of them back."""
        while self._open and self._open[0][0] <= self.clock.now():
            _, _, request_id = heappop(self._open)
            effect = self.books.find(self.rail, request_id)
            assert effect is not None, request_id
            if effect.outcome == "accepted":
                effect = structs.replace(effect, outcome="approved", code="settled")
                self.books.conclude(effect)
                self._learn(effect)
            elif not self.books.find(self.rail, _id_of_return(effect)):
                self.books.record(_returned(effect, self.clock.now()))

    async def _put_file(self, request: Request) -> Response:
        name = str(request.path_params["name"])
        return await _endpoint(lambda message: self.put(name, message), request)

    async def _get_entry(self, request: Request) -> Response:
        identification = str(request.path_params["identification"])
        return await _endpoint(lambda _: self.entry(identification), request)

    async def _get_returns(self, request: Request) -> Response:
        try:
            since = date.fromisoformat(request.query_params.get("since", ""))
        except ValueError:
            return Response("since is a day, written like 2026-11-24", status_code=400)
        identification = request.query_params.get("identification", "")
        return await _endpoint(lambda _: self.returns(since, identification), request)

    def _befallen(self, route: str, act: Callable[[Plan], Reply]) -> Reply:
        plan = self.faults.plan(self.rail, route)
        if plan.outage:
            return Reply(hang_up=True)
        if plan.drop_before:
            return Reply()
        self.settle()
        reply = act(plan)
        return Reply() if plan.drop_after else structs.replace(reply, delay_s=plan.delay_s)

    def _take(self, name: str, message: bytes, plan: Plan) -> Reply:
        reading = read(message)
        try:
            file = file_of(reading)
            write(file)  # This bank forgives nothing that would not be written.
        except ValueError as error:
            rejecting = [finding.what for finding in reading.findings if finding.rejects]
            said = rejecting or [str(error)]
            return Reply(body=msgspec.json.encode(said), status=422)
        effects = [self._effect_of(name, file, batch, entry, plan) for batch in file.batches for entry in batch.entries]
        if any(self._clashes(effect) for effect in effects):
            return Reply(body=b'{"error":"an entry that came before"}', status=409)
        fresh = [effect for effect in effects if self.books.find(self.rail, effect.request_id) is None]
        for effect in fresh:
            self.books.record(effect)
            self._learn(effect)
        receipt = _receipt(name, message, effects, off_by=plan.wrong_amount)
        return Reply(body=msgspec.json.encode(receipt), status=201 if fresh else 200)

    def _held(self, identification: str, plan: Plan) -> Reply:
        effect = self._effect(identification)
        if effect is None:
            return Reply(body=NO_ENTRY, status=404)
        held = EntryHeld(
            identification=identification,
            file=effect.detail["file"],
            amount=effect.amount + plan.wrong_amount,
            credit=effect.detail["direction"] == "credit",
        )
        return Reply(body=msgspec.json.encode(held))

    def _of_one(self, identification: str) -> list[Effect]:
        effect = self._effect(identification)
        return [] if effect is None else [effect, *self.books.upon(self.rail, effect.reference)]

    def _effect(self, identification: str) -> Effect | None:
        request_id = self._by_identification.get(identification)
        return None if request_id is None else self.books.find(self.rail, request_id)

    def _learn(self, effect: Effect) -> None:
        """Know it by its identification, and what is to be done with it next."""
        if effect.operation == RETURN:
            return
        self._by_identification[effect.detail["identification"]] = effect.request_id
        if effect.outcome == "accepted":
            heappush(self._open, (_evening(effect.day), next(self._count), effect.request_id))
        elif "returns" in effect.detail:
            heappush(self._open, (_evening(_return_day(effect)), next(self._count), effect.request_id))

    def _clashes(self, effect: Effect) -> bool:
        """Whether it is there already out of another file, or as something else."""
        there = self._effect(effect.detail["identification"]) or self.books.find(self.rail, effect.request_id)
        if there is None:
            return False
        names = ("file", "identification", "direction", "account", "routing_number")
        same = all(there.detail[name] == effect.detail[name] for name in names)
        return not same or there.amount != effect.amount

    def _effect_of(self, name: str, file: File, batch: Batch, entry: Entry, plan: Plan) -> Effect:
        effective_on = batch.effective_on or calendar.eastern_day(self.clock.now())
        named = Reference(effective_on=effective_on, credit=entry.is_credit, identification=entry.identification)
        detail = {
            "file": name,
            "identification": entry.identification,
            "direction": "credit" if entry.is_credit else "debit",
            "transaction_code": str(entry.transaction_code),
            "routing_number": entry.routing_number,
            "account": entry.account,
            "name": entry.name,
            "discretionary": entry.discretionary,
            "trace": entry.trace,
            "entry_class": batch.entry_class,
            "company_name": batch.company_name,
            "company_id": batch.company_id,
            "description": batch.description,
            "effective_on": effective_on.isoformat(),
            "operator": file.destination,
        }
        code = _magic(entry.amount) or (plan.decline_code or USUAL_RETURN if plan.decline else "")
        if code in RETURNS:
            detail["returns"] = code
        elif code in CHANGES:
            detail["changes"] = code
        if plan.duplicate:
            detail["twice"] = "yes"
        return Effect(
            rail=self.rail,
            request_id=_request_id(entry),
            operation=_operation(batch, entry),
            amount=entry.amount,
            currency="USD",
            outcome="accepted",
            code="received",
            reference=str(named),
            at=self.clock.now(),
            day=calendar.settlement_date(batch.effective_on, received_at=self.clock.now(), amount=entry.amount),
            route=file.origin,
            detail=detail,
        )

    def _file_of(self, first: date, last: date, identification: str = "", *, route: str = ALL_ROUTES) -> bytes:
        """All that came about on these days, or all of one entry or route; nothing at all where nothing did."""
        all_of_it = self._of_one(identification) if identification else self.books.effects(self.rail)
        mine = [each for each in all_of_it if route in (ALL_ROUTES, each.route)]
        settled = [each for each in mine if each.operation != RETURN and each.outcome == "approved"]
        within = [each for each in settled if first <= each.day <= last]
        back = [each for each in mine if each.operation == RETURN and first <= each.day <= last]
        changed = [each for each in settled if "changes" in each.detail and first <= _change_day(each) <= last]
        changed = [each for each in changed if _evening(_change_day(each)) <= self.clock.now()]
        batches = [*_as_sent(within), *_sent_back(back, "PPD"), *_sent_back(changed, "COR")]
        if not batches:
            return b""
        some = (within or back or changed)[0]
        days = [each.day for each in [*within, *back]] + [_change_day(each) for each in changed]
        return write(
            File(
                destination=some.route.rjust(9, "0"),
                origin=some.detail["operator"],
                created_on=max(days),
                created_at=EVENING,
                batches=tuple(batches),
                origin_name="Simulated operator",
            )
        )


async def _endpoint(answer: Callable[[bytes], Reply], request: Request) -> Response:
    response: Response = await replying(answer)(request)
    return response


def _magic(amount: int) -> str:
    """The code that an amount stands for, if there is such a code."""
    for first, letter, codes in ((RETURNS_FROM, "R", RETURNS), (CHANGES_FROM, "C", CHANGES)):
        code = f"{letter}{amount - first:02}"
        if first < amount < first + 100 and code in codes:
            return code
    return ""


def _request_id(entry: Entry) -> str:
    """What the originator calls it: in its addenda, else its identification."""
    for addenda in entry.addenda:
        if isinstance(addenda, Remittance):
            return addenda.information.split()[0]
    return entry.identification or entry.trace


def _operation(batch: Batch, entry: Entry) -> str:
    if batch.description == REVERSAL:
        return "reverse"
    if entry.is_credit:
        return "refund" if batch.description == "REFUND" else "payout"
    return "collect"


def _receipt(name: str, message: bytes, effects: Sequence[Effect], *, off_by: int) -> Receipt:
    credits = [effect.amount for effect in effects if effect.detail["direction"] == "credit"]
    debits = [effect.amount for effect in effects if effect.detail["direction"] == "debit"]
    return Receipt(
        name=name,
        sha256=hashlib.sha256(message).hexdigest(),
        entries=len(effects),
        debits=sum(debits) + off_by,
        credits=sum(credits) + off_by,
    )


def _return_day(effect: Effect) -> date:
    long = RETURNS[effect.detail["returns"]].days == SIXTY_DAYS
    return calendar.add_business_days(effect.day, LONG_RETURN_DAYS if long else RETURN_DAYS)


def _change_day(effect: Effect) -> date:
    return calendar.next_business_day(effect.day)


def _evening(day: date) -> datetime:
    return datetime.combine(day, EVENING, calendar.EASTERN).astimezone(UTC)


def _id_of_return(effect: Effect) -> str:
    return f"{effect.request_id}-return"


def _returned(effect: Effect, now: datetime) -> Effect:
    return structs.replace(
        effect,
        request_id=_id_of_return(effect),
        operation=RETURN,
        code=effect.detail["returns"],
        reference=f"{effect.reference}-return",
        original=effect.reference,
        at=now,
        day=_return_day(effect),
    )


def _as_sent(effects: Iterable[Effect]) -> Iterator[Batch]:
    """Entries as they were sent, in batches as they were, with the day on which they settled."""
    batches: dict[tuple[Any, ...], list[Entry]] = {}
    seen: Counter[tuple[date, str, str]] = Counter()
    for effect in effects:
        names = ("entry_class", "company_name", "company_id", "description", "effective_on", "trace")
        *shared, trace = (effect.detail[name] for name in names)
        for _ in range(2 if "twice" in effect.detail else 1):
            # Traces of two files may be alike, and a batch has each but once.
            layer = seen[effect.day, effect.route, trace]
            seen[effect.day, effect.route, trace] += 1
            key = (*shared, effect.route, effect.day, layer)
            batches.setdefault(key, []).append(_entry(effect, trace, int(effect.detail["transaction_code"])))
    for (entry_class, name, company, description, effective_on, route, day, _), entries in batches.items():
        yield Batch(
            entry_class=entry_class,
            company_name=name,
            company_id=company,
            description=description,
            odfi=route[:8],
            entries=tuple(sorted(entries, key=lambda each: each.trace)),
            effective_on=date.fromisoformat(effective_on),
            settlement_day=day.timetuple().tm_yday,
        )


def _sent_back(effects: Iterable[Effect], otherwise: str) -> Iterator[Batch]:
    """Returns, or of class COR notifications of change, in a batch for each bank they come from."""
    batches: dict[tuple[str, ...], list[Entry]] = {}
    for effect in effects:
        detail = effect.detail
        entry_class = otherwise if otherwise == "COR" else detail["entry_class"]
        bank = detail["routing_number"][:8]
        key = (bank, entry_class, detail["company_name"], detail["company_id"], detail["description"])
        entries = batches.setdefault(key, [])
        # A return or notification of a credit is n1, of a debit n6, of account type n.
        code = int(detail["transaction_code"][0]) * 10 + (1 if detail["direction"] == "credit" else 6)
        entry = _entry(effect, f"{bank}{len(entries) + 1:07}", code)
        original = {"original_trace": detail["trace"], "original_rdfi": bank}
        addenda: Change | Return
        if entry_class == "COR":
            addenda = Change(code=detail["changes"], corrected=_corrected(effect), **original)
            entry = structs.replace(entry, amount=0)
        else:
            died_on = effect.day if effect.code in ("R14", "R15") else None
            addenda = Return(code=effect.code, died_on=died_on, **original)
        entries.append(structs.replace(entry, routing_number=effect.route, addenda=(addenda,), discretionary=""))
    for (bank, entry_class, name, company, description), listed in batches.items():
        yield Batch(
            entry_class=entry_class,
            company_name=name,
            company_id=company,
            description=description,
            odfi=bank,
            entries=tuple(listed),
        )


def _entry(effect: Effect, trace: str, code: int) -> Entry:
    detail = effect.detail
    return Entry(
        transaction_code=code,
        routing_number=detail["routing_number"],
        account=detail["account"],
        amount=effect.amount,
        name=detail["name"],
        trace=trace,
        identification=detail["identification"],
        discretionary=detail["discretionary"],
    )


def _corrected(effect: Effect) -> str:
    """What the change asks for, each field in its place of the 29."""
    detail = effect.detail
    right = {
        "account_number": ("9" + detail["account"])[:17],
        "routing_number": OTHER_BANK,
        "name": ("New " + detail["name"])[:22],
        "transaction_code": str({"2": 30, "3": 20}[detail["transaction_code"][0]] + int(detail["transaction_code"][1])),
        "receiving_bank": OTHER_BANK,
        "identification": detail["identification"],
    }
    text = [" "] * 29
    for name, (first, last) in CHANGES[detail["changes"]].fields.items():
        value = right[name][: last - first + 1]
        text[first - 1 : first - 1 + len(value)] = value
    return "".join(text).strip() or "CORRECTED"
