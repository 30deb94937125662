"""Whatever becomes of a run, nothing of it stays on the engine."""

from __future__ import annotations

import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from support.system import belongings
from support.system.belongings import Run, left_of
from support.system.containers import awaited
from support.system.engine import redis_image
from support.system.stack import Stack
from support.waiting import eventually_blocking

if TYPE_CHECKING:
    from docker import DockerClient

TESTS = str(belongings.__file__).partition("/support/")[0]
A_RUN = """
import sys, time
sys.path.insert(0, sys.argv[1])
from support.system.engine import connect, redis_image
from support.system.stack import Stack
client = connect()
with Stack(client, machine_image=sys.argv[2], redis_image=redis_image(client)) as stack:
    print(stack.run.id, flush=True)
    time.sleep(600)
"""


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_of_a_run_that_was_interrupted(
    engine: DockerClient, image: str, how: signal.Signals
) -> None:
    # Given a run with containers, networks and volumes
    with subprocess.Popen(
        [sys.executable, "-c", A_RUN, TESTS, image], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        run_id = process.stdout.readline().strip()
        assert {what.split()[0] for what in left_of(engine, run_id)} == {
            "container",
            "network",
            "volume",
        }

        # When it ends before its time
        process.send_signal(how)
        process.wait(timeout=60)

    # Then nothing is left: it cleans up itself, or the next run does for it
    if how is signal.SIGKILL:
        assert left_of(engine, run_id)
        belongings.sweep(engine)
    assert left_of(engine, run_id) == []


def test_of_a_run_whose_time_is_over_wherever_it_ran(engine: DockerClient) -> None:
    elsewhere = Run(owner="elsewhere:1:0.0")
    over = Run(owner="elsewhere:1:0.0", expires=1)
    for run in (elsewhere, over):
        engine.volumes.create(run.name("x"), labels=run.labels)
    try:
        belongings.sweep(engine)

        assert left_of(engine, over.id) == []
        assert len(left_of(engine, elsewhere.id)) == 1
    finally:
        belongings.remove(engine, elsewhere.id)


def test_a_wait_in_vain_tells_all_that_is_known(engine: DockerClient, image: str) -> None:
    with (
        Stack(engine, machine_image=image, redis_image=redis_image(engine)) as stack,
        pytest.raises(AssertionError) as failure,
    ):
        awaited(
            lambda: 1,
            "two",
            of=stack.redis,
            until=(2).__eq__,
            timeout_s=0.2,
            hint="one is not two.",
        )
    told = str(failure.value)
    assert "Waited 0.2 s in vain for: two. Last seen: 1" in told
    assert f"{stack.run.name('redis')} is running, exit code 0. It said last:" in told
    assert "Ready to accept connections" in told
    assert told.endswith("Hint: one is not two.")


def test_a_stack_that_does_not_start_is_removed(engine: DockerClient, image: str) -> None:
    stack = Stack(engine, machine_image=image, redis_image=image)  # whose entry point is not Redis

    with pytest.raises(AssertionError, match="exit code"), stack:
        pass

    eventually_blocking(lambda: left_of(engine, stack.run.id), "gone", until=lambda left: not left)
