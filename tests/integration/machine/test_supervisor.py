from __future__ import annotations

import os
import signal
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from muster.machine.programs import ProgramSpec
from muster.machine.rpc import SupervisorGone
from muster.machine.supervisor import Status, Supervisor, SupervisorFailed
from support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.anyio

FOREVER = "import time; print('up', flush=True); time.sleep(3600)"
STUBBORN = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {FOREVER}"
FAILING = "import sys; sys.exit('no GPU of that number')"


def program(name: str, code: str = FOREVER, **options: int) -> ProgramSpec:
    quick = {"start_seconds": 0, "start_attempts": 0, "stop_wait_s": 5} | options
    argv = (sys.executable, "-I", "-S", "-c", code)
    return ProgramSpec(name, argv, dict(os.environ), Path("/"), **quick)


def supervisor(directory: Path, *programs: ProgramSpec) -> Supervisor:
    return Supervisor(directory, [programs], os.environ)


def is_(state: str, *names: str) -> Callable[[dict[str, Status]], bool]:
    return lambda status: all(status[name].state == state for name in names)


async def test_runs_every_program_and_leaves_none(tmp_path: Path) -> None:
    names = [f"worker-gpu{gpu}" for gpu in range(8)]

    async with supervisor(tmp_path, *map(program, names)) as running:
        assert is_("STOPPED", *names)(await running.status())
        await running.start(*names)
        status = await eventually(running.status, "all run", until=is_("RUNNING", *names))
        pids = {one.pid for one in status.values()}

    assert len(pids) == 8
    assert not any(pid is None or psutil.pid_exists(pid) for pid in pids)


async def test_brings_back_a_program_that_was_killed(tmp_path: Path) -> None:
    async with supervisor(tmp_path, program("a"), program("b")) as running:
        await running.start("a", "b")
        before = await eventually(running.status, "both run", until=is_("RUNNING", "a", "b"))

        os.kill(before["a"].pid or 0, signal.SIGKILL)

        after = await eventually(
            running.status,
            "a runs again",
            until=lambda now: now["a"].state == "RUNNING" and now["a"].pid != before["a"].pid,
        )
        assert after["b"].pid == before["b"].pid


async def test_tells_what_a_program_said_before_it_was_given_up(tmp_path: Path) -> None:
    async with supervisor(tmp_path, program("a", FAILING, start_seconds=1)) as running:
        assert running.last_line("a") == ""
        await running.start("a")
        status = await eventually(running.status, "it is given up", until=is_("FATAL", "a"))

        assert status["a"].pid is None
        assert running.last_line("a") == "no GPU of that number"


async def test_kills_what_does_not_stop_in_time(tmp_path: Path) -> None:
    async with supervisor(tmp_path, program("a", STUBBORN, stop_wait_s=1)) as running:
        await running.start("a")
        await eventually(lambda: running.last_line("a"), "it ignores SIGTERM")
        pid = (await running.status())["a"].pid

        await running.stop("a")

        assert pid
        assert not psutil.pid_exists(pid)


async def test_starting_or_stopping_twice_is_no_error(tmp_path: Path) -> None:
    async with supervisor(tmp_path, program("a")) as running:
        await running.start("a")
        await running.start("a")
        await running.stop("a")
        await running.stop("a")

        assert is_("STOPPED", "a")(await running.status())


async def test_refuses_a_program_that_it_does_not_have(tmp_path: Path) -> None:
    async with supervisor(tmp_path, program("a")) as running:
        with pytest.raises(KeyError):
            await running.start("b")


async def test_its_programs_end_with_it_even_by_sigkill(tmp_path: Path) -> None:
    async with supervisor(tmp_path, program("a")) as running:
        await running.start("a")
        status = await eventually(running.status, "it runs", until=is_("RUNNING", "a"))
        pid = status["a"].pid or 0
        parent = psutil.Process(pid).ppid()

        os.kill(parent, signal.SIGKILL)

        await eventually(lambda: not psutil.pid_exists(pid), "the program ends")
        await eventually(lambda: not running.alive, "its end is noticed")
        with pytest.raises(SupervisorGone):
            await running.status()


async def test_ends_its_stages_in_order_whoever_ends_it(tmp_path: Path) -> None:
    order = tmp_path / "order"

    def slow_to_stop(name: str) -> str:
        return (
            "import os, signal, time\n"
            "def stop(*_):\n"
            f"    os.write(log, b'{name} stops\\n'); time.sleep(0.2)\n"
            f"    os.write(log, b'{name} stopped\\n'); os._exit(0)\n"
            f"log = os.open({str(order)!r}, os.O_WRONLY | os.O_APPEND | os.O_CREAT)\n"
            "signal.signal(signal.SIGTERM, stop)\n"
            "print('up', flush=True)\n"
            "while True: time.sleep(1)"
        )

    stages = [[program(name, slow_to_stop(name))] for name in ("worker", "service")]
    async with Supervisor(tmp_path, stages, os.environ) as running:
        await running.start("service", "worker")
        for name in ("service", "worker"):
            await eventually(lambda name=name: running.last_line(name) == "up", f"{name} runs")
        pid = (await running.status())["worker"].pid

        os.kill(psutil.Process(pid).ppid(), signal.SIGTERM)

        await eventually(lambda: not running.alive, "it ends")

    words = ["worker stops", "worker stopped", "service stops", "service stopped"]
    assert order.read_text().splitlines() == words


async def test_can_be_opened_again(tmp_path: Path) -> None:
    running = supervisor(tmp_path, program("a"))
    await running.open()
    await running.close()
    with pytest.raises(SupervisorGone):
        await running.status()

    async with running:
        await running.start("a")
        await eventually(running.status, "it runs", until=is_("RUNNING", "a"))


async def test_its_socket_is_for_its_owner_alone_and_goes_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tempfile.TemporaryDirectory() as short:
        monkeypatch.setattr(tempfile, "tempdir", short)

        async with supervisor(tmp_path, program("a")):
            (folder,) = os.scandir(short)
            (socket,) = os.scandir(folder.path)
            assert socket.stat().st_mode & 0o777 == 0o700
            assert folder.stat().st_mode & 0o777 == 0o700

        assert not any(os.scandir(short))


async def test_removes_the_socket_of_a_run_that_was_killed(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory() as short:
        left = tempfile.mkdtemp(dir=short)
        (tmp_path / "run").symlink_to(left)

        async with supervisor(tmp_path, program("a")):
            assert not any(os.scandir(short))
            assert (tmp_path / "run" / "s").is_socket()

        assert not (tmp_path / "run").is_symlink()


async def test_a_temporary_folder_too_long_for_a_socket_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = tmp_path / ("x" * 100)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))

    with pytest.raises(SupervisorFailed, match="Set TMPDIR to a shorter"):
        await supervisor(tmp_path, program("a")).open()

    assert not any(os.scandir(long))


async def test_says_why_it_did_not_start(tmp_path: Path) -> None:
    with pytest.raises(SupervisorFailed, match="not a valid signal name"):
        await supervisor(tmp_path, program("a", stop_signal="HOP")).open()  # type: ignore[arg-type]
