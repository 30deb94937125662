"""Asks git about faults and records: whether patches apply, and which records were removed."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

from muster.matrix.ledger.book import FOLDER, RECORD

if TYPE_CHECKING:
    from pathlib import Path


def trouble_with(patch: Path, root: Path) -> str | None:
    """Say why a patch does not apply to the project as it is; None if it does."""
    asked = _git(root, "apply", "--check", str(patch))
    if asked.returncode == 0:
        return None
    said = [line for line in asked.stderr.splitlines() if line.startswith("error: ")]
    return "; ".join(line.removeprefix("error: ") for line in said) or asked.stderr.strip()


def removed(root: Path) -> set[str]:
    """Return the folders of records that the project had and has no more; renaming is no loss."""
    log = ("log", "--format=", "--name-only", "-M", "--diff-filter=D")
    asked = _git(root, *log, "--", f"{FOLDER}/*/{RECORD}")
    # Where there is no history, none is lost.
    folders = {line.split("/")[-2] for line in asked.stdout.splitlines() if "/" in line}
    return {folder for folder in folders if not (root / FOLDER / folder / RECORD).exists()}


def _git(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    # A repository above the project is none of its own: git would leave out what lies below it.
    env = os.environ | {"GIT_CEILING_DIRECTORIES": str(root.resolve().parent), "LC_ALL": "C"}
    return subprocess.run(
        ["git", *arguments], cwd=root, env=env, capture_output=True, text=True, check=False
    )
