"""Payment links, `upi://pay?pa=...`: written strictly, read as the apps do, and never in two ways.

A QR code for a payment is this text, as bytes; drawing it is left to whoever shows it.

Source: NPCI, UPI Linking Specifications 1.6, section 1.2, and RFC 3986 for the percent-encoding: a `+` is a plus.
"""

import re
from typing import Final
from urllib.parse import quote, unquote_to_bytes

from msgspec import Struct

from domain.money import AMOUNT_MAX, to_decimal, to_minor
from domain.upi import CURRENCY, Address, address

LINK_MAX: Final = 2000
"""Characters; a QR code that is still read from a screen holds about as many bytes."""

_APPS = re.compile(r"(?:upi://|gpay://upi/|phonepe://|paytmmp://|tez://upi/)pay/?\?([^#]*)", re.ASCII | re.IGNORECASE)
_AMOUNT = re.compile(r"[0-9]{1,14}(?:\.[0-9]{1,2})?", re.ASCII)
_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})", re.ASCII)
_LENGTHS: Final = {"name": 99, "mcc": 4, "psp_reference": 35, "reference": 35, "note": 80, "url": 512}
_JOINERS: Final = {0x200C: None, 0x200D: None}
"""Not seen, but names in India's scripts are spelled with them."""
_MCC = re.compile(r"[0-9]{0,4}", re.ASCII)


class LinkMalformed(ValueError):
    """The text is no payment link, or one that could be read in two ways."""


class Link(Struct, frozen=True, kw_only=True):
    """What a link asks for. An empty text or None: not said.

    Args:
        payee: `pa`. `name`: `pn`, whom the payer reads that they pay. `mcc`: `mc`, the merchant's category, 4 digits.
        psp_reference: `tid`. `reference`: `tr`, by which the payment is found again; a merchant's payment has one.
        note: `tn`. `url`: `url`, more about it.
        amount: `am`, paise, at least 1; None: the payer says how much. `minimum`: `mam`, paise, with `amount`.
    """

    payee: Address
    name: str
    mcc: str = ""
    psp_reference: str = ""
    reference: str = ""
    note: str = ""
    amount: int | None = None
    minimum: int | None = None
    url: str = ""


def write(link: Link) -> str:
    """The link as text.

    Raises:
        LinkMalformed: It lacks what the specification demands, or holds what a link cannot.
    """
    if not link.name:
        raise LinkMalformed("a link names the payee (pn)")
    if link.mcc and not link.reference:
        raise LinkMalformed("a merchant's link has a reference (tr)")
    _check(link)
    said = {
        "pa": str(link.payee),
        "pn": link.name,
        "mc": link.mcc,
        "tid": link.psp_reference,
        "tr": link.reference,
        "tn": link.note,
        "am": _rupees(link.amount),
        "mam": _rupees(link.minimum),
        "cu": CURRENCY,
        "url": link.url,
    }
    text = "upi://pay?" + "&".join(f"{key}={quote(value, safe='@')}" for key, value in said.items() if value)
    if len(text) > LINK_MAX:
        raise LinkMalformed(f"a link of {len(text)} characters is too long for a QR code")
    return text


def read(text: str) -> Link:
    """What a link asks for; of any app's scheme, and with parameters that are not known here left aside.

    Raises:
        LinkMalformed: It is none, says something twice, is not in INR, or its amount is not a plain one.
    """
    if len(text) > LINK_MAX:
        raise LinkMalformed(f"a link of {len(text)} characters")
    found = _APPS.fullmatch(text)
    if found is None:
        raise LinkMalformed(f"not a payment link: {text[:60]!r}")
    said = _parameters(found[1])
    if said.get("cu", CURRENCY) != CURRENCY:
        raise LinkMalformed(f"UPI is in {CURRENCY}, not {said['cu'][:10]!r}")
    try:
        payee = address(said.get("pa", ""))
    except ValueError as error:
        raise LinkMalformed(str(error)) from error
    link = Link(
        payee=payee,
        name=said.get("pn", ""),
        mcc=said.get("mc", ""),
        psp_reference=said.get("tid", ""),
        reference=said.get("tr", ""),
        note=said.get("tn", ""),
        amount=_paise(said.get("am", "")),
        minimum=_paise(said.get("mam", "")),
        url=said.get("url", ""),
    )
    _check(link)
    return link


def _parameters(query: str) -> dict[str, str]:
    said: dict[str, str] = {}
    for pair in query.split("&") if query else []:
        key, equals, value = pair.partition("=")
        if not equals:
            raise LinkMalformed(f"{key[:20]!r} has no value")
        if key in said:
            raise LinkMalformed(f"{key[:20]!r} is said twice")
        said[key] = _decoded(value)
    return said


def _decoded(value: str) -> str:
    if _ESCAPE.search(value):
        raise LinkMalformed(f"malformed percent-encoding in {value[:40]!r}")
    try:
        return unquote_to_bytes(value).decode("utf-8")
    except UnicodeError as error:
        raise LinkMalformed(f"{value[:40]!r} is not UTF-8") from error


def _check(link: Link) -> None:
    for field, most in _LENGTHS.items():
        value: str = getattr(link, field)
        if len(value) > most:
            raise LinkMalformed(f"{field} is longer than {most} characters")
        # What a payer cannot see, or sees in another order than it is in, must not be in what they agree to.
        if not value.translate(_JOINERS).isprintable():
            raise LinkMalformed(f"{field} has characters that cannot be shown")
    if not _MCC.fullmatch(link.mcc):
        raise LinkMalformed("the merchant category (mc) is four digits")
    for amount in (link.amount, link.minimum):
        if amount is not None and not 1 <= amount <= AMOUNT_MAX:
            raise LinkMalformed("an amount is at least 0.01")
    if link.minimum is not None and (link.amount is None or link.minimum > link.amount):
        raise LinkMalformed("the minimum (mam) is not above an amount (am)")


def _rupees(paise: int | None) -> str:
    return "" if paise is None else str(to_decimal(paise, CURRENCY))


def _paise(text: str) -> int | None:
    if text in ("", "null"):  # The specification's own sample writes `mam=null`.
        return None
    if not _AMOUNT.fullmatch(text):
        raise LinkMalformed(f"not an amount in rupees: {text[:40]!r}")
    return to_minor(text, CURRENCY)
