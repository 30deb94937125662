from __future__ import annotations

import os
import secrets
import subprocess
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING

import psutil
import pytest

from muster.errors import Conflict
from muster.machine import leftovers
from muster.machine.leftovers import LeftoversRemain
from support.waiting import eventually_blocking

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Spawn = Callable[..., subprocess.Popen[str]]

FOREVER = "import time; print('up', flush=True); time.sleep(3600)"
GRACEFUL = (
    "import os, signal, time\n"
    "signal.signal(signal.SIGTERM, lambda *_: (print('drained', flush=True), os._exit(0)))\n"
    "print('up', flush=True)\nwhile True: time.sleep(1)"
)
STUBBORN = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {FOREVER}"


@pytest.fixture
def marker() -> dict[str, str]:
    return {"MUSTER_MACHINE": "box", "MUSTER_MACHINE_DIR": f"/data/{secrets.token_hex(8)}"}


@pytest.fixture
def spawn() -> Iterator[Spawn]:
    """Start a process with these variables, as an earlier run would have left it."""
    with ExitStack() as started:

        def spawn(environment: dict[str, str], code: str = FOREVER) -> subprocess.Popen[str]:
            process = started.enter_context(
                subprocess.Popen(
                    [sys.executable, "-I", "-S", "-c", code],
                    env={**os.environ, **environment},
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
            started.callback(process.kill)
            assert process.stdout
            assert process.stdout.readline() == "up\n"
            return process

        yield spawn


def test_ends_what_an_earlier_run_of_the_machine_left(spawn: Spawn, marker: dict[str, str]) -> None:
    left = [spawn({**marker, "MACHINE_INCARNATION": "before"}, GRACEFUL) for _ in range(3)]

    leftovers.end(marker)

    assert not any(psutil.pid_exists(process.pid) for process in left)
    assert [process.stdout and process.stdout.read() for process in left] == ["drained\n"] * 3


def test_kills_what_does_not_end_in_time(spawn: Spawn, marker: dict[str, str]) -> None:
    stubborn = spawn(marker, STUBBORN)

    leftovers.end(marker, term_wait_s=0.1)

    assert not psutil.pid_exists(stubborn.pid)


def test_leaves_other_machines_alone(spawn: Spawn, marker: dict[str, str]) -> None:
    others = [
        spawn(marker | {"MUSTER_MACHINE": "box2"}),
        spawn(marker | {"MUSTER_MACHINE_DIR": "/elsewhere"}),
        spawn({}),
    ]

    leftovers.end(marker)

    assert [process.poll() for process in others] == [None, None, None]


def test_spares_itself_and_its_parents(spawn: Spawn, marker: dict[str, str]) -> None:
    code = (
        "import sys; sys.path[:0] = sys.argv[1:]\n"
        "from muster.machine import leftovers\n"
        f"leftovers.end({marker!r}); print('alive')"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **marker},
        capture_output=True,
        text=True,
        check=True,
    )

    assert answer.stdout.splitlines()[-1] == "alive"


def test_says_which_processes_it_cannot_end(
    spawn: Spawn, marker: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    stuck = spawn(marker)
    monkeypatch.setattr(psutil.Process, "terminate", lambda _: None)
    monkeypatch.setattr(psutil.Process, "kill", lambda _: None)

    with pytest.raises(LeftoversRemain, match=str(stuck.pid)):
        leftovers.end(marker, term_wait_s=0.1, kill_wait_s=0.1)


def test_one_run_at_a_time(tmp_path: Path) -> None:
    lock = tmp_path / "new" / "lock"

    with (
        leftovers.sole_run(lock, "Machine box"),
        pytest.raises(Conflict, match=r"Machine box runs already: .*Stop it first"),
        leftovers.sole_run(lock, "Machine box"),
    ):
        pass

    with leftovers.sole_run(lock, "Machine box"):
        pass


def test_the_lock_ends_with_its_process_even_by_sigkill(tmp_path: Path, spawn: Spawn) -> None:
    lock = tmp_path / "lock"
    code = (
        "import sys; sys.path[:] = " + repr(sys.path) + "\n"
        "from muster.machine import leftovers\n"
        f"from pathlib import Path\nwith leftovers.sole_run(Path({str(lock)!r}), 'It'):\n"
        "    print('up', flush=True)\n    sys.stdin.read()\n    import time; time.sleep(3600)"
    )
    holder = spawn({}, code)
    with pytest.raises(Conflict), leftovers.sole_run(lock, "It"):
        pass

    holder.kill()
    eventually_blocking(lambda: holder.poll() is not None, "it ends")

    with leftovers.sole_run(lock, "It"):
        pass
