"""The fleet that a test is given: no more of it than the test has said that it needs."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import httpx

from muster.client import Client
from muster.client.profile import Profile
from muster.client.sending import trusted
from muster.errors import NotFound
from muster.fleet.model import MachineState
from muster.jobs.model import JobRequest
from muster.matrix.environments import rails
from muster.matrix.environments.model import Act
from muster.matrix.environments.rails import Deed, Refused
from support.waiting import eventually_blocking

if TYPE_CHECKING:
    from pathlib import Path

    from muster.fleet.model import Machine, Program
    from muster.fleet.nameplate import Nameplate
    from muster.jobs.model import Job
    from muster.matrix.environments.model import Environment

LOOKING = frozenset({"GET", "HEAD"})


class Backend(Protocol):
    """Where a fleet runs."""

    @property
    def profile(self) -> Profile:
        """How clients come in."""

    @property
    def redis_url(self) -> str | None:
        """How its parts reach Redis, if that is known."""

    def kill(self, machine_id: str, program: Program) -> None:
        """End a program by SIGKILL."""


@dataclass(frozen=True)
class ExternalBackend:
    """A system that is there. Nobody here can kill its programs, and its rails say so."""

    profile: Profile
    redis_url: str | None = None

    def kill(self, machine_id: str, program: Program) -> None:
        """Refuse."""
        raise Refused(f"{program.name} of {machine_id} is not ours to kill.")


@dataclass(frozen=True)
class Fleet:
    """A running fleet, in the hands of one test."""

    environment: Environment
    deed: Deed
    backend: Backend
    override: str | None = None

    @property
    def url(self) -> str:
        """Where its server is."""
        return self.backend.profile.url

    def check(self) -> None:
        """Raise ``Refused`` unless the live system is the environment, and allows the test."""
        plate = self.nameplate()
        rails.check_plate(self.environment, plate, self.url)
        assert plate is not None
        rails.check_deed(self.environment, self.deed, plate, self.override)

    def client(self) -> Client:
        """Return a client that sends what the test said that it does, and not too fast."""
        return self._client(self.deed.act if not self.deed.canary else Act.READ)

    def anonymous(self) -> httpx.Client:
        """Return a client without a token."""
        return httpx.Client(base_url=self.url, transport=self._transport(Act.READ))

    def nameplate(self) -> Nameplate | None:
        """Return what the live system says that it is."""
        with self._client(Act.READ) as client:
            try:
                return client.nameplate()
            except NotFound:
                return None

    def machines(self) -> list[Machine]:
        """Return the machines that are ready."""
        with self._client(Act.READ) as client:
            page = client.machines(limit=500)
        return [machine for machine in page.machines if machine.state is MachineState.READY]

    def canary(self) -> Job:
        """Send the canary job, and return it when it is over.

        Its key names the time span that it is for, so that the server itself takes one in each,
        however many runs there are, and everybody knows it for what it is.
        """
        canary = self.environment.canary
        span = int(time.time() // canary.every_s)
        request = JobRequest(
            service=canary.service,
            payload=json.loads(canary.payload.read_text(encoding="utf-8")),
            timeout_s=canary.completes_s,
            max_failed=1,
            keep_s=canary.keep_s,
            idempotency_key=f"muster-canary-{self.environment.name}-{span}",
        )
        with self._client(Act.WRITE) as client:
            return client.wait(client.submit(request).id, timeout=canary.completes_s)

    def kill_worker(self, machine_id: str, gpu: int) -> Program:
        """End a worker by SIGKILL, and return what it was."""
        if not self.deed.act.includes(Act.DESTRUCTIVE):
            raise Refused(f"This test said that it does no more than {self.deed.act}.")
        worker = self.worker(machine_id, gpu)
        self.backend.kill(machine_id, worker)
        return worker

    def worker(self, machine_id: str, gpu: int) -> Program:
        """Return a worker's process, as its machine tells of it."""
        with self._client(Act.READ) as client:
            programs = client.machine(machine_id).programs
        (worker,) = [each for each in programs if each.kind == "worker" and each.gpu == gpu]
        return worker

    def until_ready(self, count: int, timeout_s: float) -> None:
        """Wait for its machines."""
        eventually_blocking(
            self.machines,
            f"{count} machines are ready",
            until=lambda ready: len(ready) == count,
            timeout_s=timeout_s,
            every_s=0.1,
        )

    def _client(self, act: Act) -> Client:
        profile = self.backend.profile
        return Client(profile.url, profile.token.get_secret_value(), transport=self._transport(act))

    def _transport(self, act: Act) -> Guarded:
        pace_s = 1 / self.environment.limits.calls_per_s
        return Guarded(trusted(self.backend.profile), act, pace_s)


class Guarded(httpx.HTTPTransport):
    """Sends nothing but questions for a test that said that it reads, and keeps a pace."""

    def __init__(self, verify: object, act: Act, pace_s: float) -> None:
        super().__init__(verify=verify, trust_env=False)  # type: ignore[arg-type]
        self._act, self._pace_s, self._next = act, pace_s, 0.0

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send it, or raise ``Refused``."""
        if request.method not in LOOKING and not self._act.includes(Act.WRITE):
            raise Refused(
                f"{request.method} {request.url.path} is no reading, and that is all that this "
                "test said that it does. Mark it with what it does: acts(…)."
            )
        time.sleep(max(0.0, self._next - time.monotonic()))
        self._next = time.monotonic() + self._pace_s
        return super().handle_request(request)


def profile_of(url: str, token: str, ca_file: Path | None = None) -> Profile:
    """Return how clients come in."""
    return Profile.model_validate({"url": url, "token": token, "ca_file": ca_file})
