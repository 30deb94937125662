from __future__ import annotations

from pathlib import Path

import pytest

from muster.errors import InvalidInput
from muster.matrix.results import rules

PROJECT = Path(__file__).parents[4] / "pyproject.toml"


def test_the_project_s_own_rules_are_right() -> None:
    assert rules.load(PROJECT).tier_fails


def test_without_rules_the_defaults_hold(tmp_path: Path) -> None:
    assert rules.load(tmp_path / "pyproject.toml") == rules.Rules()


def test_bounds_are_read_by_name(tmp_path: Path) -> None:
    file = tmp_path / "pyproject.toml"
    file.write_text('[tool.muster.alerts]\ndrop = 0.1\n[tool.muster.alerts.bounds]\n"a b" = 0.4\n')

    loaded = rules.load(file)

    assert (loaded.bound("a b"), loaded.bound("other")) == (0.4, 0.1)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("drop = -1", r"tool\.muster\.alerts\.drop: is not right"),
        ("drops = 1", r"tool\.muster\.alerts\.drops: is not right \(Extra inputs"),
        ("drop =", "is no TOML"),
    ],
)
def test_a_rule_that_is_wrong_is_refused_by_name(tmp_path: Path, text: str, problem: str) -> None:
    file = tmp_path / "pyproject.toml"
    file.write_text(f"[tool.muster.alerts]\n{text}\n")

    with pytest.raises(InvalidInput, match=problem):
        rules.load(file)
