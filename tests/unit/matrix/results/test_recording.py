"""What a recorded run of pytest leaves: each test runs pytest itself, on tests of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest

import muster
from muster.matrix.results.model import RunState
from muster.matrix.results.runfile import NoRunYet, read, run_files
from support.waiting import eventually_blocking

if TYPE_CHECKING:
    from muster.matrix.results.model import Run

# These sources, wherever pytest is started.
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(muster.__file__).parents[1])}
TESTS = """
import pytest

def test_good(measure):
    measure("rate", 3.0, "1/s", better="higher", goal=2, control=1.5)

def test_bad():
    assert 1 == 2, "one is not two"

@pytest.mark.skip(reason="not today")
def test_left_out():
    pass

@pytest.mark.xfail(strict=False)
def test_expected_to_fail():
    assert False

@pytest.mark.xfail(strict=False)
def test_expected_to_fail_and_does_not():
    pass

@pytest.fixture
def broken():
    raise ValueError("no such thing")

def test_without_its_fixture(broken):
    pass
"""
A_LONG_TEST = """
import time

def test_first():
    pass

def test_that_waits():
    time.sleep(600)
"""


def command(folder: Path, *options: str) -> list[str]:
    """Return pytest's command line, which does not see this project's own options."""
    (folder / "pytest.ini").write_text("[pytest]\n")
    return [
        *(sys.executable, "-m", "pytest", "-p", "muster.matrix.results.plugin"),
        *("-p", "no:randomly", "-p", "no:cacheprovider", "-q", *options),
    ]


def pytest_run(folder: Path, *options: str, code: str = TESTS, env: str = "") -> Run:
    """Run pytest on that code, and return the record."""
    tests = folder / "tests" / "unit"
    tests.mkdir(parents=True, exist_ok=True)
    (tests / "test_it.py").write_text(code)
    argv = command(folder, *options)
    done = subprocess.run(
        argv, cwd=folder, env={**ENVIRONMENT, "MUSTER_ENV": env}, check=False, capture_output=True
    )
    (path,) = run_files(folder / "results" / "runs")
    assert f"recorded in {path}" in done.stdout.decode()
    return read(path)


def outcomes(run: Run) -> dict[str, str]:
    return {test.id.partition("::")[2]: test.outcome for test in run.tests}


@pytest.mark.parametrize("processes", [0, 2])
def test_each_test_is_recorded_once_however_many_processes_run(
    tmp_path: Path, processes: int
) -> None:
    run = pytest_run(tmp_path, "--record", "unit", f"-n{processes}")

    assert outcomes(run) == {
        "test_good": "passed",
        "test_bad": "failed",
        "test_left_out": "skipped",
        "test_expected_to_fail": "xfailed",
        "test_expected_to_fail_and_does_not": "xpassed",
        "test_without_its_fixture": "error",
    }
    (bad,) = [test for test in run.tests if test.outcome == "failed"]
    assert bad.phases == {"setup": "passed", "call": "failed", "teardown": "passed"}
    assert "one is not two" in bad.message
    assert bad.duration_s > 0
    assert bool(bad.worker) == bool(processes)
    assert run.tail
    assert run.tail.totals == {
        **dict.fromkeys(["passed", "failed", "skipped"], 1),
        **dict.fromkeys(["xfailed", "xpassed", "error"], 1),
    }
    assert run.state is RunState.FAILED


def test_numbers_are_recorded_with_goal_and_control(tmp_path: Path) -> None:
    run = pytest_run(tmp_path, "--record", "load", "-n1")

    (measure,) = run.measures
    assert measure.test == "tests/unit/test_it.py::test_good"
    assert (measure.name, measure.value, measure.unit) == ("rate", 3.0, "1/s")
    assert (measure.goal, measure.control, measure.ratio) == (2.0, 1.5, 2.0)
    assert not measure.missed


def test_a_number_without_end_fails_the_test_that_measured_it(tmp_path: Path) -> None:
    code = "def test_it(measure):\n    measure('rate', float('inf'), '1/s', better='higher')\n"

    run = pytest_run(tmp_path, "--record", "load", code=code)

    assert outcomes(run) == {"test_it": "failed"}
    assert run.state is RunState.FAILED


def test_the_head_says_what_ran_where(tmp_path: Path) -> None:
    run = pytest_run(tmp_path, "--record", "system-4gpu", env="staging")

    assert (run.head.session, run.head.tier, run.head.gpus) == ("system-4gpu", "system", 4)
    assert run.head.environment == "staging"
    assert not run.head.part


def test_without_an_environment_it_is_the_local_one(tmp_path: Path) -> None:
    assert pytest_run(tmp_path, "--record", "unit").head.environment == "local"


def test_the_revision_is_git_s_and_a_changed_tree_is_said_to_be_so(tmp_path: Path) -> None:
    # Given a tree as committed
    (tmp_path / ".gitignore").write_text("results/\n__pycache__/\n")
    tests = tmp_path / "tests" / "unit"
    tests.mkdir(parents=True)
    (tests / "test_it.py").write_text(TESTS)
    command(tmp_path)
    for words in (
        ("init", "-q"),
        ("add", "."),
        ("-c", "user.name=a", "-c", "user.email=a@example.org", "commit", "-qm", "first"),
    ):
        subprocess.run(["git", *words], cwd=tmp_path, check=True)
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=tmp_path, check=True, capture_output=True, text=True
    ).stdout.strip()

    run = pytest_run(tmp_path, "--record", "unit")
    assert (run.head.revision, run.head.dirty) == (commit, False)

    # When it is changed
    (tmp_path / "results" / "runs" / run_files(tmp_path / "results" / "runs")[0].name).unlink()
    run = pytest_run(tmp_path, "--record", "unit", code=TESTS + "\n")

    # Then the record says so
    assert (run.head.revision, run.head.dirty) == (commit, True)


@pytest.mark.parametrize(
    "options",
    [("-k", "good"), ("--record-part",), ("--maxfail=9",), ("tests/unit/test_it.py::test_bad",)],
)
def test_a_run_that_leaves_tests_out_is_a_part(tmp_path: Path, options: tuple[str, ...]) -> None:
    assert pytest_run(tmp_path, "--record", "unit", *options).head.part


def test_what_cannot_be_collected_is_an_error_told_once(tmp_path: Path) -> None:
    run = pytest_run(tmp_path, "--record", "unit", "-n2", code="import nowhere_to_be_found")

    assert [(test.id, test.outcome) for test in run.tests] == [
        ("tests/unit/test_it.py", "error"),
    ]
    assert "nowhere_to_be_found" in run.tests[0].message


def test_a_test_whose_process_dies_is_a_failure(tmp_path: Path) -> None:
    code = "import os\n\ndef test_ends_it_all():\n    os._exit(9)\n"
    run = pytest_run(tmp_path, "--record", "unit", "-n1", "--max-worker-restart=0", code=code)

    assert outcomes(run) == {"test_ends_it_all": "failed"}


def test_junit_xml_lies_beside_the_record(tmp_path: Path) -> None:
    pytest_run(tmp_path, "--record", "unit")

    (path,) = run_files(tmp_path / "results" / "runs")
    suite = ET.parse(path.with_suffix(".xml")).getroot()[0]
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("6", "1", "1")


def test_nothing_is_recorded_unless_asked_for(tmp_path: Path) -> None:
    for options in ((), ("--record", "unit", "--collect-only")):
        (tmp_path / "test_it.py").write_text(TESTS)
        subprocess.run(
            command(tmp_path, *options),
            cwd=tmp_path,
            env=ENVIRONMENT,
            check=False,
            capture_output=True,
        )

        assert not (tmp_path / "results").exists()


def test_a_killed_run_is_incomplete_and_not_lost(tmp_path: Path) -> None:
    # Given a run in the middle of its second test
    tests = tmp_path / "tests" / "unit"
    tests.mkdir(parents=True)
    (tests / "test_it.py").write_text(A_LONG_TEST)
    argv = command(tmp_path, "--record", "unit")
    runs = tmp_path / "results" / "runs"
    with subprocess.Popen(
        argv, cwd=tmp_path, env=ENVIRONMENT, stdout=subprocess.DEVNULL
    ) as process:
        try:
            (path,) = eventually_blocking(
                lambda: run_files(runs), "the file is there", timeout_s=60
            )
            eventually_blocking(
                lambda: "test_first" in path.read_text(), "the first test is over", timeout_s=60
            )
            with pytest.raises(NoRunYet):
                read(path)
        finally:
            # When it is killed
            process.send_signal(signal.SIGKILL)

    # Then its record tells of the first
    run = read(path)
    assert outcomes(run) == {"test_first": "passed"}
    assert run.state is RunState.INCOMPLETE


def test_an_interrupted_run_says_so(tmp_path: Path) -> None:
    code = "def test_stopped():\n    raise KeyboardInterrupt\n"

    assert pytest_run(tmp_path, "--record", "unit", code=code).state is RunState.INTERRUPTED
