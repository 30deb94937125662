"""The API's calls, each said once: what is sent, and what its answer means.

Both clients take their methods from here, with signatures and docstrings; they add the sending.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar
from urllib.parse import quote

from pydantic import TypeAdapter

from muster.client.model import QueueStatus
from muster.fleet.commands import Command
from muster.fleet.model import Machine, MachinePage, WorkerPage
from muster.fleet.nameplate import Nameplate
from muster.jobs.model import Explanation, Job, JobPage, JobRequest, JobState, Submitted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """One request to the server, and the type of its answer.

    Only a ``repeatable`` call is sent again when it is not known whether the server acted on it.
    """

    method: str
    path: str
    answer: TypeAdapter[T]
    params: Mapping[str, str | int] = field(default_factory=dict)
    body: bytes | None = None
    repeatable: bool = True


_JOB = TypeAdapter(Job)
_JOBS = TypeAdapter(JobPage)
_SUBMITTED = TypeAdapter(Submitted)
_SUBMITTED_MANY = TypeAdapter(list[Submitted])
_EXPLANATION = TypeAdapter(Explanation)
_MACHINE = TypeAdapter(Machine)
_MACHINES = TypeAdapter(MachinePage)
_WORKERS = TypeAdapter(WorkerPage)
_COMMAND = TypeAdapter(Command)
_QUEUE = TypeAdapter(QueueStatus)
_NAMEPLATE = TypeAdapter(Nameplate)
_REQUESTS = TypeAdapter(list[JobRequest])


def submit(request: JobRequest) -> Call[Submitted]:
    """Submit one job.

    A request without an idempotency key is given one, so that sending it again never makes a
    second job.
    """
    return Call("POST", "/v1/jobs", _SUBMITTED, body=_keyed(request).model_dump_json().encode())


def submit_many(requests: Sequence[JobRequest]) -> Call[list[Submitted]]:
    """Submit jobs, all or none. Keys are given as ``submit`` gives them."""
    keyed = [_keyed(request) for request in requests]
    return Call("POST", "/v1/jobs/bulk", _SUBMITTED_MANY, body=_REQUESTS.dump_json(keyed))


def get(job_id: str) -> Call[Job]:
    """Return one job whole, with payload, result and the story of its attempts."""
    return Call("GET", f"/v1/jobs/{_part(job_id)}", _JOB)


def jobs(state: JobState, *, cursor: str | None = None, limit: int = 50) -> Call[JobPage]:
    """Return one page of the jobs in a state, without payloads and results."""
    return Call("GET", "/v1/jobs", _JOBS, _params(state=state.value, cursor=cursor, limit=limit))


def cancel(job_id: str) -> Call[Job]:
    """Cancel a job that is not over."""
    return Call("POST", f"/v1/jobs/{_part(job_id)}/cancel", _JOB, repeatable=False)


def retry(job_id: str) -> Call[Job]:
    """Give a failed or cancelled job its attempts anew."""
    return Call("POST", f"/v1/jobs/{_part(job_id)}/retry", _JOB, repeatable=False)


def explain(job_id: str) -> Call[Explanation]:
    """Return why a job is where it is."""
    return Call("GET", f"/v1/jobs/{_part(job_id)}/explanation", _EXPLANATION)


def machines(*, cursor: str | None = None, limit: int = 50) -> Call[MachinePage]:
    """Return one page of the machines."""
    return Call("GET", "/v1/machines", _MACHINES, _params(cursor=cursor, limit=limit))


def machine(machine_id: str) -> Call[Machine]:
    """Return one machine."""
    return Call("GET", f"/v1/machines/{_part(machine_id)}", _MACHINE)


def workers(
    *, machine_id: str | None = None, cursor: str | None = None, limit: int = 50
) -> Call[WorkerPage]:
    """Return one page of the workers, of one machine or of all."""
    params = _params(machine_id=machine_id, cursor=cursor, limit=limit)
    return Call("GET", "/v1/workers", _WORKERS, params)


def drain(machine_id: str) -> Call[Command]:
    """Have a machine's workers hand their jobs back and stop; the machine stays."""
    return _command(machine_id, "drain")


def undrain(machine_id: str) -> Call[Command]:
    """Have the workers of a drained machine start again."""
    return _command(machine_id, "undrain")


def restart(machine_id: str, program: str) -> Call[Command]:
    """Have a machine restart one of its services or workers."""
    return _command(machine_id, f"programs/{_part(program)}/restart")


def queue() -> Call[QueueStatus]:
    """Return how the queue stands."""
    return Call("GET", "/v1/queue", _QUEUE)


def pause() -> Call[QueueStatus]:
    """Hand out no more jobs. Running ones go on, submissions are taken."""
    return Call("POST", "/v1/queue/pause", _QUEUE)


def resume() -> Call[QueueStatus]:
    """Hand out jobs again."""
    return Call("POST", "/v1/queue/resume", _QUEUE)


def nameplate() -> Call[Nameplate]:
    """Return which environment the server belongs to, as its Redis says."""
    return Call("GET", "/v1/nameplate", _NAMEPLATE)


def _command(machine_id: str, what: str) -> Call[Command]:
    return Call("POST", f"/v1/machines/{_part(machine_id)}/{what}", _COMMAND, repeatable=False)


def _keyed(request: JobRequest) -> JobRequest:
    if request.idempotency_key is not None:
        return request
    return request.model_copy(update={"idempotency_key": uuid.uuid4().hex})


def _part(name: str) -> str:
    return quote(name, safe="")


def _params(**values: Any) -> dict[str, str | int]:
    return {name: value for name, value in values.items() if value is not None}
