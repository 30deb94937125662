"""The nouns of the queue: requests, jobs, attempts, leases and outcomes."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,127}$")]
"""A service, model or label: printable, no spaces, at most 128 characters."""


class JobState(StrEnum):
    """Where a job stands. The last three are terminal."""

    PENDING = "pending"
    SCHEDULED = "scheduled"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def terminal(self) -> bool:
        """Whether the job is over, unless somebody retries it by hand."""
        return self in {JobState.COMPLETED, JobState.FAILED, JobState.CANCELLED}


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Requirements(_Record):
    """What a job needs of a worker besides the service."""

    models: frozenset[Name] = frozenset()
    vram_mib: int = Field(default=0, ge=0, le=10_000_000)
    labels: dict[Name, Name] = Field(default_factory=dict, max_length=16)


class Capabilities(_Record):
    """What a worker offers: the other side of ``Requirements``."""

    service: Name
    models: frozenset[Name] = frozenset()
    vram_mib: int = Field(default=0, ge=0)
    labels: dict[Name, Name] = Field(default_factory=dict, max_length=16)


class JobRequest(_Record):
    """What a submitter asks for. Times are in seconds.

    ``priority`` runs from 0 (last) to 100 (first). ``max_failed`` and ``max_lost`` are how many
    attempts may fail, and how many may be lost with their worker, before the job fails for good;
    they are counted apart, so that churn does not burn a good job. ``backoff_s`` is the wait after
    the first failed attempt; it doubles with each further one. A request with an
    ``idempotency_key`` that the queue has seen is answered with the job that it made then. With
    ``keep_s`` the job, and its key, are kept for that time after its end and no longer.
    """

    # NaN stays NaN in JSON, where it is refused, instead of becoming null unseen.
    model_config = ConfigDict(ser_json_inf_nan="constants")

    service: Name
    payload: dict[str, Any]
    requirements: Requirements = Field(default_factory=Requirements)
    priority: int = Field(default=50, ge=0, le=100)
    not_before: AwareDatetime | None = None
    timeout_s: float = Field(default=3600, gt=0, le=7 * 24 * 3600)
    max_failed: int = Field(default=3, ge=1, le=100)
    max_lost: int = Field(default=5, ge=1, le=100)
    backoff_s: float = Field(default=2, ge=0, le=3600)
    keep_s: float | None = Field(default=None, ge=1, le=7 * 24 * 3600)
    idempotency_key: Annotated[str, StringConstraints(min_length=1, max_length=128)] | None = None


class JobError(_Record):
    """Why an attempt did not complete. ``kind`` is a short word that programs can test."""

    kind: str
    message: str
    details: dict[str, Any] = Field(default_factory=dict)


class Attempt(_Record):
    """One attempt that did not complete, kept with the job for as long as the job is kept."""

    number: int
    worker: str
    outcome: str
    started_at: datetime
    ended_at: datetime
    error: JobError


class Progress(_Record):
    """How far the current attempt is: ``fraction`` from 0 to 1, and a word for people."""

    fraction: float = Field(ge=0, le=1)
    message: str = ""


class Job(_Record):
    """A job as the queue holds it. Lists leave ``payload`` and ``result`` out (None)."""

    id: str
    state: JobState
    service: str
    requirements: Requirements
    priority: int
    payload: dict[str, Any] | None = None
    submitted_at: datetime
    due_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    worker: str | None = None
    attempt: int = 0
    failed_attempts: int = 0
    lost_attempts: int = 0
    max_failed: int
    max_lost: int
    timeout_s: float
    progress: Progress | None = None
    attempts: list[Attempt] = Field(default_factory=list)
    result: Any = None


class JobPage(_Record):
    """Some jobs of one state, without payloads and results. ``cursor`` leads to the next page."""

    jobs: list[Job]
    cursor: str | None
    total: int


class Explanation(_Record):
    """Where a job stands (``summary``) and why (``reasons``)."""

    job_id: str
    state: JobState
    summary: str
    reasons: list[str]


class Submitted(_Record):
    """The answer to a submission; ``duplicate`` when its idempotency key was seen before."""

    id: str
    duplicate: bool = False


@dataclass(frozen=True, slots=True)
class Lease:
    """A worker's time-limited right to one attempt of a job.

    ``token`` fences: only while it is current can the holder progress, complete or fail the job.
    """

    job_id: str
    token: str
    attempt: int
    spec: bytes

    @property
    def member(self) -> str:
        """The lease's name in Redis."""
        return f"{self.job_id}:{self.token}"

    def request(self) -> JobRequest:
        """Parse what the submitter asked for."""
        return JobRequest.model_validate_json(self.spec)


@dataclass(frozen=True, slots=True)
class Completed:
    """An attempt's good end, with its result as JSON."""

    lease: Lease
    result: bytes


@dataclass(frozen=True, slots=True)
class Failed:
    """An attempt's bad end. One that is not ``retryable`` fails the job at once.

    ``lost`` when the attempt died with what ran it: it is counted with the lost ones.
    """

    lease: Lease
    error: JobError
    retryable: bool = True
    lost: bool = False


@dataclass(frozen=True, slots=True)
class Released:
    """An attempt handed back unfinished (the worker drains): it counts against nothing."""

    lease: Lease


Outcome = Completed | Failed | Released


class LeaseState(StrEnum):
    """What the queue says of a lease when its holder speaks."""

    OK = "ok"
    LOST = "lost"
    TIMEOUT = "timeout"


def new_id() -> str:
    """Return 16 random hexadecimal characters: unique among any number of live jobs in practice."""
    return secrets.token_hex(8)
