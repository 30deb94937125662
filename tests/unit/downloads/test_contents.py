"""What a store holds, by name, and its clean-up."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest

from muster.downloads.content import Content
from muster.downloads.contents import MAX_AGE_S, check, contents, prune
from muster.downloads.packages import CODE
from support.downloads import (
    FakeFetcher,
    brought,
    held,
    make_package,
    nothing_told,
    planted,
    release_named,
    sha256_of,
    spoil,
    used,
)

if TYPE_CHECKING:
    from pathlib import Path

    from muster.downloads.models import Models
    from muster.downloads.packages import Packages
    from muster.downloads.store import Store

DAY_S = 86_400.0


def last_used(store: Store, sha256: str, days_ago: float) -> None:
    at = time.time() - days_ago * DAY_S
    os.utime(store.folder / "locks" / f"use-{sha256}", (at, at))


@pytest.mark.anyio
async def test_releases_and_models_are_listed_by_name_the_longest_unused_first(
    packages: Packages, server: FakeFetcher, models: Models, store: Store
) -> None:
    digest = server.publish(release_named("v1"), make_package("1"))
    await held(packages)
    used(models, brought(models, "base"), at=1000)
    unnamed = planted(store, b"whose is it?", name="ab" * 32)

    items = contents(store)

    assert [(item.kind, item.name) for item in items] == [
        ("model", "base"),
        ("release", "acme/muster@v1 worker.pyz"),
        ("unnamed", ""),
    ]
    assert [item.sha256 for item in items[1:]] == [digest, unnamed.name]
    assert not any(item.in_use for item in items)


@pytest.mark.anyio
async def test_a_package_that_was_spoiled_is_found_by_reading_it(
    packages: Packages, server: FakeFetcher, store: Store
) -> None:
    server.publish(release_named("v1"), make_package("1"))
    package = await held(packages)
    [item] = contents(store)
    assert check(store, item) == ""

    spoil(package.folder / CODE / "muster" / "__init__.py", b"# an older one")
    assert "muster/__init__.py is refused" in check(store, item)

    spoil(store.path(item.sha256), b"truncated")
    assert f"{store.path(item.sha256)} is refused: its SHA-256" in check(store, item)


@pytest.mark.anyio
async def test_what_was_not_used_for_long_goes_with_all_that_was_made_of_it(
    packages: Packages, server: FakeFetcher, models: Models, store: Store
) -> None:
    old, new = release_named("v1"), release_named("v2")
    server.publish(old, make_package("1"))
    server.publish(new, make_package("2"))
    gone, stays = await held(packages, old), await held(packages, new)
    model = brought(models, "base")
    for sha256, days in ((gone.sha256, 31), (stays.sha256, 29), (model.sha256, 31)):
        with store.use(Content(sha256)):
            pass
        last_used(store, sha256, days)

    pruned = prune(store)

    assert {item.sha256 for item in pruned.removed} == {gone.sha256, model.sha256}
    assert [item.sha256 for item in contents(store)] == [stays.sha256]
    assert not gone.folder.exists()
    assert stays.folder.exists()
    assert models.present() == frozenset()
    assert not (store.folder / "models" / model.path).is_symlink()


def test_what_is_in_use_or_to_be_kept_stays_however_old(models: Models, store: Store) -> None:
    running, kept, old = (brought(models, name) for name in ("running", "kept", "old"))
    with models.using(["running"]):
        for model in (running, kept, old):
            (store.folder / "locks" / f"use-{model.sha256}").touch()
            last_used(store, model.sha256, 365)

        pruned = prune(store, models_kept=frozenset({"kept"}))

    assert [item.name for item in pruned.removed] == ["old"]
    assert [item.name for item in pruned.spared] == ["running"]
    assert models.present() == {"running", "kept"}


def test_a_budget_takes_the_longest_unused_until_the_rest_fits(
    models: Models, store: Store
) -> None:
    for at, name in ((300, "a"), (100, "b"), (200, "c")):
        used(models, brought(models, name), at)

    pruned = prune(store, max_age_s=1e12, budget=20)

    assert [item.name for item in pruned.removed] == ["b"]
    assert models.present() == {"a", "c"}


@pytest.mark.anyio
async def test_downloads_that_nobody_goes_on_with_are_swept(store: Store) -> None:
    partial = store.folder / "partial" / f"{'cd' * 32}.part"
    partial.parent.mkdir(parents=True)
    partial.write_bytes(b"half")
    assert prune(store).partials == 0

    os.utime(partial, (time.time() - MAX_AGE_S - 1,) * 2)

    assert prune(store).partials == 1
    assert not partial.exists()


def test_two_machines_that_start_at_once_may_both_clean_up(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    orphan = store.folder / "unpacked" / f"v1-{'ab' * 8}"
    orphan.mkdir(parents=True)
    throw_away = store.throw_away

    def after_the_other(path: Path) -> None:
        throw_away(path)
        throw_away(path)

    monkeypatch.setattr(store, "throw_away", after_the_other)
    prune(store)

    assert not orphan.exists()


@pytest.mark.anyio
async def test_a_release_that_was_removed_is_fetched_again(
    packages: Packages, server: FakeFetcher, store: Store
) -> None:
    release = release_named("v1")
    digest = server.publish(release, make_package("1"))
    await held(packages)
    prune(store, max_age_s=-1)
    assert contents(store) == []

    async with packages.hold(release, digest, nothing_told) as package:
        assert sha256_of(store.path(digest).read_bytes()) == package.sha256 == digest
