"""Request ids and traces."""

import re
import time

import pytest

from adapters.web.trace import request_id, trace

TRACE = "0af7651916cd43dd8448eb211c80319c"


@pytest.mark.parametrize("given", ["req-1", "a", "0af7651916cd43dd", "A.b_c:d/e+f=", "x" * 100])
def test_keeps_a_plain_request_id(given: str) -> None:
    """
    A caller that names its request finds it again under that name.
    """
    assert request_id(given) == given


@pytest.mark.parametrize("given", [None, "", " a", "a b", "a\x7f", "\u00e9", "x" * 101, "<b>", "a\tb", '"', "-a"])
def test_gives_a_request_id(given: str | None) -> None:
    """
    Without a plain name the request gets one, never twice the same.
    """
    assert re.fullmatch("req_[0-9a-hjkmnp-tv-z]{19}", request_id(given))
    assert len({request_id(given) for _ in range(1000)}) == 1000


def test_request_ids_sort_by_time() -> None:
    """
    What was asked a millisecond later comes later in a list by request id.
    """
    earlier = request_id(None)
    time.sleep(0.002)

    assert earlier < request_id(None)


@pytest.mark.parametrize(
    ("traceparent", "flags"),
    [
        (f"00-{TRACE}-b7ad6b7169203331-01", "01"),
        (f"00-{TRACE}-b7ad6b7169203331-00", "00"),
        (f"00-{TRACE}-b7ad6b7169203331-ff", "01"),
        (f"cc-{TRACE}-b7ad6b7169203331-01-what-the-future-will-be-like", "01"),
    ],
)
def test_goes_on_with_a_trace(traceparent: str, flags: str) -> None:
    """
    What goes out belongs to the trace that came in, under an id of its own.
    """
    found = trace(traceparent)

    assert found is not None
    assert found.trace_id == TRACE
    version, trace_id, parent_id, out_flags = found.child().split("-")
    assert (version, trace_id, out_flags) == ("00", TRACE, flags)
    assert parent_id != "b7ad6b7169203331"
    assert trace(found.child()) is not None


@pytest.mark.parametrize(
    "traceparent",
    [
        None,
        "",
        f"00-{TRACE}-b7ad6b7169203331",
        f"00-{TRACE}-b7ad6b7169203331-01-more",
        f"ff-{TRACE}-b7ad6b7169203331-01",
        f"00-{'0' * 32}-b7ad6b7169203331-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-b7ad6b7169203331-01",
        f"00-{TRACE}-b7ad6b7169203331-01\n",
        "00_" + TRACE,
    ],
)
def test_ignores_what_is_no_trace(traceparent: str | None) -> None:
    """
    An invalid traceparent is as none (W3C Trace Context, section 4.3).
    """
    assert trace(traceparent) is None
