"""A machine's workers run the release that was asked for (failures 1 and 4), or do not start."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from muster.downloads.settings import ASSET
from muster.fleet.model import MachineState, ReleaseId
from muster.jobs.model import JobRequest, JobState
from muster.jobs.queue import Queue
from support.packages import package_of, real_package
from support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from redis.asyncio import Redis

    from conftest import RunningMachine, StartMachine
    from muster.fleet.registry import Registry
    from support.releases import ReleaseServer

    Publish = Callable[..., str]
    Start = Callable[..., RunningMachine]

pytestmark = pytest.mark.anyio
REPOSITORY = "acme/muster"


@pytest.fixture
def releases(serve_releases: Callable[..., ReleaseServer]) -> ReleaseServer:
    return serve_releases()


@pytest.fixture
def publish(releases: ReleaseServer) -> Callable[..., str]:
    """Publish a version's package and its checksum, as ``nox -s package`` makes them."""

    def publish(version: str, package: bytes | None = None) -> str:
        content = package or real_package(version)
        digest = releases.publish(REPOSITORY, f"v{version}", ASSET, content)
        checksum = f"{digest}  {ASSET}\n".encode()
        releases.publish(REPOSITORY, f"v{version}", f"{ASSET}.sha256", checksum)
        return digest

    return publish


@pytest.fixture
def start(start_machine: StartMachine, releases: ReleaseServer) -> Start:
    """Start a machine that runs a release of the test's server."""

    def start(release: str = "v1.0.0", **environment: str | None) -> RunningMachine:
        given: dict[str, Any] = {
            "RELEASE_HOST": releases.url,
            "WORKER_RELEASE": f"{REPOSITORY}@{release}",
            "NUM_GPUS": "1",
        }
        return start_machine(**(given | environment))

    return start


@pytest.mark.failure(4)
async def test_should_download_and_extract_worker_package(
    start: Start,
    releases: ReleaseServer,
    publish: Publish,
    registry: Registry,
    redis: Redis,
    queue_name: str,
) -> None:
    digest = publish("1.0.0")

    machine = start(NUM_GPUS="8")
    ready = await machine.until(MachineState.READY)

    # Eight workers run what was asked for, and say so themselves; for them one request was made.
    asked_for = ReleaseId(name=REPOSITORY, version="v1.0.0", sha256=digest)
    assert ready.release == asked_for
    workers = (await registry.workers()).workers
    assert [(w.machine_id, w.release, w.version) for w in workers] == [
        ("box", asked_for, "1.0.0")
    ] * 8
    asked = [r.path for r in releases.log() if r.path.startswith(f"/{REPOSITORY}")]
    package = f"/{REPOSITORY}/releases/download/v1.0.0/{ASSET}"
    assert asked == [f"{package}.sha256", package]
    queue = Queue(redis, queue_name)
    job = await queue.submit(JobRequest(service="simulation", payload={"result": "done"}))
    await eventually(
        lambda: queue.get(job.id),
        "a job completes on the release",
        until=lambda job: job.state is JobState.COMPLETED,
    )


async def test_a_machine_with_the_digest_needs_no_server_to_start_again(
    start: Start, releases: ReleaseServer, publish: Publish
) -> None:
    digest = publish("1.0.0")
    first = start(WORKER_RELEASE_SHA256=digest)
    await first.until(MachineState.READY)
    first.agent.terminate()
    assert first.agent.wait(timeout=30) == 0
    releases.clear_log()
    releases.arm("status=503")

    again = start(WORKER_RELEASE_SHA256=digest)
    await again.until(MachineState.READY)

    assert releases.log() == []


async def test_rollback_is_one_setting(
    start: Start, releases: ReleaseServer, publish: Publish, registry: Registry
) -> None:
    for version in ("1.0.0", "2.0.0"):
        publish(version)
    new = start("latest")
    assert (await new.until(MachineState.READY)).release.version == "v2.0.0"
    new.agent.terminate()
    assert new.agent.wait(timeout=30) == 0

    old = start("v1.0.0")
    ready = await old.until(MachineState.READY)

    assert ready.release.version == "v1.0.0"
    assert [worker.version for worker in (await registry.workers()).workers] == ["1.0.0"]


@pytest.mark.failure(1)
async def test_an_old_package_planted_in_the_cache_is_never_run(
    start: Start, releases: ReleaseServer, publish: Publish, registry: Registry, data_dir: Path
) -> None:
    # Given what the ancestor left behind: code that takes its machine from another variable.
    identity = "def worker_id(machine_id, index):\n    return f'unknown-worker-{index}'\n"
    digest = publish("1.0.0")
    first = start()
    await first.until(MachineState.READY)
    first.agent.terminate()
    assert first.agent.wait(timeout=30) == 0
    planted = data_dir / "store" / "unpacked" / f"v1.0.0-{digest[:16]}" / "site-packages"
    old = planted / "muster" / "fleet" / "identity.py"
    old.chmod(0o644)
    old.write_text(identity)

    machine = start()
    await machine.until(MachineState.READY)

    assert [w.worker_id for w in (await registry.workers()).workers] == ["box-worker-0"]
    said = machine.log()
    assert "unpacked_package_refused" in said
    assert str(old) in said
    assert "should be" in said


@pytest.mark.failure(4)
@pytest.mark.parametrize(
    ("fault", "wanted"),
    [("wrong@.pyz", "SHA-256"), ("truncate=1000000@.pyz", "SHA-256"), ("status=404", "404")],
)
async def test_a_package_that_is_not_what_it_should_be_is_refused(
    start: Start,
    releases: ReleaseServer,
    publish: Publish,
    registry: Registry,
    data_dir: Path,
    fault: str,
    wanted: str,
) -> None:
    digest = publish("1.0.0")
    releases.arm(fault)

    machine = start(WORKER_RELEASE_SHA256=digest)

    assert machine.agent.wait(timeout=60) == 1
    assert wanted in machine.log()
    assert ASSET in machine.log()
    assert not list((data_dir / "store").glob("unpacked/[!.]*"))
    assert (await registry.machines()).machines == []


@pytest.mark.failure(4)
async def test_starts_degraded_with_an_older_release_only_if_told_to(
    start: Start, releases: ReleaseServer, publish: Publish
) -> None:
    publish("1.0.0")
    good = start("v1.0.0")
    await good.until(MachineState.READY)
    good.agent.terminate()
    assert good.agent.wait(timeout=30) == 0

    # When the next release is not there, it refuses
    refusing = start("v2.0.0")
    assert refusing.agent.wait(timeout=60) == 1
    assert "404" in refusing.log()

    # And with the setting it says what it runs instead.
    falling_back = start("v2.0.0", WORKER_RELEASE_FALLBACK="1")
    degraded = await falling_back.until(MachineState.DEGRADED)
    assert degraded.release.version == "v1.0.0"
    [reason] = [reason for reason in degraded.reasons if "v2.0.0" in reason]
    assert "404" in reason
    assert "v1.0.0" in reason


async def test_a_package_that_does_not_run_here_is_refused(
    start: Start, releases: ReleaseServer, publish: Publish, registry: Registry
) -> None:
    broken = package_of("1.0.0", {"cli/__init__.py": "raise ImportError('for another Python')"})
    publish("1.0.0", broken)

    machine = start()

    assert machine.agent.wait(timeout=60) == 1
    assert "for another Python" in machine.log()
    assert "WORKER_RELEASE_ASSET" in machine.log()
    assert (await registry.machines()).machines == []
