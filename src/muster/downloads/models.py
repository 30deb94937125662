"""The models that a machine has: offered to jobs, linked for services, removed for room.

A model is offered while ``names/model/NAME.json`` is in the store, and found by services at its
path below ``models/``. Whoever runs a job holds its models; one that is to go is first withdrawn
from the offer, and deleted once nobody holds it.
"""

from __future__ import annotations

import os
import secrets
import shutil
import time
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

import structlog
from pydantic import BaseModel, ConfigDict, ValidationError

from muster.downloads.catalogue import Model
from muster.downloads.errors import ContentMismatch
from muster.downloads.files import read_json, write_json
from muster.downloads.partial import RESERVE_BYTES
from muster.errors import MusterError, NotFound

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator
    from pathlib import Path

    from muster.downloads.store import Store

MODELS = "models"
"""The folder of a store in which services find models."""

RESIDENCY_S = 10.0
"""For so long a model that has come stays, so that the jobs that wait for it find it."""


_log = structlog.get_logger()


class ModelGone(MusterError):
    """A model that was offered is there no longer."""


class Held(BaseModel):
    """A model that is there, and since when (epoch)."""

    model_config = ConfigDict(frozen=True)

    model: Model
    since: float


class Models:
    """The models in a store. They may take ``budget`` bytes; None: what the disk has."""

    def __init__(
        self, store: Store, *, budget: int | None = None, residency_s: float = RESIDENCY_S
    ) -> None:
        self.store = store
        self._budget = budget
        self._residency_s = residency_s
        self._names = store.folder / "names" / "model"
        self._leaving = store.folder / "names" / "leaving"
        self._links = store.folder / MODELS

    def present(self) -> frozenset[str]:
        """Return the names of the models that are offered."""
        try:
            files = os.listdir(self._names)  # noqa: PTH208  (looked at with every heartbeat)
        except FileNotFoundError:
            return frozenset()
        suffix = ".json"
        return frozenset(
            unquote(file.removesuffix(suffix))
            for file in files
            if file.endswith(suffix) and not file.startswith(".")
        )

    def held(self) -> list[Held]:
        """Return the models that are offered, in the order of their names."""
        notes = (_read(_note(self._names, name)) for name in sorted(self.present()))
        return [held for held in notes if held]

    @contextmanager
    def using(self, names: Iterable[str]) -> Iterator[None]:
        """Keep models while a job runs with them. Raises ``ModelGone``, naming the first."""
        with ExitStack() as stack:
            for name in sorted(names):
                held = _read(_note(self._names, name))
                if not held:
                    raise ModelGone(f"Model {name} is no longer here.")
                try:
                    stack.enter_context(self.store.use(held.model.content))
                except (NotFound, ContentMismatch) as error:
                    raise ModelGone(f"Model {name} is no longer here: {error}") from error
            # One that was withdrawn before it was held would be deleted under the job.
            if gone := set(names) - self.present():
                raise ModelGone(f"Model {min(gone)} is no longer here.")
            yield

    def offer(self, model: Model) -> None:
        """Offer a model whose file is in the store, and link it for services."""
        link = self._links / model.path
        link.parent.mkdir(parents=True, exist_ok=True)
        target = os.path.relpath(self.store.path(model.sha256), link.parent)
        fresh = link.with_name(f".{secrets.token_hex(8)}.new")
        fresh.symlink_to(target)
        fresh.replace(link)
        held = Held(model=model, since=time.time())
        write_json(_note(self._names, model.name), held.model_dump(mode="json"))

    def withdraw(self, name: str) -> None:
        """Offer a model no longer. It goes once nobody holds it: see ``clear``."""
        self._leaving.mkdir(parents=True, exist_ok=True)
        # Two versions of one model may be on their way out, the first still in use.
        leaving = self._leaving / f"{secrets.token_hex(8)}.json"
        try:
            _note(self._names, name).replace(leaving)
        except FileNotFoundError:  # withdrawn by another machine on the same store
            return

    def clear(self) -> None:
        """Delete the withdrawn models that nobody holds any more."""
        for note, model in self._leaving_notes():
            # The same bytes may be offered, under another name or again.
            offered = any(other.model.sha256 == model.sha256 for other in self.held())
            if offered or self.store.remove(model.sha256):
                self._unlink(model)
                note.unlink(missing_ok=True)

    def _unlink(self, model: Model) -> None:
        """Remove a model's link, unless it is another model's by now."""
        link = self._links / model.path
        if model.path in {other.model.path for other in self.held()}:
            return
        with suppress(FileNotFoundError):  # another machine on the same store did it
            if link.is_symlink() and link.readlink().name == model.sha256:
                link.unlink()

    def retain(self, catalogue: Iterable[Model]) -> None:
        """Withdraw what the catalogue lists differently, or no more: never a stale version."""
        listed = {model.name: model for model in catalogue}
        for held in self.held():
            if listed.get(held.model.name) != held.model:
                self.withdraw(held.model.name)

    def audit(self) -> None:
        """Withdraw the models whose files are not what they should be, and say so."""
        for name in self.present():
            if _read(_note(self._names, name)) is None:
                _note(self._names, name).unlink(missing_ok=True)
        for held in self.held():
            try:
                self.store.verify(held.model.content)
            except (ContentMismatch, FileNotFoundError) as error:
                _log.error("model_refused", model=held.model.name, why=str(error))
                self.withdraw(held.model.name)

    def leaving(self) -> bool:
        """Whether withdrawn models are still there, for jobs that use them."""
        return bool(self._leaving_notes())

    def could_hold(self, size: int) -> bool:
        """Whether models of so many bytes fit at all."""
        return size <= self._room()

    def fits(self, size: int) -> bool:
        """Whether so many bytes fit beside what is there."""
        return size + self._taken() <= self._room()

    def make_room(self, size: int, keep: Collection[str], *, even_in_use: bool) -> bool:
        """Withdraw the least recently used models until so many bytes fit; return whether they do.

        Those in ``keep`` stay, those that have just come too, and those in use unless
        ``even_in_use``: these are withdrawn at once, and deleted after the jobs that use them.
        """
        going = self._candidates(keep, even_in_use=even_in_use)
        if sum(held.model.size for held in going) >= self._missing(size):  # else all in vain
            for held in going:
                if self._missing(size) <= 0:
                    break
                self.withdraw(held.model.name)
        self.clear()
        return self.fits(size)

    def _candidates(self, keep: Collection[str], *, even_in_use: bool) -> list[Held]:
        """Return what may go, the first to go first."""
        usage = {entry.sha256: entry for entry in self.store.entries()}
        now = time.time()
        ranked = []
        for held in self.held():
            entry = usage.get(held.model.sha256)
            in_use = entry is not None and entry.in_use
            young = now - held.since < self._residency_s
            if held.model.name in keep or young or (in_use and not even_in_use):
                continue
            ranked.append((in_use, entry.used_at if entry else 0.0, held))
        return [held for *_, held in sorted(ranked, key=lambda each: each[:2])]

    def _leaving_notes(self) -> list[tuple[Path, Model]]:
        notes = [(note, _read(note)) for note in self._leaving.glob("*.json")]
        return [(note, held.model) for note, held in notes if held]

    def _missing(self, size: int) -> int:
        """Return how many bytes are wanting for ``size`` more, all withdrawn models gone."""
        return size + _bytes([each.model for each in self.held()]) - self._room()

    def _taken(self) -> int:
        """Return the bytes of all models that are on the disk."""
        offered = [each.model for each in self.held()]
        return _bytes([*offered, *(model for _, model in self._leaving_notes())])

    def _room(self) -> int:
        if self._budget is not None:
            return self._budget
        self.store.folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(self.store.folder).free - RESERVE_BYTES
        return max(0, free + self._taken() + self.store.partial_bytes())


def _bytes(models: Iterable[Model]) -> int:
    """Return how many bytes models take; the same bytes count once."""
    return sum({model.sha256: model.size for model in models}.values())


def _read(note: Path) -> Held | None:
    """Return what a note says, whatever else another release of Muster wrote into it."""
    kept = read_json(note)
    model = kept.get("model")
    if not isinstance(model, dict):
        return None
    known = {name: value for name, value in model.items() if name in Model.model_fields}
    try:
        return Held(model=Model.model_validate(known), since=kept.get("since", 0.0))
    except ValidationError as error:
        _log.error("note_not_understood", note=str(note), why=str(error))
        return None


def _note(folder: Path, name: str) -> Path:
    return folder / f"{quote(name, safe='')}.json"
