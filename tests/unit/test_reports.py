"""The files in which rails report a day: read whole and in their order, or rejected with the place that is wrong."""

from collections.abc import Callable
from datetime import UTC, date, datetime, time
from typing import Any

import pytest
from msgspec.structs import replace

from adapters.rails.ach.files import Batch, Change, Entry, File, Remittance, Return
from adapters.rails.ach.instructions import Originator
from adapters.rails.ach.reports import read_report as read_ach
from adapters.rails.ach.writing import write as write_ach
from adapters.rails.card.reports import read_report as read_card
from adapters.rails.upi.messages import payment_id
from adapters.rails.upi.reports import COLUMNS
from adapters.rails.upi.reports import read_report as read_upi
from adapters.rails.wire.conversation import ids_of
from adapters.rails.wire.messages import NOT_PROVIDED, Detail, Header, Statement, Sum, Summary
from adapters.rails.wire.messages import Entry as WireEntry
from adapters.rails.wire.reports import read_report as read_wire
from adapters.rails.wire.writing import write_advice
from domain.money import Money
from domain.settlement import Line, Report, ReportRejected, Said
from tests.wires import BANK

DAY = date(2026, 11, 24)
ID = "2HkDq7VyWx9pRt3sFz5aBc"


def rejected(read: Callable[[bytes], Report], data: bytes) -> str:
    with pytest.raises(ReportRejected) as error:
        read(data)
    return str(error.value)


# Cards.

CARD = f"""\
H,DAYBOOK-CARD,2,2026-11-24
D,R1,{ID},capture,SHOP,EUR,1000,28,972,123456,A1,2026-11-23T10:00:00.000+00:00,settled,,,
D,R2,refund-1,refund,SHOP,EUR,-400,0,-400,123457,R1,2026-11-23T11:00:00.000+00:00,settled,,,
D,R3,undone,reverse,SHOP,EUR,-600,-21,-579,123458,R0,2026-11-23T12:00:00.000+00:00,settled,,,
D,DR0,old,capture,SHOP,EUR,-500,1500,-2000,,R0,2026-11-24T00:00:00.000+00:00,disputed,10.4,500,2026-12-14T00:00:00+00:00
D,DR8,older,collect,SHOP,EUR,70,0,70,,DR8,2026-11-24T00:00:00.000+00:00,dispute_won,13.1,70,
D,DR9,oldest,capture,SHOP,EUR,0,0,0,,DR9,2026-11-24T00:00:00.000+00:00,dispute_lost,99.9,90,
D,R4,paid,payout,SHOP,JPY,-200,25,-225,123459,,2026-11-23T13:00:00.000+00:00,settled,,,
T,EUR,6,-430,1507,-1937
T,JPY,1,-200,25,-225
E,7
"""


def card(text: bytes) -> Report:
    return read_card(text, route="north", merchant="SHOP", day=DAY)


def test_a_card_file_is_read() -> None:
    """
    Line by line in its order: what settled, undone, disputed, won and lost.
    """
    report = card(CARD.encode())

    assert (report.rail, report.route, report.day) == ("card", "north", DAY)
    assert [(line.said, line.request_id, line.operation, line.amount, line.fee) for line in report.lines] == [
        ("settled", ID, "capture", 1000, 28),
        ("settled", "refund-1", "refund", 400, 0),
        ("settled", "undone", "reverse", 600, -21),
        ("disputed", "old", "capture", 500, 1500),
        ("dispute_won", "older", "collect", 70, 0),
        ("dispute_lost", "oldest", "capture", 90, 0),
        ("settled", "paid", "payout", 200, 25),
    ]
    disputed = report.lines[3]
    assert (disputed.reference, disputed.code, disputed.reason) == ("DR0", "10.4", "fraudulent")
    assert disputed.respond_by == datetime(2026, 12, 14, tzinfo=UTC)
    assert report.lines[5].reason == "disputed"


