"""A worker offers the models that its machine has, and holds those of its jobs."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from muster.downloads.models import Models
from muster.downloads.store import Store
from muster.jobs.model import JobState
from support.downloads import brought
from support.waiting import eventually
from support.workers import Scripted, becomes, submit

if TYPE_CHECKING:
    from pathlib import Path

    from muster.fleet.registry import Registry
    from muster.jobs.queue import Queue
    from muster.worker.connectors.base import Context
    from support.workers import Start

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("quick_heart")]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def models(store: Store) -> Models:
    return Models(store)


async def test_a_job_starts_when_its_model_has_come(
    start: Start, queue: Queue, models: Models, registry: Registry
) -> None:
    running = start(Scripted(_at_once), MUSTER_STORE_DIR=str(models.store.folder))
    job = await submit(queue, requirements={"models": ["base"]})
    await _offers(registry, set())

    brought(models, "base")

    await becomes(queue, job, JobState.COMPLETED)
    await _offers(registry, {"base"})
    assert running.connector.started == [(job, 1)]


async def test_offers_what_is_installed_beside_what_was_fetched(
    start: Start, models: Models, registry: Registry
) -> None:
    brought(models, "base")
    start(Scripted(), MUSTER_STORE_DIR=str(models.store.folder), WORKER_MODELS="built-in")

    await _offers(registry, {"base", "built-in"})


async def test_a_model_that_goes_is_offered_no_more(
    start: Start, queue: Queue, models: Models, registry: Registry
) -> None:
    brought(models, "base")
    running = start(Scripted(_at_once), MUSTER_STORE_DIR=str(models.store.folder))
    await _offers(registry, {"base"})

    models.withdraw("base")
    await _offers(registry, set())
    waiting = await submit(queue, requirements={"models": ["base"]})
    other = await submit(queue)

    await becomes(queue, other, JobState.COMPLETED)
    assert (await queue.get(waiting)).state is JobState.PENDING
    assert running.connector.started == [(other, 1)]


async def test_a_model_is_kept_while_a_job_runs_with_it(
    start: Start, queue: Queue, models: Models
) -> None:
    model = brought(models, "base")
    running = start(MUSTER_STORE_DIR=str(models.store.folder))
    job = await submit(queue, requirements={"models": ["base"]})
    await becomes(queue, job, JobState.RUNNING)
    await eventually(lambda: running.connector.at_once, "the job runs")

    models.withdraw("base")
    models.clear()
    assert models.store.path(model.sha256).exists()

    running.connector.go.set()
    await becomes(queue, job, JobState.COMPLETED)
    models.clear()
    assert not models.store.path(model.sha256).exists()


async def test_a_job_whose_model_has_just_gone_goes_back_uncounted(
    start: Start, queue: Queue, models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a worker that does not know yet that its model is gone
    brought(models, "base")
    running = start(Scripted(_at_once), MUSTER_STORE_DIR=str(models.store.folder))
    await eventually(
        lambda: running.worker.capabilities.models,
        "the model is offered",
        until=lambda offered: offered == {"base"},
    )
    seen = running.worker._models
    monkeypatch.setattr(seen, "fetched", lambda: frozenset({"base"}))
    models.withdraw("base")

    # When it is given the job
    job = await submit(queue, requirements={"models": ["base"]})
    await eventually(
        lambda: queue.get(job), "it was handed back", until=lambda job: job.attempt > 0
    )
    monkeypatch.undo()

    # Then the job waits for the model, has lost nothing, and runs when it comes back.
    await becomes(queue, job, JobState.PENDING)
    brought(models, "base")
    done = await becomes(queue, job, JobState.COMPLETED)
    assert (done.failed_attempts, done.lost_attempts) == (0, 0)


async def test_no_wake_up_is_lost_while_models_come_and_go(
    start: Start, queue: Queue, models: Models
) -> None:
    brought(models, "base")
    for index in range(2):
        start(
            Scripted(_at_once), MUSTER_STORE_DIR=str(models.store.folder), WORKER_INDEX=str(index)
        )

    for _ in range(10):
        models.withdraw("base") if models.present() else brought(models, "base")
        job = await submit(queue)
        await becomes(queue, job, JobState.COMPLETED, timeout_s=5)


async def _at_once(_context: Context) -> str:
    await asyncio.sleep(0)
    return "done"


async def _offers(registry: Registry, models: set[str]) -> None:
    async def offered() -> list[set[str]]:
        return [set(w.capabilities.models) for w in (await registry.workers()).workers]

    await eventually(offered, f"it offers {models}", until=lambda seen: seen == [models])
