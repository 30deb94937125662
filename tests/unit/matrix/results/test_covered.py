"""The combined coverage, held against a floor, in a repository of the test's own."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from muster.errors import InvalidInput
from muster.matrix.git import GitFailed
from muster.matrix.git import git as muster_git
from muster.matrix.results import covered
from muster.matrix.results.covered import NotCovered
from support.cli import Muster

if TYPE_CHECKING:
    from pathlib import Path


def git(root: Path, *words: str) -> None:
    who = ("-c", "user.name=a", "-c", "user.email=a@example.org")
    subprocess.run(["git", "-C", str(root), *who, *words], check=True, capture_output=True)


def set_floor(root: Path, floor: float) -> None:
    (root / "pyproject.toml").write_text(f"[tool.muster.coverage]\ncombined = {floor}\n")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A project with a floor of 90 %, on a branch on which lines 2, 4 and 5 are new."""
    (tmp_path / "src").mkdir()
    set_floor(tmp_path, 90)
    (tmp_path / "src" / "a.py").write_text("one\nthree\n")
    git(tmp_path, "init", "-q", "-b", "main")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "first")
    git(tmp_path, "switch", "-qc", "work")
    (tmp_path / "src" / "a.py").write_text("one\ntwo\nthree\nfour\nfive\n")
    git(tmp_path, "commit", "-qam", "second")
    measured(tmp_path, percent=95)
    return tmp_path


def measured(root: Path, *, percent: float) -> Path:
    told: dict[str, Any] = {
        "totals": {"percent_covered": percent},
        "files": {"src/a.py": {"executed_lines": [1, 2, 3], "missing_lines": [4, 5]}},
    }
    path = root / "results" / "coverage.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(told))
    return path


def examine(root: Path) -> covered.Covered:
    return covered.examine(root, root / "results" / "coverage.json")


def test_changed_lines_that_no_test_reaches_are_shown(root: Path) -> None:
    found = examine(root)

    assert (found.changed, found.missed) == (3, {"src/a.py": [4, 5]})
    assert "No test reaches 2 of them:\n  src/a.py: 4-5" in found.text()
    found.check()


def test_less_than_the_floor_is_refused(root: Path) -> None:
    measured(root, percent=89.94)

    with pytest.raises(NotCovered, match=r"89\.94 % is covered, and the floor .* is 90\.0 %"):
        examine(root).check()


def test_a_floor_that_falls_is_refused(root: Path) -> None:
    set_floor(root, 85)

    with pytest.raises(NotCovered, match=r"only rises. It is 85\.0 %, and was 90\.0 % before"):
        examine(root).check()


def test_a_floor_that_rises_is_welcome(root: Path) -> None:
    set_floor(root, 94)

    examine(root).check()


def test_without_history_the_floor_still_holds(tmp_path: Path) -> None:
    set_floor(tmp_path, 90)
    measured(tmp_path, percent=80)
    found = examine(tmp_path)

    assert "Git knows no main branch" in found.text()
    with pytest.raises(NotCovered):
        found.check()


def test_when_nothing_was_measured_it_says_what_to_run(root: Path) -> None:
    (root / "results" / "coverage.json").unlink()

    with pytest.raises(InvalidInput, match="nox -s coverage"):
        examine(root)


def test_git_s_own_words_are_passed_on(root: Path) -> None:
    with pytest.raises(GitFailed, match=r"`git show nothing:here` in .* failed: fatal"):
        muster_git("show", "nothing:here", tree=root)


def test_the_command_shows_and_judges(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root)

    assert Muster()("results", "coverage").out.startswith("95.0 % is covered; the floor is 90.0 %.")
    measured(root, percent=10)
    failed = Muster()("results", "coverage", "--json")
    assert isinstance(failed.error, NotCovered)
    assert json.loads(failed.out)["percent"] == 10


def test_lines_are_read_from_diffs() -> None:
    diff = "+++ b/src/a.py\n@@ -1,0 +2 @@\n+x\n@@ -9,2 +11,3 @@\n@@ -20,2 +24,0 @@\n"

    assert covered.changed_lines(diff) == {"src/a.py": [2, 11, 12, 13]}
