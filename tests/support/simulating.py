"""``muster simulate`` in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from redis import Redis

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def simulating(redis_url: str, queue: str, *options: str) -> Iterator[subprocess.Popen[str]]:
    """Run it with these options until the block ends."""
    argv = [sys.executable, "-m", "muster.cli", "simulate", "--queue", queue, *options]
    environment = os.environ | {"REDIS_URL": redis_url}
    with subprocess.Popen(
        argv, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def registered(redis_url: str, queue: str) -> int:
    """Return how many machines and workers the registry knows."""
    root = f"muster:{{{queue}}}"
    with Redis.from_url(redis_url) as client:
        return sum(int(client.hlen(f"{root}:{kind}")) for kind in ("machines", "workers"))
