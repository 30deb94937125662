from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from muster.errors import Conflict, NotFound
from muster.fleet import registry as registry_module
from muster.fleet.model import (
    Download,
    Machine,
    MachineState,
    Program,
    Worker,
    WorkerState,
)
from muster.fleet.registry import Registry
from muster.jobs.model import Capabilities
from support.waiting import eventually

if TYPE_CHECKING:
    from redis.asyncio import Redis

pytestmark = pytest.mark.anyio

HOUR_MS = 3_600_000


def machine(machine_id: str = "gpu-host-1", incarnation: str = "first", **fields: Any) -> Machine:
    given = {"state": MachineState.READY, "gpus": 4} | fields
    return Machine(machine_id=machine_id, incarnation=incarnation, **given)


def worker(index: int = 0, machine_id: str = "gpu-host-1", **fields: Any) -> Worker:
    given = {"state": WorkerState.IDLE, "incarnation": "first", "gpu": index} | fields
    return Worker(
        worker_id=f"{machine_id}-worker-{index}",
        machine_id=machine_id,
        capabilities=Capabilities(service="comfyui", models=frozenset({"flux"}), vram_mib=24),
        **given,
    )


@pytest.fixture
def registry(redis: Redis, queue_name: str) -> Registry:
    return Registry(redis, queue_name)


@pytest.fixture
def impatient(redis: Redis, queue_name: str, monkeypatch: pytest.MonkeyPatch) -> Registry:
    """A registry on the same books, to which one is silent after a moment."""
    monkeypatch.setattr(registry_module, "HEARTBEAT_S", 0.2)
    return Registry(redis, queue_name, ttl_s=0.05)


async def fall_silent(registry: Registry, kind: str, name: str, by_ms: int) -> None:
    """Let the last word of a machine or a worker have been so much earlier."""
    await registry.redis.zincrby(f"{registry.root}:{kind}:seen", -by_ms, name)


async def test_a_machine_is_shown_as_it_reports_itself(registry: Registry) -> None:
    program = Program(name="comfyui-gpu0", kind="service", gpu=0, state="running", pid=7)
    told = machine(
        state=MachineState.DEGRADED,
        reasons=["worker-gpu3 is not running"],
        programs=[program],
        host="host",
        version="1.0",
        started_at=datetime(2026, 1, 2, tzinfo=UTC),
    )

    await registry.register_machine(told)

    seen = await registry.machine("gpu-host-1")
    assert seen.model_copy(update={"seen_at": None}) == told
    assert seen.seen_at is not None
    assert abs(datetime.now(UTC) - seen.seen_at) < timedelta(seconds=10)


@pytest.mark.failure(1)
async def test_a_worker_is_shown_as_it_reports_itself(registry: Registry) -> None:
    told = worker(3, state=WorkerState.BUSY, jobs=["a", "b"], reason="r", version="1.0", pid=7)

    await registry.register_worker(told)

    (seen,) = (await registry.workers()).workers
    assert seen.model_copy(update={"seen_at": None}) == told
    assert (await registry.live_workers())[0].worker_id == "gpu-host-1-worker-3"


async def test_the_last_report_counts(registry: Registry) -> None:
    await registry.register_machine(machine(state=MachineState.STARTING))
    await registry.register_worker(worker(state=WorkerState.STARTING))

    await registry.report_machine(machine(state=MachineState.DRAINING))
    await registry.report_worker(worker(state=WorkerState.DRAINING))

    assert (await registry.machine("gpu-host-1")).state is MachineState.DRAINING
    assert (await registry.live_workers())[0].state is WorkerState.DRAINING


async def test_a_machine_that_nobody_knows(registry: Registry) -> None:
    with pytest.raises(NotFound, match="no machine 'nonesuch'"):
        await registry.machine("nonesuch")


async def test_invariant_5_a_second_live_machine_under_one_id_is_refused(
    impatient: Registry, registry: Registry
) -> None:
    await registry.register_machine(machine())

    async def beat() -> None:
        while True:
            await registry.report_machine(machine())
            await asyncio.sleep(0.005)

    beating = asyncio.create_task(beat())
    try:
        with pytest.raises(Conflict, match=r"'gpu-host-1' is alive already \(incarnation first\)"):
            await registry.register_machine(machine(incarnation="second"))
    finally:
        beating.cancel()
        await asyncio.wait([beating])

    assert (await registry.machine("gpu-host-1")).incarnation == "first"
    await registry.report_machine(machine())


