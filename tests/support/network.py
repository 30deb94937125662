"""A guard under which any socket but a unix one is an error."""

from __future__ import annotations

import socket
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

# https://docs.python.org/3/library/audit_events.html
_ON_A_SOCKET = {"socket.connect", "socket.bind", "socket.sendto", "socket.sendmsg"}
_BY_NAME = {"socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"}

_attempts: list[str] | None = None
_hooked = False


class NetworkUsed(AssertionError):
    """A unit test used the network. Use a unix socket, or make it an integration test."""


@contextmanager
def no_network() -> Iterator[None]:
    """Make every use of the network raise ``NetworkUsed``, at once and again at the end.

    Again at the end, because the code under test may swallow the first one. It sees what goes
    through Python's socket module, so not uvloop's own sockets.
    """
    global _attempts, _hooked  # noqa: PLW0603  (audit hooks are global, and for ever)
    if not _hooked:
        sys.addaudithook(_hook)
        _hooked = True
    outer, _attempts = _attempts, []
    try:
        yield
        seen = _attempts
    finally:
        _attempts = outer
    if seen:
        raise NetworkUsed(f"{NetworkUsed.__doc__} It tried: {'; '.join(seen)}")


def _hook(event: str, args: tuple[Any, ...]) -> None:
    if _attempts is None or not event.startswith("socket."):
        return
    on_network = event in _ON_A_SOCKET and args[0].family != socket.AF_UNIX
    if on_network or event in _BY_NAME:
        attempt = f"{event} {args[1] if on_network else args[0]!r}"
        _attempts.append(attempt)
        raise NetworkUsed(f"{NetworkUsed.__doc__} It tried: {attempt}")
