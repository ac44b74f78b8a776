"""JSON from strangers, with nothing left to interpretation: what two readers could understand differently is refused.

Source: RFC 8259; RFC 7493 (I-JSON) sections 2.1 and 2.3, on surrogates and duplicate names.
"""

import json
import re
from typing import Any, Final, NoReturn

import orjson

from adapters.web.problem import BadRequest

DEPTH_MAX: Final = 16
"""Objects and arrays within each other."""
DIGITS_MAX: Final = 20
"""Characters of one number; more than any amount or total has."""


def read_object(body: bytes) -> dict[str, Any]:
    """The JSON object in the body.

    Raises:
        BadRequest: It is not one, or not in the strict form; the code says which.
    """
    value = _read_plain(body)
    if value is None:
        value = _read_slowly(body)
    if not isinstance(value, dict):
        raise BadRequest("json_not_an_object", "The body is not a JSON object.")
    return value


def _read_slowly(body: bytes) -> Any:
    """The value in the body, or what is wrong with it."""
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadRequest("json_invalid_utf8", "The body is not UTF-8.") from error
    try:
        value = _decode(text)
    except json.JSONDecodeError as error:
        raise BadRequest(
            "json_malformed", "The body is not JSON.", f"line {error.lineno}, column {error.colno}"
        ) from error
    except RecursionError as error:
        raise _too_deep() from error
    if text.count("[") + text.count("{") > DEPTH_MAX:
        _must_be_shallow(value)
    if "\\u" in text:
        _must_be_unicode(value)
    return value


def _read_plain(body: bytes) -> Any:
    """The value, where a fast reader that is less strict can be seen to be right; None to have it read slowly.

    Without a backslash every quote begins or ends a string. So what lies between strings shows the numbers and how deep
    it goes, and an object that had a key twice has fewer quotes when it is written again.
    """
    if b"\\" in body:
        return None
    between = b"".join(body.split(b'"')[::2])
    numbers = between.translate(_DIGITS_AS_0)
    if any(sign in numbers for sign in _TO_LOOK_AT) or not _is_shallow(between):
        return None
    try:
        value = orjson.loads(body)
        return value if orjson.dumps(value).count(b'"') == body.count(b'"') else None
    except (orjson.JSONDecodeError, orjson.JSONEncodeError):
        return None


_DIGITS_AS_0: Final = bytes.maketrans(b"0123456789", b"0" * 10)
_TO_LOOK_AT: Final = (b"0.", b"0e", b"0E", b"0" * 19)
"""Not a whole number, or so large that the fast reader may make a float of it."""
_NO_BRACKETS: Final = bytes(set(range(256)) - set(b"[]{}"))
_INNERMOST: Final = re.compile(rb"\[\]|\{\}")


def _is_shallow(between: bytes) -> bool:
    """Whether taking the innermost objects and arrays away leaves nothing, soon enough."""
    brackets = between.translate(None, _NO_BRACKETS)
    for _ in range(DEPTH_MAX):
        brackets = _INNERMOST.sub(b"", brackets)
        if not brackets:
            return True
    return not brackets


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise BadRequest("json_duplicate_key", "An object has the same key twice.")
    return found


def _integer(digits: str) -> int:
    if len(digits) > DIGITS_MAX:
        raise BadRequest("json_number_too_large", f"A number has more than {DIGITS_MAX} digits.")
    return int(digits)


def _no_float(_: str) -> NoReturn:
    raise BadRequest("json_float", "Numbers are whole: amounts are in minor units, without point or exponent.")


def _no_constant(_: str) -> NoReturn:
    raise BadRequest("json_not_a_number", "NaN and Infinity are no JSON.")


_decode: Final = json.JSONDecoder(
    object_pairs_hook=_unique, parse_int=_integer, parse_float=_no_float, parse_constant=_no_constant
).decode


def _must_be_shallow(value: Any) -> None:
    level = [value]
    for _ in range(DEPTH_MAX):
        level = [inner for outer in level if isinstance(outer, list | dict) for inner in _inside(outer)]
        if not level:
            return
    if any(isinstance(value, list | dict) for value in level):
        raise _too_deep()


def _inside(outer: "list[Any] | dict[str, Any]") -> "list[Any]":
    return list(outer.values()) if isinstance(outer, dict) else outer


def _too_deep() -> BadRequest:
    return BadRequest("json_too_deep", f"Objects and arrays lie more than {DEPTH_MAX} deep.")


def _must_be_unicode(value: Any) -> None:
    try:
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError as error:
        raise BadRequest("json_lone_surrogate", "A string holds half of a surrogate pair.") from error
