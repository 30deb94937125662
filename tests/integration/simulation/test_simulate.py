"""``muster simulate`` as people run it."""

from __future__ import annotations

import json
import signal

from support.simulating import registered, simulating
from support.waiting import eventually_blocking


def test_jobs_survive_machines_that_leave_and_die(redis_url: str, queue_name: str) -> None:
    # When a fleet works through jobs of which some attempts fail, while machines come and go
    options = (
        *("--machines", "20", "--workers", "4", "--jobs", "400", "--duration", "2"),
        *("--failure-rate", "0.1", "--churn", "60", "--rate", "40", "--json"),
    )
    with simulating(redis_url, queue_name, *options) as process:
        out, errors = process.communicate(timeout=120)
    report = json.loads(out)

    # Then each reaches one end, those whose machine died soon after
    assert process.returncode == 0, errors
    assert report["jobs"]["unfinished"] == report["committed_twice"] == 0
    assert report["jobs"]["completed"] + report["jobs"]["failed"] == 400
    assert report["machines_left"] > 0
    assert report["machines_died"] > 0
    assert report["recovery"]["count"] > 0
    assert report["recovery"]["max_s"] < 30
    assert registered(redis_url, queue_name) == 0


def test_ctrl_c_leaves_nothing_behind(redis_url: str, queue_name: str) -> None:
    # Given a fleet that comes up
    with simulating(redis_url, queue_name, "--machines", "40", "--jobs", "10") as process:
        eventually_blocking(
            lambda: registered(redis_url, queue_name), "the first machines are registered"
        )

        # When it is stopped
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)

    # Then nothing of it is left, and no trace is printed
    assert registered(redis_url, queue_name) == 0
    assert "Traceback" not in errors
