from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from muster.downloads.models import ModelGone, Models
from muster.downloads.store import Store
from muster.worker.models import WorkerModels
from support.downloads import SIZE, brought, make_model, spoil

if TYPE_CHECKING:
    from pathlib import Path

    from muster.downloads.catalogue import Model
    from muster.downloads.content import Content


def link(models: Models, model: Model) -> Path:
    return models.store.folder / "models" / model.path


def leaving(models: Models) -> int:
    return len(list((models.store.folder / "names" / "leaving").glob("*")))


def files(models: Models) -> set[str]:
    return {entry.sha256 for entry in models.store.entries()}


def test_an_offered_model_is_present_and_found_at_its_path(models: Models) -> None:
    assert models.present() == frozenset()

    base = brought(models, "base")
    deep = brought(models, "acme/deep@1", path="checkpoints/deep.safetensors")

    assert models.present() == {"base", "acme/deep@1"}
    assert [held.model for held in models.held()] == [deep, base]
    assert all(abs(held.since - time.time()) < 60 for held in models.held())
    for model in (base, deep):
        assert link(models, model).resolve() == models.store.path(model.sha256)
        assert not link(models, model).readlink().is_absolute()  # the store may be moved
    assert Models(Store(models.store.folder)).present() == models.present()


def test_a_model_in_use_is_not_removed(models: Models) -> None:
    base = brought(models, "base")

    with models.using(["base"]):
        models.withdraw("base")
        models.clear()
        assert models.present() == frozenset()
        assert link(models, base).read_bytes() == models.store.path(base.sha256).read_bytes()
        assert leaving(models) == 1

    models.clear()
    assert not files(models)
    assert not link(models, base).is_symlink()
    assert leaving(models) == 0


def test_a_withdrawn_model_cannot_be_used_any_more(models: Models) -> None:
    brought(models, "base")
    models.withdraw("base")

    with pytest.raises(ModelGone, match=r"Model base is no longer here"), models.using(["base"]):
        pass

    models.withdraw("base")
    models.withdraw("never")


