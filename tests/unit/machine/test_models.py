"""Which models a machine fetches, and when."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from muster.downloads.catalogue import Catalogue
from muster.errors import InvalidInput
from muster.fleet.fetches import Fetches
from muster.fleet.model import Worker, WorkerState
from muster.jobs import demand
from muster.jobs.demand import read_demand
from muster.jobs.leases import Leases
from muster.jobs.model import Capabilities, JobRequest
from muster.jobs.queue import Queue
from muster.machine import models as keeping
from muster.machine import wishes
from muster.machine.models import ModelKeeper, model_keeper
from muster.machine.settings import MachineSettings
from muster.tasks import end
from support.downloads import FakeFetcher, brought, make_model, used
from support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable

    from redis.asyncio import Redis

    Make = Callable[..., ModelKeeper]

pytestmark = pytest.mark.anyio
MODELS = {name: name.encode().ljust(10, b".") for name in ("base", "lora", "vae")}


@pytest.fixture(autouse=True)
def _fresh_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demand, "GOOD_FOR_S", 0.001)
    monkeypatch.setattr(keeping, "LOOK_EVERY_S", 0.01)


@pytest.fixture
def fetcher() -> FakeFetcher:
    return FakeFetcher({make_model(name, data).url: data for name, data in MODELS.items()})


@pytest.fixture
def queue(redis: Redis, queue_name: str) -> Queue:
    return Queue(redis, queue_name)


@pytest.fixture
def make(redis: Redis, queue_name: str, tmp_path: Path, fetcher: FakeFetcher) -> Make:
    """Make the keeper of a machine with one idle worker, and a catalogue of three models."""

    def make(*, worker: dict[str, Any] | None = None, **given: Any) -> ModelKeeper:
        settings = MachineSettings.load(
            machine_id="box", num_gpus=1, connector="simulation", queue=queue_name,
            data_dir=tmp_path, **given,
        )  # fmt: skip
        catalogue = Catalogue(model=[make_model(name, data) for name, data in MODELS.items()])
        keeper = ModelKeeper(settings, catalogue, fetcher, redis)  # type: ignore[arg-type]
        offered = {
            "worker_id": "box-worker-0", "machine_id": "box", "incarnation": "i", "gpu": 0,
            "state": WorkerState.IDLE, "capabilities": Capabilities(service="render"),
        }  # fmt: skip
        keeper.workers = [Worker(**(offered | (worker or {})))]
        return keeper

    return make


async def submit(queue: Queue, *models: str, **needs: Any) -> None:
    requirements = {"models": models, **needs}
    await queue.submit(JobRequest(service="render", payload={}, requirements=requirements))


async def wished(keeper: ModelKeeper) -> list[str]:
    demands = await read_demand(keeper._queue)
    wishes = [wish.names for wish in keeper._wishes.among(demands, keeper.workers)]
    return wishes[0] if wishes else []


async def test_fetches_what_it_is_to_keep_and_offers_it(make: Make, fetcher: FakeFetcher) -> None:
    keeper = make(models_kept=frozenset({"base", "vae"}))
    running = asyncio.create_task(keeper.run())

    await eventually(lambda: keeper.present, "both are there", until=["base", "vae"].__eq__)
    await end(running)

    assert len(fetcher.asked) == 2
    assert keeper.downloads == []


async def test_fetches_what_jobs_wait_for_and_no_worker_has(make: Make, queue: Queue) -> None:
    keeper = make()
    assert await wished(keeper) == []

    await submit(queue, "base", "lora")

    await eventually(lambda: wished(keeper), "it would fetch", until=["base", "lora"].__eq__)


async def test_fetches_only_what_is_missing(make: Make, queue: Queue) -> None:
    keeper = make()
    brought(keeper._models, "base")
    await submit(queue, "base", "lora")

    assert await wished(keeper) == ["lora"]


@pytest.mark.parametrize(
    "needs", [{"vram_mib": 1}, {"labels": {"region": "eu"}}], ids=["vram", "labels"]
)
async def test_fetches_nothing_for_jobs_that_its_workers_could_not_run(
    make: Make, queue: Queue, needs: dict[str, Any]
) -> None:
    await submit(queue, "base", **needs)

    assert await wished(make()) == []


async def test_fetches_nothing_for_a_service_that_it_does_not_have(
    make: Make, queue: Queue
) -> None:
    await submit(queue, "base")

    assert await wished(make(worker={"capabilities": Capabilities(service="other")})) == []
    assert await wished(make(worker={"state": WorkerState.OFFLINE})) == []


async def test_fetches_nothing_that_is_not_in_its_catalogue(make: Make, queue: Queue) -> None:
    await submit(queue, "base", "unheard-of")

    assert await wished(make()) == []


async def test_fetches_nothing_that_can_never_fit(make: Make, queue: Queue) -> None:
    await submit(queue, "base", "lora")

    assert await wished(make(model_budget=19)) == []
    assert await wished(make(model_budget=20)) == ["base", "lora"]


async def test_a_busy_machine_and_a_full_one_leave_it_to_better_ones_for_a_while(
    make: Make, queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    await submit(queue, "base")
    busy = make(worker={"state": WorkerState.BUSY})
    full = make(model_budget=10)
    brought(full._models, "vae")
    assert await wished(busy) == []
    assert await wished(full) == []

    monkeypatch.setattr(wishes, "LATER_S", 0.01)

    await eventually(lambda: wished(busy), "the busy one does it", until=["base"].__eq__)
    await eventually(lambda: wished(full), "the full one does it", until=["base"].__eq__)


async def test_what_a_worker_has_is_fetched_again_only_if_jobs_wait_long_and_by_idle_machines(
    make: Make, queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = Capabilities(service="render", models=frozenset({"base"}))
    await Leases(queue, "other-worker-0", elsewhere).register()
    await submit(queue, "base")
    idle, busy = make(), make(worker={"state": WorkerState.BUSY})
    assert await wished(idle) == []

    monkeypatch.setattr(wishes, "IMPATIENT_S", 0.01)

    await eventually(lambda: wished(idle), "the idle one does it", until=["base"].__eq__)
    assert await wished(busy) == []


async def test_while_others_have_the_places_it_does_not_fetch(
    make: Make, queue: Queue, redis: Redis, fetcher: FakeFetcher
) -> None:
    other = Fetches(redis, queue.name, "other")
    await other.take(["base"], at_most=1)
    await submit(queue, "base")
    keeper = make()
    running = asyncio.create_task(keeper.run())
    await eventually(
        lambda: redis.exists(queue.key("demand")), "it has looked", until=lambda seen: seen
    )
    assert fetcher.asked == []

    await other.leave(["base"])

    await eventually(lambda: keeper.present, "it is there", until=["base"].__eq__)
    await end(running)


async def test_makes_room_by_what_was_used_least_recently(
    make: Make, queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wishes, "LATER_S", 0)
    keeper = make(model_budget=20)
    keeper._models._residency_s = 0
    for name, at in (("lora", 2000), ("vae", 1000)):
        used(keeper._models, brought(keeper._models, name), at)
    await submit(queue, "base")
    running = asyncio.create_task(keeper.run())

    await eventually(lambda: keeper.present, "it changed", until=["base", "lora"].__eq__)
    await end(running)


async def test_says_what_cannot_be_had_and_tries_again_later(
    make: Make, fetcher: FakeFetcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "FIRST_RETRY_S", 0.2)
    served = dict(fetcher.files)
    fetcher.files.clear()
    keeper = make(models_kept=frozenset({"base"}))
    running = asyncio.create_task(keeper.run())
    [why] = await eventually(lambda: keeper.troubles, "it complains")
    assert why.startswith("model base cannot be had: https://files.example/")

    fetcher.files.update(served)

    await eventually(lambda: keeper.present, "it is there", until=["base"].__eq__)
    await eventually(lambda: keeper.troubles, "it complains no more", until=[].__eq__)
    await end(running)


async def test_withdraws_what_the_catalogue_lists_no_more(make: Make) -> None:
    keeper = make()
    brought(keeper._models, "forgotten")
    brought(keeper._models, "base", data=b"an older version")
    running = asyncio.create_task(keeper.run())

    await eventually(lambda: keeper.present, "both are gone", until=[].__eq__)
    await end(running)


async def test_a_file_that_was_spoiled_is_offered_no_more(make: Make) -> None:
    keeper = make(models_kept=frozenset({"base"}))
    model = brought(keeper._models, "base")
    file = keeper._models.store.path(model.sha256)
    file.chmod(0o644)
    file.write_bytes(b"spoiled...")
    running = asyncio.create_task(keeper.run())

    await eventually(
        lambda: file.read_bytes() if file.exists() else b"",
        "it was fetched anew",
        until=MODELS["base"].__eq__,
    )
    await eventually(lambda: keeper.present, "it is offered", until=["base"].__eq__)
    await end(running)


async def test_tells_comfyui_where_models_are(tmp_path: Path, redis: Redis) -> None:
    catalogue = tmp_path / "models.toml"
    digest = "ab" * 32
    catalogue.write_text(
        f'[[model]]\nname = "sdxl"\nurl = "https://github.com/a"\nsha256 = "{digest}"\nsize = 1\n'
        f'path = "checkpoints/sdxl.safetensors"\n'
    )
    settings = MachineSettings.load(
        machine_id="box", num_gpus=1, connector="simulation", data_dir=tmp_path,
        model_catalogue=catalogue,
    )  # fmt: skip

    async with model_keeper(settings, redis) as keeper:
        assert keeper is not None

    told = json.loads((tmp_path / "machines" / "box" / "model_paths.yaml").read_text())
    assert told["muster"]["checkpoints"] == "checkpoints"
    assert Path(told["muster"]["base_path"]) == tmp_path / "store" / "models"


async def test_a_kept_model_that_the_catalogue_lacks_is_refused(
    tmp_path: Path, redis: Redis
) -> None:
    catalogue = tmp_path / "models.toml"
    catalogue.write_text("")
    settings = MachineSettings.load(
        machine_id="box", num_gpus=1, connector="simulation", data_dir=tmp_path,
        model_catalogue=catalogue, models_kept="sdxl",
    )  # fmt: skip

    with pytest.raises(InvalidInput, match="MODELS_KEPT: 'sdxl' is not in the catalogue"):
        async with model_keeper(settings, redis):
            pass


async def test_a_model_that_others_are_fetching_holds_up_no_other(
    make: Make, queue: Queue, redis: Redis
) -> None:
    await Fetches(redis, queue.name, "other").take(["base"], at_most=1)
    await submit(queue, "base")
    await submit(queue, "lora")
    keeper = make()
    running = asyncio.create_task(keeper.run())

    await eventually(lambda: keeper.present, "the other one is there", until=["lora"].__eq__)
    await end(running)


async def test_only_the_model_that_cannot_be_had_is_blamed_and_only_while_it_is_wanted(
    make: Make, queue: Queue, fetcher: FakeFetcher
) -> None:
    del fetcher.files[make_model("lora", MODELS["lora"]).url]
    job = await queue.submit(
        JobRequest(service="render", payload={}, requirements={"models": ["base", "lora"]})
    )
    keeper = make()
    running = asyncio.create_task(keeper.run())
    [why] = await eventually(lambda: keeper.troubles, "it complains")
    assert why.startswith("model lora cannot be had")
    assert keeper.present == ["base"]

    await queue.cancel(job.id)

    await eventually(lambda: keeper.troubles, "nobody wants it any more", until=[].__eq__)
    await end(running)


async def test_where_jobs_starve_it_waits_with_its_place_for_a_model_in_use_to_go(
    make: Make, queue: Queue, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wishes, "STARVED_S", -1)
    keeper = make(model_budget=10)
    keeper._models._residency_s = 0
    brought(keeper._models, "vae")
    await submit(queue, "base")

    with keeper._models.using(["vae"]):
        running = asyncio.create_task(keeper.run())
        await eventually(lambda: keeper.present, "it is offered no more", until=[].__eq__)
        other = Fetches(redis, queue.name, "other")
        assert not await other.take(["base"], at_most=1)

    await eventually(lambda: keeper.present, "its room is taken", until=["base"].__eq__)
    await end(running)


async def test_a_note_of_another_release_is_understood_and_a_broken_one_forgotten(
    make: Make,
) -> None:
    keeper = make(models_kept=frozenset({"base", "vae"}))
    brought(keeper._models, "base")
    names = keeper._models.store.folder / "names" / "model"
    note = json.loads((names / "base.json").read_text())
    note["model"]["of_a_later_release"] = True
    (names / "base.json").write_text(json.dumps(note))
    (names / "vae.json").write_text('{"model": {"name": "vae"}}')
    running = asyncio.create_task(keeper.run())

    await eventually(
        lambda: [held.model.name for held in keeper._models.held()],
        "both are held",
        until=["base", "vae"].__eq__,
    )
    await end(running)
