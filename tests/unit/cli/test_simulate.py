from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from muster.errors import InvalidInput

if TYPE_CHECKING:
    from support.cli import Muster


@pytest.fixture(autouse=True)
def _redis(monkeypatch: pytest.MonkeyPatch, redis_url: str, queue_name: str) -> None:
    monkeypatch.setenv("REDIS_URL", redis_url)
    monkeypatch.setenv("MUSTER_QUEUE", queue_name)


SMALL = ("simulate", "--machines", "2", "--workers", "2", "--duration", "0.05")


def test_it_tells_how_it_went(muster: Muster) -> None:
    outcome = muster(*SMALL, "--jobs", "8")

    assert outcome.code == 0
    assert "2 machines, 4 workers" in outcome.out
    assert "8 completed, 0 failed, 0 cancelled, 0 unfinished" in outcome.out
    assert "Committed twice  0" in outcome.out


def test_as_json(muster: Muster) -> None:
    outcome = muster(*SMALL, "--jobs", "5", "--json")

    told = json.loads(outcome.out)
    assert told["jobs"]["completed"] == 5
    assert told["committed_twice"] == 0


def test_the_exit_code_says_that_a_job_reached_no_end(muster: Muster) -> None:
    outcome = muster(*SMALL, "--jobs", "2", "--duration", "60", "--seconds", "1")

    assert outcome.code == 1
    assert "2 unfinished" in outcome.out


def test_a_fleet_that_does_not_fit_is_refused(muster: Muster) -> None:
    outcome = muster("simulate", "--machines", "1000", "--workers", "8")

    assert isinstance(outcome.error, InvalidInput)
    assert "run several" in str(outcome.error)
