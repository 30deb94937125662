"""What the API answers besides jobs, machines and workers."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from muster.jobs.model import JobState


class QueueStatus(BaseModel):
    """How a queue stands: how many jobs are in each state, and whether it hands any out."""

    model_config = ConfigDict(frozen=True)

    queue: str
    paused: bool
    counts: dict[JobState, int]
