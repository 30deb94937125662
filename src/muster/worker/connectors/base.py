"""What a connector is, and how a worker finds one."""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, Protocol, Self

from muster.errors import InvalidInput, MusterError

if TYPE_CHECKING:
    from muster.artifacts import ArtifactStore
    from muster.jobs.model import JobError, JobRequest
    from muster.worker.settings import WorkerSettings

GROUP = "muster.connectors"


class JobFailed(MusterError):
    """The attempt failed.

    ``retryable`` is false when another attempt could only fail again; ``lost`` is true when the
    service died under the job, which is then not blamed for it.
    """

    def __init__(self, error: JobError, *, retryable: bool = True, lost: bool = False) -> None:
        super().__init__(error.message)
        self.error = error
        self.retryable = retryable
        self.lost = lost


class ServiceNotReady(MusterError):
    """The service does not take jobs yet, or no longer."""


class Context(Protocol):
    """What a connector gets to work with for one attempt of a job."""

    @property
    def job_id(self) -> str:
        """The job's id."""
        ...

    @property
    def attempt(self) -> int:
        """The number of this attempt, from 1."""
        ...

    @property
    def request(self) -> JobRequest:
        """What the submitter asked for."""
        ...

    @property
    def artifacts(self) -> ArtifactStore:
        """Where files that the job reads and produces live."""
        ...

    async def progress(self, fraction: float, message: str = "") -> None:
        """Report how far the attempt is, from 0 to 1. Cheap to call often."""
        ...


class Connector(Protocol):
    """A worker's adapter to one kind of service.

    A package adds one by an entry point of the group ``muster.connectors`` whose name is what
    ``CONNECTOR`` says, and whose object is a class of this shape.
    """

    service: str

    @classmethod
    def from_settings(cls, settings: WorkerSettings) -> Self:
        """Make one for a worker."""
        ...

    async def ready(self) -> None:
        """Probe the service once, quickly. Raises ``ServiceNotReady`` with the reason."""
        ...

    async def run(self, context: Context) -> Any:
        """Run one attempt and return its result, a JSON value. Raises ``JobFailed``.

        When it is cancelled it stops the work on the service before it lets go.
        """
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...


def installed() -> list[str]:
    """Return the names of the connectors that are installed."""
    return sorted({point.name for point in entry_points(group=GROUP)})


def find(name: str) -> type[Connector]:
    """Return the connector class of that name.

    Raises ``InvalidInput`` when there is none, with those there are, or when it does not import.
    """
    for point in entry_points(group=GROUP, name=name):
        try:
            loaded: type[Connector] = point.load()
        except (ImportError, AttributeError) as error:
            raise InvalidInput(
                "CONNECTOR", f"does not import: {error}", "Install what it needs.", value=name
            ) from error
        return loaded
    raise InvalidInput(
        "CONNECTOR", "is not installed", f"Use one of {', '.join(installed())}.", value=name
    )
