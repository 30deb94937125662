"""A stack of processes plays production: what tests may do to it, and what they may not."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from muster.errors import NotFound
from muster.jobs.model import JobState
from muster.matrix.environments.model import Act
from muster.matrix.environments.rails import Deed, Refused
from muster.matrix.environments.reading import read_environment
from muster.server.auth import Role, TokensFile, new_token
from support.anywhere.fleet import Fleet
from support.anywhere.processes import process_fleet, provision
from support.suite import ENVS, MEDDLING, THE_SAME_CODE, Run, Suite
from support.waiting import eventually_blocking

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.anywhere.processes import ProcessBackend

ROOT = ENVS.parent
ANYWHERE = ROOT / "tests" / "system" / "anywhere"
GOOD = "def test_good():\n    pass\n"
_DEED = Deed()
READS = f"@pytest.mark.acts('read')\n{GOOD}"


@dataclass(frozen=True)
class Production:
    """What plays it."""

    backend: ProcessBackend
    variables: dict[str, str]

    def jobs(self) -> dict[str, int]:
        """Return how many jobs it has, by state, zeros left out."""
        local = read_environment(ENVS, "local")
        with Fleet(local, _DEED, self.backend).client() as client:
            counts = client.queue().counts
        return {str(state): count for state, count in counts.items() if count}


@pytest.fixture(scope="module")
def production() -> Iterator[Production]:
    with process_fleet("production", count=1, gpus=1) as backend:
        Fleet(read_environment(ENVS, "local"), _DEED, backend).until_ready(1, timeout_s=90)
        token, entry = new_token("checks", Role.SUBMIT)
        TokensFile(backend.folder / "tokens.toml").add(entry)
        yield Production(
            backend,
            {
                "MUSTER_URL": backend.profile.url,
                "MUSTER_TOKEN": token,
                "REDIS_URL": backend.redis.url("reader"),
            },
        )


@pytest.fixture
def suite(tmp_path: Path, production: Production) -> Suite:
    """A suite of tests beside our own environments, with production's address at hand."""
    (tmp_path / "envs").symlink_to(ENVS)
    made = Suite(tmp_path, dict(production.variables))
    made.tests(READS)
    return made


def anywhere(production: Production, *arguments: str) -> Run:
    """Run the tests that run on every environment, on production."""
    clean = {name: text for name, text in os.environ.items() if name not in MEDDLING}
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--env=production"),
            *(arguments or [str(ANYWHERE)]),
        ],
        cwd=ROOT,
        env={**clean, "PYTHONPATH": THE_SAME_CODE, **production.variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
    )
    return Run(done.returncode, done.stdout + done.stderr)


def test_production_is_looked_at_and_gets_one_canary(production: Production) -> None:
    run = anywhere(production)

    assert run.code == 0, run.said
    assert "ran in production (external): 11 system" in run.said
    assert "write is not allowed in production (read): tests/system/anywhere/" in run.said
    assert "destructive is not allowed in production (read): tests/system/anywhere/" in run.said
    assert f"{production.variables['MUSTER_URL']} says that it is production" in run.said
    assert production.jobs() == {"completed": 1}

    # Then another run within the time of that canary sends no other, or one if a new span began
    again = anywhere(production, "-k", "canary", str(ANYWHERE))

    assert again.code == 0, again.said
    assert production.jobs()["completed"] <= 2


def test_a_canary_is_known_for_what_it_is_and_soon_forgotten(production: Production) -> None:
    environment = read_environment(ENVS, "production")
    hurried = environment.canary.model_copy(update={"keep_s": 1, "every_s": 1})
    fleet = Fleet(
        environment.model_copy(update={"canary": hurried}),
        Deed(Act.WRITE, canary=True),
        production.backend,
    )

    canary = fleet.canary()

    assert canary.state is JobState.COMPLETED
    with fleet.client() as client:
        with pytest.raises(Refused, match="is no reading"):
            client.cancel(canary.id)

        def kept() -> bool:
            try:
                return bool(client.get(canary.id))
            except NotFound:
                return False

        eventually_blocking(kept, "it is forgotten", until=lambda is_kept: not is_kept)


