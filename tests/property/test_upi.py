"""UPI against all comers: links come back as they were written, and no text or bytes do more than be refused."""

import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from unittest import mock

import hypothesis.strategies as st
import pytest
from hypothesis import assume, example, given

from adapters.rails.simulator.books import Books
from adapters.rails.simulator.clock import Clock
from adapters.rails.simulator.faults import Faults
from adapters.rails.simulator.upi import UpiSimulator
from adapters.rails.upi import messages
from adapters.rails.upi.links import Link, LinkMalformed, read, write
from adapters.rails.upi.messages import MessageMalformed, payment_id, read_request, read_resp_pay
from adapters.rails.upi.rail import Bank, answer_in, asking
from domain.money import AMOUNT_MAX
from domain.rail import Approved, Instruction, NotFound, Operation, Rail, UpiAddress
from domain.upi import Address, Kind, User, allowed

AT = datetime(2026, 3, 2, 12, tzinfo=UTC)
BANK = Bank(route="mybank", url="http://bank.invalid/upi", address="shop@mybank", name="Shop", mcc="5411")

shown = st.characters(exclude_categories=["C", "Z"], include_characters=" &=#%+?/;\"'<>\u200c\u200d")
letters = "abcdefghijklmnopqrstuvwxyz0123456789"
addresses = st.builds(
    Address,
    st.from_regex(r"[a-z0-9][a-z0-9.\-_]{0,30}", fullmatch=True),
    st.from_regex(r"[a-z][a-z0-9.\-]{1,20}", fullmatch=True),
)
amounts = st.integers(1, AMOUNT_MAX)


@st.composite
def links(draw: st.DrawFn) -> Link:
    amount = draw(st.none() | amounts)
    return Link(
        payee=draw(addresses),
        name=draw(st.text(shown, min_size=1, max_size=20)),
        mcc=draw(st.sampled_from(["", "5411", "0000"])),
        psp_reference=draw(st.text(shown, max_size=35)),
        reference=draw(st.text(shown, min_size=1, max_size=35)),
        note=draw(st.text(shown, max_size=20)),
        amount=amount,
        minimum=None if amount is None else draw(st.none() | st.integers(1, amount)),
        url=draw(st.text(shown, max_size=40)),
    )


@given(links())
def test_links_read_back(link: Link) -> None:
    """
    Whatever the texts in it, a link that is written is plain ASCII, and read back it is the same.
    """
    text = write(link)

    assert text.isascii()
    assert read(text) == link


pieces = st.sampled_from(
    [
        *("upi://pay?", "pa=", "am=", "cu=INR", "&", "=", "%", "%00", "%41", "#", "?", "@", "shop@okbank", "mam=", "1"),
        *(".", "00", "-", "e", "pn=", "null", " ", "+", "\n", "\u0661", "\ud800"),
    ]
)


@given(st.text() | st.lists(pieces, max_size=15).map("".join).map(lambda rest: f"upi://pay?pa=a@b1&{rest}"))
@example("upi://pay?pa=a@b1&am=1&am=2")
def test_hostile_links(text: str) -> None:
    """
    Any text is either refused, or a link with a payee and no nonsense in it, that can be written the same again.
    """
    try:
        link = read(text)
    except LinkMalformed:
        return
    assert link.amount is None or 1 <= link.amount <= AMOUNT_MAX
    assert link.note.translate({0x200C: None, 0x200D: None}).isprintable()
    assume(link.name and (link.reference or not link.mcc))
    assert read(write(link)) == link


def instruction(request_id: str, amount: int, descriptor: str, holder: str) -> Instruction:
    return Instruction(
        request_id=request_id,
        operation=Operation.COLLECT,
        rail=Rail.UPI,
        route="mybank",
        amount=amount,
        currency="INR",
        method=UpiAddress(vpa="asha@okbank", holder=holder),
        sent_at=AT,
        descriptor=descriptor,
    )


ids = st.text(letters, min_size=22, max_size=22)


@given(ids, amounts, st.text(), st.text())
def test_requests_read_back(request_id: str, amount: int, descriptor: str, holder: str) -> None:
    """
    Whatever people wrote, a request is XML that the other side reads, with this id and this amount.
    """
    request = asking(instruction(request_id, amount, descriptor, holder), BANK)

    assert read_request(messages.write(request)) == request
    assert (request.payment_id, request.amount) == (payment_id(request_id), amount)


