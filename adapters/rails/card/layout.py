"""Where the fields of a message lie: ISO 8583:1987, every character ASCII, both bitmaps as hexadecimal digits.

Source: ISO 8583:1987, section 4.4 (data elements) and table 1. Binary elements (52, 64, 96, 128) are sixteen
hexadecimal digits. Element 65, which would announce a third bitmap, is not used.
"""

from collections.abc import Mapping
from typing import Any, Final

FIXED: Final = 0
LL: Final = 2
LLL: Final = 3

_FIXED: Final = """
3:6 4:12 5:12 6:12 7:10 8:8 9:8 10:8 11:6 12:6 13:4 14:4 15:4 16:4 17:4 18:4 19:3 20:3 21:3 22:3 23:3 24:3 25:2 26:2
27:1 28:9 29:9 30:9 31:9 37:12 38:6 39:2 40:3 41:8 42:15 43:40 49:3 50:3 51:3 52:16 53:16 64:16
66:1 67:2 68:3 69:3 70:3 71:4 72:4 73:6 74:10 75:10 76:10 77:10 78:10 79:10 80:10 81:10 82:12 83:12 84:12 85:12
86:16 87:16 88:16 89:16 90:42 91:1 92:2 93:5 94:7 95:42 96:16 97:17 98:25 128:16
"""
_LL: Final = "2:19 32:11 33:11 34:28 35:37 44:99 45:76 99:11 100:11 101:17 102:28 103:28"
_LLL: Final = "36:104 46:999 47:999 48:999 54:120 104:100" + "".join(
    f" {n}:999" for n in (*range(55, 64), *range(105, 128))
)


def _sizes(table: str, prefix: int) -> dict[int, tuple[int, int]]:
    return {int(number): (prefix, int(size)) for number, _, size in (cell.partition(":") for cell in table.split())}


FIELDS: Final[Mapping[int, tuple[int, int]]] = dict(
    sorted({**_sizes(_FIXED, FIXED), **_sizes(_LL, LL), **_sizes(_LLL, LLL)}.items())
)
"""By number: how many digits say its length (none: it is always the same), and its length, at most or always."""


def _described(prefix: int, size: int) -> dict[str, Any]:
    return {"data_enc": "ascii", "len_enc": "ascii", "len_type": prefix, "max_len": size, "desc": ""}


SPEC: Final[Mapping[str, Mapping[str, Any]]] = {
    "h": _described(FIXED, 0),
    "t": _described(FIXED, 4),
    "p": _described(FIXED, 16),
    "1": _described(FIXED, 16),
    **{str(number): _described(prefix, size) for number, (prefix, size) in FIELDS.items()},
}
"""The same, as pyiso8583 wants to be told: header, message type, first and second bitmap, fields."""
