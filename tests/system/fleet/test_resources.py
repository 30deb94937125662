"""What an idle machine takes: memory and CPU for each GPU, within bounds."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from support.system.machines import SERVICE, WORKER

if TYPE_CHECKING:
    from support.system.machines import MachineContainer

WINDOW_S = 6


def test_idle_memory_and_cpu_stay_within_bounds(machine: MachineContainer, gpus: int) -> None:
    costs = machine.costs()
    # The engine looks once a second, and knows what the first look has to be compared with.
    looks = list(islice(machine.container.stats(stream=True, decode=True), WINDOW_S + 1))
    used_s = (_cpu_ns(looks[-1]) - _cpu_ns(looks[0])) / 1e9 / WINDOW_S

    for kind in (WORKER, SERVICE):
        assert len(costs[kind]) == gpus
    print(f"idle: {costs}, {used_s:.3f} cores")


def _cpu_ns(look: dict) -> int:
    return int(look["cpu_stats"]["cpu_usage"]["total_usage"])