def test_a_card_line_that_is_there_twice_is_two() -> None:
    """
    What the file counts twice is told twice.
    """
    lines = CARD.splitlines()
    twice = [lines[0], lines[1], lines[1], "T,EUR,2,2000,56,1944", "E,2", ""]

    report = card("\n".join(twice).encode())

    assert len(report.lines) == 2 and report.lines[0] == report.lines[1]


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("E,7\n", "", "totals"),
        ("E,7\n", "E,8\n", "line 11: it is not the end of 7 details"),
        ("E,7\n", "E,7", "its last line has no end"),
        ("T,EUR,6,-430,1507,-1937\n", "", "line 9: it says T,JPY"),
        ("T,JPY,1,-200,25,-225\n", "", "totals of 1"),
        ("T,EUR,6,-430,", "T,EUR,6,-431,", "line 9: it says"),
        ("T,EUR,6", "T,EUR,5", "line 9: it says"),
        ("T,JPY,1,-200,25,-225\nE", "T,JPY,1,-200,25,-225\nT,USD,0,0,0,0\nE", "totals of 3"),
        ("1000,28,972", "1000,28,973", "line 2: 1000 less a fee of 28 is not 973"),
        ("1000,28,972", "-1000,28,-1028", "line 2: -1000 goes the wrong way"),
        ("1000,28,972", "1e3,28,972", "line 2: its amount is no number"),
        ("1000,28,972", "01000,28,972", "line 2: its amount is no number"),
        ("1000,28,972", "0,0,0", "line 2: 0 is no amount"),
        ("EUR,1000", "XXX,1000", "line 2: there is no currency 'XXX'"),
        ("capture,SHOP,EUR,1000", "capture,STORE,EUR,1000", "line 2: it is of 'STORE'"),
        ("capture,SHOP,EUR,1000", "authorize,SHOP,EUR,1000", "line 2: nobody says 'settled' of 'authorize'"),
        ("dispute_won", "dispute_drawn", "line 6: nobody says"),
        ("10.4,500", "10.4,501", "line 5: -500 goes the wrong way"),
        ("2026-12-14T00:00:00+00:00", "2026-12-14", "line 5: no time with an offset"),
        ("2,2026-11-24", "2,2026-11-25", "line 1: it is not the header of 2026-11-24"),
        ("CARD,2,", "CARD,1,", "line 1"),
        ("settled,,,\nD,R2", "settled,,\nD,R2", "line 2: a detail has 16 fields"),
        ("D,R1,", "D,,", "line 2: it names nothing"),
        ("\nT,EUR", "\n\nT,EUR", "line 9: it is empty"),
        ("SHOP", "SHÖP", "not CSV in ASCII"),
    ],
)
def test_a_card_file_that_is_not_right_is_rejected(old: str, new: str, why: str) -> None:
    """
    Truncated, miscounted, added up wrong, of another day or shop: nothing of it counts, and it is said where.
    """
    assert old in CARD

    assert why in rejected(card, CARD.replace(old, new, 1).encode())


def test_a_card_file_in_another_order_is_rejected() -> None:
    """
    Totals come after all details, the end after all totals.
    """
    lines = CARD.splitlines()
    for order in ([0, 8, *range(1, 8), 9, 10], [*range(1, 11), 0], [*range(8), 9, 8, 10], [*range(8), 10, 8, 9]):
        rejected(card, "".join(f"{lines[at]}\n" for at in order).encode())
    for data in (b"", b"\n", b"\xff", b'"'):
        rejected(card, data)


def test_a_card_file_cut_anywhere_is_rejected() -> None:
    """
    There is no beginning of a file that reads as a file.
    """
    data = CARD.encode()
    for length in range(len(data)):
        rejected(card, data[:length])


# UPI.


