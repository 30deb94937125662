"""A connector without a service: it runs jobs of a stated duration and outcome in the worker."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from muster.jobs.model import JobError
from muster.worker.connectors.base import JobFailed

if TYPE_CHECKING:
    from muster.worker.connectors.base import Context
    from muster.worker.settings import WorkerSettings


class SimulatedJob(BaseModel):
    """The payload: how long the job takes (seconds), in how many steps, and how it ends."""

    model_config = ConfigDict(extra="forbid")

    duration_s: float = Field(default=0, ge=0, le=3600)
    steps: int = Field(default=1, ge=1, le=10_000)
    outcome: Literal["completed", "failed", "invalid"] = "completed"
    fail_attempts: int = Field(
        default=0, ge=0, description="Fail this many attempts, then end as `outcome` says."
    )
    result: Any = None


class Simulation:
    """Runs simulated jobs."""

    service = "simulation"

    @classmethod
    def from_settings(cls, _settings: WorkerSettings) -> Self:
        """Make one; it needs no settings."""
        return cls()

    async def ready(self) -> None:
        """Say yes: there is no service behind it."""

    async def run(self, context: Context) -> Any:
        """Take the stated time and end as stated."""
        try:
            job = SimulatedJob.model_validate(context.request.payload)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"]))
            message = f"the payload is not a simulated job: {place}: {first['msg']}"
            raise _failed("invalid_payload", message, retryable=False) from None
        if job.duration_s:
            for step in range(job.steps):
                await asyncio.sleep(job.duration_s / job.steps)
                await context.progress((step + 1) / job.steps, f"step {step + 1} of {job.steps}")
        if job.outcome == "invalid":
            raise _failed("invalid", "the job was to be refused", retryable=False)
        if job.outcome == "failed" or context.attempt <= job.fail_attempts:
            raise _failed("simulated", "the job was to fail", retryable=True)
        return job.result

    async def close(self) -> None:
        """Hold nothing, let go of nothing."""


def _failed(kind: str, message: str, *, retryable: bool) -> JobFailed:
    return JobFailed(JobError(kind=kind, message=message), retryable=retryable)
