"""Prometheus's own tool reads its configuration, and tests the rules of what is alerted."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

PROMETHEUS = Path(__file__).parents[3] / "envs" / "prometheus"
RULES_TEST = Path(__file__).with_name("alerts.test.yml")


@pytest.fixture
def promtool() -> str:
    found = shutil.which("promtool")
    assert found, "promtool is missing. On Debian: apt-get install prometheus"
    return found


def run(*argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=120)


@pytest.mark.acts("read")
def test_rules_alert_when_they_should_and_not_before(promtool: str) -> None:
    done = run(promtool, "test", "rules", str(RULES_TEST))

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.acts("read")
def test_a_rule_that_is_broken_is_found(promtool: str, tmp_path: Path) -> None:
    """The test of the rules can fail."""
    rules = (PROMETHEUS / "alerts.yml").read_text()
    (tmp_path / "alerts.yml").write_text(rules.replace('up{job="muster"} == 0', "up == 7"))
    tests = RULES_TEST.read_text().replace("../../../envs/prometheus/", "")
    (tmp_path / "test.yml").write_text(tests)

    done = run(promtool, "test", "rules", str(tmp_path / "test.yml"))

    assert done.returncode == 1
    assert "MusterServerAway" in done.stdout + done.stderr


@pytest.mark.acts("read")
def test_the_configuration_is_one(promtool: str) -> None:
    done = run(promtool, "check", "config", "--syntax-only", str(PROMETHEUS / "prometheus.yml"))

    assert done.returncode == 0, done.stdout + done.stderr
