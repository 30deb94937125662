"""Real machines: agents in processes of their own, with real supervisords, services and workers."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from muster.errors import NotFound
from muster.fleet.registry import Registry
from muster.machine import leftovers
from muster.machine.ports import free_row
from support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import psutil
    from redis.asyncio import Redis

    from muster.fleet.model import Machine, MachineState

    StartMachine = Callable[..., "RunningMachine"]

SIMULATOR = (
    *("{python}", "-m", "muster.simulation.comfyui", "--port", "{port}"),
    *("--output-directory", "{output_dir}", "--temp-directory", "{temp_dir}"),
    *("--input-directory", "{input_dir}"),
)


@dataclass(frozen=True)
class RunningMachine:
    """An agent that the test started, and what it wrote to its log."""

    machine_id: str
    data_dir: Path
    agent: subprocess.Popen[bytes]
    log_file: Path
    registry: Registry

    def log(self) -> str:
        """Return what the agent printed."""
        return self.log_file.read_text()

    def processes(self) -> list[psutil.Process]:
        """Return what the agent started, found as a later run would find it."""
        directory = self.data_dir / "machines" / self.machine_id
        marker = {"MUSTER_MACHINE": self.machine_id, "MUSTER_MACHINE_DIR": str(directory)}
        return leftovers.find(marker)

    async def until(self, state: MachineState, timeout_s: float = 60) -> Machine:
        """Wait until this very start of the machine is in that state."""

        async def look() -> Machine | None:
            assert self.agent.poll() is None, self.log()
            machine = await self.registry.machine(self.machine_id)
            return machine if machine.incarnation in self.log() else None

        machine = await eventually(
            look,
            f"machine {self.machine_id} is {state}",
            until=lambda machine: machine and machine.state is state,
            timeout_s=timeout_s,
            ignoring=(NotFound,),
        )
        assert machine
        return machine


@pytest.fixture
def registry(redis: Redis, queue_name: str) -> Registry:
    return Registry(redis, queue_name)


@pytest.fixture
def data_dir() -> Iterator[Path]:
    """Where machines of the test keep their files: one folder, so that a restart finds it."""
    with tempfile.TemporaryDirectory(prefix="muster-test-") as name:
        yield Path(name)


@pytest.fixture
def start_machine(
    redis_url: str, queue_name: str, data_dir: Path, registry: Registry
) -> Iterator[StartMachine]:
    """Start an agent with these environment variables, as ``muster machine`` does."""
    base_port = free_row(8)
    with ExitStack() as stack:

        def start(**environment: str | None) -> RunningMachine:
            given: dict[str, str | None] = {
                **os.environ,
                "REDIS_URL": redis_url,
                "MUSTER_QUEUE": queue_name,
                "MUSTER_DATA_DIR": str(data_dir),
                "MACHINE_ID": "box",
                "NUM_GPUS": "2",
                "CONNECTOR": "simulation",
                "SERVICE_COMMAND": shlex.join(SIMULATOR),
                "SERVICE_BASE_PORT": str(base_port),
                **environment,
            }
            log_file = Path(stack.enter_context(tempfile.NamedTemporaryFile()).name)
            with log_file.open("wb") as log:
                agent = stack.enter_context(
                    subprocess.Popen(
                        [sys.executable, "-m", "muster.cli", "machine"],
                        env={name: text for name, text in given.items() if text is not None},
                        stdout=log,
                        stderr=log,
                    )
                )
            stack.callback(agent.terminate)
            return RunningMachine(
                machine_id=given["MACHINE_ID"] or given["CONTAINER_NAME"] or "",
                data_dir=Path(given["MUSTER_DATA_DIR"] or ""),
                agent=agent,
                log_file=log_file,
                registry=registry,
            )

        yield start
