from __future__ import annotations

import shutil
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING

from muster.downloads.models import Models
from muster.downloads.partial import RESERVE_BYTES
from support.downloads import SIZE, brought, used

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from muster.downloads.catalogue import Model
    from muster.downloads.store import Store


def link(models: Models, model: Model) -> Path:
    return models.store.folder / "models" / model.path


def files(models: Models) -> set[str]:
    return {entry.sha256 for entry in models.store.entries()}


def test_what_was_used_least_recently_goes_first(models: Models) -> None:
    for at, name in ((300, "a"), (100, "b"), (200, "c")):
        used(models, brought(models, name), at)

    assert models.make_room(SIZE, (), even_in_use=False)
    assert models.present() == {"a", "c"}
    assert len(files(models)) == 2

    brought(models, "d")
    assert models.make_room(2 * SIZE, (), even_in_use=False)
    assert models.present() == {"d"}


def test_nothing_goes_while_there_is_room(models: Models) -> None:
    brought(models, "a")

    assert models.fits(2 * SIZE)
    assert not models.fits(2 * SIZE + 1)
    assert models.make_room(2 * SIZE, (), even_in_use=True)

    assert models.present() == {"a"}


def test_what_is_to_be_kept_is_spared(models: Models) -> None:
    for at, name in enumerate("abc"):
        used(models, brought(models, name), at)

    assert models.make_room(SIZE, {"a", "b"}, even_in_use=True)

    assert models.present() == {"a", "b"}


def test_what_has_just_come_is_spared(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    models = Models(store, budget=2 * SIZE, residency_s=10)
    brought(models, "a")
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 9)
    brought(models, "b")
    assert not models.make_room(SIZE, (), even_in_use=True)
    assert models.present() == {"a", "b"}

    monkeypatch.setattr(time, "time", lambda: now + 11)

    assert models.make_room(SIZE, (), even_in_use=True)
    assert models.present() == {"b"}


def test_what_is_in_use_goes_only_if_it_must_and_after_its_job(models: Models) -> None:
    held = {name: brought(models, name) for name in "abc"}
    for at, model in enumerate(held.values()):
        used(models, model, at)

    with models.using(["a"]):
        used(models, held["a"], 0)
        assert models.make_room(SIZE, (), even_in_use=False)
        assert models.present() == {"a", "c"}  # "a" was used earlier, but is in use

        with models.using(["c"]):
            assert not models.make_room(2 * SIZE, (), even_in_use=False)
            assert models.present() == {"a", "c"}
            assert not models.make_room(2 * SIZE, (), even_in_use=True)  # not yet
            assert models.present() == {"c"}
            assert link(models, held["a"]).exists()

    assert models.make_room(2 * SIZE, (), even_in_use=False)
    assert models.present() == {"c"}
    assert files(models) == {held["c"].sha256}


def test_what_no_job_uses_goes_before_what_one_does(models: Models) -> None:
    busy, free = brought(models, "busy"), brought(models, "free")
    used(models, free, 200)

    with models.using(["busy"]):
        used(models, busy, 100)
        assert models.make_room(2 * SIZE, (), even_in_use=True)

    assert models.present() == {"busy"}


def test_nothing_goes_in_vain(models: Models) -> None:
    for name in "abc":
        brought(models, name)

    assert not models.make_room(2 * SIZE, {"a", "b"}, even_in_use=True)
    assert not models.make_room(9 * SIZE, (), even_in_use=True)

    assert models.present() == {"a", "b", "c"}


def test_the_same_bytes_count_once(models: Models) -> None:
    for name in ("a", "alias-1", "alias-2"):
        used(models, brought(models, name, data=b"x" * SIZE, path=f"{name}.bin"), 1)
    other = brought(models, "other")
    used(models, other, 2)

    assert models.fits(SIZE)
    assert not models.fits(SIZE + 1)
    assert models.make_room(2 * SIZE, (), even_in_use=False)
    assert models.present() == {"other"}
    assert files(models) == {other.sha256}


def test_without_a_budget_the_disk_says_what_fits(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = [3 * SIZE]

    def usage(folder: Path) -> SimpleNamespace:
        assert folder.is_dir()
        taken = sum(entry.size for entry in store.entries())
        return SimpleNamespace(free=RESERVE_BYTES + room[0] - taken)

    monkeypatch.setattr(shutil, "disk_usage", usage)
    models = Models(store, residency_s=0)
    assert models.could_hold(3 * SIZE)
    assert not models.could_hold(3 * SIZE + 1)

    for at, name in enumerate("abc"):
        used(models, brought(models, name), at)
    assert models.could_hold(3 * SIZE)
    assert not models.fits(1)
    assert models.make_room(SIZE, (), even_in_use=False)
    assert models.present() == {"b", "c"}

    room[0] = SIZE + 5  # somebody else filled the disk
    assert not models.could_hold(2 * SIZE)
    assert models.make_room(5, (), even_in_use=False)
    assert models.present() == {"c"}


def test_a_budget_says_what_could_be_held(models: Models) -> None:
    brought(models, "a")

    assert models.could_hold(3 * SIZE)
    assert not models.could_hold(3 * SIZE + 1)