def upi_row(kind: str, direction: str, amount: str, **said: str) -> str:
    of = dict.fromkeys(COLUMNS, "") | {
        **{"rrn": "632900000001", "txn_id": payment_id(ID), "type": kind, "direction": direction},
        **{"payer": "asha@bank", "payee": "shop@bank", "amount": amount, "currency": "INR", "code": "00"},
        **{"settled_at": "2026-11-24T10:00:00+00:00"},
    }
    return ",".join((of | said).values())


UPI = "\n".join(
    [
        ",".join(COLUMNS),
        upi_row("COLLECT", "credit", "10.50"),
        upi_row("REFUND", "debit", "0.50", payer="shop@bank", payee="asha@bank", original_rrn="632900000000"),
        upi_row("PAY", "debit", "3.00", payer="shop@bank", payee="asha@bank", txn_id="somebody's own"),
        upi_row("CHARGEBACK", "debit", "2.00", code="1064", respond_by="2026-12-14T00:00:00+05:30"),
        upi_row("CHARGEBACK_WON", "credit", "1.00", code="1064"),
        upi_row("CHARGEBACK_LOST", "none", "9.00", code="1064"),
        "total,6,,,,,6.00,INR,,,,",
        "",
    ]
)


def upi(text: bytes) -> Report:
    return read_upi(text, route="bank", address="shop@bank", day=DAY)


def test_a_upi_file_is_read() -> None:
    """
    Row by row in its order, ours by our request id.
    """
    report = upi(UPI.encode())

    assert [(line.said, line.request_id, line.operation, line.amount) for line in report.lines] == [
        ("settled", ID, "collect", 1050),
        ("settled", ID, "refund", 50),
        ("settled", "somebody's own", "payout", 300),
        ("disputed", ID, "collect", 200),
        ("dispute_won", ID, "collect", 100),
        ("dispute_lost", ID, "collect", 900),
    ]
    assert report.lines[3].respond_by == datetime(2026, 12, 13, 18, 30, tzinfo=UTC)
    assert report.lines[3].reason == "not_received"


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("total,6,", "total,5,", "line 8: it counts 5 of 6 payments"),
        (",6.00,INR", ",6.01,INR", "line 8: it says 601 paise, and the payments come to 600"),
        (",6.00,INR", ",6.00,USD", "line 8: UPI is in INR"),
        ("total,6,,,,,6.00,INR,,,,\n", "", "line 7: it is not the total"),
        ("10.50,INR", "10.50,EUR", "line 2: UPI is in INR"),
        ("10.50,INR", "10.501,INR", "line 2: 10.501 is finer"),
        ("10.50,INR", "0,INR", "line 2: 0 is no amount"),
        ("COLLECT,credit", "COLLECT,debit", "line 2: a COLLECT goes the other way"),
        ("COLLECT,credit", "COLLECTED,credit", "line 2: there is no type"),
        ("2026-11-24T10:00:00+00:00", "2026-11-24T20:00:00+00:00", "line 2: it settled at"),
        ("2026-11-24T10:00:00+00:00", "2026-11-24T10:00:00", "line 2: no time with an offset"),
        ("shop@bank", "store@bank", "line 2: neither side of it is shop@bank"),
        ("632900000001,", ",", "line 2: it names nothing"),
        ("rrn,", "rrm,", "line 1: it is not the header"),
        ("\ntotal", "\n\ntotal", "line 8: a row has 12 fields"),
        ("INR,,,,\n", "INR,,,,", "its last line has no end"),
    ],
)
def test_a_upi_file_that_is_not_right_is_rejected(old: str, new: str, why: str) -> None:
    """
    Truncated, miscounted, in another currency or of another day in India.
    """
    assert old in UPI

    assert why in rejected(upi, UPI.replace(old, new, 1).encode())


def test_a_upi_file_cut_anywhere_is_rejected() -> None:
    """
    There is no beginning of a file that reads as a file.
    """
    data = UPI.encode()
    for length in range(len(data)):
        rejected(upi, data[:length])


