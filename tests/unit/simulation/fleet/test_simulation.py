from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from muster.errors import Conflict, InvalidInput
from muster.fleet.model import Machine, MachineState, WorkerState
from muster.jobs.model import JobState
from muster.simulation.fleet import Options
from muster.simulation.fleet import simulation as simulations
from muster.simulation.fleet.options import check_room, make_room
from support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from redis.asyncio import Redis

    from muster.fleet.registry import Registry
    from muster.jobs.queue import Queue
    from muster.simulation.fleet import Report, Simulation

    Simulate = Callable[..., Awaitable[Report]]

pytestmark = pytest.mark.anyio


async def empty(registry: Registry) -> bool:
    machines, workers = await registry.machines(), await registry.workers()
    return not machines.machines and not workers.workers


async def test_every_job_reaches_one_end(simulate: Simulate, queue: Queue) -> None:
    report = await simulate(jobs=20, duration_s=0.02)

    assert report.jobs == {"completed": 20, "failed": 0, "cancelled": 0, "unfinished": 0}
    assert report.committed_twice == 0
    assert report.good
    assert not report.stopped
    assert (report.machines, report.workers) == (2, 4)
    assert 1 <= report.running_at_most <= 4
    assert report.wait.count == 20
    assert (await queue.counts())[JobState.COMPLETED] == 20


async def test_the_fleet_is_seen_as_any_other_and_leaves_nothing_behind(
    simulate: Simulate, registry: Registry
) -> None:
    # Given a simulation under way
    stop = asyncio.Event()

    def until_seen(_: Simulation, stopped: asyncio.Event) -> None:
        if stop.is_set():
            stopped.set()

    running = asyncio.create_task(simulate(until_seen, jobs=4, duration_s=600))

    # When all its workers are busy
    workers = await eventually(
        registry.live_workers,
        "four workers are busy",
        until=lambda seen: [worker.state for worker in seen] == [WorkerState.BUSY] * 4,
    )
    machines = (await registry.machines()).machines

    # Then the registry shows machines and workers, each worker with its machine and its job
    assert [machine.machine_id for machine in machines] == ["sim-001", "sim-002"]
    assert {machine.state for machine in machines} == {MachineState.READY}
    assert [worker.machine_id for worker in workers] == ["sim-001"] * 2 + ["sim-002"] * 2
    assert len({job for worker in workers for job in worker.jobs}) == 4

    # And after its end nothing is left, on the registry or in the queue
    stop.set()
    report = await running
    assert report.stopped
    assert report.jobs["unfinished"] == 4
    assert not report.good
    assert await empty(registry)


async def test_jobs_that_are_not_over_when_it_stops_are_cancelled(
    simulate: Simulate, queue: Queue
) -> None:
    def when_running(simulation: Simulation, stopped: asyncio.Event) -> None:
        if simulation.story.states[JobState.RUNNING] == 4:
            stopped.set()

    report = await simulate(when_running, jobs=10, duration_s=600)

    assert report.jobs["unfinished"] == 10
    counts = await queue.counts()
    assert counts[JobState.CANCELLED] == 10
    assert counts[JobState.RUNNING] == counts[JobState.PENDING] == 0


async def test_it_stops_while_the_fleet_comes_up(simulate: Simulate, registry: Registry) -> None:
    def at_once(_: Simulation, stopped: asyncio.Event) -> None:
        stopped.set()

    report = await simulate(at_once, machines=30, workers=4)

    assert report.stopped
    assert await empty(registry)


