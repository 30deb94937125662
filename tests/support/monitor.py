"""A fleet that a test moves by hand, through the code that real machines and workers use."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from muster.fleet.identity import worker_id
from muster.fleet.model import Machine, MachineState, Program, ReleaseId, Worker, WorkerState
from muster.fleet.registry import HEARTBEAT_S, Registry
from muster.jobs.connection import connect
from muster.jobs.leases import Leases
from muster.jobs.model import Capabilities, JobRequest, Progress
from muster.jobs.queue import Queue
from muster.settings import RedisSettings
from muster.tasks import end
from support.jobs import completed, failed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from redis.asyncio import Redis

    from muster.jobs.model import Lease, Outcome

SERVICE = "comfyui"
DISGUISED = "<b>gpu-1</b>"
"""A machine's id that wants to be markup. No machine starts with it, yet Redis may hold it."""
LEASE_S = 600.0  # longer than any test: nobody extends it
RELEASE = ReleaseId(name="muster-worker", version="1.4.0", sha256="9f" * 32)


class FleetOfHands:
    """Machines and workers in Redis: alive until the test ends, and doing as they are told."""

    def __init__(self, redis: Redis, queue: str) -> None:
        self.registry = Registry(redis, queue)
        self.queue = Queue(redis, queue)
        self.machines: dict[str, Machine] = {}
        self.workers: dict[str, Worker] = {}
        self.leases: dict[str, Lease] = {}
        self._hands: dict[str, Leases] = {}

    async def add(self, machine_id: str, gpus: int = 4, **fields: Any) -> None:
        """Have a machine register, with a worker for each of its GPUs."""
        machine = Machine.model_validate(
            {
                "machine_id": machine_id,
                "incarnation": "first",
                "state": MachineState.READY,
                "gpus": gpus,
                "host": f"host-of-{machine_id}",
                "version": "0.3.0",
                "release": RELEASE,
                "models": ["sdxl"],
                "programs": _programs(gpus),
                "started_at": "2026-07-16T09:00:00Z",
            }
            | fields
        )
        self.machines[machine_id] = machine
        await self.registry.register_machine(machine)
        await asyncio.gather(*(self._add_worker(machine, gpu) for gpu in range(gpus)))

    async def add_many(self, count: int, gpus: int = 4) -> None:
        """Have ``gpu-1`` … register."""
        for number in range(1, count + 1):
            await self.add(f"gpu-{number}", gpus)

    async def change_machine(self, machine_id: str, **fields: Any) -> None:
        """Have a machine report something else."""
        self.machines[machine_id] = self.machines[machine_id].model_copy(update=fields)
        await self.registry.report_machine(self.machines[machine_id])

    async def change_worker(self, name: str, **fields: Any) -> None:
        """Have a worker report something else."""
        self.workers[name] = self.workers[name].model_copy(update=fields)
        await self.registry.report_worker(self.workers[name])

    async def leave(self, machine_id: str) -> None:
        """Have a machine go offline on purpose, with its workers."""
        await self.registry.leave_machine(self.machines.pop(machine_id))
        for worker in [w for w in self.workers.values() if w.machine_id == machine_id]:
            await self.registry.leave_worker(self.workers.pop(worker.worker_id))

    async def submit(self, **fields: Any) -> str:
        """Submit a job, and return its id."""
        request = {"service": SERVICE, "payload": {"prompt": "a lighthouse"}} | fields
        return (await self.queue.submit(JobRequest.model_validate(request))).id

    async def run(self, worker: str, **fields: Any) -> str:
        """Submit a job that only this worker can run, have it claim that, and return its id."""
        requirements = {"labels": {"worker": _label(worker)}}
        job = await self.submit(requirements=requirements, **fields)
        await self.claim(worker)
        return job

    async def claim(self, worker: str) -> None:
        """Have a worker claim the next job that it can run, and be busy."""
        await self._hands[worker].register()
        (lease,) = (await self._hands[worker].exchange(want=1)).leases
        self.leases[lease.job_id] = lease
        await self.change_worker(worker, state=WorkerState.BUSY, jobs=[lease.job_id])

    async def progress(self, job: str, fraction: float, message: str = "") -> None:
        """Have a job's worker tell how far it is."""
        hands = await self._holder(job)
        await hands.progress(self.leases[job], Progress(fraction=fraction, message=message))

    async def complete(self, job: str) -> None:
        """Have a job's worker commit it."""
        await self._hand_in(job, completed(self.leases[job], {"files": ["out.png"]}))

    async def fail(self, job: str, message: str = "out of memory", *, retryable: bool) -> None:
        """Have a job's attempt fail."""
        await self._hand_in(job, failed(self.leases[job], message, retryable=retryable))

    async def beat(self) -> None:
        """Have all say that they are alive, again and again."""
        while True:
            for machine in list(self.machines.values()):
                await self.registry.report_machine(machine)
            for worker in list(self.workers.values()):
                await self.registry.report_worker(worker)
            await asyncio.sleep(HEARTBEAT_S)

    async def _add_worker(self, machine: Machine, gpu: int) -> None:
        name = worker_id(machine.machine_id, gpu)
        offer = Capabilities(
            service=SERVICE,
            models=frozenset({"sdxl"}),
            vram_mib=24576,
            labels={"region": "eu", "worker": _label(name)},
        )
        worker = Worker(
            worker_id=name,
            machine_id=machine.machine_id,
            incarnation="first",
            gpu=gpu,
            state=WorkerState.IDLE,
            capabilities=offer,
            release=RELEASE,
            started_at=machine.started_at,
        )
        self.workers[name] = worker
        self._hands[name] = Leases(self.queue, name, offer, lease_s=LEASE_S)
        await self.registry.register_worker(worker)

    async def _holder(self, job: str) -> Leases:
        worker = (await self.queue.get(job)).worker
        assert worker, f"job {job} does not run"
        return self._hands[worker]

    async def _hand_in(self, job: str, outcome: Outcome) -> None:
        worker = (await self.queue.get(job)).worker
        await (await self._holder(job)).exchange([outcome])
        assert worker
        await self.change_worker(worker, state=WorkerState.IDLE, jobs=[])


def _label(worker: str) -> str:
    """Return what stands for a worker in labels, whatever its name is."""
    return blake2b(worker.encode(), digest_size=8).hexdigest()


def _programs(gpus: int) -> list[Program]:
    return [
        Program(name=f"{name}-gpu{gpu}", kind=kind, gpu=gpu, state="RUNNING", pid=100 + gpu)
        for gpu in range(gpus)
        for name, kind in (("comfyui", "service"), ("worker", "worker"))
    ]


@asynccontextmanager
async def fleet_of_hands(redis_url: str, queue: str) -> AsyncIterator[FleetOfHands]:
    """Keep such a fleet alive."""
    async with connect(RedisSettings.load(redis_url=redis_url)) as redis:
        fleet = FleetOfHands(redis, queue)
        await fleet.queue.open()
        beating = asyncio.create_task(fleet.beat())
        try:
            yield fleet
        finally:
            await end(beating)
