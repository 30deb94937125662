"""Which revision of the sources runs."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def revision(root: Path) -> tuple[str, bool]:
    """Return the commit that is checked out, and whether the tree differs from it.

    Where Git knows none (an unpacked archive), the commit is ``unknown`` and the tree differs.
    """
    commit = _git(root, "rev-parse", "HEAD")
    if commit is None:
        return "unknown", True
    return commit, bool(_git(root, "status", "--porcelain"))


def _git(root: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments], capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        return None
    return None if done.returncode else done.stdout.strip()
