"""What counts as a proof, and what does not."""

from __future__ import annotations

import tempfile
from typing import TYPE_CHECKING

import pytest

from muster.matrix.proofs.prover import Prover
from support.proofs import CODE, GOOD_CODE, GOOD_TEST, TESTS, TWO_LAMPS

if TYPE_CHECKING:
    from pathlib import Path

    from support.proofs import Project

ONE = f"{TESTS}::test_one_for_each"


def test_a_fault_that_its_test_catches_is_proved(project: Project) -> None:
    project.record(project.fault(*TWO_LAMPS))

    outcome = project.prove()

    assert outcome.problem == ""
    assert outcome.caught == (ONE,)
    assert outcome.seconds > 0


def test_the_work_tree_is_tested_as_it_is_and_left_so(project: Project) -> None:
    # Given what is neither committed nor staged
    project.record(project.fault(*TWO_LAMPS))
    project.write(CODE, GOOD_CODE.replace('"lamp"', '"candle"'))
    project.write(TESTS, GOOD_TEST + '    assert lamps(1) == ["candle"]\n')
    before = project.git("status", "--porcelain")

    assert project.prove().problem == ""
    assert project.git("status", "--porcelain") == before


def test_a_fault_in_the_middle_of_other_changes_still_applies(project: Project) -> None:
    project.record(project.fault(*TWO_LAMPS))
    project.write(CODE, f"import os\n{GOOD_CODE}")

    assert project.prove().problem == ""


def test_a_fault_that_nothing_catches(project: Project) -> None:
    project.record(project.fault("One lamp", "A lamp"))

    assert project.prove().problem == "no test fails with the fault"


def test_a_fault_that_does_not_apply_any_more_is_red(project: Project) -> None:
    project.record(project.fault(*TWO_LAMPS))
    project.write(CODE, GOOD_CODE.replace("* count", "* int(count)"))

    outcome = project.prove()

    assert "dark.patch does not apply" in outcome.problem
    assert CODE in outcome.problem
    assert outcome.caught == ()


def test_context_that_has_changed_is_not_overlooked(project: Project) -> None:
    project.record(project.fault(*TWO_LAMPS))
    project.write(CODE, GOOD_CODE.replace("One lamp", "A lamp"))

    assert "does not apply" in project.prove().problem


@pytest.mark.parametrize("patch", ["", "no patch\n"])
def test_a_fault_that_is_no_patch_is_red(project: Project, patch: str) -> None:
    project.record(patch)

    assert "dark.patch is not a patch" in project.prove().problem


def test_a_fault_may_not_change_the_tests(project: Project) -> None:
    project.record(project.fault("== 3", "== 4", TESTS))

    assert "changes tests/unit/test_lamps.py" in project.prove().problem


@pytest.mark.parametrize("broken", ["return (", "import nothing_of_that_name"])
def test_a_fault_that_breaks_the_import_is_no_proof(project: Project, broken: str) -> None:
    project.record(project.fault("LAMP = ", f"{broken}\nLAMP = "))

    outcome = project.prove()

    assert "does not import from its copy" in outcome.problem
    assert outcome.caught == ()


def test_a_time_out_is_no_catch(project: Project) -> None:
    project.record(
        project.fault("    return [LAMP]", "    __import__('time').sleep(3600)\n    return [LAMP]")
    )

    outcome = project.prove(limit_s=20)

    assert "was ended after" in outcome.problem
    assert not outcome.problem.startswith("control")


def test_a_crash_of_pytest_is_no_catch(project: Project) -> None:
    project.record(
        project.fault("    return [LAMP]", "    __import__('os')._exit(1)\n    return [LAMP]")
    )

    outcome = project.prove()

    assert outcome.problem
    assert outcome.caught == ()


def test_another_failure_than_the_recorded_one_is_no_catch(project: Project) -> None:
    project.record(project.fault(*TWO_LAMPS), signature="four are wanted")

    outcome = project.prove()

    assert "three are wanted" in outcome.problem
    assert "where /four are wanted/ is expected" in outcome.problem


def test_an_error_in_the_setup_is_no_catch(project: Project) -> None:
    project.write(
        TESTS,
        "import pytest\nfrom muster.lamps import lamps\n\n\n@pytest.fixture\ndef three():\n"
        '    assert len(lamps(3)) == 3, "three are wanted"\n\n\n'
        "def test_one_for_each(three):\n    pass\n",
    )
    project.record(project.fault(*TWO_LAMPS))

    outcome = project.prove()

    assert "fails in its setup" in outcome.problem
    assert "which is no catch" in outcome.problem


def test_an_error_in_the_collection_is_no_catch(project: Project) -> None:
    project.write(TESTS, GOOD_TEST + '\n\nassert len(lamps(3)) == 3, "three are wanted"\n')
    project.record(project.fault(*TWO_LAMPS))

    assert "cannot be collected" in project.prove().problem


@pytest.mark.parametrize(
    ("instead", "told"),
    [
        ('    __import__("pytest").skip("not today")\n', "test_one_for_each is skipped"),
        ('    __import__("pytest").xfail("some day")\n', "test_one_for_each is xfailed"),
        ('    assert len(lamps(3)) == 4, "four are wanted"\n', "test_one_for_each fails"),
    ],
)
def test_a_test_that_does_not_pass_without_the_fault_proves_nothing(
    project: Project, instead: str, told: str
) -> None:
    passing = '    assert len(lamps(3)) == 3, "three are wanted"\n'
    project.write(TESTS, GOOD_TEST.replace(passing, instead + passing))
    project.record(project.fault(*TWO_LAMPS))

    assert project.prove().problem.startswith(f"control: {told}")


def test_a_test_that_is_not_there_proves_nothing(project: Project) -> None:
    project.record(project.fault(*TWO_LAMPS), tests=("test_one_for_each", "test_none_of_that_name"))

    assert project.prove().problem.startswith("control: ")


def test_one_catch_is_enough_unless_all_are_named(project: Project) -> None:
    project.write(TESTS, GOOD_TEST + "\n\ndef test_none():\n    assert lamps(2) != []\n")
    both = ("test_one_for_each", "test_none")
    fault = project.fault(*TWO_LAMPS)

    project.record(fault, tests=both)
    assert project.prove().caught == (ONE,)
    assert project.prove().problem == ""

    project.record(fault, tests=both, must_catch=both)
    assert project.prove().problem == "test_none does not fail with the fault"


def test_a_tree_that_cannot_be_copied_leaves_no_workshop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    prover = Prover(tmp_path / "nothing", gpus=1)

    with pytest.raises(FileNotFoundError), prover.proving([], 1):
        pass

    assert not list(tmp_path.iterdir())


def test_code_from_elsewhere_proves_nothing(project: Project) -> None:
    # Given tests that put another muster before the copy's
    project.write("elsewhere/muster/__init__.py", "")
    project.write("elsewhere/muster/lamps.py", GOOD_CODE.replace(*TWO_LAMPS))
    project.write(
        "tests/conftest.py",
        "import sys\nfrom pathlib import Path\n"
        'sys.path.insert(0, str(Path(__file__).parents[1] / "elsewhere"))\n',
    )
    project.record(project.fault(*TWO_LAMPS))

    assert "not with the copy's" in project.prove().problem
