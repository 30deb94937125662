"""Loopback TCP ports: is one free, and where is a row of free ones."""

from __future__ import annotations

import random
import socket

from muster.errors import Conflict

# Below 32768, from where Linux takes ports for outgoing connections (ip_local_port_range).
_SEARCHED = range(10_000, 32_000)
_ATTEMPTS = 100


def is_free(port: int) -> bool:
    """Tell whether a server could listen on the port now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def free_row(count: int) -> int:
    """Return the first of ``count`` free ports in a row, at a random place.

    Random, so that two who search at once do not find the same. Raises ``Conflict`` if there is
    no such row.
    """
    for _ in range(_ATTEMPTS):
        first = random.choice(_SEARCHED)  # noqa: S311  (no secret)
        if all(is_free(port) for port in range(first, first + count)):
            return first
    raise Conflict(f"There are no {count} free ports in a row here. End some programs.")
