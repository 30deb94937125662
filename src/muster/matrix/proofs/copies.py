"""Copies of the work tree, in which faults are put and tests run."""

from __future__ import annotations

import re
import shutil
from typing import TYPE_CHECKING

from muster.matrix.git import git

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_LEFT_BEHIND = frozenset({".hypothesis", ".pytest_cache", "results"})
_HALF_WRITTEN = re.compile(r"\.pyc\.\d+$")


def copy_tree(root: Path, target: Path) -> None:
    """Copy a work tree as it is: what git tracks, and what is new and not ignored."""
    listed = git("ls-files", "-z", "--cached", "--others", "--exclude-standard", tree=root)
    for name in filter(None, listed.stdout.split("\0")):
        source, copy = root / name, target / name
        if not source.is_symlink() and not source.is_file():  # deleted, or another repository
            continue
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, copy, follow_symlinks=False)


def copy_copy(source: Path, target: Path) -> None:
    """Copy a copy with what Python compiled in it, without what tests left."""

    def ignored(folder: str, names: list[str]) -> set[str]:
        left = _LEFT_BEHIND if folder == str(source) else frozenset[str]()
        return {name for name in names if name in left or _HALF_WRITTEN.search(name)}

    shutil.copytree(source, target, symlinks=True, ignore=ignored)


def forget_compiled(tree: Path, files: Iterable[str]) -> None:
    """Remove what was compiled of files that have changed: their times may be the same."""
    for name in files:
        file = tree / name
        for compiled in (file.parent / "__pycache__").glob(f"{file.stem}.*"):
            compiled.unlink()
