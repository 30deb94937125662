from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from muster.downloads import locks
from support.downloads import opened_by
from support.waiting import eventually

if TYPE_CHECKING:
    from pathlib import Path

HOLDER = """
import sys
sys.path[:] = {path!r}
from pathlib import Path
from muster.downloads import locks
with locks.{how}(Path({file!r})) as held:
    print(held, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    return tmp_path / "new" / "lock"


def started(code: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def test_many_share_a_lock_and_none_has_it_alone(lock: Path) -> None:
    with locks.shared(lock):
        with locks.shared(lock), locks.alone(lock) as held:
            assert not held
        with locks.alone(lock) as held:
            assert not held

    with locks.alone(lock) as held:
        assert held


def test_one_has_a_lock_alone(lock: Path) -> None:
    with locks.alone(lock) as first, locks.alone(lock) as second:
        assert (first, second) == (True, False)

    with locks.alone(lock) as again:
        assert again


def test_sharing_marks_the_use_and_looking_does_not(lock: Path) -> None:
    with locks.shared(lock):
        pass
    os.utime(lock, (1, 1))

    with locks.alone(lock):
        assert lock.stat().st_mtime == 1
    with locks.shared(lock):
        assert lock.stat().st_mtime > 1


def test_a_lock_is_let_go_when_its_block_fails(lock: Path) -> None:
    with pytest.raises(ZeroDivisionError), locks.shared(lock):
        raise ZeroDivisionError

    with locks.alone(lock) as held:
        assert held


@pytest.mark.anyio
async def test_waiting_ends_when_the_holder_lets_go(lock: Path) -> None:
    order: list[str] = []

    async def wait() -> None:
        async with locks.waited_for(lock):
            order.append("waited")

    async with locks.waited_for(lock):
        waiting = asyncio.create_task(wait())
        await eventually(lambda: opened_by(os.getpid(), lock) == 2, "the other one waits")
        order.append("first")
    await waiting

    assert order == ["first", "waited"]


@pytest.mark.anyio
async def test_who_gives_up_waiting_leaves_nothing_locked(lock: Path) -> None:
    async with locks.waited_for(lock):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01), locks.waited_for(lock):
                pass
        assert opened_by(os.getpid(), lock) == 1

    with locks.alone(lock) as held:
        assert held


@pytest.mark.anyio
@pytest.mark.parametrize("how", ["shared", "alone"])
async def test_a_lock_goes_with_a_process_that_is_killed(lock: Path, how: str) -> None:
    code = HOLDER.format(path=sys.path, file=str(lock), how=how)
    with started(code) as holder:
        assert holder.stdout
        assert holder.stdout.readline()
        with locks.alone(lock) as held:
            assert not held

        holder.kill()
        holder.wait()

        async with asyncio.timeout(10), locks.waited_for(lock):
            pass


def test_a_lock_is_not_inherited_by_a_program_that_is_started(lock: Path) -> None:
    with locks.shared(lock):
        child = subprocess.Popen(["sleep", "60"])
    with child:
        with locks.alone(lock) as held:
            assert held
        child.kill()
