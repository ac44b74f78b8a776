"""Addresses that stay a test's own, also while nobody listens there: what was killed comes back where it was."""

import os
import socket
from itertools import count

_FIRST, _PAIRS = 20_000, 5_000  # Below what systems give to connections that ask for no port.
_tried = count(os.getpid() * 97)  # Processes that run beside each other, one after the other by id, are far apart.


def two_free_ports() -> int:
    """The first of two in a row that nobody has, others each time."""
    while True:
        port = _FIRST + 2 * (next(_tried) % _PAIRS)
        try:
            for each in (port, port + 1):
                socket.create_server(("127.0.0.1", each)).close()
        except OSError:
            continue
        return port
