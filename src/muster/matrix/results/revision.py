"""Which revision of the sources runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from muster.matrix.git import GitFailed, git

if TYPE_CHECKING:
    from pathlib import Path


def revision(root: Path) -> tuple[str, bool]:
    """Return the commit that is checked out, and whether the tree differs from it.

    Where Git knows none (an unpacked archive), the commit is ``unknown`` and the tree differs.
    """
    try:
        commit = git("rev-parse", "HEAD", tree=root).stdout.strip()
        return commit, bool(git("status", "--porcelain", tree=root).stdout)
    except (GitFailed, FileNotFoundError):
        return "unknown", True
