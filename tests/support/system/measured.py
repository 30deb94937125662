"""Programs in containers that measure what of Muster they run, and what comes of that.

``python -m support.system.measured FOLDER FILE`` checks and combines what they left in a folder.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from coverage import CoverageData

if TYPE_CHECKING:
    from support.system.compose import Service

EXPECTED = {
    "server": "muster/server/serving.py",
    "agent": "muster/machine/agent.py",
    "worker": "muster/worker/loop.py",
}
"""A module of each program that no other one runs."""
_PYPROJECT = Path(__file__).parents[3] / "pyproject.toml"
_FOLDER, _CONFIG = "/coverage", "/etc/coverage.toml"


class NotMeasured(Exception):
    """A program left no data, though its fleet was to be measured."""


def prepare(folder: Path) -> None:
    """Make a folder that the programs may write into: in containers they are another user."""
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o777)


def measured(service: Service, folder: Path) -> Service:
    """Return the service with its programs measured as ``pyproject.toml`` says, into the folder.

    Its image has the package ``coverage``, which begins wherever the variable is set.
    """
    mounts = [
        {"Type": "bind", "Source": str(folder), "Target": _FOLDER, "ReadOnly": False},
        {"Type": "bind", "Source": str(_PYPROJECT), "Target": _CONFIG, "ReadOnly": True},
    ]
    variables = {"COVERAGE_PROCESS_START": _CONFIG, "COVERAGE_FILE": f"{_FOLDER}/data"}
    return replace(
        service,
        environment=service.environment | variables,
        options=service.options | {"mounts": mounts},
    )


def combine(folder: Path, target: str) -> None:
    """Combine the data of all programs into one file. Raises ``NotMeasured`` if some left none."""
    files = sorted(str(file) for file in folder.glob("data.*"))
    left = set().union(*map(_modules, files))
    missing = [
        program
        for program, module in EXPECTED.items()
        if not any(each.endswith(f"/{module}") for each in left)
    ]
    if missing:
        raise NotMeasured(
            f"Of {', '.join(missing)} there are no data among the {len(files)} files in {folder}: "
            "none ran, or none ended by itself. A program that is killed writes nothing; run the "
            "whole session again."
        )
    # In a process of its own: a process that is measured itself would lose what it measured so far.
    command = (sys.executable, "-m", "coverage", "combine", "--quiet", f"--data-file={target}")
    subprocess.run([*command, *files], check=True)


def _modules(file: str) -> set[str]:
    data = CoverageData(file)
    data.read()
    return {module for module in data.measured_files() if data.lines(module)}


if __name__ == "__main__":
    try:
        combine(Path(sys.argv[1]), sys.argv[2])
    except NotMeasured as error:
        sys.exit(str(error))
