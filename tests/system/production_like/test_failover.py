"""production-like, whole: TLS everywhere, two servers, and a primary that dies."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest

from muster.client import Client
from muster.jobs.model import JobRequest, JobState
from muster.simulation.comfyui.workflow import text_to_image
from support.anywhere.containers import ContainerBackend
from support.system.containers import awaited

if TYPE_CHECKING:
    from support.anywhere.fleet import Fleet

pytestmark = pytest.mark.needs("docker", "tls", "sentinel")


def jobs(count: int, first: int) -> list[JobRequest]:
    return [
        JobRequest(service="comfyui", payload={"prompt": text_to_image(seed=first + number)})
        for number in range(count)
    ]


@pytest.mark.acts("read")
def test_plaintext_gets_no_answer(fleet: Fleet) -> None:
    with pytest.raises(httpx.TransportError):
        httpx.get(fleet.url.replace("https:", "http:") + "/healthz", trust_env=False)
    with pytest.raises(httpx.ConnectError, match="certificate verify failed"):
        httpx.get(f"{fleet.url}/healthz", trust_env=False)


@pytest.mark.acts("destructive")
def test_jobs_go_on_when_the_primary_falls_silent(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = fleet.backend
    assert isinstance(backend, ContainerBackend)
    monkeypatch.setenv("MUSTER_CA_FILE", str(backend.profile.ca_file))
    token = backend.profile.token.get_secret_value()
    within_s = fleet.environment.target("failover_s")

    # Given jobs that were taken by the one server, and are on the replica too
    with Client(fleet.url, token, patience_s=within_s) as client:
        before = client.submit_many(jobs(8, first=1000))
        assert {client.wait(job.id, timeout=60).state for job in before} == {JobState.COMPLETED}

        # When the primary falls silent, as when its host dies, and the other server takes more.
        # (Paused, not killed: a container that is gone takes its name out of Docker's DNS, and
        # looking for that name holds sentinels up. Hosts keep theirs.)
        backend.containers["redis-1"].pause()
        with Client(backend.second_url, token, patience_s=within_s) as other:
            after = other.submit_many(jobs(8, first=2000))

        # Then they complete, whichever server is asked
        states = {client.wait(job.id, timeout=within_s).state for job in after}
    assert states == {JobState.COMPLETED}

    # And what was the primary comes back as a replica, in step
    backend.containers["redis-1"].unpause()
    awaited(
        lambda: backend.containers["redis-1"].exec_run(
            [
                "sh",
                "-c",
                "redis-cli --tls --cacert /tls/ca.pem --user operator --no-auth-warning "
                '-a "$REDIS_OPERATOR_PASSWORD" info replication',
            ]
        )[1],
        "redis-1 follows redis-2",
        of=backend.containers["redis-1"],
        until=lambda said: b"role:slave" in said and b"master_link_status:up" in said,
        hint="its sentinels make it a replica.",
        timeout_s=within_s,
    )
