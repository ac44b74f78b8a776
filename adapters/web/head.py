"""The headers of a request, looked at once."""

from collections.abc import Mapping

from starlette.types import Scope

Head = Mapping[bytes, list[str]]
"""Values by name, which is in lower case, in the order in which they came."""


def read_head(scope: Scope) -> Head:
    """What `starlette.datastructures.Headers` would go through the headers for at each question."""
    found: dict[bytes, list[str]] = {}
    for name, value in scope["headers"]:
        found.setdefault(name, []).append(value.decode("latin-1"))
    return found


def first(head: Head, name: bytes) -> str | None:
    """The first of that name, if any."""
    values = head.get(name)
    return values[0] if values else None
