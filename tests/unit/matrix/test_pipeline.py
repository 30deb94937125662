"""The pipeline and the noxfile agree: each stage runs the sessions of its tag, and nothing else."""

from __future__ import annotations

import shlex
import shutil
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from muster.matrix.results.runfile import read, run_files
from support.nox_sessions import ROOT, nox, sessions

if TYPE_CHECKING:
    from pathlib import Path

WORKFLOWS = ROOT / ".github" / "workflows"
STAGES = {
    "commit": ("push", "commit"),
    "pull-request": ("pull_request", "pr"),
    "nightly": ("schedule", "nightly"),
    "weekly": ("schedule", "weekly"),
}
UNIT = {"unit-3.11", "unit-3.12", "unit-3.13"}
COMMIT = {"lint", "types", *UNIT}
SYSTEM = {f"system-{gpus}gpu" for gpus in range(1, 9)}
A_TEST = "def test_{name}():\n    pass\n"


def workflow(name: str) -> dict[Any, Any]:
    document: dict[Any, Any] = yaml.safe_load((WORKFLOWS / f"{name}.yml").read_text())
    return document


def names(*options: str) -> set[str]:
    return {session.name for session in sessions(*options)}


@pytest.mark.parametrize("name", STAGES)
def test_each_workflow_is_one_stage(name: str) -> None:
    event, tag = STAGES[name]
    document = workflow(name)

    (job,) = document["jobs"].values()

    assert event in document[True]  # YAML 1.1 reads the key `on` so
    assert job["uses"] == "./.github/workflows/stage.yml"
    assert job["with"]["tag"] == tag
    assert names("-t", tag)


def test_there_is_no_other_workflow() -> None:
    assert {path.stem for path in WORKFLOWS.glob("*.yml")} == {*STAGES, "stage"}


def test_each_job_of_a_stage_runs_one_session() -> None:
    known = {"coverage", "report", "$SESSION"}
    for name, job in workflow("stage")["jobs"].items():
        commands = [shlex.split(step["run"]) for step in job["steps"] if "run" in step]
        told = [words for words in commands if words[0] == "nox"]
        assert all(words[0] in {"nox", "python"} for words in commands), name
        assert len(told) == 1, name
        assert told[0][1] == "-t" or (told[0][1] == "-s" and told[0][2] in known), name


def test_the_sessions_of_a_stage_come_from_nox() -> None:
    jobs = workflow("stage")["jobs"]

    (listing,) = [step["run"] for step in jobs["list"]["steps"] if step.get("id") == "nox"]
    matrix = jobs["session"]["strategy"]["matrix"]["session"]

    assert listing.startswith('nox -t "$TAG" --list --json')
    assert matrix == "${{ fromJson(needs.list.outputs.sessions) }}"


def test_actions_are_pinned_to_a_major_version() -> None:
    for job in workflow("stage")["jobs"].values():
        for step in job["steps"]:
            _, _, version = step.get("uses", "a@v1").partition("@")
            assert version.removeprefix("v").isdecimal(), step


@pytest.mark.parametrize(
    ("tag", "wanted"),
    [
        ("commit", COMMIT),
        (
            "pr",
            COMMIT | {"integration", "ledger", "prove-changed", "browser", "web-types", "coverage"},
        ),
        ("nightly", SYSTEM | {"system-scaling", "system-setup", "anywhere", "prove-all"}),
        ("weekly", {"load", "stress", "production-like"}),
    ],
)
def test_a_stage_is_what_the_plan_says(tag: str, wanted: set[str]) -> None:
    assert names("-t", tag) == wanted


def test_nox_alone_runs_what_to_run_before_a_push() -> None:
    assert names() == {"lint", "types", "unit", "integration", "ledger"}


def test_coverage_comes_after_all_that_it_combines() -> None:
    order = [session.name for session in sessions("-t", "pr")]

    assert order[-1] == "coverage"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A small project with this one's sessions and two integration tests."""
    for name in ("noxfile.py", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path / name)
    shutil.copytree(ROOT / "envs", tmp_path / "envs")
    tests = tmp_path / "tests" / "integration"
    tests.mkdir(parents=True)
    for name in ("wanted", "other"):
        (tests / f"test_{name}.py").write_text(A_TEST.format(name=name))
    return tmp_path


@pytest.mark.parametrize(
    ("posargs", "ran", "part"),
    [
        ("-n0", {"test_wanted", "test_other"}, False),
        ("-n0 -k wanted", {"test_wanted"}, True),
        ("-n0 tests/integration/test_wanted.py::test_wanted", {"test_wanted"}, True),
    ],
)
def test_posargs_reach_pytest_and_the_run_is_recorded(
    project: Path, posargs: str, ran: set[str], part: bool
) -> None:
    # The session as it is, but in the environment of these tests: there is nothing to install.
    as_it_is = ("--no-venv", "--no-install", "-s", "integration", "--")
    nox(*as_it_is, *posargs.split(), folder=project, PYTHONPATH=str(ROOT / "src"))

    (path,) = run_files(project / "results" / "runs")
    run = read(path)
    assert run.head.session == "integration"
    assert {test.id.partition("::")[2] for test in run.tests} == ran
    assert run.head.part is part


def test_coverage_is_not_combined_of_less_than_all(project: Path) -> None:
    (project / ".coverage.unit-3.12").touch()

    with pytest.raises(AssertionError) as failure:
        nox("--no-venv", "--no-install", "-s", "coverage", folder=project)

    assert "Nothing was measured by integration, browser." in str(failure.value)
    assert "Run `nox -s integration browser` first, whole." in str(failure.value)
