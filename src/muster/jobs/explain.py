"""Why is my job still pending? The answer in words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from muster.jobs.model import Explanation, JobState
from muster.jobs.requirements import canonical, short_hash, unmet

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from muster.jobs.model import Capabilities, Job
    from muster.jobs.queue import Queue


class WorkerView(Protocol):
    """What must be known of a live worker."""

    @property
    def capabilities(self) -> Capabilities:
        """What it offers."""
        ...


async def explain(
    queue: Queue,
    job_id: str,
    workers: Sequence[WorkerView],
    coming: Mapping[str, str] | None = None,
) -> Explanation:
    """Explain a job's state, given the workers that live. Raises ``NotFound``.

    ``coming`` says, by a model's name, which machine is fetching it.
    """
    job = await queue.get(job_id)
    if job.state is JobState.PENDING:
        summary, reasons = await _pending(queue, job, workers)
        models = sorted(job.requirements.models)
        reasons += [coming[model] for model in models if coming and model in coming]
    elif job.state is JobState.SCHEDULED:
        summary = f"It runs not before {job.due_at:%Y-%m-%d %H:%M:%S} UTC."
        reasons = [_last_attempt(job)] if job.attempts else []
    elif job.state is JobState.RUNNING:
        summary = f"It runs on {job.worker}, attempt {job.attempt}."
        reasons = [f"{job.progress.fraction:.0%} {job.progress.message}"] if job.progress else []
    else:
        summary = f"It is over: {job.state}."
        reasons = [_last_attempt(job)] if job.attempts and job.state is JobState.FAILED else []
    return Explanation(job_id=job_id, state=job.state, summary=summary, reasons=reasons)


async def _pending(queue: Queue, job: Job, workers: Sequence[WorkerView]) -> tuple[str, list[str]]:
    if await queue.paused():
        return "The queue is paused.", ["Resume it with `muster resume`."]
    if not workers:
        return "No worker is alive.", ["Start a machine."]
    able: list[Capabilities] = []
    misses: dict[str, int] = {}
    for worker in workers:
        missing = unmet(job.service, job.requirements, worker.capabilities)
        if not missing:
            able.append(worker.capabilities)
        for reason in missing:
            misses[reason] = misses.get(reason, 0) + 1
    if not able:
        return (
            f"None of the {len(workers)} live workers can run it.",
            [
                f"{count} of {len(workers)} lack {reason}"
                for reason, count in sorted(misses.items(), key=lambda item: -item[1])
            ],
        )
    ahead = await _ahead(queue, job, able)
    return (
        f"{len(able)} of {len(workers)} live workers can run it; {ahead} pending jobs go first.",
        [f"It has priority {job.priority}; jobs of higher priority, then older ones, go first."],
    )


async def _ahead(queue: Queue, job: Job, able: Sequence[Capabilities]) -> int:
    """Count the pending jobs that the able workers take before this one."""
    signatures = {short_hash(canonical(offer.service, offer)) for offer in able}
    order = await queue.redis.hget(queue.key(f"job:{job.id}"), "order")
    async with queue.redis.pipeline(transaction=False) as pipeline:
        for signature in signatures:
            pipeline.zrange(queue.key(f"heads:{signature}"), 0, -1)
        heads = await pipeline.execute()
        for name in {name.decode() for names in heads for name in names}:
            pipeline.zcount(queue.key(f"ready:{name}"), "-inf", f"({int(order or 0)}")
        return sum(await pipeline.execute())


def _last_attempt(job: Job) -> str:
    last = job.attempts[-1]
    return f"attempt {last.number} on {last.worker} {last.outcome}: {last.error.message}"
