"""What a request is called: its own id, and the trace it belongs to.

Source: W3C Trace Context level 1, sections 3.2 and 4.3.
"""

import re
import secrets
from typing import Final

from msgspec import Struct
from uuid_utils import uuid7

from domain import ids

REQUEST: Final = "req"
_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:+/=-]{0,99}", re.ASCII)
_TRACEPARENT: Final = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.ASCII)


class Trace(Struct, frozen=True):
    """A valid traceparent that came in."""

    trace_id: str
    flags: str

    def child(self) -> str:
        """The traceparent of what is done here on its behalf."""
        return f"00-{self.trace_id}-{secrets.token_hex(8)}-{self.flags}"


def request_id(given: str | None) -> str:
    """The caller's own, if it is a short plain word, else a new one.

    That is 19 letters and digits: its millisecond, so that ids sort by time, and 47 bits of chance. It is stored with
    every event, where a whole UUID would be 7 bytes more.
    """
    if given is not None and _REQUEST_ID.fullmatch(given):
        return given
    uuid = uuid7().int
    return f"{REQUEST}_{ids.base32(uuid >> 80 << 47 | uuid & (1 << 47) - 1, 19)}"


def trace(traceparent: str | None) -> Trace | None:
    """The trace in a traceparent header; an invalid one is ignored, as the standard has it."""
    match = _TRACEPARENT.fullmatch(traceparent or "")
    if match is None:
        return None
    version, trace_id, parent_id, flags, more = match.groups()
    if version == "ff" or (version == "00" and more) or not trace_id.strip("0") or not parent_id.strip("0"):
        return None
    return Trace(trace_id, "01" if int(flags, 16) & 1 else "00")
