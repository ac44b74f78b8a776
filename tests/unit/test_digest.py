"""The digest of a read model: the bytes that are hashed are those that its page says, for ever."""

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from hashlib import sha256
from typing import Any
from uuid import UUID

import pytest

from replay.digest import digest

AT = datetime(2026, 1, 31, 18, 0, 0, 5, tzinfo=UTC)
ROW = (UUID(int=10), 7, True, None, date(2026, 1, 31), AT, 'é "\\\x01\n', {"b": [1, {"z": 1, "a": 2}], "a": None})
COLUMNS = ["a", "b", "c", "d", "e", "f", "g", "h"]


def test_the_bytes() -> None:
    """
    Every kind of value has the bytes that are written down here by hand.
    """
    hashed = sha256(
        b'["things","a","b","c","d","e","f","g","h"]\n'
        b'["00000000-0000-0000-0000-00000000000a",7,true,null,"2026-01-31","2026-01-31T18:00:00.000005Z",'
        b'"\xc3\xa9 \\"\\\\\\u0001\\n",{"a":null,"b":[1,{"a":2,"z":1}]}]\n'
    )

    found = digest("things", COLUMNS, [ROW])

    assert (found.table, found.rows, found.sha256) == ("things", 1, hashed.hexdigest())


def test_a_digest_for_ever() -> None:
    """
    The digest itself, so that no change of a library goes unnoticed.
    """
    assert digest("things", COLUMNS, [ROW]).sha256 == "3fddfae2d723a4c0031e0499fbf8de9c769d3bfd40018a67ac0231dc6b7a6f1e"


def test_no_rows() -> None:
    """
    An empty table has a digest too: that of its name and columns.
    """
    assert digest("t", ["a"], []).sha256 == sha256(b'["t","a"]\n').hexdigest()


@pytest.mark.parametrize("place", range(len(ROW)))
def test_every_value_counts(place: int) -> None:
    """
    Another value in any column is another digest.
    """
    other: list[Any] = list(ROW)
    other[place] = "other"

    assert digest("things", COLUMNS, [other]) != digest("things", COLUMNS, [ROW])


def test_the_zone_does_not_count() -> None:
    """
    One instant is one value, whatever the zone it was read in.
    """
    elsewhere = AT.astimezone(timezone(timedelta(hours=-5)))

    assert digest("t", ["a"], [[elsewhere]]) == digest("t", ["a"], [[AT]])


def test_order_counts() -> None:
    """
    The same rows in another order are not the same.
    """
    assert digest("t", ["a"], [[1], [2]]) != digest("t", ["a"], [[2], [1]])


@pytest.mark.parametrize("value", [1.5, Decimal(1), b"bytes"], ids=["float", "decimal", "bytes"])
def test_a_value_without_bytes(value: Any) -> None:
    """
    What has no bytes of its own is refused, and not hashed somehow.
    """
    with pytest.raises(TypeError):
        digest("t", ["a"], [[value]])
