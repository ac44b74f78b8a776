"""JSON from strangers."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.web import strict_json
from adapters.web.problem import BadRequest
from adapters.web.strict_json import DEPTH_MAX, read_object

DEEP = 100_000


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "json_malformed"),
        (b" ", "json_malformed"),
        (b"{", "json_malformed"),
        (b"{}{}", "json_malformed"),
        (b"{} x", "json_malformed"),
        (b"{'a': 1}", "json_malformed"),
        (b'{"a": 1,}', "json_malformed"),
        (b'{"a": 01}', "json_malformed"),
        (b'{"a": +1}', "json_malformed"),
        (b'{"a": 0x10}', "json_malformed"),
        (b'{"a": 1_000}', "json_malformed"),
        ('{"a": \u0661}'.encode(), "json_malformed"),
        (b'{"a": "\n"}', "json_malformed"),
        (b'{"a": "\0"}', "json_malformed"),
        (b'// {"a": 1}', "json_malformed"),
        (b"\xef\xbb\xbf{}", "json_malformed"),
        ('{"a": 1}'.encode("utf-16"), "json_invalid_utf8"),
        ('{"a": 1}'.encode("utf-16-le"), "json_malformed"),
        (b'{"a": "\xff"}', "json_invalid_utf8"),
        (b'{"a": "\xed\xa0\x80"}', "json_invalid_utf8"),
        (b'{"a": "\xc0\xaf"}', "json_invalid_utf8"),
        (b'{"a": 1, "a": 1}', "json_duplicate_key"),
        (b'{"a": 1, "\\u0061": 2}', "json_duplicate_key"),
        (b'{"x": [{"a": 1, "b": 2, "a": 3}]}', "json_duplicate_key"),
        (b'{"a": 1.0}', "json_float"),
        (b'{"a": 1e2}', "json_float"),
        (b'{"a": 1E400}', "json_float"),
        (b'{"a": -0.0}', "json_float"),
        (b'{"a": NaN}', "json_not_a_number"),
        (b'{"a": Infinity}', "json_not_a_number"),
        (b'{"a": -Infinity}', "json_not_a_number"),
        (b'{"a": 123456789012345678901}', "json_number_too_large"),
        (b'{"a": ' + b"9" * 5000 + b"}", "json_number_too_large"),
        (b'{"a": ' + b"[" * DEPTH_MAX + b"]" * DEPTH_MAX + b"}", "json_too_deep"),
        (b'{"a": ' + b"[" * DEEP + b"]" * DEEP + b"}", "json_too_deep"),
        (b'{"a":' * DEEP + b"1" + b"}" * DEEP, "json_too_deep"),
        (b'{"a": "\\ud800"}', "json_lone_surrogate"),
        (b'{"a": "\\uDFFF x"}', "json_lone_surrogate"),
        (b'{"\\udc00": 1}', "json_lone_surrogate"),
        (b'{"a": "\\ude00\\ud83d"}', "json_lone_surrogate"),
        (b"[]", "json_not_an_object"),
        (b"null", "json_not_an_object"),
        (b"1", "json_not_an_object"),
        (b'"{}"', "json_not_an_object"),
    ],
)
def test_refuses(body: bytes, code: str) -> None:
    """
    What two readers could understand differently is refused, each fault with its own code.
    """
    with pytest.raises(BadRequest) as refusal:
        read_object(body)

    assert refusal.value.code == code


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b"{}", {}),
        (b' {"a" : [1, -2, true, null, "x"]}\r\n', {"a": [1, -2, True, None, "x"]}),
        (b'{"a": -9223372036854775808}', {"a": -(2**63)}),
        (b'{"a": "\\ud83d\\ude00 \\u00e9"}', {"a": "\N{GRINNING FACE} \u00e9"}),
        ('{"a": "\u00e9"}'.encode(), {"a": "\u00e9"}),
        (b'{"a": {"b": 1}, "c": {"b": 1}}', {"a": {"b": 1}, "c": {"b": 1}}),
        (
            b'{"a": ' + b"[" * (DEPTH_MAX - 1) + b"]" * (DEPTH_MAX - 1) + b"}",
            json.loads('{"a": ' + "[" * (DEPTH_MAX - 1) + "]" * (DEPTH_MAX - 1) + "}"),
        ),
        (b'{"a": [' + b"{}," * 100 + b"{}]}", {"a": [{}] * 101}),
        (b'{"a": "[[[[[[[[[[[[[[[[[[[[[[[["}', {"a": "[[[[[[[[[[[[[[[[[[[[[[[["}),
    ],
)
def test_reads(body: bytes, value: object) -> None:
    """
    Plain JSON is read as it stands.
    """
    assert read_object(body) == value


@given(st.binary(max_size=60) | st.text('[]{}",:\\u0d8ef1.eNa -', max_size=60).map(str.encode))
def test_reads_or_refuses(body: bytes) -> None:
    """
    Whatever the bytes, the answer is an object or a refusal with a code, never another failure.
    """
    try:
        value = read_object(body)
    except BadRequest as refusal:
        assert refusal.code.startswith("json_")
    else:
        assert value == json.loads(body)


def written(pairs: list[tuple[str, str]]) -> str:
    """An object that may have a key twice."""
    return "{" + ", ".join(f"{key}: {value}" for key, value in pairs) + "}"


words = st.sampled_from(['"a"', '"b"', '"a:"', '"[1.5]"', '"\\\\"', '"\\""', '"\\u0061"', '"\u00e9"', '""'])
numbers = st.sampled_from(["0", "-1", "12", "1.0", "1e3", "123456789012345678", "12345678901234567890", "1" + "0" * 25])
bodies = st.recursive(
    words | numbers | st.sampled_from(["null", "true", "false"]),
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda found: "[" + ",".join(found) + "]")
        | st.lists(st.tuples(words, inner), max_size=3).map(written)
    ),
    max_leaves=12,
)


@given(bodies)
def test_what_is_read_fast_is_read_the_same_slowly(body: str) -> None:
    """
    The fast reader takes nothing that the strict one refuses, and understands nothing else by it.
    """
    fast = strict_json._read_plain(body.encode())
    assert fast is None or fast == strict_json._read_slowly(body.encode())


def test_a_plain_body_is_read_fast() -> None:
    assert strict_json._read_plain(b'{"book": "main", "postings": [{"amount": 10}, {"amount": 10}]}') is not None
