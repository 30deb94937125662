"""The worker's side of a queue: taking jobs, holding them, handing in what came of them."""

from __future__ import annotations

import json
import random
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from pydantic_core import PydanticSerializationError, from_json

from muster.errors import InvalidInput
from muster.jobs.model import (
    Capabilities,
    Completed,
    Failed,
    JobError,
    Lease,
    LeaseState,
    Outcome,
    Progress,
)
from muster.jobs.requirements import canonical, short_hash
from muster.jobs.scripts import Script

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence

    from muster.jobs.queue import Queue

EXCHANGE = Script("muster.jobs", "exchange")
EXTEND = Script("muster.jobs", "extend")
PROGRESS = Script("muster.jobs", "progress")
RECLAIM = Script("muster.jobs", "reclaim")
REGISTER = Script("muster.jobs", "register")

LEASE_S = 15.0
WAKE_TIMEOUT_S = 1.0
"""The bound of a wait for a wake-up: one that died with its connection costs no more than this."""


@dataclass(frozen=True, slots=True)
class Exchanged:
    """What an exchange gave: the fate of each outcome, and new leases.

    ``registered`` is false when the queue has forgotten the worker's capabilities: register again.
    """

    settled: list[LeaseState]
    leases: list[Lease]
    registered: bool


class Leases:
    """One worker's dealings with a queue. Its methods may be called side by side."""

    def __init__(
        self,
        queue: Queue,
        worker_id: str,
        capabilities: Capabilities,
        *,
        lease_s: float = LEASE_S,
    ) -> None:
        self.queue = queue
        self.worker_id = worker_id
        self.lease_ms = round(lease_s * 1000)
        self.offer(capabilities)

    def offer(self, capabilities: Capabilities) -> None:
        """Offer this from now on; ``register`` it before the next exchange.

        Only while the worker is not idle: it would be looked for by what it offered before.
        """
        self._capabilities = canonical(capabilities.service, capabilities)
        self.signature = short_hash(self._capabilities)

    async def register(self) -> None:
        """Make the worker's capabilities known, and keep them known: call it every 20 s or so."""
        await REGISTER(self.queue.redis, self.queue.root, self.signature, self._capabilities)

    async def exchange(
        self,
        outcomes: Sequence[Outcome] = (),
        *,
        want: int = 0,
        woken: str = "",
        was_idle: bool = False,
        will_wait: bool = False,
    ) -> Exchanged:
        """Hand in outcomes and take up to ``want`` jobs, in one call.

        It may be repeated after a lost answer: outcomes settle once, and ``reclaim`` gives back
        what a lost answer took. ``will_wait`` says that the worker will wait for a wake-up if it
        gets less than it wants; ``woken`` is the wake-up that led here. Raises
        ``InvalidInput`` when a result is over the queue's limit; nothing is settled then.
        """
        args: list[str | bytes | float] = []
        for outcome in outcomes:
            args += self._encoded(outcome)
        token = secrets.token_hex(8)
        wait_ms = round(WAKE_TIMEOUT_S * 2000) if will_wait else 0
        answers, taken, specs, why = await EXCHANGE(
            self.queue.redis,
            self.queue.root,
            self.worker_id,
            self.signature,
            token,
            self.lease_ms,
            want,
            woken,
            wait_ms,
            int(was_idle),
            len(outcomes),
            *args,
        )
        leases = [
            Lease(job.decode(), token, attempt, spec)
            for job, attempt, spec in zip(taken[::2], taken[1::2], specs, strict=True)
        ]
        return Exchanged(
            [LeaseState(answer.decode()) for answer in answers], leases, why != b"unregistered"
        )

    async def wait_for_wake(self) -> str:
        """Block until there is a wake-up for this worker, at most a second; return it or ''."""
        popped = await cast(
            "Awaitable[list[bytes] | None]",
            self.queue.redis.blpop(
                [self.queue.key(f"wake:{self.signature}")], timeout=WAKE_TIMEOUT_S
            ),
        )
        return popped[1].decode() if popped else ""

    async def extend(self, leases: Sequence[Lease]) -> list[LeaseState]:
        """Keep leases for another term; tell which are lost, or over their job's time."""
        args = [part for lease in leases for part in (lease.job_id, lease.token)]
        answers = await EXTEND(self.queue.redis, self.queue.root, self.lease_ms, *args)
        return [LeaseState(answer.decode()) for answer in answers]

    async def progress(self, lease: Lease, progress: Progress) -> LeaseState:
        """Report how far a job is; LOST when the token is not current."""
        answer = await PROGRESS(
            self.queue.redis,
            self.queue.root,
            lease.job_id,
            lease.token,
            json.dumps({"attempt": lease.attempt, **progress.model_dump()}),
        )
        return LeaseState(answer.decode())

    async def reclaim(self, held: Sequence[Lease] = (), *, lost: bool) -> int:
        """End the leases in this worker's name that it does not hold; return how many.

        ``lost`` after a restart: those attempts died with their worker. Not so after an exchange
        whose answer did not arrive: those were never begun and go back uncounted.
        """
        members = [lease.member for lease in held]
        ended: int = await RECLAIM(
            self.queue.redis, self.queue.root, self.worker_id, int(lost), *members
        )
        return ended

    def _encoded(self, outcome: Outcome) -> list[str | bytes | float]:
        lease = outcome.lease
        named: list[str | bytes | float] = [lease.job_id, lease.token, lease.attempt]
        if isinstance(outcome, Completed):
            self.check_result(outcome.result)
            return ["completed", *named, outcome.result, ""]
        if isinstance(outcome, Failed):
            jitter = random.random() if outcome.retryable else ""  # noqa: S311  (spreads retries)
            return [
                "lost" if outcome.lost else "failed",
                *named,
                self._bounded(outcome.error),
                jitter,
            ]
        return ["released", *named, "", ""]

    def check_result(self, result: bytes) -> None:
        """Raise ``InvalidInput`` when a result is too large for the queue, or is not JSON."""
        limit = self.queue.limits.result_bytes
        if len(result) > limit:
            raise InvalidInput(
                "result",
                f"is too large: {len(result)} bytes of JSON, {limit} are allowed",
                "Put large outputs in the artifact store and return their URLs.",
            )
        try:
            from_json(result, allow_inf_nan=False)
        except ValueError as error:
            raise InvalidInput(
                "result", f"is not JSON that can be read again: {error}", "Mend the connector."
            ) from None

    def _bounded(self, error: JobError) -> bytes:
        """Return the error as JSON; its details are dropped when they are too large or not JSON."""
        limit = self.queue.limits.error_bytes
        try:
            told = error.model_dump_json().encode()
        except PydanticSerializationError:
            told = b""
        if 0 < len(told) <= limit:
            return told
        shortened = " … (shortened)" if len(error.message) > limit // 8 else ""
        # A character takes at most six bytes in JSON.
        short = JobError(kind=error.kind[:64], message=error.message[: limit // 8] + shortened)
        return short.model_dump_json().encode()
