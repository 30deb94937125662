from __future__ import annotations

import pytest

from muster.errors import InvalidInput
from muster.simulation.fleet import Options


def test_machines_and_workers_have_names() -> None:
    options = Options(machines=2, workers=2, name="lab")

    assert options.machine_ids == ["lab-001", "lab-002"]
    assert options.worker_ids == [
        "lab-001-worker-0",
        "lab-001-worker-1",
        "lab-002-worker-0",
        "lab-002-worker-1",
    ]


@pytest.mark.parametrize("name", ["", "-", "two words", "x" * 46])
def test_a_name_that_no_machine_could_have_is_refused(name: str) -> None:
    with pytest.raises(InvalidInput, match="--name"):
        Options(name=name)


def test_more_workers_than_one_process_can_hold_are_refused() -> None:
    with pytest.raises(InvalidInput, match=r"Up to 1332 workers fit; run several"):
        Options(machines=334, workers=4)

    assert Options(machines=333, workers=4).connections <= 4096
