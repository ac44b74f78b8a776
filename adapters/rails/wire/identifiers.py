"""What accounts, banks and payments are called on the wire, and which characters may be used to say it."""

import hashlib
import re
import unicodedata
from typing import Final
from uuid import UUID

ID_MAX: Final = 35
NAME_MAX: Final = 140
REMITTANCE_MAX: Final = 140

_BIC: Final = re.compile(r"[A-Z0-9]{4}[A-Z]{2}[A-Z0-9]{2}(?:[A-Z0-9]{3})?", re.ASCII)
_IBAN: Final = re.compile(r"[A-Z]{2}[0-9]{2}[A-Z0-9]{11,30}", re.ASCII)
_REFERENCE: Final = re.compile(r"RF[0-9]{2}[A-Z0-9]{1,21}", re.ASCII)
_SWIFT_X: Final = re.compile(r"[A-Za-z0-9/\-?:().,'+ ]", re.ASCII)
_INSTEAD: Final = str.maketrans(
    {
        **{"ß": "ss", "Æ": "AE", "æ": "ae", "Ø": "O", "ø": "o", "Œ": "OE", "œ": "oe", "Ł": "L", "ł": "l", "Þ": "TH"},
        **{"þ": "th", "Đ": "D", "đ": "d", "Ð": "D", "ð": "d", "\N{LATIN SMALL LETTER DOTLESS I}": "i"},
        **{"&": "+", "_": "-", "\N{EN DASH}": "-", "\N{EM DASH}": "-", ";": ",", "@": "(at)", '"': "'", "`": "'"},
        **dict.fromkeys("\N{LEFT SINGLE QUOTATION MARK}\N{RIGHT SINGLE QUOTATION MARK}", "'"),
        **dict.fromkeys("\N{LEFT DOUBLE QUOTATION MARK}\N{RIGHT DOUBLE QUOTATION MARK}", "'"),
    }
)

_LENGTHS: Final = (
    "AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BI27 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DJ27 DK18 DO28 EE20 EG29 "
    "ES24 FI18 FK18 FO18 FR27 GB22 GE22 GI23 GL18 GR27 GT28 HN28 HR21 HU28 IE22 IL23 IQ23 IS26 IT27 JO30 KW30 KZ20 "
    "LB28 LC32 LI21 LT20 LU20 LV21 LY25 MC27 MD24 ME22 MK19 MN20 MR27 MT31 MU30 NI28 NL18 NO15 OM23 PK24 PL28 PS29 "
    "PT25 QA29 RO24 RS22 RU33 SA24 SC31 SD18 SE24 SI19 SK24 SM27 SO23 ST25 SV28 TL23 TN24 TR26 UA29 VA22 VG24 XK20 "
    "YE30"
)
_IBAN_LENGTHS: Final = {entry[:2]: int(entry[2:]) for entry in _LENGTHS.split()}
"""Source: IBAN registry, kept by SWIFT for ISO 13616. A country that is not in it is not held against an IBAN."""


def is_iban(text: str) -> bool:
    """Whether it has an IBAN's shape, its country's length, and check digits that fit. Source: ISO 13616, ISO 7064."""
    return (
        _IBAN.fullmatch(text) is not None
        and _IBAN_LENGTHS.get(text[:2], len(text)) == len(text)
        and _remainder(text) == 1
    )


def is_bic(text: str) -> bool:
    """Whether it has a BIC's shape. Source: ISO 9362."""
    return _BIC.fullmatch(text) is not None


def creditor_reference(name: str) -> str:
    """What a payer is to quote, so that the incoming wire finds its payment: `RF`, check digits, 21 digits.

    Of digits alone, since only then do the check digits find every slip of one and every two that were swapped.
    Source: ISO 11649. `name`: what it is for, such as a payment's id; the same name gives the same reference.
    """
    body = f"{int.from_bytes(hashlib.sha256(b'creditor-reference:' + name.encode()).digest()) % 10**21:021}"
    return f"RF{98 - _remainder(f'RF00{body}'):02}{body}"


def is_creditor_reference(text: str) -> bool:
    """Whether it has the shape and check digits of one. Source: ISO 11649."""
    return _REFERENCE.fullmatch(text) is not None and _remainder(text) == 1


def references_in(text: str) -> tuple[str, ...]:
    """What may be creditor references in what a payer wrote: `for RF18 5390-0754 7034, thanks` has `RF18539007547034`.

    Without spaces a text does not say where a reference ends, so there may be more than one, the longest first; check
    digits leave few, and which of them is one of ours is known to whoever gave it out.
    """
    squeezed = re.sub(r"[\s\-/.]", "", text.upper())
    starts = (match.start() for match in re.finditer("RF", squeezed))
    ends = (
        (start, start + length) for start in starts for length in range(25, 4, -1) if start + length <= len(squeezed)
    )
    found = (squeezed[start:end] for start, end in ends)
    return tuple(dict.fromkeys(filter(is_creditor_reference, found)))


def uetr(request_id: str) -> str:
    """The unique end-to-end transaction reference of a request: a UUID of version 4 in shape, always the same.

    Source: SWIFT UETR; pacs.008, CdtTrfTxInf/PmtId/UETR. A second try must bear the first one's, so it is no dice.
    """
    return str(UUID(bytes=hashlib.sha256(b"uetr:" + request_id.encode()).digest()[:16], version=4))


def swift_text(text: str, limit: int) -> str:
    """As much of a text as the SWIFT character set X can say, in `limit` characters; `Zoë & Söhne` is `Zoe + Sohne`.

    Other letters lose their accents, or become a full stop. Slashes neither begin nor end it, nor stand in pairs.
    Source: SWIFT Standards, character set X; EPC217-08, SEPA conversion table.
    """
    plain = unicodedata.normalize("NFKD", text.translate(_INSTEAD)).translate(_INSTEAD)
    kept = (letter for letter in plain if not unicodedata.combining(letter))
    said = "".join(letter if _SWIFT_X.match(letter) else " " if letter.isspace() else "." for letter in kept)
    said = re.sub(r"/{2,}", "/", " ".join(said.split()))
    return said[:limit].strip(" /")


def _remainder(text: str) -> int:
    """Of the letters as 10 to 35, the first four characters put last, divided by 97. Source: ISO 7064, MOD 97-10."""
    return int("".join(str(int(letter, 36)) for letter in text[4:] + text[:4])) % 97
