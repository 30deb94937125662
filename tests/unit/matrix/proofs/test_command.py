"""The command as people and other programs start it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

import muster
from muster.matrix.ledger.kept import PLACE, read_verdicts
from support.proofs import TWO_LAMPS
from support.waiting import eventually_blocking

if TYPE_CHECKING:
    from support.proofs import Project

PROVE = (sys.executable, "-m", "muster.matrix.proofs")


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(Path(muster.__file__).parents[1]), "COLUMNS": "120"}


def prove(project: Project, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*PROVE, *arguments],
        cwd=project.root,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )


def test_what_is_proved_is_shown_and_kept(project: Project) -> None:
    project.record(project.fault(*TWO_LAMPS))

    done = prove(project, "1", "--tier", "unit")

    assert done.returncode == 0, done.stderr
    assert "test_one_for_each" in done.stdout
    assert "1 fault was caught" in done.stdout
    assert "proved      1 dark (unit)" in done.stderr
    [verdict] = read_verdicts(project.root / PLACE)
    assert (verdict.failure, verdict.fault, verdict.verdict) == (1, "dark.patch", "proved")
    assert verdict.tests == ["tests/unit/test_lamps.py::test_one_for_each"]
    assert verdict.revision.endswith("+")  # the record is not committed


def test_what_is_not_proved_ends_with_1_and_its_reason(project: Project) -> None:
    project.record(project.fault("One lamp", "A lamp"))

    done = prove(project, "--json")

    assert done.returncode == 1
    [verdict] = json.loads(done.stdout)
    assert verdict["verdict"] == "not proved"
    assert verdict["reason"] == "no test fails with the fault"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["9"], "failure 9 has no record"),
        (["1", "--tier", "load"], "has no fault at tier load"),
        (["--tier", "moon"], "'moon' is none of unit, integration, browser, system, load"),
        (["one"], "Invalid value for '[N]...'"),
    ],
)
def test_what_cannot_be_tried_ends_with_2(
    project: Project, arguments: list[str], told: str
) -> None:
    project.record(project.fault(*TWO_LAMPS))

    done = prove(project, *arguments)

    assert done.returncode == 2
    assert told in " ".join(done.stderr.replace("│", "").split())


def test_a_branch_that_changed_nothing_has_nothing_to_prove(project: Project) -> None:
    project.record(project.fault(*TWO_LAMPS))
    project.commit()
    project.commit()

    done = prove(project, "--changed")

    assert (done.returncode, done.stdout) == (0, "Nothing to prove.\n")


@pytest.mark.parametrize("start", ["exec", "trap '' INT; exec"])
def test_ctrl_c_ends_all_that_was_started(project: Project, tmp_path: Path, start: str) -> None:
    # Given a fault whose test would run for an hour, and has started a process of its own
    note = tmp_path / "pids"
    project.record(
        project.fault(
            "    return [LAMP]",
            "    import os, subprocess\n"
            "    child = subprocess.Popen(['sleep', '3600'], start_new_session=True)\n"
            f"    open({str(note)!r}, 'w').write(f'{{os.getpid()}} {{child.pid}} ')\n"
            "    child.wait()\n"
            "    return [LAMP]",
        )
    )
    prover = subprocess.Popen(
        ["sh", "-c", f'{start} "$@"', "sh", *PROVE],
        cwd=project.root,
        env=environment(),
        stderr=subprocess.PIPE,
    )
    started = eventually_blocking(
        lambda: note.read_text().split(),
        "the test runs",
        until=lambda pids: len(pids) == 2,
        timeout_s=60,
        ignoring=(FileNotFoundError,),
    )

    # When somebody presses Ctrl-C, though the shell ignores it
    prover.send_signal(signal.SIGINT)
    _, said = prover.communicate(timeout=60)

    # Then nothing runs any more
    assert prover.returncode == 130, said
    assert not [pid for pid in started if runs(int(pid))]


def runs(pid: int) -> bool:
    """Whether there is such a process; one that has ended and that nobody asked for is none."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
