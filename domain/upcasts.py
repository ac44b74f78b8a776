"""How the shapes of old events become the newest: one pure function per step, on the decoded JSON object.

Only the newest class of an event exists in code; `tests/vectors/events/` keeps every old shape for ever.
"""

from collections.abc import Callable
from typing import Any, Final

Upcast = Callable[[dict[str, Any]], dict[str, Any]]

UPCASTS: Final[dict[str, tuple[str, Upcast]]] = {}
"""Old stored name -> (the next name, the function that makes the next shape), followed until a name is current."""
