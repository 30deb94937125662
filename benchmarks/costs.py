"""What a claim costs Redis, as Redis itself counts it, and what a job costs in memory."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from muster.jobs.connection import connect
from muster.jobs.leases import Leases
from muster.jobs.model import Capabilities, Completed, JobRequest, Requirements
from muster.jobs.queue import Queue
from muster.settings import RedisSettings

if TYPE_CHECKING:
    from collections.abc import Sequence

BULK = 500
SERVICE = "cost"
VRAM_MIB = 24_000
OUT_OF_REACH_MIB = 1_000_000
OUT_OF_REACH_CLASSES = 10
ROUNDS = 5


@dataclass(frozen=True, slots=True)
class Load:
    """What is in a queue.

    Runnable jobs of so many requirement classes, in turn, behind so many of the highest priority
    that no worker present can run.
    """

    classes: int = 1
    unrunnable: int = 0


async def claims_us(url: str, loads: Sequence[Load], claims: int) -> list[float]:
    """Return for each load Redis's µs for one call that commits a job and claims the next.

    The best of a few rounds, because what else the computer does can only add; the loads take
    turns, because it adds more at some times than at others.
    """
    async with connect(RedisSettings.load(redis_url=url)) as redis:
        await redis.flushall()
        queues = [Queue(redis, f"load-{n}") for n in range(len(loads))]
        for queue, load in zip(queues, loads, strict=True):
            await queue.open()
            await _submit(queue, _out_of_reach(load.unrunnable))
        best = [math.inf] * len(loads)
        for _ in range(ROUNDS):
            for n, (queue, load) in enumerate(zip(queues, loads, strict=True)):
                best[n] = min(best[n], await _one_round(queue, claims, load.classes))
        return best


async def bytes_per_job(url: str, *, jobs: int, payload_bytes: int) -> float:
    """Return by how much each pending job with a payload of that size grows Redis's memory."""
    async with connect(RedisSettings.load(redis_url=url)) as redis:
        await redis.flushall()
        queue = Queue(redis)
        await queue.submit(JobRequest(service=SERVICE, payload={}))
        before = await _used_memory(queue)
        filler = "x" * (payload_bytes - len('{"data":""}'))
        request = JobRequest(service=SERVICE, payload={"data": filler})
        await _submit(queue, [request] * jobs)
        return (await _used_memory(queue) - before) / jobs


async def _one_round(queue: Queue, claims: int, classes: int) -> float:
    leases = Leases(queue, "bench-worker-0", Capabilities(service=SERVICE, vram_mib=VRAM_MIB))
    await leases.register()
    await _submit(queue, _in_turn(claims + 1, classes))
    held = (await leases.exchange(want=1)).leases
    await queue.redis.config_resetstat()
    for _ in range(claims):
        done = [Completed(lease, b"null") for lease in held]
        held = (await leases.exchange(done, want=1)).leases
    spent = (await queue.redis.info("commandstats"))["cmdstat_evalsha"]
    if spent["calls"] != claims or not held:
        raise RuntimeError(f"{claims} claims made {spent['calls']} calls")
    await leases.exchange([Completed(lease, b"null") for lease in held])
    return float(spent["usec_per_call"])


async def _submit(queue: Queue, requests: Sequence[JobRequest]) -> None:
    for first in range(0, len(requests), BULK):
        await queue.submit_many(requests[first : first + BULK])


def _in_turn(jobs: int, classes: int) -> list[JobRequest]:
    kinds = [_request(vram_mib) for vram_mib in range(classes)]
    return [kinds[n % classes] for n in range(jobs)]


def _out_of_reach(jobs: int) -> list[JobRequest]:
    kinds = [_request(OUT_OF_REACH_MIB + n, priority=100) for n in range(OUT_OF_REACH_CLASSES)]
    return [kinds[n % OUT_OF_REACH_CLASSES] for n in range(jobs)]


def _request(vram_mib: int, priority: int = 50) -> JobRequest:
    return JobRequest(
        service=SERVICE,
        payload={},
        priority=priority,
        requirements=Requirements(vram_mib=vram_mib),
    )


async def _used_memory(queue: Queue) -> int:
    return int((await queue.redis.info("memory"))["used_memory"])
