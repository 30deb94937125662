"""production-like, whole: TLS everywhere, two servers, and a primary that dies."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest

from muster.jobs.model import JobRequest, JobState
from muster.simulation.comfyui.workflow import text_to_image
from support.anywhere.replication import pair, silent

if TYPE_CHECKING:
    from support.anywhere.containers import ContainerBackend
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
    fleet: Fleet, containers: ContainerBackend
) -> None:
    within_s = fleet.environment.target("failover_s")
    redis = pair(containers, within_s)

    # Given jobs that were taken by the one server, and are on the replica too
    with containers.client("server", patience_s=within_s) as client:
        before = client.submit_many(jobs(8, first=1000))
        assert {client.wait(job.id, timeout=60).state for job in before} == {JobState.COMPLETED}
        redis.until_in_step()

        # When the primary falls silent, and the other server takes more
        with silent(redis.primary):
            with containers.client("server-2", patience_s=within_s) as other:
                after = other.submit_many(jobs(8, first=2000))

            # Then they complete, whichever server is asked
            states = {client.wait(job.id, timeout=within_s).state for job in after}
    assert states == {JobState.COMPLETED}

    # And what was the primary comes back as a replica
    assert pair(containers, within_s).replica == redis.primary
