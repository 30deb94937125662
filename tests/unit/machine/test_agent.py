from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from typing import TYPE_CHECKING, Any, Self

import anyio
import pytest

from muster.errors import Conflict, NotFound
from muster.fleet.model import Machine, MachineState, Worker, WorkerState
from muster.fleet.registry import Registry
from muster.jobs.connection import connect
from muster.jobs.model import Capabilities
from muster.machine import agent, health
from muster.machine.agent import Agent
from muster.machine.plan import Plan, plan
from muster.machine.settings import MachineSettings
from muster.machine.supervisor import Status
from muster.settings import RedisSettings
from support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from redis.asyncio import Redis

    from support.redis import OwnRedis

pytestmark = pytest.mark.anyio


class StandIn:
    """A caretaker whose programs all run, unless a test says otherwise."""

    def __init__(self, planned: Plan) -> None:
        self.programs = {
            program.name: Status(program.name, "RUNNING", pid, "")
            for pid, program in enumerate(planned.programs, start=100)
        }
        self.earlier = dict(self.programs)
        self.restarts: Counter[str] = Counter()
        self.given_up: list[str] = []
        self.history: list[str] = []

    async def __aenter__(self) -> Self:
        self.history.append("started")
        return self

    async def __aexit__(self, *_: object) -> None:
        self.history.append("closed")

    async def run(self) -> None:
        await anyio.sleep_forever()

    async def drain(self) -> None:
        self.history.append("drained")

    def last_line(self, _: str) -> str:
        return ""


@pytest.fixture(autouse=True)
def _speaks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent, "HEARTBEAT_S", 0.02)


@pytest.fixture
def registry(redis: Redis, queue_name: str) -> Registry:
    return Registry(redis, queue_name)


@pytest.fixture
def planned(tmp_path: Path) -> Plan:
    return _planned(tmp_path, "now")


@pytest.fixture
def care(planned: Plan) -> StandIn:
    return StandIn(planned)


def _planned(tmp_path: Path, incarnation: str) -> Plan:
    settings = MachineSettings.load(
        machine_id="box", num_gpus=2, data_dir=tmp_path, connector="simulation"
    )
    planned = plan(settings, incarnation=incarnation)
    planned.directory.mkdir(parents=True, exist_ok=True)
    return planned


def _run(planned: Plan, registry: Registry, care: Any) -> Callable[[], Any]:
    return Agent(planned, registry, care).run


def _stop() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


async def _register_workers(planned: Plan, registry: Registry) -> None:
    for worker in planned.workers:
        await registry.register_worker(
            Worker(
                worker_id=worker.worker_id,
                machine_id=planned.machine_id,
                incarnation=planned.incarnation,
                gpu=worker.gpu,
                state=WorkerState.IDLE,
                capabilities=Capabilities(service="simulation"),
                release=planned.release,
            )
        )


def _state(registry: Registry) -> Callable[[], Any]:
    async def state() -> MachineState:
        return (await registry.machine("box")).state

    return state


async def _is(registry: Registry, state: MachineState) -> Machine:
    await eventually(
        _state(registry), f"the machine is {state}", until=state.__eq__, ignoring=(NotFound,)
    )
    return await registry.machine("box")


async def test_a_machine_is_ready_once_all_that_was_planned_runs(
    planned: Plan, registry: Registry, care: StandIn
) -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_run(planned, registry, care))
        await eventually(lambda: care.history, "it starts")
        starting = await registry.machine("box")
        await _register_workers(planned, registry)
        ready = await _is(registry, MachineState.READY)
        _stop()

    assert starting.state is MachineState.STARTING
    assert (ready.gpus, ready.reasons, ready.incarnation) == (2, [], "now")
    assert [(p.name, p.kind, p.gpu, p.state) for p in ready.programs] == [
        ("worker-gpu0", "worker", 0, "RUNNING"),
        ("worker-gpu1", "worker", 1, "RUNNING"),
    ]


async def test_a_health_check_hears_what_the_fleet_hears(
    planned: Plan, registry: Registry, care: StandIn
) -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_run(planned, registry, care))
        await eventually(
            lambda: health.problem(planned.directory).startswith("starting"), "it says it starts"
        )
        await _register_workers(planned, registry)
        await eventually(lambda: health.problem(planned.directory) == "", "it says it is ready")
        _stop()


async def test_a_machine_outlives_a_full_disk(
    planned: Plan, registry: Registry, care: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_space(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(health, "write", no_space)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_run(planned, registry, care))
        await eventually(lambda: care.history, "it starts")
        await _register_workers(planned, registry)
        ready = await _is(registry, MachineState.READY)
        _stop()

    assert ready.reasons == []


async def test_a_machine_that_is_told_to_stop_drains_and_goes_offline(
    planned: Plan, registry: Registry, care: StandIn
) -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_run(planned, registry, care))
        await eventually(lambda: care.history, "it starts")
        _stop()

    assert care.history == ["started", "drained", "closed"]
    assert (await registry.machine("box")).state is MachineState.OFFLINE