scraps = st.sampled_from(
    [
        *(b"<", b">", b"/", b"&", b"<!DOCTYPE a>", b"<!ENTITY a 'b'>", b"</Resp>", b"<Ref/>", b'"', b"=", b"\x00"),
        *(b"SUCCESS", b"10.50", b"00", b"\xff", b"<?xml?>", b"<![CDATA[", b"]]>", b"&#0;", b"&a;"),
    ]
)
GOOD = (
    '<upi:RespPay xmlns:upi="http://npci.org/upi/schema/"><Head ver="2.0" ts="2026-03-02T17:30:00+05:30" '
    f'orgId="NPCI" msgId="N1"/><Txn id="{payment_id("0" * 22)}" type="PAY" custRef="606117000001"/>'
    '<Resp reqMsgId="M1" result="SUCCESS" errCode="00"><Ref settAmount="10.50" settCurrency="INR" respCode="00"/>'
    "</Resp></upi:RespPay>"
).encode()


@given(
    st.binary() | st.tuples(st.integers(0, len(GOOD)), st.integers(0, 9), scraps).map(lambda cut: spoilt(*cut)),
)
def test_hostile_answers(data: bytes) -> None:
    """
    Any bytes are an answer or are not; nothing but the whole amount under the right id is ever an approval.
    """
    asked = instruction("0" * 22, 1050, "", "")

    answer = answer_in(asked, data)

    assert not isinstance(answer, NotFound)
    if isinstance(answer, Approved):
        assert (answer.amount, answer.currency) == (1050, "INR")
    try:
        assert read_resp_pay(data).payment_id is not None
    except MessageMalformed:
        assert not isinstance(answer, Approved)


def spoilt(at: int, dropped: int, scrap: bytes, good: bytes = GOOD) -> bytes:
    return good[:at] + scrap + good[at + dropped :]


ASKED = messages.write(asking(instruction("0" * 22, 1050, "Tea", "Asha"), BANK))


@given(
    st.lists(
        st.binary()
        | st.tuples(st.integers(0, len(ASKED)), st.integers(0, 9), scraps).map(lambda cut: spoilt(*cut, ASKED)),
        max_size=5,
    )
)
def test_hostile_requests(requests: list[bytes]) -> None:
    """
    The simulator answers any bytes, keeps its books so that they read back, and does one thing at most under an id.
    """
    # What a crash would leave is not asked here, so nothing waits for the disk.
    with tempfile.TemporaryDirectory() as folder, mock.patch("os.fsync"):
        file = Path(folder) / "books.jsonl"
        with Books(file) as books:
            simulator = UpiSimulator(books, Faults(1), Clock(real=lambda: AT))
            for request in [*requests, ASKED, *requests]:
                assert simulator.answer(request).body is not None
            kept = list(books.effects())
        with Books(file) as books:
            assert list(books.effects()) == kept
            assert len({effect.request_id for effect in kept}) == len(kept) >= 1


def test_the_good_answer_is_good() -> None:
    """
    What is spoilt above is an approval as it stands.
    """
    assert isinstance(answer_in(instruction("0" * 22, 1050, "", ""), GOOD), Approved)
    with pytest.raises(MessageMalformed):
        read_resp_pay(spoilt(0, 0, b"<!DOCTYPE a>"))


@given(
    st.sampled_from(Kind),
    st.sampled_from(User),
    amounts,
    st.integers(0, AMOUNT_MAX),
    st.integers(0, 100),
    st.integers(-3650, 3650).map(lambda days: AT + timedelta(days=days)),
)
def test_less_is_allowed_where_more_is(
    kind: Kind, user: User, amount: int, spent: int, count: int, now: datetime
) -> None:
    """
    Whoever may pay an amount may pay a smaller one, having paid less and less often before.
    """
    if allowed(kind, user, amount=amount, spent_today=spent, count_today=count, now=now) is None:
        assert allowed(kind, user, amount=1, spent_today=spent // 2, count_today=count // 2, now=now) is None
