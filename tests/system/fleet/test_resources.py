"""What an idle machine takes: memory and CPU for each GPU, within bounds."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

from support.system.machines import SERVICE, WORKER

if TYPE_CHECKING:
    from support.system.machines import MachineContainer

WINDOW_S = 6
MEMORY_MIB = {WORKER: 80, SERVICE: 60}
"""Of each process, its own; what it shares with the others not counted."""
CORES_BESIDE, CORES_PER_GPU = 0.10, 0.03


def test_idle_memory_and_cpu_stay_within_bounds(machine: MachineContainer, gpus: int) -> None:
    costs = machine.costs()
    # The engine looks once a second.
    looks = list(islice(machine.container.stats(stream=True, decode=True), WINDOW_S + 1))

    for kind, bound in MEMORY_MIB.items():
        assert len(costs[kind]) == gpus
        assert max(cost.memory_mib for cost in costs[kind]) < bound, kind
    cores = (_cpu_s(looks[-1]) - _cpu_s(looks[0])) / WINDOW_S
    assert cores < CORES_BESIDE + CORES_PER_GPU * gpus


def _cpu_s(look: dict[str, Any]) -> float:
    return float(look["cpu_stats"]["cpu_usage"]["total_usage"]) / 1e9
