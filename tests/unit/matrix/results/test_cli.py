from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from muster.errors import InvalidInput, NotFound
from support.cli import Muster
from support.results import measured, run, write

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def muster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Muster:
    """The command line in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    for name in ("MUSTER_RESULTS_URL", "MUSTER_WEBHOOK_URL"):
        monkeypatch.delenv(name, raising=False)
    return Muster()


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Where run files are."""
    return tmp_path / "results" / "runs"


def test_runs_are_imported_and_listed(muster: Muster, runs: Path) -> None:
    write(runs, run("unit", day=0, part=True))
    write(runs, run("load", day=1, ended=False, dirty=True))

    assert muster("results", "import").out == "2 new runs.\n"
    assert json.loads(muster("results", "import", "--json").out) == []

    shown = muster("results", "list").out
    assert "passed (part)" in shown
    assert "incomplete" in shown
    listed = json.loads(muster("results", "list", "--session", "unit", "--json").out)
    assert [row["session"] for row in listed] == ["unit"]


def test_a_run_is_shown(muster: Muster, runs: Path) -> None:
    made = run(
        "load", outcomes={"a": "passed", "b": "failed"}, measures=[measured(goal=1000)], dirty=True
    )
    write(runs, made)
    muster("results", "import")

    told = muster("results", "show", made.head.id).out

    assert f"{made.head.id}: load on local, failed" in told
    assert "b: assert 1 == 2" in told
    assert "claims: 900 1/s, goal 1000, 0.9 of its control, MISSED" in told
    assert json.loads(muster("results", "show", "load", "--json").out)["failed"][0]["test"] == "b"
    assert isinstance(muster("results", "show", "browser").error, NotFound)


def test_two_runs_are_compared(muster: Muster, runs: Path) -> None:
    old = run("load", outcomes={"a": "passed", "b": "failed", "c": "passed"}, seconds=1.5,
              measures=[measured(), measured("bare", 10, control=None, higher=False)])  # fmt: skip
    new = run("load", day=1, outcomes={"a": "failed", "b": "passed", "d": "passed"}, seconds=9,
              measures=[measured(value=450), measured("bare", 8, control=None, higher=False),
                        measured("new one")])  # fmt: skip
    for made in (old, new):
        write(runs, made)
    muster("results", "import")

    told = muster("results", "compare", old.head.id, new.head.id).out

    assert "Fails now (1):\n  a\n" in told
    assert "Fails no more (1):\n  b\n" in told
    assert "New (1):\n  d\n" in told
    assert "Gone (1):\n  c\n" in told
    assert "0.50 -> 3.00 s  a" in told
    assert "claims: 900 -> 450 1/s, 50.0% worse" in told
    assert "bare: 10 -> 8 1/s, 20.0% better" in told
    same = muster("results", "compare", new.head.id, new.head.id, "--json").out
    assert json.loads(same)["slower"] == []


def test_like_runs_have_no_difference(muster: Muster, runs: Path) -> None:
    write(runs, run())
    muster("results", "import")

    assert muster("results", "compare", "unit", "unit").out.endswith("No difference.\n")


def test_old_files_and_runs_are_removed(muster: Muster, runs: Path) -> None:
    for day in range(4):
        write(runs, run(day=day))
    muster("results", "import")

    told = json.loads(muster("results", "prune", "--files", "3", "--runs", "2", "--json").out)

    assert told == {"files": 1, "runs": 2}
    again = muster("results", "prune", "--files", "3", "--runs", "2").out
    assert again == "Removed 0 run files, and 0 runs from the store.\n"


def test_the_report_imports_what_is_new(muster: Muster, runs: Path, tmp_path: Path) -> None:
    write(runs, run())

    done = muster("results", "report")

    assert (done.code, done.out) == (0, "results/report.html is written.\n")
    assert "Muster passes muster" in (tmp_path / "results" / "report.html").read_text()


@pytest.mark.parametrize("command", [("check",), ("report", "--alert")])
def test_problems_fail_the_command_that_looks_for_them(
    muster: Muster, runs: Path, command: tuple[str, ...]
) -> None:
    write(runs, run(day=0, outcomes={"a": "failed"}))
    failed = muster("results", *command)
    assert failed.code == 1
    assert "tier fails: unit on local did not pass" in failed.out

    write(runs, run(day=1, revision="mended", outcomes={"a": "passed"}))
    passed = muster("results", *command)
    assert passed.code == 0
    assert "0 problems." in passed.out


def test_problems_are_listed_for_scripts(muster: Muster, runs: Path) -> None:
    write(runs, run(outcomes={"a": "failed"}))

    done = muster("results", "check", "--json")

    assert done.code == 1
    assert [problem["kind"] for problem in json.loads(done.out)] == ["tier fails"]


def test_a_webhook_without_a_secret_is_refused(
    muster: Muster, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(runs, run())
    monkeypatch.setenv("MUSTER_WEBHOOK_URL", "https://hooks.example.org/x")
    monkeypatch.delenv("MUSTER_WEBHOOK_SECRET", raising=False)

    error = muster("results", "check").error

    assert isinstance(error, InvalidInput)
    assert "MUSTER_WEBHOOK_SECRET: is not set" in str(error)


def test_the_store_is_where_the_environment_says(
    muster: Muster, runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MUSTER_RESULTS_URL", f"sqlite:///{tmp_path / 'elsewhere.db'}")
    write(runs, run())

    muster("results", "import")

    assert (tmp_path / "elsewhere.db").exists()
    assert not (tmp_path / "results" / "results.db").exists()
