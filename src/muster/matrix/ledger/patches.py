"""Asks git about faults and records: whether patches apply, and which records were removed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from muster.matrix.git import git
from muster.matrix.ledger.book import FOLDER, RECORD

if TYPE_CHECKING:
    from pathlib import Path


def trouble_with(patch: Path, root: Path) -> str | None:
    """Say why a patch does not apply to the project as it is; None if it does."""
    asked = git("apply", "--check", str(patch), tree=root, check=False)
    if asked.returncode == 0:
        return None
    said = [line for line in asked.stderr.splitlines() if line.startswith("error: ")]
    return "; ".join(line.removeprefix("error: ") for line in said) or asked.stderr.strip()


def removed(root: Path) -> set[str]:
    """Return the folders of records that the project had and has no more; renaming is no loss."""
    log = ("log", "--format=", "--name-only", "-M", "--diff-filter=D")
    asked = git(*log, "--", f"{FOLDER}/*/{RECORD}", tree=root, check=False)
    # Where there is no history, none is lost.
    folders = {line.split("/")[-2] for line in asked.stdout.splitlines() if "/" in line}
    return {folder for folder in folders if not (root / FOLDER / folder / RECORD).exists()}
