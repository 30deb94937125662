"""A container's health check: ``python -m muster.machine.health`` fails unless it is ready.

The agent leaves a note of the machine's state each time that it reports. Only the standard library
is imported here: the check runs every few seconds, beside the work.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

STALE_S = 15.0
READY = "ready"
_NOTE = "health"


def write(directory: Path, state: str, reasons: list[str]) -> None:
    """Leave a note of the machine's state in its folder."""
    beside = directory / f"{_NOTE}.new"
    beside.write_text("\n".join([state, *reasons]), encoding="utf-8")
    beside.replace(directory / _NOTE)


def problem(directory: Path) -> str:
    """Return in words why the machine is not healthy; nothing if it is."""
    note = directory / _NOTE
    try:
        age_s = time.time() - note.stat().st_mtime
        state, *reasons = note.read_text(encoding="utf-8").split("\n")
    except FileNotFoundError:
        return f"the machine has not said anything yet: there is no {note}"
    if age_s > STALE_S:
        return f"the machine has said nothing for {age_s:.0f} s"
    return "" if state == READY else ": ".join([state, "; ".join(reasons)] if reasons else [state])


def main() -> int:
    """Judge the machine that the environment describes."""
    data_dir = os.environ.get("MUSTER_DATA_DIR")
    machine_id = os.environ.get("MACHINE_ID", os.environ.get("CONTAINER_NAME"))
    if not data_dir or not machine_id:
        print("Set MUSTER_DATA_DIR, and MACHINE_ID or CONTAINER_NAME, as the machine has them.")
        return 1
    trouble = problem(Path(data_dir) / "machines" / machine_id)
    print(trouble or READY)
    return 1 if trouble else 0


if __name__ == "__main__":
    sys.exit(main())
