"""From Redis's structures to ``Job``."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from muster.jobs.model import Attempt, Job, JobRequest, JobState, Progress

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redis.asyncio import Redis


async def read_jobs(redis: Redis, root: str, ids: Sequence[str], *, whole: bool) -> list[Job]:
    """Return those jobs that there are, in the order given; payloads and results if ``whole``."""
    if not ids:
        return []
    names = ["specs", "progress", "attempts", *(["results"] if whole else [])]
    async with redis.pipeline(transaction=True) as pipeline:
        for job_id in ids:
            pipeline.hgetall(f"{root}:job:{job_id}")
        for name in names:
            pipeline.hmget(f"{root}:{name}", list(ids))
        answers = await pipeline.execute()
    states, columns = answers[: len(ids)], answers[len(ids) :]
    jobs = []
    for job_id, state, *values in zip(ids, states, *columns, strict=True):
        if state:
            fields = {name.decode(): value.decode() for name, value in state.items()}
            job = _job(job_id, fields, dict(zip(names, values, strict=True)))
            jobs.append(job if whole else job.model_copy(update={"payload": None}))
    return jobs


def _job(job_id: str, fields: dict[str, str], values: dict[str, bytes | None]) -> Job:
    request = JobRequest.model_validate_json(values["specs"] or b"")
    progress, attempts, result = values["progress"], values["attempts"], values.get("results")
    return Job(
        id=job_id,
        state=JobState(fields["state"]),
        service=request.service,
        requirements=request.requirements,
        priority=request.priority,
        payload=request.payload,
        submitted_at=datetime.fromtimestamp(int(fields["submitted"]) / 1000, UTC),
        due_at=_time(fields.get("due")),
        started_at=_time(fields.get("started")),
        finished_at=_time(fields.get("finished")),
        worker=fields.get("worker"),
        attempt=int(fields.get("attempt", 0)),
        failed_attempts=int(fields.get("failed", 0)),
        lost_attempts=int(fields.get("lost", 0)),
        max_failed=request.max_failed,
        max_lost=request.max_lost,
        timeout_s=request.timeout_s,
        progress=_progress(progress, fields),
        attempts=[_attempt(json.loads(line)) for line in attempts.splitlines()] if attempts else [],
        result=json.loads(result) if result else None,
    )


def _progress(value: bytes | None, fields: dict[str, str]) -> Progress | None:
    """Return the current attempt's progress: what an earlier or a finished one told is over."""
    told = json.loads(value) if value else {}
    current = fields["state"] == JobState.RUNNING and int(fields["attempt"]) == told.get("attempt")
    return Progress(fraction=told["fraction"], message=told["message"]) if current else None


def _attempt(line: dict[str, Any]) -> Attempt:
    times = {name: _time(line[name]) for name in ("started_at", "ended_at")}
    return Attempt.model_validate(line | times)


def _time(milliseconds: str | float | None) -> datetime | None:
    return datetime.fromtimestamp(float(milliseconds) / 1000, UTC) if milliseconds else None
