from __future__ import annotations

import os
import secrets
import signal
import sys
from typing import TYPE_CHECKING

import anyio
import psutil
import pytest

from muster.machine import caretaker, leftovers
from muster.machine.caretaker import Caretaker
from muster.machine.programs import ProgramSpec
from support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

pytestmark = pytest.mark.anyio

FOREVER = "import time; print('up', flush=True); time.sleep(3600)"


@pytest.fixture(autouse=True)
def _looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(caretaker, "LOOK_EVERY_S", 0.05)


@pytest.fixture
def marker() -> dict[str, str]:
    return {"MUSTER_TEST": secrets.token_hex(8)}


def program(name: str, directory: Path, marker: dict[str, str], code: str = FOREVER) -> ProgramSpec:
    return ProgramSpec(
        name,
        (sys.executable, "-I", "-S", "-c", code),
        {**os.environ, **marker},
        directory,
        start_seconds=0 if code == FOREVER else 1,
        start_attempts=0,
    )


def caring(
    directory: Path, stages: Sequence[Sequence[ProgramSpec]], marker: dict[str, str]
) -> Caretaker:
    return Caretaker(
        directory / "supervisor",
        stages,
        environment={**os.environ, **marker},
        marker=marker,
        first_wait_s=0.1,
    )


def states(care: Caretaker) -> dict[str, str]:
    return {name: status.state for name, status in care.programs.items()}


async def test_starts_everything_and_leaves_nothing(tmp_path: Path, marker: dict[str, str]) -> None:
    stages = [[program("a", tmp_path, marker)], [program("b", tmp_path, marker)]]

    async with caring(tmp_path, stages, marker) as care:
        assert set(states(care)) == {"a", "b"}
        assert len(leftovers.find(marker)) >= 1

    assert leftovers.find(marker) == []


async def test_counts_how_often_a_program_had_to_be_restarted(
    tmp_path: Path, marker: dict[str, str]
) -> None:
    stages = [[program("a", tmp_path, marker)], [program("b", tmp_path, marker)]]
    async with caring(tmp_path, stages, marker) as care, anyio.create_task_group() as tasks:
        tasks.start_soon(care.run)
        running = {"a": "RUNNING", "b": "RUNNING"}
        await eventually(lambda: states(care), "both run", until=running.__eq__)

        os.kill(care.programs["a"].pid or 0, signal.SIGKILL)

        await eventually(lambda: care.restarts["a"], "the restart is noticed")
        assert care.restarts["b"] == 0
        tasks.cancel_scope.cancel()


async def test_starts_again_what_supervisord_gave_up(
    tmp_path: Path, marker: dict[str, str]
) -> None:
    healthy = tmp_path / "healthy"
    code = f"import pathlib; assert pathlib.Path({str(healthy)!r}).exists(), 'no disk'; {FOREVER}"
    async with (
        caring(tmp_path, [[program("a", tmp_path, marker, code)]], marker) as care,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(care.run)
        await eventually(lambda: care.given_up, "it is given up", until=["a"].__eq__)
        assert care.last_line("a") == "AssertionError: no disk"

        healthy.touch()

        await eventually(lambda: states(care), "it runs", until={"a": "RUNNING"}.__eq__)
        assert care.given_up == []
        tasks.cancel_scope.cancel()


async def test_brings_back_its_supervisord(tmp_path: Path, marker: dict[str, str]) -> None:
    stages = [[program("a", tmp_path, marker)]]
    async with caring(tmp_path, stages, marker) as care, anyio.create_task_group() as tasks:
        tasks.start_soon(care.run)
        await eventually(lambda: states(care), "it runs", until={"a": "RUNNING"}.__eq__)
        before = care.programs["a"].pid or 0

        os.kill(psutil.Process(before).ppid(), signal.SIGKILL)

        await eventually(
            lambda: care.programs["a"].pid if "a" in care.programs else before,
            "it runs under another supervisord",
            until=lambda pid: pid not in {None, before},
        )
        await eventually(lambda: not psutil.pid_exists(before), "the orphan is gone")
        tasks.cancel_scope.cancel()


async def test_stops_stage_after_stage(tmp_path: Path, marker: dict[str, str]) -> None:
    order = tmp_path / "order"

    def slow_to_stop(name: str) -> str:
        return (
            "import os, signal, time\n"
            "def stop(*_):\n"
            f"    os.write(log, b'{name} stops\\n'); time.sleep(0.2)\n"
            f"    os.write(log, b'{name} stopped\\n'); os._exit(0)\n"
            f"log = os.open({str(order)!r}, os.O_WRONLY | os.O_APPEND | os.O_CREAT)\n"
            "signal.signal(signal.SIGTERM, stop)\n"
            "while True: time.sleep(1)"
        )

    stages = [
        [program(name, tmp_path, marker, slow_to_stop(name))] for name in ("worker", "service")
    ]
    async with caring(tmp_path, stages, marker) as care:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(care.run)
            running = {"worker": "RUNNING", "service": "RUNNING"}
            await eventually(lambda: states(care), "both run", until=running.__eq__)
            tasks.cancel_scope.cancel()

        await care.drain()

        assert states(care) == {"worker": "STOPPED", "service": "STOPPED"}
        assert order.read_text().split("\n")[:-1] == [
            "worker stops",
            "worker stopped",
            "service stops",
            "service stopped",
        ]


async def test_draining_without_a_supervisord_is_no_error(
    tmp_path: Path, marker: dict[str, str]
) -> None:
    async with caring(tmp_path, [[program("a", tmp_path, marker)]], marker) as care:
        (supervisord,) = [p for p in leftovers.find(marker) if "supervisord" in str(p.cmdline())]
        supervisord.kill()

        await care.drain()

    assert leftovers.find(marker) == []
