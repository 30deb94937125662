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

PROGRESS_EVERY_S = 0.2

log = structlog.get_logger()


class Attempt:
    """The connector's context for one attempt, and what became of it.

    ``revoked`` is set when the queue takes the lease away (cancelled, timed out, given to another):
    then there is no outcome to hand in.
    """

    def __init__(self, lease: Lease, leases: Leases, artifacts: ArtifactStore) -> None:
        self.lease = lease
        self.job_id = lease.job_id
        self.attempt = lease.attempt
        self.artifacts = artifacts
        self.revoked = False
        self._leases = leases
        self._told_at = float("-inf")

    @cached_property
    def request(self) -> JobRequest:
        """What the submitter asked for."""
        return self.lease.request()

    async def progress(self, fraction: float, message: str = "") -> None:
        """Report at most five times a second; what comes between is dropped."""
        now = time.monotonic()
        if now - self._told_at < PROGRESS_EVERY_S:
            return
        self._told_at = now
        told = Progress(fraction=min(max(fraction, 0.0), 1.0), message=message[:200])
        try:
            if await self._leases.progress(self.lease, told) is LeaseState.LOST:
                self.revoked = True
        except (RedisError, OSError) as error:
            log.debug("progress_not_told", job=self.job_id, error=str(error))
        if self.revoked:
            raise asyncio.CancelledError

    async def run(self, connector: Connector) -> Outcome | None:
        """Run the job to its outcome. It never raises; None when the lease was revoked."""
        limit = asyncio.timeout(None)
        try:
            async with limit:
                limit.reschedule(asyncio.get_running_loop().time() + self.request.timeout_s)
                result = await connector.run(self)
            body = json.dumps(result, separators=(",", ":"), allow_nan=False).encode()
            self._leases.check_result(body)
            return Completed(self.lease, body)
        except asyncio.CancelledError:
            return None if self.revoked else Released(self.lease)
        except ServiceNotReady as error:
            log.warning("service_not_ready", job=self.job_id, reason=str(error))
            return Released(self.lease)
        except Exception as error:  # noqa: BLE001  (a connector's bug fails its job, not the worker)
            return self._failed(error, timed_out=limit.expired())

    def _failed(self, error: Exception, *, timed_out: bool) -> Failed:
        if isinstance(error, JobFailed):
            return Failed(self.lease, error.error, error.retryable)
        if isinstance(error, InvalidInput):
            told = JobError(kind="result_too_large", message=str(error))
            return Failed(self.lease, told, retryable=False)
        if isinstance(error, TimeoutError) and timed_out:
            message = f"not done within {self.request.timeout_s:g} s"
            return Failed(self.lease, JobError(kind="timeout", message=message))
        log.error("connector_crashed", job=self.job_id, exc_info=error)
        trace = "".join(traceback.format_exception(error, limit=-3))
        message = f"{type(error).__name__}: {error}"
        told = JobError(kind="crash", message=message, details={"traceback": trace})
        return Failed(self.lease, told)
