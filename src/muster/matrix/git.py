"""Asks git about one tree, whatever repository a hook that started us works for."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

from muster.errors import MusterError

if TYPE_CHECKING:
    from pathlib import Path


class GitFailed(MusterError):
    """Git could not do what was asked."""


def git(*arguments: str, tree: Path, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run git in a folder. A repository above it is none of its own. Raises ``GitFailed``."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    done = subprocess.run(
        ["git", *arguments],
        cwd=tree,
        env={**env, "GIT_CEILING_DIRECTORIES": str(tree.resolve().parent), "LC_ALL": "C"},
        capture_output=True,
        text=True,
        check=False,
    )
    if check and done.returncode:
        raise GitFailed(f"`git {' '.join(arguments)}` in {tree} failed: {done.stderr.strip()}")
    return done
