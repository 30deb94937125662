"""What breaks, floods or repeats has no place on a system that is not ours to break."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from muster.fleet.model import Program
from muster.matrix.environments.model import Act
from muster.matrix.environments.rails import Deed, Refused
from muster.matrix.environments.reading import read_environment
from support.anywhere.fleet import ExternalBackend, Fleet, profile_of
from support.suite import ENVS

if TYPE_CHECKING:
    from support.suite import Suite

UNIT, LOAD = "tests/unit/test_it.py", "tests/load/test_it.py"
READS = "@pytest.mark.acts('read')\ndef test_it():\n    pass\n"
GENERATES = (
    "from hypothesis import given, strategies\n\n@given(strategies.just(1))\n"
    "@pytest.mark.acts('read')\ndef test_it(number):\n    pass\n"
)
RERUN = f"@pytest.mark.flaky\n{READS}"
OUT_OF_PLACE = pytest.mark.parametrize(
    ("test", "file", "what"),
    [
        pytest.param(READS, LOAD, "load", id="load"),
        pytest.param(GENERATES, UNIT, "generated data", id="generated data"),
        pytest.param(RERUN, UNIT, "a rerun", id="a rerun"),
    ],
)
# As the plugins that run tests again take their options; none of them is installed here.
RERUNNER = """
def pytest_addoption(parser):
    parser.addoption("--reruns", type=int)
    parser.addoption("--retries", type=int)
    parser.addoption("--force-flaky", action="store_true")
    parser.addini("reruns", "")
    parser.addini("retries", "")

def pytest_configure(config):
    config.addinivalue_line("markers", "flaky: again")
"""
URL = "http://production.invalid"


@pytest.fixture
def suite(suite: Suite) -> Suite:
    """One with an environment ``theirs``, where tests may read, and a plugin that runs again."""
    local = (suite.folder / "envs" / "local.toml").read_text()
    theirs = local.replace('"local"', '"theirs"').replace(
        '"read", "write", "destructive"', '"read"'
    )
    suite.environment("theirs", theirs)
    (suite.folder / "conftest.py").write_text(RERUNNER)
    return suite


@OUT_OF_PLACE
def test_it_does_not_run_and_is_told(suite: Suite, test: str, file: str, what: str) -> None:
    suite.tests(test, file)

    run = suite.run("--env=theirs")

    assert run.code == 5, run.said
    assert f"did not run, since {what} has no place in theirs: {file}::test_it" in run.said


@OUT_OF_PLACE
def test_asked_for_by_name_it_is_refused(suite: Suite, test: str, file: str, what: str) -> None:
    suite.tests(test, file)

    run = suite.run("--env=theirs", f"{file}::test_it")

    assert run.code == 1, run.said
    assert f"Refused: {what} has no place in theirs." in run.said
    assert " passed" not in run.said


@OUT_OF_PLACE
def test_where_all_is_ours_it_runs(suite: Suite, test: str, file: str, what: str) -> None:
    suite.tests(test, file)

    assert "1 passed" in suite.run("--env=local").said


@pytest.mark.parametrize("option", ["--reruns=2", "--retries=2", "--force-flaky"])
def test_an_option_that_runs_tests_again_ends_the_run(suite: Suite, option: str) -> None:
    suite.tests(READS)

    run = suite.run("--env=theirs", option)

    assert run.refused()
    assert f"no place in theirs: leave out {option.partition('=')[0]}." in run.said
    assert "1 passed" in suite.run("--env=local", option).said


@pytest.mark.parametrize("name", ["reruns", "retries"])
def test_an_entry_that_runs_tests_again_ends_the_run(suite: Suite, name: str) -> None:
    suite.tests(READS)

    run = suite.run("--env=theirs", "-o", f"{name}=2")

    assert run.refused()
    assert f"no place in theirs: leave out {name} in " in run.said


@pytest.mark.parametrize("act", [Act.READ, Act.WRITE])
def test_a_fault_takes_a_test_that_says_that_it_is_destructive(act: Act) -> None:
    fleet = Fleet(read_environment(ENVS, "local"), Deed(act), Untouched())

    with pytest.raises(Refused, match=f"it does no more than {act}"):
        fleet.kill_worker("machine", 0)


def test_a_fault_on_an_external_system_is_refused_whatever_the_test_says() -> None:
    program = Program.model_construct(name="worker-gpu0", pid=1)

    with pytest.raises(Refused, match="worker-gpu0 of machine is not ours to kill"):
        ExternalBackend(profile_of(URL, "token")).kill("machine", program)


class Untouched:
    """A fleet that no test may touch."""

    profile = profile_of(URL, "token")
    redis_url = None

    def kill(self, machine_id: str, program: Program) -> None:
        raise AssertionError(f"{program.name} of {machine_id} was killed")
