"""What a machine would fetch when several things are wanted, and what must not go for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from muster.downloads.catalogue import Catalogue
from muster.downloads.models import Models
from muster.downloads.store import Store
from muster.fleet.model import Worker, WorkerState
from muster.jobs.demand import Demand
from muster.jobs.model import Capabilities
from muster.machine.wishes import IMPATIENT_S, STARVED_S, Wish, Wishes
from support.downloads import brought, make_model

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

SIZES = {"small": 20, "large": 80, "base": 60}


@pytest.fixture
def models(tmp_path: Path) -> Models:
    return Models(Store(tmp_path / "store"), budget=100, residency_s=0)


def wishes(
    models: Models,
    *demands: Demand,
    worker: dict[str, Any] | None = None,
    kept: Iterable[str] = (),
) -> list[Wish]:
    catalogue = Catalogue(model=[make_model(name, b"x" * size) for name, size in SIZES.items()])
    offered = {
        "worker_id": "box-worker-0", "machine_id": "box", "incarnation": "i", "gpu": 0,
        "state": WorkerState.IDLE, "capabilities": Capabilities(service="render"),
    }  # fmt: skip
    chosen = Wishes(models, catalogue, frozenset(kept), at_most=4)
    return list(chosen.among(demands, [Worker(**(offered | (worker or {})))]))


def demand(*names: str, age_s: float = 10, served: bool = False, waiting: int = 9) -> Demand:
    need = {"service": "render", "models": names, "vram_mib": 0, "labels": {}}
    return Demand.model_validate(
        {"need": need, "waiting": waiting, "age_ms": age_s * 1000, "served": served}
    )


def named(wished: list[Wish]) -> list[list[str]]:
    return [wish.names for wish in wished]


def test_a_wish_that_cannot_be_fulfilled_stands_before_no_other(models: Models) -> None:
    wished = wishes(models, demand("small", age_s=5), demand("large", age_s=50))

    assert named(wished) == [["large"], ["small"]]


def test_what_never_fits_beside_the_kept_models_is_not_wished_for(models: Models) -> None:
    brought(models, "base", data=b"x" * 60)

    wished = wishes(models, demand("large", age_s=50), demand("small"), kept=["base"])

    assert named(wished) == [["small"]]


def test_models_that_a_worker_has_installed_are_not_fetched(models: Models) -> None:
    installed = Capabilities(service="render", models=frozenset({"base", "own"}))

    wished = wishes(models, demand("base", "own", "small"), worker={"capabilities": installed})

    assert named(wished) == [["small"]]


@pytest.mark.parametrize("state", [WorkerState.STARTING, WorkerState.DRAINING, WorkerState.OFFLINE])
def test_a_machine_whose_workers_are_not_at_work_wishes_for_nothing(
    models: Models, state: WorkerState
) -> None:
    assert wishes(models, demand("small", age_s=500), worker={"state": state}) == []


def test_no_more_machines_fetch_what_is_elsewhere_than_jobs_wait(models: Models) -> None:
    [wish] = wishes(models, demand("small", age_s=IMPATIENT_S + 1, served=True, waiting=2))

    assert wish.at_most == 2


def test_a_busy_machine_fetches_what_is_elsewhere_once_jobs_starve(models: Models) -> None:
    busy = {"state": WorkerState.BUSY}
    patient = demand("small", age_s=IMPATIENT_S + 1, served=True)
    starved = demand("small", age_s=STARVED_S + 1, served=True)

    assert wishes(models, patient, worker=busy) == []
    assert named(wishes(models, starved, worker=busy)) == [["small"]]


def test_what_other_jobs_wait_for_does_not_go_unless_jobs_starve(models: Models) -> None:
    brought(models, "base", data=b"x" * 60)

    [wish] = wishes(models, demand("large", age_s=20), demand("base"))
    assert {"base", "large"} <= wish.spared
    assert not wish.starved

    [wish] = wishes(models, demand("large", age_s=STARVED_S + 1), demand("base"))
    assert "base" not in wish.spared
    assert wish.starved