# ACH.

ORIGINATOR = Originator(
    route="bank",
    url="http://bank.test",
    routing_number="121042882",
    operator="231380104",
    company_name="Daybook",
    company_id="1210428820",
)


def ach_entry(code: int, trace: str, amount: int, identification: str, *addenda: Any, bank: str = "231380104") -> Entry:
    return Entry(
        transaction_code=code,
        routing_number=bank,
        account="123456789",
        amount=amount,
        name="Ada Lovelace",
        trace=trace,
        identification=identification,
        addenda=addenda,
    )


def ach_batch(description: str, *entries: Entry, **changed: Any) -> Batch:
    fields: dict[str, Any] = {
        "entry_class": "PPD",
        "company_name": "Daybook",
        "company_id": ORIGINATOR.company_id,
        "description": description,
        "odfi": ORIGINATOR.odfi,
        "entries": entries,
        "effective_on": DAY,
        "settlement_day": DAY.timetuple().tm_yday,
    }
    return Batch(**fields | changed)


def ach_file(*batches: Batch, **changed: Any) -> bytes:
    fields: dict[str, Any] = {
        "destination": ORIGINATOR.routing_number,
        "origin": ORIGINATOR.operator,
        "created_on": DAY,
        "created_at": time(18),
        "batches": batches,
    }
    return write_ach(File(**fields | changed))


SENT = ach_batch(
    "PURCHASE", ach_entry(27, "121042880000001", 1050, "ABCDEFGHIJKLMNO"), ach_entry(27, "121042880000002", 70, "OTHER")
)
GIVEN = ach_batch("REFUND", ach_entry(22, "121042880000003", 20, "GIVEN", Remittance(ID)))
UNDONE = ach_batch("REVERSAL", ach_entry(22, "121042880000004", 1050, "UNDONE"))
BACK = ach_batch(
    "PURCHASE",
    ach_entry(
        26,
        "231380100000001",
        1050,
        "ABCDEFGHIJKLMNO",
        Return(code="R01", original_trace="121042880000001", original_rdfi="23138010"),
        bank="121042882",
    ),
    odfi="23138010",
    effective_on=None,
    settlement_day=None,
)
CHANGED = ach_batch(
    "PURCHASE",
    ach_entry(
        26,
        "231380100000002",
        0,
        "OTHER",
        Change(code="C01", original_trace="121042880000002", original_rdfi="23138010", corrected="987654321"),
        bank="121042882",
    ),
    odfi="23138010",
    entry_class="COR",
    effective_on=None,
    settlement_day=None,
)


def ach(data: bytes) -> Report:
    return read_ach(data, originator=ORIGINATOR, day=DAY)


def test_an_ach_file_is_read() -> None:
    """
    What settled and what came back, each by its identification or, where an addenda has it, its request id.
    """
    report = ach(ach_file(SENT, GIVEN, UNDONE, BACK, CHANGED))

    assert [(line.said, line.request_id, line.operation, line.amount, line.code) for line in report.lines] == [
        ("settled", "ABCDEFGHIJKLMNO", "collect", 1050, ""),
        ("settled", "OTHER", "collect", 70, ""),
        ("settled", ID, "refund", 20, ""),
        ("settled", "UNDONE", "reverse", 1050, ""),
        ("returned", "ABCDEFGHIJKLMNO", "collect", 1050, "R01"),
    ]
    assert report.lines[4] == Line(
        said=Said.RETURNED,
        request_id="ABCDEFGHIJKLMNO",
        operation="collect",
        amount=1050,
        currency="USD",
        reference="231380100000001",
        code="R01",
        reason="insufficient_funds",
        message="Insufficient funds",
    )


def test_a_day_without_entries_is_an_empty_file() -> None:
    """
    No Nacha file can say that there is nothing.
    """
    assert ach(b"").lines == ()


