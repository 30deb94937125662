"""Who is in the fleet: machines and workers register, report, leave, or fall silent.

Nobody writes "offline" for a machine that was taken away: whoever reads compares its last heartbeat
with Redis's clock, so that the answer cannot be stale.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, cast

from muster.errors import Conflict, NotFound
from muster.fleet.model import (
    Machine,
    MachinePage,
    MachineState,
    Worker,
    WorkerPage,
    WorkerState,
)
from muster.jobs.queue import root_key
from muster.jobs.scripts import Script

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from redis.asyncio import Redis

REPORT = Script("muster.fleet", "report")
FORGET = Script("muster.fleet", "forget")

HEARTBEAT_S = 2.0
TTL_S = 10.0
KEPT_S = 3600.0


class Registry:
    """The fleet's books on Redis. ``ttl_s`` is how long one counts as alive after it spoke."""

    def __init__(self, redis: Redis, queue: str = "default", *, ttl_s: float = TTL_S) -> None:
        self.redis = redis
        self.root = root_key(queue)
        self.ttl_ms = round(ttl_s * 1000)

    async def register_machine(self, machine: Machine, *, takeover: bool = False) -> None:
        """Take the machine's id, and forget the workers of its earlier incarnations.

        Raises ``Conflict`` when another incarnation of that id still speaks: one that fell silent
        is waited for, as after a crash. ``takeover`` says that the other is known to be dead.
        """
        mode = "takeover" if takeover else "register"
        deadline = asyncio.get_running_loop().time() + self.ttl_ms / 1000 + HEARTBEAT_S
        first_seen = None
        while holder := await self._report(machine, mode):
            seen = await self.redis.zscore(f"{self.root}:machines:seen", machine.machine_id)
            first_seen = first_seen or seen
            if seen != first_seen or asyncio.get_running_loop().time() > deadline:
                raise Conflict(
                    f"Machine {machine.machine_id!r} is alive already (incarnation {holder}). "
                    "Give this one another MACHINE_ID, or stop the other."
                )
            await asyncio.sleep(HEARTBEAT_S / 4)
        earlier = [
            worker.worker_id
            for worker in await self.workers_of(machine.machine_id)
            if worker.incarnation != machine.incarnation
        ]
        await FORGET(self.redis, self.root, "workers", round(KEPT_S * 1000), *earlier)

    async def report_machine(self, machine: Machine) -> None:
        """Say what is with the machine now. Raises ``Conflict`` when another took its id."""
        await self._reported(machine, "report")

    async def leave_machine(self, machine: Machine) -> None:
        """Go offline on purpose; the id is free at once."""
        await self._reported(machine.model_copy(update={"state": MachineState.OFFLINE}), "leave")

    async def register_worker(self, worker: Worker) -> None:
        """Take the worker's id. Its machine keeps ids apart, so an earlier incarnation is dead."""
        await self._report(worker, "takeover")

    async def report_worker(self, worker: Worker) -> None:
        """Say what is with the worker now. Raises ``Conflict`` when another took its id."""
        await self._reported(worker, "report")

    async def leave_worker(self, worker: Worker) -> None:
        """Go offline on purpose."""
        await self._reported(worker.model_copy(update={"state": WorkerState.OFFLINE}), "leave")

    async def machine(self, machine_id: str) -> Machine:
        """Return one machine. Raises ``NotFound``."""
        found = await self._machines([machine_id])
        if not found:
            raise NotFound(
                f"There is no machine {machine_id!r}. `muster machines` lists those there are."
            )
        return found[0]

    async def everything(self) -> tuple[list[Machine], list[Worker]]:
        """Return all machines and all workers, in the order of their ids."""
        return await self._machines(), await self._workers()

    async def machines(self, *, cursor: str | None = None, limit: int = 50) -> MachinePage:
        """Return a page of machines, offline ones included for as long as they are kept."""
        machines = await self._machines()
        shown = [machine for machine in machines if machine.machine_id > (cursor or "")][:limit]
        following = shown[-1].machine_id if len(shown) == limit else None
        return MachinePage(machines=shown, cursor=following, total=len(machines))

    async def workers(
        self, *, machine_id: str | None = None, cursor: str | None = None, limit: int = 50
    ) -> WorkerPage:
        """Return a page of workers, of one machine or of all."""
        workers = await (self._workers() if machine_id is None else self.workers_of(machine_id))
        shown = [worker for worker in workers if worker.worker_id > (cursor or "")][:limit]
        following = shown[-1].worker_id if len(shown) == limit else None
        return WorkerPage(workers=shown, cursor=following, total=len(workers))

    async def workers_of(self, machine_id: str) -> list[Worker]:
        """Return a machine's workers. Its cost does not grow with the rest of the fleet."""
        names = cast("list[bytes]", await self.redis.hkeys(f"{self.root}:workers-of:{machine_id}"))
        return await self._workers([name.decode() for name in names]) if names else []

    async def live_workers(self) -> list[Worker]:
        """Return all workers that are not offline."""
        return [w for w in await self._workers() if w.state is not WorkerState.OFFLINE]

    async def models_coming(self) -> dict[str, str]:
        """Return, by the names of the models that machines are fetching, which does and how far."""
        return {
            model.name: f"{machine.machine_id} is fetching model {model.name}: "
            f"{model.done / model.size:.0%}"
            for machine in await self._machines()
            if machine.state is not MachineState.OFFLINE
            for model in machine.downloads
        }

    async def expire(self) -> None:
        """Forget those that have been silent for an hour: no phantom machines."""
        await self.forget()

    async def forget(self, machines: Sequence[str] = (), workers: Sequence[str] = ()) -> None:
        """Forget these at once, since they will not come back; and those silent for an hour."""
        for kind, ids in (("machines", machines), ("workers", workers)):
            await FORGET(self.redis, self.root, kind, round(KEPT_S * 1000), *ids)

    async def _reported(self, record: Machine | Worker, mode: str) -> None:
        if holder := await self._report(record, mode):
            what = record.worker_id if isinstance(record, Worker) else record.machine_id
            raise Conflict(f"{what} was taken over by incarnation {holder}. Stop this one.")

    async def _report(self, record: Machine | Worker, mode: str) -> str:
        kind, name = (
            ("workers", record.worker_id)
            if isinstance(record, Worker)
            else ("machines", record.machine_id)
        )
        holder: bytes = await REPORT(
            self.redis,
            self.root,
            kind,
            name,
            record.incarnation,
            record.model_dump_json(exclude={"seen_at"}),
            self.ttl_ms,
            mode,
            record.machine_id,
        )
        return holder.decode()

    async def _machines(self, names: Sequence[str] | None = None) -> list[Machine]:
        records, seen, now = await self._read("machines", names)
        machines = [Machine.model_validate_json(record) for record in records]
        offline = {"state": MachineState.OFFLINE}
        return sorted(
            (m.model_copy(update=self._seen(seen, m.machine_id, now, offline)) for m in machines),
            key=lambda m: m.machine_id,
        )

    async def _workers(self, names: Sequence[str] | None = None) -> list[Worker]:
        records, seen, now = await self._read("workers", names)
        workers = [Worker.model_validate_json(record) for record in records]
        offline = {"state": WorkerState.OFFLINE, "jobs": []}
        return sorted(
            (w.model_copy(update=self._seen(seen, w.worker_id, now, offline)) for w in workers),
            key=lambda w: w.worker_id,
        )

    async def _read(
        self, kind: str, names: Sequence[str] | None
    ) -> tuple[list[bytes], dict[str, float], float]:
        """Return the records of those named or of all, when each was seen last and now, in ms."""
        key = f"{self.root}:{kind}"
        async with self.redis.pipeline(transaction=True) as pipeline:
            pipeline.time()
            if names is None:
                pipeline.hvals(key)
                pipeline.zrange(f"{key}:seen", 0, -1, withscores=True)
            else:
                pipeline.hmget(key, names)
                pipeline.zmscore(f"{key}:seen", list(names))
            (seconds, microseconds), records, seen = await pipeline.execute()
        if names is None:
            times = {name.decode(): at for name, at in seen}
        else:
            times = {name: at for name, at in zip(names, seen, strict=True) if at is not None}
        now = seconds * 1000 + microseconds / 1000
        return [record for record in records if record is not None], times, now

    def _seen(
        self, seen: dict[str, float], name: str, now: float, offline: Mapping[str, object]
    ) -> dict[str, object]:
        at = seen.get(name, 0)
        update: dict[str, object] = {"seen_at": datetime.fromtimestamp(at / 1000, UTC)}
        return update | dict(offline) if now - at > self.ttl_ms else update