def test_a_model_that_is_withdrawn_while_it_is_taken_is_not_used(
    models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    brought(models, "base")
    take = models.store.use

    def late(content: Content) -> object:
        models.withdraw("base")
        return take(content)

    monkeypatch.setattr(models.store, "use", late)

    with pytest.raises(ModelGone, match="base"), models.using(["base"]):
        pass
    models.clear()
    assert not files(models)


@pytest.mark.parametrize("trouble", ["missing", "spoiled"])
def test_a_model_whose_file_is_not_as_verified_is_not_used(models: Models, trouble: str) -> None:
    base, other = brought(models, "base"), brought(models, "other")
    file = models.store.path(base.sha256)
    if trouble == "missing":
        file.unlink()
    else:
        spoil(file, b"other size")

    with (
        pytest.raises(ModelGone, match=f"Model base .*{base.sha256}"),
        models.using(["base", "other"]),
    ):
        pass

    assert models.store.remove(other.sha256)  # nothing stays held


def test_several_models_are_held_together(models: Models) -> None:
    held = [brought(models, name) for name in ("a", "b")]

    with models.using({"a", "b"}):
        assert not any(models.store.remove(model.sha256) for model in held)
    with models.using([]):
        pass


def test_an_unused_model_that_is_offered_again_stays(models: Models) -> None:
    base = brought(models, "base")
    models.withdraw("base")
    models.offer(base)
    models.clear()

    assert models.present() == {"base"}
    assert link(models, base).resolve().exists()
    assert leaving(models) == 0


def test_every_version_of_a_model_goes_though_it_is_in_use(models: Models) -> None:
    old = brought(models, "base", data=b"old version", path="base.bin")
    with models.using(["base"]):
        models.withdraw("base")
        new = brought(models, "base", data=b"new version", path="base.bin")
        models.clear()
        assert files(models) == {old.sha256, new.sha256}

    models.clear()

    assert files(models) == {new.sha256}
    assert link(models, new).read_bytes() == b"new version"
    models.withdraw("base")
    models.clear()
    assert not files(models)
    assert not link(models, new).is_symlink()


def test_a_model_that_moves_leaves_no_link_behind(models: Models) -> None:
    before = brought(models, "base", path="old/base.bin")
    after = brought(models, "other", data=b"base".ljust(SIZE, b"."), path="new/base.bin")
    assert before.sha256 == after.sha256

    models.withdraw("base")
    models.clear()

    assert not link(models, before).is_symlink()
    assert link(models, after).resolve() == models.store.path(after.sha256)


def test_an_alias_keeps_the_bytes_of_what_goes(models: Models) -> None:
    gone = brought(models, "gone", data=b"x" * SIZE, path="gone.bin")
    alias = brought(models, "alias", data=b"x" * SIZE, path="alias.bin")

    models.withdraw("gone")
    models.clear()

    assert models.present() == {"alias"}
    assert link(models, alias).read_bytes() == b"x" * SIZE
    assert not link(models, gone).is_symlink()


def test_what_the_catalogue_says_differently_is_withdrawn(models: Models) -> None:
    same = brought(models, "same")
    changed = brought(models, "changed")
    moved = brought(models, "moved")
    brought(models, "unlisted")
    now = [
        same,
        make_model("changed", b"another version"),
        moved.model_copy(update={"path": "elsewhere.bin"}),
        make_model("new", b"new"),
    ]

    models.retain(now)
    models.clear()

    assert models.present() == {"same"}
    assert files(models) == {same.sha256}
    assert not link(models, changed).is_symlink()


def test_a_spoiled_model_is_withdrawn_and_named(models: Models) -> None:
    good, bad, lost = (brought(models, name) for name in ("good", "bad", "lost"))
    spoil(models.store.path(bad.sha256), b"something else")
    models.store.path(lost.sha256).unlink()

    with capture_logs() as logs:
        models.audit()

    assert models.present() == {"good"}
    told = {log["model"]: log["why"] for log in logs if log["event"] == "model_refused"}
    assert set(told) == {"bad", "lost"}
    file = models.store.path(bad.sha256)
    assert told["bad"] == (
        f"{file} is refused: its size should be {bad.size} bytes, but is 14 bytes."
    )
    models.clear()
    assert files(models) == {good.sha256}


def test_machines_on_one_store_do_not_trip_over_each_other(store: Store) -> None:
    data = b"x" * SIZE
    model = brought(Models(store), "base", data=data, path="checkpoints/base.bin")
    troubles: list[Exception] = []

    def live(machine: Models) -> None:
        try:
            for _ in range(25):
                with store.use(model.content):
                    machine.offer(model)
                machine.could_hold(SIZE)
                machine.retain([model])
                machine.withdraw("base")
                with store.use(model.content):
                    machine.clear()
                machine.audit()
        except Exception as error:  # noqa: BLE001  (whatever it is)
            troubles.append(error)

    threads = [
        threading.Thread(target=live, args=(Models(store, budget=3 * SIZE, residency_s=0),))
        for _ in range(4)
    ]
    with store.use(model.content):
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert not troubles
    Models(store).offer(model)
    Models(store).clear()
    assert link(Models(store), model).read_bytes() == data
    assert not list(store.folder.glob("models/**/.*"))
    assert leaving(Models(store)) == 0


def test_a_worker_sees_what_its_machine_fetched(models: Models) -> None:
    base = brought(models, "base")
    worker = WorkerModels(models.store.folder, frozenset({"built-in"}))

    assert worker.fetched() == {"base"}
    with worker.using(frozenset({"base", "built-in"})):
        assert not models.store.remove(base.sha256)
    models.withdraw("base")
    assert worker.fetched() == frozenset()
    with pytest.raises(ModelGone), worker.using(frozenset({"base"})):
        pass


def test_a_worker_without_a_store_has_what_is_installed() -> None:
    worker = WorkerModels(None, frozenset({"built-in"}))

    assert worker.fetched() == frozenset()
    with worker.using(frozenset({"anything"})):
        pass
