"""What a store holds, by name; and cleaning it up, by age and by budget."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict

from muster.downloads import archive
from muster.downloads.content import Content
from muster.downloads.errors import ContentMismatch, UnsafeArchive
from muster.downloads.files import read_json
from muster.downloads.models import Models
from muster.downloads.packages import CODE
from muster.downloads.releases import release_of

if TYPE_CHECKING:
    from pathlib import Path

    from muster.downloads.store import Store

MAX_AGE_S = 30 * 86_400.0
"""Machines remove what was not used for so long when they start."""


class Item(BaseModel):
    """One file of a store. ``used_at`` is when it was last used (epoch), ``size`` in bytes."""

    model_config = ConfigDict(frozen=True)

    kind: Literal["release", "model", "unnamed"]
    name: str
    sha256: str
    size: int
    used_at: float
    in_use: bool


class Pruned(BaseModel):
    """What a clean-up removed, and what it would have but for its being in use."""

    removed: list[Item]
    spared: list[Item]
    partials: int


def contents(store: Store) -> list[Item]:
    """Return what the store holds, the least recently used first."""
    named: dict[str, tuple[Literal["release", "model", "unnamed"], str]] = {
        **{sha256: ("release", name) for sha256, name, _ in _releases(store)},
        **{held.model.sha256: ("model", held.model.name) for held in Models(store).held()},
    }
    items = []
    for entry in store.entries():
        kind, name = named.get(entry.sha256, ("unnamed", ""))
        items.append(
            Item(
                kind=kind,
                name=name,
                sha256=entry.sha256,
                size=entry.size,
                used_at=entry.used_at,
                in_use=entry.in_use,
            )
        )
    return items


def check(store: Store, item: Item) -> str:
    """Read a file, and what was unpacked from it; return what is wrong with them, in words."""
    try:
        store.verify(Content(item.sha256), thoroughly=True)
        for folder in (store.folder / "unpacked").glob(f"[!.]*-{item.sha256[:16]}"):
            archive.compare(store.path(item.sha256), CODE, folder / CODE)
    except (ContentMismatch, UnsafeArchive, FileNotFoundError) as error:
        return str(error)
    return ""


def prune(
    store: Store,
    *,
    max_age_s: float = MAX_AGE_S,
    budget: int | None = None,
    models_kept: frozenset[str] = frozenset(),
) -> Pruned:
    """Remove what was not used for so long; then what was used least, until the rest fits.

    What is in use stays in any case, and so do ``models_kept``. ``budget`` is in bytes; None: any
    number.
    """
    items = [
        item for item in contents(store) if not (item.kind == "model" and item.name in models_kept)
    ]
    left = sum(item.size for item in items)
    removed, spared = [], []
    for item in items:
        too_old = time.time() - item.used_at > max_age_s
        if not too_old and (budget is None or left <= budget):
            continue
        if _remove(store, item):
            removed.append(item)
            left -= item.size
        else:
            spared.append(item)
    _sweep_folders(store)
    return Pruned(removed=removed, spared=spared, partials=store.sweep_partials(max_age_s))


def _remove(store: Store, item: Item) -> bool:
    if item.in_use:
        return False
    if item.kind == "model":
        models = Models(store)
        models.withdraw(item.name)
        models.clear()
        return not store.path(item.sha256).exists()
    gone = store.remove(item.sha256)
    for sha256, _, note in _releases(store):
        if gone and sha256 == item.sha256:
            note.unlink(missing_ok=True)
    return gone


def _sweep_folders(store: Store) -> None:
    """Remove unpacked packages whose file is gone."""
    kept = {entry.sha256[:16] for entry in store.entries()}
    for folder in (store.folder / "unpacked").glob("[!.]*"):
        if folder.name.rpartition("-")[2] not in kept:
            with suppress(FileNotFoundError):  # another machine on the same store did it
                store.throw_away(folder)
    store.empty_trash()


def _releases(store: Store) -> list[tuple[str, str, Path]]:
    """Return the digest, the name and the note of each release that is known."""
    found = []
    for note in (store.folder / "names" / "release").glob("*.json"):
        kept = read_json(note)
        release = release_of(str(kept.get("url", "")))
        if release is not None:
            found.append((str(kept.get("sha256", "")), f"{release} {release.asset}", note))
    return found
