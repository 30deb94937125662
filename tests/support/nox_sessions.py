"""Nox, asked about the project's sessions, or run on a copy of it."""

from __future__ import annotations

import importlib.util
import json
import os
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
COMMAND = "MUSTER_NOX"
"""Set by the sessions themselves: how Nox is called, since their environments do not have it."""


@dataclass(frozen=True)
class Session:
    """A session, as ``nox --list --json`` tells of it."""

    name: str
    tags: frozenset[str]


def sessions(*options: str) -> list[Session]:
    """Return the sessions that these options select; without any, those that ``nox`` alone runs."""
    listed: list[dict[str, Any]] = json.loads(nox("--list", "--json", *options))
    return [Session(each["session"], frozenset(each["tags"])) for each in listed]


def nox(*arguments: str, folder: Path = ROOT, **environment: str) -> str:
    """Run Nox, which must succeed, and return what it and its sessions printed."""
    done = subprocess.run(
        [*_command(), *arguments],
        cwd=folder,
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
        | environment,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, f"nox {shlex.join(arguments)} failed:\n{done.stdout}{done.stderr}"
    return done.stdout


def _command() -> list[str]:
    if COMMAND in os.environ:
        return shlex.split(os.environ[COMMAND])
    if importlib.util.find_spec("nox"):
        return [sys.executable, "-m", "nox"]
    return ["nox"]
