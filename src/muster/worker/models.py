"""The models that a worker offers: those that it always has, and those that its machine fetched."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from muster.downloads.models import Models
from muster.downloads.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class WorkerModels:
    """What a worker sees of its machine's store; without one it has only what is ``installed``."""

    def __init__(self, store_dir: Path | None, installed: frozenset[str] = frozenset()) -> None:
        self._models = Models(Store(store_dir)) if store_dir else None
        self._installed = installed

    def fetched(self) -> frozenset[str]:
        """Return the models that the machine has fetched and offers now."""
        return self._models.present() if self._models else frozenset()

    @contextmanager
    def using(self, names: frozenset[str]) -> Iterator[None]:
        """Keep a job's models from being removed. Raises ``ModelGone`` when one was already."""
        if self._models is None:
            yield
        else:
            with self._models.using(names - self._installed):
                yield