def test_an_ach_entry_that_is_there_twice_is_two() -> None:
    """
    In two batches, since one has each trace number but once.
    """
    report = ach(ach_file(SENT, SENT))

    assert [line.request_id for line in report.lines] == ["ABCDEFGHIJKLMNO", "OTHER"] * 2


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (ach_file(SENT, created_on=date(2026, 11, 25)), "file header: it is of 2026-11-25"),
        (ach_file(SENT, destination="091000019"), "file header"),
        (ach_file(replace(SENT, settlement_day=327)), "entry 121042880000001: it settled on day 327"),
        (ach_file(replace(SENT, settlement_day=None)), "entry 121042880000001: it settled on day None"),
        (ach_file(replace(SENT, company_id="1999999999")), "it is of the company '1999999999'"),
        (ach_file(replace(SENT, description="PURCHASES")), "nothing of ours is a debit 'PURCHASES'"),
        (ach_file(replace(SENT, description="REFUND")), "nothing of ours is a debit 'REFUND'"),
        (ach_file(replace(GIVEN, description="PURCHASE")), "nothing of ours is a credit 'PURCHASE'"),
    ],
)
def test_an_ach_file_that_is_not_ours_is_rejected(data: bytes, why: str) -> None:
    """
    Of another day, bank, company or purpose.
    """
    assert why in rejected(ach, data)


def test_an_ach_file_that_does_not_add_up_is_rejected() -> None:
    """
    Cut anywhere before its last record, its records in another order, a digit of any amount, count or hash changed.
    """
    data = ach_file(SENT, GIVEN, BACK)
    records = data.decode().split("\n")
    whole = next(at for at, record in enumerate(records) if record[:1] == "9")
    for length in range(1, whole):
        rejected(ach, "\n".join(records[:length]).encode() + b"\n")
    for at in range(1, whole - 1):
        swapped = [*records]
        swapped[at], swapped[at + 1] = swapped[at + 1], swapped[at]
        if {records[at][:1], records[at + 1][:1]} != {"6"}:
            rejected(ach, "\n".join(swapped).encode())
    for number, record in enumerate(records[: whole + 1]):
        for place in {"6": range(29, 39), "8": range(4, 44), "9": range(1, 55)}.get(record[:1], ()):
            changed = [*records]
            changed[number] = record[:place] + str((int(record[place]) + 1) % 10) + record[place + 1 :]
            rejected(ach, "\n".join(changed).encode())


# Wires.


def wire_entry(number: int, minor: int, *, credit: bool, currency: str = "EUR", **said: Any) -> WireEntry:
    amount = Money(minor, currency)
    detail = {"ids": replace(ids_of(ID), message_id=said.pop("message_id", "")), "amount": amount, "credit": credit}
    return WireEntry(
        amount=amount,
        credit=credit,
        status="BOOK",
        booked_on=DAY,
        valued_on=DAY,
        entry_id=f"E{number}",
        reference=f"B{number}",
        code="PMNT/ICDT/XBCT",
        details=(Detail(**{**detail, "reference": f"B{number}", **said}),),
    )


ENTRIES = (
    wire_entry(1, 12345, credit=False),
    wire_entry(2, 345, credit=False, purpose="REFU"),
    wire_entry(3, 12345, credit=True, return_reason="AC04"),
    wire_entry(4, 700, credit=True, return_reason="FOCR", message_id="recall-1"),
    wire_entry(5, 45, credit=True, return_reason="AC04", purpose="REFU"),
    wire_entry(6, 9, credit=True, creditor_reference="RF18539007547034"),
)
ADVICE = Statement(
    header=Header(message_id="ADVICE-1", created_at=datetime(2026, 11, 24, 23, 59, tzinfo=UTC)),
    statement_id="ADVICE-1-1",
    account=BANK.account,
    currency="EUR",
    summary=Summary(credits=Sum(4, 13099), debits=Sum(2, 12690)),
    entries=ENTRIES,
)


