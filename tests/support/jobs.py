"""Words for tests of the queue: requests, workers, outcomes, and time that passes at once."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from muster.jobs.leases import Leases
from muster.jobs.model import Capabilities, Completed, Failed, JobError, JobRequest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redis.asyncio.client import Pipeline

    from muster.jobs.model import Lease, LeaseState, Outcome
    from muster.jobs.queue import Queue

SERVICE = "render"


def a_request(**fields: Any) -> JobRequest:
    """Return a request for ``SERVICE`` that any of its workers can run."""
    return JobRequest.model_validate({"service": SERVICE, "payload": {}} | fields)


def unregistered_worker(queue: Queue, name: str = "worker-1", **capabilities: Any) -> Leases:
    """Return a worker's dealings with the queue, which does not know its capabilities yet."""
    offer = Capabilities.model_validate({"service": SERVICE} | capabilities)
    return Leases(queue, name, offer)


async def a_worker(queue: Queue, name: str = "worker-1", **capabilities: Any) -> Leases:
    """Return a worker's dealings with the queue."""
    worker = unregistered_worker(queue, name, **capabilities)
    await worker.register()
    return worker


async def take(worker: Leases, want: int = 1) -> list[Lease]:
    """Let a worker claim up to ``want`` jobs."""
    return (await worker.exchange(want=want)).leases


async def take_one(worker: Leases) -> Lease:
    """Let a worker claim the one job that there must be for it."""
    (lease,) = await take(worker)
    return lease


async def hand_in(worker: Leases, *outcomes: Outcome) -> list[LeaseState]:
    """Let a worker hand in outcomes, and take nothing."""
    return (await worker.exchange(outcomes)).settled


def completed(lease: Lease, result: Any = None) -> Completed:
    """Return the good end of an attempt."""
    return Completed(lease, json.dumps(result).encode())


def failed(lease: Lease, message: str = "out of memory", *, retryable: bool = True) -> Failed:
    """Return the bad end of an attempt."""
    return Failed(lease, JobError(kind="crash", message=message), retryable)


async def expire(queue: Queue, *leases: Lease) -> None:
    """Let the leases' time pass."""
    members = {lease.member: 1 for lease in leases}
    await queue.redis.zadd(queue.key("leases"), members, xx=True)


async def come_due(queue: Queue, *jobs: str) -> None:
    """Let the time come for which jobs are scheduled."""
    await queue.redis.zadd(queue.key("scheduled"), dict.fromkeys(jobs, 1), xx=True)


async def use_up_time(queue: Queue, lease: Lease) -> None:
    """Let an attempt have begun in 1970, longer ago than any job may run."""
    await queue.redis.hset(queue.key(f"job:{lease.job_id}"), "started", "1")


async def leave_unattended(queue: Queue) -> None:
    """Let the last recovery have been in 1970, as after a time without Redis or servers."""
    await queue.redis.hset(queue.key("meta"), "recovered_at", "1")


async def contents(queue: Queue, *, without: Sequence[str] = ()) -> dict[str, Any]:
    """Return all that Redis holds of the queue, by key without root."""
    pattern = f"{queue.root}:*"
    keys = [key.decode() async for key in queue.redis.scan_iter(match=pattern, count=10_000)]
    async with queue.redis.pipeline(transaction=False) as pipeline:
        for key in keys:
            pipeline.type(key)
        for key, kind in zip(keys, await pipeline.execute(), strict=True):
            _read(pipeline, key, kind.decode())
        values = await pipeline.execute()
    names = [key.removeprefix(f"{queue.root}:") for key in keys]
    held = zip(names, values, strict=True)
    return {name: value for name, value in held if name not in without}


def _read(pipeline: Pipeline, key: str, kind: str) -> None:
    if kind == "hash":
        pipeline.hgetall(key)
    elif kind == "zset":
        pipeline.zrange(key, 0, -1, withscores=True)
    elif kind == "stream":
        pipeline.xrange(key)
    else:
        pipeline.lrange(key, 0, -1)
