"""Brings run files into the store."""

from __future__ import annotations

from typing import TYPE_CHECKING

from muster.matrix.results.runfile import NoRunYet, read, run_files

if TYPE_CHECKING:
    from pathlib import Path

    from muster.matrix.results.store import Store


def import_folder(store: Store, folder: Path) -> list[str]:
    """Import a folder's runs that are over; return the ids of those that were new."""
    known = {run.id for run in store.runs()}
    new = []
    for path in run_files(folder):
        if path.stem.rpartition("-")[2] in known:
            continue
        try:
            run = read(path)
        except NoRunYet:
            continue
        if store.add(run):
            new.append(run.head.id)
    return new
