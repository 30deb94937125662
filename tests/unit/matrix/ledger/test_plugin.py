"""The pytest plugin, seen by a project that uses it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import Write

pytest_plugins = ["pytester"]

UNIT = "tests/unit/test_it.py"
MARKED = "import pytest\n\n@pytest.mark.failure(1)\ndef test_it(): pass\n\ndef test_other(): pass\n"
OPTIONS = (
    *("--import-mode=importlib", "--strict-markers", "-p", "no:randomly", "-p", "no:schemathesis"),
    *("-p", "no:cacheprovider", "-p", "muster.matrix.ledger.plugin"),
)


@pytest.fixture
def root(pytester: pytest.Pytester) -> Path:
    (pytester.path / "failures").mkdir()
    pytester.makeini(f"[pytest]\ntestpaths = tests/unit\naddopts = {' '.join(OPTIONS)}\n")
    return pytester.path


@pytest.fixture
def run(pytester: pytest.Pytester, root: Path) -> Callable[..., pytest.RunResult]:
    """Write test files, and run pytest with options."""

    def run(*options: str, **files: str) -> pytest.RunResult:
        for name, text in files.items():
            path = root / "tests" / name / "test_it.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return pytester.runpytest_inprocess(*options)

    return run


def test_what_records_and_marks_agree_on_is_run(
    run: Callable[..., pytest.RunResult], write: Write
) -> None:
    write()

    run(unit=MARKED).assert_outcomes(passed=2)


def test_a_marker_without_a_record_is_an_error(run: Callable[..., pytest.RunResult]) -> None:
    result = run(unit=MARKED)

    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines([f"*{UNIT}::test_it: it is marked with failure 1, *no record*"])


def test_a_marker_that_its_record_does_not_name_is_an_error(
    run: Callable[..., pytest.RunResult], write: Write
) -> None:
    write()

    result = run(unit=MARKED.replace("test_it", "test_renamed"))

    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines(["*::test_renamed: *failure 1, whose record does not name it*"])


def test_a_test_of_a_record_without_the_marker_is_an_error(
    run: Callable[..., pytest.RunResult], write: Write
) -> None:
    write()

    result = run(unit="def test_it(): pass")

    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines(
        [
            f"*{UNIT}::test_it: record 1 names this test, which lacks its mark. "
            "Add @pytest.mark.failure(1) *"
        ]
    )


def test_a_marker_without_a_number_is_an_error(run: Callable[..., pytest.RunResult]) -> None:
    result = run(unit=MARKED.replace("(1)", "('one')"))

    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines(["*::test_it: it is marked with failure 'one', *no record*"])


def test_drift_is_told_by_parallel_runs_too(
    pytester: pytest.Pytester, root: Path, run: Callable[..., pytest.RunResult]
) -> None:
    run("--collect-only", unit=MARKED)

    result = pytester.runpytest_subprocess("-n1")

    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["*marked with failure 1, which has no record*"])


def test_a_broken_record_is_an_error(run: Callable[..., pytest.RunResult], write: Write) -> None:
    write(head="foo = 1")

    result = run(unit=MARKED)

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*0001-broken/record.md: foo: is no field of a record*"])


def test_one_failure_is_run_at_all_its_tiers(
    run: Callable[..., pytest.RunResult], write: Write
) -> None:
    # Given two failures, one with tests at two tiers, of which only one is run by default
    system = "tests/system/test_it.py::test_it"
    write(1, tests=(f"{UNIT}::test_it",), body=f'[[test]]\ntier = "system"\nid = "{system}"')
    write(2, tests=(f"{UNIT}::test_two",))
    two = MARKED + "\n@pytest.mark.failure(2)\ndef test_two(): pass\n"

    # Then it is run at both, or in the folder that is asked for, and nothing else is.
    run("--failure", "1", unit=two, system=MARKED).assert_outcomes(passed=2, deselected=3)
    run("--failure", "1", "tests/unit").assert_outcomes(passed=1, deselected=2)
    run("--failure", "2").assert_outcomes(passed=1, deselected=2)


def test_a_failure_without_a_record_cannot_be_run(run: Callable[..., pytest.RunResult]) -> None:
    result = run("--failure", "7", unit="def test_it(): pass")

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*failure 7 has no record*"])


def test_a_census_lists_all_tests_with_their_marks_and_judges_nothing(
    run: Callable[..., pytest.RunResult], tmp_path: Path
) -> None:
    twice = "@pytest.mark.failure(2)\n@pytest.mark.parametrize('x', [1, 2])\n"
    marked = MARKED.replace("test_it()", "test_it(x)").replace("@", f"{twice}@", 1)

    result = run("--collect-only", "--census", str(tmp_path / "census.json"), unit=marked)

    assert result.ret == 0
    assert json.loads((tmp_path / "census.json").read_text()) == {
        f"{UNIT}::test_it": [1, 2],
        f"{UNIT}::test_other": [],
    }
