"""Payment links of UPI: written as the specification wants them, read as apps do, and never in two ways."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from adapters.rails.upi.links import Link, LinkMalformed, read, write
from domain.upi import Address, address

TOP = Path(__file__).parents[2]
VECTORS = json.loads((TOP / "tests/vectors/upi/links.json").read_text("utf-8"))
SHARED = TOP / "../shared/data/vectors/upi/intent_links.json"

SHOP = Address("shop", "okbank")


@pytest.mark.parametrize(("text", "said"), VECTORS["read"])
def test_a_link_is_read(text: str, said: dict[str, Any]) -> None:
    """
    What a link says is read, whatever app it is for; what it does not say is left empty.
    """
    assert read(text) == Link(**{"name": "", **said, "payee": address(said["payee"])})


@pytest.mark.parametrize(("text", "why"), VECTORS["refused"])
def test_a_link_is_refused(text: str, why: str) -> None:
    """
    What is no link, or would mean one thing to this reader and another to an app, is refused and says why.
    """
    with pytest.raises(LinkMalformed, match=why):
        read(text)


def test_a_link_is_written() -> None:
    """
    Two decimals, INR, everything percent-encoded that is not plain, in the order of the specification.
    """
    link = Link(
        payee=SHOP,
        name="Rao & Sons",
        mcc="5411",
        psp_reference="DBK1",
        reference="ORDER 1",
        note="चाय",
        amount=150,
        minimum=100,
        url="https://shop.example/?a=1",
    )

    assert write(link) == (
        "upi://pay?pa=shop@okbank&pn=Rao%20%26%20Sons&mc=5411&tid=DBK1&tr=ORDER%201&tn=%E0%A4%9A%E0%A4%BE%E0%A4%AF"
        "&am=1.50&mam=1.00&cu=INR&url=https%3A%2F%2Fshop.example%2F%3Fa%3D1"
    )
    assert read(write(link)) == link


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"name": ""}, "names the payee"),
        ({"mcc": "5411"}, "has a reference"),
        ({"amount": 0}, "at least 0.01"),
        ({"amount": 10, "minimum": 11}, "minimum"),
        ({"note": "a\u202eb"}, "cannot be shown"),
        ({"note": "\ud800"}, "cannot be shown"),
        ({"name": "x" * 100}, "longer than 99"),
        ({"note": "च" * 80, "url": "च" * 512}, "too long for a QR code"),
    ],
)
def test_what_cannot_be_written(said: dict[str, Any], why: str) -> None:
    """
    A link that apps would refuse, or that shows the payer something else than it is, is not written.
    """
    with pytest.raises(LinkMalformed, match=why):
        write(Link(**{"payee": SHOP, "name": "Shop", **said}))


def test_a_link_without_end() -> None:
    """
    A text longer than a QR code holds is refused before anything in it is looked at, parameters not known here too.
    """
    text = "upi://pay?pa=shop@okbank&unknown="

    assert read(text + "x" * (2000 - len(text))).payee == SHOP
    with pytest.raises(LinkMalformed, match="2001 characters"):
        read(text + "x" * (2001 - len(text)))


def test_names_in_india_s_scripts() -> None:
    """
    The joiners that some of them are spelled with are kept.
    """
    link = Link(payee=SHOP, name="ര\u200dന\u200cക")

    assert read(write(link)) == link


@pytest.mark.skipif(not SHARED.is_file(), reason="the collected links are not there: vectors/upi in ../shared/data")
def test_links_from_elsewhere() -> None:
    """
    Links that others published are read, and mean the same when they are written again as the specification wants.
    """
    found = [read(text) for text in json.loads(SHARED.read_text("utf-8"))["links"]]

    assert [str(link.payee) for link in found] == ["merchant@pspbank", "yourname@okhdfcbank", "960078968101@ippb"]
    assert [link.amount for link in found] == [500_000, 49_900, 100]
    for link in found:
        named = msgspec.structs.replace(link, name=link.name or "Somebody", mcc=link.mcc.zfill(4) if link.mcc else "")
        assert read(write(named)) == named
