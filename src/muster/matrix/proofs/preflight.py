"""Sees that Python takes the code from the copy, and that the fault did not break its import."""

from __future__ import annotations

import subprocess
import sys
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from muster.errors import MusterError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

LIMIT_S = 60.0

# In a process that a process started, as tests start theirs.
_PROBE = """
import importlib, os, subprocess, sys
source, depth, *modules = sys.argv[1:]
for name in ("muster", *modules):
    module = importlib.import_module(name)
    if not os.path.realpath(module.__file__).startswith(os.path.realpath(source) + os.sep):
        sys.exit(f"{name} comes from {module.__file__}")
if depth == "1":
    sys.exit(subprocess.call([sys.executable, "-c", PROBE, source, "2"]))
"""


class NotImportable(MusterError):
    """The copy's code cannot be imported."""


def check_import(tree: Path, files: Iterable[str], env: Mapping[str, str]) -> None:
    """Raise ``NotImportable`` unless Muster and the modules in these files come from the copy."""
    source = tree / "src"
    modules = [name for file in files if (name := _module(file))]
    probe = f"PROBE = {_PROBE!r}\n{_PROBE}"
    try:
        done = subprocess.run(
            [sys.executable, "-c", probe, str(source), "1", *modules],
            cwd=tree,
            env=env,
            capture_output=True,
            text=True,
            check=False,
            timeout=LIMIT_S,
        )
    except subprocess.TimeoutExpired:
        raise NotImportable(f"importing it took longer than {LIMIT_S:g} s") from None
    if done.returncode:
        said = done.stderr.strip().rpartition("\n")[2]
        raise NotImportable(f"it does not import from its copy: {said}")


def _module(file: str) -> str:
    """Return the module in a file of ``src``; empty for one that runs when it is imported."""
    path = PurePosixPath(file)
    if path.suffix != ".py" or path.parts[0] != "src" or path.name == "__main__.py":
        return ""
    parts = path.with_suffix("").parts[1:]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