async def test_a_machine_that_stays_alive_without_a_word_is_not_waited_for_for_ever(
    redis: Redis, queue_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry_module, "HEARTBEAT_S", 0.02)
    registry = Registry(redis, queue_name, ttl_s=0.02)
    await registry.register_machine(machine())
    # Its clock-keeper was ahead: it seems to have spoken in the future.
    await fall_silent(registry, "machines", "gpu-host-1", -HOUR_MS)

    with pytest.raises(Conflict, match="alive already"):
        await registry.register_machine(machine(incarnation="second"))


async def test_invariant_5_a_restart_waits_for_the_one_that_fell_silent(
    impatient: Registry,
) -> None:
    await impatient.register_machine(machine())

    await impatient.register_machine(machine(incarnation="second"))

    assert (await impatient.machines()).total == 1
    with pytest.raises(Conflict, match="taken over by incarnation second"):
        await impatient.report_machine(machine())


async def test_a_restart_of_one_that_left_waits_for_nothing(registry: Registry) -> None:
    await registry.register_machine(machine())
    await registry.leave_machine(machine())
    assert (await registry.machine("gpu-host-1")).state is MachineState.OFFLINE

    await asyncio.wait_for(registry.register_machine(machine(incarnation="second")), 1)

    assert (await registry.machine("gpu-host-1")).state is MachineState.READY


async def test_a_takeover_waits_for_nothing(registry: Registry) -> None:
    await registry.register_machine(machine())

    await asyncio.wait_for(
        registry.register_machine(machine(incarnation="second"), takeover=True), 1
    )

    for late in (registry.report_machine, registry.leave_machine):
        with pytest.raises(Conflict, match="taken over by incarnation second"):
            await late(machine())
    assert (await registry.machine("gpu-host-1")).incarnation == "second"


async def test_registering_again_as_the_same_incarnation_is_no_conflict(registry: Registry) -> None:
    await registry.register_machine(machine())

    await asyncio.wait_for(registry.register_machine(machine()), 1)


async def test_a_restarted_worker_takes_its_id_at_once(registry: Registry) -> None:
    await registry.register_worker(worker())

    await registry.register_worker(worker(incarnation="second"))

    for late in (registry.report_worker, registry.leave_worker):
        with pytest.raises(Conflict, match="gpu-host-1-worker-0 was taken over"):
            await late(worker())


async def test_invariant_4_workers_of_earlier_incarnations_are_forgotten(
    registry: Registry,
) -> None:
    await registry.register_machine(machine())
    for index in range(8):
        await registry.register_worker(worker(index))
    await registry.register_worker(worker(0, "gpu-host-10"))
    await registry.leave_machine(machine())

    await registry.register_machine(machine(incarnation="second", gpus=3))
    for index in range(3):
        await registry.register_worker(worker(index, incarnation="second"))

    page = await registry.workers(machine_id="gpu-host-1")
    assert [(one.gpu, one.incarnation) for one in page.workers] == [(n, "second") for n in range(3)]
    assert (await registry.workers()).total == 4


async def test_workers_that_registered_before_their_machine_are_kept(registry: Registry) -> None:
    await registry.register_worker(worker())

    await registry.register_machine(machine())

    assert (await registry.workers()).total == 1


@pytest.mark.failure(14)
async def test_who_is_silent_is_offline_and_alive_again_with_the_next_word(
    registry: Registry,
) -> None:
    await registry.register_machine(machine())
    await registry.register_worker(worker(state=WorkerState.BUSY, jobs=["a"]))

    await fall_silent(registry, "machines", "gpu-host-1", 11_000)
    await fall_silent(registry, "workers", "gpu-host-1-worker-0", 11_000)

    assert (await registry.machine("gpu-host-1")).state is MachineState.OFFLINE
    (lost,) = (await registry.workers()).workers
    assert (lost.state, lost.jobs) == (WorkerState.OFFLINE, [])
    assert await registry.live_workers() == []

    await registry.report_machine(machine())
    await registry.report_worker(worker(state=WorkerState.BUSY, jobs=["a"]))

    assert (await registry.machine("gpu-host-1")).state is MachineState.READY
    assert (await registry.live_workers())[0].jobs == ["a"]


async def test_silence_is_noticed_without_anybody_s_doing(impatient: Registry) -> None:
    await impatient.register_machine(machine())

    await eventually(
        lambda: impatient.machine("gpu-host-1"),
        "the machine is offline",
        until=lambda seen: seen.state is MachineState.OFFLINE,
        timeout_s=2,
    )