async def test_a_machine_keeps_speaking_while_it_drains(
    planned: Plan, registry: Registry, care: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_end = anyio.Event()
    monkeypatch.setattr(care, "drain", may_end.wait)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_run(planned, registry, care))
        await eventually(lambda: care.history, "it starts")
        _stop()
        draining = await _is(registry, MachineState.DRAINING)
        await eventually(
            lambda: registry.machine("box"),
            "it speaks again",
            until=lambda machine: machine.seen_at > draining.seen_at,
        )
        may_end.set()

    assert (await registry.machine("box")).state is MachineState.OFFLINE


async def test_says_what_is_wrong_and_recovers(
    planned: Plan, registry: Registry, care: StandIn
) -> None:
    await _register_workers(planned, registry)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_run(planned, registry, care))
        await eventually(lambda: care.history, "it starts")
        await _register_workers(planned, registry)
        await _is(registry, MachineState.READY)

        healthy = care.programs["worker-gpu1"]
        care.programs["worker-gpu1"] = Status("worker-gpu1", "BACKOFF", None, "Exited too quickly")
        degraded = await _is(registry, MachineState.DEGRADED)

        care.programs["worker-gpu1"] = healthy
        await _is(registry, MachineState.READY)
        _stop()

    assert degraded.reasons == ["worker-gpu1 is BACKOFF (Exited too quickly)"]


async def test_a_machine_that_does_not_come_up_is_degraded_not_starting(
    planned: Plan, registry: Registry, care: StandIn
) -> None:
    care.programs["worker-gpu0"] = Status("worker-gpu0", "FATAL", None, "no such file")
    care.given_up = ["worker-gpu0"]

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_run(planned, registry, care))
        machine = await _is(registry, MachineState.DEGRADED)
        _stop()

    assert machine.reasons[0] == "worker-gpu0 is FATAL (no such file)"


async def test_a_machine_outlives_an_outage_of_redis(
    own_redis: Callable[..., OwnRedis], planned: Plan, care: StandIn
) -> None:
    server = own_redis()
    async with connect(RedisSettings.load(redis_url=server.url)) as redis:
        registry = Registry(redis)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_run(planned, registry, care))
            await eventually(lambda: care.history, "it starts")
            before = await registry.machine("box")

            server.kill()
            await anyio.sleep(0.2)  # some of its heartbeats find no Redis
            server.start()

            await eventually(
                lambda: registry.machine("box"),
                "it speaks again",
                until=lambda machine: machine.seen_at > before.seen_at,
            )
            assert care.history == ["started"]
            _stop()


async def test_stops_when_another_takes_its_id(
    planned: Plan, registry: Registry, care: StandIn
) -> None:
    thief = Machine(machine_id="box", incarnation="thief", state=MachineState.STARTING, gpus=1)

    async def steal() -> None:
        await eventually(lambda: care.history, "it starts")
        await registry.register_machine(thief, takeover=True)

    with pytest.raises(Conflict, match="thief"):
        await _beside(steal, _run(planned, registry, care))

    assert care.history == ["started", "closed"]
    assert (await registry.machine("box")).incarnation == "thief"


async def test_a_second_machine_of_one_id_does_not_start(
    planned: Plan, registry: Registry, care: StandIn
) -> None:
    other = Machine(machine_id="box", incarnation="other", state=MachineState.READY, gpus=1)
    await registry.register_machine(other)

    async def speak() -> None:
        while True:
            await registry.report_machine(other)
            await anyio.sleep(0.05)

    with pytest.raises(Conflict, match="is alive already"):
        await _beside(speak, _run(planned, registry, care))

    assert care.history == []


async def test_a_restart_after_a_crash_does_not_wait_for_its_former_self(
    planned: Plan, registry: Registry, care: StandIn, tmp_path: Path
) -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_run(_planned(tmp_path, "before"), registry, StandIn(planned)))
        await _is(registry, MachineState.STARTING)
        tasks.cancel_scope.cancel()
    await registry.register_machine(
        Machine(machine_id="box", incarnation="before", state=MachineState.READY, gpus=2)
    )

    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_run(planned, registry, care))
            await eventually(lambda: care.history, "it starts")
            _stop()


async def _beside(other: Callable[[], Any], run: Callable[[], Any]) -> None:
    """Await ``run`` while ``other`` runs too, which ends with it."""
    task = asyncio.create_task(other())
    try:
        await run()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
