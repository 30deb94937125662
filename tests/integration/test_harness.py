"""What the other tests stand on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import psutil
import pytest

from support.waiting import eventually_blocking

if TYPE_CHECKING:
    from pathlib import Path

    from redis.asyncio import Redis

RUN_AND_SAY_PID = """
import time
from support.redis import on_unix_socket, running
with running(on_unix_socket) as server:
    print(server.pid, flush=True)
    time.sleep(60)
"""


@pytest.mark.anyio
async def test_redis_is_reached_over_tcp_with_a_password(redis: Redis, redis_url: str) -> None:
    assert redis_url.startswith("redis://:")
    assert await redis.ping()


def test_a_test_is_marked_with_its_tier(request: pytest.FixtureRequest) -> None:
    assert request.node.get_closest_marker("integration")


def test_a_killed_test_run_leaves_no_redis(tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONPATH": ":".join(sys.path), "TMPDIR": str(tmp_path)}
    with subprocess.Popen(
        [sys.executable, "-c", RUN_AND_SAY_PID], stdout=subprocess.PIPE, env=environment
    ) as run:
        assert run.stdout is not None
        redis = int(run.stdout.readline())

        run.send_signal(signal.SIGKILL)

        eventually_blocking(lambda: not psutil.pid_exists(redis), "Redis ends")