async def test_a_worker_that_left_is_offline(registry: Registry) -> None:
    await registry.register_worker(worker())

    await registry.leave_worker(worker())

    assert await registry.live_workers() == []
    assert (await registry.workers()).total == 1


@pytest.mark.failure(14)
async def test_who_is_silent_for_an_hour_is_forgotten(registry: Registry) -> None:
    for name in ("gone", "away"):
        await registry.register_machine(machine(name))
        await registry.register_worker(worker(0, name))
    for kind, name in [("machines", "gone"), ("workers", "gone-worker-0")]:
        await fall_silent(registry, kind, name, HOUR_MS + 1000)
    for kind, name in [("machines", "away"), ("workers", "away-worker-0")]:
        await fall_silent(registry, kind, name, HOUR_MS - 60_000)

    await registry.expire()

    assert [one.machine_id for one in (await registry.machines()).machines] == ["away"]
    assert [one.worker_id for one in (await registry.workers()).workers] == ["away-worker-0"]
    await asyncio.wait_for(registry.register_machine(machine("gone", "second")), 1)


async def test_pages_of_machines_show_each_once_in_the_order_of_ids(registry: Registry) -> None:
    names = [f"gpu-host-{n}" for n in (2, 0, 10, 1, 3)]
    for name in names:
        await registry.register_machine(machine(name))

    shown, cursor = [], None
    while True:
        page = await registry.machines(cursor=cursor, limit=2)
        shown += [one.machine_id for one in page.machines]
        assert page.total == 5
        if not (cursor := page.cursor):
            break

    assert shown == sorted(names)


async def test_pages_of_workers_show_each_once_in_the_order_of_ids(registry: Registry) -> None:
    for index in range(4):
        await registry.register_worker(worker(index))
        await registry.register_worker(worker(index, "gpu-host-2"))

    first = await registry.workers(machine_id="gpu-host-2", limit=3)
    rest = await registry.workers(machine_id="gpu-host-2", limit=3, cursor=first.cursor)

    shown = [one.worker_id for one in [*first.workers, *rest.workers]]
    assert shown == [f"gpu-host-2-worker-{n}" for n in range(4)]
    assert (first.total, rest.total, rest.cursor) == (4, 4, None)
    assert (await registry.workers()).total == 8


async def test_a_machine_s_workers_are_its_own_and_no_others(registry: Registry) -> None:
    for machine_id in ("a", "a-worker-1", "b"):
        for index in (1, 0):
            await registry.register_worker(worker(index, machine_id))

    assert [w.worker_id for w in await registry.workers_of("a")] == ["a-worker-0", "a-worker-1"]
    assert await registry.workers_of("c") == []


async def test_a_forgotten_worker_is_no_machine_s(registry: Registry) -> None:
    await registry.register_worker(worker(0))
    await registry.register_worker(worker(1))
    await fall_silent(registry, "workers", "gpu-host-1-worker-0", HOUR_MS)

    await registry.expire()

    names = await registry.redis.hkeys(f"{registry.root}:workers-of:gpu-host-1")
    assert names == [b"gpu-host-1-worker-1"]


async def test_a_page_goes_on_when_the_last_one_shown_is_gone(registry: Registry) -> None:
    for name in "abc":
        await registry.register_machine(machine(name))
    first = await registry.machines(limit=2)
    await fall_silent(registry, "machines", "b", HOUR_MS + 1000)
    await registry.expire()

    rest = await registry.machines(cursor=first.cursor, limit=2)

    assert [one.machine_id for one in rest.machines] == ["c"]


async def test_news_of_the_fleet_is_telemetry_and_sameness_is_not(registry: Registry) -> None:
    await registry.register_machine(machine())
    stream = f"{registry.root}:telemetry"
    before = await registry.redis.xlen(stream)

    for _ in range(3):
        await registry.report_machine(machine())
    assert await registry.redis.xlen(stream) == before

    await registry.report_machine(machine(state=MachineState.DEGRADED))
    assert await registry.redis.xlen(stream) == before + 1


async def test_tells_which_models_are_coming_to_machines_that_live(
    registry: Registry, impatient: Registry
) -> None:
    flux = Download(name="flux", done=250, size=1000)
    await registry.register_machine(machine("a", downloads=[flux]))
    assert await registry.models_coming() == {"flux": "a is fetching model flux: 25%"}

    await eventually(impatient.models_coming, "the machine is silent", until=lambda told: not told)