def wire(data: bytes) -> Report:
    return read_wire(data, bank=BANK, day=DAY)


def test_an_advice_is_read() -> None:
    """
    Payouts and refunds told apart by their purpose, what came back by why it did, and who paid us.
    """
    report = wire(write_advice([ADVICE]))

    assert report.reference == "ADVICE-1"
    assert [(line.said, line.request_id, line.operation, line.amount, line.code) for line in report.lines] == [
        ("settled", ID, "payout", 12345, ""),
        ("settled", ID, "refund", 345, ""),
        ("returned", ID, "payout", 12345, "AC04"),
        ("settled", "recall-1", "reverse", 700, ""),
        ("returned", ID, "refund", 45, "AC04"),
        ("settled", "RF18539007547034", "collect", 9, ""),
    ]
    assert (report.lines[2].reason, report.lines[2].reference) == ("account_closed", "B3")


def test_a_day_without_wires() -> None:
    """
    An advice of no account, or of ours without entries, says that there is nothing.
    """
    empty = replace(ADVICE, account=NOT_PROVIDED, currency="", summary=None, entries=())
    ours = replace(ADVICE, summary=Summary(credits=Sum(0, 0), debits=Sum(0, 0)), entries=())

    assert wire(write_advice([empty])).lines == wire(write_advice([ours])).lines == ()


def test_a_wire_that_is_there_twice_is_two() -> None:
    """
    What the advice counts twice is told twice.
    """
    twice = replace(ADVICE, summary=Summary(credits=Sum(0, 0), debits=Sum(2, 24690)), entries=ENTRIES[:1] * 2)

    first, second = wire(write_advice([twice])).lines
    assert first == second


def only(entry: WireEntry, **changed: Any) -> Statement:
    summary = Summary(credits=Sum(0, 0), debits=Sum(1, entry.amount.minor if entry.amount else 0))
    return replace(ADVICE, summary=summary, entries=(entry,), **changed)


@pytest.mark.parametrize(
    ("statement", "why"),
    [
        (replace(ADVICE, entries=ENTRIES[:-1]), "its entries are not what its summary says"),
        (replace(ADVICE, entries=(*ENTRIES, ENTRIES[0])), "its entries are not what its summary says"),
        (replace(ADVICE, summary=None), "its entries are not what its summary says"),
        (replace(ADVICE, account="GB33BUKB20201555555555"), "it is of the account"),
        (only(replace(ENTRIES[0], status="PDNG")), "entry 1: it is not booked"),
        (only(replace(ENTRIES[0], reversal=True)), "entry 1: it is not booked"),
        (only(replace(ENTRIES[0], booked_on=date(2026, 11, 25))), "it was booked on 2026-11-25"),
        (only(wire_entry(1, 12345, credit=False, currency="USD")), "entry 1: 123.45 USD on an account in EUR"),
        (only(replace(ENTRIES[0], details=ENTRIES[1].details)), "its payments do not come to 123.45 EUR"),
        (only(replace(ENTRIES[0], details=())), "its payments do not come to 123.45 EUR"),
        (only(wire_entry(1, 5, credit=False, return_reason="AC04")), "what came in goes back"),
    ],
)
def test_an_advice_that_is_not_right_is_rejected(statement: Statement, why: str) -> None:
    """
    Entries that are missing, pending, of another day, account or currency, or that do not add up.
    """
    assert why in rejected(wire, write_advice([statement]))


def test_what_is_no_advice_is_rejected() -> None:
    """
    Cut anywhere, another message, or none.
    """
    data = write_advice([ADVICE])
    for length in range(0, len(data.rstrip()), 97):
        rejected(wire, data[:length])
    rejected(wire, data.replace(b"camt.054.001.08", b"camt.054.001.07"))
    rejected(wire, data.replace(b"<Sts>", b"<Sts2>"))
