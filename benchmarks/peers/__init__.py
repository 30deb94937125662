"""The contestants: Muster and the queues that it is measured against, each with its own worker.

A contestant is a program with the commands ``submit N``, ``ping N FILE`` and ``worker N`` (N at
once). It finds Redis at ``BENCH_REDIS_URL``. ``submit`` prints the seconds that it took. ``ping``
submits one job, waits until FILE is there, and then submits N more with pauses. Jobs carry the time
at which they were sent, and tell the worker's stopwatch when they start; see ``benchmarks.tally``.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

MUSTER = [sys.executable, "-m", "benchmarks.peers.muster"]
BULLMQ = Path(__file__).parent / "bullmq"


@dataclass(frozen=True, slots=True)
class Peer:
    """Another queue: its name and its program."""

    name: str
    program: list[str]


def installed(folder: Path) -> tuple[list[Peer], list[str]]:
    """Return the peers that can run here, and why others cannot. BullMQ goes into ``folder``."""
    peers, missing = [], []
    for name, module, package in (
        ("dramatiq", "dramatiq", "dramatiq"),
        ("taskiq", "taskiq", "taskiq_redis"),
        ("SAQ", "saq", "saq"),
    ):
        if find_spec(package):
            peers.append(Peer(name, [sys.executable, "-m", f"benchmarks.peers.{module}"]))
        else:
            missing.append(f"{name}: not installed (use `nox -s benchmarks`)")
    try:
        peers.append(Peer("BullMQ", _bullmq(folder)))
    except (OSError, subprocess.CalledProcessError) as error:
        missing.append(f"BullMQ: npm could not install it ({error})")
    return peers, missing


def _bullmq(folder: Path) -> list[str]:
    shutil.copytree(BULLMQ, folder, dirs_exist_ok=True)
    subprocess.run(
        ["npm", "install", "--silent", "--no-audit", "--no-fund"],
        cwd=folder,
        check=True,
        timeout=120,
        capture_output=True,
    )
    return ["node", str(folder / "bullmq.js")]
