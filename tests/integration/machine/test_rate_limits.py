"""A fleet behind one address starts although the release host limits how often it is asked."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from muster.downloads.settings import ASSET
from muster.fleet.model import MachineState
from support.packages import real_package

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import StartMachine
    from support.releases import ReleaseServer

pytestmark = pytest.mark.anyio
MACHINES = 10


@pytest.mark.failure(4)
async def test_ten_machines_behind_one_address_all_start(
    start_machine: StartMachine, serve_releases: Callable[..., ReleaseServer], data_dir: Path
) -> None:
    # Given a host that takes six requests in ten seconds, and says when to come back
    releases = serve_releases("--limit", "6/10")
    package = real_package("1.0.0")
    repositories = [f"acme/muster-{number}" for number in range(MACHINES)]
    digests = [releases.publish(name, "v1.0.0", ASSET, package) for name in repositories]

    # When ten machines start at once behind one address
    machines = [
        start_machine(
            MACHINE_ID=f"box-{number}",
            NUM_GPUS="1",
            MUSTER_DATA_DIR=str(data_dir / str(number)),
            RELEASE_HOST=releases.url,
            WORKER_RELEASE=f"{name}@v1.0.0",
            WORKER_RELEASE_SHA256=digest,
        )
        for number, (name, digest) in enumerate(zip(repositories, digests, strict=True))
    ]

    # Then all come up, and none has asked sooner than it was told to.
    for machine in machines:
        await machine.until(MachineState.READY, timeout_s=120)
    assert any(request.retry_after for request in releases.log())
    for name in repositories:
        asked = releases.requests(f"/{name}/releases")
        assert [request.status for request in asked][-1] == 302
        for earlier, later in pairwise(asked):
            assert earlier.status == 429
            assert later.time >= earlier.time + earlier.retry_after
