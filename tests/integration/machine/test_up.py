"""``muster up``: a whole fleet from one command, which heals itself and leaves nothing behind."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from muster.errors import MusterError
from muster.fleet.model import Machine, MachineState
from muster.jobs.model import JobState
from support.up import REDIS, Up, running_up
from support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator


pytestmark = pytest.mark.anyio


@pytest.fixture
def up() -> Iterator[Up]:
    with running_up(gpus=1) as running:
        yield running


async def _ready(up: Up) -> Machine:
    async def look() -> Machine:
        async with up.client() as client:
            return await client.machine("local")

    return await eventually(
        look,
        "the machine is ready",
        until=lambda machine: machine.state is MachineState.READY,
        timeout_s=60,
        ignoring=(MusterError,),
    )


async def _jobs_complete(up: Up) -> None:
    """Submit jobs as a user does after reading what ``up`` printed."""
    async with up.client() as client:
        before = (await client.queue()).counts[JobState.COMPLETED]
    submitted = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "muster.cli", "submit", "comfyui", "--example", "--count", "3"],
        env={**os.environ, "XDG_CONFIG_HOME": str(up.config)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert submitted.returncode == 0, submitted.stderr

    async def completed() -> int:
        async with up.client() as client:
            return (await client.queue()).counts[JobState.COMPLETED]

    await eventually(completed, "three jobs more complete", until=(before + 3).__eq__, timeout_s=30)


async def test_a_fleet_runs_from_one_command(up: Up) -> None:
    ready = await _ready(up)
    assert [program.name for program in ready.programs] == ["comfyui-gpu0", "worker-gpu0"]
    await _jobs_complete(up)

    for secret in ("token", "redis-password", "machine.env", "server.env", "tokens.toml"):
        assert (up.data_dir / secret).stat().st_mode & 0o777 == 0o600
    assert (up.data_dir / "token").read_text() not in up.log()
    assert (up.data_dir / "redis-password").read_text() not in up.log()

    second = await asyncio.to_thread(
        subprocess.run, up.argv, capture_output=True, text=True, check=False
    )
    assert second.returncode == 1
    assert "Another `muster up` runs already" in second.stderr

    up.process.send_signal(signal.SIGINT)
    assert await asyncio.to_thread(up.process.wait, 60) == 0
    assert up.processes() == []
    assert up.log().endswith("Stopped.\n")


async def test_a_fleet_heals_from_the_loss_of_any_part(up: Up) -> None:
    before = await _ready(up)

    for part in (REDIS, "muster.cli server", "muster.cli machine"):
        (victim,) = up.processes(part)
        victim.kill()
        await eventually(
            lambda part=part, victim=victim: [p for p in up.processes(part) if p != victim],
            f"{part} is back",
            timeout_s=30,
        )

    await eventually(
        lambda: _ready(up), "ready anew", until=lambda m: m.incarnation != before.incarnation
    )
    await _jobs_complete(up)


async def test_nothing_outlives_a_killed_up(up: Up) -> None:
    up.process.kill()

    await eventually(up.processes, "all has ended", until=lambda left: not left, timeout_s=60)
