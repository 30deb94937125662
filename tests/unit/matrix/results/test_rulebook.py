from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from muster.errors import InvalidInput
from muster.matrix.results import rulebook
from support.suite import ENVS

PROJECT = Path(__file__).parents[4] / "pyproject.toml"


def test_the_project_s_own_rules_are_right() -> None:
    assert rulebook.load(PROJECT).of("local").tier_fails


def test_without_rules_the_defaults_hold(tmp_path: Path) -> None:
    assert rulebook.load(tmp_path / "pyproject.toml") == rulebook.Rulebook()


def test_bounds_are_read_by_name(tmp_path: Path) -> None:
    file = tmp_path / "pyproject.toml"
    file.write_text('[tool.muster.alerts]\ndrop = 0.1\n[tool.muster.alerts.bounds]\n"a b" = 0.4\n')

    loaded = rulebook.load(file).project

    assert (loaded.bound("a b"), loaded.bound("other")) == (0.4, 0.1)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("drop = -1", r"tool\.muster\.alerts\.drop: is not right"),
        ("drops = 1", r"tool\.muster\.alerts\.drops: is not right \(Extra inputs"),
        ("drop =", "is no TOML"),
        ("bounds.x = 0", r"tool\.muster\.alerts\.bounds\.x: is not right"),
    ],
)
def test_a_rule_that_is_wrong_is_refused_by_name(tmp_path: Path, text: str, problem: str) -> None:
    file = tmp_path / "pyproject.toml"
    file.write_text(f"[tool.muster.alerts]\n{text}\n")

    with pytest.raises(InvalidInput, match=problem):
        rulebook.load(file)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with rules, and with the environments ``local`` and ``staging`` beside them."""
    shutil.copytree(ENVS, tmp_path / "envs", ignore=shutil.ignore_patterns("production*"))
    file = tmp_path / "pyproject.toml"
    file.write_text(
        "[tool.muster.alerts]\ndrop = 0.1\nflaky-within = 7\nbounds = {a = 0.3, b = 0.3}\n"
    )
    return file


def add_alerts(project: Path, environment: str, text: str) -> None:
    with (project.parent / "envs" / f"{environment}.toml").open("a") as file:
        file.write(f"\n[alerts]\n{text}\n")


def test_an_environment_overrides_key_by_key(project: Path) -> None:
    add_alerts(project, "staging", "drop = 0.5\ntier-fails = false\nbounds = {b = 0.4}")

    book = rulebook.load(project)
    staging, local = book.of("staging"), book.of("local")

    # What it sets holds there alone
    assert (staging.drop, staging.tier_fails) == (0.5, False)
    assert (local.drop, local.tier_fails) == (0.1, True)
    # And what it does not set is the project's, bound by bound
    assert staging.flaky_within == 7
    assert [staging.bound(name) for name in "abc"] == [0.3, 0.4, 0.5]
    assert book.of("elsewhere") == book.project


def test_a_rule_may_be_set_back_to_its_default(project: Path) -> None:
    add_alerts(project, "staging", "flaky-within = 30")

    assert rulebook.load(project).of("staging").flaky_within == 30


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("drop = 0", r"alerts\.drop: 0 .*greater than 0"),
        ("drops = 1", r"alerts\.drops: .*not a known field"),
        ("bounds = {b = -1}", r"alerts\.bounds\.b: -1"),
        ('tier-fails = "perhaps"', r"alerts\.tier-fails: 'perhaps'"),
    ],
)
def test_a_wrong_rule_of_an_environment_is_refused_by_file_and_name(
    project: Path, text: str, told: str
) -> None:
    add_alerts(project, "staging", text)

    with pytest.raises(InvalidInput, match=rf"staging\.toml.*{told}"):
        rulebook.load(project)
