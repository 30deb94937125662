"""One attempt of a job: from a lease to an outcome."""

from __future__ import annotations

import asyncio
import json
import time
import traceback
from functools import cached_property
from typing import TYPE_CHECKING

import structlog
from redis.exceptions import RedisError

from muster.downloads.models import ModelGone
from muster.errors import InvalidInput
from muster.jobs.model import (
    Completed,
    Failed,
    JobError,
    LeaseState,
    Outcome,
    Progress,
    Released,
)
from muster.worker.connectors.base import JobFailed, ServiceNotReady

if TYPE_CHECKING:
    from muster.artifacts import ArtifactStore
    from muster.jobs.leases import Leases
    from muster.jobs.model import JobRequest, Lease
    from muster.worker.connectors.base import Connector
    from muster.worker.models import WorkerModels

PROGRESS_EVERY_S = 0.2
PROGRESS_PATIENCE_S = 1.0

log = structlog.get_logger()


class Attempt:
    """The connector's context for one attempt, and what became of it.

    ``revoked`` is set when the queue takes the lease away (cancelled, timed out, given to another):
    then there is no outcome to hand in.
    """

    _task: asyncio.Task[Outcome | None]

    def __init__(
        self, lease: Lease, leases: Leases, artifacts: ArtifactStore, models: WorkerModels
    ) -> None:
        self.lease = lease
        self.job_id = lease.job_id
        self.attempt = lease.attempt
        self.artifacts = artifacts
        self.revoked = False
        self._stopped = False
        self._leases = leases
        self._models = models
        self._told_at = float("-inf")

    @cached_property
    def request(self) -> JobRequest:
        """What the submitter asked for."""
        return self.lease.request()

    def start(self, connector: Connector) -> asyncio.Task[Outcome | None]:
        """Run the job, in a task that never raises. Its result is None when it was revoked."""
        self._task = asyncio.create_task(self._run(connector))
        return self._task

    def stop(self) -> None:
        """Cancel the job's task, once: again would cut short how the connector cleans up."""
        if not self._stopped:
            self._stopped = True
            self._task.cancel()

    def revoke(self) -> None:
        """Stop, because the lease is gone."""
        if not self.revoked:
            log.warning("lease_revoked", job=self.job_id, attempt=self.attempt)
        self.revoked = True
        self.stop()

    async def progress(self, fraction: float, message: str = "") -> None:
        """Report at most five times a second; what comes between is dropped."""
        now = time.monotonic()
        if self._stopped or now - self._told_at < PROGRESS_EVERY_S:
            return
        self._told_at = now
        told = Progress(fraction=min(max(fraction, 0.0), 1.0), message=storable(message[:200]))
        try:
            async with asyncio.timeout(PROGRESS_PATIENCE_S):
                state = await self._leases.progress(self.lease, told)
        except (RedisError, OSError) as error:
            log.debug("progress_not_told", job=self.job_id, error=str(error))
            return
        if state is LeaseState.LOST:
            self.revoke()
            await asyncio.sleep(0)  # here the cancellation is raised

    async def _run(self, connector: Connector) -> Outcome | None:
        limit = asyncio.timeout(None)
        try:
            async with limit:
                limit.reschedule(asyncio.get_running_loop().time() + self.request.timeout_s)
                with self._models.using(self.request.requirements.models):
                    result = await connector.run(self)
            body = json.dumps(result, separators=(",", ":"), allow_nan=False).encode()
        except (asyncio.CancelledError, Exception) as error:  # noqa: BLE001  (a connector's bug fails its job, not the worker)
            return self._ended_by(error, timed_out=limit.expired())
        try:
            self._leases.check_result(body)
        except InvalidInput as error:
            told = JobError(kind="result_refused", message=str(error))
            return Failed(self.lease, told, retryable=False)
        return Completed(self.lease, body)

    def _ended_by(self, error: BaseException, *, timed_out: bool) -> Outcome | None:
        if self.revoked:
            return None
        # Whatever a connector raises when it is stopped, its job did not fail.
        if self._stopped:
            return Released(self.lease)
        if isinstance(error, ServiceNotReady | ModelGone):
            log.warning("job_handed_back", job=self.job_id, reason=str(error))
            return Released(self.lease)
        if isinstance(error, JobFailed):
            return Failed(self.lease, _storable_error(error.error), error.retryable, error.lost)
        if isinstance(error, TimeoutError) and timed_out:
            message = f"not done within {self.request.timeout_s:g} s"
            return Failed(self.lease, JobError(kind="timeout", message=message))
        log.error("connector_crashed", job=self.job_id, exc_info=error)
        trace = "".join(traceback.format_exception(error, limit=-3))
        message = f"{type(error).__name__}: {error}"
        told = JobError(kind="crash", message=message, details={"traceback": trace})
        return Failed(self.lease, _storable_error(told))


def storable(text: str) -> str:
    """Return text as UTF-8 can hold it: services and exceptions may say half a character."""
    return text.encode(errors="replace").decode()


def _storable_error(error: JobError) -> JobError:
    """Return an error as JSON can hold it, whatever a connector put into it."""
    try:
        error.model_dump_json()
    except ValueError:
        return JobError(
            kind=storable(error.kind),
            message=storable(error.message),
            details={"repr": storable(repr(error.details))},
        )
    return error
