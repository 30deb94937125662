"""Which jobs are in a state, page by page, without reading them all."""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, cast

from muster.errors import InvalidInput
from muster.jobs.model import JobState

if TYPE_CHECKING:
    from redis.asyncio import Redis

Page = tuple[list[str], str | None, int]
"""Ids, the cursor of the next page or None, and how many there are in all."""


async def counts(redis: Redis, root: str) -> dict[JobState, int]:
    """Return how many jobs are in each state."""
    ready = await _ready_keys(redis, root)
    others = [state for state in JobState if state is not JobState.PENDING]
    async with redis.pipeline(transaction=True) as pipeline:
        for key in [*ready, *(_index(root, state) for state in others)]:
            pipeline.zcard(key)
        sizes = await pipeline.execute()
    pending = {JobState.PENDING: sum(sizes[: len(ready)])}
    return pending | dict(zip(others, sizes[len(ready) :], strict=True))


async def members(redis: Redis, root: str, state: JobState, cursor: str | None, limit: int) -> Page:
    """Return one page of ids. Raises ``InvalidInput`` for a cursor that no page gave."""
    try:
        if state is JobState.PENDING:
            return await _pending(redis, root, int(cursor or -1), limit)
        if state is JobState.RUNNING:
            return await _running(redis, root, cursor or "", limit)
        return await _by_time(redis, _index(root, state), state.terminal, cursor, limit)
    except ValueError:
        raise InvalidInput(
            "cursor", "is not from an earlier page", "Leave it out to start anew.", value=cursor
        ) from None


def _index(root: str, state: JobState) -> str:
    if state is JobState.SCHEDULED:
        return f"{root}:scheduled"
    return f"{root}:leases" if state is JobState.RUNNING else f"{root}:finished:{state}"


async def _ready_keys(redis: Redis, root: str) -> list[str]:
    classes = cast("list[bytes]", await redis.hkeys(f"{root}:classes"))
    return [f"{root}:ready:{name.decode()}" for name in classes]


async def _pending(redis: Redis, root: str, after: int, limit: int) -> Page:
    """Merge the heads of all classes by their order."""
    keys = await _ready_keys(redis, root)
    async with redis.pipeline(transaction=True) as pipeline:
        for key in keys:
            pipeline.zcard(key)
        for key in keys:
            pipeline.zrangebyscore(key, f"({after}", "+inf", 0, limit, withscores=True)
        answers = await pipeline.execute()
    total = sum(answers[: len(keys)])
    lists = answers[len(keys) :]
    first = heapq.nsmallest(limit, (pair for pairs in lists for pair in pairs), key=lambda p: p[1])
    cursor = f"{first[-1][1]:.0f}" if len(first) == limit else None
    return [job.decode() for job, _ in first], cursor, total


async def _running(redis: Redis, root: str, after: str, limit: int) -> Page:
    """Leases change their place all the time, and are few: go by id."""
    leases = cast("list[bytes]", await redis.zrange(f"{root}:leases", 0, -1))
    ids = sorted(member.decode().partition(":")[0] for member in leases)
    shown = [job_id for job_id in ids if job_id > after][:limit]
    cursor = shown[-1] if len(shown) == limit else None
    return shown, cursor, len(ids)


async def _by_time(
    redis: Redis, key: str, newest_first: bool, cursor: str | None, limit: int
) -> Page:
    """Continue behind the last one shown; if it is not where it was, behind its time."""
    start = 0
    if cursor:
        time, _, last = cursor.partition("-")
        async with redis.pipeline(transaction=True) as pipeline:
            pipeline.zscore(key, last)
            (pipeline.zrevrank if newest_first else pipeline.zrank)(key, last)
            score, rank = await pipeline.execute()
        if score == int(time):
            start = rank + 1
        elif newest_first:
            start = await redis.zcount(key, f"({int(time)}", "+inf")
        else:
            start = await redis.zcount(key, "-inf", f"({int(time)}")
    async with redis.pipeline(transaction=True) as pipeline:
        pipeline.zrange(key, start, start + limit - 1, desc=newest_first, withscores=True)
        pipeline.zcard(key)
        pairs, total = await pipeline.execute()
    following = f"{pairs[-1][1]:.0f}-{pairs[-1][0].decode()}" if len(pairs) == limit else None
    return [job.decode() for job, _ in pairs], following, total
