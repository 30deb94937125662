"""The nouns of the fleet: machines, workers, their states."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field

from muster.jobs.model import Capabilities


class MachineState(StrEnum):
    """Where a machine stands."""

    STARTING = "starting"
    READY = "ready"
    DEGRADED = "degraded"
    DRAINING = "draining"
    OFFLINE = "offline"


class WorkerState(StrEnum):
    """Where a worker stands."""

    STARTING = "starting"
    IDLE = "idle"
    BUSY = "busy"
    DRAINING = "draining"
    OFFLINE = "offline"


class _Record(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class ReleaseId(_Record):
    """Which code a worker runs: the release's name, its version, and its file's digest.

    What is installed on the machine, and not from a release, has no digest.
    """

    name: str
    version: str
    sha256: str = ""

    def __str__(self) -> str:
        digest = f" (sha256 {self.sha256[:16]}…)" if self.sha256 else " (installed)"
        return f"{self.name} {self.version}{digest}"


class Download(_Record):
    """A model under way to a machine, in bytes."""

    name: str
    done: int
    size: int


class Program(_Record):
    """One supervised program of a machine (a service or a worker), as its supervisor sees it."""

    name: str
    kind: str
    gpu: int
    state: str
    pid: int | None = None
    restarts: int = 0


class Machine(_Record):
    """A machine as it reports itself. ``gpus`` and the programs tell plan from fact.

    ``release`` is what its workers are to run, ``models`` those that it fetched and has,
    ``downloads`` those that are coming.
    ``incarnation`` is new with every start; ``seen_at`` is the last heartbeat by Redis's clock.
    """

    machine_id: str
    incarnation: str
    state: MachineState
    reasons: list[str] = Field(default_factory=list)
    gpus: int
    programs: list[Program] = Field(default_factory=list)
    host: str = ""
    version: str = ""
    release: ReleaseId | None = None
    models: list[str] = Field(default_factory=list)
    downloads: list[Download] = Field(default_factory=list)
    started_at: datetime | None = None
    seen_at: datetime | None = None


class Worker(_Record):
    """A worker as it reports itself; ``jobs`` are those that it holds now."""

    worker_id: str
    machine_id: str
    incarnation: str
    gpu: int
    state: WorkerState
    capabilities: Capabilities
    jobs: list[str] = Field(default_factory=list)
    reason: str = ""
    version: str = ""
    release: ReleaseId | None = None
    pid: int | None = None
    started_at: datetime | None = None
    seen_at: datetime | None = None


class MachinePage(_Record):
    """Some machines. ``cursor`` leads on in the order of ids; a numbered page has none."""

    machines: list[Machine]
    cursor: str | None
    total: int
    page: int | None = None
    pages: int | None = None


class WorkerPage(_Record):
    """Some workers. ``cursor`` leads on in the order of ids; a numbered page has none."""

    workers: list[Worker]
    cursor: str | None
    total: int
    page: int | None = None
    pages: int | None = None
