"""Models at scale: jobs go where their model is, or cause one fetch, and none waits for ever."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import pytest

from muster.downloads.catalogue import Catalogue, Model
from muster.downloads.models import Models
from muster.downloads.places import Host
from muster.jobs.model import JobState
from muster.jobs.queue import Queue
from muster.jobs.recovery import Recovery
from muster.machine import models as keeping
from support.model_fleet import ModelFleet, ModelMachine, machine_settings
from support.waiting import eventually
from support.workers import submit

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from redis.asyncio import Redis

    from support.releases import ReleaseServer

pytestmark = pytest.mark.anyio
SIZE = 200_000


@pytest.fixture
def releases(serve_releases: Callable[..., ReleaseServer]) -> ReleaseServer:
    return serve_releases()


@pytest.fixture
def catalogue(releases: ReleaseServer) -> Catalogue:
    """Ten models of one size."""
    models = []
    for number in range(10):
        content = bytes([number]) * SIZE
        sha256 = releases.put(f"m{number}", content)
        url = f"{releases.url}/files/m{number}"
        models.append(Model(name=f"m{number}", url=url, sha256=sha256, size=SIZE))
    return Catalogue(model=models)


async def test_twenty_machines_ten_models_room_for_three_on_each(
    redis: Redis, queue_name: str, tmp_path: Path, catalogue: Catalogue, releases: ReleaseServer
) -> None:
    queue = Queue(redis, queue_name)
    releases.arm(f"slow={4 * SIZE}")
    machines = [
        ModelMachine(
            machine_settings(
                tmp_path,
                number,
                queue=queue_name,
                download_hosts=frozenset({Host.parse(releases.url)}),
                model_budget=3 * SIZE,
                models_kept=frozenset({"m0"}),
                model_fetches=3,
            ),
            redis,
            job_s=0.05,
        )
        for number in range(20)
    ]

    async with ModelFleet(machines, catalogue) as fleet:
        # Given that all have the model that they keep, fetched by no more than three at once
        await eventually(
            lambda: [machine.keeper.present for machine in machines],
            "all machines have what they keep",
            until=lambda present: present == [["m0"]] * 20,
            timeout_s=60,
        )
        assert fleet.most_at_once == {"m0": 3}

        # When one job for each other model comes, each is fetched once and its job completes
        jobs = [
            await submit(queue, requirements={"models": [f"m{number}"]}) for number in range(1, 10)
        ]
        await _all_complete(queue, jobs)
        assert _fetches(releases) == {"m0": 20} | {f"m{number}": 1 for number in range(1, 10)}

        # And further jobs go where their model is: nothing is fetched again.
        jobs = [
            await submit(queue, requirements={"models": [f"m{number % 10}"]})
            for number in range(100)
        ]
        await _all_complete(queue, jobs)
        assert _fetches(releases) == {"m0": 20} | {f"m{number}": 1 for number in range(1, 10)}

    assert fleet.missing == []
    assert fleet.most_on_disk <= 3 * SIZE


async def test_with_less_room_than_models_every_job_has_its_turn_and_none_loses_its_model(
    redis: Redis,
    queue_name: str,
    tmp_path: Path,
    catalogue: Catalogue,
    releases: ReleaseServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Given one machine with room for two models, and jobs for ten, some of which run for long
    monkeypatch.setattr(keeping, "Models", functools.partial(Models, residency_s=0.5))
    queue = Queue(redis, queue_name)
    settings = machine_settings(
        tmp_path,
        1,
        queue=queue_name,
        download_hosts=frozenset({Host.parse(releases.url)}),
        model_budget=2 * SIZE,
    )
    machine = ModelMachine(settings, redis, job_s=0.3)
    jobs = [
        await submit(queue, requirements={"models": [f"m{number % 10}"]}) for number in range(20)
    ]

    async with ModelFleet([machine], catalogue) as fleet:
        await _all_complete(queue, jobs)

    assert fleet.missing == []
    assert fleet.most_on_disk <= 2 * SIZE
    assert set(_fetches(releases)) == {f"m{number}" for number in range(10)}


async def test_a_job_that_needs_two_models_gets_both_on_one_machine(
    redis: Redis, queue_name: str, tmp_path: Path, catalogue: Catalogue, releases: ReleaseServer
) -> None:
    queue = Queue(redis, queue_name)
    machines = [
        ModelMachine(
            machine_settings(
                tmp_path,
                number,
                queue=queue_name,
                download_hosts=frozenset({Host.parse(releases.url)}),
                model_budget=3 * SIZE,
            ),
            redis,
            job_s=0,
        )
        for number in range(3)
    ]
    job = await submit(queue, requirements={"models": ["m1", "m2"]})

    async with ModelFleet(machines, catalogue) as fleet:
        await _all_complete(queue, [job])

    assert fleet.missing == []
    assert _fetches(releases) == {"m1": 1, "m2": 1}


async def test_a_machine_that_died_while_it_fetched_keeps_nobody_from_it(
    redis: Redis, queue_name: str, tmp_path: Path, catalogue: Catalogue, releases: ReleaseServer
) -> None:
    queue = Queue(redis, queue_name)
    given = {"queue": queue_name, "download_hosts": frozenset({Host.parse(releases.url)})}
    job = await submit(queue, requirements={"models": ["m3"]})
    releases.arm("stall@m3*1")
    dying = ModelMachine(machine_settings(tmp_path, 1, **given), redis, job_s=0)
    async with ModelFleet([dying], catalogue):
        await eventually(
            lambda: [download.name for download in dying.keeper.downloads],
            "it fetches",
            until=lambda names: names == ["m3"],
        )

    other = ModelMachine(machine_settings(tmp_path, 2, **given), redis, job_s=0)
    async with ModelFleet([other], catalogue):
        await _all_complete(queue, [job])


async def _all_complete(queue: Queue, jobs: list[str], timeout_s: float = 90) -> None:
    recovery = Recovery(queue)

    async def states() -> list[JobState]:
        await recovery.recover()
        return [(await queue.get(job)).state for job in jobs]

    await eventually(
        states,
        f"{len(jobs)} jobs complete",
        until=lambda states: set(states) == {JobState.COMPLETED},
        timeout_s=timeout_s,
    )


def _fetches(releases: ReleaseServer) -> dict[str, int]:
    """Return how often each model was asked for."""
    asked: dict[str, int] = {}
    for request in releases.requests("/files/"):
        name = request.path.rpartition("/")[2]
        asked[name] = asked.get(name, 0) + 1
    return dict(sorted(asked.items()))
