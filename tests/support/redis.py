"""Redis servers of the tests: real ones, started in a folder of their own."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from muster.embedded import EmbeddedRedis

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Listen = Callable[[Path], dict[str, Any]]


# So that a test run that is killed leaves no server behind. See prctl(2): PR_SET_PDEATHSIG is 1.
DIE_WITH_PARENT = """
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGTERM)
os.execv(sys.argv[1], sys.argv[1:])
"""


class OwnRedis(EmbeddedRedis):
    """A Redis that a test may harm. It ends with the process that runs the test."""

    def prepare(self) -> list[str]:
        """Write the configuration and return the command line."""
        return [sys.executable, "-ISc", DIE_WITH_PARENT, *super().prepare()]

    def kill(self) -> None:
        """End it as a crash does; ``start`` brings it back with what its AOF kept."""
        os.kill(self.pid, signal.SIGKILL)
        self.stop()

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Let it accept connections but answer nothing, as behind a stalled network."""
        os.kill(self.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self.pid, signal.SIGCONT)


@contextmanager
def running(listen: Listen, **options: Any) -> Iterator[OwnRedis]:
    """Run a Redis that listens as ``listen`` of its folder says."""
    # Not pytest's tmp_path: its long names do not fit into a unix socket's address.
    with tempfile.TemporaryDirectory(prefix="muster-") as name:
        folder = Path(name)
        with OwnRedis(folder, **listen(folder), **options) as server:
            yield server


def on_unix_socket(folder: Path) -> dict[str, Any]:
    """Listen on a unix socket only."""
    return {"unix_socket": folder / "redis.sock"}


def on_tcp(folder: Path) -> dict[str, Any]:
    """Listen on a free loopback port, with a password."""
    return {"port": free_port(), "password": secrets.token_urlsafe()}


def free_port() -> int:
    """Return a loopback TCP port that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
