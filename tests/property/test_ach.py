"""Whatever Nacha file we write reads back equal, without a finding, and keeps every rule of the printed book."""

from datetime import date, time
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from adapters.rails.ach.codes import CHANGES, RETURNS
from adapters.rails.ach.files import PRENOTES, ZERO_DOLLARS, Batch, Change, Entry, File, Remittance, Return, file_of
from adapters.rails.ach.reading import read
from adapters.rails.ach.routing_numbers import check_digit
from adapters.rails.ach.writing import write
from tests.ach import keeps_the_rules

PRINTABLE = "".join(map(chr, range(32, 127)))


def text(most: int, least: int = 1) -> st.SearchStrategy[str]:
    """Printable ASCII without blanks about it."""
    stripped = st.text(PRINTABLE, min_size=least, max_size=most).filter(lambda each: each == each.strip())
    return st.just("A" * most) | stripped


def digits(length: int) -> st.SearchStrategy[str]:
    return st.integers(1, 10**length - 1).map(lambda value: str(value).rjust(length, "0"))


eights = digits(8)
routing_numbers = eights.map(lambda eight: f"{eight}{check_digit(eight)}")
days = st.dates(date(2000, 1, 1), date(2060, 12, 31))
originals: dict[str, st.SearchStrategy[Any]] = {"original_trace": digits(15), "original_rdfi": eights}
LIVE = [22, 27, 32, 37, 42, 47, 52, 55]


@st.composite
def returns(draw: st.DrawFn) -> Return:
    code = draw(st.sampled_from(sorted(RETURNS)))
    died_on = draw(days) if code in ("R14", "R15") else None
    rest = draw(st.fixed_dictionaries({"information": text(44, 0), **originals}))
    return Return(code=code, died_on=died_on, **rest)


changes = st.builds(Change, code=st.sampled_from(sorted(CHANGES)), corrected=text(29), **originals)


@st.composite
def entries(draw: st.DrawFn, *, odfi: str, sequence: int, kind: str, entry_class: str) -> Entry:
    addenda: tuple[Any, ...] = ()
    if kind == "return":
        code, addenda = draw(st.sampled_from([21, 26, 31, 36, 41, 46, 51, 56])), (draw(returns()),)
    elif kind == "change":
        code, addenda = draw(st.sampled_from([21, 26, 31, 36])), (draw(changes),)
    else:
        zero = sorted(ZERO_DOLLARS) if entry_class == "CCD" else []
        code = draw(st.sampled_from(LIVE + sorted(PRENOTES) + zero))
        addenda = draw(st.just(()) | st.builds(lambda each: (Remittance(each),), text(80)))
    none = code in PRENOTES | ZERO_DOLLARS or kind == "change"
    return Entry(
        transaction_code=code,
        routing_number=draw(routing_numbers),
        account=draw(text(17)),
        amount=0 if none else draw(st.integers(1, 10**10 - 1)),
        name=draw(text(22)),
        trace=f"{odfi}{sequence:07}",
        identification=draw(text(15, 0)),
        discretionary=draw(st.sampled_from("RS")) if entry_class == "WEB" else draw(text(2, 0)),
        addenda=addenda,
    )


@st.composite
def files(draw: st.DrawFn) -> File:
    batches = []
    sequence = 0
    for _ in range(draw(st.integers(1, 4))):
        odfi = draw(eights)
        kind = draw(st.sampled_from(["forward", "forward", "return", "change"]))
        entry_class = "COR" if kind == "change" else draw(st.sampled_from(["PPD", "CCD", "WEB"]))
        made = []
        for _ in range(draw(st.integers(1, 12))):
            sequence += draw(st.integers(1, 50_000))
            made.append(draw(entries(odfi=odfi, sequence=sequence, kind=kind, entry_class=entry_class)))
        header: dict[str, Any] = draw(
            st.fixed_dictionaries(
                {
                    "company_name": text(16),
                    "company_id": text(10),
                    "description": st.just("REVERSAL") | text(10),
                    "effective_on": st.none() | days,
                    "settlement_day": st.none() | st.integers(1, 366),
                    "company_data": text(20, 0),
                    "descriptive_date": text(6, 0),
                }
            )
        )
        batches.append(Batch(entry_class=entry_class, odfi=odfi, entries=tuple(made), **header))
    origins = st.from_regex(r"[A-Z1-9][A-Z0-9]{8,9}", fullmatch=True)
    return File(
        destination=draw(routing_numbers),
        origin=draw(origins),
        created_on=draw(days),
        created_at=draw(st.builds(time, st.integers(0, 23), st.integers(0, 59))),
        batches=tuple(batches),
        modifier=draw(st.sampled_from("AZ09")),
        destination_name=draw(text(23, 0)),
        origin_name=draw(text(23, 0)),
        reference=draw(text(8, 0)),
    )


@given(files())
def test_what_is_written_reads_back_equal_and_keeps_the_rules(file: File) -> None:
    """
    Any classes, directions, addenda and amounts: nothing is found wrong with it, and nothing is lost.
    """
    data = write(file)

    keeps_the_rules(data)
    reading = read(data)
    assert reading.findings == []
    assert file_of(reading) == file


@given(st.binary(max_size=2_000) | st.text("156789 0A\n\r", max_size=2_000).map(str.encode))
def test_anything_can_be_read(data: bytes) -> None:
    """
    A verdict on any bytes, never an exception.
    """
    read(data)
