"""What runs keeps running, stops when it should, and says clearly why it does not start."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from typing import TYPE_CHECKING

import psutil
import pytest

from muster.fleet.model import Machine, MachineState, WorkerState
from muster.jobs.model import JobRequest, JobState
from muster.jobs.queue import Queue
from support.redis import free_port
from support.waiting import eventually

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from conftest import RunningMachine, StartMachine
    from muster.fleet.registry import Registry

pytestmark = pytest.mark.anyio


def pids(machine: Machine) -> dict[str, int | None]:
    return {program.name: program.pid for program in machine.programs}


async def ready_with_new_processes(
    running: RunningMachine, before: Machine, *changed: str
) -> Machine:
    async def look() -> Machine:
        return await running.registry.machine("box")

    return await eventually(
        look,
        f"the machine is ready with new processes for {changed}",
        until=lambda now: (
            now.state is MachineState.READY
            and all(pids(now)[name] != pids(before)[name] for name in changed)
        ),
        timeout_s=60,
    )


async def test_killed_services_and_workers_come_back(start_machine: StartMachine) -> None:
    machine = start_machine(NUM_GPUS="2", CONNECTOR="comfyui")
    before = await machine.until(MachineState.READY)

    for name in ("comfyui-gpu0", "worker-gpu1"):
        os.kill(pids(before)[name] or 0, signal.SIGKILL)

    after = await ready_with_new_processes(machine, before, "comfyui-gpu0", "worker-gpu1")
    untouched = {"comfyui-gpu1", "worker-gpu0"}
    assert {name for name in pids(after) if pids(after)[name] == pids(before)[name]} == untouched
    assert {p.name: p.restarts for p in after.programs if p.restarts} == {
        "comfyui-gpu0": 1,
        "worker-gpu1": 1,
    }


async def test_prints_what_its_programs_print_when_asked(start_machine: StartMachine) -> None:
    machine = start_machine(NUM_GPUS="2", CONNECTOR="comfyui", LOG_PROGRAMS="1")

    await machine.until(MachineState.READY)
    for gpu in range(2):
        said = f"[comfyui-gpu{gpu}] Simulated ComfyUI"
        await eventually(lambda said=said: said in machine.log(), f"{said} is passed on")


async def test_a_killed_supervisord_comes_back_with_its_programs(
    start_machine: StartMachine,
) -> None:
    machine = start_machine(NUM_GPUS="1")
    before = await machine.until(MachineState.READY)
    supervisord = psutil.Process(pids(before)["worker-gpu0"]).ppid()

    os.kill(supervisord, signal.SIGKILL)

    await ready_with_new_processes(machine, before, "worker-gpu0")
    assert len(machine.processes()) == 2


async def test_nothing_outlives_a_killed_agent(start_machine: StartMachine) -> None:
    machine = start_machine(NUM_GPUS="1")
    await machine.until(MachineState.READY)

    machine.agent.kill()

    await eventually(machine.processes, "all has ended", until=lambda left: not left, timeout_s=30)


async def test_sigterm_gives_running_jobs_back(
    start_machine: StartMachine, redis: Redis, queue_name: str, registry: Registry
) -> None:
    queue = Queue(redis, queue_name)
    await queue.open()
    long = JobRequest(service="simulation", payload={"duration_s": 600, "steps": 6000})
    jobs = [one.id for one in await queue.submit_many([long, long])]
    machine = start_machine()
    await eventually(
        queue.counts, "both run", until=lambda n: n[JobState.RUNNING] == 2, timeout_s=60
    )

    machine.agent.terminate()
    code = await asyncio.to_thread(machine.agent.wait, 30)

    assert code == 0
    assert machine.processes() == []
    assert (await registry.machine("box")).state is MachineState.OFFLINE
    for worker in (await registry.workers()).workers:
        assert worker.state is WorkerState.OFFLINE
    for job in [await queue.get(job_id) for job_id in jobs]:
        assert (job.state, job.failed_attempts, job.lost_attempts) == (JobState.PENDING, 0, 0)


async def test_a_service_that_does_not_start_is_told_with_its_reason(
    start_machine: StartMachine,
) -> None:
    machine = start_machine(
        NUM_GPUS="1",
        CONNECTOR="comfyui",
        SERVICE_COMMAND="{python} -c 'raise SystemExit(\"no CUDA, port {port}\")'",
        RESTART_ATTEMPTS="1",
    )

    degraded = await machine.until(MachineState.DEGRADED)

    assert "comfyui-gpu0 is " in degraded.reasons[0]
    assert degraded.reasons[0].split(": ")[-1].startswith("no CUDA, port ")


async def test_names_a_port_that_is_taken(start_machine: StartMachine) -> None:
    with socket.create_server(("127.0.0.1", free_port())) as other:
        taken = other.getsockname()[1]

        machine = start_machine(NUM_GPUS="2", CONNECTOR="comfyui", SERVICE_BASE_PORT=str(taken - 1))

        assert machine.agent.wait(timeout=30) == 2
        assert f"SERVICE_BASE_PORT: gives comfyui-gpu1 the port {taken}" in machine.log()
        assert machine.processes() == []


@pytest.mark.failure(3)
@pytest.mark.parametrize("count", ["0", "9", "-1", "two", ""])
def test_refuses_a_gpu_count_at_startup(start_machine: StartMachine, count: str) -> None:
    machine = start_machine(NUM_GPUS=count)

    assert machine.agent.wait(timeout=30) == 2
    assert f"NUM_GPUS: {count!r}" in machine.log()
    assert "from 1 to 8" in machine.log()


def test_tells_no_password_when_redis_refuses_it(
    start_machine: StartMachine, redis_url: str
) -> None:
    address = redis_url.split("@")[1]

    machine = start_machine(REDIS_URL=f"redis://:wrong-but-secret@{address}")

    assert machine.agent.wait(timeout=30) == 2
    assert "refuses the user or password" in machine.log()
    assert "wrong-but-secret" not in machine.log()