async def test_jobs_that_fail_are_tried_again_or_fail_for_good(
    simulate: Simulate, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures = iter([0, 1, 3])
    monkeypatch.setattr(
        "muster.simulation.fleet.submission._failures", lambda _rate: next(failures)
    )

    report = await simulate(jobs=3, failure_rate=0.5)

    assert report.jobs == {"completed": 2, "failed": 1, "cancelled": 0, "unfinished": 0}
    assert report.good


async def test_jobs_come_at_their_rate(simulate: Simulate) -> None:
    most = 0

    def look(simulation: Simulation, _: asyncio.Event) -> None:
        nonlocal most
        most = max(most, simulation.story.running_at_most)

    report = await simulate(look, jobs=10, rate=20, machines=4, workers=4, duration_s=0.01)

    assert report.jobs["completed"] == 10
    assert report.seconds >= 9 / 20
    assert most < 10


async def test_with_seconds_it_ends_in_time_and_says_what_is_not_over(
    simulate: Simulate,
) -> None:
    report = await simulate(jobs=4, duration_s=600, seconds=0.5)

    assert report.jobs["unfinished"] == 4
    assert not report.good
    assert not report.stopped


async def test_with_seconds_the_fleet_stays_though_the_jobs_are_over(
    simulate: Simulate,
) -> None:
    report = await simulate(jobs=1, duration_s=0, seconds=1)

    assert report.good
    assert report.seconds >= 1


async def test_when_nothing_moves_any_more_it_gives_up(
    simulate: Simulate, queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(simulations, "STUCK_S", 0.5)
    await queue.pause()

    report = await simulate(jobs=3)

    assert report.jobs["unfinished"] == 3
    assert not report.good


async def test_machines_leave_and_come_back(
    simulate: Simulate, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given machines that stay away for a moment, and only leave
    monkeypatch.setattr("muster.simulation.fleet.machines.AWAY_S", 0.1)
    monkeypatch.setattr("muster.simulation.fleet.machines._by_turns", lambda: iter([True] * 3))
    readiness: list[int] = []

    def look(simulation: Simulation, stopped: asyncio.Event) -> None:
        readiness.append(simulation.machines.ready)
        if simulation.machines.left and 1 in readiness and readiness[-1] == 2:
            stopped.set()

    # When one leaves while its jobs run
    report = await simulate(look, jobs=4, duration_s=600, churn=600)

    # Then it came back
    assert report.stopped
    assert report.machines_left >= 1
    assert report.machines_died == 0


async def test_a_machine_that_dies_tells_nobody(simulate: Simulate, registry: Registry) -> None:
    # Given a fleet at work
    died = asyncio.Event()
    machine: Machine | None = None

    def kill(simulation: Simulation, stopped: asyncio.Event) -> None:
        if simulation.story.states[JobState.RUNNING] == 4 and not died.is_set():
            died.set()
            killing.append(asyncio.create_task(simulation.machines.kill("sim-001")))
        if died.is_set() and simulation.machines.ready == 1 and machine is not None:
            stopped.set()

    killing: list[asyncio.Task[None]] = []
    running = asyncio.create_task(simulate(kill, jobs=4, duration_s=600))

    # When a machine dies
    await died.wait()
    await asyncio.gather(*killing)

    # Then its record still says that it is ready: only its silence tells
    machine = await registry.machine("sim-001")
    assert machine.state is MachineState.READY
    report = await running
    assert report.machines_died == 1
    assert await empty(registry)


async def test_a_second_fleet_of_the_same_name_is_refused(
    simulate: Simulate, registry: Registry
) -> None:
    # Given a live machine of that name
    other = Machine(machine_id="sim-002", incarnation="x", state=MachineState.READY, gpus=1)
    await registry.register_machine(other)

    async def live() -> None:
        while True:
            await registry.report_machine(other)
            await asyncio.sleep(0.1)

    living = asyncio.create_task(live())

    # When a simulation would be it too
    with pytest.raises(Conflict, match="'sim-002' is alive already"):
        await simulate()

    living.cancel()
    with suppress(asyncio.CancelledError):
        await living


async def test_redis_must_take_its_connections(redis: Redis) -> None:
    info = await redis.info("clients")
    if "maxclients" not in info:
        pytest.fail("this Redis does not tell maxclients; the tests' one is to be 7 or newer")
    options = Options(machines=300, workers=4)

    async def scarce(_section: str) -> dict[str, int]:
        return {"maxclients": 1000, "connected_clients": 5}

    redis.info = scarce  # type: ignore[method-assign]
    with pytest.raises(InvalidInput, match="needs 3700 connections; Redis has 5 and takes 1000"):
        await check_room(redis, options)


async def test_it_says_how_many_files_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resource.getrlimit", lambda _which: (100, 200))

    with pytest.raises(InvalidInput, match="needs 320 open files, and this process may have 200"):
        make_room(Options(machines=10, workers=4))


async def test_it_takes_as_many_files_as_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = []
    monkeypatch.setattr("resource.getrlimit", lambda _which: (100, 5000))
    monkeypatch.setattr("resource.setrlimit", lambda _which, limits: taken.append(limits))

    make_room(Options(machines=10, workers=4))

    assert taken == [(320, 5000)]