def test_a_destructive_test_that_is_asked_for_by_name_is_refused(production: Production) -> None:
    test = "tests/system/anywhere/test_fleet.py::test_a_killed_worker_comes_back"

    run = anywhere(production, test)

    assert run.code == 1
    assert "1 error" in run.said
    assert "Refused: destructive is not allowed in production (read)" in run.said


def test_what_says_nothing_of_itself_does_not_run_on_production(suite: Suite) -> None:
    suite.tests(GOOD)

    run = suite.run("--env=production")

    assert run.code == 5
    assert "1 deselected" in run.said
    assert "did not run, since destructive is not allowed in production (read)" in run.said


@pytest.mark.parametrize(
    ("test", "file", "what"),
    [
        (READS, "tests/load/test_it.py", "load"),
        (
            "from hypothesis import given, strategies\n\n@given(strategies.integers())\n"
            "@pytest.mark.acts('read')\ndef test_any(number):\n    pass\n",
            "tests/unit/test_it.py",
            "generated data",
        ),
        (f"@pytest.mark.flaky\n{READS}", "tests/unit/test_it.py", "a rerun"),
    ],
)
def test_production_is_no_place_for(suite: Suite, test: str, file: str, what: str) -> None:
    (suite.folder / "tests" / "unit" / "test_it.py").unlink()
    suite.tests(test, file)
    (suite.folder / "conftest.py").write_text(
        "def pytest_configure(config):\n    config.addinivalue_line('markers', 'flaky: again')\n"
    )

    run = suite.run("--env=production")

    assert run.code == 5, run.said
    assert f"did not run, since {what} has no place in production" in run.said


def test_a_user_of_redis_that_may_write_is_refused(suite: Suite, production: Production) -> None:
    redis_url = production.backend.redis.url("operator")

    run = suite.run("--env=production", variables={"REDIS_URL": redis_url})

    assert run.refused()
    assert "may write" in run.said
    assert production.backend.redis.passwords["operator"] not in run.said


@pytest.mark.parametrize("name", ["local", "staging"])
def test_production_is_not_taken_for_another_environment(suite: Suite, name: str) -> None:
    run = suite.run(f"--env={name}", variables={"REDIS_URL": "", "DOCKER_HOST": "unix:///nowhere"})

    assert run.refused()
    if name == "local":
        assert "says that it is production" in run.said


def test_an_override_takes_two_acts(suite: Suite, production: Production) -> None:
    suite.tests(GOOD)
    operator = production.backend.redis.url("operator")

    only_option = suite.run("--env=production", "--override-rails=production")
    provision(operator, "production", permits="destructive")
    try:
        only_permit = suite.run("--env=production")
        both = suite.run("--env=production", "--override-rails=production")
    finally:
        provision(operator, "production")

    assert only_option.code == 1
    assert "the other is a permit by the system's operator" in only_option.said
    assert only_permit.code == 5
    assert both.code == 0, both.said


def test_a_system_without_a_nameplate_or_with_another_is_refused(
    suite: Suite, production: Production
) -> None:
    operator = production.backend.redis.url("operator")
    try:
        with production.backend.redis.client("operator") as redis:
            redis.delete("muster:nameplate")
        missing = suite.run("--env=production")
        provision(operator, "staging")
        other = suite.run("--env=production")
    finally:
        provision(operator, "production")

    assert missing.refused()
    assert "has no nameplate" in missing.said
    assert other.refused()
    assert "says that it is staging" in other.said


def test_a_wrong_token_is_told(suite: Suite) -> None:
    run = suite.run("--env=production", variables={"MUSTER_TOKEN": "muster_wrong"})

    assert run.refused()
    assert "token is not known" in run.said
    assert "muster_wrong" not in run.said
