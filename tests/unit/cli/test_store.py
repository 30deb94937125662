"""``muster store``: what people and scripts see of the files that a machine keeps."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import httpx
import pytest

from muster.downloads.models import Models
from muster.downloads.store import Store
from muster.errors import InvalidInput
from support.downloads import brought, make_package, sha256_of, spoil

if TYPE_CHECKING:
    from pathlib import Path

    import respx

    from support.cli import Muster


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    for name in ("MODEL_CATALOGUE", "MODELS_KEPT", "WORKER_RELEASE", "RELEASE_HOST"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MUSTER_STORE_DIR", str(tmp_path / "store"))
    return Store(tmp_path / "store")


@pytest.fixture
def models(store: Store) -> Models:
    return Models(store)


def test_an_empty_store_says_so(muster: Muster, store: Store) -> None:
    assert muster("store", "ls").out == "The store is empty.\n"
    assert json.loads(muster("store", "ls", "--json").out) == []


def test_lists_what_there_is(muster: Muster, models: Models) -> None:
    model = brought(models, "sdxl-base", data=b"x" * 2_500_000)

    with models.using(["sdxl-base"]):
        shown = muster("store", "ls").out

    assert "sdxl-base" in shown
    assert "2.5 MB" in shown
    assert "in use" in shown
    assert shown.endswith("1 files, 2.5 MB\n")
    [item] = json.loads(muster("store", "ls", "--json").out)
    assert (item["kind"], item["sha256"], item["in_use"]) == ("model", model.sha256, False)


def test_another_folder_is_named_by_an_option(muster: Muster, tmp_path: Path, store: Store) -> None:
    brought(Models(Store(tmp_path / "other")), "base")

    assert "base" in muster("store", "ls", "--dir", str(tmp_path / "other")).out
    assert muster("store", "ls").out == "The store is empty.\n"


def test_verify_names_the_file_that_is_wrong_and_ends_with_1(
    muster: Muster, models: Models
) -> None:
    brought(models, "good")
    bad = brought(models, "bad")
    assert muster("store", "verify").out == "2 of 2 files are as they should be.\n"

    spoil(models.store.path(bad.sha256), b"other byte")

    outcome = muster("store", "verify")
    assert outcome.code == 1
    assert f"{bad.sha256} is refused: its SHA-256 should be {bad.sha256}" in outcome.out
    assert "1 of 2 files are as they should be." in outcome.out
    assert list(json.loads(muster("store", "verify", "--json").out)["bad"]) == [bad.sha256]


def test_prune_removes_by_budget_and_tells_what(muster: Muster, models: Models) -> None:
    brought(models, "kept-in-use")
    brought(models, "other")

    with models.using(["kept-in-use"]):
        said = muster("store", "prune", "--budget", "0B").out

    assert "other" in said
    assert "Removed 1 files, 10 bytes." in said
    assert "Kept 1 that are in use." in said
    assert models.present() == {"kept-in-use"}


def test_prune_spares_what_a_machine_is_to_keep(
    muster: Muster, models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODELS_KEPT", "base")
    brought(models, "base")

    pruned = json.loads(muster("store", "prune", "--budget", "0B", "--json").out)

    assert (pruned["removed"], models.present()) == ([], {"base"})


def test_a_budget_that_is_no_size_is_refused(muster: Muster, store: Store) -> None:
    error = muster("store", "prune", "--budget", "much").error

    assert isinstance(error, InvalidInput)
    assert str(error) == "--budget: 'much' is not a size. Write it as 200GiB or 500MB."


def test_get_fetches_a_release(muster: Muster, store: Store, respx_mock: respx.MockRouter) -> None:
    package = make_package("1")
    digest = sha256_of(package)
    url = "https://github.com/acme/muster/releases/download/v1/worker.pyz"
    respx_mock.get(url).mock(return_value=httpx.Response(200, content=package))

    said = muster("store", "get", url, "--sha256", digest).out

    folder = store.folder / "unpacked" / f"v1-{digest[:16]}"
    assert said == f"acme/muster@v1 {digest} {folder}\n"
    assert (folder / "release.json").exists()


def test_get_fetches_a_model_of_the_catalogue(
    muster: Muster,
    models: Models,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    respx_mock: respx.MockRouter,
) -> None:
    url = "https://github.com/acme/models/releases/download/v1/base"
    digest = sha256_of(b"weights")
    catalogue = tmp_path / "models.toml"
    catalogue.write_text(
        f'[[model]]\nname = "base@v1"\nurl = "{url}"\nsha256 = "{digest}"\nsize = 7\n'
    )
    monkeypatch.setenv("MODEL_CATALOGUE", str(catalogue))
    respx_mock.get(url).mock(return_value=httpx.Response(200, content=b"weights"))

    said = muster("store", "get", "base@v1").out

    assert said == f"base@v1 {digest} {models.store.path(digest)}\n"
    assert models.present() == {"base@v1"}


def test_get_refuses_what_is_neither(muster: Muster, store: Store) -> None:
    error = muster("store", "get", "no-such-model").error

    assert isinstance(error, InvalidInput)
    assert "owner/repo@v1.2.3" in str(error)
