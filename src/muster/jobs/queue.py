"""The submitter's and the operator's side of a queue."""

from __future__ import annotations

from typing import TYPE_CHECKING

from redis.exceptions import OutOfMemoryError, ResponseError

from muster.errors import Busy, Conflict, InvalidInput, NotFound, ProtocolMismatch
from muster.jobs import listing
from muster.jobs.limits import Limits
from muster.jobs.model import Job, JobPage, JobRequest, JobState, Submitted, new_id
from muster.jobs.records import read_jobs
from muster.jobs.scripts import Script
from muster.jobs.submission import encode_submission

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redis.asyncio import Redis

CANCEL = Script("muster.jobs", "cancel")
PAUSE = Script("muster.jobs", "pause")
RETRY = Script("muster.jobs", "retry")
SUBMIT = Script("muster.jobs", "submit")

PROTOCOL = 1
"""The version of keys, scripts and messages. One apart works together, more is refused."""

RETRY_AFTER_S = 5.0
REPLICA_TIMEOUT_MS = 2000


def root_key(name: str) -> str:
    """Return the key that all keys of a queue begin with; the braces keep it in one slot."""
    return f"muster:{{{name}}}"


class Queue:
    """Jobs in one state each, from submission to retention.

    ``wait_replicas`` is how many replicas must hold a submission before it is acknowledged.
    """

    def __init__(
        self,
        redis: Redis,
        name: str = "default",
        *,
        limits: Limits | None = None,
        wait_replicas: int = 0,
    ) -> None:
        self.redis = redis
        self.name = name
        self.root = root_key(name)
        self.limits = limits or Limits()
        self.wait_replicas = wait_replicas

    def key(self, name: str) -> str:
        """Return the full key of one of the queue's structures."""
        return f"{self.root}:{name}"

    async def open(self) -> None:
        """Agree on the protocol. Raises ``ProtocolMismatch`` when the queue's is too far off."""
        await self.redis.hsetnx(self.key("meta"), "protocol", str(PROTOCOL))
        held = int(await self.redis.hget(self.key("meta"), "protocol") or 0)
        if abs(held - PROTOCOL) > 1:
            raise ProtocolMismatch(
                f"Queue {self.name!r} speaks protocol {held}, this Muster {PROTOCOL}; they may be "
                "one apart. Update the older side."
            )

    async def submit(self, request: JobRequest) -> Submitted:
        """Store one job. Raises as ``submit_many`` does."""
        return (await self.submit_many([request]))[0]

    async def submit_many(self, requests: Sequence[JobRequest]) -> list[Submitted]:
        """Store jobs, all or none, in one call; equals keep the order given.

        Raises ``InvalidInput`` for a request over the limits, ``Busy`` at the memory watermark or
        when replicas do not confirm in time (the jobs may be stored then: submit again with the
        same idempotency keys), ``Conflict`` when too many different requirements are waiting.
        """
        if len(requests) > self.limits.bulk:
            raise InvalidInput(
                "jobs",
                "are too many for one call",
                f"Submit at most {self.limits.bulk} at a time.",
                value=len(requests),
            )
        if not requests:
            return []
        ids = [new_id() for _ in requests]
        args = encode_submission(ids, requests, self.limits)
        try:
            answers = await self._send_submission(args)
        except ResponseError as error:
            raise _explained(error) from error
        return [
            Submitted(id=earlier.decode() or job_id, duplicate=bool(earlier))
            for job_id, earlier in zip(ids, answers, strict=True)
        ]

    async def get(self, job_id: str) -> Job:
        """Return one job whole. Raises ``NotFound``."""
        jobs = await read_jobs(self.redis, self.root, [job_id], whole=True)
        if not jobs:
            raise _no_job(job_id)
        return jobs[0]

    async def cancel(self, job_id: str) -> Job:
        """Cancel a job that is not over. Raises ``NotFound``, or ``Conflict`` when it is over."""
        state = await self._move(CANCEL, job_id)
        if JobState(state).terminal:
            raise Conflict(f"Job {job_id} is {state} already and cannot be cancelled.")
        return await self.get(job_id)

    async def retry(self, job_id: str) -> Job:
        """Give a failed or cancelled job its attempts anew. Raises ``NotFound`` or ``Conflict``."""
        state = await self._move(RETRY, job_id)
        if state not in {JobState.FAILED, JobState.CANCELLED}:
            raise Conflict(f"Job {job_id} is {state}; only failed and cancelled jobs are retried.")
        return await self.get(job_id)

    async def pause(self) -> None:
        """Hand out no more jobs. Running ones go on, submissions are taken."""
        await PAUSE(self.redis, self.root, 1)

    async def resume(self) -> None:
        """Hand out jobs again."""
        await PAUSE(self.redis, self.root, 0)

    async def paused(self) -> bool:
        """Return whether the queue is paused."""
        return bool(await self.redis.hexists(self.key("meta"), "paused"))

    async def counts(self) -> dict[JobState, int]:
        """Return how many jobs are in each state."""
        return await listing.counts(self.redis, self.root)

    async def page(self, state: JobState, *, cursor: str | None = None, limit: int = 50) -> JobPage:
        """Return some jobs of one state: waiting ones next first, finished ones newest first.

        Raises ``InvalidInput`` for a cursor that no page gave.
        """
        members, following, total = await listing.members(
            self.redis, self.root, state, cursor, limit
        )
        jobs = await read_jobs(self.redis, self.root, members, whole=False)
        return JobPage(
            jobs=[job for job in jobs if job.state is state], cursor=following, total=total
        )

    async def _send_submission(self, args: list[str | bytes | int]) -> list[bytes]:
        if not self.wait_replicas:
            answers: list[bytes] = await SUBMIT(self.redis, self.root, *args)
            return answers
        async with self.redis.pipeline(transaction=False) as pipeline:
            SUBMIT.add_to(pipeline, self.root, *args)
            pipeline.wait(self.wait_replicas, REPLICA_TIMEOUT_MS)
            answers, confirmed = await pipeline.execute()
        if confirmed < self.wait_replicas:
            raise Busy(
                f"{confirmed} of {self.wait_replicas} replicas hold the submission. Submit again "
                "with the same idempotency key.",
                retry_after=RETRY_AFTER_S,
            )
        return answers

    async def _move(self, script: Script, job_id: str) -> str:
        state: str = (await script(self.redis, self.root, job_id)).decode()
        if not state:
            raise _no_job(job_id)
        return state


def _no_job(job_id: str) -> NotFound:
    return NotFound(f"There is no job {job_id!r} (any more). Finished jobs are kept for a time.")


def _explained(error: ResponseError) -> Exception:
    """Tell in our words what the submit script, or a full Redis, refuses."""
    text = str(error)
    # Redis 6.2 says OOM within a script's error, later ones as its kind.
    if isinstance(error, OutOfMemoryError) or "FULL" in text or "-OOM" in text:
        return Busy(
            "Redis is nearly full, so no new jobs are taken. Wait for jobs to finish, or give "
            "Redis more memory.",
            retry_after=RETRY_AFTER_S,
        )
    if "CLASSES" in text:
        return Conflict(
            "Too many different requirements are waiting in this queue. Use fewer distinct "
            "combinations of service, models, VRAM and labels, or wait."
        )
    return error
