"""Each rail is seen to hold tests off, in a run of pytest as people start it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from muster.fleet import nameplate
from muster.fleet.nameplate import Nameplate
from muster.matrix.environments import rails
from muster.matrix.environments.model import Act
from muster.matrix.environments.rails import Deed, Refused
from muster.matrix.environments.reading import read_environment
from support.suite import ENVS

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.suite import Suite

GOOD = "def test_good():\n    pass\n"
PRODUCTION = read_environment(ENVS, "production")
PLATE = Nameplate.model_validate({"environment": "production", "written_at": 0})


@pytest.fixture(autouse=True)
def _tests(suite: Suite) -> None:
    suite.tests(GOOD)


def test_without_a_word_tests_run_locally(suite: Suite) -> None:
    run = suite.run()

    assert run.code == 0, run.said
    assert "ran in local (processes): 1 unit" in run.said


@pytest.mark.parametrize("how", ["option", "variable"])
def test_an_environment_is_asked_for(suite: Suite, how: str) -> None:
    asked = {"option": (["--env=staging"], {}), "variable": ([], {"MUSTER_ENV": "staging"})}
    arguments, variables = asked[how]

    assert "ran in staging" in suite.run(*arguments, variables=variables).said


def test_an_unknown_environment_stops_the_run(suite: Suite) -> None:
    run = suite.run("--env=moon")

    assert run.refused()
    assert "'moon' is no environment" in run.said


def test_the_connection_decides_and_not_the_variable(
    suite: Suite, provision: Callable[..., str]
) -> None:
    # Given a REDIS_URL that leads to production, whatever MUSTER_ENV says
    run = suite.run(variables={"MUSTER_ENV": "staging", "REDIS_URL": provision("production")})

    assert run.refused()
    assert "asked for in staging" in run.said
    assert "says that it is production" in run.said


def test_a_system_without_a_nameplate_is_refused(
    suite: Suite, provision: Callable[..., str]
) -> None:
    run = suite.run("--env=staging", variables={"REDIS_URL": provision()})

    assert run.refused()
    assert "has no nameplate" in run.said
    assert "muster nameplate write staging" in run.said


def test_a_system_that_does_not_answer_is_refused(suite: Suite) -> None:
    run = suite.run(variables={"REDIS_URL": f"unix://{suite.folder}/nothing.sock"})

    assert run.refused()
    assert "cannot be looked at" in run.said


def test_a_system_of_the_right_name_is_taken(suite: Suite, provision: Callable[..., str]) -> None:
    run = suite.run("--env=staging", variables={"REDIS_URL": provision("staging")})

    assert run.code == 0, run.said
    assert "says that it is staging" in run.said


def test_a_system_that_turns_into_another_is_seen_before_the_next_test(
    suite: Suite, provision: Callable[..., str]
) -> None:
    url = provision("staging")
    suite.tests(
        "import os, redis\n\n"
        "def test_a():\n"
        "    with redis.Redis.from_url(os.environ['REDIS_URL']) as client:\n"
        f"        held = client.get({nameplate.KEY!r}).replace(b'staging', b'production')\n"
        f"        client.set({nameplate.KEY!r}, held)\n\n"
        "def test_b():\n    pass\n"
    )

    run = suite.run("--env=staging", variables={"REDIS_URL": url})

    assert run.code == 1
    assert "1 passed, 1 error" in run.said
    assert "says that it is production" in run.said


def test_production_must_be_named_by_address_and_token(suite: Suite) -> None:
    run = suite.run("--env=production", variables={"MUSTER_URL": "http://127.0.0.1:1"})

    assert run.refused()
    assert "MUSTER_TOKEN: is not set" in run.said


@pytest.mark.parametrize("paths", [["tests/system"], ["tests"], ["."], ["tests/unit", "/"]])
def test_arguments_do_not_widen_a_session(suite: Suite, paths: list[str]) -> None:
    suite.tests(GOOD, "tests/system/test_big.py")

    run = suite.run("--tier=unit", *paths)

    assert run.refused()
    assert "this session runs unit alone" in run.said


def test_a_second_tier_does_not_widen_a_session_either(suite: Suite) -> None:
    suite.tests(GOOD, "tests/system/test_big.py")

    run = suite.run("--tier=unit", "--tier=system", "tests/system")

    assert run.refused()


def test_a_session_runs_its_own_tier(suite: Suite) -> None:
    run = suite.run("--tier=unit", "tests/unit/test_it.py::test_good")

    assert run.code == 0, run.said


def test_tests_of_another_tier_that_come_by_default_paths_are_refused(suite: Suite) -> None:
    suite.tests(GOOD, "tests/system/test_big.py")

    run = suite.run("--tier=unit")

    assert run.code == 4
    assert "this session runs unit alone" in run.said


def test_a_mark_that_says_nothing_is_refused(suite: Suite) -> None:
    suite.tests("@pytest.mark.acts('gently')\n" + GOOD)

    run = suite.run()

    assert run.code == 4
    assert "not one of read, write, destructive" in run.said


def test_what_an_environment_does_not_declare_is_told_not_skipped(suite: Suite) -> None:
    suite.tests("@pytest.mark.needs('gpus')\ndef test_gpu():\n    pass\n\n" + GOOD)

    run = suite.run()

    assert "1 passed, 1 deselected" in run.said
    assert "did not run, since local does not declare gpus: tests/unit/test_it.py::" in run.said


def test_a_capability_that_is_declared_and_missing_fails_the_run(suite: Suite) -> None:
    file = suite.folder / "envs" / "local.toml"
    file.write_text('capabilities = ["docker"]\n' + file.read_text())

    run = suite.run(variables={"DOCKER_HOST": f"unix://{suite.folder}/no.sock"})

    assert run.refused()
    assert "local declares docker, which is missing: no engine answers" in run.said


def test_an_act_that_is_not_allowed_fails_by_name_where_tests_start_the_system(
    suite: Suite,
) -> None:
    file = suite.folder / "envs" / "local.toml"
    file.write_text(file.read_text().replace(', "write", "destructive"', ""))

    assert "1 deselected" in suite.run().said
    run = suite.run("tests/unit/test_it.py::test_good")

    assert run.code == 1
    assert "destructive is not allowed in local (read)" in run.said


@pytest.mark.parametrize(
    ("file", "mark", "why"),
    [
        ("tests/unit/test_gpu.py", "@pytest.mark.needs('gpus')\n", "does not declare gpus"),
        ("tests/load/test_load.py", "", "load has no place"),
    ],
    ids=["a capability", "load"],
)
def test_an_override_is_for_acts_alone(
    suite: Suite, provision: Callable[..., str], file: str, mark: str, why: str
) -> None:
    # Given an environment that is not ours to break, and both halves of an override
    staging = suite.folder / "envs" / "staging.toml"
    staging.write_text(staging.read_text().replace(', "destructive"', ""))
    suite.tests(mark + GOOD, file)
    url = provision("staging", permits="destructive")

    run = suite.run("--env=staging", "--override-rails=staging", file, variables={"REDIS_URL": url})

    assert run.code == 1
    assert why in run.said


def test_a_run_that_takes_too_long_begins_no_further_test(suite: Suite) -> None:
    file = suite.folder / "envs" / "local.toml"
    file.write_text(file.read_text() + "[limits]\nrun_s = 0.000001\n")

    run = suite.run()

    assert run.code == 1
    assert "has used up its 1e-06 s" in run.said


def test_parallel_workers_tell_what_did_not_run(suite: Suite) -> None:
    suite.tests("@pytest.mark.needs('tls')\ndef test_tls():\n    pass\n\n" + GOOD)

    run = suite.run("-n1")

    assert "ran in local (processes): 1 unit" in run.said
    assert "did not run, since local does not declare tls" in run.said


def test_a_skipped_test_is_told_with_its_reason(suite: Suite) -> None:
    suite.tests("@pytest.mark.skip(reason='it rains')\n" + GOOD)

    assert "did not run, since Skipped: it rains" in suite.run().said


# What needs no run to be shown


@pytest.mark.parametrize("act", [Act.WRITE, Act.DESTRUCTIVE])
def test_production_allows_reading_and_canaries_alone(act: Act) -> None:
    assert rails.refusal(PRODUCTION, Deed(act))
    assert rails.refusal(PRODUCTION, Deed(Act.READ)) is None
    assert rails.refusal(PRODUCTION, Deed(Act.WRITE, canary=True)) is None
    assert rails.refusal(PRODUCTION, Deed(Act.DESTRUCTIVE, canary=True))


def test_what_says_nothing_of_itself_is_destructive() -> None:
    assert Deed().act is Act.DESTRUCTIVE


@pytest.mark.parametrize(
    ("override", "permits"),
    [
        (None, None),
        (None, "destructive"),
        ("production", None),
        ("production", "write"),
        ("staging", "destructive"),
    ],
)
def test_half_an_override_is_none(override: str | None, permits: str | None) -> None:
    plate = PLATE.model_copy(update={"permits": permits})

    with pytest.raises(Refused, match="destructive is not allowed in production"):
        rails.check_deed(PRODUCTION, Deed(), plate, override)


def test_both_acts_together_override() -> None:
    plate = PLATE.model_copy(update={"permits": "destructive"})

    rails.check_deed(PRODUCTION, Deed(), plate, "production")


def test_an_override_of_another_environment_is_refused(suite: Suite) -> None:
    run = suite.run("--override-rails=production")

    assert run.refused()
    assert "names production, but tests were asked for in local" in run.said
