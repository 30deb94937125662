"""Faults as patches: applied exactly, or not at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from muster.errors import MusterError
from muster.matrix.git import git
from muster.matrix.proofs.copies import forget_compiled

if TYPE_CHECKING:
    from pathlib import Path

_NOT_OURS = ("tests/", "failures/", "docs/")


class FaultRotted(MusterError):
    """A fault does not apply to the code as it is."""


def touched(patch: Path, tree: Path) -> list[str]:
    """Return the files that a patch changes. Raises ``FaultRotted`` if it is none."""
    told = git("apply", "--numstat", "-z", str(patch.resolve()), tree=tree, check=False)
    files = [line.split("\t", 2)[2] for line in told.stdout.split("\0") if line]
    if told.returncode or not files:
        raise FaultRotted(
            f"{patch.name} is not a patch: {told.stderr.strip() or 'it changes no file'}. "
            "Make it with `git diff`."
        )
    return files


def apply(patch: Path, tree: Path) -> list[str]:
    """Put a fault into a tree and return the files that it changed.

    Raises ``FaultRotted`` unless every line that it names is there as it says, and for a patch that
    changes tests instead of what they test.
    """
    files = touched(patch, tree)
    if astray := [name for name in files if name.startswith(_NOT_OURS)]:
        raise FaultRotted(f"{patch.name} changes {astray[0]}. A fault changes code, not its tests.")
    done = git("apply", "--whitespace=nowarn", str(patch.resolve()), tree=tree, check=False)
    if done.returncode:
        said = done.stderr.strip().replace("\n", "; ")
        raise FaultRotted(
            f"{patch.name} does not apply: {said}. Make the same mistake in the code as it is now, "
            "and save `git diff` of it as the fault."
        )
    forget_compiled(tree, files)
    return files
