from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from muster.machine import health

if TYPE_CHECKING:
    from pathlib import Path


def test_a_machine_that_has_just_said_that_it_is_ready_is_healthy(tmp_path: Path) -> None:
    health.write(tmp_path, "ready", [])

    assert health.problem(tmp_path) == ""


def test_tells_the_state_and_its_reasons(tmp_path: Path) -> None:
    health.write(tmp_path, "ready", [])
    health.write(tmp_path, "degraded", ["worker-gpu0 is FATAL", "worker-gpu1 is starting"])

    trouble = health.problem(tmp_path)

    assert trouble == "degraded: worker-gpu0 is FATAL; worker-gpu1 is starting"


def test_tells_a_state_without_reasons(tmp_path: Path) -> None:
    health.write(tmp_path, "draining", [])

    assert health.problem(tmp_path) == "draining"


def test_what_was_said_long_ago_does_not_count(tmp_path: Path) -> None:
    health.write(tmp_path, "ready", [])
    note = tmp_path / "health"
    long_ago = note.stat().st_mtime - 60
    os.utime(note, (long_ago, long_ago))

    assert health.problem(tmp_path).startswith("the machine has said nothing for 6")


def test_silence_is_not_health(tmp_path: Path) -> None:
    assert "has not said anything yet" in health.problem(tmp_path)


@pytest.mark.parametrize(
    ("names", "code", "said"),
    [
        ({"MACHINE_ID": "box"}, 0, "ready"),
        ({"CONTAINER_NAME": "box"}, 0, "ready"),
        ({"MACHINE_ID": "other", "CONTAINER_NAME": "box"}, 1, "has not said anything yet"),
        ({}, 1, "Set MUSTER_DATA_DIR"),
    ],
)
def test_judges_the_machine_of_the_environment(
    tmp_path: Path, names: dict[str, str], code: int, said: str
) -> None:
    directory = tmp_path / "machines" / "box"
    directory.mkdir(parents=True)
    health.write(directory, "ready", [])

    done = subprocess.run(
        [sys.executable, "-m", "muster.machine.health"],
        env={"MUSTER_DATA_DIR": str(tmp_path), **names},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == code
    assert said in done.stdout


def test_imports_nothing_that_takes_long() -> None:
    listed = subprocess.run(
        [sys.executable, "-c", "import sys, muster.machine.health; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )

    heavy = {"asyncio", "pydantic", "redis", "structlog", "httpx"}
    assert heavy.isdisjoint(listed.stdout.split())
